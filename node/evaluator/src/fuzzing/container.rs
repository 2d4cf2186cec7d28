//! All that a container says to the meter, and a submission's tokenizer file.

use std::sync::OnceLock;

use node_core::id::Digest;
use node_core::outcome::{Ending, Fault};
use node_core::policy::{MeterRules, Policy, UntrainedRules};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use super::{Broken, Reading};
use crate::archive::Archive;
use crate::dataset::{prepare, Dataset};
use crate::meter::{run_meter, MeterPlan, Progress};
use crate::tokenizer::Tokenizer;

/// A text with several widths of characters, which each tokenizer has to survive.
const TEXT: &str =
    "in the beginning 1234\n\n  \u{e5}ngstr\u{f6}m \u{5730}\u{1f980}\0 !filler <|end|>";

/// All that a container says, from its first byte to its last: the measurement has to end, as a
/// name says whose fault it was.
pub(super) fn meter_channel(bytes: &[u8]) -> Result<Reading, Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|_| Broken::AnotherEnd)?;
    let ending = runtime.block_on(ending_after(bytes)).map_err(|_| Broken::AnotherEnd)?;
    match ending.fault() {
        Fault::None | Fault::Submission => Ok(Reading::Taken),
        // The container named GPUs, and was given none.
        Fault::Infrastructure if matches!(ending, Ending::DeviceFailed { .. }) => {
            Ok(Reading::Refused)
        }
        Fault::Infrastructure | Fault::Worker => Err(Broken::AnotherEnd),
    }
}

async fn ending_after(bytes: &[u8]) -> Result<Ending, String> {
    // One batch of two sequences of four bytes: its predictions are 8 KiB.
    let rules = MeterRules {
        train_bytes: 8,
        heldout_bytes: 8,
        batch_sequences: 2,
        sequence_tokens: 4,
        ..Policy::dev().meter
    };
    let dataset = dataset()?;
    // Seven probes of one or two sequences of four bytes.
    let gate = UntrainedRules {
        causality_tokens: vec![4],
        causality_cuts: 1,
        batch_tokens: 4,
        batch_sequences: 2,
        finite_tokens: vec![4],
        ..UntrainedRules::short()
    };
    let seed = Digest([0; 32]);
    let plan = MeterPlan::new(dataset, &rules, &seed).map_err(|e| e.to_string())?;
    let plan = plan.through_gate(&gate, &seed);
    let (ours, theirs) = tokio::io::duplex(1 << 12);
    let archive = Archive { files: std::collections::BTreeMap::new() };
    let progress = watch::Sender::new(Progress::default());
    let (mut hears, mut says) = tokio::io::split(theirs);
    let speaking = async {
        // A meter that has hung up is an end like any other.
        drop(says.write_all(bytes).await);
        drop(says.shutdown().await);
    };
    let hearing = async {
        let mut heard = Vec::new();
        drop(hears.read_to_end(&mut heard).await);
    };
    let meter = run_meter(ours, &archive, plan, &progress);
    let (outcome, (), ()) = tokio::join!(meter, speaking, hearing);
    let has_result = outcome.metrics.is_some();
    if has_result == (outcome.ending == Ending::Completed) {
        Ok(outcome.ending)
    } else {
        Err(format!("{outcome:?}"))
    }
}

/// Some text, prepared once per process.
fn dataset() -> Result<&'static Dataset, String> {
    static DATASET: OnceLock<Result<Dataset, String>> = OnceLock::new();
    let made = DATASET.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("assay-fuzz-{}", std::process::id()));
        let text: String = (0..60_000_u64).map(|n| format!("{n} and {}\n\n", n * 7_919)).collect();
        let input = dir.join("text");
        std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
        std::fs::write(&input, text).map_err(|error| error.to_string())?;
        let made = prepare(&[input], &dir.join("data")).map_err(|error| error.to_string());
        // Its files stay open.
        std::fs::remove_dir_all(&dir).map_err(|error| error.to_string())?;
        made
    });
    made.as_ref().map_err(Clone::clone)
}

/// A tokenizer file: refused, or the tokens of a text stand for it.
pub(super) fn tokenizer(bytes: &[u8]) -> Result<Reading, Broken> {
    let Ok(tokenizer) = Tokenizer::read(bytes, &Policy::dev().meter.tokens) else {
        return Ok(Reading::Refused);
    };
    let Ok(ids) = tokenizer.encode(TEXT) else { return Ok(Reading::Refused) };
    let covered: u64 = ids.iter().map(|id| tokenizer.bytes_of(*id)).sum();
    let is_known = ids.iter().all(|id| *id < tokenizer.start_mark());
    if is_known && covered == TEXT.len() as u64 {
        Ok(Reading::Taken)
    } else {
        Err(Broken::NotTheSame)
    }
}
