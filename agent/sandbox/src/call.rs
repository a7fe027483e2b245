//! One call of a plugin: what goes in, what comes out, and the ways it can fail.

use std::borrow::Cow;
use std::sync::Arc;

use openclaw_plugin_abi::{Context, Failure, Level};
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::{CallLimits, Permissions};
use openclaw_protocol::secret::Mask;

use crate::host::Stop;
use crate::kept::Kept;
use crate::limits;
use crate::tape::Tape;

/// What a call is made of.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The module's export to call.
    pub export: &'a str,
    /// The input, usually JSON.
    pub input: &'a [u8],
    /// The plugin's settings.
    pub config: &'a VecMap<String, String>,
    /// The run's variables as the last committed attempt left them.
    pub vars: VecMap<String, Vec<u8>>,
    /// What the call may use at most.
    pub limits: CallLimits,
    /// What the plugin was granted, not what it asked for.
    pub permissions: &'a Permissions,
    /// Where in which run this happens.
    pub context: Context,
    /// Where given, what the guest is told from outside is recorded, but for these values.
    pub record: Option<Arc<Mask>>,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The output's bytes, or why there are none.
    pub result: Result<Vec<u8>, Fault>,
    /// The run's variables afterwards; commit them only with a success.
    pub vars: VecMap<String, Vec<u8>>,
    /// What is to be kept and sent with a success; empty after a failure.
    pub kept: Kept,
    /// What the plugin logged, oldest first.
    pub logs: Vec<LogLine>,
    /// Log lines that were over the limits.
    pub logs_dropped: u32,
    /// Fuel used: the same for the same module, input and host answers.
    pub fuel_used: u64,
    /// The most memory held at once: linear memory, tables, blocks on the host's side and the
    /// result.
    pub peak_memory_bytes: u64,
    /// Requests to the outside: files, HTTP, clock, random.
    pub host_calls: u32,
    /// What was asked for and denied, as `kind:value`, each once.
    pub denials: Vec<String>,
    /// What was recorded, where that was wanted and the engine did not fail.
    pub tape: Option<Box<Tape>>,
}

/// One log line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LogLine {
    /// How important it is.
    pub level: Level,
    /// The text, cut to [`limits::LOG_LINE_BYTES`].
    pub message: String,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Fault {
    /// One of the language's stable codes; a plugin can only choose among those meant for it.
    pub code: Cow<'static, str>,
    /// What failed, why, and what to try.
    pub message: String,
    /// Whether another attempt may go better.
    pub retryable: bool,
}

impl Call<'_> {
    /// A call of nothing with nothing, for where only the host's functions are of interest.
    pub(crate) fn nothing() -> Self {
        static CONFIG: VecMap<String, String> = VecMap::new();
        static PERMISSIONS: Permissions = Permissions::NONE;
        let limits = CallLimits { fuel: 0, memory_bytes: 0, output_bytes: 0 };
        Self {
            export: "",
            input: &[],
            config: &CONFIG,
            vars: VecMap::new(),
            limits,
            permissions: &PERMISSIONS,
            context: Context::default(),
            record: None,
        }
    }
}

impl Outcome {
    /// A call that failed before it began.
    pub(crate) fn of(fault: Fault) -> Self {
        Self {
            result: Err(fault),
            vars: VecMap::new(),
            kept: Kept::default(),
            logs: Vec::new(),
            logs_dropped: 0,
            fuel_used: 0,
            peak_memory_bytes: 0,
            host_calls: 0,
            denials: Vec::new(),
            tape: None,
        }
    }
}

impl Fault {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: Cow::Borrowed(code), message: message.into(), retryable: false }
    }

    pub(crate) fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// What the plugin itself reported: a [`Failure`] as JSON, or plain text.
    pub(crate) fn reported(bytes: &[u8], denied: bool) -> Self {
        let Ok(failure) = serde_json::from_slice::<Failure>(bytes) else {
            let message = cut(&String::from_utf8_lossy(bytes), limits::MESSAGE_BYTES);
            // Plain text says nothing about repetition, so the workflow's own policy decides.
            return Self::new("plugin.error", message).retryable();
        };
        Self {
            code: allowed_code(&failure.code, denied),
            message: cut(&failure.message, limits::MESSAGE_BYTES),
            retryable: failure.retryable,
        }
    }
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Timeout => Self::new("timeout", "the attempt's time was over").retryable(),
            Stop::Cancelled => Self::new("cancelled", "the run is being cancelled"),
        }
    }
}

/// Workflows match on codes, so a plugin must not claim what only the engine can know: anything
/// outside the families meant for plugins becomes `user.…`.
fn allowed_code(code: &str, denied: bool) -> Cow<'static, str> {
    let fit = code.len() <= limits::CODE_BYTES
        && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.' || b == b'-');
    if code.is_empty() || !fit {
        return Cow::Borrowed("plugin.error");
    }
    let free = matches!(
        code,
        "plugin.error" | "plugin.output" | "inputs.invalid" | "http.status" | "http.connect"
    ) || (code == "permission.denied" && denied)
        || code.strip_prefix("user.").is_some_and(|rest| !rest.is_empty());
    Cow::Owned(if free { code.to_owned() } else { format!("user.{code}") })
}

/// At most `max` bytes of a text, cut between characters.
pub(crate) fn cut(text: &str, max: usize) -> String {
    let end = (0..=max.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_chooses_only_among_the_codes_meant_for_it() {
        for (said, becomes) in [
            ("user.cold", "user.cold"),
            ("cold", "user.cold"),
            ("timeout", "user.timeout"),
            ("cancelled", "user.cancelled"),
            ("permission.denied", "user.permission.denied"),
            ("http.status", "http.status"),
            ("", "plugin.error"),
            ("a b", "plugin.error"),
            ("user.", "user.user."),
        ] {
            let json = serde_json::json!({ "code": said, "message": "m" }).to_string();
            assert_eq!(Fault::reported(json.as_bytes(), false).code, becomes, "{said}");
        }
        let json = br#"{"code":"permission.denied","message":"m"}"#;
        assert_eq!(Fault::reported(json, true).code, "permission.denied");
    }

    #[test]
    fn plain_text_is_a_plugin_error_and_is_cut() {
        let fault = Fault::reported("é".repeat(5_000).as_bytes(), false);
        assert_eq!(fault.code, "plugin.error");
        assert!(fault.message.len() <= limits::MESSAGE_BYTES && fault.message.ends_with('é'));
    }
}
