use super::*;
use crate::health::observation::{Reading, Recovery, Throttle};
use crate::inventory::DeviceId;
use crate::limits::{IDLE_MEMORY_MIB_MAX, MEMORY_FREE_WAIT_MS};

const RUN: RunId = RunId([1; 32]);

pub(crate) fn sound_sample() -> Sample {
    Sample {
        temperature_c: Reading::Value(40),
        slowdown_c: Reading::Value(90),
        memory_used_mib: Reading::Value(500),
        throttle: Reading::Value(Throttle::default()),
        recovery: Reading::Value(Recovery::Nothing),
        ecc_uncorrected: Reading::Value(0),
        ecc_corrected: Reading::Value(0),
        is_remap_pending: Reading::Value(false),
        utilisation: Reading::Value(0),
        power_mw: Reading::Value(60_000),
    }
}

fn figures(percent: u64) -> ProbeFigures {
    ProbeFigures {
        took_ms: 900,
        memory_mib: 1024,
        bandwidth_mb_s: 20_000 * percent,
        matrix_gflop_s: 500 * percent,
    }
}

fn gpu() -> Device {
    Device::new(DeviceId("GPU-1".to_owned()), DeviceKind::Gpu, "NVIDIA H100", 81_559)
}

/// A GPU, its clock, and what came of everything so far.
struct Bench {
    health: DeviceHealth,
    now: Now,
    running: Option<Running>,
}

impl Bench {
    /// Not probed yet.
    fn unproven() -> Self {
        let now = Now { mono: MonoMs(1_000_000), unix: UnixMs(1_800_000_000_000) };
        let health = DeviceHealth::new(now, &gpu(), None);
        Self { health, now, running: None }
    }

    fn healthy() -> Self {
        let mut bench = Self::unproven();
        bench.sample(sound_sample());
        assert_eq!(bench.tick(), [Consequence::Changed, Consequence::Probe]);
        bench.probed(ProbeResult::Right(figures(100)));
        assert_eq!(bench.health.check_usable(), Ok(()));
        bench
    }

    fn wait(&mut self, ms: u64) {
        self.now.mono = self.now.mono.plus_ms(ms);
        self.now.unix.0 += ms;
    }

    /// Waits while the sensors go on being read.
    fn wait_watched(&mut self, ms: u64) -> Vec<Consequence> {
        let mut found = Vec::new();
        let end = self.now.mono.plus_ms(ms);
        while self.now.mono < end {
            self.wait(SAMPLE_LATE_MS / 2);
            let sample = self.health.sample().cloned().unwrap_or_else(sound_sample);
            found.extend(self.sample(sample));
            found.extend(self.tick());
        }
        found
    }

    fn see(&mut self, observation: Observation) -> Vec<Consequence> {
        self.health.observe(self.now, observation, self.running)
    }

    fn sample(&mut self, sample: Sample) -> Vec<Consequence> {
        self.see(Observation::Sampled(sample))
    }

    fn probed(&mut self, result: ProbeResult) -> Vec<Consequence> {
        self.see(Observation::Probed(result))
    }

    fn tick(&mut self) -> Vec<Consequence> {
        self.health.on_tick(self.now, self.running)
    }

    fn run(&mut self, submission: u8) {
        assert_eq!(self.health.check_usable(), Ok(()));
        self.running = Some(Running { run: RUN, submission: SubmissionId([submission; 32]) });
    }

    /// Ends the run and shows its memory free.
    fn end_run(&mut self) {
        self.running = None;
        assert_eq!(self.health.on_run_ended(self.now, RUN), [Consequence::Read { run: RUN }]);
        let _found = self.health.on_read(self.now, RUN, sound_sample());
    }

    fn standing(&self) -> Standing {
        self.health.row().standing
    }

    /// From a failure through its rest to a probe that is asked for.
    fn rest(&mut self) {
        let found = self.wait_watched(3 * COOL_DOWN_MS);
        assert!(found.contains(&Consequence::Probe), "{found:?}");
        assert_eq!(self.standing(), Standing::Probing);
    }
}

#[test]
fn a_gpu_gets_no_run_before_it_was_read_and_probed() {
    let mut bench = Bench::unproven();
    assert!(bench.health.check_usable().is_err());
    assert_eq!(bench.tick(), [], "there is no reading yet");
    bench.sample(sound_sample());
    assert_eq!(bench.tick(), [Consequence::Changed, Consequence::Probe]);
    assert!(bench.health.check_usable().is_err());
    assert_eq!(bench.health.level(), Level::Unknown);
    assert_eq!(bench.probed(ProbeResult::Right(figures(100))), [Consequence::Changed]);
    assert_eq!(bench.health.check_usable(), Ok(()));
    assert_eq!(bench.health.level(), Level::Pass);
}

#[test]
fn a_cpu_slot_is_healthy_from_the_start_and_can_be_cordoned() {
    let now = Now::default();
    let mut slot = DeviceHealth::new(
        now,
        &Device::new(DeviceId("cpu-0".to_owned()), DeviceKind::CpuSlot, "CPU", 1_024),
        None,
    );
    assert_eq!(slot.check_usable(), Ok(()));
    assert_eq!(slot.on_run_ended(now, RUN), []);
    let later = Now { mono: MonoMs(PROBE_EVERY_MS * 10), ..now };
    assert_eq!(slot.on_tick(later, None), []);
    slot.cordon(Order { is_drain: false, reason: "disk swap".to_owned(), at: now.unix });
    assert_eq!(slot.check_usable().unwrap_err().to_string(), "cordoned by the operator: disk swap");
    assert_eq!(slot.uncordon(later, false), []);
    assert_eq!(slot.check_usable(), Ok(()));
}

#[test]
fn case_28_an_error_that_code_can_cause_counts_against_the_submission_first() {
    for code in [13, 31, 43, 45, 68, 109] {
        let mut bench = Bench::healthy();
        bench.run(1);
        let found = bench.see(Observation::Xid { code });
        assert_eq!(found, [Consequence::BlameSubmission { code }]);
        bench.end_run();
        assert_eq!(bench.health.check_usable(), Ok(()), "Xid {code}");
        // The same submission again says nothing new.
        bench.run(1);
        assert_eq!(bench.see(Observation::Xid { code }), [Consequence::BlameSubmission { code }]);
        bench.end_run();
        bench.run(2);
        let cause = Cause::XidAgain { code };
        let found = bench.see(Observation::Xid { code });
        assert_eq!(found, [Consequence::EndRun { cause }, Consequence::Changed]);
        assert_eq!(bench.standing(), Standing::Suspect);
    }
}

#[test]
fn errors_of_two_submissions_a_day_apart_say_nothing_of_the_device() {
    let mut bench = Bench::healthy();
    bench.run(1);
    bench.see(Observation::Xid { code: 31 });
    bench.end_run();
    bench.wait(DAY_MS);
    bench.sample(sound_sample());
    bench.run(2);
    let found = bench.see(Observation::Xid { code: 31 });
    assert_eq!(found, [Consequence::BlameSubmission { code: 31 }]);
}

#[test]
fn case_28_a_fault_goes_through_cool_down_and_probe_back_to_work() {
    let faults = [
        Observation::Xid { code: 79 },
        Observation::EccUncorrected,
        Observation::Lost { detail: "NVML_ERROR_GPU_IS_LOST".to_owned() },
        Observation::Silent { waited_ms: 5_000 },
    ];
    for fault in faults {
        let mut bench = Bench::healthy();
        bench.run(1);
        let found = bench.see(fault.clone());
        assert!(matches!(found[..], [Consequence::EndRun { .. }, Consequence::Changed]));
        assert_eq!(bench.standing(), Standing::Suspect, "{fault:?}");
        assert!(bench.health.check_usable().is_err(), "leased while suspect");
        bench.end_run();
        bench.tick();
        assert_eq!(bench.standing(), Standing::Cordoned);
        bench.wait(COOL_DOWN_MS - 1);
        bench.sample(sound_sample());
        assert_eq!(bench.tick(), [], "it rests");
        bench.wait(1);
        assert_eq!(bench.tick(), [Consequence::Changed, Consequence::Probe]);
        bench.probed(ProbeResult::Right(figures(99)));
        assert_eq!(bench.health.check_usable(), Ok(()));
    }
}

#[test]
fn the_third_failure_of_a_day_needs_a_person() {
    let mut bench = Bench::healthy();
    for _ in 0..2 {
        bench.see(Observation::Xid { code: 79 });
        bench.rest();
        bench.probed(ProbeResult::Right(figures(100)));
    }
    bench.see(Observation::Xid { code: 79 });
    assert_eq!(bench.standing(), Standing::Failed);
    let found = bench.wait_watched(DAY_MS);
    assert_eq!(found, [], "it comes back by itself");
    assert_eq!(bench.health.findings()[0].level, Level::Critical);
    let found = bench.health.uncordon(bench.now, false);
    assert_eq!(found, [Consequence::Changed, Consequence::Probe]);
    bench.probed(ProbeResult::Right(figures(100)));
    assert_eq!(bench.health.check_usable(), Ok(()));
}

#[test]
fn a_burst_of_errors_is_one_failure() {
    let mut bench = Bench::healthy();
    for _ in 0..10 {
        bench.see(Observation::Xid { code: 74 });
        bench.tick();
    }
    assert_eq!(bench.health.row().failures.len(), 1);
    assert_eq!(bench.standing(), Standing::Cordoned);
}

#[test]
fn a_probe_that_computes_wrongly_hangs_or_dies_is_a_failure() {
    let wrong = ProbeResult::Wrong { step: ProbeStep::Kernel, detail: "1 of 9".to_owned() };
    let died = ProbeResult::Died { detail: "signal 11".to_owned() };
    for result in [wrong, ProbeResult::TimedOut { limit_ms: 60_000 }, died] {
        let mut bench = Bench::healthy();
        bench.health.probe_now(bench.now);
        bench.probed(result);
        assert_eq!(bench.standing(), Standing::Cordoned);
        assert_eq!(bench.health.row().failures.len(), 1);
    }
}

#[test]
fn a_probe_that_cannot_be_started_is_no_failure_and_no_pass() {
    let mut bench = Bench::healthy();
    bench.health.probe_now(bench.now);
    bench.probed(ProbeResult::NotStarted { detail: "no memory".to_owned() });
    assert!(bench.health.check_usable().is_err());
    assert_eq!(bench.health.row().failures, []);
    assert_eq!(bench.health.level(), Level::Unknown);
    bench.rest();
}

#[test]
fn probes_that_never_start_are_critical_and_leave_the_device_to_nobody() {
    let not_started = || ProbeResult::NotStarted { detail: "no compiler".to_owned() };
    let mut bench = Bench::healthy();
    bench.health.probe_now(bench.now);
    for _ in 1..PROBES_NOT_STARTED_MAX {
        bench.probed(not_started());
        assert_eq!(bench.health.level(), Level::Unknown);
        bench.rest();
    }
    // It is the host that nobody mends, and somebody has to hear of it.
    bench.probed(not_started());
    assert_eq!(bench.health.level(), Level::Critical);
    let told = bench.health.findings().remove(0);
    assert_eq!(told.detail, "3 probes in a row could not be started: the host, not the device");
    assert_eq!((told.check, told.action), (Check::Probe, Action::CheckDriver));
    // The device itself was never found wanting: it comes back without anybody's word.
    assert_eq!(bench.health.row().failures, []);
    bench.rest();
    bench.probed(ProbeResult::Right(figures(100)));
    assert_eq!(bench.health.check_usable(), Ok(()));
    assert_eq!(bench.health.level(), Level::Pass);
}

#[test]
fn a_device_much_slower_than_it_was_is_not_used() {
    let mut bench = Bench::healthy();
    bench.health.probe_now(bench.now);
    bench.probed(ProbeResult::Right(figures(81)));
    assert_eq!(bench.health.check_usable(), Ok(()));
    bench.health.probe_now(bench.now);
    bench.probed(ProbeResult::Right(figures(79)));
    let cause = Cause::Slower { step: ProbeStep::Bandwidth, percent: 79 };
    assert_eq!(bench.health.row().cause, Some(cause));
}

#[test]
fn case_29_memory_held_after_a_run_keeps_the_device_from_the_next() {
    let mut bench = Bench::healthy();
    bench.run(1);
    bench.running = None;
    assert_eq!(bench.health.on_run_ended(bench.now, RUN), [Consequence::Read { run: RUN }]);
    assert_eq!(bench.health.check_usable(), Err(Unusable::MemoryUnread));
    let held = Sample { memory_used_mib: Reading::Value(40_500), ..sound_sample() };
    // A killed process's memory comes back a moment later.
    assert_eq!(bench.health.on_read(bench.now, RUN, held.clone()), []);
    assert_eq!(bench.health.check_usable(), Err(Unusable::MemoryUnread));
    bench.wait(READ_AGAIN_MS);
    assert_eq!(bench.tick(), [Consequence::Read { run: RUN }]);
    bench.wait(MEMORY_FREE_WAIT_MS);
    assert_eq!(bench.health.on_read(bench.now, RUN, held.clone()), [Consequence::Changed]);
    let why = bench.health.check_usable().unwrap_err().to_string();
    assert_eq!(why, "cordoned: 40000 MiB of its memory are held and no run is on it");

    // It is not probed while the memory is held, and is given back when it is free.
    let found = bench.wait_watched(4 * COOL_DOWN_MS);
    assert_eq!(found, []);
    bench.sample(sound_sample());
    bench.rest();
    bench.probed(ProbeResult::Right(figures(100)));
    assert_eq!(bench.health.check_usable(), Ok(()));
}

#[test]
fn memory_that_somebody_else_takes_keeps_runs_away() {
    let mut bench = Bench::healthy();
    let used = Sample { memory_used_mib: Reading::Value(20_000), ..sound_sample() };
    assert_eq!(bench.sample(used.clone()), [], "one reading may be old");
    bench.sample(used.clone());
    assert_eq!(bench.health.row().cause, Some(Cause::MemoryHeld { held_mib: 19_500 }));
    // While a run of ours is on it, its memory is ours.
    let mut bench = Bench::healthy();
    bench.run(1);
    for _ in 0..9 {
        assert_eq!(bench.sample(used.clone()), []);
    }
}

#[test]
fn a_reading_from_before_the_run_ended_does_not_show_its_memory_free() {
    let mut bench = Bench::healthy();
    bench.run(1);
    bench.running = None;
    bench.health.on_run_ended(bench.now, RUN);
    bench.sample(sound_sample());
    assert_eq!(bench.health.check_usable(), Err(Unusable::MemoryUnread));
    bench.health.on_read(bench.now, RunId([9; 32]), sound_sample());
    assert_eq!(bench.health.check_usable(), Err(Unusable::MemoryUnread));
    bench.health.on_read(bench.now, RUN, sound_sample());
    assert_eq!(bench.health.check_usable(), Ok(()));
}

#[test]
fn memory_held_since_an_earlier_life_is_noticed() {
    let mut before = Bench::healthy();
    before.run(1);
    let row = before.health.row().clone();
    let held = Sample { memory_used_mib: Reading::Value(30_000), ..sound_sample() };
    let mut after = Bench { running: None, ..before };
    after.health = DeviceHealth::new(after.now, &gpu(), Some(row));
    after.sample(held);
    assert_eq!(after.wait_watched(COOL_DOWN_MS), [Consequence::Changed], "it says why");
    assert_eq!(after.health.row().cause, Some(Cause::MemoryHeld { held_mib: 29_500 }));
    after.sample(sound_sample());
    after.rest();
}

#[test]
fn memory_held_since_an_earlier_life_is_noticed_though_its_rows_are_lost() {
    let before = Bench::healthy();
    let held = Sample { memory_used_mib: Reading::Value(7_500), ..sound_sample() };
    let mut after = Bench { running: None, ..before };
    after.health = DeviceHealth::new(after.now, &gpu(), None);
    after.sample(held);
    after.wait_watched(COOL_DOWN_MS);
    let held_mib = 7_500 - IDLE_MEMORY_MIB_MAX;
    assert_eq!(after.health.row().cause, Some(Cause::MemoryHeld { held_mib }));
    after.sample(sound_sample());
    after.rest();
    assert_eq!(after.health.row().idle_memory_mib, Some(500));
}

#[test]
fn a_sensor_that_cannot_be_read_takes_the_device_away_and_its_return_gives_it_back() {
    let mut bench = Bench::healthy();
    let unreadable = Reading::Unreadable { detail: "NVML_ERROR_UNKNOWN".to_owned() };
    let broken = Sample { temperature_c: unreadable, ..sound_sample() };
    bench.sample(broken);
    assert_eq!(bench.standing(), Standing::Cordoned);
    assert_eq!(bench.wait_watched(3 * COOL_DOWN_MS), []);
    bench.sample(sound_sample());
    bench.rest();
}

#[test]
fn case_28_clocks_held_back_for_several_readings_take_the_device_away() {
    let mut bench = Bench::healthy();
    let throttle = Throttle { hardware: true, hardware_thermal: true, ..Throttle::default() };
    let hot = Sample { throttle: Reading::Value(throttle), ..sound_sample() };
    for _ in 1..THROTTLED_SAMPLES_MAX {
        bench.sample(hot.clone());
        assert_eq!(bench.health.check_usable(), Ok(()), "one hot moment");
    }
    bench.sample(hot);
    assert_eq!(bench.standing(), Standing::Cordoned);
}

#[test]
fn a_device_that_nobody_reads_any_more_is_not_used() {
    let mut bench = Bench::healthy();
    bench.run(1);
    let mut found = Vec::new();
    for _ in 0..SAMPLE_LATE_MS / 1_000 {
        bench.wait(1_000);
        found.extend(bench.tick());
    }
    assert!(matches!(found[..], [Consequence::EndRun { .. }, Consequence::Changed]), "{found:?}");
    assert_eq!(bench.standing(), Standing::Suspect);
}

#[test]
fn a_node_that_hangs_does_not_take_its_devices_for_silent() {
    let mut bench = Bench::healthy();
    bench.run(1);
    bench.wait(10 * SAMPLE_LATE_MS);
    assert_eq!(bench.tick(), []);
}

#[test]
fn a_run_goes_on_while_its_device_is_only_too_warm() {
    let mut bench = Bench::healthy();
    bench.run(1);
    let hot = Sample { temperature_c: Reading::Value(91), ..sound_sample() };
    assert_eq!(bench.sample(hot), [Consequence::Changed]);
    assert_eq!(bench.standing(), Standing::Suspect);
}

#[test]
fn errors_that_only_the_counter_shows_count_as_well() {
    let mut bench = Bench::healthy();
    let more = Sample { ecc_uncorrected: Reading::Value(1), ..sound_sample() };
    bench.sample(more);
    assert_eq!(bench.health.row().cause, Some(Cause::EccUncorrected));
}

#[test]
fn an_idle_device_is_probed_now_and_then_and_a_cordoned_one_is_left_alone() {
    let mut bench = Bench::healthy();
    assert!(bench.wait_watched(PROBE_EVERY_MS).contains(&Consequence::Probe));
    bench.probed(ProbeResult::Right(figures(100)));
    let order = Order { is_drain: false, reason: "reset".to_owned(), at: bench.now.unix };
    bench.health.cordon(order);
    assert_eq!(bench.wait_watched(3 * PROBE_EVERY_MS), []);
    let found = bench.health.uncordon(bench.now, false);
    assert_eq!(found, [Consequence::Changed, Consequence::Probe]);
}

#[test]
fn a_failed_device_and_an_order_outlive_a_restart() {
    let mut bench = Bench::healthy();
    let order = Order { is_drain: true, reason: "new fan".to_owned(), at: bench.now.unix };
    bench.health.cordon(order.clone());
    let row = DeviceRow { standing: Standing::Failed, ..bench.health.row().clone() };
    let again = DeviceHealth::new(bench.now, &gpu(), Some(row));
    assert_eq!(again.row().standing, Standing::Failed);
    assert_eq!(again.row().order, Some(order));
}
