//! Cron: which instants a text such as `30 2 * * *` means in a time zone.
//!
//! The fields are matched in civil time; the time zone is applied afterwards, because the two
//! interesting nights a year need a rule: a slot that falls into the hour that is skipped comes
//! at the end of that hour, and a slot in the hour that comes twice is the first of the two. A
//! text whose hour is `*` means every hour that really passes, so it goes by real time instead.

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};

/// Beyond this year nothing is looked for: calendars end at 9999.
const LAST_YEAR: i16 = 9_000;
/// Slots looked at for one answer: those of a night's skipped or doubled hours, second by second.
const TRIES: usize = 20_000;

/// Why a text is no cron schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// The time zone is not one of the bundled IANA database.
    #[error("`{0}` is no time zone; use an IANA name such as `Europe/Berlin` or `UTC`")]
    Zone(String),
    /// The fields do not parse.
    #[error("`{text}` is no cron schedule: {reason}")]
    Fields {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A schedule that has been understood.
#[derive(Debug, Clone)]
pub(crate) struct Cron {
    /// Any of these makes a slot.
    rules: Vec<Rule>,
    /// Seconds of the minute, in order; `[0]` for a text of five fields.
    seconds: Vec<i8>,
    every_hour: bool,
    zone: TimeZone,
}

/// Five fields as the library takes them, and from which day of the month on they count.
#[derive(Debug, Clone)]
struct Rule {
    fields: Crontab,
    from_day: i8,
}

/// Checks a cron schedule, as a device will when it is deployed.
///
/// # Errors
/// Unknown zone, or fields that do not parse.
pub fn check_cron(at: &str, tz: &str) -> Result<(), CronError> {
    Cron::parse(at, tz).map(|_| ())
}

impl Cron {
    pub(crate) fn parse(text: &str, tz: &str) -> Result<Self, CronError> {
        let zone =
            TimeZoneDatabase::bundled().get(tz).map_err(|_| CronError::Zone(tz.to_owned()))?;
        let wrong = |reason: String| CronError::Fields { text: text.to_owned(), reason };
        let fields: Vec<&str> = match expand(text.trim()) {
            Some(fields) => fields.split(' ').collect(),
            None => text.split_ascii_whitespace().collect(),
        };
        let (seconds, fields) = match fields.as_slice() {
            [_, _, _, _, _] => (vec![0], fields.as_slice()),
            [seconds, rest @ ..] if rest.len() == 5 => (seconds_of(seconds).map_err(wrong)?, rest),
            other => {
                return Err(wrong(format!(
                    "it has {} fields; give five (minute hour day month weekday), six with \
                     seconds in front, or @hourly, @daily, @weekly, @monthly, @yearly",
                    other.len()
                )));
            }
        };
        let whole = rule(&fields.join(" "), 1).map_err(wrong)?;
        let mut rules = december_rules(fields);
        rules.insert(0, whole);
        Ok(Self { rules, seconds, every_hour: fields[1] == "*", zone })
    }

    /// The first slot after an instant, both in milliseconds since 1970 UTC. `None`: there is
    /// none within four years.
    pub(crate) fn next_after(&self, wall_ms: i64) -> Option<i64> {
        let after = Timestamp::from_millisecond(wall_ms).ok()?;
        let found = if self.every_hour { self.next_real(after) } else { self.next_civil(after) };
        found.map(Timestamp::as_millisecond)
    }

    /// Goes by real time: within a stretch of one offset, civil time is real time shifted.
    fn next_real(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = after;
        // Two changes of offset lie behind any slot that exists at all.
        for _ in 0..TRIES {
            let offset = self.zone.to_offset(from);
            let change = self.zone.following(from).next().map(|change| change.timestamp());
            let civil = self.slot_after(offset.to_datetime(from))?;
            let slot = offset.to_timestamp(civil).ok()?;
            match change {
                // The change itself may be a slot, so the search goes on just before it.
                Some(change) if slot >= change => {
                    let offset = self.zone.to_offset(change);
                    let civil = offset.to_datetime(change);
                    let before = civil.checked_sub(1.millisecond()).ok()?;
                    if self.slot_after(before)? == civil {
                        return Some(change);
                    }
                    from = change;
                }
                Some(_) | None => return Some(slot),
            }
        }
        None
    }

    /// Goes by the clock on the wall.
    fn next_civil(&self, after: Timestamp) -> Option<Timestamp> {
        let mut civil = self.zone.to_offset(after).to_datetime(after);
        for _ in 0..TRIES {
            civil = self.slot_after(civil)?;
            let slot = self.instant(civil)?;
            if slot > after {
                return Some(slot);
            }
        }
        None
    }

    /// When the clock on the wall shows this for the first time, or has passed over it.
    fn instant(&self, civil: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                let earlier = after.to_timestamp(civil).ok()?;
                self.zone.following(earlier).next().map(|change| change.timestamp())
            }
        }
    }

    /// The first civil time after this one that the fields match.
    fn slot_after(&self, civil: DateTime) -> Option<DateTime> {
        if civil.year() > LAST_YEAR {
            return None;
        }
        let minute = civil.with().second(0).subsec_nanosecond(0).build().ok()?;
        let later = self.seconds.iter().find(|second| **second > civil.second());
        if let Some(second) = later
            && self.matches_minute(minute)
        {
            return minute.with().second(*second).build().ok();
        }
        let found = self.rules.iter().filter_map(|rule| rule.minute_after(minute)).min()?;
        let first = self.seconds.first().copied().unwrap_or(0);
        found.with().second(first).build().ok()
    }

    fn matches_minute(&self, minute: DateTime) -> bool {
        self.rules.iter().any(|rule| rule.matches(minute))
    }
}

impl Rule {
    fn matches(&self, minute: DateTime) -> bool {
        let Some(at) = utc(minute) else { return false };
        minute.day() >= self.from_day && self.fields.matches(MakeTimestamp(at)).unwrap_or(false)
    }

    fn minute_after(&self, minute: DateTime) -> Option<DateTime> {
        let mut minute = minute;
        for _ in 0..TRIES {
            minute = self.fields.find_next(MakeTimestamp(utc(minute)?)).ok()?.datetime();
            if minute.day() >= self.from_day {
                return Some(minute);
            }
        }
        None
    }
}

/// One rule of five fields, in civil time.
fn rule(fields: &str, from_day: i8) -> Result<Rule, String> {
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::UTC;
    let fields = cronexpr::parse_crontab_with(fields, options)
        .map_err(|error| last_line(&error.to_string()))?;
    Ok(Rule { fields, from_day })
}

/// What `L` means in December. The library finds the last day of a month by the next day's month
/// having a greater number, which December's has not; so this one month is written out: the last
/// day is the 31st, the last Friday is the one from the 25th on.
fn december_rules(fields: &[&str]) -> Vec<Rule> {
    let &[minute, hour, day, months, weekday] = fields else { return Vec::new() };
    let in_december = rule(&format!("0 0 1 {months} *"), 1)
        .is_ok_and(|months| months.matches(jiff::civil::date(2024, 12, 1).at(0, 0, 0, 0)));
    if !in_december {
        return Vec::new();
    }
    let mut rules = Vec::new();
    let is_last = |item: &str| item.ends_with(['L', 'l']);
    if day.split(',').any(is_last) {
        let days: Vec<&str> =
            day.split(',').map(|item| if is_last(item) { "31" } else { item }).collect();
        rules.extend(rule(&format!("{minute} {hour} {} 12 {weekday}", days.join(",")), 1));
    }
    // Days of the month and of the week add up, except where the former begin with a star.
    let day = if day.starts_with('*') { day } else { "*" };
    for item in weekday.split(',').filter(|item| is_last(item)) {
        let name = &item[..item.len() - 1];
        rules.extend(rule(&format!("{minute} {hour} {day} 12 {name}"), 25));
    }
    rules
}

/// Civil time as if it were UTC, which has no odd nights.
fn utc(civil: DateTime) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(civil).ok()
}

fn expand(text: &str) -> Option<&'static str> {
    Some(match text {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        _ => return None,
    })
}

/// A list of seconds: `*`, `*/10`, `5`, `0-30`, `0-30/5`, several with commas.
fn seconds_of(field: &str) -> Result<Vec<i8>, String> {
    let mut wanted = [false; 60];
    for item in field.split(',') {
        let wrong = || format!("`{item}` are no seconds: use 0 to 59, `*`, `a-b`, `/step`");
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, step.parse::<usize>().map_err(|_| wrong())?),
            None => (item, 1),
        };
        let number = |text: &str| text.parse::<usize>().ok().filter(|second| *second < 60);
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (number(from), number(to)),
            None if range == "*" => (Some(0), Some(59)),
            None if item.contains('/') => (number(range), Some(59)),
            None => (number(range), number(range)),
        };
        let (Some(from), Some(to)) = (from, to) else { return Err(wrong()) };
        if from > to || step == 0 {
            return Err(wrong());
        }
        for second in (from..=to).step_by(step) {
            wanted[second] = true;
        }
    }
    Ok((0_i8..60).zip(wanted).filter(|(_, wanted)| *wanted).map(|(second, _)| second).collect())
}

/// The library's errors draw the text with a caret below it; the last line says what is wrong.
fn last_line(message: &str) -> String {
    message.lines().last().unwrap_or(message).trim_start_matches([' ', '^']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(text: &str, tz: &str, after: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(text, tz).unwrap();
        let after: Timestamp = after.parse().unwrap();
        let mut at = after.as_millisecond();
        let mut found = Vec::new();
        while found.len() < count {
            let Some(slot) = cron.next_after(at) else { break };
            at = slot;
            found.push(Timestamp::from_millisecond(slot).unwrap().to_string());
        }
        found
    }

    #[test]
    fn ordinary_days() {
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2026-01-10T12:00:00Z", 2),
            ["2026-01-11T01:30:00Z", "2026-01-12T01:30:00Z"]
        );
        assert_eq!(next("0 9 29 2 *", "UTC", "2026-01-01T00:00:00Z", 1), ["2028-02-29T09:00:00Z"]);
        assert_eq!(
            next("@daily", "Asia/Shanghai", "2026-01-01T00:00:00Z", 1),
            ["2026-01-01T16:00:00Z"]
        );
    }

    #[test]
    fn a_slot_in_the_hour_that_is_skipped_comes_at_its_end() {
        // On 29 March 2026 the clocks in Berlin go from 02:00 to 03:00, which is 01:00 UTC.
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2),
            ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        assert_eq!(
            next("*/20 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2),
            ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"],
            "three slots that fall together are one"
        );
    }

    #[test]
    fn a_slot_in_the_hour_that_comes_twice_is_the_first() {
        // On 25 October 2026 the clocks in Berlin go from 03:00 back to 02:00, at 01:00 UTC.
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
        // Asked between the two, there is none left today.
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1),
            ["2026-10-26T01:30:00Z"]
        );
    }

    #[test]
    fn every_hour_means_every_hour_that_passes() {
        assert_eq!(
            next("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3),
            ["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"]
        );
        assert_eq!(
            next("0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", 4),
            [
                "2026-10-25T00:00:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T02:00:00Z",
                "2026-10-25T03:00:00Z"
            ]
        );
    }

    #[test]
    fn seconds_stand_in_front() {
        assert_eq!(
            next("*/20 0 12 * * *", "UTC", "2026-01-01T11:59:59Z", 4),
            [
                "2026-01-01T12:00:00Z",
                "2026-01-01T12:00:20Z",
                "2026-01-01T12:00:40Z",
                "2026-01-02T12:00:00Z"
            ]
        );
        assert_eq!(
            next("10,50 * * * * *", "UTC", "2026-01-01T00:00:10Z", 2),
            ["2026-01-01T00:00:50Z", "2026-01-01T00:01:10Z"]
        );
    }

    #[test]
    fn the_last_day_of_december_is_one_as_well() {
        assert_eq!(
            next("0 0 L * *", "UTC", "2026-11-01T00:00:00Z", 3),
            ["2026-11-30T00:00:00Z", "2026-12-31T00:00:00Z", "2027-01-31T00:00:00Z"]
        );
        assert_eq!(
            next("0 0 * * 5L", "UTC", "2026-11-01T00:00:00Z", 3),
            ["2026-11-27T00:00:00Z", "2026-12-25T00:00:00Z", "2027-01-29T00:00:00Z"]
        );
        assert_eq!(
            next("0 0 1,L 12 *", "UTC", "2026-11-01T00:00:00Z", 3),
            ["2026-12-01T00:00:00Z", "2026-12-31T00:00:00Z", "2027-12-01T00:00:00Z"]
        );
    }

    #[test]
    fn away_from_odd_nights_the_library_agrees() {
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        for text in ["*/7 3 * * *", "0 0 1,15 * 1", "5 */4 * 6-8 *", "1 1 31 * *", "* * * * 5#3"] {
            let library = cronexpr::parse_crontab_with(text, options).unwrap();
            let mut at = Timestamp::from_second(1_780_000_000).unwrap();
            for slot in next(text, "UTC", &at.to_string(), 20) {
                at = library.find_next(MakeTimestamp(at)).unwrap().timestamp();
                assert_eq!(slot, at.to_string(), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_schedule() {
        for (text, tz, expected) in [
            ("* * * *", "UTC", "it has 4 fields"),
            ("61 * * * *", "UTC", "61"),
            ("60 * * * * *", "UTC", "no seconds"),
            ("*/0 * * * * *", "UTC", "no seconds"),
            ("@never", "UTC", "it has 1 fields"),
            ("0 0 * * *", "Mars/Olympus", "is no time zone"),
        ] {
            let error = check_cron(text, tz).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert_eq!(check_cron("0 0 * JUL *", "UTC"), Ok(()));
        assert_eq!(next("0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z", 1), Vec::<String>::new());
    }

    #[test]
    fn the_ends_of_time_do_no_harm() {
        let cron = Cron::parse("30 2 * * *", "Europe/Berlin").unwrap();
        for wall_ms in [i64::MIN, i64::MAX, -377_705_023_201_000, 253_402_207_200_999, 0] {
            let _ = cron.next_after(wall_ms);
        }
        let hourly = Cron::parse("0 * * * *", "Europe/Berlin").unwrap();
        for wall_ms in [i64::MIN, i64::MAX, -377_705_023_201_000, 253_402_207_200_999, 0] {
            let _ = hourly.next_after(wall_ms);
        }
    }
}
