//! What `sidecast explain` tells of targets that follow others.

use serde_json::{json, Value};

use crate::explain::{because, explain, told_of};

/// Payment, then inventory, or a refund if inventory refuses; and somebody who is told of payments that fail.
fn shop() -> Value {
    let targets = json!([
        {
            "name": "refund", "cluster": "payment", "after": {"target": "inventory", "outcome": "given_up", "statuses": ["409", "timeout"]},
            "request": {"method": "DELETE", "path": "/payments/${target:payment:body:/id}", "body": {"omit": true}},
        },
        {"name": "payment", "cluster": "payment", "match": [{"methods": ["POST"], "path": {"prefix": "/orders"}}]},
        {
            "name": "inventory", "cluster": "inventory", "after": {"target": "payment"},
            "match": [{"body": [{"pointer": "/item", "present": true}]}],
            "request": {
                "path": "/reservations?for=${target:payment:header:x-id}",
                "headers": {"set": {"x-status": "paid ${target:payment:status}", "x-literal": "$${target:payment:status}"}},
                "body": {"template": {"item": "${body:/item}", "payment": "${target:payment:body:/id}", "all": "${target:payment:body}", "text": "it is ${target:payment:body_text}"}},
            },
        },
        {"name": "alarm", "cluster": "alarm", "after": {"target": "payment", "outcome": "given_up"}, "sample": {"percent": 50}},
    ]);
    json!({"targets": targets})
}

const ORDER: [&str; 4] = ["--request", "POST /orders", "-d", r#"{"item":"book"}"#];

fn told(arguments: &[&str]) -> Vec<Value> {
    told_by(shop(), arguments)
}

fn told_by(configuration: Value, arguments: &[&str]) -> Vec<Value> {
    told_of(configuration, &[&ORDER[..], arguments].concat())["targets"].as_array().unwrap().clone()
}

/// The names, verdicts and counters of all targets.
fn verdicts(told: &[Value]) -> Vec<(&str, &str, Option<&str>)> {
    let fields = ["target", "verdict", "counts"];
    let of = |told| fields.map(|field| Value::get(told, field).and_then(Value::as_str));
    told.iter().map(of).map(|[target, verdict, counts]| (target.unwrap(), verdict.unwrap(), counts)).collect()
}

#[test]
fn chains_are_told_in_their_order_with_what_each_target_waits_for() {
    let told = told(&[]);
    assert_eq!(
        verdicts(&told),
        [("payment", "copy", None), ("inventory", "follows", None), ("refund", "follows", None), ("alarm", "follows", None)]
    );
    let after: Vec<Option<&str>> = told.iter().map(|told| told.get("after").and_then(Value::as_str)).collect();
    assert_eq!(after, [None, Some("payment"), Some("inventory"), Some("payment")]);
    assert_eq!(because(&told[1]), ["a copy follows if payment is delivered", "its body matches"]);
    assert_eq!(because(&told[2]), ["a copy follows if inventory is given up with 409 or timeout"]);
    assert_eq!(because(&told[3]), ["a copy follows if payment is given up", "sampled: at random, 50 %"]);
}

#[test]
fn values_of_an_answer_that_is_not_given_stand_as_they_are_written() {
    let told = told(&[]);
    let request = &told[1]["request"];
    assert_eq!(request["path"], "/reservations?for=${target:payment:header:x-id}");
    let headers = request["headers"].as_array().unwrap();
    for header in [["x-status", "paid ${target:payment:status}"], ["x-literal", "${target:payment:status}"]] {
        assert!(headers.contains(&json!(header)), "{request}");
    }
    assert_eq!(
        request["body"],
        r#"{"all":"${target:payment:body}","item":"book","payment":"${target:payment:body:/id}","text":"it is ${target:payment:body_text}"}"#
    );
    assert_eq!(told[2]["request"]["path"], "/payments/${target:payment:body:/id}");
}

#[test]
fn an_answer_that_is_given_decides_and_fills_in_its_values() {
    let body = r#"payment={"id":"p/7","at":"${now}","none":null}"#;
    let paid = ["--answer-of", "payment=201", "--answer-of-header", "payment=X-Id: a b", "--answer-of-body", body];
    let told = told(&paid);
    assert_eq!(
        verdicts(&told),
        [
            ("payment", "copy", None),
            ("inventory", "copy", None),
            ("refund", "follows", None),
            ("alarm", "none", Some("not_triggered"))
        ]
    );
    assert_eq!(because(&told[1])[0], "a copy follows if payment is delivered with 201");
    assert_eq!(because(&told[3]), ["payment is delivered with 201; a copy follows only if payment is given up"]);
    let request = &told[1]["request"];
    assert_eq!(request["path"], "/reservations?for=a%20b");
    assert!(request["headers"].as_array().unwrap().contains(&json!(["x-status", "paid 201"])), "{request}");
    let sent: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
    let answer = json!({"id": "p/7", "at": "${now}", "none": null});
    let text = r#"it is {"id":"p/7","at":"${now}","none":null}"#;
    assert_eq!(sent, json!({"item": "book", "payment": "p/7", "all": answer, "text": text}));
    assert_eq!(told[2]["request"]["path"], "/payments/p%2F7");
}

#[test]
fn a_chain_ends_where_a_cause_does_not_come_true() {
    let refused = told(&["--answer-of", "payment=402"]);
    assert_eq!(
        verdicts(&refused),
        [
            ("payment", "copy", None),
            ("inventory", "none", Some("not_triggered")),
            ("refund", "none", None),
            ("alarm", "by_chance", None)
        ]
    );
    assert_eq!(because(&refused[1]), ["payment is given up with 402; a copy follows only if payment is delivered"]);
    assert_eq!(because(&refused[2]), ["inventory gets no copy"]);
    let gone = told(&["--answer-of", "payment=200", "--answer-of", "inventory=409"]);
    assert_eq!(verdicts(&gone)[2], ("refund", "copy", None));
    assert_eq!(because(&gone[2]), ["a copy follows if inventory is given up with 409"]);
}

#[test]
fn a_follower_wants_a_request_by_its_own_rules_and_only_if_its_leader_gets_a_copy() {
    let all = |arguments: &[&str]| told_of(shop(), arguments)["targets"].as_array().unwrap().clone();
    let unwanted = all(&["--request", "POST /orders", "-d", "{}"]);
    assert_eq!(verdicts(&unwanted)[1], ("inventory", "none", None));
    assert_eq!(because(&unwanted[1]), ["no rule matches", "match[0].body[0]: no value at \"/item\""]);
    assert_eq!(because(&unwanted[2]), ["inventory gets no copy"]);
    let other = all(&["--request", "GET /orders", "-d", r#"{"item":1}"#]);
    for told in &other[1..] {
        assert_eq!((&told["verdict"], told.get("request"), told.get("counts")), (&json!("none"), None, None), "{told}");
    }
    assert_eq!(because(&other[1]), ["payment gets no copy"]);
}

#[test]
fn a_copy_that_is_dropped_is_given_up() {
    let mut shop = shop();
    shop["targets"][1]["request"] = json!({"path": "/${header:x-to}/pay"});
    let told = told_by(shop, &["-H", "x-to: .."]);
    assert_eq!(verdicts(&told)[0], ("payment", "none", Some("dropped.unsafe_path")));
    assert_eq!(verdicts(&told)[1], ("inventory", "none", Some("not_triggered")));
    assert_eq!(verdicts(&told)[3], ("alarm", "by_chance", None));
    assert_eq!(because(&told[3])[0], "a copy follows if payment is given up");
}

#[test]
fn a_chain_whose_first_target_waits_for_the_primary_waits_with_it() {
    let mut shop = shop();
    shop["targets"][1]["after"] = json!("response");
    shop["targets"][1]["statuses"] = json!(["201"]);
    shop["targets"][2]["request"]["path"] = json!("/${response:status}/${target:payment:status}");
    let waits = told_by(shop.clone(), &[]);
    assert_eq!(verdicts(&waits)[1], ("inventory", "waits", None));
    assert_eq!(
        because(&waits[2]),
        [
            "a copy follows if inventory is given up with 409 or timeout",
            "waits until the primary responds with 201; use --answer to show the copy"
        ]
    );
    let told = told_by(shop.clone(), &["--answer", "201"]);
    assert_eq!(told[1]["request"]["path"], "/201/${target:payment:status}");
    assert_eq!(because(&told[1]), ["a copy follows if payment is delivered", "its body matches"]);
    let failed = told_by(shop, &["--answer", "500"]);
    assert_eq!(verdicts(&failed)[0], ("payment", "none", Some("not_triggered")));
    assert_eq!(because(&failed[1]), ["payment gets no copy"]);
}

#[test]
fn it_is_told_to_people_too() {
    let out = explain(&shop(), &ORDER).printed();
    let lines: Vec<&str> = out.lines().filter(|line| line.contains("cluster") || line.contains("follows")).collect();
    assert_eq!(
        lines,
        [
            "payment, cluster payment: gets a copy",
            "inventory, cluster inventory: gets a copy after payment",
            "  a copy follows if payment is delivered",
            "refund, cluster payment: gets a copy after inventory",
            "  a copy follows if inventory is given up with 409 or timeout",
            "alarm, cluster alarm: gets a copy after payment",
            "  a copy follows if payment is given up",
        ]
    );
}

#[test]
fn an_answer_of_nobody_or_without_a_status_is_refused() {
    let refused = |arguments: &[&str]| {
        let run = explain(&shop(), &[&ORDER[..], arguments].concat());
        assert_eq!((run.status, run.out.as_str()), (2, ""), "{}", run.err);
        run.err
    };
    assert_eq!(refused(&["--answer-of", "paiment=201"]), "--answer-of: no target is named paiment\n");
    assert_eq!(refused(&["--answer-of-body", "payment={}"]), "--answer-of: --answer-of payment=STATUS is missing\n");
    assert!(refused(&["--answer-of", "payment"]).contains("expected TARGET=VALUE"));
    assert!(refused(&["--answer-of", "payment=paid"]).contains("expected a status such as 201"));
}
