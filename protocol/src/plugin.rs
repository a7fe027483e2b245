//! What a plugin says of itself: the manifest, the permissions it asks for, and its limits.
//!
//! `plugin.toml` is the author's file; [`Manifest::from_toml`] is the only way in, so a
//! [`Manifest`] in hand has valid names, a semantic version and known permissions.

mod permissions;
mod statement;

use serde::{Deserialize, Serialize};

use crate::id::{IdError, PluginName};
use crate::limits;
use crate::ordered::VecMap;
use crate::toml_text::from_toml;

pub use permissions::{Capability, Permissions};
pub use statement::statement;

/// A checked plugin manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Manifest {
    /// The plugin's name, unique in a tenant's registry.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub name: PluginName,
    /// Semantic version; published versions never change.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub version: semver::Version,
    /// One sentence for people who browse the registry.
    pub description: String,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Where the registry files it, such as `monitoring` or `network`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub category: String,
    /// Words people search by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Under which terms it may be used: an SPDX expression such as `Apache-2.0`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub license: String,
    /// Where to read more: an `https://` or `http://` address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub homepage: String,
    /// Plugins that have to be on the device too, each with the range of versions that will do.
    #[serde(default, skip_serializing_if = "VecMap::is_empty")]
    #[cfg_attr(feature = "openapi",
        schema(value_type = std::collections::BTreeMap<String, String>, required = false))]
    pub dependencies: VecMap<String, String>,
    /// What the plugin wants to touch; everything else is denied.
    #[serde(default)]
    pub permissions: Permissions,
    /// What a call may use at most.
    #[serde(default)]
    pub limits: CallLimits,
    /// The callable actions by name. The only action of a simple plugin is `execute`.
    #[serde(default = "default_actions")]
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, Action>))]
    pub actions: VecMap<String, Action>,
}

/// One callable action of a plugin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Action {
    /// What the action does, in one sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The module's export to call; the action's own name where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<String>,
    /// JSON Schema (2020-12) of the input, as an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub input: Option<serde_json::Value>,
    /// JSON Schema (2020-12) of the output, as an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub output: Option<serde_json::Value>,
}

/// Upper bounds of one call. A manifest may ask for less than the defaults or, up to the hard
/// caps of [`crate::limits`], for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CallLimits {
    /// Fuel for one call (about one unit an instruction).
    pub fuel: u64,
    /// Linear memory, in bytes.
    pub memory_bytes: u32,
    /// Output, in bytes.
    pub output_bytes: u32,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            fuel: limits::PLUGIN_FUEL,
            memory_bytes: limits::PLUGIN_MEMORY_BYTES,
            output_bytes: limits::PLUGIN_OUTPUT_BYTES,
        }
    }
}

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not TOML, an unknown key, or a value of the wrong type; the text carries line and column.
    #[error("plugin.toml: {0}")]
    Toml(String),
    /// A name breaks the rules for ids.
    #[error("plugin.toml: {0}")]
    Id(#[from] IdError),
    /// A limit is over its hard cap.
    #[error("plugin.toml: limits.{name} is {asked}, the most is {cap}; ask for less")]
    Limit {
        /// Which limit.
        name: &'static str,
        /// What the manifest asks for.
        asked: u64,
        /// The hard cap.
        cap: u64,
    },
    /// A permission entry cannot be understood.
    #[error("plugin.toml: permissions.{kind}: `{entry}` {reason}")]
    Permission {
        /// Its key.
        kind: &'static str,
        /// The entry as written.
        entry: String,
        /// What is wrong with it and what to write.
        reason: &'static str,
    },
    /// A text is longer than what is kept, or not what it is to be.
    #[error("plugin.toml: {key}: {reason}")]
    Text {
        /// Its key.
        key: &'static str,
        /// What is wrong with it and what to write.
        reason: &'static str,
    },
    /// A dependency cannot be understood.
    #[error("plugin.toml: dependencies: `{entry}` {reason}")]
    Dependency {
        /// Name and range as written.
        entry: String,
        /// What is wrong with it and what to write.
        reason: &'static str,
    },
    /// The manifest names no action.
    #[error("plugin.toml: there is no action; leave `[actions]` out for a single `execute`")]
    NoAction,
}

impl Manifest {
    /// Parses and checks a `plugin.toml`.
    ///
    /// # Errors
    /// Says what is wrong and, for syntax, where.
    pub fn from_toml(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = from_toml(text).map_err(|e| ManifestError::Toml(e.to_string()))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks what the types alone cannot: caps, permission entries, at least one action.
    ///
    /// # Errors
    /// Names the first offence.
    pub fn check(&self) -> Result<(), ManifestError> {
        let caps = [
            ("fuel", self.limits.fuel, limits::PLUGIN_FUEL_MAX),
            (
                "memory_bytes",
                u64::from(self.limits.memory_bytes),
                u64::from(limits::PLUGIN_MEMORY_BYTES_MAX),
            ),
            (
                "output_bytes",
                u64::from(self.limits.output_bytes),
                u64::from(limits::PLUGIN_OUTPUT_BYTES_MAX),
            ),
        ];
        for (name, asked, cap) in caps {
            if asked > cap {
                return Err(ManifestError::Limit { name, asked, cap });
            }
        }
        self.permissions.check()?;
        self.check_texts()?;
        self.check_dependencies()?;
        if self.actions.is_empty() {
            return Err(ManifestError::NoAction);
        }
        Ok(())
    }

    fn check_texts(&self) -> Result<(), ManifestError> {
        let wrong = |key, reason| Err(ManifestError::Text { key, reason });
        let home = self.homepage.as_str();
        if !(home.is_empty() || home.starts_with("https://") || home.starts_with("http://")) {
            return wrong("homepage", "is no address of a page; write `https://…`");
        }
        for (key, text) in [
            ("description", &self.description),
            ("author", &self.author),
            ("category", &self.category),
            ("license", &self.license),
            ("homepage", &self.homepage),
        ] {
            if text.len() > limits::MANIFEST_TEXT_BYTES {
                return wrong(key, "is longer than 1,024 bytes; say the rest on the homepage");
            }
        }
        if self.tags.len() > limits::MANIFEST_TAGS
            || self.tags.iter().any(|tag| tag.len() > limits::ID_BYTES || tag.contains('|'))
        {
            return wrong("tags", "has at most 32 words of at most 64 bytes, without `|`");
        }
        Ok(())
    }

    fn check_dependencies(&self) -> Result<(), ManifestError> {
        let bad = |name: &str, range: &str, reason| {
            let entry = format!("{name} = \"{range}\"").chars().take(160).collect();
            Err(ManifestError::Dependency { entry, reason })
        };
        for (at, (name, range)) in self.dependencies.iter().enumerate() {
            if at >= limits::PLUGIN_DEPENDENCIES {
                return bad(name, range, "is one too many; a plugin needs at most 32 others");
            }
            if PluginName::parse(name).is_err() {
                return bad(name, range, "names no plugin: lower-case letters, digits and dashes");
            }
            if semver::VersionReq::parse(range).is_err() {
                return bad(name, range, "has no range of versions; write `^1.2` or `>=1.2, <3`");
            }
            if name == self.name.as_str() {
                return bad(name, range, "needs itself; leave it out");
            }
        }
        Ok(())
    }

    /// The module export behind an action, or `None` where there is no such action.
    #[must_use]
    pub fn export_of(&self, action: &str) -> Option<String> {
        let found = self.actions.get(action)?;
        Some(found.export.clone().unwrap_or_else(|| action.to_owned()))
    }
}

fn default_actions() -> VecMap<String, Action> {
    VecMap::from([("execute".to_owned(), Action::default())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_manifest_has_one_action_and_no_permission() {
        let m = Manifest::from_toml("name='x'\nversion='1.0.0'\ndescription='d'").unwrap();
        assert_eq!(m.export_of("execute").as_deref(), Some("execute"));
        assert_eq!(m.permissions, Permissions::default());
    }

    #[test]
    fn wrong_manifests_say_what_and_where() {
        let base = "name='x'\nversion='1.0.0'\ndescription='d'\n";
        for (text, part) in [
            ("name='X Y'\nversion='1.0.0'\ndescription='d'", "lower-case"),
            ("name='x'\nversion='1'\ndescription='d'", "version"),
            (&format!("{base}colour='red'"), "unknown field"),
            (&format!("{base}[permissions]\nhttp=['example.com']"), "host:port"),
            (&format!("{base}[permissions]\nbluetooth=['x']"), "expected one of `http`, `tcp`"),
            (&format!("{base}[permissions]\nfiles=['/etc']"), "logical name"),
            (&format!("{base}[limits]\nmemory_bytes=4000000000"), "the most is"),
            (&format!("{base}homepage='ftp://x'"), "homepage: is no address"),
            (&format!("{base}license='{}'", "x".repeat(1_025)), "license: is longer"),
            (&format!("{base}tags=['a|b']"), "without `|`"),
            (&format!("{base}[dependencies]\nbase='one'"), "`base = \"one\"` has no range"),
            (&format!("{base}[dependencies]\n'B C'='^1'"), "names no plugin"),
            (&format!("{base}[dependencies]\nx='^1'"), "needs itself"),
        ] {
            let error = Manifest::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
