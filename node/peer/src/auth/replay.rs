//! Which calls were already seen. Bounded by the time window, by a share per sender, and in all.
//!
//! Only calls whose signature held come here, so strangers cannot fill it. A nonce is remembered
//! until its signed time is outside the window; after that the time itself is refused.

use std::collections::{BTreeMap, BTreeSet};

use node_core::id::Hotkey;
use node_core::unit::UnixMs;

use super::Nonce;
use crate::limits::{CALL_HELD_BACK_MS_MAX, CALL_WINDOW_MS, NONCES_MAX, NONCES_PER_PEER_MAX};
use crate::refusal::AuthRefusal;

/// Calls seen within the time window, by sender.
#[derive(Debug, Default)]
pub(super) struct ReplayStore {
    seen: BTreeMap<Hotkey, BTreeSet<(UnixMs, Nonce)>>,
    len: usize,
}

impl ReplayStore {
    /// Remembers a call; its time must already be inside the window around `now`.
    ///
    /// # Errors
    ///
    /// - [`AuthRefusal::Replayed`]: the same sender used this nonce at this time before.
    /// - [`AuthRefusal::Reordered`]: a call signed more than [`CALL_HELD_BACK_MS_MAX`] later came
    ///   first.
    /// - [`AuthRefusal::TooManyCalls`]: the sender's share, or all of it, is full.
    ///
    /// A refused call leaves the store as it is, but for what has expired.
    pub(super) fn remember(
        &mut self,
        now: UnixMs,
        sender: Hotkey,
        time: UnixMs,
        nonce: Nonce,
    ) -> Result<(), AuthRefusal> {
        self.forget_expired_of(now, &sender);
        let full = self.len >= NONCES_MAX && {
            self.forget_expired(now);
            self.len >= NONCES_MAX
        };
        let own = self.seen.get(&sender);
        if own.is_some_and(|own| own.contains(&(time, nonce))) {
            return Err(AuthRefusal::Replayed);
        }
        if own.is_some_and(|own| overtaken(own, now, time)) {
            return Err(AuthRefusal::Reordered);
        }
        if full || own.is_some_and(|own| own.len() >= NONCES_PER_PEER_MAX) {
            return Err(AuthRefusal::TooManyCalls);
        }
        if self.seen.entry(sender).or_default().insert((time, nonce)) {
            self.len += 1;
        }
        Ok(())
    }

    /// Calls remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn forget_expired_of(&mut self, now: UnixMs, sender: &Hotkey) {
        let Some(own) = self.seen.get_mut(sender) else { return };
        while own.first().is_some_and(|(time, _)| *time < oldest_valid(now)) {
            own.pop_first();
            self.len -= 1;
        }
        if own.is_empty() {
            self.seen.remove(sender);
        }
    }

    /// Walks everything. Called only when the store is full, which takes more than a hundred
    /// validators that all spend their share.
    fn forget_expired(&mut self, now: UnixMs) {
        self.seen.retain(|_, own| {
            *own = own.split_off(&(oldest_valid(now), Nonce::default()));
            !own.is_empty()
        });
        self.len = self.seen.values().map(BTreeSet::len).sum();
    }
}

fn oldest_valid(now: UnixMs) -> UnixMs {
    UnixMs(now.0.saturating_sub(CALL_WINDOW_MS))
}

/// Whether a much later call than `time` is among `own`. Times beyond the window count as nothing:
/// they were accepted before the receiver's clock was set back.
fn overtaken(own: &BTreeSet<(UnixMs, Nonce)>, now: UnixMs, time: UnixMs) -> bool {
    let latest_valid = UnixMs(now.0.saturating_add(CALL_WINDOW_MS));
    let newest = own.range(..=(latest_valid, [u8::MAX; 16])).next_back();
    newest.is_some_and(|(newest, _)| newest.0.saturating_sub(time.0) > CALL_HELD_BACK_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_700_000_000_000);
    const ALICE: Hotkey = Hotkey([1; 32]);
    const BOB: Hotkey = Hotkey([2; 32]);

    fn nonce(number: u128) -> Nonce {
        number.to_be_bytes()
    }

    fn later(ms: u64) -> UnixMs {
        UnixMs(NOW.0 + ms)
    }

    #[test]
    fn case_18_the_same_call_is_accepted_once_and_another_sender_may_use_the_same_nonce() {
        let mut store = ReplayStore::default();
        assert_eq!(store.remember(NOW, ALICE, NOW, nonce(1)), Ok(()));
        assert_eq!(store.remember(NOW, ALICE, NOW, nonce(1)), Err(AuthRefusal::Replayed));
        assert_eq!(store.remember(later(9), ALICE, NOW, nonce(1)), Err(AuthRefusal::Replayed));
        assert_eq!(store.remember(NOW, BOB, NOW, nonce(1)), Ok(()));
    }

    #[test]
    fn case_18_a_call_held_back_until_a_much_later_one_arrived_is_refused() {
        let mut store = ReplayStore::default();
        let newest = later(CALL_HELD_BACK_MS_MAX + 1);
        assert_eq!(store.remember(newest, ALICE, newest, nonce(1)), Ok(()));
        assert_eq!(store.remember(newest, ALICE, NOW, nonce(2)), Err(AuthRefusal::Reordered));
        assert_eq!(store.remember(newest, ALICE, later(1), nonce(3)), Ok(()), "a little late");
        assert_eq!(store.remember(newest, BOB, NOW, nonce(4)), Ok(()), "others do not matter");
    }

    #[test]
    fn case_17_a_clock_set_back_an_hour_does_not_lock_a_sender_out() {
        let mut store = ReplayStore::default();
        let ahead = later(3_600_000);
        assert_eq!(store.remember(ahead, ALICE, ahead, nonce(1)), Ok(()));
        assert_eq!(store.remember(NOW, ALICE, NOW, nonce(2)), Ok(()));
        assert_eq!(store.remember(ahead, ALICE, ahead, nonce(1)), Err(AuthRefusal::Replayed));
    }

    #[test]
    fn case_18_a_million_calls_of_one_sender_hold_no_more_than_its_share() {
        const CALLS: u128 = 1_000_000;
        let mut store = ReplayStore::default();
        let mut refused = 0;
        for number in 0..CALLS {
            // A hundred calls per millisecond; times scattered over the last five seconds.
            let now = later(u64::try_from(number / 100).unwrap());
            let time = UnixMs(now.0 - u64::try_from(number * 7919 % 5_000).unwrap());
            match store.remember(now, ALICE, time, nonce(number)) {
                Ok(()) => {}
                Err(AuthRefusal::TooManyCalls) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
            assert!(store.len <= NONCES_PER_PEER_MAX);
        }
        assert_eq!(refused, usize::try_from(CALLS).unwrap() - NONCES_PER_PEER_MAX);
        assert_eq!(store.remember(NOW, BOB, NOW, nonce(0)), Ok(()), "others are not affected");
    }

    #[test]
    fn case_18_all_senders_together_cannot_hold_more_than_there_is_and_expiry_frees_it() {
        let mut store = ReplayStore::default();
        let senders = NONCES_MAX / NONCES_PER_PEER_MAX;
        for sender in 0..=senders {
            let hotkey = Hotkey([u8::try_from(sender).unwrap(); 32]);
            for number in 0..NONCES_PER_PEER_MAX as u128 {
                let result = store.remember(NOW, hotkey, NOW, nonce(number));
                assert_eq!(result.is_ok(), sender < senders, "{sender} {result:?}");
            }
        }
        assert_eq!(store.len, NONCES_MAX);
        let after = later(CALL_WINDOW_MS + 1);
        assert_eq!(store.remember(after, Hotkey([200; 32]), after, nonce(0)), Ok(()));
        assert_eq!((store.len, store.seen.len()), (1, 1));
    }

    #[test]
    fn what_expired_is_forgotten_and_the_count_stays_right() {
        let mut store = ReplayStore::default();
        for ms in 0..1_000u64 {
            assert_eq!(store.remember(later(ms * 100), ALICE, later(ms * 100), nonce(0)), Ok(()));
            assert_eq!(store.len, store.seen.values().map(BTreeSet::len).sum::<usize>());
            assert!(store.len <= 301, "thirty seconds at ten calls a second");
        }
    }
}
