//! Keeping secrets: encrypted at rest under a key of the data folder, and sealed for devices.
//!
//! At rest: ChaCha20-Poly1305 with a random nonce in front, bound to tenant, name and version, so
//! that rows of the database cannot be exchanged. For a device: HPKE (RFC 9180), see
//! [`openclaw_protocol::secret`]. A new device or a new key of one needs the value again, so the
//! control plane can open what it keeps; the key is in a file, apart from the database.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use data_encoding::HEXLOWER;
use hpke::{Deserializable as _, OpModeS, Serializable as _};
use openclaw_protocol::id::{DeviceId, TenantId};
use openclaw_protocol::secret::{self, INFO};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::fleet::ca::write_atomic;
use crate::random;

/// The key's file, among the other keys.
pub(crate) const KEY_FILE: &str = "secrets.key";
const NONCE_BYTES: usize = 12;

type Kem = hpke::kem::X25519HkdfSha256;
type Aead = hpke::aead::ChaCha20Poly1305;
type Kdf = hpke::kdf::HkdfSha256;

/// Encrypts and seals.
pub(crate) struct Vault {
    key: LessSafeKey,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

/// A value cannot be encrypted, sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VaultError {
    /// What is stored is not what this key has encrypted here.
    #[error(
        "the stored value of a secret does not open: `pki/secrets.key` is not the key that it was \
         encrypted with, or the database was altered"
    )]
    Stored,
    /// The device's public key is none.
    #[error("the device's public key for secrets cannot be used")]
    PublicKey,
    /// The library refuses.
    #[error("a secret could not be encrypted")]
    Encrypt,
}

impl Vault {
    /// Opens the key in the folder of keys. Where there is none, one is made, unless it is `needed`
    /// for what is stored already.
    ///
    /// # Errors
    /// The key is needed and not there, others may read it, or it cannot be read or written.
    pub(crate) fn open(pki: &Path, needed: bool) -> anyhow::Result<Self> {
        let path = pki.join(KEY_FILE);
        let shown = path.display();
        if path.exists() {
            let mode = fs::metadata(&path)?.permissions().mode();
            if mode & 0o077 != 0 {
                bail!(
                    "{shown} may be read by others (mode {:o}); run `chmod 600 {shown}`",
                    mode & 0o777
                );
            }
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {shown}"))?;
            let text = Zeroizing::new(text);
            let bytes = HEXLOWER.decode(text.trim().as_bytes()).map(Zeroizing::new);
            let bytes = bytes
                .map_err(|_| anyhow::anyhow!("{shown} is damaged; put it back from a backup"))?;
            return Self::of(&bytes)
                .with_context(|| format!("{shown} is damaged; put it back from a backup"));
        }
        if needed {
            bail!(
                "{shown} is missing, and there are secrets that only it opens; put it back from the \
                 backup (`restore` into an empty folder fills its `pki`)"
            );
        }
        let bytes = Zeroizing::new(random::bytes::<32>());
        let text = Zeroizing::new(HEXLOWER.encode(&*bytes));
        write_atomic(&path, text.as_bytes(), 0o600)?;
        Self::of(&*bytes)
    }

    fn of(bytes: &[u8]) -> anyhow::Result<Self> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes);
        let key = key.map_err(|_| anyhow::anyhow!("the key has {} bytes, not 32", bytes.len()))?;
        Ok(Self { key: LessSafeKey::new(key) })
    }

    /// Encrypts a value for the database.
    pub(crate) fn lock(
        &self,
        tenant: &TenantId,
        name: &str,
        version: u64,
        value: &str,
    ) -> Result<Vec<u8>, VaultError> {
        let nonce = random::bytes::<NONCE_BYTES>();
        let mut locked = Vec::with_capacity(NONCE_BYTES + value.len() + 16);
        locked.extend_from_slice(&nonce);
        locked.extend_from_slice(value.as_bytes());
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place(tenant, name, version)),
                &mut locked[NONCE_BYTES..],
            )
            .map_err(|_| VaultError::Encrypt)?;
        locked.extend_from_slice(tag.as_ref());
        Ok(locked)
    }

    /// Opens what [`Vault::lock`] has made for this very place.
    pub(crate) fn unlock(
        &self,
        tenant: &TenantId,
        name: &str,
        version: u64,
        locked: &[u8],
    ) -> Result<Zeroizing<String>, VaultError> {
        let (nonce, body) = locked.split_first_chunk::<NONCE_BYTES>().ok_or(VaultError::Stored)?;
        let mut bytes = Zeroizing::new(body.to_vec());
        let bound = Aad::from(place(tenant, name, version));
        let opened =
            self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), bound, &mut bytes);
        let text = opened.ok().and_then(|value| std::str::from_utf8(value).ok());
        text.map(|text| Zeroizing::new(text.to_owned())).ok_or(VaultError::Stored)
    }
}

/// What a stored value is bound to. Names have no NUL in them.
fn place(tenant: &TenantId, name: &str, version: u64) -> Vec<u8> {
    format!("{tenant}\0{name}\0{version}").into_bytes()
}

/// Seals a value for one device: nobody else can open it, nor take it for another.
pub(crate) fn seal(
    public_key: &[u8; 32],
    tenant: &TenantId,
    device: &DeviceId,
    (name, version): (&str, u64),
    value: &str,
) -> Result<Vec<u8>, VaultError> {
    type PublicKey = <Kem as hpke::Kem>::PublicKey;
    let key = PublicKey::from_bytes(public_key).map_err(|_| VaultError::PublicKey)?;
    let bound = secret::bound_to(tenant, device, name, version);
    let sealed = hpke::single_shot_seal::<Aead, Kdf, Kem>(
        &OpModeS::Base,
        &key,
        INFO,
        value.as_bytes(),
        &bound,
    );
    let (encapsulated, ciphertext) = sealed.map_err(|_| VaultError::Encrypt)?;
    Ok([encapsulated.to_bytes().as_slice(), &ciphertext].concat())
}

#[cfg(test)]
mod tests {
    use hpke::Kem as _;

    use super::*;

    fn tenant(text: &str) -> TenantId {
        TenantId::parse(text).unwrap()
    }

    #[test]
    fn a_stored_value_opens_in_its_own_place_with_its_own_key_alone() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path(), false).unwrap();
        let locked = vault.lock(&tenant("a"), "token", 1, "hush-hush").unwrap();
        assert!(!locked.windows(9).any(|part| part == b"hush-hush"));
        assert_ne!(locked, vault.lock(&tenant("a"), "token", 1, "hush-hush").unwrap());
        // The file is found again, also where it is needed.
        let again = Vault::open(dir.path(), true).unwrap();
        let opened = again.unlock(&tenant("a"), "token", 1, &locked).unwrap();
        assert_eq!(opened.as_str(), "hush-hush");
        for (who, name, version) in [("b", "token", 1), ("a", "other", 1), ("a", "token", 2)] {
            let opened = vault.unlock(&tenant(who), name, version, &locked);
            assert_eq!(opened.unwrap_err(), VaultError::Stored);
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let stranger = Vault::open(elsewhere.path(), false).unwrap();
        assert!(stranger.unlock(&tenant("a"), "token", 1, &locked).is_err());
        assert!(vault.unlock(&tenant("a"), "token", 1, &locked[..5]).is_err());
    }

    #[test]
    fn a_key_that_is_missing_or_open_to_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let missing = Vault::open(dir.path(), true).unwrap_err().to_string();
        assert!(missing.contains("put it back from the backup"), "{missing}");
        assert!(!dir.path().join(KEY_FILE).exists());
        Vault::open(dir.path(), false).unwrap();
        let path = dir.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let open = Vault::open(dir.path(), false).unwrap_err().to_string();
        assert!(open.contains("644"), "{open}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "not hexadecimal").unwrap();
        assert!(Vault::open(dir.path(), false).unwrap_err().to_string().contains("damaged"));
    }

    #[test]
    fn what_is_sealed_opens_with_the_devices_key_in_its_place() {
        let (private, public) = Kem::gen_keypair();
        let public: [u8; 32] = public.to_bytes().as_slice().try_into().unwrap();
        let (who, device) = (tenant("acme"), DeviceId::parse("pump-7").unwrap());
        let sealed = seal(&public, &who, &device, ("token", 3), "hush-hush").unwrap();
        assert_eq!(sealed.len(), 32 + 9 + 16);
        let open = |name: &str, version| {
            type Encapsulated = <Kem as hpke::Kem>::EncappedKey;
            let encapsulated = Encapsulated::from_bytes(&sealed[..32]).unwrap();
            let bound = secret::bound_to(&who, &device, name, version);
            let mode = hpke::OpModeR::Base;
            hpke::single_shot_open::<Aead, Kdf, Kem>(
                &mode,
                &private,
                &encapsulated,
                INFO,
                &sealed[32..],
                &bound,
            )
        };
        assert_eq!(open("token", 3).unwrap(), b"hush-hush");
        assert!(open("token", 4).is_err() && open("other", 3).is_err());
    }
}
