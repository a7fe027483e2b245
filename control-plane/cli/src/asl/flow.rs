//! The states of one scope: which are reached, in what order they are written, and which edges lie
//! between them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use super::Translator;
use super::errors;
use super::path::shown_name;
use super::read::Reader;
use super::states::State;
use super::value::Val;

/// Where a list of states stands, and what its states see.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// What the first state reads.
    pub(super) input: Val,
    /// The variable that holds the document between states.
    pub(super) io: String,
    /// The variable that holds where a state with a Catch leads.
    pub(super) goto: String,
    /// The Map around it.
    pub(super) item: Option<Item>,
    /// How many Maps are around it.
    pub(super) maps: usize,
}

/// The names that an iteration of a Map sees.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Of the item.
    pub(super) name: String,
    /// Of its index.
    pub(super) index: String,
    /// What tells iterations apart: the indices of this Map and those around it.
    pub(super) indices: Vec<String>,
}

/// The steps of a scope.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// In the order in which they are written.
    pub(super) steps: Vec<Json>,
    /// The id of the first.
    pub(super) entry: String,
    /// Edges are written; otherwise the order of the list says where they lead.
    pub(super) graph: bool,
}

/// A state's name with its fields.
type Named<'a> = (&'a str, &'a Map<String, Json>);

/// Where a state leads: names of states, each with the JSON path that says so.
type Ways<'a> = Vec<(&'a str, String)>;

/// The reached states of a scope.
struct Plan<'a> {
    /// In the order in which they are written: none before one that leads to it.
    order: Vec<Named<'a>>,
    ways: BTreeMap<&'a str, Ways<'a>>,
}

impl Scope {
    /// What a state reads that is not the first.
    pub(super) fn document(&self) -> Val {
        Val::Expr(format!("vars.{}", self.io))
    }
}

impl Translator {
    /// The steps of a state machine, branch or item processor.
    pub(super) fn scope(&mut self, reader: &mut Reader<'_>, scope: &Scope) -> Steps {
        let start = reader.text(self, "StartAt");
        let states = reader.object(self, "States");
        let (Some(start), Some(states)) = (start, states) else {
            if start_is_missing(reader) {
                self.problem(reader.here(), "`StartAt` and `States` are needed");
            }
            return Steps::default();
        };
        let at = reader.at("States");
        let Some(plan) = self.plan(&start, states, reader, &at) else { return Steps::default() };
        let ids: BTreeMap<&str, String> =
            plan.order.iter().map(|(name, _)| (*name, self.ids.fresh(name))).collect();
        // A state with a Catch is entered by the `try` around it.
        let mut entries = ids.clone();
        for (name, fields) in &plan.order {
            if has_catch(fields) {
                entries.insert(name, self.ids.fresh(&format!("{}_or_catch", ids[name])));
            }
        }
        let graph = plan.order.iter().any(|(name, fields)| {
            plan.ways[name].len() > 1 || is_choice(fields) || has_catch(fields)
        });
        let mut steps = Vec::with_capacity(plan.order.len());
        for (name, fields) in &plan.order {
            let input = if **name == *start { scope.input.clone() } else { scope.document() };
            let state = State {
                name,
                id: &ids[name],
                entry: &entries[name],
                entries: &entries,
                at: format!("{at}{}", shown_name(name)),
                input,
                scope,
                graph,
            };
            self.states.insert(state.id.to_owned(), (*name).to_owned());
            steps.push(Json::Object(self.state(&state, fields)));
            steps.append(&mut self.behind);
        }
        Steps { steps, entry: entries[start.as_str()].clone(), graph }
    }

    /// Which states are reached, and in what order. `None` where that is wrong, which is noted.
    fn plan<'a>(
        &mut self,
        start: &str,
        states: &'a Map<String, Json>,
        reader: &Reader<'_>,
        at: &str,
    ) -> Option<Plan<'a>> {
        let mut named: BTreeMap<&str, Named<'a>> = BTreeMap::new();
        for (name, state) in states {
            match state.as_object() {
                Some(fields) => {
                    named.insert(name, (name, fields));
                }
                None => self.problem(&format!("{at}{}", shown_name(name)), "a state is an object"),
            }
        }
        let Some((start, _)) = named.get(start) else {
            self.problem(&reader.at("StartAt"), format!("there is no state `{start}`"));
            return None;
        };
        let mut ways = BTreeMap::new();
        for (name, fields) in named.values() {
            let all = ways_of(fields, &format!("{at}{}", shown_name(name)));
            let (known, unknown): (Ways<'a>, Ways<'a>) =
                all.into_iter().partition(|(to, _)| named.contains_key(to));
            for (to, from) in unknown {
                self.problem(&from, format!("there is no state `{to}` here"));
            }
            ways.insert(*name, known);
        }
        let order = self.ordered(start, &ways)?;
        let reached: BTreeSet<&str> = order.iter().copied().collect();
        for name in named.keys().filter(|name| !reached.contains(*name)) {
            self.note(&format!("{at}{}", shown_name(name)), "nothing leads here; it is left out");
        }
        Some(Plan { order: order.iter().map(|name| named[name]).collect(), ways })
    }

    /// The states behind a first one, each after all that lead to it. `None` if some lead in a
    /// circle, which is noted once for each edge that closes one.
    fn ordered<'a>(
        &mut self,
        start: &'a str,
        ways: &BTreeMap<&'a str, Ways<'a>>,
    ) -> Option<Vec<&'a str>> {
        let mut done: Vec<&str> = Vec::new();
        let mut open: Vec<(&str, usize)> = vec![(start, 0)];
        let mut cyclic = false;
        while let Some((name, next)) = open.last_mut() {
            // From the last way to the first, so that the first is written first in the end.
            let all = &ways[name];
            let way = all.len().checked_sub(*next + 1).and_then(|place| all.get(place));
            let Some((to, from)) = way else {
                done.push(name);
                open.pop();
                continue;
            };
            *next += 1;
            if open.iter().any(|(name, _)| name == to) {
                cyclic = true;
                let reason = format!("this leads back to `{to}`: a workflow of ours has no cycles");
                self.problem(from, reason);
            } else if !done.contains(to) {
                open.push((to, 0));
            }
        }
        done.reverse();
        (!cyclic).then_some(done)
    }
}

fn start_is_missing(reader: &Reader<'_>) -> bool {
    !reader.has("StartAt") || !reader.has("States")
}

fn is_choice(fields: &Map<String, Json>) -> bool {
    fields.get("Type").and_then(Json::as_str) == Some("Choice")
}

/// Whether a state catches anything.
pub(super) fn has_catch(fields: &Map<String, Json>) -> bool {
    let catchers = fields.get("Catch").and_then(Json::as_array);
    catchers.into_iter().flatten().any(errors::catches)
}

/// Where a state leads, in document order, each state once.
fn ways_of<'a>(fields: &'a Map<String, Json>, at: &str) -> Ways<'a> {
    let mut ways: Ways<'a> = Vec::new();
    let mut add = |to: Option<&'a Json>, from: String| {
        if let Some(to) = to.and_then(Json::as_str).filter(|to| !ways.iter().any(|(w, _)| w == to))
        {
            ways.push((to, from));
        }
    };
    for list in ["Choices", "Catch"] {
        for (n, entry) in
            fields.get(list).and_then(Json::as_array).into_iter().flatten().enumerate()
        {
            // The usual way of a state stands before what it catches.
            if list == "Catch" && n == 0 {
                add(fields.get("Next"), format!("{at}.Next"));
            }
            if list != "Catch" || errors::catches(entry) {
                add(entry.get("Next"), format!("{at}.{list}[{n}].Next"));
            }
        }
    }
    for key in ["Next", "Default"] {
        add(fields.get(key), format!("{at}.{key}"));
    }
    ways
}

/// All variables that something in a definition assigns.
pub(super) fn variables_of(definition: &Json) -> Vec<String> {
    let mut found = BTreeSet::new();
    collect(definition, &mut found);
    found.into_iter().collect()
}

fn collect(json: &Json, found: &mut BTreeSet<String>) {
    match json {
        Json::Object(map) => {
            let assigned = map.get("Assign").and_then(Json::as_object);
            for key in assigned.into_iter().flat_map(Map::keys) {
                found.insert(key.strip_suffix(".$").unwrap_or(key).to_owned());
            }
            map.values().for_each(|value| collect(value, found));
        }
        Json::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// `next_steps` for a list of ids, each taken where the expression beside it is true.
pub(super) fn next_steps(ways: &[(String, Option<String>)]) -> Json {
    ways.iter()
        .map(|(to, when)| match when {
            Some(when) => json!({"to": to, "when": when}),
            None => json!(to),
        })
        .collect()
}
