//! Targets whose rules look at the body: it decides when it is there, and what it cannot decide is counted.

use std::time::Duration;

use serde_json::{json, Value};

use crate::{
    compare::{answered, counts, of_primary, of_target},
    configurations::{assert_balanced, audit_with, dropped, mirroring_with, only, target, targets, with},
    host::{Answer, Host, Request, Response, Stream, Worker},
};

const ORDER: &str = r#"{"type":"order","id":7}"#;
const OTHER: &str = r#"{"type":"refund","id":8}"#;

/// Sends one request.
type Send = fn(&Worker);

/// A target that wants orders.
fn orders(fields: &Value) -> Value {
    with(json!({"match": [{"methods": ["POST"], "body": [{"pointer": "/type", "exact": "order"}]}]}), fields)
}

fn mirroring_orders(fields: &Value) -> (Host, Worker) {
    mirroring_with(&audit_with(&orders(fields)))
}

fn post(body: &str) -> Request {
    Request::post("/").body(body)
}

fn delivered(host: &Host, worker: &Worker) -> i64 {
    worker.answer_all(&Answer::upstream(200));
    assert_balanced(host, "audit");
    host.stat("audit", "delivered")
}

#[test]
fn a_request_counts_as_matched_when_its_body_says_so() {
    let (host, worker) = mirroring_orders(&json!({}));
    let stream = worker.begin(&Request::post("/"), false);
    stream.chunk(r#"{"type":"#, false);
    assert_eq!(host.stat("audit", "matched"), 0);
    stream.chunk(r#""order"}"#, true);
    assert_eq!(host.stat("audit", "matched"), 1);
    stream.close();
    worker.exchange(&post(OTHER));
    worker.exchange(&Request::new("PUT", "/").body(ORDER));
    worker.exchange(&Request::post("/"));
    assert_eq!((delivered(&host, &worker), host.stat("audit", "matched")), (1, 1));
}

#[test]
fn an_exception_by_the_body_leaves_a_request_out() {
    let except = json!({"except": [{"body": [{"pointer": "/test", "exact": true}]}]});
    let (host, worker) = mirroring_with(&audit_with(&except));
    worker.exchange(&post(r#"{"test":true}"#));
    assert_eq!(host.stat("audit", "matched"), 0);
    worker.exchange(&post(r#"{"test":false}"#));
    worker.exchange(&Request::get("/"));
    assert_eq!((delivered(&host, &worker), host.stat("audit", "matched")), (2, 2));
}

#[test]
fn a_body_that_cannot_be_read_is_counted_for_those_who_ask_for_it() {
    let small = json!({"limits": {"max_body_bytes": 64, "max_buffered_bytes": "1MiB"}});
    let tiny = json!({"limits": {"max_body_bytes": 64, "max_buffered_bytes": 64}});
    let early: Send = |worker| {
        let stream = worker.begin(&post(""), false);
        stream.chunk(r#"{"type":"#, false);
        stream.answer(&Response::made_by_envoy(403, "no", "rbac", 0));
        stream.close();
    };
    let cases: [(&str, &Value, Send); 7] = [
        ("body_not_json", &small, |worker| worker.exchange(&post("type=order"))),
        ("body_not_json", &small, |worker| worker.exchange(&post(ORDER).header("content-encoding", "br"))),
        ("body_too_large", &small, |worker| worker.exchange(&post(&"x".repeat(65)))),
        ("buffer_full", &tiny, |worker| worker.exchange(&post(ORDER))),
        ("grpc_stream", &small, |worker| {
            worker.exchange(&post("\0\0\0\0\0\0\0\0\0\0").header("content-type", "application/grpc"))
        }),
        ("truncated", &small, |worker| {
            let stream = worker.begin(&post(""), false);
            stream.chunk(r#"{"type":"#, false);
            stream.client_resets();
        }),
        ("answered_early", &small, early),
    ];
    for (reason, limits, send) in cases {
        let others =
            with(target("others"), &json!({"match": [{"methods": ["PUT"], "body": [{"pointer": "/a", "present": true}]}]}));
        let asking = with(target("audit"), &orders(&json!({})));
        let sampled = with(target("sampled"), &orders(&json!({"sample": {"percent": 1e-9}})));
        let batched = with(target("batched"), &orders(&json!({"batch": {}})));
        let (host, worker) = mirroring_with(&with(targets(&[asking, others, sampled, batched]), limits));
        send(&worker);
        for name in ["audit", "batched"] {
            assert_eq!((host.stat(name, "matched"), dropped(&host, name)), (1, only(reason, 1)), "{name} {reason}");
        }
        assert_eq!((host.stat("others", "matched"), dropped(&host, "others")), (0, vec![]), "{reason}");
        assert_eq!((host.stat("sampled", "matched"), host.stat("sampled", "sampled_out")), (1, 1), "{reason}");
        ["audit", "others", "sampled", "batched"].iter().for_each(|name| assert_balanced(&host, name));
    }
}

#[test]
fn a_sample_takes_its_part_of_what_the_body_has_let_through() {
    let (host, worker) = mirroring_orders(&json!({"sample": {"percent": 1e-9}}));
    worker.exchange(&post(ORDER));
    worker.exchange(&post(OTHER));
    assert_eq!((host.stat("audit", "matched"), host.stat("audit", "sampled_out")), (1, 1));
    let (host, worker) = mirroring_orders(&json!({"sample": {"percent": 50, "key": {"header": "x-user"}}}));
    // By their hashes alice is in and bob is out, as `printf %s alice | sha256sum` tells: 2bd8, 81b6.
    for user in ["alice", "bob"] {
        worker.exchange(&post(ORDER).header("x-user", user));
        worker.exchange(&post(OTHER).header("x-user", user));
    }
    assert_eq!((delivered(&host, &worker), host.stat("audit", "matched"), host.stat("audit", "sampled_out")), (1, 2, 1));
}

#[test]
fn the_primarys_answer_is_waited_for_only_by_those_that_the_body_has_chosen() {
    let (host, worker) = mirroring_orders(&json!({"after": "response"}));
    let send = |body, status| {
        let stream: Stream = worker.send(&post(body));
        assert_eq!(worker.call_outs().len(), 0);
        answered(stream, &Response::status(status));
    };
    send(OTHER, 200);
    assert_eq!(host.stat("audit", "matched"), 0);
    send(ORDER, 500);
    assert_eq!((dropped(&host, "audit"), host.stat("audit", "not_triggered")), (vec![], 1));
    send(ORDER, 200);
    assert_eq!((delivered(&host, &worker), host.stat("audit", "matched")), (1, 2));
}

#[test]
fn items_of_a_batch_are_those_that_the_body_has_chosen() {
    let (host, worker) = mirroring_orders(&json!({"batch": {"max_items": 2, "max_delay": "1h"}}));
    for body in [ORDER, OTHER, OTHER, ORDER] {
        worker.exchange(&post(body));
    }
    worker.pass(&host, Duration::from_secs(2));
    let call = worker.call_out();
    assert_eq!(call.body(), format!("[{ORDER},{ORDER}]").as_bytes());
    call.answer(Answer::upstream(200));
    assert_eq!((delivered(&host, &worker), host.stat("audit", "matched")), (2, 2));
}

#[test]
fn answers_are_compared_of_those_that_the_body_has_chosen() {
    let (host, worker) = mirroring_orders(&json!({"compare": {}}));
    let send = |body| {
        let stream = worker.send(&post(body));
        worker.answer_all(&of_target(200, "{}"));
        answered(stream, &of_primary(200, "{}"));
    };
    send(OTHER);
    assert_eq!(counts(&host), [0, 0, 0, 0]);
    send(ORDER);
    assert_eq!(counts(&host), [1, 0, 0, 0]);
    worker.exchange(&post("no JSON"));
    assert_eq!((counts(&host), dropped(&host, "audit")), ([1, 0, 0, 1], only("body_not_json", 1)));
    assert_balanced(&host, "audit");
}

#[test]
fn a_body_that_decides_takes_no_more_host_calls_and_is_read_only_for_who_asks() {
    let plain = with(target("plain"), &json!({"match": [{"methods": ["POST"]}]}));
    let asking = |name| with(target(name), &orders(&json!({})));
    let (host, worker) = mirroring_with(&targets(&[plain, asking("a"), asking("b")]));
    let read = ["proxy_get_header_map_pairs", "proxy_get_buffer_bytes"];
    let tally = host.tally(|| worker.exchange(&post(ORDER)));
    assert_eq!(read.map(|import| tally.of(import)), [1, 1]);
    assert_eq!(worker.call_outs().len(), 3);
    let tally = host.tally(|| worker.exchange(&Request::get("/")));
    assert_eq!(read.map(|import| tally.of(import)), [1, 0]);
}

#[test]
fn what_takes_too_much_work_to_look_into_is_dropped_for_that() {
    let deep = format!(r#"{{"a":[{}0]}}"#, "0,".repeat(20_000));
    let limits = json!({"limits": {"max_body_bytes": "64KiB", "max_work_bytes": "64KiB"}});
    let (host, worker) = mirroring_with(&with(audit_with(&orders(&json!({}))), &limits));
    worker.exchange(&post(&deep));
    assert_eq!((host.stat("audit", "matched"), dropped(&host, "audit")), (1, only("work_limit", 1)));
    assert_balanced(&host, "audit");
}
