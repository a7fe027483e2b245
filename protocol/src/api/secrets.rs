//! Secrets: values go in and never come out.

use serde::{Deserialize, Serialize};

/// `PUT /secrets/{name}`: a value, the first one or a newer one.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PutSecret {
    /// The value, 4 bytes to 16 KiB of text.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub value: zeroize::Zeroizing<String>,
}

impl std::fmt::Debug for PutSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PutSecret").finish_non_exhaustive()
    }
}

api! {
    /// A secret, without its value.
    pub struct Secret {
        /// Its name, as workflows declare it.
        pub name: String,
        /// Which value; counts up.
        pub version: u64,
        /// When the value was set.
        pub updated_at: String,
        /// Who set it: `user:<name>` or `key:<id>`.
        pub updated_by: String,
        /// Devices whose workflows declare it.
        pub devices: u64,
        /// Of those, the ones that say that they have this very version.
        pub devices_ready: u64,
    }
}

api! {
    /// A secret, device by device.
    pub struct SecretDetail {
        /// The secret.
        pub secret: Secret,
        /// The devices whose workflows declare it, by id; at most 1,000.
        pub devices: Vec<SecretDevice>,
    }
}

api! {
    /// How a secret stands on a device.
    pub struct SecretDevice {
        /// Which.
        pub device: String,
        /// The version that it says it has.
        pub version: Option<u64>,
        /// Whether that is the newest.
        pub state: SecretDeviceState,
        /// It is connected.
        pub online: bool,
        /// When it was last heard of.
        pub last_seen_at: Option<String>,
    }
}

/// Whether a device has the newest value of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SecretDeviceState {
    /// It has it, and can use it.
    Ready,
    /// It has not said so yet; until then it goes on with what it had.
    Pending,
    /// It has not told a key to seal to: it has never connected, or its agent knows no secrets.
    NoKey,
    /// It was sent the value and cannot open it.
    Failed,
}
