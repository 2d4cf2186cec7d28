//! How many placement decisions one core makes per second. See docs/benchmarks.md.
//!
//! All devices are busy and the queue is full. A decision is what the end of a run leads to: its
//! devices come back, and the next run gets them; a request takes the place of what started, so the
//! queue stays as long as it was. Where a run of one device frees too little for the next, the
//! planner decides that nothing starts, which is not counted but takes its time.

#![allow(clippy::print_stdout, reason = "the report is what it is for")]
#![allow(clippy::unwrap_used, reason = "a tool for developers: what fails should stop it")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use clap::Parser;
use node_core::id::Digest;
use node_core::inventory::DeviceKind;
use node_core::placement::{HostId, Needs, Planner, Request, ShareId, Ticket};
use node_core::unit::MonoMs;
use placement_trace::draw::Draw;
use placement_trace::scheduler::hosts;
use placement_trace::trace::{Shape, Trace};

const IMAGES: u8 = 4;

/// Measures placement decisions per second, on one thread.
#[derive(Debug, Parser)]
#[command(name = "placement-bench")]
struct Arguments {
    /// Requests that wait, all the time.
    #[arg(long, default_value_t = 100_000)]
    waiting: usize,
    /// Decisions of each measurement.
    #[arg(long, default_value_t = 200_000)]
    decisions: usize,
    /// Measurements of each size; the table has their median.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Hosts, of eight devices each.
    #[arg(long, value_delimiter = ',', default_values_t = [8, 1_250])]
    hosts: Vec<usize>,
}

struct Bench {
    planner: Planner,
    requests: Vec<Request>,
    next: usize,
    now: MonoMs,
    /// What runs, by its end.
    running: BTreeSet<(MonoMs, Ticket)>,
    lasts_ms: BTreeMap<Ticket, u64>,
    jobs: Vec<u64>,
}

/// What one measurement came to.
struct Measured {
    wall: Duration,
    cpu: Duration,
    decisions: usize,
}

impl Bench {
    fn new(host_count: usize, waiting: usize, seed: u64) -> Self {
        let hosts = hosts(host_count, 8);
        let mut planner = Planner::new(&hosts).unwrap();
        let mut draw = Draw::new(seed);
        for share in 0..4 {
            planner.set_share(ShareId(share), 1_000 * u32::from(share + 1)).unwrap();
        }
        for host in &hosts {
            set_images(&mut planner, &host.id, &mut draw);
        }
        let shape = Shape { seed, jobs: 200_000, hosts: 8, devices_per_host: 8, load_percent: 100 };
        let jobs = Trace::draw(shape).jobs;
        let request = |job: &placement_trace::trace::Job| Request {
            share: ShareId(u16::try_from(draw.bits() % 4).unwrap()),
            priority: job.priority,
            submitted_at: MonoMs(job.arrives_ms),
            needs: Needs {
                kind: DeviceKind::Gpu,
                memory_mib: 40_000,
                count: job.count,
                image: Some(Digest([u8::try_from(draw.bits() % 4).unwrap(); 32])),
            },
            limit_ms: job.limit_ms,
            content: None,
        };
        let mut bench = Self {
            planner,
            requests: jobs.iter().map(request).collect(),
            next: 0,
            now: MonoMs(0),
            running: BTreeSet::new(),
            lasts_ms: BTreeMap::new(),
            jobs: jobs.iter().map(|job| job.lasts_ms).collect(),
        };
        bench.fill(waiting);
        bench
    }

    fn fill(&mut self, waiting: usize) {
        while self.planner.waiting_len() < waiting {
            self.submit();
            self.start();
        }
        while self.start() > 0 {
            self.submit();
        }
    }

    fn submit(&mut self) {
        let at = self.next % self.requests.len();
        let request = Request { submitted_at: self.now, ..self.requests[at] };
        let ticket = self.planner.submit(request).unwrap();
        self.lasts_ms.insert(ticket, self.jobs[at]);
        self.next += 1;
    }

    fn start(&mut self) -> usize {
        let mut started = 0;
        while let Some(start) = self.planner.decide(self.now) {
            let lasts_ms = self.lasts_ms.remove(&start.ticket).unwrap();
            self.running.insert((self.now.plus_ms(lasts_ms), start.ticket));
            started += 1;
        }
        started
    }

    fn measure(&mut self, decisions: usize) -> Measured {
        let (wall, cpu) = (Instant::now(), cpu_time());
        let mut made = 0;
        while made < decisions {
            let (end, ticket) = self.running.pop_first().unwrap();
            self.now = self.now.max(end);
            self.planner.finish(self.now, ticket).unwrap();
            let started = self.start();
            for _ in 0..started {
                self.submit();
            }
            made += started;
        }
        Measured { wall: wall.elapsed(), cpu: cpu_time() - cpu, decisions: made }
    }
}

/// Three of four images, by chance.
fn set_images(planner: &mut Planner, host: &HostId, draw: &mut Draw) {
    let without = draw.bits() % u64::from(IMAGES);
    for image in (0..IMAGES).filter(|image| u64::from(*image) != without) {
        planner.set_image(MonoMs(0), host, Digest([image; 32]), true);
    }
}

/// CPU time of this thread so far; the kernel counts it in nanoseconds.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[allow(clippy::cast_precision_loss, reason = "decisions are few")]
fn main() {
    let Arguments { waiting, decisions, rounds, hosts } = Arguments::parse();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    println!("load before: {}", load.split_whitespace().next().unwrap_or("?"));
    println!("| devices | waiting | decisions per second | per second of CPU time | µs of CPU time each |");
    println!("| --- | --- | --- | --- | --- |");
    for host_count in hosts {
        let mut bench = Bench::new(host_count, waiting, 1);
        // Until every device has changed hands some times.
        bench.measure(host_count * 8);
        let measured: Vec<Measured> = (0..rounds).map(|_| bench.measure(decisions)).collect();
        let rate = |time: fn(&Measured) -> Duration| {
            let rates = measured.iter().map(|m| m.decisions as f64 / time(m).as_secs_f64());
            median(rates.collect())
        };
        let (wall, cpu) = (rate(|m| m.wall), rate(|m| m.cpu));
        let each = 1e6 / cpu;
        println!("| {} | {waiting} | {wall:.0} | {cpu:.0} | {each:.2} |", host_count * 8);
    }
}
