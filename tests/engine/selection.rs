//! Which requests a target gets.

use crate::{
    configurations::{assert_balanced, audit_with, dropped, mirroring, mirroring_with, target, targets, with},
    host::{Answer, Request, Response, Worker},
};
use serde_json::{json, Value};

/// The clusters that get a copy of this request.
fn copied_to(worker: &Worker, request: &Request) -> Vec<String> {
    worker.exchange(request);
    let calls = worker.call_outs();
    calls.iter().map(|call| call.cluster().to_owned()).collect()
}

/// Whether a target with these rules gets this request.
fn wanted(rules: &Value, request: &Request) -> bool {
    let (host, worker) = mirroring_with(&audit_with(&json!({ "match": rules })));
    let copied = !copied_to(&worker, request).is_empty();
    assert_eq!(host.stat("audit", "matched"), i64::from(copied));
    copied
}

#[test]
fn rules_look_at_method_path_and_headers() {
    let order = Request::post("/orders/7?dry=1").header("content-type", "application/json; charset=utf-8");
    let yes = [
        json!([{"methods": ["PUT", "POST"]}]),
        json!([{"path": {"prefix": "/orders"}}]),
        json!([{"path": {"exact": "/orders/7"}}]),
        json!([{"path": {"regex": "^/orders/[0-9]+$"}}]),
        json!([{"headers": [{"name": "content-type", "prefix": "application/json"}]}]),
        json!([{"headers": [{"name": "content-type", "suffix": "utf-8"}]}]),
        json!([{"headers": [{"name": "content-type", "present": true}]}]),
        json!([{"methods": ["GET"]}, {"path": {"prefix": "/orders"}}]),
    ];
    for rules in yes {
        assert!(wanted(&rules, &order), "{rules}");
    }
    let no = [
        json!([{"methods": ["PUT"]}]),
        json!([{"path": {"prefix": "/Orders"}}]),
        json!([{"path": {"exact": "/orders"}}]),
        json!([{"headers": [{"name": "content-type", "exact": "application/json"}]}]),
        json!([{"headers": [{"name": "x-missing", "present": true}]}]),
        json!([{"methods": ["POST"], "path": {"prefix": "/carts"}}]),
    ];
    for rules in no {
        assert!(!wanted(&rules, &order), "{rules}");
    }
}

#[test]
fn each_target_has_its_own_rules() {
    let reads = with(target("reads"), &json!({"match": [{"methods": ["GET"]}]}));
    let writes = with(target("writes"), &json!({"match": [{"methods": ["POST"]}]}));
    let (host, worker) = mirroring_with(&targets(&[reads, writes, target("all")]));
    assert_eq!(copied_to(&worker, &Request::get("/")), ["reads", "all"]);
    assert_eq!(copied_to(&worker, &Request::post("/").body("x")), ["writes", "all"]);
    assert_eq!(host.stat("reads", "matched"), 1);
    assert_eq!(host.stat("all", "matched"), 2);
}

#[test]
fn tunnels_are_left_alone() {
    let (host, worker) = mirroring();
    let tunnels = [
        Request::new("CONNECT", "/"),
        Request::new("CONNECT", "/").without(":path").without(":scheme"),
        Request::new("CONNECT", "/chat").header(":protocol", "websocket"),
    ];
    for tunnel in tunnels {
        let stream = worker.begin(&tunnel, false);
        stream.chunk("frames", false);
        stream.close();
    }
    assert_eq!(worker.call_outs().len(), 0);
    assert_eq!(host.stat("audit", "matched"), 0);
}

fn upgrade(method: &str) -> Request {
    Request::new(method, "/chat").header("connection", "Upgrade").header("upgrade", "websocket")
}

#[test]
fn an_upgrade_that_the_primary_takes_is_left_alone() {
    let (host, worker) = mirroring();
    let stream = worker.begin(&upgrade("GET"), false);
    stream.begin_answer(&Response::status(101), false);
    stream.chunk("frames", false);
    stream.answer_chunk("frames", false);
    stream.close();
    assert_eq!((worker.call_outs().len(), host.stat("audit", "matched")), (0, 0));
}

#[test]
fn an_upgrade_that_the_primary_answers_like_any_request_is_copied() {
    let (host, worker) = mirroring();
    let stream = worker.begin(&upgrade("GET"), false);
    stream.answer(&Response::status(200));
    stream.close();
    let call = worker.call_out();
    assert_eq!((call.header("upgrade"), call.header(":path")), (None, Some("/chat")));
    call.answer(Answer::upstream(200));
    assert_eq!((host.stat("audit", "matched"), host.stat("audit", "delivered")), (1, 1));
    assert_balanced(&host, "audit");
}

#[test]
fn an_upgrade_whose_body_was_not_kept_or_whose_client_left_is_counted() {
    let (host, worker) = mirroring();
    let stream = worker.begin(&upgrade("POST").header("content-length", "3"), false);
    stream.chunk("abc", false);
    stream.answer(&Response::status(200));
    stream.close();
    worker.begin(&upgrade("GET"), false).close();
    assert_eq!((worker.call_outs().len(), host.stat("audit", "matched")), (0, 2));
    let expected = [("answered_early".to_owned(), 1), ("truncated".to_owned(), 1)];
    assert_eq!(dropped(&host, "audit"), expected);
    assert_balanced(&host, "audit");
}

#[test]
fn after_many_unwanted_requests_the_path_is_read_alone() {
    let rules = json!({"match": [{"methods": ["POST"], "path": {"prefix": "/orders"}}, {"path": {"exact": "/pay"}}]});
    let (host, worker) = mirroring_with(&audit_with(&rules));
    let read = |request: &Request| {
        let tally = host.tally(|| worker.exchange(request));
        worker.answer_all(&Answer::upstream(200));
        (tally.of("proxy_get_header_map_pairs"), tally.of("proxy_get_header_map_value"))
    };
    let unwanted = Request::get("/health?orders");
    for _ in 0..16 {
        assert_eq!(read(&unwanted), (1, 0));
    }
    assert_eq!(read(&unwanted), (0, 1));
    // A request that is wanted is mirrored as ever. After it, all headers are read at once again.
    assert_eq!(read(&Request::post("/orders/7")), (1, 1));
    assert_eq!(read(&Request::get("/pay")), (1, 0));
    assert_eq!(host.stat("audit", "delivered"), 2);
    // The path of this one is that of a rule, but no target wants it.
    for _ in 0..16 {
        assert_eq!(read(&Request::get("/orders")), (1, 0));
    }
    assert_eq!(read(&Request::get("/orders")), (1, 1));
    assert_eq!(read(&Request::get("/orders")), (1, 0));
    assert_eq!(host.stat("audit", "matched"), 2);
}

#[test]
fn a_target_that_follows_another_does_not_make_all_headers_be_read() {
    let rules = json!({"match": [{"path": {"exact": "/pay"}}]});
    let list = targets(&[with(target("audit"), &rules), with(target("mail"), &json!({"after": {"target": "audit"}}))]);
    let (host, worker) = mirroring_with(&list);
    let read = || {
        let tally = host.tally(|| worker.exchange(&Request::get("/")));
        (tally.of("proxy_get_header_map_pairs"), tally.of("proxy_get_header_map_value"))
    };
    assert_eq!([(); 17].map(|()| read()), [[(1, 0); 16].as_slice(), &[(0, 1)]].concat()[..]);
}

#[test]
fn the_path_is_not_read_alone_where_it_does_not_decide() {
    let rules = json!({"match": [{"path": {"exact": "/pay"}}, {"methods": ["PUT"]}]});
    let (host, worker) = mirroring_with(&audit_with(&rules));
    for _ in 0..40 {
        let tally = host.tally(|| worker.exchange(&Request::get("/")));
        assert_eq!((tally.of("proxy_get_header_map_pairs"), tally.of("proxy_get_header_map_value")), (1, 0));
    }
    worker.exchange(&Request::new("PUT", "/"));
    assert_eq!(host.stat("audit", "matched"), 1);
}
