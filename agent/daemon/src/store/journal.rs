//! The journal: the facts of all runs interleaved in the order of their commits, so that one commit
//! writes the end of one table however many runs it is about.
//!
//! A fact's key is its place in the journal and its run's number; the value is its index in its run
//! and the packed fact. Facts of settled runs are removed from the front by retention.

use openclaw_agent_core::{Callee, Fact, FactRecord};
use openclaw_protocol::wire::{self, Kind};
use redb::{ReadableTable, WriteTransaction};

use super::batch::{Batch, Keep};
use super::rows::{self, RunRow, SettledRow};
use super::space::{JOURNAL, META, RUNS, SETTLED, TAPES, fact_key, fact_key_parts};
use super::{KEPT_BYTES, OpenState, Store, StoreError, tapes};
use crate::limits;

/// Facts of runs that were open when retention passed them are looked at again this often.
const PASSES_COMMITS: u64 = 1_024;
/// Expired journals are looked for this often; looking costs a page read.
const LOOK_COMMITS: u64 = 32;

impl Store {
    pub(super) fn write_facts(
        &mut self,
        write: &WriteTransaction,
        batch: &Batch,
    ) -> Result<(), StoreError> {
        if batch.facts.is_empty() {
            return Ok(());
        }
        let mut journal = write.open_table(JOURNAL.definition())?;
        for (run, record) in &batch.facts {
            let Some(number) = run.number() else { continue };
            if let Fact::Accepted { definition, pins, callees, .. } = &record.fact {
                let row = RunRow {
                    run: run.clone(),
                    definition: definition.clone(),
                    modules: pins.iter().map(|(_, pin)| pin.digest).collect(),
                    first: self.journal_next,
                };
                self.accept(write, number, row, kept_for(callees))?;
            }
            // A fact of a run that is not open cannot be: the engine says nothing after `Settled`.
            let Some(state) = self.open.get_mut(&number) else { continue };
            let body = pack_fact(state.facts, record);
            let key = fact_key(self.journal_next, number);
            self.journal_bytes += JOURNAL.put(&mut journal, &key, &body)?;
            self.journal_next += 1;
            state.facts += 1;
            state.bytes += body.len() as u64;
            if matches!(record.fact, Fact::Settled { .. }) {
                self.settle(write, number, record.at.wall_ms)?;
            }
        }
        Ok(())
    }

    fn accept(
        &mut self,
        write: &WriteTransaction,
        number: u64,
        row: RunRow,
        callees: Keep,
    ) -> Result<(), StoreError> {
        let mut runs = write.open_table(RUNS.definition())?;
        RUNS.put(&mut runs, &number.to_be_bytes(), &rows::pack(&row))?;
        self.open.insert(number, Box::new(OpenState { row, callees, facts: 0, bytes: 0 }));
        self.next_run = self.next_run.max(number + 1);
        let mut meta = write.open_table(META.definition())?;
        META.put(&mut meta, b"next_run", &self.next_run.to_le_bytes())?;
        Ok(())
    }

    fn settle(
        &mut self,
        write: &WriteTransaction,
        number: u64,
        wall_ms: i64,
    ) -> Result<(), StoreError> {
        let Some(state) = self.open.remove(&number) else { return Ok(()) };
        let row = SettledRow {
            run: state.row.run,
            settled_wall_ms: wall_ms,
            settled_age_ms: self.age.ms,
            bytes: state.bytes,
            definition: state.row.definition,
        };
        self.settled_bytes += row.bytes;
        let key = number.to_be_bytes();
        write.open_table(RUNS.definition())?.remove(key.as_slice())?;
        SETTLED.put(&mut write.open_table(SETTLED.definition())?, &key, &rows::pack(&row))?;
        Ok(())
    }

    /// Removes facts of settled runs by age and by bytes, from the front, a bounded number. A run
    /// of which the first fact goes is forgotten; the others follow.
    pub(super) fn forget_settled(&mut self, write: &WriteTransaction) -> Result<(), StoreError> {
        let over = self.settled_bytes > self.retention.journal_bytes;
        if !over && !self.commits.is_multiple_of(LOOK_COMMITS) {
            return Ok(());
        }
        if self.commits.is_multiple_of(PASSES_COMMITS) {
            self.prune_from = 0;
        }
        let mut settled = write.open_table(SETTLED.definition())?;
        let mut journal = write.open_table(JOURNAL.definition())?;
        let mut taped = write.open_table(TAPES.definition())?;
        for (place, number) in front(&journal, self.prune_from)? {
            if !self.open.contains_key(&number) {
                let row = settled.get(number.to_be_bytes().as_slice())?;
                // A damaged row has nothing left to say: its facts go.
                let row = row.and_then(|row| {
                    let row = SETTLED.unseal(&number.to_be_bytes(), row.value()).ok()?;
                    rows::unpack::<SettledRow>(SETTLED.0, row).ok()
                });
                let over = self.settled_bytes > self.retention.journal_bytes;
                if let Some(row) = row {
                    let age_ms = self.age.ms.saturating_sub(row.settled_age_ms);
                    if !over && age_ms < self.retention.window_ms() {
                        break;
                    }
                    self.settled_bytes = self.settled_bytes.saturating_sub(row.bytes);
                    settled.remove(number.to_be_bytes().as_slice())?;
                }
                tapes::forget(&mut taped, number)?;
                journal.remove(fact_key(place, number).as_slice())?;
            }
            self.prune_from = place + 1;
        }
        Ok(())
    }
}

/// What a run needs of the workflows that it may call.
pub(super) fn kept_for(callees: &[Callee]) -> Keep {
    let mut keep = Keep::default();
    for callee in callees {
        keep.definitions.insert(callee.definition.clone());
        keep.blobs.extend(callee.pins.iter().map(|(_, pin)| pin.digest));
    }
    keep
}

/// Places and run numbers of the first facts from a place on.
fn front(
    journal: &impl ReadableTable<&'static [u8], &'static [u8]>,
    from: u64,
) -> Result<Vec<(u64, u64)>, StoreError> {
    let mut found = Vec::with_capacity(limits::PRUNED_PER_COMMIT);
    for entry in journal.range(fact_key(from, 0).as_slice()..)?.take(limits::PRUNED_PER_COMMIT) {
        let (key, _) = entry?;
        found.extend(fact_key_parts(key.value()));
    }
    Ok(found)
}

fn pack_fact(index: u32, record: &FactRecord) -> Vec<u8> {
    let mut body = index.to_le_bytes().to_vec();
    body.extend_from_slice(&wire::pack(Kind::Fact, record));
    body
}

/// A fact and its index in its run.
pub(super) fn unpack_fact(body: &[u8]) -> Result<(u32, FactRecord), StoreError> {
    let unreadable = |reason: String| StoreError::Unreadable { table: JOURNAL.0, reason };
    let (index, fact) =
        body.split_first_chunk::<4>().ok_or_else(|| unreadable("a fact is too short".into()))?;
    let fact = wire::unpack(Kind::Fact, fact, KEPT_BYTES)
        .map_err(|e| StoreError::of_wire(JOURNAL.0, &e))?;
    Ok((u32::from_le_bytes(*index), fact))
}
