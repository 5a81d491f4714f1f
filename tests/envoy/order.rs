//! Copies of one key arrive one after the other in a real Envoy, and hold back no others.

use std::time::Duration;

use serde_json::{json, Value};

use crate::scene::target;
use crate::stage::{in_one_envoy, Part, Stage};
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::client::full;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::setup::Setup;
use crate::support::upstream::Event;

/// One worker: each keeps an order of its own.
#[tokio::test]
async fn copies_of_a_key_arrive_in_order() {
    in_one_envoy!(Setup::new().concurrency(1) =>
        a_key_that_is_slow_and_fails_holds_back_its_own_copies_only,
        keys_in_bodies_keep_their_order_side_by_side,
    );
}

fn ordered(name: &str, key: Value) -> Value {
    let mut target = target(name);
    target["order"] = json!({ "key": key });
    target["retry"] = json!({"max_attempts": 3, "backoff": {"base": "1ms", "max": "5ms"}, "budget": {"min_per_second": 100}});
    json!({ "targets": [target] })
}

async fn send(scene: &Part<1>, user: &str, number: usize) {
    let client = scene.client();
    let request = client.request("POST", &format!("/{user}/{number}")).header("x-user", user);
    let body = json!({"user": user, "number": number}).to_string();
    assert_eq!(client.send(request.body(full(body)).unwrap()).await.status, 200);
}

/// The numbers of a user's requests in the order in which they began. Each must have ended before the next one began.
#[track_caller]
fn numbers(scene: &Part<1>, user: &str) -> Vec<usize> {
    let start = format!("/{user}/");
    let mut open: Option<String> = None;
    let mut numbers = Vec::new();
    for event in scene.targets[0].events() {
        match event {
            Event::Begun(path) if path.starts_with(&start) => {
                assert_eq!(open, None, "{path} overlaps");
                numbers.push(path[start.len()..].parse().unwrap());
                open = Some(path);
            }
            Event::Ended(path) if path.starts_with(&start) => assert_eq!(open.take(), Some(path)),
            Event::Begun(_) | Event::Ended(_) => {}
        }
    }
    numbers
}

async fn a_key_that_is_slow_and_fails_holds_back_its_own_copies_only(stage: &Stage) {
    let scene = stage.part(["by-header"], ordered("by-header", json!({"header": "x-user"}))).await;
    let answer = |status| Behaviour::Answer(Answer::status(status));
    let gate = Gate::shut();
    let slow = Behaviour::Gated(gate.clone(), Answer::status(503));
    scene.targets[0].behave(Behaviour::by_path("/slow/", slow, answer(200)));
    for number in 1..=4 {
        send(&scene, "slow", number).await;
        send(&scene, "fast", number).await;
    }
    eventually(PATIENCE, "all but the slow key to be delivered", async || {
        let stats = scene.envoy.stats().await;
        let open = ["delivered", "inflight", "queued"].map(|name| stats.of("by-header", name));
        if open == [4, 1, 3] {
            Ok(())
        } else {
            Err(format!("{open:?}"))
        }
    })
    .await;
    assert_eq!((numbers(&scene, "fast"), numbers(&scene, "slow")), (vec![1, 2, 3, 4], vec![1]));
    // The first one fails until it is given up.
    scene.targets[0].behave(Behaviour::by_path("/slow/1", answer(503), answer(200)));
    gate.open();
    let stats = scene.envoy.settled_at("by-header", 8).await;
    assert_eq!((stats.of("by-header", "delivered"), stats.of("by-header", "retries")), (7, 2));
    assert_eq!(stats.drops("by-header"), [("retries_exhausted".to_owned(), 1)].into());
    assert_eq!(numbers(&scene, "slow"), [1, 1, 1, 2, 3, 4]);
}

async fn keys_in_bodies_keep_their_order_side_by_side(stage: &Stage) {
    let scene = stage.part(["by-body"], ordered("by-body", json!({"body": "/user"}))).await;
    let late = |status| Behaviour::Answer(Answer::status(status).after(Duration::from_millis(5)));
    // One key fails all the time.
    scene.targets[0].behave(Behaviour::by_path("/u1/", late(503), late(200)));
    let users = ["u1", "u2", "u3", "u4"];
    for number in 0..10 {
        for user in users {
            send(&scene, user, number).await;
        }
    }
    let stats = scene.envoy.settled_at("by-body", 40).await;
    assert_eq!((stats.of("by-body", "delivered"), stats.drops("by-body")), (30, [("retries_exhausted".to_owned(), 10)].into()));
    for user in users {
        let attempts = if user == "u1" { 3 } else { 1 };
        let expected: Vec<usize> = (0..10).flat_map(|number| vec![number; attempts]).collect();
        assert_eq!(numbers(&scene, user), expected, "{user}");
    }
}
