//! A mirror written with the Rust SDK of proxy-wasm (`tests/plain-filter`), in the same model. The SDK knows Envoy from others than us: what it takes for
//! granted, the model has. And it shows what Sidecast is there for: the SDK gives the end of a call-out only to the stream that made it.

use crate::{
    compiled::plain_filter,
    configurations::audit,
    host::{Answer, Host, Request, Stat, Status},
};

/// The requests are counted in shared data under this key.
const KEY: &str = "plain_filter.requests";

fn outcomes(host: &Host) -> Stat {
    host.stats()["plain_filter.outcomes"].clone()
}

fn shared_count(host: &Host) -> u64 {
    u64::from_le_bytes(host.shared_data()[KEY.as_bytes()].clone().try_into().unwrap())
}

#[test]
fn a_request_is_copied_and_its_outcome_counted_while_the_stream_lives() {
    let host = Host::new();
    let worker = host.worker_running(plain_filter(), "");
    let stream = worker.send(&Request::post("/orders?id=1").header("x-user", "7").body("the body"));
    let call = worker.call_out();
    assert_eq!((call.cluster(), call.body()), ("mirror", &b"the body"[..]));
    for (name, value) in [(":method", "POST"), (":path", "/orders?id=1"), ("x-user", "7")] {
        assert_eq!(call.header(name), Some(value), "{name}");
    }
    assert_eq!(call.timeout().as_secs(), 15);
    assert_eq!(outcomes(&host), Stat::Counter(0));
    call.answer(Answer::upstream(200).body("taken"));
    assert_eq!(outcomes(&host), Stat::Counter(1));
    stream.close();
    assert_eq!(outcomes(&host), Stat::Counter(1));
}

#[test]
fn a_request_without_a_body_is_copied_at_its_headers_to_the_cluster_of_the_configuration() {
    let host = Host::new();
    let worker = host.worker_running(plain_filter(), "elsewhere");
    let stream = worker.send(&Request::get("/"));
    let call = worker.call_out();
    assert_eq!((call.cluster(), call.body(), call.header(":method")), ("elsewhere", &b""[..], Some("GET")));
    call.answer(Answer::timeout());
    assert_eq!(outcomes(&host), Stat::Counter(1));
    stream.close();
}

#[test]
fn the_sdk_drops_in_silence_what_comes_back_when_the_stream_is_gone() {
    let host = Host::new();
    let worker = host.worker_running(plain_filter(), "");
    worker.exchange(&Request::post("/").body("body"));
    let call = worker.call_out();
    assert!(!call.is_cancelled());
    let tally = host.tally(|| call.answer(Answer::upstream(503)));
    // The module was entered, and asked the host for nothing.
    assert_eq!((tally.entries, tally.host_calls()), (1, 0), "{tally:?}");
    assert_eq!(outcomes(&host), Stat::Counter(0));
    assert!(host.log().is_empty(), "{:?}", host.log());
}

#[test]
fn what_the_sdk_drops_sidecast_counts() {
    let host = Host::new();
    let worker = host.worker(&audit());
    worker.exchange(&Request::post("/").body("body"));
    worker.call_out().answer(Answer::upstream(200));
    assert_eq!(host.stat("audit", "delivered"), 1);
}

#[test]
fn requests_are_numbered_over_workers_also_where_another_one_is_faster() {
    let host = Host::new();
    let workers = [0, 1].map(|_| host.worker_running(plain_filter(), &format!("mirror {KEY}")));
    assert_eq!(shared_count(&host), 0);
    for number in 1..=6_usize {
        if number > 3 {
            host.fail("proxy_set_shared_data", 0, 2, Status::CAS_MISMATCH);
        }
        let worker = &workers[number % 2];
        worker.exchange(&Request::get("/"));
        assert_eq!(worker.call_out().header("x-plain-number"), Some(&*number.to_string()));
    }
    assert_eq!(shared_count(&host), 6);
}

#[test]
fn a_call_that_envoy_does_not_make_leaves_the_request_alone() {
    let host = Host::new();
    let worker = host.worker_running(plain_filter(), "");
    host.refuse_calls_to("mirror", Status::BAD_ARGUMENT);
    worker.exchange(&Request::get("/"));
    assert_eq!(host.log().last().unwrap().text, "no call to mirror: BadArgument");
    assert_eq!(outcomes(&host), Stat::Counter(0));
}
