//! A target that is down for a while, with retries and the circuit breaker as they are by default.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;

use crate::scene::Scene;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::load::Load;
use crate::support::stats::Stats;

const RATE: u32 = 500;
const BEFORE: Duration = Duration::from_secs(2);
const OUTAGE: Duration = Duration::from_secs(20);
/// Until the end of the load; longer than an open breaker stays open.
const AFTER: Duration = Duration::from_secs(8);

const WORKERS: u64 = 2;
const MAX_IN_FLIGHT: u64 = 16;
/// The defaults.
const CONSECUTIVE_FAILURES: u64 = 5;
const OPEN_FOR: Duration = Duration::from_secs(5);
/// The default of 60 s would have the breaker closed 15 s after the target is back.
const MAX_OPEN_FOR: Duration = Duration::from_secs(6);

/// How many attempts an outage may meet. While the breaker is closed: those whose failures open it, and those that are under way
/// on all workers by then. Twice that, as a response that was on its way when the target went down may come between the failures.
/// While it is open: one probe each time that its open time is over, and that is at the earliest after `OPEN_FOR`. The budget
/// of the retries, 20 % of first attempts that are not made, allows less than the breaker forbids.
fn most_attempts(outage: Duration) -> u64 {
    2 * (CONSECUTIVE_FAILURES + WORKERS * MAX_IN_FLIGHT) + most_probes(outage)
}

fn most_probes(outage: Duration) -> u64 {
    outage.as_millis().div_ceil(OPEN_FOR.as_millis()) as u64
}

/// A line each second of what happened since the last.
struct Table {
    started: Instant,
    last: Stats,
    received: usize,
}

impl Table {
    fn new(stats: Stats) -> Self {
        println!("second  primary  attempts  delivered  queued  breaker    dropped");
        Self { started: Instant::now(), last: stats, received: 0 }
    }

    async fn watch(&mut self, scene: &Scene<1>, duration: Duration) {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            tokio::time::sleep_until(end.min(Instant::now() + Duration::from_secs(1)).into()).await;
            self.line(scene).await;
        }
    }

    async fn line(&mut self, scene: &Scene<1>) {
        let (stats, received) = (scene.envoy.stats().await, scene.primary.begun().len());
        let since = |name: &str| stats.of("audit", name) - self.last.of("audit", name);
        let reasons: Vec<String> = stats.drops("audit").into_keys().collect();
        let dropped: Vec<String> =
            reasons.iter().map(|reason| format!("{reason} {}", since(&format!("dropped.{reason}")))).collect();
        println!(
            "{:6.1} {:8} {:9} {:10} {:7}  {:9}  {}",
            self.started.elapsed().as_secs_f64(),
            received - self.received,
            since("attempts"),
            since("delivered"),
            stats.of("audit", "queued"),
            ["closed", "half-open", "open"][breaker(&stats) as usize],
            dropped.join(", ")
        );
        (self.last, self.received) = (stats, received);
    }
}

fn breaker(stats: &Stats) -> u64 {
    stats.of("audit", "breaker.state")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_met_by_few_attempts_and_forgotten_soon_after_its_end() {
    let _turn = crate::turn().await;
    let configuration = json!({"targets": [{
        "name": "audit",
        "cluster": "audit",
        "limits": {"max_in_flight": MAX_IN_FLIGHT},
        "retry": {"max_attempts": 3},
        "circuit_breaker": {"max_open_for": format!("{}s", MAX_OPEN_FOR.as_secs())},
    }]});
    let mut scene = Scene::set_up(["audit"], configuration, |setup| setup.wasm_level("warn")).await;
    scene.primary.forget();
    scene.target().forget();
    let load = Load { rate: RATE, duration: BEFORE + OUTAGE + AFTER, connections: 32, body: Bytes::from("an order") };
    let sent = load.total();
    let mut table = Table::new(scene.envoy.stats().await);
    let running = load.start(scene.envoy.address("main"));
    table.watch(&scene, BEFORE).await;

    let down = Instant::now();
    scene.targets[0].close().await;
    table.watch(&scene, OUTAGE).await;
    scene.targets[0].open();
    let (outage, back) = (down.elapsed(), Instant::now());
    let recovered = eventually(MAX_OPEN_FOR + PATIENCE, "the breaker to close", async || {
        let stats = scene.envoy.stats().await;
        if breaker(&stats) == 0 {
            Ok(stats)
        } else {
            Err(format!("{:?}", stats.target("audit")))
        }
    })
    .await;
    let recovery = back.elapsed();
    println!("recovered after {recovery:?}");
    table.line(&scene).await;
    while !running.is_finished() {
        table.watch(&scene, Duration::from_secs(1)).await;
    }
    let report = running.await.unwrap();
    println!("{report}");
    report.assert_no_failure();

    let stats = scene.envoy.settled_at("audit", sent).await;
    println!("{:?}", stats.target("audit"));
    assert!(recovery < MAX_OPEN_FOR + Duration::from_secs(5), "{recovery:?}");
    assert_eq!(stats.drops("audit"), recovered.drops("audit"), "dropped after the recovery");
    // What came to the target began before the outage or after it.
    let in_outage = stats.of("audit", "attempts") - scene.target().begun().len() as u64;
    assert!(in_outage <= most_attempts(outage), "{in_outage} attempts");
    assert!(in_outage >= CONSECUTIVE_FAILURES, "{in_outage} attempts");
    assert!((1..=1 + most_probes(outage)).contains(&stats.of("audit", "breaker.opened")), "{:?}", stats.target("audit"));
    assert!(recovered.of("audit", "matched") < sent, "the load ended before the recovery");
}
