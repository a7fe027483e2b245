//! Who is asking, and what they may do.

mod access;
mod crowd;
mod limiter;
mod password;

#[cfg(test)]
pub(crate) use access::TABLE;
pub(crate) use access::{Access, access_of};
pub(crate) use crowd::{Crowd, Place};
pub(crate) use limiter::{EnrolLimiter, LoginLimiter};
pub(crate) use password::Passwords;

use openclaw_protocol::api::Role;
use openclaw_protocol::id::TenantId;

use crate::service::{Fault, Outcome};

/// What a session token begins with.
pub(crate) const SESSION_PREFIX: &str = "ocs_";
/// What an API key begins with; secret scanners look for it.
pub(crate) const API_KEY_PREFIX: &str = "oc_";

/// Who is asking: made in one place from a credential, required by every handler that is not
/// public.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    /// Whose control plane; part of every query.
    pub(crate) tenant: TenantId,
    /// `user:<name>`, `key:<id>`, or `system`.
    pub(crate) actor: String,
    /// What they may do.
    pub(crate) role: Role,
    /// Name, for a person.
    pub(crate) username: Option<String>,
    /// By what they are known, to look again later.
    pub(crate) credential: Credential,
}

/// What a principal was made from. Tokens themselves are never kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A session of a person, by the hash of its token.
    Session(String),
    /// An API key, by the hash of its secret.
    ApiKey(String),
}

/// A role as the tables write it.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}

/// Reads a role from a table.
pub(crate) fn parse_role(text: &str) -> Outcome<Role> {
    match text {
        "viewer" => Ok(Role::Viewer),
        "operator" => Ok(Role::Operator),
        "admin" => Ok(Role::Admin),
        _ => Err(Fault::Internal(format!("role `{text}` is of another version"))),
    }
}
