//! What one call keeps on the host's side while its guest runs.

use openclaw_plugin_abi::{Context, Level, Status};
use openclaw_protocol::ordered::VecMap;
use wasmi::Memory;

use crate::arena::Arena;
use crate::call::{Call, Fault, LogLine, cut};
use crate::host::HostError;
use crate::limiter::Limiter;
use crate::limits;
use crate::request::Request;
use crate::tape::{Function, Recorder};

/// The store's data: everything a host function may touch without asking the outside.
pub(crate) struct State {
    pub(crate) input: Vec<u8>,
    pub(crate) output: Vec<u8>,
    pub(crate) output_max: usize,
    /// The output as address and length in a block, of which it is read when the call ends.
    output_span: Option<(u64, u64)>,
    /// What the plugin reported as its failure.
    pub(crate) error: Option<Vec<u8>>,
    /// The result that waits to be read; see the ABI's memory rule.
    pub(crate) result: Vec<u8>,
    pub(crate) blocks: Arena,
    /// The input as a block, once it was asked for as one; 0 before.
    pub(crate) input_block: u64,
    /// The guest's linear memory, known once it is instantiated.
    pub(crate) memory: Option<Memory>,
    pub(crate) limiter: Limiter,
    pub(crate) logs: Logs,
    pub(crate) config: VecMap<String, String>,
    pub(crate) vars: VecMap<String, Vec<u8>>,
    pub(crate) context: Context,
    /// Status and header block of the last response, for the Extism functions.
    pub(crate) http_status: i32,
    pub(crate) http_headers: Vec<u8>,
    /// What the guest waits for while it is suspended.
    pub(crate) request: Option<Request>,
    /// Fuel that host functions used beyond what was left of the slice.
    pub(crate) fuel_debt: u64,
    pub(crate) denials: Vec<String>,
    /// Bytes that are kept on the host's side until the call ends.
    held: usize,
    /// Takes down what the guest is told from outside, where that is wanted.
    pub(crate) recorder: Option<Box<Recorder>>,
}

impl State {
    pub(crate) fn new(call: &mut Call<'_>) -> Self {
        Self {
            input: call.input.to_vec(),
            output: Vec::new(),
            output_max: call.limits.output_bytes as usize,
            output_span: None,
            error: None,
            result: Vec::new(),
            blocks: Arena::default(),
            input_block: 0,
            memory: None,
            limiter: Limiter::new(call.limits.memory_bytes as usize),
            logs: Logs::default(),
            config: call.config.clone(),
            vars: std::mem::take(&mut call.vars),
            context: std::mem::take(&mut call.context),
            http_status: 0,
            http_headers: Vec::new(),
            request: None,
            fuel_debt: 0,
            denials: Vec::new(),
            held: 0,
            recorder: call.record.take().map(|mask| Box::new(Recorder::new(mask))),
        }
    }

    /// Keeps an answer for `result_read` and gives its length.
    ///
    /// # Errors
    /// It does not fit into the call's memory.
    pub(crate) fn keep_result(&mut self, bytes: Vec<u8>) -> Result<i64, Fault> {
        self.result = bytes;
        self.account()?;
        Ok(self.result.len() as i64)
    }

    /// Keeps a message for `result_read` and gives the status.
    pub(crate) fn keep_status(&mut self, status: Status, message: &str) -> i32 {
        self.result = cut(message, limits::MESSAGE_BYTES).into_bytes();
        status.code()
    }

    /// Makes a block of the Extism memory.
    ///
    /// # Errors
    /// It does not fit into the call's memory.
    pub(crate) fn keep_block(&mut self, bytes: Vec<u8>) -> Result<u64, Fault> {
        self.room_for(Arena::cost(bytes.len()))?;
        let handle = self.blocks.insert(bytes.into_boxed_slice());
        self.account()?;
        Ok(handle)
    }

    /// Whether `bytes` more may be held on the host's side.
    ///
    /// # Errors
    /// They do not fit into the call's memory.
    pub(crate) fn room_for(&self, bytes: usize) -> Result<(), Fault> {
        if bytes > self.limiter.room() { Err(self.limiter.fault()) } else { Ok(()) }
    }

    /// Bytes that the call may still hold.
    pub(crate) fn room(&self) -> usize {
        self.limiter.room()
    }

    /// Tells how much is kept until the call ends.
    ///
    /// # Errors
    /// It does not fit into the call's memory.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), Fault> {
        self.held = bytes;
        self.account()
    }

    fn account(&mut self) -> Result<(), Fault> {
        let kept = self.result.len() + self.http_headers.len() + self.held;
        self.limiter.hold_outside(self.blocks.bytes() + kept)
    }

    /// Remembers that something was asked for and denied.
    pub(crate) fn deny(&mut self, what: String) {
        if self.denials.len() < limits::DENIALS && !self.denials.contains(&what) {
            self.denials.push(what);
        }
    }

    /// Records what the guest asked by name and was told, where that is wanted.
    pub(crate) fn note(&mut self, function: Function, name: &str, value: Option<&[u8]>) {
        if let Some(recorder) = &mut self.recorder {
            let absent = HostError::NotFound(String::new());
            let answer = value.ok_or(&absent);
            recorder.note(function, name, &[name.as_bytes()], answer, usize::MAX);
        }
    }

    /// Sets the output.
    ///
    /// # Errors
    /// It is over the call's limit, which ends the call: a cut output would be a wrong one.
    pub(crate) fn set_output(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.check_output(bytes.len())?;
        self.output_span = None;
        self.output.clear();
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    /// Sets the output to what will be in this part of a block when the call ends, or when the block is
    /// given back. There is none where that is outside every block.
    ///
    /// # Errors
    /// As [`State::set_output`].
    pub(crate) fn set_output_span(&mut self, at: u64, len: u64) -> Result<Option<()>, Fault> {
        if len == 0 {
            return self.set_output(&[]).map(Some);
        }
        let Some(found) = self.blocks.span(at, len).map(<[u8]>::len) else { return Ok(None) };
        self.check_output(found)?;
        self.output.clear();
        self.output_span = Some((at, len));
        Ok(Some(()))
    }

    /// The output, when the call has ended.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        self.read_output();
        std::mem::take(&mut self.output)
    }

    fn read_output(&mut self) {
        if let Some((at, len)) = self.output_span.take() {
            self.output = self.blocks.span(at, len).unwrap_or_default().to_vec();
        }
    }

    /// Gives a block back.
    pub(crate) fn free(&mut self, handle: u64) {
        let in_it = |(at, _)| {
            let block = self.blocks.block(handle);
            block.is_some_and(|block| (handle..handle + block.len() as u64).contains(&at))
        };
        if self.output_span.is_some_and(in_it) {
            self.read_output();
        }
        self.blocks.free(handle);
    }

    fn check_output(&self, len: usize) -> Result<(), Fault> {
        let max = self.output_max;
        if len <= max {
            return Ok(());
        }
        Err(Fault::new(
            "plugin.output",
            format!(
                "the output has {len} bytes, the limit is {max}; send less, or raise limits.output_bytes in plugin.toml"
            ),
        ))
    }

    /// Sets a variable of the run, or forgets it.
    ///
    /// # Errors
    /// The run's variables would grow over their limit; the text says so.
    pub(crate) fn set_var(&mut self, key: &str, value: Option<&[u8]>) -> Result<(), String> {
        let Some(value) = value else {
            self.vars.remove(key);
            return Ok(());
        };
        let others = self.vars.iter().filter(|(k, _)| *k != key);
        let (count, bytes) = others.fold((0, 0), |(n, b), (k, v)| (n + 1, b + k.len() + v.len()));
        if count >= limits::VARS || bytes + key.len() + value.len() > limits::VARS_BYTES {
            return Err(format!(
                "the run's variables are over {} or {} bytes together; keep less",
                limits::VARS,
                limits::VARS_BYTES
            ));
        }
        self.vars.insert(key.to_owned(), value.to_vec());
        Ok(())
    }
}

/// Log lines within their limits.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    pub(crate) lines: Vec<LogLine>,
    pub(crate) dropped: u32,
    bytes: usize,
    /// Lines of standard output and standard error that have not ended yet.
    open: [Vec<u8>; 2],
}

impl Logs {
    /// The least level that is kept; plugins can ask, and so spare themselves the work.
    pub(crate) const LEVEL: Level = Level::Debug;

    pub(crate) fn push(&mut self, level: Level, text: &[u8]) {
        if level < Self::LEVEL {
            return;
        }
        let text = &text[..text.len().min(limits::LOG_LINE_BYTES)];
        if self.lines.len() >= limits::LOG_LINES || self.bytes + text.len() > limits::LOG_BYTES {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let message = cut(&String::from_utf8_lossy(text), limits::LOG_LINE_BYTES);
        self.bytes += message.len();
        self.lines.push(LogLine { level, message });
    }

    /// Takes what was written to standard output (0) or standard error (1), line by line.
    pub(crate) fn stream(&mut self, which: usize, text: &[u8]) {
        for piece in text.split_inclusive(|b| *b == b'\n') {
            let open = &mut self.open[which];
            let room = limits::LOG_LINE_BYTES.saturating_sub(open.len());
            let line = piece.strip_suffix(b"\n");
            let body = line.unwrap_or(piece);
            open.extend_from_slice(&body[..body.len().min(room)]);
            if line.is_some() {
                self.end_line(which);
            }
        }
    }

    /// Takes lines that never ended as they are.
    pub(crate) fn finish(&mut self) {
        for which in 0..self.open.len() {
            if !self.open[which].is_empty() {
                self.end_line(which);
            }
        }
    }

    fn end_line(&mut self, which: usize) {
        let line = std::mem::take(&mut self.open[which]);
        self.push(if which == 0 { Level::Info } else { Level::Warn }, &line);
    }
}
