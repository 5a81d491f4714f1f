//! JSON documents: what they mean, and how they are written. Written twice, a document means the same.

use std::ops::Range;

use crate::choices::Choices;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Doc {
    Null,
    Bool(bool),
    /// As it is written.
    Number(String),
    Text(String),
    List(Vec<Doc>),
    Object(Vec<(String, Doc)>),
}

/// A document as it is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    pub(crate) text: String,
    /// Every value's way from the root, and where it stands; what is inside comes before what it is inside of.
    pub(crate) places: Vec<(Vec<String>, Range<usize>)>,
}

/// Keys that pointers find hard.
const KEYS: [&str; 14] = ["a", "b", "card", "0", "1", "01", "", "*", "~", "/", "~1", "é", "x\"\\y", "😀\n"];

/// Numbers that a double holds, more or less.
pub(crate) const DOUBLES: [&str; 10] = ["0", "-0", "1", "1.0", "10e-1", "1E+2", "-12.50", "0.1", "9007199254740993", "5e-324"];
/// All kinds of numbers.
pub(crate) const NUMBERS: [&str; 16] = [
    "0",
    "-0",
    "1",
    "1.0",
    "10e-1",
    "1E+2",
    "-12.50",
    "0.1",
    "9007199254740993",
    "5e-324",
    "1e400",
    "-1e-400",
    "12345678901234567890123",
    "0.10e00",
    "100",
    "1e2",
];

impl Doc {
    /// Any document, with numbers of these.
    pub(crate) fn any(choices: &mut Choices<'_>, numbers: &[&str]) -> Self {
        Self::nested(choices, numbers, 5)
    }

    fn nested(choices: &mut Choices<'_>, numbers: &[&str], levels: usize) -> Self {
        match choices.below(if levels == 0 { 4 } else { 9 }) {
            0 => Self::Null,
            1 => Self::Bool(choices.once_in(2)),
            2 => Self::Number((*choices.one_of(numbers)).to_owned()),
            3 => Self::Text(choices.text(6)),
            4 | 5 => Self::List(choices.some(5, |choices| Self::nested(choices, numbers, levels - 1))),
            _ => Self::Object(choices.some(6, |choices| {
                let key = (*choices.one_of(&KEYS)).to_owned();
                (key, Self::nested(choices, numbers, levels - 1))
            })),
        }
    }

    /// The ways to all values in it, its own first.
    pub(crate) fn ways(&self) -> Vec<Vec<String>> {
        let mut ways = vec![Vec::new()];
        for (key, value) in self.children() {
            ways.extend(value.ways().into_iter().map(|way| [vec![key.clone()], way].concat()));
        }
        ways
    }

    fn children(&self) -> Vec<(String, &Self)> {
        match self {
            Self::List(items) => items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect(),
            Self::Object(members) => members.iter().map(|(key, value)| (key.clone(), value)).collect(),
            _ => Vec::new(),
        }
    }

    /// The value at the end of a way; of a repeated key the last.
    pub(crate) fn at(&self, way: &[String]) -> Option<&Self> {
        let Some((first, rest)) = way.split_first() else { return Some(self) };
        self.children().into_iter().rev().find(|(key, _)| key == first)?.1.at(rest)
    }

    /// Changes the values that the pointers name, and does not look into what comes of it.
    pub(crate) fn change(&mut self, pointers: &[Vec<String>], change: &mut impl FnMut(&mut Self)) {
        self.change_at(&mut Vec::new(), pointers, change);
    }

    fn change_at(&mut self, way: &mut Vec<String>, pointers: &[Vec<String>], change: &mut impl FnMut(&mut Self)) {
        if pointers.iter().any(|pointer| names(pointer, way)) {
            return change(self);
        }
        let children: Vec<(String, &mut Self)> = match self {
            Self::List(items) => items.iter_mut().enumerate().map(|(index, item)| (index.to_string(), item)).collect(),
            Self::Object(members) => members.iter_mut().map(|(key, value)| (key.clone(), value)).collect(),
            _ => return,
        };
        for (key, child) in children {
            way.push(key);
            child.change_at(way, pointers, change);
            way.pop();
        }
    }

    /// Writes it somehow.
    pub(crate) fn write(&self, choices: &mut Choices<'_>) -> Written {
        let mut written = Written::default();
        if choices.once_in(16) {
            written.text.push('\u{feff}');
        }
        let spaced = choices.once_in(2);
        space(choices, spaced, &mut written.text);
        self.put(choices, spaced, &mut Vec::new(), &mut written);
        space(choices, spaced, &mut written.text);
        written
    }

    fn put(&self, choices: &mut Choices<'_>, spaced: bool, way: &mut Vec<String>, out: &mut Written) {
        let start = out.text.len();
        match self {
            Self::Null => out.text.push_str("null"),
            Self::Bool(flag) => out.text.push_str(if *flag { "true" } else { "false" }),
            Self::Number(number) => out.text.push_str(number),
            Self::Text(text) => spell(choices, text, &mut out.text),
            Self::List(_) | Self::Object(_) => {
                let is_list = matches!(self, Self::List(_));
                out.text.push(if is_list { '[' } else { '{' });
                space(choices, spaced, &mut out.text);
                for (index, (key, value)) in self.children().into_iter().enumerate() {
                    if index > 0 {
                        out.text.push(',');
                        space(choices, spaced, &mut out.text);
                    }
                    if !is_list {
                        spell(choices, &key, &mut out.text);
                        space(choices, spaced, &mut out.text);
                        out.text.push(':');
                        space(choices, spaced, &mut out.text);
                    }
                    way.push(key);
                    value.put(choices, spaced, way, out);
                    way.pop();
                    space(choices, spaced, &mut out.text);
                }
                out.text.push(if is_list { ']' } else { '}' });
            }
        }
        out.places.push((way.clone(), start..out.text.len()));
    }
}

impl Written {
    /// The text with something else in the places that pointers name.
    pub(crate) fn replaced(&self, pointers: &[Vec<String>], with: &str) -> String {
        let mut text = self.text.clone();
        let mut before = text.len();
        let mut named: Vec<&Range<usize>> = self
            .places
            .iter()
            .filter(|(way, _)| pointers.iter().any(|pointer| names(pointer, way)))
            .map(|(_, span)| span)
            .collect();
        // From behind, and the outer one first.
        named.sort_by_key(|span| std::cmp::Reverse((span.end, usize::MAX - span.start)));
        for span in named {
            if span.end <= before {
                text.replace_range(span.clone(), with);
                before = span.start;
            }
        }
        text
    }
}

/// True if a pointer, in which `*` stands for anything, names the place at the end of a way.
pub(crate) fn names(pointer: &[String], way: &[String]) -> bool {
    pointer.len() == way.len() && pointer.iter().zip(way).all(|(segment, key)| segment == "*" || segment == key)
}

/// Pointers, most of them to values of the document.
pub(crate) fn pointers(choices: &mut Choices<'_>, doc: &Doc, most: usize) -> Vec<Vec<String>> {
    let ways = doc.ways();
    choices.some(most, |choices| {
        let mut pointer = choices.one_of(&ways).clone();
        for segment in &mut pointer {
            match choices.below(12) {
                0..=7 => {}
                8..=10 => "*".clone_into(segment),
                _ => (*choices.one_of(&KEYS)).clone_into(segment),
            }
        }
        pointer
    })
}

/// A pointer as RFC 6901 writes it.
pub(crate) fn spelled(pointer: &[String]) -> String {
    pointer.iter().map(|segment| format!("/{}", segment.replace('~', "~0").replace('/', "~1"))).collect()
}

fn space(choices: &mut Choices<'_>, spaced: bool, out: &mut String) {
    if spaced {
        out.push_str(choices.one_of::<&str>(&["", " ", "\n", "\t\r\n "]));
    }
}

/// A string in one of the ways in which JSON writes it.
fn spell(choices: &mut Choices<'_>, text: &str, out: &mut String) {
    let way = choices.below(3);
    out.push('"');
    for char in text.chars() {
        let is_escaped = way == 1 || (way == 2 && choices.once_in(2));
        match char {
            '"' | '\\' if !is_escaped => out.extend(['\\', char]),
            '\n' if !is_escaped => out.push_str("\\n"),
            '/' if way == 2 && !is_escaped => out.push_str("\\/"),
            char if !is_escaped && char >= ' ' => out.push(char),
            char => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    out.push_str(&if way == 1 { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") });
                }
            }
        }
    }
    out.push('"');
}
