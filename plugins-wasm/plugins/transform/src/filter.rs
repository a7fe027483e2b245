//! jaq as this plugin has it: the filters of jq that need no clock, environment, log, time zone or
//! regular expression, and a few of mathematics.

use std::collections::BTreeMap;

use jaq_core::load::{Arena, Error as LoadError, File, Loader};
use jaq_core::native::{Fun, bome, run as native, v};
use jaq_core::{Compiler, Ctx, DataT, Vars, data, unwrap_valr};
use jaq_json::{Val, read};
use openclaw_plugin_sdk::{Error, Result};
use serde_json::Value;

/// Bytes of a filter.
const FILTER_BYTES: usize = 16 * 1024;
/// Values that a filter gives.
pub(crate) const OUTPUTS: usize = 10_000;

/// Definitions of the library that rest on what is not there.
const LEFT_OUT: [&str; 28] = [
    "stderr",
    "debug",
    "halt",
    "halt_error",
    "logb",
    "significand",
    "pow10",
    "drem",
    "nexttoward",
    "scalb",
    "gamma",
    "capture_of_match",
    "test",
    "scan_",
    "match",
    "capture",
    "splits",
    "sub",
    "gsub",
    "scan",
    "todate",
    "fromdate",
    "@html",
    "@htmld",
    "@uri",
    "@urid",
    "@base64",
    "@base64d",
];

/// Runs a filter and gives at most `most` values; one more is an error.
pub(crate) fn run(
    code: &str,
    input: &Value,
    vars: &BTreeMap<String, Value>,
    most: usize,
) -> Result<Vec<Value>> {
    if code.len() > FILTER_BYTES {
        let why = format!("a filter has at most {FILTER_BYTES} bytes");
        return Err(Error::new("user.too_large", why));
    }
    let names: Vec<String> = vars.keys().map(|name| format!("${name}")).collect();
    let given = vars.values().map(value_in).collect::<Result<Vec<Val>>>()?;
    let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let defs = defs.filter(|def| {
        let is_regex_split = def.name == "split" && def.args.len() == 2;
        !LEFT_OUT.contains(&def.name) && !is_regex_split
    });
    let arena = Arena::default();
    let modules = Loader::new(defs)
        .load(&arena, File { code, path: () })
        .map_err(|errors| invalid(code, errors.into_iter().flat_map(|(_, e)| load_faults(e))))?;
    let base = jaq_std::base_funs().filter(|(name, ..)| *name != "halt");
    let funs = jaq_core::funs().chain(base).chain(jaq_json::funs()).chain(maths());
    let compiler = Compiler::default().with_funs(funs);
    let filter = compiler
        .with_global_vars(names.iter().map(String::as_str))
        .compile(modules)
        .map_err(|errors| {
            let faults = errors.into_iter().flat_map(|(_, faults)| faults);
            invalid(
                code,
                faults.map(|(at, what)| (format!("there is no such {}", what.as_str()), at)),
            )
        })?;
    let ctx = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new(given));
    let mut outputs = Vec::new();
    for value in filter.id.run((ctx, value_in(input)?)).map(unwrap_valr) {
        let value = value.map_err(|e| Error::new("user.filter_failed", e.to_string()))?;
        if outputs.len() >= most {
            let (code, hint) = match most {
                1 => {
                    ("user.not_one", "the filter gave more than one value; set `all`, or use `[…]`")
                }
                _ => ("user.too_large", "the filter gave more than 10000 values"),
            };
            return Err(Error::new(code, hint));
        }
        outputs.push(value_out(&value)?);
    }
    Ok(outputs)
}

/// Functions of mathematics that jq has and that need no library of their own.
fn maths<D: DataT>() -> impl Iterator<Item = Fun<D>>
where
    for<'a> D::V<'a>: jaq_std::ValT,
{
    macro_rules! of_one {
        ($name:expr, $f:expr) => {
            native::<D>(($name, v(0), |cv| {
                bome(number(&cv.1).map(|x| <D::V<'_> as From<f64>>::from($f(x))))
            }))
        };
    }
    [
        of_one!("sqrt", f64::sqrt),
        of_one!("exp", f64::exp),
        of_one!("log", f64::ln),
        of_one!("log10", f64::log10),
        of_one!("log2", f64::log2),
        of_one!("trunc", f64::trunc),
        native::<D>(("pow", v(2), |mut cv| {
            let (exponent, base) = (cv.0.pop_var(), cv.0.pop_var());
            let power = number(&base).and_then(|b| Ok(b.powf(number(&exponent)?)));
            bome(power.map(<D::V<'_> as From<f64>>::from))
        })),
    ]
    .into_iter()
}

fn number<V: jaq_std::ValT>(value: &V) -> std::result::Result<f64, jaq_core::Error<V>> {
    value.as_f64().ok_or_else(|| jaq_core::Error::typ(value.clone(), "number"))
}

fn value_in(value: &Value) -> Result<Val> {
    let json = serde_json::to_vec(value).unwrap_or_default();
    read::parse_single(&json).map_err(|e| Error::new("inputs.invalid", e.to_string()))
}

fn value_out(value: &Val) -> Result<Value> {
    let text = value.to_string();
    serde_json::from_str(&text).map_err(|_| {
        let start: String = text.chars().take(100).collect();
        Error::new("user.filter_failed", format!("the filter gave `{start}`, which is not JSON"))
    })
}

/// What is wrong with a filter, and the rest of it from there on.
fn load_faults(error: LoadError<&str>) -> Vec<(String, &str)> {
    match error {
        LoadError::Lex(faults) => {
            let said = |(what, at): (jaq_core::load::lex::Expect<&str>, _)| {
                (format!("expected {}", what.as_str()), at)
            };
            faults.into_iter().map(said).collect()
        }
        LoadError::Parse(faults) => {
            let said = |(what, at): (jaq_core::load::parse::Expect<_>, _)| {
                (format!("expected {}", what.as_str()), at)
            };
            faults.into_iter().map(said).collect()
        }
        LoadError::Io(files) => {
            files.into_iter().map(|(at, _)| ("modules cannot be loaded".to_owned(), at)).collect()
        }
    }
}

/// The first fault, with its place.
fn invalid<'a>(code: &str, mut faults: impl Iterator<Item = (String, &'a str)>) -> Error {
    let (what, at) = faults.next().unwrap_or_default();
    let offset = (at.as_ptr() as usize).wrapping_sub(code.as_ptr() as usize);
    let place = match code.get(..offset) {
        Some(before) if offset < code.len() => {
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            let rest: String = at.chars().take(30).collect();
            format!("line {line}, column {column}: `{rest}`: {what}")
        }
        _ if at.is_empty() => format!("at the end: {what}"),
        _ => format!("`{at}`: {what}"),
    };
    Error::new("user.filter_invalid", format!("filter: {place}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(code: &str, input: &Value) -> Result<Value> {
        run(code, input, &BTreeMap::new(), 1).map(|mut all| all.pop().unwrap_or_default())
    }

    #[test]
    fn filters_do_what_jq_does() {
        for (code, input, output) in [
            (".a.b", json!({ "a": { "b": 1.5 } }), json!(1.5)),
            ("[.[] | select(. > 2)]", json!([1, 2, 3, 4]), json!([3, 4])),
            ("map(.x) | add / length", json!([{ "x": 1 }, { "x": 2 }]), json!(1.5)),
            ("to_entries | map(.key)", json!({ "a": 1, "b": 2 }), json!(["a", "b"])),
            (".a |= . + 1", json!({ "a": 1, "b": 2 }), json!({ "a": 2, "b": 2 })),
            (
                "group_by(.k) | map({ (.[0].k): length }) | add",
                json!([{ "k": "a" }, { "k": "b" }, { "k": "a" }]),
                json!({ "a": 2, "b": 1 }),
            ),
            ("split(\",\") | map(tonumber)", json!("1,2"), json!([1, 2])),
            ("[limit(3; range(10))]", json!(null), json!([0, 1, 2])),
            ("try error(\"x\") catch .", json!(null), json!("x")),
            ("reduce .[] as $x (0; . + $x)", json!([1, 2, 3]), json!(6)),
            (". as { a: $x } | $x", json!({ "a": 7 }), json!(7)),
            ("ascii_downcase | startswith(\"ab\")", json!("ABC"), json!(true)),
            ("fromjson | .a", json!("{\"a\":1}"), json!(1)),
            ("\"\\(.a) °C\"", json!({ "a": 21.5 }), json!("21.5 °C")),
            ("[paths] | length", json!({ "a": [1, 2] }), json!(3)),
            ("12345678901234567890", json!(null), json!(12_345_678_901_234_567_890_u64)),
            ("[sqrt, pow(.; 0.5)]", json!(16), json!([4.0, 4.0])),
            ("@json", json!([1]), json!("[1]")),
            ("limit(1; .[])", json!([5, 6]), json!(5)),
        ] {
            assert_eq!(one(code, &input), Ok(output), "{code}");
        }
    }

    #[test]
    fn what_is_not_there_cannot_be_named() {
        for code in
            ["env", "now", "$ENV", "input", "debug", "test(\"a\")", "halt", "halt(0)", "localtime"]
        {
            let error = one(code, &Value::Null).map_err(|e| e.code);
            assert!(error.is_err(), "{code}: {error:?}");
        }
    }

    #[test]
    fn faults_have_their_place() {
        for (code, part) in [
            (".a |\n nothing(1)", "line 2, column 2"),
            (".a[", "filter:"),
            ("$x", "no such variable"),
            (".a }", "filter:"),
            ("import \"a\" as a; .", "filter:"),
        ] {
            let error = one(code, &Value::Null).map_err(|e| (e.code, e.message));
            let (is, message) = error.err().unwrap_or_default();
            assert!(is == "user.filter_invalid" && message.contains(part), "{code}: {message}");
        }
        let failed = one(".a", &json!([1])).map_err(|e| e.code);
        assert_eq!(failed, Err("user.filter_failed".to_owned()));
        assert_eq!(one("nan", &json!(1)).map_err(|e| e.code), Err("user.filter_failed".to_owned()));
        assert_eq!(one(".[]", &json!([1, 2])).map_err(|e| e.code), Err("user.not_one".to_owned()));
    }

    #[test]
    fn variables_are_given() {
        let vars = BTreeMap::from([("low".to_owned(), json!(2)), ("high".to_owned(), json!(3))]);
        let got = run("[.[] | select(. >= $low and . <= $high)]", &json!([1, 2, 3, 4]), &vars, 1);
        assert_eq!(got, Ok(vec![json!([2, 3])]));
    }
}
