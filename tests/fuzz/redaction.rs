//! Redaction: what pointers name is gone, and nothing else.

use serde::de::IgnoredAny;
use serde_json::Value;
use sidecast::json;
use sidecast::json::Pointer;
use sidecast::rewrite::redact::Redaction;
use std::str::FromStr;

use crate::choices::Choices;
use crate::document::{pointers, spelled, Doc, DOUBLES, NUMBERS};
use crate::hold;

/// Stands nowhere by chance.
pub(crate) const SECRET: &str = "90817263540918";

/// Puts the secret in the place of a value, in one of the forms that it can have there.
pub(crate) fn plant(choices: &mut Choices<'_>, value: &mut Doc) {
    let secret = SECRET.to_owned();
    *value = match choices.below(5) {
        0 => Doc::Text(secret),
        1 => Doc::Number(secret),
        2 => Doc::List(vec![Doc::Null, Doc::Text(secret)]),
        3 => Doc::Object(vec![(secret.clone(), Doc::Number(secret))]),
        _ => Doc::Text(format!("{}{secret}", choices.text(3))),
    };
}

/// The text with all `\u` escapes of ASCII undone, wherever they stand.
pub(crate) fn unescaped(text: &str) -> String {
    let mut parts = text.split("\\u");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let unit = part.get(..4).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match unit {
            Some(unit) => plain.extend([char::from(unit).to_string().as_str(), &part[4..]]),
            None => plain.push_str(part),
        }
    }
    plain
}

fn redaction(choices: &mut Choices<'_>) {
    let mut doc = Doc::any(choices, &NUMBERS);
    let named = pointers(choices, &doc, 4);
    doc.change(&named, &mut |value| plant(choices, value));
    let written = doc.write(choices);
    let expected = written.replaced(&named, r#""[redacted]""#);

    let parsed = json::parse(written.text.as_bytes()).unwrap_or_else(|_| panic!("no JSON: {}", written.text));
    let redaction = Redaction::new(named.iter().map(|pointer| Pointer::from_str(&spelled(pointer)).unwrap()));
    let redacted = redaction.apply(&parsed);
    let redacted = std::str::from_utf8(&redacted).unwrap();
    assert_eq!(redacted, expected, "{:?} of {}", named, written.text);
    assert!(!unescaped(redacted).contains(SECRET), "{redacted}");
    serde_json::from_str::<IgnoredAny>(redacted.trim_start_matches('\u{feff}')).unwrap();
    let again = json::parse(redacted.as_bytes()).unwrap();
    assert_eq!(redaction.apply(&again), redacted.as_bytes(), "redacted twice");
}

/// Any damaged text is either no JSON for anybody, or redacted to JSON.
fn damaged(choices: &mut Choices<'_>) {
    let doc = Doc::any(choices, &DOUBLES);
    let named = pointers(choices, &doc, 4);
    let mut text = doc.write(choices).text.into_bytes();
    choices.damage(&mut text, 4);
    let plain = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text);
    let parsed = json::parse(&text);
    match serde_json::from_slice::<Value>(plain) {
        // Beyond a double: no error here.
        Err(error) if error.to_string().starts_with("number out of range") => {}
        other => assert_eq!(parsed.is_ok(), other.is_ok(), "{}", String::from_utf8_lossy(&text)),
    }
    if let Ok(parsed) = parsed {
        let redaction = Redaction::new(named.into_iter().map(Pointer));
        let redacted = redaction.apply(&parsed).into_owned();
        json::parse(&redacted).unwrap();
    }
}

#[test]
fn what_pointers_name_is_gone_and_all_else_stays_to_the_byte() {
    hold(384, redaction);
}

#[test]
fn damaged_json_is_json_for_all_or_for_none() {
    hold(384, damaged);
}
