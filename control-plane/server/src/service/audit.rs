//! The audit row that each change of state writes.

use serde_json::Value;

use super::Outcome;
use crate::identity::Principal;
use crate::store::{self, Tx};

/// Writes down that a principal did something, in the transaction that does it.
pub(crate) async fn note(
    tx: &mut Tx,
    who: &Principal,
    action: &str,
    subject: &str,
    detail: Value,
    now_ms: i64,
) -> Outcome<()> {
    let entry = store::audit::Entry {
        tenant: who.tenant.as_str(),
        actor: &who.actor,
        action,
        subject,
        detail,
    };
    Ok(store::audit::record(tx, entry, now_ms).await?)
}
