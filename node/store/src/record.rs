//! Rows to records and back.
//!
//! A record's payload is the row's inner value: its table says which type that is. It is written
//! packed, which the version byte says; records of older builds are JSON and stay readable.

use node_core::rows::{Row, Table};
use serde::de::DeserializeOwned;

use crate::envelope::{self, EnvelopeError};
use crate::migration::{self, MigrationError};
use crate::packed;

/// Beside the schema version: the payload is packed. Builds that know only JSON take it for a
/// version that is too new for them, and say so.
const PACKED: u8 = 0x80;

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
/// Those of the writer; no row of `node-core` has a value that it refuses.
pub(crate) fn encode(row: &Row) -> Result<Vec<u8>, serde_json::Error> {
    let mut record = envelope::open(RECORD_BYTES_USUAL);
    match row {
        Row::Submission(inner) => packed::write(inner, &mut record),
        Row::Verdict(inner) => packed::write(inner, &mut record),
        Row::Lease(inner) => packed::write(inner, &mut record),
        Row::Receipt(inner) => packed::write(inner, &mut record),
        Row::Run(inner) => packed::write(inner, &mut record),
        Row::Intent(inner) => packed::write(inner, &mut record),
        Row::Cursor(inner) => packed::write(inner, &mut record),
        Row::Measurement(inner) => packed::write(inner, &mut record),
        Row::Outcome(inner) => packed::write(inner, &mut record),
        Row::Strike(inner) => packed::write(inner, &mut record),
        Row::Device(inner) => packed::write(inner, &mut record),
        Row::Review(inner) => packed::write(inner, &mut record),
        Row::Family(inner) => packed::write(inner, &mut record),
        Row::Horizon(inner) => packed::write(inner, &mut record),
    }?;
    envelope::close(row.table().schema_version() | PACKED, &mut record);
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
    let (marked, payload) =
        envelope::unseal(bytes).map_err(|source| RecordFault::Damaged { source })?;
    let (version, is_packed) = (marked & !PACKED, marked & PACKED != 0);
    let known = table.schema_version();
    if version > known {
        return Err(RecordFault::NewerSchema { got: version, known });
    }
    let row = if version < known {
        let value = if is_packed { packed::to_json(payload) } else { from_json(payload) };
        let upgraded = migration::upgrade(migration::STEPS, table, version..known, value)
            .map_err(|source| RecordFault::Migration { source })?;
        packed::of_json(&upgraded).and_then(|payload| parse(table, &payload, true))
    } else {
        parse(table, payload, is_packed)
    }
    .map_err(|source| RecordFault::Payload { source })?;
    let row_key = row.key();
    if row_key != key {
        return Err(RecordFault::WrongKey { belongs_to: hex::encode(row_key) });
    }
    Ok(row)
}

fn from_json<T: DeserializeOwned>(payload: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(payload)
}

fn parse(table: Table, payload: &[u8], is_packed: bool) -> Result<Row, serde_json::Error> {
    let payload = Payload { bytes: payload, is_packed };
    Ok(match table {
        Table::Submissions => Row::Submission(payload.read()?),
        Table::Verdicts => Row::Verdict(payload.read()?),
        Table::Leases => Row::Lease(Box::new(payload.read()?)),
        Table::Receipts => Row::Receipt(payload.read()?),
        Table::Runs => Row::Run(Box::new(payload.read()?)),
        Table::Intents => Row::Intent(payload.read()?),
        Table::Cursors => Row::Cursor(payload.read()?),
        Table::Measurements => Row::Measurement(Box::new(payload.read()?)),
        Table::Outcomes => Row::Outcome(payload.read()?),
        Table::Strikes => Row::Strike(payload.read()?),
        Table::Devices => Row::Device(Box::new(payload.read()?)),
        Table::Reviews => Row::Review(payload.read()?),
        Table::Families => Row::Family(Box::new(payload.read()?)),
        Table::Horizon => Row::Horizon(payload.read()?),
    })
}

struct Payload<'a> {
    bytes: &'a [u8],
    is_packed: bool,
}

impl Payload<'_> {
    fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        if self.is_packed {
            packed::read(self.bytes)
        } else {
            from_json(self.bytes)
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use node_core::assignment::Assignment;
    use node_core::id::{
        AssignmentId, Attempt, ContentDigest, Digest, Hotkey, LeaseId, RunId, SubmissionId,
    };
    use node_core::inventory::DeviceId;
    use node_core::lease::Grant;
    use node_core::rows::{CursorRow, RunRow, RunState};
    use node_core::unit::UnixMs;
    use proptest::prelude::*;

    fn cursor(after: u64) -> Row {
        Row::Cursor(CursorRow { peer: Hotkey([7; 32]), after })
    }

    pub(crate) fn run_on(devices: &[&str]) -> Row {
        let assignment = Assignment {
            id: AssignmentId([1; 32]),
            submission: SubmissionId([2; 32]),
            content: ContentDigest([3; 32]),
            tier: 1,
            unit: 0,
            replica: 0,
            seed: Digest([4; 32]),
            policy: Digest([5; 32]),
        };
        let grant = Grant {
            lease: LeaseId([6; 32]),
            assignment,
            attempt: Attempt(7),
            coordinator: Hotkey([8; 32]),
            ttl_ms: 9,
            total_ms: 10,
        };
        Row::Run(Box::new(RunRow {
            run: RunId([11; 32]),
            grant,
            devices: devices.iter().map(|id| DeviceId((*id).to_owned())).collect(),
            state: RunState::Started,
            started_at: UnixMs(12),
        }))
    }

    #[test]
    fn payload_is_the_inner_value_with_the_names_of_its_fields() {
        let record = encode(&cursor(u64::MAX)).unwrap();
        let (version, payload) = envelope::unseal(&record).unwrap();
        assert_eq!(version, 0x81);
        let peer = [b"\xa4peer\xc4\x20".as_slice(), &[7; 32]].concat();
        let after = [b"\xa5after\xcf".as_slice(), &[0xff; 8]].concat();
        assert_eq!(payload, [b"\x82".as_slice(), &peer, &after].concat());
    }

    #[test]
    fn a_record_of_a_build_that_wrote_json_is_read() {
        let payload = format!(r#"{{"peer":"{}","after":5}}"#, Hotkey([7; 32]));
        let record = envelope::seal(1, payload.as_bytes());
        assert_eq!(decode(Table::Cursors, &[7; 32], &record).unwrap(), cursor(5));
    }

    #[test]
    fn a_record_of_a_newer_build_is_named_as_such() {
        let record = encode(&cursor(1)).unwrap();
        let (_, payload) = envelope::unseal(&record).unwrap();
        for version in [2, 0x82] {
            let newer = envelope::seal(version, payload);
            let damaged = decode(Table::Cursors, &[7; 32], &newer).unwrap_err();
            assert!(matches!(damaged.fault, RecordFault::NewerSchema { got: 2, known: 1 }));
        }
    }

    #[test]
    fn a_run_of_a_build_with_one_device_per_run_is_read() {
        let row = run_on(&["GPU-1"]);
        let record = encode(&row).unwrap();
        let (version, payload) = envelope::unseal(&record).unwrap();
        assert_eq!(version, 0x82);
        let mut value = packed::to_json(payload).unwrap();
        let fields = value.as_object_mut().unwrap();
        fields.remove("devices").unwrap();
        fields.insert("device".to_owned(), "GPU-1".into());
        let old = envelope::seal(0x81, &packed::of_json(&value).unwrap());
        assert_eq!(decode(Table::Runs, &row.key(), &old).unwrap(), row);
        value.as_object_mut().unwrap().remove("device");
        let bad = envelope::seal(0x81, &packed::of_json(&value).unwrap());
        let damaged = decode(Table::Runs, &row.key(), &bad).unwrap_err();
        assert!(matches!(damaged.fault, RecordFault::Migration { .. }));
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
