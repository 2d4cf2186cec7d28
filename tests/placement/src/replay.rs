//! One scheduler lives through a trace. What it decides is checked here, without its help: devices
//! that are there, free and of one host, as many as the job must have.

use std::collections::BTreeSet;

use crate::scheduler::Scheduler;
use crate::trace::{Job, Trace};

/// What happens at a time, in the order in which it does when the times are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The attempt with this number ends, one way or the other.
    End {
        job: usize,
        attempt: u32,
    },
    Return {
        outage: usize,
    },
    Outage {
        outage: usize,
    },
    Arrive {
        job: usize,
    },
}

/// How it went for one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// When its first attempt started, ms.
    pub started_ms: u64,
    /// When it was done, ms.
    pub done_ms: u64,
    /// Attempts, that which was done included.
    pub attempts: u32,
}

/// From a time on: devices that work, and devices that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Since when, ms.
    pub from_ms: u64,
    /// Devices with a run.
    pub busy: u32,
    /// Devices that are there.
    pub usable: u32,
    /// Jobs that wait.
    pub waiting: u32,
}

/// Everything that happened.
#[derive(Clone, Debug)]
pub struct History {
    /// Who decided.
    pub name: &'static str,
    /// By job.
    pub fates: Vec<Fate>,
    /// The whole time; the last one is the end.
    pub levels: Vec<Level>,
    /// Device time of attempts that outages ended, ms.
    pub destroyed_ms: u64,
}

#[derive(Clone, Debug, Default)]
struct JobState {
    attempt: u32,
    /// Attempts that broke by themselves.
    broken: usize,
    started_ms: u64,
    devices: Vec<usize>,
    is_done: bool,
}

struct Replay<'a> {
    trace: &'a Trace,
    scheduler: &'a mut dyn Scheduler,
    events: BTreeSet<(u64, Event)>,
    jobs: Vec<JobState>,
    /// Each device's job.
    taken: Vec<Option<usize>>,
    usable: Vec<bool>,
    waiting: u32,
    left: usize,
    history: History,
}

/// Lives through a trace.
///
/// # Panics
///
/// If the scheduler decides what cannot be, or leaves a job that it could have started for ever.
pub fn replay(trace: &Trace, scheduler: &mut dyn Scheduler) -> History {
    let arrivals = trace.jobs.iter().enumerate();
    let arrivals = arrivals.map(|(job, facts)| (facts.arrives_ms, Event::Arrive { job }));
    let outages = trace.outages.iter().enumerate();
    let outages = outages.map(|(outage, facts)| (facts.from_ms, Event::Outage { outage }));
    let history = History {
        name: scheduler.name(),
        fates: vec![Fate::default(); trace.jobs.len()],
        levels: Vec::new(),
        destroyed_ms: 0,
    };
    let mut replay = Replay {
        trace,
        scheduler,
        events: arrivals.chain(outages).collect(),
        jobs: vec![JobState::default(); trace.jobs.len()],
        taken: vec![None; trace.shape.devices()],
        usable: vec![true; trace.shape.devices()],
        waiting: 0,
        left: trace.jobs.len(),
        history,
    };
    replay.live();
    replay.history
}

impl Replay<'_> {
    fn live(&mut self) {
        while self.left > 0 {
            let (now_ms, _) = *self.events.first().expect("jobs are left and nothing happens");
            while let Some((_, event)) = self.pop_at(now_ms) {
                self.happen(now_ms, event);
            }
            while let Some((job, devices)) = self.scheduler.next(now_ms) {
                self.start(now_ms, job, devices);
            }
            self.note_level(now_ms);
        }
    }

    fn pop_at(&mut self, now_ms: u64) -> Option<(u64, Event)> {
        let is_now = self.events.first().is_some_and(|(at_ms, _)| *at_ms == now_ms);
        is_now.then(|| self.events.pop_first()).flatten()
    }

    fn happen(&mut self, now_ms: u64, event: Event) {
        match event {
            Event::Arrive { job } => {
                self.scheduler.submit(now_ms, job, &self.trace.jobs[job]);
                self.waiting += 1;
            }
            Event::End { job, attempt } => {
                // Else an outage ended that attempt before.
                if self.jobs[job].attempt == attempt && !self.jobs[job].devices.is_empty() {
                    self.end(now_ms, job);
                }
            }
            Event::Outage { outage } => {
                let facts = self.trace.outages[outage];
                if let Some(job) = self.taken[facts.device] {
                    let ran_ms = now_ms - self.jobs[job].started_ms;
                    let count = self.trace.jobs[job].count;
                    self.history.destroyed_ms += ran_ms * u64::from(count);
                    self.repeat(now_ms, job);
                }
                self.usable[facts.device] = false;
                self.scheduler.set_usable(now_ms, facts.device, false);
                self.events.insert((facts.until_ms, Event::Return { outage }));
            }
            Event::Return { outage } => {
                let device = self.trace.outages[outage].device;
                self.usable[device] = true;
                self.scheduler.set_usable(now_ms, device, true);
            }
        }
    }

    fn end(&mut self, now_ms: u64, job: usize) {
        if self.jobs[job].broken < self.trace.jobs[job].broken_ms.len() {
            self.jobs[job].broken += 1;
            self.repeat(now_ms, job);
            return;
        }
        self.free(job);
        self.jobs[job].is_done = true;
        self.history.fates[job].done_ms = now_ms;
        self.left -= 1;
        self.scheduler.finish(now_ms, job);
    }

    fn repeat(&mut self, now_ms: u64, job: usize) {
        self.free(job);
        self.waiting += 1;
        self.scheduler.repeat(now_ms, job);
    }

    fn free(&mut self, job: usize) {
        for device in std::mem::take(&mut self.jobs[job].devices) {
            self.taken[device] = None;
        }
    }

    fn start(&mut self, now_ms: u64, job: usize, devices: Vec<usize>) {
        let facts: &Job = &self.trace.jobs[job];
        let state = &mut self.jobs[job];
        assert!(facts.arrives_ms <= now_ms && !state.is_done, "job {job} does not wait");
        assert!(state.devices.is_empty(), "job {job} runs already");
        assert_eq!(devices.len(), usize::from(facts.count), "job {job} has a part of its devices");
        let host = |device: usize| device / self.trace.shape.devices_per_host;
        for device in &devices {
            assert_eq!(host(*device), host(devices[0]), "job {job} is spread over hosts");
            assert!(self.usable[*device], "job {job} is on device {device}, which is gone");
            let before = self.taken[*device].replace(job);
            assert_eq!(before, None, "job {job} is on device {device}, which is taken");
        }
        let lasts_ms = facts.broken_ms.get(state.broken).copied().unwrap_or(facts.lasts_ms);
        state.attempt += 1;
        state.started_ms = now_ms;
        state.devices = devices;
        self.events.insert((now_ms + lasts_ms, Event::End { job, attempt: state.attempt }));
        self.waiting -= 1;
        let fate = &mut self.history.fates[job];
        fate.attempts = state.attempt;
        if state.attempt == 1 {
            fate.started_ms = now_ms;
        }
    }

    fn note_level(&mut self, now_ms: u64) {
        let count = |number: usize| u32::try_from(number).unwrap();
        let level = Level {
            from_ms: now_ms,
            busy: count(self.taken.iter().flatten().count()),
            usable: count(self.usable.iter().filter(|usable| **usable).count()),
            waiting: self.waiting,
        };
        self.history.levels.push(level);
    }
}
