//! `openclaw plugin build`: compiles a plugin, puts the module beside its manifest, and looks at it
//! as a device would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use super::compiler::{self, Recipe};
use super::look::{self, Look};
use super::{MODULE, manifest};
use crate::exit::{FAILED, Failure};

/// `openclaw plugin build DIR`.
pub(super) async fn run(dir: &Path) -> Result<Look, Failure> {
    let manifest = manifest(dir)?;
    let language = compiler::language(dir)?;
    let made = tempfile::Builder::new().prefix("openclaw-plugin-").tempdir()?;
    let recipe = compiler::recipe(language, dir, &made.path().join(MODULE))?;
    let module = compile(dir, &recipe).await?;
    put(&module, &dir.join(MODULE))?;
    look::at(&dir.join(MODULE), Some(&manifest))
}

/// Runs the compiler, which speaks for itself, and says where the module is.
async fn compile(dir: &Path, recipe: &Recipe) -> Result<PathBuf, Failure> {
    let program = recipe.program.display();
    // Killed with us: who ends a build has no use for the rest of it.
    let child = tokio::process::Command::new(&recipe.program)
        .args(&recipe.args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| Failure::new(FAILED, format!("cannot run {program}: {e}")))?;
    let output = child.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stdout);
    if recipe.module.is_some() && !said.trim().is_empty() {
        eprintln!("{}", crate::output::printable_lines(&said));
    }
    if !output.status.success() {
        return Err(Failure::new(FAILED, format!("{program} failed: {}", output.status)));
    }
    let module = recipe.module.clone().or_else(|| told_by_cargo(&said));
    module.filter(|path| path.is_file()).ok_or_else(|| {
        Failure::new(FAILED, format!("{program} made no module"))
            .hint("the library of Cargo.toml needs crate-type = [\"cdylib\"]")
    })
}

/// The module among the artifacts that cargo tells of, a line of JSON each; the last is the plugin's
/// own.
fn told_by_cargo(said: &str) -> Option<PathBuf> {
    let mut modules = said.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let names = message.get("filenames")?.as_array()?;
        names.iter().filter_map(Value::as_str).find(|n| n.ends_with(".wasm")).map(PathBuf::from)
    });
    modules.next_back()
}

/// Copied aside and renamed: a reader never sees half a module.
fn put(module: &Path, to: &Path) -> Result<(), Failure> {
    let aside = to.with_extension("wasm.new");
    fs::copy(module, &aside)
        .and_then(|_| fs::rename(&aside, to))
        .map_err(|e| Failure::new(FAILED, format!("cannot write {}: {e}", to.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_the_last_that_cargo_tells_of() {
        let said = "{\"reason\":\"compiler-artifact\",\"filenames\":[\"/t/libserde.rlib\"]}\n\
                    {\"reason\":\"compiler-artifact\",\"filenames\":[\"/t/libx.rlib\",\"/t/x.wasm\"]}\n\
                    {\"reason\":\"build-finished\",\"success\":true}\nnot json\n";
        assert_eq!(told_by_cargo(said), Some(PathBuf::from("/t/x.wasm")));
        assert_eq!(told_by_cargo(""), None);
    }
}
