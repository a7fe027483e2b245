//! What can still be said of a run whose own row is damaged: its facts know all but its id, and
//! what was told of it knows that.

use std::sync::Arc;

use openclaw_agent_core::{Fact, FactRecord};
use openclaw_protocol::definition::DefinitionHash;
use openclaw_protocol::id::RunId;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::run::RunEventRecord;
use openclaw_protocol::sync::Lane;
use openclaw_protocol::wire::{self, Kind};
use redb::{ReadTransaction, ReadableTable};

use super::journal::unpack_facts;
use super::outbox;
use super::restore::Restored;
use super::rows::RunRow;
use super::snapshots::OpenState;
use super::space::{JOURNAL, OUTBOX, fact_key_parts};
use super::{KEPT_BYTES, Store, StoreError};

/// Bytes of the outbox that are in memory at once while ids are looked for.
const READ_BYTES: usize = 256 * 1024;

impl Store {
    /// Makes the damaged rows of open runs anew, in memory, as far as they follow from what else
    /// is kept, so that whoever restores can end these runs like any other. `damaged` says why, by
    /// number; where the id is lost as well, a new one stands for it, and the reason says so.
    pub(super) fn salvage(
        &mut self,
        read: &ReadTransaction,
        restored: &Restored,
        damaged: &mut VecMap<u64, String>,
    ) -> Result<(), StoreError> {
        if damaged.is_empty() {
            return Ok(());
        }
        let mut ids = self.ids_told(read, damaged)?;
        for run in restored.wishes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()) {
            if let Some(number) = run.number().filter(|number| damaged.contains_key(number)) {
                ids.entry(number).or_insert_with(|| run.clone());
            }
        }
        for (number, reason) in damaged.iter_mut() {
            let run = ids.remove(number).unwrap_or_else(|| {
                reason.push_str("; its id is lost, and this one stands for it");
                RunId::of(self.run_epoch, *number)
            });
            let definition = DefinitionHash(String::new());
            let (modules, first) = (Vec::new(), self.journal_next);
            let row = RunRow { run, definition, modules, first };
            self.open.insert(*number, Box::new(OpenState::new(row, None, None)));
        }
        self.read_beginnings(&read.open_table(JOURNAL.definition())?, damaged)
    }

    /// The ids of these runs, where something that was told of them is still kept.
    fn ids_told(
        &self,
        read: &ReadTransaction,
        wanted: &VecMap<u64, String>,
    ) -> Result<VecMap<u64, RunId>, StoreError> {
        let table = read.open_table(OUTBOX.definition())?;
        let mut ids = VecMap::new();
        let mut first = 0;
        loop {
            let records = outbox::load(&table, Lane::History, first, u64::MAX, READ_BYTES)?;
            let Some(last) = records.last() else { return Ok(ids) };
            first = last.seq.saturating_add(1);
            let events = records.iter().filter_map(|record| {
                wire::unpack::<RunEventRecord>(Kind::RunEvent, &record.body, KEPT_BYTES).ok()
            });
            for RunEventRecord { run, .. } in events {
                if let Some(number) = run.number().filter(|number| wanted.contains_key(number)) {
                    ids.insert(number, run);
                }
            }
        }
    }

    /// Where the facts of these runs begin, and what the first one says.
    fn read_beginnings(
        &mut self,
        journal: &impl ReadableTable<&'static [u8], &'static [u8]>,
        wanted: &VecMap<u64, String>,
    ) -> Result<(), StoreError> {
        for entry in journal.iter()? {
            let (key, value) = entry?;
            let Some((place, number)) = fact_key_parts(key.value()) else { continue };
            if !wanted.contains_key(&number) {
                continue;
            }
            let Some(open) = self.open.get_mut(&number) else { continue };
            open.first = open.first.min(place);
            let Ok((0, facts)) = unpack_facts(key.value(), value.value()) else { continue };
            let Some(FactRecord { fact: Fact::Accepted { definition, pins, .. }, .. }) =
                facts.into_iter().next()
            else {
                continue;
            };
            open.definition = Arc::new(definition);
            open.modules = pins.iter().map(|(_, pin)| pin.digest).collect();
        }
        Ok(())
    }
}
