//! The `config` of each kind.

use serde_json::{Map, Value as Json, json};

use super::{Writer, compensation, duration, put, put_expr, put_some, put_unless};
use crate::definition::model::{
    Approval, Call, Case, CaseTest, CountDowntime, Delay, DelayFor, EdgeKind, Foreach, LogLevel,
    LoopTest, ParallelMode, Publish, ScopeIx, Step, StepKind, Tolerate, Wait, WaitSource,
};
use crate::expr::Template;
use crate::limits;

type Object = Map<String, Json>;

impl Writer<'_> {
    pub(super) fn config(self, step: &Step) -> Json {
        let mut map = Map::new();
        match &step.kind {
            StepKind::Plugin(call) => {
                put(&mut map, "plugin", json!(call.reference()));
                put_unless(&mut map, "with", &call.with.source(), &json!({}));
            }
            StepKind::Condition { expr, then, otherwise, .. } => {
                put_expr(&mut map, "condition", Some(expr));
                let taken = |edge: &EdgeKind| matches!(edge, EdgeKind::Then);
                put_some(&mut map, "then", self.way(step, *then, taken));
                let taken = |edge: &EdgeKind| matches!(edge, EdgeKind::Else);
                put_some(&mut map, "else", self.way(step, *otherwise, taken));
            }
            StepKind::Switch { subject, cases, default, .. } => {
                put_expr(&mut map, "switch", subject.as_ref());
                let cases = cases.iter().enumerate().map(|(n, case)| self.case(step, n, case));
                put(&mut map, "cases", cases.collect());
                let taken = |edge: &EdgeKind| matches!(edge, EdgeKind::Case(None));
                put_some(&mut map, "default", self.way(step, *default, taken));
            }
            StepKind::Set(assigned) => {
                map.extend(assigned.iter().map(|(name, value)| (name.clone(), value.source())));
            }
            StepKind::Parallel { .. }
            | StepKind::Loop { .. }
            | StepKind::Foreach(_)
            | StepKind::Try { .. }
            | StepKind::Sequence { .. } => self.block(&mut map, &step.kind),
            StepKind::Succeed { outputs } => {
                return outputs.as_ref().map_or_else(|| json!({}), Template::source);
            }
            StepKind::Delay(_)
            | StepKind::Wait(_)
            | StepKind::Call(_)
            | StepKind::Publish(_)
            | StepKind::Emit { .. }
            | StepKind::Approval(_)
            | StepKind::Log { .. }
            | StepKind::Fail { .. } => outside(&mut map, &step.kind),
        }
        Json::Object(map)
    }

    /// A way out: inline steps, or the ids of those that its edges lead to.
    fn way(
        self,
        step: &Step,
        inline: Option<ScopeIx>,
        taken: impl Fn(&EdgeKind) -> bool,
    ) -> Option<Json> {
        if let Some(ix) = inline {
            return Some(self.scope(ix));
        }
        let edges = step.edges.iter().filter(|edge| taken(&edge.kind));
        let ids: Vec<&str> = edges.map(|edge| self.workflow.step(edge.to).id.as_str()).collect();
        (!ids.is_empty()).then(|| json!(ids))
    }

    fn case(self, step: &Step, n: usize, case: &Case) -> Json {
        let mut map = Map::new();
        match &case.test {
            CaseTest::Is(value) => put(&mut map, "case", value.source()),
            CaseTest::When(expr) => put_expr(&mut map, "when", Some(expr)),
        }
        let taken = |edge: &EdgeKind| match edge {
            EdgeKind::Case(Some(taken)) => usize::from(*taken) == n,
            EdgeKind::Case(None)
            | EdgeKind::Next(_)
            | EdgeKind::Then
            | EdgeKind::Else
            | EdgeKind::OnFailure => false,
        };
        put_some(&mut map, "do", self.way(step, case.body, taken));
        Json::Object(map)
    }

    /// Kinds that are made of scopes.
    fn block(self, map: &mut Object, kind: &StepKind) {
        match kind {
            StepKind::Parallel { mode, branches, named, concurrency } => {
                match mode {
                    ParallelMode::FailFast => {}
                    ParallelMode::WaitAll => put(map, "mode", json!("wait_all")),
                    ParallelMode::Race => put(map, "mode", json!("race")),
                    ParallelMode::Need(n) => put(map, "need", json!(n)),
                }
                put_some(map, "concurrency", concurrency.map(|n| json!(n)));
                let scopes = branches.iter().map(|(name, ix)| (name.clone(), self.scope(*ix)));
                let written = if *named {
                    Json::Object(scopes.collect())
                } else {
                    scopes.map(|(_, steps)| steps).collect()
                };
                put(map, "branches", written);
            }
            StepKind::Loop { test, max_iterations, every_ms, collect, body } => {
                let (key, expr) = match test {
                    LoopTest::While(expr) => ("while", expr),
                    LoopTest::Until(expr) => ("until", expr),
                    LoopTest::Times(expr) => ("times", expr),
                };
                put_expr(map, key, Some(expr));
                put_unless(map, "max_iterations", max_iterations, &limits::LOOP_ITERATIONS);
                put_some(map, "every", every_ms.map(duration));
                put_expr(map, "collect", collect.as_ref());
                put(map, "do", self.scope(*body));
            }
            StepKind::Foreach(each) => self.foreach(map, each),
            StepKind::Try { body, catches, finally, finally_timeout_ms } => {
                put(map, "try", self.scope(*body));
                let catches: Vec<Json> = catches
                    .iter()
                    .map(|catch| {
                        let mut map = Map::new();
                        put_unless(&mut map, "errors", &catch.errors, &Vec::new());
                        put_expr(&mut map, "when", catch.when.as_ref());
                        put_unless(&mut map, "as", &catch.name, &"error".to_owned());
                        put(&mut map, "do", self.scope(catch.body));
                        Json::Object(map)
                    })
                    .collect();
                put_unless(map, "catch", &catches, &Vec::new());
                put_some(map, "finally", finally.map(|ix| self.scope(ix)));
                if *finally_timeout_ms != limits::FINALLY_TIMEOUT_MS {
                    put(map, "finally_timeout", duration(*finally_timeout_ms));
                }
            }
            StepKind::Sequence { body, compensation: saga } => {
                put(map, "steps", self.scope(*body));
                put_some(map, "compensation", saga.map(compensation));
            }
            _ => {}
        }
    }

    fn foreach(self, map: &mut Object, each: &Foreach) {
        put_expr(map, "in", Some(&each.list));
        put_unless(map, "as", &each.item, &"item".to_owned());
        put_some(map, "index", each.index.as_ref().map(|name| json!(name)));
        put_unless(map, "concurrency", &each.concurrency, &1);
        if !each.fail_fast {
            put(map, "mode", json!("wait_all"));
        }
        match each.tolerate {
            Tolerate::Count(0) => {}
            Tolerate::Count(n) => put(map, "tolerate", json!(n)),
            Tolerate::Percent(n) => put(map, "tolerate", json!(format!("{n}%"))),
        }
        put_expr(map, "collect", each.collect.as_ref());
        put(map, "do", self.scope(each.body));
    }
}

/// Kinds that are one act.
fn outside(map: &mut Object, kind: &StepKind) {
    match kind {
        StepKind::Delay(length) => delay(map, length),
        StepKind::Wait(waiting) => wait(map, waiting),
        StepKind::Call(Call { workflow, with, detach, abandon }) => {
            put(map, "call", json!(workflow.as_str()));
            put_unless(map, "with", &with.source(), &json!({}));
            put_unless(map, "detach", detach, &false);
            if *abandon {
                put(map, "on_parent_close", json!("abandon"));
            }
        }
        StepKind::Publish(Publish { topic, qos, retain, payload, confirm_broker }) => {
            put(map, "topic", topic.source());
            put_unless(map, "qos", qos, &0);
            put_unless(map, "retain", retain, &false);
            put_unless(map, "payload", &payload.source(), &json!(""));
            if *confirm_broker {
                put(map, "confirm", json!("broker"));
            }
        }
        StepKind::Emit { event, data } => {
            put(map, "event", event.source());
            put_unless(map, "data", &data.source(), &Json::Null);
        }
        StepKind::Approval(asked) => approval(map, asked),
        StepKind::Log { level, message, fields } => {
            put_unless(map, "level", level, &LogLevel::default());
            put(map, "message", message.source());
            put_unless(map, "fields", &fields.source(), &json!({}));
        }
        StepKind::Fail { code, message, details } => {
            put(map, "code", code.source());
            put_unless(map, "message", &message.source(), &json!(""));
            put_some(map, "details", details.as_ref().map(Template::source));
        }
        _ => {}
    }
}

fn delay(map: &mut Object, delay: &Delay) {
    match &delay.length {
        DelayFor::Fixed(ms) => put(map, "for", duration(*ms)),
        DelayFor::Computed(expr) => put(map, "for", json!(format!("${{ {} }}", expr.source()))),
        DelayFor::Until { at, synced } => {
            put_expr(map, "until", Some(at));
            if *synced {
                put(map, "require", json!("synced"));
            }
        }
    }
    put_unless(map, "count_downtime", &delay.count_downtime, &CountDowntime::default());
}

fn wait(map: &mut Object, wait: &Wait) {
    match &wait.source {
        WaitSource::Mqtt { topic, qos: 0 } => put(map, "mqtt", json!({"topic": topic.source()})),
        WaitSource::Mqtt { topic, qos } => {
            put(map, "mqtt", json!({"topic": topic.source(), "qos": qos}));
        }
        WaitSource::Event { name } => put(map, "event", name.source()),
        WaitSource::Signal { name } => put(map, "signal", name.source()),
        WaitSource::Until { expr, poll_ms } => {
            put_expr(map, "until", Some(expr));
            if *poll_ms != limits::POLL_MS {
                put(map, "poll", duration(*poll_ms));
            }
        }
    }
    put_expr(map, "when", wait.when.as_ref());
    put_unless(map, "count", &wait.count, &1);
    if wait.continue_on_timeout {
        put(map, "on_timeout", json!("continue"));
    }
}

fn approval(map: &mut Object, asked: &Approval) {
    put(map, "prompt", asked.prompt.source());
    put_unless(map, "roles", &asked.roles, &Vec::new());
    put_unless(map, "choices", &asked.choices, &["approve", "reject"].map(str::to_owned).to_vec());
    let form = asked.form.iter().map(|(name, spec)| (name.clone(), spec.schema.clone()));
    super::put_map(map, "form", form.collect());
    put_some(map, "remind", asked.remind_ms.map(duration));
    put_some(map, "on_timeout", asked.on_timeout.as_ref().map(|choice| json!(choice)));
}
