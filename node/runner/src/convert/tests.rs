//! The comparison of wanted and found settings, one altered setting at a time.

use bollard::models::{ContainerConfig, EndpointSettings, MountPoint, NetworkSettings};
use serde_json::{json, Map, Value};

use super::*;
use crate::profile::difference;
use crate::spec::tests::sample;
use crate::ReadOnlyBind;

type Alter<T> = fn(&mut T);

fn around() -> Surround {
    Surround {
        node: "node".to_owned(),
        runtime: "runc".to_owned(),
        app_armor: true,
        cdi_gpus: BTreeSet::new(),
        cpus: 4,
    }
}

fn body() -> ContainerCreateBody {
    let bind = ReadOnlyBind { source: "/srv/shim".into(), target: "/assay/shim".to_owned() };
    let spec = SandboxSpec { binds: vec![bind], gpus: vec!["GPU-1".to_owned()], ..sample() };
    let image = ImageFacts {
        env: vec!["PATH=/bin".to_owned(), "OMP_NUM_THREADS=64".to_owned()],
        labels: HashMap::from([("assay.recipe".to_owned(), "ab".to_owned())]),
    };
    create_body(&spec, &around(), &image)
}

/// What an engine that does exactly as asked would say about the container.
fn faithful(body: &ContainerCreateBody) -> ContainerInspectResponse {
    let config = ContainerCreateBody { host_config: None, ..body.clone() };
    let config: ContainerConfig = serde_json::from_value(value(&config)).unwrap();
    let bind = MountPoint {
        typ: Some("bind".to_owned()),
        source: Some("/srv/shim".to_owned()),
        destination: Some("/assay/shim".to_owned()),
        mode: Some(String::new()),
        rw: Some(false),
        propagation: Some("rprivate".to_owned()),
        ..MountPoint::default()
    };
    let networks = HashMap::from([("none".to_owned(), EndpointSettings::default())]);
    ContainerInspectResponse {
        image: body.image.clone(),
        app_armor_profile: Some(APP_ARMOR_PROFILE.to_owned()),
        host_config: body.host_config.clone(),
        config: Some(config),
        mounts: Some(vec![bind]),
        network_settings: Some(NetworkSettings {
            networks: Some(networks),
            ..NetworkSettings::default()
        }),
        ..ContainerInspectResponse::default()
    }
}

/// The name of the setting that differs once the host settings are replaced.
fn noticed(host_config: Map<String, Value>) -> Option<String> {
    let body = body();
    let mut container = faithful(&body);
    container.host_config = Some(serde_json::from_value(Value::Object(host_config)).unwrap());
    difference(&wanted(&body, &around()), &found(&container)).map(|found| found.setting)
}

fn asked_host_config() -> Map<String, Value> {
    match value(&body().host_config) {
        Value::Object(fields) => fields,
        other => panic!("{other}"),
    }
}

/// Every host setting that the profile leaves alone, with a value that would weaken or change the
/// sandbox.
fn foreign_host_settings() -> Map<String, Value> {
    let text = r#"{
        "CpuShares": 2, "CgroupParent": "/", "BlkioWeight": 10,
        "BlkioWeightDevice": [{ "Path": "/dev/vda", "Weight": 10 }],
        "BlkioDeviceReadBps": [{ "Path": "/dev/vda", "Rate": 1 }],
        "BlkioDeviceWriteBps": [{ "Path": "/dev/vda", "Rate": 1 }],
        "BlkioDeviceReadIOps": [{ "Path": "/dev/vda", "Rate": 1 }],
        "BlkioDeviceWriteIOps": [{ "Path": "/dev/vda", "Rate": 1 }],
        "CpuPeriod": 1, "CpuQuota": -1, "CpuRealtimePeriod": 1, "CpuRealtimeRuntime": 1,
        "CpusetCpus": "0", "CpusetMems": "0", "Devices": [{ "PathOnHost": "/dev/kmsg" }],
        "DeviceCgroupRules": ["a *:* rwm"], "MemoryReservation": 1, "MemorySwappiness": 60,
        "OomKillDisable": true, "Init": true, "CpuCount": 2, "CpuPercent": 1,
        "IOMaximumIOps": 1, "IOMaximumBandwidth": 1, "Binds": ["/:/assay/host"],
        "ContainerIDFile": "/x", "PortBindings": { "80/tcp": [{ "HostPort": "80" }] },
        "AutoRemove": true, "VolumeDriver": "x", "VolumesFrom": ["other"],
        "ConsoleSize": [24, 80], "Annotations": { "a": "b" }, "CapAdd": ["SYS_ADMIN"],
        "Dns": ["1.1.1.1"], "DnsOptions": ["x"], "DnsSearch": ["x"],
        "ExtraHosts": ["a:1.1.1.1"], "GroupAdd": ["0"], "Cgroup": "container:x",
        "Links": ["x"], "PidMode": "host", "Privileged": true, "PublishAllPorts": true,
        "StorageOpt": { "size": "1G" }, "UTSMode": "host", "UsernsMode": "host",
        "Sysctls": { "kernel.shmmax": "1" }, "Isolation": "process"
    }"#;
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_container_that_is_as_asked_has_no_difference() {
    assert_eq!(noticed(asked_host_config()), None);
}

#[test]
fn every_host_setting_of_the_profile_is_noticed_when_it_is_missing_or_another() {
    let asked = asked_host_config();
    for (name, value) in &asked {
        let setting = Some(format!("HostConfig.{name}"));
        let mut missing = asked.clone();
        missing.remove(name);
        assert_eq!(noticed(missing), setting);
        let mut other = asked.clone();
        other.insert(name.clone(), altered(name, value));
        assert_eq!(noticed(other), setting);
    }
}

/// Another value of the same shape.
fn altered(name: &str, value: &Value) -> Value {
    match value {
        Value::Bool(on) => json!(!on),
        Value::Number(number) => json!(number.as_i64().unwrap() + 1),
        // Enumerations know only some words.
        Value::String(_) if name == "CgroupnsMode" => json!("host"),
        Value::String(text) => json!(format!("{text}x")),
        Value::Array(items) => json!(items[..items.len() - 1]),
        Value::Object(_) if name == "RestartPolicy" => json!({ "Name": "always" }),
        Value::Object(fields) => {
            let changed = fields.iter().map(|(key, inner)| (key.clone(), altered(key, inner)));
            Value::Object(changed.collect())
        }
        Value::Null => json!(1),
    }
}

#[test]
fn every_host_setting_outside_the_profile_is_noticed_when_it_is_set() {
    for (name, value) in foreign_host_settings() {
        let mut host_config = asked_host_config();
        host_config.insert(name.clone(), value);
        assert_eq!(noticed(host_config), Some(format!("HostConfig.{name}")));
    }
}

#[test]
fn the_two_tables_above_cover_every_host_setting_that_the_client_library_knows() {
    let mut all = asked_host_config();
    all.extend(foreign_host_settings());
    let all: HostConfig = serde_json::from_value(Value::Object(all)).unwrap();
    let text = format!("{all:#?}");
    // Of the nested ones, only fields at the first level count.
    let unset: Vec<_> = text.lines().filter(|line| line.ends_with("None,")).collect();
    let unset: Vec<_> = unset.iter().filter(|line| !line.starts_with("     ")).collect();
    assert!(unset.is_empty(), "no table has {unset:?}");
}

#[test]
fn what_an_image_brings_along_unasked_is_noticed() {
    let body = body();
    let asked = wanted(&body, &around());
    let cases: [(&str, Alter<ContainerConfig>); 7] = [
        ("Config.Volumes", |c| c.volumes = Some(vec!["/data".to_owned()])),
        ("Config.ExposedPorts", |c| c.exposed_ports = Some(vec!["80/tcp".to_owned()])),
        ("Config.Env", |c| c.env.as_mut().unwrap().push("LD_PRELOAD=/x".to_owned())),
        ("Config.User", |c| c.user = Some("0".to_owned())),
        ("Config.Entrypoint", |c| c.entrypoint = Some(vec!["/init".to_owned()])),
        ("Config.Healthcheck", |c| c.healthcheck = None),
        ("Config.Labels", |c| c.labels.as_mut().unwrap().clear()),
    ];
    for (setting, alter) in cases {
        let mut container = faithful(&body);
        alter(container.config.as_mut().unwrap());
        let different = difference(&asked, &found(&container)).unwrap();
        assert_eq!(different.setting, setting);
    }
}

#[test]
fn another_image_network_mount_or_confinement_is_noticed() {
    let body = body();
    let asked = wanted(&body, &around());
    let cases: [(&str, Alter<ContainerInspectResponse>); 5] = [
        ("Image", |c| c.image = Some("sha256:00".to_owned())),
        ("AppArmorProfile", |c| c.app_armor_profile = Some("unconfined".to_owned())),
        ("Mounts", |c| c.mounts.as_mut().unwrap()[0].rw = Some(true)),
        ("Mounts", |c| {
            let more = MountPoint { typ: Some("volume".to_owned()), ..MountPoint::default() };
            c.mounts.as_mut().unwrap().push(more);
        }),
        ("Networks", |c| {
            let networks = c.network_settings.as_mut().unwrap().networks.as_mut().unwrap();
            networks.insert("bridge".to_owned(), EndpointSettings::default());
        }),
    ];
    for (setting, alter) in cases {
        let mut container = faithful(&body);
        alter(&mut container);
        let different = difference(&asked, &found(&container)).unwrap();
        assert_eq!(different.setting, setting);
    }
}

#[test]
fn our_variables_win_over_the_images_and_gpus_decide_about_devices() {
    let has = |spec: &SandboxSpec, pair: &str| {
        let image = ImageFacts { env: vec!["OMP_NUM_THREADS=64".to_owned()], ..image_none() };
        env(spec, &around(), &image).iter().any(|one| one == pair)
    };
    let cpu = sample();
    let gpu = SandboxSpec { gpus: vec!["GPU-1".to_owned()], ..sample() };
    assert!(has(&cpu, "OMP_NUM_THREADS=1") && !has(&cpu, "OMP_NUM_THREADS=64"));
    assert!(has(&cpu, "NVIDIA_VISIBLE_DEVICES=void") && !has(&gpu, "NVIDIA_VISIBLE_DEVICES=void"));
    assert!(has(&gpu, "CUBLAS_WORKSPACE_CONFIG=:4096:8"));
    assert!(has(&gpu, "NVIDIA_VISIBLE_DEVICES=GPU-1"));
}

const SLICE: &str = "MIG-5c5c5c5c-0000-0000-0000-000000000001";

/// The one device request, as JSON, and the rest of what is asked for.
fn asked_for_gpus(gpus: &[&str], around: &Surround) -> (Value, ContainerCreateBody) {
    let gpus = gpus.iter().map(|uuid| (*uuid).to_owned()).collect();
    let body = create_body(&SandboxSpec { gpus, ..sample() }, around, &image_none());
    let requests = value(&body.host_config.as_ref().unwrap().device_requests);
    (requests, body)
}

#[test]
fn gpus_are_asked_for_by_uuid_through_the_engines_device_requests() {
    let (requests, _) = asked_for_gpus(&["GPU-1", SLICE], &around());
    let asked = json!([{
        "Driver": "nvidia", "DeviceIDs": ["GPU-1", SLICE],
        "Capabilities": [["gpu", "compute", "utility"]],
    }]);
    assert_eq!(requests, asked);
    let (requests, body) = asked_for_gpus(&[], &around());
    assert_eq!(requests, Value::Null);
    let host_config = body.host_config.unwrap();
    assert_eq!(host_config.pids_limit, Some(i64::from(sample().limits.pids)));
    assert_eq!(host_config.shm_size, Some(64 << 20));
}

#[test]
fn an_engine_that_has_found_every_device_by_cdi_is_asked_that_way() {
    let info: SystemInfo = serde_json::from_value(json!({
        "DiscoveredDevices": [
            { "Source": "cdi", "ID": format!("nvidia.com/gpu={SLICE}") },
            { "Source": "cdi", "ID": "nvidia.com/gpu=0" },
            { "Source": "other", "ID": "nvidia.com/gpu=GPU-1" },
        ],
    }))
    .unwrap();
    let facts = engine_facts(info, &ClientVersion { major_version: 1, minor_version: 50 });
    let around = Surround { cdi_gpus: facts.cdi_gpus, ..around() };
    let (requests, body) = asked_for_gpus(&[SLICE], &around);
    let id = format!("nvidia.com/gpu={SLICE}");
    assert_eq!(requests, json!([{ "Driver": "cdi", "DeviceIDs": [id] }]));
    assert!(body.env.unwrap().contains(&"NVIDIA_VISIBLE_DEVICES=void".to_owned()));
    // One of the two is not in the engine's list, which may be older than the slices.
    let (requests, _) = asked_for_gpus(&[SLICE, "GPU-1"], &around);
    assert_eq!(requests[0]["Driver"], "nvidia");
}

#[test]
fn another_device_than_the_asked_one_is_noticed_on_the_created_container() {
    let mut asked = asked_host_config();
    asked["DeviceRequests"][0]["DeviceIDs"] = json!(["GPU-2"]);
    assert_eq!(noticed(asked).as_deref(), Some("HostConfig.DeviceRequests"));
    let mut asked = asked_host_config();
    asked["DeviceRequests"][0]["Count"] = json!(-1);
    assert_eq!(noticed(asked).as_deref(), Some("HostConfig.DeviceRequests"));
}

/// Names of system calls that the profile lets through with any arguments.
fn allowed_calls() -> Vec<String> {
    let profile: Value = serde_json::from_str(SECCOMP).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    // Without a list of architectures it is the host's own, and no older way into the kernel.
    let keys: Vec<_> = profile.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["defaultAction", "defaultErrnoRet", "syscalls"]);
    let rules = profile["syscalls"].as_array().unwrap().iter();
    let plain = rules.filter(|rule| rule["action"] == "SCMP_ACT_ALLOW" && rule["args"].is_null());
    let names = plain.flat_map(|rule| rule["names"].as_array().unwrap());
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_list_of_system_calls_names_each_once_and_none_that_reaches_the_host_or_others() {
    let allowed = allowed_calls();
    assert_eq!(allowed.iter().collect::<BTreeSet<_>>().len(), allowed.len());
    let text = "add_key bpf clone clone3 init_module io_uring_setup kcmp kexec_load keyctl mount \
        open_by_handle_at perf_event_open personality pidfd_getfd pivot_root process_vm_readv \
        ptrace request_key setns socket socketcall unshare userfaultfd";
    for name in text.split_whitespace() {
        assert!(!allowed.iter().any(|one| one == name), "`{name}` is let through");
    }
    assert!(["read", "mmap", "futex", "ioctl"].iter().all(|n| allowed.iter().any(|a| a == n)));
}

#[test]
fn the_created_container_is_asked_for_with_the_list_itself() {
    let asked = body().host_config.unwrap().security_opt.unwrap();
    assert_eq!(asked, ["no-new-privileges:true".to_owned(), format!("seccomp={SECCOMP}")]);
}

#[test]
fn a_container_has_a_cpu_for_each_device_as_far_as_the_host_has_them() {
    let nano_cpus = |device_count, cpus| {
        let limits = node_core::policy::RunLimits { device_count, ..sample().limits };
        let around = Surround { cpus, ..around() };
        let body = create_body(&SandboxSpec { limits, ..sample() }, &around, &image_none());
        body.host_config.unwrap().nano_cpus
    };
    assert_eq!(nano_cpus(4, 8), Some(4 * NANO_CPUS));
    assert_eq!(nano_cpus(4, 2), Some(2 * NANO_CPUS));
}

#[test]
fn containers_with_gpus_or_a_kernel_of_their_own_have_room_for_its_threads() {
    let limits = |gpus: &[&str], around: &Surround| {
        let host_config = asked_for_gpus(gpus, around).1.host_config.unwrap();
        (host_config.pids_limit, host_config.shm_size)
    };
    assert_eq!(limits(&["GPU-1"], &around()), (Some(512), Some(1 << 30)));
    let runsc = Surround { runtime: "runsc".to_owned(), ..around() };
    assert_eq!(limits(&[], &runsc), (Some(512), Some(64 << 20)));
}

#[test]
fn a_container_made_ahead_is_labelled_for_its_device_and_known_by_its_name_later() {
    let owner = Owner::Ahead { device: node_core::inventory::DeviceId("cpu-0".to_owned()) };
    let body = create_body(&SandboxSpec { owner, ..sample() }, &around(), &image_none());
    let labels = body.labels.unwrap();
    assert_eq!(labels[LABEL_AHEAD], "cpu-0");
    assert!(!labels.contains_key(LABEL_RUN));
    let listed = |name: &str| {
        let (labels, names) = (Some(labels.clone()), Some(vec![format!("/{name}")]));
        let id = Some("1".to_owned());
        leftover(ContainerSummary { id, labels, names, ..ContainerSummary::default() }).unwrap()
    };
    let run = RunId([7; 32]);
    assert_eq!(listed(&container_name(&run)).run, Some(run));
    let spare = listed("brave_ant");
    assert_eq!((spare.run, spare.is_ahead), (None, true));
}

fn image_none() -> ImageFacts {
    ImageFacts::default()
}
