//! Frames of Modbus TCP, by the "MODBUS Application Protocol Specification V1.1b3" and the "Messaging on
//! TCP/IP Implementation Guide V1.0b".

use openclaw_plugin_sdk::{Error, Result};

pub(crate) const READ_COILS: u8 = 1;
pub(crate) const READ_DISCRETE_INPUTS: u8 = 2;
pub(crate) const READ_HOLDING_REGISTERS: u8 = 3;
pub(crate) const READ_INPUT_REGISTERS: u8 = 4;
pub(crate) const WRITE_SINGLE_COIL: u8 = 5;
pub(crate) const WRITE_SINGLE_REGISTER: u8 = 6;
pub(crate) const WRITE_MULTIPLE_COILS: u8 = 15;
pub(crate) const WRITE_MULTIPLE_REGISTERS: u8 = 16;

/// Bits of one request to read.
pub(crate) const READ_BITS: usize = 2_000;
/// Registers of one request to read.
pub(crate) const READ_REGISTERS: usize = 125;
/// Bits of one request to write.
pub(crate) const WRITE_BITS: usize = 1_968;
/// Registers of one request to write.
pub(crate) const WRITE_REGISTERS: usize = 123;

/// Bytes in front of the unit: transaction, protocol, length.
pub(crate) const HEAD_BYTES: u32 = 6;

/// A request with its head in front.
pub(crate) fn request(transaction: u16, unit: u8, function: u8, data: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(8 + data.len());
    frame.extend(transaction.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend((data.len() as u16 + 2).to_be_bytes());
    frame.extend([unit, function]);
    frame.extend(data);
    frame
}

/// Checks the head of a response and gives the number of bytes behind it.
pub(crate) fn length(head: &[u8], transaction: u16) -> Result<u32> {
    let [t1, t2, p1, p2, l1, l2] = *head else { return Err(fault("the head is cut off")) };
    let (got, protocol) = (u16::from_be_bytes([t1, t2]), u16::from_be_bytes([p1, p2]));
    if protocol != 0 {
        return Err(fault(&format!("protocol {protocol} is not Modbus; is this a Modbus port?")));
    }
    if got != transaction {
        return Err(fault(&format!("transaction {got} was answered, {transaction} was asked")));
    }
    match u16::from_be_bytes([l1, l2]) {
        length @ 3..=254 => Ok(u32::from(length)),
        length => Err(fault(&format!("a length of {length} bytes"))),
    }
}

/// Checks who answered what, and gives the data.
pub(crate) fn data(body: &[u8], unit: u8, function: u8) -> Result<&[u8]> {
    let (head, data) = body.split_at_checked(2).ok_or_else(|| fault("the body is cut off"))?;
    if head[0] != unit {
        return Err(fault(&format!("unit {} answered, {unit} was asked", head[0])));
    }
    if head[1] == function | 0x80 {
        return Err(exception(data.first().copied().unwrap_or(0), unit, function));
    }
    if head[1] != function {
        return Err(fault(&format!("function {} was answered, {function} was asked", head[1])));
    }
    Ok(data)
}

/// The data of a response that tells its number of bytes first.
pub(crate) fn counted(data: &[u8], bytes: usize) -> Result<&[u8]> {
    match data.split_first() {
        Some((count, rest)) if usize::from(*count) == bytes && rest.len() == bytes => Ok(rest),
        _ => Err(fault(&format!("{} bytes of data in place of {bytes}", data.len()))),
    }
}

/// An answer that is not what the protocol says. Another attempt has a connection of its own.
pub(crate) fn fault(what: &str) -> Error {
    Error::new("user.modbus_protocol", format!("the answer is no Modbus: {what}")).retryable()
}

/// What a device says that does not do what it was asked.
fn exception(code: u8, unit: u8, function: u8) -> Error {
    let (name, hint, again) = match code {
        1 => ("illegal_function", "the device does not know this function", false),
        2 => {
            ("illegal_data_address", "look at address and count; many manuals count from 1", false)
        }
        3 => ("illegal_data_value", "the device takes another number of values, or others", false),
        4 => ("server_device_failure", "the device has failed at it", false),
        5 => ("acknowledge", "the device is at it and takes longer", true),
        6 => ("server_device_busy", "the device is busy", true),
        8 => ("memory_parity_error", "the device's memory is damaged", false),
        10 => ("gateway_path_unavailable", "the gateway has no way to this unit", true),
        11 => ("gateway_target_failed", "the unit behind the gateway does not answer", true),
        _ => ("exception", "the device gives a reason of its own", false),
    };
    let message = format!("unit {unit} refused function {function} with code {code}: {hint}");
    let error = Error::new(format!("user.modbus_{name}"), message);
    if again { error.retryable() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the specification, section 6.3 and 6.6.
    #[test]
    fn the_specification_s_examples() {
        let read = request(1, 1, READ_HOLDING_REGISTERS, &[0, 0x6B, 0, 3]);
        assert_eq!(read, [0, 1, 0, 0, 0, 6, 1, 3, 0, 0x6B, 0, 3]);
        let answer = [1, 3, 6, 2, 0x2B, 0, 0, 0, 0x64];
        assert_eq!(length(&[0, 1, 0, 0, 0, 9], 1), Ok(9));
        let data = data(&answer, 1, READ_HOLDING_REGISTERS).and_then(|data| counted(data, 6));
        assert_eq!(data, Ok(&answer[3..]));
    }

    #[test]
    fn what_is_not_the_answer_is_told() {
        for (head, part) in [
            ([0, 2, 0, 0, 0, 5], "transaction 2"),
            ([0, 1, 0, 7, 0, 5], "protocol 7"),
            ([0, 1, 0, 0, 0, 2], "length of 2"),
            ([0, 1, 0, 0, 1, 0], "length of 256"),
            (*b"HTTP/1", "protocol"),
        ] {
            let error = length(&head, 1).map_err(|e| e.message).err().unwrap_or_default();
            assert!(error.contains(part), "{error}");
        }
        for (body, code) in [
            (&[2, 3, 2, 0, 0][..], "user.modbus_protocol"),
            (&[1, 4, 2, 0, 0], "user.modbus_protocol"),
            (&[1], "user.modbus_protocol"),
            (&[1, 0x83, 2], "user.modbus_illegal_data_address"),
            (&[1, 0x83, 6], "user.modbus_server_device_busy"),
            (&[1, 0x83, 0x55], "user.modbus_exception"),
        ] {
            assert_eq!(data(body, 1, 3).map_err(|e| e.code), Err(code.to_owned()));
        }
        assert!(counted(&[2, 0], 2).is_err() && counted(&[2, 0, 0, 0], 2).is_err());
    }
}
