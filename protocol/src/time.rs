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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_is_no_duration() {
        for text in ["", "m", "5x", "-5", "5m3", "P1M", "1e300", "NaN", "5 m", "P", "PT"] {
            assert!(parse_duration_ms(text).is_err(), "{text}");
        }
    }
}
