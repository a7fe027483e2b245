//! Expressions: a bounded profile of the Common Expression Language (CEL), our own evaluator.
//!
//! Compile once with [`Expr::compile`] (or [`Template::compile`] for a JSON value whose strings
//! contain `${ expr }`), evaluate often against a [`Scope`]. Everything is bounded by integers
//! that are the same on every machine ([`budget`]): an expression that exceeds a bound ends in
//! `expr.budget`, never in a partial value, and no operator absorbs that error. Nothing here asks
//! for the time, draws randomness or iterates over a hash map, so the same expression with the
//! same names gives the same result at the desk as on the device.
//!
//! The way of a text: `lex` cuts it into tokens, `parse` builds the tree as written (`ast`),
//! `check` resolves names, macros and functions into what `eval` runs (`code`).
//!
//! Differences from CEL: mixed `int`/`uint`/`double` arithmetic promotes to `double`; `matches`
//! takes a literal pattern; there are no messages and no optionals (`get` takes their place).

mod ast;
pub mod budget;
mod check;
mod code;
mod each;
mod error;
mod eval;
mod functions;
mod json;
mod lex;
mod map;
mod ops;
mod parse;
mod scope;
mod secret;
mod template;
mod time;
mod value;

#[cfg(test)]
mod tests;

pub use error::{ErrorKind, EvalError, ExprError, Problem, Span};
pub use map::{Key, Map};
pub use scope::{JsonScope, Lent, Path, Scope, resolve_in};
pub use secret::SecretText;
pub use template::{Template, TemplateError, TemplateFailure};
pub use time::{Duration, Timestamp};
pub use value::{TypeName, Value};

use budget::Budget;
pub(crate) use json::{JOIN_KEY, SECRET_KEY};

/// A compiled expression. Cheap to evaluate, safe to keep.
#[derive(Debug, Clone)]
pub struct Expr {
    source: std::sync::Arc<str>,
    program: std::sync::Arc<code::Program>,
}

impl Expr {
    /// Compiles a source text.
    ///
    /// # Errors
    /// The text is no expression, or exceeds a bound of [`budget`]. The error has the code
    /// `expr.parse` and the place in bytes.
    pub fn compile(source: &str) -> Result<Self, ExprError> {
        let tokens = lex::tokens(source)?;
        let tree = parse::parse(source, &tokens)?;
        let program = check::lower(&tree)?;
        Ok(Self { source: source.into(), program: std::sync::Arc::new(program) })
    }

    /// Evaluates with the standard budget.
    ///
    /// # Errors
    /// `expr.type`, `expr.key` or `expr.budget`, with the place in the source.
    pub fn eval(&self, scope: &dyn Scope) -> Result<Value, EvalError> {
        self.eval_within(scope, &mut Budget::standard())
    }

    /// Evaluates within a budget that the caller may share between expressions.
    ///
    /// # Errors
    /// As [`Expr::eval`].
    pub fn eval_within(&self, scope: &dyn Scope, budget: &mut Budget) -> Result<Value, EvalError> {
        eval::run(&self.program, scope, budget)
    }

    /// The source text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The names the expression reads, as far as they are written out: `steps.read.output` or
    /// `steps["read"].output`. Each once, in order of first use. Function names and names bound
    /// by macros are not among them.
    #[must_use]
    pub fn references(&self) -> Vec<Path> {
        self.program.references.clone()
    }

    /// The names of the secrets the expression asks for, each once.
    #[must_use]
    pub fn secrets(&self) -> &[String] {
        &self.program.secrets
    }

    /// What is certain to fail when reached, such as a call of an unknown function. CEL lets such
    /// an expression compile (`a.f() || true` is `true`); an author wants to hear of it.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.program.problems
    }
}

impl PartialEq for Expr {
    /// Expressions are equal if their texts are.
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl std::fmt::Display for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.source)
    }
}
