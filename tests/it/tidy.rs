//! The rules of the house, kept by tests: who may depend on whom, where each engine lives, what
//! every file says of itself, and that every promise names its proof.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A source file may have this many lines, its tests included.
const MOST_LINES: usize = 600;
/// Engines, and the only places that may name them.
const HOMES: [(&str, &[&str]); 6] = [
    ("wasmi", &["agent/sandbox/"]),
    ("redb", &["agent/daemon/src/store"]),
    (
        "rumqttc",
        &[
            "agent/daemon/src/link",
            "agent/daemon/src/local_mqtt/",
            "control-plane/server/tests/",
            "control-plane/server/src/broker/",
        ],
    ),
    ("rumqttd", &["control-plane/server/src/broker/"]),
    ("sqlx", &["control-plane/server/src/store"]),
    ("postcard", &["protocol/src/wire.rs"]),
];
/// Files whose commits need no kill point, and why.
const UNPOINTED: [(&str, &str); 1] = [(
    "agent/daemon/src/store/rebuild.rs",
    "it fills a file that nobody opens until it is whole and renamed",
)];
/// Crates that the pure crates must not reach, however indirectly.
const IMPURE: [&str; 8] =
    ["tokio", "redb", "wasmi", "rumqttc", "rumqttd", "sqlx", "axum", "getrandom"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_owned()
}

/// All tracked-to-be source files with the given endings, by path from the root.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).expect("the tree is readable") {
            let path = entry.expect("the tree is readable").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", ".git", "node_modules", "dist"].contains(&name.as_str()) {
                    open.push(path);
                }
            } else if endings.iter().any(|e| name.ends_with(e)) {
                let text = fs::read_to_string(&path).unwrap_or_default();
                let from_root = path.strip_prefix(root()).expect("below the root");
                found.push((from_root.to_string_lossy().into_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// Whether a file is only compiled for tests, which may drive any engine from outside.
fn is_test_support(path: &str) -> bool {
    path.starts_with("tests/")
        || path.split('/').any(|part| {
            let stem = part.strip_suffix(".rs").unwrap_or(part);
            stem == "tests" || stem == "testing" || stem.ends_with("_tests")
        })
}

/// Names of the crates a package reaches in an ordinary build.
fn reaches(package: &str) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--package", package])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    String::from_utf8_lossy(&tree.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

#[test]
fn tidy_pure_crates_reach_no_engine() {
    for package in ["openclaw-protocol", "openclaw-agent-core"] {
        let reached = reaches(package);
        assert!(reached.contains("serde"), "the check sees the tree of {package}");
        for crate_name in IMPURE {
            assert!(!reached.contains(crate_name), "{package} reaches {crate_name}");
        }
    }
}

#[test]
fn tidy_device_and_control_plane_do_not_know_each_other() {
    assert!(!reaches("openclaw-agent").contains("openclaw-control-plane"));
    assert!(!reaches("openclaw-control-plane").contains("openclaw-agent"));
    assert!(!reaches("openclaw-agent").contains("openclaw"));
}

#[test]
fn tidy_one_tls_provider() {
    for package in ["openclaw-agent", "openclaw-control-plane", "openclaw"] {
        let reached = reaches(package);
        for stranger in ["aws-lc-rs", "aws-lc-sys", "openssl-sys", "native-tls"] {
            assert!(!reached.contains(stranger), "{package} reaches {stranger}");
        }
    }
}

#[test]
fn tidy_each_engine_has_one_home() {
    let mut strays = Vec::new();
    for (path, text) in files(&[".rs"]) {
        if is_test_support(&path) {
            continue;
        }
        for (engine, homes) in HOMES {
            let named = text.lines().any(|line| {
                let code = line.split("//").next().unwrap_or_default();
                code.contains(&format!("{engine}::"))
            });
            if named && !homes.iter().any(|home| path.starts_with(home)) {
                strays.push(format!("{path} names {engine}"));
            }
        }
    }
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn tidy_pure_code_asks_no_clock_and_iterates_no_hash_map() {
    let mut strays = Vec::new();
    for (path, text) in files(&[".rs"]) {
        let is_pure = path.starts_with("protocol/src") || path.starts_with("agent/core/src");
        if !is_pure || is_test_support(&path) {
            continue;
        }
        for word in ["SystemTime", "Instant::now", "HashMap", "HashSet", "std::fs", "std::net"] {
            let used =
                text.lines().any(|l| l.split("//").next().unwrap_or_default().contains(word));
            if used {
                strays.push(format!("{path} uses {word}"));
            }
        }
    }
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn tidy_every_file_says_what_it_is_for_and_is_not_too_long() {
    let mut faults = Vec::new();
    for (path, text) in files(&[".rs"]) {
        if !text.starts_with("//!") {
            faults.push(format!("{path} does not open with //!"));
        }
        let lines = text.lines().count();
        if lines > MOST_LINES {
            faults.push(format!("{path} has {lines} lines; which two ideas live in it?"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn tidy_nothing_is_left_undone_behind_a_green_check() {
    let words =
        [["TO", "DO"], ["FIX", "ME"], ["unimplem", "ented!"], ["todo", "!("]].map(|w| w.concat());
    let mut faults = Vec::new();
    for (path, text) in files(&[".rs", ".sh", ".ts", ".js", ".toml"]) {
        for word in &words {
            // The lint table names the macro it forbids.
            if text.contains(word.as_str()) && path != "Cargo.toml" {
                faults.push(format!("{path} says {word}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn tidy_every_promise_names_a_test_that_exists() {
    let text = fs::read_to_string(root().join("docs/guarantees.md")).expect("docs/guarantees.md");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| Promise"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() >= 10, "the table is read: {} rows", rows.len());
    let mut faults = Vec::new();
    for row in rows {
        let [promise, test, figure, command] = row.as_slice() else {
            faults.push(format!("not four cells: {row:?}"));
            continue;
        };
        let named = test.trim_matches('`').split_once("::");
        let exists = named.is_some_and(|(file, name)| {
            fs::read_to_string(root().join(file))
                .is_ok_and(|text| text.contains(&format!("fn {name}(")))
        });
        if !exists {
            faults.push(format!("`{promise}` names no existing test: {test}"));
        }
        if figure.is_empty() || !command.contains('`') {
            faults.push(format!("`{promise}` has no figure or no command"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn tidy_both_databases_migrate_in_step() {
    let names = |database: &str| -> BTreeSet<String> {
        fs::read_dir(root().join("control-plane/server/migrations").join(database))
            .expect("the migrations are there")
            .filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned()))
            .collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
}

#[test]
fn tidy_every_table_carries_the_tenant() {
    let mut tables = 0;
    for (path, text) in files(&[".sql"]) {
        for table in text.split("CREATE TABLE ").skip(1) {
            let name = table.split(|c: char| !c.is_alphanumeric() && c != '_').next();
            let columns = table.split_once("\n);").map_or(table, |(columns, _)| columns);
            // What the database is belongs to nobody.
            let whose = name == Some("server") || columns.contains("    tenant ");
            assert!(whose, "{path}: {name:?} has no tenant");
            tables += 1;
        }
    }
    assert!(tables > 40, "{tables} tables");
}

/// What of a file is not its tests.
fn code_of(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

/// Commits of both stores, each between two kill points. Of the control plane's there is one for
/// each database, in one function: nobody else begins a transaction of the library's.
#[test]
fn tidy_every_commit_stands_between_two_kill_points() {
    const BESIDE: usize = 4;
    let (mut commits, mut faults) = (0, Vec::new());
    for (path, text) in files(&[".rs"]) {
        let ours = ["agent/daemon/src/", "control-plane/server/src/"];
        if !ours.iter().any(|dir| path.starts_with(dir)) || is_test_support(&path) {
            continue;
        }
        let lines: Vec<&str> = code_of(&text).lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let begins = [".begin_write(", ".begin(\"", ".begin()", ".begin_with("];
            let is_store = path.starts_with("agent/daemon/src/store/")
                || path == "control-plane/server/src/store/mod.rs";
            if begins.iter().any(|begin| line.contains(begin)) && !is_store {
                faults.push(format!("{path}:{} begins a transaction of its own", number + 1));
            }
            let is_free = UNPOINTED.iter().any(|(file, _)| path == *file);
            if !line.contains(".commit()") || !is_store || is_free {
                continue;
            }
            commits += 1;
            let before = &lines[number.saturating_sub(BESIDE)..number];
            let after = &lines[number + 1..lines.len().min(number + 1 + BESIDE)];
            let has_point = |lines: &[&str]| lines.iter().any(|it| it.contains("reach(Point::"));
            if !has_point(before) || !has_point(after) {
                faults.push(format!("{path}:{} has no kill point before or after", number + 1));
            }
        }
    }
    assert!(commits >= 6, "the check sees the commits: {commits}");
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn tidy_no_binary_plugin_is_committed() {
    let tracked = Command::new("git").args(["ls-files", "*.wasm"]).current_dir(root()).output();
    if let Ok(tracked) = tracked {
        assert_eq!(String::from_utf8_lossy(&tracked.stdout), "");
    }
}
