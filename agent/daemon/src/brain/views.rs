//! Runs as people see them: the fold of what is told, in memory while a run is open.

use std::collections::{BTreeMap, BTreeSet};

use openclaw_protocol::id::RunId;
use openclaw_protocol::run::{Run, RunEventRecord, RunResult};
use openclaw_protocol::sync::Lane;
use openclaw_protocol::wire::{self, Kind};

use crate::limits;
use crate::store::{OpenRun, Store, StoreError};

/// Bytes read from the outbox at once while the views of open runs are folded again.
const READ_BYTES: usize = 256 * 1024;

/// Views of open runs, by number.
#[derive(Debug, Default)]
pub(super) struct Views {
    open: BTreeMap<u64, Run>,
}

impl Views {
    /// Folds again what was told of runs that are open. It is still in the outbox, unless a run
    /// is older than the retention; then its view begins where the outbox does.
    pub(super) fn restore(store: &Store, runs: &[OpenRun]) -> Result<Self, StoreError> {
        let mut views = Self::default();
        let open: BTreeSet<&RunId> = runs.iter().map(|open| &open.run).collect();
        let mut first = 0;
        while !open.is_empty() {
            let records = store.load(Lane::History, first, u64::MAX, READ_BYTES)?;
            let Some(last) = records.last() else { break };
            first = last.seq + 1;
            for record in &records {
                let event =
                    wire::unpack::<RunEventRecord>(Kind::RunEvent, &record.body, usize::MAX);
                if let Some(event) = event.ok().filter(|event| open.contains(&event.run)) {
                    views.apply(&event);
                }
            }
        }
        Ok(views)
    }

    pub(super) fn apply(&mut self, event: &RunEventRecord) {
        let Some(number) = event.run.number() else { return };
        self.open.entry(number).or_insert_with(|| Run::new(event.run.clone())).apply(event);
    }

    /// The run is settled: its last view, as JSON for the store.
    pub(super) fn settle(&mut self, result: &RunResult) -> Option<String> {
        let mut view = self.open.remove(&result.run.number()?)?;
        let text = serde_json::to_string(&view).ok()?;
        if text.len() <= limits::RECENT_BYTES {
            return Some(text);
        }
        // Too large to keep whole: who ran what and how it ended is worth more than the values.
        for step in &mut view.steps {
            step.output = None;
        }
        let text = serde_json::to_string(&view).ok()?;
        if text.len() <= limits::RECENT_BYTES {
            return Some(text);
        }
        view.steps.clear();
        view.outputs = None;
        view.inputs = serde_json::Value::Null;
        serde_json::to_string(&view).ok()
    }

    pub(super) fn open(&self, run: &RunId) -> Option<&Run> {
        self.open.get(&run.number()?).filter(|view| view.id == *run)
    }

    /// Open runs, newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &Run> {
        self.open.values().rev()
    }
}
