use proptest::prelude::*;
use serde_json::{json, Value};

use super::*;
use crate::json::{parse, MAX_DEPTH};
use std::str::FromStr;

fn redact(pointers: &[&str], body: &str) -> String {
    let redaction = Redaction::new(pointers.iter().map(|pointer| Pointer::from_str(pointer).unwrap()));
    String::from_utf8(redaction.apply(&parse(body.as_bytes()).unwrap()).into_owned()).unwrap()
}

macro_rules! cases {
    ($($name:ident: $pointers:expr, $body:literal => $wanted:literal;)*) => {
        $(#[test] fn $name() { assert_eq!(redact(&$pointers, $body), $wanted); })*
    };
}

cases! {
    a_member: ["/card/number"], r#"{"card":{"number":"4111","exp":1}}"# => r#"{"card":{"number":"[redacted]","exp":1}}"#;
    every_other_byte_stays: ["/b"], " { \"c\" : 1.50E+2 ,\n\"b\" :\t[ 1 ] , \"a\" : \"\\u0061\" } \r\n" =>
        " { \"c\" : 1.50E+2 ,\n\"b\" :\t\"[redacted]\" , \"a\" : \"\\u0061\" } \r\n";
    a_byte_order_mark_stays: ["/a"], "\u{feff}{\"a\":1}" => "\u{feff}{\"a\":\"[redacted]\"}";
    the_whole: [""], " {\"a\":1} " => " \"[redacted]\" ";
    the_whole_of_a_text: [""], "\"secret\"" => "\"[redacted]\"";
    no_pointer: [], r#"{"a":1}"# => r#"{"a":1}"#;
    nothing_there: ["/b", "/a/b"], r#"{"a":1}"# => r#"{"a":1}"#;
    an_object: ["/a"], r#"{"a":{"b":[1,{"c":2}]},"d":3}"# => r#"{"a":"[redacted]","d":3}"#;
    a_key_inside_another: ["/b"], r#"{"a":{"b":1}}"# => r#"{"a":{"b":1}}"#;
    all_values_of_a_repeated_key: ["/a"], r#"{"a":1,"a":{"b":2},"a":3}"# => r#"{"a":"[redacted]","a":"[redacted]","a":"[redacted]"}"#;
    inside_all_values_of_a_repeated_key: ["/a/b"], r#"{"a":{"b":1},"a":{"b":2,"b":3}}"# =>
        r#"{"a":{"b":"[redacted]"},"a":{"b":"[redacted]","b":"[redacted]"}}"#;
    a_key_written_with_escapes: ["/card"], r#"{"c\u0061rd":1,"\u0063ard":2}"# => r#"{"c\u0061rd":"[redacted]","\u0063ard":"[redacted]"}"#;
    a_key_with_the_pointer_s_own_signs: ["/a~1b~0c"], r#"{"a/b~c":1,"a":{"b~c":2}}"# => r#"{"a/b~c":"[redacted]","a":{"b~c":2}}"#;
    the_empty_key: ["/"], r#"{"":1,"a":2}"# => r#"{"":"[redacted]","a":2}"#;
    keys_have_case: ["/a"], r#"{"A":1}"# => r#"{"A":1}"#;
    an_entry: ["/1"], "[1,2,3]" => r#"[1,"[redacted]",3]"#;
    entries_out_of_order: ["/10", "/2", "/0"], "[0,1,2,3,4,5,6,7,8,9,10,11]" =>
        r#"["[redacted]",1,"[redacted]",3,4,5,6,7,8,9,"[redacted]",11]"#;
    an_entry_with_a_leading_zero: ["/01", "/+1", "/-", "/00", "/1.0", "/1e0"], "[1,2]" => "[1,2]";
    an_index_as_a_key: ["/01", "/-"], r#"{"01":1,"-":2,"1":3}"# => r#"{"01":"[redacted]","-":"[redacted]","1":3}"#;
    every_entry: ["/*"], "[1, [2], {\"a\":3}]" => r#"["[redacted]", "[redacted]", "[redacted]"]"#;
    every_member: ["/*"], r#"{"a":1, "b":{"c":2}}"# => r#"{"a":"[redacted]", "b":"[redacted]"}"#;
    a_member_of_every_entry: ["/items/*/ssn"], r#"{"items":[{"ssn":1,"n":2},{"n":3},{"ssn":[4]}]}"# =>
        r#"{"items":[{"ssn":"[redacted]","n":2},{"n":3},{"ssn":"[redacted]"}]}"#;
    a_star_is_one_level: ["/*/a"], r#"{"a":1,"x":{"a":2,"y":{"a":3}}}"# => r#"{"a":1,"x":{"a":"[redacted]","y":{"a":3}}}"#;
    a_star_and_a_key_at_one_place: ["/*/a", "/b/*", "/b/c/d"], r#"{"b":{"a":1,"c":{"d":2}},"e":{"a":3,"c":{"d":4}}}"# =>
        r#"{"b":{"a":"[redacted]","c":"[redacted]"},"e":{"a":"[redacted]","c":{"d":4}}}"#;
    a_star_and_an_index_at_one_place: ["/0/a", "/*/b"], r#"[{"a":1,"b":2},{"a":3,"b":4}]"# =>
        r#"[{"a":"[redacted]","b":"[redacted]"},{"a":3,"b":"[redacted]"}]"#;
    a_pointer_and_one_that_goes_on: ["/a/b", "/a"], r#"{"a":{"b":1}}"# => r#"{"a":"[redacted]"}"#;
    a_pointer_given_twice: ["/a", "/a"], r#"{"a":1}"# => r#"{"a":"[redacted]"}"#;
    values_do_not_start_with_a_key: ["/a"], r#"{"b":"a","a":"b"}"# => r#"{"b":"a","a":"[redacted]"}"#;
}

#[test]
fn a_body_without_such_values_is_not_copied() {
    let redaction = Redaction::new([Pointer(vec!["a".into()])]);
    assert!(matches!(redaction.apply(&parse(b"{\"b\": 1}").unwrap()), Cow::Borrowed(b"{\"b\": 1}")));
}

#[test]
fn the_deepest_nesting_takes_little_stack() {
    let body = format!("{}{}", r#"{"a":"#.repeat(MAX_DEPTH - 1) + "[1", "]".to_owned() + &"}".repeat(MAX_DEPTH - 1));
    let deepest = Pointer(vec!["*".to_owned(); MAX_DEPTH]);
    // Without optimisation, stack frames are several times as large as in the filter, whose stack is 1 MiB.
    let walk = move || String::from_utf8(Redaction::new([deepest]).apply(&parse(body.as_bytes()).unwrap()).into_owned()).unwrap();
    let redacted = std::thread::Builder::new().stack_size(256 * 1024).spawn(walk).unwrap().join().unwrap();
    assert!(redacted.contains(r#""a":["[redacted]"]"#), "{redacted}");
}

/// Writes a value as JSON text with white space, escaped keys and repeated members, as `spelling` chooses.
fn write(value: &Value, spelling: &mut impl Iterator<Item = u8>, out: &mut String) {
    let choice = spelling.next().unwrap_or(0);
    out.push_str(["", " ", "\n\t"][usize::from(choice % 3)]);
    match value {
        Value::String(text) => write_string(text, choice & 4 != 0, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write(item, spelling, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, value)) in members.iter().enumerate() {
                let times = 1 + usize::from(choice & 8 != 0);
                for time in 0..times {
                    out.push_str(if index == 0 && time == 0 { "" } else { "," });
                    write_string(key, spelling.next().unwrap_or(0) & 1 != 0, out);
                    out.push(':');
                    write(value, spelling, out);
                }
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn write_string(text: &str, escaped: bool, out: &mut String) {
    if escaped {
        out.push('"');
        text.encode_utf16().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        out.push('"');
    } else {
        out.push_str(&Value::from(text).to_string());
    }
}

/// The meaning of redaction in simple code: applies one pointer at a time to a tree.
fn redact_tree(value: &mut Value, pointer: &[String]) {
    let Some((segment, rest)) = pointer.split_first() else {
        *value = "[redacted]".into();
        return;
    };
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                if segment == "*" || *segment == index.to_string() {
                    redact_tree(item, rest);
                }
            }
        }
        Value::Object(members) => {
            for (key, value) in members {
                if segment == "*" || segment == key {
                    redact_tree(value, rest);
                }
            }
        }
        _ => {}
    }
}

/// Replaces the value that `choices` lead to. Returns the path to it.
fn plant(value: &mut Value, choices: &mut impl Iterator<Item = u8>, secret: Value) -> Vec<String> {
    let choice = usize::from(choices.next().unwrap_or(0));
    match value {
        Value::Array(items) if !items.is_empty() => {
            let index = choice % items.len();
            let mut way = vec![index.to_string()];
            way.extend(plant(&mut items[index], choices, secret));
            way
        }
        Value::Object(members) if !members.is_empty() => {
            let count = members.len();
            let (key, value) = members.iter_mut().nth(choice % count).unwrap();
            let mut way = vec![key.clone()];
            way.extend(plant(value, choices, secret));
            way
        }
        leaf => {
            *leaf = secret;
            Vec::new()
        }
    }
}

const SECRET: &str = "s3cr\u{e9}t\"77001234567890123";
const SECRET_NUMBER: u64 = 7_700_123_456_789_012_345;

/// True if any key or value of the text, or the text itself, contains the secret.
fn tells(node: Node<'_>) -> bool {
    let told = |text: &str| text.contains(SECRET) || text.contains(&SECRET_NUMBER.to_string());
    told(node.written())
        || told(&node.text())
        || node.items().any(tells)
        || node.members().any(|(key, value)| tells(key) || tells(value))
}

proptest! {
    #[test]
    fn no_secret_under_a_pointer_is_left(
        mut document in crate::json::tests::documents(),
        ways in prop::collection::vec((prop::collection::vec(any::<u8>(), 6), prop::collection::vec(any::<bool>(), 6), 0..4), 1..4),
        spelling in prop::collection::vec(any::<u8>(), 200),
    ) {
        let mut pointers = Vec::new();
        for (choices, stars, kind) in ways {
            let secret = match kind {
                0 => json!(SECRET),
                1 => json!(SECRET_NUMBER),
                2 => json!({ SECRET: [1, { "x": SECRET }] }),
                _ => json!([[SECRET_NUMBER], SECRET]),
            };
            let mut way = plant(&mut document, &mut choices.into_iter(), secret);
            // A path that ends at an earlier secret leads into it: all of that is secret.
            for (segment, star) in way.iter_mut().zip(stars) {
                if star {
                    *segment = "*".to_owned();
                }
            }
            pointers.push(Pointer(way));
        }
        let mut body = String::new();
        write(&document, &mut spelling.into_iter(), &mut body);
        prop_assert!(tells(parse(body.as_bytes()).unwrap().root()));

        let redacted = Redaction::new(pointers.clone()).apply(&parse(body.as_bytes()).unwrap()).into_owned();
        let mut wanted = document;
        pointers.iter().for_each(|pointer| redact_tree(&mut wanted, &pointer.0));
        // Serialized and parsed once, like the redacted body: serde_json parses a double less exactly than it writes one.
        let wanted: Value = serde_json::from_str(&wanted.to_string()).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(&redacted).unwrap(), wanted);
        prop_assert!(!tells(parse(&redacted).unwrap().root()), "{}", String::from_utf8_lossy(&redacted));
    }
}
