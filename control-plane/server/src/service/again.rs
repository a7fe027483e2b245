//! Runs once more: done again on their devices, one or many, and recorded for the desk.

use std::collections::{BTreeMap, BTreeSet};

use openclaw_protocol::api::{RecordRuns, Requests, RetriedRun, RetriedRuns, RetryRuns};
use openclaw_protocol::command::Command;
use openclaw_protocol::id::{DeviceId, RunId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::limits::RECORD_RUNS;
use openclaw_protocol::recording;
use openclaw_protocol::report::Refusal;
use openclaw_protocol::run::RunStatus;
use serde_json::json;

use super::idempotency::{self, Key};
use super::requests::{self, Wish};
use super::{Fault, Outcome, executions};
use crate::context::Context;
use crate::identity::Principal;
use crate::store::executions::{Before, Filter, RunRow};
use crate::store::{self, Tx};

/// Runs that one request retries.
const RUNS: usize = 1_000;
/// Rows looked at for them.
const LOOKED_AT: usize = 20_000;
/// Rows read at once.
const AT_ONCE: u32 = 500;

/// Wishes another run of the same workflow with the same inputs, from its beginning or, where the
/// device still has the journal, from where it failed.
pub(crate) async fn retry(
    ctx: &Context,
    who: &Principal,
    device: &str,
    run: &str,
    from_failed: bool,
    key: Option<Key>,
) -> Outcome<Requests> {
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    if let Some(answer) = idempotency::replay(&mut tx, who, key.as_ref()).await? {
        return Ok(answer);
    }
    let (device, run, row) = executions::require(&mut tx, &who.tenant, device, run).await?;
    if !executions::is_settled(&row.status) {
        let detail = format!("run `{run}` has not ended: {}; cancel it first", row.status);
        return Err(Fault::conflict("run.not_settled", detail));
    }
    let subject = format!("{device}/{run}");
    let command = if from_failed {
        if row.status == "completed" {
            let detail = format!("run `{run}` has not failed; retry it from its beginning");
            return Err(Fault::conflict("run.completed", detail));
        }
        Command::Retry { run }
    } else {
        let original = executions::fold(&mut tx, &who.tenant, &device, &run).await?;
        let Some(executions::Folded { run: original, .. }) = original else {
            let detail = format!("what run `{run}` was given is no longer kept");
            return Err(Fault::conflict("run.forgotten", detail));
        };
        let workflow = WorkflowName::parse(&row.workflow)?;
        let inputs = JsonText::of(&original.inputs);
        requests::check_start(&mut tx, &who.tenant, &workflow, &device, &inputs).await?;
        Command::Start { workflow, inputs, priority: Some(original.priority) }
    };
    let wish = Wish::new("run.retry", &subject, vec![(device, command)]);
    requests::wish(ctx, tx, who, wish, key).await
}

/// Wishes the same of all runs that match.
pub(crate) async fn retry_many(
    ctx: &Context,
    who: &Principal,
    wanted: RetryRuns,
    key: Option<Key>,
) -> Outcome<RetriedRuns> {
    let status = wanted.status.unwrap_or(RunStatus::Failed);
    if !matches!(status, RunStatus::Failed | RunStatus::Cancelled) {
        let detail = "only runs that are `failed` or `cancelled` are retried".to_owned();
        return Err(Fault::invalid("run.status", detail));
    }
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    if let Some(answer) = idempotency::replay(&mut tx, who, key.as_ref()).await? {
        return Ok(answer);
    }
    let (rows, next_cursor) = matching(&mut tx, who, &wanted, status).await?;
    let mut sorter = Sorter::new(&mut tx, who).await?;
    let (mut runs, mut commands) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        let command = sorter.command(&mut tx, who, &row, wanted.from_failed).await?;
        let (refusal, command) = match command {
            Ok(command) => (None, Some(command)),
            Err(refusal) => (Some(refusal), None),
        };
        let RunRow { device, id: run, workflow, .. } = row;
        runs.push(RetriedRun { device, run, workflow, request: None, refusal });
        commands.extend(command);
    }
    let mut answer = RetriedRuns { runs, next_cursor };
    if wanted.dry_run || commands.is_empty() {
        return Ok(answer);
    }
    let subject = wanted.workflow.as_deref().unwrap_or("*");
    let wish = Wish::new("run.retry", subject, commands);
    let written = requests::write(ctx, &mut tx, who, wish).await?;
    let taken = answer.runs.iter_mut().filter(|run| run.refusal.is_none());
    for (run, request) in taken.zip(&written.requests) {
        run.request = Some(request.id.clone());
    }
    idempotency::keep(&mut tx, who, key.as_ref(), 202, &answer, ctx.clock.now_ms()).await?;
    tx.commit().await?;
    requests::nudge(ctx, who, &written);
    Ok(answer)
}

/// The runs meant, the latest first, and where those begin that follow.
async fn matching(
    tx: &mut Tx,
    who: &Principal,
    wanted: &RetryRuns,
    status: RunStatus,
) -> Outcome<(Vec<RunRow>, Option<String>)> {
    let filter = Filter {
        device: wanted.device.clone(),
        workflow: wanted.workflow.clone(),
        status: Some(store::projection::status_name(status).to_owned()),
        run: None,
    };
    let since_ms = wanted.since_ms.unwrap_or(i64::MIN);
    let mut before = executions::before(wanted.cursor.clone())?;
    let (mut found, mut looked_at) = (Vec::new(), 0);
    loop {
        let rows = store::executions::list(tx, &who.tenant, &filter, &before, AT_ONCE).await?;
        let is_last = rows.len() < AT_ONCE as usize;
        for row in rows {
            if found.len() == RUNS || looked_at == LOOKED_AT {
                return Ok((found, Some(executions::cursor(&before))));
            }
            looked_at += 1;
            let (device, id) = (row.device.clone(), row.id.clone());
            before = Before { updated_ms: row.updated_ms, device, id };
            let ended = row.settled_ms.is_some_and(|at| at >= since_ms);
            if ended && wanted.error.as_deref().is_none_or(|code| has_error(&row, code)) {
                found.push(row);
            }
        }
        if is_last {
            return Ok((found, None));
        }
    }
}

fn has_error(row: &RunRow, wanted: &str) -> bool {
    let code = row.error.as_ref().map_or("", |error| error.code.as_str());
    match wanted.strip_suffix('*') {
        Some(prefix) => code.starts_with(prefix),
        None => code == wanted,
    }
}

/// Says what to send for each of many runs, asking the database once for what they share.
struct Sorter {
    active: BTreeSet<String>,
    holders: BTreeMap<String, BTreeSet<DeviceId>>,
}

impl Sorter {
    async fn new(tx: &mut Tx, who: &Principal) -> Outcome<Self> {
        let active = store::devices::active(tx, &who.tenant).await?;
        let active = active.into_iter().map(|device| device.id.to_string()).collect();
        Ok(Self { active, holders: BTreeMap::new() })
    }

    async fn command(
        &mut self,
        tx: &mut Tx,
        who: &Principal,
        row: &RunRow,
        from_failed: bool,
    ) -> Outcome<Result<(DeviceId, Command), Refusal>> {
        let refuse =
            |code: &str, message: String| Ok(Err(Refusal { code: code.to_owned(), message }));
        let (device, run) = (DeviceId::parse(&row.device)?, RunId::parse(&row.id)?);
        if !self.active.contains(&row.device) {
            return refuse("device.revoked", format!("device `{device}` is revoked"));
        }
        if !self.holders.contains_key(&row.workflow) {
            let holders =
                store::deployments::devices_of_workflow(tx, &who.tenant, &row.workflow).await?;
            self.holders.insert(row.workflow.clone(), holders.into_iter().collect());
        }
        if !self.holders.get(&row.workflow).is_some_and(|holders| holders.contains(&device)) {
            let message =
                format!("workflow `{}` is not deployed on device `{device}`", row.workflow);
            return refuse("run.not_deployed", message);
        }
        if from_failed {
            return Ok(Ok((device, Command::Retry { run })));
        }
        let result = store::executions::result(tx, &who.tenant, &device, &run).await?;
        let Some((_, result)) = result else {
            let message = format!("what run `{run}` was given is no longer kept");
            return refuse("run.forgotten", message);
        };
        let (workflow, inputs) = (result.workflow, result.inputs);
        Ok(Ok((device, Command::Start { workflow, inputs, priority: Some(result.priority) })))
    }
}

/// Wishes a recording of a run.
pub(crate) async fn record(
    ctx: &Context,
    who: &Principal,
    device: &str,
    run: &str,
    key: Option<Key>,
) -> Outcome<Requests> {
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    if let Some(answer) = idempotency::replay(&mut tx, who, key.as_ref()).await? {
        return Ok(answer);
    }
    let (device, run, _) = executions::require(&mut tx, &who.tenant, device, run).await?;
    let subject = format!("{device}/{run}");
    let wish = Wish::new("run.export", &subject, vec![(device, Command::Export { run })]);
    requests::wish(ctx, tx, who, wish, key).await
}

/// Wishes that the next runs of a workflow are recorded with all that their plugins are told from
/// outside.
pub(crate) async fn record_next(
    ctx: &Context,
    who: &Principal,
    device: &str,
    wanted: RecordRuns,
    key: Option<Key>,
) -> Outcome<Requests> {
    let RecordRuns { workflow, next } = wanted;
    if next > RECORD_RUNS {
        let detail = format!("at most {RECORD_RUNS} runs are recorded at one wish, not {next}");
        return Err(Fault::invalid("record.runs", detail));
    }
    let workflow = WorkflowName::parse(&workflow)?;
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    if let Some(answer) = idempotency::replay(&mut tx, who, key.as_ref()).await? {
        return Ok(answer);
    }
    requests::check_deployed(&mut tx, &who.tenant, &workflow, device).await?;
    let device = DeviceId::parse(device)?;
    let subject = format!("{device}/{workflow}");
    let detail = json!({ "next": next });
    let commands = vec![(device, Command::Record { workflow, next })];
    let wish = Wish { action: "run.record", subject: &subject, detail, commands };
    requests::wish(ctx, tx, who, wish, key).await
}

/// The newest recording of a run that is here as a whole, or that which a wish asked for: JSON.
pub(crate) async fn recording(
    ctx: &Context,
    who: &Principal,
    device: &str,
    run: &str,
    request: Option<&str>,
) -> Outcome<String> {
    let mut tx = ctx.db.read().await?;
    let (device, run, _) = executions::require(&mut tx, &who.tenant, device, run).await?;
    let parts = store::recordings::newest(&mut tx, &who.tenant, &device, &run, request).await?;
    if parts.is_empty() {
        return Err(Fault::not_found("recording", format!("{device}/{run}")));
    }
    recording::join(parts.iter().map(Vec::as_slice))
        .map_err(|error| Fault::Internal(format!("the recording of run `{run}`: {error}")))
}
