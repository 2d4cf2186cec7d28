//! Vector drawings: the only markup that does not come from a template, so it escapes for itself.
//!
//! Colours are classes of the stylesheet; an attribute `style` would be refused by the pages' own
//! content policy.

use std::fmt::{self, Display};

use askama::filters::HtmlSafe;

/// A finished drawing: markup that stands in a page as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Svg(String);

impl Display for Svg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Every text in it went through [`escaped`].
impl HtmlSafe for Svg {}

/// A point: to the right, and down.
pub(super) type Point = (f64, f64);

/// A drawing that is being made.
#[derive(Debug)]
pub(super) struct Canvas(String);

impl Canvas {
    /// An empty drawing.
    ///
    /// - `class`: how the stylesheet sizes it; where it does not, a unit is a pixel.
    /// - `label`: what it shows, for who does not see it.
    pub(super) fn new(class: &str, (width, height): Point, label: &str) -> Self {
        let label = escaped(label);
        Self(format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" \
             aria-label=\"{label}\"><title>{label}</title>"
        ))
    }

    /// An empty drawing that is stretched to the space it has.
    pub(super) fn stretched(class: &str, (width, height): Point, label: &str) -> Self {
        let label = escaped(label);
        Self(format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{label}\">\
             <title>{label}</title>"
        ))
    }

    /// A rectangle that says `title` where a pointer rests on it.
    pub(super) fn rect(&mut self, class: &str, (x, y): Point, (width, height): Point, title: &str) {
        self.0.push_str(&format!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
             height=\"{height:.1}\">"
        ));
        if !title.is_empty() {
            self.0.push_str(&format!("<title>{}</title>", escaped(title)));
        }
        self.0.push_str("</rect>");
    }

    /// A text.
    ///
    /// - `anchor`: `start`, `middle` or `end`: which part of it stands at the point.
    pub(super) fn text(&mut self, class: &str, (x, y): Point, anchor: &str, text: &str) {
        let text = escaped(text);
        self.0.push_str(&format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">\
             {text}</text>"
        ));
    }

    /// A straight line.
    pub(super) fn line(&mut self, class: &str, (x1, y1): Point, (x2, y2): Point) {
        self.0.push_str(&format!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    /// A line through points. One point alone is no line, and is not drawn.
    pub(super) fn polyline(&mut self, class: &str, points: &[Point]) {
        if points.len() < 2 {
            return;
        }
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        self.0.push_str(&format!("<polyline class=\"{class}\" points=\"{points}\"/>"));
    }

    /// A band from one vertical edge to another, each from its top to its bottom.
    pub(super) fn band(&mut self, class: &str, from: (f64, Point), to: (f64, Point)) {
        let ((x1, (top1, bottom1)), (x2, (top2, bottom2))) = (from, to);
        let middle = f64::midpoint(x1, x2);
        self.0.push_str(&format!(
            "<path class=\"{class}\" d=\"M{x1:.1} {top1:.1}C{middle:.1} {top1:.1} {middle:.1} \
             {top2:.1} {x2:.1} {top2:.1}L{x2:.1} {bottom2:.1}C{middle:.1} {bottom2:.1} \
             {middle:.1} {bottom1:.1} {x1:.1} {bottom1:.1}Z\"/>"
        ));
    }

    /// The drawing.
    pub(super) fn finish(mut self) -> Svg {
        self.0.push_str("</svg>");
        Svg(self.0)
    }
}

/// A number of things, as a length.
#[allow(clippy::cast_precision_loss, reason = "a drawing has a few hundred dots in a line")]
pub(super) fn length(number: u64) -> f64 {
    number as f64
}

/// A place in a row, as a number.
pub(super) fn place(index: usize) -> u64 {
    u64::try_from(index).unwrap_or(u64::MAX)
}

/// Text that is no markup. Control characters become blanks: a name must not break a line.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_a_drawing_cannot_leave_its_place() {
        let hostile = "\"><script>alert('x')</script>\n&";
        let mut canvas = Canvas::new("chart", (10.0, 10.0), hostile);
        canvas.rect("bar", (0.0, 0.0), (1.0, 1.0), hostile);
        canvas.text("text", (0.0, 0.0), "start", hostile);
        let svg = canvas.finish().to_string();
        assert!(!svg.contains("<script") && !svg.contains('\n'), "{svg}");
        let escaped = "&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp;";
        assert_eq!(svg.matches(escaped).count(), 4, "{svg}");
    }

    #[test]
    fn one_point_is_no_line() {
        let mut canvas = Canvas::new("chart", (10.0, 10.0), "empty");
        canvas.polyline("line", &[(1.0, 1.0)]);
        assert!(!canvas.finish().to_string().contains("polyline"));
    }
}
