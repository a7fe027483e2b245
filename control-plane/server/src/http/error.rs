//! Errors as RFC 9457 problems: one status match for everything that can go wrong.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use openclaw_protocol::api::{ProblemDetails, ProblemItem};

use crate::service::Fault;
use crate::store::StoreError;

/// What a handler answers.
pub(crate) type Answer<T> = Result<T, Error>;

/// A fault on its way out.
#[derive(Debug)]
pub(crate) struct Error(Fault);

impl<F: Into<Fault>> From<F> for Error {
    fn from(fault: F) -> Self {
        Self(fault.into())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, code) = status_and_code(&self.0);
        let mut detail = self.0.to_string();
        if status.is_server_error() {
            // What broke is for the log and its reader, not for whoever asks.
            tracing::error!(error = %detail, code, "a request failed");
            "the server could not do this; its log says why".clone_into(&mut detail);
        }
        let (errors, retry_after_s) = match self.0 {
            Fault::Invalid { errors, .. } => (errors, None),
            Fault::TooMany { retry_after_s } => (Vec::new(), Some(retry_after_s)),
            Fault::Unauthorized
            | Fault::WrongPassword
            | Fault::Forbidden(_)
            | Fault::NotFound { .. }
            | Fault::BadRequest(_)
            | Fault::TooLarge
            | Fault::Conflict { .. }
            | Fault::Store(_)
            | Fault::Internal(_) => (Vec::new(), None),
        };
        let mut response = problem(status, code, detail, errors);
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

fn status_and_code(fault: &Fault) -> (StatusCode, &'static str) {
    match fault {
        Fault::Unauthorized => (StatusCode::UNAUTHORIZED, "auth.required"),
        Fault::WrongPassword => (StatusCode::UNAUTHORIZED, "auth.wrong"),
        Fault::Forbidden(_) => (StatusCode::FORBIDDEN, "auth.forbidden"),
        Fault::NotFound { .. } => (StatusCode::NOT_FOUND, "not_found"),
        Fault::BadRequest(_) => (StatusCode::BAD_REQUEST, "request.malformed"),
        Fault::Invalid { code, .. } => (StatusCode::UNPROCESSABLE_ENTITY, code),
        Fault::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "request.too_large"),
        Fault::Conflict { code, .. } => (StatusCode::CONFLICT, code),
        Fault::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, "auth.too_many"),
        Fault::Store(StoreError::Database(sqlx_error)) if is_busy(sqlx_error) => {
            (StatusCode::SERVICE_UNAVAILABLE, "database.busy")
        }
        Fault::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "database.failed"),
        Fault::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

fn is_busy(error: &impl std::fmt::Display) -> bool {
    let text = error.to_string();
    text.contains("timed out") || text.contains("locked")
}

/// A problem as an answer.
pub(crate) fn problem(
    status: StatusCode,
    code: &str,
    detail: String,
    errors: Vec<ProblemItem>,
) -> Response {
    let body = ProblemDetails {
        kind: format!("urn:openclaw:problem:{code}"),
        title: status.canonical_reason().unwrap_or("Error").to_owned(),
        status: status.as_u16(),
        code: code.to_owned(),
        detail,
        errors,
    };
    let text = serde_json::json!(body).to_string();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], text).into_response()
}

/// For an address that does not exist.
pub(crate) async fn no_such_route() -> Response {
    let detail = "there is nothing at this address; see /api/openapi.json".to_owned();
    problem(StatusCode::NOT_FOUND, "route.unknown", detail, Vec::new())
}

/// For an address that exists, but not with this method.
pub(crate) async fn no_such_method() -> Response {
    let detail = "this address takes other methods; see /api/openapi.json".to_owned();
    problem(StatusCode::METHOD_NOT_ALLOWED, "route.method", detail, Vec::new())
}
