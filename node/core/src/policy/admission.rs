//! What a submission's source may contain, and what happens where it does not keep to that.

use serde::{Deserialize, Serialize};

use super::UntrainedRules;
use crate::id::DigestBuilder;

/// What a gate does with what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateMode {
    /// The first finding ends admission.
    Reject,
    /// The submission is admitted, and the verdict says what was found: how a new gate is tried.
    Flag,
    /// Nothing is looked for.
    Off,
}

impl GateMode {
    /// Its public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Flag => "flag",
            Self::Off => "off",
        }
    }
}

/// Rules for the source of a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmissionRules {
    /// The static rules: imports, forbidden calls, literals.
    pub source: GateMode,
    /// The contract of projects that use several devices.
    pub distributed: GateMode,
    /// Modules that may be imported, with all that is below them, beside the project's own.
    pub import_roots: Vec<String>,
    /// Bytes of all Python files together. Bounds what parsing costs, whatever the gates' modes.
    pub python_bytes_max: u64,
    /// Bytes of one literal: a string, a number, or all that stand in one list, tuple, set or
    /// dictionary. Also of one gap between two tokens.
    pub literal_bytes_max: u64,
    /// Bytes of all literals of a project.
    pub literals_bytes_max: u64,
    /// Bytes of a project's Python that are no tokens: comments, indentation, blank lines.
    pub filler_bytes_max: u64,
    /// What the model is asked in the container before it sees any text.
    pub untrained: UntrainedRules,
}

impl AdmissionRules {
    /// The rules of the challenge, with all gates rejecting; models are asked few short sequences.
    #[must_use]
    pub fn strict() -> Self {
        let import_roots = [
            "__future__",
            "collections",
            "dataclasses",
            "einops",
            "math",
            "numpy",
            "torch",
            "typing",
        ];
        Self {
            source: GateMode::Reject,
            distributed: GateMode::Reject,
            import_roots: import_roots.map(str::to_owned).to_vec(),
            python_bytes_max: 512 << 10,
            literal_bytes_max: 4 << 10,
            literals_bytes_max: 64 << 10,
            filler_bytes_max: 256 << 10,
            untrained: UntrainedRules::short(),
        }
    }

    /// [`Self::strict`] with all gates in shadow.
    #[must_use]
    pub fn flagging() -> Self {
        let untrained = UntrainedRules { mode: GateMode::Flag, ..UntrainedRules::short() };
        let (source, distributed) = (GateMode::Flag, GateMode::Flag);
        Self { source, distributed, untrained, ..Self::strict() }
    }

    /// Appends every field to a policy's digest: adding one without hashing it does not compile.
    pub(super) fn hash(&self, digest: DigestBuilder) -> DigestBuilder {
        let Self {
            source,
            distributed,
            import_roots,
            python_bytes_max,
            literal_bytes_max,
            literals_bytes_max,
            filler_bytes_max,
            untrained,
        } = self;
        let digest = digest
            .bytes(source.name().as_bytes())
            .bytes(distributed.name().as_bytes())
            .bytes(import_roots.join("\n").as_bytes())
            .number(*python_bytes_max)
            .number(*literal_bytes_max)
            .number(*literals_bytes_max)
            .number(*filler_bytes_max);
        untrained.hash(digest)
    }
}
