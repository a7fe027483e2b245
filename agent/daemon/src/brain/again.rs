//! Runs taken out of the journal: to be replayed at the desk, or to be done again.

use data_encoding::BASE64;
use openclaw_agent_core::replay::{Beginning, RECORDING, RECORDING_CUT, Recording};
use openclaw_agent_core::{Again, Fact, FactRecord, Input, StartRequest};
use openclaw_protocol::id::RunId;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::limits as shared;
use openclaw_protocol::report::Refusal;
use openclaw_protocol::run::{RunStatus, StepPath};
use openclaw_protocol::zone::TZDB;
use serde_json::Value;

use super::Brain;
use super::answer::answer_of;
use crate::limits;
use crate::local::Answer;
use crate::store::{KeptTape, Past};

impl Brain {
    /// A part of a run's recording.
    pub(super) fn export(&self, run: &str, skip: usize) -> Answer {
        let mut recording = match self.recording(run) {
            Ok(recording) => recording,
            Err(refusal) => return Answer::Error(refusal),
        };
        // The first part has them.
        if skip > 0 {
            recording.tapes.clear();
        }
        let beginning = recording.snapshot.as_ref().map_or(0, |beginning| beginning.state.len());
        if beginning > limits::EXPORT_PART_BYTES {
            let message = format!(
                "the journal of run {run} begins with a snapshot of {beginning} bytes, and {} can \
                 be exported",
                limits::EXPORT_PART_BYTES
            );
            return Answer::error("limit.payload", message);
        }
        let records = std::mem::take(&mut recording.facts);
        let facts = records.len();
        if let Some(beginning) = recording.snapshot.as_mut().filter(|_| skip > 0) {
            // The first part has it; this one says which it is.
            beginning.state.clear();
        }
        match part(&recording, records.get(skip..).unwrap_or_default()) {
            Ok(recording) => Answer::Recording { recording, facts },
            Err(e) => Answer::error("store.failed", e.to_string()),
        }
    }

    /// Does a failed run again, from where it failed unless `whole`, with the definition that is in
    /// force now.
    pub(super) fn retry_run(&mut self, run: &str, whole: bool) -> Answer {
        match self.wish_again(run, whole) {
            Ok(wish) => {
                let told = self.step(Input::Start(wish));
                answer_of(told)
            }
            Err(refusal) => Answer::Error(refusal),
        }
    }

    pub(super) fn wish_again(&self, run: &str, whole: bool) -> Result<StartRequest, Refusal> {
        let recording = self.recording(run)?;
        let ended = recording.facts.iter().find_map(|record| {
            let Fact::Settled { status } = &record.fact else { return None };
            Some(*status)
        });
        match ended {
            Some(RunStatus::Failed | RunStatus::Cancelled) => {}
            Some(_) => return Err(refusal("run.completed", format!("run {run} has not failed"))),
            None => return Err(refusal("run.open", format!("run {run} is still under way"))),
        }
        let Some(Fact::Accepted { workflow, inputs, priority, .. }) =
            recording.facts.first().map(|record| &record.fact)
        else {
            return Err(refusal("store.damaged", format!("the journal of run {run} is damaged")));
        };
        if let Some(beginning) = recording.snapshot.as_ref().filter(|_| !whole) {
            let message = format!(
                "what the first {} facts of run {run} gave is not kept any more, so it cannot go on \
                 from where it failed; retry it whole",
                beginning.facts
            );
            return Err(refusal("run.compacted", message));
        }
        let given = if whole { Vec::new() } else { given(&recording)? };
        Ok(StartRequest {
            workflow: workflow.clone(),
            inputs: inputs.clone(),
            priority: Some(*priority),
            request: None,
            again: Some(Again { of: recording.run.clone(), given }),
        })
    }

    pub(super) fn recording(&self, run: &str) -> Result<Recording, Refusal> {
        let run = RunId::parse(run).map_err(|e| refusal("run.unknown", e.to_string()))?;
        let failed = |e: crate::store::StoreError| refusal("store.failed", e.to_string());
        let Past { facts, snapshot } = self.store.facts_of(&run).map_err(failed)?;
        let Some(Fact::Accepted { definition, .. }) = facts.first().map(|record| &record.fact)
        else {
            let message = format!("the journal of run {run} is not (any more) on this device");
            return Err(refusal("run.unknown", message));
        };
        let text = self.store.definition(definition).map_err(failed)?;
        let Some(definition) = text.or_else(|| self.own_definition(definition)) else {
            let message = format!("the definition of run {run} is not on this device any more");
            return Err(refusal("run.definition", message));
        };
        let snapshot = snapshot.map(|(facts, state)| {
            let state = BASE64.encode(&state);
            Beginning { facts, state }
        });
        let tapes = self.store.tapes(&run).map_err(failed)?;
        Ok(Recording {
            recording: if snapshot.is_some() { RECORDING_CUT } else { RECORDING },
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            tzdb: TZDB.to_owned(),
            run,
            seed: self.store.epoch().0,
            definition,
            snapshot,
            facts,
            tapes: tapes.iter().map(tape_json).collect(),
        })
    }

    fn own_definition(
        &self,
        hash: &openclaw_protocol::definition::DefinitionHash,
    ) -> Option<String> {
        let own = self.standalone.iter().find(|deployed| deployed.workflow.hash == *hash);
        own.map(|deployed| deployed.workflow.canonical.clone())
    }
}

/// A tape as a recording has it.
fn tape_json(kept: &KeptTape) -> Value {
    let mut json = kept.tape.to_json();
    json["step"] = Value::from(kept.step.0.as_str());
    json["attempt"] = Value::from(kept.attempt);
    json
}

/// A recording with as many of these records as go into one part, at least one.
fn part(recording: &Recording, records: &[FactRecord]) -> serde_json::Result<Value> {
    let beginning = recording.snapshot.as_ref().map_or(0, |beginning| beginning.state.len());
    let tapes = recording.tapes.iter().map(|tape| tape.to_string().len());
    let mut bytes = recording.definition.len() + beginning + tapes.sum::<usize>();
    let mut page = Vec::new();
    for record in records {
        let record = serde_json::to_value(record)?;
        bytes += record.to_string().len();
        if !page.is_empty() && bytes > limits::EXPORT_PART_BYTES {
            break;
        }
        page.push(record);
    }
    let mut recording = serde_json::to_value(recording)?;
    recording["facts"] = Value::Array(page);
    Ok(recording)
}

/// The results that the new run starts with.
fn given(recording: &Recording) -> Result<Vec<(StepPath, JsonText)>, Refusal> {
    let replay = recording.replay().map_err(|e| refusal("run.replay", e.to_string()))?;
    let bytes: usize = replay.results.iter().map(|(_, result)| result.len()).sum();
    if bytes > shared::RUN_STATE_BYTES {
        let message = format!(
            "the steps of run {} gave {bytes} bytes, more than a run may begin with; retry it whole",
            recording.run
        );
        return Err(refusal("limit.payload", message));
    }
    Ok(replay.results)
}

fn refusal(code: &str, message: String) -> Refusal {
    Refusal { code: code.to_owned(), message }
}
