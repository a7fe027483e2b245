//! Workflow versions: immutable, numbered per name.

use serde::{Deserialize, Serialize};

use openclaw_protocol::id::TenantId;

use super::{Result, Row, Tx, args};

/// What a list shows of a document without reading it again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) steps: u32,
    pub(crate) plugins: Vec<String>,
    pub(crate) triggers: Vec<String>,
}

/// A version's row.
#[derive(Debug, Clone)]
pub(crate) struct WorkflowRow {
    pub(crate) name: String,
    pub(crate) revision: u32,
    pub(crate) version: String,
    pub(crate) hash: String,
    pub(crate) description: String,
    pub(crate) source: String,
    pub(crate) canonical: String,
    pub(crate) summary: Summary,
    pub(crate) created_by: String,
    pub(crate) created_ms: i64,
}

impl WorkflowRow {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            name: row.text("name")?,
            revision: row.small("revision")?,
            version: row.text("version")?,
            hash: row.text("hash")?,
            description: row.text("description")?,
            source: row.text("source")?,
            canonical: row.text("canonical")?,
            summary: row.json("summary")?,
            created_by: row.text("created_by")?,
            created_ms: row.int("created_ms")?,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT name, revision, version, hash, description, source, canonical, summary,
             created_by, created_ms FROM workflows ",
            $rest
        )
    };
}

/// The number the next version of a workflow gets. The caller holds the tenant's lock.
pub(crate) async fn next_revision(tx: &mut Tx, tenant: &TenantId, name: &str) -> Result<u32> {
    const NEXT: &str = "SELECT COALESCE(MAX(revision), 0) + 1 AS next FROM workflows
        WHERE tenant = $1 AND name = $2";
    tx.row(NEXT, args![tenant, name]).await?.map_or(Ok(1), |row| row.small("next"))
}

/// Stores a version.
pub(crate) async fn insert(tx: &mut Tx, tenant: &TenantId, row: &WorkflowRow) -> Result<()> {
    const INSERT: &str =
        "INSERT INTO workflows (tenant, name, revision, version, hash, description,
        source, canonical, summary, created_by, created_ms)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let key = args![tenant, &row.name, row.revision, &row.version, &row.hash];
    let values = args![
        &row.description,
        &row.source,
        &row.canonical,
        serde_json::json!(row.summary).to_string(),
        &row.created_by,
        row.created_ms
    ];
    tx.run(INSERT, [key, values].concat()).await?;
    Ok(())
}

/// One version.
pub(crate) async fn find(
    tx: &mut Tx,
    tenant: &TenantId,
    name: &str,
    revision: u32,
) -> Result<Option<WorkflowRow>> {
    const SELECT: &str = select!("WHERE tenant = $1 AND name = $2 AND revision = $3");
    tx.row(SELECT, args![tenant, name, revision]).await?.as_ref().map(WorkflowRow::read).transpose()
}

/// The version with this content.
pub(crate) async fn find_by_hash(
    tx: &mut Tx,
    tenant: &TenantId,
    name: &str,
    hash: &str,
) -> Result<Option<WorkflowRow>> {
    const SELECT: &str = select!("WHERE tenant = $1 AND name = $2 AND hash = $3");
    tx.row(SELECT, args![tenant, name, hash]).await?.as_ref().map(WorkflowRow::read).transpose()
}

/// The newest version of a workflow.
pub(crate) async fn newest(
    tx: &mut Tx,
    tenant: &TenantId,
    name: &str,
) -> Result<Option<WorkflowRow>> {
    const SELECT: &str = select!("WHERE tenant = $1 AND name = $2 ORDER BY revision DESC LIMIT 1");
    tx.row(SELECT, args![tenant, name]).await?.as_ref().map(WorkflowRow::read).transpose()
}

/// All versions of a workflow, newest first, at most `limit`.
pub(crate) async fn versions(
    tx: &mut Tx,
    tenant: &TenantId,
    name: &str,
    below: u32,
    limit: u32,
) -> Result<Vec<WorkflowRow>> {
    const SELECT: &str = select!(
        "WHERE tenant = $1 AND name = $2 AND revision < $3 ORDER BY revision DESC LIMIT $4"
    );
    let rows = tx.rows(SELECT, args![tenant, name, below, limit]).await?;
    rows.iter().map(WorkflowRow::read).collect()
}

/// The newest version of each workflow in the order of their names, after `after`, at most
/// `limit`.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    after: &str,
    limit: u32,
) -> Result<Vec<WorkflowRow>> {
    const SELECT: &str = select!(
        "AS w WHERE tenant = $1 AND name > $2 AND revision = (SELECT MAX(revision) FROM workflows n
             WHERE n.tenant = w.tenant AND n.name = w.name) ORDER BY name LIMIT $3"
    );
    tx.rows(SELECT, args![tenant, after, limit]).await?.iter().map(WorkflowRow::read).collect()
}
