//! A configuration that is replaced while its target hangs ends within its time, and loses nothing.

use serde_json::{json, Value};

use crate::scene::target;
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::bootstrap::Filter;
use crate::support::client::Client;
use crate::support::setup::Setup;
use crate::support::upstream::Upstream;

/// Two copies under way, three that wait, when a configuration with this section is replaced; what the receiver of letters got.
async fn replaced_while_the_target_hangs(dead_letter: Option<Value>) -> (crate::support::stats::Stats, Vec<Value>) {
    let (primary, audit, dlq) = (Upstream::start().await, Upstream::start().await, Upstream::start().await);
    let gate = Gate::shut();
    audit.behave(Behaviour::Gated(gate.clone(), Answer::status(200)));
    let mut hanging = target("audit");
    hanging["limits"] = json!({"max_in_flight": 2, "max_queued": 100});
    hanging["timeout"] = "60s".into();
    if let Some(dead_letter) = dead_letter {
        hanging["dead_letter"] = dead_letter;
    }
    let configuration = json!({"targets": [hanging], "drain_timeout": "1s"});
    let envoy = Setup::new()
        .cluster("primary", primary.address())
        .cluster("audit", audit.address())
        .cluster("dlq", dlq.address())
        .listener("main", Filter::json(&configuration))
        .concurrency(1)
        .dynamic()
        .start()
        .await;
    for index in 0..5 {
        assert_eq!(Client::http1(envoy.address("main")).post(&format!("/{index}"), "body").await.status, 200);
    }
    let stats = envoy.stats().await;
    assert_eq!((stats.of("audit", "inflight"), stats.of("audit", "queued")), (2, 3));
    envoy.replace_listeners(&[("main", Filter::json(&json!({"targets": [target("audit")]})))]);
    let stats = envoy.settled_at("audit", 5).await;
    assert_eq!(audit.complete(), 2, "what was queued never went out");
    let letters = dlq.received().iter().map(|letter| serde_json::from_slice(&letter.body()).unwrap()).collect();
    // The responses that come now are nobody's.
    gate.open();
    assert_eq!(Client::http1(envoy.address("main")).post("/after", "body").await.status, 200);
    let after = envoy.settled_at("audit", 6).await;
    assert_eq!(after.of("audit", "delivered"), 1, "{:?}", after.target("audit"));
    (stats, letters)
}

#[tokio::test]
async fn what_has_not_ended_in_time_is_counted() {
    let (stats, letters) = replaced_while_the_target_hangs(None).await;
    assert_eq!(stats.drops("audit"), [("shutdown".to_owned(), 5)].into());
    assert_eq!(letters.len(), 0);
}

#[tokio::test]
async fn what_has_not_ended_in_time_becomes_a_dead_letter() {
    let (stats, mut letters) = replaced_while_the_target_hangs(Some(json!({"cluster": "dlq", "timeout": "15s"}))).await;
    assert_eq!((stats.of("audit", "dead_lettered"), stats.drops("audit").len()), (5, 0));
    letters.sort_by_key(|letter| letter["request"]["path"].to_string());
    let seen: Vec<_> =
        letters.iter().map(|letter| (&letter["request"]["path"], &letter["reason"], &letter["attempts"])).collect();
    let reason = json!("shutdown");
    let wanted = [
        (json!("/0"), json!(1)),
        (json!("/1"), json!(1)),
        (json!("/2"), json!(0)),
        (json!("/3"), json!(0)),
        (json!("/4"), json!(0)),
    ];
    let wanted: Vec<_> = wanted.iter().map(|(path, attempts)| (path, &reason, attempts)).collect();
    assert_eq!(seen, wanted);
}
