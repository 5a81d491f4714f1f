//! A target that takes every request and never answers: memory stays within what `limits.max_buffered_bytes` says, and is free
//! again afterwards.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::scene::{target, Scene};
use crate::support::answer::{Answer, Behaviour};
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::load::Load;
use crate::support::process::Memory;

const RATE: u32 = 2_000;
const BODY: usize = 1024;
const STORM: Duration = Duration::from_secs(30);
/// Long enough to fill the buffers again.
const SECOND_STORM: Duration = Duration::from_secs(20);

const MIB: u64 = 1024 * 1024;
const WORKERS: u64 = 2;
const MAX_BUFFERED: u64 = 16 * MIB;
/// What Envoy may grow by over its memory at rest: the sum that docs/operations.md states. Measured: 1.27 bytes for each of the limit, and 17 KiB for
/// each call under way.
const ALLOWANCE: u64 = WORKERS * (2 * MAX_BUFFERED + 16 * MIB + 256 * 22 * 1024);
/// What two storms of the same kind may differ by: measured, up to 1 MiB. A leak of 100 bytes a request would be 4 MiB.
const REPEATED: u64 = 4 * MIB;
/// What Envoy's own allocator may keep: measured, 0.2 MiB.
const KEPT: u64 = 2 * MIB;

fn load(duration: Duration) -> Load {
    Load { rate: RATE, duration, connections: 64, body: Bytes::from(vec![b'x'; BODY]) }
}

/// Sends the load while the target hangs, then lets the target recover; the memory when all is settled.
async fn storm(scene: &Scene<1>, duration: Duration) -> Memory {
    let before = scene.envoy.stats().await;
    scene.target().behave(Behaviour::Hang);
    let load = load(duration);
    let matched = before.of("audit", "matched") + load.total();
    let report = load.start(scene.envoy.address("main")).await.unwrap();
    println!("{report}");
    report.assert_no_failure();
    let stats = scene.envoy.stats().await;
    println!("in the storm: {:?}, {:?}", scene.envoy.memory().await, stats.target("audit"));
    // The bound was reached, so it is the bound that held.
    assert!(stats.of("audit", "dropped.buffer_full") > before.of("audit", "dropped.buffer_full"), "{:?}", stats.target("audit"));

    // What hangs runs into its timeout; what waits goes then.
    scene.target().behave(Behaviour::Answer(Answer::status(200)));
    eventually(3 * PATIENCE, "the queue to be empty", async || match scene.envoy.stats().await.of("audit", "queued") {
        0 => Ok(()),
        queued => Err(format!("{queued} wait")),
    })
    .await;
    scene.envoy.settled_at("audit", matched).await;
    let memory = scene.envoy.memory().await;
    println!("afterwards: {memory:?}");
    memory
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_hangs_takes_no_more_memory_than_the_limit_allows_and_all_of_it_is_used_again() {
    let _turn = crate::turn().await;
    let mut audit = target("audit");
    audit["timeout"] = json!("5s");
    // As many may wait as fit into the memory.
    audit["limits"] = json!({"max_in_flight": 256, "max_queued": 1_000_000});
    let configuration = json!({"targets": [audit], "limits": {"max_buffered_bytes": MAX_BUFFERED}});
    let scene = Scene::set_up(["audit"], configuration, |setup| setup.wasm_level("warn")).await;
    scene.primary.forget();
    scene.target().forget();
    // Afterwards Envoy has all the connections that it will ever have: it keeps them, and their memory.
    scene.target().behave(Behaviour::Answer(Answer::status(200).after(Duration::from_secs(1))));
    load(Duration::from_secs(1)).start(scene.envoy.address("main")).await.unwrap().assert_no_failure();
    scene.envoy.settled(["audit"]).await;
    let floor = scene.envoy.memory().await;
    println!("at rest: {floor:?}");

    let first = storm(&scene, STORM).await;
    let second = storm(&scene, SECOND_STORM).await;
    assert!(first.peak <= floor.resident + ALLOWANCE, "{floor:?}, {first:?}");
    assert!(second.peak <= first.peak + REPEATED, "{first:?}, {second:?}");
    for after in [first, second] {
        assert!(after.allocated <= floor.allocated + KEPT, "{floor:?}, {after:?}");
    }
}
