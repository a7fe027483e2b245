//! Approvals: the open ones of all devices, and the answers of people.

use serde::Deserialize;
use serde_json::{Value, json};

use openclaw_protocol::api::{Approval, Decide, Page, ProblemItem, Requests, Role};
use openclaw_protocol::command::Command;
use openclaw_protocol::definition::{InputKind, InputSpec, check_against};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::run::StepPath;

use super::idempotency::{self, Key};
use super::page::{PageQuery, page};
use super::requests::{Wish, wish};
use super::{Fault, Outcome, executions};
use crate::clock::rfc3339;
use crate::context::Context;
use crate::identity::{Principal, parse_role};
use crate::store;
use crate::store::approvals::{ApprovalRow, Asked};

/// Which open approvals are wanted.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ApprovalQuery {
    /// Only of this device.
    pub(crate) device: Option<String>,
    /// Entries at most: 1 to 200, 50 where absent.
    #[param(minimum = 1, maximum = 200)]
    pub(crate) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
}

/// Lists open approvals, those that have waited longest first.
pub(crate) async fn list(
    ctx: &Context,
    who: &Principal,
    query: ApprovalQuery,
) -> Outcome<Page<Approval>> {
    let ApprovalQuery { device, limit, cursor } = query;
    let pages = PageQuery { limit, cursor };
    let limit = pages.limit()?;
    let (asked_ms, id) = match pages.after::<2>()? {
        Some([at, id]) => {
            let wrong = |_| Fault::BadRequest("`cursor` is not one of ours".to_owned());
            (at.parse().map_err(wrong)?, id)
        }
        None => (i64::MIN, String::new()),
    };
    let mut tx = ctx.db.read().await?;
    let after = (asked_ms, id.as_str());
    let rows =
        store::approvals::list(&mut tx, &who.tenant, device.as_deref(), after, limit + 1).await?;
    let key = |row: &ApprovalRow| vec![row.asked_ms.to_string(), row.id.clone()];
    Ok(page(rows, limit, key, view))
}

/// Wishes an answer to an open approval, in the name of whoever asks.
pub(crate) async fn decide(
    ctx: &Context,
    who: &Principal,
    device: &str,
    run: &str,
    answer: Decide,
    key: Option<Key>,
) -> Outcome<Requests> {
    let Decide { step, choice, form } = answer;
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    if let Some(answer) = idempotency::replay(&mut tx, who, key.as_ref()).await? {
        return Ok(answer);
    }
    let (device, run) = executions::require_open(&mut tx, &who.tenant, device, run).await?;
    let found = store::approvals::find(&mut tx, &who.tenant, &device, &run, &step).await?;
    let Some(ApprovalRow { asked, .. }) = found else {
        let step: String = step.chars().take(80).collect();
        let detail = format!(
            "step `{step}` of run `{run}` waits for no answer, or no more, as far as its device \
             has told; GET /api/v1/approvals lists those that do"
        );
        return Err(Fault::conflict("approval.not_open", detail));
    };
    check_may(who, &asked.roles)?;
    if !asked.choices.contains(&choice) {
        let choice: String = choice.chars().take(80).collect();
        let choices = asked.choices.join(", ");
        let detail = format!("`{choice}` is not one of the choices: {choices}");
        return Err(Fault::invalid("approval.choice", detail));
    }
    let form = JsonText::of(&Value::Object(form));
    check_form(&asked, &form)?;
    let subject = format!("{device}/{run}");
    let detail = json!({ "step": step, "choice": choice });
    let (step, by) = (StepPath(step), who.actor.clone());
    let commands = vec![(device, Command::Decide { run, step, choice, by, form })];
    wish(ctx, tx, who, Wish { action: "run.decide", subject: &subject, detail, commands }, key)
        .await
}

/// An approval that names no role is for whoever may cancel a run. A name that is no role of ours
/// lets nobody in; an admin may always.
fn check_may(who: &Principal, roles: &[String]) -> Outcome<()> {
    let least = match roles {
        [] => Role::Operator,
        named => named.iter().filter_map(|name| parse_role(name).ok()).min().unwrap_or(Role::Admin),
    };
    if who.role >= least {
        return Ok(());
    }
    let who_may = if roles.is_empty() { "operator".to_owned() } else { roles.join(", ") };
    Err(Fault::Forbidden(format!("this approval is for others to answer: {who_may}")))
}

/// Refuses a form that the device would refuse: the check is the device's own.
fn check_form(asked: &Asked, form: &JsonText) -> Outcome<()> {
    let declared: VecMap<String, InputSpec> = asked
        .form
        .iter()
        .map(|(name, schema)| {
            let spec = InputSpec {
                kind: InputKind::Any,
                optional: schema.get("optional") == Some(&Value::Bool(true)),
                default: schema.get("default").cloned(),
                schema: schema.clone(),
            };
            (name.clone(), spec)
        })
        .collect();
    let Err(problems) = check_against(&declared, form) else { return Ok(()) };
    let code = "approval.form";
    let errors: Vec<ProblemItem> = problems
        .iter()
        .map(|problem| ProblemItem {
            code: code.to_owned(),
            message: match problem.input.as_str() {
                "" => format!("the form {}", problem.message),
                field => format!("field `{field}` {}", problem.message),
            },
            line: 0,
            column: 0,
            suggestion: None,
            pointer: Some(format!("/form{}", problem.pointer)),
        })
        .collect();
    let first = errors.first().map_or("", |error| error.message.as_str());
    Err(Fault::Invalid { code, detail: format!("the form is not as asked: {first}"), errors })
}

fn view(row: ApprovalRow) -> Approval {
    let ApprovalRow { device, run, step, workflow, asked_ms, asked, .. } = row;
    let Asked { prompt, roles, choices, form } = asked;
    let asked_at = rfc3339(asked_ms);
    Approval { device, run, step, workflow, prompt, roles, choices, form, asked_at }
}
