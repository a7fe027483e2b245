//! The operators: equality, order, arithmetic, membership.

use std::cmp::Ordering;
use std::sync::Arc;

use super::ast::Operator;
use super::budget::{Budget, VALUE_DEPTH};
use super::error::Fault;
use super::map::Key;
use super::secret::SecretText;
use super::value::Value;

/// Applies an operator to its two operands.
pub(super) fn apply(
    budget: &mut Budget,
    operator: Operator,
    left: &Value,
    right: &Value,
) -> Result<Value, Fault> {
    match operator {
        Operator::Add => add(budget, left, right),
        Operator::Subtract => subtract(left, right),
        Operator::Multiply | Operator::Divide | Operator::Remainder => {
            calculate(operator, left, right)
        }
        Operator::Equal
        | Operator::NotEqual
        | Operator::Less
        | Operator::LessEqual
        | Operator::Greater
        | Operator::GreaterEqual
        | Operator::In => test(budget, operator, left, right).map(Value::Bool),
    }
}

/// Whether what an operator asks of its two operands is so; one that is no [test](Operator::is_test)
/// asks nothing.
pub(super) fn test(
    budget: &mut Budget,
    operator: Operator,
    left: &Value,
    right: &Value,
) -> Result<bool, Fault> {
    let wanted: &[Order] = match operator {
        Operator::Equal => return equal(budget, left, right),
        Operator::NotEqual => return equal(budget, left, right).map(|same| !same),
        Operator::In => return is_in(budget, left, right),
        Operator::Less => &[Order::Less],
        Operator::LessEqual => &[Order::Less, Order::Equal],
        Operator::Greater => &[Order::Greater],
        Operator::GreaterEqual => &[Order::Greater, Order::Equal],
        Operator::Add
        | Operator::Subtract
        | Operator::Multiply
        | Operator::Divide
        | Operator::Remainder => return Err(no_overload(operator, left, right)),
    };
    let order = compare(budget, left, right)?;
    order.map(|order| wanted.contains(&order)).ok_or_else(|| no_overload(operator, left, right))
}

/// CEL's equality: numbers by value whatever their type, different types unequal, never an error
/// but for the budget.
pub(super) fn equal(budget: &mut Budget, left: &Value, right: &Value) -> Result<bool, Fault> {
    equal_at(budget, left, right, 0)
}

fn equal_at(budget: &mut Budget, left: &Value, right: &Value, depth: usize) -> Result<bool, Fault> {
    if depth > VALUE_DEPTH {
        return Err(Fault::budget("the values compared are nested too deeply"));
    }
    match (left, right) {
        (Value::List(left), Value::List(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            budget.walk(left.len())?;
            for (left, right) in left.iter().zip(right.iter()) {
                if !equal_at(budget, left, right, depth + 1)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Map(left), Value::Map(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            budget.walk(left.len())?;
            for ((left_key, left), (right_key, right)) in
                left.iter_sorted().zip(right.iter_sorted())
            {
                if left_key != right_key || !equal_at(budget, left, right, depth + 1)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        _ => equal_leaves(budget, left, right),
    }
}

fn equal_leaves(budget: &mut Budget, left: &Value, right: &Value) -> Result<bool, Fault> {
    Ok(match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Type(left), Value::Type(right)) => left == right,
        (Value::Secret(_), _) | (_, Value::Secret(_)) => {
            return Err(Fault::wrong_type("a secret cannot be compared"));
        }
        _ => compare(budget, left, right)? == Some(Order::Equal),
    })
}

/// The outcome of a comparison of two values that can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    Equal,
    Greater,
    /// One of them is NaN.
    None,
}

impl From<Ordering> for Order {
    fn from(order: Ordering) -> Self {
        match order {
            Ordering::Less => Self::Less,
            Ordering::Equal => Self::Equal,
            Ordering::Greater => Self::Greater,
        }
    }
}

/// Orders two values; `None` where their types have no order between them.
pub(super) fn compare(
    budget: &mut Budget,
    left: &Value,
    right: &Value,
) -> Result<Option<Order>, Fault> {
    Ok(match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right).into()),
        (Value::String(left), Value::String(right)) => {
            budget.touch(left.len().min(right.len()))?;
            Some(left.cmp(right).into())
        }
        (Value::Bytes(left), Value::Bytes(right)) => {
            budget.touch(left.len().min(right.len()))?;
            Some(left.cmp(right).into())
        }
        (Value::Timestamp(left), Value::Timestamp(right)) => Some(left.cmp(right).into()),
        (Value::Duration(left), Value::Duration(right)) => Some(left.cmp(right).into()),
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right).into()),
        _ => match (whole(left), whole(right)) {
            (Some(left), Some(right)) => Some(left.cmp(&right).into()),
            // As CEL wants it: 2^63 - 1 and the double 2^63 are equal.
            _ => left
                .as_f64()
                .zip(right.as_f64())
                .map(|(left, right)| left.partial_cmp(&right).map_or(Order::None, Order::from)),
        },
    })
}

/// A whole number of either kind.
fn whole(value: &Value) -> Option<i128> {
    if let Value::Int(number) = value {
        return Some(i128::from(*number));
    }
    if let Value::Uint(number) = value { Some(i128::from(*number)) } else { None }
}

/// `value in container`.
fn is_in(budget: &mut Budget, value: &Value, container: &Value) -> Result<bool, Fault> {
    if let Value::List(items) = container {
        return contains(budget, items, value);
    }
    if let Value::Map(map) = container {
        return Ok(Key::of_value(value).is_some_and(|key| map.get(&key).is_some()));
    }
    Err(no_overload(Operator::In, value, container))
}

/// Whether some element equals a value.
pub(super) fn contains(budget: &mut Budget, items: &[Value], value: &Value) -> Result<bool, Fault> {
    budget.walk(items.len())?;
    for item in items {
        if equal(budget, item, value)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn add(budget: &mut Budget, left: &Value, right: &Value) -> Result<Value, Fault> {
    let out_of_range = || overflow(Operator::Add);
    match (left, right) {
        (Value::String(left), Value::String(right)) => {
            budget.allocate(left.len() + right.len())?;
            Ok(Value::String(Arc::from([&**left, &**right].concat())))
        }
        (Value::Bytes(left), Value::Bytes(right)) => {
            budget.allocate(left.len() + right.len())?;
            Ok(Value::Bytes(Arc::from([&**left, &**right].concat())))
        }
        (Value::List(left), Value::List(right)) => {
            budget.allocate_entries(left.len() + right.len())?;
            Ok(Value::List(left.iter().chain(right.iter()).cloned().collect()))
        }
        (Value::Timestamp(at), Value::Duration(length))
        | (Value::Duration(length), Value::Timestamp(at)) => {
            at.checked_add(*length).map(Value::Timestamp).ok_or_else(out_of_range)
        }
        (Value::Duration(left), Value::Duration(right)) => {
            left.checked_add(*right).map(Value::Duration).ok_or_else(out_of_range)
        }
        _ => match (secret_text(left), secret_text(right)) {
            (Some(left), Some(right)) => {
                budget.allocate(left.weight() + right.weight())?;
                Ok(Value::Secret(left.joined(&right)))
            }
            _ => calculate(Operator::Add, left, right),
        },
    }
}

/// What `+` joins where one side is a secret: secrets, and text.
fn secret_text(value: &Value) -> Option<SecretText> {
    if let Value::Secret(secret) = value {
        return Some(secret.clone());
    }
    if let Value::String(text) = value { Some(SecretText::text(text)) } else { None }
}

fn subtract(left: &Value, right: &Value) -> Result<Value, Fault> {
    let result = match (left, right) {
        (Value::Timestamp(left), Value::Timestamp(right)) => {
            left.checked_since(*right).map(Value::Duration)
        }
        (Value::Timestamp(at), Value::Duration(length)) => {
            length.checked_neg().and_then(|back| at.checked_add(back)).map(Value::Timestamp)
        }
        (Value::Duration(left), Value::Duration(right)) => {
            left.checked_sub(*right).map(Value::Duration)
        }
        _ => return calculate(Operator::Subtract, left, right),
    };
    result.ok_or_else(|| overflow(Operator::Subtract))
}

/// Checked arithmetic of one kind of whole numbers; `None` where the result is out of its range.
macro_rules! whole_result {
    ($operator:expr, $left:expr, $right:expr) => {
        if $operator == Operator::Add {
            $left.checked_add($right)
        } else if $operator == Operator::Subtract {
            $left.checked_sub($right)
        } else if $operator == Operator::Multiply {
            $left.checked_mul($right)
        } else if $operator == Operator::Divide {
            $left.checked_div($right)
        } else {
            $left.checked_rem($right)
        }
    };
}

/// Arithmetic of numbers. Operands of different numeric types are promoted to double, which is
/// more than CEL allows.
fn calculate(operator: Operator, left: &Value, right: &Value) -> Result<Value, Fault> {
    let result = match (left, right) {
        (Value::Int(left), Value::Int(right)) => {
            no_zero_divisor(operator, *right == 0)?;
            whole_result!(operator, left, *right).map(Value::Int)
        }
        (Value::Uint(left), Value::Uint(right)) => {
            no_zero_divisor(operator, *right == 0)?;
            whole_result!(operator, left, *right).map(Value::Uint)
        }
        _ => {
            let both = left.as_f64().zip(right.as_f64());
            let (left_number, right_number) =
                both.ok_or_else(|| no_overload(operator, left, right))?;
            let result = double_result(operator, left_number, right_number);
            return result.map(Value::Double).ok_or_else(|| no_overload(operator, left, right));
        }
    };
    result.ok_or_else(|| overflow(operator))
}

/// Doubles have no remainder in CEL.
fn double_result(operator: Operator, left: f64, right: f64) -> Option<f64> {
    if operator == Operator::Add {
        Some(left + right)
    } else if operator == Operator::Subtract {
        Some(left - right)
    } else if operator == Operator::Multiply {
        Some(left * right)
    } else if operator == Operator::Divide {
        Some(left / right)
    } else {
        None
    }
}

fn no_zero_divisor(operator: Operator, zero: bool) -> Result<(), Fault> {
    if zero && matches!(operator, Operator::Divide | Operator::Remainder) {
        return Err(Fault::wrong_type("division by zero"));
    }
    Ok(())
}

fn overflow(operator: Operator) -> Fault {
    Fault::wrong_type(format!("the result of `{}` is out of range", operator.symbol()))
}

fn no_overload(operator: Operator, left: &Value, right: &Value) -> Fault {
    let hint = match (operator, left, right) {
        (Operator::Remainder, Value::Double(_), _) | (Operator::Remainder, _, Value::Double(_)) => {
            "; write int(…) around a double"
        }
        (Operator::Add, Value::String(_), _) | (Operator::Add, _, Value::String(_)) => {
            "; write string(…) around what is no text"
        }
        _ => "",
    };
    let (left, right) = (left.type_name(), right.type_name());
    Fault::wrong_type(format!("`{}` does not take {left} and {right}{hint}", operator.symbol()))
}
