//! Copies that wait for the primary to say yes.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{json, Value};

use crate::scene::{target, Scene};
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::client::{chunked, full};
use crate::support::eventually::{eventually, PATIENCE};

/// A target that waits for a success of the primary, or for one of `statuses`.
fn waiting(statuses: Option<Value>) -> Value {
    let mut audit = target("audit");
    audit["after"] = "response".into();
    if let Some(statuses) = statuses {
        audit["statuses"] = statuses;
    }
    audit
}

async fn waiting_for_success() -> Scene<1> {
    Scene::configured(["audit"], json!({"targets": [waiting(None)]})).await
}

fn answering(status: u16) -> Behaviour {
    Behaviour::Answer(Answer::status(status))
}

#[tokio::test]
async fn a_copy_is_sent_for_a_success_of_the_primary_and_for_nothing_else() {
    let scene = waiting_for_success().await;
    let client = scene.client();
    for (matched, status) in [200, 201, 302, 404, 202, 503].into_iter().enumerate() {
        scene.primary.behave(answering(status));
        assert_eq!(client.post(&format!("/{status}"), "body").await.status, status);
        scene.envoy.settled_at("audit", matched as u64 + 1).await;
    }
    let stats = scene.envoy.stats().await;
    assert_eq!((stats.of("audit", "delivered"), stats.drops("audit")), (3, [("primary_failed".to_owned(), 3)].into()));
    let copies = scene.target().take(3).await;
    let paths: Vec<&str> = copies.iter().map(|copy| copy.path.as_str()).collect();
    assert_eq!((paths, copies[0].body()), (vec!["/200", "/201", "/202"], Bytes::from("body")));
}

#[tokio::test]
async fn the_statuses_can_be_chosen() {
    let audit = waiting(Some(json!(["409", "5xx"])));
    let scene = Scene::configured(["audit"], json!({ "targets": [audit] })).await;
    for (matched, status) in [200, 409, 410, 500].into_iter().enumerate() {
        scene.primary.behave(answering(status));
        scene.client().post(&format!("/{status}"), "body").await;
        scene.envoy.settled_at("audit", matched as u64 + 1).await;
    }
    let paths: Vec<String> = scene.target().take(2).await.into_iter().map(|copy| copy.path).collect();
    assert_eq!(paths, ["/409", "/500"]);
}

#[tokio::test]
async fn nothing_is_sent_before_the_primary_has_answered() {
    let mut now = target("now");
    now["cluster"] = "now".into();
    let scene = Scene::configured(["audit", "now"], json!({"targets": [waiting(None), now]})).await;
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
    assert_eq!((stats.of("audit", "matched"), stats.of("audit", "attempts")), (1, 0));
    gate.open();
    assert_eq!(answer.await.unwrap(), 200);
    assert_eq!(audit.take_one().await.body(), "body");
    assert_eq!(scene.envoy.settled(["audit", "now"]).await.of("audit", "delivered"), 1);
}

#[tokio::test]
async fn a_primary_that_breaks_off_has_failed() {
    for (broken, why) in
        [(Behaviour::CloseBeforeHeaders, "before the response"), (Behaviour::CloseInAnswer, "in the middle of a 200")]
    {
        let scene = waiting_for_success().await;
        scene.primary.behave(broken);
        let client = scene.client();
        let request = client.request("POST", "/").body(full("body")).unwrap();
        let answer = client.try_send(request).await;
        assert!(!answer.as_ref().is_ok_and(|answer| answer.status == 200), "{why}: {answer:?}");
        let stats = scene.envoy.settled_at("audit", 1).await;
        assert_eq!(stats.drops("audit"), [("primary_failed".to_owned(), 1)].into(), "{why}");
        assert_eq!(scene.target().received().len(), 0, "{why}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_leaves_no_copy() {
    let scene = waiting_for_success().await;
    scene.primary.behave(Behaviour::Hang);
    let client = scene.client();
    let request = client.request("POST", "/").body(full("body")).unwrap();
    let sent = tokio::spawn(async move { client.try_send(request).await.is_ok() });
    scene.primary.arrived(1).await;
    sent.abort();
    let _ = sent.await;
    let stats = scene.envoy.settled_at("audit", 1).await;
    assert_eq!(stats.drops("audit"), [("primary_failed".to_owned(), 1)].into());
}

#[tokio::test]
async fn a_client_that_leaves_after_the_primary_said_yes_does_not_take_that_back() {
    let scene = waiting_for_success().await;
    // Headers of a 200, half of a body, then silence: the client gives up.
    scene.primary.behave(Behaviour::HangInAnswer);
    let client = scene.client();
    let request = client.request("POST", "/").body(full("body")).unwrap();
    let sent = tokio::spawn(async move { client.try_send(request).await.is_ok() });
    eventually(PATIENCE, "the status to pass", async || {
        match scene.envoy.stats().await.find("cluster.primary.upstream_rq_200") {
            Some(1) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await;
    sent.abort();
    let _ = sent.await;
    let stats = scene.envoy.settled_at("audit", 1).await;
    assert_eq!((stats.of("audit", "delivered"), stats.drops("audit")), (1, [].into()));
}

#[tokio::test]
async fn the_answer_can_stand_in_the_request() {
    let mut audit = waiting(None);
    audit["request"] = json!({
        "path": "/orders/${response:status}",
        "headers": {"set": {"x-location": "${response:header:location}", "x-none": "<${response:header:x-none}>"}},
        "body": {"template": {"status": "${response:status}", "location": "${response:header:Location}", "order": "${body}"}},
    });
    let scene = Scene::configured(["audit"], json!({ "targets": [audit] })).await;
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
async fn what_waits_for_an_answer_is_bounded_by_the_bytes() {
    let configuration = json!({
        "targets": [waiting(None)],
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

#[tokio::test]
async fn an_answer_that_comes_before_the_request_is_complete_leaves_nothing_to_copy() {
    let scene = waiting_for_success().await;
    scene.primary.behave(Behaviour::AnswerEarly(Answer::status(200).after(Duration::from_millis(10))));
    let client = scene.client();
    let (pieces, body) = crate::support::client::pieces();
    pieces.send(hyper::body::Frame::data(Bytes::from("half"))).unwrap();
    let answer = client.try_send(client.request("POST", "/").body(body).unwrap()).await;
    drop(pieces);
    assert!(answer.is_ok_and(|answer| answer.status == 200));
    drop(client);
    let stats = scene.envoy.settled_at("audit", 1).await;
    assert_eq!(stats.drops("audit"), [("answered_early".to_owned(), 1)].into(), "{:?}", stats.target("audit"));
}

#[tokio::test]
async fn trailers_on_both_ways_do_not_matter() {
    let scene = waiting_for_success().await;
    for client in [scene.client(), scene.http2_client()] {
        let mut trailers = hyper::HeaderMap::new();
        trailers.insert("x-sum", hyper::header::HeaderValue::from_static("7"));
        let body = chunked(&[Bytes::from("one"), Bytes::from("two")], Some(trailers));
        client.send(client.request("POST", "/").body(body).unwrap()).await;
        assert_eq!(scene.target().take_one().await.body(), "onetwo");
    }
}
