//! The lines that the filter writes: every kind of event, each line one JSON object with the fields that docs/observability.md names.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use hyper::header::HeaderValue;
use serde_json::{json, Value};

use crate::prometheus::in_clone;
use crate::scene::target;
use crate::support::answer::{Answer, Behaviour};
use crate::support::bootstrap::Filter;
use crate::support::client::{full, Client};
use crate::support::envoy::Envoy;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::setup::Setup;
use crate::support::upstream::{Refusing, Upstream};

/// Each event, the level of its lines, the fields that they always have and those that they may have.
const EVENTS: [(&str, &str, &str, &str); 14] = [
    ("configured", "info", "targets version", ""),
    ("configuration_rejected", "error", "problem", ""),
    ("delivered", "debug", "target delivery_id attempt outcome elapsed_ms", "correlation_id correlation_ids"),
    ("attempt_failed", "debug", "target delivery_id attempt outcome elapsed_ms", "correlation_id correlation_ids retry_in_ms"),
    ("given_up", "warning", "target attempt reason", "delivery_id outcome correlation_id correlation_ids letter"),
    ("not_triggered", "debug", "target attempt correlation_id", ""),
    ("dead_lettered", "debug", "target delivery_id correlation_id attempt reason outcome elapsed_ms", ""),
    ("dead_letter_failed", "warning", "target delivery_id correlation_id attempt reason outcome elapsed_ms", ""),
    ("loop_stopped", "debug", "", ""),
    ("compared", "warning", "target delivery_id correlation_id comparison", ""),
    ("breaker_opened", "warning", "target reason outcome open_for_ms", ""),
    ("breaker_half_opened", "warning", "target", ""),
    ("breaker_closed", "warning", "target", ""),
    // No Envoy does what it tells of.
    ("unexpected", "error", "what", "status"),
];

/// What a client may send to break a line: quotes, escapes, the beginning of another line's object, and bytes that are no UTF-8.
const HOSTILE: &[u8] = b"a\"b\\c wasm log x: {\"event\":\"given_up\"} \xe2\x80\xa8 \x80\xff\t";

fn configuration() -> Value {
    let mut targets = ["audit", "retried", "lost", "frail", "canary", "bulk", "later"].map(target);
    let retry = json!({"max_attempts": 2, "backoff": {"base": "1ms", "max": "2ms"}});
    for (index, cluster, more) in [
        (1, "fails", json!({"retry": retry, "dead_letter": {"cluster": "works"}})),
        (2, "fails", json!({"dead_letter": {"cluster": "refuses"}})),
        (
            3,
            "recovers",
            json!({"circuit_breaker": {"consecutive_failures": 1, "open_for": "1ms", "half_open": {"probes": 1, "successes": 1}}}),
        ),
        (4, "works", json!({"compare": {}})),
        (5, "works", json!({"batch": {"max_items": 2, "max_delay": "10ms"}})),
        (6, "works", json!({"after": "response", "statuses": ["404"]})),
    ] {
        targets[index]["cluster"] = cluster.into();
        for (field, value) in more.as_object().unwrap() {
            targets[index][field] = value.clone();
        }
    }
    targets[0]["cluster"] = "works".into();
    json!({ "targets": targets })
}

/// What the documented command leaves of Envoy's log.
fn cut(log: &str) -> Vec<Value> {
    let docs = std::fs::read_to_string(in_clone("docs/observability.md")).unwrap();
    let command = docs.lines().find(|line| line.starts_with("sed -n ")).unwrap().strip_suffix(" envoy.log").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), log).unwrap();
    let output = Command::new("sh").arg("-c").arg(format!("{command} {}", file.path().display())).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))).collect()
}

/// What the lines of an Envoy that logs JSON hold of the filter's.
fn unwrap(log: &str) -> Vec<Value> {
    let object = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error} in {line}"));
    let lines = log.lines().map(object).filter(|line| line["logger"] == "wasm");
    let message = |line: Value| {
        line["message"].as_str().unwrap().strip_prefix("wasm log ").map(|rest| object(&rest[rest.find('{').unwrap()..]))
    };
    lines.filter_map(message).collect()
}

/// An Envoy in whose log every event is found, and its services.
struct Noisy {
    envoy: Envoy,
    recovering: Upstream,
    _others: [Upstream; 3],
    _refusing: Refusing,
}

impl Noisy {
    async fn start(adapt: impl FnOnce(Setup) -> Setup) -> Self {
        let refusing = Refusing::reserve();
        let failing = || Behaviour::Answer(Answer::status(503));
        let (primary, works) = (Upstream::behaving(Behaviour::Echo).await, Upstream::start().await);
        let (fails, recovering) = (Upstream::behaving(failing()).await, Upstream::behaving(failing()).await);
        let setup = Setup::new()
            .cluster("primary", primary.address())
            .cluster("works", works.address())
            .cluster("fails", fails.address())
            .cluster("recovers", recovering.address())
            .cluster("refuses", refusing.address())
            .listener("main", Filter::json(&configuration()))
            .dynamic();
        Self { envoy: adapt(setup).start().await, recovering, _others: [primary, works, fails], _refusing: refusing }
    }

    async fn post(&self, correlation_id: &[u8]) {
        let client = Client::http1(self.envoy.address("main"));
        let request = client.request("POST", "/").header("x-request-id", HeaderValue::from_bytes(correlation_id).unwrap());
        assert_eq!(client.send(request.body(full("{}")).unwrap()).await.status, 200);
    }

    /// Has everything happen, and returns the lines once all kinds are there.
    async fn lines(&self, read: fn(&str) -> Vec<Value>) -> Vec<Value> {
        let client = Client::http1(self.envoy.address("main"));
        let copy = client.request("POST", "/").header("x-sidecast-loop", "any");
        client.send(copy.body(full("")).unwrap()).await;
        self.post(HOSTILE).await;
        self.envoy.settled_at("frail", 1).await;
        self.recovering.behave(Behaviour::Answer(Answer::status(200)));
        self.envoy.replace_listeners(&[("main", Filter::json(&json!({"targets": [{"name": "a\"\n{", "cluster": "x"}]})))]);
        let mut number = 0;
        eventually(PATIENCE, "a line of each event", async || {
            number += 1;
            self.post(format!("request-{number}").as_bytes()).await;
            let lines = read(&self.envoy.log());
            let seen: BTreeSet<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
            let missing: Vec<&str> =
                EVENTS.iter().map(|(event, ..)| *event).filter(|event| *event != "unexpected" && !seen.contains(event)).collect();
            if missing.is_empty() {
                Ok(lines)
            } else {
                Err(format!("{missing:?}"))
            }
        })
        .await
    }
}

#[track_caller]
fn assert_fields(line: &Value) {
    let fields: BTreeSet<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    let (_, _, always, sometimes) = EVENTS.into_iter().find(|(event, ..)| line["event"] == *event).unwrap();
    let always: BTreeSet<&str> = always.split_whitespace().chain(["event"]).collect();
    let allowed: BTreeSet<&str> = always.iter().copied().chain(sometimes.split_whitespace()).chain(["suppressed"]).collect();
    assert!(always.is_subset(&fields) && fields.is_subset(&allowed), "{line}");
    for number in ["attempt", "elapsed_ms", "retry_in_ms", "open_for_ms", "targets", "suppressed"] {
        assert!(line.get(number).is_none_or(Value::is_u64), "{number}: {line}");
    }
    for text in ["event", "target", "delivery_id", "correlation_id", "outcome", "reason", "problem"] {
        assert!(line.get(text).is_none_or(Value::is_string), "{text}: {line}");
    }
    if sometimes.contains("correlation_ids") {
        assert_ne!(line.get("correlation_id").is_some(), line.get("correlation_ids").is_some(), "{line}");
    }
    assert!(line.get("correlation_ids").is_none_or(|ids| ids.as_array().unwrap().iter().all(Value::is_string)), "{line}");
}

#[tokio::test]
async fn every_event_is_one_line_of_json_once_its_prefix_is_cut_off() {
    let noisy = Noisy::start(|setup| setup).await;
    let lines = noisy.lines(cut).await;
    lines.iter().for_each(assert_fields);
    // Two ways to read the same log.
    let log = noisy.envoy.log();
    let (cut, events) = (cut(&log), crate::support::log::events(&log));
    assert_eq!(cut, events.iter().map(|event| event.fields.clone()).collect::<Vec<_>>());
    let levels: BTreeMap<&str, &str> = EVENTS.into_iter().map(|(event, level, ..)| (event, level)).collect();
    for event in &events {
        // A copy that is kept as a letter is no loss.
        let level = if event.fields["letter"] == "taken" { "info" } else { levels[event.name()] };
        assert_eq!(level, event.level, "{}", event.fields);
    }
    // What a client sent stays inside its text.
    // It is no UTF-8, so each byte is a character.
    let hostile: String = HOSTILE.trim_ascii_end().iter().map(|byte| char::from(*byte)).collect();
    let delivered = lines.iter().find(|line| line["event"] == "delivered" && line["target"] == "audit").unwrap();
    assert_eq!(delivered["correlation_id"], hostile);
    let batched = lines.iter().find(|line| line["target"] == "bulk" && line["event"] == "delivered").unwrap();
    assert!(batched["correlation_ids"].is_array() && batched.get("correlation_id").is_none(), "{batched}");
}

#[tokio::test]
async fn with_the_documented_format_every_line_of_envoy_is_json_and_holds_the_filters() {
    let docs = std::fs::read_to_string(in_clone("docs/observability.md")).unwrap();
    let from = docs.find("application_log_config:").unwrap();
    let yaml: Value = serde_saphyr::from_str(docs[from..].split("```").next().unwrap()).unwrap();
    let format = yaml["application_log_config"].clone();
    let noisy = Noisy::start(|setup| setup.log_format(None).with("", "application_log_config", format)).await;
    noisy.lines(unwrap).await.iter().for_each(assert_fields);
}

#[test]
fn the_documentation_names_every_event_and_field() {
    let docs = std::fs::read_to_string(in_clone("docs/observability.md")).unwrap();
    for (event, _, always, sometimes) in EVENTS {
        let row = docs.lines().find(|line| line.split('|').nth(1).is_some_and(|cell| cell.contains(&format!("`{event}`"))));
        let row = row.unwrap_or_else(|| panic!("no row of {event}"));
        for field in always.split_whitespace().chain(sometimes.split_whitespace()) {
            assert!(row.contains(&format!("`{field}`")), "{event}: {field}");
        }
    }
    assert!(EVENTS.len() == sidecast::observe::log_event::Event::COUNT);
}
