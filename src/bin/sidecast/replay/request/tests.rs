use std::time::Duration;

use proptest::prelude::*;
use serde_json::{json, Value};
use sidecast::delivery::dead_letter;
use sidecast::delivery::drop_reason::DropReason;
use sidecast::http::headers::Pairs;
use uuid::Uuid;

use super::*;
use crate::replay::destinations::Destinations;
use crate::replay::forms;

fn rules(set: &[&str]) -> Rules {
    let texts: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
    Rules { supplied: Headers::new(&texts, 1).unwrap(), keeps_redacted: false, authority_of_url: false }
}

fn destination(url: &str) -> Destination {
    Destinations::new(&[url.to_owned()], None).unwrap().all.remove(0)
}

fn letter(changes: &Value) -> Letter {
    let mut request = json!({"method": "POST", "path": "/a", "authority": "shop", "headers": [], "redacted": [], "body": ""});
    request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    Letter::from_value(json!({"version": 1, "id": "i-1", "target": "audit", "request": request})).unwrap()
}

fn prepared(changes: &Value) -> Result<Prepared, Refusal> {
    Prepared::new(&letter(changes), &destination("http://127.0.0.1:80"), &rules(&[]))
}

fn sent_headers(prepared: &Prepared) -> Vec<(String, Vec<u8>)> {
    let headers = prepared.headers.iter().filter(|(name, _)| *name != HOST);
    headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

#[test]
fn what_a_hostile_client_made_is_refused_and_not_altered() {
    for (changes, why) in [
        (json!({"method": null}), "no method"),
        (json!({"method": "GET /x HTTP/1.1\r\nevil: 1"}), "invalid"),
        (json!({"method": ""}), "invalid"),
        (json!({"method": "CONNECT"}), "CONNECT"),
        (json!({"path": null}), "no path"),
        (json!({"path": ""}), "start with a slash"),
        (json!({"path": "http://elsewhere/"}), "start with a slash"),
        (json!({"path": "/a b"}), "/a b"),
        (json!({"path": "/a\r\nevil: 1"}), "{d}"),
        (json!({"path": "/a#b"}), "cannot be sent as it is"),
        (json!({"path": format!("/{}", "a".repeat(70_000))}), "too long"),
        (json!({"authority": "a@b"}), "user"),
        (json!({"authority": "a b"}), "a b"),
        (json!({"authority": "a/b"}), "a/b"),
        (json!({"headers": [["a b", "1"]]}), "invalid"),
        (json!({"headers": [[":path", "/evil"]]}), "invalid"),
        (json!({"headers": [["", "1"]]}), "invalid"),
        (json!({"headers": [["x-a", "1\r\nevil: 1"]]}), "control characters: x-a"),
        (json!({"headers": [["x-a", "1\u{0}"]]}), "control characters"),
        (json!({"headers_base64": [["x-a", "?"]]}), "headers_base64"),
        (json!({"body": null, "body_base64": "?"}), "body_base64"),
        (json!({"body": "a", "body_base64": "YQ=="}), "both"),
    ] {
        match prepared(&changes) {
            Err(Illegal(text)) => assert!(text.contains(why) && !text.contains(['\r', '\n']), "{changes}: {text}"),
            other => panic!("{changes}: {other:?}"),
        }
    }
}

#[test]
fn a_path_does_not_lead_out_of_that_of_the_url() {
    for path in ["/../b", "/a/..", "/%2e%2e/b", "/a/..;x/b"] {
        let letter = letter(&json!({ "path": path }));
        let to = |url| Prepared::new(&letter, &destination(url), &rules(&[]));
        assert!(matches!(to("http://h/base"), Err(Illegal(_))), "{path}");
        assert_eq!(to("http://h").unwrap().uri.path(), path);
    }
    let inside = Prepared::new(&letter(&json!({"path": "/a?x=/../"})), &destination("http://h/base/"), &rules(&[])).unwrap();
    assert_eq!(inside.uri.to_string(), "http://h/base/a?x=/../");
}

#[test]
fn headers_of_one_connection_are_left_out_and_sidecasts_own_are_not() {
    let fields = json!([
        ["connection", "x-a"],
        ["host", "evil"],
        ["content-length", "7"],
        ["transfer-encoding", "chunked"],
        ["te", "trailers"],
        ["x-envoy-retry-on", "5xx"],
        ["x_envoy_a", "1"],
        ["expect", "100-continue"],
        ["proxy-connection", "close"],
        ["x-sidecast-loop", "i-1"],
        ["x-sidecast-target", "audit"],
        ["X-A", "1"],
        ["idempotency-key", "k"],
    ]);
    let prepared = prepared(&json!({ "headers": fields })).unwrap();
    let names: Vec<&str> = prepared.headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["x-sidecast-loop", "x-sidecast-target", "x-a", "idempotency-key", "host"]);
    assert_eq!(prepared.headers["host"], "shop");
}

#[test]
fn the_key_is_the_delivery_id_if_the_letter_has_none() {
    let key = |headers: Value| prepared(&json!({ "headers": headers })).unwrap().headers["idempotency-key"].clone();
    assert_eq!(key(json!([])), "i-1");
    assert_eq!(key(json!([["idempotency-key", ""]])), "i-1");
    assert_eq!(key(json!([["Idempotency-Key", "mine"]])), "mine");
    let hidden = json!({"headers": [["idempotency-key", "[redacted]"]], "redacted": ["idempotency-key"]});
    assert_eq!(prepared(&hidden).unwrap().headers["idempotency-key"], "i-1");
}

#[test]
fn a_secret_that_is_missing_is_told_by_its_place() {
    let missing = |changes: Value, rules: &Rules| match Prepared::new(&letter(&changes), &destination("http://h"), rules) {
        Err(Missing(text)) => Some(text),
        Ok(_) => None,
        other => panic!("{other:?}"),
    };
    let none = rules(&[]);
    let listed = json!({"headers": [["authorization", "Bearer [redacted]"]], "redacted": ["authorization", ":body"]});
    let text = missing(listed.clone(), &none).unwrap();
    assert!(text.contains("in authorization, :body:"), "{text}");
    assert_eq!(missing(listed.clone(), &Rules { keeps_redacted: true, ..rules(&[]) }), None);
    assert!(missing(listed, &rules(&["authorization=x"])).unwrap().contains("in :body:"));
    // A letter that says what it hides is believed: `redact` masks for the target as well.
    assert_eq!(missing(json!({"body": "{\"card\":\"[redacted]\"}"}), &none), None);
    for (old, place) in [
        (json!({"redacted": null, "headers": [["X-Key", "a[redacted]"]]}), "x-key"),
        (json!({"redacted": null, "path": "/hook/%5Bredacted%5D"}), ":path"),
        (json!({"redacted": null, "body": "{\"key\":\"[redacted]\"}"}), ":body"),
    ] {
        assert!(missing(old, &none).unwrap().contains(&format!("in {place}:")));
    }
    // A header that is left out of the letter of an item of a batch.
    let item = letter(&json!({"redacted": ["authorization"]}));
    let sent = Prepared::new(&item, &destination("http://h"), &rules(&["audit:authorization=Bearer x"])).unwrap();
    assert_eq!(sent.headers["authorization"], "Bearer x");
    assert!(!format!("{sent:?}").contains("Bearer x"));
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "/[a-zA-Z0-9%/.;~_-]{0,30}(\\?[a-z0-9=&%+/?\"{}|^`<>\\[\\]']{0,20})?".prop_map(String::into_bytes),
        "/\\PC{0,12}".prop_map(String::into_bytes),
        prop::collection::vec(0x21..0x7f_u8, 0..20).prop_map(|rest| [b"/", &rest[..]].concat()),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[ -~\t]{0,20}".prop_map(String::into_bytes),
        "\\PC{0,10}".prop_map(String::into_bytes),
        prop::collection::vec(prop_oneof![Just(9_u8), 0x20..0x7f_u8, 0x80..=0xff_u8], 0..20),
    ]
}

proptest! {
    #[test]
    fn whatever_the_engine_writes_comes_back_byte_for_byte_or_is_refused(
        method in "[A-Z]{1,7}|[A-Z!#$%&'*+.^_`|~-]{1,9}",
        path in path(),
        fields in prop::collection::vec(("x-[a-e]", value()), 0..6),
        body in prop_oneof![prop::collection::vec(any::<u8>(), 0..60), ".*".prop_map(String::into_bytes)],
        in_base64 in any::<bool>(),
    ) {
        let line = [(":method", method.as_bytes()), (":path", &path), (":authority", b"shop:80")];
        let pairs = line.into_iter().chain(fields.iter().map(|(name, value)| (name.as_str(), &value[..])));
        let headers = sidecast::http::headers::HeaderMap::from(&Pairs::from_iter(pairs));
        let written = dead_letter::Letter {
            id: Uuid::from_bytes([0x11; 16]), target: "audit", cluster: "c", reason: DropReason::Expired, attempts: 1,
            last_outcome: None, received_at: Duration::ZERO, given_up_at: Duration::ZERO, correlation_id: "c-1",
            headers: &headers, body: &body, redacted: &[], answer: None, properties: &[],
        }.envelope();
        let written = if in_base64 { data_encoding::BASE64.encode(&written).into_bytes() } else { written };
        let letter = forms::of_message(&written).unwrap();
        match Prepared::new(&letter, &destination("http://h"), &rules(&[])) {
            Ok(prepared) => {
                prop_assert_eq!(prepared.method.as_str(), &method);
                prop_assert_eq!(prepared.uri.path_and_query().unwrap().as_str().as_bytes(), &path[..]);
                prop_assert_eq!(&prepared.body[..], &body[..]);
                let mut expected: Vec<(String, Vec<u8>)> = fields.clone();
                // Names keep the place of their first value, and their values are in order.
                let first = |name: &str| fields.iter().position(|(other, _)| other == name);
                expected.sort_by_key(|(name, _)| first(name));
                expected.push((KEY.to_owned(), letter.id.clone().into_bytes()));
                prop_assert_eq!(sent_headers(&prepared), expected);
            }
            Err(Illegal(text)) => {
                // Envoy lets none of these through.
                let is_odd = path.iter().any(|byte| !byte.is_ascii_graphic() || b"#\"<>\\^`{}|[]".contains(byte));
                prop_assert!(is_odd || method == "CONNECT", "{}", text);
            }
            Err(missing) => prop_assert!(false, "{:?}", missing),
        }
    }
}
