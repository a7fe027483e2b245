//! The key that secrets are sealed to (X25519): made on the device, never leaves it.

use std::path::Path;

use data_encoding::HEXLOWER;
use x25519_dalek::{PublicKey, StaticSecret, X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

use crate::identity::{self, IdentityError};

/// The key's file in the data directory.
pub const FILE: &str = "secrets.key";

/// The device's key for secrets. Wiped from memory when it goes.
pub struct DeviceKey {
    secret: StaticSecret,
    public: [u8; 32],
}

impl std::fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceKey").finish_non_exhaustive()
    }
}

impl DeviceKey {
    /// The key with these 32 bytes.
    #[must_use]
    pub fn of(bytes: &Zeroizing<[u8; 32]>) -> Self {
        // The same as a multiplication of the base point elsewhere, with one algorithm less.
        let public = x25519(**bytes, X25519_BASEPOINT_BYTES);
        Self { secret: StaticSecret::from(**bytes), public }
    }

    /// The key in the data directory; made where there is none. One that is damaged, or that others
    /// could read, is replaced: the control plane hears of the new one and seals to it.
    ///
    /// # Errors
    /// The system has no randomness, or the file cannot be written.
    pub fn load_or_make(data_dir: &Path) -> anyhow::Result<Self> {
        match load(data_dir) {
            Ok(Some(bytes)) => return Ok(Self::of(&bytes)),
            Ok(None) => {}
            Err(reason) => {
                tracing::error!(reason, "the key for secrets is replaced by a new one");
            }
        }
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes).map_err(|e| anyhow::anyhow!("no random bytes: {e}"))?;
        let text = Zeroizing::new(HEXLOWER.encode(&*bytes));
        identity::write(&data_dir.join(FILE), &text)?;
        Ok(Self::of(&bytes))
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// What this key and another's have in common; `None` for a public key that would make it the
    /// same for everybody (RFC 7748 §6.1).
    pub(super) fn agree(&self, other: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(*other));
        shared.was_contributory().then(|| Zeroizing::new(*shared.as_bytes()))
    }
}

fn load(data_dir: &Path) -> Result<Option<Zeroizing<[u8; 32]>>, String> {
    let path = data_dir.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let told = |e: IdentityError| e.to_string();
    identity::refuse_open_key(&path).map_err(told)?;
    let text = Zeroizing::new(identity::read(&path).map_err(told)?);
    let mut bytes = Zeroizing::new([0; 32]);
    let length = HEXLOWER.decode_len(text.trim().len()).map_err(|e| e.to_string())?;
    if length != bytes.len() {
        return Err(format!("{} has {length} bytes, not {}", path.display(), bytes.len()));
    }
    HEXLOWER
        .decode_mut(text.trim().as_bytes(), &mut *bytes)
        .map_err(|_| format!("{} is damaged", path.display()))?;
    Ok(Some(bytes))
}
