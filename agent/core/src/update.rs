//! `on_update`: what becomes of runs under way when another definition of their workflow comes into
//! force.
//!
//! `restart`: the new run is accepted and the old one told to end in one decision, so that a power cut
//! leaves both or neither. `migrate`: one fact says that the run goes on with the other definition, or
//! why it does not; it is asked once for each definition. A run that somebody waits for with `call`
//! belongs to its caller, which was promised the definition of its own beginning, and stays.

use std::sync::Arc;

use openclaw_protocol::definition::OnUpdate;
use openclaw_protocol::desired::PluginPin;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::time::Stamp;
use serde_json::{Value as Json, json};

use crate::admission::Wanted;
use crate::effect::{Decision, Told};
use crate::engine::Engine;
use crate::fact::{Fact, FactRecord};
use crate::limits;
use crate::migrate::{self, Onward};
use crate::run::Pinned;
use crate::storage::Storage;

impl Engine {
    /// Looks at the runs of definitions that are not in force any more, after each deployment. At a
    /// start they have been folded and told of it by then.
    pub(crate) fn update_outdated(&mut self, now: Stamp, decision: &mut Decision) {
        // What would come instead of them has no room yet.
        if self.storage != Storage::Ample || !std::mem::take(&mut self.deployed_anew) {
            return;
        }
        let mut updated = 0;
        for number in self.numbers() {
            if updated >= limits::RUNS_PER_DECISION {
                // The rest follow with the next decision.
                self.deployed_anew = true;
                return;
            }
            let Some(held) = self.runs.get(&number) else { continue };
            let own = &held.run.plan.workflow;
            let Some(in_force) = self.deployed.get(&own.name) else { continue };
            let newer = &in_force.plan.workflow;
            if newer.hash == own.hash || held.run.cancelled.is_some() {
                continue;
            }
            let is_updated = match newer.on_update {
                OnUpdate::Pin => false,
                OnUpdate::Restart => self.begin_anew(number, now, decision),
                OnUpdate::Migrate => self.go_on(number, now, decision),
            };
            updated += usize::from(is_updated);
        }
    }

    /// `restart`. Whether it was.
    fn begin_anew(&mut self, number: u64, now: Stamp, decision: &mut Decision) -> bool {
        let Some(held) = self.runs.get(&number) else { return false };
        let head = &held.run.head;
        if head.parent.is_some() {
            return false;
        }
        let workflow = held.run.plan.workflow.name.clone();
        let mut data = head.trigger_data.to_json_as_is().unwrap_or(Json::Null);
        if let Some(data) = data.as_object_mut() {
            data.insert("again".to_owned(), json!(head.id));
        }
        let inputs = JsonText::of(&head.inputs.to_json_typed().unwrap_or(Json::Null));
        let wanted = Wanted {
            priority: Some(head.priority),
            instead: true,
            ..Wanted::new(workflow.clone(), &head.trigger, &data, inputs)
        };
        match self.accept(wanted, now, decision) {
            Ok(_) => {
                self.commit(number, Fact::CancelRequested { force: false }, now, decision);
                true
            }
            // What it was given is nothing for the new definition: it goes on with its own.
            Err(refused) => {
                decision.told.push(Told::Dropped { workflow, reason: refused.code });
                false
            }
        }
    }

    /// `migrate`. Whether there was anything to say.
    fn go_on(&mut self, number: u64, now: Stamp, decision: &mut Decision) -> bool {
        let Some(held) = self.runs.get(&number) else { return false };
        let Some(in_force) = self.deployed.get(&held.run.plan.workflow.name) else { return false };
        let (plan, pins) = (Arc::clone(&in_force.plan), Arc::clone(&in_force.pins));
        let (definition, version) = (plan.workflow.hash.clone(), plan.workflow.version.clone());
        if held.run.stayed.as_ref() == Some(&definition) {
            return false;
        }
        let reason = match migrate::check(&held.run, &held.lane.1, &plan, &pins) {
            Ok(inputs) => {
                let callees = self.callees_of(&plan);
                let written =
                    |(name, pin): &(String, Arc<PluginPin>)| (name.clone(), PluginPin::clone(pin));
                let fact = Fact::Migrated {
                    definition: definition.clone(),
                    pins: pins.iter().map(written).collect(),
                    callees: callees.iter().map(Pinned::written).collect(),
                    inputs,
                };
                if self.migrate(number, fact, Onward { plan, pins, callees }, now, decision) {
                    return true;
                }
                "what it has come to cannot be carried over".to_owned()
            }
            Err(reason) => reason,
        };
        self.commit(number, Fact::Stayed { definition, version, reason }, now, decision);
        true
    }

    /// Writes down that a run goes on with another definition, and lets it. Whether it could.
    fn migrate(
        &mut self,
        number: u64,
        fact: Fact,
        onward: Onward,
        now: Stamp,
        decision: &mut Decision,
    ) -> bool {
        let Some(held) = self.runs.get_mut(&number) else { return false };
        let run = &mut held.run;
        let waiting = self.queue.of_run(number);
        let waiting: Vec<_> =
            waiting.into_iter().map(|entry| (run.path(&entry.1), entry)).collect();
        let record = FactRecord { at: now, check: run.check(), fact };
        let Some(out) = run.migrate(&record, onward) else { return false };
        let names = waiting.into_iter();
        let names = names.map(|(path, entry)| (entry, run.find(&path).map(|at| (number, at))));
        let names = names.collect();
        decision.needs_commit = true;
        decision.facts.push((run.head.id.clone(), record));
        self.queue.rename(names);
        self.absorb(number, out, decision);
        true
    }
}
