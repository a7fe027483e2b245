//! The functions of the language, one table per topic.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a function names the types it takes and refuses every other, also a future one"
)]

mod codec;
mod convert;
mod format;
mod lists;
mod math;
pub(super) mod pattern;
mod strings;
mod times;

use std::ops::RangeInclusive;

use super::budget::Budget;
use super::error::{Fault, excerpt};
use super::scope::Scope;
use super::value::Value;

/// A function that takes evaluated arguments. A method's receiver is its first argument.
pub(super) struct Builtin {
    name: &'static str,
    style: Style,
    /// Number of arguments, the receiver included.
    args: RangeInclusive<usize>,
    pub(super) run: Run,
}

type Run = fn(&mut Context<'_>, &[Value]) -> Result<Value, Fault>;

impl std::fmt::Debug for Builtin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What a function may use besides its arguments.
pub(super) struct Context<'a> {
    pub(super) budget: &'a mut Budget,
    pub(super) scope: &'a dyn Scope,
}

/// How a function is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// `name(x, y)`.
    Global,
    /// `x.name(y)`.
    Method,
    /// Either.
    Both,
}

const TABLES: [&[Builtin]; 7] = [
    codec::TABLE,
    convert::TABLE,
    format::TABLE,
    lists::TABLE,
    math::TABLE,
    strings::TABLE,
    times::TABLE,
];

/// Names of macros and special forms, for suggestions.
const FORMS: [&str; 14] = [
    "all",
    "exists",
    "exists_one",
    "filter",
    "get",
    "has",
    "map",
    "matches",
    "secret",
    "transformList",
    "transformMap",
    "transformMapEntry",
    "cel.bind",
    "existsOne",
];

/// The function of a name, a style and a number of arguments (a method's receiver included).
pub(super) fn find(name: &str, method: bool, args: usize) -> Option<&'static Builtin> {
    let fits = |builtin: &&Builtin| {
        builtin.name == name && builtin.style.allows(method) && builtin.args.contains(&args)
    };
    all().find(fits)
}

/// Whether functions are called as `namespace.name(…)`.
pub(super) fn is_namespace(namespace: &str) -> bool {
    all().any(|builtin| builtin.name.split_once('.').is_some_and(|(first, _)| first == namespace))
}

/// Why a call finds no function, with the nearest name there is.
pub(super) fn explain_unknown(name: &str, method: bool) -> String {
    let known: Vec<&Builtin> = all().filter(|builtin| builtin.name == name).collect();
    if known.iter().any(|builtin| builtin.style.allows(method)) {
        return format!("`{name}` does not take this number of arguments");
    }
    if known.is_empty() {
        let name = excerpt(name);
        let names = all().map(|builtin| builtin.name).chain(FORMS);
        let nearest = names
            .map(|other| (strsim::damerau_levenshtein(&name, other), other))
            .min()
            .filter(|(distance, other)| *distance <= other.len() / 3);
        let hint = nearest.map(|(_, other)| format!("; did you mean `{other}`?"));
        return format!("unknown function `{name}`{}", hint.unwrap_or_default());
    }
    if method {
        return format!("`{name}` is not a method: write {name}(value)");
    }
    format!("`{name}` is a method: write value.{name}()")
}

impl Style {
    fn allows(self, method: bool) -> bool {
        match self {
            Self::Global => !method,
            Self::Method => method,
            Self::Both => true,
        }
    }
}

fn all() -> impl Iterator<Item = &'static Builtin> {
    TABLES.into_iter().flatten()
}

const fn global(name: &'static str, args: RangeInclusive<usize>, run: Run) -> Builtin {
    Builtin { name, style: Style::Global, args, run }
}

const fn method(name: &'static str, args: RangeInclusive<usize>, run: Run) -> Builtin {
    Builtin { name, style: Style::Method, args, run }
}

const fn both(name: &'static str, args: RangeInclusive<usize>, run: Run) -> Builtin {
    Builtin { name, style: Style::Both, args, run }
}

/// The argument at a position; arity is checked when the call is resolved.
fn arg(args: &[Value], position: usize) -> &Value {
    args.get(position).unwrap_or(&Value::Null)
}

fn text(args: &[Value], position: usize) -> Result<&str, Fault> {
    let value = arg(args, position);
    value.as_str().ok_or_else(|| expected("text", value))
}

fn list(args: &[Value], position: usize) -> Result<&[Value], Fault> {
    let value = arg(args, position);
    value.as_list().ok_or_else(|| expected("a list", value))
}

/// A whole number; doubles do, so that numbers from JSON can be positions and counts.
fn whole(args: &[Value], position: usize) -> Result<i64, Fault> {
    let value = arg(args, position);
    value.as_integer().ok_or_else(|| expected("a whole number", value))
}

fn expected(what: &str, found: &Value) -> Fault {
    Fault::wrong_type(format!("expected {what}, found {}", found.type_name()))
}

/// New text, paid for.
fn new_text(context: &mut Context<'_>, text: String) -> Result<Value, Fault> {
    context.budget.allocate(text.len())?;
    Ok(Value::from(text))
}

/// A new list, paid for.
fn new_list(context: &mut Context<'_>, items: Vec<Value>) -> Result<Value, Fault> {
    context.budget.allocate_entries(items.len())?;
    Ok(Value::from(items))
}
