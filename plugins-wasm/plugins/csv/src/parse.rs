//! A text taken apart: RFC 4180, and lines that end with LF alone.

use openclaw_plugin_sdk::{Error, Result};

use crate::{COLUMNS, ROWS};

/// A row, and the line in which it begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) line: usize,
    pub(crate) fields: Vec<String>,
}

/// All rows. Lines without anything are left out, and so is a byte order mark in front.
pub(crate) fn records(text: &str, delimiter: char, trim: bool) -> Result<Vec<Record>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { rest: text, line: 1, delimiter, trim };
    let mut records = Vec::new();
    while !reader.rest.is_empty() {
        let line = reader.line;
        let fields = reader.record()?;
        if fields.len() == 1 && fields[0].is_empty() {
            continue;
        }
        if records.len() > ROWS || fields.len() > COLUMNS {
            let message = format!("at most {ROWS} rows of {COLUMNS} columns; cut the text");
            return Err(Error::new("user.too_large", message));
        }
        records.push(Record { line, fields });
    }
    Ok(records)
}

struct Reader<'t> {
    rest: &'t str,
    line: usize,
    delimiter: char,
    trim: bool,
}

impl Reader<'_> {
    fn record(&mut self) -> Result<Vec<String>> {
        let mut fields = Vec::new();
        loop {
            fields.push(self.field()?);
            if let Some(rest) = self.rest.strip_prefix(self.delimiter) {
                self.rest = rest;
                continue;
            }
            if let Some(rest) =
                self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix('\n'))
            {
                self.rest = rest;
                self.line += 1;
            }
            return Ok(fields);
        }
    }

    fn field(&mut self) -> Result<String> {
        let start = if self.trim { self.rest.trim_start_matches([' ', '\t']) } else { self.rest };
        if let Some(quoted) = start.strip_prefix('"') {
            self.rest = quoted;
            return self.quoted();
        }
        let is_end = |c: char| c == self.delimiter || c == '\n';
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let (field, rest) = self.rest.split_at(end);
        let is_line_end = !rest.starts_with(self.delimiter);
        let (field, rest) = match field.strip_suffix('\r') {
            Some(field) if is_line_end => (field, &self.rest[end - 1..]),
            _ => (field, rest),
        };
        // A carriage return at the end of the text is the end of its line.
        self.rest = if rest == "\r" { "" } else { rest };
        Ok(if self.trim { field.trim().to_owned() } else { field.to_owned() })
    }

    /// The rest of a field behind its first quote.
    fn quoted(&mut self) -> Result<String> {
        let begun = self.line;
        let mut field = String::new();
        loop {
            let Some(end) = self.rest.find('"') else {
                return Err(fault(begun, "a quote is never closed"));
            };
            let (part, rest) = self.rest.split_at(end);
            field.push_str(part);
            self.line += part.matches('\n').count();
            let rest = &rest[1..];
            if let Some(more) = rest.strip_prefix('"') {
                field.push('"');
                self.rest = more;
                continue;
            }
            self.rest = if self.trim { rest.trim_start_matches([' ', '\t']) } else { rest };
            let ends = ["\n", "\r\n"].iter().any(|end| self.rest.starts_with(end));
            if self.rest.is_empty() || ends || self.rest.starts_with(self.delimiter) {
                return Ok(field);
            }
            return Err(fault(
                self.line,
                "something follows a closing quote; double a quote inside",
            ));
        }
    }
}

fn fault(line: usize, what: &str) -> Error {
    Error::new("user.csv", format!("line {line}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<Vec<String>> {
        let records = records(text, ',', false).unwrap_or_else(|e| panic!("{e}"));
        records.into_iter().map(|record| record.fields).collect()
    }

    #[test]
    fn texts_are_taken_apart() {
        for (text, expected) in [
            ("a,b\r\nc,d\r\n", vec![vec!["a", "b"], vec!["c", "d"]]),
            ("a,b\nc,d", vec![vec!["a", "b"], vec!["c", "d"]]),
            ("\"a,1\",\"b\"\"q\"\"\"\n", vec![vec!["a,1", "b\"q\""]]),
            ("\"two\nlines\",x\n", vec![vec!["two\nlines", "x"]]),
            (",\n", vec![vec!["", ""]]),
            ("a\n\n\nb\n", vec![vec!["a"], vec!["b"]]),
            ("\u{feff}a\n", vec![vec!["a"]]),
            ("a,b\r", vec![vec!["a", "b"]]),
            ("a\rb,c\n", vec![vec!["a\rb", "c"]]),
            ("\"\"\n", vec![]),
            ("é,ü", vec![vec!["é", "ü"]]),
            ("", vec![]),
        ] {
            assert_eq!(fields(text), expected, "{text:?}");
        }
    }

    #[test]
    fn blanks_are_cut_off_where_that_is_wanted() {
        let records = records(" a ; \"b \" ;c\n", ';', true).map(|mut all| all.remove(0).fields);
        assert_eq!(records, Ok(vec!["a".to_owned(), "b ".to_owned(), "c".to_owned()]));
    }

    #[test]
    fn lines_are_counted_through_quotes() {
        let all = records("\"a\nb\"\nc\n", ',', false).unwrap_or_default();
        assert_eq!(all.iter().map(|r| r.line).collect::<Vec<_>>(), [1, 3]);
        for (text, line) in [("a\n\"b", "line 2"), ("\"a\"x", "line 1"), ("\"a\nb\"x", "line 2")] {
            let error = records(text, ',', false).map_err(|e| e.message).err().unwrap_or_default();
            assert!(error.contains(line), "{text}: {error}");
        }
    }
}
