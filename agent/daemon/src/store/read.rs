//! What the store is asked: records, definitions, views, desired state, parts of blobs.

use openclaw_agent_core::Fact;
use openclaw_protocol::definition::DefinitionHash;
use openclaw_protocol::desired::SignedDesired;
use openclaw_protocol::id::{Digest, RunId};
use openclaw_protocol::ordered::{VecMap, VecSet};
use openclaw_protocol::sync::{Lane, Record};
use openclaw_protocol::wire::{self, Kind};
use redb::{ReadableTable, WriteTransaction};

use super::journal::unpack_facts;
use super::rows::{self, UnusableRow};
use super::snapshots::Past;
use super::space::{
    CHUNKS, DEFINITIONS, JOURNAL, MIGRATED, OUTBOX, RECENT, SETTLED, SNAPSHOTS, WANTED, chunk_key,
    fact_key_parts, facts_from, tail_u64,
};
use super::{KEPT_BYTES, Store, StoreError, migrated, outbox};
use crate::limits;
use crate::local::ResultRow;

pub(super) fn unpack_signed(bytes: &[u8]) -> Result<SignedDesired, StoreError> {
    wire::unpack(Kind::SignedDesired, bytes, KEPT_BYTES)
        .map_err(|e| StoreError::of_wire(WANTED.0, &e))
}

impl Store {
    /// Reads records `first..before` of a lane, at most so many bytes (but at least one record).
    ///
    /// # Errors
    /// The database fails or a record is damaged.
    pub fn load(
        &self,
        lane: Lane,
        first: u64,
        before: u64,
        bytes: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let read = self.db.begin_read()?;
        outbox::load(&read.open_table(OUTBOX.definition())?, lane, first, before, bytes)
    }

    /// The running digest at a record, where it is still kept.
    ///
    /// # Errors
    /// The database fails or the record is damaged.
    pub fn digest_at(&self, lane: Lane, seq: u64) -> Result<Option<u64>, StoreError> {
        let read = self.db.begin_read()?;
        let record = outbox::read(&read.open_table(OUTBOX.definition())?, lane, seq)?;
        Ok(record.map(|r| r.digest))
    }

    /// A definition's canonical text.
    ///
    /// # Errors
    /// The database fails or the text is damaged.
    pub fn definition(&self, hash: &DefinitionHash) -> Result<Option<String>, StoreError> {
        let read = self.db.begin_read()?;
        let table = read.open_table(DEFINITIONS.definition())?;
        let text = DEFINITIONS.fetch(&table, hash.0.as_bytes())?;
        Ok(text.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// The newest `limit` settled runs' views as they were given, newest first.
    ///
    /// # Errors
    /// The database fails. Damaged views are left out.
    pub fn recent(&self, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let read = self.db.begin_read()?;
        let table = read.open_table(RECENT.definition())?;
        let mut views = Vec::new();
        for entry in table.iter()?.rev().take(limit) {
            let (key, value) = entry?;
            let view = RECENT.unseal(key.value(), value.value()).ok();
            views.extend(view.map(<[u8]>::to_vec));
        }
        Ok(views)
    }

    /// One settled run's view as it was given.
    ///
    /// # Errors
    /// The database fails or the view is damaged.
    pub fn recent_run(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.db.begin_read()?;
        let table = read.open_table(RECENT.definition())?;
        RECENT.fetch(&table, &number.to_be_bytes())
    }

    /// Settled runs whose journal is still kept, newest first.
    ///
    /// # Errors
    /// The database fails. Damaged rows are left out.
    pub fn settled(&self, limit: usize) -> Result<Vec<ResultRow>, StoreError> {
        let read = self.db.begin_read()?;
        let mut found = Vec::new();
        for entry in read.open_table(SETTLED.definition())?.iter()?.rev().take(limit) {
            let (key, value) = entry?;
            let row = SETTLED.unseal(key.value(), value.value());
            let row = row.and_then(rows::unpack_settled).ok();
            found.extend(row.map(|row| ResultRow {
                run: row.run.to_string(),
                settled_wall_ms: row.settled_wall_ms,
            }));
        }
        Ok(found)
    }

    /// What is kept of the facts of a run, settled or not; nothing where its journal is not kept.
    ///
    /// # Errors
    /// The database fails, or a fact or what stands for dropped ones is damaged.
    pub fn facts_of(&self, run: &RunId) -> Result<Past, StoreError> {
        let Some(number) = run.number() else { return Ok(Past::default()) };
        let read = self.db.begin_read()?;
        let settled = read.open_table(SETTLED.definition())?;
        let row = SETTLED.fetch(&settled, &number.to_be_bytes())?;
        let is_settled = row.is_some();
        let known = match row {
            Some(row) => {
                let row = rows::unpack_settled(&row)?;
                Some((row.run, row.first))
            }
            None => self.open.get(&number).map(|open| (open.run.clone(), open.first)),
        };
        let mut facts = Vec::new();
        let Some((_, first)) = known.filter(|(known, _)| known == run) else {
            return Ok(Past::default());
        };
        // The journal may hold megabytes of other runs: what is before and after this one is not
        // read.
        let journal = read.open_table(JOURNAL.definition())?;
        for entry in facts_from(&journal, first)? {
            let (key, value) = entry?;
            if fact_key_parts(key.value()).is_none_or(|(_, of)| of != number) {
                continue;
            }
            let (index, read) = unpack_facts(key.value(), value.value())?;
            facts.extend((index..).zip(read));
            if facts.last().is_some_and(|(_, one)| matches!(one.fact, Fact::Settled { .. })) {
                break;
            }
        }
        // Where all but the first have been dropped, what is left has no gap.
        let known = self.open.get(&number).map(|open| open.facts as usize);
        let mut is_whole = known.is_none_or(|known| known == facts.len())
            && (0..).zip(&facts).all(|(place, (index, _)): (u32, _)| place == *index);
        let mut past = Past::default();
        if !is_whole {
            past.snapshot = Self::snapshot_of(&read, number)?;
            let Some((covered, _)) = past.snapshot else {
                let reason = format!("what stands for dropped facts of run {run} is gone");
                return Err(StoreError::Unreadable { table: SNAPSHOTS.0, reason });
            };
            facts.retain(|(index, _)| *index == 0 || *index >= covered);
            let after = facts.iter().skip(1).map(|(index, _)| *index);
            is_whole = facts.first().is_some_and(|(index, _)| *index == 0)
                && (covered..).zip(after).all(|(place, index)| place == index);
        }
        let ends = facts.last().is_some_and(|(_, one)| matches!(one.fact, Fact::Settled { .. }));
        if !is_whole || (is_settled && !ends) {
            let reason = format!("facts of run {run} are missing");
            return Err(StoreError::Unreadable { table: JOURNAL.0, reason });
        }
        past.migrated = migrated::of_run(&read.open_table(MIGRATED.definition())?, number)?;
        past.facts = facts.into_iter().map(|(_, fact)| fact).collect();
        Ok(past)
    }

    /// Bytes of the facts of a run as they are kept; 0 where its journal is not.
    ///
    /// # Errors
    /// The database fails or the run's row is damaged.
    pub fn fact_bytes(&self, run: &RunId) -> Result<u64, StoreError> {
        let Some(number) = run.number() else { return Ok(0) };
        let settled = self.db.begin_read()?.open_table(SETTLED.definition())?;
        let key = number.to_be_bytes();
        match SETTLED.fetch(&settled, &key)? {
            Some(row) => Ok(rows::unpack_settled(&row)?.bytes),
            None => Ok(self.open.get(&number).map_or(0, |open| open.bytes)),
        }
    }

    /// The definitions of the runs that settled last, as many as are kept for a replay.
    pub(super) fn recent_definitions(
        &self,
        write: &WriteTransaction,
    ) -> Result<VecSet<DefinitionHash>, StoreError> {
        let mut kept = VecSet::new();
        let migrated = write.open_table(MIGRATED.definition())?;
        for entry in write.open_table(SETTLED.definition())?.iter()?.rev() {
            let (key, value) = entry?;
            let row = SETTLED.unseal(key.value(), value.value());
            let row = row.and_then(rows::unpack_settled);
            kept.extend(row.ok().map(|row| row.definition));
            if let Some(number) = tail_u64(key.value()) {
                // What is damaged is of no use for a replay either.
                let more = migrated::of_run(&migrated, number);
                kept.extend(more.or_else(|e| e.damage().map(|_| Vec::new()))?);
            }
            if kept.len() >= limits::SETTLED_DEFINITIONS {
                break;
            }
        }
        Ok(kept)
    }

    /// The signed desired state in force, and the one that is being fetched for. A damaged one is
    /// as good as none: the control plane sends it again.
    ///
    /// # Errors
    /// The database fails, or another version wrote them.
    pub fn desired(&self) -> Result<(Option<SignedDesired>, Option<SignedDesired>), StoreError> {
        let read = self.db.begin_read()?;
        let wanted = read.open_table(WANTED.definition())?;
        let fetch = |key: &[u8]| -> Result<Option<SignedDesired>, StoreError> {
            let row = WANTED.fetch(&wanted, key);
            let signed = row.and_then(|row| row.map(|row| unpack_signed(&row)).transpose());
            signed.or_else(|e| e.damage().map(|_| None))
        };
        Ok((fetch(b"desired")?, fetch(b"pending")?))
    }

    /// Modules of the desired state in force that this device cannot run, and why; and whether
    /// this very version of the agent has tried them.
    ///
    /// # Errors
    /// The database fails or the row is damaged.
    pub fn unusable(&self) -> Result<(VecMap<Digest, String>, bool), StoreError> {
        let read = self.db.begin_read()?;
        let wanted = read.open_table(WANTED.definition())?;
        let row = WANTED.fetch(&wanted, b"unusable")?;
        let Some(row) = row else { return Ok((VecMap::new(), true)) };
        let row: UnusableRow = rows::unpack(WANTED.0, &row)?;
        Ok((row.modules, row.agent == env!("CARGO_PKG_VERSION")))
    }

    /// How many bytes of a blob that is not whole have come, without gaps from its beginning.
    ///
    /// # Errors
    /// The database fails.
    pub fn chunks_length(&self, digest: Digest) -> Result<u32, StoreError> {
        Ok(self.chunks(digest)?.len().try_into().unwrap_or(u32::MAX))
    }

    /// The bytes of a blob that have come so far, without gaps from its beginning.
    ///
    /// # Errors
    /// The database fails.
    pub fn chunks(&self, digest: Digest) -> Result<Vec<u8>, StoreError> {
        let read = self.db.begin_read()?;
        let table = read.open_table(CHUNKS.definition())?;
        let (from, to) = (chunk_key(digest.0, 0), chunk_key(digest.0, u32::MAX));
        let mut whole = Vec::new();
        for entry in table.range(from.as_slice()..to.as_slice())? {
            let (key, value) = entry?;
            let offset = key.value().last_chunk::<4>().map(|b| u32::from_be_bytes(*b));
            let body = CHUNKS.unseal(key.value(), value.value());
            match (offset, body) {
                (Some(offset), Ok(body)) if offset as usize == whole.len() => {
                    whole.extend_from_slice(body);
                }
                // What is damaged or out of place is asked for again.
                _ => break,
            }
        }
        Ok(whole)
    }
}
