//! What runs of a submission left behind: who measured, where, with what, and what came out.

use node_core::assignment::Assignment;
use node_core::evidence::{Evidence, Metrics};
use node_core::points::bits_per_byte;
use node_core::rows::{ReceiptRow, ReceiptStanding};
use node_core::submission::Submission;

use super::charts::{loss, Svg};
use super::words::{Fact, Facts};
use crate::status::{date_time, grouped, micro, span, ReceiptStatus};

/// A receipt.
#[derive(Debug)]
pub(super) struct Receipt {
    /// What it is of, and how it ended.
    pub(super) heading: String,
    /// What is known of it.
    pub(super) facts: Facts,
    /// How the loss went.
    pub(super) curve: Option<Svg>,
}

impl Receipt {
    /// With all of its evidence.
    pub(super) fn of(row: &ReceiptRow, submission: &Submission) -> Self {
        let evidence = &row.receipt.evidence;
        let late = match row.standing {
            ReceiptStanding::Counts => "",
            ReceiptStanding::Late => ", too late to count",
        };
        let Evidence { tier, unit, ending, .. } = evidence;
        let (by, ending) = (evidence.worker.short(), ending.name());
        let curve = evidence.metrics.as_ref().map(|metrics| &metrics.loss_curve_microbpb);
        Self {
            heading: format!("Tier {tier}, unit {unit}, by {by}: {ending}{late}"),
            facts: facts(evidence, submission).into(),
            curve: curve.and_then(|points| loss(points)),
        }
    }

    /// As far as the report says.
    pub(super) fn reported(row: &ReceiptStatus) -> Self {
        let late = if row.is_late { ", too late to count" } else { "" };
        let mut facts = vec![
            Fact::exact("Worker", &row.worker),
            Fact::exact("Coordinator", &row.coordinator),
            Fact::exact("Assignment", &row.assignment),
            Fact::exact("Lease", &row.lease),
            Fact::said("Ended", date_time(row.ended_at)),
        ];
        facts.extend(row.points.map(|points| Fact::said("Points", grouped(points))));
        let heading = format!("By {}: {}{late}", row.worker.short(), row.ending);
        Self { heading, facts: facts.into(), curve: None }
    }
}

fn facts(evidence: &Evidence, submission: &Submission) -> Vec<Fact> {
    let took_ms = evidence.ended_at.0.saturating_sub(evidence.started_at.0);
    let ran = format!("{}, for {}", date_time(evidence.started_at), span(took_ms));
    let stage = (evidence.tier, evidence.unit);
    // Replicas share their seed, so any of them has it.
    let seed = Assignment::derive(submission, stage, 0, evidence.policy).seed;
    let mut facts = vec![
        Fact::said("Ending", evidence.ending.to_string()),
        Fact::exact("Worker", &evidence.worker),
        Fact::exact("Coordinator", &evidence.coordinator),
        Fact::said("Attempt", evidence.attempt.to_string()),
        Fact::said("Device", evidence.device.clone()),
        Fact::said("Ran", ran),
        Fact::exact("Seed", &seed),
        Fact::exact("Image", &evidence.image),
        Fact::exact("Data set", &evidence.dataset),
        Fact::exact("Policy", &evidence.policy),
        Fact::exact("Assignment", &evidence.assignment),
        Fact::exact("Lease", &evidence.lease),
        Fact::exact("Run", &evidence.run),
        Fact::exact("Digest", &evidence.digest()),
    ];
    facts.extend(evidence.metrics.iter().flat_map(measured));
    facts
}

/// What was measured, in words.
pub(super) fn measured(metrics: &Metrics) -> Vec<Fact> {
    let conduct = &metrics.conduct;
    let nano = |value: u64| micro(value / 1000);
    let mut facts = Vec::new();
    let bits = bits_per_byte(metrics).ok();
    facts.extend(bits.map(|bits| Fact::said("Bits per byte", format!("{bits:.4}"))));
    let (trained, untrained) = (nano(metrics.heldout_nanobpb), nano(metrics.heldout_init_nanobpb));
    let heldout = format!("{trained}, untrained {untrained}");
    facts.push(Fact::said("Of held-out text", heldout));
    let (bytes, tokens) = (grouped(metrics.covered_bytes), grouped(metrics.tokens));
    let batches = grouped(u64::from(metrics.batches));
    let text = format!("{bytes} bytes, {tokens} tokens in {batches} batches");
    facts.push(Fact::said("Training text", text));
    let mut parameters = grouped(metrics.parameters);
    if let Some(embedding) = conduct.embedding_parameters {
        parameters.push_str(&format!(", {} of them in tables", grouped(embedding)));
    }
    facts.push(Fact::said("Parameters", parameters));
    let memory = |bytes: u64| format!("{} MiB", grouped(bytes >> 20));
    if conduct.peak_device_bytes > 0 {
        facts.push(Fact::said("Device memory", memory(conduct.peak_device_bytes)));
    }
    if metrics.peak_memory_bytes > 0 {
        facts.push(Fact::said("Host memory", memory(metrics.peak_memory_bytes)));
    }
    if !conduct.flags.is_empty() {
        let flags: Vec<&str> = conduct.flags.iter().map(|flag| flag.name()).collect();
        facts.push(Fact::said("Flags", flags.join(", ")));
    }
    facts
}
