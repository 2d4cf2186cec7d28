//! A runtime upgrade without another runtime: the version the chain reports, and error numbers
//! that move, both from storage.
//!
//! The state stands under a key of its own, outside any pallet, so that the metadata has nothing
//! the real one lacks. It is in force from the block after the one that wrote it, as an upgrade's
//! code is. Whoever serves metadata has to serve the error variants under the same numbers: see
//! [`Upgrade::moved_error`].
//!
//! Not here: changed types and absent items, which are the metadata's business alone.

use crate::{Hash, Runtime, RuntimeEvent, SubtensorModule, VERSION};
use codec::{Decode, Encode};
use frame_support::{
    storage::{storage_prefix, unhashed},
    traits::{Get, PalletInfoAccess, PostTransactions},
};
use frame_system::EventRecord;
use sp_runtime::{DispatchError, DispatchResult, ModuleError};
use sp_version::RuntimeVersion;

/// What the upgrade switch is set to.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
pub struct Upgrade {
    /// The version that signatures are for and that `Core_version` answers.
    pub spec_version: u32,
    /// How far the numbers of `SubtensorModule`'s errors are moved.
    pub error_shift: u8,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { spec_version: VERSION.spec_version, error_shift: 0 }
    }
}

impl Upgrade {
    /// The number an error of `SubtensorModule` has after the upgrade; they wrap around.
    pub fn moved_error(&self, number: u8) -> u8 {
        number.wrapping_add(self.error_shift)
    }

    /// The switch in the present state.
    pub fn get() -> Self {
        unhashed::get(&upgrade_key()).unwrap_or_default()
    }
}

/// The storage key under which the SCALE of an [`Upgrade`] stands.
pub fn upgrade_key() -> Vec<u8> {
    storage_prefix(b"LocalnetUpgrade", b"Upgrade").to_vec()
}

/// The version in force, for `frame_system`.
#[derive(Clone, Copy, Debug)]
pub struct CurrentVersion;

impl Get<RuntimeVersion> for CurrentVersion {
    fn get() -> RuntimeVersion {
        RuntimeVersion { spec_version: Upgrade::get().spec_version, ..VERSION }
    }
}

/// Moves the numbers of errors in the block's events, after its last extrinsic.
#[derive(Clone, Copy, Debug)]
pub struct MoveErrors;

impl PostTransactions for MoveErrors {
    fn post_transactions() {
        let upgrade = Upgrade::get();
        if upgrade.error_shift == 0 {
            return;
        }
        let key = storage_prefix(b"System", b"Events");
        let mut events: Vec<EventRecord<RuntimeEvent, Hash>> = unhashed::get_or_default(&key);
        for record in &mut events {
            move_errors_of(&mut record.event, upgrade);
        }
        unhashed::put(&key, &events);
    }
}

fn move_errors_of(event: &mut RuntimeEvent, upgrade: Upgrade) {
    match event {
        RuntimeEvent::System(frame_system::Event::ExtrinsicFailed { dispatch_error, .. }) => {
            move_error(dispatch_error, upgrade);
        }
        RuntimeEvent::SubtensorModule(crate::subtensor::Event::BatchWeightItemFailed(_, error)) => {
            move_error(error, upgrade);
        }
        RuntimeEvent::Sudo(pallet_sudo::Event::Sudid { sudo_result }) => {
            move_result(sudo_result, upgrade);
        }
        _ => {}
    }
}

fn move_result(result: &mut DispatchResult, upgrade: Upgrade) {
    if let Err(error) = result {
        move_error(error, upgrade);
    }
}

fn move_error(error: &mut DispatchError, upgrade: Upgrade) {
    if let DispatchError::Module(ModuleError { index, error: [number, ..], .. }) = error {
        if usize::from(*index) == SubtensorModule::index() {
            *number = upgrade.moved_error(*number);
        }
    }
}

/// The switch concerns this runtime's errors only if they are in the metadata under one index.
const _: fn() -> usize = <SubtensorModule as PalletInfoAccess>::index;
const _: fn() -> RuntimeVersion = <<Runtime as frame_system::Config>::Version as Get<_>>::get;
