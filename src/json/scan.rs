//! Where the values of a JSON text begin and end.

use super::{string, Token, MAX_DEPTH};

/// The tokens of a text, and whether there is white space between them; none if it is no JSON.
pub(super) fn scan(text: &str) -> Option<(Vec<Token>, bool)> {
    // Positions are u32; in the filter all of memory is.
    u32::try_from(text.len()).ok()?;
    let rest = text.strip_prefix('\u{feff}').unwrap_or(text).as_bytes();
    Scanner { length: text.len(), rest, tokens: Vec::new(), open: Vec::new(), has_space: false }.scan()
}

/// White space (RFC 8259, 2).
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

struct Scanner<'a> {
    length: usize,
    rest: &'a [u8],
    tokens: Vec<Token>,
    /// The lists and objects around the place, innermost last.
    open: Vec<Open>,
    has_space: bool,
}

#[derive(Clone, Copy)]
struct Open {
    token: usize,
    closer: u8,
}

impl Scanner<'_> {
    fn scan(mut self) -> Option<(Vec<Token>, bool)> {
        loop {
            self.skip_space();
            match self.rest {
                [b'[', ..] => {
                    self.open(b']')?;
                    if self.rest.first() != Some(&b']') {
                        continue;
                    }
                }
                [b'{', ..] => {
                    self.open(b'}')?;
                    if self.rest.first() != Some(&b'}') {
                        self.key()?;
                        continue;
                    }
                }
                [b'"', ..] => self.leaf(string::length)?,
                [b'n', ..] => self.leaf(|rest| rest.starts_with(b"null").then_some(4))?,
                [b't', ..] => self.leaf(|rest| rest.starts_with(b"true").then_some(4))?,
                [b'f', ..] => self.leaf(|rest| rest.starts_with(b"false").then_some(5))?,
                _ => self.leaf(number_length)?,
            }
            let more = self.close()?;
            if !more {
                return Some((self.tokens, self.has_space));
            }
        }
    }

    fn leaf(&mut self, length: impl FnOnce(&[u8]) -> Option<usize>) -> Option<()> {
        let start = self.position();
        self.skip(length(self.rest)?);
        let end = self.position();
        self.push(Token { start, end, inside: 0 });
        Some(())
    }

    fn key(&mut self) -> Option<()> {
        self.skip_space();
        self.leaf(string::length)?;
        self.skip_space();
        self.rest = self.rest.strip_prefix(b":")?;
        Some(())
    }

    fn open(&mut self, closer: u8) -> Option<()> {
        if self.open.len() == MAX_DEPTH {
            return None;
        }
        self.open.push(Open { token: self.tokens.len(), closer });
        self.push(Token { start: self.position(), ..Token::default() });
        self.skip(1);
        self.skip_space();
        Some(())
    }

    /// Closes what ends after a value. True if another value must follow, false at the end of the text.
    fn close(&mut self) -> Option<bool> {
        while let Some(innermost) = self.open.last().copied() {
            self.skip_space();
            let (next, rest) = self.rest.split_first()?;
            self.rest = rest;
            if *next == b',' {
                if innermost.closer == b'}' {
                    self.key()?;
                }
                return Some(true);
            }
            if *next != innermost.closer {
                return None;
            }
            let end = self.position();
            let inside = self.tokens.get_mut(innermost.token..)?;
            let count = inside.len() as u32;
            let token = inside.first_mut()?;
            token.end = end;
            token.inside = count.saturating_sub(1);
            self.open.pop();
        }
        self.skip_space();
        self.rest.is_empty().then_some(false)
    }

    fn push(&mut self, token: Token) {
        if self.tokens.len() == self.tokens.capacity() {
            // Twice as many, but no more than there can be: a value takes a byte and another that separates it.
            let most = self.rest.len() / 2 + 1;
            self.tokens.reserve_exact(self.tokens.len().max(16).min(most));
        }
        self.tokens.push(token);
    }

    fn position(&self) -> u32 {
        (self.length - self.rest.len()) as u32
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn skip_space(&mut self) {
        let spaces = length_of(self.rest, is_space);
        self.has_space |= spaces > 0;
        self.skip(spaces);
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
