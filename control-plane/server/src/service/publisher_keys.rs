//! Keys that sign plugins: added, listed, revoked; and whether a signature is one of theirs.

use data_encoding::HEXLOWER_PERMISSIVE;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use openclaw_protocol::api::{AddPublisherKey, Page, PluginSignature, PublisherKey};
use openclaw_protocol::id::TenantId;

use super::page::{PageQuery, page};
use super::{Fault, Outcome, audit};
use crate::clock::rfc3339;
use crate::context::Context;
use crate::identity::Principal;
use crate::store::Tx;
use crate::store::publisher_keys::{self, KeyRow};

/// Bytes of a name at most.
const NAME_BYTES: usize = 64;
/// Hexadecimal digits of a key's id.
const ID_DIGITS: usize = 16;

/// Lists keys, revoked ones too.
pub(crate) async fn list(
    ctx: &Context,
    who: &Principal,
    query: &PageQuery,
) -> Outcome<Page<PublisherKey>> {
    let limit = query.limit()?;
    let [after] = query.after()?.unwrap_or_default();
    let mut tx = ctx.db.read().await?;
    let rows = publisher_keys::list(&mut tx, &who.tenant, &after, limit + 1).await?;
    Ok(page(rows, limit, |row| vec![row.id.clone()], view))
}

/// Adds a key: from now on what it signs is taken for its owner's. The same again is answered with
/// what is there; one that was revoked stays revoked.
pub(crate) async fn add(
    ctx: &Context,
    who: &Principal,
    request: AddPublisherKey,
) -> Outcome<PublisherKey> {
    let name = request.name.trim().to_owned();
    if name.is_empty() || name.len() > NAME_BYTES || name.chars().any(char::is_control) {
        let detail = format!("a key's name has 1 to {NAME_BYTES} bytes of text on one line");
        return Err(Fault::invalid("publisher_key.name", detail));
    }
    let Some(bytes) = decoded::<32>(&request.public_key) else {
        let detail = "a public key is Ed25519, 64 hexadecimal digits; `openclaw plugin key new` \
                      makes one and prints it";
        return Err(Fault::invalid("publisher_key.public_key", detail));
    };
    let now_ms = ctx.clock.now_ms();
    let row = KeyRow {
        id: id_of(&bytes),
        name,
        public_key: HEXLOWER_PERMISSIVE.encode(&bytes),
        added_by: who.actor.clone(),
        added_ms: now_ms,
        revoked_ms: None,
    };
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    if publisher_keys::insert(&mut tx, &who.tenant, &row).await? {
        let detail = json!({ "name": row.name, "public_key": row.public_key });
        audit::note(&mut tx, who, "publisher_key.add", &row.id, detail, now_ms).await?;
        tx.commit().await?;
        return Ok(view(row));
    }
    let there = require(&mut tx, &who.tenant, &row.id).await?;
    if there.revoked_ms.is_some() {
        let detail = format!("key `{}` was revoked, and stays so; make a new one", row.id);
        return Err(Fault::conflict("publisher_key.revoked", detail));
    }
    Ok(view(there))
}

/// Revokes a key: it signs nothing new. What it has signed stays published.
pub(crate) async fn revoke(ctx: &Context, who: &Principal, id: &str) -> Outcome<()> {
    let now_ms = ctx.clock.now_ms();
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    if require(&mut tx, &who.tenant, id).await?.revoked_ms.is_none() {
        publisher_keys::revoke(&mut tx, &who.tenant, id, now_ms).await?;
        audit::note(&mut tx, who, "publisher_key.revoke", id, json!({}), now_ms).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Whether a statement is signed by a key of the tenant that is good; answers the key's id and the
/// signature as they are kept.
pub(super) async fn verify(
    tx: &mut Tx,
    tenant: &TenantId,
    statement: &str,
    signature: &PluginSignature,
) -> Outcome<(String, String)> {
    let wrong = |detail: String| Fault::invalid("plugin.signature", detail);
    let id: String = signature.key.chars().take(ID_DIGITS).collect();
    let Some(key) = publisher_keys::find(tx, tenant, &signature.key).await? else {
        return Err(wrong(format!(
            "it is signed with the key `{id}`, which nobody has added here; an admin adds it with \
             `openclaw plugin key add`"
        )));
    };
    if key.revoked_ms.is_some() {
        return Err(wrong(format!(
            "it is signed with the key `{id}` of {}, which is revoked; sign it with another",
            key.name
        )));
    }
    let bytes = decoded::<64>(&signature.signature);
    let public = decoded::<32>(&key.public_key);
    let is_good = bytes.zip(public).is_some_and(|(bytes, public)| {
        UnparsedPublicKey::new(&ED25519, public).verify(statement.as_bytes(), &bytes).is_ok()
    });
    if !is_good {
        return Err(wrong(format!(
            "the signature is not one of key `{id}` over this name, version, module and manifest; \
             sign again after the last change (`openclaw plugin sign`)"
        )));
    }
    Ok((key.id, signature.signature.to_lowercase()))
}

async fn require(tx: &mut Tx, tenant: &TenantId, id: &str) -> Outcome<KeyRow> {
    let found = publisher_keys::find(tx, tenant, id).await?;
    found.ok_or_else(|| Fault::not_found("publisher key", id))
}

/// A key's id: the first digits of its SHA-256.
pub(crate) fn id_of(public_key: &[u8]) -> String {
    let mut text = HEXLOWER_PERMISSIVE.encode(&Sha256::digest(public_key));
    text.truncate(ID_DIGITS);
    text
}

fn decoded<const N: usize>(text: &str) -> Option<[u8; N]> {
    HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok()?.try_into().ok()
}

fn view(row: KeyRow) -> PublisherKey {
    PublisherKey {
        id: row.id,
        name: row.name,
        public_key: row.public_key,
        added_at: rfc3339(row.added_ms),
        added_by: row.added_by,
        revoked_at: row.revoked_ms.map(rfc3339),
    }
}
