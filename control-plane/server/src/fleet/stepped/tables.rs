//! What the tables of a simulated control plane say, for whoever judges it; and the control that
//! writes a result twice.

use std::collections::BTreeSet;

use openclaw_protocol::limits;
use openclaw_protocol::run::RunResult;
use openclaw_protocol::wire::{self, Kind};

use super::super::intake::{Task, Work};
use super::has_results;
use crate::context::Ctx;
use crate::store::{Row, StoreError, Tx, args};

/// A row of `results`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultRow {
    /// Of which device.
    pub device: String,
    /// Of which run.
    pub run: String,
    /// The wish that it began with.
    pub request: Option<String>,
    /// The whole result, JSON.
    pub result: String,
}

/// A row of `runs`: what the console shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// On which device.
    pub device: String,
    /// Which.
    pub run: String,
    /// How it stands.
    pub status: String,
}

/// The events of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsRow {
    /// On which device.
    pub device: String,
    /// Of which run.
    pub run: String,
    /// How many there are.
    pub count: u64,
    /// The highest number.
    pub last: u64,
}

/// A row of `requests`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRow {
    /// Which wish.
    pub id: String,
    /// To which device.
    pub device: String,
    /// The run that it led to.
    pub run: Option<String>,
    /// Why it was refused.
    pub refusal: Option<String>,
    /// The device has answered.
    pub answered: bool,
}

/// What is in the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    /// By device and run.
    pub results: Vec<ResultRow>,
    /// By device and run.
    pub runs: Vec<RunRow>,
    /// By device and run.
    pub events: Vec<EventsRow>,
    /// By name.
    pub requests: Vec<RequestRow>,
    /// Codes of security events.
    pub alarms: Vec<String>,
    /// Records that could not be read.
    pub parked: u64,
}

async fn rows<T>(
    tx: &mut Tx,
    sql: &'static str,
    read: impl Fn(&Row) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    tx.rows(sql, args![]).await?.iter().map(read).collect()
}

/// Reads everything.
pub(super) async fn read(ctx: &Ctx) -> Result<Tables, StoreError> {
    const RESULTS: &str = "SELECT device, run, request, result FROM results ORDER BY device, run";
    const RUNS: &str = "SELECT device, id, status FROM runs ORDER BY device, id";
    const EVENTS: &str = "SELECT device, run, COUNT(*) AS count, MAX(seq) AS last FROM run_events
        GROUP BY device, run ORDER BY device, run";
    const REQUESTS: &str = "SELECT id, device, run, refusal, answered_ms FROM requests ORDER BY id";
    const ALARMS: &str = "SELECT code FROM security_events ORDER BY id";
    const PARKED: &str = "SELECT COUNT(*) AS n FROM parked_records";
    let mut tx = ctx.db.read().await?;
    Ok(Tables {
        results: rows(&mut tx, RESULTS, |row| {
            Ok(ResultRow {
                device: row.text("device")?,
                run: row.text("run")?,
                request: row.opt_text("request")?,
                result: row.text("result")?,
            })
        })
        .await?,
        runs: rows(&mut tx, RUNS, |row| {
            let (device, run) = (row.text("device")?, row.text("id")?);
            Ok(RunRow { device, run, status: row.text("status")? })
        })
        .await?,
        events: rows(&mut tx, EVENTS, |row| {
            let (device, run) = (row.text("device")?, row.text("run")?);
            Ok(EventsRow { device, run, count: row.count("count")?, last: row.count("last")? })
        })
        .await?,
        requests: rows(&mut tx, REQUESTS, |row| {
            Ok(RequestRow {
                id: row.text("id")?,
                device: row.text("device")?,
                run: row.opt_text("run")?,
                refusal: row.opt_text("refusal")?,
                answered: row.opt_int("answered_ms")?.is_some(),
            })
        })
        .await?,
        alarms: rows(&mut tx, ALARMS, |row| row.text("code")).await?,
        parked: rows(&mut tx, PARKED, |row| row.count("n")).await?.into_iter().sum(),
    })
}

/// Runs in these works of which there is a result already, here or further up among them.
pub(super) async fn known(ctx: &Ctx, works: &[Work]) -> Result<Vec<String>, StoreError> {
    const KNOWN: &str = "SELECT run FROM results WHERE run = $1";
    let mut tx = ctx.db.read().await?;
    let (mut known, mut seen) = (Vec::new(), BTreeSet::new());
    for work in works.iter().filter(|work| has_results(&work.task)) {
        let Task::Records { records, .. } = &work.task else { continue };
        for record in records {
            let read = wire::unpack(Kind::RunResult, &record.body, limits::RECORD_BYTES);
            let Ok(RunResult { run, .. }) = read else { continue };
            let is_first = seen.insert(run.to_string());
            if !is_first || tx.row(KNOWN, args![run.as_str()]).await?.is_some() {
                known.push(run.to_string());
            }
        }
    }
    Ok(known)
}

/// Writes a result once more, under a number of its own.
pub(super) async fn double(ctx: &Ctx, run: &str, number: i64) -> Result<(), StoreError> {
    const DOUBLE: &str = "INSERT INTO results (tenant, device, epoch, seq, digest, run, workflow,
        version, status, trigger_id, request, accepted_ms, settled_ms, received_ms, result)
        SELECT tenant, device, epoch, seq + 1000000 * $2, digest, run, workflow, version, status,
        trigger_id, request, accepted_ms, settled_ms, received_ms, result
        FROM results WHERE run = $1 ORDER BY seq LIMIT 1";
    let mut tx = ctx.db.write().await?;
    tx.run(DOUBLE, args![run, number]).await?;
    tx.commit().await
}
