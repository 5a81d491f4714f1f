//! Conditions on query parameters, as patterns of the path. The filter decodes parameters like HTML forms. A pattern allows for each way to encode the
//! characters of a name or value.

use sidecast::config::raw::QueryRule;

use super::pattern::Bound;
use super::predicate::{escaped, Predicate, Text, ANY_BYTES};

/// Holds at least if the first parameter of the name is such, with what is left out.
pub(super) fn at_least(rule: &QueryRule) -> (Predicate, Option<&'static str>) {
    let Some(name) = encoded(&rule.name.0 .0, Bound::AtLeast) else {
        let why = "the name can be encoded in many ways, so any query passes";
        return (Predicate::Always, Some(why));
    };
    let of = |rest: &str| Predicate::header(":path", Text::Pattern(format!("{ANY_BYTES}[?&]{name}{rest}")));
    let present = || of(&format!("(?:[=&#]{ANY_BYTES})?"));
    let end = format!("(?:[&#]{ANY_BYTES})?");
    let text = |text: &str| encoded(text, Bound::AtLeast);
    let predicate = match rule {
        QueryRule { exact: Some(value), .. } if value.is_empty() => Some(of(&format!("=?{end}"))),
        QueryRule { exact: Some(value), .. } => text(value).map(|value| of(&format!("={value}{end}"))),
        QueryRule { prefix: Some(value), .. } | QueryRule { suffix: Some(value), .. } if value.is_empty() => Some(present()),
        QueryRule { prefix: Some(value), .. } => text(value).map(|value| of(&format!("={value}{ANY_BYTES}"))),
        QueryRule { suffix: Some(value), .. } => text(value).map(|value| of(&format!("={ANY_BYTES}{value}{end}"))),
        QueryRule { present: Some(true), .. } => Some(present()),
        QueryRule { present: Some(false), .. } => match surely_present(rule) {
            Some(present) => Some(Predicate::not(present)),
            None => return (Predicate::Always, Some("the name can be encoded in many ways, so any query passes")),
        },
        _ => None,
    };
    match predicate {
        Some(predicate) => (predicate, None),
        None => (present(), Some("the value can be encoded in many ways, so any value passes")),
    }
}

/// Holds at most if the first parameter of the name is such. Only presence is certain: Envoy does not tell which of several is the first.
pub(super) fn at_most(rule: &QueryRule) -> Option<Predicate> {
    match rule.present {
        Some(true) => surely_present(rule),
        Some(false) => {
            let name = encoded(&rule.name.0 .0, Bound::AtLeast)?;
            let pattern = format!("{ANY_BYTES}[?&]{name}(?:[=&#]{ANY_BYTES})?");
            Some(Predicate::not(Predicate::header(":path", Text::Pattern(pattern))))
        }
        None => None,
    }
}

fn surely_present(rule: &QueryRule) -> Option<Predicate> {
    let name = encoded(&rule.name.0 .0, Bound::AtMost)?;
    let pattern = format!(r"[^?#]*\?(?:[^#]*&)?{name}(?:[=&#]{ANY_BYTES})?");
    Some(Predicate::header(":path", Text::Pattern(pattern)))
}

/// The ways to encode a text, as a pattern. Returns `None` for a text that is not ASCII: the bytes of one character can be encoded each in its way.
fn encoded(text: &str, bound: Bound) -> Option<String> {
    text.is_ascii().then(|| text.bytes().map(|byte| encoded_byte(byte, bound)).collect())
}

fn encoded_byte(byte: u8, bound: Bound) -> String {
    let hex = |digit: u8| match char::from_digit(u32::from(digit), 16) {
        Some(digit) if digit.is_ascii_alphabetic() => format!("[{digit}{}]", digit.to_ascii_uppercase()),
        Some(digit) => digit.to_string(),
        None => String::new(),
    };
    let percent = format!("%{}{}", hex(byte >> 4), hex(byte & 0xf));
    let literal = escaped(&char::from(byte).to_string());
    match (byte, bound) {
        (b' ', _) => format!(r"(?:\+|{percent}| )"),
        // These have another meaning unless they are encoded. A percent sign that encodes nothing is one itself.
        (b'+' | b'&' | b'#', _) | (b'=' | b'%', Bound::AtMost) => percent,
        _ => format!("(?:{literal}|{percent})"),
    }
}
