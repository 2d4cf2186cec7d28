//! Scaling laws as text for people.

use node_core::scaling::{Fit, Interval, Law, LawIntervals, Optimum, Plan, Recommendation};

/// The plan as a table.
pub(super) fn plan(plan: &Plan) -> String {
    let mut text = format!(
        "{} runs for a {} fit, {:.3e} floating point operations\n\n",
        plan.runs.len(),
        plan.level,
        plan.flops
    );
    text.push_str(&format!("{:>14} {:>16} {:>5} {:>12}\n", "parameters", "tokens", "seed", "FLOP"));
    for run in &plan.runs {
        let (parameters, tokens) = (run.parameters, run.tokens);
        text.push_str(&format!(
            "{parameters:>14} {tokens:>16} {:>5} {:>12.3e}\n",
            run.seed, run.flops
        ));
    }
    text
}

/// What the runs say.
pub(in crate::cli) fn fit(fit: &Fit) -> String {
    let slope = fit.slope;
    let mut text = format!("evidence   {}\n", fit.evidence);
    text.push_str(&format!("level      {}\n", fit.level));
    text.push_str(&format!(
        "slope      {:.4} of ln L per ln N ({:.4} to {:.4})\n",
        slope.slope, slope.interval.low, slope.interval.high
    ));
    if let (Some(law), Some(intervals)) = (&fit.law, &fit.intervals) {
        text.push_str(&constants(law, intervals));
    }
    match &fit.hold_out {
        Some(held) => text.push_str(&format!(
            "hold-out   {} parameters, from the smaller sizes: {:+.2} % (worst run {:.2} %)\n",
            short(as_f64(held.parameters)),
            held.relative_error * 100.0,
            held.relative_error_max * 100.0
        )),
        None => text.push_str("hold-out   too few sizes to predict the largest from the others\n"),
    }
    text
}

fn constants(law: &Law, intervals: &LawIntervals) -> String {
    let line = |name: &str, value: f64, of: Option<Interval>| {
        of.map_or_else(String::new, |of| {
            format!("{name:<10} {value:.4} ({:.4} to {:.4})\n", of.low, of.high)
        })
    };
    let form = if intervals.text_scale.is_some() {
        "L = E + A N^-alpha + B D^-beta, in bits per byte"
    } else {
        "L = E + A N^-alpha, in bits per byte"
    };
    let mut text = format!("law        {form}\n");
    text.push_str(&line("E", law.floor, Some(intervals.floor)));
    text.push_str(&line("A", law.size_scale, Some(intervals.size_scale)));
    text.push_str(&line("alpha", law.size_exponent, Some(intervals.size_exponent)));
    text.push_str(&line("B", law.text_scale, intervals.text_scale));
    text.push_str(&line("beta", law.text_exponent, intervals.text_exponent));
    text
}

/// The best use of a budget, from constants alone.
pub(super) fn optimum(optimum: &Optimum) -> String {
    format!(
        "parameters  {}\ntokens      {}\nloss        {:.4} in the unit of the constants\n",
        short(optimum.parameters),
        short(optimum.tokens),
        optimum.bits_per_byte
    )
}

/// The best use of a budget, with intervals.
pub(in crate::cli) fn recommendation(recommended: &Recommendation) -> String {
    let optimum = recommended.optimum;
    let between = |of: Interval| format!("{} to {}", short(of.low), short(of.high));
    let mut text = format!("budget      {:.3e} floating point operations\n", recommended.flops);
    text.push_str(&format!(
        "parameters  {} ({})\n",
        short(optimum.parameters),
        between(recommended.parameters)
    ));
    text.push_str(&format!(
        "tokens      {} ({})\n",
        short(optimum.tokens),
        between(recommended.tokens)
    ));
    let loss = recommended.bits_per_byte;
    text.push_str(&format!(
        "loss        {:.4} bits per byte ({:.4} to {:.4})\n",
        optimum.bits_per_byte, loss.low, loss.high
    ));
    if recommended.extrapolation > 100.0 {
        text.push_str(&format!(
            "warning     the budget is {:.0} times that of the dearest run, make larger ones\n",
            recommended.extrapolation
        ));
    }
    text
}

#[allow(clippy::cast_precision_loss, reason = "four digits are shown")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

/// `853 M`, `19.5 B`.
fn short(value: f64) -> String {
    let (scaled, unit) = [(1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")]
        .into_iter()
        .find(|(scale, _)| value >= *scale)
        .map_or((value, ""), |(scale, unit)| (value / scale, unit));
    let digits = if scaled >= 100.0 {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    format!("{scaled:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_short() {
        let texts = [853.2e6, 19.54e9, 1.0e12, 12.0, 4_321.0].map(short);
        assert_eq!(texts, ["853 M", "19.5 B", "1.00 T", "12.0", "4.32 k"]);
    }
}
