//! The registry: published plugin versions, and their modules by content.

use openclaw_protocol::api::ProblemItem;
use openclaw_protocol::id::{Digest, TenantId};
use openclaw_protocol::plugin::Manifest;

use super::{Result, Row, Tx, args};

/// A published version.
#[derive(Debug, Clone)]
pub(crate) struct PluginRow {
    pub(crate) manifest: Manifest,
    /// `plugin.toml` as published; empty for what was published before it was kept.
    pub(crate) source: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
    pub(crate) published_by: String,
    pub(crate) published_ms: i64,
    /// What the validator noticed.
    pub(crate) warnings: Vec<ProblemItem>,
    /// Permissions that wait for approval; the version is not used until there are none.
    pub(crate) unapproved: Vec<String>,
    /// Who approved its permissions, and when.
    pub(crate) approved: Option<(String, i64)>,
    /// Why it is yanked.
    pub(crate) yanked: Option<String>,
    /// What to use instead.
    pub(crate) deprecated: Option<String>,
    /// Id of a publisher's key, and the signature in hexadecimal.
    pub(crate) signature: Option<(String, String)>,
}

impl PluginRow {
    fn read(row: &Row) -> Result<Self> {
        let digest = Digest::parse(&row.text("digest")?);
        Ok(Self {
            manifest: row.json("manifest")?,
            source: row.text("source")?,
            digest: digest.map_err(|e| super::row::unreadable("digest", e.to_string()))?,
            size: row.count("size")?,
            imports: row.json("imports")?,
            exports: row.json("exports")?,
            published_by: row.text("published_by")?,
            published_ms: row.int("published_ms")?,
            warnings: row.json("warnings")?,
            unapproved: row.json("unapproved")?,
            approved: row.opt_text("approved_by")?.zip(row.opt_int("approved_ms")?),
            yanked: row.opt_text("yanked")?,
            deprecated: row.opt_text("deprecated")?,
            signature: row.opt_text("signed_by")?.zip(row.opt_text("signature")?),
        })
    }

    /// Whether a deployment may take it.
    pub(crate) fn is_ready(&self) -> bool {
        self.yanked.is_none() && self.unapproved.is_empty()
    }

    /// `name@version`.
    pub(crate) fn title(&self) -> String {
        format!("{}@{}", self.manifest.name, self.manifest.version)
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT manifest, source, digest, size, imports, exports, published_by, published_ms,
             warnings, unapproved, approved_by, approved_ms, yanked, deprecated, signed_by,
             signature FROM plugins ",
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
        source, imports, exports, published_by, published_ms, category, tags, words, warnings,
        unapproved, approved_by, approved_ms, signed_by, signature)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
        $19, $20) ON CONFLICT DO NOTHING";
    const BLOB: &str = "INSERT INTO blobs (tenant, digest, bytes) VALUES ($1, $2, $3)
        ON CONFLICT DO NOTHING";
    let manifest = &plugin.manifest;
    let json = |list: &[String]| serde_json::json!(list).to_string();
    let (approved_by, approved_ms) = plugin.approved.clone().unzip();
    let (signed_by, signature) = plugin.signature.clone().unzip();
    let (category, tags, words) = searched(manifest);
    let key = args![
        tenant,
        manifest.name.as_str(),
        manifest.version.to_string(),
        &plugin.digest,
        plugin.size
    ];
    let said = args![
        serde_json::json!(manifest).to_string(),
        &plugin.source,
        json(&plugin.imports),
        json(&plugin.exports),
        &plugin.published_by,
        plugin.published_ms,
        category,
        tags,
        words,
    ];
    let judged = args![
        serde_json::json!(plugin.warnings).to_string(),
        json(&plugin.unapproved),
        approved_by,
        approved_ms,
        signed_by,
        signature,
    ];
    if tx.run(PLUGIN, [key, said, judged].concat()).await? == 0 {
        return Ok(false);
    }
    tx.run(BLOB, args![tenant, &plugin.digest, module]).await?;
    Ok(true)
}

/// What a manifest is found by: its category, its tags between `|`, and its words, in lower case.
fn searched(manifest: &Manifest) -> (String, String, String) {
    let category = manifest.category.to_lowercase();
    let mut tags = String::from("|");
    for tag in &manifest.tags {
        tags.push_str(&tag.to_lowercase());
        tags.push('|');
    }
    let Manifest { name, description, author, .. } = manifest;
    let words = format!("{name} {description} {author} {category} {tags}").to_lowercase();
    (category, tags, words)
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

/// What is looked for; an empty text is not.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// Words that all occur.
    pub(crate) words: Vec<String>,
    pub(crate) category: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) state: Option<&'static str>,
}

/// Words that a search looks for at most.
pub(crate) const SEARCH_WORDS: usize = 4;

/// Versions that are looked for, in the order of name and version text, after `after`, at most
/// `limit`.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    search: &Search,
    after: (&str, &str),
    limit: u32,
) -> Result<Vec<PluginRow>> {
    const SELECT: &str = select!(
        "WHERE tenant = $1 AND (name > $2 OR (name = $2 AND version > $3))
         AND words LIKE $5 ESCAPE '!' AND words LIKE $6 ESCAPE '!'
         AND words LIKE $7 ESCAPE '!' AND words LIKE $8 ESCAPE '!'
         AND ($9 IS NULL OR category = $9) AND tags LIKE $10 ESCAPE '!'
         AND ($11 IS NULL OR $11 = CASE WHEN yanked IS NOT NULL THEN 'yanked'
             WHEN unapproved <> '[]' THEN 'pending_approval' ELSE 'ready' END)
         ORDER BY name, version LIMIT $4"
    );
    let word = |at: usize| search.words.get(at).map_or_else(|| "%".to_owned(), |w| within(w));
    let tag = search
        .tag
        .as_deref()
        .map_or_else(|| "%".to_owned(), |tag| within(&format!("|{}|", tag.to_lowercase())));
    let values = args![
        tenant,
        after.0,
        after.1,
        limit,
        word(0),
        word(1),
        word(2),
        word(3),
        search.category.as_ref().map(|category| category.to_lowercase()),
        tag,
        search.state,
    ];
    tx.rows(SELECT, values).await?.iter().map(PluginRow::read).collect()
}

/// The pattern of `LIKE` for what contains a text.
fn within(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in text.to_lowercase().chars() {
        if matches!(letter, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

/// Writes down what is not its content: yanked, deprecated, approved.
pub(crate) async fn set_standing(tx: &mut Tx, tenant: &TenantId, plugin: &PluginRow) -> Result<()> {
    const UPDATE: &str = "UPDATE plugins SET unapproved = $4, approved_by = $5, approved_ms = $6,
        yanked = $7, deprecated = $8 WHERE tenant = $1 AND name = $2 AND version = $3";
    let PluginRow { manifest, unapproved, approved, yanked, deprecated, .. } = plugin;
    let (approved_by, approved_ms) = approved.clone().unzip();
    let key = args![tenant, manifest.name.as_str(), manifest.version.to_string()];
    let unapproved = serde_json::json!(unapproved).to_string();
    let values = args![unapproved, approved_by, approved_ms, yanked.clone(), deprecated.clone()];
    tx.run(UPDATE, [key, values].concat()).await.map(drop)
}
