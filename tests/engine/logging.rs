//! What the filter writes to Envoy's log: JSON, little of it, and nothing private.

use crate::{
    configurations::{audit, mirroring, with},
    host::{Answer, Host, Level, Request, Stat, Status, Worker},
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
fn a_copy_that_is_kept_as_a_letter_is_no_warning_and_the_line_says_what_became_of_the_letter() {
    for (answer, level, end) in [(200, Level::Info, "taken"), (500, Level::Warn, "failed")] {
        let host = Host::new();
        let worker = host.worker(&crate::configurations::audit_with(&json!({"dead_letter": {"cluster": "dlq"}})));
        mirror(&worker, Answer::upstream(404));
        assert_eq!(host.events("given_up").len(), 0, "nobody knows yet");
        worker.call_out().answer(Answer::upstream(answer));
        let (seen, event) = only_event(&host, "given_up");
        assert_eq!((seen, event["letter"].as_str(), event["outcome"].as_str()), (level, Some(end), Some("status_404")));
        assert_eq!((event["reason"].as_str(), event["correlation_id"].as_str()), (Some("not_retryable"), Some("c0ffee")));
    }
    let (host, worker) = mirroring();
    mirror(&worker, Answer::upstream(404));
    assert_eq!(only_event(&host, "given_up").1.get("letter"), None);
}

#[test]
fn a_letter_that_finds_no_place_or_no_time_is_told_of() {
    let fields = json!({"limits": {"max_in_flight": 1, "max_queued": 1}, "dead_letter": {"cluster": "dlq"}});
    let host = Host::new();
    let worker = host.worker(&crate::configurations::audit_with(&fields));
    for _ in 0..3 {
        worker.exchange(&Request::get("/"));
        let calls = worker.call_outs();
        calls.iter().filter(|call| call.cluster() == "audit").for_each(|call| call.answer(Answer::upstream(404)));
    }
    let ends = || host.events("given_up").into_iter().map(|(_, line)| line["letter"].clone()).collect::<Vec<_>>();
    assert_eq!(ends(), ["failed"], "one is under way, one waits, one is too many");
    worker.shut_down();
    worker.pass(&host, Duration::from_secs(60));
    assert_eq!(ends(), ["failed", "failed", "failed"]);
}

#[test]
fn a_breaker_that_opens_names_how_the_last_attempt_ended() {
    for (answer, outcome) in
        [(Answer::upstream(503), "status_503"), (Answer::timeout(), "timeout"), (Answer::connect_error(), "connect_failure")]
    {
        let host = Host::new();
        let worker = host.worker(&crate::configurations::audit_with(&json!({"circuit_breaker": {"consecutive_failures": 2}})));
        for _ in 0..2 {
            worker.exchange(&Request::get("/"));
            worker.call_out().answer(answer.clone());
        }
        let (_, event) = only_event(&host, "breaker_opened");
        assert_eq!((event["outcome"].as_str(), event["reason"].as_str()), (Some(outcome), Some("consecutive_failures")));
    }
    let host = Host::new();
    let worker = host.worker(&crate::configurations::audit_with(&json!({"circuit_breaker": {"consecutive_failures": 1}})));
    host.refuse_calls_to("audit", Status::INTERNAL_FAILURE);
    worker.exchange(&Request::get("/"));
    assert_eq!(only_event(&host, "breaker_opened").1["outcome"], "no_healthy_upstream");
}

#[test]
fn what_an_open_breaker_drops_does_not_bury_the_lines_that_name_a_cause() {
    let host = Host::new();
    let frail = json!({"circuit_breaker": {"consecutive_failures": 1, "open_for": "1h"}});
    let list = [with(crate::configurations::target("frail"), &frail), crate::configurations::target("picky")];
    let worker = host.worker(&crate::configurations::targets(&list));
    for _ in 0..30 {
        worker.exchange(&Request::get("/"));
        for call in worker.call_outs() {
            call.answer(Answer::upstream(if call.cluster() == "frail" { 503 } else { 404 }));
        }
    }
    let lines = host.events("given_up");
    let of = |reason: &str| lines.iter().filter(|(_, line)| line["reason"] == reason).count();
    assert_eq!((of("circuit_open"), of("retries_exhausted"), of("not_retryable")), (1, 1, 10));
    host.clear_log();
    host.advance(Duration::from_secs(1));
    worker.exchange(&Request::get("/"));
    assert_eq!(only_event(&host, "given_up").1["suppressed"], 28);
}

#[test]
fn the_version_of_the_module_is_told_in_the_log_and_counted_while_it_runs() {
    let host = Host::new();
    let info = || host.stats()[&format!("sidecast_build_info.{}", env!("CARGO_PKG_VERSION"))].clone();
    let workers = [host.worker(&audit()), host.worker(&audit())];
    assert!(host.events("configured").iter().all(|(_, line)| line["version"] == env!("CARGO_PKG_VERSION")));
    // Envoy tries a configuration in a VM that it throws away without a word.
    host.worker(&audit());
    assert_eq!(info(), Stat::Gauge(0));
    for _ in 0..3 {
        workers.iter().for_each(|worker| worker.exchange(&Request::get("/")));
    }
    assert_eq!(info(), Stat::Gauge(2));
    assert!(workers[0].configure(with(audit(), &json!({"drain_timeout": "7s"})).to_string()));
    workers[0].exchange(&Request::get("/"));
    assert_eq!(info(), Stat::Gauge(2));
    workers.iter().for_each(|worker| worker.shut_down());
    assert_eq!(info(), Stat::Gauge(0));
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
fn a_level_that_envoy_does_not_log_is_asked_for_once_in_100_ms() {
    let (host, worker) = mirroring();
    host.set_log_level(Level::Info);
    host.advance(Duration::from_millis(100));
    let asked = |times: u32| {
        let tally = host.tally(|| (0..times).for_each(|_| mirror(&worker, Answer::upstream(200))));
        tally.of("proxy_get_log_level")
    };
    assert_eq!((asked(1), asked(9)), (1, 0));
    host.set_log_level(Level::Debug);
    host.clear_log();
    host.advance(Duration::from_millis(99));
    mirror(&worker, Answer::upstream(200));
    assert_eq!(host.events("delivered").len(), 0);
    host.advance(Duration::from_millis(1));
    mirror(&worker, Answer::upstream(200));
    assert_eq!(host.events("delivered").len(), 1);
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
    assert!(!host.bare_worker().configure(crate::configurations::targets(&list).to_string()));
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
