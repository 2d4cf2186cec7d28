//! Containers whose program connects as its first act: how long that takes.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use node_core::id::{sha256, AssignmentId, Attempt, Digest, LeaseId, RunId};
use node_core::policy::Policy;
use node_runner::{Engine, Gate, Owner, ReadOnlyBind, RunLabels, SandboxSpec, Waiting};
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
    gate: Gate,
    run: RunId,
}

impl Probe {
    /// - `name`: of the node.
    pub(crate) async fn new(name: &str) -> Result<Self, Failed> {
        let (engine, image) = connect(name).await?;
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
        let gate = Gate::make(self.dir.path().join(format!("{}.gate", self.next)))?;
        Ok(Place { listener, bind, gate, run: RunId(sha256(unique.as_bytes()).0) })
    }

    fn sandbox(&self, place: &Place, owner: Owner) -> SandboxSpec {
        SandboxSpec {
            owner,
            image: self.image,
            command: Gate::before(PROGRAM.map(str::to_owned).to_vec()),
            binds: vec![place.bind.clone(), place.gate.bind()],
            limits: Policy::dev().run,
            gpus: Vec::new(),
        }
    }

    async fn ahead(&self, place: &Place) -> Result<Waiting, Failed> {
        let sandbox = self.sandbox(place, Owner::Ahead { device: device().id });
        Ok(self.engine.create(sandbox).await?.start_waiting().await?)
    }

    /// One that did not exist before: its gate is open.
    pub(crate) async fn cold(&mut self) -> Result<Duration, Failed> {
        self.own(true).await
    }

    /// One that did not exist before, and has no gate.
    pub(crate) async fn ungated(&mut self) -> Result<Duration, Failed> {
        self.own(false).await
    }

    async fn own(&mut self, has_gate: bool) -> Result<Duration, Failed> {
        let place = self.place()?;
        let owner = Owner::Run(RunLabels {
            run: place.run,
            assignment: AssignmentId([1; 32]),
            lease: LeaseId([1; 32]),
            attempt: Attempt(1),
        });
        let mut sandbox = self.sandbox(&place, owner);
        if !has_gate {
            sandbox.command = PROGRAM.map(str::to_owned).to_vec();
            sandbox.binds.truncate(1);
        }
        let granted = Instant::now();
        place.gate.open()?;
        let container = self.engine.create(sandbox).await?;
        let (started, first) =
            tokio::join!(container.start(), first_byte(&place.listener, granted));
        let (first, mut stream) = first?;
        stream.write_all(b"x").await?;
        started?.finished().await;
        Ok(first)
    }

    /// One that was created before and waits at its gate.
    pub(crate) async fn gated(&mut self) -> Result<Duration, Failed> {
        let place = self.place()?;
        let waiting = self.ahead(&place).await?;
        let granted = Instant::now();
        let mut run = waiting.assign(&place.run).await?;
        place.gate.open()?;
        let (first, mut stream) = first_byte(&place.listener, granted).await?;
        stream.write_all(b"x").await?;
        run.finished().await;
        Ok(first)
    }

    /// One whose program was started before and waits: until it answers.
    pub(crate) async fn waiting(&mut self) -> Result<Duration, Failed> {
        let place = self.place()?;
        let waiting = self.ahead(&place).await?;
        place.gate.open()?;
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
