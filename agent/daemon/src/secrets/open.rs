//! Opening what was sealed to the device: HPKE (RFC 9180), base mode, single-shot, with
//! DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20-Poly1305.
//!
//! The primitives are ring's, which TLS has brought along, and the curve's own crate; here is how
//! the RFC strings them together. The control plane seals with another implementation of it.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hmac::{self, HMAC_SHA256};
use zeroize::Zeroizing;

use super::key::DeviceKey;

/// Bytes of an encapsulated key, and of every hash here.
const N: usize = 32;
/// What HPKE calls the suites (§4.1, §5.1): the KEM alone, and with KDF and AEAD.
const KEM: &[u8] = b"KEM\x00\x20";
const HPKE: &[u8] = b"HPKE\x00\x20\x00\x01\x00\x03";

/// Opens an encapsulated key with the ciphertext behind it; `None` where it was not sealed to this
/// key, for this `info` and these associated data.
pub(super) fn open(
    key: &DeviceKey,
    info: &[u8],
    bound: &[u8],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (encapsulated, ciphertext) = sealed.split_first_chunk::<N>()?;
    let agreed = key.agree(encapsulated)?;
    let prk = extract(KEM, &[], b"eae_prk", &*agreed);
    let context = [&encapsulated[..], &key.public()].concat();
    let shared = expand::<N>(KEM, &prk, b"shared_secret", &context);

    let schedule = [
        // Base mode.
        &[0][..],
        &*extract(HPKE, &[], b"psk_id_hash", &[]),
        &*extract(HPKE, &[], b"info_hash", info),
    ]
    .concat();
    let secret = extract(HPKE, &*shared, b"secret", &[]);
    let aead_key = expand::<N>(HPKE, &secret, b"key", &schedule);
    // The first and only message under this key: its nonce is the base nonce as it is.
    let nonce = expand::<12>(HPKE, &secret, b"base_nonce", &schedule);

    let aead = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &*aead_key).ok()?);
    let mut opened = Zeroizing::new(ciphertext.to_vec());
    let length = {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        aead.open_in_place(nonce, Aad::from(bound), &mut opened).ok()?.len()
    };
    opened.truncate(length);
    Some(opened)
}

/// `LabeledExtract` (§4); HKDF's extract (RFC 5869 §2.2) is one HMAC.
fn extract(suite: &[u8], salt: &[u8], label: &[u8], ikm: &[u8]) -> Zeroizing<[u8; N]> {
    let parts = [&b"HPKE-v1"[..], suite, label, ikm];
    keyed_hash(salt, &parts)
}

/// `LabeledExpand` (§4) of at most one block, for which HKDF's expand (RFC 5869 §2.3) is one HMAC.
fn expand<const LEN: usize>(
    suite: &[u8],
    prk: &Zeroizing<[u8; N]>,
    label: &[u8],
    info: &[u8],
) -> Zeroizing<[u8; LEN]> {
    const { assert!(LEN <= N, "one block") };
    let length = [0, LEN as u8];
    let block = keyed_hash(&**prk, &[&length, b"HPKE-v1", suite, label, info, &[1]]);
    let mut out = Zeroizing::new([0; LEN]);
    out.copy_from_slice(&block[..LEN]);
    out
}

fn keyed_hash(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; N]> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    let mut hash = Zeroizing::new([0; N]);
    hash.copy_from_slice(context.sign().as_ref());
    hash
}
