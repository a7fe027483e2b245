//! Runs taken back at a start, with the definitions they were accepted with.

use std::cell::RefCell;
use std::sync::Arc;

use openclaw_agent_core::{Engine, FactRecord, RestoreError};
use openclaw_protocol::definition::{self, DefinitionHash, Workflow};
use openclaw_protocol::id::RunId;
use openclaw_protocol::ordered::VecMap;

use crate::store::{OpenRun, Past, Store, StoreError};

/// Stored definitions, each read once for all runs of a start.
pub(super) struct Definitions<'s> {
    store: &'s Store,
    known: RefCell<VecMap<DefinitionHash, Result<Arc<Workflow>, String>>>,
    /// Runs of which the snapshot could not be used, but all facts.
    folded: RefCell<Vec<RunId>>,
}

impl<'s> Definitions<'s> {
    pub(super) fn new(store: &'s Store) -> Self {
        Self { store, known: RefCell::default(), folded: RefCell::default() }
    }

    /// The runs of which the snapshots are of no use.
    pub(super) fn into_folded(self) -> Vec<RunId> {
        self.folded.into_inner()
    }

    /// A definition, or why it cannot be had.
    fn get(&self, hash: &DefinitionHash) -> Result<Result<Arc<Workflow>, String>, StoreError> {
        if let Some(known) = self.known.borrow().get(hash) {
            return Ok(known.clone());
        }
        let text = match self.store.definition(hash) {
            Ok(Some(text)) => Ok(text),
            Ok(None) => Err("its definition is gone".to_owned()),
            // A disk that fails now may answer at the next start: nothing is ended for that.
            Err(e) => Err(e.damage()?),
        };
        let parse = |text: String| definition::parse(&text).map(Arc::new);
        let workflow = text.and_then(|text| parse(text).map_err(|e| e.to_string()));
        self.known.borrow_mut().insert(hash.clone(), workflow.clone());
        Ok(workflow)
    }
}

/// Takes a run back, or says why it cannot go on.
pub(super) fn restore_run(
    engine: &mut Engine,
    definitions: &Definitions<'_>,
    open: &OpenRun,
) -> Result<Result<(), String>, StoreError> {
    let workflow = match definitions.get(&open.definition)? {
        Ok(workflow) => workflow,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut failed = None;
    let failing = RefCell::new(&mut failed);
    // One that it may call and that cannot be had is taken as it is in force when it is called.
    let definition_of = |hash: &DefinitionHash| match definitions.get(hash) {
        Ok(workflow) => workflow.ok(),
        Err(e) => {
            **failing.borrow_mut() = Some(e);
            None
        }
    };
    let snapshot = open.snapshot.as_deref();
    let (run, facts) = (open.run.clone(), &open.facts);
    let mut restored =
        engine.restore_run_at(run, Arc::clone(&workflow), snapshot, facts, &definition_of);
    if let Err(e @ RestoreError::Snapshot { .. }) = &restored {
        // All its facts do as well, where they are still there.
        tracing::warn!("{e}; its facts are folded instead");
        if let Some(facts) = whole(definitions.store, open)? {
            definitions.folded.borrow_mut().push(open.run.clone());
            let run = open.run.clone();
            restored = engine.restore_run_at(run, workflow, None, &facts, &definition_of);
        }
    }
    match failed {
        None => Ok(restored.map_err(|e| e.to_string())),
        Some(e) => Err(e),
    }
}

/// All facts of a run whose snapshot cannot be read, unless some are gone or damaged.
fn whole(store: &Store, open: &OpenRun) -> Result<Option<Vec<FactRecord>>, StoreError> {
    match store.facts_of(&open.run) {
        Ok(Past { facts, snapshot: None, .. }) => Ok(Some(facts)),
        Ok(Past { snapshot: Some(_), .. }) => Ok(None),
        Err(e) => e.damage().map(|_| None),
    }
}
