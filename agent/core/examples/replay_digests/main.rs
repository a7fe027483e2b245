//! What recordings come to on this processor, to be compared with another's.
//!
//! `replay_digests DIR` prints `NAME DIGEST FACTS` for each recording in the directory, sorted by
//! name; `replay_digests --check DIR` compares that with the list beside them, says what differs,
//! and prints how many are as listed, and how many there are.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

mod corpus;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [flag, dir] if flag == "--check" => check(Path::new(dir)),
        [dir] => print(Path::new(dir)),
        _ => Err("usage: replay_digests [--check] DIR".into()),
    }
}

fn print(dir: &Path) -> Result<ExitCode, Box<dyn Error>> {
    for (name, recording) in corpus::recordings(dir)? {
        let line = corpus::replayed(&recording).map_err(|error| format!("{name}: {error}"))?;
        println!("{name} {} {}", line.digest, line.facts);
    }
    Ok(ExitCode::SUCCESS)
}

fn check(dir: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let (recordings, listed) = (corpus::recordings(dir)?, corpus::listed(dir)?);
    let differences = corpus::differences(&recordings, &listed);
    for (name, difference) in &differences {
        eprintln!("{name}: {difference}");
    }
    let total = recordings.keys().chain(listed.keys()).collect::<std::collections::BTreeSet<_>>();
    println!("{} {}", total.len() - differences.len(), total.len());
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
