//! Patterns of HTTP statuses.

use std::fmt;

/// A status or a class of statuses: `"204"`, `204` or `"2xx"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusPattern {
    first: u16,
    last: u16,
}

impl StatusPattern {
    /// True if the pattern covers the status.
    pub fn covers(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }

    /// All statuses whose first digit is `class`.
    pub const fn class(class: u16) -> Self {
        Self { first: class * 100, last: class * 100 + 99 }
    }

    /// A single status.
    pub const fn one(status: u16) -> Self {
        Self { first: status, last: status }
    }

    /// Parses `2xx` or `204`. Returns `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        match bytes {
            [class @ b'1'..=b'5', b'x', b'x'] => Some(Self::class(u16::from(class - b'0'))),
            [b'1'..=b'5', _, _] if bytes.iter().all(u8::is_ascii_digit) => text.parse().ok().map(Self::one),
            _ => None,
        }
    }
}

impl fmt::Display for StatusPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}xx", self.first / 100)
        }
    }
}
