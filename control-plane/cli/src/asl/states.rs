//! States as steps.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::Translator;
use super::catch::caught;
use super::context::{Asker, context};
use super::errors;
use super::flow::{Scope, has_catch};
use super::path::{Part, Path, Root, is_name, quote};
use super::read::Reader;
use super::value::{Frame, Val};

/// The most that the service lets a state pass on, in bytes.
const SERVICE_BYTES: usize = 256 * 1024;
/// How deep within the input a result may be put.
const PLACE_DEPTH: usize = 8;

/// A state that is being translated.
#[derive(Debug)]
pub(super) struct State<'a> {
    pub(super) name: &'a str,
    /// The id of its step.
    pub(super) id: &'a str,
    /// The id of the step by which it is entered: its own, or that of the `try` around it.
    pub(super) entry: &'a str,
    /// By which step each state of the scope is entered.
    pub(super) entries: &'a BTreeMap<&'a str, String>,
    /// Its JSON path.
    pub(super) at: String,
    /// What it reads.
    pub(super) input: Val,
    pub(super) scope: &'a Scope,
    /// The scope is written as a graph.
    pub(super) graph: bool,
}

/// What a state writes when it has done its work.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Variables with their values.
    pub(super) values: Vec<(String, Val)>,
}

impl State<'_> {
    /// What `$` and `$$` are before the state has done its work.
    pub(super) fn frame(&self, document: Val) -> Frame {
        let asker = Asker { name: self.name, retries: None, token: None };
        Frame { document, context: context(self.scope, &asker) }
    }

    /// As [`Self::frame`], for states that are retried.
    pub(super) fn frame_of_retries(&self, document: Val, retries: &Val) -> Frame {
        let asker = Asker { name: self.name, retries: Some(retries), token: None };
        Frame { document, context: context(self.scope, &asker) }
    }

    /// A step's first keys.
    fn head(&self) -> Map<String, Json> {
        let mut step = Map::new();
        step.insert("id".to_owned(), json!(self.id));
        step.insert("name".to_owned(), json!(self.name));
        step
    }
}

impl Written {
    /// As the value of `set` or `export`.
    pub(super) fn json(&self) -> Json {
        self.values.iter().map(|(name, value)| (name.clone(), value.template())).collect()
    }
}

impl Translator {
    /// The step of a state, with its edges.
    pub(super) fn state(
        &mut self,
        state: &State<'_>,
        fields: &Map<String, Json>,
    ) -> Map<String, Json> {
        let mut reader = Reader::new(fields, &state.at);
        let mut step = state.head();
        if let Some(comment) = reader.text(self, "Comment") {
            step.insert("description".to_owned(), json!(comment));
        }
        let kind = reader.text(self, "Type");
        let kind = kind.unwrap_or_default();
        if self.is_jsonata(&mut reader) {
            return step;
        }
        reader.ignore(&["Next", "End"]);
        match kind.as_str() {
            "Pass" | "Succeed" => self.pass(state, &mut reader, &mut step),
            "Fail" => self.fail(state, &mut reader, &mut step),
            "Wait" => self.wait(state, &mut reader, &mut step),
            "Choice" => self.choice(state, &mut reader, &mut step),
            "Task" => self.task(state, &mut reader, &mut step),
            "Parallel" => self.parallel(state, &mut reader, &mut step),
            "Map" => self.map(state, &mut reader, &mut step),
            other => {
                self.problem(&reader.at("Type"), format!("there is no type of state `{other}`"));
                return step;
            }
        }
        let catchers = self.catchers(state, &mut reader);
        let catchers = has_catch(fields).then_some(catchers);
        reader.finish(self, &format!("a {kind} state that is translated"));
        let next = fields.get("Next").and_then(Json::as_str).and_then(|to| state.entries.get(to));
        let ends = matches!(kind.as_str(), "Fail" | "Succeed" | "Choice");
        if next.is_none() && !ends && fields.get("End") != Some(&json!(true)) {
            self.problem(&state.at, "either `Next` or `End` is needed");
        }
        match catchers {
            Some(catchers) => caught(state, step, catchers, next),
            None => {
                if let Some(next) = next.filter(|_| state.graph) {
                    step.insert("next_steps".to_owned(), json!([next]));
                }
                step
            }
        }
    }

    /// `InputPath`: the part of the input that the state works with.
    pub(super) fn input(&mut self, state: &State<'_>, reader: &mut Reader<'_>) -> Val {
        let Some(path) = reader.take("InputPath") else { return state.input.clone() };
        let frame = state.frame(state.input.clone());
        self.filtered(&frame, path, &reader.at("InputPath")).unwrap_or_else(|| state.input.clone())
    }

    /// A path, or null for an empty object.
    fn filtered(&mut self, frame: &Frame, path: &Json, at: &str) -> Option<Val> {
        match path {
            Json::Null => Some(Val::Literal(json!({}))),
            Json::String(text) => self.resolve(frame, text, at),
            Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
                self.problem(at, format!("this must be a path or null, not {path}"));
                None
            }
        }
    }

    /// What the state writes: its output by `ResultPath` and `OutputPath`, and its variables, which
    /// see the result as `$`.
    pub(super) fn written(
        &mut self,
        state: &State<'_>,
        reader: &mut Reader<'_>,
        result: &Frame,
    ) -> Written {
        let mut written = self.output(state, reader, result);
        written.values.extend(self.assigned(reader, result));
        written
    }

    /// As [`Self::written`], without variables.
    fn output(&mut self, state: &State<'_>, reader: &mut Reader<'_>, result: &Frame) -> Written {
        let placed = self.placed(&state.input, reader, &result.document);
        let output = match reader.take("OutputPath") {
            None => placed,
            Some(path) => {
                let frame = Frame { document: placed.clone(), ..result.clone() };
                self.filtered(&frame, path, &reader.at("OutputPath")).unwrap_or(placed)
            }
        };
        if output == state.scope.document() {
            return Written::default();
        }
        Written { values: vec![(state.scope.io.clone(), output)] }
    }

    /// `ResultPath`: the result in its place within the input.
    pub(super) fn placed(&mut self, input: &Val, reader: &mut Reader<'_>, result: &Val) -> Val {
        let at = reader.at("ResultPath");
        let text = match reader.take("ResultPath") {
            None => return result.clone(),
            Some(Json::Null) => return input.clone(),
            Some(Json::String(text)) => text,
            Some(other) => {
                self.problem(&at, format!("this must be a path or null, not {other}"));
                return result.clone();
            }
        };
        let mut names = Vec::new();
        match Path::parse(text) {
            Ok(path) if path.root == Root::Document => {
                for part in path.parts {
                    match part {
                        Part::Name(name) => names.push(name),
                        Part::Index(_) => {
                            self.problem(&at, "a result can be put into objects, not into lists");
                            return result.clone();
                        }
                    }
                }
            }
            Ok(_) => self.problem(&at, "a result can be put into the input only"),
            Err(reason) => self.problem(&at, reason),
        }
        if names.len() > PLACE_DEPTH {
            self.problem(&at, format!("a result goes at most {PLACE_DEPTH} objects deep"));
        }
        if names.is_empty() || names.len() > PLACE_DEPTH {
            return result.clone();
        }
        Val::Expr(put(&input.expr(), &names, 0, &result.expr()))
    }

    /// `Assign`: variables with their values.
    pub(super) fn assigned(
        &mut self,
        reader: &mut Reader<'_>,
        frame: &Frame,
    ) -> Vec<(String, Val)> {
        let at = reader.at("Assign");
        let Some(fields) = reader.object(self, "Assign") else { return Vec::new() };
        let fields = Json::Object(fields.clone());
        let entries: Vec<(String, Val)> = match self.payload(frame, &fields, &at) {
            Val::Object(entries) => entries,
            Val::Literal(Json::Object(map)) => {
                map.into_iter().map(|(name, value)| (name, Val::Literal(value))).collect()
            }
            Val::Literal(_) | Val::Expr(_) | Val::List(_) => Vec::new(),
        };
        for (name, _) in entries.iter().filter(|(name, _)| !is_name(name) || name.len() > 64) {
            self.problem(&at, format!("`{name}` cannot be the name of a variable of ours"));
        }
        entries
    }

    fn pass(&mut self, state: &State<'_>, reader: &mut Reader<'_>, step: &mut Map<String, Json>) {
        let input = self.input(state, reader);
        let frame = state.frame(input.clone());
        let given = match reader.take("Parameters") {
            Some(parameters) => self.payload(&frame, parameters, &reader.at("Parameters")),
            None => input,
        };
        let result = match reader.take("Result") {
            Some(json) if json.to_string().len() > SERVICE_BYTES => {
                self.note(&reader.at("Result"), "too large for the service: the state fails");
                let message = "the result exceeds what a state may pass on";
                let code = errors::code_of("States.DataLimitExceeded");
                step.insert("fail".to_owned(), json!({"code": code, "message": message}));
                reader.ignore(&["ResultPath", "OutputPath", "Assign"]);
                return;
            }
            Some(json) => Val::Literal(json.clone()),
            None => given,
        };
        // What is built here and used in expressions gets a variable of its own.
        let is_used = ["ResultPath", "OutputPath", "Assign"].iter().any(|key| reader.has(key));
        if is_used && !result.is_expr() {
            let name = self.internal("result");
            let frame = Frame { document: Val::Expr(format!("vars.{name}")), ..frame };
            let written = self.written(state, reader, &frame);
            step.insert("set".to_owned(), json!({name: result.template()}));
            step.insert("export".to_owned(), written.json());
            return;
        }
        let mut written = self.written(state, reader, &Frame { document: result, ..frame });
        if written.values.is_empty() {
            written.values.push((state.scope.io.clone(), state.scope.document()));
        }
        step.insert("set".to_owned(), written.json());
    }

    fn fail(&mut self, state: &State<'_>, reader: &mut Reader<'_>, step: &mut Map<String, Json>) {
        let frame = state.frame(state.input.clone());
        let (name, name_at) = self.written_or_path(&frame, reader, "Error");
        let (cause, _) = self.written_or_path(&frame, reader, "Cause");
        let mut fail = Map::new();
        let mut put = |key: &str, value: Json| fail.insert(key.to_owned(), value);
        match &name {
            None => put("code", json!(errors::UNNAMED)),
            Some(Val::Literal(Json::String(name))) => {
                if errors::is_too_long(name) {
                    self.problem(&name_at, format!("`{name}` is too long for an error code"));
                }
                put("code", json!(errors::code_of(name)))
            }
            Some(name) => {
                put("code", json!(format!("user.${{{}}}", errors::code_expr(&name.expr()))))
            }
        };
        if let Some(cause) = &cause {
            put("message", cause.template());
        }
        if let Some(name) = name.filter(|name| !is_plain(name)) {
            put("details", json!({"Error": name.template()}));
        }
        step.insert("fail".to_owned(), Json::Object(fail));
    }

    /// A text that is written out, or found at the path that the field with `Path` gives.
    fn written_or_path(
        &mut self,
        frame: &Frame,
        reader: &mut Reader<'_>,
        key: &str,
    ) -> (Option<Val>, String) {
        let by_path = format!("{key}Path");
        if let Some(path) = reader.text(self, &by_path) {
            let at = reader.at(&by_path);
            return (self.resolve(frame, &path, &at), at);
        }
        (reader.text(self, key).map(|text| Val::Literal(json!(text))), reader.at(key))
    }

    fn wait(&mut self, state: &State<'_>, reader: &mut Reader<'_>, step: &mut Map<String, Json>) {
        let input = self.input(state, reader);
        let frame = state.frame(input);
        let mut given = Vec::new();
        if let Some(seconds) = reader.whole(self, "Seconds") {
            given.push(json!(format!("{seconds}s")));
        }
        if let Some(path) = reader.text(self, "SecondsPath") {
            let value = self.resolve(&frame, &path, &reader.at("SecondsPath"));
            // Neither fractions nor negative numbers pass, as there.
            given.extend(value.map(|value| json!(format!("${{uint(string({}))}}", value.expr()))));
        }
        if let Some(time) = reader.text(self, "Timestamp") {
            given.push(json!({"until": format!("timestamp({})", quote(&time))}));
        }
        if let Some(path) = reader.text(self, "TimestampPath") {
            let value = self.resolve(&frame, &path, &reader.at("TimestampPath"));
            let until = |value: Val| json!({"until": format!("timestamp({})", value.expr())});
            given.extend(value.map(until));
        }
        match (given.pop(), given.is_empty()) {
            (Some(delay), true) => {
                step.insert("delay".to_owned(), delay);
            }
            _ => self.problem(&state.at, "a Wait state needs one length or time to wait for"),
        }
        let written = self.written(state, reader, &frame);
        export(step, &written);
    }

    fn choice(&mut self, state: &State<'_>, reader: &mut Reader<'_>, step: &mut Map<String, Json>) {
        let input = self.input(state, reader);
        let frame = state.frame(input);
        // Variables are set on the way to the next state, when the output is written already.
        let after = state.frame(state.scope.document());
        let at = reader.at("Choices");
        let mut cases = Vec::new();
        for (n, rule) in reader.list(self, "Choices").iter().enumerate() {
            let here = format!("{at}[{n}]");
            let Some(fields) = rule.as_object() else {
                self.problem(&here, "a rule is an object");
                continue;
            };
            let mut rule = Reader::new(fields, &here);
            let next = rule.text(self, "Next");
            let assigned = self.assigned(&mut rule, &after);
            let when = self.rule(&frame, &mut rule);
            let Some(to) = next.and_then(|next| state.entries.get(next.as_str())) else {
                self.problem(&here, "a rule needs `Next`");
                continue;
            };
            cases.push((when, to, assigned));
        }
        // Variables that the state itself assigns are those of the default.
        let assigned = self.assigned(reader, &after);
        let assigns = !assigned.is_empty() || cases.iter().any(|(.., set)| !set.is_empty());
        if assigns && reader.has("OutputPath") {
            let reason = "together with `Assign` this is not translated for Choice states";
            self.problem(&reader.at("OutputPath"), reason);
        }
        let mut ways = Vec::new();
        for (n, (when, to, assigned)) in cases.into_iter().enumerate() {
            let id = || format!("{}_case_{}", state.id, n + 1);
            ways.push(json!({"when": when, "do": self.way(to, assigned, id)}));
        }
        step.insert("switch".to_owned(), Json::Null);
        step.insert("cases".to_owned(), json!(ways));
        if let Some(default) = reader.text(self, "Default")
            && let Some(to) = state.entries.get(default.as_str())
        {
            let way = self.way(to, assigned, || format!("{}_default", state.id));
            step.insert("default".to_owned(), way);
        }
        let written = self.output(state, reader, &frame);
        export(step, &written);
    }

    /// Where a case leads. Variables are set on the way.
    fn way(&mut self, to: &str, assigned: Vec<(String, Val)>, id: impl Fn() -> String) -> Json {
        if assigned.is_empty() {
            return json!(to);
        }
        let id = self.ids.fresh(&id());
        let set = Written { values: assigned };
        self.behind.push(json!({"id": id, "set": set.json(), "next_steps": [to]}));
        json!(id)
    }

    /// What Task, Parallel and Map states have in common: `ResultSelector`, `ResultPath` and the
    /// rest on a step's result, and `Retry`.
    pub(super) fn result(
        &mut self,
        state: &State<'_>,
        reader: &mut Reader<'_>,
        step: &mut Map<String, Json>,
        raw: &Val,
    ) {
        let retries = Val::Expr(format!("(steps.{}.attempts - 1)", state.id));
        let mut result = raw.clone();
        if let Some(selector) = reader.take("ResultSelector") {
            let frame = state.frame_of_retries(raw.clone(), &retries);
            let output = self.payload(&frame, selector, &reader.at("ResultSelector"));
            step.insert("output".to_owned(), output.template());
            result = Val::Expr("output".to_owned());
        }
        let mut written = self.written(state, reader, &state.frame_of_retries(result, &retries));
        if state.entry != state.id {
            let next = reader.fields().get("Next").and_then(Json::as_str);
            let next = next.and_then(|to| state.entries.get(to)).map_or("", String::as_str);
            written.values.push((state.scope.goto.clone(), Val::Literal(json!(next))));
        }
        export(step, &written);
        if let Some(retry) = self.retry(reader) {
            step.insert("retry".to_owned(), retry);
        }
    }
}

/// A result in its place within an object, which is made where it is not there.
fn put(base: &str, names: &[String], depth: usize, result: &str) -> String {
    let Some((name, deeper)) = names[depth..].split_first() else { return result.to_owned() };
    let inner = if deeper.is_empty() {
        result.to_owned()
    } else if name.is_empty() || name.contains('.') {
        let name = quote(name);
        put(&format!("({name} in {base} ? {base}[{name}] : {{}})"), names, depth + 1, result)
    } else {
        put(&format!("get({base}, {}, {{}})", quote(name)), names, depth + 1, result)
    };
    format!("merge({base}, {{{}: {inner}}})", quote(name))
}

/// Whether an error name is a code as it stands.
fn is_plain(name: &Val) -> bool {
    let Val::Literal(Json::String(name)) = name else { return false };
    errors::code_of(name) == format!("user.{name}")
}

fn export(step: &mut Map<String, Json>, written: &Written) {
    if !written.values.is_empty() {
        step.insert("export".to_owned(), written.json());
    }
}
