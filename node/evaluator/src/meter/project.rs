//! What the container's program is told about a project: which functions it calls.
//!
//! A project may bring half of what a run takes. The other half is the node's then: the reference
//! trainer, or the architecture that a training is for.

use std::collections::BTreeMap;

use node_core::funnel::Trainer;
use serde::Serialize;

use crate::project::{
    Project, ProjectKind, TokenizerChoice, Training, TrainingContract, TOKENIZER_FILE,
};
use crate::reference::{reference, TRAINER, TRAINER_PATH};

/// Where the functions of a project are that are called, and how.
///
/// The default is the layout that needs no manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entries {
    /// Builds the model; called with the context.
    pub architecture: Entry,
    /// Trains under the loop contract, or returns the recipe under that of hooks.
    pub training: Entry,
    /// Which contract the training follows. `None`: that of hooks if its file has a `get_recipe`
    /// and does not have the function that `training` names, otherwise that of the loop.
    pub contract: Option<Contract>,
    /// Path of a `tokenizer.json` in the archive; `None`: tokens are bytes. The container is not
    /// told: the meter alone uses it.
    #[serde(skip)]
    pub tokenizer: Option<String>,
    /// The node's own files that are sent beside the archive's, by path. No archive has them.
    #[serde(skip)]
    pub provided: BTreeMap<String, &'static str>,
}

/// A function in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Path in the archive, of a Python file.
    pub file: String,
    /// Name of a function at its top level.
    pub symbol: String,
}

/// Who runs the training loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Contract {
    /// The submission, over the batches that its context gives it.
    Loop,
    /// The container's program, which calls the submission's hooks.
    Hooks,
}

/// Why a project cannot be run as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRunnable {
    /// It does not bring what its kind says it brings.
    #[error("the project has no {part} of its own, and its kind says that it brings one")]
    Missing {
        /// What is not there.
        part: &'static str,
    },
    /// It is for an architecture that is not here.
    #[error(
        "`{id}` is no architecture that is known here: `architecture_id` names a reference, \
         `transformer-rope` or `ssm`"
    )]
    UnknownArchitecture {
        /// What it names.
        id: String,
    },
    /// The image brings none.
    #[error("the image has no tokenizer of that name; bring a `tokenizer.json`, or use bytes")]
    NoSuchTokenizer,
}

impl Entries {
    /// What is called to run an admitted project.
    ///
    /// - `trainer`: who trains. An architecture alone has no trainer of its own, so it is the
    ///   reference's whatever is asked for.
    ///
    /// # Errors
    ///
    /// [`NotRunnable`].
    pub fn of(project: &Project, trainer: Trainer) -> Result<Self, NotRunnable> {
        let mut provided = BTreeMap::new();
        let architecture = match (project.kind, &project.architecture) {
            (ProjectKind::TrainingForArch, _) => known_architecture(project, &mut provided)?,
            (_, Some(own)) => entry(&own.file, &own.symbol),
            (_, None) => return Err(NotRunnable::Missing { part: "architecture" }),
        };
        let (training, contract) = match (project.kind, trainer, &project.training) {
            (ProjectKind::ArchitectureOnly, _, _) | (_, Trainer::Reference, _) => {
                provided.insert(TRAINER_PATH.to_owned(), TRAINER);
                (entry(TRAINER_PATH, GET_RECIPE), Contract::Hooks)
            }
            (_, Trainer::Own, Some(own)) => own_training(own),
            (_, Trainer::Own, None) => return Err(NotRunnable::Missing { part: "training" }),
        };
        let tokenizer = match &project.tokenizer {
            TokenizerChoice::Bytes => None,
            TokenizerChoice::Custom => Some(TOKENIZER_FILE.to_owned()),
            TokenizerChoice::Reference(_) => return Err(NotRunnable::NoSuchTokenizer),
        };
        Ok(Self { architecture, training, contract: Some(contract), tokenizer, provided })
    }
}

/// What the reference trainer, of the contract of hooks, is called by.
const GET_RECIPE: &str = "get_recipe";

/// What builds a model, in every reference.
const BUILD_MODEL: &str = "build_model";

fn entry(file: &str, symbol: &str) -> Entry {
    Entry { file: file.to_owned(), symbol: symbol.to_owned() }
}

/// The architecture that a training is for, which is sent with it.
fn known_architecture(
    project: &Project,
    provided: &mut BTreeMap<String, &'static str>,
) -> Result<Entry, NotRunnable> {
    let id = project.architecture_id.as_deref().unwrap_or_default();
    let Some(known) = reference(id) else {
        return Err(NotRunnable::UnknownArchitecture { id: id.to_owned() });
    };
    let path = known.architecture_path();
    provided.insert(path.clone(), known.architecture());
    Ok(entry(&path, BUILD_MODEL))
}

fn own_training(training: &Training) -> (Entry, Contract) {
    let (contract, symbol) = match &training.contract {
        TrainingContract::Loop { symbol } => (Contract::Loop, symbol),
        TrainingContract::Hooks { symbol, .. } => (Contract::Hooks, symbol),
    };
    (entry(&training.file, symbol), contract)
}

impl Default for Entries {
    fn default() -> Self {
        Self {
            architecture: entry("architecture.py", BUILD_MODEL),
            training: entry("training.py", "train"),
            contract: None,
            tokenizer: None,
            provided: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::EntryPoint;

    fn project(kind: ProjectKind, id: Option<&str>) -> Project {
        let named = |file: &str, symbol: &str| (file.to_owned(), symbol.to_owned());
        let (file, symbol) = named("m.py", "make");
        let architecture = Some(EntryPoint { file, symbol });
        let (file, symbol) = named("t.py", "fit");
        let training = Some(Training { file, contract: TrainingContract::Loop { symbol } });
        Project {
            kind,
            architecture_id: id.map(str::to_owned),
            architecture: architecture.filter(|_| kind != ProjectKind::TrainingForArch),
            training: training.filter(|_| kind != ProjectKind::ArchitectureOnly),
            tokenizer: TokenizerChoice::Bytes,
        }
    }

    #[test]
    fn a_project_runs_with_what_it_brings_or_under_the_reference_trainer() {
        let full = project(ProjectKind::Full, None);
        let own = Entries::of(&full, Trainer::Own).unwrap();
        assert_eq!((own.architecture.file.as_str(), own.training.symbol.as_str()), ("m.py", "fit"));
        assert_eq!((own.contract, own.provided.len()), (Some(Contract::Loop), 0));
        let reference = Entries::of(&full, Trainer::Reference).unwrap();
        assert_eq!(reference.architecture, own.architecture);
        assert_eq!(reference.training, entry("assay:trainer.py", "get_recipe"));
        assert_eq!(reference.contract, Some(Contract::Hooks));
        assert_eq!(reference.provided["assay:trainer.py"], TRAINER);
        // An architecture alone has no other trainer.
        let alone = project(ProjectKind::ArchitectureOnly, None);
        for trainer in [Trainer::Own, Trainer::Reference] {
            assert_eq!(Entries::of(&alone, trainer).unwrap(), reference);
        }
    }

    #[test]
    fn a_training_alone_gets_the_architecture_that_it_names() {
        let known = project(ProjectKind::TrainingForArch, Some("ssm"));
        let entries = Entries::of(&known, Trainer::Own).unwrap();
        assert_eq!(entries.architecture, entry("assay:ssm/architecture.py", "build_model"));
        assert_eq!(entries.training, entry("t.py", "fit"));
        let ssm = reference("ssm").unwrap().architecture();
        assert_eq!(entries.provided[&entries.architecture.file], ssm);
        for id in [None, Some("mamba")] {
            let unknown = Entries::of(&project(ProjectKind::TrainingForArch, id), Trainer::Own);
            let id = id.unwrap_or_default().to_owned();
            assert_eq!(unknown, Err(NotRunnable::UnknownArchitecture { id }));
        }
    }
}
