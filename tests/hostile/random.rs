//! Targets that break the rules of HTTP at random, before every feature: Envoy lives, and each copy has one end.
//!
//! `SIDECAST_HOSTILE_ANSWERS` says how many answers each Envoy gets, `SIDECAST_HOSTILE_SEED` which ones.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{json, Value};

use crate::blocks;
use crate::dice::Dice;
use crate::lines::Http1Target;
use crate::support::bootstrap::Filter;
use crate::support::eventually::eventually;
use crate::support::frames::Http2Target;
use crate::support::quick::{Clients, Primary};
use crate::support::setup::{binaries, Setup};

/// One target for each feature and protocol.
const NAMES: [&str; 14] = [
    "plain1", "plain2", "retry1", "retry2", "letter1", "letter2", "compare1", "compare2", "batch1", "batch2", "after1", "after2",
    "shape1", "shape2",
];

fn configuration() -> Value {
    let target = |name: &&str| {
        let feature = name.trim_end_matches(['1', '2']);
        let (cluster, other) = if name.ends_with('1') { ("http1", "http2") } else { ("http2", "http1") };
        let mut target = json!({
            "name": name,
            "cluster": cluster,
            "timeout": "300ms",
            "circuit_breaker": {"mode": "disabled"},
            "limits": {"max_in_flight": 32, "max_queued": 64},
        });
        let more = match feature {
            "retry" => json!({"retry": {"max_attempts": 3, "backoff": {"base": "5ms", "max": "20ms"}}}),
            "letter" => json!({"dead_letter": {"cluster": other}}),
            "compare" => json!({"compare": {"body": "json"}}),
            "batch" => json!({"match": [{"methods": ["POST"]}], "batch": {"max_items": 5, "max_delay": "20ms"}}),
            "after" => json!({"after": "response", "statuses": ["2xx"]}),
            "shape" => json!({"match": [{"methods": ["POST"]}], "request": {"body": {"template": {"id": "${body:/id}"}}}}),
            _ => json!({}),
        };
        target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        target
    };
    let targets: Vec<Value> = NAMES.iter().map(target).collect();
    json!({ "targets": targets })
}

fn request(number: u64) -> Vec<u8> {
    let with_body = |method: &str, kind: &str, body: &[u8]| {
        let length = body.len();
        let head = format!(
            "{method} /orders?n={number} HTTP/1.1\r\nhost: shop\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    };
    match number % 5 {
        0 => format!("GET /orders/{number} HTTP/1.1\r\nhost: shop\r\n\r\n").into_bytes(),
        1 => format!("HEAD /orders/{number} HTTP/1.1\r\nhost: shop\r\n\r\n").into_bytes(),
        2 => with_body("POST", "application/grpc", &[0, 0, 0, 0, 3, 1, 2, 3]),
        3 => with_body("PUT", "text/plain", b"no JSON"),
        _ => with_body("POST", "application/json", br#"{"id": 7, "list": [1, 2, 3]}"#),
    }
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}")))
}

async fn lives(binary: PathBuf, answers: u64, seed: u64) {
    let http1 = Http1Target::start(seed).await;
    let number = AtomicU64::new(0);
    let http2 = move |stream| blocks::answer(&mut Dice::new(!seed, number.fetch_add(1, Ordering::Relaxed)), stream);
    let http2 = Http2Target::start(20, Arc::new(http2)).await;
    let primary = Primary::start().await;
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new().binary(binary.clone()).wasm_level("off").cluster("primary", primary.address());
    let setup =
        setup.cluster("http1", http1.address()).http2_behind_a_hop("http2", http2.address(), &directory.path().join("http2"));
    let mut envoy = setup.listener("main", Filter::json(&configuration())).start().await;
    let clients = Clients::start(envoy.address("main"), 16, &(Arc::new(request) as _));

    let (mut seen, mut since) = (0, Instant::now());
    loop {
        let now = http1.answered() + http2.answered();
        let status = envoy.child.try_wait().unwrap();
        assert!(status.is_none(), "seed {seed}: {} ended with {status:?} after {now} answers", binary.display());
        if now >= answers {
            break;
        }
        if now > seen {
            (seen, since) = (now, Instant::now());
        }
        assert!(
            since.elapsed() < Duration::from_secs(30),
            "seed {seed}: nothing after {now} answers, {} requests",
            clients.done()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let requests = clients.done();
    drop(clients);
    let stats = eventually(Duration::from_secs(60), "the accounts to settle", async || {
        let stats = envoy.stats().await;
        NAMES.iter().try_for_each(|name| stats.settled(name)).map(|()| stats)
    })
    .await;
    for name in NAMES {
        // Each feature was there, and some of its responses could be read.
        assert!(stats.of(name, "matched") > 0 && stats.of(name, "attempts") > 0, "{name}: {:?}", stats.target(name));
    }
    println!(
        "{}, seed {seed}: {} answers over HTTP/1.1, {} over HTTP/2, {requests} requests",
        binary.display(),
        http1.answered(),
        http2.answered()
    );
    for name in NAMES {
        println!("  {name}: {:?}", stats.target(name));
    }
}

#[tokio::test]
async fn envoy_lives_through_targets_that_break_the_rules_at_random_and_every_copy_is_accounted_for() {
    let answers = variable("SIDECAST_HOSTILE_ANSWERS").unwrap_or(6_000);
    let seed = variable("SIDECAST_HOSTILE_SEED").unwrap_or(1);
    for binary in binaries() {
        lives(binary, answers, seed).await;
    }
}
