//! What a target receives of a request: the same bytes, less what is not its business.

use crate::{
    configurations::{mirroring, mirroring_with, target, targets, with},
    host::{Pairs, Request},
};
use serde_json::json;

/// The headers of a call-out which the filter did not add itself.
fn from_the_primary(headers: &Pairs) -> Vec<(String, Vec<u8>)> {
    let added = ["x-sidecast-target", "x-sidecast-attempt", "x-sidecast-loop", "idempotency-key", "x-request-id"];
    let texts = headers.iter().map(|(name, value)| (String::from_utf8(name.clone()).unwrap(), value.clone()));
    texts.filter(|(name, _)| !added.contains(&name.as_str())).collect()
}

fn expected(list: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    let owned = list.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec()));
    owned.collect()
}

#[test]
fn a_request_without_a_body_arrives_with_its_headers_in_their_order() {
    let (_host, worker) = mirroring();
    let request = Request::get("/orders?id=7&id=8#").header("user-agent", "curl/8").header("accept", "*/*");
    worker.exchange(&request);
    let call = worker.call_out();
    assert_eq!(call.cluster(), "audit");
    assert_eq!(call.body(), b"");
    let headers = expected(&[
        (":authority", b"shop.example"),
        (":path", b"/orders?id=7&id=8#"),
        (":method", b"GET"),
        (":scheme", b"https"),
        ("user-agent", b"curl/8"),
        ("accept", b"*/*"),
    ]);
    assert_eq!(from_the_primary(call.headers()), headers);
}

#[test]
fn the_copy_is_made_when_the_request_is_complete_and_not_before() {
    let (_host, worker) = mirroring();
    let stream = worker.begin(&Request::post("/orders"), false);
    stream.chunk("one", false);
    assert_eq!(worker.call_outs().len(), 0);
    stream.chunk("two", true);
    assert_eq!(worker.call_out().body(), b"onetwo");
    stream.close();
    assert_eq!(worker.call_outs().len(), 0);
}

#[test]
fn a_body_that_ends_with_an_empty_chunk_arrives_whole() {
    let (_host, worker) = mirroring();
    let every_byte: Vec<u8> = (0..=255).collect();
    worker.exchange(&Request::post("/").body(&every_byte).body("").body(&every_byte).body(""));
    assert_eq!(worker.call_out().body(), [&every_byte[..], &every_byte].concat());
}

#[test]
fn a_body_with_trailers_arrives_without_them() {
    let (_host, worker) = mirroring();
    worker.exchange(&Request::post("/").body("ab").body("c").trailer("grpc-status", "0"));
    let call = worker.call_out();
    assert_eq!(call.body(), b"abc");
    assert_eq!(call.trailers().len(), 0);
    assert_eq!(worker.call_outs().len(), 0);
}

#[test]
fn trailers_without_a_body_complete_the_request_too() {
    let (_host, worker) = mirroring();
    worker.exchange(&Request::post("/").trailer("x-checksum", "1"));
    assert_eq!(worker.call_out().body(), b"");
}

#[test]
fn several_targets_get_the_same_request() {
    let list = ["audit", "search", "fraud"].map(target);
    let (_host, worker) = mirroring_with(&targets(&list));
    worker.exchange(&Request::post("/orders").header("accept", "a/b").body("{\"id\": 7}"));
    let calls = worker.call_outs();
    let clusters: Vec<_> = calls.iter().map(|call| call.cluster()).collect();
    assert_eq!(clusters, ["audit", "search", "fraud"]);
    for call in &calls {
        assert_eq!(call.body(), b"{\"id\": 7}");
        assert_eq!(from_the_primary(call.headers()), from_the_primary(calls[0].headers()));
        assert_eq!(call.header("x-sidecast-target"), Some(call.cluster()));
    }
}

#[test]
fn credentials_and_what_belongs_to_one_hop_are_left_out() {
    let (_host, worker) = mirroring();
    let mut request = Request::post("/").header("connection", "keep-alive");
    let private = [
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "http2-settings",
        "content-length",
        "expect",
        "x-envoy-retry-on",
        "x-envoy-upstream-rq-timeout-ms",
        "x-sidecast-target",
        "x-sidecast-attempt",
        "authorization",
        "cookie",
        "x-api-key",
        "x-forwarded-client-cert",
    ];
    for name in private {
        request = request.header(name, "private");
    }
    worker.exchange(&request.header("x-kept", "public").body("b"));
    let call = worker.call_out();
    let kept = from_the_primary(call.headers());
    let names: Vec<_> = kept.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [":authority", ":path", ":method", ":scheme", "x-kept"]);
    let leaked = call.headers().iter().filter(|(_, value)| value == b"private");
    assert_eq!(leaked.count(), 0);
}

#[test]
fn repeated_headers_and_bytes_that_are_no_text_arrive_as_they_are() {
    let (_host, worker) = mirroring();
    let latin: Vec<u8> = (0x80..=0xff).collect();
    let request = Request::get("/").header("x-many", "1").header("x-name", &latin).header("x-many", "2").header("x-empty", "");
    worker.exchange(&request);
    let headers = from_the_primary(worker.call_out().headers());
    let more = expected(&[("x-many", b"1"), ("x-name", &latin), ("x-many", b"2"), ("x-empty", b"")]);
    assert_eq!(headers[4..], more);
}

#[test]
fn large_and_odd_requests_arrive_unharmed() {
    let (_host, worker) = mirroring();
    let path = format!("/{}?", "x".repeat(8 * 1024));
    let mut request = Request::new("PROPFIND", &path).without(":authority").header(":authority", "[::1]:8443");
    for index in 0..100 {
        request = request.header(&format!("x-h{index}"), "v".repeat(1024));
    }
    worker.exchange(&request.body("x"));
    let call = worker.call_out();
    assert_eq!(call.header(":path"), Some(path.as_str()));
    assert_eq!(call.header(":authority"), Some("[::1]:8443"));
    assert_eq!(call.header(":method"), Some("PROPFIND"));
    assert_eq!(call.header("x-h99").map(str::len), Some(1024));
}

#[test]
fn the_timeout_of_the_target_is_that_of_the_call_out() {
    let list =
        [target("default"), with(target("short"), &json!({"timeout": "1ms"})), with(target("long"), &json!({"timeout": "1h"}))];
    let (_host, worker) = mirroring_with(&targets(&list));
    worker.exchange(&Request::get("/"));
    let timeouts: Vec<_> = worker.call_outs().iter().map(|call| call.timeout().as_millis()).collect();
    assert_eq!(timeouts, [2_000, 1, 3_600_000]);
}

#[test]
fn a_cluster_may_have_any_name() {
    let name = "outbound|8080||audit.ns.svc.cluster.local";
    let (_host, worker) = mirroring_with(&targets(&[with(target("audit"), &json!({"cluster": name}))]));
    worker.exchange(&Request::get("/"));
    assert_eq!(worker.call_out().cluster(), name);
}
