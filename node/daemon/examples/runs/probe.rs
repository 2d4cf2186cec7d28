//! Containers whose program connects as its first act: how long that takes.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use node_core::id::{sha256, AssignmentId, Attempt, Digest, LeaseId, RunId};
use node_core::policy::Policy;
use node_runner::{Engine, Owner, ReadOnlyBind, RunLabels, SandboxSpec};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use crate::world::{connect, device, IMAGE};
use crate::Failed;

/// Connects as its first act, says so, and answers one byte with another.
const PROGRAM: [&str; 5] = [
    "python3",
    "-I",
    "-S",
    "-c",
    "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/assay/meter.sock'); \
     s.send(b'x'); s.recv(1); s.send(b'y')",
];

/// Where the socket is in a container.
const TARGET: &str = "/assay/meter.sock";

/// Makes one container after the other.
pub(crate) struct Probe {
    engine: Engine,
    image: Digest,
    dir: tempfile::TempDir,
    next: u64,
}

/// What one container needs.
struct Place {
    listener: UnixListener,
    bind: ReadOnlyBind,
    run: RunId,
}

impl Probe {
    pub(crate) async fn new() -> Result<Self, Failed> {
        let (engine, image) = connect("measure starts").await?;
        Ok(Self { engine, image, dir: tempfile::tempdir()?, next: 0 })
    }

    fn place(&mut self) -> Result<Place, Failed> {
        self.next += 1;
        let source = self.dir.path().join(format!("{}", self.next));
        let listener = UnixListener::bind(&source)?;
        std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o666))?;
        std::fs::set_permissions(self.dir.path(), std::fs::Permissions::from_mode(0o755))?;
        let unique = format!("starts {} {}", self.next, std::process::id());
        let bind = ReadOnlyBind { source, target: TARGET.to_owned() };
        Ok(Place { listener, bind, run: RunId(sha256(unique.as_bytes()).0) })
    }

    fn sandbox(&self, place: &Place, is_ahead: bool) -> SandboxSpec {
        let owner = if is_ahead {
            Owner::Ahead { device: device().id }
        } else {
            Owner::Run(RunLabels {
                run: place.run,
                assignment: AssignmentId([1; 32]),
                lease: LeaseId([1; 32]),
                attempt: Attempt(1),
            })
        };
        SandboxSpec {
            owner,
            image: self.image,
            command: PROGRAM.map(str::to_owned).to_vec(),
            binds: vec![place.bind.clone()],
            limits: Policy::dev().run,
            gpus: Vec::new(),
        }
    }

    /// One that did not exist before.
    pub(crate) async fn cold(&mut self) -> Result<Duration, Failed> {
        let place = self.place()?;
        let sandbox = self.sandbox(&place, false);
        let granted = Instant::now();
        let container = self.engine.create(sandbox).await?;
        let (started, first) =
            tokio::join!(container.start(), first_byte(&place.listener, granted));
        let (first, mut stream) = first?;
        stream.write_all(b"x").await?;
        started?.finished().await;
        Ok(first)
    }

    /// One that was created before.
    pub(crate) async fn created(&mut self) -> Result<Duration, Failed> {
        let place = self.place()?;
        let container = self.engine.create(self.sandbox(&place, true)).await?;
        let granted = Instant::now();
        container.assign(&place.run).await?;
        let (started, first) =
            tokio::join!(container.start(), first_byte(&place.listener, granted));
        let (first, mut stream) = first?;
        stream.write_all(b"x").await?;
        started?.finished().await;
        Ok(first)
    }

    /// One that was started before and waits: until it answers.
    pub(crate) async fn waiting(&mut self) -> Result<Duration, Failed> {
        let place = self.place()?;
        let container = self.engine.create(self.sandbox(&place, true)).await?;
        let waiting = container.start_waiting().await?;
        let (_, mut stream) = first_byte(&place.listener, Instant::now()).await?;
        let granted = Instant::now();
        let mut run = waiting.assign(&place.run).await?;
        stream.write_all(b"x").await?;
        stream.read_exact(&mut [0]).await?;
        let first = granted.elapsed();
        run.finished().await;
        Ok(first)
    }

    /// The same program by `docker run`.
    pub(crate) async fn docker_run(&mut self) -> Result<Duration, Failed> {
        let place = self.place()?;
        let granted = Instant::now();
        let mut command = tokio::process::Command::new("docker");
        command.args(["run", "--rm", "--network", "none", "-v"]);
        command.arg(format!("{}:{TARGET}:ro", place.bind.source.display()));
        command.arg(IMAGE).args(PROGRAM);
        let mut client = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let (first, mut stream) = first_byte(&place.listener, granted).await?;
        stream.write_all(b"x").await?;
        client.wait().await?;
        Ok(first)
    }
}

async fn first_byte(
    listener: &UnixListener,
    since: Instant,
) -> Result<(Duration, UnixStream), Failed> {
    let (mut stream, _) = listener.accept().await?;
    stream.read_exact(&mut [0]).await?;
    Ok((since.elapsed(), stream))
}
