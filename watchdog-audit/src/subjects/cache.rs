//! A bounded map that forgets what was not asked for lately.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Two generations of at most half the entries each: what is asked for moves into the young one,
/// and when that is full the old one goes. Every step takes constant time.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash, V> Cache<K, V> {
    /// A map of at most `entries`, and at least two.
    pub(crate) fn new(entries: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: (entries / 2).max(1) }
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.insert(key, value);
        }
        self.young.get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_within_its_bound_and_keeps_what_is_asked_for() {
        let mut cache = Cache::new(10);
        cache.insert(0, "asked for");
        for key in 1..1000 {
            cache.insert(key, "not asked for");
            assert_eq!(cache.get(&0), Some(&"asked for"));
            assert!(cache.len() <= 10, "{}", cache.len());
        }
        assert_eq!(cache.get(&1), None);
        assert_eq!(cache.get(&999), Some(&"not asked for"));
    }

    #[test]
    fn the_newest_value_counts() {
        let mut cache = Cache::new(4);
        for value in 0..10 {
            cache.insert("key", value);
            assert_eq!(cache.get("key"), Some(&value));
            cache.insert("other", value);
            cache.insert("third", value);
        }
        cache.clear();
        assert_eq!(cache.get("key"), None);
        assert_eq!(cache.len(), 0);
    }
}
