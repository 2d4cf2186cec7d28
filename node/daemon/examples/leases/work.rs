//! The workers: 64 validators with a connection each, that take leases and hand results in at once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use node_chain::Keypair;
use node_core::id::{Hotkey, HotkeySigner};
use node_core::lease::{Grant, HoldAnswer, LeaseAnswer, PeerAnswer, PeerRequest};
use node_core::limits::LEASES_PER_ACQUIRE_MAX;
use node_peer::{
    AskError, ClientParts, NodeCertificate, PeerClient, PeerDirectory, SystemClock, WallClock as _,
};
use tokio::sync::watch;

use crate::world::{acquire_request, coordinator, identity, receipt, result, worker};
use crate::{Failed, Options};

/// How long a worker waits that was told that the coordinator is busy, or has nothing.
const PAUSE: Duration = Duration::from_millis(1);

/// One worker.
struct Worker {
    key: Keypair,
    client: PeerClient,
    coordinator: Hotkey,
    endpoint: SocketAddr,
    batch: usize,
    took: Took,
}

/// Microseconds that calls took, as the worker sees them.
#[derive(Default)]
struct Took {
    grant: Vec<u128>,
    seal: Vec<u128>,
    complete: Vec<u128>,
    busy: usize,
}

/// What all workers share.
struct Shared {
    wanted: usize,
    done: AtomicUsize,
    /// Time from one batch of a worker to its next; zero for at once.
    pace: Duration,
}

pub(crate) async fn work(options: &Options) -> Result<(), Failed> {
    let ready = std::fs::read_to_string(options.path("--ready")?)?;
    let (port, pid) = ready.trim().split_once(' ').ok_or("the ready file is not whole")?;
    let (port, pid): (u16, u32) = (port.parse()?, pid.parse()?);
    let workers: usize = options.get("--workers", 64)?;
    let batch: usize = options.get("--batch", 64)?;
    let rate: f64 = options.get("--rate", 0.0)?;
    let pace = if rate > 0.0 { (workers * batch) as f64 / rate } else { 0.0 };
    let shared = Arc::new(Shared {
        wanted: options.get("--evaluations", 20_000)?,
        done: AtomicUsize::new(0),
        pace: Duration::from_secs_f64(pace),
    });
    let mut all = Vec::new();
    for number in 0..workers {
        all.push(Worker::connect(number, port, batch).await?);
    }
    let before = (cpu_ms(pid)?, cpu_ms(std::process::id())?);
    let started = Instant::now();
    let tasks: Vec<_> = all
        .into_iter()
        .enumerate()
        .map(|(number, worker)| {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                tokio::time::sleep(shared.pace.mul_f64(number as f64 / workers as f64)).await;
                worker.work(&shared).await
            })
        })
        .collect();
    let mut took = Took::default();
    for task in tasks {
        took.add(task.await??);
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu = (cpu_ms(pid)? - before.0, cpu_ms(std::process::id())? - before.1);
    print(shared.done.load(Ordering::Relaxed), seconds, cpu, &mut took);
    Ok(())
}

impl Worker {
    async fn connect(number: usize, port: u16, batch: usize) -> Result<Self, Failed> {
        let key = worker(number)?;
        let identity = identity(key.public());
        let certificate = NodeCertificate::generate(&identity, &key, SystemClock.unix())?;
        let client = PeerClient::new(ClientParts {
            identity,
            signer: Arc::new(key.clone()) as Arc<dyn HotkeySigner>,
            clock: Arc::new(SystemClock),
            certificate: watch::channel(certificate).1,
            directory: watch::channel(PeerDirectory::default()).1,
        });
        // One address has room for 32 connections.
        let host: IpAddr = if number.is_multiple_of(2) {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        };
        let coordinator = coordinator()?.public();
        let endpoint = SocketAddr::new(host, port);
        client.info(coordinator, endpoint).await?;
        Ok(Self { key, client, coordinator, endpoint, batch, took: Took::default() })
    }

    async fn work(mut self, shared: &Shared) -> Result<Took, Failed> {
        let mut next = tokio::time::Instant::now();
        while shared.done.load(Ordering::Relaxed) < shared.wanted {
            let grants = self.take().await?;
            if grants.is_empty() {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            self.hand_in(&grants).await?;
            shared.done.fetch_add(grants.len(), Ordering::Relaxed);
            next += shared.pace;
            tokio::time::sleep_until(next).await;
        }
        Ok(self.took)
    }

    /// As many leases as make a batch, or as there are.
    async fn take(&mut self) -> Result<Vec<Grant>, Failed> {
        let mut grants: Vec<Grant> = Vec::new();
        while grants.len() < self.batch {
            let wanted = (self.batch - grants.len()).min(LEASES_PER_ACQUIRE_MAX);
            let request = PeerRequest::Acquire(acquire_request(u32::try_from(wanted)?));
            let started = Instant::now();
            match self.client.ask(self.coordinator, self.endpoint, request).await {
                Ok(PeerAnswer::Acquired(Ok(more))) if more.is_empty() => break,
                Ok(PeerAnswer::Acquired(Ok(more))) => grants.extend(more),
                Ok(other) => return Err(format!("no grants: {other:?}").into()),
                Err(error) => {
                    self.wait_if_busy(error).await?;
                    continue;
                }
            }
            self.took.grant.push(started.elapsed().as_micros());
        }
        Ok(grants)
    }

    async fn hand_in(&mut self, grants: &[Grant]) -> Result<(), Failed> {
        let (measured, seals): (Vec<_>, Vec<_>) =
            grants.iter().map(|grant| result(&self.key, grant)).unzip();
        loop {
            let started = Instant::now();
            match self.client.seal_all(self.coordinator, self.endpoint, &seals).await {
                Ok(answers) => {
                    self.took.seal.push(started.elapsed().as_micros());
                    let is_shown = |answer: &HoldAnswer| matches!(answer, HoldAnswer::Reveal(_));
                    if !answers.iter().all(is_shown) {
                        return Err(format!("a seal was not taken: {answers:?}").into());
                    }
                    break;
                }
                Err(error) => self.wait_if_busy(error).await?,
            }
        }
        let receipts: Vec<_> =
            measured.into_iter().map(|evidence| receipt(&self.key, evidence)).collect();
        loop {
            let started = Instant::now();
            match self.client.complete_all(self.coordinator, self.endpoint, &receipts).await {
                Ok(answers) => {
                    self.took.complete.push(started.elapsed().as_micros());
                    if answers.iter().any(|answer| *answer != LeaseAnswer::Accepted) {
                        return Err(format!("a receipt was not taken: {answers:?}").into());
                    }
                    return Ok(());
                }
                Err(error) => self.wait_if_busy(error).await?,
            }
        }
    }

    async fn wait_if_busy(&mut self, error: AskError) -> Result<(), Failed> {
        if !error.to_string().contains("busy") && self.took.busy < 3 {
            println!("{error:?}");
        }
        self.took.busy += 1;
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

impl Took {
    fn add(&mut self, other: Self) {
        self.grant.extend(other.grant);
        self.seal.extend(other.seal);
        self.complete.extend(other.complete);
        self.busy += other.busy;
    }
}

/// CPU time of all threads of a process.
fn cpu_ms(pid: u32) -> Result<u64, Failed> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("unreadable stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    // Linux counts hundredths of a second here on every architecture.
    Ok(ticks.sum::<Result<u64, _>>()? * 10)
}

fn print(done: usize, seconds: f64, (coordinator, workers): (u64, u64), took: &mut Took) {
    println!("leases completed: {done} in {seconds:.2} s, {:.0} per second", done as f64 / seconds);
    for (what, took) in
        [("grant", &mut took.grant), ("seal", &mut took.seal), ("complete", &mut took.complete)]
    {
        took.sort_unstable();
        let at = |per_mille: usize| {
            took.get(took.len() * per_mille / 1000).copied().unwrap_or_default() as f64 / 1000.0
        };
        println!("{what}: {} calls, p50 {:.2} ms, p99 {:.2} ms", took.len(), at(500), at(990));
    }
    let each = |ms: u64| ms as f64 * 1000.0 / done.max(1) as f64;
    println!(
        "CPU per lease: coordinator {:.0} us, workers {:.0} us; busy answers: {}",
        each(coordinator),
        each(workers),
        took.busy
    );
}
