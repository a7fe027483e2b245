//! The tree of an expression as it is written: names and macros are not yet resolved.

use super::error::Span;
use super::value::Value;

/// A node and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) kind: NodeKind,
}

/// What a node is. Chains are flat, so the height of the tree is about the nesting of brackets.
#[derive(Debug, Clone)]
pub(super) enum NodeKind {
    Literal(Value),
    /// A name; `global` if written with a leading dot, past names bound by macros.
    Name {
        name: String,
        global: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// A function called by its bare name.
    Call {
        name: String,
        args: Vec<Node>,
    },
    /// `base.field[index].method(…)`, left to right.
    Path {
        base: Box<Node>,
        steps: Vec<(Step, Span)>,
    },
    Not {
        times: usize,
        operand: Box<Node>,
    },
    Negate {
        times: usize,
        operand: Box<Node>,
    },
    /// Operators of one precedence, left to right.
    Chain {
        first: Box<Node>,
        rest: Vec<(Operator, Node)>,
    },
    Any(Vec<Node>),
    All(Vec<Node>),
    /// `c1 ? v1 : c2 ? v2 : otherwise`.
    Choose {
        arms: Vec<(Node, Node)>,
        otherwise: Box<Node>,
    },
}

/// One step of a path.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Field(String),
    Index(Node),
    Method { name: String, args: Vec<Node> },
}

/// Operators with two operands that evaluate both of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    /// How the operator is written.
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }

    /// Whether it asks something: gives `true` or `false`.
    pub(super) fn is_test(self) -> bool {
        self.precedence() == Precedence::Relation
    }

    /// Operators of the same class form one chain.
    pub(super) fn precedence(self) -> Precedence {
        match self {
            Self::Equal
            | Self::NotEqual
            | Self::Less
            | Self::LessEqual
            | Self::Greater
            | Self::GreaterEqual
            | Self::In => Precedence::Relation,
            Self::Add | Self::Subtract => Precedence::Sum,
            Self::Multiply | Self::Divide | Self::Remainder => Precedence::Product,
        }
    }
}

/// How tightly an operator binds, loosest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Precedence {
    Or,
    And,
    Relation,
    Sum,
    Product,
}
