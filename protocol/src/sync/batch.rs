//! Batches: records to frames and back.
//!
//! The body of a [`Frame::Batch`] is a list of items, packed as [`Kind::Batch`] and deflated where
//! that is smaller. An item has no number of its own: it stands for `span` numbers after the item
//! before it, which is 1 but for a [`Dropped`] marker. Nor does it carry its digest where that
//! follows from the item before it. A record that does not fit into a frame goes as
//! [`Frame::Part`]s.

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use serde::{Deserialize, Serialize};

use crate::limits::{BATCH_RECORDS, BATCH_UNPACKED_BYTES, CHUNK_BYTES, FRAME_BYTES, RECORD_BYTES};
use crate::wire::{self, Kind, WireError};

use super::{Dropped, Frame, Lane, Record, chain};

/// Room in a frame for everything of a batch but its body.
const HEAD_BYTES: usize = 64;
/// Room in a batch for everything of an item but its body.
const ITEM_BYTES: usize = 32;
/// Shorter bodies are not worth a compressor's start.
const DEFLATE_FROM_BYTES: usize = 512;
/// Compression level (0 to 10): above it little is won on records and much is spent.
const DEFLATE_LEVEL: u8 = 4;
/// How many hundredths of their size records take once packed, to begin with.
pub(super) const USUAL_RATIO: usize = 40;

/// A record and the first number it stands for: its own, or a marker's lowest that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Numbered {
    pub(super) start: u64,
    pub(super) record: Record,
}

/// Frames for the first of some records.
#[derive(Debug)]
pub(super) struct Packed {
    /// To be sent, all of them.
    pub(super) frames: Vec<Vec<u8>>,
    /// How many of the records they carry, at least one.
    pub(super) records: usize,
    /// How many hundredths of the records' size the frames have.
    pub(super) ratio: usize,
}

#[derive(Serialize)]
struct ItemRef<'a> {
    span: u64,
    digest: Option<u64>,
    #[serde(with = "crate::wire::bytes")]
    body: &'a [u8],
}

#[derive(Deserialize)]
struct Item {
    span: u64,
    digest: Option<u64>,
    #[serde(with = "crate::wire::bytes")]
    body: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Items {
    #[serde(deserialize_with = "crate::wire::at_most::<_, _, BATCH_RECORDS>")]
    items: Vec<Item>,
}

/// A marker for `first..=last`. Nobody knows any more what its digest would be.
pub(super) fn marker(first: u64, last: u64, reason: &str, digest: u64) -> Numbered {
    let dropped = Dropped { first, last, reason: reason.to_owned() };
    let body = wire::pack(Kind::Dropped, &dropped);
    Numbered { start: first, record: Record { seq: last, digest, body } }
}

/// What a marker says; `None` where the record is not one.
pub(super) fn dropped(record: &Record) -> Option<Dropped> {
    if !is_marker(&record.body) {
        return None;
    }
    wire::unpack(Kind::Dropped, &record.body, RECORD_BYTES).ok()
}

pub(super) fn is_marker(body: &[u8]) -> bool {
    body.get(1) == Some(&(Kind::Dropped as u8))
}

/// Packs as many of `records` (at least one, ascending without gaps) as go into one frame, if they
/// take `ratio` hundredths of their size. It may be fewer than would have gone in.
pub(super) fn pack(log: u64, lane: Lane, records: &[Numbered], ratio: usize) -> Packed {
    let room = FRAME_BYTES - HEAD_BYTES;
    let mut count = fitting(records, (room * 100 / ratio.max(1)).min(BATCH_UNPACKED_BYTES / 2));
    loop {
        let items = pack_items(&records[..count]);
        let unpacked = items.len();
        let (deflated, body) = deflate(items);
        let ratio = (body.len() * 100).div_ceil(unpacked);
        if body.len() <= room {
            let first = records.first().map_or(1, |r| r.start);
            let frame = Frame::Batch { log, lane, first, deflated, body };
            let frames = vec![wire::pack(Kind::Frame, &frame)];
            return Packed { frames, records: count, ratio };
        }
        if count == 1 {
            let frames = parts(log, lane, &records[0].record);
            return Packed { frames, records: 1, ratio };
        }
        count = fitting(&records[..count - 1], unpacked * room / body.len() * 15 / 16);
    }
}

/// How many of the first records stay below so many bytes; at least one.
fn fitting(records: &[Numbered], most_bytes: usize) -> usize {
    let mut bytes = 0;
    let within = records.iter().take(BATCH_RECORDS).take_while(|numbered| {
        bytes += numbered.record.body.len() + ITEM_BYTES;
        bytes <= most_bytes
    });
    within.count().clamp(1, records.len().max(1))
}

fn pack_items(records: &[Numbered]) -> Vec<u8> {
    let mut before = None;
    let items: Vec<ItemRef<'_>> = records
        .iter()
        .map(|Numbered { start, record }| {
            let follows = before.map(|digest| chain(digest, &record.body));
            before = Some(record.digest);
            ItemRef {
                span: record.seq - start + 1,
                digest: (follows != Some(record.digest)).then_some(record.digest),
                body: &record.body,
            }
        })
        .collect();
    wire::pack(Kind::Batch, &items)
}

fn deflate(body: Vec<u8>) -> (bool, Vec<u8>) {
    if body.len() < DEFLATE_FROM_BYTES {
        return (false, body);
    }
    let deflated = compress_to_vec(&body, DEFLATE_LEVEL);
    if deflated.len() < body.len() { (true, deflated) } else { (false, body) }
}

fn parts(log: u64, lane: Lane, record: &Record) -> Vec<Vec<u8>> {
    let Ok(total) = u32::try_from(record.body.len()) else { return Vec::new() };
    let (seq, digest) = (record.seq, record.digest);
    let starts = (0..total).step_by(CHUNK_BYTES);
    let parts = starts.zip(record.body.chunks(CHUNK_BYTES)).map(|(offset, part)| {
        let bytes = part.to_vec();
        let part = Frame::Part { log, lane, seq, digest, offset, total, bytes };
        wire::pack(Kind::Frame, &part)
    });
    parts.collect()
}

/// Reads the body of a batch whose first number is `first`.
///
/// # Errors
/// It does not inflate within the bounds, is not a list of at most [`BATCH_RECORDS`] items, runs
/// past the last number, holds a record over [`RECORD_BYTES`], or has something other than a
/// marker stand for several numbers.
pub(super) fn unpack(
    first: u64,
    deflated: bool,
    body: Vec<u8>,
) -> Result<Vec<Numbered>, WireError> {
    let body = if deflated {
        decompress_to_vec_with_limit(&body, BATCH_UNPACKED_BYTES)
            .map_err(|e| WireError::Body(format!("batch does not inflate: {}", e.status as i32)))?
    } else {
        body
    };
    let Items { items } = wire::unpack(Kind::Batch, &body, BATCH_UNPACKED_BYTES)?;
    let wrong = |what: &str| WireError::Body(format!("batch from {first}: {what}"));
    let mut records = Vec::with_capacity(items.len());
    let (mut start, mut before) = (first, None);
    for Item { span, digest, body } in items {
        if start == 0 || span == 0 || (span > 1 && !is_marker(&body)) {
            return Err(wrong("an item stands for impossible numbers"));
        }
        if body.len() > RECORD_BYTES {
            return Err(wrong("a record is too long"));
        }
        let seq = start.checked_add(span - 1).filter(|seq| *seq < u64::MAX);
        let seq = seq.ok_or_else(|| wrong("it runs past the last number"))?;
        let digest = digest.or_else(|| before.map(|before| chain(before, &body)));
        let digest = digest.ok_or_else(|| wrong("its first digest is missing"))?;
        before = Some(digest);
        records.push(Numbered { start, record: Record { seq, digest, body } });
        start = seq + 1;
    }
    Ok(records)
}
