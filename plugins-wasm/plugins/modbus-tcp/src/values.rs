//! Values in registers: their type, the order of their words and bytes, scale and offset.

use serde::Deserialize;
use serde_json::{Number, Value};

/// How values lie in registers.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Format {
    #[serde(rename = "type")]
    kind: Kind,
    word_order: Order,
    byte_order: Order,
    scale: f64,
    offset: f64,
}

impl Default for Format {
    fn default() -> Self {
        let (kind, word_order, byte_order) = (Kind::U16, Order::Big, Order::Big);
        Self { kind, word_order, byte_order, scale: 1.0, offset: 0.0 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

/// What comes first: what weighs more (`big`) or what weighs less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    Big,
    Little,
}

impl Format {
    /// Registers of one value.
    pub(crate) const fn registers(self) -> usize {
        match self.kind {
            Kind::U16 | Kind::I16 => 1,
            Kind::U32 | Kind::I32 | Kind::F32 => 2,
            Kind::U64 | Kind::I64 | Kind::F64 => 4,
        }
    }

    fn is_plain(self) -> bool {
        self.scale == 1.0 && self.offset == 0.0
    }

    /// The values in registers. What is no number (not a number, infinite) is `null`.
    pub(crate) fn decode(self, registers: &[u16]) -> Vec<Value> {
        registers.chunks_exact(self.registers()).map(|part| self.value(self.gather(part))).collect()
    }

    /// The bits of one value.
    fn gather(self, part: &[u16]) -> u64 {
        let ordered = |register: &u16| match self.byte_order {
            Order::Big => *register,
            Order::Little => register.swap_bytes(),
        };
        let add = |bits: u64, register: u16| bits << 16 | u64::from(register);
        match self.word_order {
            Order::Big => part.iter().map(ordered).fold(0, add),
            Order::Little => part.iter().rev().map(ordered).fold(0, add),
        }
    }

    fn value(self, bits: u64) -> Value {
        let whole = match self.kind {
            Kind::U16 | Kind::U32 | Kind::U64 => Number::from(bits),
            Kind::I16 => Number::from(bits as u16 as i16),
            Kind::I32 => Number::from(bits as u32 as i32),
            Kind::I64 => Number::from(bits as i64),
            // By its shortest decimal text: 21.3 and not 21.299999237060547.
            Kind::F32 => return self.scaled(f32::from_bits(bits as u32).to_string().parse().ok()),
            Kind::F64 => return self.scaled(Some(f64::from_bits(bits))),
        };
        if self.is_plain() { Value::Number(whole) } else { self.scaled(whole.as_f64()) }
    }

    fn scaled(self, value: Option<f64>) -> Value {
        let scaled = value.map(|v| if self.is_plain() { v } else { v * self.scale + self.offset });
        scaled.and_then(Number::from_f64).map_or(Value::Null, Value::Number)
    }

    /// The registers of values.
    ///
    /// # Errors
    /// A value does not fit into its type, or the scale is 0.
    pub(crate) fn encode(self, values: &[f64]) -> Result<Vec<u16>, String> {
        if self.scale == 0.0 {
            return Err("`scale` is 0".to_owned());
        }
        let mut registers = Vec::new();
        for value in values {
            let raw = if self.is_plain() { *value } else { (value - self.offset) / self.scale };
            let bits = self
                .bits(raw)
                .ok_or_else(|| format!("{value} does not fit: the register would hold {raw}"))?;
            registers.extend(self.scatter(bits));
        }
        Ok(registers)
    }

    /// The bits of a raw value; whole numbers are rounded.
    fn bits(self, raw: f64) -> Option<u64> {
        let whole = raw.round();
        let fits = |low: f64, high: f64| (low..=high).contains(&whole);
        match self.kind {
            Kind::U16 => fits(0.0, f64::from(u16::MAX)).then_some(whole as u64),
            Kind::I16 => {
                let is_in = fits(f64::from(i16::MIN), f64::from(i16::MAX));
                is_in.then_some(u64::from(whole as i16 as u16))
            }
            Kind::U32 => fits(0.0, f64::from(u32::MAX)).then_some(whole as u64),
            Kind::I32 => {
                let is_in = fits(f64::from(i32::MIN), f64::from(i32::MAX));
                is_in.then_some(u64::from(whole as i32 as u32))
            }
            // JSON's numbers are exact up to here.
            Kind::U64 => fits(0.0, EXACT).then_some(whole as u64),
            Kind::I64 => fits(-EXACT, EXACT).then_some(whole as i64 as u64),
            Kind::F32 => {
                let single = raw as f32;
                single.is_finite().then_some(u64::from(single.to_bits()))
            }
            Kind::F64 => Some(raw.to_bits()),
        }
    }

    fn scatter(self, bits: u64) -> Vec<u16> {
        let count = self.registers();
        let ordered = |place: usize| {
            let register = (bits >> (16 * place)) as u16;
            if self.byte_order == Order::Big { register } else { register.swap_bytes() }
        };
        match self.word_order {
            Order::Big => (0..count).rev().map(ordered).collect(),
            Order::Little => (0..count).map(ordered).collect(),
        }
    }
}

/// The largest whole number up to which all are exact: 2 to the 53rd.
const EXACT: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn format(json: Value) -> Format {
        serde_json::from_value(json).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn types_and_orders() {
        for (text, registers, value) in [
            (json!({}), &[0xFFFF][..], json!(65_535)),
            (json!({ "type": "i16" }), &[0xFFFE], json!(-2)),
            (json!({ "type": "u32" }), &[1, 2], json!(65_538)),
            (json!({ "type": "u32", "word_order": "little" }), &[2, 1], json!(65_538)),
            (json!({ "type": "i32" }), &[0xFFFF, 0xFFFD], json!(-3)),
            (json!({ "type": "u32", "byte_order": "little" }), &[0x0100, 0x0200], json!(65_538)),
            (json!({ "type": "f32" }), &[0x41AA, 0x6666], json!(21.3)),
            (json!({ "type": "f32", "word_order": "little" }), &[0x6666, 0x41AA], json!(21.3)),
            (
                json!({ "type": "f64" }),
                &[0x4009, 0x21FB, 0x5444, 0x2D18],
                json!(std::f64::consts::PI),
            ),
            (json!({ "type": "u64" }), &[0, 1, 0, 0], json!(4_294_967_296_u64)),
            (json!({ "type": "i64" }), &[0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF], json!(-1)),
            (json!({ "scale": 0.5, "offset": -40 }), &[85], json!(2.5)),
        ] {
            let format = format(text.clone());
            assert_eq!(format.decode(registers).first(), Some(&value), "{text}");
            let back = value.as_f64().map(|v| format.encode(&[v]));
            assert_eq!(back, Some(Ok(registers.to_vec())), "{text}");
        }
        assert_eq!(format(json!({ "type": "f32" })).decode(&[0x7FC0, 0]), [Value::Null]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (text, value) in [
            (json!({}), 65_536.0),
            (json!({}), -1.0),
            (json!({ "type": "i16" }), 32_768.0),
            (json!({ "type": "u32" }), 4_294_967_296.0),
            (json!({ "type": "f32" }), 1e39),
            (json!({ "type": "i64" }), 1e19),
            (json!({ "scale": 0.001 }), 66.0),
            (json!({ "scale": 0.0 }), 1.0),
        ] {
            assert!(format(text.clone()).encode(&[value]).is_err(), "{text} {value}");
        }
    }
}
