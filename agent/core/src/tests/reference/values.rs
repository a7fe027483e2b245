//! What expressions see and give.

use std::sync::Arc;

use openclaw_protocol::expr::{Expr, Key, Lent, Map, Scope, Template, Value};
use serde_json::Value as Json;

use super::{Fault, Reader, Seen};

/// The names an expression sees.
pub(super) struct Names<'a> {
    inputs: &'a Value,
    seen: &'a Seen,
    output: Option<&'a Value>,
}

impl Scope for Names<'_> {
    fn lookup(&self, name: &str) -> Option<Lent<'_>> {
        if name == "output"
            && let Some(output) = self.output
        {
            return Some(Lent::Borrowed(output));
        }
        if let Some((_, value)) = self.seen.names.iter().rev().find(|(known, _)| known == name) {
            return Some(Lent::Borrowed(value));
        }
        match name {
            "inputs" => Some(Lent::Borrowed(self.inputs)),
            "vars" => Some(Lent::Owned(object(self.seen.vars.clone()))),
            "steps" => Some(Lent::Owned(object(self.seen.steps.clone()))),
            _ => None,
        }
    }
}

impl Reader<'_> {
    pub(super) fn value(&self, expr: &Expr, seen: &Seen) -> Result<Value, Fault> {
        let names = Names { inputs: &self.inputs, seen, output: None };
        expr.eval(&names).map_err(|error| Fault::new(error.code()))
    }

    pub(super) fn truth(&self, expr: &Expr, seen: &Seen) -> Result<bool, Fault> {
        self.value(expr, seen)?.as_bool().ok_or_else(|| Fault::new("expr.type"))
    }

    /// A value that other expressions will see.
    pub(super) fn typed(
        &self,
        template: &Template,
        seen: &Seen,
        output: Option<&Value>,
    ) -> Result<Value, Fault> {
        let names = Names { inputs: &self.inputs, seen, output };
        let json = template.eval_typed(&names).map_err(|error| Fault::new(error.code()))?;
        Ok(Value::from_json_typed(&json))
    }

    /// A value that leaves the run.
    pub(super) fn outer(
        &self,
        template: &Template,
        seen: &Seen,
        output: Option<&Value>,
    ) -> Result<Json, Fault> {
        let names = Names { inputs: &self.inputs, seen, output };
        template.eval(&names).map_err(|error| Fault::new(error.code()))
    }
}

/// The items of a list, or the entries of a map in key order.
pub(super) fn entries(value: &Value) -> Result<Vec<Value>, Fault> {
    if let Some(items) = value.as_list() {
        return Ok(items.to_vec());
    }
    let map = value.as_map().ok_or_else(|| Fault::new("expr.type"))?;
    let mut keys: Vec<String> = map.iter().map(|(key, _)| key.to_string()).collect();
    keys.sort();
    let entry = |key: String| {
        let item = map.field(&key).cloned().unwrap_or(Value::Null);
        object([("key".to_owned(), Value::from(key.as_str())), ("value".to_owned(), item)])
    };
    Ok(keys.into_iter().map(entry).collect())
}

/// An error as expressions see it, as far as it is read here.
pub(super) fn error_value(fault: &Fault) -> Value {
    object([
        ("code".to_owned(), Value::from(fault.code.as_str())),
        ("retryable".to_owned(), Value::Bool(fault.retryable)),
    ])
}

pub(super) fn object(fields: impl IntoIterator<Item = (String, Value)>) -> Value {
    let entries = fields.into_iter().map(|(name, value)| (Key::String(name.into()), value));
    Value::Map(Arc::new(Map::new(entries.collect()).expect("names differ")))
}

/// Whether a pattern names an error code: exactly, by `prefix.*`, or by `*`.
pub(super) fn is_for(pattern: &str, code: &str) -> bool {
    if pattern == "*" {
        return code != "cancelled" && !code.starts_with("limit.") && !code.starts_with("replay.");
    }
    match pattern.strip_suffix('*') {
        Some(prefix) => code.starts_with(prefix),
        None => pattern == code,
    }
}
