//! The connection to the engine, made only if the engine can hold the limits of a run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard::{Docker, API_DEFAULT_VERSION};
use node_core::id::Digest;

use crate::convert::{ImageFacts, Surround};
use crate::endpoint::{candidates, Endpoint, Surroundings};
use crate::{convert, EngineFault, ENGINE_CALL_MAX, ENGINE_PING_MAX};

/// The OCI runtime where the operator names none. Never the engine's own default, which GPU
/// toolkits like to change.
const RUNTIME_DEFAULT: &str = "runc";

/// How to reach and use the engine.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// `unix:///path`, `tcp://host:port` or nothing: then `DOCKER_HOST`, the default socket and a
    /// rootless engine's socket are tried in this order.
    pub host: Option<String>,
    /// OCI runtime, `runc` if nothing; `runsc` gives a second wall on CPU hosts.
    pub runtime: Option<String>,
    /// This node's name, its own on this host: its containers carry it as a label, and every
    /// container that carries it counts as this node's.
    pub node: String,
}

/// What the engine said about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// Where it answered.
    pub endpoint: String,
    /// Its version.
    pub version: String,
    /// Its parts with their versions, for example `runc 1.1.5`. Distributions fix old versions
    /// without renumbering them: an old number means "check", not "vulnerable".
    pub components: Vec<String>,
    /// The API version agreed on.
    pub api: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// How image layers become a root file system.
    pub storage_driver: String,
    /// The OCI runtime that runs use.
    pub runtime: String,
    /// Whether it confines containers by an AppArmor profile.
    pub app_armor: bool,
    /// Where it keeps images and containers, if it says so.
    pub root: Option<PathBuf>,
    /// What works worse than it could, for people.
    pub warnings: Vec<String>,
}

/// Why there is no usable engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The setting is no address of an engine that we can speak to.
    #[error("`{endpoint}` is neither unix:// nor tcp:// nor http://")]
    UnsupportedEndpoint {
        /// The setting.
        endpoint: String,
    },
    /// Nothing to connect to.
    #[error("no container engine: there is no socket at {tried}")]
    NoSocket {
        /// Every place tried.
        tried: String,
    },
    /// An engine is there and this user may not use it.
    #[error("no permission to use the container engine at {endpoint}")]
    PermissionDenied {
        /// Where.
        endpoint: String,
    },
    /// A socket or address is there and nobody answers.
    #[error("the container engine at {endpoint} does not answer")]
    NotAnswering {
        /// Where.
        endpoint: String,
        /// What happened instead.
        #[source]
        source: EngineFault,
    },
    /// It answers and cannot hold a run within its limits.
    #[error("the container engine at {endpoint} cannot hold evaluations: it lacks {missing}")]
    LacksLimits {
        /// Where.
        endpoint: String,
        /// What it lacks, for people.
        missing: String,
    },
    /// The OCI runtime is not configured in it.
    #[error("the container engine at {endpoint} has no runtime `{runtime}`; it has {known}")]
    UnknownRuntime {
        /// Where.
        endpoint: String,
        /// The setting.
        runtime: String,
        /// What there is.
        known: String,
    },
}

impl EngineError {
    /// The next step for an operator.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::UnsupportedEndpoint { .. } => {
                "set it to unix:///var/run/docker.sock, or unset it and DOCKER_HOST"
            }
            Self::NoSocket { .. } => {
                "`apt-get install docker.io` installs and starts one, `systemctl start docker` \
                 starts one that is installed; in a checkout `scripts/engine ensure --install` \
                 does either"
            }
            Self::PermissionDenied { .. } => {
                "run as root or join the socket's group; that group can do what root can"
            }
            Self::NotAnswering { .. } => Engine::HINT,
            Self::LacksLimits { .. } => {
                "use a host whose kernel has these cgroup controllers, or an engine that runs as \
                 root; `docker info` lists its limits"
            }
            Self::UnknownRuntime { .. } => {
                "name another runtime, or add this one to the engine's configuration"
            }
        }
    }
}

/// Why an image could not be looked up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The engine did not say.
    #[error("cannot look up image `{tag}`")]
    Engine {
        /// Which image.
        tag: String,
        /// Why.
        #[source]
        source: EngineFault,
    },
    /// The engine's ID is no SHA-256.
    #[error("image `{tag}` has the unreadable id `{id}`")]
    UnreadableId {
        /// Which image.
        tag: String,
        /// What the engine calls it.
        id: String,
    },
}

impl ImageError {
    /// The next step for an operator.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Engine { source: EngineFault::Answered { .. }, .. } => {
                "set `images.evaluator` to the name of an image as `docker images` shows it"
            }
            Self::Engine { source: EngineFault::Silent | EngineFault::Lost { .. }, .. } => {
                Engine::HINT
            }
            Self::UnreadableId { .. } => Engine::IMAGE_HINT,
        }
    }
}

/// A connected engine. Cheap to clone; clones share the connection's settings.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: Docker,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    info: EngineInfo,
    endpoint: Endpoint,
    around: Surround,
    /// What images bring along, as far as asked.
    images: Mutex<BTreeMap<Digest, ImageFacts>>,
}

impl Engine {
    /// What an operator does about an engine that is there and fails or does not answer: with a
    /// checkout of this repository, and without one.
    pub const HINT: &'static str =
        "`systemctl status docker` says what is wrong with it, `systemctl restart docker` starts \
         it anew; `scripts/engine status` and `scripts/engine ensure` are for one that the scripts \
         of a checkout started";

    /// The same about the evaluator's image, where it is missing or no good.
    pub const IMAGE_HINT: &'static str =
        "`scripts/images evaluator` builds and loads it, in a checkout; without one, `docker save \
         IMAGE | ssh HOST docker load` on a machine that has it brings it here, to HOST; nothing \
         is ever pulled";

    /// The same about an image that computes on CPUs, where the rules are for GPUs.
    pub const GPU_IMAGE_HINT: &'static str =
        "load an image with a torch for CUDA and name it in `images.evaluator`; one that was built \
         from this says so with `LABEL assay.recipe=\"\"`";

    /// Finds the engine, agrees on an API version and checks that limits hold.
    ///
    /// # Errors
    ///
    /// [`EngineError`]; each has a [`EngineError::hint`] for the operator. Of several places, one
    /// without a socket is passed over; any other failure ends the search.
    pub async fn connect(config: EngineConfig) -> Result<Self, EngineError> {
        let places = candidates(config.host.as_deref(), &Surroundings::of_process())?;
        let mut tried = Vec::new();
        for endpoint in places {
            match open(&endpoint).await? {
                Some(docker) => return Self::check(docker, endpoint, config).await,
                None => tried.push(endpoint.to_string()),
            }
        }
        Err(EngineError::NoSocket { tried: tried.join(" or ") })
    }

    async fn check(
        docker: Docker,
        endpoint: Endpoint,
        config: EngineConfig,
    ) -> Result<Self, EngineError> {
        let no_answer =
            |source| EngineError::NotAnswering { endpoint: endpoint.to_string(), source };
        let call = async {
            docker.ping().await?;
            let docker = docker.negotiate_version().await?;
            let info = docker.info().await?;
            let version = docker.version().await?;
            Ok((docker, info, version))
        };
        let (docker, facts, version) = match tokio::time::timeout(ENGINE_PING_MAX, call).await {
            Ok(answer) => answer.map_err(|error| no_answer(convert::fault(error)))?,
            Err(_elapsed) => return Err(no_answer(EngineFault::Silent)),
        };
        let runtime = config.runtime.unwrap_or_else(|| RUNTIME_DEFAULT.to_owned());
        let facts = convert::engine_facts(facts, &docker.client_version());
        let endpoint_text = endpoint.to_string();
        if !facts.missing.is_empty() {
            let missing = facts.missing.join(", ");
            return Err(EngineError::LacksLimits { endpoint: endpoint_text, missing });
        }
        if !facts.runtimes.contains(&runtime) {
            let known = facts.runtimes.join(", ");
            return Err(EngineError::UnknownRuntime { endpoint: endpoint_text, runtime, known });
        }
        let info = EngineInfo {
            endpoint: endpoint_text,
            version: facts.version,
            components: convert::components(version),
            api: facts.api,
            cgroup_version: facts.cgroup_version,
            storage_driver: facts.storage_driver,
            runtime,
            app_armor: facts.app_armor,
            root: facts.root,
            warnings: facts.warnings,
        };
        let around = Surround {
            node: config.node,
            runtime: info.runtime.clone(),
            app_armor: facts.app_armor,
            cdi_gpus: facts.cdi_gpus,
            cpus: facts.cpus,
        };
        let shared = Shared { info, endpoint, around, images: Mutex::default() };
        Ok(Self { docker, shared: Arc::new(shared) })
    }

    /// What the engine said about itself when it was connected.
    #[must_use]
    pub fn info(&self) -> &EngineInfo {
        &self.shared.info
    }

    /// Asks whether the engine still answers.
    ///
    /// # Errors
    ///
    /// [`EngineFault`], if not within [`ENGINE_PING_MAX`].
    pub async fn ping(&self) -> Result<(), EngineFault> {
        match tokio::time::timeout(ENGINE_PING_MAX, self.docker.ping()).await {
            Ok(answer) => answer.map(|_| ()).map_err(convert::fault),
            Err(_elapsed) => Err(EngineFault::Silent),
        }
    }

    /// The ID of the image behind a tag; `None` if it is not on the host. Nothing is pulled.
    ///
    /// # Errors
    ///
    /// [`ImageError`] if the engine does not answer, or not with an ID.
    pub async fn image(&self, tag: &str) -> Result<Option<Digest>, ImageError> {
        let image = match self.docker.inspect_image(tag).await.map_err(convert::fault) {
            Ok(image) => image,
            Err(EngineFault::Answered { status: 404, .. }) => return Ok(None),
            Err(source) => return Err(ImageError::Engine { tag: tag.to_owned(), source }),
        };
        let id = image.id.unwrap_or_default();
        match convert::image_digest(&id) {
            Some(digest) => Ok(Some(digest)),
            None => Err(ImageError::UnreadableId { tag: tag.to_owned(), id }),
        }
    }

    /// Whether an image is known to compute on CPUs alone: it says of itself that `scripts/images`
    /// made it. Of others it is not known.
    ///
    /// # Errors
    ///
    /// [`ImageError::Engine`] if the engine does not say.
    pub async fn is_for_cpus(&self, tag: &str, image: &Digest) -> Result<bool, ImageError> {
        let facts = self.image_facts(image).await;
        let failed = |source| ImageError::Engine { tag: tag.to_owned(), source };
        Ok(facts.map_err(failed)?.is_some_and(|facts| facts.is_for_cpus()))
    }

    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    pub(crate) fn node(&self) -> &str {
        &self.shared.around.node
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    pub(crate) fn around(&self) -> &Surround {
        &self.shared.around
    }

    /// What an image brings along. Asked once: an ID names its content.
    pub(crate) async fn image_facts(
        &self,
        image: &Digest,
    ) -> Result<Option<ImageFacts>, EngineFault> {
        if let Some(known) = self.images().get(image) {
            return Ok(Some(known.clone()));
        }
        let inspected = self.docker.inspect_image(&convert::image_id(image)).await;
        match inspected.map_err(convert::fault) {
            Ok(inspected) => {
                let facts = convert::image_facts(inspected);
                self.images().insert(*image, facts.clone());
                Ok(Some(facts))
            }
            Err(EngineFault::Answered { status: 404, .. }) => Ok(None),
            Err(source) => Err(source),
        }
    }

    /// Somebody removed the image: the next container asks for it again.
    pub(crate) fn forget_image(&self, image: &Digest) {
        self.images().remove(image);
    }

    fn images(&self) -> MutexGuard<'_, BTreeMap<Digest, ImageFacts>> {
        // Held for an operation on the map, never across an await.
        self.shared.images.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens one place; `None` if there is no socket.
async fn open(endpoint: &Endpoint) -> Result<Option<Docker>, EngineError> {
    let no_answer = |message: String| EngineError::NotAnswering {
        endpoint: endpoint.to_string(),
        source: EngineFault::Lost { message },
    };
    let seconds = ENGINE_CALL_MAX.as_secs();
    let opened = match endpoint {
        Endpoint::Unix(path) => {
            // The client library reports every failure as "not connected"; asking the socket
            // itself tells an absent engine from a forbidden or a dead one.
            if let Err(error) = tokio::net::UnixStream::connect(path).await {
                return match error.kind() {
                    std::io::ErrorKind::NotFound => Ok(None),
                    std::io::ErrorKind::PermissionDenied => {
                        Err(EngineError::PermissionDenied { endpoint: endpoint.to_string() })
                    }
                    _ => Err(no_answer(error.to_string())),
                };
            }
            Docker::connect_with_unix(&path.to_string_lossy(), seconds, API_DEFAULT_VERSION)
        }
        Endpoint::Tcp(address) => {
            Docker::connect_with_http(&format!("tcp://{address}"), seconds, API_DEFAULT_VERSION)
        }
    };
    opened.map(Some).map_err(|error| no_answer(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn connect(host: &str) -> EngineError {
        let config =
            EngineConfig { host: Some(host.to_owned()), runtime: None, node: "test".to_owned() };
        Engine::connect(config).await.unwrap_err()
    }

    #[tokio::test]
    async fn an_absent_socket_and_a_dead_one_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let absent = dir.path().join("absent.sock");
        let error = connect(&format!("unix://{}", absent.display())).await;
        assert!(matches!(error, EngineError::NoSocket { .. }), "{error}");
        assert!(error.hint().contains("scripts/engine ensure"), "for a checkout");
        assert!(error.hint().contains("apt-get install"), "for whoever has the package alone");

        // Dropping a listener leaves its socket file behind, as a crashed engine does.
        let dead = dir.path().join("dead.sock");
        drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
        let error = connect(&format!("unix://{}", dead.display())).await;
        assert!(matches!(error, EngineError::NotAnswering { .. }), "{error}");
    }
}
