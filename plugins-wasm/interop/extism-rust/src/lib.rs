//! A guest made with the public Extism PDK for Rust, to prove that such plugins run here: input,
//! output, settings, variables, log, HTTP and failure, as its own documentation shows them.
#![expect(missing_docs, reason = "the PDK's macro drops the comments of what it exports")]

use extism_pdk::*;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Input {
    name: String,
}

#[derive(Serialize)]
struct Output {
    greeting: String,
    calls: u32,
}

#[plugin_fn]
pub fn execute(Json(input): Json<Input>) -> FnResult<Json<Output>> {
    let greeting = config::get("greeting")?.unwrap_or_else(|| "hello".to_owned());
    let calls = var::get::<u32>("calls")?.unwrap_or(0) + 1;
    var::set("calls", calls)?;
    info!("greeting {}", input.name);
    Ok(Json(Output { greeting: format!("{greeting} {}", input.name), calls }))
}

#[plugin_fn]
pub fn fetch(url: String) -> FnResult<String> {
    let response = http::request::<Vec<u8>>(&HttpRequest::new(url), None)?;
    let kind = response.header("content-type").unwrap_or("none").to_owned();
    let body = String::from_utf8(response.body())?;
    Ok(format!("{} {kind} {body}", response.status_code()))
}

#[plugin_fn]
pub fn fail(_: String) -> FnResult<String> {
    Err(WithReturnCode::new(Error::msg("the sensor is missing"), 3))
}
