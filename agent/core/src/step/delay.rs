//! `delay`: waits; the wait survives a restart.

use openclaw_protocol::definition::{Delay, DelayFor};
use openclaw_protocol::expr::{Timestamp, Value};
use openclaw_protocol::run::{RunError, RunEvent, StepPath};
use openclaw_protocol::time::{ClockTrust, parse_duration_ms, seconds_to_ms};

use super::{Begun, Work};
use crate::fact::TimerKind;
use crate::run::{StepRef, Turn};
use crate::scope::Stage;
use crate::timer::TimerKey;
use crate::{fault, names};

impl Turn<'_> {
    pub(super) fn delay(&mut self, at: &StepRef, path: &StepPath, delay: &Delay) -> Begun {
        let wait = match &delay.length {
            DelayFor::Until { at: when, synced } => {
                let value = self.run.names(at, &path.0, self.at).value("until", when);
                return match value.and_then(|value| instant_ms(&value)) {
                    Ok(until_ms) => self.delay_until(at, path, until_ms, *synced),
                    Err(error) => Begun::Done(Err(error)),
                };
            }
            DelayFor::Fixed(wait_ms) => Ok(*wait_ms),
            DelayFor::Computed(expr) => self
                .run
                .names(at, &path.0, self.at)
                .value("delay", expr)
                .and_then(|v| length_ms(&v)),
        };
        let wait_ms = match wait {
            Ok(0) => return Begun::Done(Ok(waited(0))),
            Ok(wait_ms) => wait_ms,
            Err(error) => return Begun::Done(Err(error)),
        };
        self.set_work(at, Work::Delay(Some(wait_ms)), Stage::Delayed);
        self.arm_counting(TimerKey::step(at, TimerKind::Delay), wait_ms, delay.count_downtime);
        self.tell(RunEvent::StepDelayed { step: path.clone(), attempt: 0, wait_ms, error: None });
        Begun::Waits
    }

    fn delay_until(&mut self, at: &StepRef, path: &StepPath, until_ms: i64, synced: bool) -> Begun {
        let wanted = if synced { ClockTrust::Synced } else { ClockTrust::Estimated };
        let now = self.at;
        if now.trust >= wanted && now.wall_ms >= until_ms {
            return Begun::Done(Ok(waited(0)));
        }
        self.set_work(at, Work::Delay(None), Stage::Delayed);
        self.arm_deadline(TimerKey::step(at, TimerKind::Deadline), until_ms, wanted);
        let step = path.clone();
        if now.trust < wanted {
            self.tell_waiting(&step, "clock", None);
        } else {
            let wait_ms = u64::try_from(until_ms.saturating_sub(now.wall_ms)).unwrap_or(0);
            self.tell(RunEvent::StepDelayed { step, attempt: 0, wait_ms, error: None });
        }
        Begun::Waits
    }

    /// The wait is over.
    pub(crate) fn delay_over(&mut self, at: &StepRef) {
        let now = self.at;
        let Some(active) = self.run.active(at) else { return };
        let Work::Delay(wait_ms) = active.work else { return };
        let passed = active.started.map_or(0, |started| started.elapsed_ms(now));
        self.attempt_ended(at, Ok(waited(wait_ms.unwrap_or(passed))));
    }
}

/// A timestamp or its text, in milliseconds since 1970 UTC.
fn instant_ms(value: &Value) -> Result<i64, RunError> {
    if let Value::Timestamp(instant) = value {
        return Ok(instant.as_millis());
    }
    let instant = value.as_str().and_then(Timestamp::from_rfc3339);
    instant.map(Timestamp::as_millis).ok_or_else(|| {
        let found = value.type_name();
        let message =
            format!("until: {found} is no point in time; give one such as 2026-01-31T12:30:00Z");
        fault::fault("expr.type", message)
    })
}

/// Seconds as a number, a duration, or its text. What is not positive is no wait.
fn length_ms(value: &Value) -> Result<u64, RunError> {
    if let Value::Duration(length) = value {
        return Ok(u64::try_from(length.as_millis()).unwrap_or(0));
    }
    if let Some(seconds) = value.as_f64() {
        if seconds <= 0.0 {
            return Ok(0);
        }
        return seconds_to_ms(seconds)
            .ok_or_else(|| fault::fault("expr.type", format!("delay: {seconds} s is too long")));
    }
    let Some(text) = value.as_str() else {
        let found = value.type_name();
        return Err(fault::fault(
            "expr.type",
            format!("delay: {found} is no duration; give seconds or text such as `5m`"),
        ));
    };
    parse_duration_ms(text).map_err(|error| fault::fault("expr.type", format!("delay: {error}")))
}

fn waited(wait_ms: u64) -> Value {
    let wait = i64::try_from(wait_ms).unwrap_or(i64::MAX);
    names::object([("waited_ms", Value::Int(wait))])
}
