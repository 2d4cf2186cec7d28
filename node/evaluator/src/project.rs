//! What a project is to the one who runs it: which files and functions, under which contract.

pub use node_core::evidence::Hook;
pub use node_core::funnel::ProjectKind;
use serde::{Deserialize, Serialize};

/// The file of the architecture, unless a manifest names another.
pub const ARCHITECTURE_FILE: &str = "architecture.py";

/// The file of the training, unless a manifest names another.
pub const TRAINING_FILE: &str = "training.py";

/// A tokenizer of the project's own, which the meter reads.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// An admitted project, as the start of a run needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// What it competes with.
    pub kind: ProjectKind,
    /// The family that its training is for; given if and only if the kind is
    /// [`ProjectKind::TrainingForArch`], and for others if their manifest says so.
    pub architecture_id: Option<String>,
    /// Where the model is made, `build_model(ctx)` unless the manifest names another function.
    pub architecture: Option<EntryPoint>,
    /// How it is trained; `None` if the kind leaves that to the reference trainer.
    pub training: Option<Training>,
    /// How text becomes tokens.
    pub tokenizer: TokenizerChoice,
}

/// A function at the top level of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPoint {
    /// The file's path in the archive.
    pub file: String,
    /// The function's name.
    pub symbol: String,
}

/// A project's way of training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Training {
    /// The file's path in the archive.
    pub file: String,
    /// What is called of it.
    pub contract: TrainingContract,
}

/// What is called of a training file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "contract")]
pub enum TrainingContract {
    /// The miner's own loop.
    Loop {
        /// The function that is called with the context: `train`, or what the manifest names.
        symbol: String,
    },
    /// A recipe and hooks, which the shim's loop calls.
    Hooks {
        /// The function that gives the recipe: `get_recipe`, or what the manifest names.
        symbol: String,
        /// The hooks that the file defines, each once, in the order of [`Hook::ALL`].
        hooks: Vec<Hook>,
    },
}

/// How text becomes tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "tokenizer", content = "name")]
pub enum TokenizerChoice {
    /// Every byte is a token.
    Bytes,
    /// One that ships with the node, by name.
    Reference(String),
    /// [`TOKENIZER_FILE`] of the archive, which the meter reads.
    Custom,
}
