//! A look at a module that is not published yet, by the device's own sandbox: what it imports and
//! exports, the memory it starts with, and which permissions it can make use of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openclaw_protocol::plugin::Manifest;
use openclaw_sandbox::{Import, LoadError, Module, ModuleInfo, STACK_BYTES, Sandbox, digest_of};
use serde::Serialize;

use super::{MANIFEST, MODULE, manifest};
use crate::exit::{FAILED, Failure, INVALID, NOT_FOUND};
use crate::output::{self, Format, printable};

/// Bytes of a page of linear memory.
const PAGE: u64 = 64 * 1024;

/// What a module is like.
#[derive(Debug, Serialize)]
pub(crate) struct Look {
    /// `NAME@VERSION`, where there is a manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
    path: PathBuf,
    bytes: usize,
    sha256: String,
    imports: Vec<String>,
    exports: Vec<String>,
    functions: u32,
    memory_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes_max: Option<u64>,
    /// Kinds of permission that its imports may make use of.
    permissions_needed: Vec<&'static str>,
    /// What its manifest asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions_asked: Option<Vec<String>>,
    /// What may be meant otherwise.
    warnings: Vec<String>,
}

/// Whether `plugin inspect` is about a file of this machine: a directory with a manifest, or what
/// ends in `.wasm`. No name in a registry has such an end.
pub(crate) fn is_local(text: &str) -> bool {
    let path = Path::new(text);
    path.extension().is_some_and(|e| e == "wasm")
        || path.join(MANIFEST).is_file()
        || text.contains('/')
        || text == "."
}

/// `openclaw plugin inspect` of a module or a plugin's directory.
pub(crate) fn inspect(format: Format, text: &str) -> Result<(), Failure> {
    let path = Path::new(text);
    if !path.exists() {
        return Err(Failure::new(NOT_FOUND, format!("there is no {text} here"))
            .hint("name a module or a plugin's directory; NAME alone is one that is published"));
    }
    let (module, dir) = if path.is_dir() {
        (path.join(MODULE), path)
    } else {
        (path.to_owned(), path.parent().unwrap_or(Path::new("")))
    };
    let manifest = dir.join(MANIFEST).is_file().then(|| manifest(dir)).transpose()?;
    print(format, &at(&module, manifest.as_ref())?)
}

/// Looks at a module, beside its manifest where there is one.
pub(super) fn at(path: &Path, manifest: Option<&Manifest>) -> Result<Look, Failure> {
    let (module, bytes) = load(path)?;
    if let Some(manifest) = manifest {
        check_actions(&module, manifest)?;
    }
    let info = module.info();
    let needed = needed(info);
    Ok(Look {
        plugin: manifest.map(|m| format!("{}@{}", m.name, m.version)),
        path: path.to_owned(),
        bytes: bytes.len(),
        sha256: module.digest().to_string(),
        imports: info.imports.iter().map(|i| format!("{}.{}", i.module, i.name)).collect(),
        exports: info.exports.clone(),
        functions: info.functions,
        memory_bytes: info.initial_pages * PAGE,
        memory_bytes_max: info.maximum_pages.map(|pages| pages.saturating_mul(PAGE)),
        warnings: manifest.map_or_else(Vec::new, |m| warnings(&module, m)),
        permissions_needed: needed.into_iter().collect(),
        permissions_asked: manifest.map(|m| m.permissions.missing_from(&Default::default())),
    })
}

/// The module, as a device makes it ready.
pub(super) fn load(path: &Path) -> Result<(Arc<Module>, Vec<u8>), Failure> {
    let bytes = std::fs::read(path).map_err(|e| {
        Failure::new(FAILED, format!("cannot read {}: {e}", path.display()))
            .hint("run `openclaw plugin build` first")
    })?;
    let made = with_stack(|| Sandbox::new().load(digest_of(&bytes), &bytes))?;
    let module = made.map_err(|e: LoadError| {
        Failure::new(INVALID, format!("no device would take {}: {e}", path.display()))
    })?;
    Ok((module, bytes))
}

/// On a thread with the native stack that the sandbox asks for.
fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Failure> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let joined = thread.spawn_scoped(scope, work)?.join();
        joined.map_err(|_| Failure::new(FAILED, "the sandbox panicked; report it with the module"))
    })
}

fn check_actions(module: &Module, manifest: &Manifest) -> Result<(), Failure> {
    let missing: Vec<String> = manifest
        .actions
        .keys()
        .filter_map(|action| {
            let export = manifest.export_of(action)?;
            (!module.is_action(&export)).then(|| format!("{action}: no export `{export}`"))
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::new(INVALID, "actions of plugin.toml are not in the module").hint(
        "an action is an exported function without parameters that returns nothing or an i32",
    );
    failure.details = missing;
    Err(failure)
}

/// The kinds of permission that a module may make use of.
fn needed(info: &ModuleInfo) -> BTreeSet<&'static str> {
    info.imports.iter().filter_map(Import::permission).collect()
}

/// Where manifest and module say different things.
fn warnings(module: &Module, manifest: &Manifest) -> Vec<String> {
    let needed = needed(module.info());
    let asked: BTreeSet<&str> = manifest.permissions.kinds().into_iter().collect();
    let denied = needed.difference(&asked).map(|kind| {
        format!("the module can ask for {kind}, plugin.toml does not: such a call is denied")
    });
    let idle = asked
        .difference(&needed)
        .map(|kind| format!("plugin.toml asks for {kind}, and the module has no use for it"));
    let memory = module.info().initial_pages * PAGE;
    let small = (memory > u64::from(manifest.limits.memory_bytes)).then(|| {
        format!(
            "the module starts with {memory} bytes of memory, limits.memory_bytes of plugin.toml \
             is {}: no call would begin",
            manifest.limits.memory_bytes
        )
    });
    denied.chain(idle).chain(small).collect()
}

/// Prints a look; warnings go to standard error.
pub(super) fn print(format: Format, look: &Look) -> Result<(), Failure> {
    output::print(format, look, &["what", "value"], rows)?;
    if format == Format::Table {
        for warning in &look.warnings {
            eprintln!("warning: {}", printable(warning));
        }
    }
    Ok(())
}

fn rows(look: &Look) -> Vec<Vec<String>> {
    let row = |what: &str, value: String| vec![what.to_owned(), value];
    let listed = |list: &[String]| match list {
        [] => "nothing".to_owned(),
        list => list.join(", "),
    };
    let most = look.memory_bytes_max.map_or_else(String::new, |max| format!(", at most {max}"));
    let needed = look.permissions_needed.iter().map(|kind| (*kind).to_owned()).collect::<Vec<_>>();
    let mut rows = Vec::new();
    rows.extend(look.plugin.clone().map(|plugin| row("plugin", plugin)));
    rows.extend([
        row("module", look.path.display().to_string()),
        row("size", format!("{} bytes, {} functions", look.bytes, look.functions)),
        row("sha-256", look.sha256.clone()),
        row("memory", format!("starts with {} bytes{most}", look.memory_bytes)),
        row("exports", listed(&look.exports)),
        row("imports", listed(&look.imports)),
        row("can use", listed(&needed)),
    ]);
    rows.extend(look.permissions_asked.as_ref().map(|asked| row("asks for", listed(asked))));
    rows.push(row("sandbox", "takes it".to_owned()));
    rows
}
