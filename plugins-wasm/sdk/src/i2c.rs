//! Devices on an I²C bus by the logical names of the device's configuration, which has their bus
//! and address. Needs `permissions.i2c` with the name.
//!
//! ```no_run
//! use openclaw_plugin_sdk::i2c;
//!
//! # fn main() -> openclaw_plugin_sdk::Result<()> {
//! let raw = i2c::read_register("board-temperature", 0x00, 2)?;
//! let celsius = f64::from(i16::from_be_bytes([raw[0], raw[1]]) >> 4) * 0.0625;
//! # let _ = celsius;
//! # Ok(())
//! # }
//! ```

use crate::host::device as host;
use crate::{Error, Result};

/// Writes, then reads `read` bytes, in one transaction; either may be none.
///
/// # Errors
/// `permission.denied`, `user.not_found`, `user.too_large` over 8,192 bytes, or `plugin.error` where
/// the device does not acknowledge.
pub fn transfer(name: &str, write: &[u8], read: u32) -> Result<Vec<u8>> {
    let bytes = host::transfer(name, write, read)?;
    if bytes.len() == read as usize {
        return Ok(bytes);
    }
    let got = bytes.len();
    let message = format!("{name} gave {got} of {read} bytes");
    Err(Error::new("plugin.error", message).retryable())
}

/// Reads `count` bytes from an 8-bit register on; there are exactly that many.
///
/// # Errors
/// As [`transfer`].
pub fn read_register(name: &str, register: u8, count: u32) -> Result<Vec<u8>> {
    transfer(name, &[register], count)
}

/// Writes an 8-bit register and those behind it.
///
/// # Errors
/// As [`transfer`].
pub fn write_register(name: &str, register: u8, values: &[u8]) -> Result<()> {
    let bytes: Vec<u8> = [register].iter().chain(values).copied().collect();
    transfer(name, &bytes, 0).map(|_| ())
}
