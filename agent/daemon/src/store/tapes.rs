//! What plugins were told from outside, of the calls of which that is kept: rows by run and order of
//! arrival. They count among the bytes of their run's journal once it has settled, and go with it; of
//! one run the newest stay, up to a bound.

use openclaw_points::{Point, reach};
use openclaw_protocol::id::{RunId, WorkflowName};
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::run::StepPath;
use openclaw_sandbox::Tape;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::restore::Restored;
use super::space::{META, Open, TAPES};
use super::{Store, StoreError, rows};
use crate::limits;

/// The tape of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptTape {
    /// Step instance.
    pub step: StepPath,
    /// From 1.
    pub attempt: u32,
    /// What it was told.
    pub tape: Tape,
}

/// The run's number, then the place of the row; at place 0 stands, empty, that all calls of the run
/// are recorded.
fn key(number: u64, place: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key[8..].copy_from_slice(&place.to_be_bytes());
    key
}

fn key_parts(key: &[u8]) -> Option<(u64, u32)> {
    let (number, place) = (key.first_chunk::<8>()?, key.last_chunk::<4>()?);
    Some((u64::from_be_bytes(*number), u32::from_be_bytes(*place)))
}

impl Store {
    /// Writes tapes of runs that are open, before what may settle them.
    pub(super) fn write_tapes(
        &mut self,
        write: &WriteTransaction,
        batch: &Batch,
    ) -> Result<(), StoreError> {
        if let Some(next) = &batch.to_record {
            let mut meta = write.open_table(META.definition())?;
            META.put(&mut meta, b"record", &rows::pack(next))?;
        }
        if batch.tapes.is_empty() && batch.recorded.is_empty() {
            return Ok(());
        }
        let mut table = write.open_table(TAPES.definition())?;
        for number in batch.recorded.iter().filter_map(RunId::number) {
            TAPES.put(&mut table, &key(number, 0), &[])?;
        }
        for (run, tape) in &batch.tapes {
            let Some(number) = run.number() else { continue };
            let Some(state) = self.open.get_mut(&number) else { continue };
            let row = rows::pack(tape);
            let (gone, place) = make_room(&mut table, number, row.len())?;
            let written = TAPES.put(&mut table, &key(number, place), &row)?;
            state.tapes = (state.tapes + written).saturating_sub(gone);
            reach(Point::TapeWritten);
        }
        Ok(())
    }

    /// The tapes of a run, in the order in which its calls ended. What is damaged is left out.
    ///
    /// # Errors
    /// The database fails, or another version wrote them.
    pub fn tapes(&self, run: &RunId) -> Result<Vec<KeptTape>, StoreError> {
        let Some(number) = run.number() else { return Ok(Vec::new()) };
        let read = self.db.begin_read()?;
        let mut tapes = Vec::new();
        let (from, to) = (key(number, 1), key(number, u32::MAX));
        for entry in read.open_table(TAPES.definition())?.range(from.as_slice()..to.as_slice())? {
            let (key, value) = entry?;
            let row = TAPES.unseal(key.value(), value.value());
            match row.and_then(|row| rows::unpack(TAPES.0, row)) {
                Ok(tape) => tapes.push(tape),
                Err(e) => drop(e.damage()?),
            }
        }
        Ok(tapes)
    }

    /// What the tapes of open runs count, and which runs are recorded whole.
    pub(super) fn restore_tapes(
        &mut self,
        read: &ReadTransaction,
        restored: &mut Restored,
    ) -> Result<(), StoreError> {
        let row = META.fetch(&read.open_table(META.definition())?, b"record");
        match row.and_then(|row| row.map(|row| rows::unpack(META.0, &row)).transpose()) {
            Ok(next) => restored.to_record = next.unwrap_or_default(),
            Err(e) => restored.damaged.push(e.damage()?),
        }
        for entry in read.open_table(TAPES.definition())?.iter()? {
            let (key, value) = entry?;
            let Some((number, place)) = key_parts(key.value()) else { continue };
            let Some(state) = self.open.get_mut(&number) else { continue };
            if place == 0 {
                restored.recorded.push(state.run.clone());
            } else {
                state.tapes += (key.value().len() + value.value().len()) as u64;
            }
        }
        Ok(())
    }
}

/// Removes the oldest tapes of a run until one of so many bytes fits. The bytes that went, and the
/// place of the new one.
fn make_room(table: &mut Open<'_>, number: u64, bytes: usize) -> Result<(u64, u32), StoreError> {
    let mut kept = Vec::new();
    for entry in table.range(key(number, 1).as_slice()..key(number, u32::MAX).as_slice())? {
        let (key, value) = entry?;
        kept.extend(key_parts(key.value()).map(|(_, place)| (place, value.value().len())));
    }
    let next = kept.last().map_or(1, |(place, _)| place.saturating_add(1));
    let mut held: usize = kept.iter().map(|(_, bytes)| bytes).sum();
    let mut gone = 0;
    for (place, length) in kept {
        if held + bytes <= limits::RUN_TAPES_BYTES {
            break;
        }
        let key = key(number, place);
        table.remove(key.as_slice())?;
        held -= length;
        gone += (key.len() + length) as u64;
    }
    Ok((gone, next))
}

/// A run's journal goes, and its tapes with it.
pub(super) fn forget(table: &mut Open<'_>, number: u64) -> Result<(), StoreError> {
    if !table.is_empty()? {
        table.retain_in(key(number, 0).as_slice()..=key(number, u32::MAX).as_slice(), |_, _| {
            false
        })?;
    }
    Ok(())
}

/// How many more runs are recorded whole, by workflow.
pub(super) type ToRecord = VecMap<WorkflowName, u32>;
