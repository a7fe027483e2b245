//! Random steps of every kind.

use serde_json::{Value as Json, json};

use super::{FOR_EVER, Maker, Place, is_graph, owns_graph};

impl Maker<'_> {
    fn id(&mut self) -> String {
        self.made += 1;
        self.left = self.left.saturating_sub(1);
        format!("{}{}", self.name, self.made)
    }

    pub(super) fn step(&mut self, place: &Place) -> Json {
        let handled = !place.fails && self.draw.one_in(5);
        let place = &Place { fails: place.fails || handled, ..place.clone() };
        let mut step = if place.depth >= 4 || self.left == 0 || self.draw.below(5) < 2 {
            self.simple(place)
        } else {
            self.composite(place)
        };
        if handled || place.fails && self.draw.one_in(8) {
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
