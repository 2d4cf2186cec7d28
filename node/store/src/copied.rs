//! Records of the database, copied out of it.
//!
//! What a row keeps for as long as a node lives must not lie between what the database frees once
//! it is closed: the room in between would stay with the process. So a start copies the records
//! first, and makes rows of them when the database has given back what it had read.

use node_core::rows::Table;

/// Bytes that are copied into one piece of memory. Lower: more pieces. Higher: more is held until
/// the last record of a piece is a row.
const PIECE_BYTES: usize = 1 << 20;

/// Copies of records, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    /// Keys and values, one after the other.
    bytes: Vec<u8>,
    /// Of each record: its table, the lengths of its key and its value.
    lengths: Vec<(Table, usize, usize)>,
}

impl Copied {
    /// Copies a record.
    pub(crate) fn push(&mut self, table: Table, key: &[u8], value: &[u8]) {
        let length = key.len() + value.len();
        let has_room = |piece: &Piece| piece.bytes.len() + length <= PIECE_BYTES;
        if !self.pieces.last().is_some_and(has_room) {
            let bytes = Vec::with_capacity(length.max(PIECE_BYTES));
            self.pieces.push(Piece { bytes, lengths: Vec::new() });
        }
        if let Some(piece) = self.pieces.last_mut() {
            piece.bytes.extend_from_slice(key);
            piece.bytes.extend_from_slice(value);
            piece.lengths.push((table, key.len(), value.len()));
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.lengths.len()).sum()
    }

    /// Shows each with its table, key and value, and forgets it; stops at the first error.
    pub(crate) fn consume<E>(
        self,
        mut show: impl FnMut(Table, &[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for piece in self.pieces {
            let mut rest = piece.bytes.as_slice();
            for (table, key, value) in piece.lengths {
                let (key, after) = rest.split_at(key);
                let (value, after) = after.split_at(value);
                show(table, key, value)?;
                rest = after;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_as_they_went_in_also_ones_larger_than_a_piece() {
        let sizes = [0, 1, 40, PIECE_BYTES / 2, PIECE_BYTES / 2, PIECE_BYTES + 1, 7];
        let record =
            |n: usize, size: usize| (Table::ALL[n % 2], n.to_le_bytes().to_vec(), vec![9; size]);
        let records: Vec<_> = sizes.iter().enumerate().map(|(n, size)| record(n, *size)).collect();
        let mut copied = Copied::default();
        for (table, key, value) in &records {
            copied.push(*table, key, value);
        }
        assert_eq!(copied.len(), records.len());
        let mut shown = Vec::new();
        let all = copied.consume(|table, key, value| {
            shown.push((table, key.to_vec(), value.to_vec()));
            Ok::<_, ()>(())
        });
        assert_eq!((all, shown), (Ok(()), records));
    }
}
