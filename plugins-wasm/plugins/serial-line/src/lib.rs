//! Speaks with devices that answer line by line at a serial port: scales, meters, readers.

use openclaw_plugin_sdk::{Error, Result, export, serial};
use serde::{Deserialize, Serialize};

/// Lines of one call.
const LINES: u32 = 100;
/// Bytes of one line.
const LINE_BYTES: u32 = 65_536;

/// What to send, and what to wait for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    #[serde(default = "port")]
    port: String,
    /// A line to send; nothing where absent.
    #[serde(default)]
    send: Option<String>,
    /// What stands behind the line that is sent; the delimiter where absent.
    #[serde(default)]
    ending: Option<String>,
    /// What ends a line that comes.
    #[serde(default = "delimiter")]
    delimiter: String,
    /// Lines to wait for.
    #[serde(default = "one")]
    lines: u32,
    #[serde(default = "timeout_ms")]
    timeout_ms: u32,
    #[serde(default = "max_bytes")]
    max_bytes: u32,
}

/// The lines that came.
#[derive(Debug, Serialize)]
pub struct Output {
    /// The first of them.
    line: Option<String>,
    lines: Vec<String>,
}

export!(execute, exchange);

/// Sends a line and waits for others.
///
/// # Errors
/// `user.timed_out` where no whole line came in time; `user.too_large` for a line over `max_bytes`;
/// `user.not_text` for one that is not UTF-8; `user.not_found` for a port that there is not;
/// `permission.denied`; `inputs.invalid`.
pub fn exchange(input: Input) -> Result<Output> {
    if input.delimiter.is_empty() {
        return Err(Error::new("inputs.invalid", "`delimiter` is empty"));
    }
    if input.lines > LINES || !(1..=LINE_BYTES).contains(&input.max_bytes) {
        let message = format!("`lines` is at most {LINES}, and `max_bytes` 1 to {LINE_BYTES}");
        return Err(Error::new("inputs.invalid", message));
    }
    let mut port = serial::open(&input.port)?;
    port.set_timeout_ms(input.timeout_ms);
    if let Some(send) = &input.send {
        let ending = input.ending.as_ref().unwrap_or(&input.delimiter);
        port.write_all(format!("{send}{ending}").as_bytes())?;
    }
    let mut lines = Vec::new();
    for _ in 0..input.lines {
        let line = port.read_until(input.delimiter.as_bytes(), input.max_bytes)?;
        lines.push(text(line)?);
    }
    Ok(Output { line: lines.first().cloned(), lines })
}

fn text(line: Vec<u8>) -> Result<String> {
    String::from_utf8(line).map_err(|e| {
        let start: Vec<String> = e.as_bytes().iter().take(16).map(|b| format!("{b:02x}")).collect();
        let message =
            format!("the line is not text, it begins {}; is the speed right?", start.join(" "));
        Error::new("user.not_text", message)
    })
}

fn port() -> String {
    "line".to_owned()
}

fn delimiter() -> String {
    "\n".to_owned()
}

const fn one() -> u32 {
    1
}

const fn timeout_ms() -> u32 {
    2_000
}

const fn max_bytes() -> u32 {
    1_024
}
