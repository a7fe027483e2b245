//! `openclaw workflow import`: a definition of another language as a workflow.

use std::path::Path;

use openclaw_protocol::id::WorkflowName;
use serde_json::Value as Json;

use super::read_document;
use crate::args::{Foreign, Global, ImportArgs};
use crate::asl;
use crate::exit::{FAILED, Failure, INVALID};
use crate::output::{Format, printable};

/// The name of what comes from standard input and is given none.
const UNNAMED: &str = "imported";
/// The longest name.
const NAME_BYTES: usize = 64;

/// `openclaw workflow import`. Notes go to standard error, as does what cannot be translated.
pub(crate) async fn run(global: &Global, args: ImportArgs) -> Result<(), Failure> {
    let name = match &args.name {
        Some(name) => WorkflowName::parse(name)
            .map_err(|error| Failure::new(INVALID, format!("--name: {error}")))?
            .to_string(),
        None => name_of(&args.file),
    };
    let text = read_document(&args.file).await?;
    let definition: Json = serde_json::from_str(&text)
        .map_err(|error| Failure::new(INVALID, format!("the definition is not JSON: {error}")))?;
    let Foreign::Asl = args.from;
    let translated = asl::translate(&definition, &name).map_err(|problems| {
        let message = format!("{} thing(s) cannot be translated", problems.len());
        let mut failure = Failure::new(INVALID, message).hint("see docs/asl-import.md");
        failure.details = problems.iter().map(|problem| printable(&problem.to_string())).collect();
        failure
    })?;
    for note in &translated.notes {
        eprintln!("note: {}", printable(&note.to_string()));
    }
    let as_json = match &args.out {
        Some(path) => path.extension().is_some_and(|extension| extension == "json"),
        None => global.output == Format::Json,
    };
    let document = written(&translated.document, as_json)?;
    let Some(path) = &args.out else {
        print!("{document}");
        return Ok(());
    };
    std::fs::write(path, document).map_err(|error| {
        Failure::new(FAILED, format!("cannot write {}: {error}", path.display()))
    })?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

fn written(document: &Json, as_json: bool) -> Result<String, Failure> {
    let text = if as_json {
        serde_json::to_string_pretty(document).map(|text| text + "\n").map_err(|e| e.to_string())
    } else {
        serde_saphyr::to_string(document).map_err(|error| error.to_string())
    };
    text.map_err(|error| Failure::new(FAILED, format!("cannot print the workflow: {error}")))
}

/// A workflow's name from a file's: `My Flow.asl.json` is `my-flow`.
fn name_of(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = file.split('.').next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let slug: String = stem.chars().map(plain).take(NAME_BYTES).collect();
    let slug = slug.trim_matches('-');
    if slug.is_empty() { UNNAMED.to_owned() } else { slug.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_give_names() {
        for (file, name) in [
            ("a/My Flow.asl.json", "my-flow"),
            ("-", "imported"),
            ("..", "imported"),
            ("_x_.json", "x"),
            (&"y".repeat(80), &"y".repeat(64)),
        ] {
            assert_eq!(name_of(Path::new(file)), name, "{file}");
            assert!(WorkflowName::parse(&name_of(Path::new(file))).is_ok());
        }
    }
}
