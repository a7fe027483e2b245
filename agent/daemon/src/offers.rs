//! What a device has for workflows, and what a workflow asks for that it has not.

use openclaw_protocol::definition::{TriggerKind, Workflow};
use openclaw_protocol::glob;

use crate::local_mqtt::{needs_broker, without_broker};
use crate::webhook;

/// What the device has for workflows.
#[derive(Debug, Clone, Copy)]
pub struct Offers<'a> {
    /// Logical directories.
    pub files: &'a [String],
    /// The site's own broker.
    pub mqtt: bool,
    /// The listener for webhooks.
    pub webhook: webhook::Offer,
}

impl Offers<'_> {
    /// What a workflow needs and this device has not: a code, and a sentence with what to do.
    #[must_use]
    pub fn lacks(&self, workflow: &Workflow) -> Option<(&'static str, String)> {
        if let Some(what) = needs_broker(workflow).filter(|_| !self.mqtt) {
            return Some(("mqtt.missing", without_broker(&what)));
        }
        self.webhook.lacks(workflow).or_else(|| self.lacks_dir(workflow))
    }

    fn lacks_dir(&self, workflow: &Workflow) -> Option<(&'static str, String)> {
        workflow.triggers.iter().find_map(|trigger| {
            let TriggerKind::File { path, .. } = &trigger.kind else { return None };
            let (dir, _) = glob::split(path);
            if self.files.iter().any(|known| known == dir) {
                return None;
            }
            let message = format!(
                "trigger `{}` looks for files in `{dir}`, and the device offers no such directory; \
                 add it to [files] of its configuration",
                trigger.id
            );
            Some(("files.missing", message))
        })
    }
}
