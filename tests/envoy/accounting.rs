//! Many requests: everything is answered as without the filter, every copy is right, and the accounts add up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::Request;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::scene::{everything_to, noise, target, Scene};
use crate::shop::shipped;
use crate::support::admin;
use crate::support::answer::{Answer, Behaviour};
use crate::support::bootstrap::Filter;
use crate::support::client::{chunked, empty, full, Client, SendBody};
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::setup::Setup;
use crate::support::upstream::Upstream;

#[tokio::test]
async fn a_thousand_outcomes_of_a_slow_target_are_all_seen() {
    let mut slow = target("audit");
    slow["limits"] = serde_json::json!({"max_in_flight": 256, "max_queued": 1024});
    let scene = Scene::configured(["audit"], serde_json::json!({ "targets": [slow] })).await;
    scene.primary.behave(Behaviour::Answer(Answer::status(200).after(Duration::from_millis(1))));
    scene.target().behave(Behaviour::Answer(Answer::status(200).after(Duration::from_millis(500))));
    let client = scene.client();
    let lanes = Arc::new(Semaphore::new(16));
    let mut sending = JoinSet::new();
    for index in 0..1000 {
        let (client, lanes) = (client.clone(), Arc::clone(&lanes));
        sending.spawn(async move {
            let _lane = lanes.acquire().await.unwrap();
            client.post(&format!("/{index}"), format!("body {index}")).await.status
        });
    }
    while let Some(status) = sending.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    let stats = scene.envoy.settled_at("audit", 1000).await;
    assert_eq!((stats.of("audit", "delivered"), stats.of("audit", "attempts")), (1000, 1000));
    assert_eq!((scene.target().answered(), scene.target().abandoned()), (1000, 0));
    let mut bodies: Vec<String> = scene
        .target()
        .take(1000)
        .await
        .iter()
        .map(|copy| format!("/{}", String::from_utf8_lossy(&copy.body()).replace("body ", "")) + "=" + &copy.path)
        .collect();
    let mut wanted: Vec<String> = (0..1000).map(|index| format!("/{index}=/{index}")).collect();
    bodies.sort();
    wanted.sort();
    assert_eq!(bodies, wanted);
}

/// One of the mixed requests. Everything about it follows from its number.
#[derive(Clone)]
struct Mixed {
    index: usize,
    method: &'static str,
    body: Bytes,
    chunks: usize,
    trailers: bool,
    http2: bool,
}

/// The default cap of a mirrored body.
const CAP: usize = 1024 * 1024;

impl Mixed {
    fn number(index: usize, pool: &Bytes) -> Self {
        let methods = ["GET", "POST", "PUT", "PATCH", "DELETE"];
        // Mostly small; every hundredth up to 2 MiB.
        let spread = index.wrapping_mul(2_654_435_761) >> 7;
        let size = match index % 100 {
            0..=39 => 0,
            40..=79 => spread % 2048,
            80..=97 => spread % 65_536,
            98 => spread % 500_000,
            _ => spread % (2 * CAP + 1),
        };
        let offset = spread % (pool.len() - size);
        Self {
            index,
            method: methods[index / 7 % methods.len()],
            body: pool.slice(offset..offset + size),
            chunks: index / 3 % 4,
            trailers: index % 10 == 3,
            http2: index % 2 == 1,
        }
    }

    fn path(&self) -> String {
        format!("/mixed/{}?size={}", self.index, self.body.len())
    }

    fn request(&self, client: &Client) -> Request<SendBody> {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-number", HeaderValue::from(self.index));
        let step = self.body.len() / self.chunks.max(1) + 1;
        let pieces: Vec<Bytes> =
            (0..self.body.len()).step_by(step).map(|start| self.body.slice(start..(start + step).min(self.body.len()))).collect();
        let mut request = client
            .request(self.method, &self.path())
            .header("x-request-id", format!("{:08x}-0000-4000-8000-000000000000", self.index))
            .header("x-number", self.index);
        let body = if self.trailers {
            request = request.header("trailer", "x-number");
            chunked(&pieces, Some(trailers))
        } else if self.chunks > 0 && !self.body.is_empty() {
            chunked(&pieces, None)
        } else if self.body.is_empty() && self.method == "GET" {
            empty()
        } else {
            full(self.body.clone())
        };
        request.body(body).unwrap()
    }

    fn mirrored(&self) -> bool {
        self.body.len() <= CAP
    }
}

/// A client of each protocol.
#[derive(Clone)]
struct Pair([Client; 2]);

impl Pair {
    fn of(address: std::net::SocketAddr) -> Self {
        Self([Client::http1(address), Client::http2(address)])
    }

    fn for_request(&self, request: &Mixed) -> &Client {
        &self.0[usize::from(request.http2)]
    }
}

#[tokio::test]
async fn ten_thousand_mixed_requests_are_answered_as_without_the_filter_and_mirrored_whole() {
    const COUNT: usize = 10_000;
    const ROUND: usize = 500;
    let names = ["one", "two"];
    let scene =
        Scene::set_up(names, everything_to(&names), |setup| setup.listener("plain", Filter::None).wasm_level("warn")).await;
    scene.primary.behave(Behaviour::Echo);
    let pool = noise(3 * CAP);
    let (plain, filtered) = (Pair::of(scene.envoy.address("plain")), Pair::of(scene.envoy.address("main")));
    let lanes = Arc::new(Semaphore::new(16));
    let mut mirrored = 0;
    for first in (0..COUNT).step_by(ROUND) {
        let round: Vec<Mixed> = (first..first + ROUND).map(|index| Mixed::number(index, &pool)).collect();
        let mut sending = JoinSet::new();
        for request in round.iter().cloned() {
            let (plain, filtered, lanes) = (plain.clone(), filtered.clone(), Arc::clone(&lanes));
            sending.spawn(async move {
                let _lane = lanes.acquire().await.unwrap();
                let client = plain.for_request(&request);
                let without = client.send(request.request(client)).await;
                let client = filtered.for_request(&request);
                let with = client.send(request.request(client)).await;
                assert_eq!(with.status, 200, "{}", request.path());
                assert!(with.body == request.body, "{}", request.path());
                assert!(with == without, "{}: {:?} and {:?}", request.path(), with.headers, without.headers);
            });
        }
        while let Some(end) = sending.join_next().await {
            end.unwrap();
        }
        let expected: BTreeMap<String, &Mixed> =
            round.iter().filter(|request| request.mirrored()).map(|request| (request.path(), request)).collect();
        mirrored += expected.len();
        for target in &scene.targets {
            let mut copies = BTreeMap::new();
            for copy in target.take(expected.len()).await {
                let request = expected.get(&copy.path).unwrap_or_else(|| panic!("{} was copied", copy.path));
                assert_eq!(copy.method, request.method);
                assert!(copy.body() == request.body, "{}", copy.path);
                assert_eq!(copy.only("x-number"), request.index.to_string());
                assert!(copies.insert(copy.path.clone(), ()).is_none(), "{} was copied twice", copy.path);
            }
            assert_eq!(copies.len(), expected.len());
        }
        scene.primary.take(2 * ROUND).await;
    }
    let stats = scene.envoy.settled(names).await;
    assert!(mirrored < COUNT, "no body was over the cap");
    for name in names {
        assert_eq!(stats.of(name, "matched"), COUNT as u64);
        assert_eq!(stats.of(name, "delivered"), mirrored as u64);
        let over = [("body_too_large".to_owned(), (COUNT - mirrored) as u64)];
        assert_eq!(stats.drops(name), over.into());
    }
}

/// Counters and gauges of a target as Prometheus knows them.
// What targets without retries, letters, comparisons and the like have. tests/observability has the others.
const SERIES: [&str; 8] =
    ["matched", "attempts", "delivered", "breaker_opened", "breaker_state", "inflight", "queued", "queued_bytes"];

const CAUSES: [&str; 8] =
    ["status_4xx", "status_5xx", "status_other", "timeout", "reset", "connect_failure", "overflow_or_no_host", "not_sent"];

const REASONS: [&str; 12] = [
    "body_too_large",
    "truncated",
    "grpc_stream",
    "work_limit",
    "answered_early",
    "queue_full",
    "buffer_full",
    "circuit_open",
    "retries_exhausted",
    "not_retryable",
    "unknown_cluster",
    "shutdown",
];

#[tokio::test]
async fn the_shipped_bootstrap_labels_each_statistic_with_its_target_drops_with_their_reason_and_failures_with_their_cause() {
    let (primary, audit, analytics) = (Upstream::start().await, Upstream::start().await, Upstream::start().await);
    let services = [("primary", primary.address()), ("audit", audit.address()), ("analytics", analytics.address())];
    let bootstrap = shipped("envoy/envoy.yaml", &services);
    let orders = include_str!("../../envoy/examples/orders/envoy.yaml");
    let orders: serde_json::Value = serde_saphyr::from_str(orders).unwrap();
    assert_eq!(bootstrap["stats_config"], orders["stats_config"]);

    let envoy = Setup::whole(bootstrap).start().await;
    let client = Client::http1(envoy.address("ingress"));
    let order = client.request("POST", "/orders").header("content-type", "application/json").body(full("{}")).unwrap();
    assert_eq!(client.send(order).await.status, 200);
    envoy.settled(["audit", "analytics"]).await;
    let mut expected: Vec<String> = Vec::new();
    for target in ["audit", "analytics"] {
        let count = |name: &str| u32::from(["matched", "attempts", "delivered"].contains(&name));
        expected.extend(SERIES.map(|name| format!("sidecast_{name}{{target=\"{target}\"}} {}", count(name))));
        expected.extend(REASONS.map(|reason| format!("sidecast_dropped{{target=\"{target}\",reason=\"{reason}\"}} 0")));
        expected.extend(CAUSES.map(|cause| format!("sidecast_attempt_failures{{target=\"{target}\",cause=\"{cause}\"}} 0")));
        expected.push(format!("sidecast_latency_ms_count{{target=\"{target}\"}} 1"));
    }
    expected.push(format!("sidecast_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")));
    expected.push("sidecast_unexpected{} 0".to_owned());
    expected.sort();
    // Histograms are brought together every few seconds.
    eventually(PATIENCE, "the page to tell all", async || {
        let page = admin::page(envoy.admin, "/stats/prometheus").await?;
        let ours = |line: &&str| line.contains("sidecast") && !line.starts_with("envoy_") && !line.starts_with('#');
        let mut seen: Vec<&str> =
            page.lines().filter(ours).filter(|line| !line.contains("_bucket{") && !line.contains("_sum{")).collect();
        seen.sort_unstable();
        if seen == expected {
            Ok(())
        } else {
            Err(format!("{seen:#?}"))
        }
    })
    .await;
}
