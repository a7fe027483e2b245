//! Joins on random graphs, against a reference that has no notion of time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use openclaw_protocol::run::{RunEvent, StepStatus};
use proptest::prelude::*;

use super::World;

#[derive(Debug, Clone)]
struct Node {
    fails: bool,
    /// `None`: all; 0: every; n: the n-th.
    join: Option<u8>,
    /// To which later step, whether its condition is true, and whether it is an `on_failure`.
    edges: Vec<(usize, bool, bool)>,
}

/// Steps in the order of the document, edges forward only.
fn graph() -> impl Strategy<Value = Vec<Node>> {
    let edge = (any::<prop::sample::Index>(), any::<bool>());
    let node =
        (prop::bool::weighted(0.2), prop::option::of(0..4_u8), prop::collection::vec(edge, 0..4));
    prop::collection::vec(node, 2..9).prop_map(|drawn| {
        let count = drawn.len();
        let mut nodes = Vec::new();
        for (at, (fails, join, drawn_edges)) in drawn.into_iter().enumerate() {
            let mut edges: BTreeMap<usize, (usize, bool, bool)> = BTreeMap::new();
            for (number, (to, taken)) in drawn_edges.into_iter().enumerate() {
                if at + 1 < count {
                    let to = at + 1 + to.index(count - at - 1);
                    // The first edge of a step that may fail is the one for its failure.
                    edges.insert(to, (to, taken, fails && number == 0));
                }
            }
            // A failure that nobody takes would end the scope, which is another test.
            let edges: Vec<_> = edges.into_values().collect();
            let fails = fails && edges.iter().any(|(_, _, on_failure)| *on_failure);
            nodes.push(Node { fails, join, edges });
        }
        nodes
    })
}

fn incoming(nodes: &[Node], at: usize) -> u8 {
    let all = nodes.iter().flat_map(|node| &node.edges);
    u8::try_from(all.filter(|(to, ..)| *to == at).count()).unwrap()
}

fn text(nodes: &[Node]) -> String {
    let mut text = "workflow: w\nsteps:\n".to_owned();
    for (at, node) in nodes.iter().enumerate() {
        let kind = if node.fails { "condition: '1'" } else { "set: { x: 1 }" };
        let _ = write!(text, "  - {{ id: s{at}, {kind}");
        let plain = node.edges.iter().filter(|(_, _, on_failure)| !on_failure);
        let next: Vec<String> =
            plain.map(|(to, taken, _)| format!("{{ to: s{to}, when: '{taken}' }}")).collect();
        let _ = write!(text, ", next_steps: [{}]", next.join(", "));
        if let Some((to, ..)) = node.edges.iter().find(|(_, _, on_failure)| *on_failure) {
            let _ = write!(text, ", on_failure: s{to}");
        }
        match (incoming(nodes, at), node.join) {
            (0, _) => text.push_str(", start: true"),
            (_, None) => {}
            (_, Some(0)) => text.push_str(", join: every"),
            (_, Some(1)) => text.push_str(", join: any"),
            (most, Some(n)) => {
                let _ = write!(text, ", join: {{ at_least: {} }}", n.min(most));
            }
        }
        text.push_str(" }\n");
    }
    text
}

/// Whether each step runs: one look at each, in an order in which all before it are known.
fn reference(nodes: &[Node]) -> Vec<StepStatus> {
    let mut status = Vec::new();
    let mut taken = vec![0_u8; nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        let most = incoming(nodes, at);
        let runs = most == 0
            || match node.join {
                None | Some(1) => taken[at] > 0,
                Some(0) => taken[at] == most,
                Some(n) => taken[at] >= n.min(most),
            };
        status.push(match (runs, node.fails) {
            (false, _) => StepStatus::Skipped,
            (true, false) => StepStatus::Succeeded,
            (true, true) => StepStatus::Failed,
        });
        for (to, when, on_failure) in &node.edges {
            if runs && if node.fails { *on_failure } else { *when && !on_failure } {
                taken[*to] += 1;
            }
        }
    }
    status
}

proptest! {
    #[test]
    fn a_graph_settles_as_the_reference_says(nodes in graph()) {
        let text = text(&nodes);
        let mut world = World::new(&text);
        world.start("{}");
        let mut settled = BTreeMap::new();
        for record in world.events() {
            if let RunEvent::StepSettled { step, status, .. } = record.event {
                prop_assert!(settled.insert(step.0, status).is_none(), "twice\n{}", text);
            }
        }
        let expected: BTreeMap<String, StepStatus> = reference(&nodes)
            .into_iter()
            .enumerate()
            .map(|(at, status)| (format!("s{at}"), status))
            .collect();
        prop_assert_eq!(settled, expected, "{}", text);
    }
}
