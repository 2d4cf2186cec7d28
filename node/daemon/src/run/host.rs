//! What this host offers to runs: its engine with the image, the data set, the devices.

use std::collections::BTreeMap;
use std::sync::Arc;

use node_core::id::{Digest, RunId};
use node_core::inventory::{Device, DeviceKind};
use node_core::placement::HostPlacement;
use node_core::policy::Policy;
use node_evaluator::dataset::Dataset;
use node_runner::{Engine, EngineConfig, Leftover};

use super::identity::instance;
use super::refused;
use crate::config::{Config, GpuUse};
use crate::dataset::open_for;
use crate::failure::Failure;

/// What this host offers to runs.
pub(super) struct Host {
    pub(super) engine: Engine,
    pub(super) image: Digest,
    pub(super) dataset: Arc<Dataset>,
    pub(super) devices: Vec<Device>,
    pub(super) leftovers: BTreeMap<RunId, Leftover>,
    /// Why it runs nothing, if so.
    pub(super) reasons: Vec<String>,
}

/// Opens the data set, connects the engine, and finds image, devices and leftovers.
///
/// # Errors
///
/// A [`Failure`] that names what is missing and what to do about it.
pub(super) async fn prepare_host(config: &Config, policy: &Policy) -> Result<Host, Failure> {
    let dataset = open_dataset(config, policy).await?;
    let node = instance(config.data_dir.path()).map_err(refused::identity)?;
    let engine = EngineConfig {
        host: config.engine.host.clone(),
        runtime: config.engine.runtime.clone(),
        node,
    };
    let engine = Engine::connect(engine).await.map_err(|error| {
        let hint = error.hint();
        Failure::unavailable(error).hint(hint)
    })?;
    for warning in &engine.info().warnings {
        tracing::warn!("{warning}");
    }
    let tag = &config.images.evaluator;
    let image = engine.image(tag).await.map_err(refused::image)?.ok_or_else(|| {
        Failure::unavailable(format!("the evaluator image `{tag}` is not on this host"))
            .hint(Engine::IMAGE_HINT)
    })?;
    let leftovers = find_leftovers(&engine).await?;
    let is_for_cpus = engine.is_for_cpus(tag, &image).await.map_err(refused::image)?;
    let no_gpus = gpus_without_use(tag, is_for_cpus, policy.run.device);
    let (devices, reasons) = find_devices(config, policy, no_gpus);
    Ok(Host { engine, image, dataset: Arc::new(dataset), devices, leftovers, reasons })
}

async fn open_dataset(config: &Config, policy: &Policy) -> Result<Dataset, Failure> {
    let (path, policy) = (config.challenge.nas.dataset.clone(), policy.clone());
    let opened = tokio::task::spawn_blocking(move || open_for(&path, &policy)).await;
    opened.map_err(Failure::unexpected)?.map_err(|fault| {
        let next = fault.next_step();
        Failure::unavailable(fault).hint(next)
    })
}

/// Containers of an earlier life. Those whose label cannot be read are removed at once.
async fn find_leftovers(engine: &Engine) -> Result<BTreeMap<RunId, Leftover>, Failure> {
    let mut by_run = BTreeMap::new();
    for leftover in engine.leftovers().await.map_err(refused::leftovers)? {
        match leftover.run {
            Some(run) => {
                by_run.insert(run, leftover);
            }
            None => engine.remove_leftover(&leftover).await.map_err(refused::leftovers)?,
        }
    }
    Ok(by_run)
}

/// Why no GPU is used, although the rules are for GPUs: in this image a run would compute on the
/// CPU until its time is over, and its miner would be told that it was too slow.
pub(crate) fn gpus_without_use(tag: &str, is_for_cpus: bool, needed: DeviceKind) -> Option<String> {
    (is_for_cpus && needed != DeviceKind::CpuSlot).then(|| {
        format!("the image `{tag}` computes on CPUs and the rules are for GPUs: no GPU is used")
    })
}

/// - `no_gpus`: why GPUs are left alone, if so.
fn find_devices(
    config: &Config,
    policy: &Policy,
    no_gpus: Option<String>,
) -> (Vec<Device>, Vec<String>) {
    let slots = usize::try_from(config.devices.cpu_slots).unwrap_or(usize::MAX);
    let mut devices = node_gpu::cpu_slots(slots, config.devices.cpu_memory_mib);
    if let Some(reason) = &no_gpus {
        tracing::warn!("{reason}; {}", Engine::GPU_IMAGE_HINT);
    }
    let mut reasons: Vec<String> = no_gpus.into_iter().collect();
    if config.devices.gpus == GpuUse::Auto && reasons.is_empty() {
        match node_gpu::inventory_within(node_gpu::ANSWER_MAX) {
            Ok(inventory) => {
                for fault in &inventory.faults {
                    tracing::warn!("not used: {fault}");
                }
                for cut in &inventory.cut {
                    tracing::info!(device = %cut.id, "cut into slices, which are used instead");
                }
                devices.extend(inventory.devices);
            }
            Err(absence) => tracing::info!(%absence, "no GPUs"),
        }
    }
    if let Err(refusal) = HostPlacement::new(&devices).check(&policy.run) {
        reasons.push(format!("{refusal}: this node evaluates nothing"));
    }
    (devices, reasons)
}
