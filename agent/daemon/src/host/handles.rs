//! Texts that stand for secrets during one call, and the values in their place in what is sent.
//!
//! A plugin gets a handle and puts it where the value belongs; the value itself never enters its
//! memory. A handle is drawn for each call, so one from elsewhere, guessed or remembered, is a text
//! like any other. What the other side sends back is masked before the plugin gets it, as far as it
//! comes in one piece.

use std::borrow::Cow;

use data_encoding::HEXLOWER;
use openclaw_protocol::secret::Mask;
use openclaw_sandbox::{HostError, HttpResponse};
use zeroize::Zeroizing;

use crate::limits;

/// What every handle begins with.
const PREFIX: &str = "openclaw-secret-";
/// Random bytes in a handle.
const RANDOM_BYTES: usize = 16;
/// The whole length of a handle.
const HANDLE_BYTES: usize = PREFIX.len() + 2 * RANDOM_BYTES;

/// The values that a call may use, by name.
pub type Granted = [(String, Zeroizing<String>)];

/// The handles of one call.
pub(super) struct Handles<'a> {
    granted: &'a Granted,
    issued: Vec<(String, &'a str)>,
    mask: Mask,
}

/// Where a value goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// Into a path or query: so that it changes nothing of their structure.
    Path,
    /// Anywhere else, as it is.
    Plain,
}

impl<'a> Handles<'a> {
    pub(super) fn new(granted: &'a Granted) -> Self {
        Self { granted, issued: Vec::new(), mask: Mask::default() }
    }

    /// The handle of a secret; the same one whenever it is asked for.
    ///
    /// # Errors
    /// The device has no value.
    pub(super) fn issue(
        &mut self,
        name: &str,
        random: &dyn Fn(&mut [u8]),
    ) -> Result<Vec<u8>, HostError> {
        let found = self.granted.iter().find(|(known, _)| known == name);
        let Some((_, value)) = found else {
            return Err(HostError::NotFound(format!(
                "the secret `{name}` has no value in text on this device; set it at the control \
                 plane (`openclaw secret set`), or put it into the device's own secrets"
            )));
        };
        let value = value.as_str();
        if let Some((handle, _)) = self.issued.iter().find(|(_, of)| std::ptr::eq(*of, value)) {
            return Ok(handle.clone().into_bytes());
        }
        let mut drawn = [0; RANDOM_BYTES];
        random(&mut drawn);
        let handle = format!("{PREFIX}{}", HEXLOWER.encode(&drawn));
        self.issued.push((handle.clone(), value));
        // A value may come back as it stood in a path.
        let mut in_path = Vec::new();
        percent_encode(&mut in_path, value);
        let in_path = Zeroizing::new(String::from_utf8(in_path).unwrap_or_default());
        self.mask.add([value, in_path.as_str()].into_iter());
        Ok(handle.into_bytes())
    }

    /// Bytes with the values in the places of their handles.
    ///
    /// # Errors
    /// They would be too many.
    pub(super) fn fill<'b>(
        &self,
        bytes: &'b [u8],
        place: Place,
    ) -> Result<Cow<'b, [u8]>, HostError> {
        if self.issued.is_empty() {
            return Ok(Cow::Borrowed(bytes));
        }
        let mut filled: Option<Vec<u8>> = None;
        let (mut done, mut at) = (0, 0);
        while let Some(found) = find(&bytes[at..]) {
            let begin = at + found;
            let end = begin + HANDLE_BYTES;
            let handle = bytes.get(begin..end).unwrap_or_default();
            let Some((_, value)) = self.issued.iter().find(|(of, _)| of.as_bytes() == handle)
            else {
                at = begin + PREFIX.len();
                continue;
            };
            let filled = filled.get_or_insert_default();
            filled.extend_from_slice(&bytes[done..begin]);
            match place {
                Place::Path => percent_encode(filled, value),
                Place::Plain => filled.extend_from_slice(value.as_bytes()),
            }
            if filled.len() > limits::FILLED_BYTES {
                return Err(HostError::TooLarge(format!(
                    "with secrets in it, what is sent has more than {} bytes",
                    limits::FILLED_BYTES
                )));
            }
            (done, at) = (end, end);
        }
        Ok(match filled {
            None => Cow::Borrowed(bytes),
            Some(mut filled) => {
                filled.extend_from_slice(&bytes[done..]);
                Cow::Owned(filled)
            }
        })
    }

    /// Takes the values out of what the other side has answered.
    pub(super) fn clean(&self, response: &mut HttpResponse) {
        if self.mask.is_empty() {
            return;
        }
        self.clean_bytes(&mut response.body);
        for (mut name, mut value) in std::mem::take(&mut response.headers) {
            self.mask.clean(&mut name);
            self.mask.clean(&mut value);
            response.headers.insert(name, value);
        }
    }

    /// Takes the values out of bytes.
    pub(super) fn clean_bytes(&self, bytes: &mut Vec<u8>) {
        if let Some(masked) = self.mask.bytes(bytes) {
            *bytes = masked;
        }
    }
}

fn find(bytes: &[u8]) -> Option<usize> {
    bytes.windows(PREFIX.len()).position(|window| window == PREFIX.as_bytes())
}

/// RFC 3986, section 2.3: all but the unreserved; and the colon, which means nothing inside a path.
fn percent_encode(into: &mut Vec<u8>, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            into.push(byte);
        } else {
            into.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn values() -> Vec<(String, Zeroizing<String>)> {
        let value = |name: &str, value: &str| (name.to_owned(), Zeroizing::new(value.to_owned()));
        vec![value("a", "correct horse/battery?"), value("b", "tr0ub4dor&3")]
    }

    fn handle(handles: &mut Handles<'_>, name: &str) -> String {
        let random = |drawn: &mut [u8]| getrandom::fill(drawn).unwrap();
        String::from_utf8(handles.issue(name, &random).unwrap()).unwrap()
    }

    #[test]
    fn values_stand_in_the_places_of_handles_and_nowhere_else() {
        let values = values();
        let mut handles = Handles::new(&values);
        let untouched = handles.fill(b"nothing was issued", Place::Plain).unwrap();
        assert_eq!(&*untouched, b"nothing was issued");
        let (a, b) = (handle(&mut handles, "a"), handle(&mut handles, "b"));
        assert_eq!(handle(&mut handles, "a"), a, "one handle a secret");
        assert_ne!(a, b);
        assert!(a.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-'), "it fits everywhere");
        let text = format!("{a}{b}-{a} {PREFIX}{PREFIX}{b}{PREFIX}");
        let filled = handles.fill(text.as_bytes(), Place::Plain).unwrap();
        let expected = "correct horse/battery?tr0ub4dor&3-correct horse/battery? \
                        openclaw-secret-openclaw-secret-tr0ub4dor&3openclaw-secret-";
        assert_eq!(String::from_utf8_lossy(&filled), expected);
        let path = format!("/bot{a}?k={b}");
        let path = handles.fill(path.as_bytes(), Place::Path).unwrap();
        assert_eq!(&*path, b"/botcorrect%20horse%2Fbattery%3F?k=tr0ub4dor%263");
    }

    #[test]
    fn a_handle_counts_in_the_call_that_it_was_made_in() {
        let values = values();
        let mut before = Handles::new(&values);
        let old = handle(&mut before, "a");
        let mut now = Handles::new(&values);
        let new = handle(&mut now, "a");
        assert_ne!(old, new, "nobody can guess it");
        let forged = format!("{old} {PREFIX}{} {}", "0".repeat(32), &new[..new.len() - 1]);
        assert_eq!(&*now.fill(forged.as_bytes(), Place::Plain).unwrap(), forged.as_bytes());
    }

    #[test]
    fn what_is_missing_says_what_to_set_and_what_is_too_much_is_refused() {
        let values = values();
        let mut handles = Handles::new(&values);
        let error = handles.issue("c", &|_| ()).unwrap_err();
        assert!(matches!(&error, HostError::NotFound(m) if m.contains("secret set")), "{error:?}");
        let long = vec![("a".to_owned(), Zeroizing::new("x".repeat(16 * 1024)))];
        let mut handles = Handles::new(&long);
        let one = handle(&mut handles, "a");
        assert!(handles.fill(one.repeat(200).as_bytes(), Place::Plain).is_ok());
        let error = handles.fill(one.repeat(300).as_bytes(), Place::Plain).unwrap_err();
        assert!(matches!(error, HostError::TooLarge(_)), "{error:?}");
    }

    #[test]
    fn what_comes_back_is_masked() {
        let values = values();
        let mut handles = Handles::new(&values);
        handle(&mut handles, "b");
        let mut response = HttpResponse {
            status: 200,
            headers: BTreeMap::from([("x-echo".to_owned(), "key tr0ub4dor&3".to_owned())]),
            body: b"you said tr0ub4dor&3, and not correct horse/battery?".to_vec(),
        };
        handles.clean(&mut response);
        assert_eq!(response.headers["x-echo"], "key ***");
        assert_eq!(response.body, b"you said ***, and not correct horse/battery?", "only issued");
    }
}
