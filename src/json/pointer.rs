//! JSON pointers.

use std::fmt;
use std::str::FromStr;

use crate::http::invalid::Invalid;

/// A pointer to one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinglePointer(pub Pointer);

impl FromStr for SinglePointer {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let pointer = Pointer::from_str(text)?;
        if pointer.0.iter().any(|segment| segment == "*") {
            return Err(format!("expected a JSON pointer to one value, without \"*\", found {text:?}").into());
        }
        Ok(Self(pointer))
    }
}

/// A JSON pointer (RFC 6901). A segment `*` stands for every key or index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(pub Vec<String>);

impl FromStr for Pointer {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let expected = || Invalid::from(format!("expected a JSON pointer such as \"/card/number\", found {text:?}"));
        let mut segments = text.split('/');
        if segments.next() != Some("") {
            return Err(expected());
        }
        segments.map(unescape_segment).collect::<Option<_>>().map(Self).ok_or_else(expected)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|segment| write!(f, "/{}", segment.replace('~', "~0").replace('/', "~1")))
    }
}

fn unescape_segment(segment: &str) -> Option<String> {
    let mut text = String::with_capacity(segment.len());
    let mut chars = segment.chars();
    while let Some(next) = chars.next() {
        match next {
            '~' => match chars.next()? {
                '0' => text.push('~'),
                '1' => text.push('/'),
                _ => return None,
            },
            other => text.push(other),
        }
    }
    Some(text)
}
