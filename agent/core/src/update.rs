//! `on_update: restart`: what is under way with an older definition begins anew with the one that has
//! come into force.
//!
//! The new run is accepted and the old one told to end in one decision, so that a power cut leaves
//! both or neither. A run that somebody waits for with `call` belongs to its caller, which was promised
//! the definition of its own beginning, and stays.

use openclaw_protocol::definition::OnUpdate;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::time::Stamp;
use serde_json::{Value as Json, json};

use crate::admission::Wanted;
use crate::effect::{Decision, Told};
use crate::engine::Engine;
use crate::fact::Fact;
use crate::limits;
use crate::storage::Storage;

impl Engine {
    /// Looks at the runs of definitions that are not in force any more, after each deployment. At a
    /// start they have been folded and told of it by then.
    pub(crate) fn restart_outdated(&mut self, now: Stamp, decision: &mut Decision) {
        // What would come instead of them has no room yet.
        if self.storage != Storage::Ample || !std::mem::take(&mut self.deployed_anew) {
            return;
        }
        let mut restarted = 0;
        for number in self.numbers() {
            if restarted >= limits::RUNS_PER_DECISION {
                // The rest follow with the next decision.
                self.deployed_anew = true;
                return;
            }
            let Some(held) = self.runs.get(&number) else { continue };
            let run = &held.run;
            let own = &run.plan.workflow;
            let Some(in_force) = self.deployed.get(&own.name) else { continue };
            let newer = &in_force.plan.workflow;
            let is_meant = newer.on_update == OnUpdate::Restart && newer.hash != own.hash;
            if !is_meant || run.cancelled.is_some() || run.head.parent.is_some() {
                continue;
            }
            let head = &run.head;
            let mut data = head.trigger_data.to_json_as_is().unwrap_or(Json::Null);
            if let Some(data) = data.as_object_mut() {
                data.insert("again".to_owned(), json!(head.id));
            }
            let inputs = JsonText::of(&head.inputs.to_json_typed().unwrap_or(Json::Null));
            let wanted = Wanted {
                priority: Some(head.priority),
                instead: true,
                ..Wanted::new(own.name.clone(), &head.trigger, &data, inputs)
            };
            let workflow = own.name.clone();
            match self.accept(wanted, now, decision) {
                Ok(_) => {
                    self.commit(number, Fact::CancelRequested { force: false }, now, decision);
                    restarted += 1;
                }
                // What it was given is nothing for the new definition: it goes on with its own.
                Err(refused) => {
                    let reason = refused.code;
                    decision.told.push(Told::Dropped { workflow, reason });
                }
            }
        }
    }
}
