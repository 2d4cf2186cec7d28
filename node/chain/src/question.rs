//! What a round asks storage for, kept for the next one.
//!
//! Most views ask for what the view before asked: the same neurons, the same epoch. Making the keys
//! takes longer than comparing what they are made of.

use std::sync::Arc;

use crate::encode::EncodeError;
use crate::keys::{Extent, KeySlots, Keys};
use crate::read::Subject;
use crate::runtime::Runtime;
use crate::storage::Batch;
use crate::subnet::SubnetSlots;

/// Questions kept: a whole view's, and an increment's with and without commitments.
pub(crate) const QUESTIONS_MAX: usize = 3;

/// Storage keys of one round, and where its values are found among the answers.
#[derive(Debug)]
pub(crate) struct Question {
    runtime: Arc<Runtime>,
    subject: Subject,
    extent: Extent,
    pub(crate) asked: Keys,
    /// As they are sent.
    pub(crate) keys: Vec<String>,
    pub(crate) subnet: SubnetSlots,
    pub(crate) named: KeySlots,
}

impl Question {
    /// Makes every key.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]: the runtime lacks an item that views depend on, or has it in another shape.
    pub(crate) fn new(
        runtime: &Arc<Runtime>,
        subject: Subject,
        extent: Extent,
        asked: Keys,
    ) -> Result<Self, EncodeError> {
        let mut batch = Batch::new(runtime);
        let subnet = SubnetSlots::add(&mut batch, subject, extent.full)?;
        let named = KeySlots::add(&mut batch, subject, &asked)?;
        let (keys, runtime) = (batch.into_keys(), Arc::clone(runtime));
        Ok(Self { runtime, subject, extent, asked, keys, subnet, named })
    }

    /// Whether the same was asked. A runtime is told by its place in memory: another one of the
    /// same version may have come since.
    pub(crate) fn is(
        &self,
        runtime: &Arc<Runtime>,
        subject: Subject,
        extent: Extent,
        asked: &Keys,
    ) -> bool {
        Arc::ptr_eq(&self.runtime, runtime)
            && self.subject == subject
            && self.extent == extent
            && self.asked == *asked
    }

    /// Whether another question would take this one's place: of the same kind.
    pub(crate) fn is_replaced_by(&self, other: &Self) -> bool {
        self.extent == other.extent
    }
}

#[cfg(test)]
mod tests {
    use node_core::id::{Hotkey, Netuid, Uid};
    use node_core::unit::EpochIndex;

    use super::*;
    use crate::golden_tests::local_runtime;
    use crate::keys::Names;
    use crate::memory::Memory;

    const SUBJECT: Subject =
        Subject { netuid: Netuid(3), mechanism: 0, own_hotkey: Some(Hotkey([5; 32])) };
    const FULL: Extent = Extent { full: true, commitments: true };
    const INCREMENT: Extent = Extent { full: false, commitments: true };

    fn keys(extent: Extent, epoch: u64) -> Keys {
        let names = Names {
            seats: vec![(Uid(0), Hotkey([5; 32]))],
            epoch: EpochIndex(epoch),
            reveal_period: 1,
            ..Names::default()
        };
        Keys::of(extent, SUBJECT, &names)
    }

    #[test]
    fn a_question_is_kept_until_something_of_it_changes() {
        let (memory, runtime) = (Memory::default(), Arc::new(local_runtime()));
        let ask = |runtime, subject, extent, epoch| {
            memory.question(runtime, subject, extent, keys(extent, epoch)).unwrap()
        };
        let first = ask(&runtime, SUBJECT, FULL, 9);
        let increment = ask(&runtime, SUBJECT, INCREMENT, 9);
        assert!(increment.keys.len() < first.keys.len());
        // A whole view and an increment stand beside each other.
        assert!(Arc::ptr_eq(&first, &ask(&runtime, SUBJECT, FULL, 9)));
        assert!(Arc::ptr_eq(&increment, &ask(&runtime, SUBJECT, INCREMENT, 9)));
        let next_epoch = ask(&runtime, SUBJECT, FULL, 10);
        assert_ne!(next_epoch.keys, first.keys);
        let other_subnet = Subject { netuid: Netuid(4), ..SUBJECT };
        assert_ne!(ask(&runtime, other_subnet, FULL, 10).keys, next_epoch.keys);
        let upgraded = Arc::new(local_runtime());
        let of_upgraded = ask(&upgraded, SUBJECT, FULL, 10);
        assert!(!Arc::ptr_eq(&of_upgraded, &next_epoch), "made for another runtime");
        assert_eq!(of_upgraded.keys, next_epoch.keys);
    }
}
