//! The rule itself: from a state and a value to the next state and an event.

use serde::{Deserialize, Serialize};

/// Where a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Zone {
    /// Between the limits.
    Normal,
    /// Over the upper one.
    High,
    /// Under the lower one.
    Low,
}

/// What an edge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Event {
    /// From normal to high or low.
    Raised,
    /// Back to normal.
    Cleared,
    /// From high to low, or from low to high.
    Crossed,
}

/// A zone that has not been held for long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    state: Zone,
    since_ms: i64,
}

/// What is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) zone: Zone,
    pub(crate) since_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pending: Option<Pending>,
}

impl State {
    pub(crate) const fn new(now: i64) -> Self {
        Self { zone: Zone::Normal, since_ms: now, pending: None }
    }
}

/// Limits, and how eager they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) high: Option<f64>,
    pub(crate) low: Option<f64>,
    pub(crate) hysteresis: f64,
    pub(crate) hold_ms: i64,
}

impl Rule {
    /// Says what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.hysteresis < 0.0 || self.hold_ms < 0 {
            return Err("`hysteresis` and `hold_ms` are 0 or more".to_owned());
        }
        match (self.low, self.high) {
            (None, None) => Err("give `high`, `low`, or both".to_owned()),
            (Some(low), Some(high)) if low >= high => {
                Err(format!("`low` ({low}) is not under `high` ({high})"))
            }
            (Some(low), Some(high)) if self.hysteresis > high - low => {
                let width = high - low;
                Err(format!("`hysteresis` is wider than what is between the limits ({width})"))
            }
            _ => Ok(()),
        }
    }

    /// The zone of a value that comes from another one.
    fn zone(&self, value: f64, from: Zone) -> Zone {
        let back = |zone| if from == zone { self.hysteresis } else { 0.0 };
        if self.high.is_some_and(|high| value > high - back(Zone::High)) {
            return Zone::High;
        }
        if self.low.is_some_and(|low| value < low + back(Zone::Low)) {
            return Zone::Low;
        }
        Zone::Normal
    }
}

/// The state after a value, and the edge where there is one.
pub(crate) fn step(state: State, rule: &Rule, value: f64, now: i64) -> (State, Option<Event>) {
    let zone = rule.zone(value, state.zone);
    if zone == state.zone {
        return (State { pending: None, ..state }, None);
    }
    let since = state.pending.filter(|p| p.state == zone).map_or(now, |p| p.since_ms.min(now));
    if now - since < rule.hold_ms {
        return (State { pending: Some(Pending { state: zone, since_ms: since }), ..state }, None);
    }
    let event = match (state.zone, zone) {
        (_, Zone::Normal) => Event::Cleared,
        (Zone::Normal, _) => Event::Raised,
        _ => Event::Crossed,
    };
    (State { zone, since_ms: now, pending: None }, Some(event))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { high: Some(80.0), low: Some(20.0), hysteresis: 5.0, hold_ms: 0 };

    /// Events of a series with a value a second.
    fn events(rule: Rule, values: &[f64]) -> Vec<(usize, Event)> {
        let mut state = State::new(0);
        let mut events = Vec::new();
        for (second, value) in values.iter().enumerate() {
            let (next, event) = step(state, &rule, *value, second as i64 * 1_000);
            state = next;
            events.extend(event.map(|event| (second, event)));
        }
        events
    }

    #[test]
    fn a_value_that_trembles_at_the_limit_is_one_alarm() {
        let values = [79.0, 80.5, 79.5, 80.2, 76.0, 75.0, 81.0];
        let with = events(RULE, &values);
        assert_eq!(with, [(1, Event::Raised), (5, Event::Cleared), (6, Event::Raised)]);
        let without = events(Rule { hysteresis: 0.0, ..RULE }, &values);
        assert_eq!(without.len(), 5, "the control: {without:?}");
    }

    #[test]
    fn a_zone_counts_once_it_was_held() {
        let held = Rule { hold_ms: 2_000, ..RULE };
        assert_eq!(events(held, &[90.0, 90.0, 90.0, 90.0]), [(2, Event::Raised)]);
        assert_eq!(events(held, &[90.0, 90.0, 50.0, 90.0, 90.0]), []);
        let both = [90.0, 90.0, 90.0, 10.0, 10.0, 10.0, 50.0, 50.0, 50.0];
        let expected = [(2, Event::Raised), (5, Event::Crossed), (8, Event::Cleared)];
        assert_eq!(events(held, &both), expected);
    }

    #[test]
    fn a_clock_that_goes_back_ends_no_hold_early() {
        let held = Rule { hold_ms: 1_000, ..RULE };
        let (state, _) = step(State::new(5_000), &held, 90.0, 5_000);
        let (state, event) = step(state, &held, 90.0, 1_000);
        assert_eq!(event, None);
        let (_, event) = step(state, &held, 90.0, 2_000);
        assert_eq!(event, Some(Event::Raised));
    }

    #[test]
    fn rules_that_cannot_be_are_refused() {
        for rule in [
            Rule { high: None, low: None, ..RULE },
            Rule { low: Some(80.0), ..RULE },
            Rule { hysteresis: -1.0, ..RULE },
            Rule { hysteresis: 61.0, ..RULE },
            Rule { hold_ms: -1, ..RULE },
        ] {
            assert!(rule.check().is_err(), "{rule:?}");
        }
        assert_eq!(RULE.check(), Ok(()));
    }
}
