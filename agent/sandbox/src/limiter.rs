//! How much memory a call may hold: linear memory, tables, and what lies on the host's side for it.

use wasmi::ResourceLimiter;
use wasmi_core::{LimiterError, RawRef};

use crate::call::Fault;
use crate::limits;

/// One budget for all of a call's memory.
#[derive(Debug)]
pub(crate) struct Limiter {
    max: usize,
    linear: usize,
    /// Elements of all tables together.
    elements: usize,
    outside: usize,
    peak: usize,
    denied: bool,
}

impl Limiter {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, linear: 0, elements: 0, outside: 0, peak: 0, denied: false }
    }

    /// Bytes that may still be held.
    pub(crate) fn room(&self) -> usize {
        self.max.saturating_sub(self.held())
    }

    fn held(&self) -> usize {
        self.linear.saturating_add(table_bytes(self.elements)).saturating_add(self.outside)
    }

    /// Tells what is held on the host's side now.
    ///
    /// # Errors
    /// It is too much together with the linear memory and the tables.
    pub(crate) fn hold_outside(&mut self, bytes: usize) -> Result<(), Fault> {
        self.outside = bytes;
        if self.held() > self.max {
            return Err(self.fault());
        }
        self.peak = self.peak.max(self.held());
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
        // There is one memory, so what it desires is all linear memory there will be.
        let others = self.held() - self.linear;
        if desired.saturating_add(others) > self.max {
            self.denied = true;
            return Ok(false);
        }
        self.linear = desired;
        self.peak = self.peak.max(self.held());
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        // Only this table's size is told, and there may be several: the sum is kept here.
        let more = desired.saturating_sub(current);
        let elements = self.elements.saturating_add(more);
        if elements > limits::TABLE_ELEMENTS || table_bytes(more) > self.room() {
            self.denied = true;
            return Ok(false);
        }
        self.elements = elements;
        self.peak = self.peak.max(self.held());
        Ok(true)
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

/// What a table's elements take, in bytes.
fn table_bytes(elements: usize) -> usize {
    elements.saturating_mul(size_of::<RawRef>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_memory_share_one_budget() {
        let element = size_of::<RawRef>();
        let mut limiter = Limiter::new(1_000 * element);
        assert!(limiter.table_growing(0, 400, None).unwrap());
        assert!(limiter.table_growing(0, 500, None).unwrap(), "a second table");
        assert_eq!(limiter.peak() as usize, 900 * element);
        assert!(!limiter.table_growing(400, 501, None).unwrap(), "one element too many");
        assert!(!limiter.memory_growing(0, 100 * element + 1, None).unwrap());
        assert!(limiter.memory_growing(0, 60 * element, None).unwrap());
        assert!(limiter.hold_outside(40 * element + 1).is_err());
        limiter.hold_outside(40 * element).unwrap();
        assert_eq!((limiter.room(), limiter.peak() as usize), (0, 1_000 * element));
    }

    #[test]
    fn elements_are_bounded_over_all_tables() {
        let mut limiter = Limiter::new(usize::MAX);
        assert!(limiter.table_growing(0, limits::TABLE_ELEMENTS - 1, None).unwrap());
        assert!(!limiter.table_growing(0, 2, None).unwrap());
        assert!(limiter.denied());
        assert!(limiter.table_growing(0, 1, None).unwrap());
    }
}
