//! `Aura` (pallet 3): nothing but the constant clients take the block time from.

pub use pallet::*;

#[allow(
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    reason = "FRAME's macros generate the types"
)]
#[frame_support::pallet]
pub mod pallet {
    use frame_support::pallet_prelude::*;

    #[pallet::pallet]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config: frame_system::Config {
        /// Milliseconds per block.
        #[pallet::constant]
        type SlotDuration: Get<u64>;
    }
}
