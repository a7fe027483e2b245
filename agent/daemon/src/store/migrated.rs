//! Runs that have gone on with another definition: what they need beside what their first fact names.
//! A row of its own says it, because the facts that do may be dropped under a snapshot; it goes with
//! the run's journal, like the facts.

use openclaw_agent_core::Fact;
use openclaw_protocol::definition::DefinitionHash;
use openclaw_protocol::id::Digest;
use redb::{ReadTransaction, ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::journal::kept_for;
use super::restore::Restored;
use super::rows;
use super::space::{MIGRATED, Open, tail_u64};
use super::{Keep, Store, StoreError};

/// What is needed because of migrations.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct MigratedRow {
    /// The definitions, in order.
    pub(super) definitions: Vec<DefinitionHash>,
    /// Definitions of workflows that may be called.
    callees: Vec<DefinitionHash>,
    /// Modules, of the run and of those.
    modules: Vec<Digest>,
    /// The row is damaged, and what it named is not known.
    #[serde(skip)]
    is_damaged: bool,
}

impl MigratedRow {
    /// Takes a migration in. Whether it is one.
    pub(super) fn add(&mut self, fact: &Fact) -> bool {
        let Fact::Migrated { definition, pins, callees, .. } = fact else { return false };
        let callees = kept_for(callees);
        self.definitions.push(definition.clone());
        self.callees.extend(callees.definitions);
        self.modules.extend(pins.iter().map(|(_, pin)| pin.digest).chain(callees.blobs));
        true
    }

    /// Whether there is nothing to know of it.
    pub(super) fn is_empty(&self) -> bool {
        self.definitions.is_empty() && !self.is_damaged
    }

    pub(super) fn keep(&self, keep: &mut Keep) {
        keep.definitions.extend(self.definitions.iter().chain(&self.callees).cloned());
        keep.blobs.extend(self.modules.iter().copied());
    }
}

impl Store {
    /// Writes what an open run needs from now on.
    pub(super) fn write_migrated(
        &self,
        write: &WriteTransaction,
        number: u64,
    ) -> Result<(), StoreError> {
        let row = self.open.get(&number).and_then(|state| state.migrated.as_deref());
        // A damaged one stays, or the next start would take what has come since for all there is.
        let Some(row) = row.filter(|row| !row.is_damaged) else { return Ok(()) };
        let mut table = write.open_table(MIGRATED.definition())?;
        MIGRATED.put(&mut table, &number.to_be_bytes(), &rows::pack(row))?;
        Ok(())
    }

    /// Reads what open runs need.
    pub(super) fn restore_migrated(
        &mut self,
        read: &ReadTransaction,
        restored: &mut Restored,
    ) -> Result<(), StoreError> {
        for entry in read.open_table(MIGRATED.definition())?.iter()? {
            let (key, value) = entry?;
            let number = tail_u64(key.value());
            let state = number.and_then(|number| self.open.get_mut(&number));
            let Some(state) = state else { continue };
            let row = MIGRATED.unseal(key.value(), value.value());
            match row.and_then(|row| rows::unpack(MIGRATED.0, row)) {
                Ok(row) => state.migrated = Some(Box::new(row)),
                Err(e) => {
                    restored.damaged.push(e.damage()?);
                    let row = MigratedRow { is_damaged: true, ..MigratedRow::default() };
                    state.migrated = Some(Box::new(row));
                }
            }
        }
        Ok(())
    }

    /// Whether it is known what all open runs need.
    pub(super) fn knows_needs(&self) -> bool {
        self.open.values().all(|open| open.migrated.as_ref().is_none_or(|row| !row.is_damaged))
    }
}

/// The definitions that a run has gone on with, in order.
pub(super) fn of_run(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    number: u64,
) -> Result<Vec<DefinitionHash>, StoreError> {
    let row = MIGRATED.fetch(table, &number.to_be_bytes())?;
    let row: Option<MigratedRow> = row.map(|row| rows::unpack(MIGRATED.0, &row)).transpose()?;
    Ok(row.map(|row| row.definitions).unwrap_or_default())
}

/// Removes what there is of a run.
pub(super) fn forget(table: &mut Open<'_>, number: u64) -> Result<(), StoreError> {
    table.remove(number.to_be_bytes().as_slice())?;
    Ok(())
}
