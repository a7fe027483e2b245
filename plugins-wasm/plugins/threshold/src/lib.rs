//! Watches a value against limits: hysteresis, a hold time, and an event at each edge.
//!
//! The state of each key is remembered for the workflow, so that a value that comes once a minute is
//! judged as a series. A call that fails or is repeated has changed nothing.

mod watch;

use openclaw_plugin_sdk::{Error, Result, export, kv, now_ms};
use serde::{Deserialize, Serialize};

use crate::watch::{Event, Pending, Rule, State, Zone};

/// One value and the rule for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    value: f64,
    #[serde(default = "default_key")]
    key: String,
    #[serde(default)]
    high: Option<f64>,
    #[serde(default)]
    low: Option<f64>,
    /// How far a value must come back before it counts as back.
    #[serde(default)]
    hysteresis: f64,
    /// How long a value must stay in another zone before that counts.
    #[serde(default)]
    hold_ms: i64,
    /// When the value was measured; now where absent.
    #[serde(default)]
    at_ms: Option<i64>,
}

/// Where the value is, and whether that is new.
#[derive(Debug, PartialEq, Serialize)]
pub struct Output {
    value: f64,
    state: Zone,
    /// The state before this call.
    previous: Zone,
    changed: bool,
    event: Option<Event>,
    since_ms: i64,
    pending: Option<Pending>,
}

/// Which key to forget.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    #[serde(default = "default_key")]
    key: String,
}

/// Whether there was a state.
#[derive(Debug, Serialize)]
pub struct WasReset {
    was: Option<Zone>,
}

export!(execute, check);
export!(reset, forget);

/// Judges one value.
///
/// # Errors
/// `inputs.invalid` for a rule that cannot be; `permission.denied`; `user.state` where what is
/// remembered cannot be read.
pub fn check(input: Input) -> Result<Output> {
    let Input { value, key, high, low, hysteresis, hold_ms, at_ms } = input;
    let rule = Rule { high, low, hysteresis, hold_ms };
    rule.check().map_err(|why| Error::new("inputs.invalid", why))?;
    let now = at_ms.map_or_else(now_ms, Ok)?;
    let before: Option<State> = kv::WORKFLOW.json(&key)?;
    let was = before.unwrap_or_else(|| State::new(now));
    let (state, event) = watch::step(was, &rule, value, now);
    // A write costs flash, and most values change nothing.
    if before != Some(state) {
        kv::WORKFLOW.set_json(&key, &state)?;
    }
    Ok(Output {
        value,
        state: state.zone,
        previous: was.zone,
        changed: event.is_some(),
        event,
        since_ms: state.since_ms,
        pending: state.pending,
    })
}

/// Forgets the state of a key; the next value begins as if it were the first.
///
/// # Errors
/// As [`check`].
pub fn forget(input: Reset) -> Result<WasReset> {
    let was: Option<State> = kv::WORKFLOW.json(&input.key)?;
    kv::WORKFLOW.remove(&input.key)?;
    Ok(WasReset { was: was.map(|state| state.zone) })
}

fn default_key() -> String {
    "default".to_owned()
}
