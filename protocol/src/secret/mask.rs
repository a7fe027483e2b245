//! Known values out of whatever a plugin says.

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, Encoding};
use serde_json::Value as Json;
use zeroize::Zeroizing;

use crate::json::JsonText;
use crate::limits::SECRET_LEAST_BYTES;

/// What stands where a secret value was.
pub const MASKED: &str = "***";
/// The shortest line of a value of many lines that is masked by itself, in bytes.
const LINE_BYTES: usize = 8;
/// The shortest part of a value's base64 that is masked inside longer base64, in digits: fewer are
/// found in what has nothing to do with the value.
const INNER_DIGITS: usize = 8;

/// The values that must not be seen, in the forms in which they are likely to be: as they are, line
/// by line, inside a JSON string, percent-encoded, and in base64 (both alphabets), also where it
/// encodes more than the value, as `Authorization: Basic` does: at its ends up to four bits of the
/// value share a digit with what is beside it, and stay. A plugin that computes something else from a
/// value (a digest, its reverse) tells what nobody can recognise.
#[derive(Default)]
pub struct Mask {
    /// Longest first, so that a value that holds another one is masked as a whole.
    needles: Vec<Zeroizing<String>>,
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mask").field("needles", &self.needles.len()).finish()
    }
}

impl Mask {
    /// Takes values into account. Values shorter than [`SECRET_LEAST_BYTES`], not counting white space
    /// around them, are not masked: they would be found in text that has nothing to do with them.
    pub fn add<'v>(&mut self, values: impl Iterator<Item = &'v str>) {
        for value in values {
            self.add_one(value);
        }
        self.needles.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.needles.dedup();
    }

    fn add_one(&mut self, value: &str) {
        let trimmed = value.trim();
        if trimmed.len() < SECRET_LEAST_BYTES {
            return;
        }
        for form in [value, trimmed] {
            self.push(form.to_owned());
            self.push(in_json(form));
            self.push(percent_encoded(form));
            for alphabet in [&BASE64_NOPAD, &BASE64URL_NOPAD] {
                self.push(alphabet.encode(form.as_bytes()));
                for before in 0..3 {
                    let inner = inner_base64(alphabet, form, before);
                    if inner.len() >= INNER_DIGITS {
                        self.push(inner);
                    }
                }
            }
        }
        if trimmed.contains('\n') {
            for line in trimmed.lines().map(str::trim).filter(|line| line.len() >= LINE_BYTES) {
                self.push(line.to_owned());
            }
        }
    }

    fn push(&mut self, needle: String) {
        self.needles.push(Zeroizing::new(needle));
    }

    /// Whether there is nothing to mask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    /// A text without the values; `None` where it has none of them.
    #[must_use]
    pub fn text(&self, text: &str) -> Option<String> {
        let mut masked: Option<String> = None;
        for needle in &self.needles {
            let now = masked.as_deref().unwrap_or(text);
            if now.contains(needle.as_str()) {
                masked = Some(now.replace(needle.as_str(), MASKED));
            }
        }
        masked
    }

    /// Masks a text where it stands.
    pub fn clean(&self, text: &mut String) {
        if let Some(masked) = self.text(text) {
            *text = masked;
        }
    }

    /// Masks the beginning of a value at the end of a text that was cut there.
    pub fn clean_end(&self, text: &mut String) {
        // Where the beginning of one text is the end of another, both begin there.
        if let Some(length) = self.begun_at_end(text.as_bytes()) {
            text.truncate(text.len() - length);
            text.push_str(MASKED);
        }
    }

    /// As [`Mask::clean_end`], for bytes of any kind.
    pub fn clean_end_of_bytes(&self, bytes: &mut Vec<u8>) {
        if let Some(length) = self.begun_at_end(bytes) {
            bytes.truncate(bytes.len() - length);
            bytes.extend_from_slice(MASKED.as_bytes());
        }
    }

    /// How many bytes at the end are the beginning of a value.
    fn begun_at_end(&self, bytes: &[u8]) -> Option<usize> {
        let beginning = |needle: &str| {
            let longest = needle.len().min(bytes.len());
            let mut lengths = (SECRET_LEAST_BYTES..=longest).rev();
            lengths.find(|length| bytes.ends_with(&needle.as_bytes()[..*length]))
        };
        self.needles.iter().filter_map(|needle| beginning(needle)).max()
    }

    /// Bytes of any kind without the values; `None` where they have none of them.
    #[must_use]
    pub fn bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut masked: Option<Vec<u8>> = None;
        for needle in &self.needles {
            let now = masked.as_deref().unwrap_or(bytes);
            if let Some(first) = find(now, needle.as_bytes()) {
                masked = Some(replaced(now, needle.as_bytes(), first));
            }
        }
        masked
    }

    /// A JSON text without the values, in its strings, keys and numbers; `None` where it has none
    /// of them. However a string is escaped, what counts is what it says.
    #[must_use]
    pub fn json(&self, json: &JsonText) -> Option<JsonText> {
        if self.is_empty() {
            return None;
        }
        let mut value = json.value();
        self.value(&mut value).then(|| JsonText::of(&value))
    }

    fn value(&self, json: &mut Json) -> bool {
        match json {
            Json::String(text) => {
                let masked = self.text(text);
                let found = masked.is_some();
                if let Some(masked) = masked {
                    *text = masked;
                }
                found
            }
            Json::Number(number) => {
                let masked = self.text(&number.to_string());
                let found = masked.is_some();
                if let Some(masked) = masked {
                    *json = Json::String(masked);
                }
                found
            }
            Json::Array(items) => {
                items.iter_mut().fold(false, |found, item| self.value(item) | found)
            }
            Json::Object(object) => {
                let mut found = false;
                for (_, item) in object.iter_mut() {
                    found |= self.value(item);
                }
                if object.keys().any(|key| self.text(key).is_some()) {
                    found = true;
                    *object = std::mem::take(object)
                        .into_iter()
                        .map(|(key, item)| (self.text(&key).unwrap_or(key), item))
                        .collect();
                }
                found
            }
            Json::Null | Json::Bool(_) => false,
        }
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

fn replaced(bytes: &[u8], needle: &[u8], first: usize) -> Vec<u8> {
    let mut masked = Vec::with_capacity(bytes.len());
    let (mut rest, mut at) = (bytes, Some(first));
    while let Some(found) = at {
        masked.extend_from_slice(&rest[..found]);
        masked.extend_from_slice(MASKED.as_bytes());
        rest = &rest[found + needle.len()..];
        at = find(rest, needle);
    }
    masked.extend_from_slice(rest);
    masked
}

/// The value as it stands inside a JSON string.
fn in_json(text: &str) -> String {
    let quoted = Json::String(text.to_owned()).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// The digits that a value has by itself where it is encoded after so many other bytes (of each three).
fn inner_base64(alphabet: &Encoding, value: &str, before: usize) -> String {
    let mut bytes = Zeroizing::new(vec![0; before]);
    bytes.extend_from_slice(value.as_bytes());
    let mut digits = alphabet.encode(&bytes);
    // Six bits are a digit.
    digits.truncate(bytes.len() * 8 / 6);
    digits.split_off((before * 8).div_ceil(6))
}

/// As in a URL's query (RFC 3986 §2).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&data_encoding::HEXUPPER.encode(&[byte]));
        }
    }
    encoded
}
