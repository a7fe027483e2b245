//! `delay`: waits; the wait survives a restart.

use openclaw_protocol::definition::DelayFor;
use openclaw_protocol::expr::Value;
use openclaw_protocol::run::{RunError, RunEvent, StepPath};
use openclaw_protocol::time::{parse_duration_ms, seconds_to_ms};

use super::{Begun, Work};
use crate::fact::TimerKind;
use crate::run::{StepRef, Turn};
use crate::scope::Stage;
use crate::timer::TimerKey;
use crate::{fault, names};

impl Turn<'_> {
    pub(super) fn delay(&mut self, at: &StepRef, path: &StepPath, length: &DelayFor) -> Begun {
        let wait = match length {
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
        self.set_work(at, Work::Delay(wait_ms), Stage::Delayed);
        self.arm(TimerKey::step(at, TimerKind::Delay), wait_ms);
        self.tell(RunEvent::StepDelayed { step: path.clone(), attempt: 0, wait_ms, error: None });
        Begun::Waits
    }

    /// The wait is over.
    pub(crate) fn delay_over(&mut self, at: &StepRef) {
        let Some(Work::Delay(wait_ms)) = self.work_mut(at) else { return };
        let wait_ms = *wait_ms;
        self.attempt_ended(at, Ok(waited(wait_ms)));
    }
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
