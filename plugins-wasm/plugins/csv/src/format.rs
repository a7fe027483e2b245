//! Rows put together to a text.

use std::borrow::Cow;

use serde_json::Value;

/// A text being written.
pub(crate) struct Writer {
    pub(crate) text: String,
    delimiter: char,
    end: &'static str,
}

impl Writer {
    pub(crate) const fn new(delimiter: char, crlf: bool) -> Self {
        let end = if crlf { "\r\n" } else { "\n" };
        Self { text: String::new(), delimiter, end }
    }

    pub(crate) fn row<'f>(&mut self, fields: impl Iterator<Item = Option<Cow<'f, str>>>) {
        let from = self.text.len();
        for (index, field) in fields.enumerate() {
            if index > 0 {
                self.text.push(self.delimiter);
            }
            self.field(&field.unwrap_or_default());
        }
        // One field without anything would be a line without a row.
        if self.text.len() == from {
            self.text.push_str("\"\"");
        }
        self.text.push_str(self.end);
    }

    fn field(&mut self, field: &str) {
        let blank = |c: char| c == ' ' || c == '\t';
        let quoted = field.contains(['"', '\r', '\n', self.delimiter])
            || field.starts_with(blank)
            || field.ends_with(blank);
        if !quoted {
            return self.text.push_str(field);
        }
        self.text.push('"');
        self.text.push_str(&field.replace('"', "\"\""));
        self.text.push('"');
    }
}

/// A value as a field; `null` is an empty one, and what has parts is JSON.
pub(crate) fn field(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.into()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Some(value.to_string().into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::records;

    #[test]
    fn what_is_written_is_read_again() {
        let rows = [vec!["a,b", "c\"d", "e\nf"], vec!["", " g ", "h"], vec![""], vec!["\r", "\t"]];
        for (delimiter, crlf) in [(',', false), (';', true), ('\t', false)] {
            let mut writer = Writer::new(delimiter, crlf);
            for row in &rows {
                writer.row(row.iter().map(|field| Some((*field).into())));
            }
            let back = records(&writer.text, delimiter, false).unwrap_or_default();
            let back: Vec<Vec<String>> = back.into_iter().map(|record| record.fields).collect();
            // A row of one empty field cannot be told from no row.
            assert_eq!(back, [rows[0].clone(), rows[1].clone(), rows[3].clone()]);
        }
    }
}
