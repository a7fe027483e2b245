//! Odd nights, odd months, the ends of time, and what is no schedule.

use cronexpr::{FallbackTimezoneOption, MakeTimestamp, ParseOptions};

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
    for text in [
        "*/7 3 * * *",
        "0 0 1,15 * 1",
        "5 */4 * 6-8 *",
        "1 1 31 * *",
        "* * * * 5#3",
        "3/25 7 */10 * MON",
        "59 23 13 * 5",
        "0 0 * jan,DEC 7",
        "30 4-20/5 1,20W * 2-4/2",
        "0 12 1W,31W * *",
        "0 0 15 2,5 5/2",
        "*/59 0 1-7 * *",
    ] {
        let library = cronexpr::parse_crontab_with(text, options).unwrap();
        let mut at = Timestamp::from_second(1_780_000_000).unwrap();
        for slot in next(text, "UTC", &at.to_string(), 20) {
            at = library.find_next(MakeTimestamp(at)).unwrap().timestamp();
            assert_eq!(slot, at.to_string(), "{text}");
        }
    }
}

#[test]
fn l_w_and_hash_have_slots() {
    for (text, slots) in [
        ("30 6 L * *", ["2026-11-30T06:30:00Z", "2026-12-31T06:30:00Z"]),
        ("0 0 L 12 *", ["2026-12-31T00:00:00Z", "2027-12-31T00:00:00Z"]),
        ("0 0 * 12 5L", ["2026-12-25T00:00:00Z", "2027-12-31T00:00:00Z"]),
        ("15 30 6 L * *", ["2026-11-30T06:30:15Z", "2026-12-31T06:30:15Z"]),
        ("0 0 15W * *", ["2026-11-16T00:00:00Z", "2026-12-15T00:00:00Z"]),
        ("0 0 * * 1#2", ["2026-11-09T00:00:00Z", "2026-12-14T00:00:00Z"]),
    ] {
        assert_eq!(next(text, "UTC", "2026-11-02T00:00:00Z", 2), slots, "{text}");
    }
}

#[test]
fn what_is_no_schedule() {
    for (text, tz, expected) in [
        ("", "UTC", "it has 0 fields, not five or six"),
        ("* * * *", "UTC", "it has 4 fields, not five or six"),
        ("* * * * * * *", "UTC", "it has 7 fields, not five or six"),
        ("0 0 * * * UTC", "UTC", "`UTC` is no weekday"),
        ("61 * * * *", "UTC", "61"),
        ("60 * * * * *", "UTC", "no second"),
        ("*/0 * * * * *", "UTC", "no second"),
        ("@dayly", "UTC", "the short names are"),
        ("* * * * 5-1", "UTC", "`5-1` runs backwards"),
        ("* * * 0 *", "UTC", "`0` is no month: use 1 to 12 or a name such as FEB"),
        ("* * * * 1#6", "UTC", "after # comes 1 to 5"),
        ("* * 0W * *", "UTC", "`0W` is no day of the month"),
        ("+5 * * * *", "UTC", "`+5` is no minute"),
        ("5,, * * * *", "UTC", "`` is no minute"),
        ("0 0 30 2 *", "UTC", "there is no such day"),
        ("0 0 0 30 2 *", "UTC", "there is no such day"),
        ("0 0 * * *", "Mars/Olympus", "there is no time zone `Mars/Olympus`"),
        (&"1,".repeat(600), "UTC", "longer than"),
    ] {
        let error = Cron::parse(text, tz).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    for text in ["0 0 * JUL *", " @daily ", "0 0 29 2 *", "*/5 * * * 1-5", "@midnight"] {
        assert_eq!(Cron::parse(text, "UTC").map(|cron| cron.at().to_owned()), Ok(text.to_owned()));
    }
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

#[test]
fn a_slot_in_the_hour_that_is_skipped_may_be_left_out() {
    // In Berlin, 2 o'clock of 2026-03-29 does not come.
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let shown = |cron: &Cron, after: &str, count: usize| -> Vec<String> {
        let mut from = at(after);
        (0..count)
            .map(|_| {
                from = cron.next_after(from).unwrap();
                jiff::Timestamp::from_millisecond(from).unwrap().to_string()
            })
            .collect()
    };
    let nightly = Cron::parse("30 2 * * *", "Europe/Berlin").unwrap();
    let begin = "2026-03-28T00:00:00Z";
    assert_eq!(
        shown(&nightly, begin, 3),
        ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    );
    let nightly = nightly.with_dst(Dst::Skip);
    assert_eq!(shown(&nightly, begin, 2), ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"]);
    let often = Cron::parse("*/20 1-3 * * *", "Europe/Berlin").unwrap().with_dst(Dst::Skip);
    assert_eq!(
        shown(&often, "2026-03-29T00:30:00Z", 3),
        ["2026-03-29T00:40:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:20:00Z"],
        "3 o'clock is a slot of its own"
    );
    let hourly = Cron::parse("30 * * * *", "Europe/Berlin").unwrap().with_dst(Dst::Skip);
    assert_eq!(
        shown(&hourly, "2026-03-29T00:00:00Z", 2),
        ["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"]
    );
}
