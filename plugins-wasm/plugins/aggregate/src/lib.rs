//! Sums up values over a window: count, extremes, mean, sum, percentiles.
//!
//! The values of the open window are remembered for the workflow, so that each call may bring one.

mod window;

use std::collections::BTreeMap;

use openclaw_plugin_sdk::{Error, Result, export, kv, now_ms};
use serde::{Deserialize, Serialize};

use crate::window::{SAMPLES, Stats, Window};

/// Values to add, and the window they belong to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    #[serde(default)]
    value: Option<f64>,
    #[serde(default)]
    values: Vec<f64>,
    #[serde(default = "default_key")]
    key: String,
    window: WindowInput,
    #[serde(default)]
    percentiles: Vec<f64>,
    /// When the values were measured; now where absent.
    #[serde(default)]
    at_ms: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowInput {
    #[serde(default)]
    count: Option<usize>,
    #[serde(default)]
    duration_ms: Option<i64>,
    #[serde(default)]
    sliding: bool,
}

/// What the windows hold.
#[derive(Debug, Serialize)]
pub struct Output {
    /// Windows that are full with this call, oldest first.
    closed: Vec<Stats>,
    /// The window that is open now.
    open: Option<Stats>,
}

/// Which window to close.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flush {
    #[serde(default = "default_key")]
    key: String,
    #[serde(default)]
    percentiles: Vec<f64>,
}

/// A value and when it was measured.
type Samples = Vec<(i64, f64)>;

export!(execute, add);
export!(flush, close);

/// Adds values.
///
/// # Errors
/// `inputs.invalid` for a window that cannot be, or no value; `permission.denied`; `user.state`.
pub fn add(input: Input) -> Result<Output> {
    let invalid = |why: String| Error::new("inputs.invalid", why);
    let WindowInput { count, duration_ms, sliding } = input.window;
    let window = Window::new(count, duration_ms, sliding).map_err(invalid)?;
    window::check_percentiles(&input.percentiles).map_err(invalid)?;
    let values: Vec<f64> = input.value.into_iter().chain(input.values).collect();
    if values.is_empty() || values.len() > SAMPLES {
        let there = values.len();
        return Err(invalid(format!("give 1 to {SAMPLES} values, not {there}")));
    }
    let now = input.at_ms.map_or_else(now_ms, Ok)?;
    let mut samples: Samples = kv::WORKFLOW.json(&input.key)?.unwrap_or_default();
    let mut closed = Vec::new();
    for value in values {
        window
            .add(&mut samples, now, value, |full| {
                closed.extend(Stats::of(full, &input.percentiles));
            })
            .map_err(|why| Error::new("user.window_full", why))?;
    }
    let open = Stats::of(&samples, &input.percentiles);
    kv::WORKFLOW.set_json(&input.key, &samples)?;
    Ok(Output { closed, open })
}

/// Closes the open window, however much is in it.
///
/// # Errors
/// As [`add`].
pub fn close(input: Flush) -> Result<Output> {
    window::check_percentiles(&input.percentiles).map_err(|e| Error::new("inputs.invalid", e))?;
    let samples: Samples = kv::WORKFLOW.json(&input.key)?.unwrap_or_default();
    kv::WORKFLOW.remove(&input.key)?;
    Ok(Output { closed: Stats::of(&samples, &input.percentiles).into_iter().collect(), open: None })
}

fn default_key() -> String {
    "default".to_owned()
}

/// Percentiles by name, such as `p95`.
type Percentiles = BTreeMap<String, f64>;
