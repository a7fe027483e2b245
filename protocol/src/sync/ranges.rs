//! Sets of numbers as ascending ranges: what has come, what is on its way, what is missing.

use super::Cursor;

/// Disjoint inclusive ranges, ascending, never touching one another. Numbers begin at 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// What a cursor covers below `next`. Nonsense in it (0, backward ranges) covers nothing.
    pub(super) fn of(cursor: &Cursor, next: u64) -> Self {
        let mut ranges = Self::default();
        ranges.insert(1, cursor.upto.min(next.saturating_sub(1)));
        if !cursor.lane.is_ordered() {
            for (first, last) in &cursor.ranges {
                ranges.insert((*first).max(1), (*last).min(next.saturating_sub(1)));
            }
        }
        ranges
    }

    /// Adds `first..=last`; nothing where that is empty.
    pub(super) fn insert(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let from = self.0.partition_point(|(_, end)| end.saturating_add(1) < first);
        let till = self.0.partition_point(|(start, _)| *start <= last.saturating_add(1));
        let merged = match self.0.get(from..till) {
            Some([(start, end)]) => (first.min(*start), last.max(*end)),
            Some([(start, _), .., (_, end)]) => (first.min(*start), last.max(*end)),
            Some([]) | None => (first, last),
        };
        self.0.splice(from..till, [merged]);
    }

    /// Adds all of another set.
    pub(super) fn join(&mut self, other: &Self) {
        for (first, last) in &other.0 {
            self.insert(*first, *last);
        }
    }

    /// Whether all of `first..=last` is in.
    pub(super) fn covers(&self, first: u64, last: u64) -> bool {
        let at = self.0.partition_point(|(_, end)| *end < first);
        self.0.get(at).is_some_and(|(start, end)| *start <= first && last <= *end)
    }

    /// Up to where nothing is missing; 0 where 1 is.
    pub(super) fn upto(&self) -> u64 {
        match self.0.first() {
            Some((0 | 1, end)) => *end,
            _ => 0,
        }
    }

    /// How many numbers are in.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum, (first, last)| sum.saturating_add(last - first + 1))
    }

    /// How many ranges there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The lowest run of missing numbers below `next`: first, and one past the last.
    pub(super) fn lowest_gap(&self, next: u64) -> Option<(u64, u64)> {
        let first = self.upto() + 1;
        let after = self.0.iter().find(|(start, _)| *start > first);
        let end = after.map_or(next, |(start, _)| (*start).min(next));
        (first < end).then_some((first, end))
    }

    /// The highest run of missing numbers below `next`: first, and one past the last.
    pub(super) fn highest_gap(&self, next: u64) -> Option<(u64, u64)> {
        let mut end = next;
        for (start, last) in self.0.iter().rev() {
            if last.saturating_add(1) < end {
                return Some((last + 1, end));
            }
            end = end.min(*start);
        }
        (end > 1).then_some((1, end))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn gap_of(set: &BTreeSet<u64>, start: u64, next: u64) -> (u64, u64) {
        let end = (start..next).find(|n| set.contains(n)).unwrap_or(next);
        (start, end)
    }

    proptest! {
        #[test]
        fn ranges_are_a_set_of_numbers(
            pairs in prop::collection::vec((1_u64..60, 0_u64..9), 0..20),
            next in 1_u64..80,
        ) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (first, more) in pairs {
                ranges.insert(first, first + more);
                set.extend(first..=first + more);
            }
            prop_assert_eq!(ranges.count(), set.len() as u64);
            for n in 1..80 {
                prop_assert_eq!(ranges.covers(n, n), set.contains(&n));
            }
            prop_assert!(ranges.0.windows(2).all(|w| w[0].1 + 1 < w[1].0));
            let upto = (1..).take_while(|n| set.contains(n)).last().unwrap_or(0);
            prop_assert_eq!(ranges.upto(), upto);
            let lowest = (1..next).find(|n| !set.contains(n)).map(|n| gap_of(&set, n, next));
            prop_assert_eq!(ranges.lowest_gap(next), lowest);
            let top = (1..next).rev().find(|n| !set.contains(n));
            let highest = top.map(|last| {
                let first = (1..=last).rev().take_while(|n| !set.contains(n)).last().unwrap();
                (first, last + 1)
            });
            prop_assert_eq!(ranges.highest_gap(next), highest);
        }
    }

    #[test]
    fn the_ends_of_the_numbers_do_no_harm() {
        let mut ranges = Ranges::default();
        ranges.insert(5, 4);
        ranges.insert(u64::MAX, u64::MAX);
        ranges.insert(1, u64::MAX);
        assert_eq!((ranges.upto(), ranges.len()), (u64::MAX, 1));
        assert_eq!(ranges.highest_gap(9), None);
        assert_eq!(Ranges::default().lowest_gap(1), None);
    }
}
