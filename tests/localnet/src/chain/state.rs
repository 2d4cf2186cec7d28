//! State by root: a store of trie nodes, and running runtime code on top of one root.
//!
//! Every block's state within the window is readable by its state root. A node that a block no
//! longer needs dies only when that block leaves the window, so older states stay whole; a node
//! that comes back before then lives on.

use node_subtensor_runtime::Hash;
use sp_externalities::Extensions;
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::{
    DefaultError, Ext, OverlayedChanges, TrieBackend, TrieBackendBuilder, TrieBackendStorage,
};
use std::{
    cell::Cell,
    collections::{HashMap, VecDeque},
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Once, PoisonError, RwLock},
};

type NodeKey = Vec<u8>;

/// The state of one block.
pub(crate) type State = TrieBackend<TrieStore, BlakeTwo256>;
/// Changes on top of a state, not yet stored.
pub(crate) type Overlay = OverlayedChanges<BlakeTwo256>;

#[derive(Default)]
struct Nodes {
    by_key: HashMap<NodeKey, Vec<u8>>,
    /// By block, the nodes it stopped using.
    death_row: VecDeque<Condemned>,
    /// The last block that stopped using a node.
    condemned_at: HashMap<NodeKey, u32>,
}

/// What one block did to the nodes.
struct Condemned {
    number: u32,
    /// Nodes it stopped using.
    unused: Vec<NodeKey>,
    /// Nodes that nobody had before it.
    fresh: Vec<NodeKey>,
}

/// The trie nodes of all readable states.
#[derive(Clone, Default)]
pub(crate) struct TrieStore(Arc<RwLock<Nodes>>);

impl TrieBackendStorage<BlakeTwo256> for TrieStore {
    fn get(
        &self,
        key: &Hash,
        prefix: hash_db::Prefix<'_>,
    ) -> Result<Option<Vec<u8>>, DefaultError> {
        let key = sp_trie::prefixed_key::<BlakeTwo256>(key, prefix);
        let nodes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Ok(nodes.by_key.get(&key).cloned())
    }
}

impl TrieStore {
    /// The state with this root. Reading it fails if its nodes are gone.
    pub(crate) fn state(&self, root: Hash) -> State {
        TrieBackendBuilder::new(self.clone(), root).build()
    }

    /// Takes in the nodes of block `number` and drops what left the window of `window` blocks.
    pub(crate) fn commit(
        &self,
        number: u32,
        mut changes: sp_trie::PrefixedMemoryDB<BlakeTwo256>,
        window: u32,
    ) {
        let mut nodes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let (mut unused, mut fresh) = (Vec::new(), Vec::new());
        for (key, (node, references)) in changes.drain() {
            if references > 0 {
                nodes.condemned_at.remove(&key);
                if nodes.by_key.insert(key.clone(), node).is_none() {
                    fresh.push(key);
                }
            } else if references < 0 {
                nodes.condemned_at.insert(key.clone(), number);
                unused.push(key);
            }
        }
        nodes.death_row.push_back(Condemned { number, unused, fresh });
        while nodes.death_row.front().is_some_and(|block| block.number + window <= number) {
            let Some(Condemned { number, unused, .. }) = nodes.death_row.pop_front() else { break };
            for key in unused {
                if nodes.condemned_at.get(&key) == Some(&number) {
                    nodes.condemned_at.remove(&key);
                    nodes.by_key.remove(&key);
                }
            }
        }
    }

    /// Goes back to block `number`: what the blocks above it condemned lives on, and what only
    /// they brought dies when that block leaves the window.
    pub(crate) fn give_up_above(&self, number: u32) {
        let mut nodes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut orphans = Vec::new();
        while nodes.death_row.back().is_some_and(|block| block.number > number) {
            let Some(block) = nodes.death_row.pop_back() else { break };
            for key in block.unused {
                if nodes.condemned_at.get(&key) == Some(&block.number) {
                    nodes.condemned_at.remove(&key);
                }
            }
            orphans.extend(block.fresh);
        }
        for key in &orphans {
            nodes.condemned_at.insert(key.clone(), number);
        }
        nodes.death_row.push_back(Condemned { number, unused: orphans, fresh: Vec::new() });
    }

    /// Nodes held.
    pub(crate) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_key.len()
    }
}

/// Runtime code panicked; the message. The overlay it ran on must be thrown away.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the runtime panicked: {0}")]
pub struct Panicked(pub String);

thread_local! {
    static EXPECTING_PANIC: Cell<bool> = const { Cell::new(false) };
}

/// Keeps panics that are caught here out of the log: a client can cause them at will.
fn silence_expected_panics() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !EXPECTING_PANIC.get() {
                print(info);
            }
        }));
    });
}

/// Runs runtime code on a state; changes go to the overlay.
pub(crate) fn run<R>(
    state: &State,
    overlay: &mut Overlay,
    code: impl FnOnce() -> R,
) -> Result<R, Panicked> {
    silence_expected_panics();
    let mut extensions = Extensions::new();
    let mut externalities = Ext::new(overlay, state, Some(&mut extensions));
    let before = EXPECTING_PANIC.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        sp_externalities::set_and_run_with_externalities(&mut externalities, code)
    }));
    EXPECTING_PANIC.set(before);
    result.map_err(|payload| Panicked(message_of(payload.as_ref())))
}

fn message_of(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "no message".to_owned())
}
