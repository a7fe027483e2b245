//! Frames nobody should send: refused without effect, within bounds, without a panic.

use proptest::prelude::*;

use crate::id::Digest;
use crate::limits::{ACK_RANGES, BATCH_RECORDS, BATCH_UNPACKED_BYTES, FRAME_BYTES};
use crate::sync::batch;
use crate::sync::{
    Announcement, Config, Cursor, Frame, Hello, Holding, Lane, Output, Record, Session, chain,
};
use crate::wire::{self, Kind, WireError};

use super::store::Dice;

const LOG: u64 = 7;
const PEER: u64 = 9;

fn lanes() -> [Lane; 5] {
    [Lane::Control, Lane::Results, Lane::History, Lane::Telemetry, Lane::Commands]
}

fn cursor(lane: Lane, upto: u64) -> Cursor {
    Cursor { lane, upto, digest: 0, ranges: Vec::new() }
}

/// A session that sends and receives on every lane, and is connected.
fn session() -> Session {
    let holding = |lane| Holding { lane, oldest: 3, next: 40 };
    let mut session = Session::new(Config {
        log: LOG,
        holdings: lanes().map(holding).to_vec(),
        peer_log: PEER,
        cursors: lanes().map(|lane| cursor(lane, 5)).to_vec(),
        peer_lanes: lanes().to_vec(),
        desired_revision: 2,
        seed: 1,
    });
    session.handle_connected(1_000);
    session.want(Digest([1; 32]), 0, 1_000);
    session
}

fn hello(nonce: u32, echo: u32) -> Hello {
    Hello {
        versions: (1, 1),
        nonce,
        echo,
        log: PEER,
        holdings: Vec::new(),
        peer_log: LOG,
        cursors: lanes().map(|lane| cursor(lane, 8)).to_vec(),
        desired_revision: 0,
        answered: true,
    }
}

/// The same, with the first words done.
fn up() -> Session {
    let mut session = session();
    let nonce = drain(&mut session).nonce.unwrap();
    let hello = wire::pack(Kind::Frame, &Frame::Hello(hello(77, nonce)));
    session.handle_frame(&hello, 1_100).unwrap();
    assert!(session.is_up());
    drain(&mut session);
    session
}

#[derive(Default)]
struct Drained {
    nonce: Option<u32>,
    delivered: Vec<Record>,
    count: usize,
}

fn drain(session: &mut Session) -> Drained {
    let mut drained = Drained::default();
    while let Some(output) = session.poll_output() {
        drained.count += 1;
        assert!(drained.count < 200, "outputs never end");
        match output {
            Output::Send(bytes) => {
                assert!(bytes.len() <= FRAME_BYTES);
                if let Ok(Frame::Hello(hello)) = wire::unpack(Kind::Frame, &bytes, FRAME_BYTES) {
                    drained.nonce = Some(hello.nonce);
                }
            }
            Output::Deliver { records, .. } => drained.delivered.extend(records),
            Output::Load { .. }
            | Output::Acked { .. }
            | Output::Verify { .. }
            | Output::Desired { .. }
            | Output::LoadChunk { .. }
            | Output::Chunk { .. }
            | Output::BlobMissing { .. }
            | Output::Up { .. }
            | Output::Dead
            | Output::UnknownPeerLog { .. }
            | Output::Forked { .. } => {}
        }
    }
    drained
}

fn edge() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..60, Just(u64::MAX), Just(u64::MAX - 1), any::<u64>()]
}

fn any_lane() -> impl Strategy<Value = Lane> {
    prop::sample::select(lanes().to_vec())
}

fn any_log() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(LOG), 4 => Just(PEER), 1 => any::<u64>()]
}

fn any_cursor() -> impl Strategy<Value = Cursor> {
    let ranges = prop::collection::vec((edge(), edge()), 0..6);
    (any_lane(), edge(), edge(), ranges).prop_map(|(lane, upto, digest, ranges)| Cursor {
        lane,
        upto,
        digest,
        ranges,
    })
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..80)
}

/// Bytes that compress not at all, somewhat, or well.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    (any::<u64>(), 0_usize..4_000, 1_usize..40)
        .prop_map(|(seed, length, repeats)| Dice::new(seed).bytes(length / repeats).repeat(repeats))
}

fn any_digest() -> impl Strategy<Value = Digest> {
    (0_u8..3).prop_map(|n| Digest([n; 32]))
}

fn any_offset() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(32_768), Just(u32::MAX), any::<u32>()]
}

fn any_hello(nonce: u32) -> impl Strategy<Value = Frame> {
    let holding = (any_lane(), edge(), edge()).prop_map(|(lane, oldest, next)| Holding {
        lane,
        oldest,
        next,
    });
    let echo = prop_oneof![Just(nonce), any::<u32>()];
    (
        (any::<u32>(), echo, any_log(), any_log()),
        prop::collection::vec(holding, 0..4),
        prop::collection::vec(any_cursor(), 0..6),
        (edge(), any::<bool>()),
    )
        .prop_map(|((nonce, echo, log, peer_log), holdings, cursors, (revision, answered))| {
            Frame::Hello(Hello {
                versions: (1, 1),
                nonce,
                echo,
                log,
                holdings,
                peer_log,
                cursors,
                desired_revision: revision,
                answered,
            })
        })
}

fn any_batch() -> impl Strategy<Value = Frame> {
    let bodies = prop::collection::vec(any_bytes(), 1..6);
    let whole = (any_log(), any_lane(), edge(), bodies).prop_map(|(log, lane, first, bodies)| {
        let mut digest = 0;
        let records = bodies.into_iter().enumerate().map(|(n, body)| {
            digest = chain(digest, &body);
            let seq = first.saturating_add(n as u64);
            batch::Numbered { start: seq, record: Record { seq, digest, body } }
        });
        let packed = batch::pack(log, lane, &records.collect::<Vec<_>>(), 40);
        wire::unpack(Kind::Frame, &packed.frames[0], FRAME_BYTES).unwrap()
    });
    let broken = (any_log(), any_lane(), edge(), any::<bool>(), any_bytes()).prop_map(
        |(log, lane, first, deflated, body)| Frame::Batch { log, lane, first, deflated, body },
    );
    prop_oneof![whole, broken]
}

fn any_frame(nonce: u32) -> impl Strategy<Value = Frame> {
    let announcement = (edge(), any_digest(), any::<u32>())
        .prop_map(|(revision, digest, size)| Announcement { revision, digest, size });
    prop_oneof![
        any_hello(nonce),
        any_batch(),
        (any_log(), any_log(), any_cursor()).prop_map(|(log, by, cursor)| Frame::Ack {
            log,
            by,
            cursor
        }),
        (any_log(), announcement)
            .prop_map(|(log, announcement)| Frame::Desired { log, announcement }),
        (any_digest(), any_offset()).prop_map(|(digest, offset)| Frame::Want { digest, offset }),
        (any_digest(), any_offset(), any_offset(), any_bytes()).prop_map(
            |(digest, offset, total, bytes)| Frame::Chunk { digest, offset, total, bytes }
        ),
        ((any_log(), any_lane(), edge(), edge()), any_offset(), any_offset(), any_bytes())
            .prop_map(|((log, lane, seq, digest), offset, total, bytes)| {
                Frame::Part { log, lane, seq, digest, offset, total, bytes }
            }),
    ]
}

/// The nonce of [`up`], which a hello must echo to be believed.
fn nonce() -> u32 {
    drain(&mut session()).nonce.unwrap()
}

/// Feeds frames to a session, with time passing and answers coming, and looks that it stays sane.
fn endure(frames: Vec<Vec<u8>>) {
    let mut session = up();
    let mut now_ms = 2_000;
    for bytes in frames {
        let before = format!("{session:?}");
        if session.handle_frame(&bytes, now_ms).is_err() {
            assert_eq!(format!("{session:?}"), before, "a refused frame has changed something");
        }
        drain(&mut session);
        let records = vec![Record { seq: 9, digest: 1, body: b"x".to_vec() }];
        session.handle_loaded(Lane::Control, records, now_ms);
        now_ms += 700;
        session.handle_timeout(now_ms);
        drain(&mut session);
        let timer = session.poll_timeout();
        assert!(timer.is_none_or(|(ms, _)| ms > now_ms), "{timer:?} is not after {now_ms}");
    }
    // Whatever was said, memory is bounded; a formatted byte costs at most five characters.
    assert!(format!("{session:?}").len() < 200_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_endured(frames in prop::collection::vec(any_bytes(), 1..10)) {
        endure(frames);
    }

    #[test]
    fn bytes_that_begin_like_a_frame_are_endured(
        frames in prop::collection::vec((0_u8..9, any_bytes()), 1..10),
    ) {
        let headed = frames.into_iter().map(|(variant, rest)| {
            [&[wire::VERSION, Kind::Frame as u8, variant][..], &rest].concat()
        });
        endure(headed.collect());
    }

    #[test]
    fn well_formed_nonsense_is_endured(
        frames in prop::collection::vec(any_frame(nonce()), 1..30),
    ) {
        endure(frames.iter().map(|frame| wire::pack(Kind::Frame, frame)).collect());
    }

    #[test]
    fn batches_come_out_as_they_went_in(
        first in 1_u64..1_000_000,
        bodies in prop::collection::vec(any_body(), 1..60),
        ratio in 1_usize..200,
    ) {
        let mut digest = 5;
        let records: Vec<_> = bodies.into_iter().enumerate().map(|(n, body)| {
            digest = chain(digest, &body);
            let seq = first + n as u64;
            batch::Numbered { start: seq, record: Record { seq, digest, body } }
        }).collect();
        let mut rest = &records[..];
        let mut came = Vec::new();
        while !rest.is_empty() {
            let packed = batch::pack(LOG, Lane::History, rest, ratio);
            rest = &rest[packed.records..];
            prop_assert!(packed.frames.iter().all(|frame| frame.len() <= FRAME_BYTES));
            for frame in packed.frames {
                let frame: Frame = wire::unpack(Kind::Frame, &frame, FRAME_BYTES).unwrap();
                let Frame::Batch { first, deflated, body, .. } = frame else { panic!("{frame:?}") };
                came.extend(batch::unpack(first, deflated, body).unwrap());
            }
        }
        prop_assert_eq!(came, records);
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let mut session = up();
    let mut refused = |frame: &Frame| {
        let before = format!("{session:?}");
        let error = session.handle_frame(&wire::pack(Kind::Frame, frame), 2_000).unwrap_err();
        assert_eq!(format!("{session:?}"), before);
        error.to_string()
    };
    let bomb = miniz_oxide::deflate::compress_to_vec(&vec![0; BATCH_UNPACKED_BYTES + 1], 9);
    let batch =
        |deflated, body| Frame::Batch { log: PEER, lane: Lane::Control, first: 6, deflated, body };
    assert!(refused(&batch(true, bomb)).contains("inflate"));
    // One item more than a batch may have: span 1, digest given, no body.
    let mut items = vec![wire::VERSION, Kind::Batch as u8, 0xe9, 0x07];
    items.extend([1, 1, 5, 0].repeat(BATCH_RECORDS + 1));
    assert!(refused(&batch(false, items)).contains("malformed"));
    let many = Cursor { ranges: vec![(9, 9); ACK_RANGES + 1], ..cursor(Lane::Results, 5) };
    assert!(refused(&Frame::Ack { log: LOG, by: PEER, cursor: many }).contains("malformed"));
    let long = Frame::Want { digest: Digest([1; 32]), offset: 0 };
    let mut long = wire::pack(Kind::Frame, &long);
    long.push(0);
    let error = session.handle_frame(&long, 2_000).unwrap_err();
    assert_eq!(error, WireError::Body("1 bytes too many".to_owned()));
    let error = session.handle_frame(&vec![1; FRAME_BYTES + 1], 2_000).unwrap_err();
    assert_eq!(error, WireError::Size { len: FRAME_BYTES + 1, most: FRAME_BYTES });
    let newer = Hello { versions: (2, 3), ..hello(5, 6) };
    let newer = wire::pack(Kind::Frame, &Frame::Hello(newer));
    assert_eq!(session.handle_frame(&newer, 2_000), Err(WireError::Version(2)));
}

/// The body of a batch is no type of its own, so its bytes are held here to the printed ones.
#[test]
fn a_batch_has_the_bytes_that_the_document_prints() {
    let record = Record { seq: 128, digest: 0x2a, body: vec![1, 4, 9] };
    let records = [batch::Numbered { start: 128, record }];
    let packed = batch::pack(0x1122_3344_5566_7788, Lane::History, &records, 40);
    let line = format!("Frame::Batch {}\n", data_encoding::HEXLOWER.encode(&packed.frames[0]));
    assert!(include_str!("../../../../docs/wire.md").contains(&line), "{line}");
}

/// A peer whose records do not follow from those we have is not believed, though they have the
/// right numbers.
#[test]
fn records_that_do_not_follow_are_not_taken() {
    let mut session = up();
    session.handle_committed(Lane::Control, Cursor { digest: 50, ..cursor(Lane::Control, 5) });
    let frame = |digest| {
        let record = Record { seq: 6, digest, body: b"six".to_vec() };
        let records = [batch::Numbered { start: 6, record }];
        batch::pack(PEER, Lane::Control, &records, 40).frames.remove(0)
    };
    session.handle_frame(&frame(chain(51, b"six")), 20_000).unwrap();
    let drained = drain(&mut session);
    assert!(drained.delivered.is_empty());
    assert!(drained.nonce.is_some(), "we ask anew where we stand");
    session.handle_frame(&frame(chain(50, b"six")), 20_001).unwrap();
    assert_eq!(drain(&mut session).delivered.len(), 1);
}

/// An acknowledgement that a control plane gave before it was restored says nothing of what it has
/// now.
#[test]
fn an_acknowledgement_of_another_generation_does_not_count() {
    let mut session = up();
    assert_eq!(session.unacked(Lane::History), 31);
    for (by, unacked) in [(PEER + 1, 31), (PEER, 11)] {
        let ack = Frame::Ack { log: LOG, by, cursor: cursor(Lane::History, 28) };
        session.handle_frame(&wire::pack(Kind::Frame, &ack), 2_000).unwrap();
        assert_eq!(session.unacked(Lane::History), unacked);
    }
}

fn batch_of(log: u64, lane: Lane, seqs: std::ops::RangeInclusive<u64>) -> Vec<u8> {
    let record = |seq| Record { seq, digest: 0, body: vec![wire::VERSION, 11] };
    let records: Vec<_> =
        seqs.map(|seq| batch::Numbered { start: seq, record: record(seq) }).collect();
    batch::pack(log, lane, &records, 40).frames.remove(0)
}

/// What was taken under the peer's former log is not handed over as if it were of the new one.
#[test]
fn a_new_log_of_the_peer_leaves_nothing_of_the_former_behind() {
    let mut session = up();
    session.renew(30_000);
    let nonce = drain(&mut session).nonce.unwrap();
    session.handle_frame(&batch_of(PEER, Lane::Control, 6..=8), 30_100).unwrap();
    let hello = Hello { log: 1_000, ..hello(78, nonce) };
    session.handle_frame(&wire::pack(Kind::Frame, &Frame::Hello(hello)), 30_200).unwrap();
    session.handle_peer_cursors(999, vec![cursor(Lane::Control, 6)]);
    session.handle_peer_cursors(1_000, vec![cursor(Lane::Control, 6)]);
    assert!(drain(&mut session).delivered.is_empty());
    session.handle_frame(&batch_of(PEER, Lane::Control, 7..=9), 30_300).unwrap();
    assert!(drain(&mut session).delivered.is_empty());
    session.handle_frame(&batch_of(1_000, Lane::Control, 7..=9), 30_400).unwrap();
    assert_eq!(drain(&mut session).delivered.len(), 3);
}

/// The shell's transactions may be reported late and out of order, or fail.
#[test]
fn commits_may_be_reported_in_any_order_and_may_fail() {
    let mut session = up();
    for lane in [Lane::Control, Lane::Results] {
        session.handle_frame(&batch_of(PEER, lane, 6..=9), 2_000).unwrap();
        assert_eq!(drain(&mut session).delivered.len(), 4);
        session.handle_committed(lane, cursor(lane, 8));
        session.handle_committed(lane, cursor(lane, 7));
        session.handle_frame(&batch_of(PEER, lane, 6..=9), 2_001).unwrap();
        assert_eq!(drain(&mut session).delivered.len(), 0, "all of it is here");
        session.handle_discarded(lane);
        session.handle_frame(&batch_of(PEER, lane, 6..=9), 2_002).unwrap();
        let seqs: Vec<u64> = drain(&mut session).delivered.iter().map(|r| r.seq).collect();
        assert_eq!(seqs, [9], "9 was not committed");
    }
}

/// A peer that sends more than it may have on its way takes no memory here.
#[test]
fn what_is_handed_over_and_not_committed_is_bounded() {
    let mut session = up();
    let mut delivered = 0;
    for n in 0..40 {
        let first = 6 + n * 500;
        let frame = batch_of(PEER, Lane::Control, first..=first + 499);
        session.handle_frame(&frame, 2_000).unwrap();
        // Far apart: each makes a range of its own.
        let frame = batch_of(PEER, Lane::Results, first * 10..=first * 10);
        session.handle_frame(&frame, 2_000).unwrap();
        delivered += drain(&mut session).delivered.len();
    }
    assert_eq!(delivered, 4_000 + 40);
    for n in 0..200 {
        let frame = batch_of(PEER, Lane::Results, 900_000 + n * 2..=900_000 + n * 2);
        session.handle_frame(&frame, 2_000).unwrap();
        delivered += drain(&mut session).delivered.len();
    }
    assert_eq!(delivered, 4_000 + ACK_RANGES - 1);
}
