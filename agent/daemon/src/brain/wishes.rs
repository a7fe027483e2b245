//! What the control plane's commands come to.

use openclaw_agent_core::{Input, STORAGE_FULL, StartRequest, Told};
use openclaw_protocol::command::{Command, CommandRecord};
use openclaw_protocol::id::{RequestId, RunId};
use openclaw_protocol::limits::{RECORD_BYTES, RECORDING_BYTES, RECORDING_PART_BYTES};
use openclaw_protocol::recording;
use openclaw_protocol::report::{Refusal, Report};
use openclaw_protocol::sync::Lane;
use openclaw_protocol::wire::{self, Kind};

use super::Brain;
use crate::store::Level;

/// What a part of a recording has beside its bytes: two ids and two numbers, generously.
const PART_HEAD_BYTES: u64 = 512;

impl Brain {
    /// Decides one command. Its effects, its report and the cursor share a commit.
    pub(super) fn take_command(&mut self, body: &[u8]) {
        let record = match wire::unpack::<CommandRecord>(Kind::Command, body, RECORD_BYTES) {
            Ok(record) => record,
            // A command of a later version: it is passed over, and that is told.
            Err(e) => {
                let message = format!("a command could not be read: {e}");
                return self
                    .report(Report::Security { code: "command.unreadable".into(), message });
            }
        };
        let asked = record.request;
        let request = Some(asked.clone());
        let told = match record.command {
            Command::Start { workflow, inputs, priority } => {
                let again = None;
                let wish = StartRequest { workflow, inputs, priority, request, again };
                self.step(Input::Start(wish))
            }
            Command::Cancel { run, force } => self.step(Input::Cancel { run, force, request }),
            Command::Signal { run, name, data } => {
                self.step(Input::Signal { run, name, data, request })
            }
            Command::Decide { run, step, choice, by, form } => {
                self.step(Input::Decide { run, step, choice, by, form, request })
            }
            Command::Retry { run } => self.retry_for(asked, &run),
            Command::Export { run } => {
                let outcome = self.send_recording(&asked, run);
                vec![Told::Answer { request, outcome }]
            }
            Command::Record { workflow, next } => {
                let report = match self.record_next(workflow, next) {
                    Ok(()) => Report::Done { request: asked },
                    Err(refusal) => Report::Command { request: asked, outcome: Err(refusal) },
                };
                return self.report(report);
            }
        };
        for told in told {
            if let Told::Answer { request: Some(request), outcome } = told {
                self.report(Report::Command { request, outcome });
            }
        }
    }

    /// A wish that was answered before gets the same answer, although by now its run's journal may
    /// be gone: the engine sees to that. What this refuses starts nothing and need not be kept.
    fn retry_for(&mut self, request: RequestId, run: &RunId) -> Vec<Told> {
        if let Some(outcome) = self.engine.answer_to(&request) {
            let outcome = outcome.clone();
            return vec![Told::Answer { request: Some(request), outcome }];
        }
        match self.wish_again(run.as_ref(), false) {
            Ok(wish) => self.step(Input::Start(StartRequest { request: Some(request), ..wish })),
            Err(refusal) => {
                vec![Told::Answer { request: Some(request), outcome: Err(refusal) }]
            }
        }
    }

    fn send_recording(&mut self, request: &RequestId, run: RunId) -> Result<RunId, Refusal> {
        let unfit = |message: String| Refusal { code: "limit.payload".to_owned(), message };
        if self.store.level() != Level::Ample {
            return Err(Refusal {
                code: STORAGE_FULL.to_owned(),
                message: format!(
                    "the disk of the device is full, and a recording waits there to be sent; free \
                     some space and ask again, or take it from the device itself: openclaw-agent \
                     export {run}"
                ),
            });
        }
        // Before all of it is in memory. As JSON it is no shorter.
        let bytes = self.store.fact_bytes(&run).unwrap_or_default();
        if bytes > RECORDING_BYTES as u64 {
            return Err(unfit(format!(
                "the journal of run {run} has {bytes} bytes, and {RECORDING_BYTES} can be sent; \
                 take it from the device itself: openclaw-agent export {run}"
            )));
        }
        let recording = self.recording(run.as_ref())?;
        let text = serde_json::to_string(&recording).map_err(|e| unfit(e.to_string()))?;
        let parts = recording::split(request, &run, &text).map_err(|e| {
            unfit(format!("{e}; take it from the device itself: openclaw-agent export {run}"))
        })?;
        // Beyond its quota the lane would drop the oldest, of whichever recording they are.
        let (count, each) = (parts.len() as u64, RECORDING_PART_BYTES as u64 + PART_HEAD_BYTES);
        if !self.store.has_room(Lane::Telemetry, count, each) {
            return Err(Refusal {
                code: "recording.full".to_owned(),
                message: format!(
                    "too much of other recordings waits to be sent; ask again once they have come, \
                     or take it from the device itself: openclaw-agent export {run}"
                ),
            });
        }
        self.pending.has_recording = true;
        for part in parts {
            let body = wire::pack(Kind::Recording, &part);
            self.pending.batch.records.push((Lane::Telemetry, body));
        }
        Ok(run)
    }
}
