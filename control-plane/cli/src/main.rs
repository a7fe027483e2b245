//! `openclaw`: the command people type. Noun, verb, and an exit code that scripts can rely on.

use std::process::ExitCode;

fn main() -> ExitCode {
    openclaw::main()
}
