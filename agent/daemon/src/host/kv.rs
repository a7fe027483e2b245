//! What a plugin remembers, as one of its calls sees it: what is durable.

use openclaw_agent_core::PluginTask;
use openclaw_sandbox::{HostError, KvScope};

use crate::store::{Blobs, KvPlace, StoreError};

/// Whose memory a scope is for a call.
pub(crate) fn place(task: &PluginTask, scope: KvScope) -> KvPlace {
    let workflow = match scope {
        KvScope::Workflow => Some(task.workflow.clone()),
        KvScope::Plugin => None,
    };
    KvPlace { plugin: task.pin.name.to_string(), workflow }
}

/// The memory of a call's plugin.
#[derive(Clone, Copy)]
pub(super) struct Memory<'a> {
    pub(super) store: &'a Blobs,
    pub(super) task: &'a PluginTask,
}

impl Memory<'_> {
    pub(super) fn get(&self, scope: KvScope, key: &str) -> Result<Vec<u8>, HostError> {
        let value = self.store.kv_get(&place(self.task, scope), key).map_err(|e| failed(&e))?;
        value.ok_or_else(|| HostError::NotFound("no such key".to_owned()))
    }

    /// See [`openclaw_sandbox::Ask::KvList`].
    pub(super) fn list(&self, scope: KvScope) -> Result<Vec<u8>, HostError> {
        let keys = self.store.kv_list(&place(self.task, scope)).map_err(|e| failed(&e))?;
        let mut list = Vec::new();
        for (key, bytes) in keys {
            list.extend_from_slice(format!("{key}\0{bytes}\0").as_bytes());
        }
        Ok(list)
    }
}

fn failed(error: &StoreError) -> HostError {
    HostError::Failed(format!("what is remembered cannot be read: {error}"))
}
