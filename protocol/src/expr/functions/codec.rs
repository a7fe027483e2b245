//! Encodings and digests: base64, hex, JSON, CRC-32, SHA-256; ids and numbers derived from a run.

use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use sha2::{Digest, Sha256};

use super::{Builtin, Context, arg, expected, global, new_text, text};
use crate::expr::budget::weight;
use crate::expr::error::{Fault, excerpt};
use crate::expr::json::Form;
use crate::expr::value::Value;

pub(super) const TABLE: &[Builtin] = &[
    global("base64.encode", 1..=1, |context, args| encode(context, args, &BASE64)),
    global("base64.decode", 1..=1, base64_decode),
    global("hex.encode", 1..=1, |context, args| encode(context, args, &HEXLOWER)),
    global("hex.decode", 1..=1, hex_decode),
    global("json.encode", 1..=1, json_encode),
    global("json.decode", 1..=1, json_decode),
    global("crc32", 1..=1, crc32),
    global("sha256", 1..=1, sha256),
    global("uuid", 1..=1, uuid),
    global("rand", 1..=1, rand),
];

fn encode(
    context: &mut Context<'_>,
    args: &[Value],
    encoding: &data_encoding::Encoding,
) -> Result<Value, Fault> {
    let bytes = octets(args)?;
    context.budget.allocate(encoding.encode_len(bytes.len()))?;
    Ok(Value::from(encoding.encode(bytes)))
}

/// Takes base64 with or without padding.
fn base64_decode(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let encoded = text(args, 0)?;
    context.budget.allocate(encoded.len())?;
    let decoded = BASE64_NOPAD.decode(encoded.trim_end_matches('=').as_bytes());
    decoded.map(|bytes| Value::Bytes(bytes.into())).map_err(|_| not_encoded(encoded, "base64"))
}

fn hex_decode(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let encoded = text(args, 0)?;
    context.budget.allocate(encoded.len())?;
    let decoded = HEXLOWER_PERMISSIVE.decode(encoded.as_bytes());
    decoded.map(|bytes| Value::Bytes(bytes.into())).map_err(|_| not_encoded(encoded, "hex"))
}

fn not_encoded(encoded: &str, encoding: &str) -> Fault {
    Fault::wrong_type(format!("`{}` is not {encoding}", excerpt(encoded)))
}

fn json_encode(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let value = arg(args, 0);
    // Shared parts count as often as they occur, so the text is bounded before it is built.
    let bytes = weight(value)?;
    context.budget.touch(usize::try_from(bytes).unwrap_or(usize::MAX))?;
    if contains_secret(value) {
        return Err(Fault::wrong_type("a secret cannot be encoded"));
    }
    new_text(context, value.json(Form::Outer)?.to_string())
}

/// JSON from outside: its numbers become doubles.
fn json_decode(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let encoded = text(args, 0)?;
    // Each entry costs at least two bytes of text and at most this much memory.
    let entries = encoded.bytes().filter(|byte| matches!(byte, b',' | b'[' | b'{' | b':')).count();
    context.budget.allocate(encoded.len())?;
    context.budget.allocate_entries(entries)?;
    let json: serde_json::Value = serde_json::from_str(encoded)
        .map_err(|error| Fault::wrong_type(format!("not JSON: {error}")))?;
    Ok(Value::from_json(&json))
}

/// CRC-32 as in zip and Ethernet (reflected, polynomial 0xEDB88320), as `int`.
fn crc32(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let bytes = octets(args)?;
    context.budget.touch(bytes.len().saturating_mul(8))?;
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & 0_u32.wrapping_sub(crc & 1));
        }
    }
    Ok(Value::Int(i64::from(!crc)))
}

/// SHA-256 as lower-case hex.
fn sha256(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let bytes = octets(args)?;
    context.budget.touch(bytes.len().saturating_mul(8))?;
    let digest = Sha256::digest(bytes);
    new_text(context, HEXLOWER.encode(&digest))
}

/// A UUID (version 8, RFC 9562) that is the same whenever this step of this run asks for the tag.
fn uuid(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    let mut bytes = derived(context, "uuid", text(args, 0)?)?;
    bytes[6] = bytes[6] & 0x0F | 0x80;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let hex = HEXLOWER.encode(&bytes[..16]);
    let groups = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    new_text(context, groups.join("-"))
}

/// A double from 0 up to 1 that is the same whenever this step of this run asks for the tag.
fn rand(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Fault> {
    const BITS: i32 = 53;
    let bytes = derived(context, "rand", text(args, 0)?)?;
    let number = bytes[..8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact in a double")]
    Ok(Value::Double((number >> (64 - BITS)) as f64 / 2_f64.powi(BITS)))
}

fn derived(context: &mut Context<'_>, purpose: &str, tag: &str) -> Result<[u8; 32], Fault> {
    let Some(seed) = context.scope.seed() else {
        return Err(Fault::wrong_type(format!("`{purpose}` is only known within a run")));
    };
    context.budget.touch(tag.len().saturating_mul(8))?;
    let mut hasher = blake3::Hasher::new_keyed(&seed);
    hasher.update(purpose.as_bytes()).update(b"\0").update(tag.as_bytes());
    Ok(*hasher.finalize().as_bytes())
}

/// Bytes, or the UTF-8 of a text.
fn octets(args: &[Value]) -> Result<&[u8], Fault> {
    match arg(args, 0) {
        Value::Bytes(bytes) => Ok(bytes),
        Value::String(text) => Ok(text.as_bytes()),
        other => Err(expected("text or bytes", other)),
    }
}

/// Called on values whose weight is bounded.
fn contains_secret(value: &Value) -> bool {
    match value {
        Value::Secret(_) => true,
        Value::List(items) => items.iter().any(contains_secret),
        Value::Map(map) => map.iter().any(|(_, value)| contains_secret(value)),
        _ => false,
    }
}
