//! The primary streams and never waits; the copy goes its own way.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Frame;

use crate::claims::claims;
use crate::scene::Scene;
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::client::{empty, full, pieces};
use crate::support::eventually::{eventually, PATIENCE};

#[tokio::test]
async fn neither_the_primary_nor_the_copy_waits_for_the_other() {
    // The last one leaves a request behind that has no answer.
    claims!(
        Scene::mirroring_to(["audit"]).await,
        an_upload_streams_through_the_primary_while_it_is_sent,
        the_copy_is_sent_before_the_primary_answers,
        an_outcome_is_seen_long_after_the_primary_ended,
        the_answer_streams_to_the_client_while_the_target_is_silent,
    );
}

async fn an_upload_streams_through_the_primary_while_it_is_sent(scene: &Scene<1>) {
    for client in [scene.client(), scene.http2_client()] {
        let (sender, body) = pieces();
        let request = client.request("POST", "/upload").body(body).unwrap();
        let sending = tokio::spawn(async move { client.send(request).await });
        for index in 1..=5 {
            sender.send(Frame::data(Bytes::from(format!("piece {index};")))).unwrap();
            // The next piece is only written once this one has arrived.
            eventually(PATIENCE, "the piece at the primary", async || {
                let seen = scene.primary.received();
                let pieces = seen.first().map_or(0, |seen| seen.chunks.len());
                if pieces >= index {
                    Ok(())
                } else {
                    Err(format!("{pieces} pieces"))
                }
            })
            .await;
            assert!(scene.target().received().is_empty(), "a copy of half a request was sent");
        }
        drop(sender);
        assert_eq!(sending.await.unwrap().status, 200);
        let whole = "piece 1;piece 2;piece 3;piece 4;piece 5;";
        assert_eq!(scene.primary.take_one().await.body(), whole);
        assert_eq!(scene.target().take_one().await.body(), whole);
    }
}

async fn the_copy_is_sent_before_the_primary_answers(scene: &Scene<1>) {
    scene.primary.behave(Behaviour::Hang);
    let client = scene.client();
    let request = client.request("POST", "/").body(full("now")).unwrap();
    let waiting = tokio::spawn(async move { client.try_send(request).await });
    assert_eq!(scene.target().take_one().await.body(), "now");
    let stats = scene.envoy.settled_at("audit", 1).await;
    assert_eq!(stats.of("audit", "delivered"), 1);
    assert!(!waiting.is_finished());
    waiting.abort();
}

async fn the_answer_streams_to_the_client_while_the_target_is_silent(scene: &Scene<1>) {
    scene.target().behave(Behaviour::Hang);
    scene.primary.behave(Behaviour::HangInAnswer);
    let client = scene.client();
    let head = client.begin(client.request("GET", "/").body(empty()).unwrap()).await.unwrap();
    assert_eq!(head.status(), 200);
    let mut body = head.into_body();
    let frame = tokio::time::timeout(PATIENCE, body.frame());
    let data = frame.await.unwrap().unwrap().unwrap().into_data().unwrap();
    assert_eq!(data, "answer of t");
}

async fn an_outcome_is_seen_long_after_the_primary_ended(scene: &Scene<1>) {
    let gate = Gate::shut();
    let held = Behaviour::Gated(gate.clone(), Answer::status(404));
    scene.target().behave(held);
    let client = scene.client();
    assert_eq!(client.get("/").await.status, 200);
    drop(client);
    scene.target().arrived(1).await;
    let before = scene.envoy.stats().await;
    let open = ["inflight", "attempts", "attempt_failures"].map(|name| before.of("audit", name));
    assert_eq!(open, [1, 1, 0]);
    gate.open();
    let stats = scene.envoy.settled_at("audit", 1).await;
    assert_eq!(stats.drops("audit"), [("not_retryable".to_owned(), 1)].into());
}
