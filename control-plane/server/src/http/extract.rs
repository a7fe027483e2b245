//! Reading requests: bodies, queries and paths, with our own problems for what is wrong.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::error::Error;
use crate::identity::Principal;
use crate::service::Fault;
use crate::service::idempotency::Key;

impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        // Only the door makes principals; a handler behind a public route finds none.
        parts.extensions.get::<Self>().cloned().ok_or(Error::from(Fault::Unauthorized))
    }
}

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        if !is_json(request.headers()) {
            let detail = "send JSON, with `Content-Type: application/json`";
            return Err(Fault::BadRequest(detail.to_owned()).into());
        }
        let bytes = body(request, state).await?;
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            Fault::BadRequest(format!("the body is not what is expected here: {error}"))
        })?;
        Ok(Self(value))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// The whole body, within its route's limit.
pub(super) async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Error> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        let detail = rejection.body_text();
        if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
            return Fault::TooLarge.into();
        }
        Fault::BadRequest(format!("the body cannot be read: {detail}")).into()
    })
}

/// A text body: a document as people write it.
pub(super) struct Text(pub(super) String);

impl<S: Send + Sync> FromRequest<S> for Text {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let bytes = body(request, state).await?;
        let text = String::from_utf8(bytes.into())
            .map_err(|_| Fault::BadRequest("the document is not UTF-8".to_owned()))?;
        Ok(Self(text))
    }
}

/// The query.
pub(super) struct Query<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        let query = query.map_err(|error| Fault::BadRequest(error.body_text()))?;
        Ok(Self(query.0))
    }
}

/// The variable parts of the path.
pub(crate) struct Named<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        // A name that cannot be read names nothing.
        let path = Path::<T>::from_request_parts(parts, state).await;
        let path = path.map_err(|_| Fault::not_found("thing", parts.uri.path()))?;
        Ok(Self(path.0))
    }
}

/// The `Idempotency-Key`, if one was sent, bound to what it was sent with.
pub(super) fn idempotency_key(
    headers: &HeaderMap,
    request: &impl std::fmt::Debug,
) -> Result<Option<Key>, Error> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().map_err(|_| Fault::BadRequest("Idempotency-Key".to_owned()))?;
    // The debug form of the parsed request is as good as its bytes, and does not mind spaces.
    Ok(Some(Key::new(key, &format!("{request:?}"))?))
}
