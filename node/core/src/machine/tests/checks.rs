//! What must hold at all times, and what must have held when all is over.

use std::collections::BTreeSet;

use super::world::{validator, Asked, World};
use crate::evidence::Evidence;
use crate::id::{AssignmentId, Hotkey};
use crate::lease::{LeaseAnswer, PeerAnswer, PeerRequest};
use crate::machine::effect::Note;

impl World {
    pub(super) fn check(&self) {
        for host in &self.hosts {
            let live = self.chain.live(&host.hotkey());
            assert!(live <= 1, "{live} signatures of {} could still land", host.hotkey());
            host.check_containers();
        }
    }

    /// The vector of one epoch lands once at most.
    pub(super) fn check_landed(&self) {
        let mut landed = BTreeSet::new();
        for each in &self.chain.landed {
            assert!(landed.insert(each.call.intent), "an epoch's vector landed twice: {each:?}");
        }
    }

    /// Called when an answer is about to leave `node`.
    pub(super) fn promise(&mut self, node: usize, asked: &Asked, answer: &PeerAnswer) {
        let coordinator = validator(node);
        if let PeerAnswer::Acquired(Ok(grants)) = answer {
            let holder = validator(asked.node);
            for grant in grants {
                let (assignment, attempt) = (grant.assignment.id, grant.attempt.0);
                let before = self.granted.insert((coordinator, assignment, attempt), holder);
                assert_eq!(before, None, "attempt {attempt} was granted twice");
                self.check_nobody_runs(coordinator, assignment);
            }
        }
        let is_acknowledged = matches!(
            answer,
            PeerAnswer::Completed(LeaseAnswer::Accepted | LeaseAnswer::AlreadyDone)
        );
        if let (PeerRequest::Complete(receipt), true) = (&asked.request, is_acknowledged) {
            self.acknowledged.insert((node, receipt.evidence.digest()));
        }
        self.check_promises(node);
    }

    /// A lease is given away only when whoever held it before has stopped, or cannot know.
    fn check_nobody_runs(&self, coordinator: Hotkey, assignment: AssignmentId) {
        if self.was_forgetful {
            return;
        }
        for host in self.hosts.iter().filter(|host| host.is_up() && !host.is_paused) {
            for run in host.machine().runs().filter(|run| run.holds_device()) {
                // The machine of a loop that hangs does not know yet what was stopped for it.
                if host.is_hung && !host.containers.contains_key(&run.row.run) {
                    continue;
                }
                let is_same = run.row.grant.coordinator == coordinator
                    && run.row.grant.assignment.id == assignment;
                assert!(!is_same, "{} still runs what is granted anew", host.hotkey());
            }
        }
    }

    /// What left the node is on its disk.
    pub(super) fn check_promises(&self, node: usize) {
        let (disk, hotkey) = (&self.hosts[node].disk, validator(node));
        for (coordinator, assignment, attempt) in self.granted.keys() {
            if *coordinator == hotkey {
                assert!(disk.lease_attempt(assignment) >= *attempt, "a granted lease was lost");
            }
        }
        for (at, evidence) in &self.acknowledged {
            assert!(*at != node || disk.has_receipt(evidence), "an accepted receipt was lost");
        }
    }

    /// Nothing was scored twice, and nothing by a grant that never was.
    pub(super) fn check_scores(&self) {
        for host in &self.hosts {
            let mut settled = BTreeSet::new();
            for note in &host.notes {
                let (Note::SubmissionScored { submission, .. }
                | Note::SubmissionFailed { submission, .. }) = note
                else {
                    continue;
                };
                // With more replicas a verdict that was reached alone may be replaced.
                let is_new = settled.insert(*submission);
                let replicas = host.config.policy.agreement.replicas;
                assert!(is_new || replicas > 1, "settled twice: {submission}");
            }
            for row in host.disk.receipts() {
                let Evidence { coordinator, assignment, attempt, worker, .. } =
                    &row.receipt.evidence;
                let holder = self.granted.get(&(*coordinator, *assignment, attempt.0));
                assert_eq!(holder, Some(worker), "a receipt of a stale or invented attempt");
            }
        }
    }

    /// Every node's submissions and leases, for a failed test.
    pub(super) fn picture(&self) -> String {
        let mut lines = vec![format!("seed {}, now {} ms", self.seed, self.now_ms)];
        for (node, host) in self.hosts.iter().enumerate().filter(|(_, host)| host.is_up()) {
            let machine = host.machine();
            lines.push(format!("node {node}: not safe {:?}", machine.not_safe()));
            lines
                .extend(machine.submissions().map(|s| format!("  {} {:?}", s.id.short(), s.state)));
            lines.extend(machine.leases().map(|lease| {
                let row = lease.row();
                let submission = row.assignment.submission.short();
                format!("  lease {submission} attempt {} {:?}", row.attempt, row.state)
            }));
            lines.extend(machine.runs().map(|run| format!("  {run:?}")));
            lines.extend(machine.intents().map(|i| format!("  epoch {} {:?}", i.epoch, i.state)));
        }
        lines.join("\n")
    }
}
