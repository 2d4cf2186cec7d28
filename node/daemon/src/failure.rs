//! How a failure is told to a person: what, with which value, causes down to the first, what next.
//!
//! ```text
//! error: cannot read chain state at block 4 812 330
//!   cause: endpoint `wss://node.example:443` answered for runtime 301
//!   hint: upgrade the node, or set another `chain.endpoints`
//! ```

use std::error::Error;
use std::fmt;

use crate::config::hide_credentials;
use crate::exit::ExitReason;

/// Causes printed at most. Higher: a cycle of causes would never end.
const CAUSES_MAX: usize = 16;

/// Why a command ends without having done what it was asked.
#[derive(Debug)]
pub struct Failure {
    exit: ExitReason,
    error: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
}

impl Failure {
    /// A failure with this exit code.
    pub fn new(exit: ExitReason, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit, error: error.into(), hint: None }
    }

    /// Bad arguments or configuration: exit code 64.
    pub fn bad_configuration(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ExitReason::BadConfiguration, error)
    }

    /// Something needed is not there: exit code 69.
    pub fn unavailable(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ExitReason::Unavailable, error)
    }

    /// What should never happen: exit code 1.
    pub fn unexpected(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ExitReason::Failed, error)
    }

    /// The same failure with a next step for the operator.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Why the process ends.
    #[must_use]
    pub fn exit(&self) -> ExitReason {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An error may name an endpoint, and an endpoint's URL may hold a password.
        write!(f, "error: {}", hide_credentials(&self.error.to_string()))?;
        let mut cause = self.error.source();
        for _ in 0..CAUSES_MAX {
            let Some(error) = cause else { break };
            write!(f, "\n  cause: {}", hide_credentials(&error.to_string()))?;
            cause = error.source();
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the hotkey file `{path}`")]
    struct Outer {
        path: &'static str,
        #[source]
        source: std::io::Error,
    }

    #[test]
    fn a_failure_names_value_cause_and_next_step() {
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        let failure = Failure::unavailable(Outer { path: "/w/default", source })
            .hint("copy it there, or set `wallet.path`");
        insta::assert_snapshot!(failure, @r"
        error: cannot read the hotkey file `/w/default`
          cause: no such file
          hint: copy it there, or set `wallet.path`
        ");
        assert_eq!(failure.exit().code(), 69);
    }

    #[test]
    fn a_failure_shows_no_credentials_of_an_endpoint() {
        let source = std::io::Error::other("`wss://user:word@node.example/key` hung up");
        let failure = Failure::unavailable(Outer { path: "wss://user:word@h/key", source });
        let text = failure.to_string();
        assert!(text.contains("wss://***@node.example/***"), "{text}");
        assert!(!text.contains("word") && !text.contains("/key"), "{text}");
    }
}
