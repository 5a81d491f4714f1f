//! The end of Envoy while copies are under way.

use serde_json::json;

use crate::scene::{target, Scene};
use crate::support::answer::{Answer, Behaviour, Gate};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_envoy_cleanly_and_loses_what_is_under_way() {
    let _turn = crate::turn().await;
    let mut audit = target("audit");
    audit["limits"] = json!({"max_in_flight": 4, "max_queued": 100});
    let mut scene = Scene::set_up(["audit"], json!({ "targets": [audit] }), |setup| setup.concurrency(1)).await;
    let gate = Gate::shut();
    scene.target().behave(Behaviour::Gated(gate.clone(), Answer::status(200)));
    let client = scene.client();
    for index in 0..20 {
        assert_eq!(client.post(&format!("/{index}"), "body").await.status, 200);
    }
    scene.target().arrived(4).await;
    let stats = scene.envoy.stats().await;
    assert_eq!((stats.of("audit", "inflight"), stats.of("audit", "queued")), (4, 16));

    let status = scene.envoy.terminate().await;
    assert!(status.success(), "{status}: {}", scene.envoy.log());
    // With Envoy its connections are gone: nothing can arrive any more.
    gate.open();
    let mut paths: Vec<String> = scene.target().received().into_iter().map(|seen| seen.path).collect();
    paths.sort();
    assert_eq!(paths, ["/0", "/1", "/2", "/3"]);
    // That the log tells of no trap or crash is looked at when the Envoy is dropped.
}
