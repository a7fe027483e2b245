//! Requests over one connection.

use openclaw_plugin_sdk::Result;
use openclaw_plugin_sdk::tcp::{self, Stream};

use crate::frame;

/// A connection to a unit.
#[derive(Debug)]
pub(crate) struct Client {
    stream: Stream,
    unit: u8,
    /// The transaction that was asked last.
    transaction: u16,
}

impl Client {
    pub(crate) fn connect(host: &str, port: u16, unit: u8, timeout_ms: u32) -> Result<Self> {
        Ok(Self { stream: tcp::connect(host, port, timeout_ms)?, unit, transaction: 0 })
    }

    /// Asks, and gives the data of the answer.
    fn ask(&mut self, function: u8, data: &[u8]) -> Result<Vec<u8>> {
        self.transaction += 1;
        self.stream.write_all(&frame::request(self.transaction, self.unit, function, data))?;
        let head = self.stream.read_exact(frame::HEAD_BYTES)?;
        let body = self.stream.read_exact(frame::length(&head, self.transaction)?)?;
        frame::data(&body, self.unit, function).map(<[u8]>::to_vec)
    }

    /// Reads bits, in as many requests as it takes.
    pub(crate) fn read_bits(&mut self, function: u8, from: u16, count: usize) -> Result<Vec<bool>> {
        let mut bits = Vec::with_capacity(count);
        while bits.len() < count {
            let part = (count - bits.len()).min(frame::READ_BITS);
            let answer = self.ask(function, &span(from, bits.len(), part))?;
            let bytes = frame::counted(&answer, part.div_ceil(8))?;
            bits.extend((0..part).map(|bit| bytes[bit / 8] >> (bit % 8) & 1 == 1));
        }
        Ok(bits)
    }

    /// Reads registers, in as many requests as it takes.
    pub(crate) fn read_registers(
        &mut self,
        function: u8,
        from: u16,
        count: usize,
    ) -> Result<Vec<u16>> {
        let mut registers = Vec::with_capacity(count);
        while registers.len() < count {
            let part = (count - registers.len()).min(frame::READ_REGISTERS);
            let answer = self.ask(function, &span(from, registers.len(), part))?;
            let bytes = frame::counted(&answer, part * 2)?;
            registers
                .extend(bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])));
        }
        Ok(registers)
    }

    /// Writes one coil or register.
    pub(crate) fn write_one(&mut self, function: u8, address: u16, value: u16) -> Result<()> {
        let data = [address.to_be_bytes(), value.to_be_bytes()].concat();
        self.write(function, &data)
    }

    pub(crate) fn write_bits(&mut self, from: u16, values: &[bool]) -> Result<()> {
        let mut bytes = vec![0_u8; values.len().div_ceil(8)];
        for (bit, _) in values.iter().enumerate().filter(|(_, value)| **value) {
            bytes[bit / 8] |= 1 << (bit % 8);
        }
        self.write_many(frame::WRITE_MULTIPLE_COILS, from, values.len(), &bytes)
    }

    pub(crate) fn write_registers(&mut self, from: u16, registers: &[u16]) -> Result<()> {
        let bytes: Vec<u8> = registers.iter().flat_map(|r| r.to_be_bytes()).collect();
        self.write_many(frame::WRITE_MULTIPLE_REGISTERS, from, registers.len(), &bytes)
    }

    fn write_many(&mut self, function: u8, from: u16, count: usize, bytes: &[u8]) -> Result<()> {
        let mut data = span(from, 0, count).to_vec();
        data.push(bytes.len() as u8);
        data.extend(bytes);
        self.write(function, &data)
    }

    /// Writes; the answer repeats where and how much.
    fn write(&mut self, function: u8, data: &[u8]) -> Result<()> {
        let answer = self.ask(function, data)?;
        if answer == data[..4] {
            return Ok(());
        }
        Err(frame::fault("a write was answered that was not asked for"))
    }
}

/// Address and count of a request.
fn span(from: u16, done: usize, count: usize) -> [u8; 4] {
    let [a, b] = from.wrapping_add(done as u16).to_be_bytes();
    let [c, d] = (count as u16).to_be_bytes();
    [a, b, c, d]
}
