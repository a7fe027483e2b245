//! What a guest was told from outside during one call, in order, so that the call can be made again
//! at the desk.
//!
//! Of each question the tape keeps which it was, a short label, a hash of what was asked, and the
//! answer. Values of secrets are masked before anything is hashed or kept, so neither they nor
//! a hash of them is on it. What does not fit any more is not kept, and the tape says from where on:
//! a call can only be made again from its beginning, so its first questions are worth more than its last.

use std::sync::Arc;

use openclaw_protocol::secret::Mask;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::call::{Fault, cut};
use crate::host::HostError;
use crate::limits;

/// Bytes in front of an entry's label and answer.
const HEAD_BYTES: usize = 20;

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Function {
    /// Where in which run this happens.
    Context = 1,
    /// A setting.
    Config = 2,
    /// A variable of the run.
    Var = 3,
    /// An HTTP request.
    Http = 4,
    /// The beginning of a file.
    ReadFile = 5,
    /// The entries of a directory.
    ListDir = 6,
    /// The time.
    Now = 7,
    /// Random bytes.
    Random = 8,
    /// A part of a file.
    FileReadAt = 9,
    /// What a file is like.
    FileStat = 10,
    /// A file to write.
    FileWrite = 11,
    /// A file to remove.
    FileRemove = 12,
    /// A remembered value.
    KvGet = 13,
    /// The keys of remembered values, and their sizes.
    KvList = 14,
    /// A value to remember.
    KvSet = 15,
    /// A value to forget.
    KvRemove = 16,
    /// A message for the site's broker.
    MqttPublish = 17,
    /// What stands for a secret.
    SecretHandle = 18,
    /// A connection.
    TcpConnect = 19,
    /// A serial port.
    SerialOpen = 20,
    /// Bytes of a stream.
    StreamRead = 21,
    /// Bytes for a stream.
    StreamWrite = 22,
    /// The end of a stream.
    StreamClose = 23,
    /// The level of a digital input or output.
    GpioRead = 24,
    /// A level for a digital output.
    GpioWrite = 25,
    /// A transaction on an I²C bus.
    I2cTransfer = 26,
    /// A command.
    Exec = 27,
}

impl Function {
    const ALL: [(Self, &'static str); 27] = [
        (Self::Context, "context"),
        (Self::Config, "config_get"),
        (Self::Var, "var_get"),
        (Self::Http, "http_request"),
        (Self::ReadFile, "file_read"),
        (Self::ListDir, "dir_list"),
        (Self::Now, "now_ms"),
        (Self::Random, "random"),
        (Self::FileReadAt, "file_read_at"),
        (Self::FileStat, "file_stat"),
        (Self::FileWrite, "file_write"),
        (Self::FileRemove, "file_remove"),
        (Self::KvGet, "kv_get"),
        (Self::KvList, "kv_keys"),
        (Self::KvSet, "kv_set"),
        (Self::KvRemove, "kv_remove"),
        (Self::MqttPublish, "mqtt_publish"),
        (Self::SecretHandle, "secret_handle"),
        (Self::TcpConnect, "tcp_connect"),
        (Self::SerialOpen, "serial_open"),
        (Self::StreamRead, "stream_read"),
        (Self::StreamWrite, "stream_write"),
        (Self::StreamClose, "stream_close"),
        (Self::GpioRead, "gpio_read"),
        (Self::GpioWrite, "gpio_write"),
        (Self::I2cTransfer, "i2c_transfer"),
        (Self::Exec, "exec"),
    ];

    /// Its name, as in the plugins' interface.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(function, _)| *function == self).map_or("", |(_, name)| name)
    }

    /// Whether the host is asked; the others are answered from what came with the call, or with
    /// its result.
    pub(crate) const fn is_of_host(self) -> bool {
        !matches!(
            self,
            Self::Context
                | Self::Config
                | Self::Var
                | Self::KvSet
                | Self::KvRemove
                | Self::MqttPublish
        )
    }

    pub(crate) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.iter().find(|(function, _)| *function as u8 == number).map(|(found, _)| *found)
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(found, _)| *found)
    }
}

/// How a question was answered. The numbers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Answered {
    /// With a value.
    Ok = 0,
    /// [`HostError::Denied`].
    Denied = 1,
    /// [`HostError::NotFound`].
    NotFound = 2,
    /// [`HostError::TooLarge`].
    TooLarge = 3,
    /// [`HostError::Failed`].
    Failed = 4,
    /// [`HostError::Invalid`].
    Invalid = 5,
    /// [`HostError::Cancelled`].
    Cancelled = 6,
    /// [`HostError::TimedOut`].
    TimedOut = 7,
}

impl Answered {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Ok, "ok"),
        (Self::Denied, "denied"),
        (Self::NotFound, "not_found"),
        (Self::TooLarge, "too_large"),
        (Self::Failed, "failed"),
        (Self::Invalid, "invalid"),
        (Self::Cancelled, "cancelled"),
        (Self::TimedOut, "timed_out"),
    ];

    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(answered, _)| *answered == self).map_or("", |(_, name)| name)
    }

    pub(crate) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.iter().find(|(answered, _)| *answered as u8 == number).map(|(found, _)| *found)
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(found, _)| *found)
    }
}

impl From<&HostError> for Answered {
    fn from(error: &HostError) -> Self {
        match error {
            HostError::Denied(_) => Self::Denied,
            HostError::NotFound(_) => Self::NotFound,
            HostError::TooLarge(_) => Self::TooLarge,
            HostError::Failed(_) => Self::Failed,
            HostError::Invalid(_) => Self::Invalid,
            HostError::Cancelled => Self::Cancelled,
            HostError::TimedOut(_) => Self::TimedOut,
        }
    }
}

/// The questions of one call and their answers, and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tape {
    /// [`Entry`]s, one behind the other.
    #[serde(with = "openclaw_protocol::wire::bytes")]
    pub(crate) entries: Vec<u8>,
    /// Questions, also those that are not kept.
    pub calls: u32,
    /// The first question that is not kept, from 1, and none behind it is; 0 where all are.
    pub cut: u32,
    /// The error's code; empty where the call gave an output.
    pub code: String,
    /// Hash of the output, or of the error's message.
    pub end: u64,
    /// Fuel that it used.
    pub fuel: u64,
}

/// One question and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'t> {
    /// What was asked.
    pub function: Function,
    /// How it was answered.
    pub answered: Answered,
    /// Hash of the arguments.
    pub arguments: u64,
    /// Hash of how and with what it was answered: an answer that was changed since does not have it.
    pub sum: u32,
    /// For people: the address, the path, the name.
    pub label: &'t str,
    /// The value, or why there is none.
    pub result: &'t [u8],
}

impl Entry<'_> {
    /// What [`Entry::sum`] must be.
    #[must_use]
    pub fn sum_of(answered: Answered, result: &[u8]) -> u32 {
        hash(&[&[answered as u8], result]) as u32
    }
}

impl Tape {
    /// What is kept, in order. What does not read any more ends it.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = self.entries.as_slice();
        std::iter::from_fn(move || {
            let (entry, behind) = read(rest)?;
            rest = behind;
            Some(entry)
        })
    }

    /// Bytes that it takes up, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.entries.len() + self.code.len() + HEAD_BYTES
    }

    pub(crate) fn push(&mut self, entry: &Entry<'_>) {
        self.entries.extend_from_slice(&[entry.function as u8, entry.answered as u8]);
        self.entries.extend_from_slice(&(entry.label.len() as u16).to_le_bytes());
        self.entries.extend_from_slice(&entry.arguments.to_le_bytes());
        self.entries.extend_from_slice(&entry.sum.to_le_bytes());
        self.entries.extend_from_slice(&(entry.result.len() as u32).to_le_bytes());
        self.entries.extend_from_slice(entry.label.as_bytes());
        self.entries.extend_from_slice(entry.result);
    }
}

fn read(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let [f, a, l0, l1, h0, h1, h2, h3, h4, h5, h6, h7, s0, s1, s2, s3, r0, r1, r2, r3] = *head;
    let (label, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([l0, l1])))?;
    let (result, rest) = rest.split_at_checked(u32::from_le_bytes([r0, r1, r2, r3]) as usize)?;
    let entry = Entry {
        function: Function::of_number(f)?,
        answered: Answered::of_number(a)?,
        arguments: u64::from_le_bytes([h0, h1, h2, h3, h4, h5, h6, h7]),
        sum: u32::from_le_bytes([s0, s1, s2, s3]),
        label: std::str::from_utf8(label).ok()?,
        result,
    };
    Some((entry, rest))
}

/// Writes a tape while a call runs.
#[derive(Debug)]
pub(crate) struct Recorder {
    tape: Tape,
    mask: Arc<Mask>,
}

impl Recorder {
    pub(crate) fn new(mask: Arc<Mask>) -> Self {
        Self { tape: Tape::default(), mask }
    }

    /// Takes down a question and its answer. `cut_at`: an answer of this length may go on.
    pub(crate) fn note(
        &mut self,
        function: Function,
        label: &str,
        arguments: &[&[u8]],
        answer: Result<&[u8], &HostError>,
        cut_at: usize,
    ) {
        let tape = &mut self.tape;
        tape.calls = tape.calls.saturating_add(1);
        if tape.cut != 0 {
            return;
        }
        let message;
        let (answered, result) = match answer {
            Ok(result) => (Answered::Ok, result),
            Err(error) => {
                message = error.to_string();
                (Answered::from(error), message.as_bytes())
            }
        };
        // Before anything is masked: that takes its time.
        if tape.entries.len() + HEAD_BYTES + result.len() > limits::TAPE_BYTES {
            tape.cut = tape.calls;
            return;
        }
        let label = self.mask.text(label).unwrap_or_else(|| label.to_owned());
        let mut label = cut(&label, limits::TAPE_LABEL_BYTES);
        if label.len() + 3 >= limits::TAPE_LABEL_BYTES {
            self.mask.clean_end(&mut label);
        }
        let mut masked = self.mask.bytes(result);
        if result.len() >= cut_at {
            let whole = masked.get_or_insert_with(|| result.to_vec());
            self.mask.clean_end_of_bytes(whole);
        }
        let result = masked.as_deref().unwrap_or(result);
        let arguments = masked_hash(&self.mask, &[function.name().as_bytes()], arguments);
        let sum = Entry::sum_of(answered, result);
        let entry = Entry { function, answered, arguments, sum, label: &label, result };
        if tape.entries.len() + HEAD_BYTES + label.len() + result.len() > limits::TAPE_BYTES {
            tape.cut = tape.calls;
        } else {
            tape.push(&entry);
        }
    }

    /// A question whose answer is too long to be kept.
    pub(crate) fn leave_out(&mut self) {
        let tape = &mut self.tape;
        tape.calls = tape.calls.saturating_add(1);
        if tape.cut == 0 {
            tape.cut = tape.calls;
        }
    }

    /// How the call ended.
    pub(crate) fn finish(mut self, result: &Result<Vec<u8>, Fault>, fuel: u64) -> Tape {
        let (code, end) = match result {
            Ok(output) => ("", masked_hash(&self.mask, &[], &[output])),
            Err(fault) => (&*fault.code, masked_hash(&self.mask, &[], &[fault.message.as_bytes()])),
        };
        self.tape.code = self.mask.text(code).unwrap_or_else(|| code.to_owned());
        self.tape.end = end;
        self.tape.fuel = fuel;
        self.tape
    }
}

/// A hash over the first parts as they are, and the others without values of secrets.
fn masked_hash(mask: &Mask, plain: &[&[u8]], parts: &[&[u8]]) -> u64 {
    let masked: Vec<Option<Vec<u8>>> = parts.iter().map(|part| mask.bytes(part)).collect();
    let parts = parts.iter().zip(&masked);
    let parts = parts.map(|(part, masked)| masked.as_deref().unwrap_or(part));
    let all: Vec<&[u8]> = plain.iter().copied().chain(parts).collect();
    hash(&all)
}

/// Eight bytes of SHA-256 over the parts, each with its length.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let digest: [u8; 32] = hasher.finalize().into();
    digest.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}
