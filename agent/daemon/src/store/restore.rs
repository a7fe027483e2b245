//! What the store knows when the agent starts: everything it has to go on with.

use std::collections::BTreeMap;

use openclaw_agent_core::{Fact, FactRecord, TriggerMark};
use openclaw_protocol::definition::DefinitionHash;
use openclaw_protocol::id::RunId;
use openclaw_protocol::time::Stamp;
use redb::{ReadableDatabase, ReadableTable};

use super::journal::unpack_fact;
use super::rows::{self, BootRow, RunRow};
use super::space::{JOURNAL, MARKS, META, RUNS, SETTLED, fact_key, fact_key_parts, tail_u64};
use super::{OpenState, Store, StoreError, batch, fetch_u64};

/// A run that was not settled when the agent stopped.
#[derive(Debug, Clone)]
pub struct OpenRun {
    /// Which.
    pub run: RunId,
    /// The definition it is pinned to.
    pub definition: DefinitionHash,
    /// Its facts, in order.
    pub facts: Vec<FactRecord>,
}

/// What the store knew when it was opened.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// The how-manieth boot this is.
    pub boot: u32,
    /// The last stop was not clean.
    pub unclean: bool,
    /// Highest trusted wall time so far, milliseconds since 1970 UTC.
    pub high_water_wall_ms: i64,
    /// When the agent was last known to be alive.
    pub alive: Option<Stamp>,
    /// Number of the next run.
    pub next_run: u64,
    /// Trigger positions.
    pub marks: Vec<TriggerMark>,
    /// Runs to go on with, by number.
    pub runs: Vec<OpenRun>,
    /// What was found damaged and left out, for the operator.
    pub damaged: Vec<String>,
}

impl Store {
    /// Notes that the agent has started, and reads everything it has to go on with. Damaged runs
    /// are left out and named, so that one bad sector does not stop the others.
    ///
    /// # Errors
    /// The database fails.
    pub fn start(&mut self, boot_id: &str) -> Result<Restored, StoreError> {
        let mut restored = Restored::default();
        let write = self.db.begin_write()?;
        {
            let mut meta = write.open_table(META.definition())?;
            let boot: Option<BootRow> =
                META.fetch(&meta, b"boot")?.map(|row| rows::unpack(META.0, &row)).transpose()?;
            restored.boot = match &boot {
                None => 1,
                Some(row) if row.id == boot_id => row.ordinal,
                Some(row) => row.ordinal.saturating_add(1),
            };
            restored.unclean =
                boot.is_some() && META.fetch(&meta, b"clean")?.as_deref() != Some(&[1]);
            let row = BootRow { id: boot_id.to_owned(), ordinal: restored.boot };
            META.put(&mut meta, b"boot", &rows::pack(&row))?;
            META.put(&mut meta, b"clean", &[0])?;
            restored.high_water_wall_ms =
                fetch_u64(&meta, b"high_water")?.map_or(0, u64::cast_signed);
            restored.alive =
                META.fetch(&meta, b"alive")?.map(|row| rows::unpack(META.0, &row)).transpose()?;
        }
        write.commit()?;
        self.restore(&mut restored)?;
        restored.next_run = self.next_run;
        Ok(restored)
    }

    fn restore(&mut self, restored: &mut Restored) -> Result<(), StoreError> {
        let read = self.db.begin_read()?;
        for entry in read.open_table(MARKS.definition())?.iter()? {
            let (key, value) = entry?;
            match MARKS.unseal(key.value(), value.value()).and_then(batch::unpack_mark) {
                Ok(mark) => restored.marks.push(mark),
                Err(e) => restored.damaged.push(e.to_string()),
            }
        }
        for entry in read.open_table(SETTLED.definition())?.iter()? {
            let (key, value) = entry?;
            let row = SETTLED.unseal(key.value(), value.value());
            match row.and_then(|row| rows::unpack::<RunRow>(SETTLED.0, row)) {
                Ok(row) => self.settled_bytes += row.bytes,
                Err(e) => restored.damaged.push(e.to_string()),
            }
        }
        for entry in read.open_table(RUNS.definition())?.iter()? {
            let (key, value) = entry?;
            let number = tail_u64(key.value()).unwrap_or(0);
            let row = RUNS.unseal(key.value(), value.value());
            match row.and_then(|row| rows::unpack::<RunRow>(RUNS.0, row)) {
                Ok(row) => {
                    self.open.insert(number, OpenState { row, facts: 0, bytes: 0 });
                }
                Err(e) => restored.damaged.push(format!("run {number}: {e}")),
            }
        }
        let journal = read.open_table(JOURNAL.definition())?;
        self.fold_journal(&journal, restored)
    }

    /// Reads the facts of open runs, in one pass from the first of them.
    fn fold_journal(
        &mut self,
        journal: &impl ReadableTable<&'static [u8], &'static [u8]>,
        restored: &mut Restored,
    ) -> Result<(), StoreError> {
        let Some(first) = self.open.values().map(|state| state.row.first).min() else {
            return Ok(());
        };
        let mut facts: BTreeMap<u64, Vec<FactRecord>> = BTreeMap::new();
        let mut damaged: BTreeMap<u64, String> = BTreeMap::new();
        for entry in journal.range(fact_key(first, 0).as_slice()..)? {
            let (key, value) = entry?;
            let Some((_, number)) = fact_key_parts(key.value()) else { continue };
            let Some(state) = self.open.get_mut(&number) else { continue };
            match JOURNAL.unseal(key.value(), value.value()).and_then(unpack_fact) {
                Ok((index, fact)) if index == state.facts => {
                    state.facts += 1;
                    state.bytes += value.value().len() as u64;
                    facts.entry(number).or_default().push(fact);
                }
                Ok((index, _)) => {
                    damaged.insert(number, format!("a fact before its {index}th is missing"));
                }
                Err(e) => {
                    damaged.insert(number, e.to_string());
                }
            }
        }
        for (number, state) in &self.open {
            let facts = facts.remove(number).unwrap_or_default();
            let begins =
                matches!(facts.first(), Some(FactRecord { fact: Fact::Accepted { .. }, .. }));
            let RunRow { run, definition, .. } = &state.row;
            if !begins {
                damaged.entry(*number).or_insert_with(|| "its first fact is missing".to_owned());
            }
            if let Some(reason) = damaged.get(number) {
                restored.damaged.push(format!("run {run}: {reason}"));
                continue;
            }
            let (run, definition) = (run.clone(), definition.clone());
            restored.runs.push(OpenRun { run, definition, facts });
        }
        self.open.retain(|number, _| !damaged.contains_key(number));
        Ok(())
    }
}
