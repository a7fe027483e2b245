//! The one spelling of a workflow: canonical JSON, over which its identity is hashed.
//!
//! It is written from the checked model, so it holds what the engine sees and nothing else;
//! comments, step descriptions and the order of keys are gone, and what equals a default of the
//! language is left out. Reading it gives the same workflow again.

use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::definition::model::{
    Backoff, CatchUp, DelayFor, Edge, EdgeKind, Effects, Jitter, Join, LoopTest, Mode, OnInterrupt,
    ParallelMode, PluginCall, Priority, Retry, ScopeIx, Step, StepKind, Trigger, TriggerKind,
    Workflow,
};
use crate::limits;

/// Writes the canonical JSON of a workflow, on one line.
pub(super) fn text(workflow: &Workflow) -> String {
    let mut top = Map::new();
    put(&mut top, "workflow", json!(workflow.name.as_str()));
    put(&mut top, "language", json!(1));
    put(&mut top, "version", json!(workflow.version));
    put_unless(&mut top, "description", &workflow.description, &String::new());
    put_unless(&mut top, "tags", &workflow.tags, &Vec::new());
    put_unless(&mut top, "priority", &workflow.priority, &Priority::default());
    put_unless(&mut top, "mode", &workflow.mode, &Mode::default());
    put_unless(&mut top, "max", &workflow.max, &limits::QUEUED_RUNS);
    put_some(&mut top, "timeout", workflow.timeout_ms.map(duration));
    let inputs = workflow.inputs.iter().map(|(name, spec)| (name.clone(), spec.schema.clone()));
    put_map(&mut top, "inputs", inputs.collect());
    put_map(&mut top, "vars", workflow.vars.clone().into_iter().collect());
    let outputs = workflow.outputs.iter();
    let outputs = outputs.map(|(name, value)| (name.clone(), json!({"value": value.source()})));
    put_map(&mut top, "outputs", outputs.collect());
    if !workflow.triggers.is_empty() {
        put(&mut top, "triggers", workflow.triggers.iter().map(trigger).collect());
    }
    put(&mut top, "steps", scope(workflow, workflow.root));
    put_some(&mut top, "on_failure", workflow.on_failure.map(|ix| scope(workflow, ix)));
    Json::Object(top).to_string()
}

fn scope(workflow: &Workflow, ix: ScopeIx) -> Json {
    let scope = workflow.scope(ix);
    let many = scope.entries.len() > 1;
    let steps = scope.steps.iter().map(|step_ix| {
        let start = many && scope.entries.contains(step_ix);
        step(workflow, workflow.step(*step_ix), scope.graph, start)
    });
    steps.collect()
}

fn step(workflow: &Workflow, step: &Step, graph: bool, start: bool) -> Json {
    let mut map = Map::new();
    put(&mut map, "id", json!(step.id.as_str()));
    put(&mut map, "type", json!(step.kind.key()));
    put_unless(&mut map, "name", &step.name, &String::new());
    put_some(&mut map, "if", step.condition.as_ref().map(|expr| json!(expr.source())));
    put(&mut map, "config", config(workflow, step));
    put_unless(&mut map, "start", &start, &false);
    flow(&mut map, workflow, step, graph);
    put_unless(&mut map, "continue_on_error", &step.continue_on_error, &false);
    let plugin = matches!(step.kind, StepKind::Plugin(_));
    match (step.timeout_ms, plugin) {
        (Some(limits::ATTEMPT_TIMEOUT_MS), true) | (None, _) => {}
        (Some(ms), _) => put(&mut map, "timeout", duration(ms)),
    }
    put_some(&mut map, "total_timeout", step.total_timeout_ms.map(duration));
    let usual =
        if plugin && step.effects != Effects::AtMostOnce { Retry::plugin() } else { Retry::none() };
    if step.retry != usual {
        put(&mut map, "retry", retry(&step.retry));
    }
    put_unless(&mut map, "effects", &step.effects, &Effects::default());
    put_unless(&mut map, "on_interrupt", &step.on_interrupt, &OnInterrupt::default());
    put_some(&mut map, "priority", step.priority.map(word));
    put_some(&mut map, "output", step.output.as_ref().map(|template| template.source()));
    let export = step.export.iter().map(|(name, value)| (name.clone(), value.source()));
    put_map(&mut map, "export", export.collect());
    Json::Object(map)
}

/// The keys that say where the flow goes, but for `then` and `else`. In a sequence the list says it.
fn flow(map: &mut Map<String, Json>, workflow: &Workflow, step: &Step, graph: bool) {
    match step.join {
        Join::All => {}
        Join::Every => put(map, "join", json!("every")),
        Join::Any => put(map, "join", json!("any")),
        Join::AtLeast(n) => put(map, "join", json!({"at_least": n})),
    }
    let id = |edge: &Edge| json!(workflow.step(edge.to).id.as_str());
    let next = step.edges.iter().filter_map(|edge| match &edge.kind {
        EdgeKind::Next(None) => Some(id(edge)),
        EdgeKind::Next(Some(expr)) => Some(json!({"to": id(edge), "when": expr.source()})),
        EdgeKind::Then | EdgeKind::Else | EdgeKind::OnFailure => None,
    });
    let next: Vec<Json> = if graph { next.collect() } else { Vec::new() };
    put_unless(map, "next_steps", &next, &Vec::new());
    let on_failure = step.edges.iter().find(|edge| matches!(edge.kind, EdgeKind::OnFailure));
    put_some(map, "on_failure", on_failure.map(id));
}

fn config(workflow: &Workflow, step: &Step) -> Json {
    let mut map = Map::new();
    match &step.kind {
        StepKind::Plugin(call) => plugin(&mut map, call),
        StepKind::Condition { expr, then, otherwise, .. } => {
            put(&mut map, "condition", json!(expr.source()));
            for (key, inline, taken) in [("then", then, true), ("else", otherwise, false)] {
                let ids = step.edges.iter().filter(|edge| match edge.kind {
                    EdgeKind::Then => taken,
                    EdgeKind::Else => !taken,
                    EdgeKind::Next(_) | EdgeKind::OnFailure => false,
                });
                let ids: Vec<&str> = ids.map(|edge| workflow.step(edge.to).id.as_str()).collect();
                put_unless(&mut map, key, &ids, &Vec::new());
                put_some(&mut map, key, inline.map(|ix| scope(workflow, ix)));
            }
        }
        StepKind::Set(assigned) => {
            map.extend(assigned.iter().map(|(name, value)| (name.clone(), value.source())));
        }
        StepKind::Delay(DelayFor::Fixed(ms)) => put(&mut map, "for", duration(*ms)),
        StepKind::Delay(DelayFor::Computed(expr)) => {
            put(&mut map, "for", json!(format!("${{ {} }}", expr.source())));
        }
        StepKind::Parallel { mode, branches, named, concurrency } => {
            match mode {
                ParallelMode::FailFast => {}
                ParallelMode::WaitAll => put(&mut map, "mode", json!("wait_all")),
                ParallelMode::Race => put(&mut map, "mode", json!("race")),
                ParallelMode::Need(n) => put(&mut map, "need", json!(n)),
            }
            put_some(&mut map, "concurrency", concurrency.map(|n| json!(n)));
            let scopes = branches.iter().map(|(name, ix)| (name.clone(), scope(workflow, *ix)));
            let written = if *named {
                Json::Object(scopes.collect())
            } else {
                scopes.map(|(_, steps)| steps).collect()
            };
            put(&mut map, "branches", written);
        }
        StepKind::Loop { test, max_iterations, collect, body } => {
            let (key, expr) = match test {
                LoopTest::While(expr) => ("while", expr),
                LoopTest::Until(expr) => ("until", expr),
                LoopTest::Times(expr) => ("times", expr),
            };
            put(&mut map, key, json!(expr.source()));
            put_unless(&mut map, "max_iterations", max_iterations, &limits::LOOP_ITERATIONS);
            put_some(&mut map, "collect", collect.as_ref().map(|expr| json!(expr.source())));
            put(&mut map, "do", scope(workflow, *body));
        }
    }
    Json::Object(map)
}

fn plugin(map: &mut Map<String, Json>, call: &PluginCall) {
    put(map, "plugin", json!(call.reference()));
    put_unless(map, "with", &call.with.source(), &json!({}));
}

fn retry(retry: &Retry) -> Json {
    if retry.max_retries == 0 {
        return json!("none");
    }
    let usual = Retry::plugin();
    let mut map = Map::new();
    put(&mut map, "max_retries", json!(retry.max_retries));
    put_unless::<Backoff>(&mut map, "backoff", &retry.backoff, &usual.backoff);
    put(&mut map, "delay", duration(retry.delay_ms));
    put_unless(&mut map, "factor", &retry.factor, &usual.factor);
    put_some(&mut map, "max_delay", retry.max_delay_ms.map(duration));
    put_unless::<Jitter>(&mut map, "jitter", &retry.jitter, &usual.jitter);
    put_unless(&mut map, "errors", &retry.errors, &usual.errors);
    put_unless(&mut map, "not_errors", &retry.not_errors, &usual.not_errors);
    Json::Object(map)
}

fn trigger(trigger: &Trigger) -> Json {
    let mut map = Map::new();
    put(&mut map, "id", json!(trigger.id.as_str()));
    let details = match &trigger.kind {
        TriggerKind::Interval { every_ms } => json!({"every": duration(*every_ms)}),
        TriggerKind::Cron { schedule, catch_up } => {
            let mut cron = Map::new();
            put(&mut cron, "at", json!(schedule.at()));
            put(&mut cron, "tz", json!(schedule.tz()));
            put_unless(&mut cron, "catch_up", catch_up, &CatchUp::default());
            Json::Object(cron)
        }
        TriggerKind::Startup | TriggerKind::Manual => json!({}),
    };
    put(&mut map, trigger.kind.key(), details);
    put_unless(&mut map, "enabled", &trigger.enabled, &true);
    let inputs = trigger.inputs.iter().map(|(name, value)| (name.clone(), value.source()));
    put_map(&mut map, "inputs", inputs.collect());
    Json::Object(map)
}

/// Whole seconds as a number, others as text.
fn duration(ms: u64) -> Json {
    if ms.is_multiple_of(1000) { json!(ms / 1000) } else { json!(format!("{ms}ms")) }
}

fn word<T: Serialize>(value: T) -> Json {
    serde_json::to_value(value).unwrap_or(Json::Null)
}

fn put(map: &mut Map<String, Json>, key: &str, value: Json) {
    map.insert(key.to_owned(), value);
}

fn put_some(map: &mut Map<String, Json>, key: &str, value: Option<Json>) {
    if let Some(value) = value {
        put(map, key, value);
    }
}

fn put_unless<T: Serialize + PartialEq>(
    map: &mut Map<String, Json>,
    key: &str,
    value: &T,
    usual: &T,
) {
    if value != usual {
        put(map, key, word(value));
    }
}

fn put_map(map: &mut Map<String, Json>, key: &str, value: Map<String, Json>) {
    if !value.is_empty() {
        put(map, key, Json::Object(value));
    }
}
