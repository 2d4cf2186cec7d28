//! Bars: a share of a whole in a row of a table, and a vector of weights by uid.

use super::canvas::{length, place, Canvas, Svg};

/// Size of the drawing of a vector.
const SIZE: (f64, f64) = (720.0, 190.0);
/// Left, right, top and bottom of where the bars stand.
const FIELD: [f64; 4] = [52.0, 712.0, 12.0, 160.0];
/// Uids written below the bars. Lower: one has to count. Higher: they run into each other.
const NAMES_MAX: usize = 16;

/// A bar as long as `part` is of `whole`.
pub(in crate::page) fn share(part: u64, whole: u64, label: &str) -> Svg {
    let width = if whole == 0 { 0.0 } else { 100.0 * length(part.min(whole)) / length(whole) };
    let mut canvas = Canvas::stretched("share", (100.0, 8.0), label);
    canvas.rect("ground", (0.0, 0.0), (100.0, 8.0), "");
    canvas.rect("fill-1", (0.0, 0.0), (width, 8.0), "");
    canvas.finish()
}

/// A vector: uid and weight, ascending by uid.
///
/// - `label`: what it shows, in words.
pub(in crate::page) fn weights(vector: &[(u16, u16)], label: &str) -> Svg {
    let [left, right, top, bottom] = FIELD;
    let mut canvas = Canvas::new("chart", SIZE, label);
    for quarter in 0..=4_u8 {
        let y = bottom - f64::from(quarter) / 4.0 * (bottom - top);
        canvas.line("grid", (left, y), (right, y));
        let name = format!("{} %", quarter * 25);
        canvas.text("soft", (left - 6.0, y + 4.0), "end", &name);
    }
    let step = (right - left) / length(place(vector.len().max(1)));
    let width = (step * 0.8).min(48.0);
    let named_every = vector.len().div_ceil(NAMES_MAX).max(1);
    for (index, (uid, weight)) in vector.iter().enumerate() {
        let middle = left + step * (length(place(index)) + 0.5);
        let height = f64::from(*weight) / f64::from(u16::MAX) * (bottom - top);
        let title = format!("uid {uid}: {weight} of {}", u16::MAX);
        let at = (middle - width / 2.0, bottom - height);
        canvas.rect("fill-1", at, (width, height), &title);
        if index.is_multiple_of(named_every) {
            canvas.text("soft", (middle, bottom + 18.0), "middle", &uid.to_string());
        }
    }
    canvas.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_nothing_and_more_than_all_stay_in_the_bar() {
        assert!(share(3, 0, "").to_string().contains("width=\"0.0\""));
        assert!(!share(3, 2, "").to_string().contains("150"));
    }

    #[test]
    fn every_uid_has_its_bar_and_few_have_a_name() {
        let vector: Vec<(u16, u16)> = (0..256).map(|uid| (uid, uid * 256)).collect();
        let svg = weights(&vector, "the vector").to_string();
        assert_eq!(svg.matches("fill-1").count(), 256);
        assert!(svg.contains("<title>uid 7: 1792 of 65535</title>"), "{svg}");
        assert_eq!(svg.matches("text-anchor=\"middle\"").count(), NAMES_MAX);
        assert!(weights(&[], "").to_string().ends_with("</svg>"));
    }
}
