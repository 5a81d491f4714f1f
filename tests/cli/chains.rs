//! Targets that no request ever leads to.

use super::{check, position, position_of};

/// Payment, and inventory that follows it, with these fields besides.
fn pair(payment: &str, inventory: &str) -> String {
    format!("targets:\n- {{name: payment, cluster: p, {payment}}}\n- {{name: inventory, cluster: i, {inventory}}}\n")
}

fn found(text: &str) -> Vec<(String, String, String)> {
    let text_of = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    check(text)
        .iter()
        .map(|finding| (text_of(&finding["code"]), text_of(&finding["path"]), text_of(&finding["message"])))
        .collect()
}

/// The only finding is that a target never gets a copy: its field, and why.
#[track_caller]
fn assert_never(text: &str, field: &str, why: &str) {
    let found = found(text);
    let message = format!("never sent: {why}");
    assert_eq!(found, [("never-sent".to_owned(), field.to_owned(), message)], "{text}");
}

#[track_caller]
fn assert_clean(text: &str) {
    assert_eq!(found(text), [], "{text}");
}

const AFTER: &str = "after: {target: payment}";

#[test]
fn rules_that_exclude_those_of_the_leader_are_told() {
    for (leaders, own) in [
        ("match: [{methods: [POST]}]", "match: [{methods: [GET, PUT]}]"),
        ("match: [{path: {exact: /orders}}]", "match: [{path: {exact: /order}}]"),
        ("match: [{path: {prefix: /orders}}]", "match: [{path: {exact: /order}}]"),
        ("match: [{path: {prefix: /orders}}]", "match: [{path: {prefix: /carts}}]"),
        ("match: [{path: {exact: /orders}}]", "match: [{path: {regex: '/orders/[0-9]+'}}]"),
        ("match: [{authority: {exact: Shop.example}}]", "match: [{authority: {suffix: .org}}]"),
        ("match: [{query: [{name: a, exact: '1'}]}]", "match: [{query: [{name: a, exact: '2'}]}]"),
        ("match: [{body: [{pointer: /kind, exact: order}]}]", "match: [{body: [{pointer: /kind, exact: cart}]}]"),
        ("match: [{body: [{pointer: /n, exact: 1}]}]", "match: [{body: [{pointer: /n, exact: '1'}]}]"),
        ("match: [{headers: [{name: x-a, present: true}]}]", "match: [{headers: [{name: x-a, present: false}]}]"),
        ("match: [{methods: [POST]}, {methods: [PUT]}]", "match: [{methods: [GET]}, {methods: [PATCH]}]"),
        ("match: [{methods: [POST], path: {exact: /a}}]", "match: [{methods: [GET]}, {path: {exact: /b}}]"),
        ("except: [{path: {prefix: /o}}]", "match: [{path: {prefix: /orders}}]"),
    ] {
        let why = "it follows \"payment\", and no request matches the rules of both";
        assert_never(&pair(leaders, &format!("{own}, {AFTER}")), "targets[1].match", why);
    }
    let why = "it follows \"payment\", and no request matches the rules of both";
    for except in ["[{methods: [POST, PUT]}]", "[{path: {prefix: /ord}}]", "[{methods: [GET]}, {path: {exact: /orders}}]"] {
        let text = pair("match: [{methods: [POST], path: {exact: /orders}}]", &format!("except: {except}, {AFTER}"));
        assert_never(&text, "targets[1].except", why);
    }
}

#[test]
fn rules_that_some_request_may_satisfy_are_not() {
    for (leaders, own) in [
        ("match: [{methods: [POST, GET]}]", "match: [{methods: [GET, PUT]}]"),
        ("match: [{path: {prefix: /orders}}]", "match: [{path: {exact: /orders/1}}]"),
        ("match: [{path: {regex: '/a.*'}}]", "match: [{path: {regex: '/b.*'}}]"),
        ("match: [{authority: {exact: Shop.example}}]", "match: [{authority: {suffix: .EXAMPLE}}]"),
        // A request can have the header twice.
        ("match: [{headers: [{name: x-a, exact: '1'}]}]", "match: [{headers: [{name: x-a, exact: '2'}]}]"),
        ("match: [{query: [{name: a, exact: '1'}]}]", "match: [{query: [{name: b, exact: '2'}]}]"),
        ("match: [{body: [{pointer: /n, exact: 1}]}]", "match: [{body: [{pointer: /n, exact: 1.0}]}]"),
        ("match: [{methods: [POST]}]", "match: [{methods: [GET]}, {path: {exact: /b}}]"),
        ("match: [{methods: [POST]}]", "except: [{methods: [POST], path: {exact: /orders}}]"),
        ("match: [{methods: [POST]}]", "except: [{headers: [{name: x-a, present: true}]}]"),
        ("sample: {percent: 1, key: {header: x-a}}", "sample: {percent: 50, key: {header: x-b}}"),
    ] {
        assert_clean(&pair(leaders, &format!("{own}, {AFTER}")));
    }
}

#[test]
fn the_rules_of_every_target_of_a_chain_count() {
    let text = pair("match: [{methods: [POST]}]", AFTER)
        + "- {name: refund, cluster: r, match: [{methods: [GET]}], after: {target: inventory, outcome: given_up}}\n"
        + "- {name: audit, cluster: a, after: {target: refund}}\n";
    let found = found(&text);
    let fields: Vec<&str> = found.iter().map(|(_, field, _)| field.as_str()).collect();
    assert_eq!(fields, ["targets[2].match", "targets[3].after.target"]);
    assert_eq!(found[0].2, "never sent: it follows \"payment\", and no request matches the rules of both");
    assert_eq!(found[1].2, "never sent: \"refund\" never gets a copy, so nothing follows it");
}

#[test]
fn rules_that_contradict_themselves_are_told_of_any_target() {
    let why = "no request can match these rules";
    let one = |fields: &str| format!("targets:\n- {{name: a, cluster: c, {fields}}}\n");
    let twice = "match: [{query: [{name: a, exact: '1'}, {name: a, prefix: '2'}]}]";
    assert_never(&one(twice), "targets[0].match", why);
    assert_never(&one("match: [{methods: [GET]}], except: [{methods: [GET, PUT]}]"), "targets[0].match", why);
    assert_clean(&one("match: [{methods: [GET]}, {methods: [HEAD]}], except: [{methods: [GET, PUT]}]"));
}

#[test]
fn causes_that_never_come_true_are_told() {
    let delivered = |statuses: &str| {
        pair("success: [2xx, 409]", &format!("after: {{target: payment, outcome: delivered, statuses: {statuses}}}"))
    };
    let given_up = |statuses: &str| {
        pair("success: [2xx, 409]", &format!("after: {{target: payment, outcome: given_up, statuses: {statuses}}}"))
    };
    let either = |statuses: &str| pair("success: [2xx, 409]", &format!("after: {{target: payment, statuses: {statuses}}}"));
    let (field, name) = ("targets[1].after.statuses", "for \"payment\"; its `success`");
    for statuses in ["[404]", "[3xx, timeout]", "[reset, timeout]"] {
        assert_never(&delivered(statuses), field, &format!("none of these counts as delivered {name} does not name them"));
        assert_clean(&given_up(statuses));
        assert_clean(&either(statuses));
    }
    for statuses in ["[409]", "[201, 2xx]"] {
        assert_never(&given_up(statuses), field, &format!("all of these count as delivered {name} names them"));
        assert_clean(&delivered(statuses));
        assert_clean(&either(statuses));
    }
    for statuses in ["[4xx]", "[409, 410]"] {
        assert_clean(&delivered(statuses));
        assert_clean(&given_up(statuses));
    }
    // The default of `success`.
    let of = |after: &str| pair("timeout: 1s", &format!("after: {{target: payment, {after}}}"));
    assert_clean(&of("outcome: delivered, statuses: [302]"));
    assert_never(&of("outcome: given_up, statuses: [302]"), field, &format!("all of these count as delivered {name} names them"));
    assert_clean(&of("outcome: given_up"));
}

#[test]
fn statuses_with_which_no_response_ends_are_told() {
    let one = |statuses: &str| format!("targets:\n- {{name: a, cluster: c, after: response, statuses: {statuses}}}\n");
    for statuses in ["[1xx]", "[101, '103']"] {
        assert_never(&one(statuses), "targets[0].statuses", "no response ends with a status of 1xx");
    }
    for statuses in ["[1xx, 200]", "[101, reset]", "[timeout]"] {
        assert_clean(&one(statuses));
    }
    let text = pair("after: response, statuses: [1xx]", AFTER);
    let fields: Vec<String> = found(&text).into_iter().map(|(_, field, _)| field).collect();
    assert_eq!(fields, ["targets[0].statuses", "targets[1].after.target"]);
}

#[test]
fn they_are_told_where_they_are_written() {
    let text = pair("match: [{methods: [POST]}]", &format!("{AFTER}, match: [{{methods: [GET]}}]"));
    let at = text.rfind("[{methods").unwrap();
    assert_eq!(position_of(&check(&text)[0]), position(&text, at));
    // Without rules of its own there is nothing but the target that it follows.
    let text = pair("match: [{methods: [POST]}], except: [{methods: [POST]}]", AFTER);
    let found = check(&text);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(position_of(&found[1]), position(&text, text.rfind("payment").unwrap()));
}

/// An Envoy whose routes answer some requests themselves and send others to a target's cluster.
fn routed(leaders: &str, own: &str) -> String {
    format!(
        "route_config:
  virtual_hosts:
  - routes:
    - {{match: {{path: /health}}, direct_response: {{status: 200}}}}
    - {{match: {{prefix: /orders}}, route: {{cluster: inventory}}}}
    - {{match: {{prefix: /}}, route: {{cluster: primary}}}}
http_filters:
- name: sidecast
  typed_config:
    config:
      fail_open: true
      vm_config: {{runtime: envoy.wasm.runtime.v8}}
      configuration:
        '@type': type.googleapis.com/google.protobuf.Struct
        value:
          targets:
          - {{name: payment, cluster: payment, request: {{body: {{omit: true}}}}, {leaders}}}
          - {{name: inventory, cluster: inventory, after: {{target: payment}}, {own}}}
"
    )
}

#[test]
fn routes_are_held_against_what_all_targets_of_a_chain_want() {
    let codes =
        |leaders: &str, own: &str| -> Vec<String> { found(&routed(leaders, own)).into_iter().map(|(code, ..)| code).collect() };
    // Payment gets requests that a route sends to inventory, and such that Envoy answers.
    assert_eq!(codes("timeout: 1s", "timeout: 1s"), ["own-cluster", "answered-early"]);
    let no_answers = "match: [{path: {prefix: /orders}}]";
    assert_eq!(codes(no_answers, "timeout: 1s"), ["own-cluster"]);
    assert_eq!(codes("match: [{path: {prefix: /carts}}]", "timeout: 1s"), [] as [&str; 0]);
    // The answer of Envoy is not one that the chain begins with.
    let waits = "match: [{path: {exact: /health}}], after: response, statuses: [404]";
    assert_eq!(codes(waits, "timeout: 1s"), [] as [&str; 0]);
    assert_eq!(codes("match: [{path: {exact: /health}}], after: response", "timeout: 1s"), ["answered-early"]);
}

#[test]
fn statuses_beside_an_object_are_a_problem_and_no_warning() {
    let text = pair("timeout: 1s", &format!("{AFTER}, statuses: [200]"));
    let found = found(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].0.as_str(), found[0].1.as_str()), ("", "targets[1].statuses"));
}
