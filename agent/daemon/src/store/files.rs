//! What is known of the files that triggers are about, by trigger and path. The engine says what
//! changes, and which are meant no longer; how many there may be is its business.

use openclaw_agent_core::{FileChange, FileStat, KnownFile};
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::StoreError;
use super::batch::Batch;
use super::holds::{key_of, parts};
use super::restore::Restored;
use super::rows::{self, FileRow};
use super::space::FILES;

pub(super) fn write(write: &WriteTransaction, batch: &Batch) -> Result<(), StoreError> {
    if batch.files.is_empty() {
        return Ok(());
    }
    let mut table = write.open_table(FILES.definition())?;
    for one in &batch.files {
        let key = key_of(&one.workflow, &one.trigger, &one.file);
        match one.known {
            Some(KnownFile { stat: FileStat { size, modified_ns }, gone }) => {
                let row = FileRow { size, modified_ns, gone };
                FILES.put(&mut table, key.as_bytes(), &rows::pack(&row))?;
            }
            None => {
                table.remove(key.as_bytes())?;
            }
        }
    }
    Ok(())
}

/// Reads all. What is damaged is named and left out: should the file be there, it is new.
pub(super) fn restore(read: &ReadTransaction, restored: &mut Restored) -> Result<(), StoreError> {
    for entry in read.open_table(FILES.definition())?.iter()? {
        let (key, value) = entry?;
        let row = FILES.unseal(key.value(), value.value());
        match row.and_then(|row| rows::unpack::<FileRow>(FILES.0, row)) {
            Ok(FileRow { size, modified_ns, gone }) => {
                let known = Some(KnownFile { stat: FileStat { size, modified_ns }, gone });
                let whose = parts(key.value());
                restored.files.extend(whose.map(|(workflow, trigger, file)| FileChange {
                    workflow,
                    trigger,
                    file,
                    known,
                }));
            }
            Err(e) => restored.damaged.push(e.damage()?),
        }
    }
    Ok(())
}
