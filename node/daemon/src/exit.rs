//! The exit codes: an interface that service managers and scripts rely on.

use std::fmt;
use std::process::ExitCode;

/// Why the process ends; each has its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// Done as asked.
    Done,
    /// An unexpected failure, or the answer "no" of a command that answers yes or no.
    Failed,
    /// `assay status` found that the node's key or its journal is not safe.
    Unsafe,
    /// No node runs here, or the one that does gives no answer.
    NotRunning,
    /// Bad arguments or configuration; nothing was touched.
    BadConfiguration,
    /// Something needed at start is unavailable.
    Unavailable,
    /// Another signer uses this hotkey.
    AnotherSigner,
    /// Stopped before everything had ended: the grace ran out, or a second signal came.
    GraceRanOut,
    /// Left at the third signal.
    LeftAtOnce,
}

impl ExitReason {
    /// Every reason, by rising code.
    pub const ALL: &[Self] = &[
        Self::Done,
        Self::Failed,
        Self::Unsafe,
        Self::NotRunning,
        Self::BadConfiguration,
        Self::Unavailable,
        Self::AnotherSigner,
        Self::GraceRanOut,
        Self::LeftAtOnce,
    ];

    /// The code; 64 to 78 follow `sysexits.h`, 130 is what shells use for an interrupt.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Unsafe => 2,
            Self::NotRunning => 3,
            Self::BadConfiguration => 64,
            Self::Unavailable => 69,
            Self::AnotherSigner => 70,
            Self::GraceRanOut => 75,
            Self::LeftAtOnce => 130,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done, or stopped as asked",
            Self::Failed => {
                "unexpected failure; `status`: degraded; `miner`: rejected; `verify`, \
                 `dataset verify`: damaged; `doctor`, `init`: something fails"
            }
            Self::Unsafe => "`status`: the node's key or its record of what it signed is not safe",
            Self::NotRunning => {
                "no node is running here, or it does not answer; `weights plan`: none has run here"
            }
            Self::BadConfiguration => "bad arguments or configuration; nothing was touched",
            Self::Unavailable => {
                "something needed is unavailable: chain, container engine, key, data, store lock; \
                 `chain check`: something is fatal"
            }
            Self::AnotherSigner => "another signer uses this hotkey",
            Self::GraceRanOut => {
                "stopped before everything had ended: the grace ran out, or a second signal came"
            }
            Self::LeftAtOnce => {
                "left at the third signal; `backup`, `doctor`, `init`, `dataset prepare`: \
                 interrupted"
            }
        })
    }
}

impl From<ExitReason> for ExitCode {
    fn from(reason: ExitReason) -> Self {
        Self::from(reason.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_code_in_rising_order() {
        let codes: Vec<u8> = ExitReason::ALL.iter().map(|reason| reason.code()).collect();
        assert!(codes.is_sorted_by(|one, next| one < next), "{codes:?}");
    }
}
