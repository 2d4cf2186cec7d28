//! Rows to records and back.
//!
//! A record's payload is the JSON of the row's inner value: its table says which type that is.

use node_core::rows::{Row, Table};
use serde::de::DeserializeOwned;

use crate::envelope::{self, EnvelopeError};
use crate::migration::{self, MigrationError};

/// Bytes of one record. Lower: an intent of a subnet with 4096 uids that was signed anew does not
/// fit. Higher: sled keeps a page of 24 of them outside its log, in a file that it never syncs.
pub const RECORD_BYTES_MAX: usize = 160 << 10;

/// Bytes that most records fit into: room is made once.
const RECORD_BYTES_USUAL: usize = 2 << 10;

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordFault {
    /// Its bytes are not what was written.
    #[error("bytes are damaged")]
    Damaged {
        /// How.
        #[source]
        source: EnvelopeError,
    },
    /// A newer build wrote it.
    #[error("schema version is {got}, this build knows up to {known}")]
    NewerSchema {
        /// Version of the record.
        got: u8,
        /// Newest version this build reads.
        known: u8,
    },
    /// It is old and cannot be upgraded.
    #[error("the old record cannot be upgraded")]
    Migration {
        /// Why.
        #[source]
        source: MigrationError,
    },
    /// Its payload is not a row of its table.
    #[error("payload is not a row of its table")]
    Payload {
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// It is stored under another row's key.
    #[error("row belongs to the key {belongs_to}")]
    WrongKey {
        /// Key of the row, hexadecimal.
        belongs_to: String,
    },
}

/// A record that cannot be read, and where it is.
#[derive(Debug, thiserror::Error)]
#[error("record {key} of `{}` cannot be read", table.name())]
pub struct DamagedRecord {
    /// Its table.
    pub table: Table,
    /// Its key, hexadecimal.
    pub key: String,
    /// What is wrong.
    #[source]
    pub fault: RecordFault,
}

/// The record of a row, at the present version of its table.
///
/// # Errors
///
/// Those of the JSON writer; no row of `node-core` has a value that it refuses.
pub(crate) fn encode(row: &Row) -> Result<Vec<u8>, serde_json::Error> {
    let mut record = envelope::open(RECORD_BYTES_USUAL);
    match row {
        Row::Submission(inner) => serde_json::to_writer(&mut record, inner),
        Row::Verdict(inner) => serde_json::to_writer(&mut record, inner),
        Row::Lease(inner) => serde_json::to_writer(&mut record, inner),
        Row::Receipt(inner) => serde_json::to_writer(&mut record, inner),
        Row::Run(inner) => serde_json::to_writer(&mut record, inner),
        Row::Intent(inner) => serde_json::to_writer(&mut record, inner),
        Row::Cursor(inner) => serde_json::to_writer(&mut record, inner),
        Row::Measurement(inner) => serde_json::to_writer(&mut record, inner),
        Row::Strike(inner) => serde_json::to_writer(&mut record, inner),
    }?;
    envelope::close(row.table().schema_version(), &mut record);
    Ok(record)
}

/// The row of a record that was found in `table` under `key`.
///
/// # Errors
///
/// [`DamagedRecord`], for every record that is not exactly a row of this table and key.
pub(crate) fn decode(table: Table, key: &[u8], bytes: &[u8]) -> Result<Row, DamagedRecord> {
    read(table, key, bytes).map_err(|fault| DamagedRecord { table, key: hex::encode(key), fault })
}

fn read(table: Table, key: &[u8], bytes: &[u8]) -> Result<Row, RecordFault> {
    let (version, payload) =
        envelope::unseal(bytes).map_err(|source| RecordFault::Damaged { source })?;
    let known = table.schema_version();
    if version > known {
        return Err(RecordFault::NewerSchema { got: version, known });
    }
    let row = if version == known {
        parse(table, payload)
    } else {
        let value = migration::upgrade(migration::STEPS, table, version..known, payload)
            .map_err(|source| RecordFault::Migration { source })?;
        parse(table, value.to_string().as_bytes())
    }
    .map_err(|source| RecordFault::Payload { source })?;
    let row_key = row.key();
    if row_key != key {
        return Err(RecordFault::WrongKey { belongs_to: hex::encode(row_key) });
    }
    Ok(row)
}

fn parse(table: Table, payload: &[u8]) -> Result<Row, serde_json::Error> {
    fn inner<T: DeserializeOwned>(payload: &[u8]) -> Result<T, serde_json::Error> {
        serde_json::from_slice(payload)
    }
    Ok(match table {
        Table::Submissions => Row::Submission(inner(payload)?),
        Table::Verdicts => Row::Verdict(inner(payload)?),
        Table::Leases => Row::Lease(Box::new(inner(payload)?)),
        Table::Receipts => Row::Receipt(inner(payload)?),
        Table::Runs => Row::Run(Box::new(inner(payload)?)),
        Table::Intents => Row::Intent(inner(payload)?),
        Table::Cursors => Row::Cursor(inner(payload)?),
        Table::Measurements => Row::Measurement(Box::new(inner(payload)?)),
        Table::Strikes => Row::Strike(inner(payload)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use node_core::id::Hotkey;
    use node_core::rows::CursorRow;
    use proptest::prelude::*;

    fn cursor(after: u64) -> Row {
        Row::Cursor(CursorRow { peer: Hotkey([7; 32]), after })
    }

    #[test]
    fn payload_is_the_inner_value_with_fields_in_declared_order() {
        let record = encode(&cursor(u64::MAX)).unwrap();
        let (version, payload) = envelope::unseal(&record).unwrap();
        assert_eq!(version, 1);
        let expected = format!(r#"{{"peer":"{}","after":18446744073709551615}}"#, Hotkey([7; 32]));
        assert_eq!(std::str::from_utf8(payload).unwrap(), expected);
    }

    #[test]
    fn a_record_of_a_newer_build_is_named_as_such() {
        let record = encode(&cursor(1)).unwrap();
        let (_, payload) = envelope::unseal(&record).unwrap();
        let newer = envelope::seal(2, payload);
        let damaged = decode(Table::Cursors, &[7; 32], &newer).unwrap_err();
        assert!(matches!(damaged.fault, RecordFault::NewerSchema { got: 2, known: 1 }));
    }

    #[test]
    fn a_record_of_a_version_without_a_way_is_refused() {
        let record = envelope::seal(0, b"{}");
        let damaged = decode(Table::Cursors, &[7; 32], &record).unwrap_err();
        assert!(matches!(damaged.fault, RecordFault::Migration { .. }));
    }

    #[test]
    fn a_whole_record_under_another_key_is_refused() {
        let record = encode(&cursor(1)).unwrap();
        let damaged = decode(Table::Cursors, &[8; 32], &record).unwrap_err();
        assert!(matches!(damaged.fault, RecordFault::WrongKey { .. }));
        assert_eq!(damaged.key, "08".repeat(32));
    }

    #[test]
    fn a_record_in_another_table_is_refused() {
        let record = encode(&cursor(1)).unwrap();
        let damaged = decode(Table::Leases, &[7; 32], &record).unwrap_err();
        assert!(matches!(damaged.fault, RecordFault::Payload { .. }));
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_table_are_decoded_or_refused_without_a_panic(
            table in prop::sample::select(Table::ALL),
            version: u8,
            payload in proptest::collection::vec(any::<u8>(), 0..64),
            is_sealed: bool,
        ) {
            let bytes = if is_sealed { envelope::seal(version, &payload) } else { payload };
            prop_assert!(decode(table, b"key", &bytes).is_err());
        }
    }
}
