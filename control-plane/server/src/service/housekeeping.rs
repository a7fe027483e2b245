//! What happens by itself: facts older or more than wanted are forgotten, a little at a time.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Outcome;
use crate::context::{Context, Ctx};
use crate::store::retention;

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(10 * 60);
/// Between two deletes of a round, so that ingest gets its turn.
const PAUSE: Duration = Duration::from_millis(50);
/// Deletes of one kind in a round at most.
const DELETES: u32 = 1_000;
const DAY_MS: i64 = 24 * 3_600_000;

/// Keeps house until it is told to stop.
pub(crate) async fn run(ctx: Ctx, stop: CancellationToken) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = rounds.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            done = round(&ctx) => match done {
                Ok(0) => {}
                Ok(forgotten) => tracing::info!(forgotten, "old rows deleted by retention"),
                Err(error) => tracing::warn!(%error, "retention failed; it is tried again later"),
            }
        }
    }
}

/// One round. Answers how many rows it deleted.
pub(crate) async fn round(ctx: &Context) -> Outcome<u64> {
    let now_ms = ctx.clock.now_ms();
    let kept = &ctx.config.retention;
    let mut deleted = older_than(ctx, now_ms - i64::from(kept.days) * DAY_MS).await?;
    let mut tx = ctx.db.write().await?;
    deleted += retention::ended(&mut tx, now_ms).await?;
    tx.commit().await?;
    deleted += down_to(ctx, kept.max_bytes).await?;
    Ok(deleted)
}

async fn older_than(ctx: &Context, before_ms: i64) -> Outcome<u64> {
    let mut deleted = 0;
    for kind in [Kind::Results, Kind::RunEvents, Kind::Runs, Kind::Requests, Kind::Security] {
        for _ in 0..DELETES {
            let rows = delete(ctx, kind, before_ms).await?;
            deleted += rows;
            if rows < u64::from(retention::AT_ONCE) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(deleted)
}

/// Deletes the oldest run events first, because results say what matters, then results.
async fn down_to(ctx: &Context, most_bytes: u64) -> Outcome<u64> {
    let mut tx = ctx.db.read().await?;
    let events = retention::run_events_size(&mut tx).await?;
    let results = retention::results_size(&mut tx).await?;
    drop(tx);
    let mut bytes = events.bytes() + results.bytes();
    let mut deleted = 0;
    for (kind, size) in [(Kind::RunEvents, events), (Kind::Results, results)] {
        for _ in 0..DELETES {
            if bytes <= most_bytes {
                return Ok(deleted);
            }
            let rows = delete(ctx, kind, i64::MAX).await?;
            if rows == 0 {
                break;
            }
            deleted += rows;
            bytes = bytes.saturating_sub(rows.saturating_mul(size.row_bytes));
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(deleted)
}

#[derive(Clone, Copy)]
enum Kind {
    Results,
    RunEvents,
    Runs,
    Requests,
    Security,
}

async fn delete(ctx: &Context, kind: Kind, before_ms: i64) -> Outcome<u64> {
    let mut tx = ctx.db.write().await?;
    let rows = match kind {
        Kind::Results => retention::results(&mut tx, before_ms).await?,
        Kind::RunEvents => retention::run_events(&mut tx, before_ms).await?,
        Kind::Runs => retention::runs(&mut tx, before_ms).await?,
        Kind::Requests => retention::requests(&mut tx, before_ms).await?,
        Kind::Security => retention::security_events(&mut tx, before_ms).await?,
    };
    tx.commit().await?;
    Ok(rows)
}
