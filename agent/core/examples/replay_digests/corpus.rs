//! A directory of recordings, and what its list says they come to.
//!
//! Beside the recordings (`NAME.ocr`) lies `digests.txt`: one line for each, `NAME DIGEST FACTS`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use openclaw_agent_core::replay::Recording;

/// The list's name.
const LIST: &str = "digests.txt";

/// What one recording came to, or is said to come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// In lower-case hex.
    pub(crate) digest: String,
    /// Facts in its journal.
    pub(crate) facts: usize,
}

/// All recordings of a directory by name.
///
/// # Errors
/// The directory or one of them cannot be read.
pub(crate) fn recordings(dir: &Path) -> Result<BTreeMap<String, Recording>, Box<dyn Error>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some(name) = name.strip_suffix(".ocr") else { continue };
        let recording = serde_json::from_str(&fs::read_to_string(&path)?);
        found.insert(name.to_owned(), recording.map_err(|error| format!("{name}: {error}"))?);
    }
    Ok(found)
}

/// Replays one.
///
/// # Errors
/// It is damaged, or it is not told as it was recorded.
pub(crate) fn replayed(recording: &Recording) -> Result<Line, Box<dyn Error>> {
    let replay = recording.replay()?;
    if let Some(found) = replay.divergence {
        return Err(format!("differs from the record before fact {}", found.fact).into());
    }
    Ok(Line { digest: replay.digest()?, facts: recording.facts.len() })
}

/// What the list says.
///
/// # Errors
/// There is none, or a line of it is not understood.
pub(crate) fn listed(dir: &Path) -> Result<BTreeMap<String, Line>, Box<dyn Error>> {
    let mut found = BTreeMap::new();
    for line in fs::read_to_string(dir.join(LIST))?.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, digest, facts] = words.as_slice() else {
            return Err(format!("{LIST}: not understood: {line}").into());
        };
        let line = Line { digest: (*digest).to_owned(), facts: facts.parse()? };
        found.insert((*name).to_owned(), line);
    }
    Ok(found)
}

/// Where recordings and list differ, one line for each.
pub(crate) fn differences(
    recordings: &BTreeMap<String, Recording>,
    listed: &BTreeMap<String, Line>,
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, recording) in recordings {
        let difference = match (replayed(recording), listed.get(name)) {
            (Err(error), _) => error.to_string(),
            (Ok(_), None) => format!("not in {LIST}"),
            (Ok(line), Some(known)) if line != *known => format!("{line:?}, listed as {known:?}"),
            (Ok(_), Some(_)) => continue,
        };
        found.insert(name.clone(), difference);
    }
    for name in listed.keys().filter(|name| !recordings.contains_key(*name)) {
        found.insert(name.clone(), "listed, but not there".to_owned());
    }
    found
}
