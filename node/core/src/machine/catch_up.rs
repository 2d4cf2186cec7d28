//! After the store lost rows: neither grant nor sign until chain and peers have told again what
//! was known.
//!
//! What was signed is not lost with the rows: the journal is a file of its own. What is lost are
//! leases that were granted and receipts that were accepted; peers still have the latter, those of
//! this node's own sequence among them.
//!
//! Attempts and numbers that were given are not known any more. They go on from the time of the
//! chain at the end of the wait: it is later than at any block that was read before, whatever a
//! wall clock did meanwhile.

use std::collections::BTreeSet;

use crate::id::{Attempt, Hotkey};
use crate::limits::ENDPOINT_LAG_BLOCKS_MAX;
use crate::machine::effect::{Note, Outcome, PeerAddress};
use crate::machine::Machine;
use crate::rows::{CursorRow, Row, Write};
use crate::trial::Trial;
use crate::unit::{BlockCount, BlockNumber, Now};

/// Whom a node waits for after its store lost rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CatchingUp {
    /// Peers that sent all their receipts in this life.
    heard: BTreeSet<Hotkey>,
    /// Peers that sent what they have of this node's own sequence.
    returned: BTreeSet<Hotkey>,
    /// The first block that was read in this life.
    since: Option<BlockNumber>,
    /// Whether it waits no more. Who was not reached by then is still asked.
    is_over: bool,
}

impl Machine {
    pub(super) fn start_catching_up(&mut self, out: &mut Outcome) {
        self.catching_up = Some(CatchingUp::default());
        // A cursor may have survived the receipts that it stands for.
        for (peer, state) in &mut self.peers {
            let row = Row::Cursor(CursorRow { peer: *peer, after: state.after });
            out.writes.push(Write::Delete(row.table(), row.key()));
            state.after = 0;
        }
    }

    /// Rows were lost in an earlier life, and nobody waits any more. Who has a cursor has told what
    /// it had: until then none is stored. The others are asked in this life too.
    pub(super) fn go_on_catching_up(&mut self) {
        let returned = self.peers.keys().copied().collect();
        self.catching_up = Some(CatchingUp { returned, is_over: true, ..CatchingUp::default() });
    }

    /// Peers remember how far they read our receipts: numbers given again would be skipped. Of
    /// attempts and numbers that survived the higher ones count.
    fn count_from_chain_time(&mut self, out: &mut Outcome) {
        let Some(view) = &self.view else { return };
        let after = view.timestamp.0.max(self.next_sequence).saturating_sub(1);
        self.resume_numbers(after);
        out.put(Row::Cursor(CursorRow { peer: self.config.hotkey, after }));
    }

    /// Numbers go on from what was stored of this node's own sequence. After rows were lost it
    /// counts from milliseconds, and so tells from which second on attempts do.
    pub(super) fn resume_numbers(&mut self, after: u64) {
        self.next_sequence = self.next_sequence.max(after.saturating_add(1));
        let seconds = u32::try_from(after.saturating_add(1) / 1_000).unwrap_or(u32::MAX);
        self.attempts_from = self.attempts_from.max(Attempt(seconds));
    }

    /// Whether the node still waits to be told what it has forgotten.
    #[must_use]
    pub fn is_catching_up(&self) -> bool {
        self.catching_up.as_ref().is_some_and(|catching_up| !catching_up.is_over)
    }

    pub(super) fn heard_all_receipts(&mut self, peer: Hotkey) {
        if let Some(catching_up) = &mut self.catching_up {
            catching_up.heard.insert(peer);
        }
    }

    pub(super) fn heard_own_receipts(&mut self, peer: Hotkey) {
        if let Some(catching_up) = &mut self.catching_up {
            catching_up.returned.insert(peer);
        }
    }

    /// Whether `peer` has still to send what it has of this node's own sequence.
    pub(super) fn has_own_receipts(&self, peer: &Hotkey) -> bool {
        let catching_up = self.catching_up.as_ref();
        catching_up.is_some_and(|catching_up| !catching_up.returned.contains(peer))
    }

    /// Ends the wait once every reachable peer was heard, or after two epochs: a peer that is gone
    /// must not keep this node from its duties for ever. Not before the chain is further than it
    /// can have been when the rows were lost.
    pub(super) fn check_caught_up(&mut self, now: Now, out: &mut Outcome) {
        let peers = self.other_validators();
        let Some(view) = &self.view else { return };
        let catching_up = self.catching_up.as_mut().filter(|catching_up| !catching_up.is_over);
        let Some(catching_up) = catching_up else { return };
        let since = *catching_up.since.get_or_insert(view.number);
        let patience = BlockCount(view.params.tempo.0.saturating_mul(2));
        let waited = view.number.since(since);
        let CatchingUp { heard, returned, .. } = &*catching_up;
        let has_told_all =
            |peer: &PeerAddress| heard.contains(&peer.hotkey) && returned.contains(&peer.hotkey);
        let has_heard_all = peers.iter().all(has_told_all);
        let is_over = has_heard_all || waited > patience;
        if is_over && waited > BlockCount(ENDPOINT_LAG_BLOCKS_MAX) {
            catching_up.is_over = true;
            out.writes.push(Write::CaughtUp);
            out.note(Note::CaughtUp { block: view.number });
            self.count_from_chain_time(out);
            // What was accepted meanwhile is published now.
            let all = self.submissions.values().flat_map(|known| self.trials_of(known));
            let all: Vec<Trial> = all.collect();
            self.to_settle.extend(all);
            self.settle_touched(now, out);
        }
    }
}
