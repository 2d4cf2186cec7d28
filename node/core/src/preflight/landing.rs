//! Does what we send arrive, and is it opened?
//!
//! Judged by the chain's state alone: what endpoints answered, and what this process remembers,
//! proves nothing.

use super::{
    minutes, thousandths, Check, CheckId, Form, Level, PendingCommit, RoundState, Subject,
    ALARM_MILLITEMPOS, WARN_MILLITEMPOS,
};
use crate::epoch::REVEAL_SLACK_BLOCKS;
use crate::rows::{IntentRow, IntentState};
use crate::unit::{BlockCount, EpochIndex};
use crate::view::{Beacon, ChainView, Neuron, OwnCommit};

/// Milliseconds by which the chain's newest round is behind the beacon's at which the operator is
/// warned. Lower: the usual way through a pool warns. Higher: a stall is noticed when commits fail.
const BEACON_LAG_MS_WARN: u64 = 120_000;

/// Blocks after the beginning of a reveal epoch, and of its slack, in which a commit whose round
/// the chain has is taken out. Lower: the block at hand warns. Higher: a skipped round is noticed
/// late.
const OPENED_WITHIN_BLOCKS: u64 = 3;

pub(super) fn blocks_since_update(head: &ChainView, own: &Neuron) -> BlockCount {
    head.number.since(own.last_update.max(own.registered_at))
}

pub(super) fn millitempos(head: &ChainView, own: &Neuron) -> Option<u64> {
    let since = blocks_since_update(head, own).0;
    head.epoch.next_epoch_block?;
    since.saturating_mul(1000).checked_div(head.params.tempo.0)
}

/// The watchdog: how long nothing of ours has landed, whatever the reason.
pub(super) fn last_update(subject: &Subject<'_>) -> Option<Check> {
    let head = subject.head();
    let own = subject.own()?;
    let id = CheckId::LastUpdate;
    let Some(milli) = millitempos(head, own) else {
        return Some(Check::ok(id, "not watched: the subnet runs no epochs"));
    };
    let blocks = blocks_since_update(head, own);
    let what = if own.last_update > own.registered_at {
        format!("last update in block {}", own.last_update)
    } else {
        format!("no update since the registration in block {}", own.registered_at)
    };
    let numbers = format!("{what}, {} tempos ago ({blocks} blocks)", thousandths(milli));
    if !subject.is_submitting {
        return Some(Check::ok(id, format!("{numbers}; not watched: no weights are submitted")));
    }
    let why = || match subject.not_safe {
        _ if subject.has_nothing_to_send => {
            "there is nothing to send: nobody who is registered was scored".to_owned()
        }
        Some(reason) => format!("nothing is signed now: {reason}"),
        None => "see the lines `weights` in the log".to_owned(),
    };
    let limit = thousandths(ALARM_MILLITEMPOS);
    Some(match milli {
        ALARM_MILLITEMPOS.. => {
            let text =
                format!("{numbers}, the limit is {limit}: emission is being lost; {}", why());
            Check::new(id, Level::Alarm, text)
        }
        WARN_MILLITEMPOS.. => {
            let text = format!("{numbers}, an epoch was missed; alarm at {limit}; {}", why());
            Check::new(id, Level::Warn, text)
        }
        _ => Check::ok(id, numbers),
    })
}

/// Commits that the chain keeps closed, oldest first.
pub(super) fn pending(head: &ChainView) -> Vec<PendingCommit> {
    let pending = |commit: &OwnCommit| PendingCommit {
        block: commit.block,
        epoch: commit.epoch,
        opens_in: EpochIndex(commit.epoch.0.saturating_add(head.params.reveal_period.max(1))),
        round: commit.reveal_round,
        state: round_state(head, commit.reveal_round),
    };
    head.own_commits.iter().map(pending).collect()
}

fn round_state(head: &ChainView, round: Option<u64>) -> RoundState {
    let (Some(round), Some(beacon)) = (round, &head.beacon) else {
        return RoundState::Awaited { in_ms: None };
    };
    if round <= beacon.last_stored_round {
        return RoundState::Stored;
    }
    let published_at = beacon.schedule.published_at(round);
    match head.timestamp.0.checked_sub(published_at.0) {
        Some(ago_ms) => RoundState::Published { ago_ms },
        None => {
            RoundState::Awaited { in_ms: Some(published_at.0.saturating_sub(head.timestamp.0)) }
        }
    }
}

/// How each commit that waits stands, the worst first.
pub(super) fn commits(subject: &Subject<'_>) -> Check {
    let head = subject.head();
    let mut found: Vec<(Level, String)> =
        pending(head).iter().map(|commit| commit_text(head, commit)).collect();
    found.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
    let count = found.len();
    let Some((level, first)) = found.into_iter().next() else {
        return Check::ok(CheckId::Commits, "no commit waits to be opened");
    };
    let is_plain = super::settings::form(head, subject.terms.commit) == Some(Form::Plain);
    let (level, first) = if is_plain {
        // The chain opens it all the same, under the rate limit and over a newer row.
        let text = format!(
            "the subnet no longer conceals weights; when this commit opens, it may take the place \
             of a newer vector: {first}"
        );
        (level.max(Level::Warn), text)
    } else {
        (level, first)
    };
    let more = match count.saturating_sub(1) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Check::new(CheckId::Commits, level, format!("{first}{more}"))
}

fn commit_text(head: &ChainView, commit: &PendingCommit) -> (Level, String) {
    let PendingCommit { block, opens_in, state, .. } = *commit;
    let now = head.epoch.index;
    let ends = head.epoch.next_epoch_block;
    let left = ends.map_or(0, |next| next.since(head.number).0);
    let Some(round) = commit.round else {
        let what = format!("hash commit of block {block} is to be revealed in epoch {opens_in}");
        return match now {
            now if now < opens_in => (Level::Ok, what),
            now if now == opens_in => {
                let until =
                    ends.map_or_else(String::new, |ends| format!(" and before block {ends}"));
                (Level::Ok, format!("{what}, now{until}; {left} blocks are left"))
            }
            _ => (Level::Warn, format!("{what}, which is over: it is lost")),
        };
    };
    let what = format!("commit of block {block} opens in epoch {opens_in} at round {round}");
    if now > opens_in {
        return (Level::Warn, format!("{what}; that epoch is over and it is still closed: lost"));
    }
    let has_begun = now == opens_in;
    let since_begun = head.number.since(head.epoch.last_epoch_block).0;
    let is_late = since_begun > REVEAL_SLACK_BLOCKS.saturating_add(OPENED_WITHIN_BLOCKS);
    match state {
        RoundState::Awaited { in_ms: Some(ms) } if has_begun => {
            let when = minutes(ms);
            let text = format!(
                "{what}; the epoch came early, the round is published in {when}, {left} blocks are \
                 left"
            );
            (Level::Warn, text)
        }
        RoundState::Awaited { in_ms: Some(ms) } => {
            (Level::Ok, format!("{what}, published in {}", minutes(ms)))
        }
        RoundState::Awaited { in_ms: None } => {
            (Level::Warn, format!("{what}; the chain has no beacon any more: it cannot open"))
        }
        RoundState::Published { ago_ms } if has_begun && is_late => {
            let text = format!(
                "{what}; the round was published {} ago and is not in the chain: its beacon \
                 stalls; the vector is lost in {left} blocks unless the round comes",
                minutes(ago_ms)
            );
            (Level::Warn, text)
        }
        RoundState::Published { ago_ms } => {
            (Level::Ok, format!("{what}, published {} ago, not in the chain yet", minutes(ago_ms)))
        }
        RoundState::Stored if has_begun && is_late => {
            let text = format!(
                "{what}; the chain has newer rounds and still keeps it closed: that round was \
                 probably skipped; the vector is lost in {left} blocks"
            );
            (Level::Warn, text)
        }
        RoundState::Stored => (Level::Ok, format!("{what}, which the chain has")),
    }
}

/// The last commits whose fate is known: were they opened?
pub(super) fn reveals(subject: &Subject<'_>) -> Check {
    let id = CheckId::Reveals;
    let is_known = |intent: &&&IntentRow| {
        matches!(intent.state, IntentState::Revealed { .. } | IntentState::Lost { .. })
    };
    let mut known: Vec<&IntentRow> =
        subject.intents.iter().filter(is_known).map(|intent| &**intent).collect();
    known.sort_by_key(|intent| std::cmp::Reverse(intent.place()));
    let is_lost = |intent: &&&IntentRow| matches!(intent.state, IntentState::Lost { .. });
    let lost_in_row = known.iter().take_while(is_lost).count();
    let Some(last) = known.first() else {
        return Check::ok(id, "no commit was opened or lost yet");
    };
    match &last.state {
        IntentState::Lost { reason } => {
            let level = if lost_in_row > 1 { Level::Alarm } else { Level::Warn };
            let text = format!(
                "the last {lost_in_row} commits were not opened; that of epoch {}: {reason}; if it \
                 goes on, ask whether others see the same, and see the check `beacon`",
                last.epoch
            );
            Check::new(id, level, text)
        }
        IntentState::Revealed { block } => {
            Check::ok(id, format!("that of epoch {} was open in block {block}", last.epoch))
        }
        IntentState::Open
        | IntentState::Signed
        | IntentState::Landed { .. }
        | IntentState::Committed { .. }
        | IntentState::Abandoned { .. } => Check::ok(id, "no commit was opened or lost yet"),
    }
}

pub(super) fn lag_rounds(head: &ChainView, beacon: &Beacon) -> u64 {
    beacon.schedule.newest_at(head.timestamp).saturating_sub(beacon.last_stored_round)
}

pub(super) fn beacon(subject: &Subject<'_>) -> Check {
    let head = subject.head();
    let Some(beacon) = &head.beacon else {
        return Check::ok(CheckId::Beacon, "the chain has no randomness beacon");
    };
    let rounds = lag_rounds(head, beacon);
    let lag_ms = rounds.saturating_mul(beacon.schedule.period_ms);
    let numbers = format!(
        "the chain's newest round is {}, {rounds} rounds ({}) behind the beacon",
        beacon.last_stored_round,
        minutes(lag_ms)
    );
    let is_wanted = super::settings::form(head, subject.terms.commit) == Some(Form::Timelocked);
    if lag_ms < BEACON_LAG_MS_WARN {
        Check::ok(CheckId::Beacon, numbers)
    } else if is_wanted || !head.own_commits.is_empty() {
        let text = format!(
            "{numbers}: commits open late or never; nothing on this host changes that, watch the \
             chain's announcements"
        );
        Check::new(CheckId::Beacon, Level::Warn, text)
    } else {
        Check::ok(CheckId::Beacon, format!("{numbers}; this subnet does not need it"))
    }
}
