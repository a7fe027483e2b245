//! Random workflows, made of a stream of choices so that a failing one shrinks.

use serde_json::{Value, json};

/// Numbers to choose by; zeros when it is used up.
pub(super) struct Choices<'a> {
    bytes: &'a [u8],
    used: usize,
    steps: u32,
}

impl<'a> Choices<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, used: 0, steps: 0 }
    }

    pub(super) fn below(&mut self, bound: u8) -> u8 {
        let byte = self.bytes.get(self.used).copied().unwrap_or(0);
        self.used += 1;
        byte % bound
    }

    fn id(&mut self) -> String {
        self.steps += 1;
        format!("s{}", self.steps)
    }
}

/// What the random workflows call.
pub(super) const CALLEE: &str = "{workflow: c, mode: parallel, inputs: {n: {default: 0}}, \
     steps: [{id: s, plugin: p@1, retry: none}], outputs: {n: {value: '${ inputs.n }'}}}";

/// A workflow as JSON, which is YAML as well.
pub(super) fn workflow(choices: &mut Choices<'_>) -> String {
    let mode = ["queued", "parallel", "restart", "single"][usize::from(choices.below(4))];
    let mut document = json!({
        "workflow": "w",
        "mode": mode,
        "max": 3,
        "vars": {"n": 0},
        "steps": scope(choices, 0),
        "outputs": {"n": {"value": "${ vars.n }"}},
    });
    if choices.below(3) == 0 {
        document["on_failure"] = json!([plugin(choices), set(choices)]);
    }
    if choices.below(4) == 0 {
        document["timeout"] = json!("90s");
    }
    if choices.below(4) == 0 {
        document["finally"] = scope(choices, 2);
    }
    match choices.below(6) {
        0 => document["max_exceeded"] = json!("drop_oldest"),
        1 => document["max_exceeded"] = json!("fail"),
        2 => document["concurrency_key"] = json!("trigger.id"),
        _ => {}
    }
    document.to_string()
}

fn scope(choices: &mut Choices<'_>, depth: u8) -> Value {
    let count = usize::from(1 + choices.below(4));
    let mut steps: Vec<Value> = (0..count).map(|_| step(choices, depth)).collect();
    if choices.below(3) == 0 && count > 1 {
        connect(choices, &mut steps);
    }
    Value::Array(steps)
}

/// Makes a graph of a list: edges lead from earlier to later steps only.
fn connect(choices: &mut Choices<'_>, steps: &mut [Value]) {
    let ids: Vec<String> = steps.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    let mut incoming = vec![0_u8; steps.len()];
    for from in 0..steps.len() {
        let mut targets = Vec::new();
        for to in from + 1..steps.len() {
            match choices.below(5) {
                0 => targets.push(json!({"to": ids[to], "when": "vars.n % 2 == 0"})),
                1 | 2 => targets.push(json!(ids[to])),
                _ => continue,
            }
            incoming[to] += 1;
        }
        steps[from]["next_steps"] = Value::Array(targets);
    }
    for (at, step) in steps.iter_mut().enumerate() {
        if incoming[at] == 0 {
            step["start"] = json!(true);
        } else {
            step["join"] = match choices.below(5) {
                0 => json!("every"),
                1 => json!("any"),
                2 => json!({"at_least": 1 + choices.below(incoming[at])}),
                _ => json!("all"),
            };
        }
    }
}

fn step(choices: &mut Choices<'_>, depth: u8) -> Value {
    let kinds = if depth >= 2 { 10 } else { 20 };
    let mut step = match choices.below(kinds) {
        0 | 1 => plugin(choices),
        2 => set(choices),
        3 => json!({"id": choices.id(), "delay": format!("{}s", choices.below(40))}),
        4 => wait(choices),
        5 => json!({"id": choices.id(), "log": "n is ${ vars.n }"}),
        6 => json!({"id": choices.id(), "emit": {"event": "e", "data": {"n": "${ vars.n }"}}}),
        7 => end(choices),
        8 => call(choices),
        9 => {
            let confirm = ["stored", "broker"][usize::from(choices.below(2))];
            let publish = json!({"topic": "t", "payload": "${ vars.n }", "confirm": confirm});
            json!({"id": choices.id(), "publish": publish})
        }
        10 => {
            let id = choices.id();
            let mut step = json!({"id": id, "condition": "vars.n % 2 == 0"});
            if choices.below(3) > 0 {
                step["then"] = scope(choices, depth + 1);
                step["else"] = scope(choices, depth + 1);
            }
            step
        }
        11 | 12 => parallel(choices, depth),
        13 => switch(choices, depth),
        14 | 15 => foreach(choices, depth),
        16 | 17 => attempt(choices, depth),
        18 => sequence(choices, depth),
        _ => {
            let id = choices.id();
            let test = match choices.below(3) {
                0 => json!({"times": choices.below(4)}),
                1 => json!({"while": format!("loop.index < {}", choices.below(4))}),
                _ => json!({"until": "loop.index >= 1", "collect": "loop.index", "every": "3s"}),
            };
            json!({"id": id, "loop": test, "do": scope(choices, depth + 1)})
        }
    };
    common(choices, &mut step);
    step
}

fn common(choices: &mut Choices<'_>, step: &mut Value) {
    match choices.below(8) {
        0 => step["continue_on_error"] = json!(true),
        1 => step["if"] = json!("vars.n < 3"),
        2 => step["timeout"] = json!("20s"),
        3 => step["total_timeout"] = json!("25s"),
        4 => step["export"] = json!({"n": "${ vars.n + 1 }"}),
        _ => {}
    }
}

fn wait(choices: &mut Choices<'_>) -> Value {
    let id = choices.id();
    let timeout = format!("{}s", 1 + choices.below(60));
    let mut step = match choices.below(6) {
        0 => json!({"id": id, "wait": {"event": "e", "when": "message.data.n > 0"}}),
        1 => json!({"id": id, "wait": {"signal": "s", "count": 1 + choices.below(2)}}),
        2 => json!({"id": id, "wait": {"mqtt": {"topic": "a/+"}, "on_timeout": "continue"}}),
        3 => json!({"id": id, "wait": {"until": "vars.n > 1", "poll": "5s"}}),
        4 => json!({"id": id, "delay": {"until": "timestamp('2026-03-02T10:00:40Z')"}}),
        _ => json!({"id": id, "approval": {"prompt": "now?", "remind": "20s"}}),
    };
    step["timeout"] = json!(timeout);
    step
}

fn end(choices: &mut Choices<'_>) -> Value {
    let id = choices.id();
    match choices.below(3) {
        0 => json!({"id": id, "succeed": {"n": -1}}),
        _ => json!({"id": id, "fail": {"code": "user.no", "message": "no"}}),
    }
}

fn call(choices: &mut Choices<'_>) -> Value {
    let mut step = json!({"id": choices.id(), "call": "c", "with": {"n": "${ vars.n }"}});
    match choices.below(4) {
        0 => step["detach"] = json!(true),
        1 => step["on_parent_close"] = json!("abandon"),
        2 => step["with"] = json!({"m": 1}),
        _ => {}
    }
    step
}

fn switch(choices: &mut Choices<'_>, depth: u8) -> Value {
    let id = choices.id();
    let mut step = json!({"id": id, "switch": "vars.n", "cases": [
        {"case": 0, "do": scope(choices, depth + 1)},
        {"when": "vars.n > 2", "do": scope(choices, depth + 1)},
    ]});
    if choices.below(2) == 0 {
        step["default"] = scope(choices, depth + 1);
    }
    step
}

fn foreach(choices: &mut Choices<'_>, depth: u8) -> Value {
    let id = choices.id();
    let mut foreach = json!({"in": "[1, 2, 3]", "as": "item", "index": "at"});
    foreach["concurrency"] = json!(1 + choices.below(3));
    match choices.below(4) {
        0 => foreach["tolerate"] = json!(1),
        1 => foreach["tolerate"] = json!("50%"),
        2 => foreach["mode"] = json!("wait_all"),
        _ => {}
    }
    if choices.below(2) == 0 {
        foreach["collect"] = json!("item + at + vars.n");
    }
    json!({"id": id, "foreach": foreach, "do": scope(choices, depth + 1)})
}

fn attempt(choices: &mut Choices<'_>, depth: u8) -> Value {
    let id = choices.id();
    let mut step = json!({"id": id, "try": scope(choices, depth + 1)});
    if choices.below(3) > 0 {
        step["catch"] = json!([{"errors": ["user.*", "timeout"], "as": "why",
            "do": scope(choices, depth + 1)}]);
    }
    if choices.below(2) == 0 || step.get("catch").is_none() {
        step["finally"] = scope(choices, depth + 1);
    }
    step
}

fn sequence(choices: &mut Choices<'_>, depth: u8) -> Value {
    let id = choices.id();
    let steps = scope(choices, depth + 1);
    match choices.below(2) {
        0 => json!({"id": id, "sequence": steps}),
        _ => {
            json!({"id": id, "sequence": {"steps": steps, "compensation": {"run_on": ["failed"]}}})
        }
    }
}

fn plugin(choices: &mut Choices<'_>) -> Value {
    let mut step = json!({"id": choices.id(), "plugin": "p@1", "with": {"n": "${ vars.n }"}});
    let backoff = ["constant", "exponential"][usize::from(choices.below(2))];
    step["retry"] = match choices.below(3) {
        0 => json!("none"),
        many => json!({"max_retries": many, "delay": "5s", "backoff": backoff, "jitter": "full"}),
    };
    match choices.below(5) {
        0 => step["effects"] = json!("at_most_once"),
        1 => {
            step["effects"] = json!("at_most_once");
            step["on_interrupt"] = json!("retry");
        }
        2 => step["effects"] = json!("pure"),
        _ => {}
    }
    if choices.below(4) == 0 {
        let undo = json!({"id": choices.id(), "plugin": "p@1", "with": {"x": "${ output }"}});
        step["compensate"] = json!([undo]);
    }
    step
}

fn set(choices: &mut Choices<'_>) -> Value {
    json!({"id": choices.id(), "set": {"n": "${ vars.n + 1 }"}})
}

fn parallel(choices: &mut Choices<'_>, depth: u8) -> Value {
    let id = choices.id();
    let count = 1 + choices.below(3);
    let branches: Vec<Value> = (0..count).map(|_| scope(choices, depth + 1)).collect();
    let mut parallel = json!({"branches": branches});
    match choices.below(5) {
        0 => parallel["mode"] = json!("wait_all"),
        1 => parallel["mode"] = json!("race"),
        2 => parallel["need"] = json!(1 + choices.below(count)),
        3 => parallel["concurrency"] = json!(1),
        _ => {}
    }
    let mut step = json!({"id": id, "parallel": parallel});
    if choices.below(4) == 0 {
        step["retry"] = json!({"max_retries": 1, "delay": "1s"});
    }
    step
}
