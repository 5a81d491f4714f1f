//! Comparison: answers match exactly if they mean the same, whoever is asked first.

use std::collections::BTreeMap;

use sidecast::compare::{compare, BodyMode, DifferenceKind, Response, Settings, Verdict};
use sidecast::http::unavailable::Unavailable;
use sidecast::json::Pointer;
use sidecast::json::PointerSet;
use std::str::FromStr;

use crate::choices::Choices;
use crate::document::{names, pointers, spelled, Doc, NUMBERS};
use crate::encodings::encoded;
use crate::hold;

/// What a value means, less what is ignored.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Meaning {
    Null,
    Bool(bool),
    /// The sign; the digits, the first and last of which are not 0; the power of ten of the last.
    Number(bool, String, i64),
    Text(String),
    List(BTreeMap<usize, Meaning>),
    /// In an order of their own.
    Entries(Vec<Meaning>),
    Object(BTreeMap<String, Meaning>),
}

/// What pointers say about places.
#[derive(Debug)]
struct Pointers {
    ignored: Vec<Vec<String>>,
    unordered: Vec<Vec<String>>,
}

/// None of what is ignored.
fn meaning(doc: &Doc, way: &mut Vec<String>, pointers: &Pointers) -> Option<Meaning> {
    if pointers.ignored.iter().any(|pointer| names(pointer, way)) {
        return None;
    }
    let is_unordered = pointers.unordered.iter().any(|pointer| names(pointer, way));
    let mut inside = |key: &str, value: &Doc| {
        way.push(key.to_owned());
        let meaning = meaning(value, way, pointers);
        way.pop();
        meaning
    };
    Some(match doc {
        Doc::Null => Meaning::Null,
        Doc::Bool(flag) => Meaning::Bool(*flag),
        Doc::Number(number) => worth(number),
        Doc::Text(text) => Meaning::Text(text.clone()),
        Doc::List(items) if is_unordered => {
            let entries = items.iter().enumerate().filter_map(|(index, item)| inside(&index.to_string(), item));
            let mut entries: Vec<Meaning> = entries.collect();
            entries.sort();
            Meaning::Entries(entries)
        }
        Doc::List(items) => Meaning::List(
            items.iter().enumerate().filter_map(|(index, item)| Some((index, inside(&index.to_string(), item)?))).collect(),
        ),
        Doc::Object(members) => {
            let last: BTreeMap<&String, &Doc> = members.iter().map(|(key, value)| (key, value)).collect();
            Meaning::Object(last.into_iter().filter_map(|(key, value)| Some((key.clone(), inside(key, value)?))).collect())
        }
    })
}

fn worth(number: &str) -> Meaning {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let mut power: i64 = exponent.parse().unwrap();
    let is_negative = mantissa.starts_with('-');
    let (whole, fraction) = mantissa.trim_start_matches('-').split_once('.').unwrap_or((mantissa.trim_start_matches('-'), ""));
    power -= fraction.len() as i64;
    let mut digits = format!("{whole}{fraction}").trim_start_matches('0').to_owned();
    while digits.ends_with('0') {
        digits.pop();
        power += 1;
    }
    if digits.is_empty() {
        return Meaning::Number(false, digits, 0);
    }
    Meaning::Number(is_negative, digits, power)
}

/// The same number or another.
fn respelled(choices: &mut Choices<'_>, number: &str) -> String {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i64 = exponent.parse().unwrap();
    match choices.below(5) {
        0 => format!("{mantissa}E{exponent:+04}"),
        1 if !mantissa.contains('.') => format!("{mantissa}.00e{exponent}"),
        2 if !mantissa.contains('.') && !mantissa.trim_start_matches('-').starts_with('0') => {
            format!("{mantissa}0e{}", exponent - 1)
        }
        3 if mantissa.contains('.') => format!("{mantissa}0e{exponent}"),
        4 if choices.once_in(4) => format!("{mantissa}e{}", exponent + 1),
        _ => number.to_owned(),
    }
}

/// A document that may mean the same.
fn variant(choices: &mut Choices<'_>, doc: &Doc) -> Doc {
    if choices.once_in(24) {
        return Doc::any(choices, &NUMBERS);
    }
    match doc {
        Doc::Number(number) => Doc::Number(respelled(choices, number)),
        Doc::List(items) => {
            let mut items: Vec<Doc> = items.iter().map(|item| variant(choices, item)).collect();
            if choices.once_in(16) {
                items.pop();
            }
            if items.len() > 1 && choices.once_in(3) {
                let (one, other) = (choices.below(items.len()), choices.below(items.len()));
                items.swap(one, other);
            }
            Doc::List(items)
        }
        Doc::Object(members) => {
            let mut members: Vec<(String, Doc)> =
                members.iter().map(|(key, value)| (key.clone(), variant(choices, value))).collect();
            if members.len() > 1 && choices.once_in(2) {
                let (one, other) = (choices.below(members.len()), choices.below(members.len()));
                members.swap(one, other);
            }
            if choices.once_in(16) {
                members.pop();
            }
            Doc::Object(members)
        }
        same => same.clone(),
    }
}

/// What a verdict says, whichever side it says it of.
fn told(verdict: &Verdict) -> (bool, usize, Vec<(String, DifferenceKind)>) {
    match verdict {
        Verdict::BodyMismatch(differences) => {
            let kind = |kind| match kind {
                DifferenceKind::MissingInPrimary => DifferenceKind::MissingInTarget,
                other => other,
            };
            // Each side tells of the entries of a list without order in its own order, and of ten in all.
            let mut told: Vec<_> = differences.told().iter().map(|told| (told.pointer.clone(), kind(told.kind))).collect();
            told.sort_by_key(|told| format!("{told:?}"));
            let more = differences.more();
            (false, more, if more == 0 { told } else { Vec::new() })
        }
        other => (*other == Verdict::Match, 0, Vec::new()),
    }
}

fn assert_bounded(verdict: &Verdict) {
    if let Verdict::BodyMismatch(differences) = verdict {
        assert!((1..=10).contains(&differences.told().len()));
        for told in differences.told() {
            assert!(told.pointer.chars().count() <= 201, "{}", told.pointer);
            for value in [&told.primary, &told.target].into_iter().flatten() {
                assert!(value.chars().count() <= 65, "{value}");
            }
        }
    }
    assert!(serde_json::to_string(verdict).unwrap().len() < 20_000);
}

/// Pointers into a document, a third of them such that every list of a depth has no order.
fn some_pointers(choices: &mut Choices<'_>, doc: &Doc) -> Pointers {
    let ignored = pointers(choices, doc, 2);
    let unordered = match choices.below(3) {
        0 => Vec::new(),
        1 => pointers(choices, doc, 3),
        _ => (0..choices.below(6)).map(|depth| vec!["*".to_owned(); depth]).collect(),
    };
    Pointers { ignored, unordered }
}

fn settings(choices: &mut Choices<'_>, pointers: &Pointers, body: BodyMode) -> Settings {
    let places =
        |pointers: &[Vec<String>]| PointerSet::new(pointers.iter().map(|pointer| Pointer::from_str(&spelled(pointer)).unwrap()));
    let unordered = (!pointers.unordered.is_empty()).then(|| places(&pointers.unordered));
    let ignore = places(&pointers.ignored);
    Settings { percent: 100.0, status: true, body, ignore, unordered, log_values: choices.once_in(2) }
}

fn documents(choices: &mut Choices<'_>) {
    let ours = Doc::any(choices, &NUMBERS);
    let theirs = variant(choices, &ours);
    let pointers = some_pointers(choices, &ours);
    let settings = settings(choices, &pointers, BodyMode::Json);
    let (our_text, their_text) = (ours.write(choices).text, theirs.write(choices).text);
    let (coding, coded) = encoded(choices, their_text.as_bytes());
    let answer = |coding: Option<&'static str>, body| Response {
        status: 200,
        content_type: Some(b"application/json; charset=utf-8"),
        content_encoding: coding.map(str::as_bytes),
        body: Ok(body),
    };
    let (primary, target) = (answer(None, our_text.as_bytes()), answer(Some(coding), &coded));
    let verdict = compare(&settings, &primary, &target, 1 << 20);
    let same = meaning(&ours, &mut Vec::new(), &pointers) == meaning(&theirs, &mut Vec::new(), &pointers);
    assert_eq!(verdict == Verdict::Match, same, "{verdict:?}\n{our_text}\n{their_text}\n{pointers:?}");
    assert_eq!(told(&verdict), told(&compare(&settings, &target, &primary, 1 << 20)), "the other way round");
    assert_bounded(&verdict);
    for answer in [&primary, &target] {
        assert_eq!(compare(&settings, answer, answer, 1 << 20), Verdict::Match, "to itself");
    }
}

/// Whatever two responses are, they are compared the same both ways.
fn anything(choices: &mut Choices<'_>) {
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    let doc = Doc::any(choices, &NUMBERS);
    for _ in 0..2 {
        let mut body = doc.write(choices).text.into_bytes();
        if choices.once_in(2) {
            choices.damage(&mut body, 3);
        }
        bodies.push(if choices.once_in(4) { encoded(choices, &body).1 } else { body });
    }
    let mut answers = bodies.iter().map(|body| Response {
        status: *choices.one_of(&[200, 200, 200, 500]),
        content_type: *choices.one_of(&[
            Some(&b"application/json"[..]),
            Some(b"application/a+JSON ; x"),
            Some(b"text/plain"),
            None,
        ]),
        content_encoding: *choices.one_of(&[None, None, Some(&b"gzip"[..]), Some(b"deflate"), Some(b"br"), Some(b" identity")]),
        body: match choices.below(12) {
            9 => Err(Unavailable::TooLong),
            10 => Err(Unavailable::NoRoom),
            11 => Err(Unavailable::CutOff),
            _ => Ok(body.as_slice()),
        },
    });
    let (primary, target) = (answers.next().unwrap(), answers.next().unwrap());
    drop(answers);
    let mode = *choices.one_of(&[BodyMode::Json, BodyMode::Exact, BodyMode::None]);
    let pointers = some_pointers(choices, &doc);
    let settings = settings(choices, &pointers, mode);
    let most = *choices.one_of(&[1 << 20, 16, 0]);
    let verdict = compare(&settings, &primary, &target, most);
    assert_bounded(&verdict);
    let back = compare(&settings, &target, &primary, most);
    assert_eq!(told(&verdict), told(&back), "{primary:?} {target:?}");
    assert_eq!(std::mem::discriminant(&verdict), std::mem::discriminant(&back));
    if let Ok(body) = primary.body {
        let other = Response { body: Ok(body), ..primary };
        assert_eq!(compare(&settings, &primary, &other, most), Verdict::Match, "to itself");
    }
}

#[test]
fn answers_match_exactly_if_they_mean_the_same() {
    hold(384, documents);
}

#[test]
fn any_answers_are_compared_the_same_both_ways() {
    hold(384, anything);
}
