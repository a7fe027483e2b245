//! What the store's own rows hold. Packed with `wire::pack` behind a version byte; each struct is
//! append-only by version, as everything that is kept.

use openclaw_protocol::definition::DefinitionHash;
use openclaw_protocol::id::{Digest, RequestId, RunId};
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::report::Refusal;
use openclaw_protocol::run::StepPath;
use openclaw_protocol::sync::Cursor;
use openclaw_protocol::time::Stamp;
use openclaw_protocol::wire::{self, Kind};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::StoreError;
use super::space::SETTLED;

/// The most bytes any row of this module may have.
const ROW_BYTES: usize = 1024 * 1024;

/// The boot this database was last opened in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BootRow {
    pub(super) id: String,
    pub(super) ordinal: u32,
}

/// A run that is not settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunRow {
    pub(super) run: RunId,
    pub(super) definition: DefinitionHash,
    pub(super) modules: Vec<Digest>,
    /// Place of its first fact in the journal.
    pub(super) first: u64,
}

/// A settled run whose journal is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SettledRow {
    pub(super) run: RunId,
    /// When it settled, for people.
    pub(super) settled_wall_ms: i64,
    /// The device's age then, for retention.
    pub(super) settled_age_ms: u64,
    /// Bytes of its facts.
    pub(super) bytes: u64,
    /// Its definition, which is kept for the newest of them.
    pub(super) definition: DefinitionHash,
    /// Place of its first fact in the journal; 0 where an agent has written that did not note it.
    pub(super) first: u64,
}

/// As these rows were before they told of a place.
#[derive(Deserialize)]
struct SettledRowBefore {
    run: RunId,
    settled_wall_ms: i64,
    settled_age_ms: u64,
    bytes: u64,
    definition: DefinitionHash,
}

/// Reads one of either form: neither can be read as the other, for one is longer by a field.
pub(super) fn unpack_settled(bytes: &[u8]) -> Result<SettledRow, StoreError> {
    unpack(SETTLED.0, bytes).or_else(|_| {
        let SettledRowBefore { run, settled_wall_ms, settled_age_ms, bytes, definition } =
            unpack(SETTLED.0, bytes)?;
        Ok(SettledRow { run, settled_wall_ms, settled_age_ms, bytes, definition, first: 0 })
    })
}

/// Where one lane of the outbox stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LaneRow {
    /// Number of the next record, from 1.
    pub(super) next: u64,
    /// Running digest of the last record.
    pub(super) digest: u64,
    /// The lowest number that a kept row tells of (its own, or a marker's first); `next` where
    /// nothing is kept.
    pub(super) oldest: u64,
    /// Bytes of the kept bodies.
    pub(super) bytes: u64,
    /// Everything up to this number is committed at the control plane.
    pub(super) acked: u64,
    /// Committed ranges above `acked`.
    pub(super) ranges: Vec<(u64, u64)>,
    /// When numbers were acknowledged, oldest first: a device's age in milliseconds and the upper
    /// end that was acknowledged then or at most one step (see `outbox.rs`) later.
    pub(super) noted: Vec<(u64, u64)>,
}

/// What is known of the control plane's lanes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PeerRow {
    pub(super) log: u64,
    pub(super) cursors: Vec<Cursor>,
}

/// Modules of the desired state in force that this device cannot run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UnusableRow {
    /// Version of the agent that tried them.
    pub(super) agent: String,
    /// Each with the reason.
    pub(super) modules: VecMap<Digest, String>,
}

/// What became of an operator's wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WishRow {
    pub(super) request: RequestId,
    pub(super) outcome: Result<RunId, Refusal>,
}

/// A firing of a trigger that starts nothing again. The table's key says of which trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SeenRow {
    pub(super) key: [u8; 16],
    pub(super) at: Stamp,
}

/// How long the condition of a trigger has held. The table's key says of which trigger and topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HoldRow {
    pub(super) since: Stamp,
    pub(super) counted_ms: u64,
    pub(super) confirmed: bool,
    pub(super) fired: bool,
    pub(super) check: u32,
}

/// What is known of a file that a trigger is about. The table's key says of which trigger, and which
/// file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileRow {
    pub(super) size: u64,
    pub(super) modified_ns: i64,
    pub(super) gone: bool,
}

/// A message for the site's broker that is not known to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PublicationRow {
    pub(super) message_id: String,
    pub(super) topic: String,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) payload: Vec<u8>,
    /// The attempt that waits for the broker's acknowledgement.
    pub(super) confirm: Option<(RunId, StepPath, u32)>,
}

pub(super) fn pack<T: Serialize>(row: &T) -> Vec<u8> {
    wire::pack(Kind::Row, row)
}

pub(super) fn unpack<T: DeserializeOwned>(
    table: &'static str,
    bytes: &[u8],
) -> Result<T, StoreError> {
    wire::unpack(Kind::Row, bytes, ROW_BYTES).map_err(|e| StoreError::of_wire(table, &e))
}
