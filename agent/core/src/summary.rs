//! A run as local status shows it.

use openclaw_protocol::run::RunStatus;

use crate::engine::RunSummary;
use crate::run::{Phase, Run};
use crate::scope::Stage;

impl Run {
    pub(crate) fn summary(&self) -> RunSummary {
        let mut open = 0;
        let (mut working, mut slots, mut delays, mut retries, mut ears) = (0, 0, 0, 0, 0);
        for (_, stage) in self.live() {
            open += 1;
            match stage {
                Stage::Running => working += 1,
                Stage::Ready => slots += 1,
                Stage::Delayed => delays += 1,
                Stage::Retrying => retries += 1,
                Stage::Listening | Stage::Calling | Stage::Publishing => ears += 1,
                Stage::Waiting | Stage::Due | Stage::Open | Stage::Settled => {}
            }
        }
        let (status, waiting) = match self.phase {
            Phase::Pending => (RunStatus::Pending, Some("turn")),
            Phase::Settled(status) => (status, None),
            Phase::Main | Phase::Finally | Phase::Compensating | Phase::OnFailure => {
                if working > 0 || self.is_unfinished() {
                    (RunStatus::Running, None)
                } else if slots > 0 {
                    (RunStatus::Running, Some("slot"))
                } else if ears > 0 {
                    (RunStatus::Running, Some("answer"))
                } else if retries > 0 {
                    (RunStatus::Delayed, Some("retry"))
                } else if delays > 0 {
                    (RunStatus::Delayed, Some("delay"))
                } else {
                    (RunStatus::Running, None)
                }
            }
        };
        RunSummary {
            id: self.head.id.clone(),
            workflow: self.plan.workflow.name.clone(),
            status,
            waiting,
            steps_open: open,
            steps_settled: self.settled_steps,
            accepted: self.head.accepted,
        }
    }
}
