//! TCP connections to the destinations that the manifest lists under `permissions.tcp`.
//!
//! ```no_run
//! use openclaw_plugin_sdk::tcp;
//!
//! # fn main() -> openclaw_plugin_sdk::Result<()> {
//! let mut scale = tcp::connect("192.168.10.31", 4001, 2_000)?;
//! scale.write_all(b"S\r\n")?;
//! let weight = scale.read_until(b"\r\n", 64)?;
//! # let _ = weight;
//! # Ok(())
//! # }
//! ```

use crate::Result;
use crate::host::device as host;
pub use crate::stream::Stream;

/// Connects, and gives each operation at most `timeout_ms`, the connecting too.
///
/// # Errors
/// `permission.denied`; `user.timed_out`; `plugin.error` where nobody listens, worth another attempt;
/// `inputs.invalid` for a host that is none.
pub fn connect(host: &str, port: u16, timeout_ms: u32) -> Result<Stream> {
    let number = host::connect(host, port, timeout_ms)?;
    Ok(Stream::of_number(number, timeout_ms))
}
