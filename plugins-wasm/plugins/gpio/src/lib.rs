//! Reads digital inputs and sets digital outputs, by the names that the device gives them.

use std::collections::BTreeMap;

use openclaw_plugin_sdk::{Error, Result, export, gpio};
use serde::{Deserialize, Serialize};

/// Inputs and outputs of one call.
const LEVELS: usize = 32;

/// Which levels to read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    names: Vec<String>,
}

/// Which outputs to set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Write {
    levels: BTreeMap<String, bool>,
    /// Whether the outputs are read back.
    #[serde(default)]
    verify: bool,
}

/// Levels by name.
#[derive(Debug, Serialize)]
pub struct Levels {
    levels: BTreeMap<String, bool>,
}

// Not `read` and `write`: in a test on the desk those names are the C library's.
export!(read_levels, |input: Read| levels(input.names));
export!(write_levels, set);

fn levels(names: Vec<String>) -> Result<Levels> {
    bounded(names.len())?;
    let read = |name: String| gpio::read(&name).map(|level| (name, level));
    Ok(Levels { levels: names.into_iter().map(read).collect::<Result<_>>()? })
}

/// Sets outputs in the order of their names.
///
/// # Errors
/// `permission.denied`, `user.not_found`, `inputs.invalid` for an input; `user.gpio_verify` where an
/// output does not have the level that it was set to.
pub fn set(input: Write) -> Result<Levels> {
    bounded(input.levels.len())?;
    for (name, level) in &input.levels {
        gpio::write(name, *level)?;
    }
    if !input.verify {
        return Ok(Levels { levels: input.levels });
    }
    let is = levels(input.levels.keys().cloned().collect())?;
    match input.levels.iter().find(|(name, level)| is.levels.get(*name) != Some(*level)) {
        None => Ok(is),
        Some((name, level)) => {
            let message = format!("{name} was set to {} and is not", u8::from(*level));
            Err(Error::new("user.gpio_verify", message).retryable())
        }
    }
}

fn bounded(count: usize) -> Result<()> {
    if (1..=LEVELS).contains(&count) {
        return Ok(());
    }
    Err(Error::new("inputs.invalid", format!("name 1 to {LEVELS} inputs or outputs, not {count}")))
}
