//! `openclaw plugin key` and `openclaw plugin sign`: who a plugin is from.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use data_encoding::{BASE64, HEXLOWER};
use openclaw_protocol::api::{AddPublisherKey, PluginSignature, PublisherKey};
use openclaw_protocol::plugin::statement;
use openclaw_sandbox::digest_of;
use reqwest::Method;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;
use zeroize::Zeroizing;

use super::{confirm, plugin};
use crate::args::{Files, Global, KeyVerb};
use crate::client::{Client, path};
use crate::exit::{FAILED, Failure, INVALID};
use crate::output;

/// Where a signature lies, beside the manifest.
pub(super) const SIGNATURE_FILE: &str = "plugin.sig";
/// Hexadecimal digits of a key's id.
const ID_DIGITS: usize = 16;
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// What needs the control plane.
pub(super) async fn run(client: &Client, global: &Global, verb: KeyVerb) -> Result<(), Failure> {
    match verb {
        KeyVerb::New { file } => new(global, &file),
        KeyVerb::Add { public_key, name } => {
            let body = AddPublisherKey { name, public_key };
            let key: PublisherKey = client.post("/publisher-keys", &body).await?;
            output::done(global.output, &key, &format!("{} signs as {}", key.id, key.name))
        }
        KeyVerb::List => {
            let keys: Vec<PublisherKey> = client.list("/publisher-keys", usize::MAX).await?;
            let header = ["id", "name", "added", "by", "revoked"];
            output::print(global.output, &keys, &header, |keys| keys.iter().map(row).collect())
        }
        KeyVerb::Revoke { id } => {
            let path = path(&["publisher-keys", &id])?;
            confirm(global.yes, &format!("take nothing new that key {id} signs?")).await?;
            client.call(Method::DELETE, &path).await?;
            let data = json!({ "id": id, "revoked": true });
            output::done(global.output, &data, &format!("key {id} is revoked"))
        }
    }
}

fn row(key: &PublisherKey) -> Vec<String> {
    vec![
        key.id.clone(),
        key.name.clone(),
        key.added_at.clone(),
        key.added_by.clone(),
        output::time(key.revoked_at.as_ref()),
    ]
}

/// Makes a key.
pub(super) fn new(global: &Global, file: &Path) -> Result<(), Failure> {
    let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
    let made = made.map_err(|_| Failure::new(FAILED, "the system gives no random bytes"))?;
    let pair = Ed25519KeyPair::from_pkcs8(made.as_ref())
        .map_err(|error| Failure::new(FAILED, format!("the key cannot be used: {error}")))?;
    let text = Zeroizing::new(format!("{BEGIN}\n{}\n{END}\n", BASE64.encode(made.as_ref())));
    let mut private = std::fs::OpenOptions::new();
    let written = private
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|e| {
        Failure::new(FAILED, format!("cannot make {}: {e}", file.display()))
            .hint("a key is never written over another; choose a name that is free")
    })?;
    let (id, public_key) = public(&pair);
    eprintln!("the private key is in {}; whoever has it can sign as you", file.display());
    let data = json!({ "id": id, "public_key": public_key });
    output::print(global.output, &data, &["id", "public key"], |_| vec![vec![id, public_key]])
}

/// Signs a plugin.
pub(super) fn sign(global: &Global, files: &Files, key: &Path) -> Result<(), Failure> {
    let plugin::Read { at, source, manifest, module } = plugin::read(files)?;
    let pair = load(key)?;
    let (id, _) = public(&pair);
    let (name, version) = (&manifest.name, &manifest.version);
    let said = statement(name, version, digest_of(&module), digest_of(source.as_bytes()));
    let signature = HEXLOWER.encode(pair.sign(said.as_bytes()).as_ref());
    let signature = PluginSignature { key: id, signature };
    let file = at.with_file_name(SIGNATURE_FILE);
    let text = serde_json::to_string_pretty(&signature)
        .map_err(|error| Failure::new(FAILED, error.to_string()))?;
    std::fs::write(&file, text + "\n")
        .map_err(|e| Failure::new(FAILED, format!("cannot write {}: {e}", file.display())))?;
    let text = format!("{name}@{version} is signed by {}: {}", signature.key, file.display());
    output::done(global.output, &signature, &text)
}

fn load(file: &Path) -> Result<Ed25519KeyPair, Failure> {
    let unfit = |what: String| {
        Failure::new(INVALID, format!("{}: {what}", file.display()))
            .hint("a publisher's key is an Ed25519 key in PEM (PKCS#8); `openclaw plugin key new FILE` makes one")
    };
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    let text = text.map_err(|e| unfit(format!("cannot be read: {e}")))?;
    let inner = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    let inner = inner.ok_or_else(|| unfit("it is no private key in PEM".to_owned()))?;
    let inner: Zeroizing<String> = Zeroizing::new(inner.split_whitespace().collect());
    let bytes = BASE64.decode(inner.as_bytes()).map(Zeroizing::new);
    let bytes = bytes.map_err(|e| unfit(e.to_string()))?;
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(&bytes).map_err(|e| unfit(e.to_string()))
}

/// A key's id and its public half.
fn public(pair: &Ed25519KeyPair) -> (String, String) {
    let public = pair.public_key();
    let mut id = digest_of(public.as_ref()).to_string();
    id.truncate(ID_DIGITS);
    (id, HEXLOWER.encode(public.as_ref()))
}
