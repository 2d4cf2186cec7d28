//! Answers of the loop to readers: they change nothing.

use std::collections::BTreeMap;

use node_core::id::{Hotkey, SubmissionId};
use node_core::machine::account::{Account, EpochAccount, UploadRefused};
use node_core::machine::Machine;
use node_core::queue_place::{Place, QueuePlaces};
use node_core::submission::Submission;
use node_core::unit::UnixMs;
use tokio::sync::oneshot;

/// Submissions of one answer.
pub(super) const RANKED_MAX: usize = 256;

/// What a reader asks.
#[derive(Debug)]
pub(crate) enum Question {
    /// All about one submission.
    Submission(SubmissionId),
    /// Who leads.
    Leaderboard,
    /// Where the subnet stands.
    Epoch,
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
    Submission(Option<Box<(Account, Option<Place>)>>),
    /// About [`Question::Leaderboard`].
    Leaderboard(Option<EpochAccount>, Vec<Submission>),
    /// About [`Question::Epoch`].
    Epoch(Option<EpochAccount>),
    /// About [`Question::Points`].
    Points(Option<EpochAccount>, BTreeMap<Hotkey, u64>),
    /// About [`Question::Upload`].
    Upload(Result<(), UploadRefused>),
    /// About [`Question::Health`]: whether the chain was read.
    Health(bool),
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
    pub(crate) fn answer(&self, machine: &Machine, call: Call) {
        let answer = match call.question {
            Question::Submission(id) => {
                let place = self.places.of(&id).cloned();
                Answer::Submission(machine.account(&id).map(|account| Box::new((account, place))))
            }
            Question::Leaderboard => {
                let ranked = machine.ranking().into_iter().take(RANKED_MAX).cloned().collect();
                Answer::Leaderboard(machine.epoch_account(), ranked)
            }
            Question::Epoch => Answer::Epoch(machine.epoch_account()),
            Question::Points => Answer::Points(machine.epoch_account(), machine.points_now()),
            Question::Upload(hotkey) => Answer::Upload(machine.may_upload(&hotkey)),
            Question::Health => Answer::Health(machine.view().is_some()),
        };
        // Who hung up asks again.
        drop(call.answer.send(answer));
    }
}
