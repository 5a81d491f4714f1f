use std::io::Write;
use std::time::Duration;

use flate2::{write::GzEncoder, Compression};
use uuid::Uuid;

use super::*;
use crate::config::Config;
use crate::http::headers::{HeaderMap, Pairs};
use crate::http::request_head::RequestHead;
use crate::rewrite::capture::Needs;
use crate::rewrite::shape::{Attempt, Source, Unfit};

/// A configuration with one target for each of these `request` sections.
fn configured(requests: &[String], limits: &str) -> Config {
    let targets: Vec<String> = (0..)
        .zip(requests)
        .map(|(number, request)| format!(r#"{{"name":"t{number}","cluster":"c","request":{request}}}"#))
        .collect();
    let text = format!(r#"{{"targets":[{}],"limits":{{{limits}}}}}"#, targets.join(","));
    Config::parse(text.as_bytes(), &|_| None).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// What each target receives of a request, and the work for all of them.
fn sent(config: &Config, path: &str, coding: &str, body: &[u8]) -> (Vec<Result<Vec<u8>, Unfit>>, usize) {
    let headers = HeaderMap::from(&Pairs::from_iter([
        (":method", "POST"),
        (":path", path),
        (":authority", "shop"),
        ("content-encoding", coding),
    ]));
    let head = RequestHead::read(&headers, &config.loop_guard);
    let needs = Needs { all: true, ..Needs::default() };
    let mut captured = CapturedHead::capture(headers.clone(), head.is_grpc, None, needs, &config.correlation);
    captured.correlate(|| Uuid::from_bytes([0x22; 16]));
    let reading = Reading::new(&captured, body, &config.reading);
    let source = Source { reading: &reading, answer: None, at: Duration::ZERO };
    let of = |(target, name): (&crate::config::Target, &str)| {
        let attempt =
            Attempt { target: name, number: 1, delivery_id: Uuid::nil(), span_id: [0; 8], at: Duration::ZERO, is_shown: false };
        target.shape.call(&source, &attempt, &config.loop_guard).map(|call| call.body.into_owned())
    };
    let sent = config.targets.iter().map(|target| of((target, &target.name))).collect();
    (sent, reading.work().spent())
}

/// The work that a second target of the same kind adds to a request, and the work of the first.
fn more_work(request: &str, path: &str, coding: &str, body: &[u8]) -> (usize, usize) {
    let limits = r#""max_work_bytes":"128MiB""#;
    let of = |targets: usize| {
        let (sent, work) = sent(&configured(&vec![request.to_owned(); targets], limits), path, coding, body);
        assert!(sent.iter().all(|body| body.is_ok() && *body == sent[0]), "{request}");
        work
    };
    let one = of(1);
    ((of(32) - one) / 31, one)
}

/// A template with this many pointers.
fn pointers(count: usize) -> String {
    let all: Vec<String> = (0..count).map(|number| format!(r#""v{number}":"${{body:/k{number}}}""#)).collect();
    format!(r#"{{"body":{{"template":{{{}}}}}}}"#, all.join(","))
}

#[test]
fn a_body_is_decoded_indexed_and_searched_once_for_all_targets() {
    let body = format!("{{{}\"k1\":1}}", r#""\u0061\u0061":0,"#.repeat(60_000));
    let (more, one) = more_work(&pointers(20), "/", "gzip", &gzip(body.as_bytes()));
    assert!(one > body.len(), "{one}");
    assert!(more < 1_000, "{more} of {one}");
}

#[test]
fn a_redaction_is_applied_once_for_all_targets_that_ask_for_the_same() {
    let body = format!("[{}0]", "{\"a\":[1,2],\"b\":3},".repeat(40_000));
    let request = r#"{"body":{"redact":["/*/a","/*/c"]}}"#;
    let (more, one) = more_work(request, "/", "gzip", &gzip(body.as_bytes()));
    assert!(one > body.len() && more < 1_000, "{more} of {one}");
    let read = r#"{"body":{"redact":["/*/a","/*/c"],"template":["${body:/1/a}","${body:/1/b}"]}}"#;
    let (more, _) = more_work(read, "/", "gzip", &gzip(body.as_bytes()));
    assert!(more < 1_000, "{more}");
    let other = r#"{"body":{"redact":["/*/b"]}}"#;
    let config = configured(&[request, read, other, request].map(str::to_owned), r#""max_work_bytes":"128MiB""#);
    let numbers: Vec<usize> =
        config.targets.iter().filter_map(|target| target.shape.body.redact.as_ref()).map(Redaction::number).collect();
    assert_eq!(numbers, [0, 0, 1, 0]);
    let bodies = sent(&config, "/", "", b"[0,{\"a\":1,\"b\":2}]").0;
    let bodies: Vec<String> = bodies.into_iter().map(|body| String::from_utf8(body.unwrap()).unwrap()).collect();
    assert_eq!(bodies[0], "[0,{\"a\":\"[redacted]\",\"b\":2}]");
    assert_eq!(bodies[1], "[\"[redacted]\",2]");
    assert_eq!(bodies[2], "[0,{\"a\":1,\"b\":\"[redacted]\"}]");
    assert_eq!(bodies[3], bodies[0]);
}

#[test]
fn a_query_is_read_once_for_all_expressions_and_targets() {
    let path = format!("/?{}z=1", "a&".repeat(29_000));
    let request = r#"{"headers":{"set":{"x-a":"${query:z}${query:y}${query:x}"}}}"#;
    let (more, one) = more_work(request, &path, "", b"");
    // Each target costs only its look at the headers.
    assert!(one > path.len() * 8 && more < path.len() + 200, "{more} of {one}");
}

#[test]
fn copies_that_take_more_work_than_a_request_may_cause_are_not_made() {
    let body = format!("[{}0]", "0,".repeat(300_000));
    let all = [r#"{"body":{"redact":["/*"]}}"#, &pointers(1), "{}", r#"{"body":{"redact":["/1"]}}"#].map(str::to_owned);
    let made = |limits: &str| {
        let bodies = sent(&configured(&all, limits), "/", "gzip", &gzip(body.as_bytes())).0;
        bodies.into_iter().map(|body| body.map(|_| ())).collect::<Vec<_>>()
    };
    let too_much = Err(Unfit::TooMuchWork);
    // The other targets are not affected. A target that reads nothing never is.
    assert_eq!(made(r#""max_work_bytes":"256KiB""#), [too_much, too_much, Ok(()), too_much]);
    assert_eq!(made(""), [Ok(()), Ok(()), Ok(()), too_much]);
    assert_eq!(made(r#""max_work_bytes":"64MiB""#), [Ok(()); 4]);
}

#[test]
fn a_template_cannot_write_more_than_the_work_allows() {
    let text = "${body_text}".repeat(40);
    let request = format!(r#"{{"body":{{"template":{{"a":"{text}","b":"${{body_base64}}"}}}}}}"#);
    let body = vec![b'x'; 1 << 20];
    let (sent, work) = sent(&configured(&[request], ""), "/", "", &body);
    assert_eq!(sent, [Err(Unfit::TooMuchWork)]);
    // Nothing more is written once the work limit is exceeded.
    assert!(work < 12 << 20, "{work}");
}

#[test]
fn the_work_that_is_allowed_grows_with_the_bodies_that_are() {
    let of = |limits: &str| configured(&["{}".to_owned()], limits).reading.max_work >> 10;
    assert_eq!(of(""), 8 << 10);
    assert_eq!(of(r#""max_body_bytes":1000"#), 8 << 10);
    assert_eq!(of(r#""max_body_bytes":"4MiB""#), 32 << 10);
    assert_eq!(of(r#""max_body_bytes":"60MiB""#), 64 << 10);
    assert_eq!(of(r#""max_body_bytes":"4MiB","max_work_bytes":"128KiB""#), 128);
}
