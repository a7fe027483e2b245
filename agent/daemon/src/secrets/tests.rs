//! Keys, sealed values, and what a call gets and gives.

use std::os::unix::fs::PermissionsExt as _;

use data_encoding::HEXLOWER;
use hpke::{Deserializable as _, OpModeS, Serializable as _};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::secret::{INFO, bound_to};

use super::*;

fn hex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn key(byte: u8) -> DeviceKey {
    DeviceKey::of(&Zeroizing::new([byte; 32]))
}

fn names() -> (TenantId, DeviceId) {
    (TenantId::parse("acme").unwrap(), DeviceId::parse("pump-7").unwrap())
}

/// Seals as the control plane does, with the library that it uses.
pub(crate) fn sealed(to: [u8; 32], name: &str, version: u64, value: &str) -> SealedSecret {
    use hpke::{aead::ChaCha20Poly1305, kdf::HkdfSha256, kem::X25519HkdfSha256};
    let (tenant, device) = names();
    let public = <X25519HkdfSha256 as hpke::Kem>::PublicKey::from_bytes(&to).unwrap();
    let (encapsulated, ciphertext) =
        hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &public,
            INFO,
            value.as_bytes(),
            &bound_to(&tenant, &device, name, version),
        )
        .unwrap();
    let sealed = [encapsulated.to_bytes().as_slice(), &ciphertext].concat();
    SealedSecret { name: name.to_owned(), version, key: to, sealed }
}

fn json(text: &str) -> JsonText {
    JsonText::parse(text).unwrap()
}

fn site(name: &str) -> Option<Zeroizing<Vec<u8>>> {
    let value = match name {
        "local" => b"of-the-site".to_vec(),
        "both" => b"site-first".to_vec(),
        "bytes" => vec![0xff, 0xfe, 0xfd, 0xfc],
        _ => return None,
    };
    Some(Zeroizing::new(value))
}

/// RFC 9180, A.2.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305, base mode.
#[test]
fn the_example_of_the_rfc_opens() {
    let private = hex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb");
    let key = DeviceKey::of(&Zeroizing::new(private.try_into().unwrap()));
    assert_eq!(
        HEXLOWER.encode(&key.public()),
        "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a"
    );
    let info = hex("4f6465206f6e2061204772656369616e2055726e");
    let aad = hex("436f756e742d30");
    let sealed = hex(concat!(
        "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
        "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db",
        "21993c62ce81883d2dd1b51a28"
    ));
    let opened = open::open(&key, &info, &aad, &sealed).unwrap();
    assert_eq!(opened.as_slice(), b"Beauty is truth, truth beauty");
    assert!(open::open(&key, &info, b"Count-1", &sealed).is_none());
    assert!(open::open(&key, b"other", &aad, &sealed).is_none());
    for length in [0, 31, 32, 47, sealed.len() - 1] {
        assert!(open::open(&key, &info, &aad, &sealed[..length]).is_none(), "{length}");
    }
}

/// A public key of low order makes the same of every private one.
#[test]
fn a_key_that_agrees_with_everybody_is_refused() {
    assert!(key(1).agree(&[0; 32]).is_none());
    assert!(open::open(&key(1), b"", b"", &[0; 60]).is_none());
}

#[test]
fn the_key_is_made_once_and_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let made = DeviceKey::load_or_make(dir.path()).unwrap().public();
    assert_eq!(DeviceKey::load_or_make(dir.path()).unwrap().public(), made);
    let path = dir.path().join(KEY_FILE);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // One that others could read may be known to them, and one that is damaged opens nothing.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let second = DeviceKey::load_or_make(dir.path()).unwrap().public();
    assert_ne!(second, made);
    for damage in ["", "abc", "zz", &"00".repeat(31)] {
        std::fs::write(&path, damage).unwrap();
        let next = DeviceKey::load_or_make(dir.path()).unwrap().public();
        assert_ne!(next, second, "{damage:?}");
        assert_eq!(DeviceKey::load_or_make(dir.path()).unwrap().public(), next);
    }
    assert!(!format!("{:?}", key(1)).contains("secret:"));
}

#[test]
fn what_was_sealed_opens_for_this_device_and_this_place_alone() {
    let secrets = Secrets::new(None, Some(key(3)));
    let public = secrets.public_key().unwrap();
    let (tenant, device) = names();
    let good = sealed(public, "token", 2, "hush-hush");
    let renamed = SealedSecret { name: "other".to_owned(), ..good.clone() };
    let rolled =
        SealedSecret { name: "old".to_owned(), version: 1, ..sealed(public, "old", 2, "x") };
    let mut bent = sealed(public, "bent", 1, "value");
    bent.sealed[40] ^= 1;
    let foreign = sealed(key(4).public(), "foreign", 1, "value");
    let all = [good.clone(), renamed, rolled, bent, foreign];
    let held = secrets.replace(&tenant, &device, &all);
    let states: Vec<_> = held.iter().map(|one| (one.name.as_str(), one.state)).collect();
    assert_eq!(
        states,
        [
            ("token", SecretState::Ready),
            ("other", SecretState::Unopened),
            ("old", SecretState::Unopened),
            ("bent", SecretState::Unopened),
            ("foreign", SecretState::OtherKey),
        ]
    );
    assert_eq!(secrets.secret("token").unwrap().as_slice(), b"hush-hush");
    assert!(secrets.secret("other").is_none());
    let elsewhere = secrets.replace(&tenant, &DeviceId::parse("pump-8").unwrap(), &[good]);
    assert_eq!(elsewhere[0].state, SecretState::Unopened);
    assert!(secrets.secret("token").is_none(), "a newer set takes the place of the old one");
    // A device that is not enrolled has no key, and opens nothing.
    let none = Secrets::default().replace(&tenant, &device, &[sealed(public, "token", 1, "v")]);
    assert_eq!(none[0].state, SecretState::OtherKey);
}

#[test]
fn the_sites_own_secrets_come_first() {
    let secrets = Secrets::new(Some(Box::new(site)), Some(key(3)));
    let public = secrets.public_key().unwrap();
    let (tenant, device) = names();
    let all = [sealed(public, "both", 1, "control-plane"), sealed(public, "theirs", 1, "central")];
    secrets.replace(&tenant, &device, &all);
    for (name, value) in [("local", "of-the-site"), ("both", "site-first"), ("theirs", "central")] {
        assert_eq!(secrets.secret(name).unwrap().as_slice(), value.as_bytes(), "{name}");
    }
    assert!(secrets.secret("none").is_none());
}

#[test]
fn a_call_gets_values_and_gives_none_back() {
    let secrets = Secrets::new(Some(Box::new(site)), Some(key(3)));
    let (tenant, device) = names();
    let all = [sealed(secrets.public_key().unwrap(), "theirs", 1, "central\"value")];
    secrets.replace(&tenant, &device, &all);
    let input = json(r#"{"h":{"$join":["Bearer ",{"$secret":"local"}]},"n":1}"#);
    let call = secrets.for_call(&input, &[]).unwrap();
    assert_eq!(call.input(&input), br#"{"h":"Bearer of-the-site","n":1}"#);
    // Also what this call was not given, but the device knows.
    let said = json(r#"{"a":"of-the-site","b":["central\"value", "fine"]}"#);
    assert_eq!(call.clean_output(said).as_str(), r#"{"a":"***","b":["***","fine"]}"#);
    // Nothing asked for: the input goes as it is, and known values are masked all the same.
    let plain = json("{\"n\": 1.50}");
    let call = secrets.for_call(&plain, &[]).unwrap();
    assert_eq!(call.input(&plain), b"{\"n\": 1.50}");
    assert_eq!(call.clean_output(json("\"central\\\"value\"")).as_str(), "\"***\"");

    let missing = secrets.for_call(&json(r#"{"k":{"$secret":"none"}}"#), &[]).err().unwrap();
    assert!(missing.contains("`none` has no value on this device"), "{missing}");
    let bytes = secrets.for_call(&json(r#"{"k":{"$secret":"bytes"}}"#), &[]).err().unwrap();
    assert!(bytes.contains("not text"), "{bytes}");
}

#[test]
fn what_a_plugin_is_granted_is_masked_and_not_in_its_input() {
    let secrets = Secrets::new(Some(Box::new(site)), Some(key(3)));
    let granted = ["local", "none", "bytes"].map(str::to_owned);
    for input in [json(r#"{"k":{"$secret":"both"}}"#), json(r#"{"n":1}"#)] {
        let call = secrets.for_call(&input, &granted).unwrap();
        assert!(!String::from_utf8_lossy(call.input(&input)).contains("of-the-site"));
        let names: Vec<_> = call.granted().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["local"], "what is missing or no text is missing when it is asked for");
        assert_eq!(call.clean_output(json("\"of-the-site\"")).as_str(), "\"***\"");
    }
    // Control: without the grant the value is none of this call.
    let call = secrets.for_call(&json("{}"), &[]).unwrap();
    assert_eq!(call.clean_output(json("\"of-the-site\"")).as_str(), "\"of-the-site\"");
}
