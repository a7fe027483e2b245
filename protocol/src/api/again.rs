//! Runs done again, many at once, and runs to be recorded.

use serde::{Deserialize, Serialize};

use crate::report::Refusal;
use crate::run::RunStatus;

api! {
    /// `POST /executions/retry`: which of the runs that ended badly, and how.
    #[serde(deny_unknown_fields)]
    pub struct RetryRuns {
        /// Only of this workflow.
        #[serde(default)]
        pub workflow: Option<String>,
        /// Only of this device.
        #[serde(default)]
        pub device: Option<String>,
        /// `failed` (where absent) or `cancelled`.
        #[serde(default)]
        pub status: Option<RunStatus>,
        /// Only with this error code; `http.*` means all that begin so.
        #[serde(default)]
        pub error: Option<String>,
        /// Only those that ended then or later, by their devices' clocks: milliseconds since 1970.
        #[serde(default)]
        pub since_ms: Option<i64>,
        /// Go on from the failed step with what had succeeded, instead of from the beginning.
        #[serde(default)]
        pub from_failed: bool,
        /// Only say which.
        #[serde(default)]
        pub dry_run: bool,
        /// `next_cursor` of the answer before: those that follow.
        #[serde(default)]
        pub cursor: Option<String>,
    }
}

api! {
    /// What came of it.
    pub struct RetriedRuns {
        /// The runs meant, the latest first.
        pub runs: Vec<RetriedRun>,
        /// Give it back as `cursor` for those that follow; absent where that was all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub next_cursor: Option<String>,
    }
}

api! {
    /// One of them.
    pub struct RetriedRun {
        /// On which device.
        pub device: String,
        /// Its id.
        pub run: String,
        /// Of which workflow.
        pub workflow: String,
        /// The wish that was written down for it.
        pub request: Option<String>,
        /// Why none was.
        pub refusal: Option<Refusal>,
    }
}

api! {
    /// `POST /devices/{id}/recordings`: which runs are recorded with all that their plugins are told
    /// from outside.
    #[serde(deny_unknown_fields)]
    pub struct RecordRuns {
        /// The next runs of this workflow.
        pub workflow: String,
        /// How many, at most 100; 0 for none any more.
        pub next: u32,
    }
}
