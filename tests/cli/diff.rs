//! `sidecast diff`: what a change of a configuration does.

use std::fs;

use expect_test::expect_file;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{json, Value};
use sidecast::config::signing::stand_in;
use sidecast::config::Config;
use tempfile::TempDir;

use crate::choices::Choices;
use crate::documents::document;
use crate::found::is_accepted;
use crate::tool::{sidecast, sidecast_reading, Ran};

/// What is told of two texts.
fn diff(old: &str, new: &str, options: &[&str]) -> Ran {
    let directory = TempDir::new().unwrap();
    let path = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (old, new) = (path("old.yaml", old), path("new.yaml", new));
    sidecast(&[&["diff", &old, &new], options].concat())
}

fn json(old: &str, new: &str) -> Value {
    let ran = diff(old, new, &["--format", "json"]);
    let value: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert_eq!(ran.status, i32::from(value["differs"].as_bool().unwrap()), "{ran:?}");
    value
}

fn one(fields: &str) -> String {
    format!("targets: [{{name: t, cluster: c, {fields}}}]")
}

/// The target of two configurations with one target each.
fn target(old: &str, new: &str) -> Value {
    json(&one(old), &one(new))["configurations"][0]["targets"][0].clone()
}

#[test]
fn a_change_is_told_in_plain_words() {
    let ran = sidecast(&["diff", "tests/cli/diff/old.yaml", "tests/cli/diff/new.yaml"]);
    assert_eq!((ran.status, ran.err.as_str()), (1, ""));
    expect_file![format!("{}/tests/cli/snapshots/diff.txt", env!("CARGO_MANIFEST_DIR"))].assert_eq(&ran.out);
    assert!(!ran.out.contains("hunter"), "{}", ran.out);
}

#[test]
fn what_means_the_same_is_no_difference() {
    let pairs = [
        ("timeout: 2s", ""),
        ("timeout: 2000ms", "timeout: 2s"),
        ("timeout: 1.5s", "timeout: 1500ms"),
        ("circuit_breaker: {}", "circuit_breaker: {mode: enforce, half_open: {}, max_open_for: 1m, failure_rate: {percent: 50.0}}"),
        ("circuit_breaker: {open_for: 2m}", "circuit_breaker: {open_for: 120s, max_open_for: 2m}"),
        ("limits: {max_in_flight: 256.0}", "limits: {max_queued: '1024'}"),
        ("limits: {rate: {per_second: 5}}", "limits: {rate: {per_second: 5.0, burst: 5}}"),
        ("retry: {}", "retry: {max_attempts: 3, backoff: {base: 0.1s}, on: ['429', 5xx, timeout, reset, connect_failure, no_healthy_upstream]}"),
        ("success: [200, '3xx']", "success: [3xx, '200', '200']"),
        ("request: {}", ""),
        ("request: {headers: {sensitive: strip, set: {}}, body: {redact: [], omit: false}}", "request: {headers: {}}"),
        ("request: {headers: {set: {X-A: '1'}}}", "request: {headers: {set: {x-a: '1'}}}"),
        ("request: {headers: {remove: [X-A, x-b]}}", "request: {headers: {remove: [x-b, x-a]}}"),
        ("after: response", "after: response, statuses: [2xx]"),
        ("after: request", "match: null, retry: null"),
        ("dead_letter: {cluster: 'outbound|80||dlq.svc'}", "dead_letter: {cluster: 'outbound|80||dlq.svc', authority: dlq.svc, path: /, timeout: 2s}"),
        ("match: [{path: {prefix: /a}}, {methods: [PUT, POST]}]", "match: [{methods: [POST, PUT]}, {path: {prefix: /a}}]"),
        ("match: [{authority: {exact: Shop.Example}}]", "match: [{authority: {exact: shop.example}}]"),
        ("match: [{headers: [{name: X-A, exact: 'B'}]}]", "match: [{headers: [{name: x-a, exact: 'B'}]}]"),
        ("match: [{body: [{pointer: /n, exact: 7}]}]", "match: [{body: [{pointer: /n, exact: 7.0}]}]"),
        ("compare: {}", "compare: {body: json, percent: 100, ignore: []}"),
    ];
    for (old, new) in pairs {
        let ran = diff(&one(old), &one(new), &[]);
        assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (0, "No difference.\n", ""), "{old} / {new}");
    }
    let whole = |fields: &str| format!("{{targets: [{{name: t, cluster: c}}], {fields}}}");
    let ran = diff(&whole("limits: {max_body_bytes: 2MiB}"), &whole("limits: {max_body_bytes: 2097152, max_work_bytes: 16MiB}, drain_timeout: 30000ms, correlation: {header: X-Request-Id}"), &[]);
    assert_eq!(ran.status, 0, "{}", ran.out);
}

#[test]
fn what_differs_is_told_with_its_place_and_values() {
    let pairs = [
        ("", "timeout: 3s", "timeout", json!("2s"), json!("3s")),
        ("retry: {backoff: {max: 1m}}", "retry: {}", "retry.backoff.max", json!("60s"), json!("10s")),
        ("request: {headers: {set: {a.b: '1'}}}", "", "request.headers.set.a.b", json!("1"), json!(null)),
        ("", "circuit_breaker: {open_for: 90s}", "circuit_breaker.max_open_for", json!("60s"), json!("90s")),
        (
            "request: {body: {template: {a: {b: 1}}}}",
            "request: {body: {template: {a: {b: 2}}}}",
            "request.body.template",
            json!({"a": {"b": 1}}),
            json!({"a": {"b": 2}}),
        ),
        (
            "match: [{body: [{pointer: /n, exact: 7}]}]",
            "match: [{body: [{pointer: /n, exact: '7'}]}]",
            "match",
            json!([{"body": [{"pointer": "/n", "exact": 7}]}]),
            json!([{"body": [{"pointer": "/n", "exact": "7"}]}]),
        ),
        (
            "match: [{body: [{pointer: /n, exact: null}]}]",
            "match: [{body: [{pointer: /n, present: false}]}]",
            "match",
            json!([{"body": [{"pointer": "/n", "exact": null}]}]),
            json!([{"body": [{"pointer": "/n", "present": false}]}]),
        ),
    ];
    for (old, new, path, before, after) in pairs {
        let told = target(old, new);
        let change = told["changes"].as_array().unwrap().iter().find(|change| change["path"] == path);
        let change = change.unwrap_or_else(|| panic!("{path}: {told:#}"));
        assert_eq!((&change["old"], &change["new"]), (&before, &after), "{told:#}");
    }
}

#[test]
fn requests_are_more_fewer_or_others() {
    let pairs = [
        ("match: [{path: {prefix: /a}}]", "match: [{path: {prefix: /}}]", "more"),
        ("match: [{path: {prefix: /a}}]", "", "more"),
        ("match: [{path: {exact: /a}}, {methods: [GET]}]", "match: [{methods: [GET]}]", "fewer"),
        ("match: [{path: {prefix: /a}}]", "match: [{path: {prefix: /b}}]", "disjoint"),
        ("match: [{path: {prefix: /a}}]", "match: [{path: {prefix: /a/b}}, {path: {exact: /c}}]", "other"),
        ("", "except: [{path: {exact: /health}}]", "fewer"),
        ("except: [{path: {prefix: /health}}]", "except: [{path: {exact: /health}}]", "more"),
        ("match: [{path: {prefix: /a}}]", "match: [{path: {prefix: /a}}], except: [{path: {prefix: /b}}]", "same"),
        ("match: [{path: {regex: 'a.*'}}]", "match: [{path: {regex: '/a.+'}}]", "other"),
        ("sample: {percent: 10}", "sample: {percent: 20}", "more"),
        ("match: [{path: {prefix: /a}}], sample: {percent: 10}", "sample: {percent: 5}", "other"),
        ("after: response", "after: response, statuses: [2xx, 3xx]", "more"),
        ("", "after: response", "fewer"),
        ("timeout: 1s", "timeout: 2s", "same"),
    ];
    for (old, new, relation) in pairs {
        assert_eq!(target(old, new)["requests"], relation, "{old} / {new}");
    }
}

#[test]
fn breakers_and_statistics_are_told_by_what_they_belong_to() {
    let effects = |old: &str, new: &str| json(old, new)["configurations"][0]["targets"].to_string();
    let cluster = effects("targets: [{name: t, cluster: a}]", "targets: [{name: t, cluster: b}]");
    assert!(cluster.contains("new, closed circuit breaker") && cluster.contains("statistics continue"), "{cluster}");
    let settings = effects(&one(""), &one("circuit_breaker: {consecutive_failures: 1}"));
    assert!(settings.contains("keeps its state"), "{settings}");
    let disabled = effects(&one(""), &one("circuit_breaker: {mode: disabled}"));
    assert!(disabled.contains("circuit breaker ends"), "{disabled}");
    let sections = effects(&one("retry: {}"), &one("compare: {}"));
    assert!(
        sections.contains("start to count: `compare.*`") && sections.contains("These stop, but keep their values: `retries`"),
        "{sections}"
    );
    let name = effects("targets: [{name: a, cluster: c}]", "targets: [{name: b, cluster: c}]");
    assert!(name.contains(r#""renamed_from":"a""#) && name.contains("begin at 0") && name.contains("dropped.shutdown"), "{name}");
}

#[test]
fn the_drain_is_that_of_the_old_configuration() {
    let whole = |time: &str| format!("{{targets: [{{name: t, cluster: c}}], drain_timeout: {time}}}");
    let told = diff(&whole("7s"), &whole("9s"), &[]).out;
    assert!(told.contains("`drain_timeout` (7s)") && told.contains("from the next update on"), "{told}");
}

#[test]
fn followers_of_what_changes_are_told() {
    let chain = |rest: &str| {
        format!("targets: [{{name: a, cluster: c, {rest}}}, {{name: b, cluster: c, after: {{target: a}}}}, {{name: c, cluster: c, after: {{target: b}}}}]")
    };
    let told = json(&chain(""), &chain("match: [{methods: [GET]}]"));
    let targets = &told["configurations"][0]["targets"];
    assert_eq!((&targets[1]["follows_changed"], &targets[2]["follows_changed"]), (&json!("a"), &json!("a")), "{told:#}");
    assert_eq!((&targets[1]["fate"], &targets[0]["follows_changed"]), (&json!("same"), &json!(null)));
}

#[test]
fn another_vm_loses_what_is_under_way() {
    let file = |code: &str, timeout: &str| {
        json!({"http_filters": [{"name": "sidecast", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {"name": "sidecast", "vm_config": {"vm_id": "sidecast", "code": {"local": {"filename": code}}},
                "configuration": {"@type": "type.googleapis.com/google.protobuf.Struct",
                    "value": {"targets": [{"name": "t", "cluster": "c", "timeout": timeout}]}}},
        }}]})
        .to_string()
    };
    let other = diff(&file("a.wasm", "1s"), &file("b.wasm", "1s"), &[]);
    assert_eq!(other.status, 1);
    assert!(other.out.contains("`vm_config` differs") && !other.out.contains("configuration drains"), "{}", other.out);
    let same = diff(&file("a.wasm", "1s"), &file("a.wasm", "2s"), &[]);
    assert!(!same.out.contains("vm_config") && same.out.contains("configuration drains"), "{}", same.out);
    assert_eq!(diff(&file("a.wasm", "2s"), &file("a.wasm", ""), &[]).status, 2);
}

#[test]
fn no_credential_is_shown() {
    let with = |secret: &str| {
        json!({"targets": [{"name": "t", "cluster": "c",
            "match": [{"headers": [{"name": "authorization", "exact": secret}], "query": [{"name": "token", "prefix": secret}],
                "body": [{"pointer": "/password", "exact": secret}]}],
            "except": [{"headers": [{"name": "x-api-key", "regex": secret}]}],
            "request": {
                "path": format!("/a?access_token={secret}&sig={secret}"),
                "headers": {"set": {"x-api-key": secret, "cookie": secret, "x-a": format!("Basic {secret}")}},
                "body": {"template": {"login": {"password": secret, "client_secret": [secret]}}},
                "sign": {"hmac_sha256": {"header": "x-signature", "secrets": [secret]}},
            },
            "dead_letter": {"cluster": "d", "headers": {"set": {"authorization": secret}}, "body": {"template": {"api_key": secret}}},
        }], "loop_guard": {"secret": secret}})
        .to_string()
    };
    let bare = one("");
    for (old, new) in [(with("hunter2"), with("hunter3")), (with("hunter2"), bare.clone()), (bare, with("hunter3"))] {
        for format in ["text", "json"] {
            let ran = diff(&old, &new, &["--format", format]);
            assert_eq!((ran.status, ran.err.as_str()), (1, ""));
            assert!(!ran.out.contains("hunter"), "{}", ran.out);
        }
    }
    let told = diff(&with("hunter2"), &with("hunter3"), &[]).out;
    for path in [
        "match",
        "except",
        "request.path",
        "request.headers.set.x-api-key",
        "request.headers.set.x-a",
        "request.body.template",
        "request.sign.hmac_sha256.secrets",
        "dead_letter.headers.set.authorization",
        "dead_letter.body.template",
        "loop_guard.secret",
    ] {
        assert!(told.contains(&format!("{path}: differs")), "{path}: {told}");
    }
}

#[test]
fn what_cannot_be_compared_is_an_error() {
    let two = "targets: [{name: a, cluster: c}]\n---\ntargets: [{name: b, cluster: c}]\n";
    let ran = diff(two, &one(""), &[]);
    assert_eq!((ran.status, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("expected the same number of configurations in both files, found 2 in"), "{}", ran.err);
    let ran = diff(&one("timeut: 1s"), &one("timeout: 1x"), &[]);
    assert_eq!((ran.status, ran.out.as_str()), (2, ""));
    assert!(
        ran.err.contains("old.yaml:1:33: error: targets[0].timeut")
            && ran.err.contains("new.yaml:1:42: error: targets[0].timeout"),
        "{}",
        ran.err
    );
    assert_eq!(sidecast(&["diff", "no-such-file.yaml", "tests/cli/diff/new.yaml"]).status, 2);
    assert_eq!(sidecast(&["diff", "-", "-"]).status, 2);
    assert_eq!(sidecast(&["diff", "Cargo.toml", "tests/cli/diff/new.yaml"]).status, 2);
    let same =
        sidecast_reading(&["diff", "-", "tests/cli/diff/new.yaml"], &fs::read_to_string("tests/cli/diff/new.yaml").unwrap());
    assert_eq!(same.printed(), "No difference.\n");
}

#[test]
fn configurations_are_compared_one_by_one() {
    let two = |timeout: &str| format!("{}\n---\n{}\n", one("timeout: 1s"), one(&format!("timeout: {timeout}")));
    let ran = diff(&two("1s"), &two("2s"), &[]);
    assert_eq!(ran.status, 1);
    assert!(
        ran.out.starts_with("Configuration 1 of 2\nNo difference.\n\nConfiguration 2 of 2\nt (targets[0]): changed\n"),
        "{}",
        ran.out
    );
}

/// Lists whose order means nothing, in one order.
fn sorted(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut().filter(|(name, _)| *name != "template") {
                sorted(value);
                if let (false, Value::Array(items)) = (name == "targets" || name == "secrets", value) {
                    items.sort_by_cached_key(Value::to_string);
                    items.dedup();
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(sorted),
        _ => {}
    }
}

/// JSON that every reader of YAML reads alike.
fn ascii(value: &Value) -> String {
    let text = value.to_string();
    let mut units = [0; 2];
    let escaped = text.chars().map(|char| match char {
        ' '..='~' => char.to_string(),
        other => other.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    });
    escaped.collect()
}

/// What the filter runs.
fn compiled(document: &Value) -> String {
    let text = document.to_string();
    format!("{:?}", Config::parse(text.as_bytes(), &stand_in(text.as_bytes(), |name| format!("v{name}"))).unwrap())
}

#[test]
fn no_change_of_what_the_filter_runs_is_missed() {
    let bytes = |most: usize| prop::collection::vec(any::<u8>(), 0..most);
    let mut runner = TestRunner::deterministic();
    let mut pairs: Vec<[Value; 2]> = Vec::new();
    while pairs.len() < 120 {
        let one = bytes(192).new_tree(&mut runner).unwrap().current();
        // The same beginning of the bytes makes a similar document.
        let rest = bytes(40).new_tree(&mut runner).unwrap().current();
        let other = [&one[..one.len() / 2], &rest].concat();
        let mut pair = [one, other].map(|bytes| document(&mut Choices::new(&bytes)));
        pair.iter_mut().for_each(sorted);
        if pair.iter().all(is_accepted) && pair[0] != pair[1] {
            pairs.push(pair);
        }
    }
    let file = |side: usize| pairs.iter().map(|pair| ascii(&pair[side])).collect::<Vec<_>>().join("\n---\n");
    let told = json(&file(0), &file(1));
    let (mut same, mut other) = (0, 0);
    for (pair, told) in pairs.iter().zip(told["configurations"].as_array().unwrap()) {
        let differs = told["differs"].as_bool().unwrap();
        if compiled(&pair[0]) != compiled(&pair[1]) {
            other += 1;
            assert!(differs, "{:#}\n{:#}", pair[0], pair[1]);
        } else {
            same += usize::from(!differs);
        }
    }
    // Both kinds were among them.
    assert!(other > 50 && same > 0, "{other} differ, {same} are the same");
}
