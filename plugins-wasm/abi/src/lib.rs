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
    /// `(dir_ptr, dir_len, path_ptr, path_len, offset: i64, max) -> i64`: the result is at most
    /// `max` bytes of a file from `offset` on; none at or behind its end.
    pub const FILE_READ_AT: &str = "file_read_at";
    /// `(dir_ptr, dir_len, path_ptr, path_len) -> i64`: the result is a [`crate::FileStat`] as JSON.
    pub const FILE_STAT: &str = "file_stat";
    /// `(dir_ptr, dir_len, path_ptr, path_len, bytes_ptr, bytes_len, mode) -> i32`: writes a file
    /// in a directory granted for writing, at a [`crate::WriteMode`]; a status.
    pub const FILE_WRITE: &str = "file_write";
    /// `(dir_ptr, dir_len, path_ptr, path_len) -> i32`: removes a file; a status. That there is
    /// none is [`crate::Status::NotFound`].
    pub const FILE_REMOVE: &str = "file_remove";
    /// `(scope, key_ptr, key_len) -> i64`: the result is the value that the device remembers under
    /// a key of a [`crate::KvScope`].
    pub const KV_GET: &str = "kv_get";
    /// `(scope, key_ptr, key_len, value_ptr, value_len) -> i32`: remembers a value, once the call
    /// has succeeded and with its result; a status.
    pub const KV_SET: &str = "kv_set";
    /// `(scope, key_ptr, key_len) -> i32`: forgets a value, once the call has succeeded; a status.
    pub const KV_REMOVE: &str = "kv_remove";
    /// `(scope, prefix_ptr, prefix_len) -> i64`: the result is the keys that begin with a text,
    /// sorted, each ended by a NUL.
    pub const KV_KEYS: &str = "kv_keys";
    /// `(topic_ptr, topic_len, payload_ptr, payload_len, flags) -> i32`: publishes a message at the
    /// site's own broker, once the call has succeeded and with its result; a status. Bit 0 of the
    /// flags is quality of service 1, bit 1 is retain.
    pub const MQTT_PUBLISH: &str = "mqtt_publish";
    /// `(name_ptr, name_len) -> i64`: the result is a text that stands for a secret's value. The
    /// host puts the value in its place where it goes out: in the path, header fields and body of
    /// an HTTP request, and in what is written to a stream.
    pub const SECRET_HANDLE: &str = "secret_handle";
    /// `(host_ptr, host_len, port, timeout_ms) -> i32`: connects by TCP; the stream's number, or a
    /// negative status.
    pub const TCP_CONNECT: &str = "tcp_connect";
    /// `(name_ptr, name_len) -> i32`: opens a serial port by its logical name; the stream's
    /// number, or a negative status.
    pub const SERIAL_OPEN: &str = "serial_open";
    /// `(stream, min, max, timeout_ms) -> i64`: the result is `min` to `max` bytes; fewer only at
    /// the end of the stream. What arrived before a [`crate::Status::TimedOut`] stays for the
    /// next read.
    pub const STREAM_READ: &str = "stream_read";
    /// `(stream, ptr, len, timeout_ms) -> i32`: writes all of the bytes; a status.
    pub const STREAM_WRITE: &str = "stream_write";
    /// `(stream) -> i32`: closes a stream; a status. At the end of the call all are.
    pub const STREAM_CLOSE: &str = "stream_close";
    /// `(name_ptr, name_len) -> i32`: the level of a digital input or output, 0 or 1, or a negative
    /// status.
    pub const GPIO_READ: &str = "gpio_read";
    /// `(name_ptr, name_len, level) -> i32`: sets a digital output to 0 or 1; a status.
    pub const GPIO_WRITE: &str = "gpio_write";
    /// `(name_ptr, name_len, write_ptr, write_len, read_len) -> i64`: writes to a device on an I²C
    /// bus, then reads `read_len` bytes, in one transaction; either may be none. The result is what
    /// was read.
    pub const I2C_TRANSFER: &str = "i2c_transfer";
    /// `(name_ptr, name_len, args_ptr, args_len, stdin_ptr, stdin_len, timeout_ms) -> i64`: runs a
    /// command of the device's configuration. Arguments are each ended by a NUL. The result is
    /// framed as that of [`HTTP_REQUEST`]: a [`crate::Exit`] as JSON, then standard output.
    pub const EXEC: &str = "exec";
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
    /// Not in the time that was given; what is under way may still come.
    TimedOut = -7,
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
            -7 => Self::TimedOut,
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

/// Who shares a remembered value. The numbers are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum KvScope {
    /// The calls of this plugin that one workflow makes on this device.
    Workflow = 0,
    /// All calls of this plugin on this device.
    Plugin = 1,
}

impl KvScope {
    /// The scope behind a number.
    #[must_use]
    pub const fn from_code(code: i32) -> Option<Self> {
        match code {
            0 => Some(Self::Workflow),
            1 => Some(Self::Plugin),
            _ => None,
        }
    }

    /// As permissions name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Workflow => "workflow",
            Self::Plugin => "plugin",
        }
    }
}

/// How a file is written. The numbers are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum WriteMode {
    /// The whole file at once, in the place of one that is there: after a power cut either is there,
    /// and nothing between them.
    Replace = 0,
    /// At the end of the file, which is made where there is none.
    Append = 1,
    /// A new file; that there is one is [`Status::Invalid`].
    Create = 2,
}

impl WriteMode {
    /// The mode behind a number.
    #[must_use]
    pub const fn from_code(code: i32) -> Option<Self> {
        match code {
            0 => Some(Self::Replace),
            1 => Some(Self::Append),
            2 => Some(Self::Create),
            _ => None,
        }
    }
}

/// What a file is like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStat {
    /// Bytes.
    pub size: u64,
    /// When it was written last, in milliseconds since 1970 in UTC.
    pub modified_ms: i64,
    /// Whether it is a directory.
    #[serde(default)]
    pub is_dir: bool,
    /// A number of the file itself: another file of the same name has another one.
    #[serde(default)]
    pub inode: u64,
}

/// How a command ended. Its standard output travels beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; `null` where a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The end of what it wrote to standard error.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr: String,
    /// Standard output was longer and is cut.
    #[serde(default)]
    pub truncated: bool,
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
