//! What the container's program is told about a project: which functions it calls.
//!
//! A project may bring half of what a run takes. The other half comes from elsewhere then: the
//! reference trainer, or the architecture that a training is for, a reference's or that of another
//! submission. Those files stand under names that no archive has.

use std::collections::BTreeMap;

use node_core::admission::Brings;
use node_core::funnel::Trainer;
use node_core::id::ContentDigest;
use serde::Serialize;

use crate::archive::Archive;
use crate::project::{
    EntryPoint, Project, ProjectKind, TokenizerChoice, Training, TrainingContract, TOKENIZER_FILE,
};
use crate::reference::{reference, reference_tokenizer, ReferenceTokenizer, TRAINER, TRAINER_PATH};

/// Where the functions of a project are that are called, and how.
///
/// The default is the layout that needs no manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entries {
    /// Builds the model; called with the context.
    pub architecture: EntryPoint,
    /// Trains under the loop contract, or returns the recipe under that of hooks.
    pub training: EntryPoint,
    /// Which contract the training follows. `None`: that of hooks if its file has a `get_recipe`
    /// and does not have the function that `training` names, otherwise that of the loop.
    pub contract: Option<Contract>,
    /// Where the tokenizer is; `None`: tokens are bytes. The container is not told: the meter alone
    /// uses it.
    #[serde(skip)]
    pub tokenizer: Option<TokenizerSource>,
    /// Files that are sent beside the archive's, by path. No archive has them.
    #[serde(skip)]
    pub provided: BTreeMap<String, Vec<u8>>,
}

/// Where a run's `tokenizer.json` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenizerSource {
    /// Among the files of the run, at this path.
    File(String),
    /// With the node.
    Reference(ReferenceTokenizer),
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

/// Another submission, whose architecture a training is for.
#[derive(Clone, Copy, Debug)]
pub struct OtherProject<'a> {
    /// By what it is named.
    pub content: ContentDigest,
    /// Its files.
    pub archive: &'a Archive,
    /// What they hold.
    pub project: &'a Project,
}

/// Where the files of another submission stand among those of a run.
const OTHER_PROJECT: &str = "assay:architecture/";

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
         `transformer-rope` or `ssm`, or is the content digest of an accepted submission"
    )]
    UnknownArchitecture {
        /// What it names.
        id: String,
    },
    /// It names a tokenizer that this node does not have.
    #[error("the node has no tokenizer `{name}`; bring a `tokenizer.json`, or use bytes")]
    NoSuchTokenizer {
        /// What it names.
        name: String,
    },
}

impl Entries {
    /// What is called to run an admitted project.
    ///
    /// Tokens are the architecture's: what a recipe adds is compared with what that architecture
    /// reaches with them.
    ///
    /// - `trainer`: who trains. An architecture alone has no trainer of its own, so it is the
    ///   reference's whatever is asked for.
    /// - `other`: the submission that the project names, if it names one by its content.
    ///
    /// # Errors
    ///
    /// [`NotRunnable`].
    pub fn of(
        project: &Project,
        trainer: Trainer,
        other: Option<OtherProject<'_>>,
    ) -> Result<Self, NotRunnable> {
        let Model { architecture, tokenizer, mut provided } = match project.kind {
            ProjectKind::TrainingForArch => Model::known(project, other)?,
            ProjectKind::Full | ProjectKind::ArchitectureOnly => Model::own(project)?,
        };
        let (training, contract) = match (project.kind, trainer, &project.training) {
            (ProjectKind::ArchitectureOnly, _, _) | (_, Trainer::Reference, _) => {
                provided.insert(TRAINER_PATH.to_owned(), TRAINER.as_bytes().to_vec());
                (entry(TRAINER_PATH, GET_RECIPE), Contract::Hooks)
            }
            (_, Trainer::Own, Some(own)) => own_training(own),
            (_, Trainer::Own, None) => return Err(NotRunnable::Missing { part: "training" }),
        };
        Ok(Self { architecture, training, contract: Some(contract), tokenizer, provided })
    }
}

/// What the reference trainer, of the contract of hooks, is called by.
const GET_RECIPE: &str = "get_recipe";

/// What builds a model, in every reference.
const BUILD_MODEL: &str = "build_model";

fn entry(file: &str, symbol: &str) -> EntryPoint {
    EntryPoint { file: file.to_owned(), symbol: symbol.to_owned() }
}

/// What is trained.
struct Model {
    architecture: EntryPoint,
    tokenizer: Option<TokenizerSource>,
    provided: BTreeMap<String, Vec<u8>>,
}

impl Model {
    /// What the project brings itself.
    fn own(project: &Project) -> Result<Self, NotRunnable> {
        let Some(own) = &project.architecture else {
            return Err(NotRunnable::Missing { part: "architecture" });
        };
        let tokenizer = match &project.tokenizer {
            TokenizerChoice::Bytes => None,
            TokenizerChoice::Custom => Some(TokenizerSource::File(TOKENIZER_FILE.to_owned())),
            TokenizerChoice::Reference(name) => {
                let known = reference_tokenizer(name);
                let missing = || NotRunnable::NoSuchTokenizer { name: name.clone() };
                Some(TokenizerSource::Reference(known.ok_or_else(missing)?))
            }
        };
        let architecture = entry(&own.file, &own.symbol);
        Ok(Self { architecture, tokenizer, provided: BTreeMap::new() })
    }

    /// What a training is for, which is sent with it.
    fn known(project: &Project, other: Option<OtherProject<'_>>) -> Result<Self, NotRunnable> {
        let id = project.architecture_id.as_deref().unwrap_or_default();
        let other = other.filter(|other| project.named_content() == Some(other.content));
        match (reference(id), other) {
            (Some(known), _) => {
                let path = known.architecture_path();
                let architecture = entry(&path, BUILD_MODEL);
                let provided = [(path, known.architecture().as_bytes().to_vec())].into();
                Ok(Self { architecture, tokenizer: None, provided })
            }
            (None, Some(other)) => Self::of_other(other),
            (None, None) => Err(NotRunnable::UnknownArchitecture { id: id.to_owned() }),
        }
    }

    /// All files of another submission, as they lie there: they may import one another.
    fn of_other(other: OtherProject<'_>) -> Result<Self, NotRunnable> {
        let OtherProject { content, archive, project } = other;
        if project.kind == ProjectKind::TrainingForArch {
            return Err(NotRunnable::UnknownArchitecture { id: content.to_string() });
        }
        let there = |path: &str| format!("{OTHER_PROJECT}{path}");
        let Self { architecture: EntryPoint { file, symbol }, tokenizer, provided: _ } =
            Self::own(project)?;
        let files = archive.files.iter();
        Ok(Self {
            architecture: EntryPoint { file: there(&file), symbol },
            tokenizer: tokenizer.map(|source| match source {
                TokenizerSource::File(path) => TokenizerSource::File(there(&path)),
                known @ TokenizerSource::Reference(_) => known,
            }),
            provided: files.map(|(path, content)| (there(path), content.clone())).collect(),
        })
    }
}

impl Project {
    /// The content whose architecture it trains, if it names one by its digest.
    #[must_use]
    pub fn named_content(&self) -> Option<ContentDigest> {
        let (kind, architecture_id) = (self.kind, self.architecture_id.clone());
        Brings { kind, architecture_id }.named_content()
    }
}

fn own_training(training: &Training) -> (EntryPoint, Contract) {
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
    use crate::reference::reference_tokenizers;

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
        let own = Entries::of(&full, Trainer::Own, None).unwrap();
        assert_eq!((own.architecture.file.as_str(), own.training.symbol.as_str()), ("m.py", "fit"));
        assert_eq!((own.contract, own.provided.len()), (Some(Contract::Loop), 0));
        let reference = Entries::of(&full, Trainer::Reference, None).unwrap();
        assert_eq!(reference.architecture, own.architecture);
        assert_eq!(reference.training, entry("assay:trainer.py", "get_recipe"));
        assert_eq!(reference.contract, Some(Contract::Hooks));
        assert_eq!(reference.provided["assay:trainer.py"], TRAINER.as_bytes());
        // An architecture alone has no other trainer.
        let alone = project(ProjectKind::ArchitectureOnly, None);
        for trainer in [Trainer::Own, Trainer::Reference] {
            assert_eq!(Entries::of(&alone, trainer, None).unwrap(), reference);
        }
    }

    #[test]
    fn a_training_alone_gets_the_architecture_that_it_names() {
        let known = project(ProjectKind::TrainingForArch, Some("ssm"));
        let entries = Entries::of(&known, Trainer::Own, None).unwrap();
        assert_eq!(entries.architecture, entry("assay:ssm/architecture.py", "build_model"));
        assert_eq!(entries.training, entry("t.py", "fit"));
        let ssm = reference("ssm").unwrap().architecture();
        assert_eq!(entries.provided[&entries.architecture.file], ssm.as_bytes());
        for id in [None, Some("mamba")] {
            let training = project(ProjectKind::TrainingForArch, id);
            let unknown = Entries::of(&training, Trainer::Own, None);
            let id = id.unwrap_or_default().to_owned();
            assert_eq!(unknown, Err(NotRunnable::UnknownArchitecture { id }));
        }
    }

    /// An archive of several files.
    fn archive() -> Archive {
        let file = |path: &str| (path.to_owned(), path.as_bytes().to_vec());
        Archive { files: ["m.py", "parts/layer.py", "tokenizer.json"].map(file).into() }
    }

    fn trained(id: &str, content: ContentDigest, named: &Project) -> Result<Entries, NotRunnable> {
        let archive = archive();
        let other = OtherProject { content, archive: &archive, project: named };
        let mut training = project(ProjectKind::TrainingForArch, Some(id));
        // Which it cannot choose.
        training.tokenizer = TokenizerChoice::Reference("gpt2".to_owned());
        Entries::of(&training, Trainer::Own, Some(other))
    }

    #[test]
    fn a_training_gets_all_files_of_the_submission_that_it_names_and_its_tokens() {
        let content = ContentDigest([7; 32]);
        let mut named = project(ProjectKind::Full, None);
        named.tokenizer = TokenizerChoice::Custom;
        let entries = trained(&content.to_string(), content, &named).unwrap();
        assert_eq!(entries.architecture, entry("assay:architecture/m.py", "make"));
        assert_eq!(entries.training, entry("t.py", "fit"), "its own, and not that of the other");
        let there = "assay:architecture/tokenizer.json".to_owned();
        assert_eq!(entries.tokenizer, Some(TokenizerSource::File(there)));
        let sent: Vec<&str> = entries.provided.keys().map(String::as_str).collect();
        let files = archive().files;
        let all: Vec<String> = files.keys().map(|path| format!("{OTHER_PROJECT}{path}")).collect();
        assert_eq!(sent, all);
        assert_eq!(entries.provided["assay:architecture/parts/layer.py"], b"parts/layer.py");
        let known = reference_tokenizers()[0];
        named.tokenizer = TokenizerChoice::Reference(known.name().to_owned());
        let entries = trained(&content.to_string(), content, &named).unwrap();
        assert_eq!(entries.tokenizer, Some(TokenizerSource::Reference(known)));
        named.kind = ProjectKind::ArchitectureOnly;
        named.tokenizer = TokenizerChoice::Bytes;
        let entries = trained(&content.to_string(), content, &named).unwrap();
        assert_eq!((entries.tokenizer, entries.provided.len()), (None, 3));
    }

    #[test]
    fn a_training_gets_no_other_files_than_those_of_the_content_that_it_names() {
        let content = ContentDigest([7; 32]);
        let full = project(ProjectKind::Full, None);
        let unknown = |id: &str| Err(NotRunnable::UnknownArchitecture { id: id.to_owned() });
        let text = content.to_string();
        for id in ["", "mamba", &text[2..], &ContentDigest([8; 32]).to_string()] {
            assert_eq!(trained(id, content, &full), unknown(id));
        }
        let half = project(ProjectKind::TrainingForArch, Some("ssm"));
        assert_eq!(trained(&text, content, &half), unknown(&text), "it brings none");
        // A reference's name is nobody else's.
        let ssm = trained("ssm", content, &full).unwrap();
        assert_eq!(ssm.architecture, entry("assay:ssm/architecture.py", "build_model"));
        assert_eq!((ssm.provided.len(), ssm.tokenizer), (1, None));
        // No archive has files where those of another one stand.
        let files = [(format!("{OTHER_PROJECT}m.py"), Vec::new())].into();
        let limits = node_core::policy::Policy::dev().archive;
        assert!(crate::archive::pack_files(&files, &limits).is_err());
    }
}
