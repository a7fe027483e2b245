//! Runs taken out of the journal: to be replayed at the desk, or to be done again.

use std::io::Write;

use data_encoding::BASE64;
use openclaw_agent_core::replay::{Beginning, Recording};
use openclaw_agent_core::{Again, Fact, Input, StartRequest};
use openclaw_protocol::definition::DefinitionHash;
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
    /// A part of a run's recording, of so many facts: its text from a place on.
    pub(super) fn export(&self, run: &str, skip: usize, facts: Option<usize>) -> Answer {
        let mut recording = match self.recording(run) {
            Ok(recording) => recording,
            Err(refusal) => return Answer::Error(refusal),
        };
        recording.facts.truncate(facts.unwrap_or(usize::MAX));
        let facts = recording.facts.len();
        let mut window = Window { skip, ..Window::default() };
        match serde_json::to_writer(&mut window, &recording) {
            Ok(()) => {
                let (bytes, check) = (window.bytes, window.hasher.finalize().to_hex().to_string());
                Answer::Recording { part: window.text(), bytes, facts, check }
            }
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
        let Past { facts, snapshot, migrated } = self.store.facts_of(&run).map_err(failed)?;
        let Some(Fact::Accepted { definition, .. }) = facts.first().map(|record| &record.fact)
        else {
            let message = format!("the journal of run {run} is not (any more) on this device");
            return Err(refusal("run.unknown", message));
        };
        let text_of = |hash: &DefinitionHash| {
            let text = self.store.definition(hash).map_err(failed)?;
            text.or_else(|| self.own_definition(hash)).ok_or_else(|| {
                let message = format!("the definition of run {run} is not on this device any more");
                refusal("run.definition", message)
            })
        };
        let definition = text_of(definition)?;
        let migrated = migrated.iter().map(text_of).collect::<Result<Vec<String>, Refusal>>()?;
        let snapshot = snapshot.map(|(facts, state)| {
            let state = BASE64.encode(&state);
            Beginning { facts, state }
        });
        let tapes = self.store.tapes(&run).map_err(failed)?;
        let mut recording = Recording {
            recording: 0,
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            tzdb: TZDB.to_owned(),
            run,
            seed: self.store.epoch().0,
            definition,
            migrated,
            snapshot,
            facts,
            tapes: tapes.iter().map(tape_json).collect(),
        };
        recording.recording = recording.format();
        Ok(recording)
    }

    fn own_definition(&self, hash: &DefinitionHash) -> Option<String> {
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

/// What goes into one part of a text that is written, which need not be in memory as a whole.
#[derive(Default)]
struct Window {
    /// Where it begins.
    skip: usize,
    part: Vec<u8>,
    /// Of the whole text.
    bytes: usize,
    hasher: blake3::Hasher,
}

impl Write for Window {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        let from = self.skip.saturating_sub(self.bytes).min(text.len());
        let most = limits::EXPORT_PART_BYTES - self.part.len();
        let text_from = &text[from..];
        self.part.extend_from_slice(&text_from[..most.min(text_from.len())]);
        self.hasher.update(text);
        self.bytes += text.len();
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Window {
    /// The part, but for a character of which there is only a beginning.
    fn text(mut self) -> String {
        if let Err(e) = std::str::from_utf8(&self.part) {
            self.part.truncate(e.valid_up_to());
        }
        String::from_utf8(self.part).unwrap_or_default()
    }
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
