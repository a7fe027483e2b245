//! The shapes of the HTTP API, `/api/v1`, shared by server and command line so that they cannot
//! drift apart. JSON is snake_case; times are RFC 3339 in UTC unless a name ends in `_ms`.
//!
//! Lists answer [`Page`]; errors answer [`ProblemDetails`] (RFC 9457).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::definition::Priority;
use crate::report::{Inventory, Refusal};
use crate::run::{Run, RunError, RunStatus};

macro_rules! api {
    ($(#[$doc:meta])* pub struct $name:ident { $($body:tt)* }) => {
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        $(#[$doc])*
        pub struct $name { $($body)* }
    };
}

mod again;
mod plugins;
mod secrets;
mod talk;

pub use again::{RecordRuns, RetriedRun, RetriedRuns, RetryRuns};
pub use plugins::{
    AddPublisherKey, DeprecatePlugin, Plugin, PluginSignature, PluginState, PublisherKey,
    YankPlugin,
};
pub use secrets::{PutSecret, Secret, SecretDetail, SecretDevice, SecretDeviceState};
pub use talk::{Approval, Decide, SendSignal};

/// A page of a list. `next_cursor` is absent on the last page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Give it back as `?cursor=` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

api! {
    /// An error as RFC 9457 says, with our stable code.
    pub struct ProblemDetails {
        /// Identifies the kind of problem: `about:blank` or `urn:openclaw:problem:<code>`.
        #[serde(rename = "type")]
        pub kind: String,
        /// Short, for people.
        pub title: String,
        /// HTTP status.
        pub status: u16,
        /// Stable code, such as `workflow.invalid`.
        pub code: String,
        /// What failed, why, and what to try.
        #[serde(default)]
        pub detail: String,
        /// Single faults of a document, with where they are.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub errors: Vec<ProblemItem>,
    }
}

api! {
    /// One fault in what was sent.
    pub struct ProblemItem {
        /// Stable code, such as `E_UNKNOWN_TARGET`.
        pub code: String,
        /// For people.
        pub message: String,
        /// Line in the document, from 1; 0 where it does not apply.
        #[serde(default)]
        pub line: u32,
        /// Column in the line, from 1; 0 where it does not apply.
        #[serde(default)]
        pub column: u32,
        /// What to write instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub suggestion: Option<String>,
        /// JSON Pointer (RFC 6901) to the value in the body, such as `/inputs/limit`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub pointer: Option<String>,
    }
}

api! {
    /// `POST /auth/login`.
    #[serde(deny_unknown_fields)]
    pub struct LoginRequest {
        /// User name.
        pub username: String,
        /// Password.
        pub password: String,
    }
}

api! {
    /// A session: send the token as `Authorization: Bearer`. A `Set-Cookie` comes along for the console.
    pub struct LoginResponse {
        /// Opaque token.
        pub token: String,
        /// When it ends.
        pub expires_at: String,
        /// Who logged in.
        pub user: User,
    }
}

/// What a user may do: viewer ⊂ operator ⊂ admin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Role {
    /// Reads everything but users and keys.
    Viewer,
    /// Also publishes, deploys, runs, cancels, enrols.
    Operator,
    /// Also users, keys, revocation.
    Admin,
}

api! {
    /// A person.
    pub struct User {
        /// Unique in the tenant.
        pub username: String,
        /// What they may do.
        pub role: Role,
        /// A disabled user cannot log in and has no sessions.
        pub disabled: bool,
        /// When they were made.
        pub created_at: String,
    }
}

api! {
    /// `POST /users`.
    #[serde(deny_unknown_fields)]
    pub struct CreateUser {
        /// Unique in the tenant.
        pub username: String,
        /// What they may do.
        pub role: Role,
        /// At least 10 characters; one is made and answered where absent.
        #[serde(default)]
        pub password: Option<String>,
    }
}

api! {
    /// Answer to [`CreateUser`].
    pub struct CreatedUser {
        /// The user.
        pub user: User,
        /// The password, if the server made it. Shown once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub password: Option<String>,
    }
}

api! {
    /// `POST /api-keys`.
    #[serde(deny_unknown_fields)]
    pub struct CreateApiKey {
        /// For people.
        pub name: String,
        /// What it may do; not more than its maker.
        pub role: Role,
        /// Days until it ends; 365 where absent.
        #[serde(default)]
        pub days: Option<u32>,
    }
}

api! {
    /// An API key, without its secret.
    pub struct ApiKey {
        /// Its public id.
        pub id: String,
        /// For people.
        pub name: String,
        /// What it may do.
        pub role: Role,
        /// When it was made.
        pub created_at: String,
        /// When it ends.
        pub expires_at: String,
        /// It was revoked.
        pub revoked: bool,
    }
}

api! {
    /// Answer to [`CreateApiKey`].
    pub struct CreatedApiKey {
        /// The key.
        pub key: ApiKey,
        /// `oc_<id>_<secret>`; send as `Authorization: Bearer`. Shown once.
        pub secret: String,
    }
}

api! {
    /// A device.
    pub struct Device {
        /// Its id.
        pub id: String,
        /// Labels, for deployments by label.
        pub labels: BTreeMap<String, String>,
        /// Whether its sync session is up.
        pub online: bool,
        /// When it was last heard of.
        pub last_seen_at: Option<String>,
        /// When it was enrolled.
        pub enrolled_at: String,
        /// It may not connect any more.
        pub revoked: bool,
        /// When its certificate ends.
        pub certificate_expires_at: String,
        /// What it said of itself.
        pub inventory: Option<Inventory>,
        /// Revision of the newest desired state made for it.
        pub desired_revision: u64,
        /// Revision it says is in force.
        pub reported_revision: u64,
        /// Workflows it refuses to run, and why.
        pub refused: BTreeMap<String, Refusal>,
        /// The result ledger, an entry per epoch, newest first.
        pub ledger: Vec<Ledger>,
    }
}

api! {
    /// How complete a device's results are under one epoch of its database.
    pub struct Ledger {
        /// The epoch, 16 hexadecimal digits.
        pub epoch: String,
        /// Results that are here.
        pub received: u64,
        /// Every result up to this number is here.
        pub complete_to: u64,
        /// The highest number the device has announced.
        pub announced: u64,
        /// Numbers up to `announced` that are not here.
        pub missing: u64,
        /// Batch records that came again and were ignored.
        pub repeated: u64,
        /// Results that a quota removed on the device before they could be sent.
        #[serde(default)]
        pub dropped: u64,
    }
}

api! {
    /// `POST /devices/enroll-codes`.
    #[serde(deny_unknown_fields)]
    pub struct CreateJoinCode {
        /// Id the device shall have; one is made where absent.
        #[serde(default)]
        pub device_id: Option<String>,
        /// Labels it shall have.
        #[serde(default)]
        pub labels: BTreeMap<String, String>,
        /// Minutes until the code ends, 1 to 10080; 60 where absent.
        #[serde(default)]
        pub minutes: Option<u32>,
    }
}

api! {
    /// A join code. Single use.
    pub struct JoinCode {
        /// `<secret>.<fingerprint of the fleet's CA>`. Shown once.
        pub code: String,
        /// When it ends.
        pub expires_at: String,
        /// The command to type on the device.
        pub command: String,
    }
}

api! {
    /// `POST /enroll`, from a device. Needs no login: the join code is the credential.
    #[serde(deny_unknown_fields)]
    pub struct EnrollRequest {
        /// The join code's secret part.
        pub code: String,
        /// PKCS #10 request in PEM; only its public key is used.
        pub csr_pem: String,
    }
}

api! {
    /// What an enrolled device needs to know.
    pub struct EnrollResponse {
        /// Its tenant.
        pub tenant: String,
        /// Its id.
        pub device: String,
        /// Its certificate in PEM.
        pub certificate_pem: String,
        /// The fleet's CA in PEM.
        pub ca_pem: String,
        /// Host name or address for MQTT over TLS.
        pub mqtt_host: String,
        /// Port for MQTT over TLS.
        pub mqtt_port: u16,
        /// Ed25519 public key that signs desired state, 64 hexadecimal digits.
        pub desired_key: String,
    }
}

api! {
    /// A stored workflow version. Versions never change.
    pub struct WorkflowVersion {
        /// Its name.
        pub name: String,
        /// Counts up per name, from 1.
        pub revision: u32,
        /// The author's version label.
        pub version: String,
        /// Content hash.
        pub hash: String,
        /// For people.
        pub description: String,
        /// When it was stored.
        pub created_at: String,
        /// Who stored it.
        pub created_by: String,
        /// The document as written; left out in lists.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub source: Option<String>,
        /// Steps in it.
        pub steps: u32,
        /// Plugin references in it, as written.
        pub plugins: Vec<String>,
        /// Kinds of its triggers.
        pub triggers: Vec<String>,
    }
}

api! {
    /// `POST /workflows/validate`: what a document is, or what is wrong with it.
    pub struct Validation {
        /// Nothing is wrong.
        pub valid: bool,
        /// What is wrong.
        pub errors: Vec<ProblemItem>,
    }
}

api! {
    /// Which devices a deployment is for: those named and those that have all the labels.
    #[serde(deny_unknown_fields)]
    pub struct Target {
        /// Devices by id.
        #[serde(default)]
        pub devices: Vec<String>,
        /// Labels that must all match; empty matches none.
        #[serde(default)]
        pub labels: BTreeMap<String, String>,
    }
}

api! {
    /// `POST /deployments`.
    #[serde(deny_unknown_fields)]
    pub struct CreateDeployment {
        /// Workflow name.
        pub workflow: String,
        /// Its revision; the newest where absent.
        #[serde(default)]
        pub revision: Option<u32>,
        /// Where to.
        pub target: Target,
    }
}

api! {
    /// A deployment: this workflow on those devices.
    pub struct Deployment {
        /// Its id.
        pub id: String,
        /// Workflow name.
        pub workflow: String,
        /// The revision that shall run.
        pub revision: u32,
        /// The revision before, for a roll-back.
        pub previous_revision: Option<u32>,
        /// Where to.
        pub target: Target,
        /// When it was made.
        pub created_at: String,
        /// Who made it.
        pub created_by: String,
        /// Where it stands, device by device.
        pub devices: Vec<DeploymentDevice>,
        /// What is to be said of the plugins it is pinned to: that one is deprecated, or yanked.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub notices: Vec<String>,
    }
}

api! {
    /// Where a deployment stands on one device.
    pub struct DeploymentDevice {
        /// Which.
        pub device: String,
        /// How far it is.
        pub state: DeploymentState,
        /// Why it is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub refusal: Option<Refusal>,
    }
}

/// How far a deployment is on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DeploymentState {
    /// The device has not said that it is in force.
    Pending,
    /// In force.
    Active,
    /// The device refuses it.
    Refused,
}

api! {
    /// `POST /workflows/{name}/run`.
    #[serde(deny_unknown_fields)]
    pub struct StartRuns {
        /// On which of the devices it is deployed on; all matching ones.
        pub target: Target,
        /// Inputs.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(value_type = Object))]
        pub inputs: serde_json::Map<String, serde_json::Value>,
        /// How urgent, if not as the workflow says.
        #[serde(default)]
        pub priority: Option<Priority>,
    }
}

api! {
    /// Wishes that were written down, one a device.
    pub struct Requests {
        /// The wishes.
        pub requests: Vec<RequestView>,
    }
}

api! {
    /// One wish, and what became of it. `GET /requests/{id}`.
    pub struct RequestView {
        /// Its id.
        pub id: String,
        /// For which device.
        pub device: String,
        /// The run it led to or concerns, once the device has answered.
        pub run: Option<String>,
        /// Why the device refused it.
        pub refusal: Option<Refusal>,
        /// The device has answered.
        pub answered: bool,
    }
}

api! {
    /// An execution in a list.
    pub struct ExecutionSummary {
        /// Run id.
        pub id: String,
        /// On which device.
        pub device: String,
        /// Of which workflow.
        pub workflow: String,
        /// The author's version label.
        pub version: String,
        /// Where it stands.
        pub status: RunStatus,
        /// What started it.
        pub trigger: String,
        /// When it was accepted, by the device's clock.
        pub accepted_at: Option<String>,
        /// When it settled, by the device's clock.
        pub settled_at: Option<String>,
        /// Its error.
        pub error: Option<RunError>,
    }
}

api! {
    /// An execution with its steps.
    pub struct Execution {
        /// On which device.
        pub device: String,
        /// Number of its result in the device's results lane, once that is here.
        pub result_seq: Option<u64>,
        /// It has more events than are folded into one answer: `run` shows only the first of its
        /// steps; its status and its end are those of the whole.
        #[serde(default)]
        pub truncated: bool,
        /// The fold of its events.
        pub run: Run,
    }
}

api! {
    /// One event of an execution, as told by the device.
    pub struct ExecutionEvent {
        /// Place among the run's events, from 1.
        pub seq: u32,
        /// When, by the device's wall clock.
        pub at: String,
        /// Name of the event, such as `step_settled`.
        pub name: String,
        /// Its content.
        #[cfg_attr(feature = "openapi", schema(value_type = Object))]
        pub data: serde_json::Value,
    }
}

api! {
    /// `GET /health`.
    pub struct Health {
        /// `ok` or `degraded`.
        pub status: String,
        /// Version of the control plane.
        pub version: String,
        /// Component and its state, `ok` or what is wrong.
        pub components: BTreeMap<String, String>,
    }
}

api! {
    /// A result as an auditor sees it: one row of `GET /devices/{id}/results`, by epoch and number.
    pub struct ResultEntry {
        /// The epoch of the device's database it was recorded under.
        pub epoch: String,
        /// Its number in the results lane of that epoch, from 1.
        pub seq: u64,
        /// Which run.
        pub run: String,
        /// Of which workflow.
        pub workflow: String,
        /// How it ended.
        pub status: RunStatus,
        /// When it arrived here.
        pub received_at: String,
    }
}

api! {
    /// Something a security officer wants to know.
    pub struct SecurityEvent {
        /// Its id.
        pub id: String,
        /// About which device.
        pub device: String,
        /// Stable code, such as `sync.new_epoch`.
        pub code: String,
        /// For people.
        pub message: String,
        /// When, by the clock of whoever noticed it.
        pub at: String,
        /// When the control plane heard of it, by its own clock.
        pub received_at: String,
    }
}
