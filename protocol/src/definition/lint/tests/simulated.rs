//! What the analysis says of a graph is compared with what happens when the graph is run, by a
//! naive reading of the rules of settlement.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::definition::lint::order::{Doubt, Order, Standing};
use crate::definition::lint::sites::{Phase, Site};
use crate::definition::model::{EdgeKind, Join, StepIx, StepKind, Workflow};
use crate::definition::parse;
use crate::expr::Expr;

/// Numbers to choose by; zeros when they are used up.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % bound
    }
}

/// A graph of up to nine steps, whose edges lead forward.
fn graph(choices: &mut Choices<'_>) -> String {
    let count = 2 + choices.below(8);
    let mut incoming = vec![0; count];
    let mut steps: Vec<Json> = Vec::new();
    for n in 0..count {
        let mut later = |most: usize, choices: &mut Choices<'_>| -> Vec<String> {
            let mut found: Vec<usize> = Vec::new();
            for _ in 0..choices.below(most + 1) {
                let to = n + 1 + choices.below(3);
                if to < count && !found.contains(&to) {
                    found.push(to);
                }
            }
            found.iter().for_each(|to| incoming[*to] += 1);
            found.iter().map(|to| format!("s{to}")).collect()
        };
        let mut step = json!({"id": format!("s{n}")});
        match choices.below(4) {
            0 => {
                step["condition"] = json!("trigger.x");
                for way in ["then", "else"] {
                    let to = later(1, choices);
                    if !to.is_empty() {
                        step[way] = json!(to);
                    }
                }
            }
            1 => {
                step["fail"] = json!({"code": "user.x"});
                step["if"] = json!("trigger.x");
            }
            2 => step["continue_on_error"] = json!(true),
            _ => {}
        }
        if step.get("condition").is_none() && step.get("fail").is_none() {
            step["plugin"] = json!("p@1");
        }
        let next: Vec<Json> = later(2, choices)
            .into_iter()
            .map(|to| {
                let asked = choices.below(4) == 0;
                if asked { json!({"to": to, "when": "trigger.x"}) } else { json!(to) }
            })
            .collect();
        step["next_steps"] = json!(next);
        if choices.below(4) == 0
            && let Some(to) = later(1, choices).pop()
        {
            step["on_failure"] = json!(to);
        }
        steps.push(step);
    }
    for (n, step) in steps.iter_mut().enumerate() {
        match choices.below(6) {
            0 => step["join"] = json!("every"),
            1 => step["join"] = json!("any"),
            2 if incoming[n] > 1 => step["join"] = json!({"at_least": 2}),
            _ => {}
        }
        if incoming[n] == 0 {
            step["start"] = json!(true);
        }
    }
    json!({"workflow": "w", "steps": steps}).to_string()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Succeeded,
    /// The flow goes on as if it had succeeded, and there is no output.
    NoOutput,
    Skipped,
}

type Settled = BTreeMap<StepIx, Status>;

/// One run: for each step that ran, what had settled when it began; and how all have settled, where
/// the run has not failed.
fn run(
    workflow: &Workflow,
    choices: &mut Choices<'_>,
) -> (Vec<(StepIx, Settled)>, Option<Settled>) {
    let scope = workflow.scope(workflow.root);
    let mut settled: Settled = BTreeMap::new();
    let mut arrived: BTreeMap<StepIx, (u16, u16)> = BTreeMap::new();
    let mut begun: Vec<(StepIx, Settled)> = Vec::new();
    let mut running: Vec<StepIx> = scope.entries.clone();
    begun.extend(running.iter().map(|ix| (*ix, BTreeMap::new())));
    while !running.is_empty() {
        let ix = running.remove(choices.below(running.len()));
        let step = workflow.step(ix);
        let caught = step.edges.iter().any(|edge| matches!(edge.kind, EdgeKind::OnFailure));
        let mut truth = None;
        let mut failed = false;
        if let StepKind::Condition { .. } = &step.kind {
            truth = Some(choices.below(2) == 0);
        } else {
            failed = choices.below(3) == 0;
        }
        let gate = matches!(step.kind, StepKind::Condition { gate: true, .. });
        let is_fail = matches!(step.kind, StepKind::Fail { .. });
        if failed && !step.continue_on_error && !caught {
            return (begun, None);
        }
        let well = !failed || step.continue_on_error;
        // A `fail` that does not fail was bypassed.
        let status = if failed || is_fail { Status::NoOutput } else { Status::Succeeded };
        settled.insert(ix, status);
        let mut marks: Vec<(StepIx, bool)> = Vec::new();
        for edge in &step.edges {
            let taken = match &edge.kind {
                EdgeKind::Next(when) => {
                    let shut = gate && truth == Some(false);
                    well && !shut && (when.is_none() || choices.below(2) == 0)
                }
                EdgeKind::Then => truth == Some(true),
                EdgeKind::Else => truth == Some(false),
                EdgeKind::Case(_) => false,
                EdgeKind::OnFailure => failed && !step.continue_on_error,
            };
            marks.push((edge.to, taken));
        }
        let mut launched = Vec::new();
        while let Some((to, taken)) = (!marks.is_empty()).then(|| marks.remove(0)) {
            if settled.contains_key(&to)
                || begun.iter().any(|(ix, _)| *ix == to)
                || launched.contains(&to)
            {
                continue;
            }
            let (yes, no) = arrived.entry(to).or_default();
            if taken {
                *yes += 1
            } else {
                *no += 1
            }
            let (yes, no, all) = (*yes, *no, workflow.step(to).incoming);
            let (runs, skips) = verdict(workflow.step(to).join, yes, no, all);
            if runs {
                launched.push(to);
            } else if skips {
                settled.insert(to, Status::Skipped);
                marks.extend(workflow.step(to).edges.iter().map(|edge| (edge.to, false)));
            }
        }
        for to in launched {
            begun.push((to, settled.clone()));
            running.push(to);
        }
    }
    (begun, Some(settled))
}

/// Whether a step runs, or is skipped, with so many of its edges taken and dead.
fn verdict(join: Join, yes: u16, no: u16, all: u16) -> (bool, bool) {
    match join {
        Join::All => (yes + no == all && yes > 0, no == all),
        Join::Every => (yes == all, no > 0),
        Join::Any => (yes > 0, no == all),
        Join::AtLeast(n) => (yes >= n, all - no < n),
    }
}

/// What contradicts the analysis, if anything does.
fn contradiction(standing: &Standing, status: Option<Status>) -> bool {
    match standing {
        Standing::There => status != Some(Status::Succeeded),
        Standing::Perhaps(Doubt { absent, .. }) => !absent && status.is_none(),
        Standing::Never(_) => status.is_some(),
        Standing::Excluded(Doubt { absent, .. }) => {
            !matches!(status, None | Some(Status::Skipped)) || (!absent && status.is_none())
        }
        Standing::Chance => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_run_contradicts_the_analysis(
        shape in prop::collection::vec(any::<u8>(), 0..120),
        runs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..30),
    ) {
        let text = graph(&mut Choices(shape.iter()));
        let Ok(workflow) = parse(&text) else { return Ok(()) };
        let order = Order::new(&workflow);
        let expr = Expr::compile("true").unwrap();
        let indices: Vec<StepIx> = workflow.scope(workflow.root).steps.clone();
        for bytes in &runs {
            let (begun, ended) = run(&workflow, &mut Choices(bytes.iter()));
            for (of, settled) in indices.iter().zip(ended.iter().cycle()) {
                let site = Site { step: None, key: "outputs", phase: Phase::End, expr: &expr };
                let standing = order.standing(*of, &site);
                let status = settled.get(of).copied();
                prop_assert!(
                    !contradiction(&standing, status),
                    "{}: at the end {} is {status:?}, not {standing:?}",
                    text, workflow.step(*of).id
                );
            }
            for (here, settled) in begun {
                for of in indices.iter().filter(|of| **of != here) {
                    let site = Site { step: Some(here), key: "with", phase: Phase::Start, expr: &expr };
                    let standing = order.standing(*of, &site);
                    let status = settled.get(of).copied();
                    prop_assert!(
                        !contradiction(&standing, status),
                        "{}: where {} runs, {} is {status:?}, not {standing:?}",
                        text, workflow.step(here).id, workflow.step(*of).id
                    );
                }
            }
        }
    }
}
