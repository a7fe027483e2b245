//! The wire format of Protocol Buffers, as much as Sparkplug B needs.

/// One field as it was read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Field<'b> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'b [u8]),
    Fixed32(u32),
}

impl<'b> Field<'b> {
    pub(crate) fn number(self) -> Result<u64, String> {
        match self {
            Self::Varint(number) => Ok(number),
            Self::Fixed64(_) | Self::Bytes(_) | Self::Fixed32(_) => {
                Err("a field that should be a number is none".to_owned())
            }
        }
    }

    pub(crate) fn bytes(self) -> Result<&'b [u8], String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Varint(_) | Self::Fixed64(_) | Self::Fixed32(_) => {
                Err("a field that should be bytes is none".to_owned())
            }
        }
    }

    pub(crate) fn text(self) -> Result<String, String> {
        let text = std::str::from_utf8(self.bytes()?);
        text.map(str::to_owned).map_err(|_| "a text that is not UTF-8".to_owned())
    }
}

/// The fields of a message, by number.
pub(crate) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(crate) const fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Field<'b>)>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0);
        let number = number.ok_or("a field without a number")?;
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(CUT)?;
                self.rest = rest;
                Field::Bytes(bytes)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.array()?)),
            kind => return Err(format!("field {number} is of wire type {kind}")),
        };
        Ok(Some((number, field)))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(CUT)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut number = 0_u64;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array()?;
            // Of the tenth byte only one bit is left.
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number of more than 64 bits".to_owned())
    }
}

const CUT: &str = "it is cut off";

/// A message being written.
#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    fn raw(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    pub(crate) fn varint(&mut self, field: u32, number: u64) {
        self.raw(u64::from(field) << 3);
        self.raw(number);
    }

    pub(crate) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.raw(u64::from(field) << 3 | 2);
        self.raw(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn float(&mut self, field: u32, number: f32) {
        self.raw(u64::from(field) << 3 | 5);
        self.bytes.extend(number.to_le_bytes());
    }

    pub(crate) fn double(&mut self, field: u32, number: f64) {
        self.raw(u64::from(field) << 3 | 1);
        self.bytes.extend(number.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the encoding's documentation: 150, and the text "testing".
    #[test]
    fn what_the_documentation_shows() {
        let mut writer = Writer::default();
        writer.varint(1, 150);
        writer.bytes(2, b"testing");
        let expected = [&[0x08, 0x96, 0x01, 0x12, 0x07][..], b"testing"].concat();
        assert_eq!(writer.bytes, expected);
        let mut reader = Reader::new(&expected);
        assert_eq!(reader.next(), Ok(Some((1, Field::Varint(150)))));
        assert_eq!(reader.next(), Ok(Some((2, Field::Bytes(b"testing")))));
        assert_eq!(reader.next(), Ok(None));
    }

    #[test]
    fn numbers_of_any_size_come_back() {
        for number in [0, 1, 127, 128, u64::from(u32::MAX), u64::MAX] {
            let mut writer = Writer::default();
            writer.varint(15, number);
            assert_eq!(Reader::new(&writer.bytes).next(), Ok(Some((15, Field::Varint(number)))));
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let long = [0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02];
        for bytes in
            [&[0x08][..], &[0x12, 5, 1], &[0x0D, 1], &[0x09, 1], &[0x0B], &[0x00, 1], &long]
        {
            assert!(Reader::new(bytes).next().is_err(), "{bytes:?}");
        }
    }
}
