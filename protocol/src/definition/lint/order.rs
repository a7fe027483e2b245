//! Whether the steps that expressions refer to have run by then: never, perhaps, or certainly.
//!
//! A workflow's edges are known, so most of it follows without running anything. Where this errs, it
//! errs on the side of silence: "never" is said only of what no run can make otherwise.

use std::cell::OnceCell;

use super::flow::{Completes, Early, Flow, Outcome, completing, runs_once};
use super::map::{Level, Map, Role};
use super::sites::{Phase, Site};
use crate::definition::model::{ParallelMode, ScopeIx, Step, StepIx, StepKind, Workflow};

/// What is known of a step where an expression refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has run and has succeeded.
    There,
    /// Perhaps not.
    Perhaps(Doubt),
    /// It has not settled, whatever happens.
    Never(String),
    /// It never runs in the same run, so that it has no output. It may have settled, as skipped.
    Excluded(Doubt),
    /// Whether it has settled is a matter of chance.
    Chance,
}

/// Why a step may have no output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doubt {
    /// As the end of a sentence about the step: "may be skipped".
    pub(super) why: String,
    /// It may not even be known; otherwise its output is `null`.
    pub(super) absent: bool,
}

/// The order of a workflow's steps.
#[derive(Debug)]
pub(super) struct Order<'w> {
    map: Map<'w>,
    /// By [`ScopeIx`].
    flows: Vec<OnceCell<Flow<'w>>>,
    completes: OnceCell<Vec<bool>>,
    /// Only what is certain to be wrong is looked for; doubts are dear.
    is_rough: bool,
}

impl<'w> Order<'w> {
    pub(super) fn new(workflow: &'w Workflow) -> Self {
        let flows = workflow.scopes.iter().map(|_| OnceCell::new()).collect();
        Self { map: Map::new(workflow), flows, completes: OnceCell::new(), is_rough: false }
    }

    /// One that has no doubts, for a reader in a hurry.
    pub(super) fn rough(workflow: &'w Workflow) -> Self {
        Self { is_rough: true, ..Self::new(workflow) }
    }

    pub(super) fn map(&self) -> &Map<'w> {
        &self.map
    }

    /// How the steps of a scope stand to one another.
    pub(super) fn flow(&self, scope: ScopeIx) -> &Flow<'w> {
        self.flows[usize::from(scope.0)].get_or_init(|| Flow::new(&self.map, scope))
    }

    /// Of every step whether it can end well.
    pub(super) fn completes(&self) -> &Completes {
        self.completes.get_or_init(|| completing(&self.map))
    }

    /// What is known of a step where an expression stands.
    pub(super) fn standing(&self, of: StepIx, site: &Site<'_>) -> Standing {
        let way = self.map.way_to(of);
        let Some(here) = site.step else { return self.at_the_end(&way) };
        let here_way = self.map.way_to(here);
        let shared = way.iter().zip(&here_way).take_while(|(one, two)| one == two).count();
        let standing = self.between(&way, &here_way, shared, site.phase);
        if let Standing::There | Standing::Perhaps(_) = standing {
            return standing;
        }
        // What repeats has been there before, and what undoes something comes after all else.
        let repeats = here_way[..shared].iter().any(|level| self.repeats(level, of, here));
        let undoes = here_way.iter().any(|l| self.map.role(l.scope) == Role::Compensate);
        let undone = way.iter().any(|level| self.map.role(level.scope) == Role::Compensate);
        if repeats {
            perhaps("runs later; only another round has it from the one before", true)
        } else if undoes || undone {
            perhaps("may not have run when something is undone", true)
        } else {
            standing
        }
    }

    /// Whether a step that both ways go through runs its scopes again, so that results of the time
    /// before are there.
    fn repeats(&self, level: &Level, of: StepIx, here: StepIx) -> bool {
        let step = self.map.step(level.step);
        let is_loop = matches!(step.kind, StepKind::Loop { .. }) && level.step != here;
        level.step != of && (is_loop || !step.retry.is_empty())
    }

    /// At the end of the run, where outputs are evaluated.
    fn at_the_end(&self, way: &[Level]) -> Standing {
        let Some(first) = way.first() else { return Standing::There };
        let is_finally = self.map.role(first.scope) == Role::Finally;
        if first.scope != self.map.workflow.root && !is_finally {
            return Standing::Never("runs only where the run has failed".to_owned());
        }
        let short = self
            .map
            .workflow
            .steps
            .iter()
            .any(|step| matches!(step.kind, StepKind::Succeed { outputs: None }));
        if short && !is_finally && !self.is_rough {
            return perhaps("may not have run where a `succeed` ends the run", true);
        }
        match self.at_end_of_scope(*first) {
            None if way.len() == 1 => perhaps("may be skipped", false),
            outcome => self.inside(way, outcome),
        }
    }

    /// How a step has ended when its scope has ended well.
    fn at_end_of_scope(&self, level: Level) -> Option<Outcome> {
        if self.is_rough {
            return Some(Outcome::Well);
        }
        let flow = self.flow(level.scope);
        flow.outcome_at_end(flow.place(level.step)?, self.completes())
    }

    fn between(&self, way: &[Level], here: &[Level], shared: usize, phase: Phase) -> Standing {
        match (way.get(shared), here.get(shared)) {
            (Some(one), Some(two)) if one.scope == two.scope => {
                self.beside(&way[shared..], one, two, phase)
            }
            (Some(one), Some(two)) => match shared {
                0 => self.across_the_run(one.scope, two.scope),
                _ => self.across(&way[shared - 1..], self.map.role(two.scope)),
            },
            (Some(_), None) => self.of_its_inside(&way[shared - 1..], phase),
            (None, Some(two)) if self.map.role(two.scope) == Role::Compensate => Standing::There,
            (None, Some(_)) => never("has not settled while something inside it runs"),
            (None, None) if phase == Phase::End => Standing::There,
            (None, None) => never("has not settled while it is itself at work"),
        }
    }

    /// They run in two of the document's `steps`, `finally` and `on_failure`, which come in this
    /// order.
    fn across_the_run(&self, of: ScopeIx, here: ScopeIx) -> Standing {
        match (self.map.role(of), self.map.role(here)) {
            (Role::Root, Role::Finally) => {
                perhaps("may have failed, or not have run at all, when this runs", true)
            }
            (Role::Root | Role::Finally, Role::OnFailure) => {
                perhaps("may not have run, or may have failed, when the run fails", true)
            }
            (Role::Finally, _) => never("runs only after this"),
            _ => never("runs only where the run has failed"),
        }
    }

    /// Both ways go through steps of the same scope.
    fn beside(&self, way: &[Level], one: &Level, two: &Level, phase: Phase) -> Standing {
        let flow = self.flow(one.scope);
        let (Some(from), Some(to)) = (flow.place(one.step), flow.place(two.step)) else {
            return Standing::There;
        };
        if flow.leads(from, to) {
            if self.is_rough {
                return Standing::There;
            }
            let outcome = flow.outcome_before(from, to, self.completes());
            if outcome.is_none() && flow.is_settled_before(from, to) && way.len() == 1 {
                return perhaps("may be skipped", false);
            }
            return self.inside(way, outcome);
        }
        if flow.leads(to, from) {
            let why = "settles only after this";
            return match flow.may_settle_before(to, from) {
                Early::No => never(why),
                Early::Skipped => Standing::Excluded(Doubt { why: why.to_owned(), absent: true }),
                Early::Run => Standing::Chance,
            };
        }
        if flow.excludes(from, to) {
            let why = "never runs in the same run as this".to_owned();
            return Standing::Excluded(Doubt { why, absent: !flow.is_resolved_before(from, to) });
        }
        if phase == Phase::During {
            return perhaps("may not have settled yet", true);
        }
        Standing::Chance
    }

    /// Both are inside the same step, with which `way` begins, in different scopes of it.
    fn across(&self, way: &[Level], here: Role) -> Standing {
        let of = way.get(1).map_or(Role::Root, |level| self.map.role(level.scope));
        match (of, here) {
            (Role::Try, Role::Catch | Role::Finally) | (Role::Catch, Role::Finally) => {
                perhaps("may have failed, or not have run at all, when this runs", true)
            }
            (Role::Branch, Role::Branch) => {
                never("is in another branch, whose results are seen only after the join")
            }
            (Role::Catch | Role::Finally, _) => never("runs only after this"),
            (_, Role::Compensate) => self.inside(way, Some(Outcome::Well)),
            _ => never("never runs in the same run as this"),
        }
    }

    /// A step's own expression about something inside it: `way` begins with the step itself.
    fn of_its_inside(&self, way: &[Level], phase: Phase) -> Standing {
        match phase {
            Phase::Start | Phase::During => never("runs only later, inside this very step"),
            Phase::Again => perhaps("has not run before the first iteration", true),
            Phase::Failed => perhaps("may have failed, or not have run at all", true),
            Phase::End => self.inside(way, Some(Outcome::Well)),
            // The iteration has ended well, whatever becomes of the step.
            Phase::Iteration => match way.get(1) {
                Some(level) => self.inside(&way[1..], self.at_end_of_scope(*level)),
                None => Standing::There,
            },
        }
    }

    /// Whether the step at the end of the way has succeeded, given how the first one has ended.
    fn inside(&self, way: &[Level], outcome: Option<Outcome>) -> Standing {
        if self.is_rough {
            return Standing::There;
        }
        let mut outcome = outcome;
        for (n, level) in way.iter().enumerate() {
            let absent = n > 0 || way.len() > 1;
            let step = self.map.step(level.step);
            let Some(how) = outcome else { return perhaps("may be skipped", true) };
            if let Some(why) = doubt(step, how) {
                let is_last = n + 1 == way.len();
                let why = if is_last {
                    why.to_owned()
                } else {
                    format!("is in `{}`, which {why}", step.id)
                };
                return perhaps(&why, absent);
            }
            let Some(next) = way.get(n + 1) else { break };
            if let Some(why) = self.may_leave_out(step, next.scope) {
                return perhaps(&why, true);
            }
            outcome = self.at_end_of_scope(*next);
        }
        Standing::There
    }

    /// Why a step that has succeeded may not have run one of its scopes to its end.
    fn may_leave_out(&self, step: &Step, scope: ScopeIx) -> Option<String> {
        let ends = |scope: ScopeIx| self.flow(scope).can_end(self.completes());
        let id = &step.id;
        let (role, alone) = match &step.kind {
            StepKind::Condition { then, otherwise, .. } => {
                let other = [then, otherwise].into_iter().flatten().find(|way| **way != scope);
                ("one way of the condition", other.is_some_and(|way| !ends(*way)))
            }
            StepKind::Switch { cases, default, .. } => {
                let mut others = cases.iter().map(|case| case.body).chain([*default]);
                let alone = others.all(|way| way == Some(scope) || way.is_some_and(|w| !ends(w)));
                ("one case of the switch", alone)
            }
            StepKind::Parallel { mode, branches, .. } => {
                let alone = match mode {
                    ParallelMode::FailFast | ParallelMode::WaitAll => true,
                    ParallelMode::Race => branches.len() == 1,
                    ParallelMode::Need(n) => usize::from(*n) == branches.len(),
                };
                ("a branch that may lose the race", alone)
            }
            StepKind::Loop { test, .. } => ("a loop that may not run once", runs_once(test)),
            StepKind::Try { .. } if self.map.role(scope) == Role::Finally => ("", true),
            StepKind::Try { .. } if self.map.role(scope) == Role::Catch => {
                ("a `catch`, which runs only after an error", false)
            }
            StepKind::Try { catches, .. } => {
                ("a `try` that may fail", catches.iter().all(|catch| !ends(catch.body)))
            }
            StepKind::Sequence { .. } if self.map.role(scope) == Role::Sequence => ("", true),
            StepKind::Plugin(_)
            | StepKind::Set(_)
            | StepKind::Delay(_)
            | StepKind::Foreach(_)
            | StepKind::Wait(_)
            | StepKind::Call(_)
            | StepKind::Publish(_)
            | StepKind::Emit { .. }
            | StepKind::Approval(_)
            | StepKind::Sequence { .. }
            | StepKind::Log { .. }
            | StepKind::Succeed { .. }
            | StepKind::Fail { .. } => ("a scope that may not run", false),
        };
        if self.map.role(scope) == Role::Compensate {
            return Some(format!("runs only to undo `{id}`"));
        }
        (!alone).then(|| format!("is in {role} (`{id}`)"))
    }
}

/// Why a step that has run may have no output.
fn doubt(step: &Step, outcome: Outcome) -> Option<&'static str> {
    let is_off = step.condition.as_ref().is_some_and(|expr| expr.source() == "false");
    let is_on = step.condition.as_ref().is_none_or(|expr| expr.source() == "true");
    match outcome {
        Outcome::Failed => Some("has failed when this runs"),
        Outcome::Ran => Some("may have failed"),
        _ if is_off => Some("is switched off"),
        _ if !is_on => Some("is bypassed where its `if` is false"),
        _ if step.continue_on_error => Some("may have failed: it says `continue_on_error`"),
        Outcome::Then | Outcome::Else | Outcome::Case(_) | Outcome::Well => None,
    }
}

fn perhaps(why: &str, absent: bool) -> Standing {
    Standing::Perhaps(Doubt { why: why.to_owned(), absent })
}

fn never(why: &str) -> Standing {
    Standing::Never(why.to_owned())
}
