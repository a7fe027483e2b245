//! Security events: shown, latest first.

use serde::Deserialize;

use openclaw_protocol::api::{Page, SecurityEvent};

use super::page::{PageQuery, page};
use super::{Fault, Outcome};
use crate::clock::rfc3339;
use crate::context::Context;
use crate::identity::Principal;
use crate::store;
use crate::store::security::EventRow;

/// Which security events are wanted.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SecurityQuery {
    /// Only of this device.
    pub(crate) device: Option<String>,
    /// Entries at most: 1 to 200, 50 where absent.
    #[param(minimum = 1, maximum = 200)]
    pub(crate) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
}

/// Lists security events in the order they were heard of, latest first.
pub(crate) async fn list(
    ctx: &Context,
    who: &Principal,
    query: SecurityQuery,
) -> Outcome<Page<SecurityEvent>> {
    let SecurityQuery { device, limit, cursor } = query;
    let pages = PageQuery { limit, cursor };
    let limit = pages.limit()?;
    let (below_ms, id) = match pages.after::<2>()? {
        Some([at, id]) => {
            let wrong = |_| Fault::BadRequest("`cursor` is not one of ours".to_owned());
            (at.parse().map_err(wrong)?, id)
        }
        None => (i64::MAX, String::new()),
    };
    let mut tx = ctx.db.read().await?;
    let before = (below_ms, id.as_str());
    let rows =
        store::security::list(&mut tx, &who.tenant, device.as_deref(), before, limit + 1).await?;
    let key = |row: &EventRow| vec![row.received_ms.to_string(), row.id.clone()];
    Ok(page(rows, limit, key, view))
}

fn view(row: EventRow) -> SecurityEvent {
    SecurityEvent {
        id: row.id,
        device: row.device,
        code: row.code,
        message: row.message,
        at: rfc3339(row.at_ms),
        received_at: rfc3339(row.received_ms),
    }
}
