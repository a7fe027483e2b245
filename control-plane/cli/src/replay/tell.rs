//! A recording in words: its facts, and what each made the run tell.

use openclaw_agent_core::{AttemptOutcome, Fact};
use openclaw_protocol::run::{RunError, RunEvent};

/// A value on one line is cut to this, in characters.
const SHOWN: usize = 160;

/// What came from outside.
pub(crate) fn fact_line(fact: &Fact) -> String {
    match fact {
        Fact::Accepted { trigger, inputs, .. } => {
            format!("accepted, set off by {trigger}, with {}", cut(inputs.as_str()))
        }
        Fact::Began => "its turn came".to_owned(),
        Fact::AttemptStarted { step, attempt } => format!("{step}: attempt {attempt} begins"),
        Fact::AttemptSettled { step, attempt, outcome } => match outcome {
            AttemptOutcome::Succeeded { output, .. } => {
                format!("{step}: attempt {attempt} gives {}", cut(output.as_str()))
            }
            AttemptOutcome::Failed { error } => {
                format!("{step}: attempt {attempt} fails: {}", error_text(error))
            }
        },
        Fact::TimerFired { step, what } => {
            let whose = if step.0.is_empty() { "the run" } else { step.0.as_str() };
            format!("{whose}: time is up ({what:?})")
        }
        Fact::CancelRequested { force } => {
            format!("somebody wants the end{}", if *force { ", at once" } else { "" })
        }
        Fact::Restarted { unclean } => {
            let how = if *unclean { "after it had died" } else { "after a clean stop" };
            format!("the agent is back, {how}")
        }
        Fact::Settled { status } => format!("settled: {status:?}"),
        Fact::Continued => "the rest goes on".to_owned(),
        Fact::Alive => "the agent was alive".to_owned(),
        Fact::Signalled { name, data } => format!("signal {name} with {}", cut(data.as_str())),
        Fact::Message { step, message } => format!("{step} hears {}", cut(message.as_str())),
        Fact::Decided { step, choice, by, .. } => format!("{step}: {by} decides {choice}"),
        Fact::ChildStarted { step, child, .. } => format!("{step}: run {child} is called"),
        Fact::Refused { message } => format!("no room: {message}"),
        Fact::Migrated { definition, .. } => {
            format!("another definition is in force: {definition}")
        }
        Fact::Stayed { version, reason, .. } => {
            format!("version {version} is in force, with which it cannot go on: {}", cut(reason))
        }
    }
}

/// What the run told because of it.
pub(crate) fn event_line(event: &RunEvent) -> String {
    match event {
        RunEvent::Accepted { workflow, version, .. } => format!("run of {workflow} {version}"),
        RunEvent::Began => "begins".to_owned(),
        RunEvent::StepQueued { step, attempt } => format!("{step} waits for a slot ({attempt})"),
        RunEvent::StepStarted { step, kind, attempt, interrupted } => {
            let again = if *interrupted { ", once more" } else { "" };
            format!("{step} starts: {kind}, attempt {attempt}{again}")
        }
        RunEvent::StepDelayed { step, wait_ms, error, .. } => {
            let why = error.as_ref().map(|e| format!(" after {}", e.code)).unwrap_or_default();
            format!("{step} waits {wait_ms} ms{why}")
        }
        RunEvent::StepSettled { step, status, attempts, output, error } => {
            let output = output.as_ref().map(|o| format!(" {}", cut(o.as_str())));
            let error = error.as_ref().map(|e| format!(" {}", error_text(e)));
            let word = format!("{status:?}").to_lowercase();
            let more = error.or(output).unwrap_or_default();
            format!("{step} {word} after {attempts} attempt(s){more}")
        }
        RunEvent::CancelRequested { .. } => "is to end".to_owned(),
        RunEvent::Resumed { .. } => "goes on".to_owned(),
        RunEvent::Settled { status, outputs, error } => {
            let word = format!("{status:?}").to_lowercase();
            match error {
                Some(error) => format!("ends {word}: {}", error_text(error)),
                None => format!("ends {word} with {}", cut(outputs.as_str())),
            }
        }
        RunEvent::StepWaiting { step, reason, .. } => format!("{step} waits for {reason}"),
        RunEvent::Logged { step, level, message, .. } => {
            format!("{step} says ({level:?}): {}", cut(message))
        }
        RunEvent::Compensated { step, complete } => {
            let whose = if step.0.is_empty() { "the run" } else { step.0.as_str() };
            let how = if *complete { "all of it" } else { "not all of it" };
            format!("{whose} is undone, {how}")
        }
        RunEvent::Migrated { version, .. } => format!("goes on with version {version}"),
        RunEvent::Stayed { version, reason, .. } => {
            format!("stays with its own version, not {version}: {}", cut(reason))
        }
    }
}

fn error_text(error: &RunError) -> String {
    format!("{}: {}", error.code, cut(&error.message))
}

fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
