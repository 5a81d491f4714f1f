//! The memory of an Envoy grows by no more than the sum that docs/operations.md states, whatever feature holds the copies, and whatever is in them.

use crate::support::gzip::gzip;
use std::net::SocketAddr;

use serde_json::{json, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::scene::{target, Scene};
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::stats::Stats;
use crate::support::upstream::Upstream;

const MIB: u64 = 1 << 20;
/// What each call under way costs an Envoy, whatever is in it.
const CALL: u64 = 22 * 1024;
const CONNECTIONS: usize = 4;
/// The longest header value that Envoy takes by default, less some room.
const LONGEST_HEADER: usize = 48_000;

/// The clusters: one that takes every call and responses none, one that refuses with 503, one that returns 200.
const CLUSTERS: [&str; 3] = ["hang", "refuse", "answer"];

fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("POST / HTTP/1.1\r\nhost: a\r\n{headers}content-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn get(headers: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n").into_bytes()
}

const GZIP: &str = "content-type: application/json\r\ncontent-encoding: gzip\r\n";

/// How a feature is made to hold as much as it can.
struct Story {
    name: &'static str,
    targets: Vec<Value>,
    request: Vec<u8>,
    requests: usize,
    /// The requests never end, or their responses never come.
    unfinished: bool,
    /// The room must be used up for the story to tell something.
    fills: bool,
    primary: Behaviour,
}

fn held_at(cluster: &str, fields: &Value) -> Value {
    let mut target = target("audit");
    target["cluster"] = cluster.into();
    target["timeout"] = "1h".into();
    target["limits"] = json!({"max_in_flight": 16, "max_queued": 1_000_000});
    target.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    target
}

/// The worst that each feature can be given, to fill `bound` bytes.
fn stories(bound: usize) -> Vec<Story> {
    // So long that some 1,500 requests fill the room.
    let size = bound / 1_500;
    let story = |name, fields: Value, request| Story {
        name,
        targets: vec![held_at("hang", &fields)],
        request,
        requests: 2_400,
        unfinished: false,
        fills: true,
        primary: Behaviour::Answer(Answer::status(200)),
    };
    let body = vec![b'x'; size];
    let text = json!({"a": "x".repeat(size), "secret": 1}).to_string();
    let mut padded = b"{\"a\":1".to_vec();
    padded.resize(900_000, b' ');
    padded.push(b'}');
    let padded = post(GZIP, &gzip(&padded));
    let cookie = get(&format!("cookie: {}\r\n", "x".repeat(size.min(LONGEST_HEADER))));
    let upload = [b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 900000\r\n\r\n".to_vec(), vec![b'x'; 899_999]].concat();
    let busy = json!({"max_in_flight": 1_500, "max_queued": 1_000_000});
    let retry = json!({"max_attempts": 10, "backoff": {"base": "1h", "max": "1h"}, "expire_after": "1h", "budget": {"percent": 100, "min_per_second": 1_000}});
    let many: Vec<Value> = (0..32)
        .map(|index| {
            let mut target = held_at("hang", &json!({"limits": {"max_in_flight": 64, "max_queued": 10_000}}));
            target["name"] = if index == 0 { "audit".into() } else { format!("t{index}").into() };
            target
        })
        .collect();
    vec![
        story("plain copies that wait", json!({}), post("", &body)),
        story("headers that are kept", json!({"request": {"headers": {"set": {"x-a": "${header:cookie}"}}}}), cookie),
        story(
            "bodies that redaction builds, under way",
            json!({"request": {"body": {"redact": ["/secret"]}}, "limits": busy}),
            post(GZIP, &gzip(text.as_bytes())),
        ),
        story(
            "bodies that a template builds, under way",
            json!({"request": {"body": {"template": {"twice": ["${body_base64}", "${body_text}"]}}}, "limits": busy}),
            post("", &vec![b'x'; size / 2]),
        ),
        Story {
            fills: false,
            requests: 300,
            ..story(
                "a batch of items from padded bodies",
                json!({"batch": {"max_items": 1_000, "max_delay": "1h", "format": "ndjson"}}),
                padded,
            )
        },
        story(
            "batches that wait",
            json!({"batch": {"max_items": 10}}),
            post("content-type: application/json\r\n", text.as_bytes()),
        ),
        Story {
            targets: vec![held_at("refuse", &json!({"retry": retry, "limits": {"max_in_flight": 64, "max_queued": 1_000_000}}))],
            ..story("retries that wait", json!({}), post("", &body))
        },
        Story {
            targets: vec![held_at(
                "refuse",
                &json!({"dead_letter": {"cluster": "hang", "timeout": "1s"}, "retry": {"max_attempts": 1}}),
            )],
            ..story("dead letters that wait", json!({}), post("", &body))
        },
        Story {
            primary: Behaviour::Answer(Answer { body: vec![b'1'; size].into(), ..Answer::status(200) }),
            ..story("comparisons", json!({"compare": {}, "limits": busy}), post("", &body))
        },
        Story { unfinished: true, requests: bound / 600_000, ..story("uploads that do not end", json!({}), upload) },
        Story {
            unfinished: true,
            requests: bound / 600_000,
            primary: Behaviour::Gated(Gate::shut(), Answer::status(200)),
            ..story("requests whose response does not come", json!({"after": "response"}), post("", &vec![b'x'; 900_000]))
        },
        Story { targets: many, fills: false, requests: 100, ..story("calls of many targets", json!({}), get("")) },
    ]
}

/// A cluster's only host: it takes what is sent, and responses nothing.
async fn sink() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut room = vec![0; 1 << 16];
                while stream.read(&mut room).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    address
}

/// Sends a request again and again over a few connections, and reads each answer.
async fn send_all(address: SocketAddr, request: &[u8], requests: usize) {
    let mut sending = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let request = request.to_vec();
        let requests = (requests + connection) / CONNECTIONS;
        sending.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            for _ in 0..requests {
                stream.write_all(&request).await.unwrap();
                read_answer(&mut stream).await;
            }
        });
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap();
    }
}

async fn read_answer(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    while !is_whole(&answer) {
        let read = stream.read_buf(&mut answer).await.unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

/// Sends each request over a connection of its own, which stays.
async fn begin_all(address: SocketAddr, request: &[u8], requests: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..requests {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        streams.push(stream);
    }
    streams
}

fn calls_under_way(stats: &Stats) -> u64 {
    let others = (1..32).filter_map(|index| stats.find(&format!("wasmcustom.sidecast.t{index}.inflight")));
    stats.of("audit", "inflight") + others.sum::<u64>()
}

/// Tells all stories to one Envoy with one worker. It never gives memory back, so what is bounded is the largest of them.
async fn grows_within(bound: u64) {
    let refuse = Upstream::behaving(Behaviour::Answer(Answer::status(503))).await;
    let answer = Upstream::start().await;
    let quiet = json!({"targets": [target("answer")]});
    let hang = sink().await;
    let scene = Scene::set_up([], quiet, |setup| {
        let [of_hang, of_refuse, of_answer] = CLUSTERS;
        let setup = setup.cluster(of_hang, hang).cluster(of_refuse, refuse.address()).cluster(of_answer, answer.address());
        setup.concurrency(1).dynamic().wasm_level("warn")
    })
    .await;
    for upstream in [&scene.primary, &refuse, &answer] {
        upstream.forget();
    }
    let envoy = &scene.envoy;
    send_all(envoy.address("main"), &post("", &vec![b'x'; 100_000]), 20).await;
    envoy.settled(["answer"]).await;
    let floor = envoy.memory().await.resident;
    let mut calls = 0;
    for story in stories(usize::try_from(bound).unwrap()) {
        let name = story.name;
        scene.update(&json!({
            "targets": story.targets,
            "limits": {"max_buffered_bytes": bound},
            "drain_timeout": "100ms",
        }));
        // The one before has let go of all that it held.
        envoy.draining(1).await;
        envoy.draining(0).await;
        scene.primary.behave(story.primary);
        let before = envoy.settled(["audit"]).await;
        let streams = if story.unfinished {
            begin_all(envoy.address("main"), &story.request, story.requests).await
        } else {
            send_all(envoy.address("main"), &story.request, story.requests).await;
            Vec::new()
        };
        if story.fills {
            let full = |stats: &Stats| stats.of("audit", "dropped.buffer_full");
            eventually(PATIENCE, name, async || {
                let stats = envoy.stats().await;
                if full(&stats) > full(&before) {
                    Ok(())
                } else {
                    Err(format!("{:?}", stats.target("audit")))
                }
            })
            .await;
        }
        let stats = envoy.stats().await;
        calls = calls_under_way(&stats).max(calls);
        let peak = envoy.memory().await.peak;
        let grown = peak.saturating_sub(floor);
        let allowed = 2 * bound + 16 * MIB + calls * CALL;
        println!("{} MiB, {name}: grown {:.1} MiB of {:.1}", bound / MIB, grown as f64 / MIB as f64, allowed as f64 / MIB as f64);
        assert!(grown <= allowed, "{name}: grown by {grown}, allowed are {allowed}: {:?}", stats.target("audit"));
        drop(streams);
    }
    // Nothing has trapped on the way: the next copy arrives.
    scene.primary.behave(Behaviour::Answer(Answer::status(200)));
    scene.update(&json!({"targets": [target("answer")]}));
    envoy.draining(1).await;
    envoy.draining(0).await;
    envoy.settled(["audit"]).await;
    let before = envoy.stats().await.of("answer", "delivered");
    send_all(envoy.address("main"), &post("", b"last"), 1).await;
    envoy.settled_at("answer", before + 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_grows_within_the_stated_sum_whatever_is_held() {
    // At the same time: most of it is waiting.
    tokio::join!(grows_within(4 * MIB), grows_within(16 * MIB), grows_within(64 * MIB));
}
