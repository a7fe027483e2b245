//! Small values that the device remembers beyond one run. Needs `permissions.kv` with the scope.
//!
//! What is set or removed is seen by this call at once, and kept only if the call succeeds, in one
//! piece with its result: an attempt that fails or is repeated after a power cut has changed nothing.
//!
//! ```no_run
//! use openclaw_plugin_sdk::{Result, kv};
//!
//! fn count() -> Result<u64> {
//!     let calls = kv::WORKFLOW.json::<u64>("calls")?.unwrap_or(0) + 1;
//!     kv::WORKFLOW.set_json("calls", &calls)?;
//!     Ok(calls)
//! }
//! # count().unwrap();
//! ```

use openclaw_plugin_abi::KvScope;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::device as host;
use crate::{Error, Result};

/// The remembered values of one scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kv(KvScope);

/// Those that this plugin keeps for one workflow.
pub const WORKFLOW: Kv = Kv(KvScope::Workflow);
/// Those that all calls of this plugin on the device share.
pub const PLUGIN: Kv = Kv(KvScope::Plugin);

impl Kv {
    /// The value under a key, if there is one.
    ///
    /// # Errors
    /// `permission.denied`, or `inputs.invalid` for a key that is empty or over 256 bytes.
    pub fn get(self, key: &str) -> Result<Option<Vec<u8>>> {
        match host::kv(self.0 as i32, key) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// As [`Kv::get`], for what was set with [`Kv::set_json`].
    ///
    /// # Errors
    /// As [`Kv::get`], and `user.state` where the value is not what is expected: say what to do
    /// about it, or forget it.
    pub fn json<T: DeserializeOwned>(self, key: &str) -> Result<Option<T>> {
        let Some(bytes) = self.get(key)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| {
            let scope = self.0.name();
            let message = format!("what is remembered under {scope}:{key} cannot be read: {e}");
            Error::new("user.state", message)
        })
    }

    /// Sets or replaces a value, of 64 KiB at most.
    ///
    /// # Errors
    /// `permission.denied`; `user.too_large` where the scope would have more than 1,024 keys or
    /// 256 KiB.
    pub fn set(self, key: &str, value: &[u8]) -> Result<()> {
        host::set_kv(self.0 as i32, key, value)
    }

    /// As [`Kv::set`], written as JSON.
    ///
    /// # Errors
    /// As [`Kv::set`].
    pub fn set_json<T: Serialize + ?Sized>(self, key: &str, value: &T) -> Result<()> {
        let bytes = serde_json::to_vec(value).map_err(|e| Error::of_json(&e))?;
        self.set(key, &bytes)
    }

    /// Forgets a value. That there is none is no error.
    ///
    /// # Errors
    /// As [`Kv::get`].
    pub fn remove(self, key: &str) -> Result<()> {
        host::remove_kv(self.0 as i32, key)
    }

    /// The keys that begin with `prefix`, sorted.
    ///
    /// # Errors
    /// `permission.denied`.
    pub fn keys(self, prefix: &str) -> Result<Vec<String>> {
        let names = host::kv_keys(self.0 as i32, prefix)?;
        let text = String::from_utf8_lossy(&names);
        Ok(text.split_terminator('\0').map(str::to_owned).collect())
    }
}
