//! How GPUs fare, as it shows: sensors read again and again, and events when they happen.
//!
//! Each GPU has two threads of its own that call the driver, one for its sensors and one for its
//! events, so that a GPU that hangs delays no other. One more thread, which calls no driver, tells
//! them when to read, misses them when they do not answer, and hands on what they say. While a
//! reading hangs no second one is begun; what comes too late is dropped and read again.
//!
//! Slices share their GPU's sensors and events. What each has by itself is its memory, and the
//! errors that the driver can place at its GPU instance.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use node_core::health::observation::{Observation, Reading, Sample};
use node_core::inventory::{Device, DeviceId, DeviceKind};
use nvml_wrapper::Nvml;

use crate::deadline;
use crate::events::{self, Reported};
use crate::nvml;
use crate::sensors::{self, Seen};

/// What waits to be handed on. Lower: threads at the driver wait for a slow receiver sooner.
/// Higher: what is handed on is older.
const MESSAGES_MAX: usize = 256;

/// When sensors are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From one reading of a GPU to the next. Lower: the driver has more work. Higher: faults show
    /// later.
    pub every: Duration,
    /// How long a reading may take before the GPU counts as silent. Lower: one under load is taken
    /// for one that hangs. Higher: one that hangs is found later.
    pub answer_max: Duration,
}

/// Why devices cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The system gives no thread.
    #[error("cannot start a thread to watch {board}")]
    NoThread {
        /// Which GPU was to be watched.
        board: DeviceId,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Watches GPUs until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    messages: SyncSender<Message>,
    is_over: Arc<AtomicBool>,
    devices: Vec<DeviceId>,
}

#[derive(Debug)]
enum Message {
    Read { board: usize, seen: Seen },
    Reported { board: usize, reported: Reported },
    ReadNow { device: DeviceId, reply: SyncSender<Observation>, until: Instant },
    WhoIsDeaf { reply: SyncSender<BTreeMap<DeviceId, String>> },
    Stop,
}

impl Watcher {
    /// Begins to watch the GPUs and slices among `devices`; CPU slots have no sensors. Each GPU's
    /// sensors are read at once, and then as `pace` says.
    ///
    /// `report` is called on one thread, in the order in which things were seen. It must not wait
    /// long: nothing else is handed on meanwhile.
    ///
    /// A driver that is missing or does not start shows as sensors that cannot be read.
    ///
    /// # Errors
    ///
    /// [`WatchError::NoThread`] if the system gives no thread. Nothing is watched then.
    pub fn start(
        devices: &[Device],
        pace: Pace,
        report: impl FnMut(DeviceId, Observation) + Send + 'static,
    ) -> Result<Self, WatchError> {
        let (messages, inbox) = mpsc::sync_channel(MESSAGES_MAX);
        let is_over = Arc::new(AtomicBool::new(false));
        // What was started before a failure ends with this.
        let ids = |device: &Device| device.id.clone();
        let watched = devices.iter().filter(|device| device.kind != DeviceKind::CpuSlot);
        let devices = watched.clone().map(ids).collect();
        let watcher = Self { messages, is_over, devices };
        let mut boards = Vec::new();
        for (index, board) in boards_of(watched).into_iter().enumerate() {
            boards.push(watcher.start_board(index, board)?);
        }
        spawn("gpu watcher", move || supervise(boards, &inbox, pace, report))
            .map_err(|source| WatchError::NoThread { board: DeviceId("all".to_owned()), source })?;
        Ok(watcher)
    }

    /// Starts the two threads of one GPU.
    fn start_board(&self, index: usize, board: Board) -> Result<Watched, WatchError> {
        let failed = |source| WatchError::NoThread { board: board.id.clone(), source };
        let (ask, asks) = mpsc::sync_channel(1);
        let (copy, messages) = (board.clone(), self.messages.clone());
        spawn(&format!("gpu {index}: sensors"), move || read_on(index, &copy, &asks, &messages))
            .map_err(failed)?;
        let (id, messages) = (board.id.clone(), self.messages.clone());
        let is_over = Arc::clone(&self.is_over);
        spawn(&format!("gpu {index}: events"), move || {
            events::listen(&id, &is_over, &|reported| {
                // Who is gone needs to hear nothing.
                drop(messages.send(Message::Reported { board: index, reported }));
            });
        })
        .map_err(failed)?;
        Ok(Watched::new(board, ask))
    }

    /// Reads the sensors of `device` now, for example to see whether its memory is free, and waits
    /// for the answer for `limit` at most. The reading begins after the call. It is reported like
    /// every other.
    ///
    /// `None` if the device is not watched; [`Observation::Silent`] if there is no answer in time.
    #[must_use]
    pub fn read_now(&self, device: &DeviceId, limit: Duration) -> Option<Observation> {
        if !self.devices.contains(device) {
            return None;
        }
        let until = Instant::now() + limit;
        let (reply, answer) = mpsc::sync_channel(1);
        let message = Message::ReadNow { device: device.clone(), reply, until };
        let silent = Observation::Silent { waited_ms: millis(limit) };
        // With no room the receiver of what is reported does not keep up: the same as no answer.
        if self.messages.try_send(message).is_err() {
            return Some(silent);
        }
        Some(answer.recv_timeout(limit).unwrap_or(silent))
    }

    /// The devices whose events are not heard of at the moment, and why. Their sensors are read.
    /// Empty also if there is no answer within `limit`.
    #[must_use]
    pub fn deaf(&self, limit: Duration) -> BTreeMap<DeviceId, String> {
        let (reply, answer) = mpsc::sync_channel(1);
        match self.messages.try_send(Message::WhoIsDeaf { reply }) {
            Ok(()) => answer.recv_timeout(limit).unwrap_or_default(),
            Err(_) => BTreeMap::new(),
        }
    }
}

impl Drop for Watcher {
    /// Ends the threads that do not hang in the driver, each when it looks up next. Nothing waits
    /// for them.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Without room it ends when all who could send are gone.
        drop(self.messages.try_send(Message::Stop));
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A GPU and what of it is watched: itself, or its slices.
#[derive(Clone, Debug)]
struct Board {
    id: DeviceId,
    is_device: bool,
    slices: Vec<(DeviceId, u32)>,
}

/// The GPUs that the devices are or belong to.
fn boards_of<'a>(devices: impl Iterator<Item = &'a Device>) -> Vec<Board> {
    let mut boards: BTreeMap<DeviceId, Board> = BTreeMap::new();
    for device in devices {
        let id = device.board().clone();
        let fresh = || Board { id: id.clone(), is_device: false, slices: Vec::new() };
        let board = boards.entry(id.clone()).or_insert_with(fresh);
        match device.gpu.as_ref().and_then(|gpu| gpu.slice.as_ref()) {
            None => board.is_device = true,
            Some(slice) => board.slices.push((device.id.clone(), slice.gpu_instance)),
        }
    }
    boards.into_values().collect()
}

impl Board {
    fn has(&self, device: &DeviceId) -> bool {
        let is_own = self.is_device && self.id == *device;
        is_own || self.slices.iter().any(|(slice, _)| slice == device)
    }

    /// What is seen at each device.
    fn observations(&self, seen: &Seen) -> Vec<(DeviceId, Observation)> {
        match seen {
            Seen::Lost { detail } => self.each(&Observation::Lost { detail: detail.clone() }),
            Seen::Sampled(sample, held) => {
                let own = self.is_device.then(|| (self.id.clone(), sample.as_ref().clone()));
                let of_slice = |((id, _), held): (&(DeviceId, u32), &Reading<u64>)| {
                    let sample =
                        Sample { memory_used_mib: held.clone(), ..sample.as_ref().clone() };
                    (id.clone(), sample)
                };
                let slices = self.slices.iter().zip(held).map(of_slice);
                let samples = own.into_iter().chain(slices);
                samples.map(|(id, sample)| (id, Observation::Sampled(sample))).collect()
            }
        }
    }

    /// The same at each device.
    fn each(&self, observation: &Observation) -> Vec<(DeviceId, Observation)> {
        let own = self.is_device.then_some(&self.id);
        let ids = own.into_iter().chain(self.slices.iter().map(|(id, _)| id));
        ids.map(|id| (id.clone(), observation.clone())).collect()
    }

    /// At the slices of one GPU instance; at all devices if none is in it.
    fn at(&self, instance: Option<u32>, observation: &Observation) -> Vec<(DeviceId, Observation)> {
        let is_there = |id: &DeviceId| {
            self.slices.iter().any(|(slice, at)| slice == id && Some(*at) == instance)
        };
        let all = self.each(observation);
        let there: Vec<_> = all.iter().filter(|(id, _)| is_there(id)).cloned().collect();
        if there.is_empty() {
            all
        } else {
            there
        }
    }
}

/// The thread that reads one GPU's sensors, each time it is asked.
fn read_on(index: usize, board: &Board, asks: &Receiver<()>, messages: &SyncSender<Message>) {
    let slices: Vec<DeviceId> = board.slices.iter().map(|(id, _)| id.clone()).collect();
    // Held from one reading to the next, because starting the library is slow.
    let mut held: Option<Arc<Nvml>> = None;
    while asks.recv().is_ok() {
        let read = || {
            let nvml = match held.take().map_or_else(nvml::open, Ok) {
                Ok(nvml) => nvml,
                Err(error) => {
                    return sensors::unreadable(&nvml::said("NVML", &error), slices.len())
                }
            };
            let seen = sensors::sample(&nvml, &board.id, &slices);
            held = Some(nvml);
            seen
        };
        let seen = deadline::quietly(read).unwrap_or_else(|words| {
            sensors::unreadable(&format!("the library panicked: {words}"), slices.len())
        });
        if messages.send(Message::Read { board: index, seen }).is_err() {
            return;
        }
    }
}

/// A reading that has begun.
struct Asked {
    at: Instant,
    /// When it is missed next.
    missed_at: Instant,
    is_late: bool,
}

/// Somebody who waits for a reading.
struct Waiting {
    device: DeviceId,
    reply: SyncSender<Observation>,
    until: Instant,
    /// Whether the reading that is under way began after the question.
    is_asked: bool,
}

/// One GPU, and where its readings are.
struct Watched {
    board: Board,
    ask: SyncSender<()>,
    asked: Option<Asked>,
    due: Instant,
    waiting: Vec<Waiting>,
    /// Why its events are not heard of.
    deaf: Option<String>,
}

impl Watched {
    fn new(board: Board, ask: SyncSender<()>) -> Self {
        let deaf = Some("its events are about to be waited for".to_owned());
        Self { board, ask, asked: None, due: Instant::now(), waiting: Vec::new(), deaf }
    }

    /// Begins a reading that is due, and misses one that is late.
    fn step(&mut self, now: Instant, pace: Pace) -> Vec<(DeviceId, Observation)> {
        self.waiting.retain(|waiting| waiting.until > now);
        if let Some(asked) = &mut self.asked {
            if now < asked.missed_at {
                return Vec::new();
            }
            asked.is_late = true;
            asked.missed_at = now + pace.every;
            let waited_ms = millis(now.saturating_duration_since(asked.at));
            return self.board.each(&Observation::Silent { waited_ms });
        }
        let is_due = self.due <= now || !self.waiting.is_empty();
        if is_due && self.ask.try_send(()).is_ok() {
            self.asked = Some(Asked { at: now, missed_at: now + pace.answer_max, is_late: false });
            self.due = now + pace.every;
            self.waiting.iter_mut().for_each(|waiting| waiting.is_asked = true);
        }
        Vec::new()
    }

    /// When to look here again.
    fn next(&self) -> Instant {
        let awaited = self.asked.as_ref().map_or(self.due, |asked| asked.missed_at);
        self.waiting.iter().map(|waiting| waiting.until).fold(awaited, Instant::min)
    }

    /// A reading has ended.
    fn end_reading(&mut self, now: Instant, seen: &Seen) -> Vec<(DeviceId, Observation)> {
        if self.asked.take().is_none_or(|asked| asked.is_late) {
            // Nobody knows which of its values are from before it hung.
            self.due = now;
            self.waiting.iter_mut().for_each(|waiting| waiting.is_asked = false);
            return Vec::new();
        }
        let observations = self.board.observations(seen);
        let (asked, later) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting: &Waiting| waiting.is_asked);
        self.waiting = later;
        for waiting in asked {
            if let Some((_, own)) = observations.iter().find(|(id, _)| *id == waiting.device) {
                // Who gave up waiting needs no answer.
                drop(waiting.reply.send(own.clone()));
            }
        }
        observations
    }

    /// The driver has reported something.
    fn hear(&mut self, now: Instant, reported: Reported) -> Vec<(DeviceId, Observation)> {
        match reported {
            Reported::Xid { code, gpu_instance } => {
                self.board.at(gpu_instance, &Observation::Xid { code })
            }
            Reported::DoubleBit => self.board.each(&Observation::EccUncorrected),
            Reported::SingleBit => {
                // The counters say how many there are.
                self.due = now;
                Vec::new()
            }
            Reported::Lost { detail } => {
                self.deaf = Some(detail.clone());
                self.board.each(&Observation::Lost { detail })
            }
            Reported::Listening(outcome) => {
                self.deaf = outcome.err();
                Vec::new()
            }
        }
    }
}

/// The thread that all others answer to. It never calls the driver.
fn supervise(
    mut boards: Vec<Watched>,
    inbox: &Receiver<Message>,
    pace: Pace,
    mut report: impl FnMut(DeviceId, Observation),
) {
    loop {
        let now = Instant::now();
        let missed = boards.iter_mut().flat_map(|board| board.step(now, pace));
        missed.for_each(|(device, observation)| report(device, observation));
        let next = boards.iter().map(Watched::next).min().unwrap_or(now + pace.every);
        let message = match inbox.recv_timeout(next.saturating_duration_since(now)) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let now = Instant::now();
        let seen = match message {
            Message::Stop => return,
            Message::Read { board, seen } => {
                boards.get_mut(board).map(|board| board.end_reading(now, &seen))
            }
            Message::Reported { board, reported } => {
                boards.get_mut(board).map(|board| board.hear(now, reported))
            }
            Message::ReadNow { device, reply, until } => {
                let has = |board: &&mut Watched| board.board.has(&device);
                if let Some(board) = boards.iter_mut().find(has) {
                    board.waiting.push(Waiting { device, reply, until, is_asked: false });
                }
                None
            }
            Message::WhoIsDeaf { reply } => {
                let deaf =
                    |watched: &Watched| Some((watched.board.id.clone(), watched.deaf.clone()?));
                drop(reply.send(boards.iter().filter_map(deaf).collect()));
                None
            }
        };
        for (device, observation) in seen.into_iter().flatten() {
            report(device, observation);
        }
    }
}
