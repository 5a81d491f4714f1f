//! Every end of a call-out is seen, counted once, and told.

use std::collections::BTreeMap;

use serde_json::json;

use crate::claims::claims;
use crate::scene::{everything_to, Scene};
use crate::support::answer::{Answer, Behaviour};
use crate::support::bootstrap::{self, Filter, Protocol};
use crate::support::client::Client;
use crate::support::envoy::Envoy;
use crate::support::log::Event;
use crate::support::raw::{RawUpstream, Script};
use crate::support::setup::Setup;
use crate::support::stats::Stats;
use crate::support::upstream::{Refusing, Upstream};

/// The accounts of one request that was attempted once, failed by this cause, and was given up for this reason.
#[track_caller]
fn assert_given_up(stats: &Stats, target: &str, cause: &str, reason: &str) {
    let wanted: BTreeMap<String, u64> = [
        ("matched".to_owned(), 1),
        ("attempts".to_owned(), 1),
        (format!("attempt_failures.{cause}"), 1),
        (format!("dropped.{reason}"), 1),
    ]
    .into();
    assert_eq!(stats.target(target), wanted, "{target}");
}

/// The one line of this event of a target, with what every line has.
#[track_caller]
fn only_event(envoy: &Envoy, target: &str, name: &str) -> Event {
    let mut events = envoy.events();
    events.retain(|event| event.name() == name && event.text("target") == target);
    assert_eq!(events.len(), 1, "{events:?}");
    let event = events.remove(0);
    assert!(crate::headers::is_uuid_v4(event.text("delivery_id")), "{event:?}");
    event
}

#[tokio::test]
async fn the_status_of_the_target_decides() {
    let mut lenient = everything_to(&["audit"]);
    lenient["targets"][0]["success"] = json!(["404", "5xx"]);
    let add = |setup: Setup| setup.listener("lenient", Filter::json(&lenient));
    // The first one looks for a line of its own in the whole log.
    claims!(
        Scene::set_up(["audit"], everything_to(&["audit"]), add).await,
        a_log_line_tells_the_correlation_id_and_no_other_value,
        a_status_that_counts_as_success_is_delivered,
        another_status_of_the_target_is_final,
        a_failure_of_the_target_is_a_failed_attempt,
        the_statuses_that_count_as_success_can_be_chosen,
    );
}

async fn a_status_that_counts_as_success_is_delivered(scene: &Scene<1>) {
    let delivered = || scene.envoy.events().iter().filter(|event| event.name() == "delivered").count();
    let before = delivered();
    let client = scene.client();
    let statuses = [200, 201, 204, 299, 301, 302, 304, 399];
    for (count, status) in statuses.into_iter().enumerate() {
        let mut answer = Answer::status(status);
        if status == 204 || status == 304 {
            answer.body = bytes::Bytes::new();
        }
        scene.target().behave(Behaviour::Answer(answer));
        client.get("/").await;
        let stats = scene.envoy.settled_at("audit", count as u64 + 1).await;
        assert_eq!(stats.of("audit", "delivered"), count as u64 + 1, "{status}");
    }
    let stats = scene.envoy.stats().await;
    assert_eq!(stats.of("audit", "attempt_failures"), 0);
    assert!(delivered() > before);
}

async fn another_status_of_the_target_is_final(scene: &Scene<1>) {
    for status in [400, 401, 404, 409, 499] {
        scene.anew().await;
        scene.target().behave(Behaviour::Answer(Answer::status(status)));
        scene.client().get("/").await;
        let stats = scene.envoy.settled_at("audit", 1).await;
        assert_given_up(&stats, "audit", "status_4xx", "not_retryable");
    }
}

async fn a_failure_of_the_target_is_a_failed_attempt(scene: &Scene<1>) {
    for status in [429, 500, 503, 504, 599] {
        scene.anew().await;
        scene.target().behave(Behaviour::Answer(Answer::status(status)));
        scene.client().get("/").await;
        let stats = scene.envoy.settled_at("audit", 1).await;
        assert_given_up(&stats, "audit", if status == 429 { "status_4xx" } else { "status_5xx" }, "retries_exhausted");
    }
}

async fn the_statuses_that_count_as_success_can_be_chosen(scene: &Scene<1>) {
    let client = Client::http1(scene.envoy.address("lenient"));
    for (count, status) in [404, 503].into_iter().enumerate() {
        scene.target().behave(Behaviour::Answer(Answer::status(status)));
        client.get("/").await;
        let stats = scene.envoy.settled_at("audit", count as u64 + 1).await;
        assert_eq!(stats.of("audit", "delivered"), count as u64 + 1);
    }
    scene.target().behave(Behaviour::Answer(Answer::status(200)));
    client.get("/").await;
    let stats = scene.envoy.settled_at("audit", 3).await;
    assert_eq!(stats.drops("audit"), [("not_retryable".to_owned(), 1)].into());
}

async fn a_log_line_tells_the_correlation_id_and_no_other_value(scene: &Scene<1>) {
    scene.target().behave(Behaviour::Answer(Answer::status(404)));
    let client = scene.client();
    let id = "11111111-2222-4333-8444-555555555555";
    let request = client.request("POST", "/private").header("x-request-id", id).header("x-private", "private");
    client.send(request.body(crate::support::client::full("private")).unwrap()).await;
    scene.envoy.settled_at("audit", 1).await;
    let event = only_event(&scene.envoy, "audit", "given_up");
    assert_eq!((event.text("correlation_id"), event.fields["attempt"].as_u64()), (id, Some(1)));
    assert_eq!(event.text("delivery_id"), scene.target().take_one().await.only("idempotency-key"));
    assert!(!scene.envoy.log().contains("private"));
}

/// One Envoy with one target for each way to fail. Each target has had one request of its own, one after the other.
struct Failures {
    envoy: Envoy,
    stats: Stats,
    /// Resets its connections.
    resetting: RawUpstream,
    /// Behind a cluster that lets nothing through.
    unreached: Upstream,
}

impl Failures {
    async fn seen() -> Self {
        let (primary, refusing) = (Upstream::start().await, Refusing::reserve());
        let (resetting, unreached) = (RawUpstream::start(Script::Reset).await, Upstream::start().await);
        let mut setup = Setup::new()
            .cluster("primary", primary.address())
            .cluster("refused", refusing.address())
            .cluster("refused-lenient", refusing.address())
            .cluster("reset", resetting.address())
            .cluster_json(bootstrap::cluster("no-host", None, Protocol::Http1));
        let mut full = bootstrap::cluster("at-threshold", Some(unreached.address()), Protocol::Http1);
        full["circuit_breakers"]["thresholds"][0]["max_requests"] = 0.into();
        full["circuit_breakers"]["thresholds"][0]["max_pending_requests"] = 0.into();
        setup = setup.cluster_json(full);
        let mut behaving = Vec::new();
        for (name, behaviour) in [
            ("closed-before", Behaviour::CloseBeforeHeaders),
            ("closed-within", Behaviour::CloseInAnswer),
            ("silent-before", Behaviour::Hang),
            ("silent-within", Behaviour::HangInAnswer),
        ] {
            let upstream = Upstream::behaving(behaviour).await;
            setup = setup.cluster(name, upstream.address());
            behaving.push(upstream);
        }
        let mut garbage = Vec::new();
        for (name, bytes) in [
            ("garbage-bytes", (0..=255).collect()),
            ("garbage-ssh", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
            ("garbage-version", b"HTTP/9.9 banana\r\n\r\n".to_vec()),
        ] {
            let upstream = RawUpstream::start(Script::Reply(bytes)).await;
            setup = setup.cluster(name, upstream.address());
            garbage.push(upstream);
        }
        let mut configuration = everything_to(&FAILURES.map(|(name, ..)| name));
        for target in configuration["targets"].as_array_mut().unwrap() {
            let name = target["name"].as_str().unwrap().to_owned();
            target["match"] = json!([{"path": {"exact": format!("/{name}")}}]);
            match name.as_str() {
                "refused-lenient" => target["success"] = json!(["5xx"]),
                "silent-before" | "silent-within" => target["timeout"] = "200ms".into(),
                "unknown-cluster" => target["cluster"] = "nowhere".into(),
                _ => {}
            }
        }
        let envoy = setup.listener("main", Filter::json(&configuration)).start().await;
        let client = Client::http1(envoy.address("main"));
        for (name, ..) in FAILURES {
            let answer = client.post(&format!("/{name}"), "body").await;
            assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"answer of the upstream"[..]), "{name}");
            envoy.settled_at(name, 1).await;
        }
        let stats = envoy.stats().await;
        Self { envoy, stats, resetting, unreached }
    }
}

/// The ways to fail: the target, the cause of the failed attempt, and the reason for giving up.
const FAILURES: [(&str, &str, &str); 13] = [
    // The first ones, because their lines are looked at: of each kind of line ten are written in a second.
    ("refused", "connect_failure", "retries_exhausted"),
    ("unknown-cluster", "not_sent", "unknown_cluster"),
    // That Envoy makes a 503 of it is no delivery, even if a 503 counts as success.
    ("refused-lenient", "connect_failure", "retries_exhausted"),
    ("reset", "reset", "retries_exhausted"),
    ("closed-before", "reset", "retries_exhausted"),
    ("closed-within", "reset", "retries_exhausted"),
    ("silent-before", "timeout", "retries_exhausted"),
    ("silent-within", "timeout", "retries_exhausted"),
    ("garbage-bytes", "reset", "retries_exhausted"),
    ("garbage-ssh", "reset", "retries_exhausted"),
    ("garbage-version", "reset", "retries_exhausted"),
    ("no-host", "overflow_or_no_host", "retries_exhausted"),
    ("at-threshold", "overflow_or_no_host", "retries_exhausted"),
];

#[tokio::test]
async fn every_failure_of_an_attempt_is_counted_by_its_cause_and_told() {
    let failures = Failures::seen().await;
    let (envoy, stats) = (&failures.envoy, &failures.stats);
    for (target, cause, reason) in FAILURES {
        assert_given_up(stats, target, cause, reason);
    }
    for (target, reason) in [("refused", "retries_exhausted"), ("unknown-cluster", "unknown_cluster")] {
        let event = only_event(envoy, target, "given_up");
        assert_eq!((event.level.as_str(), event.text("reason")), ("warning", reason), "{target}");
    }
    assert_eq!(only_event(envoy, "refused", "attempt_failed").level, "debug");
    assert!(!failures.resetting.seen().is_empty());
    assert!(failures.unreached.received().is_empty());
    // What tells the two kinds apart.
    for (target, wanted) in [("no-host", [Some(1), Some(0)]), ("at-threshold", [Some(0), Some(1)])] {
        let names = ["upstream_cx_none_healthy", "upstream_rq_pending_overflow"];
        assert_eq!(names.map(|name| stats.find(&format!("cluster.{target}.{name}"))), wanted, "{target}");
    }
}
