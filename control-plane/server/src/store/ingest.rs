//! Taking facts from a device: each record once, whatever the wire did, in the caller's
//! transaction. The caller acknowledges only after its commit.

use std::collections::BTreeMap;

use openclaw_protocol::id::{DeviceId, Epoch, TenantId};
use openclaw_protocol::limits;
use openclaw_protocol::recording::RecordingPart;
use openclaw_protocol::report::{Report, ReportRecord};
use openclaw_protocol::run::{RunEventRecord, RunResult};
use openclaw_protocol::sync::{Cursor, Dropped, Lane, Record, chain};
use openclaw_protocol::wire::{self, Kind};

use crate::context::LiveChange;

use super::lanes::{self, Standing};
use super::parked::{Unreadable, park};
use super::{
    Column, Result, Tx, args, fleet, insert_many, projection, recordings, requests, results,
    secrets,
};

/// What came of a batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IngestOutcome {
    /// Records that are new.
    pub(crate) inserted: u64,
    /// Records that were here already.
    pub(crate) repeated: u64,
    /// Where the lane stands now: acknowledge it after the commit.
    pub(crate) cursor: Cursor,
    /// What watchers want to know, after the commit.
    pub(crate) changes: Vec<LiveChange>,
}

/// Who speaks, and when we heard it.
pub(super) struct Source<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) device: &'a DeviceId,
    pub(super) epoch: Epoch,
    pub(super) now_ms: i64,
    /// The record came long ago and could not be read then: what has been said since is newer.
    pub(super) is_late: bool,
}

/// Takes records of one lane. A repeated record is a no-op; in an ordered lane a record beyond a
/// gap is left out, and the cursor says so; what this build cannot read is parked, not dropped.
///
/// # Errors
/// The database could not; nothing may be acknowledged then.
pub(crate) async fn ingest(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    epoch: Epoch,
    lane: Lane,
    records: Vec<Record>,
    now_ms: i64,
) -> Result<IngestOutcome> {
    let source = Source { tenant, device, epoch, now_ms, is_late: false };
    let mut standing = lanes::lock(tx, tenant, device, epoch, lane, now_ms).await?;
    let before = standing.clone();
    let taken = take(&mut standing, lane, records);
    let inserted = taken.fresh.len() as u64;
    if let Some(seq) = taken.broken_chain {
        let message = format!(
            "{lane} record {seq} of epoch {epoch} does not follow the one before it: two copies of \
             one device database may be at work",
            lane = lane.name()
        );
        let at = (now_ms, now_ms);
        fleet::security_event(tx, tenant, device, at, "sync.fork", &message).await?;
    }
    let changes = store(tx, &source, lane, taken.fresh).await?;
    if lane == Lane::Results && standing.upto != before.upto {
        standing.digest = digest_at(tx, &source, &standing, taken.last_digest).await?;
    }
    if standing != before {
        lanes::save(tx, tenant, device, lane, &standing).await?;
    }
    Ok(IngestOutcome { inserted, repeated: taken.repeated, cursor: standing.cursor(lane), changes })
}

/// Stores records that are new as what they are.
pub(super) async fn store(
    tx: &mut Tx,
    source: &Source<'_>,
    lane: Lane,
    fresh: Vec<Record>,
) -> Result<Vec<LiveChange>> {
    match lane {
        Lane::Results => store_results(tx, source, fresh).await,
        Lane::History => store_history(tx, source, fresh).await,
        Lane::Control => store_reports(tx, source, fresh).await,
        Lane::Telemetry => store_recordings(tx, source, fresh).await,
        // They never come up.
        Lane::Commands => Ok(Vec::new()),
    }
}

/// What of a batch is new.
#[derive(Debug, Default)]
struct Taken {
    fresh: Vec<Record>,
    repeated: u64,
    /// First record whose running digest does not fit the one before it.
    broken_chain: Option<u64>,
    /// Digest by number, of the records in this batch.
    last_digest: BTreeMap<u64, u64>,
}

/// Moves the standing on by what is new in a batch. Pure.
fn take(standing: &mut Standing, lane: Lane, records: Vec<Record>) -> Taken {
    let mut taken = Taken::default();
    let mut previous = Some((standing.upto, standing.digest));
    for record in records {
        if record.seq == 0 || record.seq > i64::MAX.unsigned_abs() {
            break;
        }
        let dropped = read_dropped(&record);
        // A marker may not know its digest, and says 0.
        let known = |&(seq, digest): &(u64, u64)| seq == 0 || digest != 0;
        let follows = previous.filter(|before| before.0 + 1 == record.seq && known(before));
        let fits = follows.is_none_or(|(_, digest)| chain(digest, &record.body) == record.digest);
        previous = Some((record.seq, record.digest));
        if standing.has(record.seq) {
            taken.repeated += 1;
            standing.repeated += 1;
            continue;
        }
        // A marker has the number of the last record it stands for.
        let last = record.seq;
        let first = dropped.as_ref().map_or(last, |gone| gone.first.clamp(1, last));
        if lane.is_ordered() && first > standing.upto + 1 {
            break;
        }
        let Some(covered) = standing.take(first, last) else { break };
        taken.last_digest.insert(record.seq, record.digest);
        if lane.is_ordered() {
            standing.digest = record.digest;
        }
        if dropped.is_some() {
            standing.dropped += covered;
            continue;
        }
        if !fits && taken.broken_chain.is_none() {
            taken.broken_chain = Some(record.seq);
        }
        standing.received += 1;
        taken.fresh.push(record);
    }
    taken
}

fn read_dropped(record: &Record) -> Option<Dropped> {
    (record.body.get(1) == Some(&(Kind::Dropped as u8)))
        .then(|| wire::unpack(Kind::Dropped, &record.body, limits::RECORD_BYTES).ok())
        .flatten()
}

/// The digest of the record at the contiguous end of the results lane: from this batch, or from
/// the row that an earlier batch left above the gap; 0 where neither is here any more.
async fn digest_at(
    tx: &mut Tx,
    source: &Source<'_>,
    standing: &Standing,
    batch: BTreeMap<u64, u64>,
) -> Result<u64> {
    const SELECT: &str = "SELECT digest FROM results
        WHERE tenant = $1 AND device = $2 AND epoch = $3 AND seq = $4";
    if let Some(digest) = batch.get(&standing.upto) {
        return Ok(*digest);
    }
    let key = args![source.tenant, source.device, &source.epoch, standing.upto];
    let row = tx.row(SELECT, key).await?;
    row.map_or(Ok(0), |row| row.hex("digest"))
}

async fn store_results(
    tx: &mut Tx,
    source: &Source<'_>,
    fresh: Vec<Record>,
) -> Result<Vec<LiveChange>> {
    let (read, parked) = unpack_all::<RunResult>(Kind::RunResult, fresh);
    park(tx, source, Lane::Results, parked).await?;
    let (told, read) = results::told_before(tx, source, read).await?;
    let rows = read.len();
    let text = |of: fn(&RunResult) -> String| read.iter().map(|(_, r)| Some(of(r))).collect();
    let int = |of: fn(&RunResult) -> i64| read.iter().map(|(_, r)| Some(of(r))).collect();
    let seqs = read.iter().map(|(record, _)| i64::try_from(record.seq).ok()).collect();
    let digests = read.iter().map(|(record, _)| Some(format!("{:016x}", record.digest))).collect();
    let columns = vec![
        Column::same("tenant", source.tenant.as_str(), rows),
        Column::same("device", source.device.as_str(), rows),
        Column::same("epoch", &source.epoch.to_string(), rows),
        Column::Int("seq", seqs),
        Column::Text("digest", digests),
        Column::Text("run", text(|r| r.run.to_string())),
        Column::Text("workflow", text(|r| r.workflow.to_string())),
        Column::Text("version", text(|r| r.version.clone())),
        Column::Text("status", text(|r| projection::status_name(r.status).to_owned())),
        Column::Text("trigger_id", text(|r| r.trigger.clone())),
        Column::Text(
            "request",
            read.iter().map(|(_, r)| r.request.as_ref().map(ToString::to_string)).collect(),
        ),
        Column::Int("accepted_ms", int(|r| r.accepted.wall_ms)),
        Column::Int("settled_ms", int(|r| r.settled.wall_ms)),
        Column::Int("received_ms", vec![Some(source.now_ms); rows]),
        Column::Text("result", text(|r| serde_json::json!(r).to_string())),
    ];
    insert_many(tx, "results", columns, "ON CONFLICT DO NOTHING RETURNING seq").await?;
    let results: Vec<RunResult> = told.into_iter().chain(read).map(|(_, result)| result).collect();
    projection::settle(tx, source, &results).await?;
    Ok(results.iter().map(|result| run_change(source, &result.run)).collect())
}

async fn store_history(
    tx: &mut Tx,
    source: &Source<'_>,
    fresh: Vec<Record>,
) -> Result<Vec<LiveChange>> {
    let (read, parked) = unpack_all::<RunEventRecord>(Kind::RunEvent, fresh);
    park(tx, source, Lane::History, parked).await?;
    let rows = read.len();
    let columns = vec![
        Column::same("tenant", source.tenant.as_str(), rows),
        Column::same("device", source.device.as_str(), rows),
        Column::Text("run", read.iter().map(|(_, e)| Some(e.run.to_string())).collect()),
        Column::Int("seq", read.iter().map(|(_, e)| Some(i64::from(e.seq))).collect()),
        Column::Int("at_ms", read.iter().map(|(_, e)| Some(e.at.wall_ms)).collect()),
        Column::Int("received_ms", vec![Some(source.now_ms); rows]),
        Column::Bytes("body", read.iter().map(|(record, _)| record.body.clone()).collect()),
    ];
    insert_many(tx, "run_events", columns, "ON CONFLICT DO NOTHING RETURNING seq").await?;
    let mut by_run: BTreeMap<_, Vec<RunEventRecord>> = BTreeMap::new();
    for (_, event) in read {
        by_run.entry(event.run.clone()).or_default().push(event);
    }
    let changes = by_run.keys().map(|run| run_change(source, run)).collect();
    projection::tell(tx, source, by_run).await?;
    Ok(changes)
}

async fn store_reports(
    tx: &mut Tx,
    source: &Source<'_>,
    fresh: Vec<Record>,
) -> Result<Vec<LiveChange>> {
    let (read, parked) = unpack_all::<ReportRecord>(Kind::Report, fresh);
    park(tx, source, Lane::Control, parked).await?;
    let mut changes = Vec::new();
    for (_, record) in read {
        let at_ms = record.at.wall_ms;
        if let Some(change) = store_report(tx, source, at_ms, record.report).await?
            && !changes.contains(&change)
        {
            changes.push(change);
        }
    }
    Ok(changes)
}

async fn store_recordings(
    tx: &mut Tx,
    source: &Source<'_>,
    fresh: Vec<Record>,
) -> Result<Vec<LiveChange>> {
    let (read, parked) = unpack_all::<RecordingPart>(Kind::Recording, fresh);
    park(tx, source, Lane::Telemetry, parked).await?;
    let is_last = |part: &RecordingPart| part.part.saturating_add(1) >= part.parts;
    let whole = read.iter().filter(|(_, part)| is_last(part));
    let changes = whole.map(|(_, part)| run_change(source, &part.run)).collect();
    recordings::add(tx, source, read.into_iter().map(|(_, part)| part).collect()).await?;
    Ok(changes)
}

async fn store_report(
    tx: &mut Tx,
    source: &Source<'_>,
    at_ms: i64,
    report: Report,
) -> Result<Option<LiveChange>> {
    const ANSWER: &str = "UPDATE requests SET run = COALESCE($4, run), refusal = $5,
        answered_ms = $6 WHERE tenant = $1 AND id = $2 AND device = $3";
    const REPORTED: &str = "UPDATE devices SET reported_revision = $3, refused = $4
        WHERE tenant = $1 AND id = $2
        AND ($5 = 0 OR (reported_revision < $3 AND $3 <= desired_revision))";
    const INVENTORY: &str = "UPDATE devices SET inventory = $3
        WHERE tenant = $1 AND id = $2 AND ($4 = 0 OR inventory IS NULL)";
    let Source { tenant, device, now_ms, is_late, .. } = *source;
    let this_device = || Some(LiveChange::Device { device: device.to_string() });
    Ok(match report {
        Report::Command { request, outcome } => {
            let refusal =
                outcome.as_ref().err().map(|refusal| serde_json::json!(refusal).to_string());
            let run = outcome.ok().map(|run| run.to_string());
            let key = args![tenant, request.as_str(), device];
            tx.run(ANSWER, [key, args![run, refusal, now_ms]].concat()).await?;
            Some(LiveChange::Request { request: request.to_string() })
        }
        Report::Desired { revision, refused } => {
            let refused: BTreeMap<_, _> = refused.into_iter().collect();
            let refused = serde_json::json!(refused).to_string();
            tx.run(REPORTED, args![tenant, device, revision, refused, is_late]).await?;
            this_device()
        }
        Report::Inventory(inventory) => {
            let inventory = serde_json::json!(inventory).to_string();
            tx.run(INVENTORY, args![tenant, device, inventory, is_late]).await?;
            this_device()
        }
        Report::Done { request } => {
            let key = args![tenant, request.as_str(), device];
            tx.run(ANSWER, [key, args![None::<String>, None::<String>, now_ms]].concat()).await?;
            Some(LiveChange::Request { request: request.to_string() })
        }
        Report::Security { code, message } => {
            if code == "command.unreadable" && !is_late {
                requests::answer_unknown(tx, tenant, device, now_ms).await?;
            }
            fleet::security_event(tx, tenant, device, (at_ms, now_ms), &code, &message).await?;
            this_device()
        }
        Report::Dropped { workflow, reason, count } => {
            let message = format!("{count} starts of `{workflow}` never became runs: {reason}");
            let at = (at_ms, now_ms);
            fleet::security_event(tx, tenant, device, at, "starts.dropped", &message).await?;
            this_device()
        }
        Report::SealingKey { key } => {
            let taken = (is_late, now_ms);
            secrets::set_sealing_key(tx, tenant, device, &key, taken).await?;
            this_device()
        }
        // Late ones say what was, and the device has said since what is.
        Report::Secrets { held } => {
            if !is_late {
                secrets::hold(tx, tenant, device, &held).await?;
            }
            this_device()
        }
    })
}

fn run_change(source: &Source<'_>, run: &openclaw_protocol::id::RunId) -> LiveChange {
    LiveChange::Run { device: source.device.to_string(), run: run.to_string() }
}

fn unpack_all<T: serde::de::DeserializeOwned>(
    kind: Kind,
    records: Vec<Record>,
) -> (Vec<(Record, T)>, Vec<Unreadable>) {
    let (mut read, mut parked) = (Vec::new(), Vec::new());
    for record in records {
        match wire::unpack(kind, &record.body, limits::RECORD_BYTES) {
            Ok(value) => read.push((record, value)),
            Err(error) => parked.push((record, error)),
        }
    }
    (read, parked)
}
