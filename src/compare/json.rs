//! Compares two JSON texts by value. The work is that of sorting the members of every object and the entries of every unordered list, and of
//! reading everything once.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::difference::{value_text, Difference, DifferenceKind, Differences, Path};
use super::unordered::odd_entries;
use super::{Reason, Settings, Side};
use crate::http::work_limit::{Work, PLACE};
use crate::json::number;
use crate::json::{self, Items, Kind, Members, Node, PointerSet, Trail};

/// The differences between two bodies. If only one of them is JSON, the difference is one of type. If neither is JSON, they are compared as bytes.
///
/// # Errors
/// Returns the side and the reason if the comparison takes too much work.
pub(super) fn differences(
    settings: &Settings,
    primary: &[u8],
    target: &[u8],
    work: &Work,
) -> Result<Differences, (Side, Reason)> {
    let mut comparison =
        Comparison { trails: Trails::of(settings, work), tell_values: settings.log_values, found: Differences::default() };
    let ours = json::parse_within(primary, work);
    work.spend(0).map_err(|_| (Side::Primary, Reason::WorkLimit))?;
    match (ours, json::parse_within(target, work)) {
        (Ok(ours), Ok(theirs)) => comparison.values(ours.root(), theirs.root(), &Path::Whole),
        (Err(_), Err(_)) => return Ok(Differences::of_bytes(settings.log_values, primary, target)),
        (ours, theirs) => {
            let ours = ours.as_ref().ok().map(|json| json.root());
            let theirs = theirs.as_ref().ok().map(|json| json.root());
            comparison.add(&Path::Whole, DifferenceKind::Type, ours, theirs);
        }
    }
    work.spend(0).map_err(|_| (Side::Target, Reason::WorkLimit))?;
    Ok(comparison.found)
}

/// The work of reading a number.
pub(super) const NUMBER: usize = 16;

/// The position of a walk, with what the settings say about it.
pub(super) struct Trails<'s> {
    ignored: Trail<'s>,
    /// `None` if every list is ordered.
    unordered: Option<Trail<'s>>,
    work: &'s Work,
}

impl<'s> Trails<'s> {
    fn of(settings: &'s Settings, work: &'s Work) -> Self {
        Self { ignored: settings.ignore.trail(), unordered: settings.unordered.as_ref().map(PointerSet::trail), work }
    }

    /// Counts the work for a value or a pair of values, plus `more`. Returns false if it exceeds the limit.
    pub(super) fn affords(&self, more: usize) -> bool {
        let ways = self.ignored.width().saturating_add(1);
        self.work.spend(PLACE.saturating_mul(ways).saturating_add(more)).is_ok()
    }

    pub(super) fn is_ignored(&self) -> bool {
        self.ignored.is_named()
    }

    pub(super) fn is_unordered(&self) -> bool {
        self.unordered.as_ref().is_some_and(Trail::is_named)
    }

    pub(super) fn enter_key(&mut self, key: &str) {
        self.each(|trail| trail.enter_key(key));
    }

    pub(super) fn enter_index(&mut self, index: usize) {
        self.each(|trail| trail.enter_index(index));
    }

    pub(super) fn leave(&mut self) {
        self.each(Trail::leave);
    }

    fn each(&mut self, step: impl Fn(&mut Trail<'s>)) {
        step(&mut self.ignored);
        self.unordered.iter_mut().for_each(step);
    }
}

struct Comparison<'s> {
    trails: Trails<'s>,
    tell_values: bool,
    found: Differences,
}

impl Comparison<'_> {
    /// Recurses no deeper than parsed JSON may be nested.
    fn values(&mut self, ours: Node<'_>, theirs: Node<'_>, path: &Path<'_>) {
        if self.trails.is_ignored() || !self.trails.affords(0) {
            return;
        }
        let same = match (ours.kind(), theirs.kind()) {
            (Kind::Array(ours), Kind::Array(theirs)) if self.trails.is_unordered() => {
                return self.unordered(ours, theirs, path);
            }
            (Kind::Array(ours), Kind::Array(theirs)) => return self.entries(ours, theirs, path),
            (Kind::Object(ours), Kind::Object(theirs)) => return self.members(ours, theirs, path),
            (Kind::Null, Kind::Null) => true,
            (Kind::Bool(ours), Kind::Bool(theirs)) => ours == theirs,
            (Kind::Number(ours), Kind::Number(theirs)) => {
                let length = ours.len().saturating_add(theirs.len());
                self.trails.affords(NUMBER.saturating_add(length)) && number::same(ours, theirs)
            }
            (Kind::String(ours), Kind::String(theirs)) => ours == theirs,
            _ => return self.add(path, DifferenceKind::Type, Some(ours), Some(theirs)),
        };
        if !same {
            self.add(path, DifferenceKind::Value, Some(ours), Some(theirs));
        }
    }

    fn entries(&mut self, mut ours: Items<'_>, mut theirs: Items<'_>, path: &Path<'_>) {
        for index in 0.. {
            let (ours, theirs) = (ours.next(), theirs.next());
            if ours.is_none() && theirs.is_none() {
                return;
            }
            self.trails.enter_index(index);
            self.places(ours, theirs, &Path::Index(path, index));
            self.trails.leave();
        }
    }

    /// Compares unordered lists. An entry without a partner is missing on the other side. It has the index of its own side.
    fn unordered(&mut self, ours: Items<'_>, theirs: Items<'_>, path: &Path<'_>) {
        let (our_odd, their_odd) = odd_entries(&mut self.trails, ours.clone(), theirs.clone());
        for (index, entry) in marked(our_odd, ours) {
            self.add(&Path::Index(path, index), DifferenceKind::MissingInTarget, Some(entry), None);
        }
        for (index, entry) in marked(their_odd, theirs) {
            self.add(&Path::Index(path, index), DifferenceKind::MissingInPrimary, None, Some(entry));
        }
    }

    fn members(&mut self, ours: Members<'_>, theirs: Members<'_>, path: &Path<'_>) {
        let (ours, theirs) = (sorted(ours, &self.trails), sorted(theirs, &self.trails));
        let (mut ours, mut theirs) = (ours.iter().peekable(), theirs.iter().peekable());
        loop {
            let order = match (ours.peek(), theirs.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((our_key, _)), Some((their_key, _))) => our_key.cmp(their_key),
            };
            let ours = if order.is_le() { ours.next() } else { None };
            let theirs = if order.is_ge() { theirs.next() } else { None };
            let Some((key, _)) = ours.or(theirs) else { return };
            self.trails.enter_key(key);
            self.places(ours.map(|(_, node)| *node), theirs.map(|(_, node)| *node), &Path::Key(path, key));
            self.trails.leave();
        }
    }

    /// Compares a position that exists on at least one side.
    fn places(&mut self, ours: Option<Node<'_>>, theirs: Option<Node<'_>>, path: &Path<'_>) {
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => self.values(ours, theirs, path),
            _ if self.trails.is_ignored() => {}
            (ours, None) => self.add(path, DifferenceKind::MissingInTarget, ours, None),
            (None, theirs) => self.add(path, DifferenceKind::MissingInPrimary, None, theirs),
        }
    }

    fn add(&mut self, path: &Path<'_>, kind: DifferenceKind, ours: Option<Node<'_>>, theirs: Option<Node<'_>>) {
        let tell_values = self.tell_values;
        self.found.add(|| {
            let [primary, target] = [ours, theirs].map(|node| node.filter(|_| tell_values).map(value_text));
            Difference { pointer: path.pointer(), kind, primary, target }
        });
    }
}

/// The marked entries, with their indexes.
fn marked<'d>(marks: Vec<bool>, items: Items<'d>) -> impl Iterator<Item = (usize, Node<'d>)> {
    items.enumerate().zip(marks).filter_map(|(entry, is_marked)| is_marked.then_some(entry))
}

/// The members, sorted by key. If a key is repeated, the last value counts.
pub(super) fn sorted<'d>(members: Members<'d>, trails: &Trails<'_>) -> Vec<(Cow<'d, str>, Node<'d>)> {
    let mut sorted = Vec::new();
    for (key, value) in members {
        // A sort compares each of n keys with about log2(n) others.
        if !trails.affords(key.written().len().saturating_add(PLACE * 7)) {
            return Vec::new();
        }
        sorted.push((key.text(), value));
    }
    // The sort is stable, so the last value of a key stays last.
    sorted.sort_by(|(key, _), (other, _)| key.cmp(other));
    sorted.dedup_by(|later, earlier| {
        let is_repeated = later.0 == earlier.0;
        if is_repeated {
            std::mem::swap(later, earlier);
        }
        is_repeated
    });
    sorted
}
