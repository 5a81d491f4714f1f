//! What `sidecast explain` tells; that the requests it shows are those of the filter, tests with a real Envoy tell.

use std::io::Write;

use serde_json::{json, Value};
use tempfile::NamedTempFile;

use crate::tool::{sidecast, sidecast_reading, sidecast_with, Ran};

/// Runs it for a configuration.
pub(crate) fn explain(configuration: &Value, arguments: &[&str]) -> Ran {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(configuration.to_string().as_bytes()).unwrap();
    let all: Vec<&str> = ["explain", file.path().to_str().unwrap()].into_iter().chain(arguments.iter().copied()).collect();
    sidecast(&all)
}

/// What it tells of the only target, as JSON.
fn told(target: Value, arguments: &[&str]) -> Value {
    told_of(json!({"targets": [of(target)]}), arguments)["targets"][0].clone()
}

fn of(fields: Value) -> Value {
    let mut target = json!({"name": "t", "cluster": "c"});
    target.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    target
}

pub(crate) fn told_of(configuration: Value, arguments: &[&str]) -> Value {
    let all: Vec<&str> = ["--format", "json"].into_iter().chain(arguments.iter().copied()).collect();
    let all: Value = serde_json::from_str(&explain(&configuration, &all).printed()).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 1);
    all[0].clone()
}

pub(crate) fn because(told: &Value) -> Vec<&str> {
    told["because"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn the_key_by_which_copies_are_in_order_is_told_unless_it_is_long() {
    let by_header = json!({"order": {"key": {"header": "X-User-Id"}}});
    let copy = told(by_header.clone(), &["--request", "GET /", "-H", "x-user-id: alice", "-H", "x-user-id: bob"]);
    assert_eq!((&copy["verdict"], because(&copy)), (&json!("copy"), vec!["in order by header x-user-id: alice"]));
    let longest = format!("x-user-id: {}", "a".repeat(64));
    let shown = format!("in order by header {longest}");
    assert_eq!(because(&told(by_header.clone(), &["--request", "GET /", "-H", &longest])), [shown.as_str()]);
    let longer = told(by_header.clone(), &["--request", "GET /", "-H", &format!("{longest}a")]);
    assert_eq!(because(&longer), ["in order by header x-user-id: a value of 65 bytes"]);
    assert_eq!(because(&told(by_header, &["--request", "GET /"])), ["not in order: no key in header x-user-id"]);
    let by_body = |body: &str| {
        let told = told(json!({"order": {"key": {"body": "/account"}}}), &["--request", "POST /", "-d", body]);
        because(&told).join("\n")
    };
    assert_eq!(by_body(r#"{"account": "a-1"}"#), r#"in order by body "/account": "a-1""#);
    assert_eq!(by_body(r#"{"account": 7.0}"#), r#"in order by body "/account": 7.0"#);
    for without in ["no JSON", "", "{}", r#"{"account": null}"#, r#"{"account": ["a"]}"#] {
        assert_eq!(by_body(without), r#"not in order: no key in body "/account""#, "{without}");
    }
}

#[test]
fn conditions_on_authority_query_and_body_are_told_and_exceptions() {
    let rules = json!({
        "match": [
            {"authority": {"suffix": ".example"}, "query": [{"name": "a", "exact": "1"}, {"name": "b", "present": true}]},
            {"body": [
                {"pointer": "/type", "exact": "order"}, {"pointer": "/n", "exact": 8}, {"pointer": "/s", "prefix": "x"},
                {"pointer": "/none", "regex": ".*"}, {"pointer": "/n", "present": false}, {"pointer": "/f", "exact": null},
            ]},
        ],
        "except": [{"path": {"exact": "/health"}}],
    });
    let body = r#"{"type":"cart","n":7,"s":[],"f":false}"#;
    let no = told(rules.clone(), &["--request", "POST /?a=2", "--authority", "Shop.example.org", "-d", body]);
    assert_eq!((&no["verdict"], no.get("counts")), (&json!("none"), None));
    assert_eq!(
        because(&no),
        [
            "no rule matches",
            "match[0].authority: the authority is \"Shop.example.org\", which does not end with \".example\"",
            "match[0].query[0]: parameter a is \"2\", not \"1\"",
            "match[0].query[1]: there is no parameter b",
            "match[1].body[0]: \"/type\" is the string \"cart\", not the string \"order\"",
            "match[1].body[1]: \"/n\" is another number, not the number 8",
            "match[1].body[2]: \"/s\" is a list or an object, not a string that starts with \"x\"",
            "match[1].body[3]: no value at \"/none\"",
            "match[1].body[4]: there is a value at \"/n\"",
            "match[1].body[5]: \"/f\" is false, not null",
        ]
    );
    let left_out = told(rules.clone(), &["--request", "POST /health?a=1&b", "--authority", "shop.example"]);
    assert_eq!(because(&left_out), ["an `except` rule matches", "except[0] matches"]);
    let by_headers = told(rules.clone(), &["--request", "POST /?a=1&b", "--authority", "shop.EXAMPLE", "-d", "no JSON"]);
    assert_eq!(by_headers["verdict"], "copy");
    let unread = told(rules.clone(), &["--request", "POST /", "-d", "no JSON"]);
    assert_eq!((&unread["verdict"], &unread["counts"]), (&json!("none"), &json!("dropped.body_not_json")));
    let order = r#"{"type":"order","n":8,"s":"xy","none":"","f":null}"#;
    let wanted =
        told(json!({"match": [{"body": [{"pointer": "/type", "exact": "order"}]}]}), &["--request", "POST /", "-d", order]);
    assert_eq!((&wanted["verdict"], because(&wanted)), (&json!("copy"), vec!["its body matches"]));
}

#[test]
fn each_condition_that_does_not_hold_is_told() {
    let rules = json!({"match": [
        {"methods": ["POST", "PUT"], "path": {"prefix": "/orders"}},
        {"path": {"exact": "/a"}, "headers": [{"name": "x-a", "exact": "1"}, {"name": "x-b", "prefix": "1"}, {"name": "x-c", "present": false}]},
        {"path": {"regex": "/b/[0-9]+"}, "headers": [{"name": "x-a", "suffix": "1"}, {"name": "x-a", "regex": "[0-9]"}, {"name": "x-a", "exact": "2"}]},
        {"methods": ["GET"], "path": {"prefix": "/b"}, "headers": [{"name": "x-a", "prefix": "2"}, {"name": "x-z", "present": true}]},
    ]});
    let told = told(rules, &["--request", "GET /b?c=/orders", "-H", "X-A: 2", "-H", "x-a: 33", "-H", "x-c: "]);
    assert_eq!((&told["verdict"], told.get("request"), told.get("counts")), (&json!("none"), None, None));
    assert_eq!(
        because(&told),
        [
            "no rule matches",
            "match[0].methods: GET is not POST or PUT",
            "match[0].path: /b does not start with /orders",
            "match[1].path: /b is not /a",
            "match[1].headers[0]: x-a is \"2\", \"33\", not \"1\"",
            "match[1].headers[1]: there is no x-b",
            "match[1].headers[2]: x-c is present",
            "match[2].path: /b does not match /b/[0-9]+",
            "match[2].headers[0]: x-a is \"2\", \"33\", which does not end with \"1\"",
            "match[3].headers[1]: there is no x-z",
        ]
    );
}

#[test]
fn sampling_by_key_is_told_as_in_or_out_and_by_chance_as_that() {
    let sample = |percent: f64| json!({"sample": {"percent": percent, "key": {"header": "x-user-id"}}});
    // The number of alice is 17.126... percent.
    let alice = ["--request", "GET /", "-H", "x-user-id: alice"];
    let (told_in, told_out) = (told(sample(17.13), &alice), told(sample(17.12), &alice));
    assert_eq!((&told_in["verdict"], because(&told_in)), (&json!("copy"), vec!["sampled: in by x-user-id, 17.13 %"]));
    assert_eq!(
        (&told_out["verdict"], &told_out["counts"], told_out.get("request")),
        (&json!("none"), &json!("sampled_out"), None)
    );
    assert_eq!(because(&told_out), ["sampled: out by x-user-id, 17.12 %"]);
    let by_chance = told(sample(5.0), &["--request", "GET /"]);
    assert_eq!(
        (&by_chance["verdict"], because(&by_chance)),
        (&json!("by_chance"), vec!["sampled: at random, 5 % (no x-user-id)"])
    );
    assert_eq!(by_chance["request"]["path"], "/");
    let no_key = told(json!({"sample": {"percent": 0.5}}), &["--request", "GET /"]);
    assert_eq!(because(&no_key), ["sampled: at random, 0.5 %"]);
}

#[test]
fn a_target_that_waits_gets_a_copy_after_the_answers_it_wants() {
    let target = json!({"after": "response", "statuses": ["201", "3xx"], "request": {"path": "/${response:status}", "headers": {"set": {"x-at": "${response:header:location}"}}}});
    let request = ["--request", "POST /orders"];
    let waits = told(target.clone(), &request);
    assert_eq!((&waits["verdict"], waits.get("request")), (&json!("waits"), None));
    assert_eq!(because(&waits), ["waits until the primary responds with 201 or 3xx; use --answer to show the copy"]);
    let copied = told(target.clone(), &[&request[..], &["--answer", "302", "--answer-header", "Location: /a"]].concat());
    assert_eq!((&copied["verdict"], &copied["request"]["path"]), (&json!("copy"), &json!("/302")));
    assert!(copied["request"]["headers"].as_array().unwrap().contains(&json!(["x-at", "/a"])), "{copied}");
    let failed = told(target, &[&request[..], &["--answer", "200"]].concat());
    assert_eq!((&failed["verdict"], &failed["counts"]), (&json!("none"), &json!("not_triggered")));
    assert_eq!(because(&failed), ["the primary responded 200, not 201 or 3xx"]);
}

#[test]
fn a_copy_is_shown_with_values_of_the_body_of_the_answer() {
    let target = json!({"after": "response", "response": {"redact": ["/card"]}, "request": {
        "path": "/orders/${response:body:/id}",
        "body": {"template": {"id": "${response:body:/id}", "all": "${response:body}", "text": "${response:body_text}"}},
    }});
    let told_after = |more: &[&str]| {
        let told = told(target.clone(), &[&["--request", "POST /", "--answer", "201"][..], more].concat());
        let request = |field: &str| told["request"][field].as_str().unwrap_or_default().to_owned();
        (told["verdict"].clone(), told["counts"].clone(), request("path"), request("body"), because(&told).join("; "))
    };
    let (verdict, _, path, body, _) = told_after(&["--answer-body", r#"{"id":7.0,"card":"4111"}"#]);
    assert_eq!((verdict, path.as_str()), (json!("copy"), "/orders/7.0"));
    let masked = r#"{"id":7.0,"card":"[redacted]"}"#;
    assert_eq!(body, format!(r#"{{"all":{masked},"id":7.0,"text":{}}}"#, json!(masked)));
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(br#"{"id":8}"#).unwrap();
    let of_file = told_after(&["--answer-body", &format!("@{}", file.path().display())]);
    assert_eq!(of_file.2, "/orders/8");
    assert_eq!(told_after(&[]).3, r#"{"all":null,"id":null,"text":null}"#);
    let unread = told_after(&["--answer-body", "created"]);
    assert_eq!((unread.0, unread.1), (json!("none"), json!("dropped.response_not_json")));
    let after = "after the primary responded 201; it reads the primary's response, which";
    assert_eq!(unread.4, format!("{after} is not JSON or has an unsupported encoding"));
    let small = json!({"targets": [of(target.clone())], "limits": {"max_body_bytes": 3}});
    let long = told_of(small, &["--request", "POST /", "--answer", "201", "--answer-body", "1234"]);
    assert_eq!(long["targets"][0]["counts"], "dropped.response_too_large");
    assert_eq!(
        because(&long["targets"][0])[1],
        "it reads the primary's response, which has more bytes than `limits.max_body_bytes` (3)"
    );
}

#[test]
fn what_only_envoy_knows_stands_as_it_is_written() {
    let target = json!({"request": {
        "path": "/${env:A_B}/x?y=${property:xds.route_name}",
        "authority": "${env:HOST}:80",
        "headers": {"set": {"authorization": "Bearer ${env:TOKEN}"}},
        "body": {"template": {"a": "${env:A_B}", "b": "at ${property:request.protocol}"}},
    }});
    let told = told(target, &["--request", "GET /"]);
    let request = &told["request"];
    assert_eq!(
        (&request["path"], &request["authority"]),
        (&json!("/${env:A_B}/x?y=${property:xds.route_name}"), &json!("${env:HOST}:80"))
    );
    assert_eq!(request["body"], r#"{"a":"${env:A_B}","b":"at ${property:request.protocol}"}"#);
    assert!(request["headers"].as_array().unwrap().contains(&json!(["authorization", "Bearer ${env:TOKEN}"])), "{request}");
}

#[test]
fn numbers_and_times_of_envoy_stand_as_they_are_written() {
    let template = "${property:request.size} ${property:request.time} ${property:request.duration} ${property:xds.route_name}";
    let target = json!({"request": {
        "path": "/${property:request.time}/${property:connection.id}",
        "headers": {"set": {"x-a": template, "x-flag": "${property:connection.mtls}"}},
        "body": {"template": {"a": template}},
    }});
    let told = told(target, &["--request", "GET /"]);
    let request = &told["request"];
    assert_eq!(
        (&request["path"], &request["body"]),
        (&json!("/${property:request.time}/${property:connection.id}"), &json!(json!({"a": template}).to_string()))
    );
    for header in [json!(["x-a", template]), json!(["x-flag", "true"])] {
        assert!(request["headers"].as_array().unwrap().contains(&header), "{request}");
    }
}

#[test]
fn a_batch_is_shown_with_the_request_alone() {
    let target = json!({"batch": {"format": "ndjson", "max_items": 7}, "request": {"body": {"redact": ["/card"]}}});
    let told = told(target, &["--request", "PUT /orders", "--body", r#"{ "id": 1, "card": "4111" }"#]);
    assert_eq!(because(&told), ["batched: up to 7 requests in one call; shown with this one only"]);
    assert_eq!(
        (&told["request"]["method"], &told["request"]["body"]),
        (&json!("POST"), &json!("{\"id\":1,\"card\":\"[redacted]\"}\n"))
    );
}

#[test]
fn a_comparison_is_told() {
    let told = told(json!({"compare": {"percent": 12.5}}), &["--request", "GET /"]);
    assert_eq!(because(&told), ["its response is compared with the primary's, 12.5 %"]);
}

#[test]
fn a_body_that_cannot_be_sent_is_told_with_what_counts_it() {
    let redacting = json!({"request": {"body": {"redact": ["/a"]}}});
    let unread = told(redacting.clone(), &["--request", "POST /", "--body", "no json"]);
    assert_eq!((&unread["verdict"], &unread["counts"]), (&json!("none"), &json!("dropped.body_not_json")));
    let small = json!({"targets": [of(redacting), of(json!({"name": "u"}))], "limits": {"max_body_bytes": 3}});
    let long = told_of(small.clone(), &["--request", "POST /", "--body", "1234"]);
    for target in long["targets"].as_array().unwrap() {
        assert_eq!((&target["verdict"], &target["counts"]), (&json!("none"), &json!("dropped.body_too_large")));
        assert_eq!(because(target), ["its body has 4 bytes, more than `limits.max_body_bytes` (3)"]);
    }
    let short = told_of(small, &["--request", "POST /", "--body", "123"]);
    assert!(short["targets"].as_array().unwrap().iter().all(|target| target["verdict"] == "copy"), "{short}");
}

#[test]
fn patterns_that_take_too_much_work_are_told_with_what_counts_it() {
    let by_header = json!({"match": [{"headers": [{"name": "x-a", "regex": "(a|b)*c"}]}]});
    let by_body = json!({"name": "u", "match": [{"body": [{"pointer": "/a", "regex": "(a|b)*c"}]}]});
    let sampled = json!({"name": "v", "sample": {"percent": 1, "key": {"header": "x-user-id"}}, "match": by_header["match"]});
    let limited = json!({"targets": [of(by_header), of(by_body), of(sampled)], "limits": {"max_work_bytes": 65_536}});
    let long = "a".repeat(70_000);
    let header = format!("x-a: {long}");
    let body = json!({"a": long}).to_string();
    let request = ["--request", "POST /", "-H", &header, "-H", "x-user-id: alice", "-d", &body];
    let told = told_of(limited, &request);
    let of_target = |index: usize| (&told["targets"][index]["verdict"], &told["targets"][index]["counts"]);
    assert_eq!(of_target(0), (&json!("none"), &json!("dropped.work_limit")));
    assert_eq!(because(&told["targets"][0]), ["its rules take more work than `limits.max_work_bytes` allows"]);
    assert_eq!(of_target(1), (&json!("none"), &json!("dropped.work_limit")));
    // The sample decides first.
    assert_eq!(of_target(2), (&json!("none"), &json!("sampled_out")));
}

#[test]
fn targets_of_one_cluster_are_told_apart() {
    let target = |name: &str, fields: Value| {
        let mut target = of(fields);
        target["name"] = json!(name);
        target
    };
    let ids = json!({"body": {"template": {"d": "${delivery_id}", "c": "${correlation_id}"}}});
    let configuration = json!({"correlation": {"header": "x-correlation"}, "loop_guard": {"secret": "${env:SECRET}"}, "targets": [
        target("one", json!({"request": ids})),
        target("batched", json!({"request": ids, "batch": {"format": "ndjson"}})),
        target("left-out", json!({"sample": {"percent": 17.12, "key": {"header": "x-user-id"}}})),
        target("two", json!({"request": {"method": "PUT"}})),
        target("waiting", json!({"after": "response"})),
    ]});
    let request = ["--request", "POST /", "-H", "x-user-id: alice", "-d", "{}"];
    let told = told_of(configuration, &request);
    let told = told["targets"].as_array().unwrap();
    let verdicts: Vec<_> = told.iter().map(|told| told["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["copy", "copy", "none", "copy", "waits"]);
    assert_eq!(told[2]["counts"], "sampled_out");
    // Each copy has a delivery id of its own, and all of them have the correlation id of the request.
    let item =
        |number| format!(r#"{{"c":"00000000-0000-4000-8000-000000000002","d":"00000000-0000-4000-8000-0000000001{number}"}}"#);
    assert_eq!(told[0]["request"]["body"], item("01"));
    assert_eq!(told[1]["request"]["body"], format!("{}\n", item("02")));
    assert_eq!(told[3]["request"]["method"], "PUT");
    let header = |told: &Value, name: &str| {
        let headers: Vec<(String, String)> = serde_json::from_value(told["request"]["headers"].clone()).unwrap();
        headers.into_iter().find(|(other, _)| other == name).unwrap().1
    };
    assert_eq!([0, 1, 3].map(|index| header(&told[index], "x-sidecast-target")), ["one", "batched", "two"]);
    // The mark is that of the id that is shown.
    for (index, id) in [(0, "000000000101"), (1, "000000000202"), (3, "000000000104")] {
        let mark = header(&told[index], "x-sidecast-loop");
        assert!(mark.starts_with(&format!("00000000-0000-4000-8000-{id}.")), "{mark}");
        assert!(header(&told[index], "idempotency-key").ends_with(id));
    }
}

#[test]
fn what_becomes_of_a_copy_is_told() {
    let afterwards = |fields: Value| {
        let told = told(fields, &["--request", "GET /"])["afterwards"].clone();
        serde_json::from_value::<Vec<String>>(told).unwrap()
    };
    let delivery = json!({
        "success": ["2xx", "409"], "timeout": "250ms",
        "retry": {"max_attempts": 4, "on": ["5xx", "connect_failure"], "backoff": {"base": "1s", "max": "8s"}, "expire_after": "2m"},
        "circuit_breaker": {"consecutive_failures": 0, "slow_call": {"longer_than": "200ms", "percent": 80}, "mode": "observe"},
        "dead_letter": {"cluster": "letters", "on": ["expired", "retries_exhausted"]},
    });
    assert_eq!(
        afterwards(delivery),
        [
            "delivered if it responds 2xx or 409 within 250ms",
            "up to 4 attempts within 2m, retried on 5xx or connect_failure; waits up to 1s first, then doubles, up to 8s",
            "its circuit breaker only observes: it would open after 50 % failures of at least 20 attempts within 30s or \
             80 % attempts slower than 200ms of at least 20 attempts within 30s",
            "if given up for expired or retries_exhausted, cluster letters gets a dead letter",
        ]
    );
    let once = afterwards(json!({"retry": {"max_attempts": 1}, "circuit_breaker": {"mode": "disabled"}}));
    assert_eq!(
        once[1..3],
        [
            "given up if it fails: no retries, because `retry.max_attempts` is 1".to_owned(),
            "it has no circuit breaker: the mode is `disabled`".to_owned(),
        ]
    );
    let chained = json!({"targets": [
        of(json!({"name": "payment"})),
        of(json!({"name": "refund", "after": {"target": "payment", "outcome": "given_up", "statuses": ["timeout"]}})),
        of(json!({"name": "ship", "after": {"target": "payment"}})),
    ]});
    let told = told_of(chained, &["--request", "POST /"]);
    let of_payment = told["targets"][0]["afterwards"].as_array().unwrap();
    let followers = ["after it is given up with timeout, refund gets its copy", "after it is delivered, ship gets its copy"];
    assert_eq!(of_payment[4..], followers.map(|text| json!(text)));
    // Nothing becomes of a copy that there is not.
    assert_eq!(told_of_none().get("afterwards"), None);
}

fn told_of_none() -> Value {
    told(json!({"match": [{"methods": ["GET"]}]}), &["--request", "POST /"])
}

#[test]
fn what_would_be_a_dead_letter_is_told_as_no_copy() {
    // More than Envoy takes; letters leave out what variables stand in, so that there is one.
    let set: serde_json::Map<_, _> = (0..1_100).map(|number| (format!("x-{number}"), json!("${env:A}"))).collect();
    let letters = json!({"cluster": "letters", "on": ["not_retryable"]});
    let target = json!({"batch": {"format": "ndjson"}, "request": {"headers": {"set": set}}, "dead_letter": letters});
    let told = told(target, &["--request", "POST /", "-d", "{}"]);
    assert_eq!((&told["verdict"], &told["counts"], told.get("request")), (&json!("none"), &json!("dropped.not_retryable"), None));
    assert_eq!(because(&told)[1..], ["it has more headers than Envoy accepts: the attempt fails"]);
}

#[test]
fn what_no_target_gets_is_told_of_the_request() {
    let configuration = json!({"targets": [of(json!({}))]});
    for (header, why) in [
        ("upgrade: websocket", "it asks for an upgrade, and is copied only if the primary does not switch protocols"),
        ("x-sidecast-loop: a", "it is already a copy: it has x-sidecast-loop"),
    ] {
        let told = told_of(configuration.clone(), &["--request", "GET /", "-H", header]);
        assert_eq!((&told["left_alone"], &told["targets"]), (&json!(why), &json!([])));
        let plain = explain(&configuration, &["--request", "GET /", "-H", header]).printed();
        assert_eq!(plain, format!("no target gets a copy: {why}\n"));
    }
}

#[test]
fn what_asked_for_an_upgrade_is_copied_if_the_primary_answers_otherwise() {
    let request = ["--request", "GET /", "-H", "upgrade: websocket", "--answer"];
    assert_eq!(told(json!({}), &[&request[..], &["200"]].concat())["verdict"], "copy");
    let switched = told_of(json!({"targets": [of(json!({}))]}), &[&request[..], &["101"]].concat());
    assert_eq!(switched["targets"], json!([]));
}

#[test]
fn the_plain_form_has_no_colours_where_nobody_sees_them() {
    let configuration = json!({"targets": [
        of(json!({"request": {"method": "PATCH", "headers": {"forward": "none"}}})),
        of(json!({"name": "u", "match": [{"methods": ["GET"]}]})),
    ]});
    let arguments = ["--request", "POST /a?b", "--authority", "shop.example", "-H", "accept: */*", "--body", "one\ntwo"];
    let expected = "\
t, cluster c: gets a copy
  delivered if it responds 2xx or 3xx within 2s
  given up if it fails: no retries, because `retry` is not set
  its circuit breaker opens after 5 failures in a row or 50 % failures of at least 20 attempts within 30s, and blocks for 5s
  lost if given up, because `dead_letter` is not set
  left out: accept

    PATCH /a?b
    host: shop.example
    x-request-id: 00000000-0000-4000-8000-000000000001
    x-sidecast-target: t
    x-sidecast-loop: 00000000-0000-4000-8000-000000000101
    idempotency-key: 00000000-0000-4000-8000-000000000101

    one
    two

u, cluster c: gets no copy
  no rule matches
  match[0].methods: POST is not GET
";
    assert_eq!(explain(&configuration, &arguments).printed(), expected);
}

#[test]
fn the_plain_form_has_colours_where_they_are_asked_for() {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(json!({"targets": [of(json!({}))]}).to_string().as_bytes()).unwrap();
    let arguments = ["explain", file.path().to_str().unwrap(), "--request", "GET /"];
    let coloured = sidecast_with(&arguments, &[("CLICOLOR_FORCE", "1")]).printed();
    assert!(coloured.starts_with("\u{1b}[1mt\u{1b}[0m, cluster c: \u{1b}[32mgets a copy\u{1b}[0m\n"), "{coloured:?}");
}

#[test]
fn a_body_may_be_a_file_and_need_not_be_text() {
    let mut body = NamedTempFile::new().unwrap();
    body.write_all(b"\xff\x00").unwrap();
    let at = format!("@{}", body.path().display());
    assert_eq!(told(json!({}), &["--request", "POST /", "--body", &at])["request"]["body_base64"], "/wA=");
    let plain = explain(&json!({"targets": [of(json!({}))]}), &["--request", "POST /", "--body", &at]).printed();
    assert!(plain.ends_with("\n    (2 bytes, not text)\n"), "{plain}");
}

#[test]
fn headers_and_bodies_may_be_given_as_to_curl() {
    let mut body = NamedTempFile::new().unwrap();
    body.write_all(b"[1]").unwrap();
    let at = format!("@{}", body.path().display());
    for (option, value, sent) in [("-d", "{}", "{}"), ("--data", "{}", "{}"), ("-d", &at, "[1]")] {
        let told = told(json!({}), &["--request", "POST /", "-H", "x-a: 1", option, value]);
        assert_eq!(told["request"]["body"], sent, "{option} {value}");
        assert!(told["request"]["headers"].as_array().unwrap().contains(&json!(["x-a", "1"])), "{told}");
    }
}

#[test]
fn a_method_that_differs_by_its_case_alone_is_told() {
    let methods = json!({"match": [{"methods": ["PUT", "POST"]}, {"methods": ["GET"]}]});
    let told = told(methods, &["--request", "post /pay"]);
    assert_eq!(
        because(&told),
        [
            "no rule matches",
            "match[0].methods: post is not PUT or POST (methods are case-sensitive: did you mean POST?)",
            "match[1].methods: post is not GET",
        ]
    );
}

#[test]
fn headers_that_are_left_out_are_told_by_their_names() {
    let given = [
        "--request",
        "POST /",
        "--body",
        "{}",
        "-H",
        "Cookie: hunter2",
        "-H",
        "authorization: hunter2",
        "-H",
        "cookie: hunter2",
        "-H",
        "x-a: 1",
        "-H",
        "x-old: 1",
        "-H",
        "connection: x-of-it",
        "-H",
        "x-of-it: 1",
        "-H",
        "host: shop.example",
        "-H",
        "content-length: 2",
    ];
    let left_out = |target| told(target, &given)["request"]["left_out"].clone();
    assert_eq!(left_out(json!({})), json!(["cookie", "authorization", "connection", "x-of-it"]));
    let set = json!({"request": {"headers": {"set": {"authorization": "mine"}, "remove": ["x-old"]}}});
    assert_eq!(left_out(set), json!(["cookie", "x-old", "connection", "x-of-it"]));
    let chosen = json!({"request": {"headers": {"forward": ["x-old", "cookie"]}}});
    assert_eq!(left_out(chosen), json!(["authorization", "x-a", "connection", "x-of-it"]));
    assert_eq!(told(json!({}), &["--request", "GET /", "-H", "x-a: 1"])["request"]["left_out"], json!([]));
    let plain = explain(&json!({"targets": [of(json!({"compare": {}}))]}), &given).printed();
    let (head, _) = plain.split_once("\n\n").unwrap();
    assert!(head.ends_with("\n  left out: cookie, authorization, connection, x-of-it"), "{plain}");
    assert!(!plain.contains("hunter2"), "{plain}");
}

#[test]
fn yaml_is_read_like_json() {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(b"targets:\n- {name: t, cluster: c, request: {method: PUT}}\n").unwrap();
    let told = sidecast(&["explain", file.path().to_str().unwrap(), "--request", "GET /a"]).printed();
    assert!(told.starts_with("t, cluster c: gets a copy\n") && told.contains("\n\n    PUT /a\n"), "{told}");
}

#[test]
fn configurations_are_found_in_the_files_of_others_as_they_reach_the_filter() {
    // Envoy's reader of YAML makes text of a number with a fraction.
    let plugin = "typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, config: {configuration: {
      '@type': type.googleapis.com/google.protobuf.Struct, value: {targets: [{name: t, cluster: c, request: {body: {template: {price: 1.5}}}}]}}}}";
    let envoy = format!("http_filters: [{{name: sidecast, {plugin}}}]\n");
    let inside = envoy.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let map = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n  envoy.yaml: |\n{inside}");
    let istio = "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nspec: {pluginConfig: {targets: [{name: t, cluster: c, request: {body: {template: {price: 1.5}}}}]}}";
    for (file, body) in [(envoy.as_str(), r#"{"price":"1.5"}"#), (&map, r#"{"price":"1.5"}"#), (istio, r#"{"price":1.5}"#)] {
        let told = sidecast_reading(&["explain", "-", "--request", "POST /", "--body", "{}"], file).printed();
        assert!(told.starts_with("t, cluster c: gets a copy\n") && told.ends_with(&format!("\n    {body}\n")), "{file}: {told}");
    }
    let nothing = sidecast_reading(&["explain", "-", "--request", "GET /"], "services: {}");
    assert_eq!((nothing.status, nothing.out.as_str()), (2, ""));
    assert!(nothing.err.contains("no Sidecast configuration found"), "{}", nothing.err);
}

#[test]
fn the_exit_status_tells_a_bad_configuration_from_what_cannot_be_read() {
    let sound = json!({"targets": [of(json!({}))]});
    let bad = explain(&json!({"targets": [of(json!({"timeout": "0s"})), of(json!({"extra": 1}))]}), &["--request", "GET /"]);
    assert_eq!((bad.status, bad.out.as_str(), bad.err.lines().count()), (1, "", 3));
    assert!(bad.err.contains("targets[0].timeout: expected a duration"), "{}", bad.err);
    for (arguments, words) in [
        (&["--request", "GET"][..], "expected a method and a path"),
        (&["--request", "GET /", "-H", "x"], "expected a header"),
        (&["--request", "GET /", "--answer", "600"], "expected a status"),
        (&["--request", "GET /", "--answer-header", "a: b"], "--answer"),
        (&["--request", "GET /", "--answer-body", "a"], "--answer"),
        (&["--request", "GET /", "--body", "@/no/such/file"], "/no/such/file"),
        (&[], "--request"),
    ] {
        let ran = explain(&sound, arguments);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.err.contains(words), "{arguments:?}: {}", ran.err);
    }
    assert_eq!(sidecast(&["explain", "/no/such/file", "--request", "GET /"]).status, 2);
}

#[test]
fn a_signature_is_told_by_a_placeholder_whatever_the_secret_is() {
    let told = |sign: Value, more: Value| {
        let mut request = json!({"sign": sign});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let told = told(json!({"request": request}), &["--request", "POST /", "-H", "webhook-signature: forged", "-d", "{}"]);
        let headers: Vec<(String, String)> = serde_json::from_value(told["request"]["headers"].clone()).unwrap();
        (because(&told).join("; "), headers)
    };
    let value = |headers: &[(String, String)], name: &str| {
        let values: Vec<_> = headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.clone()).collect();
        assert_eq!(values.len(), 1, "{name} in {headers:?}");
        values[0].clone()
    };
    let webhooks = json!({"standard_webhooks": {"secrets": ["${env:A}", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]}});
    let (because, headers) = told(webhooks, json!({"headers": {"set": {"x-a": "${env:A} ${env:B}"}}}));
    assert_eq!(because, "each attempt is signed: webhook-signature is shown with a placeholder");
    assert_eq!(value(&headers, "webhook-signature"), "v1,[signature] v1,[signature]");
    assert_eq!(value(&headers, "webhook-id"), value(&headers, "idempotency-key"));
    assert_eq!(value(&headers, "webhook-timestamp").len(), 10);
    assert_eq!(value(&headers, "x-a"), "${env:A} ${env:B}");
    let stripe = json!({"hmac_sha256": {"header": "stripe-signature", "prefix": "v1=", "timestamp": {"prefix": "t="}, "secrets": ["${env:A}"]}});
    let (_, headers) = told(stripe, json!({}));
    assert_eq!(value(&headers, "stripe-signature"), "t=[timestamp],v1=[signature]");
    // This scheme does not make it.
    assert_eq!(value(&headers, "webhook-signature"), "forged");
}
