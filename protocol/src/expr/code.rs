//! What evaluation runs: the tree with its names, macros and functions resolved.

use super::ast::Operator;
use super::error::{Problem, Span};
use super::functions::{Builtin, pattern::Pattern};
use super::scope::Path;
use super::value::{TypeName, Value};

/// A whole expression.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) code: Code,
    /// Every path the expression asks its scope for, each once; [`Op::Reference`] points here.
    pub(super) free: Vec<Free>,
    /// The paths of `free` that are not names of types.
    pub(super) references: Vec<Path>,
    pub(super) secrets: Vec<String>,
    pub(super) problems: Vec<Problem>,
}

/// A name that is not bound inside the expression.
#[derive(Debug)]
pub(super) struct Free {
    pub(super) path: Path,
    /// The type that the first elements of the path name where the scope does not know them.
    pub(super) type_name: Option<(usize, TypeName)>,
    /// It may be read more than once in one evaluation, so what the scope says to it is kept.
    pub(super) again: bool,
}

/// A step of evaluation and where it stands in the source.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) span: Span,
    pub(super) op: Op,
}

/// What a step does.
#[derive(Debug)]
pub(super) enum Op {
    Constant(Value),
    /// A name bound by a macro: its position from the outermost one.
    Local(usize),
    /// A path into the scope: its position in [`Program::free`].
    Reference(usize),
    List(Vec<Code>),
    Map(Vec<(Code, Code)>),
    Call(Call),
    Path {
        base: Box<Code>,
        steps: Vec<(Step, Span)>,
    },
    /// `has(base.field)`.
    Has {
        base: Box<Code>,
        field: String,
    },
    /// `get(value, path, default)`.
    GetOr {
        value: Box<Code>,
        path: Box<Code>,
        default: Box<Code>,
    },
    /// `cel.bind(name, value, body)`.
    Bind {
        value: Box<Code>,
        body: Box<Code>,
    },
    Not {
        times: usize,
        operand: Box<Code>,
    },
    Negate {
        times: usize,
        operand: Box<Code>,
    },
    Chain {
        first: Box<Code>,
        rest: Vec<(Operator, Code)>,
    },
    Any(Vec<Code>),
    All(Vec<Code>),
    Choose {
        arms: Vec<(Code, Code)>,
        otherwise: Box<Code>,
    },
}

/// One step of a path, applied to the value so far.
#[derive(Debug)]
pub(super) enum Step {
    Field(String),
    Index(Code),
    /// The value so far is the first argument.
    Call(Call),
    Each(Box<Comprehension>),
}

/// A call and its arguments.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) target: Target,
    pub(super) args: Vec<Code>,
}

/// What is called.
#[derive(Debug)]
pub(super) enum Target {
    Builtin(&'static Builtin),
    Matches(Pattern),
    /// Fails when it is reached, so that `||` and `&&` may absorb it.
    Unknown(String),
}

/// A macro that goes over a list or map.
#[derive(Debug)]
pub(super) struct Comprehension {
    pub(super) kind: Each,
    /// Whether it binds index and value (key and value) instead of the value (key) alone.
    pub(super) two: bool,
    /// Only elements for which this holds are taken.
    pub(super) filter: Option<Code>,
    pub(super) body: Code,
}

/// What a comprehension makes of the bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Each {
    All,
    Exists,
    ExistsOne,
    List,
    /// The map's own keys with new values.
    Map,
    /// New entries: each body is a map.
    Entries,
}
