//! Requests that are given up and handed over to a cluster that keeps them.

use std::time::{Duration, SystemTime};

use serde_json::{json, Value};

use crate::letter::Letter;
use crate::scene::target;
use crate::stage::{in_one_envoy, Part, Stage};
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::bootstrap::Filter;
use crate::support::client::{full, Client};
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::setup::Setup;
use crate::support::upstream::{Refusing, Upstream};

/// A target whose dead letters go to a cluster of its own.
fn kept(name: &str) -> Value {
    let mut kept = target(name);
    kept["retry"] = json!({
        "max_attempts": 3,
        "backoff": {"base": "1ms", "max": "2ms"},
        "budget": {"percent": 100, "min_per_second": 1_000_000},
    });
    kept["dead_letter"] = json!({"cluster": letters_of(name), "path": "/dead-letters", "timeout": "15s"});
    kept
}

fn letters_of(name: &str) -> String {
    format!("letters-of-{name}")
}

/// The target and who keeps its letters.
async fn keeping(stage: &Stage, target: &Value) -> Part<2> {
    let name = target["name"].as_str().unwrap();
    stage.part([name, &letters_of(name)], json!({ "targets": [target] })).await
}

fn answering(status: u16) -> Behaviour {
    Behaviour::Answer(Answer::status(status))
}

#[tokio::test]
async fn what_is_given_up_becomes_a_letter_if_it_should_and_can() {
    in_one_envoy!(Setup::new().concurrency(1) =>
        three_failed_attempts_end_in_a_letter_that_tells_of_them,
        a_letter_that_nobody_takes_counts_as_dropped_and_is_sent_once("refused-by-503", answering(503)),
        a_letter_that_nobody_takes_counts_as_dropped_and_is_sent_once("refused-by-404", answering(404)),
        a_letter_that_nobody_takes_counts_as_dropped_and_is_sent_once("refused-by-302", answering(302)),
        a_letter_that_nobody_takes_counts_as_dropped_and_is_sent_once("unanswered", Behaviour::Hang),
        a_letter_that_nobody_takes_counts_as_dropped_and_is_sent_once("broken-off", Behaviour::CloseBeforeHeaders),
        a_letter_that_cannot_even_be_sent_counts_as_dropped("to-nobody", Refusing::reserve(), "letters-of-to-nobody"),
        a_letter_that_cannot_even_be_sent_counts_as_dropped("to-nowhere", Refusing::reserve(), "nowhere"),
        only_the_reasons_that_are_named_get_a_letter,
        a_request_that_found_no_place_gets_a_letter,
        a_request_that_got_too_old_in_the_queue_gets_a_letter,
        letters_of_several_targets_go_their_own_ways,
        what_an_open_breaker_does_not_let_out_gets_a_letter,
    );
}

async fn three_failed_attempts_end_in_a_letter_that_tells_of_them(stage: &Stage) {
    let scene = keeping(stage, &kept("failing")).await;
    let [audit, keeper] = &scene.targets;
    audit.behave(answering(503));
    let started = SystemTime::now();
    let client = scene.client();
    let request = client
        .request("PUT", "/orders/7?a=b%20c")
        .header("x-request-id", "c0ffee00-0000-4000-8000-000000000007")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .header("x-twice", "one")
        .header("x-twice", "two")
        .header("authorization", "Bearer nobody's business");
    client.send(request.body(full("{\"an\": \"order\"}")).unwrap()).await;
    let stats = scene.envoy.settled_at("failing", 1).await;
    let counted = ["attempts", "attempt_failures", "retries", "dead_lettered"].map(|name| stats.of("failing", name));
    assert_eq!((counted, stats.drops("failing")), ([3, 3, 2, 1], [].into()));

    let call = keeper.take_one().await;
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/dead-letters"));
    assert_eq!(call.only("content-type"), "application/json");
    let letter = Letter::parse(&call.body());
    let copies = audit.take(3).await;
    assert_eq!(letter.id(), copies[2].only("idempotency-key"));
    assert_eq!(letter.summary(), ("failing", "retries_exhausted", 3));
    assert_eq!(letter.text("last_outcome"), "status_503");
    assert_eq!(letter.text("correlation_id"), "c0ffee00-0000-4000-8000-000000000007");
    assert!(letter.text("traceparent").starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    letter.assert_times(started);
    let request = ["method", "path", "authority"].map(|name| letter.request(name).unwrap());
    assert_eq!(request, ["PUT", "/orders/7?a=b%20c", &copies[2].authority]);
    assert_eq!(letter.body(), b"{\"an\": \"order\"}");
    let headers = letter.headers();
    let twice: Vec<_> = headers.iter().filter(|(name, _)| name == "x-twice").map(|(_, value)| &value[..]).collect();
    assert_eq!(twice, [b"one", b"two"]);
    assert!(headers.iter().all(|(name, _)| name != "authorization"), "{headers:?}");
}

async fn a_letter_that_nobody_takes_counts_as_dropped_and_is_sent_once(stage: &Stage, name: &str, refusal: Behaviour) {
    let mut impatient = kept(name);
    impatient["dead_letter"]["timeout"] = "200ms".into();
    let scene = keeping(stage, &impatient).await;
    let [audit, keeper] = &scene.targets;
    audit.behave(answering(500));
    keeper.behave(refusal);
    scene.client().post("/", "body").await;
    let stats = scene.envoy.settled_at(name, 1).await;
    let dropped = [("retries_exhausted".to_owned(), 1)].into();
    assert_eq!((stats.of(name, "dead_lettered"), stats.drops(name)), (0, dropped));
    // Letters are no attempts of the target.
    assert_eq!((stats.of(name, "attempts"), stats.of(name, "attempt_failures")), (3, 3));
    assert_eq!((audit.received().len(), keeper.received().len()), (3, 1));
}

async fn a_letter_that_cannot_even_be_sent_counts_as_dropped(stage: &Stage, name: &str, refusing: Refusing, cluster: &str) {
    let mut lost = kept(name);
    lost["dead_letter"]["cluster"] = cluster.into();
    lost["dead_letter"]["on"] = json!(["not_retryable"]);
    let more = [(&*letters_of(name), refusing.address())];
    let scene = stage.filtered([name], &more, Filter::json(&json!({ "targets": [lost] }))).await;
    scene.target().behave(answering(404));
    scene.client().post("/", "body").await;
    let stats = scene.envoy.settled_at(name, 1).await;
    let dropped = [("not_retryable".to_owned(), 1)].into();
    assert_eq!((stats.of(name, "dead_lettered"), stats.drops(name)), (0, dropped));
}

async fn only_the_reasons_that_are_named_get_a_letter(stage: &Stage) {
    let mut choosy = kept("choosy");
    choosy["dead_letter"]["on"] = json!(["not_retryable"]);
    let scene = keeping(stage, &choosy).await;
    let [audit, keeper] = &scene.targets;
    for (count, (status, path)) in [(503, "/lost"), (404, "/kept"), (200, "/delivered")].into_iter().enumerate() {
        audit.behave(answering(status));
        scene.client().post(path, "body").await;
        scene.envoy.settled_at("choosy", count as u64 + 1).await;
    }
    let stats = scene.envoy.stats().await;
    assert_eq!((stats.of("choosy", "dead_lettered"), stats.of("choosy", "delivered")), (1, 1));
    assert_eq!(stats.drops("choosy"), [("retries_exhausted".to_owned(), 1)].into());
    let letter = Letter::parse(&keeper.take_one().await.body());
    assert_eq!(letter.summary(), ("choosy", "not_retryable", 1));
    assert_eq!((letter.request("path"), letter.text("last_outcome")), (Some("/kept"), "status_404"));
}

async fn a_request_that_found_no_place_gets_a_letter(stage: &Stage) {
    let mut narrow = kept("crowded");
    narrow["limits"] = json!({"max_in_flight": 1, "max_queued": 1});
    let scene = keeping(stage, &narrow).await;
    let [audit, keeper] = &scene.targets;
    let gate = Gate::shut();
    audit.behave(Behaviour::Gated(gate.clone(), Answer::status(200)));
    let client = scene.client();
    for body in ["under way", "waits", "too many"] {
        client.post("/", body).await;
    }
    gate.open();
    let stats = scene.envoy.settled_at("crowded", 3).await;
    assert_eq!((stats.of("crowded", "delivered"), stats.of("crowded", "dead_lettered")), (2, 1), "{:?}", stats.target("crowded"));
    let letter = Letter::parse(&keeper.take_one().await.body());
    assert_eq!(letter.summary(), ("crowded", "queue_full", 0));
    assert_eq!((letter.0["last_outcome"].as_str(), letter.body()), (None, b"too many".to_vec()));
}

async fn a_request_that_got_too_old_in_the_queue_gets_a_letter(stage: &Stage) {
    let mut narrow = kept("slow");
    narrow["limits"] = json!({"max_in_flight": 1, "max_queued": 10});
    narrow["retry"]["expire_after"] = "300ms".into();
    let scene = keeping(stage, &narrow).await;
    let [audit, keeper] = &scene.targets;
    let gate = Gate::shut();
    audit.behave(Behaviour::Gated(gate.clone(), Answer::status(200)));
    let client = scene.client();
    client.post("/held", "held").await;
    audit.arrived(1).await;
    client.post("/waits", "waits").await;
    // The time it takes to get too old.
    tokio::time::sleep(Duration::from_millis(400)).await;
    gate.open();
    let stats = scene.envoy.settled_at("slow", 2).await;
    assert_eq!((stats.of("slow", "delivered"), stats.of("slow", "dead_lettered")), (1, 1), "{:?}", stats.target("slow"));
    let letter = Letter::parse(&keeper.take_one().await.body());
    assert_eq!(letter.summary(), ("slow", "expired", 0));
    assert_eq!((letter.0["last_outcome"].as_str(), letter.body()), (None, b"waits".to_vec()));
}

#[tokio::test]
async fn letters_under_way_and_waiting_are_counted_like_copies_and_survive_an_update() {
    let (primary, audit, keeper) = (Upstream::start().await, Upstream::start().await, Upstream::start().await);
    audit.behave(answering(503));
    let gate = Gate::shut();
    keeper.behave(Behaviour::Gated(gate.clone(), Answer::status(202)));
    let mut narrow = kept("audit");
    narrow["limits"] = json!({"max_in_flight": 2, "max_queued": 100});
    let envoy = Setup::new()
        .cluster("primary", primary.address())
        .cluster("audit", audit.address())
        .cluster(&letters_of("audit"), keeper.address())
        .listener("main", Filter::json(&json!({ "targets": [narrow] })))
        .concurrency(1)
        .dynamic()
        .start()
        .await;
    let client = Client::http1(envoy.address("main"));
    for index in 0..6 {
        assert_eq!(client.post(&format!("/{index}"), "body").await.status, 200);
    }
    drop(client);
    eventually(PATIENCE, "letters to fill what may be under way", async || {
        let stats = envoy.stats().await;
        match (keeper.received().len(), stats.of("audit", "inflight"), stats.of("audit", "queued")) {
            (2, 2, 4) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await;
    assert!(envoy.stats().await.of("audit", "queued_bytes") >= 4 * 4);
    let mut changed = narrow.clone();
    changed["limits"] = json!({"max_in_flight": 3, "max_queued": 100});
    envoy.replace_listeners(&[("main", Filter::json(&json!({ "targets": [changed] })))]);
    for wanted in [1, 0] {
        envoy.draining(wanted).await;
    }
    gate.open();
    let stats = envoy.settled_at("audit", 6).await;
    assert_eq!((stats.of("audit", "dead_lettered"), stats.drops("audit")), (6, [].into()));
    let mut paths: Vec<String> =
        keeper.take(6).await.iter().map(|call| Letter::parse(&call.body()).request("path").unwrap().to_owned()).collect();
    paths.sort();
    assert_eq!(paths, ["/0", "/1", "/2", "/3", "/4", "/5"]);
}

async fn letters_of_several_targets_go_their_own_ways(stage: &Stage) {
    let (mut one, mut other) = (kept("one"), kept("other"));
    for target in [&mut one, &mut other] {
        target["dead_letter"]["cluster"] = "letters-of-both".into();
    }
    other["dead_letter"]["path"] = "/others".into();
    let configuration = json!({ "targets": [one, other] });
    let scene = stage.part(["one", "other", "letters-of-both"], configuration).await;
    let [audit, others, keeper] = &scene.targets;
    audit.behave(answering(500));
    others.behave(answering(502));
    let body = b"\xff\x00 no text".to_vec();
    scene.client().post("/", body.clone()).await;
    scene.envoy.settled(["one", "other"]).await;
    let mut calls = keeper.take(2).await;
    calls.sort_by(|one, two| one.path.cmp(&two.path));
    let letters = [0, 1].map(|index| Letter::parse(&calls[index].body()));
    assert_eq!([&*calls[0].path, &*calls[1].path], ["/dead-letters", "/others"]);
    assert_eq!(letters[0].summary(), ("one", "retries_exhausted", 3));
    assert_eq!(letters[1].summary(), ("other", "retries_exhausted", 3));
    assert_eq!([letters[0].text("last_outcome"), letters[1].text("last_outcome")], ["status_500", "status_502"]);
    for letter in &letters {
        assert_eq!(letter.body(), body);
    }
    assert_ne!(letters[0].id(), letters[1].id());
}

async fn what_an_open_breaker_does_not_let_out_gets_a_letter(stage: &Stage) {
    let mut breaking = kept("breaking");
    breaking["retry"]["max_attempts"] = 1.into();
    breaking["circuit_breaker"] = json!({"consecutive_failures": 2, "open_for": "1h"});
    let scene = keeping(stage, &breaking).await;
    let [audit, keeper] = &scene.targets;
    audit.behave(answering(503));
    for index in 0..5 {
        scene.client().post(&format!("/{index}"), "body").await;
        scene.envoy.settled_at("breaking", index + 1).await;
    }
    let stats = scene.envoy.stats().await;
    let counted = ["dead_lettered", "attempts", "breaker.opened"].map(|name| stats.of("breaking", name));
    assert_eq!((counted, stats.drops("breaking")), ([5, 2, 1], [].into()));
    let letters: Vec<Letter> = keeper.take(5).await.iter().map(|call| Letter::parse(&call.body())).collect();
    for (index, letter) in letters.iter().enumerate() {
        let expected = if index < 2 { ("breaking", "retries_exhausted", 1) } else { ("breaking", "circuit_open", 0) };
        assert_eq!((letter.summary(), letter.request("path")), (expected, Some(format!("/{index}").as_str())));
    }
}
