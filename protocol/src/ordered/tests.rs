//! The ordered map and set do what those of the standard library do, whatever is asked of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{VecMap, VecSet, sort, sort_by};

/// One thing to do with a map.
#[derive(Debug, Clone)]
enum Act {
    Insert(u8, u16),
    Remove(u8),
    Add(u8, u16),
    Modify(u8, u16),
    Change(u8, u16),
    Retain(u8),
    Extract(u8),
    Extend(Vec<(u8, u16)>),
    PopFirst,
    PopLast,
}

fn act() -> impl Strategy<Value = Act> {
    let key = 0u8..40;
    prop_oneof![
        4 => (key.clone(), any::<u16>()).prop_map(|(k, v)| Act::Insert(k, v)),
        2 => key.clone().prop_map(Act::Remove),
        1 => (key.clone(), any::<u16>()).prop_map(|(k, v)| Act::Add(k, v)),
        1 => (key.clone(), any::<u16>()).prop_map(|(k, v)| Act::Modify(k, v)),
        1 => (key.clone(), any::<u16>()).prop_map(|(k, v)| Act::Change(k, v)),
        1 => (1u8..5).prop_map(Act::Retain),
        1 => (1u8..5).prop_map(Act::Extract),
        1 => prop::collection::vec((key, any::<u16>()), 0..8).prop_map(Act::Extend),
        1 => Just(Act::PopFirst),
        1 => Just(Act::PopLast),
    ]
}

/// Does it to both maps and compares what they say of it.
fn act_on(ours: &mut VecMap<u8, u16>, theirs: &mut BTreeMap<u8, u16>, act: Act) {
    match act {
        Act::Insert(k, v) => assert_eq!(ours.insert(k, v), theirs.insert(k, v)),
        Act::Remove(k) => assert_eq!(ours.remove(&k), theirs.remove(&k)),
        Act::Add(k, v) => assert_eq!(ours.entry(k).or_insert(v), theirs.entry(k).or_insert(v)),
        Act::Modify(k, v) => {
            let change = |held: &mut u16| *held ^= v;
            assert_eq!(
                ours.entry(k).and_modify(change).or_default(),
                theirs.entry(k).and_modify(change).or_default()
            );
        }
        Act::Change(k, v) => {
            for (_, held) in ours.range_mut(..k) {
                *held ^= v;
            }
            for (_, held) in theirs.range_mut(..k) {
                *held ^= v;
            }
        }
        Act::Retain(n) => {
            ours.retain(|k, _| k % n == 0);
            theirs.retain(|k, _| k % n == 0);
        }
        Act::Extract(n) => {
            let (a, b) = (|k: &u8, _: &mut u16| k % n == 1, |k: &u8, _: &mut u16| k % n == 1);
            assert!(ours.extract_if(.., a).eq(theirs.extract_if(.., b)));
        }
        Act::Extend(more) => {
            ours.extend(more.clone());
            theirs.extend(more);
        }
        Act::PopFirst => assert_eq!(ours.pop_first(), theirs.pop_first()),
        Act::PopLast => assert_eq!(ours.pop_last(), theirs.pop_last()),
    }
}

/// All that can be read of a map.
fn assert_same(ours: &VecMap<u8, u16>, theirs: &BTreeMap<u8, u16>, probe: u8) {
    assert!(ours.iter().eq(theirs) && ours.iter().rev().eq(theirs.iter().rev()));
    assert!(ours.keys().eq(theirs.keys()) && ours.values().eq(theirs.values()));
    assert!(ours.clone().into_keys().eq(theirs.clone().into_keys()));
    assert!(ours.clone().into_values().eq(theirs.clone().into_values()));
    assert_eq!((ours.len(), ours.is_empty()), (theirs.len(), theirs.is_empty()));
    assert_eq!(ours.get_key_value(&probe), theirs.get_key_value(&probe));
    assert_eq!(ours.contains_key(&probe), theirs.contains_key(&probe));
    assert_eq!(ours.first_key_value(), theirs.first_key_value());
    assert_eq!(ours.last_key_value(), theirs.last_key_value());
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
}

proptest! {
    #[test]
    fn a_map_does_what_the_standard_one_does(
        acts in prop::collection::vec(act(), 0..80),
        probe in 0u8..40,
    ) {
        let (mut ours, mut theirs) = (VecMap::new(), BTreeMap::new());
        for act in acts {
            act_on(&mut ours, &mut theirs, act);
            assert_same(&ours, &theirs, probe);
        }
    }

    #[test]
    fn a_map_of_entries_keeps_the_last_of_each_key(
        entries in prop::collection::vec((0u8..40, any::<u16>()), 0..60),
    ) {
        let ours: VecMap<_, _> = entries.iter().copied().collect();
        let theirs: BTreeMap<_, _> = entries.iter().copied().collect();
        assert_same(&ours, &theirs, 7);
    }

    #[test]
    fn a_range_is_that_of_the_standard_map(
        keys in prop::collection::btree_set(0u8..40, 0..30),
        (from, to) in (0u8..40, 0u8..40),
    ) {
        let ours: VecSet<u8> = keys.iter().copied().collect();
        prop_assert!(ours.range(from..).eq(keys.range(from..)));
        prop_assert!(ours.range(..=to).rev().eq(keys.range(..=to).rev()));
        let after = (std::ops::Bound::Excluded(from), std::ops::Bound::Unbounded);
        prop_assert!(ours.range(after).eq(keys.range(after)));
        if from <= to {
            prop_assert!(ours.range(from..to).eq(keys.range(from..to)));
        } else {
            // Where theirs panics there is nothing.
            prop_assert_eq!(ours.range(from..to).len(), 0);
        }
    }

    #[test]
    fn they_are_written_and_read_like_the_standard_ones(
        entries in prop::collection::btree_map("[a-c]{0,3}", any::<u16>(), 0..20),
    ) {
        let ours: VecMap<String, u16> = entries.clone().into_iter().collect();
        let json = serde_json::to_string(&entries).unwrap();
        prop_assert_eq!(&serde_json::to_string(&ours).unwrap(), &json);
        prop_assert_eq!(&serde_json::from_str::<VecMap<String, u16>>(&json).unwrap(), &ours);
        let bytes = postcard::to_allocvec(&entries).unwrap();
        prop_assert_eq!(&postcard::to_allocvec(&ours).unwrap(), &bytes);
        prop_assert_eq!(&postcard::from_bytes::<VecMap<String, u16>>(&bytes).unwrap(), &ours);

        let keys: BTreeSet<String> = entries.into_keys().collect();
        let ours: VecSet<String> = keys.iter().cloned().collect();
        let bytes = postcard::to_allocvec(&keys).unwrap();
        prop_assert_eq!(&postcard::to_allocvec(&ours).unwrap(), &bytes);
        prop_assert_eq!(&postcard::from_bytes::<VecSet<String>>(&bytes).unwrap(), &ours);
    }

    #[test]
    fn things_are_sorted_as_the_standard_library_sorts_them(
        mut things in prop::collection::vec((0u8..9, any::<u16>()), 0..60),
    ) {
        let mut theirs = things.clone();
        sort_by(&mut things, &|a, b| b.0.cmp(&a.0));
        theirs.sort_by_key(|thing| std::cmp::Reverse(thing.0));
        prop_assert_eq!(&things, &theirs);
        sort(&mut things);
        theirs.sort();
        prop_assert_eq!(things, theirs);
    }

    #[test]
    fn a_set_does_what_the_standard_one_does(
        acts in prop::collection::vec((any::<bool>(), 0u8..20), 0..60),
    ) {
        let (mut ours, mut theirs) = (VecSet::new(), BTreeSet::new());
        for (add, member) in acts {
            if add {
                prop_assert_eq!(ours.insert(member), theirs.insert(member));
            } else {
                prop_assert_eq!(ours.remove(&member), theirs.remove(&member));
            }
            prop_assert_eq!(ours.contains(&member), theirs.contains(&member));
            prop_assert_eq!((ours.first(), ours.last()), (theirs.first(), theirs.last()));
            prop_assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        }
        prop_assert!(ours.into_iter().eq(theirs));
    }
}

#[test]
fn a_repeated_key_in_json_counts_as_it_does_in_the_standard_map() {
    let json = r#"{"b":1,"a":2,"b":3}"#;
    let ours: VecMap<String, u8> = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_string(&ours).unwrap(), r#"{"a":2,"b":3}"#);
}
