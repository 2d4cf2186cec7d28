//! Which modules a project may import, and what its own are called.

use std::collections::BTreeSet;

use node_core::admission::{Rejection, Rule};
use node_core::policy::AdmissionRules;

use super::tables::{advice, is_taken, module_rule, path_rule};
use crate::archive::rejection;
use crate::source::names::{dotted, imports};
use crate::source::{Field, Finding, Kind, NodeId, Source};

/// Libraries whose `*` would bring names that nobody can follow.
const NO_STAR: [&str; 3] = ["einops", "numpy", "torch"];

/// Modules and packages of the project itself.
#[derive(Debug)]
pub(super) struct ProjectModules {
    names: BTreeSet<String>,
}

impl ProjectModules {
    /// Every folder and file of Python, wherever it lies: entry points lie in folders of their own.
    pub(super) fn of(sources: &[Source]) -> Self {
        let parts = sources.iter().flat_map(|source| modules_of(&source.path));
        Self { names: parts.map(str::to_owned).collect() }
    }

    /// A file whose module has the name of another one.
    pub(super) fn shadowing(&self, source: &Source) -> Option<Rejection> {
        let taken = modules_of(&source.path).find(|name| is_taken(name))?;
        let detail = format!(
            "the module `{taken}` has the name of one that Python or the image brings: rename it"
        );
        Some(rejection(Rule::SourceShadow, Some(&source.path), detail))
    }

    fn has(&self, root: &str) -> bool {
        self.names.contains(root) && !is_taken(root)
    }
}

fn modules_of(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_suffix(".py").unwrap_or(path);
    path.split('/').filter(|part| *part != "__init__")
}

/// Finds imports that are not allowed.
pub(super) fn check(
    source: &Source,
    modules: &ProjectModules,
    rules: &AdmissionRules,
    found: &mut Vec<Finding>,
) {
    let tree = &source.tree;
    for id in tree.ids() {
        match tree.kind(id) {
            Kind::Import => {
                for child in tree.children(id).filter(|id| tree.node(*id).field == Field::Name) {
                    let written = match tree.kind(child) {
                        Kind::AliasedImport => tree.child(child, Field::Name).unwrap_or(child),
                        _ => child,
                    };
                    check_module(source, modules, rules, (id, &dotted(source, written)), found);
                }
            }
            Kind::ImportFrom => check_from(source, modules, rules, id, found),
            Kind::FutureImport => {
                check_module(source, modules, rules, (id, "__future__"), found);
            }
            _ => {}
        }
    }
}

fn check_from(
    source: &Source,
    modules: &ProjectModules,
    rules: &AdmissionRules,
    id: NodeId,
    found: &mut Vec<Finding>,
) {
    let tree = &source.tree;
    let Some(module) = tree.child(id, Field::ModuleName) else { return };
    // What lies beside the file is the project's own.
    if tree.kind(module) == Kind::RelativeImport {
        return;
    }
    let module = dotted(source, module);
    let before = found.len();
    check_module(source, modules, rules, (id, &module), found);
    if found.len() > before {
        return;
    }
    if tree.children(id).any(|child| tree.kind(child) == Kind::WildcardImport)
        && NO_STAR.contains(&root(&module))
    {
        let detail = format!("`from {module} import *` hides what is used: import names");
        found.push(source.finding(Rule::SourceImport, id, detail));
        return;
    }
    if modules.has(root(&module)) {
        return;
    }
    for imported in imports(source, id) {
        if let Some(rule) = path_rule(&imported.path) {
            found.push(refused(source, rule, id, &imported.path));
        }
    }
}

/// - `import`: the statement, and the module that it names.
fn check_module(
    source: &Source,
    modules: &ProjectModules,
    rules: &AdmissionRules,
    import: (NodeId, &str),
    found: &mut Vec<Finding>,
) {
    let (at, path) = import;
    let root = root(path);
    if modules.has(root) {
        return;
    }
    if rules.import_roots.iter().any(|allowed| allowed == root) {
        if let Some(rule) = path_rule(path) {
            found.push(refused(source, rule, at, path));
        }
        return;
    }
    match module_rule(root) {
        Rule::SourceImport => {
            let detail = format!(
                "`{root}` may not be imported: only {} and the project's own modules may",
                rules.import_roots.join(", ")
            );
            found.push(source.finding(Rule::SourceImport, at, detail));
        }
        rule => found.push(refused(source, rule, at, path)),
    }
}

fn root(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

/// A broken rule for something with a name.
pub(super) fn refused(source: &Source, rule: Rule, at: NodeId, what: &str) -> Finding {
    source.finding(rule, at, format!("`{what}` may not be used: {}", advice(rule)))
}
