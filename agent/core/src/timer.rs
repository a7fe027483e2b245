//! Timers of a run: what each waits for, when it fires, and what a restart makes of it.
//!
//! All of them count elapsed time, on the boot clock. A restart of the agent within one boot
//! changes nothing. After a reboot the rest of the wait goes on from there; the time in between
//! is taken off only if the wall clock was synchronised before and after, because a wait must
//! never end early. An attempt's own bound does not survive: the attempt was interrupted.

use openclaw_protocol::definition::CountDowntime;
use openclaw_protocol::run::{RunError, StepPath};
use openclaw_protocol::time::{ClockTrust, Stamp};

use crate::effect::StopReason;
use crate::fact::TimerKind;
use crate::fault;
use crate::limits::WALL_LOOK_MS;
use crate::run::{Phase, Run, StepRef, Turn};
use crate::scope::{Ending, ScopeKey, Stage};

/// Whose timer, and which. At most one of each at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerKey {
    /// `None`: the run's own.
    pub(crate) step: Option<StepRef>,
    pub(crate) kind: TimerKind,
}

/// When a timer fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timer {
    pub(crate) boot: u32,
    /// In milliseconds of that boot.
    pub(crate) due_ms: u64,
    /// As it was set, for the error's text.
    pub(crate) bound_ms: u64,
    /// What a reboot takes off.
    pub(crate) counts: CountDowntime,
    /// It is for a point in wall-clock time instead, at a clock that is trusted so far.
    pub(crate) wall: Option<(i64, ClockTrust)>,
}

impl TimerKind {
    /// What the timer is for, in a word or two.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::Retry => "retry",
            Self::AttemptTimeout => "attempt timeout",
            Self::TotalTimeout => "total timeout",
            Self::RunTimeout => "run timeout",
            Self::Grace => "grace",
            Self::Deadline => "deadline",
            Self::Beat => "beat",
            Self::Poll => "poll",
            Self::Remind => "remind",
            Self::Finally => "finally timeout",
        }
    }
}

impl TimerKey {
    pub(crate) fn run() -> Self {
        Self { step: None, kind: TimerKind::RunTimeout }
    }

    /// That of the workflow's `finally`.
    pub(crate) fn run_finally() -> Self {
        Self { step: None, kind: TimerKind::Finally }
    }

    pub(crate) fn step(at: &StepRef, kind: TimerKind) -> Self {
        Self { step: Some(at.clone()), kind }
    }
}

impl Run {
    /// The earliest deadline in the boot at hand, and what for.
    pub(crate) fn next_deadline(&self, now: Stamp) -> Option<(u64, &'static str)> {
        let armed = self.timers.iter().filter(|(_, timer)| timer.boot == now.boot);
        armed.map(|(key, timer)| (timer.look_ms(now), key.kind.reason())).min()
    }

    /// The timers that are due, earliest first.
    pub(crate) fn due(&self, now: Stamp) -> Vec<(StepPath, TimerKind)> {
        let mut due: Vec<(u64, &TimerKey)> = self
            .timers
            .iter()
            .filter(|(_, timer)| timer.is_due(now))
            .map(|(key, timer)| (timer.due_ms, key))
            .collect();
        openclaw_protocol::ordered::sort(&mut due);
        due.into_iter()
            .map(|(_, key)| {
                let path = key.step.as_ref().map(|at| self.path(at));
                (path.unwrap_or_else(|| StepPath(String::new())), key.kind)
            })
            .collect()
    }

    /// Whether a timer is armed and due.
    pub(crate) fn is_due(&self, path: &StepPath, kind: TimerKind, now: Stamp) -> bool {
        let key = if path.0.is_empty() {
            Some(TimerKey { step: None, kind })
        } else {
            self.find(path).map(|at| TimerKey::step(&at, kind))
        };
        key.and_then(|key| self.timers.get(&key)).is_some_and(|timer| timer.is_due(now))
    }

    /// How many steps wait for a point in time.
    pub(crate) fn delayed_steps(&self) -> usize {
        let waits = |key: &&TimerKey| {
            matches!(key.kind, TimerKind::Delay | TimerKind::Retry | TimerKind::Deadline)
        };
        self.timers.keys().filter(waits).count()
    }
}

impl Turn<'_> {
    /// Sets a timer, instead of the one of that name.
    pub(crate) fn arm(&mut self, key: TimerKey, wait_ms: u64) {
        self.arm_counting(key, wait_ms, CountDowntime::Auto);
    }

    /// As [`Self::arm`], for a wait that says what a reboot takes off.
    pub(crate) fn arm_counting(&mut self, key: TimerKey, wait_ms: u64, counts: CountDowntime) {
        let due_ms = self.at.boot_ms.saturating_add(wait_ms);
        let timer = Timer { boot: self.at.boot, due_ms, bound_ms: wait_ms, counts, wall: None };
        self.run.timers.insert(key, timer);
    }

    /// Takes back the timers of a step instance, all but perhaps one kind.
    pub(crate) fn disarm(&mut self, at: &StepRef, but: Option<TimerKind>) {
        self.run.timers.retain(|key, _| key.step.as_ref() != Some(at) || Some(key.kind) == but);
    }

    /// Sets a timer for a point in wall-clock time.
    pub(crate) fn arm_deadline(&mut self, key: TimerKey, until_ms: i64, wanted: ClockTrust) {
        let (boot, wall) = (self.at.boot, Some((until_ms, wanted)));
        let timer = Timer { boot, due_ms: 0, bound_ms: 0, counts: CountDowntime::Auto, wall };
        self.run.timers.insert(key, timer);
    }

    /// A timer's time has come.
    pub(crate) fn timer_fired(&mut self, path: &StepPath, kind: TimerKind) {
        if path.0.is_empty() {
            return self.run_timer_fired(kind);
        }
        let Some(at) = self.run.find(path) else { return };
        let Some(timer) = self.run.timers.remove(&TimerKey::step(&at, kind)) else { return };
        match kind {
            TimerKind::Delay | TimerKind::Deadline => self.delay_over(&at),
            TimerKind::Retry => self.try_again(&at),
            TimerKind::Beat => self.beat(&at),
            TimerKind::Poll => self.poll(&at),
            TimerKind::Remind => self.remind(&at),
            TimerKind::Finally => self.finally_over(&at, timer.bound_ms),
            TimerKind::AttemptTimeout if self.run.stage(&at) == Some(Stage::Listening) => {
                self.wait_over(&at, timer.bound_ms);
            }
            TimerKind::AttemptTimeout => {
                self.time_out(&at, fault::timeout("the attempt", timer.bound_ms));
            }
            TimerKind::TotalTimeout => {
                if let Some(active) = self.step_state(&at).and_then(|state| state.active.as_mut()) {
                    active.is_final = true;
                }
                self.time_out(&at, fault::timeout("the step with its retries", timer.bound_ms));
            }
            TimerKind::Grace => self.give_up(&at),
            TimerKind::RunTimeout => {}
        }
    }

    /// One of the run's own timers.
    fn run_timer_fired(&mut self, kind: TimerKind) {
        let Some(timer) = self.run.timers.remove(&TimerKey { step: None, kind }) else { return };
        let what = match (kind, self.run.phase) {
            (TimerKind::RunTimeout, Phase::Main) => "the run",
            (TimerKind::Finally, Phase::Finally) => "`finally`",
            (_, _) => return,
        };
        let error = fault::timeout(what, timer.bound_ms);
        self.close_scope(ScopeKey::from(""), Ending::Failed(Box::new(error)));
    }

    fn time_out(&mut self, at: &StepRef, error: RunError) {
        let inner = self.close_step(at, Ending::Failed(Box::new(error)), StopReason::TimedOut);
        for key in inner {
            self.close_scope(key, Ending::Cancelled);
        }
    }

    fn try_again(&mut self, at: &StepRef) {
        if self.run.stage(at) != Some(Stage::Retrying) {
            return;
        }
        let Some(active) = self.step_state(at).and_then(|state| state.active.as_mut()) else {
            return;
        };
        active.attempt = active.attempt.saturating_add(1);
        active.interrupted = false;
        active.deaths = (0, 0);
        self.begin_attempt(at);
    }

    /// The agent is back: waits go on, and what was under way is under way again.
    pub(crate) fn restarted(&mut self, unclean: bool) {
        self.tell(openclaw_protocol::run::RunEvent::Resumed { unclean });
        let (before, now) = (self.run.last, self.at);
        for timer in self.run.timers.values_mut() {
            timer.carry_over(before, now);
        }
        let live: Vec<(StepRef, Stage)> = self.run.live().collect();
        for (at, stage) in live {
            // An earlier one of these may have ended this one.
            if self.run.stage(&at) != Some(stage) {
                continue;
            }
            match stage {
                Stage::Running => self.interrupt(&at, unclean),
                Stage::Ready => self.requeue(&at, unclean),
                Stage::Waiting
                | Stage::Due
                | Stage::Delayed
                | Stage::Retrying
                | Stage::Open
                | Stage::Listening
                | Stage::Calling
                | Stage::Publishing
                | Stage::Settled => {}
            }
        }
    }
}

impl Timer {
    fn is_due(&self, now: Stamp) -> bool {
        self.boot == now.boot
            && match self.wall {
                None => self.due_ms <= now.boot_ms,
                Some((until_ms, wanted)) => now.trust >= wanted && now.wall_ms >= until_ms,
            }
    }

    /// When to look at it, in milliseconds of the boot at hand.
    fn look_ms(&self, now: Stamp) -> u64 {
        let Some((until_ms, wanted)) = self.wall else { return self.due_ms };
        let left = u64::try_from(until_ms.saturating_sub(now.wall_ms)).unwrap_or(0);
        let wait_ms = if now.trust >= wanted { left.min(WALL_LOOK_MS) } else { WALL_LOOK_MS };
        now.boot_ms.saturating_add(wait_ms)
    }

    /// What is left of the wait, in milliseconds.
    pub(crate) fn left_ms(&self, now: Stamp) -> u64 {
        self.due_ms.saturating_sub(now.boot_ms)
    }

    /// Moves the deadline into a new boot. `before` is when the run was last heard of.
    fn carry_over(&mut self, before: Stamp, now: Stamp) {
        if self.boot == now.boot {
            return;
        }
        if self.wall.is_some() {
            self.boot = now.boot;
            return;
        }
        // What is left as far as the old boot is known.
        let left = if before.boot == self.boot {
            self.due_ms.saturating_sub(before.boot_ms)
        } else {
            self.bound_ms
        };
        let estimated = before.trust.min(now.trust) >= ClockTrust::Estimated;
        let credit = match self.counts {
            CountDowntime::Never => 0,
            CountDowntime::Always if estimated => {
                let by_wall = now.wall_ms.saturating_sub(before.wall_ms);
                u64::try_from(by_wall).unwrap_or(0).max(now.boot_ms)
            }
            CountDowntime::Auto | CountDowntime::Always => before.elapsed_ms(now),
        };
        self.boot = now.boot;
        self.due_ms = now.boot_ms.saturating_add(left.saturating_sub(credit));
    }
}
