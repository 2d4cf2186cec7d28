//! How often one address may ask.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Decisions after which addresses that have been silent are forgotten. Lower: more work per
/// request. Higher: whoever has many addresses fills more memory.
const FORGET_EVERY: u32 = 1_024;

/// What one upload counts for.
pub(super) const UPLOAD_COST: u32 = 10;

/// Requests per address and minute.
#[derive(Debug)]
pub(super) struct RateLimit {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    decided: AtomicU32,
}

impl RateLimit {
    pub(super) fn new(per_minute: u32) -> Self {
        let burst = NonZeroU32::new(per_minute.max(UPLOAD_COST)).unwrap_or(NonZeroU32::MIN);
        Self { limiter: RateLimiter::keyed(Quota::per_minute(burst)), decided: AtomicU32::new(0) }
    }

    /// Whether `address` may make a request that counts for `cost`.
    pub(super) fn allows(&self, address: IpAddr, cost: u32) -> bool {
        if self.decided.fetch_add(1, Ordering::Relaxed).is_multiple_of(FORGET_EVERY) {
            self.limiter.retain_recent();
        }
        let Some(cost) = NonZeroU32::new(cost) else { return true };
        matches!(self.limiter.check_key_n(&network_of(address), cost), Ok(Ok(())))
    }
}

/// Who has one address of an IPv6 network of 64 bits has all of it.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_own_count_and_a_network_of_64_bits_one_together() {
        let limit = RateLimit::new(20);
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let same: IpAddr = "2001:db8::ffff".parse().unwrap();
        let other: IpAddr = "2001:db8:0:1::1".parse().unwrap();
        assert!((0..20).all(|_| limit.allows(one, 1)));
        assert!(!limit.allows(same, 1));
        assert!(limit.allows(other, UPLOAD_COST) && limit.allows(other, UPLOAD_COST));
        assert!(!limit.allows(other, 1));
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert!(limit.allows(v4, 20) && !limit.allows(mapped, 1));
    }
}
