//! The Extism ABI's memory: blocks on the host's side, named by 64-bit handles.
//!
//! A handle is the address of a block's first byte in a space of our own; address 0 is "none".
//! Addresses are never used twice, so a stale handle is a fault and never somebody else's block.

use std::collections::BTreeMap;

use crate::limits::BLOCK_OVERHEAD_BYTES;

/// Blocks by the address of their first byte.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    blocks: BTreeMap<u64, Box<[u8]>>,
    next: u64,
    bytes: usize,
}

impl Arena {
    /// Bytes held, with what keeping the blocks costs.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What a block of `len` bytes costs.
    pub(crate) fn cost(len: usize) -> usize {
        len.saturating_add(BLOCK_OVERHEAD_BYTES)
    }

    /// Takes a block in. The caller has checked that there is room for [`Arena::cost`].
    pub(crate) fn insert(&mut self, block: Box<[u8]>) -> u64 {
        let handle = self.next.max(16);
        self.bytes += Self::cost(block.len());
        // Two blocks never touch: an access that runs over the end of one is a fault.
        self.next = (handle + block.len() as u64 + 16) & !15;
        self.blocks.insert(handle, block);
        handle
    }

    /// Gives a block back. An unknown handle is ignored, as Extism does.
    pub(crate) fn free(&mut self, handle: u64) {
        if let Some(block) = self.blocks.remove(&handle) {
            self.bytes -= Self::cost(block.len());
        }
    }

    /// The whole block behind a handle.
    pub(crate) fn block(&self, handle: u64) -> Option<&[u8]> {
        self.blocks.get(&handle).map(AsRef::as_ref)
    }

    /// `len` bytes at any address inside a block.
    pub(crate) fn span(&self, address: u64, len: u64) -> Option<&[u8]> {
        let (start, block) = self.blocks.range(..=address).next_back()?;
        let from = usize::try_from(address - start).ok()?;
        block.get(from..from.checked_add(usize::try_from(len).ok()?)?)
    }

    /// As [`Arena::span`], to write to.
    pub(crate) fn span_mut(&mut self, address: u64, len: u64) -> Option<&mut [u8]> {
        let (start, block) = self.blocks.range_mut(..=address).next_back()?;
        let from = usize::try_from(address - start).ok()?;
        block.get_mut(from..from.checked_add(usize::try_from(len).ok()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_touch_and_handles_do_not_return() {
        let mut arena = Arena::default();
        let (a, b) = (arena.insert(vec![1; 16].into()), arena.insert(vec![2; 3].into()));
        assert!(a != 0 && b > a + 16);
        assert_eq!(arena.span(a + 15, 1), Some(&[1][..]));
        assert_eq!(arena.span(a + 15, 2), None);
        assert_eq!(arena.span(b, u64::MAX), None);
        assert_eq!(arena.span(u64::MAX, 1), None);
        arena.free(a);
        arena.free(a);
        assert_eq!(arena.span(a, 1), None);
        assert!(arena.insert(vec![].into()) > b);
        arena.free(b);
        assert_eq!(arena.bytes(), Arena::cost(0));
    }
}
