//! `Idempotency-Key`: the same request with the same key is done once, and answered the same.
//!
//! The answer is kept in the transaction of what was done, so there is no moment at which the one
//! is there without the other.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Fault, Outcome};
use crate::identity::Principal;
use crate::store::Tx;
use crate::store::idempotency::{self, Answer};

/// Bytes of a key at most.
const KEY_BYTES: usize = 128;

/// A key as sent, with the hash of what it was sent with.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    key: String,
    request_hash: String,
}

impl Key {
    /// Takes a key from a request's header.
    pub(crate) fn new(key: &str, method_path_and_body: &str) -> Outcome<Self> {
        let is_plain = key.bytes().all(|b| b.is_ascii_graphic());
        if key.is_empty() || key.len() > KEY_BYTES || !is_plain {
            let detail = format!("an Idempotency-Key has 1 to {KEY_BYTES} visible characters");
            return Err(Fault::BadRequest(detail));
        }
        let request_hash = crate::random::hash(method_path_and_body);
        Ok(Self { key: key.to_owned(), request_hash })
    }
}

/// The answer that was given to this key before, if any.
pub(super) async fn replay<T: DeserializeOwned>(
    tx: &mut Tx,
    who: &Principal,
    key: Option<&Key>,
) -> Outcome<Option<T>> {
    let Some(key) = key else { return Ok(None) };
    let found = idempotency::find(tx, who.tenant.as_str(), &who.actor, &key.key).await?;
    let Some(answer) = found else { return Ok(None) };
    if answer.request_hash != key.request_hash {
        let detail = "this Idempotency-Key was used for another request; take a new one";
        return Err(Fault::invalid("idempotency.reused", detail));
    }
    serde_json::from_str(&answer.response)
        .map(Some)
        .map_err(|error| Fault::Internal(format!("a kept answer cannot be read: {error}")))
}

/// Keeps an answer under its key.
pub(super) async fn keep<T: Serialize>(
    tx: &mut Tx,
    who: &Principal,
    key: Option<&Key>,
    status: u16,
    answer: &T,
    now_ms: i64,
) -> Outcome<()> {
    let Some(key) = key else { return Ok(()) };
    let response =
        serde_json::to_string(answer).map_err(|error| Fault::Internal(error.to_string()))?;
    let answer = Answer { request_hash: key.request_hash.clone(), status, response };
    let tenant = who.tenant.as_str();
    if idempotency::insert(tx, tenant, &who.actor, &key.key, &answer, now_ms).await? {
        return Ok(());
    }
    let detail = "a request with this Idempotency-Key is under way; try again";
    Err(Fault::conflict("idempotency.busy", detail))
}
