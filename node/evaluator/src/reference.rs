//! What the node itself brings to a run: the reference submissions, the reference trainer and the
//! reference tokenizers.
//!
//! The reference submissions are what others are compared with; each is a project as a miner would
//! send it, and is admitted like one. The reference trainer trains any architecture, so that two of
//! them differ by what they are and not by how they were trained.
//!
//! A reference tokenizer is one that a project names instead of bringing its own.
//!
//! Files that the node adds to a submission's stand under names that begin with `assay:`. No path
//! of an archive has a colon, so they are nobody else's.

use std::collections::BTreeMap;

use node_core::id::ContentDigest;
use node_core::policy::ArchiveLimits;

use crate::archive::{content_digest, pack_files, PackError, Packed};
use crate::project::{ARCHITECTURE_FILE, TRAINING_FILE};

/// Where the reference trainer stands among the files of a run.
pub(crate) const TRAINER_PATH: &str = "assay:trainer.py";

/// The reference trainer, of the contract of hooks.
pub const TRAINER: &str = include_str!("../reference/trainer/training.py");

/// A tokenizer that ships with the node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReferenceTokenizer {
    name: &'static str,
    json: &'static str,
}

/// `examples/reference_tokenizer.rs` made them.
const TOKENIZERS: [ReferenceTokenizer; 1] = [ReferenceTokenizer {
    name: "kjv-bpe-4096",
    json: include_str!("../reference/tokenizers/kjv-bpe-4096.json"),
}];

/// All reference tokenizers.
#[must_use]
pub fn reference_tokenizers() -> &'static [ReferenceTokenizer] {
    &TOKENIZERS
}

/// The reference tokenizer of this name.
#[must_use]
pub fn reference_tokenizer(name: &str) -> Option<ReferenceTokenizer> {
    TOKENIZERS.into_iter().find(|tokenizer| tokenizer.name == name)
}

impl ReferenceTokenizer {
    /// Its name, which a manifest's `tokenizer` may be.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its `tokenizer.json`.
    #[must_use]
    pub fn json(&self) -> &'static str {
        self.json
    }
}

impl std::fmt::Debug for ReferenceTokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ReferenceTokenizer").field(&self.name).finish()
    }
}

/// A submission that ships with the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    name: &'static str,
    architecture: &'static str,
    training: &'static str,
}

const REFERENCES: [Reference; 2] = [
    Reference {
        name: "transformer-rope",
        architecture: include_str!("../reference/transformer-rope/architecture.py"),
        training: include_str!("../reference/transformer-rope/training.py"),
    },
    Reference {
        name: "ssm",
        architecture: include_str!("../reference/ssm/architecture.py"),
        training: include_str!("../reference/ssm/training.py"),
    },
];

/// All reference submissions; the first is the one that qualities are measured by.
#[must_use]
pub fn references() -> &'static [Reference] {
    &REFERENCES
}

/// The reference submission of this name.
#[must_use]
pub fn reference(name: &str) -> Option<Reference> {
    REFERENCES.into_iter().find(|reference| reference.name == name)
}

impl Reference {
    /// Its name, which an `architecture_id` may be.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The text of its architecture.
    #[must_use]
    pub fn architecture(&self) -> &'static str {
        self.architecture
    }

    /// Its files, by path.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let file = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
        [file(ARCHITECTURE_FILE, self.architecture), file(TRAINING_FILE, self.training)].into()
    }

    /// What it is known by.
    #[must_use]
    pub fn digest(&self) -> ContentDigest {
        content_digest(&self.files())
    }

    /// As an archive, the same bytes every time.
    ///
    /// # Errors
    ///
    /// [`PackError`] if it breaks the limits.
    pub fn packed(&self, limits: &ArchiveLimits) -> Result<Packed, PackError> {
        pack_files(&self.files(), limits)
    }

    /// Where its architecture stands among the files of a run that is not its own.
    pub(crate) fn architecture_path(&self) -> String {
        format!("assay:{}/{ARCHITECTURE_FILE}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use node_core::admission::{Rule, Verdict};
    use node_core::policy::Policy;

    use super::*;
    use crate::admit::admit;
    use crate::gates::Gates;
    use crate::tokenizer::Tokenizer;

    #[test]
    fn every_position_is_asked_for_with_a_reference_tokenizer_and_a_submission_could_bring_it() {
        for policy in [Policy::dev(), Policy::standard()] {
            for tokenizer in reference_tokenizers() {
                let rules = &policy.meter.tokens;
                let read = Tokenizer::read(tokenizer.json().as_bytes(), rules).unwrap();
                assert_eq!(read.vocabulary(), 4_096, "{tokenizer:?}");
                assert!(read.vocabulary() <= rules.every_position_vocabulary_max, "{tokenizer:?}");
                let verse = "In the beginning God created the heaven and the earth.";
                assert!(read.encode(verse).unwrap().len() * 3 < verse.len(), "{tokenizer:?}");
                read.encode("naïve 地, \u{0}\r\n\t x").unwrap();
            }
        }
        assert_eq!(reference_tokenizer("gpt2"), None);
    }

    #[test]
    fn both_are_admitted_wherever_they_are_packed_and_are_what_they_say() {
        for reference in references() {
            for policy in [Policy::dev(), Policy::standard()] {
                let packed = reference.packed(&policy.archive).unwrap();
                assert_eq!(packed, reference.packed(&policy.archive).unwrap());
                assert_eq!(packed.digest, reference.digest());
                let gates = Gates::check(&policy);
                let (verdict, _) = admit(&packed.bytes, &packed.digest, &gates);
                let Verdict::Admitted { flags, .. } = verdict else { panic!("{verdict:?}") };
                assert_eq!(flags, [], "{}", reference.name());
            }
        }
        assert_eq!(reference("ssm"), Some(references()[1]));
        assert_eq!(reference("SSM"), None);
    }

    #[test]
    fn the_trainer_is_a_training_that_admission_would_take() {
        let mut files = references()[0].files();
        files.insert(TRAINING_FILE.to_owned(), TRAINER.as_bytes().to_vec());
        let policy = Policy::standard();
        let packed = pack_files(&files, &policy.archive).unwrap();
        let (verdict, _) = admit(&packed.bytes, &packed.digest, &Gates::check(&policy));
        assert!(matches!(verdict, Verdict::Admitted { ref flags, .. } if flags.is_empty()));
    }

    #[test]
    fn no_archive_has_a_file_where_the_nodes_are() {
        let limits = Policy::dev().archive;
        for path in [TRAINER_PATH.to_owned(), references()[0].architecture_path()] {
            let files = [(path.clone(), TRAINER.as_bytes().to_vec())].into();
            let Err(PackError::Refused { rejection }) = pack_files(&files, &limits) else {
                panic!("`{path}` is taken")
            };
            assert_eq!(rejection.rule, Rule::ArchivePathName, "{path}");
        }
    }
}
