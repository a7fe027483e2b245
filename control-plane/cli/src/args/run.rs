//! `openclaw run`: its verbs, as people type them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use openclaw_protocol::run::RunStatus;
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
    /// Run the same workflow with the same inputs on the same device again: one run, or all that
    /// ended badly and match
    Retry {
        /// Run id, or DEVICE/RUN
        #[arg(required_unless_present_any = ["device", "workflow", "error", "since"])]
        run: Option<String>,
        /// Go on from the failed step, with what had succeeded before it
        #[arg(long)]
        from_failed: bool,
        #[command(flatten)]
        which: Which,
        /// Only say which runs are meant
        #[arg(long, conflicts_with = "run")]
        dry_run: bool,
    },
    /// Fetch the recording of one from its device, for `openclaw replay`
    Export {
        /// Run id, or DEVICE/RUN
        run: String,
        /// Write it there; `-` is standard output, as without it
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Seconds to wait at most
        #[arg(long, default_value_t = 60)]
        timeout: u64,
    },
    /// Have the next runs of a workflow recorded with all that their plugins are told from outside,
    /// for `openclaw replay`
    Record {
        /// On which device
        #[arg(short, long)]
        device: String,
        /// Of which workflow
        #[arg(short, long)]
        workflow: String,
        /// How many runs, instead of what was wanted before; 0 for none
        #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=100))]
        next: u32,
        /// Seconds to wait at most for the device's word
        #[arg(long, default_value_t = 60)]
        timeout: u64,
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

/// Which runs are retried.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// All of one device
    #[arg(short, long, conflicts_with = "run")]
    pub(crate) device: Option<String>,
    /// All of one workflow
    #[arg(short, long, conflicts_with = "run")]
    pub(crate) workflow: Option<String>,
    /// All in one state: failed (where not given) or cancelled
    #[arg(short, long, conflicts_with = "run", value_parser = badly_ended)]
    pub(crate) status: Option<RunStatus>,
    /// All with one error code; `http.*` means all that begin so
    #[arg(short, long, conflicts_with = "run", value_name = "CODE")]
    pub(crate) error: Option<String>,
    /// All that ended so long ago at most, such as 90m or 2d
    #[arg(long, conflicts_with = "run", value_name = "DURATION", value_parser = duration)]
    pub(crate) since: Option<Duration>,
}

fn badly_ended(text: &str) -> Result<RunStatus, String> {
    match text {
        "failed" => Ok(RunStatus::Failed),
        "cancelled" => Ok(RunStatus::Cancelled),
        _ => Err("it is `failed` or `cancelled`".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let ms = openclaw_protocol::time::parse_duration_ms(text).map_err(|e| e.to_string())?;
    Ok(Duration::from_millis(ms))
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
