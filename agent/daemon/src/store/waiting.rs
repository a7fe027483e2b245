//! What waits at the device itself: messages for the site's broker until they are sent, and the
//! keys of trigger firings that must not start anything again.
//!
//! Messages are kept by the number that the brain gives them, in the order in which they are to be
//! sent; how many there may be is its business. Keys are kept by trigger, each trigger's numbered from the oldest, so
//! that the bound of one trigger costs a look at its two ends.

use openclaw_agent_core::{AttemptId, Publication, SeenKey};
use openclaw_protocol::id::{TriggerId, WorkflowName};
use openclaw_protocol::limits::DEDUPE_KEYS;
use openclaw_protocol::ordered::VecSet;
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::batch::Batch;
use super::restore::Restored;
use super::rows::{self, PublicationRow, SeenRow};
use super::space::{Open, PUBLICATIONS, SEEN, tail_u64};
use super::{Store, StoreError};

/// A message for the site's broker that is not known to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its number.
    pub seq: u64,
    /// The same for every repetition of its step instance.
    pub message_id: String,
    /// Bytes of topic and payload.
    pub bytes: usize,
    /// The attempt that waits for the broker's acknowledgement.
    pub confirm: Option<AttemptId>,
}

impl Waiting {
    /// What is to be remembered of a message under a number.
    #[must_use]
    pub fn of(seq: u64, publication: &Publication) -> Self {
        Self {
            seq,
            message_id: publication.message_id.clone(),
            bytes: publication.topic.len() + publication.payload.len(),
            confirm: publication.confirm.clone(),
        }
    }
}

impl Store {
    /// A message that waits to be sent.
    ///
    /// # Errors
    /// The database fails or the message is damaged.
    pub fn publication(&self, seq: u64) -> Result<Option<Publication>, StoreError> {
        let read = self.db.begin_read()?;
        let table = read.open_table(PUBLICATIONS.definition())?;
        let row = PUBLICATIONS.fetch(&table, &seq.to_be_bytes())?;
        row.map(|row| unpack_publication(&row)).transpose()
    }
}

pub(super) fn write_publications(
    write: &WriteTransaction,
    batch: &Batch,
) -> Result<(), StoreError> {
    if batch.publications.is_empty() && batch.published.is_empty() {
        return Ok(());
    }
    let mut table = write.open_table(PUBLICATIONS.definition())?;
    for (seq, publication) in &batch.publications {
        let confirm = publication.confirm.as_ref();
        let row = PublicationRow {
            message_id: publication.message_id.clone(),
            topic: publication.topic.clone(),
            qos: publication.qos,
            retain: publication.retain,
            payload: publication.payload.clone(),
            confirm: confirm.map(|one| (one.run.clone(), one.step.clone(), one.attempt)),
        };
        PUBLICATIONS.put(&mut table, &seq.to_be_bytes(), &rows::pack(&row))?;
    }
    for seq in &batch.published {
        table.remove(seq.to_be_bytes().as_slice())?;
    }
    Ok(())
}

pub(super) fn write_seen(write: &WriteTransaction, batch: &Batch) -> Result<(), StoreError> {
    if batch.seen.is_empty() && batch.keep_seen.is_none() {
        return Ok(());
    }
    let mut table = write.open_table(SEEN.definition())?;
    let mut grown = VecSet::new();
    for one in &batch.seen {
        let trigger = trigger_key(&one.workflow, &one.trigger);
        let next = ends(&table, &trigger)?.map_or(0, |(_, last)| last + 1);
        let row = SeenRow { key: one.key, at: one.at };
        SEEN.put(&mut table, &seen_key(&trigger, next), &rows::pack(&row))?;
        grown.insert(trigger);
    }
    for trigger in grown {
        let Some((first, last)) = ends(&table, &trigger)? else { continue };
        let keep_from = (last + 1).saturating_sub(DEDUPE_KEYS as u64);
        if first < keep_from {
            let (from, to) = (seen_key(&trigger, first), seen_key(&trigger, keep_from));
            table.retain_in(from.as_slice()..to.as_slice(), |_, _| false)?;
        }
    }
    if let Some(keep) = &batch.keep_seen {
        let kept = |(workflow, _): &(WorkflowName, TriggerId)| keep.contains(workflow);
        table.retain(|key, _| seen_key_parts(key).as_ref().is_some_and(kept))?;
    }
    Ok(())
}

/// Reads both. What is damaged is named and left out.
pub(super) fn restore(read: &ReadTransaction, restored: &mut Restored) -> Result<(), StoreError> {
    for entry in read.open_table(SEEN.definition())?.iter()? {
        let (key, value) = entry?;
        let row = SEEN.unseal(key.value(), value.value());
        match row.and_then(|row| rows::unpack::<SeenRow>(SEEN.0, row)) {
            Ok(SeenRow { key: hash, at }) => {
                let whose = seen_key_parts(key.value());
                restored.seen.extend(whose.map(|(workflow, trigger)| SeenKey {
                    workflow,
                    trigger,
                    key: hash,
                    at,
                }));
            }
            Err(e) => restored.damaged.push(e.damage()?),
        }
    }
    for entry in read.open_table(PUBLICATIONS.definition())?.iter()? {
        let (key, value) = entry?;
        let Some(seq) = tail_u64(key.value()) else { continue };
        let row = PUBLICATIONS.unseal(key.value(), value.value()).and_then(unpack_publication);
        match row {
            Ok(publication) => restored.publications.push(Waiting::of(seq, &publication)),
            Err(e) => {
                restored.damaged.push(e.damage()?);
                restored.publications_gone.push(seq);
            }
        }
    }
    Ok(())
}

fn unpack_publication(bytes: &[u8]) -> Result<Publication, StoreError> {
    let row: PublicationRow = rows::unpack(PUBLICATIONS.0, bytes)?;
    let PublicationRow { message_id, topic, qos, retain, payload, confirm } = row;
    let confirm = confirm.map(|(run, step, attempt)| AttemptId { run, step, attempt });
    Ok(Publication { message_id, topic, qos, retain, payload, confirm })
}

/// Names have neither `/` nor a zero byte, so no trigger's keys are among another's.
fn trigger_key(workflow: &WorkflowName, trigger: &TriggerId) -> Vec<u8> {
    format!("{workflow}/{trigger}\0").into_bytes()
}

fn seen_key(trigger: &[u8], place: u64) -> Vec<u8> {
    [trigger, &place.to_be_bytes()].concat()
}

fn seen_key_parts(key: &[u8]) -> Option<(WorkflowName, TriggerId)> {
    let (names, _) = key.split_last_chunk::<8>()?;
    let names = std::str::from_utf8(names.strip_suffix(b"\0")?).ok()?;
    let (workflow, trigger) = names.split_once('/')?;
    Some((WorkflowName::parse(workflow).ok()?, TriggerId::parse(trigger).ok()?))
}

/// The places of a trigger's oldest and newest key.
fn ends(table: &Open<'_>, trigger: &[u8]) -> Result<Option<(u64, u64)>, StoreError> {
    let (from, to) = (seen_key(trigger, 0), seen_key(trigger, u64::MAX));
    let mut range = table.range(from.as_slice()..to.as_slice())?;
    let first = range.next().transpose()?.and_then(|(key, _)| tail_u64(key.value()));
    let last = range.next_back().transpose()?.and_then(|(key, _)| tail_u64(key.value()));
    let last = last.or(first);
    Ok(first.zip(last))
}

#[cfg(test)]
mod tests {
    use openclaw_protocol::id::{Epoch, RunId};
    use openclaw_protocol::run::StepPath;
    use openclaw_protocol::time::{ClockTrust, Stamp};

    use super::super::Retention;
    use super::*;
    use crate::limits;
    use crate::testing::Disk;

    fn at(boot_ms: u64) -> Stamp {
        Stamp { boot: 1, boot_ms, wall_ms: 1, trust: ClockTrust::Unset }
    }

    fn open(disk: &Disk) -> (Store, Restored) {
        let mut store =
            Store::open(disk.backend(), limits::CACHE_BYTES, Retention::default(), Epoch(7))
                .unwrap();
        let restored = store.start("boot").unwrap();
        (store, restored)
    }

    fn seen(workflow: &str, trigger: &str, n: u32) -> SeenKey {
        let mut key = [0; 16];
        key[..4].copy_from_slice(&n.to_be_bytes());
        SeenKey {
            workflow: WorkflowName::parse(workflow).unwrap(),
            trigger: TriggerId::parse(trigger).unwrap(),
            key,
            at: at(u64::from(n)),
        }
    }

    fn publication(n: u8, confirm: bool) -> Publication {
        let step = StepPath("s".into());
        let attempt = AttemptId { run: RunId::of(Epoch(7), 1), step, attempt: 2 };
        Publication {
            message_id: format!("id-{n}"),
            topic: "a/b".into(),
            qos: 1,
            retain: true,
            payload: vec![n; 10],
            confirm: confirm.then_some(attempt),
        }
    }

    #[test]
    fn keys_come_back_oldest_first_bounded_by_trigger_and_go_with_their_workflow() {
        let disk = Disk::new(1);
        let (mut store, _) = open(&disk);
        let most = u32::try_from(DEDUPE_KEYS).unwrap();
        // `a/x` and `a-b/x` have keys beside each other.
        for chunk in (0..most + 5).collect::<Vec<_>>().chunks(500) {
            let batch = Batch {
                seen: chunk.iter().map(|n| seen("a", "x", *n)).collect(),
                ..Batch::default()
            };
            store.commit(&batch, at(1)).unwrap();
        }
        let others = vec![seen("a", "y", 1), seen("a-b", "x", 2), seen("a", "x", most + 5)];
        store.commit(&Batch { seen: others, ..Batch::default() }, at(1)).unwrap();
        drop(store);
        let (mut store, restored) = open(&disk);
        let of = |workflow: &str, trigger: &str| -> Vec<SeenKey> {
            let is = |one: &&SeenKey| {
                one.workflow.as_str() == workflow && one.trigger.as_str() == trigger
            };
            restored.seen.iter().filter(is).cloned().collect()
        };
        let expected: Vec<_> = (6..=most + 5).map(|n| seen("a", "x", n)).collect();
        assert_eq!(of("a", "x"), expected);
        assert_eq!(of("a", "y"), [seen("a", "y", 1)]);
        assert_eq!(of("a-b", "x"), [seen("a-b", "x", 2)]);

        let keep_seen = Some([WorkflowName::parse("a-b").unwrap()].into());
        store.commit(&Batch { keep_seen, ..Batch::default() }, at(1)).unwrap();
        drop(store);
        assert_eq!(open(&disk).1.seen, [seen("a-b", "x", 2)]);
    }

    #[test]
    fn messages_stay_until_they_are_sent_and_a_damaged_one_is_named() {
        let disk = Disk::new(1);
        let (mut store, _) = open(&disk);
        let publications = (1..=4).zip([1, 2, 3, 4].map(|n| publication(n, n == 2))).collect();
        let published = vec![3];
        store.commit(&Batch { publications, published, ..Batch::default() }, at(1)).unwrap();
        drop(store);
        let (store, restored) = open(&disk);
        let expected: Vec<_> =
            [1, 2, 4].map(|n: u8| Waiting::of(n.into(), &publication(n, n == 2))).to_vec();
        assert_eq!(restored.publications, expected);
        assert_eq!(store.publication(2).unwrap(), Some(publication(2, true)));
        assert_eq!(store.publication(3).unwrap(), None);
        store.spoil("publications", &1_u64.to_be_bytes());
        assert!(store.publication(1).unwrap_err().damage().is_ok());
        drop(store);
        let (_, restored) = open(&disk);
        assert_eq!((restored.publications_gone, restored.damaged.len()), (vec![1], 1));
        assert_eq!(restored.publications, expected[1..]);
    }
}
