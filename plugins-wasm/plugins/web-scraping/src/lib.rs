//! Fetches a page and takes out what a CSS selector names.
//!
//! The page is parsed here, inside the sandbox, by an HTML parser that follows the standard, so
//! that a hostile page meets fuel and memory limits and not the agent.

use openclaw_plugin_sdk::http::{Request, Response};
use openclaw_plugin_sdk::{Error, Result, export};
use scraper::{ElementRef, Html, Selector};
use serde::{Deserialize, Serialize};

/// Items given back where the input names no limit.
const LIMIT: usize = 100;

/// What to fetch and what to take out of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    url: String,
    selector: String,
    /// Take this attribute's value in place of the text.
    #[serde(default)]
    attribute: Option<String>,
    /// Give back at most so many items.
    #[serde(default)]
    limit: Option<usize>,
}

/// What was found.
#[derive(Debug, PartialEq, Serialize)]
pub struct Output {
    url: String,
    status: u16,
    /// Elements that match, also those beyond the limit.
    count: usize,
    data: Vec<String>,
}

export!(execute, scrape);

/// Fetches and takes out.
///
/// # Errors
/// `http.connect`, `http.status`, `permission.denied`, `inputs.invalid`, `user.charset`.
pub fn scrape(input: Input) -> Result<Output> {
    // Before the page is fetched: a wrong selector should not cost a request.
    let selector = Selector::parse(&input.selector).map_err(|e| {
        Error::new("inputs.invalid", format!("`{}` is not a CSS selector: {e}", input.selector))
    })?;
    let request = Request::new("GET", input.url.clone())
        .header("accept", "text/html,application/xhtml+xml")
        .header("user-agent", "openclaw-web-scraping/0.1");
    let response = request.send()?;
    if !(200..300).contains(&response.status) {
        let error = Error::new(
            "http.status",
            format!("{} answered {}, expected a page", input.url, response.status),
        );
        let later = matches!(response.status, 408 | 425 | 429 | 500..);
        return Err(if later { error.retryable() } else { error });
    }
    let page = Html::parse_document(&text_of(&response)?);
    let limit = input.limit.unwrap_or(LIMIT);
    let mut found = Output { url: input.url, status: response.status, count: 0, data: Vec::new() };
    for element in page.select(&selector) {
        let Some(item) = item_of(element, input.attribute.as_deref()) else { continue };
        found.count += 1;
        if found.data.len() < limit {
            found.data.push(item);
        }
    }
    Ok(found)
}

/// The element's text with its white space as a browser shows it, or its attribute, if it has it.
fn item_of(element: ElementRef<'_>, attribute: Option<&str>) -> Option<String> {
    if let Some(name) = attribute {
        return element.value().attr(name).map(str::to_owned);
    }
    let text: String = element.text().collect();
    Some(text.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
}

/// The page as text. UTF-8 unless the server says that it is Latin-1, whose bytes are the first
/// 256 characters of Unicode.
fn text_of(response: &Response) -> Result<String> {
    let kind = response.headers.get("content-type").map_or("", String::as_str);
    let charset = kind
        .split(';')
        .filter_map(|part| part.trim().split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("charset"))
        .map_or_else(String::new, |(_, value)| value.trim_matches('"').to_ascii_lowercase());
    match charset.as_str() {
        "" | "utf-8" | "utf8" | "us-ascii" => {
            Ok(String::from_utf8_lossy(&response.body).into_owned())
        }
        "iso-8859-1" | "latin1" => Ok(response.body.iter().map(|b| char::from(*b)).collect()),
        other => Err(Error::new(
            "user.charset",
            format!("the page is in `{other}`; only UTF-8 and ISO-8859-1 can be read"),
        )),
    }
}
