//! What the start of a run costs: `scripts/benchmark-runs` runs this and says what the figures
//! mean.
//!
//! ```text
//! runs starts ROUNDS    from "granted" to the first instruction
//! runs steps ROUNDS     from "granted" to the end of the first optimizer step
//! runs gaps ROUNDS      from the end of a run to the first instruction of the next
//! ```

#![allow(clippy::print_stdout, reason = "a program whose result is what it prints")]

mod probe;
mod world;

use std::error::Error;
use std::time::Duration;

use probe::Probe;
use world::{device, World};

/// As the daemon has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) type Failed = Box<dyn Error + Send + Sync>;

/// Batches of a run that lasts long enough for the next container to be made meanwhile.
const BATCHES: u64 = 300;

/// The nodes as which the parts measure: containers are told apart by them.
const STARTS: &str = "measure starts";
const STEPS: [&str; 3] = ["measure cold", "measure created", "measure warm"];
const GAPS: [&str; 3] = ["measure gap 0", "measure gap 1", "measure gap 2"];

fn main() -> Result<(), Failed> {
    // As the daemon does.
    node_daemon::memory::give_back_what_is_free();
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let rounds = arguments.next().ok_or("say how many rounds")?.parse()?;
    // As the daemon makes it.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(clean())?;
    match what.as_str() {
        "starts" => runtime.block_on(starts(rounds)),
        "steps" => runtime.block_on(steps(rounds)),
        "gaps" => runtime.block_on(gaps(rounds)),
        _ => Err("say `starts`, `steps` or `gaps`; see scripts/benchmark-runs --help".into()),
    }
}

/// Removes what a measurement that was killed has left, whichever it was.
async fn clean() -> Result<(), Failed> {
    for name in STEPS.iter().chain(&GAPS).chain([&STARTS]) {
        world::connect(name).await?;
    }
    Ok(())
}

/// One of each in every round, so that whatever else the machine does befalls all of them.
async fn starts(rounds: usize) -> Result<(), Failed> {
    let mut probe = Probe::new(STARTS).await?;
    let mut times: [Vec<Duration>; 5] = Default::default();
    for _ in 0..rounds {
        times[0].push(probe.docker_run().await?);
        times[1].push(probe.cold().await?);
        times[2].push(probe.ungated().await?);
        times[3].push(probe.gated().await?);
        times[4].push(probe.waiting().await?);
    }
    head();
    let ways = [
        "`docker run --rm --network none`",
        "cold: created, checked, started; its gate is open",
        "the same without a gate",
        "created ahead, waits at its gate",
        "started ahead, waits with Python running",
    ];
    ways.iter().zip(times).for_each(|(way, times)| show(way, times));
    Ok(())
}

async fn steps(rounds: usize) -> Result<(), Failed> {
    let mut cold = World::new(STEPS[0], false, BATCHES).await?;
    cold.evaluator.close().await;
    let mut created = World::new(STEPS[1], false, BATCHES).await?;
    let mut warm = World::new(STEPS[2], true, BATCHES).await?;
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..rounds {
        times[0].push(cold.first_step().await?);
        created.prepare().await?;
        times[1].push(created.first_step().await?);
        warm.prepare().await?;
        times[2].push(warm.first_step().await?);
    }
    head();
    let ways =
        ["cold", "created ahead, waits at its gate", "started ahead, waits with torch imported"];
    ways.iter().zip(times).for_each(|(way, times)| show(way, times));
    created.evaluator.close().await;
    warm.evaluator.close().await;
    Ok(())
}

async fn gaps(rounds: usize) -> Result<(), Failed> {
    println!("| next container | gaps | p50 ms | p95 ms |\n|---|---|---|---|");
    for (name, warm_start, is_ahead, way) in [
        (GAPS[0], false, false, "without prefetch: made when its run is granted"),
        (GAPS[1], false, true, "created during the run before, waits at its gate"),
        (GAPS[2], true, true, "started during the run before, waits with torch imported"),
    ] {
        let mut world = World::new(name, warm_start, BATCHES).await?;
        if !is_ahead {
            world.evaluator.close().await;
        }
        for _ in 0..=rounds {
            world.run().await?;
        }
        world.evaluator.close().await;
        let figures = world.evaluator.idle_gaps().figures();
        let gap = figures.get(&device().id).ok_or("no gap was seen")?;
        println!("| {way} | {} | {:.1} | {:.1} |", gap.count, ms(gap.p50), ms(gap.p95));
    }
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn head() {
    println!("| way | rounds | least ms | p50 ms | p95 ms |\n|---|---|---|---|---|");
}

fn show(way: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    // The smallest one that so many of a hundred do not exceed.
    let at = |percent: usize| {
        let rank = (times.len() * percent).div_ceil(100).max(1) - 1;
        times.get(rank).copied().map_or(f64::NAN, ms)
    };
    println!("| {way} | {} | {:.1} | {:.1} | {:.1} |", times.len(), at(0), at(50), at(95));
}
