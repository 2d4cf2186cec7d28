//! `assay init`: from nothing to a configuration that was checked, and the next command to type.
//!
//! ```text
//! flags, variables --> questions, at a terminal --> the file, whole --> doctor --> what is next
//! ```
//!
//! Nothing is written before every answer is there: Ctrl-C at a question leaves nothing behind.
//! Files: here the order and what is printed; `answers` (questions, and the flags that answer
//! them), `ask` (a question, until its answer fits), `judge` (whether it fits), `place` (the file
//! on the disk). What stands in the file is `config::template`.

mod answers;
mod ask;
mod judge;
mod place;

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use self::answers::{Answers, Question, QUESTIONS};
use self::ask::{Dialogue, NotAnswered};
use super::doctor::{self, Examined, TryDevices};
use crate::config::{
    file_to_write, template, withheld, Config, ConfigError, ConfigErrors, FlagValue, Origin,
    Settings, Shown, Surroundings, WeightsMode,
};
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::{output, password};

const EXAMPLES: &str = "\
Examples:
  assay init                                            asks, writes, checks, says what is next
  assay init --yes --netuid 3 --wallet.name validator   asks nothing, as in a script
  assay init --config node2/assay.toml                  another file, for another node
  assay init --netuid 3 --set stop.grace=10m            sets what is not asked for, too
  assay init --yes --netuid 3 --json | jq -r .next

The file names every setting and what it does; what was chosen holds, the rest shows the defaults.
Only its owner can read it. It holds no secret: an endpoint with a key in its URL is refused, and
no password is asked for.

Exit codes: 0 written, and nothing fails; 1 written, and a check fails; 64 a wrong or missing
answer, or a file that is there: nothing was written; 69 the file cannot be written; 130
interrupted.";

/// Ask for what a node needs, write its configuration, and check it.
///
/// Each question names a setting, what it does, and its default, which Enter takes. A flag answers
/// its question beforehand. Behind the last answer the file is written, `assay doctor` runs with
/// it, and the next command is printed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InitCommand {
    /// The file to write [default: ~/.config/assay/assay.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Take the default wherever there is one, and ask only for what has none
    #[arg(long)]
    yes: bool,

    /// Replace a file that is there
    #[arg(long)]
    force: bool,

    /// Do not run `assay doctor` with the file
    #[arg(long)]
    no_doctor: bool,

    /// Print JSON: `written`, `chosen` with `key`, `value` and `origin`, `doctor` as `assay doctor
    /// --json` has it, and `next`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    answers: Answers,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
enum NotBegun {
    #[error("`{}` is there, and nothing is overwritten", path.display())]
    Exists { path: PathBuf },
    #[error("cannot write `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{flags} not given, and there is no terminal to ask at")]
    NobodyToAsk { flags: String },
    #[error("{keys} would be written with a user, a password or a key in a URL")]
    Secret { keys: String },
}

/// What became of the checks.
enum Checked {
    /// Nobody wanted them.
    Left,
    /// Somebody pressed Ctrl-C.
    Interrupted,
    /// They ended.
    Done(Examined),
}

/// What `--json` prints.
#[derive(Serialize)]
struct Outcome {
    written: String,
    chosen: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    doctor: Option<Examined>,
    next: String,
}

impl InitCommand {
    /// Asks, writes and checks.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if an answer is wrong or missing, or the file is there or cannot be written.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let surroundings = Surroundings::of_process();
        let path = file_to_write(self.config.as_deref(), &surroundings);
        if !self.force && place::is_taken(&path) {
            return Err(exists(path));
        }
        let settings = self.answered(&path, &surroundings)?;
        let config = settings.config().map_err(Failure::bad_configuration)?;
        place::write(&path, &template(&settings), self.force).map_err(|source| {
            match source.kind() {
                std::io::ErrorKind::AlreadyExists if !self.force => exists(path.clone()),
                _ => Failure::unavailable(NotBegun::Write { path: path.clone(), source })
                    .hint("name a file that this user can write: `--config FILE`"),
            }
        })?;
        say_withheld(&settings);
        let checked = self.check(&path, &surroundings)?;
        let next = Next::after(&checked, &path, &config, &surroundings);
        self.tell(&path, &settings, checked, &next)
    }

    fn check(&self, path: &Path, surroundings: &Surroundings) -> Result<Checked, Failure> {
        if self.no_doctor {
            return Ok(Checked::Left);
        }
        let settings = Settings::load(Some(path), &[], surroundings.clone());
        let examined = doctor::examine(&settings, TryDevices::Yes)?;
        Ok(examined.map_or(Checked::Interrupted, Checked::Done))
    }

    /// Settings in which every question has its answer, or the default that is as good.
    fn answered(&self, path: &Path, surroundings: &Surroundings) -> Result<Settings, Failure> {
        let settings = |values: &[FlagValue]| Settings::without_file(values, surroundings.clone());
        let mut values = self.answers.values();
        let given = settings(&values);
        refuse_wrong(&given)?;
        let open = self.open_questions(&given);
        if !open.is_empty() && !password::can_ask() {
            return Err(nobody_to_ask(&open));
        }
        if !open.is_empty() {
            output::print_error(&greeting(open.len(), path));
        }
        let say: &dyn Fn(&str) = &output::prompt;
        let mut lines = std::io::stdin().lock();
        let mut dialogue = Dialogue::new(&mut lines, say);
        for question in open {
            let shown = shown(&settings(&values), question.key).value;
            let mut judge = |text: Option<&str>| {
                let answer = text.map(|text| question.answered(text));
                let with: Vec<FlagValue> = values.iter().cloned().chain(answer).collect();
                judge::objection(question.key, &settings(&with))
            };
            let answer = dialogue
                .ask(question, shown.as_deref(), &mut judge)
                .map_err(|error| not_answered(error, question))?;
            values.extend(answer.map(|text| question.answered(&text)));
        }
        Ok(settings(&values))
    }

    /// Questions that somebody has to answer. At a terminal a variable is a default; elsewhere it
    /// is the answer.
    fn open_questions(&self, given: &Settings) -> Vec<&'static Question> {
        let is_open = |question: &&Question| {
            let Shown { value, origin, .. } = shown(given, question.key);
            match (self.yes, password::can_ask()) {
                (true, _) => value.is_none(),
                (false, true) => !matches!(origin, Origin::Flag(_)),
                (false, false) => matches!(origin, Origin::Default | Origin::Derived(_)),
            }
        };
        QUESTIONS.iter().filter(is_open).collect()
    }

    fn tell(
        &self,
        path: &Path,
        settings: &Settings,
        checked: Checked,
        next: &Next,
    ) -> Result<ExitReason, Failure> {
        let (doctor, exit) = match checked {
            Checked::Left => (None, ExitReason::Done),
            Checked::Interrupted => (None, ExitReason::LeftAtOnce),
            Checked::Done(examined) => {
                let exit = examined.exit();
                (Some(examined), exit)
            }
        };
        let written = path.display().to_string();
        let text = if self.json {
            let chosen = settings.shown().into_iter().filter(|one| one.origin.rank() > 0).collect();
            let outcome = Outcome { written, chosen, doctor, next: next.command.clone() };
            serde_json::to_string_pretty(&outcome).map_err(Failure::unexpected)?
        } else {
            let doctor = doctor.map(|examined| format!("{}\n", examined.text()));
            let Next { command, why } = next;
            format!(
                "written     {written}\n\n{}next        {command}\n            {why}\n",
                doctor.unwrap_or_default(),
            )
        };
        output::print(&text)?;
        Ok(exit)
    }
}

/// The next command to type.
struct Next {
    command: String,
    why: &'static str,
}

impl Next {
    fn after(checked: &Checked, path: &Path, config: &Config, surroundings: &Surroundings) -> Self {
        let is_healthy = match checked {
            Checked::Done(examined) => examined.exit() == ExitReason::Done,
            Checked::Left | Checked::Interrupted => false,
        };
        let (command, why) = match (is_healthy, config.weights.mode) {
            (false, _) => {
                ("assay doctor", "says what fails and what to do about it, until nothing does")
            }
            (true, WeightsMode::Submit) => (
                "assay run --dry-run",
                "computes and shows each epoch's weights and signs none; without `--dry-run` it \
                 signs them",
            ),
            (true, WeightsMode::DryRun | WeightsMode::Off) => {
                ("assay run", "validates the subnet and signs no weights: see `weights.mode`")
            }
        };
        let found = Settings::load(None, &[], surroundings.clone());
        let command = if found.file() == Some(path) {
            command.to_owned()
        } else {
            format!("{command} --config {}", shell_word(&path.display().to_string()))
        };
        Self { command, why }
    }
}

fn exists(path: PathBuf) -> Failure {
    Failure::bad_configuration(NotBegun::Exists { path }).hint(
        "`--force` replaces it; `--config FILE` names another one; `assay doctor` checks what is \
         there",
    )
}

fn greeting(count: usize, path: &Path) -> String {
    let questions =
        if count == 1 { "one question".to_owned() } else { format!("{count} questions") };
    format!(
        "{questions}, then `{}` is written and checked. Enter takes what stands in brackets; \
         Ctrl-C leaves, and nothing is written.",
        path.display()
    )
}

/// How a key stands, with its default where nobody set it.
fn shown(settings: &Settings, key: &str) -> Shown {
    let nothing = || Shown { key: key.to_owned(), value: None, origin: Origin::Default };
    settings.shown().into_iter().find(|shown| shown.key == key).unwrap_or_else(nothing)
}

/// Refuses what flags and variables say wrongly. What is only missing is asked for.
fn refuse_wrong(given: &Settings) -> Result<(), Failure> {
    let errors = given.config().err().map(|errors| errors.0).unwrap_or_default();
    let is_asked_for = |error: &ConfigError| {
        let is_missing = error.value.is_none() && error.origin.is_none();
        is_missing && QUESTIONS.iter().any(|question| question.key == error.key)
    };
    let wrong: Vec<ConfigError> = errors.into_iter().filter(|error| !is_asked_for(error)).collect();
    if !wrong.is_empty() {
        return Err(Failure::bad_configuration(ConfigErrors(wrong)));
    }
    let is_flag = |(_, origin): &(&str, Origin)| matches!(origin, Origin::Flag(_));
    let secrets = withheld(given).into_iter().filter(is_flag);
    let keys: Vec<String> = secrets.map(|(key, _)| format!("`{key}`")).collect();
    if keys.is_empty() {
        return Ok(());
    }
    Err(Failure::bad_configuration(NotBegun::Secret { keys: keys.join(", ") })
        .hint(judge::SECRET_HINT))
}

/// Says which variables the node will need beside the file.
fn say_withheld(settings: &Settings) {
    for (key, origin) in withheld(settings) {
        output::print_error(&format!(
            "not written: `{key}`, which holds a user, a password or a key; the node needs the \
             {origin} as well"
        ));
    }
}

fn nobody_to_ask(open: &[&Question]) -> Failure {
    let flags: Vec<String> = open.iter().map(|question| format!("`{}`", question.flag)).collect();
    let is = if flags.len() == 1 { "is" } else { "are" };
    let flags = format!("{} {is}", flags.join(", "));
    Failure::bad_configuration(NotBegun::NobodyToAsk { flags })
        .hint("give what is named; `--yes` takes the default of everything but `--netuid`")
}

fn not_answered(error: NotAnswered, question: &Question) -> Failure {
    let flag = question.flag;
    Failure::bad_configuration(error)
        .hint(format!("nothing was written; `{flag}` answers it beforehand: `assay init --help`"))
}

/// A word as a shell takes it.
fn shell_word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@%,=".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_printed_as_a_shell_takes_it() {
        assert_eq!(shell_word("/etc/assay/assay.toml"), "/etc/assay/assay.toml");
        assert_eq!(shell_word("/a b/it's"), r"'/a b/it'\''s'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn what_nobody_can_be_asked_for_is_named_by_its_flag() {
        let netuid = QUESTIONS.iter().find(|question| question.key == "chain.netuid").unwrap();
        let one = nobody_to_ask(&[netuid]).to_string();
        assert!(one.contains("`--netuid` is not given, and there is no terminal"), "{one}");
        let all: Vec<&Question> = QUESTIONS.iter().collect();
        let all = nobody_to_ask(&all).to_string();
        assert!(all.contains("`--cpu-slots` are not given"), "{all}");
        assert!(all.contains("hint: "), "{all}");
    }
}
