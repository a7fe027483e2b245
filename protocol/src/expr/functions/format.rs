//! `"%s is %.1f".format([name, value])`: clauses `%s %d %f %e %b %o %x %X` and `%%`.

use super::convert::{double_text, scalar_text};
use super::{Builtin, Context, list, method, text};
use crate::expr::budget::VALUE_DEPTH;
use crate::expr::error::Fault;
use crate::expr::value::Value;
use crate::ordered::sort_by;

pub(super) const TABLE: &[Builtin] = &[method("format", 2..=2, format)];

/// Digits after the point where a clause does not say.
const DEFAULT_PRECISION: usize = 6;
const MAX_PRECISION: usize = 100;

fn format(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let (mut rest, values) = (text(args, 0)?, list(args, 1)?);
    let mut values = values.iter();
    let mut output = Output { context, text: String::new() };
    while let Some((before, after)) = rest.split_once('%') {
        output.push(before)?;
        if let Some(after) = after.strip_prefix('%') {
            output.push("%")?;
            rest = after;
            continue;
        }
        let (precision, after) = parse_precision(after)?;
        let clause = after.chars().next().ok_or_else(|| wrong("`%` at the end"))?;
        let value = values.next().ok_or_else(|| wrong("more clauses than values"))?;
        output.clause(clause, precision, value)?;
        rest = &after[clause.len_utf8()..];
    }
    output.push(rest)?;
    Ok(Value::from(output.text))
}

fn parse_precision(after: &str) -> Result<(Option<usize>, &str), Fault> {
    let Some(rest) = after.strip_prefix('.') else { return Ok((None, after)) };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let precision = rest[..end].parse().ok().filter(|precision| *precision <= MAX_PRECISION);
    let precision = precision.ok_or_else(|| wrong("a precision is a number from 0 to 100"))?;
    Ok((Some(precision), &rest[end..]))
}

struct Output<'a, 'b> {
    context: &'a mut Context<'b>,
    text: String,
}

impl Output<'_, '_> {
    fn push(&mut self, text: &str) -> Result<(), Fault> {
        self.context.budget.allocate(text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    fn clause(
        &mut self,
        clause: char,
        precision: Option<usize>,
        value: &Value,
    ) -> Result<(), Fault> {
        let digits = precision.unwrap_or(DEFAULT_PRECISION);
        let text = match clause {
            's' => return self.any(value, 0),
            'd' => decimal(value)?,
            'f' => floating(value, |number| format!("{number:.digits$}"))?,
            'e' => floating(value, |number| scientific(number, digits))?,
            'b' => match value {
                Value::Bool(flag) => u8::from(*flag).to_string(),
                _ => radix(value, |magnitude| format!("{magnitude:b}"))?,
            },
            'o' => radix(value, |magnitude| format!("{magnitude:o}"))?,
            'x' => self.hex(value)?,
            'X' => self.hex(value)?.to_ascii_uppercase(),
            _ => return Err(wrong(&format!("unknown clause `%{clause}`"))),
        };
        self.push(&text)
    }

    fn hex(&mut self, value: &Value) -> Result<String, Fault> {
        let bytes = match value {
            Value::String(text) => text.as_bytes(),
            Value::Bytes(bytes) => bytes,
            _ => return radix(value, |magnitude| format!("{magnitude:x}")),
        };
        self.context.budget.touch(bytes.len().saturating_mul(2))?;
        Ok(data_encoding::HEXLOWER.encode(bytes))
    }

    /// Any value as text; lists and maps with their parts.
    fn any(&mut self, value: &Value, depth: usize) -> Result<(), Fault> {
        self.context.budget.spend(1)?;
        if depth > VALUE_DEPTH {
            return Err(Fault::budget("the value to format is nested too deeply"));
        }
        match value {
            Value::List(items) => {
                self.push("[")?;
                for (position, item) in items.iter().enumerate() {
                    self.push(if position == 0 { "" } else { ", " })?;
                    self.any(item, depth + 1)?;
                }
                self.push("]")
            }
            Value::Map(map) => {
                // By the text of the key, whatever its type.
                let mut entries: Vec<_> =
                    map.iter().map(|(key, value)| (key.to_string(), value)).collect();
                self.context.budget.allocate_entries(entries.len().saturating_mul(2))?;
                sort_by(&mut entries, &|left, right| left.0.cmp(&right.0));
                self.push("{")?;
                for (position, (key, value)) in entries.into_iter().enumerate() {
                    self.push(if position == 0 { "" } else { ", " })?;
                    self.push(&key)?;
                    self.push(": ")?;
                    self.any(value, depth + 1)?;
                }
                self.push("}")
            }
            _ => {
                let text = scalar_text(self.context, value)?;
                self.push(&text)
            }
        }
    }
}

fn decimal(value: &Value) -> Result<String, Fault> {
    match value {
        Value::Int(number) => Ok(number.to_string()),
        Value::Uint(number) => Ok(number.to_string()),
        Value::Double(number) => Ok(double_text(*number)),
        _ => Err(refused("%d", value)),
    }
}

fn floating(value: &Value, run: impl FnOnce(f64) -> String) -> Result<String, Fault> {
    let number = value.as_f64().ok_or_else(|| refused("%f and %e", value))?;
    Ok(if number.is_finite() { run(number) } else { double_text(number) })
}

/// As C writes it: the exponent has a sign and at least two digits.
fn scientific(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
    format!("{mantissa}e{sign}{exponent:0>2}")
}

/// Whole numbers with their sign before the digits.
fn radix(value: &Value, digits: impl FnOnce(u64) -> String) -> Result<String, Fault> {
    match value {
        Value::Int(number) => {
            let sign = if *number < 0 { "-" } else { "" };
            Ok(format!("{sign}{}", digits(number.unsigned_abs())))
        }
        Value::Uint(number) => Ok(digits(*number)),
        _ => Err(refused("%b, %o and %x", value)),
    }
}

fn refused(clause: &str, value: &Value) -> Fault {
    wrong(&format!("{clause} cannot show {}", value.type_name()))
}

fn wrong(message: &str) -> Fault {
    Fault::wrong_type(format!("format: {message}"))
}
