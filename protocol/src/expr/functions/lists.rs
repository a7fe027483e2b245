//! Lists and maps: size, range, order, duplicates, sums.

use std::collections::{BTreeMap, BTreeSet};

use super::{Builtin, Context, arg, both, expected, global, list, method, new_list, whole};
use crate::expr::ast::Operator;
use crate::expr::budget::{RANGE_ENTRIES, VALUE_DEPTH};
use crate::expr::error::Fault;
use crate::expr::map::{Key, Map};
use crate::expr::ops::{self, Order};
use crate::expr::value::Value;

pub(super) const TABLE: &[Builtin] = &[
    both("size", 1..=1, size),
    global("lists.range", 1..=1, range),
    both("sort", 1..=1, sort),
    both("distinct", 1..=1, distinct),
    both("sum", 1..=1, sum),
    both("avg", 1..=1, avg),
    method("first", 1..=1, |_, args| edge(args, list(args, 0)?.first())),
    method("last", 1..=1, |_, args| edge(args, list(args, 0)?.last())),
    method("slice", 3..=3, slice),
    method("flatten", 1..=2, flatten),
    both("keys", 1..=1, |context, args| parts(context, args, true)),
    both("values", 1..=1, |context, args| parts(context, args, false)),
    global("merge", 2..=64, merge_maps),
];

fn size(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let value = arg(args, 0);
    let size = match value {
        Value::String(text) => {
            context.budget.touch(text.len())?;
            text.chars().count()
        }
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.len(),
        _ => return Err(expected("text, bytes, a list or a map", value)),
    };
    Ok(count(size))
}

fn range(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let end = whole(args, 0)?;
    let Some(entries) = usize::try_from(end).ok().filter(|entries| *entries <= RANGE_ENTRIES)
    else {
        return Err(Fault::wrong_type(format!("lists.range takes 0 to {RANGE_ENTRIES}")));
    };
    // Paid before it is built.
    context.budget.allocate_entries(entries)?;
    Ok(Value::List((0..end).map(Value::Int).collect()))
}

/// Sorts ascending; equal elements keep their order. A merge sort of our own, because a comparison
/// may fail and because mixed numbers are only nearly ordered, which the library's sort forbids.
fn sort(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let items = list(args, 0)?;
    context.budget.allocate_entries(items.len())?;
    for item in items {
        // Alone in the list, or beside itself: what has no order is refused either way.
        if ops::compare(context.budget, item, item)? != Some(Order::Equal) {
            return Err(no_order(item, item));
        }
    }
    let mut sorted = items.to_vec();
    let mut width = 1;
    while width < sorted.len() {
        context.budget.walk(sorted.len())?;
        let mut merged = Vec::with_capacity(sorted.len());
        for pair in sorted.chunks(width * 2) {
            let (left, right) = pair.split_at(width.min(pair.len()));
            merge(context, left, right, &mut merged)?;
        }
        sorted = merged;
        width *= 2;
    }
    Ok(Value::from(sorted))
}

fn merge(
    context: &mut Context<'_>,
    mut left: &[Value],
    mut right: &[Value],
    merged: &mut Vec<Value>,
) -> Result<(), Fault> {
    while let ([first_left, rest_left @ ..], [first_right, rest_right @ ..]) = (left, right) {
        match ops::compare(context.budget, first_right, first_left)? {
            Some(Order::Less) => {
                merged.push(first_right.clone());
                right = rest_right;
            }
            Some(Order::Equal | Order::Greater) => {
                merged.push(first_left.clone());
                left = rest_left;
            }
            Some(Order::None) | None => return Err(no_order(first_left, first_right)),
        }
    }
    merged.extend(left.iter().chain(right).cloned());
    Ok(())
}

fn no_order(left: &Value, right: &Value) -> Fault {
    let (left, right) = (left.type_name(), right.type_name());
    Fault::wrong_type(format!("sort: {left} and {right} have no order"))
}

/// Keeps the first of equal elements.
fn distinct(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let items = list(args, 0)?;
    context.budget.allocate_entries(items.len())?;
    let mut kept: Vec<Value> = Vec::new();
    // What can be a key is found at once; the rest is compared one by one.
    let mut keys = BTreeSet::new();
    let mut others: Vec<Value> = Vec::new();
    for item in items {
        context.budget.spend(1)?;
        let known = if let Some(key) = Key::of_value(item) {
            context.budget.touch(key.json_bytes())?;
            !keys.insert(key)
        } else {
            let known = ops::contains(context.budget, &others, item)?;
            if !known {
                others.push(item.clone());
            }
            known
        };
        if !known {
            kept.push(item.clone());
        }
    }
    Ok(Value::from(kept))
}

/// The sum of numbers or durations; 0 of an empty list.
fn sum(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let items = list(args, 0)?;
    context.budget.walk(items.len())?;
    let Some((first, rest)) = items.split_first() else { return Ok(Value::Int(0)) };
    if first.as_f64().is_none() && !matches!(first, Value::Duration(_)) {
        return Err(expected("numbers or durations", first));
    }
    rest.iter().try_fold(first.clone(), |total, item| {
        ops::apply(context.budget, Operator::Add, &total, item)
    })
}

/// The mean of numbers as a double; an error for an empty list.
fn avg(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let items = list(args, 0)?;
    context.budget.walk(items.len())?;
    if items.is_empty() {
        return Err(Fault::wrong_type("an empty list has no average"));
    }
    let mut total = 0.0;
    for item in items {
        total += item.as_f64().ok_or_else(|| expected("numbers", item))?;
    }
    #[expect(clippy::cast_precision_loss, reason = "lists are far shorter than 2^53")]
    Ok(Value::Double(total / items.len() as f64))
}

fn edge(args: &[Value], found: Option<&Value>) -> Result<Value, Fault> {
    debug_assert!(matches!(arg(args, 0), Value::List(_)), "checked by the caller");
    found.cloned().ok_or_else(|| Fault::no_key("the list is empty"))
}

fn slice(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let items = list(args, 0)?;
    let (from, to) = (whole(args, 1)?, whole(args, 2)?);
    let bounds = usize::try_from(from).ok().zip(usize::try_from(to).ok());
    let part = bounds.and_then(|(from, to)| items.get(from..to));
    let part = part.ok_or_else(|| {
        Fault::no_key(format!("slice {from} to {to} of a list of {}", items.len()))
    })?;
    new_list(context, part.to_vec())
}

/// Puts the elements of inner lists in their place, one level deep or as many as asked.
fn flatten(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let levels = if args.len() > 1 { whole(args, 1)? } else { 1 };
    let levels = usize::try_from(levels)
        .map_err(|_| Fault::wrong_type("flatten takes no negative depth"))?
        .min(VALUE_DEPTH);
    let mut flat = Vec::new();
    flatten_into(context, list(args, 0)?, levels, &mut flat)?;
    Ok(Value::from(flat))
}

fn flatten_into(
    context: &mut Context<'_>,
    items: &[Value],
    levels: usize,
    flat: &mut Vec<Value>,
) -> Result<(), Fault> {
    context.budget.walk(items.len())?;
    for item in items {
        if let (Value::List(inner), 1..) = (item, levels) {
            context.budget.spend(1)?;
            flatten_into(context, inner, levels - 1, flat)?;
            continue;
        }
        context.budget.allocate_entries(1)?;
        flat.push(item.clone());
    }
    Ok(())
}

/// A map's keys or values, by sorted key.
fn parts(context: &mut Context<'_>, args: &[Value], keys: bool) -> Result<Value, Fault> {
    let value = arg(args, 0);
    let map = value.as_map().ok_or_else(|| expected("a map", value))?;
    context.budget.allocate_entries(map.len())?;
    let part = |(key, value): (&Key, &Value)| {
        if keys { key.to_value() } else { value.clone() }
    };
    Ok(Value::List(map.iter_sorted().map(part).collect()))
}

/// One map of several: each key once, where it first stood, with its last value.
fn merge_maps(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let mut entries: Vec<(Key, Value)> = Vec::new();
    let mut places: BTreeMap<Key, usize> = BTreeMap::new();
    for value in args {
        let map = value.as_map().ok_or_else(|| expected("a map", value))?;
        context.budget.allocate_entries(map.len())?;
        for (key, value) in map.iter() {
            let place = *places.entry(key.clone()).or_insert(entries.len());
            match entries.get_mut(place) {
                Some((_, known)) => *known = value.clone(),
                None => entries.push((key.clone(), value.clone())),
            }
        }
    }
    Ok(Map::new(entries).map_or(Value::Null, Value::from))
}

/// A size as `int`.
fn count(size: usize) -> Value {
    Value::Int(i64::try_from(size).unwrap_or(i64::MAX))
}
