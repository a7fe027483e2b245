//! Approvals that wait for people: a row each, kept in step with their runs in the same
//! transaction, so that the open ones of all devices are one look away.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use openclaw_protocol::id::{DeviceId, RunId, TenantId};
use openclaw_protocol::run::{Run, StepView};

use super::ingest::Source;
use super::{Column, Result, Row, Tx, args, insert_many};
use crate::random;

/// What a step waits for that waits for people.
const REASON: &str = "approval";
/// Bytes of JSON that one may ask with, form and all. One that asks with more is answered on its
/// device.
const ASKED_BYTES: usize = 32 * 1024;

/// What people are asked, as the device tells it. All but the form has to be there: who may
/// answer is not guessed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// The question.
    pub(crate) prompt: String,
    /// Who may answer; empty: whoever may cancel a run.
    pub(crate) roles: Vec<String>,
    /// What they may answer.
    pub(crate) choices: Vec<String>,
    /// What they may fill in: a JSON Schema by name.
    #[serde(default)]
    pub(crate) form: BTreeMap<String, Value>,
}

/// An approval that is open.
#[derive(Debug, Clone)]
pub(crate) struct ApprovalRow {
    pub(crate) id: String,
    pub(crate) device: String,
    pub(crate) run: String,
    pub(crate) step: String,
    pub(crate) workflow: String,
    pub(crate) asked_ms: i64,
    pub(crate) asked: Asked,
}

impl ApprovalRow {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.text("id")?,
            device: row.text("device")?,
            run: row.text("run")?,
            step: row.text("step")?,
            workflow: row.text("workflow")?,
            asked_ms: row.int("asked_ms")?,
            asked: row.json("asked")?,
        })
    }
}

/// Open approvals after `(asked_ms, id)`, those that have waited longest first.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    device: Option<&str>,
    (asked_ms, id): (i64, &str),
    limit: u32,
) -> Result<Vec<ApprovalRow>> {
    const SELECT: &str = "SELECT id, device, run, step, workflow, asked_ms, asked FROM approvals
        WHERE tenant = $1 AND ($2 IS NULL OR device = $2) AND asked_ms >= $3
        AND (asked_ms > $3 OR id > $4) ORDER BY asked_ms, id LIMIT $5";
    let values = args![tenant, device, asked_ms, id, limit];
    tx.rows(SELECT, values).await?.iter().map(ApprovalRow::read).collect()
}

/// The open approval of one step instance.
pub(crate) async fn find(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    run: &RunId,
    step: &str,
) -> Result<Option<ApprovalRow>> {
    const SELECT: &str = "SELECT id, device, run, step, workflow, asked_ms, asked FROM approvals
        WHERE tenant = $1 AND id = $2";
    let id = id_of(device, run, step);
    tx.row(SELECT, args![tenant, id]).await?.as_ref().map(ApprovalRow::read).transpose()
}

/// Whether a step of the run waits for people.
pub(super) fn is_asking(run: &Run) -> bool {
    run.steps.iter().any(is_open)
}

/// Puts the open approvals of a run, as its fold has them, in the place of those before.
pub(super) async fn replace(tx: &mut Tx, source: &Source<'_>, run: &Run) -> Result<()> {
    const DELETE: &str = "DELETE FROM approvals WHERE tenant = $1 AND device = $2 AND run = $3";
    tx.run(DELETE, args![source.tenant, source.device, &run.id]).await?;
    let open: Vec<(&StepView, String)> =
        run.steps.iter().filter_map(|step| Some((step, asked(step)?))).collect();
    let asked_ms =
        |step: &StepView| step.started_wall_ms.or(run.accepted_wall_ms).unwrap_or(source.now_ms);
    let text = |of: &dyn Fn(&StepView) -> String| {
        open.iter().map(|(step, _)| Some(of(step))).collect::<Vec<_>>()
    };
    let columns = vec![
        Column::same("tenant", source.tenant.as_str(), open.len()),
        Column::Text("id", text(&|step| id_of(source.device, &run.id, &step.path.0))),
        Column::same("device", source.device.as_str(), open.len()),
        Column::same("run", run.id.as_str(), open.len()),
        Column::Text("step", text(&|step| step.path.0.clone())),
        Column::same("workflow", &run.workflow, open.len()),
        Column::Int("asked_ms", open.iter().map(|(step, _)| Some(asked_ms(step))).collect()),
        Column::Text("asked", open.iter().map(|(_, asked)| Some(asked.clone())).collect()),
    ];
    insert_many(tx, "approvals", columns, "ON CONFLICT DO NOTHING RETURNING id").await?;
    Ok(())
}

/// Removes those of a device's runs that are over, whichever way that became known.
pub(super) async fn close(tx: &mut Tx, tenant: &TenantId, device: &DeviceId) -> Result<()> {
    const DELETE: &str = "DELETE FROM approvals WHERE tenant = $1 AND device = $2 AND EXISTS
        (SELECT 1 FROM runs r WHERE r.tenant = approvals.tenant AND r.device = approvals.device
         AND r.id = approvals.run AND r.status IN ('completed', 'failed', 'cancelled'))";
    tx.run(DELETE, args![tenant, device]).await.map(drop)
}

fn is_open(step: &StepView) -> bool {
    step.waiting.as_ref().is_some_and(|waiting| waiting.reason == REASON)
}

/// What an open one asks, as it is kept; `None` for another step, and where that cannot be read.
fn asked(step: &StepView) -> Option<String> {
    let waiting = step.waiting.as_ref().filter(|waiting| waiting.reason == REASON)?;
    let asked = Asked::deserialize(waiting.details.as_ref()?).ok()?;
    Some(serde_json::json!(asked).to_string()).filter(|text| text.len() <= ASKED_BYTES)
}

/// Paths of steps can be longer than what a database takes as a key.
fn id_of(device: &DeviceId, run: &RunId, step: &str) -> String {
    random::hash(&format!("{device}/{run}/{step}"))
}
