//! Sums up a batch of sensor samples: JSON in, a few computed fields, JSON out.
//!
//! Small on purpose: it needs no permission, and the benchmark uses it as the typical step.

use openclaw_plugin_sdk::{Error, Result, export};
use serde::{Deserialize, Serialize};

/// What a sensor sent.
#[derive(Debug, Deserialize)]
pub struct Batch {
    device: String,
    sensor: String,
    #[serde(default)]
    unit: Option<String>,
    #[serde(default)]
    at: Option<String>,
    #[serde(default)]
    limits: Limits,
    samples: Vec<f64>,
}

/// The band that samples should stay in.
#[derive(Debug, Default, Deserialize)]
pub struct Limits {
    #[serde(default)]
    low: Option<f64>,
    #[serde(default)]
    high: Option<f64>,
}

/// What a workflow decides on.
#[derive(Debug, PartialEq, Serialize)]
pub struct Summary {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    count: usize,
    min: f64,
    max: f64,
    mean: f64,
    spread: f64,
    breaches: usize,
    status: &'static str,
}

export!(execute, summarise);

/// Counts, extremes, mean and breaches of one batch.
///
/// # Errors
/// `inputs.invalid` where there is no sample.
pub fn summarise(batch: Batch) -> Result<Summary> {
    let count = batch.samples.len();
    if count == 0 {
        return Err(Error::new("inputs.invalid", "`samples` is empty; send at least one number"));
    }
    let min = batch.samples.iter().copied().fold(f64::INFINITY, f64::min);
    let max = batch.samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mean = batch.samples.iter().sum::<f64>() / count as f64;
    let outside = |s: &&f64| {
        batch.limits.low.is_some_and(|low| **s < low)
            || batch.limits.high.is_some_and(|high| **s > high)
    };
    let breaches = batch.samples.iter().filter(outside).count();
    let status = match breaches {
        0 => "ok",
        n if n * 2 < count => "warning",
        _ => "alarm",
    };
    Ok(Summary {
        id: format!("{}/{}", batch.device, batch.sensor),
        unit: batch.unit,
        at: batch.at,
        count,
        min: rounded(min),
        max: rounded(max),
        mean: rounded(mean),
        spread: rounded(max - min),
        breaches,
        status,
    })
}

/// To three decimals, which is more than a field sensor knows. Larger values are left alone.
fn rounded(value: f64) -> f64 {
    let scaled = value * 1000.0;
    if !(-9.0e15..=9.0e15).contains(&scaled) {
        return value;
    }
    let half = if scaled < 0.0 { -0.5 } else { 0.5 };
    (scaled + half) as i64 as f64 / 1000.0
}
