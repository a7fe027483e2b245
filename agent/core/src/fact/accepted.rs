//! How the acceptance of a run is written down.
//!
//! Bytes (postcard) know fields only by their order, and acceptances were stored before runs had
//! callers, callees and an agent that expressions see. So these follow only where there are any,
//! and bit 1 of the byte that tells of a request in bit 0 tells of them: a run that has none of
//! them costs no byte more than it ever did, and journals from before are read.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serializer};

use openclaw_protocol::definition::{DefinitionHash, Priority};
use openclaw_protocol::desired::PluginPin;
use openclaw_protocol::id::{RequestId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::StepPath;

use super::{Callee, Parent};

/// An operator's wish is behind it.
const REQUEST: u8 = 1;
/// Caller, callees, agent and what steps are given follow.
const MORE: u8 = 2;
/// Parts at most: what every acceptance has, the flags, the request, the rest.
const PARTS: usize = 4;

/// The fields of [`super::Fact::Accepted`], in order.
type Fields = (
    WorkflowName,
    DefinitionHash,
    Vec<(String, PluginPin)>,
    String,
    JsonText,
    JsonText,
    Priority,
    Option<RequestId>,
    Option<Parent>,
    Vec<Callee>,
    JsonText,
    Vec<(StepPath, JsonText)>,
);

/// What every acceptance has.
type Always =
    (WorkflowName, DefinitionHash, Vec<(String, PluginPin)>, String, JsonText, JsonText, Priority);

#[expect(clippy::too_many_arguments, reason = "serde hands over a variant field by field")]
pub(super) fn serialize<S: Serializer>(
    workflow: &WorkflowName,
    definition: &DefinitionHash,
    pins: &[(String, PluginPin)],
    trigger: &str,
    trigger_data: &JsonText,
    inputs: &JsonText,
    priority: &Priority,
    request: &Option<RequestId>,
    parent: &Option<Parent>,
    callees: &[Callee],
    agent: &JsonText,
    given: &[(StepPath, JsonText)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let more = parent.is_some() || !callees.is_empty() || *agent != nobody() || !given.is_empty();
    let flags = if request.is_some() { REQUEST } else { 0 } | if more { MORE } else { 0 };
    let parts = 2 + usize::from(request.is_some()) + usize::from(more);
    let mut tuple = serializer.serialize_tuple(parts)?;
    let always = (workflow, definition, pins, trigger, trigger_data, inputs, priority);
    tuple.serialize_element(&always)?;
    tuple.serialize_element(&flags)?;
    if let Some(request) = request {
        tuple.serialize_element(request)?;
    }
    if more {
        tuple.serialize_element(&(parent, callees, agent, given))?;
    }
    tuple.end()
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
    deserializer.deserialize_tuple(PARTS, Ordered)
}

/// What expressions see as `agent` where nobody has said.
fn nobody() -> JsonText {
    JsonText::of(&serde_json::json!({}))
}

struct Ordered;

impl<'de> Visitor<'de> for Ordered {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the acceptance of a run")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Fields, A::Error> {
        let (workflow, definition, pins, trigger, trigger_data, inputs, priority): Always =
            next(&mut parts)?;
        let flags: u8 = next(&mut parts)?;
        if flags & !(REQUEST | MORE) != 0 {
            return Err(A::Error::custom("an acceptance with parts that are not known"));
        }
        let request = if flags & REQUEST == 0 { None } else { Some(next(&mut parts)?) };
        let rest = if flags & MORE == 0 { None } else { Some(next(&mut parts)?) };
        let (parent, callees, agent, given) =
            rest.unwrap_or_else(|| (None, Vec::new(), nobody(), Vec::new()));
        Ok((
            workflow,
            definition,
            pins,
            trigger,
            trigger_data,
            inputs,
            priority,
            request,
            parent,
            callees,
            agent,
            given,
        ))
    }
}

fn next<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(parts: &mut A) -> Result<T, A::Error> {
    parts.next_element()?.ok_or_else(|| A::Error::custom("an acceptance is cut off"))
}

#[cfg(test)]
mod tests {
    use openclaw_protocol::id::{Epoch, RunId};
    use openclaw_protocol::wire::{self, Kind};
    use serde::Serialize;

    use super::super::Fact;
    use super::*;

    /// As acceptances were written before runs had callers.
    #[derive(Serialize)]
    enum Before {
        Accepted {
            workflow: WorkflowName,
            definition: DefinitionHash,
            pins: Vec<(String, PluginPin)>,
            trigger: String,
            trigger_data: JsonText,
            inputs: JsonText,
            priority: Priority,
            request: Option<RequestId>,
        },
    }

    fn accepted(request: Option<&str>, more: bool) -> Fact {
        let callee = Callee {
            workflow: WorkflowName::parse("other").unwrap(),
            definition: DefinitionHash("cd".repeat(32)),
            pins: Vec::new(),
        };
        let parent = Parent {
            run: RunId::of(Epoch(7), 3),
            step: StepPath("a/b".into()),
            attempt: 2,
            depth: 1,
            detached: false,
        };
        Fact::Accepted {
            workflow: WorkflowName::parse("w").unwrap(),
            definition: DefinitionHash("ab".repeat(32)),
            pins: Vec::new(),
            trigger: "manual".into(),
            trigger_data: JsonText::null(),
            inputs: JsonText::of(&serde_json::json!({ "n": 1 })),
            priority: Priority::High,
            request: request.map(|text| RequestId::parse(text).unwrap()),
            parent: more.then_some(parent),
            callees: if more { vec![callee] } else { Vec::new() },
            agent: if more { JsonText::parse("{\"id\":\"p\"}").unwrap() } else { nobody() },
            given: if more {
                vec![(StepPath("a".to_owned()), JsonText::null())]
            } else {
                Vec::new()
            },
        }
    }

    #[test]
    fn bytes_from_before_are_read_and_written_as_ever() {
        for request in [None, Some("wish-1")] {
            let before = Before::Accepted {
                workflow: WorkflowName::parse("w").unwrap(),
                definition: DefinitionHash("ab".repeat(32)),
                pins: Vec::new(),
                trigger: "manual".into(),
                trigger_data: JsonText::null(),
                inputs: JsonText::of(&serde_json::json!({ "n": 1 })),
                priority: Priority::High,
                request: request.map(|text| RequestId::parse(text).unwrap()),
            };
            let bytes = wire::pack(Kind::Fact, &before);
            let fact: Fact = wire::unpack(Kind::Fact, &bytes, bytes.len()).unwrap();
            assert_eq!(fact, accepted(request, false));
            assert_eq!(wire::pack(Kind::Fact, &fact), bytes, "nothing new costs nothing");
        }
    }

    #[test]
    fn everything_comes_back_and_nothing_is_guessed() {
        for fact in [accepted(None, true), accepted(Some("wish-1"), true)] {
            let bytes = wire::pack(Kind::Fact, &fact);
            assert_eq!(wire::unpack::<Fact>(Kind::Fact, &bytes, bytes.len()).unwrap(), fact);
            for cut in 0..bytes.len() {
                assert!(wire::unpack::<Fact>(Kind::Fact, &bytes[..cut], bytes.len()).is_err());
            }
        }
        let mut bytes = wire::pack(Kind::Fact, &accepted(None, false));
        *bytes.last_mut().unwrap() = 4;
        assert!(wire::unpack::<Fact>(Kind::Fact, &bytes, bytes.len()).is_err());
    }
}
