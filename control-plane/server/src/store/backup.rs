//! Backup and restore: one file that holds the database and the keys; and what must happen to a
//! database that went back in time.
//!
//! The file is a SQLite database made by `VACUUM INTO`, with the key files in a table of their
//! own. It holds private keys: keep it as you keep them. After a restore the database has a new
//! generation, so that no number is used twice: desired states are signed anew, and of the command
//! log only what is not answered goes on, under new numbers.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Row as _};

use openclaw_points::{Point, reach};
use openclaw_protocol::id::{Generation, TenantId};

use crate::clock::Clock;
use crate::config::{Config, DEFAULT_TENANT};
use crate::context::Context;
use crate::fleet::ca;
use crate::service::desired;
use crate::{init, random, store, vault};

/// The key files that a backup holds. Backups from before there were secrets lack the last.
const KEY_FILES: [&str; 4] = ["ca.key", "ca.pem", "desired.key", vault::KEY_FILE];

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
        if name == vault::KEY_FILE && !path.exists() {
            // A control plane that has not been started since it was updated has no secrets.
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        sqlx::query("INSERT INTO backup_files (name, bytes) VALUES ($1, $2)")
            .bind(name)
            .bind(bytes)
            .execute(&mut into)
            .await?;
    }
    into.close().await?;
    sync(&beside)?;
    fs::rename(&beside, file)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    sync(folder.unwrap_or(Path::new(".")))
}

/// Fills an empty data folder from a backup. The control plane must not be running. The database
/// gets its name only when it is whole and of a new generation, so a restore that is interrupted
/// leaves nothing that could be served.
///
/// # Errors
/// The folder holds a database already, or what SQLite left of one, or other keys; the file is no
/// backup, or the database is PostgreSQL.
pub async fn restore(config: Config, file: &Path, clock: Clock) -> anyhow::Result<Generation> {
    if config.is_postgres() {
        bail!(
            "the database is PostgreSQL: restore it with pg_restore, put the key files back into \
             {}, then run `openclaw-control-plane new-generation`",
            config.pki_dir().display()
        );
    }
    let lock = init::lock(&config.data_dir)?;
    let (dir, target) = (config.data_dir.clone(), config.sqlite_path());
    refuse_remains(&target)?;
    let beside = unfinished(&target);
    for remains in [vec![beside.clone()], companions(&beside)].concat() {
        if remains.exists() {
            fs::remove_file(&remains)
                .with_context(|| format!("cannot remove {}", remains.display()))?;
        }
    }
    copy_private(file, &beside)?;
    reach(Point::RestoreCopied);
    unpack_keys(&beside, file, &config.pki_dir()).await?;
    reach(Point::RestoreKeys);
    let db = store::Db::open_sqlite(&beside).await?;
    let mut ctx = init::context(config, clock, db).await?;
    let begun = begin_generation(&mut ctx).await;
    ctx.db.close().await;
    let generation = begun?;
    if let Some(left) = companions(&beside).iter().find(|path| path.exists()) {
        bail!("{} is still in use; is another program looking at it?", left.display());
    }
    sync(&beside)?;
    reach(Point::RestoreWhole);
    fs::rename(&beside, &target)?;
    reach(Point::RestoreNamed);
    sync(&dir)?;
    drop(lock);
    Ok(generation)
}

/// Where a restore makes the database, until it is whole.
pub(crate) fn unfinished(target: &Path) -> PathBuf {
    target.with_extension("partial")
}

/// The files that SQLite keeps beside a database.
fn companions(database: &Path) -> Vec<PathBuf> {
    let beside = |suffix: &&str| {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    ["-wal", "-shm", "-journal"].iter().map(beside).collect()
}

/// SQLite would take the log of another database for the restored one's, and spoil it.
fn refuse_remains(target: &Path) -> anyhow::Result<()> {
    let all = [vec![target.to_owned()], companions(target)].concat();
    let there: Vec<String> =
        all.iter().filter(|path| path.exists()).map(|path| path.display().to_string()).collect();
    if there.is_empty() {
        return Ok(());
    }
    bail!(
        "{} exists already; files of one database belong together: with the control plane stopped, \
         move all of them away into one folder (they may hold newer facts than the backup), or \
         restore elsewhere",
        there.join(", ")
    );
}

/// Copies a file so that nobody else may read the copy at any moment.
fn copy_private(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut source =
        fs::File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
    let mut options = fs::OpenOptions::new();
    let mut copy = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .with_context(|| format!("cannot make {}", to.display()))?;
    std::io::copy(&mut source, &mut copy)
        .with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(copy.sync_all()?)
}

/// Takes the key files out of a copy of a backup and puts them where they belong, synced.
async fn unpack_keys(copy: &Path, file: &Path, pki: &Path) -> anyhow::Result<()> {
    let mut from = connect(copy, false).await?;
    let keys = sqlx::query("SELECT name, bytes FROM backup_files")
        .fetch_all(&mut from)
        .await
        .with_context(|| format!("{} is not a backup of a control plane", file.display()))?;
    fs::create_dir_all(pki)?;
    fs::set_permissions(pki, fs::Permissions::from_mode(0o700))?;
    for row in keys {
        let (name, bytes): (String, Vec<u8>) = (row.try_get("name")?, row.try_get("bytes")?);
        if !KEY_FILES.contains(&name.as_str()) {
            bail!("{} holds an unknown key file `{name}`", file.display());
        }
        let path = pki.join(name);
        match fs::read(&path) {
            Ok(there) if there == bytes => continue,
            Ok(_) => bail!(
                "{} is the key of another fleet; move it away, or restore elsewhere",
                path.display()
            ),
            Err(_) => ca::write_atomic(&path, &bytes, 0o600)?,
        }
    }
    sqlx::query("DROP TABLE backup_files").execute(&mut from).await?;
    from.close().await?;
    sync(pki)
}

/// Makes what was written to a file, or the names in a folder, durable.
fn sync(path: &Path) -> anyhow::Result<()> {
    let file = fs::File::open(path).and_then(|file| file.sync_all());
    file.with_context(|| format!("cannot make {} durable", path.display()))
}

/// Gives a database that went back in time a new generation.
///
/// # Errors
/// The database cannot be opened or written.
pub async fn new_generation(config: Config, clock: Clock) -> anyhow::Result<Generation> {
    let mut opened = init::open(config, clock, None).await?;
    let ctx: &mut Context =
        std::sync::Arc::get_mut(&mut opened.ctx).context("the state is shared already")?;
    let begun = begin_generation(ctx).await;
    ctx.db.close().await;
    begun
}

/// In one transaction: a generation, command logs and desired states that nobody has seen yet.
async fn begin_generation(ctx: &mut Context) -> anyhow::Result<Generation> {
    let generation = Generation(random::number());
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
    Ok(generation)
}

async fn connect(path: &Path, create: bool) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(create);
    SqliteConnection::connect_with(&options)
        .await
        .with_context(|| format!("cannot open {} as a database", path.display()))
}

#[cfg(test)]
mod tests;
