//! The static rules: what a project's Python may import, call and contain.
//!
//! These rules are lint. They tell an honest miner at once what would fail in the container, and
//! make the plain ways of cheating visible. They are not the boundary: whoever means to get
//! around them will. What runs is held by the container, and what counts is measured outside of
//! it by the meter.
//!
//! - [`imports`]: modules, and what can be reached below them.
//! - [`calls`]: builtins, attributes and strings that lead out.
//! - [`literals`]: weights that are smuggled in as text.
//! - [`tables`]: which names those are.

mod calls;
mod imports;
mod literals;
mod tables;

use node_core::admission::Rejection;
use node_core::policy::AdmissionRules;

use self::imports::ProjectModules;
use crate::source::names::Names;
use crate::source::{Finding, Source};

/// Checks a project against the static rules.
///
/// - `sources`: every Python file, in the order of their paths.
/// - `findings_max`: how many are wanted; further ones are not looked for.
/// - Result: broken rules by file and line; what concerns the whole project comes last.
pub(crate) fn check(
    sources: &[Source],
    rules: &AdmissionRules,
    findings_max: usize,
) -> Vec<Rejection> {
    let modules = ProjectModules::of(sources);
    let mut found = Vec::new();
    for source in sources {
        found.extend(modules.shadowing(source));
        let names = Names::new(source);
        let mut in_file = Vec::new();
        imports::check(source, &modules, rules, &mut in_file);
        calls::check(source, &names, &mut in_file);
        literals::check_file(source, rules, &mut in_file);
        in_file.sort_by_key(|found: &Finding| (found.line, found.rule));
        // Several names of one statement are one finding.
        in_file.dedup_by_key(|found| (found.line, found.rule));
        in_file.truncate(findings_max.saturating_sub(found.len()));
        found.extend(in_file.into_iter().map(|found| source.evidence(found)));
        if found.len() >= findings_max {
            break;
        }
    }
    if found.len() < findings_max {
        found.extend(literals::check_project(sources, rules));
    }
    found.truncate(findings_max);
    found
}

#[cfg(test)]
mod tests {
    use node_core::admission::Rule;

    use super::*;
    use crate::archive::Archive;
    use crate::source::read_sources;

    fn findings(text: &str) -> Vec<(Rule, Option<u32>)> {
        let rules = AdmissionRules::strict();
        let files = [("a.py", text), ("layers/block.py", "x = 1\n")];
        let owned = |(path, text): (&str, &str)| (path.to_owned(), text.as_bytes().to_vec());
        let archive = Archive { files: files.map(owned).into() };
        let sources = read_sources(&archive, &rules).unwrap();
        let found = check(&sources, &rules, 100);
        found.into_iter().map(|found| (found.rule, found.line)).collect()
    }

    #[test]
    fn all_findings_of_a_file_come_in_the_order_of_its_lines() {
        let text =
            "import os, sys\nimport socket\nx = eval('1')\nimport torch\ntorch.hub.load(x)\n";
        let expected = [
            (Rule::SourceProcess, Some(1)),
            (Rule::SourceIntrospection, Some(1)),
            (Rule::SourceNetwork, Some(2)),
            (Rule::SourceDynamicCode, Some(3)),
            (Rule::SourceNetwork, Some(5)),
        ];
        assert_eq!(findings(text), expected);
    }

    #[test]
    fn what_honest_projects_write_is_not_found() {
        let texts = [
            "from __future__ import annotations\nimport collections.abc, dataclasses, math\n",
            "import torch.nn.functional as F\nfrom torch import nn, Tensor\nimport numpy as np\n",
            "from einops import rearrange\nfrom layers.block import x\nfrom . import layers\n",
            "import layers\nfrom .layers import block\nfrom typing import *\n",
            "import torch\nmodel = torch.compile(torch.nn.Linear(1, 2)).eval()\n",
            "def f(model, compile=False, open=None):\n    return compile or open\n",
            "class A:\n    def eval(self): return self.eval()\n    def open(self): pass\n",
            "def f(self):\n    return self.__class__.__name__, self.__dict__, super().__init__()\n",
            "import torch\ntorch.manual_seed(1)\nx = torch.random.get_rng_state()\n",
            "import torch\ntorch.backends.cuda.matmul.allow_tf32 = True\ny = torch.types\n",
            "getattr(self, name)(x)\nsetattr(self, f'layer{i}', x)\nhasattr(x, 'weight')\n",
            "import torch\ndef train(ctx):\n    torch.save({}, ctx.artifacts_dir + '/model.pt')\n",
            "# a comment about __globals__ and import os\n'''a docstring about __globals__'''\n",
            "def compile(model): return model\ncompile(1)\n",
            "x = input\ninput = 3\nf(open=1, eval=2)\nx.open()\n",
        ];
        for text in texts {
            assert_eq!(findings(text), [], "{text}");
        }
    }
}
