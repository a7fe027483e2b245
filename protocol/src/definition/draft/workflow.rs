//! The keys of the document itself.

use serde_json::Value as Json;

use super::fields::Fields;
use super::names::Giver;
use super::problem::ProblemCode;
use super::read::excerpt;
use super::tree::Node;
use super::{Draft, ScopeDraft};
use crate::definition::model::{
    Compensation, DefinitionHash, InputSpec, MaxExceeded, Mode, OnUpdate, Priority, ScopeIx,
    StepIx, Workflow,
};
use crate::expr::Template;
use crate::id::{StepId, WorkflowName};
use crate::limits;
use crate::ordered::VecMap;

/// The most runs of one workflow that may wait or run at once.
const MAX_RUNS: u32 = 1_000;

/// What the document says about itself and its runs.
struct Head {
    name: Option<WorkflowName>,
    version: String,
    description: String,
    tags: Vec<String>,
    priority: Priority,
    mode: Mode,
    max: u32,
    max_exceeded: MaxExceeded,
    on_update: OnUpdate,
    timeout_ms: Option<u64>,
    compensation: Compensation,
}

impl Draft {
    /// Reads the whole document. What comes out is to be used only where there are no problems.
    pub(super) fn workflow(&mut self, root: &Node) -> Option<Workflow> {
        let mut fields = Fields::of(root, "a workflow", &mut self.problems)?;
        let head = self.head(&mut fields);
        let secrets = self.secrets(fields.take_set("secrets"));
        let inputs = self.inputs(fields.take_set("inputs"));
        let vars = self.variables(fields.take_set("vars"));
        self.defaults(fields.take_set("defaults"));
        let steps = fields.need("steps", "steps: [...]", &mut self.problems);
        let scope = steps.and_then(|node| self.scope(node, "`steps`", None, 1));
        let on_failure = fields.take_set("on_failure").map(|node| {
            if node.text().is_some() {
                let message = "the workflow's `on_failure` is a list of steps, not a step's id";
                self.problems.add(ProblemCode::Type, node.at, message);
                return None;
            }
            self.seeing(Giver::Place, &["error"], |draft| {
                draft.scope(node, "`on_failure`", None, 1)
            })
        });
        let finally = fields.take_set("finally");
        let finally = finally.map(|node| self.scope(node, "`finally`", None, 1));
        let bound = fields.take_set("finally_timeout");
        let finally_timeout_ms = self.finally_timeout(bound, finally.is_some());
        let concurrency_key = fields.take_set("concurrency_key").map(|node| {
            self.seeing_only(&["inputs", "trigger"], |draft| draft.expr(node, "concurrency_key"))
        });
        let triggers = self.triggers(fields.take_set("triggers"), &inputs);
        let outputs = self.outputs(fields.take_set("outputs"));
        fields.finish(&[], &mut self.problems);
        let joined = self.join();
        self.check_references();
        let (steps, scopes) = joined?;
        Some(Workflow {
            name: head.name?,
            version: head.version,
            description: head.description,
            tags: head.tags,
            priority: head.priority,
            mode: head.mode,
            max: head.max,
            concurrency_key: match concurrency_key {
                Some(expr) => Some(expr?),
                None => None,
            },
            max_exceeded: head.max_exceeded,
            on_update: head.on_update,
            timeout_ms: head.timeout_ms,
            inputs,
            outputs,
            secrets,
            compensation: head.compensation,
            vars,
            triggers,
            root: scope?,
            on_failure: match on_failure {
                Some(scope) => Some(scope?),
                None => None,
            },
            finally: match finally {
                Some(scope) => Some(scope?),
                None => None,
            },
            finally_timeout_ms: finally_timeout_ms?,
            steps,
            scopes,
            canonical: String::new(),
            hash: DefinitionHash(String::new()),
        })
    }

    fn head(&mut self, fields: &mut Fields<'_>) -> Head {
        let name = fields
            .need("workflow", "workflow: some-name", &mut self.problems)
            .and_then(|node| self.name(node, "workflow", WorkflowName::parse));
        let is_known = |node: &Node| node.scalar().is_some_and(|scalar| scalar.value == 1);
        if let Some(node) = fields.take("language").filter(|node| !is_known(node)) {
            let message = "this version knows only `language: 1`";
            self.problems.add(ProblemCode::Value, node.at, message);
        }
        let mut text = |key| fields.take_set(key).and_then(|node| self.text(node, key));
        let version = text("version").unwrap_or_else(|| "1".to_owned());
        let description = text("description").unwrap_or_default();
        let tags = fields.take_set("tags").and_then(|node| self.texts(node, "tags"));
        let priority = fields.take_set("priority").and_then(|node| self.priority(node));
        let words = ["single", "restart", "queued", "parallel"];
        let mode = fields.take_set("mode").and_then(|node| self.choice(node, "mode", &words));
        let max = fields.take_set("max").and_then(|node| self.whole(node, "max", 1..=MAX_RUNS));
        let words = ["drop_newest", "drop_oldest", "fail"];
        let exceeded = fields.take_set("max_exceeded");
        let exceeded = exceeded.and_then(|node| self.choice(node, "max_exceeded", &words));
        let words = ["pin", "migrate", "restart"];
        let on_update = fields.take_set("on_update");
        let on_update = on_update.and_then(|node| self.choice(node, "on_update", &words));
        let timeout = fields.take_set("timeout").and_then(|node| self.bound(node, "timeout"));
        let compensation = fields.take_set("compensation");
        let compensation = compensation.and_then(|node| self.compensation(node));
        Head {
            name,
            version,
            description,
            tags: tags.unwrap_or_default(),
            priority: priority.unwrap_or_default(),
            mode: mode.unwrap_or_default(),
            max: max.unwrap_or(limits::QUEUED_RUNS),
            max_exceeded: exceeded.unwrap_or_default(),
            on_update: on_update.unwrap_or_default(),
            timeout_ms: timeout,
            compensation: compensation.unwrap_or_default(),
        }
    }

    /// The bound of a `finally`, where there is one.
    pub(super) fn finally_timeout(&mut self, node: Option<&Node>, is_there: bool) -> Option<u64> {
        match node {
            None => Some(limits::FINALLY_TIMEOUT_MS),
            Some(node) if is_there => self.bound(node, "finally_timeout"),
            Some(node) => {
                let message = "`finally_timeout` bounds a `finally`, and there is none";
                self.problems.add(ProblemCode::Value, node.at, message);
                None
            }
        }
    }

    /// The names of the secrets that it may ask for.
    fn secrets(&mut self, node: Option<&Node>) -> Vec<String> {
        let Some(node) = node else { return Vec::new() };
        let Some(items) = node.list() else {
            self.wrong_type::<()>(node, "secrets", "a list of names");
            return Vec::new();
        };
        if items.len() > limits::SECRETS {
            let message = format!("more than {} secrets", limits::SECRETS);
            self.problems.add(ProblemCode::Limit, node.at, message);
            return Vec::new();
        }
        let mut names = Vec::new();
        for item in items {
            let Some(name) = self.text(item, "secrets") else { continue };
            self.variable_name("a secret", &name, item.at);
            if self.secrets.insert(name.clone()) {
                names.push(name);
            } else {
                let message = format!("the secret `{}` is here twice; remove one", excerpt(&name));
                self.problems.add(ProblemCode::Value, item.at, message);
            }
        }
        names
    }

    fn inputs(&mut self, node: Option<&Node>) -> VecMap<String, InputSpec> {
        let mut inputs = Vec::new();
        let Some(node) = node else { return VecMap::new() };
        let Some(entries) = node.map() else {
            self.wrong_type::<()>(node, "inputs", "a map from input names to their schemas");
            return VecMap::new();
        };
        for entry in entries {
            self.variable_name("an input", &entry.key, entry.at);
            self.inputs.insert(entry.key.clone());
            if let Some(spec) = self.input("input", &entry.key, &entry.value) {
                inputs.push((entry.key.clone(), spec));
            }
        }
        inputs.into_iter().collect()
    }

    fn variables(&mut self, node: Option<&Node>) -> VecMap<String, Json> {
        let mut vars = Vec::new();
        let Some(node) = node else { return VecMap::new() };
        let Some(entries) = node.map() else {
            self.wrong_type::<()>(node, "vars", "a map from variable names to first values");
            return VecMap::new();
        };
        for entry in entries {
            self.variable_name("a variable", &entry.key, entry.at);
            self.vars.insert(entry.key.clone());
            let value = entry.value.json();
            if Template::compile(&value).is_ok_and(|template| !template.is_literal()) {
                let message = "first values of variables are plain, without `${ }`";
                let suggestion = "compute it in a `set` step";
                self.problems.suggest(ProblemCode::Value, entry.value.at, message, suggestion);
            }
            vars.push((entry.key.clone(), value));
        }
        vars.into_iter().collect()
    }

    fn outputs(&mut self, node: Option<&Node>) -> VecMap<String, Template> {
        let mut outputs = Vec::new();
        let Some(node) = node else { return VecMap::new() };
        let Some(entries) = node.map() else {
            self.wrong_type::<()>(node, "outputs", "a map from output names to `{type, value}`");
            return VecMap::new();
        };
        for entry in entries {
            self.variable_name("an output", &entry.key, entry.at);
            let value = self.output(&entry.key, &entry.value);
            if let Some(template) = value.and_then(|node| self.template(node, "outputs")) {
                outputs.push((entry.key.clone(), template));
            }
        }
        outputs.into_iter().collect()
    }

    /// The value of an output: `{type, value}`, or the value itself where that is no map with a
    /// `value`. The type is a note to readers.
    fn output<'a>(&mut self, name: &str, node: &'a Node) -> Option<&'a Node> {
        let declared = node.map().is_some_and(|entries| entries.iter().any(|e| e.key == "value"));
        if !declared {
            return Some(node);
        }
        let mut fields = Fields::of(node, &format!("output `{name}`"), &mut self.problems)?;
        if let Some(kind) = fields.take_set("type") {
            self.input_kind(kind);
        }
        if let Some(node) = fields.take_set("description") {
            self.text(node, "description");
        }
        let value = fields.take("value");
        fields.finish(&[], &mut self.problems);
        value
    }

    fn defaults(&mut self, node: Option<&Node>) {
        self.timeout_ms = Some(limits::ATTEMPT_TIMEOUT_MS);
        let Some(node) = node else { return };
        let Some(mut fields) = Fields::of(node, "`defaults`", &mut self.problems) else { return };
        if let Some(node) = fields.take_set("timeout") {
            self.timeout_ms = self.timeout(node, true);
        }
        self.retry = fields.take_set("retry").and_then(|node| self.retry(node));
        fields.finish(&[], &mut self.problems);
    }

    /// Reads a list of steps as a scope, `depth` scopes deep.
    pub(super) fn scope(
        &mut self,
        node: &Node,
        what: &str,
        owner: Option<StepIx>,
        depth: usize,
    ) -> Option<ScopeIx> {
        let Some(items) = node.list() else {
            let message = format!("{what} must be a list of steps, not {}", node.describe());
            let suggestion = node.map().map(|_| "put `- ` before each step".to_owned());
            self.problems.push(ProblemCode::Type, node.at, message, suggestion);
            return None;
        };
        if items.is_empty() {
            self.problems.add(ProblemCode::Value, node.at, format!("{what} has no steps"));
            return None;
        }
        if depth > limits::NESTING {
            let message = format!("steps are nested more than {} deep", limits::NESTING);
            self.problems.add(ProblemCode::Limit, node.at, message);
            return None;
        }
        let here = self.scopes.len();
        let scope = ScopeIx(u16::try_from(here).ok()?);
        self.scopes.push(ScopeDraft { owner, flows: Vec::new(), broken: false });
        for item in items {
            if self.steps.len() >= limits::STEPS {
                let message = format!("more than {} steps; split the workflow", limits::STEPS);
                self.problems.add(ProblemCode::Limit, item.at, message);
                self.scopes[here].broken = true;
                break;
            }
            match self.step(item, scope, depth) {
                Some(flow) => self.scopes[here].flows.push(flow),
                None => self.scopes[here].broken = true,
            }
        }
        Some(scope)
    }

    /// Checks a name that expressions use.
    pub(super) fn variable_name(&mut self, what: &str, name: &str, at: super::Place) {
        if let Err(error) = StepId::parse(name) {
            let message = format!("`{}` is no name for {what}: {}", error.text, error.reason);
            self.problems.add(ProblemCode::Name, at, message);
        }
    }
}
