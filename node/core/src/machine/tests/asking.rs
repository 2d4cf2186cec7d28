//! Questions that a test puts to a node in the name of a validator, past the network.

use super::world::{metrics, validator, World};
use crate::assignment::Assignment;
use crate::evidence::Receipt;
use crate::id::{Attempt, SubmissionId};
use crate::inventory::DeviceKind;
use crate::lease::{
    lease_id, AcquireRequest, Grant, HeldLease, HeldStage, HoldAnswer, LeaseAnswer, LeaseRefusal,
    PeerAnswer, PeerRequest, Renewal,
};
use crate::limits::LEASE_TTL_MS;
use crate::machine::effect::Note;
use crate::machine::event::{Event, Question};

/// The lease of a grant, as its holder names it.
pub(super) fn held(grant: &Grant) -> HeldLease {
    HeldLease { assignment: grant.assignment.id, lease: grant.lease, attempt: grant.attempt }
}

impl World {
    /// Asks `node` for one lease in the name of `peer`.
    pub(super) fn try_acquire(
        &mut self,
        peer: usize,
        node: usize,
    ) -> Result<Option<Grant>, LeaseRefusal> {
        let config = &self.hosts[node].config;
        let request = PeerRequest::Acquire(AcquireRequest {
            device: DeviceKind::CpuSlot,
            leases_max: 1,
            image: config.image,
            dataset: config.dataset,
            policy: config.policy.digest(),
        });
        let answer = self.ask_directly(validator(peer), node, request);
        let PeerAnswer::Acquired(grants) = answer else { panic!("{answer:?}") };
        grants.map(|grants| grants.into_iter().next())
    }

    pub(super) fn acquire(&mut self, peer: usize, node: usize) -> Grant {
        self.try_acquire(peer, node).unwrap().expect("something is open")
    }

    /// A receipt of `worker` for `grant` with this loss.
    pub(super) fn receipt_saying(
        &self,
        worker: usize,
        grant: &Grant,
        nll_nanonats: u64,
    ) -> Receipt {
        let mut receipt = self.receipt(validator(worker), grant);
        receipt.evidence.metrics = Some(metrics(nll_nanonats));
        receipt
    }

    /// Seals `receipt` at `node` in the name of its worker.
    pub(super) fn seal_at(&mut self, node: usize, receipt: &Receipt) -> HoldAnswer {
        let request = PeerRequest::Seal(Box::new(Self::seal(receipt)));
        let answer = self.ask_directly(receipt.evidence.worker, node, request);
        let PeerAnswer::Sealed(answer) = answer else { panic!("{answer:?}") };
        answer
    }

    /// Hands `receipt` in at `node` in the name of its worker.
    pub(super) fn complete_at(&mut self, node: usize, receipt: &Receipt) -> LeaseAnswer {
        let request = PeerRequest::Complete(Box::new(receipt.clone()));
        let answer = self.ask_directly(receipt.evidence.worker, node, request);
        let PeerAnswer::Completed(answer) = answer else { panic!("{answer:?}") };
        answer
    }

    /// Renews `grant` at `node` in the name of `peer`.
    pub(super) fn renew_at(
        &mut self,
        peer: usize,
        node: usize,
        grant: &Grant,
        stage: HeldStage,
    ) -> HoldAnswer {
        let request = PeerRequest::Renew(vec![Renewal { held: held(grant), stage }]);
        let answer = self.ask_directly(validator(peer), node, request);
        let PeerAnswer::Renewed(mut answers) = answer else { panic!("{answer:?}") };
        answers.remove(0)
    }

    /// Gives `node` a page of the receipts of `of`, as if `from` had answered.
    pub(super) fn give_receipts(
        &mut self,
        node: usize,
        from: usize,
        of: usize,
        page: Vec<(u64, Receipt)>,
    ) {
        let (life, peer) = (self.hosts[node].life, validator(from));
        let question = Question::Receipts { of: validator(of) };
        let result = Ok(PeerAnswer::Receipts(page));
        self.deliver(node, life, Event::PeerAnswered { peer, question, result });
    }

    pub(super) fn runs_started_at(&self, node: usize) -> usize {
        self.notes(node, |note| matches!(note, Note::RunStarted { .. }))
    }

    pub(super) fn runs_started(&self) -> usize {
        (0..self.hosts.len()).map(|node| self.runs_started_at(node)).sum()
    }

    pub(super) fn is_running(&self, node: usize) -> bool {
        !self.hosts[node].containers.is_empty()
    }

    /// Tokens of the latest grants of a submission's replicas at `node`, in order.
    pub(super) fn attempts_at(&self, node: usize, id: SubmissionId) -> Vec<u32> {
        let leases = self.hosts[node].machine().leases();
        let theirs = leases.filter(|lease| lease.row().assignment.submission == id);
        theirs.map(|lease| lease.row().attempt.0).collect()
    }

    /// Whose receipts for a submission count at `node`.
    pub(super) fn claimants_at(&self, node: usize, id: SubmissionId) -> Vec<usize> {
        let claims = self.hosts[node].machine().explain(&id).claims;
        let index = |claim| (0..self.hosts.len()).find(|index| validator(*index) == claim);
        claims.into_iter().map(|claim| index(claim).unwrap()).collect()
    }

    pub(super) fn is_admitted_at(&self, node: usize, id: SubmissionId) -> bool {
        self.state(node, id).is_some_and(|state| state.is_admitted())
    }
}

impl World {
    /// A grant of the submission's first replica by `coordinator`, as it may have been made.
    pub(super) fn granted_before(&self, id: SubmissionId, coordinator: usize) -> Grant {
        let mut known = self.hosts.iter().filter(|host| host.is_up()).flat_map(|host| {
            let policy = host.config.policy.digest();
            let submissions = host.machine().submissions().filter(|known| known.id == id);
            submissions.map(move |known| Assignment::derive(known, (1, 0), 0, policy))
        });
        let assignment = known.next().expect("somebody knows the submission");
        let attempt = Attempt(1);
        let coordinator = validator(coordinator);
        let lease = lease_id(&assignment.id, &coordinator, attempt);
        let total_ms = self.hosts[0].config.policy.limits_in(assignment.tier).lease_total_ms();
        let ttl_ms = LEASE_TTL_MS;
        Grant { lease, assignment, attempt, coordinator, ttl_ms, total_ms }
    }
}
