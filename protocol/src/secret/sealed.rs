//! The words in which sealed values travel, and what binds a value to its place.
//!
//! Sealing is HPKE (RFC 9180), base mode, with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and
//! ChaCha20-Poly1305: single-shot, with [`INFO`] and [`bound_to`] as its info and associated data.

use serde::{Deserialize, Serialize};

use crate::id::{DeviceId, TenantId};
use crate::limits::SECRET_BYTES;

/// HPKE's `info`: what the sealing is for.
pub const INFO: &[u8] = b"openclaw device secret v1";
/// Bytes of a sealed value at most: the encapsulated key, the value, and the tag.
pub const SEALED_BYTES: usize = 32 + SECRET_BYTES + 16;

/// A value for one device, which nobody else can open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecret {
    /// The secret's name.
    pub name: String,
    /// Which value of it; counts up.
    pub version: u64,
    /// The device's public key (X25519) that it is sealed to.
    pub key: [u8; 32],
    /// The encapsulated key (32 bytes), then the value and its tag.
    #[serde(with = "crate::wire::bytes")]
    pub sealed: Vec<u8>,
}

/// What a device says of a secret that it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldSecret {
    /// The secret's name.
    pub name: String,
    /// Which value of it.
    pub version: u64,
    /// Whether it can use it.
    pub state: SecretState,
}

/// Whether a device can use a secret. Append-only: postcard knows variants by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretState {
    /// It is open, in memory.
    Ready,
    /// It is sealed to a key that the device no longer has.
    OtherKey,
    /// It does not open: it was altered, or is another device's.
    Unopened,
}

/// What a sealed value is bound to: whose it is, which device's, which secret, which value of it.
/// No two places have the same bytes, since ids have no NUL in them.
#[must_use]
pub fn bound_to(tenant: &TenantId, device: &DeviceId, name: &str, version: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in [tenant.as_str(), device.as_str(), name] {
        bytes.extend_from_slice(part.as_bytes());
        bytes.push(0);
    }
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes
}
