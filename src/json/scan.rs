//! The scanner: finds where the values of a JSON text begin and end.

use super::string::Strings;
use super::{Token, MAX_DEPTH};
use crate::http::work_limit::{Work, PLACE};

/// Writes the tokens of a text to a tape. Returns whether there is white space between them, or `None` if the text is not JSON.
pub(super) fn scan(text: &str, tape: &mut impl Tape) -> Option<bool> {
    // Positions are u32. In the filter, all addresses are.
    u32::try_from(text.len()).ok()?;
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let text = text.as_bytes();
    Scanner { text, strings: Strings::of(text), tape, open: Vec::new(), has_space: false }.scan(start)
}

/// A receiver of tokens.
pub(super) trait Tape {
    /// The number of tokens.
    fn length(&self) -> usize;
    /// Adds a token. `left` is the number of bytes from its start to the end of the text. Returns `None` if there is no room.
    fn push(&mut self, token: Token, left: usize) -> Option<()>;
    /// Ends the list or object at the given index.
    fn close(&mut self, token: usize, end: u32) -> Option<()>;
}

/// Keeps as many tokens as the work limit of a request allows.
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
            // Doubles the capacity, up to the most possible tokens: each value takes a byte, and another one separates it from the next.
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

/// Keeps no tokens. Scanning then only checks whether the text is JSON.
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
    /// The lists and objects around the position, innermost last.
    open: Vec<Open>,
    has_space: bool,
}

#[derive(Clone, Copy)]
struct Open {
    token: usize,
    closer: u8,
}

/// The position is a parameter and not a field, because it changes with each byte.
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

    /// Scans a string, from its first quote.
    #[inline(always)]
    fn string(&mut self, at: usize) -> Option<usize> {
        let end = self.strings.end(at)?;
        self.leaf(at, end - at)
    }

    /// Scans a key and its colon. Returns where its value begins.
    fn key(&mut self, at: usize) -> Option<usize> {
        if self.byte(at) != Some(b'"') {
            return None;
        }
        let end = self.string(at)?;
        let colon = self.skip_space(end);
        (self.byte(colon)? == b':').then(|| self.skip_space(colon + 1))
    }

    /// Opens a list or an object. Returns where its content begins.
    fn open(&mut self, at: usize, closer: u8) -> Option<usize> {
        if self.open.len() == MAX_DEPTH {
            return None;
        }
        self.open.push(Open { token: self.tape.length(), closer });
        self.tape.push(Token { start: at as u32, ..Token::default() }, self.text.len() - at)?;
        Some(self.skip_space(at + 1))
    }

    /// Closes everything that ends after a value. Returns where the next value begins and whether a key precedes it, or an inner `None` at the end
    /// of the text.
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

/// The number of leading bytes for which `such` holds.
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

/// Skips one or more digits. Returns the rest, or `None` if there is no digit.
fn skip_digits(bytes: &[u8]) -> Option<&[u8]> {
    match length_of(bytes, |byte| byte.is_ascii_digit()) {
        0 => None,
        digits => bytes.get(digits..),
    }
}
