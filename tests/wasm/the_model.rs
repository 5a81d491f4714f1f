//! The model of Envoy can make a filter fail, and a stream in it shows what it would show in Envoy: what is expected here was seen in Envoy 1.40.0.

use crate::{
    host::{serialize, Answer, Host, Request, Response, Status, Stream, Worker},
    probe::Probe,
};

#[test]
fn an_injected_fault_hits_the_chosen_call_only() {
    let host = Host::new();
    let worker = host.bare_worker();
    host.fail("proxy_define_metric", u64::MAX, 1, Status::INTERNAL_FAILURE);
    let tally = host.tally(|| {
        assert!(worker.configure(crate::configurations::audit().to_string()));
    });
    assert_eq!(tally.of("proxy_define_metric"), worker.definitions() as u64);
    let defined = worker.definitions();
    host.fail("proxy_define_metric", 3, 1, Status::INTERNAL_FAILURE);
    // Of a target that it knows, it defines nothing.
    let other = crate::configurations::targets(&[crate::configurations::target("other")]).to_string();
    assert!(!worker.configure(other.as_str()));
    assert_eq!(worker.definitions(), defined + 3);
    host.heal();
    assert!(worker.configure(other));
}

/// A request and a response that have everything that either can have; each map has its own value for `x-map`.
fn everything() -> Request {
    let request = Request::post("/orders?id=1").header("x-map", "request").body("question").trailer("x-map", "request trailer");
    let answer = Response::status(201).header("x-map", "response").body("answer").trailer("x-map", "response trailer");
    request.answer(answer)
}

const CALLBACKS: [&str; 10] = [
    "proxy_on_context_create",
    "proxy_on_request_headers",
    "proxy_on_request_body",
    "proxy_on_request_trailers",
    "proxy_on_response_headers",
    "proxy_on_response_body",
    "proxy_on_response_trailers",
    "proxy_on_log",
    "proxy_on_done",
    "proxy_on_delete",
];

#[test]
fn an_exchange_reaches_the_filter_piece_by_piece() {
    let (host, probe) = Probe::new();
    host.clear_log();
    probe.worker.exchange(&everything());
    assert_eq!(probe.callbacks(), CALLBACKS);
    assert_eq!(probe.arguments("proxy_on_request_headers"), [5, 0]);
    assert_eq!(probe.arguments("proxy_on_response_headers"), [2, 0]);
    assert_eq!(probe.arguments("proxy_on_response_body"), [6, 0]);
    assert_eq!(probe.arguments("proxy_on_response_trailers"), [1]);
}

#[test]
fn the_last_piece_of_an_answer_is_its_end() {
    let (_, probe) = Probe::new();
    let end = |export: &str| *probe.arguments(export).last().unwrap();
    probe.worker.exchange(&Request::get("/").answer(Response::status(204)));
    assert_eq!(end("proxy_on_response_headers"), 1);
    let stream = probe.worker.send(&Request::get("/"));
    stream.begin_answer(&Response::status(200), false);
    assert_eq!(end("proxy_on_response_headers"), 0);
    stream.answer_chunk("one", false);
    assert_eq!(probe.arguments("proxy_on_response_body"), [3, 0]);
    stream.answer_chunk("", true);
    assert_eq!(probe.arguments("proxy_on_response_body"), [0, 1]);
    stream.close();
    probe.worker.exchange(&Request::get("/").answer(Response::status(200).body("one").body("two!")));
    assert_eq!(end("proxy_on_response_headers"), 0);
    assert_eq!(probe.arguments("proxy_on_response_body"), [4, 1]);
}

#[test]
fn an_exchange_without_a_given_answer_is_answered_200() {
    let (_, probe) = Probe::new();
    probe.worker.exchange(&Request::get("/"));
    assert_eq!(probe.arguments("proxy_on_response_headers"), [1, 1]);
    assert_eq!(probe.property("proxy_on_log", "response.code"), Ok(200_i64.to_le_bytes().into()));
}

#[test]
fn each_map_can_be_read_in_its_own_callback_and_all_but_one_in_the_log() {
    let (_, probe) = Probe::new();
    probe.worker.exchange(&everything());
    for callback in CALLBACKS {
        let in_log = callback == "proxy_on_log";
        let own = ["request_headers", "request_trailers", "response_headers", "response_trailers"];
        for (kind, value) in ["request", "request trailer", "response", "response trailer"].into_iter().enumerate() {
            let is_there = callback.ends_with(own[kind]) || in_log && kind != 1;
            let refused = if in_log { Status::NOT_FOUND } else { Status::BAD_ARGUMENT };
            let wanted = if is_there { Ok(value.into()) } else { Err(refused) };
            assert_eq!(probe.value(callback, kind as u32), wanted, "map {kind} in {callback}");
            let pairs = probe.pairs(callback, kind as u32).unwrap();
            assert_eq!(!pairs.is_empty(), is_there, "map {kind} in {callback}");
        }
    }
}

#[test]
fn each_body_can_be_read_in_its_own_callback() {
    let (_, probe) = Probe::new();
    probe.worker.exchange(&everything());
    for callback in CALLBACKS {
        for (kind, own, value) in [(0, "proxy_on_request_body", "question"), (1, "proxy_on_response_body", "answer")] {
            let wanted = if callback == own { value } else { "" };
            assert_eq!(probe.buffer(callback, kind), Ok(wanted.into()), "buffer {kind} in {callback}");
        }
    }
}

fn number(number: i64) -> Result<Vec<u8>, Status> {
    Ok(number.to_le_bytes().into())
}

#[test]
fn the_status_is_known_from_the_headers_of_the_answer_to_the_very_end() {
    let (_, probe) = Probe::new();
    probe.worker.exchange(&everything());
    for callback in CALLBACKS {
        let answered = CALLBACKS[4..].contains(&callback);
        let [code, details] = ["response.code", "response.code_details"].map(|name| probe.property(callback, name));
        assert_eq!(code, if answered { number(201) } else { Err(Status::NOT_FOUND) }, "{callback}");
        assert_eq!(details, if answered { Ok("via_upstream".into()) } else { Err(Status::NOT_FOUND) }, "{callback}");
        assert_eq!(probe.property(callback, "response.flags"), number(0), "{callback}");
    }
}

#[test]
fn properties_that_lie_in_maps_go_with_the_maps() {
    let (_, probe) = Probe::new();
    probe.worker.exchange(&everything().header("x-map", "again"));
    for callback in CALLBACKS {
        for (name, own, value) in [
            ("request.path", "request_headers", "/orders?id=1"),
            ("request.url_path", "request_headers", "/orders"),
            ("request.query", "request_headers", "id=1"),
            ("request.method", "request_headers", "POST"),
            ("request.headers.x-map", "request_headers", "request,again"),
            ("response.headers.x-map", "response_headers", "response"),
            ("response.trailers.x-map", "response_trailers", "response trailer"),
        ] {
            let is_there = callback.ends_with(own) || callback == "proxy_on_log";
            let wanted = if is_there { Ok(value.into()) } else { Err(Status::NOT_FOUND) };
            assert_eq!(probe.property(callback, name), wanted, "{name} in {callback}");
        }
    }
}

#[test]
fn properties_of_a_stream_are_readable_in_all_its_callbacks_and_nowhere_else() {
    let (_, probe) = Probe::new();
    let named = everything().property(&["xds", "route_name"], "orders").property(&["connection", "mtls"], true);
    probe.worker.exchange(&named);
    for callback in CALLBACKS {
        assert_eq!(probe.property(callback, "xds.route_name"), Ok("orders".into()), "{callback}");
        assert_eq!(probe.property(callback, "connection.mtls"), Ok(vec![1]), "{callback}");
        assert_eq!(probe.property(callback, "plugin_name"), Ok("probe".into()), "{callback}");
    }
    probe.worker.exchange(&everything());
    assert_eq!(probe.property("proxy_on_log", "xds.route_name"), Ok(Vec::new()));
    assert_eq!(probe.property("proxy_on_log", "connection.mtls"), Err(Status::NOT_FOUND));
    assert_eq!(probe.property("proxy_on_configure", "xds.route_name"), Err(Status::NOT_FOUND));
    assert_eq!(probe.property("proxy_on_configure", "response.flags"), Err(Status::NOT_FOUND));
    assert_eq!(probe.property("proxy_on_configure", "plugin_name"), Ok("probe".into()));
}

#[test]
#[should_panic = "follows from the exchange"]
fn a_property_that_follows_from_the_exchange_cannot_be_set() {
    let _ = Request::get("/").property(&["response", "headers", "x-map"], "other");
}

/// How a stream ends, and what the filter is told of it: `response.code`, `response.code_details`, `response.flags`.
#[track_caller]
fn assert_end(end: impl FnOnce(&Worker, Stream), code: Option<i64>, details: &str, flags: i64) {
    let (_, probe) = Probe::new();
    end(&probe.worker, probe.worker.send(&Request::get("/")));
    for callback in ["proxy_on_log", "proxy_on_done", "proxy_on_delete"] {
        let seen = |name| probe.property(callback, name);
        assert_eq!(seen("response.code"), code.map_or(Err(Status::NOT_FOUND), number), "{callback}");
        assert_eq!(seen("response.code_details"), Ok(details.into()), "{callback}");
        assert_eq!(seen("response.flags"), number(flags), "{callback}");
    }
}

/// The beginning of a response, whose end never comes.
fn begun(stream: Stream) -> Stream {
    stream.begin_answer(&Response::status(200), false);
    stream.answer_chunk("half", false);
    stream
}

fn answered(stream: Stream, response: &Response) {
    stream.answer(response);
    stream.close();
}

macro_rules! ends {
    ($($name:ident: $end:expr => $code:expr, $details:expr, $flags:expr;)*) => {
        $(#[test] fn $name() { assert_end($end, $code, $details, $flags); })*
    };
}

ends! {
    a_client_that_is_gone_before_the_answer: |_, stream| stream.close() => None, "downstream_remote_disconnect", 0x4000;
    a_client_that_is_gone_in_the_answer: |_, stream| begun(stream).close() => Some(200), "downstream_remote_disconnect", 0x4000;
    a_client_of_http2_that_resets: |_, stream| stream.client_resets() => None, "http2.remote_reset", 0x1000_0000;
    a_client_of_http2_that_resets_in_the_answer: |_, stream| begun(stream).client_resets() => Some(200), "http2.remote_reset", 0x1000_0000;
    a_primary_that_breaks_off: |_, stream| begun(stream).primary_breaks_off()
        => Some(200), "upstream_reset_after_response_started{protocol_error}", 0x80_0000;
    a_primary_of_http2_that_resets: |_, stream| begun(stream).primary_resets()
        => Some(200), "upstream_reset_after_response_started{remote_reset}", 0x10;
    a_primary_that_stalls: |_, stream| begun(stream).primary_stalls() => Some(200), "response_timeout", 4;
    a_primary_that_closes_instead_of_answering: |_, stream| answered(stream, &Response::reset_before_headers())
        => Some(503), "upstream_reset_before_response_started{connection_termination}", 0x40;
    a_primary_that_refuses: |_, stream| answered(stream, &Response::connect_failure())
        => Some(503), "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}", 0x20;
    a_primary_that_is_too_slow: |_, stream| answered(stream, &Response::timeout()) => Some(504), "response_timeout", 4;
    a_primary_that_fails: |_, stream| answered(stream, &Response::status(500)) => Some(500), "via_upstream", 0;
    a_filter_that_answers_before: |worker, stream| {
        drop(stream);
        let response = Response::made_by_envoy(401, "no", "ext_authz_denied", 0x1000);
        worker.answer_before_the_filter(&Request::get("/"), &response);
    } => Some(401), "ext_authz_denied", 0x1000;
}

#[test]
fn an_answer_that_envoy_makes_passes_the_filter_like_any_other() {
    let (_, probe) = Probe::new();
    probe.worker.exchange(&Request::get("/").answer(Response::reset_before_headers()));
    assert_eq!(probe.arguments("proxy_on_response_headers"), [3, 0]);
    assert_eq!(probe.arguments("proxy_on_response_body"), [95, 1]);
}

#[test]
fn a_request_answered_before_the_filter_shows_only_in_the_log() {
    let (host, probe) = Probe::new();
    host.clear_log();
    probe.worker.answer_before_the_filter(&everything(), &Response::status(401));
    assert_eq!(probe.callbacks(), ["proxy_on_context_create", "proxy_on_log", "proxy_on_done", "proxy_on_delete"]);
    assert_eq!(probe.value("proxy_on_log", 0), Ok("request".into()));
}

#[test]
fn the_status_of_grpc_is_that_of_the_trailers_only_where_they_can_be_read() {
    let (_, probe) = Probe::new();
    let status = |callback| probe.property(callback, "response.grpc_status");
    probe.worker.exchange(&everything().answer(Response::status(200).body("message").trailer("grpc-status", "0")));
    assert_eq!(status("proxy_on_response_headers"), number(2));
    assert_eq!(status("proxy_on_response_trailers"), number(0));
    assert_eq!(status("proxy_on_log"), number(0));
    assert_eq!(status("proxy_on_done"), number(2));
    probe.worker.exchange(&everything().answer(Response::status(200).header("grpc-status", "7")));
    assert_eq!(status("proxy_on_response_headers"), number(7));
    probe.worker.exchange(&everything().answer(Response::connect_failure()));
    assert_eq!(status("proxy_on_done"), number(14));
}

#[test]
fn a_callback_that_is_not_exported_is_left_out() {
    let (host, probe) = Probe::without(&["proxy_on_response_headers", "proxy_on_response_body", "proxy_on_delete"]);
    host.clear_log();
    let tally = host.tally(|| probe.worker.exchange(&everything()));
    let expected = CALLBACKS.into_iter().filter(|name| !name.ends_with("response_headers") && !name.ends_with("response_body"));
    assert_eq!(probe.callbacks(), expected.filter(|name| *name != "proxy_on_delete").collect::<Vec<_>>());
    assert_eq!(tally.entries, 7);
}

#[test]
fn the_answer_to_a_call_out_has_its_trailers() {
    let (_, probe) = Probe::new();
    probe.worker.exchange(&Request::get("/"));
    let answer = Answer::bare(200).header("x-map", "headers").body("message").trailer("x-map", "trailers");
    probe.worker.call_out().answer(answer.trailer("grpc-status", "0"));
    let callback = "proxy_on_http_call_response";
    assert_eq!(probe.arguments(callback)[1..], [2, 7, 2]);
    assert_eq!(probe.value(callback, 6), Ok("headers".into()));
    assert_eq!(probe.value(callback, 7), Ok("trailers".into()));
    assert_eq!(probe.buffer(callback, 4), Ok("message".into()));
    let trailers = [("x-map", "trailers"), ("grpc-status", "0")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(probe.pairs(callback, 7), Ok(serialize(&trailers)));
    assert_eq!(probe.property(callback, "response.code"), Err(Status::NOT_FOUND));
}
