//! What may come from outside, as functions of bytes: for the fuzz targets in `tests/fuzz`, and for
//! the test that replays their corpus (`tests/corpus.rs`). No node uses it.
//!
//! Each function reads bytes as this crate reads them from a peer. Of whatever is taken it checks
//! that it keeps the limits of `docs/protocol.md`, and that it is still the same after it was
//! written and read again.
//!
//! Not here: the headers of a call, and the frames below it (`tonic`, `rustls`).

use node_core::evidence::Receipt;
use node_core::id::{ContentDigest, Hotkey};
use node_core::lease::{Grant, HoldAnswer};
use node_core::limits::{
    DETAIL_CHARS_MAX, LEASES_PER_ACQUIRE_MAX, LEASE_TOTAL_MS_MAX, LOSS_CURVE_POINTS_MAX,
    RECEIPTS_PER_SUBMISSION_MAX, REPLICA_NUMBERS_MAX,
};
use node_core::outcome::Ending;
use prost::Message;
use proto::v1;

use crate::client::Download;
use crate::convert::{self, ConvertError};
use crate::limits::{
    BATCH_ITEMS_MAX, CERTIFICATE_BYTES_MAX, DEVICE_CHARS_MAX, RENEW_ITEMS_MAX, SOFTWARE_CHARS_MAX,
};
use crate::tls::EndorsedKey;

/// One kind of bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of the fuzz target, and of its folder in the corpus.
    pub name: &'static str,
    /// Reads bytes.
    ///
    /// # Errors
    ///
    /// [`Broken`] if this crate has a fault.
    pub read: fn(&[u8]) -> Result<Reading, Broken>,
}

/// What came of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// They are no such message.
    NoMessage,
    /// They are one that is refused.
    Refused,
    /// They are one that a node acts upon.
    Taken,
}

/// What must never come of any bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// What was taken is another thing once it was written and read again.
    #[error("what was taken is not what is read when it is written")]
    NotTheSame,
    /// Something was taken that breaks a limit.
    #[error("`{0}` was taken beyond its limit")]
    BeyondLimit(&'static str),
}

/// Every kind.
pub const TARGETS: &[Target] = &[
    Target { name: "acquire_request", read: acquire_request },
    Target { name: "acquire_response", read: acquire_response },
    Target { name: "renew_request", read: renew_request },
    Target { name: "renew_response", read: renew_response },
    Target { name: "seal_request", read: seal_request },
    Target { name: "complete_request", read: complete_request },
    Target { name: "complete_response", read: complete_response },
    Target { name: "release_request", read: release_request },
    Target { name: "release_response", read: release_response },
    Target { name: "explain_request", read: explain_request },
    Target { name: "explain_response", read: explain_response },
    Target { name: "since_request", read: since_request },
    Target { name: "receipt_entry", read: receipt_entry },
    Target { name: "get_request", read: get_request },
    Target { name: "info_response", read: info_response },
    Target { name: "archive", read: archive },
    Target { name: "certificate", read: certificate },
];

/// The kind with this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

fn message<M: Message + Default, T: PartialEq>(
    bytes: &[u8],
    from_wire: impl Fn(M) -> Result<T, ConvertError>,
    to_wire: impl Fn(&T) -> M,
    check: impl Fn(&T) -> Result<(), Broken>,
) -> Result<Reading, Broken> {
    let Ok(message) = M::decode(bytes) else { return Ok(Reading::NoMessage) };
    let Ok(value) = from_wire(message) else { return Ok(Reading::Refused) };
    check(&value)?;
    let written = to_wire(&value).encode_to_vec();
    let again = M::decode(written.as_slice()).map_err(|_| Broken::NotTheSame)?;
    match from_wire(again) {
        Ok(again) if again == value => Ok(Reading::Taken),
        _ => Err(Broken::NotTheSame),
    }
}

fn within(name: &'static str, holds: bool) -> Result<(), Broken> {
    if holds {
        Ok(())
    } else {
        Err(Broken::BeyondLimit(name))
    }
}

fn is_text(text: &str, chars_max: usize) -> bool {
    text.chars().count() <= chars_max && text.chars().all(|c| !c.is_control() || c == '\n')
}

fn check_receipt(receipt: &Receipt) -> Result<(), Broken> {
    let evidence = &receipt.evidence;
    let is_line = !evidence.device.contains('\n');
    within("device", is_line && is_text(&evidence.device, DEVICE_CHARS_MAX))?;
    check_ending(&evidence.ending)?;
    let points = evidence.metrics.as_ref().map_or(0, |metrics| metrics.loss_curve_microbpb.len());
    within("loss_curve_microbpb", points <= LOSS_CURVE_POINTS_MAX)
}

fn check_ending(ending: &Ending) -> Result<(), Broken> {
    match ending {
        Ending::SubmissionFailed { detail }
        | Ending::ContractViolated { detail }
        | Ending::EngineFailed { detail }
        | Ending::DeviceFailed { detail }
        | Ending::ProfileMismatch { detail }
        | Ending::TokenizerRefused { detail } => {
            within("detail", is_text(detail, DETAIL_CHARS_MAX))
        }
        Ending::Completed
        | Ending::NotCausal { .. }
        | Ending::UntrainedNotCausal { .. }
        | Ending::UntrainedBatchDependent { .. }
        | Ending::UntrainedNotFinite { .. }
        | Ending::TokenizerLossy { .. }
        | Ending::TooManyParameters { .. }
        | Ending::TooSlow { .. }
        | Ending::OutOfMemory
        | Ending::OutOfDeviceMemory
        | Ending::OutOfPids
        | Ending::TooMuchOutput
        | Ending::TooMuchCpuTime { .. }
        | Ending::Killed { .. }
        | Ending::ImageMissing
        | Ending::DatasetMissing
        | Ending::WorkerRestarted
        | Ending::LeaseLost
        | Ending::Stopped => Ok(()),
    }
}

fn check_grant(grant: &Grant) -> Result<(), Broken> {
    within("total_ms", (1..=LEASE_TOTAL_MS_MAX).contains(&grant.total_ms))?;
    within("ttl_ms", (1..=grant.total_ms).contains(&grant.ttl_ms))
}

fn check_hold(answer: &HoldAnswer) -> Result<(), Broken> {
    match answer {
        HoldAnswer::Reveal(seals) => {
            within("seals", seals.len() <= usize::from(REPLICA_NUMBERS_MAX))
        }
        HoldAnswer::Kept | HoldAnswer::Refused(_) => Ok(()),
    }
}

fn acquire_request(bytes: &[u8]) -> Result<Reading, Broken> {
    let from_wire = |wire| convert::acquire_request_from_wire(&wire);
    message(bytes, from_wire, convert::acquire_request_to_wire, |_| Ok(()))
}

fn acquire_response(bytes: &[u8]) -> Result<Reading, Broken> {
    let from_wire = convert::acquire_response_from_wire;
    message(bytes, from_wire, convert::acquire_response_to_wire, |answer| {
        let grants = answer.as_deref().unwrap_or_default();
        within("grants", grants.len() <= LEASES_PER_ACQUIRE_MAX)?;
        grants.iter().try_for_each(check_grant)
    })
}

fn renew_request(bytes: &[u8]) -> Result<Reading, Broken> {
    let to_wire = |renewals: &Vec<_>| convert::renew_request_to_wire(renewals);
    message(bytes, convert::renew_request_from_wire, to_wire, |renewals| {
        within("renewals", renewals.len() <= RENEW_ITEMS_MAX)
    })
}

/// Also the answer to a `Seal`, which has the same shape.
fn renew_response(bytes: &[u8]) -> Result<Reading, Broken> {
    let from_wire = |wire: v1::RenewResponse| {
        let answers = wire.answers.into_iter();
        answers.map(|answer| convert::hold_answer_from_wire(answer, Result::ok)).collect()
    };
    let to_wire = |answers: &Vec<HoldAnswer>| {
        let answers = answers.iter().map(convert::hold_answer_to_wire).collect();
        v1::RenewResponse { answers }
    };
    message(bytes, from_wire, to_wire, |answers| answers.iter().try_for_each(check_hold))
}

fn seal_request(bytes: &[u8]) -> Result<Reading, Broken> {
    let to_wire = |seals: &Vec<_>| convert::seal_request_to_wire(seals);
    message(bytes, convert::seal_request_from_wire, to_wire, |seals| {
        within("seals", seals.len() <= BATCH_ITEMS_MAX)
    })
}

fn complete_request(bytes: &[u8]) -> Result<Reading, Broken> {
    let to_wire = |receipts: &Vec<_>| convert::complete_request_to_wire(receipts);
    message(bytes, convert::complete_request_from_wire, to_wire, |receipts| {
        within("receipts", receipts.len() <= BATCH_ITEMS_MAX)?;
        receipts.iter().try_for_each(check_receipt)
    })
}

fn complete_response(bytes: &[u8]) -> Result<Reading, Broken> {
    let from_wire = |wire: v1::CompleteResponse| {
        wire.answers.into_iter().map(convert::answer_from_wire).collect::<Result<Vec<_>, _>>()
    };
    let to_wire = |answers: &Vec<_>| v1::CompleteResponse {
        answers: answers.iter().map(|answer| convert::answer_to_wire(*answer)).collect(),
    };
    message(bytes, from_wire, to_wire, |_| Ok(()))
}

fn release_request(bytes: &[u8]) -> Result<Reading, Broken> {
    let to_wire = |(held, reason): &_| convert::release_request_to_wire(held, reason);
    message(bytes, convert::release_request_from_wire, to_wire, |(_, reason)| match reason {
        node_core::lease::ReleaseReason::RunEnded { ending } => check_ending(ending),
        _ => Ok(()),
    })
}

fn release_response(bytes: &[u8]) -> Result<Reading, Broken> {
    let from_wire = |wire: v1::ReleaseResponse| convert::required_answer_from_wire(wire.answer);
    let to_wire =
        |answer: &_| v1::ReleaseResponse { answer: Some(convert::answer_to_wire(*answer)) };
    message(bytes, from_wire, to_wire, |_| Ok(()))
}

fn explain_request(bytes: &[u8]) -> Result<Reading, Broken> {
    let from_wire = |wire| convert::explain_request_from_wire(&wire);
    message(bytes, from_wire, convert::explain_request_to_wire, |_| Ok(()))
}

fn explain_response(bytes: &[u8]) -> Result<Reading, Broken> {
    let from_wire = convert::explanation_from_wire;
    message(bytes, from_wire, convert::explanation_to_wire, |explanation| {
        let replicas = &explanation.replicas;
        within("replicas", replicas.len() <= usize::from(REPLICA_NUMBERS_MAX))?;
        within("claims", explanation.claims.len() <= RECEIPTS_PER_SUBMISSION_MAX)?;
        within("required", explanation.required <= u8::MAX.into())?;
        within("summary", is_text(&explanation.summary, DETAIL_CHARS_MAX))?;
        let is_bounded = |state: &str| is_text(state, DETAIL_CHARS_MAX);
        within("state", replicas.iter().all(|replica| is_bounded(&replica.state)))
    })
}

fn since_request(bytes: &[u8]) -> Result<Reading, Broken> {
    let asked = Hotkey([0; 32]);
    let from_wire = |wire| convert::since_request_from_wire(&wire, asked);
    let to_wire = |(of, after): &_| convert::since_request_to_wire(*of, *after, asked);
    message(bytes, from_wire, to_wire, |_| Ok(()))
}

fn receipt_entry(bytes: &[u8]) -> Result<Reading, Broken> {
    let from_wire = |wire: v1::ReceiptEntry| {
        let receipt = convert::required_receipt_from_wire(wire.receipt)?;
        Ok((wire.sequence, receipt))
    };
    let to_wire = |(sequence, receipt): &_| v1::ReceiptEntry {
        sequence: *sequence,
        receipt: Some(convert::receipt_to_wire(receipt)),
    };
    message(bytes, from_wire, to_wire, |(_, receipt)| check_receipt(receipt))
}

fn get_request(bytes: &[u8]) -> Result<Reading, Broken> {
    // The length of the archive that is asked for.
    const TOTAL: usize = 1_000;
    let from_wire = |wire: v1::GetRequest| {
        let content = convert::content_from_wire(&wire.content)?;
        Ok((content, convert::offset_from_wire(wire.offset, TOTAL)?))
    };
    let to_wire = |(content, offset): &(ContentDigest, usize)| v1::GetRequest {
        content: content.0.to_vec(),
        offset: *offset as u64,
    };
    message(bytes, from_wire, to_wire, |(_, offset)| within("offset", *offset <= TOTAL))
}

fn info_response(bytes: &[u8]) -> Result<Reading, Broken> {
    let to_wire = |info: &crate::NodeInfo| v1::InfoResponse {
        protocol_version: info.protocol_version,
        ..convert::info_to_wire(&info.identity)
    };
    message(bytes, convert::info_from_wire, to_wire, |info| {
        within("software_version", is_text(&info.identity.software_version, SOFTWARE_CHARS_MAX))
    })
}

/// A download of at most 4,096 bytes from streams of chunks, each chunk behind its length. Where a
/// chunk is refused the stream ends and the next begins.
fn archive(mut bytes: &[u8]) -> Result<Reading, Broken> {
    const BYTES_MAX: u64 = 4_096;
    let mut download = Download::new(ContentDigest([0; 32]), BYTES_MAX);
    let mut is_first = true;
    let mut reading = Reading::NoMessage;
    while let Ok(chunk) = v1::Chunk::decode_length_delimited(&mut bytes) {
        let taken = if is_first { download.begin(chunk) } else { download.next(chunk) };
        is_first = taken.is_err();
        within("data", download.request().offset <= BYTES_MAX)?;
        reading = Reading::Refused;
        if bytes.is_empty() {
            break;
        }
    }
    if download.is_whole() {
        if let Ok(whole) = download.finish() {
            within("total_bytes", whole.len() as u64 <= BYTES_MAX)?;
            reading = Reading::Taken;
        }
    }
    Ok(reading)
}

/// A certificate with an endorsement, read and not believed.
fn certificate(bytes: &[u8]) -> Result<Reading, Broken> {
    let Ok(endorsed) = EndorsedKey::read(bytes) else { return Ok(Reading::Refused) };
    within("certificate", bytes.len() <= CERTIFICATE_BYTES_MAX)?;
    match EndorsedKey::read(bytes) {
        Ok(again) if again == endorsed => Ok(Reading::Taken),
        _ => Err(Broken::NotTheSame),
    }
}
