//! Copies of one key go one after the other, and let the others pass.

use crate::{
    configurations::{assert_balanced, audit_with, dropped, mirroring_with, only, target, targets, with},
    host::{Answer, CallOut, Host, Request, Response, Worker},
};
use serde_json::{json, Value};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn by_header() -> Value {
    json!({"order": {"key": {"header": "x-user"}}})
}

/// Copies in order by `x-user`, with retries a second apart and a breaker that stays closed.
fn ordered_with(fields: &Value) -> (Host, Worker) {
    let base = json!({
        "retry": {"max_attempts": 2, "backoff": {"base": "1s", "max": "1s"}, "budget": {"min_per_second": 100}},
        "circuit_breaker": {"mode": "disabled"},
    });
    mirroring_with(&audit_with(&with(with(by_header(), &base), fields)))
}

fn of(user: &str, path: &str) -> Request {
    Request::get(path).header("x-user", user)
}

fn exchange(worker: &Worker, user: &str, path: &str) {
    worker.exchange(&of(user, path));
}

fn paths(calls: &[CallOut]) -> Vec<&str> {
    calls.iter().map(|call| call.header(":path").unwrap()).collect()
}

fn delivered(call: &CallOut) {
    call.answer(Answer::upstream(200));
}

fn waiting(host: &Host) -> [i64; 2] {
    ["inflight", "queued"].map(|name| host.stat("audit", name))
}

#[test]
fn the_next_copy_of_a_key_goes_when_the_one_before_has_ended_and_others_pass_by() {
    let (host, worker) = ordered_with(&json!({}));
    for (user, path) in [("a", "/a1"), ("a", "/a2"), ("b", "/b1"), ("a", "/a3"), ("b", "/b2"), ("", "/empty")] {
        exchange(&worker, user, path);
    }
    worker.exchange(&Request::get("/none1"));
    worker.exchange(&Request::get("/none2"));
    let first = worker.call_outs();
    assert_eq!(paths(&first), ["/a1", "/b1", "/empty", "/none1", "/none2"]);
    assert_eq!(waiting(&host), [5, 3]);
    assert!(host.stat("audit", "queued_bytes") > 0);
    delivered(&first[0]);
    let second = worker.call_outs();
    assert_eq!((paths(&second), waiting(&host)), (vec!["/a2"], [5, 2]));
    delivered(&first[1]);
    let other = worker.call_outs();
    assert_eq!(paths(&other), ["/b2"]);
    delivered(&other[0]);
    delivered(&second[0]);
    first[2..].iter().for_each(delivered);
    let third = worker.call_outs();
    assert_eq!(paths(&third), ["/a3"]);
    delivered(&third[0]);
    assert_eq!(host.stat("audit", "delivered"), 8);
    assert_balanced(&host, "audit");
}

#[test]
fn a_retry_holds_back_its_own_key_and_no_other() {
    let (host, worker) = ordered_with(&json!({}));
    exchange(&worker, "a", "/a1");
    exchange(&worker, "a", "/a2");
    worker.call_out().answer(Answer::upstream(503));
    exchange(&worker, "b", "/b1");
    exchange(&worker, "a", "/a3");
    let others = worker.call_outs();
    assert_eq!((paths(&others), waiting(&host)), (vec!["/b1"], [1, 3]));
    delivered(&others[0]);
    worker.pass(&host, 2 * SECOND);
    let retried = worker.call_outs();
    assert_eq!((paths(&retried), retried[0].header("x-sidecast-attempt")), (vec!["/a1"], Some("2")));
    // It is given up: its followers go on in order.
    retried[0].answer(Answer::upstream(503));
    let second = worker.call_outs();
    assert_eq!(paths(&second), ["/a2"]);
    delivered(&second[0]);
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 1);
    assert_eq!(dropped(&host, "audit"), only("retries_exhausted", 1));
    assert_balanced(&host, "audit");
}

#[test]
fn a_retry_that_waits_for_the_breaker_holds_back_its_key() {
    let (host, worker) = ordered_with(&json!({
        "retry": {"max_attempts": 5, "backoff": {"base": "1ms", "max": "1ms"}, "budget": {"min_per_second": 100}},
        "circuit_breaker": {"consecutive_failures": 2, "open_for": "3s", "half_open": {"probes": 1, "successes": 1}},
    }));
    exchange(&worker, "a", "/a1");
    exchange(&worker, "a", "/a2");
    for _ in 0..2 {
        worker.call_out().answer(Answer::upstream(503));
        worker.pass(&host, Duration::from_millis(10));
    }
    assert_eq!((host.stat("audit", "breaker.state"), worker.call_outs().len(), waiting(&host)), (2, 0, [0, 2]));
    // A first attempt that no copy holds back is dropped, and so does not wait for anything.
    exchange(&worker, "b", "/b1");
    assert_eq!((dropped(&host, "audit"), waiting(&host)), (only("circuit_open", 1), [0, 2]));
    worker.pass(&host, 3 * SECOND);
    let probe = worker.call_outs();
    assert_eq!(paths(&probe), ["/a1"]);
    delivered(&probe[0]);
    let next = worker.call_outs();
    assert_eq!(paths(&next), ["/a2"]);
    delivered(&next[0]);
    assert_balanced(&host, "audit");
}

#[test]
fn a_copy_that_finds_no_place_is_dropped_and_leaves_the_key_to_whom_has_it() {
    let letters = json!({"limits": {"max_queued": 2}, "dead_letter": {"cluster": "letters", "on": ["queue_full"]}});
    let (host, worker) = ordered_with(&letters);
    for path in ["/a1", "/a2", "/a3", "/a4"] {
        exchange(&worker, "a", path);
    }
    let calls = worker.call_outs();
    assert_eq!(calls.iter().map(CallOut::cluster).collect::<Vec<_>>(), ["audit", "letters"]);
    let letter: Value = serde_json::from_slice(calls[1].body()).unwrap();
    assert_eq!((&letter["reason"], &letter["request"]["path"]), (&json!("queue_full"), &json!("/a4")));
    delivered(&calls[1]);
    // The key is still that of the first.
    exchange(&worker, "b", "/b1");
    let other = worker.call_outs();
    assert_eq!((paths(&other), waiting(&host)), (vec!["/b1"], [2, 2]));
    delivered(&other[0]);
    delivered(&calls[0]);
    for path in ["/a2", "/a3"] {
        let next = worker.call_outs();
        assert_eq!(paths(&next), [path]);
        delivered(&next[0]);
    }
    assert_eq!((host.stat("audit", "delivered"), host.stat("audit", "dead_lettered")), (4, 1));
    assert_balanced(&host, "audit");
}

#[test]
fn a_copy_whose_key_is_free_gives_it_back_when_there_is_no_place_in_flight_or_in_the_queue() {
    let (host, worker) = ordered_with(&json!({"limits": {"max_in_flight": 1, "max_queued": 1}}));
    exchange(&worker, "a", "/a1");
    exchange(&worker, "b", "/b1");
    exchange(&worker, "c", "/c1");
    assert_eq!((dropped(&host, "audit"), waiting(&host)), (only("queue_full", 1), [1, 1]));
    delivered(&worker.call_out());
    // The second request with that key is not held back by one that is gone.
    exchange(&worker, "c", "/c2");
    delivered(&worker.call_out());
    let last = worker.call_outs();
    assert_eq!(paths(&last), ["/c2"]);
    delivered(&last[0]);
    assert_balanced(&host, "audit");
}

#[test]
fn with_one_place_in_flight_a_follower_queues_behind_the_others() {
    let (host, worker) = ordered_with(&json!({"limits": {"max_in_flight": 1}}));
    for (user, path) in [("a", "/a1"), ("a", "/a2"), ("b", "/b1"), ("a", "/a3")] {
        exchange(&worker, user, path);
    }
    let mut order = Vec::new();
    for _ in 0..4 {
        let call = worker.call_out();
        order.push(call.header(":path").unwrap().to_owned());
        assert_eq!(host.stat("audit", "inflight"), 1);
        delivered(&call);
    }
    assert_eq!(order, ["/a1", "/b1", "/a2", "/a3"]);
    assert_balanced(&host, "audit");
}

#[test]
fn copies_that_got_too_old_while_they_waited_are_given_up_in_their_turn() {
    let (host, worker) = ordered_with(&json!({
        "timeout": "60s", "retry": {"max_attempts": 2, "expire_after": "2s"}, "limits": {"max_in_flight": 3},
    }));
    for path in ["/a1", "/a2", "/a3"] {
        exchange(&worker, "a", path);
    }
    worker.pass(&host, 3 * SECOND);
    exchange(&worker, "a", "/a4");
    let first = worker.call_outs();
    assert_eq!((paths(&first), waiting(&host)), (vec!["/a1"], [1, 3]));
    delivered(&first[0]);
    let fresh = worker.call_outs();
    assert_eq!((paths(&fresh), dropped(&host, "audit")), (vec!["/a4"], only("expired", 2)));
    delivered(&fresh[0]);
    assert_balanced(&host, "audit");
}

#[test]
fn a_thousand_copies_that_got_too_old_take_more_than_one_callback_and_none_is_lost() {
    let (host, worker) = ordered_with(&json!({
        "timeout": "60s", "retry": {"max_attempts": 2, "expire_after": "2s"}, "limits": {"max_queued": 5_000, "max_in_flight": 3},
    }));
    for _ in 0..5_000 {
        exchange(&worker, "a", "/");
    }
    worker.pass(&host, 3 * SECOND);
    let tally = host.tally(|| delivered(&worker.call_out()));
    let at_once = dropped(&host, "audit");
    assert!(matches!(&at_once[..], [(_, 1_000..=2_100)]), "{at_once:?} {tally:?}");
    assert!(worker.pass(&host, SECOND) > 0);
    assert_eq!((dropped(&host, "audit"), worker.tick_period()), (only("expired", 4_999), None));
    assert_balanced(&host, "audit");
}

#[test]
fn a_drain_goes_on_in_order_until_its_end_and_gives_up_those_that_wait() {
    let (host, worker) = mirroring_with(&with(
        audit_with(&with(by_header(), &json!({"timeout": "60s", "circuit_breaker": {"mode": "disabled"}}))),
        &json!({"drain_timeout": "5s"}),
    ));
    for path in ["/a1", "/a2", "/a3", "/a4"] {
        exchange(&worker, "a", path);
    }
    let old = worker.root();
    assert!(worker.configure(audit_with(&by_header()).to_string()));
    assert!(worker.is_draining(old));
    delivered(&worker.call_out());
    let second = worker.call_outs();
    assert_eq!((paths(&second), waiting(&host)), (vec!["/a2"], [1, 2]));
    worker.pass(&host, 6 * SECOND);
    assert!(worker.is_deleted(old));
    assert_eq!((host.stat("audit", "delivered"), dropped(&host, "audit")), (1, only("shutdown", 3)));
    assert_eq!(worker.call_outs().len(), 0);
    assert_balanced(&host, "audit");
}

#[test]
fn after_the_response_the_order_is_that_of_responses() {
    let (host, worker) = ordered_with(&json!({"after": "response"}));
    let [first, second] = ["/1", "/2"].map(|path| worker.send(&of("a", path)));
    assert_eq!(waiting(&host), [0, 0]);
    second.answer(&Response::status(200));
    second.close();
    first.answer(&Response::status(200));
    first.close();
    let calls = worker.call_outs();
    assert_eq!(paths(&calls), ["/2"]);
    delivered(&calls[0]);
    assert_eq!(worker.call_out().header(":path"), Some("/1"));
}

#[test]
fn a_value_of_the_body_is_a_key_whatever_the_target_gets_of_it() {
    for shape in
        [json!({}), json!({"body": {"omit": true}}), json!({"body": {"template": {"fixed": true}, "redact": ["/account"]}})]
    {
        let (host, worker) = mirroring_with(&audit_with(&json!({"order": {"key": {"body": "/account"}}, "request": shape})));
        let send = |path: &str, body: &str| worker.exchange(&Request::post(path).body(body));
        send("/a1", r#"{"account": "a"}"#);
        send("/a2", r#"{"n": 1, "account": "\u0061"}"#);
        send("/n1", r#"{"account": 7}"#);
        send("/n2", r#"{"account": 7.0}"#);
        send("/t1", r#"{"account": "7"}"#);
        for without in ["no JSON", "{}", r#"{"account": null}"#, r#"{"account": {}}"#] {
            (0..2).for_each(|_| send("/none", without));
        }
        let calls = worker.call_outs();
        let seen = paths(&calls);
        let is_redacted = shape["body"]["redact"].is_array();
        let expected = if is_redacted { only("body_not_json", 2) } else { vec![] };
        assert_eq!((&seen[..3], dropped(&host, "audit")), (&["/a1", "/n1", "/t1"][..], expected));
        assert!(seen[3..].iter().all(|path| *path == "/none"));
        assert_eq!(seen.len(), if is_redacted { 9 } else { 11 });
        calls.iter().for_each(delivered);
        let calls = worker.call_outs();
        assert_eq!(paths(&calls), ["/a2", "/n2"], "{shape}");
        calls.iter().for_each(delivered);
        assert_balanced(&host, "audit");
    }
}

#[test]
fn a_request_that_is_answered_before_its_body_has_no_key() {
    let (host, worker) =
        mirroring_with(&audit_with(&json!({"order": {"key": {"body": "/account"}}, "request": {"body": {"omit": true}}})));
    for _ in 0..2 {
        let stream = worker.begin(&Request::post("/"), false);
        stream.chunk(r#"{"account": "a", "#, false);
        stream.answer(&Response::status(200));
        stream.close();
    }
    assert_eq!((worker.answer_all(&Answer::upstream(200)), waiting(&host)), (2, [0, 0]));
    assert_balanced(&host, "audit");
}

#[test]
fn a_copy_whose_key_takes_too_much_work_is_not_sent_out_of_its_turn() {
    let list = targets(&[with(target("audit"), &json!({"order": {"key": {"body": "/user"}}})), target("plain")]);
    let (host, worker) = mirroring_with(&with(list, &json!({"limits": {"max_work_bytes": "64KiB"}})));
    let request = |text: String| Request::post("/").body(json!({"text": text, "user": "alice"}).to_string());
    worker.exchange(&request(String::new()));
    worker.exchange(&request("x".repeat(100_000)));
    worker.exchange(&request(String::new()));
    assert_eq!(worker.call_outs().iter().filter(|call| call.cluster() == "audit").map(delivered).count(), 1);
    assert_eq!(dropped(&host, "audit"), only("work_limit", 1));
    worker.answer_all(&Answer::upstream(200));
    assert_eq!((host.stat("audit", "delivered"), host.stat("plain", "attempts")), (2, 3));
    assert_balanced(&host, "audit");
}

#[test]
fn a_plain_copy_is_the_same_with_an_order_and_each_target_has_its_own() {
    let plain = target("plain");
    let ordered = with(target("ordered"), &by_header());
    let (host, worker) = mirroring_with(&targets(&[plain, ordered]));
    let request =
        |path: &str| Request::post(path).header("x-user", "a").header("cookie", "secret").header("x-b", "1").body("body");
    worker.exchange(&request("/1"));
    worker.exchange(&request("/2"));
    let calls = worker.call_outs();
    let of = |cluster: &'static str| calls.iter().filter(move |call| call.cluster() == cluster);
    assert_eq!((of("plain").count(), of("ordered").count()), (2, 1));
    let common = |call: &CallOut| {
        let own = ["idempotency-key", "x-sidecast-target", "x-sidecast-loop"];
        let headers: Vec<_> =
            call.headers().iter().filter(|(name, _)| !own.iter().any(|own| own.as_bytes() == name)).cloned().collect();
        (headers, call.body().to_vec())
    };
    assert_eq!(of("plain").next().map(common), of("ordered").next().map(common));
    assert!(of("ordered").all(|call| call.header("cookie").is_none() && call.header("x-b") == Some("1")));
    calls.iter().for_each(delivered);
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 1);
    assert_balanced(&host, "plain");
    assert_balanced(&host, "ordered");
}

#[test]
fn a_rate_is_asked_before_the_key_and_a_copy_over_it_holds_back_none() {
    let (host, worker) = ordered_with(&json!({"limits": {"rate": {"per_second": 1, "burst": 2}}}));
    for path in ["/a1", "/a2", "/a3"] {
        exchange(&worker, "a", path);
    }
    assert_eq!((dropped(&host, "audit"), waiting(&host)), (only("rate_limited", 1), [1, 1]));
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 2);
    assert_balanced(&host, "audit");
}

#[test]
fn a_key_counts_as_bytes_that_are_held() {
    let room = |key: &str, order: &Value| {
        let configuration =
            with(audit_with(order), &json!({"limits": {"max_body_bytes": "4KiB", "max_buffered_bytes": "16KiB"}}));
        let (host, worker) = mirroring_with(&configuration);
        for _ in 0..40 {
            worker.exchange(&Request::get("/").header("x-user", key));
        }
        let full = dropped(&host, "audit");
        assert!(matches!(&full[..], [(reason, _)] if reason == "buffer_full"), "{full:?}");
        let held = host.stat("audit", "queued") + host.stat("audit", "inflight");
        while worker.answer_all(&Answer::upstream(200)) > 0 {}
        assert_balanced(&host, "audit");
        held
    };
    let key = "k".repeat(1_000);
    let by_key = room(&key, &by_header());
    // The same headers are kept for it, but no key.
    let without = room(&key, &json!({"order": {"key": {"header": "x-other"}}}));
    assert!(by_key > 0 && by_key < without, "{by_key} {without}");
}

#[test]
fn a_target_without_an_order_costs_no_more_beside_one_with_an_order() {
    let tally = |configuration: &Value| {
        let (host, worker) = mirroring_with(configuration);
        let request = Request::post("/").header("x-user", "a").body("body");
        host.tally(|| worker.exchange(&request)).host_calls()
    };
    let ordered = |fields: &Value| audit_with(&with(by_header(), fields));
    assert_eq!(tally(&audit_with(&json!({}))), tally(&ordered(&json!({}))));
}
