//! `openclaw plugin dev`: builds and tests a plugin, and again whenever one of its files changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{MODULE, build, look};
use crate::exit::Failure;
use crate::output::Format;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Files that are looked at, at most.
const FILES: usize = 2_000;
/// What compilers and package managers write.
const NOT_SOURCES: [&str; 5] = ["target", "node_modules", "zig-out", MODULE, "plugin.wasm.new"];

/// Files, each with its time and length.
type Seen = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// `openclaw plugin dev DIR`.
pub(super) async fn run(format: Format, dir: &Path) -> Result<(), Failure> {
    super::manifest(dir)?;
    loop {
        // Looked at before the build: what changes during it is built again.
        let before = sources(dir);
        match build::run(dir).await.and_then(|look| look::print(format, &look)) {
            Ok(()) => {
                if let Err(failure) = super::test(format, dir.to_owned()).await {
                    failure.print();
                }
            }
            Err(failure) => failure.print(),
        }
        eprintln!("waiting for a change in {}; Ctrl-C ends it", dir.display());
        while sources(dir) == before {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// The files that a plugin is made of: nothing hidden, and nothing that was made from others.
fn sources(dir: &Path) -> Seen {
    let (mut seen, mut open) = (Seen::new(), vec![dir.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let Ok(about) = entry.metadata() else { continue };
            if name.starts_with('.') || NOT_SOURCES.contains(&&*name) || name == "Cargo.lock" {
                continue;
            }
            if about.is_dir() {
                open.push(entry.path());
            } else if seen.len() < FILES {
                seen.insert(entry.path(), (about.modified().ok(), about.len()));
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_change_of_a_source_is_seen_and_one_of_a_product_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("src/lib.rs", "a");
        let before = sources(dir.path());
        assert_eq!(before.len(), 1);
        for product in ["plugin.wasm", "target/x", "node_modules/y", ".zig-cache/z", "Cargo.lock"] {
            write(product, "made");
        }
        assert_eq!(sources(dir.path()), before);
        write("src/lib.rs", "ab");
        let after = sources(dir.path());
        assert_ne!(after, before);
        write("cases/new.json", "{}");
        assert_ne!(sources(dir.path()), after);
    }
}
