//! What the subnet and the runtime demand, and whether this build can do it.

use super::{Check, CheckId, Form, Level, Subject};
use crate::limits::{ERA_BLOCKS_MAX, ERA_LIFE_BLOCKS};
use crate::submit_guard::{CommitForm, COMMIT_VERSION};
use crate::view::{ChainView, ConsensusMode};

/// Blocks by which finality is behind at which the operator is warned. Lower: ordinary hiccups
/// warn. Higher: a stall is noticed late; vectors still land long after.
const FINALITY_LAG_WARN: u64 = 12;

/// Blocks by which finality is behind from which on nothing can be signed.
const FINALITY_LAG_ALARM: u64 = ERA_BLOCKS_MAX - ERA_LIFE_BLOCKS + 1;
const _: () = assert!(FINALITY_LAG_WARN < FINALITY_LAG_ALARM);

/// How the subnet takes weights; `None` if it demands a commit format that this build does not
/// know.
pub(super) fn form(head: &ChainView, commit: CommitForm) -> Option<Form> {
    if !head.params.commit_reveal_enabled {
        return Some(Form::Plain);
    }
    match (head.params.commit_reveal_version, commit) {
        (None, _) | (_, CommitForm::Hashed) => Some(Form::Hash),
        (Some(COMMIT_VERSION), CommitForm::Timelocked) => Some(Form::Timelocked),
        (Some(_), CommitForm::Timelocked) => None,
    }
}

pub(super) fn all(subject: &Subject<'_>) -> Vec<Check> {
    vec![
        commit_mode(subject),
        consensus(subject),
        mechanism(subject),
        version_key(subject),
        length(subject),
        rate_limit(subject),
    ]
}

fn commit_mode(subject: &Subject<'_>) -> Check {
    let head = subject.head();
    let id = CheckId::CommitMode;
    let later = match head.params.reveal_period {
        0 | 1 => "one epoch later".to_owned(),
        period => format!("{period} epochs later"),
    };
    match form(head, subject.terms.commit) {
        Some(Form::Plain) => Check::ok(id, "plain: weights are open and count at once"),
        Some(Form::Hash) => {
            Check::ok(id, format!("hash: weights are hashed, and revealed by us {later}"))
        }
        Some(Form::Timelocked) if head.beacon.is_none() => Check::new(
            id,
            subject.blocking(),
            "timelocked, but the chain has no usable randomness beacon: nothing can be signed; \
             see `assay chain check`",
        ),
        Some(Form::Timelocked) => Check::ok(
            id,
            format!("timelocked, format {COMMIT_VERSION}: the chain opens weights {later}"),
        ),
        None => {
            let version = head.params.commit_reveal_version.unwrap_or_default();
            let text = format!(
                "the chain demands commit format {version}, this build writes {COMMIT_VERSION}: \
                 nothing is signed; upgrade the node"
            );
            Check::new(id, subject.blocking(), text)
        }
    }
}

fn consensus(subject: &Subject<'_>) -> Check {
    match &subject.head().params.consensus {
        ConsensusMode::Yuma => Check::ok(CheckId::Consensus, "Yuma consensus"),
        ConsensusMode::Other(mode) => {
            let text = format!(
                "the subnet's consensus mode `{mode}` is not supported: nothing is signed; ask the \
                 subnet's owner, or upgrade the node"
            );
            Check::new(CheckId::Consensus, subject.blocking(), text)
        }
    }
}

fn mechanism(subject: &Subject<'_>) -> Check {
    let count = subject.head().params.mechanism_count.max(1);
    let own = subject.terms.mechanism;
    if own < count {
        return Check::ok(CheckId::Mechanism, format!("mechanism {own} of {count}, from 0"));
    }
    let text = format!(
        "the subnet has {count} mechanisms, there is no mechanism {own}: set `weights.mechanism`"
    );
    Check::new(CheckId::Mechanism, subject.blocking(), text)
}

/// The chain's own key is signed with, so none is too low; but a raised one is the owner's way to
/// say that the rules have changed.
fn version_key(subject: &Subject<'_>) -> Check {
    let key = subject.head().params.weights_version_key;
    let last = subject.intents.iter().max_by_key(|intent| intent.epoch);
    match last.filter(|last| last.version_key < key) {
        Some(last) => {
            let text = format!(
                "the subnet's owner raised the version key from {} to {key}: see that this node \
                 still judges as the subnet wants",
                last.version_key
            );
            Check::new(CheckId::VersionKey, Level::Warn, text)
        }
        None => Check::ok(CheckId::VersionKey, format!("{key}; vectors are signed with it")),
    }
}

fn length(subject: &Subject<'_>) -> Check {
    let head = subject.head();
    let (wanted, neurons) = (head.params.min_allowed_weights, head.neurons.len());
    let least = usize::from(wanted).min(neurons);
    let text = format!(
        "at least {least} entries (the subnet wants {wanted}, it has {neurons} neurons); zeros \
         fill what is missing"
    );
    Check::ok(CheckId::Length, text)
}

fn rate_limit(subject: &Subject<'_>) -> Check {
    let params = &subject.head().params;
    let (limit, tempo) = (params.weights_rate_limit.0, params.tempo.0);
    let numbers = format!("one vector per {limit} blocks, an epoch has {tempo}");
    if tempo == 0 || limit <= tempo {
        return Check::ok(CheckId::RateLimit, numbers);
    }
    let epochs = limit.div_ceil(tempo);
    let text = format!(
        "{numbers}: only every {epochs} epochs a vector can land; only the subnet's owner can \
         change that"
    );
    Check::new(CheckId::RateLimit, Level::Warn, text)
}

pub(super) fn finality(subject: &Subject<'_>) -> Check {
    let (head, finalized) = (subject.head().number, subject.sight.finalized.number);
    let lag = head.since(finalized).0;
    let numbers = format!("finalized {finalized}, {lag} blocks behind the best block");
    match lag {
        FINALITY_LAG_ALARM.. => {
            let text = format!("{numbers}: too far for any signature; compare other endpoints");
            Check::new(CheckId::Finality, subject.blocking(), text)
        }
        FINALITY_LAG_WARN.. => {
            let text = format!(
                "{numbers}: vectors still go out, and are confirmed when finality comes back; \
                 compare other endpoints"
            );
            Check::new(CheckId::Finality, Level::Warn, text)
        }
        _ => Check::ok(CheckId::Finality, numbers),
    }
}

pub(super) fn safe_mode(subject: &Subject<'_>) -> Check {
    let head = subject.head();
    match head.safe_mode_until.filter(|until| *until > head.number) {
        Some(until) => {
            let left = until.since(head.number);
            let text = format!(
                "the chain is in safe mode until block {until}, {left} blocks from now, and \
                 refuses weights: wait"
            );
            Check::new(CheckId::SafeMode, subject.blocking(), text)
        }
        None => Check::ok(CheckId::SafeMode, "not in safe mode"),
    }
}

pub(super) fn runtime(subject: &Subject<'_>) -> Check {
    let head = subject.head();
    let abilities = head.abilities;
    let all = [
        (Form::Plain, abilities.plain, "plain weights"),
        (Form::Timelocked, abilities.timelocked, "timelocked commits"),
        (Form::Hash, abilities.hashed, "hash commits"),
    ];
    let lost: Vec<&str> = all.iter().filter(|(_, can, _)| !can).map(|(_, _, what)| *what).collect();
    let mut text = format!("spec {}", head.spec_version);
    let finalized = subject.sight.finalized.spec_version;
    if finalized != head.spec_version {
        text = format!("{text}, upgraded from {finalized} in blocks that are not final yet");
    }
    if lost.is_empty() {
        return Check::ok(CheckId::Runtime, format!("{text}; every form of weights can be signed"));
    }
    text = format!("{text}; cannot be signed: {}", lost.join(", "));
    let wanted = form(head, subject.terms.commit);
    if all.iter().any(|(form, can, _)| Some(*form) == wanted && !can) {
        text = format!(
            "{text}, which this subnet wants: nothing is signed; `assay chain check` says what \
             changed, upgrade the node"
        );
        return Check::new(CheckId::Runtime, subject.blocking(), text);
    }
    Check::ok(CheckId::Runtime, format!("{text}, which this subnet does not want"))
}
