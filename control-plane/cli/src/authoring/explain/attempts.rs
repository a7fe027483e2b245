//! How often a step is tried, after which waits, and how long that may take.

use openclaw_protocol::definition::lint::longest_wait_ms;
use openclaw_protocol::definition::{
    Effects, Jitter, OnInterrupt, Retry, Step, StepIx, StepKind, Workflow,
};
use openclaw_protocol::time::show_duration;

use super::super::longest;

/// Waits that are told one by one.
const WAITS: u32 = 6;

pub(super) fn lines(workflow: &Workflow, ix: StepIx) -> Vec<String> {
    let step = workflow.step(ix);
    let mut lines = Vec::new();
    if let Some(ms) = step.timeout_ms {
        let ms = show_duration(ms);
        lines.push(bound(step, &ms));
    }
    for policy in &step.retry {
        lines.push(retries(policy, step.retry.len() > 1));
    }
    if let Some(ms) = step.total_timeout_ms {
        lines.push(format!("All attempts and waits together may take {}.", show_duration(ms)));
    }
    if step.effects == Effects::AtMostOnce {
        lines.push(match step.on_interrupt {
            OnInterrupt::Fail => {
                "A power cut in the middle is the failure interrupted: it is not called again."
                    .to_owned()
            }
            OnInterrupt::Retry => "After a power cut in the middle it is called again.".to_owned(),
        });
    }
    if step.trace.is_some() {
        lines.push("What each call is told from outside is kept, for its replay.".to_owned());
    }
    let is_long = !step.retry.is_empty() || has_inside(&step.kind);
    match longest::step(workflow, ix) {
        Some(ms) if is_long && ms > 0 => {
            lines.push(format!("At most {} in all.", show_duration(ms)));
        }
        None if may_last(&step.kind) => {
            lines.push("There is no bound to how long it takes.".to_owned())
        }
        _ => {}
    }
    lines
}

/// What the end of its time means for a step.
fn bound(step: &Step, ms: &str) -> String {
    if let StepKind::Wait(wait) = &step.kind {
        let means = if wait.continue_on_timeout {
            "the flow goes on"
        } else {
            "it fails with wait.timeout"
        };
        return format!("After {ms} without it, {means}.");
    }
    if let StepKind::Approval(asked) = &step.kind {
        return match &asked.on_timeout {
            Some(choice) => format!("After {ms} without an answer, the answer is {choice}."),
            None => format!("After {ms} without an answer, it fails with wait.timeout."),
        };
    }
    let what = if step.retry.is_empty() { "It" } else { "Each attempt" };
    format!("{what} may take {ms}; then it fails with timeout.")
}

fn retries(policy: &Retry, one_of_many: bool) -> String {
    let which = if policy.errors.is_empty() {
        " with an error that is worth it".to_owned()
    } else {
        format!(" with {}", policy.errors.join(" or "))
    };
    let but = if policy.not_errors.is_empty() {
        String::new()
    } else {
        format!(" (but not {})", policy.not_errors.join(" or "))
    };
    if policy.max_retries == 0 {
        return format!("If it fails{which}{but}, it is not tried again.");
    }
    let shown = policy.max_retries.min(WAITS);
    let mut waits: Vec<String> =
        (1..=shown).map(|n| show_duration(longest_wait_ms(policy, n))).collect();
    if policy.max_retries > shown {
        waits.push(format!("… {}", show_duration(longest_wait_ms(policy, policy.max_retries))));
    }
    let jitter = match policy.jitter {
        Jitter::None => "",
        Jitter::Full => ", each shortened by chance to anything from nothing to this",
        Jitter::Equal => ", each shortened by chance by up to half",
    };
    let elapsed = policy
        .max_elapsed_ms
        .map_or_else(String::new, |ms| format!(", but not once {} have passed", show_duration(ms)));
    let times = if policy.max_retries == 1 {
        "once".to_owned()
    } else {
        format!("up to {} times", policy.max_retries)
    };
    let counted = if one_of_many { " (counted by itself)" } else { "" };
    let total = show_duration(longest::all_waits_ms(policy));
    let sum = if policy.max_retries > 1 { format!(" ({total} in all)") } else { String::new() };
    format!(
        "If it fails{which}{but}, it is tried again {times}{counted}, after {}{sum}{jitter}{elapsed}.",
        waits.join(", ")
    )
}

fn has_inside(kind: &StepKind) -> bool {
    matches!(
        kind,
        StepKind::Parallel { .. }
            | StepKind::Loop { .. }
            | StepKind::Foreach(_)
            | StepKind::Try { .. }
            | StepKind::Sequence { .. }
    )
}

/// Kinds of which people want to know that nothing bounds them.
fn may_last(kind: &StepKind) -> bool {
    matches!(kind, StepKind::Wait(_) | StepKind::Approval(_) | StepKind::Call(_))
}
