//! Times, spans and numbers as people read them.

use std::time::{SystemTime, UNIX_EPOCH};

use node_core::unit::UnixMs;

/// The wall clock. The one place where status reads it.
#[must_use]
pub fn unix_now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// `12:04:31Z`.
#[must_use]
pub fn clock_time(at: UnixMs) -> String {
    formatted(at, "%H:%M:%SZ")
}

/// `2026-03-04 12:04:31Z`.
#[must_use]
pub fn date_time(at: UnixMs) -> String {
    formatted(at, "%Y-%m-%d %H:%M:%SZ")
}

fn formatted(at: UnixMs, format: &str) -> String {
    i64::try_from(at.0)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| "?".to_owned(), |time| time.strftime(format).to_string())
}

/// The two largest units of a span: `3 d 02 h`, `14 min 05 s`, `0.4 s`.
#[must_use]
pub fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes, seconds) {
        (0, 0, 0, 0) => format!("0.{} s", ms % 1000 / 100),
        (0, 0, 0, _) => format!("{seconds} s"),
        (0, 0, _, _) => format!("{minutes} min {:02} s", seconds % 60),
        (0, _, _, _) => format!("{hours} h {:02} min", minutes % 60),
        _ => format!("{days} d {:02} h", hours % 24),
    }
}

/// `4 812 330`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_show_their_two_largest_units() {
        for (ms, text) in [
            (0, "0.0 s"),
            (420, "0.4 s"),
            (59_999, "59 s"),
            (845_000, "14 min 05 s"),
            (7_500_000, "2 h 05 min"),
            (266_400_000, "3 d 02 h"),
        ] {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn numbers_are_grouped_by_threes() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (4_812_330, "4 812 330")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(date_time(UnixMs(1_772_625_871_000)), "2026-03-04 12:04:31Z");
        assert_eq!(clock_time(UnixMs(1_772_625_871_000)), "12:04:31Z");
        assert_eq!(clock_time(UnixMs(u64::MAX)), "?");
    }
}
