//! The filter with no more capabilities than it needs where no target asks for the primary's response.

use std::net::SocketAddr;

use bytes::Bytes;
use serde_json::{json, Value};

use crate::scene::{target, Scene};
use crate::support::answer::{Answer, Behaviour};
use crate::support::bootstrap::Filter;
use crate::support::log::events;
use crate::support::setup::Setup;

/// The list that users are told to take.
const LEAST: &str = include_str!("../../envoy/capabilities.json");
const PLUGIN: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config";

async fn restricted<const N: usize>(targets: [Value; N], names: [&str; N]) -> Scene<N> {
    let least: Value = serde_json::from_str(LEAST).unwrap();
    let configuration = json!({ "targets": targets.to_vec() });
    Scene::set_up(names, configuration, |setup| setup.with(PLUGIN, "capability_restriction_config", least)).await
}

#[tokio::test]
async fn the_least_capabilities_are_enough_to_shape_to_retry_to_batch_and_to_wait_for_a_status() {
    let mut audit = target("audit");
    audit["retry"] = json!({"max_attempts": 3, "backoff": {"base": "10ms", "max": "20ms"}});
    audit["request"] = json!({"headers": {"set": {"x-at": "${now_ms}"}}, "body": {"template": {"id": "${body:/id}"}}});
    let mut search = target("search");
    search["batch"] = json!({"max_items": 2, "max_delay": "100ms"});
    let mut crm = target("crm");
    crm["after"] = "response".into();
    let scene = restricted([audit, search, crm], ["audit", "search", "crm"]).await;
    scene.targets[0].behave(Behaviour::Answer(Answer::status(503)));
    assert_eq!(scene.client().post("/", r#"{"id": 1}"#).await.status, 200);
    scene.primary.behave(Behaviour::Answer(Answer::status(409)));
    assert_eq!(scene.client().post("/", r#"{"id": 2}"#).await.status, 409);
    let stats = scene.envoy.settled_at("audit", 2).await;
    assert_eq!((stats.of("audit", "attempts"), stats.drops("audit")), (6, [("retries_exhausted".to_owned(), 2)].into()));
    let copies = scene.targets[0].take(6).await;
    assert_eq!((copies[0].body(), copies[0].only("x-at").is_empty()), (Bytes::from(r#"{"id":1}"#), false));
    let stats = scene.envoy.settled_at("search", 2).await;
    assert_eq!(stats.of("search", "delivered"), 2);
    let stats = scene.envoy.settled_at("crm", 2).await;
    assert_eq!((stats.of("crm", "delivered"), stats.drops("crm")), (1, [("primary_failed".to_owned(), 1)].into()));
}

#[tokio::test]
async fn without_the_callbacks_for_answers_nothing_can_be_compared_which_is_counted() {
    let mut audit = target("audit");
    audit["compare"] = json!({});
    let scene = restricted([audit], ["audit"]).await;
    scene.client().post("/", "order").await;
    let stats = scene.envoy.settled_at("audit", 1).await;
    assert_eq!((stats.of("audit", "delivered"), stats.of("audit", "compare.not_comparable")), (1, 1));
    assert_eq!(stats.of("audit", "compare.match"), 0);
}

/// The shipped list without one host call, and a filter that asks for a breaker and an environment variable.
fn without(left_out: &str) -> (Value, impl Fn(Setup) -> Setup) {
    let mut least: Value = serde_json::from_str(LEAST).unwrap();
    least["allowed_capabilities"].as_object_mut().unwrap().remove(left_out).unwrap();
    let audit = json!({"name": "audit", "cluster": "audit", "retry": {}});
    let configuration = json!({"targets": [audit], "loop_guard": {"secret": "${env:RABBIT_BASIC}"}});
    (configuration, move |setup: Setup| setup.with(PLUGIN, "capability_restriction_config", least.clone()))
}

#[tokio::test]
async fn each_host_call_that_is_left_out_is_refused_with_its_name_or_does_not_matter_or_is_counted() {
    let least: Value = serde_json::from_str(LEAST).unwrap();
    let calls = least["allowed_capabilities"].as_object().unwrap().keys().filter(|name| !name.starts_with("proxy_on_"));
    for call in calls {
        let (configuration, adapt) = without(call);
        if !["proxy_log", "proxy_get_log_level", "proxy_done", "fd_write", "proc_exit"].contains(&call.as_str()) {
            let setup = Setup::new()
                .cluster("primary", SocketAddr::from(([127, 0, 0, 1], 9)))
                .listener("main", Filter::json(&configuration));
            let log = adapt(setup).refused().await;
            let named =
                events(&log).iter().any(|event| event.name() == "configuration_rejected" && event.text("problem").contains(call));
            assert!(named, "{call}: {log}");
            continue;
        }
        let scene = Scene::set_up(["audit"], configuration, adapt).await;
        scene.client().post("/", "order").await;
        let stats = scene.envoy.settled_at("audit", 1).await;
        let unexpected = stats.find("wasmcustom.sidecast_unexpected").unwrap();
        assert_eq!((stats.of("audit", "delivered"), unexpected > 0), (1, call == "proxy_log"), "{call}");
    }
}
