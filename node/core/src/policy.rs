//! A challenge's rules as data: what is allowed, what is measured, what it may cost.
//!
//! Only the policy decides what is official; nothing in a submission can. Two validators agree on
//! a policy by its digest, which every lease and receipt carries.

mod admission;
mod check;
mod duplicates;
mod scoring;
mod tokens;
mod untrained;

use serde::{Deserialize, Serialize};

pub use self::admission::{AdmissionRules, GateMode};
use crate::id::{Digest, DigestBuilder};
use crate::inventory::DeviceKind;
use crate::limits::{LEASE_START_MS_MAX, LEASE_TOTAL_MS_MAX, LEASE_TTL_MS};

pub use check::PolicyRefused;
pub use tokens::TokenRules;
pub use untrained::UntrainedRules;

pub use duplicates::{DuplicateRules, FINGERPRINT_VERSION};
pub use scoring::{
    FamilyRules, FunnelRules, Margin, PoolRules, RewardBasis, ScoringRules, TakeoverRules,
    TierRules, PPM,
};

/// The rules of the `nas` challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its name, for people.
    pub name: String,
    /// Blocks after which a hotkey's next commitment counts as a new submission.
    pub recommit_blocks: u64,
    /// Blocks after which a submission that is held is evaluated although nobody decided about it.
    pub hold_blocks: u64,
    /// Blocks for which a work is remembered that is neither on the chain nor has a place: others'
    /// later works are compared with it, and its window stays open.
    pub memory_blocks: u64,
    /// What an archive may contain.
    pub archive: ArchiveLimits,
    /// What its source may contain.
    pub admission: AdmissionRules,
    /// How a submission is measured.
    pub meter: MeterRules,
    /// What a run may use.
    pub run: RunLimits,
    /// Who has to agree on a result.
    pub agreement: Agreement,
    /// When a submission counts as another one's copy.
    pub duplicates: DuplicateRules,
    /// How results become rewards, and who is evaluated how far.
    pub scoring: ScoringRules,
}

/// Who has to agree on a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// Validators that evaluate a submission independently, where there are so many; 1 to
    /// [`crate::limits::REPLICAS_MAX`].
    pub replicas: u8,
    /// Largest difference of the bits per byte of two results that agree, of 1,000,000 parts of the
    /// larger. Sums of floating-point numbers depend on the kernels of a CPU or GPU, and training
    /// makes such differences grow.
    pub tolerance_ppm: u32,
}

/// What an archive may contain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveLimits {
    /// Bytes of the ZIP.
    pub packed_bytes_max: u64,
    /// Bytes of all files together.
    pub unpacked_bytes_max: u64,
    /// Files.
    pub files_max: u32,
    /// Characters of a path.
    pub path_chars_max: u32,
    /// File name suffixes, with the dot.
    pub suffixes: Vec<String>,
}

/// How a submission is measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterRules {
    /// Bytes of training text, the budget.
    pub train_bytes: u64,
    /// Bytes of held-out text, asked before the first and after the last batch.
    pub heldout_bytes: u64,
    /// Sequences in a batch.
    pub batch_sequences: u32,
    /// Tokens predicted per sequence.
    pub sequence_tokens: u32,
    /// Batches audited for causality, of 1,000. The first one always is.
    pub audits_per_mille: u32,
    /// Largest allowed change of an audited log-probability, in units of 1e-6 nats.
    pub audit_tolerance_micronats: u32,
    /// Parameters a model may have.
    pub parameters_max: u64,
    /// Which vocabularies it may bring.
    pub tokens: TokenRules,
}

/// What a run may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLimits {
    /// Kind of device it needs.
    pub device: DeviceKind,
    /// How many of them, 1 to [`crate::limits::GANG_DEVICES_MAX`]: all on one host and of one size,
    /// at once or not at all.
    pub device_count: u8,
    /// Memory of each GPU or slice, MiB, at least. A CPU slot has its part of `memory_mib`.
    pub device_memory_mib: u64,
    /// Memory of the container, MiB; swap is off.
    pub memory_mib: u64,
    /// Processes and threads.
    pub pids: u32,
    /// Size of its `/tmp`, MiB.
    pub tmpfs_mib: u64,
    /// Bytes on stdout and stderr together.
    pub output_bytes: u64,
    /// CPU time of all its processes for each device, at most `wall_ms`. Unlike the wall clock it
    /// does not depend on what else the host does: whoever computes all the time meets this limit
    /// first.
    pub cpu_ms: u64,
    /// Wall clock, a safety stop: a run that hits it is not scored. A tier may have several times
    /// as much, and of CPU time too: [`Policy::limits_in`].
    pub wall_ms: u64,
    /// Whether a run may get a container that was started before it, with nothing of any submission
    /// in it, and that waits with its libraries imported. Saves seconds per run, and costs each
    /// device some 300 MB of the host's memory at all times.
    pub warm_start: bool,
}

/// How much of the wall clock is left when the meter stops asking, at most: enough to say so and to
/// leave before the supervisor has to kill.
const GRACE_MS_MAX: u64 = 10_000;

impl RunLimits {
    /// When the meter gives up a run by itself, milliseconds after its start: before the wall clock
    /// of the supervisor, which kills.
    #[must_use]
    pub fn graceful_stop_ms(&self) -> u64 {
        self.wall_ms.saturating_sub(GRACE_MS_MAX.min(self.wall_ms / 20))
    }

    /// Longest time from the grant of such a run to its end, renewed or not: it may start late and
    /// take all its time, and its result has to be handed in. Never more than
    /// [`LEASE_TOTAL_MS_MAX`].
    #[must_use]
    pub fn lease_total_ms(&self) -> u64 {
        self.wall_ms.saturating_add(2 * LEASE_START_MS_MAX).min(LEASE_TOTAL_MS_MAX)
    }

    /// Whether each limit of time lies within the next: the meter's own stop, the supervisor's wall
    /// clock, the longest life of a lease with one lease's time to hand the result in. The budget
    /// of text comes before all of them; a run that does not get through it ends at the first.
    #[must_use]
    pub fn nest(&self) -> bool {
        let to_hand_in = LEASE_START_MS_MAX.saturating_add(LEASE_TTL_MS);
        self.cpu_ms <= self.wall_ms
            && self.graceful_stop_ms() < self.wall_ms
            && self.wall_ms.saturating_add(to_hand_in) < self.lease_total_ms()
    }
}

/// How far results of GPUs may lie apart and still agree: see [`Agreement`].
const GPU_TOLERANCE_PPM: u32 = 1_000;

impl Policy {
    /// The policy for a laptop and for tests: everything runs on two CPU cores in seconds.
    #[must_use]
    pub fn dev() -> Self {
        Self {
            name: "dev".to_owned(),
            recommit_blocks: 20,
            hold_blocks: 100,
            memory_blocks: 7_200,
            archive: ArchiveLimits {
                packed_bytes_max: 4 << 20,
                unpacked_bytes_max: 2_000_000,
                files_max: 200,
                path_chars_max: 200,
                suffixes: [".py", ".toml", ".yaml", ".yml", ".json", ".txt", ".md"]
                    .map(str::to_owned)
                    .to_vec(),
            },
            admission: AdmissionRules::strict(),
            meter: MeterRules {
                train_bytes: 200_000,
                heldout_bytes: 8_192,
                batch_sequences: 16,
                sequence_tokens: 64,
                audits_per_mille: 20,
                audit_tolerance_micronats: 1_000,
                parameters_max: 300_000,
                tokens: TokenRules::standard(),
            },
            run: RunLimits {
                device: DeviceKind::CpuSlot,
                device_count: 1,
                device_memory_mib: 0,
                memory_mib: 4096,
                pids: 256,
                tmpfs_mib: 64,
                output_bytes: 1 << 20,
                cpu_ms: 8 * 60 * 1000,
                wall_ms: 10 * 60 * 1000,
                warm_start: false,
            },
            agreement: Agreement { replicas: 2, tolerance_ppm: 10 },
            duplicates: DuplicateRules::default(),
            scoring: ScoringRules::dev(),
        }
    }

    /// [`Self::dev`] with one tier that is paid by its points: a submission has its weight after
    /// one run.
    #[must_use]
    pub fn quick() -> Self {
        let scoring = ScoringRules::quick();
        Self { name: "quick".to_owned(), scoring, ..Self::dev() }
    }

    /// [`Self::quick`] with the gates before the container in shadow: a project that breaks their
    /// rules is admitted with flags, and meets the container and the meter. Nobody's code is
    /// compared with another's.
    #[must_use]
    pub fn dev_open() -> Self {
        let mut policy = Self::quick();
        policy.name = "dev-open".to_owned();
        policy.admission = AdmissionRules::flagging();
        policy.duplicates = DuplicateRules::off();
        policy
    }

    /// [`Self::dev`] on GPUs: a run gets a whole one of its own.
    #[must_use]
    pub fn dev_gpu() -> Self {
        let mut policy = Self::dev();
        policy.name = "dev-gpu".to_owned();
        policy.run.device = DeviceKind::Gpu;
        policy.agreement.tolerance_ppm = GPU_TOLERANCE_PPM;
        policy
    }

    /// The policy of the challenge: on GPUs, with the first tier's budget for a run.
    #[must_use]
    pub fn standard() -> Self {
        let dev = Self::dev_gpu();
        let two_hours_ms = 2 * 60 * 60 * 1000;
        Self {
            name: "standard".to_owned(),
            recommit_blocks: 7_200,
            hold_blocks: 7_200,
            memory_blocks: 50_400,
            admission: AdmissionRules { untrained: UntrainedRules::standard(), ..dev.admission },
            meter: MeterRules {
                train_bytes: 20_000_000,
                heldout_bytes: 262_144,
                // Twice as many sequences of as many entries as are all asked for still fit into
                // what a batch may take.
                batch_sequences: 8,
                sequence_tokens: 256,
                parameters_max: 150_000_000,
                ..dev.meter
            },
            run: RunLimits {
                device_memory_mib: 16_384,
                memory_mib: 16_384,
                pids: 512,
                tmpfs_mib: 512,
                cpu_ms: two_hours_ms,
                wall_ms: two_hours_ms,
                ..dev.run
            },
            scoring: ScoringRules::standard(),
            ..dev
        }
    }

    /// What a run of a tier may use: [`Self::run`], with the tier's multiple of its time.
    #[must_use]
    pub fn limits_in(&self, tier: u8) -> RunLimits {
        let factor = self.scoring.funnel.tier(tier).map_or(1, |rules| u64::from(rules.time_factor));
        RunLimits {
            cpu_ms: self.run.cpu_ms.saturating_mul(factor),
            wall_ms: self.run.wall_ms.saturating_mul(factor),
            ..self.run.clone()
        }
    }

    /// [`Self::dev_open`] on GPUs.
    #[must_use]
    pub fn dev_gpu_open() -> Self {
        let mut policy = Self::dev_open();
        policy.name = "dev-gpu-open".to_owned();
        policy.run.device = DeviceKind::Gpu;
        policy.agreement.tolerance_ppm = GPU_TOLERANCE_PPM;
        policy
    }

    /// What two validators compare. Covers every field: adding one without hashing it does not
    /// compile.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let Self {
            name,
            recommit_blocks,
            hold_blocks,
            memory_blocks,
            archive,
            admission,
            meter,
            run,
            agreement,
            duplicates,
            scoring,
        } = self;
        let Agreement { replicas, tolerance_ppm } = agreement;
        let digest = DigestBuilder::new("assay/policy/nas/v1")
            .bytes(name.as_bytes())
            .number(*recommit_blocks)
            .number(*hold_blocks)
            .number(*memory_blocks)
            .number(u64::from(*replicas))
            .number(u64::from(*tolerance_ppm));
        let digest = run.hash_into(meter.hash_into(archive.hash_into(digest)));
        let digest = duplicates.hash_into(admission.hash(digest)).bytes(&scoring.digest().0);
        Digest(digest.finish())
    }
}

impl ArchiveLimits {
    fn hash_into(&self, digest: DigestBuilder) -> DigestBuilder {
        let Self { packed_bytes_max, unpacked_bytes_max, files_max, path_chars_max, suffixes } =
            self;
        digest
            .number(*packed_bytes_max)
            .number(*unpacked_bytes_max)
            .number(u64::from(*files_max))
            .number(u64::from(*path_chars_max))
            .bytes(suffixes.join("\n").as_bytes())
    }
}

impl MeterRules {
    fn hash_into(&self, digest: DigestBuilder) -> DigestBuilder {
        let Self {
            train_bytes,
            heldout_bytes,
            batch_sequences,
            sequence_tokens,
            audits_per_mille,
            audit_tolerance_micronats,
            parameters_max,
            tokens,
        } = self;
        digest
            .number(*train_bytes)
            .number(*heldout_bytes)
            .number(u64::from(*batch_sequences))
            .number(u64::from(*sequence_tokens))
            .number(u64::from(*audits_per_mille))
            .number(u64::from(*audit_tolerance_micronats))
            .number(*parameters_max)
            .numbers(tokens.numbers())
    }
}

impl RunLimits {
    fn hash_into(&self, digest: DigestBuilder) -> DigestBuilder {
        let Self {
            device,
            device_count,
            device_memory_mib,
            memory_mib,
            pids,
            tmpfs_mib,
            output_bytes,
            cpu_ms,
            wall_ms,
            warm_start,
        } = self;
        digest
            .bytes(device.to_string().as_bytes())
            .number(u64::from(*device_count))
            .number(*device_memory_mib)
            .number(*memory_mib)
            .number(u64::from(*pids))
            .number(*tmpfs_mib)
            .number(*output_bytes)
            .number(*cpu_ms)
            .number(*wall_ms)
            .number(u64::from(*warm_start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn all_policies() -> [Policy; 6] {
        [
            Policy::quick(),
            Policy::dev(),
            Policy::dev_gpu(),
            Policy::dev_open(),
            Policy::dev_gpu_open(),
            Policy::standard(),
        ]
    }

    #[test]
    fn the_limits_of_every_policy_nest() {
        for policy in all_policies() {
            for tier in 1..=3 {
                let limits = policy.limits_in(tier);
                assert!(limits.nest(), "{limits:?}");
            }
        }
        let standard = Policy::standard();
        let hours = |tier| standard.limits_in(tier).wall_ms / 3_600_000;
        assert_eq!([1, 2, 3].map(hours), [2, 4, 12]);
        let mut run = Policy::dev().run;
        assert_eq!((run.wall_ms, run.graceful_stop_ms()), (600_000, 590_000));
        run.wall_ms = LEASE_TOTAL_MS_MAX;
        assert!(!run.nest());
        run.wall_ms = run.cpu_ms - 1;
        assert!(!run.nest());
    }

    #[test]
    fn any_changed_limit_changes_the_digest() {
        let dev = Policy::dev();
        let mut other = Policy::dev();
        other.run.wall_ms += 1;
        assert_ne!(dev.digest(), other.digest());
        other = Policy::dev();
        other.run.cpu_ms += 1;
        assert_ne!(dev.digest(), other.digest());
        other = Policy::dev();
        other.run.device_count += 1;
        assert_ne!(dev.digest(), other.digest());
        other = Policy::dev();
        other.meter.tokens.sampled_positions += 1;
        assert_ne!(dev.digest(), other.digest());
        other = Policy::dev();
        other.duplicates.held_ppm += 1;
        assert_ne!(dev.digest(), other.digest());
        other = Policy::dev();
        other.scoring = ScoringRules::standard();
        assert_ne!(dev.digest(), other.digest());
        assert_ne!(dev.digest(), Policy::dev_gpu().digest());
        assert_ne!(dev.digest(), Policy::dev_open().digest());
        other = Policy::dev();
        other.admission.source = GateMode::Flag;
        assert_ne!(dev.digest(), other.digest());
        assert_eq!(dev.digest(), Policy::dev().digest());
    }

    #[test]
    fn a_run_of_any_policy_has_the_first_tiers_budget() {
        for policy in all_policies() {
            let first = policy.scoring.funnel.tier(1).unwrap();
            assert_eq!(policy.meter.train_bytes, first.train_bytes, "{}", policy.name);
        }
    }
}
