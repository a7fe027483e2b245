//! Many rows in few statements: UNNEST on PostgreSQL (one plan for any number of rows),
//! multi-row VALUES on SQLite. The only place where the two databases get different SQL.

use sqlx::AssertSqlSafe;

use super::{Arg, Result, Row, Tx, arg};

/// SQLite takes at most 32,766 arguments a statement; staying far below keeps statements small.
const SQLITE_ARGUMENTS: usize = 8_000;

/// One column of a batch, all rows.
#[derive(Debug, Clone)]
pub(crate) enum Column {
    /// Texts.
    Text(&'static str, Vec<Option<String>>),
    /// Integers.
    Int(&'static str, Vec<Option<i64>>),
    /// Bytes.
    Bytes(&'static str, Vec<Vec<u8>>),
}

impl Column {
    /// The same text in each of `rows` rows.
    pub(crate) fn same(name: &'static str, value: &str, rows: usize) -> Self {
        Self::Text(name, vec![Some(value.to_owned()); rows])
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Text(name, _) | Self::Int(name, _) | Self::Bytes(name, _) => name,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(_, values) => values.len(),
            Self::Int(_, values) => values.len(),
            Self::Bytes(_, values) => values.len(),
        }
    }

    fn array(&self) -> &'static str {
        match self {
            Self::Text(..) => "text[]",
            Self::Int(..) => "bigint[]",
            Self::Bytes(..) => "bytea[]",
        }
    }

    fn arg(&self, row: usize) -> Arg {
        match self {
            Self::Text(_, values) => Arg::Text(values[row].clone()),
            Self::Int(_, values) => Arg::Int(values[row]),
            Self::Bytes(_, values) => Arg::Bytes(Some(values[row].clone())),
        }
    }
}

/// Inserts all rows of `columns` into `table`; `tail` is what follows the values, such as
/// `ON CONFLICT DO NOTHING RETURNING seq`. Answers what `tail` returns.
///
/// All columns have the same length, and with `DO UPDATE` no two rows have the same key.
pub(crate) async fn insert_many(
    tx: &mut Tx,
    table: &'static str,
    columns: Vec<Column>,
    tail: &'static str,
) -> Result<Vec<Row>> {
    let rows = columns.first().map_or(0, Column::len);
    debug_assert!(columns.iter().all(|c| c.len() == rows), "columns of {table} differ in length");
    if rows == 0 {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = columns.iter().map(Column::name).collect();
    let head = format!("INSERT INTO {table} ({})", names.join(", "));
    match tx {
        Tx::Postgres(tx) => {
            let arrays: Vec<String> = columns
                .iter()
                .enumerate()
                .map(|(at, column)| format!("${}::{}", at + 1, column.array()))
                .collect();
            let sql = format!("{head} SELECT * FROM UNNEST({}) {tail}", arrays.join(", "));
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for column in columns {
                query = match column {
                    Column::Text(_, values) => {
                        let values = values.into_iter().map(|value| value.map(arg::storable));
                        query.bind(values.collect::<Vec<_>>())
                    }
                    Column::Int(_, values) => query.bind(values),
                    Column::Bytes(_, values) => query.bind(values),
                };
            }
            Ok(query.fetch_all(&mut **tx).await?.into_iter().map(Row::Postgres).collect())
        }
        Tx::Sqlite(tx) => {
            let at_once = (SQLITE_ARGUMENTS / columns.len()).max(1);
            let mut answered = Vec::new();
            for first in (0..rows).step_by(at_once) {
                let last = rows.min(first + at_once);
                let one = format!("({})", vec!["?"; columns.len()].join(","));
                let values = vec![one.as_str(); last - first].join(",");
                let args =
                    (first..last).flat_map(|row| columns.iter().map(move |c| c.arg(row))).collect();
                let query = sqlx::query(AssertSqlSafe(format!("{head} VALUES {values} {tail}")));
                // A statement of its own length for each batch would fill the statement cache.
                let query = arg::bind_sqlite(query, args).persistent(false);
                answered.extend(query.fetch_all(&mut **tx).await?.into_iter().map(Row::Sqlite));
            }
            Ok(answered)
        }
    }
}
