//! API keys: made, listed, revoked.

use serde_json::json;

use openclaw_protocol::api::{ApiKey, CreateApiKey, CreatedApiKey, Page};

use super::page::{PageQuery, page};
use super::{Fault, Outcome, audit};
use crate::clock::rfc3339;
use crate::context::Context;
use crate::identity::{API_KEY_PREFIX, Principal, parse_role, role_name};
use crate::random;
use crate::store::{self, api_keys::ApiKeyRow};

/// Life of a key where none is asked for, in days.
const DEFAULT_DAYS: u32 = 365;
/// Life of a key at most, in days.
const MOST_DAYS: u32 = 3_650;
const DAY_MS: i64 = 24 * 3_600_000;

/// Lists keys by id.
pub(crate) async fn list(
    ctx: &Context,
    who: &Principal,
    query: &PageQuery,
) -> Outcome<Page<ApiKey>> {
    let limit = query.limit()?;
    let [after] = query.after()?.unwrap_or_default();
    let mut tx = ctx.db.read().await?;
    let rows = store::api_keys::list(&mut tx, who.tenant.as_str(), &after, limit + 1).await?;
    let page = page(rows, limit, |row| vec![row.id.clone()], view);
    let items = page.items.into_iter().collect::<Outcome<_>>()?;
    Ok(Page { items, next_cursor: page.next_cursor })
}

/// Makes a key that may do no more than its maker, who is a person: a key that keys could make
/// would go on after the person behind the first one is locked out.
pub(crate) async fn create(
    ctx: &Context,
    who: &Principal,
    request: CreateApiKey,
) -> Outcome<CreatedApiKey> {
    let CreateApiKey { name, role, days } = request;
    if name.is_empty() || name.chars().count() > 100 || name.contains(char::is_control) {
        return Err(Fault::invalid("api_key.name", "a key's name has 1 to 100 characters"));
    }
    if who.username.is_none() {
        let detail = "only a person can make keys; log in, and make the key then".to_owned();
        return Err(Fault::Forbidden(detail));
    }
    if role > who.role {
        let detail = format!("a key may do no more than its maker, who is {}", role_name(who.role));
        return Err(Fault::Forbidden(detail));
    }
    let days = days.unwrap_or(DEFAULT_DAYS);
    if !(1..=MOST_DAYS).contains(&days) {
        return Err(Fault::invalid("api_key.days", format!("`days` is 1 to {MOST_DAYS}")));
    }
    let now_ms = ctx.clock.now_ms();
    let id = data_encoding::HEXLOWER.encode(&random::bytes::<6>());
    let secret = format!("{API_KEY_PREFIX}{id}_{}", random::secret());
    let row = ApiKeyRow {
        tenant: who.tenant.to_string(),
        id,
        name,
        secret_hash: random::hash(&secret),
        role: role_name(role).to_owned(),
        created_by: who.actor.clone(),
        created_ms: now_ms,
        expires_ms: now_ms + i64::from(days) * DAY_MS,
        revoked: false,
    };
    let mut tx = ctx.db.write().await?;
    store::api_keys::insert(&mut tx, &row).await?;
    let detail = json!({ "name": row.name, "role": row.role, "days": days });
    audit::note(&mut tx, who, "api_key.create", &row.id, detail, now_ms).await?;
    tx.commit().await?;
    Ok(CreatedApiKey { key: view(row)?, secret })
}

/// Revokes a key.
pub(crate) async fn revoke(ctx: &Context, who: &Principal, id: &str) -> Outcome<()> {
    let now_ms = ctx.clock.now_ms();
    let mut tx = ctx.db.write().await?;
    if !store::api_keys::revoke(&mut tx, who.tenant.as_str(), id).await? {
        return Err(Fault::not_found("API key", id));
    }
    audit::note(&mut tx, who, "api_key.revoke", id, json!({}), now_ms).await?;
    Ok(tx.commit().await?)
}

fn view(row: ApiKeyRow) -> Outcome<ApiKey> {
    Ok(ApiKey {
        role: parse_role(&row.role)?,
        id: row.id,
        name: row.name,
        created_at: rfc3339(row.created_ms),
        expires_at: rfc3339(row.expires_ms),
        revoked: row.revoked,
    })
}
