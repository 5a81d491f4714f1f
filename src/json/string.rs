//! Strings as JSON writes them (RFC 8259, 7).

use std::borrow::Cow;

/// Finds the ends of the strings of a text, which must be UTF-8. Bytes that may end a string, or not stand in one, are found 64 at once, without
/// regard to where strings are: so the way from one string to the next is short.
pub(super) struct Strings<'t> {
    text: &'t [u8],
    /// Where the block begins that is looked at.
    block: usize,
    /// Which of its bytes are not plain, and were not looked at yet: the lowest bit is the first byte's.
    special: u64,
}

impl<'t> Strings<'t> {
    pub(super) fn of(text: &'t [u8]) -> Self {
        Self { text, block: 0, special: special(text) }
    }

    /// Where the string ends whose first quote is at `start`; none if that is no valid string. They are asked for in their order.
    /// Inlined, as what asks is: then what is known between two strings need not go through memory, which is most of their time.
    #[inline(always)]
    pub(super) fn end(&mut self, start: usize) -> Option<usize> {
        let mut from = start + 1;
        loop {
            let at = self.next_special()?;
            if at < from {
                // White space before the string, its first quote, or part of an escape.
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

/// As many bytes as a number has bits.
const BLOCK: usize = 64;

/// Which of the first 64 bytes are quotes, backslashes or control characters, each as a bit.
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

/// The same for eight bytes, the lowest of which is the first.
const fn special_of_eight(bytes: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    /// The highest bit of each byte that is below n, which is at most 128: no byte carries into the next.
    const fn below(bytes: u64, n: u8) -> u64 {
        let at_least = (bytes & !HIGH) + ONES * (0x80 - n as u64);
        !(at_least | bytes) & HIGH
    }
    // With its second bit turned over, a quote is the one byte besides control characters that is below `!`.
    let control_or_quote = below(bytes ^ (ONES * 2), b'!');
    let backslash = below(bytes ^ (ONES * b'\\' as u64), 1);
    // Each of the highest bits is moved to its place in the highest byte, and no two of the others to one place.
    ((control_or_quote | backslash) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// What follows an escape, which is given without its backslash. Kept out of the loop over strings, few of which have one.
#[cold]
fn after_escape(escape: &[u8]) -> Option<&[u8]> {
    unescape(escape).map(|(_, after)| after)
}

/// The character that an escape stands for, and what follows; without the backslash.
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

/// The character that is written as one UTF-16 unit or two; none if a surrogate stands alone.
fn unescape_unit(digits: &[u8]) -> Option<(char, &[u8])> {
    let (unit, rest) = hex(digits)?;
    if let Some(char) = char::from_u32(unit) {
        return Some((char, rest));
    }
    let (low, rest) = hex(rest.strip_prefix(b"\\u")?)?;
    if !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    // A second half in the place of the first leads beyond all characters.
    Some((char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00))?, rest))
}

fn hex(digits: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = digits.split_at_checked(4)?;
    let unit = digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))?;
    Some((unit, rest))
}

/// The text of a valid string, which is given with its quotes.
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
        // An escape is ASCII, so what follows it starts with a character.
        rest = escape.get(escape.len() - after.len()..).unwrap_or_default();
    }
    text.push_str(rest);
    Cow::Owned(text)
}
