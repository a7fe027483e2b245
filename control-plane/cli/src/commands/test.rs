//! `openclaw workflow test`: plays scenarios on a virtual device.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use openclaw_protocol::api::ProblemItem;
use openclaw_protocol::definition::{self, Workflow};
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::read_document;
use crate::args::{Global, TestArgs};
use crate::exit::{FAILED, Failure, INVALID, fault_line};
use crate::output::{Format, print, printable};
use crate::scenario::{self, Around, Report, Scenario};

/// What the files of a directory end with that are scenarios.
const ENDINGS: [&str; 3] = [".scenario.yaml", ".scenario.yml", ".scenario.json"];

/// How all scenarios went.
#[derive(Debug, Serialize)]
struct Summary {
    passed: bool,
    scenarios: Vec<One>,
}

/// How one scenario went.
#[derive(Debug, Serialize)]
struct One {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(flatten)]
    report: Report,
}

/// `openclaw workflow test …`.
pub(crate) async fn run(global: &Global, args: TestArgs) -> Result<(), Failure> {
    let files = scenario_files(&args.scenarios)?;
    let given = match &args.definition {
        Some(path) => Some(read_workflow(path).await?),
        None => None,
    };
    let mut beside = Vec::new();
    for path in &args.with {
        beside.push(read_workflow(path).await?);
    }
    let mut played = Vec::new();
    for file in &files {
        let scenario = read_scenario(file)?;
        let here = file.parent().unwrap_or(Path::new(""));
        let tested = match (&given, &scenario.definition) {
            (Some(workflow), _) => Arc::clone(workflow),
            (None, Some(path)) => read_workflow(&here.join(path)).await?,
            (None, None) => {
                return Err(Failure::new(2, format!("{}: which definition?", file.display()))
                    .hint("give --definition FILE, or write `definition:` into the scenario"));
            }
        };
        let mut others = beside.clone();
        for path in &scenario.with {
            let other = read_workflow(&here.join(path)).await?;
            // What the command line gives counts.
            if others.iter().all(|known| known.name != other.name) {
                others.push(other);
            }
        }
        let around = around(&scenario, here, others).await?;
        let report = scenario::run(&scenario, &tested, &around)
            .map_err(|why| Failure::new(INVALID, format!("{}: {why}", file.display())))?;
        let (file, name) = (file.display().to_string(), scenario.name);
        let one = One { file, name, description: scenario.description, report };
        if global.output == Format::Table {
            show(&one);
        }
        played.push(one);
    }
    if let Some(path) = &args.trace {
        write_trace(path, &played)?;
    }
    if let Some(path) = &args.record {
        write_recording(path, &played)?;
    }
    let failed = played.iter().filter(|one| !one.report.passed).count();
    let all = played.len();
    if global.output != Format::Table {
        print(global.output, &Summary { passed: failed == 0, scenarios: played }, &[], |_| {
            Vec::new()
        })?;
    }
    if failed == 0 {
        eprintln!("{all} of {all} scenarios passed");
        return Ok(());
    }
    Err(Failure::new(FAILED, format!("{failed} of {all} scenarios failed")))
}

/// What the scenario names beside its definition, from where it is.
async fn around(
    scenario: &Scenario,
    here: &Path,
    beside: Vec<Arc<Workflow>>,
) -> Result<Around, Failure> {
    let mut around = Around { beside, ..Around::default() };
    for file in scenario.updates() {
        let workflow = read_workflow(&here.join(file)).await?;
        around.updates.insert(file.to_owned(), workflow);
    }
    for file in scenario.modules() {
        let path = here.join(file);
        let unreadable =
            |e| Failure::new(FAILED, format!("cannot read the module {}: {e}", path.display()));
        let module = std::fs::read(&path).map_err(unreadable)?;
        around.modules.insert(file.to_owned(), module);
    }
    Ok(around)
}

/// The scenarios that the paths lead to, those of a directory by name.
fn scenario_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let unreadable = |e: std::io::Error| {
            Failure::new(FAILED, format!("cannot read {}: {e}", path.display()))
        };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.path();
            let text = name.to_string_lossy();
            if ENDINGS.iter().any(|ending| text.ends_with(ending)) {
                found.push(name);
            }
        }
        if found.is_empty() {
            let message = format!("{} has no scenarios", path.display());
            return Err(Failure::new(FAILED, message)
                .hint("their names end with .scenario.yaml, .scenario.yml or .scenario.json"));
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

fn read_scenario(path: &Path) -> Result<Scenario, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::new(FAILED, format!("cannot read {}: {e}", path.display())))?;
    Scenario::parse(&text)
        .map_err(|why| Failure::new(INVALID, format!("{}: {why}", path.display())))
}

async fn read_workflow(path: &Path) -> Result<Arc<Workflow>, Failure> {
    let text = read_document(path).await?;
    definition::parse(&text).map(Arc::new).map_err(|error| {
        let message = format!("{} has {} fault(s)", path.display(), error.problems.len());
        let mut failure = Failure::new(INVALID, message);
        let problems = error.problems.iter().map(ProblemItem::from);
        failure.details = problems.map(|item| fault_line(&item)).collect();
        failure
    })
}

/// One scenario for people: a line, and what was wrong.
fn show(one: &One) {
    let Report { passed, run, checks, faults, notes, .. } = &one.report;
    let verdict = if *passed { "ok  " } else { "FAIL" };
    let name = one.name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
    let end = run.as_ref().map_or_else(String::new, |run| {
        let time = run.ms.map_or_else(String::new, |ms| format!(" after {ms} ms"));
        format!(": {}{time}, {} steps", run.status, run.steps)
    });
    println!("{verdict} {}", printable(&format!("{}{name}{end}", one.file)));
    for fault in faults {
        println!("       {}", printable(&fault.message));
        for line in fault.snippet.lines() {
            println!("         {}", printable(line));
        }
    }
    // What follows from a fault would only hide it.
    let shown = if faults.is_empty() { checks.as_slice() } else { &[] };
    for problem in shown.iter().flat_map(|check| &check.problems) {
        println!("       {}", printable(problem));
    }
    for note in notes {
        println!("       note: {}", printable(note));
    }
}

fn write_trace(path: &Path, played: &[One]) -> Result<(), Failure> {
    let mut text = String::new();
    for one in played {
        if played.len() > 1 {
            push(&mut text, &json!({ "scenario": one.file }));
        }
        for line in &one.report.trace {
            push(&mut text, line);
        }
    }
    std::fs::write(path, text)
        .map_err(|e| Failure::new(FAILED, format!("cannot write {}: {e}", path.display())))
}

fn write_recording(path: &Path, played: &[One]) -> Result<(), Failure> {
    let [One { report: Report { recording: Some(recording), .. }, .. }] = played else {
        return Err(Failure::new(2, "there is not exactly one run to record")
            .hint("give --record with one scenario in which a run is made"));
    };
    let text = serde_json::to_string(recording).map_err(std::io::Error::from);
    text.and_then(|text| std::fs::write(path, text))
        .map_err(|e| Failure::new(FAILED, format!("cannot write {}: {e}", path.display())))
}

fn push(text: &mut String, line: &Json) {
    text.push_str(&line.to_string());
    text.push('\n');
}
