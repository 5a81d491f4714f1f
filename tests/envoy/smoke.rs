//! The smallest set that shows the filter working, in every Envoy of `$ENVOY_SMOKE` (paths with colons between).

use std::path::PathBuf;

use serde_json::json;

use crate::scene::{everything_to, noise, Scene};
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::bootstrap::{self, Filter, Protocol};
use crate::support::log;
use crate::support::setup::{binaries, Setup};

async fn mirroring(binary: PathBuf) -> Scene<1> {
    Scene::set_up(["audit"], everything_to(&["audit"]), |setup| setup.binary(binary)).await
}

#[tokio::test]
async fn a_request_with_a_body_is_mirrored_in_every_envoy() {
    for binary in binaries() {
        let scene = mirroring(binary).await;
        let body = noise(70_000);
        for client in [scene.client(), scene.http2_client()] {
            assert_eq!(client.post("/orders?x=1", body.clone()).await.status, 200);
            for upstream in [&scene.primary, scene.target()] {
                let seen = upstream.take_one().await;
                assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/orders?x=1"));
                assert!(seen.body() == body);
            }
        }
        let stats = scene.envoy.settled_at("audit", 2).await;
        assert_eq!(stats.of("audit", "delivered"), 2);
    }
}

#[tokio::test]
async fn an_outcome_after_the_primary_is_seen_in_every_envoy() {
    for binary in binaries() {
        let scene = mirroring(binary).await;
        for (count, status) in (1..).zip([200, 404, 500]) {
            let gate = Gate::shut();
            let held = Behaviour::Gated(gate.clone(), Answer::status(status));
            scene.target().behave(held);
            assert_eq!(scene.client().get("/").await.status, 200);
            scene.target().arrived(count).await;
            assert_eq!(scene.envoy.stats().await.of("audit", "inflight"), 1);
            gate.open();
            scene.envoy.settled_at("audit", count as u64).await;
        }
        let stats = scene.envoy.stats().await;
        assert_eq!(stats.of("audit", "delivered"), 1);
        let wanted = ["not_retryable", "retries_exhausted"].map(|reason| (reason.to_owned(), 1));
        assert_eq!(stats.drops("audit"), wanted.into());
    }
}

#[tokio::test]
async fn a_bad_configuration_is_refused_in_every_envoy() {
    let bad = json!({"targets": [{"name": "audit", "cluster": "audit", "colour": "red"}], "limits": {"max": 1}});
    for binary in binaries() {
        for filter in [Filter::json(&bad), Filter::Struct(bad.clone())] {
            let log = Setup::new()
                .binary(binary.clone())
                .cluster_json(bootstrap::cluster("primary", None, Protocol::Http1))
                .listener("main", filter)
                .refused()
                .await;
            let events = log::events(&log);
            for start in ["targets[0].colour: unknown field", "limits.max: unknown field"] {
                assert!(events.iter().any(|event| event.text("problem").starts_with(start)), "{start}: {log}");
            }
        }
    }
}
