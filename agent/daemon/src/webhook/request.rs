//! A request as expressions see it, and whether its signature is right.

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use hyper::header::HeaderMap;
use openclaw_protocol::definition::Hmac;
use openclaw_protocol::json::JsonText;
use ring::hmac;
use serde_json::{Map, Value, json};

/// Headers that tell who somebody is, and nothing that a workflow is for.
const HIDDEN: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// Whether a body has been signed with a key (RFC 2104 with SHA-256). The comparison takes the same
/// time wherever they differ.
pub(super) fn is_signed(headers: &HeaderMap, rule: &Hmac, key: &[u8], body: &[u8]) -> bool {
    let mut given = headers.get_all(rule.header.as_str()).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return false };
    let Ok(text) = value.to_str() else { return false };
    let digits = text.strip_prefix("sha256=").unwrap_or(text);
    let Ok(tag) = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()) else { return false };
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), body, &tag).is_ok()
}

/// What expressions see as `trigger`, beside its id and kind.
pub(super) fn data(
    head: &hyper::http::request::Parts,
    rule: Option<&Hmac>,
    body: &[u8],
) -> JsonText {
    JsonText::of(&json!({
        "path": head.uri.path(),
        "method": head.method.as_str(),
        "query": query(head.uri.query().unwrap_or_default()),
        "headers": shown(&head.headers, rule),
        "body": body_value(body),
    }))
}

/// JSON where it reads as such, else text, else base64.
fn body_value(body: &[u8]) -> Value {
    match std::str::from_utf8(body) {
        Ok(text) => JsonText::parse(text)
            .map_or_else(|_| Value::String(text.to_owned()), |json| json.value()),
        Err(_) => Value::String(BASE64.encode(body)),
    }
}

/// Names in lower case; what was said more than once with commas between (RFC 9110, 5.3).
fn shown(headers: &HeaderMap, rule: Option<&Hmac>) -> Value {
    let mut shown = Map::new();
    for name in headers.keys() {
        let name = name.as_str();
        if HIDDEN.contains(&name) || rule.is_some_and(|rule| rule.header == name) {
            continue;
        }
        let mut text = String::new();
        for value in headers.get_all(name) {
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push_str(&String::from_utf8_lossy(value.as_bytes()));
        }
        shown.insert(name.to_owned(), Value::String(text));
    }
    Value::Object(shown)
}

/// The parts of a query (`a=1&b=2`), decoded; a list where one was given more than once.
fn query(text: &str) -> Value {
    let mut found = Map::new();
    for part in text.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = Value::String(decoded(value));
        match found.get_mut(&decoded(name)) {
            None => {
                found.insert(decoded(name), value);
            }
            Some(Value::Array(list)) => list.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Value::Object(found)
}

/// Without `%41` and `+`; what is no such sign stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let pair = after.get(..2).filter(|_| *first == b'%');
        let byte = pair.and_then(|pair| HEXLOWER_PERMISSIVE.decode(pair).ok());
        if let Some(byte) = byte {
            bytes.extend(byte);
            rest = &after[2..];
        } else {
            bytes.push(if *first == b'+' { b' ' } else { *first });
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn a_signature_is_that_of_the_body_and_the_key() {
        // From GitHub's documentation of webhooks.
        let key = b"It's a Secret to Everybody";
        let good = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let rule = Hmac { secret: "k".into(), header: Hmac::HEADER.into() };
        let is = |pairs: &[(&'static str, &str)], key: &[u8], body: &[u8]| {
            is_signed(&headers(pairs), &rule, key, body)
        };
        let prefixed = format!("sha256={good}");
        let body = b"Hello, World!";
        assert!(is(&[("x-hub-signature-256", &prefixed)], key, body));
        assert!(is(&[("x-hub-signature-256", good)], key, body));
        assert!(is(
            &[("x-hub-signature-256", &prefixed.to_uppercase().replace("SHA256", "sha256"))],
            key,
            body
        ));
        assert!(!is(&[("x-hub-signature-256", &prefixed)], key, b"Hello, World?"));
        assert!(!is(&[("x-hub-signature-256", &prefixed)], b"another", body));
        assert!(!is(&[("x-hub-signature", &prefixed)], key, body));
        assert!(!is(&[], key, body));
        let twice = [("x-hub-signature-256", &*prefixed), ("x-hub-signature-256", &*prefixed)];
        assert!(!is(&twice, key, body));
        for odd in ["", "sha256=", "sha256=zz", &good[..62], "sha1=757107ea"] {
            assert!(!is(&[("x-hub-signature-256", odd)], key, body), "{odd}");
        }
    }

    #[test]
    fn queries_are_decoded() {
        let found = query("a=1&b=x%20y+z&a=2&c&%64=%C3%A4&a=3&&e=%zz%");
        let expected =
            json!({"a": ["1", "2", "3"], "b": "x y z", "c": "", "d": "\u{e4}", "e": "%zz%"});
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_not_shown() {
        let rule = Hmac { secret: "k".into(), header: "x-sign".into() };
        let all = headers(&[
            ("x-sign", "s"),
            ("cookie", "c"),
            ("authorization", "a"),
            ("accept", "b"),
            ("accept", "c"),
        ]);
        assert_eq!(shown(&all, Some(&rule)), json!({"accept": "b, c"}));
        assert_eq!(body_value(b"{\"a\": 1}"), json!({"a": 1}));
        assert_eq!(body_value(b"plain"), json!("plain"));
        assert_eq!(body_value(&[0xff]), json!("/w=="));
        assert_eq!(body_value(b""), json!(""));
    }
}
