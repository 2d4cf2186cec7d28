//! A model card as Markdown.

use std::collections::BTreeMap;

use node_core::evidence::ProbeFigure;
use node_core::funnel::{Scale, Task, TierReport, Trainer};
use node_core::reward::FamilyId;
use node_evaluator::probes::Probe;

use super::ModelCard;
use crate::cli::scaling;
use crate::status::{grouped, ChampionStatus, ReferenceStatus, UnitStatus};

/// The card.
pub(super) fn render(card: &ModelCard<'_>) -> String {
    let row = card.submission;
    let title = if card.is_winner { "the winner" } else { "a submission" };
    let mut text = format!("# Model card: {title}, {}\n\n", row.id.short());
    text.push_str(&lineage(card));
    text.push_str("\n## Scores\n\n");
    text.push_str(&scores(&row.units, row.points));
    text.push_str(&probe_tasks(&row.units, card.references));
    text.push_str("\n## Scaling\n\n");
    match (&card.fit, &card.no_fit) {
        (Some(fit), _) => text.push_str(&block(&scaling::fit_text(fit))),
        (None, Some(refused)) => text.push_str(&format!("No law is fitted: {refused}.\n")),
        (None, None) => {}
    }
    text.push_str("\n## Recommendation\n\n");
    match (&card.recommendation, &card.no_recommendation) {
        (Some(best), _) => text.push_str(&block(&scaling::recommendation_text(best))),
        (None, Some(refused)) => text.push_str(&format!("None: {refused}.\n")),
        (None, None) => text.push_str("No budget was named; `--flops` names one.\n"),
    }
    if !card.funnel.is_empty() {
        text.push_str("\n## The funnel\n\n");
        text.push_str(&funnel(card.funnel));
    }
    text
}

fn block(text: &str) -> String {
    format!("```text\n{text}```\n")
}

fn lineage(card: &ModelCard<'_>) -> String {
    let row = card.submission;
    let mut lines = vec![
        ("submission", row.id.to_string()),
        ("author", row.hotkey.to_string()),
        ("content", row.content.to_string()),
        ("committed", format!("in block {}", row.committed_at)),
    ];
    if let Some(place) = row.place {
        lines.push(("tier", place.tier.to_string()));
    }
    for family in &card.families {
        let holds = |champion: &ChampionStatus| champion.submission == Some(row.id);
        let quality = |champion: &ChampionStatus| thousandths(champion.quality_nano);
        let name = short(family.id);
        if holds(&family.architecture) {
            let of = quality(&family.architecture);
            lines.push((
                "architecture",
                format!("the best of family {name}, {of} of the reference"),
            ));
        }
        if let Some(recipe) = family.recipe.as_ref().filter(|recipe| holds(recipe)) {
            let adds = quality(recipe);
            lines.push(("recipe", format!("the best of family {name}, adds {adds}")));
        }
    }
    if let Some(held) = card.held {
        let (name, until) = (short(held.nearest), held.until);
        let text =
            format!("not paid before block {until}: most like family {name}, not clearly of it");
        lines.push(("held", text));
    }
    lines.iter().map(|(name, text)| format!("- {name}: {text}\n")).collect()
}

/// The beginning of a family's name.
fn short(family: FamilyId) -> String {
    family.0.to_string().chars().take(8).collect()
}

/// `1.070` of 1,070,000,000.
fn thousandths(nano: i64) -> String {
    let sign = if nano < 0 { "-" } else { "" };
    let milli = nano.unsigned_abs() / 1_000_000;
    format!("{sign}{}.{:03}", milli / 1_000, milli % 1_000)
}

fn scores(units: &[UnitStatus], first: Option<u64>) -> String {
    if units.is_empty() {
        let points = first.map_or_else(|| "none".to_owned(), grouped);
        return format!("Points of the first tier: {points}.\n");
    }
    let mut text = "| tier | what | seed | bits per byte | points | parameters | tokens |\n\
                    |---|---|---|---|---|---|---|\n"
        .to_owned();
    for unit in units.iter().filter(|unit| unit.probes.is_empty()) {
        let or_dash = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), grouped);
        let bits = unit.nanobpb.map_or_else(
            || "-".to_owned(),
            |nano| thousandths(i64::try_from(nano).unwrap_or(i64::MAX)),
        );
        let points = unit.ending.clone().unwrap_or_else(|| or_dash(unit.points));
        text.push_str(&format!(
            "| {} | {} | {} | {bits} | {points} | {} | {} |\n",
            unit.tier,
            task(&unit.plan.task),
            unit.plan.seed,
            or_dash(unit.parameters),
            or_dash(unit.tokens),
        ));
    }
    text
}

/// What the probe tasks came to, over their seeds, and beside it the references' mean scores;
/// nothing where none ran.
fn probe_tasks(units: &[UnitStatus], references: &[ReferenceStatus]) -> String {
    let by_task = probe_figures(units);
    if by_task.is_empty() {
        return String::new();
    }
    let mut text =
        "\n## Probe tasks\n\n| task | mean score | worst | loss, nats | floor, nats |".to_owned();
    for reference in references {
        text.push_str(&format!(" {} |", reference.name));
    }
    text.push_str(&format!("\n|---|---|---|---|---|{}\n", "---|".repeat(references.len())));
    let references: Vec<BTreeMap<u8, Vec<ProbeFigure>>> =
        references.iter().map(|reference| probe_figures(&reference.units)).collect();
    let suite = Probe::suite();
    for (task, figures) in by_task {
        let worst = figures.iter().map(|figure| figure.score_ppm).min().unwrap_or(0);
        let probe = suite.get(usize::from(task));
        let name = probe.map_or_else(|| task.to_string(), Probe::to_string);
        text.push_str(&format!(
            "| {name} | {} | {} | {} | {} |",
            millionths(mean(&figures, |figure| figure.score_ppm)),
            millionths(worst.into()),
            loss(probe, mean(&figures, |figure| figure.loss_micronats)),
            loss(probe, mean(&figures, |figure| figure.floor_micronats)),
        ));
        for reference in &references {
            let score = reference.get(&task);
            let score = score.map(|figures| mean(figures, |figure| figure.score_ppm));
            text.push_str(&format!(" {} |", score.map_or_else(|| "-".to_owned(), millionths)));
        }
        text.push('\n');
    }
    text
}

fn probe_figures(units: &[UnitStatus]) -> BTreeMap<u8, Vec<ProbeFigure>> {
    let mut by_task: BTreeMap<u8, Vec<ProbeFigure>> = BTreeMap::new();
    for figure in units.iter().flat_map(|unit| &unit.probes) {
        by_task.entry(figure.task).or_default().push(*figure);
    }
    by_task
}

fn mean(figures: &[ProbeFigure], of: fn(&ProbeFigure) -> u32) -> u64 {
    let sum: u64 = figures.iter().map(|figure| u64::from(of(figure))).sum();
    sum / u64::try_from(figures.len()).unwrap_or(u64::MAX).max(1)
}

/// A loss in nats; where a symbol is a byte of text also in what text is measured in.
fn loss(probe: Option<&Probe>, micronats: u64) -> String {
    let nats = millionths(micronats);
    match probe {
        Some(Probe::MiniLm) => {
            let bits = u128::from(micronats).saturating_mul(LOG2_E_MICRO) / 1_000_000;
            let bits = u64::try_from(bits).unwrap_or(u64::MAX);
            format!("{nats} ({} bits per byte)", millionths(bits))
        }
        Some(Probe::Copy { .. } | Probe::Induction { .. } | Probe::Reasoning) | None => nats,
    }
}

/// Bits of a nat, times 1e6.
const LOG2_E_MICRO: u128 = 1_442_695;

fn millionths(number: u64) -> String {
    thousandths(i64::try_from(number).unwrap_or(i64::MAX).saturating_mul(1_000))
}

fn task(task: &Task) -> String {
    let Task::Text { trainer, scale } = task else { return "probe tasks".to_owned() };
    let trainer = match trainer {
        Trainer::Own => "own trainer",
        Trainer::Reference => "reference trainer",
    };
    match scale {
        Scale::Quartered(0) => trainer.to_owned(),
        Scale::Quartered(times) => {
            let part = 4_u64.saturating_pow(u32::from(*times));
            format!("{trainer}, 1/{part} of the parameters")
        }
        Scale::LongSequences => format!("{trainer}, sequences of twice the length"),
        Scale::LargeBatches => format!("{trainer}, twice as large batches"),
    }
}

fn funnel(tiers: &[TierReport]) -> String {
    let mut text =
        "| tier | entered | scored | passed | audits | pass rate | device seconds | tau to \
                    the next | false negatives |\n|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for tier in tiers {
        let percent = |ppm: Option<u32>| {
            ppm.map_or_else(|| "-".to_owned(), |ppm| format!("{} %", ppm / 10_000))
        };
        let tau = tier.tau_to_next_ppm.map_or_else(
            || "-".to_owned(),
            |ppm| thousandths(i64::from(ppm).saturating_mul(1_000)),
        );
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} | {} | {tau} | {} |\n",
            tier.tier,
            tier.entered,
            tier.scored,
            tier.passed,
            tier.audits,
            percent(tier.pass_rate_ppm),
            tier.device_seconds,
            percent(tier.false_negatives_ppm),
        ));
    }
    text
}
