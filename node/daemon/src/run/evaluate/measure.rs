//! What the start of a run costs: `scripts/benchmark-runs` runs these and says what the figures
//! mean. They are tests only so that they reach what they measure.

#![allow(clippy::print_stdout, reason = "a measurement, whose result is what it prints")]

use std::process::Stdio;

use node_core::id::sha256;
use node_runner::{EngineConfig, SandboxSpec};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::tests::World;
use super::*;

/// Connects as its first act, says so, and answers one byte with another.
const PROBE: &str = "import socket, sys; s = socket.socket(socket.AF_UNIX); \
    s.connect('/assay/meter.sock'); s.send(b'x'); s.recv(1); s.send(b'y')";

fn rounds(default: usize) -> usize {
    let asked = std::env::var("ASSAY_ROUNDS").ok();
    asked.map_or(default, |text| text.parse().expect("ASSAY_ROUNDS is a number"))
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let ms = |percent: usize| {
        let rank = (times.len() * percent).div_ceil(100).max(1) - 1;
        times[rank].as_secs_f64() * 1000.0
    };
    println!("| {what} | {} | {:.1} | {:.1} | {:.1} |", times.len(), ms(0), ms(50), ms(95));
}

fn head(what: &str) {
    println!("\n{what}\n\n| way | rounds | least ms | p50 ms | p95 ms |\n|---|---|---|---|---|");
}

/// A place for containers of one image that run the probe.
struct Range {
    engine: Engine,
    tag: &'static str,
    template: Template,
    dir: tempfile::TempDir,
    next: u64,
}

impl Range {
    async fn new(tag: &'static str) -> Self {
        let node = sha256(format!("measure {tag}").as_bytes()).to_string();
        let config = EngineConfig { host: None, runtime: None, node };
        let engine = Engine::connect(config).await.expect("an engine");
        let image = engine.image(tag).await.expect("an answer").expect("the image is loaded");
        let template = Template { image, limits: Policy::dev().run, gpus: Vec::new() };
        Self { engine, tag, template, dir: tempfile::tempdir().unwrap(), next: 0 }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn place(&mut self) -> (RunDirectory, UnixListener, RunId) {
        let number = self.number();
        let path = self.dir.path().join(format!("{number}"));
        let (directory, listener) = RunDirectory::make(path).unwrap();
        let unique = format!("{} {number} {}", self.tag, std::process::id());
        (directory, listener, RunId(sha256(unique.as_bytes()).0))
    }

    fn sandbox(&self, owner: Owner, directory: &RunDirectory) -> SandboxSpec {
        let command = ["python3", "-I", "-S", "-c", PROBE].map(str::to_owned).to_vec();
        SandboxSpec { command, ..self.template.sandbox(owner, directory) }
    }

    fn ahead() -> Owner {
        Owner::Ahead { device: World::device().id }
    }

    /// Until the first byte from a container that did not exist before.
    async fn cold(&mut self) -> Duration {
        let granted = Instant::now();
        let (directory, listener, run) = self.place();
        let labels = RunLabels {
            run,
            assignment: node_core::id::AssignmentId([1; 32]),
            lease: node_core::id::LeaseId([1; 32]),
            attempt: node_core::id::Attempt(1),
        };
        let sandbox = self.sandbox(Owner::Run(labels), &directory);
        let container = self.engine.create(sandbox).await.unwrap();
        let (started, (first, mut stream)) =
            tokio::join!(container.start(), first_byte(&listener, granted));
        stream.write_all(b"x").await.unwrap();
        started.unwrap().finished().await;
        first
    }

    /// The same from one that was created before.
    async fn created(&mut self) -> Duration {
        let (directory, listener, run) = self.place();
        let sandbox = self.sandbox(Self::ahead(), &directory);
        let container = self.engine.create(sandbox).await.unwrap();
        let granted = Instant::now();
        container.assign(&run).await.unwrap();
        let (started, (first, mut stream)) =
            tokio::join!(container.start(), first_byte(&listener, granted));
        stream.write_all(b"x").await.unwrap();
        started.unwrap().finished().await;
        first
    }

    /// The answer of one that was started before and waits.
    async fn waiting(&mut self) -> Duration {
        let (directory, listener, run) = self.place();
        let sandbox = self.sandbox(Self::ahead(), &directory);
        let container = self.engine.create(sandbox).await.unwrap();
        let waiting = container.start_waiting().await.unwrap();
        let (_, mut stream) = first_byte(&listener, Instant::now()).await;
        let granted = Instant::now();
        let mut run = waiting.assign(&run).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        let first = granted.elapsed();
        run.finished().await;
        first
    }

    /// The same program by `docker run`.
    async fn docker_run(&mut self) -> Duration {
        let (directory, listener, _) = self.place();
        let granted = Instant::now();
        let mut command = tokio::process::Command::new("docker");
        command.args(["run", "--rm", "--network", "none"]);
        for bind in directory.binds() {
            command.arg("-v").arg(format!("{}:{}:ro", bind.source.display(), bind.target));
        }
        command.args([self.tag, "python3", "-I", "-S", "-c", PROBE]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut client = command.spawn().expect("the docker client is installed");
        let (first, mut stream) = first_byte(&listener, granted).await;
        stream.write_all(b"x").await.unwrap();
        client.wait().await.unwrap();
        first
    }
}

async fn first_byte(listener: &UnixListener, since: Instant) -> (Duration, UnixStream) {
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.read_exact(&mut [0]).await.unwrap();
    (since.elapsed(), stream)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: scripts/benchmark-runs"]
async fn from_granted_to_the_first_instruction() {
    let mut range = Range::new("assay-evaluator:cpu").await;
    let (mut docker, mut cold) = (Vec::new(), Vec::new());
    let (mut created, mut waiting) = (Vec::new(), Vec::new());
    for _ in 0..rounds(100) {
        docker.push(range.docker_run().await);
        cold.push(range.cold().await);
        created.push(range.created().await);
        waiting.push(range.waiting().await);
    }
    head("from \"granted\" to the first byte from Python in the container");
    show("`docker run --rm --network none`", docker);
    show("cold: created, checked, started", cold);
    show("created ahead", created);
    show("started ahead, waits", waiting);
}

/// From "granted" until the first optimizer step is over: the model has answered for the second
/// training batch.
async fn first_step(world: &World, number: u64) -> Duration {
    let (stop, stopped) = oneshot::channel();
    let (started, _events) = mpsc::channel(1);
    let (progress, mut watched) = watch::channel(Progress::default());
    let granted = Instant::now();
    let (evaluator, spec) = (Arc::clone(&world.evaluator), world.spec(number));
    let run =
        tokio::spawn(async move { evaluator.run(spec, None, stopped, progress, started).await });
    watched.wait_for(|progress| progress.batches_done >= 2).await.unwrap();
    let elapsed = granted.elapsed();
    stop.send(Ending::Stopped).unwrap();
    run.await.unwrap();
    elapsed
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: scripts/benchmark-runs"]
async fn from_granted_to_the_first_optimizer_step() {
    let none = World::new("step-cold", false, 300).await;
    none.evaluator.close().await;
    let created = World::new("step-created", false, 300).await;
    let warm = World::new("step-warm", true, 300).await;
    let mut times: [Vec<Duration>; 3] = Default::default();
    for number in 0..u64::try_from(rounds(100)).unwrap() {
        times[0].push(first_step(&none, number).await);
        for (world, times) in [&created, &warm].into_iter().zip(&mut times[1..]) {
            world.prepare().await;
            // Both are as ready as they get, and nothing else runs.
            tokio::time::sleep(Duration::from_secs(4)).await;
            times.push(first_step(world, number).await);
            world.wait_for(|left| left.iter().all(|one| one.run.is_none())).await;
        }
    }
    let [cold, ahead, waited] = times;
    head("from \"granted\" to the end of the first optimizer step, torch image");
    show("cold", cold);
    show("created ahead", ahead);
    show("started ahead, waits", waited);
    created.evaluator.close().await;
    warm.evaluator.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: scripts/benchmark-runs"]
async fn the_idle_gap_between_two_runs() {
    head("idle gap: a run's container is gone to the first instruction of the next, torch image");
    let rounds = u64::try_from(rounds(20)).unwrap();
    for (name, warm_start, is_ahead) in
        [("gap-none", false, false), ("gap-created", false, true), ("gap-warm", true, true)]
    {
        // Long enough for the next container to be made meanwhile.
        let world = World::new(name, warm_start, 300).await;
        if !is_ahead {
            world.evaluator.close().await;
        }
        for number in 0..=rounds {
            assert_eq!(world.run(number).await.0, Ending::Completed);
        }
        world.evaluator.close().await;
        let gap = world.evaluator.idle_gaps().figures()[&World::device().id];
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        println!("| {name} | {} | | {:.1} | {:.1} |", gap.count, ms(gap.p50), ms(gap.p95));
    }
}
