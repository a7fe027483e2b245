//! Backup and restore: one file that holds the database and the keys; and what must happen to a
//! database that went back in time.
//!
//! The file is a SQLite database made by `VACUUM INTO`, with the key files in a table of their
//! own. It holds private keys: keep it as you keep them. After a restore the database has a new
//! generation, so that no number is used twice: desired states are signed anew, and of the command
//! log only what is not answered goes on, under new numbers.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Row as _};

use openclaw_protocol::id::{Generation, TenantId};

use crate::clock::Clock;
use crate::config::{Config, DEFAULT_TENANT};
use crate::context::Context;
use crate::service::desired;
use crate::{init, random, store};

/// The key files that a backup holds.
const KEY_FILES: [&str; 3] = ["ca.key", "ca.pem", "desired.key"];

/// Writes database and keys into `file`, which must not exist. The control plane may be running.
///
/// # Errors
/// The database is PostgreSQL (the message says what to do), or a file cannot be read or written.
pub async fn backup(config: &Config, file: &Path) -> anyhow::Result<()> {
    if config.is_postgres() {
        bail!(
            "the database is PostgreSQL, which makes its own backups: run `pg_dump --format=custom \
             --file={} \"$DATABASE_URL\"`, and keep a copy of {} with it",
            file.display(),
            config.pki_dir().display()
        );
    }
    if file.exists() {
        bail!("{} exists already; choose another name, or move it away", file.display());
    }
    let source = config.sqlite_path();
    if !source.exists() {
        bail!("there is no database at {}; is data_dir right?", source.display());
    }
    let beside = file.with_extension("partial");
    if beside.exists() {
        fs::remove_file(&beside)?;
    }
    // SQLite fills an empty file, and nobody else may read it at any moment.
    let mut private = fs::OpenOptions::new();
    private.write(true).create_new(true).mode(0o600).open(&beside)?;
    let mut from = connect(&source, false).await?;
    let target = beside.to_str().context("the file's name is not UTF-8")?.to_owned();
    sqlx::query("VACUUM INTO $1").bind(target).execute(&mut from).await?;
    from.close().await?;
    let mut into = connect(&beside, false).await?;
    sqlx::query("CREATE TABLE backup_files (name TEXT PRIMARY KEY, bytes BLOB NOT NULL)")
        .execute(&mut into)
        .await?;
    for name in KEY_FILES {
        let path = config.pki_dir().join(name);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        sqlx::query("INSERT INTO backup_files (name, bytes) VALUES ($1, $2)")
            .bind(name)
            .bind(bytes)
            .execute(&mut into)
            .await?;
    }
    into.close().await?;
    fs::File::open(&beside)?.sync_all()?;
    fs::rename(&beside, file)?;
    Ok(())
}

/// Fills an empty data folder from a backup. The control plane must not be running.
///
/// # Errors
/// The folder holds a database already, the file is no backup, or the database is PostgreSQL.
pub async fn restore(config: Config, file: &Path, clock: Clock) -> anyhow::Result<Generation> {
    if config.is_postgres() {
        bail!(
            "the database is PostgreSQL: restore it with pg_restore, put the key files back into \
             {}, then run `openclaw-control-plane new-generation`",
            config.pki_dir().display()
        );
    }
    let lock = init::lock(&config.data_dir)?;
    let target = config.sqlite_path();
    if target.exists() {
        bail!("{} exists already; move it away, or restore elsewhere", target.display());
    }
    let beside = target.with_extension("partial");
    fs::copy(file, &beside).with_context(|| format!("cannot copy {}", file.display()))?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
    let mut from = connect(&beside, false).await?;
    let keys = sqlx::query("SELECT name, bytes FROM backup_files")
        .fetch_all(&mut from)
        .await
        .with_context(|| format!("{} is not a backup of a control plane", file.display()))?;
    let pki = config.pki_dir();
    fs::create_dir_all(&pki)?;
    fs::set_permissions(&pki, fs::Permissions::from_mode(0o700))?;
    for row in keys {
        let name: String = row.try_get("name")?;
        if !KEY_FILES.contains(&name.as_str()) {
            bail!("{} holds an unknown key file `{name}`", file.display());
        }
        let path = pki.join(name);
        fs::write(&path, row.try_get::<Vec<u8>, _>("bytes")?)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    }
    sqlx::query("DROP TABLE backup_files").execute(&mut from).await?;
    from.close().await?;
    fs::rename(&beside, &target)?;
    drop(lock);
    new_generation(config, clock).await
}

/// Gives a database that went back in time a new generation.
///
/// # Errors
/// The database cannot be opened or written.
pub async fn new_generation(config: Config, clock: Clock) -> anyhow::Result<Generation> {
    let mut opened = init::open(config, clock, None).await?;
    let generation = Generation(random::number());
    let ctx: &mut Context =
        std::sync::Arc::get_mut(&mut opened.ctx).context("the state is shared already")?;
    ctx.generation = generation;
    let tenant = TenantId::parse(DEFAULT_TENANT)?;
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(tenant.as_str()).await?;
    store::server::set_generation(&mut tx, generation, ctx.clock.now_ms()).await?;
    store::requests::renumber(&mut tx, &tenant).await?;
    desired::refresh_all(ctx, &mut tx, &tenant)
        .await
        .map_err(|fault| anyhow::anyhow!("{fault}"))?;
    tx.commit().await?;
    ctx.db.close().await;
    Ok(generation)
}

async fn connect(path: &Path, create: bool) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(create);
    SqliteConnection::connect_with(&options)
        .await
        .with_context(|| format!("cannot open {} as a database", path.display()))
}
