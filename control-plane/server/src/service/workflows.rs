//! Workflows: checked, stored as versions that never change, shown.

use serde_json::json;

use openclaw_protocol::api::{Page, ProblemItem, Validation, WorkflowVersion};
use openclaw_protocol::definition::{self, DraftError, Workflow};

use super::page::{PageQuery, page};
use super::{Fault, Outcome, audit, resolve};
use crate::clock::rfc3339;
use crate::context::{Context, LiveChange};
use crate::identity::Principal;
use crate::store;
use crate::store::workflows::{Summary, WorkflowRow};

/// Lists the newest version of each workflow by name.
pub(crate) async fn list(
    ctx: &Context,
    who: &Principal,
    query: &PageQuery,
) -> Outcome<Page<WorkflowVersion>> {
    let limit = query.limit()?;
    let [after] = query.after()?.unwrap_or_default();
    let mut tx = ctx.db.read().await?;
    let rows = store::workflows::list(&mut tx, &who.tenant, &after, limit + 1).await?;
    Ok(page(rows, limit, |row| vec![row.name.clone()], |row| view(row, false)))
}

/// Lists the versions of one workflow, newest first.
pub(crate) async fn versions(
    ctx: &Context,
    who: &Principal,
    name: &str,
    query: &PageQuery,
) -> Outcome<Page<WorkflowVersion>> {
    let limit = query.limit()?;
    let below = match query.after::<1>()? {
        Some([below]) => below.parse().map_err(|_| Fault::BadRequest("cursor".to_owned()))?,
        None => u32::MAX,
    };
    let mut tx = ctx.db.read().await?;
    let rows = store::workflows::versions(&mut tx, &who.tenant, name, below, limit + 1).await?;
    if rows.is_empty() && below == u32::MAX {
        return Err(Fault::not_found("workflow", name));
    }
    Ok(page(rows, limit, |row| vec![row.revision.to_string()], |row| view(row, false)))
}

/// One version, with its document.
pub(crate) async fn find(
    ctx: &Context,
    who: &Principal,
    name: &str,
    revision: u32,
) -> Outcome<WorkflowVersion> {
    let mut tx = ctx.db.read().await?;
    let found = store::workflows::find(&mut tx, &who.tenant, name, revision).await?;
    let row = found.ok_or_else(|| Fault::not_found("workflow", format!("{name}/{revision}")))?;
    Ok(view(row, true))
}

/// Says what is wrong with a document, if anything.
pub(crate) fn validate(document: &str) -> Validation {
    match definition::parse(document) {
        Ok(_) => Validation { valid: true, errors: Vec::new() },
        Err(error) => Validation { valid: false, errors: items(&error) },
    }
}

/// Stores a document as the next version of its workflow. The same content again is answered with
/// the version that has it; `true` means that it is new.
pub(crate) async fn apply(
    ctx: &Context,
    who: &Principal,
    document: String,
) -> Outcome<(WorkflowVersion, bool)> {
    let workflow = definition::parse(&document).map_err(|error| Fault::Invalid {
        code: "workflow.invalid",
        detail: error.to_string(),
        errors: items(&error),
    })?;
    let now_ms = ctx.clock.now_ms();
    let name = workflow.name.to_string();
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    let hash = &workflow.hash.0;
    if let Some(row) = store::workflows::find_by_hash(&mut tx, &who.tenant, &name, hash).await? {
        return Ok((view(row, true), false));
    }
    let row = WorkflowRow {
        revision: store::workflows::next_revision(&mut tx, &who.tenant, &name).await?,
        summary: summary(&workflow),
        version: workflow.version,
        hash: workflow.hash.0,
        description: workflow.description,
        source: document,
        canonical: workflow.canonical,
        created_by: who.actor.clone(),
        created_ms: now_ms,
        name,
    };
    store::workflows::insert(&mut tx, &who.tenant, &row).await?;
    let detail = json!({ "revision": row.revision, "version": row.version, "hash": row.hash });
    audit::note(&mut tx, who, "workflow.apply", &row.name, detail, now_ms).await?;
    tx.commit().await?;
    ctx.live.publish(&who.tenant, [LiveChange::Workflow { workflow: row.name.clone() }]);
    Ok((view(row, true), true))
}

fn summary(workflow: &Workflow) -> Summary {
    Summary {
        steps: u32::try_from(workflow.steps.len()).unwrap_or(u32::MAX),
        plugins: resolve::calls(workflow).into_keys().collect(),
        triggers: workflow.triggers.iter().map(|t| t.kind.key().to_owned()).collect(),
    }
}

fn items(error: &DraftError) -> Vec<ProblemItem> {
    error.problems.iter().map(ProblemItem::from).collect()
}

fn view(row: WorkflowRow, with_source: bool) -> WorkflowVersion {
    WorkflowVersion {
        name: row.name,
        revision: row.revision,
        version: row.version,
        hash: row.hash,
        description: row.description,
        created_at: rfc3339(row.created_ms),
        created_by: row.created_by,
        source: with_source.then_some(row.source),
        steps: row.summary.steps,
        plugins: row.summary.plugins,
        triggers: row.summary.triggers,
    }
}
