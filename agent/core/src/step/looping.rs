//! `loop`: repeats its body, with a bound.

use std::sync::Arc;

use openclaw_protocol::definition::{LoopTest, ScopeIx, StepKind};
use openclaw_protocol::expr::{Expr, Value};
use openclaw_protocol::limits;
use openclaw_protocol::run::{RunError, StepPath};
use openclaw_protocol::time::Stamp;

use super::{Begun, Work};
use crate::fact::TimerKind;
use crate::names::{LoopAt, Names};
use crate::run::{StepRef, Turn};
use crate::scope::{ScopeKey, Stage};
use crate::timer::TimerKey;
use crate::{fault, names, view};

/// Iterations under way.
#[derive(Debug)]
pub(crate) struct Looping {
    /// Of the iteration at hand, from 0.
    pub(crate) index: u32,
    pub(crate) times: Option<u32>,
    pub(crate) items: Vec<Value>,
    pub(crate) items_bytes: usize,
    /// The scope of the iteration at hand; none while the next one waits for its beat.
    pub(crate) child: Option<ScopeKey>,
    /// When the latest iteration was due to begin.
    pub(crate) beat: Stamp,
}

/// The step as written.
pub(super) struct Shape<'a> {
    pub(super) test: &'a LoopTest,
    pub(super) max_iterations: u32,
    pub(super) every_ms: Option<u64>,
    pub(super) collect: Option<&'a Expr>,
    pub(super) body: ScopeIx,
}

impl<'a> Shape<'a> {
    /// Of a `loop` step.
    pub(super) fn of(kind: &'a StepKind) -> Option<Self> {
        let StepKind::Loop { test, max_iterations, every_ms, collect, body } = kind else {
            return None;
        };
        let (max_iterations, every_ms, body) = (*max_iterations, *every_ms, *body);
        Some(Self { test, max_iterations, every_ms, collect: collect.as_ref(), body })
    }
}

impl Looping {
    pub(super) fn at(&self) -> LoopAt {
        LoopAt { index: self.index, times: self.times }
    }
}

impl Turn<'_> {
    pub(super) fn begin_loop(&mut self, at: &StepRef, path: &StepPath, shape: &Shape<'_>) -> Begun {
        let times = match shape.test {
            LoopTest::Times(expr) => {
                let value = self.run.names(at, &path.0, self.at).value("times", expr);
                match value.and_then(|value| iterations(&value)) {
                    Ok(times) => Some(times),
                    Err(error) => return Begun::Done(Err(error)),
                }
            }
            LoopTest::While(_) | LoopTest::Until(_) => None,
        };
        let (items, beat) = (Vec::new(), self.at);
        let looping = Looping { index: 0, times, items, items_bytes: 2, child: None, beat };
        self.set_work(at, Work::Loop(Box::new(looping)), Stage::Open);
        self.iterate(at, shape)
    }

    /// Begins the iteration that the state names, or ends the loop.
    fn iterate(&mut self, at: &StepRef, shape: &Shape<'_>) -> Begun {
        let Some(Work::Loop(looping)) = self.work_mut(at) else { return Begun::Waits };
        let here = looping.at();
        let more = match shape.test {
            LoopTest::While(expr) => self.ask_loop(at, here, |names| names.truth("while", expr)),
            LoopTest::Until(_) => Ok(true),
            LoopTest::Times(_) => Ok(here.times.is_some_and(|times| here.index < times)),
        };
        match more {
            Ok(true) => {}
            Ok(false) => return Begun::Done(Ok(self.loop_result(at))),
            Err(error) => return Begun::Done(Err(error)),
        }
        if here.index >= shape.max_iterations {
            let message = format!(
                "the loop is not done after {} iterations; raise max_iterations or check its test",
                shape.max_iterations
            );
            return Begun::Done(Err(fault::fault("loop.limit", message)));
        }
        let key = self.child_key(at, &format!("#{}", here.index));
        if let Some(Work::Loop(looping)) = self.work_mut(at) {
            looping.child = Some(Arc::clone(&key));
        }
        let view = self.run.view_of(at);
        self.open_scope(shape.body, key, Some(at.clone()), view);
        Begun::Waits
    }

    pub(super) fn iteration_done(
        &mut self,
        at: &StepRef,
        outcome: Result<Value, RunError>,
        shape: &Shape<'_>,
    ) {
        // An iteration counts as a step, so that an empty body ends as well.
        self.count_history();
        let closing = self.run.active(at).is_none_or(|active| active.closing.is_some());
        let ended = match outcome {
            Err(error) => Err(error),
            Ok(_) if closing => Err(fault::cancelled()),
            Ok(_) => match self.collect(at, shape) {
                Ok(true) => Ok(self.loop_result(at)),
                Ok(false) if self.wait_for_beat(at, shape) => return,
                Ok(false) => match self.iterate(at, shape) {
                    Begun::Waits => return,
                    Begun::Done(result) => result,
                },
                Err(error) => Err(error),
            },
        };
        self.attempt_ended(at, ended);
    }

    /// Whether the next iteration is not due yet. One that is late begins at once, and the beat goes
    /// on from there.
    fn wait_for_beat(&mut self, at: &StepRef, shape: &Shape<'_>) -> bool {
        let Some(every_ms) = shape.every_ms else { return false };
        let now = self.at;
        let Some(Work::Loop(looping)) = self.work_mut(at) else { return false };
        looping.child = None;
        let passed = looping.beat.elapsed_ms(now);
        if passed >= every_ms {
            looping.beat = now;
            return false;
        }
        looping.beat.boot_ms = looping.beat.boot_ms.saturating_add(every_ms);
        self.arm(TimerKey::step(at, TimerKind::Beat), every_ms - passed);
        true
    }

    /// The next iteration is due.
    pub(crate) fn beat(&mut self, at: &StepRef) {
        let plan = self.plan;
        let Some(shape) = Shape::of(&plan.step(at.ix).kind) else { return };
        let now = self.at;
        if let Some(Work::Loop(looping)) = self.work_mut(at)
            && looping.beat.boot != now.boot
        {
            // When it would have come is not known in the time of this boot: it goes on from here.
            looping.beat = now;
        }
        if let Begun::Done(result) = self.iterate(at, &shape) {
            self.attempt_ended(at, result);
        }
    }

    /// Takes what the iteration leaves and moves on. Whether `until` says that this was the last.
    fn collect(&mut self, at: &StepRef, shape: &Shape<'_>) -> Result<bool, RunError> {
        let Some(Work::Loop(looping)) = self.work_mut(at) else { return Ok(true) };
        let here = looping.at();
        let item = match shape.collect {
            Some(expr) => Some(self.ask_loop(at, here, |names| names.value("collect", expr))?),
            None => None,
        };
        let done = match shape.test {
            LoopTest::Until(expr) => self.ask_loop(at, here, |names| names.truth("until", expr))?,
            LoopTest::While(_) | LoopTest::Times(_) => false,
        };
        let Some(Work::Loop(looping)) = self.work_mut(at) else { return Ok(true) };
        looping.index = looping.index.saturating_add(1);
        if let Some(item) = item {
            looping.items_bytes += view::size(&item)? + 1;
            if looping.items_bytes > limits::VALUE_BYTES {
                let bytes = looping.items_bytes;
                return Err(fault::payload("what the loop collects", bytes, limits::VALUE_BYTES));
            }
            looping.items.push(item);
        }
        Ok(done)
    }

    fn ask_loop<T>(&self, at: &StepRef, here: LoopAt, ask: impl FnOnce(&Names<'_>) -> T) -> T {
        let path = self.run.path(at);
        let mut names = self.run.names(at, &path.0, self.at);
        names.around = Some(here);
        ask(&names)
    }

    fn loop_result(&mut self, at: &StepRef) -> Value {
        let Some(Work::Loop(looping)) = self.work_mut(at) else { return Value::Null };
        let items = std::mem::take(&mut looping.items);
        names::object([
            ("iterations", Value::Int(i64::from(looping.index))),
            ("items", Value::from(items)),
        ])
    }
}

fn iterations(value: &Value) -> Result<u32, RunError> {
    let Some(times) = value.as_integer() else {
        let found = value.type_name();
        return Err(fault::fault("expr.type", format!("times: {found} is no whole number")));
    };
    // Negative means none; what is beyond all bounds meets `max_iterations`.
    Ok(u32::try_from(times.max(0)).unwrap_or(u32::MAX))
}
