//! Places in a JSON text that pointers name.

use super::{index, Node, Pointer};
use crate::http::work::{Work, PLACE};

/// Pointers, in which a segment `*` stands for every key or index, put together so that one walk follows all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointerSet {
    /// The first is where all pointers start.
    steps: Vec<Step>,
}

/// Where pointers with a common beginning lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Step {
    /// A pointer ends here.
    is_named: bool,
    every: Option<usize>,
    /// Sorted.
    keys: Vec<(String, usize)>,
    /// The keys that are indexes too; sorted.
    indexes: Vec<(usize, usize)>,
}

impl PointerSet {
    /// The places that any of these pointers names.
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

    /// The step after another, made if it is missing.
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

    /// The number of a pointer, in which `*` is a key like others, if it is one of these.
    pub fn number<S: AsRef<str>>(&self, segments: &[S]) -> Option<usize> {
        let number = segments.iter().try_fold(0, |step, segment| {
            let keys = &self.steps.get(step)?.keys;
            let found = keys.binary_search_by(|(key, _)| key.as_str().cmp(segment.as_ref())).ok()?;
            keys.get(found).map(|(_, next)| *next)
        })?;
        self.steps.get(number).filter(|step| step.is_named).map(|_| number)
    }

    /// Where the values of all pointers without `*` are, each at the number of its pointer: found in one pass, in which no key is
    /// read twice. As [`Node::at`] finds them: of a repeated key the last.
    pub fn find(&self, root: Node<'_>, work: &Work) -> Vec<Option<u32>> {
        let mut found = vec![None; self.steps.len()];
        self.find_from(0, root, &mut found, work);
        found
    }

    /// Recurses as deep as JSON that was parsed may be nested.
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

    /// A walk that starts at the whole.
    pub fn trail(&self) -> Trail<'_> {
        Trail { places: self, steps: vec![0], levels: vec![0] }
    }
}

/// How far the pointers agree with the place where a walk is. Several can: `/*/a` and `/b/*` at `/b`.
#[derive(Clone, Debug)]
pub struct Trail<'p> {
    places: &'p PointerSet,
    /// The steps of every level of the walk, one level after another.
    steps: Vec<usize>,
    /// Where each level starts.
    levels: Vec<usize>,
}

impl<'p> Trail<'p> {
    /// A pointer names this place.
    pub fn is_named(&self) -> bool {
        self.here().iter().any(|step| self.step(*step).is_some_and(|step| step.is_named))
    }

    /// How many ways lead here, at least one: what it costs to go on.
    pub fn width(&self) -> usize {
        self.here().len().max(1)
    }

    /// A pointer may name a place inside this one.
    pub fn leads_on(&self) -> bool {
        self.here().iter().any(|step| self.step(*step).is_some_and(|step| step.every.is_some() || !step.keys.is_empty()))
    }

    /// Goes to a member of the object here.
    pub fn enter_key(&mut self, key: &str) {
        self.enter(|step| {
            let found = step.keys.binary_search_by(|(other, _)| other.as_str().cmp(key)).ok()?;
            step.keys.get(found).map(|(_, next)| *next)
        });
    }

    /// Goes to an entry of the list here.
    pub fn enter_index(&mut self, index: usize) {
        self.enter(|step| {
            let found = step.indexes.binary_search_by_key(&index, |(other, _)| *other).ok()?;
            step.indexes.get(found).map(|(_, next)| *next)
        });
    }

    /// Goes back to where the last one was entered.
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
