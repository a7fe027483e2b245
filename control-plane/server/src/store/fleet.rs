//! What a device's sync session reads and writes: the fleet's side of the store.
//!
//! `ingest` (in `ingest.rs`) takes facts that came up; the rest here is what goes down, and who
//! was heard of when.

use openclaw_protocol::id::{DeviceId, Digest, Epoch, TenantId};
use openclaw_protocol::sync::{Announcement, Cursor, Dropped, Holding, Lane, Record};
use openclaw_protocol::wire::{self, Kind};

use super::{Result, Tx, args, devices, lanes};

pub(crate) use super::devices::DeviceRow;
pub(crate) use super::ingest::{IngestOutcome, ingest};

/// One device.
///
/// # Errors
/// The database could not, or the row is damaged.
pub(crate) async fn device(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
) -> Result<Option<DeviceRow>> {
    devices::find(tx, tenant, device).await
}

/// Notes that a device was heard of.
///
/// # Errors
/// The database could not.
pub(crate) async fn set_seen(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    now_ms: i64,
) -> Result<()> {
    const UPDATE: &str = "UPDATE devices SET last_seen_ms = $3 WHERE tenant = $1 AND id = $2";
    tx.run(UPDATE, args![tenant, device, now_ms]).await?;
    Ok(())
}

/// The epoch under which a device spoke last; `None` before its first hello.
///
/// # Errors
/// The database could not, or the row is damaged.
pub(crate) async fn epoch(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
) -> Result<Option<Epoch>> {
    const SELECT: &str = "SELECT epoch FROM devices
        WHERE tenant = $1 AND id = $2 AND epoch IS NOT NULL";
    let row = tx.row(SELECT, args![tenant, device]).await?;
    row.map(|row| row.hex("epoch").map(Epoch)).transpose()
}

/// Notes under which epoch a device speaks.
///
/// # Errors
/// The database could not.
pub(crate) async fn set_epoch(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    epoch: Epoch,
) -> Result<()> {
    const UPDATE: &str = "UPDATE devices SET epoch = $3 WHERE tenant = $1 AND id = $2";
    tx.run(UPDATE, args![tenant, device, &epoch]).await?;
    Ok(())
}

/// What is committed of each of a device's lanes under `epoch`; a lane never heard of is at 0.
///
/// # Errors
/// The database could not, or a row is damaged.
pub(crate) async fn lane_cursors(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    epoch: Epoch,
) -> Result<Vec<Cursor>> {
    let mut cursors = Vec::with_capacity(Lane::UP.len());
    for lane in Lane::UP {
        let standing = lanes::find(tx, tenant, device, epoch, lane).await?;
        let nothing = Cursor { lane, upto: 0, digest: 0, ranges: Vec::new() };
        cursors.push(standing.map_or(nothing, |standing| standing.cursor(lane)));
    }
    Ok(cursors)
}

/// Notes the highest number that a device says it has in a lane, so that the ledger can tell what
/// is missing.
///
/// # Errors
/// The database could not.
pub(crate) async fn announce(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    epoch: Epoch,
    holding: &Holding,
    now_ms: i64,
) -> Result<()> {
    let mut standing = lanes::lock(tx, tenant, device, epoch, holding.lane, now_ms).await?;
    let highest = holding.next.saturating_sub(1).min(i64::MAX.unsigned_abs());
    if highest > standing.announced {
        standing.announced = highest;
        lanes::save(tx, tenant, device, holding.lane, &standing).await?;
    }
    Ok(())
}

/// What the commands lane of a device holds: from the oldest command it has not answered on. What
/// it has answered it has done, whatever became of its database since.
///
/// # Errors
/// The database could not, or a row is damaged.
pub(crate) async fn commands_holding(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
) -> Result<Holding> {
    const OLDEST: &str = "SELECT MIN(seq) AS oldest FROM requests
        WHERE tenant = $1 AND device = $2 AND answered_ms IS NULL";
    let row = tx.row(OLDEST, args![tenant, device]).await?;
    let oldest = row.map(|row| row.opt_int("oldest")).transpose()?.flatten();
    let next = devices::find(tx, tenant, device).await?.map_or(1, |row| row.next_command);
    let oldest = oldest.and_then(|seq| u64::try_from(seq).ok()).unwrap_or(next);
    Ok(Holding { lane: Lane::Commands, oldest, next })
}

/// Commands of a device from number `first` on and below `before`, in order and without gaps, up
/// to about `bytes` of bodies (at least one). Where commands are answered or no longer kept, a
/// [`Dropped`] marker stands for them: a device whose database was lost must not do again what it
/// has done, and its lane must not wait for what is gone.
///
/// # Errors
/// The database could not, or a row is damaged.
pub(crate) async fn commands_from(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    (first, before): (u64, u64),
    bytes: usize,
) -> Result<Vec<Record>> {
    const AT_ONCE: usize = 100;
    const SELECT: &str = "SELECT seq, digest, body FROM requests WHERE tenant = $1
        AND device = $2 AND seq >= $3 AND seq < $4 AND answered_ms IS NULL
        ORDER BY seq LIMIT $5";
    let at_once = u64::try_from(AT_ONCE).unwrap_or(u64::MAX);
    let rows = tx.rows(SELECT, args![tenant, device, first, before, at_once]).await?;
    let (mut records, mut size, mut expected) = (Vec::new(), 0, first);
    for row in &rows {
        let (seq, body) = (row.count("seq")?, row.bytes("body")?);
        size += body.len();
        if size > bytes && !records.is_empty() {
            return Ok(records);
        }
        if expected < seq {
            records.push(done(tx, tenant, device, expected, seq - 1).await?);
        }
        records.push(Record { seq, digest: row.hex("digest")?, body });
        expected = seq + 1;
    }
    if rows.len() < AT_ONCE && expected < before {
        records.push(done(tx, tenant, device, expected, before - 1).await?);
    }
    Ok(records)
}

/// Stands for commands that are not to be sent, with the last one's digest where that is known.
async fn done(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    first: u64,
    last: u64,
) -> Result<Record> {
    let digest = command_digest(tx, tenant, device, last).await?.unwrap_or(0);
    let marker = Dropped { first, last, reason: "answered".to_owned() };
    Ok(Record { seq: last, digest, body: wire::pack(Kind::Dropped, &marker) })
}

/// The running digest of a device's command `seq`; `None` where it is no longer kept.
///
/// # Errors
/// The database could not, or the row is damaged.
pub(crate) async fn command_digest(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    seq: u64,
) -> Result<Option<u64>> {
    const SELECT: &str = "SELECT digest FROM requests
        WHERE tenant = $1 AND device = $2 AND seq = $3";
    let row = tx.row(SELECT, args![tenant, device, seq]).await?;
    row.map(|row| row.hex("digest")).transpose()
}

/// Notes that a device has committed its commands up to `upto`. Never goes back.
///
/// # Errors
/// The database could not.
pub(crate) async fn set_commands_acked(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    upto: u64,
) -> Result<()> {
    const UPDATE: &str = "UPDATE devices SET commands_acked = $3
        WHERE tenant = $1 AND id = $2 AND commands_acked < $3";
    tx.run(UPDATE, args![tenant, device, upto]).await?;
    Ok(())
}

/// The newest desired state of a device, by name; `None` where none was made yet.
///
/// # Errors
/// The database could not, or the row is damaged.
pub(crate) async fn desired(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
) -> Result<Option<Announcement>> {
    const SELECT: &str = "SELECT desired_revision, desired_digest,
        CAST(length(desired_document) AS BIGINT) AS size FROM devices
        WHERE tenant = $1 AND id = $2 AND desired_document IS NOT NULL";
    let Some(row) = tx.row(SELECT, args![tenant, device]).await? else { return Ok(None) };
    let digest = Digest::parse(&row.text("desired_digest")?);
    Ok(Some(Announcement {
        revision: row.count("desired_revision")?,
        digest: digest.map_err(|e| super::row::unreadable("desired_digest", e.to_string()))?,
        size: row.small("size")?,
    }))
}

/// A part of a blob that a device may read: a plugin module of its tenant, or its own desired
/// state. Answers the size of the whole and at most `len` bytes from `offset` on.
///
/// # Errors
/// The database could not.
pub(crate) async fn blob(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    digest: Digest,
    offset: u32,
    len: usize,
) -> Result<Option<(u32, Vec<u8>)>> {
    const MODULE: &str = "SELECT CAST(length(bytes) AS BIGINT) AS size,
        substr(bytes, CAST($3 AS INTEGER), CAST($4 AS INTEGER)) AS part
        FROM blobs WHERE tenant = $1 AND digest = $2";
    const DESIRED: &str = "SELECT CAST(length(desired_document) AS BIGINT) AS size,
        substr(desired_document, CAST($4 AS INTEGER), CAST($5 AS INTEGER)) AS part
        FROM devices WHERE tenant = $1 AND id = $2 AND desired_digest = $3";
    let from = i64::from(offset.min(i32::MAX.unsigned_abs() - 1)) + 1;
    let len = i64::try_from(len).unwrap_or(0).min(1 << 30);
    let own = tx.row(DESIRED, args![tenant, device, &digest, from, len]).await?;
    let row = match own {
        Some(row) => Some(row),
        None => tx.row(MODULE, args![tenant, &digest, from, len]).await?,
    };
    row.map(|row| Ok((row.small("size")?, row.bytes("part")?))).transpose()
}

/// Writes down something a security officer wants to know, that happened at `at_ms` by the clock of
/// whoever noticed it and was heard of at `now_ms`.
///
/// # Errors
/// The database could not.
pub(crate) async fn security_event(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    (at_ms, now_ms): (i64, i64),
    code: &str,
    message: &str,
) -> Result<()> {
    const INSERT: &str = "INSERT INTO security_events
        (id, tenant, device, at_ms, received_ms, code, message)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    let id = crate::random::ordered_id(now_ms);
    tx.run(INSERT, args![id, tenant, device, at_ms, now_ms, code, message]).await?;
    Ok(())
}
