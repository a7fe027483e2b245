//! The journal: the facts of all runs interleaved in the order of their commits, so that one commit
//! writes the end of one table however many runs it is about.
//!
//! What one commit has to say of a run is one row: its key is its place in the journal and the run's
//! number; its value is the index in the run of the first fact, its stamp, and the facts, each with a
//! stamp of its own only where that differs. Facts of settled runs, and those that a snapshot stands
//! for, are removed from the front by retention. Rows from before, each with one fact, are read as
//! ever.

use openclaw_agent_core::{Callee, Fact, FactRecord};
use openclaw_points::{Point, reach};
use openclaw_protocol::definition::DefinitionHash;
use openclaw_protocol::id::RunId;
use openclaw_protocol::ordered;
use openclaw_protocol::time::Stamp;
use openclaw_protocol::wire::{self, Kind, WireError};
use redb::{ReadableTable, WriteTransaction};

use super::batch::{Batch, Keep};
use super::rows::{self, RunRow, SettledRow};
use super::snapshots::{self, OpenState, Snap};
use super::space::{
    JOURNAL, META, MIGRATED, Open, RUNS, SETTLED, SNAPSHOTS, TAPES, fact_key, fact_key_parts,
    facts_from, is_single_fact,
};
use super::{KEPT_BYTES, Store, StoreError, migrated, tapes};
use crate::limits;

/// Facts of runs that were open when retention passed them are looked at again this often; more often
/// where too much is kept.
const PASSES_COMMITS: u64 = 1_024;
/// Expired journals are looked for this often; looking costs a page read.
const LOOK_COMMITS: u64 = 32;

impl Store {
    /// Writes the facts; gives the numbers of runs that want a snapshot, each perhaps several times.
    pub(super) fn write_facts(
        &mut self,
        write: &WriteTransaction,
        batch: &Batch,
    ) -> Result<Vec<u64>, StoreError> {
        let mut wanting = Vec::new();
        if batch.facts.is_empty() {
            return Ok(wanting);
        }
        let mut journal = write.open_table(JOURNAL.definition())?;
        // By run, and within it as they came.
        let numbers = batch.facts.iter().zip(0_u64..);
        let mut order: Vec<(u64, u64)> =
            numbers.filter_map(|((run, _), place)| Some((run.number()?, place))).collect();
        ordered::sort(&mut order);
        let records = |order: &[(u64, u64)]| -> Vec<&(RunId, FactRecord)> {
            order.iter().filter_map(|(_, at)| batch.facts.get(usize::try_from(*at).ok()?)).collect()
        };
        for of_run in order.chunk_by(|(one, _), (other, _)| one == other) {
            let Some((number, _)) = of_run.first() else { continue };
            let mut left = records(of_run);
            while !left.is_empty() {
                let written = self.write_row(write, &mut journal, *number, &left)?;
                left.drain(..written);
            }
            if self.open.get(number).is_some_and(|state| state.wants_snapshot()) {
                wanting.push(*number);
            }
        }
        Ok(wanting)
    }

    /// Writes one row with the first of these facts of one run. How many they were.
    fn write_row(
        &mut self,
        write: &WriteTransaction,
        journal: &mut Open<'_>,
        number: u64,
        facts: &[&(RunId, FactRecord)],
    ) -> Result<usize, StoreError> {
        if let Some((run, FactRecord { fact, .. })) = facts.first()
            && let Fact::Accepted { definition, pins, callees, .. } = fact
        {
            let row = RunRow {
                run: run.clone(),
                definition: definition.clone(),
                modules: pins.iter().map(|(_, pin)| pin.digest).collect(),
                first: self.journal_next,
            };
            let callees = (!callees.is_empty()).then(|| Box::new(kept_for(callees)));
            self.accept(write, number, row, callees)?;
        }
        // A fact of a run that is not open cannot be: the engine says nothing after `Settled`.
        let Some(state) = self.open.get_mut(&number) else { return Ok(facts.len()) };
        let (body, written) = pack_facts(state.facts, facts);
        let bytes = JOURNAL.put(journal, &fact_key(self.journal_next, number), &body)?;
        self.journal_bytes += bytes;
        reach(Point::JournalAppended);
        self.journal_next += 1;
        state.add(written, bytes);
        let mut row = state.migrated.take().unwrap_or_default();
        let migrated = facts[..written].iter().filter(|(_, record)| row.add(&record.fact)).count();
        state.migrated = Some(row).filter(|row| !row.is_empty());
        if migrated > 0 {
            self.write_migrated(write, number)?;
        }
        let last = facts[..written].last();
        if let Some((_, FactRecord { at, fact: Fact::Settled { .. }, .. })) = last {
            self.settle(write, number, at.wall_ms)?;
        }
        Ok(written)
    }

    fn accept(
        &mut self,
        write: &WriteTransaction,
        number: u64,
        row: RunRow,
        callees: Option<Box<Keep>>,
    ) -> Result<(), StoreError> {
        let mut runs = write.open_table(RUNS.definition())?;
        RUNS.put(&mut runs, &number.to_be_bytes(), &rows::pack(&row))?;
        let before = self.open.last_key_value().map(|(_, before)| &**before);
        let state = OpenState::new(row, callees, before);
        self.open.insert(number, Box::new(state));
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
        self.past_bytes = self.past_bytes.saturating_sub(state.past());
        self.useless_bytes = self.useless_bytes.saturating_sub(state.useless());
        let mut bytes = state.bytes + state.tapes;
        if let Some(snap) = &state.snap {
            if snap.dropped > 0 {
                // It is what a replay begins with.
                bytes += snap.bytes;
            } else {
                snapshots::forget(&mut write.open_table(SNAPSHOTS.definition())?, number)?;
            }
        }
        let row = SettledRow {
            run: state.run,
            settled_wall_ms: wall_ms,
            settled_age_ms: self.age.ms,
            bytes,
            definition: DefinitionHash::clone(&state.definition),
            first: state.first,
        };
        self.settled_bytes += row.bytes;
        let key = number.to_be_bytes();
        write.open_table(RUNS.definition())?.remove(key.as_slice())?;
        SETTLED.put(&mut write.open_table(SETTLED.definition())?, &key, &rows::pack(&row))?;
        Ok(())
    }

    /// Whether there are facts that are of no use even for a replay: of runs of which earlier ones
    /// have gone.
    fn has_useless(&self) -> bool {
        self.useless_bytes > 0
    }

    /// Whether more is kept for replay than may be.
    fn is_over(&self) -> bool {
        self.settled_bytes.saturating_add(self.past_bytes) > self.retention.journal_bytes
    }

    /// Removes facts of settled runs by age and by bytes, and by bytes those that snapshots of open
    /// runs stand for, from the front, a bounded number: more than came with this commit. A settled
    /// run of which the first fact goes is forgotten, and the others follow; so do all that the
    /// snapshot of an open run stands for, once one of them has gone.
    pub(super) fn forget_settled(
        &mut self,
        write: &WriteTransaction,
        came: usize,
    ) -> Result<(), StoreError> {
        let wanted = self.is_over() || self.has_useless();
        if !wanted && !self.commits.is_multiple_of(LOOK_COMMITS) {
            return Ok(());
        }
        let often = if wanted { LOOK_COMMITS } else { PASSES_COMMITS };
        if self.has_passed && self.commits.is_multiple_of(often) {
            self.prune_from = 0;
            self.has_passed = false;
        }
        let mut settled = write.open_table(SETTLED.definition())?;
        let mut journal = write.open_table(JOURNAL.definition())?;
        let most = limits::PRUNED_PER_COMMIT + 2 * came;
        let front = front(&journal, self.prune_from, most)?;
        self.has_passed |= front.len() < most;
        let mut dropped = Vec::new();
        for (key, place, number) in front {
            if self.open.contains_key(&number) {
                if self.drop_past(&mut journal, &key, number)? {
                    dropped.push(number);
                }
            } else if self.drop_settled(write, &mut settled, number)? {
                journal.remove(key.as_slice())?;
            } else if !self.has_useless() {
                self.has_passed = true;
                break;
            }
            self.prune_from = place + 1;
        }
        self.write_dropped(write, &dropped)
    }

    /// Whether the row goes, of a run that is not open; with its first one the run is forgotten.
    fn drop_settled(
        &mut self,
        write: &WriteTransaction,
        settled: &mut Open<'_>,
        number: u64,
    ) -> Result<bool, StoreError> {
        let key = number.to_be_bytes();
        let row = settled.get(key.as_slice())?;
        let row = row.map(|row| SETTLED.unseal(&key, row.value()).and_then(rows::unpack_settled));
        let Some(row) = row else { return Ok(true) };
        // A damaged row has nothing left to say: its facts go.
        if let Ok(row) = row {
            let age_ms = self.age.ms.saturating_sub(row.settled_age_ms);
            if !self.is_over() && age_ms < self.retention.journal_window_ms() {
                return Ok(false);
            }
            self.settled_bytes = self.settled_bytes.saturating_sub(row.bytes);
        }
        settled.remove(key.as_slice())?;
        snapshots::forget(&mut write.open_table(SNAPSHOTS.definition())?, number)?;
        tapes::forget(&mut write.open_table(TAPES.definition())?, number)?;
        reach(Point::JournalForgotten);
        migrated::forget(&mut write.open_table(MIGRATED.definition())?, number)?;
        Ok(true)
    }

    /// Removes a row of an open run, if a snapshot stands for it and it is of no use, or there is
    /// too much. Whether it did.
    fn drop_past(
        &mut self,
        journal: &mut Open<'_>,
        key: &[u8],
        number: u64,
    ) -> Result<bool, StoreError> {
        let Some((place, _)) = fact_key_parts(key) else { return Ok(false) };
        let is_over = self.is_over();
        let Some(state) = self.open.get_mut(&number) else { return Ok(false) };
        let (first, past) = (state.first, state.past());
        let may_go = |snap: &&mut Box<Snap>| {
            first < place && place < snap.place && (is_over || snap.dropped > 0)
        };
        let Some(snap) = state.snap.as_mut().filter(may_go) else { return Ok(false) };
        if snap.dropped == 0 {
            self.useless_bytes += past;
        }
        let gone = journal.remove(key)?.map_or(0, |row| row_bytes(key, row.value()));
        snap.kept = snap.kept.saturating_sub(gone);
        snap.dropped += gone;
        state.bytes = state.bytes.saturating_sub(gone);
        self.past_bytes = self.past_bytes.saturating_sub(gone);
        self.useless_bytes = self.useless_bytes.saturating_sub(gone);
        Ok(true)
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

/// Keys of the first rows from a place on, with place and run number.
fn front(
    journal: &impl ReadableTable<&'static [u8], &'static [u8]>,
    from: u64,
    most: usize,
) -> Result<Vec<(Vec<u8>, u64, u64)>, StoreError> {
    let mut found = Vec::new();
    for entry in facts_from(journal, from)?.take(most) {
        let (key, _) = entry?;
        let key = key.value().to_vec();
        found.extend(fact_key_parts(&key).map(|(place, number)| (key, place, number)));
    }
    Ok(found)
}

/// Bytes of a row of the journal, key and value, as they are counted everywhere.
pub(super) fn row_bytes(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

/// A fact in a row, behind the row's index and stamp: its own stamp where that is another.
type Row<F> = (Option<Stamp>, [u8; 4], F);

/// A row of the first of these facts, and how many they are: one row does not grow without bound.
fn pack_facts(index: u32, facts: &[&(RunId, FactRecord)]) -> (Vec<u8>, usize) {
    let first = facts.first().map(|(_, record)| record.at);
    let mut body = wire::pack(Kind::Facts, &(index, first));
    for (written, (_, FactRecord { at, check, fact })) in facts.iter().enumerate() {
        if written > 0 && body.len() > limits::JOURNAL_ROW_BYTES {
            return (body, written);
        }
        let at = Some(*at).filter(|at| Some(*at) != first);
        let row: Row<&Fact> = (at, check.to_le_bytes(), fact);
        body = wire::append(body, &row);
    }
    (body, facts.len())
}

/// The facts of a row, and the index of the first in its run.
pub(super) fn unpack_facts(key: &[u8], value: &[u8]) -> Result<(u32, Vec<FactRecord>), StoreError> {
    let body = JOURNAL.unseal(key, value)?;
    let unreadable =
        |reason: &str| StoreError::Unreadable { table: JOURNAL.0, reason: reason.to_owned() };
    if is_single_fact(key) {
        let (index, fact) =
            body.split_first_chunk::<4>().ok_or_else(|| unreadable("a fact is too short"))?;
        let fact = wire::unpack(Kind::Fact, fact, KEPT_BYTES)
            .map_err(|e| StoreError::of_wire(JOURNAL.0, &e))?;
        return Ok((u32::from_le_bytes(*index), vec![fact]));
    }
    let read = read_row(body).map_err(|e| StoreError::of_wire(JOURNAL.0, &e))?;
    read.ok_or_else(|| unreadable("a row has no beginning"))
}

fn read_row(body: &[u8]) -> Result<Option<(u32, Vec<FactRecord>)>, WireError> {
    let mut parts = wire::Parts::of(Kind::Facts, body, KEPT_BYTES)?;
    let Some((index, Some(first))) = parts.take::<(u32, Option<Stamp>)>()? else { return Ok(None) };
    let mut facts = Vec::new();
    while let Some((at, check, fact)) = parts.take::<Row<Fact>>()? {
        let (at, check) = (at.unwrap_or(first), u32::from_le_bytes(check));
        facts.push(FactRecord { at, check, fact });
    }
    // At a start those of all open runs are there at once.
    facts.shrink_to_fit();
    Ok(Some((index, facts)))
}
