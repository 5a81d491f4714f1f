//! Trace context and correlation on a copy.

use serde_json::json;

use crate::claims::claims;
use crate::scene::{everything_to, Scene};
use crate::support::bootstrap::Filter;
use crate::support::client::{full, Client};
use crate::support::recorded::Recorded;
use crate::support::setup::Setup;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Sends a request with these headers to a listener and returns what the primary and the target received.
async fn sent(scene: &Scene<1>, listener: &str, headers: &[(&str, &str)]) -> (Recorded, Recorded) {
    let client = Client::http1(scene.envoy.address(listener));
    let mut request = client.request("GET", "/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client.send(request.body(full("")).unwrap()).await;
    (scene.primary.take_one().await, scene.target().take_one().await)
}

#[tokio::test]
async fn a_copy_belongs_to_the_trace_of_its_request() {
    let mut switched_off = everything_to(&["audit"]);
    switched_off["correlation"] = json!({"traceparent": false});
    let add = |setup: Setup| setup.listener("switched-off", Filter::json(&switched_off));
    claims!(
        Scene::set_up(["audit"], everything_to(&["audit"]), add).await,
        the_copy_is_a_child_of_the_clients_span,
        no_trace_context_is_invented,
        an_invalid_trace_context_is_left_out,
        trace_context_stays_as_it_is_when_it_is_switched_off,
        the_copy_carries_the_request_id_of_the_primary,
    );
}

async fn the_copy_is_a_child_of_the_clients_span(scene: &Scene<1>) {
    let headers = [("traceparent", PARENT), ("tracestate", "vendor=1,other=2")];
    let (first, copy) = sent(scene, "main", &headers).await;
    assert_eq!(first.only("traceparent"), PARENT);
    let child = copy.only("traceparent");
    assert_eq!(child.len(), PARENT.len());
    assert_eq!((&child[..36], &child[52..]), (&PARENT[..36], &PARENT[52..]));
    let span = &child[36..52];
    assert_ne!(span, &PARENT[36..52]);
    assert!(span.bytes().all(|byte| b"0123456789abcdef".contains(&byte)) && span != "0000000000000000");
    assert_eq!(copy.only("tracestate"), "vendor=1,other=2");
}

async fn no_trace_context_is_invented(scene: &Scene<1>) {
    let (_, copy) = sent(scene, "main", &[]).await;
    assert!(!copy.has("traceparent") && !copy.has("tracestate"), "{copy:?}");
}

async fn an_invalid_trace_context_is_left_out(scene: &Scene<1>) {
    for invalid in [
        "nonsense",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
    ] {
        let (first, copy) = sent(scene, "main", &[("traceparent", invalid), ("tracestate", "a=1")]).await;
        assert_eq!(first.only("traceparent"), invalid);
        assert!(!copy.has("traceparent") && !copy.has("tracestate"), "{invalid}: {copy:?}");
    }
}

async fn trace_context_stays_as_it_is_when_it_is_switched_off(scene: &Scene<1>) {
    let (_, copy) = sent(scene, "switched-off", &[("traceparent", PARENT), ("tracestate", "a=1")]).await;
    assert_eq!((copy.only("traceparent").as_str(), copy.only("tracestate").as_str()), (PARENT, "a=1"));
}

async fn the_copy_carries_the_request_id_of_the_primary(scene: &Scene<1>) {
    let (first, copy) = sent(scene, "main", &[]).await;
    assert_eq!(first.only("x-request-id"), copy.only("x-request-id"));
}
