//! `openclaw expr`: one expression, evaluated on this machine by the engine's own evaluator.
//!
//! With `--json` it answers requests from standard input, line by line, so that a tool can put
//! thousands of cases through one process. The form is described in `docs/expressions.md`.

mod typed;

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Read, Write};

use openclaw_protocol::expr::{EvalError, Expr, ExprError, Span, Value};
use serde_json::{Map as Object, Value as Json, json};

use super::{ask, read_stdin};
use crate::args::{ExprArgs, Global};
use crate::exit::{FAILED, Failure, INVALID};
use crate::output::{Format, printable};

/// One request, in bytes.
const REQUEST_BYTES: usize = 4 * 1024 * 1024;

/// The code of what is wrong with a request rather than with its expression.
const REQUEST_INVALID: &str = "request.invalid";

/// What is wrong, as an answer tells it.
#[derive(Debug)]
struct Wrong {
    code: &'static str,
    message: String,
    span: Option<Span>,
}

/// `openclaw expr …`.
pub(crate) async fn run(global: &Global, args: ExprArgs) -> Result<(), Failure> {
    let bindings = args.bindings.iter().map(|(name, text)| {
        let json = serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.clone()));
        (name.clone(), Value::from_json_typed(&json))
    });
    let bindings: BTreeMap<String, Value> = bindings.collect();
    if args.json {
        let fixed = args.expression.filter(|source| source != "-");
        return ask(move || serve(fixed.as_deref(), &bindings)).await;
    }
    let source = match args.expression {
        Some(source) if source != "-" => source,
        _ => ask(read_stdin).await?.trim_end().to_owned(),
    };
    let value = evaluate(&source, &bindings).map_err(|wrong| failure(&source, &wrong))?;
    match global.output {
        Format::Table => println!("{}", printable(&shown(&value))),
        format @ (Format::Json | Format::Yaml) => {
            crate::output::print(format, &answer(&value), &[], |_| Vec::new())?;
        }
    }
    Ok(())
}

fn evaluate(source: &str, bindings: &BTreeMap<String, Value>) -> Result<Value, Wrong> {
    let expr = Expr::compile(source)?;
    Ok(expr.eval(bindings)?)
}

/// A value for people: JSON, and what JSON cannot write in the typed form.
fn shown(value: &Value) -> String {
    value.to_json().unwrap_or_else(|_| typed::write(value)).to_string()
}

fn failure(source: &str, wrong: &Wrong) -> Failure {
    let code = if wrong.code == ExprError::CODE { INVALID } else { FAILED };
    let mut failure = Failure::new(code, format!("{}: {}", wrong.code, wrong.message));
    if let Some(span) = wrong.span.filter(|_| !source.contains('\n')) {
        let chars =
            |bytes: u32| source.get(..bytes as usize).map_or(0, |text| text.chars().count());
        let (start, end) = (chars(span.start), chars(span.end));
        let marks = "^".repeat(end.saturating_sub(start).max(1));
        failure.details = vec![source.to_owned(), format!("{}{marks}", " ".repeat(start))];
    }
    failure
}

/// Answers requests until standard input ends.
fn serve(fixed: Option<&str>, bindings: &BTreeMap<String, Value>) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let mut answered = false;
    // With the expression on the command line and nobody to give more names, there is one answer.
    if fixed.is_none() || !std::io::stdin().is_terminal() {
        let mut requests = Requests::new(std::io::stdin().lock());
        while let Some(request) = requests.next()? {
            let reply =
                request.map_or_else(|wrong| wrong.answer(), |json| reply(&json, fixed, bindings));
            writeln!(out, "{reply}")?;
            // Who asks one at a time waits for each answer.
            out.flush()?;
            answered = true;
        }
    }
    if let (Some(source), false) = (fixed, answered) {
        let reply = evaluate(source, bindings).map_or_else(|wrong| wrong.answer(), |v| answer(&v));
        writeln!(out, "{reply}")?;
    }
    Ok(())
}

/// JSON values from a stream of lines; a value may take several.
struct Requests<R> {
    lines: R,
    /// Read, but part of the next value.
    ahead: Option<Json>,
    ended: bool,
}

impl<R: BufRead> Requests<R> {
    fn new(lines: R) -> Self {
        Self { lines, ahead: None, ended: false }
    }

    /// The next one, or what is wrong with it; `None` at the end.
    fn next(&mut self) -> Result<Option<Result<Json, Wrong>>, Failure> {
        if let Some(json) = self.ahead.take() {
            return Ok(Some(Ok(json)));
        }
        let mut text = String::new();
        while !self.ended {
            let Some(line) = self.line()? else {
                self.ended = true;
                break;
            };
            text.push_str(&line);
            match serde_json::from_str::<Json>(&text) {
                Ok(json) => return Ok(Some(Ok(json))),
                Err(error) if error.is_eof() && text.len() <= REQUEST_BYTES => {}
                Err(_) if text.trim().is_empty() => text.clear(),
                Err(error) => {
                    // A request that was cut short must not swallow the one after it.
                    if text.len() > line.len() {
                        self.ahead = serde_json::from_str(&line).ok();
                    }
                    return Ok(Some(Err(Wrong::request(format!("no JSON: {error}")))));
                }
            }
        }
        let left = text.trim();
        Ok((!left.is_empty()).then(|| Err(Wrong::request("the input ends within a request"))))
    }

    fn line(&mut self) -> Result<Option<String>, Failure> {
        let mut bytes = Vec::new();
        let most = REQUEST_BYTES as u64 + 1;
        let read = (&mut self.lines).take(most).read_until(b'\n', &mut bytes)?;
        // What is not UTF-8 is not JSON either, and is answered so.
        Ok((read > 0).then(|| String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// Answers one request.
fn reply(json: &Json, fixed: Option<&str>, bindings: &BTreeMap<String, Value>) -> Json {
    let id = json.get("id").filter(|_| is_request(json)).cloned();
    let outcome = read_request(json, fixed).and_then(|(source, names)| {
        let mut all = bindings.clone();
        all.extend(names);
        evaluate(&source, &all)
    });
    let mut reply = outcome.map_or_else(|wrong| wrong.answer(), |value| answer(&value));
    if let (Some(id), Some(object)) = (id, reply.as_object_mut()) {
        object.insert("id".to_owned(), id);
    }
    reply
}

/// Whether an object asks, rather than being the names for an expression on the command line.
fn is_request(json: &Json) -> bool {
    json.get("expr").is_some_and(Json::is_string)
        || json.get("bindings").is_some_and(Json::is_object)
}

fn read_request(
    json: &Json,
    fixed: Option<&str>,
) -> Result<(String, BTreeMap<String, Value>), Wrong> {
    let object = json.as_object().ok_or_else(|| Wrong::request("a request is a JSON object"))?;
    if let (Some(source), false) = (fixed, is_request(json)) {
        return Ok((source.to_owned(), names(object, None)?));
    }
    let source = match (object.get("expr"), fixed) {
        (Some(Json::String(source)), _) => source.clone(),
        (None, Some(source)) => source.to_owned(),
        _ => return Err(Wrong::request("`expr` must be there and a text")),
    };
    let names = match object.get("bindings") {
        None | Some(Json::Null) => BTreeMap::new(),
        Some(Json::Object(bindings)) => names(bindings, object.get("types"))?,
        Some(_) => return Err(Wrong::request("`bindings` must be an object")),
    };
    Ok((source, names))
}

/// The values of names: typed, plain, or plain with types beside them.
fn names(
    bindings: &Object<String, Json>,
    types: Option<&Json>,
) -> Result<BTreeMap<String, Value>, Wrong> {
    let every_one_typed = !bindings.is_empty() && bindings.values().all(typed::looks_typed);
    let read = |name: &str, json: &Json| match types {
        None if every_one_typed => typed::read(json),
        None => Ok(Value::from_json_typed(json)),
        Some(Json::String(form)) if form == "typed" => typed::read(json),
        Some(Json::String(form)) if form == "plain" => Ok(Value::from_json_typed(json)),
        Some(Json::Object(types)) => match types.get(name) {
            Some(Json::String(kind)) => typed::read_as(kind, json),
            Some(_) => Err("its type must be a text".to_owned()),
            None => Ok(Value::from_json_typed(json)),
        },
        Some(_) => {
            Err("`types` must be `typed`, `plain`, or an object from name to type".to_owned())
        }
    };
    let read = |(name, json): (&String, &Json)| {
        let value = read(name, json).map_err(|why| Wrong::request(format!("`{name}`: {why}")))?;
        Ok((name.clone(), value))
    };
    bindings.iter().map(read).collect()
}

fn answer(value: &Value) -> Json {
    let mut answer = Object::new();
    if let Ok(json) = value.to_json() {
        answer.insert("value".to_owned(), json);
    }
    answer.insert("type".to_owned(), json!(typed::name_of(value)));
    answer.insert("typed".to_owned(), typed::write(value));
    Json::Object(answer)
}

impl Wrong {
    fn request(message: impl Into<String>) -> Self {
        Self { code: REQUEST_INVALID, message: message.into(), span: None }
    }

    fn answer(&self) -> Json {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let (Some(span), Some(error)) = (self.span, error.as_object_mut()) {
            error.insert("span".to_owned(), json!({ "start": span.start, "end": span.end }));
        }
        json!({ "error": error })
    }
}

impl From<ExprError> for Wrong {
    fn from(error: ExprError) -> Self {
        Self { code: ExprError::CODE, message: error.message, span: Some(error.span) }
    }
}

impl From<EvalError> for Wrong {
    fn from(error: EvalError) -> Self {
        Self { code: error.code(), message: error.message, span: Some(error.span) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(text: &str) -> Vec<Json> {
        let mut requests = Requests::new(text.as_bytes());
        let mut replies = Vec::new();
        while let Some(request) = requests.next().unwrap() {
            replies.push(
                request.map_or_else(
                    |wrong| wrong.answer(),
                    |json| reply(&json, None, &BTreeMap::new()),
                ),
            );
        }
        replies
    }

    #[test]
    fn one_answer_for_each_request_however_it_is_broken_into_lines() {
        let found =
            replies("{\"expr\": \"1\"}\n\n{\n \"expr\":\n \"2\"\n}\nnonsense\n{\"expr\": \"3\"}");
        let values: Vec<&Json> = found.iter().map(|reply| &reply["value"]).collect();
        assert_eq!(values, [&json!(1), &json!(2), &Json::Null, &json!(3)]);
        assert_eq!(found[2]["error"]["code"], REQUEST_INVALID);
        let two = replies("{\"expr\": \"1\"\n{\"expr\": \"2\"}");
        assert_eq!((two.len(), &two[1]["value"]), (2, &json!(2)));
        let cut = replies("{\"expr\": \"1\"");
        assert_eq!(cut.len(), 1);
        assert_eq!(cut[0]["error"]["code"], REQUEST_INVALID);
    }

    #[test]
    fn names_in_three_forms() {
        let found = replies(
            r#"{"expr": "type(x)", "bindings": {"x": 1}}
               {"expr": "type(x)", "bindings": {"x": {"type": "uint", "value": "1"}}}
               {"expr": "type(x)", "bindings": {"x": {"type": "uint", "value": "1"}}, "types": "plain"}
               {"expr": "type(x)", "bindings": {"x": 1}, "types": {"x": "double"}}
               {"expr": "x.y", "bindings": {"x.y": 1.5}, "id": 7}
               {"expr": "x", "bindings": {"x": 1}, "types": "typed"}"#,
        );
        let types: Vec<&Json> = found[..4].iter().map(|reply| &reply["value"]).collect();
        assert_eq!(types, ["int", "uint", "map", "double"]);
        assert_eq!(
            found[4],
            json!({ "value": 1.5, "type": "double", "id": 7,
            "typed": { "type": "double", "value": "1.5" } })
        );
        assert_eq!(found[5]["error"]["code"], REQUEST_INVALID);
    }

    #[test]
    fn errors_have_code_and_place() {
        let found =
            replies("{\"expr\": \"1 + a.b\"}\n{\"expr\": \"1 +\"}\n{\"expr\": \"0.0/0.0\"}");
        assert_eq!(found[0]["error"]["code"], "expr.key");
        assert_eq!(found[0]["error"]["span"], json!({ "start": 4, "end": 7 }));
        assert_eq!(found[1]["error"]["code"], "expr.parse");
        // JSON cannot write it, the typed form can.
        assert_eq!(found[2].get("value"), None);
        assert_eq!(found[2]["typed"], json!({ "type": "double", "value": "NaN" }));
    }

    #[test]
    fn names_alone_for_an_expression_on_the_command_line() {
        let none = BTreeMap::new();
        let names = json!({ "a": 1, "b": 2 });
        assert_eq!(reply(&names, Some("a + b"), &none)["value"], 3);
        let request = json!({ "bindings": { "a": 1, "b": 5 } });
        assert_eq!(reply(&request, Some("a + b"), &none)["value"], 6);
    }

    #[test]
    fn people_see_where_it_is_wrong() {
        let source = "'ü' + nowhere";
        let wrong = evaluate(source, &BTreeMap::new()).unwrap_err();
        let failure = failure(source, &wrong);
        assert_eq!(failure.details[1], "      ^^^^^^^");
    }
}
