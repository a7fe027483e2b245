//! Wishes to devices; each is also an entry of the device's command log.

use openclaw_protocol::command::{Command, CommandRecord};
use openclaw_protocol::id::{DeviceId, RequestId, TenantId};
use openclaw_protocol::limits::RECORD_BYTES;
use openclaw_protocol::report::Refusal;
use openclaw_protocol::sync::chain;
use openclaw_protocol::wire::{self, Kind};

use super::{Result, Row, Tx, args};

/// A wish and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct RequestRow {
    pub(crate) id: String,
    pub(crate) device: String,
    pub(crate) run: Option<String>,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) answered: bool,
}

impl RequestRow {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.text("id")?,
            device: row.text("device")?,
            run: row.opt_text("run")?,
            refusal: row.opt_json("refusal")?,
            answered: row.opt_int("answered_ms")?.is_some(),
        })
    }
}

/// A wish that is being written down.
#[derive(Debug)]
pub(crate) struct NewRequest<'a> {
    pub(crate) id: &'a RequestId,
    pub(crate) device: &'a DeviceId,
    /// Packed command record.
    pub(crate) body: Vec<u8>,
    pub(crate) created_by: &'a str,
    /// The run it concerns, where that is known before the device answers.
    pub(crate) run: Option<&'a str>,
}

/// Appends a wish to its device's command log: the number and the running digest follow from the
/// entry before. Answers `false` where there is no such device.
pub(crate) async fn append(
    tx: &mut Tx,
    tenant: &TenantId,
    request: NewRequest<'_>,
    now_ms: i64,
) -> Result<bool> {
    // The update locks the row, so numbers and digests form one chain.
    const NEXT: &str = "UPDATE devices SET next_command = next_command + 1
        WHERE tenant = $1 AND id = $2 AND revoked = 0
        RETURNING next_command - 1 AS seq, command_digest";
    const NEWEST: &str = "UPDATE devices SET command_digest = $3 WHERE tenant = $1 AND id = $2";
    const INSERT: &str = "INSERT INTO requests
        (tenant, id, device, seq, digest, body, created_by, created_ms, run)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let NewRequest { id, device, body, created_by, run } = request;
    let Some(row) = tx.row(NEXT, args![tenant, device]).await? else { return Ok(false) };
    let seq = row.count("seq")?;
    let digest = format!("{:016x}", chain(row.hex("command_digest")?, &body));
    tx.run(NEWEST, args![tenant, device, &digest]).await?;
    let key = args![tenant, id.as_str(), device, seq, digest];
    tx.run(INSERT, [key, args![body, created_by, now_ms, run]].concat()).await?;
    Ok(true)
}

/// The device's agent could not read a command, because it is of a version before that command: the
/// oldest open wish of a kind that was added later is refused. Reports come in the order of
/// the commands, so it is this one.
pub(super) async fn answer_unknown(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    now_ms: i64,
) -> Result<()> {
    const OPEN: &str = "SELECT id, body FROM requests
        WHERE tenant = $1 AND device = $2 AND answered_ms IS NULL AND seq IS NOT NULL
        ORDER BY seq LIMIT 1000";
    const ANSWER: &str = "UPDATE requests SET refusal = $4, answered_ms = $5
        WHERE tenant = $1 AND id = $2 AND device = $3";
    for row in tx.rows(OPEN, args![tenant, device]).await? {
        let body = row.bytes("body")?;
        let record: std::result::Result<CommandRecord, _> =
            wire::unpack(Kind::Command, &body, RECORD_BYTES);
        if !record.is_ok_and(|record| matches!(record.command, Command::Record { .. })) {
            continue;
        }
        let message = "the agent on this device does not know this wish yet; update the agent";
        let refusal = Refusal { code: "command.unknown".to_owned(), message: message.to_owned() };
        let refusal = serde_json::json!(refusal).to_string();
        let id = row.text("id")?;
        tx.run(ANSWER, args![tenant, &id, device, refusal, now_ms]).await?;
        return Ok(());
    }
    Ok(())
}

/// One wish.
pub(crate) async fn find(tx: &mut Tx, tenant: &TenantId, id: &str) -> Result<Option<RequestRow>> {
    const SELECT: &str = "SELECT id, device, run, refusal, answered_ms FROM requests
        WHERE tenant = $1 AND id = $2";
    tx.row(SELECT, args![tenant, id]).await?.as_ref().map(RequestRow::read).transpose()
}

/// Begins the command logs of a new generation: what is answered leaves them, what is not goes on
/// under new numbers with new digests. The wishes keep their ids, by which a device that has seen
/// one already knows it. What removed devices had reached counts for nothing any more.
pub(crate) async fn renumber(tx: &mut Tx, tenant: &TenantId) -> Result<()> {
    const FORGET: &str = "DELETE FROM removed_devices WHERE tenant = $1";
    const CLEAR: &str = "UPDATE devices SET next_command = 1, commands_acked = 0,
        command_digest = '0000000000000000' WHERE tenant = $1";
    const OPEN: &str = "SELECT id, device, body FROM requests
        WHERE tenant = $1 AND answered_ms IS NULL AND seq IS NOT NULL ORDER BY device, seq";
    const UNSET: &str = "UPDATE requests SET seq = NULL WHERE tenant = $1";
    const SET: &str = "UPDATE requests SET seq = $3, digest = $4 WHERE tenant = $1 AND id = $2";
    const COUNT: &str = "UPDATE devices SET next_command = $3, command_digest = $4
        WHERE tenant = $1 AND id = $2";
    let open = tx.rows(OPEN, args![tenant]).await?;
    tx.run(FORGET, args![tenant]).await?;
    tx.run(CLEAR, args![tenant]).await?;
    tx.run(UNSET, args![tenant]).await?;
    let (mut device, mut seq, mut digest) = (String::new(), 0_u64, 0);
    for row in open {
        let of = row.text("device")?;
        if of != device {
            (device, seq, digest) = (of, 0, 0);
        }
        seq += 1;
        digest = chain(digest, &row.bytes("body")?);
        let digest = format!("{digest:016x}");
        tx.run(SET, args![tenant, row.text("id")?, seq, &digest]).await?;
        tx.run(COUNT, args![tenant, &device, seq + 1, &digest]).await?;
    }
    Ok(())
}
