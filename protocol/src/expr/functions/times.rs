//! Timestamps, durations and their fields.

use super::{Builtin, Context, arg, expected, global, method, text};
use crate::expr::error::Fault;
use crate::expr::time::{Civil, Duration, Timestamp};
use crate::expr::value::Value;

pub(super) const TABLE: &[Builtin] = &[
    global("timestamp", 1..=1, timestamp),
    global("duration", 1..=1, duration),
    method("getFullYear", 1..=2, |_, args| civil(args, |date| date.year)),
    method("getMonth", 1..=2, |_, args| civil(args, |date| date.month - 1)),
    method("getDate", 1..=2, |_, args| civil(args, |date| date.day)),
    method("getDayOfMonth", 1..=2, |_, args| civil(args, |date| date.day - 1)),
    method("getDayOfWeek", 1..=2, |_, args| civil(args, |date| date.day_of_week)),
    method("getDayOfYear", 1..=2, |_, args| civil(args, |date| date.day_of_year)),
    method("getHours", 1..=2, |_, args| clock(args, 3_600, |date| date.second_of_day / 3_600)),
    method("getMinutes", 1..=2, |_, args| clock(args, 60, |date| date.second_of_day / 60 % 60)),
    method("getSeconds", 1..=2, |_, args| clock(args, 1, |date| date.second_of_day % 60)),
    method("getMilliseconds", 1..=2, milliseconds),
];

fn timestamp(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let value = arg(args, 0);
    match value {
        Value::Timestamp(at) => Ok(Value::Timestamp(*at)),
        Value::Int(seconds) => {
            let at = Timestamp::from_seconds(*seconds);
            at.map(Value::Timestamp).ok_or_else(|| Fault::wrong_type("beyond the years 1 to 9999"))
        }
        Value::String(text) => {
            context.budget.touch(text.len())?;
            Timestamp::parse(text).map(Value::Timestamp)
        }
        _ => Err(expected("text or seconds since 1970", value)),
    }
}

fn duration(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let value = arg(args, 0);
    match value {
        Value::Duration(length) => Ok(Value::Duration(*length)),
        Value::Int(seconds) => {
            let length = seconds.checked_mul(1_000_000_000).map(Duration::from_nanos);
            length.map(Value::Duration).ok_or_else(|| Fault::wrong_type("beyond 292 years"))
        }
        Value::String(text) => {
            context.budget.touch(text.len())?;
            Duration::parse(text).map(Value::Duration)
        }
        _ => Err(expected("text or seconds", value)),
    }
}

/// A field of a timestamp in UTC or the zone that the second argument names.
fn civil(args: &[Value], field: fn(Civil) -> i64) -> Result<Value, Fault> {
    let Value::Timestamp(at) = arg(args, 0) else {
        return Err(expected("a timestamp", arg(args, 0)));
    };
    let offset = if args.len() > 1 { at.offset_in(text(args, 1)?)? } else { 0 };
    Ok(Value::Int(field(at.civil(offset))))
}

/// A field of a timestamp, or the whole of a duration in this unit.
fn clock(args: &[Value], unit_seconds: i64, field: fn(Civil) -> i64) -> Result<Value, Fault> {
    match args {
        [Value::Duration(length)] => {
            Ok(Value::Int(length.as_nanos() / 1_000_000_000 / unit_seconds))
        }
        _ => civil(args, field),
    }
}

/// Milliseconds within the second, of both types.
fn milliseconds(_: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    match args {
        [Value::Duration(length)] => Ok(Value::Int(length.as_millis() % 1_000)),
        [Value::Timestamp(at), ..] => {
            // Offsets are whole seconds, so the zone only has to exist.
            if args.len() > 1 {
                at.offset_in(text(args, 1)?)?;
            }
            Ok(Value::Int(i64::from(at.subsec_nanos() / 1_000_000)))
        }
        _ => Err(expected("a timestamp or a duration", arg(args, 0))),
    }
}
