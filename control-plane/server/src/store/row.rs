//! What a query answers: a row of texts, integers and bytes, whichever database it came from.

use std::str::FromStr;

use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::{Result, StoreError};

/// One row.
#[derive(Debug)]
pub(crate) enum Row {
    /// From SQLite.
    Sqlite(SqliteRow),
    /// From PostgreSQL.
    Postgres(PgRow),
}

impl Row {
    /// A text that is not NULL.
    pub(crate) fn text(&self, column: &'static str) -> Result<String> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// A text, or `None` for NULL.
    pub(crate) fn opt_text(&self, column: &'static str) -> Result<Option<String>> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// An integer that is not NULL.
    pub(crate) fn int(&self, column: &'static str) -> Result<i64> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// An integer, or `None` for NULL.
    pub(crate) fn opt_int(&self, column: &'static str) -> Result<Option<i64>> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// A counting number: an integer that is not negative.
    pub(crate) fn count(&self, column: &'static str) -> Result<u64> {
        let value = self.int(column)?;
        u64::try_from(value).map_err(|_| unreadable(column, format!("{value} is negative")))
    }

    /// A counting number of at most 32 bits.
    pub(crate) fn small(&self, column: &'static str) -> Result<u32> {
        let value = self.int(column)?;
        u32::try_from(value).map_err(|_| unreadable(column, format!("{value} is out of range")))
    }

    /// A 0/1 flag.
    pub(crate) fn flag(&self, column: &'static str) -> Result<bool> {
        Ok(self.int(column)? != 0)
    }

    /// Bytes that are not NULL.
    pub(crate) fn bytes(&self, column: &'static str) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// A text in a form of its own, such as an id.
    pub(crate) fn parsed<T>(&self, column: &'static str) -> Result<T>
    where
        T: FromStr<Err: std::fmt::Display>,
    {
        self.text(column)?.parse().map_err(|e: T::Err| unreadable(column, e.to_string()))
    }

    /// 16 hexadecimal digits as a number: epochs, generations, lane digests.
    pub(crate) fn hex(&self, column: &'static str) -> Result<u64> {
        let text = self.text(column)?;
        u64::from_str_radix(&text, 16).map_err(|e| unreadable(column, e.to_string()))
    }

    /// A JSON text.
    pub(crate) fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T> {
        serde_json::from_str(&self.text(column)?).map_err(|e| unreadable(column, e.to_string()))
    }

    /// A JSON text, or `None` for NULL.
    pub(crate) fn opt_json<T: DeserializeOwned>(&self, column: &'static str) -> Result<Option<T>> {
        let text = self.opt_text(column)?;
        text.map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|e| unreadable(column, e.to_string()))
    }
}

pub(super) fn unreadable(column: &'static str, reason: String) -> StoreError {
    StoreError::Unreadable { column, reason }
}
