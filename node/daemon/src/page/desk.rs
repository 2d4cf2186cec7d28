//! What no report has, asked of the loop.

use std::time::Duration;

use node_core::id::SubmissionId;
use node_core::machine::account::{EpochAccount, Merit};
use node_core::rows::ReceiptRow;
use node_core::submission::Submission;
use tokio::sync::oneshot;

use super::PageState;
use crate::api::{Answer, Call, Known, Question};

/// How long the loop may take. Lower: a busy disk leaves pages without their curve. Higher: who
/// looks at a node that hangs looks at nothing for longer.
const LOOP_ANSWERS_WITHIN: Duration = Duration::from_millis(1_500);

impl PageState {
    /// All about a submission; `None` if it is unknown, or if nobody answers.
    pub(super) async fn known(&self, id: SubmissionId) -> Option<Known> {
        match self.ask(Question::Submission(id)).await? {
            Answer::Submission(known) => known.map(|known| *known),
            _ => None,
        }
    }

    /// What its runs left behind.
    pub(super) async fn receipts(&self, id: SubmissionId) -> Vec<ReceiptRow> {
        match self.ask(Question::Receipts(id)).await {
            Some(Answer::Receipts(receipts)) => receipts,
            _ => Vec::new(),
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

    async fn ask(&self, question: Question) -> Option<Answer> {
        // Before the first block there is nothing to tell, and the loop may not run yet.
        let is_alive = self.reports.borrow().chain.is_some();
        let calls = self.calls.as_ref().filter(|_| is_alive)?;
        let (answer, answered) = oneshot::channel();
        calls.try_send(Call { question, answer }).ok()?;
        tokio::time::timeout(LOOP_ANSWERS_WITHIN, answered).await.ok()?.ok()
    }
}
