//! Sets of pointers into a JSON text.

use super::{index, Node, Pointer};
use crate::http::work_limit::{Work, PLACE};

/// A set of pointers, combined so that one walk follows all of them. A segment `*` stands for every key or index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointerSet {
    /// The first step is where all pointers start.
    steps: Vec<Step>,
}

/// The position after a common beginning of pointers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Step {
    /// True if a pointer ends here.
    is_named: bool,
    every: Option<usize>,
    /// Sorted.
    keys: Vec<(String, usize)>,
    /// The keys that are also list indexes. Sorted.
    indexes: Vec<(usize, usize)>,
}

impl PointerSet {
    /// Combines these pointers.
    pub fn new(pointers: impl IntoIterator<Item = Pointer>) -> Self {
        let mut places = Self { steps: vec![Step::default()] };
        for pointer in pointers {
            let end = pointer.0.into_iter().fold(0, |step, segment| places.step(step, segment));
            if let Some(end) = places.steps.get_mut(end) {
                end.is_named = true;
            }
        }
        places
    }

    /// The next step for a segment. Adds the step if it is missing.
    fn step(&mut self, from: usize, segment: String) -> usize {
        let fresh = self.steps.len();
        let Some(step) = self.steps.get_mut(from) else { return from };
        let next = if segment == "*" {
            *step.every.get_or_insert(fresh)
        } else {
            match step.keys.binary_search_by(|(key, _)| key.cmp(&segment)) {
                Ok(found) => step.keys.get(found).map_or(fresh, |(_, next)| *next),
                Err(place) => {
                    if let Some(index) = index(&segment) {
                        let place = step.indexes.partition_point(|(other, _)| *other < index);
                        step.indexes.insert(place, (index, fresh));
                    }
                    step.keys.insert(place, (segment, fresh));
                    fresh
                }
            }
        };
        if next == fresh {
            self.steps.push(Step::default());
        }
        next
    }

    /// The number of a pointer. `None` if the set does not contain it. `*` is a normal key here.
    pub fn number<S: AsRef<str>>(&self, segments: &[S]) -> Option<usize> {
        let number = segments.iter().try_fold(0, |step, segment| {
            let keys = &self.steps.get(step)?.keys;
            let found = keys.binary_search_by(|(key, _)| key.as_str().cmp(segment.as_ref())).ok()?;
            keys.get(found).map(|(_, next)| *next)
        })?;
        self.steps.get(number).filter(|step| step.is_named).map(|_| number)
    }

    /// Finds the values of all pointers without `*`. Each position is at the number of its pointer. One pass reads each key once. The result is
    /// that of [`Node::at`]: if a key is repeated, the last value counts.
    pub fn find(&self, root: Node<'_>, work: &Work) -> Vec<Option<u32>> {
        let mut found = vec![None; self.steps.len()];
        self.find_from(0, root, &mut found, work);
        found
    }

    /// Recurses no deeper than parsed JSON may be nested.
    fn find_from(&self, number: usize, node: Node<'_>, found: &mut [Option<u32>], work: &Work) {
        if let Some(found) = found.get_mut(number) {
            *found = Some(node.place());
        }
        let Some(step) = self.steps.get(number).filter(|step| !step.keys.is_empty()) else { return };
        let mut children = vec![None; step.keys.len()];
        for (key, value) in node.members() {
            if work.spend(key.written().len().saturating_add(PLACE)).is_err() {
                return;
            }
            let key = key.text();
            if let Ok(child) = step.keys.binary_search_by(|(other, _)| other.as_str().cmp(&key)) {
                if let Some(last) = children.get_mut(child) {
                    *last = Some(value);
                }
            }
        }
        let last_index = step.indexes.last().map(|(index, _)| *index);
        for (place, item) in node.items().enumerate().take_while(|(place, _)| Some(*place) <= last_index) {
            if work.spend(PLACE).is_err() {
                return;
            }
            if let Ok(child) = step.indexes.binary_search_by_key(&place, |(other, _)| *other) {
                if let Some((_, next)) = step.indexes.get(child) {
                    self.find_from(*next, item, found, work);
                }
            }
        }
        for ((_, next), child) in step.keys.iter().zip(children) {
            if let Some(child) = child {
                self.find_from(*next, child, found, work);
            }
        }
    }

    /// Starts a walk at the root.
    pub fn trail(&self) -> Trail<'_> {
        Trail { places: self, steps: vec![0], levels: vec![0] }
    }
}

/// The position of a walk, and the pointers that match it so far. Several may match: `/*/a` and `/b/*` both match at `/b`.
#[derive(Clone, Debug)]
pub struct Trail<'p> {
    places: &'p PointerSet,
    /// The steps of every level of the walk, one level after another.
    steps: Vec<usize>,
    /// The start of each level in `steps`.
    levels: Vec<usize>,
}

impl<'p> Trail<'p> {
    /// True if a pointer ends here.
    pub fn is_named(&self) -> bool {
        self.here().iter().any(|step| self.step(*step).is_some_and(|step| step.is_named))
    }

    /// The number of steps at this position, at least 1. It is the cost of the next move.
    pub fn width(&self) -> usize {
        self.here().len().max(1)
    }

    /// True if a pointer may end inside of this value.
    pub fn leads_on(&self) -> bool {
        self.here().iter().any(|step| self.step(*step).is_some_and(|step| step.every.is_some() || !step.keys.is_empty()))
    }

    /// Moves to a member of the object here.
    pub fn enter_key(&mut self, key: &str) {
        self.enter(|step| {
            let found = step.keys.binary_search_by(|(other, _)| other.as_str().cmp(key)).ok()?;
            step.keys.get(found).map(|(_, next)| *next)
        });
    }

    /// Moves to an entry of the list here.
    pub fn enter_index(&mut self, index: usize) {
        self.enter(|step| {
            let found = step.indexes.binary_search_by_key(&index, |(other, _)| *other).ok()?;
            step.indexes.get(found).map(|(_, next)| *next)
        });
    }

    /// Moves back to the parent.
    pub fn leave(&mut self) {
        if let Some(start) = self.levels.pop() {
            self.steps.truncate(start);
        }
    }

    fn enter(&mut self, find: impl Fn(&Step) -> Option<usize>) {
        let (start, end) = (self.levels.last().copied().unwrap_or(self.steps.len()), self.steps.len());
        self.levels.push(end);
        for at in start..end {
            let Some(step) = self.steps.get(at).and_then(|step| self.step(*step)) else { continue };
            self.steps.extend(find(step).into_iter().chain(step.every));
        }
    }

    fn here(&self) -> &[usize] {
        self.levels.last().and_then(|start| self.steps.get(*start..)).unwrap_or_default()
    }

    fn step(&self, step: usize) -> Option<&'p Step> {
        self.places.steps.get(step)
    }
}
