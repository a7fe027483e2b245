//! What an engine that is not deterministic, or not the one that recorded, would make of a journal:
//! the same recording with one thing in it otherwise.

#![expect(
    clippy::wildcard_enum_match_arm,
    clippy::unit_arg,
    reason = "an alteration names the facts that it is done to, and says whether it was"
)]

use openclaw_agent_core::replay::Recording;
use openclaw_agent_core::{AttemptOutcome, Fact, TimerKind};
use openclaw_protocol::definition;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::StepPath;
use openclaw_protocol::time::ClockTrust;
use serde_json::{Value as Json, json};

/// A name, and how to do it at a fact; `None` where there is nothing to be done to it.
pub(crate) type Alteration = (&'static str, fn(&mut Recording, usize) -> Option<()>);

/// All of them. The first group is done to the whole, at the place of the acceptance alone.
pub(crate) const ALL: [Alteration; 24] = [
    ("another seed", |it, at| first(at).map(|()| it.seed ^= 1)),
    ("other inputs", |it, at| with_accepted(it, at, |it| it.inputs = Some("{\"k\":77}"))),
    ("other data of the trigger", |it, at| {
        with_accepted(it, at, |it| it.trigger = Some("{\"x\":1}"))
    }),
    ("another device", |it, at| with_accepted(it, at, |it| it.agent = Some("{\"id\":\"other\"}"))),
    ("a step that is gone", |it, at| redefined(it, at, |steps| steps.pop().map(|_| ()))),
    ("a step with another id", |it, at| {
        redefined(it, at, |steps| Some(steps.first_mut()?["id"] = json!("renamed")))
    }),
    ("a step that is switched off", |it, at| {
        redefined(it, at, |steps| Some(steps.first_mut()?["if"] = json!("false")))
    }),
    ("steps in another order", |it, at| {
        redefined(it, at, |steps| (steps.len() > 1).then(|| steps.reverse()))
    }),
    ("the wall clock a day on", |it, at| later(at).map(|()| it.facts[at].at.wall_ms += 86_400_000)),
    ("the wall clock a millisecond back", |it, at| {
        later(at).map(|()| it.facts[at].at.wall_ms -= 1)
    }),
    ("another trust in the clock", |it, at| {
        let trust = &mut it.facts[at].at.trust;
        (*trust != ClockTrust::Unset).then(|| *trust = ClockTrust::Unset)
    }),
    ("a fact that is missing", |it, at| {
        later(at)?;
        it.facts.remove(at);
        Some(())
    }),
    ("a fact that is there twice", |it, at| {
        later(at)?;
        it.facts.insert(at, it.facts[at].clone());
        Some(())
    }),
    ("two facts in the other order", |it, at| {
        let next = it.facts.get(at + 1)?.fact.clone();
        later(at)?;
        let this = std::mem::replace(&mut it.facts[at].fact, next);
        it.facts[at + 1].fact = this;
        Some(())
    }),
    ("another attempt", |it, at| match &mut it.facts[at].fact {
        Fact::AttemptStarted { attempt, .. } | Fact::AttemptSettled { attempt, .. } => {
            *attempt += 1;
            Some(())
        }
        _ => None,
    }),
    ("another step", |it, at| match &mut it.facts[at].fact {
        Fact::AttemptStarted { step, .. }
        | Fact::AttemptSettled { step, .. }
        | Fact::TimerFired { step, .. } => Some(*step = StepPath("nowhere".to_owned())),
        _ => None,
    }),
    ("another output", |it, at| {
        output(it, at).map(|output| *output = JsonText::parse("{\"x\":-1}").unwrap())
    }),
    ("an output in another order of its members", |it, at| {
        let output = output(it, at)?;
        let Json::Object(members) = output.value() else { return None };
        let turned: serde_json::Map<String, Json> = members.clone().into_iter().rev().collect();
        (members.len() > 1).then(|| *output = JsonText::of(&Json::Object(turned)))
    }),
    ("a failure instead of an output", |it, at| {
        let failure = it.facts.iter().find_map(|record| match &record.fact {
            Fact::AttemptSettled { outcome: failed @ AttemptOutcome::Failed { .. }, .. } => {
                Some(failed.clone())
            }
            _ => None,
        })?;
        output(it, at)?;
        let Fact::AttemptSettled { outcome, .. } = &mut it.facts[at].fact else { return None };
        Some(*outcome = failure)
    }),
    ("another error", |it, at| match &mut it.facts[at].fact {
        Fact::AttemptSettled { outcome: AttemptOutcome::Failed { error }, .. } => {
            error.code.push('!');
            Some(())
        }
        _ => None,
    }),
    ("another timer", |it, at| match &mut it.facts[at].fact {
        Fact::TimerFired { what, .. } if *what != TimerKind::Poll => Some(*what = TimerKind::Poll),
        _ => None,
    }),
    ("a cancellation with force", |it, at| match &mut it.facts[at].fact {
        Fact::CancelRequested { force } => Some(*force = !*force),
        _ => None,
    }),
    ("a power cut instead of a stop", |it, at| match &mut it.facts[at].fact {
        Fact::Restarted { unclean } => Some(*unclean = !*unclean),
        _ => None,
    }),
    ("another message", |it, at| match &mut it.facts[at].fact {
        Fact::Message { message, .. } => {
            Some(*message = JsonText::parse("{\"payload\":0}").unwrap())
        }
        _ => None,
    }),
];

fn first(at: usize) -> Option<()> {
    (at == 0).then_some(())
}

fn later(at: usize) -> Option<()> {
    (at > 0).then_some(())
}

/// What the acceptance says, to be replaced where it is given.
#[derive(Default)]
struct Accepted {
    inputs: Option<&'static str>,
    trigger: Option<&'static str>,
    agent: Option<&'static str>,
}

fn with_accepted(it: &mut Recording, at: usize, change: fn(&mut Accepted)) -> Option<()> {
    first(at)?;
    let mut other = Accepted::default();
    change(&mut other);
    let Fact::Accepted { inputs, trigger_data, agent, .. } = &mut it.facts[0].fact else {
        return None;
    };
    for (known, other) in
        [(inputs, other.inputs), (trigger_data, other.trigger), (agent, other.agent)]
    {
        if let Some(other) = other {
            *known = JsonText::parse(other).unwrap();
        }
    }
    Some(())
}

/// The definition with other steps at the top, if it is one.
fn redefined(
    it: &mut Recording,
    at: usize,
    change: fn(&mut Vec<Json>) -> Option<()>,
) -> Option<()> {
    first(at)?;
    let mut document: Json = serde_json::from_str(&it.definition).unwrap();
    change(document["steps"].as_array_mut()?)?;
    let other = definition::parse(&document.to_string()).ok()?;
    let Fact::Accepted { definition, .. } = &mut it.facts[0].fact else { return None };
    *definition = other.hash;
    it.definition = other.canonical;
    Some(())
}

fn output(it: &mut Recording, at: usize) -> Option<&mut JsonText> {
    match &mut it.facts[at].fact {
        Fact::AttemptSettled { outcome: AttemptOutcome::Succeeded { output, .. }, .. } => {
            Some(output)
        }
        _ => None,
    }
}
