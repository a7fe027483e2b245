//! Modules kept ready, the least recently used thrown out first.

use std::sync::Arc;

use openclaw_protocol::id::Digest;

use crate::limits;
use crate::module::Module;

/// A few modules by digest, the most recently used last. There are so few of them that a list
/// in order is both the map and the order.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    modules: Vec<Arc<Module>>,
}

impl Cache {
    /// The module, unless its engine failed since.
    pub(crate) fn find(&mut self, digest: Digest) -> Option<Arc<Module>> {
        self.modules.retain(|m| !m.is_broken());
        let at = self.modules.iter().position(|m| m.digest() == digest)?;
        let module = self.modules.remove(at);
        self.modules.push(Arc::clone(&module));
        Some(module)
    }

    /// Takes a module in and throws out what is over the limits.
    pub(crate) fn keep(&mut self, module: &Arc<Module>) {
        self.forget(module.digest());
        self.modules.push(Arc::clone(module));
        let mut bytes: usize = self.modules.iter().map(|m| m.info().bytes).sum();
        while self.modules.len() > 1
            && (self.modules.len() > limits::CACHED_MODULES || bytes > limits::CACHED_BYTES)
        {
            bytes -= self.modules.remove(0).info().bytes;
        }
    }

    /// Throws a module out.
    pub(crate) fn forget(&mut self, digest: Digest) {
        self.modules.retain(|m| m.digest() != digest);
    }

    /// How many modules are kept.
    pub(crate) fn len(&self) -> usize {
        self.modules.len()
    }
}
