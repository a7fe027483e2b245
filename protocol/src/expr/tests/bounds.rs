//! Tests of the bounds: hostile sources and evaluations end in an error, at once, everywhere.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::*;
use crate::expr::budget::{Budget, CHAIN, FUEL, NESTING, NODES, SOURCE_BYTES};

#[track_caller]
fn refused(source: &str) {
    let error = Expr::compile(source).expect_err("it compiles");
    assert_eq!(error.code(), "expr.parse");
    let (start, end) = (error.span.start as usize, error.span.end as usize);
    assert!(start <= end && end <= source.len());
    // Whoever shows the place cuts the text there.
    assert!(source.is_char_boundary(start) && source.is_char_boundary(end), "{start}..{end}");
}

/// Runs on a stack half as large as a thread has by default.
fn on_small_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    // Unoptimised frames: in a device's build compiling takes a quarter of this, evaluating
    // less than a tenth.
    const STACK_BYTES: usize = 1024 * 1024;
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).unwrap().join().unwrap()
}

#[test]
fn sources_are_bounded() {
    let nested = |n: usize| format!("{}1{}", "(".repeat(n), ")".repeat(n));
    assert!(Expr::compile(&nested(NESTING)).is_ok());
    refused(&nested(NESTING + 1));
    refused(&"(".repeat(SOURCE_BYTES));
    refused(&"[".repeat(SOURCE_BYTES));
    refused(&"{1:".repeat(SOURCE_BYTES / 3));
    refused(&"a?".repeat(SOURCE_BYTES / 2));
    let chain = |n: usize| format!("1{}", "+1".repeat(n));
    assert!(Expr::compile(&chain(CHAIN)).is_ok());
    refused(&chain(CHAIN + 1));
    refused(&format!("a{}", ".b".repeat(CHAIN + 1)));
    refused(&format!("{}true", "!".repeat(CHAIN + 1)));
    refused(&format!("{}1", "true?1:".repeat(CHAIN + 1)));
    // `||` and `&&` may go on up to the number of nodes.
    let any = |n: usize| format!("{}true", "a||".repeat(n));
    assert_eq!(Expr::compile(&any(NODES / 2 - 2)).unwrap().eval(&()), Ok(Value::Bool(true)));
    refused(&any(NODES));
    refused(&"1,".repeat(SOURCE_BYTES / 2));
    refused(&" ".repeat(SOURCE_BYTES + 1));
    refused(&format!("'{}'", "\u{1F431}".repeat(SOURCE_BYTES / 4)));
    refused("x.matches('((a{99}){99}){99}')");
    refused(&format!("x.matches('{}')", "a".repeat(300)));
}

#[test]
fn the_deepest_expressions_fit_a_small_stack() {
    on_small_stack(|| {
        for (open, inner, close) in [
            ("(", "1", ")"),
            ("[", "1", "]"),
            ("{1:", "1", "}"),
            ("(1+2*-", "1", ")"),
            ("(false||true&&1<2+3*-", "1", ")"),
            ("[1].map(x,x+", "1", ")"),
            ("size(string(", "1", "))"),
            ("(true?1:", "1", ")"),
        ] {
            for depth in 1..=NESTING {
                let source = format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
                if let Ok(expr) = Expr::compile(&source) {
                    drop(expr.eval(&()));
                }
            }
        }
    });
}

#[test]
fn hostile_evaluations_run_out_of_budget() {
    let nested = "lists.range(10000).exists(a, lists.range(10000).exists(b, a + b == -1))";
    let cases = [
        nested.to_owned(),
        "lists.range(5000).map(x, lists.range(5000))".to_owned(),
        "[1,1,1,1].map(a,[1,1,1,1].map(b,[1,1,1,1].map(c,[1,1,1,1].map(d,[1,1,1,1].map(e,\
         [1,1,1,1].map(f,[1,1,1,1].map(g,[1,1,1,1].map(h,[1,1,1,1].map(i,1)))))))))"
            .to_owned(),
        format!("'{}'.matches('(a|a|a|a|a)*b')", "a".repeat(3_000)) + "||" + nested,
        "lists.range(9999).map(x, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa').join('bbbbbbbbb')".to_owned(),
        "lists.range(8000).map(x, string(x)).distinct().map(x, [x]).distinct()".to_owned(),
        doubling("''.size() == 0 ? 'aaaaaaaa' : ''", "+", 25),
        doubling("[1]", "+", 25),
        format!("string({}).size()", doubling("'ab'", "+", 25)),
        // Shared parts make a value whose text would be 2^26 entries long.
        sharing("size(json.encode(", "))"),
        sharing("'%s'.format([", "])"),
        sharing("(", ").flatten(60)"),
        format!("cel.bind(z, {}, z == z)", sharing("", "")),
        "lists.range(3000).map(x, 'x').join('y').replace('x', 'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy')".to_owned(),
    ];
    for source in cases {
        // Neither `||` nor a macro absorbs it.
        for source in [source.clone(), format!("[1].exists(x, ({source}) == x) || true")] {
            let expr = Expr::compile(&source).unwrap();
            let error = expr.eval(&()).expect_err(&source);
            assert_eq!(error.code(), "expr.budget", "{source}");
        }
    }
}

/// `bind` of a value to itself joined with itself, again and again.
fn doubling(start: &str, operator: &str, times: usize) -> String {
    let mut source = String::new();
    let mut last = start.to_owned();
    for n in 0..times {
        source.push_str(&format!("cel.bind(v{n},{last}{operator}{last},"));
        last = format!("v{n}");
    }
    source + &last + &")".repeat(times)
}

/// A list of twice the same list of twice the same list …
fn sharing(before: &str, after: &str) -> String {
    let mut source = String::new();
    let mut last = "[0]".to_owned();
    for n in 0..26 {
        source.push_str(&format!("cel.bind(v{n},[{last},{last}],"));
        last = format!("v{n}");
    }
    format!("{source}{before}{last}{after}{}", ")".repeat(26))
}

#[test]
fn results_are_bounded() {
    fails("lists.range(10000).map(x, 'abcdefghij')", "expr.budget: the expression builds too much");
    assert_eq!(
        Expr::compile(&sharing("", "")).unwrap().eval(&()).unwrap_err().code(),
        "expr.budget"
    );
    fails(
        "lists.range(3000).map(x, 'abcdefghijklmnopqrstuvwxyz')",
        "expr.budget: the result exceeds 65536 bytes",
    );
    let text = "x".repeat(70_000);
    let scope = JsonScope(&json!({ "text": text })).0.clone();
    let whole = Expr::compile("text").unwrap().eval(&JsonScope(&scope)).unwrap_err();
    assert_eq!(whole.code(), "expr.budget");
    let part = Expr::compile("text.size()").unwrap().eval(&JsonScope(&scope));
    assert_eq!(part, Ok(Value::Int(70_000)));
}

#[test]
fn ordinary_expressions_leave_most_of_the_budget() {
    let mut budget = Budget::standard();
    let expr =
        Expr::compile("lists.range(1000).filter(x, x % 7 == 3).map(x, x * 2).sum()").unwrap();
    expr.eval_within(&(), &mut budget).unwrap();
    // One fuel per node, as documented: about seven for each of the thousand elements.
    assert_eq!(FUEL - budget.fuel(), 9_257);
}

#[test]
fn large_lists_sort_within_the_budget() {
    check("lists.range(3000).map(x, (x * 7919) % 3001).sort()[2999]", 3_000);
    check("lists.range(3000).map(x, x % 50).distinct().size()", 50);
}

const LEAVES: &[&str] = &[
    "1",
    "-9223372036854775808",
    "0u",
    "1.5",
    "0.0",
    "1e308",
    "'a'",
    "'ñ€\u{1F431}'",
    "b'\\xff'",
    "true",
    "null",
    "x",
    "m.a",
    "m",
    "l",
    "[]",
    "{}",
    "timestamp(0)",
    "duration('1h')",
    "int",
    "secret('s')",
    "nope.x",
];
const OPERATORS: &[&str] = &["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "in", "&&", "||"];
const METHODS: &[&str] = &[
    "size",
    "contains",
    "split",
    "join",
    "substring",
    "replace",
    "indexOf",
    "lastIndexOf",
    "charAt",
    "format",
    "sort",
    "distinct",
    "sum",
    "avg",
    "flatten",
    "slice",
    "getHours",
    "getMilliseconds",
    "reverse",
    "keys",
    "first",
];
const FUNCTIONS: &[&str] = &[
    "size",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "bool",
    "type",
    "timestamp",
    "duration",
    "json.encode",
    "json.decode",
    "math.abs",
    "math.round",
    "math.bitNot",
    "base64.decode",
    "hex.decode",
    "crc32",
    "lists.range",
];
const MACROS: &[&str] = &["all", "exists", "exists_one", "map", "filter"];

/// Sources that are nearly expressions.
fn source() -> impl Strategy<Value = String> {
    let leaf = select(LEAVES).prop_map(str::to_owned);
    leaf.prop_recursive(6, 60, 4, |inner| {
        let one = || inner.clone();
        let some = || prop::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            (one(), select(OPERATORS), one()).prop_map(|(a, o, b)| format!("({a} {o} {b})")),
            (one(), one(), one()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (one(), select(METHODS), some())
                .prop_map(|(a, f, args)| format!("({a}).{f}({})", args.join(", "))),
            (select(FUNCTIONS), one()).prop_map(|(f, a)| format!("{f}({a})")),
            (one(), select(MACROS), one()).prop_map(|(a, f, b)| format!("({a}).{f}(x, {b})")),
            (one(), one()).prop_map(|(a, b)| format!("({a})[{b}]")),
            some().prop_map(|items| format!("[{}]", items.join(", "))),
            (one(), one()).prop_map(|(a, b)| format!("{{{a}: {b}}}")),
            (one(), one()).prop_map(|(a, b)| format!("get({a}, 'a.0', {b})")),
            one().prop_map(|a| format!("-({a})")),
        ]
    })
}

fn names() -> serde_json::Value {
    json!({"x": 7, "m": {"a": [1, "two", 3.5], "b": null}, "l": [5, 3, 8]})
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn compiling_never_panics(text in "\\PC{0,60}") {
        if let Err(error) = Expr::compile(&text) {
            prop_assert!(error.span.start <= error.span.end && error.span.end as usize <= text.len());
        }
        let _ = Template::compile(&json!(text));
    }

    #[test]
    fn compiling_marks_never_panics(text in "[-+*/%!?:.,(){}\\[\\]<>=&|'\"`rbux0-9ae \\\\$]{0,60}") {
        let names = names();
        if let Ok(expr) = Expr::compile(&text) {
            let _ = expr.eval(&JsonScope(&names));
        }
        if let Ok(template) = Template::compile(&json!(text)) {
            let _ = template.eval(&JsonScope(&names));
        }
    }

    #[test]
    fn less_fuel_gives_the_same_or_a_budget_error(source in source(), fuel in 0_u64..200, bytes in 0_u64..2_000) {
        let names = names();
        let Ok(expr) = Expr::compile(&source) else { return Ok(()) };
        let full = expr.eval(&JsonScope(&names));
        let mut budget = Budget::new(fuel, bytes);
        let part = expr.eval_within(&JsonScope(&names), &mut budget);
        let same = format!("{part:?}") == format!("{full:?}");
        prop_assert!(same || part.as_ref().is_err_and(|error| error.code() == "expr.budget"), "{source}: {part:?} {full:?}");
        if let Err(error) = full {
            let span = error.span;
            prop_assert!(span.start < span.end && span.end as usize <= source.len(), "{source}: {error:?}");
        }
    }

    #[test]
    fn inner_json_reads_back(source in source()) {
        let names = names();
        let Ok(expr) = Expr::compile(&source) else { return Ok(()) };
        let Ok(value) = expr.eval(&JsonScope(&names)) else { return Ok(()) };
        // What stands for a secret is never taken back.
        prop_assume!(expr.secrets().is_empty());
        let Ok(json) = value.to_json_typed() else { return Ok(()) };
        let again = Value::from_json_typed(&json).to_json_typed().unwrap();
        prop_assert_eq!(again.to_string(), json.to_string());
    }
}
