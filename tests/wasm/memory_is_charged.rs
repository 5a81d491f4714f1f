//! What is held is what is charged: the module's memory does not grow by more than the bound says, whatever is held.

use crate::gzip::gzip;
use crate::{
    configurations::{assert_balanced, dropped, target, targets, with},
    host::{Answer, Host, Level, Request, Response, Stream, Worker},
};
use serde_json::{json, Value};

const MIB: usize = 1 << 20;
/// The bound of these stories.
const BOUND: usize = 4 * MIB;
/// What an allocator needs besides, for each byte, and once: parts that are free between others, and what is read of a request in passing.
const ALLOWED: usize = 2 * BOUND + 6 * MIB;

fn answered(stream: Stream, response: &Response) {
    stream.answer(response);
    stream.close();
}

/// A worker with a target that has these fields.
fn bounded(fields: &Value) -> (Host, Worker) {
    let host = Host::new();
    host.set_log_level(Level::Critical);
    let limits = json!({"limits": {"max_buffered_bytes": BOUND}});
    let worker = host.worker(&with(targets(&[with(target("a"), fields)]), &limits));
    (host, worker)
}

/// Sends until nothing more is taken, and says by how much the memory grew.
fn grown(host: &Host, worker: &Worker, requests: usize, send: impl Fn(usize)) -> usize {
    let before = worker.memory_size();
    for number in 0..requests {
        send(number);
        // What Envoy was given is Envoy's.
        worker.call_outs();
    }
    assert!(dropped(host, "a").iter().any(|(reason, _)| reason == "buffer_full"), "{:?}", dropped(host, "a"));
    worker.memory_size() - before
}

fn retried() -> Value {
    json!({"limits": {"max_in_flight": 100_000, "max_queued": 100_000}, "retry": {}})
}

fn waiting() -> Value {
    json!({"limits": {"max_in_flight": 1, "max_queued": 100_000}})
}

#[test]
fn cookies_that_are_left_out_are_not_held() {
    for fields in [waiting(), retried()] {
        let (host, worker) = bounded(&fields);
        let request = Request::get("/").header("cookie", "x".repeat(30_000));
        let grown = grown(&host, &worker, 20_000, |_| worker.exchange(&request));
        // Without the cookie, thousands fit.
        assert!(host.stat("a", "queued") + host.stat("a", "inflight") > 2_000);
        assert!(grown < ALLOWED, "{grown}");
    }
}

#[test]
fn headers_that_are_held_are_charged() {
    let reads = json!({"request": {"headers": {"set": {"x-a": "${header:x-b}"}}}});
    for fields in [waiting(), with(waiting(), &reads), with(retried(), &reads)] {
        let (host, worker) = bounded(&fields);
        let request = Request::get("/").header("cookie", "x".repeat(30_000)).header("x-long", "y".repeat(20_000));
        let grown = grown(&host, &worker, 1_000, |_| worker.exchange(&request));
        assert!(grown < ALLOWED, "{fields}: {grown}");
    }
}

#[test]
fn many_small_headers_are_charged() {
    for fields in [waiting(), with(waiting(), &json!({"request": {"path": "/x"}}))] {
        let (host, worker) = bounded(&fields);
        let names: Vec<String> = (0..90).map(|number| format!("x-{number}")).collect();
        let request = names.iter().fold(Request::get("/"), |request, name| request.header(name, "1"));
        let grown = grown(&host, &worker, 10_000, |_| worker.exchange(&request));
        assert!(grown < ALLOWED, "{grown}");
    }
}

#[test]
fn items_of_a_batch_hold_what_is_left_of_a_body_and_no_more() {
    let body = gzip(format!(r#"{{"a":1}}{}"#, " ".repeat(MIB - 100)).as_bytes());
    let fields =
        json!({"batch": {"max_items": 10_000, "max_bytes": "64MiB", "max_delay": "20s"}, "limits": {"max_queued": 100_000}});
    let (_host, worker) = bounded(&fields);
    let before = worker.memory_size();
    for _ in 0..1_500 {
        worker.exchange(&Request::post("/").header("content-encoding", "gzip").body(&body));
    }
    let grown = worker.memory_size() - before;
    assert!(grown < ALLOWED, "{grown}");
}

#[test]
fn items_that_a_template_writes_are_charged() {
    let fields = json!({
        "batch": {"max_items": 10_000, "max_bytes": "64MiB", "max_delay": "20s"},
        "limits": {"max_queued": 100_000},
        "request": {"body": {"template": {"a": "${body_base64}", "b": "${body_text}"}}},
    });
    let (host, worker) = bounded(&fields);
    let grown = grown(&host, &worker, 2_000, |_| worker.exchange(&Request::post("/").body(vec![b'x'; 5_000])));
    assert!(grown < ALLOWED, "{grown}");
}

#[test]
fn uploads_that_are_half_sent_hold_what_is_charged() {
    for chunk in [700, 33_000] {
        let (host, worker) = bounded(&waiting());
        let mut streams = Vec::new();
        let before = worker.memory_size();
        for _ in 0..60 {
            let stream = worker.begin(&Request::post("/").header("cookie", "x".repeat(30_000)), false);
            for _ in 0..600_000 / chunk {
                stream.chunk(vec![b'x'; chunk], false);
            }
            streams.push(stream);
        }
        assert!(dropped(&host, "a").iter().all(|(reason, _)| reason == "buffer_full"));
        let grown = worker.memory_size() - before;
        assert!(grown < ALLOWED, "{chunk}: {grown}");
    }
}

#[test]
fn requests_that_are_complete_find_room_beside_uploads_that_are_not() {
    let (host, worker) = bounded(&json!({}));
    let mut streams = Vec::new();
    // Without a bound of their own, these fill all of the room.
    for _ in 0..260 {
        let stream = worker.begin(&Request::post("/"), false);
        stream.chunk(vec![b'x'; 16_000], false);
        stream.chunk(vec![b'x'; 500], false);
        streams.push(stream);
    }
    let before = host.stat("a", "dropped.buffer_full");
    assert!(before > 50, "{before}");
    for _ in 0..200 {
        worker.exchange(&Request::post("/").body("x".repeat(500)).body("x".repeat(500)));
        worker.exchange(&Request::get("/"));
        worker.answer_all(&Answer::upstream(200));
    }
    assert_eq!((host.stat("a", "delivered"), host.stat("a", "dropped.buffer_full")), (400, before));
}

/// Requests that are begun and not ended, however small they are and whatever they hold, leave room for those that end.
#[test]
fn no_number_of_unfinished_requests_drops_one_that_ends() {
    let kinds: [fn(&Worker) -> Stream; 4] = [
        |worker| worker.begin(&Request::post("/"), false),
        |worker| worker.begin(&Request::post("/").header("cookie", "x".repeat(50_000)), false),
        |worker| {
            let stream = worker.begin(&Request::post("/"), false);
            stream.chunk(vec![b'x'; 3_000], false);
            stream
        },
        |worker| worker.begin(&Request::get("/").header("connection", "upgrade").header("upgrade", "websocket"), false),
    ];
    // Headers are kept whole for it.
    let fields = with(waiting(), &json!({"request": {"headers": {"set": {"x-a": "${header:cookie}"}}}}));
    for (kind, begin) in kinds.into_iter().enumerate() {
        let (host, worker) = bounded(&fields);
        let before = worker.memory_size();
        let unfinished: Vec<_> = (0..8_000).map(|_| begin(&worker)).collect();
        let given_up = host.stat("a", "dropped.buffer_full");
        assert!(given_up > 1_000, "{kind}: {given_up}");
        for _ in 0..200 {
            let stream = worker.begin(&Request::post("/"), false);
            stream.chunk(vec![b'y'; 500], false);
            stream.chunk(vec![b'y'; 500], true);
            answered(stream, &Response::status(200));
            answered(worker.send(&Request::get("/")), &Response::status(200));
            worker.answer_all(&Answer::upstream(200));
        }
        assert_eq!(host.stat("a", "delivered"), 400, "{kind}");
        assert_eq!(dropped(&host, "a").into_iter().map(|(reason, _)| reason).collect::<Vec<_>>(), ["buffer_full"], "{kind}");
        let grown = worker.memory_size() - before;
        assert!(grown < ALLOWED, "{kind}: {grown}");
        unfinished.into_iter().for_each(Stream::close);
        assert_balanced(&host, "a");
    }
}

#[test]
fn an_upload_that_is_alone_gets_all_the_room_that_there_is() {
    let (host, worker) = bounded(&json!({}));
    let request = (0..35).fold(Request::post("/"), |request, _| request.body(vec![b'x'; 29_900]));
    worker.exchange(&request);
    worker.answer_all(&Answer::upstream(200));
    assert_eq!(host.stat("a", "delivered"), 1);
}

#[test]
fn an_upload_that_is_alone_leaves_room_for_requests_that_end() {
    let (host, _) = bounded(&json!({}));
    let limits = json!({"limits": {"max_body_bytes": BOUND, "max_buffered_bytes": BOUND}});
    let worker = host.worker(&with(targets(&[target("b")]), &limits));
    let upload = worker.begin(&Request::post("/"), false);
    for _ in 0..BOUND / 32_000 {
        upload.chunk(vec![b'x'; 32_000], false);
        worker.exchange(&Request::get("/").header("cookie", "x".repeat(5_000)));
        worker.exchange(&Request::post("/").body("order"));
        worker.answer_all(&Answer::upstream(200));
    }
    let sent = 2 * i64::try_from(BOUND / 32_000).unwrap();
    assert_eq!((host.stat("b", "delivered"), host.stat("b", "dropped.buffer_full")), (sent, 1));
    upload.close();
}

#[test]
fn headers_of_answers_are_charged_while_somebody_waits_for_the_end() {
    let fields = json!({"after": "response", "request": {"headers": {"set": {"x-a": "${response:header:x-b}"}}}});
    let (host, worker) = bounded(&fields);
    let before = worker.memory_size();
    let mut streams = Vec::new();
    for _ in 0..400 {
        let stream = worker.send(&Request::get("/"));
        stream.begin_answer(&Response::status(200).header("x-b", "y".repeat(30_000)), false);
        streams.push(stream);
    }
    assert!(dropped(&host, "a").iter().any(|(reason, _)| reason == "buffer_full"));
    let grown = worker.memory_size() - before;
    assert!(grown < ALLOWED, "{grown}");
}

#[test]
fn letters_hold_what_is_charged() {
    let fields = json!({
        "limits": {"max_in_flight": 100_000, "max_queued": 100_000},
        "request": {"headers": {"set": {"x-a": "${header:x-b}"}}},
        "dead_letter": {"cluster": "dlq"},
    });
    let (host, worker) = bounded(&fields);
    let before = worker.memory_size();
    for _ in 0..1_000 {
        worker.exchange(&Request::post("/").header("cookie", "x".repeat(30_000)).body("{}"));
        worker.call_outs().into_iter().filter(|call| call.cluster() == "a").for_each(|call| call.answer(Answer::upstream(500)));
    }
    assert!(!dropped(&host, "a").is_empty());
    let grown = worker.memory_size() - before;
    assert!(grown < ALLOWED, "{grown}");
}

#[test]
fn what_envoy_holds_of_a_call_is_charged_too() {
    let body = gzip(format!(r#"{{"a":1,"b":"{}"}}"#, "x".repeat(500_000)).as_bytes());
    let fields = json!({"limits": {"max_in_flight": 1_000}, "request": {"body": {"redact": ["/a"]}}});
    let (host, worker) = bounded(&fields);
    for _ in 0..100 {
        worker.exchange(&Request::post("/").header("content-encoding", "gzip").body(&body));
    }
    let calls = worker.call_outs();
    let held: usize = calls.iter().map(|call| call.body().len()).sum();
    assert!(held <= BOUND && calls.len() == 8, "{held} in {} calls", calls.len());
    assert_eq!(dropped(&host, "a"), [("buffer_full".to_owned(), 92)]);
    calls.into_iter().for_each(|call| call.answer(Answer::upstream(200)));
    worker.exchange(&Request::post("/").header("content-encoding", "gzip").body(&body));
    assert_eq!(worker.call_outs().len(), 1, "what was taken for a call is given back");
}

/// The answer of a target is for its followers. Letters of the target itself wait without it.
#[test]
fn letters_that_wait_hold_no_answer_that_followers_read() {
    let host = Host::new();
    host.set_log_level(Level::Critical);
    let leader = with(waiting(), &json!({"dead_letter": {"cluster": "dlq"}, "circuit_breaker": {"mode": "disabled"}}));
    let follower =
        json!({"after": {"target": "a", "outcome": "given_up"}, "request": {"body": {"template": "${target:a:body:/n}"}}});
    let list = targets(&[with(target("a"), &leader), with(target("b"), &follower)]);
    let worker = host.worker(&with(list, &json!({"limits": {"max_buffered_bytes": BOUND}})));
    let refused = Answer::upstream(500).body(format!(r#"{{"n":1,"text":"{}"}}"#, "x".repeat(100_000)));
    let before = worker.memory_size();
    for number in 1..=500 {
        worker.exchange(&Request::post("/").body("{}"));
        worker.call_outs().into_iter().filter(|call| call.cluster() == "a").for_each(|call| call.answer(refused.clone()));
        worker.call_outs().into_iter().filter(|call| call.cluster() == "b").for_each(|call| call.answer(Answer::upstream(200)));
        assert_eq!(host.stat("b", "delivered"), number);
    }
    assert_eq!((host.stat("a", "queued"), host.stat("a", "inflight")), (499, 1), "letters");
    let grown = worker.memory_size() - before;
    assert!(grown < ALLOWED, "{grown}");
}
