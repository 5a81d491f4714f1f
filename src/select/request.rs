//! A request as rules see it. Everything that takes work to read is read on first use, once for all targets.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};

use super::body::BodyValues;
use super::methods::MethodBits;
use super::table::{Names, Table};
use crate::http::headers::HeaderMap;
use crate::http::request_head::RequestHead;
use crate::http::work_limit::{Work, HEADER, PATTERN_BYTE};

/// A named value that occurs once.
pub(super) type Named<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The parts of a request that rules look at.
#[derive(Debug)]
pub struct Request<'a> {
    pub(super) method: &'a [u8],
    pub(super) method_bits: MethodBits,
    pub(super) path: &'a [u8],
    pub(super) headers: &'a HeaderMap,
    /// `None` until the request is complete.
    pub(super) body: Option<&'a BodyValues>,
    authority: &'a [u8],
    lower_authority: OnceCell<Cow<'a, [u8]>>,
    query: &'a [u8],
    asked: &'a Parameters,
    parameters: OnceCell<Vec<Named<'a>>>,
    /// The work of patterns, over the rules of all targets.
    patterns: Work,
    /// The work of looking for headers. It has the same bound, but of its own: a rule that holds is found even if no pattern may be tried any more.
    lookups: Work,
    /// True if a condition was not tried because no work was left for it.
    left_untried: Cell<bool>,
}

impl<'a> Request<'a> {
    /// Creates a request whose headers have arrived. `asked` are the query parameters that any rule looks at.
    pub fn new(head: &RequestHead<'a>, headers: &'a HeaderMap, asked: &'a Parameters) -> Self {
        Self {
            method: head.method,
            method_bits: MethodBits::of(head.method),
            path: head.path,
            headers,
            body: None,
            authority: head.authority,
            lower_authority: OnceCell::new(),
            query: head.query,
            asked,
            parameters: OnceCell::new(),
            patterns: Work::unbounded(),
            lookups: Work::unbounded(),
            left_untried: Cell::new(false),
        }
    }

    /// Bounds the work of trying rules, in the unit of [`Work`].
    #[must_use]
    pub fn with_max_work(self, max: usize) -> Self {
        Self { patterns: Work::new(max), lookups: Work::new(max), ..self }
    }

    /// True if there is enough work left to try a pattern on a text of this many bytes. If not, [`Self::was_left_untried`] becomes true.
    pub(super) fn may_try_pattern(&self, bytes: usize) -> bool {
        self.may_spend(&self.patterns, bytes.saturating_mul(PATTERN_BYTE))
    }

    /// True if there is enough work left to look through all headers. If not, [`Self::was_left_untried`] becomes true.
    pub(super) fn may_look_through_headers(&self) -> bool {
        self.may_spend(&self.lookups, self.headers.count().saturating_mul(HEADER))
    }

    fn may_spend(&self, work: &Work, more: usize) -> bool {
        let may = work.spend(more).is_ok();
        if !may {
            self.left_untried.set(true);
        }
        may
    }

    /// True if a condition was not tried since the last call.
    pub(super) fn was_left_untried(&self) -> bool {
        self.left_untried.replace(false)
    }

    /// Adds the body values of a complete request.
    #[must_use]
    pub fn with_body(self, body: &'a BodyValues) -> Self {
        Self { body: Some(body), ..self }
    }

    /// The authority in lower case, because hosts are case-insensitive.
    pub(super) fn authority(&self) -> &[u8] {
        self.lower_authority.get_or_init(|| {
            if self.authority.iter().any(u8::is_ascii_uppercase) {
                self.authority.to_ascii_lowercase().into()
            } else {
                self.authority.into()
            }
        })
    }

    /// The query parameters that any rule looks at, decoded like HTML forms. If a name is repeated, the first value counts.
    pub(super) fn parameters(&self) -> &[Named<'a>] {
        self.parameters.get_or_init(|| self.asked.of(self.query))
    }
}

fn bytes_of(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => text.as_bytes().into(),
        Cow::Owned(text) => text.into_bytes().into(),
    }
}

/// The parameters that any rule of a configuration looks at.
#[derive(Debug, Default)]
pub struct Parameters {
    places: Table<()>,
    names: Names,
}

impl Parameters {
    /// Collects the parameter names of all targets.
    pub fn new<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let mut places = Table::new();
        names.for_each(|name| {
            places.get_or_insert(name.as_bytes(), ());
        });
        Self { names: Names::new(places.texts()), places }
    }

    /// The first value of each name in a query.
    fn of<'q>(&self, query: &'q [u8]) -> Vec<Named<'q>> {
        let mut found = Vec::new();
        if self.places.is_empty() {
            return found;
        }
        // A client may repeat a name any number of times.
        let mut seen: Vec<bool> = Vec::new();
        for (name, value) in form_urlencoded::parse(query) {
            let place = Some(name.as_bytes()).filter(|name| self.names.may_have(name)).and_then(|name| self.places.place(name));
            let Some(place) = place else { continue };
            if seen.is_empty() {
                seen.resize(self.places.len(), false);
            }
            if let Some(seen) = seen.get_mut(place).filter(|seen| !**seen) {
                *seen = true;
                found.push((bytes_of(name), bytes_of(value)));
            }
        }
        found
    }
}
