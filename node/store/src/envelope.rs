//! The bytes around every record: schema version, checksum, payload.
//!
//! ```text
//! [version: u8] [crc32 of version and payload: u32, little endian] [payload]
//! ```

/// Bytes in front of the payload.
pub(crate) const HEADER_BYTES: usize = 5;

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not even a header.
    #[error("record has {got} bytes, less than its header")]
    TooShort {
        /// Bytes found.
        got: usize,
    },
    /// Version or payload are not what was written.
    #[error("record's checksum is {expected:08x}, its content has {got:08x}")]
    ChecksumMismatch {
        /// Checksum stored.
        expected: u32,
        /// Checksum of what is there.
        got: u32,
    },
}

fn checksum(version: u8, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[version]);
    hasher.update(payload);
    hasher.finalize()
}

/// The beginning of a record: room for the header. The payload is written behind it, then
/// [`close`]d.
pub(crate) fn open(capacity: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(capacity.max(HEADER_BYTES));
    bytes.extend_from_slice(&[0; HEADER_BYTES]);
    bytes
}

/// Writes version and checksum into the room that [`open`] left.
pub(crate) fn close(version: u8, bytes: &mut [u8]) {
    let Some((header, payload)) = bytes.split_at_mut_checked(HEADER_BYTES) else { return };
    let checksum = checksum(version, payload).to_le_bytes();
    for (place, byte) in header.iter_mut().zip([version].into_iter().chain(checksum)) {
        *place = byte;
    }
}

/// Puts version and checksum in front of a payload.
pub(crate) fn seal(version: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = open(HEADER_BYTES + payload.len());
    bytes.extend_from_slice(payload);
    close(version, &mut bytes);
    bytes
}

/// Checks a record and gives its schema version and payload.
///
/// # Errors
///
/// [`EnvelopeError`], for any bytes that [`seal`] did not make.
pub(crate) fn unseal(bytes: &[u8]) -> Result<(u8, &[u8]), EnvelopeError> {
    let [version, c0, c1, c2, c3, payload @ ..] = bytes else {
        return Err(EnvelopeError::TooShort { got: bytes.len() });
    };
    let expected = u32::from_le_bytes([*c0, *c1, *c2, *c3]);
    let got = checksum(*version, payload);
    if expected != got {
        return Err(EnvelopeError::ChecksumMismatch { expected, got });
    }
    Ok((*version, payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn layout_is_version_then_checksum_then_payload() {
        let bytes = seal(1, b"{}");
        // crc32 of 01 7b 7d, from an independent implementation (zlib).
        assert_eq!(bytes, [1, 0x99, 0x1e, 0xfc, 0x1c, b'{', b'}']);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            if let Ok((version, payload)) = unseal(&bytes) {
                prop_assert_eq!(seal(version, payload), bytes);
            }
        }

        #[test]
        fn a_flipped_bit_anywhere_is_noticed(
            version: u8,
            payload in proptest::collection::vec(any::<u8>(), 0..200),
            at: prop::sample::Index,
            bit in 0u8..8,
        ) {
            let mut bytes = seal(version, &payload);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(unseal(&bytes).is_err());
        }
    }
}
