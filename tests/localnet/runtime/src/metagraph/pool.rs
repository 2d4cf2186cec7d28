//! What alpha is worth here.
//!
//! There is no market: nobody can buy or sell, so the price never moves. Clients compute it either
//! from the call or from the pool's two sides, and both give one TAO for one alpha.

use crate::subtensor::ROOT_NETUID;
use codec::{Decode, Encode};
use scale_info::TypeInfo;

/// Rao of TAO for one whole alpha.
pub const ALPHA_PRICE: u64 = crate::TAO;
/// Each side of every subnet's pool, in rao. Any size would do, as long as the sides are equal.
pub const POOL_RESERVE: u64 = 1_000 * crate::TAO;

/// A subnet's price.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq, TypeInfo)]
pub struct SubnetPrice {
    /// The subnet.
    pub netuid: u16,
    /// Rao of TAO for one whole alpha.
    pub price: u64,
}

/// Rao of TAO for one whole alpha of the subnet; 0 where no such subnet exists. On root alpha is
/// TAO itself.
pub fn current_alpha_price(netuid: u16) -> u64 {
    if netuid == ROOT_NETUID || super::Source::open(netuid, 0).is_some() {
        ALPHA_PRICE
    } else {
        0
    }
}
