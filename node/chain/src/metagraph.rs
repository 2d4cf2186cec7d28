//! The selective metagraph: a subnet's neurons and commitments in one answer.
//!
//! Only those columns are asked for that would otherwise take a storage key per neuron; what the
//! chain keeps as one vector per subnet is read from there (`subnet`), on every runtime alike.
//! The answer is decoded by the runtime's own description of it, field by field by name: columns
//! that newer runtimes append are passed over, and an answer that lacks one of ours, or whose
//! columns differ in length, is not used at all: then everything is read item by item (`seats`).

use std::collections::HashMap;
use std::net::SocketAddr;

use chain_metadata::api::{METAGRAPH_COLUMNS, SELECTIVE_METAGRAPH};
use node_core::id::{Hotkey, Netuid, Uid};
use node_core::limits::UIDS_MAX;
use node_core::unit::BlockNumber;
use scale_info::PortableRegistry;
use subxt::ext::codec::Encode as _;
use subxt::ext::scale_decode::visitor::types::{Composite, Variant};
use subxt::ext::scale_decode::visitor::{decode_with_visitor, TypeIdFor};
use subxt::ext::scale_decode::{Error, Visitor};

use crate::blob::Account;
use crate::bulk;
use crate::commitments::{committed, Committed};
use crate::decode::{AxonInfo, DecodeError};
use crate::entries::Entries;
use crate::fields::{each_field, next_field};
use crate::runtime::Runtime;

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
    /// What stands in the clear, each at the place of its seat; those at the end may be missing.
    pub(crate) committed: Vec<Option<Committed>>,
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
type Column<T> = bulk::Column<T, UIDS_MAX>;

/// The columns asked for, as they came.
#[derive(Default)]
struct Columns {
    block: Option<u64>,
    hotkeys: Option<Column<Account>>,
    axons: Option<Column<AxonInfo>>,
    registered_at: Option<Column<u64>>,
    stake: Option<Column<u64>>,
    commitments: Option<Entries>,
}

impl Columns {
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
            seating.add(runtime, &self.commitments.ok_or("no column `commitments`")?);
        }
        Ok(seating)
    }
}

/// A column of the right length.
fn column<T>(found: Option<Column<T>>, name: &str, count: usize) -> Result<Vec<T>, String> {
    let bulk::Column(values) = found.ok_or_else(|| format!("no column `{name}`"))?;
    if values.len() != count {
        return Err(format!("column `{name}` has {} values for {count} uids", values.len()));
    }
    Ok(values)
}

impl Seating {
    /// Adds the commitments of those who are seated; the chain keeps those of others too.
    fn add(&mut self, runtime: &Runtime, entries: &Entries) {
        let mut places = HashMap::with_capacity(self.seats.len());
        for (place, seat) in self.seats.iter().enumerate() {
            // Nobody holds two uids; if somebody did, the first would count.
            places.entry(seat.hotkey).or_insert(place);
        }
        for (hotkey, stored) in entries.iter() {
            let Some(place) = places.get(&hotkey) else { continue };
            let read = stored
                .map_err(|error| DecodeError::new("a commitment", error))
                .and_then(|bytes| committed(runtime, bytes));
            self.note(*place, read);
        }
    }

    /// Takes in what became of reading the commitment of the one who sits there. One that cannot
    /// be read is its hotkey's loss, not the view's.
    pub(crate) fn note(&mut self, place: usize, read: Result<Option<Committed>, DecodeError>) {
        let Some(Seat { hotkey, .. }) = self.seats.get(place) else { return };
        match read {
            Ok(found) => {
                if self.committed.len() <= place {
                    self.committed.resize_with(self.seats.len(), || None);
                }
                if let (Some(kept), Some(found)) = (self.committed.get_mut(place), found) {
                    *kept = Some(found);
                }
            }
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
    type Value<'scale, 'resolver> = Columns;
    type Error = Error;
    type TypeResolver = Types;

    /// The answer is an option; nothing inside means that there is no such subnet.
    fn visit_variant<'scale, 'resolver>(
        self,
        value: &mut Variant<'scale, 'resolver, Types>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Columns, Error> {
        let inside = value.fields().decode_item(self);
        inside.unwrap_or_else(|| Err(Error::custom_str("no such subnet")))
    }

    fn visit_composite<'scale, 'resolver>(
        self,
        value: &mut Composite<'scale, 'resolver, Types>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Columns, Error> {
        let mut columns = Columns::default();
        each_field(value, |name, value| {
            match name {
                "block" => columns.block = next_field(value)?,
                "hotkeys" => columns.hotkeys = next_field(value)?,
                "axons" => columns.axons = next_field(value)?,
                "block_at_registration" => columns.registered_at = next_field(value)?,
                "total_stake" => columns.stake = next_field(value)?,
                "commitments" => columns.commitments = next_field(value)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(columns)
    }
}

#[cfg(test)]
#[path = "metagraph_tests.rs"]
mod tests;
