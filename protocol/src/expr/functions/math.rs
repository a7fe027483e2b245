//! Numbers: `math.*`, and `min`/`max` as their plain names.

use super::{Builtin, Context, arg, expected, global, whole};
use crate::expr::error::Fault;
use crate::expr::ops::{self, Order};
use crate::expr::value::Value;

pub(super) const TABLE: &[Builtin] = &[
    global("math.greatest", 1..=64, |context, args| extreme(context, args, Order::Greater)),
    global("math.max", 1..=64, |context, args| extreme(context, args, Order::Greater)),
    global("math.least", 1..=64, |context, args| extreme(context, args, Order::Less)),
    global("math.min", 1..=64, |context, args| extreme(context, args, Order::Less)),
    global("math.abs", 1..=1, abs),
    global("math.sign", 1..=1, sign),
    global("math.ceil", 1..=1, |_, args| on_double(args, f64::ceil)),
    global("math.floor", 1..=1, |_, args| on_double(args, f64::floor)),
    global("math.round", 1..=1, |_, args| on_double(args, f64::round)),
    global("math.trunc", 1..=1, |_, args| on_double(args, f64::trunc)),
    global("math.sqrt", 1..=1, sqrt),
    global("math.isNaN", 1..=1, |_, args| double(args).map(|x| Value::Bool(x.is_nan()))),
    global("math.isInf", 1..=1, |_, args| double(args).map(|x| Value::Bool(x.is_infinite()))),
    global("math.isFinite", 1..=1, |_, args| double(args).map(|x| Value::Bool(x.is_finite()))),
    global("math.bitAnd", 2..=2, |_, args| bits(args, |a, b| a & b)),
    global("math.bitOr", 2..=2, |_, args| bits(args, |a, b| a | b)),
    global("math.bitXor", 2..=2, |_, args| bits(args, |a, b| a ^ b)),
    global("math.bitNot", 1..=1, bit_not),
    global("math.bitShiftLeft", 2..=2, |_, args| shift(args, |bits, by| bits << by)),
    global("math.bitShiftRight", 2..=2, |_, args| shift(args, |bits, by| bits >> by)),
];

/// The first of the largest (or smallest) numbers, given one by one or as a list.
fn extreme(context: &mut Context<'_>, args: &[Value], wanted: Order) -> Result<Value, Fault> {
    let numbers = match args {
        [Value::List(items)] => items,
        _ => args,
    };
    context.budget.walk(numbers.len())?;
    let mut best: Option<&Value> = None;
    for number in numbers {
        if number.as_f64().is_none() {
            return Err(expected("a number", number));
        }
        let better = match best {
            None => true,
            Some(best) => ops::compare(context.budget, number, best)? == Some(wanted),
        };
        best = if better { Some(number) } else { best };
    }
    best.cloned().ok_or_else(|| Fault::wrong_type("an empty list has no extreme"))
}

fn abs(_: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let value = arg(args, 0);
    match value {
        Value::Int(number) => {
            let magnitude = number.checked_abs();
            magnitude.map(Value::Int).ok_or_else(|| Fault::wrong_type("math.abs is out of range"))
        }
        Value::Uint(number) => Ok(Value::Uint(*number)),
        Value::Double(number) => Ok(Value::Double(number.abs())),
        _ => Err(expected("a number", value)),
    }
}

fn sign(_: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let value = arg(args, 0);
    match value {
        Value::Int(number) => Ok(Value::Int(number.signum())),
        Value::Uint(number) => Ok(Value::Uint((*number).min(1))),
        // Unlike `f64::signum`, zero has the sign zero.
        Value::Double(number) if *number == 0.0 || number.is_nan() => Ok(Value::Double(*number)),
        Value::Double(number) => Ok(Value::Double(number.signum())),
        _ => Err(expected("a number", value)),
    }
}

fn sqrt(_: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let value = arg(args, 0);
    let number = value.as_f64().ok_or_else(|| expected("a number", value))?;
    Ok(Value::Double(number.sqrt()))
}

fn on_double(args: &[Value], run: fn(f64) -> f64) -> Result<Value, Fault> {
    double(args).map(|number| Value::Double(run(number)))
}

fn double(args: &[Value]) -> Result<f64, Fault> {
    let value = arg(args, 0);
    if let Value::Double(number) = value { Ok(*number) } else { Err(expected("a double", value)) }
}

fn bits(args: &[Value], run: fn(u64, u64) -> u64) -> Result<Value, Fault> {
    match (arg(args, 0), arg(args, 1)) {
        (Value::Int(left), Value::Int(right)) => {
            Ok(Value::Int(run(left.cast_unsigned(), right.cast_unsigned()).cast_signed()))
        }
        (Value::Uint(left), Value::Uint(right)) => Ok(Value::Uint(run(*left, *right))),
        (left, right) => {
            let (left, right) = (left.type_name(), right.type_name());
            Err(Fault::wrong_type(format!("expected two int or two uint, found {left}, {right}")))
        }
    }
}

fn bit_not(_: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    match arg(args, 0) {
        Value::Int(number) => Ok(Value::Int(!number)),
        Value::Uint(number) => Ok(Value::Uint(!number)),
        other => Err(expected("int or uint", other)),
    }
}

/// Shifts the bits, which is logical for `int` too; 64 and more shift everything out.
fn shift(args: &[Value], run: fn(u64, u32) -> u64) -> Result<Value, Fault> {
    let by = whole(args, 1)?;
    if by < 0 {
        return Err(Fault::wrong_type("bits cannot be shifted by a negative count"));
    }
    let by = u32::try_from(by).ok().filter(|by| *by < u64::BITS);
    let shifted = |bits: u64| by.map_or(0, |by| run(bits, by));
    match arg(args, 0) {
        Value::Int(number) => Ok(Value::Int(shifted(number.cast_unsigned()).cast_signed())),
        Value::Uint(number) => Ok(Value::Uint(shifted(*number))),
        other => Err(expected("int or uint", other)),
    }
}
