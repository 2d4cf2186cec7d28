//! The least of a smooth function of one or two numbers, by Nelder and Mead's simplex.

/// A point of at most two coordinates; the second stays what it is where there is one only.
pub(super) type Point = [f64; 2];

/// Walks downhill from `start`.
///
/// - `step`: how far the first simplex reaches.
/// - `evaluations`: how often the function may be asked.
pub(super) fn minimum(
    dimensions: usize,
    start: Point,
    step: f64,
    evaluations: usize,
    of: &mut dyn FnMut(Point) -> f64,
) -> (Point, f64) {
    let mut simplex: Vec<(Point, f64)> = vec![(start, of(start))];
    for dimension in 0..dimensions {
        let mut point = start;
        if let Some(coordinate) = point.get_mut(dimension) {
            *coordinate += step;
        }
        simplex.push((point, of(point)));
    }
    let mut left = evaluations.saturating_sub(simplex.len());
    while left > 0 {
        simplex.sort_by(|one, other| one.1.total_cmp(&other.1));
        let (Some(best), Some(worst)) = (simplex.first().copied(), simplex.pop()) else { break };
        let next_worst = simplex.last().map_or(best.1, |vertex| vertex.1);
        if spread(&simplex, &worst.0) < 1e-7 {
            simplex.push(worst);
            break;
        }
        let center = mean(&simplex);
        let mut ask = |factor: f64| {
            let point = along(center, worst.0, factor);
            left = left.saturating_sub(1);
            (point, of(point))
        };
        let reflected = ask(-1.0);
        let vertex = if reflected.1 < best.1 {
            let expanded = ask(-2.0);
            if expanded.1 < reflected.1 {
                expanded
            } else {
                reflected
            }
        } else if reflected.1 < next_worst {
            reflected
        } else {
            let outside = reflected.1 < worst.1;
            let contracted = ask(if outside { -0.5 } else { 0.5 });
            if contracted.1 < worst.1.min(reflected.1) {
                contracted
            } else {
                for vertex in &mut simplex {
                    if vertex.0 != best.0 {
                        vertex.0 = along(best.0, vertex.0, 0.5);
                        vertex.1 = of(vertex.0);
                        left = left.saturating_sub(1);
                    }
                }
                let point = along(best.0, worst.0, 0.5);
                left = left.saturating_sub(1);
                (point, of(point))
            }
        };
        simplex.push(vertex);
    }
    let least = simplex.into_iter().min_by(|one, other| one.1.total_cmp(&other.1));
    least.unwrap_or((start, f64::INFINITY))
}

fn along(center: Point, point: Point, factor: f64) -> Point {
    let [x, y] = center;
    let [px, py] = point;
    [x + factor * (px - x), y + factor * (py - y)]
}

fn mean(simplex: &[(Point, f64)]) -> Point {
    #[allow(clippy::cast_precision_loss, reason = "at most three")]
    let count = simplex.len().max(1) as f64;
    let sum = simplex.iter().fold([0.0; 2], |[x, y], ([px, py], _)| [x + px, y + py]);
    let [x, y] = sum;
    [x / count, y / count]
}

fn spread(simplex: &[(Point, f64)], worst: &Point) -> f64 {
    let distance = |(point, _): &(Point, f64)| {
        let [x, y] = along([0.0; 2], [point[0] - worst[0], point[1] - worst[1]], 1.0);
        x.abs().max(y.abs())
    };
    simplex.iter().map(distance).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bottom_of_a_bent_valley_is_found() {
        let mut valley = |[x, y]: Point| (1.0 - x) * (1.0 - x) + 100.0 * (y - x * x).powi(2);
        let (point, least) = minimum(2, [-1.2, 1.0], 0.5, 400, &mut valley);
        assert!(least < 1e-8 && (point[0] - 1.0).abs() < 1e-3, "{point:?}");
        let (point, _) = minimum(1, [5.0, 7.0], 1.0, 100, &mut |[x, _]| (x - 2.0) * (x - 2.0));
        assert!((point[0] - 2.0).abs() < 1e-5 && (point[1] - 7.0).abs() < 1e-12, "{point:?}");
    }
}
