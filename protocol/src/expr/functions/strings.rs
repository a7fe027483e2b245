//! Text. Positions and lengths count code points, never bytes.

use super::{
    Builtin, Context, arg, expected, global, list, method, new_list, new_text, text, whole,
};
use crate::expr::error::Fault;
use crate::expr::value::Value;

pub(super) const TABLE: &[Builtin] = &[
    method("contains", 2..=2, |context, args| {
        test(context, args, |text, part| text.contains(part))
    }),
    method("startsWith", 2..=2, |context, args| {
        test(context, args, |text, part| text.starts_with(part))
    }),
    method("endsWith", 2..=2, |context, args| {
        test(context, args, |text, part| text.ends_with(part))
    }),
    method("lowerAscii", 1..=1, |context, args| {
        let lower = text(args, 0)?.to_ascii_lowercase();
        new_text(context, lower)
    }),
    method("upperAscii", 1..=1, |context, args| {
        let upper = text(args, 0)?.to_ascii_uppercase();
        new_text(context, upper)
    }),
    method("trim", 1..=1, |context, args| new_text(context, text(args, 0)?.trim().to_owned())),
    method("reverse", 1..=1, reverse),
    method("charAt", 2..=2, char_at),
    method("indexOf", 2..=3, index_of),
    method("lastIndexOf", 2..=3, last_index_of),
    method("substring", 2..=3, substring),
    method("replace", 3..=4, replace),
    method("split", 2..=3, split),
    method("join", 1..=2, join),
    global("strings.quote", 1..=1, quote),
];

fn test(
    context: &mut Context<'_>,
    args: &[Value],
    run: fn(&str, &str) -> bool,
) -> Result<Value, Fault> {
    let (whole, part) = (text(args, 0)?, text(args, 1)?);
    context.budget.touch(whole.len().saturating_add(part.len()))?;
    Ok(Value::Bool(run(whole, part)))
}

/// A text or a list backwards.
fn reverse(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    match arg(args, 0) {
        Value::String(text) => new_text(context, text.chars().rev().collect()),
        Value::List(items) => new_list(context, items.iter().rev().cloned().collect()),
        other => Err(expected("text or a list", other)),
    }
}

fn char_at(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let text = text(args, 0)?;
    let position = whole(args, 1)?;
    let start = byte_position(context, text, position)?;
    let found: String = text[start..].chars().take(1).collect();
    new_text(context, found)
}

fn index_of(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let (text, part) = (text(args, 0)?, text(args, 1)?);
    let from = if args.len() > 2 { whole(args, 2)? } else { 0 };
    let start = byte_position(context, text, from)?;
    context.budget.touch(text.len().saturating_add(part.len()))?;
    let found = text[start..].find(part).map(|found| start + found);
    Ok(char_position(text, found))
}

/// The last occurrence that starts at or before a position.
fn last_index_of(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let (text, part) = (text(args, 0)?, text(args, 1)?);
    let start =
        if args.len() > 2 { byte_position(context, text, whole(args, 2)?)? } else { text.len() };
    context.budget.touch(text.len().saturating_add(part.len()))?;
    // What starts at `start` may reach beyond it, but not beyond the part's own length.
    let mut end = start.saturating_add(part.len()).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Ok(char_position(text, text[..end].rfind(part)))
}

fn substring(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let text = text(args, 0)?;
    let from = whole(args, 1)?;
    let start = byte_position(context, text, from)?;
    let end =
        if args.len() > 2 { byte_position(context, text, whole(args, 2)?)? } else { text.len() };
    let part = text.get(start..end);
    let part = part.ok_or_else(|| Fault::wrong_type("substring: the end is before the start"))?;
    new_text(context, part.to_owned())
}

fn replace(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let (text, old, new) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
    let limit = limit(args, 3)?;
    context.budget.touch(text.len().saturating_add(old.len()))?;
    let found = text.matches(old).take(limit).count();
    let length = text.len().saturating_add(found.saturating_mul(new.len()));
    context.budget.allocate(length)?;
    Ok(Value::from(text.replacen(old, new, limit)))
}

fn split(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let (text, separator) = (text(args, 0)?, text(args, 1)?);
    let limit = limit(args, 2)?;
    // Paid before it is built: a long text may have very many parts.
    let parts = text.matches(separator).take(limit).count().saturating_add(1);
    context.budget.allocate(text.len())?;
    context.budget.allocate_entries(parts)?;
    let parts: Vec<&str> = if limit == 0 {
        Vec::new()
    } else if separator.is_empty() {
        split_chars(text, limit)
    } else {
        text.splitn(limit, separator).collect()
    };
    Ok(Value::List(parts.into_iter().map(Value::from).collect()))
}

fn split_chars(text: &str, limit: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = if parts.len() + 1 == limit { rest.len() } else { first.len_utf8() };
        let (part, after) = rest.split_at(end);
        parts.push(part);
        rest = after;
    }
    parts
}

fn join(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let items = list(args, 0)?;
    let separator = if args.len() > 1 { text(args, 1)? } else { "" };
    context.budget.walk(items.len())?;
    let mut joined = String::new();
    for (position, item) in items.iter().enumerate() {
        let item = item.as_str().ok_or_else(|| expected("a list of texts", item))?;
        let before = if position == 0 { "" } else { separator };
        // Paid piece by piece: a list may hold the same long text many times.
        context.budget.allocate(before.len() + item.len())?;
        joined.push_str(before);
        joined.push_str(item);
    }
    Ok(Value::from(joined))
}

/// A text as a CEL literal in double quotes.
fn quote(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let text = text(args, 0)?;
    context.budget.touch(text.len())?;
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    new_text(context, quoted)
}

/// An optional count where a negative one means no limit.
fn limit(args: &[Value], position: usize) -> Result<usize, Fault> {
    if args.len() <= position {
        return Ok(usize::MAX);
    }
    Ok(usize::try_from(whole(args, position)?).unwrap_or(usize::MAX))
}

/// The byte at which a code point starts; the position may be the end of the text.
fn byte_position(context: &mut Context<'_>, text: &str, position: i64) -> Result<usize, Fault> {
    context.budget.touch(text.len())?;
    let wanted = usize::try_from(position).ok();
    let mut starts = text.char_indices().map(|(start, _)| start).chain([text.len()]);
    let found = wanted.and_then(|wanted| starts.nth(wanted));
    found.ok_or_else(|| Fault::wrong_type(format!("position {position} is outside the text")))
}

/// A byte position as a position of code points, -1 for none.
fn char_position(text: &str, found: Option<usize>) -> Value {
    let position = found.and_then(|end| i64::try_from(text[..end].chars().count()).ok());
    Value::Int(position.unwrap_or(-1))
}
