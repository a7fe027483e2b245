//! The format of the database: which one it has, who may read it, and what becomes of one from before.

use openclaw_protocol::wire::VERSION;
use redb::WriteTransaction;

use super::StoreError;
use super::space::{META, Open, WANTED};

/// Of the rows as a whole: the wire's version, and a step of the store's own. An agent from before a
/// step refuses the database instead of taking its rows for damaged ones. 1: one fact a row; 2: runs
/// that go on with another definition; 3: documents have a table of their own,
/// permissions are of more than four kinds, and plugins remember.
pub(super) const FORMAT: u8 = 16 * VERSION + 3;

/// Refuses what a later version wrote, and notes which one writes from now on. Whether there was
/// something to note.
pub(super) fn note_format(meta: &mut Open<'_>) -> Result<bool, StoreError> {
    let mut own = vec![FORMAT];
    own.extend_from_slice(env!("CARGO_PKG_VERSION").as_bytes());
    // Where the note is damaged, the rows still speak for themselves.
    let known = META.fetch(meta, b"format").or_else(|e| e.damage().map(|_| None))?;
    if known.as_ref() == Some(&own) {
        return Ok(false);
    }
    if let Some([found, writer @ ..]) = known.as_deref()
        && *found > FORMAT
    {
        let writer = String::from_utf8_lossy(writer).into_owned();
        return Err(StoreError::Version { found: *found, writer });
    }
    META.put(meta, b"format", &own)?;
    Ok(true)
}

/// Documents that an agent from before has among the small values go where they are now, and the small
/// values together again.
pub(super) fn part_wanted(write: &WriteTransaction, meta: &mut Open<'_>) -> Result<(), StoreError> {
    let mut wanted = write.open_table(WANTED.definition())?;
    let mut small = Vec::new();
    while let Some((key, value)) = meta.pop_first()? {
        let (key, value) = (key.value().to_vec(), value.value().to_vec());
        if ![b"desired".as_slice(), b"pending", b"unusable"].contains(&key.as_slice()) {
            small.push((key, value));
        } else if let Ok(body) = META.unseal(&key, &value) {
            WANTED.put(&mut wanted, &key, body)?;
        } else {
            // As damaged there as it was here.
            wanted.insert(key.as_slice(), value.as_slice())?;
        }
    }
    for (key, value) in small {
        meta.insert(key.as_slice(), value.as_slice())?;
    }
    Ok(())
}
