//! Positions in texts, and in texts inside of texts, such as the JSON of a `google.protobuf.StringValue`.

use std::ops::Range;
use std::rc::Rc;

/// A line and a column, both from 1. Columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A text, with a mapping of its positions to those of the file.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) text: String,
    outer: Option<Outer>,
}

#[derive(Debug)]
struct Outer {
    text: Rc<Text>,
    /// The start of the scalar in the outer text.
    start: usize,
    /// The positions of all visible characters: in this text and in the outer one. Empty if they are unknown.
    places: Vec<(usize, usize)>,
}

impl Text {
    /// The text of a file.
    pub(crate) fn of_file(text: String) -> Self {
        Self { text, outer: None }
    }

    /// The value of the scalar at `span` of another text.
    ///
    /// A scalar of any style (quoted, literal, folded) shows the visible characters of its value in order. Only white space differs, and double
    /// quotes have escapes. So the nth visible character of the value is the nth one of the scalar.
    pub(crate) fn of_scalar(outer: &Rc<Self>, span: &Range<usize>, value: &str) -> Self {
        let written = outer.text.get(span.clone()).unwrap_or_default();
        let shown = if written.starts_with(['"', '\'']) { unquoted(written) } else { visible(written) };
        let own = visible(value);
        let is_same = own.len() == shown.len() && own.iter().zip(&shown).all(|(own, shown)| own.1 == shown.1);
        let places =
            if is_same { own.iter().zip(&shown).map(|(own, shown)| (own.0, span.start + shown.0)).collect() } else { Vec::new() };
        Self { text: value.to_owned(), outer: Some(Outer { text: Rc::clone(outer), start: span.start, places }) }
    }

    /// The line and column in the file for a position in this text.
    pub(crate) fn position(&self, at: usize) -> Position {
        if let Some(outer) = &self.outer {
            let next = outer.places.partition_point(|(own, _)| *own <= at);
            let place = outer.places.get(next.saturating_sub(1));
            return outer.text.position(place.map_or(outer.start, |(_, place)| *place));
        }
        let before = self.text.char_indices().take_while(|(index, _)| *index < at);
        before.fold(Position { line: 1, column: 1 }, |position, (_, char)| match char {
            '\n' => Position { line: position.line + 1, column: 1 },
            // A byte order mark takes no column.
            '\u{feff}' => position,
            _ => Position { column: position.column + 1, ..position },
        })
    }

    /// The position of a line and column in this text, in the convention of JSON parsers: columns count bytes.
    pub(crate) fn place_of(&self, line: usize, column: usize) -> usize {
        let start = match line.checked_sub(2) {
            Some(breaks) => self.text.match_indices('\n').nth(breaks).map_or(self.text.len(), |(index, _)| index + 1),
            None => 0,
        };
        (start + column.saturating_sub(1)).min(self.text.len())
    }
}

/// The visible characters of a text, with their positions.
fn visible(text: &str) -> Vec<(usize, char)> {
    text.char_indices().filter(|(_, char)| !char.is_whitespace()).collect()
}

/// The visible characters of a quoted scalar's value, with their positions in the scalar.
fn unquoted(written: &str) -> Vec<(usize, char)> {
    let mut shown = Vec::new();
    let mut chars = written.char_indices().peekable();
    let quote = chars.next().map(|(_, quote)| quote);
    while let Some((index, char)) = chars.next() {
        let char = if Some(char) == quote {
            // In a single-quoted scalar, two quotes stand for one. Any other quote ends the scalar.
            match chars.next() {
                Some((_, next)) if Some(next) == quote && quote == Some('\'') => char,
                _ => break,
            }
        } else if char == '\\' && quote == Some('"') {
            match chars.next() {
                Some((_, kind)) => escaped(kind, &mut chars),
                None => break,
            }
        } else {
            char
        };
        if !char.is_whitespace() {
            shown.push((index, char));
        }
    }
    shown
}

/// The character of a YAML or JSON escape (YAML 1.2.2, 5.7). In JSON, surrogates come in pairs.
fn escaped(kind: char, chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>) -> char {
    let mut hex = |digits: usize| {
        chars.by_ref().take(digits).fold(0, |number, (_, digit)| (number << 4) | digit.to_digit(16).unwrap_or_default())
    };
    let code = match kind {
        'x' => hex(2),
        'U' => hex(8),
        'u' => match hex(4) {
            high @ 0xd800..=0xdbff => {
                // The other half of the pair is a second escape.
                let low = {
                    hex(2);
                    hex(4)
                };
                0x10000 + ((high & 0x3ff) << 10) + (low & 0x3ff)
            }
            code => code,
        },
        '0' => 0,
        'a' => 7,
        'b' => 8,
        'e' => 0x1b,
        // Line breaks, tabs and blanks of all kinds. An escaped line break stands for no character.
        'n' | 'r' | 't' | 'v' | 'f' | ' ' | '\t' | '\n' | '\r' | '_' | 'N' | 'L' | 'P' => u32::from(' '),
        other => u32::from(other),
    };
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(outer: &str, written: &str, value: &str, at: &str) -> (usize, usize) {
        let start = outer.find(written).unwrap();
        let outer = Rc::new(Text::of_file(outer.to_owned()));
        let text = Text::of_scalar(&outer, &(start..start + written.len()), value);
        let position = text.position(value.find(at).unwrap());
        (position.line, position.column)
    }

    #[test]
    fn a_place_in_a_block_scalar_is_that_of_the_file() {
        assert_eq!(inside("a: |\n  {\n    \"b\": 1\n  }\n", "{\n    \"b\": 1\n  }\n", "{\n  \"b\": 1\n}\n", "\"b\""), (3, 5));
    }

    #[test]
    fn a_place_in_a_folded_scalar_is_that_of_the_file() {
        assert_eq!(inside("a: >-\n  {\"b\":\n  1}\n", "{\"b\":\n  1}\n", "{\"b\": 1}", "1"), (3, 3));
    }

    #[test]
    fn a_place_behind_escapes_is_that_of_the_file() {
        assert_eq!(
            inside(
                r#"a: "{\n\"b\\u0041\u00e9\ud83d\ude00\": 1}""#,
                r#""{\n\"b\\u0041\u00e9\ud83d\ude00\": 1}""#,
                "{\n\"b\\u0041é😀\": 1}",
                "1}"
            ),
            (1, 40)
        );
        assert_eq!(inside("a: 'it''s 1'", "'it''s 1'", "it's 1", "1"), (1, 11));
    }

    #[test]
    fn columns_count_characters_and_no_byte_order_mark() {
        let text = Text::of_file("\u{feff}é: 1\n".to_owned());
        assert_eq!(text.position("\u{feff}é: ".len()), Position { line: 1, column: 4 });
    }

    #[test]
    fn a_scalar_whose_writing_is_not_understood_is_told_by_its_start() {
        assert_eq!(inside("a: *x # b", "*x", "{\"b\": 1}", "1"), (1, 4));
    }
}
