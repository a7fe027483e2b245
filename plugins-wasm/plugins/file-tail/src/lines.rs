//! Complete lines of a piece of a file.

/// What may be taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) lines: usize,
    pub(crate) bytes: usize,
}

/// What was taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) lines: usize,
    pub(crate) bytes: usize,
    /// Whether there may be more.
    pub(crate) more: bool,
}

/// Takes complete lines; a line that alone is longer than the bound is given out in pieces, since it
/// would be in the way for ever. Of a file that `ended`, what stands behind its last line is one too.
/// Bytes that are no UTF-8 become replacement characters.
pub(crate) fn cut(bytes: &[u8], bounds: Bounds, ended: bool, lines: &mut Vec<String>) -> Cut {
    let (mut at, mut count) = (0, 0);
    let is_full = bytes.len() >= bounds.bytes;
    while count < bounds.lines && at < bytes.len() {
        let rest = &bytes[at..];
        let (line, next) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&rest[..end], at + end + 1),
            None if (is_full && at == 0) || (ended && !is_full) => (rest, bytes.len()),
            None => break,
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        lines.push(String::from_utf8_lossy(line).into_owned());
        (at, count) = (next, count + 1);
    }
    Cut { lines: count, bytes: at, more: is_full || (at < bytes.len() && count >= bounds.lines) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str, lines: usize, bytes: usize, ended: bool) -> (Vec<String>, usize, bool) {
        let mut all = Vec::new();
        let piece = &text.as_bytes()[..text.len().min(bytes)];
        let cut = cut(piece, Bounds { lines, bytes }, ended, &mut all);
        assert_eq!(cut.lines, all.len());
        (all, cut.bytes, cut.more)
    }

    #[test]
    fn complete_lines_are_taken_and_no_others() {
        for (text, lines, bytes, ended, expected) in [
            ("a\nb\nc", 9, 99, false, (vec!["a", "b"], 4, false)),
            ("a\nb\nc", 9, 99, true, (vec!["a", "b", "c"], 5, false)),
            ("a\r\n\n", 9, 99, false, (vec!["a", ""], 4, false)),
            ("a\nb\n", 1, 99, false, (vec!["a"], 2, true)),
            ("a\nb\nlonger\n", 9, 6, false, (vec!["a", "b"], 4, true)),
            ("much longer than that\n", 9, 4, false, (vec!["much"], 4, true)),
            ("abc", 9, 99, false, (vec![], 0, false)),
            ("", 9, 99, false, (vec![], 0, false)),
        ] {
            let (all, at, more) = taken(text, lines, bytes, ended);
            assert_eq!(
                (all, at, more),
                (expected.0.iter().map(|l| (*l).to_owned()).collect(), expected.1, expected.2),
                "{text:?}"
            );
        }
    }
}
