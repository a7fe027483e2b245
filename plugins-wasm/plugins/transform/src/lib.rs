//! Runs a jq filter over a value: jaq inside the guest, bounded by its fuel and memory.

mod filter;

use std::collections::BTreeMap;

use openclaw_plugin_sdk::{Error, Result, export};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a filter is run over.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    filter: String,
    input: Value,
    /// What the filter knows as `$name`.
    #[serde(default)]
    vars: BTreeMap<String, Value>,
    /// Whether a filter may give any number of values, not one.
    #[serde(default)]
    all: bool,
}

/// What the filter gave.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Output {
    /// Its one value.
    One {
        /// The value.
        output: Value,
    },
    /// All of them.
    All {
        /// The values in order.
        outputs: Vec<Value>,
    },
}

export!(execute, transform);

/// Runs a filter.
///
/// # Errors
/// `user.filter_invalid` for a filter that cannot be read, with the place; `user.filter_failed`
/// where it fails over this input; `user.not_one` where it gives no value or several and `all` is
/// not set; `user.too_large`.
pub fn transform(input: Input) -> Result<Output> {
    let Input { filter, input, vars, all } = input;
    let most = if all { filter::OUTPUTS } else { 1 };
    let mut outputs = filter::run(&filter, &input, &vars, most)?;
    if all {
        return Ok(Output::All { outputs });
    }
    let none =
        || Error::new("user.not_one", "the filter gave no value; set `all` if that is meant");
    outputs.pop().map(|output| Output::One { output }).ok_or_else(none)
}
