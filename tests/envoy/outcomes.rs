//! Every end of a call-out is seen, counted once, and told.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{json, Value};

use crate::scene::{everything_to, target, Scene};
use crate::support::answer::{Answer, Behaviour};
use crate::support::bootstrap::{self, Filter, Protocol};
use crate::support::client::Client;
use crate::support::envoy::Envoy;
use crate::support::log::Event;
use crate::support::raw::{RawUpstream, Script};
use crate::support::setup::Setup;
use crate::support::stats::Stats;
use crate::support::upstream::{Refusing, Upstream};

/// The accounts of one request to `audit` that was attempted once, failed by this cause, and was given up for this reason.
#[track_caller]
fn assert_given_up(stats: &Stats, cause: &str, reason: &str) {
    let wanted: BTreeMap<String, u64> = [
        ("matched".to_owned(), 1),
        ("attempts".to_owned(), 1),
        (format!("attempt_failures.{cause}"), 1),
        (format!("dropped.{reason}"), 1),
    ]
    .into();
    assert_eq!(stats.target("audit"), wanted);
}

/// The one line of this event, with what every line has.
#[track_caller]
fn only_event(envoy: &Envoy, name: &str) -> Event {
    let mut events = envoy.events();
    events.retain(|event| event.name() == name);
    assert_eq!(events.len(), 1, "{events:?}");
    let event = events.remove(0);
    assert_eq!(event.text("target"), "audit");
    assert!(crate::headers::is_uuid_v4(event.text("delivery_id")), "{event:?}");
    event
}

/// One request past a target of this configuration at this address, until the accounts are settled.
async fn one_request_past(configuration: Value, cluster: Value) -> (Envoy, Stats) {
    let primary = Upstream::start().await;
    let envoy = Setup::new()
        .cluster("primary", primary.address())
        .cluster_json(cluster)
        .listener("main", Filter::json(&json!({ "targets": [configuration] })))
        .start()
        .await;
    let answer = Client::http1(envoy.address("main")).post("/", "body").await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"answer of the upstream"[..]));
    let stats = envoy.settled_at("audit", 1).await;
    (envoy, stats)
}

fn at(address: SocketAddr) -> Value {
    bootstrap::cluster("audit", Some(address), Protocol::Http1)
}

fn impatient() -> Value {
    let mut target = target("audit");
    target["timeout"] = "200ms".into();
    target
}

#[tokio::test]
async fn a_status_that_counts_as_success_is_delivered() {
    let scene = Scene::mirroring_to(["audit"]).await;
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
    let delivered = scene.envoy.events().into_iter().filter(|event| event.name() == "delivered");
    assert!(delivered.count() > 0);
}

#[tokio::test]
async fn another_status_of_the_target_is_final() {
    for status in [400, 401, 404, 409, 499] {
        let scene = Scene::mirroring_to(["audit"]).await;
        scene.target().behave(Behaviour::Answer(Answer::status(status)));
        scene.client().get("/").await;
        let stats = scene.envoy.settled_at("audit", 1).await;
        assert_given_up(&stats, "status_4xx", "not_retryable");
    }
}

#[tokio::test]
async fn a_failure_of_the_target_is_a_failed_attempt() {
    for status in [429, 500, 503, 504, 599] {
        let scene = Scene::mirroring_to(["audit"]).await;
        scene.target().behave(Behaviour::Answer(Answer::status(status)));
        scene.client().get("/").await;
        let stats = scene.envoy.settled_at("audit", 1).await;
        assert_given_up(&stats, if status == 429 { "status_4xx" } else { "status_5xx" }, "retries_exhausted");
    }
}

#[tokio::test]
async fn the_statuses_that_count_as_success_can_be_chosen() {
    let mut configuration = everything_to(&["audit"]);
    configuration["targets"][0]["success"] = json!(["404", "5xx"]);
    let scene = Scene::configured(["audit"], configuration).await;
    let client = scene.client();
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

#[tokio::test]
async fn a_503_that_envoy_made_is_no_delivery_even_if_503_counts_as_success() {
    let refusing = Refusing::reserve();
    let mut lenient = target("audit");
    lenient["success"] = json!(["5xx"]);
    let (_envoy, stats) = one_request_past(lenient, at(refusing.address())).await;
    assert_given_up(&stats, "connect_failure", "retries_exhausted");
}

#[tokio::test]
async fn a_refused_connection_is_a_failed_attempt() {
    let refusing = Refusing::reserve();
    let (envoy, stats) = one_request_past(target("audit"), at(refusing.address())).await;
    assert_given_up(&stats, "connect_failure", "retries_exhausted");
    let event = only_event(&envoy, "given_up");
    assert_eq!((event.level.as_str(), event.text("reason")), ("warning", "retries_exhausted"));
    assert_eq!(only_event(&envoy, "attempt_failed").level, "debug");
}

#[tokio::test]
async fn a_reset_before_the_answer_is_a_failed_attempt() {
    let raw = RawUpstream::start(Script::Reset).await;
    let (_envoy, stats) = one_request_past(target("audit"), at(raw.address())).await;
    assert_given_up(&stats, "reset", "retries_exhausted");
    assert!(!raw.seen().is_empty());
}

#[tokio::test]
async fn a_connection_closed_before_or_in_the_answer_is_a_failed_attempt() {
    for behaviour in [Behaviour::CloseBeforeHeaders, Behaviour::CloseInAnswer] {
        let audit = Upstream::behaving(behaviour).await;
        let (_envoy, stats) = one_request_past(target("audit"), at(audit.address())).await;
        assert_given_up(&stats, "reset", "retries_exhausted");
    }
}

#[tokio::test]
async fn a_silence_before_or_in_the_answer_is_ended_by_the_timeout() {
    for behaviour in [Behaviour::Hang, Behaviour::HangInAnswer] {
        let audit = Upstream::behaving(behaviour).await;
        let (_envoy, stats) = one_request_past(impatient(), at(audit.address())).await;
        assert_given_up(&stats, "timeout", "retries_exhausted");
    }
}

#[tokio::test]
async fn garbage_instead_of_an_answer_is_a_failed_attempt() {
    let garbage: Vec<u8> = (0..=255).collect();
    for bytes in [garbage, b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), b"HTTP/9.9 banana\r\n\r\n".to_vec()] {
        let raw = RawUpstream::start(Script::Reply(bytes)).await;
        let (_envoy, stats) = one_request_past(target("audit"), at(raw.address())).await;
        assert_given_up(&stats, "reset", "retries_exhausted");
    }
}

#[tokio::test]
async fn a_cluster_without_a_host_is_a_failed_attempt() {
    let empty = bootstrap::cluster("audit", None, Protocol::Http1);
    let (_envoy, stats) = one_request_past(target("audit"), empty).await;
    assert_given_up(&stats, "overflow_or_no_host", "retries_exhausted");
    // What tells the two kinds apart.
    let own =
        ["upstream_cx_none_healthy", "upstream_rq_pending_overflow"].map(|name| stats.find(&format!("cluster.audit.{name}")));
    assert_eq!(own, [Some(1), Some(0)]);
}

#[tokio::test]
async fn a_cluster_at_its_threshold_is_a_failed_attempt() {
    let audit = Upstream::start().await;
    let mut cluster = at(audit.address());
    cluster["circuit_breakers"]["thresholds"][0]["max_requests"] = 0.into();
    cluster["circuit_breakers"]["thresholds"][0]["max_pending_requests"] = 0.into();
    let (_envoy, stats) = one_request_past(target("audit"), cluster).await;
    assert_given_up(&stats, "overflow_or_no_host", "retries_exhausted");
    let own =
        ["upstream_cx_none_healthy", "upstream_rq_pending_overflow"].map(|name| stats.find(&format!("cluster.audit.{name}")));
    assert_eq!(own, [Some(0), Some(1)]);
    assert!(audit.received().is_empty());
}

#[tokio::test]
async fn an_unknown_cluster_is_named_as_the_reason() {
    let audit = Upstream::start().await;
    let mut lost = target("audit");
    lost["cluster"] = "nowhere".into();
    let (envoy, stats) = one_request_past(lost, at(audit.address())).await;
    assert_given_up(&stats, "not_sent", "unknown_cluster");
    assert_eq!(only_event(&envoy, "given_up").text("reason"), "unknown_cluster");
}

#[tokio::test]
async fn a_log_line_tells_the_correlation_id_and_no_other_value() {
    let scene = Scene::mirroring_to(["audit"]).await;
    scene.target().behave(Behaviour::Answer(Answer::status(404)));
    let client = scene.client();
    let id = "11111111-2222-4333-8444-555555555555";
    let request = client.request("POST", "/private").header("x-request-id", id).header("x-private", "private");
    client.send(request.body(crate::support::client::full("private")).unwrap()).await;
    scene.envoy.settled_at("audit", 1).await;
    let event = only_event(&scene.envoy, "given_up");
    assert_eq!((event.text("correlation_id"), event.fields["attempt"].as_u64()), (id, Some(1)));
    assert_eq!(event.text("delivery_id"), scene.target().take_one().await.only("idempotency-key"));
    assert!(!scene.envoy.log().contains("private"));
}
