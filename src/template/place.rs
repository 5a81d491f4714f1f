//! Where text stands, and what a value must not contain to stay there.

use percent_encoding::{utf8_percent_encode, AsciiSet, NON_ALPHANUMERIC};

/// All but the unreserved characters (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Anywhere: values stand as they are.
    Text,
    /// In a path or its query. All but the unreserved characters is percent-encoded (RFC 3986, 2.3), so that a value is one
    /// segment, or one name or value of a query. What is percent-encoded already is encoded once more: whoever decodes it once
    /// gets the value. Encoding would not change the meaning of dots (RFC 3986, 6.2.2.2): the whole path is looked at for them.
    Path,
    /// In a header's value. Control characters but the tab are left out: CR, LF and NUL would end the value, the others are not
    /// allowed there (RFC 9110, 5.5).
    Header,
    /// In an authority. What cannot stand in a host and port is left out.
    Authority,
}

impl Place {
    /// The work of making a value fit, beyond that of writing it.
    pub(super) fn cost(self, value: &str) -> usize {
        value.len().saturating_mul(match self {
            Self::Text => 0,
            Self::Path => 8,
            Self::Header | Self::Authority => 4,
        })
    }

    /// Writes a value at the end of a text.
    pub(super) fn put(self, text: &mut String, value: &str) {
        match self {
            Self::Text => text.push_str(value),
            Self::Path => text.extend(utf8_percent_encode(value, RESERVED)),
            Self::Header => text.extend(value.chars().filter(|char| fits_header(*char))),
            Self::Authority => text.extend(value.chars().filter(|char| fits_authority(*char))),
        }
    }
}

fn fits_header(char: char) -> bool {
    !char.is_ascii_control() || char == '\t'
}

/// True for the characters of a host and port (RFC 3986, 3.2.2), those of a user's name left out.
pub fn fits_authority(char: char) -> bool {
    char.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:[]%".contains(char)
}
