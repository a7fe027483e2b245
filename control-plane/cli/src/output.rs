//! What a command prints: a table for people, JSON or YAML for programs.

use std::io::Write as _;

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
            say(&(text + "\n"))
        }
        Format::Yaml => say(&serde_saphyr::to_string(data).map_err(unprintable)?),
    }
}

/// Writes to standard output. A reader that has seen enough, such as `head`, is no failure.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn unprintable(error: impl std::fmt::Display) -> Failure {
    Failure::new(FAILED, format!("cannot print the answer: {error}"))
}

fn print_table(header: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    if rows.is_empty() {
        eprintln!("nothing found");
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|h| h.to_uppercase()));
    for row in rows {
        table.add_row(row.into_iter().map(|cell| printable(&cell)));
    }
    say(&format!("{}\n", table.trim_fmt()))
}

/// Text from devices and people with control characters made visible, so that it cannot play
/// with the terminal; those that change the direction of writing (UAX 9) as well.
pub(crate) fn printable(text: &str) -> String {
    let plays =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if plays(c) { '\u{fffd}' } else { c }).collect()
}

/// The same for a text of several lines, which stay lines.
pub(crate) fn printable_lines(text: &str) -> String {
    text.lines().map(|line| printable(&line.replace('\t', "    "))).collect::<Vec<_>>().join("\n")
}

/// Says that something was done: on standard error, or as data where that was asked for.
pub(crate) fn done<T: Serialize>(format: Format, data: &T, text: &str) -> Result<(), Failure> {
    if format == Format::Table {
        eprintln!("{}", printable(text));
        return Ok(());
    }
    print(format, data, &[], |_| Vec::new())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_plays_with_the_terminal() {
        let text = "a\u{1b}[2Jb\u{9b}31mc\u{7}d\ne\u{202e}f";
        let shown = printable(text);
        assert_eq!(shown.matches('\u{fffd}').count(), 5, "{shown:?}");
        assert!(!shown.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\n']));
        assert_eq!(printable_lines("a: 1\n\tb\u{1b}"), "a: 1\n    b\u{fffd}");
    }
}
