//! States with states inside: Parallel and Map.

use serde_json::{Map, Value as Json, json};

use super::Translator;
use super::context::{Asker, context};
use super::flow::{Item, Scope, Steps};
use super::read::Reader;
use super::states::State;
use super::value::{Frame, Val};

/// The most iterations of a `foreach` at once.
const MOST_AT_ONCE: u64 = 64;

impl Translator {
    pub(super) fn parallel(
        &mut self,
        state: &State<'_>,
        reader: &mut Reader<'_>,
        step: &mut Map<String, Json>,
    ) {
        let input = self.input(state, reader);
        let retries = Val::Literal(json!(0));
        let frame = state.frame_of_retries(input.clone(), &retries);
        let given = match reader.take("Parameters") {
            Some(parameters) => self.payload(&frame, parameters, &reader.at("Parameters")),
            None => input,
        };
        let at = reader.at("Branches");
        let mut branches = Vec::new();
        for (n, branch) in reader.list(self, "Branches").iter().enumerate() {
            let here = format!("{at}[{n}]");
            let Some(fields) = branch.as_object() else {
                self.problem(&here, "a branch is an object");
                continue;
            };
            let id = self.ids.fresh(&format!("{}_{}", state.id, n + 1));
            let scope = Scope {
                io: self.internal(&format!("io_{id}")),
                goto: self.internal(&format!("goto_{id}")),
                input: Val::null(),
                ..state.scope.clone()
            };
            let output = scope.document().template();
            let mut branch = Reader::new(fields, &here);
            branch.ignore(&["Comment"]);
            let steps = self.inner(&mut branch, scope, &given, &id);
            branch.finish(self, "a branch");
            branches.push(json!([{"id": id, "sequence": steps, "output": output}]));
        }
        step.insert("parallel".to_owned(), json!({"branches": branches}));
        self.result(state, reader, step, &Val::Expr("output".to_owned()));
    }

    /// The steps of a scope whose first state gets `given`.
    fn inner(&mut self, reader: &mut Reader<'_>, scope: Scope, given: &Val, id: &str) -> Vec<Json> {
        let io = scope.io.clone();
        let steps = if given.is_expr() {
            let scope = Scope { input: given.clone(), ..scope };
            self.scope(reader, &scope).steps
        } else {
            // What is built is built once, in a step before the first.
            let mut first = Map::new();
            first.insert("id".to_owned(), json!(self.ids.fresh(&format!("{id}_input"))));
            first.insert("set".to_owned(), json!({io.clone(): given.template()}));
            let scope = Scope { input: scope.document(), ..scope };
            let Steps { mut steps, entry, graph } = self.scope(reader, &scope);
            if graph {
                first.insert("next_steps".to_owned(), json!([entry]));
            }
            steps.insert(0, Json::Object(first));
            steps
        };
        if !json!(steps).to_string().contains(&format!("\"{io}\":")) {
            self.unset.push(io);
        }
        steps
    }

    pub(super) fn map(
        &mut self,
        state: &State<'_>,
        reader: &mut Reader<'_>,
        step: &mut Map<String, Json>,
    ) {
        let input = self.input(state, reader);
        let retries = Val::Literal(json!(0));
        let frame = state.frame_of_retries(input.clone(), &retries);
        let items = match reader.text(self, "ItemsPath") {
            Some(path) => self.resolve(&frame, &path, &reader.at("ItemsPath")),
            None => Some(input.clone()),
        };
        let items = items.unwrap_or(input.clone()).expr();
        let mut foreach = Map::new();
        // A list stays as it is; what is none is refused, as there.
        foreach.insert("in".to_owned(), json!(format!("{items} + []")));
        let scope = self.item_scope(state);
        let Some(item) = scope.item.clone() else { return };
        foreach.insert("as".to_owned(), json!(item.name));
        let frame = {
            let asker = Asker { name: state.name, retries: Some(&retries), token: None };
            Frame { document: input, context: context(&scope, &asker) }
        };
        let mut given = Val::Expr(item.name.clone());
        for key in ["Parameters", "ItemSelector"] {
            if let Some(selector) = reader.take(key) {
                given = self.payload(&frame, selector, &reader.at(key));
            }
        }
        let body = self.processor(state, reader, scope.clone(), &given);
        if json!(body).to_string().contains(&item.index) {
            foreach.insert("index".to_owned(), json!(item.index));
        }
        self.map_bounds(reader, &mut foreach);
        foreach.insert("collect".to_owned(), json!(scope.document().expr()));
        foreach.insert("do".to_owned(), json!(body));
        step.insert("foreach".to_owned(), Json::Object(foreach));
        self.result(state, reader, step, &Val::Expr("output.items".to_owned()));
    }

    fn item_scope(&mut self, state: &State<'_>) -> Scope {
        let depth = state.scope.maps;
        let number = if depth == 0 { String::new() } else { (depth + 1).to_string() };
        let index = format!("index{number}");
        let around = state.scope.item.iter().flat_map(|item| item.indices.clone());
        let item = Item {
            name: format!("item{number}"),
            indices: around.chain([index.clone()]).collect(),
            index,
        };
        Scope {
            io: self.internal(&format!("io_{}", state.id)),
            goto: self.internal(&format!("goto_{}", state.id)),
            input: Val::null(),
            item: Some(item),
            maps: depth + 1,
        }
    }

    /// The steps for one item.
    fn processor(
        &mut self,
        state: &State<'_>,
        reader: &mut Reader<'_>,
        scope: Scope,
        given: &Val,
    ) -> Vec<Json> {
        let key = if reader.has("Iterator") { "Iterator" } else { "ItemProcessor" };
        let at = reader.at(key);
        let Some(fields) = reader.object(self, key) else {
            self.problem(&state.at, "a Map state needs an `ItemProcessor`");
            return Vec::new();
        };
        let mut processor = Reader::new(fields, &at);
        processor.ignore(&["Comment"]);
        if let Some(config) = processor.object(self, "ProcessorConfig") {
            let mode = config.get("Mode").and_then(Json::as_str).unwrap_or("INLINE");
            if mode != "INLINE" {
                let at = format!("{}.Mode", processor.at("ProcessorConfig"));
                self.problem(
                    &at,
                    "a distributed Map starts runs of its own; only INLINE is translated",
                );
            }
        }
        let steps = self.inner(&mut processor, scope, given, state.id);
        processor.finish(self, "an item processor");
        steps
    }

    /// How many iterations run at once, and how many may fail.
    fn map_bounds(&mut self, reader: &mut Reader<'_>, foreach: &mut Map<String, Json>) {
        let most = match reader.whole(self, "MaxConcurrency") {
            // None at all means: as many as there are.
            None | Some(0) => MOST_AT_ONCE,
            Some(most) => most.min(MOST_AT_ONCE),
        };
        let at = reader.at("MaxConcurrencyPath");
        if reader.take("MaxConcurrencyPath").is_some() {
            let reason = "known at run time only: items are worked off one by one, which keeps \
                          any bound";
            self.note(&at, reason);
        } else if most > 1 {
            foreach.insert("concurrency".to_owned(), json!(most));
        }
        if let Some(count) = reader.whole(self, "ToleratedFailureCount") {
            foreach.insert("tolerate".to_owned(), json!(count));
        }
        if let Some(percent) = reader.whole(self, "ToleratedFailurePercentage") {
            foreach.insert("tolerate".to_owned(), json!(format!("{percent}%")));
        }
    }
}
