//! Claims about devices: what a fault of one costs, and what an operator's order does.

use super::host::gpu_id;
use super::world::{miner, Fate, World};
use crate::health::observation::{Observation, ProbeResult, ProbeStep, Reading};
use crate::health::{Cause, DeviceRow, Standing};
use crate::id::SubmissionId;
use crate::limits::{COOL_DOWN_MS, LEASE_TTL_MS};
use crate::machine::effect::Note;
use crate::machine::event::Event;
use crate::machine::operator::{DeviceOrder, OrderRefused};
use crate::outcome::Ending;
use crate::submission::SubmissionState;

const GOOD: Fate = Fate::Scores { nll_nanonats: 400_000_000_000_000 };

fn see(world: &mut World, node: usize, gpu: usize, observation: Observation) {
    let life = world.hosts[node].life;
    let observation = Box::new(observation);
    world.deliver(node, life, Event::DeviceSeen { device: gpu_id(gpu), observation });
}

fn standing(world: &World, node: usize, gpu: usize) -> Standing {
    let mut health = world.hosts[node].machine().health();
    health.find(|(id, _)| **id == gpu_id(gpu)).unwrap().1.row().standing
}

fn is_running_on(world: &World, node: usize, gpu: usize) -> bool {
    world.hosts[node]
        .containers
        .values()
        .any(|spec| spec.devices.iter().any(|device| device.id == gpu_id(gpu)))
}

fn is_scored(world: &World, node: usize, id: SubmissionId) -> bool {
    matches!(world.state(node, id), Some(SubmissionState::Scored { .. }))
}

fn await_standing(world: &mut World, node: usize, gpu: usize, wanted: Standing, ms: u64) {
    world.run_until(ms, wanted.name(), |world| standing(world, node, gpu) == wanted);
}

#[test]
fn a_gpu_is_read_and_probed_before_its_first_run() {
    let mut world = World::on_gpus(1, 1, 1, 1);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(LEASE_TTL_MS * 5, "scored", |world| is_scored(world, 0, id));
    assert_eq!(world.hosts[0].gpus[0].probes, 1);
}

#[test]
fn case_28_a_gpu_that_falls_off_the_bus_costs_its_run_and_no_other() {
    let mut world = World::on_gpus(2, 1, 8, 8);
    world.run_ms = 120_000;
    let ids: Vec<SubmissionId> =
        (0..8).map(|index| world.submit_to(0, miner(index), GOOD)).collect();
    world.run_until(LEASE_TTL_MS * 5, "all run", |world| world.hosts[0].containers.len() == 8);
    see(&mut world, 0, 3, Observation::Xid { code: 79 });
    assert_eq!(standing(&world, 0, 3), Standing::Suspect);
    await_standing(&mut world, 0, 3, Standing::Cordoned, 60_000);
    assert_eq!(world.hosts[0].containers.len(), 7, "the others go on");
    // The run counts against the machine: it is done again, and everything is scored.
    world.run_until(1_200_000, "all scored", |world| ids.iter().all(|id| is_scored(world, 0, *id)));
    await_standing(&mut world, 0, 3, Standing::Healthy, 2 * COOL_DOWN_MS);
    assert_eq!(world.notes(0, |note| matches!(note, Note::SubmissionFailed { .. })), 0);
}

#[test]
fn case_28_an_error_by_a_submission_fails_the_submission_and_keeps_the_device() {
    let mut world = World::on_gpus(3, 1, 1, 1);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(LEASE_TTL_MS * 5, "it runs", |world| is_running_on(world, 0, 0));
    see(&mut world, 0, 0, Observation::Xid { code: 31 });
    assert_eq!(standing(&world, 0, 0), Standing::Healthy);
    world.run_until(LEASE_TTL_MS * 5, "settled", |world| {
        matches!(world.state(0, id), Some(SubmissionState::Failed { .. }))
    });
}

#[test]
fn case_29_a_gpu_whose_memory_is_still_held_runs_nothing() {
    let mut world = World::on_gpus(4, 1, 2, 1);
    let first = world.submit_to(0, miner(0), GOOD);
    world.run_until(LEASE_TTL_MS * 5, "it runs", |world| is_running_on(world, 0, 0));
    world.hosts[0].gpus[0].sample.memory_used_mib = Reading::Value(30_000);
    let second = world.submit_to(0, miner(1), GOOD);
    world.run_until(LEASE_TTL_MS * 5, "first scored", |world| is_scored(world, 0, first));
    await_standing(&mut world, 0, 0, Standing::Cordoned, 60_000);
    world.run_for(4 * COOL_DOWN_MS);
    assert!(!is_scored(&world, 0, second), "it ran on held memory");
    world.hosts[0].gpus[0].sample.memory_used_mib = Reading::Value(500);
    world.run_until(4 * COOL_DOWN_MS, "second scored", |world| is_scored(world, 0, second));
}

#[test]
fn a_gpu_that_a_run_cannot_use_is_probed_before_the_next_run() {
    let mut world = World::on_gpus(9, 1, 1, 1);
    await_standing(&mut world, 0, 0, Standing::Healthy, LEASE_TTL_MS);
    let detail = "the container sees none".to_owned();
    world.hosts[0].run_fault = Some(Ending::DeviceFailed { detail });
    let id = world.submit_to(0, miner(0), GOOD);
    await_standing(&mut world, 0, 0, Standing::Cordoned, LEASE_TTL_MS * 5);
    world.hosts[0].run_fault = None;
    world.run_until(4 * COOL_DOWN_MS, "scored", |world| is_scored(world, 0, id));
    assert_eq!(world.hosts[0].gpus[0].probes, 2);
}

#[test]
fn a_probe_that_fails_three_times_in_a_day_leaves_the_device_to_a_person() {
    let mut world = World::on_gpus(5, 1, 1, 1);
    let detail = "element 7 is 8".to_owned();
    let sound = std::mem::replace(
        &mut world.hosts[0].gpus[0].probe,
        ProbeResult::Wrong { step: ProbeStep::Kernel, detail },
    );
    let id = world.submit_to(0, miner(0), GOOD);
    await_standing(&mut world, 0, 0, Standing::Failed, 10 * COOL_DOWN_MS);
    world.run_for(10 * COOL_DOWN_MS);
    assert_eq!(standing(&world, 0, 0), Standing::Failed);
    world.hosts[0].gpus[0].probe = sound;
    world.order(0, 0, DeviceOrder::Uncordon).unwrap();
    world.run_until(LEASE_TTL_MS * 5, "scored", |world| is_scored(world, 0, id));
}

#[test]
fn a_cordoned_device_ends_its_run_and_begins_no_other() {
    let mut world = World::on_gpus(6, 1, 2, 1);
    let first = world.submit_to(0, miner(0), GOOD);
    world.run_until(LEASE_TTL_MS * 5, "it runs", |world| is_running_on(world, 0, 0));
    let reason = "new fan".to_owned();
    let row = world.order(0, 0, DeviceOrder::Cordon { reason }).unwrap();
    assert_eq!(row.order.unwrap().reason, "new fan");
    let second = world.submit_to(0, miner(1), GOOD);
    world.run_until(LEASE_TTL_MS * 5, "first scored", |world| is_scored(world, 0, first));
    world.run_for(COOL_DOWN_MS);
    assert!(world.hosts[0].containers.is_empty());
    // The order outlives a restart.
    world.kill(0);
    world.start(0);
    world.run_for(COOL_DOWN_MS);
    assert!(world.hosts[0].containers.is_empty() && !is_scored(&world, 0, second));
    world.order(0, 0, DeviceOrder::Uncordon).unwrap();
    world.run_until(LEASE_TTL_MS * 5, "second scored", |world| is_scored(world, 0, second));
}

#[test]
fn a_drained_devices_run_is_given_back_and_done_elsewhere() {
    let mut world = World::on_gpus(7, 2, 1, 1);
    world.run_ms = 120_000;
    let id = world.submit_to(0, miner(0), GOOD);
    let runner = |world: &World| (0..2).find(|node| is_running_on(world, *node, 0));
    world.run_until(LEASE_TTL_MS * 5, "it runs", |world| runner(world).is_some());
    let node = runner(&world).unwrap();
    world.order(node, 0, DeviceOrder::Drain { reason: String::new() }).unwrap();
    world.run_until(60_000, "stopped", |world| !is_running_on(world, node, 0));
    world.run_until(LEASE_TTL_MS * 5, "done elsewhere", |world| is_scored(world, 0, id));
    assert!(!is_running_on(&world, node, 0));
}

fn gone(world: &World, node: usize) -> Vec<DeviceRow> {
    world.hosts[node].machine().gone_devices().cloned().collect()
}

/// A node whose second GPU was proven, cordoned, and then not found any more.
fn world_without_its_second_gpu() -> World {
    let mut world = World::on_gpus(10, 1, 1, 2);
    await_standing(&mut world, 0, 1, Standing::Healthy, LEASE_TTL_MS);
    see(&mut world, 0, 1, Observation::Xid { code: 79 });
    assert_eq!(gone(&world, 0), []);
    world.kill(0);
    let _taken = world.hosts[0].gpus.pop();
    world.start(0);
    world.run_for(1_000);
    world
}

#[test]
fn a_gpu_that_is_not_found_any_more_is_gone_since_then_and_what_was_known_of_it_stays() {
    let mut world = world_without_its_second_gpu();
    let [row] = &gone(&world, 0)[..] else { panic!("{:?}", gone(&world, 0)) };
    assert_eq!((&row.device, row.standing), (&gpu_id(1), Standing::Cordoned));
    assert_eq!(row.cause, Some(Cause::Xid { code: 79 }));
    assert_eq!((row.failures.len(), row.baseline.is_some()), (1, true));
    assert_eq!(row.seen.as_ref().unwrap().label, "one GPU");
    let since = row.gone_since.unwrap();
    let is_told = |note: &Note| matches!(note, Note::DeviceDistrusted { standing: "gone", .. });
    assert_eq!(world.notes(0, is_told), 1);
    // Once: later lives know it already.
    world.run_for(LEASE_TTL_MS);
    world.kill(0);
    world.start(0);
    world.run_for(1_000);
    assert_eq!(gone(&world, 0)[0].gone_since, Some(since));
    assert_eq!(world.notes(0, is_told), 1);
    // It comes back: what it did is not forgotten, and it has to be probed.
    world.kill(0);
    let like = world.hosts[0].gpus[0].clone();
    world.hosts[0].gpus.push(like);
    world.start(0);
    world.run_for(1_000);
    assert_eq!(gone(&world, 0), []);
    let machine = world.hosts[0].machine();
    let row = machine.health().find(|(id, _)| **id == gpu_id(1)).unwrap().1.row().clone();
    assert_eq!((row.gone_since, row.failures.len()), (None, 1));
    assert_ne!(row.standing, Standing::Healthy);
}

#[test]
fn a_gone_gpu_takes_no_order_but_to_be_forgotten() {
    let mut world = world_without_its_second_gpu();
    for refused in [
        DeviceOrder::Probe,
        DeviceOrder::Cordon { reason: String::new() },
        DeviceOrder::Drain { reason: String::new() },
    ] {
        assert_eq!(world.order(0, 1, refused), Err(OrderRefused::Gone));
    }
    let row = world.order(0, 1, DeviceOrder::Uncordon).unwrap();
    assert!(row.gone_since.is_some());
    assert_eq!(world.order(0, 1, DeviceOrder::Uncordon), Err(OrderRefused::Unknown));
    world.kill(0);
    world.start(0);
    world.run_for(1_000);
    assert_eq!(gone(&world, 0), [], "in later lives too");
}

#[test]
fn what_is_gone_for_a_month_is_forgotten_unless_a_person_has_a_word_in_it() {
    for is_ordered in [false, true] {
        let mut world = World::on_gpus(11, 1, 1, 2);
        await_standing(&mut world, 0, 1, Standing::Healthy, LEASE_TTL_MS);
        if is_ordered {
            let reason = "to be replaced".to_owned();
            world.order(0, 1, DeviceOrder::Cordon { reason }).unwrap();
        }
        world.kill(0);
        let _taken = world.hosts[0].gpus.pop();
        for days in [0, 29, 31] {
            world.hosts[0].wall_skew_ms = days * 24 * 60 * 60 * 1000;
            world.start(0);
            world.run_for(1_000);
            let is_known = days < 30 || is_ordered;
            assert_eq!(gone(&world, 0).len(), usize::from(is_known), "after {days} days");
            world.kill(0);
        }
    }
}

#[test]
fn a_gang_runs_on_devices_of_its_own_and_frees_all_of_them() {
    let mut world = World::on_gangs(10, 4, 2);
    world.run_ms = 120_000;
    let ids: Vec<SubmissionId> =
        (0..4).map(|index| world.submit_to(0, miner(index), GOOD)).collect();
    world.run_until(LEASE_TTL_MS * 5, "two run", |world| world.hosts[0].containers.len() == 2);
    assert!((0..4).all(|gpu| is_running_on(&world, 0, gpu)));
    world.run_until(1_200_000, "all scored", |world| ids.iter().all(|id| is_scored(world, 0, *id)));
    let machine = world.hosts[0].machine();
    assert_eq!(machine.placement().room(&machine.config().policy.run), 2);
    let receipt = machine.receipts().next().unwrap();
    assert!(
        receipt.receipt.evidence.device.starts_with("2 x gpu ("),
        "{}",
        receipt.receipt.evidence.device
    );
}

#[test]
fn a_device_that_fails_ends_its_gang_and_costs_the_other_devices_nothing() {
    let mut world = World::on_gangs(11, 2, 2);
    world.run_ms = 120_000;
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_until(LEASE_TTL_MS * 5, "it runs", |world| is_running_on(world, 0, 1));
    see(&mut world, 0, 1, Observation::Xid { code: 79 });
    await_standing(&mut world, 0, 1, Standing::Cordoned, 60_000);
    assert_eq!(standing(&world, 0, 0), Standing::Healthy);
    assert!(!is_running_on(&world, 0, 0), "half a gang runs");
    world.run_for(COOL_DOWN_MS / 2);
    assert!(world.hosts[0].containers.is_empty(), "it waits for both");
    world.run_until(4 * COOL_DOWN_MS, "scored", |world| is_scored(world, 0, id));
    assert_eq!(world.hosts[0].gpus[0].probes, 1, "the other was not probed again");
}

#[test]
fn a_host_with_too_few_devices_for_a_gang_asks_for_nothing() {
    let mut world = World::on_gangs(12, 1, 2);
    let id = world.submit_to(0, miner(0), GOOD);
    world.run_for(LEASE_TTL_MS * 5);
    assert!(world.hosts[0].containers.is_empty() && !is_scored(&world, 0, id));
    let machine = world.hosts[0].machine();
    let refusal = machine.placement().check(&machine.config().policy.run).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "2 devices are needed and no host has more than 1 that suffice"
    );
}

#[test]
fn orders_that_cannot_be_carried_out_say_why() {
    let mut world = World::on_gpus(8, 1, 1, 1);
    let unknown = world.order(0, 5, DeviceOrder::Probe);
    assert_eq!(unknown, Err(OrderRefused::Unknown));
    world.submit_to(0, miner(0), GOOD);
    world.run_until(LEASE_TTL_MS * 5, "it runs", |world| is_running_on(world, 0, 0));
    assert_eq!(world.order(0, 0, DeviceOrder::Probe), Err(OrderRefused::Busy));
}
