//! Level 2: the plugins of a recorded run once more, each call of which the device has kept what it
//! was told from outside. The module must be the very one that ran there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openclaw_agent_core::replay::{Recording, Replay, ReplayedCall};
use openclaw_protocol::id::Digest;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::limits::MODULE_BYTES;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::run::StepPath;
use openclaw_protocol::secret::{self, Mask};
use openclaw_protocol::wire::{self, Kind};
use openclaw_sandbox::limits::VARS_BYTES;
use openclaw_sandbox::replay::{Played, Verdict, play};
use openclaw_sandbox::{Call, Context, Module, STACK_BYTES, Sandbox, Tape, digest_of};
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use crate::scenario::Kept;

/// A module file in a directory of plugins.
const MODULE: &str = "plugin.wasm";

/// A call of which the device has kept what it was told.
#[derive(Debug)]
pub(crate) struct Taped {
    /// The call, as level 1 found it.
    pub(crate) call: ReplayedCall,
    /// Of which run.
    run: String,
    tape: Tape,
}

impl Taped {
    /// The tape as a scenario has it.
    pub(crate) fn kept(&self) -> Json {
        let given = &self.call.given;
        Kept::write(self.tape.to_json(), &given.export, given.pin.limits, &given.pin.granted)
    }
}

/// What came of playing it.
#[derive(Debug)]
pub(crate) struct PlayedCall {
    /// Place of the fact that it ended with.
    pub(crate) ended: usize,
    /// Each question and its answer, a line each.
    pub(crate) lines: Vec<String>,
    /// In one line.
    pub(crate) told: String,
    /// Whether the module was run, and did the same as far as is known.
    pub(crate) is_same: bool,
    /// Where it is not what the device did.
    pub(crate) mismatch: Option<String>,
    /// For programs.
    pub(crate) json: Json,
}

/// The calls of a recording that have a tape.
///
/// # Errors
/// A tape does not read, or is of no call of this run.
pub(crate) fn taped(recording: &Recording, replay: &Replay) -> Result<Vec<Taped>, String> {
    let read = |json: &Json| {
        let step = StepPath(json["step"].as_str().unwrap_or_default().to_owned());
        let attempt = json["attempt"].as_u64().and_then(|number| u32::try_from(number).ok());
        let attempt = attempt.ok_or("a tape names no attempt")?;
        let of = format!("step {step}, attempt {attempt}");
        let tape = Tape::from_json(json).map_err(|error| format!("the tape of {of}: {error}"))?;
        let calls = replay.calls.iter().rev();
        let call = calls
            .filter(|call| call.ended.is_some())
            .find(|call| call.step == step && call.attempt == attempt);
        let call = call.ok_or_else(|| format!("there is a tape of {of}, and no such call"))?;
        Ok(Taped { call: call.clone(), run: recording.run.to_string(), tape })
    };
    recording.tapes.iter().map(read).collect()
}

/// The modules that they need, by digest, each with the plugin's name and version.
pub(crate) fn needed(taped: &[Taped]) -> BTreeMap<Digest, (String, String)> {
    let of = |taped: &Taped| {
        let pin = &taped.call.given.pin;
        (pin.digest, (pin.name.to_string(), pin.version.clone()))
    };
    taped.iter().map(of).collect()
}

/// Looks for modules in a directory: files `*.wasm`, and `plugin.wasm` one level below.
///
/// # Errors
/// The directory cannot be read.
pub(crate) fn find(
    dir: &Path,
    wanted: &BTreeSet<Digest>,
) -> std::io::Result<BTreeMap<Digest, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let path: PathBuf = entry?.path();
        let file = if path.is_dir() { path.join(MODULE) } else { path };
        let fits = file.extension().is_some_and(|ending| ending == "wasm")
            && file.metadata().is_ok_and(|meta| meta.len() <= MODULE_BYTES as u64);
        let Some(bytes) = fits.then(|| std::fs::read(&file).ok()).flatten() else { continue };
        let digest = digest_of(&bytes);
        if wanted.contains(&digest) {
            found.insert(digest, bytes);
        }
    }
    Ok(found)
}

/// Plays all of them, on a thread with the stack that the interpreter wants.
pub(crate) fn play_all(
    taped: &[Taped],
    modules: &BTreeMap<Digest, Vec<u8>>,
) -> std::io::Result<Vec<PlayedCall>> {
    let work = || {
        let sandbox = Sandbox::new();
        taped.iter().map(|taped| play_one(&sandbox, taped, modules)).collect()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, work)?;
        thread.join().map_err(|_| std::io::Error::other("the thread that played the calls ended"))
    })
}

fn play_one(sandbox: &Sandbox, taped: &Taped, modules: &BTreeMap<Digest, Vec<u8>>) -> PlayedCall {
    let (call, tape) = (&taped.call, &taped.tape);
    let verdict = run(sandbox, taped, modules);
    let made = tape.calls;
    let lines = (1..).zip(tape.entries()).map(|(n, entry): (u32, _)| {
        let label = if entry.label.is_empty() { "" } else { " " };
        let (function, answered) = (entry.function.name(), entry.answered.name());
        let bytes = entry.result.len();
        format!("{n:>4} {function}{label}{}: {answered}, {bytes} bytes", entry.label)
    });
    let mut lines: Vec<String> = lines.collect();
    if tape.cut != 0 {
        lines.push(format!("{:>4} and later ones are not recorded", tape.cut));
    }
    let whose = format!("step {}, attempt {}", call.step, call.attempt);
    let mut json = json!({
        "step": call.step,
        "attempt": call.attempt,
        "plugin": call.plugin,
        "version": call.version,
        "digest": call.digest,
        "made": made,
        "fuel": tape.fuel,
    });
    if tape.cut != 0 {
        json["not_recorded_from"] = json!(tape.cut);
    }
    let mut mismatch = None;
    let is_same = matches!(verdict, Ok(Verdict::Same | Verdict::SameUntil(_)));
    let (word, told) = match verdict {
        Ok(Verdict::Same) => ("same", format!("{} did the same, over {made} calls", call.plugin)),
        Ok(Verdict::SameUntil(cut)) => {
            ("same_until", format!("{} did the same; not recorded from call {cut} on", call.plugin))
        }
        Ok(Verdict::Mismatch { call: n, message }) => {
            let place = if n == 0 { String::new() } else { format!(", call {n}") };
            let mut text = format!("replay.mismatch: {whose}{place}: {message}");
            if secret::asks(call.input.as_str()) {
                text.push_str(
                    "; it was given a secret, which no recording has: what it computes from that \
                     cannot be the same here",
                );
            }
            json["call"] = json!((n != 0).then_some(n));
            json["message"] = json!(message);
            mismatch = Some(text.clone());
            ("mismatch", text)
        }
        Err(reason) => {
            json["message"] = json!(reason);
            ("not_run", format!("{} is not run again: {reason}", call.plugin))
        }
    };
    json["verdict"] = json!(word);
    let ended = call.ended.as_ref().map_or(0, |(place, _)| *place);
    PlayedCall { ended, lines, told, is_same, mismatch, json }
}

fn run(
    sandbox: &Sandbox,
    taped: &Taped,
    modules: &BTreeMap<Digest, Vec<u8>>,
) -> Result<Verdict, String> {
    let Taped { call, tape, .. } = taped;
    let given = &call.given;
    let bytes = modules.get(&call.digest).ok_or_else(|| {
        format!("its module {} is not at hand; give --plugins DIR, or log in", call.digest)
    })?;
    let module = sandbox.load(call.digest, bytes).map_err(|error| error.to_string())?;
    let vars = match &given.vars {
        Some(packed) => wire::unpack(Kind::Row, packed, 2 * VARS_BYTES)
            .map_err(|error| format!("the run's variables do not read: {error}"))?,
        None => VecMap::new(),
    };
    let config = VecMap::new();
    let made = Call {
        export: &given.export,
        input: &[],
        config: &config,
        vars,
        limits: given.pin.limits,
        permissions: &given.pin.granted,
        context: Context {
            run: taped.run.clone(),
            step: call.step.to_string(),
            attempt: call.attempt,
            idempotency_key: call.idempotency_key.clone(),
            interrupted: given.interrupted,
            deadline_ms: None,
        },
        record: None,
    };
    play_call(sandbox, &module, made, &call.input, tape).map(|played| played.verdict)
}

/// Makes a call once more, with this input, in which secrets are handles, and what it is told from a
/// tape.
///
/// # Errors
/// The input asks for secrets where none can stand.
pub(crate) fn play_call(
    sandbox: &Sandbox,
    module: &Module,
    call: Call<'_>,
    input: &JsonText,
    tape: &Tape,
) -> Result<Played, String> {
    let (input, mask) = stand_ins(input)?;
    let call = Call { input: &input, record: Some(Arc::new(mask)), ..call };
    Ok(play(sandbox, module, call, tape))
}

/// The input with a stand-in for each secret, and what masks these.
fn stand_ins(input: &JsonText) -> Result<(Vec<u8>, Mask), String> {
    let mut mask = Mask::default();
    if !secret::asks(input.as_str()) {
        return Ok((input.as_str().as_bytes().to_vec(), mask));
    }
    let input = input.value();
    let names = secret::names(&input);
    let stand_in = |name: &String| (name.clone(), Zeroizing::new(format!("stand-in-for-{name}")));
    let values: Vec<_> = names.iter().map(stand_in).collect();
    mask.add(values.iter().map(|(_, value)| value.as_str()));
    let filled = secret::fill(&input, &values).map_err(|error| error.to_string())?;
    Ok((filled.to_vec(), mask))
}
