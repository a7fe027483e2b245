//! What starts a run, with what, and what comes out of it.

use openclaw_protocol::definition::{
    Align, CatchUp, Dst, InputSpec, MaxExceeded, Mode, OnUpdate, Trigger, TriggerKind, Workflow,
};
use openclaw_protocol::time::show_duration;

use super::{Text, code, value};
use crate::output::name_of;

pub(super) fn section(text: &mut Text, workflow: &Workflow) {
    text.gap();
    text.line(0, "What starts it");
    for trigger in &workflow.triggers {
        for line in told(trigger) {
            text.line(1, &line);
        }
    }
    text.line(1, "Anybody who may, by hand, at any time.");
    text.line(1, &meeting(workflow));
    if let Some(line) = newer(workflow.on_update) {
        text.line(1, line);
    }
    if let Some(ms) = workflow.timeout_ms {
        text.line(
            1,
            &format!("A run that takes longer than {} fails with timeout.", show_duration(ms)),
        );
    }
    if workflow.inputs.is_empty() {
        return;
    }
    text.gap();
    text.line(0, "What it is given");
    for (name, spec) in &workflow.inputs {
        text.line(1, &input(name, spec));
    }
}

pub(super) fn outputs(text: &mut Text, workflow: &Workflow) {
    if workflow.outputs.is_empty() {
        return;
    }
    text.gap();
    text.line(0, "What comes out of it");
    for (name, template) in &workflow.outputs {
        text.line(1, &format!("{name}: {}", value(&template.source())));
    }
}

/// What becomes of runs that are under way with another definition.
fn newer(on_update: OnUpdate) -> Option<&'static str> {
    match on_update {
        OnUpdate::Pin => None,
        OnUpdate::Restart => Some(
            "When it comes into force, what is under way with another definition of it is cancelled \
             and begins anew with the same inputs.",
        ),
        OnUpdate::Migrate => Some(
            "When it comes into force, what is under way with another definition of it goes on with \
             this one where its past fits this one, and else as it began.",
        ),
    }
}

fn input(name: &str, spec: &InputSpec) -> String {
    let kind = spec.schema.get("type").and_then(|kind| kind.as_str()).unwrap_or("anything");
    let absent = match &spec.default {
        Some(default) => format!("; {default} where absent"),
        None if spec.optional => "; may be absent".to_owned(),
        None => "; must be given".to_owned(),
    };
    let note = spec.schema.get("description").and_then(|note| note.as_str());
    let note = note.map_or_else(String::new, |note| format!(" ({note})"));
    format!("{name}: {kind}{absent}{note}")
}

fn told(trigger: &Trigger) -> Vec<String> {
    let what = match &trigger.kind {
        TriggerKind::Interval { every_ms, align, jitter_ms } => {
            let from = match align {
                Align::Boot => "since boot",
                Align::Clock => "by the clock in UTC",
            };
            format!("every {} {from}{}", show_duration(*every_ms), later(*jitter_ms))
        }
        TriggerKind::Cron { schedule, catch_up, max_catch_up, jitter_ms } => {
            let missed = match catch_up {
                CatchUp::Skip => "what passes while the device is off is left out".to_owned(),
                CatchUp::Latest => {
                    "of what passes while the device is off, the latest counts".to_owned()
                }
                CatchUp::All => format!(
                    "what passes while the device is off is made up for, up to {max_catch_up}"
                ),
            };
            let dst = match schedule.dst() {
                Dst::RunAfter => "",
                Dst::Skip => "; what falls into the hour that summer time skips is left out",
            };
            let (at, tz) = (code(schedule.at()), schedule.tz());
            format!("by the clock, at {at} in {tz}{}; {missed}{dst}", later(*jitter_ms))
        }
        TriggerKind::Startup => "once after each boot".to_owned(),
        TriggerKind::Manual => "by hand".to_owned(),
        TriggerKind::Mqtt { topic, retained, .. } => {
            let kept = if *retained { ", also one that the broker had kept" } else { "" };
            format!("a message on {} of the local broker{kept}", code(topic))
        }
        TriggerKind::Event { name } => format!("the event {} on the device's bus", code(name)),
        TriggerKind::Webhook { path, methods, hmac } => {
            let who = match hmac {
                None => "from anybody who reaches the device".to_owned(),
                Some(hmac) => format!("signed with the secret {} in {}", hmac.secret, hmac.header),
            };
            let what = code(&format!("{} {path}", methods.join("|")));
            format!("a request {what} to the device's own listener, {who}")
        }
        TriggerKind::File { path, events, settle_ms } => {
            let events: Vec<&str> = events.iter().map(|event| event.name()).collect();
            let settled = match settle_ms {
                0 => String::new(),
                ms => format!(" and has been the same for {}", show_duration(*ms)),
            };
            format!("a file {} that was {}{settled}", code(path), events.join(" or "))
        }
        TriggerKind::Workflow { workflow, status } if status.is_empty() => {
            format!("the end of a run of {workflow}")
        }
        TriggerKind::Workflow { workflow, status } => {
            let ends: Vec<String> = status.iter().map(name_of).collect();
            format!("the end of a run of {workflow} that has {}", ends.join(" or "))
        }
    };
    let off = if trigger.enabled { "" } else { " (switched off)" };
    let mut lines = vec![format!("`{}`{off}: {what}.", trigger.id)];
    let filters = filters(trigger);
    if !filters.is_empty() {
        lines.push(format!("  That is, {}.", filters.join(", ")));
    }
    if !trigger.inputs.is_empty() {
        let inputs = trigger.inputs.iter();
        let given: Vec<String> = inputs
            .map(|(name, template)| format!("{name} {}", value(&template.source())))
            .collect();
        lines.push(format!("  It gives {}.", given.join(", ")));
    }
    lines
}

/// Which of its firings count.
fn filters(trigger: &Trigger) -> Vec<String> {
    let mut filters = Vec::new();
    if let Some(expr) = &trigger.when {
        filters.push(format!("only if {}", code(expr.source())));
    }
    if let Some(ms) = trigger.hold_ms {
        filters.push(format!("once that has held for {} without a break", show_duration(ms)));
    }
    if let Some(same) = &trigger.dedupe {
        let (key, window) = (code(same.key.source()), show_duration(same.window_ms));
        filters.push(format!("for each {key} only once in {window}"));
    }
    if let Some(ms) = trigger.throttle_ms {
        filters.push(format!("at most once in {}", show_duration(ms)));
    }
    if let Some(ms) = trigger.debounce_ms {
        filters.push(format!("once nothing has come for {}", show_duration(ms)));
    }
    filters
}

/// How much later than written it may be.
fn later(jitter_ms: u64) -> String {
    if jitter_ms == 0 {
        return String::new();
    }
    format!(", up to {} later, each device at its own moment", show_duration(jitter_ms))
}

/// What happens when runs meet.
fn meeting(workflow: &Workflow) -> String {
    let max = workflow.max;
    let each = workflow.concurrency_key.as_ref();
    let each =
        each.map_or_else(String::new, |key| format!(" with an equal {}", code(key.source())));
    let beyond = match workflow.max_exceeded {
        MaxExceeded::DropNewest => "beyond that, new ones are dropped",
        MaxExceeded::DropOldest => "beyond that, the oldest that waits is dropped",
        MaxExceeded::Fail => "beyond that, new ones fail with limit.runs",
    };
    match workflow.mode {
        Mode::Queued => format!(
            "While a run{each} is under way, new ones wait their turn, {max} at most; {beyond}."
        ),
        Mode::Single => format!("While a run{each} is under way, new ones are dropped."),
        Mode::Restart => format!(
            "A new run cancels the one{each} that is under way, and begins once it has ended."
        ),
        Mode::Parallel => {
            format!("Up to {max} runs{each} are under way at the same time; {beyond}.")
        }
    }
}
