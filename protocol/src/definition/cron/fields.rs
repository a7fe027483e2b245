//! The fields of a cron text, each a set of numbers, and the days that they mean.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::{SignedDuration, ToSpan};

/// Days looked at for one answer: there are leap days in any nine years.
const DAYS: u32 = 9 * 366;

/// What one field may hold.
struct Kind {
    name: &'static str,
    min: u8,
    max: u8,
    /// Words for the numbers from `min` on.
    words: &'static [&'static str],
}

const SECOND: Kind = Kind { name: "second", min: 0, max: 59, words: &[] };
const MINUTE: Kind = Kind { name: "minute", min: 0, max: 59, words: &[] };
const HOUR: Kind = Kind { name: "hour", min: 0, max: 23, words: &[] };
const DAY: Kind = Kind { name: "day of the month", min: 1, max: 31, words: &[] };
const MONTH: Kind = Kind {
    name: "month",
    min: 1,
    max: 12,
    words: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
/// Sunday is 0 and also 7.
const WEEKDAY: Kind = Kind {
    name: "weekday",
    min: 0,
    max: 7,
    words: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
};

/// A set of numbers below 64.
type Set = u64;

/// What the fields say, in civil time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fields {
    seconds: Set,
    minutes: Set,
    hours: Set,
    months: Set,
    days: Set,
    last_day: bool,
    /// Days of the month of which the nearest working day is meant.
    near: Set,
    weekdays: Set,
    /// Weekdays of which the last one of the month is meant.
    last_weekdays: Set,
    /// Weekdays of which the n-th one of the month is meant: bit 7 × (n - 1) + weekday.
    nth_weekdays: Set,
    /// Both kinds of day must fit, since one of them is any day; else one of them is enough.
    both: bool,
}

impl Fields {
    /// Reads `minute hour day month weekday`, with or without seconds in front.
    pub(super) fn parse(fields: &[&str]) -> Result<Self, String> {
        let (seconds, fields) = match fields {
            [second, rest @ ..] if rest.len() == 5 => (SECOND.set(second)?, rest),
            five => (1, five),
        };
        let &[minute, hour, day, month, weekday] = fields else {
            return Err(format!("it has {} fields, not five or six", fields.len()));
        };
        let mut read = Self {
            seconds,
            minutes: MINUTE.set(minute)?,
            hours: HOUR.set(hour)?,
            months: MONTH.set(month)?,
            days: 0,
            last_day: false,
            near: 0,
            weekdays: 0,
            last_weekdays: 0,
            nth_weekdays: 0,
            both: day.starts_with('*') || weekday.starts_with('*'),
        };
        for item in day.split(',') {
            read.day(item)?;
        }
        for item in weekday.split(',') {
            read.weekday(item)?;
        }
        Ok(read)
    }

    fn day(&mut self, item: &str) -> Result<(), String> {
        if item.eq_ignore_ascii_case("L") {
            self.last_day = true;
        } else if let Some(day) = item.strip_suffix(['W', 'w']) {
            self.near |= 1 << DAY.number(day, item)?;
        } else {
            self.days |= DAY.item(item)?;
        }
        Ok(())
    }

    fn weekday(&mut self, item: &str) -> Result<(), String> {
        if let Some((weekday, nth)) = item.split_once('#') {
            let weekday = WEEKDAY.number(weekday, item)? % 7;
            let nth = nth.parse().ok().filter(|nth| (1..=5).contains(nth));
            let nth: u8 = nth.ok_or_else(|| format!("`{item}`: after # comes 1 to 5"))?;
            self.nth_weekdays |= 1 << (7 * (nth - 1) + weekday);
        } else if let Some(weekday) = item.strip_suffix(['L', 'l']) {
            self.last_weekdays |= 1 << (WEEKDAY.number(weekday, item)? % 7);
        } else {
            let set = WEEKDAY.item(item)?;
            self.weekdays |= set & 0x7f | set >> 7;
        }
        Ok(())
    }

    /// The first whole second after this civil time that fits; `None`: there is none within nine
    /// years.
    pub(super) fn next_after(&self, civil: DateTime) -> Option<DateTime> {
        let whole = civil.with().subsec_nanosecond(0).build().ok()?;
        let from = whole.checked_add(SignedDuration::from_secs(1)).ok()?;
        let (mut date, mut time) = (from.date(), from.time());
        for _ in 0..DAYS {
            if self.fits(date)
                && let Some(found) = self.time_from(time)
            {
                return Some(date.to_datetime(found));
            }
            date = date.tomorrow().ok()?;
            time = Time::midnight();
        }
        None
    }

    fn time_from(&self, from: Time) -> Option<Time> {
        let mut hour = first(self.hours, from.hour())?;
        let mut minute = 0;
        if hour == from.hour() {
            // The rest of this minute, else of this hour, else the next hour that fits.
            if self.minutes >> from.minute() & 1 == 1
                && let Some(second) = first(self.seconds, from.second())
            {
                return Time::new(hour, from.minute(), second, 0).ok();
            }
            match first(self.minutes, from.minute() + 1) {
                Some(later) => minute = later,
                None => hour = first(self.hours, hour + 1)?,
            }
        }
        let minute = first(self.minutes, minute)?;
        Time::new(hour, minute, first(self.seconds, 0)?, 0).ok()
    }

    fn fits(&self, date: Date) -> bool {
        if self.months >> date.month() & 1 == 0 {
            return false;
        }
        let (of_month, of_week) = (self.fits_month(date), self.fits_week(date));
        if self.both { of_month && of_week } else { of_month || of_week }
    }

    fn fits_month(&self, date: Date) -> bool {
        let named = self.days >> date.day() & 1 == 1;
        let last = self.last_day && date == date.last_of_month();
        named || last || (self.near != 0 && self.is_near(date))
    }

    /// Whether this is the working day next to one that is meant, in the same month.
    fn is_near(&self, date: Date) -> bool {
        (1..=date.days_in_month()).filter(|day| self.near >> day & 1 == 1).any(|day| {
            let Ok(meant) = date.with().day(day).build() else { return false };
            let weekday = meant.weekday();
            let shift = if weekday == Weekday::Saturday {
                if day == 1 { 2 } else { -1 }
            } else if weekday == Weekday::Sunday {
                if day == date.days_in_month() { -2 } else { 1 }
            } else {
                0
            };
            meant.checked_add(i64::from(shift).days()).is_ok_and(|near| near == date)
        })
    }

    fn fits_week(&self, date: Date) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset();
        let nth = (date.day() - 1) / 7;
        let last = date.day() + 7 > date.days_in_month();
        self.weekdays >> weekday & 1 == 1
            || self.nth_weekdays >> (7 * nth + weekday) & 1 == 1
            || (last && self.last_weekdays >> weekday & 1 == 1)
    }
}

/// The first number of a set that is not below `from`.
fn first(set: Set, from: i8) -> Option<i8> {
    let rest = set.checked_shr(u32::from(from.unsigned_abs()))?;
    (rest != 0).then(|| from + rest.trailing_zeros() as i8)
}

impl Kind {
    fn set(&self, field: &str) -> Result<Set, String> {
        field.split(',').try_fold(0, |set, item| Ok(set | self.item(item)?))
    }

    /// `*`, `5`, `1-5`, and each with `/step`; a number with a step goes on to the end.
    fn item(&self, item: &str) -> Result<Set, String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => {
                let step = step.parse().ok().filter(|step| (1..=self.max).contains(step));
                (range, Some(step.ok_or_else(|| self.wrong(item))?))
            }
            None => (item, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.min, self.max),
            Some((from, to)) => (self.number(from, item)?, self.number(to, item)?),
            None => {
                let only = self.number(range, item)?;
                (only, if step.is_some() { self.max } else { only })
            }
        };
        if from > to {
            return Err(format!("`{item}` runs backwards; write it as two ranges"));
        }
        let step = usize::from(step.unwrap_or(1));
        Ok((from..=to).step_by(step).fold(0, |set, number| set | 1 << number))
    }

    fn number(&self, text: &str, item: &str) -> Result<u8, String> {
        let word = self.words.iter().position(|word| text.eq_ignore_ascii_case(word));
        let number = match word {
            Some(place) => u8::try_from(place).ok().map(|place| place + self.min),
            None => text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit())),
        };
        number
            .filter(|number| (self.min..=self.max).contains(number))
            .ok_or_else(|| self.wrong(item))
    }

    fn wrong(&self, item: &str) -> String {
        let words = if self.words.is_empty() { "" } else { " or a name such as " };
        let word = self.words.get(1).copied().unwrap_or_default();
        format!(
            "`{item}` is no {}: use {} to {}{words}{word}, `*`, `a-b`, `/step`",
            self.name, self.min, self.max
        )
    }
}
