//! `on_update: migrate`: a run that is under way goes on with another definition.
//!
//! `table` says what of one definition is in another: steps with the same id, kind and scope. `check`
//! proves of a run that all its past and all that is under way in it is there, and means the same;
//! whoever cannot prove it stays. Here the state is put into the words of the other definition, as if
//! the run had come to it with that one.

mod check;
mod table;

use std::sync::Arc;

use openclaw_protocol::definition::{DefinitionHash, Workflow};
use openclaw_protocol::expr::Value;
use openclaw_protocol::run::RunEvent;

pub(crate) use self::check::check;
pub(crate) use self::table::Table;
use crate::fact::{Fact, FactRecord};
use crate::plan::{Pins, Plan};
use crate::run::{Head, Out, Pinned, Run, Turn};
use crate::scope::{ScopeState, Stage, StepState};
use crate::snapshot::fits;
use crate::step::Work;
use crate::view::View;

/// What a run goes on with.
#[derive(Debug)]
pub(crate) struct Onward {
    pub(crate) plan: Arc<Plan>,
    pub(crate) pins: Pins,
    pub(crate) callees: Vec<Pinned>,
}

impl Head {
    /// Goes on with another definition, as a fact says. `None`: it is another fact, or about another
    /// definition.
    pub(crate) fn go_on(&mut self, onward: Onward, fact: &Fact) -> Option<Arc<Plan>> {
        let Fact::Migrated { definition, inputs, .. } = fact else { return None };
        if *definition != onward.plan.workflow.hash {
            return None;
        }
        self.pins = onward.pins;
        self.callees = onward.callees;
        self.inputs = Value::from_json_typed(&inputs.value());
        Some(onward.plan)
    }
}

impl Run {
    /// Goes on with another definition, as a fact says. `None`: it cannot, and nothing has changed.
    pub(crate) fn migrate(&mut self, record: &FactRecord, onward: Onward) -> Option<Out> {
        if self.is_settled() {
            return None;
        }
        let mut next = self.carried(onward, &record.fact)?;
        next.migrated = Some(Box::new(record.clone()));
        let plan = Arc::clone(&next.plan);
        let Workflow { version, hash, .. } = &*plan.workflow;
        let mut out = Out::default();
        let mut turn = Turn { run: &mut next, plan: &plan, at: record.at, out: &mut out };
        turn.tell(RunEvent::Migrated { version: version.clone(), definition: hash.clone() });
        next.last = record.at;
        *self = next;
        Some(out)
    }

    fn carried(&self, onward: Onward, fact: &Fact) -> Option<Self> {
        let mut head = self.head.clone();
        let plan = head.go_on(onward, fact)?;
        let table = Table::of(&self.plan, &plan);
        let pins: Vec<Option<usize>> = self
            .head
            .pins
            .iter()
            .map(|pin| head.pins.iter().position(|other| other == pin))
            .collect();
        let mut next = self.translated(head, Arc::clone(&plan), &table)?;
        for (key, scope) in &mut next.scopes {
            let before = self.scopes.get(key)?;
            let order = &self.plan.scope(before.ix).steps;
            let steps = std::mem::take(&mut scope.steps);
            scope.steps.resize_with(plan.scope(scope.ix).steps.len(), StepState::default);
            for (was, state) in order.iter().zip(steps) {
                match table.step(*was) {
                    Some(ix) => scope.steps[plan.position(ix)] = state,
                    // Nothing has come of it yet, and nothing will.
                    None if state.stage == Stage::Waiting => {}
                    None => return None,
                }
            }
            recount(scope)?;
            for state in &mut scope.steps {
                if let Some(Work::Plugin(call)) =
                    state.active.as_mut().map(|active| &mut active.work)
                {
                    call.pin = pins.get(call.pin).copied().flatten()?;
                }
            }
        }
        next.add_vars()?;
        fits(&next).then_some(next)
    }

    /// Variables that only this definition has begin with their first values, wherever the run is.
    fn add_vars(&mut self) -> Option<()> {
        let plan = Arc::clone(&self.plan);
        for view in self.views.values_mut() {
            add_vars(view, &plan)?;
        }
        for scope in self.scopes.values_mut() {
            let active = scope.steps.iter_mut().filter_map(|state| state.active.as_mut());
            for active in active {
                if let Work::Parallel(parallel) = &mut active.work {
                    add_vars(&mut parallel.snapshot, &plan)?;
                } else if let Work::Foreach(each) = &mut active.work {
                    add_vars(&mut each.snapshot, &plan)?;
                }
            }
        }
        Some(())
    }
}

/// Counts anew what is not settled of a scope. `None`: it would be over without anybody noticing.
fn recount(scope: &mut ScopeState) -> Option<()> {
    let was_over = scope.open == 0;
    scope.open = scope.steps.iter().filter(|state| state.stage != Stage::Settled).count();
    ((scope.open == 0) == was_over).then_some(())
}

fn add_vars(view: &mut View, plan: &Plan) -> Option<()> {
    let fresh = plan.workflow.vars.iter().filter(|(name, _)| view.var(name).is_none());
    let fresh: Vec<(String, Value)> =
        fresh.map(|(name, first)| (name.clone(), Value::from_json_typed(first))).collect();
    if fresh.is_empty() { Some(()) } else { view.assign(fresh, false).ok() }
}

impl Turn<'_> {
    /// Another definition has come into force, and the run stays with its own.
    pub(crate) fn stayed(&mut self, definition: &DefinitionHash, version: &str, reason: &str) {
        self.run.stayed = Some(definition.clone());
        let (version, definition) = (version.to_owned(), definition.clone());
        self.tell(RunEvent::Stayed { version, definition, reason: reason.to_owned() });
    }
}
