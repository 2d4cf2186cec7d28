//! What a history comes to, in numbers and as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use node_core::limits::{PRIORITY_MAX, PRIORITY_STEP_MS};

use crate::replay::{History, Level};
use crate::trace::{Job, Trace, LIMIT_MS_MAX, SHARES, SIZES};

const HOUR_MS: u64 = 3_600_000;

/// In which order a scheduler means to serve jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By arrival, all in one queue.
    Arrival,
    /// Each share for itself, by arrival with a head start for priorities.
    ShareAndPriority,
}

/// Waits from the arrival to the first start, ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// Jobs.
    pub jobs: usize,
    /// Half of them waited no longer.
    pub p50_ms: u64,
    /// 95 of 100 waited no longer.
    pub p95_ms: u64,
    /// 99 of 100 waited no longer.
    pub p99_ms: u64,
    /// The longest.
    pub max_ms: u64,
}

/// What a history comes to.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Who decided.
    pub name: &'static str,
    /// From the first arrival to the last end, ms.
    pub makespan_ms: u64,
    /// [`Trace::work_bound_ms`].
    pub work_bound_ms: u64,
    /// [`Trace::longest_bound_ms`].
    pub longest_bound_ms: u64,
    /// Devices with a run, of those that were there, until the end.
    pub utilisation: f64,
    /// The same without work that outages destroyed.
    pub useful: f64,
    /// Devices with a run, of those that were there, while anything waited.
    pub busy_while_waiting: f64,
    /// Of the work that started before the last job arrived, the parts of the shares.
    pub shares: Vec<f64>,
    /// Waits by size.
    pub waits: BTreeMap<u8, Waits>,
    /// The longest that a job waited after all that come before it had started, ms.
    pub first_max_ms: u64,
    /// Jobs that waited as the first for longer than the longest time limit.
    pub starved: usize,
    /// Device time that outages destroyed, ms.
    pub destroyed_ms: u64,
    /// Devices with a run, of those that were there, in each hour.
    pub hours: Vec<f64>,
}

impl Summary {
    /// Sums a history up.
    #[must_use]
    pub fn of(trace: &Trace, history: &History, order: Order) -> Self {
        let makespan_ms = history.fates.iter().map(|fate| fate.done_ms).max().unwrap_or(0);
        let usable_ms = integral(&history.levels, |level| level.usable, |_| true);
        let work_ms: u64 = trace.jobs.iter().map(Job::work_ms).sum();
        let taken_ms = integral(&history.levels, |level| level.busy, |_| true);
        let busy_ms = integral(&history.levels, |level| level.busy, |level| level.waiting > 0);
        let able_ms = integral(&history.levels, |level| level.usable, |level| level.waiting > 0);
        let firsts = waits_as_first(trace, history, order);
        Self {
            name: history.name,
            makespan_ms,
            work_bound_ms: trace.work_bound_ms(),
            longest_bound_ms: trace.longest_bound_ms(),
            utilisation: ratio(taken_ms, usable_ms),
            useful: ratio(work_ms, usable_ms),
            busy_while_waiting: ratio(busy_ms, able_ms),
            shares: shares(trace, history),
            waits: SIZES.iter().map(|(size, _)| (*size, waits(trace, history, *size))).collect(),
            first_max_ms: firsts.iter().copied().max().unwrap_or(0),
            starved: firsts.iter().filter(|wait| **wait > LIMIT_MS_MAX).count(),
            destroyed_ms: history.destroyed_ms,
            hours: hours(&history.levels),
        }
    }

    /// The makespan as a multiple of what total work needs at least.
    #[must_use]
    pub fn over_work_bound(&self) -> f64 {
        ratio(self.makespan_ms, self.work_bound_ms)
    }
}

#[allow(clippy::cast_precision_loss, reason = "times of a trace are below 2^53 ms")]
fn ratio(part: u64, of: u64) -> f64 {
    part as f64 / of.max(1) as f64
}

fn integral(
    levels: &[Level],
    value: impl Fn(&Level) -> u32,
    counts: impl Fn(&Level) -> bool,
) -> u64 {
    let steps = levels.windows(2).filter(|step| counts(&step[0]));
    steps.map(|step| u64::from(value(&step[0])) * (step[1].from_ms - step[0].from_ms)).sum()
}

fn hours(levels: &[Level]) -> Vec<f64> {
    let end_ms = levels.last().map_or(0, |level| level.from_ms);
    let mut hours = vec![(0u64, 0u64); usize::try_from(end_ms / HOUR_MS).unwrap() + 1];
    for step in levels.windows(2) {
        let mut from_ms = step[0].from_ms;
        while from_ms < step[1].from_ms {
            let hour = from_ms / HOUR_MS;
            let until_ms = step[1].from_ms.min((hour + 1) * HOUR_MS);
            let (busy, usable) = &mut hours[usize::try_from(hour).unwrap()];
            *busy += u64::from(step[0].busy) * (until_ms - from_ms);
            *usable += u64::from(step[0].usable) * (until_ms - from_ms);
            from_ms = until_ms;
        }
    }
    hours.into_iter().map(|(busy, usable)| ratio(busy, usable)).collect()
}

fn waits(trace: &Trace, history: &History, size: u8) -> Waits {
    let of_size = trace.jobs.iter().zip(&history.fates).filter(|(job, _)| job.count == size);
    let mut waits: Vec<u64> = of_size.map(|(job, fate)| fate.started_ms - job.arrives_ms).collect();
    waits.sort_unstable();
    let at = |percent: usize| {
        let index = (waits.len() * percent).div_ceil(100).max(1) - 1;
        waits.get(index).copied().unwrap_or(0)
    };
    Waits { jobs: waits.len(), p50_ms: at(50), p95_ms: at(95), p99_ms: at(99), max_ms: at(100) }
}

/// How long each job waited after all had started that come before it in its order.
fn waits_as_first(trace: &Trace, history: &History, order: Order) -> Vec<u64> {
    let key = |job: &Job| match order {
        Order::Arrival => (0, job.arrives_ms),
        Order::ShareAndPriority => {
            let behind = u64::from(PRIORITY_MAX - job.priority);
            (job.share, job.arrives_ms + behind * PRIORITY_STEP_MS)
        }
    };
    let mut jobs: Vec<_> = trace.jobs.iter().zip(&history.fates).collect();
    jobs.sort_by_key(|(job, _)| key(job));
    let mut before: BTreeMap<u16, u64> = BTreeMap::new();
    let wait = |(job, fate): (&Job, &crate::replay::Fate)| {
        let last = before.entry(key(job).0).or_default();
        let first_since = job.arrives_ms.max(*last);
        *last = fate.started_ms.max(*last);
        fate.started_ms.saturating_sub(first_since)
    };
    jobs.into_iter().map(wait).collect()
}

/// Parts of the shares in the work that was started before the last job arrived.
fn shares(trace: &Trace, history: &History) -> Vec<f64> {
    let until_ms = trace.jobs.last().map_or(0, |job| job.arrives_ms);
    let mut sums: BTreeMap<u16, u64> = SHARES.iter().map(|(share, _)| (*share, 0)).collect();
    for (job, fate) in trace.jobs.iter().zip(&history.fates) {
        if fate.started_ms <= until_ms {
            *sums.entry(job.share).or_default() += job.work_ms();
        }
    }
    let sum = sums.values().sum();
    sums.into_values().map(|part| ratio(part, sum)).collect()
}

/// `2 h 05 min`, `12 min`, `40 s`.
fn time(ms: u64) -> String {
    let (hours, minutes) = (ms / HOUR_MS, ms % HOUR_MS / 60_000);
    match (hours, minutes) {
        (0, 0) => format!("{} s", ms / 1000),
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes:02} min"),
    }
}

fn hundredths(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

/// Two tables: what the schedulers made of the devices, and how long jobs waited.
#[must_use]
pub fn markdown(summaries: &[Summary]) -> String {
    let mut text = String::new();
    let mut row = |cells: Vec<String>| {
        writeln!(text, "| {} |", cells.join(" | ")).unwrap();
    };
    let columns = |name: &str, value: &dyn Fn(&Summary) -> String| {
        let mut cells = vec![name.to_owned()];
        cells.extend(summaries.iter().map(value));
        cells
    };
    row(columns("", &|summary| summary.name.to_owned()));
    row(columns("---", &|_| "---".to_owned()));
    row(columns("makespan", &|s| time(s.makespan_ms)));
    row(columns("makespan / work bound", &|s| format!("{:.3}", s.over_work_bound())));
    row(columns("utilisation", &|s| hundredths(s.utilisation)));
    row(columns("utilisation, while anything waits", &|s| hundredths(s.busy_while_waiting)));
    row(columns("utilisation, useful work", &|s| hundredths(s.useful)));
    row(columns("longest wait as the first", &|s| time(s.first_max_ms)));
    row(columns("starved", &|s| s.starved.to_string()));
    row(columns("work of the three challenges", &|s| {
        let parts = s.shares.iter().map(|part| format!("{:.0}", part * 100.0));
        parts.collect::<Vec<_>>().join(" : ")
    }));
    row(columns("device time that outages destroyed", &|s| time(s.destroyed_ms)));
    text.push('\n');
    text.push_str("| devices | jobs | scheduler | p50 | p95 | p99 | longest |\n");
    text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    for (size, _) in SIZES {
        for summary in summaries {
            let Waits { jobs, p50_ms, p95_ms, p99_ms, max_ms } = summary.waits[&size];
            let cells = [p50_ms, p95_ms, p99_ms, max_ms].map(time).join(" | ");
            writeln!(text, "| {size} | {jobs} | {} | {cells} |", summary.name).unwrap();
        }
    }
    text
}

/// One row for each seed: what the table of one seed cannot show.
#[must_use]
pub fn seeds(rows: &[(u64, [Summary; 3])]) -> String {
    let mut text = String::new();
    let names = rows.first().map(|(_, all)| all.each_ref().map(|summary| summary.name));
    let names = names.unwrap_or_default().join(" | ");
    writeln!(text, "| seed | {names} | {names} | {names} |").unwrap();
    writeln!(text, "|{}", " --- |".repeat(10)).unwrap();
    for (seed, all) in rows {
        let over = all.each_ref().map(|summary| format!("{:.3}", summary.over_work_bound()));
        let used = all.each_ref().map(|summary| hundredths(summary.utilisation));
        let starved = all.each_ref().map(|summary| summary.starved.to_string());
        let cells = [over, used, starved].map(|cells| cells.join(" | ")).join(" | ");
        writeln!(text, "| {seed} | {cells} |").unwrap();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_gets_its_part_of_a_level_that_spans_several() {
        let level = |from_ms, busy| Level { from_ms, busy, usable: 4, waiting: 1 };
        let levels = [level(0, 4), level(HOUR_MS / 2, 2), level(2 * HOUR_MS, 0)];
        assert_eq!(hours(&levels), [0.75, 0.5, 0.0]);
        let busy_ms = integral(&levels, |level| level.busy, |level| level.waiting > 0);
        assert_eq!(busy_ms, HOUR_MS * 2 + HOUR_MS * 3);
    }
}
