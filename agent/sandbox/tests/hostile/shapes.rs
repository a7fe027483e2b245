//! Modules whose danger is their shape: what they cost before the first instruction. They are made
//! here, since as text they would be long. The tests of the sandbox and those of the release agent
//! share them.

/// One module.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) wasm: Vec<u8>,
    /// Part of the text with which it is refused; a module that is taken traps when it is called.
    pub(crate) refused: Option<&'static str>,
}

/// All of them.
pub(crate) fn shapes() -> Vec<Shape> {
    let mut all = too_much();
    all.extend(not_offered());
    all.extend(taken());
    all
}

fn of(name: &'static str, text: &str, refused: Option<&'static str>) -> Shape {
    Shape { name, wasm: wat::parse_str(text).expect(name), refused }
}

/// A module whose action is `body`, and then a trap.
fn calls(name: &'static str, beside: &str, body: &str) -> Shape {
    let text = format!(r#"(module {beside} (func (export "execute") {body} unreachable))"#);
    of(name, &text, None)
}

fn many(n: usize, piece: &str) -> String {
    piece.repeat(n)
}

fn no(name: &'static str, text: &str, why: &'static str) -> Shape {
    of(name, text, Some(why))
}

/// More of something than is good.
fn too_much() -> Vec<Shape> {
    let import = r#"(import "openclaw" "input_length" (func (result i32)))"#;
    vec![
        no("memory-of-a-gibibyte", "(module (memory 16384))", "pages of memory"),
        no("table-of-ten-million", "(module (table 10000000 funcref))", "instantiated"),
        no(
            "hundred-thousand-locals",
            &format!("(module (func (local {})))", many(100_000, "i64 ")),
            "not a valid",
        ),
        no(
            "hundred-thousand-functions",
            &format!("(module {})", many(100_000, "(func)")),
            "100000 functions",
        ),
        no(
            "hundred-parameters",
            &format!("(module (func (param {})))", many(100, "i64 ")),
            "100 values",
        ),
        no(
            "two-thousand-globals",
            &format!("(module {})", many(2_000, "(global i32 (i32.const 0))")),
            "2000 global variables",
        ),
        no("two-thousand-imports", &format!("(module {})", many(2_000, import)), "2000 imports"),
        no(
            "row-of-grows",
            &format!(
                "(module (memory 1) (func {}))",
                many(65, "(drop (memory.grow (i32.const 1)))")
            ),
            "memory.grow",
        ),
        no(
            "million-branches",
            &format!("(module (func (block (br_table {} (i32.const 7)))))", many(1_000_001, "0 ")),
            "not a",
        ),
    ]
}

/// What no plugin may have, or what is no module at all.
fn not_offered() -> Vec<Shape> {
    let action = r#"(func (export "execute"))"#;
    let long = many(90_000, "n");
    let long_import = |n| format!(r#"(import "{long}" "{n}{long}" (func))"#);
    let mut not_utf8 = wat::parse_str(r#"(module (func (export "QQQQ")))"#).expect("a module");
    let at = not_utf8.windows(4).position(|four| four == b"QQQQ").expect("its export");
    not_utf8[at..at + 4].copy_from_slice(b"\xc0\x80\xff\xfe");
    vec![
        no(
            "table-grow",
            &format!(
                "(module (table 1 funcref) {action} (func (drop (table.grow (ref.null func) (i32.const 1)))))"
            ),
            "table.grow",
        ),
        no("start-that-traps", "(module (func $f unreachable) (start $f))", "start function"),
        no(
            "host-application",
            r#"(module (import "extism:host/user" "hello_world" (func (param i64) (result i64))))"#,
            "not offered here: extism:host/user.hello_world",
        ),
        no(
            "unknown-import",
            r#"(module (import "env" "abort" (func)))"#,
            "not offered here: env.abort",
        ),
        no(
            "import-of-another-type",
            r#"(module (import "openclaw" "now_ms" (func (param f32))))"#,
            "cannot be instantiated",
        ),
        no("imported-memory", r#"(module (import "env" "memory" (memory 1)))"#, "not a function"),
        no(
            "import-handed-on",
            r#"(module (import "openclaw" "now_ms" (func $f (result i64))) (export "f" (func $f)))"#,
            "an import handed on",
        ),
        no(
            "ninety-thousand-segments",
            &format!("(module (memory 1) {})", many(90_000, r#"(data (i32.const 0) "a")"#)),
            "90000 data segments",
        ),
        no(
            "vector-instructions",
            "(module (func (drop (v128.const i64x2 0 0))))",
            "vector instructions",
        ),
        no("two-memories", "(module (memory 1) (memory 1))", "not a"),
        no("memory-of-64-bits", "(module (memory i64 1))", "not a"),
        no(
            "segment-outside",
            r#"(module (memory 1) (data (i32.const 65535) "ab"))"#,
            "instantiated",
        ),
        no(
            "import-with-long-names",
            &format!("(module {})", (0..9).map(long_import).collect::<String>()),
            "and 1 more",
        ),
        Shape { name: "name-not-utf8", wasm: not_utf8, refused: Some("not a") },
    ]
}

fn taken() -> Vec<Shape> {
    let (blocks, ends) = (many(20_000, "(block "), many(20_000, ")"));
    let bytes = many(7_000_000, "a");
    vec![
        calls("deep-blocks", "", &format!("{blocks}{ends}")),
        calls(
            "many-branches",
            "",
            &format!("(block (br_table {} (i32.const 7)))", many(60_000, "0 ")),
        ),
        calls("long-row", "", &many(400_000, "(drop (i32.const 1))")),
        // Copied into every instance that is made.
        calls("big-segment", &format!(r#"(memory 128) (data (i32.const 0) "{bytes}")"#), ""),
        calls("big-custom-section", &format!(r#"(@custom "c" "{bytes}")"#), ""),
        calls(
            "many-segments",
            &format!("(memory 1) {}", many(65_000, r#"(data (i32.const 0) "a")"#)),
            "",
        ),
        calls("many-custom-sections", &many(100_000, r#"(@custom "c" "")"#), ""),
        calls(
            "names-of-everything",
            &(0..19_000).map(|n| format!("(func $the_function_of_number_{n})")).collect::<String>(),
            "",
        ),
        calls("long-export", &format!(r#"(func (export "{}"))"#, many(90_000, "e")), ""),
        calls(
            "table-of-everything",
            &format!(
                "(table 65536 funcref) (func $f) (elem (i32.const 0) {})",
                many(65_536, "$f ")
            ),
            "",
        ),
    ]
}
