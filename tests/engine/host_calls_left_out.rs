//! Host calls that Envoy refuses because a `capability_restriction_config` leaves them out: each is refused when the filter is configured, or does
//! not matter, or is counted. None is silent.

use crate::{
    configurations::{assert_balanced, audit, audit_with, dropped, target, targets, unexpected, with},
    host::{Answer, Host, Level, Request, Status, Worker, HOST_CALLS},
};
use serde_json::{json, Value};
use std::time::Duration;

/// What Envoy responds for a proxy-wasm call that is left out.
const LEFT_OUT: Status = Status::INTERNAL_FAILURE;
/// What it responds for a WASI call (ENOTCAPABLE).
const NOT_CAPABLE: Status = Status(76);

/// Host calls without which the filter works the same.
const HARMLESS: [&str; 1] = ["proxy_get_log_level"];
/// Host calls that cannot be tried out, so that their failure is counted.
const COUNTED: [&str; 2] = ["proxy_log", "proxy_done"];

/// Asks for everything that the filter can do.
fn configuration() -> Value {
    let retried =
        json!({"retry": {"max_attempts": 2, "backoff": {"base": "1ms", "max": "1ms"}}, "dead_letter": {"cluster": "dlq"}});
    let batch = json!({"batch": {"max_items": 2, "max_delay": "20ms"}});
    let later = json!({"after": "response", "compare": {}});
    let list = [with(target("audit"), &retried), with(target("batch"), &batch), with(target("later"), &later)];
    with(targets(&list), &json!({"loop_guard": {"secret": "${env:SIDECAST_LOOP_SECRET}"}}))
}

fn host_without(import: &str) -> Host {
    let host = Host::new();
    host.set_env("SIDECAST_LOOP_SECRET", "a long enough secret");
    let wasi = ["random_get", "clock_time_get", "environ_sizes_get", "environ_get"];
    host.fail(import, 0, u64::MAX, if wasi.contains(&import) { NOT_CAPABLE } else { LEFT_OUT });
    host
}

/// Mirrors a few requests, changes the configuration, and gives what the accounts say.
fn live(host: &Host, worker: &Worker) -> Vec<(String, String)> {
    for _ in 0..3 {
        worker.exchange(&Request::post("/").body("[1]"));
        worker.answer_all(&Answer::upstream(503));
        worker.pass(host, Duration::from_millis(50));
        worker.answer_all(&Answer::upstream(200));
    }
    worker.configure(with(configuration(), &json!({"drain_timeout": "7s"})).to_string());
    worker.answer_all(&Answer::upstream(200));
    worker.exchange(&Request::post("/").body("[1]"));
    worker.shut_down();
    worker.answer_all(&Answer::upstream(200));
    worker.pass(host, Duration::from_secs(60));
    worker.answer_all(&Answer::upstream(200));
    ["audit", "batch", "later"].iter().for_each(|target| assert_balanced(host, target));
    let counted = host.stats().into_iter().filter(|(name, _)| name != "sidecast_unexpected");
    counted.map(|(name, stat)| (name, format!("{stat:?}"))).collect()
}

#[test]
fn each_host_call_that_is_left_out_is_refused_or_does_not_matter_or_is_counted() {
    let plain = host_without("nothing");
    let worker = plain.bare_worker();
    assert!(worker.configure(configuration().to_string()));
    let wanted = live(&plain, &worker);
    assert_eq!(unexpected(&plain), 0);
    let mut refused = 0;
    for import in HOST_CALLS {
        let host = host_without(import);
        let worker = host.bare_worker();
        let configured = worker.configure(configuration().to_string());
        if HARMLESS.contains(&import) {
            assert!(configured && live(&host, &worker) == wanted && unexpected(&host) == 0, "{import}");
        } else if COUNTED.contains(&import) {
            assert!(configured, "{import}");
            assert_eq!(live(&host, &worker), wanted, "{import}");
            assert!(unexpected(&host) > 0, "{import}");
        } else {
            assert!(!configured, "{import}");
            let lines = host.events("configuration_rejected");
            assert!(lines.iter().all(|(level, _)| *level == Level::Error));
            let named = lines.iter().any(|(_, line)| line["problem"].as_str().unwrap().contains(import));
            assert!(named, "{import}: {lines:?}");
            refused += 1;
        }
    }
    assert_eq!(refused, HOST_CALLS.len() - HARMLESS.len() - COUNTED.len());
}

#[test]
fn what_a_configuration_does_not_need_may_be_left_out() {
    for import in ["proxy_get_shared_data", "proxy_set_shared_data", "environ_get", "environ_sizes_get"] {
        let host = host_without(import);
        let worker = host.bare_worker();
        assert!(worker.configure(audit_with(&json!({"circuit_breaker": {"mode": "disabled"}})).to_string()), "{import}");
        worker.exchange(&Request::get("/"));
        worker.answer_all(&Answer::upstream(200));
        assert_eq!((host.stat("audit", "delivered"), unexpected(&host)), (1, 0), "{import}");
    }
}

#[test]
fn a_host_call_that_fails_later_is_counted_and_named() {
    let host = Host::new();
    let worker = host.worker(&audit());
    host.fail("proxy_get_header_map_pairs", 0, 1, LEFT_OUT);
    worker.exchange(&Request::get("/"));
    for status in [2, 1] {
        host.fail("proxy_get_buffer_bytes", 0, 1, Status(status));
        worker.exchange(&Request::post("/").body("body"));
    }
    host.fail("proxy_http_call", 0, 1, Status(99));
    worker.exchange(&Request::get("/"));
    host.heal();
    assert_eq!(unexpected(&host), 4, "{:#?}", host.log());
    let lines = host.events("unexpected");
    let seen: Vec<_> = lines.iter().map(|(_, line)| (line["what"].as_str().unwrap(), line["status"].as_u64())).collect();
    let wanted = [
        ("proxy_get_header_map_pairs", Some(10)),
        ("proxy_get_buffer_bytes", Some(2)),
        ("short_chunk", None),
        ("proxy_http_call", Some(99)),
    ];
    assert_eq!(seen, wanted);
    assert_balanced(&host, "audit");
}

#[test]
fn a_second_configuration_of_the_same_context_loses_nothing_of_the_first() {
    let host = Host::new();
    let worker = host.worker(&audit());
    worker.exchange(&Request::get("/"));
    assert!(worker.configure_again(audit().to_string()), "the same once more changes nothing");
    assert!(!worker.configure_again(audit_with(&json!({"timeout": "3s"})).to_string()), "another is refused");
    assert_eq!(unexpected(&host), 2);
    worker.exchange(&Request::get("/"));
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 2);
    assert_eq!(host.stat("audit", "delivered"), 2);
    assert_balanced(&host, "audit");
}

#[test]
fn more_of_a_request_after_its_end_loses_nothing_of_what_waits() {
    let host = Host::new();
    let worker = host.worker(&audit_with(&json!({"after": "response"})));
    let stream = worker.send(&Request::post("/").body("order"));
    stream.chunk("more", true);
    stream.trailers(vec![(b"a".to_vec(), b"b".to_vec())]);
    assert_eq!(unexpected(&host), 2);
    assert_eq!(host.events("unexpected").iter().filter(|(_, line)| line["what"] == "out_of_order").count(), 2);
    stream.answer(&crate::host::Response::status(200));
    stream.close();
    let call = worker.call_out();
    assert_eq!(call.body(), b"order");
    call.answer(Answer::upstream(200));
    assert_eq!((host.stat("audit", "delivered"), dropped(&host, "audit")), (1, vec![]));
    assert_balanced(&host, "audit");
}
