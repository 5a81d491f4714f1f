//! What a client notices of a target that is down: latency at a steady rate without the filter, with it, and with it without a circuit
//! breaker. The three take turns of a second on one Envoy, and percentiles are of all turns together: what else the machine does hits each
//! of them alike.
//!
//! `docs/benchmarks.md` says how to run it and how to read it.
#[path = "side_by_side/stats.rs"]
#[allow(dead_code)] // Shared with the other benchmark.
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
use hdrhistogram::Histogram;
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
    // Its requests are few: a turn of a second has 500 of them.
    let turns = 8 * setting("SIDECAST_BENCH_SECONDS", 3);

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

    // The first turn is not counted: connections are made, and the breaker opens.
    let mut reports: [Vec<Report>; 3] = Default::default();
    for turn in 0..=turns as usize {
        for place in 0..VARIANTS.len() {
            let variant = (turn + place) % VARIANTS.len();
            let load =
                Load { rate: RATE, duration: Duration::from_secs(1), connections: 32, body: Bytes::from(vec![b'x'; 1024]) };
            let report = load.start(envoy.address(VARIANTS[variant])).await.unwrap();
            report.assert_no_failure();
            // Retries of this turn are none of the next one's business; the few that wait for the breaker stay.
            envoy.settled(["no-breaker"]).await;
            if turn > 0 {
                reports[variant].push(report);
            }
        }
    }
    verify(&envoy, &reports).await;
    let text = table(&reports);
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

/// The latencies of some turns together.
fn together<'a>(reports: impl Iterator<Item = &'a Report>) -> Histogram<u64> {
    reports.fold(Histogram::new(3).unwrap(), |mut all, report| {
        all.add(&report.latency).unwrap();
        all
    })
}

/// How often the ratios are drawn again from turns chosen by chance.
const RESAMPLES: usize = 400;

/// 90 % of the ratios to the first variant that come about when turns are drawn again by chance (a bootstrap): how far the machine's noise goes.
fn interval(reports: &[Vec<Report>; 3], variant: usize, percentile: f64) -> [f64; 2] {
    let turns = reports[0].len();
    // Fixed, so that the same measurements give the same interval.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut ratios = Vec::new();
    for _ in 0..RESAMPLES {
        let drawn: Vec<usize> = (0..turns)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state % turns as u64) as usize
            })
            .collect();
        let of =
            |variant: usize| together(drawn.iter().map(|turn| &reports[variant][*turn])).value_at_percentile(percentile) as f64;
        ratios.push(of(variant) / of(0));
    }
    [0.05, 0.95].map(|fraction| stats::quantile(&ratios, fraction).unwrap())
}

fn table(reports: &[Vec<Report>; 3]) -> String {
    let mut text = format!(
        "A target that is down, {RATE} requests/s of 1 KiB, {} turns of 1 s. Ratios with the 90 % interval of a bootstrap over turns.\n\n\
         | variant | p50 us | to none | p99 us | to none |\n| --- | ---: | ---: | ---: | ---: |\n",
        reports[0].len()
    );
    let of = |variant: usize, percentile| together(reports[variant].iter()).value_at_percentile(percentile) as f64;
    for (variant, name) in VARIANTS.iter().enumerate() {
        let _ = write!(text, "| {name} ");
        for percentile in [50.0, 99.0] {
            let (own, [low, high]) = (of(variant, percentile), interval(reports, variant, percentile));
            let _ = write!(text, "| {own:.0} | {:.2} ({low:.2}-{high:.2}) ", own / of(0, percentile));
        }
        text += "|\n";
    }
    text
}
