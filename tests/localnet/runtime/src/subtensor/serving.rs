//! `serve_axon` and `serve_axon_tls`: publishing an endpoint.
//!
//! The same checks run twice, as on the real chain: in the pool, where a refusal is a
//! `Custom` code, and at dispatch.

use super::{
    AxonInfo, Axons, Config, Error, Event, NetUid, NetworksAdded, NeuronCertificate,
    NeuronCertificates, Pallet, ServingRateLimit, Uids,
};
use frame_support::{ensure, traits::Get};
use sp_runtime::DispatchResult;

/// 127.0.0.1; the real chain knows no other IPv4 loopback address.
const LOOPBACK_V4: u128 = 0x7f00_0001;
/// `::1`.
const LOOPBACK_V6: u128 = 1;

impl<T: Config> Pallet<T> {
    pub(super) fn do_serve_axon(
        hotkey: T::AccountId,
        netuid: NetUid,
        axon: AxonInfo,
        certificate: Option<&[u8]>,
    ) -> DispatchResult {
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        Self::check_serve_axon(&hotkey, netuid, &axon)?;
        if let Some(certificate) = certificate.and_then(NeuronCertificate::from_bytes) {
            NeuronCertificates::<T>::insert(netuid, &hotkey, certificate);
        }
        Axons::<T>::insert(netuid, &hotkey, axon);
        Self::deposit_event(Event::AxonServed(netuid, hotkey));
        Ok(())
    }

    /// Whether this hotkey may publish this endpoint in the block `axon.block`.
    ///
    /// # Errors
    ///
    /// In this order: `HotKeyNotRegisteredInNetwork`, `InvalidIpType`, `InvalidIpAddress`,
    /// `ServingRateLimitExceeded`, `InvalidPort`.
    pub fn check_serve_axon(
        hotkey: &T::AccountId,
        netuid: NetUid,
        axon: &AxonInfo,
    ) -> Result<(), Error<T>> {
        ensure!(Uids::<T>::contains_key(netuid, hotkey), Error::<T>::HotKeyNotRegisteredInNetwork);
        ensure!(matches!(axon.ip_type, 4 | 6), Error::<T>::InvalidIpType);
        ensure!(Self::is_servable(axon), Error::<T>::InvalidIpAddress);
        ensure!(
            Self::serving_limit_passed(hotkey, netuid, axon.block),
            Error::<T>::ServingRateLimitExceeded
        );
        ensure!(axon.port != 0, Error::<T>::InvalidPort);
        Ok(())
    }

    /// Private addresses pass, and so does zero; the real chain refuses only these.
    fn is_servable(axon: &AxonInfo) -> bool {
        let (loopback, limit) = match axon.ip_type {
            4 => (LOOPBACK_V4, u128::from(u32::MAX)),
            _ => (LOOPBACK_V6, u128::MAX),
        };
        axon.ip < limit && (axon.ip != loopback || T::AllowLoopbackAxons::get())
    }

    fn serving_limit_passed(hotkey: &T::AccountId, netuid: NetUid, block: u64) -> bool {
        let limit = ServingRateLimit::<T>::get(netuid);
        let served_at = Axons::<T>::get(netuid, hotkey).map_or(0, |axon| axon.block);
        limit == 0 || served_at == 0 || block.saturating_sub(served_at) >= limit
    }
}
