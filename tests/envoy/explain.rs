//! `sidecast explain` shows what targets receive in a real Envoy.
//!
//! What differs is random (ids of requests, deliveries and spans), not known to the tool (a variable of the environment), or added by Envoy
//! when it sends ([`ADDED`]).

use std::process::Command;

use bytes::Bytes;
use hyper::http::request::Builder;
use serde_json::{json, Value};

use crate::scene::{target, Scene};
use crate::support::answer::{Answer, Behaviour};
use crate::support::client::full;
use crate::support::rabbitmq::BASIC;
use crate::support::recorded::Recorded;

const ORDER: &str = r#"{ "id": 7, "card": {"number":"4111-1111","name":"J"}, "items": [{"ssn":"123-45","n":1.50}] }"#;

/// The targets: how each is named, and what it asks for.
fn targets() -> [(&'static str, Value); 9] {
    [
        ("plain", json!({})),
        (
            "path",
            json!({"request": {"method": "PATCH", "path": "/e/${query:user}/${target}?src=${path}&q=${header:x-tenant}", "authority": "${target}.internal:8080"}}),
        ),
        (
            "headers",
            json!({"request": {"headers": {
                "forward": ["x-tenant", "cookie", "idempotency-key"],
                "set": {"authorization": "Basic ${env:RABBIT_BASIC}", "x-id": "${delivery_id}/${correlation_id}/${attempt}", "x-port": "${authority}"},
            }}}),
        ),
        (
            "sensitive",
            json!({"request": {"headers": {"sensitive": "forward", "remove": ["x-tenant", "traceparent", "x-request-id"]}}}),
        ),
        ("redact", json!({"request": {"body": {"redact": ["/card/number", "/items/*/ssn"]}}})),
        (
            "template",
            json!({"request": {"body": {"redact": ["/card/number"], "template": {"order": "${body:/id}", "card": "${body:/card}", "n": "${body:/items/0/n}", "text": "${body_text}"}}}}),
        ),
        ("omit", json!({"request": {"body": {"omit": true}}})),
        (
            "answered",
            json!({"after": "response", "statuses": ["201"], "request": {"path": "/${response:status}${response:header:location}", "headers": {"set": {"x-at": "${response:header:location}"}}}}),
        ),
        (
            "batched",
            json!({"batch": {"max_items": 1}, "request": {"path": "/bulk", "headers": {"forward": ["x-tenant"]}, "body": {"redact": ["/card"]}}}),
        ),
    ]
}

/// What Envoy's router adds to every call.
const ADDED: [&str; 3] = ["content-length", "x-envoy-expected-rq-timeout-ms", "x-envoy-internal"];

/// A request, and how it is told to the tool.
struct Sent {
    line: (&'static str, &'static str),
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
}

const SENT: [Sent; 4] = [
    Sent { line: ("GET", "/orders/1%20a?user=J%C3%B6rg%20%26&b=2"), headers: &[("accept", "*/*")], body: "" },
    Sent {
        line: ("POST", "/orders?user=u"),
        headers: &[
            ("content-type", "application/json; charset=utf-8"),
            ("content-language", "de"),
            ("x-tenant", "t 1/ä"),
            ("x-tenant", "second"),
            ("authorization", "Bearer of-the-user"),
            ("cookie", "session=1"),
            ("x-api-key", "k"),
            ("x-request-id", "c0ffee"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("tracestate", "a=b"),
        ],
        body: ORDER,
    },
    Sent {
        line: ("PUT", "/a/../b//c?user=%2e%2e"),
        headers: &[
            ("connection", "x-of-connection"),
            ("x-of-connection", "1"),
            ("te", "trailers"),
            ("x-envoy-retry-on", "5xx"),
            ("proxy-authorization", "p"),
            ("idempotency-key", "of-the-client"),
            ("traceparent", "none"),
            ("tracestate", "a=b"),
        ],
        body: "[1,{\"card\":{\"number\":2}}]",
    },
    Sent { line: ("DELETE", "/"), headers: &[("x-forwarded-proto", "https"), ("content-type", "application/json")], body: "{}" },
];

/// What the tool shows for each target.
fn explained(configuration: &Value, authority: &str, sent: &Sent) -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("configuration.json");
    std::fs::write(&file, configuration.to_string()).unwrap();
    let mut tool = Command::new(env!("CARGO_BIN_EXE_sidecast"));
    tool.arg("explain").arg(file).args(["--format", "json", "--authority", authority, "--body", sent.body]);
    tool.arg("--request").arg(format!("{} {}", sent.line.0, sent.line.1));
    for (name, value) in sent.headers {
        tool.arg("--header").arg(format!("{name}: {value}"));
    }
    tool.args(["--answer", "201", "--answer-header", "Location: /orders/7 a"]);
    let output = tool.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    all[0]["targets"].as_array().unwrap().clone()
}

/// A request in the form of both sides: its headers in the order of their names, those of one name as they came.
#[derive(Debug, PartialEq)]
struct Request {
    line: [String; 3],
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Request {
    fn shown(shown: &Value) -> Self {
        let text = |name: &str| shown[name].as_str().unwrap().to_owned();
        let mut headers: Vec<(String, String)> = serde_json::from_value(shown["headers"].clone()).unwrap();
        headers.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self { line: [text("method"), text("path"), text("authority")], headers, body: text("body").into() }
    }

    /// What is random in it is put as the tool puts it.
    fn received(recorded: &Recorded, shown: &Self, request_id: (&str, &str)) -> Self {
        let (mark, shown_mark) =
            (recorded.only("x-sidecast-loop"), shown.headers.iter().find(|(name, _)| name == "x-sidecast-loop"));
        let ids = [(mark.as_str(), shown_mark.unwrap().1.as_str()), request_id];
        let known = |text: &str| {
            let text = text.replace(BASIC, "${env:RABBIT_BASIC}");
            ids.iter().fold(text, |text, (id, shown)| text.replace(id, shown))
        };
        let mut headers = Vec::new();
        for (name, value) in recorded.headers.iter().filter(|(name, _)| !ADDED.contains(&name.as_str())) {
            let mut value = known(std::str::from_utf8(value).unwrap());
            if name == "traceparent" {
                // Version, trace, span, flags.
                assert_eq!((value.len(), value.matches('-').count()), (55, 3));
                let (_, shown) = shown.headers.iter().find(|(name, _)| name == "traceparent").unwrap();
                value.replace_range(36..52, &shown[36..52]);
            }
            headers.push((name.clone(), value));
        }
        headers.sort_by(|(one, _), (other, _)| one.cmp(other));
        let line = [recorded.method.clone(), recorded.path.clone(), recorded.authority.clone()];
        Self { line, headers, body: known(std::str::from_utf8(&recorded.body()).unwrap()).into() }
    }
}

const SHOWN_REQUEST_ID: &str = "00000000-0000-4000-8000-000000000001";

#[tokio::test]
async fn what_is_explained_is_what_targets_receive() {
    let targets = targets();
    let names = targets.clone().map(|(name, _)| name);
    let configured: Vec<Value> = targets
        .into_iter()
        .map(|(name, asks)| {
            let mut target = target(name);
            target.as_object_mut().unwrap().extend(asks.as_object().unwrap().clone());
            target
        })
        .collect();
    let configuration = json!({ "targets": configured });
    let scene = Scene::configured(names, configuration.clone()).await;
    let mut answer = Answer::status(201);
    answer.headers.push(("location", "/orders/7 a".to_owned()));
    scene.primary.behave(Behaviour::Answer(answer));
    let authority = scene.envoy.address("main").to_string();
    // There is no `connection` in HTTP/2.
    let of_http2 = SENT.iter().filter(|sent| sent.headers.iter().all(|(name, _)| *name != "connection"));
    let of_http1 = SENT.iter().map(|sent| (scene.client(), sent));
    for (client, sent) in of_http1.chain(of_http2.map(|sent| (scene.http2_client(), sent))) {
        let mut shown = explained(&configuration, &authority, sent);
        let with = |request: Builder, (name, value): &(&str, &str)| request.header(*name, value.as_bytes());
        let request = sent.headers.iter().fold(client.request(sent.line.0, sent.line.1), with);
        client.send(request.body(full(sent.body)).unwrap()).await;
        let request_id = scene.primary.take_one().await.only("x-request-id");
        let told_id = sent.headers.iter().find(|(name, _)| *name == "x-request-id").map_or(SHOWN_REQUEST_ID, |(_, id)| id);
        for ((target, name), told) in scene.targets.iter().zip(names).zip(&mut shown) {
            if sent.body.is_empty() && name == "batched" {
                assert_eq!((&told["verdict"], &told["counts"]), (&json!("none"), &json!("dropped.body_not_json")), "{told}");
                continue;
            }
            if sent.line.1.contains("user=%2e%2e") && name == "path" {
                assert_eq!((&told["verdict"], &told["counts"]), (&json!("none"), &json!("dropped.unsafe_path")), "{told}");
                continue;
            }
            assert_eq!((&told["target"], &told["verdict"]), (&json!(name), &json!("copy")), "{told}");
            let shown = Request::shown(&told["request"]);
            let received = Request::received(&target.take_one().await, &shown, (&request_id, told_id));
            assert_eq!(received, shown, "{name} of {:?}", sent.line);
        }
    }
    // What is told to be dropped is.
    let stats = scene.envoy.settled_at("batched", 7).await;
    assert_eq!(stats.drops("batched"), [("body_not_json".to_owned(), 2)].into());
    assert_eq!(scene.envoy.settled_at("path", 7).await.drops("path").into_keys().collect::<Vec<_>>(), ["unsafe_path"]);
    assert!(scene.targets.iter().all(|target| target.received().is_empty()));
}
