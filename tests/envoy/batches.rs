//! Requests that go together.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{json, Value};

use crate::letter::Letter;
use crate::scene::{target, Scene};
use crate::stage::{in_one_envoy, Part, Stage};
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::client::{full, Client};
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::recorded::Recorded;
use crate::support::setup::Setup;

/// A target whose batches go to `/batch`.
fn batching(name: &str, batch: Value) -> Value {
    let mut batching = target(name);
    batching["request"] = json!({"path": "/batch"});
    batching["batch"] = batch;
    batching
}

/// The only target.
async fn alone(stage: &Stage, target: &Value) -> Part<1> {
    stage.part([target["name"].as_str().unwrap()], json!({ "targets": [target] })).await
}

/// A target and who keeps its letters.
async fn with_keeper(stage: &Stage, target: &Value) -> Part<2> {
    let names = [&target["name"], &target["dead_letter"]["cluster"]].map(|name| name.as_str().unwrap());
    stage.part(names, json!({ "targets": [target] })).await
}

fn ids(call: &Recorded) -> Vec<u64> {
    let items: Value = serde_json::from_slice(&call.body()).unwrap_or_else(|_| panic!("{:?}", call.body()));
    items.as_array().unwrap().iter().map(|item| item["id"].as_u64().unwrap()).collect()
}

async fn post(client: Client, ids: std::ops::Range<u64>) {
    for id in ids {
        let body = json!({ "id": id }).to_string();
        assert_eq!(client.post(&format!("/orders/{id}"), body).await.status, 200);
    }
}

/// One worker, so that all requests meet in one batch. What is about the log comes first: it takes so many lines in a second.
#[tokio::test]
async fn requests_go_together() {
    in_one_envoy!(Setup::new().concurrency(1) =>
        the_log_names_all_requests_of_a_batch,
        a_batch_goes_when_it_has_its_items,
        a_batch_goes_when_its_first_item_has_waited_long_enough,
        items_that_wait_are_counted_and_bounded_by_the_places,
        lines_can_be_sent_in_the_place_of_a_list_and_are_bounded_in_bytes,
        what_is_no_json_enters_no_batch,
        a_batch_is_tried_again_as_a_whole_and_given_up_item_by_item,
        items_that_would_be_sent_elsewhere_do_not_share_a_call,
    );
}

async fn a_batch_goes_when_it_has_its_items(stage: &Stage) {
    let scene = alone(stage, &batching("threes", json!({"max_items": 3, "max_delay": "1h"}))).await;
    post(scene.client(), 0..6).await;
    let calls = scene.target().take(2).await;
    assert_eq!([ids(&calls[0]), ids(&calls[1])], [[0, 1, 2], [3, 4, 5]]);
    for call in &calls {
        assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/batch"));
        assert_eq!(call.only("content-type"), "application/json");
        assert_eq!((call.only("x-sidecast-target"), call.attempt()), ("threes".to_owned(), 1));
        assert_eq!(call.values("x-request-id"), [] as [&str; 0]);
        assert_eq!(call.only("content-length"), call.body().len().to_string());
    }
    assert_ne!(calls[0].only("idempotency-key"), calls[1].only("idempotency-key"));
    let stats = scene.envoy.settled_at("threes", 6).await;
    assert_eq!((stats.of("threes", "delivered"), stats.of("threes", "attempts")), (6, 2));
}

async fn a_batch_goes_when_its_first_item_has_waited_long_enough(stage: &Stage) {
    let scene = alone(stage, &batching("patient", json!({"max_items": 100, "max_delay": "300ms"}))).await;
    post(scene.client(), 0..2).await;
    assert_eq!(ids(&scene.target().take_one().await), [0, 1]);
    scene.envoy.settled_at("patient", 2).await;
}

async fn items_that_wait_are_counted_and_bounded_by_the_places(stage: &Stage) {
    let mut audit = batching("narrow", json!({"max_items": 5, "max_delay": "1h"}));
    audit["limits"] = json!({"max_in_flight": 1, "max_queued": 6});
    audit["dead_letter"] = json!({"cluster": "letters-of-narrow", "on": ["queue_full"]});
    let scene = with_keeper(stage, &audit).await;
    let [target, keeper] = &scene.targets;
    let gate = Gate::shut();
    target.behave(Behaviour::Gated(gate.clone(), Answer::status(200)));
    // Five are under way, five wait as a batch, one waits for others, and one is too many.
    post(scene.client(), 0..12).await;
    target.arrived(1).await;
    eventually(PATIENCE, "the places to be taken", async || {
        let stats = scene.envoy.stats().await;
        match (stats.of("narrow", "queued"), stats.of("narrow", "dead_lettered"), stats.of("narrow", "inflight")) {
            (6, 1, 1) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await;
    let letter = Letter::parse(&keeper.take_one().await.body());
    assert_eq!((letter.summary(), letter.body()), (("narrow", "queue_full", 0), b"{\"id\":11}".to_vec()));
    gate.open();
    // There is room again, and the open batch gets full.
    target.arrived(2).await;
    post(scene.client(), 12..16).await;
    let stats = scene.envoy.settled_at("narrow", 16).await;
    assert_eq!((stats.of("narrow", "delivered"), stats.of("narrow", "dead_lettered")), (15, 1));
    let seen: Vec<Vec<u64>> = target.take(3).await.iter().map(ids).collect();
    assert_eq!(seen, [vec![0, 1, 2, 3, 4], vec![5, 6, 7, 8, 9], vec![10, 12, 13, 14, 15]]);
}

async fn lines_can_be_sent_in_the_place_of_a_list_and_are_bounded_in_bytes(stage: &Stage) {
    let mut audit = batching("lines", json!({"format": "ndjson", "max_bytes": 40, "max_delay": "200ms"}));
    audit["request"]["body"] = json!({"template": {"id": "${body:/id}", "user": "${header:x-user}"}});
    let scene = alone(stage, &audit).await;
    let client = scene.client();
    for id in 0..3 {
        let request = client.request("POST", "/").header("x-user", "a\u{fc}");
        client.send(request.body(full(format!("{{\n\"id\" : [{id},\n0]}}"))).unwrap()).await;
    }
    let calls = scene.target().take(2).await;
    let line = |id: u32| format!("{{\"id\":[{id},0],\"user\":\"a\u{fc}\"}}\n");
    // A line takes 25 bytes.
    let bodies: Vec<Bytes> = calls.iter().map(Recorded::body).collect();
    assert_eq!(bodies[0], line(0));
    assert_eq!(calls[0].only("content-type"), "application/x-ndjson");
    scene.envoy.settled_at("lines", 3).await;
    assert_eq!(scene.target().received().len() + calls.len(), 3);
}

async fn what_is_no_json_enters_no_batch(stage: &Stage) {
    let scene = alone(stage, &batching("pairs", json!({"max_items": 2, "max_delay": "1h"}))).await;
    let client = scene.client();
    for body in ["{\"id\": 1}", "no json", "", "{\"id\": 2}"] {
        client.post("/", body).await;
    }
    assert_eq!(ids(&scene.target().take_one().await), [1, 2]);
    let stats = scene.envoy.settled_at("pairs", 4).await;
    assert_eq!(stats.drops("pairs"), [("body_not_json".to_owned(), 2)].into());
}

async fn a_batch_is_tried_again_as_a_whole_and_given_up_item_by_item(stage: &Stage) {
    let mut audit = batching("failing", json!({"max_items": 3, "max_delay": "1h"}));
    audit["request"]["headers"] = json!({"set": {"authorization": "Basic ${env:RABBIT_BASIC}", "x-plain": "p"}});
    audit["retry"] = json!({"max_attempts": 2, "backoff": {"base": "1ms", "max": "2ms"}});
    audit["dead_letter"] = json!({"cluster": "letters-of-failing", "path": "/letters"});
    let scene = with_keeper(stage, &audit).await;
    let [target, keeper] = &scene.targets;
    target.behave(Behaviour::Answer(Answer::status(503)));
    post(scene.client(), 0..3).await;
    let stats = scene.envoy.settled_at("failing", 3).await;
    let counted = ["attempts", "retries", "attempt_failures", "delivered", "dead_lettered"].map(|name| stats.of("failing", name));
    assert_eq!(counted, [2, 1, 2, 0, 3]);
    let attempts = target.take(2).await;
    assert_eq!(attempts[0].body(), attempts[1].body());
    assert_eq!(attempts[0].only("idempotency-key"), attempts[1].only("idempotency-key"));
    assert_eq!([attempts[0].attempt(), attempts[1].attempt()], [1, 2]);
    let letters: Vec<Letter> = keeper.take(3).await.iter().map(|call| Letter::parse(&call.body())).collect();
    let mut bodies: Vec<Vec<u8>> = letters.iter().map(Letter::body).collect();
    bodies.sort();
    assert_eq!(bodies, [b"{\"id\":0}", b"{\"id\":1}", b"{\"id\":2}"]);
    let distinct: BTreeSet<&str> = letters.iter().map(Letter::id).collect();
    assert_eq!(distinct.len(), 3);
    for letter in &letters {
        assert_eq!((letter.summary(), letter.text("last_outcome")), (("failing", "retries_exhausted", 2), "status_503"));
        assert_eq!((letter.request("method"), letter.request("path")), (Some("POST"), Some("/batch")));
        assert_eq!(letter.text("correlation_id").len(), 36);
        let names: Vec<String> = letter.headers().into_iter().map(|(name, _)| name).collect();
        assert!(names.contains(&"x-plain".to_owned()) && !names.contains(&"authorization".to_owned()), "{names:?}");
    }
}

async fn the_log_names_all_requests_of_a_batch(stage: &Stage) {
    let scene = alone(stage, &batching("logged", json!({"max_items": 2, "max_delay": "1h"}))).await;
    let client = scene.client();
    for id in ["first", "second"] {
        let request = client.request("POST", "/").header("x-request-id", id);
        client.send(request.body(full("{}")).unwrap()).await;
    }
    scene.envoy.settled_at("logged", 2).await;
    let events = scene.envoy.events();
    let delivered: Vec<_> =
        events.iter().filter(|event| event.name() == "delivered" && event.text("target") == "logged").collect();
    assert_eq!(delivered.len(), 1, "{events:?}");
    assert_eq!(delivered[0].fields["correlation_ids"], json!(["first", "second"]));
    assert!(delivered[0].fields.get("correlation_id").is_none());
}

#[tokio::test]
async fn a_drain_lets_batches_go_as_they_are() {
    let audit = batching("audit", json!({"max_items": 100, "max_delay": "1h"}));
    let scene = Scene::set_up(["audit"], json!({ "targets": [audit] }), |setup| setup.concurrency(1).dynamic()).await;
    post(scene.client(), 0..3).await;
    eventually(PATIENCE, "items to wait", async || match scene.envoy.stats().await.of("audit", "queued") {
        3 => Ok(()),
        seen => Err(format!("{seen}")),
    })
    .await;
    scene.update(&json!({"targets": [batching("audit", json!({"max_items": 50, "max_delay": "1h"}))]}));
    assert_eq!(ids(&scene.targets[0].take_one().await), [0, 1, 2]);
    let stats = scene.envoy.settled_at("audit", 3).await;
    assert_eq!(stats.of("audit", "delivered"), 3);
}

async fn items_that_would_be_sent_elsewhere_do_not_share_a_call(stage: &Stage) {
    let mut audit = batching("tenants", json!({"max_items": 10, "max_delay": "200ms"}));
    audit["request"] = json!({"path": "/batch/${header:x-tenant}", "headers": {"forward": ["x-tenant"]}});
    let scene = alone(stage, &audit).await;
    let client = scene.client();
    for (id, tenant) in [(1, "a"), (2, "a"), (3, "b")] {
        let request = client.request("POST", "/").header("x-tenant", tenant);
        client.send(request.body(full(format!("{{\"id\":{id}}}"))).unwrap()).await;
    }
    let calls = scene.target().take(2).await;
    let seen: Vec<_> = calls.iter().map(|call| (call.path.as_str(), call.only("x-tenant"), ids(call))).collect();
    assert_eq!(seen, [("/batch/a", "a".to_owned(), vec![1, 2]), ("/batch/b", "b".to_owned(), vec![3])]);
}
