//! Wishes to devices: run this, cancel that, tell it, again. Written down first; the device answers when
//! it can.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use openclaw_points::{Point, reach};
use openclaw_protocol::api::{ProblemItem, RequestView, Requests, SendSignal, StartRuns, Target};
use openclaw_protocol::command::{Command, CommandRecord};
use openclaw_protocol::definition;
use openclaw_protocol::id::{DeviceId, RequestId, RunId, TenantId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::limits;
use openclaw_protocol::wire::{self, Kind};

use super::idempotency::{self, Key};
use super::resolve::covers;
use super::{Fault, Outcome, audit, desired, devices, executions};
use crate::context::{Context, NudgeKind};
use crate::identity::Principal;
use crate::random;
use crate::store::requests::{NewRequest, RequestRow};
use crate::store::{self, Tx};

/// Devices that one wish may go to.
const DEVICES: usize = 1_000;

/// One wish and what became of it.
pub(crate) async fn find(ctx: &Context, who: &Principal, id: &str) -> Outcome<RequestView> {
    let mut tx = ctx.db.read().await?;
    let found = store::requests::find(&mut tx, &who.tenant, id).await?;
    found.map(view).ok_or_else(|| Fault::not_found("request", id))
}

/// Wishes a run of a workflow on all devices of the target that have it.
pub(crate) async fn start(
    ctx: &Context,
    who: &Principal,
    workflow: &str,
    request: StartRuns,
    key: Option<Key>,
) -> Outcome<Requests> {
    let StartRuns { target, inputs, priority } = request;
    let inputs = JsonText::of(&Value::Object(inputs));
    let name = WorkflowName::parse(workflow)?;
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    if let Some(answer) = idempotency::replay(&mut tx, who, key.as_ref()).await? {
        return Ok(answer);
    }
    if store::workflows::newest(&mut tx, &who.tenant, workflow).await?.is_none() {
        return Err(Fault::not_found("workflow", workflow));
    }
    let chosen = deployed_on(&mut tx, &who.tenant, workflow, &target).await?;
    check_inputs(&mut tx, &who.tenant, &name, &chosen, &inputs).await?;
    let command = Command::Start { workflow: name, inputs, priority };
    let wishes: Vec<_> =
        chosen.devices.into_iter().map(|device| (device, command.clone())).collect();
    let wishes = Wish::new("run.start", workflow, wishes);
    wish(ctx, tx, who, wishes, key).await
}

/// Wishes the end of a run.
pub(crate) async fn cancel(
    ctx: &Context,
    who: &Principal,
    device: &str,
    run: &str,
    force: bool,
) -> Outcome<Requests> {
    let mut tx = ctx.db.write().await?;
    let (device, run) = executions::require_open(&mut tx, &who.tenant, device, run).await?;
    let subject = format!("{device}/{run}");
    let commands = vec![(device, Command::Cancel { run, force })];
    wish(ctx, tx, who, Wish::new("run.cancel", &subject, commands), None).await
}

/// Wishes that a run hears a signal.
pub(crate) async fn signal(
    ctx: &Context,
    who: &Principal,
    device: &str,
    run: &str,
    signal: SendSignal,
    key: Option<Key>,
) -> Outcome<Requests> {
    let SendSignal { name, data } = signal;
    if name.is_empty() || name.len() > limits::EVENT_NAME_BYTES {
        let detail = format!("a signal's name has 1 to {} bytes", limits::EVENT_NAME_BYTES);
        return Err(Fault::invalid("signal.name", detail));
    }
    let data = JsonText::of(&data);
    if data.len() > limits::VALUE_BYTES {
        let (bytes, most) = (data.len(), limits::VALUE_BYTES);
        let detail = format!("the data has {bytes} bytes of JSON; the most is {most}");
        return Err(Fault::invalid("signal.data", detail));
    }
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    if let Some(answer) = idempotency::replay(&mut tx, who, key.as_ref()).await? {
        return Ok(answer);
    }
    let (device, run) = executions::require_open(&mut tx, &who.tenant, device, run).await?;
    let subject = format!("{device}/{run}");
    let detail = json!({ "signal": name });
    let commands = vec![(device, Command::Signal { run, name, data })];
    wish(ctx, tx, who, Wish { action: "run.signal", subject: &subject, detail, commands }, key)
        .await
}

/// Refuses a wish about a workflow on a device that does not have it.
pub(super) async fn check_deployed(
    tx: &mut Tx,
    tenant: &TenantId,
    workflow: &WorkflowName,
    device: &str,
) -> Outcome<()> {
    let target = Target { devices: vec![device.to_owned()], ..no_target() };
    deployed_on(tx, tenant, workflow.as_str(), &target).await.map(drop)
}

/// Refuses a start that its device would refuse.
pub(super) async fn check_start(
    tx: &mut Tx,
    tenant: &TenantId,
    workflow: &WorkflowName,
    device: &DeviceId,
    inputs: &JsonText,
) -> Outcome<()> {
    let target = Target { devices: vec![device.to_string()], ..no_target() };
    let chosen = deployed_on(tx, tenant, workflow.as_str(), &target).await?;
    check_inputs(tx, tenant, workflow, &chosen, inputs).await
}

fn no_target() -> Target {
    Target { devices: Vec::new(), labels: std::collections::BTreeMap::new() }
}

/// Where a wish goes.
struct Chosen {
    devices: Vec<DeviceId>,
    /// Revisions of the workflow that these devices shall run.
    revisions: BTreeSet<u32>,
}

/// Devices of the target that have the workflow; each named one must.
async fn deployed_on(
    tx: &mut Tx,
    tenant: &TenantId,
    workflow: &str,
    target: &Target,
) -> Outcome<Chosen> {
    let holders = store::deployments::devices_of_workflow(tx, tenant, workflow).await?;
    let holders: BTreeSet<DeviceId> = holders.into_iter().collect();
    for id in &target.devices {
        let device = devices::require(tx, tenant, id).await?;
        if !holders.contains(&device.id) {
            let detail = format!("workflow `{workflow}` is not deployed on device `{id}`");
            return Err(Fault::conflict("run.not_deployed", detail));
        }
    }
    let active = store::devices::active(tx, tenant).await?;
    let deployments = store::deployments::all(tx, tenant).await?;
    let mut chosen = Chosen { devices: Vec::new(), revisions: BTreeSet::new() };
    for device in active {
        if covers(target, &device) && holders.contains(&device.id) {
            let in_force = desired::in_force(&deployments, &device);
            chosen.revisions.extend(in_force.get(workflow).map(|one| one.revision));
            chosen.devices.push(device.id);
        }
    }
    if chosen.devices.is_empty() {
        let detail = format!("workflow `{workflow}` is deployed on no device of this target");
        return Err(Fault::conflict("run.not_deployed", detail));
    }
    if chosen.devices.len() > DEVICES {
        let detail = format!("one wish goes to at most {DEVICES} devices; narrow the target");
        return Err(Fault::invalid("run.too_many", detail));
    }
    Ok(chosen)
}

/// Refuses inputs that a device would refuse: the check is the device's own, against what each of
/// them shall run.
async fn check_inputs(
    tx: &mut Tx,
    tenant: &TenantId,
    workflow: &WorkflowName,
    chosen: &Chosen,
    inputs: &JsonText,
) -> Outcome<()> {
    for &revision in &chosen.revisions {
        let row = store::workflows::find(tx, tenant, workflow.as_str(), revision).await?;
        let row = row.ok_or_else(|| Fault::not_found("workflow", workflow.as_str()))?;
        let definition = definition::parse(&row.canonical)
            .map_err(|error| Fault::Internal(format!("stored workflow `{workflow}`: {error}")))?;
        let Err(problems) = definition.check_inputs(inputs) else { continue };
        let errors: Vec<ProblemItem> = problems.iter().map(ProblemItem::from).collect();
        let first = errors.first().map_or("", |error| error.message.as_str());
        let detail = format!("version {revision} of workflow `{workflow}` cannot run: {first}");
        return Err(Fault::Invalid { code: "inputs.invalid", detail, errors });
    }
    Ok(())
}

/// What somebody wants of devices.
pub(super) struct Wish<'a> {
    /// For the audit trail: what is done.
    pub(super) action: &'a str,
    /// For the audit trail: to what.
    pub(super) subject: &'a str,
    /// For the audit trail: what else there is to say, a JSON object.
    pub(super) detail: Value,
    /// A command for each device.
    pub(super) commands: Vec<(DeviceId, Command)>,
}

impl<'a> Wish<'a> {
    pub(super) fn new(
        action: &'a str,
        subject: &'a str,
        commands: Vec<(DeviceId, Command)>,
    ) -> Self {
        Self { action, subject, detail: json!({}), commands }
    }
}

/// Writes wishes down, commits, and nudges the devices.
pub(super) async fn wish(
    ctx: &Context,
    mut tx: Tx,
    who: &Principal,
    wish: Wish<'_>,
    key: Option<Key>,
) -> Outcome<Requests> {
    let answer = write(ctx, &mut tx, who, wish).await?;
    idempotency::keep(&mut tx, who, key.as_ref(), 202, &answer, ctx.clock.now_ms()).await?;
    reach(Point::WishCommit);
    tx.commit().await?;
    reach(Point::WishCommitted);
    nudge(ctx, who, &answer);
    Ok(answer)
}

/// Writes wishes down. The caller commits, and nudges the devices then.
pub(super) async fn write(
    ctx: &Context,
    tx: &mut Tx,
    who: &Principal,
    wish: Wish<'_>,
) -> Outcome<Requests> {
    let now_ms = ctx.clock.now_ms();
    let Wish { action, subject, mut detail, commands } = wish;
    let mut requests = Vec::with_capacity(commands.len());
    for (device, command) in commands {
        let id = RequestId::parse(&random::ordered_id(now_ms))?;
        let run = known_run(&command).map(ToString::to_string);
        let record = CommandRecord { request: id.clone(), command };
        let new = NewRequest {
            id: &id,
            device: &device,
            body: wire::pack(Kind::Command, &record),
            created_by: &who.actor,
            run: run.as_deref(),
        };
        if !store::requests::append(tx, &who.tenant, new, now_ms).await? {
            let detail = format!("device `{device}` is revoked");
            return Err(Fault::conflict("device.revoked", detail));
        }
        let row = RequestRow {
            id: id.to_string(),
            device: device.to_string(),
            run,
            refusal: None,
            answered: false,
        };
        requests.push(view(row));
    }
    let ids: Vec<&str> = requests.iter().map(|request| request.id.as_str()).collect();
    detail["requests"] = json!(ids);
    audit::note(tx, who, action, subject, detail, now_ms).await?;
    Ok(Requests { requests })
}

/// Tells the devices that there are wishes for them.
pub(super) fn nudge(ctx: &Context, who: &Principal, written: &Requests) {
    for request in &written.requests {
        if let Ok(device) = DeviceId::parse(&request.device) {
            ctx.nudges.send(&who.tenant, &device, NudgeKind::Commands);
        }
    }
}

fn known_run(command: &Command) -> Option<&RunId> {
    match command {
        Command::Cancel { run, .. } | Command::Signal { run, .. } | Command::Decide { run, .. } => {
            Some(run)
        }
        Command::Export { run } => Some(run),
        // They lead to runs of their own.
        Command::Start { .. } | Command::Retry { .. } | Command::Record { .. } => None,
    }
}

fn view(row: RequestRow) -> RequestView {
    let RequestRow { id, device, run, refusal, answered } = row;
    RequestView { id, device, run, refusal, answered }
}
