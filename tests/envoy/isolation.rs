//! No target, however broken, fails or slows a primary request.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::scene::noise;
use crate::stage::{in_one_envoy, Stage};
use crate::support::answer::Behaviour;
use crate::support::bootstrap::Filter;
use crate::support::raw::{RawUpstream, Script};
use crate::support::setup::Setup;
use crate::support::upstream::{Refusing, Upstream};

/// The target is in one cluster, and another cluster leads to `address`: a hundred requests, each answered whole and long before the target's
/// timeout of ten seconds.
async fn primaries_do_not_suffer(stage: &Stage, name: &str, address: SocketAddr, cluster: &str) {
    let configuration = json!({"targets": [{
        "name": name, "cluster": cluster, "timeout": "10s", "limits": {"max_in_flight": 16, "max_queued": 8},
    }]});
    let scene = stage.filtered([], &[(name, address)], Filter::json(&configuration)).await;
    scene.primary.behave(Behaviour::Echo);
    let client = scene.client();
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
    let seen = scene.primary.take(100).await;
    assert!(seen.iter().enumerate().all(|(index, seen)| seen.body() == body[..index * 200]));
    let stats = scene.envoy.stats().await;
    assert_eq!((stats.of(name, "matched"), stats.of(name, "delivered")), (100, 0));
}

#[tokio::test]
async fn a_broken_target_is_not_felt() {
    in_one_envoy!(Setup::new() =>
        a_dead_target_is_not_felt,
        a_hanging_target_is_not_felt,
        a_target_that_resets_in_its_answer_is_not_felt,
        a_target_that_answers_garbage_is_not_felt,
        a_target_that_stops_reading_is_not_felt,
        a_target_without_a_cluster_is_not_felt,
    );
}

async fn a_dead_target_is_not_felt(stage: &Stage) {
    primaries_do_not_suffer(stage, "dead", Refusing::reserve().address(), "dead").await;
}

async fn a_hanging_target_is_not_felt(stage: &Stage) {
    let target = Upstream::behaving(Behaviour::Hang).await;
    primaries_do_not_suffer(stage, "hanging", target.address(), "hanging").await;
}

async fn a_target_that_resets_in_its_answer_is_not_felt(stage: &Stage) {
    let target = Upstream::behaving(Behaviour::CloseInAnswer).await;
    primaries_do_not_suffer(stage, "resetting", target.address(), "resetting").await;
}

async fn a_target_that_answers_garbage_is_not_felt(stage: &Stage) {
    let target = RawUpstream::start(Script::Reply(noise(5000).to_vec())).await;
    primaries_do_not_suffer(stage, "garbage", target.address(), "garbage").await;
}

async fn a_target_that_stops_reading_is_not_felt(stage: &Stage) {
    // A listener whose backlog accepts and whose owner never reads: the socket buffers fill up.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    primaries_do_not_suffer(stage, "deaf", listener.local_addr().unwrap(), "deaf").await;
}

async fn a_target_without_a_cluster_is_not_felt(stage: &Stage) {
    primaries_do_not_suffer(stage, "lost", Refusing::reserve().address(), "nowhere").await;
}
