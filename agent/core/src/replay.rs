//! Desk replay, level 1: a run's journal folded once more, away from the device.
//!
//! What came from outside is in the journal; everything else follows from it, the definition and
//! the seed. Each record holds a sum of what had been told before it, so the first fact after which
//! the desk and the device differ can be named.

use std::sync::Arc;

use openclaw_protocol::definition::{self, DefinitionHash, DraftError};
use openclaw_protocol::desired::PluginPin;
use openclaw_protocol::id::{Digest, RunId};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::{RunEvent, RunEventRecord, StepPath};
use serde::{Deserialize, Serialize};

use crate::alike::Alike;
use crate::fact::{AttemptOutcome, Fact, FactRecord};
use crate::migrate::Onward;
use crate::plan::{Pins, Plan};
use crate::run::{Head, Out, Run};
use crate::snapshot::SnapshotError;
use crate::step::UNDO;

/// The version of the format that this build writes and reads.
pub const RECORDING: u32 = 1;
/// The version of a recording that begins with a snapshot: builds that do not know of them refuse it.
pub const RECORDING_CUT: u32 = 2;
/// The version of a recording of a run that has gone on with another definition, with a snapshot or
/// without.
pub const RECORDING_MIGRATED: u32 = 3;

/// Everything that a replay needs of one run: what `openclaw run export` writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// [`RECORDING`], or [`RECORDING_CUT`] with a snapshot, or [`RECORDING_MIGRATED`].
    pub recording: u32,
    /// Version of the agent that ran it.
    pub agent: String,
    /// Version of the time zone rules it ran with.
    pub tzdb: String,
    /// Which run.
    pub run: RunId,
    /// What jitter and `rand(tag)` derive from.
    pub seed: u64,
    /// The definition in its canonical form.
    pub definition: String,
    /// Those that it has gone on with since, in theirs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub migrated: Vec<String>,
    /// What stands for the facts between the first one and the others, where the device has let go
    /// of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Beginning>,
    /// The journal, from the run's acceptance on.
    pub facts: Vec<FactRecord>,
    /// What plugins were told from outside, of the attempts of which that was kept: objects with
    /// `step` and `attempt`, and whatever the sandbox has written down. Only carried here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tapes: Vec<serde_json::Value>,
}

/// The state in which a recording begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beginning {
    /// How many facts led to it, the first included.
    pub facts: u32,
    /// The snapshot, in base64.
    pub state: String,
}

/// Why a recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Written by another version.
    #[error(
        "the recording is of format {found}; this build reads format {RECORDING}, {RECORDING_CUT} \
         with a snapshot, and {RECORDING_MIGRATED} with several definitions"
    )]
    Format {
        /// What it says.
        found: u32,
    },
    /// The definition does not read.
    #[error("the recording's definition cannot be read: {0}")]
    Definition(#[from] DraftError),
    /// The definition is not the one that the run was accepted with.
    #[error("the run was accepted with definition {pinned}, but the recording holds {found}")]
    Other {
        /// What the journal says.
        pinned: DefinitionHash,
        /// What the recording holds.
        found: DefinitionHash,
    },
    /// The run goes on with a definition that is not there, or cannot.
    #[error(
        "the run has gone on with definition {0}, which the recording does not hold, or which does \
         not fit what was before"
    )]
    Onward(DefinitionHash),
    /// The journal does not begin with the run's acceptance.
    #[error("the recording's journal does not begin with the run's acceptance")]
    NoBeginning,
    /// The snapshot cannot be read.
    #[error("the recording begins with a snapshot, and {0}")]
    Snapshot(#[from] SnapshotError),
}

/// What a replay came to.
#[derive(Debug)]
pub struct Replay {
    /// What the run told, each with the place of the fact in the journal that made it so.
    pub events: Vec<(usize, RunEventRecord)>,
    /// The plugin calls that were made, in the order in which they were begun.
    pub calls: Vec<ReplayedCall>,
    /// What steps gave that only the world outside could, and that has not been undone: what a
    /// re-drive from the failed step starts with (see [`crate::Again`]). Without those of before a
    /// snapshot.
    pub results: Vec<(StepPath, JsonText)>,
    /// Where it is not what the device did.
    pub divergence: Option<Divergence>,
    /// Whether the run has ended in it.
    pub is_settled: bool,
}

/// A plugin call as the device made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplayedCall {
    /// Step instance.
    pub step: StepPath,
    /// From 1.
    pub attempt: u32,
    /// `name.action`.
    pub plugin: String,
    /// The version that was pinned.
    pub version: String,
    /// Digest of its module.
    pub digest: Digest,
    /// Its input.
    pub input: JsonText,
    /// What the receiver knows it by.
    pub idempotency_key: String,
    /// The place of the fact that began it.
    pub begun: usize,
    /// How it ended, and the place of the fact that says so.
    pub ended: Option<(usize, AttemptOutcome)>,
    /// What else the worker was given, to make the call again.
    #[serde(skip)]
    pub given: Given,
}

/// What a worker was given of a call, beside what [`ReplayedCall`] says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The plugin, with what it was granted and its limits.
    pub pin: Arc<PluginPin>,
    /// The module's export.
    pub export: String,
    /// The run's plugin variables before the call.
    pub vars: Option<Vec<u8>>,
    /// The attempt was under way when the agent was interrupted.
    pub interrupted: bool,
}

/// The first fact before which desk and device differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Divergence {
    /// Place of the fact in the journal.
    pub fact: usize,
    /// The device's sum.
    pub recorded: u32,
    /// The desk's sum.
    pub replayed: u32,
}

impl Recording {
    /// The version of the format that tells all of it.
    #[must_use]
    pub fn format(&self) -> u32 {
        match (&self.snapshot, self.migrated.is_empty()) {
            (_, false) => RECORDING_MIGRATED,
            (Some(_), true) => RECORDING_CUT,
            (None, true) => RECORDING,
        }
    }

    /// Folds the journal. Where it comes to differ from the record, it goes on all the same, and
    /// says where that was.
    ///
    /// # Errors
    /// The recording is of another format, damaged, or put together wrongly.
    pub fn replay(&self) -> Result<Replay, ReplayError> {
        if self.recording != self.format() {
            return Err(ReplayError::Format { found: self.recording });
        }
        let mut later = Vec::new();
        for text in &self.migrated {
            later.push(Arc::new(Plan::new(Arc::new(definition::parse(text)?))));
        }
        let mut onward_of = |fact: &Fact| {
            let Fact::Migrated { definition, pins, .. } = fact else { return None };
            let plan = later.iter().find(|plan| plan.workflow.hash == *definition)?;
            Some(Onward { plan: Arc::clone(plan), pins: pinned(pins), callees: Vec::new() })
        };
        let workflow = Arc::new(definition::parse(&self.definition)?);
        let Some(first @ FactRecord { fact: Fact::Accepted { definition, pins, .. }, .. }) =
            self.facts.first()
        else {
            return Err(ReplayError::NoBeginning);
        };
        if *definition != workflow.hash {
            let (pinned, found) = (definition.clone(), workflow.hash.clone());
            return Err(ReplayError::Other { pinned, found });
        }
        let (pins, plan) = (pinned(pins), Arc::new(Plan::new(workflow)));
        let head = || {
            let with = (Arc::clone(&pins), Vec::new());
            let alike = &mut Alike::default();
            Head::read(self.run.clone(), self.seed, first, with, alike)
                .ok_or(ReplayError::NoBeginning)
        };
        let (mut run, out) = Run::new(head()?, Arc::clone(&plan));
        if let Some(snapshot) = &self.snapshot {
            let state = data_encoding::BASE64.decode(snapshot.state.as_bytes());
            let state = state.map_err(|_| SnapshotError::Damaged)?;
            run = Run::from_snapshot(head()?, plan, &state, &mut onward_of)?;
        }
        let mut replay = Replay {
            events: Vec::new(),
            calls: Vec::new(),
            results: Vec::new(),
            divergence: None,
            is_settled: false,
        };
        replay.take(0, out);
        for (place, record) in self.facts.iter().enumerate().skip(1) {
            replay.compare(place, record, &run);
            let out = if let Fact::Migrated { definition, .. } = &record.fact {
                let onward = onward_of(&record.fact);
                let out = onward.and_then(|onward| run.migrate(record, onward));
                out.ok_or_else(|| ReplayError::Onward(definition.clone()))?
            } else {
                run.apply(record)
            };
            replay.take(place, out);
            replay.note_call(place, record, &run);
        }
        replay.is_settled = run.is_settled();
        Ok(replay)
    }
}

fn pinned(pins: &[(String, PluginPin)]) -> Pins {
    Arc::new(pins.iter().map(|(name, pin)| (name.clone(), Arc::new(pin.clone()))).collect())
}

impl Replay {
    /// BLAKE3, in lower-case hex, of all that was told: events with their times, calls with their inputs and keys,
    /// results, and whether the run ended. Two replays of one recording have the same, on whatever
    /// processor and in whatever later version that reads it. Taken over the JSON forms, one a
    /// line, so that it holds them, too.
    ///
    /// # Errors
    /// One of them has no JSON form.
    pub fn digest(&self) -> Result<String, serde_json::Error> {
        let mut hasher = blake3::Hasher::new();
        for event in &self.events {
            hasher.update(&serde_json::to_vec(event)?).update(b"\n");
        }
        for call in &self.calls {
            hasher.update(&serde_json::to_vec(call)?).update(b"\n");
        }
        hasher.update(&serde_json::to_vec(&(&self.results, self.is_settled))?);
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// The call whose end is the fact before the first difference: the result in the record that
    /// led elsewhere, if it was one.
    #[must_use]
    pub fn diverging_call(&self) -> Option<&ReplayedCall> {
        let before = self.divergence?.fact.checked_sub(1)?;
        self.calls.iter().find(|call| call.ended.as_ref().is_some_and(|(at, _)| *at == before))
    }

    fn take(&mut self, place: usize, out: Out) {
        for (event, _) in out.events {
            if let RunEvent::StepStarted { step, .. } = &event.event
                && let Some((undone, _)) = step.0.split_once(UNDO)
            {
                self.results.retain(|(known, _)| known.0 != undone);
            }
            self.events.push((place, event));
        }
        for (step, value) in out.results {
            // What compensates is never done twice by this: it is not reached again.
            let Ok(json) = value.to_json_typed() else { continue };
            if !step.0.contains(UNDO) {
                self.results.retain(|(known, _)| *known != step);
                self.results.push((step, JsonText::of(&json)));
            }
        }
    }

    fn compare(&mut self, fact: usize, record: &FactRecord, run: &Run) {
        let (recorded, replayed) = (record.check, run.check());
        if recorded != replayed {
            self.divergence.get_or_insert(Divergence { fact, recorded, replayed });
        }
    }

    fn note_call(&mut self, place: usize, record: &FactRecord, run: &Run) {
        if let Fact::AttemptStarted { step, .. } = &record.fact
            && let Some(task) = run.find(step).and_then(|at| run.plugin_task(&at))
        {
            let action = task.pin.actions.iter().find(|(_, export)| *export == task.export);
            let action = action.map_or(task.export.as_str(), |(action, _)| action.as_str());
            self.calls.push(ReplayedCall {
                step: task.attempt.step,
                attempt: task.attempt.attempt,
                plugin: format!("{}.{action}", task.pin.name),
                version: task.pin.version.clone(),
                digest: task.pin.digest,
                input: task.input,
                idempotency_key: task.idempotency_key,
                begun: place,
                ended: None,
                given: Given {
                    pin: task.pin,
                    export: task.export,
                    vars: task.vars,
                    interrupted: task.interrupted,
                },
            });
        }
        if let Fact::AttemptSettled { step, attempt, outcome } = &record.fact {
            let call = self.calls.iter_mut().rev().find(|call| {
                call.step == *step && call.attempt == *attempt && call.ended.is_none()
            });
            if let Some(call) = call {
                call.ended = Some((place, outcome.clone()));
            }
        }
    }
}
