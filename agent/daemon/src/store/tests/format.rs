//! Databases of agents from before.

use openclaw_protocol::id::Digest;

use super::*;

/// As an agent from before kept its documents: among the small values, one of them damaged since.
#[test]
fn documents_that_were_kept_among_the_small_values_are_found_and_parted() {
    let disk = Disk::new(1);
    let mut store = open(&disk);
    store.start("boot-a").unwrap();
    let signed = |n: usize| SignedDesired { document: vec![1; n], signature: vec![2; 64] };
    let unusable = Some([(Digest([7; 32]), "why".to_owned())].into());
    store.commit(&Batch { unusable, ..Batch::default() }, NOW).unwrap();
    let write = store.db.database().unwrap().begin_write().unwrap();
    {
        let mut meta = write.open_table(META.definition()).unwrap();
        let mut wanted = write.open_table(space::WANTED.definition()).unwrap();
        let body = space::WANTED.fetch(&wanted, b"unusable").unwrap().unwrap();
        wanted.remove(b"unusable".as_slice()).unwrap();
        META.put(&mut meta, b"unusable", &body).unwrap();
        META.put(&mut meta, b"desired", &wire::pack(Kind::SignedDesired, &signed(9_000))).unwrap();
        META.put(&mut meta, b"pending", &wire::pack(Kind::SignedDesired, &signed(40))).unwrap();
        META.put(&mut meta, b"format", &[FORMAT - 1]).unwrap();
    }
    write.commit().unwrap();
    store.spoil("meta", b"pending");
    let (epoch, holdings) = (store.epoch(), store.holdings());
    drop(store);

    let mut store = open(&disk);
    let restored = store.start("boot-b").unwrap();
    assert_eq!(restored.damaged.len(), 1, "{:?}", restored.damaged);
    assert_eq!(store.desired().unwrap(), (Some(signed(9_000)), None));
    assert_eq!(store.unusable().unwrap().0.len(), 1);
    assert_eq!((store.epoch(), store.holdings(), restored.boot), (epoch, holdings, 2));
    let read = store.db.begin_read().unwrap();
    let stats = read.open_table(META.definition()).unwrap().stats().unwrap();
    assert_eq!((stats.leaf_pages(), stats.branch_pages()), (1, 0), "they share one page again");
}
