//! Reads which keys the validators published for their connections.
//!
//! Not with each view: a key changes once in a long while, and there are as many as validators.
//! They are read at the start, when the set of validators or one's address changed (a key is
//! published together with the address), after a publication of this node, and every
//! [`READ_EVERY`] blocks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use node_chain::ChainClient;
use node_core::id::Hotkey;
use node_core::unit::{BlockCount, BlockNumber};
use node_peer::PeerDirectory;
use tokio::sync::{watch, Notify};

use super::perform::describe;

/// Blocks between two readings while nothing else calls for one: twenty minutes of the real chain.
/// Lower: the chain is asked for nothing. Higher: a replaced key is taken for longer.
const READ_EVERY: BlockCount = BlockCount(100);

/// First pause after a failure; each further one doubles it.
const AGAIN_AFTER_MIN: BlockCount = BlockCount(1);

/// Longest such pause.
const AGAIN_AFTER_MAX: BlockCount = BlockCount(20);

/// Published keys by hotkey; `None` until they were read for the first time.
pub(crate) type Certificates = Option<BTreeMap<Hotkey, Vec<u8>>>;

/// Keeps `certificates` as the chain says them for the validators of `directory`, until the
/// directory's sender is gone.
///
/// Time passes in finalized blocks, as `directory` brings them. Where they cannot be read, those
/// that were read last stay.
pub(crate) async fn keep_read(
    client: ChainClient,
    certificates: watch::Sender<Certificates>,
    mut directory: watch::Receiver<PeerDirectory>,
    published: Arc<Notify>,
) {
    let mut plan = Plan::default();
    loop {
        tokio::select! {
            changed = directory.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = published.notified() => plan.read_from = BlockNumber(0),
        }
        let seen = directory.borrow_and_update().clone();
        if !plan.is_due(&seen) {
            continue;
        }
        match read(&client, &seen).await {
            Ok((at, read)) => {
                plan.note(at, &seen);
                certificates.send_if_modified(|known| {
                    let is_new = known.as_ref() != Some(&read);
                    *known = Some(read);
                    is_new
                });
            }
            Err(reason) => {
                let pause = plan.back_off(seen.as_of());
                tracing::warn!(
                    reason,
                    again_in_blocks = pause.0,
                    "cannot read which keys validators published; those read before hold"
                );
            }
        }
    }
}

async fn read(
    client: &ChainClient,
    seen: &PeerDirectory,
) -> Result<(BlockNumber, BTreeMap<Hotkey, Vec<u8>>), String> {
    let head = client.finalized_head().await.map_err(|error| describe(&error))?;
    let head = head.ok_or("the endpoint does not know its own finalized head")?;
    if head.number < seen.as_of() {
        return Err(format!("the endpoint is at block {}, behind {}", head.number, seen.as_of()));
    }
    let hotkeys: Vec<Hotkey> = seen.validators().map(|(hotkey, _)| hotkey).collect();
    let read = client.certificates(&hotkeys, head).await.map_err(|error| describe(&error))?;
    Ok((head.number, read))
}

/// When they are read again.
#[derive(Debug, Default)]
struct Plan {
    /// The finalized block from which on.
    read_from: BlockNumber,
    /// The validators for whom they were read, and where those served.
    of: Vec<(Hotkey, Option<SocketAddr>)>,
    /// The block before which a failure is not made good.
    not_before: BlockNumber,
    /// How long the last failure was waited for.
    pause: BlockCount,
}

impl Plan {
    fn is_due(&self, directory: &PeerDirectory) -> bool {
        let now = directory.as_of();
        let is_changed = || directory.validators().ne(self.of.iter().copied());
        now >= self.not_before && (now >= self.read_from || is_changed())
    }

    fn note(&mut self, at: BlockNumber, directory: &PeerDirectory) {
        let of = directory.validators().collect();
        let (not_before, pause) = (BlockNumber(0), BlockCount(0));
        *self = Self { read_from: at.plus(READ_EVERY), of, not_before, pause };
    }

    /// Plans the next try after a failure, and returns how many blocks that is away.
    fn back_off(&mut self, seen: BlockNumber) -> BlockCount {
        let doubled = BlockCount(self.pause.0.saturating_mul(2));
        self.pause = doubled.clamp(AGAIN_AFTER_MIN, AGAIN_AFTER_MAX);
        self.not_before = seen.plus(self.pause);
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Hotkey = Hotkey([1; 32]);
    const OTHER: Hotkey = Hotkey([2; 32]);

    fn address(port: u16) -> Option<SocketAddr> {
        Some(SocketAddr::from(([10, 0, 0, 1], port)))
    }

    fn directory(block: u64, of: &[(Hotkey, Option<SocketAddr>)]) -> PeerDirectory {
        PeerDirectory::of(BlockNumber(block), of.iter().copied())
    }

    /// Of the next blocks after `block` with this directory, how far the first reading is away.
    fn reads(plan: &Plan, block: u64, of: &[(Hotkey, Option<SocketAddr>)]) -> Option<u64> {
        (1..=2 * READ_EVERY.0).find(|away| plan.is_due(&directory(block + away, of)))
    }

    #[test]
    fn the_first_block_is_read_and_then_only_every_so_many() {
        let mut plan = Plan::default();
        let first = directory(10, &[(ONE, None)]);
        assert!(plan.is_due(&first));
        plan.note(BlockNumber(12), &first);
        assert_eq!(reads(&plan, 12, &[(ONE, None)]), Some(READ_EVERY.0));
    }

    #[test]
    fn another_set_of_validators_or_another_address_is_read_at_once() {
        let mut plan = Plan::default();
        plan.note(BlockNumber(10), &directory(10, &[(ONE, address(1))]));
        for changed in [
            &[(ONE, address(2))][..],
            &[(ONE, None)],
            &[(OTHER, address(1))],
            &[(ONE, address(1)), (OTHER, None)],
            &[],
        ] {
            assert_eq!(reads(&plan, 10, changed), Some(1), "{changed:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_tried_again_further_and_further_apart() {
        let mut plan = Plan::default();
        let of = [(ONE, None)];
        let pauses: Vec<u64> = (0..7).map(|_| plan.back_off(BlockNumber(10)).0).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 20, 20]);
        assert_eq!(reads(&plan, 10, &of), Some(20), "although the set is not the one known");
        plan.note(BlockNumber(30), &directory(30, &of));
        assert_eq!(reads(&plan, 30, &of), Some(READ_EVERY.0));
        assert_eq!(plan.back_off(BlockNumber(130)), AGAIN_AFTER_MIN);
        assert_eq!(reads(&plan, 130, &of), Some(1));
    }
}
