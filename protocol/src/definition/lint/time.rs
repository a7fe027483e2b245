//! Time: steps that may wait for ever, retries that cannot all happen, clocks that may be wrong.

use super::map::{Map, Role};
use super::order::Order;
use super::places::Places;
use super::{Code, Report, Target};
use crate::definition::model::{
    Align, Backoff, DelayFor, ParallelMode, Retry, ScopeIx, Step, StepIx, StepKind, TriggerKind,
};
use crate::time::show_duration;

/// Waits are cut here even where the author names no cap.
const MOST_WAIT_MS: u64 = 30 * 86_400_000;

pub(super) fn check(order: &Order<'_>, places: &Places<'_>, target: Target, report: &mut Report) {
    let map = order.map();
    for (ix, step) in map.steps() {
        if may_wait_for_ever(step) && !is_bounded(map, ix, places) {
            no_timeout(map, ix, places, report);
        }
        long_retry(map, ix, places, report);
        if let StepKind::Delay(delay) = &step.kind
            && matches!(delay.length, DelayFor::Until { .. })
            && places.key(map.workflow, ix, "require").is_none()
        {
            let at = places.key(map.workflow, ix, "until");
            let at = at.map_or_else(|| places.id(map.workflow, ix), |entry| entry.at);
            let message = format!(
                "`{}` goes by the wall clock, which a device without a battery or time from the \
                 network knows only roughly",
                step.id
            );
            let suggestion = "add `require: synced` to wait until the clock is known to be right, or \
                              `require: estimated` if roughly will do";
            report.add(Code::Downtime, at, message, suggestion);
        }
    }
    if target.no_clock {
        cron(map, places, report);
    }
}

/// Slots of the wall clock on a device that has none.
fn cron(map: &Map<'_>, places: &Places<'_>, report: &mut Report) {
    let nodes = places.top("triggers").and_then(|entry| entry.value.list()).unwrap_or_default();
    for (trigger, node) in map.workflow.triggers.iter().zip(nodes) {
        let is_of_the_clock = matches!(
            trigger.kind,
            TriggerKind::Cron { .. } | TriggerKind::Interval { align: Align::Clock, .. }
        );
        if is_of_the_clock && trigger.enabled {
            let at =
                super::places::entry(node, trigger.kind.key()).map_or(node.at, |entry| entry.at);
            let message = format!(
                "`{}` fires by the wall clock, and not at all until the device has learnt the time",
                trigger.id
            );
            let suggestion = "use `interval`, which counts from boot, if the hour does not matter";
            report.add(Code::Downtime, at, message, suggestion);
        }
    }
}

/// Whether a step has no end of its own.
fn may_wait_for_ever(step: &Step) -> bool {
    let waits = matches!(&step.kind, StepKind::Wait(_) | StepKind::Approval(_))
        || matches!(&step.kind, StepKind::Call(call) if !call.detach);
    waits && step.timeout_ms.is_none() && step.total_timeout_ms.is_none()
}

/// Whether something around a step ends it some day, or its author has said that nothing shall.
fn is_bounded(map: &Map<'_>, ix: StepIx, places: &Places<'_>) -> bool {
    let says_none = places.key(map.workflow, ix, "timeout").is_some();
    let way = map.way_to(ix);
    let is_last = way.first().is_some_and(|level| map.role(level.scope) == Role::Finally);
    if says_none || map.workflow.timeout_ms.is_some() || is_last {
        return true;
    }
    let around = way.split_last().map_or(&[][..], |(_, around)| around);
    let ends = |step: &Step| step.timeout_ms.is_some() || step.total_timeout_ms.is_some();
    let inner = way.iter().skip(1).map(|level| level.scope);
    around.iter().zip(inner).any(|(level, scope)| {
        let step = map.step(level.step);
        let in_finally = map.role(scope) == Role::Finally;
        ends(step) || in_finally || loses_a_race(map, step, scope)
    })
}

/// Whether another branch is certain to end, and then ends this one.
fn loses_a_race(map: &Map<'_>, step: &Step, branch: ScopeIx) -> bool {
    let StepKind::Parallel { mode: ParallelMode::Race, branches, .. } = &step.kind else {
        return false;
    };
    let others = branches.iter().map(|(_, scope)| *scope).filter(|scope| *scope != branch);
    others
        .into_iter()
        .any(|other| !map.inside(other).iter().any(|ix| may_wait_for_ever(map.step(*ix))))
}

fn no_timeout(map: &Map<'_>, ix: StepIx, places: &Places<'_>, report: &mut Report) {
    let step = map.step(ix);
    let (what, example) = match step.kind.key() {
        "approval" => ("if nobody answers, it waits for ever", "timeout: 4h"),
        "call" => ("it waits as long as the called run takes", "timeout: 10m"),
        _ => ("if what it waits for never comes, it waits for ever", "timeout: 5m"),
    };
    let message = format!("`{}` has no `timeout`: {what}", step.id);
    let suggestion = format!("add `{example}`, or `timeout: none` if that is meant");
    report.add(Code::NoTimeout, places.id(map.workflow, ix), message, suggestion);
}

/// Retries of which the last cannot happen any more.
fn long_retry(map: &Map<'_>, ix: StepIx, places: &Places<'_>, report: &mut Report) {
    let step = map.step(ix);
    let bounds = [
        (step.total_timeout_ms, "the step's `total_timeout`"),
        (map.workflow.timeout_ms, "the workflow's `timeout`"),
    ];
    let bound = bounds.into_iter().filter_map(|(ms, what)| Some((ms?, what))).min();
    let Some((bound_ms, what)) = bound else { return };
    for policy in &step.retry {
        if policy.max_elapsed_ms.is_some_and(|ms| ms <= bound_ms) {
            continue;
        }
        let mut total_ms = 0_u64;
        let mut possible = 0;
        for n in 1..=policy.max_retries {
            total_ms = total_ms.saturating_add(longest_wait_ms(policy, n));
            if total_ms <= bound_ms {
                possible = n;
            }
        }
        if total_ms <= bound_ms {
            continue;
        }
        let at = places.key(map.workflow, ix, "retry");
        let at = at.map_or_else(|| places.id(map.workflow, ix), |entry| entry.at);
        let message = format!(
            "the {} retries of `{}` wait {} in all, but {what} is {}: at most {possible} can happen",
            policy.max_retries,
            step.id,
            show_duration(total_ms),
            show_duration(bound_ms)
        );
        let suggestion = "retry less often or sooner (`max_delay`), or allow more time";
        report.add(Code::LongRetry, at, message, suggestion);
    }
}

/// The longest wait before the n-th retry (from 1), in milliseconds: jitter only makes it shorter.
#[must_use]
pub fn longest_wait_ms(policy: &Retry, n: u32) -> u64 {
    let grown = match policy.backoff {
        Backoff::Constant => policy.delay_ms,
        Backoff::Linear => policy.delay_ms.saturating_mul(u64::from(n)),
        Backoff::Exponential => {
            let most = f64::from(u32::MAX);
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53 where it matters")]
            let mut wait = policy.delay_ms as f64;
            for _ in 1..n {
                wait *= policy.factor;
                if wait >= most {
                    break;
                }
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
            let wait = wait.clamp(0.0, most) as u64;
            wait
        }
    };
    grown.min(policy.max_delay_ms.unwrap_or(MOST_WAIT_MS)).min(MOST_WAIT_MS)
}
