//! The files that declare the host's functions for C, Zig and AssemblyScript are held to the ABI: the
//! names are its names, the numbers its numbers, and each signature is tried at the sandbox's own
//! linker.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use openclaw_sandbox::Sandbox;

fn source(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins-wasm").join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Names of the functions of module `openclaw`, as the ABI lists them.
pub(super) fn names() -> BTreeSet<String> {
    let abi = source("abi/src/lib.rs");
    let (_, module) = abi.split_once("pub mod openclaw {").expect("the ABI has the module");
    let (module, _) = module.split_once("\n}\n").expect("the module ends");
    module.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Numbers of the ABI's enums, by variant in snake case.
fn numbers() -> BTreeMap<String, i32> {
    let abi = source("abi/src/lib.rs");
    let (_, enums) = abi.split_once("pub enum Status {").expect("the ABI has statuses");
    let variant = |line: &str| {
        let (name, number) = line.trim().strip_suffix(',')?.split_once(" = ")?;
        Some((snake(name), number.parse().ok()?))
    };
    enums.lines().filter_map(variant).collect()
}

fn snake(name: &str) -> String {
    let mut text = String::new();
    for c in name.trim().chars() {
        if c.is_ascii_uppercase() && !text.is_empty() && !text.ends_with('_') {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

/// One declaration: its name, the types of its parameters, and of its result.
type Declared = (String, Vec<&'static str>, Option<&'static str>);

/// The WebAssembly type of a parameter or result as the languages write it.
fn wasm(ty: &str) -> &'static str {
    let ty = ty.trim();
    if ty.contains("64") { "i64" } else { "i32" }
}

/// `name(parameters) result` of one line in C.
fn of_c(line: &str) -> Option<Declared> {
    let rest = line.strip_prefix("OPENCLAW_IMPORT(")?;
    let (import, rest) = rest.split_once(") ")?;
    let (head, parameters) = rest.strip_suffix(");")?.split_once('(')?;
    let (result, name) = head.rsplit_once(' ')?;
    assert_eq!(name, format!("openclaw_{import}"));
    let parameters = if parameters == "void" { "" } else { parameters };
    let result = (result != "void").then(|| wasm(result));
    Some((import.to_owned(), parameters.split_terminator(',').map(wasm).collect(), result))
}

/// The same of a language that writes `name(parameter: type): type`.
fn of_typed(text: &str, before_result: &str) -> Option<Declared> {
    let (name, rest) = text.split_once('(')?;
    let (parameters, result) = rest.strip_suffix(';')?.split_once(before_result)?;
    let ty = |p: &str| p.split_once(':').map(|(_, ty)| wasm(ty));
    let parameters = parameters.split_terminator(',').filter_map(ty).collect();
    Some((name.to_owned(), parameters, (result != "void").then(|| wasm(result))))
}

fn of_zig(line: &str) -> Option<Declared> {
    of_typed(line.trim().strip_prefix("pub extern \"openclaw\" fn ")?, ") ")
}

fn of_assemblyscript(text: &str) -> Vec<Declared> {
    let mut found = Vec::new();
    for (external, declaration) in text.lines().zip(text.lines().skip(1)) {
        let Some(name) = external.strip_prefix("@external(\"openclaw\", \"") else { continue };
        let declared = declaration.strip_prefix("export declare function ").expect("a function");
        let declared = of_typed(declared, "): ").expect("it is read");
        assert_eq!(Some(declared.0.as_str()), name.strip_suffix("\")"));
        found.push(declared);
    }
    found
}

/// A module that imports all of them.
fn importing(declared: &[Declared]) -> Vec<u8> {
    let mut text = "(module".to_owned();
    for (name, parameters, result) in declared {
        let result = result.map_or_else(String::new, |r| format!("(result {r})"));
        let parameters = parameters.join(" ");
        text += &format!("(import \"openclaw\" \"{name}\" (func (param {parameters}){result}))");
    }
    text += "(memory 1))";
    wat::parse_str(text).expect("it is a module")
}

fn declarations() -> [(&'static str, String, Vec<Declared>); 3] {
    let (c, zig) = (source("templates/c/src/openclaw.h"), source("templates/zig/src/openclaw.zig"));
    let script = source("templates/assemblyscript/assembly/openclaw.ts");
    let of =
        |text: &str, read: fn(&str) -> Option<Declared>| text.lines().filter_map(read).collect();
    let declared = (of(&c, of_c), of(&zig, of_zig), of_assemblyscript(&script));
    [("C", c, declared.0), ("Zig", zig, declared.1), ("AssemblyScript", script, declared.2)]
}

#[test]
fn the_declarations_of_each_language_are_those_of_the_abi() {
    assert!(names().len() >= 36, "the ABI is read: {}", names().len());
    for (language, _, declared) in declarations() {
        let ours: BTreeSet<String> = declared.iter().map(|(name, _, _)| name.clone()).collect();
        assert_eq!(ours, names(), "{language}");
        assert_eq!(ours.len(), declared.len(), "{language} declares one twice");
        let info = Sandbox::inspect(&importing(&declared));
        assert_eq!(info.map(|i| i.imports.len()).map_err(|e| e.to_string()), Ok(ours.len()));
    }
}

/// The comparison sees a wrong type of a parameter and of a result.
#[test]
fn control_a_declaration_that_differs_is_refused() {
    for wrong in [
        ("now_ms".to_owned(), vec![], Some("i32")),
        ("file_read_at".to_owned(), vec!["i32"; 6], Some("i64")),
        ("gone".to_owned(), vec![], None),
    ] {
        assert!(Sandbox::inspect(&importing(std::slice::from_ref(&wrong))).is_err(), "{wrong:?}");
    }
}

#[test]
fn the_numbers_of_each_language_are_those_of_the_abi() {
    let numbers = numbers();
    assert_eq!(numbers.len(), 7 + 5 + 2 + 3, "{numbers:?}");
    for (language, text, _) in declarations() {
        let written: BTreeMap<String, i32> = text
            .lines()
            .filter_map(|line| {
                let (name, number) = line.trim().strip_suffix(',')?.split_once(" = ")?;
                let name = name.strip_prefix("OPENCLAW_").unwrap_or(name);
                let name = name.trim_start_matches("@\"").trim_end_matches('"');
                let name = if language == "C" { name.to_lowercase() } else { snake(name) };
                Some((name, number.parse().ok()?))
            })
            .collect();
        assert_eq!(written, numbers, "{language}");
    }
}
