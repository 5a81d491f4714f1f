use super::*;
use crate::config::problem::Problems;
use crate::config::Config;
use crate::http::unavailable::Unavailable;
use crate::http::work_limit::Work;
use crate::json::PointerSet;
use crate::template::Answerer;
use data_encoding::BASE64;
use proptest::prelude::*;
use serde_json::{json, Value};
use std::rc::Rc;
use std::str::FromStr;

const TRACE: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn request() -> HeaderMap {
    HeaderMap::from(&Pairs::from_iter([
        (":authority", &b"shop"[..]),
        (":path", b"/orders?a=1"),
        (":method", b"PUT"),
        (":scheme", b"https"),
        ("x-a", b"1"),
        ("traceparent", TRACE),
        ("x-latin", b"J\xf6rg"),
        ("x-a", b"\"2\""),
        ("x-sidecast-loop", b"11111111-1111-1111-1111-111111111111.mac"),
    ]))
}

fn letter<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Letter<'a> {
    Letter {
        id: Uuid::from_bytes([0x11; 16]),
        target: "audit",
        cluster: "audit.example",
        reason: DropReason::RetriesExhausted,
        attempts: 3,
        last_outcome: Some(Cause::Status(503)),
        received_at: Duration::from_millis(1_767_323_045_678),
        given_up_at: Duration::from_millis(1_767_323_046_000),
        correlation_id: "c-1",
        headers,
        body,
        redacted: &["x-a", ":body"],
        answer: None,
        properties: &[],
    }
}

fn dead_letter() -> DeadLetter {
    DeadLetter {
        cluster: "dlq".to_owned(),
        timeout: Duration::from_secs(2),
        path: Template::literal("/".to_owned()),
        authority: DeadLetter::default_authority("dlq"),
        headers: Vec::new(),
        on: vec![DropReason::Expired, DropReason::QueueFull],
        body: None,
        answers: AnswerReads::default(),
    }
}

fn terms() -> Terms {
    Terms { max_body: 1 << 20, max_work: usize::MAX, pointers: Rc::new(PointerSet::new([])) }
}

fn template(text: &str) -> Template {
    Template::from_str(text).unwrap()
}

fn headers_of(call: &Call) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    HeaderMap::new(call.headers.clone()).iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_envelope_holds_the_request_and_what_became_of_it() {
    let headers = request();
    let envelope: Value = serde_json::from_slice(&letter(&headers, b"{\"n\":1}\r\n").envelope()).unwrap();
    assert_eq!(
        envelope,
        json!({
            "version": 1,
            "id": "11111111-1111-1111-1111-111111111111",
            "target": "audit",
            "cluster": "audit.example",
            "reason": "retries_exhausted",
            "attempts": 3,
            "last_outcome": "status_503",
            "received_at": "2026-01-02T03:04:05.678Z",
            "given_up_at": "2026-01-02T03:04:06.000Z",
            "correlation_id": "c-1",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "request": {
                "method": "PUT",
                "path": "/orders?a=1",
                "authority": "shop",
                "headers": [
                    ["x-a", "1"],
                    ["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
                    ["x-latin", "Jörg"],
                    ["x-a", "\"2\""],
                    ["x-sidecast-loop", "11111111-1111-1111-1111-111111111111.mac"],
                ],
                "headers_base64": [
                    ["x-a", "MQ=="],
                    ["traceparent", BASE64.encode(TRACE)],
                    ["x-latin", "SvZyZw=="],
                    ["x-a", "IjIi"],
                    ["x-sidecast-loop", BASE64.encode(b"11111111-1111-1111-1111-111111111111.mac")],
                ],
                "redacted": ["x-a", ":body"],
                "body": "{\"n\":1}\r\n",
            },
        })
    );
}

#[test]
fn what_there_is_not_is_null() {
    let headers = HeaderMap::default();
    let letter =
        Letter { last_outcome: None, attempts: 0, reason: DropReason::QueueFull, redacted: &[], ..letter(&headers, b"") };
    let envelope: Value = serde_json::from_slice(&letter.envelope()).unwrap();
    assert_eq!(
        (&envelope["last_outcome"], &envelope["traceparent"], &envelope["attempts"], &envelope["reason"]),
        (&Value::Null, &Value::Null, &json!(0), &json!("queue_full"))
    );
    assert_eq!(
        envelope["request"],
        json!({"method": null, "path": null, "authority": null, "headers": [], "redacted": [], "body": ""})
    );
}

#[test]
fn the_call_posts_the_envelope_to_the_root_of_the_cluster() {
    let headers = request();
    let letter = letter(&headers, b"\xff");
    let call = dead_letter().call(&letter, &terms(), &Work::unbounded()).unwrap();
    assert_eq!(call.body, letter.envelope());
    assert_eq!(
        headers_of(&call),
        pairs(&[
            (":method", "POST"),
            (":path", "/"),
            (":authority", "dlq"),
            ("content-type", "application/json"),
            ("x-sidecast-loop", "11111111-1111-1111-1111-111111111111.mac"),
        ])
    );
}

#[test]
fn path_authority_and_headers_are_those_of_the_configuration() {
    let headers = request();
    let call = DeadLetter {
        path: template("/dead/${target}?from=${path}"),
        authority: template("${authority}.dlq:80"),
        headers: vec![
            ("content-type".to_owned(), template("application/x-amz-json-1.0")),
            ("x-a".to_owned(), template(" ${header:x-a}\t${body:/s}${header:absent} ")),
        ],
        ..dead_letter()
    }
    .call(&letter(&headers, br#"{"s":"a\r\nevil: 1\u0000"}"#), &terms(), &Work::unbounded())
    .unwrap();
    assert_eq!(
        headers_of(&call),
        pairs(&[
            (":method", "POST"),
            (":path", "/dead/audit?from=/orders"),
            (":authority", "shop.dlq:80"),
            ("content-type", "application/x-amz-json-1.0"),
            ("x-a", "1\taevil: 1"),
            ("x-sidecast-loop", "11111111-1111-1111-1111-111111111111.mac"),
        ])
    );
}

#[test]
fn a_template_replaces_the_envelope_and_can_hold_it() {
    let headers = request();
    let letter = letter(&headers, b"[1]");
    let template =
        json!({"e": "${dead_letter}", "b": "${dead_letter_base64}", "t": "${dead_letter}!", "n": "${attempt}", "at": "${now}"});
    let body = deserr::deserialize::<JsonTemplate, Value, Problems>(template).unwrap();
    let call = DeadLetter { body: Some(body), ..dead_letter() }.call(&letter, &terms(), &Work::unbounded()).unwrap();
    let body: Value = serde_json::from_slice(&call.body).unwrap();
    let envelope = letter.envelope();
    assert_eq!(body["e"], serde_json::from_slice::<Value>(&envelope).unwrap());
    assert_eq!(BASE64.decode(body["b"].as_str().unwrap().as_bytes()).unwrap(), envelope);
    assert_eq!(body["t"].as_str().unwrap(), String::from_utf8(envelope).unwrap() + "!");
    assert_eq!((&body["n"], &body["at"]), (&json!(3), &json!("2026-01-02T03:04:06.000Z")));
}

#[test]
fn only_the_reasons_of_the_configuration_are_worth_a_letter() {
    let dead_letter = dead_letter();
    assert!(dead_letter.wants(DropReason::Expired) && dead_letter.wants(DropReason::QueueFull));
    assert!(!dead_letter.wants(DropReason::NotRetryable));
}

#[test]
fn an_authority_that_comes_to_nothing_is_that_of_the_cluster() {
    let dead_letter = DeadLetter { authority: template("${header:x-none}"), ..dead_letter() };
    let headers = headers_of(&dead_letter.call(&letter(&request(), b""), &terms(), &Work::unbounded()).unwrap());
    assert!(headers.contains(&(":authority".to_owned(), "dlq".to_owned())), "{headers:?}");
}

#[test]
fn the_authority_is_the_host_in_the_clusters_name() {
    let headers = request();
    let authority = |cluster| {
        let call = DeadLetter { authority: DeadLetter::default_authority(cluster), ..dead_letter() }
            .call(&letter(&headers, b""), &terms(), &Work::unbounded())
            .unwrap();
        headers_of(&call).swap_remove(2).1
    };
    assert_eq!(authority("dlq"), "dlq");
    assert_eq!(authority("outbound|8080||dlq.ns.svc.cluster.local"), "dlq.ns.svc.cluster.local");
    assert_eq!(authority("a/b c"), "abc");
}

proptest! {
    #[test]
    fn any_body_comes_back_out_of_the_envelope(body in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        ".*".prop_map(String::into_bytes),
    ]) {
        let headers = request();
        let envelope: Value = serde_json::from_slice(&letter(&headers, &body).envelope()).unwrap();
        let request = &envelope["request"];
        let back = match (&request["body"], &request["body_base64"]) {
            (Value::String(text), Value::Null) => text.clone().into_bytes(),
            (Value::Null, Value::String(base64)) => BASE64.decode(base64.as_bytes()).unwrap(),
            both => panic!("{both:?}"),
        };
        prop_assert_eq!(back, body);
    }

    #[test]
    fn any_headers_give_an_envelope_and_a_call(pairs in prop::collection::vec(
        (prop::collection::vec(any::<u8>(), 0..9), prop::collection::vec(any::<u8>(), 0..40)), 0..9,
    )) {
        let headers = HeaderMap::from(&Pairs::from_iter(pairs.clone()));
        let letter = letter(&headers, b"");
        let envelope: Value = serde_json::from_slice(&letter.envelope()).unwrap();
        let values: Vec<_> = pairs.iter().filter(|(name, _)| !name.starts_with(b":")).map(|(_, value)| value.clone()).collect();
        let request = &envelope["request"];
        let values_in = |field: &str| -> Option<Vec<&str>> {
            Some(request[field].as_array()?.iter().map(|pair| pair[1].as_str().unwrap()).collect())
        };
        prop_assert_eq!(values_in("headers").unwrap().len(), values.len());
        let back: Vec<Vec<u8>> = match values_in("headers_base64") {
            Some(values) => values.iter().map(|value| BASE64.decode(value.as_bytes()).unwrap()).collect(),
            None => values_in("headers").unwrap().iter().map(|value| value.as_bytes().to_vec()).collect(),
        };
        prop_assert_eq!(back, values);
        prop_assert_eq!(headers_of(&dead_letter().call(&letter, &terms(), &Work::unbounded()).unwrap()).len(), 4);
    }
}

/// A letter whose body is this template, for a request that had this answer of the primary.
fn letter_after(template: &str, response: &str, body: Result<&[u8], Unavailable>) -> Result<String, Unfit> {
    let text = format!(
        r#"{{"targets":[{{"name":"t","cluster":"c","after":"response"{response},"dead_letter":{{"cluster":"dlq","path":"/${{response:body:/id}}","body":{{"template":{template}}}}}}}]}}"#
    );
    let config = Config::parse(text.as_bytes(), &|_| None).unwrap();
    let answer = Answer { body: body.map(<[u8]>::to_vec), ..Answer::new(Answerer::Primary, Some(200)) };
    let headers = request();
    let letter = Letter { answer: Some(&answer), ..letter(&headers, b"") };
    let call = config.targets[0].dead_letter.as_ref().unwrap().call(&letter, &config.reading, &Work::new(1 << 20))?;
    let path = headers_of(&call).into_iter().find(|(name, _)| name == ":path").unwrap().1;
    Ok(format!("{path} {}", String::from_utf8(call.body).unwrap()))
}

#[test]
fn a_letter_reads_the_bodies_of_answers_and_is_not_lost_for_one_that_cannot_be_read() {
    let template = r#"["${response:body:/id}","${response:body:/card}","${response:status}"]"#;
    let order: Result<&[u8], _> = Ok(br#"{"id":7,"card":"4111"}"#);
    assert_eq!(letter_after(template, "", order), Ok(r#"/7 [7,"4111",200]"#.to_owned()));
    let redact = r#","response":{"redact":["/card"]}"#;
    assert_eq!(letter_after(template, redact, order), Ok(r#"/7 [7,"[redacted]",200]"#.to_owned()));
    let unreadable: [Result<&[u8], _>; 4] =
        [Ok(b"no json"), Err(Unavailable::TooLong), Err(Unavailable::NoRoom), Err(Unavailable::CutOff)];
    for body in unreadable {
        assert_eq!(letter_after(template, redact, body), Ok("/ [null,null,200]".to_owned()), "{body:?}");
    }
}
