//! Hosts that fail or lie: the filter never traps, and keeps its accounts where it still can.

use crate::{
    configurations::{assert_balanced, mirroring, target, targets, with},
    host::{serialize, Answer, Host, Request, Response, Status, Worker, HOST_CALLS},
};
use serde_json::{json, Value};
use std::{
    panic::{catch_unwind, AssertUnwindSafe},
    time::Duration,
};

const TARGETS: [&str; 5] = ["audit", "batch", "later", "thanks", "refund"];

/// `audit` gets every request as it is, `batch` gets some together, and `later` makes something else of some, once they are answered. `thanks` and
/// `refund` follow it.
fn configuration() -> Value {
    let audit = json!({
        "limits": {"max_in_flight": 1, "max_queued": 1},
        "match": [{"path": {"prefix": "/"}}],
        "retry": {"max_attempts": 2},
        "circuit_breaker": {"consecutive_failures": 6, "half_open": {"successes": 1}},
    });
    let batch = json!({
        "match": [{"path": {"prefix": "/batch"}}],
        "batch": {"max_items": 2, "max_delay": "20ms"},
        "sample": {"percent": 50, "key": {"header": "x-user"}},
        "limits": {"max_in_flight": 1, "max_queued": 2},
        "retry": {"max_attempts": 2},
        "dead_letter": {"cluster": "dlq"},
    });
    let later = json!({
        "match": [{"path": {"prefix": "/later"}}],
        "after": "response",
        "request": {
            "headers": {"set": {"x-answer": "${response:header:x-answer}"}},
            "body": {"template": {"now": "${now}", "route": "${property:xds.route_name}", "body": "${body}"}, "redact": ["/a"]},
        },
        "compare": {"log_values": true},
        "dead_letter": {"cluster": "dlq", "on": ["not_retryable"]},
    });
    let thanks = json!({
        "after": {"target": "later"},
        "order": {"key": {"body": "/a"}},
        "request": {"body": {"template": {"primary": "${response:body}", "later": "${target:later:body:/0}"}}},
        "response": {"redact": ["/b"]},
    });
    let refund = json!({
        "after": {"target": "later", "outcome": "given_up", "statuses": ["4xx", "reset", "timeout"]},
        "request": {"headers": {"set": {"x-later": "${target:later:status} ${target:later:header:x-answer}"}}},
        "dead_letter": {"cluster": "dlq"},
    });
    let list: Vec<Value> =
        TARGETS.iter().zip([audit, batch, later, thanks, refund]).map(|(name, fields)| with(target(name), &fields)).collect();
    let root = json!({
        "limits": {"max_body_bytes": 16},
        "loop_guard": {"secret": "${env:SIDECAST_LOOP_SECRET}"},
    });
    with(targets(&list), &root)
}

/// A little of everything that happens to a filter, from its start to the end of its listener.
fn a_life(host: &Host) {
    host.set_env("SIDECAST_LOOP_SECRET", "a long enough secret");
    let worker = host.bare_worker();
    if !worker.configure(configuration().to_string()) {
        return;
    }
    copies(host, &worker);
    failures(host, &worker);
    features(host, &worker);
    let replacement = with(configuration(), &json!({"limits": {"max_body_bytes": 17}}));
    worker.configure(replacement.to_string());
    worker.answer_all(&Answer::upstream(200));
    worker.exchange(&Request::get("/"));
    worker.answer_all(&Answer::upstream(200));
    // What a fault made wait comes due.
    worker.pass(host, Duration::from_secs(30));
    worker.answer_all(&Answer::upstream(200));
    worker.shut_down();
    // Where the replacement was refused, the first configuration is drained only now.
    worker.pass(host, Duration::from_secs(60));
    worker.answer_all(&Answer::upstream(200));
}

fn copies(host: &Host, worker: &Worker) {
    let first = worker.send(&Request::get("/").header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
    worker.exchange(&Request::post("/").body("a").body("b").trailer("c", "d"));
    worker.exchange(&Request::get("/overflow"));
    worker.exchange(&Request::post("/").body("more than sixteen bytes"));
    let cut = worker.begin(&Request::post("/"), false);
    cut.chunk("half", false);
    cut.close();
    first.close();
    host.advance(Duration::from_millis(7));
    worker.answer_all(&Answer::upstream(200).header("x-a", "b"));
}

fn failures(host: &Host, worker: &Worker) {
    let busy = Answer::upstream(503).header("retry-after", "1");
    for end in [Answer::upstream(404), Answer::reset(), Answer::timeout(), busy] {
        worker.exchange(&Request::get("/"));
        worker.answer_all(&end);
        worker.pass(host, Duration::from_secs(10));
        worker.answer_all(&end);
    }
    // By now the breaker is open, and then may probe.
    worker.exchange(&Request::get("/"));
    worker.pass(host, Duration::from_secs(10));
    host.refuse_calls_to("audit", Status::BAD_ARGUMENT);
    worker.exchange(&Request::get("/"));
    host.accept_calls_to("audit");
    worker.exchange(&Request::get("/"));
}

/// What is done to requests besides copying them.
fn features(host: &Host, worker: &Worker) {
    let ok = Answer::upstream(200).header("content-type", "application/json").body("[2]");
    // All calls are answered well, but for those to these clusters.
    let answer = |others: &[(&str, Answer)]| loop {
        let calls = worker.call_outs();
        for call in &calls {
            let other = others.iter().find(|(cluster, _)| *cluster == call.cluster());
            call.answer(other.map_or(&ok, |(_, answer)| answer).clone());
        }
        if calls.is_empty() {
            break;
        }
    };
    let item = || Request::post("/batch").header("x-user", "alice").body("[1]");
    worker.exchange(&item());
    // The sample has no request of bob's.
    worker.exchange(&Request::post("/batch").header("x-user", "bob").body("[1]"));
    worker.pass(host, Duration::from_millis(20));
    answer(&[("batch", Answer::upstream(503))]);
    worker.pass(host, Duration::from_secs(10));
    answer(&[("batch", Answer::upstream(503)), ("dlq", Answer::upstream(500))]);
    worker.exchange(&item());
    worker.exchange(&item().body("no json"));
    host.refuse_calls_to("batch", Status::INTERNAL_FAILURE);
    worker.exchange(&item());
    worker.pass(host, Duration::from_secs(10));
    host.accept_calls_to("batch");
    worker.exchange(&item());
    worker.exchange(&item());
    answer(&[]);

    let order = || Request::post("/later").body("{\"a\":1}");
    let created = Response::status(200).header("x-answer", "yes").header("content-type", "application/json").body("[1]");
    worker.exchange(&order().answer(created.clone()));
    answer(&[]);
    worker.exchange(&order().answer(created.clone()));
    answer(&[("later", Answer::upstream(404)), ("refund", Answer::upstream(500))]);
    // Two of one key: the second waits for the first.
    let waiting = [worker.send(&order()), worker.send(&order())];
    waiting.into_iter().for_each(|stream| {
        stream.answer(&created);
        stream.close();
    });
    answer(&[]);
    worker.exchange(&order().answer(Response::connect_failure()));
    answer(&[]);
    let grpc = Request::post("/later").header("content-type", "application/grpc").body("\0\0\0\0\0");
    worker.exchange(&grpc.answer(created.trailer("grpc-status", "0")));
    answer(&[("audit", Answer::upstream(200).trailer("grpc-status", "0"))]);
    // What is still open when the configuration is replaced.
    worker.exchange(&item());
}

/// Whether the accounts can be right at all when this import fails.
fn keeps_its_accounts(import: &str) -> bool {
    let statistics = ["proxy_define_metric", "proxy_increment_metric", "proxy_record_metric"];
    // Without a clock or a timer, what waits never comes due.
    let time = ["clock_time_get", "proxy_set_tick_period_milliseconds"];
    !statistics.contains(&import) && !time.contains(&import)
}

#[test]
fn without_a_fault_the_life_is_a_rich_one() {
    let host = Host::new();
    let tally = host.tally(|| a_life(&host));
    let unused: Vec<_> = HOST_CALLS.into_iter().filter(|call| tally.of(call) == 0).collect();
    assert!(unused.is_empty(), "never called: {unused:?}");
    let reasons =
        ["queue_full", "body_too_large", "truncated", "not_retryable", "retries_exhausted", "unknown_cluster", "circuit_open"];
    let of_audit = reasons.map(|reason| format!("dropped.{reason}"));
    let of_batch = ["sampled_out", "delivered", "retries", "dead_lettered", "dropped.retries_exhausted", "dropped.body_not_json"];
    let of_later = [
        "delivered",
        "dead_lettered",
        "compare.body_mismatch",
        "compare.not_comparable",
        "not_triggered",
        "dropped.body_not_json",
    ];
    for (target, names) in [("thanks", ["delivered", "not_triggered"]), ("refund", ["dead_lettered", "not_triggered"])] {
        names.iter().for_each(|name| assert!(host.stat(target, name) > 0, "{name} of {target}"));
    }
    let lived = of_audit.iter().map(|name| ("audit", name.as_str()));
    for (target, name) in lived.chain(of_batch.map(|name| ("batch", name))).chain(of_later.map(|name| ("later", name))) {
        assert!(host.stat(target, name) > 0, "{name} of {target}");
    }
    assert!(host.stat("audit", "delivered") > 2);
    TARGETS.iter().for_each(|target| assert_balanced(&host, target));
}

/// Lives a life with one import failing, and says whether that went as it must.
fn survives(import: &str, first: u64, times: u64, status: Status) -> bool {
    let host = Host::new();
    host.fail(import, first, times, status);
    // The panic itself is printed all the same; going on shows every case that fails.
    let lived = catch_unwind(AssertUnwindSafe(|| {
        a_life(&host);
        let configured = !host.events("configured").is_empty() && !host.stats().is_empty();
        if configured && keeps_its_accounts(import) {
            TARGETS.iter().for_each(|target| assert_balanced(&host, target));
        }
    }));
    lived.is_ok()
}

/// No status of these host calls, at any point of a life, traps the filter or confuses its accounts.
fn assert_harmless(imports: &[&str]) {
    let plain = Host::new();
    let counted = plain.tally(|| a_life(&plain));
    let (mut lives, mut failed) = (0, Vec::new());
    for import in imports {
        for first in 0..counted.of(import) {
            let once = crate::FAULTS.iter().map(|status| (*status, 1));
            let for_ever = crate::LASTING_FAULTS.iter().map(|status| (*status, u64::MAX));
            for (status, times) in once.chain(for_ever) {
                lives += 1;
                if !survives(import, first, times, Status(status)) {
                    failed.push(format!("{import}: {status} from call {first} on, {times} times"));
                }
            }
        }
    }
    assert_eq!(failed, [""; 0]);
    assert!(lives > 60 * crate::FAULTS.len(), "only {lives} lives were tried");
}

const STATISTICS: [&str; 3] = ["proxy_define_metric", "proxy_increment_metric", "proxy_record_metric"];
const LOG: [&str; 3] = ["proxy_log", "proxy_get_log_level", "proxy_get_current_time_nanoseconds"];
const SHARED: [&str; 4] =
    ["proxy_get_shared_data", "proxy_set_shared_data", "clock_time_get", "proxy_set_tick_period_milliseconds"];

#[test]
fn statistics_that_fail_do_no_harm() {
    assert_harmless(&STATISTICS);
}

#[test]
fn logs_that_fail_do_no_harm() {
    assert_harmless(&LOG);
}

#[test]
fn shared_data_and_timers_that_fail_do_no_harm() {
    assert_harmless(&SHARED);
}

#[test]
fn whatever_else_fails_does_no_harm() {
    let others = HOST_CALLS.into_iter().filter(|call| !STATISTICS.iter().chain(&LOG).chain(&SHARED).any(|other| other == call));
    assert_harmless(&others.collect::<Vec<_>>());
}

#[test]
fn maps_that_make_no_sense_do_no_harm() {
    let honest = serialize(&[(b":path".to_vec(), b"/".to_vec()), (b":method".to_vec(), b"GET".to_vec())]);
    let mut garbage: Vec<Vec<u8>> = (0..honest.len()).map(|length| honest[..length].to_vec()).collect();
    garbage.extend((0..honest.len()).flat_map(|at| {
        [0x00, 0x01, 0x7f, 0x80, 0xff].map(|byte| {
            let mut bent = honest.clone();
            bent[at] = byte;
            bent
        })
    }));
    garbage.push(u32::MAX.to_le_bytes().to_vec());
    garbage.push([0xff; 64].to_vec());
    garbage.push([honest.clone(), vec![0; 9]].concat());
    let (host, worker) = mirroring();
    for bytes in garbage {
        host.give_garbage_for_maps(Some(bytes.clone()));
        worker.exchange(&Request::post("/").body("x"));
        worker.exchange(&Request::get("/"));
        worker.answer_all(&Answer::upstream(200));
    }
    host.give_garbage_for_maps(None);
    assert_balanced(&host, "audit");
    let before = host.stat("audit", "delivered");
    worker.exchange(&Request::get("/"));
    worker.answer_all(&Answer::upstream(200));
    assert_eq!(host.stat("audit", "delivered"), before + 1);
}

#[test]
fn an_answer_whose_headers_are_garbage_is_a_failed_attempt() {
    let (host, worker) = mirroring();
    for bytes in [vec![], vec![1], u32::MAX.to_le_bytes().to_vec(), vec![0; 4]] {
        worker.exchange(&Request::get("/"));
        let call = worker.call_out();
        host.give_garbage_for_maps(Some(bytes));
        host.fail("proxy_get_header_map_value", 0, u64::MAX, Status::INTERNAL_FAILURE);
        call.answer(Answer::upstream(200));
        host.heal();
        host.give_garbage_for_maps(None);
    }
    assert_eq!(host.stat("audit", "attempt_failures"), 4);
    assert_balanced(&host, "audit");
}
