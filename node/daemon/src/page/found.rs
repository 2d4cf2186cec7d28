//! What is known of one submission beside the report: from the loop, else from what it put away.

use node_core::id::SubmissionId;
use node_core::rows::ReceiptRow;

use super::desk::Heard;
use super::submission::{PutAway, Told};
use super::PageState;
use crate::api::Known;
use crate::freezer::Thawed;
use crate::status::SubmissionStatus;

/// What was found of a submission.
#[derive(Debug, Default)]
pub(super) struct Found {
    known: Option<Known>,
    /// In place of a report that does not list it any more.
    row: Option<SubmissionStatus>,
    receipts: Vec<ReceiptRow>,
    put_away: Option<PutAway>,
}

impl PageState {
    /// Asks the loop, and reads what was put away where the loop knows nothing.
    pub(super) async fn find(&self, id: SubmissionId) -> Found {
        match self.heard(id).await {
            Heard::Known(known) => self.with_receipts(id, *known).await,
            Heard::Unknown => self.past(id).await,
            // What the report says of it is newer.
            Heard::Nothing if self.is_reported(id) => Found::default(),
            Heard::Nothing => self.past(id).await,
        }
    }

    fn is_reported(&self, id: SubmissionId) -> bool {
        self.reports.borrow().submissions.iter().any(|row| row.id == id)
    }

    /// What its runs left behind may have been put away before itself.
    async fn with_receipts(&self, id: SubmissionId, mut known: Known) -> Found {
        let receipts = self.receipts(id).await;
        if !receipts.is_empty() {
            return Found { known: Some(known), receipts, ..Found::default() };
        }
        match self.thawed(id).await {
            Ok(Thawed { at, receipts, .. }) => {
                known.account.recall(receipts.iter());
                let put_away = at.map(PutAway::At);
                Found { known: Some(known), row: None, receipts, put_away }
            }
            Err(reason) => {
                let put_away = Some(PutAway::Unreadable(reason));
                Found { known: Some(known), put_away, ..Found::default() }
            }
        }
    }

    /// As it was when it was put away.
    async fn past(&self, id: SubmissionId) -> Found {
        match self.thawed(id).await {
            Ok(Thawed { at, receipts, submission: Some(past) }) => {
                let known = Known::past(past.account);
                let put_away = at.map(PutAway::Whole);
                Found { known: Some(known), row: Some(past.row), receipts, put_away }
            }
            Ok(Thawed { submission: None, .. }) => Found::default(),
            Err(reason) => {
                Found { put_away: Some(PutAway::Unreadable(reason)), ..Found::default() }
            }
        }
    }
}

impl Found {
    /// For its page.
    pub(super) fn told(&self) -> Told<'_> {
        Told {
            known: self.known.as_ref(),
            row: self.row.as_ref(),
            receipts: &self.receipts,
            put_away: self.put_away.as_ref(),
        }
    }

    /// Why what was put away cannot be read, if it cannot.
    pub(super) fn unreadable(&self) -> Option<&str> {
        match self.put_away.as_ref()? {
            PutAway::Unreadable(reason) => Some(reason),
            PutAway::At(_) | PutAway::Whole(_) => None,
        }
    }
}
