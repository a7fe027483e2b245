//! HTTP requests to the hosts that the manifest lists under `permissions.http`.

use std::collections::BTreeMap;

use openclaw_plugin_abi::{HttpRequest, HttpResponse};

use crate::{Error, Result, host};

/// A request being put together.
#[derive(Debug, Clone)]
pub struct Request {
    head: HttpRequest,
    body: Vec<u8>,
}

/// What came back. Any status is a response; only a failed exchange is an error.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header fields by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Request {
    /// A request for an absolute URL.
    #[must_use]
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        let head =
            HttpRequest { url: url.into(), method: Some(method.into()), headers: BTreeMap::new() };
        Self { head, body: Vec::new() }
    }

    /// Sets a header field.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.head.headers.insert(name.into(), value.into());
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and waits for the whole response.
    ///
    /// # Errors
    /// `permission.denied`; `http.connect` where there was no answer, worth another attempt;
    /// `inputs.invalid` where the URL or a header cannot be sent.
    pub fn send(self) -> Result<Response> {
        let head = serde_json::to_vec(&self.head)
            .map_err(|e| Error::new("inputs.invalid", format!("request: {e}")))?;
        let bytes = host::http(&head, &self.body).map_err(|mut e| {
            if e.retryable {
                e.code = "http.connect".into();
            }
            e
        })?;
        let (head, body): (HttpResponse, _) = host::framed(bytes)?;
        Ok(Response { status: head.status, headers: head.headers, body })
    }
}
