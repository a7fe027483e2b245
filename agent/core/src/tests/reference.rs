//! A naive reading of the language: what a run comes to where no clock ticks, nothing crashes and
//! one thing happens after another.
//!
//! It knows the contract and the checked definition, and nothing of the engine. It walks the steps
//! by plain recursion and is as slow and as clear as it can be. Where the contract leaves the
//! outcome to timing (which sibling a failure still finds running), it says so: [`Reading::vague`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use openclaw_protocol::definition::{
    Case, CaseTest, Catch, DelayFor, Edge, EdgeKind, Foreach, InputKind, Join, LoopTest, ParallelMode, Retry,
    ScopeIx, Step, StepIx, StepKind, Tolerate, Workflow,
};
use openclaw_protocol::expr::{Expr, Key, Map, Scope, Template, Value};
use openclaw_protocol::run::{RunStatus, StepStatus};
use serde_json::{Value as Json, json};

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

/// The names an expression sees.
struct Names<'a> {
    inputs: &'a Value,
    seen: &'a Seen,
    output: Option<&'a Value>,
}

impl Scope for Names<'_> {
    fn lookup(&self, name: &str) -> Option<Value> {
        if name == "output"
            && let Some(output) = self.output
        {
            return Some(output.clone());
        }
        if let Some((_, value)) = self.seen.names.iter().rev().find(|(known, _)| known == name) {
            return Some(value.clone());
        }
        match name {
            "inputs" => Some(self.inputs.clone()),
            "vars" => Some(object(self.seen.vars.clone())),
            "steps" => Some(object(self.seen.steps.clone())),
            _ => None,
        }
    }
}

impl Reader<'_> {
    fn run(mut self) -> Reading {
        let vars = self.workflow.vars.iter();
        let vars = vars.map(|(name, value)| (name.clone(), Value::from_json_typed(value)));
        let mut seen = Seen { vars: vars.collect(), ..Seen::default() };
        let mut end = self.scope(self.workflow.root, "", &mut seen);
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

    // Scopes: edges and joins.

    fn scope(&mut self, scope: ScopeIx, prefix: &str, seen: &mut Seen) -> End {
        let steps = &self.workflow.scope(scope).steps;
        let mut flow = Flow { workflow: self.workflow, steps, settled: BTreeMap::new() };
        let mut last = Value::Null;
        while let Some((ix, runs)) = flow.next(self.mistake) {
            let step = self.workflow.step(ix);
            if !runs {
                self.settle(step, prefix, StepStatus::Skipped, seen);
                flow.settled
                    .insert(ix, Settled { ran: None, edges: vec![false; step.edges.len()] });
                continue;
            }
            let start = self.reading.ended.len();
            let done = self.step(step, prefix, seen);
            let ran = start..self.reading.ended.len();
            for earlier in flow.at_run(ix) {
                if let Some(Settled { ran: Some(before), .. }) = flow.settled.get(&earlier) {
                    self.reading.before.push((before.clone(), ran.clone()));
                }
            }
            let fails = if let Done::Ran(_, End::Failed(_)) = done {
                let caught = step.edges.iter().any(|edge| matches!(edge.kind, EdgeKind::OnFailure));
                !step.continue_on_error && !caught
            } else {
                matches!(done, Done::Ran(_, End::Over(_)))
            };
            if fails {
                self.leave(flow, ix, prefix, seen);
                if let Done::Ran(_, end) = done {
                    return end;
                }
                unreachable!("what is bypassed does not fail");
            }
            let edges = step.edges.iter().map(|edge| self.takes(step, edge, &done, seen)).collect();
            if let Done::Ran(_, End::Well(output)) = done
                && has_result(step)
            {
                last = output;
            }
            flow.settled.insert(ix, Settled { ran: Some(ran), edges });
        }
        End::Well(last)
    }

    /// The scope ends with the step `from`: what has not been reached is cancelled.
    fn leave(&mut self, mut flow: Flow<'_>, from: StepIx, prefix: &str, seen: &mut Seen) {
        let certain = flow.at_run(from);
        let beside =
            |(ix, settled): (&StepIx, &Settled)| settled.ran.is_some() && !certain.contains(ix);
        if flow.settled.iter().any(beside) {
            self.vague("a scope fails while others of its steps may run");
        }
        let mut rest: BTreeSet<StepIx> = flow.steps.iter().copied().collect();
        rest.remove(&from);
        rest.retain(|ix| !flow.settled.contains_key(ix));
        while let Some(ix) = rest.iter().copied().find(|ix| flow.decide(*ix, None).is_some()) {
            if flow.decide(ix, None) == Some(true) {
                self.vague("a scope fails while others of its steps could run");
            }
            let step = self.workflow.step(ix);
            self.settle(step, prefix, StepStatus::Skipped, seen);
            flow.settled.insert(ix, Settled { ran: None, edges: vec![false; step.edges.len()] });
            rest.remove(&ix);
        }
        for ix in rest {
            self.settle(self.workflow.step(ix), prefix, StepStatus::Cancelled, seen);
        }
    }

    /// Whether an edge of a step that has ended is taken.
    fn takes(&self, step: &Step, edge: &Edge, done: &Done, seen: &Seen) -> bool {
        let failed = matches!(done, Done::Ran(_, End::Failed(_)));
        let well = !failed || step.continue_on_error;
        let way = match done {
            Done::Ran(way, _) => *way,
            Done::Bypassed if self.mistake == Some(Mistake::BypassedIsDead) => return false,
            Done::Bypassed => Way::Only,
        };
        match &edge.kind {
            EdgeKind::OnFailure => !well,
            EdgeKind::Next(when) => {
                let gate = matches!(step.kind, StepKind::Condition { gate: true, .. });
                let shut = gate && way == Way::No;
                let open = when.as_ref().is_none_or(|when| self.truth(when, seen) == Ok(true));
                well && !shut && open
            }
            EdgeKind::Then => way == Way::Yes,
            EdgeKind::Else => way == Way::No,
            EdgeKind::Case(number) => way == Way::Case(*number),
        }
    }

    fn settle(&mut self, step: &Step, prefix: &str, status: StepStatus, seen: &mut Seen) {
        self.ended(step, &join(prefix, step), status, 0, &Value::Null, None, seen);
    }

    #[expect(clippy::too_many_arguments, reason = "one for each thing that is remembered")]
    fn ended(
        &mut self,
        step: &Step,
        path: &str,
        status: StepStatus,
        attempts: u32,
        output: &Value,
        fault: Option<&Fault>,
        seen: &mut Seen,
    ) {
        let status_text = word(status);
        let well = status == StepStatus::Succeeded && has_result(step);
        self.reading.ended.push(Ended {
            path: path.to_owned(),
            status: status_text,
            attempts,
            output: well.then(|| {
                output.to_json().map_or_else(|error| error.to_string(), |json| json.to_string())
            }),
            error: fault.map(|fault| fault.code.clone()),
        });
        let view = object([
            ("status".to_owned(), Value::from(status_text)),
            ("output".to_owned(), output.clone()),
            ("error".to_owned(), fault.map_or(Value::Null, error_value)),
            ("attempts".to_owned(), Value::Int(attempts.into())),
        ]);
        seen.steps.insert(step.id.as_str().to_owned(), view);
    }

    // Steps: attempts and their ends.

    fn step(&mut self, step: &Step, prefix: &str, seen: &mut Seen) -> Done {
        let path = join(prefix, step);
        let start = self.reading.ended.len();
        let (done, attempts) = self.attempts(step, &path, seen);
        let inner = start..self.reading.ended.len();
        let (status, output, fault) = match &done {
            Done::Bypassed => (StepStatus::Bypassed, Value::Null, None),
            Done::Ran(_, End::Well(output)) => (StepStatus::Succeeded, output.clone(), None),
            Done::Ran(_, End::Failed(fault)) => (StepStatus::Failed, Value::Null, Some(fault)),
            Done::Ran(_, End::Over(_)) if matches!(step.kind, StepKind::Succeed { .. }) => {
                (StepStatus::Succeeded, Value::Null, None)
            }
            Done::Ran(_, End::Over(_)) => (StepStatus::Cancelled, Value::Null, None),
        };
        self.ended(step, &path, status, attempts, &output, fault, seen);
        let own = inner.end..inner.end + 1;
        self.reading.before.push((inner.clone(), own));
        if let (Some(steps), StepStatus::Succeeded) = (step.compensate, status) {
            let undo = Undo { steps, prefix: format!("{path}[undo]"), output, at: inner.end };
            self.sagas.last_mut().unwrap().push(undo);
        }
        done
    }

    fn attempts(&mut self, step: &Step, path: &str, seen: &mut Seen) -> (Done, u32) {
        match step.condition.as_ref().map(|condition| self.truth(condition, seen)) {
            Some(Err(fault)) => return (Done::Ran(Way::Only, End::Failed(fault)), 1),
            Some(Ok(false)) => return (Done::Bypassed, 0),
            Some(Ok(true)) | None => {}
        }
        // The input is the same for all attempts, and one that has no value is not tried again.
        let input = match &step.kind {
            StepKind::Plugin(call) => self.outer(&call.with, seen, None),
            StepKind::Call(call) => self.outer(&call.with, seen, None),
            _ => Ok(Json::Null),
        };
        let input = match input {
            Ok(input) => input,
            Err(fault) => return (Done::Ran(Way::Only, End::Failed(fault)), 1),
        };
        let mut used = vec![0; step.retry.len()];
        let mut attempt = 1;
        let mut earlier: Option<Range<usize>> = None;
        loop {
            let start = self.reading.ended.len();
            let names = seen.names.len();
            let end = self.attempt(step, path, attempt, &input, seen);
            seen.names.truncate(names);
            let way = std::mem::replace(&mut self.way, Way::Only);
            let range = start..self.reading.ended.len();
            if let Some(earlier) = earlier.replace(range.clone()) {
                self.reading.before.push((earlier, range));
            }
            let end = match end {
                End::Well(output) => self.reshape(step, output, seen),
                End::Failed(_) | End::Over(_) => end,
            };
            let End::Failed(fault) = &end else { return (Done::Ran(way, end), attempt) };
            let Some(at) = self.policy(&step.retry, fault) else {
                return (Done::Ran(way, end), attempt);
            };
            let more = u32::from(self.mistake == Some(Mistake::OneRetryMore));
            if used[at] == step.retry[at].max_retries + more {
                return (Done::Ran(way, end), attempt);
            }
            used[at] += 1;
            attempt += 1;
        }
    }

    /// The first policy that is for this error.
    fn policy(&self, policies: &[Retry], fault: &Fault) -> Option<usize> {
        if self.mistake == Some(Mistake::FirstPolicy) && !policies.is_empty() {
            return Some(0);
        }
        policies.iter().position(|policy| {
            let never = policy.not_errors.iter().any(|pattern| is_for(pattern, &fault.code));
            let wanted = if policy.errors.is_empty() {
                fault.retryable && is_for("*", &fault.code)
            } else {
                policy.errors.iter().any(|pattern| is_for(pattern, &fault.code))
            };
            wanted && !never
        })
    }

    /// `output` and `export`.
    fn reshape(&mut self, step: &Step, output: Value, seen: &mut Seen) -> End {
        let reshaped = match &step.output {
            Some(template) => self.typed(template, seen, Some(&output)),
            None => Ok(output),
        };
        let reshaped = match reshaped {
            Ok(output) => output,
            Err(fault) => return End::Failed(fault),
        };
        let mut values = Vec::new();
        for (name, template) in &step.export {
            match self.typed(template, seen, Some(&reshaped)) {
                Ok(value) => values.push((name.clone(), value)),
                Err(fault) => return End::Failed(fault),
            }
        }
        seen.vars.extend(values.iter().cloned());
        seen.exported.extend(values);
        End::Well(reshaped)
    }

    fn attempt(
        &mut self,
        step: &Step,
        path: &str,
        attempt: u32,
        input: &Json,
        seen: &mut Seen,
    ) -> End {
        let inner = if attempt == 1 { path.to_owned() } else { format!("{path}~{attempt}") };
        let end = match &step.kind {
            StepKind::Plugin(call) => Ok(self.plugin(&call.action, path, attempt, input)),
            StepKind::Call(call) => Ok(self.call(call.workflow.as_str(), input)),
            StepKind::Condition { expr, then, otherwise, .. } => {
                self.condition(expr, [*then, *otherwise], &inner, seen)
            }
            StepKind::Switch { subject, cases, default, has_default } => {
                let default = has_default.then_some(*default);
                self.switch(subject.as_ref(), cases, default, &inner, seen)
            }
            StepKind::Set(values) => self.set(values, seen),
            StepKind::Delay(delay) => match &delay.length {
                DelayFor::Fixed(_) => Ok(End::Well(Value::Null)),
                DelayFor::Computed(expr) | DelayFor::Until { at: expr, .. } => {
                    self.value(expr, seen).map(|_| End::Well(Value::Null))
                }
            },
            StepKind::Log { message, .. } => self.typed(message, seen, None).map(|message| {
                let message = message.as_str().unwrap_or_default().to_owned();
                self.reading.logs.push((path.to_owned(), message));
                End::Well(Value::Null)
            }),
            StepKind::Emit { data, .. } => {
                self.typed(data, seen, None).map(|_| End::Well(Value::Null))
            }
            StepKind::Parallel { mode, branches, named, concurrency } => {
                let in_turn = *concurrency == Some(1) || branches.len() == 1;
                Ok(self.parallel(*mode, branches, *named, in_turn, &inner, seen))
            }
            StepKind::Loop { test, max_iterations, collect, body, .. } => {
                self.looping(test, *max_iterations, collect.as_ref(), *body, &inner, seen)
            }
            StepKind::Foreach(foreach) => self.foreach(foreach, &inner, seen),
            StepKind::Try { body, catches, finally, .. } => {
                Ok(self.try_catch(*body, catches, *finally, &inner, seen))
            }
            StepKind::Sequence { body, compensation } => match compensation {
                Some(when) => Ok(self.saga(*body, when.on_failed, &inner, seen)),
                None => Ok(self.scope(*body, &inner, seen)),
            },
            StepKind::Succeed { outputs } => match outputs {
                Some(outputs) => self.outer(outputs, seen, None).map(|map| End::Over(Some(map))),
                None => Ok(End::Over(None)),
            },
            StepKind::Fail { code, .. } => self
                .typed(code, seen, None)
                .map(|code| End::Failed(Fault::new(code.as_str().unwrap_or_default()))),
            StepKind::Wait(_) | StepKind::Publish(_) | StepKind::Approval(_) => {
                unreachable!("what waits for the world is not read here")
            }
        };
        end.unwrap_or_else(End::Failed)
    }

    // Kinds.

    fn plugin(&mut self, action: &str, path: &str, attempt: u32, input: &Json) -> End {
        let input = input.to_string();
        let answer = (self.behaviour)(path, attempt, action, &input);
        self.reading.calls.push(Called { path: path.to_owned(), attempt, input });
        match answer {
            Ok(output) => End::Well(Value::from_json(&output)),
            Err(fault) => End::Failed(fault),
        }
    }

    fn call(&mut self, name: &str, inputs: &Json) -> End {
        let callee = self.workflows.iter().find(|other| other.name.as_str() == name);
        let Some(callee) = callee else { return End::Failed(Fault::new("workflow.unknown")) };
        let child = read(self.workflows, callee, inputs, self.behaviour, self.mistake);
        let end = match (child.status, &child.error) {
            (RunStatus::Completed, _) => End::Well(Value::from_json_typed(&child.outputs)),
            (_, code) => End::Failed(Fault::new(code.as_deref().unwrap_or_default())),
        };
        self.reading.vague = self.reading.vague.or(child.vague);
        self.reading.children.push((name.to_owned(), inputs.clone(), child));
        end
    }

    fn condition(
        &mut self,
        expr: &Expr,
        ways: [Option<ScopeIx>; 2],
        inner: &str,
        seen: &mut Seen,
    ) -> Result<End, Fault> {
        let result = self.truth(expr, seen)?;
        let end = match ways[usize::from(!result)] {
            Some(steps) => self.scope(steps, inner, seen),
            None => End::Well(Value::Null),
        };
        self.way = if result { Way::Yes } else { Way::No };
        Ok(with_output(end, [("result", Value::Bool(result))]))
    }

    fn switch(
        &mut self,
        subject: Option<&Expr>,
        cases: &[Case],
        default: Option<Option<ScopeIx>>,
        inner: &str,
        seen: &mut Seen,
    ) -> Result<End, Fault> {
        let subject = match subject {
            Some(subject) => Some(self.value(subject, seen)?),
            None => None,
        };
        let mut chosen = None;
        for (position, case) in cases.iter().enumerate() {
            let matched = match &case.test {
                CaseTest::Is(value) => {
                    let value = self.typed(value, seen, None)?;
                    subject.as_ref().is_some_and(|subject| subject.equals(&value)).then_some(value)
                }
                CaseTest::When(expr) => {
                    self.truth(expr, seen)?.then(|| Value::Int(i64::try_from(position).unwrap()))
                }
            };
            if let Some(value) = matched {
                chosen = Some((value, case.body, Some(u16::try_from(position).unwrap())));
                break;
            }
        }
        let chosen = chosen.or_else(|| default.map(|body| (Value::Null, body, None)));
        let (case, body, place) = chosen.ok_or_else(|| Fault::new("condition.no_match"))?;
        let end = match body {
            Some(steps) => self.scope(steps, inner, seen),
            None => End::Well(Value::Null),
        };
        self.way = Way::Case(place);
        Ok(with_output(end, [("case", case)]))
    }

    fn set(&mut self, values: &[(String, Template)], seen: &mut Seen) -> Result<End, Fault> {
        let mut new = Vec::new();
        for (name, template) in values {
            let value = self.typed(template, seen, None)?;
            if self.mistake == Some(Mistake::SetInTurn) {
                seen.vars.insert(name.clone(), value.clone());
            }
            new.push((name.clone(), value));
        }
        seen.vars.extend(new);
        Ok(End::Well(Value::Null))
    }

    fn parallel(
        &mut self,
        mode: ParallelMode,
        branches: &[(String, ScopeIx)],
        named: bool,
        in_turn: bool,
        inner: &str,
        seen: &mut Seen,
    ) -> End {
        let fork = Seen { exported: BTreeMap::new(), ..seen.clone() };
        let mut done: Vec<(Seen, End)> = Vec::new();
        let mut earlier: Vec<Range<usize>> = Vec::new();
        for (name, steps) in branches {
            let mut own = fork.clone();
            let start = self.reading.ended.len();
            let end = self.scope(*steps, &format!("{inner}[{name}]"), &mut own);
            let range = start..self.reading.ended.len();
            if in_turn {
                self.in_turn(&mut earlier, range);
            }
            let over = matches!(end, End::Over(_));
            let stops = over || matches!(end, End::Failed(_)) && mode == ParallelMode::FailFast;
            done.push((own, end));
            if stops {
                if !in_turn {
                    self.vague("a branch ends while others run");
                }
                break;
            }
        }
        for ((own, end), (_, steps)) in done.iter().zip(branches) {
            for id in self.ids(*steps) {
                if let Some(result) = own.steps.get(&id) {
                    seen.steps.insert(id, result.clone());
                }
            }
            self.merge(own, end, seen);
        }
        if let Some((_, end)) = done.iter().find(|(_, end)| matches!(end, End::Over(_))) {
            return end.clone();
        }
        let faults = done.iter().filter_map(|(_, end)| fault_of(end));
        if let Some(fault) = self.first(faults) {
            return End::Failed(fault);
        }
        let outputs = done
            .into_iter()
            .filter_map(|(_, end)| if let End::Well(output) = end { Some(output) } else { None });
        End::Well(if named {
            object(branches.iter().map(|(name, _)| name.clone()).zip(outputs))
        } else {
            Value::from(outputs.collect::<Vec<_>>())
        })
    }

    fn looping(
        &mut self,
        test: &LoopTest,
        max_iterations: u32,
        collect: Option<&Expr>,
        body: ScopeIx,
        inner: &str,
        seen: &mut Seen,
    ) -> Result<End, Fault> {
        let times = match test {
            LoopTest::Times(expr) => {
                Some(self.value(expr, seen)?.as_integer().ok_or_else(|| Fault::new("expr.type"))?)
            }
            LoopTest::While(_) | LoopTest::Until(_) => None,
        };
        let mut items = Vec::new();
        let mut index = 0_i64;
        let mut earlier = Vec::new();
        loop {
            let around = object([
                ("index".to_owned(), Value::Int(index)),
                ("first".to_owned(), Value::Bool(index == 0)),
                ("last".to_owned(), times.map_or(Value::Null, |n| Value::Bool(index + 1 == n))),
            ]);
            let names = seen.names.len();
            seen.names.push(("loop".to_owned(), around));
            let goes_on = match test {
                LoopTest::Times(_) => Ok(times.is_some_and(|times| index < times)),
                LoopTest::While(expr) => self.truth(expr, seen),
                LoopTest::Until(expr) if self.mistake == Some(Mistake::UntilFirst) => {
                    self.truth(expr, seen).map(|ends| !ends)
                }
                LoopTest::Until(_) => Ok(true),
            };
            if !goes_on? {
                break;
            }
            if index == i64::from(max_iterations) {
                return Err(Fault::new("loop.limit"));
            }
            let start = self.reading.ended.len();
            let end = self.scope(body, &format!("{inner}#{index}"), seen);
            self.in_turn(&mut earlier, start..self.reading.ended.len());
            if let End::Failed(_) | End::Over(_) = end {
                return Ok(end);
            }
            if let Some(collect) = collect {
                items.push(self.value(collect, seen)?);
            }
            let ends = match test {
                LoopTest::Until(expr) => self.truth(expr, seen)?,
                LoopTest::Times(_) | LoopTest::While(_) => false,
            };
            seen.names.truncate(names);
            index += 1;
            if ends {
                break;
            }
        }
        let result = [("iterations", Value::Int(index)), ("items", Value::from(items))];
        Ok(with_output(End::Well(Value::Null), result))
    }

    fn foreach(&mut self, foreach: &Foreach, inner: &str, seen: &mut Seen) -> Result<End, Fault> {
        let items = entries(&self.value(&foreach.list, seen)?)?;
        let in_turn = foreach.concurrency == 1 || items.len() == 1;
        let tolerated = match foreach.tolerate {
            Tolerate::Count(count) => usize::try_from(count).unwrap(),
            Tolerate::Percent(percent) => items.len() * usize::from(percent) / 100,
        };
        let fork = Seen { exported: BTreeMap::new(), ..seen.clone() };
        let mut done: Vec<(Seen, End)> = Vec::new();
        let mut earlier = Vec::new();
        let mut failed = 0;
        for (index, item) in items.iter().enumerate() {
            let mut own = fork.clone();
            own.names.push((foreach.item.clone(), item.clone()));
            if let Some(name) = &foreach.index {
                own.names.push((name.clone(), Value::Int(i64::try_from(index).unwrap())));
            }
            let start = self.reading.ended.len();
            let mut end = self.scope(foreach.body, &format!("{inner}#{index}"), &mut own);
            if in_turn {
                self.in_turn(&mut earlier, start..self.reading.ended.len());
            }
            if let (End::Well(_), Some(collect)) = (&end, &foreach.collect) {
                end = self.value(collect, &own).map_or_else(End::Failed, End::Well);
            }
            failed += usize::from(matches!(end, End::Failed(_)));
            let over = matches!(end, End::Over(_));
            done.push((own, end));
            if over || foreach.fail_fast && failed > tolerated {
                if !in_turn {
                    self.vague("an iteration ends while others run");
                }
                break;
            }
        }
        for (own, end) in &done {
            self.merge(own, end, seen);
        }
        if let Some((_, end)) = done.iter().find(|(_, end)| matches!(end, End::Over(_))) {
            return Ok(end.clone());
        }
        if failed > tolerated {
            let faults = done.iter().filter_map(|(_, end)| fault_of(end));
            return Err(self.first(faults).unwrap());
        }
        let items: Vec<Value> = done
            .into_iter()
            .map(|(_, end)| if let End::Well(output) = end { output } else { Value::Null })
            .collect();
        let failed = Value::Int(i64::try_from(failed).unwrap());
        let result = [("items", Value::from(items)), ("failed", failed)];
        Ok(with_output(End::Well(Value::Null), result))
    }

    fn try_catch(
        &mut self,
        body: ScopeIx,
        catches: &[Catch],
        finally: Option<ScopeIx>,
        inner: &str,
        seen: &mut Seen,
    ) -> End {
        let mut earlier = Vec::new();
        let start = self.reading.ended.len();
        let mut end = self.scope(body, inner, seen);
        self.in_turn(&mut earlier, start..self.reading.ended.len());
        if let End::Failed(fault) = &end {
            let catch = catches.iter().find(|catch| {
                let mut offered = seen.clone();
                offered.names.push((catch.name.clone(), error_value(fault)));
                let named = if catch.errors.is_empty() {
                    is_for("*", &fault.code)
                } else {
                    catch.errors.iter().any(|pattern| is_for(pattern, &fault.code))
                };
                let when = catch.when.as_ref();
                named && when.is_none_or(|when| self.truth(when, &offered) == Ok(true))
            });
            if let Some(catch) = catch {
                let names = seen.names.len();
                seen.names.push((catch.name.clone(), error_value(fault)));
                let start = self.reading.ended.len();
                end = self.scope(catch.body, &format!("{inner}[catch]"), seen);
                self.in_turn(&mut earlier, start..self.reading.ended.len());
                seen.names.truncate(names);
            }
        }
        let spared =
            self.mistake == Some(Mistake::FinallyOnlyIfWell) && !matches!(end, End::Well(_));
        if let (Some(finally), false) = (finally, spared) {
            let start = self.reading.ended.len();
            let last = self.scope(finally, &format!("{inner}[finally]"), seen);
            self.in_turn(&mut earlier, start..self.reading.ended.len());
            if let End::Failed(_) = last {
                match end {
                    End::Well(_) => end = last,
                    End::Failed(_) => {}
                    End::Over(_) => self.vague("`finally` fails after `succeed`"),
                }
            }
        }
        end
    }

    fn saga(&mut self, body: ScopeIx, on_failed: bool, inner: &str, seen: &mut Seen) -> End {
        self.sagas.push(Vec::new());
        let end = self.scope(body, inner, seen);
        if matches!(end, End::Failed(_)) && on_failed {
            self.undo(seen);
        }
        self.sagas.pop();
        end
    }

    /// Undoes what the innermost unit has done, latest first. What fails
    /// in it does not keep the rest from being undone.
    fn undo(&mut self, seen: &Seen) {
        let mut undone: Vec<(usize, Range<usize>)> = Vec::new();
        let mut registered = std::mem::take(self.sagas.last_mut().unwrap());
        if self.mistake != Some(Mistake::UndoneForwards) {
            registered.reverse();
        }
        for undo in registered {
            let mut own = seen.clone();
            own.names.push(("output".to_owned(), undo.output));
            let start = self.reading.ended.len();
            self.scope(undo.steps, &undo.prefix, &mut own);
            let range = start..self.reading.ended.len();
            for (at, earlier) in &undone {
                // Only where the steps themselves had an order.
                let (first, second) = (undo.at.min(*at), undo.at.max(*at));
                let ordered = |pair: &(Range<usize>, Range<usize>)| {
                    pair.0.contains(&first) && pair.1.contains(&second)
                };
                if self.reading.before.iter().any(ordered) {
                    self.reading.before.push((earlier.clone(), range.clone()));
                }
            }
            undone.push((undo.at, range));
        }
    }

    // Small things.

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

    fn value(&self, expr: &Expr, seen: &Seen) -> Result<Value, Fault> {
        let names = Names { inputs: &self.inputs, seen, output: None };
        expr.eval(&names).map_err(|error| Fault::new(error.code()))
    }

    fn truth(&self, expr: &Expr, seen: &Seen) -> Result<bool, Fault> {
        self.value(expr, seen)?.as_bool().ok_or_else(|| Fault::new("expr.type"))
    }

    /// A value that other expressions will see.
    fn typed(
        &self,
        template: &Template,
        seen: &Seen,
        output: Option<&Value>,
    ) -> Result<Value, Fault> {
        let names = Names { inputs: &self.inputs, seen, output };
        let json = template.eval_typed(&names).map_err(|error| Fault::new(error.code()))?;
        Ok(Value::from_json_typed(&json))
    }

    /// A value that leaves the run.
    fn outer(
        &self,
        template: &Template,
        seen: &Seen,
        output: Option<&Value>,
    ) -> Result<Json, Fault> {
        let names = Names { inputs: &self.inputs, seen, output };
        template.eval(&names).map_err(|error| Fault::new(error.code()))
    }
}

/// Where a scope stands.
struct Flow<'a> {
    workflow: &'a Workflow,
    steps: &'a [StepIx],
    settled: BTreeMap<StepIx, Settled>,
}

/// A step that has ended.
struct Settled {
    /// What ended in it, where it was reached.
    ran: Option<Range<usize>>,
    /// Which of its edges are taken.
    edges: Vec<bool>,
}

impl Flow<'_> {
    /// The first step that is decided, and whether it runs.
    fn next(&self, mistake: Option<Mistake>) -> Option<(StepIx, bool)> {
        let open = self.steps.iter().filter(|ix| !self.settled.contains_key(ix));
        open.copied().find_map(|ix| Some((ix, self.decide(ix, mistake)?)))
    }

    /// Whether a step runs, once it is known.
    fn decide(&self, ix: StepIx, mistake: Option<Mistake>) -> Option<bool> {
        let (mut taken, mut dead, mut open) = (0, 0, 0);
        for (from, number) in self.edges_to(ix) {
            match self.settled.get(&from).map(|settled| settled.edges[number]) {
                Some(true) => taken += 1,
                Some(false) => dead += 1,
                None => open += 1,
            }
        }
        let join = match self.workflow.step(ix).join {
            Join::All if mistake == Some(Mistake::JoinAllIsEvery) => Join::Every,
            join => join,
        };
        match join {
            _ if taken + dead + open == 0 => Some(true),
            Join::All => (open == 0).then_some(taken > 0),
            Join::Every if dead > 0 => Some(false),
            Join::Every => (open == 0).then_some(true),
            Join::Any if taken > 0 => Some(true),
            Join::Any => (open == 0).then_some(false),
            Join::AtLeast(n) if taken >= n => Some(true),
            Join::AtLeast(n) => (taken + open < n).then_some(false),
        }
    }

    /// The edges to a step: from where, and which of that step's.
    fn edges_to(&self, ix: StepIx) -> Vec<(StepIx, usize)> {
        let mut found = Vec::new();
        for from in self.steps {
            for (number, edge) in self.workflow.step(*from).edges.iter().enumerate() {
                if edge.to == ix {
                    found.push((*from, number));
                }
            }
        }
        found
    }

    /// The steps that have certainly ended when this one begins.
    fn at_run(&self, ix: StepIx) -> BTreeSet<StepIx> {
        let waits = matches!(self.workflow.step(ix).join, Join::All | Join::Every);
        self.certain(ix, waits)
    }

    /// The steps that have certainly ended when this one has, without it.
    fn at_end(&self, ix: StepIx) -> BTreeSet<StepIx> {
        let waits = matches!(self.workflow.step(ix).join, Join::All);
        self.certain(ix, waits)
    }

    fn certain(&self, ix: StepIx, waits_for_all: bool) -> BTreeSet<StepIx> {
        let sources: BTreeSet<StepIx> =
            self.edges_to(ix).into_iter().map(|(from, _)| from).collect();
        let mut sets = sources.into_iter().map(|from| {
            let mut set = self.at_end(from);
            set.insert(from);
            set
        });
        let first = sets.next().unwrap_or_default();
        sets.fold(first, |known, more| if waits_for_all { &known | &more } else { &known & &more })
    }
}

fn join(prefix: &str, step: &Step) -> String {
    if prefix.is_empty() {
        return step.id.as_str().to_owned();
    }
    format!("{prefix}/{}", step.id)
}

/// What a composite gives in place of its scope's output.
fn with_output<const N: usize>(end: End, fields: [(&str, Value); N]) -> End {
    match end {
        End::Well(_) => End::Well(object(fields.map(|(name, value)| (name.to_owned(), value)))),
        End::Failed(_) | End::Over(_) => end,
    }
}

/// A `set` has no result, unless `output` gives it one.
fn has_result(step: &Step) -> bool {
    !matches!(step.kind, StepKind::Set(_)) || step.output.is_some()
}

fn fault_of(end: &End) -> Option<&Fault> {
    if let End::Failed(fault) = end { Some(fault) } else { None }
}

/// The items of a list, or the entries of a map in key order.
fn entries(value: &Value) -> Result<Vec<Value>, Fault> {
    if let Some(items) = value.as_list() {
        return Ok(items.to_vec());
    }
    let map = value.as_map().ok_or_else(|| Fault::new("expr.type"))?;
    let mut keys: Vec<String> = map.iter().map(|(key, _)| key.to_string()).collect();
    keys.sort();
    let entry = |key: String| {
        let item = map.field(&key).cloned().unwrap_or(Value::Null);
        object([("key".to_owned(), Value::from(key.as_str())), ("value".to_owned(), item)])
    };
    Ok(keys.into_iter().map(entry).collect())
}

/// An error as expressions see it, as far as it is read here.
fn error_value(fault: &Fault) -> Value {
    object([
        ("code".to_owned(), Value::from(fault.code.as_str())),
        ("retryable".to_owned(), Value::Bool(fault.retryable)),
    ])
}

fn object(fields: impl IntoIterator<Item = (String, Value)>) -> Value {
    let entries = fields.into_iter().map(|(name, value)| (Key::String(name.into()), value));
    Value::Map(Arc::new(Map::new(entries.collect()).expect("names differ")))
}

/// Whether a pattern names an error code: exactly, by `prefix.*`, or by `*`.
fn is_for(pattern: &str, code: &str) -> bool {
    if pattern == "*" {
        return code != "cancelled" && !code.starts_with("limit.") && !code.starts_with("replay.");
    }
    match pattern.strip_suffix('*') {
        Some(prefix) => code.starts_with(prefix),
        None => pattern == code,
    }
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
