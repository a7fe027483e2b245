//! What people say to runs, signals and decisions, and the approvals that wait for them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

api! {
    /// `POST /executions/{device}/{run}/signals`.
    #[serde(deny_unknown_fields)]
    pub struct SendSignal {
        /// The name that a `wait` of the run listens to.
        pub name: String,
        /// What goes with it; null where absent.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(value_type = serde_json::Value))]
        pub data: Value,
    }
}

api! {
    /// `POST /executions/{device}/{run}/decisions`.
    #[serde(deny_unknown_fields)]
    pub struct Decide {
        /// Path of the step that asks, as in [`Approval::step`].
        pub step: String,
        /// One of its choices.
        pub choice: String,
        /// The form as filled in.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(value_type = Object))]
        pub form: serde_json::Map<String, Value>,
    }
}

api! {
    /// A step that waits for the answer of people. The first valid answer that reaches the device
    /// counts.
    pub struct Approval {
        /// On which device.
        pub device: String,
        /// In which run.
        pub run: String,
        /// Path of the step.
        pub step: String,
        /// Of which workflow.
        pub workflow: String,
        /// What people are asked.
        pub prompt: String,
        /// Who may answer; empty: whoever may cancel a run.
        pub roles: Vec<String>,
        /// What they may answer.
        pub choices: Vec<String>,
        /// What they may fill in: a JSON Schema by name.
        #[cfg_attr(feature = "openapi", schema(value_type = Object))]
        pub form: BTreeMap<String, Value>,
        /// Since when, by the device's clock.
        pub asked_at: String,
    }
}
