//! What the agent says of itself: a line of text for each event, on standard error. It has no spans,
//! filters or colours, so that this is all of what `tracing-subscriber` did here at 30 KB.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use openclaw_protocol::time::rfc3339_seconds;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Sends what is said to standard error, from this level up. The first call counts.
pub(crate) fn install(level: Level) {
    let write = |line: &str| {
        // Where standard error is closed there is nobody to tell.
        let _ = std::io::stderr().write_all(line.as_bytes());
    };
    let _ = tracing::subscriber::set_global_default(Lines { level, write });
}

struct Lines {
    level: Level,
    write: fn(&str),
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::from_level(self.level))
    }

    fn event(&self, event: &Event<'_>) {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        (self.write)(&line_of(since_1970.unwrap_or_default(), event));
    }

    // Spans are not enabled, so that nobody asks for one.
    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

/// `2026-11-23T10:00:00.000001Z  WARN target: message name=value`
fn line_of(since_1970: Duration, event: &Event<'_>) -> String {
    let wall_ms = i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX);
    let when = rfc3339_seconds(wall_ms);
    let (when, micros) = (when.trim_end_matches('Z'), since_1970.subsec_micros());
    let meta = event.metadata();
    let mut line = Line(format!("{when}.{micros:06}Z {:>5} {}:", meta.level(), meta.target()));
    event.record(&mut line);
    line.0.push('\n');
    line.0
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a text does not fail.
        let _ = match field.name() {
            "message" => write!(Printable(&mut self.0), " {value:?}"),
            name => write!(Printable(&mut self.0), " {name}={value:?}"),
        };
    }
}

/// A control character could begin a line of its own or rewrite the reader's terminal.
struct Printable<'s>(&'s mut String);

impl fmt::Write for Printable<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if c.is_control() {
                self.0.extend(c.escape_default());
            } else {
                self.0.push(c);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    thread_local! {
        static SAID: RefCell<String> = const { RefCell::new(String::new()) };
    }

    #[test]
    fn an_event_is_one_line() {
        let write = |line: &str| SAID.with_borrow_mut(|said| said.push_str(line));
        let lines = Lines { level: Level::INFO, write };
        tracing::subscriber::with_default(lines, || {
            tracing::debug!("not said");
            let _inside = tracing::info_span!("nor this").entered();
            tracing::info!(run = "a b", steps = 3, "run\u{1b}[2J {}", "settled");
            tracing::warn!(error = %"no\nroute", some = ?Some(1.5), "down");
        });
        let said = SAID.take();
        let lines: Vec<_> = said.lines().map(|line| line.split_once("Z ").unwrap()).collect();
        let target = module_path!();
        assert_eq!(
            lines.iter().map(|(_, rest)| (*rest).to_owned()).collect::<Vec<_>>(),
            [
                format!(" INFO {target}: run\\u{{1b}}[2J settled run=\"a b\" steps=3"),
                format!(" WARN {target}: down error=no\\nroute some=Some(1.5)"),
            ]
        );
        assert!(lines.iter().all(|(when, _)| when.len() == "2026-11-23T10:00:00.000001".len()));
    }
}
