//! What this machine has to have: configuration, data directory, journal, key, data set, engine.

use std::io;

use node_chain::KeyFileWarning;
use node_core::id::Hotkey;
use node_core::policy::Policy;
use node_core::preflight;
use node_evaluator::gates::{GateFault, Gates};
use node_runner::{Engine, EngineConfig};
use node_store::{read_journal, JournalRead, JOURNAL_FILE};
use rustix::fs::{access, Access};

use super::probe::Bench;
use super::{advisories, exposure, storage, Finding, Level};
use crate::config::{Config, Settings};
use crate::dataset::open_for;
use crate::failure::Failure;
use crate::hotkey;
use crate::status::{JournalStatus, GATE_NEXT_STEP};

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
    let next =
        "`data_dir` must be a directory that this user can write; run this as the user of the node";
    match std::fs::metadata(path) {
        Ok(found) if !found.is_dir() => {
            vec![Finding::fail("data_dir", format!("`{shown}` is no directory")).next(next)]
        }
        Ok(_) if access(path, Access::WRITE_OK).is_err() => {
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
                found.push(failed(&hotkey::failure(error)));
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
    let warned = |warning: &KeyFileWarning| {
        Finding::warn("key", warning.to_string()).next(hotkey::warning_hint(warning))
    };
    found.extend(facts.warnings.iter().map(warned));
    (found, hotkey)
}

/// A failure as a finding; its hint is the next step.
fn failed(failure: &Failure) -> Finding {
    let (text, hint) = failure.in_a_line();
    let finding = Finding::fail("key", text);
    match hint {
        Some(hint) => finding.next(hint),
        None => finding,
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

/// The engine and what is in it; then what a container of a CPU slot's needs of both.
pub(super) async fn engine(config: &Config) -> (Vec<Finding>, Bench) {
    let settings = EngineConfig {
        host: config.engine.host.clone(),
        runtime: config.engine.runtime.clone(),
        // No node has this name: a node's containers are never taken for a doctor's.
        node: "doctor".to_owned(),
    };
    let engine = match Engine::connect(settings).await {
        Ok(engine) => engine,
        Err(error) => {
            let next = error.hint();
            return (vec![Finding::of_error("engine", &error).next(next)], Bench::NoEngine);
        }
    };
    let info = engine.info();
    let text = format!("version {} at {}, runtime {}", info.version, info.endpoint, info.runtime);
    let mut found = vec![Finding::ok("engine", text)];
    found.extend(info.warnings.iter().map(|warning| Finding::warn("engine", warning)));
    found.extend(exposure::socket(&info.endpoint));
    found.extend(advisories::judge(&info.components, &info.runtime));
    let toolkit = advisories::toolkit().await;
    found.extend(toolkit.iter().flat_map(|toolkit| advisories::judge_one(toolkit)));
    found.extend(info.root.as_deref().and_then(|root| storage::engine(config, root)));
    let tag = &config.images.evaluator;
    let looked_up = engine.image(tag).await;
    let (finding, bench) = match looked_up {
        Ok(Some(image)) => {
            let finding = Finding::ok("image", format!("`{tag}`, {image}"));
            (finding, Bench::Ready { engine, image })
        }
        Ok(None) => {
            let finding = Finding::fail("image", format!("`{tag}` is not on this host"))
                .next("`scripts/images evaluator` builds and loads it; nothing is ever pulled");
            (finding, Bench::NoImage)
        }
        Err(error) => (Finding::of_error("image", &error), Bench::NoImage),
    };
    found.push(finding);
    (found, bench)
}

#[cfg(test)]
mod tests {
    use node_store::TornTail;

    use super::super::told;
    use super::*;

    #[test]
    fn a_journal_is_judged_by_its_end_and_by_how_full_it_is() {
        let judged = |torn_tail: Option<TornTail>, mib: u64| {
            let read = JournalRead { entries: Vec::new(), torn_tail };
            journal_finding(&read, JournalStatus::new(mib << 20))
        };
        let full = node_store::JOURNAL_BYTES_MAX >> 20;
        let torn = TornTail { line: 3, bytes: 12 };
        let found = [
            judged(None, 1),
            judged(Some(torn), 1),
            judged(None, full * 6 / 10),
            judged(None, full * 95 / 100),
        ];
        insta::assert_snapshot!(told(&found));
    }
}
