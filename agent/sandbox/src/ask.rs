//! What a guest asks of the device beyond HTTP, time and chance: one question each, with an answer
//! in bytes, so that a fake, a recorder and the device itself are all one function.

use std::sync::Arc;

use openclaw_plugin_abi::{KvScope, WriteMode};

use crate::grants::NetGrants;
use crate::tape::Function;
use crate::target::Host;

/// A question that the permissions allow, as far as can be known before it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask<'a> {
    /// At most `max` bytes of a file from `offset` on. Paths of this and the next three are
    /// relative and without `..`; that no link leads out of the directory is for the host to see to.
    FileReadAt {
        /// Logical directory.
        dir: &'a str,
        /// Path in it.
        path: &'a str,
        /// First byte.
        offset: u64,
        /// Bytes at most.
        max: usize,
    },
    /// What a file is like. The answer is an [`openclaw_plugin_abi::FileStat`] as JSON.
    FileStat {
        /// Logical directory.
        dir: &'a str,
        /// Path in it.
        path: &'a str,
    },
    /// Writes a file. No answer.
    FileWrite {
        /// Logical directory.
        dir: &'a str,
        /// Path in it.
        path: &'a str,
        /// What is written.
        bytes: &'a [u8],
        /// How.
        mode: WriteMode,
    },
    /// Removes a file. No answer.
    FileRemove {
        /// Logical directory.
        dir: &'a str,
        /// Path in it.
        path: &'a str,
    },
    /// The value that is remembered under a key.
    KvGet {
        /// Who shares it.
        scope: KvScope,
        /// Which.
        key: &'a str,
    },
    /// All keys of a scope with the bytes of their values: a key, a NUL, the number in decimal,
    /// a NUL, and so on, in order.
    KvList {
        /// Which scope.
        scope: KvScope,
    },
    /// A text that stands for the value of a secret until the end of the call. The host puts the
    /// value in its place in what it sends for [`crate::Host::http`] and [`Ask::StreamWrite`].
    SecretHandle {
        /// Its name.
        name: &'a str,
    },
    /// Connects. The host must ask `grants` about every address that it connects to. No answer.
    TcpConnect {
        /// The number that the stream will have.
        stream: u32,
        /// Where to.
        host: &'a Host,
        /// Port.
        port: u16,
        /// The longest wait in milliseconds.
        timeout_ms: u32,
        /// What the plugin may reach.
        grants: &'a Arc<NetGrants>,
    },
    /// Opens a serial port. No answer.
    SerialOpen {
        /// The number that the stream will have.
        stream: u32,
        /// Its logical name.
        name: &'a str,
    },
    /// `min` to `max` bytes of a stream, fewer only at its end. What arrived before a
    /// [`crate::HostError::TimedOut`] stays for the next read.
    StreamRead {
        /// Which.
        stream: u32,
        /// Bytes at least.
        min: usize,
        /// Bytes at most.
        max: usize,
        /// The longest wait in milliseconds.
        timeout_ms: u32,
    },
    /// Writes all bytes. No answer.
    StreamWrite {
        /// Which.
        stream: u32,
        /// What.
        bytes: &'a [u8],
        /// The longest wait in milliseconds.
        timeout_ms: u32,
    },
    /// Closes a stream. No answer.
    StreamClose {
        /// Which.
        stream: u32,
    },
    /// The level of a digital input or output: `0` or `1`.
    GpioRead {
        /// Its logical name.
        name: &'a str,
    },
    /// Sets a digital output. No answer.
    GpioWrite {
        /// Its logical name.
        name: &'a str,
        /// High or low.
        level: bool,
    },
    /// Writes to a device on an I²C bus, then reads from it. The answer is what was read.
    I2cTransfer {
        /// Its logical name.
        name: &'a str,
        /// What is written; may be empty.
        write: &'a [u8],
        /// Bytes to read.
        read: usize,
    },
    /// Runs a command. The answer is an [`openclaw_plugin_abi::Exit`] as JSON on one line, then
    /// standard output.
    Exec {
        /// Its logical name.
        name: &'a str,
        /// Arguments behind those of the device's configuration.
        args: &'a [String],
        /// Standard input.
        stdin: &'a [u8],
        /// The longest wait in milliseconds.
        timeout_ms: u32,
        /// Bytes of standard output at most; more is cut.
        max: usize,
    },
}

impl Ask<'_> {
    /// Which function of the plugins' interface it comes from.
    #[must_use]
    pub const fn function(&self) -> Function {
        match self {
            Self::FileReadAt { .. } => Function::FileReadAt,
            Self::FileStat { .. } => Function::FileStat,
            Self::FileWrite { .. } => Function::FileWrite,
            Self::FileRemove { .. } => Function::FileRemove,
            Self::KvGet { .. } => Function::KvGet,
            Self::KvList { .. } => Function::KvList,
            Self::SecretHandle { .. } => Function::SecretHandle,
            Self::TcpConnect { .. } => Function::TcpConnect,
            Self::SerialOpen { .. } => Function::SerialOpen,
            Self::StreamRead { .. } => Function::StreamRead,
            Self::StreamWrite { .. } => Function::StreamWrite,
            Self::StreamClose { .. } => Function::StreamClose,
            Self::GpioRead { .. } => Function::GpioRead,
            Self::GpioWrite { .. } => Function::GpioWrite,
            Self::I2cTransfer { .. } => Function::I2cTransfer,
            Self::Exec { .. } => Function::Exec,
        }
    }

    /// What it is about, in a few words for people.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::FileReadAt { dir, path, offset, .. } => format!("{dir}:{path} at {offset}"),
            Self::FileStat { dir, path }
            | Self::FileWrite { dir, path, .. }
            | Self::FileRemove { dir, path } => format!("{dir}:{path}"),
            Self::KvGet { scope, key } => format!("{}:{key}", scope.name()),
            Self::KvList { scope } => scope.name().to_owned(),
            Self::TcpConnect { host, port, .. } => format!("{host}:{port}"),
            Self::StreamRead { stream, min, max, .. } => format!("{stream}: {min} to {max} bytes"),
            Self::StreamWrite { stream, bytes, .. } => format!("{stream}: {} bytes", bytes.len()),
            Self::StreamClose { stream } => stream.to_string(),
            Self::GpioWrite { name, level } => format!("{name} = {}", u8::from(*level)),
            Self::SecretHandle { name }
            | Self::SerialOpen { name, .. }
            | Self::GpioRead { name }
            | Self::I2cTransfer { name, .. }
            | Self::Exec { name, .. } => (*name).to_owned(),
        }
    }

    /// What else distinguishes it from other questions with its label. Times are left out: how long
    /// somebody would have waited is no part of what was asked.
    #[must_use]
    pub fn arguments(&self) -> Vec<&[u8]> {
        match self {
            Self::FileWrite { bytes, .. } | Self::StreamWrite { bytes, .. } => vec![bytes],
            Self::I2cTransfer { write, .. } => vec![write],
            Self::Exec { args, stdin, .. } => {
                let args = args.iter().map(|arg| arg.as_bytes());
                args.chain([*stdin]).collect()
            }
            Self::FileReadAt { .. }
            | Self::FileStat { .. }
            | Self::FileRemove { .. }
            | Self::KvGet { .. }
            | Self::KvList { .. }
            | Self::SecretHandle { .. }
            | Self::TcpConnect { .. }
            | Self::SerialOpen { .. }
            | Self::StreamRead { .. }
            | Self::StreamClose { .. }
            | Self::GpioRead { .. }
            | Self::GpioWrite { .. } => Vec::new(),
        }
    }

    /// An answer of this length may have been cut there.
    #[must_use]
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other answer is cut")]
    pub const fn cut_at(&self) -> usize {
        match self {
            Self::FileReadAt { max, .. } | Self::StreamRead { max, .. } => *max,
            _ => usize::MAX,
        }
    }
}
