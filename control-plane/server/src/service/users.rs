//! Users: made, listed, disabled.

use serde_json::json;

use openclaw_protocol::api::{CreateUser, CreatedUser, Page, Role, User};

use super::page::{PageQuery, page};
use super::{Fault, Outcome, audit};
use crate::clock::rfc3339;
use crate::config::DEFAULT_TENANT;
use crate::context::Context;
use crate::identity::{Passwords, Principal, parse_role, role_name};
use crate::random;
use crate::store::{self, Db, users::UserRow};

/// Characters of a password at least.
const PASSWORD_CHARS: usize = 10;
/// Bytes of a password at most.
const PASSWORD_BYTES: usize = 1_024;

/// A user as people see it.
pub(crate) fn view(row: UserRow) -> Outcome<User> {
    Ok(User {
        role: parse_role(&row.role)?,
        username: row.username,
        disabled: row.disabled,
        created_at: rfc3339(row.created_ms),
    })
}

/// Lists users by name.
pub(crate) async fn list(ctx: &Context, who: &Principal, query: &PageQuery) -> Outcome<Page<User>> {
    let limit = query.limit()?;
    let [after] = query.after()?.unwrap_or_default();
    let mut tx = ctx.db.read().await?;
    let rows = store::users::list(&mut tx, who.tenant.as_str(), &after, limit + 1).await?;
    let page = page(rows, limit, |row| vec![row.username.clone()], view);
    let items = page.items.into_iter().collect::<Outcome<_>>()?;
    Ok(Page { items, next_cursor: page.next_cursor })
}

/// Makes a user, with a password of its own where none is given.
pub(crate) async fn create(
    ctx: &Context,
    who: &Principal,
    request: CreateUser,
) -> Outcome<CreatedUser> {
    let CreateUser { username, role, password } = request;
    check_name(&username)?;
    let made = password.is_none().then(random::secret);
    let password = password.or_else(|| made.clone()).unwrap_or_default();
    check_password(&password)?;
    let password_hash = ctx.passwords.hash(password).await.map_err(Fault::Internal)?;
    let now_ms = ctx.clock.now_ms();
    let row = new_row(&username, role, password_hash, now_ms);
    let mut tx = ctx.db.write().await?;
    if !store::users::insert(&mut tx, who.tenant.as_str(), &row).await? {
        return Err(Fault::conflict(
            "user.exists",
            format!("there is a user `{username}` already"),
        ));
    }
    let detail = json!({ "role": row.role });
    audit::note(&mut tx, who, "user.create", &username, detail, now_ms).await?;
    tx.commit().await?;
    Ok(CreatedUser { user: view(row)?, password: made })
}

/// Disables a user and ends their sessions. The last admin stays.
pub(crate) async fn disable(ctx: &Context, who: &Principal, username: &str) -> Outcome<User> {
    let now_ms = ctx.clock.now_ms();
    let tenant = who.tenant.as_str();
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(tenant).await?;
    let found = store::users::find(&mut tx, tenant, username).await?;
    let mut row = found.ok_or_else(|| Fault::not_found("user", username))?;
    let is_admin = row.role == role_name(Role::Admin) && !row.disabled;
    if is_admin && store::users::enabled_admins(&mut tx, tenant).await? <= 1 {
        let detail = "this is the last admin; make another one first";
        return Err(Fault::conflict("user.last_admin", detail));
    }
    store::users::disable(&mut tx, tenant, username).await?;
    store::sessions::delete_of_user(&mut tx, tenant, username).await?;
    audit::note(&mut tx, who, "user.disable", username, json!({}), now_ms).await?;
    tx.commit().await?;
    row.disabled = true;
    view(row)
}

/// Gives a user another password and ends their sessions, at the wish of whoever owns the machine.
/// Answers `false` where there is no such user, or they are disabled.
pub(crate) async fn set_password(
    db: &Db,
    username: &str,
    password: String,
    now_ms: i64,
) -> Outcome<bool> {
    check_password(&password)?;
    let hash = Passwords::default().hash(password).await.map_err(Fault::Internal)?;
    let mut tx = db.write().await?;
    if !store::users::set_password(&mut tx, DEFAULT_TENANT, username, &hash).await? {
        return Ok(false);
    }
    store::sessions::delete_of_user(&mut tx, DEFAULT_TENANT, username).await?;
    let entry = store::audit::Entry {
        tenant: DEFAULT_TENANT,
        actor: "system",
        action: "user.password",
        subject: username,
        detail: json!({}),
    };
    store::audit::record(&mut tx, entry, now_ms).await?;
    tx.commit().await?;
    Ok(true)
}

/// A row for a new user.
pub(crate) fn new_row(username: &str, role: Role, password_hash: String, now_ms: i64) -> UserRow {
    UserRow {
        username: username.to_owned(),
        password_hash,
        role: role_name(role).to_owned(),
        disabled: false,
        created_ms: now_ms,
    }
}

/// Refuses a password that is too short or too long.
pub(crate) fn check_password(password: &str) -> Outcome<()> {
    if password.chars().count() < PASSWORD_CHARS || password.len() > PASSWORD_BYTES {
        let detail = format!("a password has {PASSWORD_CHARS} to {PASSWORD_BYTES} characters");
        return Err(Fault::invalid("user.password", detail));
    }
    Ok(())
}

fn check_name(username: &str) -> Outcome<()> {
    let fits = (1..=64).contains(&username.len())
        && username.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b));
    if fits {
        return Ok(());
    }
    let detail = "a user name has 1 to 64 letters, digits, dots, dashes, underscores or @";
    Err(Fault::invalid("user.name", detail))
}
