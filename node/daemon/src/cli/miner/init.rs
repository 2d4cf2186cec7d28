//! `assay miner init`.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  assay miner init my-model
  assay miner init my-model --from ssm
  assay miner check my-model

What comes out is one of the challenge's reference submissions, as it is scored. It passes `check`,
and earns nothing: change it first.";

/// Begin a project.
///
/// Writes `prism.yaml`, `architecture.py`, `training.py` and `README.md` into a folder, and makes
/// the folder. Nothing that exists is overwritten: if one of them does, none is written.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InitCommand {
    /// The folder
    #[arg(default_value = ".")]
    dir: PathBuf,

    /// What to begin with
    #[arg(long, value_name = "PROJECT", value_enum, default_value_t = Template::TransformerRope)]
    from: Template,
}

/// A project to begin with: the reference submissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Template {
    /// A small transformer with rotary positions, and a training loop of its own
    TransformerRope,
    /// A diagonal linear recurrence with gates, and a training loop of its own
    Ssm,
    /// A gated convolution, and all hooks: the evaluator runs the loop
    Hooks,
}

/// A file of a project of the repository.
macro_rules! reference {
    ($project:literal, $file:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../", $project, "/", $file))
    };
}

const MANIFEST: &str = "\
# What a validator calls. These are the defaults: without this file the same holds.
kind: full
architecture:
  entrypoint: architecture.py
training:
  entrypoint: training.py
# Or `kjv-bpe-4096`, which ships with the node, or `tokenizer.json` for one of your own.
tokenizer: bytes
";

impl Template {
    fn name(self) -> &'static str {
        match self {
            Self::TransformerRope => "transformer-rope",
            Self::Ssm => "ssm",
            Self::Hooks => "hooks",
        }
    }

    fn architecture(self) -> &'static str {
        match self {
            Self::TransformerRope => {
                reference!("node/evaluator/reference/transformer-rope", "architecture.py")
            }
            Self::Ssm => reference!("node/evaluator/reference/ssm", "architecture.py"),
            Self::Hooks => reference!("tests/fixtures/submissions/hooks", "architecture.py"),
        }
    }

    fn training(self) -> &'static str {
        match self {
            Self::TransformerRope => {
                reference!("node/evaluator/reference/transformer-rope", "training.py")
            }
            Self::Ssm => reference!("node/evaluator/reference/ssm", "training.py"),
            Self::Hooks => reference!("tests/fixtures/submissions/hooks", "training.py"),
        }
    }

    fn files(self) -> [(&'static str, String); 4] {
        [
            ("prism.yaml", MANIFEST.to_owned()),
            ("architecture.py", self.architecture().to_owned()),
            ("training.py", self.training().to_owned()),
            ("README.md", readme(self)),
        ]
    }
}

fn readme(template: Template) -> String {
    let contract = match template {
        Template::TransformerRope | Template::Ssm => {
            "`training.py` has the loop: `train(ctx)` takes batches from `ctx.train_batches(model)`."
        }
        Template::Hooks => {
            "`training.py` has hooks: the evaluator runs the loop and calls them by their names."
        }
    };
    format!(
        "# A submission to the `nas` challenge\n\
         \n\
         Begun from the reference `{}`. `architecture.py` builds the model:\n\
         `build_model(ctx)`. {contract}\n\
         \n\
         Change it before you submit it: the first who commits to a content owns it, and what is\n\
         like somebody else's earlier work is refused.\n\
         \n\
         1. `assay miner check .` says what every validator's admission will say. Nothing runs.\n\
         2. `assay miner submit . --upload https://VALIDATOR --netuid N --wallet.name NAME` leaves\n\
            \x20  the archive with a validator and commits to it on chain.\n\
         3. `assay miner status --validator https://VALIDATOR --wallet.name NAME --watch` shows how\n\
            \x20  it stands, and why.\n\
         \n\
         This file is part of the submission, as everything in this folder is whose name does not\n\
         begin with a dot. `docs/miners.md` of Assay has the whole way.\n",
        template.name(),
    )
}

/// Why nothing was begun.
#[derive(Debug, thiserror::Error)]
enum NotBegun {
    #[error("`{path}` exists, and nothing is overwritten")]
    Exists { path: PathBuf },
    #[error("cannot write `{path}`")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl InitCommand {
    /// Writes the project.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if one of its files exists, or the folder cannot be written.
    pub(super) fn execute(self) -> Result<ExitReason, Failure> {
        let files = self.from.files();
        let paths = files.each_ref().map(|(name, _)| self.dir.join(name));
        if let Some(path) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
            return Err(not_begun(NotBegun::Exists { path: path.clone() }));
        }
        std::fs::create_dir_all(&self.dir).map_err(|source| cannot_write(&self.dir, source))?;
        for ((_, text), path) in files.iter().zip(&paths) {
            // Not even one that came into being since.
            File::create_new(path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(|source| cannot_write(path, source))?;
        }
        let written = paths.iter().map(|path| format!("written     {}\n", path.display()));
        let dir = self.dir.display();
        output::print(&format!(
            "{}next        change it, then `assay miner check {dir}`",
            written.collect::<String>(),
        ))?;
        Ok(ExitReason::Done)
    }
}

fn cannot_write(path: &Path, source: io::Error) -> Failure {
    not_begun(NotBegun::Write { path: path.to_owned(), source })
}

fn not_begun(error: NotBegun) -> Failure {
    let hint = match &error {
        NotBegun::Exists { .. } => "name a folder that has no project yet",
        NotBegun::Write { .. } => "name a folder that can be written",
    };
    Failure::new(ExitReason::Failed, error).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::told;

    #[test]
    fn each_project_that_is_not_begun_says_what_next() {
        let path = || PathBuf::from("my-model/prism.yaml");
        let source = io::ErrorKind::PermissionDenied.into();
        let all = [NotBegun::Exists { path: path() }, NotBegun::Write { path: path(), source }];
        insta::assert_snapshot!(told(all.map(not_begun)), @r"
        1    `my-model/prism.yaml` exists, and nothing is overwritten
          -> name a folder that has no project yet
        1    cannot write `my-model/prism.yaml`: permission denied
          -> name a folder that can be written
        ");
    }
}
