//! The names that expressions of a run see.

use std::sync::Arc;

use openclaw_protocol::expr::{Expr, Key, Lent, Map, Scope, Template, Timestamp, Value};
use openclaw_protocol::run::{ErrorCause, RunError, StepStatus};
use openclaw_protocol::time::Stamp;

use crate::fault;
use crate::key;
use crate::plan::Plan;
use crate::run::Head;
use crate::view::{StepResult, View};

/// Where a loop stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoopAt {
    /// From 0.
    pub(crate) index: u32,
    /// Known where the number of iterations is.
    pub(crate) times: Option<u32>,
}

/// Names that a construct around a step gives it: its item, the error it catches.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) names: Vec<(String, Value)>,
    pub(crate) outer: Option<Arc<Bound>>,
}

impl Bound {
    fn find(&self, name: &str) -> Option<&Value> {
        let mut here = Some(self);
        while let Some(bound) = here {
            if let Some((_, value)) = bound.names.iter().find(|(known, _)| known == name) {
                return Some(value);
            }
            here = bound.outer.as_deref();
        }
        None
    }
}

/// The names one step of one run sees at one fact.
pub(crate) struct Names<'a> {
    pub(crate) head: &'a Head,
    pub(crate) plan: &'a Plan,
    pub(crate) view: &'a View,
    /// Of the fact at hand: `now` does not move while a fact is worked off.
    pub(crate) at: Stamp,
    pub(crate) began: Option<Stamp>,
    /// The innermost loop around the step.
    pub(crate) around: Option<LoopAt>,
    /// Names that constructs around the step give.
    pub(crate) bound: Option<&'a Bound>,
    /// The step's own result, in its `output` and `export`.
    pub(crate) output: Option<&'a Value>,
    /// What a `wait` is offered, as `message`.
    pub(crate) message: Option<&'a Value>,
    /// What made the run fail, in the workflow's `on_failure`.
    pub(crate) error: Option<&'a RunError>,
    /// The step's path, for what is derived from it.
    pub(crate) path: &'a str,
}

impl Names<'_> {
    /// Evaluates a question.
    ///
    /// # Errors
    /// The expression's error, or `expr.type` where the answer is not a truth value.
    pub(crate) fn truth(&self, what: &str, expr: &Expr) -> Result<bool, RunError> {
        let value = self.value(what, expr)?;
        value.as_bool().ok_or_else(|| {
            let found = value.type_name();
            fault::fault(
                "expr.type",
                format!("{what}: `{}` is {found}, not true or false; compare it", expr.source()),
            )
        })
    }

    /// Evaluates an expression.
    ///
    /// # Errors
    /// The expression's error.
    pub(crate) fn value(&self, what: &str, expr: &Expr) -> Result<Value, RunError> {
        expr.eval(self).map_err(|error| fault::expression(what, &error))
    }

    /// Evaluates a value with expressions in it, for use by other expressions.
    ///
    /// # Errors
    /// The first expression's error.
    pub(crate) fn fill(&self, what: &str, template: &Template) -> Result<Value, RunError> {
        let json = template.eval_typed(self).map_err(|error| fault::template(what, &error))?;
        Ok(Value::from_json_typed(&json))
    }

    /// Evaluates a value that must be a text.
    ///
    /// # Errors
    /// The first expression's error, or `expr.type`.
    pub(crate) fn text(&self, what: &str, template: &Template) -> Result<String, RunError> {
        let value = self.fill(what, template)?;
        value.as_str().map(str::to_owned).ok_or_else(|| {
            let found = value.type_name();
            fault::fault("expr.type", format!("{what}: {found} is no text"))
        })
    }

    fn inner(&self, path: &[String]) -> Option<(usize, Lent<'_>)> {
        let (first, rest) = path.split_first()?;
        let whole = |value: Value| Some((1, Lent::Owned(value)));
        let own = match first.as_str() {
            "output" => self.output,
            "message" | "event" => self.message,
            _ => None,
        };
        if let Some(value) = own.or_else(|| self.bound?.find(first)) {
            return Some(descend(value, 1, rest));
        }
        match first.as_str() {
            "inputs" => Some(descend(&self.head.inputs, 1, rest)),
            "trigger" => Some(descend(&self.head.trigger_data, 1, rest)),
            "vars" => match rest.split_first() {
                Some((name, below)) if self.view.var(name).is_some() => {
                    self.view.var(name).map(|value| descend(value, 2, below))
                }
                _ => whole(object(self.view.vars().map(|(name, value)| (name, value.clone())))),
            },
            "steps" => Some(self.steps(rest)),
            "workflow" => whole(self.workflow()),
            "execution" => whole(self.execution()),
            "loop" => self.around.and_then(|around| whole(loop_value(around))),
            "error" => self.error.and_then(|error| whole(error_value(error))),
            "agent" => Some(descend(&self.head.agent, 1, rest)),
            "now" => whole(instant(self.at.wall_ms)),
            _ => None,
        }
    }

    fn steps(&self, rest: &[String]) -> (usize, Lent<'_>) {
        let known = rest.split_first().and_then(|(id, below)| {
            let result = self.view.result(self.plan.find(id)?)?;
            Some((result, below))
        });
        let Some((result, below)) = known else {
            return (1, Lent::Owned(self.all_steps()));
        };
        match below.first().map(String::as_str) {
            Some("output") => descend(&result.output, 3, &below[1..]),
            Some("status") => (3, Lent::Owned(Value::from(status_text(result.status)))),
            Some("attempts") => (3, Lent::Owned(Value::Int(i64::from(result.attempts)))),
            Some("error") => {
                let error = result.error.as_deref().map_or(Value::Null, error_value);
                let (used, error) = descend(&error, 3, &below[1..]);
                (used, Lent::Owned(error.into_owned()))
            }
            Some(_) | None => (2, Lent::Owned(step_value(result))),
        }
    }

    fn all_steps(&self) -> Value {
        object(
            self.view
                .results()
                .map(|(ix, result)| (self.plan.step(ix).id.as_str(), step_value(result))),
        )
    }

    fn workflow(&self) -> Value {
        let workflow = &self.plan.workflow;
        object([
            ("id", Value::from(workflow.name.as_str())),
            ("version", Value::from(workflow.version.as_str())),
            ("hash", Value::from(workflow.hash.0.as_str())),
        ])
    }

    fn execution(&self) -> Value {
        let began = self.began.map_or(Value::Null, |began| instant(began.wall_ms));
        object([
            ("id", Value::from(self.head.id.as_str())),
            ("started_at", began),
            ("attempt", Value::Int(1)),
        ])
    }
}

impl Scope for Names<'_> {
    fn lookup(&self, name: &str) -> Option<Lent<'_>> {
        self.inner(&[name.to_owned()]).map(|(_, value)| value)
    }

    fn resolve(&self, path: &[String]) -> Option<(usize, Lent<'_>)> {
        self.inner(path)
    }

    fn seed(&self) -> Option<[u8; 32]> {
        Some(key::expression_seed(self.head.seed, &self.head.id, self.path))
    }
}

/// A map with text keys; a repeated key keeps its first value.
pub(crate) fn object<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let mut list: Vec<(Key, Value)> = Vec::new();
    for (name, value) in entries {
        list.push((Key::String(name.into()), value));
    }
    Map::new(list).map_or(Value::Null, Value::from)
}

/// A run's error as expressions see it.
pub(crate) fn error_value(error: &RunError) -> Value {
    let step = error.step.as_ref().map_or(Value::Null, |step| Value::from(step.0.as_str()));
    object([
        ("code", Value::from(error.code.as_str())),
        ("message", Value::from(error.message.as_str())),
        ("step", step),
        ("attempt", Value::Int(i64::from(error.attempt))),
        ("retryable", Value::Bool(error.retryable)),
        (
            "details",
            error.details.as_ref().map_or(Value::Null, |json| Value::from_json(&json.value())),
        ),
        ("causes", Value::from(error.causes.iter().map(cause_value).collect::<Vec<_>>())),
    ])
}

fn cause_value(cause: &ErrorCause) -> Value {
    object([
        ("code", Value::from(cause.code.as_str())),
        ("message", Value::from(cause.message.as_str())),
        ("step", cause.step.as_ref().map_or(Value::Null, |step| Value::from(step.0.as_str()))),
    ])
}

/// The word for a status.
pub(crate) fn status_text(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Queued => "queued",
        StepStatus::Running => "running",
        StepStatus::Delayed => "delayed",
        StepStatus::Succeeded => "succeeded",
        StepStatus::Bypassed => "bypassed",
        StepStatus::Failed => "failed",
        StepStatus::Skipped => "skipped",
        StepStatus::Cancelled => "cancelled",
        StepStatus::Waiting => "waiting",
    }
}

fn step_value(result: &StepResult) -> Value {
    object([
        ("output", result.output.clone()),
        ("status", Value::from(status_text(result.status))),
        ("error", result.error.as_deref().map_or(Value::Null, error_value)),
        ("attempts", Value::Int(i64::from(result.attempts))),
    ])
}

fn loop_value(around: LoopAt) -> Value {
    let last = around
        .times
        .map_or(Value::Null, |times| Value::Bool(around.index.saturating_add(1) >= times));
    object([
        ("index", Value::Int(i64::from(around.index))),
        ("first", Value::Bool(around.index == 0)),
        ("last", last),
    ])
}

pub(crate) fn instant(wall_ms: i64) -> Value {
    Timestamp::from_millis(wall_ms).map_or(Value::Null, Value::Timestamp)
}

/// Follows text keys as far as there are maps: how many names of the path were used in all, and
/// the value.
fn descend<'a>(from: &'a Value, used: usize, rest: &[String]) -> (usize, Lent<'a>) {
    let mut here = from;
    let mut used = used;
    for name in rest {
        let Some(next) = here.as_map().and_then(|map| map.field(name)) else { break };
        here = next;
        used += 1;
    }
    (used, Lent::Borrowed(here))
}
