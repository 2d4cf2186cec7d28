//! Between the wire and core, both ways. From the wire everything is checked: lengths, counts,
//! ranges, texts, unknown values; nothing is read as a default.
//!
//! Not here: whether what is said makes sense (metrics present iff completed, the right attempt);
//! that is the machine's to judge.

mod ending;
mod evidence;
mod explain;
mod lease;
mod seal;

pub(crate) use evidence::{
    complete_request_from_wire, complete_request_to_wire, receipt_to_wire,
    required_receipt_from_wire, since_request_from_wire, since_request_to_wire,
};
pub(crate) use explain::{
    explain_request_from_wire, explain_request_to_wire, explanation_from_wire, explanation_to_wire,
};
pub(crate) use lease::{
    acquire_request_from_wire, acquire_request_to_wire, acquire_response_from_wire,
    acquire_response_to_wire, answer_from_wire, answer_to_wire, release_request_from_wire,
    release_request_to_wire, renew_request_from_wire, renew_request_to_wire,
    required_answer_from_wire,
};
pub(crate) use seal::{
    hold_answer_from_wire, hold_answer_to_wire, seal_request_from_wire, seal_request_to_wire,
};

use node_core::id::{BlockHash, ContentDigest, Digest, Hotkey, Netuid};
use node_core::limits::DETAIL_CHARS_MAX;
use proto::v1;

use crate::directory::{NodeIdentity, NodeInfo};
use crate::limits::SOFTWARE_CHARS_MAX;

/// Why a message from outside is refused. `field` is the name in the `.proto` file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A required part is absent, or is a variant that this version does not know.
    #[error("`{field}` is missing or of an unknown kind")]
    Missing {
        /// Which.
        field: &'static str,
    },
    /// A digest, key or signature has another length.
    #[error("`{field}` has {got} bytes, not {want}")]
    Length {
        /// Which.
        field: &'static str,
        /// Bytes found.
        got: usize,
        /// Bytes wanted.
        want: usize,
    },
    /// A number is outside its range.
    #[error("`{field}` is {got}, not from {min} to {max}")]
    Range {
        /// Which.
        field: &'static str,
        /// What was found.
        got: u64,
        /// The least allowed.
        min: u64,
        /// The largest allowed.
        max: u64,
    },
    /// A list is too long.
    #[error("`{field}` has {got} entries, more than {max}")]
    TooMany {
        /// Which.
        field: &'static str,
        /// Entries found.
        got: usize,
        /// Entries allowed.
        max: usize,
    },
    /// A list is not in ascending order, or has an entry twice.
    #[error("`{field}` is not in ascending order")]
    Order {
        /// Which.
        field: &'static str,
    },
    /// A text is too long.
    #[error("`{field}` has more than {max} characters")]
    TooLong {
        /// Which.
        field: &'static str,
        /// Characters allowed.
        max: usize,
    },
    /// A text carries control characters.
    #[error("`{field}` has a control character")]
    ControlCharacter {
        /// Which.
        field: &'static str,
    },
    /// An enum or an id has a value that this version does not know.
    #[error("`{field}` has the unknown value `{got}`")]
    UnknownValue {
        /// Which.
        field: &'static str,
        /// What was found, shortened.
        got: String,
    },
}

fn required<T>(field: &'static str, value: Option<T>) -> Result<T, ConvertError> {
    value.ok_or(ConvertError::Missing { field })
}

fn fixed<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], ConvertError> {
    bytes.try_into().map_err(|_| ConvertError::Length { field, got: bytes.len(), want: N })
}

fn in_range(field: &'static str, got: u64, min: u64, max: u64) -> Result<u64, ConvertError> {
    if (min..=max).contains(&got) {
        Ok(got)
    } else {
        Err(ConvertError::Range { field, got, min, max })
    }
}

fn small<T: TryFrom<u32>>(field: &'static str, got: u32, max: u64) -> Result<T, ConvertError> {
    T::try_from(got).map_err(|_| ConvertError::Range { field, got: got.into(), min: 0, max })
}

fn netuid(field: &'static str, got: u32) -> Result<Netuid, ConvertError> {
    small(field, got, u16::MAX.into()).map(Netuid)
}

fn at_most<T>(field: &'static str, list: &[T], max: usize) -> Result<(), ConvertError> {
    if list.len() > max {
        return Err(ConvertError::TooMany { field, got: list.len(), max });
    }
    Ok(())
}

/// A text of at most `max` characters without control characters.
fn line(field: &'static str, text: String, max: usize) -> Result<String, ConvertError> {
    if text.contains('\n') {
        return Err(ConvertError::ControlCharacter { field });
    }
    paragraph(field, text, max)
}

/// Like [`line`], and newlines are allowed.
fn paragraph(field: &'static str, text: String, max: usize) -> Result<String, ConvertError> {
    if text.chars().nth(max).is_some() {
        return Err(ConvertError::TooLong { field, max });
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(ConvertError::ControlCharacter { field });
    }
    Ok(text)
}

fn detail(field: &'static str, detail: v1::Detail) -> Result<String, ConvertError> {
    paragraph(field, detail.text, DETAIL_CHARS_MAX)
}

/// A foreign value as it may appear in an error's text.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

pub(crate) fn content_from_wire(bytes: &[u8]) -> Result<ContentDigest, ConvertError> {
    fixed("content", bytes).map(ContentDigest)
}

/// Where in an archive of `total` bytes to begin; its end is a place too.
pub(crate) fn offset_from_wire(offset: u64, total: usize) -> Result<usize, ConvertError> {
    let offset = in_range("offset", offset, 0, total as u64)?;
    // Not above `total`, so it fits.
    Ok(usize::try_from(offset).unwrap_or(total))
}

/// An archive's length and digest.
pub(crate) fn archive_from_wire(archive: &v1::Archive) -> Result<(u64, Digest), ConvertError> {
    Ok((archive.total_bytes, Digest(fixed("sha256", &archive.sha256)?)))
}

pub(crate) fn info_to_wire(identity: &NodeIdentity) -> v1::InfoResponse {
    v1::InfoResponse {
        protocol_version: crate::PROTOCOL_VERSION,
        hotkey: identity.hotkey.0.to_vec(),
        genesis: identity.genesis.0.to_vec(),
        netuid: identity.netuid.0.into(),
        software_version: identity.software_version.clone(),
    }
}

pub(crate) fn info_from_wire(info: v1::InfoResponse) -> Result<NodeInfo, ConvertError> {
    let identity = NodeIdentity {
        hotkey: Hotkey(fixed("hotkey", &info.hotkey)?),
        genesis: BlockHash(fixed("genesis", &info.genesis)?),
        netuid: netuid("netuid", info.netuid)?,
        software_version: line("software_version", info.software_version, SOFTWARE_CHARS_MAX)?,
    };
    Ok(NodeInfo { protocol_version: info.protocol_version, identity })
}

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
