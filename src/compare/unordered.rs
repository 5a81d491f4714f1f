//! Unordered lists. Two of them are equal if both have the same entries, each as often.
//!
//! Each entry is hashed by its meaning, and the hashes are sorted. A list of n entries thus takes one reading and n log n steps, however deep
//! unordered lists are nested. A hash has 64 bits: two different entries have the same hash once in 10^19 pairs.

use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::json::{sorted, Trails, NUMBER};
use crate::json::number;
use crate::json::{Items, Kind, Node};

/// A mark before a value, or after the last part of one. It keeps different meanings from being hashed alike.
#[derive(Clone, Copy)]
enum Mark {
    Null,
    Bool,
    Number,
    String,
    List,
    UnorderedList,
    Object,
    End,
}

/// An entry of a list: the hash of its meaning, and its index.
type Entry = (u64, usize);

/// For each entry of a list, by index: true if it has no partner on the other side.
pub(super) type Odd = Vec<bool>;

/// Compares two lists by their entries. Returns the entries without partners on each side.
pub(super) fn odd_entries(trails: &mut Trails<'_>, ours: Items<'_>, theirs: Items<'_>) -> (Odd, Odd) {
    let (mut our_odd, mut their_odd) = (Odd::new(), Odd::new());
    let (ours, theirs) = (entries(trails, ours, &mut our_odd), entries(trails, theirs, &mut their_odd));
    if ours.iter().map(|(hash, _)| hash).eq(theirs.iter().map(|(hash, _)| hash)) {
        return (Odd::new(), Odd::new());
    }
    let (mut ours, mut theirs) = (sorted_entries(ours).into_iter().peekable(), sorted_entries(theirs).into_iter().peekable());
    let mark = |odd: &mut Odd, entry: Option<Entry>| {
        if let Some(odd) = entry.and_then(|(_, index)| odd.get_mut(index)) {
            *odd = true;
        }
    };
    loop {
        match (ours.peek(), theirs.peek()) {
            (None, None) => return (our_odd, their_odd),
            (Some((our_hash, _)), Some((their_hash, _))) if our_hash == their_hash => {
                ours.next();
                theirs.next();
            }
            (Some((our_hash, _)), entry) if entry.is_none_or(|(their_hash, _)| our_hash < their_hash) => {
                mark(&mut our_odd, ours.next());
            }
            _ => mark(&mut their_odd, theirs.next()),
        }
    }
}

/// Sorts by hash, then by index. A heap, because another sort of the standard library takes 8 KiB of the module.
fn sorted_entries(entries: Vec<Entry>) -> Vec<Entry> {
    BinaryHeap::from(entries).into_sorted_vec()
}

/// The entries that are not ignored. Marks all entries as not odd.
fn entries(trails: &mut Trails<'_>, items: Items<'_>, odd: &mut Odd) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (index, item) in items.enumerate() {
        odd.push(false);
        trails.enter_index(index);
        if !trails.is_ignored() {
            let mut hasher = DefaultHasher::new();
            write(trails, item, &mut hasher);
            entries.push((hasher.finish(), index));
        }
        trails.leave();
    }
    entries
}

/// Hashes the meaning of a value, without its ignored parts. Recurses no deeper than parsed JSON may be nested.
fn write(trails: &mut Trails<'_>, node: Node<'_>, hasher: &mut DefaultHasher) {
    // It does not matter that a value without enough work is left out: the comparison has no result then.
    let read = if node.is_leaf() { node.written().len() } else { 0 };
    if !trails.affords(NUMBER.saturating_add(read)) {
        return;
    }
    match node.kind() {
        Kind::Null => Mark::Null.write(hasher),
        Kind::Bool(flag) => {
            Mark::Bool.write(hasher);
            flag.hash(hasher);
        }
        Kind::Number(number) => {
            Mark::Number.write(hasher);
            number::hash(number, hasher);
        }
        Kind::String(text) => {
            Mark::String.write(hasher);
            text.hash(hasher);
        }
        Kind::Array(items) if trails.is_unordered() => {
            Mark::UnorderedList.write(hasher);
            let entries = sorted_entries(entries(trails, items, &mut Odd::new()));
            entries.iter().for_each(|(hash, _)| hash.hash(hasher));
            Mark::End.write(hasher);
        }
        Kind::Array(items) => {
            Mark::List.write(hasher);
            for (index, item) in items.enumerate() {
                trails.enter_index(index);
                if !trails.is_ignored() {
                    // Ignored entries before it do not change its index.
                    index.hash(hasher);
                    write(trails, item, hasher);
                }
                trails.leave();
            }
            Mark::End.write(hasher);
        }
        Kind::Object(members) => {
            Mark::Object.write(hasher);
            for (key, value) in sorted(members, trails) {
                trails.enter_key(&key);
                if !trails.is_ignored() {
                    key.hash(hasher);
                    write(trails, value, hasher);
                }
                trails.leave();
            }
            Mark::End.write(hasher);
        }
    }
}

impl Mark {
    fn write(self, hasher: &mut DefaultHasher) {
        hasher.write_u8(self as u8);
    }
}
