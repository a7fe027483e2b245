//! What a statement is given: texts, integers and bytes, and nothing else on either database.

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Postgres, Sqlite};

use openclaw_protocol::id::{DeviceId, Digest, Epoch, Generation, RunId, TenantId};

/// One argument.
#[derive(Debug, Clone)]
pub(crate) enum Arg {
    /// A text or NULL.
    Text(Option<String>),
    /// A 64-bit integer or NULL.
    Int(Option<i64>),
    /// Bytes or NULL.
    Bytes(Option<Vec<u8>>),
}

/// Arguments in order: `args![tenant, device, now_ms]`.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::Arg::from($value)),*] };
}
pub(crate) use args;

impl From<&str> for Arg {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<&String> for Arg {
    fn from(value: &String) -> Self {
        Self::Text(Some(value.clone()))
    }
}

impl From<String> for Arg {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Option<String>> for Arg {
    fn from(value: Option<String>) -> Self {
        Self::Text(value)
    }
}

impl From<Option<&str>> for Arg {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(str::to_owned))
    }
}

impl From<i64> for Arg {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<u32> for Arg {
    fn from(value: u32) -> Self {
        Self::Int(Some(i64::from(value)))
    }
}

impl From<u64> for Arg {
    /// Numbers above 2^63 - 1 do not occur: whoever takes a number from outside bounds it first.
    fn from(value: u64) -> Self {
        Self::Int(Some(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

impl From<bool> for Arg {
    fn from(value: bool) -> Self {
        Self::Int(Some(i64::from(value)))
    }
}

impl From<Option<i64>> for Arg {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<Option<u32>> for Arg {
    fn from(value: Option<u32>) -> Self {
        Self::Int(value.map(i64::from))
    }
}

impl From<Vec<u8>> for Arg {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(Some(value))
    }
}

macro_rules! shown {
    ($($kind:ty),*) => { $(
        impl From<&$kind> for Arg {
            fn from(value: &$kind) -> Self {
                Self::Text(Some(value.to_string()))
            }
        }
    )* };
}
shown!(TenantId, DeviceId, RunId, Digest, Epoch, Generation);

/// PostgreSQL takes no U+0000 in a text. A device may send one, and a row that one database takes
/// and the other does not would be repeated by its device for ever.
pub(super) fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

pub(super) fn bind_sqlite(
    mut query: Query<'static, Sqlite, SqliteArguments>,
    args: Vec<Arg>,
) -> Query<'static, Sqlite, SqliteArguments> {
    for arg in args {
        query = match arg {
            Arg::Text(value) => query.bind(value.map(storable)),
            Arg::Int(value) => query.bind(value),
            Arg::Bytes(value) => query.bind(value),
        };
    }
    query
}

pub(super) fn bind_postgres(
    mut query: Query<'static, Postgres, PgArguments>,
    args: Vec<Arg>,
) -> Query<'static, Postgres, PgArguments> {
    for arg in args {
        query = match arg {
            Arg::Text(value) => query.bind(value.map(storable)),
            Arg::Int(value) => query.bind(value),
            Arg::Bytes(value) => query.bind(value),
        };
    }
    query
}
