//! Runs a command that the device's configuration spells out, and hands back what it said.

use openclaw_plugin_sdk::exec::Command;
use openclaw_plugin_sdk::{Error, Result, export};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The command and what it is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    #[serde(default = "command")]
    command: String,
    #[serde(default)]
    args: Vec<String>,
    /// Standard input: a text as it is, anything else as JSON.
    #[serde(default)]
    stdin: Option<Value>,
    #[serde(default = "timeout_ms")]
    timeout_ms: u32,
    /// Exit codes that are a success.
    #[serde(default = "zero")]
    ok_codes: Vec<i32>,
    /// Whether standard output has to be JSON.
    #[serde(default)]
    json: bool,
}

/// How it ended and what it said.
#[derive(Debug, Serialize)]
pub struct Output {
    code: i32,
    /// Text, or any JSON where `json` is set.
    stdout: Value,
    stderr: String,
    /// Whether standard output was longer and is cut.
    truncated: bool,
}

export!(execute, run);

/// Runs a command and waits for its end.
///
/// # Errors
/// `user.exit` for an exit code that is no success; `user.signal`; `user.not_json`; `user.not_text`;
/// `user.timed_out`; `user.not_found`; `permission.denied`.
pub fn run(input: Input) -> Result<Output> {
    let Input { command, args, stdin, timeout_ms, ok_codes, json } = input;
    let mut building = Command::new(command.as_str()).timeout_ms(timeout_ms);
    for arg in args {
        building = building.arg(arg);
    }
    if let Some(stdin) = stdin {
        let text = stdin.as_str().map_or_else(|| stdin.to_string(), str::to_owned);
        building = building.stdin(text);
    }
    let done = building.run()?;
    let said = || {
        let end: Vec<char> = done.stderr.trim().chars().rev().take(300).collect();
        end.into_iter().rev().collect::<String>()
    };
    let Some(code) = done.code else {
        let signal = done.signal.unwrap_or_default();
        return Err(Error::new(
            "user.signal",
            format!("signal {signal} ended {command}: {}", said()),
        ));
    };
    if !ok_codes.contains(&code) {
        return Err(Error::new("user.exit", format!("{command} ended with {code}: {}", said())));
    }
    let text = String::from_utf8(done.stdout)
        .map_err(|_| Error::new("user.not_text", format!("{command} wrote what is not UTF-8")))?;
    let stdout = if json {
        let what = if done.truncated { "JSON that was too long and is cut" } else { "no JSON" };
        let not_json = |e| Error::new("user.not_json", format!("{command} wrote {what}: {e}"));
        serde_json::from_str(&text).map_err(not_json)?
    } else {
        Value::String(text)
    };
    Ok(Output { code, stdout, stderr: done.stderr, truncated: done.truncated })
}

fn command() -> String {
    "command".to_owned()
}

const fn timeout_ms() -> u32 {
    30_000
}

fn zero() -> Vec<i32> {
    vec![0]
}
