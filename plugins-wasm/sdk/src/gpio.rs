//! Digital inputs and outputs by the logical names of the device's configuration. Needs
//! `permissions.gpio` with the name.
//!
//! ```no_run
//! use openclaw_plugin_sdk::gpio;
//!
//! # fn main() -> openclaw_plugin_sdk::Result<()> {
//! gpio::write("warning-lamp", gpio::read("door-open")?)
//! # }
//! ```

use crate::Result;
use crate::host::device as host;

/// The level of an input or output: `true` is high, or what the configuration calls active.
///
/// # Errors
/// `permission.denied`, `user.not_found`, or `plugin.error` where it cannot be read.
pub fn read(name: &str) -> Result<bool> {
    host::read_pin(name).map(|level| level != 0)
}

/// Sets an output.
///
/// # Errors
/// As [`read`]; `inputs.invalid` for an input.
pub fn write(name: &str, level: bool) -> Result<()> {
    host::write_pin(name, i32::from(level))
}
