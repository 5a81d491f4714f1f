//! Memory is bounded, and what does not fit is counted.

use bytes::Bytes;
use hyper::body::Frame;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::claims::claims;
use crate::scene::{everything_to, noise, Scene};
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::bootstrap::Filter;
use crate::support::client::{chunked, full, pieces, Client};
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::setup::Setup;

fn dropped(reason: &str, count: u64) -> std::collections::BTreeMap<String, u64> {
    [(reason.to_owned(), count)].into()
}

#[tokio::test]
async fn a_request_that_is_not_whole_or_too_large_is_not_copied() {
    let mut capped = everything_to(&["audit"]);
    capped["limits"] = json!({"max_body_bytes": "64KiB"});
    let add = |setup: Setup| setup.listener("capped", Filter::json(&capped));
    claims!(
        Scene::set_up(["audit"], everything_to(&["audit"]), add).await,
        a_body_over_the_cap_reaches_only_the_primary,
        a_client_that_leaves_in_the_middle_is_counted_as_truncated,
        an_answer_before_the_end_of_the_request_is_counted_as_answered_early,
        an_early_answer_to_a_whole_request_is_no_truncation,
    );
}

#[tokio::test]
async fn a_worker_holds_no_more_than_it_may() {
    let mut queued = everything_to(&["audit"]);
    queued["targets"][0]["limits"] = json!({"max_in_flight": 2, "max_queued": 3});
    let mut memory = everything_to(&["audit"]);
    memory["limits"] = json!({"max_body_bytes": "64KiB", "max_buffered_bytes": "256KiB"});
    // One worker: the limits are per worker.
    let add = |setup: Setup| setup.concurrency(1).listener("memory", Filter::json(&memory));
    claims!(
        Scene::set_up(["audit"], queued, add).await,
        what_does_not_fit_in_flight_waits_and_what_does_not_fit_in_the_queue_is_dropped,
        copies_over_the_workers_memory_are_dropped,
    );
}

async fn a_body_over_the_cap_reaches_only_the_primary(scene: &Scene<1>) {
    let address = scene.envoy.address("capped");
    let body = noise(300_000);
    for client in [Client::http1(address), Client::http2(address)] {
        let within = body.slice(..65_536);
        let over = body.slice(..65_537);
        assert_eq!(client.post("/within", within.clone()).await.status, 200);
        assert_eq!(client.post("/over", over.clone()).await.status, 200);
        let pieces: Vec<Bytes> = body.chunks(10_000).map(Bytes::copy_from_slice).collect();
        let far_over = client.request("POST", "/far").body(chunked(&pieces, None)).unwrap();
        assert_eq!(client.send(far_over).await.status, 200);
        let seen = scene.primary.take(3).await;
        assert!(seen[0].body() == within && seen[1].body() == over && seen[2].body() == body);
        let copy = scene.target().take_one().await;
        assert!(copy.path == "/within" && copy.body() == within);
    }
    let stats = scene.envoy.settled_at("audit", 6).await;
    assert_eq!(stats.drops("audit"), dropped("body_too_large", 4));
    assert_eq!((stats.of("audit", "attempts"), stats.of("audit", "delivered")), (2, 2));
}

async fn what_does_not_fit_in_flight_waits_and_what_does_not_fit_in_the_queue_is_dropped(scene: &Scene<1>) {
    let gate = Gate::shut();
    let held = Behaviour::Gated(gate.clone(), Answer::status(200));
    scene.target().behave(held);
    let client = scene.client();
    for index in 0..10 {
        assert_eq!(client.post(&format!("/{index}"), "body").await.status, 200);
    }
    let stats = scene.envoy.stats().await;
    assert_eq!((stats.of("audit", "inflight"), stats.of("audit", "queued")), (2, 3));
    assert!(stats.of("audit", "queued_bytes") >= 12);
    assert_eq!(stats.drops("audit"), dropped("queue_full", 5));
    gate.open();
    let stats = scene.envoy.settled_at("audit", 10).await;
    assert_eq!(stats.of("audit", "delivered"), 5);
    let mut paths: Vec<String> = scene.target().take(5).await.into_iter().map(|seen| seen.path).collect();
    paths.sort();
    assert_eq!(paths, ["/0", "/1", "/2", "/3", "/4"]);
}

async fn copies_over_the_workers_memory_are_dropped(scene: &Scene<1>) {
    let gate = Gate::shut();
    let held = Behaviour::Gated(gate.clone(), Answer::status(200));
    scene.target().behave(held);
    let client = Client::http1(scene.envoy.address("memory"));
    let body = noise(60_000);
    for _ in 0..10 {
        assert_eq!(client.post("/", body.clone()).await.status, 200);
    }
    gate.open();
    let stats = scene.envoy.settled_at("audit", 10).await;
    let full = stats.of("audit", "dropped.buffer_full");
    // Four bodies of 60,000 bytes are all that fits.
    assert_eq!(full, 6, "{:?}", stats.target("audit"));
    assert_eq!(stats.of("audit", "delivered"), 4);
    // What was given back can be used again.
    assert_eq!(client.post("/", body.clone()).await.status, 200);
    let stats = scene.envoy.settled_at("audit", 11).await;
    assert_eq!(stats.of("audit", "delivered"), 5);
}

async fn a_client_that_leaves_in_the_middle_is_counted_as_truncated(scene: &Scene<1>) {
    for (count, client) in [scene.client(), scene.http2_client()].into_iter().enumerate() {
        let (sender, body) = pieces();
        sender.send(Frame::data(Bytes::from("half"))).unwrap();
        let request = client.request("POST", "/").body(body).unwrap();
        let sending = tokio::spawn(async move { client.try_send(request).await });
        crate::support::eventually::eventually(
            crate::support::eventually::PATIENCE,
            "the first half at the primary",
            async || match scene.primary.received().len() {
                seen if seen > count => Ok(()),
                seen => Err(format!("{seen} requests")),
            },
        )
        .await;
        sending.abort();
        assert!(sending.await.unwrap_err().is_cancelled());
        let stats = scene.envoy.settled_at("audit", count as u64 + 1).await;
        assert_eq!(stats.drops("audit"), dropped("truncated", count as u64 + 1));
        drop(sender);
    }
    assert!(scene.target().received().is_empty());
}

async fn an_answer_before_the_end_of_the_request_is_counted_as_answered_early(scene: &Scene<1>) {
    scene.primary.behave(Behaviour::AnswerEarly(Answer::status(413)));
    let client = scene.http2_client();
    let (sender, body) = pieces();
    sender.send(Frame::data(Bytes::from("half"))).unwrap();
    let request = client.request("POST", "/").body(body).unwrap();
    assert_eq!(client.begin(request).await.unwrap().status(), 413);
    let stats = scene.envoy.settled_at("audit", 1).await;
    assert_eq!(stats.drops("audit"), dropped("answered_early", 1));
    drop(sender);
    assert!(scene.target().received().is_empty());
}

async fn an_early_answer_to_a_whole_request_is_no_truncation(scene: &Scene<1>) {
    scene.primary.behave(Behaviour::AnswerEarly(Answer::status(403)));
    let client = scene.client();
    let request = client.request("POST", "/").body(full("small")).unwrap();
    assert_eq!(client.send(request).await.status, 403);
    assert_eq!(scene.target().take_one().await.body(), "small");
    scene.envoy.settled_at("audit", 1).await;
}

#[tokio::test]
async fn small_requests_are_delivered_beside_uploads_that_never_end() {
    const LENGTH: usize = 600_000;
    let scene = Scene::set_up(["audit", "other"], everything_to(&["audit", "other"]), |setup| setup.concurrency(1)).await;
    let head = format!("POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: {LENGTH}\r\n\r\n");
    let half = [head.as_bytes(), &noise(LENGTH - 1)].concat();
    // More than the worker may hold: 64 MiB.
    let mut uploads = Vec::new();
    for _ in 0..112 {
        let mut upload = TcpStream::connect(scene.envoy.address("main")).await.unwrap();
        upload.write_all(&half).await.unwrap();
        uploads.push(upload);
    }
    eventually(PATIENCE, "uploads to be given up", async || match scene.envoy.stats().await.of("audit", "dropped.buffer_full") {
        0 => Err("none is".to_owned()),
        _ => Ok(()),
    })
    .await;
    // They are held for a while, too.
    let gate = Gate::shut();
    scene.targets.iter().for_each(|target| target.behave(Behaviour::Gated(gate.clone(), Answer::status(200))));
    let client = scene.client();
    let order = noise(8_000);
    for index in 0..200 {
        assert_eq!(client.post(&format!("/small/{index}"), order.clone()).await.status, 200);
        assert_eq!(client.get(&format!("/small/{index}")).await.status, 200);
    }
    gate.open();
    drop(uploads);
    for (name, target) in ["audit", "other"].into_iter().zip(&scene.targets) {
        let stats = scene.envoy.settled_at(name, 512).await;
        assert_eq!(stats.of(name, "delivered"), 400, "{:?}", stats.target(name));
        assert_eq!(stats.of(name, "dropped.buffer_full") + stats.of(name, "dropped.truncated"), 112);
        assert!(target.take(400).await.iter().all(|copy| copy.path.starts_with("/small/")));
    }
}
