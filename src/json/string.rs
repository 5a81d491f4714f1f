//! Strings in JSON's spelling (RFC 8259, 7).

use std::borrow::Cow;

/// Finds the ends of the strings of a UTF-8 text. It searches 64 bytes at once for bytes that may end a string or are not allowed in one. The
/// search does not depend on where strings are, so the path from one string to the next is short.
pub(super) struct Strings<'t> {
    text: &'t [u8],
    /// The start of the current block.
    block: usize,
    /// The special bytes of the block that were not visited yet. The lowest bit is the first byte.
    special: u64,
}

impl<'t> Strings<'t> {
    pub(super) fn of(text: &'t [u8]) -> Self {
        Self { text, block: 0, special: special(text) }
    }

    /// Returns the end of the string whose first quote is at `start`, or `None` if the string is invalid. Calls must be in the order of the text.
    /// Inlined, like its callers, so that the state between two strings stays in registers: memory accesses would take most of the time.
    #[inline(always)]
    pub(super) fn end(&mut self, start: usize) -> Option<usize> {
        let mut from = start + 1;
        loop {
            let at = self.next_special()?;
            if at < from {
                // White space before the string, its first quote, or a part of an escape.
                continue;
            }
            match self.text.get(at)? {
                b'"' => return Some(at + 1),
                b'\\' => from = self.text.len() - after_escape(self.text.get(at + 1..)?)?.len(),
                _ => return None,
            }
        }
    }

    fn next_special(&mut self) -> Option<usize> {
        while self.special == 0 {
            self.block += BLOCK;
            self.special = special(self.text.get(self.block..)?);
        }
        let at = self.block + self.special.trailing_zeros() as usize;
        self.special &= self.special - 1;
        Some(at)
    }
}

/// The number of bytes in a block: one for each bit of a u64.
const BLOCK: usize = 64;

/// A mask of the quotes, backslashes and control characters among the first 64 bytes.
fn special(bytes: &[u8]) -> u64 {
    let Some(block) = bytes.first_chunk::<BLOCK>() else {
        let mut padded = [b' '; BLOCK];
        padded.iter_mut().zip(bytes).for_each(|(padded, byte)| *padded = *byte);
        return special_of(&padded);
    };
    special_of(block)
}

fn special_of(block: &[u8; BLOCK]) -> u64 {
    let (words, _) = block.as_chunks::<8>();
    words.iter().rev().fold(0, |bits, word| bits << 8 | special_of_eight(u64::from_le_bytes(*word)))
}

/// The mask of eight bytes. The lowest byte is the first.
const fn special_of_eight(bytes: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    /// Sets the highest bit of each byte that is below `n`, which is at most 128. No byte carries into the next.
    const fn below(bytes: u64, n: u8) -> u64 {
        let at_least = (bytes & !HIGH) + ONES * (0x80 - n as u64);
        !(at_least | bytes) & HIGH
    }
    // With the second bit flipped, a quote is the only byte, except for control characters, that is below `!`.
    let control_or_quote = below(bytes ^ (ONES * 2), b'!');
    let backslash = below(bytes ^ (ONES * b'\\' as u64), 1);
    // The multiplication moves each highest bit to its own position in the highest byte. No other two bits collide.
    ((control_or_quote | backslash) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Skips an escape, given without its backslash. Cold, because few strings contain escapes.
#[cold]
fn after_escape(escape: &[u8]) -> Option<&[u8]> {
    unescape(escape).map(|(_, after)| after)
}

/// The character of an escape, given without its backslash, and the rest of the text.
fn unescape(escape: &[u8]) -> Option<(char, &[u8])> {
    let (kind, rest) = escape.split_first()?;
    let char = match kind {
        b'"' | b'\\' | b'/' => char::from(*kind),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unescape_unit(rest),
        _ => return None,
    };
    Some((char, rest))
}

/// The character of one or two UTF-16 units. `None` if a surrogate stands alone.
fn unescape_unit(digits: &[u8]) -> Option<(char, &[u8])> {
    let (unit, rest) = hex(digits)?;
    if let Some(char) = char::from_u32(unit) {
        return Some((char, rest));
    }
    let (low, rest) = hex(rest.strip_prefix(b"\\u")?)?;
    if !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    // A low surrogate in the first position leads to a number beyond all characters.
    Some((char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00))?, rest))
}

fn hex(digits: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = digits.split_at_checked(4)?;
    let unit = digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))?;
    Some((unit, rest))
}

/// The content of a valid string, given with its quotes.
pub(super) fn decode(written: &str) -> Cow<'_, str> {
    let mut rest = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
    if !rest.contains('\\') {
        return Cow::Borrowed(rest);
    }
    let mut text = String::with_capacity(rest.len());
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let Some((char, after)) = unescape(escape.as_bytes()) else { break };
        text.push(char);
        // An escape is ASCII, so the rest starts at a character boundary.
        rest = escape.get(escape.len() - after.len()..).unwrap_or_default();
    }
    text.push_str(rest);
    Cow::Owned(text)
}
