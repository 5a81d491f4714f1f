//! Templates: whatever is put in stays in its place, and is the value that was asked for.

use serde_json::{json, Map, Value};

use crate::choices::Choices;
use crate::document::{spelled, Doc, DOUBLES};
use sidecast::rewrite::shape::Unfit;

use crate::hold;
use crate::request::{configured, only, sent, value, Request, TOKEN};

/// Text, or what stands in `${}`.
#[derive(Clone, Debug)]
enum Piece {
    Text(&'static str),
    Value(String),
}

type Pieces = Vec<Piece>;

const EXPRESSIONS: [&str; 23] = [
    "method",
    "path",
    "query",
    "query:q",
    "authority",
    "header:x-a",
    "header:x-none",
    "body",
    "body_text",
    "body_base64",
    "target",
    "delivery_id",
    "correlation_id",
    "attempt",
    "now",
    "now_s",
    "now_ms",
    "env:TOKEN",
    "property:xds.route_name",
    "property:none",
    "response:status",
    "response:header:location",
    "response:header:none",
];

fn expression(choices: &mut Choices<'_>, doc: &Doc) -> String {
    match choices.below(3) {
        0 => (*choices.one_of(&EXPRESSIONS)).to_owned(),
        _ => {
            let way = choices.one_of(&doc.ways()).clone();
            let pointer = spelled(&way);
            // A pointer is for one value, and ends with the brace.
            if pointer.contains(['*', '}']) || way.is_empty() {
                "body".to_owned()
            } else {
                format!("body:{pointer}")
            }
        }
    }
}

fn pieces(choices: &mut Choices<'_>, doc: &Doc, texts: &[&'static str]) -> Pieces {
    choices.some(4, |choices| match choices.below(2) {
        0 => Piece::Value(expression(choices, doc)),
        _ => Piece::Text(choices.one_of::<&str>(texts)),
    })
}

/// The pieces as a template writes them.
fn template(pieces: &[Piece]) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.replace("${", "$${"),
            Piece::Value(expression) => format!("${{{expression}}}"),
        })
        .collect()
}

/// JSON with templates in its strings.
fn json_template(choices: &mut Choices<'_>, doc: &Doc, levels: usize) -> (Value, Vec<Pieces>) {
    const TEXTS: [&str; 8] = ["a", "\"", "\\", "\r\n", "${", "}", "é", "]"];
    match choices.below(if levels == 0 { 5 } else { 8 }) {
        0..=2 => {
            let pieces = pieces(choices, doc, &TEXTS);
            (Value::String(template(&pieces)), vec![pieces])
        }
        3 => (
            choices.one_of(&[json!(null), json!(true), json!(-1.5), json!(18_446_744_073_709_551_615_u64), json!(1e300)]).clone(),
            vec![],
        ),
        4 => (Value::Object(Map::new()), vec![]),
        5 => {
            let (values, strings): (Vec<_>, Vec<_>) =
                choices.some(4, |choices| json_template(choices, doc, levels - 1)).into_iter().unzip();
            (Value::Array(values), strings.concat())
        }
        _ => {
            let mut fields = Map::new();
            let mut strings = std::collections::BTreeMap::new();
            for _ in 0..choices.below(4) {
                let key = (*choices.one_of(&["a", "${path}", "\"", "b\\", "\n"])).to_owned();
                let (value, pieces) = json_template(choices, doc, levels - 1);
                fields.insert(key.clone(), value);
                strings.insert(key, pieces);
            }
            (Value::Object(fields), strings.into_values().collect::<Vec<_>>().concat())
        }
    }
}

/// What was sent for each string of a template, in the order of the template. Everything else must be as in the template.
fn filled<'v>(template: &Value, sent: &'v Value, found: &mut Vec<&'v Value>) {
    match (template, sent) {
        (Value::String(_), sent) => found.push(sent),
        (Value::Array(template), Value::Array(sent)) => {
            assert_eq!(template.len(), sent.len());
            template.iter().zip(sent).for_each(|(template, sent)| filled(template, sent, found));
        }
        (Value::Object(template), Value::Object(sent)) => {
            assert!(template.keys().eq(sent.keys()), "{template:?} {sent:?}");
            template.values().zip(sent.values()).for_each(|(template, sent)| filled(template, sent, found));
        }
        (template, sent) => assert_eq!(template, sent),
    }
}

fn meaning(doc: &Doc) -> Value {
    match doc {
        Doc::Null => Value::Null,
        Doc::Bool(flag) => Value::Bool(*flag),
        Doc::Number(number) => serde_json::from_str(number).unwrap(),
        Doc::Text(text) => Value::String(text.clone()),
        Doc::List(items) => Value::Array(items.iter().map(meaning).collect()),
        Doc::Object(members) => Value::Object(members.iter().map(|(key, value)| (key.clone(), meaning(value))).collect()),
    }
}

/// The value of an expression, if it can be told here.
fn wanted(expression: &str, doc: &Doc, body: &str, request: &Request) -> Option<Value> {
    let header = |name: &str| {
        let value = request.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value)?;
        Some(Value::String(
            String::from_utf8(value.clone()).unwrap_or_else(|_| value.iter().map(|byte| char::from(*byte)).collect()),
        ))
    };
    Some(match expression {
        "method" => json!("POST"),
        "attempt" => json!(3),
        "now_s" => json!(1_767_323_045_u64),
        "now_ms" => json!(1_767_323_045_678_u64),
        "now" => json!("2026-01-02T03:04:05.678Z"),
        "target" => json!("audit"),
        "delivery_id" => json!("11111111-1111-1111-1111-111111111111"),
        "env:TOKEN" => json!(TOKEN),
        "property:xds.route_name" => json!("all/\r\norders"),
        "response:status" => json!(201),
        "header:x-none" | "property:none" | "response:header:none" => Value::Null,
        "header:x-a" => header("x-a")?,
        "body_text" => json!(body),
        "body" => meaning(doc),
        pointer if pointer.starts_with("body:") => {
            let way = pointer.strip_prefix("body:/")?.split('/').map(|segment| segment.replace("~1", "/").replace("~0", "~"));
            doc.at(&way.collect::<Vec<_>>()).map_or(Value::Null, meaning)
        }
        _ => return None,
    })
}

/// Text of a value that stands inside other text.
fn text<'t>(pieces: &[Piece], mut value: impl FnMut(&str) -> &'t str, fit: impl Fn(&str, &str) -> String) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => (*text).to_owned(),
            Piece::Value(expression) => fit(expression, value(expression)),
        })
        .collect()
}

fn law(choices: &mut Choices<'_>) {
    let doc = Doc::any(choices, &DOUBLES);
    let written = doc.write(choices).text;
    let request = Request {
        headers: vec![
            (":method".to_owned(), b"POST".to_vec()),
            (":path".to_owned(), [b"/", &value(choices)[..]].concat()),
            (":authority".to_owned(), value(choices)),
            ("x-a".to_owned(), value(choices)),
            ("x-a".to_owned(), b"second".to_vec()),
        ],
        body: written.clone().into_bytes(),
        answered: vec![("location".to_owned(), value(choices))],
    };
    let path = pieces(choices, &doc, &["a", "/", "?", "&q=", ";", "${", "%2F"]);
    let authority = pieces(choices, &doc, &["a", ".b", ":80"]);
    let header = pieces(choices, &doc, &["a", " ", "\t", "é", "\"", "${"]);
    let (body, strings) = json_template(choices, &doc, 3);
    // Besides, each expression alone, and in text.
    let mut used: Vec<String> = [&path, &authority, &header]
        .into_iter()
        .chain(&strings)
        .flatten()
        .filter_map(|piece| if let Piece::Value(expression) = piece { Some(expression.clone()) } else { None })
        .collect();
    used.sort();
    used.dedup();
    let alone: Vec<String> = used.iter().map(|expression| format!("${{{expression}}}")).collect();
    let in_text: Vec<String> = used.iter().map(|expression| format!("|${{{expression}}}")).collect();
    let config = configured(json!([{
        "name": "audit", "cluster": "c", "after": "response",
        "request": {
            "path": format!("/{}", template(&path)),
            "authority": format!("h{}", template(&authority)),
            "headers": {"set": {"x-set": template(&header)}},
            "body": {"template": {"asked": body, "alone": alone, "in_text": in_text}},
        },
    }]));
    let (headers, sent) = match sent(&config, &request, false) {
        Ok(sent) => sent,
        // With dots for values, there may be a segment of them.
        Err(Unfit::UnsafePath) if path.iter().any(|piece| matches!(piece, Piece::Value(_))) => return,
        Err(unfit) => panic!("{unfit:?}: {written}"),
    };
    let sent: Value = serde_json::from_slice(&sent).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&sent)));
    let texts: Vec<&str> =
        sent["in_text"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().strip_prefix('|').unwrap()).collect();
    let alone = sent["alone"].as_array().unwrap();
    assert_eq!((texts.len(), alone.len()), (used.len(), used.len()));
    let index = |expression: &str| used.iter().position(|other| other == expression).unwrap();

    for ((expression, value), text) in used.iter().zip(alone).zip(&texts) {
        if let Some(wanted) = wanted(expression, &doc, &written, &request) {
            assert_eq!(*value, wanted, "${{{expression}}} of {written}");
        }
        match value {
            Value::String(value) => assert_eq!(value, text),
            Value::Null => assert_eq!(*text, ""),
            value => assert_eq!(serde_json::from_str::<Value>(text).unwrap(), *value),
        }
    }
    let mut found = Vec::new();
    filled(&body, &sent["asked"], &mut found);
    assert_eq!(found.len(), strings.len());
    for (pieces, found) in strings.iter().zip(found) {
        match &pieces[..] {
            [Piece::Value(expression)] => assert_eq!(*found, alone[index(expression)]),
            pieces => {
                assert_eq!(*found, text(pieces, |expression| texts[index(expression)], |_, value| value.to_owned()), "{pieces:?}")
            }
        }
    }

    let fits = |char: char| !char.is_ascii_control() || char == '\t';
    let expected =
        text(&header, |expression| texts[index(expression)], |_, value| value.chars().filter(|char| fits(*char)).collect());
    assert_eq!(String::from_utf8_lossy(only(&headers, "x-set")), expected.trim_ascii(), "{header:?}");
    let of_host = |char: char| char.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:[]%".contains(char);
    let expected =
        text(&authority, |expression| texts[index(expression)], |_, value| value.chars().filter(|char| of_host(*char)).collect());
    assert_eq!(String::from_utf8_lossy(only(&headers, ":authority")), format!("h{expected}"), "{authority:?}");
    let raw = &request.headers[1].1;
    let raw = raw.split(|byte| *byte == b'#').next().unwrap();
    let mut raw = raw.splitn(2, |byte| *byte == b'?');
    let (raw_path, raw_query) = (raw.next().unwrap(), raw.next().unwrap_or_default());
    let mut expected = b"/".to_vec();
    let mut in_query = false;
    for (place, piece) in path.iter().enumerate() {
        let plain = |byte: u8, kept: &[u8]| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte);
        let encoded = |value: &[u8], kept: &[u8]| -> Vec<u8> {
            value
                .iter()
                .flat_map(|byte| if plain(*byte, kept) { vec![*byte] } else { format!("%{byte:02X}").into_bytes() })
                .collect()
        };
        let raw = |value: &[u8]| -> Vec<u8> {
            value
                .iter()
                .flat_map(|byte| if *byte > b' ' && *byte != 0x7f { vec![*byte] } else { format!("%{byte:02X}").into_bytes() })
                .collect()
        };
        match piece {
            Piece::Text(text) => {
                let before = path[..place].last();
                let follows_nothing =
                    in_query && raw_query.is_empty() && matches!(before, Some(Piece::Value(query)) if query == "query");
                expected.extend(if follows_nothing { text.strip_prefix('&').unwrap_or(text) } else { text }.bytes());
                in_query |= text.contains('?');
            }
            Piece::Value(expression) if expression == "path" => {
                expected.extend(if in_query { encoded(raw_path, b"/") } else { raw(raw_path) });
            }
            Piece::Value(expression) if expression == "query" && in_query => {
                expected.extend(raw(raw_query));
                let skips = matches!(path.get(place + 1), Some(Piece::Text(text)) if text.starts_with('&'));
                if raw_query.is_empty() && !skips && matches!(expected.last(), Some(b'?' | b'&')) {
                    expected.pop();
                }
            }
            Piece::Value(expression) => expected.extend(encoded(texts[index(expression)].as_bytes(), b"")),
        }
    }
    assert_eq!(only(&headers, ":path"), expected, "{path:?}");
}

#[test]
fn values_stay_in_their_places_and_keep_their_types() {
    hold(512, law);
}
