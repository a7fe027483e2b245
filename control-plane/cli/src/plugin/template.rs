//! What a new plugin is made of: the files of `plugins-wasm/templates`, part of this program.
//!
//! A project in Rust gets the SDK's sources with it, since they are in no registry; so it builds
//! wherever this program runs, and goes on building when the SDK changes.

use clap::ValueEnum;
use serde::Serialize;

/// What stands in a template for the plugin's name.
const NAME: &str = "@NAME@";
/// What stands in the README for the rows of the language's own files.
const ROWS: &str = "@FILES@";

/// Languages that there are templates for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Language {
    /// Rust, with the SDK: typed input and output, and tests at the desk
    Rust,
    /// AssemblyScript, which looks like TypeScript
    #[value(alias = "as")]
    Assemblyscript,
    /// C, without a C library
    C,
    /// Zig, with its standard library
    Zig,
}

/// A file of a project: where, and what is in it.
type File = (&'static str, &'static str);

/// Files of `plugins-wasm`, by where they go.
macro_rules! files {
    ($($to:literal <- $from:literal),* $(,)?) => {
        &[$((
            $to,
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins-wasm/", $from)),
        )),*]
    };
}

const COMMON: &[File] = files![
    "plugin.toml" <- "templates/common/plugin.toml",
    "README.md" <- "templates/common/README.md",
    "cases/within-the-limit.json" <- "templates/common/cases/within-the-limit.json",
    "cases/over-the-limit.json" <- "templates/common/cases/over-the-limit.json",
    "cases/below-zero.json" <- "templates/common/cases/below-zero.json",
    "cases/the-sensor-is-broken.json" <- "templates/common/cases/the-sensor-is-broken.json",
    "cases/a-field-is-missing.json" <- "templates/common/cases/a-field-is-missing.json",
];

const RUST: &[File] = files![
    "Cargo.toml" <- "templates/rust/Cargo.toml",
    ".cargo/config.toml" <- "templates/rust/cargo-config.toml",
    ".gitignore" <- "templates/rust/gitignore",
    "src/lib.rs" <- "templates/rust/src/lib.rs",
    "openclaw-sdk/abi/Cargo.toml" <- "templates/rust/abi-Cargo.toml",
    "openclaw-sdk/abi/src/lib.rs" <- "abi/src/lib.rs",
    "openclaw-sdk/sdk/Cargo.toml" <- "templates/rust/sdk-Cargo.toml",
    "openclaw-sdk/sdk/src/error.rs" <- "sdk/src/error.rs",
    "openclaw-sdk/sdk/src/exec.rs" <- "sdk/src/exec.rs",
    "openclaw-sdk/sdk/src/files.rs" <- "sdk/src/files.rs",
    "openclaw-sdk/sdk/src/gpio.rs" <- "sdk/src/gpio.rs",
    "openclaw-sdk/sdk/src/host.rs" <- "sdk/src/host.rs",
    "openclaw-sdk/sdk/src/host/device.rs" <- "sdk/src/host/device.rs",
    "openclaw-sdk/sdk/src/http.rs" <- "sdk/src/http.rs",
    "openclaw-sdk/sdk/src/i2c.rs" <- "sdk/src/i2c.rs",
    "openclaw-sdk/sdk/src/kv.rs" <- "sdk/src/kv.rs",
    "openclaw-sdk/sdk/src/lib.rs" <- "sdk/src/lib.rs",
    "openclaw-sdk/sdk/src/log.rs" <- "sdk/src/log.rs",
    "openclaw-sdk/sdk/src/mqtt.rs" <- "sdk/src/mqtt.rs",
    "openclaw-sdk/sdk/src/secrets.rs" <- "sdk/src/secrets.rs",
    "openclaw-sdk/sdk/src/serial.rs" <- "sdk/src/serial.rs",
    "openclaw-sdk/sdk/src/stream.rs" <- "sdk/src/stream.rs",
    "openclaw-sdk/sdk/src/tcp.rs" <- "sdk/src/tcp.rs",
    "openclaw-sdk/sdk/src/tests.rs" <- "sdk/src/tests.rs",
];

const C: &[File] = files![
    ".gitignore" <- "templates/c/gitignore",
    "src/plugin.c" <- "templates/c/src/plugin.c",
    "src/json.h" <- "templates/c/src/json.h",
    "src/openclaw.h" <- "templates/c/src/openclaw.h",
];

const ZIG: &[File] = files![
    ".gitignore" <- "templates/zig/gitignore",
    "src/main.zig" <- "templates/zig/src/main.zig",
    "src/openclaw.zig" <- "templates/zig/src/openclaw.zig",
];

const ASSEMBLYSCRIPT: &[File] = files![
    ".gitignore" <- "templates/assemblyscript/gitignore",
    "package.json" <- "templates/assemblyscript/package.json",
    "asconfig.json" <- "templates/assemblyscript/asconfig.json",
    "tsconfig.json" <- "templates/assemblyscript/tsconfig.json",
    "assembly/index.ts" <- "templates/assemblyscript/assembly/index.ts",
    "assembly/json.ts" <- "templates/assemblyscript/assembly/json.ts",
    "assembly/openclaw.ts" <- "templates/assemblyscript/assembly/openclaw.ts",
];

impl Language {
    /// As people write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Assemblyscript => "AssemblyScript",
            Self::C => "C",
            Self::Zig => "Zig",
        }
    }

    /// The file that a person edits first.
    pub(crate) const fn source(self) -> &'static str {
        match self {
            Self::Rust => "src/lib.rs",
            Self::Assemblyscript => "assembly/index.ts",
            Self::C => "src/plugin.c",
            Self::Zig => "src/main.zig",
        }
    }

    const fn files(self) -> &'static [File] {
        match self {
            Self::Rust => RUST,
            Self::Assemblyscript => ASSEMBLYSCRIPT,
            Self::C => C,
            Self::Zig => ZIG,
        }
    }

    const fn rows(self) -> &'static str {
        match self {
            Self::Rust => {
                "| `src/lib.rs` | the plugin; `cargo test` runs its tests at the desk |\n\
                 | `openclaw-sdk/` | the SDK's sources; they are in no registry, so they came along |"
            }
            Self::Assemblyscript => {
                "| `assembly/index.ts` | the plugin; `npm install` once, before the first build |\n\
                 | `assembly/openclaw.ts` | what the host offers |\n\
                 | `assembly/json.ts` | reads the numbers of a flat object |"
            }
            Self::C => {
                "| `src/plugin.c` | the plugin; every `src/*.c` is compiled |\n\
                 | `src/openclaw.h` | what the host offers |\n\
                 | `src/json.h` | reads the numbers of a flat object, writes texts |"
            }
            Self::Zig => {
                "| `src/main.zig` | the plugin |\n\
                 | `src/openclaw.zig` | what the host offers |"
            }
        }
    }
}

/// The files of a new plugin, by path.
pub(crate) fn project(language: Language, name: &str) -> Vec<(&'static str, String)> {
    let all = COMMON.iter().chain(language.files());
    all.map(|(path, text)| (*path, text.replace(ROWS, language.rows()).replace(NAME, name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use openclaw_protocol::plugin::Manifest;

    use super::*;

    const ALL: [Language; 4] =
        [Language::Rust, Language::Assemblyscript, Language::C, Language::Zig];

    fn below(dir: &Path, from: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(&path, from, found);
            } else {
                found.insert(path.strip_prefix(from).unwrap().to_string_lossy().into_owned());
            }
        }
    }

    #[test]
    fn a_project_in_rust_has_every_source_of_the_sdk() {
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins-wasm/sdk/src");
        let mut there = BTreeSet::new();
        below(&sdk, &sdk, &mut there);
        let ours: BTreeSet<String> = project(Language::Rust, "x")
            .iter()
            .filter_map(|(path, _)| path.strip_prefix("openclaw-sdk/sdk/src/"))
            .map(str::to_owned)
            .collect();
        assert_eq!(ours, there, "add the SDK's new file to `RUST`");
    }

    #[test]
    fn every_file_of_a_template_is_part_of_one() {
        let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins-wasm/templates");
        let mut there = BTreeSet::new();
        below(&templates, &templates, &mut there);
        let parts = ALL.iter().map(|l| l.files().len()).sum::<usize>() + COMMON.len();
        let of_the_sdk = RUST.iter().filter(|(path, _)| path.ends_with(".rs")).count() - 1;
        assert_eq!(parts - of_the_sdk, there.len(), "{there:#?}");
    }

    #[test]
    fn a_project_bears_its_name_and_has_good_and_failing_cases() {
        for language in ALL {
            let files = project(language, "tank-level");
            let text = |path: &str| &files.iter().find(|(p, _)| *p == path).unwrap().1;
            let manifest = Manifest::from_toml(text("plugin.toml")).unwrap();
            assert_eq!(manifest.name.as_str(), "tank-level");
            assert!(text("README.md").contains("plugin: tank-level@^0.1"));
            assert!(files.iter().all(|(_, t)| !t.contains(NAME) && !t.contains(ROWS)));
            assert!(files.iter().any(|(p, _)| *p == language.source()));
            let cases = || files.iter().filter(|(p, _)| p.starts_with("cases/"));
            assert!(cases().any(|(_, t)| t.contains("\"output\"")));
            assert!(cases().any(|(_, t)| t.contains("\"error\"")));
        }
    }
}
