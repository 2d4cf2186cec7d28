//! What the loop has put away: read from the store when somebody asks for it.
//!
//! The loop is asked first: what it still knows is newer than what was put away of it.

#[cfg(test)]
pub(crate) mod sample;

use std::collections::BTreeSet;
use std::sync::Arc;

use node_core::id::SubmissionId;
use node_core::machine::account::Account;
use node_core::machine::past::Past;
use node_core::policy::Policy;
use node_core::rows::{Frozen, ReceiptRow};
use node_core::unit::BlockNumber;
use node_store::Store;

use crate::run::describe;
use crate::status::SubmissionStatus;

/// To the records of the running node's store.
#[derive(Clone, Debug)]
pub(crate) struct FreezerDoor {
    store: Arc<Store>,
    policy: Arc<Policy>,
}

/// What was put away of a submission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Thawed {
    /// The block at which that happened, the last time.
    pub(crate) at: Option<BlockNumber>,
    /// Receipts in the order in which they were put away, each once.
    pub(crate) receipts: Vec<ReceiptRow>,
    /// The submission as it was then; `None` if nothing was put away.
    pub(crate) submission: Option<PastSubmission>,
}

/// A submission as it was when it was put away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PastSubmission {
    /// What the machine knew of it.
    pub(crate) account: Account,
    /// What a report said of it.
    pub(crate) row: SubmissionStatus,
}

impl FreezerDoor {
    /// - `policy`: the rules that hold, by which what was decided is read.
    pub(crate) fn new(store: Arc<Store>, policy: Arc<Policy>) -> Self {
        Self { store, policy }
    }

    /// Reads what was put away of a submission; nothing of one that is current, or unknown.
    ///
    /// # Errors
    ///
    /// A sentence about files that cannot be read, or are not what was written.
    pub(crate) async fn of(&self, submission: SubmissionId) -> Result<Thawed, String> {
        let (store, policy) = (Arc::clone(&self.store), Arc::clone(&self.policy));
        let read = tokio::task::spawn_blocking(move || {
            let records = store.frozen(&submission).map_err(|error| describe(&error));
            records.map(|records| Thawed::of(&records, &policy))
        });
        read.await.map_err(|_| "the thread that reads them died".to_owned())?
    }
}

impl Thawed {
    fn of(records: &[Frozen], policy: &Policy) -> Self {
        // One that came back to the chain may have been told its receipts again.
        let mut seen = BTreeSet::new();
        let receipts = records.iter().flat_map(Frozen::receipts);
        let receipts: Vec<ReceiptRow> =
            receipts.filter(|row| seen.insert(row.receipt.evidence.digest())).cloned().collect();
        let submission = Past::of(records, policy).map(|past| {
            let row = SubmissionStatus::of_past(&past, &receipts, &policy.scoring.funnel);
            PastSubmission { account: past.account, row }
        });
        Self { at: records.last().map(|record| record.at), receipts, submission }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(dir: &std::path::Path) -> FreezerDoor {
        FreezerDoor::new(Arc::new(sample::store(dir)), Arc::new(Policy::dev()))
    }

    #[tokio::test]
    async fn what_was_put_away_is_told_with_the_submission_and_each_receipt_once() {
        let dir = tempfile::tempdir().unwrap();
        let thawed = door(dir.path()).of(sample::submission().id).await.unwrap();
        assert_eq!(thawed, sample::thawed());
        assert_eq!((thawed.at, thawed.receipts.len()), (Some(BlockNumber(7_200)), 1));
        let past = thawed.submission.unwrap();
        assert_eq!(past.account.submission, sample::submission());
        assert_eq!(past.account.metrics, sample::evidence().metrics);
        assert_eq!(past.row.points, Some(250_000_000));
        let other = door(&dir.path().join("other")).of(SubmissionId([0xee; 32])).await;
        assert_eq!(other.unwrap(), Thawed::default());
    }

    #[tokio::test]
    async fn a_damaged_record_is_an_error_that_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let door = door(dir.path());
        sample::damage(dir.path());
        let error = door.of(sample::submission().id).await.unwrap_err();
        assert!(error.contains("freezer"), "{error}");
    }
}
