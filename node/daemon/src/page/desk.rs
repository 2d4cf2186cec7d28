//! What no report has, asked of the loop.

use std::time::Duration;

use node_core::id::SubmissionId;
use node_core::machine::account::{EpochAccount, Merit};
use node_core::rows::ReceiptRow;
use node_core::submission::Submission;
use tokio::sync::oneshot;

use super::PageState;
use crate::api::{Answer, Call, Known, Question};
use crate::freezer::Thawed;
use crate::status::WeightsIntent;

/// How long the loop may take. Lower: a busy disk leaves pages without their curve. Higher: who
/// looks at a node that hangs looks at nothing for longer.
const LOOP_ANSWERS_WITHIN: Duration = Duration::from_millis(1_500);

/// What the loop says of a submission.
#[derive(Debug)]
pub(super) enum Heard {
    /// All that it knows.
    Known(Box<Known>),
    /// That it knows nothing of it.
    Unknown,
    /// Nothing: it starts, stops, or has too much to do.
    Nothing,
}

impl PageState {
    /// All about a submission.
    pub(super) async fn heard(&self, id: SubmissionId) -> Heard {
        match self.ask(Question::Submission(id)).await {
            Some(Answer::Submission(Some(known))) => Heard::Known(known),
            Some(Answer::Submission(None)) => Heard::Unknown,
            _ => Heard::Nothing,
        }
    }

    /// What its runs left behind.
    pub(super) async fn receipts(&self, id: SubmissionId) -> Vec<ReceiptRow> {
        match self.ask(Question::Receipts(id)).await {
            Some(Answer::Receipts(receipts)) => receipts,
            _ => Vec::new(),
        }
    }

    /// What was put away of it, where there is a store to ask.
    pub(super) async fn thawed(&self, id: SubmissionId) -> Result<Thawed, String> {
        match &self.freezer {
            Some(freezer) => freezer.of(id).await,
            None => Ok(Thawed::default()),
        }
    }

    /// Who leads; `None` if nobody answers.
    pub(super) async fn ranking(&self) -> Option<Vec<(Merit, Submission)>> {
        match self.ask(Question::Leaderboard).await? {
            Answer::Leaderboard(_, ranked) => Some(ranked),
            _ => None,
        }
    }

    /// The subnet's epoch.
    pub(super) async fn epoch(&self) -> Option<EpochAccount> {
        match self.ask(Question::Epoch).await? {
            Answer::Epoch(epoch) => epoch,
            _ => None,
        }
    }

    /// The vectors of the epochs that the node remembers, also of its earlier lives; `None` if
    /// nobody answers.
    pub(super) async fn vectors(&self) -> Option<Vec<WeightsIntent>> {
        match self.ask(Question::Vectors).await? {
            Answer::Vectors(vectors) => Some(vectors),
            _ => None,
        }
    }

    async fn ask(&self, question: Question) -> Option<Answer> {
        // Before the first block there is nothing to tell, and the loop may not run yet.
        let is_alive = self.reports.borrow().chain.is_some();
        let calls = self.calls.as_ref().filter(|_| is_alive)?;
        let (answer, answered) = oneshot::channel();
        calls.try_send(Call { question, answer }).ok()?;
        tokio::time::timeout(LOOP_ANSWERS_WITHIN, answered).await.ok()?.ok()
    }
}
