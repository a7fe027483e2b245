//! Stamps and durations. Nothing here asks what time it is.

use serde::{Deserialize, Serialize};

/// How far a device's wall clock can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ClockTrust {
    /// Before the build date or the highest trusted time ever seen: certainly wrong.
    Unset,
    /// From a battery-backed clock, or carried over.
    Estimated,
    /// The system says it is synchronised, or the control plane told the time.
    Synced,
}

/// When a fact happened. Order is the sequence number, never the stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Stamp {
    /// The how-manieth boot of this device's database, from 1.
    pub boot: u32,
    /// Milliseconds since that boot (CLOCK_BOOTTIME: goes on in suspend).
    pub boot_ms: u64,
    /// Wall clock, milliseconds since 1970 UTC.
    pub wall_ms: i64,
    /// How far `wall_ms` can be believed.
    pub trust: ClockTrust,
}

impl Stamp {
    /// Milliseconds from here to a later stamp, as far as they are certain: by the boot clock within
    /// one boot; else by the wall clock where it was synchronised at both, and no less than the new
    /// boot has lasted.
    #[must_use]
    pub fn elapsed_ms(self, later: Self) -> u64 {
        if self.boot == later.boot {
            return later.boot_ms.saturating_sub(self.boot_ms);
        }
        let trusted = self.trust == ClockTrust::Synced && later.trust == ClockTrust::Synced;
        let by_wall = if trusted { later.wall_ms.saturating_sub(self.wall_ms) } else { 0 };
        u64::try_from(by_wall).unwrap_or(0).max(later.boot_ms)
    }
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration: write seconds as a number, `500ms`, `5m`, `1h30m` or `PT5M`")]
pub struct DurationError(pub String);

/// Reads a duration: `1h30m`, `500ms`, `2d`, ISO 8601 `PT5M`, or bare seconds. In milliseconds.
///
/// # Errors
/// The text is none of these or the value exceeds about 292 million years.
pub fn parse_duration_ms(text: &str) -> Result<u64, DurationError> {
    let wrong = || DurationError(text.chars().take(80).collect());
    let trimmed = text.trim();
    if let Ok(seconds) = trimmed.parse::<f64>() {
        return seconds_to_ms(seconds).ok_or_else(wrong);
    }
    let upper = trimmed.to_ascii_uppercase();
    let (body, iso) = match upper.strip_prefix('P') {
        Some(rest) => (rest.to_owned(), true),
        None => (trimmed.to_owned(), false),
    };
    parse_units(&body, iso).ok_or_else(wrong)
}

/// A duration as people write it, such as `1h30m`, and as [`parse_duration_ms`] reads it.
#[must_use]
pub fn show_duration(ms: u64) -> String {
    const UNITS: [(&str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let mut text = String::new();
    let mut rest = ms;
    for (unit, size) in UNITS {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Seconds as whole milliseconds; `None` where negative, not finite or too large.
#[must_use]
pub fn seconds_to_ms(seconds: f64) -> Option<u64> {
    let ms = (seconds * 1000.0).round();
    // 2^53: above it a double no longer counts milliseconds one by one.
    if !(0.0..=9_007_199_254_740_992.0).contains(&ms) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Some(ms as u64)
}

fn parse_units(body: &str, iso: bool) -> Option<u64> {
    let mut total = 0_u64;
    let mut rest = body;
    let mut in_time = !iso;
    let mut any = false;
    while !rest.is_empty() {
        if iso && rest.starts_with('T') && !in_time {
            in_time = true;
            rest = &rest[1..];
            continue;
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let letters = if iso { 1 } else { unit_length(after) };
        let unit = after.get(..letters)?;
        total = total.checked_add(seconds_to_ms(number * unit_seconds(unit, iso, in_time)?)?)?;
        rest = &after[letters..];
        any = true;
    }
    any.then_some(total)
}

fn unit_length(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len())
}

fn unit_seconds(unit: &str, iso: bool, in_time: bool) -> Option<f64> {
    match (unit, iso, in_time) {
        ("ms", false, _) => Some(0.001),
        ("s", false, _) | ("S", true, true) => Some(1.0),
        ("m", false, _) | ("M", true, true) => Some(60.0),
        ("h", false, _) | ("H", true, true) => Some(3_600.0),
        ("d", false, _) | ("D", true, false) => Some(86_400.0),
        ("w", false, _) | ("W", true, false) => Some(604_800.0),
        _ => None,
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar: year, month and day from 1
/// (Howard Hinnant's algorithm). A date that does not exist gives some day near it.
#[must_use]
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years start in March, so that the leap day is the last day of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day since 1970-01-01, the reverse of [`days_from_civil`].
#[must_use]
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// A wall time as RFC 3339 in UTC, to the second: milliseconds since 1970 UTC, rounded down.
#[must_use]
pub fn rfc3339_seconds(wall_ms: i64) -> String {
    let seconds = wall_ms.div_euclid(1_000);
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates_and_dates_are_days() {
        // Four hundred years on both sides, and the far ends of what a wall clock can say.
        let ends = [i64::MIN, i64::MAX].map(|ms| ms.div_euclid(86_400_000));
        let mut before = civil_from_days(-146_098);
        for day in (-146_097..=146_097).chain(ends) {
            let (year, month, date) = civil_from_days(day);
            assert_eq!(days_from_civil(year, month, date), day);
            if !ends.contains(&day) {
                assert!((year, month, date) > before && date <= 31 && month <= 12);
                before = (year, month, date);
            }
        }
    }

    #[test]
    fn wall_times_are_readable() {
        assert_eq!(rfc3339_seconds(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339_seconds(951_827_696_999), "2000-02-29T12:34:56Z");
        assert_eq!(rfc3339_seconds(-1), "1969-12-31T23:59:59Z");
        assert!(rfc3339_seconds(i64::MIN).starts_with("-2922"));
    }

    #[test]
    fn durations_in_every_spelling() {
        for (text, ms) in [
            ("5", 5_000),
            ("0.5", 500),
            ("500ms", 500),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("PT5M", 300_000),
            ("P1DT1S", 86_401_000),
            ("0", 0),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_as_they_are_read() {
        for (ms, text) in [
            (0, "0s"),
            (1, "1ms"),
            (300_000, "5m"),
            (5_400_000, "1h30m"),
            (86_461_001, "1d1m1s1ms"),
        ] {
            assert_eq!(show_duration(ms), text);
            assert_eq!(parse_duration_ms(text), Ok(ms));
        }
    }

    #[test]
    fn what_is_no_duration() {
        for text in ["", "m", "5x", "-5", "5m3", "P1M", "1e300", "NaN", "5 m", "P", "PT"] {
            assert!(parse_duration_ms(text).is_err(), "{text}");
        }
    }
}
