//! The store on a disk that forgets, flips and lies.

use openclaw_agent_core::{Fact, FactRecord};
use openclaw_protocol::definition::{DefinitionHash, Priority};
use openclaw_protocol::id::{RunId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::RunStatus;
use openclaw_protocol::sync::{Dropped, Record, chain};
use openclaw_protocol::time::{ClockTrust, Stamp};
use openclaw_protocol::wire::{self, Kind};
use redb::{ReadableDatabase, ReadableTableMetadata};

use super::*;
use crate::testing::Disk;

const EPOCH: Epoch = Epoch(0x1234_5678_9abc_def0);
const NOW: i64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;

fn open(disk: &Disk) -> Store {
    open_with(disk, Retention::default())
}

fn open_with(disk: &Disk, retention: Retention) -> Store {
    Store::open(disk.backend(), limits::CACHE_BYTES, retention, EPOCH).unwrap()
}

fn at(boot_ms: u64) -> Stamp {
    Stamp { boot: 1, boot_ms, wall_ms: NOW, trust: ClockTrust::Estimated }
}

fn accepted() -> FactRecord {
    FactRecord {
        at: at(1),
        fact: Fact::Accepted {
            workflow: WorkflowName::parse("w").unwrap(),
            definition: DefinitionHash("abc".into()),
            pins: Vec::new(),
            trigger: "manual".into(),
            trigger_data: JsonText::null(),
            inputs: JsonText::null(),
            priority: Priority::Normal,
            request: None,
        },
    }
}

fn settled() -> FactRecord {
    FactRecord { at: at(3), fact: Fact::Settled { status: RunStatus::Completed } }
}

fn began() -> FactRecord {
    FactRecord { at: at(2), fact: Fact::Began }
}

fn run(number: u64) -> RunId {
    RunId::of(EPOCH, number)
}

fn records(bodies: &[&[u8]]) -> Batch {
    let records = bodies.iter().map(|b| (Lane::History, b.to_vec())).collect();
    Batch { records, ..Batch::default() }
}

fn cursor(lane: Lane, upto: u64) -> Cursor {
    Cursor { lane, upto, digest: 0, ranges: Vec::new() }
}

#[test]
fn what_is_committed_comes_back() {
    let disk = Disk::new(1);
    let mut store = open(&disk);
    assert_eq!(store.start("boot-a").unwrap().boot, 1);
    let facts = vec![(run(1), accepted()), (run(1), began()), (run(2), accepted())];
    store.commit(&Batch { facts, ..Batch::default() }, NOW).unwrap();
    let facts = vec![(run(2), settled())];
    let views = vec![(run(2), "{}".to_owned())];
    store.commit(&Batch { facts, views, clean: true, ..Batch::default() }, NOW).unwrap();
    drop(store);

    let mut store = open(&disk);
    let restored = store.start("boot-b").unwrap();
    assert_eq!((restored.boot, restored.unclean, restored.next_run), (2, false, 3));
    assert_eq!(restored.runs.len(), 1);
    assert_eq!(restored.runs[0].run, run(1));
    assert_eq!(restored.runs[0].facts, [accepted(), began()]);
    assert_eq!(store.recent(10).unwrap(), ["{}"]);
    drop(store);

    let restored = open(&disk).start("boot-b").unwrap();
    assert!(restored.unclean, "it was not stopped, so the next start says so");
    assert_eq!(restored.boot, 2);
}

#[test]
fn records_are_numbered_without_gaps_and_chained() {
    let disk = Disk::new(1);
    let mut store = open(&disk);
    store.commit(&records(&[b"a", b"b"]), NOW).unwrap();
    drop(store);
    let mut store = open(&disk);
    store.commit(&records(&[b"c"]), NOW).unwrap();
    let loaded = store.load(Lane::History, 1, u64::MAX, 1 << 20).unwrap();
    let mut digest = 0;
    for (i, record) in loaded.iter().enumerate() {
        digest = chain(digest, &record.body);
        assert_eq!((record.seq, record.digest), (i as u64 + 1, digest));
    }
    assert_eq!(loaded.len(), 3);
    assert_eq!(store.digest_at(Lane::History, 3).unwrap(), Some(digest));
    assert_eq!(store.load(Lane::History, 2, 3, 0).unwrap().len(), 1, "at least one");
}

#[test]
fn acknowledged_records_stay_for_the_retention() {
    let disk = Disk::new(1);
    let mut store = open(&disk);
    store.commit(&records(&[b"a", b"b", b"c"]), NOW).unwrap();
    store.acknowledge(&cursor(Lane::History, 2));
    assert_eq!(store.outstanding(Lane::History), 1);
    store.commit(&records(&[b"d"]), NOW + HOUR).unwrap();
    assert_eq!(store.holdings()[2].oldest, 1, "a day is not over");
    store.commit(&records(&[b"e"]), NOW + 25 * HOUR).unwrap();
    assert_eq!(store.holdings()[2].oldest, 3, "only what is acknowledged goes");
    store.acknowledge(&cursor(Lane::History, 99));
    assert_eq!(store.outstanding(Lane::History), 3, "numbers never given are not believed");
}

#[test]
fn a_full_lane_tells_what_it_dropped() {
    let disk = Disk::new(1);
    let retention = Retention { lane_bytes: 4_096, ..Retention::default() };
    let mut store = open_with(&disk, retention);
    let body = [7; 1_000];
    for _ in 0..20 {
        store.commit(&records(&[&body]), NOW).unwrap();
    }
    let loaded = store.load(Lane::History, 1, u64::MAX, 1 << 20).unwrap();
    let total: usize = loaded.iter().map(|r| r.body.len()).sum();
    assert!(total <= 4_096 + 100, "{total}");
    let marker: Dropped = wire::unpack(Kind::Dropped, &loaded[0].body, 1_000).unwrap();
    assert_eq!((marker.first, marker.last), (1, loaded[0].seq));
    assert_eq!(loaded.last().unwrap().seq, 20);
    for pair in loaded.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq + 1);
        assert_eq!(pair[1].digest, chain(pair[0].digest, &pair[1].body), "the chain goes on");
    }
}

#[test]
fn settled_journals_go_by_bytes_and_age() {
    let disk = Disk::new(1);
    let retention = Retention { journal_bytes: 2_000, ..Retention::default() };
    let mut store = open_with(&disk, retention);
    store.start("b").unwrap();
    for n in 1..=60 {
        let facts = vec![(run(n), accepted()), (run(n), settled())];
        store.commit(&Batch { facts, ..Batch::default() }, NOW).unwrap();
    }
    assert!(store.settled_bytes <= 2_000, "{}", store.settled_bytes);
    let read = store.db.begin_read().unwrap();
    let left = read.open_table(JOURNAL.definition()).unwrap().len().unwrap();
    assert!(left > 2 && left < 100, "{left} facts are left");
}

#[test]
fn the_file_does_not_grow_with_work_that_is_done() {
    let disk = Disk::new(1);
    let retention = Retention { hours: 0, ..Retention::default() };
    let mut store = open_with(&disk, retention);
    store.start("b").unwrap();
    let mut size_after_warm_up = 0;
    for n in 1..=3_000_u64 {
        let mut batch = records(&[&[1; 200], &[2; 200]]);
        batch.facts = vec![(run(n), accepted()), (run(n), settled())];
        batch.views = vec![(run(n), "x".repeat(500))];
        store.acknowledge(&cursor(Lane::History, (n - 1) * 2));
        store.commit(&batch, NOW + i64::try_from(n).unwrap() * 1_000).unwrap();
        if n == 1_000 {
            size_after_warm_up = disk.len();
        }
    }
    assert!(disk.len() <= size_after_warm_up * 5 / 4, "{size_after_warm_up} → {}", disk.len());
}

#[test]
fn a_commit_costs_one_sync() {
    let disk = Disk::new(1);
    let mut store = open(&disk);
    store.commit(&records(&[b"warm"]), NOW).unwrap();
    let before = disk.syncs();
    for _ in 0..200 {
        store.commit(&records(&[b"x"]), NOW).unwrap();
    }
    let syncs = disk.syncs() - before;
    assert!(syncs <= 210, "{syncs} syncs for 200 commits");
}

#[test]
fn no_flipped_bit_is_ever_believed() {
    let disk = Disk::new(1);
    let mut store = open(&disk);
    store.start("b").unwrap();
    let facts = vec![(run(1), accepted()), (run(1), began())];
    store.commit(&Batch { facts, ..records(&[&[42; 300]]) }, NOW).unwrap();
    let good = store.load(Lane::History, 1, 9, 1 << 20).unwrap();
    drop(store);
    let mut noticed = 0;
    let step = (disk.len() * 8 / 400).max(1);
    for bit in (0..disk.len() * 8).step_by(step) {
        let disk = disk.copy();
        disk.flip(bit);
        // The engine may refuse or panic on a damaged file, also while it closes; both are notices.
        let seen = std::panic::catch_unwind(|| {
            Store::open(disk.backend(), limits::CACHE_BYTES, Retention::default(), EPOCH)
                .and_then(|store| store.load(Lane::History, 1, 9, 1 << 20))
        });
        match seen {
            // A damaged record is told as gone; it never comes back as something else.
            Ok(Ok(loaded)) => {
                let gone = |r: &Record| {
                    wire::unpack::<Dropped>(Kind::Dropped, &r.body, 1_000)
                        .is_ok_and(|d| d.reason == "damaged")
                };
                assert!(loaded == good || loaded.iter().all(gone), "bit {bit}");
            }
            Ok(Err(_)) | Err(_) => noticed += 1,
        }
    }
    assert!(noticed < 400, "most bits of the file are free space");
}

#[test]
fn a_file_that_is_no_database_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.redb");
    std::fs::write(&path, vec![0x5a; 100_000]).unwrap();
    let (store, aside) =
        open_or_quarantine(&path, limits::CACHE_BYTES, Retention::default(), EPOCH).unwrap();
    assert_eq!(store.epoch(), EPOCH);
    assert!(aside.unwrap().exists());
    let again = open_or_quarantine(&path, limits::CACHE_BYTES, Retention::default(), Epoch(9));
    assert!(matches!(again, Err(StoreError::Database(_))), "one agent at a time");
    drop(store);
    let (store, aside) =
        open_or_quarantine(&path, limits::CACHE_BYTES, Retention::default(), Epoch(9)).unwrap();
    assert_eq!((store.epoch(), aside), (EPOCH, None));
}

#[test]
fn the_file_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.redb");
    let opened = open_or_quarantine(&path, limits::CACHE_BYTES, Retention::default(), EPOCH);
    assert!(opened.is_ok());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn every_power_cut_leaves_what_was_committed() {
    let mut cuts = 0;
    for cut in 1..=60 {
        for seed in 0..4 {
            let disk = Disk::new(seed * 1_000 + cut);
            let mut store = open(&disk);
            disk.cut_at_sync(cut);
            let mut committed = 0;
            for n in 1..=50_u64 {
                let body = vec![n as u8; 700];
                if store.commit(&records(&[&body]), NOW).is_err() {
                    break;
                }
                committed = n;
            }
            drop(store);
            cuts += u64::from(disk.is_dead());
            disk.revive();
            let store = open(&disk);
            let loaded = store.load(Lane::History, 1, u64::MAX, 1 << 20).unwrap();
            assert!(loaded.len() as u64 >= committed, "cut {cut} seed {seed}");
            assert!(loaded.len() as u64 <= committed + 1);
            assert!(loaded.iter().all(|r| r.body == vec![r.seq as u8; 700]));
        }
    }
    assert!(cuts >= 150, "{cuts} cuts happened");
}

#[test]
fn control_a_lying_disk_loses_what_was_committed() {
    let lost = (0..20).any(|seed| {
        let disk = Disk::new(seed);
        let mut store = open(&disk);
        disk.lie();
        for n in 1..=50_u64 {
            store.commit(&records(&[&vec![n as u8; 700]]), NOW).unwrap();
        }
        disk.cut();
        drop(store);
        disk.revive();
        std::panic::catch_unwind(|| {
            Store::open(disk.backend(), limits::CACHE_BYTES, Retention::default(), EPOCH)
                .and_then(|store| store.load(Lane::History, 1, u64::MAX, 1 << 20))
                .map_or(0, |loaded| loaded.len())
        })
        .unwrap_or(0)
            < 50
    });
    assert!(lost, "the harness would not notice a missing sync");
}
