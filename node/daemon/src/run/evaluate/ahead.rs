//! Containers made before there is a run for them: at most one per device.
//!
//! ```text
//! prepare --> created, checked against the profile, not started --------------> take --> a run
//!                 |                                                               ^
//!                 +- if the policy allows it: started, waits on its own socket ---+
//! ```
//!
//! Each has a directory of its own, which its run takes over. Nothing of a submission exists in any
//! of them: what a waiting one executes is the node's program in the node's image. One that cannot
//! be had, for whatever reason, costs nothing but the time it would have saved: the run makes its
//! own container then.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use node_core::id::{Digest, RunId};
use node_core::inventory::DeviceId;
use node_core::outcome::Ending;
use node_core::policy::RunLimits;
use node_runner::{Container, Engine, Owner, Run, SandboxSpec, Waiting};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::directory::RunDirectory;
use crate::run::perform::describe;

/// How long a container that is to wait may take until it connects. Lower: a busy host has none.
/// Higher: a run that comes meanwhile waits for it in vain for that long.
const CONNECT_MAX: Duration = Duration::from_secs(15);

/// What decides whether a container fits a run: everything but whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) image: Digest,
    pub(super) limits: RunLimits,
    /// UUIDs of the GPUs or slices that it gets.
    pub(super) gpus: Vec<String>,
}

impl Template {
    /// A container of this kind.
    pub(super) fn sandbox(&self, owner: Owner, directory: &RunDirectory) -> SandboxSpec {
        SandboxSpec {
            owner,
            image: self.image,
            command: RunDirectory::command(),
            binds: directory.binds(),
            limits: self.limits.clone(),
            gpus: self.gpus.clone(),
        }
    }
}

/// How the meter reaches the container.
#[derive(Debug)]
pub(super) enum Channel {
    /// It connects once it runs.
    Expected(UnixListener),
    /// It is connected and waits.
    Open(UnixStream),
}

/// A container that runs, for a run.
#[derive(Debug)]
pub(super) struct Berth {
    pub(super) run: Run,
    /// Removed with the last of it.
    pub(super) directory: RunDirectory,
}

/// A container for whatever runs next on a device.
#[derive(Debug)]
pub(super) struct Spare {
    template: Template,
    stage: Stage,
    directory: RunDirectory,
}

#[derive(Debug)]
enum Stage {
    Created { container: Container, listener: UnixListener },
    Waiting { container: Waiting, stream: UnixStream },
}

impl Spare {
    /// Gives it to a run.
    ///
    /// # Errors
    ///
    /// Why it cannot be used; it is gone then, and nothing of the run was near it.
    pub(super) async fn assign(self, run: &RunId) -> Result<Assigned, String> {
        let stage = match self.stage {
            Stage::Created { container, listener } => {
                container.assign(run).await.map_err(|error| describe(&error))?;
                AssignedStage::Created { container, listener }
            }
            Stage::Waiting { container, stream } => {
                let run = container.assign(run).await.map_err(|error| describe(&error))?;
                AssignedStage::Running { run, stream }
            }
        };
        Ok(Assigned { stage, directory: self.directory })
    }

    /// Whether it can serve such a run.
    fn fits(&self, template: &Template) -> bool {
        let is_alive = match &self.stage {
            Stage::Created { .. } => true,
            Stage::Waiting { container, .. } => !container.has_ended(),
        };
        is_alive && self.template == *template
    }

    async fn remove(self) {
        match self.stage {
            Stage::Created { container, .. } => container.remove().await,
            Stage::Waiting { container, .. } => container.remove().await,
        }
    }
}

/// A container that belongs to a run.
#[derive(Debug)]
pub(super) struct Assigned {
    stage: AssignedStage,
    directory: RunDirectory,
}

#[derive(Debug)]
enum AssignedStage {
    Created { container: Container, listener: UnixListener },
    Running { run: Run, stream: UnixStream },
}

impl Assigned {
    /// One that was created for its run.
    pub(super) fn created(
        container: Container,
        listener: UnixListener,
        directory: RunDirectory,
    ) -> Self {
        Self { stage: AssignedStage::Created { container, listener }, directory }
    }

    /// Tells the meter how it is reached, and starts it if it does not run yet. In this order,
    /// because its first act is to connect.
    ///
    /// # Errors
    ///
    /// How the run ended that has no container now. No other one may be tried: the meter may have
    /// heard from this one.
    pub(super) async fn begin(self, channel: oneshot::Sender<Channel>) -> Result<Berth, Ending> {
        let directory = self.directory;
        // The meter is gone only if the run is.
        let hand_over = |open: Channel| drop(channel.send(open));
        let run = match self.stage {
            AssignedStage::Created { container, listener } => {
                hand_over(Channel::Expected(listener));
                container.start().await.map_err(|error| error.ending())?
            }
            AssignedStage::Running { run, stream } => {
                hand_over(Channel::Open(stream));
                run
            }
        };
        Ok(Berth { run, directory })
    }
}

/// One place per device for the container of its next run.
#[derive(Debug)]
pub(super) struct Ahead {
    engine: Engine,
    /// Holds their directories.
    runs_dir: PathBuf,
    /// Whether they are started, to wait.
    is_warm: bool,
    next: AtomicU32,
    /// `None` once nothing is to be prepared any more. Held for an operation on the map, never
    /// across an await.
    places: Mutex<Option<BTreeMap<DeviceId, JoinHandle<Option<Spare>>>>>,
}

impl Ahead {
    pub(super) fn new(engine: Engine, runs_dir: PathBuf, is_warm: bool) -> Self {
        let places = Mutex::new(Some(BTreeMap::new()));
        Self { engine, runs_dir, is_warm, next: AtomicU32::new(0), places }
    }

    /// Has a container made for the next run on a device, in the background. Does nothing if one
    /// is there or being made.
    pub(super) fn prepare(&self, device: &DeviceId, template: &Template) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(places) = places.as_mut() else { return };
        if places.contains_key(device) {
            return;
        }
        // As long as the short name of a run, and never one: no digit of a run's id is an x.
        let number = self.next.fetch_add(1, Ordering::Relaxed) % 10_000_000;
        let path = self.runs_dir.join(format!("x{number:07}"));
        let (engine, is_warm) = (self.engine.clone(), self.is_warm);
        let (device_of, template) = (device.clone(), template.clone());
        let making = tokio::spawn(async move {
            let made = make(engine, path, device_of, template, is_warm).await;
            made.map_err(|error| tracing::warn!(error, "no container could be made ahead")).ok()
        });
        places.insert(device.clone(), making);
    }

    /// The container that was made for this device, if it fits. Waits for one that is being made:
    /// making another one would not be faster.
    pub(super) async fn take(&self, device: &DeviceId, template: &Template) -> Option<Spare> {
        let making = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.as_mut()?.remove(device)?
        };
        let spare = making.await.ok()??;
        if spare.fits(template) {
            return Some(spare);
        }
        spare.remove().await;
        None
    }

    /// Removes every container that was made and prepares no more.
    pub(super) async fn close(&self) {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner).take();
        for making in places.into_iter().flat_map(BTreeMap::into_values) {
            if let Ok(Some(spare)) = making.await {
                spare.remove().await;
            }
        }
    }
}

async fn make(
    engine: Engine,
    path: PathBuf,
    device: DeviceId,
    template: Template,
    is_warm: bool,
) -> Result<Spare, String> {
    let (directory, listener) = RunDirectory::make(path).map_err(|error| describe(&error))?;
    let sandbox = template.sandbox(Owner::Ahead { device }, &directory);
    let container = engine.create(sandbox).await.map_err(|error| describe(&error))?;
    if !is_warm {
        return Ok(Spare { template, stage: Stage::Created { container, listener }, directory });
    }
    let container = container.start_waiting().await.map_err(|error| describe(&error))?;
    let stream = match tokio::time::timeout(CONNECT_MAX, listener.accept()).await {
        Ok(Ok((stream, _))) => stream,
        Ok(Err(error)) => return Err(format!("its socket failed: {error}")),
        Err(_elapsed) => return Err("it did not connect in time".to_owned()),
    };
    // The listener ends here: whoever connects second finds nobody.
    Ok(Spare { template, stage: Stage::Waiting { container, stream }, directory })
}
