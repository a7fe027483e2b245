//! The registry: published plugins, their way from pending to yanked, and who may sign them.

use serde::{Deserialize, Serialize};

use super::ProblemItem;
use crate::plugin::Manifest;

api! {
    /// A published plugin version. Its content never changes; whether it is used can.
    pub struct Plugin {
        /// Its manifest.
        pub manifest: Manifest,
        /// SHA-256 of the module.
        pub digest: String,
        /// Size of the module in bytes.
        pub size: u64,
        /// When it was published.
        pub published_at: String,
        /// Who published it.
        pub published_by: String,
        /// Host functions the module imports, as `module.name`.
        pub imports: Vec<String>,
        /// Functions the module exports.
        pub exports: Vec<String>,
        /// Whether a deployment may take it.
        pub state: PluginState,
        /// What the validator noticed and did not refuse.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub warnings: Vec<ProblemItem>,
        /// Permissions beyond those that are approved for this plugin, as `kind:value`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub unapproved: Vec<String>,
        /// Who approved its permissions, where somebody had to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub approved_by: Option<String>,
        /// When.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub approved_at: Option<String>,
        /// Why no deployment takes it any more, where it is yanked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub yanked: Option<String>,
        /// What to use instead, where it is deprecated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub deprecated: Option<String>,
        /// Its publisher's signature.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub signature: Option<PluginSignature>,
    }
}

/// Whether a deployment may take a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PluginState {
    /// It may.
    Ready,
    /// Not before an admin has approved its permissions.
    PendingApproval,
    /// Not any more. What is deployed goes on with it.
    Yanked,
}

api! {
    /// A publisher's signature over name, version, module and manifest.
    #[serde(deny_unknown_fields)]
    pub struct PluginSignature {
        /// Id of the publisher's key.
        pub key: String,
        /// Ed25519, 128 hexadecimal digits.
        pub signature: String,
    }
}

api! {
    /// `POST /plugins/{name}/{version}/yank`.
    #[serde(deny_unknown_fields)]
    pub struct YankPlugin {
        /// Why, for people who meet it.
        pub reason: String,
    }
}

api! {
    /// `POST /plugins/{name}/{version}/deprecate`.
    #[serde(deny_unknown_fields)]
    pub struct DeprecatePlugin {
        /// What to use instead; `null` takes a deprecation back.
        pub message: Option<String>,
    }
}

api! {
    /// A key that signs plugins.
    pub struct PublisherKey {
        /// The first 16 hexadecimal digits of the key's SHA-256.
        pub id: String,
        /// Whose it is.
        pub name: String,
        /// Ed25519, 64 hexadecimal digits.
        pub public_key: String,
        /// When it was added.
        pub added_at: String,
        /// Who added it.
        pub added_by: String,
        /// When it was revoked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub revoked_at: Option<String>,
    }
}

api! {
    /// `POST /publisher-keys`.
    #[serde(deny_unknown_fields)]
    pub struct AddPublisherKey {
        /// Whose it is.
        pub name: String,
        /// Ed25519, 64 hexadecimal digits.
        pub public_key: String,
    }
}
