//! A subnet with many evaluations, all of them coordinated by one node.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use node_chain::Keypair;
use node_core::assignment::{coordinators_among, Assignment};
use node_core::commitment::Location;
use node_core::evidence::{Conduct, Evidence, Metrics, Receipt};
use node_core::id::{
    Attempt, BlockHash, ContentDigest, Digest, DigestBuilder, Hotkey, HotkeySigner, Netuid, RunId,
    Salt, Uid,
};
use node_core::lease::{AcquireRequest, Grant, LeaseRow, LeaseState, Seal, Spent};
use node_core::machine::event::{Event, Restarted};
use node_core::machine::{Machine, MachineConfig, WeightsMode};
use node_core::outcome::Ending;
use node_core::policy::Policy;
use node_core::rows::Row;
use node_core::submission::{Submission, SubmissionState};
use node_core::submit_guard::CommitForm;
use node_core::unit::{BlockCount, BlockNumber, UnixMs};
use node_core::view::{ChainView, CommitmentRecord, Neuron, SubnetParams};
use node_peer::NodeIdentity;

use crate::Failed;

pub(crate) const GENESIS: BlockHash = BlockHash([0x9e; 32]);
pub(crate) const NETUID: Netuid = Netuid(7);
const IMAGE: Digest = Digest([1; 32]);
const DATASET: Digest = Digest([2; 32]);
const SEED: BlockHash = BlockHash([5; 32]);

/// Points of a receipt's loss curve: as a run of the development policy leaves them.
const CURVE_POINTS: u32 = 195;

/// The tier that every submission is evaluated in.
const TIER: u8 = 1;

pub(crate) fn coordinator() -> Result<Keypair, Failed> {
    Ok(Keypair::from_uri("//coordinator")?)
}

pub(crate) fn worker(number: usize) -> Result<Keypair, Failed> {
    Ok(Keypair::from_uri(&format!("//worker{number}"))?)
}

pub(crate) fn identity(hotkey: Hotkey) -> NodeIdentity {
    let software_version = "benchmark".to_owned();
    NodeIdentity { hotkey, genesis: GENESIS, netuid: NETUID, software_version }
}

/// The rules: one replica is enough.
pub(crate) fn policy() -> Policy {
    let mut policy = Policy::dev();
    policy.agreement.replicas = 1;
    policy
}

pub(crate) fn acquire_request(leases_max: u32) -> AcquireRequest {
    let policy = policy();
    AcquireRequest {
        device: policy.run.device,
        leases_max,
        image: IMAGE,
        dataset: DATASET,
        policy: policy.digest(),
    }
}

/// All validators of the subnet, the coordinator first, and its evaluations.
pub(crate) struct World {
    validators: Vec<Hotkey>,
    submissions: Vec<Submission>,
}

impl World {
    /// One evaluation per miner, each of a content that the first validator coordinates.
    pub(crate) fn new(evaluations: usize, workers: usize) -> Result<Self, Failed> {
        let mut validators = vec![coordinator()?.public()];
        for number in 0..workers {
            validators.push(worker(number)?.public());
        }
        let submissions = (0..evaluations as u64).map(|n| submission(n, &validators)).collect();
        Ok(Self { validators, submissions })
    }

    /// What an earlier life stored: everything admitted, and a lease opened for each.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let policy = policy().digest();
        let lease = |submission: &Submission| {
            Row::Lease(Box::new(LeaseRow {
                assignment: Assignment::derive(submission, (TIER, 0), 0, policy),
                attempt: Attempt(0),
                spent: Spent::default(),
                state: LeaseState::Open,
                reopened: Vec::new(),
            }))
        };
        let rows = |submission| [Row::Submission(Submission::clone(submission)), lease(submission)];
        self.submissions.iter().flat_map(rows).collect()
    }

    /// The node's start with these rows.
    pub(crate) fn restarted(rows: Vec<Row>) -> Event {
        Event::Restarted(Box::new(Restarted { rows, ..Restarted::default() }))
    }

    /// The block that shows all of it.
    pub(crate) fn view(&self) -> ChainView {
        let neuron = |(uid, hotkey): (u16, &Hotkey)| Neuron {
            uid: Uid(uid),
            hotkey: *hotkey,
            stake_rao: 10,
            validator_permit: true,
            axon: Some(SocketAddr::from(([127, 0, 0, 1], 1))),
            ..Neuron::default()
        };
        // Without their seeds: what they mean is known already.
        let commitment = |submission: &Submission| CommitmentRecord {
            hotkey: submission.hotkey,
            block: submission.committed_at,
            bytes: Vec::new(),
            seed_block_hash: None,
        };
        ChainView {
            genesis: GENESIS,
            netuid: NETUID,
            number: BlockNumber(10),
            neurons: (0..).zip(&self.validators).map(neuron).collect(),
            params: SubnetParams {
                tempo: BlockCount(360),
                stake_threshold_rao: 10,
                ..SubnetParams::default()
            },
            commitments: self.submissions.iter().map(commitment).collect(),
            ..ChainView::default()
        }
    }

    pub(crate) fn machine(&self) -> Result<Machine, Failed> {
        Ok(Machine::new(MachineConfig {
            hotkey: coordinator()?.public(),
            netuid: NETUID,
            mechanism: 0,
            policy: policy(),
            image: IMAGE,
            dataset: DATASET,
            endpoints: BTreeMap::new(),
            weights: WeightsMode::Off,
            weights_lead: BlockCount(100),
            commit_form: CommitForm::default(),
            review: None,
        }))
    }
}

fn submission(number: u64, validators: &[Hotkey]) -> Submission {
    let miner = Hotkey(DigestBuilder::new("benchmark/miner").number(number).finish());
    let contents = (0..).map(|n| {
        ContentDigest(DigestBuilder::new("benchmark/content").number(number).number(n).finish())
    });
    // The order of two validators does not depend on the others.
    let (first, others) = validators.split_first().unwrap_or((&Hotkey([0; 32]), &[]));
    let is_ours = |content: &ContentDigest| {
        others.iter().all(|other| coordinators_among(&[*first, *other], &miner, content)[0] == 0)
    };
    let content = { contents }.find(is_ours).unwrap_or(ContentDigest([0; 32]));
    let mut submission =
        Submission::committed(miner, BlockNumber(5), content, Location::Peers, SEED);
    submission.state = SubmissionState::Admitted;
    submission
}

/// What a worker of a lease measured, and the signed seal of it.
pub(crate) fn result(key: &Keypair, grant: &Grant) -> (Evidence, Seal) {
    let worker = key.public();
    let assignment = &grant.assignment;
    let run = DigestBuilder::new("assay/run/v1").bytes(&worker.0).bytes(&grant.lease.0).finish();
    let evidence = Evidence {
        genesis: GENESIS,
        netuid: NETUID,
        assignment: assignment.id,
        submission: assignment.submission,
        tier: assignment.tier,
        unit: assignment.unit,
        content: assignment.content,
        lease: grant.lease,
        attempt: grant.attempt,
        run: RunId(run),
        coordinator: grant.coordinator,
        worker,
        policy: assignment.policy,
        dataset: DATASET,
        image: IMAGE,
        device: "cpu_slot (one CPU)".to_owned(),
        ending: Ending::Completed,
        metrics: Some(metrics()),
        started_at: UnixMs(1_700_000_000_000),
        ended_at: UnixMs(1_700_000_060_000),
        salt: Salt(run),
        coordinator_sealed: None,
        shown_before: BTreeMap::new(),
    };
    let signature = key.sign(&Seal::message_for(&evidence));
    let seal = Seal::of(&evidence, signature);
    (evidence, seal)
}

/// What is shown once the coordinator has the seal.
pub(crate) fn receipt(key: &Keypair, evidence: Evidence) -> Receipt {
    let signature = key.sign(&evidence.signing_message());
    Receipt { evidence, signature }
}

fn metrics() -> Metrics {
    Metrics {
        sum_nll_nanonats: 400_000_000_000_000,
        covered_bytes: 200_000,
        tokens: 200_000,
        batches: 195,
        bad_batches: 0,
        audits: 5,
        step0_loss_nanonats: 5_545_177_444,
        vocabulary: 256,
        heldout_init_nanobpb: 8_000_000_000,
        heldout_nanobpb: 2_000_000_000,
        last_tenth_nanobpb: 2_000_000_000,
        parameters: 1_000_000,
        peak_memory_bytes: 100 << 20,
        loss_curve_microbpb: (0..CURVE_POINTS).map(|n| 8_000_000 - n * 30_000).collect(),
        conduct: Conduct::default(),
    }
}
