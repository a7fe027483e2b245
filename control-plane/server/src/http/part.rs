//! Parts of a body that never changes (RFC 9110, section 14): a download that broke off goes on where
//! it was. Its digest is its entity tag, so that what is put together is of one piece.

use std::ops::Range;

use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::error::problem;

/// What of a body is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    /// All of it.
    All,
    /// These bytes.
    Part(Range<usize>),
    /// Nothing that there is.
    Beyond,
    /// Nothing: who asks has it.
    Nothing,
}

/// Answers with a module, or with the part of it that was asked for.
pub(super) fn module(headers: &HeaderMap, digest: &str, body: Vec<u8>) -> Response {
    let (tag, size) = (format!("\"{digest}\""), body.len());
    let mut response = match wanted(headers, &tag, size) {
        Wanted::All => body.into_response(),
        Wanted::Nothing => StatusCode::NOT_MODIFIED.into_response(),
        Wanted::Part(range) => {
            let said = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
            let part = body.get(range).unwrap_or_default().to_vec();
            (StatusCode::PARTIAL_CONTENT, [(CONTENT_RANGE, said)], part).into_response()
        }
        Wanted::Beyond => {
            let detail = format!("there are {size} bytes, and the range begins behind them");
            let mut answer =
                problem(StatusCode::RANGE_NOT_SATISFIABLE, "request.range", detail, Vec::new());
            set(&mut answer, CONTENT_RANGE, &format!("bytes */{size}"));
            return answer;
        }
    };
    set(&mut response, CONTENT_TYPE, "application/wasm");
    set(&mut response, ACCEPT_RANGES, "bytes");
    set(&mut response, CACHE_CONTROL, "private, no-cache");
    set(&mut response, ETAG, &tag);
    response
}

fn set(response: &mut Response, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        response.headers_mut().insert(name, value);
    }
}

fn wanted(headers: &HeaderMap, tag: &str, size: usize) -> Wanted {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(IF_NONE_MATCH).is_some_and(|tags| tags.split(',').any(|one| one.trim() == tag)) {
        return Wanted::Nothing;
    }
    // A part of something else is of no use to whoever has the rest of it.
    if text(IF_RANGE).is_some_and(|had| had.trim() != tag) {
        return Wanted::All;
    }
    text(RANGE).map_or(Wanted::All, |range| part(range, size))
}

/// One range of bytes; what cannot be read, and several at once, is answered with all.
fn part(range: &str, size: usize) -> Wanted {
    let Some((first, last)) = range.trim().strip_prefix("bytes=").and_then(|r| r.split_once('-'))
    else {
        return Wanted::All;
    };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok());
    let (first, last) = (first.trim(), last.trim());
    let range = match (number(first).flatten(), number(last).flatten()) {
        (None, Some(most)) if first.is_empty() => size.saturating_sub(most)..size,
        (Some(first), None) if last.is_empty() => first..size,
        (Some(first), Some(last)) if first <= last => first..size.min(last.saturating_add(1)),
        (_, _) => return Wanted::All,
    };
    if range.start < range.end { Wanted::Part(range) } else { Wanted::Beyond }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        for (range, expected) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=3-", Wanted::Part(3..10)),
            ("bytes=-4", Wanted::Part(6..10)),
            ("bytes=-99", Wanted::Part(0..10)),
            ("bytes=5-99", Wanted::Part(5..10)),
            ("bytes=0-18446744073709551615", Wanted::Part(0..10)),
            ("bytes=10-", Wanted::Beyond),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=10-12", Wanted::Beyond),
            ("bytes=4-3", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=a-b", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("lines=0-1", Wanted::All),
        ] {
            assert_eq!(part(range, 10), expected, "{range}");
        }
        assert_eq!(part("bytes=0-", 0), Wanted::Beyond);
    }

    #[test]
    fn a_part_is_only_of_what_the_rest_is_of() {
        let headers = |pairs: &[(HeaderName, &str)]| -> HeaderMap {
            let pair = |(name, value): &(HeaderName, &str)| (name.clone(), value.parse().unwrap());
            pairs.iter().map(pair).collect()
        };
        let go_on = (RANGE, "bytes=4-");
        for (sent, expected) in [
            (headers(&[go_on.clone(), (IF_RANGE, "\"a\"")]), Wanted::Part(4..10)),
            (headers(&[go_on.clone(), (IF_RANGE, "\"b\"")]), Wanted::All),
            (headers(&[go_on, (IF_NONE_MATCH, "\"b\", \"a\"")]), Wanted::Nothing),
            (headers(&[]), Wanted::All),
        ] {
            assert_eq!(wanted(&sent, "\"a\"", 10), expected, "{sent:?}");
        }
    }
}
