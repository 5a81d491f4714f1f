//! Configurations are accepted as a whole or refused with everything that is wrong with them.

use crate::{
    configurations::{audit, audit_with, mirroring, target, targets, with},
    host::{Answer, Host, Level, Request},
};
use prost::Message;
use prost_types::{value::Kind, ListValue, Struct};
use serde_json::{json, Value};

/// The problems that the filter logged, at error level, one line each.
fn problems(host: &Host) -> Vec<String> {
    let events = host.events("configuration_rejected").into_iter();
    let texts = events.map(|(level, event)| {
        assert_eq!(level, Level::Error);
        event["problem"].as_str().unwrap().to_owned()
    });
    texts.collect()
}

/// Offers a configuration that must be refused, and gives the problems.
#[track_caller]
fn refused(configuration: &str) -> Vec<String> {
    let host = Host::new();
    assert!(!host.bare_worker().configure(configuration), "accepted: {configuration}");
    let problems = problems(&host);
    assert!(!problems.is_empty(), "refused without a reason");
    problems
}

/// What Envoy hands over for a `google.protobuf.Struct`: the serialized message, in which all numbers are doubles.
fn as_struct(configuration: &Value) -> Vec<u8> {
    fn convert(value: &Value) -> prost_types::Value {
        let kind = match value {
            Value::Null => Kind::NullValue(0),
            Value::Bool(flag) => Kind::BoolValue(*flag),
            Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
            Value::String(text) => Kind::StringValue(text.clone()),
            Value::Array(list) => Kind::ListValue(ListValue { values: list.iter().map(convert).collect() }),
            Value::Object(_) => Kind::StructValue(fields(value)),
        };
        prost_types::Value { kind: Some(kind) }
    }
    fn fields(value: &Value) -> Struct {
        let all = value.as_object().unwrap().iter();
        Struct { fields: all.map(|(name, value)| (name.clone(), convert(value))).collect() }
    }
    fields(configuration).encode_to_vec()
}

#[test]
fn a_struct_gives_the_same_filter_as_json() {
    let limits = json!({"limits": {"max_in_flight": 1, "max_queued": 1}, "timeout": "250ms", "success": ["404"]});
    let configuration = audit_with(&limits);
    let host = Host::new();
    let worker = host.bare_worker();
    assert!(worker.configure(as_struct(&configuration)), "{:#?}", host.log());
    for _ in 0..3 {
        worker.exchange(&Request::get("/"));
    }
    let call = worker.call_out();
    assert_eq!(call.timeout().as_millis(), 250);
    call.answer(Answer::upstream(404));
    assert_eq!(host.stat("audit", "delivered"), 1);
    assert_eq!(host.stat("audit", "dropped.queue_full"), 1);
}

#[test]
fn a_struct_with_a_mistake_is_refused_with_its_path() {
    let host = Host::new();
    assert!(!host.bare_worker().configure(as_struct(&audit_with(&json!({"timeout": 7, "tiemout": "1s"})))));
    let problems = problems(&host);
    let named = |path: &str| problems.iter().any(|text| text.starts_with(path));
    assert!(named("targets[0].timeout: ") && named("targets[0].tiemout: unknown field"), "{problems:#?}");
}

#[test]
fn an_accepted_configuration_says_so_once() {
    let (host, _worker) = mirroring();
    let configured = host.events("configured");
    assert_eq!(configured.len(), 1);
    assert_eq!(configured[0].0, Level::Info);
    assert_eq!(problems(&host), [""; 0]);
}

#[test]
fn every_statistic_is_there_from_the_start() {
    let (host, _worker) = mirroring();
    let counters = ["matched", "attempts", "attempt_failures", "retries", "delivered"];
    let reasons = [
        "body_too_large",
        "truncated",
        "queue_full",
        "buffer_full",
        "retries_exhausted",
        "not_retryable",
        "expired",
        "unknown_cluster",
    ];
    for name in counters {
        assert_eq!(host.stat("audit", name), 0);
    }
    for reason in reasons {
        assert_eq!(host.stat("audit", &format!("dropped.{reason}")), 0);
    }
    assert_eq!(host.samples("audit", "latency_ms"), [0; 0]);
}

#[test]
fn all_problems_are_named_at_once_with_their_paths() {
    let configuration = json!({
        "targets": [
            {"name": "Not A Name", "cluster": "a"},
            {"name": "audit", "cluster": "b", "timeout": "soon"},
            {"name": "audit", "cluster": "c", "retry": {"max_atempts": 3}},
        ],
        "limits": {"max_body_bytes": "1 league"},
    });
    let problems = refused(&configuration.to_string());
    let named = |path: &str| problems.iter().filter(|text| text.starts_with(path)).count();
    assert_eq!(named("targets[0].name: "), 1, "{problems:#?}");
    assert_eq!(named("targets[1].timeout: "), 1, "{problems:#?}");
    assert_eq!(named("targets[2].retry.max_atempts: unknown field, expected one of "), 1, "{problems:#?}");
    assert_eq!(named("targets[2].name: "), 1, "{problems:#?}");
    assert_eq!(named("limits.max_body_bytes: "), 1, "{problems:#?}");
}

#[test]
fn whole_numbers_may_come_as_doubles() {
    let configuration = r#"{"targets": [{"name": "audit", "cluster": "audit",
        "limits": {"max_in_flight": 3.0, "max_queued": 1e3}}], "limits": {"max_body_bytes": 1e6}}"#;
    assert!(Host::new().bare_worker().configure(configuration));
    refused(&configuration.replace("3.0", "3.5"));
}

#[test]
fn what_is_no_configuration_at_all_is_refused() {
    let none = targets(&[]).to_string();
    let many: Vec<_> = (0..33).map(|index| target(&format!("t{index}"))).collect();
    let many = targets(&many).to_string();
    for text in ["", "{", "null", "[]", "{}", "\"targets\"", "\u{0}", &none, &many] {
        refused(text);
    }
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let host = Host::new();
    assert!(!host.bare_worker().configure(*b"{\"targets\": \xff\xfe}"));
    assert_eq!(problems(&host).len(), 1);
}

#[test]
fn thirty_two_targets_are_accepted() {
    let list: Vec<_> = (0..32).map(|index| target(&format!("t{index}"))).collect();
    let host = Host::new();
    let worker = host.worker(&targets(&list));
    worker.exchange(&Request::get("/"));
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 32);
    assert_eq!(host.stat("t31", "delivered"), 1);
}

#[test]
fn after_a_refusal_the_old_configuration_keeps_serving() {
    let (host, worker) = mirroring();
    let root = worker.root();
    assert!(!worker.configure(audit_with(&json!({"timeout": "never"})).to_string()));
    assert!(!worker.is_draining(root) && !worker.is_deleted(root));
    worker.exchange(&Request::get("/"));
    worker.call_out().answer(Answer::upstream(200));
    assert_eq!(host.stat("audit", "delivered"), 1);
}

#[test]
fn a_refused_configuration_can_be_offered_again_and_then_corrected() {
    let host = Host::new();
    let worker = host.bare_worker();
    assert!(!worker.configure("{}"));
    assert!(!worker.configure("{}"));
    assert!(worker.configure(audit().to_string()));
    worker.exchange(&Request::get("/"));
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 1);
}

#[test]
fn the_secret_of_the_loop_guard_comes_from_the_environment() {
    let guarded = with(audit(), &json!({"loop_guard": {"secret": "${env:SIDECAST_LOOP_SECRET}"}}));
    let host = Host::new();
    host.set_env("SIDECAST_LOOP_SECRET", "a long enough secret");
    host.set_env("OTHER", "x");
    let worker = host.worker(&guarded);
    worker.exchange(&Request::get("/"));
    let call = worker.call_out();
    let mark = call.header("x-sidecast-loop").unwrap();
    let (id, seal) = mark.split_once('.').expect("the mark is sealed");
    assert_eq!(Some(id), call.header("idempotency-key"));
    assert_eq!(seal, crate::identity::seal(b"a long enough secret", id));
}
