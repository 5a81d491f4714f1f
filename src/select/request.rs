//! A request as rules see it. What takes work to read is read when a rule asks for it, once for all targets.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};

use super::body::BodyValues;
use super::methods::MethodBits;
use super::table::{Names, Table};
use crate::http::headers::HeaderMap;
use crate::http::request_head::RequestHead;
use crate::http::work::{Work, PATTERN_BYTE};

/// Something that has a name, and is there once.
pub(super) type Named<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// What rules are about.
#[derive(Debug)]
pub struct Request<'a> {
    pub(super) method: &'a [u8],
    pub(super) method_bits: MethodBits,
    pub(super) path: &'a [u8],
    pub(super) headers: &'a HeaderMap,
    /// None as long as it is not complete.
    pub(super) body: Option<&'a BodyValues>,
    authority: &'a [u8],
    lower_authority: OnceCell<Cow<'a, [u8]>>,
    query: &'a [u8],
    asked: &'a Parameters,
    parameters: OnceCell<Vec<Named<'a>>>,
    /// What patterns cost, over the rules of all targets.
    patterns: Work,
    /// A pattern was not tried, because there was no work left for it.
    left_untried: Cell<bool>,
}

impl<'a> Request<'a> {
    /// A request whose headers have come. `asked` are the parameters of the query that any rule looks at.
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
            left_untried: Cell::new(false),
        }
    }

    /// The same with a bound on the work of holding patterns against it, in the unit of [`Work`].
    #[must_use]
    pub fn with_max_work(self, max: usize) -> Self {
        Self { patterns: Work::new(max), ..self }
    }

    /// True if a pattern may be held against a text of so many bytes. If not, that is [remembered](Self::was_left_untried).
    pub(super) fn may_try_pattern(&self, bytes: usize) -> bool {
        let may = self.patterns.spend(bytes.saturating_mul(PATTERN_BYTE)).is_ok();
        if !may {
            self.left_untried.set(true);
        }
        may
    }

    /// True if a pattern was not tried since this was last asked.
    pub(super) fn was_left_untried(&self) -> bool {
        self.left_untried.replace(false)
    }

    /// The same once it is complete.
    #[must_use]
    pub fn with_body(self, body: &'a BodyValues) -> Self {
        Self { body: Some(body), ..self }
    }

    /// The authority in lower case: hosts have no case.
    pub(super) fn authority(&self) -> &[u8] {
        self.lower_authority.get_or_init(|| {
            if self.authority.iter().any(u8::is_ascii_uppercase) {
                self.authority.to_ascii_lowercase().into()
            } else {
                self.authority.into()
            }
        })
    }

    /// The parameters of the query that any rule looks at, decoded as HTML forms are. Of a repeated one the first counts.
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
    /// Those of all targets.
    pub fn new<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let mut places = Table::new();
        names.for_each(|name| {
            places.get_or_insert(name.as_bytes(), ());
        });
        Self { names: Names::new(places.texts()), places }
    }

    /// The first of each name in a query.
    fn of<'q>(&self, query: &'q [u8]) -> Vec<Named<'q>> {
        let mut found = Vec::new();
        if self.places.is_empty() {
            return found;
        }
        // A client may repeat a name as often as it likes.
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
