//! A naive reading of the language: what a run comes to where no clock ticks, nothing crashes and
//! one thing happens after another.
//!
//! It knows the contract and the checked definition, and nothing of the engine. It walks the steps
//! by plain recursion and is as slow and as clear as it can be. Where the contract leaves the
//! outcome to timing (which sibling a failure still finds running), it says so: [`Reading::vague`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use openclaw_protocol::definition::{InputKind, ScopeIx, Step, StepKind, Workflow};
use openclaw_protocol::expr::Value;
use openclaw_protocol::run::{RunStatus, StepStatus};
use serde_json::{Value as Json, json};

mod flow;
mod kinds;
mod steps;
mod values;

use values::{error_value, object};

/// How a plugin answers: always the same for the same step instance, attempt and input.
pub(super) type Behaviour = fn(path: &str, attempt: u32, action: &str, input: &str) -> Answer;

/// What a plugin says.
pub(super) type Answer = Result<Json, Fault>;

/// An error, as far as it decides anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: String,
    pub(super) retryable: bool,
}

impl Fault {
    fn new(code: &str) -> Self {
        Self { code: code.to_owned(), retryable: false }
    }
}

/// A mistake in this reading, made on purpose to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistake {
    /// A step that is switched off kills what follows.
    BypassedIsDead,
    /// One dead edge is enough to skip a join of all.
    JoinAllIsEvery,
    /// One retry more than written.
    OneRetryMore,
    /// The first policy is taken, whatever the error.
    FirstPolicy,
    /// What a branch sets is seen outside.
    BranchesShare,
    /// Nothing that branches and iterations export is kept.
    ExportsAreLost,
    /// `finally` runs after successes only.
    FinallyOnlyIfWell,
    /// So does that of the document.
    LastOnlyIfWell,
    /// Compensations run in the order of the steps.
    UndoneForwards,
    /// `until` is asked before the iteration.
    UntilFirst,
    /// The right sides of a `set` see one another.
    SetInTurn,
}

/// How one step instance ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ended {
    pub(super) path: String,
    pub(super) status: &'static str,
    pub(super) attempts: u32,
    /// Its output as JSON, where it succeeded.
    pub(super) output: Option<String>,
    /// Its error's code, where it failed.
    pub(super) error: Option<String>,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}({})", self.path, self.status, self.attempts)?;
        for more in [&self.output, &self.error].into_iter().flatten() {
            write!(f, " {more}")?;
        }
        Ok(())
    }
}

/// One call of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Called {
    pub(super) path: String,
    pub(super) attempt: u32,
    pub(super) input: String,
}

/// What a run comes to.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) status: RunStatus,
    pub(super) outputs: Json,
    pub(super) error: Option<String>,
    pub(super) ended: Vec<Ended>,
    /// All of the first range of `ended` comes before all of the second.
    pub(super) before: Vec<(Range<usize>, Range<usize>)>,
    pub(super) calls: Vec<Called>,
    /// What `log` said: path and message.
    pub(super) logs: Vec<(String, String)>,
    /// Runs it started: workflow and inputs, each with those that it started itself.
    pub(super) children: Vec<(String, Json, Reading)>,
    /// Why this depends on timing, where it does.
    pub(super) vague: Option<&'static str>,
}

/// Reads a run of `workflow`, which may call the others.
pub(super) fn read(
    workflows: &[Arc<Workflow>],
    workflow: &Workflow,
    inputs: &Json,
    behaviour: Behaviour,
    mistake: Option<Mistake>,
) -> Reading {
    let values = workflow.inputs.iter().map(|(name, spec)| {
        let given = inputs.get(name).or(spec.default.as_ref()).unwrap_or(&Json::Null);
        let value = if spec.kind == InputKind::Integer {
            Value::from_json_typed(given)
        } else {
            Value::from_json(given)
        };
        (name.clone(), value)
    });
    let reader = Reader {
        workflows,
        workflow,
        inputs: object(values),
        behaviour,
        mistake,
        sagas: vec![Vec::new()],
        way: Way::Only,
        reading: Reading {
            status: RunStatus::Completed,
            outputs: json!({}),
            error: None,
            ended: Vec::new(),
            before: Vec::new(),
            calls: Vec::new(),
            logs: Vec::new(),
            children: Vec::new(),
            vague: None,
        },
    };
    reader.run()
}

/// What steps see of one another.
#[derive(Clone, Default)]
struct Seen {
    vars: BTreeMap<String, Value>,
    /// What `export` wrote since the fork.
    exported: BTreeMap<String, Value>,
    steps: BTreeMap<String, Value>,
    /// Names of loops, items and caught errors; the innermost last.
    names: Vec<(String, Value)>,
}

/// How a scope or an attempt ended.
#[derive(Debug, Clone, PartialEq)]
enum End {
    /// With this output; of a scope that of its last successful step.
    Well(Value),
    Failed(Fault),
    /// A `succeed` has ended the run, with outputs of its own or with those declared.
    Over(Option<Json>),
}

/// Which way a question sent the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It was none.
    Only,
    Yes,
    No,
    Case(Option<u16>),
}

/// How a step ended.
enum Done {
    Bypassed,
    Ran(Way, End),
}

/// A step that succeeded and can be undone.
struct Undo {
    steps: ScopeIx,
    prefix: String,
    output: Value,
    /// Its place among what ended.
    at: usize,
}

struct Reader<'a> {
    workflows: &'a [Arc<Workflow>],
    workflow: &'a Workflow,
    inputs: Value,
    behaviour: Behaviour,
    mistake: Option<Mistake>,
    /// What can be undone, of each unit around the step at hand; the run's own first.
    sagas: Vec<Vec<Undo>>,
    /// What the question that was asked last has answered.
    way: Way,
    reading: Reading,
}

impl Reader<'_> {
    fn run(mut self) -> Reading {
        let vars = self.workflow.vars.iter();
        let vars = vars.map(|(name, value)| (name.clone(), Value::from_json_typed(value)));
        let mut seen = Seen { vars: vars.collect(), ..Seen::default() };
        let mut end = self.scope(self.workflow.root, "", &mut seen);
        let main = 0..self.reading.ended.len();
        let spared = self.mistake == Some(Mistake::LastOnlyIfWell) && !matches!(end, End::Well(_));
        if let (Some(finally), false) = (self.workflow.finally, spared) {
            let last = self.scope(finally, "", &mut seen);
            let finally = main.end..self.reading.ended.len();
            self.reading.before.push((main, finally));
            if let (End::Well(_) | End::Over(_), End::Failed(_)) = (&end, &last) {
                end = last;
            }
        }
        if let End::Well(_) | End::Over(None) = end {
            end = self.declared(&seen);
        }
        if let End::Failed(fault) = end {
            if self.workflow.compensation.on_failed {
                self.undo(&seen);
            }
            if let Some(steps) = self.workflow.on_failure {
                seen.names.push(("error".to_owned(), error_value(&fault)));
                self.scope(steps, "", &mut seen);
            }
            self.reading.status = RunStatus::Failed;
            self.reading.error = Some(fault.code);
        } else if let End::Over(Some(outputs)) = end {
            self.reading.outputs = outputs;
        }
        self.reading
    }

    /// The end of the run with the outputs that the workflow declares.
    fn declared(&self, seen: &Seen) -> End {
        let mut outputs = serde_json::Map::new();
        for (name, template) in &self.workflow.outputs {
            match self.outer(template, seen, None) {
                Ok(value) => outputs.insert(name.clone(), value),
                Err(_) => return End::Failed(Fault::new("outputs.invalid")),
            };
        }
        End::Over(Some(Json::Object(outputs)))
    }

    /// What a branch or an iteration leaves behind of its variables.
    fn merge(&mut self, own: &Seen, end: &End, seen: &mut Seen) {
        if self.mistake == Some(Mistake::BranchesShare) {
            seen.vars.extend(own.vars.clone());
        }
        if matches!(end, End::Over(_)) && !own.exported.is_empty() {
            self.vague("the run ends in a branch that has exported");
        }
        if self.mistake != Some(Mistake::ExportsAreLost) && matches!(end, End::Well(_)) {
            seen.vars.extend(own.exported.clone());
            seen.exported.extend(own.exported.clone());
        }
    }

    /// Which of several failures counts. The first; of different ones only time can tell.
    fn first<'f>(&mut self, mut faults: impl Iterator<Item = &'f Fault>) -> Option<Fault> {
        let first = faults.next()?.clone();
        if faults.any(|other| *other != first) {
            self.vague("several fail, each in its own way");
        }
        Some(first)
    }

    fn in_turn(&mut self, earlier: &mut Vec<Range<usize>>, range: Range<usize>) {
        let pairs = earlier.iter().map(|before| (before.clone(), range.clone()));
        self.reading.before.extend(pairs);
        earlier.push(range);
    }

    fn vague(&mut self, why: &'static str) {
        self.reading.vague.get_or_insert(why);
    }

    /// The steps of a scope and of those within it.
    fn ids(&self, scope: ScopeIx) -> Vec<String> {
        let inside = |step: &&Step| {
            let mut at = Some(step.scope);
            while let Some(here) = at {
                if here == scope {
                    return true;
                }
                at = self.workflow.scope(here).owner.map(|owner| self.workflow.step(owner).scope);
            }
            false
        };
        let steps = self.workflow.steps.iter().filter(inside);
        steps.map(|step| step.id.as_str().to_owned()).collect()
    }
}

fn join(prefix: &str, step: &Step) -> String {
    if prefix.is_empty() {
        return step.id.as_str().to_owned();
    }
    format!("{prefix}/{}", step.id)
}

/// A `set` has no result, unless `output` gives it one.
fn has_result(step: &Step) -> bool {
    !matches!(step.kind, StepKind::Set(_)) || step.output.is_some()
}

pub(super) fn word(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Succeeded => "succeeded",
        StepStatus::Bypassed => "bypassed",
        StepStatus::Failed => "failed",
        StepStatus::Skipped => "skipped",
        StepStatus::Cancelled => "cancelled",
        StepStatus::Queued | StepStatus::Running | StepStatus::Delayed | StepStatus::Waiting => {
            "not over"
        }
    }
}
