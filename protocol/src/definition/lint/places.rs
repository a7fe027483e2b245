//! Where in the document a step, one of its keys or a name in it stands.

use crate::definition::draft::{Entry, Node, Place, find_name};
use crate::definition::model::{StepIx, Workflow};
use crate::ordered::VecMap;

/// Keys whose values are data, never steps.
const DATA: [&str; 15] = [
    "with", "set", "output", "export", "payload", "data", "fields", "details", "inputs", "vars",
    "outputs", "form", "succeed", "fail", "triggers",
];
/// Kinds whose canonical `config` is data.
const DATA_KINDS: [&str; 3] = ["set", "succeed", "fail"];
/// The longest text, in bytes, that is searched for a name.
const SEARCHED: usize = 4 * 1024;

/// The nodes of a document by what they say.
#[derive(Debug)]
pub(super) struct Places<'t> {
    root: &'t Node,
    steps: VecMap<String, &'t Node>,
}

impl<'t> Places<'t> {
    pub(super) fn new(root: &'t Node, workflow: &Workflow) -> Self {
        let mut steps = VecMap::new();
        let known: VecMap<&str, ()> =
            workflow.steps.iter().map(|step| (step.id.as_str(), ())).collect();
        // At most as deep as values may be nested.
        fn search<'t>(
            node: &'t Node,
            known: &VecMap<&str, ()>,
            steps: &mut VecMap<String, &'t Node>,
        ) {
            for item in node.list().unwrap_or_default() {
                search(item, known, steps);
            }
            let Some(entries) = node.map() else { return };
            if let Some(id) = text_of(entries, "id").filter(|id| known.contains_key(id)) {
                steps.entry(id.to_owned()).or_insert(node);
            }
            let is_data_kind = text_of(entries, "type").is_some_and(|t| DATA_KINDS.contains(&t));
            for entry in entries {
                let is_data =
                    DATA.contains(&entry.key.as_str()) || (is_data_kind && entry.key == "config");
                if !is_data {
                    search(&entry.value, known, steps);
                }
            }
        }
        search(root, &known, &mut steps);
        Self { root, steps }
    }

    /// The map that a step is written as.
    pub(super) fn step(&self, workflow: &Workflow, step: StepIx) -> &'t Node {
        self.steps.get(workflow.step(step).id.as_str()).copied().unwrap_or(self.root)
    }

    /// Where a step is named.
    pub(super) fn id(&self, workflow: &Workflow, step: StepIx) -> Place {
        let node = self.step(workflow, step);
        entry(node, "id").map_or(node.at, |entry| entry.value.at)
    }

    /// What stands under a key of the document.
    pub(super) fn top(&self, key: &str) -> Option<&'t Entry> {
        entry(self.root, key)
    }

    /// What stands under a key of a step: beside its kind, in its kind's map, or in its `config`.
    pub(super) fn key(&self, workflow: &Workflow, step: StepIx, key: &str) -> Option<&'t Entry> {
        let node = self.step(workflow, step);
        let kind = workflow.step(step).kind.key();
        let inner = [kind, "config"].into_iter().filter_map(|name| entry(node, name));
        entry(node, key).or_else(|| inner.filter_map(|found| entry(&found.value, key)).next())
    }

    /// Where a dotted name stands: under a key of a step, or else anywhere in the step; of the
    /// document where there is no step.
    pub(super) fn name(
        &self,
        workflow: &Workflow,
        step: Option<StepIx>,
        key: &str,
        name: &str,
    ) -> Place {
        let Some(step) = step else {
            let found = self.top(key);
            return found
                .map_or(self.root.at, |entry| search_name(&entry.value, name).unwrap_or(entry.at));
        };
        let under = self.key(workflow, step, key);
        let found = under.and_then(|entry| search_name(&entry.value, name));
        found.or(under.map(|entry| entry.value.at)).unwrap_or_else(|| self.id(workflow, step))
    }
}

/// The entry of a map with a key.
pub(super) fn entry<'t>(node: &'t Node, key: &str) -> Option<&'t Entry> {
    node.map()?.iter().find(|entry| entry.key == key)
}

fn text_of<'t>(entries: &'t [Entry], key: &str) -> Option<&'t str> {
    let entry = entries.iter().find(|entry| entry.key == key)?;
    entry.value.scalar().map(|scalar| scalar.text.as_str())
}

/// Where a dotted name is first written in the texts of a node.
fn search_name(node: &Node, name: &str) -> Option<Place> {
    if let Some(scalar) = node.scalar() {
        let text = Some(scalar.text.as_str()).filter(|text| text.len() <= SEARCHED)?;
        return Some(node.place_of(find_name(text, name)?));
    }
    let below = node.map().unwrap_or_default().iter().map(|entry| &entry.value);
    node.list().unwrap_or_default().iter().chain(below).find_map(|node| search_name(node, name))
}
