//! Runs the macros that go over a list or a map.

use super::code::{Comprehension, Each};
use super::error::{EvalError, Fault, Span};
use super::eval::{Run, build_map, keep};
use super::map::Key;
use super::value::Value;

impl<'a> Run<'a> {
    /// Goes over `range` and makes of it what the macro says.
    pub(super) fn comprehension(
        &mut self,
        each: &'a Comprehension,
        range: &Value,
        span: Span,
    ) -> Result<Value, EvalError> {
        let entries: Box<dyn Iterator<Item = (Value, Value)>> = if let Value::List(items) = range {
            Box::new((0_i64..).map(Value::Int).zip(items.iter().cloned()))
        } else if let Value::Map(map) = range {
            Box::new(map.iter_sorted().map(|(key, value)| (key.to_value(), value.clone())))
        } else {
            let message = format!("expected a list or a map, found {}", range.type_name());
            return Err(Fault::wrong_type(message).at(span));
        };
        let of_map = matches!(range, Value::Map(_));
        let bottom = self.locals.len();
        let mut outcome = Outcome::new(each.kind);
        let mut result = Ok(true);
        for (first, second) in entries {
            self.locals.truncate(bottom);
            // One variable is the element of a list, but the key of a map.
            match (each.two, of_map) {
                (true, _) => self.locals.extend([first.clone(), second]),
                (false, true) => self.locals.push(first.clone()),
                (false, false) => self.locals.push(second),
            }
            result = self.entry(each, &first, &mut outcome, span);
            if !matches!(result, Ok(true)) {
                break;
            }
        }
        self.locals.truncate(bottom);
        result?;
        outcome.finish().map_err(|failure| match failure {
            Failure::Kept(error) => error,
            Failure::New(fault) => fault.at(span),
        })
    }

    /// One element, whose variables are bound. Whether to go on.
    fn entry(
        &mut self,
        each: &'a Comprehension,
        key: &Value,
        outcome: &mut Outcome,
        span: Span,
    ) -> Result<bool, EvalError> {
        self.budget.spend(1).map_err(|fault| fault.at(span))?;
        if let Some(filter) = &each.filter
            && !self.truth(filter, "a filter", filter.span)?
        {
            return Ok(true);
        }
        if matches!(each.kind, Each::All | Each::Exists | Each::ExistsOne) {
            return outcome.judge(self.truth(&each.body, "a condition", each.body.span));
        }
        let body = self.eval(&each.body);
        self.budget.allocate_entries(1).map_err(|fault| fault.at(span))?;
        outcome.collect(key, body?).map_err(|fault| fault.at(each.body.span))?;
        Ok(true)
    }
}

/// What a comprehension has found so far.
struct Outcome {
    kind: Each,
    found: usize,
    failure: Option<EvalError>,
    items: Vec<Value>,
    entries: Vec<(Key, Value)>,
}

/// Why a comprehension has no result: an error of a body, or one of its own.
enum Failure {
    Kept(EvalError),
    New(Fault),
}

impl Outcome {
    fn new(kind: Each) -> Self {
        Self { kind, found: 0, failure: None, items: Vec::new(), entries: Vec::new() }
    }

    /// Takes a condition's value. Whether to go on.
    fn judge(&mut self, flag: Result<bool, EvalError>) -> Result<bool, EvalError> {
        if self.kind == Each::ExistsOne {
            self.found += usize::from(flag?);
            return Ok(true);
        }
        match flag {
            Ok(flag) => {
                let decided = flag == (self.kind == Each::Exists);
                self.found += usize::from(decided);
                Ok(!decided)
            }
            Err(error) => keep(&mut self.failure, error).map(|()| true),
        }
    }

    fn collect(&mut self, key: &Value, body: Value) -> Result<(), Fault> {
        if self.kind == Each::List {
            self.items.push(body);
            return Ok(());
        }
        if self.kind == Each::Map {
            let key = Key::of_value(key).ok_or_else(|| Fault::wrong_type("not a map's key"))?;
            self.entries.push((key, body));
            return Ok(());
        }
        let Value::Map(map) = &body else {
            let message = format!("expected a map of new entries, found {}", body.type_name());
            return Err(Fault::wrong_type(message));
        };
        self.entries.extend(map.iter().map(|(key, value)| (key.clone(), value.clone())));
        Ok(())
    }

    fn finish(self) -> Result<Value, Failure> {
        let decided = self.found > 0;
        match (self.kind, self.failure) {
            (Each::All, _) if decided => Ok(Value::Bool(false)),
            (Each::Exists, _) if decided => Ok(Value::Bool(true)),
            (_, Some(error)) => Err(Failure::Kept(error)),
            (Each::All, None) => Ok(Value::Bool(true)),
            (Each::Exists, None) => Ok(Value::Bool(false)),
            (Each::ExistsOne, None) => Ok(Value::Bool(self.found == 1)),
            (Each::List, None) => Ok(Value::List(self.items.into())),
            (Each::Map | Each::Entries, None) => build_map(self.entries).map_err(Failure::New),
        }
    }
}
