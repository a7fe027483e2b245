//! Windows over values, and what is said of the values in one.

use serde::Serialize;

use crate::Percentiles;

/// Values of one window. As JSON they stay under the 64 KiB of a remembered value.
pub(crate) const SAMPLES: usize = 1_000;

/// Which values belong together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Window {
    /// So many, then anew.
    Count(usize),
    /// Those of the same stretch of time; stretches begin at multiples of their length.
    Duration(i64),
    /// The last so many.
    LastCount(usize),
    /// Those that are not older than this.
    LastDuration(i64),
}

impl Window {
    pub(crate) fn new(
        count: Option<usize>,
        duration_ms: Option<i64>,
        sliding: bool,
    ) -> Result<Self, String> {
        match (count, duration_ms) {
            (Some(n), None) if (1..=SAMPLES).contains(&n) => {
                Ok(if sliding { Self::LastCount(n) } else { Self::Count(n) })
            }
            (Some(n), None) => Err(format!("`window.count` is 1 to {SAMPLES}, not {n}")),
            (None, Some(ms)) if ms > 0 => {
                Ok(if sliding { Self::LastDuration(ms) } else { Self::Duration(ms) })
            }
            (None, Some(ms)) => Err(format!("`window.duration_ms` is 1 or more, not {ms}")),
            _ => Err("give either `window.count` or `window.duration_ms`".to_owned()),
        }
    }

    /// Adds a value, and hands out a window that is full.
    pub(crate) fn add(
        self,
        samples: &mut Vec<(i64, f64)>,
        at: i64,
        value: f64,
        mut full: impl FnMut(&[(i64, f64)]),
    ) -> Result<(), String> {
        // What comes late counts as what came last, so that times never go back.
        let at = samples.last().map_or(at, |(last, _)| at.max(*last));
        if let Self::Duration(ms) = self
            && samples.first().is_some_and(|(first, _)| first.div_euclid(ms) != at.div_euclid(ms))
        {
            full(samples);
            samples.clear();
        }
        if let Self::LastDuration(ms) = self {
            samples.retain(|(t, _)| at - t < ms);
        }
        if samples.len() >= SAMPLES && !matches!(self, Self::LastCount(_)) {
            return Err(format!(
                "{SAMPLES} values are in the open window; make it shorter, or send fewer values"
            ));
        }
        samples.push((at, value));
        match self {
            Self::Count(n) if samples.len() >= n => {
                full(samples);
                samples.clear();
            }
            Self::LastCount(n) => drop(samples.drain(..samples.len().saturating_sub(n))),
            Self::Count(_) | Self::Duration(_) | Self::LastDuration(_) => {}
        }
        Ok(())
    }
}

/// What is said of the values in a window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Stats {
    count: usize,
    min: f64,
    max: f64,
    mean: f64,
    sum: f64,
    first_ms: i64,
    last_ms: i64,
    #[serde(skip_serializing_if = "Percentiles::is_empty")]
    percentiles: Percentiles,
}

impl Stats {
    /// `None` of no values.
    pub(crate) fn of(samples: &[(i64, f64)], percentiles: &[f64]) -> Option<Self> {
        let (first_ms, last_ms) = (samples.first()?.0, samples.last()?.0);
        let mut values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        let sum = compensated(samples.iter().map(|(_, value)| *value));
        let named = |p: &f64| (format!("p{p}"), percentile(&values, *p));
        Some(Self {
            count: values.len(),
            min: values[0],
            max: values[values.len() - 1],
            mean: sum / values.len() as f64,
            sum,
            first_ms,
            last_ms,
            percentiles: percentiles.iter().map(named).collect(),
        })
    }
}

pub(crate) fn check_percentiles(percentiles: &[f64]) -> Result<(), String> {
    if percentiles.len() > 10 {
        return Err("at most 10 percentiles".to_owned());
    }
    let bad = percentiles.iter().find(|p| !(0.0..=100.0).contains(*p));
    bad.map_or(Ok(()), |p| Err(format!("a percentile is 0 to 100, not {p}")))
}

/// Between the two values that it lies between, as spreadsheets have it.
fn percentile(sorted: &[f64], p: f64) -> f64 {
    let place = p / 100.0 * (sorted.len() - 1) as f64;
    let below = place as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// A sum that does not lose small values among large ones (Neumaier).
fn compensated(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = sum + value;
        lost += if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
        sum = next;
    }
    sum + lost
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts of the windows that become full, and of the one that is open then.
    fn run(window: Window, series: &[(i64, f64)]) -> (Vec<usize>, usize) {
        let (mut samples, mut closed) = (Vec::new(), Vec::new());
        for (at, value) in series {
            assert_eq!(window.add(&mut samples, *at, *value, |w| closed.push(w.len())), Ok(()));
        }
        (closed, samples.len())
    }

    #[test]
    fn windows_close_when_they_are_full_or_over() {
        let series: Vec<(i64, f64)> = (0..10).map(|n| (n * 1_000 + 500, n as f64)).collect();
        assert_eq!(run(Window::Count(4), &series), (vec![4, 4], 2));
        assert_eq!(run(Window::Duration(3_000), &series), (vec![3, 3, 3], 1));
        assert_eq!(run(Window::LastCount(4), &series), (vec![], 4));
        assert_eq!(run(Window::LastDuration(3_000), &series), (vec![], 3));
    }

    #[test]
    fn a_clock_that_goes_back_mixes_no_windows() {
        let series = [(5_000, 1.0), (4_000, 2.0), (6_000, 3.0)];
        assert_eq!(run(Window::Duration(1_000), &series), (vec![2], 1));
    }

    #[test]
    fn a_window_is_bounded() {
        let mut samples: Vec<(i64, f64)> = vec![(0, f64::MIN); SAMPLES];
        assert!(Window::Duration(10).add(&mut samples, 1, 1.0, |_| ()).is_err());
        assert_eq!(Window::LastCount(SAMPLES).add(&mut samples, 1, 1.0, |_| ()), Ok(()));
        assert_eq!(samples.len(), SAMPLES);
        let long = vec![(i64::from(i32::MAX) * 1_000, -1.234_567_890_123_456_7e-300); SAMPLES];
        assert!(serde_json::to_vec(&long).is_ok_and(|json| json.len() < 64 * 1024));
    }

    #[test]
    fn what_is_said_is_right() {
        let samples: Vec<(i64, f64)> = [4.0, 1.0, 3.0, 2.0].map(|v| (7, v)).to_vec();
        let stats = Stats::of(&samples, &[0.0, 50.0, 90.0, 100.0]);
        let named = [("p0", 1.0), ("p50", 2.5), ("p90", 3.7), ("p100", 4.0)];
        let percentiles = named.map(|(name, v)| (name.to_owned(), v)).into();
        let (min, max, mean, sum) = (1.0, 4.0, 2.5, 10.0);
        let (count, first_ms, last_ms) = (4, 7, 7);
        assert_eq!(
            stats,
            Some(Stats { count, min, max, mean, sum, first_ms, last_ms, percentiles })
        );
        assert_eq!(Stats::of(&[], &[]), None);
    }

    #[test]
    fn a_sum_keeps_what_is_small() {
        assert_eq!(compensated([1e16, 1.0, -1e16].into_iter()), 1.0);
    }
}
