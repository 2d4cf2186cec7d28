//! What the meter costs a run: `scripts/benchmark-meter` runs this and says what the figures mean.
//!
//! ```text
//! meter DATASET VOCABULARY BATCHES ROUNDS
//! ```
//!
//! Each round trains the same submission for as many batches in the evaluator image in turns: with
//! the meter outside; with a stand-in for it inside that asks the same and looks at nothing; and
//! with one that does not even ask. The first two differ by the meter and its channel.

#![allow(clippy::print_stdout, reason = "a program whose result is what it prints")]

mod vocabulary;

use std::error::Error;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use node_core::id::Digest;
use node_core::outcome::Ending;
use node_core::policy::Policy;
use node_evaluator::archive::{pack, read_archive, Archive};
use node_evaluator::dataset::{Dataset, Split};
use node_evaluator::meter::{run_meter, MeterPlan, Phase, Progress};
use node_evaluator::tokenizer::Tokenizer;
use node_evaluator::SHIM;
use tokio::net::UnixListener;
use tokio::process::{Child, Command};
use tokio::sync::watch;

type Failed = Box<dyn Error + Send + Sync>;

const IMAGE: &str = "assay-evaluator:cpu";

/// A transformer of two layers and a width of 128.
const SUBMISSION: &str = "reference/transformer-rope";

/// The stand-in.
const ALONE: &str = include_str!("alone.py");

/// What all rounds have in common.
struct Bench {
    dataset: Dataset,
    archive: Archive,
    policy: Policy,
    tokenizer: Option<Vec<u8>>,
    vocabulary: u32,
    batches: u64,
    dir: tempfile::TempDir,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dataset, vocabulary, batches, rounds] = arguments.as_slice() else {
        return Err("say DATASET VOCABULARY BATCHES ROUNDS".into());
    };
    let dataset = Dataset::open(Path::new(dataset))?;
    let bench = Bench::new(dataset, vocabulary.parse()?, batches.parse()?)?;
    let mut spent: [Vec<Spent>; 3] = Default::default();
    for _ in 0..rounds.parse::<u32>()? {
        spent[0].push(bench.metered().await?);
        spent[1].push(bench.alone("asking").await?);
        spent[2].push(bench.alone("bare").await?);
    }
    let wall = spent.each_ref().map(|spent| median(spent.iter().map(|one| one.wall)));
    let inside = spent.each_ref().map(|spent| median(spent.iter().map(|one| one.inside)));
    let outside = median(spent[0].iter().map(|one| one.outside));
    // Round by round: a machine that is slower for a while is so for both.
    let cost = |others: &[Spent]| {
        let pairs = spent[0].iter().zip(others);
        (median(pairs.map(|(metered, other)| metered.wall / other.wall)) - 1.0) * 100.0
    };
    let clock = format!(
        "{:.2} | {:.2} | {:+.1} % | {:.2} | {:+.1} %",
        wall[0],
        wall[1],
        cost(&spent[1]),
        wall[2],
        cost(&spent[2])
    );
    let cpu = format!("{:.2} + {outside:.2}, {:.2}, {:.2}", inside[0], inside[1], inside[2]);
    println!("| {vocabulary} | {batches} | {clock} | {cpu} |");
    Ok(())
}

/// Seconds that training took: of the clock, of CPU time in the container, and of CPU time here.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    wall: f64,
    inside: f64,
    outside: f64,
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// CPU time of this process, seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which ends in the last bracket: user and system time are fields 14 and 15,
    // in ticks of ten milliseconds.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}

impl Bench {
    fn new(dataset: Dataset, vocabulary: u32, batches: u64) -> Result<Self, Failed> {
        let mut policy = Policy::dev();
        policy.meter.heldout_bytes = 8_192;
        // The embedding of a large vocabulary alone is more than the policy allows.
        let embedding = u64::from(vocabulary) * 40;
        policy.meter.parameters_max = policy.meter.parameters_max.max(embedding);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(SUBMISSION);
        let packed = pack(&source, &policy.archive)?;
        let archive = read_archive(&packed.bytes, &policy.archive)
            .map_err(|rejection| rejection.to_string())?;
        let batch = u64::from(policy.meter.batch_sequences * policy.meter.sequence_tokens);
        policy.meter.train_bytes = batches * batch;
        let tokenizer = (vocabulary > 256)
            .then(|| vocabulary::tokenizer(&text(&dataset)?, vocabulary))
            .transpose()?;
        if let Some(json) = &tokenizer {
            // As many bytes as about so many batches cover.
            let read = Tokenizer::read(json, &policy.meter.tokens)?;
            let sample = text(&dataset)?.chars().take(65_536).collect::<String>();
            let tokens = read.encode(&sample).map_err(|error| error.to_string())?.len() as u64;
            policy.meter.train_bytes = batches * batch * sample.len() as u64 / tokens;
        }
        let dir = tempfile::tempdir()?;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
        for (name, text) in [("shim.py", SHIM), ("alone.py", ALONE)] {
            std::fs::write(dir.path().join(name), text)?;
        }
        // The stand-in trains on such text as the meter does: what random tokens take differs.
        let ids = ids(&dataset, tokenizer.as_deref(), &policy)?;
        std::fs::write(dir.path().join("text.bin"), ids)?;
        Ok(Self { dataset, archive, policy, tokenizer, vocabulary, batches, dir })
    }

    /// With the meter outside.
    async fn metered(&self) -> Result<Spent, Failed> {
        let socket = self.dir.path().join("meter.sock");
        std::fs::remove_file(&socket).ok();
        let listener = UnixListener::bind(&socket)?;
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666))?;
        let rules = &self.policy.meter;
        let seed = Digest([7; 32]);
        let plan = match &self.tokenizer {
            None => MeterPlan::new(&self.dataset, rules, &seed)?,
            Some(json) => {
                let tokenizer = Tokenizer::read(json, &rules.tokens)?;
                MeterPlan::with_tokenizer(&self.dataset, rules, &seed, tokenizer)?
            }
        };
        let container = self.container(&self.arguments("metered"))?;
        let (stream, _) = listener.accept().await?;
        let (progress, mut watched) = watch::channel(Progress::default());
        let timing = tokio::spawn(async move {
            let mut since = None;
            while watched.changed().await.is_ok() {
                match watched.borrow_and_update().phase {
                    Phase::Training => since = since.or(Some(cpu_seconds())),
                    Phase::HeldOutAfter => break,
                    _ => {}
                }
            }
            cpu_seconds() - since.unwrap_or(f64::NAN)
        });
        let outcome = run_meter(stream, &self.archive, plan, &progress).await;
        if outcome.ending != Ending::Completed {
            return Err(outcome.ending.to_string().into());
        }
        let done = outcome.metrics.map_or(0, |metrics| metrics.batches);
        let spent = Spent { outside: timing.await?, ..told(container).await? };
        // For as many batches as the others have.
        #[allow(clippy::cast_precision_loss, reason = "some hundred batches")]
        let scale = self.batches as f64 / f64::from(done);
        let Spent { wall, inside, outside } = spent;
        Ok(Spent { wall: wall * scale, inside: inside * scale, outside: outside * scale })
    }

    /// With a stand-in inside.
    async fn alone(&self, mode: &str) -> Result<Spent, Failed> {
        let files = self.archive.files.iter();
        let files: std::collections::BTreeMap<&str, std::borrow::Cow<'_, str>> =
            files.map(|(path, text)| (path.as_str(), String::from_utf8_lossy(text))).collect();
        let files = serde_json::to_string(&files)?;
        std::fs::write(self.dir.path().join("files.json"), files)?;
        told(self.container(&self.arguments(mode))?).await
    }

    fn arguments(&self, mode: &str) -> Vec<String> {
        let rules = &self.policy.meter;
        let numbers = [
            u64::from(self.vocabulary),
            self.batches,
            u64::from(rules.batch_sequences),
            u64::from(rules.sequence_tokens),
            rules.parameters_max,
        ];
        let words = ["/assay/alone.py", mode].map(str::to_owned);
        words.into_iter().chain(numbers.map(|number| number.to_string())).collect()
    }

    fn container(&self, arguments: &[String]) -> Result<Child, Failed> {
        let bind = format!("{}:/assay:ro", self.dir.path().display());
        let mut command = Command::new("docker");
        command.args(["run", "--rm", "--network", "none", "--read-only", "--cpus", "1"]);
        command.args(["--tmpfs", "/tmp:size=64m", "--user", "65534:65534", "-v", &bind]);
        for threads in ["OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "PYTHONHASHSEED=0"] {
            command.args(["-e", threads]);
        }
        command.args([IMAGE, "python3", "-I", "-u"]).args(arguments);
        Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)
    }
}

/// What the program in the container says: seconds of the clock, and of CPU time.
async fn told(container: Child) -> Result<Spent, Failed> {
    let output = container.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stdout);
    let mut numbers = said.split_whitespace().map(str::parse::<f64>);
    let (wall, inside) = numbers.next().zip(numbers.next()).ok_or("it said nothing")?;
    Ok(Spent { wall: wall?, inside: inside?, outside: 0.0 })
}

/// Training text as tokens, each in as many bytes as its vocabulary takes.
fn ids(dataset: &Dataset, tokenizer: Option<&[u8]>, policy: &Policy) -> Result<Vec<u8>, Failed> {
    let text = text(dataset)?;
    let Some(json) = tokenizer else { return Ok(text.into_bytes()) };
    let ids = Tokenizer::read(json, &policy.meter.tokens)?.encode(&text);
    let ids = ids.map_err(|error| error.to_string())?;
    ids.into_iter()
        .map(|id| Ok(u16::try_from(id)?.to_le_bytes()))
        .collect::<Result<Vec<_>, Failed>>()
        .map(|ids| ids.concat())
}

/// Some megabytes of training text.
fn text(dataset: &Dataset) -> Result<String, Failed> {
    let bytes = usize::try_from(dataset.bytes(Split::Train).min(4 << 20))?;
    let mut text = vec![0; bytes];
    dataset.read(Split::Train, 0, &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
