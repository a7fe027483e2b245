//! The secrets of this device: the one door to their values.
//!
//! The site's own files come first, then what the control plane has sealed to this device's key.
//! Sealed values rest as they came, in the desired state; they are opened into memory, and wiped
//! there when a newer set replaces them. Journals, logs and results hold handles: a value is put
//! into a plugin's input just before the call, and taken out of whatever the call gives back.

mod call;
mod key;
mod open;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::{Arc, PoisonError, RwLock};

use openclaw_protocol::id::{DeviceId, TenantId};
use openclaw_protocol::secret::{self, HeldSecret, Mask, SealedSecret, SecretState};
use zeroize::Zeroizing;

pub(crate) use call::InCall;
pub use key::{DeviceKey, FILE as KEY_FILE};

/// Looks a name up among the site's own secrets.
pub type SiteSecrets = Box<dyn Fn(&str) -> Option<Zeroizing<Vec<u8>>> + Send + Sync>;

/// The secrets of this device. Clones are the same ones.
#[derive(Clone, Default)]
pub struct Secrets(Arc<Inner>);

#[derive(Default)]
struct Inner {
    site: Option<SiteSecrets>,
    key: Option<DeviceKey>,
    opened: RwLock<Opened>,
}

/// What the control plane has sent, open.
#[derive(Default)]
struct Opened {
    values: Vec<(String, Zeroizing<String>)>,
    mask: Arc<Mask>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// The site's own secrets, where it has any, and the key that the control plane seals to, where
    /// the device is enrolled.
    #[must_use]
    pub fn new(site: Option<SiteSecrets>, key: Option<DeviceKey>) -> Self {
        Self(Arc::new(Inner { site, key, opened: RwLock::default() }))
    }

    /// The value of a secret: the site's own, or else the control plane's.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.of_site(name).or_else(|| {
            let opened = self.0.opened.read().unwrap_or_else(PoisonError::into_inner);
            let found = opened.values.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| Zeroizing::new(value.as_bytes().to_vec()))
        })
    }

    fn of_site(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.0.site.as_ref().and_then(|site| site(name))
    }

    /// The public key to seal to, where the device has one.
    #[must_use]
    pub fn public_key(&self) -> Option<[u8; 32]> {
        self.0.key.as_ref().map(DeviceKey::public)
    }

    /// Opens what the control plane has sent; from now on this is all that it has sent. Answers
    /// what can be used.
    pub(crate) fn replace(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        sealed: &[SealedSecret],
    ) -> Vec<HeldSecret> {
        let mut values = Vec::new();
        let mut held = Vec::new();
        for one in sealed {
            let state = match self.open(tenant, device, one) {
                Ok(value) => {
                    values.push((one.name.clone(), value));
                    SecretState::Ready
                }
                Err(state) => {
                    tracing::error!(
                        name = one.name,
                        version = one.version,
                        ?state,
                        "a secret cannot be used"
                    );
                    state
                }
            };
            held.push(HeldSecret { name: one.name.clone(), version: one.version, state });
        }
        let mut mask = Mask::default();
        mask.add(values.iter().map(|(_, value)| value.as_str()));
        let opened = Opened { values, mask: Arc::new(mask) };
        *self.0.opened.write().unwrap_or_else(PoisonError::into_inner) = opened;
        held
    }

    fn open(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        sealed: &SealedSecret,
    ) -> Result<Zeroizing<String>, SecretState> {
        let key = self.0.key.as_ref().filter(|key| key.public() == sealed.key);
        let key = key.ok_or(SecretState::OtherKey)?;
        let bound = secret::bound_to(tenant, device, &sealed.name, sealed.version);
        let opened = open::open(key, secret::INFO, &bound, &sealed.sealed);
        opened.and_then(text).ok_or(SecretState::Unopened)
    }
}

/// A core dump would hold every value that is in memory. Said in the log where the system refuses.
pub fn no_core_dumps() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(e) = rustix::process::setrlimit(rustix::process::Resource::Core, none) {
        tracing::warn!(error = %e, "core dumps cannot be switched off");
    }
}

/// A value as text, without another copy of it.
fn text(mut bytes: Zeroizing<Vec<u8>>) -> Option<Zeroizing<String>> {
    String::from_utf8(std::mem::take(&mut *bytes)).ok().map(Zeroizing::new)
}
