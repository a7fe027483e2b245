//! `openclaw plugin test`: runs a plugin's cases in the device's own sandbox, and says what each call
//! cost and which permissions it used.

use std::collections::BTreeSet;
use std::path::Path;

use openclaw_protocol::ordered::VecMap;
use openclaw_sandbox::LogLine;
use openclaw_sandbox::cases::{self, Case, CaseError};
use serde::Serialize;

use super::{MODULE, look, manifest};
use crate::exit::{FAILED, Failure, INVALID};
use crate::output::{self, Format, name_of, printable};

/// How all cases went.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    passed: bool,
    cases: Vec<One>,
    /// What plugin.toml asks for and no case made use of.
    permissions_unused: Vec<String>,
}

/// How one case went.
#[derive(Debug, Serialize)]
struct One {
    name: String,
    passed: bool,
    /// Line by line, what is not as the case says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<String>,
    fuel: u64,
    peak_memory_bytes: u64,
    host_calls: VecMap<String, u32>,
    permissions_used: Vec<String>,
    permissions_unused: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    log: Vec<LogLine>,
}

/// `openclaw plugin test DIR`.
pub(super) fn run(format: Format, dir: &Path) -> Result<(), Failure> {
    let summary = play(dir)?;
    if format == Format::Table {
        tell(&summary)?;
    } else {
        output::print(format, &summary, &[], |_| Vec::new())?;
    }
    let failed = summary.cases.iter().filter(|one| !one.passed).count();
    let all = summary.cases.len();
    if failed == 0 {
        eprintln!("{all} of {all} cases passed");
        return Ok(());
    }
    Err(Failure::new(FAILED, format!("{failed} of {all} cases failed")))
}

/// Runs all cases of a plugin.
fn play(dir: &Path) -> Result<Summary, Failure> {
    let manifest = manifest(dir)?;
    let (module, _) = look::load(&dir.join(MODULE))?;
    let cases = cases::load_dir(&dir.join("cases")).map_err(|e| of_case(&e))?;
    if cases.is_empty() {
        return Err(Failure::new(FAILED, format!("{} has no cases", dir.display())).hint(
            "write one as cases/NAME.json: { \"input\": …, \"expect\": { \"output\": … } }",
        ));
    }
    let mut played = Vec::new();
    for (name, case) in cases {
        let report = Case::run(&case, &manifest, &module).map_err(|e| of_case(&e))?;
        played.push(One {
            name,
            passed: report.passed(),
            fuel: report.outcome.fuel_used,
            peak_memory_bytes: report.outcome.peak_memory_bytes,
            log: report.outcome.logs,
            differences: report.differences,
            host_calls: report.host_calls,
            permissions_used: report.permissions_used,
            permissions_unused: report.permissions_unused,
        });
    }
    let used: BTreeSet<&String> = played.iter().flat_map(|one| &one.permissions_used).collect();
    let asked = manifest.permissions.missing_from(&Default::default());
    let unused = asked.into_iter().filter(|entry| !used.contains(entry)).collect();
    let passed = played.iter().all(|one| one.passed);
    Ok(Summary { passed, cases: played, permissions_unused: unused })
}

fn of_case(error: &CaseError) -> Failure {
    let code = match error {
        CaseError::Format { .. } | CaseError::Action { .. } => INVALID,
        CaseError::Unreadable { .. } | CaseError::Thread(_) => FAILED,
    };
    Failure::new(code, error.to_string())
}

/// For people: a line a case, then what differs.
fn tell(summary: &Summary) -> Result<(), Failure> {
    let header = ["case", "result", "fuel", "peak memory", "host calls", "used", "not used"];
    output::print(Format::Table, summary, &header, |s| s.cases.iter().map(row).collect())?;
    for one in summary.cases.iter().filter(|one| !one.passed) {
        eprintln!("{}:", printable(&one.name));
        for line in &one.differences {
            eprintln!("  {}", printable(line));
        }
        for line in &one.log {
            eprintln!("  log {}: {}", name_of(&line.level), printable(&line.message));
        }
    }
    for entry in &summary.permissions_unused {
        eprintln!("warning: plugin.toml asks for {}, and no case needs it", printable(entry));
    }
    Ok(())
}

fn row(one: &One) -> Vec<String> {
    let listed = |list: &[String]| if list.is_empty() { "-".to_owned() } else { list.join(", ") };
    let calls: Vec<String> =
        one.host_calls.iter().map(|(name, count)| format!("{name} {count}")).collect();
    vec![
        one.name.clone(),
        if one.passed { "passed" } else { "FAILED" }.to_owned(),
        one.fuel.to_string(),
        one.peak_memory_bytes.to_string(),
        listed(&calls),
        listed(&one.permissions_used),
        listed(&one.permissions_unused),
    ]
}
