//! Whether an answer fits its question. The machine still judges what it says.

use node_core::evidence::Receipt;
use node_core::id::Hotkey;
use node_core::lease::{AcquireRequest, Grant, Seal};
use node_core::limits::RECEIPTS_PER_PAGE_MAX;
use proto::v1;

use crate::convert::{self, ConvertError};
use crate::directory::NodeIdentity;
use crate::signature::{is_sealed_by_worker, is_signed_by_worker};

/// Why an answer is not one to the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// A message breaks a limit or carries an unknown value.
    #[error("the message is malformed")]
    Message(#[source] ConvertError),
    /// Another number of answers than items asked about.
    #[error("{got} answers to {asked} items")]
    Count {
        /// Items in the request.
        asked: usize,
        /// Answers that came.
        got: usize,
    },
    /// More grants than asked for.
    #[error("{got} grants where {asked} were asked for")]
    TooManyGrants {
        /// Most that could start.
        asked: u32,
        /// Grants that came.
        got: usize,
    },
    /// A grant in somebody else's name.
    #[error("a grant names {coordinator} as its coordinator, not the peer that was asked")]
    WrongCoordinator {
        /// Whom it names.
        coordinator: Hotkey,
    },
    /// A stream of receipts does not ascend.
    #[error("receipt {sequence} came after {previous}")]
    OutOfOrder {
        /// The receipt's sequence number.
        sequence: u64,
        /// The one before it.
        previous: u64,
    },
    /// A content's first chunk does not say what the whole is.
    #[error("the first chunk does not say what the archive is")]
    NoArchive,
    /// The peer has another archive of the content than it had when the stream broke.
    #[error("the peer's archive of the content is not the one it was")]
    OtherArchive,
    /// A later chunk is empty, or says again what the whole is.
    #[error("a chunk is empty, or describes the archive again")]
    ChunkShape,
    /// More bytes than were announced.
    #[error("more than the {total} bytes that were announced")]
    TooManyBytes {
        /// Bytes announced.
        total: u64,
    },
    /// The stream ended before the archive did.
    #[error("the stream ended after {got} of {total} bytes")]
    CutShort {
        /// Bytes that came.
        got: u64,
        /// Bytes announced.
        total: u64,
    },
    /// The bytes are not those that were announced.
    #[error("the archive's bytes are not those that were announced")]
    OtherBytes,
    /// Who answers is not who has the connection.
    #[error("the peer says that it is {hotkey}, and its certificate says otherwise")]
    OtherIdentity {
        /// Who it says it is.
        hotkey: Hotkey,
    },
    /// A page of receipts does not end.
    #[error("more than {RECEIPTS_PER_PAGE_MAX} receipts in one answer")]
    TooManyReceipts,
}

pub(super) fn check_grants(
    grants: &[Grant],
    peer: Hotkey,
    wanted: &AcquireRequest,
) -> Result<(), AnswerError> {
    if u32::try_from(grants.len()).map_or(true, |got| got > wanted.leases_max) {
        let (asked, got) = (wanted.leases_max, grants.len());
        return Err(AnswerError::TooManyGrants { asked, got });
    }
    match grants.iter().find(|grant| grant.coordinator != peer) {
        Some(Grant { coordinator, .. }) => {
            Err(AnswerError::WrongCoordinator { coordinator: *coordinator })
        }
        None => Ok(()),
    }
}

/// A page of receipts as it comes in.
#[derive(Debug)]
pub(super) struct Page {
    previous: u64,
    entries: usize,
    receipts: Vec<(u64, Receipt)>,
}

/// A receipt that was skipped; the rest of the page is still good.
#[derive(Debug)]
pub(super) struct ReceiptRefused {
    pub(super) sequence: u64,
    pub(super) reason: Unbelieved,
}

/// What is wrong with a receipt or a seal.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unbelieved {
    #[error("not signed by its worker")]
    BadSignature,
    #[error("malformed: {0}")]
    Malformed(ConvertError),
}

impl Page {
    pub(super) fn after(after: u64) -> Self {
        Self { previous: after, entries: 0, receipts: Vec::new() }
    }

    /// Takes the next entry. A bad receipt is skipped and reported: a peer of a newer version may
    /// stream a receipt that we cannot read, and the ones behind it still count.
    ///
    /// # Errors
    ///
    /// [`AnswerError::OutOfOrder`] and [`AnswerError::TooManyReceipts`]: the page is worthless.
    pub(super) fn push(
        &mut self,
        entry: v1::ReceiptEntry,
    ) -> Result<Result<(), ReceiptRefused>, AnswerError> {
        let sequence = entry.sequence;
        if sequence <= self.previous {
            return Err(AnswerError::OutOfOrder { sequence, previous: self.previous });
        }
        if self.entries >= RECEIPTS_PER_PAGE_MAX {
            return Err(AnswerError::TooManyReceipts);
        }
        self.previous = sequence;
        self.entries += 1;
        Ok(match receipt(entry.receipt) {
            Ok(receipt) => {
                self.receipts.push((sequence, receipt));
                Ok(())
            }
            Err(reason) => Err(ReceiptRefused { sequence, reason }),
        })
    }

    pub(super) fn into_receipts(self) -> Vec<(u64, Receipt)> {
        self.receipts
    }
}

fn receipt(receipt: Option<v1::Receipt>) -> Result<Receipt, Unbelieved> {
    let receipt = convert::required_receipt_from_wire(receipt).map_err(Unbelieved::Malformed)?;
    if is_signed_by_worker(&receipt) {
        Ok(receipt)
    } else {
        Err(Unbelieved::BadSignature)
    }
}

/// A seal, if it can be read and is its worker's. Whether it is for the right evaluation is the
/// machine's to judge.
pub(super) fn believe(
    identity: &NodeIdentity,
    seal: Result<Seal, ConvertError>,
) -> Result<Seal, Unbelieved> {
    let seal = seal.map_err(Unbelieved::Malformed)?;
    if is_sealed_by_worker(identity, &seal) {
        Ok(seal)
    } else {
        Err(Unbelieved::BadSignature)
    }
}
