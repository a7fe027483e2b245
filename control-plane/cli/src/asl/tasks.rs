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

/// What a Task may take that says nothing of it, in seconds: the longest that service knows.
pub(super) const LONGEST_S: u64 = 99_999_999;

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
            ["arn", _, "lambda", _, _, "function", ref name @ ..] => ("function".to_owned(), name.join("-")),
            ["arn", _, "states", _, _, "activity", ref name @ ..] => ("activity".to_owned(), name.join("-")),
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
            self.note(&reader.at("Credentials"), "roles mean nothing here; a plugin has its grants");
        }
        let signal = resource.waits.then(|| signal_of(state));
        let token = signal.as_ref().map(token);
        let input = self.input(state, reader);
        let retries = Val::Literal(json!(0));
        let asker =
            Asker { name: state.name, retries: Some(&retries), token: token.as_ref() };
        let frame = Frame { document: input.clone(), context: context(state.scope, &asker) };
        let with = match reader.take("Parameters") {
            Some(parameters) => self.payload(&frame, parameters, &reader.at("Parameters")),
            None => input,
        };
        let timeout = self.task_timeout(reader);
        let mut call = Map::new();
        call.insert("plugin".to_owned(), json!(resource.plugin));
        call.insert("with".to_owned(), with.template());
        let Some(signal) = signal else {
            step.append(&mut call);
            self.result(state, reader, step, &Val::Expr("output".to_owned()));
            if let Some(timeout) = timeout {
                step.insert("timeout".to_owned(), json!(timeout));
            }
            return;
        };
        let steps = self.token_steps(state, call, &signal);
        let answer = format!("steps.{}_answer.output.message.data", state.id);
        step.insert("sequence".to_owned(), steps);
        self.result(state, reader, step, &Val::Expr(format!("{answer}.output")));
        step.insert("timeout".to_owned(), json!(timeout.unwrap_or(format!("{LONGEST_S}s"))));
    }

    /// The call that gives the token away, the wait for an answer, and the error that it may be.
    fn token_steps(&mut self, state: &State<'_>, mut call: Map<String, Json>, signal: &Val) -> Json {
        let mut first = Map::new();
        first.insert("id".to_owned(), json!(self.ids.fresh(&format!("{}_call", state.id))));
        first.append(&mut call);
        let answer = self.ids.fresh(&format!("{}_answer", state.id));
        let data = format!("steps.{answer}.output.message.data");
        let error = format!("{data}.error");
        let failure = json!({
            "code": format!("user.${{{}}}", errors::code_expr(&error)),
            "message": format!("${{get({data}, \"cause\", \"\")}}"),
            "details": {"Error": format!("${{{error}}}")},
        });
        json!([
            first,
            {"id": answer, "wait": {"signal": signal.template()}},
            {
                "id": self.ids.fresh(&format!("{}_failed", state.id)),
                "condition": format!("has({data}.error)"),
                "then": [{"id": self.ids.fresh(&format!("{}_error", state.id)), "fail": failure}],
            },
        ])
    }

    /// How long a task may take. Steps of ours give no signs of life, so a task that has to give
    /// them is bounded by the shorter time.
    fn task_timeout(&mut self, reader: &mut Reader<'_>) -> Option<String> {
        for key in ["TimeoutSecondsPath", "HeartbeatSecondsPath"] {
            if reader.take(key).is_some() {
                self.problem(&reader.at(key), "the timeout of a step must be known beforehand");
            }
        }
        let timeout = reader.seconds(self, "TimeoutSeconds");
        let heartbeat = reader.seconds(self, "HeartbeatSeconds");
        if heartbeat.is_some() {
            let reason = "steps give no signs of life: this is the longest that the step may take";
            self.note(&reader.at("HeartbeatSeconds"), reason);
        }
        let bound = match (timeout, heartbeat) {
            (Some(timeout), Some(heartbeat)) => Some(timeout.min(heartbeat)),
            (timeout, heartbeat) => timeout.or(heartbeat),
        };
        bound.map(|seconds| format!("{seconds}s"))
    }
}

/// The signal that answers a task token: the step's id, and which iteration it is in.
fn signal_of(state: &State<'_>) -> Val {
    let Some(item) = &state.scope.item else { return Val::Literal(json!(state.id)) };
    let indices = item.indices.iter().map(|index| format!("string({index})"));
    let parts: Vec<String> = std::iter::once(quote(state.id)).chain(indices).collect();
    Val::Expr(format!("[{}].join(\"/\")", parts.join(", ")))
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
