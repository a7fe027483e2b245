//! The HTTP client: one door to the control plane's API, every error with its exit code.

use std::fmt::Write as _;
use std::time::Duration;

use openclaw_protocol::api::{Page, ProblemDetails};
use reqwest::{Method, Response};
use serde::{Serialize, de::DeserializeOwned};

use crate::args::Global;
use crate::context::{Context, Contexts};
use crate::exit::{FAILED, Failure, INVALID, UNREACHABLE};

/// An answer that takes longer than this is given up; streams and uploads are not bounded by it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Pages that a list follows at most (each holds up to 200 entries).
const MOST_PAGES: usize = 500;

/// A control plane and how to speak to it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    /// The client for the context that flags, environment and file name.
    pub(crate) fn from_global(global: &Global) -> Result<Self, Failure> {
        let stored = Contexts::load()?;
        let mut context = match &global.url {
            Some(url) => Context { url: url.clone(), token: None, ca_file: None },
            None => stored.pick(global.context.as_deref())?.clone(),
        };
        if let Some(token) = &global.token {
            context.token = Some(token.clone());
        }
        context.set_ca_file(global.ca_file.as_deref())?;
        Self::new(&context)
    }

    /// The client for a context.
    pub(crate) fn new(context: &Context) -> Result<Self, Failure> {
        let base = context.url.trim_end_matches('/').to_owned();
        if !base.starts_with("https://") && !is_loopback(&base) {
            return Err(Failure::new(
                FAILED,
                format!("`{base}` is not https: a password must not travel in the clear"),
            )
            .hint("use the https address; plain http works for this machine only"));
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("openclaw/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10));
        if let Some(path) = &context.ca_file {
            let pem = std::fs::read(path).map_err(|e| {
                Failure::new(FAILED, format!("cannot read the CA file {}: {e}", path.display()))
            })?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| {
                Failure::new(FAILED, format!("{} is not a PEM file: {e}", path.display()))
            })?;
            builder = builder.tls_certs_only(certificates);
        }
        let http = builder
            .build()
            .map_err(|e| Failure::new(FAILED, format!("cannot set up the HTTP client: {e}")))?;
        Ok(Self { http, base, token: context.token.clone() })
    }

    /// The same client as somebody else.
    pub(crate) fn with_token(mut self, token: String) -> Self {
        self.token = Some(token);
        self
    }

    /// A request to an API path such as `/devices`, ready for a body.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method, format!("{}/api/v1{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        request
    }

    /// Sends, and turns everything but success into a failure.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        let problem = serde_json::from_str::<ProblemDetails>(&text).unwrap_or(ProblemDetails {
            kind: "about:blank".to_owned(),
            title: status.to_string(),
            status: status.as_u16(),
            code: "http".to_owned(),
            detail: text.chars().take(400).collect(),
            errors: Vec::new(),
        });
        Err(Failure::from_problem(problem))
    }

    async fn read<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, Failure> {
        let response = self.send(request.timeout(ANSWER_TIMEOUT)).await?;
        response.json().await.map_err(|e| {
            Failure::new(FAILED, format!("the control plane's answer is not as expected: {e}"))
                .hint("compare `openclaw --version` with the server's; update the older one")
        })
    }

    /// `GET`, answer decoded.
    pub(crate) async fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read(self.request(Method::GET, path)).await
    }

    /// `GET`, the answer's text as it is.
    pub(crate) async fn fetch_text(&self, path: &str) -> Result<String, Failure> {
        let request = self.request(Method::GET, path).timeout(ANSWER_TIMEOUT);
        let text = self.send(request).await?.text().await;
        text.map_err(|e| Failure::new(FAILED, format!("the answer broke off: {e}")))
    }

    /// `GET`, the answer's bytes as they are.
    pub(crate) async fn fetch_bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let request = self.request(Method::GET, path).timeout(ANSWER_TIMEOUT);
        let bytes = self.send(request).await?.bytes().await;
        let bytes = bytes.map(|bytes| bytes.to_vec());
        bytes.map_err(|e| Failure::new(FAILED, format!("the answer broke off: {e}")))
    }

    /// `POST` of JSON, answer decoded.
    pub(crate) async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, Failure> {
        self.read(self.request(Method::POST, path).json(body)).await
    }

    /// `PUT` of JSON, answer decoded.
    pub(crate) async fn put<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, Failure> {
        self.read(self.request(Method::PUT, path).json(body)).await
    }

    /// `POST` of a text document, answer decoded.
    pub(crate) async fn post_text<T: DeserializeOwned>(
        &self,
        path: &str,
        text: String,
    ) -> Result<T, Failure> {
        let request = self.request(Method::POST, path);
        self.read(request.header("content-type", "application/yaml").body(text)).await
    }

    /// A request without a body whose answer does not matter.
    pub(crate) async fn call(&self, method: Method, path: &str) -> Result<(), Failure> {
        self.send(self.request(method, path).timeout(ANSWER_TIMEOUT)).await.map(drop)
    }

    /// All entries of a list, page by page, at most `most`.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        most: usize,
    ) -> Result<Vec<T>, Failure> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let joint = if path.contains('?') { '&' } else { '?' };
            let limit = most.saturating_sub(items.len()).clamp(1, 200);
            let mut url = format!("{path}{joint}limit={limit}");
            if let Some(cursor) = &cursor {
                url.push_str("&cursor=");
                url.push_str(&encoded(cursor));
            }
            let page: Page<T> = self.fetch(&url).await?;
            items.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() || items.len() >= most {
                break;
            }
        }
        items.truncate(most);
        Ok(items)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let why = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source())
            .last()
            .map_or_else(|| error.to_string(), ToString::to_string);
        Failure::new(UNREACHABLE, format!("cannot reach the control plane at {}: {why}", self.base))
            .hint("is it running, and is the address right? `openclaw context list` shows it")
    }
}

/// An API path of these parts, such as `/devices/pump-7`. Each stays one part, whatever is in it.
pub(crate) fn path(parts: &[&str]) -> Result<String, Failure> {
    let mut path = String::new();
    for part in parts {
        // The address of a page may not hold these even in disguise (WHATWG URL, section 4.1).
        if ["", ".", ".."].contains(part) {
            return Err(Failure::new(INVALID, format!("`{part}` is no name")));
        }
        path.push('/');
        path.push_str(&encoded(part));
    }
    Ok(path)
}

/// Percent-encodes everything but unreserved characters (RFC 3986, section 2.3).
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn is_loopback(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let host = rest.split('/').next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(h, _)| h);
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_path_stays_one_part() {
        assert_eq!(path(&["devices", "pump-7"]).unwrap(), "/devices/pump-7");
        assert_eq!(path(&["api-keys", "../devices/x"]).unwrap(), "/api-keys/..%2Fdevices%2Fx");
        assert_eq!(path(&["a", "b?c=d#e%f é"]).unwrap(), "/a/b%3Fc%3Dd%23e%25f%20%C3%A9");
        for wrong in ["", ".", ".."] {
            assert!(path(&["api-keys", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_this_machine_may_be_spoken_to_in_the_clear() {
        assert!(is_loopback("http://127.0.0.1:8080"));
        assert!(is_loopback("http://localhost"));
        assert!(!is_loopback("http://127.0.0.1.example.com"));
        assert!(!is_loopback("http://10.0.0.1:80"));
    }
}
