//! The one table of who may call what. A route that is not in it is denied.

use axum::http::Method;

use openclaw_protocol::api::Role;

/// What a route asks of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: whoever reaches the port.
    Public,
    /// A principal with at least this role.
    AtLeast(Role),
    /// A principal with at least this role, or, where the operator wants that, a caller on this
    /// very machine.
    AtLeastOrLocal(Role),
}

use Access::{AtLeast, AtLeastOrLocal, Public};
use Role::{Admin, Operator, Viewer};

/// Method, route template, access; in the order of the URL map.
pub(crate) const TABLE: &[(Method, &str, Access)] = &[
    (Method::GET, "/", Public),
    (Method::GET, "/console/{file}", Public),
    (Method::GET, "/status.html", Public),
    (Method::GET, "/livez", Public),
    (Method::GET, "/readyz", Public),
    (Method::GET, "/metrics", AtLeastOrLocal(Operator)),
    (Method::GET, "/api/openapi.json", Public),
    (Method::GET, "/api/v1/health", AtLeast(Viewer)),
    (Method::POST, "/api/v1/enroll", Public),
    (Method::POST, "/api/v1/auth/login", Public),
    (Method::POST, "/api/v1/auth/logout", AtLeast(Viewer)),
    (Method::GET, "/api/v1/auth/me", AtLeast(Viewer)),
    (Method::GET, "/api/v1/users", AtLeast(Admin)),
    (Method::POST, "/api/v1/users", AtLeast(Admin)),
    (Method::POST, "/api/v1/users/{name}/disable", AtLeast(Admin)),
    (Method::GET, "/api/v1/api-keys", AtLeast(Admin)),
    (Method::POST, "/api/v1/api-keys", AtLeast(Admin)),
    (Method::DELETE, "/api/v1/api-keys/{id}", AtLeast(Admin)),
    (Method::GET, "/api/v1/devices", AtLeast(Viewer)),
    (Method::POST, "/api/v1/devices/enroll-codes", AtLeast(Operator)),
    (Method::GET, "/api/v1/devices/{id}", AtLeast(Viewer)),
    (Method::DELETE, "/api/v1/devices/{id}", AtLeast(Admin)),
    (Method::GET, "/api/v1/devices/{id}/results", AtLeast(Viewer)),
    (Method::POST, "/api/v1/devices/{id}/revoke", AtLeast(Admin)),
    (Method::PUT, "/api/v1/devices/{id}/labels", AtLeast(Operator)),
    (Method::POST, "/api/v1/devices/{id}/recordings", AtLeast(Operator)),
    (Method::GET, "/api/v1/plugins", AtLeast(Viewer)),
    (Method::POST, "/api/v1/plugins", AtLeast(Operator)),
    (Method::GET, "/api/v1/plugins/{name}", AtLeast(Viewer)),
    (Method::GET, "/api/v1/plugins/{name}/{version}", AtLeast(Viewer)),
    (Method::GET, "/api/v1/plugins/{name}/{version}/module", AtLeast(Viewer)),
    (Method::GET, "/api/v1/plugins/{name}/{version}/manifest", AtLeast(Viewer)),
    // Whoever publishes does not thereby decide what devices let a plugin touch.
    (Method::POST, "/api/v1/plugins/{name}/{version}/approve", AtLeast(Admin)),
    (Method::POST, "/api/v1/plugins/{name}/{version}/yank", AtLeast(Operator)),
    (Method::POST, "/api/v1/plugins/{name}/{version}/unyank", AtLeast(Operator)),
    (Method::POST, "/api/v1/plugins/{name}/{version}/deprecate", AtLeast(Operator)),
    (Method::GET, "/api/v1/modules/{digest}", AtLeast(Viewer)),
    (Method::GET, "/api/v1/publisher-keys", AtLeast(Viewer)),
    (Method::POST, "/api/v1/publisher-keys", AtLeast(Admin)),
    (Method::DELETE, "/api/v1/publisher-keys/{id}", AtLeast(Admin)),
    (Method::GET, "/api/v1/workflows", AtLeast(Viewer)),
    (Method::POST, "/api/v1/workflows", AtLeast(Operator)),
    (Method::POST, "/api/v1/workflows/validate", AtLeast(Viewer)),
    (Method::GET, "/api/v1/workflows/{name}", AtLeast(Viewer)),
    (Method::GET, "/api/v1/workflows/{name}/{revision}", AtLeast(Viewer)),
    (Method::POST, "/api/v1/workflows/{name}/run", AtLeast(Operator)),
    (Method::GET, "/api/v1/deployments", AtLeast(Viewer)),
    (Method::POST, "/api/v1/deployments", AtLeast(Operator)),
    (Method::GET, "/api/v1/deployments/{id}", AtLeast(Viewer)),
    (Method::DELETE, "/api/v1/deployments/{id}", AtLeast(Operator)),
    (Method::POST, "/api/v1/deployments/{id}/rollback", AtLeast(Operator)),
    (Method::GET, "/api/v1/executions", AtLeast(Viewer)),
    (Method::GET, "/api/v1/executions/{device}/{run}", AtLeast(Viewer)),
    (Method::GET, "/api/v1/executions/{device}/{run}/events", AtLeast(Viewer)),
    (Method::POST, "/api/v1/executions/{device}/{run}/cancel", AtLeast(Operator)),
    (Method::POST, "/api/v1/executions/{device}/{run}/retry", AtLeast(Operator)),
    (Method::POST, "/api/v1/executions/retry", AtLeast(Operator)),
    (Method::POST, "/api/v1/executions/{device}/{run}/recording", AtLeast(Operator)),
    // It holds what every step was given and gave, as the execution with its steps does.
    (Method::GET, "/api/v1/executions/{device}/{run}/recording", AtLeast(Viewer)),
    (Method::POST, "/api/v1/executions/{device}/{run}/signals", AtLeast(Operator)),
    // Each approval says who may answer it.
    (Method::POST, "/api/v1/executions/{device}/{run}/decisions", AtLeast(Viewer)),
    (Method::GET, "/api/v1/approvals", AtLeast(Viewer)),
    (Method::GET, "/api/v1/requests/{id}", AtLeast(Viewer)),
    (Method::GET, "/api/v1/secrets", AtLeast(Viewer)),
    (Method::GET, "/api/v1/secrets/{name}", AtLeast(Viewer)),
    (Method::PUT, "/api/v1/secrets/{name}", AtLeast(Operator)),
    (Method::DELETE, "/api/v1/secrets/{name}", AtLeast(Operator)),
    (Method::GET, "/api/v1/security-events", AtLeast(Viewer)),
    (Method::GET, "/api/v1/events", AtLeast(Viewer)),
];

/// What a route asks of the caller; `None` where nobody has said, which means: denied.
pub(crate) fn access_of(method: &Method, route: &str) -> Option<Access> {
    // A HEAD is answered by the GET handler and tells no more.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    TABLE.iter().find(|(m, r, _)| m == method && *r == route).map(|(_, _, access)| *access)
}
