//! The chart: devices at work over time, and waits by size; readable on light and dark ground.

use std::fmt::Write as _;

use crate::report::{Summary, Waits};
use crate::trace::SIZES;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 780.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 24.0;
/// Top and bottom of the two panels.
const WORK: (f64, f64) = (104.0, 372.0);
const WAITS: (f64, f64) = (480.0, 736.0);
/// Minutes at which the axis of waits has a line.
const MINUTES: [(f64, &str); 6] = [
    (1.0, "1 min"),
    (10.0, "10 min"),
    (60.0, "1 h"),
    (240.0, "4 h"),
    (1_440.0, "1 d"),
    (5_760.0, "4 d"),
];

const STYLE: &str = "
  .ground { fill: #ffffff } .text { fill: #1f2328 } .soft { fill: #59636e }
  .grid { stroke: #d1d9e0; stroke-width: 1 } .bound { stroke: #59636e; stroke-dasharray: 4 4 }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round }
  .s0 { stroke: #0969da } .s1 { stroke: #bc4c00 } .s2 { stroke: #1a7f64 }
  .f0 { fill: #0969da } .f1 { fill: #bc4c00 } .f2 { fill: #1a7f64 }
  text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif }
  .title { font-size: 17px; font-weight: 600 } .head { font-size: 14px; font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } .text { fill: #f0f6fc } .soft { fill: #9198a1 }
    .grid { stroke: #2f3742 } .bound { stroke: #9198a1 }
    .s0 { stroke: #58a6ff } .s1 { stroke: #f0883e } .s2 { stroke: #3fc9a0 }
    .f0 { fill: #58a6ff } .f1 { fill: #f0883e } .f2 { fill: #3fc9a0 }
  }
";

struct Canvas(String);

impl Canvas {
    fn text(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        let at = format!("x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"");
        writeln!(self.0, "<text class=\"{class}\" {at}>{text}</text>").unwrap();
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let (x1, y1) = from;
        let (x2, y2) = to;
        let ends = format!("x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"");
        writeln!(self.0, "<line class=\"{class}\" {ends}/>").unwrap();
    }
}

/// Draws it.
#[must_use]
pub fn svg(title: &str, summaries: &[Summary]) -> String {
    let mut canvas = Canvas(String::new());
    let size = format!("width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\"");
    writeln!(canvas.0, "<svg xmlns=\"http://www.w3.org/2000/svg\" {size} role=\"img\">").unwrap();
    writeln!(canvas.0, "<title>{title}</title>\n<style>{STYLE}</style>").unwrap();
    writeln!(canvas.0, "<rect class=\"ground\" width=\"100%\" height=\"100%\"/>").unwrap();
    canvas.text(LEFT, 32.0, "text title", "start", title);
    legend(&mut canvas, summaries);
    work(&mut canvas, summaries);
    waits(&mut canvas, summaries);
    canvas.0.push_str("</svg>\n");
    canvas.0
}

fn legend(canvas: &mut Canvas, summaries: &[Summary]) {
    let mut x = LEFT;
    for (at, summary) in summaries.iter().enumerate() {
        canvas.line(&format!("line s{at}"), (x, 54.0), (x + 26.0, 54.0));
        let text = format!("{} ({:.3})", summary.name, summary.over_work_bound());
        canvas.text(x + 34.0, 58.0, "text", "start", &text);
        x += 64.0 + 7.2 * whole(text.len());
    }
    let text = "in parentheses: makespan / work bound";
    canvas.text(WIDTH - RIGHT, 58.0, "soft", "end", text);
}

#[allow(clippy::cast_precision_loss, reason = "hours and letters are few")]
fn whole(number: usize) -> f64 {
    number as f64
}

#[allow(clippy::cast_precision_loss, reason = "minutes of a trace are few")]
fn minutes(ms: u64) -> f64 {
    ms as f64 / 60_000.0
}

fn work(canvas: &mut Canvas, summaries: &[Summary]) {
    let (top, bottom) = WORK;
    let hours = summaries.iter().map(|summary| summary.hours.len()).max().unwrap_or(1).max(1);
    let step = if hours > 160 { 24 } else { 12 };
    let x = |hour: f64| LEFT + hour / whole(hours) * (WIDTH - LEFT - RIGHT);
    let y = |part: f64| bottom - part * (bottom - top);
    canvas.text(LEFT, top - 14.0, "text head", "start", "Devices at work, of those that are there");
    for quarter in 0..=4 {
        let part = f64::from(quarter) / 4.0;
        canvas.line("grid", (LEFT, y(part)), (WIDTH - RIGHT, y(part)));
        let text = format!("{} %", quarter * 25);
        canvas.text(LEFT - 8.0, y(part) + 4.0, "soft", "end", &text);
    }
    for hour in (0..=hours).step_by(step) {
        canvas.text(x(whole(hour)), bottom + 20.0, "soft", "middle", &format!("{hour} h"));
    }
    let bound = summaries.first().map_or(0.0, |summary| minutes(summary.work_bound_ms) / 60.0);
    canvas.line("bound", (x(bound), top), (x(bound), bottom));
    canvas.text(x(bound) - 6.0, bottom - 10.0, "soft", "end", "work bound");
    for (at, summary) in summaries.iter().enumerate().rev() {
        let points: Vec<String> = (0..)
            .zip(&summary.hours)
            .map(|(hour, part)| format!("{:.1},{:.1}", x(f64::from(hour) + 0.5), y(*part)))
            .collect();
        let points = points.join(" ");
        writeln!(canvas.0, "<polyline class=\"line s{at}\" points=\"{points}\"/>").unwrap();
    }
}

fn waits(canvas: &mut Canvas, summaries: &[Summary]) {
    let (top, bottom) = WAITS;
    let (least, most) = (MINUTES[0].0, MINUTES[MINUTES.len() - 1].0);
    let y = |minutes: f64| {
        let part = libm::log(minutes.clamp(least, most) / least) / libm::log(most / least);
        bottom - part * (bottom - top)
    };
    let head =
        "Waits by devices of a run: dot p50, thick line to p95, thin line to p99, bar longest";
    canvas.text(LEFT, top - 34.0, "text head", "start", head);
    let note = "logarithmic; waits below a minute are at the bottom";
    canvas.text(LEFT, top - 14.0, "soft", "start", note);
    for (at, name) in MINUTES {
        canvas.line("grid", (LEFT, y(at)), (WIDTH - RIGHT, y(at)));
        canvas.text(LEFT - 8.0, y(at) + 4.0, "soft", "end", name);
    }
    let group = (WIDTH - LEFT - RIGHT) / whole(SIZES.len());
    for (number, (size, _)) in SIZES.into_iter().enumerate() {
        let middle = LEFT + group * (whole(number) + 0.5);
        let name = format!("{size} {}", if size == 1 { "device" } else { "devices" });
        canvas.text(middle, bottom + 24.0, "text", "middle", &name);
        for (at, summary) in summaries.iter().enumerate() {
            let x = middle + (whole(at) - whole(summaries.len() - 1) / 2.0) * 44.0;
            let Waits { p50_ms, p95_ms, p99_ms, max_ms, .. } = summary.waits[&size];
            let [p50, p95, p99, longest] = [p50_ms, p95_ms, p99_ms, max_ms].map(minutes).map(y);
            canvas.line(&format!("s{at}"), (x, p95), (x, p99));
            let thick = format!("s{at}\" stroke-width=\"5");
            canvas.line(&thick, (x, p50), (x, p95));
            canvas.line(&format!("line s{at}"), (x - 9.0, longest), (x + 9.0, longest));
            let at_dot = format!("cx=\"{x:.1}\" cy=\"{p50:.1}\" r=\"6\"");
            writeln!(canvas.0, "<circle class=\"f{at}\" {at_dot}/>").unwrap();
        }
    }
}
