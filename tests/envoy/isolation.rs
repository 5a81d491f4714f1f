//! No target, however broken, fails or slows a primary request.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::scene::noise;
use crate::support::answer::Behaviour;
use crate::support::bootstrap::Filter;
use crate::support::client::Client;
use crate::support::raw::{RawUpstream, Script};
use crate::support::setup::Setup;
use crate::support::upstream::{Refusing, Upstream};

/// A hundred requests with this upstream as the target, each answered whole and long before the target's timeout of ten seconds.
async fn primaries_do_not_suffer(target: SocketAddr, cluster: &str) {
    let primary = Upstream::behaving(Behaviour::Echo).await;
    let configuration = json!({"targets": [{
        "name": "broken", "cluster": cluster, "timeout": "10s", "limits": {"max_in_flight": 16, "max_queued": 8},
    }]});
    let envoy = Setup::new()
        .cluster("primary", primary.address())
        .cluster("broken", target)
        .listener("main", Filter::json(&configuration))
        .start()
        .await;
    let client = Client::http1(envoy.address("main"));
    let body = noise(20_000);
    let mut slowest = Duration::ZERO;
    for index in 0..100 {
        let body = body.slice(..index * 200);
        let started = Instant::now();
        let answer = client.post("/", body.clone()).await;
        slowest = slowest.max(started.elapsed());
        assert_eq!(answer.status, 200);
        assert!(answer.body == body);
    }
    assert!(slowest < Duration::from_secs(5), "one took {slowest:?}");
    let seen = primary.take(100).await;
    assert!(seen.iter().enumerate().all(|(index, seen)| seen.body() == body[..index * 200]));
    let stats = envoy.stats().await;
    assert_eq!((stats.of("broken", "matched"), stats.of("broken", "delivered")), (100, 0));
}

#[tokio::test]
async fn a_dead_target_is_not_felt() {
    primaries_do_not_suffer(Refusing::reserve().address(), "broken").await;
}

#[tokio::test]
async fn a_hanging_target_is_not_felt() {
    let target = Upstream::behaving(Behaviour::Hang).await;
    primaries_do_not_suffer(target.address(), "broken").await;
}

#[tokio::test]
async fn a_target_that_resets_in_its_answer_is_not_felt() {
    let target = Upstream::behaving(Behaviour::CloseInAnswer).await;
    primaries_do_not_suffer(target.address(), "broken").await;
}

#[tokio::test]
async fn a_target_that_answers_garbage_is_not_felt() {
    let target = RawUpstream::start(Script::Reply(noise(5000).to_vec())).await;
    primaries_do_not_suffer(target.address(), "broken").await;
}

#[tokio::test]
async fn a_target_that_stops_reading_is_not_felt() {
    // A listener whose backlog accepts and whose owner never reads: the socket buffers fill up.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    primaries_do_not_suffer(listener.local_addr().unwrap(), "broken").await;
}

#[tokio::test]
async fn a_target_without_a_cluster_is_not_felt() {
    primaries_do_not_suffer(Refusing::reserve().address(), "nowhere").await;
}
