//! A workflow as a picture: Mermaid for documents and code hosts, DOT for Graphviz.

use std::fmt::Write as _;

use openclaw_protocol::definition::{
    CaseTest, EdgeKind, Part, ScopeIx, Step, StepIx, StepKind, Workflow,
};

/// The longest label line, in characters.
const LABEL: usize = 48;

/// What is drawn, in the order of the document.
struct Chart {
    /// What is inside what.
    boxes: Vec<Item>,
    lines: Vec<Line>,
}

/// A node or a box around others.
enum Item {
    Node { id: String, label: Vec<String>, shape: Shape },
    Box { id: String, label: String, inside: Vec<Item> },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Plain,
    /// Something that chooses.
    Choice,
    /// The beginning.
    Start,
    /// An end of the run.
    End,
}

struct Line {
    from: String,
    to: String,
    label: String,
    /// What is not the usual way.
    dotted: bool,
}

/// As a Mermaid flow chart.
pub(crate) fn mermaid(workflow: &Workflow) -> String {
    let chart = Chart::of(workflow);
    let mut out = String::from("flowchart TD\n");
    for item in &chart.boxes {
        mermaid_item(&mut out, item, 1);
    }
    for Line { from, to, label, dotted } in &chart.lines {
        let arrow = if *dotted { "-.->" } else { "-->" };
        let label =
            if label.is_empty() { String::new() } else { format!("|{}|", mermaid_text(label)) };
        _ = writeln!(out, "  {from} {arrow}{label} {to}");
    }
    out
}

fn mermaid_item(out: &mut String, item: &Item, depth: usize) {
    let pad = "  ".repeat(depth);
    match item {
        Item::Node { id, label, shape } => {
            let lines: Vec<String> = label.iter().map(|line| mermaid_text(line)).collect();
            // Quotes are a part of the text's delimiters, so the label goes without them here.
            let text = lines.iter().map(|l| l.trim_matches('"')).collect::<Vec<_>>().join("<br/>");
            let (open, close) = match shape {
                Shape::Plain => ("[", "]"),
                Shape::Choice => ("{", "}"),
                Shape::Start => ("((", "))"),
                Shape::End => ("([", "])"),
            };
            _ = writeln!(out, "{pad}{id}{open}\"{text}\"{close}");
        }
        Item::Box { id, label, inside } => {
            _ = writeln!(out, "{pad}subgraph {id}[{}]", mermaid_text(label));
            for item in inside {
                mermaid_item(out, item, depth + 1);
            }
            _ = writeln!(out, "{pad}end");
        }
    }
}

/// A text in quotes, with what Mermaid would read otherwise as numbered characters.
fn mermaid_text(text: &str) -> String {
    let mut safe = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '#' | '<' | '>' | '&' | '|' | '`' | '\\' => {
                _ = write!(safe, "#{};", u32::from(c))
            }
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe + "\""
}

/// As a digraph of Graphviz.
pub(crate) fn dot(workflow: &Workflow) -> String {
    let chart = Chart::of(workflow);
    let name = dot_text(workflow.name.as_str());
    let mut out = format!("digraph {name} {{\n  rankdir=TB;\n  node [shape=box, style=rounded];\n");
    for item in &chart.boxes {
        dot_item(&mut out, item, 1);
    }
    for Line { from, to, label, dotted } in &chart.lines {
        let mut attributes = Vec::new();
        if !label.is_empty() {
            attributes.push(format!("label={}", dot_text(label)));
        }
        if *dotted {
            attributes.push("style=dashed".to_owned());
        }
        let attributes = if attributes.is_empty() {
            String::new()
        } else {
            format!(" [{}]", attributes.join(", "))
        };
        _ = writeln!(out, "  {from} -> {to}{attributes};");
    }
    out + "}\n"
}

fn dot_item(out: &mut String, item: &Item, depth: usize) {
    let pad = "  ".repeat(depth);
    match item {
        Item::Node { id, label, shape } => {
            let shape = match shape {
                Shape::Plain => "",
                Shape::Choice => ", shape=diamond, style=solid",
                Shape::Start => ", shape=circle",
                Shape::End => ", shape=oval",
            };
            _ = writeln!(out, "{pad}{id} [label={}{shape}];", dot_text(&label.join("\n")));
        }
        Item::Box { id, label, inside } => {
            _ = writeln!(out, "{pad}subgraph cluster_{id} {{\n{pad}  label={};", dot_text(label));
            for item in inside {
                dot_item(out, item, depth + 1);
            }
            _ = writeln!(out, "{pad}}}");
        }
    }
}

fn dot_text(text: &str) -> String {
    let mut safe = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => safe.extend(['\\', c]),
            '\n' => safe.push_str("\\n"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe + "\""
}

impl Chart {
    fn of(workflow: &Workflow) -> Self {
        let mut chart = Self { boxes: Vec::new(), lines: Vec::new() };
        let start = vec![workflow.name.to_string()];
        let mut top =
            vec![Item::Node { id: "start".to_owned(), label: start, shape: Shape::Start }];
        chart.enter("start", "", false, workflow, workflow.root);
        top.extend(chart.scope(workflow, workflow.root));
        let after = [
            (workflow.finally, "finally", "in any case"),
            (workflow.on_failure, "on_failure", "when the run has failed"),
        ];
        for (scope, id, label) in after {
            let Some(scope) = scope else { continue };
            let inside = chart.scope(workflow, scope);
            top.push(Item::Box { id: id.to_owned(), label: label.to_owned(), inside });
        }
        chart.boxes = top;
        chart
    }

    /// Lines from something to the first steps of a scope.
    fn enter(
        &mut self,
        from: &str,
        label: &str,
        dotted: bool,
        workflow: &Workflow,
        scope: ScopeIx,
    ) {
        for entry in &workflow.scope(scope).entries {
            let (from, to) = (from.to_owned(), node(workflow, *entry));
            self.lines.push(Line { from, to, label: label.to_owned(), dotted });
        }
    }

    fn scope(&mut self, workflow: &Workflow, scope: ScopeIx) -> Vec<Item> {
        workflow.scope(scope).steps.iter().map(|ix| self.step(workflow, *ix)).collect()
    }

    fn step(&mut self, workflow: &Workflow, ix: StepIx) -> Item {
        let step = workflow.step(ix);
        let id = node(workflow, ix);
        for edge in &step.edges {
            let (label, dotted) = edge_label(step, &edge.kind);
            let (from, to) = (id.clone(), node(workflow, edge.to));
            self.lines.push(Line { from, to, label, dotted });
        }
        let shape = match step.kind.key() {
            "condition" | "switch" => Shape::Choice,
            "succeed" | "fail" => Shape::End,
            _ => Shape::Plain,
        };
        let head = Item::Node { id: id.clone(), label: label(step), shape };
        let scopes = ways_in(step);
        if scopes.is_empty() {
            return head;
        }
        let mut inside = vec![head];
        for (n, (what, dotted, scope)) in scopes.into_iter().enumerate() {
            self.enter(&id, &what, dotted, workflow, scope);
            let items = self.scope(workflow, scope);
            inside.push(Item::Box { id: format!("{id}_{n}"), label: what, inside: items });
        }
        Item::Box { id: format!("{id}_all"), label: step.id.to_string(), inside }
    }
}

/// A node's name, which no word of the two languages can be.
fn node(workflow: &Workflow, ix: StepIx) -> String {
    format!("s_{}", workflow.step(ix).id)
}

/// What is written in a step's node.
fn label(step: &Step) -> Vec<String> {
    let what = if let StepKind::Plugin(call) = &step.kind {
        format!("{}.{}", call.plugin, call.action)
    } else if let StepKind::Condition { expr, .. } | StepKind::Switch { subject: Some(expr), .. } =
        &step.kind
    {
        expr.source().to_owned()
    } else if let StepKind::Call(call) = &step.kind {
        format!("call {}", call.workflow)
    } else {
        step.kind.key().to_owned()
    };
    let mut lines = vec![step.id.to_string()];
    if !step.name.is_empty() {
        lines.push(short(&step.name));
    }
    lines.push(short(&what));
    if let Some(expr) = &step.condition {
        lines.push(short(&format!("if {}", expr.source())));
    }
    lines
}

fn edge_label(step: &Step, kind: &EdgeKind) -> (String, bool) {
    match kind {
        EdgeKind::Next(None) => (String::new(), false),
        EdgeKind::Next(Some(when)) => (short(when.source()), false),
        EdgeKind::Then => ("yes".to_owned(), false),
        EdgeKind::Else => ("no".to_owned(), false),
        EdgeKind::Case(case) => (case_label(step, *case), false),
        EdgeKind::OnFailure => ("on failure".to_owned(), true),
    }
}

fn case_label(step: &Step, case: Option<u16>) -> String {
    let StepKind::Switch { cases, .. } = &step.kind else { return String::new() };
    match case.and_then(|n| cases.get(usize::from(n))).map(|case| &case.test) {
        Some(CaseTest::Is(value)) => {
            let json = value.source();
            short(&json.as_str().map_or_else(|| json.to_string(), str::to_owned))
        }
        Some(CaseTest::When(expr)) => short(expr.source()),
        None => "default".to_owned(),
    }
}

/// The scopes of a step: what leads there, whether that is unusual, and which.
fn ways_in(step: &Step) -> Vec<(String, bool, ScopeIx)> {
    let way = |(part, scope)| {
        let (what, dotted) = match part {
            Part::Then => ("yes".to_owned(), false),
            Part::Else => ("no".to_owned(), false),
            Part::Case(n, _) => (case_label(step, u16::try_from(n).ok()), false),
            Part::Default => ("default".to_owned(), false),
            Part::Branch(_, name) => (name.to_owned(), false),
            Part::Loop => ("again and again".to_owned(), false),
            Part::Foreach(each) => (format!("for each {}", each.item), false),
            Part::Try => ("try".to_owned(), false),
            Part::Catch(_, catch) => {
                (short(&format!("catch {}", catch.errors.join(", "))).trim_end().to_owned(), true)
            }
            Part::Finally => ("finally".to_owned(), false),
            Part::Sequence => (String::new(), false),
            Part::Compensate => ("undo".to_owned(), true),
        };
        (what, dotted, scope)
    };
    step.scopes().map(way).collect()
}

fn short(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match flat.char_indices().nth(LABEL) {
        Some((end, _)) => format!("{}…", &flat[..end]),
        None => flat,
    }
}

#[cfg(test)]
mod tests {
    use openclaw_protocol::definition;

    use super::*;

    const TEXT: &str = r#"
workflow: pump
steps:
  - { id: end, condition: trigger.x == "a|b", then: [{ id: go, plugin: p.on@1 }] }
  - { id: read, plugin: p@1, on_failure: note, compensate: [{ id: undo_it, plugin: p@1 }] }
  - { id: note, succeed: {} }
"#;

    #[test]
    fn mermaid_shows_steps_edges_and_scopes() {
        let drawn = mermaid(&definition::parse(TEXT).unwrap());
        for line in [
            "flowchart TD",
            "  start((\"pump\"))",
            "  start --> s_end",
            "    s_end{\"end<br/>trigger.x == #34;a#124;b#34;\"}",
            "    subgraph s_end_0[\"yes\"]",
            "      s_go[\"go<br/>p.on\"]",
            "  s_end -->|\"yes\"| s_go",
            "  s_end --> s_read",
            "  s_read -.->|\"on failure\"| s_note",
            "  s_read -.->|\"undo\"| s_undo_it",
            "  s_note([\"note<br/>succeed\"])",
        ] {
            assert!(drawn.lines().any(|l| l == line), "no `{line}` in\n{drawn}");
        }
        let opened = drawn.matches("subgraph").count();
        assert_eq!(opened, drawn.lines().filter(|l| l.trim() == "end").count(), "{drawn}");
    }

    #[test]
    fn dot_is_balanced_and_quoted() {
        let drawn = dot(&definition::parse(TEXT).unwrap());
        assert!(drawn.starts_with("digraph \"pump\" {\n"), "{drawn}");
        assert!(
            drawn.contains("s_end [label=\"end\\ntrigger.x == \\\"a|b\\\"\", shape=diamond"),
            "{drawn}"
        );
        assert!(
            drawn.contains("  s_read -> s_note [label=\"on failure\", style=dashed];"),
            "{drawn}"
        );
        assert_eq!(drawn.matches('{').count(), drawn.matches('}').count(), "{drawn}");
    }
}
