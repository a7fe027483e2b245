//! A recorded call once more, at the desk: the same module is given what it was given, and its
//! questions are answered from the [`Tape`]. What it asks is recorded as on the device, and the two
//! tapes are compared, question by question.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openclaw_plugin_abi::{self as abi, Context};

use crate::Sandbox;
use crate::ask::Ask;
use crate::call::{Call, Outcome};
use crate::host::{DirEntry, Host, HostError, HttpRequest, HttpResponse, Stop};
use crate::module::Module;
use crate::tape::{Answered, Entry, Function, Tape};

mod json;

/// What came of playing a call again.
#[derive(Debug)]
pub struct Played {
    /// What the plugin did here.
    pub outcome: Outcome,
    /// Whether that is what it did on the device.
    pub verdict: Verdict,
}

/// Whether two tapes tell the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// They do, from the first question to the end.
    Same,
    /// They do as far as the device has recorded: not this question, nor any behind it.
    SameUntil(u32),
    /// They do not.
    Mismatch {
        /// The first question that differs, from 1; 0 where only the end does.
        call: u32,
        /// How, for people.
        message: String,
    },
}

/// Calls the module as it was called on the device. What `call` has of settings is left aside: those
/// that the plugin has read are on the tape; so is when the attempt was to be stopped.
#[must_use]
#[expect(clippy::wildcard_enum_match_arm, reason = "only these two are what the call is made of")]
pub fn play(sandbox: &Sandbox, module: &Module, call: Call<'_>, tape: &Tape) -> Played {
    let mut config = openclaw_protocol::ordered::VecMap::new();
    let mut context = call.context.clone();
    for entry in tape.entries().filter(|entry| entry.answered == Answered::Ok) {
        let text = || String::from_utf8_lossy(entry.result).into_owned();
        match entry.function {
            Function::Config => drop(config.insert(entry.label.to_owned(), text())),
            Function::Context => {
                let known = serde_json::from_slice::<Context>(entry.result);
                context.deadline_ms = known.ok().and_then(|known| known.deadline_ms);
            }
            _ => {}
        }
    }
    let mut call = Call { config: &config, context, ..call };
    if stopped_from_outside(tape).is_some() {
        // As far as it had come when it was told to stop.
        call.limits.fuel = call.limits.fuel.min(tape.fuel.max(1));
    }
    let over = Arc::new(AtomicBool::new(false));
    let mut player = Player { entries: of_host(tape), over: Arc::clone(&over) };
    let stop = stopped_from_outside(tape).unwrap_or(Stop::Cancelled);
    let outcome =
        sandbox.run(module, call, &mut player, &|| over.load(Ordering::Relaxed).then_some(stop));
    let verdict = match &outcome.tape {
        Some(played) => compare(tape, played),
        None => Verdict::Mismatch { call: 0, message: "the engine failed here".to_owned() },
    };
    Played { outcome, verdict }
}

/// What a call was told to stop for, where it was.
fn stopped_from_outside(tape: &Tape) -> Option<Stop> {
    match tape.code.as_str() {
        "timeout" => Some(Stop::Timeout),
        "cancelled" => Some(Stop::Cancelled),
        _ => None,
    }
}

/// Those that the host has answered; settings, variables and the context came with the call.
fn of_host(tape: &Tape) -> VecDeque<Entry<'_>> {
    tape.entries().filter(|entry| entry.function.is_of_host()).collect()
}

fn compare(recorded: &Tape, played: &Tape) -> Verdict {
    let differs = |call: usize, message: String| Verdict::Mismatch {
        call: u32::try_from(call).unwrap_or(u32::MAX),
        message,
    };
    let mut here = played.entries();
    let mut kept = 0;
    for (call, there) in (1..).zip(recorded.entries()) {
        kept = call;
        if there.sum != Entry::sum_of(there.answered, there.result) {
            return differs(call, format!("the answer to {} was changed", told(&there)));
        }
        let Some(here) = here.next() else {
            let how = end_of(played);
            return differs(call, format!("it asked {}; here {how} before that", told(&there)));
        };
        if (here.function, here.arguments) != (there.function, there.arguments) {
            let (there, here) = (told(&there), told(&here));
            let same = "with other arguments";
            let how = if there == here { same.to_owned() } else { format!("here {here}") };
            return differs(call, format!("it asked {there}, {how}"));
        }
        if here.sum != there.sum {
            return differs(call, format!("{} is answered otherwise here", told(&there)));
        }
    }
    let beyond = here.next();
    if recorded.cut != 0 {
        return match beyond {
            Some(_) => Verdict::SameUntil(recorded.cut),
            None if played.cut != 0 => Verdict::SameUntil(recorded.cut),
            None => differs(kept + 1, format!("it asked more; here {}", end_of(played))),
        };
    }
    let stopped = stopped_from_outside(recorded).is_some();
    match beyond {
        Some(_) if stopped => Verdict::Same,
        Some(more) => differs(kept + 1, format!("here it asks {} as well", told(&more))),
        None if stopped => Verdict::Same,
        None if (&recorded.code, recorded.end) == (&played.code, played.end) => Verdict::Same,
        None => {
            let (there, here) = (end_of(recorded), end_of(played));
            let same = "with something else";
            let how = if there == here { same.to_owned() } else { format!("here {here}") };
            differs(0, format!("{there}, {how}"))
        }
    }
}

fn told(entry: &Entry<'_>) -> String {
    let name = entry.function.name();
    if entry.label.is_empty() { name.to_owned() } else { format!("{name} {}", entry.label) }
}

fn end_of(tape: &Tape) -> String {
    match tape.code.as_str() {
        "" => "it ended with an output".to_owned(),
        code => format!("it ended with {code}"),
    }
}

/// Answers from a tape. Where the tape has no answer, the call is over.
struct Player<'t> {
    entries: VecDeque<Entry<'t>>,
    over: Arc<AtomicBool>,
}

impl<'t> Player<'t> {
    fn next(&mut self, function: Function) -> Result<&'t [u8], HostError> {
        let none = || {
            self.over.store(true, Ordering::Relaxed);
            HostError::Failed("the recording has no answer to this".to_owned())
        };
        let entry = self.entries.pop_front().ok_or_else(none)?;
        if entry.function != function {
            self.over.store(true, Ordering::Relaxed);
            return Err(HostError::Failed("the recording has another question here".to_owned()));
        }
        let why = || String::from_utf8_lossy(entry.result).into_owned();
        match entry.answered {
            Answered::Ok => Ok(entry.result),
            Answered::Denied => Err(HostError::Denied(why())),
            Answered::NotFound => Err(HostError::NotFound(why())),
            Answered::TooLarge => Err(HostError::TooLarge(why())),
            Answered::Failed => Err(HostError::Failed(why())),
            Answered::Invalid => Err(HostError::Invalid(why())),
            Answered::TimedOut => Err(HostError::TimedOut(why())),
            Answered::Cancelled => {
                self.over.store(true, Ordering::Relaxed);
                Err(HostError::Cancelled)
            }
        }
    }
}

impl Host for Player<'_> {
    fn http(&mut self, _: &HttpRequest) -> Result<HttpResponse, HostError> {
        let text = self.next(Function::Http)?;
        http_of_text(text)
            .ok_or_else(|| HostError::Failed("the recorded response does not read".to_owned()))
    }

    fn read_file(&mut self, _: &str, _: &str, _: usize) -> Result<Vec<u8>, HostError> {
        self.next(Function::ReadFile).map(<[u8]>::to_vec)
    }

    fn list_dir(&mut self, _: &str, _: &str) -> Result<Vec<DirEntry>, HostError> {
        let names = self.next(Function::ListDir)?;
        let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(dir_entry).collect())
    }

    fn ask(&mut self, ask: &Ask<'_>) -> Result<Vec<u8>, HostError> {
        self.next(ask.function()).map(<[u8]>::to_vec)
    }

    fn now_ms(&mut self) -> i64 {
        let text = self.next(Function::Now).ok().and_then(|text| std::str::from_utf8(text).ok());
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn random(&mut self, buffer: &mut [u8]) {
        let bytes = self.next(Function::Random).unwrap_or_default();
        let length = bytes.len().min(buffer.len());
        buffer[..length].copy_from_slice(&bytes[..length]);
    }
}

fn dir_entry(name: &[u8]) -> DirEntry {
    let (name, is_dir) = match name.strip_suffix(b"/") {
        Some(name) => (name, true),
        None => (name, false),
    };
    DirEntry { name: String::from_utf8_lossy(name).into_owned(), is_dir }
}

/// A response as it is recorded: status and header fields as JSON on one line, then the body.
pub(crate) fn http_text(response: &HttpResponse) -> Vec<u8> {
    let head = abi::HttpResponse { status: response.status, headers: response.headers.clone() };
    let mut text = serde_json::to_vec(&head).unwrap_or_default();
    text.push(b'\n');
    text.extend_from_slice(&response.body);
    text
}

fn http_of_text(text: &[u8]) -> Option<HttpResponse> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let head: abi::HttpResponse = serde_json::from_slice(&text[..end]).ok()?;
    let headers: BTreeMap<String, String> = head.headers;
    Some(HttpResponse { status: head.status, headers, body: text[end + 1..].to_vec() })
}
