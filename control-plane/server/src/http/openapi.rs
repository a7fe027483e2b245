//! The API's description: OpenAPI 3.1, made from the handlers and the shapes they use.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi as _};

use openclaw_protocol::api::ProblemDetails;

use super::{
    api_keys, approvals, auth, deployments, devices, enroll, events, executions, health, plugins,
    publisher_keys, requests, secrets, security_events, users, workflows,
};

/// The description as text, with a new line at the end: what `openclaw-control-plane openapi`
/// prints and `openapi.json` holds.
#[must_use]
pub fn openapi_json() -> String {
    let mut text = Description::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// The description.
#[utoipa::path(get, path = "/api/openapi.json", tag = "health", security(()),
    responses((status = 200, content_type = "application/json", body = Object)))]
pub(super) async fn document() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(openapi_json);
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

/// Any error, as a problem.
pub(super) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let problem = Content::new(Some(Ref::from_schema_name("ProblemDetails")));
        let response = ResponseBuilder::new()
            .description("A problem (RFC 9457)")
            .content("application/problem+json", problem)
            .build();
        BTreeMap::from([("default".to_owned(), RefOr::T(response))])
    }
}

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        if let Some(components) = &mut document.components {
            let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
            components.add_security_scheme("bearer", scheme);
        }
    }
}

/// Gives each operation a name of its own (handlers of different nouns share theirs), and each
/// answer the description that OpenAPI asks for.
struct Names;

impl Modify for Names {
    fn modify(&self, document: &mut Document) {
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                let noun = operation.tags.iter().flatten().next().map_or("", String::as_str);
                let verb = operation.operation_id.as_deref().unwrap_or_default();
                operation.operation_id = Some(format!("{noun}_{verb}").replace('-', "_"));
                for (status, response) in &mut operation.responses.responses {
                    if let RefOr::T(response) = response
                        && response.description.is_empty()
                    {
                        response.description = meaning(status).to_owned();
                    }
                }
            }
        }
    }
}

fn meaning(status: &str) -> &'static str {
    match status {
        "201" => "Made",
        "202" => "Written down; the device answers when it can",
        "204" => "Done",
        "206" => "The part that was asked for",
        "304" => "Nothing: who asks has it",
        _ => "As asked",
    }
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "OpenClaw control plane",
        description = "Workflows, devices, deployments and executions. Errors are problems \
            (RFC 9457) with a stable `code`; lists are pages with `next_cursor`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    modifiers(&Bearer, &Names),
    security(("bearer" = [])),
    components(schemas(ProblemDetails)),
    paths(
        health::livez,
        health::readyz,
        health::metrics,
        document,
        health::health,
        enroll::enroll,
        auth::login,
        auth::logout,
        auth::me,
        users::list,
        users::create,
        users::disable,
        api_keys::list,
        api_keys::create,
        api_keys::revoke,
        devices::list,
        devices::create_join_code,
        devices::find,
        devices::results,
        devices::remove,
        devices::revoke,
        devices::set_labels,
        devices::record,
        plugins::list,
        plugins::publish,
        plugins::versions,
        plugins::find,
        plugins::module,
        plugins::module_by_digest,
        plugins::manifest,
        plugins::approve,
        plugins::yank,
        plugins::unyank,
        plugins::deprecate,
        publisher_keys::list,
        publisher_keys::add,
        publisher_keys::revoke,
        workflows::list,
        workflows::apply,
        workflows::validate,
        workflows::versions,
        workflows::find,
        workflows::run,
        deployments::list,
        deployments::create,
        deployments::find,
        deployments::delete,
        deployments::rollback,
        executions::list,
        executions::find,
        executions::events,
        executions::cancel,
        executions::retry,
        executions::retry_many,
        executions::record,
        executions::recording,
        executions::signal,
        executions::decide,
        approvals::list,
        requests::find,
        secrets::list,
        secrets::find,
        secrets::put,
        secrets::delete,
        security_events::list,
        events::stream,
    )
)]
struct Description;
