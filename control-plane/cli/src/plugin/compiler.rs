//! Which compiler a plugin needs, where it is, and what to install where it is missing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::template::Language;
use crate::exit::{FAILED, Failure, INVALID};

/// What Rust calls the target of plugins.
const RUST_TARGET: &str = "wasm32-unknown-unknown";
/// Set where the standard library is built along, as on a closed network: then the target need not
/// be installed.
const BUILD_STD: &str = "CARGO_UNSTABLE_BUILD_STD";
/// A small stack: each call gets a fresh memory, which is filled with zeros.
const STACK: &str = "32768";

/// A command that compiles a plugin.
#[derive(Debug, PartialEq)]
pub(super) struct Recipe {
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    /// Where the module is then; `None` where cargo says so.
    pub(super) module: Option<PathBuf>,
}

/// The language of a plugin's directory, by its sources.
pub(super) fn language(dir: &Path) -> Result<Language, Failure> {
    let there = |path: &str| dir.join(path).is_file();
    if there("Cargo.toml") {
        Ok(Language::Rust)
    } else if there("assembly/index.ts") {
        Ok(Language::Assemblyscript)
    } else if there("src/main.zig") {
        Ok(Language::Zig)
    } else if !c_sources(dir).is_empty() {
        Ok(Language::C)
    } else {
        let text = format!("{} has no source that can be compiled", dir.display());
        Err(Failure::new(INVALID, text).hint(
            "expected Cargo.toml, assembly/index.ts, src/main.zig or src/*.c; a plugin.wasm that \
             another tool builds needs no build: run `openclaw plugin test`",
        ))
    }
}

/// How to compile it into `module`, from within its directory.
pub(super) fn recipe(language: Language, dir: &Path, module: &Path) -> Result<Recipe, Failure> {
    match language {
        Language::Rust => rust(dir),
        Language::Assemblyscript => assemblyscript(dir, module),
        Language::C => c(dir, module),
        Language::Zig => zig(module),
    }
}

fn rust(dir: &Path) -> Result<Recipe, Failure> {
    let cargo = on_path("cargo").ok_or_else(|| {
        missing("cargo is not on the PATH", "install Rust from https://rustup.rs")
    })?;
    if std::env::var_os(BUILD_STD).is_none() && !has_target(dir) {
        return Err(missing(
            "this Rust cannot compile to WebAssembly",
            "run: rustup target add wasm32-unknown-unknown",
        ));
    }
    // No path of the author's machine in the messages of a panic.
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let here = dir.canonicalize().ok();
    let maps: Vec<String> = [(here, "/plugin"), (home, "/cargo")]
        .into_iter()
        .filter_map(|(path, to)| Some(format!("--remap-path-prefix={}={to}", path?.display())))
        .collect();
    let flags = serde_json::to_string(&maps).unwrap_or_default();
    let config = format!("target.{RUST_TARGET}.rustflags={flags}");
    let args = ["build", "--release", "--target", RUST_TARGET];
    let more = ["--message-format=json-render-diagnostics", "--config", &config];
    Ok(Recipe { program: cargo, args: words(&[&args[..], &more]), module: None })
}

/// Whether the compiler that serves this directory has the target's library.
fn has_target(dir: &Path) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let asked = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", RUST_TARGET])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let Ok(answer) = asked else { return false };
    let libraries = PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim());
    let Ok(entries) = std::fs::read_dir(libraries) else { return false };
    entries.flatten().any(|e| e.file_name().to_string_lossy().starts_with("libstd-"))
}

fn assemblyscript(dir: &Path, module: &Path) -> Result<Recipe, Failure> {
    let own = dir.join("node_modules/.bin/asc").canonicalize().ok();
    let program = own.or_else(|| on_path("asc")).ok_or_else(|| {
        missing(
            "the AssemblyScript compiler is not installed here",
            format!(
                "run `npm install` in {} (it needs Node.js 20: https://nodejs.org)",
                dir.display()
            ),
        )
    })?;
    let mut args = words(&[&["assembly/index.ts", "--outFile"]]);
    args.push(module.into());
    Ok(Recipe { program, args, module: Some(module.to_owned()) })
}

/// Zig has a C compiler that needs nothing else for WebAssembly.
fn c(dir: &Path, module: &Path) -> Result<Recipe, Failure> {
    let (program, first) = zig_program()?;
    let stack = format!("-Wl,-z,stack-size={STACK}");
    let target = ["cc", "-target", "wasm32-freestanding", "-Os", "-mbulk-memory", "-Wall"];
    let mut args = words(&[first, &target, &["-nostdlib", "-Wl,--no-entry", &stack, "-o"]]);
    args.push(module.into());
    args.extend(c_sources(dir).into_iter().map(OsString::from));
    Ok(Recipe { program, args, module: Some(module.to_owned()) })
}

fn zig(module: &Path) -> Result<Recipe, Failure> {
    let (program, first) = zig_program()?;
    let target = ["build-exe", "src/main.zig", "-target", "wasm32-freestanding"];
    let how = ["-O", "ReleaseSmall", "-fno-entry", "-rdynamic", "--stack", STACK];
    let mut args = words(&[first, &target, &how]);
    args.push(format!("-femit-bin={}", module.display()).into());
    Ok(Recipe { program, args, module: Some(module.to_owned()) })
}

/// Zig itself, or the one of Python's package `ziglang`, with its first arguments.
fn zig_program() -> Result<(PathBuf, &'static [&'static str]), Failure> {
    if let Some(zig) = on_path("zig") {
        return Ok((zig, &[]));
    }
    let has_package = |python: &PathBuf| {
        let asked = Command::new(python)
            .args(["-c", "import ziglang"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        asked.is_ok_and(|status| status.success())
    };
    let python = on_path("python3").or_else(|| on_path("python")).filter(has_package);
    python.map(|python| (python, &["-m", "ziglang"][..])).ok_or_else(|| {
        missing(
            "there is no Zig, which compiles C too",
            "run `pip install ziglang`, or install it from https://ziglang.org/download",
        )
    })
}

/// What is to be compiled of a plugin in C, from its directory, in order.
fn c_sources(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("src")).into_iter().flatten().flatten();
    let mut sources: Vec<PathBuf> = entries
        .map(|entry| Path::new("src").join(entry.file_name()))
        .filter(|path| path.extension().is_some_and(|e| e == "c"))
        .collect();
    sources.sort();
    sources
}

fn words(parts: &[&[&str]]) -> Vec<OsString> {
    parts.iter().flat_map(|part| part.iter()).map(OsString::from).collect()
}

/// A program of the search path.
fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn missing(what: &str, hint: impl Into<String>) -> Failure {
    Failure::new(FAILED, what).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::template::project;

    #[test]
    fn each_template_is_known_by_its_sources() {
        for wanted in [Language::Rust, Language::Assemblyscript, Language::C, Language::Zig] {
            let dir = tempfile::tempdir().unwrap();
            assert_eq!(language(dir.path()).map_err(|f| f.code), Err(INVALID));
            for (path, text) in project(wanted, "x") {
                let path = dir.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            assert_eq!(language(dir.path()).ok(), Some(wanted));
        }
    }
}
