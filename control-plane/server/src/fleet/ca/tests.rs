//! The authority: made once, keys private, names given by the server alone.

use rcgen::CustomExtension;
use rcgen::string::Ia5String;

use super::*;

const NOW_MS: i64 = 1_790_000_000_000;

fn ids() -> (TenantId, DeviceId) {
    (TenantId::parse("acme").unwrap(), DeviceId::parse("pump-7").unwrap())
}

fn ca() -> (tempfile::TempDir, FleetCa) {
    let dir = tempfile::tempdir().unwrap();
    let ca = FleetCa::open(dir.path(), NOW_MS).unwrap();
    (dir, ca)
}

fn request(params: &CertificateParams, key: &KeyPair) -> String {
    params.serialize_request(key).unwrap().pem().unwrap()
}

#[test]
fn the_authority_is_made_once_and_its_keys_are_private() {
    let (dir, ca) = ca();
    let again = FleetCa::open(dir.path(), NOW_MS + DAY_MS).unwrap();
    assert_eq!(again.fingerprint(), ca.fingerprint());
    assert_eq!(again.desired_key_hex(), ca.desired_key_hex());
    assert_eq!(ca.desired_key_hex().len(), 64);
    for key in ["ca.key", "desired.key"] {
        let path = dir.path().join(key);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{key}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    FleetCa::open(dir.path(), NOW_MS).unwrap();
    let mode = fs::metadata(dir.path().join("ca.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "a file that was left open is closed again");
    let (_, other) = self::ca();
    assert_ne!(other.fingerprint(), ca.fingerprint());
}

#[test]
fn a_lost_key_is_told_and_a_crash_between_the_files_is_harmless() {
    let (dir, ca) = ca();
    fs::remove_file(dir.path().join("ca.pem")).unwrap();
    let remade = FleetCa::open(dir.path(), NOW_MS).unwrap();
    assert_ne!(remade.fingerprint(), ca.fingerprint(), "another certificate for the same key");
    fs::remove_file(dir.path().join("ca.key")).unwrap();
    let error = FleetCa::open(dir.path(), NOW_MS).unwrap_err();
    assert!(matches!(error, CaError::KeyMissing(_)), "{error}");
    fs::write(dir.path().join("ca.key"), "not a key").unwrap();
    assert!(matches!(FleetCa::open(dir.path(), NOW_MS), Err(CaError::Crypto { .. })));
}

#[test]
fn a_device_gets_its_name_from_the_server_whatever_it_asks_for() {
    let (_dir, ca) = ca();
    let (tenant, device) = ids();
    let key = KeyPair::generate().unwrap();
    let mut greedy = CertificateParams::new(vec!["*.example.org".to_owned()]).unwrap();
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    greedy.distinguished_name.push(DnType::CommonName, "pump-8");
    greedy.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    greedy.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    greedy
        .subject_alt_names
        .push(SanType::URI(Ia5String::try_from("urn:openclaw:acme:pump-8").unwrap()));
    let issued = ca.issue(&request(&greedy, &key), &tenant, &device, NOW_MS).unwrap();
    assert_eq!(issued.expires_ms, NOW_MS + DEVICE_CERTIFICATE_MS);
    let der = CertificateDer::from_pem_slice(issued.pem.as_bytes()).unwrap();
    assert_eq!(issued.fingerprint, fingerprint(&der));
    assert_eq!(device_of(&der), Some((tenant, device)));
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert!(!parsed.is_ca());
    assert_eq!(parsed.subject().to_string(), "CN=pump-7");
    assert_eq!(parsed.public_key().subject_public_key.data, key.public_key_raw());
    let names = parsed.subject_alternative_name().unwrap().unwrap().value;
    assert_eq!(names.general_names.len(), 1);
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth);
    assert!(!parsed.key_usage().unwrap().unwrap().value.key_cert_sign());
    assert_eq!(parsed.validity().not_after.timestamp(), issued.expires_ms / 1000);
    let again = ca.issue(&request(&greedy, &key), &ids().0, &ids().1, NOW_MS).unwrap();
    assert_ne!(again.fingerprint, issued.fingerprint, "each certificate has its own serial");
}

#[test]
fn bad_requests_are_refused() {
    let (_dir, ca) = ca();
    let (tenant, device) = ids();
    let refused = |csr: &str| match ca.issue(csr, &tenant, &device, NOW_MS) {
        Err(CaError::Request(why)) => why,
        other => panic!("{other:?}"),
    };
    refused("");
    refused("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n");
    assert!(refused(&"x".repeat(1 << 20)).contains("8 KiB"));
    let key = KeyPair::generate().unwrap();
    let good = request(&CertificateParams::default(), &key);
    // The signature is the last thing in the request: flip a bit of it.
    let der = CertificateSigningRequestDer::from_pem_slice(good.as_bytes()).unwrap();
    let mut der = der.to_vec();
    *der.last_mut().unwrap() ^= 1;
    let body = data_encoding::BASE64.encode(&der);
    let forged =
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n");
    assert!(refused(&forged).contains("signed"));
    let mut odd = CertificateParams::default();
    odd.custom_extensions
        .push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]));
    refused(&request(&odd, &key));
    assert!(refused(RSA_2048).contains("P-256"), "{}", refused(RSA_2048));
    refused(RSA_1024);
    for kind in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let key = KeyPair::generate_for(kind).unwrap();
        ca.issue(&request(&CertificateParams::default(), &key), &tenant, &device, NOW_MS).unwrap();
    }
}

#[test]
fn only_our_device_certificates_name_a_device() {
    let named = |uris: &[&str]| {
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            uris.iter().map(|u| SanType::URI(Ia5String::try_from(*u).unwrap())).collect();
        let key = KeyPair::generate().unwrap();
        device_of(params.self_signed(&key).unwrap().der())
    };
    assert_eq!(named(&["urn:openclaw:acme:pump-7"]), Some(ids()));
    assert_eq!(named(&["https://example.org/", "urn:openclaw:acme:pump-7"]), Some(ids()));
    for bad in [
        &[][..],
        &["urn:openclaw:acme"],
        &["urn:openclaw:acme:a:b"],
        &["urn:openclaw:+:#"],
        &["urn:openclaw:acme:pump-7", "urn:openclaw:acme:pump-8"],
    ] {
        assert_eq!(named(bad), None, "{bad:?}");
    }
    assert_eq!(device_of(&CertificateDer::from(vec![1, 2, 3])), None);
}

#[test]
fn the_server_s_certificate_is_renewed_at_two_thirds_of_its_life() {
    let (_dir, ca) = ca();
    let names = ["localhost", "127.0.0.1", "::1", "fleet.example.org"].map(str::to_owned);
    let identity = ServerIdentity::new(&ca, names.to_vec(), NOW_MS).unwrap();
    let first = Arc::clone(&identity.current.read().unwrap().0);
    assert_eq!(first.cert.len(), 2, "the authority comes along");
    assert_eq!(fingerprint(&first.cert[1]), ca.fingerprint());
    assert!(!identity.renew_if_due(&ca, NOW_MS + 59 * DAY_MS).unwrap());
    assert!(identity.renew_if_due(&ca, NOW_MS + 60 * DAY_MS).unwrap());
    let second = Arc::clone(&identity.current.read().unwrap().0);
    assert_ne!(first.cert[0], second.cert[0]);
    for bad in ["", "exa mple", "*", "a/b", "é"] {
        let error = ServerIdentity::new(&ca, vec![bad.to_owned()], NOW_MS).unwrap_err();
        assert!(matches!(error, CaError::Name(_)), "{bad:?}");
    }
}

#[test]
fn desired_state_is_signed_with_the_key_that_devices_pin() {
    let (_dir, ca) = ca();
    let signature = ca.sign_desired(b"document").unwrap();
    let key = data_encoding::HEXLOWER.decode(ca.desired_key_hex().as_bytes()).unwrap();
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key);
    assert_eq!(signature.len(), 64);
    key.verify(b"document", &signature).unwrap();
    key.verify(b"documenT", &signature).unwrap_err();
}

const RSA_1024: &str = "-----BEGIN CERTIFICATE REQUEST-----\n\
    MIIBTjCBuAIBADAPMQ0wCwYDVQQDDAR3ZWFrMIGfMA0GCSqGSIb3DQEBAQUAA4GN\n\
    ADCBiQKBgQDBuVU8B9WwZUQMO4VRzDx3icFyAmRjqWohitT5JS6FZpVWn0Q1HvG4\n\
    TCTAl03wks7qCIMdRYM39hgFzsB053fYGMw6vQORzVeXv+dzlUeE4RDtAL/00EnV\n\
    R0y1UBwgXcMiHMsTPuESY/iPbQ/oIU5lK+7QgZGNeiyN2yj6Cl/y7wIDAQABoAAw\n\
    DQYJKoZIhvcNAQELBQADgYEAgZLR+nsI7/O4X5pzVfBftJORt2s47DrV2GkKkBAo\n\
    36RvaVw14sq+Zp97ucdJHEAtcOyXMJwt890b7UlV4wibuDOUklN4J4LW3IJQs/Kz\n\
    IlfSNUiwy8Fg4uIrFapLDV37xRLA71ed5TYyX4ZUNYE1J5CX2KfYgYZfXxOfzL+b\n\
    Z7Y=\n\
    -----END CERTIFICATE REQUEST-----\n";

const RSA_2048: &str = "-----BEGIN CERTIFICATE REQUEST-----\n\
    MIICVjCCAT4CAQAwETEPMA0GA1UEAwwGc3Ryb25nMIIBIjANBgkqhkiG9w0BAQEF\n\
    AAOCAQ8AMIIBCgKCAQEAuYJDVPUA3RiX7dwpLt7o0ppeFZF1hRL6SC6uszt1MbU3\n\
    V2ZxAVg/8wxgKVgqxlejZg67LmXxco8WFH4oTd6G8gcGamwNnlUNFyTLHL6//bQb\n\
    Rte7/E9adGbK3pclzrMVvTzjvMTD6ryFTrDPqnJKeZ4iduuvKXhx/ImAiBsU2hw4\n\
    e7aGR16icU+hP7RaCVI8HOPrTt9J6thxHQR/K5Ey4IPCKrOw/1wQ5fJYNtH7Y8JR\n\
    FDO4FXQGhnuLDDjrcrfLMJbvS12Jui11lzub7PVDcNMliNxfrbYEbvELz0m8ADP4\n\
    j8Pp7Tv2eh4wR46CynQU/AOssCnnDIbBTKB6E2jYnwIDAQABoAAwDQYJKoZIhvcN\n\
    AQELBQADggEBAIxFOl+8Z+oraDr1TNDZsDl5vIGAHSptNNhbKCjmjGB+niXYXNCy\n\
    CsO1QoCP+uSqBJRBwEXA9QrJ4EwQf/0RujfEOm5hPO73S/O4asQ4hUrGvUEvF3O6\n\
    F1NAor9NAi2RFnqd2nQof+XYLL0jayahgi17jSapH7nHbJ+vulT99Ju4iVcHKaCt\n\
    QkbqW8eTEzex1Nb8Ho/tmcz+m1WHdKT27hAaJqCpIO2DBngT8d5zxrnryNdMtW6c\n\
    mAYVZguEAlf5OduhVBJe0qa3/yvF6Mxf5wTjlxwdV6AonRFx+6addBGnJH1iHhCn\n\
    NqXdlLUwdWGPGVAa3djO3Yje3yWcGjvPQrk=\n\
    -----END CERTIFICATE REQUEST-----\n";
