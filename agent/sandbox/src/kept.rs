//! What a call wants to be remembered and sent. It is kept here while the call runs and handed out
//! with its result, so that it is committed with it or not at all: an attempt that fails, or that
//! a power cut repeats, has changed nothing.

use openclaw_plugin_abi::KvScope;
use openclaw_protocol::ordered::VecMap;

use crate::limits;

/// What is committed with a result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Remembered values that changed, each key once, in order.
    pub kv: Vec<KvWrite>,
    /// Messages for the site's own broker, in order.
    pub published: Vec<Published>,
}

/// A change of a remembered value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvWrite {
    /// Who shares it.
    pub scope: KvScope,
    /// Its key.
    pub key: String,
    /// The value; `None` where it is forgotten.
    pub value: Option<Vec<u8>>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Topic name.
    pub topic: String,
    /// Content.
    pub payload: Vec<u8>,
    /// 0 or 1.
    pub qos: u8,
    /// The broker keeps it for those who come later.
    pub retain: bool,
}

impl Kept {
    /// Nothing to be kept or sent.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.kv.is_empty() && self.published.is_empty()
    }
}

/// One scope as the call sees it: what the device remembers, and over it what the call has changed.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// Bytes of all values on the device, by key; known from the first change on.
    there: Option<VecMap<String, usize>>,
    changed: VecMap<String, Option<Vec<u8>>>,
}

impl Overlay {
    /// The value that the call has given a key, if it has.
    pub(crate) fn changed(&self, key: &str) -> Option<Option<&[u8]>> {
        self.changed.get(key).map(Option::as_deref)
    }

    /// Whether the host has told what is there.
    pub(crate) const fn knows(&self) -> bool {
        self.there.is_some()
    }

    /// Takes the host's answer to what is there.
    ///
    /// # Errors
    /// It does not read.
    pub(crate) fn learn(&mut self, list: &[u8]) -> Result<(), &'static str> {
        let unreadable = "the host's list of keys cannot be read";
        let text = std::str::from_utf8(list).map_err(|_| unreadable)?;
        let mut parts = text.split_terminator('\0');
        let mut there = VecMap::new();
        while let Some(key) = parts.next() {
            let size = parts.next().and_then(|size| size.parse().ok()).ok_or(unreadable)?;
            there.insert(key.to_owned(), size);
        }
        self.there = Some(there);
        Ok(())
    }

    /// Changes a value, where the scope stays within its limits with it.
    ///
    /// # Errors
    /// It would not; says what to do.
    pub(crate) fn change(&mut self, key: &str, value: Option<Vec<u8>>) -> Result<(), String> {
        let before = self.changed.insert(key.to_owned(), value);
        let (keys, bytes) = self.extent();
        if keys <= limits::KV_KEYS && bytes <= limits::KV_SCOPE_BYTES {
            return Ok(());
        }
        match before {
            Some(before) => self.changed.insert(key.to_owned(), before),
            None => self.changed.remove(key),
        };
        Err(format!(
            "that would be {keys} keys with {bytes} bytes; at most {} with {} are remembered, so \
             remove some first",
            limits::KV_KEYS,
            limits::KV_SCOPE_BYTES
        ))
    }

    /// All keys with a prefix, in order, each ended by a NUL.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<u8> {
        let there = self.there.iter().flat_map(VecMap::keys);
        let there = there.filter(|key| !self.changed.contains_key(*key));
        let set = self.changed.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key);
        let mut keys: Vec<&str> =
            there.chain(set).map(String::as_str).filter(|key| key.starts_with(prefix)).collect();
        keys.sort_unstable();
        keys.iter().flat_map(|key| key.bytes().chain([0])).collect()
    }

    /// Bytes that the changes take up on the host's side.
    pub(crate) fn held(&self) -> usize {
        let cost = |(key, value): (&String, &Option<Vec<u8>>)| {
            key.len() + value.as_ref().map_or(0, Vec::len) + limits::BLOCK_OVERHEAD_BYTES
        };
        self.changed.iter().map(cost).sum()
    }

    /// The changes, in the order of their keys.
    pub(crate) fn writes(self, scope: KvScope) -> impl Iterator<Item = KvWrite> {
        self.changed.into_iter().map(move |(key, value)| KvWrite { scope, key, value })
    }

    /// Keys, and bytes of keys and values.
    fn extent(&self) -> (usize, usize) {
        let there = self.there.iter().flatten();
        let there = there.filter(|(key, _)| !self.changed.contains_key(*key));
        let there = there.map(|(key, size)| key.len() + size);
        let set = self.changed.iter().filter_map(|(key, v)| Some(key.len() + v.as_ref()?.len()));
        there.chain(set).fold((0, 0), |(keys, bytes), one| (keys + 1, bytes + one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(list: &str) -> Overlay {
        let mut overlay = Overlay::default();
        overlay.learn(list.as_bytes()).unwrap();
        overlay
    }

    #[test]
    fn changes_lie_over_what_is_there() {
        let mut overlay = overlay("a\x003\0b\x005\0");
        assert_eq!(overlay.keys(""), b"a\0b\0");
        overlay.change("b", None).unwrap();
        overlay.change("ab", Some(vec![1])).unwrap();
        assert_eq!(overlay.keys(""), b"a\0ab\0");
        assert_eq!(overlay.keys("ab"), b"ab\0");
        assert_eq!(overlay.changed("b"), Some(None));
        assert_eq!(overlay.changed("a"), None);
        let writes: Vec<_> = overlay.writes(KvScope::Plugin).map(|w| (w.key, w.value)).collect();
        assert_eq!(writes, [("ab".to_owned(), Some(vec![1])), ("b".to_owned(), None)]);
    }

    #[test]
    fn a_scope_is_bounded_by_what_it_will_be() {
        let mut full = overlay(&format!("a\0{}\0", limits::KV_SCOPE_BYTES - 1));
        assert!(full.change("b", Some(Vec::new())).unwrap_err().contains("remove some"));
        assert_eq!(full.changed("b"), None, "what was refused is not there");
        full.change("a", Some(vec![0; 10])).unwrap();
        full.change("b", Some(vec![0; 10])).unwrap();
        full.change("a", Some(vec![0; limits::KV_SCOPE_BYTES - 13])).unwrap();
        assert!(full.change("a", Some(vec![0; limits::KV_SCOPE_BYTES])).is_err());
        assert_eq!(full.changed("a").unwrap().unwrap().len(), limits::KV_SCOPE_BYTES - 13);
        let keys: String = (0..limits::KV_KEYS).map(|n| format!("{n}\x001\0")).collect();
        let mut many = overlay(&keys);
        assert!(many.change("more", Some(vec![1])).is_err());
        many.change("0", None).unwrap();
        many.change("more", Some(vec![1])).unwrap();
    }

    #[test]
    fn a_list_that_is_none_is_refused() {
        for list in [&b"a"[..], b"a\0", b"a\0x\0", b"\xff\x001\0"] {
            assert!(Overlay::default().learn(list).is_err(), "{list:?}");
        }
        assert!(overlay("").knows());
    }
}
