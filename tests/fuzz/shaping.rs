//! Whole requests as targets receive them: what must not leave does not, and what ties a copy to its primary does.

use serde_json::{json, Value};
use sidecast::http::header_names::{objection, Use};
use sidecast::rewrite::shape::Unfit;

use crate::choices::Choices;
use crate::document::{pointers, spelled, Doc, NUMBERS};
use crate::encodings::encoded;
use crate::hold;
use crate::redaction::{plant, unescaped, SECRET};
use crate::request::{configured, only, sent, value, Headers, Request};

/// Names of headers, some of them nobody's to pass on.
const NAMES: [&str; 24] = [
    "x-a",
    "x-b",
    "accept",
    "content-type",
    "content-encoding",
    "content-language",
    "digest",
    "content-md5",
    "authorization",
    "cookie",
    "x-api-key",
    "x-forwarded-client-cert",
    "proxy-authorization",
    "connection",
    "te",
    "content-length",
    "x-envoy-retry-on",
    "x-sidecast-target",
    "x-sidecast-loop",
    "proxy-connection",
    "idempotency-key",
    "x-request-id",
    "traceparent",
    "tracestate",
];
const SENSITIVE: [&str; 5] = ["authorization", "cookie", "x-api-key", "x-forwarded-client-cert", "proxy-authorization"];
const NEVER: [&str; 4] = ["connection", "content-length", "x-envoy-retry-on", "proxy-connection"];

fn names(choices: &mut Choices<'_>, most: usize) -> Vec<&'static str> {
    choices.some(most, |choices| *choices.one_of(&NAMES))
}

/// Those of them that a configuration may name.
fn configurable(choices: &mut Choices<'_>, most: usize) -> Vec<&'static str> {
    names(choices, most).into_iter().filter(|name| objection(name, Use::Send).is_none()).collect()
}

fn headers(choices: &mut Choices<'_>, coding: &str) -> Headers {
    let mut headers: Headers = [
        (":method", "PUT"),
        (":path", "/orders/7?q=1"),
        (":scheme", "https"),
        (":authority", "shop"),
        ("content-encoding", coding),
    ]
    .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
    .to_vec();
    for name in names(choices, 12) {
        let value = match name {
            "content-encoding" => continue,
            "connection" => choices.one_of(&[&b"x-b"[..], b"close, X-A", b""]).to_vec(),
            "traceparent" => {
                choices.one_of(&[&b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"[..], b"00-bad"]).to_vec()
            }
            "content-type" => choices.one_of(&[&b"application/json"[..], b"application/grpc", b"text/plain"]).to_vec(),
            _ => value(choices),
        };
        headers.push((name.to_owned(), value));
    }
    headers
}

/// What a target asks for.
struct Asked {
    request: Value,
    forward: Option<Vec<&'static str>>,
    sensitive: bool,
    remove: Vec<&'static str>,
    set: Vec<&'static str>,
}

fn asked(choices: &mut Choices<'_>, doc: &Doc, redact: &[Vec<String>]) -> Asked {
    let forward = (choices.once_in(2)).then(|| configurable(choices, 4));
    let sensitive = choices.once_in(3);
    let remove = configurable(choices, 2);
    let mut set: Vec<&str> =
        choices.some(2, |choices| *choices.one_of(&["x-new", "x-a", "content-type", "cookie", "idempotency-key", "traceparent"]));
    set.sort_unstable();
    set.dedup();
    let pointer = spelled(choices.one_of::<Vec<String>>(&doc.ways()));
    let pointer = if pointer.contains(['*', '}']) { String::new() } else { pointer };
    let text = format!("<${{body:{pointer}}}${{body_text}}${{body_base64}}>");
    let values: serde_json::Map<String, Value> = set.iter().map(|name| ((*name).to_owned(), json!(text))).collect();
    let mut request = json!({
        "headers": {
            "forward": forward.as_ref().map_or(json!("all"), |names| json!(names)),
            "sensitive": if sensitive { "forward" } else { "strip" },
            "remove": remove,
            "set": values,
        },
        "body": {"redact": redact.iter().map(|pointer| spelled(pointer)).collect::<Vec<_>>()},
    });
    if choices.once_in(2) {
        request["method"] = json!("PATCH");
        request["path"] = json!(format!("/p?{text}").replace(['<', '>'], "_"));
    }
    match choices.below(3) {
        0 => {}
        1 => request["body"]["template"] = json!({"whole": "${body}", "one": format!("${{body:{pointer}}}"), "text": text}),
        _ => request["body"]["omit"] = json!(true),
    }
    Asked { request, forward, sensitive, remove, set }
}

/// The secret, however text may hide it: in escapes, percent-encoded, in base64 at any offset.
pub(crate) fn holds_secret(bytes: &[u8]) -> bool {
    let percent = percent_encoding::percent_decode(bytes).decode_utf8_lossy().into_owned();
    let text = unescaped(&percent);
    let base64 = text.split(|char: char| !(char.is_ascii_alphanumeric() || "+/=".contains(char))).any(|word| {
        data_encoding::BASE64
            .decode(word.as_bytes())
            .is_ok_and(|plain| unescaped(&String::from_utf8_lossy(&plain)).contains(SECRET))
    });
    text.contains(SECRET) || unescaped(&text).contains(SECRET) || base64
}

fn law(choices: &mut Choices<'_>) {
    let mut doc = Doc::any(choices, &NUMBERS);
    let redact = pointers(choices, &doc, 2);
    doc.change(&redact, &mut |value| plant(choices, value));
    let asked = asked(choices, &doc, &redact);
    let text = doc.write(choices).text;
    let (coding, mut body) = encoded(choices, text.as_bytes());
    let is_damaged = choices.once_in(8);
    if is_damaged {
        choices.damage(&mut body, 2);
    }
    let request = Request { headers: headers(choices, coding), body, answered: Vec::new() };
    let batched = asked.request["body"]["omit"] != json!(true) && choices.once_in(3);
    let mut target = json!({"name": "audit", "cluster": "c", "after": "response", "request": asked.request});
    if batched {
        target["batch"] = json!({"format": *choices.one_of(&["json_array", "ndjson"])});
    }
    let config = configured(json!([target]));
    let outcome = sent(&config, &request, batched);
    assert_eq!(outcome, sent(&config, &request, batched), "the second time");
    let (headers, body) = match outcome {
        Ok(sent) => sent,
        Err(unfit) => {
            assert_eq!(unfit, Unfit::BodyNotJson);
            assert!(is_damaged, "{text} is JSON");
            return;
        }
    };

    if !redact.is_empty() && !is_damaged {
        assert!(!holds_secret(&body), "{}", String::from_utf8_lossy(&body));
        for (name, value) in &headers {
            // The primary's own headers are nobody's business here.
            assert!(!holds_secret(value), "{name}: {}", String::from_utf8_lossy(value));
        }
    }
    if batched {
        assert!(!body.contains(&b'\n'), "an item is one line");
        sidecast::json::parse(&body).unwrap();
    }
    let is_plain =
        redact.is_empty() && asked.request["body"].get("template").is_none() && asked.request["body"].get("omit").is_none();
    if !batched && is_plain {
        assert_eq!(body, request.body, "nothing is asked of the body");
    }
    let count = |name: &str| headers.iter().filter(|(other, _)| other == name).count();
    if !is_plain && !batched {
        for name in ["content-encoding", "content-md5", "digest"] {
            assert_eq!(count(name), 0, "{name} is about another body");
        }
    }
    for name in NEVER {
        assert_eq!(count(name), 0, "{name}");
    }
    for name in SENSITIVE {
        let named = asked.forward.as_ref().map_or(asked.sensitive, |names| names.contains(&name));
        assert!(named || asked.set.contains(&name) || count(name) == 0, "{name}");
    }
    for name in &asked.remove {
        assert!(asked.set.contains(name) || count(name) == 0 || ours(name, batched), "{name} was removed");
    }
    for name in &asked.set {
        let value = only(&headers, name);
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{name}: {value:?}");
    }
    for (name, _) in headers.iter().filter(|(name, _)| name.starts_with(':')) {
        only(&headers, name);
    }
    let path = only(&headers, ":path");
    assert!(path.starts_with(b"/") && path.iter().all(u8::is_ascii_graphic), "{}", String::from_utf8_lossy(path));
    if !batched {
        for name in ["x-sidecast-target", "x-sidecast-loop"] {
            only(&headers, name);
        }
        let is_removed = asked.remove.contains(&"x-request-id");
        assert!(is_removed || count("x-request-id") >= 1, "no correlation id");
        assert!(count("idempotency-key") >= 1);
    }
}

/// Sent with every call, whatever a target removes.
fn ours(name: &str, batched: bool) -> bool {
    !batched && (name.starts_with("x-sidecast-") || name == "idempotency-key" || name == "te")
}

#[test]
fn what_must_not_leave_does_not_and_what_ties_a_copy_to_its_primary_does() {
    hold(768, law);
}
