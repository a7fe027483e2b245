//! Whether the SQLite file is what SQLite wrote: its order and its indexes are looked at as a whole
//! before anything is served from it. A file that is damaged is not repaired by guessing: the answer
//! is the last backup, after which the devices tell again what they still keep.
//!
//! SQLite has no checksums of values: a bit that flips in the middle of a text is not found.

use std::path::Path;

use sqlx::migrate::MigrateError;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::SqlitePool;
use tokio::sync::OnceCell;

use super::{Result, SQLITE_MIGRATIONS, StoreError};

/// A larger file is not looked at as a whole, since that reads all of it: about a second for each
/// gigabyte where the disk is quick.
const CHECKED_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// SQLite's codes for a file that is damaged, and for one that is no database.
const DAMAGED: [i32; 2] = [11, 26];

/// A file that has lost all its bytes would be taken for a new database.
///
/// # Errors
/// It is there and empty.
pub(super) fn refuse_empty(path: &Path) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(file) if file.len() == 0 => {
            Err(damaged(path, "it is empty (at a first start that did not end: remove it)"))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Looks at the whole file.
///
/// # Errors
/// It is damaged, or cannot be read.
pub(super) async fn check(pool: &SqlitePool, path: &Path) -> Result<()> {
    let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
    if bytes > CHECKED_BYTES {
        tracing::info!(
            bytes,
            "the database is too large to be looked at as a whole at every start"
        );
        return Ok(());
    }
    let said: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check(3)").fetch_all(pool).await?;
    if said != ["ok"] {
        return Err(damaged(path, &said.join("; ")));
    }
    // All that is written there is ASCII, and the driver stops on a name that is no text.
    const MADE: &str = "SELECT CAST(COALESCE(sql, '') AS BLOB) AS c FROM sqlite_master";
    let made: Vec<Vec<u8>> = sqlx::query_scalar(MADE).fetch_all(pool).await?;
    if made.iter().all(|sql| sql.is_ascii()) {
        Ok(())
    } else {
        Err(damaged(path, "the text that its tables were made by is not text any more"))
    }
}

/// Looks for the names and types of all columns of a database that was made just now: a letter of a
/// name that has changed is found by nobody else before somebody asks for that column. Tables that are
/// not ours are nobody's harm: programs that copy the file keep some in it.
///
/// # Errors
/// One is not there, or they cannot be read.
pub(super) async fn check_columns(pool: &SqlitePool, path: &Path) -> Result<()> {
    static WANTED: OnceCell<Vec<Vec<u8>>> = OnceCell::const_new();
    let make = async || -> Result<Vec<Vec<u8>>> {
        // In memory each connection has a database of its own.
        let one = PoolOptions::new().max_connections(1);
        let fresh: SqlitePool = one.connect("sqlite::memory:").await?;
        SQLITE_MIGRATIONS.run(&fresh).await?;
        let wanted = columns(&fresh).await?;
        fresh.close().await;
        Ok(wanted)
    };
    let wanted = WANTED.get_or_try_init(make).await?;
    let found = columns(pool).await?;
    if wanted.iter().all(|column| found.binary_search(column).is_ok()) {
        Ok(())
    } else {
        Err(damaged(path, "its tables are not those that were made"))
    }
}

async fn columns(pool: &SqlitePool) -> Result<Vec<Vec<u8>>> {
    const ASK: &str = "SELECT CAST(m.name || '.' || p.name || ' ' || p.type AS BLOB) AS c \
                       FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS p \
                       WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY 1";
    Ok(sqlx::query_scalar(ASK).fetch_all(pool).await?)
}

/// The error as what it is, where it means that the file is damaged.
pub(super) fn named(error: StoreError, path: &Path) -> StoreError {
    let (StoreError::Database(cause)
    | StoreError::Migration(
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _),
    )) = &error
    else {
        return error;
    };
    if matches!(cause, sqlx::Error::WorkerCrashed) {
        return damaged(path, "its driver stopped on it");
    }
    // The lower eight bits are the code, the others say more.
    let code = cause.as_database_error().and_then(|e| e.code());
    let code = code.and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff);
    match code {
        Some(code) if DAMAGED.contains(&code) => damaged(path, &cause.to_string()),
        Some(_) | None => error,
    }
}

fn damaged(path: &Path, reason: &str) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
