//! Values: each keeps its type, so that what is computed with them later is the same.
//!
//! A larger value that is there already, as the result of a step is in each branch that began after
//! it, is written by its number. The same bytes make the same value; where they lie in memory does
//! not matter, so two folds of one journal make the same snapshot.

use std::sync::Arc;

use openclaw_protocol::expr::{Duration, Key, Map, SecretText, Timestamp, TypeName, Value};

use super::bytes::{Reader, Stored, Writer};

/// Values of so many bytes and more are written once.
const ONCE_BYTES: usize = 128;
/// Stands for a value that is there already.
const KNOWN: u8 = 0xff;

impl Stored for Value {
    fn write(&self, to: &mut Writer) {
        let from = to.out.len();
        plain(self, to);
        if to.out.len() - from < ONCE_BYTES {
            return;
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(&blake3::hash(&to.out[from..]).as_bytes()[..16]);
        if let Some(number) = to.values.get(&hash) {
            let number = *number;
            to.out.truncate(from);
            to.byte(KNOWN);
            return to.number(number);
        }
        let number = to.values.len() as u64;
        to.values.insert(hash, number);
    }

    fn read(from: &mut Reader<'_>) -> Self {
        let before = from.left();
        let first = from.byte();
        if first == KNOWN {
            let place = from.place(from.values.len());
            return from.values.get(place).cloned().unwrap_or(Self::Null);
        }
        let value = read_plain(first, from);
        if before - from.left() >= ONCE_BYTES && !from.has_failed() {
            from.values.push(value.clone());
        }
        value
    }
}

/// A value with all that is in it.
fn plain(value: &Value, to: &mut Writer) {
    match value {
        Value::Null => to.byte(0),
        Value::Bool(flag) => to.byte(if *flag { 2 } else { 1 }),
        Value::Int(number) => {
            to.byte(3);
            number.write(to);
        }
        Value::Uint(number) => {
            to.byte(4);
            number.write(to);
        }
        Value::Double(number) => {
            to.byte(5);
            to.out.extend_from_slice(&number.to_bits().to_le_bytes());
        }
        Value::String(text) => {
            to.byte(6);
            to.text(text);
        }
        Value::Bytes(bytes) => {
            to.byte(7);
            to.count(bytes.len());
            to.out.extend_from_slice(bytes);
        }
        Value::List(items) => {
            to.byte(8);
            to.count(items.len());
            to.deeper(|to| items.iter().for_each(|item| plain(item, to)));
        }
        Value::Map(map) => {
            to.byte(9);
            to.count(map.len());
            to.deeper(|to| {
                for (key, value) in map.iter() {
                    plain(&key.to_value(), to);
                    plain(value, to);
                }
            });
        }
        Value::Timestamp(at) => {
            to.byte(10);
            at.as_seconds().write(to);
            at.subsec_nanos().write(to);
        }
        Value::Duration(length) => {
            to.byte(11);
            length.as_nanos().write(to);
        }
        Value::Type(name) => {
            to.byte(12);
            to.text(name.as_str());
        }
        Value::Secret(secret) => {
            to.byte(13);
            to.count(secret.pieces().len());
            for (is_secret, text) in secret.pieces() {
                is_secret.write(to);
                to.text(text);
            }
        }
    }
}

fn read_plain(first: u8, from: &mut Reader<'_>) -> Value {
    let value = match first {
        0 => Some(Value::Null),
        1 | 2 => Some(Value::Bool(first == 2)),
        3 => Some(Value::Int(i64::read(from))),
        4 => Some(Value::Uint(u64::read(from))),
        5 => {
            let bytes = [(); 8].map(|()| from.byte());
            Some(Value::Double(f64::from_bits(u64::from_le_bytes(bytes))))
        }
        6 => Some(Value::from(from.text())),
        7 => Some(Value::Bytes(from.bytes().into())),
        8 => {
            let count = from.count();
            Some(Value::List(
                from.deeper(Arc::from([]), |from| (0..count).map_while(|_| next(from)).collect()),
            ))
        }
        9 => {
            let count = from.count();
            let entries = from.deeper(Vec::new(), |from| {
                (0..count).map_while(|_| Some((key_of(next(from)?)?, next(from)?))).collect()
            });
            let is_whole = entries.len() == count;
            Map::new(entries).ok().filter(|_| is_whole).map(Value::from)
        }
        10 => {
            let (seconds, nanos) = Stored::read(from);
            Timestamp::from_parts(seconds, nanos).map(Value::Timestamp)
        }
        11 => Some(Value::Duration(Duration::from_nanos(i64::read(from)))),
        12 => TypeName::parse(from.text()).map(Value::Type),
        13 => {
            let pieces: Vec<(bool, String)> = Stored::read(from);
            Some(Value::Secret(SecretText::of_pieces(&pieces)))
        }
        _ => None,
    };
    value.unwrap_or_else(|| {
        from.fail();
        Value::Null
    })
}

fn next(from: &mut Reader<'_>) -> Option<Value> {
    let first = from.byte();
    let value = read_plain(first, from);
    (!from.has_failed()).then_some(value)
}

fn key_of(value: Value) -> Option<Key> {
    if let Value::Bool(flag) = value {
        Some(Key::Bool(flag))
    } else if let Value::Int(number) = value {
        Some(Key::Int(number))
    } else if let Value::Uint(number) = value {
        Some(Key::Uint(number))
    } else if let Value::String(text) = value {
        Some(Key::String(text))
    } else {
        None
    }
}
