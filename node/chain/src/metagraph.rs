//! The selective metagraph: a subnet's neurons and commitments in one answer.
//!
//! Only those columns are asked for that would otherwise take a storage key per neuron; what the
//! chain keeps as one vector per subnet is read from there (`subnet`), on every runtime alike.
//! The answer is decoded by the runtime's own description of it, field by field by name: columns
//! that newer runtimes append are passed over, and an answer that lacks one of ours, or whose
//! columns differ in length, is not used at all: then everything is read item by item (`seats`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use chain_metadata::api::{METAGRAPH_COLUMNS, SELECTIVE_METAGRAPH};
use node_core::id::{Hotkey, Netuid, Uid};
use node_core::limits::UIDS_MAX;
use node_core::unit::BlockNumber;
use scale_info::PortableRegistry;
use subxt::ext::codec::Encode as _;
use subxt::ext::scale_decode::visitor::types::{Composite, Sequence, Tuple, Variant};
use subxt::ext::scale_decode::visitor::{
    decode_with_visitor, DecodeAsTypeResult, IgnoreVisitor, TypeIdFor, Unexpected,
};
use subxt::ext::scale_decode::{Error, IntoVisitor, Visitor};

use crate::blob::{Account, Blob, Layout};
use crate::bounded::{check_count, nothing_inside, List};
use crate::commitments::{committed, Committed};
use crate::decode::{AxonInfo, DecodeError};
use crate::fields::{each_field, next_field};
use crate::runtime::Runtime;

/// Commitments in one answer. The chain keeps those of hotkeys that left, so there may be many
/// more than neurons. Lower: an old subnet is read item by item. Higher: memory, fifty bytes each.
const COMMITMENTS_MAX: usize = 1 << 16;

/// Bytes of one commitment: three fields of 1024 bytes, and some.
const COMMITMENT_BYTES_MAX: usize = 8192;

/// A uid and what the chain keeps for its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) uid: Uid,
    pub(crate) hotkey: Hotkey,
    pub(crate) registered_at: BlockNumber,
    pub(crate) axon: Option<SocketAddr>,
    /// Stake weight in rao; `None` if it was not asked for.
    pub(crate) stake_rao: Option<u64>,
}

/// Who holds the subnet's uids, and what they committed.
#[derive(Debug, Default)]
pub(crate) struct Seating {
    /// In order of uid. A uid without a hotkey (the zero account) is left out: the chain leaves
    /// such gaps between its own steps only.
    pub(crate) seats: Vec<Seat>,
    /// What stands in the clear; empty if it was not asked for.
    pub(crate) committed: BTreeMap<Hotkey, Committed>,
    /// Commitments that could not be read, and are left out.
    pub(crate) unreadable: u64,
}

/// Which of the columns that cost something are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The chain computes what each hotkey inherits from others.
    pub(crate) stake: bool,
    /// The largest column.
    pub(crate) commitments: bool,
}

impl Wanted {
    fn has(self, field: &str) -> bool {
        match field {
            "block" | "hotkeys" | "axons" | "block_at_registration" => true,
            "total_stake" => self.stake,
            "commitments" => self.commitments,
            _ => false,
        }
    }
}

/// The runtime call, if the runtime has it: its name and its encoded arguments.
pub(crate) fn call(runtime: &Runtime, netuid: Netuid, wanted: Wanted) -> Option<(String, Vec<u8>)> {
    output_type(runtime)?;
    let columns = METAGRAPH_COLUMNS.iter().filter(|column| wanted.has(column.field));
    let indices: Vec<u16> = columns.map(|column| column.index).collect();
    let name = format!("{}_{}", SELECTIVE_METAGRAPH.api, SELECTIVE_METAGRAPH.method);
    Some((name, (netuid.0, indices).encode()))
}

fn output_type(runtime: &Runtime) -> Option<u32> {
    let api = runtime.metadata().runtime_api_trait_by_name(SELECTIVE_METAGRAPH.api)?;
    Some(api.method_by_name(SELECTIVE_METAGRAPH.method)?.output_ty())
}

/// Reads the answer.
///
/// - `now`: the block it must have been computed at.
/// - `count`: how many uids it must have.
pub(crate) fn seating(
    runtime: &Runtime,
    mut bytes: &[u8],
    wanted: Wanted,
    now: BlockNumber,
    count: usize,
) -> Result<Seating, DecodeError> {
    let unusable = |detail: String| DecodeError::new(SELECTIVE_METAGRAPH.method, detail);
    let output = output_type(runtime).ok_or_else(|| unusable("not in this runtime".to_owned()))?;
    let types = runtime.metadata().types();
    let columns = decode_with_visitor(&mut bytes, output, types, ColumnsVisitor)
        .map_err(|error| unusable(error.to_string()))?;
    if !bytes.is_empty() {
        return Err(unusable(format!("{} bytes are left over", bytes.len())));
    }
    columns.seating(runtime, wanted, now, count).map_err(unusable)
}

/// A column by uid.
type Column<T> = List<T, UIDS_MAX>;

/// The columns asked for, as they came.
#[derive(Default)]
struct Columns<'scale> {
    block: Option<u64>,
    hotkeys: Option<Column<Account>>,
    axons: Option<Column<AxonInfo>>,
    registered_at: Option<Column<u64>>,
    stake: Option<Column<u64>>,
    commitments: Option<Vec<Entry<'scale>>>,
}

/// A commitment, not looked at yet.
struct Entry<'scale> {
    hotkey: Hotkey,
    /// A list of bytes, encoded as `type_id` says.
    list: &'scale [u8],
    type_id: u32,
}

impl Columns<'_> {
    fn seating(
        self,
        runtime: &Runtime,
        wanted: Wanted,
        now: BlockNumber,
        count: usize,
    ) -> Result<Seating, String> {
        let block = self.block.ok_or("no column `block`")?;
        if BlockNumber(block) != now {
            return Err(format!("computed at block {block}, not {now}"));
        }
        let mut axons = column(self.axons, "axons", count)?.into_iter();
        let mut registered =
            column(self.registered_at, "block_at_registration", count)?.into_iter();
        let stake = wanted.stake.then(|| column(self.stake, "total_stake", count)).transpose()?;
        let mut stake = stake.into_iter().flatten();
        let hotkeys = column(self.hotkeys, "hotkeys", count)?;
        let seats: Vec<Seat> = (0..=u16::MAX)
            .zip(hotkeys)
            .map(|(uid, hotkey)| Seat {
                uid: Uid(uid),
                hotkey: Hotkey(hotkey.0),
                registered_at: BlockNumber(registered.next().unwrap_or_default()),
                axon: axons.next().and_then(|axon| axon.address()),
                stake_rao: stake.next(),
            })
            .filter(|seat| seat.hotkey != Hotkey::default())
            .collect();
        let mut seating = Seating { seats, ..Seating::default() };
        if wanted.commitments {
            seating.add(runtime, self.commitments.ok_or("no column `commitments`")?);
        }
        Ok(seating)
    }
}

/// A column of the right length.
fn column<T>(found: Option<Column<T>>, name: &str, count: usize) -> Result<Vec<T>, String> {
    let List(values) = found.ok_or_else(|| format!("no column `{name}`"))?;
    if values.len() != count {
        return Err(format!("column `{name}` has {} values for {count} uids", values.len()));
    }
    Ok(values)
}

impl Seating {
    /// Adds the commitments of those who are seated; the chain keeps those of others too.
    fn add(&mut self, runtime: &Runtime, entries: Vec<Entry<'_>>) {
        let seated: BTreeSet<Hotkey> = self.seats.iter().map(|seat| seat.hotkey).collect();
        for entry in entries.into_iter().filter(|entry| seated.contains(&entry.hotkey)) {
            let read = runtime
                .decode::<Blob<COMMITMENT_BYTES_MAX>>(entry.type_id, entry.list)
                .map_err(|detail| DecodeError::new("a commitment", detail))
                .and_then(|bytes| committed(runtime, &bytes.0));
            self.note(entry.hotkey, read);
        }
    }

    /// Takes in what became of reading one commitment. One that cannot be read is its hotkey's
    /// loss, not the view's.
    pub(crate) fn note(&mut self, hotkey: Hotkey, read: Result<Option<Committed>, DecodeError>) {
        match read {
            Ok(Some(found)) => {
                self.committed.insert(hotkey, found);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%hotkey, %error, "a commitment cannot be read");
                self.unreadable = self.unreadable.saturating_add(1);
            }
        }
    }
}

/// The type resolver of every runtime's metadata.
type Types = PortableRegistry;

struct ColumnsVisitor;

impl Visitor for ColumnsVisitor {
    type Value<'scale, 'resolver> = Columns<'scale>;
    type Error = Error;
    type TypeResolver = Types;

    /// The answer is an option; nothing inside means that there is no such subnet.
    fn visit_variant<'scale, 'resolver>(
        self,
        value: &mut Variant<'scale, 'resolver, Types>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Columns<'scale>, Error> {
        let inside = value.fields().decode_item(self);
        inside.unwrap_or_else(|| Err(Error::custom_str("no such subnet")))
    }

    fn visit_composite<'scale, 'resolver>(
        self,
        value: &mut Composite<'scale, 'resolver, Types>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Columns<'scale>, Error> {
        let mut columns = Columns::default();
        each_field(value, |name, value| {
            match name {
                "block" => columns.block = next_field(value)?,
                "hotkeys" => columns.hotkeys = next_field(value)?,
                "axons" => columns.axons = next_field(value)?,
                "block_at_registration" => columns.registered_at = next_field(value)?,
                "total_stake" => columns.stake = next_field(value)?,
                "commitments" => {
                    let entries = value.decode_item(EntriesVisitor);
                    columns.commitments = entries.unwrap_or_else(|| Err(nothing_inside()))?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(columns)
    }
}

/// The commitments, if there are any, without looking into them.
struct EntriesVisitor;

impl Visitor for EntriesVisitor {
    type Value<'scale, 'resolver> = Option<Vec<Entry<'scale>>>;
    type Error = Error;
    type TypeResolver = Types;

    fn visit_variant<'scale, 'resolver>(
        self,
        value: &mut Variant<'scale, 'resolver, Types>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Self::Value<'scale, 'resolver>, Error> {
        value.fields().decode_item(self).unwrap_or(Ok(None))
    }

    fn visit_sequence<'scale, 'resolver>(
        self,
        value: &mut Sequence<'scale, 'resolver, Types>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Self::Value<'scale, 'resolver>, Error> {
        check_count(value.remaining(), COMMITMENTS_MAX)?;
        let mut entries = Vec::new();
        while let Some(entry) = value.decode_item(EntryVisitor) {
            entries.push(entry?);
        }
        Ok(Some(entries))
    }
}

struct EntryVisitor;

impl Visitor for EntryVisitor {
    type Value<'scale, 'resolver> = Entry<'scale>;
    type Error = Error;
    type TypeResolver = Types;

    fn visit_tuple<'scale, 'resolver>(
        self,
        value: &mut Tuple<'scale, 'resolver, Types>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Entry<'scale>, Error> {
        if value.remaining() != 2 {
            return self.visit_unexpected(Unexpected::Tuple);
        }
        let hotkey = value.decode_item(Account::into_visitor());
        let hotkey = Hotkey(hotkey.unwrap_or_else(|| Err(nothing_inside()))?.0);
        let (type_id, list) =
            value.decode_item(SkippedVisitor).unwrap_or_else(|| Err(nothing_inside()))?;
        Ok(Entry { hotkey, list, type_id })
    }
}

/// Passes over a value, and says which bytes it was.
struct SkippedVisitor;

impl Visitor for SkippedVisitor {
    type Value<'scale, 'resolver> = (u32, &'scale [u8]);
    type Error = Error;
    type TypeResolver = Types;

    fn unchecked_decode_as_type<'scale, 'resolver>(
        self,
        input: &mut &'scale [u8],
        type_id: TypeIdFor<Self>,
        types: &'resolver Types,
    ) -> DecodeAsTypeResult<Self, Result<Self::Value<'scale, 'resolver>, Error>> {
        let whole = *input;
        let skipped = match Layout::of(types, type_id) {
            Some(layout) => layout.take(input).map(|_| ()),
            None => decode_with_visitor(input, type_id, types, IgnoreVisitor::new())
                .map_err(Error::from),
        };
        let length = whole.len().saturating_sub(input.len());
        let bytes = whole.get(..length).unwrap_or_default();
        DecodeAsTypeResult::Decoded(skipped.map(|()| (type_id, bytes)))
    }
}

#[cfg(test)]
#[path = "metagraph_tests.rs"]
mod tests;
