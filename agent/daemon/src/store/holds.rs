//! How long the conditions of triggers have held (their `for`), by trigger and topic. The
//! engine says what changes, and which are meant no longer, so a row is here only while its trigger
//! is in force; how many there may be for one trigger is its business.

use openclaw_agent_core::{Hold, HoldChange};
use openclaw_protocol::id::{TriggerId, WorkflowName};
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::StoreError;
use super::batch::Batch;
use super::restore::Restored;
use super::rows::{self, HoldRow};
use super::space::HOLDS;

pub(super) fn write(write: &WriteTransaction, batch: &Batch) -> Result<(), StoreError> {
    if batch.holds.is_empty() {
        return Ok(());
    }
    let mut table = write.open_table(HOLDS.definition())?;
    for one in &batch.holds {
        let key = key_of(&one.workflow, &one.trigger, &one.source);
        match one.hold {
            Some(Hold { since, counted_ms, confirmed, fired, check }) => {
                let row = HoldRow { since, counted_ms, confirmed, fired, check };
                HOLDS.put(&mut table, key.as_bytes(), &rows::pack(&row))?;
            }
            None => {
                table.remove(key.as_bytes())?;
            }
        }
    }
    Ok(())
}

/// Reads all. What is damaged is named and left out: its condition begins to hold anew.
pub(super) fn restore(read: &ReadTransaction, restored: &mut Restored) -> Result<(), StoreError> {
    for entry in read.open_table(HOLDS.definition())?.iter()? {
        let (key, value) = entry?;
        let row = HOLDS.unseal(key.value(), value.value());
        match row.and_then(|row| rows::unpack::<HoldRow>(HOLDS.0, row)) {
            Ok(HoldRow { since, counted_ms, confirmed, fired, check }) => {
                let hold = Hold { since, counted_ms, confirmed, fired, check };
                let whose = parts(key.value());
                restored.holds.extend(whose.map(|(workflow, trigger, source)| HoldChange {
                    workflow,
                    trigger,
                    source,
                    hold: Some(hold),
                }));
            }
            Err(e) => restored.damaged.push(e.damage()?),
        }
    }
    Ok(())
}

pub(super) fn key_of(workflow: &WorkflowName, trigger: &TriggerId, source: &str) -> String {
    format!("{workflow}/{trigger}\0{source}")
}

/// Names have neither `/` nor a zero byte.
pub(super) fn parts(key: &[u8]) -> Option<(WorkflowName, TriggerId, String)> {
    let (names, source) = std::str::from_utf8(key).ok()?.split_once('\0')?;
    let (workflow, trigger) = names.split_once('/')?;
    let names = (WorkflowName::parse(workflow).ok()?, TriggerId::parse(trigger).ok()?);
    Some((names.0, names.1, source.to_owned()))
}

#[cfg(test)]
mod tests {
    use openclaw_protocol::id::Epoch;
    use openclaw_protocol::time::{ClockTrust, Stamp};

    use super::super::{Retention, Store};
    use super::*;
    use crate::limits;
    use crate::testing::Disk;

    fn open(disk: &Disk) -> (Store, Restored) {
        let retention = Retention::default();
        let mut store =
            Store::open(disk.backend(), limits::CACHE_BYTES, retention, Epoch(7)).unwrap();
        let restored = store.start("boot").unwrap();
        (store, restored)
    }

    fn change(source: &str, counted_ms: Option<u64>) -> HoldChange {
        let since = Stamp { boot: 1, boot_ms: 5, wall_ms: 1, trust: ClockTrust::Unset };
        HoldChange {
            workflow: WorkflowName::parse("w").unwrap(),
            trigger: TriggerId::parse("t").unwrap(),
            source: source.to_owned(),
            hold: counted_ms.map(|counted_ms| Hold {
                since,
                counted_ms,
                confirmed: true,
                fired: counted_ms > 8,
                check: 7,
            }),
        }
    }

    #[test]
    fn holds_come_back_as_they_last_were_and_a_damaged_one_is_named() {
        let disk = Disk::new(1);
        let (mut store, _) = open(&disk);
        let now = change("", Some(1)).hold.unwrap().since;
        let holds = vec![
            change("a/b", Some(1)),
            change("a\0b", Some(2)),
            change("", Some(3)),
            change("a/b", Some(9)),
            change("gone", Some(1)),
            change("gone", None),
        ];
        store.commit(&Batch { holds, ..Batch::default() }, now).unwrap();
        drop(store);
        let (store, restored) = open(&disk);
        let expected = [change("", Some(3)), change("a\0b", Some(2)), change("a/b", Some(9))];
        assert_eq!(restored.holds, expected);
        store.spoil("holds", b"w/t\0a/b");
        drop(store);
        let (_, restored) = open(&disk);
        assert_eq!((restored.holds, restored.damaged.len()), (expected[..2].to_vec(), 1));
    }
}
