//! Whether a failed attempt is followed by another, and after how long.

use openclaw_protocol::definition::{Backoff, Jitter, Retry};
use openclaw_protocol::run::RunError;

/// Waits are cut here even where the author names no cap: about 30 days.
const MAX_WAIT_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

/// The place of the first policy that is for this error.
pub(crate) fn policy_for(policies: &[Retry], error: &RunError) -> Option<usize> {
    policies.iter().position(|policy| retries(policy, error))
}

/// Whether one of these patterns is for an error of this code; none stands for `*`.
pub(crate) fn catches(patterns: &[String], code: &str) -> bool {
    if patterns.is_empty() {
        return matches("*", code);
    }
    patterns.iter().any(|pattern| matches(pattern, code))
}

/// Whether `error` is one that this policy retries. Patterns decide; where the author wrote
/// none, `*` does, and only for errors that another attempt could help.
fn retries(policy: &Retry, error: &RunError) -> bool {
    if policy.not_errors.iter().any(|pattern| matches(pattern, &error.code)) {
        return false;
    }
    if policy.errors.is_empty() {
        return error.retryable && matches("*", &error.code);
    }
    policy.errors.iter().any(|pattern| matches(pattern, &error.code))
}

/// `code`, `prefix.*` or `*`. The lone star does not stand for what no repetition mends.
fn matches(pattern: &str, code: &str) -> bool {
    if pattern == "*" {
        return code != "cancelled" && !code.starts_with("limit.") && !code.starts_with("replay.");
    }
    match pattern.strip_suffix(".*") {
        Some(prefix) => code.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')),
        None => pattern == code,
    }
}

/// The wait before the n-th retry (from 1), in milliseconds. `draw(bound)` gives a number in
/// `0..=bound`.
pub(crate) fn wait_ms(policy: &Retry, n: u32, draw: impl FnOnce(u64) -> u64) -> u64 {
    let base = policy.delay_ms;
    let grown = match policy.backoff {
        Backoff::Constant => base,
        Backoff::Linear => base.saturating_mul(u64::from(n)),
        Backoff::Exponential => exponential(base, policy.factor, n),
    };
    let capped = grown.min(policy.max_delay_ms.unwrap_or(MAX_WAIT_MS)).min(MAX_WAIT_MS);
    match policy.jitter {
        Jitter::None => capped,
        Jitter::Full => draw(capped),
        Jitter::Equal => capped / 2 + draw(capped - capped / 2),
    }
}

/// `base * factor^(n-1)`. Repeated multiplication instead of `powi`, whose result may differ in
/// the last bit from machine to machine.
fn exponential(base: u64, factor: f64, n: u32) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds up to 2^53 are exact")]
    let mut wait = base as f64;
    #[expect(clippy::cast_precision_loss, reason = "a bound, not a value")]
    let most = MAX_WAIT_MS as f64;
    // Nobody lives to see more doublings than this; it bounds the work for a factor of one.
    for _ in 1..n.min(100_000) {
        wait *= factor;
        if !(0.0..most).contains(&wait) {
            break;
        }
    }
    // `NaN` and negative factors end at no wait, infinity at the cap.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    if wait.is_nan() { 0 } else { wait.clamp(0.0, most) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(backoff: Backoff) -> Retry {
        Retry {
            max_retries: 5,
            backoff,
            delay_ms: 1_000,
            factor: 2.0,
            max_delay_ms: Some(5_000),
            jitter: Jitter::None,
            errors: Vec::new(),
            not_errors: Vec::new(),
            max_elapsed_ms: None,
        }
    }

    fn waits(policy: &Retry) -> Vec<u64> {
        (1..=4).map(|n| wait_ms(policy, n, |bound| bound)).collect()
    }

    #[test]
    fn waits_grow_as_written_and_stop_at_the_cap() {
        assert_eq!(waits(&policy(Backoff::Constant)), [1_000, 1_000, 1_000, 1_000]);
        assert_eq!(waits(&policy(Backoff::Linear)), [1_000, 2_000, 3_000, 4_000]);
        assert_eq!(waits(&policy(Backoff::Exponential)), [1_000, 2_000, 4_000, 5_000]);
    }

    #[test]
    fn jitter_stays_within_its_part() {
        let full = Retry { jitter: Jitter::Full, ..policy(Backoff::Constant) };
        assert_eq!(wait_ms(&full, 1, |_| 0), 0);
        let equal = Retry { jitter: Jitter::Equal, ..policy(Backoff::Constant) };
        assert_eq!(wait_ms(&equal, 1, |_| 0), 500);
        assert_eq!(wait_ms(&equal, 1, |bound| bound), 1_000);
    }

    #[test]
    fn odd_factors_do_no_harm() {
        for factor in [f64::NAN, f64::INFINITY, -3.0, 1e300] {
            let odd = Retry { factor, max_delay_ms: None, ..policy(Backoff::Exponential) };
            assert!(wait_ms(&odd, u32::MAX, |bound| bound) <= MAX_WAIT_MS, "{factor}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, code, expected) in [
            ("*", "plugin.error", true),
            ("*", "cancelled", false),
            ("*", "limit.payload", false),
            ("*", "replay.mismatch", false),
            ("plugin.*", "plugin.error", true),
            ("plugin.*", "plugin", false),
            ("plugin.*", "pluginx.error", false),
            ("timeout", "timeout", true),
            ("timeout", "timeouts", false),
            ("limit.*", "limit.payload", true),
        ] {
            assert_eq!(matches(pattern, code), expected, "{pattern} {code}");
        }
    }
}
