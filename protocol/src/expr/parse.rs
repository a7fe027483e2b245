//! Builds the tree of an expression from its tokens.
//!
//! Recursion happens at brackets only, and those are counted: operators are reduced on an explicit
//! stack, chains and paths are loops.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each place names the tokens that may stand there and refuses every other"
)]

use super::ast::{Node, NodeKind, Operator, Precedence, Step};
use super::budget::{CHAIN, NESTING, NODES};
use super::error::{ExprError, Span};
use super::lex::{Kind, Mark, Token};
use super::value::Value;

/// Parses all of a token list.
pub(super) fn parse(source: &str, tokens: &[Token]) -> Result<Node, ExprError> {
    let mut parser = Parser { source, tokens, at: 0, nodes: 0, depth: 0 };
    if parser.peek() == &Kind::End {
        return Err(ExprError::new("the expression is empty", parser.span()));
    }
    let node = parser.expression()?;
    match parser.peek() {
        Kind::End => Ok(node),
        Kind::Mark(Mark::BraceOpen) => {
            Err(parser.unexpected("messages such as `T{…}` are not part of the language"))
        }
        _ => Err(parser.unexpected("expected an operator or the end")),
    }
}

struct Parser<'a> {
    source: &'a str,
    tokens: &'a [Token],
    at: usize,
    nodes: usize,
    depth: usize,
}

/// An operator that waits on the stack for its right operand.
#[derive(Clone, Copy)]
enum Pending {
    Or,
    And,
    Binary(Operator),
}

impl Pending {
    fn precedence(self) -> Precedence {
        match self {
            Self::Or => Precedence::Or,
            Self::And => Precedence::And,
            Self::Binary(operator) => operator.precedence(),
        }
    }
}

impl Parser<'_> {
    /// An expression with its ternaries, up to a token that cannot go on.
    fn expression(&mut self) -> Result<Node, ExprError> {
        if self.depth > NESTING {
            return Err(ExprError::new(format!("nested more than {NESTING} deep"), self.span()));
        }
        self.depth += 1;
        let mut arms = Vec::new();
        let otherwise = loop {
            let condition = self.operators()?;
            if !self.eat(Mark::Question) {
                break condition;
            }
            let then = self.operators()?;
            self.expect(Mark::Colon, "expected `:` of `condition ? value : other`")?;
            arms.push((condition, then));
        };
        self.depth -= 1;
        let Some((first, _)) = arms.first() else { return Ok(otherwise) };
        let span = first.span.to(otherwise.span);
        self.limit_chain(arms.len(), span)?;
        self.node(NodeKind::Choose { arms, otherwise: Box::new(otherwise) }, span)
    }

    fn operators(&mut self) -> Result<Node, ExprError> {
        let mut operands = Operands { left: vec![self.unary()?], pending: Vec::new() };
        while let Some(operator) = self.peek_operator() {
            self.at += 1;
            while operands.pending.last().is_some_and(|p| p.precedence() >= operator.precedence()) {
                self.reduce(&mut operands)?;
            }
            operands.pending.push(operator);
            let operand = self.unary()?;
            operands.left.push(operand);
        }
        while !operands.pending.is_empty() {
            self.reduce(&mut operands)?;
        }
        operands.left.pop().ok_or_else(|| self.unexpected("expected a value"))
    }

    /// Joins the last two operands by the last pending operator.
    fn reduce(&mut self, operands: &mut Operands) -> Result<(), ExprError> {
        let joined = (operands.pending.pop(), operands.left.pop(), operands.left.pop());
        let (Some(operator), Some(right), Some(left)) = joined else {
            return Err(self.unexpected("expected a value"));
        };
        let span = left.span.to(right.span);
        let node = match operator {
            Pending::Or => self.join_logic(left, right, span, true)?,
            Pending::And => self.join_logic(left, right, span, false)?,
            Pending::Binary(operator) => self.join_chain(left, operator, right, span)?,
        };
        operands.left.push(node);
        Ok(())
    }

    fn join_logic(
        &mut self,
        left: Node,
        right: Node,
        span: Span,
        any: bool,
    ) -> Result<Node, ExprError> {
        let mut operands = match (left.kind, any) {
            (NodeKind::Any(operands), true) | (NodeKind::All(operands), false) => operands,
            (kind, _) => vec![Node { span: left.span, kind }],
        };
        operands.push(right);
        let kind = if any { NodeKind::Any(operands) } else { NodeKind::All(operands) };
        self.node(kind, span)
    }

    fn join_chain(
        &mut self,
        left: Node,
        operator: Operator,
        right: Node,
        span: Span,
    ) -> Result<Node, ExprError> {
        let same = |rest: &[(Operator, Node)]| {
            rest.first().is_some_and(|(other, _)| other.precedence() == operator.precedence())
        };
        let (first, mut rest) = match left.kind {
            NodeKind::Chain { first, rest } if same(&rest) => (first, rest),
            kind => (Box::new(Node { span: left.span, kind }), Vec::new()),
        };
        rest.push((operator, right));
        self.limit_chain(rest.len(), span)?;
        self.node(NodeKind::Chain { first, rest }, span)
    }

    fn unary(&mut self) -> Result<Node, ExprError> {
        let start = self.span();
        let mark = match self.peek() {
            Kind::Mark(mark @ (Mark::Not | Mark::Minus)) => *mark,
            _ => return self.path(),
        };
        let mut times = 0;
        while self.eat(mark) {
            times += 1;
        }
        self.limit_chain(times, start)?;
        if mark == Mark::Not {
            let operand = Box::new(self.path()?);
            let span = start.to(operand.span);
            return self.node(NodeKind::Not { times, operand }, span);
        }
        // The last minus belongs to a number, so that the smallest `int` can be written.
        let literal = self.negative_literal()?;
        let operand = match literal {
            Some(literal) => {
                times -= 1;
                self.steps(literal)?
            }
            None => self.path()?,
        };
        if times == 0 {
            return Ok(operand);
        }
        let span = start.to(operand.span);
        self.node(NodeKind::Negate { times, operand: Box::new(operand) }, span)
    }

    fn negative_literal(&mut self) -> Result<Option<Node>, ExprError> {
        let span = self.span();
        let value = match self.peek() {
            Kind::Int(magnitude) => {
                let number = 0_i64.checked_sub_unsigned(*magnitude);
                Value::Int(number.ok_or_else(|| self.unexpected("the number exceeds `int`"))?)
            }
            Kind::Double(number) => Value::Double(-number),
            _ => return Ok(None),
        };
        self.at += 1;
        self.node(NodeKind::Literal(value), span).map(Some)
    }

    /// A primary with the fields, indexes and calls that follow it.
    fn path(&mut self) -> Result<Node, ExprError> {
        let base = self.primary()?;
        self.steps(base)
    }

    fn steps(&mut self, base: Node) -> Result<Node, ExprError> {
        let mut steps = Vec::new();
        loop {
            let start = self.span();
            let step = if self.eat(Mark::Dot) {
                self.field_or_method()?
            } else if self.eat(Mark::BracketOpen) {
                let index = self.expression()?;
                self.expect(Mark::BracketClose, "expected `]`")?;
                Step::Index(index)
            } else {
                break;
            };
            self.count()?;
            steps.push((step, start.to(self.previous())));
            self.limit_chain(steps.len(), start)?;
        }
        let Some((_, last)) = steps.last() else { return Ok(base) };
        let span = base.span.to(*last);
        self.node(NodeKind::Path { base: Box::new(base), steps }, span)
    }

    fn field_or_method(&mut self) -> Result<Step, ExprError> {
        let (name, quoted) = match self.peek() {
            Kind::Name(name) => (name.clone(), false),
            Kind::Quoted(name) => (name.clone(), true),
            Kind::Mark(Mark::Question) => {
                return Err(self.unexpected("optional fields are not part of the language: use `get(value, \"a.b\", default)`"));
            }
            _ => return Err(self.unexpected("expected a field name after `.`")),
        };
        if !quoted && name == "in" {
            return Err(self.unexpected("`in` is a reserved word: write `[\"in\"]`"));
        }
        self.at += 1;
        if !quoted && self.eat(Mark::ParenOpen) {
            let args = self.items(Mark::ParenClose, "expected `,` or `)`", false)?;
            return Ok(Step::Method { name, args });
        }
        Ok(Step::Field(name))
    }

    fn primary(&mut self) -> Result<Node, ExprError> {
        let start = self.span();
        let kind = self.peek().clone();
        self.at += usize::from(kind != Kind::End);
        let literal = match kind {
            Kind::Int(number) => {
                let number = i64::try_from(number).map_err(|_| {
                    ExprError::new("the number exceeds `int`; write it as `…u` or `….0`", start)
                })?;
                Value::Int(number)
            }
            Kind::Uint(number) => Value::Uint(number),
            Kind::Double(number) => Value::Double(number),
            Kind::String(text) => Value::from(text),
            Kind::Bytes(bytes) => Value::Bytes(bytes.into()),
            Kind::Name(name) => return self.name(name, start, false),
            Kind::Mark(Mark::Dot) => return self.global_name(start),
            Kind::Mark(Mark::ParenOpen) => {
                let inner = self.expression()?;
                self.expect(Mark::ParenClose, "expected `)`")?;
                return Ok(inner);
            }
            Kind::Mark(Mark::BracketOpen) => {
                let items = self.items(Mark::BracketClose, "expected `,` or `]`", true)?;
                return self.node(NodeKind::List(items), start.to(self.previous()));
            }
            Kind::Mark(Mark::BraceOpen) => return self.map(start),
            Kind::End => return Err(self.unexpected("expected a value")),
            Kind::Quoted(_) | Kind::Mark(_) => {
                self.at -= 1;
                return Err(self.unexpected("expected a value"));
            }
        };
        self.node(NodeKind::Literal(literal), start)
    }

    fn name(&mut self, name: String, start: Span, global: bool) -> Result<Node, ExprError> {
        let literal = match name.as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "null" => Some(Value::Null),
            "in" => {
                self.at -= 1;
                return Err(self.unexpected("expected a value"));
            }
            _ => None,
        };
        if let Some(literal) = literal {
            return self.node(NodeKind::Literal(literal), start);
        }
        if self.eat(Mark::ParenOpen) {
            let args = self.items(Mark::ParenClose, "expected `,` or `)`", false)?;
            return self.node(NodeKind::Call { name, args }, start.to(self.previous()));
        }
        self.node(NodeKind::Name { name, global }, start.to(self.previous()))
    }

    fn global_name(&mut self, start: Span) -> Result<Node, ExprError> {
        let Kind::Name(name) = self.peek() else {
            return Err(self.unexpected("expected a name after `.`"));
        };
        let name = name.clone();
        self.at += 1;
        self.name(name, start, true)
    }

    /// Expressions separated by commas up to `close`, whose opening mark is already taken.
    fn items(
        &mut self,
        close: Mark,
        expected: &str,
        trailing_comma: bool,
    ) -> Result<Vec<Node>, ExprError> {
        let mut items = Vec::new();
        if self.eat(close) {
            return Ok(items);
        }
        loop {
            items.push(self.expression()?);
            if self.eat(close) {
                return Ok(items);
            }
            self.expect(Mark::Comma, expected)?;
            if trailing_comma && self.eat(close) {
                return Ok(items);
            }
        }
    }

    fn map(&mut self, start: Span) -> Result<Node, ExprError> {
        let mut entries = Vec::new();
        while !self.eat(Mark::BraceClose) {
            let key = self.expression()?;
            self.expect(Mark::Colon, "expected `:` after the key")?;
            entries.push((key, self.expression()?));
            if !self.eat(Mark::Comma) {
                self.expect(Mark::BraceClose, "expected `,` or `}`")?;
                break;
            }
        }
        self.node(NodeKind::Map(entries), start.to(self.previous()))
    }

    fn peek_operator(&self) -> Option<Pending> {
        let operator = match self.peek() {
            Kind::Mark(mark) => match mark {
                Mark::Or => return Some(Pending::Or),
                Mark::And => return Some(Pending::And),
                Mark::Equal => Operator::Equal,
                Mark::NotEqual => Operator::NotEqual,
                Mark::LessEqual => Operator::LessEqual,
                Mark::Less => Operator::Less,
                Mark::GreaterEqual => Operator::GreaterEqual,
                Mark::Greater => Operator::Greater,
                Mark::Plus => Operator::Add,
                Mark::Minus => Operator::Subtract,
                Mark::Times => Operator::Multiply,
                Mark::Slash => Operator::Divide,
                Mark::Percent => Operator::Remainder,
                Mark::Not
                | Mark::Question
                | Mark::Colon
                | Mark::Dot
                | Mark::Comma
                | Mark::ParenOpen
                | Mark::ParenClose
                | Mark::BracketOpen
                | Mark::BracketClose
                | Mark::BraceOpen
                | Mark::BraceClose => return None,
            },
            Kind::Name(name) if name == "in" => Operator::In,
            _ => return None,
        };
        Some(Pending::Binary(operator))
    }

    fn node(&mut self, kind: NodeKind, span: Span) -> Result<Node, ExprError> {
        self.count()?;
        Ok(Node { span, kind })
    }

    fn count(&mut self) -> Result<(), ExprError> {
        self.nodes += 1;
        if self.nodes > NODES {
            return Err(ExprError::new(format!("more than {NODES} nodes"), self.span()));
        }
        Ok(())
    }

    fn limit_chain(&self, length: usize, span: Span) -> Result<(), ExprError> {
        if length > CHAIN {
            return Err(ExprError::new(format!("more than {CHAIN} operators in a row"), span));
        }
        Ok(())
    }

    fn eat(&mut self, mark: Mark) -> bool {
        let found = self.peek() == &Kind::Mark(mark);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, mark: Mark, message: &str) -> Result<(), ExprError> {
        if self.eat(mark) { Ok(()) } else { Err(self.unexpected(message)) }
    }

    fn unexpected(&self, message: &str) -> ExprError {
        let span = self.span();
        let found = match self.peek() {
            Kind::End => "the end".to_owned(),
            Kind::Mark(mark) => format!("`{}`", mark.text()),
            _ => format!("`{}`", super::error::excerpt(self.text(span))),
        };
        ExprError::new(format!("{message}, found {found}"), span)
    }

    fn text(&self, span: Span) -> &str {
        self.source.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    fn peek(&self) -> &Kind {
        self.tokens.get(self.at).map_or(&Kind::End, |token| &token.kind)
    }

    fn span(&self) -> Span {
        let last = self.tokens.last().map_or(Span::default(), |token| token.span);
        self.tokens.get(self.at).map_or(last, |token| token.span)
    }

    fn previous(&self) -> Span {
        let at = self.at.saturating_sub(1);
        self.tokens.get(at).map_or(Span::default(), |token| token.span)
    }
}

/// The two stacks of operator precedence parsing.
struct Operands {
    left: Vec<Node>,
    pending: Vec<Pending>,
}
