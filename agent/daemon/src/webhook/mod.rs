//! The agent's own HTTP listener, for `webhook` triggers. Off unless the configuration has one.
//!
//! Nothing is served but what a workflow in force asks for: another path is 404, another method 405,
//! and a body is believed only by its signature. What follows is bounded: connections, the time and
//! size of a request's head and body, and requests that wait for the brain. An answer is given after
//! the commit, so a caller who got one need not call again.

mod request;
mod server;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use openclaw_agent_core::Engine;
use openclaw_protocol::definition::{Hmac, TriggerKind, Workflow};
use openclaw_protocol::id::{TriggerId, WorkflowName};
use tokio::sync::watch;

pub use server::{Server, listen};

use crate::config::Webhook;

/// A trigger that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Of which workflow.
    pub workflow: WorkflowName,
    /// Which trigger.
    pub trigger: TriggerId,
    /// Path of its requests.
    pub path: String,
    /// Their methods.
    pub methods: Vec<String>,
    /// How they are signed.
    pub hmac: Option<Hmac>,
}

/// What a device's listener is good for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offer {
    /// There is one.
    pub listens: bool,
    /// Webhooks without a signature may use it.
    pub unsigned: bool,
}

impl Offer {
    /// What the listener of a configuration is good for.
    #[must_use]
    pub fn of(config: Option<&Webhook>) -> Self {
        let Some(config) = config else { return Self::default() };
        let unsigned = config.allow_unsigned || config.listen.ip().is_loopback();
        Self { listens: true, unsigned }
    }

    /// What of a workflow the listener is not good for: a code, and a sentence with what to do.
    #[must_use]
    pub fn lacks(self, workflow: &Workflow) -> Option<(&'static str, String)> {
        workflow.triggers.iter().find_map(|trigger| {
            let TriggerKind::Webhook { hmac, .. } = &trigger.kind else { return None };
            if !self.listens {
                let message = format!(
                    "trigger `{}` needs the device's own HTTP listener, and it has none; add \
                     [webhook] to its configuration",
                    trigger.id
                );
                return Some(("webhook.missing", message));
            }
            if hmac.is_none() && !self.unsigned {
                let message = format!(
                    "trigger `{}` takes requests from anybody, and the device's listener can be \
                     reached from outside; give it `hmac`, or set allow_unsigned in [webhook] of \
                     the device's configuration",
                    trigger.id
                );
                return Some(("webhook.unsigned", message));
            }
            None
        })
    }
}

/// The brain's end.
#[derive(Debug)]
pub struct Listener {
    hooks: watch::Sender<Arc<Vec<Hook>>>,
    offer: Offer,
}

impl Listener {
    /// What it is good for.
    #[must_use]
    pub fn offer(&self) -> Offer {
        self.offer
    }

    /// What is to be served, instead of what was.
    pub fn serve(&self, hooks: Vec<Hook>) {
        self.hooks.send_replace(Arc::new(hooks));
    }
}

/// The webhooks in force, and those that another one was before: of two that want the same requests,
/// the first by its workflow's name has them.
#[must_use]
pub fn in_force(engine: &Engine) -> (Vec<Hook>, Vec<Hook>) {
    let (mut hooks, mut taken): (Vec<Hook>, Vec<Hook>) = (Vec::new(), Vec::new());
    for (workflow, trigger) in engine.watched() {
        let TriggerKind::Webhook { path, methods, hmac } = &trigger.kind else { continue };
        let hook = Hook {
            workflow: workflow.clone(),
            trigger: trigger.id.clone(),
            path: path.clone(),
            methods: methods.clone(),
            hmac: hmac.clone(),
        };
        let has = |one: &Hook| {
            one.path == hook.path && one.methods.iter().any(|method| hook.methods.contains(method))
        };
        if hooks.iter().any(has) { taken.push(hook) } else { hooks.push(hook) }
    }
    (hooks, taken)
}
