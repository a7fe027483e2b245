//! The proof that a run can go on with another definition.
//!
//! What has been must be there: every step instance that has settled or is under way, with the same
//! id, kind and scope. What has been decided must be decided in the same way: the edges of settled
//! steps lead to the same steps under the same conditions, and no step that waits could run or be
//! skipped already. What is under way must be the same: an attempt has begun with what was written,
//! with its plugin's version, its place in a list of branches, the bound of the run. All else may be
//! another: what has not been reached, and what becomes of a result that is not there yet.

use openclaw_protocol::definition::{EdgeKind, StepIx, StepKind, attempt_text};
use openclaw_protocol::expr::Value;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::ordered::{VecSet, sort};
use serde_json::Value as Json;

use super::table::Table;
use crate::admission::lane_of;
use crate::fault;
use crate::plan::{Pins, Plan};
use crate::run::{Phase, Run};
use crate::scope::{ScopeState, Stage, StepState, Verdict};
use crate::step::Work;

/// Why a run stays with its definition.
type Obstacle = String;

/// Whether a run of this lane can go on with a definition and these plugins: its inputs as that has
/// them.
///
/// # Errors
/// Why not, for people.
pub(crate) fn check(run: &Run, lane: &str, plan: &Plan, pins: &Pins) -> Result<JsonText, Obstacle> {
    let table = Table::of(&run.plan, plan);
    let check = Check { run, table: &table, old: &run.plan, new: plan, pins };
    check.as_a_whole()?;
    let mut past = VecSet::new();
    for scope in run.scopes.values() {
        check.scope(scope, &mut past)?;
    }
    for view in run.views.values() {
        past.extend(view.results().map(|(ix, _)| ix));
    }
    for ix in past {
        check.settled(ix)?;
    }
    let inputs = JsonText::of(&run.head.inputs.to_json_typed().unwrap_or(Json::Null));
    let inputs = plan.workflow.check_inputs(&inputs).map_err(|problems| {
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        fault::cut(format!("its inputs do not fit: {}", texts.join("; ")))
    })?;
    // Inputs that are new have their first values, and the key may be made of them.
    let known = Value::from_json_typed(&inputs.value());
    let key = lane_of(&plan.workflow, &known, &run.head.trigger_data);
    if !key.is_ok_and(|key| key == lane) {
        no("its `concurrency_key` has another value with the inputs of the other definition")?;
    }
    Ok(inputs)
}

struct Check<'a> {
    run: &'a Run,
    table: &'a Table,
    old: &'a Plan,
    new: &'a Plan,
    pins: &'a Pins,
}

impl Check<'_> {
    fn as_a_whole(&self) -> Result<(), Obstacle> {
        let (run, old, new) = (self.run, &self.old.workflow, &self.new.workflow);
        if run.head.parent.is_some() {
            return no("the run that called it was promised the definition that it began with");
        }
        if run.hard_stop || run.succeeding.is_some() {
            return no("it is about to end");
        }
        if run.phase != Phase::Pending && old.timeout_ms != new.timeout_ms {
            return no("its `timeout` is another one, and has begun to count");
        }
        let key =
            |plan: &Plan| plan.workflow.concurrency_key.as_ref().map(|key| key.source().to_owned());
        if key(self.old) != key(self.new) {
            return no("its `concurrency_key` is another one");
        }
        Ok(())
    }

    /// A scope under way; what has settled in it is added to what is past.
    fn scope(&self, scope: &ScopeState, past: &mut VecSet<StepIx>) -> Result<(), Obstacle> {
        let ids = &self.old.scope(scope.ix).steps;
        let Some(same) = self.table.scope(scope.ix) else {
            return Err(format!(
                "the list of steps with `{}`, which is under way, is gone",
                self.id(ids[0])
            ));
        };
        let is_ending = scope.ending.is_some();
        for (ix, state) in ids.iter().zip(&scope.steps) {
            match (state.stage, &state.active) {
                (Stage::Waiting, _) => continue,
                (Stage::Settled, _) => {
                    past.insert(*ix);
                    if !is_ending {
                        self.edges(*ix)?;
                    }
                }
                (_, Some(active)) => self.live(*ix, &active.work)?,
                (_, None) => drop(self.same(*ix)?),
            }
        }
        for ix in &self.new.scope(same).steps {
            let fresh = StepState::default();
            let known = ids.iter().position(|was| self.table.step(*was) == Some(*ix));
            let state = known.map_or(&fresh, |place| &scope.steps[place]);
            let step = self.new.step(*ix);
            // What is ending does not let anything new begin, and would wait for it.
            let is_lost = is_ending || state.verdict(step) != Verdict::Wait;
            if state.stage == Stage::Waiting && is_lost {
                return Err(format!("what leads to `{}` has been decided already", step.id));
            }
        }
        Ok(())
    }

    /// A step of the past or under way: its place in the other definition.
    fn same(&self, ix: StepIx) -> Result<StepIx, Obstacle> {
        let id = self.id(ix);
        self.table.step(ix).ok_or_else(|| match self.new.find(id) {
            None => format!("`{id}` has begun, and is gone"),
            Some(_) => format!("`{id}` has begun, and is of another kind or somewhere else"),
        })
    }

    fn live(&self, ix: StepIx, work: &Work) -> Result<(), Obstacle> {
        let (same, id) = (self.same(ix)?, self.id(ix));
        let (one, other) = (&self.old.workflow, &self.new.workflow);
        let part_names = |plan: &Plan, ix| -> Vec<String> {
            let names = plan.step(ix).kind.scopes().map(|(part, _)| part.name());
            names.map(|(word, n)| format!("{word} {n}")).collect()
        };
        if attempt_text(one, ix) != attempt_text(other, same)
            || part_names(self.old, ix) != part_names(self.new, same)
        {
            return Err(format!("`{id}` is under way, and is written otherwise"));
        }
        if let Work::Plugin(call) = work {
            let pin = self.run.head.pins.get(call.pin);
            if !pin.is_some_and(|pin| self.pins.contains(pin)) {
                return Err(format!("`{id}` is under way, and its plugin is of another version"));
            }
        }
        // What has been of one that runs its steps several times is not kept step by step.
        let kind = &self.old.step(ix).kind;
        let many = matches!(
            kind,
            StepKind::Parallel { .. } | StepKind::Loop { .. } | StepKind::Foreach(_)
        );
        if many { self.inside(ix) } else { Ok(()) }
    }

    /// A step that has settled, perhaps in an iteration before.
    fn settled(&self, ix: StepIx) -> Result<(), Obstacle> {
        let same = self.same(ix)?;
        if self.old.step(ix).compensate.is_some() != self.new.step(same).compensate.is_some() {
            let id = self.id(ix);
            return Err(format!(
                "`{id}` has settled, and only one of the two definitions undoes it"
            ));
        }
        self.inside(ix)
    }

    /// All steps inside one that has been, or is, under way.
    fn inside(&self, ix: StepIx) -> Result<(), Obstacle> {
        let mut open = vec![ix];
        while let Some(ix) = open.pop() {
            for (_, scope) in self.old.step(ix).kind.scopes() {
                for inner in &self.old.scope(scope).steps {
                    let same = self.same(*inner)?;
                    let undone = |plan: &Plan, ix| plan.step(ix).compensate.is_some();
                    if undone(self.old, *inner) != undone(self.new, same) {
                        let id = self.id(*inner);
                        return Err(format!(
                            "`{id}` may have settled, and only one of the two definitions undoes it"
                        ));
                    }
                    open.push(*inner);
                }
            }
        }
        Ok(())
    }

    /// A settled step of a scope under way: its edges have been decided.
    fn edges(&self, ix: StepIx) -> Result<(), Obstacle> {
        let same = self.same(ix)?;
        let edges = |plan: &Plan, ix: StepIx| {
            let edges = plan.step(ix).edges.iter();
            let words = edges.map(|edge| (plan.step(edge.to).id.to_string(), word(&edge.kind)));
            let mut words: Vec<(String, String)> = words.collect();
            sort(&mut words);
            words
        };
        if edges(self.old, ix) == edges(self.new, same) {
            return Ok(());
        }
        Err(format!("`{}` has settled, and leads to other steps", self.id(ix)))
    }

    fn id(&self, ix: StepIx) -> &str {
        self.old.step(ix).id.as_str()
    }
}

fn no(why: &str) -> Result<(), Obstacle> {
    Err(why.to_owned())
}

/// When an edge is taken.
fn word(kind: &EdgeKind) -> String {
    match kind {
        EdgeKind::Next(None) => String::new(),
        EdgeKind::Next(Some(when)) => format!("when {}", when.source()),
        EdgeKind::Then => "then".to_owned(),
        EdgeKind::Else => "else".to_owned(),
        EdgeKind::Case(None) => "default".to_owned(),
        EdgeKind::Case(Some(n)) => format!("case {n}"),
        EdgeKind::OnFailure => "on_failure".to_owned(),
    }
}
