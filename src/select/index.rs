//! An index of rules by their conditions: finds the few rules that may hold for a request.
//!
//! The index files each rule under the first of its keys. If many rules share a key, it files them again under their next keys. The cost of a
//! lookup depends on the request and on the kinds of keys, not on the number of rules.

use rustc_hash::FxHashMap;

use super::methods::MethodBits;
use super::request::Named;
use super::rule::{Key, Keys, Part, Rule, Source};
use super::table::{length_bit, Names, Table};
use super::tree::{End, Tree};
use super::Request;

/// The most rules under one key that are tried one by one. To file so few again would save nothing.
const FEW: usize = 4;

/// The most times that rules are filed again. The bound limits the depth of the stack.
const LEVELS: usize = 8;

/// A step of the search for rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A lookup in the index.
    Probe,
    /// The rule at this position must be tried.
    Rule(usize),
}

/// An index of rules.
#[derive(Debug)]
pub(super) struct Index {
    paths: Texts,
    /// The methods of the rules in `paths`.
    path_methods: MethodBits,
    authorities: Texts,
    /// The methods of the rules in `authorities`.
    authority_methods: MethodBits,
    /// Rules by a single method each.
    methods: Vec<(MethodBits, Bucket)>,
    headers: Fields,
    parameters: Fields,
    values: Fields,
    /// Rules without further keys.
    rest: Vec<usize>,
}

/// Tells whether a value is the first of the request for which `same` holds.
type First<'f> = &'f dyn Fn(&dyn Fn(&[u8]) -> bool) -> bool;

/// Rules by the name of a field, and by its text.
#[derive(Debug, Default)]
struct Fields {
    texts: Table<Texts>,
    names: Names,
    /// The methods of these rules.
    methods: MethodBits,
}

/// Rules that share a key.
#[derive(Debug)]
enum Bucket {
    Few(Vec<usize>),
    Many(Box<Index>),
}

/// Rules by a text.
#[derive(Debug)]
struct Texts {
    exact: Table<Bucket>,
    /// One bit for each length of the exact texts, modulo 64. It saves the hash of a text whose length does not occur.
    exact_lengths: u64,
    prefixes: Tree<Bucket>,
    suffixes: Tree<Bucket>,
    unknown: Option<Bucket>,
}

impl Index {
    /// Files all rules by keys of the given kind.
    pub(super) fn new(rules: &[Rule], keys: Keys) -> Self {
        Self::of(rules, keys, (0..rules.len()).collect(), 0)
    }

    /// Files the rules at these positions by their keys of the given level.
    fn of(rules: &[Rule], keys: Keys, places: Vec<usize>, level: usize) -> Self {
        let mut filed: FxHashMap<Key<'_>, Vec<usize>> = FxHashMap::default();
        let mut rest = Vec::new();
        let mut path_methods = MethodBits::NONE;
        let mut authority_methods = MethodBits::NONE;
        let mut field_methods = [MethodBits::NONE; Source::COUNT];
        for place in places {
            let Some(rule) = rules.get(place) else { continue };
            let Some(key) = rule.keys(keys).get(level).copied() else {
                rest.push(place);
                continue;
            };
            filed.entry(key).or_default().push(place);
            let methods = match key {
                Key::Path(_) => Some(&mut path_methods),
                Key::Authority(_) => Some(&mut authority_methods),
                Key::Field(source, ..) => field_methods.get_mut(source as usize),
                Key::Methods(_) => None,
            };
            if let Some(methods) = methods {
                *methods = methods.with(rule.methods());
            }
        }
        let mut paths = Vec::new();
        let mut authorities = Vec::new();
        let mut by_methods = Vec::new();
        let mut fields: [Table<Vec<(Part<'_>, Bucket)>>; Source::COUNT] = Default::default();
        for (key, places) in filed {
            match key {
                Key::Path(part) => paths.push((part, Bucket::new(rules, keys, places, level))),
                Key::Authority(part) => authorities.push((part, Bucket::new(rules, keys, places, level))),
                Key::Field(source, name, part) => {
                    let parts = fields.get_mut(source as usize).and_then(|fields| fields.get_or_insert(name, Vec::new()));
                    if let Some(parts) = parts {
                        parts.push((part, Bucket::new(rules, keys, places, level)));
                    }
                }
                Key::Methods(bits) => by_methods.push((bits, places)),
            }
        }
        let methods = MethodBits::ALL.each().filter_map(|method| {
            let groups = by_methods.iter().filter(|(bits, _)| bits.overlap(method));
            let places: Vec<usize> = groups.flat_map(|(_, places)| places).copied().collect();
            (!places.is_empty()).then(|| (method, Bucket::new(rules, keys, places, level)))
        });
        let methods = methods.collect();
        let [headers, parameters, values] = fields;
        let [of_headers, of_parameters, of_values] = field_methods;
        Self {
            paths: Texts::new(paths),
            path_methods,
            authorities: Texts::new(authorities),
            authority_methods,
            methods,
            headers: Fields::new(headers, of_headers),
            parameters: Fields::new(parameters, of_parameters),
            values: Fields::new(values, of_values),
            rest,
        }
    }

    /// Takes steps until `done` returns true for one. Returns false if it never does. No rule comes up twice.
    pub(super) fn any<F: FnMut(Step) -> bool>(&self, request: &Request<'_>, done: &mut F) -> bool {
        let is_asked = |methods: MethodBits| methods.overlap(request.method_bits);
        (is_asked(self.path_methods) && self.paths.any(request.path, &|_| true, request, done))
            || (is_asked(self.authority_methods) && self.authorities.any(request.authority(), &|_| true, request, done))
            || self.any_method(request, done)
            || self.rest.iter().any(|place| done(Step::Rule(*place)))
            || (is_asked(self.headers.methods) && self.headers.any_header(request, done))
            || (is_asked(self.parameters.methods) && self.parameters.any(request.parameters(), request, done))
            || (is_asked(self.values.methods) && request.body.is_some_and(|body| self.values.any(body.all(), request, done)))
    }

    fn any_method<F: FnMut(Step) -> bool>(&self, request: &Request<'_>, done: &mut F) -> bool {
        let bucket = self.methods.iter().find(|(method, _)| *method == request.method_bits);
        bucket.is_some_and(|(_, bucket)| bucket.any(request, done))
    }
}

impl Fields {
    fn new(fields: Table<Vec<(Part<'_>, Bucket)>>, methods: MethodBits) -> Self {
        Self { names: Names::new(fields.texts()), texts: fields.map(Texts::new), methods }
    }

    fn any_header<F: FnMut(Step) -> bool>(&self, request: &Request<'_>, done: &mut F) -> bool {
        let mut headers = request.headers.iter().enumerate().filter(|(_, (name, _))| self.names.may_have(name));
        headers.any(|(place, (name, value))| {
            // A client may repeat a header often. Each lookup is done once, or the cost could become very high.
            let first = |same: &dyn Fn(&[u8]) -> bool| {
                !request.headers.iter().take(place).any(|(earlier, value)| earlier == name && same(value))
            };
            self.any_of(name, value, &first, request, done)
        })
    }

    /// Like [`Self::any_header`], for fields that occur once.
    fn any<F: FnMut(Step) -> bool>(&self, fields: &[Named<'_>], request: &Request<'_>, done: &mut F) -> bool {
        let mut fields = fields.iter().filter(|(name, _)| self.names.may_have(name));
        fields.any(|(name, value)| self.any_of(name, value, &|_| true, request, done))
    }

    /// Looks up one field. It is not inlined, which makes the loop over all fields faster.
    #[inline(never)]
    fn any_of<F: FnMut(Step) -> bool>(
        &self,
        name: &[u8],
        value: &[u8],
        first: First<'_>,
        request: &Request<'_>,
        done: &mut F,
    ) -> bool {
        done(Step::Probe) || self.texts.get(name).is_some_and(|texts| texts.any(value, first, request, done))
    }
}

impl Bucket {
    fn new(rules: &[Rule], keys: Keys, places: Vec<usize>, level: usize) -> Self {
        let level = level.saturating_add(1);
        if places.len() <= FEW || level >= LEVELS {
            Self::Few(places)
        } else {
            Self::Many(Box::new(Index::of(rules, keys, places, level)))
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

    /// `first` tells whether the text is the first of the request for which `same` holds.
    fn any<F: FnMut(Step) -> bool>(&self, text: &[u8], first: First<'_>, request: &Request<'_>, done: &mut F) -> bool {
        let mut look = |bucket: Option<&Bucket>, same: &dyn Fn(&[u8]) -> bool| {
            done(Step::Probe) || bucket.is_some_and(|bucket| first(same) && bucket.any(request, done))
        };
        (self.exact_lengths & length_bit(text) != 0 && look(self.exact.get(text), &|other| other == text))
            || self.prefixes.any(text, |part, bucket| look(bucket, &|other| other.starts_with(part)))
            || self.suffixes.any(text, |part, bucket| look(bucket, &|other| other.ends_with(part)))
            || self.unknown.as_ref().is_some_and(|bucket| look(Some(bucket), &|_| true))
    }
}
