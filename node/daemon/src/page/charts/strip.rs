//! A device over time: what it did, and how busy and how warm it was.

use node_core::unit::UnixMs;

use super::canvas::{length, Canvas, Point, Svg};
use crate::page::history::{DeviceMoment, KEPT_MS, SAMPLE_EVERY_MS};
use crate::status::{span, DeviceState};

/// Size of the drawing.
const SIZE: (f64, f64) = (720.0, 112.0);
const LEFT: f64 = 44.0;
const RIGHT: f64 = 712.0;
/// Top and height of the strip of states.
const STATES: (f64, f64) = (4.0, 16.0);
/// Top and bottom of the lines of readings.
const READINGS: (f64, f64) = (30.0, 90.0);
/// Readings reach from 0 to here: percent, or degrees Celsius.
const READING_MAX: u32 = 100;

/// The moments of a device, the oldest first, in the window that ends at `until`.
///
/// - `name`: the device's.
pub(in crate::page) fn strip(name: &str, moments: &[DeviceMoment], until: UnixMs) -> Svg {
    let from = until.0.saturating_sub(KEPT_MS);
    let x = |at: UnixMs| {
        let since = at.0.saturating_sub(from).min(KEPT_MS);
        LEFT + (RIGHT - LEFT) * length(since) / length(KEPT_MS)
    };
    let busy: Vec<Point> = line(moments, |moment| moment.utilisation_percent, x);
    let warm: Vec<Point> = line(moments, |moment| moment.temperature_c, x);
    let mut canvas = Canvas::new("chart strip", SIZE, &label(name, moments));
    let floor = STATES.0 + STATES.1;
    canvas.line("grid", (LEFT, floor), (RIGHT, floor));
    let width = (RIGHT - LEFT) * length(SAMPLE_EVERY_MS) / length(KEPT_MS);
    for moment in moments {
        // A moment stands for the time up to it.
        let tall = STATES.1 * part(moment.state);
        let at = ((x(moment.at) - width).max(LEFT), floor - tall);
        let ago = span(until.0.saturating_sub(moment.at.0));
        let title = format!("{} {ago} ago", moment.state.name());
        canvas.rect(state_class(moment.state), at, (width + 0.3, tall), &title);
    }
    for reading in [0, READING_MAX / 2, READING_MAX] {
        let y = height(reading);
        canvas.line("grid", (LEFT, y), (RIGHT, y));
        canvas.text("soft", (LEFT - 6.0, y + 4.0), "end", &reading.to_string());
    }
    canvas.polyline("line-1", &busy);
    canvas.polyline("line-2", &warm);
    let began = format!("{} ago", span(KEPT_MS));
    canvas.text("soft", (LEFT, SIZE.1 - 5.0), "start", &began);
    canvas.text("soft", (RIGHT, SIZE.1 - 5.0), "end", "now");
    canvas.finish()
}

/// How the stylesheet paints a state.
pub(in crate::page) fn state_class(state: DeviceState) -> &'static str {
    match state {
        DeviceState::Running => "fill-1",
        DeviceState::Free => "fill-free",
        DeviceState::NotUsed => "ground",
        DeviceState::Unusable => "fill-bad",
        DeviceState::Gone => "fill-gone",
    }
}

/// How high a state stands: who does not tell the colours apart sees it by that.
fn part(state: DeviceState) -> f64 {
    match state {
        DeviceState::Running => 1.0,
        DeviceState::Unusable => 0.65,
        DeviceState::Free => 0.35,
        DeviceState::NotUsed => 0.25,
        DeviceState::Gone => 0.15,
    }
}

fn height(reading: u32) -> f64 {
    let (top, bottom) = READINGS;
    let part = f64::from(reading.min(READING_MAX)) / f64::from(READING_MAX);
    bottom - part * (bottom - top)
}

fn line(
    moments: &[DeviceMoment],
    reading: impl Fn(&DeviceMoment) -> Option<u32>,
    x: impl Fn(UnixMs) -> f64,
) -> Vec<Point> {
    let read = moments.iter().filter_map(|moment| Some((moment.at, reading(moment)?)));
    read.map(|(at, value)| (x(at), height(value))).collect()
}

/// How often it was in which state, and the newest readings.
fn label(name: &str, moments: &[DeviceMoment]) -> String {
    let Some(last) = moments.last() else {
        return format!("{name} over time: nothing is known yet");
    };
    let is_running = |moment: &&DeviceMoment| moment.state == DeviceState::Running;
    let running = moments.iter().filter(is_running).count();
    let percent = running * 100 / moments.len();
    let mut said = format!("{name} over time: at work in {percent} % of the moments");
    said.push_str(&format!(", now {}", last.state.name()));
    if let Some(busy) = last.utilisation_percent {
        said.push_str(&format!(", {busy} % busy"));
    }
    if let Some(warm) = last.temperature_c {
        said.push_str(&format!(", {warm} °C"));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_drawn_where_it_was_seen_and_said_in_words() {
        let until = UnixMs(KEPT_MS * 2);
        let moment = |ago_ms: u64, state| DeviceMoment {
            at: UnixMs(until.0 - ago_ms),
            state,
            utilisation_percent: Some(97),
            temperature_c: Some(61),
        };
        let moments = [moment(30_000, DeviceState::Running), moment(0, DeviceState::Free)];
        let svg = strip("<gpu>", &moments, until).to_string();
        let said =
            "&lt;gpu&gt; over time: at work in 50 % of the moments, now free, 97 % busy, 61 °C";
        assert!(svg.contains(said), "{svg}");
        assert!(svg.contains("<title>running 30 s ago</title>"), "{svg}");
        assert_eq!(svg.matches("polyline").count(), 2);
        let empty = strip("gpu", &[], until).to_string();
        assert!(empty.contains("nothing is known yet"), "{empty}");
    }
}
