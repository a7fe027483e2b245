//! What a command prints: a table for people, JSON or YAML for programs.

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::exit::{FAILED, Failure};

/// The form of a command's data on standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// The API's own shapes.
    Json,
    /// The same, as YAML.
    Yaml,
}

/// Prints data: as a table by `rows`, or whole as JSON or YAML.
pub(crate) fn print<T: Serialize>(
    format: Format,
    data: &T,
    header: &[&str],
    rows: impl FnOnce(&T) -> Vec<Vec<String>>,
) -> Result<(), Failure> {
    match format {
        Format::Table => print_table(header, rows(data)),
        Format::Json => {
            let text = serde_json::to_string_pretty(data).map_err(unprintable)?;
            println!("{text}");
        }
        Format::Yaml => {
            let text = serde_saphyr::to_string(data).map_err(unprintable)?;
            print!("{text}");
        }
    }
    Ok(())
}

fn unprintable(error: impl std::fmt::Display) -> Failure {
    Failure::new(FAILED, format!("cannot print the answer: {error}"))
}

fn print_table(header: &[&str], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        eprintln!("nothing found");
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|h| h.to_uppercase()));
    for row in rows {
        table.add_row(row.into_iter().map(|cell| printable(&cell)));
    }
    println!("{}", table.trim_fmt());
}

/// Text from devices and people with control characters made visible, so that it cannot play
/// with the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A time of the API, or a dash.
pub(crate) fn time(at: Option<&String>) -> String {
    at.map_or_else(|| "-".to_owned(), |text| text.replace('T', " "))
}

/// Any serializable value's plain name, such as `completed`.
pub(crate) fn name_of(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => "?".to_owned(),
    }
}

/// Labels as `a=b,c=d`.
pub(crate) fn labels(labels: &std::collections::BTreeMap<String, String>) -> String {
    if labels.is_empty() {
        return "-".to_owned();
    }
    labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
}
