//! Vectors of weights: the present epoch, what was sent, and whether it landed.

use askama::Template;
use node_core::unit::UnixMs;

use super::charts::{weights, Svg};
use super::frame::Frame;
use super::words::{Badge, Fact, Facts, Name};
use crate::status::{
    blocks, grouped, reveal_text, way, PendingCommitStatus, StatusReport, WatchStatus,
    WeightsIntent,
};

/// The page.
#[derive(Debug, Template)]
#[template(path = "epochs.html")]
pub(super) struct Epochs {
    frame: Frame,
    facts: Facts,
    latest: Option<Vector>,
    rows: Vec<Row>,
    /// The loop did not tell of earlier ones.
    is_partial: bool,
    commits: Vec<Commit>,
}

/// A vector to look at.
#[derive(Debug)]
struct Vector {
    heading: String,
    chart: Svg,
    entries: Vec<(u16, u16)>,
}

/// An epoch's vector.
#[derive(Debug)]
struct Row {
    epoch: String,
    state: Badge,
    way: String,
    block: String,
    entries: usize,
    vector: Option<Name>,
    extrinsic: Option<Name>,
}

/// A commit that waits to be opened.
#[derive(Debug)]
struct Commit {
    block: String,
    epoch: String,
    opens_in: String,
    round: String,
    state: String,
}

impl Epochs {
    /// - `vectors`: those of the epochs that the node remembers, the report's among them; `None` if
    ///   the loop does not answer.
    pub(super) fn of(
        report: &StatusReport,
        now: UnixMs,
        vectors: Option<&[WeightsIntent]>,
    ) -> Self {
        let status = &report.weights;
        let reported = [&status.latest, &status.last_landed].into_iter().flatten();
        let mut intents: Vec<&WeightsIntent> =
            reported.chain(vectors.into_iter().flatten()).collect();
        // A stable order: of one epoch, what the report says stands first and stays.
        intents.sort_by_key(|intent| std::cmp::Reverse(intent.epoch));
        intents.dedup_by_key(|intent| intent.epoch);
        let commits = report.watch.iter().flat_map(|watch| &watch.pending_commits);
        let latest = status.latest.as_ref().or(status.last_landed.as_ref());
        Self {
            frame: Frame::of(report, now, "/epochs", "Epochs"),
            facts: facts(report).into(),
            latest: latest.map(vector),
            rows: intents.into_iter().map(row).collect(),
            is_partial: vectors.is_none(),
            commits: commits.map(commit).collect(),
        }
    }
}

fn facts(report: &StatusReport) -> Vec<Fact> {
    let status = &report.weights;
    let form = status.form.as_ref().map_or_else(String::new, |form| format!(", {form}"));
    let mut facts = vec![Fact::said("Mode", format!("{}{form}", status.mode))];
    facts.extend(status.epoch.map(|epoch| Fact::said("Epoch", grouped(epoch.0))));
    if let (Some(end), Some(left)) = (status.next_epoch_block, status.blocks_left) {
        let said = format!("at block {}, in {}", grouped(end.0), blocks(left.0));
        facts.push(Fact::said("Ends", said));
    }
    facts.extend(status.not_safe.clone().map(|why| Fact::said("Nothing is signed, since", why)));
    facts.extend(status.reveal_due.as_ref().map(|one| Fact::said("Reveal", reveal_text(one))));
    facts.extend(report.watch.iter().flat_map(standing));
    let restart = if status.safe_to_restart { "safe now" } else { "not safe now" };
    facts.push(Fact::said("Restart", restart));
    facts
}

/// What the chain says of this hotkey.
fn standing(watch: &WatchStatus) -> Vec<Fact> {
    let share = |of: u16| {
        let [of, all] = [of, u16::MAX].map(|number| grouped(u64::from(number)));
        format!("{of} of {all}")
    };
    let since = watch.blocks_since_update.map(|count| format!("{} ago", blocks(count.0)));
    let facts = [
        ("Last update on chain", since),
        ("Trust", watch.validator_trust.map(share)),
        ("Dividends", watch.dividends.map(share)),
    ];
    facts.into_iter().filter_map(|(name, text)| Some(Fact::said(name, text?))).collect()
}

fn vector(intent: &WeightsIntent) -> Vector {
    let entries: Vec<(u16, u16)> =
        intent.vector.iter().map(|(uid, weight)| (uid.0, *weight)).collect();
    let heading = format!("Vector of epoch {}: {}", grouped(intent.epoch.0), way(intent));
    let most = entries.iter().max_by_key(|(_, weight)| *weight);
    let most = most.map_or_else(String::new, |(uid, _)| format!(", the most for uid {uid}"));
    let label = format!("Weights of {} neurons by uid{most}", entries.len());
    Vector { heading, chart: weights(&entries, &label), entries }
}

fn row(intent: &WeightsIntent) -> Row {
    let state = match intent.state.as_str() {
        "landed" => Badge { word: "landed", class: "good" },
        "revealed" => Badge { word: "revealed", class: "good" },
        "committed" => Badge { word: "committed", class: "good" },
        "signed" => Badge { word: "signed", class: "plain" },
        "open" => Badge { word: "open", class: "plain" },
        "lost" => Badge { word: "lost", class: "bad" },
        "abandoned" => Badge { word: "abandoned", class: "warn" },
        _ => Badge { word: "unknown", class: "plain" },
    };
    let name = |hash: &node_core::id::Digest| Name::of(hash, hash.short());
    Row {
        epoch: grouped(intent.epoch.0),
        state,
        way: way(intent),
        block: intent.block.map(|block| grouped(block.0)).unwrap_or_default(),
        entries: intent.vector.len(),
        vector: intent.vector_hash.as_ref().map(name),
        extrinsic: intent.extrinsic_hash.as_ref().map(name),
    }
}

fn commit(commit: &PendingCommitStatus) -> Commit {
    Commit {
        block: grouped(commit.block.0),
        epoch: grouped(commit.epoch.0),
        opens_in: grouped(commit.opens_in.0),
        round: commit.round.map_or_else(|| "revealed by the node".to_owned(), grouped),
        state: commit.round_state.clone(),
    }
}
