//! Deliveries that fail in a real Envoy and are tried again.

use std::time::{Duration, Instant};

use serde_json::{json, Value};

use crate::scene::{target, Scene};
use crate::stage::{in_one_envoy, Stage};
use crate::support::answer::{Answer, Behaviour};
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::recorded::Recorded;
use crate::support::setup::Setup;

fn retrying(name: &str, retry: Value) -> Value {
    let mut target = target(name);
    target["retry"] = retry;
    json!({ "targets": [target] })
}

fn busy(retry_after: &str) -> Behaviour {
    let mut answer = Answer::status(503);
    answer.headers.push(("retry-after", retry_after.to_owned()));
    Behaviour::Answer(answer)
}

/// One worker, which has the whole budget.
#[tokio::test]
async fn failed_attempts_are_repeated_as_often_and_as_late_as_they_may() {
    in_one_envoy!(Setup::new().concurrency(1) =>
        a_target_that_recovers_gets_the_same_request_again,
        attempts_end_with_their_number,
        a_retry_after_of_two_seconds_is_obeyed,
        an_outage_adds_no_more_than_the_budget,
    );
}

async fn a_target_that_recovers_gets_the_same_request_again(stage: &Stage) {
    let scene = stage
        .part(["recovering"], retrying("recovering", json!({"max_attempts": 20, "backoff": {"base": "200ms", "max": "400ms"}})))
        .await;
    scene.target().behave(Behaviour::Answer(Answer::status(500)));
    scene.client().post("/orders", "an order").await;
    scene.target().arrived(2).await;
    scene.target().behave(Behaviour::Answer(Answer::status(200)));
    let stats = scene.envoy.settled_at("recovering", 1).await;
    let attempts = stats.of("recovering", "attempts");
    assert!((3..=20).contains(&attempts), "{attempts}");
    assert_eq!(stats.of("recovering", "delivered"), 1);
    assert_eq!((stats.of("recovering", "retries"), stats.of("recovering", "attempt_failures")), (attempts - 1, attempts - 1));
    let copies = scene.target().take(usize::try_from(attempts).unwrap()).await;
    for (index, copy) in copies.iter().enumerate() {
        assert_eq!(copy.body(), "an order");
        assert_eq!(copy.attempt(), index as u64 + 1);
        assert_eq!(copy.only("idempotency-key"), copies[0].only("idempotency-key"));
        assert_eq!(copy.only("x-request-id"), copies[0].only("x-request-id"));
    }
}

async fn attempts_end_with_their_number(stage: &Stage) {
    let retry = json!({"max_attempts": 3, "backoff": {"base": "1ms", "max": "5ms"}});
    let scene = stage.part(["failing"], retrying("failing", retry)).await;
    scene.target().behave(Behaviour::CloseBeforeHeaders);
    scene.client().post("/orders", "an order").await;
    let stats = scene.envoy.settled_at("failing", 1).await;
    assert_eq!(stats.drops("failing"), [("retries_exhausted".to_owned(), 1)].into());
    assert_eq!((stats.of("failing", "attempts"), stats.of("failing", "retries")), (3, 2));
    assert_eq!(scene.target().received().len(), 3);
}

async fn a_retry_after_of_two_seconds_is_obeyed(stage: &Stage) {
    let scene =
        stage.part(["busy"], retrying("busy", json!({"max_attempts": 2, "backoff": {"base": "1ms", "max": "10s"}}))).await;
    scene.target().behave(busy("2"));
    scene.client().get("/").await;
    scene.target().arrived(1).await;
    let asked = Instant::now();
    scene.target().behave(Behaviour::Answer(Answer::status(200)));
    let stats = scene.envoy.settled_at("busy", 1).await;
    assert_eq!((stats.of("busy", "delivered"), stats.of("busy", "retries")), (1, 1));
    // By the test's own clock, which may have started a moment after the response.
    assert!(asked.elapsed() >= Duration::from_millis(1_900), "{:?}", asked.elapsed());
}

async fn an_outage_adds_no_more_than_the_budget(stage: &Stage) {
    let retry =
        json!({"max_attempts": 10, "backoff": {"base": "1ms", "max": "2ms"}, "budget": {"percent": 10, "min_per_second": 0}});
    let scene = stage.part(["thrifty"], retrying("thrifty", retry)).await;
    scene.target().behave(Behaviour::Answer(Answer::status(503)));
    let client = scene.client();
    for index in 0..200 {
        assert_eq!(client.post(&format!("/{index}"), "body").await.status, 200);
    }
    let stats = scene.envoy.settled_at("thrifty", 200).await;
    assert_eq!(stats.of("thrifty", "matched"), 200);
    assert!(stats.of("thrifty", "retries") <= 20, "{:?}", stats.target("thrifty"));
    assert!(stats.of("thrifty", "retries") > 0);
    assert_eq!(scene.target().received().len() as u64, stats.of("thrifty", "attempts"));
}

#[tokio::test]
async fn an_update_while_retries_wait_loses_none() {
    let mut configuration = retrying("audit", json!({"max_attempts": 2, "backoff": {"base": "1ms", "max": "10s"}}));
    let scene = Scene::set_up(["audit"], configuration.clone(), |setup| setup.dynamic().concurrency(1)).await;
    let (envoy, audit) = (&scene.envoy, scene.target());
    audit.behave(busy("5"));
    let client = scene.client();
    for index in 0..10 {
        assert_eq!(client.post(&format!("/{index}"), "body").await.status, 200);
    }
    drop(client);
    eventually(PATIENCE, "all copies have failed once and wait", || async {
        let stats = envoy.stats().await;
        let open = (stats.of("audit", "attempt_failures"), stats.of("audit", "queued"));
        if open == (10, 10) {
            Ok(())
        } else {
            Err(format!("{open:?}"))
        }
    })
    .await;
    audit.behave(Behaviour::Answer(Answer::status(200)));
    configuration["targets"][0]["limits"] = json!({"max_in_flight": 5});
    scene.update(&configuration);
    let stats = envoy.settled_at("audit", 10).await;
    assert_eq!((stats.of("audit", "delivered"), stats.of("audit", "attempts")), (10, 20), "{:?}", stats.target("audit"));
    let mut second: Vec<Recorded> = audit.take(20).await;
    second.retain(|copy| copy.attempt() == 2);
    let mut paths: Vec<String> = second.into_iter().map(|copy| copy.path).collect();
    paths.sort();
    let wanted: Vec<String> = (0..10).map(|index| format!("/{index}")).collect();
    assert_eq!(paths, wanted);
}
