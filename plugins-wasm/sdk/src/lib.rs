//! Write OpenClaw plugins in Rust: JSON in, JSON out, and what the device grants.
//!
//! ```no_run
//! #[derive(serde::Deserialize)]
//! struct Input { name: String }
//! #[derive(serde::Serialize)]
//! struct Output { greeting: String }
//!
//! fn greet(input: Input) -> openclaw_plugin_sdk::Result<Output> {
//!     openclaw_plugin_sdk::info!("greeting {}", input.name);
//!     Ok(Output { greeting: format!("hello {}", input.name) })
//! }
//! openclaw_plugin_sdk::export!(execute, greet);
//! ```
//!
//! Everything outside the plugin's own memory is denied unless its `plugin.toml` asks for it:
//! see [`http`], [`files`], [`kv`], [`mqtt`], [`tcp`], [`serial`], [`gpio`], [`i2c`], [`exec`],
//! [`secrets`], [`now_ms`] and [`random`]. Each module has an example.

mod error;
pub mod exec;
pub mod files;
pub mod gpio;
mod host;
pub mod http;
pub mod i2c;
pub mod kv;
mod log;
pub mod mqtt;
pub mod secrets;
pub mod serial;
mod stream;
pub mod tcp;

#[cfg(test)]
mod tests;

pub use openclaw_plugin_abi::{Context, Level};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::error::{Error, Result};
pub use self::log::log;

/// Makes a function of type `fn(I) -> Result<O>` an action: `export!(execute, handler)`.
///
/// The input is read from JSON into `I`, the output written from `O`.
#[macro_export]
macro_rules! export {
    ($name:ident, $handler:expr) => {
        /// The action's entry point; called by the host.
        #[expect(unsafe_code, reason = "the host finds an export by its plain name")]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name() -> i32 {
            $crate::run($handler)
        }
    };
}

/// What [`export!`] calls: reads the input, runs the handler, hands back its answer.
#[doc(hidden)]
pub fn run<I: DeserializeOwned, O: Serialize>(handler: impl FnOnce(I) -> Result<O>) -> i32 {
    // A panic traps; the host is told why before that.
    std::panic::set_hook(Box::new(|info| host::error(info.to_string().as_bytes())));
    let answer = read(&host::input())
        .and_then(handler)
        .and_then(|output| serde_json::to_vec(&output).map_err(|e| Error::of_json(&e)));
    match answer {
        Ok(bytes) => {
            host::output(&bytes);
            0
        }
        Err(error) => {
            host::error(&serde_json::to_vec(&error.into_failure()).unwrap_or_default());
            1
        }
    }
}

/// One check of the whole text is cheaper here than one a string.
fn read<I: DeserializeOwned>(input: &[u8]) -> Result<I> {
    let text = std::str::from_utf8(input)
        .map_err(|e| Error::new("inputs.invalid", format!("the input is not UTF-8: {e}")))?;
    serde_json::from_str(text)
        .map_err(|e| Error::new("inputs.invalid", format!("the input does not fit: {e}")))
}

/// Where and why this call happens: run, step, attempt, idempotency key, deadline.
#[must_use]
pub fn context() -> Context {
    host::context().and_then(|json| read(&json)).unwrap_or_default()
}

/// A setting of this plugin, by the device's configuration or the workflow's.
#[must_use]
pub fn config(key: &str) -> Option<String> {
    String::from_utf8(host::config(key).ok()?).ok()
}

/// Milliseconds since 1970 in UTC. Needs `permissions.time`.
///
/// # Errors
/// `permission.denied`.
pub fn now_ms() -> Result<i64> {
    host::now_ms()
}

/// Fills the buffer with random bytes. Needs `permissions.random`.
///
/// # Errors
/// `permission.denied`.
pub fn random(buffer: &mut [u8]) -> Result<()> {
    host::random(buffer)
}

/// Small values that live as long as the workflow run; kept only if the call succeeds.
pub mod vars {
    use super::{Result, host};

    /// The value under `key`, if there is one.
    #[must_use]
    pub fn get(key: &str) -> Option<Vec<u8>> {
        host::var(key).ok()
    }

    /// Sets or replaces a value.
    ///
    /// # Errors
    /// The variables of this run would grow over their limit.
    pub fn set(key: &str, value: &[u8]) -> Result<()> {
        host::set_var(key, value)
    }

    /// Forgets a value.
    pub fn remove(key: &str) {
        host::remove_var(key);
    }
}
