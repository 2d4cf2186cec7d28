//! What a run leaves behind, and its signed form.
//!
//! Numbers that two validators compare are integers. A [`Receipt`] is signed over
//! [`Evidence::digest`], which covers every field, so the wire format can change without
//! invalidating signatures.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{
    AssignmentId, Attempt, BlockHash, ContentDigest, Digest, DigestBuilder, Hotkey, LeaseId,
    Netuid, RunId, Salt, Signature, SubmissionId,
};
use crate::outcome::Ending;
use crate::reward::Fingerprint;
use crate::trial::Trial;
use crate::unit::UnixMs;

/// What the meter measured. Set only for runs that completed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// Sum of the losses of all scored tokens, in 1e-9 nats.
    pub sum_nll_nanonats: u64,
    /// Bytes of text that those tokens cover.
    pub covered_bytes: u64,
    /// Tokens scored.
    pub tokens: u64,
    /// Batches scored.
    pub batches: u32,
    /// Batches with missing, infinite or unnormalised predictions.
    pub bad_batches: u32,
    /// Audits made, all passed.
    pub audits: u32,
    /// Mean loss of the first batch per token, in 1e-9 nats.
    pub step0_loss_nanonats: u64,
    /// Entries of the vocabulary.
    pub vocabulary: u32,
    /// Bits per byte of the held-out text before the first batch, times 1e9.
    pub heldout_init_nanobpb: u64,
    /// Bits per byte of the held-out text after the last batch, times 1e9.
    pub heldout_nanobpb: u64,
    /// Bits per byte of the last tenth of the training text, times 1e9.
    pub last_tenth_nanobpb: u64,
    /// Parameters of the model after its first forward pass.
    pub parameters: u64,
    /// Most memory the container used, bytes; zero where the engine does not say.
    pub peak_memory_bytes: u64,
    /// Bits per byte over the run, times 1e6, at most [`crate::limits::LOSS_CURVE_POINTS_MAX`].
    pub loss_curve_microbpb: Vec<u32>,
    /// How the run went beside its losses.
    #[serde(default)]
    pub conduct: Conduct,
}

/// How a run went, beside its losses: for people, never part of a score. All zero in results from
/// before it was noted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conduct {
    /// Training positions whose predictions were asked for: as many as tokens, or a sample of them.
    pub scored_positions: u64,
    /// Batches whose targets the submission got; fewer than it was scored on if it stopped early.
    pub trained_batches: u32,
    /// Milliseconds that the container ran.
    pub wall_ms: u64,
    /// Most memory of its devices that it used, bytes. A claim of the container.
    pub peak_device_bytes: u64,
    /// How often each hook that is there was called; empty under the loop contract. A claim of
    /// the container.
    pub hooks_used: BTreeMap<Hook, u32>,
    /// What the untrained model's operators, as they were traced, amount to; `None` where they were
    /// not or could not be. A claim of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Fingerprint>,
    /// What the gate of the untrained model found, where the policy only reports it.
    pub flags: BTreeSet<Flag>,
    /// Parameters that got no gradient from a first batch of random tokens; `None` where that was
    /// not looked at. A claim of the container.
    pub idle_parameters: Option<u64>,
    /// Parameters of tables that are looked up by token or position; `None` of a result from before
    /// they were counted. A claim of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_parameters: Option<u64>,
    /// What a run of the probe tasks came to, by task, ascending; nothing where a text was learned.
    /// At most [`PROBE_TASKS_MAX`](crate::limits::PROBE_TASKS_MAX).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<ProbeFigure>,
}

/// Something that a gate in shadow found in the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// Predictions of the untrained model changed with tokens that come later.
    NotCausal,
    /// It predicted a sequence otherwise beside other sequences.
    BatchDependent,
    /// Its predictions were not finite, or no distributions.
    NotFinite,
    /// It raised an exception.
    Raised,
}

impl Flag {
    /// All of them, in their order on the wire, which only grows at its end.
    pub const ALL: [Self; 4] =
        [Self::NotCausal, Self::BatchDependent, Self::NotFinite, Self::Raised];

    /// Its public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotCausal => "not_causal",
            Self::BatchDependent => "batch_dependent",
            Self::NotFinite => "not_finite",
            Self::Raised => "raised",
        }
    }

    /// What the gate of the untrained model found in a run that it ended so.
    #[must_use]
    pub fn of_ending(ending: &Ending) -> Option<Self> {
        // The other endings are not the gate's.
        if matches!(ending, Ending::UntrainedNotCausal { .. }) {
            Some(Self::NotCausal)
        } else if matches!(ending, Ending::UntrainedBatchDependent { .. }) {
            Some(Self::BatchDependent)
        } else if matches!(ending, Ending::UntrainedNotFinite { .. }) {
            Some(Self::NotFinite)
        } else {
            None
        }
    }
}

/// What a model came to in a probe task, over all answers that were asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeFigure {
    /// Its place among the challenge's tasks, whose list only grows at its end.
    pub task: u8,
    /// How far it is from the floor to perfect understanding, of 1,000,000.
    pub score_ppm: u32,
    /// Mean loss of an answer, in 1e-6 nats.
    pub loss_micronats: u32,
    /// The same of a reader who sees which tokens are there and not where.
    pub floor_micronats: u32,
}

/// A function that a submission may define under the hook contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// `get_recipe(ctx)`, which is what makes a submission one of hooks.
    GetRecipe,
    /// `configure_optimizer(model, recipe, ctx)`.
    ConfigureOptimizer,
    /// `compute_loss(model, batch, ctx)`.
    ComputeLoss,
    /// `train_step(model, batch, optimizer, ctx)`.
    TrainStep,
    /// `inference_logits(model, batch, ctx)`.
    InferenceLogits,
    /// `infer(model, batch, ctx)`, not called where there is `inference_logits`.
    Infer,
}

impl Hook {
    /// All of them, in their order on the wire, which only grows at its end.
    pub const ALL: [Self; 6] = [
        Self::GetRecipe,
        Self::ConfigureOptimizer,
        Self::ComputeLoss,
        Self::TrainStep,
        Self::InferenceLogits,
        Self::Infer,
    ];

    /// The function's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GetRecipe => "get_recipe",
            Self::ConfigureOptimizer => "configure_optimizer",
            Self::ComputeLoss => "compute_loss",
            Self::TrainStep => "train_step",
            Self::InferenceLogits => "inference_logits",
            Self::Infer => "infer",
        }
    }
}

/// What a run leaves behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The chain.
    pub genesis: BlockHash,
    /// The subnet.
    pub netuid: Netuid,
    /// What was evaluated.
    pub assignment: AssignmentId,
    /// Of which submission.
    pub submission: SubmissionId,
    /// In which stage of the funnel.
    #[serde(default = "first_tier")]
    pub tier: u8,
    /// In which unit of it.
    #[serde(default)]
    pub unit: u8,
    /// With this content.
    pub content: ContentDigest,
    /// Under which lease.
    pub lease: LeaseId,
    /// With which fencing token.
    pub attempt: Attempt,
    /// The execution.
    pub run: RunId,
    /// Who granted the lease.
    pub coordinator: Hotkey,
    /// Who ran it.
    pub worker: Hotkey,
    /// The rules.
    pub policy: Digest,
    /// The data set.
    pub dataset: Digest,
    /// The evaluator image's id.
    pub image: Digest,
    /// What it ran on, in words.
    pub device: String,
    /// How it ended.
    pub ending: Ending,
    /// What was measured, if it completed.
    pub metrics: Option<Metrics>,
    /// When it started, by the worker's wall clock.
    pub started_at: UnixMs,
    /// When it ended.
    pub ended_at: UnixMs,
    /// Drawn once per result; what [`Evidence::sealed`] says is secret for as long as this is.
    pub salt: Salt,
    /// What the coordinator had fixed as its own result when it was shown this one; `None` if
    /// nothing. Whoever is shown a result before fixing its own says nothing new about it.
    pub coordinator_sealed: Option<Digest>,
    /// Other coordinators that were shown it before, likewise: one of them may have taken no
    /// receipt for it, or may keep that to itself. At most
    /// [`SHOWN_BEFORE_MAX`](crate::limits::SHOWN_BEFORE_MAX).
    #[serde(default)]
    pub shown_before: BTreeMap<Hotkey, Option<Digest>>,
}

/// The tier of evidence that was written before there were several.
fn first_tier() -> u8 {
    1
}

/// Evidence signed by the worker's hotkey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// What happened.
    pub evidence: Evidence,
    /// The worker's signature over [`Evidence::signing_message`].
    pub signature: Signature,
}

impl Metrics {
    fn digest(&self) -> [u8; 32] {
        let Self {
            sum_nll_nanonats,
            covered_bytes,
            tokens,
            batches,
            bad_batches,
            audits,
            step0_loss_nanonats,
            vocabulary,
            heldout_init_nanobpb,
            heldout_nanobpb,
            last_tenth_nanobpb,
            parameters,
            peak_memory_bytes,
            loss_curve_microbpb,
            conduct,
        } = self;
        let head = DigestBuilder::new("assay/metrics/v1")
            .number(*sum_nll_nanonats)
            .number(*covered_bytes)
            .number(*tokens)
            .number(u64::from(*batches))
            .number(u64::from(*bad_batches))
            .number(u64::from(*audits))
            .number(*step0_loss_nanonats)
            .number(u64::from(*vocabulary))
            .number(*heldout_init_nanobpb)
            .number(*heldout_nanobpb)
            .number(*last_tenth_nanobpb)
            .number(*parameters)
            .number(*peak_memory_bytes)
            .number(loss_curve_microbpb.len() as u64);
        let head = head.numbers(loss_curve_microbpb.iter().map(|point| u64::from(*point)));
        conduct.append_to(head).finish()
    }
}

impl Conduct {
    /// Nothing where all is zero: the digest is then that of a result from before it was noted.
    fn append_to(&self, digest: DigestBuilder) -> DigestBuilder {
        if *self == Self::default() {
            return digest;
        }
        let Self {
            scored_positions,
            trained_batches,
            wall_ms,
            peak_device_bytes,
            hooks_used,
            architecture,
            flags,
            idle_parameters,
            embedding_parameters,
            probes,
        } = self;
        let digest = digest
            .number(*scored_positions)
            .number(u64::from(*trained_batches))
            .number(*wall_ms)
            .number(*peak_device_bytes)
            .number(hooks_used.len() as u64);
        let digest = hooks_used.iter().fold(digest, |digest, (hook, uses)| {
            digest.bytes(hook.name().as_bytes()).number(u64::from(*uses))
        });
        // Only where there is something, each under a name of its own: results from before it was
        // noted keep their digest.
        let digest = architecture.iter().fold(digest, |digest, architecture| {
            let labels = architecture.labels();
            let digest = digest.bytes(b"architecture").number(labels.len() as u64);
            digest.numbers(labels.iter().copied())
        });
        let digest = flags.iter().fold(digest, |digest, flag| digest.bytes(flag.name().as_bytes()));
        let digest = idle_parameters
            .iter()
            .fold(digest, |digest, idle| digest.bytes(b"idle_parameters").number(*idle));
        let digest = embedding_parameters
            .iter()
            .fold(digest, |digest, count| digest.bytes(b"embedding_parameters").number(*count));
        probes.iter().fold(digest, |digest, figure| figure.append_to(digest))
    }
}

impl ProbeFigure {
    fn append_to(self, digest: DigestBuilder) -> DigestBuilder {
        let Self { task, score_ppm, loss_micronats, floor_micronats } = self;
        let numbers = [u32::from(task), score_ppm, loss_micronats, floor_micronats];
        digest.bytes(b"probe").numbers(numbers.map(u64::from))
    }
}

impl Evidence {
    /// Covers every field: adding one without hashing it does not compile.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest_with(self.metrics_digest())
    }

    /// What a worker promises in a seal: fixes the result for the whole evaluation, under whichever
    /// lease, and says nothing about it before the salt is known.
    #[must_use]
    pub fn sealed(&self) -> Digest {
        self.sealed_with(self.metrics_digest())
    }

    /// [`Evidence::digest`] and [`Evidence::sealed`] for the price of one: most of it are the
    /// metrics.
    #[must_use]
    pub fn digest_and_sealed(&self) -> (Digest, Digest) {
        let metrics = self.metrics_digest();
        (self.digest_with(metrics), self.sealed_with(metrics))
    }

    /// What was evaluated.
    #[must_use]
    pub fn trial(&self) -> Trial {
        Trial { submission: self.submission, tier: self.tier, unit: self.unit }
    }

    fn metrics_digest(&self) -> Option<[u8; 32]> {
        self.metrics.as_ref().map(Metrics::digest)
    }

    fn digest_with(&self, metrics_digest: Option<[u8; 32]>) -> Digest {
        let Self {
            genesis,
            netuid,
            assignment,
            submission,
            tier,
            unit,
            content,
            lease,
            attempt,
            run,
            coordinator,
            worker,
            policy,
            dataset,
            image,
            device,
            ending,
            metrics: _,
            started_at,
            ended_at,
            salt,
            coordinator_sealed,
            shown_before,
        } = self;
        let digest = DigestBuilder::new("assay/evidence/v1")
            .bytes(&genesis.0)
            .number(u64::from(netuid.0))
            .bytes(&assignment.0)
            .bytes(&submission.0)
            .bytes(&[*tier, *unit])
            .bytes(&content.0)
            .bytes(&lease.0)
            .number(u64::from(attempt.0))
            .bytes(&run.0)
            .bytes(&coordinator.0)
            .bytes(&worker.0)
            .bytes(&policy.0)
            .bytes(&dataset.0)
            .bytes(&image.0)
            .bytes(device.as_bytes())
            .bytes(ending.name().as_bytes())
            .bytes(ending.to_string().as_bytes())
            .bytes(metrics_digest.as_ref().map_or(&[], |digest| digest))
            .number(started_at.0)
            .number(ended_at.0)
            .bytes(&salt.0)
            .bytes(sealed_bytes(coordinator_sealed.as_ref()));
        // The last of all, so their number need not be there: where there are none the digest is
        // that of evidence from before there was such a field.
        let digest = shown_before.iter().fold(digest, |digest, (coordinator, sealed)| {
            digest.bytes(&coordinator.0).bytes(sealed_bytes(sealed.as_ref()))
        });
        Digest(digest.finish())
    }

    fn sealed_with(&self, metrics_digest: Option<[u8; 32]>) -> Digest {
        let digest = DigestBuilder::new("assay/sealed-result/v1")
            .bytes(&self.genesis.0)
            .number(u64::from(self.netuid.0))
            .bytes(&self.submission.0)
            .bytes(&[self.tier, self.unit])
            .bytes(&self.policy.0)
            .bytes(&self.dataset.0)
            .bytes(&self.worker.0)
            .bytes(self.ending.name().as_bytes())
            .bytes(self.ending.to_string().as_bytes())
            .bytes(metrics_digest.as_ref().map_or(&[], |digest| digest))
            .bytes(&self.salt.0);
        Digest(digest.finish())
    }

    /// The coordinators that were shown it, its worker left out, and what each had fixed then.
    pub fn shown_to(&self) -> impl Iterator<Item = (Hotkey, Option<Digest>)> + '_ {
        let before = self.shown_before.iter().map(|(shown, sealed)| (*shown, *sealed));
        let now = std::iter::once((self.coordinator, self.coordinator_sealed));
        before.chain(now).filter(|(shown, _)| *shown != self.worker)
    }

    /// Whether this is the same result, under whichever lease.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.ending == other.ending && self.metrics == other.metrics
    }

    /// What the worker signs.
    #[must_use]
    pub fn signing_message(&self) -> Vec<u8> {
        [b"assay/receipt/v1".as_slice(), &self.digest().0].concat()
    }
}

fn sealed_bytes(sealed: Option<&Digest>) -> &[u8] {
    sealed.map_or(&[], |sealed| &sealed.0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run of the development policy with this sum of losses.
    pub(crate) fn metrics(sum_nll_nanonats: u64) -> Metrics {
        Metrics {
            sum_nll_nanonats,
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
            parameters: 1000,
            peak_memory_bytes: 0,
            loss_curve_microbpb: Vec::new(),
            conduct: Conduct::default(),
        }
    }

    fn evidence() -> Evidence {
        Evidence {
            genesis: BlockHash([1; 32]),
            netuid: Netuid(2),
            assignment: AssignmentId([3; 32]),
            submission: SubmissionId([4; 32]),
            tier: 1,
            unit: 0,
            content: ContentDigest([5; 32]),
            lease: LeaseId([6; 32]),
            attempt: Attempt(7),
            run: RunId([8; 32]),
            coordinator: Hotkey([9; 32]),
            worker: Hotkey([10; 32]),
            policy: Digest([11; 32]),
            dataset: Digest([12; 32]),
            image: Digest([13; 32]),
            device: "cpu_slot (one CPU)".to_owned(),
            ending: Ending::OutOfMemory,
            metrics: None,
            started_at: UnixMs(14),
            ended_at: UnixMs(15),
            salt: Salt([16; 32]),
            coordinator_sealed: None,
            shown_before: BTreeMap::new(),
        }
    }

    #[test]
    fn a_promise_is_the_same_under_every_lease_and_another_for_each_result_worker_and_salt() {
        let promise = evidence().sealed();
        assert_eq!(evidence().digest_and_sealed(), (evidence().digest(), promise));
        let again = Evidence {
            assignment: AssignmentId([0; 32]),
            lease: LeaseId([0; 32]),
            attempt: Attempt(8),
            run: RunId([0; 32]),
            coordinator: Hotkey([0; 32]),
            coordinator_sealed: Some(Digest([0; 32])),
            shown_before: [(Hotkey([0; 32]), None)].into(),
            ..evidence()
        };
        assert_eq!(again.sealed(), promise);
        assert_ne!(again.digest(), evidence().digest());
        for other in [
            Evidence { ending: Ending::NotCausal { batch: 1 }, ..evidence() },
            Evidence { worker: Hotkey([0; 32]), ..evidence() },
            Evidence { submission: SubmissionId([0; 32]), ..evidence() },
            Evidence { tier: 2, ..evidence() },
            Evidence { unit: 1, ..evidence() },
            Evidence { policy: Digest([0; 32]), ..evidence() },
            Evidence { dataset: Digest([0; 32]), ..evidence() },
            Evidence { salt: Salt([0; 32]), ..evidence() },
        ] {
            assert_ne!(other.sealed(), promise, "{other:?}");
        }
    }

    #[test]
    fn how_a_run_went_is_signed_and_results_without_it_keep_their_digest() {
        let with = |conduct: Conduct| {
            let metrics = Some(Metrics { conduct, ..metrics(7) });
            Evidence { metrics, ..evidence() }.digest()
        };
        let none = with(Conduct::default());
        // Computed before there was such a field.
        assert_eq!(
            Digest(metrics(7).digest()).to_string(),
            "11f4a857ffa16e83de3c8fbb7698585b2428bb7a5dee5e4ab8435bfd0069f1a7"
        );
        let uses = |uses| [(Hook::TrainStep, uses)].into();
        let probe = |task, floor_micronats| ProbeFigure {
            task,
            score_ppm: 1,
            loss_micronats: 2,
            floor_micronats,
        };
        let labels = |labels: &[u64]| Some(Fingerprint::try_from(labels.to_vec()).unwrap());
        let all = [
            Conduct { scored_positions: 1, ..Conduct::default() },
            Conduct { trained_batches: 1, ..Conduct::default() },
            Conduct { wall_ms: 1, ..Conduct::default() },
            Conduct { peak_device_bytes: 1, ..Conduct::default() },
            Conduct { hooks_used: uses(0), ..Conduct::default() },
            Conduct { hooks_used: uses(1), ..Conduct::default() },
            Conduct { architecture: labels(&[1]), ..Conduct::default() },
            Conduct { architecture: labels(&[1, 2]), ..Conduct::default() },
            Conduct { flags: [Flag::NotCausal].into(), ..Conduct::default() },
            Conduct { flags: Flag::ALL.into(), ..Conduct::default() },
            Conduct { idle_parameters: Some(0), ..Conduct::default() },
            Conduct { idle_parameters: Some(1), ..Conduct::default() },
            Conduct { embedding_parameters: Some(1), ..Conduct::default() },
            Conduct { probes: vec![probe(0, 3)], ..Conduct::default() },
            Conduct { probes: vec![probe(0, 4)], ..Conduct::default() },
            Conduct { probes: vec![probe(0, 3), probe(1, 3)], ..Conduct::default() },
        ];
        let digests: std::collections::BTreeSet<_> = all.into_iter().map(with).collect();
        assert_eq!(digests.len(), 16);
        assert!(!digests.contains(&none));
        let old = serde_json::to_value(metrics(7)).unwrap();
        let mut without = old.clone();
        without.as_object_mut().unwrap().remove("conduct").unwrap();
        assert_eq!(serde_json::from_value::<Metrics>(without).unwrap(), metrics(7));
    }

    #[test]
    fn a_signature_covers_the_salt_and_what_the_coordinator_had_fixed() {
        let digest = evidence().digest();
        assert_ne!(Evidence { salt: Salt([0; 32]), ..evidence() }.digest(), digest);
        let sealed = Some(Digest([0; 32]));
        assert_ne!(Evidence { coordinator_sealed: sealed, ..evidence() }.digest(), digest);
        let shown = |sealed| {
            let shown_before = [(Hotkey([1; 32]), sealed)].into();
            Evidence { shown_before, ..evidence() }.digest()
        };
        assert_ne!(shown(None), digest);
        assert_ne!(shown(None), shown(sealed));
    }
}
