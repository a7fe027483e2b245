//! Parses and formats comma-separated values (RFC 4180), with other delimiters and typed columns.

mod format;
mod parse;
mod types;

use std::collections::BTreeMap;

use openclaw_plugin_sdk::{Error, Result, export};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::types::Type;

/// Rows of one call.
const ROWS: usize = 10_000;
/// Columns of a row.
const COLUMNS: usize = 1_000;

/// A text to parse.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParseInput {
    text: String,
    #[serde(default = "comma")]
    delimiter: char,
    /// Whether the first row has the names of the columns.
    #[serde(default = "yes")]
    header: bool,
    /// Names of the columns, in place of those of a header.
    #[serde(default)]
    columns: Option<Vec<String>>,
    /// Types by column; the others stay texts.
    #[serde(default)]
    types: BTreeMap<String, Type>,
    /// Whether blanks around a field that is not quoted are cut off.
    #[serde(default)]
    trim: bool,
}

/// What was parsed.
#[derive(Debug, Serialize)]
pub struct ParseOutput {
    columns: Vec<String>,
    rows: Vec<Value>,
    count: usize,
}

/// Rows to format.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormatInput {
    /// Objects, or arrays.
    rows: Vec<Value>,
    /// The columns and their order; of objects those of the first where absent.
    #[serde(default)]
    columns: Option<Vec<String>>,
    #[serde(default = "comma")]
    delimiter: char,
    #[serde(default = "yes")]
    header: bool,
    /// Whether lines end with CR LF, as RFC 4180 has it, and not with LF.
    #[serde(default)]
    crlf: bool,
}

/// What was formatted.
#[derive(Debug, Serialize)]
pub struct FormatOutput {
    text: String,
    count: usize,
}

export!(parse, |input: ParseInput| parsed(input));
export!(format, |input: FormatInput| formatted(&input));

/// Parses a text.
///
/// # Errors
/// `user.csv` for a text that is none, with its line; `user.csv_type` for a field that is not of its
/// column's type; `user.too_large`; `inputs.invalid`.
fn parsed(input: ParseInput) -> Result<ParseOutput> {
    check_delimiter(input.delimiter)?;
    let mut records = parse::records(&input.text, input.delimiter, input.trim)?.into_iter();
    let header = if input.header { records.next().map(|record| record.fields) } else { None };
    let columns = input.columns.or(header);
    let Some(columns) = columns else {
        if !input.types.is_empty() {
            return Err(invalid("`types` needs names: set `header` or `columns`"));
        }
        let rows: Vec<Value> = records.map(|record| record.fields.into()).collect();
        return Ok(ParseOutput { columns: Vec::new(), count: rows.len(), rows });
    };
    if let Some(missing) = input.types.keys().find(|name| !columns.contains(name)) {
        return Err(invalid(&format!("`types` names the column `{missing}`, which is not there")));
    }
    let kinds: Vec<Type> =
        columns.iter().map(|name| input.types.get(name).copied().unwrap_or_default()).collect();
    let mut rows = Vec::new();
    for record in records {
        let line = record.line;
        if record.fields.len() != columns.len() {
            let (got, wanted) = (record.fields.len(), columns.len());
            let message = format!("line {line} has {got} fields, there are {wanted} columns");
            return Err(Error::new("user.csv", message));
        }
        let mut row = Map::new();
        for ((name, kind), field) in columns.iter().zip(&kinds).zip(record.fields) {
            let value = kind.value(field).map_err(|field| {
                let message = format!("line {line}, column `{name}`: `{field}` is no {kind:?}");
                Error::new("user.csv_type", message.to_ascii_lowercase())
            })?;
            row.insert(name.clone(), value);
        }
        rows.push(Value::Object(row));
    }
    Ok(ParseOutput { columns, count: rows.len(), rows })
}

/// Formats rows.
///
/// # Errors
/// `inputs.invalid` for rows that are neither objects nor arrays, or both; `user.too_large`.
fn formatted(input: &FormatInput) -> Result<FormatOutput> {
    check_delimiter(input.delimiter)?;
    if input.rows.len() > ROWS {
        return Err(Error::new("user.too_large", format!("at most {ROWS} rows")));
    }
    let of_first = || match input.rows.first() {
        Some(Value::Object(first)) => Some(first.keys().cloned().collect()),
        _ => None,
    };
    let columns: Option<Vec<String>> = input.columns.clone().or_else(of_first);
    let mut writer = format::Writer::new(input.delimiter, input.crlf);
    if let Some(columns) = columns.as_ref().filter(|_| input.header) {
        writer.row(columns.iter().map(|name| Some(name.as_str().into())));
    }
    for (index, row) in input.rows.iter().enumerate() {
        match (row, &columns) {
            (Value::Object(row), Some(columns)) => {
                writer.row(columns.iter().map(|name| row.get(name).and_then(format::field)));
            }
            (Value::Array(fields), _) => writer.row(fields.iter().map(format::field)),
            _ => {
                let message = format!("row {index} is neither an object nor an array");
                return Err(invalid(&message));
            }
        }
    }
    Ok(FormatOutput { text: writer.text, count: input.rows.len() })
}

fn check_delimiter(delimiter: char) -> Result<()> {
    if matches!(delimiter, '"' | '\r' | '\n') {
        return Err(invalid("a delimiter is no quote and no end of a line"));
    }
    Ok(())
}

fn invalid(message: &str) -> Error {
    Error::new("inputs.invalid", message)
}

const fn comma() -> char {
    ','
}

const fn yes() -> bool {
    true
}
