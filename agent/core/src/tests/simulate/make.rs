//! Random workflows whose outcome does not depend on time: whatever the order of answers, a run
//! of one comes to the same.
//!
//! Steps that may run at the same time write no variable that another one reads, and where a
//! failure would find siblings running, nothing fails (or what fails is caught). What slips
//! through is told by [`Reading::vague`](super::super::reference::Reading::vague), and drawn again.

use serde_json::{Value as Json, json};

/// Random numbers: splitmix64.
#[derive(Debug, Clone)]
pub(super) struct Draw(pub(super) u64);

impl Draw {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    /// Once in so many times.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

pub(super) fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

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
            let mut place = Place { fails: self.draw.one_in(3), alone: false, ..place };
            place.texts.push("error.code".to_owned());
            self.left = self.left.max(3);
            document["on_failure"] = self.scope(&place);
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

    // Scopes.

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
        let own: Vec<String> = (0..count)
            .map(|_| {
                self.vars.push(format!("g{}", self.vars.len()));
                self.vars.last().unwrap().clone()
            })
            .collect();
        let mut steps: Vec<Json> = Vec::new();
        // Of each step, those that have certainly ended when it has.
        let mut certain: Vec<Vec<usize>> = Vec::new();
        // Each step writes a variable of its own, and nobody those from outside.
        for at in 0..count {
            let incoming: Vec<usize> = (0..at).filter(|from| edges[*from].contains(&at)).collect();
            let join = if incoming.len() < 2 { 0 } else { self.draw.below(6) };
            let (join, waits) = match join {
                3 => (json!("every"), false),
                4 => (json!("any"), false),
                5 => (json!({"at_least": 1 + self.draw.below(incoming.len())}), false),
                _ => (json!("all"), true),
            };
            let mut sets = incoming.iter().map(|from| {
                let mut set = certain[*from].clone();
                set.push(*from);
                set
            });
            let first = sets.next().unwrap_or_default();
            let known = sets.fold(first, |known, more| {
                if waits {
                    let new: Vec<usize> =
                        more.into_iter().filter(|one| !known.contains(one)).collect();
                    [known, new].concat()
                } else {
                    known.into_iter().filter(|one| more.contains(one)).collect()
                }
            });
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

    // Expressions.

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

    // Steps.

    fn id(&mut self) -> String {
        self.made += 1;
        self.left = self.left.saturating_sub(1);
        format!("{}{}", self.name, self.made)
    }

    fn step(&mut self, place: &Place) -> Json {
        let handled = !place.fails && self.draw.one_in(5);
        let place = &Place { fails: place.fails || handled, ..place.clone() };
        let mut step = if place.depth >= 4 || self.left == 0 || self.draw.below(5) < 2 {
            self.simple(place)
        } else {
            self.composite(place)
        };
        if handled {
            step["continue_on_error"] = json!(true);
        } else if place.fails && self.draw.one_in(8) {
            step["continue_on_error"] = json!(true);
        }
        match self.draw.below(10) {
            0 => step["if"] = json!(self.question(place)),
            1 => {
                let name = self.draw.pick(&place.writes).clone();
                step["export"] = json!({name: self.fill(place)});
            }
            2 if self.draw.one_in(3) => step["enabled"] = json!(false),
            3 => {
                let shape = json!({"x": self.fill(place), "was": true});
                step["output"] = shape;
            }
            _ => {}
        }
        // These results differ from life to life, or by which step was the last.
        let varies = step.get("delay").is_some() || owns_graph(&step);
        if varies && step.get("output").is_none() {
            step["output"] = json!({"x": self.fill(place)});
        }
        step
    }

    fn simple(&mut self, place: &Place) -> Json {
        let id = self.id();
        match self.draw.below(16) {
            0..=5 => self.plugin(place, id),
            6..=8 => {
                let mut values = json!({});
                for _ in 0..=self.draw.below(2) {
                    let name = self.draw.pick(&place.writes).clone();
                    values[name] = self.fill(place);
                }
                if place.fails && self.draw.one_in(12) {
                    let name = self.draw.pick(&place.writes).clone();
                    values[name] = json!("${ [1][inputs.k + 100] }");
                }
                json!({"id": id, "set": values})
            }
            9 => json!({"id": id, "delay": format!("{}s", self.draw.below(90))}),
            10 => json!({"id": id, "delay": format!("${{ ({}) % 30 }}", self.number(place))}),
            11 => json!({"id": id, "log": format!("it is ${{ {} }}", self.number(place))}),
            12 => json!({"id": id, "emit": {"event": "e", "data": {"n": self.fill(place)}}}),
            13 if !self.calls.is_empty() => {
                let callee = if place.fails { *self.draw.pick(self.calls) } else { "d" };
                let mut step = json!({"id": id, "call": callee, "with": {"k": self.fill(place)}});
                if self.draw.one_in(3) {
                    step["retry"] = self.retry(true);
                }
                step
            }
            14 if place.fails => {
                let code = *self.draw.pick(&["user.a", "user.b", "user.no"]);
                json!({"id": id, "fail": {"code": code, "message": "no"},
                    "if": self.question(place)})
            }
            15 if place.alone && self.draw.one_in(3) => {
                let mut step = json!({"id": id, "succeed": {}, "if": self.question(place)});
                if self.draw.one_in(2) {
                    step["succeed"] = json!({"early": self.fill(place)});
                }
                step
            }
            _ => self.plugin(place, id),
        }
    }

    fn plugin(&mut self, place: &Place, id: String) -> Json {
        let action = if place.fails { "p@1" } else { "p.sure@1" };
        let mut with = json!({"n": self.fill(place), "t": format!("k=${{ inputs.k }}")});
        if place.fails && self.draw.one_in(25) {
            with["n"] = json!("${ 1 / (inputs.k - inputs.k) }");
        }
        let mut step =
            json!({"id": id, "plugin": action, "with": with, "retry": self.retry(false)});
        match self.draw.below(6) {
            0 => step["effects"] = json!("pure"),
            1 => step["effects"] = json!("at_most_once"),
            _ => {}
        }
        if self.draw.one_in(5) {
            let mut undo = Vec::new();
            for _ in 0..=self.draw.below(2) {
                let action = if self.draw.one_in(3) { "p@1" } else { "p.sure@1" };
                let with = json!({"undo": "${ output }"});
                let id = self.id();
                let retry = self.retry(false);
                undo.push(json!({"id": id, "plugin": action, "with": with, "retry": retry}));
            }
            step["compensate"] = Json::Array(undo);
        }
        step
    }

    fn retry(&mut self, explicit: bool) -> Json {
        let backoff = *self.draw.pick(&["constant", "linear", "exponential"]);
        let jitter = *self.draw.pick(&["none", "full", "equal"]);
        let mut policy = json!({"max_retries": 1 + self.draw.below(2), "backoff": backoff,
            "delay": format!("{}s", 1 + self.draw.below(20)), "jitter": jitter});
        if explicit || self.draw.one_in(2) {
            policy["errors"] = self.errors();
        }
        if self.draw.one_in(5) {
            policy["not_errors"] = json!(["user.a"]);
        }
        match self.draw.below(5) {
            0 | 1 if !explicit => json!("none"),
            2 => {
                let errors = self.errors();
                let other = json!({"max_retries": 1, "delay": "2s", "errors": errors});
                json!([policy, other])
            }
            _ => policy,
        }
    }

    fn composite(&mut self, place: &Place) -> Json {
        let id = self.id();
        let inner = Place { depth: place.depth + 1, ..place.clone() };
        let mut step = match self.draw.below(12) {
            0 => {
                let question = self.question(place);
                let mut step = json!({"id": id, "condition": question, "then": self.scope(&inner)});
                if self.draw.one_in(2) {
                    step["else"] = self.scope(&inner);
                }
                step
            }
            1 => json!({"id": id, "condition": self.question(place)}),
            2 | 3 => self.switch(id, &inner),
            4 | 5 => self.parallel(id, inner.clone()),
            6 | 7 => self.foreach(id, inner.clone()),
            8 => self.looping(id, inner.clone()),
            9 | 10 => self.attempt(id, inner.clone()),
            _ => {
                let steps = {
                    let count = 2 + self.draw.below(2);
                    self.sequence(&inner, count)
                };
                if self.draw.one_in(3) {
                    json!({"id": id, "sequence": steps})
                } else {
                    let run_on = *self.draw.pick(&["failed", "failed", "cancelled"]);
                    let compensation = json!({"run_on": [run_on]});
                    json!({"id": id, "sequence": {"steps": steps, "compensation": compensation}})
                }
            }
        };
        let asks = step.get("condition").is_some() && step.get("then").is_none();
        if !asks && place.fails && self.draw.one_in(4) {
            step["retry"] = self.retry(true);
        }
        step
    }

    fn switch(&mut self, id: String, inner: &Place) -> Json {
        let subject = format!("({}) % 4", self.number(inner));
        let mut cases = Vec::new();
        for number in 0..=self.draw.below(3) {
            let mut case = match self.draw.below(3) {
                0 => json!({"when": self.question(inner)}),
                1 => json!({"case": number}),
                _ => json!({"case": f64::from(u8::try_from(number).unwrap())}),
            };
            case["do"] = self.scope(inner);
            cases.push(case);
        }
        let mut step = json!({"id": id, "switch": subject, "cases": cases});
        if !inner.fails || self.draw.below(4) > 0 {
            step["default"] = self.scope(inner);
        }
        step
    }

    fn parallel(&mut self, id: String, mut inner: Place) -> Json {
        let count = 1 + self.draw.below(3);
        let in_turn = self.draw.one_in(4);
        let wait_all = self.draw.one_in(2);
        inner.alone &= in_turn || count == 1;
        inner.fails &= in_turn || wait_all || count == 1;
        let mut parallel = json!({});
        if wait_all {
            parallel["mode"] = json!("wait_all");
        }
        if in_turn {
            parallel["concurrency"] = json!(1);
        } else if self.draw.one_in(4) {
            parallel["concurrency"] = json!(2);
        }
        let scopes: Vec<Json> = (0..count).map(|_| self.scope(&inner)).collect();
        // The output of a graph is that of the step that happens to be last: kept out.
        parallel["branches"] = if self.draw.one_in(2) {
            scopes.into_iter().zip(["x", "y", "z"]).map(|(s, n)| (n.to_owned(), s)).collect()
        } else {
            Json::Array(scopes)
        };
        json!({"id": id, "parallel": parallel})
    }

    fn foreach(&mut self, id: String, mut inner: Place) -> Json {
        let list = match self.draw.below(7) {
            0 => "{'b': 2, 'a': 7, 'c': 4}",
            1 => "[]",
            2 => "[5]",
            3 if inner.fails && self.draw.one_in(3) => "inputs.k",
            _ => "[3, 1, 2]",
        };
        let concurrency = 1 + self.draw.below(3);
        let wait_all = self.draw.one_in(2);
        inner.alone &= concurrency == 1;
        inner.fails &= concurrency == 1 || wait_all;
        let mut foreach = json!({"in": list, "as": "it", "concurrency": concurrency});
        let map = list.starts_with('{');
        inner.reads.retain(|known| !known.starts_with("it"));
        inner.reads.push(if map { "it.value".to_owned() } else { "it".to_owned() });
        if self.draw.one_in(2) {
            foreach["index"] = json!("at");
            inner.reads.push("at".to_owned());
        }
        if wait_all {
            foreach["mode"] = json!("wait_all");
        }
        match self.draw.below(4) {
            0 => foreach["tolerate"] = json!(1 + self.draw.below(3)),
            1 => foreach["tolerate"] = json!("50%"),
            _ => {}
        }
        let body = self.scope(&inner);
        if is_graph(&body) || self.draw.one_in(2) {
            foreach["collect"] = json!(self.number(&inner));
        }
        json!({"id": id, "foreach": foreach, "do": body})
    }

    fn looping(&mut self, id: String, mut inner: Place) -> Json {
        inner.reads.push("loop.index".to_owned());
        let count = self.draw.below(4);
        let mut test = match self.draw.below(4) {
            0 => json!({"times": count}),
            1 => json!({"times": format!("{} % 4", self.draw.pick(&inner.reads[..1])),
                "max_iterations": 4}),
            2 => json!({"while": format!("loop.index < {count}")}),
            _ => json!({"until": format!("loop.index >= {count}")}),
        };
        if inner.fails && self.draw.one_in(8) && test.get("times").is_none() {
            test["max_iterations"] = json!(2);
        }
        if self.draw.one_in(2) {
            test["collect"] = json!(self.number(&inner));
        }
        if self.draw.one_in(4) {
            test["every"] = json!("40s");
        }
        json!({"id": id, "loop": test, "do": self.scope(&inner)})
    }

    fn attempt(&mut self, id: String, inner: Place) -> Json {
        // An error that reaches a catch for all goes no further.
        let all = self.draw.one_in(2);
        let body = Place { fails: inner.fails || all, ..inner.clone() };
        let count = 1 + self.draw.below(3);
        let mut step = json!({"id": id, "try": self.sequence(&body, count)});
        let mut catches = Vec::new();
        if self.draw.below(4) > 0 {
            let mut place = inner.clone();
            place.texts.push("why.code".to_owned());
            let mut catch = json!({"errors": self.errors(), "as": "why", "do": self.scope(&place)});
            if self.draw.one_in(4) {
                catch["when"] = json!(self.question(&place));
            }
            catches.push(catch);
        }
        if all {
            let mut place = inner.clone();
            place.texts.push("error.code".to_owned());
            catches.push(json!({"do": self.scope(&place)}));
        }
        if !catches.is_empty() {
            step["catch"] = Json::Array(catches);
        }
        if self.draw.one_in(2) || step.get("catch").is_none() {
            let place = Place { alone: false, fails: inner.fails && self.draw.one_in(3), ..inner };
            step["finally"] = self.scope(&place);
            step["finally_timeout"] = json!(FOR_EVER);
        }
        step
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
    let branches = branches.map_or_else(Vec::new, |branches| match branches {
        Json::Object(map) => map.values().collect(),
        Json::Array(list) => list.iter().collect(),
        _ => Vec::new(),
    });
    let catches = step.get("catch").and_then(Json::as_array).into_iter().flatten();
    let sequence = step.get("sequence");
    let scopes = catches
        .map(|catch| &catch["do"])
        .chain(branches)
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
