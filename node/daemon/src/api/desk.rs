//! Answers of the loop to readers: they change nothing.

use std::collections::BTreeMap;

use node_core::id::{Hotkey, RunId, SubmissionId};
use node_core::machine::account::{Account, EpochAccount, Merit, UploadRefused};
use node_core::machine::places::Places;
use node_core::machine::Machine;
use node_core::queue_place::{Place, QueuePlaces};
use node_core::rows::{ReceiptRow, RunState};
use node_core::submission::Submission;
use node_core::trial::Trial;
use node_core::unit::UnixMs;
use tokio::sync::oneshot;

use crate::run::Progress;
use crate::status::{vectors, AttemptStatus, WeightsIntent};

/// Submissions of one answer.
pub(super) const RANKED_MAX: usize = 256;

/// Submissions of one hotkey that are told in full. A hotkey submits about once a day.
pub(super) const OF_HOTKEY_MAX: usize = 16;

/// Receipts of one answer. Lower: one of the last tier, with its many units, is told in part.
/// Higher: the loop copies that many curves for whoever asks.
pub(super) const RECEIPTS_MAX: usize = 64;

/// What a reader asks.
#[derive(Debug)]
pub(crate) enum Question {
    /// All about one submission.
    Submission(SubmissionId),
    /// What its runs left behind.
    Receipts(SubmissionId),
    /// All about what a hotkey submitted.
    OfHotkey(Hotkey),
    /// Who leads.
    Leaderboard,
    /// Which architectures and recipes are in the running.
    Places,
    /// Where the subnet stands.
    Epoch,
    /// The vectors of the epochs that this node remembers.
    Vectors,
    /// What the next vector would be made of.
    Points,
    /// Whether a hotkey may leave an archive.
    Upload(Hotkey),
    /// Whether the node does its work.
    Health,
}

/// What it is told.
#[derive(Debug)]
pub(crate) enum Answer {
    /// About [`Question::Submission`]; `None` if it is unknown.
    Submission(Option<Box<Known>>),
    /// About [`Question::Receipts`]: in the order of its trials, at most [`RECEIPTS_MAX`].
    Receipts(Vec<ReceiptRow>),
    /// About [`Question::OfHotkey`]: the latest commitment first, at most [`OF_HOTKEY_MAX`].
    OfHotkey(Vec<Known>),
    /// About [`Question::Leaderboard`].
    Leaderboard(Option<EpochAccount>, Vec<(Merit, Submission)>),
    /// About [`Question::Places`].
    Places(Places),
    /// About [`Question::Epoch`].
    Epoch(Option<EpochAccount>),
    /// About [`Question::Vectors`]: the latest epoch first.
    Vectors(Vec<WeightsIntent>),
    /// About [`Question::Points`].
    Points(Option<EpochAccount>, BTreeMap<Hotkey, u64>),
    /// About [`Question::Upload`].
    Upload(Result<(), UploadRefused>),
    /// About [`Question::Health`]: whether the chain was read.
    Health(bool),
}

/// All that this node can tell of a submission.
#[derive(Debug)]
pub(crate) struct Known {
    /// What the machine knows.
    pub(crate) account: Account,
    /// Where it stands in the queue, if it does.
    pub(crate) place: Option<Place>,
    /// Runs of this node that are not acknowledged yet.
    pub(crate) runs: Vec<LiveRun>,
}

impl Known {
    /// Of one that was put away: it waits for nothing, and nothing of it runs.
    pub(crate) fn past(account: Account) -> Self {
        Self { account, place: None, runs: Vec::new() }
    }
}

/// A run of this node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LiveRun {
    /// What it measures.
    pub(crate) trial: Trial,
    /// `running`, or `measured` when its result is on its way.
    pub(crate) state: &'static str,
    /// When it started.
    pub(crate) started_at: UnixMs,
    /// How far the meter is; `None` if it is over.
    pub(crate) attempt: Option<AttemptStatus>,
}

/// A question that waits for the loop.
#[derive(Debug)]
pub(crate) struct Call {
    /// What is asked.
    pub(crate) question: Question,
    /// Whoever waits.
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// What the loop keeps for readers.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    places: QueuePlaces,
}

impl Desk {
    /// Notices who moved in the queue.
    pub(crate) fn update(&mut self, now: UnixMs, machine: &Machine) {
        let open: Vec<_> = machine.unsettled().map(|one| (one.committed_at, one.id)).collect();
        let became = |id: &SubmissionId| {
            let known = machine.account(id);
            known.map_or_else(|| "gone".to_owned(), |known| known.submission.state.to_string())
        };
        self.places.update(now, &open, became);
    }

    /// Answers from the state as it is.
    ///
    /// - `progress`: how far the meters of this node's runs are.
    pub(crate) fn answer(
        &self,
        machine: &Machine,
        progress: &BTreeMap<RunId, Progress>,
        call: Call,
    ) {
        let answer = match call.question {
            Question::Submission(id) => {
                Answer::Submission(self.known(machine, progress, &id).map(Box::new))
            }
            Question::Receipts(id) => {
                let receipts = machine.receipts_of(&id).take(RECEIPTS_MAX);
                Answer::Receipts(receipts.cloned().collect())
            }
            Question::OfHotkey(hotkey) => {
                let theirs = machine.submissions_of(&hotkey).into_iter().take(OF_HOTKEY_MAX);
                let known = theirs.filter_map(|one| self.known(machine, progress, &one.id));
                Answer::OfHotkey(known.collect())
            }
            Question::Leaderboard => {
                let ranked = machine.ranking().into_iter().take(RANKED_MAX);
                let ranked = ranked.map(|(merit, one)| (merit, one.clone())).collect();
                Answer::Leaderboard(machine.epoch_account(), ranked)
            }
            Question::Places => Answer::Places(machine.places()),
            Question::Epoch => Answer::Epoch(machine.epoch_account()),
            Question::Vectors => Answer::Vectors(vectors(machine)),
            Question::Points => Answer::Points(machine.epoch_account(), machine.points_now()),
            Question::Upload(hotkey) => Answer::Upload(machine.may_upload(&hotkey)),
            Question::Health => Answer::Health(machine.view().is_some()),
        };
        // Who hung up asks again.
        drop(call.answer.send(answer));
    }

    fn known(
        &self,
        machine: &Machine,
        progress: &BTreeMap<RunId, Progress>,
        id: &SubmissionId,
    ) -> Option<Known> {
        let account = machine.account(id)?;
        let place = self.places.of(id).cloned();
        let planned = machine.config().policy.meter.train_bytes;
        let runs = machine.runs().filter(|run| run.row.grant.assignment.submission == *id);
        let live = runs.map(|run| {
            let is_over = !matches!(run.row.state, RunState::Started);
            let told = progress.get(&run.row.run).filter(|_| !is_over);
            LiveRun {
                trial: run.row.grant.assignment.trial(),
                state: if is_over { "measured" } else { "running" },
                started_at: run.row.started_at,
                attempt: told.map(|told| crate::run::attempt_status(told, planned)),
            }
        });
        Some(Known { account, place, runs: live.collect() })
    }
}
