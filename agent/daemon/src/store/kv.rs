//! What plugins remember beyond one run, by plugin and, where it is a workflow's own, by workflow.
//! It is written in the transaction of the result that it came with, and read by workers in short
//! transactions of their own. How much it may be is the sandbox's business.

use openclaw_protocol::id::WorkflowName;
use openclaw_protocol::ordered::VecSet;
use redb::WriteTransaction;

use super::StoreError;
use super::batch::Batch;
use super::blobs::Blobs;
use super::space::KV;

/// Ends the name of a plugin and that of a workflow in a key. No name has it in it.
const END: u8 = 0;

/// Whose memory it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvPlace {
    /// The plugin's name.
    pub plugin: String,
    /// The workflow, where others do not share it.
    pub workflow: Option<WorkflowName>,
}

/// A value that a plugin wants remembered or forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvRow {
    /// Whose it is.
    pub place: KvPlace,
    /// Its key there.
    pub key: String,
    /// The value; `None` to forget it.
    pub value: Option<Vec<u8>>,
}

/// Names that are still spoken of: what others remember is forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeepKv {
    /// Plugins of the workflows that the device shall have.
    pub plugins: VecSet<String>,
    /// Those workflows.
    pub workflows: VecSet<WorkflowName>,
}

impl KvPlace {
    /// What all keys of the place begin with.
    fn prefix(&self) -> Vec<u8> {
        let workflow = self.workflow.as_ref().map_or("", |name| name.as_str());
        [self.plugin.as_bytes(), &[END], workflow.as_bytes(), &[END]].concat()
    }

    fn key(&self, key: &str) -> Vec<u8> {
        let mut whole = self.prefix();
        whole.extend_from_slice(key.as_bytes());
        whole
    }
}

impl Blobs {
    /// What is remembered under a key.
    ///
    /// # Errors
    /// The database fails or the value is damaged.
    pub fn kv_get(&self, place: &KvPlace, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = place.key(key);
        self.reading(|read| KV.fetch(&read.open_table(KV.definition())?, &key))
    }

    /// All keys of a place, in order, with the bytes of their values.
    ///
    /// # Errors
    /// The database fails.
    pub fn kv_list(&self, place: &KvPlace) -> Result<Vec<(String, usize)>, StoreError> {
        let prefix = place.prefix();
        self.reading(|read| {
            let table = read.open_table(KV.definition())?;
            let mut keys = Vec::new();
            for entry in table.range(prefix.as_slice()..)? {
                let (key, value) = entry?;
                let Some(key) = key.value().strip_prefix(prefix.as_slice()) else { break };
                let size = KV.body_length(value.value());
                keys.extend(std::str::from_utf8(key).ok().map(|key| (key.to_owned(), size)));
            }
            Ok(keys)
        })
    }
}

pub(super) fn write(write: &WriteTransaction, batch: &Batch) -> Result<(), StoreError> {
    if batch.kv.is_empty() && batch.keep_kv.is_none() {
        return Ok(());
    }
    let mut table = write.open_table(KV.definition())?;
    for row in &batch.kv {
        let key = row.place.key(&row.key);
        match &row.value {
            Some(value) => drop(KV.put(&mut table, &key, value)?),
            None => drop(table.remove(key.as_slice())?),
        }
    }
    if let Some(keep) = &batch.keep_kv {
        table.retain(|key, _| keep.wants(key))?;
    }
    Ok(())
}

impl KeepKv {
    fn wants(&self, key: &[u8]) -> bool {
        let mut parts = key.splitn(3, |byte| *byte == END);
        let mut name = || std::str::from_utf8(parts.next()?).ok();
        let (Some(plugin), Some(workflow)) = (name(), name()) else { return false };
        self.plugins.contains(plugin)
            && (workflow.is_empty() || self.workflows.iter().any(|name| name.as_str() == workflow))
    }
}

#[cfg(test)]
mod tests {
    use openclaw_protocol::id::Epoch;
    use openclaw_protocol::time::{ClockTrust, Stamp};

    use super::super::{Retention, Store};
    use super::*;
    use crate::limits;
    use crate::testing::Disk;

    const NOW: Stamp = Stamp { boot: 1, boot_ms: 1, wall_ms: 1, trust: ClockTrust::Unset };

    fn open(disk: &Disk) -> Store {
        Store::open(disk.backend(), limits::CACHE_BYTES, Retention::default(), Epoch(7)).unwrap()
    }

    fn place(plugin: &str, workflow: &str) -> KvPlace {
        KvPlace { plugin: plugin.to_owned(), workflow: WorkflowName::parse(workflow).ok() }
    }

    fn set(place: &KvPlace, key: &str, value: &str) -> KvRow {
        let value = Some(value.as_bytes().to_vec());
        KvRow { place: place.clone(), key: key.to_owned(), value }
    }

    #[test]
    fn places_do_not_see_each_other_and_outlive_a_restart() {
        let disk = Disk::new(1);
        let mut store = open(&disk);
        let (own, shared) = (place("count", "wells"), place("count", ""));
        let others = [place("count", "wells-2"), place("count-2", "wells"), place("coun", "")];
        let mut kv = vec![set(&own, "a", "1"), set(&own, "b", "22"), set(&shared, "a", "333")];
        kv.extend(others.iter().map(|place| set(place, "a", "other")));
        store.commit(&Batch { kv, ..Batch::default() }, NOW).unwrap();
        drop(store);
        let mut store = open(&disk);
        let read = store.blobs();
        assert_eq!(read.kv_get(&own, "a").unwrap().unwrap(), b"1");
        assert_eq!(read.kv_get(&shared, "a").unwrap().unwrap(), b"333");
        assert_eq!(read.kv_get(&shared, "b").unwrap(), None);
        assert_eq!(read.kv_list(&own).unwrap(), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        assert_eq!(read.kv_list(&shared).unwrap(), [("a".to_owned(), 3)]);
        let gone = KvRow { value: None, ..set(&own, "a", "") };
        store.commit(&Batch { kv: vec![gone], ..Batch::default() }, NOW).unwrap();
        assert_eq!(read.kv_list(&own).unwrap(), [("b".to_owned(), 2)]);
    }

    #[test]
    fn what_nobody_speaks_of_any_more_is_forgotten() {
        let disk = Disk::new(1);
        let mut store = open(&disk);
        let kept = [place("count", "wells"), place("count", "")];
        let gone = [place("count", "old"), place("old", "wells"), place("old", "")];
        let kv = kept.iter().chain(&gone).map(|place| set(place, "k", "v")).collect();
        store.commit(&Batch { kv, ..Batch::default() }, NOW).unwrap();
        let keep_kv = Some(KeepKv {
            plugins: ["count".to_owned()].into(),
            workflows: [WorkflowName::parse("wells").unwrap()].into(),
        });
        store.commit(&Batch { keep_kv, ..Batch::default() }, NOW).unwrap();
        let read = store.blobs();
        assert!(kept.iter().all(|place| read.kv_get(place, "k").unwrap().is_some()));
        assert!(gone.iter().all(|place| read.kv_get(place, "k").unwrap().is_none()));
    }
}
