//! The target's responses against the primary's.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{json, Value};

use crate::scene::{noise, target, Scene};
use crate::stage::{in_one_envoy, Stage};
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::setup::Setup;
use crate::support::stats::Stats;

fn answer(status: u16, content_type: &str, body: impl Into<Bytes>) -> Behaviour {
    let mut answer = Answer { body: body.into(), ..Answer::status(status) };
    answer.headers.push(("content-type", content_type.to_owned()));
    Behaviour::Answer(answer)
}

fn comparing(name: &str, compare: Value) -> Value {
    let mut target = target(name);
    target["compare"] = compare;
    json!({"targets": [target], "limits": {"max_body_bytes": "64KiB"}})
}

fn counts(stats: &Stats, target: &str) -> [u64; 4] {
    ["match", "status_mismatch", "body_mismatch", "not_comparable"].map(|name| stats.of(target, &format!("compare.{name}")))
}

const JSON: &str = "application/json";

#[tokio::test]
async fn answers_of_both_sides_are_compared() {
    in_one_envoy!(Setup::new() =>
        answers_are_compared_by_status_and_by_their_json,
        answers_of_other_kinds_are_compared_byte_by_byte,
        whichever_answer_comes_last_completes_the_comparison,
        an_answer_that_never_came_or_is_too_long_is_counted_as_not_comparable,
        a_part_of_an_answer_is_not_compared_when_the_client_leaves_in_the_middle_of_it,
        an_answer_is_compared_after_the_last_attempt_and_a_failure_is_an_answer_too,
        comparisons_can_be_sampled_and_the_time_of_both_sides_is_told,
    );
}

async fn answers_are_compared_by_status_and_by_their_json(stage: &Stage) {
    let scene = stage.part(["json"], comparing("json", json!({"ignore": ["/timestamp", "/items/*/id"]}))).await;
    let primary = r#"{"timestamp": 1, "total": 1.50, "items": [{"id": 1, "n": 1}, {"id": 2, "n": 2}]}"#;
    let cases = [
        // Another order, other ids and white space, the same numbers.
        (200, r#"{"items":[{"n":1.0,"id":"x"},{"n":2}],"total":1.5,"timestamp":9}"#, [1, 0, 0, 0]),
        (201, primary, [1, 1, 0, 0]),
        (200, r#"{"items":[{"n":1},{"n":3}],"total":"1.5","extra":null}"#, [1, 1, 1, 0]),
        (200, "no json", [1, 1, 2, 0]),
    ];
    for (matched, (status, body, expected)) in cases.into_iter().enumerate() {
        scene.primary.behave(answer(200, JSON, primary));
        scene.target().behave(answer(status, JSON, body));
        assert_eq!(scene.client().post("/", "order").await.body, primary);
        let stats = scene.envoy.settled_at("json", matched as u64 + 1).await;
        assert_eq!(counts(&stats, "json"), expected, "{body}");
    }
    let events = scene.envoy.events();
    let compared: Vec<&Value> = events
        .iter()
        .filter(|event| event.name() == "compared" && event.text("target") == "json")
        .map(|event| &event.fields)
        .collect();
    assert_eq!(compared.len(), 3, "{compared:#?}");
    let text = Value::from(compared.iter().map(|fields| (*fields).clone()).collect::<Vec<_>>()).to_string();
    for pointer in ["/items/1/n", "/total", "/extra"] {
        assert!(text.contains(pointer), "{pointer}: {text}");
    }
    assert!(!text.contains("1.5"), "values do not stand in the log: {text}");
}

async fn answers_of_other_kinds_are_compared_byte_by_byte(stage: &Stage) {
    let scene = stage.part(["bytes"], comparing("bytes", json!({}))).await;
    for (matched, (body, expected)) in [("a b", [1, 0, 0, 0]), ("a  b", [1, 0, 1, 0])].into_iter().enumerate() {
        scene.primary.behave(answer(200, "text/plain", "a b"));
        scene.target().behave(answer(200, "text/plain", body));
        scene.client().get("/").await;
        assert_eq!(counts(&scene.envoy.settled_at("bytes", matched as u64 + 1).await, "bytes"), expected, "{body}");
    }
}

async fn whichever_answer_comes_last_completes_the_comparison(stage: &Stage) {
    let scene = stage.part(["late"], comparing("late", json!({}))).await;
    let late = |body: &'static str| match answer(200, JSON, body) {
        Behaviour::Answer(answer) => Behaviour::Answer(answer.after(Duration::from_millis(200))),
        other => other,
    };
    let orders = [(late("[1]"), answer(200, JSON, "[1]")), (answer(200, JSON, "[1]"), late("[1]"))];
    for (matched, (primary, target)) in orders.into_iter().enumerate() {
        scene.primary.behave(primary);
        scene.target().behave(target);
        scene.client().get("/").await;
        let compared = matched as u64 + 1;
        scene.envoy.settled_at("late", compared).await;
        eventually(PATIENCE, "the comparison", async || match counts(&scene.envoy.stats().await, "late") {
            seen if seen == [compared, 0, 0, 0] => Ok(()),
            seen => Err(format!("{seen:?}")),
        })
        .await;
    }
}

async fn an_answer_that_never_came_or_is_too_long_is_counted_as_not_comparable(stage: &Stage) {
    let mut configuration = comparing("mute", json!({}));
    configuration["targets"][0]["timeout"] = "200ms".into();
    let scene = stage.part(["mute"], configuration).await;
    let short = || answer(200, JSON, "[1]");
    let long = || answer(200, JSON, noise(65_537));
    let cases = [
        (short(), Behaviour::Hang),
        (short(), Behaviour::CloseBeforeHeaders),
        (short(), long()),
        (long(), short()),
        (Behaviour::CloseInAnswer, short()),
    ];
    for (matched, (primary, target)) in cases.into_iter().enumerate() {
        scene.primary.behave(primary);
        scene.target().behave(target);
        let client = scene.client();
        let _ = client.try_send(client.request("GET", "/").body(crate::support::client::full("")).unwrap()).await;
        drop(client);
        let compared = matched as u64 + 1;
        scene.envoy.settled_at("mute", compared).await;
        eventually(PATIENCE, "the comparison", async || match counts(&scene.envoy.stats().await, "mute") {
            seen if seen == [0, 0, 0, compared] => Ok(()),
            seen => Err(format!("{seen:?} of {compared}")),
        })
        .await;
    }
}

async fn a_part_of_an_answer_is_not_compared_when_the_client_leaves_in_the_middle_of_it(stage: &Stage) {
    let scene = stage.part(["half"], comparing("half", json!({}))).await;
    scene.primary.behave(Behaviour::HangInAnswer);
    // What the client gets until it leaves is what the target responds.
    let half = Answer::status(200).body.slice(..Answer::status(200).body.len() / 2);
    scene.target().behave(Behaviour::Answer(Answer { body: half, ..Answer::status(200) }));
    let client = scene.client();
    let request = client.request("GET", "/").body(crate::support::client::full("")).unwrap();
    let sent = tokio::spawn(async move { client.try_send(request).await.is_ok() });
    scene.envoy.settled_at("half", 1).await;
    eventually(PATIENCE, "the status to pass", async || {
        match scene.envoy.stats().await.find(&format!("cluster.{}.upstream_rq_200", scene.cluster)) {
            Some(1) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await;
    sent.abort();
    let _ = sent.await;
    eventually(PATIENCE, "the comparison", async || match counts(&scene.envoy.stats().await, "half") {
        [0, 0, 0, 1] => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await;
}

async fn an_answer_is_compared_after_the_last_attempt_and_a_failure_is_an_answer_too(stage: &Stage) {
    let mut configuration = comparing("failing", json!({"body": "none"}));
    configuration["targets"][0]["retry"] = json!({"max_attempts": 3, "backoff": {"base": "1ms", "max": "2ms"}});
    let scene = stage.part(["failing"], configuration).await;
    scene.target().behave(Behaviour::Answer(Answer::status(503)));
    scene.client().get("/").await;
    let stats = scene.envoy.settled_at("failing", 1).await;
    assert_eq!((stats.of("failing", "attempts"), counts(&stats, "failing")), (3, [0, 1, 0, 0]));
}

#[tokio::test]
async fn only_what_is_compared_is_held_and_it_is_bounded() {
    let mut configuration = comparing("audit", json!({}));
    configuration["limits"] = json!({"max_body_bytes": "16KiB", "max_buffered_bytes": "40KiB"});
    let scene = Scene::set_up(["audit"], configuration, |setup| setup.concurrency(1)).await;
    let gate = Gate::shut();
    scene.primary.behave(answer(200, JSON, format!("[{}]", "1,".repeat(6_000) + "1")));
    scene.target().behave(Behaviour::Gated(gate.clone(), Answer::status(200)));
    for _ in 0..4 {
        assert_eq!(scene.client().get("/").await.status, 200);
    }
    gate.open();
    let stats = scene.envoy.settled_at("audit", 4).await;
    assert_eq!(stats.of("audit", "delivered"), 4, "{:?}", stats.target("audit"));
    // Of the first one response was held; there was no room for the others'.
    assert_eq!(counts(&stats, "audit"), [0, 0, 1, 3]);
}

async fn comparisons_can_be_sampled_and_the_time_of_both_sides_is_told(stage: &Stage) {
    let scene = stage.part(["sampled"], comparing("sampled", json!({"percent": 50}))).await;
    let client = scene.client();
    for _ in 0..200 {
        client.get("/").await;
    }
    let stats = scene.envoy.settled_at("sampled", 200).await;
    let [matched, ..] = counts(&stats, "sampled");
    // Six standard deviations.
    assert!((58..=142).contains(&matched), "{matched}");
    assert_eq!(counts(&stats, "sampled"), [matched, 0, 0, 0]);
    for name in ["primary_latency_ms", "target_latency_ms"] {
        eventually(PATIENCE, name, async || match scene.envoy.samples(&format!("sidecast.sampled.compare.{name}")).await {
            seen if seen == matched => Ok(()),
            seen => Err(format!("{seen} of {matched}")),
        })
        .await;
    }
}
