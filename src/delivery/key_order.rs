//! Order by key: of the items that have the same key, only one is under way. The others wait until it ends, in the order in which they came.
//!
//! An item takes its key, or waits for it. The end of the item that has the key gives it to the one that has waited longest. Items of other keys pass
//! by. A key is known only while an item has it, so clients that send a new key each time do not fill the memory.
//!
//! ```
//! use sidecast::delivery::key_order::{Key, KeyOrder};
//!
//! let mut order = KeyOrder::default();
//! let alice = Key::from(&b"alice"[..]);
//! assert!(order.take(&alice));
//! assert!(order.take(&Key::from(&b"bob"[..])));
//! // A second item of alice waits until the first one ends.
//! assert!(!order.take(&Key::from(&b"alice"[..])));
//! order.wait(&alice, "second");
//! assert_eq!(order.free(&alice), Some("second"));
//! assert_eq!(order.free(&alice), None);
//! assert_eq!(order.keys(), 1);
//! ```

use std::collections::VecDeque;
use std::mem::size_of;
use std::rc::Rc;

/// A key. The copies that take it one after the other share it.
pub type Key = Rc<[u8]>;

/// The keys that items have, and the items that wait for them.
#[derive(Debug)]
pub struct KeyOrder<T> {
    /// Sorted by key. Clients choose the keys, and no choice of them makes the search slow. The code for a tree would be ten times as large, and only
    /// for many thousands of keys at a time faster.
    keys: Vec<(Key, VecDeque<T>)>,
}

impl<T> Default for KeyOrder<T> {
    fn default() -> Self {
        Self { keys: Vec::new() }
    }
}

impl<T> KeyOrder<T> {
    /// The place of a key, or where it belongs.
    fn find(&self, key: &Key) -> Result<usize, usize> {
        self.keys.binary_search_by(|(other, _)| other.as_ref().cmp(key))
    }

    /// Takes a key that is free. The caller frees this very key when its item ends. Returns false if another item has an equal key.
    pub fn take(&mut self, key: &Key) -> bool {
        match self.find(key) {
            Ok(_) => false,
            Err(place) => {
                self.keys.insert(place, (Rc::clone(key), VecDeque::new()));
                true
            }
        }
    }

    /// Lets an item wait for a key that another item has. Hands the item back if none has it.
    pub fn wait(&mut self, key: &Key, item: T) -> Option<T> {
        match self.find(key).ok().and_then(|place| self.keys.get_mut(place)) {
            Some((_, waiting)) => {
                waiting.push_back(item);
                None
            }
            None => Some(item),
        }
    }

    /// Frees a key: the item that had it has ended. Returns the item that has waited for it longest, which now has the key. Does nothing if the key
    /// was forgotten by [`Self::clear`], even if a later item has an equal one.
    pub fn free(&mut self, key: &Key) -> Option<T> {
        let place = self.find(key).ok()?;
        let (_, waiting) = self.keys.get_mut(place).filter(|(own, _)| Rc::ptr_eq(own, key))?;
        let next = waiting.pop_front();
        // What was long once need not stay allocated.
        if waiting.len() <= waiting.capacity() / 4 {
            waiting.shrink_to(waiting.len().saturating_mul(2));
        }
        if next.is_none() {
            self.keys.remove(place);
            if self.keys.len() <= self.keys.capacity() / 4 {
                self.keys.shrink_to(self.keys.len().saturating_mul(2));
            }
        }
        next
    }

    /// Forgets all keys. Returns the items that waited.
    pub fn clear(&mut self) -> impl Iterator<Item = T> {
        std::mem::take(&mut self.keys).into_iter().flat_map(|(_, waiting)| waiting)
    }

    /// The number of keys that items have.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// The bytes that an item takes for its key: the key itself, an entry of a list that may be half empty, and a spare place in a queue.
    pub fn bytes_of(key: &[u8]) -> usize {
        let entry = size_of::<(Key, VecDeque<T>)>();
        let held = [size_of::<[usize; 2]>(), entry, entry, size_of::<T>()];
        held.into_iter().fold(key.len(), usize::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(text: &str) -> Key {
        Key::from(text.as_bytes())
    }

    #[test]
    fn items_of_a_key_follow_one_another_and_the_key_is_forgotten_after_the_last() {
        let mut order = KeyOrder::default();
        let (a, b) = (key("a"), key("b"));
        assert!(order.take(&a) && !order.take(&key("a")) && order.take(&b));
        for item in 1..=3 {
            order.wait(&key("a"), item);
        }
        assert_eq!(order.keys(), 2);
        assert_eq!([order.free(&a), order.free(&b), order.free(&a), order.free(&a)], [Some(1), None, Some(2), Some(3)]);
        assert!(!order.take(&key("a")), "the last one has not ended");
        assert_eq!((order.free(&a), order.keys()), (None, 0));
        assert!(order.take(&key("a")));
    }

    #[test]
    fn a_key_that_was_forgotten_is_not_freed_for_those_who_came_later() {
        let mut order = KeyOrder::default();
        let (old, new) = (key("a"), key("a"));
        assert!(order.take(&old));
        order.wait(&key("a"), "old");
        assert_eq!(order.clear().collect::<Vec<_>>(), ["old"]);
        assert_eq!(order.free(&old), None);
        assert!(order.take(&new));
        order.wait(&key("a"), "new");
        assert_eq!((order.free(&old), order.keys()), (None, 1));
        assert_eq!(order.free(&new), Some("new"));
    }

    #[test]
    fn an_empty_key_is_a_key() {
        let mut order = KeyOrder::<()>::default();
        let (old, new) = (key(""), key(""));
        assert!(order.take(&old) && !order.take(&new));
        assert_eq!((order.free(&new), order.keys()), (None, 1));
        assert_eq!((order.free(&old), order.keys()), (None, 0));
        assert_eq!(order.wait(&old, ()), Some(()), "nobody has it");
    }

    #[test]
    fn a_queue_that_was_long_does_not_stay_allocated() {
        let mut order = KeyOrder::default();
        let a = key("a");
        assert!(order.take(&a));
        (0..1_000).for_each(|item| assert_eq!(order.wait(&key("a"), item), None));
        while order.keys.iter().any(|(_, waiting)| waiting.len() > 1) {
            order.free(&a).unwrap();
        }
        assert!(order.keys.iter().all(|(_, waiting)| waiting.capacity() <= 8), "{:?}", order.keys);
    }

    #[test]
    fn the_bytes_of_a_key_grow_with_it() {
        let of = |length| KeyOrder::<[u8; 100]>::bytes_of(&vec![0; length]);
        assert!(of(0) >= 100 + 2 * size_of::<usize>());
        assert_eq!(of(1_000) - of(0), 1_000);
    }

    proptest! {
        /// Against a model: a list of items for each key, of which the first is under way.
        #[test]
        fn the_first_of_each_key_is_under_way(steps in prop::collection::vec((0_usize..4, any::<bool>()), 0..200)) {
            let mut order = KeyOrder::default();
            let mut model: [VecDeque<usize>; 4] = Default::default();
            let mut held: [Option<Key>; 4] = Default::default();
            for (item, (name, arrives)) in steps.into_iter().enumerate() {
                if arrives {
                    let key = key(&name.to_string());
                    prop_assert_eq!(order.take(&key), model[name].is_empty());
                    if model[name].is_empty() {
                        held[name] = Some(key);
                    } else {
                        order.wait(&key, item);
                    }
                    model[name].push_back(item);
                } else if let Some(key) = held[name].clone() {
                    model[name].pop_front();
                    prop_assert_eq!(order.free(&key), model[name].front().copied());
                    if model[name].is_empty() {
                        held[name] = None;
                    }
                }
                prop_assert_eq!(order.keys(), model.iter().filter(|items| !items.is_empty()).count());
            }
            let waiting: usize = model.iter().map(|items| items.len().saturating_sub(1)).sum();
            prop_assert_eq!((order.clear().count(), order.keys()), (waiting, 0));
        }
    }
}
