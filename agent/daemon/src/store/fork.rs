//! A fork: this database and another one have the same log and different content, because a card
//! was cloned or restored. Everything kept gets new numbers under a new log, and is told again;
//! and so is what was lost, for the ledger of the new log begins with nothing.

use openclaw_points::{Point, reach};
use openclaw_protocol::id::Epoch;
use openclaw_protocol::sync::{Dropped, Record};
use openclaw_protocol::wire::{self, Kind};

use super::outbox::{self, Head, lane_byte};
use super::space::{META, OUTBOX, Open, record_key};
use super::{KEPT_BYTES, Store, StoreError, lane_meta, rows};

/// Bytes of records that are in memory at once (but at least one record): a lane may be larger
/// than what the device has to spare.
const MOVED_BYTES: usize = 256 * 1024;

impl Store {
    /// Numbers all kept records anew, from 1, under a new log. A marker stands for as many numbers
    /// as before. The record keys of what they tell (run ids, requests) make a repetition harmless
    /// at the control plane.
    ///
    /// # Errors
    /// The database fails; nothing has changed.
    pub fn fork(&mut self, new_log: u64) -> Result<(), StoreError> {
        let write = self.db.begin_write()?;
        let mut heads = self.heads.clone();
        {
            let mut table = write.open_table(OUTBOX.definition())?;
            let mut meta = write.open_table(META.definition())?;
            for (lane, head) in &mut heads {
                *head = renumber(&mut table, head, MOVED_BYTES)?;
                META.put(&mut meta, lane_meta(*lane).as_bytes(), &rows::pack(&head.row))?;
                head.dirty = false;
            }
            META.put(&mut meta, b"log", &new_log.to_le_bytes())?;
            META.put(&mut meta, b"serial", &(self.serial + 1).to_le_bytes())?;
        }
        reach(Point::ForkCommit);
        write.commit()?;
        reach(Point::ForkCommitted);
        self.serial += 1;
        self.heads = heads;
        self.log = new_log;
        self.run_epoch = Epoch(new_log);
        Ok(())
    }
}

/// Moves a lane's rows to the numbers from 1 on, some at a time. New numbers are not above the old
/// ones, so no row is written over one that is still to be moved.
fn renumber(table: &mut Open<'_>, before: &Head, bytes: usize) -> Result<Head, StoreError> {
    let lane = before.lane;
    let mut head = Head::new(lane, None);
    // The lowest number that the next record can stand for.
    let mut lowest = 1;
    let mut first = before.row.oldest;
    loop {
        let records = outbox::load(table, lane, first, u64::MAX, bytes)?;
        let Some(last) = records.last() else { return Ok(head) };
        let next = last.seq.saturating_add(1);
        let (from, to) = (record_key(lane_byte(lane), first), record_key(lane_byte(lane), next));
        table.retain_in(from.as_slice()..to.as_slice(), |_, _| false)?;
        for record in records {
            let above = record.seq + 1;
            let body = anew(record, lowest, &mut head);
            head.append(table, &body)?;
            lowest = above;
        }
        first = next;
    }
}

/// A record's body under the new log. A marker names the new numbers, and the head goes on to the
/// last of them.
fn anew(record: Record, lowest: u64, head: &mut Head) -> Vec<u8> {
    let Ok(marker) = wire::unpack::<Dropped>(Kind::Dropped, &record.body, KEPT_BYTES) else {
        return record.body;
    };
    let first = head.row.next;
    let last = first + record.seq.saturating_sub(marker.first.max(lowest));
    head.row.next = last;
    wire::pack(Kind::Dropped, &Dropped { first, last, reason: marker.reason })
}

#[cfg(test)]
mod tests {
    use openclaw_protocol::sync::{Cursor, Lane, chain};
    use openclaw_protocol::time::{ClockTrust, Stamp};

    use super::super::{Batch, Retention};
    use super::*;
    use crate::limits;
    use crate::testing::Disk;

    const NOW: Stamp = Stamp { boot: 1, boot_ms: 1, wall_ms: 1, trust: ClockTrust::Unset };

    fn open(disk: &Disk, lane_bytes: u64) -> Store {
        let retention = Retention { lane_bytes, ..Retention::default() };
        Store::open(disk.backend(), limits::CACHE_BYTES, retention, Epoch(7)).unwrap()
    }

    fn tell(store: &mut Store, body: &[u8]) {
        let records = vec![(Lane::History, body.to_vec())];
        store.commit(&Batch { records, ..Batch::default() }, NOW).unwrap();
    }

    /// All of the history lane, as a session asks for it.
    fn told(store: &Store) -> Vec<Record> {
        let mut told: Vec<Record> = Vec::new();
        let mut first = 1;
        loop {
            let some = store.load(Lane::History, first, u64::MAX, 10_000).unwrap();
            let Some(last) = some.last() else { return told };
            first = last.seq + 1;
            told.extend(some);
        }
    }

    fn marker(record: &Record) -> Option<Dropped> {
        wire::unpack(Kind::Dropped, &record.body, KEPT_BYTES).ok()
    }

    /// What a lane says, without its numbers: bodies, and for how many lost ones a marker stands.
    fn gist(told: &[Record]) -> Vec<(Vec<u8>, u64, String)> {
        let of = |record: &Record| match marker(record) {
            Some(Dropped { first, last, reason }) => (Vec::new(), last - first + 1, reason),
            None => (record.body.clone(), 0, String::new()),
        };
        told.iter().map(of).collect()
    }

    /// A lane whose oldest records were acknowledged and pruned, the next dropped by a quota, and
    /// of the rest two are damaged.
    fn worn(disk: &Disk) -> Store {
        let mut store = open(disk, 16 * 1024);
        for n in 0..3_u8 {
            tell(&mut store, &[n; 1_000]);
        }
        let ranges = Vec::new();
        store.acknowledge(&Cursor { lane: Lane::History, upto: 3, digest: 0, ranges });
        for n in 3..40_u8 {
            tell(&mut store, &[n; 1_000]);
        }
        for seq in [33_u64, 36] {
            store.spoil("outbox", &record_key(lane_byte(Lane::History), seq));
        }
        store
    }

    #[test]
    fn what_was_lost_before_a_fork_is_told_after_it() {
        let disk = Disk::new(1);
        let mut store = worn(&disk);
        let before = told(&store);
        let lost: Vec<_> = before.iter().filter_map(marker).collect();
        assert_eq!(
            lost.iter().map(|m| m.reason.as_str()).collect::<Vec<_>>(),
            ["quota", "damaged", "damaged"]
        );
        assert!(lost[0].first > 1 && lost[0].last > lost[0].first + 10, "{lost:?}");

        store.fork(99).unwrap();
        let after = told(&store);
        assert_eq!(gist(&after), gist(&before));
        let (mut next, mut digest) = (1, 0);
        for record in &after {
            let first = marker(record).map_or(record.seq, |marker| {
                assert_eq!(marker.last, record.seq);
                marker.first
            });
            assert_eq!(first, next, "the numbers have no gap");
            digest = chain(digest, &record.body);
            assert_eq!(record.digest, digest, "and follow from each other");
            next = record.seq + 1;
        }
        let holding = store.holdings().into_iter().find(|h| h.lane == Lane::History).unwrap();
        assert_eq!((holding.oldest, holding.next), (1, next));
        assert_eq!(store.outstanding(Lane::History), next - 1);

        // The quota and a further life go on from there.
        drop(store);
        let mut store = open(&disk, 16 * 1024);
        assert_eq!(told(&store), after);
        store.fork(100).unwrap();
        assert_eq!(told(&store), after, "nothing has changed but the log");
        for n in 40..50_u8 {
            tell(&mut store, &[n; 1_000]);
        }
        let first = marker(&told(&store)[0]).unwrap();
        assert_eq!((first.first, first.reason.as_str()), (1, "quota"));
        assert_eq!(told(&store).last().unwrap().seq, next + 9);
    }

    #[test]
    fn a_lane_is_moved_a_part_at_a_time() {
        let whole = {
            let disk = Disk::new(1);
            let mut store = worn(&disk);
            store.fork(99).unwrap();
            told(&store)
        };
        for bytes in [0, 1_000, 2_500] {
            let disk = Disk::new(1);
            let mut store = worn(&disk);
            let write = store.db.begin_write().unwrap();
            let head = {
                let mut table = write.open_table(OUTBOX.definition()).unwrap();
                renumber(&mut table, &store.heads[&Lane::History], bytes).unwrap()
            };
            write.commit().unwrap();
            store.heads.insert(Lane::History, head);
            assert_eq!(told(&store), whole, "{bytes} bytes at a time");
        }
    }
}
