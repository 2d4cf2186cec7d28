//! Publishes where this node serves peers and the key that its connections show, when the chain
//! says something else.

use std::net::SocketAddr;
use std::sync::Arc;

use node_chain::{ChainClient, Keypair, Publication, Serving};
use node_core::id::Hotkey;
use node_core::unit::{BlockCount, BlockNumber};
use node_peer::{NodeCertificate, PeerDirectory};
use tokio::sync::{watch, Notify};

use super::perform::describe;

/// How often the chain is asked while it says what it should. A changed address of a validator is
/// seen in the directory at once; this is for keys, and for nodes that are no validators.
const LOOK_EVERY: BlockCount = BlockCount(50);

/// How often it is asked whether the hotkey has a neuron.
const REGISTERED_EVERY: BlockCount = BlockCount(5);

/// First pause after a failure; each further one doubles it.
const AGAIN_AFTER_MIN: BlockCount = BlockCount(5);

/// Longest such pause: ten minutes of the real chain.
const AGAIN_AFTER_MAX: BlockCount = BlockCount(50);

/// What publishes.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) client: ChainClient,
    pub(crate) keypair: Arc<Keypair>,
    /// Where this node serves.
    pub(crate) address: SocketAddr,
    /// What its connections show; its key may change.
    pub(crate) certificate: watch::Receiver<NodeCertificate>,
    /// Told of each publication, after it is final.
    pub(crate) published: Arc<Notify>,
}

impl Publisher {
    /// Keeps what is published equal to what is used, until the directory's sender is gone.
    ///
    /// Time passes in finalized blocks, as `directory` brings them.
    pub(crate) async fn keep_published(self, mut directory: watch::Receiver<PeerDirectory>) {
        let mut plan = Plan::new(self.keypair.public(), self.address);
        while directory.changed().await.is_ok() {
            let wanted = Serving {
                address: self.address,
                certificate: Some(self.certificate.borrow().published_form()),
            };
            plan.want(&wanted);
            let seen = {
                let directory = directory.borrow_and_update();
                if !plan.is_due(&directory) {
                    continue;
                }
                directory.as_of()
            };
            match self.client.publish_if_due(&self.keypair, &wanted, plan.own).await {
                Ok(publication) => {
                    if matches!(publication, Publication::Sent { .. }) {
                        self.published.notify_one();
                    }
                    if plan.note(publication) {
                        tell(&wanted, publication);
                    }
                }
                Err(error) => {
                    let pause = plan.back_off(seen);
                    let (reason, address) = (describe(&error), wanted.address);
                    tracing::warn!(
                        %address,
                        reason,
                        again_in_blocks = pause.0,
                        "cannot publish the address for peers"
                    );
                }
            }
        }
    }
}

fn tell(wanted: &Serving, publication: Publication) {
    let address = wanted.address;
    let key = wanted.certificate.as_deref().map(hex::encode);
    match publication {
        Publication::Current(at) => {
            tracing::info!(%address, key, block = at.0, "the chain has the address for peers");
        }
        Publication::Unregistered(at) => tracing::warn!(
            %address,
            block = at.0,
            "the hotkey is not registered: its address is published once it is"
        ),
        Publication::Waiting { at, from } => tracing::info!(
            %address,
            block = at.0,
            from_block = from.0,
            wait_blocks = from.since(at).0,
            "the chain has another address or key, and takes a change from a later block on"
        ),
        Publication::Sent { block, with_certificate: true } => tracing::info!(
            %address,
            key,
            block = block.number.0,
            "published the address and the key of connections"
        ),
        Publication::Sent { block, with_certificate: false } => tracing::warn!(
            %address,
            block = block.number.0,
            "published the address without the key of connections: this runtime takes none"
        ),
    }
}

/// When the chain is asked again.
#[derive(Debug)]
struct Plan {
    hotkey: Hotkey,
    address: SocketAddr,
    /// The key that was wanted last.
    certificate: Option<Vec<u8>>,
    /// The finalized block from which on.
    look_from: BlockNumber,
    /// The last block that said what it should, while nothing newer was heard.
    current_at: Option<BlockNumber>,
    /// Where this life's publication is.
    own: Option<BlockNumber>,
    pause: BlockCount,
    /// What was told last, without the block it was read at.
    told: Option<Told>,
}

/// What is worth a line when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Current,
    Unregistered,
    WaitingFor(BlockNumber),
}

impl Plan {
    fn new(hotkey: Hotkey, address: SocketAddr) -> Self {
        Self {
            hotkey,
            address,
            certificate: None,
            look_from: BlockNumber(0),
            current_at: None,
            own: None,
            pause: AGAIN_AFTER_MIN,
            told: None,
        }
    }

    /// What is to be published: another key is looked at at once, as if the node had just started.
    fn want(&mut self, wanted: &Serving) {
        if self.certificate != wanted.certificate {
            *self = Self::new(self.hotkey, self.address);
            self.certificate.clone_from(&wanted.certificate);
        }
    }

    /// Whether it is time, or this block shows another address although the last one asked did
    /// not.
    fn is_due(&self, directory: &PeerDirectory) -> bool {
        let seen = directory.as_of();
        let is_changed = self.current_at.is_some_and(|at| seen > at)
            && directory.contains(&self.hotkey)
            && directory.endpoint(&self.hotkey) != Some(self.address);
        seen >= self.look_from || is_changed
    }

    /// Plans the next look, and tells whether this one is worth a line.
    fn note(&mut self, publication: Publication) -> bool {
        self.pause = AGAIN_AFTER_MIN;
        self.current_at = None;
        let told = match publication {
            Publication::Current(at) => {
                self.current_at = Some(at);
                self.look_from = at.plus(LOOK_EVERY);
                Told::Current
            }
            Publication::Unregistered(at) => {
                self.look_from = at.plus(REGISTERED_EVERY);
                Told::Unregistered
            }
            Publication::Waiting { from, .. } => {
                self.look_from = from.minus(BlockCount(1));
                Told::WaitingFor(from)
            }
            Publication::Sent { block, .. } => {
                self.own = Some(block.number);
                self.current_at = Some(block.number);
                self.look_from = block.number.plus(LOOK_EVERY);
                self.told = Some(Told::Current);
                return true;
            }
        };
        self.told.replace(told) != Some(told)
    }

    /// Plans the next look after a failure, and returns how many blocks that is away.
    fn back_off(&mut self, seen: BlockNumber) -> BlockCount {
        let pause = self.pause;
        self.current_at = None;
        self.look_from = seen.plus(pause);
        self.pause = BlockCount(pause.0.saturating_mul(2)).min(AGAIN_AFTER_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use node_chain::BlockRef;
    use node_core::id::BlockHash;

    use super::*;

    const OWN: Hotkey = Hotkey([7; 32]);

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn plan() -> Plan {
        Plan::new(OWN, address(1))
    }

    fn directory(block: u64, port: u16) -> PeerDirectory {
        PeerDirectory::of(BlockNumber(block), [(OWN, Some(address(port)))])
    }

    /// Blocks after `block` at which the plan asks, of the next hundred.
    fn looks(plan: &Plan, block: u64) -> Option<u64> {
        let empty = |at| PeerDirectory::of(BlockNumber(at), []);
        (1..100).find(|distance| plan.is_due(&empty(block + distance)))
    }

    #[test]
    fn the_first_block_is_looked_at_whoever_is_in_it() {
        assert!(plan().is_due(&PeerDirectory::of(BlockNumber(9), [])));
    }

    #[test]
    fn a_current_address_is_left_alone_until_the_directory_shows_another() {
        let mut plan = plan();
        assert!(plan.note(Publication::Current(BlockNumber(10))));
        assert!(!plan.is_due(&directory(11, 1)));
        assert!(plan.is_due(&directory(11, 2)));
        assert!(!plan.is_due(&directory(10, 2)), "it is no newer");
        assert_eq!(looks(&plan, 10), Some(LOOK_EVERY.0));
        assert!(!plan.note(Publication::Current(BlockNumber(60))), "told already");
    }

    #[test]
    fn a_block_before_the_publication_does_not_bring_another_one() {
        let mut plan = plan();
        let block = BlockRef { number: BlockNumber(20), hash: BlockHash([0; 32]) };
        assert!(plan.note(Publication::Sent { block, with_certificate: false }));
        assert_eq!(plan.own, Some(BlockNumber(20)));
        assert!(!plan.is_due(&directory(19, 2)));
        assert!(plan.is_due(&directory(21, 2)));
        assert!(!plan.note(Publication::Current(BlockNumber(70))), "a publication says so");
    }

    #[test]
    fn a_limit_is_waited_for_and_told_once() {
        let mut plan = plan();
        let waiting =
            |at, from| Publication::Waiting { at: BlockNumber(at), from: BlockNumber(from) };
        assert!(plan.note(waiting(10, 40)));
        assert!(!plan.is_due(&directory(38, 2)), "another address is no news while it waits");
        assert_eq!(looks(&plan, 10), Some(29), "the next block takes it");
        assert!(!plan.note(waiting(39, 40)));
        assert!(plan.note(waiting(39, 60)), "somebody else published");
    }

    #[test]
    fn another_key_is_looked_at_with_the_next_block_and_published_although_ours_was() {
        let mut plan = plan();
        let wanted = |key| Serving { address: address(1), certificate: Some(vec![1, key]) };
        plan.want(&wanted(7));
        let block = BlockRef { number: BlockNumber(20), hash: BlockHash([0; 32]) };
        plan.note(Publication::Sent { block, with_certificate: true });
        plan.want(&wanted(7));
        assert_eq!((plan.own, looks(&plan, 20)), (Some(BlockNumber(20)), Some(LOOK_EVERY.0)));
        plan.want(&wanted(8));
        assert_eq!((plan.own, looks(&plan, 20)), (None, Some(1)));
    }

    #[test]
    fn failures_are_further_and_further_apart() {
        let mut plan = plan();
        let pauses: Vec<u64> = (0..6).map(|_| plan.back_off(BlockNumber(100)).0).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 50, 50]);
        assert_eq!(looks(&plan, 100), Some(50));
        plan.note(Publication::Unregistered(BlockNumber(150)));
        assert_eq!(looks(&plan, 150), Some(REGISTERED_EVERY.0));
        assert_eq!(plan.back_off(BlockNumber(155)), AGAIN_AFTER_MIN);
    }
}
