//! Evidence and receipts, between the wire and core.
//!
//! A signature covers [`Evidence::digest`], so the conversion must be exact: a field that is
//! shortened or defaulted here would turn a good receipt into a forged one.

use std::collections::{BTreeMap, BTreeSet};

use node_core::evidence::{Conduct, Evidence, Flag, Hook, Metrics, ProbeFigure, Receipt};
use node_core::id::{
    AssignmentId, Attempt, BlockHash, ContentDigest, Digest, Hotkey, LeaseId, RunId, Salt,
    Signature, SubmissionId,
};
use node_core::limits::{LOSS_CURVE_POINTS_MAX, PROBE_TASKS_MAX, SHOWN_BEFORE_MAX};
use node_core::reward::{Fingerprint, SKETCH_MAX};
use node_core::unit::UnixMs;
use proto::v1;

use super::{at_most, ending, fixed, line, netuid, required, small, ConvertError};
use crate::limits::{BATCH_ITEMS_MAX, DEVICE_CHARS_MAX};

pub(crate) fn receipt_to_wire(receipt: &Receipt) -> v1::Receipt {
    v1::Receipt {
        evidence: Some(evidence_to_wire(&receipt.evidence)),
        signature: receipt.signature.0.to_vec(),
    }
}

fn receipt_from_wire(receipt: v1::Receipt) -> Result<Receipt, ConvertError> {
    Ok(Receipt {
        signature: Signature(fixed("signature", &receipt.signature)?),
        evidence: evidence_from_wire(required("evidence", receipt.evidence)?)?,
    })
}

pub(crate) fn complete_request_to_wire(receipts: &[Receipt]) -> v1::CompleteRequest {
    v1::CompleteRequest { receipts: receipts.iter().map(receipt_to_wire).collect() }
}

pub(crate) fn complete_request_from_wire(
    request: v1::CompleteRequest,
) -> Result<Vec<Receipt>, ConvertError> {
    at_most("receipts", &request.receipts, BATCH_ITEMS_MAX)?;
    request.receipts.into_iter().map(receipt_from_wire).collect()
}

/// Whose receipts are asked for, and after which; nobody means the `asked` node itself.
pub(crate) fn since_request_from_wire(
    request: &v1::SinceRequest,
    asked: Hotkey,
) -> Result<(Hotkey, u64), ConvertError> {
    let of = match request.of.as_slice() {
        [] => asked,
        of => Hotkey(fixed("of", of)?),
    };
    Ok((of, request.after))
}

pub(crate) fn since_request_to_wire(of: Hotkey, after: u64, asked: Hotkey) -> v1::SinceRequest {
    let of = if of == asked { Vec::new() } else { of.0.to_vec() };
    v1::SinceRequest { after, of }
}

/// The receipt that a message must carry.
pub(crate) fn required_receipt_from_wire(
    receipt: Option<v1::Receipt>,
) -> Result<Receipt, ConvertError> {
    receipt_from_wire(required("receipt", receipt)?)
}

fn evidence_to_wire(evidence: &Evidence) -> v1::Evidence {
    v1::Evidence {
        genesis: evidence.genesis.0.to_vec(),
        netuid: evidence.netuid.0.into(),
        assignment: evidence.assignment.0.to_vec(),
        submission: evidence.submission.0.to_vec(),
        tier: evidence.tier.into(),
        unit: evidence.unit.into(),
        content: evidence.content.0.to_vec(),
        lease: evidence.lease.0.to_vec(),
        attempt: evidence.attempt.0,
        run: evidence.run.0.to_vec(),
        coordinator: evidence.coordinator.0.to_vec(),
        worker: evidence.worker.0.to_vec(),
        policy: evidence.policy.0.to_vec(),
        dataset: evidence.dataset.0.to_vec(),
        image: evidence.image.0.to_vec(),
        device: evidence.device.clone(),
        ending: Some(ending::to_wire(&evidence.ending)),
        metrics: evidence.metrics.as_ref().map(metrics_to_wire),
        started_at_unix_ms: evidence.started_at.0,
        ended_at_unix_ms: evidence.ended_at.0,
        salt: evidence.salt.0.to_vec(),
        coordinator_sealed: evidence
            .coordinator_sealed
            .map(|sealed| sealed.0.to_vec())
            .unwrap_or_default(),
        shown_before: evidence
            .shown_before
            .iter()
            .map(|(coordinator, sealed)| v1::Shown {
                coordinator: coordinator.0.to_vec(),
                sealed: sealed.map(|sealed| sealed.0.to_vec()).unwrap_or_default(),
            })
            .collect(),
    }
}

fn evidence_from_wire(evidence: v1::Evidence) -> Result<Evidence, ConvertError> {
    Ok(Evidence {
        genesis: BlockHash(fixed("genesis", &evidence.genesis)?),
        netuid: netuid("netuid", evidence.netuid)?,
        assignment: AssignmentId(fixed("assignment", &evidence.assignment)?),
        submission: SubmissionId(fixed("submission", &evidence.submission)?),
        tier: small("tier", evidence.tier, u8::MAX.into())?,
        unit: small("unit", evidence.unit, u8::MAX.into())?,
        content: ContentDigest(fixed("content", &evidence.content)?),
        lease: LeaseId(fixed("lease", &evidence.lease)?),
        attempt: Attempt(evidence.attempt),
        run: RunId(fixed("run", &evidence.run)?),
        coordinator: Hotkey(fixed("coordinator", &evidence.coordinator)?),
        worker: Hotkey(fixed("worker", &evidence.worker)?),
        policy: Digest(fixed("policy", &evidence.policy)?),
        dataset: Digest(fixed("dataset", &evidence.dataset)?),
        image: Digest(fixed("image", &evidence.image)?),
        device: line("device", evidence.device, DEVICE_CHARS_MAX)?,
        ending: ending::from_wire(required("ending", evidence.ending)?)?,
        metrics: evidence.metrics.map(metrics_from_wire).transpose()?,
        started_at: UnixMs(evidence.started_at_unix_ms),
        ended_at: UnixMs(evidence.ended_at_unix_ms),
        salt: Salt(fixed("salt", &evidence.salt)?),
        coordinator_sealed: sealed_from_wire("coordinator_sealed", &evidence.coordinator_sealed)?,
        shown_before: shown_from_wire(&evidence.shown_before)?,
    })
}

fn sealed_from_wire(field: &'static str, sealed: &[u8]) -> Result<Option<Digest>, ConvertError> {
    match sealed {
        [] => Ok(None),
        sealed => fixed(field, sealed).map(|sealed| Some(Digest(sealed))),
    }
}

/// In ascending order, or the same evidence would have several forms.
fn shown_from_wire(shown: &[v1::Shown]) -> Result<BTreeMap<Hotkey, Option<Digest>>, ConvertError> {
    at_most("shown_before", shown, SHOWN_BEFORE_MAX)?;
    let mut read = BTreeMap::new();
    for one in shown {
        let coordinator = Hotkey(fixed("coordinator", &one.coordinator)?);
        if read.last_key_value().is_some_and(|(last, _)| *last >= coordinator) {
            return Err(ConvertError::Order { field: "shown_before" });
        }
        read.insert(coordinator, sealed_from_wire("sealed", &one.sealed)?);
    }
    Ok(read)
}

fn metrics_to_wire(metrics: &Metrics) -> v1::Metrics {
    v1::Metrics {
        sum_nll_nanonats: metrics.sum_nll_nanonats,
        covered_bytes: metrics.covered_bytes,
        tokens: metrics.tokens,
        batches: metrics.batches,
        bad_batches: metrics.bad_batches,
        audits: metrics.audits,
        step0_loss_nanonats: metrics.step0_loss_nanonats,
        vocabulary: metrics.vocabulary,
        heldout_init_nanobpb: metrics.heldout_init_nanobpb,
        heldout_nanobpb: metrics.heldout_nanobpb,
        last_tenth_nanobpb: metrics.last_tenth_nanobpb,
        parameters: metrics.parameters,
        peak_memory_bytes: metrics.peak_memory_bytes,
        loss_curve_microbpb: metrics.loss_curve_microbpb.clone(),
        scored_positions: metrics.conduct.scored_positions,
        trained_batches: metrics.conduct.trained_batches,
        wall_ms: metrics.conduct.wall_ms,
        peak_device_bytes: metrics.conduct.peak_device_bytes,
        hooks_used: hooks_to_wire(&metrics.conduct.hooks_used),
        architecture: metrics.conduct.architecture.clone().map_or_else(Vec::new, Vec::from),
        flags: flags_to_wire(&metrics.conduct.flags),
        idle_parameters: metrics.conduct.idle_parameters,
        embedding_parameters: metrics.conduct.embedding_parameters,
        probes: metrics.conduct.probes.iter().map(probe_to_wire).collect(),
    }
}

fn hooks_to_wire(hooks: &BTreeMap<Hook, u32>) -> Vec<v1::HookUse> {
    let wire = (0_u32..).zip(Hook::ALL);
    wire.filter_map(|(number, hook)| Some(v1::HookUse { hook: number, uses: *hooks.get(&hook)? }))
        .collect()
}

/// In ascending order, or the same metrics would have several forms.
fn hooks_from_wire(hooks: &[v1::HookUse]) -> Result<BTreeMap<Hook, u32>, ConvertError> {
    at_most("hooks_used", hooks, Hook::ALL.len())?;
    let mut read = BTreeMap::new();
    for one in hooks {
        let number = usize::try_from(one.hook).unwrap_or(usize::MAX);
        let (max, got) = (Hook::ALL.len() as u64 - 1, u64::from(one.hook));
        let unknown = ConvertError::Range { field: "hooks_used", got, min: 0, max };
        let hook = *Hook::ALL.get(number).ok_or(unknown)?;
        if read.last_key_value().is_some_and(|(last, _)| *last >= hook) {
            return Err(ConvertError::Order { field: "hooks_used" });
        }
        read.insert(hook, one.uses);
    }
    Ok(read)
}

/// No labels are no architecture.
fn architecture_from_wire(labels: Vec<u64>) -> Result<Option<Fingerprint>, ConvertError> {
    const FIELD: &str = "architecture";
    at_most(FIELD, &labels, SKETCH_MAX)?;
    if labels.is_empty() {
        return Ok(None);
    }
    // Neither none nor too many: what is left to be wrong is their order.
    Fingerprint::try_from(labels).map(Some).map_err(|_| ConvertError::Order { field: FIELD })
}

fn flags_to_wire(flags: &BTreeSet<Flag>) -> Vec<u32> {
    let wire = (0_u32..).zip(Flag::ALL);
    wire.filter_map(|(number, flag)| flags.contains(&flag).then_some(number)).collect()
}

/// In ascending order, as hooks are.
fn flags_from_wire(flags: &[u32]) -> Result<BTreeSet<Flag>, ConvertError> {
    at_most("flags", flags, Flag::ALL.len())?;
    let mut read = BTreeSet::new();
    for one in flags {
        let number = usize::try_from(*one).unwrap_or(usize::MAX);
        let (max, got) = (Flag::ALL.len() as u64 - 1, u64::from(*one));
        let unknown = ConvertError::Range { field: "flags", got, min: 0, max };
        let flag = *Flag::ALL.get(number).ok_or(unknown)?;
        if read.last().is_some_and(|last| *last >= flag) {
            return Err(ConvertError::Order { field: "flags" });
        }
        read.insert(flag);
    }
    Ok(read)
}

fn probe_to_wire(figure: &ProbeFigure) -> v1::ProbeFigure {
    v1::ProbeFigure {
        task: figure.task.into(),
        score_ppm: figure.score_ppm,
        loss_micronats: figure.loss_micronats,
        floor_micronats: figure.floor_micronats,
    }
}

fn probes_from_wire(probes: &[v1::ProbeFigure]) -> Result<Vec<ProbeFigure>, ConvertError> {
    at_most("probes", probes, PROBE_TASKS_MAX)?;
    let mut read: Vec<ProbeFigure> = Vec::with_capacity(probes.len());
    for one in probes {
        let task = small("task", one.task, u8::MAX.into())?;
        if read.last().is_some_and(|last| last.task >= task) {
            return Err(ConvertError::Order { field: "probes" });
        }
        let v1::ProbeFigure { task: _, score_ppm, loss_micronats, floor_micronats } = *one;
        read.push(ProbeFigure { task, score_ppm, loss_micronats, floor_micronats });
    }
    Ok(read)
}

fn metrics_from_wire(metrics: v1::Metrics) -> Result<Metrics, ConvertError> {
    at_most("loss_curve_microbpb", &metrics.loss_curve_microbpb, LOSS_CURVE_POINTS_MAX)?;
    Ok(Metrics {
        sum_nll_nanonats: metrics.sum_nll_nanonats,
        covered_bytes: metrics.covered_bytes,
        tokens: metrics.tokens,
        batches: metrics.batches,
        bad_batches: metrics.bad_batches,
        audits: metrics.audits,
        step0_loss_nanonats: metrics.step0_loss_nanonats,
        vocabulary: metrics.vocabulary,
        heldout_init_nanobpb: metrics.heldout_init_nanobpb,
        heldout_nanobpb: metrics.heldout_nanobpb,
        last_tenth_nanobpb: metrics.last_tenth_nanobpb,
        parameters: metrics.parameters,
        peak_memory_bytes: metrics.peak_memory_bytes,
        loss_curve_microbpb: metrics.loss_curve_microbpb,
        conduct: Conduct {
            scored_positions: metrics.scored_positions,
            trained_batches: metrics.trained_batches,
            wall_ms: metrics.wall_ms,
            peak_device_bytes: metrics.peak_device_bytes,
            hooks_used: hooks_from_wire(&metrics.hooks_used)?,
            architecture: architecture_from_wire(metrics.architecture)?,
            flags: flags_from_wire(&metrics.flags)?,
            idle_parameters: metrics.idle_parameters,
            embedding_parameters: metrics.embedding_parameters,
            probes: probes_from_wire(&metrics.probes)?,
        },
    })
}
