//! One question, asked until its answer fits, three times at most.
//!
//! Knows lines and texts only; whether an answer fits, another one says.

use std::io::{self, BufRead, Read as _};

use super::answers::Question;
use crate::config::wrapped;

/// How often one question is asked.
const TRIES_MAX: usize = 3;

/// Bytes of an answer. Lower: a long list of endpoints does not fit. Higher: a file that was meant
/// for another command is read into memory.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Columns of what is said before a question.
const COLUMNS: usize = 80;

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Objection {
    pub(super) problem: String,
    pub(super) hint: String,
    pub(super) weight: Weight,
}

/// Whether an answer can be taken in spite of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// No file can hold it.
    Wrong,
    /// Something is not there yet: who gives the same answer again means it.
    Doubtful,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAnswered {
    #[error("the input ended before `{key}` was answered")]
    Ended { key: &'static str },
    #[error("`{key}` was not answered in {TRIES_MAX} tries, the last time because: {problem}")]
    GaveUp { key: &'static str, problem: String },
    #[error("the answer to `{key}` cannot be read")]
    Unreadable {
        key: &'static str,
        #[source]
        source: io::Error,
    },
}

/// Says what is wrong with an answer; `None` is the one who presses Enter.
pub(super) type Judge<'a> = &'a mut dyn FnMut(Option<&str>) -> Option<Objection>;

/// Whom questions are put to.
pub(super) struct Dialogue<'a> {
    lines: &'a mut dyn BufRead,
    say: &'a dyn Fn(&str),
}

impl<'a> Dialogue<'a> {
    /// - `say`: shows a text, and leaves the cursor behind it.
    pub(super) fn new(lines: &'a mut dyn BufRead, say: &'a dyn Fn(&str)) -> Self {
        Self { lines, say }
    }

    /// Asks until the answer fits. `None`: the default is taken.
    ///
    /// - `default`: what holds without an answer; without one, Enter is no answer.
    ///
    /// # Errors
    ///
    /// [`NotAnswered`].
    pub(super) fn ask(
        &mut self,
        question: &Question,
        default: Option<&str>,
        judge: Judge<'_>,
    ) -> Result<Option<String>, NotAnswered> {
        let key = question.key;
        self.introduce(question);
        let mut doubted: Option<Option<String>> = None;
        let mut problem = String::new();
        for _ in 0..TRIES_MAX {
            let shown = default.map(|default| format!(" [{}]", typed(default)));
            (self.say)(&format!("{key}{}: ", shown.unwrap_or_default()));
            let line = self.line().map_err(|source| NotAnswered::Unreadable { key, source })?;
            let Some(line) = line else { return Err(NotAnswered::Ended { key }) };
            let answer = Some(line.trim().to_owned()).filter(|answer| !answer.is_empty());
            if answer.is_none() && default.is_none() {
                problem = "it has no default".to_owned();
                self.object(&problem, "type a value");
                continue;
            }
            let Some(objection) = judge(answer.as_deref()) else { return Ok(answer) };
            if objection.weight == Weight::Doubtful && doubted.as_ref() == Some(&answer) {
                return Ok(answer);
            }
            self.object(&objection.problem, &objection.hint);
            doubted = (objection.weight == Weight::Doubtful).then_some(answer);
            if doubted.is_some() {
                (self.say)("  The same answer again is taken.\n");
            }
            problem = objection.problem;
        }
        Err(NotAnswered::GaveUp { key, problem })
    }

    fn introduce(&self, question: &Question) {
        let about = wrapped(question.about(), COLUMNS);
        let here = question.here().map(|here| wrapped(&here, COLUMNS)).unwrap_or_default();
        let lines: String = about.iter().chain(&here).map(|line| format!("{line}\n")).collect();
        (self.say)(&format!("\n{lines}"));
    }

    fn object(&self, problem: &str, hint: &str) {
        (self.say)(&format!("  {problem}\n  hint: {hint}\n"));
    }

    /// A line; `None` at the end of the input.
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        let mut bounded = (&mut *self.lines).take(ANSWER_BYTES_MAX);
        let read = bounded.read_until(b'\n', &mut bytes)?;
        if read as u64 == ANSWER_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text"))?;
        Ok((read > 0).then_some(text))
    }
}

/// A value as one types it, from how it stands in a file.
fn typed(value: &str) -> String {
    let items = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    items.unwrap_or(value).replace('"', "")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::super::answers::QUESTIONS;
    use super::*;

    fn objection(problem: &str, weight: Weight) -> Objection {
        Objection { problem: problem.to_owned(), hint: "do this".to_owned(), weight }
    }

    /// The answer to the question of the subnet from these lines, and what was said.
    fn ask(
        lines: &str,
        default: Option<&str>,
        mut judge: impl FnMut(Option<&str>) -> Option<Objection>,
    ) -> (Result<Option<String>, String>, String) {
        let said = RefCell::new(String::new());
        let say = |text: &str| said.borrow_mut().push_str(text);
        let mut lines = lines.as_bytes();
        let question = QUESTIONS.iter().find(|question| question.key == "chain.netuid").unwrap();
        let answer = Dialogue::new(&mut lines, &say).ask(question, default, &mut judge);
        (answer.map_err(|error| error.to_string()), said.into_inner())
    }

    #[test]
    fn an_answer_is_taken_without_what_is_around_it_and_enter_takes_the_default() {
        let (answer, said) = ask("  7 \n", None, |_| None);
        assert_eq!(answer, Ok(Some("7".to_owned())));
        assert_eq!(said, "\nThe subnet that is validated.\nchain.netuid: ");
        let (answer, said) = ask("\n", Some("[\"a\", \"b\"]"), |_| None);
        assert_eq!(answer, Ok(None));
        assert!(said.ends_with("chain.netuid [a, b]: "), "{said}");
    }

    #[test]
    fn a_wrong_answer_is_told_why_and_asked_for_again_three_times_in_all() {
        let wrong = |text: Option<&str>| {
            (text != Some("7")).then(|| objection("not a subnet", Weight::Wrong))
        };
        let (answer, said) = ask("x\ny\n7\n", None, wrong);
        assert_eq!(answer, Ok(Some("7".to_owned())));
        assert_eq!(said.matches("  not a subnet\n  hint: do this\n").count(), 2, "{said}");
        let (answer, _) = ask("x\nx\nx\n7\n", None, wrong);
        let problem = answer.unwrap_err();
        assert!(problem.contains("not answered in 3 tries"), "{problem}");
        assert!(problem.contains("not a subnet"), "{problem}");
    }

    #[test]
    fn what_is_only_doubtful_is_taken_the_second_time() {
        let doubt = |_: Option<&str>| Some(objection("not there", Weight::Doubtful));
        let (answer, said) = ask("a\nb\nb\n", None, doubt);
        assert_eq!(answer, Ok(Some("b".to_owned())));
        assert_eq!(said.matches("The same answer again is taken").count(), 2, "{said}");
        assert_eq!(ask("\n\n", Some("d"), doubt).0, Ok(None), "also of a default");
        assert!(ask("a\nb\nc\n", None, doubt).0.is_err());
    }

    #[test]
    fn enter_is_no_answer_where_there_is_no_default_nor_is_the_end() {
        let (answer, said) = ask("\n3\n", None, |_| None);
        assert_eq!(answer, Ok(Some("3".to_owned())));
        assert!(said.contains("it has no default"), "{said}");
        let (answer, _) = ask("", Some("d"), |_| None);
        assert_eq!(answer, Err("the input ended before `chain.netuid` was answered".to_owned()));
    }

    #[test]
    fn an_answer_without_end_and_one_that_is_no_text_are_refused() {
        let long = "x".repeat(5000);
        assert!(ask(&long, None, |_| None).0.unwrap_err().contains("cannot be read"));
    }
}
