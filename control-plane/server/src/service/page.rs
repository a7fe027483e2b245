//! Pages: `?limit=&cursor=`, with a cursor that only this server reads.

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

use openclaw_protocol::api::Page;

use super::{Fault, Outcome};

/// Entries of a page where none is asked for.
const DEFAULT_LIMIT: u32 = 50;
/// Entries of a page at most.
const MOST: u32 = 200;
/// Bytes of a cursor at most.
const CURSOR_BYTES: usize = 1_024;

/// What part of a list is wanted.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Entries at most: 1 to 200, 50 where absent.
    #[param(minimum = 1, maximum = 200)]
    pub(crate) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
}

impl PageQuery {
    /// Entries wanted, and one more to see whether there is another page.
    pub(crate) fn limit(&self) -> Outcome<u32> {
        match self.limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MOST => Ok(limit),
            _ => Err(Fault::BadRequest(format!("`limit` is a number from 1 to {MOST}"))),
        }
    }

    /// The parts of the key the page begins after, `N` of them; `None` for the first page.
    pub(crate) fn after<const N: usize>(&self) -> Outcome<Option<[String; N]>> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let wrong = || Fault::BadRequest("`cursor` is not one of ours; leave it out".to_owned());
        if cursor.len() > CURSOR_BYTES {
            return Err(wrong());
        }
        let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).map_err(|_| wrong())?;
        let parts: Vec<String> = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
        if parts.iter().any(|part| part.contains('\0')) {
            return Err(wrong());
        }
        parts.try_into().map(Some).map_err(|_| wrong())
    }
}

/// Makes a page of up to `limit` out of `rows`, of which one more was asked for.
pub(crate) fn page<R, T>(
    mut rows: Vec<R>,
    limit: u32,
    key: impl Fn(&R) -> Vec<String>,
    view: impl Fn(R) -> T,
) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    part(rows, more, key, view)
}

/// Makes a page of all of `rows`, which `more` follow.
pub(super) fn part<R, T>(
    rows: Vec<R>,
    more: bool,
    key: impl Fn(&R) -> Vec<String>,
    view: impl Fn(R) -> T,
) -> Page<T> {
    let next_cursor = rows.last().filter(|_| more).map(key).map(|key| cursor(&key));
    Page { items: rows.into_iter().map(view).collect(), next_cursor }
}

/// The cursor of a page that begins after this key.
pub(super) fn cursor(key: &[String]) -> String {
    BASE64URL_NOPAD.encode(serde_json::json!(key).to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_on_and_others_are_refused() {
        let first = page(vec!["a", "b", "c"], 2, |row| vec![(*row).to_owned()], str::to_owned);
        assert_eq!(first.items, ["a", "b"]);
        let query = PageQuery { limit: None, cursor: first.next_cursor };
        assert_eq!(query.after::<1>().unwrap(), Some(["b".to_owned()]));
        assert!(query.after::<2>().is_err());
        let last = page(vec!["c"], 2, |row| vec![(*row).to_owned()], str::to_owned);
        assert_eq!(last.next_cursor, None);
        for bad in ["!", "AAAA", "WyIAIl0", &"A".repeat(2_000)] {
            let query = PageQuery { limit: Some(1), cursor: Some(bad.to_owned()) };
            assert!(query.after::<1>().is_err(), "{bad}");
        }
        for limit in [0, 201] {
            assert!(PageQuery { limit: Some(limit), cursor: None }.limit().is_err());
        }
    }
}
