//! `/events`: what changes, as it changes (server-sent events, WHATWG HTML section 9.2).

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use openclaw_protocol::id::TenantId;

use super::error::problem;
use super::openapi::Problems;
use crate::context::{Ctx, LiveEvent};
use crate::identity::{Place, Principal};
use crate::service::auth;

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
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Response> {
    let limits = &ctx.config.http.limits;
    let key = (who.tenant.clone(), who.actor.clone());
    let place = ctx.streams.enter(key, limits.streams).ok_or_else(too_many)?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let last = last.map(|text| text.parse().unwrap_or(u64::MAX));
    let feed = ctx.live.watch(&who.tenant, last);
    let before: Vec<Event> = match feed.missed {
        Some(missed) => missed.iter().map(event).collect(),
        None => vec![reset()],
    };
    let mut rechecks = interval_at(Instant::now() + limits.recheck, limits.recheck);
    rechecks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watcher = Watcher { ctx, who, rechecks, receiver: feed.receiver, _place: place };
    let live = stream::unfold(watcher, |mut watcher| async move {
        let next = watcher.next().await?;
        Some((next, watcher))
    });
    let all = stream::iter(before).chain(live).map(Ok);
    Ok(Sse::new(all).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn too_many() -> Response {
    let detail = "too many event streams of one login or key; close one first".to_owned();
    problem(StatusCode::TOO_MANY_REQUESTS, "events.too_many", detail, Vec::new())
}

/// One who watches.
struct Watcher {
    ctx: Ctx,
    who: Principal,
    /// When to look whether they still may.
    rechecks: Interval,
    receiver: broadcast::Receiver<LiveEvent>,
    _place: Place<(TenantId, String)>,
}

impl Watcher {
    /// What comes next; `None` when the server stops, or when the watcher may watch no more. One
    /// whom the database cannot answer for comes back with the number of the last event.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                () = self.ctx.stop.cancelled() => return None,
                _ = self.rechecks.tick() => {
                    auth::known_by(&self.ctx, self.who.credential.clone()).await.ok()?;
                }
                received = self.receiver.recv() => match received {
                    Ok(found) if found.tenant == self.who.tenant => return Some(event(&found)),
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return Some(reset()),
                    Err(RecvError::Closed) => return None,
                }
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
