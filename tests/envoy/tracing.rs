//! Trace context and correlation on a copy.

use serde_json::json;

use crate::scene::{everything_to, Scene};
use crate::support::client::full;
use crate::support::recorded::Recorded;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Sends a request with these headers and returns what the primary and the target received.
async fn sent(scene: &Scene<1>, headers: &[(&str, &str)]) -> (Recorded, Recorded) {
    let client = scene.client();
    let mut request = client.request("GET", "/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client.send(request.body(full("")).unwrap()).await;
    (scene.primary.take_one().await, scene.target().take_one().await)
}

#[tokio::test]
async fn the_copy_is_a_child_of_the_clients_span() {
    let scene = Scene::mirroring_to(["audit"]).await;
    let headers = [("traceparent", PARENT), ("tracestate", "vendor=1,other=2")];
    let (first, copy) = sent(&scene, &headers).await;
    assert_eq!(first.only("traceparent"), PARENT);
    let child = copy.only("traceparent");
    assert_eq!(child.len(), PARENT.len());
    assert_eq!((&child[..36], &child[52..]), (&PARENT[..36], &PARENT[52..]));
    let span = &child[36..52];
    assert_ne!(span, &PARENT[36..52]);
    assert!(span.bytes().all(|byte| b"0123456789abcdef".contains(&byte)) && span != "0000000000000000");
    assert_eq!(copy.only("tracestate"), "vendor=1,other=2");
}

#[tokio::test]
async fn no_trace_context_is_invented() {
    let scene = Scene::mirroring_to(["audit"]).await;
    let (_, copy) = sent(&scene, &[]).await;
    assert!(!copy.has("traceparent") && !copy.has("tracestate"), "{copy:?}");
}

#[tokio::test]
async fn an_invalid_trace_context_is_left_out() {
    let scene = Scene::mirroring_to(["audit"]).await;
    for invalid in [
        "nonsense",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
    ] {
        let (first, copy) = sent(&scene, &[("traceparent", invalid), ("tracestate", "a=1")]).await;
        assert_eq!(first.only("traceparent"), invalid);
        assert!(!copy.has("traceparent") && !copy.has("tracestate"), "{invalid}: {copy:?}");
    }
}

#[tokio::test]
async fn trace_context_stays_as_it_is_when_it_is_switched_off() {
    let mut configuration = everything_to(&["audit"]);
    configuration["correlation"] = json!({"traceparent": false});
    let scene = Scene::configured(["audit"], configuration).await;
    let (_, copy) = sent(&scene, &[("traceparent", PARENT), ("tracestate", "a=1")]).await;
    assert_eq!((copy.only("traceparent").as_str(), copy.only("tracestate").as_str()), (PARENT, "a=1"));
}

#[tokio::test]
async fn the_copy_carries_the_request_id_of_the_primary() {
    let scene = Scene::mirroring_to(["audit"]).await;
    let (first, copy) = sent(&scene, &[]).await;
    assert_eq!(first.only("x-request-id"), copy.only("x-request-id"));
}
