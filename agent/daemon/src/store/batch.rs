//! What one transaction writes.

use openclaw_agent_core::limits::REQUESTS;
use openclaw_agent_core::{FactRecord, FileChange, HoldChange, Publication, SeenKey, TriggerMark};
use openclaw_points::{Point, reach};
use openclaw_protocol::definition::DefinitionHash;
use openclaw_protocol::desired::SignedDesired;
use openclaw_protocol::id::{Digest, RequestId, RunId, TriggerId, WorkflowName};
use openclaw_protocol::ordered::{VecMap, VecSet};
use openclaw_protocol::report::Refusal;
use openclaw_protocol::sync::{Cursor, Lane};
use openclaw_protocol::wire::{self, Kind};
use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::kv::{self, KeepKv, KvRow};
use super::rows::{self, PeerRow, UnusableRow, WishRow};
use super::snapshots::StateOf;
use super::space::{
    BLOBS, CHUNKS, DEFINITIONS, MARKS, META, OUTBOX, RECENT, WISHES, chunk_key, tail_u64,
};
use super::tapes::{KeptTape, ToRecord};
use super::{Store, StoreError, files, holds, lane_meta, waiting};
use crate::limits;

/// Everything that happened since the last commit. Empty ones cost nothing.
#[derive(Debug, Default)]
pub struct Batch {
    /// Facts, in order, each with its run.
    pub facts: Vec<(RunId, FactRecord)>,
    /// What plugins were told from outside, each with its run.
    pub tapes: Vec<(RunId, KeptTape)>,
    /// Runs of which that is kept of every call.
    pub recorded: Vec<RunId>,
    /// How many more runs that shall be, by workflow, where it changed.
    pub to_record: Option<ToRecord>,
    /// Trigger positions that changed.
    pub marks: Vec<TriggerMark>,
    /// Firings of triggers that must not start anything again.
    pub seen: Vec<SeenKey>,
    /// How long conditions of triggers have held, where that changed.
    pub holds: Vec<HoldChange>,
    /// What is known of files that triggers are about, where that changed.
    pub files: Vec<FileChange>,
    /// Firings of triggers of all other workflows are forgotten.
    pub keep_seen: Option<VecSet<WorkflowName>>,
    /// What plugins want remembered or forgotten.
    pub kv: Vec<KvRow>,
    /// What all others remember is forgotten.
    pub keep_kv: Option<KeepKv>,
    /// Messages for the site's broker, each with its number.
    pub publications: Vec<(u64, Publication)>,
    /// Numbers of messages that are sent, or not to be sent any more. They go after the new ones
    /// are written.
    pub published: Vec<u64>,
    /// Operators' wishes that were answered, and the answer.
    pub wishes: Vec<(RequestId, Result<RunId, Refusal>)>,
    /// What is told: packed bodies, numbered here in this order.
    pub records: Vec<(Lane, Vec<u8>)>,
    /// Views of settled runs, as the brain wants to have them back.
    pub views: Vec<(RunId, Vec<u8>)>,
    /// What is committed of the control plane's lanes, under which log.
    pub cursor: Option<(u64, Cursor)>,
    /// Definitions to keep: hash and canonical text.
    pub definitions: Vec<(DefinitionHash, String)>,
    /// Whole blobs.
    pub blobs: Vec<(Digest, Vec<u8>)>,
    /// Blobs that are damaged and go, before the whole ones are written.
    pub blobs_gone: Vec<Digest>,
    /// Parts of blobs.
    pub chunks: Vec<Chunk>,
    /// Blobs whose parts are no longer wanted.
    pub chunks_done: Vec<Digest>,
    /// The desired state in force.
    pub desired: Option<SignedDesired>,
    /// Modules of the desired state in force that this device cannot run, and why.
    pub unusable: Option<VecMap<Digest, String>>,
    /// The desired state that is being fetched for; `Some(None)` removes it.
    pub pending: Option<Option<SignedDesired>>,
    /// Everything else of these kinds goes, but for what unsettled runs are pinned to.
    pub keep: Option<Keep>,
    /// Parts of all other blobs go.
    pub keep_chunks: Option<VecSet<Digest>>,
    /// Highest trusted wall time, milliseconds since 1970 UTC.
    pub high_water_wall_ms: Option<i64>,
    /// The agent stops cleanly.
    pub clean: bool,
}

/// A part of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Of which blob.
    pub digest: Digest,
    /// Where it begins, in bytes.
    pub offset: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What is still referred to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keep {
    /// Definitions.
    pub definitions: VecSet<DefinitionHash>,
    /// Blobs.
    pub blobs: VecSet<Digest>,
}

impl Batch {
    /// Rows that it holds, roughly: the bound on what may wait in memory.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.facts.len()
            + self.marks.len()
            + self.seen.len()
            + self.holds.len()
            + self.files.len()
            + self.kv.len()
            + self.publications.len()
            + self.published.len()
            + self.wishes.len()
            + self.records.len()
            + self.views.len()
    }

    /// Bytes of blob parts that it holds.
    #[must_use]
    pub fn chunk_bytes(&self) -> usize {
        self.chunks.iter().map(|c| c.bytes.len()).sum()
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
            && self.cursor.is_none()
            && self.definitions.is_empty()
            && self.blobs.is_empty()
            && self.blobs_gone.is_empty()
            && self.chunks.is_empty()
            && self.chunks_done.is_empty()
            && self.desired.is_none()
            && self.unusable.is_none()
            && self.pending.is_none()
            && self.keep.is_none()
            && self.keep_chunks.is_none()
            && self.keep_seen.is_none()
            && self.keep_kv.is_none()
            && self.to_record.is_none()
            && !self.clean
    }
}

/// A trigger's position, as kept.
#[derive(Debug, Serialize, Deserialize)]
struct MarkRow {
    workflow: WorkflowName,
    trigger: TriggerId,
    at: i64,
    boot: u32,
}

pub(super) fn unpack_mark(bytes: &[u8]) -> Result<TriggerMark, StoreError> {
    let row: MarkRow = rows::unpack(MARKS.0, bytes)?;
    Ok(TriggerMark { workflow: row.workflow, trigger: row.trigger, at: row.at, boot: row.boot })
}

impl Store {
    pub(super) fn write_batch(
        &mut self,
        write: &WriteTransaction,
        batch: &Batch,
        state_of: &mut StateOf<'_>,
    ) -> Result<(), StoreError> {
        self.write_tapes(write, batch)?;
        let wanting = self.write_facts(write, batch)?;
        self.write_snapshots(write, &wanting, state_of)?;
        self.write_records(write, batch)?;
        self.write_meta(write, batch)?;
        write_blobs(write, batch)?;
        write_wishes(write, batch)?;
        waiting::write_seen(write, batch)?;
        holds::write(write, batch)?;
        files::write(write, batch)?;
        kv::write(write, batch)?;
        waiting::write_publications(write, batch)?;
        if !batch.marks.is_empty() {
            let mut table = write.open_table(MARKS.definition())?;
            for mark in &batch.marks {
                let key = format!("{}/{}", mark.workflow, mark.trigger);
                let row = MarkRow {
                    workflow: mark.workflow.clone(),
                    trigger: mark.trigger.clone(),
                    at: mark.at,
                    boot: mark.boot,
                };
                MARKS.put(&mut table, key.as_bytes(), &rows::pack(&row))?;
            }
        }
        if let Some(keep) = &batch.keep {
            self.sweep(write, keep)?;
        }
        self.forget_settled(write, batch.facts.len())
    }

    fn write_records(&mut self, write: &WriteTransaction, batch: &Batch) -> Result<(), StoreError> {
        let mut outbox = write.open_table(OUTBOX.definition())?;
        for (lane, body) in &batch.records {
            if let Some(head) = self.heads.get_mut(lane) {
                head.append(&mut outbox, body)?;
            }
        }
        let mut meta = write.open_table(META.definition())?;
        for head in self.heads.values_mut() {
            if head.dirty {
                head.prune(&mut outbox, self.retention, self.age.ms)?;
                META.put(&mut meta, lane_meta(head.lane).as_bytes(), &rows::pack(&head.row))?;
            }
        }
        if batch.views.is_empty() {
            return Ok(());
        }
        let mut recent = write.open_table(RECENT.definition())?;
        for (run, view) in &batch.views {
            let Some(number) = run.number() else { continue };
            RECENT.put(&mut recent, &number.to_be_bytes(), view)?;
        }
        while recent.len()? > limits::RECENT_RUNS as u64 {
            recent.pop_first()?;
        }
        Ok(())
    }

    fn write_meta(&mut self, write: &WriteTransaction, batch: &Batch) -> Result<(), StoreError> {
        let mut meta = write.open_table(META.definition())?;
        if let Some((log, cursor)) = &batch.cursor {
            if self.peer.log != *log {
                self.peer = PeerRow { log: *log, cursors: Vec::new() };
            }
            self.peer.cursors.retain(|c| c.lane != cursor.lane);
            self.peer.cursors.push(cursor.clone());
            META.put(&mut meta, b"peer", &rows::pack(&self.peer))?;
        }
        if let Some(desired) = &batch.desired {
            META.put(&mut meta, b"desired", &wire::pack(Kind::SignedDesired, desired))?;
        }
        if let Some(modules) = &batch.unusable {
            let agent = env!("CARGO_PKG_VERSION").to_owned();
            let row = UnusableRow { agent, modules: modules.clone() };
            META.put(&mut meta, b"unusable", &rows::pack(&row))?;
        }
        match &batch.pending {
            Some(Some(pending)) => {
                META.put(&mut meta, b"pending", &wire::pack(Kind::SignedDesired, pending))?;
            }
            Some(None) => {
                meta.remove(b"pending".as_slice())?;
            }
            None => {}
        }
        if let Some(high_water) = batch.high_water_wall_ms {
            META.put(&mut meta, b"high_water", &high_water.to_le_bytes())?;
            reach(Point::ClockNoted);
        }
        META.put(&mut meta, b"alive", &rows::pack(&self.age))?;
        META.put(&mut meta, b"serial", &(self.serial + 1).to_le_bytes())?;
        if batch.clean {
            META.put(&mut meta, b"clean", &[1])?;
        }
        Ok(())
    }

    /// Removes definitions and blobs that neither `keep` nor an unsettled run names, but for the
    /// definitions of the runs that settled last. Where it is not known what a run needs, all stay
    /// until it has settled.
    fn sweep(&self, write: &WriteTransaction, keep: &Keep) -> Result<(), StoreError> {
        if !self.knows_needs() {
            return Ok(());
        }
        let mut pinned = self.pinned();
        pinned.definitions.extend(self.recent_definitions(write)?);
        let mut definitions = write.open_table(DEFINITIONS.definition())?;
        definitions.retain(|key, _| {
            std::str::from_utf8(key).is_ok_and(|text| {
                let hash = DefinitionHash(text.to_owned());
                keep.definitions.contains(&hash) || pinned.definitions.contains(&hash)
            })
        })?;
        let mut blobs = write.open_table(BLOBS.definition())?;
        blobs.retain(|key, _| {
            <[u8; 32]>::try_from(key).is_ok_and(|bytes| {
                let digest = Digest(bytes);
                keep.blobs.contains(&digest) || pinned.blobs.contains(&digest)
            })
        })?;
        reach(Point::StoreSwept);
        Ok(())
    }
}

/// The oldest go as new ones come, a bounded number with each commit.
fn write_wishes(write: &WriteTransaction, batch: &Batch) -> Result<(), StoreError> {
    if batch.wishes.is_empty() {
        return Ok(());
    }
    let mut table = write.open_table(WISHES.definition())?;
    let last = table.last()?.and_then(|(key, _)| tail_u64(key.value()));
    let next = last.map_or(0, |last| last + 1);
    for (place, (request, outcome)) in (next..).zip(&batch.wishes) {
        let row = WishRow { request: request.clone(), outcome: outcome.clone() };
        WISHES.put(&mut table, &place.to_be_bytes(), &rows::pack(&row))?;
    }
    for _ in 0..batch.wishes.len() + limits::PRUNED_PER_COMMIT {
        if table.len()? <= REQUESTS as u64 {
            break;
        }
        table.pop_first()?;
    }
    Ok(())
}

fn write_blobs(write: &WriteTransaction, batch: &Batch) -> Result<(), StoreError> {
    if !batch.definitions.is_empty() {
        let mut table = write.open_table(DEFINITIONS.definition())?;
        for (hash, text) in &batch.definitions {
            DEFINITIONS.put(&mut table, hash.0.as_bytes(), text.as_bytes())?;
        }
    }
    if !batch.blobs.is_empty() || !batch.blobs_gone.is_empty() {
        let mut table = write.open_table(BLOBS.definition())?;
        for digest in &batch.blobs_gone {
            table.remove(digest.0.as_slice())?;
        }
        for (digest, bytes) in &batch.blobs {
            BLOBS.put(&mut table, &digest.0, bytes)?;
            reach(Point::BlobWritten);
        }
    }
    if !batch.chunks.is_empty() || !batch.chunks_done.is_empty() || batch.keep_chunks.is_some() {
        let mut table = write.open_table(CHUNKS.definition())?;
        for chunk in &batch.chunks {
            CHUNKS.put(&mut table, &chunk_key(chunk.digest.0, chunk.offset), &chunk.bytes)?;
            reach(Point::ChunksWritten);
        }
        for digest in &batch.chunks_done {
            let (from, to) = (chunk_key(digest.0, 0), chunk_key(digest.0, u32::MAX));
            table.retain_in(from.as_slice()..to.as_slice(), |_, _| false)?;
        }
        if let Some(keep) = &batch.keep_chunks {
            table.retain(|key, _| key.first_chunk().is_some_and(|d| keep.contains(&Digest(*d))))?;
        }
    }
    Ok(())
}
