//! Which names an expression sees at the place where it stands.

use std::rc::Rc;

use super::Draft;
use super::problem::ProblemCode;
use super::tree::Node;
use crate::definition::model::StepIx;
use crate::expr::Expr;

/// The names that are seen everywhere in a run.
const ALWAYS: [&str; 8] =
    ["inputs", "vars", "steps", "trigger", "execution", "workflow", "agent", "now"];
/// The names that some places add, which nobody may give to something else.
const RESERVED: [&str; 5] = ["loop", "error", "output", "message", "event"];

/// What an expression at some place sees.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    /// Names, inner ones last.
    names: Vec<Name>,
    /// The `foreach` steps around the place, outer ones first.
    pub(super) around: Vec<StepIx>,
}

/// A name and what gives it.
#[derive(Debug, Clone)]
struct Name {
    text: String,
    giver: Giver,
}

/// What gives a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Giver {
    /// The run, or the place itself.
    Place,
    /// A `foreach`: its item or index.
    Foreach,
    /// A `catch`.
    Catch,
}

impl Default for Sight {
    fn default() -> Self {
        Self::only(&ALWAYS)
    }
}

impl Sight {
    /// These names and no others.
    pub(super) fn only(names: &[&str]) -> Self {
        let name = |text: &&str| Name { text: (*text).to_owned(), giver: Giver::Place };
        Self { names: names.iter().map(name).collect(), around: Vec::new() }
    }

    /// The names, the innermost first; one that hides another is told alone.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().rev().map(|name| name.text.as_str())
    }

    /// Whether a name is seen.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    /// The innermost name that a construct of this sort gives.
    pub(super) fn given_by(&self, giver: Giver) -> Option<&str> {
        let name = self.names.iter().rev().find(|name| name.giver == giver)?;
        Some(name.text.as_str())
    }

    /// All names for a message.
    pub(super) fn listed(&self) -> String {
        let mut listed: Vec<&str> = Vec::new();
        for name in &self.names {
            if !listed.contains(&name.text.as_str()) {
                listed.push(&name.text);
            }
        }
        listed.join(", ")
    }
}

impl Draft {
    /// Reads something where more names are seen than around it.
    pub(super) fn seeing<T>(
        &mut self,
        giver: Giver,
        names: &[&str],
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let mut sight = Sight::clone(&self.sight);
        sight.names.extend(names.iter().map(|text| Name { text: (*text).to_owned(), giver }));
        self.with_sight(sight, read)
    }

    /// Reads the body of a `foreach`.
    pub(super) fn seeing_items<T>(
        &mut self,
        foreach: StepIx,
        names: &[&str],
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let mut sight = Sight::clone(&self.sight);
        sight.around.push(foreach);
        let outer = std::mem::replace(&mut self.sight, Rc::new(sight));
        // The item is the last, for that is the one an author is likely to mean.
        let done = self.seeing(Giver::Foreach, names, read);
        self.sight = outer;
        done
    }

    /// Reads something where exactly these names are seen.
    pub(super) fn seeing_only<T>(
        &mut self,
        names: &[&str],
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.with_sight(Sight::only(names), read)
    }

    fn with_sight<T>(&mut self, sight: Sight, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.sight, Rc::new(sight));
        let done = read(self);
        self.sight = outer;
        done
    }

    /// A name that the author gives to something that expressions below see. It is bound even where
    /// it may not be used, so that its uses are not told as well.
    pub(super) fn bound_name(&mut self, node: &Node, what: &str, key: &str) -> Option<String> {
        let name = self.text(node, key)?;
        self.bound.entry(name.clone()).or_insert(node.at);
        let before = self.problems.len();
        self.variable_name(what, &name, node.at);
        if self.problems.len() > before {
            return Some(name);
        }
        // Words such as `in`, `true` and `int` mean something else in an expression.
        let is_free = Expr::compile(&name).is_ok_and(|expr| expr.references() == [[name.clone()]]);
        if ALWAYS.contains(&name.as_str()) || RESERVED.contains(&name.as_str()) || !is_free {
            let message = format!("`{name}` has a meaning of its own in expressions");
            let suggestion = format!("give `{key}` another name");
            self.problems.suggest(ProblemCode::Name, node.at, message, suggestion);
        }
        Some(name)
    }
}
