//! The judgement: what an agent recorded, what the witness heard, what the control plane has.
//!
//! Pure, so that it can be shown to find what it is there to find.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// What three independent parties say of one agent's runs.
#[derive(Debug, Clone, Default)]
pub struct Testimony {
    /// Run ids in the agent's own journal, as read on the device.
    pub recorded: BTreeSet<String>,
    /// Run ids the witness heard from this agent, and how often.
    pub witnessed: BTreeMap<String, u64>,
    /// Run ids of the results at the control plane, one entry a row.
    pub received: Vec<String>,
}

/// One agent's line in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Which agent.
    pub agent: String,
    /// Settled runs in the agent's own journal.
    pub recorded: usize,
    /// Different runs the witness heard of.
    pub witnessed: usize,
    /// Results at the control plane.
    pub received: usize,
    /// Runs that the agent recorded or the witness heard of, without a result at the control plane.
    pub missing: usize,
    /// Results at the control plane beyond one a run.
    pub duplicate: usize,
    /// Results of runs that neither agent nor witness knows.
    pub unexplained: usize,
}

impl Line {
    /// Judges one agent.
    #[must_use]
    pub fn judge(agent: &str, testimony: &Testimony) -> Self {
        let received: BTreeSet<&String> = testimony.received.iter().collect();
        let known: BTreeSet<&String> =
            testimony.recorded.iter().chain(testimony.witnessed.keys()).collect();
        Self {
            agent: agent.to_owned(),
            recorded: testimony.recorded.len(),
            witnessed: testimony.witnessed.len(),
            received: testimony.received.len(),
            missing: known.difference(&received).count(),
            duplicate: testimony.received.len() - received.len(),
            unexplained: received.difference(&known).count(),
        }
    }

    /// Nothing is lost, nothing is twice, nothing came from nowhere, and there was something.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.recorded > 0 && self.missing == 0 && self.duplicate == 0 && self.unexplained == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn testimony(recorded: &[&str], witnessed: &[&str], received: &[&str]) -> Testimony {
        Testimony {
            recorded: recorded.iter().map(|s| (*s).to_owned()).collect(),
            witnessed: witnessed.iter().map(|s| ((*s).to_owned(), 1)).collect(),
            received: received.iter().map(|s| (*s).to_owned()).collect(),
        }
    }

    #[test]
    fn a_clean_ledger() {
        let line = Line::judge("a", &testimony(&["1", "2"], &["1", "2"], &["2", "1"]));
        assert!(line.is_clean(), "{line:?}");
    }

    #[test]
    fn a_lost_a_doubled_and_an_invented_result_are_found() {
        let lost = Line::judge("a", &testimony(&["1", "2"], &["1", "2"], &["1"]));
        assert_eq!((lost.missing, lost.is_clean()), (1, false));
        let hidden = Line::judge("a", &testimony(&["1"], &["1", "2"], &["1"]));
        assert_eq!((hidden.missing, hidden.is_clean()), (1, false), "the witness contradicts both");
        let doubled = Line::judge("a", &testimony(&["1"], &["1"], &["1", "1"]));
        assert_eq!((doubled.duplicate, doubled.is_clean()), (1, false));
        let invented = Line::judge("a", &testimony(&["1"], &["1"], &["1", "9"]));
        assert_eq!((invented.unexplained, invented.is_clean()), (1, false));
        assert!(!Line::judge("a", &testimony(&[], &[], &[])).is_clean(), "nothing proves nothing");
    }
}
