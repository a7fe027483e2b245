//! Says whether a value is unlike those before it, by a score in standard deviations.
//!
//! Mean and variance of each key are remembered for the workflow, not the values: a state of some
//! hundred bytes, however long the series.

mod score;

use openclaw_plugin_sdk::{Error, Result, export, kv};
use serde::{Deserialize, Serialize};

use crate::score::{Method, Rule, State};

/// One value and how it is judged.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    value: f64,
    #[serde(default = "key")]
    key: String,
    #[serde(default)]
    method: Method,
    /// Weight of the newest value, for `ewma`.
    #[serde(default = "alpha")]
    alpha: f64,
    /// Standard deviations from the mean from which on a value is an anomaly.
    #[serde(default = "threshold")]
    threshold: f64,
    /// Values before the first judgement.
    #[serde(default = "warm_up")]
    warm_up: u64,
    /// The least standard deviation: what is closer to the mean is never an anomaly by noise alone.
    #[serde(default = "min_deviation")]
    min_deviation: f64,
    /// Whether anomalies are left out of mean and deviation.
    #[serde(default)]
    skip_anomalies: bool,
}

/// The judgement, and what it rests on.
#[derive(Debug, PartialEq, Serialize)]
pub struct Output {
    anomaly: bool,
    /// Standard deviations from the mean of the values before; `null` while there are too few.
    score: Option<f64>,
    warming_up: bool,
    /// Of the values before this one.
    mean: f64,
    deviation: f64,
    count: u64,
}

/// Which key to forget.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    #[serde(default = "key")]
    key: String,
}

/// How many values were forgotten.
#[derive(Debug, Serialize)]
pub struct WasReset {
    count: u64,
}

export!(execute, judge);
export!(reset, forget);

/// Judges one value.
///
/// # Errors
/// `inputs.invalid` for a rule that cannot be; `permission.denied`; `user.state`.
pub fn judge(input: Input) -> Result<Output> {
    let rule = Rule {
        method: input.method,
        alpha: input.alpha,
        threshold: input.threshold,
        warm_up: input.warm_up,
        min_deviation: input.min_deviation,
    };
    rule.check().map_err(|why| Error::new("inputs.invalid", why))?;
    let state: State = kv::WORKFLOW.json(&input.key)?.unwrap_or_default();
    let score = rule.score(&state, input.value);
    let anomaly = score.is_some_and(|score| score.abs() >= rule.threshold);
    if !(anomaly && input.skip_anomalies) {
        kv::WORKFLOW.set_json(&input.key, &rule.learn(state, input.value))?;
    }
    Ok(Output {
        anomaly,
        score,
        warming_up: score.is_none(),
        mean: state.mean,
        deviation: rule.deviation(&state),
        count: state.count,
    })
}

/// Forgets a key; the next value begins as if it were the first.
///
/// # Errors
/// `permission.denied`.
pub fn forget(input: Reset) -> Result<WasReset> {
    // What cannot be read is forgotten all the same.
    let state: State = kv::WORKFLOW.json(&input.key).ok().flatten().unwrap_or_default();
    kv::WORKFLOW.remove(&input.key)?;
    Ok(WasReset { count: state.count })
}

fn key() -> String {
    "default".to_owned()
}

const fn alpha() -> f64 {
    0.1
}

const fn threshold() -> f64 {
    3.0
}

const fn warm_up() -> u64 {
    30
}

const fn min_deviation() -> f64 {
    1e-9
}
