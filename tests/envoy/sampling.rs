//! A part of the requests.

use serde_json::json;

use crate::scene::target;
use crate::stage::{in_one_envoy, Stage};
use crate::support::client::full;
use crate::support::setup::Setup;

#[tokio::test]
async fn a_key_or_chance_decides_what_is_in_the_sample() {
    let (one, ()) =
        in_one_envoy!(Setup::new() => keys_are_always_in_or_always_out_for_every_target_and_worker, without_a_key_chance_decides);
    let (other,) = in_one_envoy!(Setup::new() => keys_are_always_in_or_always_out_for_every_target_and_worker);
    assert_eq!(one, other, "keys are in in one Envoy and out in another");
}

/// What each target got: users, and the path of each round.
type Picked = Vec<Vec<(String, String)>>;

async fn keys_are_always_in_or_always_out_for_every_target_and_worker(stage: &Stage) -> Picked {
    let sampled = |name: &str, percent: f64| {
        let mut target = target(name);
        target["sample"] = json!({"percent": percent, "key": {"header": "x-user"}});
        target
    };
    let configuration = json!({"targets": [sampled("half", 50.0), sampled("same", 50.0), sampled("less", 20.0)]});
    let scene = stage.part(["half", "same", "less"], configuration).await;
    for round in 0..2 {
        // A connection each, so that both workers see some of each user's.
        for user in 0..40 {
            let client = scene.client();
            let request = client.request("GET", &format!("/{round}")).header("x-user", format!("user-{user}"));
            client.send(request.body(full("")).unwrap()).await;
        }
    }
    let stats = scene.envoy.settled(["half", "same", "less"]).await;
    let mut users = Vec::new();
    for (upstream, name) in scene.targets.iter().zip(["half", "same", "less"]) {
        let mut seen: Vec<(String, String)> =
            upstream.received().iter().map(|copy| (copy.only("x-user"), copy.path.clone())).collect();
        seen.sort();
        assert_eq!(stats.of(name, "matched"), 80);
        assert_eq!(stats.of(name, "sampled_out"), 80 - seen.len() as u64);
        // Both rounds, or none.
        assert!(seen.chunks(2).all(|pair| pair.len() == 2 && pair[0].0 == pair[1].0), "{seen:?}");
        users.push(seen);
    }
    assert_eq!(users[0], users[1]);
    assert!(users[2].iter().all(|user| users[0].contains(user)) && users[2].len() < users[0].len());
    assert!((20..=60).contains(&users[0].len()), "{}", users[0].len());
    users
}

async fn without_a_key_chance_decides(stage: &Stage) {
    let mut audit = target("chance");
    audit["sample"] = json!({"percent": 50});
    let scene = stage.part(["chance"], json!({ "targets": [audit] })).await;
    let client = scene.client();
    for _ in 0..200 {
        client.get("/").await;
    }
    let stats = scene.envoy.settled_at("chance", 200).await;
    // Six standard deviations: once in 500 million runs it is not.
    let delivered = stats.of("chance", "delivered");
    assert!((58..=142).contains(&delivered), "{delivered}");
    assert_eq!(stats.of("chance", "sampled_out"), 200 - delivered);
}
