//! Commands that the device's configuration spells out under a logical name. Needs
//! `permissions.exec` with the name. There is no shell in between.
//!
//! ```no_run
//! use openclaw_plugin_sdk::exec::Command;
//!
//! # fn main() -> openclaw_plugin_sdk::Result<()> {
//! let done = Command::new("disk-usage").arg("/data").timeout_ms(2_000).run()?;
//! if done.code == Some(0) {
//!     openclaw_plugin_sdk::info!("{}", String::from_utf8_lossy(&done.stdout));
//! }
//! # Ok(())
//! # }
//! ```

use openclaw_plugin_abi::Exit;

use crate::host::device as host;
use crate::{Error, Result};

/// The longest wait where nothing else is said.
const TIMEOUT_MS: u32 = 30_000;

/// A command being put together.
#[derive(Debug, Clone)]
pub struct Command {
    name: String,
    args: Vec<String>,
    stdin: Vec<u8>,
    timeout_ms: u32,
}

/// How a command ended and what it said. Any end is an answer; only a command that could not be
/// run, or not in time, is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// The end of standard error.
    pub stderr: String,
    /// Whether standard output was longer and is cut.
    pub truncated: bool,
}

impl Command {
    /// A command by its logical name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), args: Vec::new(), stdin: Vec::new(), timeout_ms: TIMEOUT_MS }
    }

    /// Adds an argument behind those of the device's configuration.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// How long it may run; 30 seconds where nothing is said.
    #[must_use]
    pub fn timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.timeout_ms = timeout_ms;
        self
    }

    /// Runs it and waits for its end.
    ///
    /// # Errors
    /// `permission.denied`, `user.not_found`, `user.timed_out`; `inputs.invalid` for an argument
    /// with a NUL; `plugin.error` where it cannot be started.
    pub fn run(self) -> Result<Output> {
        if self.args.iter().any(|arg| arg.contains('\0')) {
            return Err(Error::new("inputs.invalid", "an argument holds a NUL"));
        }
        let args: Vec<u8> = self.args.iter().flat_map(|arg| arg.bytes().chain([0])).collect();
        let answer = host::exec(&self.name, &args, &self.stdin, self.timeout_ms)?;
        let (exit, stdout): (Exit, _) = crate::host::framed(answer)?;
        let Exit { code, signal, stderr, truncated } = exit;
        Ok(Output { code, signal, stdout, stderr, truncated })
    }
}
