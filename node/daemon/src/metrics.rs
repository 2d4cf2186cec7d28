//! Every metric of the node, declared once: name, unit, labels, help.
//!
//! Counters count notes, and what the keeper of the leases and the sender of traces count. Gauges
//! are set from the latest status report when somebody asks, so that metrics and status never
//! disagree. Labels are names from enums, or ids of this host's devices: their number is bounded.

mod attempt;
mod device;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use node_core::funnel::TierReport;
use node_core::health::Level;
use node_core::keeper::Figures;
use node_core::machine::effect::Note;
use node_core::unit::UnixMs;
use node_peer::{PeerClient, Refused};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry, Unit};

use crate::notes;
use crate::run::IdleGaps;
use crate::status::{Answering, EndpointStatus, HealthStatus, StatusReport, WatchStatus};

/// Content type of what [`Metrics::encode`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A metric's public face. Names never change their meaning.
#[derive(Clone, Copy, Debug)]
struct Declared {
    /// Name without unit and without the `_total` of counters.
    name: &'static str,
    /// Unit, the last part of the name; empty where the name says what is counted.
    unit: &'static str,
    /// Its one label and the values that it takes, if it has one.
    label: Option<(&'static str, &'static [&'static str])>,
    /// One sentence, without its full stop.
    help: &'static str,
}

const fn declared(name: &'static str, unit: &'static str, help: &'static str) -> Declared {
    Declared { name, unit, label: None, help }
}

const fn labelled(
    name: &'static str,
    label: &'static str,
    values: &'static [&'static str],
    help: &'static str,
) -> Declared {
    Declared { name, unit: "", label: Some((label, values)), help }
}

const NOTES: Declared =
    labelled("assay_notes", "kind", notes::KINDS, "What happened since the start, by kind");

const RENEWALS: Declared = labelled(
    "assay_renewals",
    "what",
    &["sent", "kept", "refused", "lost"],
    "Renewals of leases that this node holds: sent, and what came of them; lost ones were not \
     answered",
);

const LAPSED: Declared = declared(
    "assay_runs_lapsed",
    "",
    "Runs stopped because their lease was not renewed, or they did not start, in time",
);

const REFUSED: &[&str] = &["bad_signature", "malformed"];

const SEALS_REFUSED: Declared = labelled(
    "assay_seals_refused",
    "reason",
    REFUSED,
    "Seals in peers' answers that were dropped; the log line names the peer",
);

const RECEIPTS_REFUSED: Declared = labelled(
    "assay_receipts_refused",
    "reason",
    REFUSED,
    "Receipts in peers' answers that were skipped; the log line names the peer",
);

const RENEWAL_AGE: Declared = declared(
    "assay_renewal_age",
    "seconds",
    "Time since the renewal was sent that confirmed the lease of a run last, the oldest of all \
     runs; not from the report, so right while the node hangs; above 40 two were lost, at 48 the \
     run is stopped",
);

const RENEWAL_AGE_MAX: Declared = declared(
    "assay_renewal_age_max",
    "seconds",
    "The longest since the start that the lease of a run was without a newer confirmation; 20 is \
     the rhythm, what is above it is how late a renewal was sent and answered",
);

const IDLE_GAP: Declared = Declared {
    name: "assay_device_idle_gap",
    unit: "seconds",
    label: Some(("device", &["its id; the label `what` is last, p50 or p95"])),
    help:
        "Time from the removal of a run's container to the first instruction of the next run that \
           waited for the device; percentiles of the last 100; not from the report",
};

const SPANS: Declared = labelled(
    "assay_spans",
    "fate",
    SpanFate::NAMES,
    "Spans of traces by what became of them: sent; given up, as their collector did not take them; \
     dropped, as too many waited for it; displaced, as too many were open at once",
);

/// What became of spans of traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpanFate {
    /// The collector has them.
    Sent,
    /// The collector did not take them, again and again.
    GivenUp,
    /// Too many waited for the collector.
    QueueFull,
    /// They had not ended, and too many had not.
    Displaced,
}

impl SpanFate {
    const NAMES: &'static [&'static str] = &["sent", "given_up", "dropped", "displaced"];

    fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::GivenUp => "given_up",
            Self::QueueFull => "dropped",
            Self::Displaced => "displaced",
        }
    }
}

/// How a gauge is read from a report.
type Read = fn(&StatusReport, UnixMs) -> Vec<(&'static str, u64)>;

/// Places of endpoints in the configuration that have gauges of their own, counted from one.
const PLACES: &[&str] = &["1", "2", "3", "4", "5", "6", "7", "8"];

/// Tiers of a policy, as many as one may have.
const TIERS: &[&str] = &["1", "2", "3"];

/// One value without a label.
const PLAIN: &str = "";

const GAUGES: &[(Declared, Read)] = &[
    (declared("assay_node_ready", "", "Whether the node does its work: 1 or 0"), |report, now| {
        vec![(PLAIN, u64::from(report.readiness_at(now).ready))]
    }),
    (declared("assay_node_up", "seconds", "Time since the process started"), |report, now| {
        vec![(PLAIN, now.0.saturating_sub(report.node.started_at.0) / 1000)]
    }),
    (
        declared("assay_status_age", "seconds", "Age of the report behind the other gauges"),
        |report, now| vec![(PLAIN, report.age_ms(now) / 1000)],
    ),
    (
        declared("assay_chain_finalized_height", "blocks", "Latest finalized block seen"),
        |report, _| one(report.chain.as_ref().map(|chain| chain.finalized_number.0)),
    ),
    (
        declared("assay_chain_block_age", "seconds", "Time since a new finalized block was seen"),
        |report, now| {
            let seen = report.chain.as_ref().map(|chain| chain.finalized_seen_at.0);
            one(seen.map(|seen| now.0.saturating_sub(seen) / 1000))
        },
    ),
    (declared("assay_chain_spec", "version", "Version of the chain's runtime"), |report, _| {
        one(report.chain.as_ref().map(|chain| u64::from(chain.spec_version)))
    }),
    (declared("assay_epoch_left", "blocks", "Blocks until the next epoch"), |report, _| {
        one(report.weights.blocks_left.map(|blocks| blocks.0))
    }),
    (
        declared("assay_weights_landed", "epoch", "Epoch of the latest vector that landed"),
        |report, _| one(report.weights.last_landed.as_ref().map(|landed| landed.epoch.0)),
    ),
    (
        declared("assay_chain_best_height", "blocks", "Newest block seen, which may not be final"),
        |report, _| one(report.chain.as_ref().map(|chain| chain.best_number.0)),
    ),
    (
        declared("assay_chain_finality_lag", "blocks", "Blocks from the finalized to the newest"),
        |report, _| one(report.chain.as_ref().map(|chain| chain.finality_lag.0)),
    ),
    (
        labelled(
            "assay_endpoint_up",
            "place",
            PLACES,
            "Whether a connection to the endpoint is open: 1 or 0; by place in `chain.endpoints`",
        ),
        |report, _| by_place(report, |endpoint| Some(u64::from(endpoint.is_connected))),
    ),
    (
        labelled(
            "assay_endpoint_lag_blocks",
            "place",
            PLACES,
            "Blocks by which the endpoint is behind the highest of all",
        ),
        |report, _| by_place(report, |endpoint| endpoint.lag.map(|lag| lag.0)),
    ),
    (
        labelled(
            "assay_endpoint_failures",
            "place",
            PLACES,
            "Calls and connections to the endpoint that failed since the start",
        ),
        |report, _| by_place(report, |endpoint| Some(endpoint.failures)),
    ),
    (
        declared(
            "assay_weights_age",
            "millitempos",
            "Time since the hotkey's last update on chain, in thousandths of a tempo; alert above \
             1500, page above 2500",
        ),
        |report, _| watched(report, |watch| watch.millitempos_since_update),
    ),
    (declared("assay_weights_age", "blocks", "The same in blocks"), |report, _| {
        watched(report, |watch| watch.blocks_since_update.map(|blocks| blocks.0))
    }),
    (declared("assay_commits_pending", "", "Commits that wait to be opened"), |report, _| {
        watched(report, |watch| Some(watch.pending_commits.len() as u64))
    }),
    (
        declared("assay_beacon_lag", "rounds", "Rounds of the beacon that the chain lacks"),
        |report, _| watched(report, |watch| watch.beacon_lag_rounds),
    ),
    (
        declared("assay_prune_rank", "", "Neurons that would lose their uid before this one"),
        |report, _| watched(report, |watch| watch.prune_rank),
    ),
    (
        declared("assay_validator_permit", "", "Whether the hotkey has a permit: 1 or 0"),
        |report, _| watched(report, |watch| watch.has_permit.map(u64::from)),
    ),
    (declared("assay_stake", "rao", "Stake weight of the hotkey"), |report, _| {
        watched(report, |watch| watch.stake_rao)
    }),
    (declared("assay_stake_threshold", "rao", "Least stake weight to set weights"), |report, _| {
        watched(report, |watch| Some(watch.stake_threshold_rao))
    }),
    (
        declared(
            "assay_validator_trust",
            "",
            "Share of the weights that consensus agreed with at the last epoch, of 65535",
        ),
        |report, _| watched(report, |watch| watch.validator_trust.map(u64::from)),
    ),
    (
        declared("assay_dividends", "", "Share of the validators' dividends, of 65535"),
        |report, _| watched(report, |watch| watch.dividends.map(u64::from)),
    ),
    (
        labelled("assay_checks", "level", &["ok", "warn", "alarm"], "Checks of `status`, by level"),
        |report, _| {
            let count = |level: &str| {
                report.checks.iter().filter(|check| check.level == level).count() as u64
            };
            vec![("ok", count("ok")), ("warn", count("warn")), ("alarm", count("alarm"))]
        },
    ),
    (
        declared("assay_restart_safe", "", "Whether a restart now would interrupt nothing: 1 or 0"),
        |report, _| vec![(PLAIN, u64::from(report.weights.safe_to_restart))],
    ),
    (
        declared(
            "assay_reveal_left",
            "blocks",
            "Blocks left to reveal a hash commit whose epoch is the present one; none is due if \
             it is missing",
        ),
        |report, _| {
            let best = report.chain.as_ref().map(|chain| chain.best_number);
            let until = report.weights.reveal_due.as_ref().and_then(|reveal| reveal.until);
            one(until.zip(best).map(|(until, best)| until.since(best).0))
        },
    ),
    (
        declared(
            "assay_journal",
            "bytes",
            "Length of signed.journal, which may have 1073741824; alert above half of that",
        ),
        |report, _| one(report.journal.map(|journal| journal.bytes)),
    ),
    (
        labelled(
            "assay_devices",
            "state",
            device::STATES,
            "Devices of this host by what they are to runs: free ones could begin one now; \
             not_used ones are sound, and the next run does not fit them; unusable ones are not \
             trusted, or ordered not to run; gone ones were there in an earlier life of the node",
        ),
        |report, _| {
            let count = |state: &str| {
                report.devices.iter().filter(|device| device::state(device) == state).count()
            };
            device::STATES.iter().map(|state| (*state, count(state) as u64)).collect()
        },
    ),
    (
        labelled(
            "assay_devices_standing",
            "standing",
            device::STANDINGS,
            "Devices of this host by how they stand; alert above 0 of failed and of gone",
        ),
        |report, _| standings(report),
    ),
    (
        labelled(
            "assay_devices_health",
            "level",
            device::LEVELS,
            "Devices of this host by the most serious thing known of each",
        ),
        |report, _| levels(report),
    ),
    (
        declared("assay_devices_ordered", "", "Devices that an operator cordoned or drained"),
        |report, _| {
            let ordered = healths(report).filter(|health| health.order.is_some());
            vec![(PLAIN, ordered.count() as u64)]
        },
    ),
    (declared("assay_runs", "", "Runs of this node that are not acknowledged yet"), |report, _| {
        vec![(PLAIN, report.runs.len() as u64)]
    }),
    (
        labelled(
            "assay_leases",
            "state",
            &["open", "granted", "sealed", "complete", "exhausted"],
            "Leases that this node coordinates",
        ),
        |report, _| {
            let leases = report.leases;
            vec![
                ("open", leases.open),
                ("granted", leases.granted),
                ("sealed", leases.sealed),
                ("complete", leases.complete),
                ("exhausted", leases.exhausted),
            ]
        },
    ),
    (
        labelled(
            "assay_submissions",
            "stage",
            &[
                "committed",
                "fetched",
                "admitted",
                "held",
                "rejected",
                "scored",
                "failed",
                "disputed",
            ],
            "Submissions known, by how far they got",
        ),
        |report, _| {
            let counts = report.submission_counts;
            vec![
                ("committed", counts.committed),
                ("fetched", counts.fetched),
                ("admitted", counts.admitted),
                ("held", counts.held),
                ("rejected", counts.rejected),
                ("scored", counts.scored),
                ("failed", counts.failed),
                ("disputed", counts.disputed),
            ]
        },
    ),
    (
        labelled("assay_funnel_entered", "tier", TIERS, "Submissions that entered the tier"),
        |report, _| by_tier(report, |tier| tier.entered),
    ),
    (
        labelled("assay_funnel_scored", "tier", TIERS, "Of them, those with a score there"),
        |report, _| by_tier(report, |tier| tier.scored),
    ),
    (
        labelled(
            "assay_funnel_passed",
            "tier",
            TIERS,
            "Of them, those that passed the tier: for their score, or to see whether it errs",
        ),
        |report, _| by_tier(report, |tier| tier.passed.saturating_add(tier.audits)),
    ),
    (
        labelled(
            "assay_peers",
            "state",
            &["answering", "failing", "not_called"],
            "Other validators by how the last call to each went; not_called: none ended yet",
        ),
        |report, _| {
            let count = |answering| report.peers_that(answering) as u64;
            vec![
                ("answering", count(Answering::Answers)),
                ("failing", count(Answering::Fails)),
                ("not_called", count(Answering::NotCalledYet)),
            ]
        },
    ),
];

/// One number of what is watched.
fn watched(
    report: &StatusReport,
    value: impl Fn(&WatchStatus) -> Option<u64>,
) -> Vec<(&'static str, u64)> {
    one(report.watch.as_ref().and_then(value))
}

fn healths(report: &StatusReport) -> impl Iterator<Item = &HealthStatus> {
    report.devices.iter().filter_map(|device| device.health.as_ref())
}

fn standings(report: &StatusReport) -> Vec<(&'static str, u64)> {
    let count = |name| {
        report.devices.iter().filter(|device| device::standing(device) == Some(name)).count()
    };
    device::STANDINGS.iter().map(|name| (*name, count(*name) as u64)).collect()
}

fn levels(report: &StatusReport) -> Vec<(&'static str, u64)> {
    let count = |level| healths(report).filter(|health| health.level == level).count() as u64;
    Level::ALL.map(|level| (level.name(), count(level))).to_vec()
}

/// A value of each endpoint that has a place of its own.
fn by_place(
    report: &StatusReport,
    value: impl Fn(&EndpointStatus) -> Option<u64>,
) -> Vec<(&'static str, u64)> {
    let place = |endpoint: &EndpointStatus| {
        let index = usize::try_from(endpoint.place).ok()?.checked_sub(1)?;
        Some((*PLACES.get(index)?, value(endpoint)?))
    };
    report.endpoints.iter().filter_map(place).collect()
}

/// A value of each tier of the funnel.
fn by_tier(report: &StatusReport, value: fn(&TierReport) -> u64) -> Vec<(&'static str, u64)> {
    TIERS.iter().copied().zip(report.funnel.tiers.iter().map(value)).collect()
}

fn one(value: Option<u64>) -> Vec<(&'static str, u64)> {
    value.map(|value| (PLAIN, value)).into_iter().collect()
}

/// One label with a name that is known when the metric is declared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NoteLabel {
    kind: &'static str,
}

/// What became of renewals.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RenewalLabel {
    what: &'static str,
}

/// What became of a span.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SpanLabel {
    fate: &'static str,
}

/// Why something that a peer sent is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabel {
    reason: &'static str,
}

/// Devices of one host: their number is bounded, their ids are not known before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IdleLabel {
    device: String,
    what: &'static str,
}

/// A metric of its own under its declared name.
fn register<M: Metric + Clone + Default>(registry: &mut Registry, declared: &Declared) -> M {
    let metric = M::default();
    if declared.unit.is_empty() {
        registry.register(declared.name, declared.help, metric.clone());
    } else {
        let unit = Unit::Other(declared.unit.to_owned());
        registry.register_with_unit(declared.name, declared.help, unit, metric.clone());
    }
    metric
}

type DeviceFamily = Family<Vec<(&'static str, String)>, Gauge<f64, AtomicU64>>;

type IdleFamily = Family<IdleLabel, Gauge<f64, AtomicU64>>;

type RefusedFamily = Family<RefusedLabel, Counter>;

/// Raises the counters of what was refused to what clients counted.
fn raise_refused(family: &RefusedFamily, refused: impl Iterator<Item = Refused>) {
    let (mut bad_signature, mut malformed) = (0_u64, 0_u64);
    for one in refused {
        bad_signature = bad_signature.saturating_add(one.bad_signature);
        malformed = malformed.saturating_add(one.malformed);
    }
    for (reason, to) in REFUSED.iter().zip([bad_signature, malformed]) {
        raise(&family.get_or_create(&RefusedLabel { reason }), to);
    }
}

fn raise(counter: &Counter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

/// The node's metrics; shared, all methods may be called from anywhere.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    notes: Family<NoteLabel, Counter>,
    renewals: Family<RenewalLabel, Counter>,
    lapsed: Counter,
    spans: Family<SpanLabel, Counter>,
    renewal_age: Gauge,
    renewal_age_max: Gauge<f64, AtomicU64>,
    idle_gap: IdleFamily,
    /// Told by the evaluator.
    idle_gaps: Mutex<Option<Arc<IdleGaps>>>,
    seals_refused: RefusedFamily,
    receipts_refused: RefusedFamily,
    /// They count themselves what they refuse.
    clients: Mutex<Vec<Arc<PeerClient>>>,
    gauges: Vec<Family<Vec<(&'static str, &'static str)>, Gauge>>,
    device_gauges: Vec<DeviceFamily>,
    attempt_gauges: Vec<DeviceFamily>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, every counter at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let notes = Family::<NoteLabel, Counter>::default();
        for kind in notes::KINDS {
            // A counter that exists from the start lets an alert see the first event.
            drop(notes.get_or_create(&NoteLabel { kind }));
        }
        registry.register(NOTES.name, NOTES.help, notes.clone());
        let (renewals, lapsed) = (Family::<RenewalLabel, Counter>::default(), Counter::default());
        registry.register(RENEWALS.name, RENEWALS.help, renewals.clone());
        registry.register(LAPSED.name, LAPSED.help, lapsed.clone());
        let spans = Family::<SpanLabel, Counter>::default();
        for fate in SpanFate::NAMES {
            drop(spans.get_or_create(&SpanLabel { fate }));
        }
        registry.register(SPANS.name, SPANS.help, spans.clone());
        let [seals_refused, receipts_refused] = [SEALS_REFUSED, RECEIPTS_REFUSED].map(|declared| {
            let family = RefusedFamily::default();
            raise_refused(&family, std::iter::empty());
            registry.register(declared.name, declared.help, family.clone());
            family
        });
        let renewal_age = register(&mut registry, &RENEWAL_AGE);
        let renewal_age_max = register(&mut registry, &RENEWAL_AGE_MAX);
        let idle_gap = register(&mut registry, &IDLE_GAP);
        let gauges = GAUGES.iter().map(|(declared, _)| register(&mut registry, declared)).collect();
        let of_devices = device::GAUGES.iter();
        let device_gauges =
            of_devices.map(|(declared, _)| register(&mut registry, declared)).collect();
        let of_runs = attempt::GAUGES.iter();
        let attempt_gauges =
            of_runs.map(|(declared, _)| register(&mut registry, declared)).collect();
        let metrics = Self {
            registry,
            notes,
            renewals,
            lapsed,
            spans,
            renewal_age,
            renewal_age_max,
            idle_gap,
            idle_gaps: Mutex::default(),
            seals_refused,
            receipts_refused,
            clients: Mutex::default(),
            gauges,
            device_gauges,
            attempt_gauges,
        };
        metrics.leases_kept(Figures::default(), 0);
        metrics
    }

    /// Shows what the keeper of the leases counted; by one caller at a time.
    ///
    /// - `age_ms`: how long ago the oldest confirmed renewal was sent.
    pub(crate) fn leases_kept(&self, figures: Figures, age_ms: u64) {
        let Figures { sent, kept, refused, lost, lapsed, unconfirmed_ms_max } = figures;
        for (what, to) in [("sent", sent), ("kept", kept), ("refused", refused), ("lost", lost)] {
            raise(&self.renewals.get_or_create(&RenewalLabel { what }), to);
        }
        raise(&self.lapsed, lapsed);
        self.renewal_age.set(i64::try_from(age_ms / 1000).unwrap_or(i64::MAX));
        self.renewal_age_max.set(Duration::from_millis(unconfirmed_ms_max).as_secs_f64());
    }

    /// Shows from now on how long devices stand idle between two runs.
    pub(crate) fn watch_idle(&self, gaps: Arc<IdleGaps>) {
        *self.idle_gaps.lock().unwrap_or_else(PoisonError::into_inner) = Some(gaps);
    }

    fn show_idle_gaps(&self) {
        let gaps = self.idle_gaps.lock().unwrap_or_else(PoisonError::into_inner);
        let figures = gaps.iter().flat_map(|gaps| gaps.figures());
        for (device, gap) in figures {
            for (what, value) in [("last", gap.last), ("p50", gap.p50), ("p95", gap.p95)] {
                let label = IdleLabel { device: device.to_string(), what };
                self.idle_gap.get_or_create(&label).set(value.as_secs_f64());
            }
        }
    }

    fn show_devices(&self, report: &StatusReport) {
        for ((declared, read), gauge) in device::GAUGES.iter().zip(&self.device_gauges) {
            gauge.clear();
            for status in &report.devices {
                for (value_of_label, value) in read(status) {
                    let mut labels = vec![("device", status.id.to_string())];
                    let label = declared.label.map(|(name, _)| (name, value_of_label.to_owned()));
                    labels.extend(label);
                    gauge.get_or_create(&labels).set(value);
                }
            }
        }
    }

    fn show_attempts(&self, report: &StatusReport) {
        let attempts = attempt::by_device(report);
        for ((_, read), gauge) in attempt::GAUGES.iter().zip(&self.attempt_gauges) {
            gauge.clear();
            for (device, attempt) in &attempts {
                let Some(value) = read(attempt) else { continue };
                gauge.get_or_create(&vec![("device", device.clone())]).set(value);
            }
        }
    }

    /// Shows from now on what these clients refuse.
    pub(crate) fn watch(&self, clients: impl IntoIterator<Item = Arc<PeerClient>>) {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).extend(clients);
    }

    /// By one caller at a time, or a counter would be raised twice.
    fn count_refused(&self) {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        raise_refused(&self.seals_refused, clients.iter().map(|client| client.seals_refused()));
        let receipts = clients.iter().map(|client| client.receipts_refused());
        raise_refused(&self.receipts_refused, receipts);
    }

    /// Counts a note.
    pub fn count(&self, note: &Note) {
        self.notes.get_or_create(&NoteLabel { kind: notes::kind(note) }).inc();
    }

    /// Counts spans of traces.
    pub(crate) fn count_spans(&self, fate: SpanFate, count: u64) {
        self.spans.get_or_create(&SpanLabel { fate: fate.name() }).inc_by(count);
    }

    /// How often each kind of note was counted, for the status report; those that never were are
    /// left out.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        notes::KINDS
            .iter()
            .map(|kind| ((*kind).to_owned(), self.notes.get_or_create(&NoteLabel { kind }).get()))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// OpenMetrics text, the gauges as `report` has them at `now`.
    ///
    /// # Errors
    ///
    /// [`fmt::Error`] if the encoder fails; it writes to memory and does not.
    pub fn encode(&self, report: &StatusReport, now: UnixMs) -> Result<String, fmt::Error> {
        self.count_refused();
        self.show_idle_gaps();
        for ((declared, read), gauge) in GAUGES.iter().zip(&self.gauges) {
            let values = read(report, now);
            // What is not known any more must not keep its last value.
            gauge.clear();
            for (value_of_label, value) in values {
                let label = declared.label.map(|(name, _)| (name, value_of_label));
                let labels = label.into_iter().collect();
                gauge.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
        self.show_devices(report);
        self.show_attempts(report);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        // The encoder writes `name{} 1` for a family's entry without labels; people look for
        // `name 1`.
        Ok(text.replace("{} ", " "))
    }
}

const REFERENCE_HEAD: &str = "# Metrics

<!-- Generated by `assay reference metrics`; a test compares it with the code. -->

`GET /metrics` on the admin listener answers in OpenMetrics text. Gauges show the latest status
report; `assay_status_age_seconds` says how old it is. A gauge of a device has the label `device`,
its id, beside the one that stands here.

| metric | type | label | meaning |
|---|---|---|---|
";

/// The reference of all metrics, in Markdown, as it stands in `docs/metrics.md`.
#[must_use]
pub fn reference() -> String {
    let mut out = REFERENCE_HEAD.to_owned();
    let counters = [&NOTES, &RENEWALS, &LAPSED, &SPANS, &SEALS_REFUSED, &RECEIPTS_REFUSED];
    let counters = counters.map(|declared| (declared, "counter", "_total"));
    let live = [&RENEWAL_AGE, &RENEWAL_AGE_MAX, &IDLE_GAP].map(|declared| (declared, "gauge", ""));
    let gauges = GAUGES.iter().map(|(declared, _)| (declared, "gauge", ""));
    let of_device = device::GAUGES.iter().map(|(declared, _)| (declared, "gauge of a device", ""));
    let of_runs = attempt::GAUGES.iter().map(|(declared, _)| (declared, "gauge of a device", ""));
    let all = counters.into_iter().chain(live).chain(gauges).chain(of_device).chain(of_runs);
    for (declared, kind, suffix) in all {
        let unit = if declared.unit.is_empty() { "" } else { "_" };
        let name = format!("{}{unit}{}{suffix}", declared.name, declared.unit);
        let label = declared
            .label
            .map_or_else(String::new, |(name, values)| format!("`{name}`: {}", values.join(", ")));
        out.push_str(&format!("| `{name}` | {kind} | {label} | {} |\n", declared.help));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample;
    use node_core::id::Hotkey;

    #[test]
    fn what_several_clients_refused_is_added_up_by_reason_and_never_falls() {
        let family = RefusedFamily::default();
        let count = |reason| family.get_or_create(&RefusedLabel { reason }).get();
        let one = Refused { bad_signature: 2, malformed: 1 };
        let other = Refused { bad_signature: 3, malformed: 0 };
        raise_refused(&family, [one, other].into_iter());
        assert_eq!((count("bad_signature"), count("malformed")), (5, 1));
        raise_refused(&family, [one].into_iter());
        assert_eq!((count("bad_signature"), count("malformed")), (5, 1));
    }

    #[test]
    fn the_text_has_each_declared_metric_under_the_name_of_the_reference() {
        let metrics = Metrics::new();
        metrics.watch_idle(Arc::new(IdleGaps::sample()));
        metrics.count(&Note::UnexpectedAnswer { peer: Hotkey([1; 32]) });
        let mut report = sample::healthy();
        report.devices.push(sample::gpu_with_held_memory());
        report.weights.reveal_due = Some(crate::status::RevealStatus {
            epoch: node_core::unit::EpochIndex(13_367),
            opens_in: node_core::unit::EpochIndex(13_368),
            is_now: true,
            from: None,
            until: Some(node_core::unit::BlockNumber(4_812_618)),
        });
        let text = metrics.encode(&report, report.as_of).unwrap();
        for line in reference().lines().filter(|line| line.starts_with("| `")) {
            let name = line.split('`').nth(1).unwrap();
            assert!(text.lines().any(|line| line.starts_with(name)), "{name} not in:\n{text}");
        }
        assert!(text.contains("assay_funnel_entered{tier=\"1\"} 12\n"), "{text}");
        assert!(text.contains("assay_funnel_passed{tier=\"1\"} 4\n"), "{text}");
        assert!(text.contains("assay_funnel_scored{tier=\"2\"} 2\n"), "{text}");
        assert!(!text.contains("assay_funnel_scored{tier=\"3\"}"), "{text}");
        assert!(text.contains("assay_reveal_left_blocks 28"), "{text}");
        assert!(text.contains("assay_peers{state=\"answering\"} 1\n"), "{text}");
        assert!(text.contains("assay_peers{state=\"failing\"} 1\n"), "{text}");
        assert!(text.contains("assay_peers{state=\"not_called\"} 0\n"), "{text}");
        let gap = "assay_device_idle_gap_seconds{device=\"cpu-0\",what=\"p95\"} 0.25";
        assert!(text.contains(gap), "{text}");
        assert!(text.contains("assay_notes_total{kind=\"unexpected_answer\"} 1\n"));
        assert_eq!(metrics.counts(), BTreeMap::from([("unexpected_answer".to_owned(), 1)]));
    }

    #[test]
    fn labels_take_only_the_values_that_are_declared() {
        let mut report = sample::healthy();
        report.devices.extend([sample::gpu_with_held_memory(), sample::gone_gpu()]);
        let check = |declared: &Declared, value: &str| {
            let allowed = declared.label.map_or(&[PLAIN][..], |(_, values)| values);
            assert!(allowed.contains(&value), "{} {value}", declared.name);
        };
        for (declared, read) in GAUGES {
            read(&report, report.as_of).iter().for_each(|(value, _)| check(declared, value));
        }
        for (declared, read) in device::GAUGES {
            let values = report.devices.iter().flat_map(read);
            values.for_each(|(value, _)| check(declared, value));
        }
    }

    #[test]
    fn a_stale_report_is_not_ready_in_metrics() {
        let metrics = Metrics::new();
        let report = sample::healthy();
        let later = UnixMs(report.as_of.0 + 61_000);
        let text = metrics.encode(&report, later).unwrap();
        assert!(text.contains("assay_node_ready 0\n"), "{text}");
        assert!(text.contains("assay_status_age_seconds 61\n"), "{text}");
    }
}
