//! Connections and serial ports: bytes in order, both ways.

use std::io;

use crate::error::UNEXPECTED_EOF;
use crate::host::device as host;
use crate::{Error, Result};

/// The longest wait of each operation where nothing else is said.
pub(crate) const TIMEOUT_MS: u32 = 5_000;
/// Bytes asked for at once where their number is not known.
const CHUNK: u32 = 1_024;

/// A connection or serial port. It is closed when it is dropped, and at the end of the call.
#[derive(Debug)]
pub struct Stream {
    number: i32,
    timeout_ms: u32,
    /// What arrived behind what was asked for.
    pending: Vec<u8>,
}

impl Stream {
    pub(crate) fn of_number(number: i32, timeout_ms: u32) -> Self {
        Self { number, timeout_ms, pending: Vec::new() }
    }

    /// The longest wait of each following operation.
    pub fn set_timeout_ms(&mut self, timeout_ms: u32) {
        self.timeout_ms = timeout_ms;
    }

    /// Writes all bytes, 64 KiB at most.
    ///
    /// # Errors
    /// `user.timed_out`, or `plugin.error` where the other side is gone.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        host::write_stream(self.number, bytes, self.timeout_ms)
    }

    /// What is there, at least one byte and at most `max`; none at the end of the stream.
    ///
    /// # Errors
    /// `user.timed_out` where nothing came, or `plugin.error` where the other side is gone.
    pub fn read_some(&mut self, max: u32) -> Result<Vec<u8>> {
        if self.pending.is_empty() && max > 0 {
            return host::read_stream(self.number, 1, max, self.timeout_ms);
        }
        let rest = self.pending.split_off(self.pending.len().min(max as usize));
        Ok(std::mem::replace(&mut self.pending, rest))
    }

    /// Exactly `count` bytes.
    ///
    /// # Errors
    /// As [`Stream::read_some`]; `user.unexpected_eof` where the stream ends before.
    pub fn read_exact(&mut self, count: u32) -> Result<Vec<u8>> {
        let mut bytes = if self.pending.is_empty() { Vec::new() } else { self.read_some(count)? };
        let missing = count - bytes.len() as u32;
        if missing > 0 {
            bytes.extend(host::read_stream(self.number, missing, missing, self.timeout_ms)?);
        }
        if bytes.len() == count as usize { Ok(bytes) } else { Err(ended(bytes.len(), "bytes")) }
    }

    /// Everything up to and without `delimiter`, of at most `max` bytes. What follows stays for the
    /// next read.
    ///
    /// # Errors
    /// As [`Stream::read_exact`]; `user.too_large` where there is no delimiter within `max` bytes.
    pub fn read_until(&mut self, delimiter: &[u8], max: u32) -> Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            let from = searched.min(self.pending.len());
            let found =
                self.pending[from..].windows(delimiter.len().max(1)).position(|w| w == delimiter);
            if let Some(at) = found.map(|at| from + at).filter(|at| *at <= max as usize) {
                let rest = self.pending.split_off(at + delimiter.len());
                let mut line = std::mem::replace(&mut self.pending, rest);
                line.truncate(at);
                return Ok(line);
            }
            if self.pending.len() >= max as usize + delimiter.len() {
                let message = format!("no delimiter within {max} bytes; allow more, or look at it");
                return Err(Error::new("user.too_large", message));
            }
            searched = (self.pending.len() + 1).saturating_sub(delimiter.len());
            let more = host::read_stream(self.number, 1, CHUNK, self.timeout_ms)?;
            if more.is_empty() {
                return Err(ended(self.pending.len(), "bytes without the delimiter"));
            }
            self.pending.extend(more);
        }
    }
}

fn ended(bytes: usize, what: &str) -> Error {
    Error::new(UNEXPECTED_EOF, format!("the stream ended after {bytes} {what}")).retryable()
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The host closes it at the end of the call in any case.
        let _ = host::close_stream(self.number);
    }
}

impl io::Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.read_some(u32::try_from(buffer.len()).unwrap_or(u32::MAX))?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

impl io::Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
