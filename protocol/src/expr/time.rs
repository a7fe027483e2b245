//! Timestamps and durations: text forms, calendar fields, arithmetic. UTC or a named zone.

use std::fmt;

use super::error::{Fault, excerpt};
use crate::time::{civil_from_days, days_from_civil};

const NANOS: i64 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;
/// 0001-01-01T00:00:00Z in seconds since 1970.
const FIRST_SECOND: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z in seconds since 1970.
const LAST_SECOND: i64 = 253_402_300_799;

/// A point in time, 0001-01-01 to 9999-12-31, to the nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

/// A signed length of time in nanoseconds, up to about 292 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration {
    nanos: i64,
}

impl Timestamp {
    /// From seconds since 1970 UTC; `None` outside the years 1 to 9999.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        Self::new(seconds, 0)
    }

    /// From milliseconds since 1970 UTC; `None` outside the years 1 to 9999.
    #[must_use]
    pub fn from_millis(millis: i64) -> Option<Self> {
        let nanos = u32::try_from(millis.rem_euclid(1_000) * 1_000_000).ok()?;
        Self::new(millis.div_euclid(1_000), nanos)
    }

    /// From seconds since 1970 UTC and nanoseconds within the second; `None` where there is no such
    /// point in time.
    #[must_use]
    pub fn from_parts(seconds: i64, nanos: u32) -> Option<Self> {
        Self::new(seconds, nanos).filter(|_| i64::from(nanos) < NANOS)
    }

    /// Reads RFC 3339: `2026-01-31T12:30:00.5Z`, with `Z` or an offset. `None`: the text is of
    /// another format, or a date that does not exist.
    #[must_use]
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        parse_rfc3339(text)
    }

    /// Milliseconds since 1970 UTC, rounded down.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.seconds * 1_000 + i64::from(self.nanos / 1_000_000)
    }

    /// Seconds since 1970 UTC, rounded down.
    #[must_use]
    pub fn as_seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds within the second.
    #[must_use]
    pub fn subsec_nanos(self) -> u32 {
        self.nanos
    }

    /// Reads RFC 3339: `2026-01-31T12:30:00.5Z`, with `Z` or an offset.
    ///
    /// # Errors
    /// The text is another format or a date that does not exist.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        parse_rfc3339(text).ok_or_else(|| {
            Fault::wrong_type(format!(
                "`{}` is not a timestamp: write it as 2026-01-31T12:30:00Z",
                excerpt(text)
            ))
        })
    }

    pub(super) fn checked_add(self, length: Duration) -> Option<Self> {
        let nanos = i128::from(self.seconds) * i128::from(NANOS)
            + i128::from(self.nanos)
            + i128::from(length.nanos);
        let seconds = i64::try_from(nanos.div_euclid(i128::from(NANOS))).ok()?;
        Self::new(seconds, u32::try_from(nanos.rem_euclid(i128::from(NANOS))).ok()?)
    }

    pub(super) fn checked_since(self, earlier: Self) -> Option<Duration> {
        let seconds = self.seconds.checked_sub(earlier.seconds)?;
        let nanos = i64::from(self.nanos) - i64::from(earlier.nanos);
        seconds.checked_mul(NANOS)?.checked_add(nanos).map(Duration::from_nanos)
    }

    /// The calendar fields at an offset from UTC.
    pub(super) fn civil(self, offset_seconds: i64) -> Civil {
        let local = self.seconds + offset_seconds;
        let days = local.div_euclid(DAY_SECONDS);
        let (year, month, day) = civil_from_days(days);
        Civil {
            year,
            month,
            day,
            day_of_year: days - days_from_civil(year, 1, 1),
            // 1970-01-01 was a Thursday; Sunday is 0.
            day_of_week: (days + 4).rem_euclid(7),
            second_of_day: local.rem_euclid(DAY_SECONDS),
        }
    }

    /// Seconds east of UTC at this point in time, for `UTC`, `+01:00`, `-02:30`, `02:00` or an
    /// IANA zone name.
    pub(super) fn offset_in(self, zone: &str) -> Result<i64, Fault> {
        if zone == "UTC" || zone == "Z" {
            return Ok(0);
        }
        if let Some(seconds) = fixed_offset(zone) {
            return Ok(seconds);
        }
        let unknown = || Fault::wrong_type(format!("`{}` is not a time zone", excerpt(zone)));
        let found = crate::zone::named(zone).ok_or_else(unknown)?;
        let nanos = i32::try_from(self.nanos).map_err(|_| unknown())?;
        let at = jiff::Timestamp::new(self.seconds, nanos).map_err(|_| unknown())?;
        Ok(i64::from(found.to_offset(at).seconds()))
    }

    fn new(seconds: i64, nanos: u32) -> Option<Self> {
        (FIRST_SECOND..=LAST_SECOND).contains(&seconds).then_some(Self { seconds, nanos })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, second_of_day, .. } = self.civil(0);
        let (hour, minute) = (second_of_day / 3_600, second_of_day / 60 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}", second_of_day % 60)?;
        write_fraction(f, self.nanos)?;
        f.write_str("Z")
    }
}

impl Duration {
    /// From nanoseconds.
    #[must_use]
    pub fn from_nanos(nanos: i64) -> Self {
        Self { nanos }
    }

    /// From milliseconds; `None` beyond about 292 years.
    #[must_use]
    pub fn from_millis(millis: i64) -> Option<Self> {
        millis.checked_mul(1_000_000).map(Self::from_nanos)
    }

    /// All of it in nanoseconds.
    #[must_use]
    pub fn as_nanos(self) -> i64 {
        self.nanos
    }

    /// All of it in milliseconds, rounded towards zero.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.nanos / 1_000_000
    }

    /// Reads `1h30m`, `-1.5s`, `500ms`, `2d`, units `d h m s ms us µs ns`, or ISO 8601 `PT5M`.
    ///
    /// # Errors
    /// The text is none of these, or beyond about 292 years.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        parse_duration(text).ok_or_else(|| {
            Fault::wrong_type(format!(
                "`{}` is not a duration within 292 years: write it as 1h30m, 500ms or PT5M",
                excerpt(text)
            ))
        })
    }

    pub(super) fn checked_add(self, other: Self) -> Option<Self> {
        self.nanos.checked_add(other.nanos).map(Self::from_nanos)
    }

    pub(super) fn checked_sub(self, other: Self) -> Option<Self> {
        self.nanos.checked_sub(other.nanos).map(Self::from_nanos)
    }

    pub(super) fn checked_neg(self) -> Option<Self> {
        self.nanos.checked_neg().map(Self::from_nanos)
    }
}

impl fmt::Display for Duration {
    /// Seconds, such as `5400s` or `-0.5s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.nanos.unsigned_abs();
        let sign = if self.nanos < 0 { "-" } else { "" };
        write!(f, "{sign}{}", magnitude / NANOS.unsigned_abs())?;
        let rest = magnitude % NANOS.unsigned_abs();
        write_fraction(f, u32::try_from(rest).unwrap_or_default())?;
        f.write_str("s")
    }
}

/// Calendar fields; months and days count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Civil {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    /// From 0.
    pub(super) day_of_year: i64,
    /// Sunday is 0.
    pub(super) day_of_week: i64,
    pub(super) second_of_day: i64,
}

fn write_fraction(f: &mut fmt::Formatter<'_>, nanos: u32) -> fmt::Result {
    if nanos == 0 {
        return Ok(());
    }
    let digits = format!("{nanos:09}");
    write!(f, ".{}", digits.trim_end_matches('0'))
}

fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(10)?;
    let (clock, rest) = rest.strip_prefix(['T', 't'])?.split_at_checked(8)?;
    let (year, month, day) = (digits(date, 0, 4)?, digits(date, 5, 7)?, digits(date, 8, 10)?);
    let (hour, minute, second) = (digits(clock, 0, 2)?, digits(clock, 3, 5)?, digits(clock, 6, 8)?);
    let shaped = date.as_bytes()[4] == b'-'
        && date.as_bytes()[7] == b'-'
        && clock.as_bytes()[2] == b':'
        && clock.as_bytes()[5] == b':';
    let real = (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
    if !shaped || !real || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, zone) = parse_fraction(rest)?;
    let offset = if zone == "Z" || zone == "z" { 0 } else { signed_offset(zone)? };
    let days = days_from_civil(year, month, day);
    let seconds = days * DAY_SECONDS + hour * 3_600 + minute * 60 + second - offset;
    Timestamp::new(seconds, nanos)
}

/// `.5Z` to nanoseconds and the rest.
fn parse_fraction(text: &str) -> Option<(u32, &str)> {
    let Some(fraction) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = fraction.find(|c: char| !c.is_ascii_digit())?;
    if !(1..=9).contains(&end) {
        return None;
    }
    let padded = format!("{:0<9}", &fraction[..end]);
    Some((padded.parse().ok()?, &fraction[end..]))
}

fn fixed_offset(zone: &str) -> Option<i64> {
    if zone.starts_with(['+', '-']) { signed_offset(zone) } else { unsigned_offset(zone) }
}

fn signed_offset(zone: &str) -> Option<i64> {
    match zone.strip_prefix('-') {
        Some(rest) => unsigned_offset(rest).map(|seconds| -seconds),
        None => unsigned_offset(zone.strip_prefix('+')?),
    }
}

fn unsigned_offset(zone: &str) -> Option<i64> {
    let shaped = zone.len() == 5 && zone.as_bytes()[2] == b':';
    let (hours, minutes) = (digits(zone, 0, 2)?, digits(zone, 3, 5)?);
    (shaped && hours <= 23 && minutes <= 59).then_some(hours * 3_600 + minutes * 60)
}

fn digits(text: &str, from: usize, to: usize) -> Option<i64> {
    let part = text.get(from..to)?;
    if !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    part.parse().ok()
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (negative, body) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = match body.strip_prefix('P') {
        Some(iso) => iso_nanos(iso)?,
        None if body == "0" => 0,
        None => unit_nanos(body)?,
    };
    let signed = if negative { -magnitude } else { magnitude };
    i64::try_from(signed).ok().map(Duration::from_nanos)
}

fn unit_nanos(body: &str) -> Option<i128> {
    let mut rest = body;
    let mut total = 0_i128;
    loop {
        let (number, after) = split_number(rest)?;
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let unit = match &after[..letters] {
            "d" => i128::from(DAY_SECONDS * NANOS),
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" | "μs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        total = total.checked_add(scaled(number, unit)?)?;
        rest = &after[letters..];
        if rest.is_empty() {
            return Some(total);
        }
    }
}

/// What follows the `P` of ISO 8601: weeks, days and, after `T`, hours, minutes, seconds.
fn iso_nanos(body: &str) -> Option<i128> {
    let (date, clock) = body.split_once('T').map_or((body, None), |(d, t)| (d, Some(t)));
    if date.is_empty() && clock.is_none() || clock == Some("") {
        return None;
    }
    let date_units: &[(u8, i64)] = &[(b'W', 7 * DAY_SECONDS), (b'D', DAY_SECONDS)];
    let clock_units: &[(u8, i64)] = &[(b'H', 3_600), (b'M', 60), (b'S', 1)];
    let mut total = 0_i128;
    for (mut rest, units) in [(date, date_units), (clock.unwrap_or_default(), clock_units)] {
        while !rest.is_empty() {
            let (number, after) = split_number(rest)?;
            let letter = *after.as_bytes().first()?;
            let (_, seconds) = units.iter().find(|(unit, _)| *unit == letter)?;
            let nanos = i128::from(*seconds) * i128::from(NANOS);
            total = total.checked_add(scaled(number, nanos)?)?;
            rest = &after[1..];
        }
    }
    Some(total)
}

fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    (end > 0).then(|| text.split_at(end))
}

/// A decimal number times a unit, exactly as far as nanoseconds go.
fn scaled(number: &str, unit: i128) -> Option<i128> {
    const DECIMALS: usize = 18;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() > DECIMALS || whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let kept = &fraction[..fraction.len().min(DECIMALS)];
    let part: i128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    let power = 10_i128.pow(u32::try_from(kept.len()).ok()?);
    Some(whole.checked_mul(unit)? + part.checked_mul(unit)? / power)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
