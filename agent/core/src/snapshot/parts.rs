//! What a run's state is made of, but for the steps under way. The order of fields and the numbers
//! of variants are the format: another order is another version.

use std::sync::Arc;

use openclaw_protocol::definition::{CountDowntime, DefinitionHash, ScopeIx, StepIx};
use openclaw_protocol::expr::Value;
use openclaw_protocol::id::RunId;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::{ErrorCause, RunError, RunStatus, StepPath, StepStatus};
use openclaw_protocol::time::{ClockTrust, Stamp};
use openclaw_protocol::wire::{self, Kind};

use super::bytes::{Reader, Shared, Stored, Writer, choice, record};
use crate::digest::Digest;
use crate::fact::{Fact, FactRecord, TimerKind};
use crate::names::Bound;
use crate::run::{Phase, StepRef, Task};
use crate::scope::{Ending, ScopeState, Stage, StepState};
use crate::step::{Undo, Undoing};
use crate::timer::{Timer, TimerKey};
use crate::view::{Kept, Results, StepResult, Vars, View};

record!(Stamp { boot, boot_ms, wall_ms, trust });
choice!(ClockTrust, else Self::Unset; 0 Unset, 1 Estimated, 2 Synced);

record!(RunError { code, message, step, attempt, retryable, details, causes });
record!(ErrorCause { code, message, step });

choice!(Phase, else Self::Pending;
    0 Pending, 1 Main, 2 Compensating, 3 OnFailure, 4 Settled(status), 5 Finally);
choice!(RunStatus, else Self::Pending;
    0 Pending, 1 Running, 2 Completed, 3 Failed, 4 Cancelled, 5 Delayed);
choice!(Task, else Self::HardStop; 0 Launch(at), 1 ScopeDone(key), 2 HardStop);

record!(StepRef { scope, ix });
record!(ScopeState { ix, owner, view, bound, steps, open, ending, result });
record!(StepState { stage, taken, dead, active });
choice!(Stage, else Self::Waiting;
    0 Waiting, 1 Due, 2 Ready, 3 Running, 4 Delayed, 5 Retrying, 6 Open, 7 Listening, 8 Calling,
    9 Publishing, 10 Settled);
choice!(Ending, else Self::Cancelled; 0 Cancelled, 1 Failed(error));

record!(TimerKey { step, kind });
record!(Timer { boot, due_ms, bound_ms, counts, wall });
choice!(TimerKind, else Self::Delay;
    0 Delay, 1 Retry, 2 AttemptTimeout, 3 TotalTimeout, 4 RunTimeout, 5 Grace, 6 Deadline, 7 Beat,
    8 Poll, 9 Remind, 10 Finally);
choice!(CountDowntime, else Self::Auto; 0 Auto, 1 Always, 2 Never);

record!(View { vars, results, exported, bytes });
record!(Kept { value, bytes });
record!(StepResult { status, output, error, attempts, bytes });
choice!(StepStatus, else Self::Queued;
    0 Queued, 1 Running, 2 Delayed, 3 Succeeded, 4 Bypassed, 5 Failed, 6 Skipped, 7 Cancelled,
    8 Waiting);

record!(Undo { scope, path, output, bytes, bound });
record!(Undoing { left, child, is_complete, ending });

impl Stored for Digest {
    fn write(&self, to: &mut Writer) {
        self.0.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Self {
        Self(u64::read(from))
    }
}

impl Stored for DefinitionHash {
    fn write(&self, to: &mut Writer) {
        to.text(&self.0);
    }

    fn read(from: &mut Reader<'_>) -> Self {
        Self(from.text().to_owned())
    }
}

/// As it is in the journal.
impl Stored for FactRecord {
    fn write(&self, to: &mut Writer) {
        wire::pack(Kind::Fact, self).write(to);
    }

    fn read(from: &mut Reader<'_>) -> Self {
        let bytes = Vec::<u8>::read(from);
        let nothing = || Self { at: EMPTY, check: 0, fact: Fact::Alive };
        from.known(wire::unpack(Kind::Fact, &bytes, bytes.len()).ok()).unwrap_or_else(nothing)
    }
}

/// The stamp of nothing.
const EMPTY: Stamp = Stamp { boot: 0, boot_ms: 0, wall_ms: 0, trust: ClockTrust::Unset };

impl Stored for StepPath {
    fn write(&self, to: &mut Writer) {
        to.text(&self.0);
    }

    fn read(from: &mut Reader<'_>) -> Self {
        Self(from.text().to_owned())
    }
}

impl Stored for JsonText {
    fn write(&self, to: &mut Writer) {
        to.text(self.as_str());
    }

    fn read(from: &mut Reader<'_>) -> Self {
        Self::kept(from.text().to_owned())
    }
}

impl Stored for RunId {
    fn write(&self, to: &mut Writer) {
        to.text(self.as_str());
    }

    fn read(from: &mut Reader<'_>) -> Self {
        let nobody = |_| Self::of(openclaw_protocol::id::Epoch(0), 0);
        let id = Self::parse(from.text());
        if id.is_err() {
            from.fail();
        }
        id.unwrap_or_else(nobody)
    }
}

/// A step of the definition that the run is pinned to.
impl Stored for StepIx {
    fn write(&self, to: &mut Writer) {
        self.0.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Self {
        let Some(table) = from.table else {
            let place = from.place(from.plan.workflow.steps.len());
            return Self(u16::try_from(place).unwrap_or(0));
        };
        let place = from.place(table.steps.len());
        from.known(table.steps.get(place).copied().flatten()).unwrap_or(Self(0))
    }
}

/// A scope of the definition that the run is pinned to.
impl Stored for ScopeIx {
    fn write(&self, to: &mut Writer) {
        self.0.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Self {
        let Some(table) = from.table else {
            let place = from.place(from.plan.workflow.scopes.len());
            return Self(u16::try_from(place).unwrap_or(0));
        };
        let place = from.place(table.scopes.len());
        from.known(table.scopes.get(place).copied().flatten()).unwrap_or(Self(0))
    }
}

/// Variables that several views share stay shared: a branch costs nothing until it writes.
impl Stored for Arc<Vars> {
    fn write(&self, to: &mut Writer) {
        if to.first_of(Shared::Vars, self) {
            (**self).write(to);
        }
    }

    fn read(from: &mut Reader<'_>) -> Self {
        let place = from.place(from.vars.len() + 1);
        if let Some(known) = place.checked_sub(1).and_then(|place| from.vars.get(place)) {
            return Self::clone(known);
        }
        let fresh = Self::new(Stored::read(from));
        from.vars.push(Self::clone(&fresh));
        fresh
    }
}

impl Stored for Arc<Results> {
    fn write(&self, to: &mut Writer) {
        if to.first_of(Shared::Results, self) {
            (**self).write(to);
        }
    }

    fn read(from: &mut Reader<'_>) -> Self {
        let place = from.place(from.results.len() + 1);
        if let Some(known) = place.checked_sub(1).and_then(|place| from.results.get(place)) {
            return Self::clone(known);
        }
        let fresh = Self::new(Stored::read(from));
        from.results.push(Self::clone(&fresh));
        fresh
    }
}

impl Stored for Arc<Bound> {
    fn write(&self, to: &mut Writer) {
        if to.first_of(Shared::Bounds, self) {
            // Its own number is taken before those of the names around it; so it is when read.
            to.deeper(|to| self.outer.write(to));
            self.names.write(to);
        }
    }

    fn read(from: &mut Reader<'_>) -> Self {
        let place = from.place(from.bounds.len() + 1);
        if let Some(known) = place.checked_sub(1).and_then(|place| from.bounds.get(place)) {
            return Self::clone(known);
        }
        let slot = from.bounds.len();
        let nothing = || Self::new(Bound { names: Vec::new(), outer: None });
        from.bounds.push(nothing());
        let outer = from.deeper(None, Stored::read);
        let names: Vec<(String, Value)> = Stored::read(from);
        let fresh = Self::new(Bound { names, outer });
        from.bounds[slot] = Self::clone(&fresh);
        fresh
    }
}
