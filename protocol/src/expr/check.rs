//! Resolves the tree as written into what evaluation runs: binds names, expands macros, finds
//! functions, compiles patterns and bounds the height.

use super::ast::{Node, NodeKind, Operator, Step as WrittenStep};
use super::budget::HEIGHT;
use super::code::{Call, Code, Comprehension, Each, Free, Op, Program, Step, Target};
use super::error::{ExprError, Problem, Span};
use super::functions::{self, pattern::Pattern};
use super::scope::Path;
use super::secret::SecretText;
use super::value::{TypeName, Value};

/// Resolves a whole expression.
pub(super) fn lower(tree: &Node) -> Result<Program, ExprError> {
    let mut checker = Checker::default();
    let code = checker.code(tree)?;
    let references = checker.free.iter().filter(|free| free.type_name.is_none());
    Ok(Program {
        code,
        references: references.map(|free| free.path.clone()).collect(),
        free: checker.free,
        secrets: checker.secrets,
        problems: checker.problems,
    })
}

#[derive(Default)]
struct Checker {
    /// Names bound by the macros around the current place, outermost first.
    locals: Vec<String>,
    height: usize,
    free: Vec<Free>,
    secrets: Vec<String>,
    problems: Vec<Problem>,
}

impl Checker {
    fn code(&mut self, node: &Node) -> Result<Code, ExprError> {
        if self.height >= HEIGHT {
            let message = format!("operators and brackets nested more than {HEIGHT} deep");
            return Err(ExprError::new(message, node.span));
        }
        self.height += 1;
        let op = self.op(node)?;
        self.height -= 1;
        Ok(Code { span: node.span, op })
    }

    fn op(&mut self, node: &Node) -> Result<Op, ExprError> {
        Ok(match &node.kind {
            NodeKind::Literal(value) => Op::Constant(value.clone()),
            NodeKind::Name { .. } => self.path(node, &[])?,
            NodeKind::Path { base, steps } => self.path(base, steps)?,
            NodeKind::Call { name, args } => self.call(name, args, node.span)?,
            NodeKind::List(items) => Op::List(self.all(items)?),
            NodeKind::Map(entries) => Op::Map(self.pairs(entries)?),
            NodeKind::Not { times, operand } => {
                Op::Not { times: *times, operand: Box::new(self.code(operand)?) }
            }
            NodeKind::Negate { times, operand } => {
                Op::Negate { times: *times, operand: Box::new(self.code(operand)?) }
            }
            NodeKind::Chain { first, rest } => {
                let first = Box::new(self.code(first)?);
                let rest = rest.iter().map(|(operator, node)| Ok((*operator, self.code(node)?)));
                let rest = rest.collect::<Result<Vec<_>, ExprError>>()?;
                if let Some((operator, next)) = rest.first()
                    && *operator != Operator::Add
                {
                    self.no_secret(&first);
                    self.no_secret(next);
                }
                for (_, operand) in rest.iter().skip(1).filter(|(o, _)| *o != Operator::Add) {
                    self.no_secret(operand);
                }
                Op::Chain { first, rest }
            }
            NodeKind::Any(operands) => Op::Any(self.all(operands)?),
            NodeKind::All(operands) => Op::All(self.all(operands)?),
            NodeKind::Choose { arms, otherwise } => {
                Op::Choose { arms: self.pairs(arms)?, otherwise: Box::new(self.code(otherwise)?) }
            }
        })
    }

    fn all(&mut self, nodes: &[Node]) -> Result<Vec<Code>, ExprError> {
        nodes.iter().map(|node| self.code(node)).collect()
    }

    fn pairs(&mut self, pairs: &[(Node, Node)]) -> Result<Vec<(Code, Code)>, ExprError> {
        pairs.iter().map(|(left, right)| Ok((self.code(left)?, self.code(right)?))).collect()
    }

    /// A base with steps. A free name takes the fields that are written out into its reference.
    fn path(&mut self, base: &Node, steps: &[(WrittenStep, Span)]) -> Result<Op, ExprError> {
        let NodeKind::Name { name, global } = &base.kind else {
            let base = self.code(base)?;
            return self.steps(base, steps);
        };
        let bound = self.locals.iter().rposition(|local| local == name).filter(|_| !global);
        if let Some(position) = bound {
            return self.steps(Code { span: base.span, op: Op::Local(position) }, steps);
        }
        if let Some(((WrittenStep::Method { name: method, args }, span), rest)) =
            steps.split_first()
            && let Some(op) = self.namespaced(name, method, args, base.span.to(*span))?
        {
            return self.steps(Code { span: base.span.to(*span), op }, rest);
        }
        let mut path = vec![name.clone()];
        path.extend(steps.iter().map_while(|(step, _)| written_field(step)).map(str::to_owned));
        let used = path.len() - 1;
        let span = used.checked_sub(1).map_or(base.span, |last| base.span.to(steps[last].1));
        let reference = Code { span, op: Op::Reference(self.reference(path)) };
        self.steps(reference, &steps[used..])
    }

    fn reference(&mut self, path: Path) -> usize {
        if let Some(known) = self.free.iter().position(|free| free.path == path) {
            self.free[known].again = true;
            return known;
        }
        // CEL's names of types have one or three parts.
        let type_name = [1, 3]
            .into_iter()
            .find_map(|parts| Some((parts, TypeName::parse(&path.get(..parts)?.join("."))?)));
        // Inside a macro it may be read once for each element.
        let again = !self.locals.is_empty();
        self.free.push(Free { path, type_name, again });
        self.free.len() - 1
    }

    fn steps(&mut self, base: Code, steps: &[(WrittenStep, Span)]) -> Result<Op, ExprError> {
        if steps.is_empty() {
            return Ok(base.op);
        }
        let lowered = steps.iter().map(|(step, span)| {
            let step = match step {
                WrittenStep::Field(name) => Step::Field(name.clone()),
                WrittenStep::Index(index) => Step::Index(self.code(index)?),
                WrittenStep::Method { name, args } => self.method(name, args, *span)?,
            };
            Ok((step, *span))
        });
        let steps = lowered.collect::<Result<_, ExprError>>()?;
        self.no_secret(&base);
        Ok(Op::Path { base: Box::new(base), steps })
    }

    fn method(&mut self, name: &str, args: &[Node], span: Span) -> Result<Step, ExprError> {
        if let Some(shape) = Macro::find(name, args.len()) {
            return Ok(Step::Each(Box::new(self.comprehension(shape, args)?)));
        }
        if let ("matches", [pattern]) = (name, args) {
            let target = Target::Matches(compile_pattern(pattern)?);
            return Ok(Step::Call(Call { target, args: Vec::new() }));
        }
        let target = match functions::find(name, true, args.len() + 1) {
            Some(builtin) => Target::Builtin(builtin),
            None => self.unknown(name, true, span),
        };
        Ok(Step::Call(Call { target, args: self.all(args)? }))
    }

    fn call(&mut self, name: &str, args: &[Node], span: Span) -> Result<Op, ExprError> {
        match (name, args) {
            ("has", [operand]) => return self.has(operand),
            ("get", [value, path, default]) => {
                return Ok(Op::GetOr {
                    value: Box::new(self.code(value)?),
                    path: Box::new(self.code(path)?),
                    default: Box::new(self.code(default)?),
                });
            }
            ("secret", [operand]) => return self.secret(operand),
            ("matches", [text, pattern]) => {
                let target = Target::Matches(compile_pattern(pattern)?);
                return Ok(Op::Call(Call { target, args: vec![self.code(text)?] }));
            }
            _ => {}
        }
        let target = match functions::find(name, false, args.len()) {
            Some(builtin) => Target::Builtin(builtin),
            None => self.unknown(name, false, span),
        };
        Ok(Op::Call(Call { target, args: self.all(args)? }))
    }

    /// `math.abs(x)` and the like: a function whose name has a dot.
    fn namespaced(
        &mut self,
        namespace: &str,
        name: &str,
        args: &[Node],
        span: Span,
    ) -> Result<Option<Op>, ExprError> {
        if let ("cel", "bind", [variable, value, body]) = (namespace, name, args) {
            let value = Box::new(self.code(value)?);
            self.locals.push(variable_name(variable)?);
            let body = self.code(body);
            self.locals.pop();
            return Ok(Some(Op::Bind { value, body: Box::new(body?) }));
        }
        if !functions::is_namespace(namespace) {
            return Ok(None);
        }
        let full = format!("{namespace}.{name}");
        let target = match functions::find(&full, false, args.len()) {
            Some(builtin) => Target::Builtin(builtin),
            None => self.unknown(&full, false, span),
        };
        Ok(Some(Op::Call(Call { target, args: self.all(args)? })))
    }

    /// Notes where a secret is used for more than to be joined with text.
    fn no_secret(&mut self, operand: &Code) {
        if matches!(operand.op, Op::Constant(Value::Secret(_))) {
            let message = "a secret can be joined with text (`'Bearer ' + secret('name')`), and \
                           nothing else"
                .to_owned();
            self.problems.push(Problem { message, span: operand.span });
        }
    }

    fn unknown(&mut self, name: &str, method: bool, span: Span) -> Target {
        let message = functions::explain_unknown(name, method);
        self.problems.push(Problem { message: message.clone(), span });
        Target::Unknown(message)
    }

    fn has(&mut self, operand: &Node) -> Result<Op, ExprError> {
        let wrong = || ExprError::new("`has` takes a field such as `has(a.b)`", operand.span);
        let NodeKind::Path { base, steps } = &operand.kind else { return Err(wrong()) };
        let Some(((WrittenStep::Field(field), _), before)) = steps.split_last() else {
            return Err(wrong());
        };
        let op = self.path(base, before)?;
        let base = Box::new(Code { span: base.span.to(operand.span), op });
        Ok(Op::Has { base, field: field.clone() })
    }

    fn secret(&mut self, operand: &Node) -> Result<Op, ExprError> {
        let NodeKind::Literal(Value::String(name)) = &operand.kind else {
            return Err(ExprError::new("`secret` takes a name in quotes", operand.span));
        };
        if !self.secrets.iter().any(|known| **known == **name) {
            self.secrets.push(name.to_string());
        }
        Ok(Op::Constant(Value::Secret(SecretText::named(name))))
    }

    fn comprehension(&mut self, shape: Macro, args: &[Node]) -> Result<Comprehension, ExprError> {
        let (variables, rest) = args.split_at(1 + usize::from(shape.two));
        let before = self.locals.len();
        for variable in variables {
            self.locals.push(variable_name(variable)?);
        }
        let parts = self.all(rest);
        self.locals.truncate(before);
        let mut parts = parts?.into_iter();
        let filter = if shape.filtered { parts.next() } else { None };
        // `filter(x, p)` has no body of its own: it keeps the element.
        let body = parts.next().unwrap_or(Code { span: Span::default(), op: Op::Local(before) });
        Ok(Comprehension { kind: shape.kind, two: shape.two, filter, body })
    }
}

/// A macro with a number of arguments.
#[derive(Clone, Copy)]
struct Macro {
    kind: Each,
    two: bool,
    filtered: bool,
}

impl Macro {
    fn find(name: &str, args: usize) -> Option<Self> {
        let (kind, two, filtered) = match (name, args) {
            ("all", 2 | 3) => (Each::All, args == 3, false),
            ("exists", 2 | 3) => (Each::Exists, args == 3, false),
            ("exists_one" | "existsOne", 2 | 3) => (Each::ExistsOne, args == 3, false),
            ("map", 2 | 3) => (Each::List, false, args == 3),
            ("filter", 2) => (Each::List, false, true),
            ("transformList", 3 | 4) => (Each::List, true, args == 4),
            ("transformMap", 3 | 4) => (Each::Map, true, args == 4),
            ("transformMapEntry", 3 | 4) => (Each::Entries, true, args == 4),
            _ => return None,
        };
        Some(Self { kind, two, filtered })
    }
}

fn variable_name(node: &Node) -> Result<String, ExprError> {
    if let NodeKind::Name { name, global: false } = &node.kind {
        return Ok(name.clone());
    }
    Err(ExprError::new("a macro's variable must be a simple name", node.span))
}

/// The field of a step that is written out: `.field` or `["field"]`.
fn written_field(step: &WrittenStep) -> Option<&str> {
    match step {
        WrittenStep::Field(name) => Some(name),
        WrittenStep::Index(Node { kind: NodeKind::Literal(Value::String(name)), .. }) => Some(name),
        WrittenStep::Index(_) | WrittenStep::Method { .. } => None,
    }
}

fn compile_pattern(node: &Node) -> Result<Pattern, ExprError> {
    let NodeKind::Literal(Value::String(pattern)) = &node.kind else {
        return Err(ExprError::new("`matches` takes a pattern in quotes", node.span));
    };
    Pattern::compile(pattern).map_err(|message| ExprError::new(message, node.span))
}
