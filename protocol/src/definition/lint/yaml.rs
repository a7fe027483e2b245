//! Words and numbers that YAML 1.1 tools, which are most, read as something else.

use super::{Code, Report};
use crate::definition::draft::{Node, Place};

/// YAML 1.1's truth values beside `true` and `false` (<https://yaml.org/type/bool.html>).
const TRUTHS: [&str; 16] = [
    "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off",
    "OFF",
];

/// Looks at every plain scalar, keys as well.
pub(super) fn yaml11(text: &str, tree: &Node, report: &mut Report) {
    let lines: Vec<&str> = text.lines().collect();
    search(&lines, tree, report);
}

/// At most as deep as values may be nested.
fn search(lines: &[&str], node: &Node, report: &mut Report) {
    if let Some(scalar) = node.scalar() {
        look(lines, node.at, &scalar.text, report);
    }
    for item in node.list().unwrap_or_default() {
        search(lines, item, report);
    }
    for entry in node.map().unwrap_or_default() {
        look(lines, entry.at, &entry.key, report);
        search(lines, &entry.value, report);
    }
}

fn look(lines: &[&str], at: Place, text: &str, report: &mut Report) {
    let read_as = if TRUTHS.contains(&text) {
        let truth = matches!(text.to_lowercase().as_str(), "y" | "yes" | "on");
        truth.to_string()
    } else if is_sexagesimal(text) {
        "a number to the base of 60".to_owned()
    } else if is_octal(text) {
        "an octal number".to_owned()
    } else if is_underscored(text) {
        "a number without the underscores".to_owned()
    } else {
        return;
    };
    if !is_plain(lines, at, text) {
        return;
    }
    let message = format!("`{text}` is read as {read_as} by tools of YAML 1.1");
    report.add(Code::Yaml11, at, message, format!("put it in quotes: \"{text}\""));
}

/// Whether a scalar stands there without quotes.
fn is_plain(lines: &[&str], at: Place, text: &str) -> bool {
    let fit = |n: u32| usize::try_from(n).unwrap_or(usize::MAX).saturating_sub(1);
    let line = lines.get(fit(at.line)).copied().unwrap_or_default();
    let from = line.char_indices().nth(fit(at.column)).map_or("", |(start, _)| &line[start..]);
    from.starts_with(text)
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`, such as `12:30:00`.
fn is_sexagesimal(text: &str) -> bool {
    let mut parts = unsigned(text).split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else { return false };
    let sixty = |part: &str| {
        (1..=2).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_digit())
            && part.parse::<u8>().is_ok_and(|n| n < 60)
    };
    let (whole, fraction) = last.split_once('.').unwrap_or((last, ""));
    is_digits(first)
        && middle.iter().all(|part| sixty(part))
        && sixty(whole)
        && fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_')
}

/// `017` is 15 there and 17 here.
fn is_octal(text: &str) -> bool {
    let digits = unsigned(text);
    digits.len() > 1
        && digits.starts_with('0')
        && digits.bytes().all(|b| (b'0'..=b'7').contains(&b))
}

/// `1_000` is a number there and a text here.
fn is_underscored(text: &str) -> bool {
    text.contains('_') && is_digits(unsigned(text))
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['+', '-']).unwrap_or(text)
}

fn is_digits(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'_')
}
