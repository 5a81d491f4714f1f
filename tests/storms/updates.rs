//! Configuration updates in the middle of steady traffic.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::scene::{everything_to, Scene};
use crate::support::answer::{Answer, Behaviour};
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::load::Load;

const UPDATES: u32 = 20;
const RATE: u32 = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_updates_under_load_fail_no_request_and_lose_or_double_no_copy() {
    let _turn = crate::turn().await;
    let mut configuration = everything_to(&["audit"]);
    let scene = Scene::set_up(["audit"], configuration.clone(), |setup| setup.dynamic().wasm_level("warn")).await;
    // At each update copies are under way: 500 a second for 300 ms are 150.
    scene.target().behave(Behaviour::Answer(Answer::status(200).after(Duration::from_millis(300))));
    let load = Load { rate: RATE, duration: Duration::from_secs(20), connections: 32, body: Bytes::from("an order") };
    let sent = load.total();
    let running = load.start(scene.envoy.address("main"));
    let mut updates = scene.envoy.stats().await.find("listener_manager.lds.update_success").unwrap();
    for update in 1..=UPDATES {
        // Evenly over the load: never two updates in one breath.
        eventually(PATIENCE, "more of the load", async || match scene.primary.begun().len() as u64 {
            seen if seen >= sent * u64::from(update) / u64::from(UPDATES + 1) => Ok(()),
            seen => Err(format!("{seen} requests")),
        })
        .await;
        configuration["targets"][0]["limits"] = json!({"max_in_flight": 256 + update, "max_queued": 1024});
        scene.update(&configuration);
        updates += 1;
        eventually(PATIENCE, "the update to be taken", async || {
            match scene.envoy.stats().await.find("listener_manager.lds.update_success") {
                Some(seen) if seen == updates => Ok(()),
                seen => Err(format!("{seen:?} of {updates}")),
            }
        })
        .await;
        assert!(!running.is_finished(), "the load ended before update {update}");
    }
    let report = running.await.unwrap();
    println!("{report}");
    report.assert_no_failure();

    let stats = scene.envoy.settled_at("audit", sent).await;
    let counts = ["delivered", "attempts"].map(|name| stats.of("audit", name));
    assert_eq!(counts, [sent; 2], "{:?}", stats.target("audit"));
    let mut wanted: Vec<String> = (0..sent).map(|index| format!("/{index}")).collect();
    wanted.sort();
    for upstream in [&scene.primary, scene.target()] {
        let mut paths: Vec<String> = upstream.received().into_iter().map(|seen| seen.path).collect();
        paths.sort();
        assert!(paths == wanted, "{} requests of {sent}", paths.len());
    }
}
