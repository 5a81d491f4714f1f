//! JSON that keeps its spelling. Sidecast reads values in bodies, cuts them out and compares them. What it does not change must come out as it went
//! in, including numbers beyond all machine types and repeated keys.
//!
//! Uses `http`, for the count of work. Begin with [`read`] and [`Node`].
//!
//! A text is scanned once. The index keeps where values begin and end, not their content. It takes twelve bytes for every value and key: at most
//! six for each byte of the text (`[0,0,0]`), and twelve for a moment while they are moved. Strings are decoded on demand. Parsing does not recurse
//! over the nesting. The nesting is bounded all the same, because code that works on the values may recurse.

mod document;
pub mod number;
mod pointer;
mod pointer_set;
mod scan;
mod string;

use std::borrow::Cow;
use std::ops::Range;

pub use document::{Body, Document, Read};
pub use number::canonical;
pub use pointer::{Pointer, SinglePointer};
pub use pointer_set::{PointerSet, Trail};

use self::string::Strings;
use crate::http::work_limit::{TooMuch, Work, PLACE};

/// The largest number up to which a double represents every whole number.
pub const MAX_WHOLE_DOUBLE: f64 = 9_007_199_254_740_992.0;

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The body is not JSON, or has a content coding that is not supported.
    NotJson,
    /// Reading takes more work than one request may cause.
    TooMuchWork,
}

impl From<TooMuch> for Unread {
    fn from(_: TooMuch) -> Self {
        Self::TooMuchWork
    }
}

impl From<NotJson> for Unread {
    fn from(_: NotJson) -> Self {
        Self::NotJson
    }
}

/// The deepest nesting of lists and objects that is accepted. Most parsers have such a bound.
pub const MAX_DEPTH: usize = 128;

/// A parsed JSON text.
#[derive(Clone, Debug)]
pub struct Json<'a> {
    text: &'a str,
    index: Index,
}

/// The positions of the values of a JSON text, without the text.
#[derive(Clone, Debug)]
pub struct Index {
    /// The root value, followed by everything in it, in the order of the text.
    tokens: Vec<Token>,
    /// True if there is white space between tokens.
    has_space: bool,
}

/// A body that is not JSON (RFC 8259): it is not UTF-8, contains an escape of half a surrogate pair, which is not Unicode text, contains no value
/// or more than one, or is nested deeper than [`MAX_DEPTH`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

/// The position of a value or key in the text.
#[derive(Clone, Copy, Debug, Default)]
struct Token {
    start: u32,
    end: u32,
    /// The number of tokens after this one that are inside of it.
    inside: u32,
}

/// A value or a key in a JSON text.
#[derive(Clone, Copy, Debug)]
pub struct Node<'d> {
    text: &'d str,
    token: Token,
    /// The index of its token among all tokens.
    place: u32,
    inside: &'d [Token],
    has_space: bool,
}

/// The type of a value.
#[derive(Clone, Debug)]
pub enum Kind<'d> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as written.
    Number(&'d str),
    /// A decoded string. Borrowed if it has no escapes.
    String(Cow<'d, str>),
    /// A list.
    Array(Items<'d>),
    /// An object.
    Object(Members<'d>),
}

/// Parses a body. Skips a byte order mark.
///
/// # Errors
/// Returns an error if the body is not JSON.
pub fn parse(body: &[u8]) -> Result<Json<'_>, NotJson> {
    parse_within(body, &Work::unbounded()).map_err(|_| NotJson)
}

/// Parses a body within a limit of work. Skips a byte order mark.
///
/// # Errors
/// Returns an error if the body is not JSON, or takes more work.
pub fn parse_within<'a>(body: &'a [u8], work: &Work) -> Result<Json<'a>, Unread> {
    let text = std::str::from_utf8(body).map_err(|_| NotJson)?;
    Ok(Json { text, index: read(text, work)? })
}

/// Indexes the values of a text.
///
/// # Errors
/// Returns an error if the text is not JSON, or has more values than one request may keep.
pub fn read(text: &str, work: &Work) -> Result<Index, Unread> {
    work.spend(text.len())?;
    let mut tape = scan::Kept { tokens: Vec::new(), work };
    let has_space = scan::scan(text, &mut tape);
    let tokens = tape.tokens;
    work.spend(tokens.len().saturating_mul(PLACE))?;
    Ok(Index { tokens, has_space: has_space.ok_or(NotJson)? })
}

/// Removes the white space around the value of a body and between its tokens, so that it is on one line. Does not change anything else, and does
/// not build an index.
///
/// # Errors
/// Returns an error if the body is not JSON.
pub fn compact(body: &[u8]) -> Result<Cow<'_, [u8]>, NotJson> {
    let text = std::str::from_utf8(body).map_err(|_| NotJson)?;
    let has_space = scan::scan(text, &mut ()).ok_or(NotJson)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !has_space {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    let mut out = Vec::with_capacity(text.len());
    push_compact(text, &mut out);
    // The result may be kept for long.
    out.shrink_to_fit();
    Ok(Cow::Owned(out))
}

/// Appends JSON without the white space between its tokens.
fn push_compact(json: &str, out: &mut Vec<u8>) {
    let mut strings = Strings::of(json.as_bytes());
    let mut rest = json;
    loop {
        let (between, string) = rest.split_at(rest.find('"').unwrap_or(rest.len()));
        out.extend(between.bytes().filter(|byte| !scan::is_space(*byte)));
        if string.is_empty() {
            return;
        }
        let start = json.len() - string.len();
        let end = strings.end(start).unwrap_or(json.len());
        let (string, after) = string.split_at(end - start);
        out.extend_from_slice(string.as_bytes());
        rest = after;
    }
}

impl<'a> Json<'a> {
    /// The whole body that was parsed.
    pub fn body(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// The root value.
    pub fn root(&self) -> Node<'_> {
        self.index.root(self.text)
    }
}

impl Index {
    /// The root value of the indexed text.
    pub fn root<'d>(&'d self, text: &'d str) -> Node<'d> {
        let (token, inside) = self.tokens.split_first().map_or((Token::default(), &[][..]), |(first, rest)| (*first, rest));
        // A text that was indexed has a value.
        Node { text, token, place: 0, inside, has_space: self.has_space }
    }

    /// The value at a [place](Node::place) of the indexed text.
    pub fn node<'d>(&'d self, text: &'d str, place: u32) -> Option<Node<'d>> {
        let (token, after) = self.tokens.get(place as usize..)?.split_first()?;
        let inside = after.get(..token.inside as usize)?;
        Some(Node { text, token: *token, place, inside, has_space: self.has_space })
    }
}

impl<'d> Node<'d> {
    /// The type of the value, with its content.
    pub fn kind(&self) -> Kind<'d> {
        let written = self.written();
        match written.as_bytes() {
            [b'n', ..] | [] => Kind::Null,
            [b't', ..] => Kind::Bool(true),
            [b'f', ..] => Kind::Bool(false),
            [b'"', ..] => Kind::String(string::decode(written)),
            [b'[', ..] => Kind::Array(self.items()),
            [b'{', ..] => Kind::Object(self.members()),
            _ => Kind::Number(written),
        }
    }

    /// The value as written, without the white space around it.
    pub fn written(&self) -> &'d str {
        self.text.get(self.span()).unwrap_or_default()
    }

    /// The position of the value: a byte range of the parsed body.
    pub fn span(&self) -> Range<usize> {
        self.token.start as usize..self.token.end as usize
    }

    /// The index of the value among all values and keys of its text.
    pub fn place(&self) -> u32 {
        self.place
    }

    /// True if the value contains no other value.
    pub fn is_leaf(&self) -> bool {
        self.token.inside == 0
    }

    /// The work of visiting everything inside of the value once.
    pub fn cost(&self) -> usize {
        self.inside.len().saturating_add(1).saturating_mul(PLACE)
    }

    /// The entries of a list. Empty for other values.
    pub fn items(&self) -> Items<'d> {
        Items(self.children(b'['))
    }

    /// The keys and values of an object, in the order of the text and with all repetitions. The keys are strings. Empty for other values.
    pub fn members(&self) -> Members<'d> {
        Members(self.children(b'{'))
    }

    fn children(&self, opener: u8) -> Children<'d> {
        let is_wanted = self.written().as_bytes().first() == Some(&opener);
        Children {
            text: self.text,
            place: self.place.saturating_add(1),
            tokens: if is_wanted { self.inside } else { &[] },
            has_space: self.has_space,
        }
    }

    /// The value at a pointer (RFC 6901), given as its segments. No segment is special. If a key is repeated, the last value counts, as in most
    /// parsers.
    pub fn at<S: AsRef<str>>(&self, segments: &[S]) -> Option<Node<'d>> {
        segments.iter().map(AsRef::as_ref).try_fold(*self, |node, segment| match node.written().as_bytes().first() {
            Some(b'{') => node.members().filter(|(key, _)| key.is_string(segment)).last().map(|(_, value)| value),
            Some(b'[') => node.items().nth(index(segment)?),
            _ => None,
        })
    }

    /// True if this is a string with the given content.
    fn is_string(&self, text: &str) -> bool {
        let inner = self.span().start.saturating_add(1)..self.span().end.saturating_sub(1);
        let inner = self.text.get(inner).unwrap_or_default();
        // Escapes make a string longer, never shorter.
        inner == text && !text.contains('\\') || inner.len() > text.len() && inner.contains('\\') && self.text() == text
    }

    /// The value as text: the content of a string, an empty text for null, and anything else as written.
    pub fn text(&self) -> Cow<'d, str> {
        match self.kind() {
            Kind::Null => Cow::Borrowed(""),
            Kind::String(text) => text,
            _ => Cow::Borrowed(self.written()),
        }
    }

    /// Appends the value without white space between its tokens, and so on one line. Does not change anything else.
    pub fn write_compact(&self, out: &mut Vec<u8>) {
        if self.has_space {
            push_compact(self.written(), out);
        } else {
            out.extend_from_slice(self.written().as_bytes());
        }
    }
}

/// Parses a segment of a pointer as a list index: digits without leading zeros (RFC 6901, 4).
pub(crate) fn index(segment: &str) -> Option<usize> {
    let is_index = segment.bytes().all(|byte| byte.is_ascii_digit()) && (segment == "0" || !segment.starts_with('0'));
    segment.parse().ok().filter(|_| is_index)
}

/// Consecutive values.
#[derive(Clone, Copy, Debug)]
struct Children<'d> {
    text: &'d str,
    /// The index of the first token.
    place: u32,
    tokens: &'d [Token],
    has_space: bool,
}

impl<'d> Children<'d> {
    fn next(&mut self) -> Option<Node<'d>> {
        let (token, rest) = self.tokens.split_first()?;
        let (inside, after) = rest.split_at_checked(token.inside as usize)?;
        self.tokens = after;
        let place = self.place;
        self.place = place.saturating_add(token.inside).saturating_add(1);
        Some(Node { text: self.text, token: *token, place, inside, has_space: self.has_space })
    }
}

/// The entries of a list.
#[derive(Clone, Debug)]
pub struct Items<'d>(Children<'d>);

impl<'d> Iterator for Items<'d> {
    type Item = Node<'d>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// The keys and values of an object.
#[derive(Clone, Debug)]
pub struct Members<'d>(Children<'d>);

impl<'d> Iterator for Members<'d> {
    type Item = (Node<'d>, Node<'d>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.next()?, self.0.next()?))
    }
}

#[cfg(test)]
pub(crate) mod tests;
