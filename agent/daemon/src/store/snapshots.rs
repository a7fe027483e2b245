//! Snapshots of runs, and what may go because of them.
//!
//! A run that goes on for long is written down as a state every so many facts, in the commit of the
//! facts themselves. Restoring it then takes its first fact, its latest snapshot and the facts after
//! that. The facts before it stay for a replay at the desk, like the facts of settled runs, and go
//! with them, oldest first, where they come to more bytes than retention allows. Once one of a run
//! has gone, all before its snapshot are of no use to anybody and follow.
//!
//! The bound: of the journal's rows that are not needed to go on (facts of settled runs with what
//! stands for lost ones, facts before a snapshot) there are at most `journal_bytes`; of each open run
//! there are its first row, its tapes, one snapshot, and after it fewer than [`limits::SNAPSHOT_FACTS`] facts
//! of fewer bytes than [`limits::SNAPSHOT_TAIL_BYTES`] or than the snapshot itself, whichever is
//! more, and what one commit adds. A snapshot is at most [`limits::SNAPSHOT_BYTES`]; a run that
//! comes to more keeps all its facts.

use std::sync::Arc;

use openclaw_agent_core::FactRecord;
use openclaw_points::{Point, reach};
use openclaw_protocol::definition::DefinitionHash;
use openclaw_protocol::id::{Digest, RunId};
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::migrated::MigratedRow;
use super::restore::Restored;
use super::rows::RunRow;
use super::space::{Open, SNAPSHOTS, tail_u64};
use super::{Keep, Store, StoreError};
use crate::limits;

/// Facts, place and bytes, before the state.
const HEAD_BYTES: usize = 20;
/// What follows a run's number in the key of its row of dropped facts.
const DROPPED: u8 = 1;

/// How a run is asked for its state.
pub type StateOf<'a> = dyn FnMut(&RunId) -> Option<Vec<u8>> + 'a;

/// Where a run's latest snapshot stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Snap {
    /// How many facts it stands for, the first included; 0: it is damaged, or there never was one.
    pub(super) facts: u32,
    /// Place in the journal from which on its facts are not in it.
    pub(super) place: u64,
    /// Its own size.
    pub(super) bytes: u64,
    /// Bytes of the facts that it stands for, as far as they are kept.
    pub(super) kept: u64,
    /// Bytes of those that are not kept any more.
    pub(super) dropped: u64,
    /// The run is not asked before it has so many facts: the last time it had no state to give.
    again: u32,
}

/// What the store keeps in memory of an unsettled run.
#[derive(Debug, Clone)]
pub(super) struct OpenState {
    pub(super) run: RunId,
    /// The definition it was accepted with; runs of one share it.
    pub(super) definition: Arc<DefinitionHash>,
    pub(super) modules: Vec<Digest>,
    /// Place of its first fact in the journal.
    pub(super) first: u64,
    /// Definitions and modules of the workflows that it may call, as its first fact has them, where
    /// there are any.
    pub(super) callees: Option<Box<Keep>>,
    /// What it needs since it has gone on with another definition.
    pub(super) migrated: Option<Box<MigratedRow>>,
    pub(super) facts: u32,
    /// Bytes of its first row.
    pub(super) first_bytes: u32,
    /// Bytes of the rows of its facts, as far as they are kept.
    pub(super) bytes: u64,
    /// Bytes of its tapes.
    pub(super) tapes: u64,
    pub(super) snap: Option<Box<Snap>>,
}

/// What is kept of a run's past.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// The facts in order. Where some were dropped: the first one, and those after the snapshot.
    pub facts: Vec<FactRecord>,
    /// What stands for those that were dropped: how many facts, and the state that they led to.
    pub snapshot: Option<(u32, Vec<u8>)>,
    /// The definitions that it has gone on with, in order.
    pub migrated: Vec<DefinitionHash>,
}

impl OpenState {
    /// Of a run after this one, where there is one.
    pub(super) fn new(row: RunRow, callees: Option<Box<Keep>>, before: Option<&Self>) -> Self {
        let RunRow { run, definition, modules, first } = row;
        let same = before.filter(|before| *before.definition == definition);
        Self {
            run,
            definition: same
                .map_or_else(|| Arc::new(definition), |same| Arc::clone(&same.definition)),
            modules,
            first,
            callees,
            migrated: None,
            facts: 0,
            first_bytes: 0,
            bytes: 0,
            tapes: 0,
            snap: None,
        }
    }

    /// Counts one more row, with so many facts.
    pub(super) fn add(&mut self, facts: usize, bytes: u64) {
        if self.facts == 0 {
            self.first_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        }
        self.facts = self.facts.saturating_add(u32::try_from(facts).unwrap_or(u32::MAX));
        self.bytes += bytes;
    }

    /// Bytes of facts that may go: before the snapshot, but for the first.
    pub(super) fn past(&self) -> u64 {
        self.snap.as_ref().map_or(0, |snap| snap.kept.saturating_sub(u64::from(self.first_bytes)))
    }

    /// Bytes of those among them that are of no use: some of them have gone.
    pub(super) fn useless(&self) -> u64 {
        self.snap.as_ref().filter(|snap| snap.dropped > 0).map_or(0, |_| self.past())
    }

    /// Place from which on its facts have to be read.
    pub(super) fn tail_place(&self) -> u64 {
        self.snap.as_ref().filter(|snap| snap.facts > 0).map_or(self.first, |snap| snap.place)
    }

    /// Whether enough has come since the latest snapshot.
    pub(super) fn wants_snapshot(&self) -> bool {
        let Some(snap) = &self.snap else {
            return self.facts >= limits::SNAPSHOT_FACTS
                || self.bytes >= limits::SNAPSHOT_TAIL_BYTES;
        };
        let tail = self.bytes.saturating_sub(snap.kept);
        let enough = self.facts.saturating_sub(snap.facts) >= limits::SNAPSHOT_FACTS
            || tail >= limits::SNAPSHOT_TAIL_BYTES.max(snap.bytes);
        enough && self.facts >= snap.again
    }
}

impl Store {
    /// Writes the states of those of these runs that have gone on for long enough. The facts that
    /// led to them are in the same transaction.
    pub(super) fn write_snapshots(
        &mut self,
        write: &WriteTransaction,
        touched: &[u64],
        state_of: &mut StateOf<'_>,
    ) -> Result<(), StoreError> {
        for number in touched {
            let Some(state) = self.open.get_mut(number).filter(|state| state.wants_snapshot())
            else {
                continue;
            };
            let found = state_of(&state.run);
            let snap = state.snap.get_or_insert_default();
            let Some(found) = found.filter(|found| found.len() <= limits::SNAPSHOT_BYTES) else {
                snap.again = state.facts.saturating_mul(2);
                continue;
            };
            let from = if snap.facts == 0 { state.first } else { snap.place };
            let before = state.snap.as_ref().map_or(0, |snap| snap.dropped);
            let mut body = Vec::with_capacity(HEAD_BYTES + found.len());
            body.extend_from_slice(&state.facts.to_le_bytes());
            body.extend_from_slice(&self.journal_next.to_le_bytes());
            body.extend_from_slice(&(state.bytes + before).to_le_bytes());
            body.extend_from_slice(&found);
            let (was, useless) = (state.past(), state.useless());
            state.snap = Some(Box::new(Snap {
                facts: state.facts,
                place: self.journal_next,
                bytes: found.len() as u64,
                kept: state.bytes,
                dropped: before,
                again: 0,
            }));
            self.past_bytes = self.past_bytes.saturating_sub(was) + state.past();
            self.useless_bytes = self.useless_bytes.saturating_sub(useless) + state.useless();
            self.prune_from = self.prune_from.min(from);
            let mut table = write.open_table(SNAPSHOTS.definition())?;
            self.snapshot_bytes += SNAPSHOTS.put(&mut table, &number.to_be_bytes(), &body)?;
            reach(Point::SnapshotWritten);
        }
        Ok(())
    }

    /// Notes how many bytes of facts of an open run are gone for good.
    pub(super) fn write_dropped(
        &self,
        write: &WriteTransaction,
        numbers: &[u64],
    ) -> Result<(), StoreError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let mut table = write.open_table(SNAPSHOTS.definition())?;
        for number in numbers {
            let Some(snap) = self.open.get(number).and_then(|state| state.snap.as_ref()) else {
                continue;
            };
            SNAPSHOTS.put(&mut table, &dropped_key(*number), &snap.dropped.to_le_bytes())?;
        }
        Ok(())
    }

    /// Reads where the snapshots of open runs stand, and the states themselves.
    pub(super) fn restore_snapshots(
        &mut self,
        read: &ReadTransaction,
        restored: &mut Restored,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let mut states = Vec::new();
        // A snapshot comes before the row of what was dropped under it.
        for entry in read.open_table(SNAPSHOTS.definition())?.iter()? {
            let (key, value) = entry?;
            let (number, is_dropped) = key_parts(key.value());
            let Some(state) = number.and_then(|number| self.open.get_mut(&number)) else {
                continue;
            };
            let snap = state.snap.get_or_insert_default();
            let body = match SNAPSHOTS.unseal(key.value(), value.value()) {
                Ok(body) => body,
                Err(e) => {
                    restored.damaged.push(e.damage()?);
                    // Something was dropped, or it would not be there.
                    snap.dropped = snap.dropped.max(u64::from(is_dropped));
                    continue;
                }
            };
            if is_dropped {
                let dropped = body.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
                snap.dropped = dropped;
                snap.kept = snap.kept.saturating_sub(dropped);
            } else if let Some((facts, place, bytes, found)) = parts(body) {
                let size = found.len() as u64;
                **snap = Snap { facts, place, bytes: size, kept: bytes, dropped: 0, again: 0 };
                self.journal_next = self.journal_next.max(place);
                states.extend(number.map(|number| (number, found.to_vec())));
            }
        }
        Ok(states)
    }

    /// The snapshots of these runs could not be used, and all their facts were: none of these goes
    /// because of one, and the next commit writes another.
    pub(crate) fn distrust(&mut self, runs: &[RunId]) {
        for state in runs.iter().filter_map(RunId::number) {
            let Some(state) = self.open.get_mut(&state) else { continue };
            self.past_bytes = self.past_bytes.saturating_sub(state.past());
            self.useless_bytes = self.useless_bytes.saturating_sub(state.useless());
            state.snap = None;
        }
    }

    /// The snapshot of a run, where there is a good one, and how many facts it stands for.
    pub(super) fn snapshot_of(
        read: &ReadTransaction,
        number: u64,
    ) -> Result<Option<(u32, Vec<u8>)>, StoreError> {
        let table = read.open_table(SNAPSHOTS.definition())?;
        let row = SNAPSHOTS.fetch(&table, &number.to_be_bytes())?;
        Ok(row.and_then(|row| {
            let (facts, _, _, state) = parts(&row)?;
            Some((facts, state.to_vec()))
        }))
    }
}

/// Removes what there is of a run's snapshots.
pub(super) fn forget(table: &mut Open<'_>, number: u64) -> Result<(), StoreError> {
    table.remove(number.to_be_bytes().as_slice())?;
    table.remove(dropped_key(number).as_slice())?;
    Ok(())
}

fn dropped_key(number: u64) -> [u8; 9] {
    let mut key = [DROPPED; 9];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key
}

/// Whose row it is, and whether it tells of dropped facts.
fn key_parts(key: &[u8]) -> (Option<u64>, bool) {
    match key {
        [number @ .., DROPPED] if number.len() == 8 => (tail_u64(number), true),
        _ => (tail_u64(key), false),
    }
}

/// Facts, place, bytes of the facts, state.
fn parts(body: &[u8]) -> Option<(u32, u64, u64, &[u8])> {
    let (facts, rest) = body.split_first_chunk()?;
    let (place, rest) = rest.split_first_chunk()?;
    let (bytes, state) = rest.split_first_chunk()?;
    let (place, bytes) = (u64::from_le_bytes(*place), u64::from_le_bytes(*bytes));
    Some((u32::from_le_bytes(*facts), place, bytes, state))
}
