//! The first start: a folder, keys, a database with a generation, and a first admin whose password
//! is shown once. Every later start finds all that and changes nothing.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use openclaw_points::{Point, reach};
use openclaw_protocol::api::Role;
use openclaw_protocol::id::Generation;

use crate::clock::Clock;
use crate::config::{Config, DEFAULT_TENANT};
use crate::context::{Context, Ctx};
use crate::fleet::ca::{FleetCa, ServerIdentity};
use crate::random;
use crate::service::users;
use crate::store::{self, Db, audit, backup};
use crate::vault::Vault;

/// Name of the first admin.
pub const FIRST_ADMIN: &str = "admin";

/// The first admin, made at the first start.
#[derive(Debug, Clone, Serialize)]
pub struct FirstAdmin {
    /// Their name.
    pub username: String,
    /// Their password, where the server made it. Shown once.
    pub password: Option<String>,
}

/// A data folder that is ready and held by this process alone.
#[derive(Debug)]
pub struct Opened {
    /// The shared state.
    pub ctx: Ctx,
    /// Set at the first start.
    pub first_admin: Option<FirstAdmin>,
    /// Held for as long as the process uses the folder.
    pub lock: File,
}

/// Makes or opens the data folder.
///
/// # Errors
/// Another process uses the folder, something in it cannot be made or read, a key is missing of a
/// fleet that is in use, or a restore into it has not been finished.
pub async fn open(
    config: Config,
    clock: Clock,
    admin_password: Option<String>,
) -> anyhow::Result<Opened> {
    let lock = lock(&config.data_dir)?;
    let db = open_database(&config).await?;
    let ctx = Arc::new(context(config, clock, db).await?);
    let first_admin = first_admin(&ctx, admin_password).await?;
    Ok(Opened { ctx, first_admin, lock })
}

/// Gives a user a new password, which the server makes where none is given, and ends their sessions. The
/// control plane may be running. So no password is ever lost for good: not one that a process died
/// before showing, either.
///
/// # Errors
/// There is no database or no such user, the user is disabled, the password is too short, or the
/// database could not be written.
pub async fn reset_password(
    config: &Config,
    clock: Clock,
    username: &str,
    password: Option<String>,
) -> anyhow::Result<FirstAdmin> {
    let file = config.sqlite_path();
    if !config.is_postgres() && !file.exists() {
        bail!("there is no database at {}; is data_dir right?", file.display());
    }
    let db = open_database(config).await?;
    let made = password.is_none().then(random::secret);
    let password = password.or_else(|| made.clone()).unwrap_or_default();
    let done = users::set_password(&db, username, password, clock.now_ms()).await;
    db.close().await;
    if !done.map_err(|fault| anyhow::anyhow!("{fault}"))? {
        bail!(
            "there is no user `{username}` who may log in; name another one with --user, or run \
             `openclaw-control-plane init` where there is none yet"
        );
    }
    Ok(FirstAdmin { username: username.to_owned(), password: made })
}

/// The shared state on a database that is open. At the first start, which a database without a
/// generation tells, keys are made; later they must be there.
///
/// # Errors
/// Keys are missing, or cannot be made or read; the database could not.
pub(crate) async fn context(config: Config, clock: Clock, db: Db) -> anyhow::Result<Context> {
    let now_ms = clock.now_ms();
    let mut tx = db.read().await?;
    let known = store::server::generation(&mut tx).await?;
    let has_secrets = store::secrets::any(&mut tx).await?;
    drop(tx);
    let pki = config.pki_dir();
    let ca = match known {
        Some(_) => FleetCa::load(&pki, now_ms)?,
        None => FleetCa::open(&pki, now_ms)?,
    };
    let vault = Vault::open(&pki, has_secrets)?;
    let identity = ServerIdentity::new(&ca, config.server_names(), now_ms)?;
    let generation = generation(&db, now_ms).await?;
    Ok(Context {
        config,
        db,
        clock,
        ca,
        vault,
        identity,
        generation,
        stop: CancellationToken::new(),
        started_ms: now_ms,
        addresses: OnceLock::new(),
        nudges: crate::context::Nudges::default(),
        live: crate::context::Live::default(),
        presence: crate::context::Presence::default(),
        metrics: crate::monitor::Metrics::default(),
        passwords: crate::identity::Passwords::default(),
        logins: crate::identity::LoginLimiter::default(),
        enrolments: crate::identity::EnrolLimiter::default(),
        streams: crate::identity::Crowd::default(),
    })
}

/// Makes the data folder and takes hold of it.
///
/// # Errors
/// It cannot be made, or another process holds it.
pub(crate) fn lock(dir: &Path) -> anyhow::Result<File> {
    let shown = dir.display();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make the data folder {shown}"))?;
    let file =
        File::create(dir.join("lock")).with_context(|| format!("cannot write in {shown}"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another control plane uses {shown}; stop it first, or choose another data_dir")
        }
        Err(TryLockError::Error(error)) => Err(error).context(format!("cannot lock {shown}")),
    }
}

/// Opens the configured database.
///
/// # Errors
/// It cannot be opened or brought up to date.
pub(crate) async fn open_database(config: &Config) -> anyhow::Result<Db> {
    if config.is_postgres() {
        return Ok(Db::open_postgres(&config.database.url).await?);
    }
    let path = config.sqlite_path();
    let unfinished = backup::unfinished(&path);
    if unfinished.exists() {
        bail!(
            "{} is what a restore left that did not end: restore again, or remove it to begin with \
             what is there",
            unfinished.display()
        );
    }
    let db = Db::open_sqlite(&path).await?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(db)
}

async fn generation(db: &Db, now_ms: i64) -> anyhow::Result<Generation> {
    let mut tx = db.write().await?;
    tx.lock_tenant(DEFAULT_TENANT).await?;
    if let Some(generation) = store::server::generation(&mut tx).await? {
        return Ok(generation);
    }
    let generation = Generation(random::number());
    store::server::set_generation(&mut tx, generation, now_ms).await?;
    reach(Point::GenerationCommit);
    tx.commit().await?;
    Ok(generation)
}

async fn first_admin(
    ctx: &Context,
    password: Option<String>,
) -> anyhow::Result<Option<FirstAdmin>> {
    let mut tx = ctx.db.read().await?;
    let users = store::users::list(&mut tx, DEFAULT_TENANT, "", 1).await?;
    drop(tx);
    if !users.is_empty() {
        return Ok(None);
    }
    let made = password.is_none().then(random::secret);
    let password = password.or_else(|| made.clone()).unwrap_or_default();
    users::check_password(&password).map_err(|fault| anyhow::anyhow!("admin password: {fault}"))?;
    let hash = ctx.passwords.hash(password).await.map_err(anyhow::Error::msg)?;
    let now_ms = ctx.clock.now_ms();
    let row = users::new_row(FIRST_ADMIN, Role::Admin, hash, now_ms);
    let mut tx = ctx.db.write().await?;
    if !store::users::insert(&mut tx, DEFAULT_TENANT, &row).await? {
        // Another control plane on the same PostgreSQL was faster.
        return Ok(None);
    }
    let entry = audit::Entry {
        tenant: DEFAULT_TENANT,
        actor: "system",
        action: "user.create",
        subject: FIRST_ADMIN,
        detail: json!({ "role": row.role, "first": true }),
    };
    audit::record(&mut tx, entry, now_ms).await?;
    reach(Point::AdminCommit);
    tx.commit().await?;
    reach(Point::AdminCommitted);
    Ok(Some(FirstAdmin { username: FIRST_ADMIN.to_owned(), password: made }))
}
