//! Task states: calls of plugins that stand for what a `Resource` names.

use serde_json::{Map, Value as Json, json};

use super::Translator;
use super::context::{Asker, context, token};
use super::errors;
use super::ids;
use super::path::quote;
use super::read::Reader;
use super::states::State;
use super::value::{Frame, Val};

/// What a Task may take that says nothing of it: the longest that service knows.
pub(super) const LONGEST: &str = "99999999s";

/// Ends what runs beside a task that is done; no error that anybody sees.
const DONE: &str = "user.asl.done";

/// How long a task may take.
#[derive(Debug, PartialEq, Eq)]
enum Timeout {
    /// So many seconds.
    Known(u64),
    /// Seconds, by an expression.
    Computed(String),
}

/// What a task does, and how.
#[derive(Debug, PartialEq, Eq)]
struct Resource {
    /// The plugin's name with its action.
    plugin: String,
    /// It is done when somebody sends its token back.
    waits: bool,
}

impl Resource {
    /// The plugin that stands for a resource:
    ///
    /// | resource | plugin |
    /// |---|---|
    /// | `arn:aws:lambda:…:function:NAME` | `asl-function.NAME` |
    /// | `arn:aws:states:…:activity:NAME` | `asl-activity.NAME` |
    /// | `arn:aws:states:::sqs:sendMessage` | `asl-sqs.sendMessage` |
    /// | `arn:aws:states:::aws-sdk:dynamodb:putItem` | `asl-aws-sdk-dynamodb.putItem` |
    /// | anything else | `asl-task.` and the text |
    fn of(text: &str) -> Self {
        let (text, waits) = match text.strip_suffix(".waitForTaskToken") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (service, operation) = match parts[..] {
            ["arn", _, "lambda", _, _, "function", ref name @ ..] => {
                ("function".to_owned(), name.join("-"))
            }
            ["arn", _, "states", _, _, "activity", ref name @ ..] => {
                ("activity".to_owned(), name.join("-"))
            }
            ["arn", _, "states", _, _, "aws-sdk", service, ref operation @ ..] => {
                (format!("aws-sdk-{service}"), operation.join("-"))
            }
            ["arn", _, "states", _, _, service, ref operation @ ..] => {
                (service.to_owned(), operation.join("-"))
            }
            _ => ("task".to_owned(), text.to_owned()),
        };
        let plugin = format!("asl-{}.{}", ids::slug(&service), ids::action(&operation));
        Self { plugin, waits }
    }
}

/// The plugin, with its action, that stands for a resource.
#[must_use]
pub fn plugin_of(resource: &str) -> String {
    Resource::of(resource).plugin
}

impl Translator {
    pub(super) fn task(
        &mut self,
        state: &State<'_>,
        reader: &mut Reader<'_>,
        step: &mut Map<String, Json>,
    ) {
        let Some(resource) = reader.text(self, "Resource") else {
            self.problem(&state.at, "a Task state needs a `Resource`");
            return;
        };
        let resource = Resource::of(&resource);
        if reader.take("Credentials").is_some() {
            self.note(
                &reader.at("Credentials"),
                "roles mean nothing here; a plugin has its grants",
            );
        }
        let signal = resource.waits.then(|| signal_of(state));
        let token = signal.as_ref().map(token);
        let input = self.input(state, reader);
        let retries = Val::Literal(json!(0));
        let asker = Asker { name: state.name, retries: Some(&retries), token: token.as_ref() };
        let frame = Frame { document: input.clone(), context: context(state.scope, &asker) };
        let with = match reader.take("Parameters") {
            Some(parameters) => self.payload(&frame, parameters, &reader.at("Parameters")),
            None => input,
        };
        let timeout = self.task_timeout(&frame, reader);
        let mut work = Map::new();
        work.insert("plugin".to_owned(), json!(resource.plugin));
        work.insert("with".to_owned(), with.template());
        let mut raw = Val::Expr("output".to_owned());
        if let Some(signal) = signal {
            let (steps, answer) = self.token_steps(state, work, &signal);
            let output = format!("${{{answer}.output}}");
            work = Map::from_iter([
                ("sequence".to_owned(), steps),
                ("output".to_owned(), json!(output)),
            ]);
        }
        match timeout {
            None => {}
            Some(Timeout::Known(seconds)) => {
                work.insert("timeout".to_owned(), json!(format!("{seconds}s")));
            }
            Some(Timeout::Computed(seconds)) => {
                let result = self.internal("result");
                work = self.timed(state, work, &seconds, &result);
                raw = Val::Expr(format!("vars.{result}"));
            }
        }
        step.append(&mut work);
        self.result(state, reader, step, &raw);
    }

    /// A task with a timeout that is known at run time only: it runs beside a delay, and the first
    /// to end ends both, by an error. That of the task carries its result.
    fn timed(
        &mut self,
        state: &State<'_>,
        work: Map<String, Json>,
        seconds: &str,
        result: &str,
    ) -> Map<String, Json> {
        let mut id = |what: &str| self.ids.fresh(&format!("{}_{what}", state.id));
        let (beside, call, done) = (id("timed"), id("call"), id("done"));
        let (timer, timeout, caught) = (id("timer"), id("timeout"), id("result"));
        let mut first = Map::from_iter([("id".to_owned(), json!(call))]);
        first.extend(work);
        let details = format!("${{steps.{call}.output}}");
        let finished = json!({"code": DONE, "message": "done in time", "details": details});
        let late = json!({
            "code": errors::code_of("States.Timeout"),
            "message": "the task took longer than it may",
        });
        let branches = json!([
            [first, {"id": done, "fail": finished}],
            [
                {"id": timer, "delay": format!("${{uint(string({seconds}))}}")},
                {"id": timeout, "fail": late},
            ],
        ]);
        let catch = json!([{
            "errors": [DONE],
            "do": [{"id": caught, "set": {result: "${error.details}"}}],
        }]);
        Map::from_iter([
            ("try".to_owned(), json!([{"id": beside, "parallel": {"branches": branches}}])),
            ("catch".to_owned(), catch),
        ])
    }

    /// The call that gives the token away, the wait for an answer, and the error that it may be;
    /// and what leads to the answer.
    fn token_steps(
        &mut self,
        state: &State<'_>,
        mut call: Map<String, Json>,
        signal: &Val,
    ) -> (Json, String) {
        let mut first = Map::new();
        first.insert("id".to_owned(), json!(self.ids.fresh(&format!("{}_call", state.id))));
        first.append(&mut call);
        let answer = self.ids.fresh(&format!("{}_answer", state.id));
        let data = format!("steps.{answer}.output.message.data");
        let error = format!("{data}.error");
        let failure = json!({
            "code": format!("user.${{{}}}", errors::code_expr(&error)),
            "message": format!("${{get({data}, 'cause', '')}}"),
            "details": {"Error": format!("${{{error}}}")},
        });
        let steps = json!([
            first,
            {"id": answer, "wait": {"signal": signal.template()}},
            {
                "id": self.ids.fresh(&format!("{}_failed", state.id)),
                "condition": format!("has({data}.error)"),
                "then": [{"id": self.ids.fresh(&format!("{}_error", state.id)), "fail": failure}],
            },
        ]);
        (steps, data)
    }

    /// How long a task may take. Steps of ours give no signs of life, so a task that has to give
    /// them is bounded by the shorter time.
    fn task_timeout(&mut self, frame: &Frame, reader: &mut Reader<'_>) -> Option<Timeout> {
        let mut known: Option<u64> = None;
        let mut computed = Vec::new();
        for key in ["TimeoutSeconds", "HeartbeatSeconds"] {
            let by_path = format!("{key}Path");
            if key == "HeartbeatSeconds" && (reader.has(key) || reader.has(&by_path)) {
                let reason = "steps give no signs of life: this is the longest that it may take";
                self.note(&reader.at(key), reason);
            }
            if let Some(seconds) = reader.seconds(self, key) {
                known = Some(known.map_or(seconds, |known| known.min(seconds)));
            }
            if let Some(path) = reader.text(self, &by_path) {
                let at = reader.at(&by_path);
                computed.extend(self.resolve(frame, &path, &at).map(|seconds| seconds.expr()));
            }
        }
        if computed.is_empty() {
            return known.map(Timeout::Known);
        }
        computed.extend(known.map(|seconds| seconds.to_string()));
        Some(Timeout::Computed(match &computed[..] {
            [one] => one.clone(),
            several => format!("math.min({})", several.join(", ")),
        }))
    }
}

/// The signal that answers a task token: the step's id, and which iteration it is in.
fn signal_of(state: &State<'_>) -> Val {
    let Some(item) = &state.scope.item else { return Val::Literal(json!(state.id)) };
    let indices = item.indices.iter().map(|index| format!("string({index})"));
    let parts: Vec<String> = std::iter::once(quote(state.id)).chain(indices).collect();
    Val::Expr(format!("[{}].join('/')", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_have_plugins() {
        for (resource, plugin) in [
            ("arn:aws:lambda:us-east-1:000000000000:function:my_Fn", "asl-function.my_Fn"),
            ("arn:aws:lambda:us-east-1:000000000000:function:f:live", "asl-function.f-live"),
            ("arn:aws:states:us-east-1:000000000000:activity:a", "asl-activity.a"),
            ("arn:aws:states:::lambda:invoke", "asl-lambda.invoke"),
            ("arn:aws:states:::states:startExecution.sync:2", "asl-states.startExecution-sync-2"),
            ("arn:aws:states:::aws-sdk:sfn:startExecution", "asl-aws-sdk-sfn.startExecution"),
            ("arn:aws:states:::sqs:sendMessage.waitForTaskToken", "asl-sqs.sendMessage"),
            ("what is this?", "asl-task.what-is-this-"),
        ] {
            assert_eq!(plugin_of(resource), plugin, "{resource}");
        }
        assert!(Resource::of("arn:aws:states:::sqs:sendMessage.waitForTaskToken").waits);
    }
}
