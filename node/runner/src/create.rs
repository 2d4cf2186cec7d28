//! Making a container, holding it against the profile, and starting it.

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, RenameContainerOptions,
};
use bollard::Docker;
use node_core::id::{Digest, RunId};
use node_core::limits::clip_detail;
use node_core::outcome::Ending;
use node_core::policy::RunLimits;

use crate::engine::Engine;
use crate::profile::{difference, ProfileDifference, Settings};
use crate::spec::{Owner, SandboxSpec, SpecRefused};
use crate::supervise::{self, EarlyLook, Run, Watched};
use crate::waiting::Waiting;
use crate::{convert, teardown, EngineFault};

/// Why there is no container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The spec itself is wrong; the engine was not asked.
    #[error("the container cannot be as asked")]
    SpecRefused {
        /// What is wrong.
        #[source]
        source: SpecRefused,
    },
    /// The image is not on this host.
    #[error("image sha256:{image} is not on this host")]
    ImageMissing {
        /// Which.
        image: Digest,
    },
    /// The run already has a container, perhaps from before a restart.
    #[error("run {run} already has a container")]
    AlreadyExists {
        /// Which run.
        run: RunId,
    },
    /// The created container is not as the profile wants it. It was removed.
    #[error("the container differs from the sandbox profile")]
    ProfileMismatch {
        /// The first setting that differs.
        #[source]
        source: ProfileDifference,
    },
    /// The engine refused or did not answer.
    #[error("cannot {step} the container")]
    Engine {
        /// What was being done.
        step: &'static str,
        /// What the engine said.
        #[source]
        source: EngineFault,
    },
}

/// Why a container did not start. It was removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {step} the container")]
pub struct StartError {
    /// What was being done.
    pub step: &'static str,
    /// Whether the engine could not give it its GPUs.
    pub lacks_device: bool,
    /// What the engine said.
    #[source]
    pub source: EngineFault,
}

/// Words in an engine's refusal that are about devices.
const DEVICE_WORDS: [&str; 4] = ["device driver", "nvidia", "cdi", "gpu"];

impl StartError {
    fn new(step: &'static str, source: EngineFault, has_gpus: bool) -> Self {
        let text = source.to_string().to_lowercase();
        let lacks_device = has_gpus && DEVICE_WORDS.iter().any(|word| text.contains(word));
        Self { step, lacks_device, source }
    }
}

impl CreateError {
    /// How the run ended that wanted this container.
    #[must_use]
    pub fn ending(&self) -> Ending {
        match self {
            Self::ImageMissing { .. } => Ending::ImageMissing,
            Self::ProfileMismatch { source } => {
                Ending::ProfileMismatch { detail: clip_detail(&source.to_string()) }
            }
            Self::SpecRefused { source } => engine_failed(self, source),
            Self::Engine { source, .. } => engine_failed(self, source),
            Self::AlreadyExists { .. } => {
                Ending::EngineFailed { detail: clip_detail(&self.to_string()) }
            }
        }
    }
}

impl StartError {
    /// How the run ended that wanted this container.
    #[must_use]
    pub fn ending(&self) -> Ending {
        if self.lacks_device {
            let detail = clip_detail(&format!("{self}: {}", self.source));
            return Ending::DeviceFailed { detail };
        }
        engine_failed(self, &self.source)
    }
}

fn engine_failed(what: &dyn std::fmt::Display, why: &dyn std::fmt::Display) -> Ending {
    Ending::EngineFailed { detail: clip_detail(&format!("{what}: {why}")) }
}

/// A created container whose settings are those of the profile. Dropped without a start, it is
/// removed in the background.
#[derive(Debug)]
pub struct Container {
    docker: Docker,
    id: String,
    limits: RunLimits,
    has_gpus: bool,
    /// Every setting, as it has to be.
    wanted: Settings,
    /// Cleared when the supervisor takes over the duty to remove it.
    owned: bool,
}

impl Engine {
    /// Creates the container of a run and checks every setting of the created one.
    ///
    /// # Errors
    ///
    /// [`CreateError`]; no container is left behind, except that of
    /// [`CreateError::AlreadyExists`], which is not ours to judge here.
    pub async fn create(&self, spec: SandboxSpec) -> Result<Container, CreateError> {
        let engine = self.clone();
        // On a task of its own, so that a caller who gives up does not leave a container behind
        // between its creation and the first moment at which somebody owns it.
        let task = tokio::spawn(async move { engine.create_with(spec, |_| ()).await });
        task.await.unwrap_or_else(|error| {
            let source = EngineFault::Lost { message: error.to_string() };
            Err(CreateError::Engine { step: "create", source })
        })
    }

    /// `alter` lets a test ask the engine for something else than the profile.
    async fn create_with(
        &self,
        spec: SandboxSpec,
        alter: impl FnOnce(&mut ContainerCreateBody) + Send,
    ) -> Result<Container, CreateError> {
        spec.check(self.endpoint().socket())
            .map_err(|source| CreateError::SpecRefused { source })?;
        let image = self
            .image_facts(&spec.image)
            .await
            .map_err(|source| CreateError::Engine { step: "find the image of", source })?;
        let image = image.ok_or(CreateError::ImageMissing { image: spec.image })?;
        let body = convert::create_body(&spec, self.around(), &image);
        let wanted = convert::wanted(&body, self.around());
        let mut asked = body;
        alter(&mut asked);
        let container = self.request(&spec, asked, wanted).await?;
        match compare(&container.docker, &container.id, &container.wanted).await {
            Ok(()) => Ok(container),
            Err(error) => {
                container.discard().await;
                Err(error)
            }
        }
    }

    async fn request(
        &self,
        spec: &SandboxSpec,
        body: ContainerCreateBody,
        wanted: Settings,
    ) -> Result<Container, CreateError> {
        // The engine names one that is nobody's yet.
        let run = match &spec.owner {
            Owner::Run(labels) => Some(labels.run),
            Owner::Ahead { .. } => None,
        };
        let name = run.as_ref().map(convert::container_name);
        let options = CreateContainerOptions { name, ..CreateContainerOptions::default() };
        let created = self.docker().create_container(Some(options), body).await;
        let created = created.map_err(|error| match (convert::fault(error), run) {
            (EngineFault::Answered { status: 409, .. }, Some(run)) => {
                CreateError::AlreadyExists { run }
            }
            (EngineFault::Answered { status: 404, .. }, _) => {
                self.forget_image(&spec.image);
                CreateError::ImageMissing { image: spec.image }
            }
            (source, _) => CreateError::Engine { step: "create", source },
        })?;
        Ok(Container {
            docker: self.docker().clone(),
            id: created.id,
            limits: spec.limits.clone(),
            has_gpus: !spec.gpus.is_empty(),
            wanted,
            owned: true,
        })
    }
}

impl Container {
    /// The engine's name for it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Starts it under supervision. The wall clock of its limits runs from here.
    ///
    /// # Errors
    ///
    /// [`StartError`]; the container is removed.
    pub async fn start(self) -> Result<Run, StartError> {
        Ok(supervise::spawn(self.begin_or_discard().await?))
    }

    /// Starts one that was made ahead, to wait for a run: the wall clock of its limits runs once
    /// it is given to one. Every other limit holds from here. Its settings are compared with the
    /// profile once more: there is time.
    ///
    /// # Errors
    ///
    /// [`CreateError::Engine`] or [`CreateError::ProfileMismatch`]; the container is removed.
    pub async fn start_waiting(self) -> Result<Waiting, CreateError> {
        let (docker, id, wanted) = (self.docker.clone(), self.id.clone(), self.wanted.clone());
        let watched = self.begin_or_discard().await.map_err(|error| {
            let StartError { step, source, .. } = error;
            CreateError::Engine { step, source }
        })?;
        let waiting = Waiting::new(docker.clone(), id.clone(), watched);
        match compare(&docker, &id, &wanted).await {
            Ok(()) => Ok(waiting),
            Err(error) => {
                waiting.remove().await;
                Err(error)
            }
        }
    }

    async fn begin_or_discard(mut self) -> Result<Watched, StartError> {
        match self.begin().await {
            Ok(watched) => {
                self.owned = false;
                Ok(watched)
            }
            Err(error) => {
                self.discard().await;
                Err(error)
            }
        }
    }

    async fn begin(&self) -> Result<Watched, StartError> {
        let has_gpus = self.has_gpus;
        let failed = |step: &'static str| {
            move |error| StartError::new(step, convert::fault(error), has_gpus)
        };
        // Attached before the start, so that the first byte already counts.
        let attach = AttachContainerOptions {
            stream: true,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        let attached = self.docker.attach_container(&self.id, Some(attach)).await;
        let output = attached.map_err(failed("attach to"))?.output;
        let mut early = EarlyLook::new(output, &self.limits);
        let start = self.docker.start_container(&self.id, None);
        early.during(&self.id, start).await.map_err(failed("start"))?;
        let (docker, id) = (self.docker.clone(), self.id.clone());
        Ok(Watched::new(docker, id, self.limits.clone(), early).await)
    }

    async fn discard(mut self) {
        self.owned = false;
        if let Err(fault) = teardown::remove(&self.docker, &self.id).await {
            tracing::warn!(container = self.id, %fault, "container not removed");
        }
    }
}

/// Holds a container against the profile.
async fn compare(docker: &Docker, id: &str, wanted: &Settings) -> Result<(), CreateError> {
    let inspected = docker.inspect_container(id, None).await.map_err(|error| {
        let source = convert::fault(error);
        CreateError::Engine { step: "inspect", source }
    })?;
    match difference(wanted, &convert::found(&inspected)) {
        Some(source) => Err(CreateError::ProfileMismatch { source }),
        None => Ok(()),
    }
}

/// Gives a container the name by which a run's container is found and killed.
pub(crate) async fn rename(docker: &Docker, id: &str, run: &RunId) -> Result<(), CreateError> {
    let options = RenameContainerOptions { name: convert::container_name(run) };
    let renamed = docker.rename_container(id, options).await;
    renamed.map_err(|error| match convert::fault(error) {
        EngineFault::Answered { status: 409, .. } => CreateError::AlreadyExists { run: *run },
        source => CreateError::Engine { step: "rename", source },
    })
}

impl Drop for Container {
    fn drop(&mut self) {
        if !self.owned {
            return;
        }
        // Without a runtime the process is ending; the next start finds it by its labels.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (docker, id) = (self.docker.clone(), std::mem::take(&mut self.id));
        runtime.spawn(async move {
            if let Err(fault) = teardown::remove(&docker, &id).await {
                tracing::warn!(container = id, %fault, "container not removed");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard::models::{ContainerUpdateBody, HostConfig};

    use super::*;
    use crate::spec::tests::{owner, sample};
    use crate::EngineConfig;

    type Alter = fn(&mut HostConfig);

    /// One way to weaken the sandbox each, and the setting that must be named for it.
    const WEAKER: [(&str, Alter); 15] = [
        ("HostConfig.NetworkMode", |c| c.network_mode = Some("host".to_owned())),
        ("HostConfig.ReadonlyRootfs", |c| c.readonly_rootfs = Some(false)),
        ("HostConfig.Tmpfs", |c| {
            c.tmpfs = Some(HashMap::from([("/tmp".to_owned(), "exec".to_owned())]));
        }),
        ("HostConfig.CapDrop", |c| c.cap_drop = None),
        ("HostConfig.CapAdd", |c| c.cap_add = Some(vec!["SYS_PTRACE".to_owned()])),
        ("HostConfig.SecurityOpt", |c| {
            c.security_opt.iter_mut().flatten().for_each(|o| *o = "seccomp=unconfined".to_owned());
        }),
        // The engine's own list of system calls.
        ("HostConfig.SecurityOpt", |c| {
            c.security_opt.iter_mut().for_each(|o| o.truncate(1));
        }),
        ("HostConfig.PidMode", |c| c.pid_mode = Some("host".to_owned())),
        ("HostConfig.IpcMode", |c| c.ipc_mode = Some("shareable".to_owned())),
        ("HostConfig.MemorySwap", |c| c.memory_swap = Some(-1)),
        ("HostConfig.PidsLimit", |c| c.pids_limit = Some(-1)),
        ("HostConfig.NanoCpus", |c| c.nano_cpus = None),
        ("HostConfig.Ulimits", |c| c.ulimits = None),
        ("HostConfig.MaskedPaths", |c| c.masked_paths = Some(Vec::new())),
        ("HostConfig.Binds", |c| c.binds = Some(vec!["/etc:/assay/etc".to_owned()])),
    ];

    async fn engine_and_image() -> (Engine, Digest) {
        let config = EngineConfig { host: None, runtime: None, node: "altered".to_owned() };
        let engine = Engine::connect(config).await.expect("run scripts/engine ensure --install");
        let image = engine.image("assay-test:busybox").await.expect("the engine answers");
        (engine, image.expect("run scripts/images busybox"))
    }

    /// A remote engine's containers have no cgroup here.
    #[tokio::test]
    async fn without_the_kernels_counters_the_engines_tell_that_the_process_limit_is_reached() {
        let (engine, image) = engine_and_image().await;
        // With the shell itself these are as many as it may have.
        let script = "for i in 1 2 3 4 5 6 7; do sleep 1000 & done; wait";
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        let mut spec = SandboxSpec { owner: owner(0x6f), image, command, ..sample() };
        spec.limits.pids = 8;
        spec.limits.wall_ms = 20_000;
        let mut container = engine.create(spec).await.unwrap();
        let mut watched = container.begin().await.unwrap();
        watched.use_engine_counters();
        container.owned = false;
        let report = supervise::spawn(watched).finished().await;
        assert_eq!(report.ending, Some(Ending::OutOfPids), "{report:?}");
        assert!(report.usage.peak_memory_bytes > 0, "{report:?}");
    }

    #[tokio::test]
    async fn a_container_whose_settings_were_changed_before_it_waits_is_noticed_and_removed() {
        let (engine, image) = engine_and_image().await;
        let device = node_core::inventory::DeviceId("cpu-0".to_owned());
        let command = ["sleep", "1000"].map(str::to_owned).to_vec();
        let spec = SandboxSpec { owner: Owner::Ahead { device }, image, command, ..sample() };
        let container = engine.create(spec).await.unwrap();
        let id = container.id().to_owned();
        let weaker = ContainerUpdateBody { pids_limit: Some(4096), ..Default::default() };
        engine.docker().update_container(&id, weaker).await.unwrap();
        match container.start_waiting().await {
            Err(CreateError::ProfileMismatch { source }) => {
                assert_eq!(source.setting, "HostConfig.PidsLimit", "{source}");
            }
            other => panic!("{other:?}"),
        }
        let left = engine.leftovers().await.unwrap();
        assert!(left.iter().all(|leftover| leftover.container_id != id));
    }

    #[test]
    fn an_engine_that_cannot_give_a_gpu_names_the_device_and_not_itself() {
        let said =
            |message: &str| EngineFault::Answered { status: 500, message: message.to_owned() };
        let no_driver = "could not select device driver \"nvidia\" with capabilities: [[gpu]]";
        let device = StartError::new("start", said(no_driver), true).ending();
        assert!(matches!(device, Ending::DeviceFailed { .. }), "{device:?}");
        for (text, has_gpus) in [(no_driver, false), ("no space left", true)] {
            let engine = StartError::new("start", said(text), has_gpus).ending();
            assert!(matches!(engine, Ending::EngineFailed { .. }), "{engine:?}");
        }
    }

    #[tokio::test]
    async fn a_created_container_with_any_weaker_setting_is_noticed_and_removed() {
        let (engine, image) = engine_and_image().await;
        for (index, (setting, weaken)) in WEAKER.into_iter().enumerate() {
            let number = 0x70 + u8::try_from(index).unwrap();
            let run = RunId([number; 32]);
            let spec = SandboxSpec { owner: owner(number), image, ..sample() };
            let made = engine.create_with(spec, |body| {
                weaken(body.host_config.as_mut().expect("the profile has host settings"));
            });
            match made.await {
                Err(CreateError::ProfileMismatch { source }) => {
                    assert_eq!(source.setting, setting, "{source}");
                }
                other => panic!("{setting}: {other:?}"),
            }
            let left = engine.leftovers().await.unwrap();
            assert!(left.iter().all(|leftover| leftover.run != Some(run)), "{setting}");
        }
    }
}
