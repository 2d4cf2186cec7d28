//! What a person asks of a node that runs.

use crate::id::AssignmentId;
use crate::lease::{NotReopened, Reopening};
use crate::machine::effect::{Effect, Note, Outcome};
use crate::machine::event::CallId;
use crate::machine::Machine;
use crate::unit::Now;

impl Machine {
    pub(super) fn on_reopen_asked(
        &mut self,
        now: Now,
        call: CallId,
        assignment: AssignmentId,
        out: &mut Outcome,
    ) {
        let answer = self.reopen(now, assignment, out);
        out.perform(Effect::AnswerOperator { call, answer });
    }

    /// Gives an assignment whose attempts are used up all of them again. It is stored before
    /// anybody is told or granted anything.
    fn reopen(
        &mut self,
        now: Now,
        assignment: AssignmentId,
        out: &mut Outcome,
    ) -> Result<Reopening, NotReopened> {
        let block = self.view.as_ref().map(|view| view.number).ok_or(NotReopened::NotReady)?;
        if self.is_stopping || self.is_catching_up() {
            return Err(NotReopened::NotReady);
        }
        let key = self.replica_of.get(&assignment).copied().ok_or(NotReopened::Unknown)?;
        let (submission, replica) = key;
        if !self.pending.contains_key(&submission) {
            return Err(NotReopened::Settled);
        }
        let before = self
            .change(key, out, |record| record.reopen_by_hand(block, now.mono))
            .ok_or(NotReopened::Unknown)??;
        out.note(Note::LeaseReopened { submission, attempt: before.attempt.0 });
        let is_on_duty = self.is_on_duty(&submission);
        Ok(Reopening { assignment, submission, replica, is_on_duty, before })
    }
}
