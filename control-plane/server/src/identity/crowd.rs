//! Counts who is inside, by key, with a bound for each: connections of an address, streams of a
//! principal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who is inside, and how often.
#[derive(Debug)]
pub(crate) struct Crowd<K: Ord + Clone>(Arc<Mutex<BTreeMap<K, usize>>>);

impl<K: Ord + Clone> Default for Crowd<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// One who is inside; dropping it is leaving.
#[derive(Debug)]
pub(crate) struct Place<K: Ord + Clone> {
    key: K,
    crowd: Crowd<K>,
}

impl<K: Ord + Clone> Crowd<K> {
    /// Lets one more in, unless `most` with the same key are inside already.
    pub(crate) fn enter(&self, key: K, most: usize) -> Option<Place<K>> {
        let mut inside = self.lock();
        let here = inside.entry(key.clone()).or_insert(0);
        if *here >= most {
            if *here == 0 {
                inside.remove(&key);
            }
            return None;
        }
        *here += 1;
        Some(Place { key, crowd: Self(Arc::clone(&self.0)) })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<K, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Clone> Drop for Place<K> {
    fn drop(&mut self) {
        let mut inside = self.crowd.lock();
        if let Some(here) = inside.get_mut(&self.key) {
            *here -= 1;
            if *here == 0 {
                inside.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_bound_and_nothing_is_kept_of_who_left() {
        let crowd = Crowd::default();
        let one = crowd.enter("a", 2).unwrap();
        let two = crowd.enter("a", 2).unwrap();
        assert!(crowd.enter("a", 2).is_none());
        assert!(crowd.enter("b", 2).is_some(), "another key is another count");
        drop(one);
        let three = crowd.enter("a", 2).unwrap();
        drop((two, three));
        assert!(crowd.enter("c", 0).is_none());
        assert!(crowd.lock().is_empty());
    }
}
