//! Kinds that reach beyond the run: wait, call, publish, emit, approval, log; and those that end
//! it.

use serde_json::{Value as Json, json};

use crate::definition::draft::Draft;
use crate::definition::draft::fields::Fields;
use crate::definition::draft::names::Giver;
use crate::definition::draft::problem::ProblemCode;
use crate::definition::draft::read::excerpt;
use crate::definition::draft::tree::Node;
use crate::definition::draft::values::written;
use crate::definition::model::{
    Approval, Call, InputSpec, LogLevel, Publish, StepKind, Wait, WaitSource,
};
use crate::expr::Template;
use crate::id::WorkflowName;
use crate::limits;
use crate::ordered::VecMap;
use crate::topic;

impl Draft {
    pub(super) fn wait(&mut self, head: &Node) -> Option<StepKind> {
        let mut fields = Fields::of(head, "`wait`", &mut self.problems)?;
        let is_question = fields.has("until");
        let source = self.wait_source(&mut fields);
        if is_question {
            let reason = "`until` waits for no message, but asks for itself";
            self.misplaced(&mut fields, &["when", "count"], reason);
        } else {
            self.misplaced(&mut fields, &["poll"], "only `until` is asked again and again");
        }
        let when = fields.take_set("when").map(|node| {
            let names = ["message", "event"];
            self.seeing(Giver::Place, &names, |draft| draft.expr(node, "when"))
        });
        let most = limits::WAIT_MESSAGES;
        let count = fields.take_set("count").map(|node| self.whole(node, "count", 1..=most));
        let words = ["fail", "continue"];
        let on_timeout = fields.take_set("on_timeout");
        let on_timeout = on_timeout.map(|node| self.choice::<String>(node, "on_timeout", &words));
        fields.finish(&[], &mut self.problems);
        Some(StepKind::Wait(Wait {
            source: source?,
            when: written(when)?,
            count: count.unwrap_or(Some(1))?,
            continue_on_timeout: written(on_timeout)?.is_some_and(|word| word == "continue"),
        }))
    }

    fn wait_source(&mut self, fields: &mut Fields<'_>) -> Option<WaitSource> {
        let at = fields.at;
        let keys = ["mqtt", "event", "signal", "until"];
        let mut given: Vec<(&str, &Node)> =
            keys.iter().filter_map(|key| Some((*key, fields.take_set(key)?))).collect();
        let (Some((key, node)), true) = (given.pop(), given.is_empty()) else {
            let message = "`wait` needs exactly one of `mqtt`, `event`, `signal` and `until`";
            let suggestion = "wait for several at once with a `parallel` of mode `race`";
            self.problems.suggest(ProblemCode::MissingKey, at, message, suggestion);
            return None;
        };
        match key {
            "mqtt" => self.wait_mqtt(node),
            "event" => self.event_name(node, key).map(|name| WaitSource::Event { name }),
            "signal" => self.event_name(node, key).map(|name| WaitSource::Signal { name }),
            _ => {
                let expr = self.expr(node, key);
                let poll = fields.take_set("poll").map(|node| self.poll(node));
                let poll_ms = poll.unwrap_or(Some(limits::POLL_MS))?;
                Some(WaitSource::Until { expr: expr?, poll_ms })
            }
        }
    }

    fn wait_mqtt(&mut self, node: &Node) -> Option<WaitSource> {
        if node.map().is_none() {
            let topic = self.topic_template(node, "mqtt", topic::check_filter)?;
            return Some(WaitSource::Mqtt { topic, qos: 0 });
        }
        let mut fields = Fields::of(node, "`mqtt`", &mut self.problems)?;
        let topic = fields.need("topic", "topic: site/a/+/state", &mut self.problems);
        let topic = topic.and_then(|node| self.topic_template(node, "topic", topic::check_filter));
        let qos = fields.take_set("qos").map(|node| self.qos(node));
        fields.finish(&[], &mut self.problems);
        Some(WaitSource::Mqtt { topic: topic?, qos: written(qos)?.unwrap_or(0) })
    }

    fn poll(&mut self, node: &Node) -> Option<u64> {
        let ms = self.duration(node, "poll")?;
        if ms < limits::POLL_LEAST_MS {
            let message = format!("`poll` is at least {} s", limits::POLL_LEAST_MS / 1_000);
            self.problems.add(ProblemCode::Value, node.at, message);
            return None;
        }
        Some(ms)
    }

    /// A quality of service that the local broker gives.
    pub(in crate::definition::draft) fn qos(&mut self, node: &Node) -> Option<u8> {
        u8::try_from(self.whole(node, "qos", 0..=1)?).ok()
    }

    /// A topic or topic filter; where it is written out it is checked.
    fn topic_template(
        &mut self,
        node: &Node,
        key: &str,
        check: fn(&str) -> Result<(), &'static str>,
    ) -> Option<Template> {
        let template = self.text_template(node, key)?;
        if let Some(Err(reason)) = literal(&template).as_deref().map(check) {
            let message = format!("`{key}`: {reason}");
            self.problems.add(ProblemCode::Value, node.at, message);
            return None;
        }
        Some(template)
    }

    /// The name of an event or signal; where it is written out it is checked.
    fn event_name(&mut self, node: &Node, key: &str) -> Option<Template> {
        let template = self.text_template(node, key)?;
        match literal(&template) {
            Some(name) => self.is_event_name(node, key, &name).then_some(template),
            None => Some(template),
        }
    }

    /// Whether a text can be the name of an event or signal.
    pub(in crate::definition::draft) fn is_event_name(
        &mut self,
        node: &Node,
        key: &str,
        name: &str,
    ) -> bool {
        let most = limits::EVENT_NAME_BYTES;
        let is_name = !name.is_empty()
            && name.len() <= most
            && !name.contains(|c: char| c.is_whitespace() || c.is_control());
        if !is_name {
            let message = format!("`{key}` must be a name of 1 to {most} bytes without blanks");
            self.problems.add(ProblemCode::Value, node.at, message);
        }
        is_name
    }

    pub(super) fn call(&mut self, head: &Node, parts: &mut Fields<'_>) -> Option<StepKind> {
        let workflow = self.name(head, "call", WorkflowName::parse);
        let with = parts.take_set("with");
        let with = self.map_template(with, "with", "a map of the workflow's inputs");
        let detach = parts.take_set("detach").map(|node| self.flag(node, "detach"));
        let close = parts.take_set("on_parent_close");
        let words = ["cancel", "abandon"];
        let close = close.map(|node| self.choice::<String>(node, "on_parent_close", &words));
        Some(StepKind::Call(Call {
            workflow: workflow?,
            with: with?,
            detach: detach.unwrap_or(Some(false))?,
            abandon: written(close)?.is_some_and(|word| word == "abandon"),
        }))
    }

    pub(super) fn publish(&mut self, head: &Node) -> Option<StepKind> {
        let mut fields = Fields::of(head, "`publish`", &mut self.problems)?;
        let topic = fields.need("topic", "topic: site/a/state", &mut self.problems);
        let topic = topic.and_then(|node| self.topic_template(node, "topic", topic::check_name));
        let qos = fields.take_set("qos").map(|node| self.qos(node));
        let retain = fields.take_set("retain").map(|node| self.flag(node, "retain"));
        let payload = match fields.take("payload") {
            Some(node) => self.template(node, "payload"),
            None => Template::compile(&json!("")).ok(),
        };
        let confirm = fields.take_set("confirm");
        let words = ["stored", "broker"];
        let confirm = confirm.map(|node| self.choice::<String>(node, "confirm", &words));
        fields.finish(&[], &mut self.problems);
        Some(StepKind::Publish(Publish {
            topic: topic?,
            qos: written(qos)?.unwrap_or(0),
            retain: retain.unwrap_or(Some(false))?,
            payload: payload?,
            confirm_broker: written(confirm)?.is_some_and(|word| word == "broker"),
        }))
    }

    pub(super) fn emit(&mut self, head: &Node) -> Option<StepKind> {
        let nothing = || Template::compile(&Json::Null).ok();
        if head.map().is_none() {
            let event = self.event_name(head, "emit")?;
            return Some(StepKind::Emit { event, data: nothing()? });
        }
        let mut fields = Fields::of(head, "`emit`", &mut self.problems)?;
        let event = fields.need("event", "event: some.name", &mut self.problems);
        let event = event.and_then(|node| self.event_name(node, "event"));
        let data = match fields.take("data") {
            Some(node) => self.template(node, "data"),
            None => nothing(),
        };
        fields.finish(&[], &mut self.problems);
        Some(StepKind::Emit { event: event?, data: data? })
    }

    pub(super) fn approval(&mut self, head: &Node) -> Option<StepKind> {
        let usual = || vec!["approve".to_owned(), "reject".to_owned()];
        if head.map().is_none() {
            let prompt = self.text_template(head, "approval")?;
            let (roles, form) = (Vec::new(), VecMap::new());
            let (choices, remind_ms, on_timeout) = (usual(), None, None);
            let asked = Approval { prompt, roles, choices, form, remind_ms, on_timeout };
            return Some(StepKind::Approval(asked));
        }
        let mut fields = Fields::of(head, "`approval`", &mut self.problems)?;
        let prompt = fields.need("prompt", "prompt: Restart the pump?", &mut self.problems);
        let prompt = prompt.and_then(|node| self.text_template(node, "prompt"));
        let roles = fields.take_set("roles").map(|node| self.texts(node, "roles"));
        let choices = fields.take_set("choices").map(|node| self.choices(node));
        let choices = choices.unwrap_or_else(|| Some(usual()));
        let form = fields.take_set("form").map(|node| self.form(node));
        let remind = fields.take_set("remind").map(|node| self.bound(node, "remind"));
        let on_timeout = fields.take_set("on_timeout");
        let on_timeout = on_timeout.map(|node| match &choices {
            Some(choices) => {
                let words: Vec<&str> = choices.iter().map(String::as_str).collect();
                self.choice::<String>(node, "on_timeout", &words)
            }
            None => None,
        });
        fields.finish(&[], &mut self.problems);
        Some(StepKind::Approval(Approval {
            prompt: prompt?,
            roles: roles.unwrap_or(Some(Vec::new()))?,
            choices: choices?,
            form: written(form)?.unwrap_or_default(),
            remind_ms: written(remind)?,
            on_timeout: written(on_timeout)?,
        }))
    }

    /// What people may answer.
    fn choices(&mut self, node: &Node) -> Option<Vec<String>> {
        let items = self.items(node, "choices", "a list of answers", limits::CHOICES)?;
        let mut choices: Vec<String> = Vec::new();
        for item in items {
            let choice = self.text(item, "choices")?;
            let message = if choice.trim().is_empty() || choice.len() > limits::ID_BYTES {
                format!("an answer has 1 to {} bytes", limits::ID_BYTES)
            } else if choices.contains(&choice) {
                format!("the answer `{choice}` is here twice; remove one")
            } else {
                choices.push(choice);
                continue;
            };
            self.problems.add(ProblemCode::Value, item.at, message);
            return None;
        }
        Some(choices)
    }

    /// What people may fill in, as `inputs` are declared.
    fn form(&mut self, node: &Node) -> Option<VecMap<String, InputSpec>> {
        let Some(entries) = node.map() else {
            return self.wrong_type(node, "form", "a map from names to schemas");
        };
        let mut form = Vec::new();
        for entry in entries {
            self.variable_name("a field", &entry.key, entry.at);
            let field = self.input("field", &entry.key, &entry.value);
            form.extend(field.map(|spec| (entry.key.clone(), spec)));
        }
        (form.len() == entries.len()).then(|| form.into_iter().collect())
    }

    pub(super) fn log(&mut self, head: &Node) -> Option<StepKind> {
        let no_fields = || Template::compile(&json!({})).ok();
        if head.map().is_none() {
            let message = self.text_template(head, "log")?;
            return Some(StepKind::Log { level: LogLevel::Info, message, fields: no_fields()? });
        }
        let mut fields = Fields::of(head, "`log`", &mut self.problems)?;
        let words = ["debug", "info", "warn", "error"];
        let level = fields.take_set("level").map(|node| self.choice(node, "level", &words));
        let message = fields.need("message", "message: what happened", &mut self.problems);
        let message = message.and_then(|node| self.text_template(node, "message"));
        let given = fields.take_set("fields");
        let given = self.map_template(given, "fields", "a map of what goes with the message");
        fields.finish(&[], &mut self.problems);
        Some(StepKind::Log {
            level: level.unwrap_or(Some(LogLevel::Info))?,
            message: message?,
            fields: given?,
        })
    }

    pub(super) fn succeed(&mut self, head: &Node) -> Option<StepKind> {
        let is_empty = head.is_null() || head.map().is_some_and(<[_]>::is_empty);
        if is_empty {
            return Some(StepKind::Succeed { outputs: None });
        }
        let outputs = self.map_template(Some(head), "succeed", "a map of the run's outputs")?;
        Some(StepKind::Succeed { outputs: Some(outputs) })
    }

    pub(super) fn fail(&mut self, head: &Node) -> Option<StepKind> {
        let mut fields = Fields::of(head, "`fail`", &mut self.problems)?;
        let code = fields.need("code", "code: user.some_reason", &mut self.problems);
        let code = code.and_then(|node| self.user_code(node));
        let message = match fields.take_set("message") {
            Some(node) => self.text_template(node, "message"),
            None => Template::compile(&json!("")).ok(),
        };
        let details = fields.take_set("details").map(|node| self.template(node, "details"));
        fields.finish(&[], &mut self.problems);
        Some(StepKind::Fail { code: code?, message: message?, details: written(details)? })
    }

    /// The code of an author's error: it begins with `user.`, as far as it is written out.
    fn user_code(&mut self, node: &Node) -> Option<Template> {
        let template = self.text_template(node, "code")?;
        let text = self.text(node, "code")?;
        let before = text.split("${").next().unwrap_or_default();
        let is_open = before.len() < text.len() && "user.".starts_with(before);
        if is_open || before.strip_prefix("user.").is_some_and(|rest| is_open_or_code(rest, &text))
        {
            return Some(template);
        }
        let message = format!(
            "`{}` is no code of an author: it begins with `user.` and goes on with letters, digits, \
             dots and underscores",
            excerpt(&text)
        );
        let suggestion = "write for example `user.no_answer`";
        self.problems.suggest(ProblemCode::Value, node.at, message, suggestion);
        None
    }
}

/// Whether what follows `user.` is a code, or may become one by an expression behind it.
fn is_open_or_code(rest: &str, whole: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
    let is_long_enough = !rest.is_empty() || whole.contains("${");
    is_long_enough && rest.len() <= limits::ID_BYTES && rest.bytes().all(plain)
}

/// The text of a template without expressions.
fn literal(template: &Template) -> Option<String> {
    let scope: &dyn crate::expr::Scope = &();
    let value = if template.is_literal() { template.eval(scope).ok() } else { None };
    value?.as_str().map(str::to_owned)
}
