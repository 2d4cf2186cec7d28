//! Filter and rank: where a run goes.

use super::build::{gpu, gpu_hosts, gpus, host, host_id, id, slice, unusable, Bench, HOUR_MS};
use crate::id::Digest;
use crate::inventory::DeviceKind;
use crate::placement::{Condition, Needs, Planner, Request, RequestRefused, Verdict, WaitsFor};
use crate::unit::MonoMs;

#[test]
fn the_smallest_device_that_suffices_is_taken_then_the_fullest_host() {
    let mixed = vec![gpu("a", 80_000), gpu("b", 40_000)];
    let mut bench = Bench::new(vec![
        host("h0", (0..4).map(|at| gpu(&format!("c{at}"), 80_000)).collect()),
        host("h1", mixed),
    ]);
    bench.submit(gpus(1, HOUR_MS));
    bench.submit(gpus(1, HOUR_MS));
    let seats: Vec<_> = bench.decide().into_iter().map(|(_, seat)| seat.devices).collect();
    assert_eq!(seats, [[id("b")], [id("a")]], "h0 stays whole for a gang");
}

#[test]
fn a_gang_has_all_its_devices_on_one_host_or_waits() {
    let mut bench = Bench::new(gpu_hosts(2, 4));
    let small: Vec<_> = (0..2).map(|_| bench.submit(gpus(2, HOUR_MS))).collect();
    assert_eq!(bench.decide().len(), 2);
    let four = bench.submit(gpus(4, HOUR_MS));
    let (_, seat) = bench.decide().remove(0);
    assert_eq!((seat.host, seat.devices.len()), (host_id("h1"), 4));
    let waits = bench.submit(gpus(4, HOUR_MS));
    bench.finish(small[0]);
    assert_eq!(bench.started(), [], "two of four devices are free");
    bench.finish(four);
    assert_eq!(bench.started(), [waits]);
}

#[test]
fn a_gpu_that_is_cut_into_slices_is_not_placed_on_and_its_slices_are() {
    let devices = vec![gpu("g0", 80_000), slice("g0", "s0", 20_000), slice("g0", "s1", 20_000)];
    let mut bench = Bench::new(vec![host("h0", devices)]);
    let kind = DeviceKind::Gpu;
    let refused = bench.planner.submit(gpus(1, HOUR_MS)).unwrap_err();
    assert_eq!(refused, RequestRefused::NoneOfKind { kind });
    let needs = Needs { kind: DeviceKind::MigSlice, memory_mib: 20_000, ..gpus(1, HOUR_MS).needs };
    for _ in 0..2 {
        bench.submit(Request { needs, ..gpus(1, HOUR_MS) });
    }
    // What befalls the board befalls its slices.
    bench.set_condition("h0", "g0", &unusable("suspect: Xid 79"));
    assert_eq!(bench.started(), []);
    bench.set_condition("h0", "g0", &Condition::Usable);
    assert_eq!(bench.started().len(), 2);
}

#[test]
fn a_run_goes_only_where_its_image_is_and_rather_where_its_content_is() {
    let mut bench = Bench::new(gpu_hosts(3, 2));
    let (image, content) = (Digest([1; 32]), Digest([2; 32]));
    let mut request = gpus(1, HOUR_MS);
    request.needs.image = Some(image);
    request.content = Some(content);
    let ticket = bench.submit(request);
    assert_eq!(bench.started(), []);
    let explanation = bench.planner.explain(bench.now, ticket).unwrap();
    assert_eq!(explanation.waits_for, WaitsFor::Host);
    assert_eq!(explanation.hosts[0].devices[0].verdict, Verdict::ImageMissing);
    bench.planner.set_content(&host_id("h2"), content, true);
    bench.planner.set_content(&host_id("h0"), content, true);
    bench.set_image("h1", image, true);
    bench.set_image("h2", image, true);
    let (_, seat) = bench.decide().remove(0);
    assert_eq!(seat.host, host_id("h2"));
}

#[test]
fn an_unusable_device_gets_nothing_and_what_runs_on_it_goes_on() {
    let mut bench = Bench::new(gpu_hosts(1, 2));
    let first = bench.submit(gpus(1, HOUR_MS));
    let (_, seat) = bench.decide().remove(0);
    bench.set_condition("h0", &seat.devices[0].0, &unusable("cordoned: fan"));
    let second = bench.submit(gpus(1, HOUR_MS));
    let third = bench.submit(gpus(1, HOUR_MS));
    assert_eq!(bench.started(), [second]);
    bench.finish(first);
    assert_eq!(bench.started(), []);
    let explanation = bench.planner.explain(bench.now, third).unwrap();
    let why = Verdict::Unusable { why: "cordoned: fan".to_owned() };
    assert_eq!(explanation.hosts[0].devices[0].verdict, why);
    let busy = Verdict::Busy { by: second, end_by: MonoMs(HOUR_MS) };
    assert_eq!(explanation.hosts[0].devices[1].verdict, busy);
    assert_eq!(busy.to_string(), "busy with #2, until 3600000 ms");
}

#[test]
fn what_can_never_run_is_refused_at_once_with_the_facts() {
    let mut planner = Planner::new(&gpu_hosts(2, 4)).unwrap();
    let mut submit = |request| planner.submit(request).unwrap_err().to_string();
    let too_many = "5 devices are needed and no host has more than 4 that suffice";
    assert_eq!(submit(gpus(5, HOUR_MS)), too_many);
    assert_eq!(submit(gpus(9, HOUR_MS)), "a run has 1 to 8 devices, not 9");
    assert_eq!(submit(gpus(1, 0)), "a run's time limit is 1 to 86400000 ms, not 0");
    let mut large = gpus(1, HOUR_MS);
    large.needs.memory_mib = 81_000;
    assert_eq!(submit(large), "81000 MiB are needed and the largest gpu has 80000 MiB");
    large.needs.kind = DeviceKind::CpuSlot;
    let none = "no host has a device of kind cpu_slot that runs are placed on";
    assert_eq!(submit(large), none);
}
