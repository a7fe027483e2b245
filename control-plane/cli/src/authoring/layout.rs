//! The formatter: one layout for all documents, and not a word or comment lost.
//!
//! A text is read as YAML events with their comments, kept as a tree of the very words of the source
//! ([`read`]), and written again ([`write`]): two blanks for each level, lists and maps in one line
//! where they were and fit, comments where they stood, single empty lines kept. What comes out is read
//! again and compared, workflow and comments, before anybody gets to see it.

mod read;
#[cfg(test)]
mod tests;
mod write;

use openclaw_protocol::definition;
use serde_json::Value as Json;

/// Why a text cannot be formatted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unformatted {
    /// It cannot even be read.
    #[error("it is no YAML: {0}")]
    Unreadable(String),
    /// It has something that this formatter cannot keep.
    #[error("line {line}: {what}, which the formatter cannot keep")]
    Unkept {
        /// From 1.
        line: usize,
        /// What it is.
        what: &'static str,
    },
    /// What came out means something else.
    #[error("the formatter would change what it means; please report this, with the document")]
    Changed,
}

/// Formats a document, which may be of any content.
///
/// # Errors
/// It cannot be read, or not be written again without changing it.
pub(crate) fn format(text: &str) -> Result<String, Unformatted> {
    let document = read::read(text)?;
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    let formatted = if is_json { write::json(&document) } else { write::yaml(&document) };
    let again = read::read(&formatted)?;
    let same = document.comments() == again.comments()
        && value(text) == value(&formatted)
        && meaning(text) == meaning(&formatted);
    if same { Ok(formatted) } else { Err(Unformatted::Changed) }
}

/// The data of a text.
fn value(text: &str) -> Option<Json> {
    serde_saphyr::from_str(text).ok()
}

/// The workflow of a text, as the engine sees it.
fn meaning(text: &str) -> Option<String> {
    definition::parse(text).ok().map(|workflow| workflow.canonical)
}
