//! The funnel: how many came to each stage, and how many went on.

use super::canvas::{length, place, Canvas, Svg};

/// Width of one stage with the way to the next.
const STEP: f64 = 180.0;
/// Width of a stage's own bar.
const BAR: f64 = 16.0;
/// Top and bottom of where the highest bar stands.
const TOP: f64 = 44.0;
const BOTTOM: f64 = 168.0;
/// The drawing's height: lines of notes stand below the bars.
const HEIGHT: f64 = 250.0;
const NOTE_LINE: f64 = 17.0;

/// A stage of the funnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::page) struct Stage {
    /// What it is called.
    pub(in crate::page) name: String,
    /// How many came to it.
    pub(in crate::page) entered: u64,
    /// How many of those went on to the next.
    pub(in crate::page) passed: u64,
    /// What became of the others, a line each.
    pub(in crate::page) notes: Vec<String>,
}

/// The stages from left to right, the first of them the first.
pub(in crate::page) fn flow(stages: &[Stage]) -> Svg {
    let said: Vec<String> = stages
        .iter()
        .map(|stage| format!("{}: {} came, {} went on", stage.name, stage.entered, stage.passed))
        .collect();
    let width = STEP * length(place(stages.len().max(1)));
    let label = format!("The funnel. {}", said.join("; "));
    let mut canvas = Canvas::new("chart flow", (width, HEIGHT), &label);
    let most = stages.iter().map(|stage| stage.entered).max().unwrap_or(0).max(1);
    let height = |count: u64| (BOTTOM - TOP) * length(count.min(most)) / length(most);
    let left = |index: usize| 8.0 + STEP * length(place(index));
    for (index, pair) in stages.windows(2).enumerate() {
        let [stage, next] = pair else { continue };
        let from = (left(index) + BAR, (BOTTOM - height(stage.passed), BOTTOM));
        let to = (left(index + 1), (BOTTOM - height(next.entered), BOTTOM));
        if stage.passed > 0 && next.entered > 0 {
            canvas.band("flow-band", from, to);
        }
    }
    for (index, stage) in stages.iter().enumerate() {
        let x = left(index);
        // What is nothing is a line, so that the stage is seen to be there.
        let tall = height(stage.entered).max(1.0);
        let title = format!("{}: {} came, {} went on", stage.name, stage.entered, stage.passed);
        canvas.rect("fill-1", (x, BOTTOM - tall), (BAR, tall), &title);
        canvas.text("head", (x, 16.0), "start", &stage.name);
        canvas.text("count", (x, 35.0), "start", &stage.entered.to_string());
        let mut y = BOTTOM;
        for note in &stage.notes {
            y += NOTE_LINE;
            canvas.text("soft", (x, y), "start", note);
        }
    }
    canvas.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, entered: u64, passed: u64) -> Stage {
        let notes = vec!["1 rejected".to_owned()];
        Stage { name: name.to_owned(), entered, passed, notes }
    }

    #[test]
    fn every_stage_is_named_with_its_counts_and_joined_to_the_next() {
        let svg = flow(&[stage("Admission", 12, 9), stage("Tier 1", 9, 0), stage("Tier 2", 0, 0)]);
        let svg = svg.to_string();
        assert!(svg.contains("Admission: 12 came, 9 went on; Tier 1: 9 came"), "{svg}");
        assert_eq!(svg.matches("flow-band").count(), 1, "nothing flows to an empty stage");
        assert_eq!(svg.matches("1 rejected").count(), 3);
    }

    #[test]
    fn a_funnel_without_anything_in_it_is_drawn() {
        assert!(flow(&[stage("Admission", 0, 0)]).to_string().contains("height=\"1.0\""));
        assert!(flow(&[]).to_string().ends_with("</svg>"));
    }
}
