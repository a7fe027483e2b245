//! `wait`: until something is said or becomes true.
//!
//! A signal that came before the wait began counts; a message or an event does not. Which messages
//! count is decided before they are written down, so the journal holds only those.

use std::sync::Arc;

use openclaw_protocol::definition::{StepKind, Wait, WaitSource};
use openclaw_protocol::expr::{Template, Value};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::{RunError, RunEvent, StepPath};
use openclaw_protocol::topic;

use super::{Begun, Work};
use crate::fact::TimerKind;
use crate::limits::UNTIL_ROUNDS;
use crate::run::{Run, StepRef, Turn};
use crate::scope::Stage;
use crate::timer::TimerKey;
use crate::{fault, names};

/// A wait under way.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// What it listens to; `None`: nothing is said, something becomes true.
    pub(crate) source: Option<Source>,
    pub(crate) heard: Vec<Value>,
}

/// What a wait or trigger listens to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// Messages of the local broker under this topic filter, at this quality of service.
    Mqtt(Arc<str>, u8),
    /// Events of this name.
    Event(Arc<str>),
    /// Signals of this name.
    Signal(Arc<str>),
}

impl Turn<'_> {
    pub(super) fn listen(&mut self, at: &StepRef, path: &StepPath, wait: &Wait) -> Begun {
        let names = self.run.names(at, &path.0, self.at);
        let text = |what: &str, template: &Template| -> Result<Arc<str>, RunError> {
            names.text(what, template).map(Arc::from)
        };
        let source = match &wait.source {
            WaitSource::Mqtt { topic, qos } => text("topic", topic).and_then(|filter| {
                topic::check_filter(&filter).map_err(|why| fault::topic(&filter, why))?;
                Ok(Some(Source::Mqtt(filter, *qos)))
            }),
            WaitSource::Event { name } => text("event", name).map(|n| Some(Source::Event(n))),
            WaitSource::Signal { name } => text("signal", name).map(|n| Some(Source::Signal(n))),
            WaitSource::Until { .. } => Ok(None),
        };
        let source: Option<Source> = match source {
            Ok(source) => source,
            Err(error) => return Begun::Done(Err(error)),
        };
        let waiting = Waiting { source: source.clone(), heard: Vec::new() };
        self.set_work(at, Work::Wait(Box::new(waiting)), Stage::Listening);
        match (&wait.source, source) {
            (WaitSource::Until { expr, poll_ms }, _) => {
                match self.run.names(at, &path.0, self.at).truth("until", expr) {
                    Ok(true) => return Begun::Done(Ok(self.heard(at))),
                    Ok(false) => self.arm(TimerKey::step(at, TimerKind::Poll), *poll_ms),
                    Err(error) => return Begun::Done(Err(error)),
                }
            }
            (_, Some(Source::Signal(name))) => {
                if let Some(result) = self.take_signals(at, &name, wait) {
                    return Begun::Done(Ok(result));
                }
            }
            (_, _) => {}
        }
        self.run.listening.insert(at.clone());
        let reason = match &wait.source {
            WaitSource::Mqtt { .. } => "mqtt",
            WaitSource::Event { .. } => "event",
            WaitSource::Signal { .. } => "signal",
            WaitSource::Until { .. } => "until",
        };
        self.tell_waiting(path, reason, None);
        Begun::Waits
    }

    pub(crate) fn tell_waiting(
        &mut self,
        path: &StepPath,
        reason: &str,
        details: Option<JsonText>,
    ) {
        let (step, reason) = (path.clone(), reason.to_owned());
        self.tell(RunEvent::StepWaiting { step, reason, details });
    }

    /// Takes the signals that came before; the result where they are enough.
    fn take_signals(&mut self, at: &StepRef, name: &str, wait: &Wait) -> Option<Value> {
        let mut place = 0;
        while let Some((known, data)) = self.run.signals.get(place) {
            let message = signal_message(known, data);
            if known != name || !self.run.would_take(at, wait, &message, self.at) {
                place += 1;
                continue;
            }
            self.run.signals.remove(place);
            if self.hear(at, message, wait) {
                return Some(self.heard(at));
            }
        }
        None
    }

    /// Somebody says something to the run: the first wait that it is for takes it.
    pub(crate) fn signalled(&mut self, name: &str, data: &JsonText) {
        let data = Value::from_json(&data.value());
        let message = signal_message(name, &data);
        let plan = self.plan;
        let listening: Vec<StepRef> = self.run.listening.iter().cloned().collect();
        for at in listening {
            let StepKind::Wait(wait) = &plan.step(at.ix).kind else { continue };
            let source = self.run.source(&at);
            let is_for = matches!(source, Some(Source::Signal(wanted)) if **wanted == *name);
            if is_for && self.run.would_take(&at, wait, &message, self.at) {
                return self.take(&at, message, wait);
            }
        }
        self.run.signals.push_back((name.to_owned(), data));
    }

    /// A message or event has come that a wait is for.
    pub(crate) fn message(&mut self, path: &StepPath, message: &JsonText) {
        let Some(at) = self.run.find(path) else { return };
        let plan = self.plan;
        let StepKind::Wait(wait) = &plan.step(at.ix).kind else { return };
        if self.run.stage(&at) == Some(Stage::Listening) {
            self.take(&at, Value::from_json(&message.value()), wait);
        }
    }

    fn take(&mut self, at: &StepRef, message: Value, wait: &Wait) {
        if self.hear(at, message, wait) {
            let result = self.heard(at);
            self.attempt_ended(at, Ok(result));
        }
    }

    /// Notes one message. Whether that is enough.
    fn hear(&mut self, at: &StepRef, message: Value, wait: &Wait) -> bool {
        let Some(Work::Wait(waiting)) = self.work_mut(at) else { return false };
        waiting.heard.push(message);
        waiting.heard.len() >= wait.count as usize
    }

    /// The result of a wait that has come to its end.
    fn heard(&mut self, at: &StepRef) -> Value {
        let left = self.run.timers.get(&TimerKey::step(at, TimerKind::AttemptTimeout));
        let left = left.map_or(Value::Null, |timer| {
            Value::Int(i64::try_from(timer.left_ms(self.at)).unwrap_or(i64::MAX))
        });
        let Some(Work::Wait(waiting)) = self.work_mut(at) else { return Value::Null };
        let heard = std::mem::take(&mut waiting.heard);
        let last = heard.last().cloned().unwrap_or(Value::Null);
        let mut entries = vec![("message", last), ("remaining_ms", left)];
        if heard.len() > 1 {
            entries.push(("messages", Value::from(heard)));
        }
        names::object(entries)
    }

    /// It is time to look again whether what is waited for is true.
    pub(crate) fn poll(&mut self, at: &StepRef) {
        let plan = self.plan;
        if let StepKind::Wait(Wait { source: WaitSource::Until { poll_ms, .. }, .. }) =
            &plan.step(at.ix).kind
        {
            // The look itself follows every fact.
            self.arm(TimerKey::step(at, TimerKind::Poll), *poll_ms);
        }
    }

    /// Looks at what is waited for to become true, after a fact has been worked off.
    pub(crate) fn look_again(&mut self) {
        for _ in 0..UNTIL_ROUNDS {
            if self.run.is_unfinished() || !self.look_once() {
                return;
            }
            self.drain();
        }
    }

    fn look_once(&mut self) -> bool {
        let plan = self.plan;
        let found = self.run.listening.iter().find_map(|at| {
            let StepKind::Wait(Wait { source: WaitSource::Until { expr, .. }, .. }) =
                &plan.step(at.ix).kind
            else {
                return None;
            };
            let path = self.run.path(at);
            match self.run.names(at, &path.0, self.at).truth("until", expr) {
                Ok(false) => None,
                Ok(true) => Some((at.clone(), Ok(()))),
                Err(error) => Some((at.clone(), Err(error))),
            }
        });
        let Some((at, looked)) = found else { return false };
        let result = looked.map(|()| self.heard(&at));
        self.attempt_ended(&at, result);
        true
    }

    /// A wait or an approval has run out of time.
    pub(crate) fn wait_over(&mut self, at: &StepRef, bound_ms: u64) {
        let plan = self.plan;
        let kind = &plan.step(at.ix).kind;
        let meant = if let StepKind::Approval(approval) = kind {
            approval.on_timeout.as_ref().map(|choice| super::approval::by_nobody(choice))
        } else if matches!(kind, StepKind::Wait(wait) if wait.continue_on_timeout) {
            Some(self.heard(at))
        } else {
            None
        };
        let result = meant.ok_or_else(|| RunError {
            retryable: true,
            ..fault::fault("wait.timeout", format!("nothing came within {bound_ms} ms"))
        });
        self.attempt_ended(at, result);
    }
}

impl Run {
    /// What a step instance listens to.
    pub(crate) fn source(&self, at: &StepRef) -> Option<&Source> {
        let Work::Wait(waiting) = &self.active(at)?.work else { return None };
        waiting.source.as_ref()
    }

    /// Whether a wait counts a message. A question that cannot be answered counts as no.
    pub(crate) fn would_take(
        &self,
        at: &StepRef,
        wait: &Wait,
        message: &Value,
        now: openclaw_protocol::time::Stamp,
    ) -> bool {
        let Some(when) = &wait.when else { return true };
        let path = self.path(at);
        let mut names = self.names(at, &path.0, now);
        names.message = Some(message);
        names.truth("when", when).unwrap_or(false)
    }
}

fn signal_message(name: &str, data: &Value) -> Value {
    names::object([("signal", Value::from(name)), ("data", data.clone())])
}
