//! What a client notices of a target that is down: latency at a steady rate without the filter, with it, and with it without a circuit
//! breaker, in alternating rounds on one Envoy.
//!
//! `docs/benchmarks.md` says how to run it and how to read it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unreachable
)]

#[path = "side_by_side/stats.rs"]
mod stats;
#[path = "../tests/support/mod.rs"]
#[allow(dead_code)] // Shared with the tests.
mod support;

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use support::bootstrap::Filter;
use support::envoy::Envoy;
use support::load::{Load, Report};
use support::setup::Setup;
use support::upstream::{Refusing, Upstream};

const RATE: u32 = 500;
/// Names of listeners, and of the targets of their filters.
const VARIANTS: [&str; 3] = ["none", "sidecast", "no-breaker"];

fn setting(name: &str, default: u32) -> u32 {
    match env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().unwrap_or_else(|problem| panic!("{name}={text}: {problem}")),
        _ => default,
    }
}

fn filter(name: &str, mode: &str) -> Filter {
    Filter::json(&json!({"targets": [{
        "name": name,
        "cluster": "down",
        "retry": {"max_attempts": 3},
        "circuit_breaker": {"mode": mode},
    }]}))
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let cases = env::var("SIDECAST_BENCH_CASES").unwrap_or_default();
    if !cases.is_empty() && !cases.split(',').any(|case| case.trim() == "outage") {
        return;
    }
    // As many as a case with a verdict of the other benchmark has.
    let rounds = 2 * setting("SIDECAST_BENCH_ROUNDS", 7);
    let seconds = setting("SIDECAST_BENCH_SECONDS", 2);

    let (primary, down) = (Upstream::start().await, Refusing::reserve());
    primary.forget();
    let envoy = Setup::new()
        .cluster("primary", primary.address())
        .cluster("down", down.address())
        .listener("none", Filter::None)
        .listener("sidecast", filter("sidecast", "enforce"))
        .listener("no-breaker", filter("no-breaker", "disabled"))
        .wasm_level("error")
        .start()
        .await;

    // The first round is not counted: connections are made, and the breaker opens.
    let mut reports: [Vec<Report>; 3] = Default::default();
    for round in 0..=rounds as usize {
        for place in 0..VARIANTS.len() {
            let variant = (round + place) % VARIANTS.len();
            let load = Load {
                rate: RATE,
                duration: Duration::from_secs(if round == 0 { 1 } else { seconds.into() }),
                connections: 32,
                body: Bytes::from(vec![b'x'; 1024]),
            };
            let report = load.start(envoy.address(VARIANTS[variant])).await.unwrap();
            report.assert_no_failure();
            // Retries of this round are none of the next one's business; the few that wait for the breaker stay.
            envoy.settled(["no-breaker"]).await;
            if round > 0 {
                eprintln!("{round:>3} {:10} {report}", VARIANTS[variant]);
                reports[variant].push(report);
            }
        }
    }
    verify(&envoy, &reports).await;
    let text = table(&reports, seconds);
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    fs::create_dir_all(&out).unwrap();
    fs::write(out.join("outage.md"), &text).unwrap();
    println!("{text}\nWritten: {}", out.join("outage.md").display());
}

/// The filters did what is compared: one spared its target, the other tried each time, and both saw it fail.
async fn verify(envoy: &Envoy, reports: &[Vec<Report>; 3]) {
    let stats = envoy.stats().await;
    for (variant, reports) in VARIANTS.iter().zip(reports).skip(1) {
        let sent: u64 = reports.iter().map(|report| report.sent).sum();
        assert!(stats.of(variant, "matched") > sent && stats.of(variant, "delivered") == 0, "{:?}", stats.target(variant));
        let mostly = if *variant == "sidecast" { "dropped.circuit_open" } else { "attempts" };
        assert!(stats.of(variant, mostly) > sent * 9 / 10, "{:?}", stats.target(variant));
    }
}

fn table(reports: &[Vec<Report>; 3], seconds: u32) -> String {
    let micros = |variant: usize, percent: f64| -> Vec<f64> {
        reports[variant].iter().map(|report| report.percentile(percent).as_micros() as f64).collect()
    };
    let mut text = format!(
        "A target that is down, {RATE} requests/s of 1 KiB, {} rounds of {seconds} s. Medians; ratios are medians of the ratios within \
         a round, with their quartiles.\n\n| variant | p50 us | to none | p99 us | to none |\n| --- | ---: | ---: | ---: | ---: |\n",
        reports[0].len()
    );
    for (variant, name) in VARIANTS.iter().enumerate() {
        let _ = write!(text, "| {name} ");
        for percent in [50.0, 99.0] {
            let own = micros(variant, percent);
            let ratios: Vec<f64> = own.iter().zip(micros(0, percent)).map(|(own, none)| own / none).collect();
            let ratio = |fraction| stats::quantile(&ratios, fraction).unwrap();
            let _ = write!(
                text,
                "| {:.0} | {:.2} ({:.2}-{:.2}) ",
                stats::median(&own).unwrap(),
                ratio(0.5),
                ratio(0.25),
                ratio(0.75)
            );
        }
        text += "|\n";
    }
    text
}
