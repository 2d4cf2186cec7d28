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

    /// What is wrong, with its causes in one line, and the next step.
    #[must_use]
    pub fn in_a_line(&self) -> (String, Option<String>) {
        let texts = std::iter::once(self.error.to_string()).chain(self.causes());
        let problem = texts.collect::<Vec<_>>().join(": ");
        (hide_credentials(&problem), self.hint.clone())
    }

    /// The causes' texts, down to the first.
    fn causes(&self) -> impl Iterator<Item = String> + '_ {
        let causes = std::iter::successors(self.error.source(), |cause| (**cause).source());
        causes.take(CAUSES_MAX).map(ToString::to_string)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An error may name an endpoint, and an endpoint's URL may hold a password.
        write!(f, "error: {}", hide_credentials(&self.error.to_string()))?;
        for cause in self.causes() {
            write!(f, "\n  cause: {}", hide_credentials(&cause))?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Fails a test unless a failure says what is wrong and what to do next, each as a part of a
/// sentence: it stands behind `error:`, or behind `hint:`.
#[cfg(test)]
pub(crate) fn assert_helpful(failure: &Failure) {
    let (problem, hint) = failure.in_a_line();
    let hint = hint.unwrap_or_else(|| panic!("no hint: {failure}"));
    for text in [&problem, &hint] {
        assert!(text.len() > 10, "it says next to nothing: {failure}");
        assert!(!text.ends_with('.'), "a full stop at the end: {failure}");
        let first = text.chars().next().unwrap();
        assert!(!first.is_uppercase(), "it begins like a sentence: {failure}");
        assert!(!has_debug_text(text), "it shows a value as the program sees it: {failure}");
    }
    assert_ne!(problem, hint, "the hint says what is wrong once more: {failure}");
}

/// What operators have and can be sent to, in words; everything else of theirs stands between
/// backticks.
#[cfg(test)]
const THINGS: [&str; 9] =
    ["`", "/", "file", "folder", "directory", "build", "copy", "configuration", "socket"];

/// What is said by each of several failures, for a snapshot: the exit code and what is wrong, then
/// the next step. Fails a test unless each of them is helpful, and its next step names a command, a
/// setting or a file.
#[cfg(test)]
pub(crate) fn told(failures: impl IntoIterator<Item = Failure>) -> String {
    let told = failures.into_iter().map(|failure| {
        assert_helpful(&failure);
        let (problem, hint) = failure.in_a_line();
        let hint = hint.unwrap_or_default();
        let names_a_thing = THINGS.iter().any(|thing| hint.contains(thing));
        assert!(names_a_thing, "no command, setting or file in the next step: {failure}");
        format!("{:<5}{problem}\n  -> {hint}\n", failure.exit().code())
    });
    told.collect()
}

/// Whether there is something like `Some(` or `Os {` in a text: a capitalised word right before a
/// parenthesis, or before a brace.
#[cfg(test)]
fn has_debug_text(text: &str) -> bool {
    text.match_indices(['(', '{']).any(|(at, opening)| {
        let before = &text[..at];
        let before = if opening == "{" { before.trim_end() } else { before };
        let word = before.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        word.chars().next().is_some_and(char::is_uppercase)
    })
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
        let problem = "cannot read the hotkey file `/w/default`: no such file".to_owned();
        let hint = Some("copy it there, or set `wallet.path`".to_owned());
        assert_eq!(failure.in_a_line(), (problem, hint));
    }

    #[test]
    fn a_failure_shows_no_credentials_of_an_endpoint() {
        let source = std::io::Error::other("`wss://user:word@node.example/key` hung up");
        let failure = Failure::unavailable(Outer { path: "wss://user:word@h/key", source });
        let text = failure.to_string();
        assert!(text.contains("wss://***@node.example/***"), "{text}");
        assert!(!text.contains("word") && !text.contains("/key"), "{text}");
    }

    #[test]
    fn a_value_as_the_program_sees_it_is_told_from_a_sentence() {
        for text in ["it has Some(3)", "Os { code: 2 }", "got Custom{kind}", "Err(\"no\")"] {
            assert!(has_debug_text(text), "{text}");
        }
        for text in ["pid 7 (`/d/lock` is locked)", "a wallet of Bittensor (`btcli`)", "tempo (0)"]
        {
            assert!(!has_debug_text(text), "{text}");
        }
    }

    #[test]
    fn several_failures_are_told_in_two_lines_each() {
        let failure =
            |what: &'static str| Failure::unavailable(what).hint("look at `assay status`");
        insta::assert_snapshot!(told([failure("it is not there"), failure("it is gone now")]), @r"
        69   it is not there
          -> look at `assay status`
        69   it is gone now
          -> look at `assay status`
        ");
    }

    #[test]
    #[should_panic(expected = "no command, setting or file")]
    fn a_next_step_that_names_nothing_is_not_enough() {
        told([Failure::unavailable("it is not there").hint("try it once more later")]);
    }
}
