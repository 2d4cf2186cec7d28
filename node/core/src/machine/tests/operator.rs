//! What an operator asks of a node, and what it answers.

use super::host::gpu_id;
use super::world::World;
use crate::health::DeviceRow;
use crate::hold::{NotResolved, Resolution};
use crate::id::{AssignmentId, SubmissionId};
use crate::lease::{NotReopened, Reopening};
use crate::machine::event::{CallId, Event};
use crate::machine::operator::{DeviceOrder, OperatorAnswer, OperatorRequest, OrderRefused};
use crate::submission::Submission;

impl World {
    fn answer_to_operator(&mut self, node: usize, request: OperatorRequest) -> OperatorAnswer {
        let life = self.hosts[node].life;
        self.deliver(node, life, Event::OperatorAsked { call: CallId(7), request });
        self.operator_answers.pop().expect("a node answers at once")
    }

    pub(super) fn resolve(
        &mut self,
        node: usize,
        submission: SubmissionId,
        resolution: Resolution,
    ) -> Result<Box<Submission>, NotResolved> {
        let answer =
            self.answer_to_operator(node, OperatorRequest::Resolve { submission, resolution });
        let OperatorAnswer::Resolved(answer) = answer else { panic!("{answer:?}") };
        answer
    }

    pub(super) fn reopen(
        &mut self,
        node: usize,
        assignment: AssignmentId,
    ) -> Result<Reopening, NotReopened> {
        let answer = self.answer_to_operator(node, OperatorRequest::Reopen { assignment });
        let OperatorAnswer::Reopened(answer) = answer else { panic!("{answer:?}") };
        answer
    }

    pub(super) fn order(
        &mut self,
        node: usize,
        gpu: usize,
        order: DeviceOrder,
    ) -> Result<Box<DeviceRow>, OrderRefused> {
        let answer =
            self.answer_to_operator(node, OperatorRequest::Order { device: gpu_id(gpu), order });
        let OperatorAnswer::Ordered(answer) = answer else { panic!("{answer:?}") };
        answer
    }
}
