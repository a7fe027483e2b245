//! What plugins were denied, for those who audit: told by workflow, step and kind, and counted.
//!
//! What was asked for is of the plugin's choosing, so it decides nothing here: a plugin that asks
//! for a thousand made-up hosts is told of once at each of its steps, and hides nobody else.

use openclaw_protocol::ordered::VecMap;

/// After the first denial of a place, further ones are counted for this long.
pub(super) const WINDOW_MS: u64 = 600_000;
/// Places that are told apart; the others share one for each kind.
const PLACES: usize = 1_024;
/// Characters of what was asked for that are told.
const TOLD_CHARS: usize = 200;
/// Workflow and step of places that are not told apart any more.
const FURTHER: &str = "(further ones)";

/// Where something was denied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    workflow: String,
    step: String,
    kind: &'static str,
}

#[derive(Debug)]
struct Window {
    began_ms: u64,
    /// Denials after the first.
    more: u32,
    last: String,
}

/// The denials of the time at hand.
#[derive(Debug, Default)]
pub(super) struct Denials(VecMap<Place, Window>);

impl Denials {
    /// Takes a denial. What to tell of it, if it is the first of its place for a while.
    pub(super) fn note(
        &mut self,
        workflow: &str,
        path: &str,
        what: &str,
        now_ms: u64,
    ) -> Option<String> {
        // Instances of a step, in loops and branches, are one step.
        let step = path.rsplit('/').next().unwrap_or(path);
        let mut place =
            Place { workflow: workflow.to_owned(), step: step.to_owned(), kind: kind_of(what) };
        let last: String = what.chars().take(TOLD_CHARS).collect();
        if !self.0.contains_key(&place) && self.0.len() >= PLACES {
            FURTHER.clone_into(&mut place.workflow);
            FURTHER.clone_into(&mut place.step);
        }
        if let Some(window) = self.0.get_mut(&place) {
            window.more = window.more.saturating_add(1);
            window.last = last;
            return None;
        }
        let message = format!("{last} was denied to step {step} of workflow {workflow}");
        self.0.insert(place, Window { began_ms: now_ms, more: 0, last });
        Some(message)
    }

    /// Ends the windows that are over, or all of them. What to tell of what was counted.
    pub(super) fn end(&mut self, now_ms: u64, all: bool) -> Vec<String> {
        let over = self
            .0
            .extract_if(.., |_, window| all || now_ms.saturating_sub(window.began_ms) >= WINDOW_MS);
        over.filter(|(_, window)| window.more > 0)
            .map(|(place, window)| {
                let Place { workflow, step, kind } = place;
                let Window { more, last, .. } = window;
                format!(
                    "{kind} was denied {more} more times to step {step} of workflow {workflow}, \
                     the last time {last}"
                )
            })
            .collect()
    }

    /// When the next window is over in which there is something to tell.
    pub(super) fn deadline(&self) -> Option<u64> {
        let counted = self.0.values().filter(|window| window.more > 0);
        counted.map(|window| window.began_ms.saturating_add(WINDOW_MS)).min()
    }
}

/// The sandbox writes `kind:what` or `kind`; only the kind is its own.
fn kind_of(what: &str) -> &'static str {
    match what.split(':').next() {
        Some("http") => "http",
        Some("files") => "files",
        Some("time") => "time",
        Some("random") => "random",
        Some(_) | None => "something",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_names_hide_nobody() {
        let mut denials = Denials::default();
        let mut told = 0;
        for n in 0..10_000 {
            let what = format!("http:fake-{n}:80");
            told += usize::from(denials.note("w", &format!("l#{n}/s"), &what, 0).is_some());
        }
        assert_eq!(told, 1, "one step, one kind");
        assert!(denials.note("w", "s", "files:proc", 0).is_some(), "another kind");
        assert!(denials.note("v", "s", "http:fake-1:80", 0).is_some(), "another workflow");
        assert_eq!(denials.deadline(), Some(WINDOW_MS));
        assert!(denials.end(WINDOW_MS - 1, false).is_empty());
        let summary = denials.end(WINDOW_MS, false);
        assert_eq!(summary.len(), 1, "{summary:?}");
        assert!(summary[0].contains("9999 more times to step s of workflow w"), "{summary:?}");
        assert!(denials.note("w", "s", "http:again:80", WINDOW_MS).is_some());
        assert_eq!(denials.deadline(), None);
    }

    #[test]
    fn places_are_bounded_and_what_is_beyond_is_still_told() {
        let mut denials = Denials::default();
        let mut told = 0;
        for n in 0..3 * PLACES {
            told += usize::from(denials.note("w", &format!("s{n}"), "time", 0).is_some());
        }
        assert_eq!((told, denials.0.len()), (PLACES + 1, PLACES + 1));
        let summary = denials.end(0, true);
        assert!(summary[0].contains(&format!("{} more times", 2 * PLACES - 1)), "{summary:?}");
    }
}
