//! The state of all runs as text, out of the engine's own `Debug`: the way from outside to compare
//! what was folded with what was lived.

use std::fmt::{self, Write as _};

use openclaw_agent_core::Engine;

/// The runs of an engine, and of each only what its facts make it; not what the engine keeps
/// beside it for speed.
pub(super) fn of(engine: &Engine) -> String {
    let mut runs = Runs::default();
    // It stops with an error where the runs end.
    let _ = write!(runs, "{engine:#?}");
    assert!(runs.seen, "the engine has a field `runs`");
    runs.kept
}

/// Keeps the lines of `Engine { runs: { n: Held { run: … } } }`, which `{:#?}` indents by four
/// spaces a level. Text in values has its line ends escaped.
#[derive(Default)]
struct Runs {
    line: String,
    kept: String,
    seen: bool,
    inside: bool,
    of_the_run: bool,
}

impl Runs {
    fn end_of_line(&mut self) -> fmt::Result {
        let indent = self.line.len() - self.line.trim_start_matches(' ').len();
        if indent == 4 && !self.seen {
            self.inside = self.line.starts_with("    runs: {");
            self.seen = self.inside;
            if self.line == "    runs: {}," {
                return Err(fmt::Error);
            }
        } else if indent == 4 && self.inside {
            return Err(fmt::Error);
        }
        if self.inside {
            let field = self.line.get(12..).filter(|_| indent == 12).unwrap_or_default();
            if field.starts_with(|first: char| first.is_ascii_lowercase()) {
                self.of_the_run = field.starts_with("run: ");
            }
            if indent < 12 || self.of_the_run {
                self.kept.push_str(&self.line);
                self.kept.push('\n');
            }
        }
        self.line.clear();
        Ok(())
    }
}

impl fmt::Write for Runs {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\n') {
            match part.strip_suffix('\n') {
                Some(end) => {
                    self.line.push_str(end);
                    self.end_of_line()?;
                }
                None => self.line.push_str(part),
            }
        }
        Ok(())
    }
}
