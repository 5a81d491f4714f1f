//! Another filter in the same Envoy: a mirror written with the Rust SDK of proxy-wasm (`tests/plain-filter`), before Sidecast and behind it.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{json, Value};
use tokio::task::JoinSet;

use crate::scene::target;
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::bootstrap::Filter;
use crate::support::client::Client;
use crate::support::envoy::Envoy;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::recorded::Recorded;
use crate::support::setup::{plain_filter_wasm, Setup};
use crate::support::stats::Stats;
use crate::support::upstream::Upstream;

/// The plain filter: its copies go to `mirror`, and it numbers all requests by a count in shared data.
fn plain_filter() -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": "plain_filter",
            "root_id": "plain_filter",
            "vm_config": {
                "vm_id": "plain_filter",
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": plain_filter_wasm()}},
            },
            "configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": "mirror plain_filter.requests",
            },
        },
    })
}

/// An Envoy with both filters in two listeners, in either order. Sidecast has the target `audit`, the plain filter `mirror`.
struct Street {
    envoy: Envoy,
    primary: Upstream,
    audit: Upstream,
    mirror: Upstream,
    /// On connections of their own, so many that both workers get some; every other one of each listener.
    clients: Vec<Client>,
}

impl Street {
    async fn with(audit_target: Value) -> Self {
        let [primary, audit, mirror] = [Upstream::start().await, Upstream::start().await, Upstream::start().await];
        let configuration = json!({ "targets": [audit_target] });
        let envoy = Setup::new()
            .cluster("primary", primary.address())
            .cluster("audit", audit.address())
            .cluster("mirror", mirror.address())
            .listener("plain first", Filter::json(&configuration))
            .listener("sidecast first", Filter::json(&configuration))
            .filter_before_in("plain first", "plain_filter", plain_filter())
            .filter_behind_in("sidecast first", "plain_filter", plain_filter())
            .start()
            .await;
        let listeners = ["plain first", "sidecast first"].into_iter().cycle();
        let clients = listeners.take(24).map(|listener| Client::http1(envoy.address(listener))).collect();
        Self { envoy, primary, audit, mirror, clients }
    }

    /// Requests of these numbers, all at once, to both listeners.
    fn send(&self, numbers: Range<usize>) -> JoinSet<()> {
        let mut sending = JoinSet::new();
        for number in numbers {
            let client = self.clients[number % self.clients.len()].clone();
            sending.spawn(async move {
                let answer = client.post(&format!("/{number}"), format!("body {number}")).await;
                assert_eq!((answer.status.as_u16(), &*answer.body), (200, &b"answer of the upstream"[..]));
            });
        }
        sending
    }

    /// Waits until statistics of Envoy's, by their full names, have these values.
    async fn await_stats(&self, wanted: &[(&str, usize)]) -> Stats {
        eventually(PATIENCE, "statistics", async || {
            let stats = self.envoy.stats().await;
            let seen: Vec<_> = wanted.iter().map(|(name, _)| (*name, stats.find(name).unwrap_or(0) as usize)).collect();
            if seen == wanted {
                Ok(stats)
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await
    }

    /// What each upstream got of this many requests is right, and both workers had some of them.
    async fn assert_all_copied(&self, count: usize, audit: Range<usize>) {
        assert_bodies(&self.audit.take(audit.len()).await, audit);
        let mirrored = self.mirror.take(count).await;
        assert_bodies(&mirrored, 0..count);
        // The plain filter's shared data, which Sidecast's does not touch: no number is missing, and none is there twice.
        let mut numbers: Vec<usize> = mirrored.iter().map(|copy| copy.only("x-plain-number").parse().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
        let requests = self.primary.take(count).await;
        assert_bodies(&requests, 0..count);
        let marks =
            |request: &Recorded| request.headers.iter().any(|(name, _)| name.contains("plain") || name.contains("sidecast"));
        assert!(!requests.iter().any(marks), "{requests:?}");
        let stats = self.envoy.stats().await;
        let connections = [0, 1].map(|worker| stats.find(&format!("listener.127.0.0.1_0.worker_{worker}.downstream_cx_total")));
        assert!(connections.iter().all(|connections| connections.is_some_and(|count| count > 0)), "{connections:?}");
    }
}

/// Each of these requests is there once, with its body.
#[track_caller]
fn assert_bodies(seen: &[Recorded], numbers: Range<usize>) {
    let mut seen: Vec<(String, String)> =
        seen.iter().map(|one| (one.path.clone(), String::from_utf8_lossy(&one.body()).into_owned())).collect();
    let mut wanted: Vec<(String, String)> = numbers.map(|number| (format!("/{number}"), format!("body {number}"))).collect();
    seen.sort();
    wanted.sort();
    assert_eq!(seen, wanted);
}

/// The accounts of the two filters, all of them: the outcomes that the plain filter counted, and what is not 0 of `audit`.
#[track_caller]
fn assert_accounts(stats: &Stats, outcomes: u64, audit: &[(&str, u64)]) {
    assert_eq!(stats.beginning("wasmcustom.plain_filter"), BTreeMap::from([(".outcomes".to_owned(), outcomes)]));
    assert_eq!(stats.target("audit"), audit.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect());
    let of_others = |name: &String| !["plain_filter.", "sidecast.audit.", "sidecast_"].iter().any(|own| name.starts_with(own));
    let others: Vec<String> = stats.beginning("wasmcustom.").into_keys().filter(of_others).collect();
    assert_eq!(others, [""; 0]);
    assert_eq!(stats.find("wasmcustom.sidecast_unexpected"), Some(0));
}

fn answer() -> Answer {
    Answer::status(200)
}

#[tokio::test]
async fn two_filters_copy_and_count_side_by_side_and_only_the_neighbour_misses_what_a_slow_target_answers() {
    const COUNT: usize = 120;
    const ALL: usize = 2 * COUNT;
    let mut audit = target("audit");
    audit["limits"] = json!({"max_in_flight": 256, "max_queued": 1024});
    let street = Street::with(audit).await;

    // The targets answer first.
    let primary_gate = Gate::shut();
    street.primary.behave(Behaviour::Gated(primary_gate.clone(), answer()));
    let sending = street.send(0..COUNT);
    let seen = ["wasmcustom.sidecast.audit.delivered", "wasmcustom.plain_filter.outcomes"];
    let stats = street.await_stats(&seen.map(|name| (name, COUNT))).await;
    let each = ["matched", "attempts", "delivered"];
    assert_accounts(&stats, COUNT as u64, &each.map(|name| (name, COUNT as u64)));
    primary_gate.open();
    sending.join_all().await;

    // The primary answers first.
    let target_gate = Gate::shut();
    for target in [&street.audit, &street.mirror] {
        target.behave(Behaviour::Gated(target_gate.clone(), answer()));
    }
    street.send(COUNT..ALL).join_all().await;
    for target in [&street.audit, &street.mirror] {
        target.arrived(ALL).await;
    }
    target_gate.open();
    street.envoy.settled_at("audit", ALL as u64).await;
    let stats = street.await_stats(&[("cluster.mirror.upstream_rq_200", ALL), ("cluster.mirror.upstream_rq_active", 0)]).await;
    assert_accounts(&stats, COUNT as u64, &each.map(|name| (name, ALL as u64)));
    street.assert_all_copied(ALL, 0..ALL).await;
    for target in [&street.audit, &street.mirror] {
        assert_eq!((target.answered(), target.abandoned()), (ALL, 0));
    }
}

#[tokio::test]
async fn the_breaker_opens_beside_a_neighbour_that_shares_data_of_its_own() {
    const COUNT: usize = 48;
    const FAILURES: usize = 7;
    let mut audit = target("audit");
    audit["circuit_breaker"] = json!({
        "consecutive_failures": FAILURES, "open_for": "1h", "failure_rate": {"min_requests": 1_000_000, "window": "10m"},
    });
    let street = Street::with(audit).await;
    street.audit.behave(Behaviour::Answer(Answer::status(503)));
    // The plain filter is not to see an outcome that it could count.
    street.mirror.behave(Behaviour::Hang);
    for number in 0..COUNT {
        street.send(number..number + 1).join_all().await;
        street.envoy.settled_at("audit", number as u64 + 1).await;
    }
    street.mirror.arrived(COUNT).await;
    let stats = street.envoy.stats().await;
    let failed = FAILURES as u64;
    let spared = (COUNT - FAILURES) as u64;
    let audit = [
        ("matched", COUNT as u64),
        ("attempts", failed),
        ("attempt_failures.status_5xx", failed),
        ("dropped.retries_exhausted", failed),
        ("dropped.circuit_open", spared),
        ("breaker.opened", 1),
        ("breaker.state", 2),
    ];
    assert_accounts(&stats, 0, &audit);
    street.assert_all_copied(COUNT, 0..FAILURES).await;
}
