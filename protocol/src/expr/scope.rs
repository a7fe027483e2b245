//! Where the names in an expression get their values.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::value::Value;
use crate::ordered::VecMap;

/// A name and the fields below it as far as they are written out: `["steps", "read", "output"]`.
pub type Path = Vec<String>;

/// A value that a scope has and lends, or makes.
pub type Lent<'a> = Cow<'a, Value>;

/// The names an expression sees.
///
/// One evaluation asks for each path that the expression mentions at most once, so a scope may
/// convert on demand. [`lookup`](Self::lookup) alone is enough; a scope over large JSON should
/// also implement [`resolve`](Self::resolve) (with [`resolve_in`]) so that only the part that is
/// read gets converted.
pub trait Scope {
    /// The value of a name. It may be dotted (`a.b`): CEL lets a scope bind qualified names, and
    /// the longest bound one wins.
    fn lookup(&self, name: &str) -> Option<Lent<'_>>;

    /// Resolves as much of `path` as this scope likes: how many of its elements were used, and
    /// the value they lead to; the evaluator selects the rest. At least one element must be used.
    /// `None`: the first name is unknown.
    fn resolve(&self, path: &[String]) -> Option<(usize, Lent<'_>)> {
        let dotted = |used: usize| Some((used, self.lookup(&path[..used].join("."))?));
        let plain = || Some((1, self.lookup(path.first()?)?));
        (2..=path.len()).rev().find_map(dotted).or_else(plain)
    }

    /// What `uuid(tag)` and `rand(tag)` derive from: the execution's seed and the step's path.
    /// `None` where there is no run, which makes these functions fail.
    fn seed(&self) -> Option<[u8; 32]> {
        None
    }
}

/// No names at all.
impl Scope for () {
    fn lookup(&self, _name: &str) -> Option<Lent<'_>> {
        None
    }
}

impl Scope for BTreeMap<String, Value> {
    fn lookup(&self, name: &str) -> Option<Lent<'_>> {
        self.get(name).map(Lent::Borrowed)
    }
}

impl Scope for VecMap<String, Value> {
    fn lookup(&self, name: &str) -> Option<Lent<'_>> {
        self.get(name).map(Lent::Borrowed)
    }
}

/// The members of a JSON object as names; integers stay integers.
#[derive(Debug, Clone, Copy)]
pub struct JsonScope<'a>(pub &'a Json);

impl Scope for JsonScope<'_> {
    fn lookup(&self, name: &str) -> Option<Lent<'_>> {
        self.0.get(name).map(Value::from_json_typed).map(Lent::Owned)
    }

    fn resolve(&self, path: &[String]) -> Option<(usize, Lent<'_>)> {
        let (first, rest) = path.split_first()?;
        let (used, value) = resolve_in(self.0.get(first)?, rest);
        Some((used + 1, Lent::Owned(value)))
    }
}

/// Follows `path` into a JSON value as far as its members go and converts only what is there
/// (integers stay integers): how many elements of the path were used, and the value.
#[must_use]
pub fn resolve_in(json: &Json, path: &[String]) -> (usize, Value) {
    let mut here = json;
    let mut used = 0;
    while let Some(next) = path.get(used).and_then(|name| here.as_object()?.get(name)) {
        here = next;
        used += 1;
    }
    (used, Value::from_json_typed(here))
}
