//! A recorded run on its way to the control plane: JSON, deflated, in parts that are records of
//! lane `telemetry`. What the JSON says is the agent's (`openclaw_agent_core::replay`); here it is
//! only carried.

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use serde::{Deserialize, Serialize};

use crate::id::{RequestId, RunId};
use crate::limits::{RECORDING_BYTES, RECORDING_PACKED_BYTES, RECORDING_PART_BYTES};

/// Compression level (0 to 10): it is done once, on a device, for a person who waits.
const DEFLATE_LEVEL: u8 = 6;

/// One part of a recording, packed as [`crate::wire::Kind::Recording`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingPart {
    /// The wish that asked for it.
    pub request: RequestId,
    /// Which run.
    pub run: RunId,
    /// Which part, from 0.
    pub part: u32,
    /// How many there are, at least 1.
    pub parts: u32,
    /// Deflated bytes.
    #[serde(with = "crate::wire::bytes")]
    pub bytes: Vec<u8>,
}

/// Why a recording cannot be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// Longer than [`RECORDING_BYTES`], or packed longer than [`RECORDING_PACKED_BYTES`].
    #[error(
        "the recording is larger than {RECORDING_BYTES} bytes, or {RECORDING_PACKED_BYTES} packed"
    )]
    TooLarge,
    /// The parts do not inflate to text.
    #[error("the recording is damaged")]
    Damaged,
}

/// Deflates a recording's text and cuts it into parts.
///
/// # Errors
/// [`RecordingError::TooLarge`].
pub fn split(
    request: &RequestId,
    run: &RunId,
    text: &str,
) -> Result<Vec<RecordingPart>, RecordingError> {
    if text.len() > RECORDING_BYTES {
        return Err(RecordingError::TooLarge);
    }
    let packed = compress_to_vec(text.as_bytes(), DEFLATE_LEVEL);
    if packed.len() > RECORDING_PACKED_BYTES {
        return Err(RecordingError::TooLarge);
    }
    let chunks = packed.chunks(RECORDING_PART_BYTES);
    let parts = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
    let part = |(part, bytes): (u32, &[u8])| RecordingPart {
        request: request.clone(),
        run: run.clone(),
        part,
        parts,
        bytes: bytes.to_vec(),
    };
    Ok((0..).zip(chunks).map(part).collect())
}

/// Puts the bytes of all parts, in their order, together again.
///
/// # Errors
/// [`RecordingError::TooLarge`] or [`RecordingError::Damaged`].
pub fn join<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<String, RecordingError> {
    let mut packed = Vec::new();
    for part in parts {
        if packed.len() + part.len() > RECORDING_PACKED_BYTES {
            return Err(RecordingError::TooLarge);
        }
        packed.extend_from_slice(part);
    }
    let text = decompress_to_vec_with_limit(&packed, RECORDING_BYTES)
        .map_err(|_| RecordingError::Damaged)?;
    String::from_utf8(text).map_err(|_| RecordingError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (RequestId, RunId) {
        (RequestId::parse("wish-1").unwrap(), RunId::parse("r-0000000000000001-1").unwrap())
    }

    /// Text that does not deflate well.
    fn noise(bytes: usize) -> String {
        let mut state = 7_u64;
        let mut text = String::with_capacity(bytes);
        while text.len() < bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(&format!("{state:016x}"));
        }
        text
    }

    #[test]
    fn parts_make_the_text_again_whatever_its_length() {
        let (request, run) = ids();
        for bytes in [0, 1, 1_000, RECORDING_PART_BYTES * 3] {
            let text = noise(bytes);
            let parts = split(&request, &run, &text).unwrap();
            assert!(parts.iter().all(|part| part.bytes.len() <= RECORDING_PART_BYTES));
            assert!(parts.iter().all(|part| part.parts as usize == parts.len()));
            assert!((0..).zip(&parts).all(|(place, part): (u32, _)| part.part == place));
            assert_eq!(join(parts.iter().map(|part| part.bytes.as_slice())).unwrap(), text);
        }
    }

    #[test]
    fn what_is_too_large_or_damaged_is_refused() {
        let (request, run) = ids();
        let much = split(&request, &run, &noise(RECORDING_BYTES + 1));
        assert_eq!(much, Err(RecordingError::TooLarge));
        let dense = split(&request, &run, &noise(RECORDING_BYTES));
        assert_eq!(dense, Err(RecordingError::TooLarge), "packed it is still too much");
        let bomb = compress_to_vec(&vec![b' '; RECORDING_BYTES + 1], 9);
        assert_eq!(join([bomb.as_slice()]), Err(RecordingError::Damaged));
        assert_eq!(join([b"nothing deflated".as_slice()]), Err(RecordingError::Damaged));
        let whole = split(&request, &run, &noise(9_000)).unwrap().remove(0).bytes;
        assert_eq!(join([&whole[..100]]), Err(RecordingError::Damaged));
        let latin = compress_to_vec(b"\xe9", 1);
        assert_eq!(join([latin.as_slice()]), Err(RecordingError::Damaged));
    }
}
