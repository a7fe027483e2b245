//! A client of Modbus TCP: coils, discrete inputs and registers, as typed values.
//!
//! Each call connects, asks, and hangs up. Whether a failure is worth another attempt is said with
//! it; trying again is the workflow's.

mod client;
mod frame;
mod values;

use openclaw_plugin_sdk::{Error, Result, export};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::client::Client;
use crate::values::Format;

/// Bits of one call.
const BITS: usize = 2_000;
/// Registers of one call.
const REGISTERS: usize = 1_000;

/// Declares an input with what every action needs.
macro_rules! input {
    ($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            host: String,
            #[serde(default = "port")]
            port: u16,
            #[serde(default = "unit")]
            unit: u8,
            #[serde(default = "timeout_ms")]
            timeout_ms: u32,
            address: u16,
            $($(#[$attr])* $field: $ty,)*
        }

        impl $name {
            fn connect(&self) -> Result<Client> {
                Client::connect(&self.host, self.port, self.unit, self.timeout_ms)
            }
        }
    };
}

input! {
    /// Bits to read.
    ReadBits {
        #[serde(default = "one")]
        count: usize,
    }
}

input! {
    /// Values to read from registers.
    ReadRegisters {
        #[serde(default = "one")]
        count: usize,
        #[serde(default)]
        format: Format,
    }
}

input! {
    /// A coil to write.
    WriteBit {
        value: bool,
    }
}

input! {
    /// Coils to write.
    WriteBits {
        values: Vec<bool>,
    }
}

input! {
    /// A register to write.
    WriteRegister {
        value: f64,
        #[serde(default)]
        format: Format,
    }
}

input! {
    /// Values to write to registers.
    WriteRegisters {
        values: Vec<f64>,
        #[serde(default)]
        format: Format,
    }
}

/// Bits that were read.
#[derive(Debug, Serialize)]
pub struct Bits {
    values: Vec<bool>,
}

/// Values that were read, and the registers that they are made of.
#[derive(Debug, Serialize)]
pub struct Values {
    values: Vec<Value>,
    registers: Vec<u16>,
}

/// What was written.
#[derive(Debug, Serialize)]
pub struct Written {
    /// Coils or registers.
    written: usize,
}

export!(read_coils, |input: ReadBits| read_bits(&input, frame::READ_COILS));
export!(read_discrete_inputs, |input: ReadBits| read_bits(&input, frame::READ_DISCRETE_INPUTS));
export!(read_holding_registers, |input: ReadRegisters| {
    read_registers(&input, frame::READ_HOLDING_REGISTERS)
});
export!(read_input_registers, |input: ReadRegisters| {
    read_registers(&input, frame::READ_INPUT_REGISTERS)
});
export!(write_single_coil, set_coil);
export!(write_single_register, set_register);
export!(write_multiple_coils, set_coils);
export!(write_multiple_registers, set_registers);

fn read_bits(input: &ReadBits, function: u8) -> Result<Bits> {
    span(input.address, input.count, BITS, "coils or inputs")?;
    let values = input.connect()?.read_bits(function, input.address, input.count)?;
    Ok(Bits { values })
}

fn read_registers(input: &ReadRegisters, function: u8) -> Result<Values> {
    let count = input.count.saturating_mul(input.format.registers());
    span(input.address, count, REGISTERS, "registers")?;
    let registers = input.connect()?.read_registers(function, input.address, count)?;
    Ok(Values { values: input.format.decode(&registers), registers })
}

fn set_coil(input: WriteBit) -> Result<Written> {
    let value = if input.value { 0xFF00 } else { 0 };
    input.connect()?.write_one(frame::WRITE_SINGLE_COIL, input.address, value)?;
    Ok(Written { written: 1 })
}

fn set_register(input: WriteRegister) -> Result<Written> {
    let registers = input.format.encode(&[input.value]).map_err(invalid)?;
    let [value] = registers[..] else {
        let message = "a value of this type has several registers; use write_multiple_registers";
        return Err(invalid(message.to_owned()));
    };
    input.connect()?.write_one(frame::WRITE_SINGLE_REGISTER, input.address, value)?;
    Ok(Written { written: 1 })
}

fn set_coils(input: WriteBits) -> Result<Written> {
    let written = input.values.len();
    span(input.address, written, frame::WRITE_BITS, "coils")?;
    input.connect()?.write_bits(input.address, &input.values)?;
    Ok(Written { written })
}

fn set_registers(input: WriteRegisters) -> Result<Written> {
    let registers = input.format.encode(&input.values).map_err(invalid)?;
    span(input.address, registers.len(), frame::WRITE_REGISTERS, "registers")?;
    input.connect()?.write_registers(input.address, &registers)?;
    Ok(Written { written: registers.len() })
}

/// Refuses what cannot be asked for, before anybody is asked.
fn span(address: u16, count: usize, most: usize, what: &str) -> Result<()> {
    if count == 0 || count > most {
        return Err(invalid(format!("one call has 1 to {most} {what}, not {count}")));
    }
    if usize::from(address) + count > 65_536 {
        return Err(invalid(format!("{count} {what} from {address} on end behind 65535")));
    }
    Ok(())
}

fn invalid(message: String) -> Error {
    Error::new("inputs.invalid", message)
}

const fn port() -> u16 {
    502
}

const fn unit() -> u8 {
    1
}

const fn timeout_ms() -> u32 {
    3_000
}

const fn one() -> usize {
    1
}
