//! JSON that is read without losing how it was written: bodies are looked into, cut out of and compared, and what they hold must
//!
//! Uses `http`, for the count of work. Begin with [`read`] and [`Node`].
//! come out as it went in, numbers beyond all machine types and repeated keys included.
//!
//! A text is scanned once, and what is kept is where its values begin and end, not what they are: twelve bytes for every value
//! and every key, so at most six for every byte of the text (`[0,0,0]`), and twelve for a moment while they are moved. Strings
//! are decoded when somebody asks for them. Nothing recurses over the nesting, which is bounded all the same: what works on the
//! values may.

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
use crate::http::work::{TooMuch, Work, PLACE};

/// Doubles hold every whole number up to here.
pub const MAX_WHOLE_DOUBLE: f64 = 9_007_199_254_740_992.0;

/// Why something cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The body is no JSON, or is encoded in a way that is not read here.
    NotJson,
    /// It takes more work than a request may cause.
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

/// The deepest nesting that is read: lists and objects inside one another, as most parsers bound it.
pub const MAX_DEPTH: usize = 128;

/// A JSON text.
#[derive(Clone, Debug)]
pub struct Json<'a> {
    text: &'a str,
    index: Index,
}

/// Where the values of a JSON text are, apart from the text.
#[derive(Clone, Debug)]
pub struct Index {
    /// The value, then what is in it, in the order of the text.
    tokens: Vec<Token>,
    /// There is white space between tokens.
    has_space: bool,
}

/// A body that is no JSON (RFC 8259): not UTF-8, an escape of half a surrogate pair, which is no Unicode text, more than
/// one value, none, or one that is nested deeper than [`MAX_DEPTH`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

/// Where a value or a key is written.
#[derive(Clone, Copy, Debug, Default)]
struct Token {
    start: u32,
    end: u32,
    /// The tokens after this one that are parts of it.
    inside: u32,
}

/// A value or a key in a JSON text.
#[derive(Clone, Copy, Debug)]
pub struct Node<'d> {
    text: &'d str,
    token: Token,
    /// The place of its token among all of them.
    place: u32,
    inside: &'d [Token],
    has_space: bool,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Kind<'d> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it is written.
    Number(&'d str),
    /// A string, decoded; borrowed if it has no escapes.
    String(Cow<'d, str>),
    /// A list.
    Array(Items<'d>),
    /// An object.
    Object(Members<'d>),
}

/// Reads a body. A byte order mark before it is skipped.
///
/// # Errors
/// It is no JSON.
pub fn parse(body: &[u8]) -> Result<Json<'_>, NotJson> {
    parse_within(body, &Work::unbounded()).map_err(|_| NotJson)
}

/// The same within so much work.
///
/// # Errors
/// It is no JSON, or takes more work.
pub fn parse_within<'a>(body: &'a [u8], work: &Work) -> Result<Json<'a>, Unread> {
    let text = std::str::from_utf8(body).map_err(|_| NotJson)?;
    Ok(Json { text, index: read(text, work)? })
}

/// Finds the values of a text.
///
/// # Errors
/// It is no JSON, or has more values than can be kept for one request.
pub fn read(text: &str, work: &Work) -> Result<Index, Unread> {
    work.spend(text.len())?;
    let mut tape = scan::Kept { tokens: Vec::new(), work };
    let has_space = scan::scan(text, &mut tape);
    let tokens = tape.tokens;
    work.spend(tokens.len().saturating_mul(PLACE))?;
    Ok(Index { tokens, has_space: has_space.ok_or(NotJson)? })
}

/// The value in a body without the white space around it and between its tokens, hence on one line, and otherwise as it is written; for who does not
/// look into it.
///
/// # Errors
/// It is no JSON.
pub fn compact(body: &[u8]) -> Result<Cow<'_, [u8]>, NotJson> {
    let text = std::str::from_utf8(body).map_err(|_| NotJson)?;
    let has_space = scan::scan(text, &mut ()).ok_or(NotJson)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !has_space {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    let mut out = Vec::with_capacity(text.len());
    push_compact(text, &mut out);
    // It may be kept for long.
    out.shrink_to_fit();
    Ok(Cow::Owned(out))
}

/// Adds JSON without the white space between its tokens.
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
    /// The body that was parsed, all of it.
    pub fn body(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// Its value.
    pub fn root(&self) -> Node<'_> {
        self.index.root(self.text)
    }
}

impl Index {
    /// The value of the text that was indexed.
    pub fn root<'d>(&'d self, text: &'d str) -> Node<'d> {
        let (token, inside) = self.tokens.split_first().map_or((Token::default(), &[][..]), |(first, rest)| (*first, rest));
        // A text that was read has a value.
        Node { text, token, place: 0, inside, has_space: self.has_space }
    }

    /// The value at a [place](Node::place) of the text that was indexed.
    pub fn node<'d>(&'d self, text: &'d str, place: u32) -> Option<Node<'d>> {
        let (token, after) = self.tokens.get(place as usize..)?.split_first()?;
        let inside = after.get(..token.inside as usize)?;
        Some(Node { text, token: *token, place, inside, has_space: self.has_space })
    }
}

impl<'d> Node<'d> {
    /// What it is.
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

    /// The value as it is written, without the white space around it.
    pub fn written(&self) -> &'d str {
        self.text.get(self.span()).unwrap_or_default()
    }

    /// Where it is written: a range of the body that was parsed.
    pub fn span(&self) -> Range<usize> {
        self.token.start as usize..self.token.end as usize
    }

    /// Where it is among all values and keys of its text.
    pub fn place(&self) -> u32 {
        self.place
    }

    /// True if nothing is in it.
    pub fn is_leaf(&self) -> bool {
        self.token.inside == 0
    }

    /// The work of looking at everything in it once.
    pub fn cost(&self) -> usize {
        self.inside.len().saturating_add(1).saturating_mul(PLACE)
    }

    /// The entries of a list; none of anything else.
    pub fn items(&self) -> Items<'d> {
        Items(self.children(b'['))
    }

    /// The keys, which are strings, and values of an object, in the order of the text and with all repetitions; none of anything
    /// else.
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

    /// The value at a pointer (RFC 6901), given as its segments, none of which is special; of a repeated key the last, as most
    /// parsers do.
    pub fn at<S: AsRef<str>>(&self, segments: &[S]) -> Option<Node<'d>> {
        segments.iter().map(AsRef::as_ref).try_fold(*self, |node, segment| match node.written().as_bytes().first() {
            Some(b'{') => node.members().filter(|(key, _)| key.is_string(segment)).last().map(|(_, value)| value),
            Some(b'[') => node.items().nth(index(segment)?),
            _ => None,
        })
    }

    /// True for the string that stands for this text.
    fn is_string(&self, text: &str) -> bool {
        let inner = self.span().start.saturating_add(1)..self.span().end.saturating_sub(1);
        let inner = self.text.get(inner).unwrap_or_default();
        // Escapes make a string longer, never shorter.
        inner == text && !text.contains('\\') || inner.len() > text.len() && inner.contains('\\') && self.text() == text
    }

    /// The value as text: a string decoded, null as nothing, anything else as it is written.
    pub fn text(&self) -> Cow<'d, str> {
        match self.kind() {
            Kind::Null => Cow::Borrowed(""),
            Kind::String(text) => text,
            _ => Cow::Borrowed(self.written()),
        }
    }

    /// Writes the value without the white space between its tokens, hence on one line, and otherwise as it is written.
    pub fn write_compact(&self, out: &mut Vec<u8>) {
        if self.has_space {
            push_compact(self.written(), out);
        } else {
            out.extend_from_slice(self.written().as_bytes());
        }
    }
}

/// A segment of a pointer as an index of a list: digits without leading zeros (RFC 6901, 4).
pub(crate) fn index(segment: &str) -> Option<usize> {
    let is_index = segment.bytes().all(|byte| byte.is_ascii_digit()) && (segment == "0" || !segment.starts_with('0'));
    segment.parse().ok().filter(|_| is_index)
}

/// Values one after another.
#[derive(Clone, Copy, Debug)]
struct Children<'d> {
    text: &'d str,
    /// The place of the first of the tokens.
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
