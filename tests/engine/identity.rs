//! How a copy is known: delivery ids, correlation, trace context, and the loop guard.

use crate::{
    configurations::{audit, mirroring, mirroring_with, target, targets, with},
    host::{CallOut, Request, Worker},
};
use hmac::{Hmac, Mac};
use serde_json::json;
use std::collections::BTreeSet;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The hex HMAC-SHA256 of a delivery id.
pub(crate) fn seal(secret: &[u8], id: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
    mac.update(id.as_bytes());
    data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes())
}

fn copy_of(worker: &Worker, request: &Request) -> CallOut {
    worker.exchange(request);
    worker.call_out()
}

#[track_caller]
fn assert_random_uuid(text: &str) {
    let uuid = uuid::Uuid::parse_str(text).unwrap();
    assert_eq!(uuid.get_version_num(), 4);
    assert_eq!(uuid.hyphenated().to_string(), text);
}

#[test]
fn each_delivery_has_its_own_id() {
    let (_host, worker) = mirroring_with(&targets(&["a", "b"].map(target)));
    let mut ids = BTreeSet::new();
    for _ in 0..50 {
        worker.exchange(&Request::get("/"));
        for call in worker.call_outs() {
            let id = call.header("idempotency-key").unwrap();
            assert_random_uuid(id);
            assert_eq!(call.header("x-sidecast-loop"), Some(id));
            assert_eq!(call.header("x-sidecast-attempt"), None);
            ids.insert(id.to_owned());
        }
    }
    assert_eq!(ids.len(), 100);
}

#[test]
fn two_workers_never_make_the_same_id() {
    let (host, first) = mirroring();
    let second = host.worker(&audit());
    let id = |worker| copy_of(worker, &Request::get("/")).header("idempotency-key").unwrap().to_owned();
    assert_ne!(id(&first), id(&second));
}

#[test]
fn an_idempotency_key_that_is_empty_is_as_good_as_none() {
    let plain = json!({});
    let chosen = json!({"request": {"headers": {"set": {"x-a": "b"}}}});
    let templated = json!({"request": {"headers": {"set": {"idempotency-key": "${header:x-none}"}}}});
    for fields in [plain, chosen, templated] {
        let (_host, worker) = mirroring_with(&targets(&[with(target("audit"), &fields)]));
        for value in ["", "  "] {
            let call = copy_of(&worker, &Request::post("/").header("idempotency-key", value));
            let keys: Vec<_> = call.headers().iter().filter(|(name, _)| name == b"idempotency-key").collect();
            assert_eq!(keys.len(), 1, "{keys:?}");
            assert_random_uuid(call.header("idempotency-key").unwrap());
        }
    }
}

#[test]
fn what_servers_take_for_our_own_headers_is_left_out() {
    for fields in [json!({}), json!({"request": {"headers": {"set": {"x-a": "b"}}}})] {
        let (_host, worker) = mirroring_with(&targets(&[with(target("audit"), &fields)]));
        let forged = ["x_sidecast_target", "x-sidecast_loop", "x_sidecast-attempt", "x_envoy_retry_on", "proxy_authorization"];
        let request = forged.iter().fold(Request::get("/"), |request, name| request.header(name, "forged"));
        let call = copy_of(&worker, &request.header("x_other", "kept"));
        assert_eq!(forged.map(|name| call.header(name)), [None; 5]);
        assert_eq!((call.header("x_other"), call.header("x-sidecast-target")), (Some("kept"), Some("audit")));
    }
}

#[test]
fn an_authority_that_comes_to_nothing_is_the_primarys() {
    let fields = json!({"request": {"authority": "${header:x-host}"}});
    let (_host, worker) = mirroring_with(&targets(&[with(target("audit"), &fields)]));
    let plain = copy_of(&worker, &Request::get("/"));
    let primarys = plain.header(":authority").unwrap().to_owned();
    assert!(!primarys.is_empty());
    assert_eq!(copy_of(&worker, &Request::get("/").header("x-host", "")).header(":authority"), Some(&*primarys));
    assert_eq!(copy_of(&worker, &Request::get("/").header("x-host", "other")).header(":authority"), Some("other"));
    let fields = json!({"request": {"authority": "${header:x-host}:8080"}});
    let (_host, worker) = mirroring_with(&targets(&[with(target("audit"), &fields)]));
    assert_eq!(copy_of(&worker, &Request::get("/")).header(":authority"), Some(&*primarys));
    assert_eq!(copy_of(&worker, &Request::get("/").header("x-host", "other")).header(":authority"), Some("other:8080"));
}

#[test]
fn the_clients_idempotency_key_is_kept() {
    let (_host, worker) = mirroring();
    let call = copy_of(&worker, &Request::post("/").header("idempotency-key", "order-7"));
    assert_eq!(call.header("idempotency-key"), Some("order-7"));
    let keys = call.headers().iter().filter(|(name, _)| name == b"idempotency-key");
    assert_eq!(keys.count(), 1);
    assert_random_uuid(call.header("x-sidecast-loop").unwrap());
}

#[test]
fn the_clients_correlation_id_is_kept_and_a_missing_one_is_made_once_for_all_targets() {
    let (_host, worker) = mirroring_with(&targets(&["a", "b"].map(target)));
    let call = copy_of(&worker, &Request::get("/").header("x-request-id", "c0ffee"));
    assert_eq!(call.header("x-request-id"), Some("c0ffee"));
    worker.call_outs();
    worker.exchange(&Request::get("/"));
    let calls = worker.call_outs();
    let made = calls[0].header("x-request-id").unwrap();
    assert_random_uuid(made);
    assert_eq!(calls[1].header("x-request-id"), Some(made));
}

#[test]
fn the_correlation_header_can_have_another_name() {
    let (_host, worker) = mirroring_with(&with(audit(), &json!({"correlation": {"header": "x-order-trace"}})));
    let call = copy_of(&worker, &Request::get("/"));
    assert_random_uuid(call.header("x-order-trace").unwrap());
    assert_eq!(call.header("x-request-id"), None);
}

#[test]
fn a_copy_is_a_child_in_the_clients_trace() {
    let (_host, worker) = mirroring();
    let call = copy_of(&worker, &Request::get("/").header("traceparent", TRACE).header("tracestate", "a=1"));
    let child = call.header("traceparent").unwrap();
    assert_eq!(child[..36], TRACE[..36]);
    assert_eq!(child[52..], TRACE[52..]);
    assert_ne!(child[36..52], TRACE[36..52]);
    assert_ne!(&child[36..52], "0000000000000000");
    assert!(child[36..52].bytes().all(|digit| b"0123456789abcdef".contains(&digit)));
    assert_eq!(call.header("tracestate"), Some("a=1"));
}

#[test]
fn a_broken_trace_context_is_dropped_and_none_is_invented() {
    let (_host, worker) = mirroring();
    let call = copy_of(&worker, &Request::get("/"));
    assert_eq!(call.header("traceparent"), None);
    for broken in
        ["", "00-xyz", &TRACE[..54], &TRACE.replace("4bf9", "4BF9"), "00-00000000000000000000000000000000-00f067aa0ba902b7-01"]
    {
        let request = Request::get("/").header("traceparent", broken).header("tracestate", "a=1");
        let call = copy_of(&worker, &request);
        assert_eq!(call.header("traceparent"), None, "{broken}");
        assert_eq!(call.header("tracestate"), None, "{broken}");
    }
}

#[test]
fn a_copy_that_comes_back_is_not_mirrored_again() {
    let (host, worker) = mirroring();
    let call = copy_of(&worker, &Request::get("/"));
    let mark = call.header("x-sidecast-loop").unwrap();
    worker.exchange(&Request::get("/").header("x-sidecast-loop", mark));
    assert_eq!(worker.call_outs().len(), 0);
    assert_eq!(host.stat("audit", "matched"), 1);
}

#[test]
fn with_a_secret_only_a_sealed_mark_stops_a_request() {
    let secret = "correct horse battery staple";
    let (host, worker) = mirroring_with(&with(audit(), &json!({"loop_guard": {"secret": secret}})));
    let call = copy_of(&worker, &Request::get("/"));
    let mark = call.header("x-sidecast-loop").unwrap();
    let (id, sealed) = mark.split_once('.').unwrap();
    assert_eq!(sealed, seal(secret.as_bytes(), id));
    worker.exchange(&Request::get("/").header("x-sidecast-loop", mark));
    assert_eq!(worker.call_outs().len(), 0);
    assert_eq!(host.stat("audit", "matched"), 1);

    let forged = [String::new(), id.to_owned(), format!("{id}."), format!("{id}.{}", seal(b"guess", id)), mark[1..].to_owned()];
    for forged in forged {
        let call = copy_of(&worker, &Request::get("/").header("x-sidecast-loop", &forged));
        let marks = call.headers().iter().filter(|(name, _)| name == b"x-sidecast-loop");
        assert_eq!(marks.count(), 1);
        assert_ne!(call.header("x-sidecast-loop"), Some(forged.as_str()));
    }
}
