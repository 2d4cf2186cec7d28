//! Documents of Parquet: one column of text, row group by row group.

use std::path::Path;

use parquet::basic::Type;
use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::file::reader::{ChunkReader, FileReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedFileReader;

use super::documents::whole;
use super::prepare::PrepareError;
use super::sources::{Take, RECORD_BYTES_MAX};

/// Rows decoded at a time.
const ROWS: usize = 256;

/// Bytes of the column in a row group, decompressed. Lower: files with few and large row groups
/// are refused. Higher: a small file made for it fills the memory.
const COLUMN_BYTES_MAX: i64 = 1 << 30;

/// Reads the documents of a table's column.
///
/// - `file`: the table.
/// - `field`: the column's name; text, not a list.
///
/// # Errors
///
/// [`PrepareError::NoColumn`], [`PrepareError::NotText`] and [`PrepareError::TooLong`] with the row
/// from one, [`PrepareError::Table`] for what is no Parquet; or what `take` answered.
pub(super) fn read<R: ChunkReader + 'static>(
    path: &Path,
    file: R,
    field: &str,
    take: &mut Take<'_>,
) -> Result<(), PrepareError> {
    let table = |source: parquet::errors::ParquetError| PrepareError::Table {
        path: path.to_owned(),
        source: Box::new(source),
    };
    let bytes = file.len();
    let reader = SerializedFileReader::new(file).map_err(table)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let is_text = |column: usize| {
        let column = schema.column(column);
        column.path().string() == field
            && column.physical_type() == Type::BYTE_ARRAY
            && column.max_rep_level() == 0
    };
    let column = (0..schema.num_columns())
        .find(|column| is_text(*column))
        .ok_or_else(|| PrepareError::NoColumn { path: path.to_owned(), field: field.to_owned() })?;
    let max_def_level = schema.column(column).max_def_level();
    let groups = reader.num_row_groups();
    let mut row = 0;
    for number in 0..groups {
        let group = reader.get_row_group(number).map_err(table)?;
        let size = group.metadata().column(column).uncompressed_size();
        if !(0..=COLUMN_BYTES_MAX).contains(&size) {
            return Err(PrepareError::TooLong { path: path.to_owned(), record: row });
        }
        let at = bytes.saturating_mul(number as u64 + 1) / (groups as u64).max(1);
        read_group(&*group, column, max_def_level > 0, &mut |text| {
            row = u64::saturating_add(row, 1);
            let path = || path.to_owned();
            if text.len() > RECORD_BYTES_MAX {
                return Err(PrepareError::TooLong { path: path(), record: row });
            }
            let text = std::str::from_utf8(text)
                .map_err(|_| PrepareError::NotText { path: path(), record: row })?;
            whole(text).map_or(Ok(()), |document| take(document, at))
        })
        .map_err(|failure| match failure {
            Failure::Table(error) => table(error),
            Failure::Taken(error) => error,
        })?;
    }
    Ok(())
}

enum Failure {
    Table(parquet::errors::ParquetError),
    Taken(PrepareError),
}

fn read_group(
    group: &dyn RowGroupReader,
    column: usize,
    has_nulls: bool,
    each: &mut dyn FnMut(&[u8]) -> Result<(), PrepareError>,
) -> Result<(), Failure> {
    let ColumnReader::ByteArrayColumnReader(mut reader) =
        group.get_column_reader(column).map_err(Failure::Table)?
    else {
        return Ok(());
    };
    let (mut values, mut levels): (Vec<ByteArray>, Vec<i16>) = (Vec::new(), Vec::new());
    loop {
        values.clear();
        levels.clear();
        let levels = has_nulls.then_some(&mut levels);
        let (records, _, _) =
            reader.read_records(ROWS, levels, None, &mut values).map_err(Failure::Table)?;
        if records == 0 {
            return Ok(());
        }
        values.iter().try_for_each(|value| each(value.data())).map_err(Failure::Taken)?;
    }
}
