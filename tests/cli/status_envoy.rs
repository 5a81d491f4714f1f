//! `sidecast status` over three real Envoys under load: the numbers are those of their admin interfaces, added up from what they say to Prometheus.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{json, Value};

use crate::support::admin::page;
use crate::support::bootstrap::Filter;
use crate::support::envoy::Envoy;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::load::Load;
use crate::support::setup::{binaries, Setup};
use crate::support::upstream::{Refusing, Upstream};
use crate::tool::{sidecast, Ran};

const TARGETS: [&str; 2] = ["audit", "a_b-c"];

fn configuration() -> Value {
    json!({"targets": [
        {"name": "audit", "cluster": "audit"},
        {"name": "a_b-c", "cluster": "other", "circuit_breaker": {"open_for": "1h", "max_open_for": "1h"}},
    ]})
}

/// The tool blocks, and so must not run on the thread of the upstreams.
async fn status(arguments: Vec<String>) -> Ran {
    let run = move || {
        let arguments: Vec<&str> = ["status"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        sidecast(&arguments)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// What Envoys say to Prometheus, with and without labels.
struct Scraped(Vec<String>);

impl Scraped {
    async fn of(envoys: &[Envoy]) -> Self {
        let mut pages = Vec::new();
        for envoy in envoys {
            pages.push(page(envoy.admin, "/stats/prometheus").await.unwrap());
        }
        Self(pages)
    }

    /// The sum of all values whose name or labels are those of a statistic of a target.
    fn sum(&self, target: &str, statistic: &str) -> u64 {
        let labelled = format!("target=\"{target}\"");
        let named = format!("sidecast_{}_{statistic}", target.replace('-', "_"));
        let lines = self.0.iter().flat_map(|page| page.lines()).filter(|line| {
            let name = line.split('{').next().unwrap();
            let is_labelled = name == format!("sidecast_{statistic}") && line.contains(&labelled);
            is_labelled || name == named || (statistic == "dropped" && name.starts_with(&format!("{named}_")))
        });
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    }

    /// How many latencies are up to each bound.
    fn buckets(&self, target: &str) -> Vec<(f64, u64)> {
        let labelled = format!("target=\"{target}\"");
        let names = ["sidecast_latency_ms_bucket".to_owned(), format!("sidecast_{}_latency_ms_bucket", target.replace('-', "_"))];
        let mut sums: BTreeMap<u64, u64> = BTreeMap::new();
        for line in self.0.iter().flat_map(|page| page.lines()) {
            let name = line.split('{').next().unwrap();
            if name == names[1] || (name == names[0] && line.contains(&labelled)) {
                let bound: f64 =
                    line.split("le=\"").nth(1).unwrap().split('"').next().unwrap().replace("+Inf", "1e9").parse().unwrap();
                *sums.entry((bound * 10.0) as u64).or_default() += line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
            }
        }
        sums.into_iter().map(|(bound, count)| (bound as f64 / 10.0, count)).collect()
    }
}

async fn start(audit: &Upstream, other: std::net::SocketAddr, number: usize) -> Envoy {
    let all = binaries();
    let shipped: Value = serde_saphyr::from_str(include_str!("../../envoy/envoy.yaml")).unwrap();
    let setup = Setup::new()
        .binary(all[number % all.len()].clone())
        .cluster("primary", audit.address())
        .cluster("audit", audit.address())
        .cluster("other", other)
        .listener("main", Filter::json(&configuration()))
        .dynamic();
    // Statistics have the same names with and without labels.
    let setup = if number == 0 { setup.with("", "stats_config", shipped["stats_config"].clone()) } else { setup };
    setup.start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_numbers_are_those_of_the_admin_interfaces_added_up() {
    let (upstream, refusing) = (Upstream::start().await, Refusing::reserve());
    upstream.forget();
    let mut envoys = Vec::new();
    for number in 0..3 {
        let other = if number == 1 { refusing.address() } else { upstream.address() };
        envoys.push(start(&upstream, other, number).await);
    }
    let addresses: Vec<String> = envoys.iter().map(|envoy| envoy.admin.to_string()).collect();
    let with =
        |options: &[&str]| addresses.iter().cloned().chain(options.iter().map(|option| (*option).to_owned())).collect::<Vec<_>>();
    let quiet = status(with(&[])).await;
    assert_eq!((quiet.status, quiet.err.as_str()), (0, ""), "{}", quiet.out);

    let mut loads = Vec::new();
    for (number, envoy) in envoys.iter().enumerate() {
        let rate = 40 + 20 * number as u32;
        let load = Load { rate, duration: Duration::from_secs(1), connections: 8, body: Bytes::from_static(b"{}") };
        loads.push((u64::from(rate), load.start(envoy.address("main"))));
    }
    let watched = status(with(&["--watch=0.3", "--times", "3", "--format", "json"])).await;
    for line in watched.out.lines().skip(1) {
        let reading: Value = serde_json::from_str(line).unwrap();
        assert!(reading["targets"][1]["per_second"]["matched"].as_f64().unwrap() > 0.0, "{reading}");
    }
    for (envoy, (sent, load)) in envoys.iter().zip(loads) {
        load.await.unwrap().assert_no_failure();
        for target in TARGETS {
            envoy.settles_at(target, sent).await;
        }
    }
    // Envoy brings the histograms of its workers together every few seconds.
    let scraped = eventually(PATIENCE, "all latencies", async || {
        let scraped = Scraped::of(&envoys).await;
        let seen = TARGETS.map(|target| (scraped.sum(target, "latency_ms_count"), scraped.sum(target, "attempts")));
        if seen.iter().all(|(latencies, attempts)| latencies == attempts) {
            Ok(scraped)
        } else {
            Err(format!("{seen:?}"))
        }
    })
    .await;

    let told = status(with(&["--format", "json", "--per-envoy"])).await;
    let value: Value = serde_json::from_str(&told.out).unwrap();
    for row in value["targets"].as_array().unwrap() {
        let target = row["target"].as_str().unwrap();
        for statistic in
            ["matched", "delivered", "attempts", "retries", "inflight", "queued", "dead_lettered", "not_triggered", "sampled_out"]
        {
            assert_eq!(row[statistic], scraped.sum(target, statistic), "{statistic} of {target}: {row:#}");
        }
        assert_eq!(row["lost"], scraped.sum(target, "dropped"), "{row:#}");
        let count = row["latency_ms"]["count"].as_u64().unwrap();
        assert_eq!(count, scraped.sum(target, "latency_ms_count"));
        for (percent, name) in [(50, "p50_below"), (99, "p99_below")] {
            let below = row["latency_ms"][name].as_f64().unwrap();
            let wanted = (count * percent).div_ceil(100);
            // The bucket of Prometheus in which it lies. The bounds of those are further apart.
            let buckets = scraped.buckets(target);
            let place = buckets.iter().position(|(_, seen)| *seen >= wanted).unwrap();
            let lowest = place.checked_sub(1).map_or(0.0, |before| buckets[before].0);
            assert!(below > lowest && below <= buckets[place].0 * 1.1 + 1.0, "{below} of {percent} %: {buckets:?}");
        }
    }
    assert_eq!(value["targets"][0]["breaker"], json!({"closed": 2, "half_open": 0, "open": 1}));
    assert_eq!(value["targets"][1]["breaker"], json!({"closed": 3, "half_open": 0, "open": 0}));
    let of_second =
        value["per_envoy"].as_array().unwrap().iter().find(|row| row["target"] == "a_b-c" && row["envoy"] == addresses[1]);
    assert_eq!((&of_second.unwrap()["matched"], &of_second.unwrap()["delivered"]), (&json!(60), &json!(0)));
    assert_eq!(told.status, 1);
    let breaker = format!("a_b-c: the circuit breaker is not closed (open 1, closed 2): {}\n", addresses[1]);
    assert!(told.err.contains(&breaker) && told.err.contains("a_b-c: 60 lost: "), "{}", told.err);

    // One refuses an update, and goes on with what it has. The others are not told of.
    envoys[2].replace_listeners(&[("main", Filter::Text("{}".to_owned()))]);
    eventually(PATIENCE, "a refused update", async || {
        let refused = envoys[2].stats().await.find("listener_manager.lds.update_rejected");
        refused.filter(|count| *count > 0).map(drop).ok_or_else(|| format!("{refused:?}"))
    })
    .await;
    let told = status(with(&["--allow", "lost,breaker"])).await;
    assert_eq!(told.status, 1);
    assert_eq!(told.err, format!("{}: refused 1 update of its listeners (listener_manager.lds.update_rejected)\n", addresses[2]));
}
