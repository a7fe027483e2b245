//! Amazon States Language definitions as workflows of ours: a pure translator.
//!
//! # What is translated
//!
//! JSONPath state machines without intrinsic functions. What cannot be translated is named by its
//! JSON path with a reason, all of it at once; nothing is left out silently. What is translated
//! but not quite the same is told as a note.
//!
//! # The document that travels
//!
//! That language passes one JSON document from state to state. Here it is a variable, `vars.io`:
//! each state reads it and writes what its successor gets. The first state of the machine reads
//! `inputs.input` instead, the first state of a Map's iteration its item, so that no step is spent
//! on copying. Scopes inside (branches, iterations) have a variable of their own (`io_` and the
//! state's id), because what a step exports outlives its branch in our language and does not in
//! that one. `InputPath`, `Parameters`, `ResultSelector`, `ResultPath`, `OutputPath` and `Assign`
//! become expressions in the place where the step of ours takes its input or exports its result;
//! a variable `$x` becomes `vars.x`.
//!
//! # States and steps
//!
//! Every state becomes one step that carries the state's name as its `name`; helpers have none.
//!
//! | state | step |
//! |---|---|
//! | Pass, Succeed | `set` |
//! | Task | `plugin` (`asl-<service>.<operation>`); with a task token a `sequence` of call and `wait` |
//! | Choice | `switch` with a `when` for each rule, leading to ids |
//! | Wait | `delay` |
//! | Parallel | `parallel` with unnamed branches, each a `sequence` whose output is its document |
//! | Map (inline) | `foreach`, collecting the document of each iteration |
//! | Fail | `fail` with code `user.<Error>` |
//! | Catch on any of them | `try` around the step; where it leads is kept in `vars.goto` |
//!
//! A scope in which every state has one successor is written as a plain list. Otherwise it is a
//! graph: edges by `next_steps` and by the targets of a `switch`. Where ways meet again, our `join:
//! all` waits until every edge is either taken or dead, and as that language follows one way only,
//! exactly one is taken. Cycles have no place in such a graph and are named.
//!
//! # Numbers, texts, times
//!
//! Numbers from JSON are doubles here, and integral doubles print as integers, so `1` and `1.0`
//! are one value; that service keeps the spelling. Comparisons test types first: a rule about
//! numbers never matches a text.
//!
//! # Errors
//!
//! See [`errors`] for the table between names of errors there and codes here, and for what their
//! wildcards stand for.

mod catch;
mod choice;
mod context;
pub mod errors;
mod flow;
mod ids;
mod nested;
mod path;
mod read;
mod states;
mod tasks;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use openclaw_protocol::definition;
use serde_json::{Map, Value as Json, json};

use flow::Scope;
use ids::Ids;
use read::Reader;
use value::Val;

pub use tasks::plugin_of;

/// A definition as a workflow of ours.
#[derive(Debug, Clone)]
pub struct Translation {
    /// The document in the authoring form, keys in reading order.
    pub document: Json,
    /// Which step is which state: step id to state name.
    pub states: BTreeMap<String, String>,
    /// What is not quite the same, by JSON path.
    pub notes: Vec<Remark>,
}

/// Something to be said about a place of the definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// JSON path, such as `$.States.Fetch.Retry[0].ErrorEquals`.
    pub path: String,
    /// In one sentence.
    pub reason: String,
}

impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

/// Translates a definition into a workflow of this name.
///
/// # Errors
/// All that cannot be translated.
pub fn translate(definition: &Json, name: &str) -> Result<Translation, Vec<Remark>> {
    let mut translator = Translator::default();
    let document = translator.machine(definition, name);
    let Translator { mut problems, notes, states, .. } = translator;
    if problems.is_empty() {
        // Bounds of our language (sizes, depths, lengths of expressions) are known to its reader.
        if let Err(error) = definition::parse(&document.to_string()) {
            let tell = |problem: &definition::Problem| Remark {
                path: "$".to_owned(),
                reason: format!("the workflow that it makes is not valid: {}", problem.message),
            };
            problems = error.problems.iter().map(tell).collect();
        }
    }
    if problems.is_empty() { Ok(Translation { document, states, notes }) } else { Err(problems) }
}

/// A translation under way.
#[derive(Debug, Default)]
struct Translator {
    problems: Vec<Remark>,
    notes: Vec<Remark>,
    ids: Ids,
    states: BTreeMap<String, String>,
    /// Variables of the definition.
    variables: Vec<String>,
    /// Variables of ours that no step sets for certain.
    unset: Vec<String>,
    /// Steps that belong behind the state at hand.
    behind: Vec<Json>,
}

impl Translator {
    fn problem(&mut self, path: &str, reason: impl Into<String>) {
        self.problems.push(Remark { path: path.to_owned(), reason: reason.into() });
    }

    fn note(&mut self, path: &str, reason: impl Into<String>) {
        self.notes.push(Remark { path: path.to_owned(), reason: reason.into() });
    }

    /// A variable of ours that the definition has not.
    fn internal(&self, name: &str) -> String {
        let mut name = name.to_owned();
        while self.variables.contains(&name) {
            name.push('_');
        }
        name
    }

    fn machine(&mut self, definition: &Json, name: &str) -> Json {
        let Some(fields) = definition.as_object() else {
            self.problem("$", "a state machine is a JSON object");
            return Json::Null;
        };
        let mut reader = Reader::new(fields, "$");
        let comment = reader.text(self, "Comment");
        reader.ignore(&["Version"]);
        let timeout = reader.seconds(self, "TimeoutSeconds");
        if self.is_jsonata(&mut reader) {
            return Json::Null;
        }
        self.variables = flow::variables_of(definition);
        let scope = Scope {
            input: Val::Expr("inputs.input".to_owned()),
            io: self.internal("io"),
            goto: self.internal("goto"),
            item: None,
            maps: 0,
        };
        let steps = self.scope(&mut reader, &scope).steps;
        reader.finish(self, "a state machine");
        let mut document = Map::new();
        let mut put = |key: &str, value: Json| document.insert(key.to_owned(), value);
        put("workflow", json!(name));
        put("language", json!(1));
        if let Some(comment) = comment {
            put("description", json!(comment));
        }
        // What that language says of neither timeouts nor retries is not what ours means by it.
        put("defaults", json!({"timeout": tasks::LONGEST, "retry": "none"}));
        if let Some(seconds) = timeout {
            put("timeout", json!(format!("{seconds}s")));
        }
        put("inputs", json!({"input": {"default": {}}}));
        put("outputs", json!({"output": {"value": scope.document().template()}}));
        self.unset.insert(0, scope.io.clone());
        put("vars", self.unset.iter().map(|name| (name.clone(), Json::Null)).collect());
        put("steps", json!(steps));
        Json::Object(document)
    }

    /// Whether a machine or state is written in JSONata, which is noted as a problem.
    fn is_jsonata(&mut self, reader: &mut Reader<'_>) -> bool {
        match reader.text(self, "QueryLanguage").as_deref() {
            None | Some("JSONPath") => false,
            Some(language) => {
                let reason = format!("`{language}` expressions are not translated, only JSONPath");
                self.problem(&reader.at("QueryLanguage"), reason);
                true
            }
        }
    }
}
