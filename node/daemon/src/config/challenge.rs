//! What is evaluated, and by which rules.

use std::path::PathBuf;

use node_core::policy::Policy;

use super::key::{Default, Key, Kind};
use super::policy_file::{self, PolicyFileError};
use super::reader::{boolean, choice, texts, url, Complaint, Reader};
use super::{DataDir, Section};

const POLICY: Key = Key::new("challenge.nas.policy", Kind::Text, Default::Value("dev"))
    .about(
        "The rules of the `nas` challenge, by name. `standard` are those of the challenge, on GPUs. \
         `dev` has the same tiers with small budgets, on CPU slots; `dev-gpu` is the same on whole \
         GPUs. `quick` has the first tier alone and pays by its points. `dev-open` and \
         `dev-gpu-open` are `quick` on CPU slots and on GPUs with the gates that read a \
         submission's source in shadow: they say what they found, and admit; copies are not \
         looked for. Validators of a subnet have to use the same: leases and receipts carry \
         the rules' digest.",
    )
    .example("\"dev\"");

const POLICY_FILE: Key = Key::new("challenge.nas.policy_file", Kind::Path, Default::Unset)
    .about(
        "A TOML file that changes numbers of `challenge.nas.policy` and gives what comes out a \
         `name` of its own. `assay policy show` prints all that can be changed, and the digest by \
         which validators compare their rules.",
    )
    .example("\"/etc/assay/policy.toml\"");

const DATASET: Key = Key::new(
    "challenge.nas.dataset",
    Kind::Path,
    Default::Derived("`datasets/nas` in the data directory"),
)
.about("The folder that `assay dataset prepare` wrote.")
.example("\"/var/lib/assay/datasets/nas\"");

const CONTENT_DIRS: Key = Key::new("challenge.nas.content_dirs", Kind::Paths, Default::Value(""))
    .about(
        "Folders searched for `<content digest>.zip` before a submission is fetched from its \
         location.",
    )
    .example("[\"/srv/submissions\"]");

const PRIVATE_LOCATIONS: Key =
    Key::new("challenge.nas.private_locations", Kind::Boolean, Default::Value("false"))
        .about(
            "Whether submissions may be fetched from addresses that are not of the public \
             internet. Miners choose the address: with `true` they can make the node ask its own \
             network. For private test networks only.",
        )
        .example("true");

const HUGGING_FACE: Key = Key::new(
    "challenge.nas.hugging_face",
    Kind::Text,
    Default::Value("https://huggingface.co"),
)
.about(
    "Where submissions with a location `hf:org/repo@rev` are fetched: Hugging Face, or a mirror of \
     it. The archive is `submission.zip` in that revision of the repository.",
)
.example("\"https://hf-mirror.example\"");

pub(super) const SECTION: Section = Section {
    name: "challenge",
    about: "What is evaluated, and by which rules.",
    keys: &[POLICY, POLICY_FILE, DATASET, CONTENT_DIRS, PRIVATE_LOCATIONS, HUGGING_FACE],
};

/// What is evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The `nas` challenge: small language models, trained from scratch.
    pub nas: Nas,
}

/// Settings of the `nas` challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nas {
    /// Its rules, or what they are made of.
    pub policy: PolicyName,
    /// What changes them, absolute.
    pub policy_file: Option<PathBuf>,
    /// Where its data set is, absolute.
    pub dataset: PathBuf,
    /// Folders searched for submissions' archives, absolute, in this order.
    pub content_dirs: Vec<PathBuf>,
    /// Whether locations outside of the public internet are asked.
    pub private_locations: bool,
    /// URL under which repositories of `hf:` locations are.
    pub hugging_face: String,
}

/// Rules that are built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyName {
    /// One tier on two CPU cores in seconds, paid by its points.
    Quick,
    /// Every tier, on two CPU cores in minutes.
    Dev,
    /// The rules of the challenge.
    Standard,
    /// `Quick` with the gates before the container in shadow.
    DevOpen,
    /// `Dev` on whole GPUs.
    DevGpu,
    /// `DevOpen` on whole GPUs.
    DevGpuOpen,
}

/// What the configuration calls them.
const POLICIES: [(&str, PolicyName); 6] = [
    ("quick", PolicyName::Quick),
    ("standard", PolicyName::Standard),
    ("dev", PolicyName::Dev),
    ("dev-open", PolicyName::DevOpen),
    ("dev-gpu", PolicyName::DevGpu),
    ("dev-gpu-open", PolicyName::DevGpuOpen),
];

impl PolicyName {
    /// The rules themselves.
    #[must_use]
    fn policy(self) -> Policy {
        match self {
            Self::Quick => Policy::quick(),
            Self::Dev => Policy::dev(),
            Self::Standard => Policy::standard(),
            Self::DevOpen => Policy::dev_open(),
            Self::DevGpu => Policy::dev_gpu(),
            Self::DevGpuOpen => Policy::dev_gpu_open(),
        }
    }
}

impl Challenge {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { nas: Nas::read(reader)? })
    }
}

impl Nas {
    /// The rules that hold.
    ///
    /// # Errors
    ///
    /// [`PolicyFileError`] if a file changes them and cannot be used.
    pub fn rules(&self) -> Result<Policy, PolicyFileError> {
        let base = self.policy.policy();
        match &self.policy_file {
            Some(path) => policy_file::read(path, &base, &POLICIES.map(|(name, _)| name)),
            None => Ok(base),
        }
    }

    /// Reads this section alone; for [`super::Settings::section`].
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let policy = reader.take(&POLICY, |value| choice(&POLICIES, value));
        let surroundings = reader.surroundings().clone();
        let policy_file =
            reader.take_optional(&POLICY_FILE, |value| super::reader::path(value, &surroundings));
        let dataset = reader
            .take_optional(&DATASET, |value| super::reader::path(value, &surroundings))
            .and_then(|given| given.or_else(|| default_dataset(reader)));
        let content_dirs = reader.take(&CONTENT_DIRS, |value| {
            Ok(texts(value)?.iter().map(|text| surroundings.absolute(text)).collect())
        });
        let private_locations = reader.take(&PRIVATE_LOCATIONS, boolean);
        let hugging_face = reader.take(&HUGGING_FACE, |value| {
            url(value, "https://huggingface.co").and_then(|given| encrypted(&given))
        });
        Some(Self {
            policy: policy?,
            policy_file: policy_file?,
            dataset: dataset?,
            content_dirs: content_dirs?,
            private_locations: private_locations?,
            hugging_face: hugging_face?,
        })
    }
}

/// A URL with `https`: archives come over nothing else.
fn encrypted(url: &str) -> Result<String, Complaint> {
    let hint = "archives are downloaded over `https://` only";
    url.starts_with("https://")
        .then(|| url.to_owned())
        .ok_or_else(|| Complaint::new("not an `https://` URL", hint))
}

/// The folder beside the store.
fn default_dataset(reader: &mut Reader<'_>) -> Option<PathBuf> {
    let dataset = DataDir::read(reader)?.path().join("datasets").join("nas");
    reader.derive(&DATASET, dataset.display().to_string(), "data_dir");
    Some(dataset)
}
