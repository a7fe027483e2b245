//! `openclaw workflow validate|lint|fmt|explain|graph|limits|schema`: what needs no control plane.

use std::path::{Path, PathBuf};

use openclaw_protocol::definition::lint::{self, Finding, Severity, Target};
use openclaw_protocol::definition::{self, Workflow, editor};
use serde::Serialize;

use super::read_document;
use crate::args::{AuthorVerb, Chart, Global};
use crate::authoring::{chart, explain, layout, limits};
use crate::exit::{FAILED, Failure, INVALID};
use crate::output::{Format, print, printable, printable_lines, say};

/// What was found in one file.
#[derive(Debug, Serialize)]
struct Linted {
    file: String,
    valid: bool,
    findings: Vec<Finding>,
}

/// What `validate` says: as the control plane does, and with warnings.
#[derive(Debug, Serialize)]
struct Verdict {
    valid: bool,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
}

/// `openclaw workflow …`.
pub(crate) async fn run(global: &Global, verb: AuthorVerb) -> Result<(), Failure> {
    match verb {
        AuthorVerb::Validate { file } => validate(global, &read_document(&file).await?),
        AuthorVerb::Lint { files, deny_warnings, no_clock } => {
            lint(global, &files, deny_warnings, Target { no_clock }).await
        }
        AuthorVerb::Fmt { files, canonical: true, .. } => {
            for file in &files {
                say(&format!("{}\n", read_workflow(file).await?.canonical))?;
            }
            Ok(())
        }
        AuthorVerb::Fmt { files, check, write, .. } => fmt(&files, check, write).await,
        AuthorVerb::Explain { file } => shown(&explain::explain(&read_workflow(&file).await?)),
        AuthorVerb::Graph { file, format } => {
            let workflow = read_workflow(&file).await?;
            let drawn = match format {
                Chart::Mermaid => chart::mermaid(&workflow),
                Chart::Dot => chart::dot(&workflow),
            };
            shown(&drawn)
        }
        AuthorVerb::Limits => {
            let columns = ["limit", "value", "of", "beyond it"];
            print(global.output, &limits::all(), &columns, |all| {
                let row = |l: &limits::Limit| {
                    [l.name, &l.shown(), l.what, l.beyond].map(str::to_owned).to_vec()
                };
                all.iter().map(row).collect()
            })
        }
        AuthorVerb::Schema => {
            let format = match global.output {
                Format::Table | Format::Json => Format::Json,
                Format::Yaml => Format::Yaml,
            };
            print(format, &editor::json_schema(), &[], |_| Vec::new())
        }
    }
}

/// Checks on this machine, by the very parser that server and device use.
fn validate(global: &Global, text: &str) -> Result<(), Failure> {
    let found = lint::lint(text);
    let (errors, warnings): (Vec<Finding>, Vec<Finding>) =
        found.into_iter().partition(|finding| finding.severity == Severity::Error);
    let verdict = Verdict { valid: errors.is_empty(), errors, warnings };
    if global.output == Format::Table {
        for warning in &verdict.warnings {
            eprintln!("warning: {}", printable(&warning.to_string()));
        }
    } else {
        print(global.output, &verdict, &[], |_| Vec::new())?;
    }
    if verdict.valid {
        eprintln!("valid");
        return Ok(());
    }
    let mut failure =
        Failure::new(INVALID, format!("the document has {} fault(s)", verdict.errors.len()));
    if global.output == Format::Table {
        failure.details = verdict.errors.iter().map(ToString::to_string).collect();
    }
    Err(failure)
}

async fn lint(
    global: &Global,
    files: &[PathBuf],
    deny_warnings: bool,
    target: Target,
) -> Result<(), Failure> {
    let mut all = Vec::new();
    for path in files {
        let findings = lint::lint_for(&read_document(path).await?, target);
        let valid = findings.iter().all(|finding| finding.severity != Severity::Error);
        all.push(Linted { file: path.display().to_string(), valid, findings });
    }
    if global.output == Format::Table {
        for Linted { file, findings, .. } in &all {
            for finding in findings {
                say(&format!("{}\n", printable(&format!("{file}:{finding}"))))?;
            }
        }
    } else {
        print(global.output, &all, &[], |_| Vec::new())?;
    }
    let count = |severity| {
        let findings = all.iter().flat_map(|linted| &linted.findings);
        findings.filter(|finding| finding.severity == severity).count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let told = format!("{errors} error(s), {warnings} warning(s)");
    match (errors, warnings) {
        (1.., _) => Err(Failure::new(INVALID, told)),
        (0, 1..) if deny_warnings => Err(Failure::new(FAILED, told)
            .hint("a comment `# lint: allow W_CODE` keeps one that is meant quiet")),
        _ => {
            eprintln!("{told}");
            Ok(())
        }
    }
}

async fn fmt(files: &[PathBuf], check: bool, write: bool) -> Result<(), Failure> {
    let mut otherwise = Vec::new();
    for path in files {
        let text = read_document(path).await?;
        // A document that is wrong may mean anything, so that nobody could say what must be kept.
        parse(path, &text)?;
        let formatted = layout::format(&text).map_err(|error| {
            Failure::new(FAILED, format!("{}: {error}", path.display())).hint("nothing was written")
        })?;
        if check {
            otherwise.extend((formatted != text).then(|| path.display().to_string()));
        } else if write && path != Path::new("-") {
            if formatted != text {
                std::fs::write(path, formatted).map_err(|error| {
                    Failure::new(FAILED, format!("cannot write {}: {error}", path.display()))
                })?;
                eprintln!("wrote {}", path.display());
            }
        } else {
            say(&formatted)?;
        }
    }
    if otherwise.is_empty() {
        return Ok(());
    }
    let mut failure =
        Failure::new(FAILED, format!("{} file(s) are laid out otherwise", otherwise.len()))
            .hint("`openclaw workflow fmt -w FILE` lays them out");
    failure.details = otherwise;
    Err(failure)
}

/// Prints lines, some of which quote the document.
fn shown(text: &str) -> Result<(), Failure> {
    say(&format!("{}\n", printable_lines(text)))
}

async fn read_workflow(path: &Path) -> Result<Workflow, Failure> {
    parse(path, &read_document(path).await?)
}

fn parse(path: &Path, text: &str) -> Result<Workflow, Failure> {
    definition::parse(text).map_err(|error| {
        let message = format!("{} has {} fault(s)", path.display(), error.problems.len());
        let mut failure = Failure::new(INVALID, message);
        failure.details = error.problems.iter().map(|p| printable(&p.to_string())).collect();
        failure
    })
}
