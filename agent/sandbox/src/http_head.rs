//! The head of a plugin's HTTP request: what may be sent, and the idempotency key it carries.

use std::collections::BTreeMap;

use openclaw_plugin_abi::HttpRequest;

use crate::limits;
use crate::target::Target;

/// Fields that frame the message or name the host: the client sets them, and a second opinion
/// about them is how requests are smuggled (RFC 9112, section 11.2).
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The method in upper case, the target, and the header fields by lower-case name.
///
/// # Errors
/// Says what cannot be sent.
pub(crate) fn checked(
    head: HttpRequest,
) -> Result<(String, Target, BTreeMap<String, String>), String> {
    let target = Target::parse(&head.url)?;
    let method = head.method.unwrap_or_else(|| "GET".to_owned()).to_ascii_uppercase();
    if !["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(&method.as_str()) {
        return Err(format!("the method `{method}` cannot be sent"));
    }
    let bytes: usize = head.headers.iter().map(|(n, v)| n.len() + v.len()).sum();
    if head.headers.len() > limits::HEADERS || bytes > limits::HEADERS_BYTES {
        return Err(format!(
            "{} header fields with {bytes} bytes are too many",
            head.headers.len()
        ));
    }
    let mut headers = BTreeMap::new();
    for (name, value) in head.headers {
        let name = name.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("`{name}` is not a header's name"));
        }
        if FRAMING.contains(&name.as_str()) || name.starts_with("proxy-") {
            return Err(format!("the header `{name}` is set by the host; leave it out"));
        }
        // Visible characters, blanks and tabs; nothing that ends the line.
        if value.bytes().any(|b| b == 0x7f || (b < 0x20 && b != b'\t')) {
            return Err(format!("the header `{name}` has a control character in its value"));
        }
        headers.insert(name, value);
    }
    Ok((method, target, headers))
}

/// Whether a request with this method may change something (RFC 9110, section 9.2.1).
pub(crate) fn has_effect(method: &str) -> bool {
    !matches!(method, "GET" | "HEAD" | "OPTIONS")
}

/// Adds the step's idempotency key unless the plugin sent its own. Further requests of the same
/// attempt count on, since they are other effects.
pub(crate) fn add_key(headers: &mut BTreeMap<String, String>, key: &str, nth: u32) {
    if key.is_empty() {
        return;
    }
    let value = if nth <= 1 { key.to_owned() } else { format!("{key}-{nth}") };
    headers.entry("idempotency-key".to_owned()).or_insert(value);
}

/// A `token` character of RFC 9110, section 5.6.2.
fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, name: &str, value: &str) -> HttpRequest {
        HttpRequest {
            url: "http://a/".into(),
            method: Some(method.into()),
            headers: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        }
    }

    #[test]
    fn what_would_split_or_smuggle_a_request_is_refused() {
        for (method, name, value) in [
            ("CONNECT", "a", "b"),
            ("GET\r\nX: y", "a", "b"),
            ("GET", "Host", "b"),
            ("GET", "Content-Length", "1"),
            ("GET", "Transfer-Encoding", "chunked"),
            ("GET", "Proxy-Authorization", "x"),
            ("GET", "a b", "c"),
            ("GET", "", "c"),
            ("GET", "a", "b\r\nc: d"),
            ("GET", "a", "b\0"),
        ] {
            assert!(checked(head(method, name, value)).is_err(), "{method} {name}: {value}");
        }
        let (method, _, headers) = checked(head("post", "X-A", "b\tc")).unwrap();
        assert_eq!((method.as_str(), headers["x-a"].as_str()), ("POST", "b\tc"));
    }

    #[test]
    fn each_effect_of_an_attempt_has_its_own_key() {
        let keys: Vec<String> = (1..=3)
            .map(|nth| {
                let mut headers = BTreeMap::new();
                add_key(&mut headers, "k", nth);
                headers.remove("idempotency-key").unwrap()
            })
            .collect();
        assert_eq!(keys, ["k", "k-2", "k-3"]);
        let mut own = BTreeMap::from([("idempotency-key".to_owned(), "mine".to_owned())]);
        add_key(&mut own, "k", 1);
        assert_eq!(own["idempotency-key"], "mine");
    }
}
