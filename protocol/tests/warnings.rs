//! The documentation of warnings is held to the code: every warning has an example that gets it and
//! nothing else, and what is shown as right gets none.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use openclaw_protocol::definition::lint::{Code, lint};

fn doc(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Fenced blocks with this info.
fn blocks(document: &str, info: &str) -> Vec<String> {
    let opening = format!("```{info}\n");
    let after = document.split(&opening).skip(1);
    after.filter_map(|rest| Some(rest.split("```").next()?.to_owned())).collect()
}

/// A fragment as a whole document.
fn whole(text: &str) -> String {
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    match (has("workflow:"), has("- ")) {
        (true, _) => text.to_owned(),
        (false, true) => format!("workflow: fragment\nsteps:\n{text}"),
        (false, false) => format!("workflow: fragment\n{text}"),
    }
}

#[test]
fn every_warning_has_an_example_that_gets_it() {
    let document = doc("writing.md");
    let mut shown = BTreeSet::new();
    for text in blocks(&document, "yaml warns") {
        let code = text.lines().next().unwrap_or_default().trim_start_matches("# ").to_owned();
        let found: BTreeSet<&str> = lint(&whole(&text)).iter().map(|f| f.code).collect();
        assert_eq!(found, BTreeSet::from([code.as_str()]), "{text}");
        assert!(document.contains(&format!("### `{code}`\n")), "{code} has no heading");
        shown.insert(code);
    }
    let all: BTreeSet<String> = Code::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(shown, all);
}

#[test]
fn what_is_shown_as_right_gets_no_warning() {
    let right = blocks(&doc("writing.md"), "yaml");
    assert!(right.len() >= 5, "only {} examples", right.len());
    for text in right {
        let found = lint(&whole(&text));
        assert!(found.is_empty(), "{found:?}\n{text}");
    }
}
