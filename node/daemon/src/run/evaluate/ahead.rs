//! Containers made before there is a run for them: one per device.
//!
//! ```text
//! prepare --> created, checked against the profile, started --+-- at its gate ---> take --> a run
//!                 ^                                           |                     ^
//!                 |  it ended, for whatever reason            |  if the policy      |
//!                 +-------------------------------------------+  allows it:         |
//!                                                             +- shim waits --------+
//! ```
//!
//! At its gate a container has everything but its program: that is a shell which waits for one line
//! (`node_runner::Gate`). Each has a directory of its own, which its run takes over. Nothing of a
//! submission exists in any of them. One that cannot be had, for whatever reason, costs nothing but
//! the time it would have saved: the run makes its own container then.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use node_core::id::{Digest, RunId};
use node_core::inventory::DeviceId;
use node_core::policy::RunLimits;
use node_runner::{Engine, Owner, Run, RunReport, SandboxSpec, Waiting};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::directory::RunDirectory;
use crate::run::perform::describe;

/// How long a container's program may take until it connects. Lower: a busy host has none. Higher:
/// a run that comes meanwhile waits for it in vain for that long.
const CONNECT_MAX: Duration = Duration::from_secs(15);

/// Pause before another container is made for one that could not be made, or did not last; doubled
/// each time.
const AGAIN_MIN: Duration = Duration::from_secs(1);
/// The longest pause. Lower: a broken engine is asked, and written about, all the time. Higher: the
/// next run after a restart of the engine makes its own.
const AGAIN_MAX: Duration = Duration::from_secs(60);

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
    /// It connects as its first act.
    Expected(UnixListener),
    /// It is connected and waits.
    Open(UnixStream),
}

/// A container that runs, for a run.
#[derive(Debug)]
pub(super) struct Berth {
    pub(super) run: Run,
    pub(super) channel: Channel,
    /// Removed with the last of it.
    pub(super) directory: RunDirectory,
}

/// A container for whatever runs next on a device.
#[derive(Debug)]
pub(super) struct Spare {
    template: Template,
    container: Waiting,
    channel: Channel,
    directory: RunDirectory,
}

impl Spare {
    /// Gives it to a run, and lets its program start if that has not.
    ///
    /// # Errors
    ///
    /// Why it cannot be used; it is gone then, and nothing of the run was near it.
    pub(super) async fn assign(self, run: &RunId) -> Result<Berth, String> {
        let Self { container, channel, directory, .. } = self;
        let mut run = container.assign(run).await.map_err(|error| describe(&error))?;
        let opened = match channel {
            Channel::Open(stream) => Ok(stream),
            Channel::Expected(listener) => match directory.open_gate() {
                Ok(()) => first_act(&listener, run.finished()).await,
                Err(error) => Err(describe(&error)),
            },
        };
        match opened {
            Ok(stream) => Ok(Berth { run, channel: Channel::Open(stream), directory }),
            Err(error) => {
                // Before its name is used again.
                run.stop(None);
                run.finished().await;
                Err(error)
            }
        }
    }

    /// Whether it can serve such a run.
    fn fits(&self, template: &Template) -> bool {
        !self.container.has_ended() && self.template == *template
    }
}

/// Waits until a container's program connects. One connection only: the caller drops the listener,
/// and whoever connects second finds nobody.
async fn first_act(
    listener: &UnixListener,
    ended: impl Future<Output = RunReport>,
) -> Result<UnixStream, String> {
    tokio::select! {
        biased;
        accepted = tokio::time::timeout(CONNECT_MAX, listener.accept()) => match accepted {
            Ok(Ok((stream, _))) => Ok(stream),
            Ok(Err(error)) => Err(format!("its socket failed: {error}")),
            Err(_elapsed) => Err("it did not connect in time".to_owned()),
        },
        report = ended => {
            Err(format!("it ended before it connected: {}", report.output_tail.trim()))
        }
    }
}

/// The place of a device: whoever drops `wanted` gets what `keeping` has.
#[derive(Debug)]
struct Place {
    wanted: oneshot::Sender<()>,
    keeping: JoinHandle<Option<Spare>>,
}

impl Place {
    async fn take(self) -> Option<Spare> {
        drop(self.wanted);
        self.keeping.await.ok()?
    }
}

/// One place per device for the container of its next run.
#[derive(Debug)]
pub(super) struct Ahead {
    engine: Engine,
    /// Holds their directories.
    runs_dir: PathBuf,
    /// Whether their shims are started, to wait.
    is_warm: bool,
    next: AtomicU32,
    /// `None` once nothing is to be prepared any more. Held for an operation on the map, never
    /// across an await.
    places: Mutex<Option<BTreeMap<DeviceId, Place>>>,
}

impl Ahead {
    pub(super) fn new(engine: Engine, runs_dir: PathBuf, is_warm: bool) -> Self {
        let places = Mutex::new(Some(BTreeMap::new()));
        Self { engine, runs_dir, is_warm, next: AtomicU32::new(0), places }
    }

    /// Has a container made for the next run on a device, in the background, and another one if
    /// that ends. Does nothing if one is there or being made.
    pub(super) fn prepare(&self, device: &DeviceId, template: &Template) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(places) = places.as_mut() else { return };
        if places.contains_key(device) {
            return;
        }
        // As long as the short name of a run, and never one: no digit of a run's id is an x.
        let number = self.next.fetch_add(1, Ordering::Relaxed) % 10_000_000;
        let maker = Maker {
            engine: self.engine.clone(),
            path: self.runs_dir.join(format!("x{number:07}")),
            device: device.clone(),
            template: template.clone(),
            is_warm: self.is_warm,
        };
        let (wanted, is_wanted) = oneshot::channel();
        let keeping = tokio::spawn(maker.keep(is_wanted));
        places.insert(device.clone(), Place { wanted, keeping });
    }

    /// The container that was made for this device, if it fits. Waits for one that is being made:
    /// making another one would not be faster.
    pub(super) async fn take(&self, device: &DeviceId, template: &Template) -> Option<Spare> {
        let place = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.as_mut()?.remove(device)?
        };
        let spare = place.take().await?;
        if spare.fits(template) {
            return Some(spare);
        }
        spare.container.remove().await;
        None
    }

    /// Removes every container that was made and prepares no more.
    pub(super) async fn close(&self) {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner).take();
        let places = places.into_iter().flat_map(BTreeMap::into_values);
        // All at once: to end one takes a fifth of a second.
        futures_util::future::join_all(places.map(|place| async {
            if let Some(spare) = place.take().await {
                spare.container.remove().await;
            }
        }))
        .await;
    }
}

/// Makes the container of one place.
struct Maker {
    engine: Engine,
    path: PathBuf,
    device: DeviceId,
    template: Template,
    is_warm: bool,
}

impl Maker {
    /// Has a container at hand until it is wanted. `None` if there is none then.
    async fn keep(self, mut wanted: oneshot::Receiver<()>) -> Option<Spare> {
        let mut pause = AGAIN_MIN;
        loop {
            match self.make().await {
                Ok(mut spare) => tokio::select! {
                    biased;
                    _ = &mut wanted => return Some(spare),
                    report = spare.container.finished() => {
                        let last = report.output_tail.trim();
                        tracing::warn!(device = %self.device, last, "a container made ahead ended");
                    }
                },
                Err(error) => {
                    tracing::warn!(device = %self.device, error, "no container could be made ahead");
                }
            }
            tokio::select! {
                biased;
                _ = &mut wanted => return None,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(AGAIN_MAX),
            }
        }
    }

    async fn make(&self) -> Result<Spare, String> {
        let path = self.path.clone();
        let (directory, listener) = RunDirectory::make(path).map_err(|error| describe(&error))?;
        let owner = Owner::Ahead { device: self.device.clone() };
        let sandbox = self.template.sandbox(owner, &directory);
        let container = self.engine.create(sandbox).await.map_err(|error| describe(&error))?;
        let mut container = container.start_waiting().await.map_err(|error| describe(&error))?;
        let channel = if self.is_warm {
            directory.open_gate().map_err(|error| describe(&error))?;
            Channel::Open(first_act(&listener, container.finished()).await?)
        } else {
            Channel::Expected(listener)
        };
        Ok(Spare { template: self.template.clone(), container, channel, directory })
    }
}
