//! The events of one execution, as its device told them: all, or those with certain names.

use serde::Deserialize;
use serde_json::{Value, json};

use openclaw_protocol::api::{ExecutionEvent, Page};
use openclaw_protocol::run::{RunEvent, RunEventRecord};

use super::executions::require;
use super::page::{PageQuery, cursor};
use super::{Fault, Outcome};
use crate::clock::rfc3339;
use crate::context::Context;
use crate::identity::Principal;
use crate::store;

/// Events read at once.
const AT_ONCE: u32 = 1_000;
/// Bytes of events looked at for one page at most, about.
const PAGE_BYTES: u64 = 4 * 1024 * 1024;
/// Every name an event can have.
const NAMES: [&str; 14] = [
    "accepted",
    "began",
    "step_queued",
    "step_started",
    "step_delayed",
    "step_waiting",
    "step_settled",
    "cancel_requested",
    "resumed",
    "logged",
    "compensated",
    "migrated",
    "stayed",
    "settled",
];

/// Which events of an execution are wanted.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// Only those with one of these names, separated by commas, such as `logged,compensated`.
    pub(crate) name: Option<String>,
    /// Only those after this number.
    pub(crate) after: Option<u32>,
    /// Entries at most: 1 to 200, 50 where absent.
    #[param(minimum = 1, maximum = 200)]
    pub(crate) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
}

/// Events of one execution, in order. Where names are asked for, a page may hold fewer than its
/// limit, or none, and others follow still.
pub(crate) async fn list(
    ctx: &Context,
    who: &Principal,
    device: &str,
    run: &str,
    query: EventQuery,
) -> Outcome<Page<ExecutionEvent>> {
    let EventQuery { name, after, limit, cursor: at } = query;
    let pages = PageQuery { limit, cursor: at };
    let limit = usize::try_from(pages.limit()?).unwrap_or(usize::MAX);
    let mut after = after.unwrap_or(0);
    if let Some([last]) = pages.after::<1>()? {
        let wrong = |_| Fault::BadRequest("`cursor` is not one of ours".to_owned());
        after = after.max(last.parse().map_err(wrong)?);
    }
    let wanted = name.as_deref().map(names).transpose()?;
    let is_wanted = |event: &RunEventRecord| {
        wanted.as_ref().is_none_or(|wanted| wanted.contains(&name_of(&event.event)))
    };
    let mut tx = ctx.db.read().await?;
    let (device, run, _) = require(&mut tx, &who.tenant, device, run).await?;
    let (mut items, mut left) = (Vec::new(), PAGE_BYTES);
    let more = loop {
        let at_once = match &wanted {
            Some(_) => AT_ONCE,
            None => u32::try_from(limit - items.len()).unwrap_or(AT_ONCE),
        };
        let most = (at_once, left);
        let found =
            store::executions::events(&mut tx, &who.tenant, &device, &run, after, most).await?;
        left = left.saturating_sub(found.bytes);
        let mut rest = found.events.into_iter().peekable();
        while items.len() < limit
            && let Some(event) = rest.next()
        {
            after = event.seq;
            if is_wanted(&event) {
                items.push(view(event));
            }
        }
        let more = found.more || rest.peek().is_some();
        if !more || left == 0 || items.len() >= limit {
            break more;
        }
    };
    Ok(Page { items, next_cursor: more.then(|| cursor(&[after.to_string()])) })
}

fn names(text: &str) -> Outcome<Vec<&str>> {
    let names: Vec<&str> = text.split(',').collect();
    match names.iter().find(|name| !NAMES.contains(name)) {
        None => Ok(names),
        Some(unknown) => {
            let unknown: String = unknown.chars().take(40).collect();
            let detail = format!("no event is called `{unknown}`; there are {}", NAMES.join(", "));
            Err(Fault::BadRequest(detail))
        }
    }
}

fn view(record: RunEventRecord) -> ExecutionEvent {
    let at = rfc3339(record.at.wall_ms);
    let name = name_of(&record.event).to_owned();
    ExecutionEvent { seq: record.seq, at, name, data: data_of(record.event) }
}

fn name_of(event: &RunEvent) -> &'static str {
    match event {
        RunEvent::Accepted { .. } => "accepted",
        RunEvent::Began => "began",
        RunEvent::StepQueued { .. } => "step_queued",
        RunEvent::StepStarted { .. } => "step_started",
        RunEvent::StepDelayed { .. } => "step_delayed",
        RunEvent::StepSettled { .. } => "step_settled",
        RunEvent::CancelRequested { .. } => "cancel_requested",
        RunEvent::Resumed { .. } => "resumed",
        RunEvent::Settled { .. } => "settled",
        RunEvent::StepWaiting { .. } => "step_waiting",
        RunEvent::Logged { .. } => "logged",
        RunEvent::Compensated { .. } => "compensated",
        RunEvent::Migrated { .. } => "migrated",
        RunEvent::Stayed { .. } => "stayed",
    }
}

fn data_of(event: RunEvent) -> Value {
    match event {
        RunEvent::Accepted {
            workflow,
            version,
            definition,
            trigger,
            inputs,
            priority,
            request,
        } => json!({ "workflow": workflow, "version": version, "definition": definition,
            "trigger": trigger, "inputs": inputs.value(), "priority": priority,
            "request": request }),
        RunEvent::Began => json!({}),
        RunEvent::StepQueued { step, attempt } => json!({ "step": step, "attempt": attempt }),
        RunEvent::StepStarted { step, kind, attempt, interrupted } => {
            json!({ "step": step, "kind": kind, "attempt": attempt, "interrupted": interrupted })
        }
        RunEvent::StepDelayed { step, attempt, wait_ms, error } => {
            json!({ "step": step, "attempt": attempt, "wait_ms": wait_ms, "error": error })
        }
        RunEvent::StepSettled { step, status, attempts, output, error } => {
            json!({ "step": step, "status": status, "attempts": attempts,
                "output": output.map(|output| output.value()), "error": error })
        }
        RunEvent::CancelRequested { force } => json!({ "force": force }),
        RunEvent::Resumed { unclean } => json!({ "unclean": unclean }),
        RunEvent::Settled { status, outputs, error } => {
            json!({ "status": status, "outputs": outputs.value(), "error": error })
        }
        RunEvent::StepWaiting { step, reason, details } => {
            json!({ "step": step, "reason": reason,
                "details": details.map(|details| details.value()) })
        }
        RunEvent::Logged { step, level, message, fields } => {
            json!({ "step": step, "level": level, "message": message, "fields": fields.value() })
        }
        RunEvent::Compensated { step, complete } => json!({ "step": step, "complete": complete }),
        RunEvent::Migrated { version, definition } => {
            json!({ "version": version, "definition": definition })
        }
        RunEvent::Stayed { version, definition, reason } => {
            json!({ "version": version, "definition": definition, "reason": reason })
        }
    }
}
