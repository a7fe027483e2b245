//! Values in the place of handles.

use serde_json::Value as Json;
use zeroize::Zeroizing;

use crate::expr::{JOIN_KEY, SECRET_KEY};

/// A secret that an input asks for and that has no value here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the secret `{0}` has no value here")]
pub struct Missing(pub String);

/// Whether an input may ask for a secret, as far as its text tells.
#[must_use]
pub fn asks(input: &str) -> bool {
    input.contains("\"$secret\"")
}

/// The names of the secrets that an input asks for, each once, in order of appearance.
#[must_use]
pub fn names(input: &Json) -> Vec<String> {
    let mut found = Vec::new();
    collect(input, &mut found);
    found
}

/// The text of an input with values in the place of handles. It is written into memory that is
/// wiped when it goes and that is large enough from the start, so that no copy is left behind.
///
/// # Errors
/// The first secret that has no value.
pub fn fill(
    input: &Json,
    values: &[(String, Zeroizing<String>)],
) -> Result<Zeroizing<Vec<u8>>, Missing> {
    let mut room = 0;
    measure(input, values, &mut room)?;
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    write(input, values, &mut out)?;
    debug_assert!(out.len() <= room, "a copy would be left where it grew");
    Ok(out)
}

/// A handle, as the parts that it joins.
fn handle(json: &Json) -> Option<&[Json]> {
    let object = json.as_object().filter(|object| object.len() == 1)?;
    if object.get(SECRET_KEY).is_some_and(Json::is_string) {
        return Some(std::slice::from_ref(json));
    }
    object.get(JOIN_KEY)?.as_array().map(Vec::as_slice)
}

fn name_of(part: &Json) -> Option<&str> {
    part.as_object()?.get(SECRET_KEY)?.as_str()
}

fn collect(json: &Json, found: &mut Vec<String>) {
    for part in handle(json).unwrap_or_default() {
        if let Some(name) = name_of(part)
            && !found.iter().any(|known| known == name)
        {
            found.push(name.to_owned());
        }
    }
    if handle(json).is_some() {
        return;
    }
    for item in json.as_array().into_iter().flatten() {
        collect(item, found);
    }
    for (_, item) in json.as_object().into_iter().flatten() {
        collect(item, found);
    }
}

fn value_of<'a>(name: &str, values: &'a [(String, Zeroizing<String>)]) -> Result<&'a str, Missing> {
    let found = values.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str()).ok_or_else(|| Missing(name.to_owned()))
}

/// Adds up how many bytes will be written, at most.
fn measure(
    json: &Json,
    values: &[(String, Zeroizing<String>)],
    room: &mut usize,
) -> Result<(), Missing> {
    if let Some(parts) = handle(json) {
        *room += 2;
        for part in parts {
            let text = match name_of(part) {
                Some(name) => value_of(name, values)?,
                None => part.as_str().unwrap_or_default(),
            };
            // The longest form of one byte is `\u00xx`.
            *room += text.len() * 6;
        }
        return Ok(());
    }
    match json {
        Json::Array(items) => {
            *room += 2 + items.len();
            items.iter().try_for_each(|item| measure(item, values, room))
        }
        Json::Object(object) => {
            *room += 2;
            object.iter().try_for_each(|(key, item)| {
                *room += key.len() * 6 + 4;
                measure(item, values, room)
            })
        }
        Json::String(text) => {
            *room += text.len() * 6 + 2;
            Ok(())
        }
        Json::Null | Json::Bool(_) => {
            *room += 5;
            Ok(())
        }
        Json::Number(number) => {
            *room += number.to_string().len();
            Ok(())
        }
    }
}

fn write(
    json: &Json,
    values: &[(String, Zeroizing<String>)],
    out: &mut Vec<u8>,
) -> Result<(), Missing> {
    if let Some(parts) = handle(json) {
        out.push(b'"');
        for part in parts {
            let text = match name_of(part) {
                Some(name) => value_of(name, values)?,
                None => part.as_str().unwrap_or_default(),
            };
            escape(text, out);
        }
        out.push(b'"');
        return Ok(());
    }
    match json {
        Json::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(item, values, out)?;
            }
            out.push(b']');
        }
        Json::Object(object) => {
            out.push(b'{');
            for (at, (key, item)) in object.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                out.push(b'"');
                escape(key, out);
                out.extend_from_slice(b"\":");
                write(item, values, out)?;
            }
            out.push(b'}');
        }
        Json::String(text) => {
            out.push(b'"');
            escape(text, out);
            out.push(b'"');
        }
        Json::Null => out.extend_from_slice(b"null"),
        Json::Bool(flag) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
        Json::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
    }
    Ok(())
}

/// The inside of a JSON string (RFC 8259 §7), written in place.
fn escape(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            0..0x20 => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
            _ => out.push(byte),
        }
    }
}
