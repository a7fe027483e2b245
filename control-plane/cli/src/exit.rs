//! How a command ends: the documented exit codes, and a failure as people read it.

use openclaw_protocol::api::ProblemDetails;

use crate::output::printable;

/// The command failed in a way that has no code of its own.
pub(crate) const FAILED: u8 = 1;
/// The named thing does not exist.
pub(crate) const NOT_FOUND: u8 = 3;
/// Nobody is logged in, or the login has ended.
pub(crate) const NOT_AUTHENTICATED: u8 = 4;
/// The login may not do this.
pub(crate) const FORBIDDEN: u8 = 5;
/// A document is wrong.
pub(crate) const INVALID: u8 = 6;
/// Something changed or exists already.
pub(crate) const CONFLICT: u8 = 7;
/// The control plane cannot be reached, or did not answer in time.
pub(crate) const UNREACHABLE: u8 = 8;
/// The command worked, but the run that it waited for failed.
pub(crate) const RUN_FAILED: u8 = 9;
/// Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// The exit codes as `--help` shows them.
pub(crate) const HELP: &str = "Exit codes:\n  \
    0 done · 1 failed · 2 wrong usage · 3 not found · 4 not logged in · 5 not allowed\n  \
    6 document invalid · 7 conflict · 8 unreachable or timed out · 9 the awaited run failed\n  \
    130 interrupted\n\n\
    Environment: OPENCLAW_CONTEXT, OPENCLAW_URL, OPENCLAW_TOKEN, OPENCLAW_CA_FILE,\n    \
    OPENCLAW_CONFIG_DIR, NO_COLOR";

/// Why a command failed: what, why, and what to try.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub(crate) code: u8,
    /// What failed, and why.
    pub(crate) message: String,
    /// What to try.
    pub(crate) hint: Option<String>,
    /// Single faults, ready to print.
    pub(crate) details: Vec<String>,
}

impl Failure {
    /// A failure with a code of its own.
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, details: Vec::new() }
    }

    /// Adds what to try.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Ctrl-C.
    pub(crate) fn interrupted() -> Self {
        Self::new(INTERRUPTED, "interrupted")
    }

    /// What the control plane answered, as the user should read it.
    pub(crate) fn from_problem(problem: ProblemDetails) -> Self {
        let code = match problem.status {
            401 => NOT_AUTHENTICATED,
            403 => FORBIDDEN,
            404 => NOT_FOUND,
            409 | 412 | 428 => CONFLICT,
            400 | 413 | 415 | 422 => INVALID,
            408 | 502..=504 => UNREACHABLE,
            _ => FAILED,
        };
        let message = if problem.detail.is_empty() {
            format!("{} ({})", problem.title, problem.code)
        } else {
            format!("{} ({})", problem.detail, problem.code)
        };
        let details = problem.errors.iter().map(fault_line).collect();
        let hint = (code == NOT_AUTHENTICATED)
            .then(|| "log in with `openclaw login URL`, or set OPENCLAW_TOKEN".to_owned());
        Self { code, message, hint, details }
    }

    /// Prints to standard error: what, the single faults, what to try.
    pub(crate) fn print(&self) {
        // Much of it was said by servers and devices. Indented, no line of theirs looks like ours.
        let shown = |text: &str| text.lines().map(printable).collect::<Vec<_>>().join("\n  ");
        eprintln!("error: {}", shown(&self.message));
        for line in &self.details {
            eprintln!("  {}", shown(line));
        }
        if let Some(hint) = &self.hint {
            eprintln!("hint: {}", shown(hint));
        }
    }
}

/// One fault of a document on one line, with where it is.
pub(crate) fn fault_line(item: &openclaw_protocol::api::ProblemItem) -> String {
    let place =
        if item.line > 0 { format!("{}:{}: ", item.line, item.column) } else { String::new() };
    let suggestion = item.suggestion.as_ref().map_or_else(String::new, |s| format!("; {s}"));
    format!("{place}{}: {}{suggestion}", item.code, item.message)
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::Interrupted {
            return Self::interrupted();
        }
        Self::new(FAILED, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(status: u16) -> ProblemDetails {
        ProblemDetails {
            kind: "about:blank".into(),
            title: "t".into(),
            status,
            code: "c".into(),
            detail: String::new(),
            errors: Vec::new(),
        }
    }

    #[test]
    fn statuses_have_their_documented_exit_codes() {
        for (status, code) in [(401, 4), (403, 5), (404, 3), (409, 7), (422, 6), (503, 8), (500, 1)]
        {
            assert_eq!(Failure::from_problem(problem(status)).code, code, "{status}");
        }
    }
}
