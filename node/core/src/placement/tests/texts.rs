//! What operators read of placement, each in full: why a device takes no run, what a request waits
//! for, and why this host runs nothing.

use super::build::{host_id, id};
use crate::inventory::DeviceKind;
use crate::limits::{
    DEVICE_CLASSES_MAX, GANG_DEVICES_MAX, HOSTS_MAX, POOL_DEVICES_MAX, PRIORITY_MAX,
    RUN_LIMIT_MS_MAX,
};
use crate::placement::{
    FleetError, NotPlaced, PlanRefused, RequestRefused, Reservation, Ticket, Verdict, WaitsFor,
};
use crate::unit::MonoMs;

const RUN: Ticket = Ticket(7);

/// Every verdict about a device. A new one does not compile until it stands here.
fn verdicts() -> Vec<(Verdict, &'static str)> {
    let why = "cordoned by the operator: fan".to_owned();
    let all = vec![
        (Verdict::Free, "free"),
        (
            Verdict::WrongKind { wanted: DeviceKind::Gpu, has: DeviceKind::CpuSlot },
            "is a cpu_slot, a gpu is needed",
        ),
        (
            Verdict::TooSmall { wanted_mib: 4_096, has_mib: 2_048 },
            "has 2048 MiB, 4096 MiB are needed",
        ),
        (Verdict::CutIntoSlices, "is cut into slices"),
        (Verdict::Unusable { why }, "not usable: cordoned by the operator: fan"),
        (Verdict::Busy { by: RUN, end_by: MonoMs(900) }, "busy with #7, until 900 ms"),
        (Verdict::ImageMissing, "its host has not the image"),
        (Verdict::TooFewFree { wanted: 4, free: 3 }, "free, with 3 of 4 devices that are needed"),
        (
            Verdict::KeptFor { ticket: RUN, start_by: MonoMs(900) },
            "kept for #7, which starts by 900 ms",
        ),
    ];
    for (verdict, _) in &all {
        match verdict {
            Verdict::Free
            | Verdict::WrongKind { .. }
            | Verdict::TooSmall { .. }
            | Verdict::CutIntoSlices
            | Verdict::Unusable { .. }
            | Verdict::Busy { .. }
            | Verdict::ImageMissing
            | Verdict::TooFewFree { .. }
            | Verdict::KeptFor { .. } => {}
        }
    }
    all
}

#[test]
fn every_verdict_about_a_device_has_its_text() {
    for (verdict, text) in verdicts() {
        assert_eq!(verdict.to_string(), text);
    }
}

/// Everything that a request waits for. A new one does not compile until it stands here.
fn pending() -> Vec<(WaitsFor, &'static str)> {
    let (host, start_by) = (host_id("h0"), MonoMs(900));
    let kept = Reservation { ticket: RUN, host: host.clone(), start_by };
    let all = vec![
        (WaitsFor::NextDecision, "the next decision"),
        (WaitsFor::Reserved(kept), "devices of host h0, kept for it; starts by 900 ms"),
        (
            WaitsFor::Turn { earliest: Some((host, start_by)) },
            "its turn; host h0 has enough devices by 900 ms",
        ),
        (WaitsFor::Turn { earliest: None }, "its turn, and a host that is kept"),
        (WaitsFor::Host, "a host with its image and enough usable devices"),
    ];
    for (reason, _) in &all {
        match reason {
            WaitsFor::NextDecision
            | WaitsFor::Reserved(_)
            | WaitsFor::Turn { .. }
            | WaitsFor::Host => {}
        }
    }
    all
}

#[test]
fn everything_that_a_request_waits_for_has_its_text() {
    for (reason, text) in pending() {
        assert_eq!(reason.to_string(), text);
    }
}

/// Every way in which a host contradicts itself. A new one does not compile until it stands here.
fn contradictions() -> Vec<(FleetError, String)> {
    let (host, device) = (host_id("h0"), id("gpu-0"));
    let most = POOL_DEVICES_MAX;
    let all = vec![
        (FleetError::TooManyHosts { hosts: 9 }, format!("9 hosts are more than {HOSTS_MAX}")),
        (FleetError::HostTwice { host: host.clone() }, "host h0 is listed twice".to_owned()),
        (
            FleetError::DeviceTwice { host: host.clone(), device },
            "host h0 lists device gpu-0 twice".to_owned(),
        ),
        (
            FleetError::PoolTooLarge { host: host.clone(), devices: 9 },
            format!("host h0 has 9 equal devices, more than {most}"),
        ),
        (
            FleetError::TooManyClasses,
            format!("there are more than {DEVICE_CLASSES_MAX} kinds and sizes of devices"),
        ),
        (
            FleetError::SlotsExceedHost { host, promised_mib: 9, has_mib: 7 },
            "host h0 has 7 MiB and its CPU slots promise 9 MiB".to_owned(),
        ),
    ];
    for (error, _) in &all {
        match error {
            FleetError::TooManyHosts { .. }
            | FleetError::HostTwice { .. }
            | FleetError::DeviceTwice { .. }
            | FleetError::PoolTooLarge { .. }
            | FleetError::TooManyClasses
            | FleetError::SlotsExceedHost { .. } => {}
        }
    }
    all
}

/// Every way in which a request cannot even wait. A new one does not compile until it stands here.
fn refusals() -> Vec<(RequestRefused, String)> {
    let kind = DeviceKind::Gpu;
    let limit_ms = RUN_LIMIT_MS_MAX + 1;
    let all = vec![
        (
            RequestRefused::Count { count: 9 },
            format!("a run has 1 to {GANG_DEVICES_MAX} devices, not 9"),
        ),
        (
            RequestRefused::Priority { priority: 99 },
            format!("priorities are 0 to {PRIORITY_MAX}, not 99"),
        ),
        (
            RequestRefused::Limit { limit_ms },
            format!("a run's time limit is 1 to {RUN_LIMIT_MS_MAX} ms, not {limit_ms}"),
        ),
        (
            RequestRefused::NoneOfKind { kind },
            "no host has a device of kind gpu that runs are placed on".to_owned(),
        ),
        (
            RequestRefused::TooSmall { kind, wanted_mib: 9, largest_mib: 7 },
            "9 MiB are needed and the largest gpu has 7 MiB".to_owned(),
        ),
        (
            RequestRefused::TooFew { wanted: 4, most: 2 },
            "4 devices are needed and no host has more than 2 that suffice".to_owned(),
        ),
        (
            RequestRefused::QueueFull { waiting: 9 },
            "9 requests wait already; try again when some have started".to_owned(),
        ),
        (
            RequestRefused::TooManyShapes { shapes: 9 },
            "9 different needs wait already; try again when some have started".to_owned(),
        ),
        (
            RequestRefused::TooManyShares { shares: 9 },
            "9 challenges share the devices already; drop one".to_owned(),
        ),
    ];
    for (refused, _) in &all {
        match refused {
            RequestRefused::Count { .. }
            | RequestRefused::Priority { .. }
            | RequestRefused::Limit { .. }
            | RequestRefused::NoneOfKind { .. }
            | RequestRefused::TooSmall { .. }
            | RequestRefused::TooFew { .. }
            | RequestRefused::QueueFull { .. }
            | RequestRefused::TooManyShapes { .. }
            | RequestRefused::TooManyShares { .. } => {}
        }
    }
    all
}

/// Every reason why this host is not given a run. A new one does not compile until it stands here.
fn unplaced() -> Vec<(NotPlaced, String)> {
    let fleet = |(error, text): (FleetError, String)| {
        (NotPlaced::Fleet(error), format!("nothing is placed on this host: {text}"))
    };
    let stale = PlanRefused::Stale { got: 3, present: 4 };
    let others = [
        (
            NotPlaced::NotNow { wanted: 2 },
            "2 free devices are needed; `assay devices` says what each of them does".to_owned(),
        ),
        (
            NotPlaced::Plan(stale),
            "the plan was refused: the plan has generation 3, what runs has 4; plan again"
                .to_owned(),
        ),
    ];
    let fleets = contradictions().into_iter().map(fleet);
    let never = refusals().into_iter().map(|(refused, text)| (NotPlaced::Never(refused), text));
    let all: Vec<(NotPlaced, String)> = fleets.chain(never).chain(others).collect();
    for (reason, _) in &all {
        match reason {
            NotPlaced::Fleet(_)
            | NotPlaced::Never(_)
            | NotPlaced::NotNow { .. }
            | NotPlaced::Plan(_) => {}
        }
    }
    all
}

#[test]
fn every_reason_why_this_host_is_not_given_a_run_has_its_text() {
    for (reason, text) in unplaced() {
        assert_eq!(reason.to_string(), text);
    }
}
