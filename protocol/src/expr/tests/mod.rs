//! Tests of expressions: the language here, each larger topic in its own file.

mod bounds;
mod conformance;
mod functions;
mod template;
mod text;

use serde_json::json;

use super::*;
use crate::json::JsonText;
use crate::ordered::VecMap;

/// Evaluates against a few names as a run has them.
fn eval(source: &str) -> Result<Value, String> {
    let names = json!({
        "inputs": {"limit": 21, "ratio": 0.5, "name": "pump-7", "in use": true},
        "vars": {"n": 3, "list": [3, 1, 2], "empty": {}},
        "steps": {"read": {"output": {"temp": 21.0, "tags": ["a", "b"]}, "status": "completed"}},
        "loop": {"index": 4},
    });
    let expr = Expr::compile(source).map_err(|error| format!("expr.parse: {error}"))?;
    expr.eval(&JsonScope(&names)).map_err(|error| format!("{}: {error}", error.code()))
}

#[track_caller]
fn check(source: &str, expected: impl Into<Value>) {
    assert_eq!(eval(source), Ok(expected.into()), "{source}");
}

#[track_caller]
fn fails(source: &str, code: &str) {
    let error = eval(source).expect_err(source);
    assert!(error.starts_with(code), "{source}: {error}");
}

/// Where the error stands and what it says.
#[track_caller]
fn parse_error(source: &str) -> (String, &str) {
    let error = Expr::compile(source).expect_err(source);
    let Span { start, end } = error.span;
    (error.message, &source[start as usize..end as usize])
}

#[test]
fn operators_bind_as_in_cel() {
    check("1 + 2 * 3 - 4", 3);
    check("-2 * -3", 6);
    check("1 < 2 == true", true);
    check("false || true && false", false);
    check("true ? 1 : false ? 2 : 3", 1);
    check("(false ? 1 : 2) + 1", 3);
    check("2 in vars.list && !(5 in vars.list)", true);
    check("'limit' in inputs", true);
}

#[test]
fn mixed_numbers_promote_to_double() {
    check("vars.n * inputs.ratio", 1.5);
    check("1 + 2u", 3.0);
    check("7 / 2", 3);
    check("7 / 2.0", 3.5);
    check("steps.read.output.temp >= inputs.limit", true);
    check("21 == 21.0 && 21u == 21", true);
    fails("7.5 % 2", "expr.type: `%` does not take double and int; write int(…) around a double");
    fails("9223372036854775807 + 1", "expr.type: the result of `+` is out of range");
    fails("1 / 0", "expr.type: division by zero");
}

#[test]
fn a_double_that_left_as_text_comes_back_as_it_was() {
    // Found by fuzzing: read quickly instead of exactly, each of these comes back as a neighbour.
    for number in [0.37771268494124643, 1.38e-23, 92_233_703.342_738_79, 9.122222222222224e48] {
        let text = JsonText::of(&Value::Double(number).to_json_typed().unwrap());
        assert_eq!(Value::from_json_typed(&text.value()), Value::Double(number));
    }
}

#[test]
fn names_reach_into_the_scope() {
    check("steps.read.output.tags[1]", "b");
    check("steps['read'].output['tags'][0]", "a");
    check("inputs.`in use`", true);
    check("loop.index", 4);
    fails("stps.read", "expr.key: unknown name `stps`");
    fails("steps.write.output", "expr.key: no key `write`");
    fails("inputs.name.first", "expr.type: string has no field `first`");
    fails("vars.list[3]", "expr.key: index 3 in a list of 3");
    fails("vars.list['a']", "expr.type: list has no field `a`");
    fails("vars.list['a' + 'b']", "expr.type: a list's index is a whole number, not string");
}

#[test]
fn has_and_get_ask_for_what_may_be_missing() {
    check("has(steps.read.output.temp)", true);
    check("has(steps.read.output.humidity)", false);
    fails("has(steps.write.output)", "expr.key");
    check("get(steps, 'read.output.temp', 0)", 21.0);
    check("get(steps, 'write.output.temp', -1)", -1);
    check("get(steps.write.output, 'temp', -1)", -1);
    check("get(vars, 'list.2', 0)", 2);
    check("get(vars, 'list.9', vars.n)", 3);
    assert_eq!(parse_error("has(a)").1, "a");
}

#[test]
fn macros_bind_their_own_names() {
    check("vars.list.map(x, x * 2).sum()", 12);
    check("vars.list.filter(x, x > 1).size()", 2);
    check("vars.list.map(x, vars.list.map(y, x * y).sum()).sum()", 36);
    // The inner name hides the outer one, and a leading dot reaches past both.
    check("[1].map(vars, vars + 1)[0]", 2);
    check("[1].map(vars, .vars.n + vars)[0]", 4);
    check("cel.bind(x, 5, [1, 2].map(y, x + y))[1]", 7);
    check("{'b': 1, 'a': 2}.map(k, k).join()", "ab");
    check("{'b': 1, 'a': 2}.transformList(k, v, v)[0]", 2);
    check("{'a': 1}.transformMapEntry(k, v, {string(v): k})['1']", "a");
    fails("[1, 2].transformMapEntry(i, v, {'same': v})", "expr.type: the key `same` occurs twice");
    assert_eq!(parse_error("[1].map(a.b, 1)").1, "a.b");
}

#[test]
fn logic_absorbs_errors_that_do_not_decide() {
    check("vars.missing || true", true);
    check("true || vars.missing", true);
    check("vars.missing == 1 && false", false);
    fails("vars.missing || false", "expr.key");
    fails("1 && true", "expr.type: `&&` takes true or false, not int");
    // Where it is told is part of a run's story, and stays: for `!` at its mark, else at the operand.
    for (source, at) in
        [("true && !1", 8), ("true && 1", 8), ("true ? !!2 : 1", 7), ("2 ? 1 : 1", 0)]
    {
        let error = Expr::compile(source).unwrap().eval(&()).unwrap_err();
        assert_eq!((error.kind, error.span.start), (ErrorKind::Type, at), "{source}");
    }
    check("[1, 0].exists(x, 1 / x == 1)", true);
    fails("[2, 0].exists(x, 1 / x == 1)", "expr.type: division by zero");
    check("[0, 2].all(x, 1 / x == 1)", false);
    fails("[0, 1].exists_one(x, 1 / x == 1)", "expr.type: division by zero");
}

#[test]
fn errors_say_where_and_what() {
    let cases = [
        ("1 +", "expected a value, found the end", ""),
        ("a = b", "unexpected character '='; compare with `==`", "="),
        ("a & b", "unexpected character '&'; logic is `&&` and `||`", "&"),
        ("(1", "expected `)`, found the end", ""),
        ("[1, 2", "expected `,` or `]`, found the end", ""),
        ("{1 2}", "expected `:` after the key, found `2`", "2"),
        ("a b", "expected an operator or the end, found `b`", "b"),
        ("'abc", "missing closing '", "'abc"),
        ("'\\q'", "unknown escape sequence", "\\q"),
        ("'\\ud800'", "not a Unicode character", "\\ud800"),
        ("'\\x4\u{1F431}'", "incomplete escape sequence", "\\x4\u{1F431}"),
        (
            "9223372036854775808",
            "the number exceeds `int`; write it as `…u` or `….0`",
            "9223372036854775808",
        ),
        ("12abc", "a number must not run into a name", "12"),
        (
            "a.?b",
            "optional fields are not part of the language: use `get(value, \"a.b\", default)`, found `?`",
            "?",
        ),
        ("x.matches(y)", "`matches` takes a pattern in quotes", "y"),
        ("secret(x)", "`secret` takes a name in quotes", "x"),
        ("", "the expression is empty", ""),
        ("T{}", "messages such as `T{…}` are not part of the language, found `{`", "{"),
    ];
    for (source, message, at) in cases {
        assert_eq!(parse_error(source), (message.to_owned(), at), "{source}");
    }
    let error = Expr::compile("1 + vars.n.x").unwrap().eval(&()).unwrap_err();
    assert_eq!((error.code(), error.span), ("expr.key", Span::new(4, 12)));
}

#[test]
fn references_are_the_paths_that_are_written_out() {
    let expr = Expr::compile(
        "steps.read.output.temp > inputs['limit'] && steps.read.output.tags[i].size() > 0 \
         || vars.list.exists(x, x == vars.n) || type(now) == int || math.abs(vars.n) > 1",
    );
    let paths: Vec<String> = expr.unwrap().references().iter().map(|path| path.join(".")).collect();
    assert_eq!(
        paths,
        [
            "steps.read.output.temp",
            "inputs.limit",
            "steps.read.output.tags",
            "i",
            "vars.list",
            "vars.n",
            "now"
        ]
    );
}

#[test]
fn unknown_functions_compile_and_are_reported() {
    let problems = |source: &str| {
        let expr = Expr::compile(source).unwrap();
        let messages = expr.problems().iter().map(|problem| problem.message.clone());
        messages.collect::<Vec<_>>()
    };
    assert_eq!(
        problems("inputs.name.startWith('a')"),
        ["unknown function `startWith`; did you mean `startsWith`?"]
    );
    assert_eq!(
        problems("math.greates(1)"),
        ["unknown function `math.greates`; did you mean `math.greatest`?"]
    );
    assert_eq!(problems("size(1, 2)"), ["`size` does not take this number of arguments"]);
    assert_eq!(problems("contains('a', 'b')"), ["`contains` is a method: write value.contains()"]);
    assert_eq!(problems("x.uuid()"), ["`uuid` is not a method: write uuid(value)"]);
    assert!(problems("size([1]) + [1].size()").is_empty());
    fails("now_please()", "expr.type: unknown function `now_please`");
    check("now_please() || true", true);
}

#[test]
fn json_numbers_by_origin() {
    let json = json!({"n": 21, "big": u64::MAX, "x": 21.0});
    let outside = Value::from_json(&json);
    assert_eq!(outside.as_map().unwrap().field("n"), Some(&Value::Double(21.0)));
    assert_eq!(outside.to_json().unwrap()["n"], json!(21));
    let inside = Value::from_json_typed(&json);
    assert_eq!(inside.as_map().unwrap().field("n"), Some(&Value::Int(21)));
    assert_eq!(inside.as_map().unwrap().field("big"), Some(&Value::Uint(u64::MAX)));
    // What the engine stores is what it reads again; what it hands out has plain integers.
    assert_eq!(inside.to_json_typed().unwrap().to_string(), json.to_string());
    assert_eq!(inside.to_json().unwrap()["x"].to_string(), "21");
    let edge = 9_007_199_254_740_992.0;
    assert_eq!(Value::Double(edge).to_json().unwrap().to_string(), "9007199254740992");
    assert_eq!(Value::Double(edge * 2.0).to_json().unwrap(), json!(edge * 2.0));
    for not_a_number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(Value::Double(not_a_number).to_json().unwrap_err().code(), "expr.type");
    }
}

#[test]
fn maps_keep_their_order_and_iterate_sorted() {
    let map = eval("{'z': 1, 'a': {'y': 2, 'b': 3}, 2: null, true: [1.5]}").unwrap();
    assert_eq!(
        map.to_json().unwrap().to_string(),
        r#"{"z":1,"a":{"y":2,"b":3},"2":null,"true":[1.5]}"#
    );
    check("{'z': 1, 'a': 2, 2: 3, true: 4}.keys() == [true, 2, 'a', 'z']", true);
    check("{'z': 1, 'a': 2} == {'a': 2, 'z': 1}", true);
    check("{1: 'int'}[1u] + {1: 'int'}[1.0]", "intint");
    fails("{1: 'a', 1u: 'b'}", "expr.type: the key `1` occurs twice");
    fails("{1.5: 'a'}", "expr.type: double cannot be a map's key");
}

#[test]
fn scopes_are_asked_once_for_each_path() {
    use std::cell::RefCell;

    struct Recording(RefCell<Vec<String>>);
    impl Scope for Recording {
        fn lookup(&self, name: &str) -> Option<Lent<'_>> {
            self.0.borrow_mut().push(name.to_owned());
            let big = || Value::from_json_typed(&json!({"list": [1, 2, 3]}));
            (name == "big").then(|| Lent::Owned(big()))
        }
    }

    let scope = Recording(RefCell::default());
    let expr = Expr::compile("big.list.map(x, big.list[x - 1] + big.list[0]).sum()").unwrap();
    assert_eq!(expr.eval(&scope), Ok(Value::Int(9)));
    // Qualified names come first, as in CEL.
    assert_eq!(scope.0.take(), ["big.list", "big"]);
    let missing = Expr::compile("[1, 2, 3].exists(x, big.none == x) || true").unwrap();
    assert_eq!(missing.eval(&scope), Ok(Value::Bool(true)));
    assert_eq!(scope.0.take(), ["big.none", "big"]);
}

#[test]
fn secrets_are_handles() {
    let expr = Expr::compile("secret('token')").unwrap();
    assert_eq!(expr.secrets(), ["token"]);
    let value = expr.eval(&()).unwrap();
    assert_eq!(value.to_json().unwrap(), json!({"$secret": "token"}));
    for source in ["secret('t') == 'x'", "secret('t') + 1", "string(secret('t'))"] {
        fails(source, "expr.type");
    }
    // Joined with text it stays a handle, whichever side it is on.
    for (source, told) in [
        ("'Bearer ' + secret('t')", json!({"$join": ["Bearer ", {"$secret": "t"}]})),
        (
            "secret('u') + ':' + secret('p')",
            json!({"$join": [{"$secret": "u"}, ":", {"$secret": "p"}]}),
        ),
        ("'' + secret('t')", json!({"$secret": "t"})),
        ("['a', 'b'].map(x, x + secret('t'))[1]", json!({"$join": ["b", {"$secret": "t"}]})),
        ("{'h': 'x' + ('y' + secret('t'))}.h", json!({"$join": ["xy", {"$secret": "t"}]})),
    ] {
        let value = Expr::compile(source).unwrap().eval(&()).unwrap();
        assert_eq!(value.to_json().unwrap(), told, "{source}");
    }
    fails("json.encode([secret('t')])", "expr.type: a secret cannot be encoded");
    // Data that looks like a handle does not become one.
    let forged = Value::from_json(&json!({"a": [{"$secret": "token"}]}));
    assert_eq!(forged.to_json().unwrap_err().code(), "expr.type");
}

#[test]
fn expressions_can_cross_threads() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<(Expr, Template, Value)>();
    let scope: VecMap<String, Value> = [("a.b".to_owned(), Value::from(1))].into();
    assert_eq!(Expr::compile("a.b").unwrap().eval(&scope), Ok(Value::Int(1)));
}
