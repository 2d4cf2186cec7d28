//! Everything the node needs before its first decision, in order; each missing part is named with
//! what to do about it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use node_chain::{ChainClient, ChainConfig, Keypair, ReadError};
use node_core::id::{ContentDigest, Hotkey, HotkeySigner};
use node_core::limits::EVENTS_QUEUED_MAX;
use node_core::machine::event::{Event, Restarted};
use node_core::machine::{self, Machine, MachineConfig, ReferenceWork};
use node_core::policy::Policy;
use node_core::rows::Row;
use node_evaluator::gates::Gates;
use node_evaluator::reference::{references, Reference};
use node_peer::{
    ClientParts, ContentFuture, ContentSource, NodeCertificate, NodeIdentity, PeerClient,
    PeerDirectory, PeerServer, ServerParts, SystemClock,
};
use node_store::{Loaded, Store};
use tokio::sync::{mpsc, watch, Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::axon::Publisher;
use super::certificate::{self, Endorser};
use super::chain_task::{follow, ChainCommands, ChainFacts};
use super::clock::{unix_now, Clock};
use super::contents::Contents;
use super::durable::{DurableMachine, PEER_CALLS_QUEUED_MAX};
use super::engine_watch::keep_asking;
use super::evaluate::{Evaluator, EvaluatorParts};
use super::fetch::{Fetcher, FETCHES_MAX};
use super::gpus::Gpus;
use super::heart::{Heart, HeartError, Sources};
use super::host::{prepare_host, Host};
use super::identity::{claim, Identity};
use super::keep::{KeeperThread, Leases, RealDoors};
use super::perform::Performer;
use super::published::{keep_read, Certificates};
use super::report::{mode_name, starting, Reporter};
use super::service::tell_manager;
use super::stop::{StopStep, Stopping};
use super::web::{HuggingFace, Web};
use super::{idle, refused};
use crate::admin::{Admin, AdminError, OperatorCall};
use crate::api::{self, Api, Uploads};
use crate::config::{Config, WeightsMode};
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::freezer::FreezerDoor;
use crate::metrics::Metrics;
use crate::review::Reviewer;
use crate::status::{keep_snapshot, PublishedReport};
use crate::traces::{self, Tracer, Traces};

/// Pause between two tries to read the subnet at the start.
const SUBNET_READ_PAUSE: Duration = Duration::from_secs(3);

/// Requests of the operator that wait for the loop.
const OPERATOR_CALLS_QUEUED_MAX: usize = 8;

/// Bytes of a Unix socket's path, without the final zero.
const SOCKET_PATH_MAX: usize = 107;

/// What comes behind the directory of runs: `/`, a run's short name, and `/meter.sock`.
const RUN_SOCKET_CHARS: usize = 1 + 8 + 11;

/// How long the last snapshot, and the last answers of the admin listener, may take.
const FACES_WAIT: Duration = Duration::from_secs(3);

/// Refuses what can be told to be wrong before anything is touched: rules from a file, and a data
/// directory too deep down for sockets in it.
pub(crate) fn check(config: &Config) -> Result<(), Failure> {
    config.challenge.nas.rules()?;
    runs_dir(config).map(drop)
}

/// Where runs have their files and sockets.
fn runs_dir(config: &Config) -> Result<PathBuf, Failure> {
    let runs_dir = config.data_dir.path().join("runs");
    // A socket's address has room for 108 bytes, the last one a zero.
    let room = SOCKET_PATH_MAX.saturating_sub(RUN_SOCKET_CHARS);
    if runs_dir.as_os_str().len() > room {
        let problem = format!("the path `{}` is too long for sockets in it", runs_dir.display());
        return Err(Failure::bad_configuration(problem)
            .hint(format!("set a `data_dir` that makes it at most {room} bytes long")));
    }
    Ok(runs_dir)
}

/// Starts the node with its key, lives, and tidies up.
pub(crate) async fn live(
    config: Config,
    keypair: Keypair,
    mut signals: mpsc::Receiver<StopStep>,
) -> Result<ExitReason, Failure> {
    let keypair = Arc::new(keypair);
    let (store, loaded) = open_store(&config)?;
    let store = Arc::new(store);
    let (operator, operators) = mpsc::channel(OPERATOR_CALLS_QUEUED_MAX);
    let (calls, readers) = mpsc::channel(api::CALLS_QUEUED_MAX);
    let faces = Faces::open(&config, &keypair, &store, operator, calls).await?;
    let prepared = tokio::select! {
        prepared = prepare(&config, &keypair) => prepared.map(Some),
        // Nothing has begun yet that would have to be finished.
        _ = signals.recv() => Ok(None),
    };
    let lived = match prepared {
        Err(failure) => Err(failure),
        Ok(None) => Ok(ExitReason::Done),
        Ok(Some(prepared)) => {
            let parts = Parts { config: &config, prepared, keypair, store, loaded };
            parts.live(&faces, signals, operators, readers).await
        }
    };
    faces.close().await;
    if let Ok(exit) = &lived {
        tracing::info!(code = exit.code(), "stopped: {exit}");
    }
    lived
}

/// What tells others about the node: there from the first moment to the last.
struct Faces {
    reports: watch::Sender<Arc<PublishedReport>>,
    metrics: Arc<Metrics>,
    /// To the loop, from whoever only reads.
    calls: mpsc::Sender<api::Call>,
    stop: CancellationToken,
    admin: tokio::task::JoinHandle<Result<(), AdminError>>,
    snapshot: tokio::task::JoinHandle<()>,
}

impl Faces {
    async fn open(
        config: &Config,
        keypair: &Keypair,
        store: &Arc<Store>,
        operator: mpsc::Sender<OperatorCall>,
        calls: mpsc::Sender<api::Call>,
    ) -> Result<Self, Failure> {
        let stop = CancellationToken::new();
        let metrics = Arc::new(Metrics::new());
        let policy = config.challenge.nas.rules()?;
        let (reports, watched) = watch::channel(Arc::new(
            starting(keypair.public(), config.chain.netuid, &config.weights.mode).into(),
        ));
        let admin = Admin::bind(config.admin.listen, config.data_dir.admin_address_file())
            .await
            .map_err(refused::admin)?
            .asking(calls.clone())
            .keeping(Arc::clone(store), config.data_dir.path().to_owned(), policy);
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            hotkey = %keypair.public(),
            netuid = config.chain.netuid.0,
            admin = %admin.address(),
            "starting"
        );
        let served = admin.serve(watched.clone(), Arc::clone(&metrics), operator, stop.clone());
        let admin = tokio::spawn(served);
        tokio::spawn(tell_manager(watched.clone()));
        let snapshot = tokio::spawn(keep_snapshot(watched, config.data_dir.status_file()));
        Ok(Self { reports, metrics, calls, stop, admin, snapshot })
    }

    /// Both tasks end by themselves now; a broken one has said so.
    async fn close(self) {
        self.stop.cancel();
        drop(self.reports);
        drop(tokio::time::timeout(FACES_WAIT, self.snapshot).await);
        drop(tokio::time::timeout(FACES_WAIT, self.admin).await);
    }
}

/// What has to be there before anything can be decided.
struct Prepared {
    gates: Arc<Gates>,
    host: Host,
    client: ChainClient,
    own: Identity,
}

async fn prepare(config: &Config, keypair: &Keypair) -> Result<Prepared, Failure> {
    let policy = config.challenge.nas.rules()?;
    let gates = Gates::check(&policy);
    for fault in gates.faults() {
        tracing::error!(%fault, "a gate refuses what ships with the node");
    }
    let host = prepare_host(config, &policy).await?;
    let client = connect_chain(config, &policy, keypair).await?;
    check_subnet(config, &client).await?;
    let own = Identity {
        hotkey: keypair.public(),
        netuid: config.chain.netuid,
        genesis: client.genesis(),
    };
    claim(config.data_dir.path(), own).map_err(refused::identity)?;
    Ok(Prepared { gates: Arc::new(gates), host, client, own })
}

/// Reads the subnet once, so that a wrong number is told before the directory is claimed for it.
/// An endpoint that breaks off is asked again.
async fn check_subnet(config: &Config, client: &ChainClient) -> Result<(), Failure> {
    let netuid = config.chain.netuid;
    let hint = format!("is {netuid} the number of the subnet? it is `chain.netuid`");
    loop {
        let reason = match client.finalized_head().await {
            Ok(Some(head)) => match client.view_at(head.hash).await {
                Ok(_) => return Ok(()),
                Err(error @ ReadError::NoSuchSubnet { .. }) => {
                    return Err(Failure::unavailable(error).hint(hint));
                }
                Err(error) => super::perform::describe(&error),
            },
            Ok(None) => "the endpoint does not know its own finalized head".to_owned(),
            Err(error) => super::perform::describe(&error),
        };
        tracing::warn!(reason, "cannot read the subnet yet; trying again");
        tokio::time::sleep(SUBNET_READ_PAUSE).await;
    }
}

/// Opens the hotkey, and warns about what its operator should know. Blocks, for seconds if the file
/// is encrypted.
pub(crate) fn open_key(config: &Config) -> Result<Keypair, Failure> {
    let file = crate::hotkey::open(&config.wallet, &|path, format| {
        let (path, takes) = (path.display(), format.cost());
        tracing::info!(%path, %format, takes, "decrypting the hotkey");
    })?;
    for warning in &file.facts().warnings {
        tracing::warn!("{warning}");
    }
    Ok(file.keypair().clone())
}

fn open_store(config: &Config) -> Result<(Store, Loaded), Failure> {
    let (store, loaded) = Store::open(config.data_dir.path()).map_err(refused::store)?;
    if let Some(rebuilt) = &loaded.rebuilt {
        let moved_to = rebuilt.moved_to.display().to_string();
        tracing::error!(reason = rebuilt.reason, moved_to, "the store was damaged: starting anew");
    }
    if let Some(lost) = &loaded.lost_commits {
        let (acknowledged, found) = (lost.acknowledged, lost.found);
        tracing::error!(acknowledged, found, "the store lost commits that were acknowledged");
    }
    match &loaded.compacted {
        Some(Ok(compacted)) => {
            let (from_bytes, to_bytes) = (compacted.from_bytes, compacted.to_bytes);
            tracing::info!(from_bytes, to_bytes, "signed.journal was made smaller");
        }
        Some(Err(error)) => tracing::warn!(%error, "signed.journal could not be made smaller"),
        None => {}
    }
    if loaded.lacks_rows {
        tracing::warn!("the store lost rows before; catching up with chain and peers goes on");
    }
    for damaged in &loaded.damaged {
        tracing::error!(record = ?damaged, "a record cannot be read");
    }
    if loaded.damaged_drawers > 0 {
        let damaged = loaded.damaged_drawers;
        tracing::error!(damaged, "the freezer's index was damaged, and made anew from its files");
    }
    Ok((store, loaded))
}

/// A reference submission as the machine knows it.
fn reference_work(reference: &Reference) -> ReferenceWork {
    ReferenceWork { name: reference.name().to_owned(), content: reference.digest() }
}

/// How the chain is reached, with the node's own hotkey.
fn chain_config(config: &Config, policy: &Policy, hotkey: Hotkey) -> ChainConfig {
    let endpoints = config.chain.endpoints.iter().map(|e| e.url().to_owned()).collect();
    let window = policy.scoring.funnel.window_blocks;
    ChainConfig {
        expected_genesis: config.chain.genesis,
        own_hotkey: Some(hotkey),
        window: Some(node_core::unit::BlockCount(window)),
        mechanism: config.weights.mechanism,
        allow_insecure: config.chain.allow_insecure,
        call_timeout: config.chain.call_timeout,
        silence_max: config.chain.silence_max,
        compare_every: config.chain.compare_every,
        ..ChainConfig::new(endpoints, config.chain.netuid)
    }
}

/// Waits until an endpoint answers: one that throttles, or starts beside the node, is no reason
/// to end.
async fn connect_chain(
    config: &Config,
    policy: &Policy,
    keypair: &Keypair,
) -> Result<ChainClient, Failure> {
    let (states, _) = watch::channel(Vec::new());
    let settings = chain_config(config, policy, keypair.public());
    ChainClient::connect_patiently(settings, &states).await.map_err(|error| {
        Failure::unavailable(error).hint(
            "set `--subtensor.chain_endpoint` to a node of the wanted chain that answers, your \
             own first; `chain.genesis` says which chain is wanted",
        )
    })
}

/// All parts, not yet connected to each other.
struct Parts<'a> {
    config: &'a Config,
    prepared: Prepared,
    keypair: Arc<Keypair>,
    store: Arc<Store>,
    loaded: Loaded,
}

/// What peers see of this node, and who they are.
struct Shown {
    directory: watch::Receiver<PeerDirectory>,
    certificate: watch::Receiver<NodeCertificate>,
    ready: watch::Receiver<bool>,
}

/// Whether the node is ready, from its reports.
fn readiness(mut reports: watch::Receiver<Arc<PublishedReport>>) -> watch::Receiver<bool> {
    let (ready, watched) = watch::channel(false);
    tokio::spawn(async move {
        while reports.changed().await.is_ok() {
            let is_ready = reports.borrow_and_update().ready.ready;
            ready.send_if_modified(|known| std::mem::replace(known, is_ready) != is_ready);
        }
    });
    watched
}

/// A node, ready to live.
struct Assembled {
    heart: Heart,
    first: Event,
    sources: Sources,
    stopping: Stopping,
    server: PeerServer,
    follower: tokio::task::JoinHandle<()>,
    publisher: Option<tokio::task::JoinHandle<()>>,
    evaluator: Arc<Evaluator>,
}

impl Parts<'_> {
    async fn live(
        self,
        faces: &Faces,
        signals: mpsc::Receiver<StopStep>,
        operator: mpsc::Receiver<OperatorCall>,
        readers: mpsc::Receiver<api::Call>,
    ) -> Result<ExitReason, Failure> {
        tokio::spawn(idle::give_back_after_start(faces.reports.subscribe()));
        let assembled = self.assemble(faces, signals, operator, readers).await?;
        assembled.live().await.map_err(Failure::unexpected)
    }

    async fn assemble(
        mut self,
        faces: &Faces,
        signals: mpsc::Receiver<StopStep>,
        operator: mpsc::Receiver<OperatorCall>,
        readers: mpsc::Receiver<api::Call>,
    ) -> Result<Assembled, Failure> {
        let (events, event_source) = mpsc::channel(EVENTS_QUEUED_MAX);
        let (calls, call_source) = mpsc::channel(PEER_CALLS_QUEUED_MAX);
        let (directory, directory_watch) = watch::channel(PeerDirectory::default());
        let (facts, facts_watch) = watch::channel(ChainFacts::default());
        let contents = self.open_contents()?;
        let certificate = self.certificate()?;
        let shown = Shown {
            directory: directory_watch,
            certificate: certificate.subscribe(),
            ready: readiness(faces.reports.subscribe()),
        };
        let server = self.serve_peers(calls, &contents, &shown).await?;
        // Before anything begins that would have to be ended: its address may be taken.
        self.serve_public(faces).await?;
        let first = Event::Restarted(Box::new(Restarted {
            // Not both there and in the machine.
            rows: std::mem::take(&mut self.loaded.rows),
            journal: std::mem::take(&mut self.loaded.journal),
            devices: self.prepared.host.devices.clone(),
            leftovers: self.prepared.host.leftovers.keys().copied().collect(),
            has_lost_rows: !self.loaded.is_complete(),
        }));
        let machine = Machine::new(self.machine_config(server.local_addr()));
        let clock = Clock::start();
        let leases = Arc::new(Leases::new(Arc::new(clock), Arc::clone(&faces.metrics)));
        let (peers, keepers) = (self.peer_client(&shown), self.peer_client(&shown));
        faces.metrics.watch([Arc::clone(&peers), Arc::clone(&keepers)]);
        let keeper = self.keep(&leases, keepers)?;
        let performer = self.performer(events.clone(), contents, peers, &leases)?;
        let evaluator = Arc::clone(&performer.evaluator);
        faces.metrics.watch_idle(evaluator.idle_gaps());
        let (preparing, devices) = (Arc::clone(&evaluator), self.prepared.host.devices.clone());
        tokio::spawn(async move { preparing.prepare(&devices).await });
        let (certificates, publisher) = self.keep_certificates(certificate, &shown);
        let reporter = Reporter {
            reports: faces.reports.clone(),
            chain: facts_watch,
            endpoints: self.config.chain.endpoints.len(),
            weights_mode: mode_name(&self.config.weights.mode).to_owned(),
            started_at: unix_now(),
            metrics: Arc::clone(&faces.metrics),
            store: Arc::clone(&self.store),
            host_reasons: self.prepared.host.reasons.clone(),
            refusals: std::collections::VecDeque::new(),
            events: std::collections::VecDeque::new(),
            certificate: shown.certificate,
            directory: shown.directory,
            publishes: publisher.is_some(),
            gate_faults: self.prepared.gates.faults().iter().map(ToString::to_string).collect(),
            has_news: false,
            published_at: None,
        };
        let follower = tokio::spawn(follow(self.prepared.client.clone(), events, facts));
        let heart = Heart {
            traces: self.traces(&machine, &faces.metrics)?,
            durable: DurableMachine::with_clock(machine, clock, Arc::clone(&self.store)),
            performer,
            leases,
            keeper,
            metrics: Arc::clone(&faces.metrics),
            reporter,
            desk: api::Desk::default(),
            directory,
            certificates,
            halted: None,
        };
        let sources =
            Sources { events: event_source, peers: call_source, operator, readers, stop: signals };
        let stopping = Stopping::new(self.config.stop.grace);
        Ok(Assembled { heart, first, sources, stopping, server, follower, publisher, evaluator })
    }

    /// Traces of submissions, if there are to be any.
    fn traces(&self, machine: &Machine, metrics: &Arc<Metrics>) -> Result<Traces, Failure> {
        let Identity { hotkey, netuid, .. } = self.prepared.own;
        let policy = self.prepared.gates.policy().digest();
        let references = machine.references().map(|(id, name)| (id, name.to_owned())).collect();
        let tracer = Tracer { hotkey, netuid, policy, references };
        traces::start(&self.config.traces, &tracer, metrics).map_err(|error| {
            Failure::bad_configuration(error).hint("set another `traces.endpoint`, or leave it out")
        })
    }

    fn performer(
        &self,
        events: mpsc::Sender<Event>,
        contents: Contents,
        peers: Arc<PeerClient>,
        leases: &Arc<Leases>,
    ) -> Result<Performer, Failure> {
        let gpus = Gpus::start(&self.prepared.host.devices, events.clone()).map_err(|error| {
            let hint = "raise the limit on threads (`TasksMax`, `ulimit -u`), or set \
                            `devices.gpus = \"off\"`";
            Failure::unavailable(error).hint(hint)
        })?;
        Ok(Performer {
            events: events.clone(),
            store: Arc::clone(&self.store),
            signer: Arc::clone(&self.keypair) as Arc<dyn HotkeySigner>,
            peers: Arc::clone(&peers),
            chain: ChainCommands {
                client: self.prepared.client.clone(),
                keypair: Arc::clone(&self.keypair),
                events,
                nonce: Arc::default(),
            },
            fetcher: Fetcher {
                contents,
                peers,
                limits: self.prepared.gates.policy().archive.clone(),
                own: self.prepared.own.hotkey,
                web: Web { private_locations: self.config.challenge.nas.private_locations },
                hugging_face: HuggingFace::at(&self.config.challenge.nas.hugging_face).map_err(
                    |error| {
                        Failure::bad_configuration(error)
                            .hint("set another `challenge.nas.hugging_face`, or leave it out")
                    },
                )?,
                at_once: Arc::new(Semaphore::new(FETCHES_MAX)),
            },
            evaluator: Arc::new(self.evaluator()?),
            reviewer: self.reviewer()?,
            gpus,
            leases: Arc::clone(leases),
            runs: BTreeMap::new(),
        })
    }

    /// Has this node's certificate endorsed and published, and those of others read.
    fn keep_certificates(
        &self,
        certificate: watch::Sender<NodeCertificate>,
        shown: &Shown,
    ) -> (watch::Receiver<Certificates>, Option<tokio::task::JoinHandle<()>>) {
        let endorser = Endorser {
            directory: self.config.data_dir.path().to_owned(),
            identity: self.node_identity(),
            keypair: Arc::clone(&self.keypair),
            certificate,
            peers: shown.directory.clone(),
        };
        tokio::spawn(endorser.keep_endorsed());
        let published = Arc::new(Notify::new());
        let publisher = self.config.peer.advertise.filter(|_| self.config.peer.publish_axon);
        let publisher = publisher.map(|address| {
            let publisher = Publisher {
                client: self.prepared.client.clone(),
                keypair: Arc::clone(&self.keypair),
                address,
                certificate: shown.certificate.clone(),
                published: Arc::clone(&published),
            };
            tokio::spawn(publisher.keep_published(shown.directory.clone()))
        });
        let (certificates, read) = watch::channel(None);
        let client = self.prepared.client.clone();
        tokio::spawn(keep_read(client, certificates, shown.directory.clone(), published));
        (read, publisher)
    }

    fn peer_client(&self, shown: &Shown) -> Arc<PeerClient> {
        Arc::new(PeerClient::new(ClientParts {
            identity: self.node_identity(),
            signer: Arc::clone(&self.keypair) as Arc<dyn HotkeySigner>,
            clock: Arc::new(SystemClock),
            certificate: shown.certificate.clone(),
            directory: shown.directory.clone(),
        }))
    }

    /// Keeps leases, with connections that nobody else uses.
    fn keep(&self, leases: &Arc<Leases>, peers: Arc<PeerClient>) -> Result<KeeperThread, Failure> {
        let engine = self.prepared.host.engine.clone();
        let doors = Arc::new(RealDoors { peers, engine });
        KeeperThread::start(Arc::clone(leases), doors).map_err(Failure::unexpected)
    }

    /// What connections show, to be replaced before its endorsement ends.
    fn certificate(&self) -> Result<watch::Sender<NodeCertificate>, Failure> {
        let directory = self.config.data_dir.path();
        let opened = certificate::open(directory, &self.node_identity(), &self.keypair);
        Ok(watch::Sender::new(opened.map_err(refused::certificate)?))
    }

    /// Starts the public interface, if there is to be one.
    async fn serve_public(&self, faces: &Faces) -> Result<(), Failure> {
        let bound = Api::bind(&self.config.api).await.map_err(refused::public)?;
        let Some(bound) = bound else { return Ok(()) };
        let bytes_max = self.prepared.gates.policy().archive.packed_bytes_max;
        let uploads = Uploads::open(self.uploads(), bytes_max).map_err(refused::data_file)?;
        tracing::info!(address = %bound.address(), "the public interface listens");
        let (calls, gates) = (faces.calls.clone(), Arc::clone(&self.prepared.gates));
        let policy = Arc::new(gates.policy().clone());
        let freezer = FreezerDoor::new(Arc::clone(&self.store), policy);
        let served = bound.serve(calls, uploads, gates, freezer, faces.stop.clone());
        tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::error!(%error, "the public interface ended");
            }
        });
        Ok(())
    }

    /// Where miners' archives lie that nobody may have committed to yet.
    fn uploads(&self) -> PathBuf {
        self.config.data_dir.path().join("uploads")
    }

    fn open_contents(&self) -> Result<Contents, Failure> {
        let dirs = self.config.challenge.nas.content_dirs.iter().cloned();
        let contents = Contents::open(
            self.config.data_dir.path().join("content"),
            dirs.chain([self.uploads()]).collect(),
            self.prepared.gates.policy().archive.packed_bytes_max,
        )
        .map_err(refused::data_file)?;
        // Where rows were lost, nothing says whose an archive is.
        if self.loaded.is_complete() {
            match contents.drop_unknown(&self.known_contents()) {
                Ok(0) => {}
                Ok(dropped) => tracing::info!(dropped, "archives of what is forgotten removed"),
                Err(error) => tracing::warn!(%error, "archives of what is forgotten are kept"),
            }
        }
        Ok(contents)
    }

    fn known_contents(&self) -> BTreeSet<ContentDigest> {
        let submitted = self.loaded.rows.iter().filter_map(|row| {
            let Row::Submission(row) = row else { return None };
            Some(row.content)
        });
        submitted.chain(references().iter().map(|one| reference_work(one).content)).collect()
    }

    async fn serve_peers(
        &self,
        handler: mpsc::Sender<node_peer::PeerCall>,
        contents: &Contents,
        shown: &Shown,
    ) -> Result<PeerServer, Failure> {
        let parts = ServerParts {
            handler,
            contents: Arc::new(Shared(contents.clone())),
            content_bytes_max: self.prepared.gates.policy().archive.packed_bytes_max,
            directory: shown.directory.clone(),
            certificate: shown.certificate.clone(),
            ready: shown.ready.clone(),
            identity: self.node_identity(),
            clock: Arc::new(SystemClock),
        };
        PeerServer::bind(self.config.peer.listen, parts).await.map_err(refused::peers)
    }

    fn evaluator(&self) -> Result<Evaluator, Failure> {
        let runs_dir = runs_dir(self.config)?;
        // What is left in there belongs to runs that are over.
        if runs_dir.exists() {
            std::fs::remove_dir_all(&runs_dir).map_err(refused::data_file)?;
        }
        Ok(Evaluator::new(EvaluatorParts {
            engine: self.prepared.host.engine.clone(),
            image: self.prepared.host.image,
            gates: Arc::clone(&self.prepared.gates),
            dataset: Arc::clone(&self.prepared.host.dataset),
            runs_dir,
            leftovers: self.prepared.host.leftovers.clone(),
        }))
    }

    /// Who is asked to review submissions, if somebody is.
    fn reviewer(&self) -> Result<Option<Arc<Reviewer>>, Failure> {
        let opened = Reviewer::open(&self.config.review).map_err(|error| {
            Failure::unavailable(error).hint("set another `review.api_key_file`, or none")
        })?;
        Ok(opened.map(Arc::new))
    }

    fn node_identity(&self) -> NodeIdentity {
        NodeIdentity {
            hotkey: self.prepared.own.hotkey,
            genesis: self.prepared.own.genesis,
            netuid: self.prepared.own.netuid,
            software_version: format!("assay {}", env!("CARGO_PKG_VERSION")),
        }
    }

    fn machine_config(&self, listens_on: SocketAddr) -> MachineConfig {
        let mut endpoints = self.config.peer.endpoints.clone();
        endpoints.insert(self.prepared.own.hotkey, reachable_from_here(listens_on));
        MachineConfig {
            hotkey: self.prepared.own.hotkey,
            netuid: self.prepared.own.netuid,
            mechanism: self.config.weights.mechanism,
            policy: self.prepared.gates.policy().clone(),
            image: self.prepared.host.image,
            dataset: self.prepared.host.dataset.digest(),
            references: references().iter().map(reference_work).collect(),
            endpoints,
            weights: match self.config.weights.mode {
                WeightsMode::Off => machine::WeightsMode::Off,
                WeightsMode::DryRun => machine::WeightsMode::DryRun,
                WeightsMode::Submit => machine::WeightsMode::Submit,
            },
            weights_lead: self.config.weights.lead_blocks,
            commit_form: self.config.weights.commit,
            review: self.config.review.rules(),
        }
    }
}

impl Assembled {
    async fn live(self) -> Result<ExitReason, HeartError> {
        let events = self.heart.performer.events.clone();
        let engine_watch = tokio::spawn(keep_asking(Arc::clone(&self.evaluator), events));
        let lived = self.heart.beat(self.first, self.sources, self.stopping).await;
        engine_watch.abort();
        self.evaluator.close().await;
        self.follower.abort();
        if let Some(publisher) = self.publisher {
            publisher.abort();
        }
        if !self.server.shutdown().await {
            tracing::warn!("peers' calls were cut off");
        }
        lived
    }
}

/// Where this node reaches its own service: an unspecified address listens on loopback too.
fn reachable_from_here(listens_on: SocketAddr) -> SocketAddr {
    if listens_on.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listens_on.port())
    } else {
        listens_on
    }
}

/// Archives as peers ask for them.
#[derive(Debug)]
struct Shared(Contents);

impl ContentSource for Shared {
    fn read(&self, content: node_core::id::ContentDigest) -> ContentFuture<'_> {
        Box::pin(async move { self.0.read(&content).await })
    }
}
