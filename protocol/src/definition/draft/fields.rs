//! Reading the keys of a map: each is asked for once; what nobody asked for is a mistake.

use super::problem::{Place, ProblemCode, Problems};
use super::read::excerpt;
use super::tree::{Entry, Node};

/// The entries of one map, as far as they have not been taken.
pub(super) struct Fields<'a> {
    /// Where the map is.
    pub(super) at: Place,
    /// What the map is, for messages: "a step", "`retry`".
    what: String,
    entries: Vec<&'a Entry>,
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The entries of a map; anything else is a problem.
    pub(super) fn of(node: &'a Node, what: &str, problems: &mut Problems) -> Option<Self> {
        let Some(entries) = node.map() else {
            let message =
                format!("{what} must be a map of keys and values, not {}", node.describe());
            problems.add(ProblemCode::Type, node.at, message);
            return None;
        };
        let entries = entries.iter().collect();
        Some(Self { at: node.at, what: what.to_owned(), entries, asked: Vec::new() })
    }

    /// Names the map better, once it is known what it is.
    pub(super) fn rename(&mut self, what: String) {
        self.what = what;
    }

    /// Whether a key is (still) there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// The entries that nobody has asked for yet.
    pub(super) fn rest(&self) -> &[&'a Entry] {
        &self.entries
    }

    /// The value of a key, where it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<&'a Node> {
        self.asked.push(key);
        let position = self.entries.iter().position(|entry| entry.key == key)?;
        Some(&self.entries.remove(position).value)
    }

    /// As [`Self::take`]; an empty value counts as absent.
    pub(super) fn take_set(&mut self, key: &'static str) -> Option<&'a Node> {
        self.take(key).filter(|node| !node.is_null())
    }

    /// The value of a key that must be there.
    pub(super) fn need(
        &mut self,
        key: &'static str,
        example: &str,
        problems: &mut Problems,
    ) -> Option<&'a Node> {
        let found = self.take(key);
        if found.is_none() {
            let message = format!("{} has no `{key}`", self.what);
            problems.suggest(ProblemCode::MissingKey, self.at, message, format!("add `{example}`"));
        }
        found
    }

    /// Ends the reading: what is left is unknown, or of the language but `later` than this version.
    pub(super) fn finish(self, later: &[&'static str], problems: &mut Problems) {
        for entry in &self.entries {
            if problems.is_full() {
                problems.add(ProblemCode::UnknownKey, entry.at, "");
                continue;
            }
            let key = excerpt(&entry.key);
            if later.contains(&entry.key.as_str()) {
                problems.add(ProblemCode::Kind, entry.at, not_of_this_version(&key));
                continue;
            }
            let suggestion = did_you_mean(&key, self.asked.iter().copied());
            let message = format!("{} has no key `{key}`", self.what);
            problems.push(ProblemCode::UnknownKey, entry.at, message, suggestion);
        }
    }
}

/// The words for what the language has and this version has not.
pub(super) fn not_of_this_version(name: &str) -> String {
    format!("`{name}` is part of the language but not of this version")
}

/// ``did you mean `x`?`` for the likeliest of some names, where one is likely.
pub(in crate::definition) fn did_you_mean<'a>(
    word: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(word, names).map(|name| format!("did you mean `{name}`?"))
}

/// No name of ours is longer; what is, is no typing error.
const LONGEST: usize = 100;

/// The likeliest of some names: the first with the fewest typing errors. Two are likely in a word
/// of four letters or more, and one in three letters of a long one.
pub(super) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    let most = match word.chars().count() {
        0..=3 => 1,
        letters => (letters / 3).max(2),
    };
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&word, &name.to_lowercase()), name))
        .filter(|(errors, name)| *errors <= most && *errors < name.chars().count())
        .min_by_key(|(errors, _)| *errors)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likely_names() {
        let names = ["delay", "plugin", "parallel", "if"];
        for (word, expected) in [
            ("dealy", Some("delay")),
            ("Delay", Some("delay")),
            ("paralel", Some("parallel")),
            ("x", None),
            ("i", Some("if")),
            ("on", None),
            ("switch", None),
            ("wait", None),
        ] {
            assert_eq!(nearest(word, names), expected, "{word}");
        }
    }
}
