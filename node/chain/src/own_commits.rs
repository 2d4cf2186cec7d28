//! Our own hidden weights, as far as the chain still keeps them.
//!
//! Timelocked commits of all hotkeys lie together by epoch, so whole queues come; everything that
//! is not ours is passed over while decoding. Hash commits are kept by hotkey.

use chain_metadata::storage::{TIMELOCKED_WEIGHT_COMMITS, WEIGHT_COMMITS};
use node_core::epoch::{EpochClock, Schedule};
use node_core::id::{Digest, Hotkey};
use node_core::unit::{BlockCount, BlockNumber, EpochIndex};
use node_core::view::OwnCommit;
use scale_info::PortableRegistry;
use subxt::ext::scale_decode::visitor::types::{Composite, Sequence, Tuple};
use subxt::ext::scale_decode::visitor::{decode_with_visitor, TypeIdFor, Unexpected};
use subxt::ext::scale_decode::{Error, IntoVisitor, Visitor};

use crate::blob::{Account, Blob};
use crate::bounded::{nothing_inside, List};
use crate::decode::{stored, value_type, DecodeError};
use crate::runtime::Runtime;

/// Own commits kept of one epoch; the chain allows ten.
const COMMITS_MAX: usize = 64;

/// Bytes of one commit, the largest that a runtime decodes.
const COMMIT_BYTES_MAX: usize = 32 << 10;

/// Reads one epoch's queue of timelocked commits.
pub(crate) fn timelocked(
    runtime: &Runtime,
    mut bytes: &[u8],
    own: &Hotkey,
    epoch: EpochIndex,
) -> Result<Vec<OwnCommit>, DecodeError> {
    let item = &TIMELOCKED_WEIGHT_COMMITS;
    let type_id = value_type(runtime, item)?;
    let types = runtime.metadata().types();
    let queue = decode_with_visitor(&mut bytes, type_id, types, QueueVisitor { own, epoch });
    queue.map_err(|error| DecodeError::new(format!("{}.{}", item.pallet, item.name), error))
}

/// Reads our hash commits.
///
/// Since spec 425 the chain keeps hash, epoch and block. Before it kept hash, block, and the
/// blocks between which to reveal, in the same types: the clock tells which.
pub(crate) fn hashed(
    runtime: &Runtime,
    bytes: Option<&[u8]>,
    clock: &EpochClock,
    tempo: BlockCount,
) -> Result<Vec<OwnCommit>, DecodeError> {
    type Queue = List<([u8; 32], u64, u64, u64), COMMITS_MAX>;
    let Some(bytes) = bytes else { return Ok(Vec::new()) };
    let queue: Option<Queue> = stored(runtime, &WEIGHT_COMMITS, Some(bytes))?;
    let commit = |(hash, first, second, _): ([u8; 32], u64, u64, u64)| {
        let (epoch, block) = match clock.schedule {
            Schedule::Stateful { .. } => (EpochIndex(first), BlockNumber(second)),
            Schedule::Legacy { netuid } => {
                let block = BlockNumber(first);
                (EpochClock::legacy(block, tempo, netuid).index, block)
            }
        };
        OwnCommit { hash: Digest(hash), block, epoch, reveal_round: None }
    };
    Ok(queue.map(|queue| queue.0.into_iter().map(commit).collect()).unwrap_or_default())
}

struct QueueVisitor<'a> {
    own: &'a Hotkey,
    epoch: EpochIndex,
}

impl Visitor for QueueVisitor<'_> {
    type Value<'scale, 'resolver> = Vec<OwnCommit>;
    type Error = Error;
    type TypeResolver = PortableRegistry;

    fn visit_sequence<'scale, 'resolver>(
        self,
        value: &mut Sequence<'scale, 'resolver, PortableRegistry>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Vec<OwnCommit>, Error> {
        let mut found = Vec::new();
        let Self { own, epoch } = self;
        while let Some(commit) = value.decode_item(CommitVisitor { own, epoch }) {
            found.extend(commit?);
            if found.len() > COMMITS_MAX {
                return Err(Error::custom_str("more commits of one hotkey than there can be"));
            }
        }
        Ok(found)
    }

    fn visit_composite<'scale, 'resolver>(
        self,
        value: &mut Composite<'scale, 'resolver, PortableRegistry>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Vec<OwnCommit>, Error> {
        match value.remaining() {
            1 => value.decode_item(self).unwrap_or_else(|| Err(nothing_inside())),
            _ => self.visit_unexpected(Unexpected::Composite),
        }
    }
}

struct CommitVisitor<'a> {
    own: &'a Hotkey,
    epoch: EpochIndex,
}

impl Visitor for CommitVisitor<'_> {
    type Value<'scale, 'resolver> = Option<OwnCommit>;
    type Error = Error;
    type TypeResolver = PortableRegistry;

    fn visit_tuple<'scale, 'resolver>(
        self,
        value: &mut Tuple<'scale, 'resolver, PortableRegistry>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Option<OwnCommit>, Error> {
        let Account(hotkey) = part(value)?;
        if hotkey != self.own.0 {
            return Ok(None);
        }
        let block = BlockNumber(part(value)?);
        let commit: Blob<COMMIT_BYTES_MAX> = part(value)?;
        let hash = Digest(sp_crypto_hashing::blake2_256(&commit.0));
        let reveal_round = Some(part(value)?);
        Ok(Some(OwnCommit { hash, block, epoch: self.epoch, reveal_round }))
    }
}

fn part<T: IntoVisitor>(value: &mut Tuple<'_, '_, PortableRegistry>) -> Result<T, Error> {
    value.decode_item(T::into_visitor()).unwrap_or_else(|| Err(nothing_inside()))
}

#[cfg(test)]
mod tests {
    use super::*;

    use node_core::id::Netuid;
    use subxt::ext::scale_value::Value;

    use crate::golden_tests::{encoded, runtimes};

    const OWN: Hotkey = Hotkey([5; 32]);

    fn queue(runtime: &Runtime, of: &[(u8, u64, &[u8], u64)]) -> Vec<u8> {
        let commits = of.iter().map(|(hotkey, block, commit, round)| {
            Value::unnamed_composite([
                Value::from_bytes([*hotkey; 32]),
                Value::u128((*block).into()),
                Value::from_bytes(commit),
                Value::u128((*round).into()),
            ])
        });
        encoded(runtime, &TIMELOCKED_WEIGHT_COMMITS, &Value::unnamed_composite(commits))
    }

    #[test]
    fn of_a_queue_only_our_own_commits_are_kept() {
        for runtime in runtimes() {
            let of: [(u8, u64, &[u8], u64); 4] =
                [(4, 70, b"theirs", 8), (5, 71, b"ours", 9), (6, 72, b"", 9), (5, 73, b"", 10)];
            let found = timelocked(&runtime, &queue(&runtime, &of), &OWN, EpochIndex(3)).unwrap();
            let commit = |bytes: &[u8], block, round| OwnCommit {
                hash: Digest(sp_crypto_hashing::blake2_256(bytes)),
                block: BlockNumber(block),
                epoch: EpochIndex(3),
                reveal_round: Some(round),
            };
            assert_eq!(found, [commit(b"ours", 71, 9), commit(b"", 73, 10)]);
            assert!(timelocked(&runtime, &[0xff; 40], &OWN, EpochIndex(3)).is_err());
        }
    }

    #[test]
    fn a_queue_that_repeats_our_hotkey_for_ever_is_refused() {
        let runtime = crate::golden_tests::local_runtime();
        let of = vec![(5, 71, &b"ours"[..], 9); COMMITS_MAX + 1];
        assert!(timelocked(&runtime, &queue(&runtime, &of), &OWN, EpochIndex(3)).is_err());
    }

    #[test]
    fn hash_commits_mean_something_else_before_the_stateful_clock() {
        let stateful = EpochClock::default();
        let legacy = EpochClock::legacy(BlockNumber(900), BlockCount(99), Netuid(1));
        for runtime in runtimes() {
            let commit = Value::unnamed_composite([
                Value::from_bytes([9; 32]),
                Value::u128(500),
                Value::u128(610),
                Value::u128(0),
            ]);
            let bytes = encoded(&runtime, &WEIGHT_COMMITS, &Value::unnamed_composite([commit]));
            let read = |clock| {
                let found = hashed(&runtime, Some(&bytes), clock, BlockCount(99)).unwrap();
                assert_eq!((found[0].hash, found[0].reveal_round), (Digest([9; 32]), None));
                (found[0].epoch.0, found[0].block.0)
            };
            assert_eq!(read(&stateful), (500, 610));
            assert_eq!(read(&legacy), (5, 500));
            assert_eq!(hashed(&runtime, None, &stateful, BlockCount(99)).unwrap(), []);
        }
    }
}
