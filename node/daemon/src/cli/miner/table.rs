//! What validators say of a submission, as people read it: a list for one validator, a column each
//! for several.

use super::answers::{Evidence, Metrics, Queue, Run, Submission, Trial};
use super::validator::one_line;
use crate::status::{grouped, span, table};

/// Characters of a curve.
const CURVE_CHARS: usize = 48;

/// The lowest value to the highest.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Characters of a validator's column.
const COLUMN_CHARS: usize = 48;

/// Trials that are listed.
const TRIALS_MAX: usize = 16;

/// What is said of one submission: (name, text), in the order in which it matters.
pub(super) fn rows(submission: &Submission) -> Vec<(&'static str, String)> {
    let tier = submission.tier.map_or_else(String::new, |tier| format!(", tier {tier}"));
    let passage = submission.passage.as_deref().map_or_else(String::new, passage_text);
    let mut rows = vec![("state", format!("{}{tier}{passage}", one_line(&submission.status)))];
    rows.extend(submission.put_away_at.map(|block| {
        let text = format!("at block {}, long after it left the chain", grouped(block));
        ("put away", text)
    }));
    if submission.evidence.is_none() {
        rows.push(("because", one_line(&submission.detail)));
    }
    rows.extend(submission.evidence.iter().flat_map(evidence));
    rows.extend(submission.flags.iter().map(|flag| ("in shadow", flag_text(flag))));
    rows.extend(submission.queue.iter().flat_map(queue));
    rows.extend(submission.review.iter().map(|review| {
        let (model, opinion) = (one_line(&review.model), one_line(&review.opinion));
        ("review", format!("{model}: {opinion}, \"{}\"", one_line(&review.reason)))
    }));
    rows.extend(submission.runs.iter().map(|run| ("run", run_text(run))));
    if submission.final_score.is_none() {
        let told = submission.evaluation.as_deref().filter(|told| !told.is_empty());
        rows.extend(told.map(|told| ("evaluation", one_line(told))));
    }
    if submission.results_required > 0 {
        let (have, of) = (submission.evaluated_by.len(), submission.results_required);
        rows.push(("results", format!("{have} of {of} validators")));
    }
    rows.extend(submission.final_score.map(|score| {
        let tier =
            submission.score_tier.map_or_else(String::new, |tier| format!(" in tier {tier}"));
        ("score", format!("{score:.6}{tier}"))
    }));
    rows.extend(submission.trials.iter().take(TRIALS_MAX).map(|one| ("trial", trial(one))));
    rows.extend(submission.metrics.iter().flat_map(measured));
    rows
}

/// What becomes of it in its tier, behind the tier's number.
fn passage_text(passage: &str) -> String {
    match passage {
        "open" => ", who passes is not decided".to_owned(),
        "passes" => ", passes".to_owned(),
        "audit" => ", passes to see whether the tier errs".to_owned(),
        "out" => ", went no further".to_owned(),
        other => format!(", {}", one_line(other)),
    }
}

/// What a gate that only flags found.
fn flag_text(flag: &Evidence) -> String {
    let line = flag.line.map_or_else(String::new, |line| format!(":{line}"));
    let file = flag.file.as_deref().map_or_else(String::new, |file| format!(" in {file}{line}"));
    one_line(&format!("{}{file}: {}", flag.rule, flag.detail))
}

fn evidence(evidence: &Evidence) -> Vec<(&'static str, String)> {
    let mut rows =
        vec![("rule", one_line(&evidence.rule)), ("because", one_line(&evidence.detail))];
    let place = evidence.file.as_ref().map(|file| match evidence.line {
        Some(line) => format!("{}:{line}", one_line(file)),
        None => one_line(file),
    });
    rows.extend(place.map(|place| ("place", place)));
    rows.extend(evidence.snippet.as_ref().map(|snippet| ("snippet", one_line(snippet))));
    rows
}

fn queue(queue: &Queue) -> Vec<(&'static str, String)> {
    let mut rows = vec![("queue", format!("place {} of {}", queue.position, queue.length))];
    if let Some(moved) = &queue.moved {
        let because = one_line(&moved.because.join("; "));
        rows.push(("moved", format!("from {} to {}: {because}", moved.from, moved.to)));
    }
    rows
}

fn run_text(run: &Run) -> String {
    let what = format!("tier {} unit {}", run.tier, run.unit);
    let Some(progress) = &run.progress else {
        return format!("{what}, {}", one_line(&run.state));
    };
    let (done, all) = (progress.covered_bytes, progress.total_bytes);
    let percent = done.saturating_mul(100).checked_div(all).unwrap_or(0);
    let phase = one_line(&progress.phase).replace('_', " ");
    let mut parts =
        vec![format!("{what}, {phase}: {percent} % ({} of {} bytes)", grouped(done), grouped(all))];
    parts.extend(progress.bits_per_byte.map(|bpb| format!("{bpb:.4} bits per byte")));
    parts.extend(progress.bytes_per_second.map(|rate| format!("{} bytes/s", grouped(rate))));
    let left = |seconds: u64| format!("{} left", span(seconds.saturating_mul(1000)));
    parts.extend(progress.remaining_seconds.map(left));
    parts.join(", ")
}

fn trial(trial: &Trial) -> String {
    let what = format!("tier {} unit {}: {}", trial.tier, trial.unit, one_line(&trial.verdict));
    match (trial.score, &trial.ending) {
        (Some(score), _) => format!("{what} {score:.6}"),
        (None, Some(ending)) => format!("{what}, {}", one_line(ending)),
        (None, None) => what,
    }
}

fn measured(metrics: &Metrics) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    rows.extend(metrics.bits_per_byte.map(|bpb| {
        let bytes = grouped(metrics.covered_bytes);
        ("bits/byte", format!("{bpb:.4} over {bytes} bytes"))
    }));
    let (before, after) = (metrics.heldout_bits_per_byte_untrained, metrics.heldout_bits_per_byte);
    rows.push(("held out", format!("{before:.4} untrained, {after:.4} trained")));
    let idle = metrics.idle_parameters.filter(|idle| *idle > 0);
    let idle = idle
        .map_or_else(String::new, |idle| format!(", {} of them without a gradient", grouped(idle)));
    rows.push(("parameters", format!("{}{idle}", grouped(metrics.parameters))));
    if metrics.peak_device_bytes > 0 {
        rows.push((
            "memory",
            format!("{} MiB of its devices", grouped(metrics.peak_device_bytes >> 20)),
        ));
    }
    if !metrics.hooks_used.is_empty() {
        let used = metrics.hooks_used.iter();
        let used: Vec<String> = used.map(|(hook, uses)| format!("{hook} {uses}")).collect();
        rows.push(("hooks", one_line(&used.join(", "))));
    }
    if !metrics.flags.is_empty() {
        rows.push(("in shadow", one_line(&metrics.flags.join(", "))));
    }
    rows.extend(sparkline(&metrics.loss_curve).map(|curve| ("curve", curve)));
    rows
}

/// A curve in one line, with its first and last value; `None` for less than two points.
fn sparkline(values: &[f64]) -> Option<String> {
    let values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let (first, last) = (values.first()?, values.last()?);
    if values.len() < 2 {
        return None;
    }
    let chunk = values.len().div_ceil(CURVE_CHARS);
    let means: Vec<f64> =
        values.chunks(chunk).map(|some| some.iter().sum::<f64>() / count(some)).collect();
    let low = means.iter().copied().fold(f64::INFINITY, f64::min);
    let high = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let step = (high - low) / count(&LEVELS);
    let line: String = means.iter().map(|mean| level(*mean, low, step)).collect();
    Some(format!("{first:.3} {line} {last:.3}"))
}

/// How many there are: a curve has some hundred points.
#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
fn count<T>(some: &[T]) -> f64 {
    some.len() as f64
}

fn level(value: f64, low: f64, step: f64) -> char {
    let mut levels = LEVELS.iter().zip((1..=8_u8).map(f64::from));
    let found = levels.find(|(_, above)| value <= low + step * above);
    found.map_or('█', |(level, _)| *level)
}

/// One submission: a list, or a table with a column for each of several validators. A validator
/// that says nothing of it has a text in place of the rows.
pub(super) fn render(by_validator: &[(String, Result<Submission, String>)]) -> String {
    let mut out = String::new();
    let told = by_validator.iter().find_map(|(_, told)| told.as_ref().ok());
    if let Some(one) = told {
        for (name, text) in [
            ("submission", one_line(&one.id)),
            ("miner", one_line(&one.hotkey)),
            ("content", one_line(&one.code_hash)),
            ("committed", format!("in block {}", one.committed_at)),
        ] {
            out.push_str(&line(name, &text));
        }
    }
    match by_validator {
        [(_, Ok(submission))] => {
            for (name, text) in rows(submission) {
                out.push_str(&line(name, &text));
            }
        }
        _ => out.push_str(&columns(by_validator)),
    }
    out
}

fn line(name: &str, text: &str) -> String {
    format!("{name:<12}{text}\n")
}

fn columns(by_validator: &[(String, Result<Submission, String>)]) -> String {
    let names: Vec<String> = by_validator.iter().map(|(url, _)| one_line(url)).collect();
    let mut header = vec!["validator"];
    header.extend(names.iter().map(String::as_str));
    let mut table = table(&header);
    let columns: Vec<Vec<(&'static str, String)>> = by_validator
        .iter()
        .map(|(_, told)| match told {
            Ok(submission) => rows(submission),
            Err(why) => vec![("state", one_line(why))],
        })
        .collect();
    // Names as the first validator has them that does, each once.
    let mut order: Vec<&'static str> = Vec::new();
    for (name, _) in columns.iter().flatten() {
        if !order.contains(name) {
            order.push(name);
        }
    }
    for name in order {
        let cell = |column: &Vec<(&'static str, String)>| {
            let texts = column.iter().filter(|(of, _)| *of == name).map(|(_, text)| text.clone());
            wrapped(&texts.collect::<Vec<String>>().join("\n"))
        };
        let mut cells = vec![name.to_owned()];
        cells.extend(columns.iter().map(cell));
        table.add_row(cells);
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Lines of at most [`COLUMN_CHARS`], cut between words; a longer word stays whole.
fn wrapped(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut current = String::new();
        for word in line.split(' ') {
            let chars = current.chars().count().saturating_add(word.chars().count());
            if !current.is_empty() && chars >= COLUMN_CHARS {
                lines.push(std::mem::take(&mut current));
            }
            if !current.is_empty() {
                current.push(' ');
            }
            current.push_str(word);
        }
        lines.push(current);
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission(json: serde_json::Value) -> Submission {
        serde_json::from_value(json).unwrap()
    }

    fn running() -> Submission {
        submission(serde_json::json!({
            "id": "ab", "hotkey": "5F", "committed_at": 7, "code_hash": "cd",
            "status": "admitted", "detail": "admitted, its evaluation is not decided",
            "tier": 1,
            "queue": {"position": 2, "length": 4,
                "moved": {"from": 3, "to": 2, "because": ["0909 was before it and is scored"]}},
            "runs": [{"tier": 1, "unit": 0, "state": "running", "progress": {
                "phase": "training", "covered_bytes": 50_000, "total_bytes": 200_000,
                "bits_per_byte": 2.5, "bytes_per_second": 1_000, "remaining_seconds": 150}}],
            "results_required": 2, "evaluated_by": ["5G"]
        }))
    }

    fn rejected() -> Submission {
        submission(serde_json::json!({
            "id": "ab", "hotkey": "5F", "committed_at": 7, "code_hash": "cd",
            "status": "rejected", "detail": "rejected: source-process", "tier": 0,
            "evidence": {"rule": "source-process", "file": "training.py", "line": 3,
                "snippet": "de2a", "detail": "`os` may not be used"}
        }))
    }

    fn scored() -> Submission {
        submission(serde_json::json!({
            "id": "ab", "hotkey": "5F", "committed_at": 7, "code_hash": "cd",
            "status": "scored", "detail": "scored with 255000000 points", "tier": 2,
            "passage": "out", "final_score": 0.255, "score_tier": 2,
            "flags": [{"rule": "source-import", "file": "training.py", "line": 3,
                "detail": "`os` may not be imported"}],
            "results_required": 1, "evaluated_by": ["5G"],
            "trials": [{"tier": 1, "unit": 0, "verdict": "scored", "score": 0.255}],
            "metrics": {"bits_per_byte": 2.88, "heldout_bits_per_byte": 2.7,
                "heldout_bits_per_byte_untrained": 8.1, "covered_bytes": 200_000,
                "parameters": 361_000, "idle_parameters": 12, "peak_device_bytes": 5_000_000,
                "hooks_used": {"get_recipe": 1, "train_step": 195},
                "loss_curve": [8.0, 6.0, 4.0, 3.0, 2.5, 2.4, 2.3, 2.2]}
        }))
    }

    #[test]
    fn one_validator_is_a_list() {
        let one = |submission| render(&[("http://a".to_owned(), Ok(submission))]);
        insta::assert_snapshot!("miner_status_running", one(running()));
        insta::assert_snapshot!("miner_status_rejected", one(rejected()));
        insta::assert_snapshot!("miner_status_scored", one(scored()));
    }

    #[test]
    fn one_that_was_put_away_says_at_which_block() {
        let past = Submission { put_away_at: Some(7_200), ..scored() };
        let text = render(&[("http://a".to_owned(), Ok(past))]);
        let said = "put away    at block 7 200, long after it left the chain\n";
        assert!(text.contains(said), "{text}");
    }

    #[test]
    fn several_validators_are_columns_and_one_that_does_not_answer_is_named() {
        let told = [
            ("http://a".to_owned(), Ok(running())),
            ("http://b".to_owned(), Ok(rejected())),
            ("http://c".to_owned(), Err("does not answer".to_owned())),
        ];
        insta::assert_snapshot!("miner_status_columns", render(&told));
    }

    #[test]
    fn a_curve_falls_from_the_highest_level_to_the_lowest_and_is_shortened() {
        assert_eq!(sparkline(&[3.0]), None);
        assert_eq!(sparkline(&[]), None);
        assert_eq!(sparkline(&[2.0, 2.0]).unwrap(), "2.000 ▁▁ 2.000");
        assert_eq!(sparkline(&[8.0, 4.5, 1.0]).unwrap(), "8.000 █▄▁ 1.000");
        let long: Vec<f64> = (0..1_000).map(f64::from).collect();
        let line = sparkline(&long).unwrap();
        assert!(line.chars().filter(|c| LEVELS.contains(c)).count() <= CURVE_CHARS, "{line}");
        assert!(sparkline(&[f64::NAN, 1.0, f64::INFINITY]).is_none());
    }

    #[test]
    fn what_a_validator_says_cannot_move_the_cursor() {
        let mut hostile = rejected();
        hostile.status = "rej\u{1b}[2Jected".to_owned();
        hostile.evidence.as_mut().unwrap().detail = "a\nstate  scored".to_owned();
        let text = render(&[("http://a".to_owned(), Ok(hostile))]);
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("state  scored")), "{text}");
    }
}
