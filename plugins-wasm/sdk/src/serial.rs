//! Serial ports by the logical names of the device's configuration, which has their speed and parity.
//! Needs `permissions.serial` with the name.
//!
//! ```no_run
//! use openclaw_plugin_sdk::serial;
//!
//! # fn main() -> openclaw_plugin_sdk::Result<()> {
//! let mut meter = serial::open("energy-meter")?;
//! meter.set_timeout_ms(1_000);
//! meter.write_all(b"/?!\r\n")?;
//! let identification = meter.read_until(b"\r\n", 128)?;
//! # let _ = identification;
//! # Ok(())
//! # }
//! ```

use crate::Result;
use crate::host::device as host;
pub use crate::stream::Stream;

/// Opens a port. Each operation may wait 5 seconds: see [`Stream::set_timeout_ms`].
///
/// # Errors
/// `permission.denied`; `user.not_found`; `plugin.error` where it cannot be opened.
pub fn open(name: &str) -> Result<Stream> {
    let number = host::open_serial(name)?;
    Ok(Stream::of_number(number, crate::stream::TIMEOUT_MS))
}
