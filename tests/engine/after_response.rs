//! Copies that wait for the primary's response, at each end that a stream can have.

use crate::{
    configurations::{assert_balanced, audit, audit_with, dropped, mirroring_with, only, target, targets, with},
    host::{Answer, Host, Request, Response, Status, Stream, Worker},
};
use serde_json::{json, Value};
use std::time::Duration;

fn waiting_with(fields: &Value) -> (Host, Worker) {
    mirroring_with(&audit_with(&with(json!({"after": "response"}), fields)))
}

fn order() -> Request {
    Request::post("/orders").body("an order")
}

/// How a stream ended, and whether the copy that waited for it is sent.
#[track_caller]
fn assert_sent(statuses: &Value, end: impl FnOnce(Stream), sent: bool) {
    let (host, worker) = waiting_with(&json!({ "statuses": statuses }));
    let stream = worker.send(&order());
    let waits = ["matched", "attempts", "queued", "inflight"].map(|name| host.stat("audit", name));
    assert_eq!((waits, worker.call_outs().len()), ([1, 0, 0, 0], 0));
    end(stream);
    let calls = worker.call_outs();
    assert_eq!(calls.len(), usize::from(sent));
    for call in calls {
        assert_eq!((call.body(), call.header(":path")), (&b"an order"[..], Some("/orders")));
        call.answer(Answer::upstream(200));
    }
    assert_eq!(host.stat("audit", "delivered"), i64::from(sent));
    assert_eq!((dropped(&host, "audit"), host.stat("audit", "not_triggered")), (vec![], i64::from(!sent)));
    assert_balanced(&host, "audit");
}

/// The beginning of a response, whose end never comes.
fn begun(stream: Stream, status: u16) -> Stream {
    stream.begin_answer(&Response::status(status), false);
    stream.answer_chunk("half", false);
    stream
}

fn answered(stream: Stream, response: &Response) {
    stream.answer(response);
    stream.close();
}

const SENT: bool = true;
const NOT_SENT: bool = false;

macro_rules! ends {
    ($($name:ident: $statuses:tt, $end:expr => $sent:ident;)*) => {
        $(#[test] fn $name() { assert_sent(&json!($statuses), $end, $sent); })*
    };
}

ends! {
    a_success: ["2xx"], |stream| answered(stream, &Response::status(201).body("created").body("")) => SENT;
    a_success_without_a_body: ["2xx"], |stream| answered(stream, &Response::status(204)) => SENT;
    a_success_with_trailers: ["2xx"], |stream| answered(stream, &Response::status(200).body("a").trailer("b", "c")) => SENT;
    a_status_that_is_not_waited_for: ["2xx"], |stream| answered(stream, &Response::status(404)) => NOT_SENT;
    a_failure_that_is_waited_for: ["2xx", "503"], |stream| answered(stream, &Response::status(503)) => SENT;
    a_client_that_is_gone_before_the_answer: ["2xx"], |stream| stream.close() => NOT_SENT;
    a_client_that_resets_before_the_answer: ["2xx"], |stream| stream.client_resets() => NOT_SENT;
    a_client_that_is_gone_in_a_success: ["2xx"], |stream| begun(stream, 200).close() => SENT;
    a_client_that_resets_in_a_success: ["2xx"], |stream| begun(stream, 200).client_resets() => SENT;
    a_client_that_is_gone_in_a_failure: ["2xx"], |stream| begun(stream, 500).close() => NOT_SENT;
    a_primary_that_breaks_off: ["2xx"], |stream| begun(stream, 200).primary_breaks_off() => NOT_SENT;
    a_primary_that_resets: ["2xx"], |stream| begun(stream, 200).primary_resets() => NOT_SENT;
    a_primary_that_stalls: ["2xx"], |stream| begun(stream, 200).primary_stalls() => NOT_SENT;
    a_primary_that_closes_instead_of_answering: ["5xx"], |stream| answered(stream, &Response::reset_before_headers()) => NOT_SENT;
    a_primary_that_refuses: ["5xx"], |stream| answered(stream, &Response::connect_failure()) => NOT_SENT;
    a_primary_that_is_too_slow: ["5xx"], |stream| answered(stream, &Response::timeout()) => NOT_SENT;
    a_filter_behind_that_answers: ["401"], |stream| {
        answered(stream, &Response::made_by_envoy(401, "no", "ext_authz_denied", 0x1000));
    } => SENT;
}

#[test]
fn of_all_flags_those_of_a_broken_answer_take_a_success_back() {
    // Upstream timeout, local and remote reset, connection failure and termination, and the limits of time, at their places in Envoy.
    let broken = [2, 3, 4, 5, 6, 16, 19, 22, 23];
    for bit in 0..40 {
        let answer = Response::made_by_envoy(200, "done", "why", 1 << bit);
        assert_sent(&json!(["2xx"]), |stream| answered(stream, &answer), !broken.contains(&bit));
    }
}

#[test]
fn an_answer_of_which_envoy_does_not_tell_how_it_ended_is_no_success() {
    let (host, worker) = waiting_with(&json!({}));
    for (read_before, not_triggered) in [(0, 1), (1, 2)] {
        host.fail("proxy_get_property", read_before, 1, Status::INTERNAL_FAILURE);
        answered(worker.send(&order()), &Response::status(200));
        host.heal();
        assert_eq!((worker.call_outs().len(), dropped(&host, "audit")), (0, vec![]));
        assert_eq!(host.stat("audit", "not_triggered"), not_triggered);
    }
    assert_balanced(&host, "audit");
}

#[test]
fn a_request_that_a_filter_before_answers_waits_for_nothing() {
    let (host, worker) = waiting_with(&json!({}));
    worker.answer_before_the_filter(&order(), &Response::status(200));
    assert_eq!((host.stat("audit", "matched"), worker.call_outs().len()), (0, 0));
}

#[test]
fn an_answer_may_begin_before_its_request_is_complete() {
    let (host, worker) = waiting_with(&json!({"request": {"headers": {"set": {"x-seen": "${response:header:x-seen}"}}}}));
    let stream = worker.begin(&order(), false);
    stream.begin_answer(&Response::status(200).header("x-seen", "early"), false);
    stream.chunk("an order", true);
    stream.answer_chunk("done", true);
    stream.close();
    let call = worker.call_out();
    assert_eq!((call.body(), call.header("x-seen")), (&b"an order"[..], Some("early")));
    call.answer(Answer::upstream(200));
    // The same, but the request never gets complete.
    let stream = worker.begin(&order(), false);
    stream.chunk("half", false);
    stream.answer(&Response::status(200));
    stream.close();
    assert_eq!((worker.call_outs().len(), dropped(&host, "audit")), (0, only("answered_early", 1)));
    assert_balanced(&host, "audit");
}

#[test]
fn a_body_over_the_cap_is_counted_once_and_waits_for_nothing() {
    let capped = audit_with(&json!({"after": "response"}));
    let (host, worker) = mirroring_with(&with(capped, &json!({"limits": {"max_body_bytes": 4}})));
    let ends: [fn(Stream); 3] = [
        |stream| answered(stream, &Response::status(200)),
        |stream| stream.close(),
        |stream| begun(stream, 200).primary_stalls(),
    ];
    for (count, end) in (1..).zip(ends) {
        let stream = worker.send(&Request::post("/").body("12345"));
        assert_eq!(dropped(&host, "audit"), only("body_too_large", count));
        let tally = host.tally(|| end(stream));
        assert_eq!(tally.host_calls(), 0, "{tally:?}");
        assert_eq!(dropped(&host, "audit"), only("body_too_large", count));
    }
    assert_eq!(worker.call_outs().len(), 0);
    assert_balanced(&host, "audit");
}

#[test]
fn what_waits_takes_bytes_and_no_places_and_gives_them_back() {
    let target = json!({"after": "response", "limits": {"max_in_flight": 1, "max_queued": 0}});
    let limits = json!({"limits": {"max_body_bytes": 1_000, "max_buffered_bytes": 5_800}});
    let (host, worker) = mirroring_with(&with(audit_with(&target), &limits));
    host.set_log_level(crate::host::Level::Critical);
    let large = Request::post("/").body(vec![b'x'; 1_000]);
    let ends: [fn(Stream); 4] = [
        |stream| answered(stream, &Response::status(200)),
        |stream| answered(stream, &Response::status(500)),
        |stream| stream.close(),
        |stream| begun(stream, 200).primary_breaks_off(),
    ];
    let (mut taken, mut refused) = (0, 0);
    for round in 0..2_500 {
        let streams = [(); 4].map(|()| worker.send(&large));
        refused += 1;
        assert_eq!(host.stat("audit", "dropped.buffer_full"), refused, "three have room, the fourth has not");
        assert_eq!((host.stat("audit", "queued"), host.stat("audit", "queued_bytes")), (0, 0));
        let calls: Vec<_> = streams
            .into_iter()
            .flat_map(|stream| {
                ends[round % ends.len()](stream);
                let calls = worker.call_outs();
                calls.iter().for_each(|call| call.answer(Answer::upstream(200)));
                calls
            })
            .collect();
        taken += calls.len();
    }
    assert_eq!((taken, host.stat("audit", "matched")), (3 * 2_500 / 4, 10_000));
    assert_balanced(&host, "audit");
}

#[test]
fn what_is_kept_of_the_answer_takes_bytes_too() {
    let target = json!({
        "after": "response",
        "request": {"headers": {"set": {"x-seen": "${response:header:x-seen}"}}},
        "limits": {"max_in_flight": 1, "max_queued": 1_000},
    });
    let limits = json!({"limits": {"max_body_bytes": "1KiB", "max_buffered_bytes": "68KiB"}});
    let (host, worker) = mirroring_with(&with(audit_with(&target), &limits));
    for _ in 0..20 {
        worker.exchange(&order().answer(Response::status(200).header("x-long", "x".repeat(16_000))));
    }
    assert_eq!(host.stat("audit", "delivered") + host.stat("audit", "inflight") + host.stat("audit", "queued"), 4);
    assert_eq!(dropped(&host, "audit"), only("buffer_full", 16));
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 4);
    assert_balanced(&host, "audit");
}

#[test]
fn those_that_wait_and_those_that_do_not_share_one_request() {
    let waits = with(target("waits"), &json!({"after": "response"}));
    let batches = with(target("batches"), &json!({"after": "response", "batch": {"max_items": 1}}));
    let picky = with(target("picky"), &json!({"after": "response", "statuses": ["409"]}));
    let (host, worker) = mirroring_with(&targets(&[waits, target("now"), batches, picky]));
    let clusters = || {
        let calls = worker.call_outs();
        calls.iter().for_each(|call| call.answer(Answer::upstream(200)));
        calls.iter().map(|call| (call.cluster().to_owned(), call.body().to_vec())).collect::<Vec<_>>()
    };
    let stream = worker.send(&Request::post("/").body("[1]"));
    assert_eq!(clusters(), [("now".to_owned(), b"[1]".to_vec())]);
    answered(stream, &Response::status(200));
    assert_eq!(clusters(), [("waits".to_owned(), b"[1]".to_vec()), ("batches".to_owned(), b"[[1]]".to_vec())]);
    assert_eq!((dropped(&host, "picky"), host.stat("picky", "not_triggered")), (vec![], 1));
    // Cut off, all of them have lost it, each once.
    let stream = worker.begin(&Request::post("/"), false);
    stream.chunk("half", false);
    stream.close();
    for name in ["waits", "now", "batches"] {
        assert_eq!(dropped(&host, name), only("truncated", 1), "{name}");
        assert_balanced(&host, name);
    }
    assert_balanced(&host, "picky");
}

#[test]
fn a_configuration_that_is_replaced_stays_for_the_streams_that_wait() {
    let (host, worker) = waiting_with(&json!({"timeout": "3s"}));
    let [sent, failed, batch] = [(); 3].map(|()| worker.send(&order()));
    let old = worker.root();
    assert!(worker.configure(audit().to_string()));
    answered(batch, &Response::status(500));
    answered(failed, &Response::connect_failure());
    assert!(!worker.is_draining(old) && !worker.is_deleted(old), "a stream still belongs to it");
    answered(sent, &Response::status(200));
    let call = worker.call_out();
    assert!(worker.is_draining(old));
    assert_eq!(call.timeout(), Duration::from_secs(3), "as the configuration says under which it came");
    call.answer(Answer::upstream(200));
    assert!(worker.is_deleted(old));
    assert_eq!((dropped(&host, "audit"), host.stat("audit", "not_triggered")), (vec![], 2));
    assert_balanced(&host, "audit");
}

#[test]
fn an_item_that_comes_with_the_last_stream_of_an_old_configuration_goes_at_once() {
    let (host, worker) = waiting_with(&json!({"batch": {"max_delay": "1h"}}));
    let stream = worker.send(&Request::post("/").body("1"));
    let old = worker.root();
    assert!(worker.configure(audit().to_string()));
    answered(stream, &Response::status(200));
    let call = worker.call_out();
    assert_eq!(call.body(), b"[1]");
    assert!(worker.is_draining(old));
    call.answer(Answer::upstream(200));
    assert!(worker.is_deleted(old));
    assert_balanced(&host, "audit");
}

#[test]
fn an_answer_of_which_envoy_tells_nothing_is_none() {
    for status in [Status::NOT_FOUND, Status::BAD_ARGUMENT, Status::INTERNAL_FAILURE] {
        let (host, worker) = waiting_with(&json!({}));
        let stream = worker.send(&order());
        stream.answer(&Response::status(200));
        host.fail("proxy_get_property", 0, u64::MAX, status);
        stream.close();
        assert_eq!((worker.call_outs().len(), dropped(&host, "audit")), (0, vec![]));
        assert_eq!(host.stat("audit", "not_triggered"), 1);
        host.heal();
        worker.exchange(&order());
        assert_eq!(worker.answer_all(&Answer::upstream(200)), 1);
        assert_balanced(&host, "audit");
    }
}

#[test]
fn headers_of_the_answer_that_cannot_be_read_are_absent() {
    let (host, worker) = waiting_with(&json!({"request": {"headers": {"set": {"x-seen": "<${response:header:x-seen}>"}}}}));
    let answer = Response::status(200).header("x-seen", "it");
    for (fault, seen) in [(false, "<it>"), (true, "<>")] {
        let stream = worker.send(&order());
        if fault {
            host.fail("proxy_get_header_map_pairs", 0, u64::MAX, Status::INTERNAL_FAILURE);
        }
        answered(stream, &answer);
        let call = worker.call_out();
        assert_eq!(call.header("x-seen"), Some(seen));
        call.answer(Answer::upstream(200));
    }
    assert_balanced(&host, "audit");
}
