//! The values of expressions in each place.

use std::time::Duration;

use serde_json::{json, Value};
use uuid::Uuid;

use super::*;
use crate::config::problem::Problems;
use crate::http::headers::{HeaderMap, Pairs};
use crate::http::work_limit::Work;
use crate::json::PointerSet;
use crate::json::{Body, Document, Read};

const BODY: &str = r#"{"a b":"x\"y","n":1.50,"big":18446744073709551615,"list":[10,{"/~":true}],"null":null}"#;
const LETTER: &[u8] = br#"{"version":1}"#;

fn request() -> HeaderMap {
    HeaderMap::from(&Pairs::from_iter([
        (":method", &b"PUT"[..]),
        (":authority", b"shop:81"),
        (":path", b"/orders/1%20a?q=1+2%263&e=&q=other&x#f?q=0"),
        ("x-user", b"J\xc3\xb6rg & co"),
        ("x-user", b"second"),
        ("x-latin", b"J\xf6rg"),
    ]))
}

/// A body in which values can be looked up.
fn read(body: &[u8]) -> Body<'_> {
    let Ok(text) = std::str::from_utf8(body) else { return Body::Raw(body) };
    let document: &Document<'_> = Box::leak(Box::new(Document::new(text.into())));
    Body::Read(Read::new(document, Box::leak(Box::new(PointerSet::new([]))), Box::leak(Box::new(Work::unbounded()))))
}

fn facts<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Facts<'a> {
    Facts {
        headers,
        body: read(body),
        query: Box::leak(Box::default()),
        work: Box::leak(Box::new(Work::unbounded())),
        target: "audit",
        delivery_id: Uuid::from_bytes([0x11; 16]),
        correlation_id: "c/1",
        attempt: 3,
        now: Duration::from_millis(1_767_323_045_678),
        answer: None,
        answer_bodies: &[],
        properties: &[],
        dead_letter: Some(LETTER),
        shows_variables: true,
    }
}

fn template(text: &str) -> Template {
    let mut template = Template::from_str(text).unwrap();
    template.resolve_env(&|name| (name == "TOKEN").then(|| "t/0\r\n".to_owned()));
    template
}

fn json_template(value: Value) -> JsonTemplate {
    let mut template = deserr::deserialize::<JsonTemplate, Value, Problems>(value).unwrap();
    template.resolve_env(&|name| (name == "TOKEN").then(|| "t/0\r\n".to_owned()));
    template
}

fn json_of(value: Value, body: &[u8]) -> String {
    let headers = request();
    String::from_utf8(json_template(value).json(&Values::new(facts(&headers, body)))).unwrap()
}

fn text_of_body(text: &str, place: Place, body: &[u8]) -> String {
    let headers = request();
    template(text).text(&Values::new(facts(&headers, body)), place)
}

#[test]
fn every_expression_has_its_value_in_text_in_a_path_in_a_header_and_in_json() {
    let body_in_path =
        "%7B%22a%20b%22%3A%22x%5C%22y%22%2C%22n%22%3A1.50%2C%22big%22%3A18446744073709551615%2C%22list%22%3A%5B10%2C%7B\
%22%2F~%22%3Atrue%7D%5D%2C%22null%22%3Anull%7D";
    for (expression, text, path, json) in [
        ("method", "PUT", "PUT", r#""PUT""#),
        ("path", "/orders/1%20a", "/orders/1%20a", r#""/orders/1%20a""#),
        ("query", "q=1+2%263&e=&q=other&x", "q%3D1%2B2%25263%26e%3D%26q%3Dother%26x", r#""q=1+2%263&e=&q=other&x""#),
        ("query:q", "1 2&3", "1%202%263", r#""1 2&3""#),
        ("query:e", "", "", r#""""#),
        ("query:x", "", "", r#""""#),
        ("query:absent", "", "", "null"),
        ("authority", "shop:81", "shop%3A81", r#""shop:81""#),
        ("header:X-User", "Jörg & co", "J%C3%B6rg%20%26%20co", r#""Jörg & co""#),
        ("header:x-latin", "Jörg", "J%C3%B6rg", r#""Jörg""#),
        ("header:absent", "", "", "null"),
        ("body", BODY, body_in_path, BODY),
        ("body:/a b", "x\"y", "x%22y", r#""x\"y""#),
        ("body:/n", "1.50", "1.50", "1.50"),
        ("body:/list/0", "10", "10", "10"),
        ("body:/list/1", r#"{"/~":true}"#, "%7B%22%2F~%22%3Atrue%7D", r#"{"/~":true}"#),
        ("body:/list/1/~1~0", "true", "true", "true"),
        ("body:/list/2", "", "", "null"),
        ("body:/list/00", "", "", "null"),
        ("body:/list/+1", "", "", "null"),
        ("body:/list/x", "", "", "null"),
        ("body:/n/x", "", "", "null"),
        ("body:/null", "", "", "null"),
        ("body:/absent/x", "", "", "null"),
        ("target", "audit", "audit", r#""audit""#),
        (
            "delivery_id",
            "11111111-1111-1111-1111-111111111111",
            "11111111-1111-1111-1111-111111111111",
            r#""11111111-1111-1111-1111-111111111111""#,
        ),
        ("correlation_id", "c/1", "c%2F1", r#""c/1""#),
        ("attempt", "3", "3", "3"),
        ("now", "2026-01-02T03:04:05.678Z", "2026-01-02T03%3A04%3A05.678Z", r#""2026-01-02T03:04:05.678Z""#),
        ("now_s", "1767323045", "1767323045", "1767323045"),
        ("now_ms", "1767323045678", "1767323045678", "1767323045678"),
        ("dead_letter", r#"{"version":1}"#, "%7B%22version%22%3A1%7D", r#"{"version":1}"#),
        ("dead_letter_base64", "eyJ2ZXJzaW9uIjoxfQ==", "eyJ2ZXJzaW9uIjoxfQ%3D%3D", r#""eyJ2ZXJzaW9uIjoxfQ==""#),
        ("env:TOKEN", "t/0\r\n", "t%2F0%0D%0A", r#""t/0\r\n""#),
        ("env:ABSENT", "", "", "null"),
        ("property:a.b", "", "", "null"),
        ("response:status", "", "", "null"),
        ("response:header:a", "", "", "null"),
    ] {
        let expression = format!("${{{expression}}}");
        let in_place = |place| text_of_body(&expression, place, BODY.as_bytes());
        assert_eq!(in_place(Place::Text), text, "{expression}");
        let headers = request();
        let in_path = template(&format!("/{expression}")).path(&Values::new(facts(&headers, BODY.as_bytes()))).unwrap();
        assert_eq!(String::from_utf8(in_path).unwrap(), format!("/{path}"), "{expression}");
        assert_eq!(in_place(Place::Header), text.replace(['\r', '\n'], ""), "{expression}");
        assert_eq!(json_of(json!(expression), BODY.as_bytes()), json, "{expression}");
    }
}

#[test]
fn a_body_is_text_and_base64_whatever_it_is() {
    for (body, text, base64) in [(&b"a\"b"[..], "a\"b", "YSJi"), (b"\xff\x00", "\u{fffd}\0", "/wA="), (b"", "", "")] {
        assert_eq!(text_of_body("${body_text}", Place::Text, body), text);
        assert_eq!(text_of_body("${body_base64}", Place::Text, body), base64);
        assert_eq!(json_of(json!("${body_text}"), body), json!(text).to_string());
        assert_eq!(json_of(json!("${body_base64}"), body), json!(base64).to_string());
    }
}

#[test]
fn a_body_that_is_no_json_is_null_and_no_text() {
    let deep = "[".repeat(129) + &"]".repeat(129);
    let endless = "[".repeat(1 << 20);
    for body in ["", "{", "{} {}", "\u{fffd}", "NaN", &deep, &endless] {
        assert_eq!(json_of(json!(["${body}", "${body:}", "${body:/0}"]), body.as_bytes()), "[null,null,null]");
        assert_eq!(text_of_body("<${body}${body:/0}>", Place::Text, body.as_bytes()), "<>");
    }
    let nested = "[".repeat(127) + &"]".repeat(127);
    assert_eq!(json_of(json!("${body}"), nested.as_bytes()), nested);
}

#[test]
fn a_variable_is_not_shown_where_that_is_asked_for() {
    let headers = request();
    let values = Values::new(Facts { shows_variables: false, ..facts(&headers, b"") });
    assert_eq!(template("<${env:TOKEN}>").text(&values, Place::Text), "<[redacted]>");
    assert_eq!(json_template(json!(["${env:TOKEN}", "a${env:TOKEN}"])).json(&values), br#"["[redacted]","a[redacted]"]"#);
}

#[test]
fn properties_and_the_primarys_response_are_known_where_they_are_given() {
    let headers = request();
    let response = Answer {
        headers: HeaderMap::from(&Pairs::from_iter([("x-a", "1"), ("x-a", "2")])),
        ..Answer::new(Answerer::Primary, Some(201))
    };
    let properties = [Property { path: vec!["xds".to_owned(), "route_name".to_owned()], value: "r/1".to_owned() }];
    let values = Values::new(Facts { answer: Some(&response), properties: &properties, ..facts(&headers, b"") });
    let template = json!([
        "${response:status}",
        "${response:header:X-A}",
        "${response:header:x-b}",
        "${property:xds.route_name}",
        "${property:xds}"
    ]);
    assert_eq!(json_template(template).json(&values), br#"[201,"1",null,"r/1",null]"#);
}

#[test]
fn bodies_of_answers_are_known_by_who_answered() {
    let headers = request();
    let (primary, stock) = (Answerer::Primary, Answerer::Target("stock".into()));
    let bodies = [
        AnswerBody { of: &stock, body: read(br#"{"id": 1.50, "s": ["x"]}"#) },
        AnswerBody { of: &primary, body: Body::Raw(b"J\xf6rg") },
    ];
    let values = Values::new(Facts { answer_bodies: &bodies, ..facts(&headers, b"") });
    let template = json!([
        "${target:stock:body:/id}",
        "${target:stock:body:/s}",
        "${target:stock:body:/none}",
        "${target:stock:body}",
        "${target:stock:body_text}",
        "${response:body_text}",
        "${response:body}",
        "${target:other:body}",
        "a ${target:other:body_text}${target:stock:body:/s/0}"
    ]);
    assert_eq!(
        String::from_utf8(json_template(template).json(&values)).unwrap(),
        "[1.50,[\"x\"],null,{\"id\":1.50,\"s\":[\"x\"]},\"{\\\"id\\\": 1.50, \\\"s\\\": [\\\"x\\\"]}\",\"J\u{fffd}rg\",null,null,\"a x\"]"
    );
}

#[test]
fn an_authority_keeps_what_can_stand_in_one() {
    let authority = |text| text_of_body(text, Place::Authority, r#"{"a":"b@evil/\r\n\u0000 ?#é:1"}"#.as_bytes());
    assert_eq!(authority("${body:/a}.internal"), "bevil:1.internal");
    assert_eq!(authority("${authority}"), "shop:81");
}

#[test]
fn in_text_json_is_written_out_and_a_string_is_itself() {
    let text = |text| text_of_body(text, Place::Text, BODY.as_bytes());
    assert_eq!(
        text("n=${body:/n} s=${body:/a b} l=${body:/list} 0=${body:/null} $${x}"),
        "n=1.50 s=x\"y l=[10,{\"/~\":true}] 0= ${x}"
    );
}

#[test]
fn lists_and_objects_are_written_on_one_line() {
    let body = b"{ \"a\" : [ 1.50 ,\n{ \"b c\" : \" x \" } ] }";
    for (expression, written) in [("${body:/a}", r#"[1.50,{"b c":" x "}]"#), ("${body}", r#"{"a":[1.50,{"b c":" x "}]}"#)] {
        assert_eq!(text_of_body(expression, Place::Text, body), written);
        assert_eq!(text_of_body(expression, Place::Header, body), written);
        assert_eq!(json_of(json!(expression), body), written);
    }
}

#[test]
fn a_json_template_keeps_what_is_no_string_and_all_keys() {
    let plain = json!({
        "": "", "k\"${path}": ["$${path}", -1, 1.5, u64::MAX, true, false, null, [], {}, [[]], {"a": {}}], "\u{1}": "\u{2}é",
    });
    let expected = plain.to_string().replace("$${", "${");
    assert_eq!(json_of(plain, b""), expected);
    assert_eq!(
        json_of(json!({"a": "n ${attempt}", "b": ["${attempt}", "${env:TOKEN}!"]}), b""),
        r#"{"a":"n 3","b":[3,"t/0\r\n!"]}"#
    );
}

#[test]
fn a_variable_in_json_is_not_shown() {
    let template = json_template(json!({"a": ["${env:TOKEN}"]}));
    assert!(!format!("{template:?}").contains("t/0"), "{template:?}");
}

#[test]
fn a_time_that_has_no_rfc_3339_is_no_text() {
    assert_eq!(rfc3339(Duration::ZERO), "1970-01-01T00:00:00.000Z");
    assert_eq!(rfc3339(Duration::from_millis(253_402_300_799_999)), "9999-12-31T23:59:59.999Z");
    assert_eq!(rfc3339(Duration::from_secs(253_402_300_800)), "");
    assert_eq!(rfc3339(Duration::MAX), "");
}

/// A request with this value in every place from which expressions take values.
fn hostile(value: &[u8]) -> HeaderMap {
    HeaderMap::from(&Pairs::from_iter([(":path", value), ("x", value)]))
}

const EVERYWHERE: &str = "${path}|${query:a}|${header:x}|${body_text}|${body}|${body:/a}|${correlation_id}|${target}";

fn values_of<'a>(headers: &'a HeaderMap, body: &'a [u8], text: &'a str) -> Values<'a> {
    Values::new(Facts { target: text, correlation_id: text, ..facts(headers, body) })
}

proptest! {
    #[test]
    fn no_value_leaves_its_place_in_a_path(value in prop::collection::vec(any::<u8>(), 0..40), text in ".*") {
        let headers = hostile(&value);
        let body = json!({"a": text}).to_string();
        for body in [value.as_slice(), body.as_bytes()] {
            let path = template(&format!("/p/{EVERYWHERE}/?a={EVERYWHERE}&b=")).path(&values_of(&headers, body, &text));
            let Ok(path) = path else { continue };
            let path = String::from_utf8_lossy(&path);
            let count = |char: char| path.matches(char).count();
            // The unchanged content of `${path}` is the client's.
            let own = |char: char| crate::http::text::text_of(&value).split(['?', '#']).next().unwrap().matches(char).count();
            let wanted = [('?', 1), ('&', 1), ('=', 2), ('#', 0), ('|', 14), ('/', 3 + own('/'))];
            let wanted = wanted.map(|(char, count)| count + own(char));
            prop_assert_eq!(['?', '&', '=', '#', '|', '/'].map(count), wanted);
            prop_assert!(path.chars().all(|char| char.is_ascii_graphic() || !char.is_ascii()), "{}", path);
            // The encoded value decodes to the original.
            let last = percent_encoding::percent_decode_str(path.rsplit('|').next().unwrap().trim_end_matches("&b=")).decode_utf8();
            prop_assert_eq!(last.unwrap(), text.as_str());
        }
    }

    #[test]
    fn no_value_ends_a_header(value in prop::collection::vec(any::<u8>(), 0..40), text in ".*|[\r\n\0 a]*") {
        let headers = hostile(&value);
        let body = json!({"a": text}).to_string();
        for body in [value.as_slice(), body.as_bytes()] {
            let header = template(EVERYWHERE).text(&values_of(&headers, body, &text), Place::Header);
            prop_assert!(!header.contains(['\r', '\n', '\0', '\u{7f}', '\u{1}']), "{header:?}");
        }
    }

    #[test]
    fn no_value_ends_a_json_string(value in prop::collection::vec(any::<u8>(), 0..40), text in ".*|[\"\\\\\r\n\0}\\]]*") {
        let headers = hostile(&value);
        let body = json!({"a": text}).to_string();
        let template = json_template(json!({"alone": "${target}", "inside": "<${target}>", "all": EVERYWHERE, "deep": "${body:/a}"}));
        let json: Value = serde_json::from_slice(&template.json(&values_of(&headers, body.as_bytes(), &text))).unwrap();
        prop_assert_eq!(&json["alone"], &json!(text));
        prop_assert_eq!(&json["inside"], &json!(format!("<{text}>")));
        prop_assert_eq!(&json["deep"], &json!(text));
        prop_assert_eq!(json.as_object().unwrap().len(), 4);
    }

    #[test]
    fn a_body_keeps_its_value_in_json(number in any::<i64>(), text in ".*", float in -1e15_f64..1e15) {
        let body = json!({"n": number, "t": [text], "f": float, "e": {}});
        let found: Value = serde_json::from_str(&json_of(json!(["${body}", "${body:/t}"]), body.to_string().as_bytes())).unwrap();
        prop_assert_eq!(&found[1], &body["t"]);
        prop_assert_eq!(&found[0]["n"], &body["n"]);
        let close = (found[0]["f"].as_f64().unwrap() - float).abs() <= float.abs() * f64::EPSILON;
        prop_assert!(close);
    }
}
