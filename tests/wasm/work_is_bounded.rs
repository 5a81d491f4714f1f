//! No request, however it is built, holds a worker for long: the instructions of each callback are counted.

use crate::gzip::gzip;
use crate::{
    configurations::{assert_balanced, dropped, only, target, targets, with},
    host::{Answer, Host, Level, Request, Response, Worker},
};
use flate2::{write::GzEncoder, Compression};
use serde_json::{json, Value};
use std::{fmt::Write as _, io::Write as _, time::Duration};

const MIB: usize = 1 << 20;
/// The most instructions of one callback at default limits. In Envoy 500 million of them take about 20 ms; the longest time that was seen there
/// stands in docs/security.md.
const MOST: u64 = 900_000_000;

/// A list or an object of so many such entries.
fn many(open: char, close: char, entries: usize, entry: impl Fn(usize) -> String) -> String {
    let mut body = String::from(open);
    for number in 0..entries {
        let comma = if number == 0 { "" } else { "," };
        write!(body, "{comma}{}", entry(number)).unwrap();
    }
    body.push(close);
    body
}

fn zeros() -> String {
    many('[', ']', 520_000, |_| "0".to_owned())
}

fn escaped_keys() -> String {
    many('{', '}', 94_000, |_| r#""\u0061":0"#.to_owned())
}

fn padded() -> String {
    format!(r#"{{"a":1}}{}"#, " ".repeat(MIB - 100))
}

/// 32 targets, each with its own fields.
fn all(fields: impl Fn(usize) -> Value) -> Value {
    let breaker = json!({"circuit_breaker": {"mode": "disabled"}});
    let list: Vec<Value> = (0..32).map(|number| with(with(target(&format!("t{number}")), &breaker), &fields(number))).collect();
    targets(&list)
}

fn counting(configuration: &Value) -> (Host, Worker) {
    let host = Host::new();
    host.set_log_level(Level::Critical);
    let worker = host.counting_worker(configuration);
    worker.exchange(&Request::post("/").body("{}"));
    worker.answer_all(&Answer::upstream(200));
    worker.longest();
    (host, worker)
}

/// The longest callback of a request and all that follows from it.
fn longest(configuration: &Value, request: &Request) -> u64 {
    let (host, worker) = counting(configuration);
    worker.exchange(request);
    worker.answer_all(&Answer::upstream(200));
    for _ in 0..100 {
        worker.pass(&host, Duration::from_millis(2));
        worker.answer_all(&Answer::upstream(200));
    }
    let targets = configuration["targets"].as_array().unwrap();
    targets.iter().for_each(|target| assert_balanced(&host, target["name"].as_str().unwrap()));
    worker.longest()
}

fn compressed(body: &str) -> Request {
    Request::post("/").header("content-encoding", "gzip").body(gzip(body.as_bytes()))
}

#[track_caller]
fn assert_short(what: &str, configuration: &Value, request: &Request) {
    let longest = longest(configuration, request);
    println!("{what}: {longest}");
    assert!(longest < MOST, "{what}: {longest}");
}

fn template(value: &Value) -> Value {
    json!({"request": {"body": {"template": value}}})
}

#[test]
fn templates_of_many_pointers_do_not_hold_a_worker_whatever_the_keys() {
    let pointers = |from: usize| {
        template(&(0..20).map(|number| (format!("v{number}"), json!(format!("${{body:/k{}}}", from + number)))).collect())
    };
    assert_short("escaped keys", &all(|_| pointers(0)), &compressed(&escaped_keys()));
    let keys = many('{', '}', 90_000, |number| format!(r#""k{number}":0"#));
    assert_short("other keys for each target", &all(|target| pointers(target * 20)), &compressed(&keys));
}

#[test]
fn redaction_does_not_hold_a_worker_whatever_the_pointers() {
    let redact = |pointers: Value| json!({"request": {"body": {"redact": pointers}}});
    assert_short("one pointer, white space", &all(|_| redact(json!(["/a"]))), &compressed(&padded()));
    assert_short("another for each target", &all(|number| redact(json!([format!("/{number}")]))), &compressed(&zeros()));
    assert_short("a star", &all(|number| redact(json!(["/*", format!("/*/{number}")]))), &compressed(&zeros()));
    assert_short("escaped keys", &all(|number| redact(json!([format!("/b{number}")]))), &compressed(&escaped_keys()));
    let deep = many('[', ']', 4_000, |_| "[".repeat(120) + &"]".repeat(120));
    let stars = |number: usize| redact(json!(["/*".repeat(100) + &format!("/{number}")]));
    assert_short("stars in depth", &all(stars), &compressed(&deep));
    let wide = |number: usize| {
        let pointer = |bits: usize| (0..8).map(|bit| if bits >> bit & 1 == 1 { "/*" } else { "/0" }).collect::<String>();
        redact((0..256).map(|bits| json!(format!("{}/{number}", pointer(bits)))).collect())
    };
    assert_short("256 ways to one place", &all(wide), &compressed(&deep));
}

#[test]
fn what_is_written_does_not_hold_a_worker_wherever_it_stands() {
    for (what, text, body) in [
        ("text of control characters", "${body_text}", vec![1; MIB]),
        ("bytes that are no text", "<${body_text}>", vec![0xff; MIB]),
        ("base64", "${body_base64}", vec![0xff; MIB]),
        ("white space", "${body}", many('[', ']', 170_000, |_| "0 ,\t0".to_owned()).into_bytes()),
        ("escapes", "x${body}", format!("[\"{}\"]", "\\\"".repeat(520_000)).into_bytes()),
    ] {
        assert_short(what, &all(|_| template(&json!([text, text]))), &Request::post("/").body(&body));
    }
    let control = Request::post("/").body(vec![1; MIB]);
    assert_short("in a path", &all(|_| json!({"request": {"path": "/x?a=${body_text}"}})), &control);
    assert_short("in a header", &all(|_| json!({"request": {"headers": {"set": {"x-a": "${body_text}"}}}})), &control);
    assert_short("in an authority", &all(|_| json!({"request": {"authority": "a${body_text}"}})), &control);
}

#[test]
fn patterns_do_not_hold_a_worker_whatever_the_path() {
    let path = format!("/{}", "a".repeat(58_000));
    let rules = |target: usize| (0..100).map(|number| json!({"path": {"regex": format!(".*/{target}-{number}x")}})).collect();
    let fields = |target: usize| json!({"match": Value::Array(rules(target))});
    assert_short("patterns", &all(fields), &Request::get(&path));
    let (host, worker) = counting(&targets(&[with(target("a"), &fields(0)), target("b")]));
    let (matched, _) = (host.stat("a", "matched"), worker.exchange(&Request::get(&path)));
    worker.answer_all(&Answer::upstream(200));
    assert_eq!((host.stat("a", "matched") - matched, dropped(&host, "a")), (1, only("work_limit", 1)));
    assert_eq!(dropped(&host, "b"), []);
    assert_balanced(&host, "a");
}

/// An optional group is tried to the end of the path for each match.
#[test]
fn a_rewrite_of_the_path_does_not_hold_a_worker_whatever_the_path() {
    let rewrite = |pattern: &str| json!({"request": {"regex_rewrite": {"pattern": pattern, "substitution": "/c"}}});
    for (pattern, part) in [("[^/]*x|a", "a"), ("/a(.*/b)?", "/a"), ("/a/[0-9]+", "/a")] {
        let path = format!("/{}", part.repeat(58_000 / part.len()));
        assert_short(pattern, &all(|_| rewrite(pattern)), &Request::get(&path));
    }
    let (host, worker) = counting(&targets(&[with(target("a"), &rewrite("/a(.*/b)?"))]));
    let path = |parts: usize| "/a".repeat(parts);
    for parts in [20, 200] {
        worker.exchange(&Request::get(&path(parts)));
    }
    let paths: Vec<_> = worker.call_outs().iter().map(|call| call.header(":path").unwrap().to_owned()).collect();
    assert_eq!(paths, ["/c".repeat(20), "/c".repeat(200)], "what people have is rewritten");
    worker.exchange(&Request::get(&path(20_000)));
    worker.answer_all(&Answer::upstream(200));
    assert_eq!(dropped(&host, "a"), only("work_limit", 1));
}

/// Only Envoys with a higher `max_headers_count` than they have by default let so many through.
#[test]
fn looking_for_headers_does_not_hold_a_worker_however_many_there_are() {
    let many = (0..1_000).fold(Request::get("/"), |request, number| request.header(&format!("x-{number}"), "b"));
    let absent = |name: String| json!({"name": name, "present": false});
    let rule = |number: usize| json!({"headers": [absent(format!("y-{number}")), absent("x-999".to_owned())]});
    let rules: Value = (0..1_024).map(rule).collect();
    assert_short("rules", &all(|_| json!({"match": rules})), &many);
    let values: Value =
        (0..50).map(|number| (format!("y-{number}"), json!(format!("${{header:z-{number}}}").repeat(20)))).collect();
    assert_short("values", &all(|_| json!({"request": {"headers": {"set": values}}})), &many);
    let names: Vec<_> = (0..2_000).map(|number| format!("y-{number}")).collect();
    assert_short("names", &all(|_| json!({"request": {"headers": {"remove": names}}})), &many);
}

#[test]
fn a_query_does_not_hold_a_worker_whatever_is_in_it() {
    let names: String = (0..10).map(|number| format!("${{query:n{number}}}")).collect();
    let fields = |_| json!({"request": {"headers": {"set": {"x-a": names}}}});
    assert_short("one name", &all(fields), &Request::get(&format!("/?{}", "a&".repeat(29_000))));
    let distinct: String = (0..12_000).map(|number| format!("{number:x}&")).collect();
    assert_short("many names", &all(fields), &Request::get(&format!("/?{distinct}")));
    let long = |_| json!({"request": {"path": format!("/x?a={}", "${query:a}".repeat(3))}});
    assert_short("a long value", &all(long), &Request::get(&format!("/?a={}", "%01".repeat(19_000))));
}

#[test]
fn blocks_of_a_compressed_body_do_not_hold_a_worker() {
    let noise: String = (0_u32..1_000_000).map(|at| char::from(b'A' + (at.wrapping_mul(2_654_435_761) >> 27) as u8)).collect();
    let body = format!("[\"{noise}\"]");
    for (level, every) in [(Compression::fast(), 300), (Compression::best(), 400), (Compression::best(), 4_000)] {
        let mut encoder = GzEncoder::new(Vec::new(), level);
        for chunk in body.as_bytes().chunks(every) {
            encoder.write_all(chunk).unwrap();
            encoder.flush().unwrap();
        }
        let body = encoder.finish().unwrap();
        assert!(body.len() < MIB, "{}", body.len());
        let request = Request::post("/").header("content-encoding", "gzip").body(body);
        assert_short("blocks", &targets(&[with(target("a"), &json!({"request": {"body": {"redact": ["/0"]}}}))]), &request);
    }
}

#[test]
fn requests_that_wait_for_a_batch_are_made_items_a_few_at_a_time() {
    let only = with(target("a"), &json!({"batch": {"max_items": 1_000, "max_delay": "5s"}}));
    for body in [padded(), padded().replace("}", "x")] {
        let (host, worker) = counting(&targets(std::slice::from_ref(&only)));
        for _ in 0..200 {
            worker.exchange(&compressed(&body));
        }
        for _ in 0..300 {
            worker.pass(&host, Duration::from_millis(50));
            worker.answer_all(&Answer::upstream(200));
        }
        assert_balanced(&host, "a");
        assert_eq!(host.stat("a", "matched"), 201);
        let longest = worker.longest();
        assert!(longest < MOST, "{longest}");
    }
}

#[test]
fn several_batches_share_what_is_read_of_a_request() {
    let batch = |_| json!({"batch": {"max_items": 1_000, "max_delay": "50ms"}});
    assert_short("32 batches", &all(batch), &compressed(&padded()));
}

/// Each is put together anew, and all of them are due in one tick.
#[test]
fn retries_that_are_due_at_once_go_a_few_at_a_time_and_all_of_them_go() {
    let fields = json!({
        "request": {"body": {"redact": ["/a"]}},
        "limits": {"max_in_flight": 200},
        "circuit_breaker": {"mode": "disabled"},
        "retry": {"max_attempts": 2, "backoff": {"base": "1s", "max": "1s"}, "budget": {"percent": 100}},
    });
    let (host, worker) = counting(&targets(&[with(target("a"), &fields)]));
    for _ in 0..50 {
        worker.exchange(&compressed(&padded()));
    }
    worker.call_outs().into_iter().for_each(|call| call.answer(Answer::upstream(503)));
    worker.longest();
    let ticks = worker.pass(&host, Duration::from_secs(3));
    let longest = worker.longest();
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 50);
    assert_eq!(host.stat("a", "delivered"), 51);
    assert_balanced(&host, "a");
    assert!(longest < MOST && ticks > 5, "{longest} in {ticks} ticks");
}

/// What a callback may leave to Envoy: the calls of one callback, and the other calls of the host, as they were counted.
fn most_of_a_tick(host: &Host, worker: &Worker, time: Duration) -> (u64, u64) {
    let mut most = (0, 0);
    let millis = usize::try_from(time.as_millis()).unwrap();
    for _ in 0..millis {
        let mut ticks = 0;
        let tally = host.tally(|| ticks = worker.pass(host, Duration::from_millis(1)));
        assert!(ticks < 2, "{ticks} ticks in a millisecond");
        most.0 = most.0.max(tally.of("proxy_http_call"));
        most.1 = most.1.max(tally.host_calls());
    }
    most
}

/// A call takes few instructions of the module and many of Envoy's.
#[test]
fn plain_retries_that_are_due_at_once_go_a_few_at_a_time_and_all_of_them_go() {
    let fields = json!({"retry": {"max_attempts": 2, "backoff": {"base": "1ms", "max": "1ms"}, "budget": {"percent": 100}}});
    let (host, worker) = counting(&all(|_| fields.clone()));
    for _ in 0..256 {
        worker.exchange(&Request::get("/"));
    }
    worker.call_outs().into_iter().for_each(|call| call.answer(Answer::upstream(503)));
    let (calls, _) = most_of_a_tick(&host, &worker, Duration::from_millis(100));
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 32 * 256);
    assert_eq!(host.stat("t31", "delivered"), 257);
    assert_balanced(&host, "t31");
    assert!((200..=300).contains(&calls), "{calls}");
}

#[test]
fn a_drain_gives_up_a_few_at_a_time_and_counts_all() {
    for letters in [json!({}), json!({"dead_letter": {"cluster": "dlq", "timeout": "1s"}})] {
        let mut configuration = all(|_| letters.clone());
        configuration["drain_timeout"] = "1s".into();
        let (host, worker) = counting(&configuration);
        for _ in 0..1_280 {
            worker.exchange(&Request::get("/"));
        }
        assert!(worker.configure(targets(&[target("a")]).to_string()));
        worker.longest();
        worker.pass(&host, Duration::from_millis(999));
        let (calls, host_calls) = most_of_a_tick(&host, &worker, Duration::from_millis(3_000));
        println!("{calls} calls of {host_calls} calls of the host in a tick, {} instructions", worker.longest());
        for number in 0..32 {
            let name = format!("t{number}");
            let all = [("shutdown".to_owned(), 1_280)].to_vec();
            assert_eq!((dropped(&host, &name), host.stat(&name, "inflight"), host.stat(&name, "queued")), (all, 0, 0), "{name}");
            assert_balanced(&host, &name);
        }
        assert!(calls <= 300 && host_calls < 20_000, "{calls}, {host_calls}");
    }
}

/// What waits behind a slow target goes as soon as there is a place: if it cannot be read, the next one follows at once.
#[test]
fn a_queue_of_bodies_that_cannot_be_read_is_not_emptied_at_once() {
    let fields =
        json!({"request": {"body": {"redact": ["/a"]}}, "limits": {"max_in_flight": 1}, "circuit_breaker": {"mode": "disabled"}});
    let (host, worker) = counting(&targets(&[with(target("a"), &fields)]));
    worker.exchange(&Request::post("/").body("{}"));
    for _ in 0..300 {
        worker.exchange(&compressed(&padded().replace('}', "x")));
    }
    worker.answer_all(&Answer::upstream(200));
    worker.pass(&host, Duration::from_secs(3));
    let longest = worker.longest();
    assert_eq!(dropped(&host, "a"), [("body_not_json".to_owned(), 300)]);
    assert_balanced(&host, "a");
    assert!(longest < MOST, "{longest}");
}

#[test]
fn letters_that_are_due_at_once_are_written_a_few_at_a_time() {
    let letters = |number: usize| {
        let redact = if number < 16 { json!({"body": {"redact": ["/a"]}}) } else { json!({}) };
        json!({
            "request": redact,
            "limits": {"max_in_flight": 1, "max_queued": 0},
            "dead_letter": {"cluster": "dlq", "on": ["queue_full"]},
        })
    };
    let (host, worker) = counting(&all(letters));
    worker.exchange(&Request::post("/").body("{}"));
    worker.longest();
    worker.exchange(&compressed(&padded()));
    for _ in 0..200 {
        worker.pass(&host, Duration::from_millis(2));
    }
    let longest = worker.longest();
    worker.answer_all(&Answer::upstream(200));
    for number in 0..32 {
        let name = format!("t{number}");
        assert_eq!((host.stat(&name, "dead_lettered"), host.stat(&name, "delivered")), (1, 2), "{name}");
        assert_balanced(&host, &name);
    }
    assert!(longest < MOST, "{longest}");
}

#[test]
fn comparisons_do_not_hold_a_worker_whatever_the_answers_are() {
    let digits = |shift: usize| many('[', ']', 500_000, |number| ((number + shift) % 10).to_string());
    let keys = |value: usize| many('{', '}', 90_000, |_| format!(r#""\u0061":{value}"#));
    for (what, ours, theirs) in [
        ("all differ", digits(0), digits(1)),
        ("escaped keys", keys(0), keys(1)),
        ("numbers", many('[', ']', 200_000, |_| "1e1".to_owned()), many('[', ']', 200_000, |_| "10".to_owned())),
    ] {
        let (host, worker) = counting(&all(|_| json!({"compare": {}})));
        let json = |body: &str| Answer::upstream(200).header("content-type", "application/json").body(body);
        let answer = Response::status(200).header("content-type", "application/json").body(&ours);
        let stream = worker.send(&Request::get("/"));
        worker.answer_all(&json(&theirs));
        stream.answer(&answer);
        stream.close();
        for _ in 0..200 {
            worker.pass(&host, Duration::from_millis(2));
        }
        let longest = worker.longest();
        println!("{what}: {longest}");
        assert!(longest < MOST, "{what}: {longest}");
        for number in 0..32 {
            let ends = ["match", "status_mismatch", "body_mismatch", "not_comparable"];
            let ends: i64 = ends.iter().map(|end| host.stat(&format!("t{number}"), &format!("compare.{end}"))).sum();
            assert_eq!(ends, 2, "{what}");
        }
    }
}

#[test]
fn honest_use_stays_within_the_work_that_is_allowed() {
    let order = |number: usize| {
        format!(r#"{{"id":{number},"name":"An order of {number} things","price":12.50,"tags":["a","b"],"at":null}}"#)
    };
    let body = |entries: usize| many('[', ']', entries, order);
    let shaped = |number: usize| {
        template(
            &json!({"all": "${body}", "first": "${body:/0/name}", "last": format!("${{body:/{number}/price}}"), "at": "${now}"}),
        )
    };
    let (host, worker) = counting(&all(shaped));
    let spent = |request: &Request| {
        worker.exchange(request);
        worker.answer_all(&Answer::upstream(200));
    };
    let large = body(1_250);
    assert!((100 << 10..120 << 10).contains(&large.len()), "{}", large.len());
    spent(&Request::post("/").body(&large));
    for number in 0..32 {
        assert_eq!(dropped(&host, &format!("t{number}")), []);
    }
    let redact = json!({"request": {"body": {"redact": ["/*/name", "/*/tags"]}}});
    let (host, worker) = counting(&targets(&[with(target("a"), &redact)]));
    let large = body(11_000);
    assert!((MIB - MIB / 10..MIB).contains(&large.len()), "{}", large.len());
    for request in [Request::post("/").body(&large), compressed(&large)] {
        worker.exchange(&request);
    }
    worker.answer_all(&Answer::upstream(200));
    assert_eq!((dropped(&host, "a"), host.stat("a", "delivered")), (vec![], 3));
}

/// Measured: 15,000 with a body of 1 KiB, 4,000 for a request that nobody wants. A bound on work must not cost those who need none.
#[test]
fn a_request_that_is_copied_as_it_is_takes_few_instructions() {
    let (_host, worker) = counting(&targets(&[target("a")]));
    let request = |path| Request::post(path).header("content-type", "application/json").body(vec![b'x'; 1_024]);
    for _ in 0..10 {
        worker.exchange(&request("/"));
        worker.answer_all(&Answer::upstream(200));
    }
    worker.longest();
    worker.exchange(&request("/"));
    let copied = worker.longest();
    let unwanted = with(target("a"), &json!({"match": [{"path": {"exact": "/other"}}]}));
    let (_host, worker) = counting(&targets(&[unwanted]));
    worker.exchange(&request("/"));
    let looked_at = worker.longest();
    println!("copied {copied}, looked at {looked_at}");
    assert!(copied < 40_000 && looked_at < 15_000, "{copied}, {looked_at}");
}

#[test]
fn followers_that_order_their_copies_by_a_value_of_the_body_begin_a_few_at_a_time() {
    let fields = |number: usize| match number {
        0 => json!({}),
        _ => json!({"after": {"target": "t0"}, "order": {"key": {"body": format!("/{number}")}}}),
    };
    assert_short("keys of followers, white space", &all(fields), &compressed(&padded()));
    assert_short("keys of followers", &all(fields), &compressed(&zeros()));
}

/// The ids of followers are made of the client's key, however long that is.
#[test]
fn leaders_with_long_keys_that_end_at_once_do_so_a_few_at_a_time() {
    let fields = |number: usize| {
        let retry = json!({"retry": {"max_attempts": 9, "backoff": {"base": "1ms", "max": "1ms"}, "expire_after": "3s",
            "budget": {"percent": 100}}, "circuit_breaker": {"open_for": "1s"}});
        if number == 0 {
            retry
        } else {
            json!({"after": {"target": "t0", "outcome": "given_up"}})
        }
    };
    let mut configuration = all(fields);
    configuration["drain_timeout"] = "1s".into();
    let long = Request::get("/").header("idempotency-key", "k".repeat(50_000));
    let ends: [fn(&Host, &Worker); 2] = [
        |_, worker| assert!(worker.configure(targets(&[target("a")]).to_string())),
        |host, worker| {
            worker.call_outs().into_iter().for_each(|call| call.answer(Answer::upstream(503)));
            // The probe fails, and the breaker opens for longer than the others may wait.
            worker.pass(host, Duration::from_millis(1_100));
            worker.call_outs().into_iter().for_each(|call| call.answer(Answer::upstream(503)));
        },
    ];
    let mut all = Vec::new();
    for (end, reason) in ends.into_iter().zip(["shutdown", "circuit_open"]) {
        let (host, worker) = counting(&configuration);
        for _ in 0..250 {
            worker.exchange(&long);
        }
        end(&host, &worker);
        worker.pass(&host, Duration::from_secs(5));
        for _ in 0..100 {
            worker.pass(&host, Duration::from_millis(100));
            worker.answer_all(&Answer::upstream(200));
        }
        let longest = worker.longest();
        println!("long keys, {reason}: {longest}");
        (0..32).for_each(|number| assert_balanced(&host, &format!("t{number}")));
        let given_up = host.stat("t0", &format!("dropped.{reason}"));
        assert!(given_up > 200, "{:?}", dropped(&host, "t0"));
        all.push(longest);
    }
    assert!(all.iter().all(|longest| *longest < MOST), "{all:?}");
}
