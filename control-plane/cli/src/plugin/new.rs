//! `openclaw plugin new`: writes the files of a template.

use std::fs;
use std::path::{Path, PathBuf};

use openclaw_protocol::id::PluginName;
use serde::Serialize;

use super::template::{Language, project};
use crate::exit::{CONFLICT, FAILED, Failure, INVALID};
use crate::output::{self, Format};

/// What was begun.
#[derive(Debug, Serialize)]
struct Begun {
    name: String,
    language: Language,
    dir: PathBuf,
    files: Vec<&'static str>,
}

/// `openclaw plugin new …`.
pub(super) fn run(
    format: Format,
    name: &str,
    language: Language,
    dir: Option<PathBuf>,
) -> Result<(), Failure> {
    let checked: PluginName = name
        .parse()
        .map_err(|e| Failure::new(INVALID, format!("no plugin can be called so: {e}")))?;
    let dir = dir.unwrap_or_else(|| PathBuf::from(checked.as_str()));
    if !is_free(&dir)? {
        let text = format!("{} is there and is not empty", dir.display());
        return Err(Failure::new(CONFLICT, text).hint("give another place with --dir DIR"));
    }
    let files = project(language, checked.as_str());
    for (path, text) in &files {
        let path = dir.join(path);
        let unwritable = |e| Failure::new(FAILED, format!("cannot write {}: {e}", path.display()));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(unwritable)?;
        }
        fs::write(&path, text).map_err(unwritable)?;
    }
    let (at, source) = (dir.display(), language.source());
    let install =
        if language == Language::Assemblyscript { "npm install && " } else { Default::default() };
    let text = format!(
        "{checked} in {} is in {at}; edit {at}/{source}, then:\n  \
         cd {at} && {install}openclaw plugin build && openclaw plugin test",
        language.name()
    );
    if format == Format::Table {
        eprintln!("{}", output::printable_lines(&text));
        return Ok(());
    }
    let files = files.iter().map(|(path, _)| *path).collect();
    output::print(format, &Begun { name: checked.to_string(), language, dir, files }, &[], |_| {
        Vec::new()
    })
}

/// Whether a directory is empty or not there.
fn is_free(dir: &Path) -> Result<bool, Failure> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(e) => Err(Failure::new(FAILED, format!("cannot use {}: {e}", dir.display()))),
    }
}
