//! Random workflows whose outcome does not depend on time: whatever the order of answers, a run
//! of one comes to the same.
//!
//! Steps that may run at the same time write no variable that another one reads, and where a
//! failure would find siblings running, nothing fails (or what fails is caught). What slips
//! through is told by [`Reading::vague`](super::super::reference::Reading::vague), and drawn again.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::draw::Draw;

mod steps;

/// Longer than any simulated life; the longest that the language knows.
const FOR_EVER: &str = "3650d";

/// The workflow `w`, and the two it may call: `c`, which may fail, and `d`, which does not.
pub(super) fn workflows(draw: &mut Draw) -> [String; 3] {
    let size = 3 + draw.below(28);
    let calls: &[&str] = &["c", "d"];
    let main = Maker::new(draw, "w", size, calls).document(true);
    let size = 1 + draw.below(5);
    let child = Maker::new(draw, "c", size, &["d"]).document(true);
    let size = 1 + draw.below(4);
    let sure = Maker::new(draw, "d", size, &[]).document(false);
    [main, child, sure].map(|document| document.to_string())
}

/// What the steps of one place may do.
#[derive(Debug, Clone)]
struct Place {
    depth: usize,
    /// A step may fail for good.
    fails: bool,
    /// Nothing else of the run is under way at the same time, so that `succeed` is certain to
    /// find the same things done.
    alone: bool,
    /// May be set.
    writes: Vec<String>,
    /// Expressions that give an integer.
    reads: Vec<String>,
    /// Expressions that give a text, such as an error's code.
    texts: Vec<String>,
}

struct Maker<'a> {
    draw: &'a mut Draw,
    name: &'static str,
    calls: &'static [&'static str],
    /// Steps that may still be made.
    left: usize,
    made: usize,
    /// All variables.
    vars: Vec<String>,
}

impl<'a> Maker<'a> {
    fn new(
        draw: &'a mut Draw,
        name: &'static str,
        size: usize,
        calls: &'static [&'static str],
    ) -> Self {
        Self { draw, name, calls, left: size, made: 0, vars: vec!["a".into(), "b".into()] }
    }

    fn document(mut self, fails: bool) -> Json {
        let vars = self.vars.clone();
        let reads = vars.iter().map(|name| format!("vars.{name}"));
        let place = Place {
            depth: 0,
            fails,
            alone: true,
            writes: vars.clone(),
            reads: reads.chain(["inputs.k".to_owned()]).collect(),
            texts: Vec::new(),
        };
        let mut steps = self.scope(&place);
        while self.left > 0 && self.draw.below(8) > 0 && !is_graph(&steps) {
            let mut known = place.clone();
            for step in steps.as_array().unwrap() {
                known.learn(step);
            }
            let more = self.step(&known);
            steps.as_array_mut().unwrap().push(more);
        }
        let mut document = json!({
            "workflow": self.name,
            "mode": "parallel",
            "max": 1000,
            "inputs": {"k": {"type": "integer", "default": 1}},
            "defaults": {"timeout": FOR_EVER},
            "steps": steps,
        });
        if fails && self.draw.one_in(3) {
            let fails = self.draw.one_in(3);
            let mut place = Place { fails, alone: false, ..place.clone() };
            place.texts.push("error.code".to_owned());
            self.left = self.left.max(3);
            document["on_failure"] = self.scope(&place);
        }
        if self.draw.one_in(4) {
            let fails = fails && self.draw.one_in(3);
            let place = Place { fails, alone: false, texts: Vec::new(), ..place };
            self.left = self.left.max(2);
            document["finally"] = self.scope(&place);
            document["finally_timeout"] = json!(FOR_EVER);
        }
        if self.name != "w" && self.draw.one_in(3) {
            document["mode"] = json!("queued");
        }
        document["vars"] = self.vars.iter().map(|name| (name.clone(), json!(0))).collect();
        let outputs = self
            .vars
            .iter()
            .map(|name| (name.clone(), json!({"value": format!("${{ vars.{name} }}")})));
        document["outputs"] = outputs.collect();
        document
    }

    fn scope(&mut self, place: &Place) -> Json {
        let count = 1 + self.draw.below(4).min(self.left);
        if count > 1 && self.draw.one_in(4) {
            return self.graph(place, count);
        }
        self.sequence(place, count)
    }

    fn sequence(&mut self, place: &Place, count: usize) -> Json {
        let mut place = place.clone();
        let mut steps: Vec<Json> = Vec::new();
        for at in 0..count {
            if place.fails && at + 1 < count && self.draw.one_in(7) {
                // One that may fail, and another that takes over; it stands at the end.
                let mut step = self.step(&place);
                if step.get("continue_on_error").is_none() {
                    place.learn(&step);
                    let handler = self.step(&place);
                    step["on_failure"] = handler["id"].clone();
                    steps.push(step);
                    if self.draw.one_in(2) {
                        steps.push(self.step(&place));
                    }
                    steps.push(handler);
                    return Json::Array(steps);
                }
                place.learn(&step);
                steps.push(step);
                continue;
            }
            let step = self.step(&place);
            place.learn(&step);
            steps.push(step);
        }
        Json::Array(steps)
    }

    /// Steps with edges from earlier to later ones.
    fn graph(&mut self, place: &Place, count: usize) -> Json {
        let count = count + 1;
        let chain = self.draw.one_in(3);
        let edges = self.edges(count, chain);
        let own: Vec<String> = (0..count)
            .map(|_| {
                self.vars.push(format!("g{}", self.vars.len()));
                self.vars.last().unwrap().clone()
            })
            .collect();
        let mut steps: Vec<Json> = Vec::new();
        // Of each step, those that have certainly ended when it has.
        let mut certain: Vec<BTreeSet<usize>> = Vec::new();
        // Each step writes a variable of its own, and nobody those from outside.
        for at in 0..count {
            let incoming: Vec<usize> = (0..at).filter(|from| edges[*from].contains(&at)).collect();
            let join = self.join(incoming.len());
            let known = known_after(&incoming, &certain, join == "all");
            let handler = edges[at].first().copied().filter(|_| self.draw.one_in(4));
            let goes_on = handler.is_none() && self.draw.one_in(4);
            let mut here = Place {
                depth: place.depth + 1,
                fails: place.fails && chain || handler.is_some() || goes_on,
                alone: place.alone && chain,
                writes: vec![own[at].clone()],
                reads: place.reads.clone(),
                texts: place.texts.clone(),
            };
            here.reads.push(format!("vars.{}", own[at]));
            for other in &known {
                here.reads.push(format!("vars.{}", own[*other]));
                here.learn(&steps[*other]);
            }
            let mut step = self.step(&here);
            self.link(&mut step, &edges[at], handler, &here);
            if goes_on {
                step["continue_on_error"] = json!(true);
            }
            step["join"] = join;
            if incoming.is_empty() {
                step["start"] = json!(true);
                step.as_object_mut().unwrap().remove("join");
            }
            certain.push(known);
            steps.push(step);
        }
        // Targets were written as places.
        let ids: Vec<Json> = steps.iter().map(|step| step["id"].clone()).collect();
        for step in &mut steps {
            name_targets(step, &ids);
        }
        Json::Array(steps)
    }

    /// Of each step, the later ones that its edges lead to.
    fn edges(&mut self, count: usize, chain: bool) -> Vec<Vec<usize>> {
        let mut edges: Vec<Vec<usize>> = Vec::new();
        for from in 0..count {
            let mut targets: Vec<usize> = (from + 1..count).collect();
            if chain {
                targets.truncate(1);
            } else {
                targets.retain(|_| self.draw.below(5) < 3);
            }
            edges.push(targets);
        }
        if edges.iter().all(Vec::is_empty) {
            edges[0].push(1);
        }
        edges
    }

    fn join(&mut self, incoming: usize) -> Json {
        match if incoming < 2 { 0 } else { self.draw.below(6) } {
            3 => json!("every"),
            4 => json!("any"),
            5 => json!({"at_least": 1 + self.draw.below(incoming)}),
            _ => json!("all"),
        }
    }

    /// Gives a step its edges; targets are numbers for now.
    fn link(&mut self, step: &mut Json, targets: &[usize], handler: Option<usize>, here: &Place) {
        let normal: Vec<usize> =
            targets.iter().copied().filter(|target| Some(*target) != handler).collect();
        if let Some(handler) = handler {
            step["on_failure"] = json!(handler);
        }
        let plain = step.get("if").is_none() && step.get("enabled").is_none();
        let bare = step.as_object().unwrap().keys().all(|key| key == "id" || key == "set");
        if plain && bare && !normal.is_empty() && self.draw.one_in(2) {
            // A fork by a question instead.
            let id = step["id"].clone();
            let question = self.question(&Place { fails: false, ..here.clone() });
            let handled = step.get("on_failure").cloned();
            let (left, right) = normal.split_at(normal.len().div_ceil(2));
            *step = if self.draw.one_in(2) {
                let mut fork = json!({"id": id, "condition": question, "then": left});
                if !right.is_empty() {
                    fork["else"] = json!(right);
                }
                fork
            } else {
                let subject = self.number(here);
                let mut fork = json!({"id": id, "switch": format!("({subject}) % 3"),
                    "cases": [{"case": 0, "do": left}]});
                fork["default"] = if right.is_empty() { json!(left) } else { json!(right) };
                if !right.is_empty() && self.draw.one_in(2) {
                    let case = json!({"when": question, "do": right});
                    fork["cases"].as_array_mut().unwrap().push(case);
                }
                fork
            };
            if let Some(handled) = handled {
                step["on_failure"] = handled;
            }
            return;
        }
        let mut next = Vec::new();
        for target in normal {
            if self.draw.one_in(4) {
                next.push(json!({"to": target, "when": self.question(here)}));
            } else {
                next.push(json!(target));
            }
        }
        step["next_steps"] = Json::Array(next);
    }

    /// A small integer.
    fn number(&mut self, place: &Place) -> String {
        let literal = self.draw.below(9).to_string();
        let one = |maker: &mut Self| {
            if maker.draw.one_in(5) {
                literal.clone()
            } else {
                maker.draw.pick(&place.reads).clone()
            }
        };
        match self.draw.below(4) {
            0 => one(self),
            1 => format!("({} * 3 + {}) % 97", one(self), one(self)),
            2 => format!("({} + {} + 1) % 97", one(self), one(self)),
            _ => format!("{} + 1 > 50 ? 0 : {} + 1", one(self), one(self)),
        }
    }

    fn question(&mut self, place: &Place) -> String {
        let number = self.number(place);
        match self.draw.below(if place.texts.is_empty() { 4 } else { 6 }) {
            0 => format!("({number}) % 2 == 0"),
            1 => format!("({number}) % 3 != 1"),
            2 => format!("({number}) < 20"),
            3 => "true".to_owned(),
            4 => format!("{} == 'user.a'", self.draw.pick(&place.texts)),
            _ => format!("{}.startsWith('user.')", self.draw.pick(&place.texts)),
        }
    }

    fn fill(&mut self, place: &Place) -> Json {
        let number = self.number(place);
        if !place.texts.is_empty() && self.draw.one_in(3) {
            let text = self.draw.pick(&place.texts);
            return json!(format!("${{ {text} == 'user.a' ? 1 : {number} }}"));
        }
        json!(format!("${{ {number} }}"))
    }

    fn errors(&mut self) -> Json {
        match self.draw.below(6) {
            0 => json!(["*"]),
            1 => json!(["user.*"]),
            2 => json!(["user.a", "plugin.error"]),
            3 => json!(["http.*", "user.b"]),
            4 => json!(["expr.*", "loop.limit", "user.no"]),
            _ => json!(["plugin.*"]),
        }
    }
}

impl Place {
    /// What later steps may read of a step before them.
    fn learn(&mut self, step: &Json) {
        let id = step["id"].as_str().unwrap();
        self.reads.push(format!("(steps.{id}.status == 'succeeded' ? 5 : steps.{id}.attempts)"));
        self.texts.push(format!("steps.{id}.status"));
        if step.get("plugin").is_some() && step.get("output").is_none() {
            self.reads
                .push(format!("(steps.{id}.status == 'succeeded' ? int(steps.{id}.output.x) : 3)"));
            self.texts.push(format!(
                "(steps.{id}.status == 'failed' ? steps.{id}.error.code : 'user.none')"
            ));
        }
    }
}

/// The steps that have certainly ended when a step has to which edges lead from `incoming`.
fn known_after(
    incoming: &[usize],
    certain: &[BTreeSet<usize>],
    waits_for_all: bool,
) -> BTreeSet<usize> {
    let mut sets = incoming.iter().map(|from| {
        let mut set = certain[*from].clone();
        set.insert(*from);
        set
    });
    let first = sets.next().unwrap_or_default();
    sets.fold(first, |known, more| if waits_for_all { &known | &more } else { &known & &more })
}

fn is_graph(scope: &Json) -> bool {
    let edges = |step: &Json| {
        let ids = |value: Option<&Json>| {
            value.and_then(Json::as_array).is_some_and(|list| list.iter().all(Json::is_string))
        };
        let cases = step.get("cases").and_then(Json::as_array);
        step.get("next_steps").is_some()
            || ids(step.get("then"))
            || cases.is_some_and(|cases| cases.iter().any(|case| ids(case.get("do"))))
    };
    scope.as_array().is_some_and(|steps| steps.iter().any(edges))
}

/// Whether the result of a step may be that of a graph's last step.
fn owns_graph(step: &Json) -> bool {
    let branches = step.get("parallel").map(|parallel| &parallel["branches"]);
    let list = branches.and_then(Json::as_array).into_iter().flatten();
    let map = branches.and_then(Json::as_object).into_iter().flat_map(|map| map.values());
    let catches = step.get("catch").and_then(Json::as_array).into_iter().flatten();
    let sequence = step.get("sequence");
    let scopes = catches
        .map(|catch| &catch["do"])
        .chain(list)
        .chain(map)
        .chain(step.get("try"))
        .chain(sequence)
        .chain(sequence.and_then(|sequence| sequence.get("steps")));
    scopes.into_iter().any(is_graph)
}

/// Puts ids where the places of targets stand.
fn name_targets(step: &mut Json, ids: &[Json]) {
    let name = |value: &mut Json| {
        if let Some(place) = value.as_u64() {
            *value = ids[usize::try_from(place).unwrap()].clone();
        }
    };
    for key in ["then", "else", "default", "next_steps"] {
        if let Some(targets) = step.get_mut(key).and_then(Json::as_array_mut) {
            for target in targets {
                match target.get_mut("to") {
                    Some(to) => name(to),
                    None => name(target),
                }
            }
        }
    }
    if let Some(handler) = step.get_mut("on_failure") {
        name(handler);
    }
    if let Some(cases) = step.get_mut("cases").and_then(Json::as_array_mut) {
        for case in cases {
            if let Some(targets) = case.get_mut("do").and_then(Json::as_array_mut) {
                targets.iter_mut().for_each(name);
            }
        }
    }
}
