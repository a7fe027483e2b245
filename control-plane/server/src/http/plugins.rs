//! `/plugins`: the registry.

use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest as _, Multipart, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use openclaw_protocol::api::{Page, Plugin};

use super::error::{Answer, Error};
use super::extract::{Named, Query};
use super::openapi::Problems;
use crate::context::Ctx;
use crate::identity::Principal;
use crate::service::page::PageQuery;
use crate::service::{Fault, plugins};

/// The two parts of an upload, for the API's description.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes a body that is read part by part")]
pub(super) struct PluginUpload {
    /// `plugin.toml`.
    manifest: String,
    /// The WebAssembly module.
    #[schema(value_type = String, format = Binary)]
    module: Vec<u8>,
}

/// List all published versions.
#[utoipa::path(get, path = "/api/v1/plugins", tag = "plugins", params(PageQuery),
    responses((status = 200, body = Page<Plugin>), Problems))]
pub(super) async fn list(
    State(ctx): State<Ctx>,
    who: Principal,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Page<Plugin>>> {
    Ok(axum::Json(plugins::list(&ctx, &who, &query).await?))
}

/// Publish a version. 201: it is new; 200: the very same was there already.
#[utoipa::path(post, path = "/api/v1/plugins", tag = "plugins",
    request_body(content = PluginUpload, content_type = "multipart/form-data"),
    responses((status = 200, body = Plugin), (status = 201, body = Plugin), Problems))]
pub(super) async fn publish(
    State(ctx): State<Ctx>,
    who: Principal,
    request: Request,
) -> Answer<(StatusCode, axum::Json<Plugin>)> {
    let (manifest, module) = parts(request).await?;
    let (plugin, is_new) = plugins::publish(&ctx, &who, &manifest, module).await?;
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

/// The WebAssembly module of a version, by which a call can be run again at the desk.
#[utoipa::path(get, path = "/api/v1/plugins/{name}/{version}/module", tag = "plugins",
    params(("name" = String, Path, description = "Plugin name"),
        ("version" = String, Path, description = "Semantic version")),
    responses((status = 200, body = String, content_type = "application/wasm"), Problems))]
pub(super) async fn module(
    State(ctx): State<Ctx>,
    who: Principal,
    Named((name, version)): Named<(String, String)>,
) -> Answer<impl IntoResponse> {
    let module = plugins::module(&ctx, &who, &name, &version).await?;
    Ok(([(CONTENT_TYPE, "application/wasm")], module))
}

async fn parts(request: Request) -> Result<(String, Vec<u8>), Error> {
    let wrong = |detail: String| {
        let how = "send multipart/form-data with the parts `manifest` (plugin.toml) and `module`";
        Fault::BadRequest(format!("{detail}; {how}"))
    };
    let parts = Multipart::from_request(request, &()).await;
    let mut parts = parts.map_err(|error| wrong(error.body_text()))?;
    let (mut manifest, mut module) = (None, None);
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
    Ok((manifest, module.into()))
}
