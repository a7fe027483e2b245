//! Edges, entries, cycles and reachability of a scope.

use super::draft::{Place, ProblemCode, Problems};
use super::model::{Edge, EdgeKind, Join, ScopeIx, StepIx};
use crate::ordered::VecMap;

/// Edges that may lead to one step.
const INCOMING: usize = 1_000;

/// What a step says about the flow.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) step: StepIx,
    pub(super) id: String,
    pub(super) at: Place,
    /// Where it says `start: true`.
    pub(super) start: Option<Place>,
    /// It has `next_steps`, or names steps in `then` or `else`.
    pub(super) written: bool,
    /// Where its edges lead, in document order.
    pub(super) targets: Vec<Target>,
    pub(super) join: Join,
}

/// Where an edge leads, as written.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) at: Place,
    pub(super) to: String,
    pub(super) kind: EdgeKind,
}

/// A scope whose steps know one another.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) graph: bool,
    pub(super) entries: Vec<StepIx>,
    /// For each step of the scope its outgoing edges and how many lead to it.
    pub(super) edges: Vec<(Vec<Edge>, u16)>,
}

/// Joins the steps of the scope `here`. What it says is sound only where it adds no problem.
pub(super) fn join(
    here: ScopeIx,
    flows: &[Flow],
    ids: &VecMap<String, (Place, ScopeIx)>,
    problems: &mut Problems,
) -> Joined {
    let graph = flows.iter().any(|flow| flow.written);
    let before = problems.len();
    let mut links = targets(here, flows, ids, problems);
    let resolved = problems.len() == before;
    if !graph {
        follow_the_list(&mut links);
    }
    let mut incoming = vec![0_usize; flows.len()];
    for (to, _) in links.iter().flatten() {
        incoming[*to] += 1;
    }
    if resolved {
        check_joins(flows, &incoming, problems);
        check_cycle(flows, &links, &incoming, problems);
    }
    let entries = entries(flows, &incoming, graph, resolved, problems);
    let edge = |(to, kind): (usize, EdgeKind)| Edge { to: flows[to].step, kind };
    let edges = links
        .into_iter()
        .zip(&incoming)
        .map(|(out, n)| {
            (out.into_iter().map(edge).collect(), u16::try_from(*n).unwrap_or(u16::MAX))
        })
        .collect();
    Joined { graph, entries, edges }
}

/// Edges by position in the scope.
type Links = Vec<Vec<(usize, EdgeKind)>>;

/// Finds the written targets.
fn targets(
    here: ScopeIx,
    flows: &[Flow],
    ids: &VecMap<String, (Place, ScopeIx)>,
    problems: &mut Problems,
) -> Links {
    let positions: VecMap<&str, usize> =
        flows.iter().enumerate().map(|(n, flow)| (flow.id.as_str(), n)).collect();
    let mut links = Vec::with_capacity(flows.len());
    for flow in flows {
        let mut out = Vec::new();
        for Target { at, to, kind } in &flow.targets {
            match (positions.get(to.as_str()), ids.get(to)) {
                (Some(position), _) => out.push((*position, kind.clone())),
                (None, Some((place, scope))) if *scope != here => {
                    let message = format!(
                        "`{}` leads to `{to}`, which is in another list of steps (line {}); an edge \
                         stays in its list",
                        flow.id, place.line
                    );
                    problems.add(ProblemCode::CrossScope, *at, message);
                }
                _ => problems.unknown_target(*at, &flow.id, to, positions.keys().copied()),
            }
        }
        links.push(out);
    }
    links
}

/// Adds the edges that follow from list order. Targets of `on_failure` are not part of it.
fn follow_the_list(links: &mut Links) {
    let mut on_failure = vec![false; links.len()];
    for (to, _) in links.iter().flatten() {
        on_failure[*to] = true;
    }
    let flow: Vec<usize> = (0..links.len()).filter(|n| !on_failure[*n]).collect();
    for pair in flow.windows(2) {
        links[pair[0]].insert(0, (pair[1], EdgeKind::Next(None)));
    }
}

fn check_joins(flows: &[Flow], incoming: &[usize], problems: &mut Problems) {
    for (flow, incoming) in flows.iter().zip(incoming) {
        if *incoming > INCOMING {
            let message = format!("more than {INCOMING} edges lead to `{}`", flow.id);
            problems.add(ProblemCode::Limit, flow.at, message);
        }
        let Join::AtLeast(least) = flow.join else { continue };
        if usize::from(least) > *incoming {
            let message = format!(
                "`{}` waits for {least} edges, but only {incoming} lead to it; it could never run",
                flow.id
            );
            problems.add(ProblemCode::Value, flow.at, message);
        }
    }
}

/// Notes one cycle, if there is any (Kahn's algorithm: what cannot be put in order is on a cycle or
/// behind one).
fn check_cycle(flows: &[Flow], links: &Links, incoming: &[usize], problems: &mut Problems) {
    let mut waiting_for = incoming.to_vec();
    let mut ready: Vec<usize> = (0..flows.len()).filter(|n| waiting_for[*n] == 0).collect();
    while let Some(n) = ready.pop() {
        for (to, _) in &links[n] {
            waiting_for[*to] -= 1;
            if waiting_for[*to] == 0 {
                ready.push(*to);
            }
        }
    }
    let stuck = |n: &usize| waiting_for[*n] > 0;
    let before = |n: usize| {
        (0..flows.len()).filter(stuck).find(|from| links[*from].iter().any(|(to, _)| *to == n))
    };
    let Some(first) = (0..flows.len()).find(stuck) else { return };
    // Every stuck step has a stuck one before it, so going backwards must come round.
    let mut way = vec![first];
    let mut here = first;
    while let Some(next) = before(here) {
        if let Some(start) = way.iter().position(|n| *n == next) {
            way.drain(..start);
            way.push(way[0]);
            break;
        }
        way.push(next);
        here = next;
    }
    way.reverse();
    let named: Vec<String> = way.iter().map(|n| format!("`{}`", flows[*n].id)).collect();
    let earliest = way.iter().map(|n| flows[*n].at).min().unwrap_or_default();
    problems.suggest(
        ProblemCode::Cycle,
        earliest,
        format!("the steps lead in a circle: {}", named.join(" → ")),
        "use a `loop` step to repeat",
    );
}

/// The steps a scope starts with.
fn entries(
    flows: &[Flow],
    incoming: &[usize],
    graph: bool,
    resolved: bool,
    problems: &mut Problems,
) -> Vec<StepIx> {
    for (flow, incoming) in flows.iter().zip(incoming) {
        if let Some(at) = flow.start.filter(|_| *incoming > 0 && resolved) {
            let message = if graph {
                format!("`{}` cannot say `start: true`: other steps lead to it", flow.id)
            } else {
                "without `next_steps` a list starts with its first step".to_owned()
            };
            problems.suggest(ProblemCode::Start, at, message, "remove `start`");
        }
    }
    let free: Vec<&Flow> =
        flows.iter().zip(incoming).filter(|(_, n)| **n == 0).map(|(flow, _)| flow).collect();
    let silent: Vec<&&Flow> = free.iter().filter(|flow| flow.start.is_none()).collect();
    if free.len() < 2 || silent.is_empty() || !resolved {
        return free.iter().map(|flow| flow.step).collect();
    }
    if silent.len() == free.len() {
        let named: Vec<String> = free.iter().map(|flow| format!("`{}`", flow.id)).collect();
        problems.suggest(
            ProblemCode::Start,
            free[1].at,
            format!("it is not clear where to start: nothing leads to {}", named.join(", ")),
            "lead to them with `next_steps`, or say `start: true` on each that shall start at once",
        );
    } else {
        for flow in silent {
            problems.suggest(
                ProblemCode::Unreachable,
                flow.at,
                format!("nothing leads to `{}`", flow.id),
                "lead to it with `next_steps`, or say `start: true`",
            );
        }
    }
    free.iter().map(|flow| flow.step).collect()
}
