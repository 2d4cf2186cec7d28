//! A loss curve: bits per byte over the training text.

use super::canvas::{length, place, Canvas, Point, Svg};
use super::scale::Scale;
use crate::status::micro;

/// Size of the drawing.
const SIZE: (f64, f64) = (720.0, 260.0);
/// Left, right, top and bottom of where the curve runs.
const FIELD: [f64; 4] = [56.0, 708.0, 12.0, 224.0];
/// Lines of the grid, about. Lower: values are guessed. Higher: names run into each other.
const LINES: u64 = 6;

/// The curve; `None` for less than two points, which are none.
///
/// - `points`: bits per byte, times 1e6, in the order of the text.
pub(in crate::page) fn loss(points: &[u32]) -> Option<Svg> {
    let (first, last) = (points.first()?, points.last().filter(|_| points.len() > 1)?);
    let (least, most) = (points.iter().min()?, points.iter().max()?);
    let scale = Scale::of(*least, *most, LINES);
    let [left, right, top, bottom] = FIELD;
    let height = |value: u64| bottom - scale.part(value) * (bottom - top);
    let label = format!(
        "Bits per byte over the training text, {} points: {} at first, {} at last, {} at the least",
        points.len(),
        micro(u64::from(*first)),
        micro(u64::from(*last)),
        micro(u64::from(*least)),
    );
    let mut canvas = Canvas::new("chart", SIZE, &label);
    for value in scale.lines() {
        let y = height(value);
        canvas.line("grid", (left, y), (right, y));
        canvas.text("soft", (left - 6.0, y + 4.0), "end", &scale.name(value));
    }
    let last_place = length(place(points.len() - 1));
    let across = |index: usize| left + (right - left) * length(place(index)) / last_place;
    let line: Vec<Point> = points
        .iter()
        .enumerate()
        .map(|(index, value)| (across(index), height(u64::from(*value))))
        .collect();
    canvas.polyline("line-1", &line);
    canvas.text("soft", (left, bottom + 22.0), "start", "start of the text");
    canvas.text("soft", (right, bottom + 22.0), "end", "its end");
    Some(canvas.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_says_in_words_where_it_begins_and_ends() {
        let svg = loss(&[8_000_000, 2_500_000, 1_904_250]).unwrap().to_string();
        let said = "3 points: 8.0000 at first, 1.9043 at last, 1.9043 at the least";
        assert!(svg.contains(said), "{svg}");
        assert!(svg.contains("polyline"), "{svg}");
    }

    #[test]
    fn the_lines_of_its_grid_stand_at_round_numbers() {
        let svg = loss(&[8_000_000, 3_353_961]).unwrap().to_string();
        for name in ["3", "4", "5", "6", "7", "8"] {
            assert!(svg.contains(&format!(">{name}</text>")), "{name}: {svg}");
        }
    }

    #[test]
    fn a_level_curve_is_drawn_and_a_single_point_is_not() {
        assert!(loss(&[2_000_000; 5]).unwrap().to_string().contains("polyline"));
        assert!(loss(&[u32::MAX, 0]).is_some());
        assert_eq!(loss(&[1]), None);
        assert_eq!(loss(&[]), None);
    }
}
