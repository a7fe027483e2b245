//! What was decided and is not durable yet.

use openclaw_agent_core::{AttemptId, Effect};
use openclaw_protocol::id::RunId;
use openclaw_protocol::report::Refusal;
use openclaw_protocol::sync::{Cursor, Lane};

use super::watch::HookReply;
use crate::event::Reply;
use crate::limits;
use crate::local::{Answer, Request};
use crate::store::Batch;

/// Decisions since the last commit, and what follows once they are durable.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) batch: Batch,
    pub(super) effects: Vec<Effect>,
    /// Calls whose hands wait to hear that what they kept is durable.
    pub(super) to_free: Vec<AttemptId>,
    /// Answers to local requests that wait for the commit.
    pub(super) replies: Vec<(Reply, Answer)>,
    /// What came of requests to webhooks; told after the commit.
    pub(super) hooks: Vec<(HookReply, Result<RunId, Refusal>)>,
    /// Questions that are answered after the commit.
    pub(super) questions: Vec<(Request, Reply)>,
    /// Lanes of the control plane whose new records are in the batch.
    pub(super) cursors: Vec<(Lane, Cursor)>,
    /// The desired-state revision whose coming into force is in the batch.
    pub(super) in_force: Option<u64>,
    pub(super) needs_commit: bool,
    /// A recording is in the batch: the next one waits until it is written.
    pub(super) has_recording: bool,
    /// Something is durable that the session has not heard of.
    pub(super) untold: bool,
    /// Since when something has waited that needs no commit of its own.
    lazy_since_ms: Option<u64>,
}

impl Pending {
    /// Whether it is time to commit.
    pub(super) fn is_due(&mut self, now_ms: u64) -> bool {
        if self.needs_commit {
            return true;
        }
        if self.batch.is_empty() {
            self.lazy_since_ms = None;
            return false;
        }
        let since_ms = *self.lazy_since_ms.get_or_insert(now_ms);
        now_ms.saturating_sub(since_ms) >= limits::LAZY_MS
            || self.batch.rows() >= limits::LAZY_RECORDS
            || self.batch.chunk_bytes() >= limits::CHUNKS_WAITING_BYTES
    }

    /// When what waits lazily has waited long enough.
    pub(super) fn lazy_due_ms(&self) -> Option<u64> {
        self.lazy_since_ms.map(|since| since.saturating_add(limits::LAZY_MS))
    }

    /// Everything in the batch is durable.
    pub(super) fn committed(&mut self) {
        self.needs_commit = false;
        self.has_recording = false;
        self.untold = true;
        self.lazy_since_ms = None;
    }
}
