//! What a run tells while it is looked at: its steps as they come and wait, what it logs, and
//! whether what it had done was undone. On standard error: the run itself is the data.

use std::collections::BTreeMap;

use openclaw_protocol::api::{Execution, ExecutionEvent};
use serde_json::Value;

use crate::client::{Client, path};
use crate::exit::Failure;
use crate::output::{name_of, printable, time};

/// Lines shown at one look.
const LINES: usize = 1_000;

/// What has been told so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    steps: usize,
    /// What each step that waits was said to wait for.
    waits: BTreeMap<String, String>,
    /// Number of the last event that was looked at.
    event: u32,
}

impl Told {
    /// Tells steps that are new, and what steps wait for.
    pub(super) fn steps(&mut self, execution: &Execution) {
        let run = &execution.run;
        // A long run's oldest steps are no longer shown, but they were seen.
        let dropped = usize::try_from(run.steps_dropped).unwrap_or(usize::MAX);
        for step in run.steps.iter().skip(self.steps.saturating_sub(dropped)) {
            say(&format!("{} {} {}", step.path, step.kind, name_of(&step.status)));
        }
        self.steps = run.steps.len().saturating_add(dropped);
        let waits: BTreeMap<String, String> = run
            .steps
            .iter()
            .filter_map(|step| Some((step.path.0.clone(), step.waiting.as_ref()?.to_string())))
            .collect();
        for (step, waits_for) in
            waits.iter().filter(|(step, now)| self.waits.get(*step) != Some(*now))
        {
            say(&format!("{step} waits for {waits_for}"));
        }
        self.waits = waits;
    }

    /// Tells what was logged and undone since.
    pub(super) async fn logs(
        &mut self,
        client: &Client,
        execution: &Execution,
    ) -> Result<(), Failure> {
        let run = &execution.run;
        if run.last_seq <= self.event && !execution.truncated {
            return Ok(());
        }
        let events = path(&["executions", &execution.device, run.id.as_ref(), "events"])?;
        let list = format!("{events}?name=logged,compensated&after={}", self.event);
        let told: Vec<ExecutionEvent> = client.list(&list, LINES).await?;
        for event in &told {
            say(&line(event));
        }
        let last = told.last().map_or(self.event, |event| event.seq);
        self.event = if told.len() < LINES { last.max(run.last_seq) } else { last };
        if told.len() >= LINES && run.status.is_settled() {
            say(&format!("there is more: see /api/v1{events}?name=logged&after={last}"));
        }
        Ok(())
    }
}

fn say(text: &str) {
    eprintln!("{}", printable(text));
}

/// One event as a line.
fn line(event: &ExecutionEvent) -> String {
    let text = |name: &str| event.data[name].as_str().unwrap_or_default();
    let at = time(Some(&event.at));
    if event.name == "compensated" {
        let scope = if text("step").is_empty() { "the run" } else { text("step") };
        let end = if event.data["complete"] == Value::Bool(true) {
            "what it had done was undone"
        } else {
            "COMPENSATION INCOMPLETE, not all of it could be undone"
        };
        return format!("{at} {scope}: {end}");
    }
    let mut line = format!("{at} {:5} {}: {}", text("level"), text("step"), text("message"));
    if event.data["fields"].as_object().is_some_and(|fields| !fields.is_empty()) {
        line.push_str(&format!(" {}", event.data["fields"]));
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_read_as_lines() {
        let shown = |name: &str, data: Value| {
            line(&ExecutionEvent {
                seq: 1,
                at: "2026-01-01T00:00:00Z".into(),
                name: name.into(),
                data,
            })
        };
        let said = json!({ "step": "say", "level": "warn", "message": "dry", "fields": {} });
        assert_eq!(shown("logged", said), "2026-01-01 00:00:00Z warn  say: dry");
        let said = json!({ "step": "s", "level": "info", "message": "x", "fields": { "n": 1 } });
        assert!(shown("logged", said).ends_with("info  s: x {\"n\":1}"));
        let undone = shown("compensated", json!({ "step": "", "complete": false }));
        assert!(undone.contains("the run: COMPENSATION INCOMPLETE"), "{undone}");
        assert!(
            shown("compensated", json!({ "step": "saga", "complete": true })).contains("undone")
        );
    }
}
