//! A document as a tree that knows its places. At most [`crate::limits::VALUE_DEPTH`] deep, so
//! walking it may recurse.

use serde_json::Value as Json;

use super::problem::Place;

/// What a node weighs beside its text.
const NODE_WEIGHT: usize = 16;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(in crate::definition) struct Node {
    pub(in crate::definition) at: Place,
    pub(in crate::definition) tree: Tree,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(in crate::definition) enum Tree {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A single value.
#[derive(Debug, Clone)]
pub(in crate::definition) struct Scalar {
    /// By the core schema.
    pub(in crate::definition) value: Json,
    /// The text, which a number such as `1.10` would lose.
    pub(in crate::definition) text: String,
    /// Characters between the node's place and the text's; `None` where places in the text do not
    /// correspond to places in the line (escapes, several lines).
    pub(in crate::definition) lead: Option<u32>,
}

/// A key of a map with its value.
#[derive(Debug, Clone)]
pub(in crate::definition) struct Entry {
    pub(in crate::definition) key: String,
    pub(in crate::definition) at: Place,
    pub(in crate::definition) value: Node,
}

impl Scalar {
    /// Nothing, where nothing was written.
    pub(in crate::definition) fn null() -> Self {
        Self { value: Json::Null, text: String::new(), lead: None }
    }
}

impl Node {
    /// What it is, for messages.
    pub(in crate::definition) fn describe(&self) -> &'static str {
        match &self.tree {
            Tree::List(_) => "a list",
            Tree::Map(_) => "a map",
            Tree::Scalar(scalar) => match scalar.value {
                Json::Null => "empty",
                Json::Bool(_) => "true or false",
                Json::Number(_) => "a number",
                Json::String(_) | Json::Array(_) | Json::Object(_) => "a text",
            },
        }
    }

    pub(in crate::definition) fn is_null(&self) -> bool {
        matches!(&self.tree, Tree::Scalar(scalar) if scalar.value.is_null())
    }

    pub(in crate::definition) fn scalar(&self) -> Option<&Scalar> {
        match &self.tree {
            Tree::Scalar(scalar) => Some(scalar),
            Tree::List(_) | Tree::Map(_) => None,
        }
    }

    /// The text of a string.
    pub(in crate::definition) fn text(&self) -> Option<&str> {
        self.scalar()?.value.as_str()
    }

    pub(in crate::definition) fn list(&self) -> Option<&[Self]> {
        match &self.tree {
            Tree::List(items) => Some(items),
            Tree::Scalar(_) | Tree::Map(_) => None,
        }
    }

    pub(in crate::definition) fn map(&self) -> Option<&[Entry]> {
        match &self.tree {
            Tree::Map(entries) => Some(entries),
            Tree::Scalar(_) | Tree::List(_) => None,
        }
    }

    /// The value without its places. Recurses at most [`limits::VALUE_DEPTH`] deep.
    pub(in crate::definition) fn json(&self) -> Json {
        match &self.tree {
            Tree::Scalar(scalar) => scalar.value.clone(),
            Tree::List(items) => items.iter().map(Self::json).collect(),
            Tree::Map(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.value.json())).collect()
            }
        }
    }

    /// The node behind a JSON pointer (RFC 6901), or the deepest one on the way.
    pub(in crate::definition) fn follow(&self, pointer: &str) -> &Self {
        let mut here = self;
        for part in pointer.split('/').skip(1) {
            let name = part.replace("~1", "/").replace("~0", "~");
            let next = match &here.tree {
                Tree::Scalar(_) => None,
                Tree::List(items) => name.parse().ok().and_then(|n: usize| items.get(n)),
                Tree::Map(entries) => {
                    entries.iter().find(|entry| entry.key == name).map(|entry| &entry.value)
                }
            };
            match next {
                Some(next) => here = next,
                None => break,
            }
        }
        here
    }

    /// The place of byte `offset` in the scalar's text, as far as that can be told.
    pub(in crate::definition) fn place_of(&self, offset: usize) -> Place {
        let inside = self.scalar().and_then(|scalar| {
            let before = scalar.text.get(..offset)?;
            u32::try_from(before.chars().count()).ok()?.checked_add(scalar.lead?)
        });
        Place { column: self.at.column + inside.unwrap_or(0), ..self.at }
    }

    /// Bytes of text below it and something for each node: bounds what aliases blow up.
    pub(in crate::definition) fn weight(&self) -> usize {
        NODE_WEIGHT
            + match &self.tree {
                Tree::Scalar(scalar) => scalar.text.len(),
                Tree::List(items) => items.iter().map(Self::weight).sum(),
                Tree::Map(entries) => entries.iter().map(|e| e.key.len() + e.value.weight()).sum(),
            }
    }

    /// How many lists and maps are in one another here.
    pub(in crate::definition) fn depth(&self) -> usize {
        match &self.tree {
            Tree::Scalar(_) => 0,
            Tree::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Tree::Map(entries) => 1 + entries.iter().map(|e| e.value.depth()).max().unwrap_or(0),
        }
    }
}
