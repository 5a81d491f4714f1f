//! Copies that wait for the copies of other targets: what follows from which end, and that nothing else does.

use crate::{
    configurations::{assert_balanced, dropped, mirroring_with, only, target, targets, unexpected, with},
    host::{Answer, Host, Request, Response, Status, Worker},
};
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// A target that follows another.
pub(crate) fn follower(name: &str, leader: &str, fields: &Value) -> Value {
    let after = with(json!({ "target": leader }), &fields["after"].clone().as_object().map_or(json!({}), |after| json!(after)));
    let mut all = with(target(name), fields);
    all["after"] = after;
    all
}

/// It follows if the other one is given up.
pub(crate) fn given_up() -> Value {
    json!({"after": {"outcome": "given_up"}})
}

fn order(number: usize) -> Request {
    Request::post("/orders").header("x-request-id", format!("order-{number}")).body(r#"{"order": 7}"#)
}

/// The names of the clusters that are called, and then answered with this.
fn answer_next(worker: &Worker, answer: &Answer) -> Vec<String> {
    let calls = worker.call_outs();
    let clusters = calls.iter().map(|call| call.cluster().to_owned()).collect();
    calls.iter().for_each(|call| call.answer(answer.clone()));
    clusters
}

/// Payment, what follows from its ends, and what follows from that.
fn tree() -> Value {
    targets(&[
        follower("notification", "inventory", &json!({})),
        follower("inventory", "payment", &json!({})),
        follower("refund", "inventory", &given_up()),
        follower("cancellation", "payment", &given_up()),
        follower("conflict", "payment", &json!({"after": {"statuses": ["409"]}})),
        with(target("payment"), &json!({"success": ["2xx"]})),
    ])
}

/// What is called in turn if each of the calls in turn gets one of these answers.
fn course(configuration: &Value, answers: &[Answer]) -> (Host, Vec<Vec<String>>) {
    let (host, worker) = mirroring_with(configuration);
    worker.exchange(&order(1));
    let mut called: Vec<_> = answers.iter().map(|answer| answer_next(&worker, answer)).collect();
    called.push(worker.call_outs().iter().map(|call| call.cluster().to_owned()).collect());
    for target in configuration["targets"].as_array().unwrap() {
        assert_balanced(&host, target["name"].as_str().unwrap());
    }
    assert_eq!(unexpected(&host), 0);
    (host, called)
}

/// The answers of the calls in turn, the clusters that are called in turn, and the targets that get nothing.
type Course<'a> = (&'a [Answer], &'a [&'a [&'a str]], &'a [&'a str]);

#[test]
fn each_end_has_its_followers_and_no_others() {
    let ok = || Answer::upstream(200);
    let cases: [Course<'_>; 5] = [
        (&[ok(), ok(), ok()], &[&["payment"], &["inventory"], &["notification"], &[]], &["refund", "cancellation", "conflict"]),
        (
            &[ok(), Answer::upstream(404), ok()],
            &[&["payment"], &["inventory"], &["refund"], &[]],
            &["notification", "cancellation", "conflict"],
        ),
        (
            &[Answer::upstream(402), ok()],
            &[&["payment"], &["cancellation"], &[]],
            &["inventory", "notification", "refund", "conflict"],
        ),
        (
            &[Answer::upstream(409), ok()],
            &[&["payment"], &["cancellation", "conflict"], &[]],
            &["inventory", "notification", "refund"],
        ),
        (&[Answer::reset(), ok()], &[&["payment"], &["cancellation"], &[]], &["inventory", "notification", "refund", "conflict"]),
    ];
    for (answers, expected, not_triggered) in cases {
        let (host, called) = course(&tree(), answers);
        assert_eq!(called, expected, "{answers:?}");
        for name in ["inventory", "notification", "refund", "cancellation", "conflict"] {
            let counts = ["matched", "not_triggered"].map(|metric| host.stat(name, metric));
            assert_eq!(counts, [1, i64::from(not_triggered.contains(&name))], "{name} after {answers:?}");
            let refused = name == "inventory" && answers.len() > 1 && called[1] == ["inventory"] && called[2] == ["refund"];
            assert_eq!(dropped(&host, name), if refused { only("not_retryable", 1) } else { vec![] }, "{name}");
        }
    }
}

#[test]
fn a_follower_begins_after_the_last_attempt_of_its_leader() {
    let retry =
        json!({"retry": {"max_attempts": 3, "backoff": {"base": "10ms", "max": "10ms"}}, "dead_letter": {"cluster": "letters"}});
    let list = targets(&[
        with(target("payment"), &retry),
        follower("refund", "payment", &given_up()),
        follower("inventory", "payment", &json!({})),
    ]);
    let (host, worker) = mirroring_with(&list);
    worker.exchange(&order(1));
    for _ in 0..2 {
        assert_eq!(answer_next(&worker, &Answer::upstream(503)), ["payment"]);
        assert!(worker.call_outs().is_empty());
        worker.pass(&host, Duration::from_millis(20));
    }
    assert_eq!(answer_next(&worker, &Answer::upstream(503)), ["payment"]);
    // The letter and the follower are of the same moment.
    let mut called = answer_next(&worker, &Answer::upstream(200));
    called.sort();
    assert_eq!(called, ["letters", "refund"]);
    assert_eq!(
        (host.stat("payment", "dead_lettered"), host.stat("refund", "delivered"), host.stat("inventory", "not_triggered")),
        (1, 1, 1)
    );
    ["payment", "refund", "inventory"].iter().for_each(|name| assert_balanced(&host, name));
}

#[test]
fn a_follower_has_the_request_and_retries_and_letters_of_its_own() {
    let own = json!({"retry": {"max_attempts": 2, "backoff": {"base": "10ms", "max": "10ms"}}, "dead_letter": {"cluster": "letters"},
        "request": {"method": "PUT", "path": "/reservations", "body": {"template": {"of": "${body:/order}"}}}});
    let (host, worker) = mirroring_with(&targets(&[target("payment"), follower("inventory", "payment", &own)]));
    worker.exchange(&order(1));
    answer_next(&worker, &Answer::upstream(200));
    for _ in 0..2 {
        let call = worker.call_out();
        assert_eq!(
            (call.header(":method"), call.header(":path"), call.body()),
            (Some("PUT"), Some("/reservations"), &br#"{"of":7}"#[..])
        );
        assert_eq!(call.header("x-request-id"), Some("order-1"));
        call.answer(Answer::timeout());
        worker.pass(&host, Duration::from_millis(20));
    }
    let letter = worker.call_out();
    assert_eq!(letter.cluster(), "letters");
    let text: Value = serde_json::from_slice(letter.body()).unwrap();
    assert_eq!((&text["target"], &text["request"]["body"]), (&json!("inventory"), &json!(r#"{"of":7}"#)));
    letter.answer(Answer::upstream(200));
    assert_eq!((host.stat("payment", "delivered"), host.stat("inventory", "dead_lettered")), (1, 1));
    ["payment", "inventory"].iter().for_each(|name| assert_balanced(&host, name));
}

#[test]
fn a_leader_that_is_given_up_before_an_attempt_counts_as_given_up() {
    let rate = json!({"limits": {"rate": {"per_second": 1, "burst": 1}}});
    let full = json!({"limits": {"max_in_flight": 1, "max_queued": 0}});
    for (limits, reason) in [(&rate, "rate_limited"), (&full, "queue_full")] {
        let list = targets(&[
            with(target("payment"), limits),
            follower("cancellation", "payment", &given_up()),
            follower("refused", "payment", &json!({"after": {"outcome": "given_up", "statuses": ["5xx", "reset", "timeout"]}})),
        ]);
        let (host, worker) = mirroring_with(&list);
        worker.send(&order(1));
        let first = worker.call_outs();
        worker.send(&order(2));
        assert_eq!(dropped(&host, "payment"), only(reason, 1));
        let calls = worker.call_outs();
        let called: Vec<_> = calls.iter().map(|call| (call.cluster(), call.header("x-request-id"))).collect();
        assert_eq!(called, [("cancellation", Some("order-2"))], "{reason}");
        first.iter().chain(&calls).for_each(|call| call.answer(Answer::upstream(200)));
        assert_eq!((host.stat("cancellation", "not_triggered"), host.stat("refused", "not_triggered")), (1, 2));
        ["payment", "cancellation", "refused"].iter().for_each(|name| assert_balanced(&host, name));
    }
}

#[test]
fn a_cluster_that_is_unknown_is_an_end_too() {
    let (host, worker) = mirroring_with(&targets(&[target("payment"), follower("cancellation", "payment", &given_up())]));
    host.refuse_calls_to("payment", Status::BAD_ARGUMENT);
    worker.exchange(&order(1));
    assert_eq!(answer_next(&worker, &Answer::upstream(200)), ["cancellation"]);
    assert_eq!(host.stat("cancellation", "delivered"), 1);
}

#[test]
fn only_what_the_leader_gets_is_considered_for_a_follower() {
    let list = targets(&[
        with(target("payment"), &json!({"match": [{"methods": ["POST"], "path": {"exact": "/orders"}}]})),
        follower("all", "payment", &json!({})),
        follower("gifts", "payment", &json!({"match": [{"headers": [{"name": "x-gift", "present": true}]}]})),
        follower("none", "gifts", &json!({"except": [{"methods": ["POST"]}]})),
        follower("last", "none", &json!({})),
    ]);
    let (host, worker) = mirroring_with(&list);
    worker.exchange(&Request::get("/orders"));
    worker.exchange(&Request::get("/").header("x-gift", "1"));
    for name in ["payment", "all", "gifts", "none", "last"] {
        assert_eq!(host.stat(name, "matched"), 0, "{name}");
    }
    worker.exchange(&order(1));
    worker.exchange(&order(2).header("x-gift", "1"));
    assert_eq!(answer_next(&worker, &Answer::upstream(200)), ["payment", "payment"]);
    assert_eq!(answer_next(&worker, &Answer::upstream(200)), ["all", "all", "gifts"]);
    assert!(worker.call_outs().is_empty());
    assert_eq!(["payment", "all", "gifts", "none", "last"].map(|name| host.stat(name, "matched")), [2, 2, 1, 0, 0]);
    ["payment", "all", "gifts", "none", "last"].iter().for_each(|name| assert_balanced(&host, name));
}

#[test]
fn a_body_can_decide_about_a_leader_and_a_follower() {
    let of = |kind: &str| json!({"match": [{"body": [{"pointer": "/kind", "exact": kind}]}]});
    let list = targets(&[
        follower("large", "payment", &json!({"match": [{"body": [{"pointer": "/large", "exact": true}]}]})),
        follower("any", "payment", &json!({})),
        with(target("payment"), &of("order")),
        follower("after_large", "large", &json!({})),
    ]);
    for (body, wanted) in [
        (r#"{"kind": "offer", "large": true}"#, [0, 0, 0, 0]),
        (r#"{"kind": "order", "large": true}"#, [1, 1, 1, 1]),
        (r#"{"kind": "order", "large": false}"#, [1, 1, 0, 0]),
    ] {
        let (host, worker) = mirroring_with(&list);
        worker.exchange(&Request::post("/").body(body));
        while worker.answer_all(&Answer::upstream(200)) > 0 {}
        assert_eq!(["payment", "any", "large", "after_large"].map(|name| host.stat(name, "matched")), wanted, "{body}");
        assert_eq!(["payment", "any", "large", "after_large"].map(|name| host.stat(name, "delivered")), wanted, "{body}");
    }
    // A body that cannot be read decides nothing. All that ask it lose the request.
    let (host, worker) = mirroring_with(&list);
    worker.exchange(&Request::post("/").body("{"));
    for name in ["payment", "any", "large", "after_large"] {
        assert_eq!((host.stat(name, "matched"), dropped(&host, name)), (1, only("body_not_json", 1)), "{name}");
        assert_balanced(&host, name);
    }
}

#[test]
fn a_sample_of_the_leader_leaves_its_followers_out() {
    let key = |percent: f64| json!({"sample": {"percent": percent, "key": {"header": "x-request-id"}}});
    let list = targets(&[
        with(target("payment"), &key(50.0)),
        follower("inventory", "payment", &json!({})),
        follower("half", "payment", &json!({"sample": {"percent": 50}})),
    ]);
    let (host, worker) = mirroring_with(&list);
    (0..200).for_each(|number| worker.exchange(&order(number)));
    while worker.answer_all(&Answer::upstream(200)) > 0 {}
    let of = |name: &str| ["matched", "sampled_out", "delivered"].map(|metric| host.stat(name, metric));
    let ([matched, out, delivered], followed) = (of("payment"), of("inventory"));
    assert_eq!((matched, out + delivered), (200, 200));
    assert!((60..140).contains(&delivered), "{delivered}");
    assert_eq!(followed, [delivered, 0, delivered]);
    let [of_half, half_out, _] = of("half");
    assert!(of_half == delivered && half_out > 0 && half_out < delivered, "{:?}", of("half"));
    ["payment", "inventory", "half"].iter().for_each(|name| assert_balanced(&host, name));
}

#[test]
fn what_cannot_be_copied_is_lost_for_followers_too() {
    let list = with(
        targets(&[target("payment"), follower("inventory", "payment", &given_up())]),
        &json!({"limits": {"max_body_bytes": 100}}),
    );
    let (host, worker) = mirroring_with(&list);
    worker.exchange(&Request::post("/").body("x".repeat(101)));
    let stream = worker.begin(&Request::post("/"), false);
    stream.chunk("half", false);
    stream.client_resets();
    for name in ["payment", "inventory"] {
        assert_eq!(dropped(&host, name), [("body_too_large".to_owned(), 1), ("truncated".to_owned(), 1)], "{name}");
        assert_balanced(&host, name);
    }
}

#[test]
fn a_request_that_is_answered_early_goes_to_those_that_need_no_body() {
    let bodiless = json!({"request": {"body": {"omit": true}}});
    let list = targets(&[
        with(target("payment"), &bodiless),
        follower("inventory", "payment", &bodiless),
        follower("shelf", "payment", &json!({})),
        follower("after_shelf", "shelf", &bodiless),
    ]);
    let (host, worker) = mirroring_with(&list);
    let stream = worker.begin(&Request::post("/"), false);
    stream.chunk("half", false);
    stream.answer(&Response::status(200));
    stream.close();
    assert_eq!(answer_next(&worker, &Answer::upstream(200)), ["payment"]);
    assert_eq!(answer_next(&worker, &Answer::upstream(200)), ["inventory"]);
    for name in ["shelf", "after_shelf"] {
        assert_eq!(dropped(&host, name), only("answered_early", 1));
    }
    ["payment", "inventory", "shelf", "after_shelf"].iter().for_each(|name| assert_balanced(&host, name));
}

#[test]
fn a_condition_that_did_not_come_true_is_no_loss_though_the_body_never_came() {
    let list = targets(&[with(target("inventory"), &json!({"after": "response"})), follower("mail", "inventory", &json!({}))]);
    let (host, worker) = mirroring_with(&list);
    let stream = worker.begin(&Request::post("/"), false);
    stream.chunk("half", false);
    stream.answer(&Response::status(404));
    stream.close();
    for name in ["inventory", "mail"] {
        assert_eq!((host.stat(name, "not_triggered"), dropped(&host, name)), (1, vec![]), "{name}");
        assert_balanced(&host, name);
    }
}

#[test]
fn a_follower_that_needs_the_body_loses_nothing_if_its_leader_waits_for_another_status() {
    let list = targets(&[
        with(target("inventory"), &json!({"after": "response", "request": {"body": {"omit": true}}})),
        follower("mail", "inventory", &json!({})),
    ]);
    for (status, not_triggered, lost) in [(404, 1, vec![]), (200, 0, only("answered_early", 1))] {
        let (host, worker) = mirroring_with(&list);
        let stream = worker.begin(&Request::post("/"), false);
        stream.chunk("half", false);
        stream.answer(&Response::status(status));
        stream.close();
        worker.answer_all(&Answer::upstream(200));
        assert_eq!((host.stat("mail", "not_triggered"), dropped(&host, "mail")), (not_triggered, lost), "{status}");
        ["inventory", "mail"].iter().for_each(|name| assert_balanced(&host, name));
    }
}

#[test]
fn a_leader_without_room_ends_its_chain_too() {
    let chain = [target("payment"), follower("refund", "payment", &given_up()), follower("mail", "payment", &json!({}))];
    let list = with(
        targets(&[&["a", "b"].map(target)[..], &chain].concat()),
        &json!({"limits": {"max_body_bytes": 4_000, "max_buffered_bytes": 10_000}}),
    );
    let (host, worker) = mirroring_with(&list);
    worker.exchange(&Request::post("/").body("x".repeat(4_000)));
    // The copies for the first two take all the room.
    assert_eq!(["a", "b", "payment"].map(|name| host.stat(name, "attempts")), [1, 1, 0]);
    assert_eq!((dropped(&host, "payment"), dropped(&host, "refund")), (only("buffer_full", 1), only("buffer_full", 1)));
    assert_eq!(host.stat("mail", "not_triggered"), 1);
    worker.answer_all(&Answer::upstream(200));
    ["a", "b", "payment", "refund", "mail"].iter().for_each(|name| assert_balanced(&host, name));
}

#[test]
fn a_chain_can_begin_with_the_primary_and_with_its_failure() {
    let list = targets(&[
        with(target("inventory"), &json!({"after": "response"})),
        follower(
            "notification",
            "inventory",
            &json!({"request": {"headers": {"set": {"x-location": "${response:header:location}"}}}}),
        ),
        with(target("cancellation"), &json!({"after": "response", "statuses": ["4xx", "5xx", "reset", "timeout"]})),
        follower("apology", "cancellation", &json!({})),
    ]);
    let failures = [
        Response::status(404),
        Response::status(500),
        Response::connect_failure(),
        Response::reset_before_headers(),
        Response::timeout(),
    ];
    for failure in failures {
        let (host, worker) = mirroring_with(&list);
        worker.exchange(&order(1).answer(failure.clone()));
        assert_eq!(answer_next(&worker, &Answer::upstream(200)), ["cancellation"], "{failure:?}");
        assert_eq!(answer_next(&worker, &Answer::upstream(200)), ["apology"]);
        assert_eq!(["inventory", "notification"].map(|name| host.stat(name, "not_triggered")), [1, 1]);
        ["inventory", "notification", "cancellation", "apology"].iter().for_each(|name| assert_balanced(&host, name));
    }
    let (host, worker) = mirroring_with(&list);
    worker.exchange(&order(1).answer(Response::status(201).header("location", "/orders/7")));
    assert_eq!(answer_next(&worker, &Answer::upstream(200)), ["inventory"]);
    let call = worker.call_out();
    assert_eq!((call.cluster(), call.header("x-location")), ("notification", Some("/orders/7")));
    call.answer(Answer::upstream(200));
    assert_eq!(["cancellation", "apology"].map(|name| host.stat(name, "not_triggered")), [1, 1]);
    // Of a client that left, nothing is known.
    worker.send(&order(2)).client_resets();
    assert!(worker.call_outs().is_empty());
    assert_eq!(
        ["cancellation", "apology", "inventory", "notification"].map(|name| host.stat(name, "not_triggered")),
        [2, 2, 1, 1]
    );
    ["inventory", "notification", "cancellation", "apology"].iter().for_each(|name| assert_balanced(&host, name));
}

/// The keys of the copies of a request to payment, refund and the letter that follows, if payment refuses it.
fn keys(worker: &Worker, request: &Request) -> [String; 2] {
    worker.exchange(request);
    [402, 200].map(|status| {
        let call = worker.call_out();
        let key = call.header("idempotency-key").unwrap().to_owned();
        assert!(call.headers().iter().filter(|(name, _)| name == b"idempotency-key").count() == 1);
        call.answer(Answer::upstream(status));
        key
    })
}

#[test]
fn a_repeated_chain_has_the_same_keys_and_no_key_is_anothers() {
    let fields = [
        json!({}),
        json!({"request": {"headers": {"set": {"x-a": "b"}}}}),
        json!({"request": {"headers": {"forward": ["idempotency-key"]}}}),
    ];
    for fields in fields {
        let list = targets(&[with(target("payment"), &fields), follower("refund", "payment", &with(given_up(), &fields))]);
        let (_host, worker) = mirroring_with(&list);
        let [payment, refund] = keys(&worker, &order(1).header("idempotency-key", "k-1"));
        assert_eq!(payment, "k-1");
        assert_ne!(refund, payment);
        assert_eq!(uuid::Uuid::parse_str(&refund).unwrap().get_version_num(), 8);
        assert_eq!(keys(&worker, &order(2).header("idempotency-key", "k-1")), [payment, refund.clone()]);
        assert_ne!(keys(&worker, &order(2).header("idempotency-key", "k-2"))[1], refund);
        // Without a key of the client, each request is a chain of its own.
        let [one, other] = [order(3), order(3)].map(|order| keys(&worker, &order));
        assert!(one.iter().all(|key| !other.contains(key)), "{one:?} {other:?}");
    }
}

#[test]
fn followers_read_the_answers_of_all_that_they_follow() {
    let set = json!({"request": {"headers": {"set": {
        "x-charge": "${target:payment:status} ${target:payment:header:x-charge}", "x-shelf": "${target:inventory:status}${target:inventory:header:x-charge}"}}}});
    let list = targets(&[
        target("payment"),
        follower("inventory", "payment", &json!({})),
        follower("refund", "inventory", &with(given_up(), &set)),
    ]);
    let (host, worker) = mirroring_with(&list);
    worker.exchange(&order(1));
    answer_next(&worker, &Answer::upstream(201).header("x-charge", "ch_1").header("x-other", "1"));
    answer_next(&worker, &Answer::upstream(404).header("x-charge", "none"));
    let call = worker.call_out();
    assert_eq!((call.header("x-charge"), call.header("x-shelf")), (Some("201 ch_1"), Some("404none")));
    call.answer(Answer::upstream(200));
    // A call that timed out has no answer.
    worker.exchange(&order(2));
    answer_next(&worker, &Answer::upstream(200));
    answer_next(&worker, &Answer::timeout());
    let call = worker.call_out();
    assert_eq!((call.header("x-charge"), call.header("x-shelf")), (Some("200"), Some("")));
    call.answer(Answer::upstream(200));
    ["payment", "inventory", "refund"].iter().for_each(|name| assert_balanced(&host, name));
}

#[test]
fn a_drain_lets_chains_end_and_gives_them_up_when_its_time_is_over() {
    let list = with(tree(), &json!({"drain_timeout": "3s"}));
    let (host, worker) = mirroring_with(&list);
    worker.exchange(&order(1));
    let root = worker.root();
    worker.shut_down();
    assert_eq!(answer_next(&worker, &Answer::upstream(200)), ["payment"]);
    assert_eq!(answer_next(&worker, &Answer::upstream(404)), ["inventory"]);
    assert!(!worker.is_deleted(root));
    assert_eq!(answer_next(&worker, &Answer::upstream(200)), ["refund"]);
    assert!(worker.is_deleted(root));

    let (host_of_late, worker) = mirroring_with(&list);
    worker.exchange(&order(1));
    let root = worker.root();
    worker.shut_down();
    assert_eq!(answer_next(&worker, &Answer::upstream(200)), ["payment"]);
    let late = worker.call_out();
    worker.pass(&host_of_late, Duration::from_secs(4));
    assert!(late.is_cancelled() && worker.is_deleted(root) && worker.call_outs().is_empty());
    // The refund that follows from it is lost with it, by name.
    for name in ["inventory", "refund"] {
        assert_eq!(dropped(&host_of_late, name), only("shutdown", 1), "{name}");
    }
    for (host, name) in [&host, &host_of_late]
        .into_iter()
        .flat_map(|host| ["payment", "inventory", "refund", "notification", "cancellation", "conflict"].map(|name| (host, name)))
    {
        assert_balanced(host, name);
    }
}

/// Chains cost nothing where they are not used.
#[test]
fn a_target_beside_a_chain_makes_the_same_host_calls_and_the_module_is_entered_as_often() {
    let plain = with(target("audit"), &json!({"match": [{"path": {"exact": "/audit"}}]}));
    let only_orders = json!({"match": [{"path": {"exact": "/orders"}}]});
    let chain = [
        plain.clone(),
        with(target("payment"), &only_orders),
        follower("refund", "payment", &given_up()),
        follower("mail", "refund", &json!({})),
    ];
    let calls = |list: &[Value]| {
        let (host, worker) = mirroring_with(&targets(list));
        let exchange = || {
            worker.exchange(&Request::post("/audit").body("entry"));
            worker.answer_all(&Answer::upstream(200));
        };
        exchange();
        host.tally(exchange)
    };
    let tally = calls(&chain);
    assert!(tally.entries > 0 && tally.host_calls() > 0, "{tally:?}");
    assert_eq!(tally, calls(&[plain]));
}

#[test]
fn a_leader_that_is_given_up_before_a_retry_has_the_status_of_its_last_attempt() {
    let fields = json!({
        "retry": {"max_attempts": 2, "backoff": {"base": "10s", "max": "10s"}, "expire_after": "15s"},
        "circuit_breaker": {"consecutive_failures": 1, "open_for": "1h", "max_open_for": "1h"},
    });
    let set = json!({"request": {"headers": {"set": {"x-status": "<${target:payment:status}>"}}}});
    let list = targets(&[
        with(target("payment"), &fields),
        follower("refund", "payment", &with(json!({"after": {"outcome": "given_up", "statuses": ["503"]}}), &set)),
    ]);
    let (host, worker) = mirroring_with(&list);
    worker.exchange(&order(1));
    assert_eq!(answer_next(&worker, &Answer::upstream(503)), ["payment"]);
    worker.pass(&host, Duration::from_secs(20));
    assert_eq!((host.stat("payment", "attempts"), dropped(&host, "payment")), (1, only("circuit_open", 1)));
    let call = worker.call_out();
    assert_eq!((call.cluster(), call.header("x-status")), ("refund", Some("<503>")));
    call.answer(Answer::upstream(200));
    ["payment", "refund"].iter().for_each(|name| assert_balanced(&host, name));
}

/// What one callback leaves to the next keeps its order, also beside what comes in between.
#[test]
fn followers_that_wait_for_processing_time_keep_the_order_of_their_key() {
    let ordered = json!({"order": {"key": {"body": "/user"}}});
    let list = targets(&[target("payment"), follower("first", "payment", &ordered), follower("second", "payment", &ordered)]);
    let (host, worker) = mirroring_with(&with(list, &json!({"limits": {"max_work_bytes": "64KiB"}})));
    // To read the first takes more than a callback's share of work.
    for (number, size) in [(1, 20_000), (2, 0), (3, 20_000), (4, 0)] {
        let body = json!({"user": "alice", "text": "x".repeat(size)}).to_string();
        worker.exchange(&Request::post("/").header("x-request-id", format!("order-{number}")).body(body));
    }
    assert_eq!(answer_next(&worker, &Answer::upstream(200)), ["payment"; 4]);
    assert!(host.stat("second", "queued") > 0);
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for _ in 0..20 {
        worker.pass(&host, Duration::from_millis(2));
        for call in worker.call_outs() {
            seen.entry(call.cluster().to_owned()).or_default().push(call.header("x-request-id").unwrap().to_owned());
            call.answer(Answer::upstream(200));
        }
    }
    for name in ["first", "second"] {
        assert_eq!(seen[name], ["order-1", "order-2", "order-3", "order-4"], "{name}");
        assert_balanced(&host, name);
    }
}

#[test]
fn a_drain_gives_up_followers_that_wait_for_processing_time() {
    let fields = json!({"order": {"key": {"body": "/user"}}, "dead_letter": {"cluster": "letters", "on": ["shutdown"]}});
    let followers = ["first", "second", "third"].map(|name| follower(name, "payment", &fields));
    let list = targets(&[&[target("payment")][..], &followers].concat());
    let (host, worker) = mirroring_with(&with(list, &json!({"limits": {"max_work_bytes": "64KiB"}, "drain_timeout": "1ms"})));
    worker.exchange(&Request::post("/").body(json!({"user": "alice", "text": "x".repeat(20_000)}).to_string()));
    let call = worker.call_out();
    worker.shut_down();
    call.answer(Answer::upstream(200));
    assert!(worker.call_outs().is_empty());
    // The drain is over before the next callback.
    host.advance(Duration::from_millis(5));
    for _ in 0..20 {
        worker.pass(&host, Duration::from_millis(2));
        worker.answer_all(&Answer::upstream(200));
    }
    for name in ["first", "second", "third"] {
        assert_eq!((host.stat(name, "matched"), host.stat(name, "dead_lettered")), (1, 1), "{name}");
        assert_balanced(&host, name);
    }
}
