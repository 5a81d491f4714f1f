//! Hosts that fail or lie: the filter never traps, and keeps its accounts where it still can.

use crate::{
    scene::{assert_balanced, audit_with, mirroring, with},
    wasm_host::{imports_of_the_module, serialize, Answer, Host, Request, Status},
};
use serde_json::{json, Value};
use std::{
    panic::{catch_unwind, AssertUnwindSafe},
    time::Duration,
};

/// Statuses of the ABI and beyond, and WASI's error numbers among them.
const STATUSES: [i32; 12] = [1, 2, 3, 6, 8, 10, 11, 12, 28, 99, -1, i32::MAX];

fn configuration() -> Value {
    let target = json!({
        "limits": {"max_in_flight": 1, "max_queued": 1},
        "match": [{"path": {"prefix": "/"}}],
        "retry": {"max_attempts": 2},
        "circuit_breaker": {"consecutive_failures": 6, "half_open": {"successes": 1}},
    });
    let root = json!({
        "limits": {"max_body_bytes": 16},
        "loop_guard": {"secret": "${env:SIDECAST_LOOP_SECRET}"},
    });
    with(audit_with(&target), &root)
}

/// A little of everything that happens to a filter, from its start to the end of its listener.
fn a_life(host: &Host) {
    host.set_env("SIDECAST_LOOP_SECRET", "a long enough secret");
    let worker = host.bare_worker();
    if !worker.configure(configuration().to_string()) {
        return;
    }
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
    let replacement = with(configuration(), &json!({"limits": {"max_body_bytes": 17}}));
    worker.configure(replacement.to_string());
    worker.answer_all(&Answer::upstream(200));
    worker.exchange(&Request::get("/"));
    worker.answer_all(&Answer::upstream(200));
    // What a fault made wait comes due.
    worker.pass(host, Duration::from_secs(30));
    worker.answer_all(&Answer::upstream(200));
    worker.shut_down();
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
    let unused: Vec<_> = imports_of_the_module().into_iter().filter(|import| tally.of(import) == 0).collect();
    // A filter only exits, or writes to a descriptor, when it panics.
    let unused: Vec<_> = unused.iter().filter(|import| !["proc_exit", "fd_write"].contains(&import.as_str())).collect();
    assert!(unused.is_empty(), "never called: {unused:?}");
    for reason in
        ["queue_full", "body_too_large", "truncated", "not_retryable", "retries_exhausted", "unknown_cluster", "circuit_open"]
    {
        assert!(host.stat("audit", &format!("dropped.{reason}")) > 0, "{reason}");
    }
    assert!(host.stat("audit", "delivered") > 2);
    assert_balanced(&host, "audit");
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
            assert_balanced(&host, "audit");
        }
    }));
    lived.is_ok()
}

#[test]
fn no_status_of_any_host_call_at_any_point_traps_the_filter() {
    let plain = Host::new();
    let counted = plain.tally(|| a_life(&plain));
    let (mut lives, mut failed) = (0, Vec::new());
    for import in imports_of_the_module() {
        for first in 0..counted.of(&import) {
            for (status, times) in STATUSES.iter().flat_map(|&status| [(status, 1), (status, u64::MAX)]) {
                lives += 1;
                if !survives(&import, first, times, Status(status)) {
                    failed.push(format!("{import}: {status} from call {first} on, {times} times"));
                }
            }
        }
    }
    assert_eq!(failed, [""; 0]);
    assert!(lives > 1_000, "only {lives} lives were tried");
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
