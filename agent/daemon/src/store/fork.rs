//! A fork: this database and another one have the same log and different content, because a card
//! was cloned or restored. Everything kept gets new numbers under a new log, and is told again.

use openclaw_protocol::id::Epoch;
use openclaw_protocol::sync::Lane;
use openclaw_protocol::wire::{self, Kind};
use redb::ReadableTable;

use super::outbox::{self, Head, lane_byte};
use super::space::{META, OUTBOX, record_key};
use super::{KEPT_BYTES, Store, StoreError, lane_meta, rows};

impl Store {
    /// Numbers all kept records anew, from 1, under a new log. The record keys of what they tell
    /// (run ids, requests) make a repetition harmless at the control plane.
    ///
    /// # Errors
    /// The database fails; nothing has changed.
    pub fn fork(&mut self, new_log: u64, wall_ms: i64) -> Result<(), StoreError> {
        let write = self.db.begin_write()?;
        let mut heads = self.heads.clone();
        {
            let mut table = write.open_table(OUTBOX.definition())?;
            let mut meta = write.open_table(META.definition())?;
            for (lane, head) in &mut heads {
                let bodies = kept(&table, *lane)?;
                let byte = lane_byte(*lane);
                let (from, to) = (record_key(byte, 0), record_key(byte, u64::MAX));
                table.retain_in(from.as_slice()..to.as_slice(), |_, _| false)?;
                *head = Head::new(*lane, None);
                for body in bodies {
                    head.append(&mut table, &body, wall_ms)?;
                }
                META.put(&mut meta, lane_meta(*lane).as_bytes(), &rows::pack(&head.row))?;
                head.dirty = false;
            }
            META.put(&mut meta, b"log", &new_log.to_le_bytes())?;
        }
        write.commit()?;
        self.heads = heads;
        self.log = new_log;
        self.run_epoch = Epoch(new_log);
        Ok(())
    }
}

/// The bodies of a lane, without markers: their numbers mean nothing under another log.
fn kept(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    lane: Lane,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut bodies = Vec::new();
    let mut first = 0;
    loop {
        let records = outbox::load(table, lane, first, u64::MAX, usize::MAX)?;
        let Some(last) = records.last() else { return Ok(bodies) };
        first = last.seq + 1;
        let is_marker = |body: &[u8]| {
            wire::unpack::<openclaw_protocol::sync::Dropped>(Kind::Dropped, body, KEPT_BYTES)
                .is_ok()
        };
        bodies.extend(records.into_iter().map(|r| r.body).filter(|body| !is_marker(body)));
    }
}
