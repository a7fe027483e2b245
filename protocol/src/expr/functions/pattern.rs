//! Regular expressions of `matches`: linear in the text, compiled with the expression.

use crate::expr::budget::{Budget, PATTERN_BYTES, PATTERN_STATES};
use crate::expr::error::Fault;
use crate::expr::value::Value;

/// Far above what [`PATTERN_STATES`] states take on any machine: a second fence.
const COMPILED_BYTES: usize = 1024 * 1024;

/// A compiled pattern and what matching costs.
#[derive(Debug)]
pub(in crate::expr) struct Pattern {
    regex: regex_lite::Regex,
    /// An upper estimate of the automaton's states, the same on every machine.
    states: usize,
}

impl Pattern {
    /// Compiles a pattern, or says why not.
    pub(in crate::expr) fn compile(pattern: &str) -> Result<Self, String> {
        if pattern.len() > PATTERN_BYTES {
            return Err(format!("the pattern is longer than {PATTERN_BYTES} bytes"));
        }
        if has_verbose_flag(pattern) {
            return Err("the flag `x` is not part of the language".to_owned());
        }
        let states = estimate_states(pattern);
        if states > PATTERN_STATES {
            return Err("the pattern repeats too much".to_owned());
        }
        let regex = regex_lite::RegexBuilder::new(pattern)
            .size_limit(COMPILED_BYTES)
            .build()
            .map_err(|error| format!("the pattern is not valid: {error}"))?;
        Ok(Self { regex, states })
    }

    /// Whether some part of the text matches.
    pub(in crate::expr) fn matches(
        &self,
        budget: &mut Budget,
        text: Option<&Value>,
    ) -> Result<Value, Fault> {
        let text = text.unwrap_or(&Value::Null);
        let text = text.as_str().ok_or_else(|| super::expected("text", text))?;
        // The automaton may look at each of its states for each byte, which is slower than reading.
        budget.touch(text.len().saturating_mul(self.states).saturating_mul(4))?;
        Ok(Value::Bool(self.regex.is_match(text)))
    }
}

/// Counts the states of a pattern from its text: one for each byte, times the counts of the
/// repetitions around it. More than the automaton has, but never fewer by more than a constant.
fn estimate_states(pattern: &str) -> usize {
    let mut groups = vec![0_usize];
    let mut last = 0_usize;
    let mut at = 0;
    let bytes = pattern.as_bytes();
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'(' => {
                groups.push(1);
                last = 0;
            }
            b')' => {
                last = if groups.len() > 1 { groups.pop().unwrap_or(0) + 1 } else { 1 };
                add(&mut groups, last);
            }
            b'{' => {
                let length = bytes[at..].iter().position(|byte| *byte == b'}').unwrap_or(0);
                let count = largest_number(&bytes[at..at + length]).max(1);
                // The repeated part is already counted once.
                add(&mut groups, last.saturating_mul(count - 1).saturating_add(1));
                last = last.saturating_mul(count);
                at += length;
            }
            b'\\' => {
                at += 1;
                last = 2;
                add(&mut groups, last);
            }
            b'[' => {
                let length = class_length(&bytes[at..]);
                at += length;
                last = length + 1;
                add(&mut groups, last);
            }
            _ => {
                let quantifier = matches!(byte, b'*' | b'+' | b'?');
                last = if quantifier { last.saturating_add(1) } else { 1 };
                add(&mut groups, 1);
            }
        }
    }
    groups.into_iter().fold(0, usize::saturating_add)
}

/// Whether a group sets the flag under which blanks and comments may stand before a repetition,
/// where the estimate would not see what is repeated.
fn has_verbose_flag(pattern: &str) -> bool {
    pattern.split("(?").skip(1).any(|group| {
        let flags = group.chars().take_while(|c| c.is_ascii_alphabetic() || *c == '-');
        flags.filter(|c| *c == 'x').count() > 0
    })
}

fn add(groups: &mut [usize], states: usize) {
    if let Some(innermost) = groups.last_mut() {
        *innermost = innermost.saturating_add(states);
    }
}

/// Bytes up to the bracket that closes a class, or 0 where none does.
fn class_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    let mut depth = 1;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\\' => at += 1,
            b'[' => depth += 1,
            b']' if at > 1 => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    0
}

fn largest_number(bytes: &[u8]) -> usize {
    let digits = bytes.split(|byte| !byte.is_ascii_digit());
    let numbers = digits.filter_map(|run| std::str::from_utf8(run).ok()?.parse().ok());
    numbers.max().unwrap_or(1)
}
