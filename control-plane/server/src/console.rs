//! Serves the pages that are embedded in the program, and the public status page.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};

use crate::context::Ctx;
use crate::http::error::no_such_route;
use crate::http::extract::Named;

const INDEX: &str = include_str!("console/index.html");
const FILES: &[(&str, &str, &str)] = &[
    ("console.js", "text/javascript; charset=utf-8", include_str!("console/console.js")),
    ("talk.js", "text/javascript; charset=utf-8", include_str!("console/talk.js")),
    ("record.js", "text/javascript; charset=utf-8", include_str!("console/record.js")),
    ("words.js", "text/javascript; charset=utf-8", include_str!("console/words.js")),
    ("console.css", "text/css; charset=utf-8", include_str!("console/console.css")),
    ("icon.svg", "image/svg+xml", include_str!("console/icon.svg")),
    ("status.css", "text/css; charset=utf-8", include_str!("console/status.css")),
];

/// The console.
pub(crate) async fn index() -> Response {
    page(INDEX.to_owned())
}

/// What the console is made of.
pub(crate) async fn file(Named(name): Named<String>) -> Response {
    match FILES.iter().find(|(file, _, _)| *file == name) {
        Some((_, kind, text)) => {
            let headers = [(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "no-cache")];
            (headers, *text).into_response()
        }
        None => no_such_route().await,
    }
}

/// A page for everybody, with nothing secret on it: is the control plane up, and how is it doing?
pub(crate) async fn status(State(ctx): State<Ctx>) -> Response {
    let uptime_s = (ctx.clock.now_ms() - ctx.started_ms).max(0) / 1_000;
    let online = ctx.presence.count();
    let version = crate::VERSION;
    // Nothing here comes from outside, so nothing needs escaping.
    page(format!(
        r#"<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>OpenClaw status</title>
<link rel="stylesheet" href="/console/status.css"></head>
<body>
<h1 class="title">OpenClaw control plane</h1>
<table class="status">
<tr class="row"><th class="name">status</th><td class="value status-value">ok</td></tr>
<tr class="row"><th class="name">version</th><td class="value version">{version}</td></tr>
<tr class="row"><th class="name">uptime (s)</th><td class="value uptime">{uptime_s}</td></tr>
<tr class="row"><th class="name">devices online</th><td class="value online">{online}</td></tr>
</table>
</body>
</html>
"#
    ))
}

fn page(text: String) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (headers, text).into_response()
}
