//! SQL, by noun: plain async functions on a transaction; the caller owns it and commits.
//!
//! One SQL text serves SQLite and PostgreSQL. The seam between them is this file and `batch.rs`:
//! [`Db`] knows which pool it holds, [`Tx`] runs a text with `$1` placeholders, [`Row`] reads
//! texts, integers and bytes. Nothing else in the crate knows which database it is.
//! "Not found" is `Option`.

mod arg;
pub mod backup;
mod batch;
mod damage;
mod row;

pub(crate) mod api_keys;
pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod deployments;
pub(crate) mod devices;
pub(crate) mod executions;
pub(crate) mod fleet;
pub(crate) mod idempotency;
pub(crate) mod ingest;
pub(crate) mod join_codes;
pub(crate) mod lanes;
pub(crate) mod parked;
pub(crate) mod plugins;
pub(crate) mod projection;
pub(crate) mod publisher_keys;
pub(crate) mod recordings;
pub(crate) mod requests;
pub(crate) mod results;
pub(crate) mod retention;
pub(crate) mod secrets;
pub(crate) mod security;
pub(crate) mod server;
pub(crate) mod sessions;
pub(crate) mod users;
pub(crate) mod workflows;

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use openclaw_points::{Point, reach};
use sqlx::migrate::Migrator;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{Postgres, Sqlite, Transaction};

pub(crate) use arg::{Arg, args};
pub(crate) use batch::{Column, insert_many};
pub(crate) use row::Row;

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Readers that may look at once.
const READERS: u32 = 8;
/// Connections to PostgreSQL at once.
const POSTGRES_CONNECTIONS: u32 = 16;
/// How long a caller waits for a connection before it is told that the database is busy.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long SQLite waits for a lock that another process holds, such as a backup's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(15);

/// Why the database could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or could not be reached.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The SQLite file is not what was written.
    #[error(
        "the database {} is damaged: {reason}; with the control plane stopped, move it and the \
         files beside it (-wal, -shm) away, and put the last backup in its place: \
         `openclaw-control-plane restore FILE`; devices then tell again what they still keep",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// The schema could not be brought up to date.
    #[error("database schema: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The database address cannot be read.
    #[error("database.url: {0}; write `sqlite` or `postgres://user:password@host:5432/name`")]
    Url(String),
    /// A row holds something this build cannot read.
    #[error("column {column}: {reason}; the row was written by another version or is damaged")]
    Unreadable {
        /// Which column.
        column: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a store function answers.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The database, whichever it is. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Db {
    /// A file of our own.
    Sqlite {
        /// The one connection that writes.
        writer: SqlitePool,
        /// Connections that read beside it.
        readers: SqlitePool,
    },
    /// A server of the operator's.
    Postgres(PgPool),
}

impl Db {
    /// Opens (and makes, where absent) the SQLite file at `path` and brings its schema up to date.
    ///
    /// # Errors
    /// The file cannot be opened, is damaged, or its schema is newer than this build.
    pub async fn open_sqlite(path: &Path) -> Result<Self> {
        damage::refuse_empty(path)?;
        Self::open_sqlite_file(path).await.map_err(|error| damage::named(error, path))
    }

    async fn open_sqlite_file(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = PoolOptions::<Sqlite>::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await?;
        if let Err(error) = Self::prepare_sqlite(&writer, path).await {
            writer.close().await;
            return Err(error);
        }
        let readers = PoolOptions::<Sqlite>::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await?;
        Ok(Self::Sqlite { writer, readers })
    }

    async fn prepare_sqlite(writer: &SqlitePool, path: &Path) -> Result<()> {
        damage::check(writer, path).await?;
        reach(Point::SchemaOpen);
        SQLITE_MIGRATIONS.run(writer).await?;
        reach(Point::SchemaMigrated);
        damage::check_columns(writer, path).await
    }

    /// Connects to PostgreSQL and brings the schema up to date.
    ///
    /// # Errors
    /// The address is wrong, the server cannot be reached, or the schema is newer than this build.
    pub async fn open_postgres(url: &str) -> Result<Self> {
        let options =
            PgConnectOptions::from_str(url).map_err(|e| StoreError::Url(e.to_string()))?;
        let pool = PoolOptions::<Postgres>::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.application_name("openclaw-control-plane"))
            .await?;
        POSTGRES_MIGRATIONS.run(&pool).await?;
        Ok(Self::Postgres(pool))
    }

    /// Begins a transaction that may write. On SQLite it holds the only writer until it ends.
    ///
    /// # Errors
    /// No connection within the time limit.
    pub async fn write(&self) -> Result<Tx> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// Begins a transaction that only reads, and sees one state of the database throughout.
    ///
    /// # Errors
    /// No connection within the time limit.
    pub async fn read(&self) -> Result<Tx> {
        const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        Ok(match self {
            Self::Sqlite { readers, .. } => Tx::Sqlite(readers.begin().await?),
            Self::Postgres(pool) => Tx::Postgres(pool.begin_with(SNAPSHOT).await?),
        })
    }

    /// Ends all connections after their current work.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }

    /// `sqlite` or `postgres`, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }
}

/// A transaction. Dropped without [`Tx::commit`], it is rolled back.
#[derive(Debug)]
pub enum Tx {
    /// On SQLite.
    Sqlite(Transaction<'static, Sqlite>),
    /// On PostgreSQL.
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    /// Makes what was done durable and visible.
    ///
    /// # Errors
    /// The database could not; nothing was done then.
    pub async fn commit(self) -> Result<()> {
        reach(Point::DbCommit);
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        reach(Point::DbCommitted);
        Ok(())
    }

    /// Takes the tenant's intent lock until the transaction ends, so that deployments, enrolments
    /// and wishes of one tenant see each other. On SQLite the one writer is that lock already.
    ///
    /// # Errors
    /// The database could not.
    pub(crate) async fn lock_tenant(&mut self, tenant: &str) -> Result<()> {
        if let Self::Postgres(_) = self {
            const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 7))";
            self.rows(LOCK, args![tenant]).await?;
        }
        Ok(())
    }

    /// Runs a statement and answers how many rows it touched.
    pub(crate) async fn run(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<u64> {
        Ok(match self {
            Self::Sqlite(tx) => {
                arg::bind_sqlite(sqlx::query(sql), args).execute(&mut **tx).await?.rows_affected()
            }
            Self::Postgres(tx) => {
                arg::bind_postgres(sqlx::query(sql), args).execute(&mut **tx).await?.rows_affected()
            }
        })
    }

    /// Runs a query and answers all its rows.
    pub(crate) async fn rows(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<Vec<Row>> {
        Ok(match self {
            Self::Sqlite(tx) => {
                let query = arg::bind_sqlite(sqlx::query(sql), args);
                query.fetch_all(&mut **tx).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(tx) => {
                let query = arg::bind_postgres(sqlx::query(sql), args);
                query.fetch_all(&mut **tx).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Runs a query and answers its first row, if it has one.
    pub(crate) async fn row(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<Option<Row>> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }
}
