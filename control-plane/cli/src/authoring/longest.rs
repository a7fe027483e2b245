//! How long a step, a scope, a workflow may take at most, where that is bounded.
//!
//! Counted is the time that the steps themselves may take and the waits between their attempts, on a
//! device that has power and a free slot. What undoes steps is not counted.

use std::collections::BTreeMap;

use openclaw_protocol::definition::lint::longest_wait_ms;
use openclaw_protocol::definition::{
    DelayFor, LoopTest, ParallelMode, Retry, ScopeIx, Step, StepIx, StepKind, Workflow,
};

/// The bound of a whole run, without its `on_failure`, in milliseconds.
pub(crate) fn workflow(workflow: &Workflow) -> Option<u64> {
    let steps = least(scope(workflow, workflow.root), workflow.timeout_ms);
    Some(steps?.saturating_add(tidied(workflow, workflow.finally, workflow.finally_timeout_ms)?))
}

/// The bound of a `finally`, where there is one.
fn tidied(workflow: &Workflow, finally: Option<ScopeIx>, bound_ms: u64) -> Option<u64> {
    finally.map_or(Some(0), |ix| least(scope(workflow, ix), Some(bound_ms)))
}

/// The bound of a scope: its longest way.
pub(crate) fn scope(workflow: &Workflow, ix: ScopeIx) -> Option<u64> {
    let scope = workflow.scope(ix);
    // The longest way that ends in each step. Edges may lead backwards in the list.
    let mut waits_for: BTreeMap<StepIx, u16> =
        scope.steps.iter().map(|ix| (*ix, workflow.step(*ix).incoming)).collect();
    let mut before: BTreeMap<StepIx, u64> = scope.steps.iter().map(|ix| (*ix, 0)).collect();
    let mut ready: Vec<StepIx> = scope.entries.clone();
    let mut longest = 0_u64;
    while let Some(ix) = ready.pop() {
        let here = before.get(&ix).copied().unwrap_or(0).saturating_add(step(workflow, ix)?);
        longest = longest.max(here);
        for edge in &workflow.step(ix).edges {
            if let Some(known) = before.get_mut(&edge.to) {
                *known = (*known).max(here);
            }
            if let Some(left) = waits_for.get_mut(&edge.to) {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    ready.push(edge.to);
                }
            }
        }
    }
    Some(longest)
}

/// The bound of a step with all its attempts.
pub(crate) fn step(workflow: &Workflow, ix: StepIx) -> Option<u64> {
    let step = workflow.step(ix);
    let attempt = least(inside(workflow, step), step.timeout_ms);
    let retries: u64 = step.retry.iter().map(|policy| u64::from(policy.max_retries)).sum();
    let waits: u64 = step.retry.iter().map(all_waits_ms).fold(0, u64::saturating_add);
    let all = attempt.map(|ms| ms.saturating_mul(retries + 1).saturating_add(waits));
    least(all, step.total_timeout_ms)
}

/// All waits of a policy together, at the longest.
pub(crate) fn all_waits_ms(policy: &Retry) -> u64 {
    let waits = (1..=policy.max_retries).map(|n| longest_wait_ms(policy, n));
    waits.fold(0, u64::saturating_add)
}

/// The shorter of two bounds, where there are any.
fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    [one, other].into_iter().flatten().min()
}

/// The longest of several, if all are bounded.
fn most(all: impl IntoIterator<Item = Option<u64>>) -> Option<u64> {
    all.into_iter().try_fold(0, |longest: u64, one| Some(longest.max(one?)))
}

/// The bound of one attempt as far as it follows from what is done.
fn inside(workflow: &Workflow, step: &Step) -> Option<u64> {
    let of = |ix: ScopeIx| scope(workflow, ix);
    match &step.kind {
        // Their timeout is their bound.
        StepKind::Plugin(_) | StepKind::Wait(_) | StepKind::Approval(_) => None,
        StepKind::Call(call) => call.detach.then_some(0),
        StepKind::Publish(message) => (!message.confirm_broker).then_some(0),
        StepKind::Set(_)
        | StepKind::Emit { .. }
        | StepKind::Log { .. }
        | StepKind::Succeed { .. }
        | StepKind::Fail { .. } => Some(0),
        StepKind::Delay(delay) => match &delay.length {
            DelayFor::Fixed(ms) => Some(*ms),
            DelayFor::Computed(_) | DelayFor::Until { .. } => None,
        },
        StepKind::Condition { then, otherwise, .. } => {
            most([then, otherwise].into_iter().flatten().map(|ix| of(*ix)))
        }
        StepKind::Switch { cases, default, .. } => {
            most(cases.iter().filter_map(|case| case.body).chain(*default).map(of))
        }
        StepKind::Parallel { mode, branches, concurrency, .. } => {
            let all: Vec<Option<u64>> = branches.iter().map(|(_, ix)| of(*ix)).collect();
            let at_once = concurrency.map_or(all.len(), usize::from);
            if at_once < all.len() {
                return all.into_iter().try_fold(0, |sum: u64, one| Some(sum.saturating_add(one?)));
            }
            let sure = branches.iter().filter(|(_, ix)| cannot_fail(workflow, *ix));
            let winner = sure.filter_map(|(_, ix)| of(*ix)).min();
            match mode {
                ParallelMode::Race => least(most(all), winner),
                ParallelMode::FailFast | ParallelMode::WaitAll | ParallelMode::Need(_) => most(all),
            }
        }
        StepKind::Loop { test, max_iterations, every_ms, body, .. } => {
            let times = match test {
                LoopTest::Times(times) => times.source().parse().unwrap_or(*max_iterations),
                LoopTest::While(_) | LoopTest::Until(_) => *max_iterations,
            };
            let once = of(*body)?.max(every_ms.unwrap_or(0));
            Some(once.saturating_mul(u64::from(times)))
        }
        // How many items there are shows only when it runs.
        StepKind::Foreach(_) => None,
        StepKind::Try { body, catches, finally, finally_timeout_ms } => {
            let caught = most(catches.iter().map(|catch| of(catch.body)))?;
            let tidied = tidied(workflow, *finally, *finally_timeout_ms)?;
            Some(of(*body)?.saturating_add(caught).saturating_add(tidied))
        }
        StepKind::Sequence { body, .. } => of(*body),
    }
}

/// Whether a scope is certain to end well.
fn cannot_fail(workflow: &Workflow, ix: ScopeIx) -> bool {
    workflow.scope(ix).steps.iter().all(|ix| {
        let step = workflow.step(*ix);
        let is_fixed = matches!(&step.kind, StepKind::Delay(delay) if matches!(delay.length, DelayFor::Fixed(_)));
        is_fixed && step.condition.is_none()
    })
}

#[cfg(test)]
mod tests {
    use openclaw_protocol::definition;

    #[track_caller]
    fn bound(steps: &str) -> Option<u64> {
        let text = format!("workflow: w\nsteps:\n{steps}");
        let workflow = definition::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        super::workflow(&workflow).map(|ms| ms / 1000)
    }

    #[test]
    fn bounds() {
        for (steps, expected) in [
            ("- { id: a, delay: 5 }\n- { id: b, delay: 7 }\n", Some(12)),
            ("- { id: a, delay: 5 }\nfinally: [{ id: z, delay: 100 }]\n", Some(35)),
            ("- { id: a, wait: { signal: s } }\nfinally: [{ id: z, delay: 1 }]\n", None),
            ("- { id: a, plugin: p@1, timeout: 10, retry: none }\n", Some(10)),
            // Four attempts of 10 s, and waits of 60, 120 and 180 s.
            ("- { id: a, plugin: p@1, timeout: 10 }\n", Some(400)),
            ("- { id: a, plugin: p@1, total_timeout: 90 }\n", Some(90)),
            ("- { id: a, wait: { signal: s } }\n", None),
            ("- { id: a, wait: { signal: s }, timeout: 30 }\n", Some(30)),
            ("- { id: a, delay: '${ vars.x }', export: {x: 1} }\n", None),
            ("- { id: l, loop: { times: 3 }, do: [{ id: a, delay: 5 }] }\n", Some(15)),
            ("- { id: l, loop: { times: 3, every: 10 }, do: [{ id: a, delay: 5 }] }\n", Some(30)),
            (
                "- { id: a, start: true, delay: 5, next_steps: [c] }\n\
                 - { id: c, delay: 1 }\n- { id: b, start: true, delay: 9, next_steps: [c] }\n",
                Some(10),
            ),
            (
                "- id: p\n  parallel:\n    mode: race\n    branches:\n      \
                 one: [{ id: a, wait: { signal: s } }]\n      two: [{ id: b, delay: 9 }]\n",
                Some(9),
            ),
            (
                "- id: t\n  try: [{ id: a, delay: 4 }]\n  catch: { do: [{ id: b, delay: 2 }] }\n  \
                 finally: [{ id: c, delay: 100 }]\n",
                Some(36),
            ),
            (
                "- { id: a, delay: 5, on_failure: c }\n- { id: b, delay: 7 }\n- { id: c, delay: 20 }\n",
                Some(25),
            ),
        ] {
            assert_eq!(bound(steps), expected, "{steps}");
        }
    }
}
