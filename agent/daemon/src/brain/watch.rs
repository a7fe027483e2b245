//! Triggers that the shell watches for, webhooks and files: what is to be watched for after a commit,
//! and what came of it.

use openclaw_agent_core::{Input, Listing, Told};
use openclaw_protocol::id::{RunId, TriggerId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::report::{Refusal, Report};
use tokio::sync::oneshot;

use super::Brain;
use crate::looker::{Looker, Sight};
use crate::webhook::{self, Hook, Listener};

/// Where what came of a request goes.
pub(super) type HookReply = oneshot::Sender<Result<RunId, Refusal>>;

/// What is watched for.
#[derive(Debug)]
pub(super) struct Watched {
    listener: Option<Listener>,
    looker: Option<Looker>,
    /// What is to be looked for may have changed, or whether it is to be told again.
    sights_are_stale: bool,
    /// Webhooks that another one was before, as last told.
    taken: Vec<Hook>,
    /// What is to be watched for may have changed.
    pub(super) is_stale: bool,
}

impl Watched {
    pub(super) fn new(listener: Option<Listener>, looker: Option<Looker>) -> Self {
        Self { listener, looker, sights_are_stale: true, taken: Vec::new(), is_stale: true }
    }

    pub(super) fn offer(&self) -> webhook::Offer {
        self.listener.as_ref().map(Listener::offer).unwrap_or_default()
    }
}

impl Brain {
    /// A request has been believed.
    pub(super) fn take_webhook(
        &mut self,
        workflow: WorkflowName,
        trigger: TriggerId,
        data: JsonText,
        reply: HookReply,
    ) {
        let outcome = self.fire(workflow, trigger, data);
        self.pending.hooks.push((reply, outcome));
    }

    /// The files of a trigger have been listed.
    pub(super) fn take_listing(&mut self, listing: Listing) {
        self.watched.sights_are_stale = true;
        self.step(Input::Files(listing));
    }

    fn fire(
        &mut self,
        workflow: WorkflowName,
        trigger: TriggerId,
        data: JsonText,
    ) -> Result<RunId, Refusal> {
        let told = self.step(Input::Fire { workflow, trigger, data });
        let answer = told.into_iter().find_map(|told| match told {
            Told::Answer { outcome, .. } => Some(outcome),
            Told::Event(..) | Told::Result(_) | Told::Dropped { .. } => None,
        });
        answer.unwrap_or_else(|| {
            let message = "the engine did not answer".to_owned();
            Err(Refusal { code: "agent.internal".to_owned(), message })
        })
    }

    /// After a commit: what is in force now is watched for.
    pub(super) fn tell_watchers(&mut self) {
        for (reply, outcome) in std::mem::take(&mut self.pending.hooks) {
            // The caller may have hung up.
            let _ = reply.send(outcome);
        }
        let is_stale = std::mem::take(&mut self.watched.is_stale);
        if let Some(looker) = &self.watched.looker
            && (std::mem::take(&mut self.watched.sights_are_stale) || is_stale)
        {
            let sights = self.engine.listed().map(|(workflow, trigger, path, again)| Sight {
                workflow: workflow.clone(),
                trigger: trigger.clone(),
                path: path.to_owned(),
                again,
            });
            looker.watch(sights.collect());
        }
        if !is_stale {
            return;
        }
        if let Some(listener) = &self.watched.listener {
            let (hooks, taken) = webhook::in_force(&self.engine);
            listener.serve(hooks);
            if taken != self.watched.taken {
                self.tell_taken(&taken);
                self.watched.taken = taken;
            }
        }
    }

    fn tell_taken(&mut self, taken: &[Hook]) {
        for hook in taken {
            let message = format!(
                "webhook `{}` of workflow `{}` is served by another workflow already: {} {}",
                hook.trigger,
                hook.workflow,
                hook.methods.join(", "),
                hook.path
            );
            tracing::error!("{message}");
            self.report(Report::Security { code: "webhook.taken".to_owned(), message });
        }
    }
}
