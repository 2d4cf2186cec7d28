//! Both languages in one place: the engine's client library on one side, ours on the other.
//!
//! The request that creates a container and the profile that the created container is held
//! against are the same value: [`create_body`] writes it, [`wanted`] and [`found`] turn it and
//! what the engine made of it into comparable [`Settings`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStatsResponse, ContainerSummary,
    ContainerSummaryStateEnum, DeviceRequest, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, ImageInspect, Mount, MountBindOptions, MountBindOptionsPropagationEnum,
    MountType, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum, SystemInfo, SystemVersion,
};
use bollard::ClientVersion;
use node_core::id::{Digest, RunId};
use serde_json::{json, Value};

use crate::cgroup::Sample;
use crate::leftover::Leftover;
use crate::profile::Settings;
use crate::spec::{Owner, SandboxSpec};
use crate::EngineFault;

/// Label with the node's hotkey.
pub(crate) const LABEL_NODE: &str = "assay.node";
const LABEL_RUN: &str = "assay.run";
const LABEL_ATTEMPT: &str = "assay.attempt";
const LABEL_ASSIGNMENT: &str = "assay.assignment";
const LABEL_LEASE: &str = "assay.lease";
/// Label of a container made ahead: the device that it was made for.
const LABEL_AHEAD: &str = "assay.ahead";
/// Before a run's id in the name of its container.
const NAME_PREFIX: &str = "assay-";

/// Nobody, in every image.
const USER: &str = "65534:65534";
/// One CPU for each device.
const NANO_CPUS: i64 = 1_000_000_000;
const SHM_BYTES: i64 = 64 << 20;
/// CUDA libraries exchange buffers through it. Counts as the container's memory once it is used.
const SHM_BYTES_GPU: i64 = 1 << 30;
/// Fewer are not enough where the driver, or a runtime that is a kernel of its own, starts threads
/// beside those of the submission.
const PIDS_CROWDED_MIN: u32 = 512;
const OPEN_FILES_MAX: i64 = 1024;
/// When the host itself runs out of memory, an evaluation goes before the node does.
const OOM_SCORE: i64 = 500;
/// The engine keeps nothing of the output: the supervisor reads it, and holds its limit.
const LOG_DRIVER: &str = "none";
/// Files and directories in its tmpfs. An empty file takes none of the size that is allowed, but a
/// kilobyte of the kernel's memory.
const TMPFS_FILES_MAX: u32 = 16_384;
/// Before a GPU's name in the container device interface.
const CDI_GPU: &str = "nvidia.com/gpu=";
const APP_ARMOR_PROFILE: &str = "docker-default";

/// The system calls that a container may make, instead of the engine's own list, which lets more
/// through and differs between versions.
const SECCOMP: &str = include_str!("seccomp.json");

/// Kernel interfaces that tell about the host or reach into it. Named rather than left to the
/// engine, whose list depends on its version.
const MASKED_PATHS: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];
const READ_ONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// One thread per evaluation: on shared CPUs two threads wait for each other and are slower.
const ENV: [(&str, &str); 6] = [
    ("OMP_NUM_THREADS", "1"),
    ("OPENBLAS_NUM_THREADS", "1"),
    ("MKL_NUM_THREADS", "1"),
    ("PYTHONHASHSEED", "0"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("HOME", "/tmp"),
];
/// CUDA sums in a fixed order only with a fixed workspace.
const ENV_GPU: (&str, &str) = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
/// What an older GPU runtime hook gives to a container. An image may ask for all of them.
const ENV_VISIBLE: &str = "NVIDIA_VISIBLE_DEVICES";
/// In [`ENV_VISIBLE`]: nothing by this way.
const VISIBLE_NONE: &str = "void";

/// What an image brings along that ends up in its containers.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageFacts {
    env: Vec<String>,
    labels: HashMap<String, String>,
}

/// What the engine says about itself and the host.
#[derive(Debug)]
pub(crate) struct EngineFacts {
    pub(crate) version: String,
    pub(crate) api: String,
    pub(crate) cgroup_version: String,
    pub(crate) storage_driver: String,
    pub(crate) runtimes: Vec<String>,
    pub(crate) root: Option<PathBuf>,
    pub(crate) app_armor: bool,
    /// GPUs and slices that the engine can give by CDI, by UUID.
    pub(crate) cdi_gpus: BTreeSet<String>,
    /// Limits that would silently not hold.
    pub(crate) missing: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) cpus: u8,
}

/// Whose container it is and how it is run: what a spec does not say.
#[derive(Debug, Clone)]
pub(crate) struct Surround {
    pub(crate) node: String,
    pub(crate) runtime: String,
    pub(crate) app_armor: bool,
    /// GPUs and slices that the engine can give by CDI, by UUID.
    pub(crate) cdi_gpus: BTreeSet<String>,
    /// The host's CPUs: the engine gives no container more of them.
    pub(crate) cpus: u8,
}

impl Surround {
    /// Whether these devices are given by CDI: only if the engine has found each by its UUID. A
    /// list that is older than the last change of slices names none of them.
    fn gives_by_cdi(&self, gpus: &[String]) -> bool {
        !gpus.is_empty() && gpus.iter().all(|uuid| self.cdi_gpus.contains(uuid))
    }

    fn is_crowded(&self, spec: &SandboxSpec) -> bool {
        !spec.gpus.is_empty() || self.runtime.starts_with("runsc")
    }
}

pub(crate) fn fault(error: bollard::errors::Error) -> EngineFault {
    use bollard::errors::Error;
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            EngineFault::Answered { status: status_code, message }
        }
        Error::RequestTimeoutError => EngineFault::Silent,
        other => EngineFault::Lost { message: chain(&other) },
    }
}

/// The error with its causes: the client library's outermost text often says nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// `sha256:…` as a digest.
pub(crate) fn image_digest(id: &str) -> Option<Digest> {
    id.strip_prefix("sha256:")?.parse().ok()
}

pub(crate) fn image_id(digest: &Digest) -> String {
    format!("sha256:{digest}")
}

/// Label of the images that `scripts/images` makes: the digest of their recipe.
const LABEL_RECIPE: &str = "assay.recipe";

impl ImageFacts {
    /// Whether `scripts/images` made it, whose torch computes on CPUs alone. One that was built
    /// from it inherits the label, unless it says otherwise.
    pub(crate) fn is_for_cpus(&self) -> bool {
        self.labels.get(LABEL_RECIPE).is_some_and(|recipe| !recipe.is_empty())
    }
}

pub(crate) fn image_facts(image: ImageInspect) -> ImageFacts {
    let config = image.config.unwrap_or_default();
    ImageFacts { env: config.env.unwrap_or_default(), labels: config.labels.unwrap_or_default() }
}

/// The parts of an engine and their versions, for example `runc 1.1.5`.
pub(crate) fn components(version: SystemVersion) -> Vec<String> {
    let parts = version.components.unwrap_or_default();
    parts.into_iter().map(|part| format!("{} {}", part.name, part.version)).collect()
}

pub(crate) fn engine_facts(info: SystemInfo, api: &ClientVersion) -> EngineFacts {
    let options = info.security_options.unwrap_or_default();
    let has = |name: &str| options.iter().any(|option| option.starts_with(name));
    let cgroup_version = info.cgroup_version.map(|v| v.to_string()).unwrap_or_default();
    let storage_driver = info.driver.unwrap_or_default();
    let limits = [
        (info.memory_limit, "a memory limit"),
        (info.swap_limit, "a swap limit"),
        (info.pids_limit, "a process limit"),
        (info.cpu_cfs_quota, "a cpu quota"),
        (Some(has("name=seccomp") && !has("name=seccomp,profile=unconfined")), "seccomp"),
        (Some(!(has("name=rootless") && cgroup_version == "1")), "any limit (rootless, cgroup v1)"),
        (Some((api.major_version, api.minor_version) >= (1, 41)), "API version 1.41"),
    ];
    let held = |held: &Option<bool>| *held == Some(true);
    let missing = limits.iter().filter(|(limit, _)| !held(limit));
    let mut warnings = Vec::new();
    if !["overlay2", "overlayfs"].contains(&storage_driver.as_str()) {
        warnings.push(format!("storage driver `{storage_driver}` copies images for each run"));
    }
    let status = info.driver_status.unwrap_or_default();
    if status.iter().flatten().any(|text| text.contains("io.containerd.snapshotter")) {
        warnings.push(
            "the engine keeps images in containerd's store, where an image's ID is not the one \
             that other validators see"
                .to_owned(),
        );
    }
    let found = info.discovered_devices.unwrap_or_default();
    let found = found.into_iter().filter(|device| device.source.as_deref() == Some("cdi"));
    let cdi_gpus =
        found.filter_map(|device| Some(device.id?.strip_prefix(CDI_GPU)?.to_owned())).collect();
    let mut runtimes: Vec<_> = info.runtimes.unwrap_or_default().into_keys().collect();
    runtimes.sort();
    EngineFacts {
        version: info.server_version.unwrap_or_default(),
        api: format!("{}.{}", api.major_version, api.minor_version),
        app_armor: has("name=apparmor"),
        cpus: info.ncpu.and_then(|cpus| u8::try_from(cpus).ok()).unwrap_or(u8::MAX),
        cdi_gpus,
        missing: missing.map(|(_, name)| (*name).to_owned()).collect(),
        cgroup_version,
        storage_driver,
        runtimes,
        root: info.docker_root_dir.map(PathBuf::from),
        warnings,
    }
}

/// The container's name: a run has one container, and asking twice must not make two.
pub(crate) fn container_name(run: &RunId) -> String {
    format!("{NAME_PREFIX}{run}")
}

/// The run that a container's name stands for.
fn run_of_name(name: &str) -> Option<RunId> {
    name.trim_start_matches('/').strip_prefix(NAME_PREFIX)?.parse().ok()
}

/// The request that creates the container, with every setting of the profile.
pub(crate) fn create_body(
    spec: &SandboxSpec,
    around: &Surround,
    image: &ImageFacts,
) -> ContainerCreateBody {
    let mut command = spec.command.clone();
    let arguments = command.split_off(command.len().min(1));
    ContainerCreateBody {
        image: Some(image_id(&spec.image)),
        entrypoint: Some(command),
        cmd: Some(arguments),
        user: Some(USER.to_owned()),
        env: Some(env(spec, around, image)),
        labels: Some(labels(spec, around, image)),
        hostname: Some("evaluation".to_owned()),
        working_dir: Some("/tmp".to_owned()),
        stop_signal: Some("SIGKILL".to_owned()),
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        host_config: Some(host_config(spec, around)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(spec: &SandboxSpec, around: &Surround) -> HostConfig {
    let limits = &spec.limits;
    let memory = signed(limits.memory_mib << 20);
    let strings = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    HostConfig {
        network_mode: Some("none".to_owned()),
        readonly_rootfs: Some(true),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), tmpfs_options(limits.tmpfs_mib))])),
        shm_size: Some(if spec.gpus.is_empty() { SHM_BYTES } else { SHM_BYTES_GPU }),
        mounts: Some(spec.binds.iter().map(mount).collect()),
        cap_drop: strings(&["ALL"]),
        security_opt: strings(&["no-new-privileges:true", &format!("seccomp={SECCOMP}")]),
        masked_paths: strings(&MASKED_PATHS),
        readonly_paths: strings(&READ_ONLY_PATHS),
        ipc_mode: Some("private".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        memory: Some(memory),
        memory_swap: Some(memory),
        pids_limit: Some(i64::from(pids_limit(spec, around))),
        nano_cpus: Some(NANO_CPUS.saturating_mul(cpus(spec, around).into())),
        oom_score_adj: Some(OOM_SCORE),
        ulimits: Some(vec![ulimit("core", 0), ulimit("nofile", OPEN_FILES_MAX)]),
        log_config: Some(HostConfigLogConfig {
            typ: Some(LOG_DRIVER.to_owned()),
            // Engines write an empty one where none was given.
            config: Some(HashMap::new()),
        }),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        runtime: Some(around.runtime.clone()),
        device_requests: gpu_requests(&spec.gpus, around),
        ..HostConfig::default()
    }
}

/// CPUs that it may keep busy: one for each device, as far as the host has them.
fn cpus(spec: &SandboxSpec, around: &Surround) -> u8 {
    spec.limits.device_count.min(around.cpus).max(1)
}

/// Processes and threads it may have.
fn pids_limit(spec: &SandboxSpec, around: &Surround) -> u32 {
    if around.is_crowded(spec) {
        spec.limits.pids.max(PIDS_CROWDED_MIN)
    } else {
        spec.limits.pids
    }
}

fn gpu_requests(uuids: &[String], around: &Surround) -> Option<Vec<DeviceRequest>> {
    if around.gives_by_cdi(uuids) {
        return Some(vec![DeviceRequest {
            driver: Some("cdi".to_owned()),
            device_ids: Some(uuids.iter().map(|uuid| format!("{CDI_GPU}{uuid}")).collect()),
            ..DeviceRequest::default()
        }]);
    }
    let capabilities = ["gpu", "compute", "utility"].map(str::to_owned).to_vec();
    let request = || DeviceRequest {
        driver: Some("nvidia".to_owned()),
        device_ids: Some(uuids.to_vec()),
        capabilities: Some(vec![capabilities]),
        ..DeviceRequest::default()
    };
    (!uuids.is_empty()).then(|| vec![request()])
}

fn mount(bind: &crate::ReadOnlyBind) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(bind.source.to_string_lossy().into_owned()),
        target: Some(bind.target.clone()),
        read_only: Some(true),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

fn tmpfs_options(mib: u64) -> String {
    // Owned by the user of the container: runtimes keep the mode of the image's own directory.
    let size = mib << 20;
    format!(
        "rw,nosuid,nodev,noexec,uid=65534,gid=65534,mode=1777,size={size},\
         nr_inodes={TMPFS_FILES_MAX}"
    )
}

fn ulimit(name: &str, value: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(value), hard: Some(value) }
}

fn signed(value: u64) -> i64 {
    // `SandboxSpec::check` refused anything larger.
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The image's variables with ours over them, by name.
fn env(spec: &SandboxSpec, around: &Surround, image: &ImageFacts) -> Vec<String> {
    let mut merged: BTreeMap<&str, &str> =
        image.env.iter().filter_map(|pair| pair.split_once('=')).collect();
    merged.extend(ENV);
    let uuids = spec.gpus.join(",");
    if !spec.gpus.is_empty() {
        merged.extend([ENV_GPU]);
    }
    // The hook path reads it; a list of ours must not meet another one from the image.
    let by_hook = !spec.gpus.is_empty() && !around.gives_by_cdi(&spec.gpus);
    merged.insert(ENV_VISIBLE, if by_hook { &uuids } else { VISIBLE_NONE });
    merged.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn labels(spec: &SandboxSpec, around: &Surround, image: &ImageFacts) -> HashMap<String, String> {
    let mut own = vec![(LABEL_NODE, around.node.clone())];
    match &spec.owner {
        Owner::Run(labels) => own.extend([
            (LABEL_RUN, labels.run.to_string()),
            (LABEL_ATTEMPT, labels.attempt.to_string()),
            (LABEL_ASSIGNMENT, labels.assignment.to_string()),
            (LABEL_LEASE, labels.lease.to_string()),
        ]),
        Owner::Ahead { device } => own.push((LABEL_AHEAD, device.to_string())),
    }
    let mut labels = image.labels.clone();
    labels.extend(own.into_iter().map(|(name, value)| (name.to_owned(), value)));
    labels
}

/// The settings that the container made from this request must have.
pub(crate) fn wanted(body: &ContainerCreateBody, around: &Surround) -> Settings {
    let mut settings = Settings::default();
    let host_config = body.host_config.clone().unwrap_or_default();
    let mounts = host_config.mounts.iter().flatten();
    let binds = mounts.map(|mount| {
        json!({
            "Type": "bind", "Source": mount.source, "Destination": mount.target,
            "RW": false, "Propagation": "rprivate",
        })
    });
    let app_armor = if around.app_armor { APP_ARMOR_PROFILE } else { "" };
    settings.add_fields("HostConfig", &value(&host_config));
    let body = ContainerCreateBody { host_config: None, ..body.clone() };
    settings.add_fields("Config", &sorted_env(value(&body)));
    settings.add("Image", &json!(body.image));
    settings.add("AppArmorProfile", &json!(app_armor));
    settings.add("Mounts", &by_destination(binds.collect()));
    settings.add("Networks", &json!(["none"]));
    settings
}

/// The settings that a created container has.
pub(crate) fn found(container: &ContainerInspectResponse) -> Settings {
    let mut settings = Settings::default();
    let mounts = container.mounts.iter().flatten();
    // The engine also lists the tmpfs that `HostConfig.Tmpfs` already accounts for.
    let mounts = mounts.filter(|mount| {
        let is_tmp = mount.destination.as_deref() == Some("/tmp");
        !(is_tmp && mount.typ.as_deref() == Some("tmpfs"))
    });
    let mounts = mounts.map(|mount| {
        json!({
            "Type": mount.typ, "Source": mount.source, "Destination": mount.destination,
            "RW": mount.rw, "Propagation": mount.propagation,
        })
    });
    let networks = container.network_settings.as_ref().and_then(|all| all.networks.as_ref());
    let mut networks: Vec<_> = networks.into_iter().flat_map(HashMap::keys).collect();
    networks.sort();
    settings.add_fields("HostConfig", &value(&container.host_config));
    settings.add_fields("Config", &sorted_env(value(&container.config)));
    settings.add("Image", &json!(container.image));
    settings.add("AppArmorProfile", &json!(container.app_armor_profile));
    settings.add("Mounts", &by_destination(mounts.collect()));
    settings.add("Networks", &json!(networks));
    settings
}

fn value(of: &impl serde::Serialize) -> Value {
    // These types hold nothing that JSON cannot; a failure would show as a difference.
    serde_json::to_value(of).unwrap_or_default()
}

fn sorted_env(mut config: Value) -> Value {
    if let Some(Value::Array(env)) = config.get_mut("Env") {
        env.sort_by_key(ToString::to_string);
    }
    config
}

fn by_destination(mut mounts: Vec<Value>) -> Value {
    mounts.sort_by_key(|mount| mount["Destination"].to_string());
    Value::Array(mounts)
}

pub(crate) fn leftover(container: ContainerSummary) -> Option<Leftover> {
    let labels = container.labels.unwrap_or_default();
    let running = container.state.is_some_and(|state| {
        !matches!(
            state,
            ContainerSummaryStateEnum::CREATED
                | ContainerSummaryStateEnum::EXITED
                | ContainerSummaryStateEnum::DEAD
        )
    });
    // One made ahead has no such label; once a run has it, its name says which.
    let named = container.names.iter().flatten().find_map(|name| run_of_name(name));
    Some(Leftover {
        run: labels.get(LABEL_RUN).and_then(|text| text.parse().ok()).or(named),
        is_ahead: labels.contains_key(LABEL_AHEAD),
        attempt: labels
            .get(LABEL_ATTEMPT)
            .and_then(|text| text.parse().ok())
            .map(node_core::id::Attempt),
        container_id: container.id?,
        running,
    })
}

/// Counters as the engine tells them, about once a second. It does not count refused processes,
/// so being at the limit has to do.
pub(crate) fn sample(stats: &ContainerStatsResponse) -> Sample {
    let pids = stats.pids_stats.as_ref();
    let memory = stats.memory_stats.as_ref();
    let cpu = stats.cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref());
    let at_limit = pids.is_some_and(|pids| match (pids.current, pids.limit) {
        (Some(current), Some(limit)) => limit > 0 && current >= limit,
        _ => false,
    });
    Sample {
        pids_refused: u64::from(at_limit),
        oom_kills: 0,
        memory_bytes: memory.and_then(|m| m.max_usage.or(m.usage)).unwrap_or_default(),
        cpu_ns: cpu.and_then(|cpu| cpu.total_usage).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
