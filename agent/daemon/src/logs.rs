//! Logs: what plugins say, in memory, for `logs` on the device; and what the agent itself says, on
//! standard error. The ring of lines is bounded by bytes, and nothing of it is written to flash.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::config::LogLevel;
use crate::{limits, stderr};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number since the start of the agent, from 1.
    pub seq: u64,
    /// Wall clock, milliseconds since 1970 UTC.
    pub wall_ms: i64,
    /// `trace` to `error`.
    pub level: String,
    /// Of which run.
    pub run: String,
    /// Of which step instance.
    pub step: String,
    /// What it says.
    pub message: String,
}

impl Line {
    fn bytes(&self) -> usize {
        self.run.len() + self.step.len() + self.message.len() + 64
    }
}

/// The ring. Clones are the same ring.
#[derive(Debug, Clone, Default)]
pub struct Logs {
    ring: Arc<Mutex<Ring>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    last: u64,
}

impl Logs {
    /// Adds a line; its number is given here, the oldest go where the ring is full.
    pub fn push(&self, wall_ms: i64, level: &str, run: &str, step: &str, message: &str) {
        let end = message.floor_char_boundary(limits::LOG_LINE_BYTES.min(message.len()));
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.last += 1;
        let line = Line {
            seq: ring.last,
            wall_ms,
            level: level.to_owned(),
            run: run.to_owned(),
            step: step.to_owned(),
            // A control character could rewrite the reader's terminal.
            message: message[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        };
        ring.bytes += line.bytes();
        ring.lines.push_back(line);
        while ring.bytes > limits::LOG_BYTES {
            let Some(gone) = ring.lines.pop_front() else { break };
            ring.bytes -= gone.bytes();
        }
        drop(ring);
        self.changed.notify_waiters();
    }

    /// Lines after number `after`, of one run where it is named, oldest first.
    #[must_use]
    pub fn after(&self, after: u64, run: Option<&str>) -> Vec<Line> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |l: &&Line| l.seq > after && run.is_none_or(|run| l.run == run);
        ring.lines.iter().filter(wanted).cloned().collect()
    }

    /// Number of the newest line.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).last
    }

    /// Waits until there is a line after number `after`.
    pub async fn changed_after(&self, after: u64) {
        loop {
            let notified = self.changed.notified();
            tokio::pin!(notified);
            // Registered before looking, so that no line comes unseen in between.
            notified.as_mut().enable();
            if self.last() > after {
                return;
            }
            notified.await;
        }
    }
}

/// What the agent itself has to say goes to standard error, from this level up.
pub fn install(level: LogLevel) {
    let level = match level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    };
    stderr::install(level);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_bounded_and_filtered() {
        let logs = Logs::default();
        for i in 0..1_000 {
            let run = if i % 2 == 0 { "a" } else { "b" };
            logs.push(0, "info", run, "s", &format!("{i}\u{1b}[2J{}", "x".repeat(2_000)));
        }
        let all = logs.after(0, None);
        assert!(all.len() < 200 && all.last().unwrap().seq == 1_000);
        assert!(all.iter().all(|l| !l.message.contains('\u{1b}')));
        assert!(logs.after(990, Some("a")).iter().all(|l| l.run == "a" && l.seq > 990));
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let logs = Logs::default();
        logs.push(0, "info", "r", "s", &"é".repeat(10_000));
        let line = &logs.after(0, None)[0];
        assert!(line.message.len() <= limits::LOG_LINE_BYTES && line.message.ends_with('é'));
    }
}
