//! The `config` of each kind.

use serde_json::{Map, Value as Json, json};

use super::{Writer, compensation, duration, put, put_expr, put_some, put_unless};
use crate::definition::model::{
    Approval, Call, Case, CaseTest, Catch, CountDowntime, Delay, DelayFor, EdgeKind, Foreach,
    LogLevel, LoopTest, ParallelMode, Publish, ScopeIx, Step, StepKind, Tolerate, Wait, WaitSource,
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
                let way = self.way(step, *then, |edge| matches!(edge, EdgeKind::Then));
                put_some(&mut map, "then", way);
                let way = self.way(step, *otherwise, |edge| matches!(edge, EdgeKind::Else));
                put_some(&mut map, "else", way);
            }
            StepKind::Switch { subject, cases, default, .. } => {
                put_expr(&mut map, "switch", subject.as_ref());
                self.cases(&mut map, step, cases, *default);
            }
            StepKind::Set(assigned) => {
                let entries = assigned.iter().map(|(name, value)| (name.clone(), value.source()));
                map.extend(entries);
            }
            StepKind::Delay(length) => delay(&mut map, length),
            StepKind::Parallel { mode, branches, named, concurrency } => {
                put_some(&mut map, "concurrency", concurrency.map(|n| json!(n)));
                self.branches(&mut map, *mode, branches, *named);
            }
            StepKind::Loop { test, max_iterations, every_ms, collect, body } => {
                loop_test(&mut map, test);
                put_unless(&mut map, "max_iterations", max_iterations, &limits::LOOP_ITERATIONS);
                put_some(&mut map, "every", every_ms.map(duration));
                put_expr(&mut map, "collect", collect.as_ref());
                put(&mut map, "do", self.scope(*body));
            }
            StepKind::Foreach(each) => self.foreach(&mut map, each),
            StepKind::Try { body, catches, finally, finally_timeout_ms } => {
                put(&mut map, "try", self.scope(*body));
                self.follow_ups(&mut map, catches, *finally);
                let usual = limits::FINALLY_TIMEOUT_MS;
                put_time(&mut map, "finally_timeout", *finally_timeout_ms, usual);
            }
            StepKind::Sequence { body, compensation: saga } => {
                put(&mut map, "steps", self.scope(*body));
                put_some(&mut map, "compensation", saga.map(compensation));
            }
            StepKind::Wait(waiting) => wait(&mut map, waiting),
            StepKind::Call(called) => call(&mut map, called),
            StepKind::Publish(message) => publish(&mut map, message),
            StepKind::Emit { event, data } => {
                put(&mut map, "event", event.source());
                put_unless(&mut map, "data", &data.source(), &Json::Null);
            }
            StepKind::Approval(asked) => approval(&mut map, asked),
            StepKind::Log { level, message, fields } => {
                put_unless(&mut map, "level", level, &LogLevel::default());
                put(&mut map, "message", message.source());
                put_unless(&mut map, "fields", &fields.source(), &json!({}));
            }
            StepKind::Succeed { outputs } => {
                return outputs.as_ref().map_or_else(|| json!({}), Template::source);
            }
            StepKind::Fail { code, message, details } => {
                put(&mut map, "code", code.source());
                put_unless(&mut map, "message", &message.source(), &json!(""));
                put_some(&mut map, "details", details.as_ref().map(Template::source));
            }
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

    fn cases(self, map: &mut Object, step: &Step, cases: &[Case], default: Option<ScopeIx>) {
        let cases = cases.iter().enumerate().map(|(n, case)| self.case(step, n, case));
        put(map, "cases", cases.collect());
        let way = self.way(step, default, |edge| matches!(edge, EdgeKind::Case(None)));
        put_some(map, "default", way);
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

    fn branches(
        self,
        map: &mut Object,
        mode: ParallelMode,
        branches: &[(String, ScopeIx)],
        named: bool,
    ) {
        match mode {
            ParallelMode::FailFast => {}
            ParallelMode::WaitAll => put(map, "mode", json!("wait_all")),
            ParallelMode::Race => put(map, "mode", json!("race")),
            ParallelMode::Need(n) => put(map, "need", json!(n)),
        }
        let scopes = branches.iter().map(|(name, ix)| (name.clone(), self.scope(*ix)));
        let written = if named {
            Json::Object(scopes.collect())
        } else {
            scopes.map(|(_, steps)| steps).collect()
        };
        put(map, "branches", written);
    }

    /// What follows a `try`.
    fn follow_ups(self, map: &mut Object, catches: &[Catch], finally: Option<ScopeIx>) {
        let catches: Vec<Json> = catches.iter().map(|catch| self.catch(catch)).collect();
        put_unless(map, "catch", &catches, &Vec::new());
        put_some(map, "finally", finally.map(|ix| self.scope(ix)));
    }

    fn catch(self, catch: &Catch) -> Json {
        let mut map = Map::new();
        put_unless(&mut map, "errors", &catch.errors, &Vec::new());
        put_expr(&mut map, "when", catch.when.as_ref());
        put_unless(&mut map, "as", &catch.name, &"error".to_owned());
        put(&mut map, "do", self.scope(catch.body));
        Json::Object(map)
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

fn loop_test(map: &mut Object, test: &LoopTest) {
    let (key, expr) = match test {
        LoopTest::While(expr) => ("while", expr),
        LoopTest::Until(expr) => ("until", expr),
        LoopTest::Times(expr) => ("times", expr),
    };
    put_expr(map, key, Some(expr));
}

fn call(map: &mut Object, call: &Call) {
    put(map, "call", json!(call.workflow.as_str()));
    put_unless(map, "with", &call.with.source(), &json!({}));
    put_unless(map, "detach", &call.detach, &false);
    if call.abandon {
        put(map, "on_parent_close", json!("abandon"));
    }
}

fn publish(map: &mut Object, message: &Publish) {
    put(map, "topic", message.topic.source());
    put_unless(map, "qos", &message.qos, &0);
    put_unless(map, "retain", &message.retain, &false);
    put_unless(map, "payload", &message.payload.source(), &json!(""));
    if message.confirm_broker {
        put(map, "confirm", json!("broker"));
    }
}

fn put_time(map: &mut Object, key: &str, ms: u64, usual_ms: u64) {
    put_some(map, key, (ms != usual_ms).then(|| duration(ms)));
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
            put_time(map, "poll", *poll_ms, limits::POLL_MS);
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
