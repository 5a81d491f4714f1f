//! Bodies of the primary's responses in the expressions of copies that wait for them.

use crate::{
    compare::{counts, of_primary, of_target},
    configurations::{assert_balanced, audit_with, dropped, mirroring_with, only, target, targets, with},
    host::{Answer, Host, Level, Request, Response, Stream, Worker},
};
use flate2::{write::GzEncoder, Compression};
use serde_json::{json, Value};
use std::{io::Write, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

/// A target that waits for the primary's response and sends this.
fn writing(name: &str, template: &Value) -> Value {
    with(target(name), &json!({"after": "response", "request": {"body": {"template": template}}}))
}

/// `audit`, which sends the id in the primary's response, with these fields, and these beside the targets.
fn sending_the_id(fields: &Value, more: &Value) -> (Host, Worker) {
    mirroring_with(&with(targets(&[with(writing("audit", &json!("${response:body:/id}")), fields)]), more))
}

fn order() -> Request {
    Request::post("/orders").body("an order")
}

fn created(body: impl AsRef<[u8]>) -> Response {
    Response::status(201).body(body)
}

fn answered(stream: Stream, response: &Response) {
    stream.answer(response);
    stream.close();
}

fn bodies(worker: &Worker) -> Vec<(String, String)> {
    let calls = worker.call_outs();
    calls.iter().for_each(|call| call.answer(Answer::upstream(200)));
    calls.iter().map(|call| (call.cluster().to_owned(), String::from_utf8(call.body().to_vec()).unwrap())).collect()
}

fn gzip(body: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_copy_carries_values_of_the_primarys_response() {
    let template = json!({"id": "${response:body:/id}", "text": "${response:body_text}", "order": "${body_text}"});
    let fields = json!({"request": {"path": "/orders/${response:body:/id}", "body": {"template": template}}});
    let (host, worker) = mirroring_with(&audit_with(&with(json!({"after": "response"}), &fields)));
    let text = r#"{"id": 7.0}"#;
    let coded = gzip(text);
    let responses = [
        created(text),
        created(&text[..4]).body(&text[4..]).body(""),
        created(text).trailer("x-sum", "7"),
        created(&coded[..9]).body(&coded[9..]).header("content-encoding", "gzip"),
    ];
    for response in responses {
        let stream = worker.send(&order());
        assert_eq!(worker.call_outs().len(), 0);
        answered(stream, &response);
        let call = worker.call_out();
        assert_eq!(call.header(":path"), Some("/orders/7.0"));
        assert_eq!(call.body(), br#"{"id":7.0,"order":"an order","text":"{\"id\": 7.0}"}"#);
        call.answer(Answer::upstream(200));
    }
    // There is nothing in a response without a body.
    answered(worker.send(&order()), &Response::status(204));
    let call = worker.call_out();
    assert_eq!((call.header(":path"), call.body()), (Some("/orders/"), &br#"{"id":null,"order":"an order","text":null}"#[..]));
    call.answer(Answer::upstream(200));
    assert_eq!(host.stat("audit", "delivered"), 5);
    assert_balanced(&host, "audit");
}

#[test]
fn each_target_reads_the_response_for_itself() {
    let all = [
        writing("id", &json!("${response:body:/id}")),
        with(writing("masked", &json!("${response:body}")), &json!({"response": {"redact": ["/card"]}})),
        writing("text", &json!("${response:body_text}")),
        writing("status", &json!("${response:status}")),
        with(writing("batch", &json!(["${response:body:/id}"])), &json!({"batch": {"max_items": 1}})),
    ];
    let (host, worker) = mirroring_with(&targets(&all));
    let names = ["id", "masked", "text", "status", "batch"];
    let expect = |bodies: [&str; 5]| -> Vec<_> {
        names
            .into_iter()
            .zip(bodies)
            .filter(|(_, body)| !body.is_empty())
            .map(|(name, body)| (name.into(), body.into()))
            .collect()
    };
    answered(worker.send(&order()), &created(r#"{"id":7,"card":4111}"#));
    let masked = r#"{"id":7,"card":"[redacted]"}"#;
    assert_eq!(bodies(&worker), expect(["7", masked, r#""{\"id\":7,\"card\":4111}""#, "201", "[[7]]"]));
    // Who reads no JSON is not concerned if there is none.
    answered(worker.send(&order()), &created("created"));
    assert_eq!(bodies(&worker), expect(["", "", r#""created""#, "201", ""]));
    for name in names {
        let lost = if ["id", "masked", "batch"].contains(&name) { only("response_not_json", 1) } else { vec![] };
        assert_eq!(dropped(&host, name), lost, "{name}");
        assert_balanced(&host, name);
    }
}

/// Sends a request whose copy is lost for this reason, and for no other.
#[track_caller]
fn assert_lost(reason: &str, limits: &Value, end: impl FnOnce(Stream)) {
    let retry = json!({"retry": {"max_attempts": 3}, "dead_letter": {"cluster": "dlq"}});
    let (host, worker) = sending_the_id(&retry, &json!({"limits": limits}));
    end(worker.send(&order().header("x-request-id", "c0ffee")));
    assert_eq!(worker.call_outs().len(), 0, "no copy, and no letter");
    assert_eq!(dropped(&host, "audit"), only(reason, 1));
    assert_eq!(host.stat("audit", "attempts"), 0);
    let events = host.events("given_up");
    let [(Level::Warn, event)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(["target", "reason", "correlation_id"].map(|field| &event[field]), ["audit", reason, "c0ffee"]);
    assert_balanced(&host, "audit");
    // The next one is not concerned.
    answered(worker.send(&Request::post("/")), &created(r#"{"id":1}"#));
    assert_eq!(bodies(&worker), [("audit".to_owned(), "1".to_owned())]);
    assert_balanced(&host, "audit");
}

#[test]
fn a_response_that_is_no_json_is_a_reason_to_drop() {
    for body in ["created", "{\"id\":7", "{\"id\":7}\n{\"id\":8}"] {
        assert_lost("response_not_json", &json!({}), |stream| answered(stream, &created(body)));
    }
    let coded = created(r#"{"id":7}"#).header("content-encoding", "br");
    assert_lost("response_not_json", &json!({}), |stream| answered(stream, &coded));
}

#[test]
fn a_response_that_the_client_did_not_wait_for_is_no_json() {
    for text in [r#"{"id":7}"#, r#"{"id""#] {
        let ends: [fn(Stream); 2] = [|stream| stream.close(), |stream| stream.client_resets()];
        for end in ends {
            assert_lost("response_not_json", &json!({}), |stream| {
                stream.begin_answer(&Response::status(201), false);
                stream.answer_chunk(text, false);
                end(stream);
            });
        }
    }
}

#[test]
fn a_response_over_the_cap_is_a_reason_to_drop() {
    let limits = json!({"max_body_bytes": 20});
    let long = format!(r#"{{"id":7,"a":"{}"}}"#, "x".repeat(6));
    assert_eq!(long.len(), 21);
    for chunks in [created(&long), created(&long[..15]).body(&long[15..]), created(&long[..20]).body(&long[20..]).body("")] {
        assert_lost("response_too_large", &limits, |stream| answered(stream, &chunks));
    }
    let coded = created(gzip(&"1".repeat(300))).header("content-encoding", "gzip");
    assert_lost("response_too_large", &json!({"max_body_bytes": 100}), |stream| answered(stream, &coded));
    let (host, worker) = sending_the_id(&json!({}), &json!({"limits": limits}));
    answered(worker.send(&order()), &created(&long[..20]));
    assert_eq!(dropped(&host, "audit"), only("response_not_json", 1), "it fits, but is cut off");
    answered(worker.send(&order()), &created(r#"{"id":7,"a":"xxxxx"}"#));
    assert_eq!(bodies(&worker), [("audit".to_owned(), "7".to_owned())]);
}

#[test]
fn a_response_for_which_there_is_no_room_is_a_reason_to_drop() {
    let limits = json!({"max_body_bytes": 4_000, "max_buffered_bytes": 4_000});
    let body = format!(r#"{{"id":7,"a":"{}"}}"#, "x".repeat(3_900));
    assert_lost("buffer_full", &limits, |stream| answered(stream, &created(&body)));
}

#[test]
fn a_response_that_takes_too_much_work_is_a_reason_to_drop() {
    let limits = json!({"max_body_bytes": "1MiB", "max_work_bytes": "64KiB"});
    let body = format!(r#"{{"id":[{}0]}}"#, "0,".repeat(20_000));
    assert_lost("work_limit", &limits, |stream| answered(stream, &created(&body)));
}

/// A comparison takes half of the bytes at most, an expression takes all of them.
#[test]
fn a_response_that_an_expression_reads_may_take_the_room_of_what_is_only_compared() {
    let limits = json!({"limits": {"max_body_bytes": 20_000, "max_buffered_bytes": 30_000}});
    let body = json!({"id": 7, "a": "x".repeat(16_000)}).to_string();
    let compares = json!({"compare": {}});
    let (host, worker) = mirroring_with(&with(audit_with(&compares), &limits));
    answered(worker.send(&order()), &of_primary(200, &body));
    worker.answer_all(&of_target(200, &body));
    assert_eq!(counts(&host), [0, 0, 0, 1]);
    let (host, worker) = sending_the_id(&json!({}), &limits);
    answered(worker.send(&order()), &of_primary(200, &body));
    assert_eq!(bodies(&worker), [("audit".to_owned(), "7".to_owned())]);
    assert_balanced(&host, "audit");
}

#[test]
fn a_response_can_be_read_and_compared() {
    let limits = json!({"limits": {"max_body_bytes": 1_000, "max_buffered_bytes": 12_000}});
    let (host, worker) = sending_the_id(&json!({"compare": {}}), &limits);
    for round in 1..=1_000 {
        answered(worker.send(&order()), &of_primary(200, r#"{"id":7}"#));
        let call = worker.call_out();
        assert_eq!(call.body(), b"7");
        call.answer(of_target(200, r#"{"id": 7}"#));
        assert_eq!(counts(&host), [round, 0, 0, 0]);
    }
    assert_balanced(&host, "audit");
}

#[test]
fn what_is_kept_of_a_response_is_counted_for_each_copy_and_given_back() {
    let limits = json!({"limits": {"max_body_bytes": 4_000, "max_buffered_bytes": 16_000}});
    let narrow = json!({"limits": {"max_in_flight": 1, "max_queued": 9}});
    let (host, worker) = sending_the_id(&narrow, &limits);
    host.set_log_level(Level::Critical);
    let body = json!({"id": 7, "a": "x".repeat(3_000)}).to_string();
    for _ in 0..6 {
        worker.exchange(&order().answer(created(&body)));
    }
    assert!(host.stat("audit", "queued_bytes") > 3_000, "{:#?}", host.stats());
    while worker.answer_all(&Answer::upstream(200)) > 0 {}
    assert_eq!((host.stat("audit", "delivered"), dropped(&host, "audit")), (4, only("buffer_full", 2)), "four have room");
    assert_balanced(&host, "audit");
    let ends: [fn(Stream, &str); 7] = [
        |stream, body| answered(stream, &created(body)),
        |stream, body| answered(stream, &created(body).body(body)),
        |stream, body| answered(stream, &Response::status(500).body(body)),
        |stream, _| stream.close(),
        |stream, body| {
            stream.begin_answer(&Response::status(201), false);
            stream.answer_chunk(body, false);
            stream.primary_breaks_off();
        },
        |stream, body| {
            stream.begin_answer(&Response::status(201), false);
            stream.answer_chunk(body, false);
            stream.close();
        },
        |stream, body| {
            stream.begin_answer(&Response::status(201), false);
            stream.answer_chunk(body, false);
            // Left open: what it holds is given back all the same.
            stream.client_resets();
        },
    ];
    for round in 0..7_000 {
        ends[round % ends.len()](worker.send(&order()), &body);
        worker.answer_all(&Answer::upstream(200));
    }
    assert_eq!(host.stat("audit", "dropped.buffer_full"), 2, "there was always room");
    assert_eq!(host.stat("audit", "dropped.response_too_large"), 1_000);
    assert_eq!(host.stat("audit", "dropped.response_not_json"), 2_000);
}

/// A copy that waits for the end of a broken response gets no value of its body.
#[test]
fn a_response_that_broke_off_has_no_values() {
    let (host, worker) = sending_the_id(&json!({"statuses": ["201", "reset", "timeout"]}), &json!({}));
    let ends: [fn(Stream); 2] = [|stream| stream.primary_breaks_off(), |stream| stream.primary_stalls()];
    for end in ends {
        let stream = worker.send(&order());
        stream.begin_answer(&Response::status(201), false);
        stream.answer_chunk(r#"{"id":7}"#, false);
        end(stream);
        assert_eq!(bodies(&worker), [("audit".to_owned(), "null".to_owned())]);
    }
    assert_balanced(&host, "audit");
}

#[test]
fn a_retry_and_a_letter_read_the_same_response() {
    let letter = json!({"cluster": "dlq", "path": "/${response:body:/id}", "body": {"template": ["${response:body:/id}", "${response:body:/card}"]}});
    let fields = json!({"retry": {"max_attempts": 2}, "dead_letter": letter, "response": {"redact": ["/card"]}});
    let (host, worker) = sending_the_id(&fields, &json!({}));
    answered(worker.send(&order()), &created(r#"{"id":7,"card":4111}"#));
    for _ in 0..2 {
        let call = worker.call_out();
        assert_eq!((call.cluster(), call.body()), ("audit", &b"7"[..]));
        call.answer(Answer::upstream(503));
        worker.pass(&host, 60 * SECOND);
    }
    let letter = worker.call_out();
    assert_eq!((letter.cluster(), letter.header(":path"), letter.body()), ("dlq", Some("/7"), &br#"[7,"[redacted]"]"#[..]));
    letter.answer(Answer::upstream(200));
    assert_eq!(host.stat("audit", "dead_lettered"), 1);
    assert_balanced(&host, "audit");
}

/// The request need not read what the letter reads.
#[test]
fn a_letter_is_not_lost_for_a_response_that_cannot_be_read() {
    let letter = json!({"cluster": "dlq", "body": {"template": ["${response:body:/id}", "${response:body_text}"]}});
    let fields = json!({"after": "response", "dead_letter": letter});
    let (host, worker) = mirroring_with(&with(audit_with(&fields), &json!({"limits": {"max_body_bytes": 10}})));
    for (body, expected) in [("no json", "[null,null]"), ("0123456789a", "[null,null]"), (r#"{"id":7}"#, r#"[7,"{\"id\":7}"]"#)] {
        answered(worker.send(&Request::post("/")), &created(body));
        worker.call_out().answer(Answer::upstream(404));
        let letter = worker.call_out();
        assert_eq!((letter.cluster(), String::from_utf8_lossy(letter.body()).as_ref()), ("dlq", expected));
        letter.answer(Answer::upstream(200));
    }
    assert_eq!(host.stat("audit", "dead_lettered"), 3);
    assert_balanced(&host, "audit");
}

#[test]
fn a_response_that_no_expression_reads_costs_nothing() {
    let body = created("x".repeat(1_000)).body("y");
    let calls = |template: Value| {
        let (host, worker) = mirroring_with(&targets(&[writing("audit", &template)]));
        worker.exchange(&order().answer(body.clone()));
        worker.answer_all(&Answer::upstream(200));
        let tally = host.tally(|| worker.exchange(&order().answer(body.clone())));
        (tally.of("proxy_get_buffer_bytes"), tally.of("proxy_get_header_map_pairs"))
    };
    let without = calls(json!("${response:status}"));
    let read = calls(json!("${response:body_text}"));
    assert_eq!((read.0 - without.0, read.1 - without.1), (2, 1));
}

/// Its rules look at the body, which is complete only after the response has begun.
#[test]
fn a_target_that_turns_out_not_to_want_the_request_copies_no_more_of_the_response() {
    let fields = json!({"match": [{"body": [{"pointer": "/type", "exact": "order"}]}]});
    // The stream goes on for the other target.
    let compared = with(target("other"), &json!({"compare": {"body": "none"}}));
    let (host, worker) = mirroring_with(&targets(&[with(writing("audit", &json!("${response:body:/id}")), &fields), compared]));
    let buffers = |kind: &str| {
        let stream = worker.begin(&Request::post("/"), false);
        stream.begin_answer(&Response::status(201), false);
        stream.answer_chunk(r#"{"id":"#, false);
        stream.chunk(json!({"type": kind}).to_string(), true);
        let tally = host.tally(|| stream.answer_chunk("7}", true));
        stream.close();
        tally.of("proxy_get_buffer_bytes")
    };
    let of_audit =
        || bodies(&worker).into_iter().filter(|(cluster, _)| cluster == "audit").map(|(_, body)| body).collect::<Vec<_>>();
    assert_eq!((buffers("cart"), of_audit()), (0, vec![]));
    assert_eq!((buffers("order"), of_audit()), (1, vec!["7".to_owned()]));
    assert_balanced(&host, "audit");
}
