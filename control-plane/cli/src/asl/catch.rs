//! Catch: the `try` around a step, and where it leads from there.

use serde_json::{Map, Value as Json, json};

use super::Translator;
use super::flow::next_steps;
use super::path::quote;
use super::read::Reader;
use super::states::{State, Written};
use super::value::Val;

impl Translator {
    /// `Catch`: what `catch` has to do for each catcher.
    pub(super) fn catchers(
        &mut self,
        state: &State<'_>,
        reader: &mut Reader<'_>,
    ) -> Vec<(Json, String)> {
        let at = reader.at("Catch");
        let has_states = !reader.has("Resource");
        let mut catchers = Vec::new();
        for (n, catcher) in reader.list(self, "Catch").iter().enumerate() {
            let here = format!("{at}[{n}]");
            let Some(fields) = catcher.as_object() else {
                self.problem(&here, "a catcher is an object");
                continue;
            };
            let mut catcher = Reader::new(fields, &here);
            catcher.ignore(&["Comment"]);
            let patterns = self.error_patterns(&mut catcher);
            let next = catcher.text(self, "Next");
            let to = next.and_then(|next| state.entries.get(next.as_str()));
            let name =
                patterns.as_ref().map_or(Val::null(), |patterns| patterns.error_name(has_states));
            let error = Val::Object(vec![
                ("Error".to_owned(), name),
                ("Cause".to_owned(), Val::Expr("error.message".to_owned())),
            ]);
            let output = self.placed(&state.input, &mut catcher, &error);
            let frame = state.frame_of_retries(error, &Val::Literal(json!(0)));
            let assigned = self.assigned(&mut catcher, &frame);
            catcher.finish(self, "a catcher");
            let Some(patterns) = patterns else { continue };
            let Some(to) = to else {
                self.problem(&here, "a catcher needs `Next`");
                continue;
            };
            let mut values = vec![(state.scope.io.clone(), output)];
            values.extend(assigned);
            values.push((state.scope.goto.clone(), Val::Literal(json!(to))));
            let id = self.ids.fresh(&format!("{}_caught_{}", state.id, n + 1));
            let set = Written { values };
            let mut catch = Map::new();
            catch.insert("errors".to_owned(), json!(patterns.errors));
            if let Some(when) = patterns.when() {
                catch.insert("when".to_owned(), json!(when));
            }
            catch.insert("do".to_owned(), json!([{"id": id, "set": set.json()}]));
            catchers.push((Json::Object(catch), to.clone()));
        }
        catchers
    }
}

/// The `try` around a step, which leads where the step or a catcher says.
pub(super) fn caught(
    state: &State<'_>,
    step: Map<String, Json>,
    catchers: Vec<(Json, String)>,
    next: Option<&String>,
) -> Map<String, Json> {
    let mut targets: Vec<String> = next.into_iter().cloned().collect();
    let mut catches = Vec::with_capacity(catchers.len());
    for (catch, to) in catchers {
        catches.push(catch);
        if !targets.contains(&to) {
            targets.push(to);
        }
    }
    let ways: Vec<(String, Option<String>)> = targets
        .into_iter()
        .map(|to| {
            let when = format!("vars.{} == {}", state.scope.goto, quote(&to));
            (to, Some(when))
        })
        .collect();
    let mut outer = Map::new();
    outer.insert("id".to_owned(), json!(state.entry));
    outer.insert("try".to_owned(), json!([step]));
    outer.insert("catch".to_owned(), json!(catches));
    if !ways.is_empty() {
        outer.insert("next_steps".to_owned(), next_steps(&ways));
    }
    outer
}
