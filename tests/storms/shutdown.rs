//! The end of Envoy, and of its listeners, while copies are under way.

use std::time::Duration;

use serde_json::json;

use crate::scene::{target, Scene};
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::client::Client;
use crate::support::eventually::{eventually, PATIENCE};

const MAX_IN_FLIGHT: u64 = 4;
const DRAIN_TIMEOUT: Duration = Duration::from_millis(100);
/// Copies that wait for their second attempt, and others.
const BUSY: u64 = 3;
const OTHERS: u64 = 20;

/// Three copies wait for their second attempt, four are in flight at a target that holds them back until the gate opens, and
/// sixteen are queued.
async fn under_way() -> (Scene<1>, Client, Gate) {
    let mut audit = target("audit");
    audit["limits"] = json!({"max_in_flight": MAX_IN_FLIGHT, "max_queued": 100});
    audit["retry"] = json!({"max_attempts": 2, "backoff": {"base": "1ms", "max": "10s"}});
    let configuration = json!({"targets": [audit], "drain_timeout": format!("{}ms", DRAIN_TIMEOUT.as_millis())});
    let scene = Scene::set_up(["audit"], configuration, |setup| setup.concurrency(1)).await;
    let mut busy = Answer::status(503);
    busy.headers.push(("retry-after", "3".to_owned()));
    scene.target().behave(Behaviour::Answer(busy));
    let client = scene.client();
    for index in 0..BUSY {
        assert_eq!(client.post(&format!("/busy/{index}"), "body").await.status, 200);
    }
    eventually(PATIENCE, "the first attempts to fail", async || {
        match scene.envoy.stats().await.of("audit", "attempt_failures") {
            BUSY => Ok(()),
            seen => Err(format!("{seen} have")),
        }
    })
    .await;
    let gate = Gate::shut();
    scene.target().behave(Behaviour::Gated(gate.clone(), Answer::status(200)));
    for index in 0..OTHERS {
        assert_eq!(client.post(&format!("/other/{index}"), "body").await.status, 200);
    }
    scene.target().arrived((BUSY + MAX_IN_FLIGHT) as usize).await;
    let stats = scene.envoy.stats().await;
    let counts = ["inflight", "queued"].map(|name| stats.of("audit", name));
    assert_eq!(counts, [MAX_IN_FLIGHT, BUSY + OTHERS - MAX_IN_FLIGHT]);
    (scene, client, gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_envoy_cleanly_and_loses_what_is_under_way() {
    let _turn = crate::turn().await;
    let (mut scene, _client, gate) = under_way().await;
    let status = scene.envoy.terminate().await;
    assert!(status.success(), "{status}: {}", scene.envoy.log());
    // With Envoy its connections are gone: nothing can arrive any more.
    gate.open();
    let mut begun: Vec<String> = scene.target().received().into_iter().map(|seen| seen.path).collect();
    begun.sort();
    assert_eq!(begun, ["/busy/0", "/busy/1", "/busy/2", "/other/0", "/other/1", "/other/2", "/other/3"]);
    // That the log tells of no trap or crash is looked at when the Envoy is dropped.
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drained_listeners_leave_the_filter_at_work() {
    let _turn = crate::turn().await;
    for how in ["/drain_listeners", "/drain_listeners?graceful"] {
        let (scene, client, gate) = under_way().await;
        assert_eq!(Client::http1(scene.envoy.admin).post(how, "").await.status, 200);
        // A connection that was open before still serves, once.
        assert_eq!(client.post("/late", "body").await.status, 200);
        eventually(PATIENCE, "the listener to stop", async || {
            match scene.envoy.stats().await.find("listener_manager.listener_stopped") {
                Some(1) => Ok(()),
                seen => Err(format!("{seen:?}")),
            }
        })
        .await;
        assert!(tokio::net::TcpStream::connect(scene.envoy.address("main")).await.is_err());
        // If the filter had been told that it is done, its drain would be over by then, and all that is under way given up.
        tokio::time::sleep(5 * DRAIN_TIMEOUT).await;
        gate.open();
        let all = BUSY + OTHERS + 1;
        let stats = scene.envoy.settled_at("audit", all).await;
        let counts = ["delivered", "attempts", "retries"].map(|name| stats.of("audit", name));
        assert_eq!(counts, [all, all + BUSY, BUSY], "{how}: {:?}", stats.target("audit"));
    }
}
