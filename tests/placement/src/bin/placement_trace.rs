//! Replays traces and writes what docs/placement.md shows. See `scripts/placement`.

#![allow(clippy::print_stdout, reason = "the report is what it is for")]
#![allow(clippy::unwrap_used, reason = "a tool for developers: what fails should stop it")]

use std::path::PathBuf;

use clap::Parser;
use placement_trace::chart;
use placement_trace::replay::replay;
use placement_trace::report::{markdown, seeds, Order, Summary};
use placement_trace::rivals::{Rival, Rule};
use placement_trace::scheduler::Ours;
use placement_trace::trace::{Shape, Trace};

/// Replays a trace of drawn runs with three schedulers, and prints what came of it as Markdown.
#[derive(Debug, Parser)]
#[command(name = "placement-trace")]
struct Arguments {
    /// Decides the first trace; further ones count up from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Traces; the tables are those of the first.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Runs of a trace.
    #[arg(long, default_value_t = 10_000)]
    jobs: usize,
    /// Hosts.
    #[arg(long, default_value_t = 8)]
    hosts: usize,
    /// Devices of each host.
    #[arg(long, default_value_t = 8)]
    devices: usize,
    /// Work that arrives, in hundredths of what all devices can do in the same time.
    #[arg(long, default_value_t = 125)]
    load: u32,
    /// Where the chart of the first trace goes.
    #[arg(long)]
    svg: Option<PathBuf>,
}

fn live(shape: Shape) -> [Summary; 3] {
    let trace = Trace::draw(shape);
    let ours = replay(&trace, &mut Ours::new(&shape));
    let fifo = replay(&trace, &mut Rival::new(Rule::Fifo, &shape));
    let backfill = replay(&trace, &mut Rival::new(Rule::Backfill, &shape));
    [
        Summary::of(&trace, &ours, Order::ShareAndPriority),
        Summary::of(&trace, &fifo, Order::Arrival),
        Summary::of(&trace, &backfill, Order::Arrival),
    ]
}

fn main() {
    let arguments = Arguments::parse();
    let Arguments { seed, jobs, hosts, devices, load, .. } = arguments;
    let shape = |seed| Shape { seed, jobs, hosts, devices_per_host: devices, load_percent: load };
    let first = live(shape(seed));
    if let Some(path) = arguments.svg {
        let all = hosts * devices;
        let title =
            format!("{jobs} runs on {all} devices, {load} % of what they can do, seed {seed}");
        std::fs::write(path, chart::svg(&title, &first)).unwrap();
    }
    println!("{}", markdown(&first));
    if arguments.seeds > 1 {
        let mut rows = vec![(seed, first)];
        rows.extend((seed + 1..seed + arguments.seeds).map(|seed| (seed, live(shape(seed)))));
        println!("{}", seeds(&rows));
    }
}
