use proptest::prelude::*;

use super::*;
use crate::history::tests::{lines, OWNER};
use crate::history::History;
use crate::interchange::state_name;

/// The last state that each epoch is in for whoever reads line by line.
fn in_order(entries: &[JournalEntry]) -> BTreeMap<Place, Fate> {
    let mut fates: BTreeMap<Place, Fate> = BTreeMap::new();
    for entry in entries {
        fates.entry(place(entry)).or_default().learn(&entry.step);
    }
    fates
}

proptest! {
    #[test]
    fn what_is_dropped_changes_no_state_and_comes_back_by_merging(
        mut entries in lines(),
        whole_epochs in 0..3usize,
    ) {
        let full = History::of_journal(OWNER, &entries);
        let before = in_order(&entries);
        let over = over(&entries, whole_epochs);
        for entry in entries.iter_mut().filter(|entry| over.contains(&place(entry))) {
            strip(&mut entry.step);
        }
        prop_assert_eq!(in_order(&entries).len(), before.len());
        let small = History::of_journal(OWNER, &entries);
        for (number, mechanism) in &full.mechanisms {
            prop_assert_eq!(mechanism.adopted, small.mechanisms[number].adopted);
            for (epoch, known) in &mechanism.epochs {
                let there = &small.mechanisms[number].epochs[epoch];
                prop_assert_eq!(state_name(&there.state()), state_name(&known.state()));
                prop_assert_eq!(there.updated_at(), known.updated_at());
                prop_assert!(there.signings.keys().eq(known.signings.keys()));
                prop_assert!(there.reveals.keys().eq(known.reveals.keys()));
                let is_over = over.contains(&((OWNER.hotkey, OWNER.netuid, *number), *epoch));
                prop_assert!(!is_over || known.state().is_finished());
                prop_assert!(is_over || there == known, "it is whole");
            }
        }
        let mut merged = small;
        merged.merge(&full);
        prop_assert_eq!(merged, full);
    }
}
