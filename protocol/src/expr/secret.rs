//! Text that holds secrets, taken apart: what expressions compute with instead of the value.

use std::sync::Arc;

use serde_json::Value as Json;

use super::json::{JOIN_KEY, SECRET_KEY};

/// A secret, or text joined with secrets. The value is known to the host alone, which puts it in
/// where the text is used; all that can be done with it here is to join it with more text.
#[derive(Debug, Clone, PartialEq)]
pub struct SecretText(Arc<[Piece]>);

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(Arc<str>),
    Secret(Arc<str>),
}

impl SecretText {
    /// The secret of a name, and nothing else.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self(Arc::from([Piece::Secret(name.into())]))
    }

    /// What it is joined of: names of secrets (`true`) and plain text.
    #[must_use]
    pub fn pieces(&self) -> impl ExactSizeIterator<Item = (bool, &str)> {
        self.0.iter().map(|piece| match piece {
            Piece::Text(text) => (false, &**text),
            Piece::Secret(name) => (true, &**name),
        })
    }

    /// Joins what [`Self::pieces`] gave.
    #[must_use]
    pub fn of_pieces(pieces: &[(bool, String)]) -> Self {
        let piece = |(is_secret, text): &(bool, String)| {
            if *is_secret {
                Piece::Secret(text.as_str().into())
            } else {
                Piece::Text(text.as_str().into())
            }
        };
        Self(pieces.iter().map(piece).collect())
    }

    /// Plain text, to be joined with a secret.
    pub(super) fn text(text: &Arc<str>) -> Self {
        Self(Arc::from([Piece::Text(Arc::clone(text))]))
    }

    /// This text and then another one.
    pub(super) fn joined(&self, next: &Self) -> Self {
        Self(self.0.iter().chain(next.0.iter()).cloned().collect())
    }

    /// About how many bytes it takes, for budgets.
    pub(super) fn weight(&self) -> usize {
        let bytes = |piece: &Piece| match piece {
            Piece::Text(text) | Piece::Secret(text) => text.len() + 16,
        };
        self.0.iter().map(bytes).sum()
    }

    /// What stands for it until the host puts the values in: `{"$secret": "token"}`, or
    /// `{"$join": ["Bearer ", {"$secret": "token"}]}`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut joined = Joined::default();
        joined.push(self);
        joined.finish()
    }
}

/// Text that is being joined, and what came before it up to the last secret.
#[derive(Default)]
pub(super) struct Joined {
    before: Vec<Json>,
    pub(super) text: String,
}

impl Joined {
    pub(super) fn push(&mut self, secret: &SecretText) {
        for piece in secret.0.iter() {
            match piece {
                Piece::Text(text) => self.text.push_str(text),
                Piece::Secret(name) => {
                    self.flush();
                    self.before.push(object(SECRET_KEY, Json::String(name.to_string())));
                }
            }
        }
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.before.push(Json::String(std::mem::take(&mut self.text)));
        }
    }

    pub(super) fn finish(mut self) -> Json {
        if self.before.is_empty() {
            return Json::String(self.text);
        }
        self.flush();
        if let [Json::Object(_)] = &self.before[..]
            && let Some(alone) = self.before.pop()
        {
            return alone;
        }
        object(JOIN_KEY, Json::Array(self.before))
    }
}

fn object(key: &str, value: Json) -> Json {
    let mut object = serde_json::Map::new();
    object.insert(key.to_owned(), value);
    Json::Object(object)
}
