//! Values in, and values out again.

use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use super::*;
use crate::id::{DeviceId, TenantId};
use crate::json::JsonText;

fn values(pairs: &[(&str, &str)]) -> Vec<(String, Zeroizing<String>)> {
    pairs.iter().map(|(n, v)| ((*n).to_owned(), Zeroizing::new((*v).to_owned()))).collect()
}

fn filled(input: &Json, pairs: &[(&str, &str)]) -> Json {
    serde_json::from_slice(&fill(input, &values(pairs)).unwrap()).unwrap()
}

fn mask(values: &[&str]) -> Mask {
    let mut mask = Mask::default();
    mask.add(values.iter().copied());
    mask
}

#[test]
fn values_take_the_place_of_handles_however_deep() {
    let input = json!({
        "key": {"$secret": "k"},
        "header": {"$join": ["Bearer ", {"$secret": "t"}, "/", {"$secret": "t"}]},
        "list": [1, 2.5, null, true, {"deep": [{"$secret": "k"}]}],
        "text": "as it is: \"$secret\"",
    });
    assert_eq!(names(&input), ["k", "t"]);
    let hard = "a\"b\\c\nd\u{1}é\t/";
    assert_eq!(
        filled(&input, &[("k", hard), ("t", "tok")]),
        json!({
            "key": hard,
            "header": "Bearer tok/tok",
            "list": [1, 2.5, null, true, {"deep": [hard]}],
            "text": "as it is: \"$secret\"",
        })
    );
    assert_eq!(fill(&input, &values(&[("k", "x")])).unwrap_err(), Missing("t".into()));
    // A value that looks like a handle is a text.
    let sly = r#"{"$secret":"t"}"#;
    assert_eq!(filled(&json!([{"$secret": "k"}]), &[("k", sly), ("t", "no")]), json!([sly]));
}

#[test]
fn what_holds_no_secret_is_written_as_it_was() {
    let input = json!({"a": [1, -2, 1e300, 0.1, "ü\u{7f}", {"b": {}}, []], "": false});
    assert_eq!(fill(&input, &[]).unwrap().as_slice(), input.to_string().as_bytes());
    assert!(!asks(&input.to_string()) && names(&input).is_empty());
    assert!(asks(r#"{"a":{"$secret":"x"}}"#));
}

#[test]
fn known_values_are_masked_in_the_forms_they_come_in() {
    let value = "pa/ss+\"w ord";
    let mask = mask(&[value]);
    for form in [
        value.to_owned(),
        "pa/ss+\\\"w ord".to_owned(),
        data_encoding::BASE64.encode(value.as_bytes()),
        data_encoding::BASE64URL_NOPAD.encode(value.as_bytes()),
        "pa%2Fss%2B%22w%20ord".to_owned(),
    ] {
        let said = mask.text(&format!("login with {form} failed")).unwrap();
        assert!(said.starts_with("login with ***"), "{said}");
        assert!(!said.contains(&form), "{said}");
    }
    assert_eq!(mask.text("nothing of it"), None);
    assert_eq!(mask.bytes(b"\xffpa/ss+\"w ord\x00pa/ss+\"w ord").unwrap(), b"\xff***\x00***");
    assert_eq!(mask.bytes(b"\xff\x00"), None);
    assert!(!format!("{mask:?}").contains("pa/ss"));
    let mut cut = "a long line that was cut: pa/ss+".to_owned();
    mask.clean_end(&mut cut);
    assert_eq!(cut, "a long line that was cut: ***");
}

#[test]
fn a_value_inside_longer_base64_is_masked_wherever_it_begins() {
    use data_encoding::{BASE64, BASE64URL_NOPAD};
    // With digits in which the alphabets differ.
    let value = "pa??wör~~d>>";
    let mask = mask(&[value]);
    for before in ["", "u", "us", "user:", "user::", "user:::"] {
        for after in ["", "\n", "\r\n", ", and more"] {
            let text = format!("{before}{value}{after}");
            for said in [BASE64.encode(text.as_bytes()), BASE64URL_NOPAD.encode(text.as_bytes())] {
                let masked = mask.text(&format!("Basic {said}!"));
                let masked = masked.unwrap_or_else(|| panic!("{text:?} as {said}"));
                assert!(masked.contains("***"), "{masked}");
                // Of its 14 bytes no three in a row can be read.
                let left: Vec<&str> = masked[6..].split("***").collect();
                assert!(left.len() == 2, "{masked}");
                let own = said.len() - left[0].len() - (left[1].len() - 1);
                assert!(own * 6 >= value.len() * 8 - 16, "{own} digits of {said}");
            }
        }
    }
    // Of a short value nothing is looked for that ordinary text may say.
    let mask = super::tests::mask(&["abcd"]);
    assert_eq!(mask.text("FiY2, YWJj, hYmNk"), None);
    assert_eq!(mask.text("YWJjZA").as_deref(), Some("***"));
}

#[test]
fn what_is_too_short_is_not_masked_however_much_white_space_is_around_it() {
    let mask = mask(&["   ", "    ", "abc", " abc\n", "\n\n\n\n\n"]);
    assert!(mask.is_empty());
}

#[test]
fn an_output_is_masked_by_what_it_says() {
    let mask = mask(&["s3cr3t", "12345", "tail\n"]);
    let masked = |text: &str| mask.json(&JsonText::parse(text).unwrap()).map(|j| j.value());
    assert_eq!(
        masked(r#"{"a": "x s3cr\u0033t y", "s3cr3t": [1, 123456, "the tail"], "b": 1.50}"#),
        Some(json!({"a": "x *** y", "***": [1, "***6", "the ***"], "b": 1.5}))
    );
    // What has nothing to hide keeps its very text.
    assert_eq!(masked(r#"{"a": 1.50}"#), None);
}

#[test]
fn a_longer_value_is_masked_whole_and_a_short_one_not_at_all() {
    let mask = mask(&["token", "token-and-more", "abc", ""]);
    assert_eq!(mask.text("token-and-more, token, abc").unwrap(), "***, ***, abc");
    let key = "-----BEGIN KEY-----\nMIIEvQIBADAN\nx\n-----END KEY-----\n";
    let mask = super::tests::mask(&[key]);
    assert_eq!(mask.text("line MIIEvQIBADAN, x").unwrap(), "line ***, x");
}

#[test]
fn no_two_places_are_the_same() {
    let (t, d) = (|t| TenantId::parse(t).unwrap(), |d| DeviceId::parse(d).unwrap());
    let places = [
        bound_to(&t("a"), &d("b"), "c", 1),
        bound_to(&t("a"), &d("b"), "c", 2),
        bound_to(&t("a"), &d("bc"), "c", 1),
        bound_to(&t("ab"), &d("b"), "c", 1),
        bound_to(&t("a"), &d("b"), "d", 1),
    ];
    for (at, place) in places.iter().enumerate() {
        assert!(!places[..at].contains(place), "{at}");
    }
}
