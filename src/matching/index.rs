//! Rules by what they ask for: leads from a request to the few rules that may hold for it.
//!
//! Each rule is filed under the first of its keys. Many under one key are filed again, among themselves, under their next ones.
//! How much there is to look up depends on the request, and on which kinds of keys there are, not on the number of rules.

use rustc_hash::FxHashMap;

use super::methods::MethodBits;
use super::rule::{Key, Part, Rule};
use super::table::Table;
use super::tree::{End, Tree};
use super::Request;

/// As many rules under one key are looked at one by one: filing them again would save nothing.
const FEW: usize = 4;

/// How often rules are filed again. There is an end to it, as there is one to the stack.
const LEVELS: usize = 8;

/// What is done to find the rules of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Something was looked up.
    Probe,
    /// The rule at this place is to be looked at.
    Rule(usize),
}

/// Rules, filed.
#[derive(Debug)]
pub(super) struct Index {
    paths: Texts,
    /// The methods of the rules that are filed by a path.
    path_methods: MethodBits,
    /// By one method each.
    methods: Vec<(MethodBits, Bucket)>,
    /// By the header's name.
    headers: Table<Texts>,
    header_names: Names,
    /// The methods of the rules that are filed by a header.
    header_methods: MethodBits,
    /// Rules without a further key.
    rest: Vec<usize>,
}

/// Rules that have a key in common.
#[derive(Debug)]
enum Bucket {
    Few(Vec<usize>),
    Many(Box<Index>),
}

/// Rules by a text.
#[derive(Debug)]
struct Texts {
    exact: Table<Bucket>,
    /// A bit for each length among the exact ones, modulo 64: spares the hash of a text that is none of them.
    exact_lengths: u64,
    prefixes: Tree<Bucket>,
    suffixes: Tree<Bucket>,
    unknown: Option<Bucket>,
}

impl Index {
    /// Files all rules.
    pub(super) fn new(rules: &[Rule]) -> Self {
        Self::of(rules, (0..rules.len()).collect(), 0)
    }

    /// Files the rules at these places by their keys of that level.
    fn of(rules: &[Rule], places: Vec<usize>, level: usize) -> Self {
        let mut filed: FxHashMap<Key<'_>, Vec<usize>> = FxHashMap::default();
        let mut rest = Vec::new();
        let mut path_methods = MethodBits::NONE;
        let mut header_methods = MethodBits::NONE;
        for place in places {
            let Some(rule) = rules.get(place) else { continue };
            let Some(key) = rule.keys().get(level).copied() else {
                rest.push(place);
                continue;
            };
            filed.entry(key).or_default().push(place);
            match key {
                Key::Path(_) => path_methods = path_methods.with(rule.methods()),
                Key::Header(..) => header_methods = header_methods.with(rule.methods()),
                Key::Methods(_) => {}
            }
        }
        let mut paths = Vec::new();
        let mut by_methods = Vec::new();
        let mut headers = Table::new();
        for (key, places) in filed {
            match key {
                Key::Path(part) => paths.push((part, Bucket::new(rules, places, level))),
                Key::Header(name, part) => {
                    if let Some(parts) = headers.get_or_insert(name, Vec::new()) {
                        parts.push((part, Bucket::new(rules, places, level)));
                    }
                }
                Key::Methods(bits) => by_methods.push((bits, places)),
            }
        }
        let methods = MethodBits::ALL.each().filter_map(|method| {
            let groups = by_methods.iter().filter(|(bits, _)| bits.overlap(method));
            let places: Vec<usize> = groups.flat_map(|(_, places)| places).copied().collect();
            (!places.is_empty()).then(|| (method, Bucket::new(rules, places, level)))
        });
        Self {
            paths: Texts::new(paths),
            path_methods,
            methods: methods.collect(),
            header_names: Names::new(headers.texts()),
            headers: headers.map(Texts::new),
            header_methods,
            rest,
        }
    }

    /// Steps until `done` says yes to one; false if it says no to all. No rule comes up twice.
    pub(super) fn any<F: FnMut(Step) -> bool>(&self, request: &Request<'_>, done: &mut F) -> bool {
        (self.path_methods.overlap(request.method_bits) && self.paths.any(request.path, |_| true, request, done))
            || self.any_method(request, done)
            || self.rest.iter().any(|place| done(Step::Rule(*place)))
            || self.any_header(request, done)
    }

    fn any_method<F: FnMut(Step) -> bool>(&self, request: &Request<'_>, done: &mut F) -> bool {
        let bucket = self.methods.iter().find(|(method, _)| *method == request.method_bits);
        bucket.is_some_and(|(_, bucket)| bucket.any(request, done))
    }

    fn any_header<F: FnMut(Step) -> bool>(&self, request: &Request<'_>, done: &mut F) -> bool {
        let mut headers = request.headers.iter().enumerate().filter(|(_, (name, _))| self.header_names.may_have(name));
        self.header_methods.overlap(request.method_bits)
            && headers.any(|(place, (name, value))| self.any_of_header(place, name, value, request, done))
    }

    /// For the header at that place. Apart from the loop over all headers, which is faster for it.
    #[inline(never)]
    fn any_of_header<F: FnMut(Step) -> bool>(
        &self,
        place: usize,
        name: &[u8],
        value: &[u8],
        request: &Request<'_>,
        done: &mut F,
    ) -> bool {
        // However often a client repeats a header, nothing is done twice: it could be very much.
        let first = |same: &dyn Fn(&[u8]) -> bool| {
            !request.headers.iter().take(place).any(|(earlier, value)| earlier == name && same(value))
        };
        done(Step::Probe) || self.headers.get(name).is_some_and(|texts| texts.any(value, first, request, done))
    }
}

impl Bucket {
    fn new(rules: &[Rule], places: Vec<usize>, level: usize) -> Self {
        let level = level.saturating_add(1);
        if places.len() <= FEW || level >= LEVELS {
            Self::Few(places)
        } else {
            Self::Many(Box::new(Index::of(rules, places, level)))
        }
    }

    fn any<F: FnMut(Step) -> bool>(&self, request: &Request<'_>, done: &mut F) -> bool {
        match self {
            Self::Few(places) => places.iter().any(|place| done(Step::Rule(*place))),
            Self::Many(index) => index.any(request, done),
        }
    }
}

impl Texts {
    fn new(parts: Vec<(Part<'_>, Bucket)>) -> Self {
        let mut exact = Table::new();
        let mut exact_lengths = 0;
        let mut prefixes = Vec::new();
        let mut suffixes = Vec::new();
        let mut unknown = None;
        for (part, bucket) in parts {
            match part {
                Part::Exact(text) => {
                    exact_lengths |= length_bit(text);
                    exact.get_or_insert(text, bucket);
                }
                Part::Prefix(text) => prefixes.push((text, bucket)),
                Part::Suffix(text) => suffixes.push((text, bucket)),
                Part::Unknown => unknown = Some(bucket),
            }
        }
        Self {
            exact,
            exact_lengths,
            prefixes: Tree::new(End::Front, prefixes),
            suffixes: Tree::new(End::Back, suffixes),
            unknown,
        }
    }

    /// `first` says whether a text is the first one of the request that is the `same` in what is asked of it.
    fn any<F: FnMut(Step) -> bool>(
        &self,
        text: &[u8],
        first: impl Fn(&dyn Fn(&[u8]) -> bool) -> bool,
        request: &Request<'_>,
        done: &mut F,
    ) -> bool {
        let mut look = |bucket: Option<&Bucket>, same: &dyn Fn(&[u8]) -> bool| {
            done(Step::Probe) || bucket.is_some_and(|bucket| first(same) && bucket.any(request, done))
        };
        (self.exact_lengths & length_bit(text) != 0 && look(self.exact.get(text), &|other| other == text))
            || self.prefixes.any(text, |part, bucket| look(bucket, &|other| other.starts_with(part)))
            || self.suffixes.any(text, |part, bucket| look(bucket, &|other| other.ends_with(part)))
            || self.unknown.as_ref().is_some_and(|bucket| look(Some(bucket), &|_| true))
    }
}

fn length_bit(text: &[u8]) -> u64 {
    1 << (text.len() % 64)
}

/// Tells for less than a hash that a header is none of those that rules name.
#[derive(Debug, Default)]
struct Names {
    /// A bit for each length, modulo 64.
    lengths: u64,
    /// A bit for some names each; see [`Self::place`].
    bits: [u64; 16],
}

impl Names {
    fn new<'a>(names: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut all = Self::default();
        for name in names {
            all.lengths |= length_bit(name);
            let (word, bit) = Self::place(name);
            if let Some(word) = all.bits.get_mut(word) {
                *word |= bit;
            }
        }
        all
    }

    /// False when no name of them is this one.
    fn may_have(&self, name: &[u8]) -> bool {
        if self.lengths & length_bit(name) == 0 {
            return false;
        }
        let (word, bit) = Self::place(name);
        self.bits.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Names differ in their length or in their last character more often than not.
    fn place(name: &[u8]) -> (usize, u64) {
        let last = usize::from(name.last().copied().unwrap_or_default());
        (last % 16, 1 << (name.len().wrapping_add(last.wrapping_mul(5)) % 64))
    }
}
