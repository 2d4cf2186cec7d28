//! How types of the rules look as JSON.
//!
//! Each type here repeats one of `node_core` for the schema alone; nothing is ever made of it. That
//! a repetition has the same fields and variants is proven when this is compiled: `remote` makes
//! code that takes the other type apart and puts it together again. That the names in JSON are the
//! same is proven by tests, which hold values against the schema.

#![allow(dead_code, reason = "what is derived is read, and by the compiler alone")]

use std::borrow::Cow;
use std::collections::BTreeMap;

use node_core::evidence::ProbeFigure;
use node_core::funnel::{Passage, Scale, Task, TierReport, Trainer, UnitPlan};
use node_core::health::observation::{
    ProbeFigures, ProbeResult, ProbeStep, Reading, Recovery, Sample, Throttle,
};
use node_core::health::{Action, Cause, Check, Failure, Finding, Level, Order, Standing};
use node_core::id::{AssignmentId, Attempt, Hotkey};
use node_core::inventory::{DeviceId, Nearness, Place, SliceFacts};
use node_core::lease::{Explanation, Reopened, ReplicaStanding, Spent};
use node_core::publish::KeyStanding;
use node_core::unit::{BlockNumber, UnixMs};
use schemars::{json_schema, JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// The format of times in the schema.
pub(super) const TIME_FORMAT: &str = "unix-milliseconds";

/// An identity or a digest: 64 digits.
#[derive(Debug)]
pub(in crate::status) enum HexText {}

/// A hotkey's address.
#[derive(Debug)]
pub(in crate::status) enum AddressText {}

/// A moment.
#[derive(Debug)]
pub(in crate::status) enum TimeMs {}

impl JsonSchema for HexText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "HexText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-9a-f]{64}$"})
    }
}

impl JsonSchema for AddressText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AddressText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[1-9A-HJ-NP-Za-km-z]{46,49}$"})
    }
}

impl JsonSchema for TimeMs {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TimeMs".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "format": TIME_FORMAT, "minimum": 0})
    }
}

/// How a submission stands at one node, for people and for peers.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Explanation")]
pub(in crate::status) struct ExplanationSchema {
    /// In one sentence.
    summary: String,
    /// Its replicas here, in order.
    #[schemars(with = "Vec<ReplicaStandingSchema>")]
    replicas: Vec<ReplicaStanding>,
    /// Who has a receipt that counts.
    #[schemars(with = "Vec<AddressText>")]
    claims: Vec<Hotkey>,
    /// How many replicas have to agree.
    required: u32,
}

/// One replica in an [`Explanation`].
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "ReplicaStanding")]
struct ReplicaStandingSchema {
    /// The assignment.
    #[schemars(with = "HexText")]
    assignment: AssignmentId,
    /// Its number.
    replica: u8,
    /// The latest attempt.
    #[schemars(with = "u32")]
    attempt: Attempt,
    /// Who holds or completed it.
    #[schemars(with = "Option<AddressText>")]
    holder: Option<Hotkey>,
    /// Where it stands, in words.
    state: String,
}

/// What stood there when a person opened an assignment again whose attempts were used up.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Reopened")]
pub(in crate::status) struct ReopenedSchema {
    /// The latest finalized block.
    #[schemars(with = "u64")]
    block: BlockNumber,
    /// The latest attempt; the next one has a higher number.
    #[schemars(with = "u32")]
    attempt: Attempt,
    /// What was spent; nothing is any more.
    #[schemars(with = "SpentSchema")]
    spent: Spent,
    /// How the latest attempt had ended.
    last: String,
}

/// How often an assignment was given out in vain, by cause. Each has its own limit.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Spent")]
struct SpentSchema {
    /// Its worker went away, or was told to.
    workers_lost: u32,
    /// Its worker's machine failed.
    faults: u32,
    /// It was given back or expired before the run started.
    not_started: u32,
}

/// How the key of a certificate stands to what its hotkey published. The names are public: the
/// status uses them.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", remote = "KeyStanding")]
pub(in crate::status) enum KeyStandingSchema {
    /// The chain says this key.
    Published,
    /// The chain says none: the hotkey's endorsement alone decides.
    Endorsed,
    /// The chain says another one, and the hotkey endorsed this one so lately that it may not have
    /// been able to publish it yet.
    New,
    /// The chain says another one.
    Contradicts,
}

/// Where a device sits in its host.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Place")]
pub(in crate::status) struct PlaceSchema {
    /// Its PCI address as `nvidia-smi` prints it, for example `00000000:3B:00.0`.
    pci_address: Option<String>,
    /// The NUMA node whose memory is nearest.
    numa_node: Option<u32>,
    /// How near the host's other devices are. One that is not named is as far as can be.
    #[schemars(with = "BTreeMap<String, NearnessSchema>")]
    near: BTreeMap<DeviceId, Nearness>,
}

/// How near two devices are, from far to near.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", remote = "Nearness")]
enum NearnessSchema {
    /// Only the link between NUMA nodes joins them.
    System,
    /// The same NUMA node.
    Numa,
    /// The same PCIe host bridge.
    HostBridge,
    /// The same PCIe switch, one or several.
    Switch,
    /// The same board.
    Board,
    /// So many direct links.
    NvLink {
        /// How many, 1 to 18.
        links: u8,
    },
}

/// Which part of which GPU a slice is.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "SliceFacts")]
pub(in crate::status) struct SliceFactsSchema {
    /// The GPU.
    #[schemars(with = "String")]
    parent: DeviceId,
    /// The GPU instance.
    gpu_instance: u32,
    /// The compute instance in it.
    compute_instance: u32,
}

/// How a device stands.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", remote = "Standing")]
pub(in crate::status) enum StandingSchema {
    /// It may be given runs.
    Healthy,
    /// Something was seen; what runs on it may end, nothing else begins.
    Suspect,
    /// It rests.
    Cordoned,
    /// It is being probed.
    Probing,
    /// Only a person gives it back.
    Failed,
}

/// Why a device is not trusted.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "cause", remote = "Cause")]
pub(in crate::status) enum CauseSchema {
    /// It was not probed in this life of the node.
    Unproven,
    /// An operator asked for a probe, or it was time for one.
    ProbeDue,
    /// An error of the device.
    Xid {
        /// Its number.
        code: u32,
    },
    /// An error that code can cause, with a second submission.
    XidAgain {
        /// Its number.
        code: u32,
    },
    /// A memory error that could not be corrected.
    EccUncorrected,
    /// The driver does not find it any more.
    Lost {
        /// The driver's words.
        detail: String,
    },
    /// It does not answer.
    Silent {
        /// How long it was waited for, milliseconds.
        waited_ms: u64,
    },
    /// A sensor says something critical, or cannot be read.
    Sensor {
        /// Which.
        #[schemars(with = "CheckSchema")]
        check: Check,
        /// What it says.
        detail: String,
    },
    /// Something held its clocks back for several readings.
    Throttled {
        /// What.
        detail: String,
    },
    /// Memory is in use though nothing runs: still after a run, or by somebody else.
    MemoryHeld {
        /// How much more than before, MiB.
        held_mib: u64,
    },
    /// A probe computed something wrong, hung or died.
    ProbeFailed {
        /// In which part, if it came that far.
        #[schemars(with = "Option<ProbeStepSchema>")]
        step: Option<ProbeStep>,
        /// What was found.
        detail: String,
    },
    /// A probe was much slower than this device once was.
    Slower {
        /// In which part.
        #[schemars(with = "ProbeStepSchema")]
        step: ProbeStep,
        /// Of what it once reached, percent.
        percent: u64,
    },
    /// A run could not use it, or saw another device.
    RunFailed {
        /// What was seen.
        detail: String,
    },
    /// A probe could not be started here: nothing is known.
    NoProbe {
        /// Why.
        detail: String,
    },
}

/// What an operator ordered.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Order")]
pub(in crate::status) struct OrderSchema {
    /// Whether runs that are on it are given back at once.
    is_drain: bool,
    /// Why, in the operator's words.
    reason: String,
    /// When.
    #[schemars(with = "TimeMs")]
    at: UnixMs,
}

/// One failure, kept for a day.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Failure")]
pub(in crate::status) struct FailureSchema {
    /// When.
    #[schemars(with = "TimeMs")]
    at: UnixMs,
    /// What.
    #[schemars(with = "CauseSchema")]
    cause: Cause,
}

/// How serious a finding is, from best to worst.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE", remote = "Level")]
pub(in crate::status) enum LevelSchema {
    /// As it should be.
    Pass,
    /// Worth knowing.
    Info,
    /// Nobody knows: the device has not been looked at.
    Unknown,
    /// Work goes on; somebody should look.
    Warning,
    /// No run may use the device.
    Critical,
}

/// What is looked at.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", remote = "Check")]
enum CheckSchema {
    /// Heat.
    Temperature,
    /// What holds the clocks back.
    Throttle,
    /// Memory in use.
    Memory,
    /// Memory errors.
    Ecc,
    /// Memory rows that wait to be replaced.
    RowRemap,
    /// What the driver wants done.
    Recovery,
    /// Whether it answers.
    Answer,
    /// The driver's errors.
    Xid,
    /// The probe.
    Probe,
}

/// What somebody should do about it.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", remote = "Action")]
enum ActionSchema {
    /// Nothing.
    Nothing,
    /// Nothing yet: the node cools the device down and probes it.
    Wait,
    /// Look at fans, filters and the room.
    CheckCooling,
    /// Look at the power supply and its cables.
    CheckPower,
    /// End what holds the device's memory, or reset it.
    FreeMemory,
    /// Reset the GPU while nothing uses it.
    ResetGpu,
    /// Start the host again.
    RebootHost,
    /// Look at driver and device: nothing can be read.
    CheckDriver,
    /// Have the device replaced.
    Replace,
}

/// What one sensor says.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Finding")]
pub(in crate::status) struct FindingSchema {
    /// What was looked at.
    #[schemars(with = "CheckSchema")]
    check: Check,
    /// How serious it is.
    #[schemars(with = "LevelSchema")]
    level: Level,
    /// What was seen.
    detail: String,
    /// What to do.
    #[schemars(with = "ActionSchema")]
    action: Action,
}

/// One sensor's answer.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", remote = "Reading")]
enum ReadingSchema<T> {
    /// What it shows.
    Value(T),
    /// The device has no such sensor.
    Unsupported,
    /// It has one, and it cannot be read: a fault, never a pass.
    Unreadable {
        /// What the driver said.
        detail: String,
    },
}

/// All sensors of a device at one moment.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Sample")]
pub(in crate::status) struct SampleSchema {
    /// Of the GPU, degrees Celsius.
    #[schemars(with = "ReadingSchema<u32>")]
    temperature_c: Reading<u32>,
    /// At which temperature the device slows itself down, degrees Celsius.
    #[schemars(with = "ReadingSchema<u32>")]
    slowdown_c: Reading<u32>,
    /// Memory that something holds, MiB.
    #[schemars(with = "ReadingSchema<u64>")]
    memory_used_mib: Reading<u64>,
    /// What holds the clocks back.
    #[schemars(with = "ReadingSchema<ThrottleSchema>")]
    throttle: Reading<Throttle>,
    /// What the driver wants done with the device.
    #[schemars(with = "ReadingSchema<RecoverySchema>")]
    recovery: Reading<Recovery>,
    /// Uncorrectable memory errors since the driver was loaded.
    #[schemars(with = "ReadingSchema<u64>")]
    ecc_uncorrected: Reading<u64>,
    /// Corrected memory errors since the driver was loaded.
    #[schemars(with = "ReadingSchema<u64>")]
    ecc_corrected: Reading<u64>,
    /// Whether memory rows wait for a reset to be replaced.
    #[schemars(with = "ReadingSchema<bool>")]
    is_remap_pending: Reading<bool>,
    /// How busy its processors were, percent.
    #[schemars(with = "ReadingSchema<u32>")]
    utilisation: Reading<u32>,
    /// What it draws, milliwatts.
    #[schemars(with = "ReadingSchema<u32>")]
    power_mw: Reading<u32>,
}

/// What holds a device's clocks back. Idling and a chosen power limit are no faults.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Throttle")]
#[allow(clippy::struct_excessive_bools, reason = "as the type that is repeated")]
struct ThrottleSchema {
    /// The board slows the clocks by half or more: heat or power outside of what is allowed.
    hardware: bool,
    /// The board does so because of heat.
    hardware_thermal: bool,
    /// The board does so because the power supply asks for it.
    power_brake: bool,
    /// The driver holds the clocks back because of heat.
    software_thermal: bool,
    /// The power limit holds the clocks back.
    power_cap: bool,
}

/// What the driver wants done before a device works again.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", remote = "Recovery")]
enum RecoverySchema {
    /// Nothing.
    Nothing,
    /// The GPU has to be reset.
    Reset,
    /// The host has to be started again.
    Reboot,
    /// Traffic between GPUs has to end.
    DrainPeers,
    /// Everything on it has to end, then it has to be reset.
    DrainAndReset,
}

/// What a probe found.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "probe", remote = "ProbeResult")]
pub(in crate::status) enum ProbeResultSchema {
    /// Everything that was computed is right.
    Right(#[schemars(with = "ProbeFiguresSchema")] ProbeFigures),
    /// Something is wrong.
    Wrong {
        /// Which part of it.
        #[schemars(with = "ProbeStepSchema")]
        step: ProbeStep,
        /// What was found.
        detail: String,
    },
    /// The probe did not end in time and was killed.
    TimedOut {
        /// How long it had, milliseconds.
        limit_ms: u64,
    },
    /// The probe's process ended without an answer.
    Died {
        /// How.
        detail: String,
    },
    /// There was no probe: this host could not start one. It says nothing about the device.
    NotStarted {
        /// Why.
        detail: String,
    },
}

/// The parts of a probe, in their order.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", remote = "ProbeStep")]
enum ProbeStepSchema {
    /// Getting the device and a context on it.
    Context,
    /// A kernel whose result is known.
    Kernel,
    /// Writing patterns to memory and reading them back.
    Memory,
    /// How fast memory is read and written.
    Bandwidth,
    /// How fast matrices are multiplied.
    Matrix,
}

/// What a probe measured.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "ProbeFigures")]
pub(in crate::status) struct ProbeFiguresSchema {
    /// From the start of its process to its answer, milliseconds.
    took_ms: u64,
    /// Memory that was written and read back, MiB.
    memory_mib: u64,
    /// Bytes read and written on the device, 1e6 bytes per second.
    bandwidth_mb_s: u64,
    /// Multiplications and additions of 32-bit floats in a matrix product, 1e9 per second.
    matrix_gflop_s: u64,
}

/// A tier in figures.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "TierReport")]
pub(in crate::status) struct TierReportSchema {
    /// Which, from 1.
    tier: u8,
    /// Submissions that entered.
    entered: u64,
    /// Submissions with a score.
    scored: u64,
    /// Submissions that passed for their score.
    passed: u64,
    /// Submissions that passed as audits.
    audits: u64,
    /// `passed` of `scored`, of 1,000,000; null of none.
    pass_rate_ppm: Option<u32>,
    /// Seconds on devices.
    device_seconds: u64,
    /// How alike this tier and the next order the submissions that both scored: Kendall's tau-b,
    /// in 1e-6. Null where there is no order to compare.
    tau_to_next_ppm: Option<i32>,
    /// Audits whose next tier is decided.
    audits_decided: u64,
    /// Of those, the ones that passed the next tier for their score, of 1,000,000: how often this
    /// tier would have lost a good one. Null without decided audits, and where the next tier is
    /// the last, since that one passes everybody.
    false_negatives_ppm: Option<u32>,
}

/// What becomes of a member.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", remote = "Passage")]
pub(in crate::status) enum PassageSchema {
    /// It is among the best.
    Passes,
    /// It is not, and passes to see whether the tier errs.
    Audit,
    /// It ends here.
    Out,
    /// Not decided.
    Open,
}

/// Who trains the architecture.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", remote = "Trainer")]
enum TrainerSchema {
    /// The project's own training.
    Own,
    /// The challenge's.
    Reference,
}

/// In what a training differs from the policy's setting.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", remote = "Scale")]
enum ScaleSchema {
    /// A quarter of the parameters, so many times over.
    Quartered(u8),
    /// Sequences of twice the length, half as many in a batch.
    LongSequences,
    /// Twice as many sequences in a batch.
    LargeBatches,
}

/// What a unit measures.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", remote = "Task")]
enum TaskSchema {
    /// The code length of text, learned as it comes.
    Text {
        /// Who trains.
        #[schemars(with = "TrainerSchema")]
        trainer: Trainer,
        /// In which setting.
        #[schemars(with = "ScaleSchema")]
        scale: Scale,
    },
    /// The probe tasks; they are reported and pay nothing.
    Probes,
}

/// One unit of a tier.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "UnitPlan")]
pub(in crate::status) struct UnitPlanSchema {
    /// Its number in the tier, from zero.
    unit: u8,
    /// Which of the seeds of its task, from zero.
    seed: u8,
    /// What it measures.
    #[schemars(with = "TaskSchema")]
    task: Task,
}

/// What a model came to in a probe task, over all answers that were asked.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "ProbeFigure")]
pub(in crate::status) struct ProbeFigureSchema {
    /// Its place among the challenge's tasks, whose list only grows at its end.
    task: u8,
    /// How far it is from the floor to perfect understanding, of 1,000,000.
    score_ppm: u32,
    /// Mean loss of an answer, in 1e-6 nats.
    loss_micronats: u32,
    /// The same of a reader who sees which tokens are there and not where.
    floor_micronats: u32,
}
