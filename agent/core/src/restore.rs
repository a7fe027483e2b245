//! After a restart: the past folded again, fact by fact.

use std::sync::Arc;

use openclaw_protocol::definition::{DefinitionHash, Workflow};
use openclaw_protocol::desired::PluginPin;
use openclaw_protocol::id::{Epoch, RequestId, RunId};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::report::Refusal;
use openclaw_protocol::time::Stamp;

use crate::effect::TriggerMark;
use crate::engine::Engine;
use crate::fact::{Callee, Fact, FactRecord};
use crate::migrate::Onward;
use crate::plan::Pins;
use crate::run::{Head, Pinned, Run};
use crate::snapshot::SnapshotError;

/// How many of the runs before are looked at for the same pins.
const SHARED: usize = 16;

/// Why a run's journal cannot be folded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The journal does not begin with the run's acceptance.
    #[error("the journal of run {0} does not begin with its acceptance")]
    NoBeginning(RunId),
    /// The run was accepted with another definition.
    #[error("run {run} is pinned to definition {pinned}, but {offered} was given")]
    Definition {
        /// Which run.
        run: RunId,
        /// The definition it needs.
        pinned: String,
        /// The one that was given.
        offered: String,
    },
    /// The snapshot that stands for facts before cannot be read.
    #[error("run {run}: {reason}")]
    Snapshot {
        /// Which run.
        run: RunId,
        /// What is wrong with it.
        reason: SnapshotError,
    },
    /// It has gone on with another definition since.
    #[error(
        "run {run} has gone on with definition {definition}, which is not here or does not fit"
    )]
    Onward {
        /// Which run.
        run: RunId,
        /// The definition that it needs.
        definition: String,
    },
    /// The id has no number, or the number of another run.
    #[error("run {0} is not one of this device's runs")]
    Foreign(RunId),
}

impl Engine {
    /// Takes back how far the triggers have fired.
    pub fn restore_marks(&mut self, marks: impl IntoIterator<Item = TriggerMark>) {
        self.set_marks(marks);
    }

    /// Takes back what became of operators' wishes, oldest first.
    pub fn restore_wishes(
        &mut self,
        wishes: impl IntoIterator<Item = (RequestId, Result<RunId, Refusal>)>,
    ) {
        for (request, outcome) in wishes {
            self.remember_request(request, outcome);
        }
    }

    /// Takes back a run by folding its facts. A settled one is passed over. Nothing is told or
    /// done before [`crate::Input::Restarted`]. `definition_of` gives the definitions of workflows
    /// that it may call; one that is not there is taken as it is in force when it is called.
    ///
    /// # Errors
    /// The facts do not belong to the run or the definition.
    pub fn restore_run(
        &mut self,
        run: RunId,
        definition: Arc<Workflow>,
        facts: &[FactRecord],
        definition_of: impl Fn(&DefinitionHash) -> Option<Arc<Workflow>>,
    ) -> Result<(), RestoreError> {
        self.restore_run_at(run, definition, None, facts, &definition_of)
    }

    /// As [`Self::restore_run`], where a snapshot stands for the facts between the first one and the
    /// others.
    ///
    /// # Errors
    /// The facts do not belong to the run or the definition, or the snapshot cannot be read; then
    /// nothing was taken, and all facts may be tried instead.
    pub fn restore_run_at(
        &mut self,
        run: RunId,
        definition: Arc<Workflow>,
        snapshot: Option<&[u8]>,
        facts: &[FactRecord],
        definition_of: &dyn Fn(&DefinitionHash) -> Option<Arc<Workflow>>,
    ) -> Result<(), RestoreError> {
        let Some(
            first @ FactRecord {
                fact: Fact::Accepted { definition: pinned, pins, callees, .. },
                ..
            },
        ) = facts.first()
        else {
            return Err(RestoreError::NoBeginning(run));
        };
        if *pinned != definition.hash {
            return Err(RestoreError::Definition {
                run,
                pinned: pinned.0.clone(),
                offered: definition.hash.0.clone(),
            });
        }
        // Its epoch may be a former one: runs of before a fork keep their ids.
        let number = run.number().filter(|number| !self.runs.contains_key(number));
        let Some(number) = number else { return Err(RestoreError::Foreign(run)) };
        self.next_run = self.next_run.max(number.saturating_add(1));
        let plan = self.plan_of(&definition);
        let pins = self.shared_pins(pins);
        let callees = self.callees_at(callees, definition_of);
        let (seed, with) = (self.config.seed, (pins, callees));
        let Some(head) = Head::read(run.clone(), seed, first, with, &mut self.alike) else {
            return Err(RestoreError::NoBeginning(run));
        };
        let request = head.request.clone();
        let mut folded = match snapshot {
            None => Run::new(head, plan).0,
            Some(bytes) => {
                let mut onward_of = |fact: &Fact| self.onward_of(fact, definition_of);
                Run::from_snapshot(head, plan, bytes, &mut onward_of)
                    .map_err(|reason| RestoreError::Snapshot { run: run.clone(), reason })?
            }
        };
        if snapshot.is_some() && facts.get(1).is_some_and(|next| next.check != folded.check()) {
            return Err(RestoreError::Snapshot { run, reason: SnapshotError::Damaged });
        }
        for record in &facts[1..] {
            let Fact::Migrated { definition, .. } = &record.fact else {
                folded.apply(record);
                continue;
            };
            let onward = self.onward_of(&record.fact, definition_of);
            if onward.and_then(|onward| folded.migrate(record, onward)).is_none() {
                let definition = definition.0.clone();
                return Err(RestoreError::Onward { run, definition });
            }
        }
        if let Some(request) = request {
            self.remember_request(request, Ok(run));
        }
        if folded.is_settled() {
            return Ok(());
        }
        if folded.is_unfinished() {
            self.unfinished.insert(number);
        }
        self.hold(number, folded);
        Ok(())
    }

    /// What a run goes on with, as a fact says.
    fn onward_of(
        &mut self,
        fact: &Fact,
        definition_of: &dyn Fn(&DefinitionHash) -> Option<Arc<Workflow>>,
    ) -> Option<Onward> {
        let Fact::Migrated { definition, pins, callees, .. } = fact else { return None };
        let plan = self.plan_of(&definition_of(definition)?);
        let pins = self.shared_pins(pins);
        let callees = self.callees_at(callees, definition_of);
        Some(Onward { plan, pins, callees })
    }

    fn callees_at(
        &mut self,
        callees: &[Callee],
        definition_of: &dyn Fn(&DefinitionHash) -> Option<Arc<Workflow>>,
    ) -> Vec<Pinned> {
        let callees = callees.iter().filter_map(|callee| {
            let plan = self.plan_of(&definition_of(&callee.definition)?);
            let pins = self.shared_pins(&callee.pins);
            Some(Pinned { workflow: callee.workflow.clone(), plan, pins })
        });
        callees.collect()
    }

    /// The number the next run gets, where the journal of the last one is gone already. A smaller
    /// one than that of a restored run is raised.
    pub fn set_next_run_number(&mut self, next: u64) {
        self.next_run = self.next_run.max(next);
    }

    /// The database has forked: runs are named under another epoch from now on. The numbers go
    /// on, and runs that there are keep their names.
    pub fn set_epoch(&mut self, epoch: Epoch) {
        self.config.epoch = epoch;
    }

    /// What expressions see as `agent`: its id and labels, a JSON object. Set before workflows are
    /// deployed: the `jitter` of triggers is drawn from the id. Runs keep what was there
    /// when they were accepted.
    pub fn set_agent(&mut self, agent: JsonText) {
        self.agent = agent;
    }

    /// When the agent was last known to be alive, from any record of before the interruption. It
    /// shortens what is left of a wait after a reboot; without it, each run's own last fact does.
    pub fn set_last_alive(&mut self, alive: Stamp) {
        self.last_alive = Some(alive);
    }

    /// Runs share their pins: thousands of them have the same few.
    fn shared_pins(&self, pins: &[(String, PluginPin)]) -> Pins {
        let same = |known: &Pins| {
            known.len() == pins.len()
                && known.iter().zip(pins).all(|(known, pin)| known.0 == pin.0 && *known.1 == pin.1)
        };
        let recent = self.runs.values().rev().take(SHARED).map(|held| &held.run.head.pins);
        if let Some(known) = recent.into_iter().find(|known| same(known)) {
            return Arc::clone(known);
        }
        Arc::new(pins.iter().map(|(name, pin)| (name.clone(), Arc::new(pin.clone()))).collect())
    }
}
