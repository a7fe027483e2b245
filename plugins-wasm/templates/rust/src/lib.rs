//! Scales the reading of a sensor and compares it with a limit.

use openclaw_plugin_sdk::{Error, Result, export};
use serde::{Deserialize, Serialize};

/// The most that the converter can count.
const MOST: f64 = 4095.0;

/// What a workflow hands in.
#[derive(Debug, Deserialize)]
pub struct Input {
    /// What the converter counted.
    pub raw: f64,
    /// Units for each count.
    pub scale: f64,
    /// A value above it is an alarm.
    pub limit: Option<f64>,
}

/// What a workflow gets.
#[derive(Debug, PartialEq, Serialize)]
pub struct Output {
    /// The reading, to three decimals.
    pub value: f64,
    /// Whether it is above the limit.
    pub alarm: bool,
}

export!(execute, scale);

/// Scales one reading.
///
/// # Errors
/// `user.sensor_fault` where no converter counts what is said.
pub fn scale(input: Input) -> Result<Output> {
    if !(0.0..=MOST).contains(&input.raw) {
        let text = format!("the reading is {}, expected 0 to {MOST}; check the cable", input.raw);
        return Err(Error::new("user.sensor_fault", text));
    }
    let value = (input.raw * input.scale * 1000.0).round() / 1000.0;
    Ok(Output { value, alarm: input.limit.is_some_and(|limit| value > limit) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_scaled() {
        let output = scale(Input { raw: 514.0, scale: 0.25, limit: Some(200.0) });
        assert_eq!(output, Ok(Output { value: 128.5, alarm: false }));
    }

    #[test]
    fn a_broken_sensor_is_a_failure_of_its_own() {
        let error = scale(Input { raw: 5000.0, scale: 0.25, limit: None }).map_err(|e| e.code);
        assert_eq!(error, Err("user.sensor_fault".to_owned()));
    }
}
