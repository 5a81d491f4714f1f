//! The bodies of targets that change something.

use super::*;
use serde_json::{json, Value};

const ORDER: &str =
    r#"{"id":7,"card":{"number":"4111","name":"J"},"items":[{"ssn":"1","n":1.50},{"ssn":"2"}],"total":12345678901234567890.10}"#;

/// The body that is sent of a request, and the headers that describe it.
fn sent_body(request: &str, headers: &[(&str, &[u8])], body: &[u8]) -> Result<(Vec<String>, String), Unfit> {
    let line: [(&str, &[u8]); 3] = [(":method", b"POST"), (":path", b"/o"), (":authority", b"a")];
    let (sent, body) = call(&asking(request), &[&line[..], headers].concat(), body)?;
    let described = sent.into_iter().filter(|(name, _)| name.starts_with("content-") || name.ends_with("digest"));
    let described = described.map(|(name, value)| format!("{name}={}", String::from_utf8(value).unwrap())).collect();
    Ok((described, String::from_utf8(body).unwrap()))
}

const DESCRIBED: [(&str, &[u8]); 9] = [
    ("content-type", b"application/vnd.shop+json"),
    ("content-md5", b"x"),
    ("digest", b"x"),
    ("repr-digest", b"x"),
    ("content-digest", b"x"),
    ("content-range", b"bytes 0-1/2"),
    ("content-language", b"de"),
    ("content-location", b"/o/1"),
    ("content-disposition", b"inline"),
];

#[test]
fn a_template_is_sent_as_json_and_nothing_that_described_the_primarys_body() {
    let request = r#"{"body":{"template":{"order":"${body:/id}","first":"${body:/items/0/n}","text":"no ${body:/id}","none":"${body:/x}",
        "total":"${body:/total}","all":"${body:/items}","fix":[1,true],"at":"${now_ms}","status":"${response:status}"}}}"#;
    let (described, body) = sent_body(request, &DESCRIBED, ORDER.as_bytes()).unwrap();
    assert_eq!(described, ["content-type=application/json"]);
    // The parser of the configuration sorts keys.
    let expected = concat!(
        r#"{"all":[{"ssn":"1","n":1.50},{"ssn":"2"}],"at":1767323045678,"first":1.50,"fix":[1,true],"none":null,"#,
        r#""order":7,"status":201,"text":"no 7","total":12345678901234567890.10}"#
    );
    assert_eq!(body, expected);
}

#[test]
fn a_content_type_that_is_set_stays() {
    let request = r#"{"headers":{"set":{"content-type":"application/cloudevents+json"}},"body":{"template":{}}}"#;
    assert_eq!(
        sent_body(request, &DESCRIBED, b"").unwrap(),
        (vec!["content-type=application/cloudevents+json".to_owned()], "{}".to_owned())
    );
}

#[test]
fn redaction_changes_nothing_else_and_is_seen_by_templates_too() {
    let redact = r#""redact":["/card/number","/items/*/ssn"]"#;
    let (described, body) = sent_body(&format!(r#"{{"body":{{{redact}}}}}"#), &DESCRIBED, ORDER.as_bytes()).unwrap();
    let of_the_text =
        ["content-type=application/vnd.shop+json", "content-language=de", "content-location=/o/1", "content-disposition=inline"];
    assert_eq!(described, of_the_text);
    let expected =
        ORDER.replace("\"4111\"", "\"[redacted]\"").replace("\"1\"", "\"[redacted]\"").replace("\"2\"", "\"[redacted]\"");
    assert_eq!(body, expected);
    let template = format!(
        r#"{{"path":"/${{body:/card/number}}","headers":{{"set":{{"x-a":"${{body_text}}"}}}},"body":{{{redact},"template":["${{body:/card}}","${{body_base64}}","${{body_text}}"]}}}}"#
    );
    let line: [(&str, &[u8]); 3] = [(":method", b"POST"), (":path", b"/o"), (":authority", b"a")];
    let (headers, body) = call(&asking(&template), &line, ORDER.as_bytes()).unwrap();
    assert_eq!(value(&headers, ":path"), Some("/%5Bredacted%5D"));
    let sent = format!("{headers:?}{}", String::from_utf8(body.clone()).unwrap());
    assert!(!sent.contains("4111"), "{sent}");
    let base64 = serde_json::from_slice::<Value>(&body).unwrap()[1].as_str().unwrap().to_owned();
    assert_eq!(data_encoding::BASE64.decode(base64.as_bytes()).unwrap(), expected.as_bytes());
}

#[test]
fn an_omitted_body_leaves_nothing_of_it() {
    let (described, body) = sent_body(r#"{"body":{"omit":true}}"#, &DESCRIBED, ORDER.as_bytes()).unwrap();
    assert_eq!((described, body.as_str()), (vec![], ""));
}

#[test]
fn a_body_that_nobody_reads_is_sent_byte_for_byte() {
    for body in [&b"\xff\x00 no text"[..], b"", b"{broken", "\u{feff}{}".as_bytes()] {
        let request = r#"{"path":"/x","headers":{"set":{"x-size":"${body_base64}"}}}"#;
        let (_, sent) = call(&asking(request), &[(":path", b"/o"), ("content-encoding", b"gzip")], body).unwrap();
        assert_eq!(sent, body);
    }
}

#[test]
fn a_body_that_must_be_read_and_is_no_json_is_not_sent() {
    let deep = "[".repeat(200) + &"]".repeat(200);
    for body in ["no json", "{\"a\":1}{", "{\"a\":\"\\ud800\"}", " ", "\u{feff}", &deep] {
        for request in [r#"{"body":{"redact":["/a"]}}"#, r#"{"path":"/${body:/a}"}"#, r#"{"body":{"template":{"a":"${body}"}}}"#]
        {
            assert_eq!(sent_body(request, &[], body.as_bytes()), Err(Unfit::BodyNotJson), "{request} {body:?}");
        }
    }
}

#[test]
fn a_template_that_reads_no_json_takes_any_body() {
    let (_, body) = sent_body(r#"{"body":{"template":{"raw":"${body_text}"}}}"#, &[], b"no json").unwrap();
    assert_eq!(body, r#"{"raw":"no json"}"#);
}

#[test]
fn what_is_asked_of_an_empty_body_is_absent() {
    let request =
        r#"{"path":"/${body:/a}","body":{"redact":["/a"],"template":{"a":"${body:/a}","body":"${body}","m":"${method}"}}}"#;
    assert_eq!(sent_body(request, &[], b"").unwrap().1, r#"{"a":null,"body":null,"m":"POST"}"#);
}

#[test]
fn odd_json_is_read_as_documented() {
    for (body, a) in [
        (r#"{"a":1,"a":2}"#, "2"),
        (r#"{"a":1e999}"#, "1e999"),
        (r#"{"a":0.30000000000000004}"#, "0.30000000000000004"),
        (r#"{"\u0061":"\ud83d\ude00"}"#, r#""\ud83d\ude00""#),
        ("\u{feff}{\"a\":[ 1 , 2 ]}", "[1,2]"),
    ] {
        let (_, sent) = sent_body(r#"{"body":{"template":"${body:/a}"}}"#, &[], body.as_bytes()).unwrap();
        assert_eq!(sent, a, "{body}");
    }
}

proptest! {
    /// A rendered template is JSON of the same shape, whatever values are filled in. A value that is text stays that text.
    #[test]
    fn values_stay_in_their_places(header in "\\PC{0,20}", text in any::<String>(), body in prop::collection::vec(any::<u8>(), 0..30)) {
        let request = r#"{"body":{"template":{"h":"${header:x-a}","t":"<${header:x-a}>","b":"${body_text}","s":"${response:header:location}","k":"${body:/k}"}}}"#;
        let json = json!({"k": text}).to_string();
        let line: [(&str, &[u8]); 2] = [(":path", b"/o"), ("x-a", header.as_bytes())];
        let (_, sent) = call(&asking(request), &line, json.as_bytes()).unwrap();
        let expected = json!({"h": header, "t": format!("<{header}>"), "b": json, "s": "/orders/7", "k": text});
        prop_assert_eq!(serde_json::from_slice::<Value>(&sent).unwrap(), expected);
        // With an arbitrary body, the result is JSON or nothing.
        if let Ok((_, sent)) = call(&asking(request), &line, &body) {
            prop_assert!(serde_json::from_slice::<Value>(&sent).is_ok());
        }
    }

    /// A redacted value leaves in no form: not in the body, the path, a header, nor encoded.
    #[test]
    fn a_secret_that_is_redacted_never_leaves(secret in "[a-z]{12}", other in any::<String>(), depth in 0_usize..4) {
        let mut planted = json!({"number": secret, "more": [secret, {"x": secret}]});
        for _ in 0..depth {
            planted = json!([other, planted]);
        }
        let body = json!({"other": other, "card": planted, "list": [{"ssn": secret}, {"ssn": {"deep": [secret]}}]}).to_string();
        let request = r#"{"path":"/p?b=${body}&c=${body:/card}","headers":{"set":{"x-a":"${body_text}","x-b":"${body_base64}"}},
            "body":{"redact":["/card","/list/*/ssn"],"template":["${body}","${body_text}","${body_base64}","${body:/card/number}"]}}"#;
        prop_assume!(!other.contains(&secret));
        let (headers, sent) = call(&asking(request), &[(":path", b"/o"), (":authority", b"a")], body.as_bytes()).unwrap();
        let mut texts = vec![sent.clone()];
        texts.extend(headers.into_iter().map(|(_, value)| value));
        let base64 = serde_json::from_slice::<Value>(&sent).unwrap()[2].as_str().unwrap().to_owned();
        texts.push(data_encoding::BASE64.decode(base64.as_bytes()).unwrap());
        for text in texts {
            prop_assert!(!String::from_utf8_lossy(&text).contains(&secret));
        }
    }
}
