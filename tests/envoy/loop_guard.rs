//! A copy that comes back through a Sidecast is not copied again; with a secret, nobody else can claim to be one.

use data_encoding::HEXLOWER;
use hmac::{Hmac, Mac};
use serde_json::{json, Value};
use sha2::Sha256;

use crate::headers::is_uuid_v4;
use crate::scene::{everything_to, Scene};
use crate::support::bootstrap::Filter;
use crate::support::client::{full, Client};
use crate::support::envoy::Envoy;
use crate::support::raw::Relay;
use crate::support::setup::Setup;
use crate::support::upstream::Upstream;

const SECRET: &str = "a secret of the test";

fn signed(id: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(id.as_bytes());
    format!("{id}.{}", HEXLOWER.encode(&mac.finalize().into_bytes()))
}

fn with_secret() -> Value {
    let mut configuration = everything_to(&["audit"]);
    configuration["loop_guard"] = json!({ "secret": SECRET });
    configuration
}

async fn get_with_loop(client: &Client, value: &str) {
    let request = client.request("GET", "/").header("x-sidecast-loop", value);
    let answer = client.send(request.body(full("")).unwrap()).await;
    assert_eq!(answer.status, 200);
}

/// An Envoy whose target is the listener `main` of `first`, a second Envoy that mirrors to `audit` in turn.
async fn chain(first: &Envoy, primary: &Upstream, configuration: &Value) -> Envoy {
    Setup::new()
        .cluster("primary", primary.address())
        .cluster("audit", first.address("main"))
        .listener("main", Filter::json(configuration))
        .start()
        .await
}

#[tokio::test]
async fn a_filter_that_mirrors_into_a_filter_stops_after_one_copy() {
    for configuration in [everything_to(&["audit"]), with_secret()] {
        let inner = Scene::configured(["audit"], configuration.clone()).await;
        let primary = Upstream::start().await;
        let outer = chain(&inner.envoy, &primary, &configuration).await;
        Client::http1(outer.address("main")).post("/", "once").await;
        outer.settled_at("audit", 1).await;
        assert_eq!(primary.take_one().await.body(), "once");
        // The copy passed through the inner Envoy as a primary, and was not copied there.
        assert_eq!(inner.primary.take_one().await.body(), "once");
        let stats = inner.envoy.stats().await;
        assert_eq!((stats.of("audit", "matched"), stats.of("audit", "attempts")), (0, 0));
        assert!(inner.target().received().is_empty());
    }
}

#[tokio::test]
async fn a_filter_that_mirrors_to_its_own_listener_stops_after_one_copy() {
    for mut configuration in [everything_to(&["audit"]), with_secret()] {
        configuration["targets"][0]["cluster"] = "itself".into();
        let primary = Upstream::start().await;
        let relay = Relay::start().await;
        let envoy = Setup::new()
            .cluster("primary", primary.address())
            .cluster("itself", relay.address())
            .listener("main", Filter::json(&configuration))
            .start()
            .await;
        relay.lead_to(envoy.address("main"));
        let client = Client::http1(envoy.address("main"));
        for round in 1..=5 {
            client.post("/", format!("round {round}")).await;
            envoy.settled_at("audit", round).await;
            let seen = primary.take(2).await;
            assert_eq!(seen.len(), 2, "{seen:?}");
            assert!(seen.iter().all(|seen| seen.body() == format!("round {round}")));
            let copies = seen.iter().filter(|seen| seen.has("x-sidecast-loop"));
            assert_eq!(copies.count(), 1);
        }
    }
}

#[tokio::test]
async fn the_mark_is_the_delivery_id_signed_with_the_secret() {
    let scene = Scene::configured(["audit"], with_secret()).await;
    scene.client().get("/").await;
    let copy = scene.target().take_one().await;
    let mark = copy.only("x-sidecast-loop");
    let id = copy.only("idempotency-key");
    assert!(is_uuid_v4(&id), "{id}");
    assert_eq!(mark, signed(&id));
}

#[tokio::test]
async fn with_a_secret_a_client_cannot_opt_out() {
    let scene = Scene::configured(["audit"], with_secret()).await;
    let client = scene.client();
    let id = "11111111-2222-4333-8444-555555555555";
    let mut wrong = signed(id);
    wrong.pop();
    let mut other = signed(id);
    other.replace_range(..1, "2");
    let forged = ["", "1", id, &format!("{id}."), &wrong, &other, &format!("{}0", signed(id)), "."];
    for value in forged {
        get_with_loop(&client, value).await;
        let copy = scene.target().take_one().await;
        assert_ne!(copy.only("x-sidecast-loop"), value);
    }
    let stats = scene.envoy.settled_at("audit", forged.len() as u64).await;
    assert_eq!(stats.of("audit", "delivered"), forged.len() as u64);

    get_with_loop(&client, &signed(id)).await;
    let stats = scene.envoy.settled(["audit"]).await;
    assert_eq!(stats.of("audit", "matched"), forged.len() as u64);
    scene.primary.arrived(forged.len() + 1).await;
}

#[tokio::test]
async fn without_a_secret_any_mark_is_believed() {
    let scene = Scene::mirroring_to(["audit"]).await;
    let client = scene.client();
    for value in ["1", "11111111-2222-4333-8444-555555555555"] {
        get_with_loop(&client, value).await;
    }
    client.get("/unmarked").await;
    let stats = scene.envoy.settled_at("audit", 1).await;
    assert_eq!(stats.of("audit", "delivered"), 1);
    assert_eq!(scene.target().take_one().await.path, "/unmarked");
}
