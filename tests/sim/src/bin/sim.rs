//! Runs histories, replays their journals, makes them smaller.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand, ValueEnum};
use sim::fault::Fault;
use sim::history::{Filter, Replay, Step, Violation};
use sim::invariants::INVARIANTS;
use sim::plan::{Broken, Plan};
use sim::shrink::Effort;
use sim::{Failure, Report};

/// Exit code where an invariant was broken.
const FOUND: u8 = 1;

#[derive(Debug, Parser)]
#[command(name = "sim", about = "Simulates many nodes; one seed decides everything")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Lives histories, one per seed; stops at the first broken invariant.
    Run(RunArgs),
    /// Steps through a journal.
    Replay(ReplayArgs),
    /// Lists invariants and faults.
    List,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Every which seed: with several jobs each takes its share.
    #[arg(long, default_value_t = 1)]
    step: u64,
    #[command(flatten)]
    plan: PlanArgs,
    /// Where a broken history's journal goes.
    #[arg(long, default_value_os_t = std::env::temp_dir().join("sim-journals"))]
    journals: PathBuf,
    /// Write the journal of every history, broken or not.
    #[arg(long)]
    record: bool,
    /// Go on after a broken invariant.
    #[arg(long)]
    keep_going: bool,
    /// Histories to try for a smaller one that breaks the same; zero for none.
    #[arg(long, default_value_t = 60)]
    shrink: u64,
    /// Seconds to spend on that for one broken history.
    #[arg(long, default_value_t = 20)]
    shrink_seconds: u64,
    /// Say how each history went.
    #[arg(long)]
    verbose: bool,
}

#[derive(Debug, Args)]
struct PlanArgs {
    /// Nodes, instead of a drawn number.
    #[arg(long, requires = "submissions")]
    nodes: Option<usize>,
    /// Submissions, instead of a drawn number.
    #[arg(long, requires = "nodes")]
    submissions: Option<usize>,
    /// A fault with its rate, as `lost=100`; rate 0 takes it out. Repeatable.
    #[arg(long = "fault", value_name = "FAULT=RATE", value_parser = fault_rate)]
    faults: Vec<(Fault, u32)>,
    /// No faults but those named by `--fault`.
    #[arg(long)]
    calm: bool,
    /// For how long things go wrong, milliseconds.
    #[arg(long)]
    storm_ms: Option<u64>,
    /// Switch off a rule of the product.
    #[arg(long)]
    broken: Option<BrokenArg>,
    /// An invariant that is not checked. Repeatable.
    #[arg(long = "ignore", value_name = "INVARIANT")]
    ignored: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BrokenArg {
    FencingOff,
    EffectsBeforeCommit,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    /// The journal.
    file: PathBuf,
    /// Only this node.
    #[arg(long)]
    node: Option<usize>,
    /// Only what is about this submission.
    #[arg(long)]
    submission: Option<usize>,
    /// From this step on.
    #[arg(long)]
    from: Option<u64>,
    /// Up to this step.
    #[arg(long)]
    until: Option<u64>,
    /// After each event, the whole state of its node.
    #[arg(long)]
    state: bool,
}

fn fault_rate(text: &str) -> Result<(Fault, u32), String> {
    let (name, rate) = text.split_once('=').ok_or("a fault is given as NAME=RATE")?;
    let rate = rate.parse().map_err(|error| format!("`{rate}` is no rate: {error}"))?;
    Ok((name.parse()?, rate))
}

impl PlanArgs {
    fn plan(&self, seed: u64) -> Plan {
        let mut plan = match (self.nodes, self.submissions) {
            (Some(nodes), Some(submissions)) => Plan::of_size(seed, nodes, submissions),
            _ => Plan::draw(seed),
        };
        if self.calm {
            plan = plan.calm();
        }
        for (fault, rate) in &self.faults {
            plan = plan.with(*fault, *rate);
        }
        plan.storm_ms = self.storm_ms.unwrap_or(plan.storm_ms);
        plan.ignored.clone_from(&self.ignored);
        match self.broken {
            None => plan,
            Some(BrokenArg::FencingOff) => plan.breaking(Broken::FencingOff),
            Some(BrokenArg::EffectsBeforeCommit) => plan.breaking(Broken::EffectsBeforeCommit),
        }
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Task::Run(args) => run(&args),
        Task::Replay(args) => replay(&args),
        Task::List => list(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            let mut stderr = std::io::stderr().lock();
            // Where even that cannot be said, the exit code says it.
            drop(writeln!(stderr, "error: {error}"));
            ExitCode::from(2)
        }
    }
}

type Done = Result<ExitCode, Box<dyn std::error::Error>>;

/// The build, as its repository names it.
fn commit() -> String {
    let git = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    let said = git.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let named = said.and_then(|text| String::from_utf8(text).ok());
    named.map_or_else(
        || format!("version {}", env!("CARGO_PKG_VERSION")),
        |text| text.trim().to_owned(),
    )
}

fn run(args: &RunArgs) -> Done {
    let mut out = std::io::stdout().lock();
    let started = Instant::now();
    let (mut sum, mut lived, mut broken) = (Report::default(), 0_u64, 0_u64);
    for seed in (0..args.seeds).map(|index| args.from + index * args.step) {
        let plan = args.plan.plan(seed);
        let begun = Instant::now();
        let result = if args.record {
            journalled(&plan, &args.journals).map_err(|failure| failure.violation)
        } else {
            sim::run(&plan).map_err(|violation| *violation)
        };
        lived += 1;
        match result {
            Ok(report) => {
                sum.add(&report);
                if args.verbose {
                    let ms = begun.elapsed().as_millis();
                    let Plan { nodes, submissions, faults, .. } = &plan;
                    write!(
                        out,
                        "seed {seed}: {nodes} nodes, {submissions} submissions, {ms} ms, "
                    )?;
                    writeln!(out, "{report:?}, faults {faults}")?;
                }
            }
            Err(violation) => {
                broken += 1;
                // At once: to live it again with a journal takes longer than living it.
                let Violation { invariant, detail, step, at_ms, .. } = &violation;
                writeln!(
                    out,
                    "seed {seed} breaks {invariant} at step {step}, {at_ms} ms: {detail}"
                )?;
                out.flush()?;
                explain(&mut out, &plan, args)?;
                if !args.keep_going {
                    break;
                }
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    writeln!(
        out,
        "{lived} seeds, {broken} broken, {} events in {seconds:.1} s, {} simulated hours, \
         {} settled, {} ran out of attempts, {:?}",
        sum.steps,
        sum.simulated_ms / 3_600_000,
        sum.settled,
        sum.exhausted,
        sum.counts
    )?;
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

/// Lives a broken history again, with a journal, and looks for a smaller one.
fn explain(out: &mut impl Write, plan: &Plan, args: &RunArgs) -> std::io::Result<()> {
    let Err(failure) = journalled(plan, &args.journals) else {
        return writeln!(out, "seed {} did not break again: not deterministic", plan.seed);
    };
    writeln!(out, "{failure}")?;
    writeln!(out, "journal {}", journal_of(plan, &args.journals).display())?;
    if args.shrink > 0 {
        out.flush()?;
        let time_max = Duration::from_secs(args.shrink_seconds);
        let effort = Effort { tries_max: args.shrink, time_max };
        let shrunk = sim::shrink::shrink(plan, &failure.violation, effort);
        writeln!(
            out,
            "smaller, after {} tries: {} nodes, {} submissions, storm {} ms, faults {}, step {}",
            shrunk.tries,
            shrunk.plan.nodes,
            shrunk.plan.submissions,
            shrunk.plan.storm_ms,
            shrunk.plan.faults,
            shrunk.violation.step
        )?;
        let folder = args.journals.join("smaller");
        drop(journalled(&shrunk.plan, &folder));
        writeln!(out, "its journal {}", journal_of(&shrunk.plan, &folder).display())?;
    }
    Ok(())
}

fn journal_of(plan: &Plan, folder: &Path) -> PathBuf {
    folder.join(format!("seed-{}.jsonl", plan.seed))
}

/// Lives a history with a journal; without one where the file cannot be made.
fn journalled(plan: &Plan, folder: &Path) -> Result<Report, Box<Failure>> {
    let made =
        std::fs::create_dir_all(folder).and_then(|()| File::create(journal_of(plan, folder)));
    let sink = made.ok().map(|file| Box::new(BufWriter::new(file)) as Box<dyn Write>);
    sim::record(plan, &commit(), sink)
}

fn replay(args: &ReplayArgs) -> Done {
    let mut out = std::io::stdout().lock();
    let replay = Replay::open(BufReader::new(File::open(&args.file)?))?;
    writeln!(out, "{}", replay.header())?;
    let ReplayArgs { node, submission, from, until, .. } = *args;
    let mut trouble = Ok(());
    replay.step_through(&Filter { node, submission, from, until }, |step| {
        trouble = show(&mut out, &step, args.state);
        trouble.is_ok()
    })?;
    match trouble {
        // Whoever reads has seen enough, as with `| head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        other => Ok(other.map(|()| ExitCode::SUCCESS)?),
    }
}

fn show(out: &mut impl Write, step: &Step<'_>, with_state: bool) -> std::io::Result<()> {
    match step {
        Step::Failed(violation) => writeln!(out, "{violation}"),
        Step::Happened(entry, state) => {
            writeln!(out, "{entry}")?;
            if with_state && entry.is_event {
                for (name, value) in *state {
                    writeln!(out, "        {name}: {value}")?;
                }
            }
            Ok(())
        }
    }
}

fn list() -> Done {
    let mut out = std::io::stdout().lock();
    for invariant in INVARIANTS {
        writeln!(out, "{}: {}", invariant.name, invariant.says)?;
    }
    writeln!(out)?;
    for fault in Fault::ALL {
        writeln!(out, "{fault} (up to {}): {}", fault.rate_max(), fault.says())?;
    }
    Ok(ExitCode::SUCCESS)
}
