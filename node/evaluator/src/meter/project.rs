//! What the container's program is told about a project: which functions it calls.

use serde::Serialize;

use crate::project::{Project, TokenizerChoice, TrainingContract, TOKENIZER_FILE};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRunnable {
    /// It brings only one of the two, and this version has no other one to run it with.
    #[error(
        "the project brings only its {has}, and this version of the node has no reference to run \
         it with"
    )]
    Half {
        /// What it brings.
        has: &'static str,
    },
    /// The image brings none.
    #[error("the image has no tokenizer of that name; bring a `tokenizer.json`, or use bytes")]
    NoSuchTokenizer,
}

impl Entries {
    /// What of an admitted project is called.
    ///
    /// # Errors
    ///
    /// [`NotRunnable`].
    pub fn of(project: &Project) -> Result<Self, NotRunnable> {
        let Some(architecture) = &project.architecture else {
            return Err(NotRunnable::Half { has: "training" });
        };
        let Some(training) = &project.training else {
            return Err(NotRunnable::Half { has: "architecture" });
        };
        let (contract, symbol) = match &training.contract {
            TrainingContract::Loop { symbol } => (Contract::Loop, symbol),
            TrainingContract::Hooks { symbol, .. } => (Contract::Hooks, symbol),
        };
        let tokenizer = match &project.tokenizer {
            TokenizerChoice::Bytes => None,
            TokenizerChoice::Custom => Some(TOKENIZER_FILE.to_owned()),
            TokenizerChoice::Reference(_) => return Err(NotRunnable::NoSuchTokenizer),
        };
        let entry =
            |file: &str, symbol: &str| Entry { file: file.to_owned(), symbol: symbol.to_owned() };
        Ok(Self {
            architecture: entry(&architecture.file, &architecture.symbol),
            training: entry(&training.file, symbol),
            contract: Some(contract),
            tokenizer,
        })
    }
}

impl Default for Entries {
    fn default() -> Self {
        let entry =
            |file: &str, symbol: &str| Entry { file: file.to_owned(), symbol: symbol.to_owned() };
        Self {
            architecture: entry("architecture.py", "build_model"),
            training: entry("training.py", "train"),
            contract: None,
            tokenizer: None,
        }
    }
}
