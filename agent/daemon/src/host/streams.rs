//! Streams of one call, TCP connections and serial ports alike: numbers, bounded reads and writes,
//! and all of them closed when the call is over.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use openclaw_protocol::ordered::VecMap;
use openclaw_sandbox::HostError;
use openclaw_sandbox::grants::NetGrants;
use openclaw_sandbox::target::Host as Name;
use rustix::event::PollFlags;
use rustix::io::Errno;

use super::net::{Net, Way};
use super::serial::Port;
use super::wait::{Wait, Watch};
use crate::limits;

/// TCP for plugins.
#[derive(Debug)]
pub struct Tcp {
    net: Net,
    narrowed: Option<NetGrants>,
}

impl Tcp {
    /// Connections that the configuration narrows.
    #[must_use]
    pub fn new(narrowed: Option<NetGrants>, net: Net) -> Self {
        Self { net, narrowed }
    }

    /// Connects.
    ///
    /// # Errors
    /// Not allowed, not there, or not in time.
    pub(super) fn connect(
        &self,
        (host, port): (&Name, u16),
        granted: &Arc<NetGrants>,
        time: Duration,
        watch: Watch<'_>,
    ) -> Result<End, HostError> {
        let label = format!("{host}:{port}");
        let narrowed = self.narrowed.as_ref();
        let way = Way { host, port, granted, narrowed, label: &label };
        let late = || HostError::TimedOut(format!("{label}: no connection in time"));
        let time = time.min(limits::TCP_CONNECT_TIME);
        let stream = self.net.wait(self.net.connect(&way), time, watch, &late)?;
        let stream = stream.into_std();
        stream.map(|stream| End::Tcp(stream.into())).map_err(|e| HostError::Failed(e.to_string()))
    }
}

/// This side of a stream. Reads and writes of it do not block.
#[derive(Debug)]
pub(super) enum End {
    Tcp(OwnedFd),
    Serial(Port),
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(fd) => fd.as_fd(),
            Self::Serial(port) => port.as_fd(),
        }
    }
}

#[derive(Debug)]
struct Stream {
    end: End,
    /// What was read and not yet asked for.
    arrived: Vec<u8>,
}

/// The streams of one call.
#[derive(Debug, Default)]
pub(super) struct Streams(VecMap<u32, Stream>);

impl Streams {
    /// From now on this is the stream of that number.
    pub(super) fn add(&mut self, stream: u32, end: End) {
        self.0.insert(stream, Stream { end, arrived: Vec::new() });
    }

    fn stream(&mut self, stream: u32) -> Result<&mut Stream, HostError> {
        let closed = || HostError::Invalid(format!("stream {stream} is not open"));
        self.0.get_mut(&stream).ok_or_else(closed)
    }

    /// `min` to `max` bytes, fewer only at the end. What has arrived stays where it is too late.
    ///
    /// # Errors
    /// Too late, or the stream is broken.
    pub(super) fn read(
        &mut self,
        stream: u32,
        (min, max): (usize, usize),
        wait: &Wait<'_>,
    ) -> Result<Vec<u8>, HostError> {
        let Stream { end, arrived } = self.stream(stream)?;
        let min = min.min(max);
        let enough = |arrived: &Vec<u8>| arrived.len() >= min;
        loop {
            let had = arrived.len();
            match fill(end, arrived, max) {
                // The end.
                Ok(0) if had < max => break,
                Ok(_) | Err(Errno::AGAIN) if enough(arrived) => break,
                Ok(_) | Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {}
                // What came before it is still to be had.
                Err(_) if had > 0 && enough(arrived) => break,
                Err(e) => return Err(broken(stream, e)),
            }
            let had = arrived.len();
            let late = || format!("stream {stream}: {had} bytes of at least {min} came in time");
            wait.ready(end, PollFlags::IN, &late)?;
        }
        let rest = arrived.split_off(max.min(arrived.len()));
        Ok(std::mem::replace(arrived, rest))
    }

    /// Writes all bytes.
    ///
    /// # Errors
    /// Too late, and some of it may be on its way; or the stream is broken.
    pub(super) fn write(
        &mut self,
        stream: u32,
        mut bytes: &[u8],
        wait: &Wait<'_>,
    ) -> Result<(), HostError> {
        let Stream { end, .. } = self.stream(stream)?;
        while !bytes.is_empty() {
            match rustix::io::write(&*end, bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let late = || format!("stream {stream}: not everything was written in time");
                    wait.ready(end, PollFlags::OUT, &late)?;
                }
                Err(e) => return Err(broken(stream, e)),
            }
        }
        Ok(())
    }

    /// Closes a stream.
    ///
    /// # Errors
    /// There is none of that number.
    pub(super) fn close(&mut self, stream: u32) -> Result<(), HostError> {
        self.stream(stream)?;
        self.0.remove(&stream);
        Ok(())
    }
}

/// Reads once, up to `max` bytes in all. 0 where there is no room for more, or at the end.
fn fill(end: &End, arrived: &mut Vec<u8>, max: usize) -> Result<usize, Errno> {
    let mut part = [0; 4096];
    let room = max.saturating_sub(arrived.len()).min(part.len());
    if room == 0 {
        return Ok(0);
    }
    let read = rustix::io::read(end, &mut part[..room])?;
    arrived.extend_from_slice(&part[..read]);
    Ok(read)
}

fn broken(stream: u32, error: Errno) -> HostError {
    HostError::Failed(format!("stream {stream} is broken: {error}; open it anew"))
}

#[cfg(test)]
#[path = "streams_tests.rs"]
mod tests;
