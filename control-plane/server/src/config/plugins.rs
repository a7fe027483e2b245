//! `[plugins]`: what the registry takes.

use openclaw_protocol::limits;
use serde::Deserialize;

/// `[plugins]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plugins {
    /// Only versions that a publisher key of the tenant has signed are published.
    pub require_signatures: bool,
    /// A module has at most as many bytes.
    pub max_module_bytes: usize,
    /// A manifest asks for at most as much fuel a call.
    pub max_fuel: u64,
    /// A manifest asks for at most as many bytes of memory.
    pub max_memory_bytes: u32,
    /// A manifest asks for at most as many bytes of output.
    pub max_output_bytes: u32,
}

impl Default for Plugins {
    fn default() -> Self {
        Self {
            require_signatures: false,
            max_module_bytes: limits::MODULE_BYTES,
            max_fuel: limits::PLUGIN_FUEL_MAX,
            max_memory_bytes: limits::PLUGIN_MEMORY_BYTES_MAX,
            max_output_bytes: limits::PLUGIN_OUTPUT_BYTES_MAX,
        }
    }
}
