//! What arrives, how long it takes and what breaks: drawn before anything is scheduled, so that
//! every scheduler gets the same.

use crate::draw::{whole_ms, Draw};

/// Minutes in ms.
const MINUTE_MS: f64 = 60_000.0;
/// The longest time limit of a run.
pub const LIMIT_MS_MAX: u64 = 4 * 60 * 60 * 1000;
/// Time limits of policies: a run has the smallest that is 1.5 times what it takes. A scheduler
/// knows only these.
const LIMITS_MIN: [u64; 6] = [10, 20, 40, 60, 120, 240];
/// Devices of a run and how often, of 100.
pub const SIZES: [(u8, u32); 4] = [(1, 60), (2, 20), (4, 12), (8, 8)];
/// Challenges and their weights; they submit as often as their weights say.
pub const SHARES: [(u16, u32); 3] = [(0, 50), (1, 30), (2, 20)];
/// Priorities and how often, of 100.
const PRIORITIES: [(u8, u32); 3] = [(5, 85), (7, 10), (2, 5)];

/// What a trace is drawn from.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Decides everything.
    pub seed: u64,
    /// Runs.
    pub jobs: usize,
    /// Hosts.
    pub hosts: usize,
    /// Devices of each.
    pub devices_per_host: usize,
    /// Work that arrives in a time, of what all devices could do in it, in hundredths. More than
    /// 100: a queue grows until the last has arrived.
    pub load_percent: u32,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Job {
    /// When it is submitted, ms.
    pub arrives_ms: u64,
    /// Devices.
    pub count: u8,
    /// What it takes from its start to its end, ms.
    pub lasts_ms: u64,
    /// By when it has ended, as the scheduler knows it, ms.
    pub limit_ms: u64,
    /// Whose it is.
    pub share: u16,
    /// 0 to 10.
    pub priority: u8,
    /// After how long attempts of it break that have to be repeated, ms, before one that does not.
    pub broken_ms: Vec<u64>,
}

/// A device that is gone for a time.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// Which, counted through all hosts.
    pub device: usize,
    /// From when, ms.
    pub from_ms: u64,
    /// Until when, ms.
    pub until_ms: u64,
}

/// Everything that happens, whoever schedules it.
#[derive(Clone, Debug)]
pub struct Trace {
    /// What it was drawn from.
    pub shape: Shape,
    /// Runs, as they arrive.
    pub jobs: Vec<Job>,
    /// Outages, as they begin. They go on well beyond any makespan.
    pub outages: Vec<Outage>,
}

impl Shape {
    /// All devices.
    #[must_use]
    pub fn devices(&self) -> usize {
        self.hosts * self.devices_per_host
    }
}

impl Job {
    /// Device time of it and of its attempts that break by themselves, ms.
    #[must_use]
    pub fn work_ms(&self) -> u64 {
        (self.lasts_ms + self.broken_ms.iter().sum::<u64>()) * u64::from(self.count)
    }
}

impl Trace {
    /// Draws a trace.
    ///
    /// Durations are log-normal with a median of ten minutes and a sigma of 1, at most the longest
    /// limit divided by 1.5. Two in a hundred attempts break somewhere on their way and have to be
    /// repeated. A device is gone every two days on average, for a log-normal time with a median
    /// of 30 minutes.
    #[must_use]
    pub fn draw(shape: Shape) -> Self {
        let mut draw = Draw::new(shape.seed);
        let mut jobs: Vec<Job> = (0..shape.jobs).map(|_| job(&mut draw)).collect();
        let work_ms: u64 = jobs.iter().map(Job::work_ms).sum();
        let capacity_ms = whole(work_ms) / whole(shape.devices() as u64);
        let window_ms = capacity_ms * 100.0 / f64::from(shape.load_percent);
        let gap_ms = window_ms / whole(shape.jobs as u64);
        let mut now_ms = 0.0;
        for job in &mut jobs {
            job.arrives_ms = whole_ms(now_ms) - 1;
            now_ms += draw.exponential(gap_ms);
        }
        let outages = outages(&mut draw, shape.devices(), 4.0 * window_ms.max(capacity_ms));
        Self { shape, jobs, outages }
    }

    /// The time by which the devices that are there could have done all work, if nothing had to
    /// wait for anything: no schedule ends earlier. Work that outages destroy is not counted, as
    /// it depends on the schedule.
    #[must_use]
    pub fn work_bound_ms(&self) -> u64 {
        let work_ms: u64 = self.jobs.iter().map(Job::work_ms).sum();
        let mut changes: Vec<(u64, i64)> = Vec::new();
        for outage in &self.outages {
            changes.extend([(outage.from_ms, -1), (outage.until_ms, 1)]);
        }
        changes.sort_unstable();
        let mut usable = i64::try_from(self.shape.devices()).unwrap();
        let (mut now_ms, mut left) = (0u64, i64::try_from(work_ms).unwrap());
        for (at_ms, change) in changes {
            let done = usable * i64::try_from(at_ms - now_ms).unwrap();
            if done >= left {
                break;
            }
            (left, now_ms, usable) = (left - done, at_ms, usable + change);
        }
        now_ms + u64::try_from(left / usable.max(1)).unwrap()
    }

    /// The latest end of any run that starts when it arrives: no schedule ends earlier either.
    #[must_use]
    pub fn longest_bound_ms(&self) -> u64 {
        let end = |job: &Job| job.arrives_ms + job.work_ms() / u64::from(job.count);
        self.jobs.iter().map(end).max().unwrap_or(0)
    }
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of a trace are below 2^53")]
fn whole(number: u64) -> f64 {
    number as f64
}

fn job(draw: &mut Draw) -> Job {
    let longest_ms = whole(LIMIT_MS_MAX) / 1.5;
    let lasts_ms = whole_ms(draw.log_normal(10.0 * MINUTE_MS, 1.0).min(longest_ms));
    let limits_ms = LIMITS_MIN.map(|minutes| minutes * 60_000);
    let limit_ms = limits_ms.into_iter().find(|limit| lasts_ms * 3 <= limit * 2);
    let mut broken_ms = Vec::new();
    while draw.unit() < 0.02 {
        broken_ms.push(whole_ms(draw.unit() * whole(lasts_ms)));
    }
    Job {
        arrives_ms: 0,
        count: draw.weighted(&SIZES),
        lasts_ms,
        limit_ms: limit_ms.unwrap_or(LIMIT_MS_MAX),
        share: draw.weighted(&SHARES),
        priority: draw.weighted(&PRIORITIES),
        broken_ms,
    }
}

fn outages(draw: &mut Draw, devices: usize, until_ms: f64) -> Vec<Outage> {
    let mut outages = Vec::new();
    for device in 0..devices {
        let mut now_ms = 0.0;
        loop {
            now_ms += draw.exponential(48.0 * 60.0 * MINUTE_MS);
            if now_ms > until_ms {
                break;
            }
            let from_ms = whole_ms(now_ms);
            now_ms += draw.log_normal(30.0 * MINUTE_MS, 1.0);
            outages.push(Outage { device, from_ms, until_ms: whole_ms(now_ms).max(from_ms + 1) });
        }
    }
    outages.sort_by_key(|outage| (outage.from_ms, outage.device));
    outages
}
