//! What an author of plugins has at the desk: `openclaw plugin new|build|test|dev`, and `inspect` of
//! a module that is not published yet.

mod build;
mod cases;
mod compiler;
mod dev;
mod look;
mod new;
mod template;

#[cfg(test)]
mod abi_tests;

use std::path::{Path, PathBuf};

use openclaw_protocol::plugin::Manifest;

use crate::args::{DeskVerb, Global};
use crate::exit::{FAILED, Failure, INVALID};
use crate::output::Format;

pub(crate) use self::look::{inspect, is_local};
pub(crate) use self::template::Language;

/// The author's file.
const MANIFEST: &str = "plugin.toml";
/// What is built from it.
const MODULE: &str = "plugin.wasm";

/// `openclaw plugin new|build|test|dev`.
pub(crate) async fn run(global: &Global, verb: DeskVerb) -> Result<(), Failure> {
    match verb {
        DeskVerb::New { name, lang, dir } => new::run(global.output, &name, lang, dir),
        DeskVerb::Build(it) => look::print(global.output, &build::run(&it.dir).await?),
        DeskVerb::Test(it) => test(global.output, it.dir).await,
        DeskVerb::Dev(it) => dev::run(global.output, &it.dir).await,
    }
}

/// Runs the cases on a thread of its own, so that Ctrl-C is heard while a plugin computes.
async fn test(format: Format, dir: PathBuf) -> Result<(), Failure> {
    let tested = tokio::task::spawn_blocking(move || cases::run(format, &dir)).await;
    tested.unwrap_or_else(|e| Err(Failure::new(FAILED, format!("the test has no end: {e}"))))
}

/// The manifest of a plugin's directory.
fn manifest(dir: &Path) -> Result<Manifest, Failure> {
    let path = dir.join(MANIFEST);
    let text = std::fs::read_to_string(&path).map_err(|e| {
        Failure::new(FAILED, format!("cannot read {}: {e}", path.display()))
            .hint("name a plugin's directory; `openclaw plugin new NAME --lang rust` begins one")
    })?;
    Manifest::from_toml(&text).map_err(|e| Failure::new(INVALID, e.to_string()))
}
