//! The state of all runs as text, out of the engine's own `Debug`: the way from outside to compare
//! what was folded with what was lived.

use std::fmt::{self, Write as _};

use openclaw_agent_core::Engine;

/// The runs of an engine, and of each only what its facts make it; not what the engine keeps
/// beside it for speed.
pub(super) fn of(engine: &Engine) -> String {
    let mut runs = Runs::default();
    // It stops with an error where the runs end.
    let _ = write!(runs, "{engine:?}");
    assert!(runs.inside, "the engine has a field `runs`");
    runs.kept
}

/// Keeps what is of the runs in `Engine { runs: {n: Held { run: … }} }`.
#[derive(Default)]
struct Runs {
    /// Open brackets, outside of text.
    depth: usize,
    in_text: bool,
    /// The character before was a backslash in text.
    escaped: bool,
    /// What stands before a colon, where that may be the name of a field we look for.
    name: String,
    /// Inside `runs`.
    inside: bool,
    /// In that field of `Held` which is the run itself.
    of_the_run: bool,
    kept: String,
}

/// Brackets around the fields of `Engine`, and around those of `Held`.
const ENGINE: usize = 1;
const HELD: usize = 3;

impl Runs {
    /// Takes one character; `Err` where the runs end.
    fn take(&mut self, next: char) -> fmt::Result {
        if self.inside && (self.depth < HELD || self.of_the_run) {
            self.kept.push(next);
        }
        if self.in_text {
            self.in_text = next != '"' || self.escaped;
            self.escaped = next == '\\' && !self.escaped;
            return Ok(());
        }
        match next {
            '"' => self.in_text = true,
            '{' | '[' | '(' => self.depth += 1,
            '}' | ']' | ')' => self.depth = self.depth.saturating_sub(1),
            ':' if self.depth == ENGINE && self.name == "runs" => self.inside = true,
            ':' if self.depth == HELD => self.of_the_run = self.name == "run",
            ',' if self.depth == ENGINE && self.inside => return Err(fmt::Error),
            _ => {}
        }
        if next.is_ascii_alphanumeric() || next == '_' {
            self.name.push(next);
        } else {
            self.name.clear();
        }
        Ok(())
    }
}

impl fmt::Write for Runs {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|next| self.take(next))
    }
}
