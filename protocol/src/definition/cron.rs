//! Cron: which instants a text such as `30 2 * * *` means in a time zone. The one reading of it:
//! what a document may say is what a device can keep to.
//!
//! The fields are matched in civil time; the time zone is applied afterwards, because the two
//! interesting nights a year need a rule: a slot that falls into the hour that is skipped comes
//! at the end of that hour or not at all ([`Dst`]), and a slot in the hour that comes twice is the
//! first of the two. A text whose hour is `*` means every hour that really passes, so it goes by real time instead.

mod fields;

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use fields::Fields;

/// A text longer than this, in bytes, is no schedule: each field written out in full is shorter.
const TEXT_BYTES: usize = 1_024;
/// Beyond this year nothing is looked for: calendars end at 9999.
const LAST_YEAR: i16 = 9_000;
/// Slots looked at for one answer: those of a night's skipped or doubled hours, second by second.
const TRIES: usize = 20_000;
/// A schedule without a slot in the four years from here on is a mistake: 2024-01-01, in
/// milliseconds since 1970 UTC. There is a leap day in them.
const SOME_DAY_MS: i64 = 1_704_067_200_000;

/// Why a text is no cron schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// The time zone is not one of the bundled IANA database.
    #[error("there is no time zone `{0}`; use an IANA name such as `Europe/Berlin` or `UTC`")]
    Zone(String),
    /// The fields do not parse.
    #[error("{0}")]
    Fields(String),
    /// The fields parse, but name no day of any year, as `0 0 30 2 *` does.
    #[error("there is no such day")]
    Never,
}

/// What becomes of a slot in the hour that summer time skips.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dst {
    /// It comes at the end of that hour.
    #[default]
    RunAfter,
    /// It does not come that day.
    Skip,
}

/// A schedule that has been understood, and that has slots.
#[derive(Clone)]
pub struct Cron {
    at: String,
    tz: String,
    fields: Fields,
    every_hour: bool,
    dst: Dst,
    zone: TimeZone,
}

impl Cron {
    /// Reads a schedule: five fields (minute, hour, day of the month, month, weekday), six with
    /// seconds in front, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`; in an IANA time
    /// zone of the bundled database. Besides lists, ranges and steps it knows `L` (the last day,
    /// or the last such weekday, of the month), `15W` and `5#3`.
    ///
    /// # Errors
    /// Unknown zone, fields that do not parse, or no slot within four years.
    pub fn parse(at: &str, tz: &str) -> Result<Self, CronError> {
        if at.len() > TEXT_BYTES {
            return Err(CronError::Fields(format!("it is longer than {TEXT_BYTES} bytes")));
        }
        let text = expand(at.trim()).unwrap_or(at);
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        if let [short] = fields.as_slice()
            && short.starts_with('@')
        {
            let known = "the short names are @yearly, @monthly, @weekly, @daily and @hourly";
            return Err(CronError::Fields(known.to_owned()));
        }
        let every_hour = fields.iter().rev().nth(3) == Some(&"*");
        let fields = Fields::parse(&fields).map_err(CronError::Fields)?;
        let zone = crate::zone::named(tz).ok_or_else(|| CronError::Zone(tz.to_owned()))?;
        let (at, tz) = (at.to_owned(), tz.to_owned());
        let cron = Self { at, tz, fields, every_hour, dst: Dst::default(), zone };
        match cron.next_after(SOME_DAY_MS) {
            Some(_) => Ok(cron),
            None => Err(CronError::Never),
        }
    }

    /// The same schedule with another rule for the hour that summer time skips.
    #[must_use]
    pub fn with_dst(self, dst: Dst) -> Self {
        Self { dst, ..self }
    }

    /// What becomes of a slot in the hour that summer time skips.
    #[must_use]
    pub fn dst(&self) -> Dst {
        self.dst
    }

    /// The schedule as it was written.
    #[must_use]
    pub fn at(&self) -> &str {
        &self.at
    }

    /// The IANA name of its time zone.
    #[must_use]
    pub fn tz(&self) -> &str {
        &self.tz
    }

    /// The first slot after an instant, both in milliseconds since 1970 UTC. `None`: there is
    /// none within four years.
    #[must_use]
    pub fn next_after(&self, wall_ms: i64) -> Option<i64> {
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
            if let Some(end) = self.end_of_gap(civil) {
                civil = end.checked_sub(1.millisecond()).ok()?;
                continue;
            }
            let slot = self.instant(civil)?;
            if slot > after {
                return Some(slot);
            }
        }
        None
    }

    /// What the clock on the wall shows when a gap ends that this falls into, where slots in gaps
    /// do not come.
    fn end_of_gap(&self, civil: DateTime) -> Option<DateTime> {
        let AmbiguousOffset::Gap { after, .. } = self.zone.to_ambiguous_timestamp(civil).offset()
        else {
            return None;
        };
        if self.dst == Dst::RunAfter {
            return None;
        }
        let earlier = after.to_timestamp(civil).ok()?;
        let change = self.zone.following(earlier).next()?.timestamp();
        Some(self.zone.to_offset(change).to_datetime(change))
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
        self.fields.next_after(civil)
    }
}

impl fmt::Debug for Cron {
    /// What was written says it all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {}", self.at, self.tz)
    }
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

#[cfg(test)]
mod tests;
