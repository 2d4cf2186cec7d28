//! The check finds every broken rule, whoever made the plan.

use super::build::{gpu, gpu_hosts, gpus, host, host_id, id, slice, Bench, HOUR_MS};
use crate::id::Digest;
use crate::inventory::{Device, DeviceKind};
use crate::placement::{check, Needs, Plan, PlanRefused, Request, Seat, Ticket};

/// Two runs, of two GPUs and of one, on a host with devices of all kinds; the plan is good.
fn bench() -> (Bench, Plan) {
    let slot = |name| Device::new(id(name), DeviceKind::CpuSlot, "a CPU", 500_000);
    let mut hosts = gpu_hosts(1, 4);
    hosts[0].devices.push(gpu("small", 40_000));
    hosts[0].devices.extend([gpu("cut", 80_000), slice("cut", "s0", 10_000)]);
    hosts.push(host("h1", vec![slot("cpu-0"), slot("cpu-1")]));
    let mut bench = Bench::new(hosts);
    bench.requests = [(Ticket(1), gpus(2, HOUR_MS)), (Ticket(2), gpus(1, HOUR_MS))].into();
    let plan = plan(&[(1, "h0", &["h0-0", "h0-1"]), (2, "h0", &["h0-2"])]);
    assert_eq!(check(&plan, &bench.facts()), Ok(()));
    (bench, plan)
}

fn plan(runs: &[(u64, &str, &[&str])]) -> Plan {
    let seat = |host: &str, devices: &[&str]| Seat {
        host: host_id(host),
        devices: devices.iter().map(|name| id(name)).collect(),
    };
    let runs = runs.iter().map(|(run, host, devices)| (Ticket(*run), seat(host, devices)));
    Plan { generation: 0, runs: runs.collect() }
}

fn refusal(bench: &Bench, runs: &[(u64, &str, &[&str])]) -> PlanRefused {
    check(&plan(runs), &bench.facts()).unwrap_err()
}

#[test]
fn two_runs_on_one_device_are_refused_and_so_is_one_run_twice() {
    let (bench, _) = bench();
    let refused = refusal(&bench, &[(1, "h0", &["h0-0", "h0-1"]), (2, "h0", &["h0-1"])]);
    let (host, device, first, second) = (host_id("h0"), id("h0-1"), Ticket(1), Ticket(2));
    assert_eq!(refused, PlanRefused::TwoRunsOnOneDevice { host, device, first, second });
    let refused = refusal(&bench, &[(1, "h0", &["h0-1", "h0-1"])]);
    assert_eq!(refused.to_string(), "runs #1 and #1 are both on device h0-1 of host h0");
}

#[test]
fn a_part_of_a_gang_and_unequal_devices_are_refused() {
    let (bench, _) = bench();
    let refused = refusal(&bench, &[(1, "h0", &["h0-0"])]);
    assert_eq!(refused, PlanRefused::PartOfAGang { run: Ticket(1), wanted: 2, got: 1 });
    let refused = refusal(&bench, &[(1, "h0", &["h0-0", "small"])]);
    let unequal =
        PlanRefused::UnequalDevices { run: Ticket(1), one_mib: 80_000, other_mib: 40_000 };
    assert_eq!(refused, unequal);
}

#[test]
fn what_nobody_knows_or_asked_for_is_refused() {
    let (bench, _) = bench();
    let run = Ticket(7);
    assert_eq!(refusal(&bench, &[(7, "h0", &["h0-0"])]), PlanRefused::UnknownRun { run });
    let (run, host) = (Ticket(2), host_id("h9"));
    assert_eq!(refusal(&bench, &[(2, "h9", &["h0-0"])]), PlanRefused::UnknownHost { run, host });
    let (host, device) = (host_id("h0"), id("cpu-0"));
    let refused = refusal(&bench, &[(2, "h0", &["cpu-0"])]);
    assert_eq!(refused, PlanRefused::UnknownDevice { run, host, device }, "it is another host's");
}

#[test]
fn a_device_of_the_wrong_kind_too_small_or_cut_is_refused() {
    let (mut bench, _) = bench();
    let run = Ticket(2);
    let refused = refusal(&bench, &[(2, "h0", &["s0"])]);
    let (wanted, got, device) = (DeviceKind::Gpu, DeviceKind::MigSlice, id("s0"));
    assert_eq!(refused, PlanRefused::WrongKind { run, device, wanted, got });
    let (host, device) = (host_id("h0"), id("cut"));
    let refused = refusal(&bench, &[(2, "h0", &["cut"])]);
    assert_eq!(refused, PlanRefused::CutIntoSlices { run, host, device });
    bench.requests.get_mut(&run).unwrap().needs.memory_mib = 40_001;
    let (device, wanted_mib, has_mib) = (id("small"), 40_001, 40_000);
    let refused = refusal(&bench, &[(2, "h0", &["small"])]);
    assert_eq!(refused, PlanRefused::TooLittleMemory { run, device, wanted_mib, has_mib });
}

#[test]
fn an_unusable_device_or_a_missing_image_is_refused_except_where_the_run_is_already() {
    let (mut bench, good) = bench();
    let (run, host, device) = (Ticket(2), host_id("h0"), id("h0-2"));
    let why = "cordoned".to_owned();
    bench.unusable.insert((host.clone(), device.clone()), why.clone());
    let refused = check(&good, &bench.facts()).unwrap_err();
    assert_eq!(refused, PlanRefused::Unusable { run, host: host.clone(), device, why });
    bench.present = good.clone();
    assert_eq!(check(&good, &bench.facts()), Ok(()));
    let image = Digest([1; 32]);
    bench.requests.get_mut(&run).unwrap().needs.image = Some(image);
    assert_eq!(check(&good, &bench.facts()), Ok(()));
    let refused = refusal(&bench, &[(2, "h0", &["h0-3"])]);
    assert_eq!(refused, PlanRefused::ImageMissing { run, host, image });
}

#[test]
fn a_hosts_memory_is_not_promised_twice_and_an_old_plan_is_not_carried_out() {
    let (mut bench, good) = bench();
    let needs = Needs { kind: DeviceKind::CpuSlot, memory_mib: 500_000, count: 1, image: None };
    bench.requests = [1, 2].map(|run| (Ticket(run), Request { needs, ..gpus(1, 1) })).into();
    let both: &[(u64, &str, &[&str])] = &[(1, "h1", &["cpu-0"]), (2, "h1", &["cpu-1"])];
    assert_eq!(check(&plan(both), &bench.facts()), Ok(()));
    bench.hosts[1].memory_mib = 999_999;
    let (host, wanted_mib, has_mib) = (host_id("h1"), 1_000_000, 999_999);
    assert_eq!(refusal(&bench, both), PlanRefused::HostMemory { host, wanted_mib, has_mib });
    bench.present.generation = 2;
    let stale = check(&Plan { generation: 1, ..good }, &bench.facts());
    assert_eq!(stale, Err(PlanRefused::Stale { got: 1, present: 2 }));
}
