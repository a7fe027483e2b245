//! The registry: publish, list, inspect.

use serde_json::json;

use openclaw_protocol::api::{Page, Plugin};
use openclaw_protocol::limits;
use openclaw_protocol::plugin::Manifest;
use openclaw_sandbox::{LoadError, ModuleInfo, STACK_BYTES, Sandbox, digest_of};

use super::page::{PageQuery, page};
use super::{Fault, Outcome, audit};
use crate::clock::rfc3339;
use crate::context::Context;
use crate::identity::Principal;
use crate::store::{self, plugins::PluginRow};

/// Bytes of a page of WebAssembly memory.
const PAGE_BYTES: u64 = 64 * 1024;

/// Lists all versions by name.
pub(crate) async fn list(
    ctx: &Context,
    who: &Principal,
    query: &PageQuery,
) -> Outcome<Page<Plugin>> {
    let limit = query.limit()?;
    let [name, version] = query.after()?.unwrap_or_default();
    let mut tx = ctx.db.read().await?;
    let after = (name.as_str(), version.as_str());
    let rows = store::plugins::list(&mut tx, &who.tenant, after, limit + 1).await?;
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
    let found = store::plugins::find(&mut tx, &who.tenant, name, version).await?;
    found.map(view).ok_or_else(|| Fault::not_found("plugin", format!("{name}@{version}")))
}

/// The module of one version.
pub(crate) async fn module(
    ctx: &Context,
    who: &Principal,
    name: &str,
    version: &str,
) -> Outcome<Vec<u8>> {
    let mut tx = ctx.db.read().await?;
    let found = store::plugins::find(&mut tx, &who.tenant, name, version).await?;
    let none = || Fault::not_found("plugin", format!("{name}@{version}"));
    let digest = found.ok_or_else(none)?.digest;
    let module = store::plugins::module(&mut tx, &who.tenant, digest).await?;
    module.ok_or_else(|| Fault::Internal(format!("the module of `{name}` {version} is gone")))
}

/// Publishes a version, after the device's own engine has taken the module. Publishing approves
/// the permissions in the manifest. The same again is answered with what is there; `true` means
/// that it is new.
pub(crate) async fn publish(
    ctx: &Context,
    who: &Principal,
    manifest: &str,
    module: Vec<u8>,
) -> Outcome<(Plugin, bool)> {
    let manifest = Manifest::from_toml(manifest)
        .map_err(|error| Fault::invalid("plugin.manifest", error.to_string()))?;
    let (module, info) = inspect(module).await?;
    check_fit(&manifest, &info)?;
    let now_ms = ctx.clock.now_ms();
    let row = PluginRow {
        digest: digest_of(&module),
        size: module.len() as u64,
        imports: info.imports.iter().map(|i| format!("{}.{}", i.module, i.name)).collect(),
        exports: info.exports,
        published_by: who.actor.clone(),
        published_ms: now_ms,
        manifest,
    };
    let (name, version) = (row.manifest.name.to_string(), row.manifest.version.to_string());
    let mut tx = ctx.db.write().await?;
    if store::plugins::insert(&mut tx, &who.tenant, &row, module).await? {
        let detail = json!({ "digest": row.digest, "permissions": row.manifest.permissions });
        let subject = format!("{name}@{version}");
        audit::note(&mut tx, who, "plugin.publish", &subject, detail, now_ms).await?;
        tx.commit().await?;
        return Ok((view(row), true));
    }
    let there = store::plugins::find(&mut tx, &who.tenant, &name, &version).await?;
    match there {
        Some(there) if there.digest == row.digest && there.manifest == row.manifest => {
            Ok((view(there), false))
        }
        Some(_) | None => Err(Fault::conflict(
            "plugin.exists",
            format!(
                "plugin `{name}` {version} is published with other content, and versions never \
                     change; raise the version"
            ),
        )),
    }
}

/// Looks at a module with the device's engine, on a thread with the stack that it wants.
async fn inspect(module: Vec<u8>) -> Outcome<(Vec<u8>, ModuleInfo)> {
    if module.len() > limits::MODULE_BYTES {
        let error = LoadError::TooLarge { bytes: module.len() };
        return Err(Fault::invalid("plugin.module", error.to_string()));
    }
    let (answer, waits) = tokio::sync::oneshot::channel();
    let task = move || {
        let info = Sandbox::inspect(&module);
        // Nobody waits any more if the client has gone; then there is nobody to tell.
        drop(answer.send((module, info)));
    };
    std::thread::Builder::new()
        .name("inspect".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(task)
        .map_err(|error| Fault::Internal(format!("a thread to look at the module: {error}")))?;
    let (module, info) = waits.await.map_err(|error| Fault::Internal(error.to_string()))?;
    let info = info.map_err(|error| Fault::invalid("plugin.module", error.to_string()))?;
    Ok((module, info))
}

/// Whether manifest and module fit each other.
fn check_fit(manifest: &Manifest, info: &ModuleInfo) -> Outcome<()> {
    for action in manifest.actions.keys() {
        let export = manifest.export_of(action).unwrap_or_default();
        if !info.exports.contains(&export) {
            let has = info.exports.join(", ");
            let detail = format!(
                "action `{action}` calls the export `{export}`, which the module does not have; it \
                 exports {has}"
            );
            return Err(Fault::invalid("plugin.export_missing", detail));
        }
    }
    let (needs, may) = (info.initial_pages * PAGE_BYTES, manifest.limits.memory_bytes);
    if needs > u64::from(may) {
        let detail = format!(
            "the module starts with {needs} bytes of memory, its manifest allows {may}; raise \
             `limits.memory_bytes`, or link with a smaller stack (`-zstack-size=32768`)"
        );
        return Err(Fault::invalid("plugin.memory", detail));
    }
    Ok(())
}

fn view(row: PluginRow) -> Plugin {
    Plugin {
        manifest: row.manifest,
        digest: row.digest.to_string(),
        size: row.size,
        published_at: rfc3339(row.published_ms),
        published_by: row.published_by,
        imports: row.imports,
        exports: row.exports,
    }
}
