//! What the other tests rely on, shown without the filter: without this, a test that sees nothing could pass for the wrong reason.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::Version;

use crate::support::answer::{Answer, Behaviour};
use crate::support::bootstrap::Filter;
use crate::support::client::{chunked, full, Client};
use crate::support::envoy::Envoy;
use crate::support::load::Load;
use crate::support::log;
use crate::support::setup::Setup;
use crate::support::upstream::{Refusing, Upstream};

async fn plain(upstream: &Upstream) -> Envoy {
    Setup::new().cluster("primary", upstream.address()).listener("main", Filter::None).start().await
}

#[tokio::test]
async fn an_upstream_records_a_request_as_it_was_sent() {
    let upstream = Upstream::start().await;
    let envoy = plain(&upstream).await;
    let client = Client::http1(envoy.address("main"));
    let request = client
        .request("PATCH", "http://orders.example:8080/a?b=%20&c")
        .header("x-one", "1")
        .header("x-two", HeaderValue::from_bytes(b"\x80\xff").unwrap())
        .header("x-one", "2")
        .body(full("the body"));
    let answer = client.send(request.unwrap()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, "answer of the upstream");
    let seen = upstream.take_one().await;
    assert_eq!(seen.method, "PATCH");
    assert_eq!(seen.path, "/a?b=%20&c");
    assert_eq!(seen.authority, "orders.example:8080");
    assert_eq!(seen.version, Version::HTTP_11);
    assert_eq!(seen.values("x-one"), ["1", "2"]);
    let two = seen.headers.iter().find(|(name, _)| name == "x-two");
    assert_eq!(two.unwrap().1, b"\x80\xff");
    assert_eq!(seen.body(), "the body");
    assert_eq!((upstream.answered(), upstream.abandoned()), (1, 0));
}

#[tokio::test]
async fn an_upstream_records_chunks_and_trailers_of_both_protocols() {
    let upstream = Upstream::start().await;
    let envoy = Setup::new().http2_cluster("primary", upstream.address()).listener("main", Filter::None).start().await;
    let clients = [Client::http1(envoy.address("main")), Client::http2(envoy.address("main"))];
    for client in clients {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("7"));
        let body = chunked(&[Bytes::from("one"), Bytes::from("two")], Some(trailers));
        let request = client.request("POST", "/").header("trailer", "x-sum");
        client.send(request.body(body).unwrap()).await;
        let seen = upstream.take_one().await;
        assert_eq!(seen.version, Version::HTTP_2);
        assert_eq!(seen.body(), "onetwo");
        assert_eq!(seen.trailers, [("x-sum".to_owned(), b"7".to_vec())]);
    }
}

#[tokio::test]
async fn an_upstream_breaks_in_each_way_that_it_can() {
    let upstream = Upstream::start().await;
    let envoy = plain(&upstream).await;
    let client = Client::http1(envoy.address("main"));

    let late = Answer::status(418).after(Duration::from_millis(150));
    upstream.behave(Behaviour::Answer(late));
    let started = Instant::now();
    assert_eq!(client.get("/").await.status, 418);
    assert!(started.elapsed() >= Duration::from_millis(150));

    upstream.behave(Behaviour::CloseBeforeHeaders);
    assert_eq!(client.get("/").await.status, 503);

    for broken in [Behaviour::CloseInAnswer, Behaviour::HangInAnswer, Behaviour::Hang] {
        upstream.behave(broken.clone());
        let request = client.request("GET", "/").body(full("")).unwrap();
        let wait = Duration::from_millis(300);
        let end = tokio::time::timeout(wait, client.try_send(request)).await;
        assert!(!matches!(end, Ok(Ok(_))), "{broken:?} gave {end:?}");
    }
}

#[tokio::test]
async fn a_reserved_port_refuses() {
    let refusing = Refusing::reserve();
    let envoy = Setup::new().cluster("primary", refusing.address()).listener("main", Filter::None).start().await;
    let answer = Client::http1(envoy.address("main")).get("/").await;
    assert_eq!(answer.status, 503);
    assert_eq!(envoy.stats().await.find("cluster.primary.upstream_cx_connect_fail"), Some(1));
}

#[tokio::test]
async fn a_port_that_is_closed_refuses_until_it_is_open_again() {
    let mut upstream = Upstream::start().await;
    let envoy = plain(&upstream).await;
    let client = Client::http1(envoy.address("main"));
    for _ in 0..2 {
        assert_eq!(client.get("/").await.status, 200);
        upstream.close().await;
        assert_eq!(client.get("/").await.status, 503);
        upstream.open();
    }
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(upstream.begun().len(), 3);
}

#[tokio::test]
async fn an_upstream_that_forgets_still_counts() {
    let upstream = Upstream::start().await;
    upstream.forget();
    let envoy = plain(&upstream).await;
    assert_eq!(Client::http1(envoy.address("main")).post("/", "body").await.status, 200);
    assert_eq!((upstream.begun().len(), upstream.received().len()), (1, 0));
}

#[tokio::test]
async fn a_load_does_not_wait_for_answers_and_counts_from_when_a_request_was_due() {
    let upstream = Upstream::start().await;
    let late = Duration::from_millis(400);
    upstream.behave(Behaviour::Answer(Answer::status(200).after(late)));
    let envoy = plain(&upstream).await;
    let load = Load { rate: 100, duration: Duration::from_secs(1), connections: 100, body: Bytes::from("body") };
    let report = load.clone().start(envoy.address("main")).await.unwrap();
    report.assert_no_failure();
    // One after the other, these would take 40 s.
    assert!(report.took < Duration::from_secs(20), "{report}");
    assert!(report.percentile(0.0) >= late, "{report}");
    let mut paths: Vec<String> = upstream.take(100).await.into_iter().map(|seen| seen.path).collect();
    let mut wanted: Vec<String> = (0..100).map(|index| format!("/{index}")).collect();
    paths.sort();
    wanted.sort();
    assert_eq!(paths, wanted);

    // Two connections carry five requests a second. The last of twenty is due after 0.2 s and ends after 4 s: what it waited for
    // a connection counts.
    let narrow = Load { duration: Duration::from_millis(200), connections: 2, ..load };
    let report = narrow.start(envoy.address("main")).await.unwrap();
    report.assert_no_failure();
    assert!(report.percentile(100.0) >= Duration::from_millis(3_500), "{report}");
}

#[tokio::test]
async fn a_load_tells_failures() {
    let refusing = Refusing::reserve();
    let load = Load { rate: 100, duration: Duration::from_millis(100), connections: 2, body: Bytes::new() };
    let report = load.clone().start(refusing.address()).await.unwrap();
    assert_eq!((report.sent, report.errors.len()), (10, 10), "{report}");
    let upstream = Upstream::behaving(Behaviour::Answer(Answer::status(503))).await;
    let report = load.start(upstream.address()).await.unwrap();
    assert_eq!(report.statuses, [(503, 10)].into(), "{report}");
}

#[tokio::test]
async fn an_envoy_tells_its_memory_and_ends_at_a_signal() {
    let upstream = Upstream::start().await;
    let mut envoy = plain(&upstream).await;
    let memory = envoy.memory().await;
    let mib = 1024 * 1024;
    assert!(memory.allocated > mib && memory.resident > memory.allocated && memory.peak >= memory.resident, "{memory:?}");
    assert!(memory.peak < 1024 * mib, "{memory:?}");
    assert!(envoy.terminate().await.success());
}

#[test]
fn a_trap_is_found_in_a_log() {
    // As Envoy 1.40.0 printed it for a module that panics in a callback.
    let trapped = "\
error wasm wasm log sidecast sidecast x: 
thread '<unnamed>' (1) panicked at trap.rs:10:131:
my panic
error wasm Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable
Proxy-Wasm plugin in-VM backtrace:
  4:  0x3d0 - rust_start_panic
warning main caught ENVOY_SIGTERM";
    assert_eq!(log::traps(trapped).len(), 3);
    let clean = "warning wasm wasm log sidecast sidecast x: {\"event\":\"given_up\"}\ninfo main all dependencies initialized. starting workers";
    assert!(log::traps(clean).is_empty());
    let events = log::events(clean);
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].level.as_str(), events[0].name()), ("warning", "given_up"));
}
