//! `openclaw run`: its verbs, as people type them.

use clap::Subcommand;
use serde_json::{Map, Value};

/// `openclaw run`.
#[derive(Debug, Subcommand)]
pub(crate) enum RunVerb {
    /// List executions, newest first
    #[command(alias = "ls")]
    List {
        /// Of one device
        #[arg(short, long)]
        device: Option<String>,
        /// Of one workflow
        #[arg(short, long)]
        workflow: Option<String>,
        /// In one state: pending, running, completed, failed, cancelled, delayed
        #[arg(short, long)]
        status: Option<String>,
        /// How many
        #[arg(short, long, default_value_t = 20)]
        limit: usize,
    },
    /// Show one with its steps
    Get {
        /// Run id, or DEVICE/RUN
        run: String,
    },
    /// Follow one until it ends; exit code 9 if it fails
    Watch {
        /// Run id, or DEVICE/RUN
        run: String,
        /// Seconds to wait at most
        #[arg(long, default_value_t = 3600)]
        timeout: u64,
    },
    /// End one
    Cancel {
        /// Run id, or DEVICE/RUN
        run: String,
    },
    /// Run the same workflow with the same inputs on the same device again
    Retry {
        /// Run id, or DEVICE/RUN
        run: String,
    },
    /// Say something to one: a `wait` for it takes it, now or later
    Signal {
        /// Run id, or DEVICE/RUN
        run: String,
        /// The signal's name
        name: String,
        /// What goes with it: JSON, or else a text
        #[arg(long, value_name = "JSON", value_parser = data)]
        data: Option<Value>,
    },
    /// List approvals that wait for an answer, on all devices, the oldest first
    Approvals {
        /// Of one device
        #[arg(short, long)]
        device: Option<String>,
        /// How many
        #[arg(short, long, default_value_t = 20)]
        limit: usize,
    },
    /// Answer an approval; the first valid answer that reaches the device counts
    Approve {
        /// Run id, or DEVICE/RUN
        run: String,
        /// Path of the step that asks, as `run approvals` shows it
        step: String,
        /// One of its choices
        #[arg(short, long, value_name = "X")]
        choice: String,
        /// The form as filled in, a JSON object
        #[arg(long, value_name = "JSON", value_parser = object)]
        form: Option<Map<String, Value>>,
    },
}

/// Reads JSON, or else takes the text; what begins like JSON and is none is a slip.
fn data(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(e) if text.trim_start().starts_with(['{', '[', '"']) => Err(format!("no JSON: {e}")),
        Err(_) => Ok(Value::String(text.to_owned())),
    }
}

/// Reads a JSON object.
fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|e| format!("no JSON object: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_json_or_a_text() {
        assert_eq!(data("{\"n\":1}"), Ok(serde_json::json!({ "n": 1 })));
        assert_eq!(data("21.0").unwrap().to_string(), "21.0");
        assert_eq!(data("open"), Ok("open".into()));
        assert!(data("{n: 1}").is_err() && object("[1]").is_err());
    }
}
