//! A target that takes every request and never answers: memory stays within what `limits.max_buffered_bytes` says, and is free
//! again afterwards.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::scene::{target, Scene};
use crate::support::answer::{Answer, Behaviour};
use crate::support::load::Load;
use crate::support::process::Memory;

const RATE: u32 = 2_000;
const BODY: usize = 1024;
const STORM: Duration = Duration::from_secs(60);
/// Long enough to fill the buffers again.
const SECOND_STORM: Duration = Duration::from_secs(20);

const MIB: u64 = 1024 * 1024;
const WORKERS: u64 = 2;
const MAX_BUFFERED: u64 = 16 * MIB;
const FACTOR: u64 = 2;
const CONSTANT: u64 = 64 * MIB;

async fn storm(scene: &Scene<1>, duration: Duration) -> Memory {
    let before = scene.envoy.stats().await;
    scene.target().behave(Behaviour::Hang);
    let load = Load { rate: RATE, duration, connections: 64, body: Bytes::from(vec![b'x'; BODY]) };
    let sent = load.total();
    let report = load.start(scene.envoy.address("main")).await.unwrap();
    println!("{report}");
    report.assert_no_failure();
    let stats = scene.envoy.stats().await;
    println!("{:?} {:?}", stats.target("audit"), scene.envoy.memory().await);
    // The bound was reached, so it is the bound that held.
    assert!(stats.of("audit", "dropped.buffer_full") > before.of("audit", "dropped.buffer_full"), "{:?}", stats.target("audit"));

    // What waits goes once the target has recovered; what hangs runs into its timeout.
    scene.target().behave(Behaviour::Answer(Answer::status(200)));
    scene.envoy.settled_at("audit", before.of("audit", "matched") + sent).await;
    let after = scene.envoy.memory().await;
    println!("settled {after:?}");
    after
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_hangs_takes_no_more_memory_than_the_limit_allows() {
    let _turn = crate::turn().await;
    let mut audit = target("audit");
    audit["timeout"] = json!("5s");
    // As many may wait as fit into the memory.
    audit["limits"] = json!({"max_in_flight": 256, "max_queued": 1_000_000});
    let configuration = json!({"targets": [audit], "limits": {"max_buffered_bytes": MAX_BUFFERED}});
    let scene = Scene::set_up(["audit"], configuration, |setup| setup.wasm_level("warn")).await;
    scene.primary.forget();
    scene.target().forget();
    let warm_up = Load { rate: RATE, duration: Duration::from_secs(2), connections: 64, body: Bytes::from(vec![b'x'; BODY]) };
    warm_up.start(scene.envoy.address("main")).await.unwrap().assert_no_failure();
    scene.envoy.settled(["audit"]).await;
    let floor = scene.envoy.memory().await;
    println!("floor {floor:?}");

    let first = storm(&scene, STORM).await;
    let second = storm(&scene, SECOND_STORM).await;
    assert!(first.peak <= floor.resident + WORKERS * MAX_BUFFERED * FACTOR + CONSTANT, "{first:?}");
    assert!(second.peak <= first.peak + 8 * MIB, "{first:?} {second:?}");
}
