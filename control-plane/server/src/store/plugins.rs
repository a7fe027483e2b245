//! The registry: published plugin versions, and their modules by content.

use openclaw_protocol::id::{Digest, TenantId};
use openclaw_protocol::plugin::Manifest;

use super::{Result, Row, Tx, args};

/// A published version.
#[derive(Debug, Clone)]
pub(crate) struct PluginRow {
    pub(crate) manifest: Manifest,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
    pub(crate) published_by: String,
    pub(crate) published_ms: i64,
}

impl PluginRow {
    fn read(row: &Row) -> Result<Self> {
        let digest = Digest::parse(&row.text("digest")?);
        Ok(Self {
            manifest: row.json("manifest")?,
            digest: digest.map_err(|e| super::row::unreadable("digest", e.to_string()))?,
            size: row.count("size")?,
            imports: row.json("imports")?,
            exports: row.json("exports")?,
            published_by: row.text("published_by")?,
            published_ms: row.int("published_ms")?,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT manifest, digest, size, imports, exports, published_by, published_ms
             FROM plugins ",
            $rest
        )
    };
}

/// Publishes a version. Answers `false` where that version exists.
pub(crate) async fn insert(
    tx: &mut Tx,
    tenant: &TenantId,
    plugin: &PluginRow,
    module: Vec<u8>,
) -> Result<bool> {
    const PLUGIN: &str = "INSERT INTO plugins (tenant, name, version, digest, size, manifest,
        imports, exports, published_by, published_ms)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING";
    const BLOB: &str = "INSERT INTO blobs (tenant, digest, bytes) VALUES ($1, $2, $3)
        ON CONFLICT DO NOTHING";
    let PluginRow { manifest, digest, size, imports, exports, published_by, published_ms } = plugin;
    let json = |list: &[String]| serde_json::json!(list).to_string();
    let key = args![tenant, manifest.name.as_str(), manifest.version.to_string(), digest, *size];
    let values = args![
        serde_json::json!(manifest).to_string(),
        json(imports),
        json(exports),
        published_by,
        *published_ms
    ];
    if tx.run(PLUGIN, [key, values].concat()).await? == 0 {
        return Ok(false);
    }
    tx.run(BLOB, args![tenant, digest, module]).await?;
    Ok(true)
}

/// One version.
pub(crate) async fn find(
    tx: &mut Tx,
    tenant: &TenantId,
    name: &str,
    version: &str,
) -> Result<Option<PluginRow>> {
    const SELECT: &str = select!("WHERE tenant = $1 AND name = $2 AND version = $3");
    tx.row(SELECT, args![tenant, name, version]).await?.as_ref().map(PluginRow::read).transpose()
}

/// A module by its digest.
pub(crate) async fn module(
    tx: &mut Tx,
    tenant: &TenantId,
    digest: Digest,
) -> Result<Option<Vec<u8>>> {
    const SELECT: &str = "SELECT bytes FROM blobs WHERE tenant = $1 AND digest = $2";
    let row = tx.row(SELECT, args![tenant, &digest]).await?;
    row.map(|row| row.bytes("bytes")).transpose()
}

/// All versions of a plugin, newest version first.
pub(crate) async fn versions(tx: &mut Tx, tenant: &TenantId, name: &str) -> Result<Vec<PluginRow>> {
    const SELECT: &str = select!("WHERE tenant = $1 AND name = $2");
    let rows = tx.rows(SELECT, args![tenant, name]).await?;
    let mut versions: Vec<PluginRow> = rows.iter().map(PluginRow::read).collect::<Result<_>>()?;
    versions.sort_by(|a, b| b.manifest.version.cmp(&a.manifest.version));
    Ok(versions)
}

/// Versions in the order of name and version text, after `after`, at most `limit`.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    after: (&str, &str),
    limit: u32,
) -> Result<Vec<PluginRow>> {
    const SELECT: &str = select!(
        "WHERE tenant = $1 AND (name > $2 OR (name = $2 AND version > $3))
         ORDER BY name, version LIMIT $4"
    );
    let rows = tx.rows(SELECT, args![tenant, after.0, after.1, limit]).await?;
    rows.iter().map(PluginRow::read).collect()
}
