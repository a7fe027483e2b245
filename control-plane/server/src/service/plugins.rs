//! The registry: publish, find, search. Versions never change; what may change about one is in
//! `standing.rs`.

mod check;
pub(crate) mod needs;
pub(crate) mod standing;

use serde::Deserialize;
use serde_json::json;

use openclaw_protocol::api::{Page, Plugin, PluginSignature, PluginState, ProblemItem, Role};
use openclaw_protocol::id::{Digest, TenantId};
use openclaw_protocol::limits;
use openclaw_protocol::plugin::{Manifest, statement};
use openclaw_sandbox::{LoadError, ModuleInfo, STACK_BYTES, Sandbox, digest_of};

use super::page::{PageQuery, page};
use super::{Fault, Outcome, audit, publisher_keys};
use crate::clock::rfc3339;
use crate::config;
use crate::context::Context;
use crate::identity::Principal;
use crate::store::plugins::{PluginRow, SEARCH_WORDS, Search};
use crate::store::{self, Tx};

/// Which published versions are wanted.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PluginQuery {
    /// Words that all occur in name, description, author, category or tags; at most four.
    q: Option<String>,
    /// Only of this category.
    category: Option<String>,
    /// Only with this tag.
    tag: Option<String>,
    /// Only in this state.
    state: Option<PluginState>,
    /// Entries at most: 1 to 200, 50 where absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What is published.
#[derive(Debug)]
pub(crate) struct Upload {
    /// `plugin.toml`.
    pub(crate) manifest: String,
    /// The module.
    pub(crate) module: Vec<u8>,
    /// The publisher's signature over both.
    pub(crate) signature: Option<PluginSignature>,
}

/// Lists versions by name, all or those that are looked for.
pub(crate) async fn list(
    ctx: &Context,
    who: &Principal,
    query: PluginQuery,
) -> Outcome<Page<Plugin>> {
    let PluginQuery { q, category, tag, state, limit, cursor } = query;
    let pages = PageQuery { limit, cursor };
    let limit = pages.limit()?;
    let [name, version] = pages.after()?.unwrap_or_default();
    let words: Vec<String> =
        q.iter().flat_map(|q| q.split_whitespace()).map(str::to_owned).collect();
    if words.len() > SEARCH_WORDS {
        let detail = format!("`q` has at most {SEARCH_WORDS} words; leave some out");
        return Err(Fault::BadRequest(detail));
    }
    let search = Search { words, category, tag, state: state.map(state_name) };
    let mut tx = ctx.db.read().await?;
    let after = (name.as_str(), version.as_str());
    let rows = store::plugins::list(&mut tx, &who.tenant, &search, after, limit + 1).await?;
    let key =
        |row: &PluginRow| vec![row.manifest.name.to_string(), row.manifest.version.to_string()];
    Ok(page(rows, limit, key, view))
}

/// All versions of one plugin, newest first.
pub(crate) async fn versions(ctx: &Context, who: &Principal, name: &str) -> Outcome<Page<Plugin>> {
    let mut tx = ctx.db.read().await?;
    let rows = store::plugins::versions(&mut tx, &who.tenant, name).await?;
    if rows.is_empty() {
        return Err(Fault::not_found("plugin", name));
    }
    Ok(Page { items: rows.into_iter().map(view).collect(), next_cursor: None })
}

/// One version.
pub(crate) async fn find(
    ctx: &Context,
    who: &Principal,
    name: &str,
    version: &str,
) -> Outcome<Plugin> {
    let mut tx = ctx.db.read().await?;
    require(&mut tx, &who.tenant, name, version).await.map(view)
}

async fn require(tx: &mut Tx, tenant: &TenantId, name: &str, version: &str) -> Outcome<PluginRow> {
    let found = store::plugins::find(tx, tenant, name, version).await?;
    found.ok_or_else(|| Fault::not_found("plugin", format!("{name}@{version}")))
}

/// The module of one version, with its digest.
pub(crate) async fn module(
    ctx: &Context,
    who: &Principal,
    name: &str,
    version: &str,
) -> Outcome<(Digest, Vec<u8>)> {
    let mut tx = ctx.db.read().await?;
    let digest = require(&mut tx, &who.tenant, name, version).await?.digest;
    let module = store::plugins::module(&mut tx, &who.tenant, digest).await?;
    let module = module
        .ok_or_else(|| Fault::Internal(format!("the module of `{name}` {version} is gone")))?;
    verified(digest, module)
}

/// A module of the tenant by its digest.
pub(crate) async fn module_by_digest(
    ctx: &Context,
    who: &Principal,
    text: &str,
) -> Outcome<(Digest, Vec<u8>)> {
    let none = || Fault::not_found("module", text);
    let digest = Digest::parse(text).map_err(|_| none())?;
    let mut tx = ctx.db.read().await?;
    let module = store::plugins::module(&mut tx, &who.tenant, digest).await?;
    verified(digest, module.ok_or_else(none)?)
}

/// What is read is what was published, or nothing.
fn verified(digest: Digest, module: Vec<u8>) -> Outcome<(Digest, Vec<u8>)> {
    if digest_of(&module) == digest {
        return Ok((digest, module));
    }
    Err(Fault::Internal(format!(
        "the module {digest} is not what was published; put the database's last backup in place"
    )))
}

/// `plugin.toml` of one version, as its author wrote it: what its signature is over.
pub(crate) async fn manifest(
    ctx: &Context,
    who: &Principal,
    name: &str,
    version: &str,
) -> Outcome<String> {
    let mut tx = ctx.db.read().await?;
    let row = require(&mut tx, &who.tenant, name, version).await?;
    if row.source.is_empty() {
        return Err(Fault::not_found("manifest as written of", row.title()));
    }
    Ok(row.source)
}

/// Publishes a version, after the device's own engine has taken the module. Where it asks for more
/// than is approved for this plugin, it waits for an admin, who may `approve` at once. The same
/// again is answered with what is there; `true` means that it is new.
pub(crate) async fn publish(
    ctx: &Context,
    who: &Principal,
    upload: Upload,
    approve: bool,
) -> Outcome<(Plugin, bool)> {
    if approve && who.role < Role::Admin {
        let detail = "only an admin may approve what a plugin may touch; publish without \
                      approving, and ask one";
        return Err(Fault::Forbidden(detail.to_owned()));
    }
    let Upload { manifest: source, module, signature } = upload;
    let manifest = Manifest::from_toml(&source)
        .map_err(|error| Fault::invalid("plugin.manifest", error.to_string()))?;
    let looked = inspect(manifest, module, ctx.config.plugins.clone()).await?;
    let Looked { manifest, module, info, warnings } = looked;
    let digest = digest_of(&module);
    let said = statement(&manifest.name, &manifest.version, digest, digest_of(source.as_bytes()));
    let now_ms = ctx.clock.now_ms();
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    let (name, version) = (manifest.name.to_string(), manifest.version.to_string());
    if let Some(there) = store::plugins::find(&mut tx, &who.tenant, &name, &version).await? {
        return again(there, digest, &manifest);
    }
    let signature = match &signature {
        Some(signature) => {
            Some(publisher_keys::verify(&mut tx, &who.tenant, &said, signature).await?)
        }
        None if ctx.config.plugins.require_signatures => return Err(unsigned()),
        None => None,
    };
    check::refuse_if_any(needs::check(&mut tx, &who.tenant, &manifest).await?)?;
    let others = store::plugins::versions(&mut tx, &who.tenant, &name).await?;
    let beyond = standing::beyond(&manifest, &others);
    let is_approved = approve && !beyond.is_empty();
    let row = PluginRow {
        source,
        digest,
        size: module.len() as u64,
        imports: info.imports.iter().map(|i| format!("{}.{}", i.module, i.name)).collect(),
        exports: info.exports,
        published_by: who.actor.clone(),
        published_ms: now_ms,
        warnings,
        approved: is_approved.then(|| (who.actor.clone(), now_ms)),
        unapproved: if is_approved { Vec::new() } else { beyond.clone() },
        yanked: None,
        deprecated: None,
        signature,
        manifest,
    };
    store::plugins::insert(&mut tx, &who.tenant, &row, module).await?;
    if is_approved {
        standing::lift_others(&mut tx, &who.tenant, &name).await?;
    }
    let detail = json!({ "digest": row.digest, "permissions": row.manifest.permissions,
        "beyond_approved": beyond, "approved": is_approved,
        "signed_by": row.signature.as_ref().map(|(key, _)| key) });
    audit::note(&mut tx, who, "plugin.publish", &row.title(), detail, now_ms).await?;
    tx.commit().await?;
    Ok((view(row), true))
}

/// The answer to a version that is there already.
fn again(there: PluginRow, digest: Digest, manifest: &Manifest) -> Outcome<(Plugin, bool)> {
    if there.digest == digest && there.manifest == *manifest {
        return Ok((view(there), false));
    }
    let (name, version) = (&manifest.name, &manifest.version);
    let detail = format!(
        "plugin `{name}` {version} is published with other content, and versions never change; \
         raise the version"
    );
    Err(Fault::conflict("plugin.exists", detail))
}

fn unsigned() -> Fault {
    let detail = "this control plane takes signed plugins only; sign it with `openclaw plugin sign`, \
                  with a key that an admin has added";
    Fault::invalid("plugin.unsigned", detail)
}

/// An upload that was looked at and not refused.
struct Looked {
    manifest: Manifest,
    module: Vec<u8>,
    info: ModuleInfo,
    warnings: Vec<ProblemItem>,
}

/// Looks at a module with the device's engine, and at its manifest beside it, on a thread with the
/// stack that the engine wants.
async fn inspect(manifest: Manifest, module: Vec<u8>, policy: config::Plugins) -> Outcome<Looked> {
    if module.len() > limits::MODULE_BYTES {
        return Err(unloadable(&LoadError::TooLarge { bytes: module.len() }));
    }
    let (answer, waits) = tokio::sync::oneshot::channel();
    let task = move || {
        let looked = Sandbox::inspect(&module).map_err(|error| unloadable(&error));
        let looked = looked.and_then(|info| {
            let warnings = check::check(&manifest, &info, &policy).outcome()?;
            Ok(Looked { manifest, module, info, warnings })
        });
        // Nobody waits any more if the client has gone; then there is nobody to tell.
        drop(answer.send(looked));
    };
    std::thread::Builder::new()
        .name("inspect".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(task)
        .map_err(|error| Fault::Internal(format!("a thread to look at the module: {error}")))?;
    waits.await.map_err(|error| Fault::Internal(error.to_string()))?
}

fn unloadable(error: &LoadError) -> Fault {
    let code = match error {
        LoadError::Imports(_) => "plugin.imports",
        LoadError::TooLarge { .. }
        | LoadError::Digest { .. }
        | LoadError::Invalid(_)
        | LoadError::Unsupported(_)
        | LoadError::Engine => "plugin.module",
    };
    Fault::invalid(code, error.to_string())
}

const fn state_name(state: PluginState) -> &'static str {
    match state {
        PluginState::Ready => "ready",
        PluginState::PendingApproval => "pending_approval",
        PluginState::Yanked => "yanked",
    }
}

fn view(row: PluginRow) -> Plugin {
    let state = match (&row.yanked, row.unapproved.is_empty()) {
        (Some(_), _) => PluginState::Yanked,
        (None, false) => PluginState::PendingApproval,
        (None, true) => PluginState::Ready,
    };
    let (approved_by, approved_ms) = row.approved.unzip();
    Plugin {
        manifest: row.manifest,
        digest: row.digest.to_string(),
        size: row.size,
        published_at: rfc3339(row.published_ms),
        published_by: row.published_by,
        imports: row.imports,
        exports: row.exports,
        state,
        warnings: row.warnings,
        unapproved: row.unapproved,
        approved_by,
        approved_at: approved_ms.map(rfc3339),
        yanked: row.yanked,
        deprecated: row.deprecated,
        signature: row.signature.map(|(key, signature)| PluginSignature { key, signature }),
    }
}
