//! Sends one HTTP request and hands back the response, its body as JSON where it is JSON.

use std::collections::BTreeMap;

use openclaw_plugin_sdk::http::{Request, Response};
use openclaw_plugin_sdk::{Error, Result, export};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    url: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A text is sent as it is, anything else as JSON.
    #[serde(default)]
    body: Option<Value>,
    /// Whether a status of 400 and more is an answer like any other, not a failure.
    #[serde(default)]
    any_status: bool,
}

/// The response.
#[derive(Debug, Serialize)]
pub struct Output {
    status: u16,
    headers: BTreeMap<String, String>,
    /// JSON where it parses, else text; `null` where there is none.
    body: Value,
}

export!(execute, send);

/// Sends the request.
///
/// # Errors
/// `http.connect` where there was no answer, `http.status` for 400 and more, `permission.denied`,
/// `inputs.invalid`, `user.not_text` for a body that is neither JSON nor UTF-8.
pub fn send(input: Input) -> Result<Output> {
    let has_body = input.body.is_some();
    // What is left out means GET, unless there is something to send.
    let method = input.method.unwrap_or_else(|| if has_body { "POST" } else { "GET" }.into());
    let mut request = Request::new(method, input.url.clone());
    if let Some(body) = input.body {
        let (bytes, kind) = encoded(body)?;
        if !input.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
            request = request.header("content-type", kind);
        }
        request = request.body(bytes);
    }
    for (name, value) in input.headers {
        request = request.header(name, value);
    }
    let response = request.send()?;
    if response.status >= 400 && !input.any_status {
        return Err(refused(&input.url, &response));
    }
    let body = decoded(&response)?;
    Ok(Output { status: response.status, headers: response.headers, body })
}

fn encoded(body: Value) -> Result<(Vec<u8>, &'static str)> {
    if let Value::String(text) = body {
        return Ok((text.into_bytes(), "text/plain; charset=utf-8"));
    }
    serde_json::to_vec(&body)
        .map(|bytes| (bytes, "application/json"))
        .map_err(|e| Error::new("inputs.invalid", format!("body: {e}")))
}

fn decoded(response: &Response) -> Result<Value> {
    if response.body.is_empty() {
        return Ok(Value::Null);
    }
    let text = std::str::from_utf8(&response.body).map_err(|_| {
        let bytes = response.body.len();
        Error::new("user.not_text", format!("{bytes} bytes that are neither JSON nor UTF-8"))
    })?;
    Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)))
}

/// The other side said no. What is busy or broken there may go better later; what is wrong with
/// the request will not.
fn refused(url: &str, response: &Response) -> Error {
    let start: String = String::from_utf8_lossy(&response.body)
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect();
    let status = response.status;
    let error = Error::new("http.status", format!("{url} answered {status}: {start}"));
    if matches!(status, 408 | 425 | 429 | 500..) { error.retryable() } else { error }
}
