//! The one spelling of a workflow: canonical JSON, over which its identity is hashed.
//!
//! It is written from the checked model, so it holds what the engine sees and nothing else;
//! comments, step descriptions and the order of keys are gone, and what equals a default of the
//! language is left out. Reading it gives the same workflow again.

mod config;

use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use super::attempts::{is_bounded, usual_retry};
use crate::definition::cron::Dst;
use crate::definition::model::{
    Align, Backoff, CatchUp, Compensation, Edge, EdgeKind, Effects, FileEvent, Hmac, Jitter, Join,
    MaxExceeded, Mode, OnInterrupt, OnUpdate, Priority, Retry, ScopeIx, Step, StepIx, Trigger,
    TriggerKind, Workflow,
};
use crate::expr::Expr;
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
    put_expr(&mut top, "concurrency_key", workflow.concurrency_key.as_ref());
    put_unless(&mut top, "max_exceeded", &workflow.max_exceeded, &MaxExceeded::default());
    put_unless(&mut top, "on_update", &workflow.on_update, &OnUpdate::default());
    put_some(&mut top, "timeout", workflow.timeout_ms.map(duration));
    if workflow.compensation != Compensation::default() {
        put(&mut top, "compensation", compensation(workflow.compensation));
    }
    put_unless(&mut top, "secrets", &workflow.secrets, &Vec::new());
    let inputs = workflow.inputs.iter().map(|(name, spec)| (name.clone(), spec.schema.clone()));
    put_map(&mut top, "inputs", inputs.collect());
    put_map(&mut top, "vars", workflow.vars.clone().into_iter().collect());
    let outputs = workflow.outputs.iter();
    let outputs = outputs.map(|(name, value)| (name.clone(), json!({"value": value.source()})));
    put_map(&mut top, "outputs", outputs.collect());
    if !workflow.triggers.is_empty() {
        put(&mut top, "triggers", workflow.triggers.iter().map(trigger).collect());
    }
    let writer = Writer { workflow, compensating: false, alone: false };
    put(&mut top, "steps", writer.scope(workflow.root));
    put_some(&mut top, "on_failure", workflow.on_failure.map(|ix| writer.scope(ix)));
    put_some(&mut top, "finally", workflow.finally.map(|ix| writer.scope(ix)));
    let usual = limits::FINALLY_TIMEOUT_MS;
    let bound = workflow.finally_timeout_ms;
    put_some(&mut top, "finally_timeout", (bound != usual).then(|| duration(bound)));
    Json::Object(top).to_string()
}

/// What an attempt of a step is made of, on one line: two steps with the same text do the same, as
/// far as one can tell without those inside them. Its names, its edges, and what becomes of its
/// result are not part of it.
#[must_use]
pub fn attempt_text(workflow: &Workflow, ix: StepIx) -> String {
    let writer = Writer { workflow, compensating: false, alone: true };
    let mut step = writer.step(workflow.step(ix), false, false);
    if let Json::Object(step) = &mut step {
        for key in
            ["name", "join", "on_failure", "continue_on_error", "output", "export", "compensate"]
        {
            step.remove(key);
        }
    }
    step.to_string()
}

/// Writes steps.
#[derive(Clone, Copy)]
struct Writer<'a> {
    workflow: &'a Workflow,
    /// Inside a `compensate`, where steps that say nothing are retried otherwise.
    compensating: bool,
    /// Leaves out what is inside of steps.
    alone: bool,
}

impl Writer<'_> {
    fn scope(self, ix: ScopeIx) -> Json {
        if self.alone {
            return Json::Null;
        }
        let scope = self.workflow.scope(ix);
        let many = scope.entries.len() > 1;
        let steps = scope.steps.iter().map(|step_ix| {
            let start = many && scope.entries.contains(step_ix);
            self.step(self.workflow.step(*step_ix), scope.graph, start)
        });
        let mut steps: Vec<Json> = steps.collect();
        // A graph in which nothing leads on would read as a list.
        let leads_on = |edge: &Edge| !matches!(edge.kind, EdgeKind::OnFailure);
        let mut edges = scope.steps.iter().flat_map(|ix| &self.workflow.step(*ix).edges);
        if scope.graph
            && !edges.any(leads_on)
            && let Some(Json::Object(first)) = steps.first_mut()
        {
            put(first, "next_steps", json!([]));
        }
        Json::Array(steps)
    }

    fn step(self, step: &Step, graph: bool, start: bool) -> Json {
        let mut map = Map::new();
        put(&mut map, "id", json!(step.id.as_str()));
        put(&mut map, "type", json!(step.kind.key()));
        put_unless(&mut map, "name", &step.name, &String::new());
        put_some(&mut map, "if", step.condition.as_ref().map(|expr| json!(expr.source())));
        put(&mut map, "config", self.config(step));
        put_unless(&mut map, "start", &start, &false);
        self.flow(&mut map, step, graph);
        put_unless(&mut map, "continue_on_error", &step.continue_on_error, &false);
        match (step.timeout_ms, is_bounded(&step.kind)) {
            (Some(limits::ATTEMPT_TIMEOUT_MS), true) | (None, false) => {}
            (Some(ms), _) => put(&mut map, "timeout", duration(ms)),
            (None, true) => put(&mut map, "timeout", json!("none")),
        }
        put_some(&mut map, "total_timeout", step.total_timeout_ms.map(duration));
        if step.retry != usual_retry(&step.kind, step.effects, self.compensating) {
            put(&mut map, "retry", policies(&step.retry));
        }
        put_unless(&mut map, "effects", &step.effects, &Effects::default());
        put_unless(&mut map, "on_interrupt", &step.on_interrupt, &OnInterrupt::default());
        put_some(&mut map, "priority", step.priority.map(word));
        put_some(&mut map, "output", step.output.as_ref().map(|template| template.source()));
        let export = step.export.iter().map(|(name, value)| (name.clone(), value.source()));
        put_map(&mut map, "export", export.collect());
        put_expr(&mut map, "idempotency_key", step.idempotency_key.as_ref());
        put_some(&mut map, "trace", step.trace.map(word));
        let undoing = Self { compensating: true, ..self };
        put_some(&mut map, "compensate", step.compensate.map(|ix| undoing.scope(ix)));
        Json::Object(map)
    }

    /// The keys that say where the flow goes, but for the ways out of a `condition` or `switch`. In
    /// a sequence the list says it.
    fn flow(self, map: &mut Map<String, Json>, step: &Step, graph: bool) {
        match step.join {
            Join::All => {}
            Join::Every => put(map, "join", json!("every")),
            Join::Any => put(map, "join", json!("any")),
            Join::AtLeast(n) => put(map, "join", json!({"at_least": n})),
        }
        let id = |edge: &Edge| json!(self.workflow.step(edge.to).id.as_str());
        let next = step.edges.iter().filter_map(|edge| match &edge.kind {
            EdgeKind::Next(None) => Some(id(edge)),
            EdgeKind::Next(Some(expr)) => Some(json!({"to": id(edge), "when": expr.source()})),
            EdgeKind::Then | EdgeKind::Else | EdgeKind::Case(_) | EdgeKind::OnFailure => None,
        });
        let next: Vec<Json> = if graph { next.collect() } else { Vec::new() };
        put_unless(map, "next_steps", &next, &Vec::new());
        let on_failure = step.edges.iter().find(|edge| matches!(edge.kind, EdgeKind::OnFailure));
        put_some(map, "on_failure", on_failure.map(id));
    }
}

/// Several policies, one, or none.
fn policies(policies: &[Retry]) -> Json {
    match policies {
        [] => json!("none"),
        [only] => retry(only),
        several => several.iter().map(retry).collect(),
    }
}

fn retry(retry: &Retry) -> Json {
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
    put_some(&mut map, "max_elapsed", retry.max_elapsed_ms.map(duration));
    Json::Object(map)
}

fn trigger(trigger: &Trigger) -> Json {
    let mut map = Map::new();
    put(&mut map, "id", json!(trigger.id.as_str()));
    let details = match &trigger.kind {
        TriggerKind::Interval { every_ms, align, jitter_ms } => {
            let mut interval = Map::new();
            put(&mut interval, "every", duration(*every_ms));
            put_unless(&mut interval, "align", align, &Align::default());
            put_some(&mut interval, "jitter", (*jitter_ms > 0).then(|| duration(*jitter_ms)));
            Json::Object(interval)
        }
        TriggerKind::Cron { schedule, catch_up, max_catch_up, jitter_ms } => {
            let mut cron = Map::new();
            put(&mut cron, "at", json!(schedule.at()));
            put(&mut cron, "tz", json!(schedule.tz()));
            put_unless(&mut cron, "catch_up", catch_up, &CatchUp::default());
            put_unless(&mut cron, "max_catch_up", max_catch_up, &limits::CATCH_UP_RUNS);
            put_unless(&mut cron, "dst", &schedule.dst(), &Dst::default());
            put_some(&mut cron, "jitter", (*jitter_ms > 0).then(|| duration(*jitter_ms)));
            Json::Object(cron)
        }
        TriggerKind::Startup | TriggerKind::Manual => json!({}),
        TriggerKind::Mqtt { topic, qos, retained } => {
            let mut mqtt = Map::new();
            put(&mut mqtt, "topic", json!(topic));
            put_unless(&mut mqtt, "qos", qos, &0);
            put_unless(&mut mqtt, "retained", retained, &false);
            Json::Object(mqtt)
        }
        TriggerKind::Event { name } => json!({"name": name}),
        TriggerKind::Webhook { path, methods, hmac } => webhook(path, methods, hmac.as_ref()),
        TriggerKind::File { path, events, settle_ms } => {
            let mut file = Map::new();
            put(&mut file, "path", json!(path));
            put_unless(&mut file, "events", events, &FileEvent::USUAL.to_vec());
            let usual = limits::FILE_SETTLE_MS;
            put_some(&mut file, "settle", (*settle_ms != usual).then(|| duration(*settle_ms)));
            Json::Object(file)
        }
        TriggerKind::Workflow { workflow, status } => {
            let mut ended = Map::new();
            put(&mut ended, "name", json!(workflow.as_str()));
            put_unless(&mut ended, "status", status, &Vec::new());
            Json::Object(ended)
        }
    };
    put(&mut map, trigger.kind.key(), details);
    put_unless(&mut map, "enabled", &trigger.enabled, &true);
    put_expr(&mut map, "when", trigger.when.as_ref());
    put_some(&mut map, "for", trigger.hold_ms.map(duration));
    put_some(&mut map, "debounce", trigger.debounce_ms.map(duration));
    put_some(&mut map, "throttle", trigger.throttle_ms.map(duration));
    let dedupe = trigger.dedupe.as_ref();
    let dedupe =
        dedupe.map(|same| json!({"key": same.key.source(), "window": duration(same.window_ms)}));
    put_some(&mut map, "dedupe", dedupe);
    let inputs = trigger.inputs.iter().map(|(name, value)| (name.clone(), value.source()));
    put_map(&mut map, "inputs", inputs.collect());
    Json::Object(map)
}

fn webhook(path: &str, methods: &[String], hmac: Option<&Hmac>) -> Json {
    let mut map = Map::new();
    put(&mut map, "path", json!(path));
    if methods != ["POST"] {
        put(&mut map, "methods", json!(methods));
    }
    match hmac {
        None => put(&mut map, "auth", json!("none")),
        Some(Hmac { secret, header }) => {
            let mut hmac = Map::new();
            put(&mut hmac, "secret", json!(secret));
            if header != Hmac::HEADER {
                put(&mut hmac, "header", json!(header));
            }
            put(&mut map, "hmac", Json::Object(hmac));
        }
    }
    Json::Object(map)
}

fn compensation(compensation: Compensation) -> Json {
    let ends = [("failed", compensation.on_failed), ("cancelled", compensation.on_cancelled)];
    let ends: Vec<&str> = ends.iter().filter(|(_, is)| *is).map(|(end, _)| *end).collect();
    json!({"run_on": ends})
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

fn put_expr(map: &mut Map<String, Json>, key: &str, expr: Option<&Expr>) {
    put_some(map, key, expr.map(|expr| json!(expr.source())));
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
