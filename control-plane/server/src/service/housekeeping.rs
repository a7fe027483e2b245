//! What happens by itself: facts older or more than wanted are forgotten, a little at a time.

use std::time::Duration;

use openclaw_points::{Point, reach};
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
/// Days that the audit trail is kept at least, however short the retention of facts is.
const AUDIT_DAYS: u32 = 400;

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
    let before = |days: u32| now_ms - i64::from(days) * DAY_MS;
    let facts = [
        Kind::Results,
        Kind::RunEvents,
        Kind::Runs,
        Kind::Requests,
        Kind::Recordings,
        Kind::Security,
        Kind::Parked,
    ];
    let mut deleted = older_than(ctx, &facts, before(kept.days)).await?;
    let audit_days = kept.days.max(AUDIT_DAYS);
    deleted += older_than(ctx, &[Kind::Audit], before(audit_days)).await?;
    let mut tx = ctx.db.write().await?;
    deleted += retention::ended(&mut tx, now_ms).await?;
    tx.commit().await?;
    deleted += down_to(ctx, kept.max_bytes).await?;
    Ok(deleted)
}

async fn older_than(ctx: &Context, kinds: &[Kind], before_ms: i64) -> Outcome<u64> {
    let mut deleted = 0;
    for &kind in kinds {
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

/// Deletes the oldest of what nobody can read first, then of the run events, because results say
/// what matters, then of the results.
async fn down_to(ctx: &Context, most_bytes: u64) -> Outcome<u64> {
    let mut tx = ctx.db.read().await?;
    let events = retention::run_events_size(&mut tx).await?;
    let results = retention::results_size(&mut tx).await?;
    let parked = retention::parked_size(&mut tx).await?;
    drop(tx);
    let mut bytes = events.bytes() + results.bytes() + parked.bytes();
    let mut deleted = 0;
    let kinds = [(Kind::Parked, parked), (Kind::RunEvents, events), (Kind::Results, results)];
    for (kind, size) in kinds {
        let mut left = size.bytes();
        for _ in 0..DELETES {
            if bytes <= most_bytes {
                return Ok(deleted);
            }
            let rows = delete(ctx, kind, i64::MAX).await?;
            // Where nothing is left, whoever deleted the rest made room for it.
            let freed =
                if rows == 0 { left } else { rows.saturating_mul(size.row_bytes).min(left) };
            (bytes, left) = (bytes.saturating_sub(freed), left - freed);
            deleted += rows;
            if rows == 0 {
                break;
            }
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
    Recordings,
    Security,
    Parked,
    Audit,
}

async fn delete(ctx: &Context, kind: Kind, before_ms: i64) -> Outcome<u64> {
    let mut tx = ctx.db.write().await?;
    let rows = match kind {
        Kind::Results => retention::results(&mut tx, before_ms).await?,
        Kind::RunEvents => retention::run_events(&mut tx, before_ms).await?,
        Kind::Runs => retention::runs(&mut tx, before_ms).await?,
        Kind::Requests => retention::requests(&mut tx, before_ms).await?,
        Kind::Recordings => retention::recordings(&mut tx, before_ms).await?,
        Kind::Security => retention::security_events(&mut tx, before_ms).await?,
        Kind::Parked => retention::parked(&mut tx, before_ms).await?,
        Kind::Audit => retention::audit(&mut tx, before_ms).await?,
    };
    reach(Point::RetentionCommit);
    tx.commit().await?;
    Ok(rows)
}
