//! What is known of the steps of one scope when one of them runs: which others have run before it,
//! how they ended, and which are certain to run at all.

use std::cell::OnceCell;

use super::map::{Map, scopes_of};
use crate::definition::model::{
    EdgeKind, Join, LoopTest, ParallelMode, ScopeIx, Step, StepIx, StepKind,
};
use crate::ordered::VecMap;

/// How a step ended, as far as that follows from the way that was taken since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its condition was true.
    Then,
    /// Its condition was false.
    Else,
    /// Its switch took the case of that number, or its default.
    Case(Option<u16>),
    /// Its normal edges were taken.
    Well,
    /// It failed.
    Failed,
    /// Well, or it failed.
    Ran,
}

impl Outcome {
    fn of(edge: &EdgeKind) -> Self {
        match edge {
            EdgeKind::Next(_) => Self::Well,
            EdgeKind::Then => Self::Then,
            EdgeKind::Else => Self::Else,
            EdgeKind::Case(case) => Self::Case(*case),
            EdgeKind::OnFailure => Self::Failed,
        }
    }

    /// Whether it ended well.
    pub(super) fn is_well(self) -> bool {
        !matches!(self, Self::Failed | Self::Ran)
    }

    /// What is known where it is this or that.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (one, two) if one == two => one,
            (one, two) if one.is_well() && two.is_well() => Self::Well,
            _ => Self::Ran,
        }
    }

    /// Whether one step cannot have ended in both ways.
    fn excludes(self, other: Self) -> bool {
        match (self, other) {
            (Self::Ran, _) | (_, Self::Ran) => false,
            (Self::Failed, two) => two.is_well(),
            (one, Self::Failed) => one.is_well(),
            (Self::Well, _) | (_, Self::Well) => false,
            (one, two) => one != two,
        }
    }
}

/// How a step may settle before one that leads to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Early {
    /// Not at all.
    No,
    /// It may be skipped.
    Skipped,
    /// It may run.
    Run,
}

/// Steps of a scope that have run, by place in the scope, and how they ended.
type Facts = VecMap<usize, Outcome>;

/// One scope.
#[derive(Debug)]
pub(super) struct Flow<'w> {
    steps: Vec<&'w Step>,
    /// By place.
    indices: &'w [StepIx],
    places: VecMap<StepIx, usize>,
    order: Vec<usize>,
    /// By place: what can be reached from there.
    after: Vec<Bits>,
    entries: Vec<usize>,
    /// By place; dear, so that it waits until somebody asks.
    facts: OnceCell<Vec<Facts>>,
}

/// Of every step of a workflow, by [`StepIx`], whether it can end so that the flow goes on behind it.
pub(super) type Completes = [bool];

/// A set of places.
#[derive(Debug, Clone)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    fn add(&mut self, n: usize) {
        self.0[n / 64] |= 1 << (n % 64);
    }

    fn add_all(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    fn has(&self, n: usize) -> bool {
        self.0[n / 64] & (1 << (n % 64)) != 0
    }
}

impl<'w> Flow<'w> {
    pub(super) fn new(map: &Map<'w>, scope: ScopeIx) -> Self {
        let scope = map.scope(scope);
        let steps: Vec<&Step> = scope.steps.iter().map(|ix| map.step(*ix)).collect();
        let indices = scope.steps.as_slice();
        let places: VecMap<StepIx, usize> =
            indices.iter().enumerate().map(|(place, ix)| (*ix, place)).collect();
        let entries = scope.entries.iter().filter_map(|ix| places.get(ix).copied()).collect();
        let (order, after, facts) = (Vec::new(), Vec::new(), OnceCell::new());
        let mut flow = Self { steps, indices, places, order, after, entries, facts };
        flow.order = flow.in_order();
        flow.after = flow.reachable();
        flow
    }

    /// The place of a step of this scope.
    pub(super) fn place(&self, step: StepIx) -> Option<usize> {
        self.places.get(&step).copied()
    }

    fn targets(&self, place: usize) -> impl Iterator<Item = (usize, &'w EdgeKind)> {
        let edges = &self.steps[place].edges;
        edges.iter().filter_map(|edge| Some((self.place(edge.to)?, &edge.kind)))
    }

    /// Places so that edges lead forward. A checked workflow has no cycles.
    fn in_order(&self) -> Vec<usize> {
        let mut waits_for = vec![0_usize; self.steps.len()];
        for place in 0..self.steps.len() {
            for (to, _) in self.targets(place) {
                waits_for[to] += 1;
            }
        }
        let mut order: Vec<usize> = (0..self.steps.len()).filter(|n| waits_for[*n] == 0).collect();
        let mut next = 0;
        while let Some(place) = order.get(next).copied() {
            next += 1;
            for (to, _) in self.targets(place) {
                waits_for[to] -= 1;
                if waits_for[to] == 0 {
                    order.push(to);
                }
            }
        }
        order
    }

    fn reachable(&self) -> Vec<Bits> {
        let mut after = vec![Bits::new(self.steps.len()); self.steps.len()];
        for place in self.order.iter().rev() {
            let mut here = Bits::new(self.steps.len());
            for (to, _) in self.targets(*place) {
                here.add(to);
                here.add_all(&after[to]);
            }
            after[*place] = here;
        }
        after
    }

    fn facts(&self) -> &[Facts] {
        self.facts.get_or_init(|| self.known())
    }

    fn known(&self) -> Vec<Facts> {
        let mut incoming: Vec<Vec<(usize, Outcome)>> = vec![Vec::new(); self.steps.len()];
        for place in 0..self.steps.len() {
            for (to, kind) in self.targets(place) {
                incoming[to].push((place, Outcome::of(kind)));
            }
        }
        let mut facts: Vec<Facts> = vec![Facts::new(); self.steps.len()];
        for place in &self.order {
            let every = self.steps[*place].join == Join::Every;
            let mut known: Option<Facts> = None;
            for (from, outcome) in &incoming[*place] {
                let mut way = facts[*from].clone();
                way.insert(*from, *outcome);
                known = Some(match known {
                    None => way,
                    Some(mut all) if every => {
                        all.extend(way);
                        all
                    }
                    Some(either) => either
                        .into_iter()
                        .filter_map(|(step, one)| Some((step, one.or(*way.get(&step)?))))
                        .collect(),
                });
            }
            facts[*place] = known.unwrap_or_default();
        }
        facts
    }

    /// Whether a way leads from one step to another.
    pub(super) fn leads(&self, from: usize, to: usize) -> bool {
        self.after[from].has(to)
    }

    /// Whether two steps never run in the same run of the scope.
    pub(super) fn excludes(&self, one: usize, two: usize) -> bool {
        let other = &self.facts()[two];
        let facts = self.facts()[one].iter();
        facts.filter_map(|(step, how)| Some((how, other.get(step)?))).any(|(a, b)| a.excludes(*b))
    }

    /// How `earlier` has ended when `later` runs. `None`: perhaps it has not run.
    pub(super) fn outcome_before(
        &self,
        earlier: usize,
        later: usize,
        completes: &Completes,
    ) -> Option<Outcome> {
        if let Some(outcome) = self.facts()[later].get(&earlier) {
            return Some(*outcome);
        }
        // It has also run where nothing that has run leads past it, and the join waits for it.
        if !self.is_settled_before(earlier, later) {
            return None;
        }
        let mut known = self.facts()[later].keys().chain(&self.entries);
        known
            .any(|from| self.is_certain_from(*from, earlier, completes))
            .then(|| self.usual_outcome(earlier))
    }

    /// Whether `earlier`, from which a way leads to `later`, has settled for certain when `later`
    /// runs: no join on the way runs, or is skipped, without it.
    pub(super) fn is_settled_before(&self, earlier: usize, later: usize) -> bool {
        !self.joins_between(earlier, later).any(|(place, join)| match join {
            Join::All => false,
            Join::Every => place != later,
            Join::Any | Join::AtLeast(_) => true,
        })
    }

    /// Whether `later` may settle before `earlier`, from which a way leads to it: some join on the
    /// way need not wait.
    pub(super) fn may_settle_before(&self, earlier: usize, later: usize) -> Early {
        let mut early = Early::No;
        for (place, join) in self.joins_between(earlier, later) {
            match join {
                Join::All => {}
                // Skipped itself it does not run; one before it that is skipped does not hold it up.
                Join::Every if place == later && early == Early::No => early = Early::Skipped,
                Join::Every if place == later => {}
                Join::Every | Join::Any | Join::AtLeast(_) => early = Early::Run,
            }
        }
        early
    }

    /// The joins of several edges on the ways from one step to another, that one included.
    fn joins_between(&self, from: usize, to: usize) -> impl Iterator<Item = (usize, Join)> {
        (0..self.steps.len())
            .filter(move |place| {
                self.leads(from, *place) && (*place == to || self.leads(*place, to))
            })
            .map(|place| (place, self.steps[place]))
            .filter(|(_, step)| step.incoming > 1)
            .map(|(place, step)| (place, step.join))
    }

    /// Whether it is decided that `step` runs or is skipped when `later` runs: all that leads to it
    /// has settled by then.
    pub(super) fn is_resolved_before(&self, step: usize, later: usize) -> bool {
        let mut before =
            (0..self.steps.len()).filter(|n| self.targets(*n).any(|(to, _)| to == step));
        before.all(|n| self.leads(n, later) && self.is_settled_before(n, later))
    }

    /// How a step has ended when the scope has ended well. `None`: perhaps it has not run.
    pub(super) fn outcome_at_end(&self, step: usize, completes: &Completes) -> Option<Outcome> {
        let mut entries = self.entries.iter();
        entries
            .any(|entry| self.is_certain_from(*entry, step, completes))
            .then(|| self.usual_outcome(step))
    }

    /// Whether the scope can end well.
    pub(super) fn can_end(&self, completes: &Completes) -> bool {
        self.entries.iter().all(|entry| !self.is_certain_from(*entry, usize::MAX, completes))
    }

    /// How a step that has run has ended, where the scope has not failed.
    fn usual_outcome(&self, place: usize) -> Outcome {
        let has_way = self.targets(place).any(|(_, kind)| matches!(kind, EdgeKind::OnFailure));
        let is_caught = has_way && !self.steps[place].continue_on_error;
        if is_caught { Outcome::Ran } else { Outcome::Well }
    }

    /// Whether `goal` runs for certain once `from` does, unless the scope fails or the run ends
    /// before. Of the edges that are taken together one that leads there is enough.
    fn is_certain_from(&self, from: usize, goal: usize, completes: &Completes) -> bool {
        let mut certain = vec![false; self.steps.len()];
        let start = self.order.iter().position(|place| *place == from).unwrap_or_default();
        for place in self.order[start..].iter().rev().copied() {
            let step = self.steps[place];
            let may_be_skipped = step.incoming > 1
                && place != from
                && matches!(step.join, Join::Every | Join::AtLeast(_));
            certain[place] = !may_be_skipped
                && (place == goal || {
                    let goes_on = completes[usize::from(self.indices[place].0)];
                    let mut ends = ends_of(step, goes_on).into_iter();
                    ends.all(|end| {
                        self.targets(place).any(|(to, kind)| end.takes(kind) && certain[to])
                    })
                });
        }
        certain[from]
    }
}

/// A way in which a step can end without the scope failing.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Well, having chosen this where it chooses.
    Well(Option<Outcome>),
    /// A gate was shut.
    Shut,
    /// Failed, with a step that takes over.
    Caught,
}

impl End {
    /// Whether an edge is certain to be taken.
    fn takes(self, kind: &EdgeKind) -> bool {
        match (self, kind) {
            (Self::Well(_), EdgeKind::Next(when)) => when.is_none(),
            (Self::Well(choice), EdgeKind::Then | EdgeKind::Else | EdgeKind::Case(_)) => {
                choice == Some(Outcome::of(kind))
            }
            (Self::Caught, EdgeKind::OnFailure) => true,
            (Self::Shut | Self::Caught, _) | (Self::Well(_), EdgeKind::OnFailure) => false,
        }
    }
}

/// All ways in which a step can end without the scope failing.
fn ends_of(step: &Step, completes: bool) -> Vec<End> {
    let mut ends = Vec::new();
    let has_way = step.edges.iter().any(|edge| matches!(edge.kind, EdgeKind::OnFailure));
    if has_way && !step.continue_on_error {
        ends.push(End::Caught);
    }
    if step.continue_on_error || (step.condition.is_some() && completes) {
        ends.push(End::Well(None));
    }
    if !completes {
        return ends;
    }
    if let StepKind::Condition { gate, .. } = step.kind {
        let ways = [End::Well(Some(Outcome::Then)), End::Well(Some(Outcome::Else))];
        ends.extend(if gate { [End::Well(None), End::Shut] } else { ways });
    } else if let StepKind::Switch { cases, has_default, .. } = &step.kind {
        let numbers = (0..cases.len()).map(|n| u16::try_from(n).ok());
        let default = has_default.then_some(None);
        let ways = numbers.filter(Option::is_some).chain(default);
        ends.extend(ways.map(|case| End::Well(Some(Outcome::Case(case)))));
    } else {
        ends.push(End::Well(None));
    }
    ends
}

/// Of every step whether it can end well, so that the flow goes on behind it: a `fail` cannot, nor
/// can a `sequence` that ends in one.
pub(super) fn completing(map: &Map<'_>) -> Vec<bool> {
    let mut completes = vec![true; map.workflow.steps.len()];
    // What is inside a step comes after it in the document.
    for (ix, step) in map.steps().rev() {
        let ends = |scope: ScopeIx, known: &Completes| Flow::new(map, scope).can_end(known);
        let inner = scopes_of(step);
        let inside: Vec<bool> = inner.iter().map(|(_, s)| ends(*s, &completes)).collect();
        completes[usize::from(ix.0)] = step.condition.is_some() || kind_completes(step, &inside);
    }
    completes
}

/// Whether a step can end well, given which of its scopes can.
fn kind_completes(step: &Step, inside: &[bool]) -> bool {
    let any = |from: usize, to: usize| inside.iter().skip(from).take(to - from).any(|ends| *ends);
    match &step.kind {
        StepKind::Succeed { .. } | StepKind::Fail { .. } => false,
        StepKind::Condition { then, otherwise, .. } => {
            let ways = usize::from(then.is_some()) + usize::from(otherwise.is_some());
            ways < 2 || any(0, 2)
        }
        StepKind::Switch { cases, default, has_default, .. } => {
            let inline = cases.iter().filter(|case| case.body.is_some()).count();
            let by_id = inline < cases.len() || (*has_default && default.is_none());
            by_id || any(0, inline + usize::from(default.is_some()))
        }
        StepKind::Parallel { mode, branches, .. } => match mode {
            ParallelMode::FailFast | ParallelMode::WaitAll => {
                inside.iter().take(branches.len()).all(|ends| *ends)
            }
            ParallelMode::Race => any(0, branches.len()),
            ParallelMode::Need(n) => {
                inside.iter().take(branches.len()).filter(|ends| **ends).count() >= usize::from(*n)
            }
        },
        StepKind::Loop { test, .. } => !runs_once(test) || any(0, 1),
        StepKind::Try { catches, finally, .. } => {
            let ways = 1 + catches.len();
            any(0, ways) && (finally.is_none() || any(ways, ways + 1))
        }
        StepKind::Sequence { .. } => any(0, 1),
        StepKind::Plugin(_)
        | StepKind::Set(_)
        | StepKind::Delay(_)
        | StepKind::Foreach(_)
        | StepKind::Wait(_)
        | StepKind::Call(_)
        | StepKind::Publish(_)
        | StepKind::Emit { .. }
        | StepKind::Approval(_)
        | StepKind::Log { .. } => true,
    }
}

/// Whether the body of a loop runs for certain.
pub(super) fn runs_once(test: &LoopTest) -> bool {
    match test {
        LoopTest::While(_) => false,
        LoopTest::Until(_) => true,
        LoopTest::Times(times) => times.source().parse::<u64>().is_ok_and(|times| times > 0),
    }
}
