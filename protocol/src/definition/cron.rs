//! Cron expressions: the short names, and whether one means anything.

use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions, parse_crontab_with};

/// An expression that never fires in this many years around the start is a mistake.
const SOME_DAY: &str = "2024-01-01T00:00:00Z";

/// The five fields behind a short name such as `@daily`; any other text as it is.
#[must_use]
pub fn cron_fields(at: &str) -> &str {
    match at.trim() {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other => other,
    }
}

/// What is wrong with an expression of five fields or a short name; `None` for nothing.
pub(super) fn fault(at: &str) -> Option<String> {
    let fields = cron_fields(at);
    if fields.starts_with('@') {
        return Some("the short names are @yearly, @monthly, @weekly, @daily and @hourly".into());
    }
    let count = fields.split_ascii_whitespace().count();
    if count != 5 {
        return Some(format!("it has {count} fields, not five"));
    }
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::UTC;
    let parsed: Result<Crontab, _> = parse_crontab_with(fields, options);
    match parsed {
        Err(error) => {
            // The text shows the expression again on lines of its own; the reason is the last.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default();
            Some(reason.trim_start_matches([' ', '^']).to_owned())
        }
        Ok(crontab) => match crontab.find_next(SOME_DAY) {
            Ok(_) => None,
            Err(_) => Some("there is no such day".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named() {
        for (at, expected) in [
            ("30 2 * * *", None),
            ("*/5 * * * 1-5", None),
            ("@daily", None),
            ("0 0 29 2 *", None),
            ("0 0 30 2 *", Some("there is no such day")),
            ("@dayly", Some("the short names are @yearly, @monthly, @weekly, @daily and @hourly")),
            ("* * * *", Some("it has 4 fields, not five")),
            ("0 30 2 * * *", Some("it has 6 fields, not five")),
            ("", Some("it has 0 fields, not five")),
        ] {
            assert_eq!(fault(at).as_deref(), expected, "{at}");
        }
        assert!(fault("61 * * * *").unwrap().contains("61"), "{:?}", fault("61 * * * *"));
    }
}
