//! Requests as items of a batch.

use super::codings::gzip;
use super::*;

const REQUEST: [(&str, &[u8]); 8] = [
    (":method", b"PUT"),
    (":path", b"/orders/1"),
    (":authority", b"shop"),
    ("content-type", b"application/json"),
    ("x-tenant", b"t1"),
    ("authorization", b"secret"),
    ("x-request-id", b"c1"),
    ("traceparent", PARENT),
];

fn item(request: &str, format: Format, body: &[u8]) -> Result<(Vec<String>, String), Unfit> {
    item_of(&REQUEST, request, format, body)
}

fn item_of(pairs: &[(&str, &[u8])], request: &str, format: Format, body: &[u8]) -> Result<(Vec<String>, String), Unfit> {
    let config = configured(&format!(r#","after":"response","batch":{{}},"request":{request}"#), "");
    let (captured, response) = (captured(&config, pairs), response());
    let reading = Reading::new(&captured, body, &config.reading);
    let (line, json) = config.targets[0].shape.item(&source(&reading, &response), &attempt(), format)?;
    let line = owned(&HeaderMap::from(&line)).into_iter();
    Ok((
        line.map(|(name, value)| format!("{name}={}", String::from_utf8(value).unwrap())).collect(),
        String::from_utf8(json.into_owned()).unwrap(),
    ))
}

#[test]
fn a_call_of_many_says_only_what_is_configured() {
    let (line, json) = item("{}", Format::JsonArray, b" {\"a\" : \"x y\",\r\n \"b\":1.0}\n").unwrap();
    assert_eq!(line, [":method=POST", ":path=/orders/1", ":authority=shop", "content-type=application/json"]);
    assert_eq!(json, r#"{"a":"x y","b":1.0}"#);
    let request =
        r#"{"method":"PUT","path":"/batch","authority":"b","headers":{"forward":["x-tenant"],"set":{"x-key":"${env:TOKEN}"}}}"#;
    let (line, _) = item(request, Format::Ndjson, b"1").unwrap();
    let expected =
        [":method=PUT", ":path=/batch", ":authority=b", "x-tenant=t1", "content-type=application/x-ndjson", "x-key=t0kenx: y"];
    assert_eq!(line, expected);
}

#[test]
fn what_described_one_body_is_not_said_of_many() {
    let pairs = [&REQUEST[..], &[("content-encoding", &b"identity"[..]), ("content-language", b"de"), ("digest", b"x")]].concat();
    let request = r#"{"headers":{"forward":["content-type","content-encoding","content-language","digest","x-tenant"]}}"#;
    let (line, _) = item_of(&pairs, request, Format::Ndjson, b"1").unwrap();
    let expected = [":method=POST", ":path=/orders/1", ":authority=shop", "x-tenant=t1", "content-type=application/x-ndjson"];
    assert_eq!(line, expected);
}

#[test]
fn an_item_is_shaped_by_itself() {
    let request = r#"{"body":{"redact":["/card"],"template":{"id":"${delivery_id}","card":"${body:/card}","n":"${body:/n}"}}}"#;
    let (_, json) = item(request, Format::Ndjson, b"{\"card\":1,\n\"n\":[1,\n2]}").unwrap();
    assert_eq!(json, format!(r#"{{"card":"[redacted]","id":"{ID}","n":[1,2]}}"#));
}

#[test]
fn a_body_that_is_no_json_is_no_item() {
    for body in [&b""[..], b"text", b"{}{}"] {
        assert_eq!(item("{}", Format::JsonArray, body), Err(Unfit::BodyNotJson), "{body:?}");
    }
    assert_eq!(item(r#"{"body":{"template":{"m":"${method}"}}}"#, Format::JsonArray, b"").unwrap().1, r#"{"m":"PUT"}"#);
}

#[test]
fn an_encoded_body_is_an_item_once_it_is_decoded() {
    let encoded = |coding: &'static [u8]| [&REQUEST[..], &[("content-encoding", coding)]].concat();
    let gzip = gzip(b"{\"a\" : 1}");
    for request in ["{}", r#"{"body":{"redact":["/b"]}}"#, r#"{"body":{"template":"${body}"}}"#] {
        let (line, json) = item_of(&encoded(b"gzip"), request, Format::JsonArray, &gzip).unwrap();
        assert!(!line.iter().any(|header| header.starts_with("content-encoding")), "{line:?}");
        assert_eq!(json.replace(' ', ""), r#"{"a":1}"#, "{request}");
        assert_eq!(item_of(&encoded(b"br"), request, Format::JsonArray, &gzip), Err(Unfit::BodyNotJson), "{request}");
    }
    // The template does not read the body.
    let request = r#"{"body":{"template":{"m":"${method}"}}}"#;
    assert_eq!(item_of(&encoded(b"br"), request, Format::JsonArray, &gzip).unwrap().1, r#"{"m":"PUT"}"#);
}

#[test]
fn an_item_in_a_letter_shows_no_variable() {
    let config = configured(r#","batch":{},"request":{"headers":{"set":{"x-key":"${env:TOKEN}","x-tenant":"t"}}}"#, "");
    let line = Pairs::from_iter([(":path", "/batch"), ("x-key", "t0ken"), ("x-tenant", "t")]);
    let shown = Attempt { is_shown: true, ..attempt() };
    let call = config.targets[0].shape.batch_call(&line, Cow::Borrowed(b"1"), &shown, &LoopGuard::new(None)).unwrap();
    let sent = owned(&HeaderMap::new(call.headers));
    assert_eq!((value(&sent, "x-key"), value(&sent, "x-tenant")), (None, Some("t")));
}

#[test]
fn the_call_of_a_batch_has_an_id_of_its_own_and_a_mark() {
    let line = Pairs::from_iter([(":path", "/batch")]);
    let guard = LoopGuard::new(None);
    let call = Rewrite::default().batch_call(&line, Cow::Borrowed(b"[1]"), &Attempt { number: 2, ..attempt() }, &guard).unwrap();
    let expected = [
        (":path", "/batch"),
        ("x-sidecast-target", "audit"),
        ("x-sidecast-attempt", "2"),
        ("x-sidecast-loop", ID),
        ("idempotency-key", ID),
    ];
    let headers = HeaderMap::new(call.headers);
    let sent: Vec<_> =
        headers.iter().map(|(name, value)| (std::str::from_utf8(name).unwrap(), std::str::from_utf8(value).unwrap())).collect();
    assert_eq!(sent, expected);
}

#[test]
fn the_call_of_a_batch_keeps_a_key_that_is_set() {
    let line = Pairs::from_iter([("idempotency-key", "mine")]);
    let call = Rewrite::default().batch_call(&line, Cow::Borrowed(b"[1]"), &attempt(), &LoopGuard::new(None)).unwrap();
    assert_eq!(value(&owned(&HeaderMap::new(call.headers)), "idempotency-key"), Some("mine"));
}
