//! `assay miner status`.

use clap::Args;
use node_core::id::{Hotkey, SubmissionId};
use serde_json::{json, Value};

use super::answers::{Submission, Submissions};
use super::table::render;
use super::validator::{one_line, AskError, Validator};
use crate::cli::flags::ConfigFlags;
use crate::cli::runtime::block_on;
use crate::cli::watch::watch;
use crate::config::{Miner, Wallet};
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::{hotkey, output};

const EXAMPLES: &str = "\
Examples:
  assay miner status --validator https://validator.example:8000 --wallet.name miner
  assay miner status 7866e9f2... --validator http://127.0.0.1:8000 --watch
  assay miner status --hotkey 5F... --validator https://one.example --validator https://two.example
  assay miner status --json | jq '.[].submissions[0].status'      with `miner.validators` set

Exit codes: 0 a validator knows it; 1 none that answered does; 69 none answered.";

/// Show how submissions stand at validators, and why.
///
/// Asks validators over HTTP: state and tier, the place in the queue and why it changed, the
/// evidence of a rejection, what runs at the moment, what was measured with the curve of the loss.
/// Several validators stand side by side; each says what it knows itself.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StatusCommand {
    /// A submission's id; without it, all of the hotkey
    #[arg(conflicts_with = "hotkey")]
    id: Option<String>,

    /// The miner's address [default: the hotkey of the wallet]
    #[arg(long, value_name = "ADDRESS")]
    hotkey: Option<String>,

    /// A validator's public interface; may be repeated [default: `miner.validators`]
    #[arg(long, value_name = "URL")]
    validator: Vec<String>,

    /// Print JSON: for each validator what it answers, or its `error`
    #[arg(long)]
    json: bool,

    /// Print again every second, until interrupted
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// Why nobody was asked.
#[derive(Debug, thiserror::Error)]
enum NotAsked {
    #[error("no validator is named")]
    NoValidator,
    #[error("`{id}` is not the id of a submission: it has 64 hexadecimal digits")]
    BadId { id: String },
    #[error("`{hotkey}` is not the address of a hotkey")]
    BadHotkey { hotkey: String },
    #[error("the wallet's public file does not say which hotkey it is")]
    NoHotkey,
}

/// What is asked about.
#[derive(Clone, Copy, Debug)]
enum Subject {
    Id(SubmissionId),
    Hotkey(Hotkey),
}

/// What a validator answered: its submissions as they came, or why there are none.
struct Told {
    url: String,
    answer: Result<Vec<Value>, AskError>,
}

impl StatusCommand {
    /// Prints how they stand.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if nobody could be asked.
    pub(super) fn execute(self) -> Result<ExitReason, Failure> {
        let validators = self.validators()?;
        let subject = self.subject()?;
        block_on(async {
            if !self.watch {
                let (text, exit) = self.look(&validators, subject).await?;
                output::print(&text)?;
                return Ok(exit);
            }
            let look = async || self.look(&validators, subject).await.map(|(text, _)| text);
            watch(self.json, look).await
        })
        .map_err(Failure::unexpected)?
    }

    fn validators(&self) -> Result<Vec<Validator>, Failure> {
        let urls = if self.validator.is_empty() {
            let settings = self.flags.settings();
            settings.section(Miner::read).map_err(Failure::bad_configuration)?.validators
        } else {
            self.validator.clone()
        };
        if urls.is_empty() {
            return Err(not_asked(NotAsked::NoValidator));
        }
        let at = |url: &String| {
            Validator::at(url).map_err(|error| {
                let hint = error.hint();
                Failure::bad_configuration(error).hint(hint)
            })
        };
        urls.iter().map(at).collect()
    }

    fn subject(&self) -> Result<Subject, Failure> {
        if let Some(id) = &self.id {
            let parsed = id.parse().map_err(|_| not_asked(NotAsked::BadId { id: one_line(id) }))?;
            return Ok(Subject::Id(parsed));
        }
        if let Some(hotkey) = &self.hotkey {
            let parsed = hotkey
                .parse()
                .map_err(|_| not_asked(NotAsked::BadHotkey { hotkey: one_line(hotkey) }))?;
            return Ok(Subject::Hotkey(parsed));
        }
        let settings = self.flags.settings();
        let wallet = settings.section(Wallet::read).map_err(Failure::bad_configuration)?;
        let named = hotkey::read(&wallet)?.facts().named;
        let named = named.ok_or_else(|| not_asked(NotAsked::NoHotkey))?;
        Ok(Subject::Hotkey(named))
    }

    async fn look(
        &self,
        validators: &[Validator],
        subject: Subject,
    ) -> Result<(String, ExitReason), Failure> {
        let asked = validators.iter().map(|validator| ask(validator, subject));
        let told = futures_util::future::join_all(asked).await;
        let exit = exit(&told);
        let text = if self.json {
            let all: Vec<Value> = told.iter().map(as_json).collect();
            serde_json::to_string_pretty(&all).map_err(Failure::unexpected)?
        } else {
            text(&told)
        };
        Ok((text, exit))
    }
}

fn not_asked(error: NotAsked) -> Failure {
    let (exit, hint) = match &error {
        NotAsked::NoValidator => {
            (ExitReason::BadConfiguration, "add `--validator URL`, or set `miner.validators`")
        }
        NotAsked::BadId { .. } => {
            (ExitReason::BadConfiguration, "`--hotkey` shows all of a miner, with their ids")
        }
        NotAsked::BadHotkey { .. } => {
            (ExitReason::BadConfiguration, "it begins with 5, as `btcli wallet list` shows it")
        }
        NotAsked::NoHotkey => (ExitReason::Unavailable, "name it with `--hotkey`, or an id"),
    };
    Failure::new(exit, error).hint(hint)
}

async fn ask(validator: &Validator, subject: Subject) -> Told {
    let answer = match subject {
        Subject::Id(id) => {
            validator.get(&format!("/v1/submissions/{id}")).await.map(|one| vec![one])
        }
        Subject::Hotkey(hotkey) => {
            let answer = validator.get(&format!("/v1/submissions?hotkey={hotkey}")).await;
            answer.map(|mut all| match all["submissions"].take() {
                Value::Array(all) => all,
                _ => Vec::new(),
            })
        }
    };
    Told { url: validator.url().to_owned(), answer }
}

fn exit(told: &[Told]) -> ExitReason {
    let knows = |told: &Told| matches!(&told.answer, Ok(all) if !all.is_empty());
    let answers = |told: &Told| match &told.answer {
        Ok(_) => true,
        Err(error) => error.is_unknown(),
    };
    if told.iter().any(knows) {
        ExitReason::Done
    } else if told.iter().any(answers) {
        ExitReason::Failed
    } else {
        ExitReason::Unavailable
    }
}

fn as_json(told: &Told) -> Value {
    match &told.answer {
        Ok(all) => json!({ "validator": told.url, "submissions": all }),
        Err(error) => json!({ "validator": told.url, "error": error.describe() }),
    }
}

fn text(told: &[Told]) -> String {
    let read = |all: &[Value]| -> Vec<Submission> {
        let all = json!({ "submissions": all });
        serde_json::from_value::<Submissions>(all).unwrap_or_default().submissions
    };
    let read: Vec<(String, Result<Vec<Submission>, String>)> = told
        .iter()
        .map(|told| {
            let answer = told.answer.as_ref().map(|all| read(all));
            (told.url.clone(), answer.map_err(|error| error.describe()))
        })
        .collect();
    // The latest commitment first, each once.
    let mut ids: Vec<(u64, String)> = Vec::new();
    for submission in read.iter().filter_map(|(_, told)| told.as_ref().ok()).flatten() {
        let id = (submission.committed_at, submission.id.clone());
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids.sort_by(|one, other| other.cmp(one));
    if ids.is_empty() {
        return read.iter().map(|(url, told)| nothing(url, told)).collect();
    }
    let blocks = ids.iter().map(|(_, id)| {
        let of = |(url, told): &(String, Result<Vec<Submission>, String>)| {
            let one = match told {
                Ok(all) => {
                    let found = all.iter().find(|one| one.id == *id).cloned();
                    found.ok_or_else(|| "not seen there".to_owned())
                }
                Err(why) => Err(why.clone()),
            };
            (url.clone(), one)
        };
        render(&read.iter().map(of).collect::<Vec<_>>())
    });
    blocks.collect::<Vec<String>>().join("\n")
}

fn nothing(url: &str, told: &Result<Vec<Submission>, String>) -> String {
    match told {
        Ok(_) => {
            format!("{}: no submission is known; one is once its block is final\n", one_line(url))
        }
        Err(why) => format!("{why}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::told;

    #[test]
    fn each_question_that_is_not_asked_says_what_next() {
        let all = [
            NotAsked::NoValidator,
            NotAsked::BadId { id: "7866e9f2".to_owned() },
            NotAsked::BadHotkey { hotkey: "7866e9f2".to_owned() },
            NotAsked::NoHotkey,
        ];
        insta::assert_snapshot!(told(all.map(not_asked)), @r"
        64   no validator is named
          -> add `--validator URL`, or set `miner.validators`
        64   `7866e9f2` is not the id of a submission: it has 64 hexadecimal digits
          -> `--hotkey` shows all of a miner, with their ids
        64   `7866e9f2` is not the address of a hotkey
          -> it begins with 5, as `btcli wallet list` shows it
        69   the wallet's public file does not say which hotkey it is
          -> name it with `--hotkey`, or an id
        ");
    }
}
