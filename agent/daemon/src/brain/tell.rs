//! What the brain tells: events of runs, reports to those who operate the fleet, and what the
//! device's own bus hears of the device itself.

use openclaw_agent_core::{AttemptId, Input};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::report::{Report, ReportRecord};
use openclaw_protocol::run::RunEventRecord;
use openclaw_protocol::sync::Lane;
use openclaw_protocol::wire::{self, Kind};
use serde_json::json;

use super::Brain;

/// A wall clock that moves by more than this beside the boot clock has been set.
const CLOCK_STEP_MS: i64 = 2_000;
/// Starts that never became runs are reported at most this often.
const DROPPED_MS: u64 = 60_000;

impl Brain {
    pub(super) fn tell_event(&mut self, event: &RunEventRecord, packed: Vec<u8>) {
        self.views.apply(event, &packed);
        self.pending.batch.records.push((Lane::History, packed));
    }

    pub(super) fn report(&mut self, report: Report) {
        let body = wire::pack(Kind::Report, &ReportRecord { at: self.now, report });
        self.pending.batch.records.push((Lane::Control, body));
    }

    pub(super) fn note_denials(&mut self, attempt: &AttemptId, denials: Vec<String>) {
        for denial in denials {
            // The view is gone where the run has given up on the call and settled.
            let workflow =
                self.views.open(&attempt.run).map_or("(settled)", |run| run.workflow.as_str());
            let first = self.denials.note(workflow, &attempt.step.0, &denial, self.now.boot_ms);
            if let Some(message) = first {
                let message = format!("{message} (first in run {})", attempt.run);
                self.report(Report::Security { code: "permission.denied".to_owned(), message });
            }
        }
    }

    /// Denials after the first of their place, counted.
    pub(super) fn tell_denials(&mut self) {
        for message in self.denials.end(self.now.boot_ms, self.stopping.is_some()) {
            self.report(Report::Security { code: "permission.denied".to_owned(), message });
        }
    }

    /// Starts that never became runs, counted: a trigger may fire much faster than anybody reads.
    pub(super) fn tell_dropped(&mut self) {
        let due = self.now.boot_ms.saturating_sub(self.dropped_told_ms) >= DROPPED_MS;
        if !(due || self.stopping.is_some()) {
            return;
        }
        self.tell_dropped_messages();
        if self.dropped.is_empty() {
            return;
        }
        self.dropped_told_ms = self.now.boot_ms;
        for ((workflow, reason), count) in std::mem::take(&mut self.dropped) {
            self.report(Report::Dropped { workflow, reason: reason.to_owned(), count });
        }
    }

    /// Takes the time, and says on the device's own bus where the wall clock has been set.
    pub(super) fn look_at_clock(&mut self) {
        let before = std::mem::replace(&mut self.now, self.clock.now());
        if before.boot != self.now.boot {
            return;
        }
        let passed = self.now.boot_ms.saturating_sub(before.boot_ms).cast_signed();
        let step_ms = self.now.wall_ms.saturating_sub(before.wall_ms).saturating_sub(passed);
        if step_ms.abs() > CLOCK_STEP_MS {
            let data = JsonText::of(&json!({ "step_ms": step_ms, "trust": self.now.trust }));
            self.step(Input::Event { name: "clock.adjusted".to_owned(), data });
        }
    }
}
