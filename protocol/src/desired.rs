//! Desired state: the one signed document that says what a device shall run.
//!
//! It is a register, not a log: the newest revision supersedes all others, so nothing can stick
//! half-way. The signature is Ed25519 (RFC 8032) over the bytes of the encoded [`Desired`]; the
//! device checks it against the key pinned at enrolment before it stores anything, and refuses a
//! revision that is not newer within the same generation.

use serde::{Deserialize, Serialize};

use crate::definition::DefinitionHash;
use crate::id::{DeviceId, Digest, Generation, PluginName, TenantId, WorkflowName};
use crate::json::JsonText;
use crate::limits::{DESIRED_BYTES, DEVICE_SECRETS};
use crate::plugin::{CallLimits, Permissions};
use crate::secret::SealedSecret;
use crate::wire::{self, Kind, WireError};

/// What one device shall run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// Whose device.
    pub tenant: TenantId,
    /// Which device; a document for another one is refused.
    pub device: DeviceId,
    /// The control-plane database it comes from.
    pub generation: Generation,
    /// Counts up within a generation.
    pub revision: u64,
    /// When it was signed, milliseconds since 1970 UTC.
    pub issued_wall_ms: i64,
    /// The workflows, by name, each at most once.
    pub workflows: Vec<DesiredWorkflow>,
    /// Every plugin that any of them needs, each version once.
    pub plugins: Vec<PluginPin>,
}

/// One workflow a device shall run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredWorkflow {
    /// Its name.
    pub name: WorkflowName,
    /// The author's version label.
    pub version: String,
    /// Content hash of `definition`.
    pub hash: DefinitionHash,
    /// The canonical definition.
    pub definition: JsonText,
    /// For each `plugin` reference as written (`name[.action]@range`), the index into
    /// [`Desired::plugins`] that it was resolved to.
    pub pins: Vec<(String, u16)>,
    /// Whether its triggers fire. A stopped workflow can still be run by hand.
    pub triggers_enabled: bool,
}

/// One plugin version, pinned by digest, with what it may touch here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginPin {
    /// Its name.
    pub name: PluginName,
    /// Its version.
    pub version: String,
    /// SHA-256 of the module.
    pub digest: Digest,
    /// Size of the module in bytes.
    pub size: u32,
    /// Action name and the export behind it.
    pub actions: Vec<(String, String)>,
    /// What it may touch; the device's own configuration narrows it further.
    pub granted: Permissions,
    /// What a call may use.
    pub limits: CallLimits,
}

/// Packs the document. Where no secrets go with it, it has the bytes that every version reads.
#[must_use]
pub fn pack(desired: &Desired, secrets: &[SealedSecret]) -> Vec<u8> {
    if secrets.is_empty() {
        return wire::pack(Kind::Desired, desired);
    }
    wire::pack(Kind::DesiredSecrets, &(desired, secrets))
}

/// Reads what [`pack`] made.
///
/// # Errors
/// It is not a document, or has more than [`DEVICE_SECRETS`] secrets.
pub fn unpack(bytes: &[u8]) -> Result<(Desired, Vec<SealedSecret>), WireError> {
    if bytes.get(1) != Some(&(Kind::DesiredSecrets as u8)) {
        return Ok((wire::unpack(Kind::Desired, bytes, DESIRED_BYTES)?, Vec::new()));
    }
    let (desired, Secrets(secrets)) = wire::unpack(Kind::DesiredSecrets, bytes, DESIRED_BYTES)?;
    Ok((desired, secrets))
}

/// The secrets as they are read: not more than there may be.
#[derive(Deserialize)]
#[serde(transparent)]
struct Secrets(
    #[serde(deserialize_with = "wire::at_most::<_, _, DEVICE_SECRETS>")] Vec<SealedSecret>,
);

/// A [`Desired`] as it travels and rests: encoded bytes and the signature over them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedDesired {
    /// What [`pack`] made.
    pub document: Vec<u8>,
    /// Ed25519 signature over `document`, 64 bytes.
    pub signature: Vec<u8>,
}
