//! A configuration update while copies are under way loses none of them.

use serde_json::json;

use crate::scene::everything_to;
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::bootstrap::Filter;
use crate::support::client::Client;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::setup::Setup;
use crate::support::upstream::Upstream;

#[tokio::test]
async fn an_update_while_copies_are_in_flight_and_queued_loses_none() {
    let (primary, audit) = (Upstream::start().await, Upstream::start().await);
    let gate = Gate::shut();
    audit.behave(Behaviour::Gated(gate.clone(), Answer::status(200)));
    let mut configuration = everything_to(&["audit"]);
    configuration["targets"][0]["limits"] = json!({"max_in_flight": 4, "max_queued": 100});
    let envoy = Setup::new()
        .cluster("primary", primary.address())
        .cluster("audit", audit.address())
        .listener("main", Filter::json(&configuration))
        .concurrency(1)
        .dynamic()
        .start()
        .await;
    let client = Client::http1(envoy.address("main"));
    for index in 0..20 {
        assert_eq!(client.post(&format!("/before/{index}"), "body").await.status, 200);
    }
    drop(client);
    let stats = envoy.stats().await;
    assert_eq!((stats.of("audit", "inflight"), stats.of("audit", "queued")), (4, 16));

    // No answer comes before the old filter chain is drained.
    configuration["targets"][0]["limits"] = json!({"max_in_flight": 5, "max_queued": 100});
    envoy.replace_listeners(&[("main", Filter::json(&configuration))]);
    // It drains for a second.
    for wanted in [1, 0] {
        let what = format!("{wanted} filter chains to drain");
        eventually(PATIENCE, &what, async || {
            let stats = envoy.stats().await;
            match stats.find("listener_manager.total_filter_chains_draining") {
                Some(seen) if seen == wanted => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
    assert_eq!(audit.complete(), 4);
    gate.open();
    let client = Client::http1(envoy.address("main"));
    for index in 0..10 {
        assert_eq!(client.post(&format!("/after/{index}"), "body").await.status, 200);
    }
    let stats = envoy.settled_at("audit", 30).await;
    assert_eq!((stats.of("audit", "delivered"), stats.of("audit", "attempts")), (30, 30), "{:?}", stats.target("audit"));
    let mut paths: Vec<String> = audit.take(30).await.into_iter().map(|seen| seen.path).collect();
    let mut wanted: Vec<String> = (0..20).map(|index| format!("/before/{index}")).collect();
    wanted.extend((0..10).map(|index| format!("/after/{index}")));
    paths.sort();
    wanted.sort();
    assert_eq!(paths, wanted);
}

#[tokio::test]
async fn a_target_removed_by_an_update_still_gets_what_was_under_way() {
    let (primary, audit, other) = (Upstream::start().await, Upstream::start().await, Upstream::start().await);
    let gate = Gate::shut();
    audit.behave(Behaviour::Gated(gate.clone(), Answer::status(200)));
    let envoy = Setup::new()
        .cluster("primary", primary.address())
        .cluster("audit", audit.address())
        .cluster("other", other.address())
        .listener("main", Filter::json(&everything_to(&["audit"])))
        .dynamic()
        .start()
        .await;
    Client::http1(envoy.address("main")).post("/", "last").await;
    envoy.replace_listeners(&[("main", Filter::json(&everything_to(&["other"])))]);
    eventually(PATIENCE, "the other target to be used", async || {
        Client::http1(envoy.address("main")).get("/").await;
        match envoy.stats().await.find("wasmcustom.sidecast.other.matched") {
            Some(1..) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await;
    assert_eq!(audit.answered(), 0);
    gate.open();
    let stats = envoy.settled(["audit"]).await;
    assert_eq!(stats.of("audit", "delivered"), stats.of("audit", "matched"));
    assert_eq!(audit.take(1).await[0].body(), "last");
}
