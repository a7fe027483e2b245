//! An answer that has a tape: what a device told the plugin during the call that it was recorded of.
//! The module of the mock is run once more, with what the call is given here, and is told the same.

use std::collections::BTreeMap;

use openclaw_protocol::json::JsonText;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::{CallLimits, Permissions};
use openclaw_protocol::run::RunError;
use openclaw_sandbox::replay::{Played, Verdict};
use openclaw_sandbox::{
    Answered, Call, Context, Fault, Function, STACK_BYTES, Sandbox, Tape, digest_of,
};
use serde_json::{Value as Json, json};

use openclaw_agent_core::AttemptOutcome;

use crate::replay::plugins::play_call;

/// The tape of one call, and what else the plugin was called with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    tape: Tape,
    export: String,
    limits: CallLimits,
    granted: Permissions,
}

/// What came of running the module.
#[derive(Debug)]
pub(super) enum Again {
    /// The same as on the device, as far as that is known.
    Same,
    /// It asked the same, and ended otherwise.
    Otherwise(AttemptOutcome),
    /// It asked something else, or cannot be run.
    Differs(String),
}

impl Kept {
    /// A tape as a scenario has it.
    pub(crate) fn write(
        mut tape: Json,
        export: &str,
        limits: CallLimits,
        granted: &Permissions,
    ) -> Json {
        for key in ["step", "attempt"] {
            tape.as_object_mut().map(|tape| tape.remove(key));
        }
        tape["call"] = json!({ "export": export, "limits": limits, "granted": granted });
        tape
    }

    /// Reads what [`Kept::write`] wrote.
    ///
    /// # Errors
    /// Says what does not read.
    pub(super) fn read(json: &Json) -> Result<Self, String> {
        let wrong = |why: serde_json::Error| format!("tape: call: {why}");
        let call = &json["call"];
        Ok(Self {
            tape: Tape::from_json(json).map_err(|why| format!("tape: {why}"))?,
            export: call["export"].as_str().ok_or("tape: `call.export` is no text")?.to_owned(),
            limits: serde_json::from_value(call["limits"].clone()).map_err(wrong)?,
            granted: serde_json::from_value(call["granted"].clone()).map_err(wrong)?,
        })
    }

    /// Runs the module with this input.
    pub(super) fn play(&self, module: &[u8], input: &JsonText) -> Again {
        let work = || -> Result<Played, String> {
            let sandbox = Sandbox::new();
            let module =
                sandbox.load(digest_of(module), module).map_err(|error| error.to_string())?;
            let config = VecMap::new();
            let call = Call {
                export: &self.export,
                input: &[],
                config: &config,
                vars: self.vars(),
                limits: self.limits,
                permissions: &self.granted,
                context: self.context(),
                record: None,
            };
            play_call(&sandbox, &module, call, input, &self.tape)
        };
        let played = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            let thread = thread.spawn_scoped(scope, work).map_err(|error| error.to_string())?;
            thread.join().map_err(|_| "the thread that ran it ended".to_owned())?
        });
        match played {
            Err(why) => Again::Differs(why),
            Ok(Played { verdict: Verdict::Same | Verdict::SameUntil(_), .. }) => Again::Same,
            Ok(Played { verdict: Verdict::Mismatch { call: 0, .. }, outcome }) => {
                Again::Otherwise(told(outcome.result))
            }
            Ok(Played { verdict: Verdict::Mismatch { call, message }, .. }) => {
                Again::Differs(format!("call {call}: {message}"))
            }
        }
    }

    /// Where in which run it was, as far as the plugin has asked.
    fn context(&self) -> Context {
        let mut entries = self.tape.entries();
        let asked = entries.find(|entry| entry.function == Function::Context);
        asked.and_then(|entry| serde_json::from_slice(entry.result).ok()).unwrap_or_default()
    }

    /// The variables of the run, as far as the plugin has asked before it could set them.
    fn vars(&self) -> VecMap<String, Vec<u8>> {
        let mut first = BTreeMap::new();
        for entry in self.tape.entries().filter(|entry| entry.function == Function::Var) {
            let value = (entry.answered == Answered::Ok).then(|| entry.result.to_vec());
            first.entry(entry.label.to_owned()).or_insert(value);
        }
        first.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// What the engine is told of a call, as the agent tells it.
fn told(result: Result<Vec<u8>, Fault>) -> AttemptOutcome {
    let failed = |code: &str, message: String, retryable| {
        let mut error = RunError::new(code, message);
        error.retryable = retryable;
        AttemptOutcome::Failed { error }
    };
    let bytes = match result {
        Err(fault) => return failed(&fault.code, fault.message, fault.retryable),
        Ok(bytes) if bytes.is_empty() => b"null".to_vec(),
        Ok(bytes) => bytes,
    };
    match String::from_utf8(bytes) {
        Ok(text) => {
            let output = JsonText::checked(text)
                .unwrap_or_else(|text| JsonText::of(&serde_json::Value::String(text)));
            AttemptOutcome::Succeeded { output, vars: None }
        }
        Err(_) => {
            let message = "the output is neither JSON nor text in UTF-8".to_owned();
            failed("plugin.output", message, false)
        }
    }
}
