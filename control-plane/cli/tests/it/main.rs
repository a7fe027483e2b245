//! The command as people and scripts run it: the real program against a scripted control plane.

#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

mod asl;
mod asl_choice;
mod asl_runs;
mod author;
mod data;
mod expr;
mod plugin;
mod plugin_desk;
mod remote;
mod replay;
mod replay_plugins;
mod scenario;
mod secret;
mod stub;
mod terminal;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A home of its own for the command.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The contexts as they are kept.
    fn contexts(&self) -> toml::Table {
        let text = std::fs::read_to_string(self.path().join("contexts.toml")).unwrap();
        text.parse().unwrap()
    }

    fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, &[])
    }

    /// Runs in the desk's directory, with `secret` on standard input.
    fn run_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_openclaw"))
            .args(args)
            .env_clear()
            .env("OPENCLAW_CONFIG_DIR", self.path())
            .envs(environment.iter().copied())
            .current_dir(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that reads no password has closed its end already.
        _ = child.stdin.take().unwrap().write_all(b"secret\n");
        child.wait_with_output().unwrap()
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The data of a command that must succeed.
fn json(output: &Output) -> serde_json::Value {
    assert_eq!(output.status.code(), Some(0), "{}", err(output));
    serde_json::from_str(&out(output)).unwrap_or_else(|e| panic!("{e}: {:?}", out(output)))
}
