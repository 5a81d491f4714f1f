//! What shaping costs: nothing where nothing is asked for, and never a host call more than what is asked for needs.

use crate::{
    configurations::{assert_balanced, audit, audit_with, mirroring_with, target, targets, with},
    host::{Answer, Host, Level, Request, Tally, Worker},
};
use serde_json::{json, Value};
use std::time::Duration;

fn order() -> Request {
    Request::post("/orders?id=7").header("content-type", "application/json").header("x-user", "alice").body("{\"id\": 7}")
}

/// A worker that has seen a request already.
fn warm(configuration: &Value) -> (Host, Worker) {
    let (host, worker) = mirroring_with(configuration);
    host.set_log_level(Level::Info);
    worker.exchange(&order());
    worker.answer_all(&Answer::upstream(200));
    (host, worker)
}

/// What the same request costs until it has left, but for random bytes, which are drawn in bulk.
fn cost_of(configuration: &Value) -> Tally {
    let (host, worker) = warm(configuration);
    let mut tally = host.tally(|| worker.exchange(&order()));
    tally.imports.remove("random_get");
    tally
}

#[test]
fn a_template_costs_no_host_call_and_one_that_tells_the_time_a_clock() {
    let plain = cost_of(&audit());
    let everything = json!({"request": {
        "method": "PUT",
        "path": "/o/${path}/${query:id}",
        "authority": "${authority}",
        "headers": {"forward": ["x-user"], "remove": ["x-none"], "set": {"x-a": "${header:x-user} ${attempt} ${correlation_id}"}},
        "body": {"template": {"id": "${body:/id}", "all": "${body}", "text": "${body_text}"}, "redact": ["/id"]},
    }});
    assert_eq!(cost_of(&audit_with(&everything)), plain);
    let mut timed = everything.clone();
    timed["request"]["body"]["template"]["now"] = "${now} ${now_ms}".into();
    let mut with_clock = plain.clone();
    *with_clock.imports.entry("proxy_get_current_time_nanoseconds").or_default() += 1;
    assert_eq!(cost_of(&audit_with(&timed)), with_clock);
    for cheap in
        [json!({"body": {"omit": true}}), json!({"body": {"redact": ["/id"]}}), json!({"headers": {"sensitive": "forward"}})]
    {
        assert_eq!(cost_of(&audit_with(&json!({ "request": cheap }))), plain, "{cheap}");
    }
}

#[test]
fn a_signature_costs_no_host_call_and_one_that_holds_the_time_a_clock() {
    let plain = cost_of(&audit());
    let signed = |sign: Value| cost_of(&audit_with(&json!({"request": {"sign": sign}})));
    assert_eq!(signed(json!({"hmac_sha256": {"header": "x-sig", "secrets": ["one", "two"]}})), plain);
    let mut with_clock = plain.clone();
    *with_clock.imports.entry("proxy_get_current_time_nanoseconds").or_default() += 1;
    let timestamp = json!({"header": "x-sig", "timestamp": {"prefix": "t="}, "secrets": ["one"]});
    assert_eq!(signed(json!({ "hmac_sha256": timestamp })), with_clock);
    assert_eq!(signed(json!({"standard_webhooks": {"secrets": ["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]}})), with_clock);
}

#[test]
fn a_request_that_is_sampled_out_costs_one_look_and_two_statistics() {
    for sample in [json!({"percent": 0.000_001}), json!({"percent": 0.000_001, "key": {"header": "x-user"}})] {
        let all_features = json!({
            "sample": sample,
            "after": "response",
            "request": {"body": {"template": {"a": "${now} ${property:xds.route_name}"}}},
            "compare": {},
        });
        let (host, worker) = warm(&audit_with(&all_features));
        let mut tally = host.tally(|| worker.exchange(&order()));
        tally.imports.remove("random_get");
        assert_eq!((tally.of("proxy_get_header_map_pairs"), tally.of("proxy_increment_metric")), (1, 2));
        assert_eq!(tally.host_calls(), 3, "{tally:?}");
        assert_eq!((host.stat("audit", "matched"), host.stat("audit", "sampled_out")), (2, 2));
        assert_balanced(&host, "audit");
    }
}

#[test]
fn thirty_two_targets_share_what_is_read() {
    let shaped = json!({"request": {"path": "/o/${body:/id}", "headers": {"set": {"x-route": "${property:xds.route_name}"}}}});
    let list: Vec<Value> = (0..32).map(|number| with(target(&format!("t{number}")), &shaped)).collect();
    let tally = cost_of(&targets(&list));
    let shared = ["proxy_get_header_map_pairs", "proxy_get_buffer_bytes", "proxy_get_property", "clock_time_get"];
    assert_eq!(shared.map(|import| tally.of(import)), [1; 4], "{tally:?}");
    assert_eq!((tally.of("proxy_http_call"), tally.of("proxy_increment_metric")), (32, 3 * 32));
    assert_eq!(tally.host_calls(), 4 + 32 + 3 * 32 + 32, "what else is read is the breakers' records: {tally:?}");
}

#[test]
fn properties_are_read_only_for_those_who_name_them_and_want_the_request() {
    let names = |expression: &str| json!({"request": {"headers": {"set": {"x-seen": expression}}}});
    let route = names("${property:xds.route_name} ${property:source.port} ${property:connection.mtls} ${property:xds.none}");
    let wants = |methods: Value| json!({"match": [{"methods": methods}]});
    let (host, worker) = mirroring_with(&targets(&[
        with(target("all"), &with(route, &wants(json!(["POST"])))),
        with(target("route"), &with(names("${property:xds.route_name}"), &wants(json!(["POST", "GET"])))),
        with(target("plain"), &names("plain")),
    ]));
    let request = |method| {
        let request = Request::new(method, "/").property(&["xds", "route_name"], "r1");
        request.property(&["source", "port"], 4711).property(&["connection", "mtls"], true)
    };
    let seen = |worker: &Worker| {
        let calls = worker.call_outs();
        calls.iter().for_each(|call| call.answer(Answer::upstream(200)));
        calls.iter().map(|call| call.header("x-seen").unwrap().to_owned()).collect::<Vec<_>>()
    };
    let tally = host.tally(|| worker.exchange(&request("POST")));
    assert_eq!((tally.of("proxy_get_property"), seen(&worker)), (4, ["r1 4711 true", "r1", "plain"].map(str::to_owned).to_vec()));
    worker.exchange(&request("GET"));
    assert_eq!(seen(&worker), ["r1", "plain"]);
    let tally = host.tally(|| worker.exchange(&request("PUT")));
    assert_eq!((tally.of("proxy_get_property"), seen(&worker)), (0, vec!["plain".to_owned()]));
    // A host that refuses, or numbers that are none, leave the value out.
    host.fail("proxy_get_property", 0, u64::MAX, crate::host::Status::INTERNAL_FAILURE);
    worker.exchange(&request("POST"));
    host.heal();
    worker.exchange(&Request::post("/").property(&["source", "port"], "text"));
    assert_eq!(seen(&worker), ["", "", "plain", "", "", "plain"]);
    ["all", "route", "plain"].iter().for_each(|name| assert_balanced(&host, name));
}

#[test]
fn an_item_of_a_batch_costs_less_than_a_call() {
    let batch = json!({"batch": {"max_items": 100, "max_delay": "1h"}});
    // Nothing is counted: that is done for many items at once. The time is read where that of each counts.
    let timed = [
        (json!({}), None),
        (json!({"limits": {"rate": {"per_second": 1_000}}}), Some("clock_time_get")),
        (json!({"dead_letter": {"cluster": "dlq"}}), Some("clock_time_get")),
        (json!({"request": {"body": {"template": "${now}"}}}), Some("proxy_get_current_time_nanoseconds")),
    ];
    for (more, clock) in timed {
        let expected = [Some("proxy_get_header_map_pairs"), Some("proxy_get_buffer_bytes"), clock];
        let expected = expected.into_iter().flatten().map(|import| (import, 1)).collect();
        assert_eq!(cost_of(&audit_with(&with(batch.clone(), &more))).imports, expected, "{more}");
    }
    let (host, worker) = warm(&audit_with(&batch));
    let of_many = host.tally(|| (1..100).for_each(|_| worker.exchange(&order())));
    // Those that came first are matched, queued and hold bytes; so are those after them, of which one is queued before; then all wait no
    // longer, and there is an attempt, which is under way.
    assert_eq!(of_many.of("proxy_increment_metric"), 3 + 5 + 2 + 2, "{of_many:?}");
    assert_eq!(of_many.of("proxy_http_call"), 1);
}

#[test]
fn a_body_that_cannot_be_read_is_no_attempt_and_no_probe() {
    let (host, worker) = mirroring_with(&audit_with(&json!({
        "request": {"body": {"redact": ["/id"]}},
        "circuit_breaker": {"consecutive_failures": 1, "open_for": "1s", "half_open": {"probes": 1, "successes": 1}},
    })));
    worker.exchange(&order());
    worker.call_out().answer(Answer::upstream(503));
    host.advance(Duration::from_secs(1));
    worker.exchange(&Request::post("/").body("no json"));
    assert_eq!((host.stat("audit", "attempts"), host.stat("audit", "dropped.body_not_json")), (1, 1));
    worker.exchange(&order());
    worker.call_out().answer(Answer::upstream(200));
    assert_eq!((host.stat("audit", "breaker.state"), host.stat("audit", "delivered")), (0, 1));
    assert_balanced(&host, "audit");
}
