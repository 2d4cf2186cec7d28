//! Which devices there are: what the script says, and what is wrong with it.

use std::time::Duration;

use fake_driver::{Answer, FakeDriver, Gpu, Link, Script};
use serde_json::{json, Value};

use crate::{all_said, child, say, LIMIT};

const NVML_LOST: u32 = 15;
const NVML_UNKNOWN: u32 = 999;
const CUDA_UNKNOWN: u32 = 999;
const CUDA_MISMATCH: u32 = 803;
const CUDA_NO_DEVICE: u32 = 100;

fn tell(limit: Duration) {
    say(&match node_gpu::inventory_within(limit) {
        Ok(found) => json!({
            "devices": found.devices,
            "cut": found.cut,
            "faults": found.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "version": found.driver_version,
        }),
        Err(absence) => json!({ "absent": absence, "text": absence.to_string() }),
    });
}

#[test]
#[ignore = "the child of the tests of the inventory"]
fn child_lists() {
    tell(LIMIT);
}

#[test]
#[ignore = "the child of the tests with a driver that hangs"]
fn child_lists_twice_with_little_patience() {
    tell(Duration::from_millis(500));
    tell(Duration::from_millis(500));
}

fn listed(driver: &FakeDriver) -> Value {
    all_said(&mut child("inventory::child_lists", driver)).remove(0)
}

fn listed_from(script: &Script) -> Value {
    listed(&FakeDriver::install(script).unwrap())
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|device| device["id"].as_str().unwrap()).collect()
}

fn uuid(index: u32) -> String {
    Gpu::new(index).uuid
}

/// Two GPUs joined by four links behind one switch, and a third at the other socket.
fn three_gpus() -> Script {
    let mut script = Script::with_gpus(3);
    let addresses: Vec<String> = script.devices.iter().map(|gpu| gpu.pci_address.clone()).collect();
    script.devices[0].links = vec![Link::Gpu(addresses[1].clone()); 4];
    script.devices[1].links = vec![Link::Gpu(addresses[0].clone()); 4];
    script.devices[0].ancestors.insert(uuid(1), 10);
    script.devices[1].ancestors.insert(uuid(2), 40);
    script.devices[2].numa_node = Some(1);
    script.devices[2].name = "NVIDIA A100-SXM4-40GB".to_owned();
    script.devices[2].memory_mib = 40_960;
    script.devices[2].compute_capability = (8, 0);
    script
}

#[test]
fn the_inventory_is_what_the_driver_says() {
    let said = listed_from(&three_gpus());
    assert_eq!(said["version"], "570.86.15");
    assert_eq!(said["faults"], json!([]));
    assert_eq!(said["cut"], json!([]));
    let facts = |capability: [u32; 2]| {
        json!({
            "compute_capability": capability, "driver_version": "570.86.15", "slice": null
        })
    };
    let four_links = json!({ "nv_link": { "links": 4 } });
    let expected = json!([
        {
            "id": uuid(0), "kind": "gpu", "label": "NVIDIA H100 80GB HBM3", "memory_mib": 81_559,
            "place": {
                "pci_address": "00000000:10:00.0", "numa_node": 0,
                "near": { uuid(1): four_links, uuid(2): "system" },
            },
            "gpu": facts([9, 0]),
        },
        {
            "id": uuid(1), "kind": "gpu", "label": "NVIDIA H100 80GB HBM3", "memory_mib": 81_559,
            "place": {
                "pci_address": "00000000:11:00.0", "numa_node": 0,
                "near": { uuid(0): four_links, uuid(2): "numa" },
            },
            "gpu": facts([9, 0]),
        },
        {
            "id": uuid(2), "kind": "gpu", "label": "NVIDIA A100-SXM4-40GB", "memory_mib": 40_960,
            "place": {
                "pci_address": "00000000:12:00.0", "numa_node": 1,
                "near": { uuid(0): "system", uuid(1): "numa" },
            },
            "gpu": facts([8, 0]),
        },
    ]);
    assert_eq!(said["devices"], expected);
}

#[test]
fn gpus_behind_nvlink_switches_are_all_joined_by_as_many_links_as_both_have() {
    let mut script = Script::with_gpus(3);
    for (gpu, links) in script.devices.iter_mut().zip([18, 18, 12]) {
        gpu.links = vec![Link::Switch; links];
    }
    let said = listed_from(&script);
    let near = &said["devices"][0]["place"]["near"];
    assert_eq!(near[uuid(1)], json!({ "nv_link": { "links": 18 } }));
    assert_eq!(near[uuid(2)], json!({ "nv_link": { "links": 12 } }));
}

#[test]
fn where_a_gpu_sits_may_be_unknown() {
    let mut script = Script::with_gpus(2);
    script.devices[0].numa_node = None;
    script.devices[0].answer("nvmlDeviceGetTopologyCommonAncestor", Answer::Error(3));
    script.devices[0].answer("nvmlDeviceGetPciInfo_v3", Answer::Error(NVML_UNKNOWN));
    let said = listed_from(&script);
    assert_eq!(ids(&said["devices"]), [uuid(0), uuid(1)]);
    let place = &said["devices"][0]["place"];
    assert_eq!(place, &json!({ "pci_address": null, "numa_node": null, "near": {} }));
}

#[test]
fn a_gpu_that_is_cut_is_listed_by_its_slices_and_named_beside_them() {
    let mut script = Script::with_gpus(2);
    script.devices[1].cut(2, 9_856);
    let said = listed_from(&script);
    let slices: Vec<String> =
        script.devices[1].slices.iter().flatten().map(|slice| slice.uuid.clone()).collect();
    assert_eq!(ids(&said["devices"]), [&uuid(0), &slices[0], &slices[1]]);
    assert_eq!(ids(&said["cut"]), [uuid(1)]);
    assert_eq!(said["faults"], json!([]));
    let slice = &said["devices"][2];
    assert_eq!(slice["kind"], "mig_slice");
    assert_eq!(slice["memory_mib"], 9_856);
    assert_eq!(slice["place"]["pci_address"], "00000000:11:00.0");
    assert_eq!(slice["place"]["near"], json!({ &slices[0]: "board" }));
    let part = json!({ "parent": uuid(1), "gpu_instance": 8, "compute_instance": 0 });
    assert_eq!(slice["gpu"]["slice"], part);
}

#[test]
fn a_gpu_with_mig_on_and_no_slice_is_a_fault_that_says_what_to_do() {
    let mut script = Script::with_gpus(2);
    script.devices[0].cut(0, 0);
    let said = listed_from(&script);
    assert_eq!(ids(&said["devices"]), [uuid(1)]);
    let problem = "MIG is on and there is no slice: make some, or switch it off";
    assert_eq!(said["faults"], json!([format!("{}: {problem}", uuid(0))]));
}

#[test]
fn a_slice_that_cannot_be_described_hides_no_other() {
    let mut script = Script::with_gpus(1);
    script.devices[0].cut(3, 9_856);
    let slices: Vec<String> =
        script.devices[0].slices.iter().flatten().map(|slice| slice.uuid.clone()).collect();
    let call = format!("nvmlDeviceGetComputeInstanceId {}", slices[1]);
    script.devices[0].answer(&call, Answer::Error(NVML_UNKNOWN));
    let said = listed_from(&script);
    assert_eq!(ids(&said["devices"]), [&slices[0], &slices[2]]);
    let problem = "slice 1: the instances of a slice: an internal driver error occurred";
    assert_eq!(said["faults"], json!([format!("{}: {problem}", uuid(0))]));
}

#[test]
fn what_only_one_library_lists_is_a_fault_and_no_device() {
    let mut script = Script::with_gpus(3);
    script.devices[0].is_in_cuda = false;
    script.devices[1].is_in_nvml = false;
    let said = listed_from(&script);
    assert_eq!(ids(&said["devices"]), [uuid(2)]);
    let faults = [
        format!("{}: CUDA lists it and NVML does not", uuid(1)),
        format!("{}: NVML lists it and CUDA does not", uuid(0)),
    ];
    assert_eq!(said["faults"], json!(faults));
}

#[test]
fn a_gpu_hidden_by_the_nodes_environment_is_named_with_the_variable() {
    let driver = FakeDriver::install(&Script::with_gpus(2)).unwrap();
    let mut command = child("inventory::child_lists", &driver);
    let said = all_said(command.env("CUDA_VISIBLE_DEVICES", uuid(1))).remove(0);
    assert_eq!(ids(&said["devices"]), [uuid(1)]);
    let fault = said["faults"][0].as_str().unwrap();
    assert!(fault.contains("CUDA_VISIBLE_DEVICES is `GPU-00000001"), "{fault}");
}

#[test]
fn a_lost_gpu_is_named_and_hides_no_other() {
    let mut script = Script::with_gpus(3);
    script.devices[1].is_lost = true;
    let said = listed_from(&script);
    assert_eq!(ids(&said["devices"]), [uuid(0), uuid(2)]);
    let faults: Vec<&str> =
        said["faults"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
    assert!(
        faults[0].starts_with("GPU 1: nvmlDeviceGetHandleByIndex: device fell off"),
        "{faults:?}"
    );
    assert_eq!(faults[1], "GPU 1: cuDeviceGet answered CUDA_ERROR_UNKNOWN");
}

#[test]
fn one_gpu_that_hangs_beside_seven_good_ones_costs_one_device() {
    let mut script = Script::with_gpus(8);
    script.devices[3].answer("nvmlDeviceGetMemoryInfo_v2", Answer::Hang);
    let driver = FakeDriver::install(&script).unwrap();
    let said = all_said(&mut child("inventory::child_lists_twice_with_little_patience", &driver));
    let others: Vec<String> = (0..8).filter(|index| *index != 3).map(uuid).collect();
    for said in &said {
        assert_eq!(ids(&said["devices"]), others);
    }
    assert_eq!(said[0]["faults"][0], "GPU 3: NVML: no answer within 500 ms");
    assert_eq!(said[1]["faults"][0], "GPU 3: NVML: an earlier question is still unanswered");
}

#[test]
fn one_gpu_that_keeps_cuda_from_starting_does_not_hide_the_others() {
    for (answer, words) in [
        (Answer::Hang, "CUDA: no answer within 500 ms"),
        (Answer::Error(CUDA_UNKNOWN), "cuInit answered CUDA_ERROR_UNKNOWN"),
    ] {
        let mut script = Script::with_gpus(2);
        script.calls.insert("cuInit".to_owned(), answer);
        script.devices[1].is_lost = true;
        let driver = FakeDriver::install(&script).unwrap();
        let test = "inventory::child_lists_twice_with_little_patience";
        let said = all_said(&mut child(test, &driver)).remove(0);
        assert_eq!(ids(&said["devices"]), [uuid(0)]);
        let fault = format!("{words}; GPUs are listed on the word of NVML alone");
        assert_eq!(said["faults"][1], json!(fault));
    }
}

#[test]
fn a_driver_that_hangs_is_given_up_and_asked_no_second_time() {
    let mut script = Script::with_gpus(1);
    script.calls.insert("cuInit".to_owned(), Answer::Hang);
    script.calls.insert("nvmlInit_v2".to_owned(), Answer::Hang);
    script.is_logged = true;
    let driver = FakeDriver::install(&script).unwrap();
    let said = all_said(&mut child("inventory::child_lists_twice_with_little_patience", &driver));
    let text = |at: usize| said[at]["absent"]["detail"].as_str().unwrap();
    assert!(text(0).contains("no answer within 500 ms"), "{said:?}");
    assert!(text(1).contains("an earlier question is still unanswered"), "{said:?}");
    let mut calls = driver.calls().unwrap();
    calls.sort();
    assert_eq!(calls, ["cuInit ", "nvmlInit_v2 "]);
}

#[test]
fn a_missing_management_library_costs_what_only_it_knows() {
    let driver = FakeDriver::install_without_nvml(&Script::with_gpus(2)).unwrap();
    let said = listed(&driver);
    assert_eq!(ids(&said["devices"]), [uuid(0), uuid(1)]);
    assert_eq!(said["version"], json!(null));
    assert_eq!(said["faults"], json!([]));
    assert_eq!(said["devices"][0]["gpu"]["compute_capability"], json!([9, 0]));
    assert_eq!(said["devices"][0]["place"]["pci_address"], json!(null));
}

#[test]
fn a_management_library_that_does_not_start_is_a_fault_beside_the_gpus() {
    let mut script = Script::with_gpus(1);
    script.calls.insert("nvmlInit_v2".to_owned(), Answer::Error(18));
    let said = listed_from(&script);
    assert_eq!(ids(&said["devices"]), [uuid(0)]);
    let fault = said["faults"][0].as_str().unwrap();
    assert!(fault.starts_with("NVML: nvmlInit: RM detects a driver/library version"), "{fault}");
}

#[test]
fn a_machine_without_cudas_library_says_so_where_nvml_lists_gpus() {
    let driver = FakeDriver::install_without_cuda(&Script::with_gpus(2)).unwrap();
    let said = listed(&driver);
    let detail =
        "NVML lists GPUs, but for CUDA the loader finds neither libcuda.so nor libcuda.so.1";
    assert_eq!(said["absent"], json!({ "kind": "driver_failed", "detail": detail }));
}

#[test]
fn a_driver_that_does_not_start_is_a_value_that_says_why() {
    for (number, detail) in [
        (CUDA_UNKNOWN, "cuInit answered CUDA_ERROR_UNKNOWN"),
        (CUDA_MISMATCH, "cuInit answered CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),
    ] {
        let mut script = Script::with_gpus(1);
        script.calls.insert("cuInit".to_owned(), Answer::Error(number));
        let said = listed(&FakeDriver::install_without_nvml(&script).unwrap());
        assert_eq!(said["absent"], json!({ "kind": "driver_failed", "detail": detail }));
    }
}

#[test]
fn a_machine_whose_every_gpu_is_lost_names_the_first() {
    let mut script = Script::with_gpus(2);
    for gpu in &mut script.devices {
        gpu.answer("nvmlDeviceGetHandleByIndex_v2", Answer::Error(NVML_LOST));
        gpu.is_in_cuda = false;
    }
    let said = listed_from(&script);
    let detail = said["absent"]["detail"].as_str().unwrap();
    assert!(detail.starts_with("GPU 0: nvmlDeviceGetHandleByIndex: device fell off"), "{detail}");
}

#[test]
fn a_driver_without_devices_is_no_failure() {
    let mut script = Script::with_gpus(0);
    assert_eq!(listed_from(&script)["absent"], json!({ "kind": "no_device" }));
    script.calls.insert("cuInit".to_owned(), Answer::Error(CUDA_NO_DEVICE));
    assert_eq!(listed_from(&script)["absent"], json!({ "kind": "no_device" }));
}

#[test]
fn a_driver_that_lacks_a_function_is_a_value_and_not_a_panic() {
    let driver = FakeDriver::install_without_cuda(&Script::with_gpus(0)).unwrap();
    std::fs::remove_file(driver.folder().join("libnvidia-ml.so.1")).unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake/driver.c");
    let built = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
        .arg(driver.folder().join("libcuda.so"))
        .arg(source)
        .status();
    assert!(built.unwrap().success());
    let said = listed(&driver);
    let detail = said["absent"]["detail"].as_str().unwrap();
    assert!(detail.contains("the library panicked"), "{detail}");
}

#[test]
fn a_missing_driver_is_named_as_such_and_a_present_one_is_not() {
    let mut search = std::process::Command::new("sh");
    let known = search.args(["-c", "PATH=$PATH:/sbin ldconfig -p"]).output().unwrap();
    let has_driver = String::from_utf8_lossy(&known.stdout).contains("libcuda.so");
    let driver = FakeDriver::install(&Script::with_gpus(1)).unwrap();
    for library in ["libcuda.so.1", "libnvidia-ml.so.1"] {
        std::fs::remove_file(driver.folder().join(library)).unwrap();
    }
    let said = listed(&driver);
    let is_named = said["absent"]["kind"] == "no_driver"
        && said["absent"]["detail"].as_str().unwrap().starts_with("the loader finds");
    assert_eq!(is_named, !has_driver, "{said}");
}
