//! The versioned bytes: the only user of postcard.
//!
//! Every packed value begins with a version byte and a kind byte, so that no bytes are ever taken
//! for something they are not; trailing bytes are refused. Wire enums are append-only, kept so by
//! golden bytes in the tests below. No wire type is recursive (postcard overflows the stack on
//! those), and lengths are bounded before anything is decoded.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version this build writes. It reads this one and the one before.
pub const VERSION: u8 = 1;

/// What packed bytes hold: the second byte. `docs/wire.md` describes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kind {
    /// A sync frame.
    Frame = 1,
    /// A [`crate::run::RunEventRecord`].
    RunEvent = 2,
    /// A [`crate::run::RunResult`].
    RunResult = 3,
    /// A [`crate::report::ReportRecord`].
    Report = 4,
    /// A [`crate::command::CommandRecord`].
    Command = 5,
    /// A [`crate::desired::Desired`].
    Desired = 6,
    /// A [`crate::desired::SignedDesired`].
    SignedDesired = 7,
    /// A fact in an agent's journal.
    Fact = 8,
    /// A row of an agent's own tables.
    Row = 9,
    /// A [`crate::sync::Dropped`] in any lane: what a quota removed before it was sent.
    Dropped = 10,
    /// A telemetry sample.
    Telemetry = 11,
    /// The items of a [`crate::sync::Frame::Batch`], possibly deflated.
    Batch = 12,
    /// A [`crate::recording::RecordingPart`].
    Recording = 13,
    /// A [`crate::desired::Desired`] and the [`crate::secret::SealedSecret`]s that go with it.
    DesiredSecrets = 14,
    /// Facts of one run in an agent's journal, as one commit wrote them.
    Facts = 15,
}

/// Why bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Fewer than two bytes, or more than allowed.
    #[error("{len} bytes, expected between 2 and {most}")]
    Size {
        /// How many there are.
        len: usize,
        /// How many there may be.
        most: usize,
    },
    /// Written by a version this build does not read.
    #[error("wire version {0}; this build reads version {VERSION}; update the older side")]
    Version(u8),
    /// Not what was expected here.
    #[error("wire kind {found}, expected {expected:?}")]
    Kind {
        /// The kind byte.
        found: u8,
        /// What should be there.
        expected: Kind,
    },
    /// The body does not decode, or something follows it.
    #[error("malformed body: {0}")]
    Body(String),
}

/// Packs a value behind its version and kind.
///
/// # Panics
/// Never for our wire types: postcard fails only on unsized sequences, user errors and failing
/// writers, none of which they have.
#[must_use]
pub fn pack<T: Serialize>(kind: Kind, value: &T) -> Vec<u8> {
    // Most of what is packed is small, and grows step by step from nothing otherwise.
    let mut packed = Vec::with_capacity(128);
    packed.extend_from_slice(&[VERSION, kind as u8]);
    append(packed, value)
}

/// Packs one more value behind what is packed already; [`Parts`] reads such a row.
///
/// # Panics
/// Never, as [`pack`].
#[must_use]
pub fn append<T: Serialize>(packed: Vec<u8>, value: &T) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "infallible for derived, sized types")]
    postcard::to_io(value, packed).expect("wire types always serialize")
}

/// Values packed one behind the other.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'b>(&'b [u8]);

impl<'b> Parts<'b> {
    /// Looks at version and kind.
    ///
    /// # Errors
    /// They are others, or there are too many bytes.
    pub fn of(kind: Kind, bytes: &'b [u8], most: usize) -> Result<Self, WireError> {
        body_of(kind, bytes, most).map(Self)
    }

    /// The next value; `None` at the end.
    ///
    /// # Errors
    /// It does not decode.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, WireError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (value, rest) =
            postcard::take_from_bytes(self.0).map_err(|e| WireError::Body(e.to_string()))?;
        self.0 = rest;
        Ok(Some(value))
    }
}

/// Unpacks what [`pack`] packed.
///
/// # Errors
/// Another version or kind, a malformed body, or trailing bytes.
pub fn unpack<T: DeserializeOwned>(kind: Kind, bytes: &[u8], most: usize) -> Result<T, WireError> {
    let body = body_of(kind, bytes, most)?;
    let (value, rest) =
        postcard::take_from_bytes(body).map_err(|e| WireError::Body(e.to_string()))?;
    if !rest.is_empty() {
        return Err(WireError::Body(format!("{} bytes too many", rest.len())));
    }
    Ok(value)
}

/// What is behind version and kind.
fn body_of(kind: Kind, bytes: &[u8], most: usize) -> Result<&[u8], WireError> {
    let (&[version, found], body) = match bytes.split_first_chunk::<2>() {
        Some(split) if bytes.len() <= most => split,
        _ => return Err(WireError::Size { len: bytes.len(), most }),
    };
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    if found != kind as u8 {
        return Err(WireError::Kind { found, expected: kind });
    }
    Ok(body)
}

/// Byte strings as one length and the bytes: the same encoding as `Vec<u8>` has by itself, but not
/// byte by byte. For `#[serde(with = "crate::wire::bytes")]`.
pub mod bytes {
    use std::fmt;

    use serde::de::{Deserializer, SeqAccess, Visitor};
    use serde::ser::Serializer;

    /// Most bytes set aside before the first has come, for formats that name a length up front.
    const SET_ASIDE: usize = 4 * 1024;

    /// Writes the bytes.
    ///
    /// # Errors
    /// The format's own.
    pub fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(bytes)
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// Not bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        d.deserialize_byte_buf(Bytes)
    }

    struct Bytes;

    impl<'de> Visitor<'de> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }

        fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(bytes)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
            let mut bytes = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(SET_ASIDE));
            while let Some(byte) = seq.next_element()? {
                bytes.push(byte);
            }
            Ok(bytes)
        }
    }
}

/// Reads a list of at most `MOST` entries and refuses a longer one before it takes memory. For
/// `#[serde(deserialize_with = "crate::wire::at_most::<_, _, 16>")]`.
///
/// # Errors
/// More entries, or a malformed one.
pub fn at_most<'de, D, T, const MOST: usize>(d: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct List<T, const MOST: usize>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MOST: usize> serde::de::Visitor<'de> for List<T, MOST> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "a list of at most {MOST}")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(entry) = seq.next_element()? {
                if list.len() == MOST {
                    return Err(serde::de::Error::custom(format_args!("more than {MOST} entries")));
                }
                list.push(entry);
            }
            Ok(list)
        }
    }

    d.deserialize_seq(List::<T, MOST>(std::marker::PhantomData))
}

#[cfg(test)]
mod tests;
