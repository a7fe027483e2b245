//! Log in, log out, and who is asking.

use std::net::IpAddr;

use serde_json::json;

use openclaw_protocol::api::{LoginRequest, LoginResponse, User};
use openclaw_protocol::id::TenantId;

use super::{Fault, Outcome, users};
use crate::clock::rfc3339;
use crate::config::DEFAULT_TENANT;
use crate::context::Context;
use crate::identity::{API_KEY_PREFIX, Credential, Principal, SESSION_PREFIX, parse_role};
use crate::random;
use crate::store::{self, audit};

/// Life of a session.
const SESSION_MS: i64 = 12 * 3_600_000;
/// Sessions a user may have at once; the oldest end first.
const SESSIONS: u32 = 20;

/// Begins a session.
pub(crate) async fn login(
    ctx: &Context,
    request: LoginRequest,
    from: IpAddr,
) -> Outcome<LoginResponse> {
    let now_ms = ctx.clock.now_ms();
    let LoginRequest { username, password } = request;
    if username.len() > 64 || password.len() > 1_024 {
        return Err(Fault::WrongPassword);
    }
    ctx.logins
        .begin(&username, from, now_ms)
        .map_err(|retry_after_s| Fault::TooMany { retry_after_s })?;
    let mut tx = ctx.db.read().await?;
    let user = store::users::find(&mut tx, DEFAULT_TENANT, &username).await?;
    drop(tx);
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let is_right = ctx.passwords.verify(password, hash).await.map_err(Fault::Internal)?;
    let Some(user) = user.filter(|user| is_right && !user.disabled) else {
        return Err(Fault::WrongPassword);
    };
    ctx.logins.succeeded(&username, from, now_ms);
    let token = format!("{SESSION_PREFIX}{}", random::secret());
    let expires_ms = now_ms + SESSION_MS;
    let mut tx = ctx.db.write().await?;
    let hash = random::hash(&token);
    store::sessions::insert(&mut tx, &hash, DEFAULT_TENANT, &username, now_ms, expires_ms).await?;
    store::sessions::delete_oldest(&mut tx, DEFAULT_TENANT, &username, SESSIONS).await?;
    let actor = format!("user:{username}");
    let entry = audit::Entry {
        tenant: DEFAULT_TENANT,
        actor: &actor,
        action: "session.begin",
        subject: &actor,
        detail: json!({ "from": from.to_string() }),
    };
    audit::record(&mut tx, entry, now_ms).await?;
    tx.commit().await?;
    Ok(LoginResponse { token, expires_at: rfc3339(expires_ms), user: users::view(user)? })
}

/// Ends the principal's session.
pub(crate) async fn logout(ctx: &Context, who: &Principal) -> Outcome<()> {
    let Credential::Session(token_hash) = &who.credential else {
        return Err(Fault::BadRequest("an API key has no session to end; revoke it".to_owned()));
    };
    let now_ms = ctx.clock.now_ms();
    let mut tx = ctx.db.write().await?;
    store::sessions::delete(&mut tx, token_hash).await?;
    super::audit::note(&mut tx, who, "session.end", &who.actor, json!({}), now_ms).await?;
    Ok(tx.commit().await?)
}

/// The user behind a principal.
pub(crate) async fn me(ctx: &Context, who: &Principal) -> Outcome<User> {
    let Some(username) = &who.username else {
        // A key is not a person: it is shown by its public id, with its own role.
        return Ok(User {
            username: who.actor.clone(),
            role: who.role,
            disabled: false,
            created_at: rfc3339(0),
        });
    };
    let mut tx = ctx.db.read().await?;
    let user = store::users::find(&mut tx, who.tenant.as_str(), username).await?;
    users::view(user.ok_or(Fault::Unauthorized)?)
}

/// Whose credential this is.
pub(crate) async fn principal(ctx: &Context, token: &str, by_cookie: bool) -> Outcome<Principal> {
    if token.len() > 256 {
        return Err(Fault::Unauthorized);
    }
    let hash = random::hash(token);
    if token.starts_with(SESSION_PREFIX) {
        return known_by(ctx, Credential::Session(hash)).await;
    }
    if token.starts_with(API_KEY_PREFIX) && !by_cookie {
        return known_by(ctx, Credential::ApiKey(hash)).await;
    }
    Err(Fault::Unauthorized)
}

/// Who is known by a credential now: nobody once its session has ended, its user is disabled, or
/// it is revoked.
pub(crate) async fn known_by(ctx: &Context, credential: Credential) -> Outcome<Principal> {
    let now_ms = ctx.clock.now_ms();
    let mut tx = ctx.db.read().await?;
    match &credential {
        Credential::Session(hash) => {
            let found = store::sessions::find(&mut tx, hash, now_ms).await?;
            let session = found.ok_or(Fault::Unauthorized)?;
            Ok(Principal {
                tenant: tenant(&session.tenant)?,
                actor: format!("user:{}", session.username),
                role: parse_role(&session.role)?,
                username: Some(session.username),
                credential,
            })
        }
        Credential::ApiKey(hash) => {
            let found = store::api_keys::find_usable(&mut tx, hash, now_ms).await?;
            let key = found.ok_or(Fault::Unauthorized)?;
            Ok(Principal {
                tenant: tenant(&key.tenant)?,
                actor: format!("key:{}", key.id),
                role: parse_role(&key.role)?,
                username: None,
                credential,
            })
        }
    }
}

fn tenant(text: &str) -> Outcome<TenantId> {
    TenantId::parse(text).map_err(|error| Fault::Internal(error.to_string()))
}
