//! Blobs: fetching what we lack in chunks, and serving what the peer lacks.
//!
//! One blob is fetched at a time, a few chunks ahead, in order of the wishes; a blob that the peer
//! does not have stands back for a while and lets the next one go first.

use crate::id::Digest;
use crate::limits::{
    CHUNK_BYTES, CHUNKS_AHEAD, CHUNKS_SERVED, DESIRED_BYTES, MISSING_BLOB_MS, MODULE_BYTES,
    RESEND_MS, WANTS,
};
use crate::ordered::{VecMap, VecSet};

use super::pace::Pace;
use super::{Frame, Output};

/// The largest blob there is.
const BLOB_BYTES: usize = if MODULE_BYTES > DESIRED_BYTES { MODULE_BYTES } else { DESIRED_BYTES };

/// Blobs we lack.
#[derive(Debug, Clone, Default)]
pub(super) struct Fetches {
    queue: Vec<Fetch>,
}

#[derive(Debug, Clone)]
struct Fetch {
    digest: Digest,
    /// Everything below has been handed over.
    offset: u32,
    /// Size of the whole blob, 0 while unknown.
    total: u32,
    /// Chunks were asked for up to here.
    asked: u32,
    /// Chunks that came too early.
    early: VecMap<u32, Vec<u8>>,
    /// Not asked for (again) before this.
    wait_ms: u64,
    /// The peer does not have it: others go first until `wait_ms`.
    missing: bool,
    tries: u32,
}

impl Fetches {
    /// Wants a blob from `offset` on. Over the bound the wish is dropped.
    pub(super) fn want(&mut self, digest: Digest, offset: u32) {
        let fresh = Fetch {
            digest,
            offset,
            total: 0,
            asked: offset,
            early: VecMap::new(),
            wait_ms: 0,
            missing: false,
            tries: 0,
        };
        match self.queue.iter().position(|fetch| fetch.digest == digest) {
            Some(at) if self.queue[at].offset == offset && !self.queue[at].missing => {}
            Some(at) => self.queue[at] = fresh,
            None if self.queue.len() < WANTS => self.queue.push(fresh),
            None => {}
        }
    }

    pub(super) fn drop_want(&mut self, digest: Digest) {
        self.queue.retain(|fetch| fetch.digest != digest);
    }

    /// The connection is gone or new: what was asked for is asked for again.
    pub(super) fn forget(&mut self) {
        for fetch in &mut self.queue {
            fetch.restart();
            fetch.total = 0;
            fetch.tries = 0;
            fetch.missing = false;
        }
    }

    /// Asks for what is due.
    pub(super) fn ask(&mut self, now_ms: u64, pace: &mut Pace) -> Vec<Frame> {
        let Some(index) = self.active(now_ms) else { return Vec::new() };
        let Some(fetch) = self.queue.get_mut(index) else { return Vec::new() };
        if fetch.asked > fetch.offset && fetch.wait_ms <= now_ms {
            fetch.restart();
            fetch.tries += 1;
        }
        if fetch.asked == fetch.offset {
            fetch.missing = false;
            fetch.wait_ms = now_ms + pace.backoff(RESEND_MS, fetch.tries);
        }
        fetch.ask_ahead()
    }

    /// The first one the peer is not known to lack.
    fn active(&self, now_ms: u64) -> Option<usize> {
        self.queue.iter().position(|fetch| !fetch.missing || fetch.wait_ms <= now_ms)
    }

    /// Takes a chunk. `None` where nobody asked for it.
    pub(super) fn take(
        &mut self,
        digest: Digest,
        (offset, total): (u32, u32),
        bytes: Vec<u8>,
        now_ms: u64,
    ) -> Option<Vec<Output>> {
        let index = self.queue.iter().position(|fetch| fetch.digest == digest)?;
        let fetch = self.queue.get_mut(index)?;
        if fetch.asked == fetch.offset || offset < fetch.offset || offset >= fetch.asked {
            return None;
        }
        if total == 0 {
            fetch.restart();
            fetch.total = 0;
            fetch.missing = true;
            fetch.wait_ms = now_ms.saturating_add(MISSING_BLOB_MS);
            return Some(vec![Output::BlobMissing { digest }]);
        }
        if !fetch.fits(offset, total, &bytes) {
            return None;
        }
        fetch.total = total;
        fetch.early.insert(offset, bytes);
        let chunks = fetch.in_order(now_ms);
        if fetch.offset >= total {
            self.queue.remove(index);
        }
        Some(chunks)
    }

    pub(super) fn ask_at(&self) -> Option<u64> {
        match self.queue.iter().find(|fetch| !fetch.missing) {
            Some(active) => Some(active.wait_ms),
            None => self.queue.iter().map(|fetch| fetch.wait_ms).min(),
        }
    }
}

impl Fetch {
    fn restart(&mut self) {
        self.asked = self.offset;
        self.early.clear();
    }

    fn fits(&self, offset: u32, total: u32, bytes: &[u8]) -> bool {
        let end = (offset as usize).saturating_add(bytes.len());
        let size = total as usize;
        size <= BLOB_BYTES
            && bytes.len() <= CHUNK_BYTES
            && end <= size
            && (self.total == 0 || self.total == total)
            // Only the end of a blob may be asked for in vain.
            && (!bytes.is_empty() || end == size)
    }

    /// Hands over what is due and what came early and is due now.
    fn in_order(&mut self, now_ms: u64) -> Vec<Output> {
        let mut chunks = Vec::new();
        while let Some(bytes) = self.early.remove(&self.offset) {
            let (digest, offset, total) = (self.digest, self.offset, self.total);
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            self.offset = offset.saturating_add(length);
            self.tries = 0;
            self.wait_ms = self.wait_ms.max(now_ms.saturating_add(RESEND_MS));
            if bytes.len() < CHUNK_BYTES {
                // Shorter than we counted on: what was asked for ahead begins at the wrong places.
                self.restart();
            }
            chunks.push(Output::Chunk { digest, offset, total, bytes });
        }
        chunks
    }

    fn ask_ahead(&mut self) -> Vec<Frame> {
        let chunk = CHUNK_BYTES as u32;
        let mut frames = Vec::new();
        loop {
            let ahead = (self.asked - self.offset).div_ceil(chunk) as usize;
            // The size is not known before the first chunk has come.
            let most = if self.total == 0 { 1 } else { CHUNKS_AHEAD };
            if ahead >= most || (self.total != 0 && self.asked >= self.total) {
                return frames;
            }
            frames.push(Frame::Want { digest: self.digest, offset: self.asked });
            let Some(next) = self.asked.checked_add(chunk) else { return frames };
            self.asked = next;
        }
    }
}

/// Chunks being read for the peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Serving(VecSet<(Digest, u32)>);

impl Serving {
    /// Whether to read this chunk: not one that is being read already, and only so many.
    pub(super) fn begin(&mut self, digest: Digest, offset: u32) -> bool {
        self.0.len() < CHUNKS_SERVED && self.0.insert((digest, offset))
    }

    /// Whether this chunk was being read.
    pub(super) fn end(&mut self, digest: Digest, offset: u32) -> bool {
        self.0.remove(&(digest, offset))
    }

    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}
