//! What Envoy does with a request beyond sending it once: what its router repeats is one request to the filter, what it redirects is another.

use serde_json::{json, Value};

use crate::headers::is_uuid_v4;
use crate::scene::everything_to;
use crate::support::answer::{Answer, Behaviour};
use crate::support::bootstrap::{self, Filter, Protocol};
use crate::support::client::Client;
use crate::support::envoy::Envoy;
use crate::support::setup::{default_wasm, Setup};
use crate::support::upstream::Upstream;

/// An Envoy that mirrors everything, with these fields in the action of its route.
async fn with_route(primary: &Upstream, audit: &Upstream, fields: Value) -> Envoy {
    let mut listener = bootstrap::listener("main", &Filter::json(&everything_to(&["audit"])), &default_wasm());
    let place = "/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/1/route";
    let route = listener.pointer_mut(place).unwrap().as_object_mut().unwrap();
    route.extend(fields.as_object().unwrap().clone());
    let clusters = [("primary", primary), ("audit", audit)]
        .map(|(name, upstream)| bootstrap::cluster(name, Some(upstream.address()), Protocol::Http1));
    Setup::whole(json!({
        "admin": {"address": bootstrap::loopback(0)},
        "static_resources": {"clusters": clusters, "listeners": [listener]},
    }))
    .start()
    .await
}

#[tokio::test]
async fn what_envoy_repeats_to_the_primary_is_copied_once() {
    let primary = Upstream::behaving(Behaviour::Answer(Answer::status(503))).await;
    let audit = Upstream::behaving(Behaviour::Answer(Answer::status(200))).await;
    let envoy = with_route(&primary, &audit, json!({"retry_policy": {"retry_on": "5xx", "num_retries": 2}})).await;
    assert_eq!(Client::http1(envoy.address("main")).post("/", "body").await.status, 503);
    let stats = envoy.settled_at("audit", 1).await;
    assert_eq!((primary.take(3).await.len(), stats.of("audit", "delivered")), (3, 1));
    assert_eq!(audit.take_one().await.body(), "body");
}

#[tokio::test]
async fn what_envoy_redirects_by_itself_is_copied_again_as_another_request() {
    let redirect = Answer { headers: vec![("location", "http://shop.example/there".to_owned())], ..Answer::status(302) };
    let primary = Upstream::behaving(Behaviour::Answer(redirect)).await;
    let audit = Upstream::behaving(Behaviour::Answer(Answer::status(200))).await;
    let envoy = with_route(&primary, &audit, json!({"internal_redirect_policy": {"max_internal_redirects": 1}})).await;
    // The second answer is passed on: one redirect is all that is allowed.
    assert_eq!(Client::http1(envoy.address("main")).get("/here").await.status, 302);
    envoy.settled_at("audit", 2).await;
    let mut copies = audit.take(2).await;
    copies.sort_by(|a, b| a.path.cmp(&b.path));
    let [here, there] = &copies[..] else { panic!("{copies:?}") };
    assert_eq!((here.path.as_str(), there.path.as_str()), ("/here", "/there"));
    assert!(is_uuid_v4(&here.only("idempotency-key")));
    assert_ne!(here.only("idempotency-key"), there.only("idempotency-key"));
}
