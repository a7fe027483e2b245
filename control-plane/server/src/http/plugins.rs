//! `/plugins`: the registry.

use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest as _, Multipart, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use openclaw_protocol::api::{DeprecatePlugin, Page, Plugin, PluginSignature, YankPlugin};
use serde::Deserialize;

use super::error::{Answer, Error};
use super::extract::{Json, Named, Query};
use super::openapi::Problems;
use super::part;
use crate::context::Ctx;
use crate::identity::Principal;
use crate::service::Fault;
use crate::service::plugins::{self, PluginQuery, Upload, standing};

/// The two parts of an upload, for the API's description.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes a body that is read part by part")]
pub(super) struct PluginUpload {
    /// `plugin.toml`.
    manifest: String,
    /// The WebAssembly module.
    #[schema(value_type = String, format = Binary)]
    module: Vec<u8>,
    /// The publisher's signature, as JSON.
    signature: Option<PluginSignature>,
}

/// How to publish.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PublishQuery {
    /// Approve at once what it may touch, which only an admin may.
    #[serde(default)]
    #[param(required = false)]
    approve: bool,
}

/// List published versions, all or those that are looked for.
#[utoipa::path(get, path = "/api/v1/plugins", tag = "plugins", params(PluginQuery),
    responses((status = 200, body = Page<Plugin>), Problems))]
pub(super) async fn list(
    State(ctx): State<Ctx>,
    who: Principal,
    Query(query): Query<PluginQuery>,
) -> Answer<axum::Json<Page<Plugin>>> {
    Ok(axum::Json(plugins::list(&ctx, &who, query).await?))
}

/// Publish a version. 201: it is new; 200: the very same was there already.
#[utoipa::path(post, path = "/api/v1/plugins", tag = "plugins", params(PublishQuery),
    request_body(content = PluginUpload, content_type = "multipart/form-data"),
    responses((status = 200, body = Plugin), (status = 201, body = Plugin), Problems))]
pub(super) async fn publish(
    State(ctx): State<Ctx>,
    who: Principal,
    Query(PublishQuery { approve }): Query<PublishQuery>,
    request: Request,
) -> Answer<(StatusCode, axum::Json<Plugin>)> {
    let upload = parts(request).await?;
    let (plugin, is_new) = plugins::publish(&ctx, &who, upload, approve).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(plugin)))
}

/// All versions of a plugin, newest first.
#[utoipa::path(get, path = "/api/v1/plugins/{name}", tag = "plugins",
    params(("name" = String, Path, description = "Plugin name")),
    responses((status = 200, body = Page<Plugin>), Problems))]
pub(super) async fn versions(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(name): Named<String>,
) -> Answer<axum::Json<Page<Plugin>>> {
    Ok(axum::Json(plugins::versions(&ctx, &who, &name).await?))
}

/// One version of a plugin.
#[utoipa::path(get, path = "/api/v1/plugins/{name}/{version}", tag = "plugins",
    params(("name" = String, Path, description = "Plugin name"),
        ("version" = String, Path, description = "Semantic version")),
    responses((status = 200, body = Plugin), Problems))]
pub(super) async fn find(
    State(ctx): State<Ctx>,
    who: Principal,
    Named((name, version)): Named<(String, String)>,
) -> Answer<axum::Json<Plugin>> {
    Ok(axum::Json(plugins::find(&ctx, &who, &name, &version).await?))
}

/// The WebAssembly module of a version, by which a call can be run again at the desk. A `Range` of
/// it goes on with a download that broke off.
#[utoipa::path(get, path = "/api/v1/plugins/{name}/{version}/module", tag = "plugins",
    params(("name" = String, Path, description = "Plugin name"),
        ("version" = String, Path, description = "Semantic version"),
        ("Range" = Option<String>, Header, description = "One range of bytes"),
        ("If-Range" = Option<String>, Header, description = "The entity tag of the rest")),
    responses((status = 200, body = String, content_type = "application/wasm"),
        (status = 206, body = String, content_type = "application/wasm"),
        (status = 304), Problems))]
pub(super) async fn module(
    State(ctx): State<Ctx>,
    who: Principal,
    headers: HeaderMap,
    Named((name, version)): Named<(String, String)>,
) -> Answer<Response> {
    let (digest, module) = plugins::module(&ctx, &who, &name, &version).await?;
    Ok(part::module(&headers, &digest.to_string(), module))
}

/// A module by its SHA-256, whole or a `Range` of it.
#[utoipa::path(get, path = "/api/v1/modules/{digest}", tag = "plugins",
    params(("digest" = String, Path, description = "SHA-256 of the module, 64 hexadecimal digits"),
        ("Range" = Option<String>, Header, description = "One range of bytes"),
        ("If-Range" = Option<String>, Header, description = "The entity tag of the rest")),
    responses((status = 200, body = String, content_type = "application/wasm"),
        (status = 206, body = String, content_type = "application/wasm"),
        (status = 304), Problems))]
pub(super) async fn module_by_digest(
    State(ctx): State<Ctx>,
    who: Principal,
    headers: HeaderMap,
    Named(digest): Named<String>,
) -> Answer<Response> {
    let (digest, module) = plugins::module_by_digest(&ctx, &who, &digest).await?;
    Ok(part::module(&headers, &digest.to_string(), module))
}

/// `plugin.toml` of a version as its author wrote it: what its signature is over.
#[utoipa::path(get, path = "/api/v1/plugins/{name}/{version}/manifest", tag = "plugins",
    params(("name" = String, Path, description = "Plugin name"),
        ("version" = String, Path, description = "Semantic version")),
    responses((status = 200, body = String, content_type = "text/plain"), Problems))]
pub(super) async fn manifest(
    State(ctx): State<Ctx>,
    who: Principal,
    Named((name, version)): Named<(String, String)>,
) -> Answer<String> {
    Ok(plugins::manifest(&ctx, &who, &name, &version).await?)
}

/// Approve what a version may touch.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/{version}/approve", tag = "plugins",
    params(("name" = String, Path, description = "Plugin name"),
        ("version" = String, Path, description = "Semantic version")),
    responses((status = 200, body = Plugin), Problems))]
pub(super) async fn approve(
    State(ctx): State<Ctx>,
    who: Principal,
    Named((name, version)): Named<(String, String)>,
) -> Answer<axum::Json<Plugin>> {
    Ok(axum::Json(standing::approve(&ctx, &who, &name, &version).await?))
}

/// Take a version off the shelf: no deployment chooses it any more; what is deployed goes on.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/{version}/yank", tag = "plugins",
    params(("name" = String, Path, description = "Plugin name"),
        ("version" = String, Path, description = "Semantic version")),
    request_body = YankPlugin,
    responses((status = 200, body = Plugin), Problems))]
pub(super) async fn yank(
    State(ctx): State<Ctx>,
    who: Principal,
    Named((name, version)): Named<(String, String)>,
    Json(request): Json<YankPlugin>,
) -> Answer<axum::Json<Plugin>> {
    Ok(axum::Json(standing::yank(&ctx, &who, (&name, &version), Some(request.reason)).await?))
}

/// Put a yanked version back.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/{version}/unyank", tag = "plugins",
    params(("name" = String, Path, description = "Plugin name"),
        ("version" = String, Path, description = "Semantic version")),
    responses((status = 200, body = Plugin), Problems))]
pub(super) async fn unyank(
    State(ctx): State<Ctx>,
    who: Principal,
    Named((name, version)): Named<(String, String)>,
) -> Answer<axum::Json<Plugin>> {
    Ok(axum::Json(standing::yank(&ctx, &who, (&name, &version), None).await?))
}

/// Say what to use instead of a version, or take that back.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/{version}/deprecate", tag = "plugins",
    params(("name" = String, Path, description = "Plugin name"),
        ("version" = String, Path, description = "Semantic version")),
    request_body = DeprecatePlugin,
    responses((status = 200, body = Plugin), Problems))]
pub(super) async fn deprecate(
    State(ctx): State<Ctx>,
    who: Principal,
    Named((name, version)): Named<(String, String)>,
    Json(request): Json<DeprecatePlugin>,
) -> Answer<axum::Json<Plugin>> {
    Ok(axum::Json(standing::deprecate(&ctx, &who, (&name, &version), request.message).await?))
}

async fn parts(request: Request) -> Result<Upload, Error> {
    let wrong = |detail: String| {
        let how = "send multipart/form-data with the parts `manifest` (plugin.toml) and `module`";
        Fault::BadRequest(format!("{detail}; {how}"))
    };
    let parts = Multipart::from_request(request, &()).await;
    let mut parts = parts.map_err(|error| wrong(error.body_text()))?;
    let (mut manifest, mut module, mut signature) = (None, None, None);
    let unreadable = |error: MultipartError| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Fault::TooLarge,
        _ => wrong(error.body_text()),
    };
    while let Some(part) = parts.next_field().await.map_err(unreadable)? {
        let name = part.name().unwrap_or_default().to_owned();
        let bytes = part.bytes().await.map_err(unreadable)?;
        let slot = match name.as_str() {
            "manifest" => &mut manifest,
            "module" => &mut module,
            "signature" => &mut signature,
            _ => return Err(wrong(format!("there is an unknown part `{name}`")).into()),
        };
        if slot.replace(bytes).is_some() {
            return Err(wrong(format!("the part `{name}` is there twice")).into());
        }
    }
    let manifest = manifest.ok_or_else(|| wrong("the part `manifest` is missing".to_owned()))?;
    let module = module.ok_or_else(|| wrong("the part `module` is missing".to_owned()))?;
    let manifest = String::from_utf8(manifest.into())
        .map_err(|_| wrong("the part `manifest` is not UTF-8".to_owned()))?;
    let signature = signature.map(|bytes| {
        serde_json::from_slice(&bytes)
            .map_err(|error| wrong(format!("the part `signature` cannot be read: {error}")))
    });
    Ok(Upload { manifest, module: module.into(), signature: signature.transpose()? })
}
