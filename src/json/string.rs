//! Strings as JSON writes them (RFC 8259, 7).

use std::borrow::Cow;

use super::scan::length_of;

/// The length of the string at the start, with its quotes; none if there is no valid one. What is not ASCII must be UTF-8
/// already. Eight bytes are looked at at once, since most of a body stands in strings, for itself.
#[inline]
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        let rest = bytes.get(at..)?;
        // Of eight that are plain, 64 zeros trail.
        let plain = rest.first_chunk().map(|eight| not_plain(u64::from_le_bytes(*eight)).trailing_zeros() as usize / 8);
        at += plain.unwrap_or_else(|| plain_length(rest));
        if plain == Some(8) {
            continue;
        }
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at = bytes.len() - after_escape(bytes.get(at + 1..)?)?.len(),
            _ => return None,
        }
    }
}

#[cold]
fn plain_length(bytes: &[u8]) -> usize {
    length_of(bytes, is_plain)
}

/// What follows an escape, which is given without its backslash. Kept out of the loop over strings, few of which have one.
#[cold]
fn after_escape(escape: &[u8]) -> Option<&[u8]> {
    unescape(escape).map(|(_, after)| after)
}

/// The highest bit of the first of eight bytes, the lowest being the first, that is not [`is_plain`], and perhaps of some after it. A byte is
/// below n if it borrows when n is subtracted and has no high bit itself (S. E. Anderson, Bit Twiddling Hacks, "Determine if a word has a byte
/// less than n"); what it borrows may make the next ones look so. With its second bit turned over, a quote is the one byte besides control
/// characters that is below `!`.
const fn not_plain(bytes: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    const fn below(bytes: u64, n: u8) -> u64 {
        bytes.wrapping_sub(ONES * n as u64) & !bytes
    }
    let control_or_quote = below(bytes ^ (ONES * 2), b'!');
    let backslash = below(bytes ^ (ONES * b'\\' as u64), 1);
    (control_or_quote | backslash) & HIGH
}

fn is_plain(byte: u8) -> bool {
    byte >= b' ' && byte != b'"' && byte != b'\\'
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
