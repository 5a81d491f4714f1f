//! The filter in containers, while its targets are told to fail, stopped, killed, frozen and cut off. The test brings the composition up and breaks it;
//! scripts/compose-test.sh names the project, makes the images and takes everything down.
// Shared with other tests; this one uses a part.
#[path = "../support"]
#[allow(dead_code)]
mod support {
    pub(crate) mod admin;
    pub(crate) mod client;
    pub(crate) mod eventually;
    pub(crate) mod recorded;
    pub(crate) mod stats;

    /// Without the filter's own list, which would have its library compiled.
    pub(crate) mod known {
        pub(crate) fn is_statistic(_target: &str, _full: &str) -> bool {
            true
        }
    }
}

mod composition;
mod harm;
mod traffic;

use std::collections::BTreeSet;
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{json, Value};

use composition::{address, compose, has_image, healthy, inspect, records, stats, tell};
use harm::Harm;
use support::admin::page;
use support::client::Client;
use support::eventually::eventually;
use support::stats::Stats;
use traffic::{order, Traffic};

/// The target that has outages.
const FLAKY: &str = "analytics";
/// How many orders an outage lasts at least.
const OUTAGE: u64 = 100;
/// Starting a container and finding its name again included.
const RECOVERY: Duration = Duration::from_secs(60);

/// The counts of one target that a line of the summary is about.
const COLUMNS: [&str; 6] = ["matched", "attempts", "delivered", "dead_lettered", "breaker.opened", "retries"];

fn line(name: &str, before: &Stats, after: &Stats) {
    let counts = COLUMNS.map(|column| format!("{column} {}", after.of(FLAKY, column) - before.of(FLAKY, column)));
    let dropped = |stats: &Stats| stats.drops(FLAKY).values().sum::<u64>();
    let audited = after.of("audit", "delivered") - before.of("audit", "delivered");
    println!("{name:24} {}, dropped {}; audit delivered {audited}", counts.join(", "), dropped(after) - dropped(before));
}

/// Waits until this holds of the gateway's statistics.
async fn until(what: &str, holds: impl Fn(&Stats) -> bool) -> Stats {
    eventually(RECOVERY, what, async || {
        let stats = stats().await;
        if holds(&stats) {
            Ok(stats)
        } else {
            Err(format!("{:?}", stats.target(FLAKY)))
        }
    })
    .await
}

/// Nothing but this happens to the flaky target, and it is over when this returns.
async fn outage(harm: Harm) {
    let before = stats().await;
    harm.inflict(FLAKY).await;
    if matches!(harm, Harm::Crashed) {
        // How long it takes the engine to start it again is not ours to say, nor whether the breaker has opened by then.
        harm.undo(FLAKY).await;
    } else {
        let opened = until(&format!("the breaker to open: {harm:?}"), |stats| {
            stats.of(FLAKY, "breaker.opened") > before.of(FLAKY, "breaker.opened")
        })
        .await;
        let during = until(&format!("an outage of some length: {harm:?}"), |stats| {
            stats.of(FLAKY, "matched") >= opened.of(FLAKY, "matched") + OUTAGE
        })
        .await;
        let grown = |name: &str| during.of(FLAKY, name) - opened.of(FLAKY, name);
        assert!(grown("attempts") < grown("matched") / 2, "the breaker spares no attempts: {harm:?}");
        assert!(grown("dead_lettered") > 0, "no dead letter: {harm:?}");
        harm.undo(FLAKY).await;
    }
    let healed = stats().await.of(FLAKY, "delivered");
    let after = until(&format!("the breaker to close: {harm:?}"), |stats| {
        stats.of(FLAKY, "breaker.state") == 0 && stats.of(FLAKY, "delivered") > healed + 10
    })
    .await;
    line(&format!("{harm:?}"), &before, &after);
}

/// The flaky target fails, and so does what takes its letters: only now is something dropped.
async fn outage_without_letters() {
    let before = stats().await;
    assert_eq!(before.drops(FLAKY), [].into());
    tell("dead-letters", "503").await;
    tell(FLAKY, "503").await;
    until("drops to be counted", |stats| stats.drops(FLAKY).values().sum::<u64>() >= OUTAGE).await;
    tell(FLAKY, "200").await;
    until("the breaker to close", |stats| stats.of(FLAKY, "breaker.state") == 0).await;
    tell("dead-letters", "200").await;
    line("no letters taken either", &before, &stats().await);
}

/// What each side says of itself agrees with what the gateway counted, once nothing is under way.
async fn assert_accounts(sent: u64) -> Stats {
    let stats = eventually(RECOVERY, "the accounts to settle", async || {
        let stats = stats().await;
        stats.settled("audit")?;
        stats.settled(FLAKY)?;
        Ok(stats)
    })
    .await;
    assert_eq!([stats.of("audit", "matched"), stats.of(FLAKY, "matched")], [sent, sent]);
    assert_eq!([stats.of("audit", "delivered"), stats.of("audit", "breaker.opened")], [sent, 0], "{:?}", stats.target("audit"));
    let reasons = ["circuit_open", "retries_exhausted"].map(str::to_owned);
    assert!(stats.drops(FLAKY).keys().all(|reason| reasons.contains(reason)), "{:?}", stats.drops(FLAKY));

    for service in ["primary", "audit"] {
        let records = records(service).await;
        assert_eq!(records.total, sent, "{service}");
        let paths: BTreeSet<&str> = records.requests.iter().map(|request| request.path.as_str()).collect();
        assert_eq!(paths.len() as u64, sent, "{service}: each order once");
        let copies =
            records.requests.iter().filter(|request| request.headers.iter().any(|(name, _)| name == "x-sidecast-target"));
        assert_eq!(copies.count() as u64, if service == "audit" { sent } else { 0 }, "{service}");
    }

    let letters = records("dead-letters").await.requests;
    let taken: Vec<Value> =
        letters.iter().filter(|letter| letter.status == Some(200)).map(|letter| envelope(&letter.body)).collect();
    assert_eq!(taken.len() as u64, stats.of(FLAKY, "dead_lettered"), "letters taken");
    assert_eq!((letters.len() - taken.len()) as u64, stats.drops(FLAKY).values().sum::<u64>(), "letters refused");
    let ids: BTreeSet<&str> = taken.iter().map(|letter| letter["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), taken.len(), "each letter once");
    for letter in &taken {
        assert_eq!(letter["target"], FLAKY, "{letter}");
        assert!(letter["request"]["path"].as_str().unwrap().starts_with("/orders/"), "{letter}");
    }
    println!("audit: {:?}\n{FLAKY}: {:?}", stats.target("audit"), stats.target(FLAKY));
    stats
}

/// The envelope in a call that publishes to RabbitMQ.
fn envelope(call: &str) -> Value {
    let call: Value = serde_json::from_str(call).unwrap_or_else(|error| panic!("{error}: {call}"));
    assert_eq!((&call["routing_key"], &call["payload_encoding"]), (&json!("dead-letters"), &json!("base64")));
    serde_json::from_slice(&BASE64.decode(call["payload"].as_str().unwrap().as_bytes()).unwrap()).unwrap()
}

/// Prometheus, with the configuration of this repository, has what the gateway counted.
async fn assert_prometheus(stats: &Stats) {
    if !has_image("sidecast/prometheus:local").await {
        println!("skipped: there is no image of Prometheus");
        return;
    }
    compose(&["up", "-d", "--no-deps", "prometheus"]).await;
    let prometheus = address("prometheus", 9090).await;
    for target in ["audit", FLAKY] {
        let wanted = stats.of(target, "delivered").to_string();
        eventually(RECOVERY, &format!("Prometheus to have what {target} got"), async || {
            let answer =
                page(prometheus, &format!("/api/v1/query?query=sidecast_delivered%7Btarget%3D%22{target}%22%7D")).await?;
            let answer: Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
            if answer["data"]["result"][0]["value"][1] == json!(wanted) {
                Ok(())
            } else {
                Err(format!("{answer}, not {wanted}"))
            }
        })
        .await;
    }
    println!("Prometheus has the same counts of what was delivered");
}

/// A gateway that ended comes back with closed breakers and empty accounts, and mirrors as before.
async fn assert_gateway_returns(command: &str, exit_code: &str) {
    let audited = records("audit").await.total;
    compose(&[command, "gateway"]).await;
    assert_eq!(inspect("gateway", "{{.State.ExitCode}}").await, exit_code, "{command}");
    compose(&["start", "gateway"]).await;
    healthy("gateway").await;
    let client = Client::http1(address("gateway", 10000).await);
    for number in 0..20 {
        order(client.clone(), number).await.unwrap();
    }
    for target in ["audit", FLAKY] {
        until(&format!("copies after {command}"), |stats| stats.of(target, "delivered") == 20 && stats.settled(target).is_ok())
            .await;
    }
    assert_eq!(records("audit").await.total, audited + 20);
    println!("{command} gateway: exit code {exit_code}, started again, 20 of 20 orders mirrored to each target");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_order_fails_and_no_copy_is_lost_while_a_target_is_told_to_fail_stopped_killed_frozen_and_cut_off() {
    compose(&["up", "-d"]).await;
    for service in ["gateway", "primary", "audit", FLAKY, "dead-letters"] {
        healthy(service).await;
    }
    let traffic = Traffic::start(address("gateway", 10000).await);
    until("copies to be delivered", |stats| ["audit", FLAKY].iter().all(|target| stats.of(target, "delivered") > 10)).await;
    for harm in Harm::ALL {
        outage(harm).await;
    }
    outage_without_letters().await;
    let report = traffic.stop().await;
    println!("{} orders, {} not responded with 200", report.sent, report.failures.len());
    assert_eq!(report.failures, [""; 0]);
    let stats = assert_accounts(report.sent).await;
    assert_prometheus(&stats).await;
    assert_gateway_returns("stop", "0").await;
    assert_gateway_returns("kill", "137").await;
}
