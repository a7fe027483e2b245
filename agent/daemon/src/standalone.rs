//! The agent alone: workflows and plugins from directories, with no control plane at all.
//!
//! Whoever may write to these directories decides what runs, so a plugin has every permission
//! that its manifest asks for, narrowed as always by the agent's own configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use openclaw_agent_core::Deployed;
use openclaw_protocol::definition::{self, PluginCall};
use openclaw_protocol::desired::PluginPin;
use openclaw_protocol::id::Digest;
use openclaw_protocol::limits as shared;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::Manifest;

use crate::config::Standalone;
use crate::limits;
use crate::offers::Offers;

/// What the directories hold.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Workflows, each with its plugins.
    pub deployed: Vec<Deployed>,
    /// The modules they need.
    pub modules: Vec<(Digest, Vec<u8>)>,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct StandaloneError {
    path: PathBuf,
    reason: String,
}

struct Plugin {
    manifest: Manifest,
    digest: Digest,
    module: Vec<u8>,
}

/// Reads everything. Workflows that need what the device does not have are no workflows for it.
///
/// # Errors
/// Names the first file that cannot be used; half a set of workflows is worse than none.
pub fn load(config: &Standalone, offers: Offers<'_>) -> Result<Loaded, StandaloneError> {
    let plugins = match &config.plugins {
        Some(dir) => load_plugins(dir)?,
        None => Vec::new(),
    };
    let mut loaded = Loaded::default();
    let mut modules: VecMap<Digest, &Plugin> = VecMap::new();
    for path in entries(&config.workflows)? {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if !matches!(extension, "yaml" | "yml" | "json") {
            continue;
        }
        let bytes = read(&path, shared::DOCUMENT_BYTES)?;
        let text = String::from_utf8(bytes).map_err(|e| wrong(&path, &e))?;
        let workflow = definition::parse(&text).map_err(|e| wrong(&path, &e))?;
        let twice = |d: &Deployed| d.workflow.name == workflow.name;
        if loaded.deployed.iter().any(twice) {
            return Err(wrong(&path, &format!("there is another workflow `{}`", workflow.name)));
        }
        if let Some((_, message)) = offers.lacks(&workflow) {
            return Err(wrong(&path, &message));
        }
        let mut pins = VecMap::new();
        for (reference, call) in workflow.plugin_refs() {
            let plugin = choose(&plugins, call).map_err(|e| wrong(&path, &e))?;
            modules.insert(plugin.digest, plugin);
            pins.insert(reference, Arc::new(pin(plugin)));
        }
        loaded.deployed.push(Deployed {
            workflow: Arc::new(workflow),
            pins,
            triggers_enabled: true,
        });
    }
    loaded.modules = modules.into_values().map(|p| (p.digest, p.module.clone())).collect();
    Ok(loaded)
}

fn load_plugins(dir: &Path) -> Result<Vec<Plugin>, StandaloneError> {
    let mut plugins = Vec::new();
    for path in entries(dir)? {
        let manifest_path = path.join("plugin.toml");
        if !manifest_path.exists() {
            continue;
        }
        let text = read(&manifest_path, shared::DOCUMENT_BYTES)?;
        let text = String::from_utf8(text).map_err(|e| wrong(&manifest_path, &e))?;
        let manifest = Manifest::from_toml(&text).map_err(|e| wrong(&manifest_path, &e))?;
        let module = read(&path.join("plugin.wasm"), shared::MODULE_BYTES)?;
        plugins.push(Plugin { manifest, digest: openclaw_sandbox::digest_of(&module), module });
    }
    Ok(plugins)
}

/// The newest version that fits and has the action.
fn choose<'p>(plugins: &'p [Plugin], call: &PluginCall) -> Result<&'p Plugin, String> {
    plugins
        .iter()
        .filter(|p| p.manifest.name == call.plugin && call.range.matches(&p.manifest.version))
        .filter(|p| p.manifest.actions.contains_key(&call.action))
        .max_by(|a, b| a.manifest.version.cmp(&b.manifest.version))
        .ok_or_else(|| format!("no plugin here fits `{}`", call.reference()))
}

fn pin(plugin: &Plugin) -> PluginPin {
    let Manifest { name, version, permissions, limits, actions, .. } = &plugin.manifest;
    let export = |action: &String| {
        (action.clone(), plugin.manifest.export_of(action).unwrap_or_else(|| action.clone()))
    };
    PluginPin {
        name: name.clone(),
        version: version.to_string(),
        digest: plugin.digest,
        size: u32::try_from(plugin.module.len()).unwrap_or(u32::MAX),
        actions: actions.keys().map(export).collect(),
        granted: permissions.clone(),
        limits: *limits,
    }
}

/// The entries of a directory, by name.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, StandaloneError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| wrong(dir, &e))? {
        paths.push(entry.map_err(|e| wrong(dir, &e))?.path());
        if paths.len() > limits::STANDALONE_ENTRIES {
            let most = limits::STANDALONE_ENTRIES;
            return Err(wrong(dir, &format!("there are more than {most} entries")));
        }
    }
    openclaw_protocol::ordered::sort(&mut paths);
    Ok(paths)
}

fn read(path: &Path, most: usize) -> Result<Vec<u8>, StandaloneError> {
    let size = std::fs::metadata(path).map_err(|e| wrong(path, &e))?.len();
    if size > most as u64 {
        return Err(wrong(path, &format!("{size} bytes, the most is {most}")));
    }
    std::fs::read(path).map_err(|e| wrong(path, &e))
}

fn wrong(path: &Path, reason: &dyn std::fmt::Display) -> StandaloneError {
    StandaloneError { path: path.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(mqtt: bool) -> Offers<'static> {
        Offers { files: &[], mqtt, webhook: crate::webhook::Offer::default() }
    }

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";

    fn world() -> (tempfile::TempDir, Standalone) {
        let dir = tempfile::tempdir().unwrap();
        let config = Standalone {
            workflows: dir.path().join("workflows"),
            plugins: Some(dir.path().join("plugins")),
        };
        std::fs::create_dir_all(&config.workflows).unwrap();
        for version in ["1.0.0", "1.2.0", "2.0.0"] {
            let plugin = dir.path().join("plugins").join(version);
            std::fs::create_dir_all(&plugin).unwrap();
            let manifest = format!("name='echo'\nversion='{version}'\ndescription='d'\n");
            std::fs::write(plugin.join("plugin.toml"), manifest).unwrap();
            let mut module = MODULE.to_vec();
            module.extend_from_slice(&[0, 2, 1, version.as_bytes()[0]]);
            std::fs::write(plugin.join("plugin.wasm"), module).unwrap();
        }
        (dir, config)
    }

    fn write(config: &Standalone, name: &str, plugin: &str) {
        let text = format!("workflow: {name}\nsteps:\n  - id: a\n    plugin: {plugin}\n");
        std::fs::write(config.workflows.join(format!("{name}.yaml")), text).unwrap();
    }

    #[test]
    fn the_newest_fitting_version_is_taken() {
        let (_dir, config) = world();
        write(&config, "one", "echo@^1");
        std::fs::write(config.workflows.join("README.md"), "not a workflow").unwrap();
        let loaded = load(&config, offers(false)).unwrap();
        assert_eq!(loaded.deployed.len(), 1);
        let pins: Vec<_> = loaded.deployed[0].pins.iter().collect();
        assert_eq!((pins[0].0.as_str(), pins[0].1.version.as_str()), ("echo.execute@^1", "1.2.0"));
        assert_eq!(loaded.modules.len(), 1);
    }

    #[test]
    fn what_needs_a_broker_is_refused_without_one() {
        let (_dir, config) = world();
        let say =
            "triggers:\n  - { id: heat, mqtt: site/temp }\nsteps:\n  - { id: a, delay: 1s }\n";
        let path = config.workflows.join("hot.yaml");
        std::fs::write(path, format!("workflow: hot\n{say}")).unwrap();
        let error = load(&config, offers(false)).unwrap_err().to_string();
        for part in ["hot.yaml", "trigger `heat`", "[local_broker]"] {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(load(&config, offers(true)).unwrap().deployed.len(), 1);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (name, plugin, part) in [
            ("a", "echo@^3", "no plugin here fits"),
            ("b", "echo.fly@1", "echo.fly"),
            ("c", "[", "E_"),
        ] {
            let (_dir, config) = world();
            write(&config, name, plugin);
            let error = load(&config, offers(false)).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(&format!("{name}.yaml")), "{error}");
        }
        let nowhere = Standalone { workflows: "/nowhere".into(), plugins: None };
        assert!(load(&nowhere, offers(false)).unwrap_err().to_string().contains("/nowhere"));
    }
}
