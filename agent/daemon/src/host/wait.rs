//! How long something for a plugin may wait, and when it is looked whether it shall stop.

use std::os::fd::AsFd;
use std::time::Duration;

use openclaw_sandbox::{HostError, Stop};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::{clock, limits};

/// Tells whether a call shall stop.
pub(super) type Watch<'a> = &'a (dyn Fn() -> Option<Stop> + Sync);

/// An end, in milliseconds of boot time, and somebody who may say earlier.
#[derive(Clone, Copy)]
pub(super) struct Wait<'a> {
    until_boot_ms: u64,
    watch: Watch<'a>,
}

impl<'a> Wait<'a> {
    /// A wait of so many milliseconds, and never beyond the end of the call.
    pub(super) fn new(timeout_ms: u32, deadline_boot_ms: u64, watch: Watch<'a>) -> Self {
        let until = clock::boot_ms().saturating_add(timeout_ms.into());
        Self { until_boot_ms: until.min(deadline_boot_ms), watch }
    }

    /// What is left of it, until the next look at the latest.
    ///
    /// # Errors
    /// The time is over (`late` says what was waited for), or the call shall stop.
    pub(super) fn left(&self, late: &dyn Fn() -> String) -> Result<Duration, HostError> {
        if (self.watch)().is_some() {
            return Err(HostError::Cancelled);
        }
        match self.until_boot_ms.saturating_sub(clock::boot_ms()) {
            0 => Err(HostError::TimedOut(late())),
            left => Ok(Duration::from_millis(left).min(limits::LOOK)),
        }
    }

    /// Waits until there is something to read or room to write, or it is time to look again.
    ///
    /// # Errors
    /// As [`Wait::left`].
    pub(super) fn ready(
        &self,
        fd: &impl AsFd,
        flags: PollFlags,
        late: &dyn Fn() -> String,
    ) -> Result<(), HostError> {
        let left = self.left(late)?;
        wait_for(&mut [PollFd::new(fd, flags)], left);
        Ok(())
    }
}

/// Waits for one of these; that it was interrupted, whoever looks again sees.
pub(super) fn wait_for(fds: &mut [PollFd<'_>], time: Duration) {
    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
    let done = poll(fds, Some(&time));
    debug_assert!(matches!(done, Ok(_) | Err(Errno::INTR)), "{done:?}");
}
