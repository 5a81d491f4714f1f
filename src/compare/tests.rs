use std::io::Write;

use flate2::write::GzEncoder;
use flate2::Compression;
use proptest::prelude::*;
use serde_json::{json, Value};

use super::*;
use crate::json::tests::documents;
use crate::json::MAX_DEPTH;

const MAX_BODY: usize = 1 << 20;

fn settings(text: &str) -> Settings {
    let value: Value = serde_json::from_str(text).unwrap();
    deserr::deserialize::<crate::config::raw_shape::Compare, _, crate::config::problem::Problems>(value).unwrap().into()
}

fn response<'a>(content_type: &'a str, body: &'a [u8]) -> Response<'a> {
    Response { status: 200, content_type: Some(content_type.as_bytes()), content_encoding: None, body: Ok(body) }
}

fn compared(settings: &Settings, primary: &[u8], target: &[u8]) -> Verdict {
    compare(settings, &response("application/json", primary), &response("application/json", target), MAX_BODY)
}

/// The differences as `kind pointer`, or `=` if there are none.
fn told(settings: &Settings, primary: &[u8], target: &[u8]) -> String {
    match compared(settings, primary, target) {
        Verdict::Match => "=".to_owned(),
        Verdict::BodyMismatch(differences) => {
            let told = differences.told().iter();
            told.map(|difference| format!("{:?} {}", difference.kind, difference.pointer)).collect::<Vec<_>>().join(", ")
        }
        other => panic!("{other:?}"),
    }
}

macro_rules! cases {
    ($($name:ident: $settings:literal, $primary:literal, $target:literal => $wanted:literal;)*) => {
        $(#[test] fn $name() {
            assert_eq!(told(&settings($settings), $primary.as_bytes(), $target.as_bytes()), $wanted);
        })*
    };
}

mod unordered;

cases! {
    the_same: "{}", r#"{"a":1}"#, r#"{"a":1}"# => "=";
    white_space_and_spelling: "{}", r#"{"a":[1,"é",0.10]}"#, "{ \"\\u0061\" : [ 1.0 , \"\\u00e9\", 1e-1 ] }\n" => "=";
    a_byte_order_mark: "{}", "{}", "\u{feff}{}" => "=";
    members_in_another_order: "{}", r#"{"a":1,"b":{"c":2,"d":3}}"#, r#"{"b":{"d":3,"c":2},"a":1}"# => "=";
    the_last_of_a_repeated_key_counts: "{}", r#"{"a":1,"b":0,"a":2,"a":3}"#, r#"{"b":0,"a":3}"# => "=";
    the_last_of_a_repeated_key_differs: "{}", r#"{"a":3,"a":1}"#, r#"{"a":1,"a":3}"# => "Value /a";
    another_value: "{}", r#"{"a":{"b":[0,"x"]}}"#, r#"{"a":{"b":[0,"y"]}}"# => "Value /a/b/1";
    another_number: "{}", "[12345678901234567890123]", "[12345678901234567890124]" => "Value /0";
    true_and_false: "{}", "true", "false" => "Value ";
    strings_have_case: "{}", r#""a""#, r#""A""# => "Value ";
    a_number_and_its_text: "{}", r#"{"a":1}"#, r#"{"a":"1"}"# => "Type /a";
    null_is_not_absence: "{}", r#"{"a":null}"#, "{}" => "MissingInTarget /a";
    null_is_not_false: "{}", "[null]", "[false]" => "Type /0";
    a_list_and_an_object: "{}", "[]", "{}" => "Type ";
    a_member_of_the_target: "{}", "{}", r#"{"a":{"b":1}}"# => "MissingInPrimary /a";
    members_of_both: "{}", r#"{"a":1,"c":1,"e":1}"#, r#"{"b":1,"c":1,"d":1}"# =>
        "MissingInTarget /a, MissingInPrimary /b, MissingInPrimary /d, MissingInTarget /e";
    a_longer_list: "{}", "[1,2]", "[1,2,3,4]" => "MissingInPrimary /2, MissingInPrimary /3";
    a_shorter_list: "{}", "[1,2]", "[1]" => "MissingInTarget /1";
    lists_have_an_order: "{}", "[1,2]", "[2,1]" => "Value /0, Value /1";
    keys_with_the_pointer_s_own_signs: "{}", r#"{"a/b":{"~1":1}}"#, r#"{"a/b":{"~1":2}}"# => "Value /a~1b/~01";
    no_json_on_one_side: "{}", "{}", "<html>" => "Type ";
    no_json_on_the_other_side: "{}", "", "{}" => "Type ";
    no_json_on_either_side: "{}", "{'a'}", "{'b'}" => "Bytes ";
    the_same_that_is_no_json: "{}", "{'a'}", "{'a'}" => "=";
    an_ignored_member: r#"{"ignore":["/at"]}"#, r#"{"at":1,"b":2}"#, r#"{"at":"x","b":2}"# => "=";
    an_ignored_member_that_is_missing: r#"{"ignore":["/at"]}"#, r#"{"at":1}"#, "{}" => "=";
    an_ignored_member_of_the_target: r#"{"ignore":["/at"]}"#, "{}", r#"{"at":[1]}"# => "=";
    an_ignored_member_of_every_entry: r#"{"ignore":["/items/*/id"]}"#,
        r#"{"items":[{"id":1,"n":1},{"id":2,"n":2}]}"#, r#"{"items":[{"id":3,"n":1},{"n":3}]}"# => "Value /items/1/n";
    an_entry_whose_members_are_ignored_is_still_missing: r#"{"ignore":["/*/id"]}"#, r#"[{"id":1}]"#, "[]" => "MissingInTarget /0";
    ignored_entries: r#"{"ignore":["/1"]}"#, "[1,2]", "[1]" => "=";
    everything_ignored: r#"{"ignore":[""]}"#, "[1,2]", "{}" => "=";
    an_ignored_key_is_only_where_it_is: r#"{"ignore":["/a"]}"#, r#"{"b":{"a":1}}"#, r#"{"b":{"a":2}}"# => "Value /b/a";
    exact_means_bytes: r#"{"body":"exact"}"#, "{ }", "{}" => "Bytes ";
    exact_bytes: r#"{"body":"exact"}"#, "{}", "{}" => "=";
    no_bodies: r#"{"body":"none"}"#, "1", "2" => "=";
}

macro_rules! media_types {
    ($($name:ident: $primary:literal $target:literal => $wanted:literal;)*) => {
        $(#[test] fn $name() {
            let verdict = compare(&settings("{}"), &response($primary, b"[1]"), &response($target, b"[1.0]"), MAX_BODY);
            assert_eq!(verdict == Verdict::Match, $wanted, "{verdict:?}");
        })*
    };
}

// Two bodies that are equal only as JSON.
media_types! {
    json_with_parameters: "application/json; charset=utf-8" "application/json" => true;
    json_in_capitals: "Application/JSON" "application/json" => true;
    a_suffix: "application/problem+json" "application/vnd.api+json;v=1" => true;
    a_suffix_in_capitals: "application/problem+JSON" "application/json" => true;
    text: "text/plain" "text/plain" => false;
    json_and_text: "application/json" "text/plain" => false;
    text_and_json: "" "application/json" => false;
    what_starts_like_json: "application/json-seq" "application/json-seq" => false;
    a_suffix_in_a_parameter: "text/plain;a=b/c+json" "text/plain;a=b/c+json" => false;
}

#[test]
fn a_status_comes_before_a_body() {
    let primary = Response { status: 200, ..response("application/json", b"1") };
    let target = Response { status: 503, body: Err(Unavailable::TooLong), ..primary };
    let mismatch = Verdict::StatusMismatch { primary: 200, target: 503 };
    assert_eq!(compare(&settings("{}"), &primary, &target, MAX_BODY), mismatch);
    assert_eq!(compare(&settings(r#"{"body":"none"}"#), &primary, &target, MAX_BODY), mismatch);
    let other = Response { status: 503, ..primary };
    assert_eq!(compare(&settings(r#"{"status":false}"#), &primary, &other, MAX_BODY), Verdict::Match);
}

#[test]
fn what_is_not_there_is_not_compared() {
    let whole = response("application/json", b"1");
    for (unavailable, reason) in [(Unavailable::TooLong, Reason::BodyTooLarge), (Unavailable::CutOff, Reason::Truncated)] {
        let part = Response { body: Err(unavailable), ..whole };
        for (primary, target, side) in [(whole, part, Side::Target), (part, whole, Side::Primary), (part, part, Side::Primary)] {
            assert_eq!(compare(&settings("{}"), &primary, &target, MAX_BODY), Verdict::NotComparable { side, reason });
        }
        assert_eq!(compare(&settings(r#"{"body":"none"}"#), &whole, &part, MAX_BODY), Verdict::Match);
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn content_codings_are_undone() {
    let zipped = gzip(br#"{"a": 1}"#);
    let primary = Response { content_encoding: Some(b"gzip"), ..response("application/json", &zipped) };
    let same = response("application/json", br#"{"a":1.0}"#);
    assert_eq!(compare(&settings("{}"), &primary, &same, MAX_BODY), Verdict::Match);
    let other = response("application/json", br#"{"a":2}"#);
    assert!(matches!(compare(&settings("{}"), &other, &primary, MAX_BODY), Verdict::BodyMismatch(_)));
    let exact = response("application/json", br#"{"a": 1}"#);
    assert_eq!(compare(&settings(r#"{"body":"exact"}"#), &primary, &exact, MAX_BODY), Verdict::Match);
    let reason = Reason::BodyTooLarge;
    assert_eq!(compare(&settings("{}"), &same, &primary, 7), Verdict::NotComparable { side: Side::Target, reason });
}

#[test]
fn a_coding_that_cannot_be_undone_is_not_compared() {
    let plain = response("application/json", b"[1]");
    let brotli = Response { content_encoding: Some(b"br"), body: Ok(b"\x8b\x01\x80"), ..plain };
    let other = Response { body: Ok(b"\x8b\x02\x80"), ..brotli };
    let broken = Response { content_encoding: Some(b"gzip"), ..plain };
    let not = |side, reason| Verdict::NotComparable { side, reason };
    assert_eq!(compare(&settings("{}"), &plain, &brotli, MAX_BODY), not(Side::Target, Reason::UnknownEncoding));
    assert_eq!(compare(&settings("{}"), &brotli, &other, MAX_BODY), not(Side::Primary, Reason::UnknownEncoding));
    assert_eq!(compare(&settings("{}"), &plain, &broken, MAX_BODY), not(Side::Target, Reason::BadEncoding));
    // Equal bytes mean the same, whatever that is.
    let capitals = Response { content_encoding: Some(b" BR "), ..brotli };
    assert_eq!(compare(&settings("{}"), &brotli, &capitals, MAX_BODY), Verdict::Match);
}

fn log_line(settings: &Settings, primary: &[u8], target: &[u8]) -> Value {
    match compared(settings, primary, target) {
        Verdict::BodyMismatch(differences) => serde_json::to_value(differences).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_line_tells_no_values() {
    let line = log_line(&settings("{}"), br#"{"a":"secret","b":[1,"secret"]}"#, br#"{"a":7,"b":[1]}"#);
    let wanted =
        json!({ "differences": [{ "pointer": "/a", "kind": "type" }, { "pointer": "/b/1", "kind": "missing_in_target" }] });
    assert_eq!(line, wanted);
    let line = log_line(&settings(r#"{"body":"exact"}"#), b"secret", b"other");
    assert_eq!(line, json!({ "differences": [{ "pointer": "", "kind": "bytes" }] }));
}

#[test]
fn values_are_told_if_they_may_be() {
    let long = "é".repeat(100);
    let (primary, target) = (format!(r#"{{"a":"{long}","b":{{ "c" : 1 }}}}"#), r#"{"a":[1, 2],"d":null}"#);
    let line = log_line(&settings(r#"{"log_values":true}"#), primary.as_bytes(), target.as_bytes());
    let cut = format!("\"{}…", "é".repeat(63));
    let wanted = json!({ "differences": [
        { "pointer": "/a", "kind": "type", "primary": cut, "target": "[1,2]" },
        { "pointer": "/b", "kind": "missing_in_target", "primary": r#"{"c":1}"# },
        { "pointer": "/d", "kind": "missing_in_primary", "target": "null" },
    ] });
    assert_eq!(line, wanted);
}

#[test]
fn bytes_are_told_from_where_they_part() {
    let (primary, target) = (format!("{}x{}", "-".repeat(99), "é".repeat(64)), "-".repeat(99));
    let line = log_line(&settings(r#"{"body":"exact","log_values":true}"#), primary.as_bytes(), target.as_bytes());
    let cut = format!("x{}…", "é".repeat(63));
    assert_eq!(line, json!({ "differences": [{ "pointer": "", "kind": "bytes", "primary": cut, "target": "" }] }));
}

#[test]
fn ten_differences_are_told_and_all_are_counted() {
    let primary = format!("[{}0]", "0,".repeat(99_999));
    let target = format!("[{}1]", "1,".repeat(99_999));
    let line = log_line(&settings("{}"), primary.as_bytes(), target.as_bytes());
    assert_eq!(line["differences"].as_array().unwrap().len(), 10);
    assert_eq!(line["differences"][9], json!({ "pointer": "/9", "kind": "value" }));
    assert_eq!(line["more"], 99_990);
    let ten = log_line(&settings("{}"), b"[0,0,0,0,0,0,0,0,0,0]", b"[1,1,1,1,1,1,1,1,1,1]");
    assert_eq!((ten["differences"].as_array().unwrap().len(), &ten["more"]), (10, &Value::Null));
}

#[test]
fn a_long_pointer_is_cut_off() {
    let [primary, target] = [1, 2].map(|value| format!(r#"{{"{}":{value}}}"#, "é".repeat(500)));
    let line = log_line(&settings("{}"), primary.as_bytes(), target.as_bytes());
    assert_eq!(line["differences"][0]["pointer"], format!("/{}…", "é".repeat(199)));
}

#[test]
fn the_deepest_nesting_takes_little_stack() {
    let nested = |value: u8| format!("{}[{value}]{}", r#"{"a":"#.repeat(MAX_DEPTH - 1), "}".repeat(MAX_DEPTH - 1));
    // Without optimisation, stack frames are several times as large as in the filter, whose stack is 1 MiB.
    let compare = move || log_line(&settings("{}"), nested(1).as_bytes(), nested(2).as_bytes());
    let line = std::thread::Builder::new().stack_size(512 * 1024).spawn(compare).unwrap().join().unwrap();
    assert_eq!(line["differences"][0]["kind"], "value");
}

#[test]
fn the_settings_are_those_of_the_configuration() {
    let defaults = settings("{}");
    assert_eq!((defaults.percent, defaults.status, defaults.body, defaults.log_values), (100.0, true, BodyMode::Json, false));
    let set = settings(r#"{"percent":2.5,"status":false,"body":"exact","log_values":true}"#);
    assert_eq!((set.percent, set.status, set.body, set.log_values), (2.5, false, BodyMode::Exact, true));
}

#[test]
fn the_last_of_many_repeated_keys_counts() {
    let many: String = (0..1_000).map(|value| format!(r#""{}":{value},"#, value % 7)).collect();
    let last: Vec<String> = (993..1_000).map(|value| format!(r#""{}":{value}"#, value % 7)).collect();
    let (many, last) = (format!("{{{}}}", many.trim_end_matches(',')), format!("{{{}}}", last.join(",")));
    assert_eq!(told(&settings("{}"), many.as_bytes(), last.as_bytes()), "=");
}

#[test]
fn so_many_of_a_hundred_are_compared() {
    let percent = |percent: f64| Settings { percent, ..settings("{}") };
    assert!([0, 1, u64::MAX / 2, u64::MAX].iter().all(|random| percent(100.0).samples(*random)));
    assert!(percent(1e-9).samples(0) && !percent(99.999).samples(u64::MAX));
    assert!(percent(50.0).samples((1 << 63) - 1) && !percent(50.0).samples(1 << 63));
    let evenly = (0..1_000_u64).map(|step| (2 * step + 1) * (u64::MAX / 2_000));
    assert_eq!(evenly.filter(|random| percent(2.5).samples(*random)).count(), 25);
}

/// Spells a value with white space and with its members in reverse order.
fn respelled(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[ {} ]", items.iter().map(respelled).collect::<Vec<_>>().join("\n,")),
        Value::Object(members) => {
            let members = members.iter().rev().map(|(key, value)| format!("{} : {}", json!(key), respelled(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(" , "))
        }
        Value::String(text) => {
            let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
            format!("\"{units}\"")
        }
        Value::Number(number) if number.is_u64() || number.is_i64() => format!("{number}.0E0"),
        other => other.to_string(),
    }
}

/// Replaces the value that `choices` lead to. Returns its pointer and the kind of difference.
fn change(value: &mut Value, choices: &mut impl Iterator<Item = u8>) -> (String, &'static str) {
    let choice = usize::from(choices.next().unwrap_or(0));
    match value {
        Value::Array(items) if !items.is_empty() => {
            let index = choice % items.len();
            let (rest, kind) = change(&mut items[index], choices);
            (format!("/{index}{rest}"), kind)
        }
        Value::Object(members) if !members.is_empty() => {
            let count = members.len();
            let (key, value) = members.iter_mut().nth(choice % count).unwrap();
            let (rest, kind) = change(value, choices);
            (format!("/{}{rest}", key.replace('~', "~0").replace('/', "~1")), kind)
        }
        Value::String(text) => {
            text.push('!');
            (String::new(), "value")
        }
        Value::Bool(flag) => {
            *flag = !*flag;
            (String::new(), "value")
        }
        other => {
            *other = json!("changed");
            (String::new(), "type")
        }
    }
}

proptest! {
    #[test]
    fn spelling_and_order_mean_nothing(document in documents()) {
        prop_assert_eq!(compared(&settings("{}"), document.to_string().as_bytes(), respelled(&document).as_bytes()), Verdict::Match);
    }

    #[test]
    fn one_change_is_one_difference(document in documents(), choices in prop::collection::vec(any::<u8>(), 8)) {
        let mut changed = document.clone();
        let (pointer, kind) = change(&mut changed, &mut choices.into_iter());
        let line = log_line(&settings("{}"), document.to_string().as_bytes(), respelled(&changed).as_bytes());
        prop_assert_eq!(line, json!({ "differences": [{ "pointer": pointer, "kind": kind }] }));
        let ignoring = Settings { ignore: PointerSet::new([pointer_of(&pointer)]), ..settings("{}") };
        prop_assert_eq!(compared(&ignoring, document.to_string().as_bytes(), changed.to_string().as_bytes()), Verdict::Match);
    }

    #[test]
    fn a_comparison_can_be_turned_round(one in documents(), other in documents()) {
        let turned = |verdict: Verdict| match verdict {
            Verdict::BodyMismatch(differences) => differences.told().len() + differences.more(),
            _ => 0,
        };
        let (one, other) = (one.to_string(), other.to_string());
        let there = turned(compared(&settings("{}"), one.as_bytes(), other.as_bytes()));
        prop_assert_eq!(there, turned(compared(&settings("{}"), other.as_bytes(), one.as_bytes())));
    }
}

fn pointer_of(text: &str) -> crate::json::Pointer {
    text.parse().unwrap()
}
