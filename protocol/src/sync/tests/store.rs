//! A toy side: a database that survives a crash, and the shell that serves a session from it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::Digest;
use crate::limits::{ACK_RANGES, BATCH_RECORDS, CHUNK_BYTES};
use crate::sync::{
    Announcement, Config, Cursor, Dropped, Holding, Lane, Output, Record, Session, chain,
};
use crate::wire::{self, Kind};

/// Seeded chance (xorshift), so that a failing seed fails again.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.next().to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }
}

/// Ways to be wrong on purpose: each must be seen by the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sabotage {
    None,
    /// Records are deleted when they are sent, as if a PUBACK were a promise.
    ForgetOnSend,
    /// Records are acknowledged when they come, not when they are committed.
    AckBeforeCommit,
    /// A restored database keeps its log id and believes that nothing has happened.
    IgnoreForks,
}

/// An own lane: the rows that are kept, and the numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnLane {
    pub(super) records: BTreeMap<u64, Record>,
    pub(super) last: u64,
    pub(super) digest: u64,
    pub(super) acked: u64,
}

/// What survives a crash.
#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    pub(super) log: u64,
    pub(super) own: BTreeMap<Lane, OwnLane>,
    pub(super) peer_log: u64,
    /// Committed records of the peer, by its log and lane. A marker has the number of its last.
    pub(super) taken: BTreeMap<(u64, Lane), BTreeMap<u64, Record>>,
    pub(super) cursors: BTreeMap<(u64, Lane), Cursor>,
    pub(super) in_force: u64,
    pub(super) newest: Option<Announcement>,
    /// Whole blobs.
    pub(super) blobs: BTreeMap<Digest, Vec<u8>>,
    /// The first bytes of blobs that are being fetched, and the desired state that wants them.
    pub(super) partial: BTreeMap<Digest, Vec<u8>>,
    pub(super) wanted_revision: BTreeMap<Digest, u64>,
}

impl Store {
    pub(super) fn append(&mut self, lane: Lane, body: Vec<u8>) {
        let own = self.own.entry(lane).or_default();
        own.last += 1;
        own.digest = chain(own.digest, &body);
        own.records.insert(own.last, Record { seq: own.last, digest: own.digest, body });
    }

    pub(super) fn holdings(&self) -> Vec<Holding> {
        let holding = |(lane, own): (&Lane, &OwnLane)| Holding {
            lane: *lane,
            oldest: own.records.keys().next().copied().unwrap_or(own.last + 1),
            next: own.last + 1,
        };
        self.own.iter().map(holding).collect()
    }

    pub(super) fn upto(&self, log: u64, lane: Lane) -> u64 {
        self.cursors.get(&(log, lane)).map_or(0, |cursor| cursor.upto)
    }

    pub(super) fn cursor(&self, log: u64, lane: Lane) -> Cursor {
        let nothing = Cursor { lane, upto: 0, digest: 0, ranges: Vec::new() };
        self.cursors.get(&(log, lane)).cloned().unwrap_or(nothing)
    }

    /// Takes a record of the peer, which is new. The cursor of an unordered lane is counted later.
    fn take(&mut self, log: u64, lane: Lane, record: Record) {
        if lane.is_ordered() {
            let (upto, digest) = (record.seq, record.digest);
            self.cursors.insert((log, lane), Cursor { upto, digest, ..self.cursor(log, lane) });
        }
        self.taken.entry((log, lane)).or_default().insert(record.seq, record);
    }

    /// Sees how far an unordered lane has come.
    fn count(&mut self, log: u64, lane: Lane) {
        if lane.is_ordered() {
            return;
        }
        let empty = BTreeMap::new();
        let taken = self.taken.get(&(log, lane)).unwrap_or(&empty);
        let mut cursor = Cursor { lane, upto: 0, digest: 0, ranges: Vec::new() };
        for (seq, record) in taken {
            let start = first_of(record);
            if start <= cursor.upto + 1 && cursor.ranges.is_empty() {
                (cursor.upto, cursor.digest) = (*seq, record.digest);
                continue;
            }
            match cursor.ranges.last_mut() {
                Some((_, last)) if *last + 1 >= start => *last = *seq,
                _ => cursor.ranges.push((start, *seq)),
            }
        }
        cursor.ranges.truncate(ACK_RANGES);
        self.cursors.insert((log, lane), cursor);
    }

    pub(super) fn load(&self, lane: Lane, first: u64, before: u64, bytes: usize) -> Vec<Record> {
        let Some(own) = self.own.get(&lane) else { return Vec::new() };
        let mut sum = 0;
        let rows = own.records.range(first..).map(|(_, record)| record);
        rows.take_while(|record| {
            let within = record.seq < before || first_of(record) <= first;
            let fits = sum == 0 || sum + record.body.len() <= bytes;
            sum += record.body.len();
            within && fits
        })
        .take(BATCH_RECORDS)
        .cloned()
        .collect()
    }

    /// Removes rows from the bottom, as retention does with acknowledged ones.
    pub(super) fn prune(&mut self, lane: Lane, below: u64) {
        let own = self.own.entry(lane).or_default();
        own.records = own.records.split_off(&below);
    }

    /// Numbers everything that is kept anew under another log.
    pub(super) fn fork(&mut self, new_log: u64) {
        self.log = new_log;
        for own in self.own.values_mut() {
            let kept = std::mem::take(own).records;
            for record in kept.into_values() {
                own.last += 1;
                own.digest = chain(own.digest, &record.body);
                let (seq, digest) = (own.last, own.digest);
                own.records.insert(seq, Record { seq, digest, body: record.body });
            }
        }
    }
}

/// The first number a row stands for.
pub(super) fn first_of(record: &Record) -> u64 {
    match wire::unpack::<Dropped>(Kind::Dropped, &record.body, usize::MAX) {
        Ok(dropped) => dropped.first.min(record.seq),
        Err(_) => record.seq,
    }
}

pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}

/// What a side asks of the world.
#[derive(Debug)]
pub(super) enum Act {
    Transmit(Vec<u8>),
    /// Answer a load later.
    Loaded(Lane, Vec<Record>),
    /// Commit what was delivered, later.
    Commit,
    Reconnect,
}

/// One side: session, database, and what a crash loses.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) name: &'static str,
    pub(super) store: Store,
    pub(super) session: Session,
    pub(super) peer_lanes: Vec<Lane>,
    pub(super) sabotage: Sabotage,
    /// Delivered, not committed.
    pub(super) volatile: Vec<(u64, Lane, Vec<Record>)>,
    /// Counts restarts: what was asked for before one is not answered after it.
    pub(super) life: u32,
    pub(super) async_loads: bool,
    /// Tells the session when a commit fails, instead of just not reporting it.
    pub(super) tells_failures: bool,
    pub(super) dice: Dice,
    pub(super) counts: Counts,
    pub(super) acts: VecDeque<Act>,
    /// What has gone wrong for good.
    pub(super) faults: Vec<String>,
}

/// Figures of one side.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) bytes: u64,
    pub(super) delivered: u64,
    pub(super) repeated: u64,
    pub(super) forks: u64,
    pub(super) dead: u64,
    pub(super) ups: u64,
    pub(super) blobs_missing: u64,
    pub(super) acked: BTreeSet<(u64, Lane, u64)>,
}

impl Side {
    pub(super) fn new(name: &'static str, store: Store, peer_lanes: &[Lane], seed: u64) -> Self {
        let mut side = Self {
            name,
            session: Session::new(config(&store, peer_lanes, seed)),
            store,
            peer_lanes: peer_lanes.to_vec(),
            sabotage: Sabotage::None,
            volatile: Vec::new(),
            life: 0,
            async_loads: false,
            tells_failures: true,
            dice: Dice::new(seed ^ 0x5eed),
            counts: Counts::default(),
            acts: VecDeque::new(),
            faults: Vec::new(),
        };
        side.start(0);
        side
    }

    /// A crash and a start: only the store is left.
    pub(super) fn restart(&mut self, now_ms: u64) {
        self.life += 1;
        self.volatile.clear();
        self.acts.clear();
        let seed = self.dice.next();
        self.session = Session::new(config(&self.store, &self.peer_lanes, seed));
        self.start(now_ms);
    }

    fn start(&mut self, now_ms: u64) {
        if let Some(newest) = self.store.newest {
            self.session.handle_desired(newest, now_ms);
        }
        for (digest, part) in &self.store.partial {
            self.session.want(*digest, part.len() as u32, now_ms);
        }
    }

    pub(super) fn append(&mut self, lane: Lane, body: Vec<u8>, now_ms: u64) {
        self.store.append(lane, body);
        let next = self.store.own[&lane].last + 1;
        self.session.handle_appended(lane, next, now_ms);
    }

    /// Removes acknowledged rows, all but the newest `keep`.
    pub(super) fn retain(&mut self, keep: u64) {
        let below = |own: &OwnLane| (own.acked + 1).min((own.last + 1).saturating_sub(keep));
        let lanes: Vec<_> = self.store.own.iter().map(|(lane, own)| (*lane, below(own))).collect();
        for (lane, below) in lanes {
            self.store.prune(lane, below);
            self.session.handle_pruned(lane, below);
        }
    }

    /// Drains the session.
    pub(super) fn drain(&mut self, now_ms: u64) {
        for round in 0.. {
            assert!(round < 100_000, "{}: outputs never end", self.name);
            let Some(output) = self.session.poll_output() else { return };
            self.perform(output, now_ms);
        }
    }

    fn perform(&mut self, output: Output, now_ms: u64) {
        match output {
            Output::Send(frame) => {
                assert!(frame.len() <= crate::limits::FRAME_BYTES, "{} bytes", frame.len());
                self.counts.sent += 1;
                self.counts.bytes += frame.len() as u64;
                self.acts.push_back(Act::Transmit(frame));
            }
            Output::Load { lane, first, before, bytes } => {
                self.load(lane, first, before, bytes, now_ms);
            }
            Output::Deliver { log, lane, records } => {
                self.counts.delivered += records.len() as u64;
                self.volatile.push((log, lane, records));
                if self.sabotage == Sabotage::AckBeforeCommit {
                    self.acknowledge_uncommitted();
                }
                self.acts.push_back(Act::Commit);
            }
            Output::Acked { cursor } => {
                let own = self.store.own.entry(cursor.lane).or_default();
                own.acked = cursor.upto;
                self.counts.acked.insert((self.store.log, cursor.lane, cursor.upto));
            }
            Output::Verify { lane, seq, digest } => {
                let here = self.store.own.get(&lane).and_then(|own| own.records.get(&seq));
                if here.is_some_and(|record| record.digest != digest) {
                    self.fork(now_ms);
                }
            }
            Output::Forked { .. } => self.fork(now_ms),
            Output::Desired { announcement, .. } => {
                let Announcement { digest, revision, .. } = announcement;
                self.store.wanted_revision.insert(digest, revision);
                if self.store.blobs.contains_key(&digest) {
                    return self.blob_is_whole(digest, now_ms);
                }
                let part = self.store.partial.entry(digest).or_default();
                self.session.want(digest, part.len() as u32, now_ms);
            }
            Output::LoadChunk { digest, offset } => self.load_chunk(digest, offset),
            Output::Chunk { digest, offset, total, bytes } => {
                let part = self.store.partial.entry(digest).or_default();
                assert_eq!(part.len(), offset as usize, "{}: chunk out of order", self.name);
                part.extend(bytes);
                if part.len() == total as usize {
                    self.blob_is_whole(digest, now_ms);
                }
            }
            Output::BlobMissing { .. } => self.counts.blobs_missing += 1,
            Output::Up { .. } => self.counts.ups += 1,
            Output::Dead => {
                self.counts.dead += 1;
                self.acts.push_back(Act::Reconnect);
            }
            Output::UnknownPeerLog { log } => {
                self.store.peer_log = log;
                self.store.in_force = 0;
                let cursors = self.peer_lanes.iter().map(|lane| self.store.cursor(log, *lane));
                self.session.handle_peer_cursors(log, cursors.collect());
            }
        }
    }

    fn load(&mut self, lane: Lane, first: u64, before: u64, bytes: usize, now_ms: u64) {
        let records = self.store.load(lane, first, before, bytes);
        if self.sabotage == Sabotage::ForgetOnSend {
            let below = records.last().map_or(first, |record| record.seq + 1);
            self.store.prune(lane, below);
        }
        if self.async_loads {
            self.acts.push_back(Act::Loaded(lane, records));
        } else {
            self.session.handle_loaded(lane, records, now_ms);
        }
        if self.sabotage == Sabotage::ForgetOnSend {
            let oldest = self.store.own[&lane].records.keys().next().copied();
            self.session.handle_pruned(lane, oldest.unwrap_or(self.store.own[&lane].last + 1));
        }
    }

    fn load_chunk(&mut self, digest: Digest, offset: u32) {
        let Some(blob) = self.store.blobs.get(&digest) else {
            return self.session.handle_chunk_loaded(digest, offset, 0, Vec::new());
        };
        let rest = blob.get(offset as usize..).unwrap_or_default();
        // Now and then less than a full chunk: also right.
        let most = if self.dice.chance(5) { 7_000 } else { CHUNK_BYTES };
        let bytes = rest[..rest.len().min(most)].to_vec();
        self.session.handle_chunk_loaded(digest, offset, blob.len() as u32, bytes);
    }

    fn blob_is_whole(&mut self, digest: Digest, now_ms: u64) {
        if let Some(blob) = self.store.partial.remove(&digest) {
            assert_eq!(digest_of(&blob), digest, "{}: another blob", self.name);
            // A desired-state document of the tests begins with the digests of its modules.
            let names = blob.first().copied().unwrap_or(0) as usize;
            for name in blob.get(1..).unwrap_or_default().chunks_exact(32).take(names) {
                let module = Digest(name.try_into().unwrap());
                if !self.store.blobs.contains_key(&module) {
                    let part = self.store.partial.entry(module).or_default();
                    self.session.want(module, part.len() as u32, now_ms);
                }
            }
            self.store.blobs.insert(digest, blob);
        }
        if let Some(revision) = self.store.wanted_revision.remove(&digest)
            && revision > self.store.in_force
        {
            self.store.in_force = revision;
            self.session.handle_desired_in_force(revision);
        }
    }

    fn fork(&mut self, now_ms: u64) {
        if self.sabotage == Sabotage::IgnoreForks {
            return;
        }
        self.counts.forks += 1;
        self.store.fork(self.dice.next() | 1);
        self.session.handle_fork(self.store.log, self.store.holdings(), now_ms);
    }

    /// One transaction for all that was delivered, then the acknowledgements.
    pub(super) fn commit(&mut self) {
        let mut lanes = BTreeSet::new();
        for (log, lane, records) in std::mem::take(&mut self.volatile) {
            lanes.insert((log, lane));
            for record in records {
                self.insert(log, lane, record);
            }
        }
        for (log, lane) in lanes {
            self.store.count(log, lane);
            if log == self.store.peer_log {
                self.session.handle_committed(lane, self.store.cursor(log, lane));
            }
        }
    }

    /// The transaction failed: what was delivered is gone.
    pub(super) fn fail_commit(&mut self) {
        for (_, lane, _) in std::mem::take(&mut self.volatile) {
            if self.tells_failures {
                self.session.handle_discarded(lane);
            }
        }
    }

    fn insert(&mut self, log: u64, lane: Lane, record: Record) {
        let upto = self.store.upto(log, lane);
        let taken = self.store.taken.get(&(log, lane));
        if let Some(same) = taken.and_then(|taken| taken.get(&record.seq)) {
            self.counts.repeated += 1;
            if same.body != record.body && first_of(&record) == record.seq {
                self.faults.push(format!("{lane:?} {}: other content", record.seq));
            }
            return;
        }
        if lane.is_ordered() {
            if record.seq <= upto {
                self.counts.repeated += 1;
                return;
            }
            if first_of(&record) > upto + 1 {
                // Behind a commit that failed and was not told, a gap is to be expected.
                if self.tells_failures {
                    self.faults.push(format!("{lane:?} {} after {upto}", record.seq));
                }
                return;
            }
        }
        self.store.take(log, lane, record);
    }

    fn acknowledge_uncommitted(&mut self) {
        let mut ahead = self.store.clone();
        for (log, lane, records) in &self.volatile {
            records.iter().for_each(|record| ahead.take(*log, *lane, record.clone()));
            ahead.count(*log, *lane);
            if *log == self.store.peer_log {
                self.session.handle_committed(*lane, ahead.cursor(*log, *lane));
            }
        }
    }
}

fn config(store: &Store, peer_lanes: &[Lane], seed: u64) -> Config {
    let cursors = peer_lanes.iter().map(|lane| store.cursor(store.peer_log, *lane));
    Config {
        log: store.log,
        holdings: store.holdings(),
        peer_log: store.peer_log,
        cursors: cursors.collect(),
        peer_lanes: peer_lanes.to_vec(),
        desired_revision: store.in_force,
        seed,
    }
}
