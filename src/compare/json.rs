//! Where two JSON texts differ as values. The work is that of sorting the members of every object and reading everything once.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::difference::{value_text, Difference, DifferenceKind, Differences, Path};
use super::number;
use super::{Reason, Settings, Side};
use crate::json::{self, Items, Kind, Members, Node, Trail};
use crate::work::{Work, PLACE};

/// Where they differ. If one of them alone is JSON that is a difference of types; if neither is, they are bytes.
///
/// # Errors
/// It takes too much work, and for which of them that was found.
pub(super) fn differences(
    settings: &Settings,
    primary: &[u8],
    target: &[u8],
    work: &Work,
) -> Result<Differences, (Side, Reason)> {
    let mut comparison =
        Comparison { trail: settings.ignore.trail(), tell_values: settings.log_values, found: Differences::default(), work };
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

/// The work of reading two numbers.
const NUMBER: usize = 16;

struct Comparison<'s> {
    work: &'s Work,
    trail: Trail<'s>,
    tell_values: bool,
    found: Differences,
}

impl Comparison<'_> {
    /// Recurses as deep as JSON that was parsed may be nested.
    fn values(&mut self, ours: Node<'_>, theirs: Node<'_>, path: &Path<'_>) {
        if self.trail.is_named() || self.work.spend(PLACE.saturating_mul(self.trail.width().saturating_add(1))).is_err() {
            return;
        }
        let same = match (ours.kind(), theirs.kind()) {
            (Kind::Array(ours), Kind::Array(theirs)) => return self.entries(ours, theirs, path),
            (Kind::Object(ours), Kind::Object(theirs)) => return self.members(ours, theirs, path),
            (Kind::Null, Kind::Null) => true,
            (Kind::Bool(ours), Kind::Bool(theirs)) => ours == theirs,
            (Kind::Number(ours), Kind::Number(theirs)) => {
                let length = ours.len().saturating_add(theirs.len());
                self.work.spend(NUMBER.saturating_add(length)).is_ok() && number::same(ours, theirs)
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
            self.trail.enter_index(index);
            self.places(ours, theirs, &Path::Index(path, index));
            self.trail.leave();
        }
    }

    fn members(&mut self, ours: Members<'_>, theirs: Members<'_>, path: &Path<'_>) {
        let (ours, theirs) = (sorted(ours, self.work), sorted(theirs, self.work));
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
            self.trail.enter_key(key);
            self.places(ours.map(|(_, node)| *node), theirs.map(|(_, node)| *node), &Path::Key(path, key));
            self.trail.leave();
        }
    }

    /// A place that at least one of the sides has.
    fn places(&mut self, ours: Option<Node<'_>>, theirs: Option<Node<'_>>, path: &Path<'_>) {
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => self.values(ours, theirs, path),
            _ if self.trail.is_named() => {}
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

/// The members by their keys; of a repeated key the last.
fn sorted<'d>(members: Members<'d>, work: &Work) -> Vec<(Cow<'d, str>, Node<'d>)> {
    let mut sorted = Vec::new();
    for (key, value) in members {
        // Sorting compares each key with about as many others as the number of them has bits.
        if work.spend(key.written().len().saturating_add(PLACE * 8)).is_err() {
            return Vec::new();
        }
        sorted.push((key.text(), value));
    }
    // Stable, so the last of a key stays the last.
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
