//! Scopes: edges and joins.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use openclaw_protocol::definition::{
    Edge, EdgeKind, Join, ScopeIx, Step, StepIx, StepKind, Workflow,
};
use openclaw_protocol::expr::Value;
use openclaw_protocol::run::StepStatus;

use super::values::{error_value, object};
use super::{Done, End, Ended, Fault, Mistake, Reader, Seen, Way, has_result, join, word};

impl Reader<'_> {
    pub(super) fn scope(&mut self, scope: ScopeIx, prefix: &str, seen: &mut Seen) -> End {
        let steps = &self.workflow.scope(scope).steps;
        let mut flow = Flow { workflow: self.workflow, steps, settled: BTreeMap::new() };
        let mut last = Value::Null;
        while let Some((ix, runs)) = flow.next(self.mistake) {
            let step = self.workflow.step(ix);
            if !runs {
                self.settle(step, prefix, StepStatus::Skipped, seen);
                flow.settled
                    .insert(ix, Settled { ran: None, edges: vec![false; step.edges.len()] });
                continue;
            }
            let start = self.reading.ended.len();
            let done = self.step(step, prefix, seen);
            let ran = start..self.reading.ended.len();
            for earlier in flow.at_run(ix) {
                if let Some(Settled { ran: Some(before), .. }) = flow.settled.get(&earlier) {
                    self.reading.before.push((before.clone(), ran.clone()));
                }
            }
            let fails = if let Done::Ran(_, End::Failed(_)) = done {
                let caught = step.edges.iter().any(|edge| matches!(edge.kind, EdgeKind::OnFailure));
                !step.continue_on_error && !caught
            } else {
                matches!(done, Done::Ran(_, End::Over(_)))
            };
            if fails {
                self.leave(flow, ix, prefix, seen);
                if let Done::Ran(_, end) = done {
                    return end;
                }
                unreachable!("what is bypassed does not fail");
            }
            let edges = step.edges.iter().map(|edge| self.takes(step, edge, &done, seen)).collect();
            if let Done::Ran(_, End::Well(output)) = done
                && has_result(step)
            {
                last = output;
            }
            flow.settled.insert(ix, Settled { ran: Some(ran), edges });
        }
        End::Well(last)
    }

    /// The scope ends with the step `from`: what has not been reached is cancelled.
    fn leave(&mut self, mut flow: Flow<'_>, from: StepIx, prefix: &str, seen: &mut Seen) {
        let certain = flow.at_run(from);
        let beside =
            |(ix, settled): (&StepIx, &Settled)| settled.ran.is_some() && !certain.contains(ix);
        if flow.settled.iter().any(beside) {
            self.vague("a scope fails while others of its steps may run");
        }
        let mut rest: BTreeSet<StepIx> = flow.steps.iter().copied().collect();
        rest.remove(&from);
        rest.retain(|ix| !flow.settled.contains_key(ix));
        while let Some(ix) = rest.iter().copied().find(|ix| flow.decide(*ix, None).is_some()) {
            if flow.decide(ix, None) == Some(true) {
                self.vague("a scope fails while others of its steps could run");
            }
            let step = self.workflow.step(ix);
            self.settle(step, prefix, StepStatus::Skipped, seen);
            flow.settled.insert(ix, Settled { ran: None, edges: vec![false; step.edges.len()] });
            rest.remove(&ix);
        }
        for ix in rest {
            self.settle(self.workflow.step(ix), prefix, StepStatus::Cancelled, seen);
        }
    }

    /// Whether an edge of a step that has ended is taken.
    pub(super) fn takes(&self, step: &Step, edge: &Edge, done: &Done, seen: &Seen) -> bool {
        let failed = matches!(done, Done::Ran(_, End::Failed(_)));
        let well = !failed || step.continue_on_error;
        let way = match done {
            Done::Ran(way, _) => *way,
            Done::Bypassed if self.mistake == Some(Mistake::BypassedIsDead) => return false,
            Done::Bypassed => Way::Only,
        };
        match &edge.kind {
            EdgeKind::OnFailure => !well,
            EdgeKind::Next(when) => {
                let gate = matches!(step.kind, StepKind::Condition { gate: true, .. });
                let shut = gate && way == Way::No;
                let open = when.as_ref().is_none_or(|when| self.truth(when, seen) == Ok(true));
                well && !shut && open
            }
            EdgeKind::Then => way == Way::Yes,
            EdgeKind::Else => way == Way::No,
            EdgeKind::Case(number) => way == Way::Case(*number),
        }
    }

    pub(super) fn settle(
        &mut self,
        step: &Step,
        prefix: &str,
        status: StepStatus,
        seen: &mut Seen,
    ) {
        self.ended(step, &join(prefix, step), status, 0, &Value::Null, None, seen);
    }

    #[expect(clippy::too_many_arguments, reason = "one for each thing that is remembered")]
    pub(super) fn ended(
        &mut self,
        step: &Step,
        path: &str,
        status: StepStatus,
        attempts: u32,
        output: &Value,
        fault: Option<&Fault>,
        seen: &mut Seen,
    ) {
        let status_text = word(status);
        let well = status == StepStatus::Succeeded && has_result(step);
        self.reading.ended.push(Ended {
            path: path.to_owned(),
            status: status_text,
            attempts,
            output: well.then(|| {
                output.to_json().map_or_else(|error| error.to_string(), |json| json.to_string())
            }),
            error: fault.map(|fault| fault.code.clone()),
        });
        let view = object([
            ("status".to_owned(), Value::from(status_text)),
            ("output".to_owned(), output.clone()),
            ("error".to_owned(), fault.map_or(Value::Null, error_value)),
            ("attempts".to_owned(), Value::Int(attempts.into())),
        ]);
        seen.steps.insert(step.id.as_str().to_owned(), view);
    }
}

/// Where a scope stands.
struct Flow<'a> {
    workflow: &'a Workflow,
    steps: &'a [StepIx],
    settled: BTreeMap<StepIx, Settled>,
}

/// A step that has ended.
struct Settled {
    /// What ended in it, where it was reached.
    ran: Option<Range<usize>>,
    /// Which of its edges are taken.
    edges: Vec<bool>,
}

impl Flow<'_> {
    /// The first step that is decided, and whether it runs.
    fn next(&self, mistake: Option<Mistake>) -> Option<(StepIx, bool)> {
        let open = self.steps.iter().filter(|ix| !self.settled.contains_key(ix));
        open.copied().find_map(|ix| Some((ix, self.decide(ix, mistake)?)))
    }

    /// Whether a step runs, once it is known.
    fn decide(&self, ix: StepIx, mistake: Option<Mistake>) -> Option<bool> {
        let (mut taken, mut dead, mut open) = (0, 0, 0);
        for (from, number) in self.edges_to(ix) {
            match self.settled.get(&from).map(|settled| settled.edges[number]) {
                Some(true) => taken += 1,
                Some(false) => dead += 1,
                None => open += 1,
            }
        }
        let mut join = self.workflow.step(ix).join;
        if join == Join::All && mistake == Some(Mistake::JoinAllIsEvery) {
            join = Join::Every;
        }
        match join {
            _ if taken + dead + open == 0 => Some(true),
            Join::All => (open == 0).then_some(taken > 0),
            Join::Every if dead > 0 => Some(false),
            Join::Every => (open == 0).then_some(true),
            Join::Any if taken > 0 => Some(true),
            Join::Any => (open == 0).then_some(false),
            Join::AtLeast(n) if taken >= n => Some(true),
            Join::AtLeast(n) => (taken + open < n).then_some(false),
        }
    }

    /// The edges to a step: from where, and which of that step's.
    fn edges_to(&self, ix: StepIx) -> Vec<(StepIx, usize)> {
        let mut found = Vec::new();
        for from in self.steps {
            for (number, edge) in self.workflow.step(*from).edges.iter().enumerate() {
                if edge.to == ix {
                    found.push((*from, number));
                }
            }
        }
        found
    }

    /// The steps that have certainly ended when this one begins.
    fn at_run(&self, ix: StepIx) -> BTreeSet<StepIx> {
        let waits = matches!(self.workflow.step(ix).join, Join::All | Join::Every);
        self.certain(ix, waits)
    }

    /// The steps that have certainly ended when this one has, without it.
    fn at_end(&self, ix: StepIx) -> BTreeSet<StepIx> {
        let waits = matches!(self.workflow.step(ix).join, Join::All);
        self.certain(ix, waits)
    }

    fn certain(&self, ix: StepIx, waits_for_all: bool) -> BTreeSet<StepIx> {
        let sources: BTreeSet<StepIx> =
            self.edges_to(ix).into_iter().map(|(from, _)| from).collect();
        let mut sets = sources.into_iter().map(|from| {
            let mut set = self.at_end(from);
            set.insert(from);
            set
        });
        let first = sets.next().unwrap_or_default();
        sets.fold(first, |known, more| if waits_for_all { &known | &more } else { &known & &more })
    }
}
