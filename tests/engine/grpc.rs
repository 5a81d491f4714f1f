//! gRPC requests and their status, byte by byte and fault by fault. What it is like with tonic on both sides, `tests/envoy` shows.

use crate::{
    configurations::{assert_balanced, audit_with, dropped, mirroring, mirroring_with, only},
    host::{Answer, Host, Request, Response, Status},
};
use serde_json::json;

/// A message of three bytes.
const MESSAGE: &[u8] = b"\0\0\0\0\x03abc";

fn call() -> Request {
    Request::post("/orders.Orders/Place").header("content-type", "application/grpc").header("te", "trailers")
}

fn ok() -> Answer {
    Answer::upstream(200).header("content-type", "application/grpc").body(MESSAGE).trailer("grpc-status", "0")
}

#[test]
fn a_message_is_one_however_it_is_cut_into_chunks() {
    let (host, worker) = mirroring();
    let mut cuts: Vec<Vec<&[u8]>> = (0..=MESSAGE.len()).map(|at| vec![&MESSAGE[..at], &MESSAGE[at..]]).collect();
    cuts.push(MESSAGE.chunks(1).collect());
    cuts.push(vec![MESSAGE, b""]);
    cuts.push(vec![MESSAGE]);
    for chunks in cuts {
        for trailers in [false, true] {
            let request = chunks.iter().fold(call(), Request::body);
            worker.exchange(&if trailers { request.trailer("x", "y") } else { request });
            let call = worker.call_out();
            assert_eq!(call.body(), MESSAGE, "{chunks:?}");
            let te = call.headers().iter().filter(|(name, _)| name == b"te").map(|(_, value)| value.as_slice());
            assert_eq!(te.collect::<Vec<_>>(), [b"trailers"]);
            call.answer(ok());
        }
    }
    assert_eq!(dropped(&host, "audit"), []);
    assert_balanced(&host, "audit");
}

#[test]
fn more_than_one_message_is_a_stream_and_is_let_go_of_as_soon_as_that_shows() {
    let (host, worker) = mirroring();
    let both = [MESSAGE, MESSAGE].concat();
    let streams: [&[&[u8]]; 3] = [&[&both], &[MESSAGE, &MESSAGE[..1]], &[&both[..9], &both[9..]]];
    for (count, chunks) in (1..).zip(streams) {
        worker.exchange(&chunks.iter().fold(call(), Request::body));
        assert_eq!((worker.call_outs().len(), dropped(&host, "audit")), (0, only("grpc_stream", count)), "{chunks:?}");
    }
    let stream = worker.begin(&call(), false);
    stream.chunk(MESSAGE, false);
    stream.chunk(MESSAGE, false);
    assert_eq!(dropped(&host, "audit"), only("grpc_stream", 4));
    let tally = host.tally(|| {
        (0..10).for_each(|_| stream.chunk(MESSAGE, false));
        stream.answer(&Response::status(200));
        stream.close();
    });
    assert_eq!(tally.host_calls(), 0, "{tally:?}");
    assert_eq!(dropped(&host, "audit"), only("grpc_stream", 4));
    assert_balanced(&host, "audit");
}

/// The client chooses the content type, and could escape an audit by it.
#[test]
fn what_is_no_message_is_copied_as_any_request_whatever_its_content_type_says() {
    let bodies: [&[&[u8]]; 7] =
        [&[], &[b""], &[b"{\"amount\":1}"], &[b"{", b"}"], &[&MESSAGE[..7]], &[&MESSAGE[..4], b""], &[b"\0\0\0\0\0", b"{}"]];
    for after in ["request", "response"] {
        let (host, worker) = mirroring_with(&audit_with(&json!({ "after": after })));
        for chunks in bodies {
            worker.exchange(&chunks.iter().fold(call(), Request::body).answer(Response::status(200)));
            let call = worker.call_out();
            assert_eq!((call.body(), call.header("te")), (&chunks.concat()[..], None), "{chunks:?}");
            // Its response is none of gRPC either.
            call.answer(Answer::upstream(200));
        }
        // gRPC has no method but POST.
        worker.exchange(&Request::get("/transfer").header("content-type", "application/grpc").answer(Response::status(200)));
        worker.call_out().answer(Answer::upstream(200));
        assert_eq!((host.stat("audit", "delivered"), dropped(&host, "audit")), (8, vec![]), "{after}");
        assert_balanced(&host, "audit");
    }
}

/// What the log says of an attempt that ended like this; empty if it was delivered.
fn outcome(host: &Host, request: &Request, answer: Answer) -> String {
    host.clear_log();
    let worker = host.worker(&audit_with(&json!({"circuit_breaker": {"mode": "disabled"}})));
    worker.exchange(request);
    worker.call_out().answer(answer);
    assert_balanced(host, "audit");
    let failed = host.events("attempt_failed");
    assert_eq!(failed.len() + host.events("delivered").len(), 1);
    failed.first().map_or_else(String::new, |(_, event)| event["outcome"].as_str().unwrap().to_owned())
}

#[test]
fn the_status_is_that_of_the_headers_or_else_of_the_trailers() {
    let in_headers = |status: &str| Answer::upstream(200).header("grpc-status", status);
    let in_trailers = |status: &str| Answer::upstream(200).body(MESSAGE).trailer("grpc-status", status);
    let by_envoy = |message: &str| Answer::bare(200).header("grpc-status", "14").header("grpc-message", message);
    for (answer, expected) in [
        (in_headers("0"), ""),
        (in_trailers("0"), ""),
        (in_headers("14"), "grpc_14"),
        (in_trailers("14"), "grpc_14"),
        (in_headers("5").trailer("grpc-status", "0"), "grpc_5"),
        (in_trailers("99"), "grpc_99"),
        (Answer::upstream(200), "grpc_2"),
        (Answer::upstream(200).trailer("x", "y"), "grpc_2"),
        (in_headers("none"), "grpc_2"),
        (in_headers("none").trailer("grpc-status", "0"), ""),
        (in_trailers("-1"), "grpc_2"),
        (in_trailers("0 "), "grpc_2"),
        (in_trailers("4294967296"), "grpc_2"),
        (Answer::upstream(503).header("grpc-status", "0"), "status_503"),
        (Answer::reset(), "reset"),
        (by_envoy("upstream connect error. reset reason: remote connection failure"), "connect_failure"),
        (by_envoy("no healthy upstream"), "no_healthy_upstream"),
        (by_envoy("upstream request timeout"), "timeout"),
        (by_envoy("its own").header("x-envoy-upstream-service-time", "1"), "grpc_14"),
    ] {
        let seen = outcome(&Host::new(), &call().body(MESSAGE), answer.clone());
        assert_eq!(seen, expected, "{answer:?}");
    }
    // Only of gRPC.
    let plain = Request::post("/").header("content-type", "application/grpc-web").body(MESSAGE);
    assert_eq!(outcome(&Host::new(), &plain, in_headers("14")), "");
}

#[test]
fn a_status_that_the_host_does_not_hand_over_is_unknown() {
    for status in [Status::NOT_FOUND, Status::BAD_ARGUMENT, Status::INTERNAL_FAILURE] {
        // Those of HTTP, of the headers, of the trailers.
        for (first, expected) in [(0, "invalid_status"), (1, "grpc_2"), (2, "grpc_2"), (3, "")] {
            let host = Host::new();
            // One is asked for when the filter is configured.
            host.fail("proxy_get_header_map_value", 1 + first, u64::MAX, status);
            assert_eq!(outcome(&host, &call().body(MESSAGE), ok()), expected, "from value {first} on");
        }
    }
}

#[test]
fn what_is_made_of_a_message_is_no_grpc() {
    let template = json!({"request": {"body": {"template": {"message": "${body_base64}"}}}});
    let (host, worker) = mirroring_with(&audit_with(&template));
    worker.exchange(&call().body(MESSAGE));
    let copy = worker.call_out();
    assert_eq!((copy.header("te"), copy.header("content-type")), (None, Some("application/json")));
    assert_eq!(copy.body(), b"{\"message\":\"AAAAAANhYmM=\"}");
    copy.answer(Answer::upstream(200).header("grpc-status", "14"));
    assert_eq!(host.stat("audit", "delivered"), 1);
    assert_balanced(&host, "audit");
}

#[test]
fn a_primary_is_asked_for_its_status_of_grpc_and_both_sides_are_compared_by_it() {
    let (host, worker) = mirroring_with(&audit_with(&json!({"after": "response", "compare": {}})));
    let created = || Response::status(200).header("content-type", "application/grpc").body(MESSAGE);
    worker.exchange(&call().body(MESSAGE).answer(created().trailer("grpc-status", "0")));
    worker.call_out().answer(ok());
    assert_eq!((host.stat("audit", "delivered"), host.stat("audit", "compare.match")), (1, 1));
    // Refused, without a status, and with one that is no number: nothing is sent.
    for answer in [created().trailer("grpc-status", "5"), created(), created().trailer("grpc-status", "x")] {
        worker.exchange(&call().body(MESSAGE).answer(answer));
        assert_eq!(worker.call_outs().len(), 0);
    }
    assert_eq!((dropped(&host, "audit"), host.stat("audit", "not_triggered")), (vec![], 3));
    assert_eq!(host.stat("audit", "compare.not_comparable"), 3);
    assert_balanced(&host, "audit");
}
