//! The list of executions: one row a run, made from what the device tells and kept in step with
//! it in the same transaction.
//!
//! The status is that of `protocol`'s one fold ([`Run::apply`]). What the fold needs to go on is
//! kept beside the row without the steps that are settled, so a row stays small however long its
//! run. A result usually overtakes the history; it settles the row, and later events do not
//! unsettle it.

use std::collections::BTreeMap;

use openclaw_protocol::id::{DeviceId, Epoch, RunId, TenantId};
use openclaw_protocol::run::{Run, RunError, RunEventRecord, RunResult, RunStatus, StepStatus};

use super::approvals;
use super::ingest::Source;
use super::{Column, Result, Tx, args, insert_many};

/// A status as the API and the tables write it.
pub(crate) fn status_name(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Pending => "pending",
        RunStatus::Running => "running",
        RunStatus::Completed => "completed",
        RunStatus::Failed => "failed",
        RunStatus::Cancelled => "cancelled",
        RunStatus::Delayed => "delayed",
    }
}

/// Code of the error of a run that nobody will ever hear the end of.
pub(crate) const LOST: &str = "run.lost";

/// Ends the rows of a device's unsettled runs that belong to another database than `epoch`'s: its
/// database is a new one, so nobody goes on with them. What they were is kept, so that a word of
/// such a run that comes after all makes it what it is again.
///
/// # Errors
/// The database could not.
pub(crate) async fn lose(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    epoch: Epoch,
    now_ms: i64,
) -> Result<u64> {
    const LOSE: &str = "UPDATE runs SET status = 'failed', error = $3, updated_ms = $4
        WHERE tenant = $1 AND device = $2 AND status IN ('pending', 'running', 'delayed')
        AND id NOT LIKE $5";
    let error = RunError::new(
        LOST,
        "the device's database is a new one, and this run was only in the old one: it was wiped, \
         or its file was damaged and set aside; run it again if it matters",
    );
    let first = RunId::of(epoch, 0).to_string();
    let own = format!("{}%", first.trim_end_matches(|digit| digit != '-'));
    let error = serde_json::json!(error).to_string();
    let lost = tx.run(LOSE, args![tenant, device, error, now_ms, own]).await?;
    approvals::close(tx, tenant, device).await?;
    Ok(lost)
}

/// Settles the rows of runs whose results have come.
pub(super) async fn settle(tx: &mut Tx, source: &Source<'_>, results: &[RunResult]) -> Result<()> {
    let latest: BTreeMap<&RunId, &RunResult> = results.iter().map(|r| (&r.run, r)).collect();
    let rows = latest.values().map(|result| RunRow {
        id: result.run.clone(),
        workflow: result.workflow.to_string(),
        version: result.version.clone(),
        status: result.status,
        trigger: result.trigger.clone(),
        request: result.request.as_ref().map(ToString::to_string),
        accepted_ms: Some(result.accepted.wall_ms),
        settled_ms: Some(result.settled.wall_ms),
        error: result.error.as_ref().map(|error| serde_json::json!(error).to_string()),
        fold: None,
    });
    upsert(tx, source, rows.collect()).await?;
    approvals::close(tx, source.tenant, source.device).await
}

/// Moves the rows of runs on by events that are new, in their order.
pub(super) async fn tell(
    tx: &mut Tx,
    source: &Source<'_>,
    events: BTreeMap<RunId, Vec<RunEventRecord>>,
) -> Result<()> {
    const SELECT: &str = "SELECT status, fold FROM runs
        WHERE tenant = $1 AND device = $2 AND id = $3";
    let mut rows = Vec::new();
    for (id, events) in events {
        let known = tx.row(SELECT, args![source.tenant, source.device, &id]).await?;
        let is_settled = match &known {
            // A lost run has its fold still.
            Some(row) => {
                ["completed", "failed", "cancelled"].contains(&row.text("status")?.as_str())
                    && row.opt_text("fold")?.is_none()
            }
            None => false,
        };
        if is_settled {
            continue;
        }
        let fold: Option<Run> = known.map(|row| row.opt_json("fold")).transpose()?.flatten();
        let mut run = fold.unwrap_or_else(|| Run::new(id));
        let was_asking = approvals::is_asking(&run);
        for event in &events {
            run.apply(event);
        }
        if was_asking || approvals::is_asking(&run) {
            approvals::replace(tx, source, &run).await?;
        }
        rows.push(RunRow::of(run));
    }
    upsert(tx, source, rows).await
}

struct RunRow {
    id: RunId,
    workflow: String,
    version: String,
    status: RunStatus,
    trigger: String,
    request: Option<String>,
    accepted_ms: Option<i64>,
    settled_ms: Option<i64>,
    error: Option<String>,
    fold: Option<String>,
}

impl RunRow {
    fn of(mut run: Run) -> Self {
        // What is settled does not influence the status any more, and values are kept elsewhere.
        run.steps.retain(|step| match step.status {
            StepStatus::Queued
            | StepStatus::Running
            | StepStatus::Delayed
            | StepStatus::Waiting => true,
            StepStatus::Succeeded
            | StepStatus::Bypassed
            | StepStatus::Failed
            | StepStatus::Skipped
            | StepStatus::Cancelled => false,
        });
        run.inputs = serde_json::Value::Null;
        run.outputs = None;
        let fold = (!run.status.is_settled()).then(|| serde_json::json!(run).to_string());
        Self {
            fold,
            id: run.id,
            workflow: run.workflow,
            version: run.version,
            status: run.status,
            trigger: run.trigger,
            request: run.request,
            accepted_ms: run.accepted_wall_ms,
            settled_ms: run.settled_wall_ms,
            error: run.error.map(|error| serde_json::json!(error).to_string()),
        }
    }
}

async fn upsert(tx: &mut Tx, source: &Source<'_>, rows: Vec<RunRow>) -> Result<()> {
    const TAIL: &str = "ON CONFLICT (tenant, device, id) DO UPDATE SET
        workflow = excluded.workflow, version = excluded.version, status = excluded.status,
        trigger_id = excluded.trigger_id, request = COALESCE(excluded.request, runs.request),
        accepted_ms = COALESCE(excluded.accepted_ms, runs.accepted_ms),
        settled_ms = excluded.settled_ms, updated_ms = excluded.updated_ms,
        error = excluded.error, fold = excluded.fold RETURNING id";
    let count = rows.len();
    let number = |row: &RunRow| {
        Some(row.id.number().and_then(|number| i64::try_from(number).ok()).unwrap_or(0))
    };
    let text = |of: fn(&RunRow) -> Option<String>| rows.iter().map(of).collect();
    let int = |of: fn(&RunRow) -> Option<i64>| rows.iter().map(of).collect();
    let columns = vec![
        Column::same("tenant", source.tenant.as_str(), count),
        Column::same("device", source.device.as_str(), count),
        Column::Text("id", text(|row| Some(row.id.to_string()))),
        Column::Int("number", int(number)),
        Column::Text("workflow", text(|row| Some(row.workflow.clone()))),
        Column::Text("version", text(|row| Some(row.version.clone()))),
        Column::Text("status", text(|row| Some(status_name(row.status).to_owned()))),
        Column::Text("trigger_id", text(|row| Some(row.trigger.clone()))),
        Column::Text("request", text(|row| row.request.clone())),
        Column::Int("accepted_ms", int(|row| row.accepted_ms)),
        Column::Int("settled_ms", int(|row| row.settled_ms)),
        Column::Int("updated_ms", vec![Some(source.now_ms); count]),
        Column::Text("error", text(|row| row.error.clone())),
        Column::Text("fold", text(|row| row.fold.clone())),
    ];
    insert_many(tx, "runs", columns, TAIL).await?;
    Ok(())
}
