//! `dead_letter`.

use std::rc::Rc;
use std::time::Duration;

use super::{env, of_target};
use crate::config::Config;
use crate::delivery::dead_letter::{DeadLetter, Letter};
use crate::delivery::drop_reason::DropReason;
use crate::http::headers::HeaderMap;
use crate::http::work_limit::Work;
use crate::json::PointerSet;
use crate::rewrite::reading::Terms;

/// The problems of a configuration whose dead letter has these fields in addition to its cluster.
fn of_dead_letter(fields: &str) -> Vec<String> {
    of_target(&format!(r#""dead_letter":{{"cluster":"dlq",{fields}}}"#))
}

fn dead_letter_of(text: &str) -> DeadLetter {
    Config::parse(text.as_bytes(), &env).unwrap().targets.remove(0).dead_letter.unwrap()
}

/// The headers and body of the call that a dead letter makes for an empty request.
fn call(dead_letter: &DeadLetter) -> (Vec<(String, String)>, String) {
    let letter = Letter {
        id: uuid::Uuid::nil(),
        target: "t",
        cluster: "c",
        reason: DropReason::Expired,
        attempts: 2,
        last_outcome: None,
        received_at: Duration::ZERO,
        given_up_at: Duration::ZERO,
        correlation_id: "c",
        headers: &HeaderMap::default(),
        body: b"",
        redacted: &[],
        answer: None,
        properties: &[],
    };
    let terms = Terms { max_body: 1 << 20, max_work: usize::MAX, pointers: Rc::new(PointerSet::new([])) };
    let call = dead_letter.call(&letter, &terms, &Work::unbounded()).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let headers = HeaderMap::new(call.headers).iter().map(|(name, value)| (text(name), text(value))).collect();
    (headers, text(&call.body))
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_dead_letter_has_the_documented_defaults() {
    use DropReason::{CircuitOpen, Expired, NotRetryable, QueueFull, RetriesExhausted, RetryBudget, Shutdown};
    let dead_letter = dead_letter_of(r#"{"targets":[{"name":"t","cluster":"c","dead_letter":{"cluster":"dlq"}}]}"#);
    assert_eq!((dead_letter.cluster.as_str(), dead_letter.timeout), ("dlq", Duration::from_secs(2)));
    assert_eq!(dead_letter.on, [RetriesExhausted, RetryBudget, NotRetryable, CircuitOpen, QueueFull, Expired, Shutdown]);
    let (headers, body) = call(&dead_letter);
    let expected = [(":method", "POST"), (":path", "/"), (":authority", "dlq"), ("content-type", "application/json")];
    assert_eq!(headers, owned(&expected));
    assert!(body.starts_with(r#"{"version":1,"id":"0000"#), "{body}");
}

#[test]
fn what_is_written_of_a_dead_letter_is_what_is_in_force() {
    let every_reason = [
        "retries_exhausted",
        "retry_budget",
        "not_retryable",
        "circuit_open",
        "queue_full",
        "rate_limited",
        "expired",
        "unknown_cluster",
        "shutdown",
    ];
    let text = serde_json::json!({"targets": [{"name": "t", "cluster": "c", "dead_letter": {
        "cluster": "dlq", "path": "/a/${target}?k=${env:SECRET}", "authority": "dlq:81", "timeout": "1.5s", "on": every_reason,
        "headers": {"set": {"Authorization": "Basic ${env:SECRET}", "b": "c"}},
        "body": {"template": {"n": "${attempt}", "s": ["${env:SECRET}", 1e3, -2, 0.5, true, null]}},
    }}]});
    let dead_letter = dead_letter_of(&text.to_string());
    assert_eq!(dead_letter.timeout, Duration::from_millis(1_500));
    assert_eq!(dead_letter.on.iter().map(|reason| reason.name()).collect::<Vec<_>>(), every_reason);
    let (headers, body) = call(&dead_letter);
    let expected = [
        (":method", "POST"),
        (":path", "/a/t?k=s3cret"),
        (":authority", "dlq:81"),
        ("content-type", "application/json"),
        ("authorization", "Basic s3cret"),
        ("b", "c"),
    ];
    assert_eq!(headers, owned(&expected));
    assert_eq!(body, r#"{"n":2,"s":["s3cret",1000,-2,0.5,true,null]}"#);
    assert!(!format!("{dead_letter:?}").contains("s3cret"), "{dead_letter:?}");
}

refused! {
    a_dead_letter_without_a_cluster: of_target(r#""dead_letter":{}"#) => "targets[0].dead_letter.cluster: missing, but required";
    a_dead_letter_with_an_unknown_field: of_dead_letter(r#""pth":"/""#) => "targets[0].dead_letter.pth: unknown field, expected one of `cluster`, `path`, `authority`, `headers`, `timeout`, `on`, `body`";
    a_dead_letters_path_without_a_slash: of_dead_letter(r#""path":"${path}""#) => "targets[0].dead_letter.path: expected a path that starts with \"/\"";
    a_dead_letters_path_with_a_space: of_dead_letter(r#""path":"/a b""#) => "targets[0].dead_letter.path: expected a path";
    a_dead_letters_path_with_a_fragment: of_dead_letter(r##""path":"/${path}#a""##) => "targets[0].dead_letter.path: expected a path";
    a_dead_letters_authority_with_a_path: of_dead_letter(r#""authority":"dlq/a""#) => "targets[0].dead_letter.authority: expected a host";
    a_dead_letters_authority_of_nothing: of_dead_letter(r#""authority":"""#) => "targets[0].dead_letter.authority: expected a host";
    a_dead_letters_timeout_of_nothing: of_dead_letter(r#""timeout":"0s""#) => "targets[0].dead_letter.timeout: expected a duration from 1ms to 1h";
    a_dead_letter_for_no_reason: of_dead_letter(r#""on":[]"#) => "targets[0].dead_letter.on: expected 1 to";
    a_dead_letter_of_what_could_not_be_held: of_dead_letter(r#""on":["expired","buffer_full"]"#) => "targets[0].dead_letter.on[1]: unknown value \"buffer_full\", expected one of `retries_exhausted`, `retry_budget`, `not_retryable`, `circuit_open`, `queue_full`, `rate_limited`, `expired`, `unknown_cluster`, `shutdown`";
    a_dead_letters_body_without_a_template: of_dead_letter(r#""body":{}"#) => "targets[0].dead_letter.body.template: missing, but required";
    an_unknown_expression_in_a_dead_letter: of_dead_letter(r#""body":{"template":{"a":["${dead}"]}}"#) => "targets[0].dead_letter.body.template.a[0]: unknown expression ${dead}";
    a_header_of_a_connection: of_dead_letter(r#""headers":{"set":{"Connection":"close"}}"#) => "targets[0].dead_letter.headers.set.Connection: Envoy or Sidecast sets this header itself, or it belongs to one connection";
    a_header_of_the_framing: of_dead_letter(r#""headers":{"set":{"content-length":"1"}}"#) => "targets[0].dead_letter.headers.set.content-length: Envoy or Sidecast sets this header";
    a_header_of_envoy: of_dead_letter(r#""headers":{"set":{"x-envoy-max-retries":"1"}}"#) => "targets[0].dead_letter.headers.set.x-envoy-max-retries: Envoy or Sidecast sets this header";
    a_header_of_sidecast: of_dead_letter(r#""headers":{"set":{"x-sidecast-loop":"1"}}"#) => "targets[0].dead_letter.headers.set.x-sidecast-loop: Envoy or Sidecast sets this header";
    a_host_header: of_dead_letter(r#""headers":{"set":{"Host":"a"}}"#) => "targets[0].dead_letter.headers.set.Host: the host is the authority of a request";
    a_pseudo_header: of_dead_letter(r#""headers":{"set":{":path":"/"}}"#) => "targets[0].dead_letter.headers.set.:path: expected the name of a header";
    a_line_break_in_a_header: of_dead_letter(r#""headers":{"set":{"a":"b\r\nc: d"}}"#) => "targets[0].dead_letter.headers.set.a: expected a header value without control characters";
    a_variable_that_is_not_set: of_dead_letter(r#""headers":{"set":{"authorization":"Basic ${env:NO}"}}"#) => "targets[0].dead_letter.headers.set.authorization: environment variable NO is not set; pass it in";
    a_variable_that_is_empty: of_dead_letter(r#""path":"/${env:EMPTY}""#) => "targets[0].dead_letter.path: environment variable EMPTY is empty";
    a_variable_deep_in_a_template: of_dead_letter(r#""body":{"template":{"a":[1,{"b":"${env:NO}"}]}}"#) => "targets[0].dead_letter.body.template.a[1].b: environment variable NO";
    a_response_in_a_dead_letter: of_dead_letter(r#""body":{"template":"${response:status} ${response:header:a}"}"#) => "targets[0].dead_letter.body.template: ${response:...} needs `after: response`";
    a_property_in_a_dead_letter_of_a_batch: of_target(r#""batch":{},"dead_letter":{"cluster":"d","path":"/${property:xds.route_name}"}"#) => "targets[0].dead_letter.path: ${property:...} and ${response:...} are not kept for the dead letters of a batch";
    a_variable_that_would_be_seen_in_dead_letters: of_target(r#""batch":{},"dead_letter":{"cluster":"d"},"request":{"body":{"template":["${env:SECRET}"]}}"#) => "targets[0].request.body.template[0]: with `batch` and `dead_letter`, ${env:...} is allowed only in `headers.set`: dead letters would show it";
    a_dead_letter_in_a_copy: of_target(r#""request":{"headers":{"set":{"a":"${dead_letter_base64}"}}}"#) => "targets[0].request.headers.set.a: ${dead_letter} and ${dead_letter_base64} are allowed only in `dead_letter`";
}
