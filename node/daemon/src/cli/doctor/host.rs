//! What this machine has to have: configuration, data directory, journal, key, data set, engine.

use std::io;

use node_core::id::Hotkey;
use node_core::policy::Policy;
use node_core::preflight;
use node_evaluator::gates::{GateFault, Gates};
use node_runner::{Engine, EngineConfig};
use node_store::{read_journal, JournalRead, JOURNAL_FILE};

use super::{Finding, Level};
use crate::config::{Config, Settings};
use crate::dataset::open_for;
use crate::hotkey;
use crate::status::{find, grouped, unix_now, Found, JournalStatus, StatusReport, GATE_NEXT_STEP};

pub(super) fn config(settings: &Settings, config: &Config) -> Finding {
    let file = settings
        .file()
        .map_or_else(|| "no file".to_owned(), |file| format!("`{}`", file.display()));
    let text = format!(
        "subnet {}, {}, weights {}; {file}",
        config.chain.netuid,
        match config.chain.endpoints.len() {
            1 => "one endpoint".to_owned(),
            count => format!("{count} endpoints"),
        },
        crate::run::mode_name(&config.weights.mode),
    );
    Finding::ok("config", text)
}

pub(super) fn data_dir(config: &Config) -> Vec<Finding> {
    let path = config.data_dir.path();
    let shown = path.display();
    let next = "`data_dir` must be a directory that this user can write";
    match std::fs::metadata(path) {
        Ok(found) if !found.is_dir() => {
            vec![Finding::fail("data_dir", format!("`{shown}` is no directory")).next(next)]
        }
        Ok(found) if found.permissions().readonly() => {
            vec![Finding::fail("data_dir", format!("`{shown}` cannot be written")).next(next)]
        }
        Ok(_) => vec![Finding::ok("data_dir", format!("`{shown}`"))],
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            vec![Finding::ok("data_dir", format!("`{shown}` is made at the first start"))]
        }
        Err(error) => {
            vec![Finding::fail("data_dir", format!("cannot look at `{shown}`: {error}")).next(next)]
        }
    }
}

pub(super) fn journal(config: &Config) -> Finding {
    let path = config.data_dir.path();
    let is_claimed = path.join("identity.json").exists();
    match read_journal(path) {
        Ok(_) if !path.join(JOURNAL_FILE).exists() => {
            let text = if is_claimed {
                "none yet: nothing was signed from this directory"
            } else {
                "none yet: this directory was never used"
            };
            Finding::ok("journal", text)
        }
        Ok(read) => {
            let bytes = std::fs::metadata(path.join(JOURNAL_FILE)).map_or(0, |file| file.len());
            journal_finding(&read, JournalStatus::new(bytes))
        }
        Err(fault) => {
            let next = fault.next_step();
            Finding::of_error("journal", &fault).next(next)
        }
    }
}

/// The rules of the challenge, which all validators of a subnet share.
pub(super) fn policy(config: &Config) -> (Finding, Option<Policy>) {
    match config.challenge.nas.rules() {
        Ok(policy) => {
            let text = format!("`{}`, digest {}", policy.name, policy.digest());
            (Finding::ok("policy", text), Some(policy))
        }
        Err(error) => {
            let next = "mend the file; `assay policy show` shows what there is to change";
            (Finding::of_error("policy", &error).next(next), None)
        }
    }
}

/// Tries the gates of the policy on what ships with the node.
pub(super) fn gates(policy: &Policy) -> Vec<Finding> {
    const ID: &str = "gates";
    let gates = Gates::check(policy);
    let told = |fault: &GateFault| Finding::fail(ID, fault.to_string()).next(GATE_NEXT_STEP);
    let found: Vec<Finding> = gates.faults().iter().map(told).collect();
    if found.is_empty() {
        return vec![Finding::ok(ID, "those before the container refuse no reference")];
    }
    found
}

fn journal_finding(read: &JournalRead, status: JournalStatus) -> Finding {
    let text = format!("{} entries, all of them whole", read.entries.len());
    let level = match status.level() {
        preflight::Level::Ok if read.torn_tail.is_some() => {
            return Finding::warn("journal", format!("{text}, and an unfinished last line"))
                .next("nothing, if a node runs; else the next start repairs it");
        }
        preflight::Level::Ok => return Finding::ok("journal", text),
        preflight::Level::Warn => Level::Warn,
        preflight::Level::Alarm => Level::Fail,
    };
    Finding::new("journal", level, format!("{text}; {}", status.text()))
        .next("start the node anew; docs/journal.md says what else makes it smaller")
}

/// The key file, and the hotkey if it can be told without a password.
pub(super) fn key(config: &Config) -> (Vec<Finding>, Option<Hotkey>) {
    let file = match hotkey::read(&config.wallet) {
        Ok(file) => file,
        Err(failure) => return (vec![failed(&failure)], None),
    };
    let facts = file.facts();
    let path = facts.path.display();
    let mut found = Vec::new();
    let hotkey = match facts.encryption {
        None => match file.open(None) {
            Ok(opened) => {
                let hotkey = opened.facts().hotkey;
                found.push(Finding::ok("key", format!("{hotkey}, `{path}`")));
                Some(hotkey)
            }
            Err(error) => {
                let next = "restore it from its mnemonic; `assay keys show` says more";
                found.push(Finding::of_error("key", &error).next(next));
                facts.named
            }
        },
        Some(format) => {
            let who = facts
                .named
                .map_or_else(|| "of a hotkey not known".to_owned(), |named| named.to_string());
            let text = format!("{who}, `{path}`, encrypted with {format}; not opened");
            found.push(Finding::ok("key", text));
            facts.named
        }
    };
    found.extend(facts.warnings.iter().map(|warning| Finding::warn("key", warning.to_string())));
    (found, hotkey)
}

/// A failure as a finding: its text without the word `error`, its hint as the next step.
fn failed(failure: &crate::failure::Failure) -> Finding {
    let text = failure.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    match text.split_once("\n  hint: ") {
        Some((text, hint)) => Finding::fail("key", text).next(hint),
        None => Finding::fail("key", text),
    }
}

pub(super) async fn timelock() -> Vec<Finding> {
    let tested = tokio::task::spawn_blocking(node_chain::timelock::self_test).await;
    let finding = match tested {
        Ok(Ok(())) => Finding::ok("timelock", "this build makes and opens what the chain does"),
        Ok(Err(error)) => Finding::of_error("timelock", &error)
            .next("do not set weights on a subnet that conceals them; use another build"),
        Err(error) => Finding::of_error("timelock", &error),
    };
    vec![finding]
}

/// Without rules there is nothing to hold it against.
pub(super) async fn dataset(config: &Config, policy: Option<&Policy>) -> Vec<Finding> {
    let Some(policy) = policy else { return Vec::new() };
    let path = config.challenge.nas.dataset.clone();
    let shown = path.display().to_string();
    let policy = policy.clone();
    let opened = tokio::task::spawn_blocking(move || open_for(&path, &policy));
    vec![match opened.await {
        Ok(Ok(dataset)) => {
            let text = format!("`{shown}`, digest {}", dataset.digest());
            Finding::ok("dataset", text)
        }
        Ok(Err(fault)) => Finding::of_error("dataset", &fault).next(fault.next_step()),
        Err(error) => Finding::of_error("dataset", &error),
    }]
}

pub(super) async fn engine(config: &Config) -> Vec<Finding> {
    let settings = EngineConfig {
        host: config.engine.host.clone(),
        runtime: config.engine.runtime.clone(),
        // No container has this name, and none is made.
        node: "doctor".to_owned(),
    };
    let engine = match Engine::connect(settings).await {
        Ok(engine) => engine,
        Err(error) => {
            let next = error.hint();
            return vec![Finding::of_error("engine", &error).next(next)];
        }
    };
    let info = engine.info();
    let text = format!("version {} at {}, runtime {}", info.version, info.endpoint, info.runtime);
    let mut found = vec![Finding::ok("engine", text)];
    found.extend(info.warnings.iter().map(|warning| Finding::warn("engine", warning)));
    let tag = &config.images.evaluator;
    found.push(match engine.image(tag).await {
        Ok(Some(id)) => Finding::ok("image", format!("`{tag}`, {id}")),
        Ok(None) => Finding::fail("image", format!("`{tag}` is not on this host"))
            .next("`scripts/images evaluator` builds and loads it; nothing is ever pulled"),
        Err(error) => Finding::of_error("image", &error),
    });
    found
}

/// The node that runs with this data directory, if one does.
pub(super) async fn node(config: &Config) -> Vec<Finding> {
    let Ok(status) = find(&config.data_dir).await else {
        return vec![Finding::ok("node", "none runs with this data directory, and none has run")];
    };
    let report = &status.report;
    match &status.found {
        Found::NotRunning => {
            let mut found = vec![Finding::ok("node", "none runs with this data directory")];
            found.extend(reveal(report).map(|finding| finding.next("start it before that")));
            found
        }
        Found::NotAnswering { address, reason } => {
            let text = format!("one seems to run and does not answer at {address}: {reason}");
            vec![Finding::fail("node", text).next("see its log; restart it if it hangs")]
        }
        Found::Running => {
            let readiness = report.readiness_at(unix_now());
            let mut found: Vec<Finding> = if readiness.ready {
                vec![Finding::ok("node", "it runs and is ready")]
            } else {
                let next =
                    "`assay status` says more; docs/operating.md, under \"When something is \
                            wrong\", what to do";
                let reasons = readiness.reasons.iter();
                reasons.map(|reason| Finding::fail("node", reason).next(next)).collect()
            };
            found.extend(reveal(report).map(|finding| finding.next("do not stop it before")));
            let told =
                |check: &&crate::status::CheckStatus| !readiness.reasons.contains(&check.text);
            for check in report.checks.iter().filter(told) {
                let level = if check.is(preflight::Level::Alarm) {
                    Level::Fail
                } else if check.is(preflight::Level::Warn) {
                    Level::Warn
                } else {
                    continue;
                };
                let text = format!("it says of {}: {}", check.id, check.text);
                found.push(Finding::new("node", level, text));
            }
            found
        }
    }
}

/// A hash commit that waits to be revealed: without a node it is lost.
fn reveal(report: &StatusReport) -> Option<Finding> {
    let due = report.weights.reveal_due.as_ref()?;
    let when = match (due.from, due.until) {
        (_, Some(until)) => format!(", before block {}", grouped(until.0)),
        (Some(from), None) => format!(", from block {} on", grouped(from.0)),
        (None, None) => String::new(),
    };
    let (epoch, opens_in) = (due.epoch, due.opens_in);
    let text =
        format!("it says that the commit of epoch {epoch} is revealed in epoch {opens_in}{when}");
    Some(Finding::warn("node", text))
}
