//! Sync: how facts come up and intent goes down, loss-free and duplicate-free, whatever the
//! broker does.
//!
//! # The rules
//! MQTT is taken for a datagram service that loses, doubles and reorders. Both sides run the same
//! sans-IO [`Session`] over one of three things:
//!
//! - **Lanes** are logs. A sender's record has a gap-free number under `(log, lane)`, where the
//!   log is the sender's database: a device's epoch, or the control plane's generation. Ordered
//!   lanes are acknowledged up to a number; the `results` lane needs no order, so its
//!   acknowledgement also names ranges, and after an outage the newest go first. A record is
//!   never forgotten by a sender before the receiver has said, after its commit, that it has it.
//! - **The register** is the desired state: only its newest revision counts, so it is announced
//!   by revision and digest, and fetched as a blob.
//! - **Blobs** (plugin modules, desired-state documents) are named by their SHA-256 and fetched
//!   in chunks by the side that lacks them, resumable at any offset.
//!
//! After each (re)connect both sides say [`Hello`] with what they have; the difference is sent.
//! A hello echoes the number of the hello it answers, so that a late one from an earlier
//! connection is never taken for news.
//!
//! Each record carries a running digest of its lane ([`chain`]); the receiver's hello names the
//! digest at its cursor, so a sender whose database was restored or cloned (same log, other
//! content) notices the fork ([`Output::Verify`], [`Output::Forked`]), takes a new log id and
//! tells. A receiver checks the chain as well and takes nothing that does not follow from what it
//! has. A restored *receiver* simply stands lower: the sender goes back to where the receiver
//! stands, and what it no longer keeps is replaced by a [`Dropped`] marker.
//!
//! # Gone records
//! A record that was removed before the peer had it is told as [`Dropped`]. A shell may keep such a
//! marker itself, as a record whose `seq` is the *last* number it stands for, or just tell
//! [`Session::handle_pruned`] (or [`Holding::oldest`]), and the session makes the marker. A marker
//! may begin below what the receiver has; only the numbers above count.
//!
//! # Using a [`Session`]
//! Feed it (`handle_*`), then drain [`Session::poll_output`] until `None`, then sleep until
//! [`Session::poll_timeout`]. It holds no records: it asks for them ([`Output::Load`]) and hands
//! received ones over ([`Output::Deliver`]), and acknowledges only what the shell has reported as
//! committed ([`Session::handle_committed`]). Time is milliseconds of any monotonic clock.
//! Outputs are acted upon in their order; a [`Output::Verify`] is settled before the next is taken.

mod batch;
mod blob;
mod hello;
mod inbox;
mod outbox;
mod pace;
mod ranges;
mod register;
mod sending;
mod session;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::id::Digest;

pub use session::Session;

/// A lane: a log of records with its own numbers and its own promise. Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// Up: acknowledgements and reported state ([`crate::report::ReportRecord`]). Ordered.
    Control,
    /// Up: one record a settled run ([`crate::run::RunResult`]). Unordered, ranges.
    Results,
    /// Up: what happened in runs ([`crate::run::RunEventRecord`]). Ordered.
    History,
    /// Up: recordings that were asked for ([`crate::recording::RecordingPart`]); what is urgent goes
    /// first. Ordered.
    Telemetry,
    /// Down: wishes ([`crate::command::CommandRecord`]). Ordered.
    Commands,
}

impl Lane {
    /// The lanes that go from device to control plane, most urgent first.
    pub const UP: [Self; 4] = [Self::Control, Self::Results, Self::History, Self::Telemetry];
    /// The lanes that go from control plane to device.
    pub const DOWN: [Self; 1] = [Self::Commands];

    /// Whether records must be taken in the order of their numbers.
    #[must_use]
    pub fn is_ordered(self) -> bool {
        !matches!(self, Self::Results)
    }

    /// The lane's name, for logs, tables and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Results => "results",
            Self::History => "history",
            Self::Telemetry => "telemetry",
            Self::Commands => "commands",
        }
    }
}

/// One record of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number in the lane, from 1 without gaps.
    pub seq: u64,
    /// [`chain`] of the previous record's digest (0 before the first) and this body.
    pub digest: u64,
    /// What it says: bytes made by [`crate::wire::pack`], at most [`crate::limits::RECORD_BYTES`].
    /// A longer one cannot travel; it is replaced by a [`Dropped`] marker.
    #[serde(with = "crate::wire::bytes")]
    pub body: Vec<u8>,
}

/// Stands in a lane for records that a quota removed before they were sent, so that no cursor
/// ever waits for what is gone. Packed as [`crate::wire::Kind::Dropped`]. As a [`Record`] it has
/// the number `last`; who has taken it has everything up to `last`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// First number removed.
    pub first: u64,
    /// Last number removed.
    pub last: u64,
    /// Why, such as `quota`.
    pub reason: String,
}

/// The running digest of a lane after `body`, given the one before: the first eight bytes of
/// BLAKE3 over both.
#[must_use]
pub fn chain(before: u64, body: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&before.to_le_bytes());
    hasher.update(body);
    let mut first = [0_u8; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}

/// What a sender holds of one of its lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Which lane.
    pub lane: Lane,
    /// The lowest number still kept (equal to `next` where nothing is).
    pub oldest: u64,
    /// The number the next record will have, from 1.
    pub next: u64,
}

/// What a receiver has of one of the peer's lanes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Which lane.
    pub lane: Lane,
    /// Everything up to this number is committed; 0 for nothing.
    pub upto: u64,
    /// Digest of record `upto`; 0 where `upto` is 0 or the digest is not known.
    pub digest: u64,
    /// Committed ranges above `upto` (inclusive), ascending, at most [`crate::limits::ACK_RANGES`];
    /// empty for ordered lanes.
    #[serde(deserialize_with = "crate::wire::at_most::<_, _, { crate::limits::ACK_RANGES }>")]
    pub ranges: Vec<(u64, u64)>,
}

/// The newest desired state, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Counts up within the sender's log (its generation).
    pub revision: u64,
    /// SHA-256 of the packed [`crate::desired::SignedDesired`], to be fetched as a blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u32,
}

/// First words after each (re)connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Lowest and highest wire version the sender reads.
    pub versions: (u8, u8),
    /// A number that differs for each connect of this side, so that answers to an earlier hello
    /// are known as such. Never 0.
    pub nonce: u32,
    /// The nonce of the peer's hello that was heard last, 0 for none. Only a hello that echoes the
    /// own nonce is known to be younger than it, and only such a one is believed.
    pub echo: u32,
    /// The sender's own log: a device's epoch, the control plane's generation.
    pub log: u64,
    /// What it can send.
    #[serde(deserialize_with = "crate::wire::at_most::<_, _, { crate::limits::LANES }>")]
    pub holdings: Vec<Holding>,
    /// Whose records `cursors` counts: the peer's log as last known, 0 if none.
    pub peer_log: u64,
    /// What it has of the peer's lanes under `peer_log`.
    #[serde(deserialize_with = "crate::wire::at_most::<_, _, { crate::limits::LANES }>")]
    pub cursors: Vec<Cursor>,
    /// The desired-state revision it has in force (a device), 0 for none.
    pub desired_revision: u64,
    /// The sender has a fresh hello of the peer that knows its log: no need to answer this one.
    pub answered: bool,
}

/// What travels: packed as [`crate::wire::Kind::Frame`], at most [`crate::limits::FRAME_BYTES`].
/// Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// First words.
    Hello(Hello),
    /// Records of one lane, ascending numbers without gaps from `first`.
    Batch {
        /// The sender's log.
        log: u64,
        /// Which lane.
        lane: Lane,
        /// Number of the first record.
        first: u64,
        /// `body` is deflate-compressed (RFC 1951).
        deflated: bool,
        /// The items, packed as [`crate::wire::Kind::Batch`]; see `batch.rs`.
        #[serde(with = "crate::wire::bytes")]
        body: Vec<u8>,
    },
    /// What the receiver has committed.
    Ack {
        /// The log the numbers belong to.
        log: u64,
        /// The log of who acknowledges: an acknowledgement from before its database was restored
        /// says nothing any more.
        by: u64,
        /// Where it stands.
        cursor: Cursor,
    },
    /// There is a newer desired state.
    Desired {
        /// The control plane's generation.
        log: u64,
        /// Which.
        announcement: Announcement,
    },
    /// Send me this part of a blob.
    Want {
        /// SHA-256 of the blob.
        digest: Digest,
        /// From where on, in bytes.
        offset: u32,
    },
    /// A part of a blob.
    Chunk {
        /// SHA-256 of the blob.
        digest: Digest,
        /// Where it begins, in bytes.
        offset: u32,
        /// Size of the whole blob.
        total: u32,
        /// The bytes; empty with `total` 0 means: not here.
        #[serde(with = "crate::wire::bytes")]
        bytes: Vec<u8>,
    },
    /// A part of one record that does not fit into a frame.
    Part {
        /// The sender's log.
        log: u64,
        /// Which lane.
        lane: Lane,
        /// Number of the record.
        seq: u64,
        /// [`chain`] at the record.
        digest: u64,
        /// Where the part begins, in bytes: a multiple of [`crate::limits::CHUNK_BYTES`].
        offset: u32,
        /// Size of the whole body.
        total: u32,
        /// The bytes.
        #[serde(with = "crate::wire::bytes")]
        bytes: Vec<u8>,
    },
}

/// What a session wants of its shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Publish this frame (already packed, at most [`crate::limits::FRAME_BYTES`]).
    Send(Vec<u8>),
    /// Read own records `first..before` in ascending order, at most `bytes` of bodies and
    /// [`crate::limits::BATCH_RECORDS`] (fewer is fine, but at least one if there is any), and
    /// answer with [`Session::handle_loaded`], once for each. A [`Dropped`] marker that stands for
    /// `first` comes whatever its own number.
    Load {
        /// Which lane.
        lane: Lane,
        /// First number wanted.
        first: u64,
        /// Do not load this number or any above it.
        before: u64,
        /// Most bytes of bodies.
        bytes: usize,
    },
    /// Commit these records of the peer (a repeated one is a no-op), then call
    /// [`Session::handle_committed`].
    Deliver {
        /// The peer's log.
        log: u64,
        /// Which lane.
        lane: Lane,
        /// Ascending, without gaps but for those that a [`Dropped`] marker stands for.
        records: Vec<Record>,
    },
    /// The peer has committed this much of an own lane. May be stored lazily: losing it only
    /// causes a harmless repetition. It may go down: the peer's database was restored.
    Acked {
        /// Where the peer stands.
        cursor: Cursor,
    },
    /// The peer's cursor names a digest at `seq`: compare it with the own record, and call
    /// [`Session::handle_fork`] if it differs, before the next output is taken. A number that is no
    /// longer kept counts as equal.
    Verify {
        /// Which own lane.
        lane: Lane,
        /// Which record.
        seq: u64,
        /// What the peer has.
        digest: u64,
    },
    /// The peer has announced a desired state that is newer than the one in force.
    Desired {
        /// The peer's generation.
        log: u64,
        /// Which; fetch it with [`Session::want`].
        announcement: Announcement,
    },
    /// Read a part of a blob, at most [`crate::limits::CHUNK_BYTES`], and answer with
    /// [`Session::handle_chunk_loaded`].
    LoadChunk {
        /// Which blob.
        digest: Digest,
        /// From where on.
        offset: u32,
    },
    /// A part of a wanted blob has come, in order. When `offset + bytes.len() == total`, the
    /// blob is whole: check its digest before use.
    Chunk {
        /// Which blob.
        digest: Digest,
        /// Where the part begins.
        offset: u32,
        /// Size of the whole blob.
        total: u32,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The peer does not have a wanted blob (yet). It is asked again later.
    BlobMissing {
        /// Which blob.
        digest: Digest,
    },
    /// The peer has said hello: the session is up. Comes again when either side starts anew.
    Up {
        /// The peer's log.
        peer_log: u64,
        /// What the peer says it can send.
        holdings: Vec<Holding>,
        /// The desired-state revision the peer has in force.
        desired_revision: u64,
    },
    /// Nothing shows that the peer still hears us: cut the connection and connect anew. The
    /// session takes itself for disconnected until [`Session::handle_connected`].
    Dead,
    /// The peer has a log other than [`Config::peer_log`]: a device's new epoch, a control plane's
    /// new generation. Answer with [`Session::handle_peer_cursors`]: what is committed of that
    /// log, nothing for one never heard of.
    UnknownPeerLog {
        /// The peer's log.
        log: u64,
    },
    /// The peer has a record of an own lane that this log has not reached: the own database was
    /// restored from an older copy. Take a new log id and call [`Session::handle_fork`]; the lane
    /// waits for it.
    Forked {
        /// Which own lane.
        lane: Lane,
        /// The highest number the peer has.
        seq: u64,
    },
}

/// What a [`Session`] starts from.
#[derive(Debug, Clone)]
pub struct Config {
    /// The own log: a device's epoch, the control plane's generation.
    pub log: u64,
    /// What the own lanes hold.
    pub holdings: Vec<Holding>,
    /// The peer's log as last known, 0 if none.
    pub peer_log: u64,
    /// What is committed of the peer's lanes under `peer_log`.
    pub cursors: Vec<Cursor>,
    /// The lanes the peer sends.
    pub peer_lanes: Vec<Lane>,
    /// The desired-state revision in force here (a device), 0 for none.
    pub desired_revision: u64,
    /// Spreads the timers of many sessions; any number.
    pub seed: u64,
}
