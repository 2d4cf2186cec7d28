//! From old encodings of a row to the present one, a version at a time.
//!
//! A record keeps the version it was written with until it is written again; it is upgraded each
//! time it is read. To change a row's encoding: raise its `Table::schema_version`, add a step from
//! the old version here, and a record of the old version to the tests. Ids are text in records that
//! are JSON, and marked digits of their bytes in those that are packed; either is read.

use std::collections::BTreeMap;

use node_core::rows::Table;
use serde_json::Value;

/// One upgrade: rows of `table` from version `from` to the next one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) table: Table,
    pub(crate) from: u8,
    pub(crate) upgrade: fn(Value) -> Result<Value, MigrationError>,
}

/// Every step there is.
pub(crate) const STEPS: &[Step] =
    &[Step { table: Table::Runs, from: 1, upgrade: a_run_has_several_devices }];

/// A run had one device.
fn a_run_has_several_devices(mut value: Value) -> Result<Value, MigrationError> {
    let missing = MigrationError::FieldMissing { table: Table::Runs, from: 1, field: "device" };
    let fields = value.as_object_mut();
    let (fields, device) = fields
        .and_then(|fields| fields.remove("device").map(|device| (fields, device)))
        .ok_or(missing)?;
    fields.insert("devices".to_owned(), Value::Array(vec![device]));
    Ok(value)
}

/// Why an old record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// Nothing leads from this version to the present one.
    #[error("no way leads from version {from} of `{}` to the present one", table.name())]
    NoStep {
        /// The table.
        table: Table,
        /// Version of the record.
        from: u8,
    },
    /// The payload is not what its version byte says.
    #[error("payload of version {from} of `{}` cannot be parsed", table.name())]
    Unreadable {
        /// The table.
        table: Table,
        /// Version of the record.
        from: u8,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// The payload lacks what its version should have.
    #[error("payload of version {from} of `{}` has no `{field}`", table.name())]
    FieldMissing {
        /// The table.
        table: Table,
        /// Version of the record.
        from: u8,
        /// The field.
        field: &'static str,
    },
}

/// Upgrades a parsed payload through all of `versions`, step by step.
///
/// # Errors
///
/// [`MigrationError`] of the first step that is missing or fails.
pub(crate) fn upgrade(
    steps: &[Step],
    table: Table,
    versions: std::ops::Range<u8>,
    value: Result<Value, serde_json::Error>,
) -> Result<Value, MigrationError> {
    let from = versions.start;
    let value = value.map_err(|source| MigrationError::Unreadable { table, from, source })?;
    versions.into_iter().try_fold(value, |value, from| {
        let step = steps
            .iter()
            .find(|step| step.table == table && step.from == from)
            .ok_or(MigrationError::NoStep { table, from })?;
        (step.upgrade)(value)
    })
}

/// Rows of a newer build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewerRows {
    /// The name of their table.
    pub(crate) table: String,
    /// Their version.
    pub(crate) version: u8,
    /// The newest one that this build reads; 0 for a table that it does not know.
    pub(crate) known: u8,
}

/// Of the versions that rows were written in, by the names of their tables, those that are older
/// than the present ones.
///
/// # Errors
///
/// [`NewerRows`], for the first table whose rows this build cannot read.
pub(crate) fn older_tables(
    schemas: BTreeMap<String, u8>,
) -> Result<BTreeMap<Table, u8>, NewerRows> {
    let mut older = BTreeMap::new();
    for (name, version) in schemas {
        let table = Table::ALL.iter().find(|table| table.name() == name);
        let known = table.map_or(0, |table| table.schema_version());
        if version > known {
            return Err(NewerRows { table: name, version, known });
        }
        if let Some(table) = table.filter(|_| version < known) {
            older.insert(*table, version);
        }
    }
    Ok(older)
}

/// Upgrades a row that names its kind, `{"run": {...}}`, if its table is among the older ones.
///
/// # Errors
///
/// As [`upgrade`].
pub(crate) fn upgrade_row(
    row: &mut Value,
    older: &BTreeMap<Table, u8>,
) -> Result<(), MigrationError> {
    for (table, from) in older {
        let Some(inner) = row.get_mut(row_name(*table)) else { continue };
        let versions = *from..table.schema_version();
        *inner = upgrade(STEPS, *table, versions, Ok(inner.take()))?;
    }
    Ok(())
}

/// How a row of a table names its kind.
pub(crate) fn row_name(table: Table) -> &'static str {
    match table {
        Table::Submissions => "submission",
        Table::Verdicts => "verdict",
        Table::Leases => "lease",
        Table::Receipts => "receipt",
        Table::Runs => "run",
        Table::Intents => "intent",
        Table::Cursors => "cursor",
        Table::Measurements => "measurement",
        Table::Outcomes => "outcome",
        Table::Strikes => "strike",
        Table::Devices => "device",
        Table::Reviews => "review",
        Table::Families => "family",
        Table::Horizon => "horizon",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ADD: Step = Step {
        table: Table::Cursors,
        from: 1,
        upgrade: |mut value| {
            value["added"] = json!(true);
            Ok(value)
        },
    };
    const RENAME: Step = Step {
        table: Table::Cursors,
        from: 2,
        upgrade: |mut value| {
            let after = value.get("after").cloned().ok_or(MigrationError::FieldMissing {
                table: Table::Cursors,
                from: 2,
                field: "after",
            })?;
            value["seen"] = after;
            Ok(value)
        },
    };

    #[test]
    fn an_old_payload_takes_every_step_in_order() {
        let new = upgrade(&[RENAME, ADD], Table::Cursors, 1..3, Ok(json!({"after": 7}))).unwrap();
        assert_eq!(new, json!({"after": 7, "added": true, "seen": 7}));
    }

    #[test]
    fn a_missing_step_is_named() {
        let error = upgrade(&[ADD], Table::Cursors, 1..3, Ok(json!({}))).unwrap_err();
        assert!(matches!(error, MigrationError::NoStep { table: Table::Cursors, from: 2 }));
    }

    #[test]
    fn every_version_below_the_present_one_has_its_step() {
        for table in Table::ALL {
            for from in 1..table.schema_version() {
                assert!(
                    STEPS.iter().any(|step| step.table == *table && step.from == from),
                    "no step from version {from} of `{}`",
                    table.name(),
                );
            }
        }
    }
}
