//! What the filter writes to Envoy's log: JSON, little of it, and nothing private.

use crate::{
    scene::{audit, mirroring, with},
    wasm_host::{Answer, Host, Level, Request, Worker},
};
use serde_json::{json, Value};
use std::time::Duration;

const SECRET: &str = "s3cret-payload";

/// Mirrors a request that carries secrets wherever it can, and ends its call-out like this.
fn mirror(worker: &Worker, end: Answer) {
    let request = Request::post(&format!("/orders?{SECRET}"))
        .header("x-request-id", "c0ffee")
        .header("x-private", SECRET)
        .header("cookie", SECRET)
        .body(SECRET);
    worker.exchange(&request);
    worker.call_out().answer(end.header("x-answer", SECRET).body(SECRET));
}

fn only_event(host: &Host, name: &str) -> (Level, Value) {
    let mut events = host.events(name);
    assert_eq!(events.len(), 1, "{name} in {:#?}", host.log());
    events.remove(0)
}

#[test]
fn each_line_is_one_json_object_and_holds_no_secret() {
    let (host, worker) = mirroring();
    for end in [Answer::upstream(200), Answer::upstream(404), Answer::upstream(500), Answer::timeout()] {
        mirror(&worker, end);
    }
    assert!(host.log().len() > 6);
    for line in host.log() {
        let value: Value = serde_json::from_str(&line.text).unwrap();
        assert!(value["event"].is_string(), "{}", line.text);
        assert!(!line.text.contains(SECRET), "{}", line.text);
        assert!(!line.text.contains('\n'));
    }
}

#[test]
fn a_delivery_is_told_with_all_that_names_it() {
    let (host, worker) = mirroring();
    worker.exchange(&Request::get("/").header("x-request-id", "c0ffee"));
    let call = worker.call_out();
    host.advance(Duration::from_millis(12));
    call.answer(Answer::upstream(200));
    let (level, event) = only_event(&host, "delivered");
    assert_eq!(level, Level::Debug);
    assert_eq!(event["target"], "audit");
    assert_eq!(event["delivery_id"].as_str(), call.header("x-sidecast-loop"));
    assert_eq!(event["correlation_id"], "c0ffee");
    assert_eq!(event["attempt"], 1);
    assert_eq!(event["elapsed_ms"], 12);
    assert!(event["outcome"].is_string());
}

#[test]
fn giving_up_is_a_warning_with_its_reason() {
    let (host, worker) = mirroring();
    mirror(&worker, Answer::upstream(404));
    let (level, event) = only_event(&host, "given_up");
    assert_eq!(level, Level::Warn);
    assert_eq!(event["reason"], "not_retryable");
    assert_eq!(event["target"], "audit");
    assert_eq!(event["correlation_id"], "c0ffee");
    let (level, failed) = only_event(&host, "attempt_failed");
    assert_eq!(level, Level::Debug);
    assert_eq!(failed["attempt"], 1);
    assert_eq!(failed["delivery_id"], event["delivery_id"]);
}

#[test]
fn a_correlation_id_from_a_hostile_client_stays_inside_its_string() {
    let (host, worker) = mirroring();
    let hostile: [&[u8]; 3] = [b"\",\"event\":\"forged\"}", b"back\\slash\t\x01", b"\xff\xfe"];
    for id in hostile {
        worker.exchange(&Request::get("/").header("x-request-id", id));
        worker.answer_all(&Answer::upstream(404));
    }
    for line in host.log() {
        assert!(serde_json::from_str::<Value>(&line.text).is_ok(), "{}", line.text);
    }
    assert_eq!(host.events("given_up").len(), 3);
    assert_eq!(host.events("forged").len(), 0);
}

#[test]
fn what_envoy_would_not_print_is_not_written() {
    let host = Host::new();
    host.set_log_level(Level::Warn);
    let worker = host.worker(&audit());
    host.clear_log();
    mirror(&worker, Answer::upstream(200));
    mirror(&worker, Answer::upstream(404));
    assert!(host.log().iter().all(|line| line.level >= Level::Warn), "{:#?}", host.log());
    assert_eq!(host.events("given_up").len(), 1);
}

#[test]
fn ten_lines_a_second_of_one_event_and_then_their_number() {
    let (host, worker) = mirroring();
    for _ in 0..50 {
        mirror(&worker, Answer::upstream(404));
    }
    assert_eq!(host.events("given_up").len(), 10);
    assert_eq!(host.events("attempt_failed").len(), 10);
    host.clear_log();
    host.advance(Duration::from_secs(1));
    mirror(&worker, Answer::upstream(404));
    let (_, event) = only_event(&host, "given_up");
    assert_eq!(event["suppressed"], 40);
    host.clear_log();
    mirror(&worker, Answer::upstream(404));
    let (_, event) = only_event(&host, "given_up");
    assert_eq!(event.get("suppressed"), None);
}

#[test]
fn one_busy_event_does_not_silence_another() {
    let (host, worker) = mirroring();
    for _ in 0..50 {
        mirror(&worker, Answer::upstream(404));
    }
    mirror(&worker, Answer::upstream(200));
    assert_eq!(host.events("delivered").len(), 1);
}

#[test]
fn a_clock_that_is_set_back_does_not_silence_the_log() {
    let (host, worker) = mirroring();
    for _ in 0..20 {
        mirror(&worker, Answer::upstream(404));
    }
    host.set_clock_back(Duration::from_secs(86_400));
    host.clear_log();
    for _ in 0..3 {
        mirror(&worker, Answer::upstream(404));
        host.advance(Duration::from_secs(2));
    }
    assert!(!host.events("given_up").is_empty());
}

#[test]
fn many_problems_are_all_named_whatever_the_limit_on_lines() {
    let list: Vec<_> = (0..30).map(|index| serde_json::json!({"name": format!("t{index}")})).collect();
    let host = Host::new();
    assert!(!host.bare_worker().configure(crate::scene::targets(&list).to_string()));
    assert_eq!(host.events("configuration_rejected").len(), 30);
}

#[test]
fn a_refusal_does_not_tell_the_secret() {
    for secret in [json!(SECRET), json!([SECRET]), json!(format!("{SECRET} ${{nonsense}}")), json!({ "value": SECRET })] {
        let guard = json!({"loop_guard": {"secret": secret}, "limits": {"max_body_bytes": -1}});
        let host = Host::new();
        assert!(!host.bare_worker().configure(with(audit(), &guard).to_string()));
        assert!(host.log().iter().all(|line| !line.text.contains(SECRET)), "{:#?}", host.log());
    }
}
