//! Runs a resolved expression against a scope, within a budget.
//!
//! Recursion follows the tree, whose height is bounded when it is compiled. Errors are values to
//! `||`, `&&`, `all` and `exists`, which absorb them if another operand decides; a budget error is
//! absorbed by nothing.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an operator names the types it takes and refuses every other, also a future one"
)]

use std::sync::Arc;

use super::ast::Operator;
use super::budget::{Budget, weight};
use super::code::{Call, Code, Free, Op, Program, Step, Target};
use super::error::{ErrorKind, EvalError, Fault, Span, excerpt};
use super::functions::Context;
use super::map::{Key, Map};
use super::ops;
use super::scope::{Lent, Scope};
use super::value::Value;

/// Evaluates a program.
pub(super) fn run(
    program: &Program,
    scope: &dyn Scope,
    budget: &mut Budget,
) -> Result<Value, EvalError> {
    let (locals, resolved) = (Vec::new(), Vec::new());
    let mut run = Run { program, scope, budget, locals, resolved };
    let value = run.eval(&program.code)?;
    weight(&value).map_err(|fault| fault.at(program.code.span))?;
    Ok(value)
}

/// One evaluation.
pub(super) struct Run<'a> {
    program: &'a Program,
    scope: &'a dyn Scope,
    pub(super) budget: &'a mut Budget,
    /// The values of names bound by macros, outermost first.
    pub(super) locals: Vec<Value>,
    /// What the scope said to each of the program's free names: it is asked once. Empty until
    /// something is kept.
    resolved: Vec<Option<Result<Lent<'a>, EvalError>>>,
}

impl<'a> Run<'a> {
    pub(super) fn eval(&mut self, code: &'a Code) -> Result<Value, EvalError> {
        self.budget.spend(1).map_err(|fault| fault.at(code.span))?;
        self.computed(code)
    }

    /// A value that is only looked at: constants and what the scope has are lent, not copied.
    fn lent(&mut self, code: &'a Code) -> Result<Lent<'a>, EvalError> {
        self.budget.spend(1).map_err(|fault| fault.at(code.span))?;
        match &code.op {
            Op::Constant(value) => Ok(Lent::Borrowed(value)),
            Op::Reference(position) => self.reference(*position, code.span),
            Op::Path { base, steps } => self.path(base, steps),
            _ => self.computed(code).map(Lent::Owned),
        }
    }

    /// A condition: its truth value alone. `user` names who asks, which stands at `span`: what is
    /// neither true nor false is told there.
    pub(super) fn truth(
        &mut self,
        code: &'a Code,
        user: &str,
        span: Span,
    ) -> Result<bool, EvalError> {
        let spend = |budget: &mut Budget| budget.spend(1).map_err(|fault| fault.at(code.span));
        match &code.op {
            Op::Any(operands) => spend(self.budget).and_then(|()| self.logic(operands, true)),
            Op::All(operands) => spend(self.budget).and_then(|()| self.logic(operands, false)),
            Op::Chain { first, rest }
                if let [(operator, second)] = &**rest
                    && operator.is_test() =>
            {
                spend(self.budget)?;
                self.test(first, *operator, second, code.span)
            }
            _ => match &self.lent(code) {
                Ok(value) => boolean(value, user).map_err(|fault| fault.at(span)),
                Err(error) => Err(error.clone()),
            },
        }
    }

    /// A value of one's own. Its fuel is taken.
    fn computed(&mut self, code: &'a Code) -> Result<Value, EvalError> {
        match &code.op {
            Op::Constant(value) => Ok(value.clone()),
            Op::Reference(position) => self.reference(*position, code.span).map(Lent::into_owned),
            Op::Path { base, steps } => self.path(base, steps).map(Lent::into_owned),
            Op::Local(position) => Ok(self.locals.get(*position).cloned().unwrap_or(Value::Null)),
            Op::List(items) => self.list(items, code.span),
            Op::Map(entries) => self.map(entries, code.span),
            Op::Call(call) => self.call(call, None, code.span),
            Op::Has { base, field } => self.has(base, field, code.span),
            Op::GetOr { value, path, default } => self.get_or(value, path, default),
            Op::Bind { value, body } => self.bind(value, body),
            Op::Not { times, operand } => self.not(*times, operand, code.span),
            Op::Negate { times, operand } => self.negate(*times, operand, code.span),
            Op::Chain { first, rest } => self.chain(first, rest, code.span),
            Op::Any(operands) => self.logic(operands, true).map(Value::Bool),
            Op::All(operands) => self.logic(operands, false).map(Value::Bool),
            Op::Choose { arms, otherwise } => self.choose(arms, otherwise),
        }
    }

    fn reference(&mut self, position: usize, span: Span) -> Result<Lent<'a>, EvalError> {
        let program = self.program;
        let Some(free) = program.free.get(position) else {
            return Err(Fault::no_key("unknown name").at(span));
        };
        if !free.again {
            return self.resolve(free, span);
        }
        if let Some(Some(known)) = self.resolved.get(position) {
            return known.clone().map_err(|error| EvalError { span, ..error });
        }
        let result = self.resolve(free, span);
        if self.resolved.is_empty() {
            self.resolved.resize(program.free.len(), None);
        }
        if let Some(slot) = self.resolved.get_mut(position) {
            *slot = Some(result.clone());
        }
        result
    }

    fn resolve(&self, free: &Free, span: Span) -> Result<Lent<'a>, EvalError> {
        match self.scope.resolve(&free.path) {
            Some((used, Lent::Borrowed(value))) => {
                let names = free.path.iter().skip(used);
                descend(value, names).map(Lent::Borrowed).map_err(|fault| fault.at(span))
            }
            made => {
                let named_type = || free.type_name.map(|(used, name)| (used, Value::Type(name)));
                let made = made.map(|(used, value)| (used, value.into_owned()));
                let (used, value) = made.or_else(named_type).ok_or_else(|| {
                    Fault::no_key(format!("unknown name `{}`", free.path[0])).at(span)
                })?;
                let found = descend(&value, free.path.iter().skip(used)).cloned();
                found.map(Lent::Owned).map_err(|fault| fault.at(span))
            }
        }
    }

    fn list(&mut self, items: &'a [Code], span: Span) -> Result<Value, EvalError> {
        self.budget.allocate_entries(items.len()).map_err(|fault| fault.at(span))?;
        let items = items.iter().map(|item| self.eval(item)).collect::<Result<Vec<_>, _>>()?;
        Ok(Value::List(items.into()))
    }

    fn map(&mut self, entries: &'a [(Code, Code)], span: Span) -> Result<Value, EvalError> {
        self.budget.allocate_entries(entries.len() * 2).map_err(|fault| fault.at(span))?;
        let mut built = Vec::with_capacity(entries.len());
        for (key_code, value_code) in entries {
            let key = self.eval(key_code)?;
            let key = Key::of_literal(&key).ok_or_else(|| {
                Fault::wrong_type(format!("{} cannot be a map's key", key.type_name()))
                    .at(key_code.span)
            })?;
            built.push((key, self.eval(value_code)?));
        }
        build_map(built).map_err(|fault| fault.at(span))
    }

    /// Calls with evaluated arguments, `receiver` first.
    fn call(
        &mut self,
        call: &'a Call,
        receiver: Option<Value>,
        span: Span,
    ) -> Result<Value, EvalError> {
        let mut args = Vec::with_capacity(call.args.len() + 1);
        args.extend(receiver);
        for arg in &call.args {
            args.push(self.eval(arg)?);
        }
        let mut context = Context { budget: self.budget, scope: self.scope };
        match &call.target {
            Target::Builtin(builtin) => (builtin.run)(&mut context, &args),
            Target::Matches(pattern) => pattern.matches(context.budget, args.first()),
            Target::Unknown(message) => Err(Fault::wrong_type(message.clone())),
        }
        .map_err(|fault| fault.at(span))
    }

    fn path(&mut self, base: &'a Code, steps: &'a [(Step, Span)]) -> Result<Lent<'a>, EvalError> {
        let mut value = self.lent(base)?;
        for (step, span) in steps {
            self.budget.spend(1).map_err(|fault| fault.at(*span))?;
            value = match step {
                Step::Field(name) => {
                    below(value, |value| field(value, name)).map_err(|fault| fault.at(*span))?
                }
                Step::Index(index) => {
                    let index = self.lent(index)?;
                    below(value, |value| element(value, &index)).map_err(|fault| fault.at(*span))?
                }
                Step::Call(call) => {
                    Lent::Owned(self.call(call, Some(value.into_owned()), *span)?)
                }
                Step::Each(each) => Lent::Owned(self.comprehension(each, &value, *span)?),
            };
        }
        Ok(value)
    }

    fn has(&mut self, base: &'a Code, name: &str, span: Span) -> Result<Value, EvalError> {
        let base = self.eval(base)?;
        let Value::Map(map) = &base else {
            let message = format!("`has` looks into maps, not into {}", base.type_name());
            return Err(Fault::wrong_type(message).at(span));
        };
        Ok(Value::Bool(map.field(name).is_some()))
    }

    /// A missing key on the way gives the default; a wrong type does not.
    fn get_or(
        &mut self,
        value: &'a Code,
        path: &'a Code,
        default: &'a Code,
    ) -> Result<Value, EvalError> {
        let wanted = self.eval(path)?;
        let Value::String(wanted) = &wanted else {
            let message = "`get` takes a path in quotes such as \"a.b\"";
            return Err(Fault::wrong_type(message).at(path.span));
        };
        let mut here = match self.eval(value) {
            Ok(value) => value,
            Err(error) if error.kind == ErrorKind::Key => return self.eval(default),
            Err(error) => return Err(error),
        };
        self.budget.touch(wanted.len()).map_err(|fault| fault.at(path.span))?;
        for name in wanted.split('.') {
            let next = match &here {
                Value::List(items) => name.parse().ok().and_then(|at: usize| items.get(at)),
                Value::Map(map) => map.field(name),
                _ => None,
            };
            let Some(next) = next.cloned() else { return self.eval(default) };
            here = next;
        }
        Ok(here)
    }

    fn bind(&mut self, value: &'a Code, body: &'a Code) -> Result<Value, EvalError> {
        let value = self.eval(value)?;
        self.locals.push(value);
        let result = self.eval(body);
        self.locals.pop();
        result
    }

    fn not(&mut self, times: usize, operand: &'a Code, span: Span) -> Result<Value, EvalError> {
        self.truth(operand, "`!`", span).map(|flag| Value::Bool(flag ^ (times % 2 == 1)))
    }

    fn negate(&mut self, times: usize, operand: &'a Code, span: Span) -> Result<Value, EvalError> {
        let mut value = self.eval(operand)?;
        for _ in 0..times {
            value = negated(&value).map_err(|fault| fault.at(span))?;
        }
        Ok(value)
    }

    fn chain(
        &mut self,
        first: &'a Code,
        rest: &'a [(Operator, Code)],
        span: Span,
    ) -> Result<Value, EvalError> {
        let mut value = self.lent(first)?;
        for (operator, operand) in rest {
            let operand = self.lent(operand)?;
            let result = self.budget.spend(1);
            let applied = result
                .and_then(|()| ops::apply(self.budget, *operator, &value, &operand))
                .map_err(|fault| fault.at(span))?;
            value = Lent::Owned(applied);
        }
        Ok(value.into_owned())
    }

    /// One operator between two values of which the truth is asked.
    fn test(
        &mut self,
        first: &'a Code,
        operator: Operator,
        second: &'a Code,
        span: Span,
    ) -> Result<bool, EvalError> {
        // Looked at where they are: an error is rare, and moving a value costs more than the test.
        let left = self.lent(first);
        let left: &Value = left.as_ref().map_err(Clone::clone)?;
        let right = self.lent(second);
        let right: &Value = right.as_ref().map_err(Clone::clone)?;
        let result = self.budget.spend(1);
        result
            .and_then(|()| ops::test(self.budget, operator, left, right))
            .map_err(|fault| fault.at(span))
    }

    /// `||` where `decisive` is true, else `&&`.
    fn logic(&mut self, operands: &'a [Code], decisive: bool) -> Result<bool, EvalError> {
        let operator = if decisive { "`||`" } else { "`&&`" };
        let mut failure = None;
        for operand in operands {
            match self.truth(operand, operator, operand.span) {
                Ok(flag) if flag == decisive => return Ok(decisive),
                Ok(_) => {}
                Err(error) => keep(&mut failure, error)?,
            }
        }
        failure.map_or(Ok(!decisive), Err)
    }

    fn choose(
        &mut self,
        arms: &'a [(Code, Code)],
        otherwise: &'a Code,
    ) -> Result<Value, EvalError> {
        for (condition, then) in arms {
            if self.truth(condition, "`?`", condition.span)? {
                return self.eval(then);
            }
        }
        self.eval(otherwise)
    }
}

/// Keeps the first error for the case that nothing else decides. Budget errors are not kept but
/// passed on at once.
pub(super) fn keep(failure: &mut Option<EvalError>, error: EvalError) -> Result<(), EvalError> {
    if error.kind == ErrorKind::Budget {
        return Err(error);
    }
    failure.get_or_insert(error);
    Ok(())
}

/// What conditions take; `user` names who asks.
fn boolean(value: &Value, user: &str) -> Result<bool, Fault> {
    value.as_bool().ok_or_else(|| {
        Fault::wrong_type(format!("{user} takes true or false, not {}", value.type_name()))
    })
}

fn negated(value: &Value) -> Result<Value, Fault> {
    let negated = match value {
        Value::Int(number) => number.checked_neg().map(Value::Int),
        Value::Double(number) => Some(Value::Double(-number)),
        Value::Duration(length) => length.checked_neg().map(Value::Duration),
        _ => return Err(Fault::wrong_type(format!("`-` does not take {}", value.type_name()))),
    };
    negated.ok_or_else(|| Fault::wrong_type("the result of `-` is out of range"))
}

/// A map of entries that an expression made, where a key may occur twice by mistake.
pub(super) fn build_map(entries: Vec<(Key, Value)>) -> Result<Value, Fault> {
    let twice = |key: Key| {
        Fault::wrong_type(format!("the key `{}` occurs twice", excerpt(&key.to_string())))
    };
    Map::new(entries).map(|map| Value::Map(Arc::new(map))).map_err(twice)
}

/// What names lead to, one below the other.
fn descend<'v, 'n>(
    from: &'v Value,
    mut names: impl Iterator<Item = &'n String>,
) -> Result<&'v Value, Fault> {
    names.try_fold(from, |value, name| field(value, name))
}

/// A part of a value, lent where the whole is.
fn below<'a>(
    whole: Lent<'a>,
    part: impl for<'v> Fn(&'v Value) -> Result<&'v Value, Fault>,
) -> Result<Lent<'a>, Fault> {
    match whole {
        Lent::Borrowed(whole) => part(whole).map(Lent::Borrowed),
        Lent::Owned(whole) => part(&whole).cloned().map(Lent::Owned),
    }
}

/// `value.name`.
fn field<'v>(value: &'v Value, name: &str) -> Result<&'v Value, Fault> {
    let Value::Map(map) = value else {
        let kind = value.type_name();
        return Err(Fault::wrong_type(format!("{kind} has no field `{}`", excerpt(name))));
    };
    map.field(name).ok_or_else(|| Fault::no_key(format!("no key `{}`", excerpt(name))))
}

/// `value[index]`.
fn element<'v>(value: &'v Value, index: &Value) -> Result<&'v Value, Fault> {
    match value {
        Value::List(items) => {
            let position = index.as_integer().ok_or_else(|| {
                Fault::wrong_type(format!(
                    "a list's index is a whole number, not {}",
                    index.type_name()
                ))
            })?;
            let found = usize::try_from(position).ok().and_then(|at| items.get(at));
            let missing = || format!("index {position} in a list of {}", items.len());
            found.ok_or_else(|| Fault::no_key(missing()))
        }
        Value::Map(map) => {
            let key = Key::of_value(index).ok_or_else(|| {
                Fault::no_key(format!("a map has no key of type {}", index.type_name()))
            })?;
            let missing = || format!("no key `{}`", excerpt(&key.to_string()));
            map.get(&key).ok_or_else(|| Fault::no_key(missing()))
        }
        _ => Err(Fault::wrong_type(format!("{} cannot be indexed", value.type_name()))),
    }
}
