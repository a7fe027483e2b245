//! Cases: examples beside a plugin that say what goes in, what the world around it is like, and what
//! must come out. `openclaw plugin test` and this repository's own tests run them; a device never does.
//!
//! The format is described in `docs/plugin-cases.md`. [`load_dir`] reads a plugin's cases,
//! [`Case::run`] calls the module with a [`Host`](crate::Host) that is made of the case alone, and
//! the [`Report`] says what differs, what the call cost, and which permissions it needed.

mod content;
mod differ;
mod format;
mod judge;
mod line;
mod used;
mod world;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::Manifest;

pub use self::content::Content;
pub use self::format::Case;
use self::world::World;
use crate::call::{Call, Outcome};
use crate::module::Module;
use crate::{Context, STACK_BYTES, Sandbox};

/// What came of a case.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What is not as the case says, a line each; empty where the case passed.
    pub differences: Vec<String>,
    /// What came of the call itself: output or failure, log, fuel and memory.
    pub outcome: Outcome,
    /// How often each function of the host was called. What is kept until the call has succeeded
    /// (`kv_set`, `kv_remove`, `mqtt_publish`) is counted as it came out.
    pub host_calls: VecMap<String, u32>,
    /// Permissions that the call made use of, as `kind:entry`.
    pub permissions_used: Vec<String>,
    /// Permissions that it had and made no use of. A plugin that needs none of them in any case asks
    /// for too much, or has a case too few.
    pub permissions_unused: Vec<String>,
}

impl Report {
    /// Whether everything is as the case says.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Why a case could not be run.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The file or directory cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is no case; the text says what is wrong, and where.
    #[error("{name}: {message}; docs/plugin-cases.md describes the format")]
    Format {
        /// The case's name.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// The manifest has no such action.
    #[error("the manifest has no action `{action}`; it has {there}")]
    Action {
        /// As the case names it.
        action: String,
        /// Those that there are.
        there: String,
    },
    /// No thread for the call.
    #[error("no thread for the call: {0}")]
    Thread(std::io::Error),
}

/// All cases of a directory, by file name without `.json`, in order.
///
/// # Errors
/// The directory or a file cannot be read, or a file is no case.
pub fn load_dir(dir: &Path) -> Result<Vec<(String, Case)>, CaseError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error| CaseError::Unreadable { path, error }
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable(dir))? {
        let path = entry.map_err(unreadable(dir))?.path();
        if path.extension().is_some_and(|e| e == "json") {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    let mut cases = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let case = Case::from_json(&name, &text)?;
        cases.push((name, case));
    }
    Ok(cases)
}

impl Case {
    /// Calls the module as the case says, in a world that is made of the case alone.
    ///
    /// # Errors
    /// The manifest has no such action, or there is no thread for the call. That the call fails, or
    /// is not as expected, is in the report.
    pub fn run(&self, manifest: &Manifest, module: &Arc<Module>) -> Result<Report, CaseError> {
        let action = self.action.as_deref().unwrap_or("execute");
        let export = manifest.export_of(action).ok_or_else(|| CaseError::Action {
            action: action.to_owned(),
            there: manifest.actions.keys().cloned().collect::<Vec<_>>().join(", "),
        })?;
        let permissions = self.permissions.as_ref().unwrap_or(&manifest.permissions);
        let input = serde_json::to_vec(&self.input).unwrap_or_default();
        let call = || Call {
            export: &export,
            input: &input,
            config: &self.config,
            vars: VecMap::new(),
            limits: manifest.limits,
            permissions,
            context: self.context(),
            record: None,
        };
        let mut world = World::new(self, permissions);
        // With the native stack that the sandbox asks for, as a worker of the agent has it.
        let outcome = std::thread::scope(|scope| {
            let run = || Sandbox::new().run(module, call(), &mut world, &|| None);
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            let joined = thread.spawn_scoped(scope, run)?.join();
            joined.map_err(|_| std::io::Error::other("the call panicked"))
        });
        let outcome = outcome.map_err(CaseError::Thread)?;
        Ok(judge::judge(self, world, outcome))
    }

    /// The same for every case, so that what depends on it can be expected.
    fn context(&self) -> Context {
        Context {
            run: "run-1".to_owned(),
            step: "read".to_owned(),
            attempt: self.attempt.unwrap_or(1),
            idempotency_key: "key-1".to_owned(),
            interrupted: false,
            deadline_ms: None,
        }
    }
}

#[cfg(test)]
mod tests;
