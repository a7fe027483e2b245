//! The contract between a plugin (guest) and the sandbox (host): names, the memory rule, and
//! the types that cross the border as JSON. No code of either side lives here.
//!
//! # The memory rule
//! A guest's linear memory belongs to the guest. A host function of module [`module::OPENCLAW`]
//! takes addresses and lengths in it as `i32` (read as unsigned), reads or writes exactly that
//! span before it returns, and never keeps an address. A span that is not wholly inside linear
//! memory ends the call with a trap.
//!
//! Where the size of an answer is not known beforehand, the host keeps it as *the result*: the
//! function returns its length (0 or more) or a negative [`Status`], the guest makes room and
//! fetches it with [`openclaw::RESULT_READ`]. After a negative status the result is a readable
//! message. There is one result; the next such function replaces it.
//!
//! Module [`module::EXTISM`] is the Extism plugin ABI: blocks in a memory of the host's, named
//! by 64-bit handles and copied eight bytes a call. Plugins made with a public Extism PDK use it.
//! Module [`module::OPENCLAW`] does the same in bulk and adds what a device needs.
//!
//! # An export
//! An action is an export without parameters that returns nothing or an `i32`; 0 is success. The
//! output is what was set last; a failure is what was reported with `error_write`/`error_set`.

#![no_std]

extern crate alloc;

use alloc::collections::BTreeMap;
use alloc::string::String;

use serde::{Deserialize, Serialize};

/// Names of the modules a guest may import from.
pub mod module {
    /// The Extism plugin ABI.
    pub const EXTISM: &str = "extism:host/env";
    /// Bulk copies and device capabilities.
    pub const OPENCLAW: &str = "openclaw";
    /// The subset of WASI preview 1 that common toolchains emit.
    pub const WASI: &str = "wasi_snapshot_preview1";
}

/// Names and signatures of the functions in module [`module::OPENCLAW`].
///
/// `ptr, len` pairs are spans of linear memory; see the crate's memory rule.
pub mod openclaw {
    /// `() -> i32`: bytes of input.
    pub const INPUT_LENGTH: &str = "input_length";
    /// `(ptr, len)`: copies the first `len` bytes of the input; more than there are is a trap.
    pub const INPUT_READ: &str = "input_read";
    /// `(ptr, len)`: sets the output, replacing what was set before.
    pub const OUTPUT_WRITE: &str = "output_write";
    /// `(ptr, len)`: reports a failure, a [`crate::Failure`] as JSON, or plain text.
    pub const ERROR_WRITE: &str = "error_write";
    /// `(level, ptr, len)`: one log line at a [`crate::Level`].
    pub const LOG: &str = "log";
    /// `() -> i32`: bytes of the result that waits.
    pub const RESULT_LENGTH: &str = "result_length";
    /// `(ptr, len)`: copies the first `len` bytes of the result; more than there are is a trap.
    pub const RESULT_READ: &str = "result_read";
    /// `() -> i64`: the result is a [`crate::Context`] as JSON.
    pub const CONTEXT: &str = "context";
    /// `(key_ptr, key_len) -> i64`: the result is the setting's value.
    pub const CONFIG_GET: &str = "config_get";
    /// `(key_ptr, key_len) -> i64`: the result is the variable's bytes.
    pub const VAR_GET: &str = "var_get";
    /// `(key_ptr, key_len, value_ptr, value_len) -> i32`: a status.
    pub const VAR_SET: &str = "var_set";
    /// `(key_ptr, key_len)`: forgets a variable.
    pub const VAR_REMOVE: &str = "var_remove";
    /// `(head_ptr, head_len, body_ptr, body_len) -> i64`: sends a [`crate::HttpRequest`] given as
    /// JSON. The result is four bytes with the length of the head, little-endian, then the head,
    /// a [`crate::HttpResponse`] as JSON, then the body.
    pub const HTTP_REQUEST: &str = "http_request";
    /// `(dir_ptr, dir_len, path_ptr, path_len, max) -> i64`: the result is the first `max` bytes
    /// of a file in a granted directory.
    pub const FILE_READ: &str = "file_read";
    /// `(dir_ptr, dir_len, path_ptr, path_len) -> i64`: the result is the names in a directory,
    /// sorted, each ended by a NUL; a directory's name ends with `/`.
    pub const DIR_LIST: &str = "dir_list";
    /// `() -> i64`: milliseconds since 1970 in UTC, or a negative status.
    pub const NOW_MS: &str = "now_ms";
    /// `(ptr, len) -> i32`: fills the span with random bytes; a status.
    pub const RANDOM: &str = "random";
}

/// How a host function went, where it did not go well. The numbers are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// The plugin has no permission for this.
    Denied = -1,
    /// No such key, file or directory.
    NotFound = -2,
    /// Over a size limit.
    TooLarge = -3,
    /// It was tried and failed; trying later may help.
    Failed = -4,
    /// The request itself makes no sense.
    Invalid = -5,
    /// The run is being cancelled; finish quickly.
    Cancelled = -6,
}

impl Status {
    /// The number that crosses the border.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The status behind a negative number; unknown ones are [`Status::Failed`].
    #[must_use]
    pub const fn from_code(code: i32) -> Self {
        match code {
            -1 => Self::Denied,
            -2 => Self::NotFound,
            -3 => Self::TooLarge,
            -5 => Self::Invalid,
            -6 => Self::Cancelled,
            _ => Self::Failed,
        }
    }
}

/// How important a log line is. The numbers are Extism's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(i32)]
pub enum Level {
    /// Everything, for the plugin's author.
    Trace = 0,
    /// For finding a fault.
    Debug = 1,
    /// Normal progress.
    Info = 2,
    /// Odd, but the plugin copes.
    Warn = 3,
    /// Something failed.
    Error = 4,
}

impl Level {
    /// The level behind a number; what is out of range is taken to the nearest.
    #[must_use]
    pub const fn from_code(code: i32) -> Self {
        match code {
            i32::MIN..=0 => Self::Trace,
            1 => Self::Debug,
            2 => Self::Info,
            3 => Self::Warn,
            4..=i32::MAX => Self::Error,
        }
    }
}

/// Where and why a plugin is being called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The run's id.
    pub run: String,
    /// Path of the step in the workflow.
    pub step: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The same for every attempt of this step instance, also after a crash: send it along
    /// wherever the other side can recognise a repetition.
    pub idempotency_key: String,
    /// An earlier attempt was cut off by a crash or power cut, so its effect may have happened.
    #[serde(default)]
    pub interrupted: bool,
    /// When the attempt will be stopped, in milliseconds since 1970 in UTC, if at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<i64>,
}

/// A failure as a plugin reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable code that a workflow can match, such as `http.status` or `user.sensor_missing`.
    pub code: String,
    /// What failed, why, and what to try.
    pub message: String,
    /// Whether trying again later may help.
    #[serde(default)]
    pub retryable: bool,
}

/// The head of an HTTP request. The body travels beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// Absolute `http` or `https` URL.
    pub url: String,
    /// `GET` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Header fields by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// The head of an HTTP response. The body travels beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Header fields by lower-case name; repeated fields joined with a comma.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}
