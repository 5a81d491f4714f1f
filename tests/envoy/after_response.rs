//! Copies that wait for the primary to say yes.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{json, Value};

use crate::scene::{target, Scene};
use crate::stage::{in_one_envoy, Part, Stage};
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::client::{chunked, full};
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::setup::Setup;

/// A target that waits for a success of the primary, or for one of `statuses`.
fn waiting(name: &str, statuses: Option<Value>) -> Value {
    let mut target = target(name);
    target["after"] = "response".into();
    if let Some(statuses) = statuses {
        target["statuses"] = statuses;
    }
    target
}

async fn waiting_for_success(stage: &Stage, name: &str) -> Part<1> {
    stage.part([name], json!({"targets": [waiting(name, None)]})).await
}

fn answering(status: u16) -> Behaviour {
    Behaviour::Answer(Answer::status(status))
}

#[tokio::test]
async fn copies_wait_for_the_answer_of_the_primary() {
    in_one_envoy!(Setup::new() =>
        a_copy_is_sent_for_a_success_of_the_primary_and_for_nothing_else,
        the_statuses_can_be_chosen,
        nothing_is_sent_before_the_primary_has_answered,
        a_primary_that_breaks_off_has_failed("before-the-response", Behaviour::CloseBeforeHeaders),
        a_primary_that_breaks_off_has_failed("in-the-middle-of-a-200", Behaviour::CloseInAnswer),
        a_client_that_leaves_before_the_answer_leaves_no_copy,
        a_client_that_leaves_after_the_primary_said_yes_does_not_take_that_back,
        the_answer_can_stand_in_the_request,
        an_answer_that_comes_before_the_request_is_complete_leaves_nothing_to_copy,
        trailers_on_both_ways_do_not_matter,
    );
}

async fn a_copy_is_sent_for_a_success_of_the_primary_and_for_nothing_else(stage: &Stage) {
    let scene = waiting_for_success(stage, "success").await;
    let client = scene.client();
    for (matched, status) in [200, 201, 302, 404, 202, 503].into_iter().enumerate() {
        scene.primary.behave(answering(status));
        assert_eq!(client.post(&format!("/{status}"), "body").await.status, status);
        scene.envoy.settled_at("success", matched as u64 + 1).await;
    }
    let stats = scene.envoy.stats().await;
    assert_eq!(["delivered", "not_triggered"].map(|name| stats.of("success", name)), [3, 3]);
    assert_eq!(stats.drops("success"), [].into());
    let copies = scene.target().take(3).await;
    let paths: Vec<&str> = copies.iter().map(|copy| copy.path.as_str()).collect();
    assert_eq!((paths, copies[0].body()), (vec!["/200", "/201", "/202"], Bytes::from("body")));
}

async fn the_statuses_can_be_chosen(stage: &Stage) {
    let audit = waiting("chosen", Some(json!(["409", "5xx"])));
    let scene = stage.part(["chosen"], json!({ "targets": [audit] })).await;
    for (matched, status) in [200, 409, 410, 500].into_iter().enumerate() {
        scene.primary.behave(answering(status));
        scene.client().post(&format!("/{status}"), "body").await;
        scene.envoy.settled_at("chosen", matched as u64 + 1).await;
    }
    let paths: Vec<String> = scene.target().take(2).await.into_iter().map(|copy| copy.path).collect();
    assert_eq!(paths, ["/409", "/500"]);
}

async fn nothing_is_sent_before_the_primary_has_answered(stage: &Stage) {
    let mut now = target("now");
    now["cluster"] = "now".into();
    let scene = stage.part(["later", "now"], json!({"targets": [waiting("later", None), now]})).await;
    let [audit, now] = &scene.targets;
    let gate = Gate::shut();
    scene.primary.behave(Behaviour::Gated(gate.clone(), Answer::status(200)));
    let client = scene.client();
    let answer = tokio::spawn(async move { client.post("/", "body").await.status });
    // The primary and the target that does not wait have it.
    scene.primary.arrived(1).await;
    now.arrived(1).await;
    scene.envoy.settled(["now"]).await;
    assert_eq!(audit.received().len(), 0);
    let stats = scene.envoy.stats().await;
    assert_eq!((stats.of("later", "matched"), stats.of("later", "attempts")), (1, 0));
    gate.open();
    assert_eq!(answer.await.unwrap(), 200);
    assert_eq!(audit.take_one().await.body(), "body");
    assert_eq!(scene.envoy.settled(["later", "now"]).await.of("later", "delivered"), 1);
}

async fn a_primary_that_breaks_off_has_failed(stage: &Stage, why: &str, broken: Behaviour) {
    let scene = waiting_for_success(stage, why).await;
    scene.primary.behave(broken);
    let client = scene.client();
    let request = client.request("POST", "/").body(full("body")).unwrap();
    let answer = client.try_send(request).await;
    assert!(!answer.as_ref().is_ok_and(|answer| answer.status == 200), "{answer:?}");
    let stats = scene.envoy.settled_at(why, 1).await;
    assert_eq!((stats.of(why, "not_triggered"), stats.drops(why)), (1, [].into()));
    assert_eq!(scene.target().received().len(), 0);
}

async fn a_client_that_leaves_before_the_answer_leaves_no_copy(stage: &Stage) {
    let scene = waiting_for_success(stage, "left-before").await;
    scene.primary.behave(Behaviour::Hang);
    let client = scene.client();
    let request = client.request("POST", "/").body(full("body")).unwrap();
    let sent = tokio::spawn(async move { client.try_send(request).await.is_ok() });
    scene.primary.arrived(1).await;
    sent.abort();
    let _ = sent.await;
    let stats = scene.envoy.settled_at("left-before", 1).await;
    assert_eq!((stats.of("left-before", "not_triggered"), stats.drops("left-before")), (1, [].into()));
}

async fn a_client_that_leaves_after_the_primary_said_yes_does_not_take_that_back(stage: &Stage) {
    let scene = waiting_for_success(stage, "left-after").await;
    // Headers of a 200, half of a body, then silence: the client gives up.
    scene.primary.behave(Behaviour::HangInAnswer);
    let client = scene.client();
    let request = client.request("POST", "/").body(full("body")).unwrap();
    let sent = tokio::spawn(async move { client.try_send(request).await.is_ok() });
    eventually(PATIENCE, "the status to pass", async || {
        match scene.envoy.stats().await.find(&format!("cluster.{}.upstream_rq_200", scene.cluster)) {
            Some(1) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await;
    sent.abort();
    let _ = sent.await;
    let stats = scene.envoy.settled_at("left-after", 1).await;
    assert_eq!((stats.of("left-after", "delivered"), stats.drops("left-after")), (1, [].into()));
}

async fn the_answer_can_stand_in_the_request(stage: &Stage) {
    let mut audit = waiting("told", None);
    audit["request"] = json!({
        "path": "/orders/${response:status}",
        "headers": {"set": {"x-location": "${response:header:location}", "x-none": "<${response:header:x-none}>"}},
        "body": {"template": {"status": "${response:status}", "location": "${response:header:Location}", "order": "${body}"}},
    });
    let scene = stage.part(["told"], json!({ "targets": [audit] })).await;
    let mut created = Answer::status(201);
    created.headers.push(("location", "/orders/7".to_owned()));
    scene.primary.behave(Behaviour::Answer(created));
    scene.client().post("/orders", r#"{"id": 7.0}"#).await;
    let copy = scene.target().take_one().await;
    assert_eq!(
        (copy.path.as_str(), copy.only("x-location"), copy.only("x-none")),
        ("/orders/201", "/orders/7".to_owned(), "<>".to_owned())
    );
    assert_eq!(copy.body(), r#"{"location":"/orders/7","order":{"id":7.0},"status":201}"#);
}

#[tokio::test]
async fn values_of_the_answers_body_can_stand_in_the_request() {
    in_one_envoy!(Setup::new() => values_of_the_answers_body);
}

async fn values_of_the_answers_body(stage: &Stage) {
    let reads = |name: &str, template: Value| {
        let mut target = waiting(name, None);
        target["request"] = json!({"path": "/orders/${response:body:/id}", "body": {"template": template}});
        target["response"] = json!({"redact": ["/card"]});
        target
    };
    let one = reads("values", json!({"id": "${response:body:/id}", "total": "${response:body:/total}", "order": "${body}"}));
    let all = reads("whole", json!("${response:body}"));
    let configuration = json!({"targets": [one, all], "limits": {"max_body_bytes": "64KiB"}});
    let scene = stage.part(["values", "whole"], configuration).await;
    let [values, whole] = &scene.targets;
    let behave = |body: Bytes, coding: Option<&str>| {
        let headers = coding.map(|coding| ("content-encoding", coding.to_owned())).into_iter().collect();
        scene.primary.behave(Behaviour::Answer(Answer { body, headers, ..Answer::status(201) }));
    };
    let json = br#"{"id": 7.0, "card": "4111", "total": 51.00}"#;
    for (coding, body) in [(None, Bytes::from_static(json)), (Some("gzip"), gzip(json))] {
        behave(body.clone(), coding);
        let answer = scene.client().post("/orders", r#"{"n": 1}"#).await;
        assert_eq!(answer.status, 201);
        assert_eq!(answer.body, body, "it passes as it came");
        let copy = values.take_one().await;
        assert_eq!(
            (copy.path.as_str(), copy.body()),
            ("/orders/7.0", Bytes::from(r#"{"id":7.0,"order":{"n":1},"total":51.00}"#))
        );
        assert_eq!(whole.take_one().await.body(), r#"{"id":7.0,"card":"[redacted]","total":51.00}"#);
    }
    let long = Bytes::from(format!(r#"{{"id":8,"a":"{}"}}"#, "x".repeat(200 << 10)));
    for body in [long.clone(), Bytes::from_static(b"no json")] {
        behave(body.clone(), None);
        let answer = scene.client().post("/orders", "{}").await;
        assert_eq!(answer.body, body, "the client gets all of it");
    }
    let stats = scene.envoy.settled(["values", "whole"]).await;
    for name in ["values", "whole"] {
        let lost = [("response_too_large".to_owned(), 1), ("response_not_json".to_owned(), 1)];
        assert_eq!((stats.of(name, "matched"), stats.of(name, "delivered"), stats.drops(name)), (4, 2, lost.into()), "{name}");
    }
    assert_eq!((values.received().len(), whole.received().len()), (0, 0));
}

fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap().into()
}

#[tokio::test]
async fn what_waits_for_an_answer_is_bounded_by_the_bytes() {
    let configuration = json!({
        "targets": [waiting("audit", None)],
        "limits": {"max_body_bytes": "16KiB", "max_buffered_bytes": "40KiB"},
    });
    let scene = Scene::set_up(["audit"], configuration, |setup| setup.concurrency(1)).await;
    let gate = Gate::shut();
    scene.primary.behave(Behaviour::Gated(gate.clone(), Answer::status(200)));
    let requests: Vec<_> = (0..5)
        .map(|index| {
            let client = scene.client();
            tokio::spawn(async move { client.post(&format!("/{index}"), vec![b'x'; 12 << 10]).await.status })
        })
        .collect();
    scene.primary.arrived(5).await;
    eventually(PATIENCE, "requests to be too many", async || {
        let drops = scene.envoy.stats().await.drops("audit");
        if drops == [("buffer_full".to_owned(), 2)].into() {
            Ok(())
        } else {
            Err(format!("{drops:?}"))
        }
    })
    .await;
    gate.open();
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
    let stats = scene.envoy.settled_at("audit", 5).await;
    assert_eq!(stats.of("audit", "delivered"), 3, "{:?}", stats.target("audit"));
}

async fn an_answer_that_comes_before_the_request_is_complete_leaves_nothing_to_copy(stage: &Stage) {
    let scene = waiting_for_success(stage, "early").await;
    scene.primary.behave(Behaviour::AnswerEarly(Answer::status(200).after(Duration::from_millis(10))));
    let client = scene.client();
    let (pieces, body) = crate::support::client::pieces();
    pieces.send(hyper::body::Frame::data(Bytes::from("half"))).unwrap();
    let answer = client.try_send(client.request("POST", "/").body(body).unwrap()).await;
    drop(pieces);
    assert!(answer.is_ok_and(|answer| answer.status == 200));
    drop(client);
    let stats = scene.envoy.settled_at("early", 1).await;
    assert_eq!(stats.drops("early"), [("answered_early".to_owned(), 1)].into(), "{:?}", stats.target("early"));
}

async fn trailers_on_both_ways_do_not_matter(stage: &Stage) {
    let scene = waiting_for_success(stage, "trailers").await;
    for client in [scene.client(), scene.http2_client()] {
        let mut trailers = hyper::HeaderMap::new();
        trailers.insert("x-sum", hyper::header::HeaderValue::from_static("7"));
        let body = chunked(&[Bytes::from("one"), Bytes::from("two")], Some(trailers));
        client.send(client.request("POST", "/").body(body).unwrap()).await;
        assert_eq!(scene.target().take_one().await.body(), "onetwo");
    }
}
