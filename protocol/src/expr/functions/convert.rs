//! Conversions between types: `int`, `uint`, `double`, `string`, `bool`, `bytes`, `type`, `dyn`.

use std::sync::Arc;

use super::{Builtin, Context, arg, expected, global};
use crate::expr::error::{Fault, excerpt};
use crate::expr::value::{Value, printed_integer};

pub(super) const TABLE: &[Builtin] = &[
    global("int", 1..=1, int),
    global("uint", 1..=1, uint),
    global("double", 1..=1, double),
    global("string", 1..=1, string),
    global("bool", 1..=1, bool),
    global("bytes", 1..=1, bytes),
    global("type", 1..=1, |_, args| Ok(Value::Type(arg(args, 0).type_name()))),
    // The language has no static types, so everything is dynamic already.
    global("dyn", 1..=1, |_, args| Ok(arg(args, 0).clone())),
];

/// 2^63 and 2^64, the first doubles beyond `int` and `uint`.
const INT_END: f64 = 9_223_372_036_854_775_808.0;
const UINT_END: f64 = 18_446_744_073_709_551_616.0;

fn int(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let value = arg(args, 0);
    let number = match value {
        Value::Int(number) => Some(*number),
        Value::Uint(number) => i64::try_from(*number).ok(),
        // CEL excludes the smallest `int` as well: both bounds are open.
        #[expect(clippy::cast_possible_truncation, reason = "in range, rounds towards zero")]
        Value::Double(number) => (number.abs() < INT_END).then_some(*number as i64),
        Value::Timestamp(at) => Some(at.as_seconds()),
        Value::Duration(length) => Some(length.as_nanos() / 1_000_000_000),
        Value::String(text) => parsed(context, text)?,
        _ => return Err(cannot("int", value)),
    };
    number.map(Value::Int).ok_or_else(|| out_of_range("int", value))
}

fn uint(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let value = arg(args, 0);
    let number = match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::Uint(number) => Some(*number),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "in range, rounds towards zero"
        )]
        Value::Double(number) => (*number > -1.0 && *number < UINT_END).then_some(*number as u64),
        Value::String(text) => parsed(context, text)?,
        _ => return Err(cannot("uint", value)),
    };
    number.map(Value::Uint).ok_or_else(|| out_of_range("uint", value))
}

fn double(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let value = arg(args, 0);
    if let Value::String(text) = value {
        let number = parsed(context, text)?;
        return number.map(Value::Double).ok_or_else(|| out_of_range("double", value));
    }
    value.as_f64().map(Value::Double).ok_or_else(|| cannot("double", value))
}

fn string(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let text = scalar_text(context, arg(args, 0))?;
    context.budget.allocate(text.len())?;
    Ok(Value::String(text))
}

/// How a scalar is written as text.
pub(super) fn scalar_text(context: &mut Context<'_>, value: &Value) -> Result<Arc<str>, Fault> {
    Ok(match value {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string().into(),
        Value::Int(number) => number.to_string().into(),
        Value::Uint(number) => number.to_string().into(),
        Value::Double(number) => double_text(*number).into(),
        Value::Bytes(bytes) => {
            context.budget.touch(bytes.len())?;
            let text = std::str::from_utf8(bytes);
            text.map_err(|_| Fault::wrong_type("these bytes are not UTF-8 text"))?.into()
        }
        Value::Timestamp(at) => at.to_string().into(),
        Value::Duration(length) => length.to_string().into(),
        Value::Type(name) => name.as_str().into(),
        Value::Null => "null".into(),
        Value::List(_) | Value::Map(_) | Value::Secret(_) => {
            return Err(cannot("string", value));
        }
    })
}

/// A double as text: integral ones without a fraction, others as short as reads back the same.
pub(super) fn double_text(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if let Some(integer) = printed_integer(number) {
        return if number == 0.0 && number.is_sign_negative() {
            "-0".to_owned()
        } else {
            integer.to_string()
        };
    }
    serde_json::Number::from_f64(number).map_or_else(String::new, |number| number.to_string())
}

fn bool(_: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let value = arg(args, 0);
    match value {
        Value::Bool(flag) => Ok(Value::Bool(*flag)),
        Value::String(text) => match &**text {
            "1" | "t" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(unreadable(text, "bool")),
        },
        _ => Err(cannot("bool", value)),
    }
}

fn bytes(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    match arg(args, 0) {
        Value::Bytes(bytes) => Ok(Value::Bytes(bytes.clone())),
        Value::String(text) => {
            context.budget.allocate(text.len())?;
            Ok(Value::Bytes(text.as_bytes().into()))
        }
        other => Err(expected("text", other)),
    }
}

/// Reads a number. The result is never missing: what cannot be read is an error.
fn parsed<T: std::str::FromStr>(context: &mut Context<'_>, text: &str) -> Result<Option<T>, Fault> {
    context.budget.touch(text.len())?;
    let kind = std::any::type_name::<T>();
    text.parse().map(Some).map_err(|_| unreadable(text, kind))
}

fn unreadable(text: &str, kind: &str) -> Fault {
    Fault::wrong_type(format!("`{}` cannot be read as {kind}", excerpt(text)))
}

fn cannot(kind: &str, value: &Value) -> Fault {
    Fault::wrong_type(format!("{} cannot become {kind}", value.type_name()))
}

fn out_of_range(kind: &str, value: &Value) -> Fault {
    Fault::wrong_type(format!("this {} is out of the range of {kind}", value.type_name()))
}
