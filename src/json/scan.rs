//! Where the values of a JSON text begin and end.

use super::string::Strings;
use super::{Token, MAX_DEPTH};
use crate::http::work::{Work, PLACE};

/// Puts the tokens of a text on a tape, and tells whether there is white space between them; none if it is no JSON.
pub(super) fn scan(text: &str, tape: &mut impl Tape) -> Option<bool> {
    // Positions are u32; in the filter all of memory is.
    u32::try_from(text.len()).ok()?;
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let text = text.as_bytes();
    Scanner { text, strings: Strings::of(text), tape, open: Vec::new(), has_space: false }.scan(start)
}

/// Where tokens go.
pub(super) trait Tape {
    /// How many there are.
    fn length(&self) -> usize;
    /// Adds one; so many bytes of text are left from its start on. None if there is no room for it.
    fn push(&mut self, token: Token, left: usize) -> Option<()>;
    /// The list or object at that place ends there.
    fn close(&mut self, token: usize, end: u32) -> Option<()>;
}

/// Keeps as many as the work for one request allows.
pub(super) struct Kept<'w> {
    pub(super) tokens: Vec<Token>,
    pub(super) work: &'w Work,
}

impl Tape for Kept<'_> {
    fn length(&self) -> usize {
        self.tokens.len()
    }

    fn push(&mut self, token: Token, left: usize) -> Option<()> {
        let kept = self.tokens.len();
        if kept == self.tokens.capacity() {
            if !self.work.has_room(kept.saturating_mul(PLACE)) {
                return None;
            }
            // Twice as many, but no more than there can be: a value takes a byte and another that separates it.
            let most = left / 2 + 1;
            self.tokens.reserve_exact(kept.max(64).min(most));
        }
        self.tokens.push(token);
        Some(())
    }

    fn close(&mut self, token: usize, end: u32) -> Option<()> {
        let inside = self.tokens.get_mut(token..)?;
        let count = inside.len() as u32;
        let token = inside.first_mut()?;
        token.end = end;
        token.inside = count.saturating_sub(1);
        Some(())
    }
}

/// Keeps nothing: whether a text is JSON shows all the same.
impl Tape for () {
    fn length(&self) -> usize {
        0
    }

    fn push(&mut self, _: Token, _: usize) -> Option<()> {
        Some(())
    }

    fn close(&mut self, _: usize, _: u32) -> Option<()> {
        Some(())
    }
}

/// White space (RFC 8259, 2).
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

struct Scanner<'a, T> {
    text: &'a [u8],
    strings: Strings<'a>,
    tape: &'a mut T,
    /// The lists and objects around the place, innermost last.
    open: Vec<Open>,
    has_space: bool,
}

#[derive(Clone, Copy)]
struct Open {
    token: usize,
    closer: u8,
}

/// How far the text is read is passed along, not kept: it changes with each byte.
impl<T: Tape> Scanner<'_, T> {
    fn scan(mut self, start: usize) -> Option<bool> {
        let mut at = self.skip_space(start);
        let mut has_key = false;
        loop {
            if has_key {
                at = self.key(at)?;
            }
            at = match self.byte(at)? {
                b'[' => {
                    let inside = self.open(at, b']')?;
                    if self.byte(inside) != Some(b']') {
                        (at, has_key) = (inside, false);
                        continue;
                    }
                    inside
                }
                b'{' => {
                    let inside = self.open(at, b'}')?;
                    if self.byte(inside) != Some(b'}') {
                        (at, has_key) = (inside, true);
                        continue;
                    }
                    inside
                }
                b'"' => self.string(at)?,
                b'n' => self.word(at, b"null")?,
                b't' => self.word(at, b"true")?,
                b'f' => self.word(at, b"false")?,
                _ => self.leaf(at, number_length(self.rest(at))?)?,
            };
            match self.close(at)? {
                Some(next) => (at, has_key) = next,
                None => return Some(self.has_space),
            }
        }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    fn rest(&self, at: usize) -> &[u8] {
        self.text.get(at..).unwrap_or_default()
    }

    fn leaf(&mut self, at: usize, length: usize) -> Option<usize> {
        let end = at + length;
        self.tape.push(Token { start: at as u32, end: end as u32, inside: 0 }, self.text.len() - at)?;
        Some(end)
    }

    fn word(&mut self, at: usize, word: &[u8]) -> Option<usize> {
        if !self.rest(at).starts_with(word) {
            return None;
        }
        self.leaf(at, word.len())
    }

    /// A string, whose first quote is there.
    #[inline(always)]
    fn string(&mut self, at: usize) -> Option<usize> {
        let end = self.strings.end(at)?;
        self.leaf(at, end - at)
    }

    /// A key and its colon, and where its value begins.
    fn key(&mut self, at: usize) -> Option<usize> {
        if self.byte(at) != Some(b'"') {
            return None;
        }
        let end = self.string(at)?;
        let colon = self.skip_space(end);
        (self.byte(colon)? == b':').then(|| self.skip_space(colon + 1))
    }

    /// Where what is in a list or an object begins.
    fn open(&mut self, at: usize, closer: u8) -> Option<usize> {
        if self.open.len() == MAX_DEPTH {
            return None;
        }
        self.open.push(Open { token: self.tape.length(), closer });
        self.tape.push(Token { start: at as u32, ..Token::default() }, self.text.len() - at)?;
        Some(self.skip_space(at + 1))
    }

    /// Closes what ends after a value. Where the next value begins, and whether that is with its key; or none at the end of the text.
    fn close(&mut self, end: usize) -> Option<Option<(usize, bool)>> {
        let mut at = self.skip_space(end);
        while let Some(innermost) = self.open.last().copied() {
            let next = self.byte(at)?;
            if next == b',' {
                return Some(Some((self.skip_space(at + 1), innermost.closer == b'}')));
            }
            if next != innermost.closer {
                return None;
            }
            self.tape.close(innermost.token, at as u32 + 1)?;
            self.open.pop();
            at = self.skip_space(at + 1);
        }
        (at == self.text.len()).then_some(None)
    }

    fn skip_space(&mut self, start: usize) -> usize {
        match self.byte(start) {
            Some(byte) if is_space(byte) => {
                self.has_space = true;
                start + length_of(self.rest(start), is_space)
            }
            _ => start,
        }
    }
}

/// How many bytes at the start are such.
pub(super) fn length_of(bytes: &[u8], such: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|byte| !such(*byte)).unwrap_or(bytes.len())
}

/// The length of the number at the start (RFC 8259, 6).
fn number_length(bytes: &[u8]) -> Option<usize> {
    let unsigned = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let mut rest = match unsigned {
        [b'0', rest @ ..] => rest,
        _ => skip_digits(unsigned)?,
    };
    if let Some(fraction) = rest.strip_prefix(b".") {
        rest = skip_digits(fraction)?;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let digits = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        rest = skip_digits(digits)?;
    }
    Some(bytes.len() - rest.len())
}

/// What follows one digit or more.
fn skip_digits(bytes: &[u8]) -> Option<&[u8]> {
    match length_of(bytes, |byte| byte.is_ascii_digit()) {
        0 => None,
        digits => bytes.get(digits..),
    }
}
