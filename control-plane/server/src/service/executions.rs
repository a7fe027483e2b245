//! Executions: the list, and one with its steps.

use serde::Deserialize;
use serde_json::Value;

use openclaw_protocol::api::{Execution, ExecutionSummary, Page};
use openclaw_protocol::id::{DeviceId, RunId, TenantId};
use openclaw_protocol::run::{Run, RunEventRecord, RunResult, RunStatus};
use openclaw_protocol::sync::Lane;

use super::page::{PageQuery, page};
use super::{Fault, Outcome};
use crate::clock::rfc3339;
use crate::context::Context;
use crate::identity::Principal;
use crate::store::executions::{Before, Filter, RunRow};
use crate::store::{self, Tx};

/// Events folded into one view at most; a longer run is shown as far as that.
const FOLDED: usize = 20_000;
/// Bytes of events folded into one view at most, about; what a view holds is not more.
const FOLDED_BYTES: u64 = 8 * 1024 * 1024;
/// Events read at once.
const AT_ONCE: u32 = 1_000;

/// Which executions are wanted.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExecutionQuery {
    /// Only of this device.
    pub(crate) device: Option<String>,
    /// Only of this workflow.
    pub(crate) workflow: Option<String>,
    /// Only in this status.
    pub(crate) status: Option<RunStatus>,
    /// Only with this run id.
    pub(crate) run: Option<String>,
    /// Entries at most: 1 to 200, 50 where absent.
    #[param(minimum = 1, maximum = 200)]
    pub(crate) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
}

/// Lists executions, latest change first.
pub(crate) async fn list(
    ctx: &Context,
    who: &Principal,
    query: ExecutionQuery,
) -> Outcome<Page<ExecutionSummary>> {
    let ExecutionQuery { device, workflow, status, run, limit, cursor } = query;
    let limit = PageQuery { limit, cursor: None }.limit()?;
    let before = before(cursor)?;
    let status = status.map(|status| store::projection::status_name(status).to_owned());
    let filter = Filter { device, workflow, status, run };
    let mut tx = ctx.db.read().await?;
    let rows = store::executions::list(&mut tx, &who.tenant, &filter, &before, limit + 1).await?;
    let key = |row: &RunRow| vec![row.updated_ms.to_string(), row.device.clone(), row.id.clone()];
    let page = page(rows, limit, key, summary);
    let items = page.items.into_iter().collect::<Outcome<_>>()?;
    Ok(Page { items, next_cursor: page.next_cursor })
}

/// Where a page of executions begins.
pub(super) fn before(cursor: Option<String>) -> Outcome<Before> {
    Ok(match (PageQuery { limit: None, cursor }).after::<3>()? {
        Some([at, device, id]) => {
            let wrong = |_| Fault::BadRequest("`cursor` is not one of ours".to_owned());
            Before { updated_ms: at.parse().map_err(wrong)?, device, id }
        }
        None => Before { updated_ms: i64::MAX, device: String::new(), id: String::new() },
    })
}

/// The cursor of a page that begins there.
pub(super) fn cursor(before: &Before) -> String {
    let Before { updated_ms, device, id } = before;
    super::page::cursor(&[updated_ms.to_string(), device.clone(), id.clone()])
}

/// One execution with its steps.
pub(crate) async fn find(
    ctx: &Context,
    who: &Principal,
    device: &str,
    run: &str,
) -> Outcome<Execution> {
    let mut tx = ctx.db.read().await?;
    let (device, run, row) = require(&mut tx, &who.tenant, device, run).await?;
    let folded = fold(&mut tx, &who.tenant, &device, &run).await?;
    let folded = folded.ok_or_else(|| Fault::not_found("execution", run.as_str()))?;
    let Folded { result_seq, truncated, run: mut view } = folded;
    if result_seq.is_none() {
        // The row has seen all events, and knows whether the run was lost with its database.
        view.status = status(row.status)?;
        view.settled_wall_ms = row.settled_ms;
        view.error = row.error;
    }
    // A result overtakes the history: what has not come yet is not unheard of.
    let is_over = view.status.is_settled() && !truncated;
    if is_over && (result_seq.is_none() || has_history(&mut tx, &who.tenant, &device).await?) {
        view.close_steps(view.settled_wall_ms);
    }
    Ok(Execution { device: device.to_string(), result_seq, truncated, run: view })
}

/// The ids and the row of an execution, or the fault that there is none.
pub(super) async fn require(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &str,
    run: &str,
) -> Outcome<(DeviceId, RunId, RunRow)> {
    let none = || Fault::not_found("execution", format!("{device}/{run}"));
    let device_id = DeviceId::parse(device).map_err(|_| none())?;
    let run_id = RunId::parse(run).map_err(|_| none())?;
    let found = store::executions::find(tx, tenant, &device_id, &run_id).await?;
    let row = found.ok_or_else(none)?;
    Ok((device_id, run_id, row))
}

/// The ids of an execution that is not over, or the fault that there is none.
pub(super) async fn require_open(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &str,
    run: &str,
) -> Outcome<(DeviceId, RunId)> {
    let (device, run, row) = require(tx, tenant, device, run).await?;
    if is_settled(&row.status) {
        let detail = format!("run `{run}` has ended already: {}", row.status);
        return Err(Fault::conflict("run.settled", detail));
    }
    Ok((device, run))
}

/// Whether nothing will change any more, by the name of the status.
pub(super) fn is_settled(status: &str) -> bool {
    ["completed", "failed", "cancelled"].contains(&status)
}

/// What is known of a run.
pub(super) struct Folded {
    /// The result's number in its lane, where that is here.
    pub(super) result_seq: Option<u64>,
    /// It has more events than were folded.
    pub(super) truncated: bool,
    /// The fold.
    pub(super) run: Run,
}

/// What is known of a run: the fold of its events, settled by its result where that has come
/// first.
pub(super) async fn fold(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    id: &RunId,
) -> Outcome<Option<Folded>> {
    let (mut told, mut after, mut left) = (Vec::new(), 0, FOLDED_BYTES);
    let truncated = loop {
        let most = (AT_ONCE, left);
        let found = store::executions::events(tx, tenant, device, id, after, most).await?;
        left = left.saturating_sub(found.bytes);
        told.extend(found.events);
        after = told.last().map_or(after, |last: &RunEventRecord| last.seq);
        if !found.more || left == 0 || told.len() >= FOLDED {
            break found.more;
        }
    };
    let result = store::executions::result(tx, tenant, device, id).await?;
    if told.is_empty() && result.is_none() {
        return Ok(None);
    }
    let mut run = Run::from_events(&told).unwrap_or_else(|| Run::new(id.clone()));
    let result_seq = result.as_ref().map(|(seq, _)| *seq);
    if let Some((_, result)) = result {
        settle(&mut run, result);
    }
    Ok(Some(Folded { result_seq, truncated, run }))
}

/// What the result says goes, because it is the last word.
fn settle(run: &mut Run, result: RunResult) {
    run.workflow = result.workflow.to_string();
    run.version = result.version;
    run.definition = result.definition.0;
    run.trigger = result.trigger;
    run.request = result.request.map(|request| request.to_string());
    run.priority = result.priority;
    run.status = result.status;
    run.inputs = result.inputs.value();
    run.outputs = Some(result.outputs.value());
    run.error = result.error;
    run.accepted_wall_ms = Some(result.accepted.wall_ms);
    run.settled_wall_ms = Some(result.settled.wall_ms);
}

/// Whether nothing that the device has announced of its history is still to come.
async fn has_history(tx: &mut Tx, tenant: &TenantId, device: &DeviceId) -> Outcome<bool> {
    let standings = store::lanes::of_device(tx, tenant, device, Lane::History).await?;
    Ok(standings.first().is_none_or(|standing| standing.missing() == 0))
}

fn status(name: String) -> Outcome<RunStatus> {
    serde_json::from_value(Value::String(name))
        .map_err(|error| Fault::Internal(format!("status of a run: {error}")))
}

fn summary(row: RunRow) -> Outcome<ExecutionSummary> {
    Ok(ExecutionSummary {
        id: row.id,
        device: row.device,
        workflow: row.workflow,
        version: row.version,
        status: status(row.status)?,
        trigger: row.trigger,
        accepted_at: row.accepted_ms.map(rfc3339),
        settled_at: row.settled_ms.map(rfc3339),
        error: row.error,
    })
}
