//! The filter with no more capabilities than it needs where no target asks for the primary's response.

use std::net::SocketAddr;

use bytes::Bytes;
use serde_json::{json, Value};

use crate::scene::{target, Scene};
use crate::stage::{in_one_envoy, Stage};
use crate::support::answer::{Answer, Behaviour};
use crate::support::bootstrap::Filter;
use crate::support::log::events;
use crate::support::setup::Setup;

/// The list that users are told to take.
const LEAST: &str = include_str!("../../envoy/capabilities.json");
const PLUGIN: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config";

/// The setup for this number of listeners that have no more capabilities.
fn restricted(listeners: usize) -> Setup {
    let least: Value = serde_json::from_str(LEAST).unwrap();
    (0..listeners).fold(Setup::new(), |setup, listener| {
        let plugin = PLUGIN.replace("/listeners/0/", &format!("/listeners/{listener}/"));
        setup.with(plugin, "capability_restriction_config", least.clone())
    })
}

#[tokio::test]
async fn the_least_capabilities_are_enough_for_all_but_comparisons() {
    in_one_envoy!(restricted(2) =>
        the_least_capabilities_are_enough_to_shape_to_retry_to_batch_and_to_wait_for_a_status,
        without_the_callbacks_for_answers_nothing_can_be_compared_which_is_counted,
    );
}

async fn the_least_capabilities_are_enough_to_shape_to_retry_to_batch_and_to_wait_for_a_status(stage: &Stage) {
    let mut audit = target("audit");
    audit["retry"] = json!({"max_attempts": 3, "backoff": {"base": "10ms", "max": "20ms"}});
    audit["request"] = json!({"headers": {"set": {"x-at": "${now_ms}"}}, "body": {"template": {"id": "${body:/id}"}}});
    let mut search = target("search");
    search["batch"] = json!({"max_items": 2, "max_delay": "100ms"});
    let mut crm = target("crm");
    crm["after"] = "response".into();
    let scene = stage.part(["audit", "search", "crm"], json!({"targets": [audit, search, crm]})).await;
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
    assert_eq!(["delivered", "not_triggered"].map(|name| stats.of("crm", name)), [1, 1]);
    assert_eq!(stats.drops("crm"), [].into());
}

async fn without_the_callbacks_for_answers_nothing_can_be_compared_which_is_counted(stage: &Stage) {
    let mut compared = target("compared");
    compared["compare"] = json!({});
    let scene = stage.part(["compared"], json!({ "targets": [compared] })).await;
    scene.client().post("/", "order").await;
    let stats = scene.envoy.settled_at("compared", 1).await;
    assert_eq!((stats.of("compared", "delivered"), stats.of("compared", "compare.not_comparable")), (1, 1));
    assert_eq!(stats.of("compared", "compare.match"), 0);
}

/// The shipped list without some host calls, and a filter that asks for a breaker and an environment variable.
fn without(left_out: &[&str]) -> (Value, impl Fn(Setup) -> Setup) {
    let mut least: Value = serde_json::from_str(LEAST).unwrap();
    for call in left_out {
        least["allowed_capabilities"].as_object_mut().unwrap().remove(*call).unwrap();
    }
    let audit = json!({"name": "audit", "cluster": "audit", "retry": {}});
    let configuration = json!({"targets": [audit], "loop_guard": {"secret": "${env:RABBIT_BASIC}"}});
    (configuration, move |setup: Setup| setup.with(PLUGIN, "capability_restriction_config", least.clone()))
}

/// That a copy is delivered without these host calls. Gives how many unexpected things were counted.
async fn delivers_without(left_out: &[&str]) -> u64 {
    let (configuration, adapt) = without(left_out);
    let scene = Scene::set_up(["audit"], configuration, adapt).await;
    scene.client().post("/", "order").await;
    let stats = scene.envoy.settled_at("audit", 1).await;
    assert_eq!(stats.of("audit", "delivered"), 1, "{left_out:?}");
    stats.find("wasmcustom.sidecast_unexpected").unwrap()
}

#[tokio::test]
async fn each_host_call_that_is_left_out_is_refused_with_its_name_or_does_not_matter_or_is_counted() {
    let unimportant = ["proxy_get_log_level", "proxy_done", "fd_write", "proc_exit"];
    assert_eq!(delivers_without(&unimportant).await, 0);
    assert!(delivers_without(&["proxy_log"]).await > 0);
    let least: Value = serde_json::from_str(LEAST).unwrap();
    let calls = least["allowed_capabilities"].as_object().unwrap().keys().filter(|name| !name.starts_with("proxy_on_"));
    for call in calls.filter(|call| *call != "proxy_log" && !unimportant.contains(&call.as_str())) {
        let (configuration, adapt) = without(&[call]);
        let setup =
            Setup::new().cluster("primary", SocketAddr::from(([127, 0, 0, 1], 9))).listener("main", Filter::json(&configuration));
        let log = adapt(setup).refused().await;
        let named =
            events(&log).iter().any(|event| event.name() == "configuration_rejected" && event.text("problem").contains(call));
        assert!(named, "{call}: {log}");
    }
}
