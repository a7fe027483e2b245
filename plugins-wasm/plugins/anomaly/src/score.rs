//! Mean and variance of a series, updated value by value, and the score of the next one.

use serde::{Deserialize, Serialize};

/// How mean and variance are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Method {
    /// Of all values alike (Welford).
    #[default]
    Zscore,
    /// Of the newer more than of the older (exponentially weighted).
    Ewma,
}

/// How values are judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) method: Method,
    pub(crate) alpha: f64,
    pub(crate) threshold: f64,
    pub(crate) warm_up: u64,
    pub(crate) min_deviation: f64,
}

/// What is remembered: `spread` is the sum of squares for `zscore`, and the variance for `ewma`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) spread: f64,
}

impl Rule {
    /// Says what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            return Err(format!("`alpha` is between 0 and 1, not {}", self.alpha));
        }
        if self.threshold <= 0.0 || self.min_deviation <= 0.0 {
            return Err("`threshold` and `min_deviation` are over 0".to_owned());
        }
        if self.warm_up < 2 {
            return Err("`warm_up` is 2 or more: one value has no deviation".to_owned());
        }
        Ok(())
    }

    /// The standard deviation of the values so far.
    pub(crate) fn deviation(&self, state: &State) -> f64 {
        match self.method {
            Method::Zscore if state.count < 2 => 0.0,
            Method::Zscore => (state.spread / (state.count - 1) as f64).sqrt(),
            Method::Ewma => state.spread.sqrt(),
        }
    }

    /// How far a value is from those before it; `None` while there are too few of them.
    pub(crate) fn score(&self, state: &State, value: f64) -> Option<f64> {
        let deviation = self.deviation(state).max(self.min_deviation);
        (state.count >= self.warm_up).then(|| (value - state.mean) / deviation)
    }

    /// The state with a value in it.
    pub(crate) fn learn(&self, state: State, value: f64) -> State {
        let count = state.count + 1;
        let step = value - state.mean;
        if count == 1 {
            return State { count, mean: value, spread: 0.0 };
        }
        let (mean, spread) = match self.method {
            Method::Zscore => {
                let mean = state.mean + step / count as f64;
                (mean, state.spread + step * (value - mean))
            }
            Method::Ewma => {
                let by = self.alpha * step;
                (state.mean + by, (1.0 - self.alpha) * (state.spread + step * by))
            }
        };
        State { count, mean, spread }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        method: Method::Zscore,
        alpha: 0.1,
        threshold: 3.0,
        warm_up: 5,
        min_deviation: 1e-9,
    };

    fn learnt(rule: &Rule, values: impl IntoIterator<Item = f64>) -> State {
        values.into_iter().fold(State::default(), |state, value| rule.learn(state, value))
    }

    #[test]
    fn mean_and_deviation_are_those_of_the_whole_series() {
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        // Far from zero, where the sum of squares would lose them.
        for shift in [0.0, 1e9] {
            let state = learnt(&RULE, values.map(|v| v + shift));
            assert!((state.mean - shift - 5.0).abs() < 1e-6, "{state:?}");
            let expected = (32.0_f64 / 7.0).sqrt();
            assert!((RULE.deviation(&state) - expected).abs() < 1e-6, "{state:?}");
        }
    }

    #[test]
    fn the_weighted_ones_follow_a_shift_and_the_others_do_not() {
        let series = || (0..200).map(|n| if n < 100 { 10.0 } else { 20.0 } + f64::from(n % 3));
        let ewma = Rule { method: Method::Ewma, ..RULE };
        assert!((learnt(&ewma, series()).mean - 21.0).abs() < 0.5);
        assert!((learnt(&RULE, series()).mean - 16.0).abs() < 0.5);
    }

    #[test]
    fn of_a_noisy_series_the_spike_is_found_and_nothing_else() {
        // Noise of a fixed linear congruential generator, even within ±1.
        let mut seed = 7_u32;
        let mut noise = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(seed >> 8) / f64::from(1_u32 << 23) - 1.0
        };
        for rule in [RULE, Rule { method: Method::Ewma, threshold: 4.0, ..RULE }] {
            let rule = Rule { warm_up: 50, ..rule };
            let mut state = State::default();
            let mut found = Vec::new();
            for n in 0..1_000 {
                let value = 50.0 + noise() + if n == 700 { 8.0 } else { 0.0 };
                if rule.score(&state, value).is_some_and(|s| s.abs() >= rule.threshold) {
                    found.push(n);
                }
                state = rule.learn(state, value);
            }
            assert_eq!(found, [700], "{rule:?}");
        }
    }

    #[test]
    fn a_series_without_noise_has_the_least_deviation() {
        let state = learnt(&RULE, [5.0; 10]);
        let rule = Rule { min_deviation: 0.5, ..RULE };
        assert_eq!(rule.score(&state, 6.0), Some(2.0));
        assert_eq!(rule.score(&learnt(&RULE, [5.0; 4]), 6.0), None);
    }

    #[test]
    fn rules_that_cannot_be_are_refused() {
        for rule in [
            Rule { alpha: 0.0, ..RULE },
            Rule { alpha: 1.0, ..RULE },
            Rule { threshold: 0.0, ..RULE },
            Rule { min_deviation: 0.0, ..RULE },
            Rule { warm_up: 1, ..RULE },
        ] {
            assert!(rule.check().is_err(), "{rule:?}");
        }
    }
}
