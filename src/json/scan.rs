//! Where the values of a JSON text begin and end.

use super::{string, Token, MAX_DEPTH};

/// The tokens of a text, and whether there is white space between them; none if it is no JSON.
pub(super) fn scan(text: &str) -> Option<(Vec<Token>, bool)> {
    // Positions are u32; in the filter all of memory is.
    u32::try_from(text.len()).ok()?;
    let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    Scanner { text: text.as_bytes(), at, tokens: Vec::new(), open: Vec::new(), has_space: false }.scan()
}

/// White space (RFC 8259, 2).
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

struct Scanner<'a> {
    text: &'a [u8],
    /// How far it has come.
    at: usize,
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

impl<'a> Scanner<'a> {
    fn scan(mut self) -> Option<(Vec<Token>, bool)> {
        loop {
            self.skip_space();
            match self.peek()? {
                b'[' => {
                    self.open(b']')?;
                    if self.peek() != Some(b']') {
                        continue;
                    }
                }
                b'{' => {
                    self.open(b'}')?;
                    if self.peek() != Some(b'}') {
                        self.key()?;
                        continue;
                    }
                }
                b'"' => self.leaf(string::length)?,
                b'n' => self.leaf(|rest| rest.starts_with(b"null").then_some(4))?,
                b't' => self.leaf(|rest| rest.starts_with(b"true").then_some(4))?,
                b'f' => self.leaf(|rest| rest.starts_with(b"false").then_some(5))?,
                _ => self.leaf(number_length)?,
            }
            let more = self.close()?;
            if !more {
                return Some((self.tokens, self.has_space));
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn leaf(&mut self, length: impl FnOnce(&[u8]) -> Option<usize>) -> Option<()> {
        let start = self.position();
        self.at += length(self.rest())?;
        let end = self.position();
        self.push(Token { start, end, inside: 0 });
        Some(())
    }

    fn key(&mut self) -> Option<()> {
        self.skip_space();
        self.leaf(string::length)?;
        self.skip_space();
        if self.peek()? != b':' {
            return None;
        }
        self.at += 1;
        Some(())
    }

    fn open(&mut self, closer: u8) -> Option<()> {
        if self.open.len() == MAX_DEPTH {
            return None;
        }
        self.open.push(Open { token: self.tokens.len(), closer });
        self.push(Token { start: self.position(), ..Token::default() });
        self.at += 1;
        self.skip_space();
        Some(())
    }

    /// Closes what ends after a value. True if another value must follow, false at the end of the text.
    fn close(&mut self) -> Option<bool> {
        while let Some(innermost) = self.open.last().copied() {
            self.skip_space();
            let next = self.peek()?;
            self.at += 1;
            if next == b',' {
                if innermost.closer == b'}' {
                    self.key()?;
                }
                return Some(true);
            }
            if next != innermost.closer {
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
        self.rest().is_empty().then_some(false)
    }

    fn push(&mut self, token: Token) {
        if self.tokens.len() == self.tokens.capacity() {
            // Twice as many, but no more than there can be: a value takes a byte and another that separates it.
            let most = self.rest().len() / 2 + 1;
            self.tokens.reserve_exact(self.tokens.len().max(64).min(most));
        }
        self.tokens.push(token);
    }

    fn position(&self) -> u32 {
        self.at as u32
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
            self.has_space = true;
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
