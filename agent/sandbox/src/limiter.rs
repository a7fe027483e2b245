//! How much memory a call may hold: linear memory, tables, and what lies on the host's side for it.

use wasmi::ResourceLimiter;
use wasmi_core::LimiterError;

use crate::call::Fault;
use crate::limits;

/// One budget for all of a call's memory.
#[derive(Debug)]
pub(crate) struct Limiter {
    max: usize,
    linear: usize,
    outside: usize,
    peak: usize,
    denied: bool,
}

impl Limiter {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, linear: 0, outside: 0, peak: 0, denied: false }
    }

    /// Bytes that may still be held.
    pub(crate) fn room(&self) -> usize {
        self.max.saturating_sub(self.linear).saturating_sub(self.outside)
    }

    /// Tells what is held on the host's side now.
    ///
    /// # Errors
    /// It is too much together with the linear memory.
    pub(crate) fn hold_outside(&mut self, bytes: usize) -> Result<(), Fault> {
        self.outside = bytes;
        if self.linear.saturating_add(bytes) > self.max {
            return Err(self.fault());
        }
        self.peak = self.peak.max(self.linear + bytes);
        Ok(())
    }

    /// The most that was held at once.
    pub(crate) fn peak(&self) -> u64 {
        self.peak as u64
    }

    /// Whether the guest was refused memory. It usually gives up next, by a trap of its own that
    /// says nothing about the reason.
    pub(crate) fn denied(&self) -> bool {
        self.denied
    }

    pub(crate) fn fault(&self) -> Fault {
        Fault::new(
            "plugin.memory",
            format!(
                "the plugin needs more than its {} bytes of memory; give it less to do, or raise \
                 limits.memory_bytes in plugin.toml",
                self.max
            ),
        )
    }
}

impl ResourceLimiter for Limiter {
    /// A refusal is the guest's to handle: `memory.grow` answers -1, as the specification says.
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        if desired.saturating_add(self.outside) > self.max {
            self.denied = true;
            return Ok(false);
        }
        self.linear = desired;
        self.peak = self.peak.max(desired + self.outside);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        let allowed = desired <= limits::TABLE_ELEMENTS;
        self.denied |= !allowed;
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        16
    }

    fn memories(&self) -> usize {
        1
    }
}
