//! What a bare gRPC server does with messages as large as those of leases: nothing is signed,
//! decided or stored. `scripts/benchmark-leases` sets it beside the coordinator.
//!
//! ```text
//! echo serve --ready FILE [--tls 1]
//! echo work --ready FILE [--tls 1] [--workers W] [--batch B] [--leases N]
//! ```

#![allow(clippy::print_stdout, reason = "a program whose result is what it prints")]

mod messages;
mod wire;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;

use proto::v1;
use proto::v1::leases_client::LeasesClient;
use tonic::transport::{Channel, Server};
use tonic::{async_trait, Request, Response, Status};

/// As the coordinator has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) type Failed = Box<dyn Error + Send + Sync>;

/// Grants in one answer, as the protocol allows them.
const GRANTS: usize = node_core::limits::LEASES_PER_ACQUIRE_MAX;

struct Echo;

#[async_trait]
impl v1::leases_server::Leases for Echo {
    async fn acquire(
        &self,
        request: Request<v1::AcquireRequest>,
    ) -> Result<Response<v1::AcquireResponse>, Status> {
        Ok(Response::new(messages::grants(request.get_ref().leases_max)))
    }

    async fn seal(
        &self,
        request: Request<v1::SealRequest>,
    ) -> Result<Response<v1::SealResponse>, Status> {
        Ok(Response::new(messages::reveals(request.into_inner())))
    }

    async fn complete(
        &self,
        request: Request<v1::CompleteRequest>,
    ) -> Result<Response<v1::CompleteResponse>, Status> {
        Ok(Response::new(messages::accepted(request.get_ref())))
    }

    async fn renew(
        &self,
        _: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::RenewResponse>, Status> {
        Err(Status::unimplemented("renew"))
    }

    async fn release(
        &self,
        _: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        Err(Status::unimplemented("release"))
    }

    async fn explain(
        &self,
        _: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        Err(Status::unimplemented("explain"))
    }
}

/// `--name value` pairs.
struct Options(BTreeMap<String, String>);

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failed> {
        let mut read = BTreeMap::new();
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            read.insert(name, value);
        }
        Ok(Self(read))
    }

    fn text(&self, name: &str) -> Result<&str, Failed> {
        self.0.get(name).map(String::as_str).ok_or_else(|| format!("{name} is missing").into())
    }

    fn number(&self, name: &str, default: usize) -> Result<usize, Failed> {
        self.0.get(name).map_or(Ok(default), |text| Ok(text.parse()?))
    }
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let options = Options::read(arguments)?;
    match what.as_str() {
        "serve" => serve(&options).await,
        "work" => work(&options).await,
        _ => Err("say `serve` or `work`; see scripts/benchmark-leases --help".into()),
    }
}

async fn serve(options: &Options) -> Result<(), Failed> {
    let ready = options.text("--ready")?;
    let service = v1::leases_server::LeasesServer::new(Echo);
    let server = Server::builder().add_service(service);
    if options.number("--tls", 0)? == 1 {
        Ok(server.serve_with_incoming(wire::listen_with_tls(ready).await?).await?)
    } else {
        Ok(server.serve_with_incoming(wire::listen(ready).await?).await?)
    }
}

async fn work(options: &Options) -> Result<(), Failed> {
    let (ready, is_tls) = (options.text("--ready")?, options.number("--tls", 0)? == 1);
    let (workers, batch) = (options.number("--workers", 64)?, options.number("--batch", 64)?);
    let wanted = options.number("--leases", 100_000)?;
    let mut channels = Vec::new();
    for _ in 0..workers {
        channels.push(wire::connect(ready, is_tls).await?);
    }
    let pid = wire::server_pid(ready)?;
    let before = (cpu_ms(pid)?, cpu_ms(std::process::id())?);
    let done = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let tasks: Vec<_> = channels
        .into_iter()
        .map(|channel| tokio::spawn(take_and_hand_in(channel, batch, wanted, Arc::clone(&done))))
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await??);
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu = (cpu_ms(pid)? - before.0, cpu_ms(std::process::id())? - before.1);
    let done = done.load(Ordering::Relaxed);
    took.sort_unstable();
    let at = |per_mille: usize| {
        took.get(took.len() * per_mille / 1000).copied().unwrap_or_default() as f64 / 1000.0
    };
    println!("leases echoed: {done} in {seconds:.2} s, {:.0} per second", done as f64 / seconds);
    println!("grant: {} calls, p50 {:.2} ms, p99 {:.2} ms", took.len(), at(500), at(990));
    let each = |ms: u64| ms as f64 * 1000.0 / done.max(1) as f64;
    println!("CPU per lease: server {:.0} us, workers {:.0} us", each(cpu.0), each(cpu.1));
    Ok(())
}

/// The calls of one worker; gives the microseconds that its grants took.
async fn take_and_hand_in(
    channel: Channel,
    batch: usize,
    wanted: usize,
    done: Arc<AtomicUsize>,
) -> Result<Vec<u128>, Failed> {
    let mut leases = LeasesClient::new(channel);
    let mut took = Vec::new();
    while done.load(Ordering::Relaxed) < wanted {
        let mut has = 0;
        while has < batch {
            let more = (batch - has).min(GRANTS);
            let started = Instant::now();
            leases.acquire(messages::acquire(u32::try_from(more)?)).await?;
            took.push(started.elapsed().as_micros());
            has += more;
        }
        leases.seal(messages::seals(batch)).await?;
        leases.complete(messages::receipts(batch)).await?;
        done.fetch_add(batch, Ordering::Relaxed);
    }
    Ok(took)
}

/// CPU time of all threads of a process.
fn cpu_ms(pid: u32) -> Result<u64, Failed> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("unreadable stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    // Linux counts hundredths of a second here on every architecture.
    Ok(ticks.sum::<Result<u64, _>>()? * 10)
}
