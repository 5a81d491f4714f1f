//! A configuration update while copies are under way loses none of them.

use std::time::Duration;

use serde_json::json;

use crate::scene::{everything_to, Scene};
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::bootstrap::Filter;
use crate::support::eventually::{eventually, PATIENCE};

#[tokio::test]
async fn an_update_while_copies_are_in_flight_and_queued_loses_none() {
    let mut configuration = everything_to(&["audit"]);
    configuration["targets"][0]["limits"] = json!({"max_in_flight": 4, "max_queued": 100});
    let scene = Scene::set_up(["audit"], configuration.clone(), |setup| setup.dynamic().concurrency(1)).await;
    let (envoy, audit) = (&scene.envoy, scene.target());
    let gate = Gate::shut();
    audit.behave(Behaviour::Gated(gate.clone(), Answer::status(200)));
    let client = scene.client();
    for index in 0..20 {
        assert_eq!(client.post(&format!("/before/{index}"), "body").await.status, 200);
    }
    drop(client);
    let stats = envoy.stats().await;
    assert_eq!((stats.of("audit", "inflight"), stats.of("audit", "queued")), (4, 16));

    // No response comes before the old filter chain is drained.
    configuration["targets"][0]["limits"] = json!({"max_in_flight": 5, "max_queued": 100});
    scene.update(&configuration);
    // It drains for a second.
    for wanted in [1, 0] {
        envoy.draining(wanted).await;
    }
    assert_eq!(audit.complete(), 4);
    gate.open();
    let client = scene.client();
    for index in 0..10 {
        assert_eq!(client.post(&format!("/after/{index}"), "body").await.status, 200);
    }
    let stats = envoy.settled_at("audit", 30).await;
    assert_eq!((stats.of("audit", "delivered"), stats.of("audit", "attempts")), (30, 30), "{:?}", stats.target("audit"));
    let mut paths: Vec<String> = audit.take(30).await.into_iter().map(|seen| seen.path).collect();
    let mut wanted: Vec<String> = (0..20).map(|index| format!("/before/{index}")).collect();
    wanted.extend((0..10).map(|index| format!("/after/{index}")));
    paths.sort();
    wanted.sort();
    assert_eq!(paths, wanted);
}

#[tokio::test]
async fn a_target_removed_by_an_update_still_gets_what_was_under_way() {
    let scene = Scene::updatable(["audit", "other"], everything_to(&["audit"])).await;
    let (envoy, audit) = (&scene.envoy, &scene.targets[0]);
    let gate = Gate::shut();
    audit.behave(Behaviour::Gated(gate.clone(), Answer::status(200)));
    scene.client().post("/", "last").await;
    scene.update(&everything_to(&["other"]));
    eventually(PATIENCE, "the other target to be used", async || {
        scene.client().get("/").await;
        match envoy.stats().await.find("wasmcustom.sidecast.other.matched") {
            Some(1..) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await;
    assert_eq!(audit.answered(), 0);
    gate.open();
    let stats = envoy.settled(["audit"]).await;
    assert_eq!(stats.of("audit", "delivered"), stats.of("audit", "matched"));
    assert_eq!(audit.take(1).await[0].body(), "last");
}

#[tokio::test]
async fn updates_under_load_lose_no_copy_and_no_answer() {
    let mut configuration = everything_to(&["audit"]);
    let scene = Scene::updatable(["audit"], configuration.clone()).await;
    let (envoy, audit) = (&scene.envoy, scene.target());
    audit.behave(Behaviour::Answer(Answer::status(200).after(Duration::from_millis(20))));
    let mut paths = Vec::new();
    for update in 1..=4 {
        for index in 0..60 {
            let path = format!("/{update}/{index}");
            // A connection of its own: those of a drained filter chain are closed.
            assert_eq!(scene.client().post(&path, "body").await.status, 200);
            paths.push(path);
        }
        configuration["targets"][0]["limits"] = json!({"max_in_flight": update, "max_queued": 1000});
        scene.update(&configuration);
    }
    let stats = envoy.settled_at("audit", 240).await;
    assert_eq!(stats.of("audit", "delivered"), 240, "{:?}", stats.target("audit"));
    let mut seen: Vec<String> = audit.take(240).await.into_iter().map(|seen| seen.path).collect();
    seen.sort();
    paths.sort();
    assert_eq!(seen, paths);
}

/// Envoy ends a VM with the last filter that uses it, whatever is under way in it; until then, it waits for each root to be done.
#[tokio::test]
async fn a_filter_that_is_taken_out_of_one_of_two_listeners_still_finishes_what_was_under_way() {
    let mut configuration = everything_to(&["audit"]);
    configuration["targets"][0]["limits"] = json!({"max_in_flight": 1, "max_queued": 10});
    let other = Filter::json(&everything_to(&["audit"]));
    let scene =
        Scene::set_up(["audit"], configuration, |setup| setup.listener("other", other.clone()).concurrency(1).dynamic()).await;
    let (envoy, audit) = (&scene.envoy, scene.target());
    let gate = Gate::shut();
    audit.behave(Behaviour::Gated(gate.clone(), Answer::status(200)));
    for index in 0..3 {
        scene.client().post(&format!("/{index}"), "body").await;
    }
    envoy.replace_listeners(&[("main", Filter::None), ("other", other)]);
    for wanted in [1, 0] {
        envoy.draining(wanted).await;
    }
    assert_eq!(audit.complete(), 1);
    gate.open();
    let stats = envoy.settled_at("audit", 3).await;
    assert_eq!(stats.of("audit", "delivered"), 3, "{:?}", stats.target("audit"));
}

/// How many updates the next test makes. More of them make it sharper: `SIDECAST_UPDATES=1400`.
fn updates() -> u32 {
    std::env::var("SIDECAST_UPDATES").map_or(90, |updates| updates.parse().unwrap())
}

#[tokio::test]
async fn updates_add_nothing_to_memory() {
    const TARGETS: usize = 32;
    /// What an update may add in the mean. Defining the metrics of all targets once more would add 110 KiB and more.
    const ALLOWED: u64 = 30 * 1024;
    /// What may be resident now and not then, whatever the number of updates: VMs that come and go. Measured: up to 6 MiB.
    const PASSING: u64 = 16 << 20;
    let names: Vec<String> = (0..TARGETS).map(|index| format!("t{index}")).collect();
    let mut configuration = everything_to(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for target in configuration["targets"].as_array_mut().unwrap() {
        target["cluster"] = "audit".into();
    }
    let scene = Scene::set_up(["audit"], configuration.clone(), |setup| setup.dynamic().concurrency(4).wasm_level("warn")).await;
    let envoy = &scene.envoy;
    let taken = async || envoy.stats().await.find("listener_manager.lds.update_success").unwrap();
    let (mut memory, updates) = (Vec::new(), updates());
    for update in 1..=updates {
        let before = taken().await;
        configuration["limits"] = json!({"max_body_bytes": 1_000_000 + update});
        scene.update(&configuration);
        eventually(PATIENCE, "the update to be taken", async || match taken().await {
            seen if seen > before => Ok(()),
            seen => Err(format!("{seen} updates")),
        })
        .await;
        // Requests make the workers use it.
        assert_eq!(scene.client().get("/").await.status, 200);
        if update % (updates / 3) == 0 {
            envoy.draining(0).await;
            memory.push(envoy.memory().await);
        }
    }
    println!("{updates} updates: {memory:?}");
    let [first, .., last] = memory[..] else { panic!("{memory:?}") };
    let bound = ALLOWED * u64::from(updates / 3 * 2);
    assert!(last.allocated <= first.allocated + bound, "{first:?}, {last:?}");
    assert!(last.resident <= first.resident + PASSING + bound, "{first:?}, {last:?}");
}
