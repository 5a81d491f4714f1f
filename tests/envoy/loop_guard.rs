//! A copy that comes back through a Sidecast is not copied again; with a secret, nobody else can claim to be one.

use data_encoding::HEXLOWER;
use hmac::{Hmac, Mac};
use serde_json::{json, Value};
use sha2::Sha256;

use crate::claims::claims;
use crate::headers::is_uuid_v4;
use crate::scene::{count_anew, everything_to, Scene};
use crate::support::bootstrap::Filter;
use crate::support::client::{full, Client};
use crate::support::envoy::Envoy;
use crate::support::raw::Relay;
use crate::support::setup::Setup;

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

/// The same two configurations in each of three places: a listener that mirrors to `audit`, one that mirrors to itself, and, in an Envoy before
/// this one, one that mirrors to the first.
struct Stage {
    outer: Envoy,
    inner: Scene<1>,
    _relays: [Relay; 2],
}

impl Stage {
    async fn start() -> Self {
        let relays = [Relay::start().await, Relay::start().await];
        let to = |cluster: &str, mut configuration: Value| {
            configuration["targets"][0]["cluster"] = cluster.into();
            Filter::json(&configuration)
        };
        let add = |setup: Setup| {
            setup
                .cluster("ring", relays[0].address())
                .cluster("ring-secret", relays[1].address())
                .listener("secret", Filter::json(&with_secret()))
                .listener("ring", to("ring", everything_to(&["audit"])))
                .listener("ring-secret", to("ring-secret", with_secret()))
        };
        let inner = Scene::set_up(["audit"], everything_to(&["audit"]), add).await;
        relays[0].lead_to(inner.envoy.address("ring"));
        relays[1].lead_to(inner.envoy.address("ring-secret"));
        let outer = Setup::new()
            .cluster("primary", inner.primary.address())
            .cluster("main", inner.envoy.address("main"))
            .cluster("secret", inner.envoy.address("secret"))
            .listener("main", to("main", everything_to(&["audit"])))
            .listener("secret", to("secret", with_secret()))
            .start()
            .await;
        Self { outer, inner, _relays: relays }
    }

    async fn anew(&self) {
        count_anew(&self.outer).await;
        self.inner.anew().await;
    }

    fn secret_client(&self) -> Client {
        Client::http1(self.inner.envoy.address("secret"))
    }
}

#[tokio::test]
async fn a_copy_is_known_by_its_mark() {
    claims!(
        Stage::start().await,
        a_filter_that_mirrors_into_a_filter_stops_after_one_copy,
        a_filter_that_mirrors_to_its_own_listener_stops_after_one_copy,
        the_mark_is_the_delivery_id_signed_with_the_secret,
        with_a_secret_a_client_cannot_opt_out,
        without_a_secret_any_mark_is_believed,
    );
}

async fn a_filter_that_mirrors_into_a_filter_stops_after_one_copy(stage: &Stage) {
    for listener in ["main", "secret"] {
        stage.anew().await;
        Client::http1(stage.outer.address(listener)).post("/", "once").await;
        stage.outer.settled_at("audit", 1).await;
        // Once from the client, and the copy, which passed through the inner Envoy as a primary and was not copied there.
        let seen = stage.inner.primary.take(2).await;
        assert_eq!(seen.len(), 2, "{listener}: {seen:?}");
        assert!(seen.iter().all(|seen| seen.body() == "once"), "{listener}");
        assert_eq!(seen.iter().filter(|seen| seen.has("x-sidecast-loop")).count(), 1, "{listener}");
        let stats = stage.inner.envoy.stats().await;
        assert_eq!((stats.of("audit", "matched"), stats.of("audit", "attempts")), (0, 0), "{listener}");
        assert!(stage.inner.target().received().is_empty(), "{listener}");
    }
}

async fn a_filter_that_mirrors_to_its_own_listener_stops_after_one_copy(stage: &Stage) {
    let Scene { envoy, primary, .. } = &stage.inner;
    for listener in ["ring", "ring-secret"] {
        stage.anew().await;
        let client = Client::http1(envoy.address(listener));
        for round in 1..=5 {
            client.post("/", format!("round {round}")).await;
            envoy.settled_at("audit", round).await;
            let seen = primary.take(2).await;
            assert_eq!(seen.len(), 2, "{listener}: {seen:?}");
            assert!(seen.iter().all(|seen| seen.body() == format!("round {round}")), "{listener}");
            let copies = seen.iter().filter(|seen| seen.has("x-sidecast-loop"));
            assert_eq!(copies.count(), 1, "{listener}");
        }
    }
}

async fn the_mark_is_the_delivery_id_signed_with_the_secret(stage: &Stage) {
    let scene = &stage.inner;
    stage.secret_client().get("/").await;
    let copy = scene.target().take_one().await;
    let mark = copy.only("x-sidecast-loop");
    let id = copy.only("idempotency-key");
    assert!(is_uuid_v4(&id), "{id}");
    assert_eq!(mark, signed(&id));
}

async fn with_a_secret_a_client_cannot_opt_out(stage: &Stage) {
    let scene = &stage.inner;
    let client = stage.secret_client();
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

async fn without_a_secret_any_mark_is_believed(stage: &Stage) {
    let scene = &stage.inner;
    let client = scene.client();
    for value in ["1", "11111111-2222-4333-8444-555555555555"] {
        get_with_loop(&client, value).await;
    }
    client.get("/unmarked").await;
    let stats = scene.envoy.settled_at("audit", 1).await;
    assert_eq!(stats.of("audit", "delivered"), 1);
    assert_eq!(scene.target().take_one().await.path, "/unmarked");
}
