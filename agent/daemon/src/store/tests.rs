//! The store on a disk that forgets, flips and lies.

mod cuts;
pub(crate) mod everything;
mod format;
mod power;
mod retention;

use openclaw_agent_core::{Fact, FactRecord};
use openclaw_protocol::definition::{DefinitionHash, Priority};
use openclaw_protocol::desired::SignedDesired;
use openclaw_protocol::id::{RunId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::RunStatus;
use openclaw_protocol::sync::{Dropped, Record, chain};
use openclaw_protocol::time::{ClockTrust, Stamp};
use openclaw_protocol::wire::{self, Kind};
use redb::ReadableTableMetadata;

use super::*;
use crate::testing::Disk;

const EPOCH: Epoch = Epoch(0x1234_5678_9abc_def0);
const WALL_MS: i64 = 1_800_000_000_000;
const NOW: Stamp = at(1_000);

impl Store {
    /// Flips a bit of a stored value, as a dying card does.
    pub(crate) fn spoil(&self, table: &'static str, key: &[u8]) {
        let write = self.db.begin_write().unwrap();
        let definition = space::Space(table).definition();
        let mut value =
            write.open_table(definition).unwrap().get(key).unwrap().unwrap().value().to_vec();
        *value.last_mut().unwrap() ^= 1;
        write.open_table(definition).unwrap().insert(key, value.as_slice()).unwrap();
        write.commit().unwrap();
    }

    /// Whether a run was, or would be, restored by a snapshot, and whether facts of it are gone.
    pub(crate) fn way_back(&self, number: u64) -> Option<(bool, bool)> {
        let state = self.open.get(&number)?;
        let snap = state.snap.as_ref();
        Some((snap.is_some_and(|s| s.facts > 0), snap.is_some_and(|s| s.dropped > 0)))
    }

    /// How many facts of a run a start has read, or would; and whether there is a snapshot.
    pub(crate) fn read_at_start(&self, number: u64) -> (u32, bool) {
        let Some(state) = self.open.get(&number) else { return (0, true) };
        let covered = state.snap.as_ref().map_or(0, |snap| snap.facts);
        (1 + state.facts - covered, covered > 0)
    }

    /// Rows of the journal and their bytes.
    pub(crate) fn journal_rows(&self) -> (u64, u64) {
        let read = self.db.begin_read().unwrap();
        let journal = read.open_table(JOURNAL.definition()).unwrap();
        let bytes = journal.iter().unwrap().map(|entry| {
            let (key, value) = entry.unwrap();
            (key.value().len() + value.value().len()) as u64
        });
        (journal.len().unwrap(), bytes.sum())
    }

    pub(crate) fn snapshots_kept(&self) -> u64 {
        let read = self.db.begin_read().unwrap();
        read.open_table(space::SNAPSHOTS.definition()).unwrap().len().unwrap()
    }

    /// Changes the state of a snapshot, with its row's sum made right again.
    pub(crate) fn change_state(&self, number: u64, change: impl FnOnce(&mut [u8])) {
        let write = self.db.begin_write().unwrap();
        {
            let mut table = write.open_table(space::SNAPSHOTS.definition()).unwrap();
            let mut row = space::SNAPSHOTS.fetch(&table, &number.to_be_bytes()).unwrap().unwrap();
            change(&mut row[20..]);
            space::SNAPSHOTS.put(&mut table, &number.to_be_bytes(), &row).unwrap();
        }
        write.commit().unwrap();
    }

    /// Parts of blobs that are not whole.
    pub(crate) fn parts_kept(&self) -> u64 {
        let read = self.db.begin_read().unwrap();
        read.open_table(space::CHUNKS.definition()).unwrap().len().unwrap()
    }
}

/// Journals are kept for as long as records here, so that one day does for both.
fn open(disk: &Disk) -> Store {
    open_with(disk, Retention { journal_hours: 24, ..Retention::default() })
}

fn open_with(disk: &Disk, retention: Retention) -> Store {
    Store::open(disk.backend(), limits::CACHE_BYTES, retention, EPOCH).unwrap()
}

fn opening(path: &std::path::Path) -> Opening<'_> {
    Opening {
        path,
        cache_bytes: limits::CACHE_BYTES,
        retention: Retention::default(),
        fresh_epoch: EPOCH,
        boot_id: "boot-a",
    }
}

const fn at(boot_ms: u64) -> Stamp {
    Stamp { boot: 1, boot_ms, wall_ms: WALL_MS, trust: ClockTrust::Estimated }
}

fn accepted() -> FactRecord {
    FactRecord {
        at: at(1),
        check: 0,
        fact: Fact::Accepted {
            workflow: WorkflowName::parse("w").unwrap(),
            definition: DefinitionHash("abc".into()),
            pins: Vec::new(),
            trigger: "manual".into(),
            trigger_data: JsonText::null(),
            inputs: JsonText::null(),
            priority: Priority::Normal,
            request: None,
            parent: None,
            callees: Vec::new(),
            agent: JsonText::of(&serde_json::json!({})),
            given: Vec::new(),
        },
    }
}

fn settled() -> FactRecord {
    FactRecord { at: at(3), check: 0, fact: Fact::Settled { status: RunStatus::Completed } }
}

fn began() -> FactRecord {
    FactRecord { at: at(2), check: 0, fact: Fact::Began }
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
    let views = vec![(run(2), b"{}".to_vec())];
    store.commit(&Batch { facts, views, clean: true, ..Batch::default() }, NOW).unwrap();
    drop(store);

    let mut store = open(&disk);
    let restored = store.start("boot-b").unwrap();
    assert_eq!((restored.boot, restored.unclean, restored.next_run), (2, false, 3));
    assert_eq!(restored.runs.len(), 1);
    assert_eq!(restored.runs[0].run, run(1));
    assert_eq!(restored.runs[0].facts, [accepted(), began()]);
    assert_eq!(store.recent(10).unwrap(), [b"{}"]);
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
fn a_lane_begins_with_the_first_number_that_its_marker_stands_for() {
    let disk = Disk::new(1);
    let retention = Retention { lane_bytes: 4_096, hours: 0, ..Retention::default() };
    let mut store = open_with(&disk, retention);
    let commit = |store: &mut Store, n: usize| {
        for _ in 0..n {
            store.commit(&records(&[&[7; 1_000]]), NOW).unwrap();
        }
    };
    commit(&mut store, 2);
    store.acknowledge(&cursor(Lane::History, 2));
    commit(&mut store, 18);
    let oldest = |store: &Store| store.holdings()[2].oldest;
    assert_eq!(oldest(&store), 3, "1 and 2 are acknowledged and gone, 3 and on are told of");
    let marker_of = |store: &Store, before: u64| {
        let loaded = store.load(Lane::History, 3, before, 1 << 20).unwrap();
        let marker: Dropped = wire::unpack(Kind::Dropped, &loaded[0].body, 1_000).unwrap();
        assert_eq!(marker.last, loaded[0].seq);
        (marker.first, marker.last, loaded.len())
    };
    let (first, last, count) = marker_of(&store, u64::MAX);
    assert_eq!((first, count as u64), (3, 20 - last + 1));
    assert_eq!(marker_of(&store, 4), (3, last, 1), "it comes whatever its own number");
    assert!(store.load(Lane::History, last + 1, last + 2, 1 << 20).unwrap()[0].seq == last + 1);

    // A number in the middle is acknowledged late, for it was under way: the quota goes on.
    store.acknowledge(&cursor(Lane::History, 5));
    commit(&mut store, 20);
    let (first, later, _) = marker_of(&store, u64::MAX);
    assert!(first == 3 && later > last, "{first} {later}");
    assert!(store.heads[&Lane::History].row.bytes <= 4_096);

    // Acknowledged as a whole, it goes as a whole; also after a restart.
    drop(store);
    let mut store = open_with(&disk, retention);
    assert_eq!(oldest(&store), 3);
    store.acknowledge(&cursor(Lane::History, later));
    store.commit(&records(&[b"x"]), NOW).unwrap();
    assert_eq!(oldest(&store), later + 1);
}

#[test]
fn the_file_does_not_grow_with_work_that_is_done() {
    let disk = Disk::new(1);
    let retention = Retention { hours: 0, journal_hours: 0, ..Retention::default() };
    let mut store = open_with(&disk, retention);
    store.start("b").unwrap();
    let mut size_after_warm_up = 0;
    for n in 1..=3_000_u64 {
        let mut batch = records(&[&[1; 200], &[2; 200]]);
        batch.facts = vec![(run(n), accepted()), (run(n), settled())];
        batch.views = vec![(run(n), vec![b'x'; 500])];
        store.acknowledge(&cursor(Lane::History, (n - 1) * 2));
        store.commit(&batch, at(n * 1_000)).unwrap();
        if n == 1_000 {
            size_after_warm_up = disk.size();
        }
    }
    assert!(disk.size() <= size_after_warm_up * 5 / 4, "{size_after_warm_up} → {}", disk.size());
}

#[test]
fn facts_from_when_each_had_a_row_of_its_own_are_read_and_come_first() {
    let disk = Disk::new(1);
    let mut store = open(&disk);
    store.start("b").unwrap();
    store.commit(&Batch { facts: vec![(run(1), accepted())], ..Batch::default() }, NOW).unwrap();
    let change = store.db.begin_write().unwrap();
    {
        let mut journal = change.open_table(JOURNAL.definition()).unwrap();
        journal.remove(space::fact_key(0, 1).as_slice()).unwrap();
        for (place, record) in [(0_u32, accepted()), (1, began())] {
            let body = [place.to_le_bytes().to_vec(), wire::pack(Kind::Fact, &record)].concat();
            let key = space::single_fact_key(place.into(), 1);
            JOURNAL.put(&mut journal, &key, &body).unwrap();
        }
    }
    change.commit().unwrap();
    drop(store);
    let mut store = open(&disk);
    let restored = store.start("c").unwrap();
    assert_eq!(restored.runs[0].facts, [accepted(), began()]);
    let cancel = Fact::CancelRequested { force: true };
    let cancel = FactRecord { at: at(NOW.boot_ms + 1), check: 7, fact: cancel };
    let later = FactRecord { at: at(NOW.boot_ms + 2), ..cancel.clone() };
    let facts = vec![(run(1), cancel.clone()), (run(2), accepted()), (run(1), later.clone())];
    store.commit(&Batch { facts, ..Batch::default() }, NOW).unwrap();
    let told = [accepted(), began(), cancel, later];
    assert_eq!(store.facts_of(&run(1)).unwrap().facts, told);
    drop(store);
    let restored = open(&disk).start("d").unwrap();
    assert_eq!(restored.runs[0].facts, told);
    assert_eq!(restored.runs[1].facts, [accepted()]);
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
    let step = (disk.size() * 8 / 400).max(1);
    for bit in (0..disk.size() * 8).step_by(step) {
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

/// A death can come when the damaged file has lost its name and the copy of its rows has none yet.
#[test]
fn a_death_while_a_damaged_file_is_healed_loses_none_of_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.redb");
    drop(open_or_quarantine(opening(&path)).unwrap());
    let copy = path.with_extension("redb-new");
    std::fs::rename(&path, &copy).unwrap();
    let other = Opening { fresh_epoch: Epoch(EPOCH.0 + 1), ..opening(&path) };
    let opened = open_or_quarantine(other).unwrap();
    assert_eq!((opened.store.epoch(), opened.aside), (EPOCH, None), "the copy has the name now");
    drop(opened.store);
    // Half a copy beside a file that has its name is none.
    std::fs::write(&copy, "half a copy").unwrap();
    let opened = open_or_quarantine(opening(&path)).unwrap();
    assert_eq!((opened.store.epoch(), opened.aside, copy.exists()), (EPOCH, None, false));
}

#[test]
fn a_file_that_is_no_database_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.redb");
    std::fs::write(&path, vec![0x5a; 100_000]).unwrap();
    let opened = open_or_quarantine(opening(&path)).unwrap();
    assert_eq!(opened.store.epoch(), EPOCH);
    assert!(opened.aside.unwrap().exists());
    let again = open_or_quarantine(Opening { fresh_epoch: Epoch(9), ..opening(&path) });
    assert!(matches!(again, Err(StoreError::Database(_))), "one agent at a time");
    drop(opened.store);
    let opened = open_or_quarantine(Opening { fresh_epoch: Epoch(9), ..opening(&path) }).unwrap();
    assert_eq!((opened.store.epoch(), opened.aside), (EPOCH, None));
}

#[test]
fn the_file_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.redb");
    open_or_quarantine(opening(&path)).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_newest_wishes_are_kept_and_the_oldest_go() {
    let disk = Disk::new(1);
    let mut store = open(&disk);
    let wish = |n: usize| {
        let run = RunId::of(EPOCH, n as u64);
        (openclaw_protocol::id::RequestId::parse(&format!("r-{n}")).unwrap(), Ok(run))
    };
    let most = openclaw_agent_core::limits::REQUESTS;
    for numbers in [0..most, most..most + 3] {
        let batch = Batch { wishes: numbers.map(wish).collect(), ..Batch::default() };
        assert!(!batch.is_empty());
        store.commit(&batch, NOW).unwrap();
    }
    drop(store);
    let restored = open(&disk).start("boot").unwrap();
    assert_eq!(restored.wishes.len(), most);
    assert_eq!(restored.wishes[0], wish(3));
    assert_eq!(restored.wishes[most - 1], wish(most + 2));
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

#[test]
fn a_nonsensical_acknowledgement_is_not_kept() {
    let disk = Disk::new(1);
    let mut store = open(&disk);
    store.commit(&records(&[b"a", b"b", b"c", b"d", b"e", b"f"]), NOW).unwrap();
    let ranges = vec![(6, 2), (4, 5), (9, u64::MAX), (4, 4), (0, 1), (3, 3), (u64::MAX, 0)];
    store.acknowledge(&Cursor { lane: Lane::History, upto: 1, digest: 0, ranges });
    assert_eq!(store.heads[&Lane::History].row.ranges, [(3, 5)]);
    assert_eq!(store.outstanding(Lane::History), 2, "2 and 6");

    // What an earlier version kept makes no sense either, and must not stop the next start.
    store.heads.get_mut(&Lane::History).unwrap().row.ranges = vec![(5, 2), (0, u64::MAX)];
    store.commit(&records(&[b"g"]), NOW).unwrap();
    drop(store);
    assert_eq!(open(&disk).outstanding(Lane::History), 6);
}

#[test]
fn a_damaged_value_that_can_be_done_without_is_named_and_left_out() {
    for key in ["desired", "pending", "boot", "alive", "high_water", "clean"] {
        let disk = Disk::new(1);
        let mut store = open(&disk);
        store.start("boot-a").unwrap();
        let signed = SignedDesired { document: vec![1; 40], signature: vec![2; 64] };
        let batch = Batch {
            desired: Some(signed.clone()),
            pending: Some(Some(signed.clone())),
            high_water_wall_ms: Some(WALL_MS),
            clean: true,
            ..Batch::default()
        };
        store.commit(&batch, NOW).unwrap();
        let table = if ["desired", "pending"].contains(&key) { "wanted" } else { "meta" };
        store.spoil(table, key.as_bytes());
        drop(store);

        let mut store = open(&disk);
        let restored = store.start("boot-b").unwrap();
        assert_eq!(restored.boot, 2, "{key}");
        assert_eq!(restored.unclean, key == "clean", "{key}");
        assert_eq!(restored.alive.is_none(), key == "alive", "{key}");
        assert_eq!(restored.high_water_wall_ms == 0, key == "high_water", "{key}");
        let (desired, pending) = store.desired().unwrap();
        assert_eq!((desired.is_none(), pending.is_none()), (key == "desired", key == "pending"));
        let named: Vec<_> = restored.damaged.iter().filter(|d| d.contains(key)).collect();
        assert_eq!(named.len(), usize::from(key != "clean"), "{key}: {:?}", restored.damaged);
        drop(store);
        assert!(open(&disk).start("boot-c").unwrap().damaged.is_empty(), "{key} is named once");
    }
}

#[test]
fn what_a_later_version_wrote_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.redb");
    let open =
        || open_or_quarantine(opening(&path)).map(|Opened { store, aside, .. }| (store, aside));
    let write = |db: &Database, space: space::Space, key: &[u8], body: &[u8]| {
        let write = db.begin_write().unwrap();
        space.put(&mut write.open_table(space.definition()).unwrap(), key, body).unwrap();
        write.commit().unwrap();
    };
    let later = wire::VERSION + 1;
    let own = [&[FORMAT], env!("CARGO_PKG_VERSION").as_bytes()].concat();

    let (mut store, _) = open().unwrap();
    let facts = vec![(run(1), accepted())];
    store.commit(&Batch { facts, ..Batch::default() }, NOW).unwrap();
    write(
        store.db.database().unwrap(),
        META,
        b"format",
        &[&[FORMAT + 1], b"9.8.7".as_slice()].concat(),
    );
    drop(store);
    let refused = open().map(|_| ()).unwrap_err();
    assert!(matches!(refused, StoreError::Version { .. }), "{refused}");
    assert!(refused.to_string().contains("agent 9.8.7"), "{refused}");
    // The database and the reserve.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing was set aside");

    // Without the note the rows speak for themselves.
    write(&Database::open(&path).unwrap(), META, b"format", &own);
    let (store, aside) = open().unwrap();
    assert_eq!(aside, None);
    let fact = [0_u32.to_le_bytes().as_slice(), &[later, Kind::Fact as u8, 0]].concat();
    write(store.db.database().unwrap(), JOURNAL, &space::single_fact_key(0, 1), &fact);
    drop(store);
    assert!(matches!(open(), Err(StoreError::Version { .. })));
    let (lane, row) = (lane_meta(Lane::History), [later, Kind::Row as u8, 0]);
    write(&Database::open(&path).unwrap(), META, lane.as_bytes(), &row);
    assert!(matches!(open(), Err(StoreError::Version { .. })));
    // The database and the reserve.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing was set aside");
}
