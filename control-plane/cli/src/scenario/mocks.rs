//! What answers in place of plugins and other workflows.

use std::collections::BTreeMap;
use std::sync::Arc;

use openclaw_agent_core::{AttemptId, AttemptOutcome};
use openclaw_protocol::expr::{Expr, Value};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::RunError;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Value as Json, json};

use super::compare::contains;
use super::format::{MockSpecs, Span, present};
use super::tape::Kept;

/// What an error is where its mock does not say.
const CODE: &str = "plugin.error";

/// All mocks of a scenario.
#[derive(Debug, Default)]
pub(crate) struct Mocks {
    plugins: BTreeMap<String, Mock>,
    workflows: BTreeMap<String, Mock>,
    /// What each attempt was answered: one that is repeated after an interruption gets the same
    /// again, as a receiver gives that honours its key.
    given: BTreeMap<AttemptId, Reply>,
}

/// Who is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// A plugin's action.
    Plugin(&'a str, &'a str),
    /// Another workflow.
    Workflow(&'a str),
}

/// One call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Who is called.
    pub(crate) target: Target<'a>,
    /// By which attempt.
    pub(crate) attempt: &'a AttemptId,
    /// With what.
    pub(crate) input: &'a Json,
}

/// What comes back, and when.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    /// `None`: nothing ever does.
    pub(crate) outcome: Option<AttemptOutcome>,
    /// After so many milliseconds.
    pub(crate) latency_ms: u64,
    /// Even where the call is told to stop before.
    pub(crate) ignores_stop: bool,
    /// What the plugin was told, to run it again, and the file of its module.
    pub(crate) tape: Option<(Arc<Kept>, String)>,
}

/// Why a call finds no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unanswered {
    /// What is missing.
    pub(crate) message: String,
    /// What to write into the scenario.
    pub(crate) snippet: String,
}

/// What stands for one plugin or workflow.
#[derive(Debug)]
struct Mock {
    answers: Vec<Answer>,
    default: Option<Answer>,
    latency: Span,
    /// The names of its inputs, where the calls do not show them.
    inputs: Vec<String>,
    /// The file of the module that is run where an answer has a tape.
    module: Option<String>,
    calls: u32,
}

/// A mock as written at length.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    #[serde(default)]
    answers: Vec<Json>,
    #[serde(default)]
    default: Option<Json>,
    #[serde(default)]
    latency: Span,
    #[serde(default)]
    inputs: Vec<String>,
    #[serde(default)]
    module: Option<String>,
}

/// One answer, and which calls get it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(default)]
    call: Option<Calls>,
    #[serde(default)]
    attempt: Option<u32>,
    #[serde(default)]
    step: Option<String>,
    #[serde(default, alias = "inputs", deserialize_with = "present")]
    input: Option<Json>,
    #[serde(default, alias = "outputs", deserialize_with = "present")]
    output: Option<Json>,
    #[serde(default)]
    compute: Option<String>,
    #[serde(default)]
    error: Option<Json>,
    #[serde(default)]
    hang: bool,
    #[serde(default)]
    latency: Option<Span>,
    #[serde(default)]
    ignores_stop: bool,
    #[serde(default, deserialize_with = "kept")]
    tape: Option<Arc<Kept>>,
}

fn kept<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Arc<Kept>>, D::Error> {
    let json = Json::deserialize(d)?;
    Kept::read(&json).map(|kept| Some(Arc::new(kept))).map_err(D::Error::custom)
}

/// The number of a call, from 1, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Calls {
    One(u32),
    Several(Vec<u32>),
}

/// An error at length.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ErrorLong {
    code: String,
    message: String,
    retryable: bool,
    #[serde(deserialize_with = "present")]
    details: Option<Json>,
}

impl Default for ErrorLong {
    fn default() -> Self {
        Self {
            code: CODE.to_owned(),
            message: "the scenario's mock says so".to_owned(),
            retryable: true,
            details: None,
        }
    }
}

impl Mocks {
    /// Reads them.
    ///
    /// # Errors
    /// What is wrong with which.
    pub(crate) fn read(specs: &MockSpecs) -> Result<Self, String> {
        let read = |kind: &str, specs: &BTreeMap<String, Json>| {
            let mocks = specs.iter().map(|(name, json)| {
                let mock = Mock::read(json).map_err(|why| format!("mocks.{kind}.{name}: {why}"))?;
                Ok((name.clone(), mock))
            });
            mocks.collect::<Result<BTreeMap<String, Mock>, String>>()
        };
        Ok(Self {
            plugins: read("plugins", &specs.plugins)?,
            workflows: read("workflows", &specs.workflows)?,
            given: BTreeMap::new(),
        })
    }

    /// The workflows that are mocked, and the names of inputs that their mocks give.
    pub(crate) fn workflows(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.workflows.iter().map(|(name, mock)| (name.as_str(), mock.inputs.as_slice()))
    }

    /// Adds what stands for a workflow, unless there is something already.
    ///
    /// # Errors
    /// The answer is none.
    pub(crate) fn add_workflow(&mut self, name: &str, answer: &Json) -> Result<(), String> {
        if !self.workflows.contains_key(name) {
            self.workflows.insert(name.to_owned(), Mock::read(answer)?);
        }
        Ok(())
    }

    /// Answers a call.
    ///
    /// # Errors
    /// There is no answer for it.
    pub(crate) fn answer(&mut self, asked: Asked<'_>) -> Result<Reply, Unanswered> {
        if let Some(reply) = self.given.get(asked.attempt) {
            return Ok(reply.clone());
        }
        let mock = match asked.target {
            Target::Plugin(name, action) => {
                let exact = format!("{name}.{action}");
                let key = if self.plugins.contains_key(&exact) { &exact } else { name };
                self.plugins.get_mut(key)
            }
            Target::Workflow(name) => self.workflows.get_mut(name),
        };
        let Some(mock) = mock else { return Err(Unanswered::no_mock(asked)) };
        let reply = mock.answer(asked)?;
        self.given.insert(asked.attempt.clone(), reply.clone());
        Ok(reply)
    }
}

impl Mock {
    fn read(json: &Json) -> Result<Self, String> {
        let one = |answers| Self {
            answers,
            default: None,
            latency: Span::default(),
            inputs: Vec::new(),
            module: None,
            calls: 0,
        };
        if let Some(list) = json.as_array() {
            return Ok(one(sequence(list)?));
        }
        let is_long = ["answers", "default"].iter().any(|key| json.get(key).is_some());
        if !is_long {
            return Ok(one(vec![Answer::read(json)?]));
        }
        let Long { answers, default, latency, inputs, module } = parse(json)?;
        let answers: Result<Vec<Answer>, String> = answers
            .iter()
            .enumerate()
            .map(|(n, json)| Answer::read(json).map_err(|why| format!("answers[{n}]: {why}")))
            .collect();
        let default = default.as_ref().map(Answer::read).transpose();
        let default = default.map_err(|why| format!("default: {why}"))?;
        Ok(Self { answers: answers?, default, latency, inputs, module, calls: 0 })
    }

    fn answer(&mut self, asked: Asked<'_>) -> Result<Reply, Unanswered> {
        self.calls += 1;
        let found = self.answers.iter().find(|answer| answer.is_for(self.calls, asked));
        match found.or(self.default.as_ref()) {
            Some(answer) => answer
                .reply(self.calls, asked, self.latency)
                .map(|reply| Reply { tape: answer.tape.clone().zip(self.module.clone()), ..reply })
                .map_err(|why| Unanswered::not_computed(asked, &why)),
            None => Err(Unanswered::none_left(asked, self.calls)),
        }
    }
}

/// Answers that are given in turn.
fn sequence(list: &[Json]) -> Result<Vec<Answer>, String> {
    let answers = list.iter().enumerate().map(|(n, json)| {
        let mut answer = Answer::read(json).map_err(|why| format!("[{n}]: {why}"))?;
        if answer.call.is_some() {
            return Err(format!("[{n}]: a list is in the order of calls; leave `call` out"));
        }
        answer.call = Some(Calls::One(u32::try_from(n + 1).unwrap_or(u32::MAX)));
        Ok(answer)
    });
    answers.collect()
}

impl Answer {
    fn read(json: &Json) -> Result<Self, String> {
        let answer: Self = parse(json)?;
        let ways = [
            answer.output.is_some(),
            answer.compute.is_some(),
            answer.error.is_some(),
            answer.hang,
        ];
        if ways.iter().filter(|way| **way).count() != 1 {
            return Err("an answer has exactly one of output, compute, error, hang".to_owned());
        }
        if let Some(error) = &answer.error {
            run_error(error)?;
        }
        if let Some(source) = &answer.compute {
            Expr::compile(source).map_err(|error| format!("compute: {error}"))?;
        }
        Ok(answer)
    }

    fn is_for(&self, call: u32, asked: Asked<'_>) -> bool {
        let path = &asked.attempt.step.0;
        let call_fits = self.call.as_ref().is_none_or(|calls| match calls {
            Calls::One(one) => *one == call,
            Calls::Several(several) => several.contains(&call),
        });
        call_fits
            && self.attempt.is_none_or(|attempt| attempt == asked.attempt.attempt)
            && self.step.as_ref().is_none_or(|step| step == path || step == super::last_id(path))
            && self.input.as_ref().is_none_or(|part| contains(part, asked.input))
    }

    fn reply(&self, call: u32, asked: Asked<'_>, latency: Span) -> Result<Reply, String> {
        let outcome = if let Some(error) = &self.error {
            Some(AttemptOutcome::Failed { error: run_error(error)? })
        } else if let Some(source) = &self.compute {
            let output = JsonText::of(&compute(source, call, asked)?);
            Some(AttemptOutcome::Succeeded { output, vars: None })
        } else {
            let output = self.output.as_ref().map(JsonText::of);
            output.map(|output| AttemptOutcome::Succeeded { output, vars: None })
        };
        let latency_ms = self.latency.unwrap_or(latency).0;
        Ok(Reply { outcome, latency_ms, ignores_stop: self.ignores_stop, tape: None })
    }
}

fn compute(source: &str, call: u32, asked: Asked<'_>) -> Result<Json, String> {
    let names = BTreeMap::from([
        ("input".to_owned(), Value::from_json(asked.input)),
        ("call".to_owned(), Value::Int(call.into())),
        ("attempt".to_owned(), Value::Int(asked.attempt.attempt.into())),
        ("step".to_owned(), Value::from(asked.attempt.step.0.as_str())),
    ]);
    let expr = Expr::compile(source).map_err(|error| error.to_string())?;
    let value = expr.eval(&names).map_err(|error| error.to_string())?;
    value.to_json().map_err(|error| error.to_string())
}

fn run_error(json: &Json) -> Result<RunError, String> {
    let long = match json.as_str() {
        Some(code) => ErrorLong { code: code.to_owned(), ..ErrorLong::default() },
        None => parse(json).map_err(|why| format!("error: {why}"))?,
    };
    let mut error = RunError::new(long.code, long.message);
    error.retryable = long.retryable;
    error.details = long.details.as_ref().map(JsonText::of);
    Ok(error)
}

fn parse<T: DeserializeOwned>(json: &Json) -> Result<T, String> {
    serde_json::from_value(json.clone()).map_err(|error| error.to_string())
}

impl Unanswered {
    fn no_mock(asked: Asked<'_>) -> Self {
        let (kind, name) = called(asked.target);
        let who = caller(asked);
        let message = format!("{who} {kind} `{name}`, and the scenario has no mock for it");
        Self { message, snippet: snippet(asked.target) }
    }

    fn none_left(asked: Asked<'_>, call: u32) -> Self {
        let (kind, name) = called(asked.target);
        Self {
            message: format!(
                "{} {kind} `{name}` (call {call}, attempt {}) with {}, and none of the mock's \
                 answers is for that",
                caller(asked),
                asked.attempt.attempt,
                super::compare::short(asked.input),
            ),
            snippet: format!("    default: {}", json!({ "output": {} })),
        }
    }

    fn not_computed(asked: Asked<'_>, why: &str) -> Self {
        let (kind, name) = called(asked.target);
        Self {
            message: format!("the answer of {kind} `{name}` cannot be computed: {why}"),
            snippet: String::new(),
        }
    }
}

/// Who calls. The run of a mocked workflow has steps that nobody wrote.
fn caller(asked: Asked<'_>) -> String {
    match asked.target {
        Target::Plugin(..) => format!("step `{}` calls", asked.attempt.step),
        Target::Workflow(_) => "a step calls".to_owned(),
    }
}

fn called(target: Target<'_>) -> (&'static str, String) {
    match target {
        Target::Plugin(name, "execute") => ("plugin", name.to_owned()),
        Target::Plugin(name, action) => ("plugin", format!("{name}.{action}")),
        Target::Workflow(name) => ("workflow", name.to_owned()),
    }
}

/// What to write into a scenario that has no mock for this.
fn snippet(target: Target<'_>) -> String {
    let (kind, name) = called(target);
    let output = if kind == "plugin" { "output" } else { "outputs" };
    format!("mocks:\n  {kind}s:\n    {name}: {{ {output}: {{}} }}")
}

#[cfg(test)]
mod tests {
    use openclaw_protocol::id::{Epoch, RunId};
    use openclaw_protocol::run::StepPath;

    use super::*;

    fn mocks(plugins: Json) -> Result<Mocks, String> {
        Mocks::read(&serde_json::from_value(json!({ "plugins": plugins })).unwrap())
    }

    fn attempt(step: &str, attempt: u32) -> AttemptId {
        AttemptId { run: RunId::of(Epoch(0), 1), step: StepPath(step.to_owned()), attempt }
    }

    /// What the call gives: the output, the error's code, `hangs` or `nothing`.
    fn call(mocks: &mut Mocks, step: &str, n: u32, input: Json) -> Json {
        let attempt = attempt(step, n);
        let target = Target::Plugin("http", "get");
        match mocks.answer(Asked { target, attempt: &attempt, input: &input }) {
            Err(_) => json!("nothing"),
            Ok(Reply { outcome: None, .. }) => json!("hangs"),
            Ok(Reply { outcome: Some(AttemptOutcome::Failed { error }), .. }) => json!(error.code),
            Ok(Reply { outcome: Some(AttemptOutcome::Succeeded { output, .. }), .. }) => {
                output.value()
            }
        }
    }

    #[test]
    fn a_list_is_given_in_turn_and_ends() {
        let mut mocks =
            mocks(json!({ "http": [{ "error": "http.status" }, { "output": 2 }] })).unwrap();
        assert_eq!(call(&mut mocks, "a", 1, json!({})), "http.status");
        // The same attempt again, after an interruption: no other call.
        assert_eq!(call(&mut mocks, "a", 1, json!({})), "http.status");
        assert_eq!(call(&mut mocks, "a", 2, json!({})), 2);
        assert_eq!(call(&mut mocks, "a", 3, json!({})), "nothing");
    }

    #[test]
    fn the_first_answer_that_fits_is_given() {
        let mut mocks = mocks(json!({ "http": { "output": "whole plugin" }, "http.get": {
            "latency": "1s",
            "answers": [
                { "input": { "url": "x", "tags": [1] }, "output": "matched" },
                { "step": "b", "attempt": 2, "hang": true },
                { "call": [3, 4], "output": "third or fourth" },
                { "step": "c", "compute": "input.n * 2 + call" },
            ],
            "default": { "output": null },
        } }))
        .unwrap();
        assert_eq!(
            call(&mut mocks, "a", 1, json!({ "url": "x", "tags": [1], "more": 0 })),
            "matched"
        );
        assert_eq!(call(&mut mocks, "s#2/b", 2, json!({ "url": "x", "tags": [1, 2] })), "hangs");
        assert_eq!(call(&mut mocks, "z", 1, json!(null)), "third or fourth");
        assert_eq!(call(&mut mocks, "y", 1, json!(null)), "third or fourth");
        assert_eq!(call(&mut mocks, "c", 1, json!({ "n": 10 })), 25);
        assert_eq!(call(&mut mocks, "x", 1, json!(null)), Json::Null);
    }

    #[test]
    fn what_is_missing_is_said_with_what_to_write() {
        let mut none = mocks(json!({})).unwrap();
        let attempt = attempt("a", 1);
        let asked =
            Asked { target: Target::Plugin("http", "get"), attempt: &attempt, input: &Json::Null };
        let missing = none.answer(asked).unwrap_err();
        assert!(
            missing.message.contains("step `a` calls plugin `http.get`"),
            "{}",
            missing.message
        );
        assert_eq!(missing.snippet, "mocks:\n  plugins:\n    http.get: { output: {} }");
    }

    #[test]
    fn a_mock_that_says_two_things_or_none_is_refused() {
        for (mock, reason) in [
            (json!({}), "exactly one"),
            (json!({ "output": 1, "error": "x" }), "exactly one"),
            (json!({ "output": 1, "delay": 1 }), "unknown field `delay`"),
            (json!([{ "call": 1, "output": 1 }]), "leave `call` out"),
            (json!({ "answers": [{ "compute": "1 +" }] }), "answers[0]: compute:"),
            (json!({ "error": { "kode": "x" } }), "unknown field `kode`"),
            (json!({ "output": 1, "latency": "soon" }), "not a duration"),
        ] {
            let error = mocks(json!({ "http": mock })).unwrap_err();
            assert!(error.contains(reason) && error.starts_with("mocks.plugins.http: "), "{error}");
        }
    }
}
