//! Reports: what a device says about itself and about what it was told, in the `control` lane.

use serde::{Deserialize, Serialize};

use crate::id::{RequestId, RunId};
use crate::limits::DEVICE_SECRETS;
use crate::secret::HeldSecret;
use crate::time::Stamp;

/// One report. Append-only: postcard knows variants by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// A command was carried out or refused.
    Command {
        /// The wish it answers.
        request: RequestId,
        /// The run it concerns, or why it was refused.
        outcome: Result<RunId, Refusal>,
    },
    /// A desired-state document is in force, wholly or but for what is named.
    Desired {
        /// Its revision.
        revision: u64,
        /// Workflows that do not run here, and why.
        refused: Vec<(String, Refusal)>,
    },
    /// What this device is and offers; sent at each start and when it changes.
    Inventory(Inventory),
    /// Something a security officer wants to know, such as a denied permission.
    Security {
        /// Stable code, such as `permission.denied`.
        code: String,
        /// For people.
        message: String,
    },
    /// Starts that never became runs (queue full, invalid inputs), counted per workflow.
    Dropped {
        /// Which workflow.
        workflow: String,
        /// Why: `queue_full`, `inputs.invalid`, `single`.
        reason: String,
        /// How many since the last such report.
        count: u32,
    },
    /// The device's public key (X25519) to seal secrets to; told at each start.
    SealingKey {
        /// The key.
        key: [u8; 32],
    },
    /// The secrets that the control plane has sent, all of them, and whether they can be used.
    Secrets {
        /// By name.
        #[serde(deserialize_with = "crate::wire::at_most::<_, _, DEVICE_SECRETS>")]
        held: Vec<HeldSecret>,
    },
    /// A command was carried out that concerns no run of its own.
    Done {
        /// The wish it answers.
        request: RequestId,
    },
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Refusal {
    /// Stable code.
    pub code: String,
    /// For people: what, why, what to try.
    pub message: String,
}

/// What a device is and offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Inventory {
    /// Version of the agent.
    pub agent_version: String,
    /// Such as `x86_64` or `aarch64`.
    pub arch: String,
    /// Such as `linux`.
    pub os: String,
    /// Logical directories its configuration offers to plugins.
    pub files: Vec<String>,
    /// Worker slots.
    pub slots: u16,
    /// The how-manieth boot of its database.
    pub boot: u32,
    /// The last stop was not clean.
    pub unclean: bool,
}

/// One entry of the `control` lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRecord {
    /// When.
    pub at: Stamp,
    /// What.
    pub report: Report,
}
