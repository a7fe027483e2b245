//! The judgement: what an agent recorded, what the witness heard, what the control plane has.
//!
//! Pure, so that it can be shown to find what it is there to find.

use std::collections::BTreeSet;

use serde::Serialize;

use super::witness::Heard;

/// What three independent parties say of one agent's runs.
#[derive(Debug, Clone, Default)]
pub struct Testimony {
    /// Run ids in the agent's own journal, as read on the device.
    pub recorded: BTreeSet<String>,
    /// Run ids the witness heard from this agent, how often and under which keys.
    pub witnessed: Heard,
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
    /// What the witness was told beyond once a run: a kill may cost one.
    pub repeated: u64,
    /// Runs of which the witness was told without an idempotency key, or under more than one: it
    /// could not tell a repetition.
    pub unkeyed: usize,
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
            repeated: testimony.witnessed.values().map(|posts| posts.count - 1).sum(),
            unkeyed: testimony
                .witnessed
                .values()
                .filter(|posts| posts.keys.len() != 1 || posts.keys.contains(""))
                .count(),
        }
    }

    /// Nothing is lost, nothing is twice, nothing came from nowhere, what was said again was said
    /// under the same key, and there was something.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.recorded > 0
            && self.missing == 0
            && self.duplicate == 0
            && self.unexplained == 0
            && self.unkeyed == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::witness::Posts;
    use super::*;

    fn posts(count: u64, keys: &[&str]) -> Posts {
        Posts { count, keys: keys.iter().map(|key| (*key).to_owned()).collect() }
    }

    fn testimony(recorded: &[&str], witnessed: &[&str], received: &[&str]) -> Testimony {
        Testimony {
            recorded: recorded.iter().map(|s| (*s).to_owned()).collect(),
            witnessed: witnessed.iter().map(|s| ((*s).to_owned(), posts(1, &["k"]))).collect(),
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

    #[test]
    fn what_is_said_again_must_be_said_under_the_same_key() {
        let judge = |said: Posts| {
            let mut heard = testimony(&["1"], &[], &["1"]);
            heard.witnessed.insert("1".to_owned(), said);
            let line = Line::judge("a", &heard);
            (line.repeated, line.unkeyed, line.is_clean())
        };
        assert_eq!(judge(posts(3, &["k"])), (2, 0, true));
        assert_eq!(judge(posts(2, &["k", "l"])), (1, 1, false));
        assert_eq!(judge(posts(2, &["", "l"])), (1, 1, false));
        assert_eq!(judge(posts(1, &[""])), (0, 1, false), "without a key none can be told");
    }
}
