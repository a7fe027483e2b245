//! A control plane made of the same session: it commits in memory and acknowledges.

use std::collections::{BTreeMap, BTreeSet};

use openclaw_protocol::command::{Command, CommandRecord};
use openclaw_protocol::desired::{Desired, SignedDesired};
use openclaw_protocol::id::{Digest, RequestId};
use openclaw_protocol::recording::RecordingPart;
use openclaw_protocol::sync::{
    Announcement, Config, Cursor, Dropped, Output, Record, Session, chain,
};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;

pub(super) const GENERATION: u64 = 0xfeed;

pub(super) struct Peer {
    pub(super) session: Session,
    pub(super) results: BTreeSet<String>,
    pub(super) reports: Vec<Report>,
    pub(super) events: usize,
    pub(super) parts: Vec<RecordingPart>,
    pub(super) dropped: Vec<Dropped>,
    pub(super) forks: BTreeSet<u64>,
    pub(super) blobs: BTreeMap<Digest, Vec<u8>>,
    /// Go with every desired state.
    pub(super) secrets: Vec<openclaw_protocol::secret::SealedSecret>,
    /// Bodies of all records that came.
    pub(super) bodies: Vec<Vec<u8>>,
    commands: Vec<Record>,
    cursors: BTreeMap<(u64, Lane), Cursor>,
    device_log: u64,
    key: Ed25519KeyPair,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self::of(GENERATION)
    }

    /// A control plane of another generation, which knows nothing of the one before.
    pub(super) fn of(generation: u64) -> Self {
        let holdings =
            vec![openclaw_protocol::sync::Holding { lane: Lane::Commands, oldest: 1, next: 1 }];
        let session = Session::new(Config {
            log: generation,
            holdings,
            peer_log: 0,
            cursors: Vec::new(),
            peer_lanes: Lane::UP.to_vec(),
            desired_revision: 0,
            seed: 3,
        });
        Self {
            session,
            results: BTreeSet::new(),
            reports: Vec::new(),
            events: 0,
            parts: Vec::new(),
            dropped: Vec::new(),
            forks: BTreeSet::new(),
            blobs: BTreeMap::new(),
            secrets: Vec::new(),
            bodies: Vec::new(),
            commands: Vec::new(),
            cursors: BTreeMap::new(),
            device_log: 0,
            key: Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap(),
        }
    }

    /// The key that devices of this control plane trust.
    pub(super) fn key(&self) -> [u8; 32] {
        self.key.public_key().as_ref().try_into().unwrap()
    }

    pub(super) fn connect(&mut self, device: &mut Device) {
        self.try_connect(device).unwrap();
        assert_eq!(device.status().link, "in sync");
    }

    /// As [`Self::connect`], of a device whose store may fail.
    pub(super) fn try_connect(&mut self, device: &mut Device) -> Result<(), StoreError> {
        let now = now_ms(device);
        self.session.handle_connected(now);
        device.turn(vec![Event::LinkUp])?;
        self.try_exchange(device)
    }

    /// Carries frames both ways until nobody has anything to say.
    pub(super) fn exchange(&mut self, device: &mut Device) {
        self.try_exchange(device).unwrap();
    }

    /// As [`Self::exchange`], with a device whose store may fail.
    pub(super) fn try_exchange(&mut self, device: &mut Device) -> Result<(), StoreError> {
        for _ in 0..1_000 {
            let now = now_ms(device);
            let down = self.frames(now);
            let had_down = !down.is_empty();
            device.turn(down.into_iter().map(Event::Frame).collect())?;
            if !self.hear(device, now) && !had_down {
                return Ok(());
            }
        }
        panic!("the conversation does not end");
    }

    /// What the control plane has to say now.
    pub(super) fn frames(&mut self, now: u64) -> Vec<Vec<u8>> {
        self.session.handle_timeout(now);
        self.drain(now)
    }

    /// Takes what the device has said.
    pub(super) fn hear(&mut self, device: &mut Device, now: u64) -> bool {
        let mut heard = false;
        while let Ok(to_link) = device.frames.as_mut().unwrap().try_recv() {
            let ToLink::Frame(frame) = to_link else { continue };
            heard = true;
            self.session.handle_frame(&frame, now).unwrap();
        }
        heard
    }

    fn drain(&mut self, now: u64) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(frame) => frames.push(frame),
                Output::Load { lane, first, before, .. } => {
                    // A marker has the last number that it stands for.
                    let wanted = |r: &&Record| r.seq >= first && r.seq < before;
                    let records = self.commands.iter().filter(wanted).cloned().collect();
                    self.session.handle_loaded(lane, records, now);
                }
                Output::Deliver { log, lane, records } => self.take(log, lane, records),
                Output::UnknownPeerLog { log } => {
                    self.device_log = log;
                    self.forks.insert(log);
                    let of_log = self.cursors.iter().filter(|((l, _), _)| *l == log);
                    let cursors = of_log.map(|(_, cursor)| cursor.clone()).collect();
                    self.session.handle_peer_cursors(log, cursors);
                }
                Output::LoadChunk { digest, offset } => {
                    let (total, bytes) = self.blobs.get(&digest).map_or((0, Vec::new()), |blob| {
                        let rest = &blob[offset as usize..];
                        let end = rest.len().min(openclaw_protocol::limits::CHUNK_BYTES);
                        (blob.len(), rest[..end].to_vec())
                    });
                    self.session.handle_chunk_loaded(
                        digest,
                        offset,
                        u32::try_from(total).unwrap(),
                        bytes,
                    );
                }
                Output::Acked { .. }
                | Output::Verify { .. }
                | Output::Desired { .. }
                | Output::Chunk { .. }
                | Output::BlobMissing { .. }
                | Output::Up { .. }
                | Output::Dead
                | Output::Forked { .. } => {}
            }
        }
        frames
    }

    fn take(&mut self, log: u64, lane: Lane, records: Vec<Record>) {
        let fresh = Cursor { lane, upto: 0, digest: 0, ranges: Vec::new() };
        let mut cursor = self.cursors.get(&(log, lane)).cloned().unwrap_or(fresh);
        for record in records {
            if record.seq <= cursor.upto {
                continue;
            }
            self.bodies.push(record.body.clone());
            cursor.upto = record.seq;
            cursor.digest = record.digest;
            if let Ok(dropped) = wire::unpack::<Dropped>(Kind::Dropped, &record.body, usize::MAX) {
                self.dropped.push(dropped);
                continue;
            }
            match lane {
                Lane::Results => {
                    let result: RunResult =
                        wire::unpack(Kind::RunResult, &record.body, usize::MAX).unwrap();
                    self.results.insert(result.run.to_string());
                }
                Lane::Control => {
                    let report: ReportRecord =
                        wire::unpack(Kind::Report, &record.body, usize::MAX).unwrap();
                    self.reports.push(report.report);
                }
                Lane::Telemetry => {
                    let part = wire::unpack(Kind::Recording, &record.body, usize::MAX).unwrap();
                    self.parts.push(part);
                }
                Lane::History | Lane::Commands => self.events += 1,
            }
        }
        self.cursors.insert((log, lane), cursor.clone());
        self.session.handle_committed(lane, cursor);
    }

    /// A wish of an operator.
    pub(super) fn command(&mut self, request: &str, command: Command, now: u64) {
        let record = CommandRecord { request: RequestId::parse(request).unwrap(), command };
        let body = wire::pack(Kind::Command, &record);
        let before = self.commands.last().map_or((0, 0), |r| (r.seq, r.digest));
        let record = Record { seq: before.0 + 1, digest: chain(before.1, &body), body };
        self.session.handle_appended(Lane::Commands, record.seq + 1, now);
        self.commands.push(record);
    }

    /// Commands up to this number are answered already, and are not sent.
    pub(super) fn pass_over(&mut self, last: u64, now: u64) {
        let before = self.commands.last().map_or(0, |r| r.seq);
        let marker = Dropped { first: before + 1, last, reason: "answered".to_owned() };
        let body = wire::pack(Kind::Dropped, &marker);
        self.commands.push(Record { seq: last, digest: 0, body });
        self.session.handle_appended(Lane::Commands, last + 1, now);
    }

    pub(super) fn add_blob(&mut self, bytes: Vec<u8>) -> Digest {
        let digest = openclaw_sandbox::digest_of(&bytes);
        self.blobs.insert(digest, bytes);
        digest
    }

    /// Signs, announces and serves a desired state.
    pub(super) fn desire(&mut self, desired: &Desired, now: u64) {
        self.desire_as(desired.revision, desired, now, |_| {});
    }

    /// As [`Peer::desire`], announced under some revision; `spoil` may change what was signed.
    pub(super) fn desire_as(
        &mut self,
        revision: u64,
        desired: &Desired,
        now: u64,
        spoil: impl FnOnce(&mut SignedDesired),
    ) {
        let document = openclaw_protocol::desired::pack(desired, &self.secrets);
        let signature = self.key.sign(&document).as_ref().to_vec();
        let mut signed = SignedDesired { document, signature };
        spoil(&mut signed);
        let bytes = wire::pack(Kind::SignedDesired, &signed);
        let size = u32::try_from(bytes.len()).unwrap();
        let digest = self.add_blob(bytes);
        let announcement = Announcement { revision, digest, size };
        self.session.handle_desired(announcement, now);
    }
}

pub(super) fn now_ms(device: &Device) -> u64 {
    device.clock.0.lock().unwrap().boot_ms
}
