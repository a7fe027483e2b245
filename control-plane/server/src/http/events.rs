//! `/events`: what changes, as it changes (server-sent events, WHATWG HTML section 9.2).

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::broadcast::error::RecvError;

use openclaw_protocol::id::TenantId;

use super::openapi::Problems;
use crate::context::{Ctx, LiveEvent};
use crate::identity::Principal;

/// Between two comments that keep the connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Changes of devices, runs, requests, deployments and workflows. `reset` means: changes were
/// missed, load everything again.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    params(("Last-Event-ID" = Option<String>, Header, description = "Go on after this event")),
    responses((status = 200, content_type = "text/event-stream", body = String), Problems))]
pub(super) async fn stream(
    State(ctx): State<Ctx>,
    who: Principal,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let last = last.map(|text| text.parse().unwrap_or(u64::MAX));
    let feed = ctx.live.watch(&who.tenant, last);
    let before: Vec<Event> = match feed.missed {
        Some(missed) => missed.iter().map(event).collect(),
        None => vec![reset()],
    };
    let state = (ctx, who.tenant, feed.receiver);
    let live = stream::unfold(state, |(ctx, tenant, mut receiver)| async move {
        let next = next(&ctx, &tenant, &mut receiver).await?;
        Some((next, (ctx, tenant, receiver)))
    });
    let all = stream::iter(before).chain(live).map(Ok);
    Sse::new(all).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

async fn next(
    ctx: &Ctx,
    tenant: &TenantId,
    receiver: &mut tokio::sync::broadcast::Receiver<LiveEvent>,
) -> Option<Event> {
    loop {
        tokio::select! {
            () = ctx.stop.cancelled() => return None,
            received = receiver.recv() => match received {
                Ok(found) if found.tenant == *tenant => return Some(event(&found)),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return Some(reset()),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

fn event(event: &LiveEvent) -> Event {
    let data = serde_json::json!(event.change)["data"].to_string();
    Event::default().id(event.id.to_string()).event(event.change.name()).data(data)
}

fn reset() -> Event {
    Event::default().event("reset").data("{}")
}
