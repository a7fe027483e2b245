//! What the store knows when the agent starts: everything it has to go on with.

use std::sync::Arc;

use openclaw_agent_core::{Fact, FactRecord, FileChange, HoldChange, SeenKey, TriggerMark};
use openclaw_points::{Point, reach};
use openclaw_protocol::definition::DefinitionHash;
use openclaw_protocol::id::{Epoch, RequestId, RunId};
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::report::Refusal;
use openclaw_protocol::time::Stamp;
use redb::ReadableTable;

use super::age::Age;
use super::journal::{kept_for, row_bytes, unpack_facts};
use super::read::unpack_signed;
use super::rows::{self, BootRow, RunRow, WishRow};
use super::snapshots::OpenState;
use super::space::{
    FILES, HOLDS, JOURNAL, MARKS, META, MIGRATED, PUBLICATIONS, RUNS, SEEN, SETTLED, SNAPSHOTS,
    TAPES, WANTED, WISHES, fact_key_parts, facts_from, tail_u64,
};
use super::space::{Open, Space};
use super::tapes::ToRecord;
use super::waiting::{self, Waiting};
use super::{Store, StoreError, batch, files, holds, unpack_u64};
use crate::random;

/// A run that was not settled when the agent stopped.
#[derive(Debug, Clone)]
pub struct OpenRun {
    /// Which.
    pub run: RunId,
    /// The definition it is pinned to.
    pub definition: Arc<DefinitionHash>,
    /// The state that stands for the facts between the first one and the others.
    pub snapshot: Option<Vec<u8>>,
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
    /// What became of operators' wishes, oldest first.
    pub wishes: Vec<(RequestId, Result<RunId, Refusal>)>,
    /// Firings of triggers that must not start anything again, oldest first by trigger.
    pub seen: Vec<SeenKey>,
    /// How long conditions of triggers have held.
    pub holds: Vec<HoldChange>,
    /// What is known of files that triggers are about.
    pub files: Vec<FileChange>,
    /// Messages for the site's broker that are not known to be sent, by number.
    pub publications: Vec<Waiting>,
    /// Numbers of those that are damaged, to be removed.
    pub publications_gone: Vec<u64>,
    /// Runs to go on with, by number.
    pub runs: Vec<OpenRun>,
    /// Runs that cannot go on, because what is kept of them is damaged, and why. They stay open
    /// here until somebody settles them.
    pub broken: Vec<(OpenRun, String)>,
    /// How many more runs are recorded whole, by workflow.
    pub to_record: ToRecord,
    /// Runs to go on with that are.
    pub recorded: Vec<RunId>,
    /// What was found damaged and left out, for the operator.
    pub damaged: Vec<String>,
}

impl Store {
    /// Notes that the agent has started, and reads everything it has to go on with. Damaged runs
    /// are named apart, so that one bad sector does not stop the others.
    ///
    /// # Errors
    /// The database fails, or the system gives no random bytes to name runs under.
    pub fn start(&mut self, boot_id: &str) -> Result<Restored, StoreError> {
        let mut restored = Restored::default();
        self.run_epoch = drawn_epoch()?;
        let write = self.db.begin_write()?;
        {
            // A database of an earlier version does not have these tables yet.
            for space in [WISHES, SEEN, PUBLICATIONS, HOLDS, FILES, SNAPSHOTS, TAPES, MIGRATED] {
                write.open_table(space.definition())?;
            }
            let mut meta = write.open_table(META.definition())?;
            let mut wanted = write.open_table(WANTED.definition())?;
            let damaged = &mut restored.damaged;
            let unpack_age = |row: &[u8]| rows::unpack::<Age>(META.0, row);
            let age = spare(META, &mut meta, "alive", unpack_age, damaged)?;
            restored.alive = age.as_ref().map(|age| age.at);
            self.age = age.unwrap_or_else(Age::unknown);
            spare(WANTED, &mut wanted, "desired", unpack_signed, damaged)?;
            spare(WANTED, &mut wanted, "pending", unpack_signed, damaged)?;
            let high_water = spare(META, &mut meta, "high_water", unpack_u64, damaged)?;
            restored.high_water_wall_ms = high_water.map_or(0, u64::cast_signed);
            let had_boot = meta.get(b"boot".as_slice())?.is_some();
            let unpack_boot = |row: &[u8]| rows::unpack::<BootRow>(META.0, row);
            let boot = spare(META, &mut meta, "boot", unpack_boot, damaged)?;
            restored.boot = match &boot {
                // Where the number is damaged, that of the last stamp is one that was given.
                None => restored.alive.map_or(1, |alive| alive.boot.saturating_add(1)),
                Some(row) if row.id == boot_id => row.ordinal,
                Some(row) => row.ordinal.saturating_add(1),
            };
            restored.unclean =
                had_boot && !matches!(META.fetch(&meta, b"clean"), Ok(Some(clean)) if clean == [1]);
            let row = BootRow { id: boot_id.to_owned(), ordinal: restored.boot };
            META.put(&mut meta, b"boot", &rows::pack(&row))?;
            META.put(&mut meta, b"clean", &[0])?;
            META.put(&mut meta, b"serial", &(self.serial + 1).to_le_bytes())?;
        }
        reach(Point::StoreStart);
        write.commit()?;
        reach(Point::StoreStarted);
        self.serial += 1;
        for head in self.heads.values() {
            self.age.at_least(head.noted_age_ms());
        }
        self.restore(&mut restored)?;
        restored.next_run = self.next_run;
        reach(Point::StoreRestored);
        Ok(restored)
    }

    pub(super) fn restore(&mut self, restored: &mut Restored) -> Result<(), StoreError> {
        let read = self.db.begin_read()?;
        for entry in read.open_table(MARKS.definition())?.iter()? {
            let (key, value) = entry?;
            match MARKS.unseal(key.value(), value.value()).and_then(batch::unpack_mark) {
                Ok(mark) => restored.marks.push(mark),
                Err(e) => restored.damaged.push(e.damage()?),
            }
        }
        for entry in read.open_table(WISHES.definition())?.iter()? {
            let (key, value) = entry?;
            let row = WISHES.unseal(key.value(), value.value());
            match row.and_then(|row| rows::unpack::<WishRow>(WISHES.0, row)) {
                Ok(row) => restored.wishes.push((row.request, row.outcome)),
                Err(e) => restored.damaged.push(e.damage()?),
            }
        }
        waiting::restore(&read, restored)?;
        holds::restore(&read, restored)?;
        files::restore(&read, restored)?;
        for entry in read.open_table(SETTLED.definition())?.iter()? {
            let (key, value) = entry?;
            let row = SETTLED.unseal(key.value(), value.value());
            match row.and_then(rows::unpack_settled) {
                Ok(row) => {
                    self.settled_bytes += row.bytes;
                    self.age.at_least(row.settled_age_ms);
                }
                Err(e) => restored.damaged.push(e.damage()?),
            }
        }
        let mut damaged = VecMap::new();
        for entry in read.open_table(RUNS.definition())?.iter()? {
            let (key, value) = entry?;
            let number = tail_u64(key.value()).unwrap_or(0);
            let row = RUNS.unseal(key.value(), value.value());
            match row.and_then(|row| rows::unpack::<RunRow>(RUNS.0, row)) {
                Ok(row) => {
                    let before = self.open.last_key_value().map(|(_, before)| &**before);
                    let open = OpenState::new(row, None, before);
                    self.open.insert(number, Box::new(open));
                }
                Err(e) => drop(damaged.insert(number, e.damage()?)),
            }
        }
        self.salvage(&read, restored, &mut damaged)?;
        let states = self.restore_snapshots(&read, restored)?;
        self.restore_tapes(&read, restored)?;
        self.restore_migrated(&read, restored)?;
        let journal = read.open_table(JOURNAL.definition())?;
        let facts = self.read_journal(&journal, &mut damaged)?;
        self.past_bytes = self.open.values().map(|state| state.past()).sum();
        self.useless_bytes = self.open.values().map(|state| state.useless()).sum();
        self.put_together(facts, states, damaged, restored);
        self.broken = restored.broken.iter().filter_map(|(open, _)| open.run.number()).collect();
        self.left_out.clone_from(&restored.damaged);
        Ok(())
    }

    /// Reads the facts of open runs: of those with a snapshot the first one, and then in one pass
    /// what comes after the snapshots, and all of the others. Some are known to be damaged already,
    /// and why.
    fn read_journal(
        &mut self,
        journal: &impl ReadableTable<&'static [u8], &'static [u8]>,
        damaged: &mut VecMap<u64, String>,
    ) -> Result<VecMap<u64, Vec<FactRecord>>, StoreError> {
        let mut facts: VecMap<u64, Vec<FactRecord>> = VecMap::new();
        for (number, state) in &mut self.open {
            let Some(snap) = state.snap.as_ref().filter(|snap| snap.facts > 0) else { continue };
            let (covered, kept) = (snap.facts, snap.kept);
            let Some(row) = facts_from(journal, state.first)?.next() else { continue };
            let (key, value) = row?;
            if fact_key_parts(key.value()) != Some((state.first, *number)) {
                continue;
            }
            match unpack_facts(key.value(), value.value()) {
                Ok((_, mut read)) => {
                    state.read(&read, row_bytes(key.value(), value.value()));
                    // The snapshot stands for those that came with it.
                    read.truncate(1);
                    facts.insert(*number, read);
                }
                Err(e) => drop(damaged.insert(*number, e.damage()?)),
            }
            (state.facts, state.bytes) = (covered, kept);
        }
        let Some(first) = self.open.values().map(|state| state.tail_place()).min() else {
            return Ok(facts);
        };
        for entry in facts_from(journal, first)? {
            let (key, value) = entry?;
            let Some((place, number)) = fact_key_parts(key.value()) else { continue };
            let Some(state) = self.open.get_mut(&number) else { continue };
            if place < state.tail_place() {
                continue;
            }
            match unpack_facts(key.value(), value.value()) {
                Ok((index, read)) if index == state.facts => {
                    state.read(&read, row_bytes(key.value(), value.value()));
                    let known = facts.entry(number).or_default();
                    if known.is_empty() {
                        *known = read;
                    } else {
                        known.reserve_exact(read.len());
                        known.extend(read);
                    }
                }
                Ok((index, _)) => {
                    let missing = || format!("a fact before its {index}th is missing");
                    damaged.entry(number).or_insert_with(missing);
                }
                Err(e) => {
                    let damage = e.damage()?;
                    damaged.entry(number).or_insert_with(|| damage);
                }
            }
        }
        Ok(facts)
    }

    /// What was read of each open run, together.
    fn put_together(
        &self,
        mut facts: VecMap<u64, Vec<FactRecord>>,
        states: Vec<(u64, Vec<u8>)>,
        mut damaged: VecMap<u64, String>,
        restored: &mut Restored,
    ) {
        let mut states: VecMap<u64, Vec<u8>> = states.into_iter().collect();
        for (number, state) in &self.open {
            let facts = facts.get_mut(number).map(std::mem::take).unwrap_or_default();
            let begins =
                matches!(facts.first(), Some(FactRecord { fact: Fact::Accepted { .. }, .. }));
            let OpenState { run, definition, .. } = &**state;
            if !begins {
                damaged.entry(*number).or_insert_with(|| "its first fact is missing".to_owned());
            }
            let (run, definition) = (run.clone(), Arc::clone(definition));
            let snapshot = states.get_mut(number).map(std::mem::take);
            let open = OpenRun { run, definition, snapshot, facts };
            match damaged.remove(number) {
                Some(reason) => restored.broken.push((open, reason)),
                None => restored.runs.push(open),
            }
        }
    }
}

impl OpenState {
    /// Takes in a row that was read.
    fn read(&mut self, facts: &[FactRecord], bytes: u64) {
        if let Some(Fact::Accepted { callees, .. }) = facts.first().map(|first| &first.fact) {
            self.callees = (!callees.is_empty()).then(|| Box::new(kept_for(callees)));
        }
        self.add(facts.len(), bytes);
    }
}

pub(super) fn drawn_epoch() -> Result<Epoch, StoreError> {
    let mut bytes = [0; 8];
    random::fill(&mut bytes)
        .map_err(|e| StoreError::Database(format!("the system gives no random bytes: {e}")))?;
    Ok(Epoch(u64::from_le_bytes(bytes)))
}

/// A value by name that the agent can do without: a damaged one is named, removed, and counts as
/// absent.
fn spare<T>(
    space: Space,
    table: &mut Open<'_>,
    key: &str,
    unpack: impl Fn(&[u8]) -> Result<T, StoreError>,
    damaged: &mut Vec<String>,
) -> Result<Option<T>, StoreError> {
    let row = space.fetch(table, key.as_bytes());
    match row.and_then(|row| row.map(|row| unpack(&row)).transpose()) {
        Ok(found) => Ok(found),
        Err(e) => {
            damaged.push(format!("`{key}`: {}", e.damage()?));
            table.remove(key.as_bytes())?;
            Ok(None)
        }
    }
}
