//! Dead letters that go through RabbitMQ's HTTP interface into a durable queue, and are read back over AMQP.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::{json, Value};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::letter::{to_rabbitmq, Letter};
use crate::scene::{noise, target, Scene};
use crate::support::answer::{Answer, Behaviour};
use crate::support::client::{full, Client};
use crate::support::eventually::eventually;
use crate::support::rabbitmq::{Message, RabbitMq};
use crate::support::recorded::{values, Headers, Recorded};

const COUNT: usize = 1_000;

/// One of the requests. Everything about it follows from its number.
#[derive(Clone, Copy)]
struct Order(usize);

impl Order {
    fn method(self) -> &'static str {
        ["POST", "PUT", "PATCH"][self.0 % 3]
    }

    fn path(self) -> String {
        format!("/orders/{}?from=a%20b", self.0)
    }

    fn correlation_id(self) -> String {
        format!("{:08x}-0000-4000-8000-000000000000", self.0)
    }

    fn trace_id(self) -> Option<String> {
        self.0.is_multiple_of(2).then(|| format!("{:032x}", self.0 + 1))
    }

    /// Nothing, bytes that are no text, or a text with whatever JSON has to escape.
    fn body(self) -> Bytes {
        match self.0 % 10 {
            0 => Bytes::new(),
            1 => [b"\xff\xfe\x00", &noise(self.0 * 3)[..]].concat().into(),
            _ => format!("{{\"order\": {}, \"note\": \"\\\"\u{fc}\u{1f980}\\n\r\n\t\"}}", self.0).into(),
        }
    }

    async fn send(self, client: &Client) {
        let mut request = client
            .request(self.method(), &self.path())
            .header("x-request-id", self.correlation_id())
            .header("x-number", self.0)
            .header("x-twice", "one")
            .header("x-twice", "\"two\", \\three")
            .header("authorization", "Bearer nobody's business");
        if let Some(trace_id) = self.trace_id() {
            request = request.header("traceparent", format!("00-{trace_id}-00f067aa0ba902b7-01"));
        }
        let answer = client.send(request.body(full(self.body())).unwrap()).await;
        assert_eq!(answer.status, 200);
    }

    fn check(self, letter: &Letter, last_attempt: &Recorded, started: SystemTime) {
        assert_eq!(letter.summary(), ("audit", "retries_exhausted", 2));
        assert_eq!(letter.text("last_outcome"), "status_503");
        assert_eq!(letter.text("correlation_id"), self.correlation_id());
        assert_eq!(letter.id(), last_attempt.only("idempotency-key"));
        letter.assert_times(started);
        match self.trace_id() {
            Some(trace_id) => {
                let [version, trace, parent, flags] = letter.text("traceparent").split('-').collect::<Vec<_>>()[..] else {
                    panic!("{letter:?}");
                };
                assert_eq!((version, trace, flags), ("00", trace_id.as_str(), "01"));
                assert!(parent.len() == 16 && parent != "00f067aa0ba902b7", "{parent}");
            }
            None => assert_eq!(letter.0["traceparent"], Value::Null),
        }
        assert_eq!(letter.request("method"), Some(self.method()));
        assert_eq!(letter.request("path"), Some(self.path().as_str()));
        assert_eq!(letter.request("authority"), Some(last_attempt.authority.as_str()));
        assert_eq!(letter.body(), self.body());
        assert_eq!(own(letter.headers()), own(last_attempt.headers.clone()));
    }
}

/// The headers of a copy that are the same in each of its attempts, less those that Envoy adds to what it sends; sorted.
fn own(mut headers: Headers) -> Headers {
    headers.retain(|(name, _)| {
        let of_the_attempt = ["traceparent", "x-sidecast-attempt"].contains(&name.as_str());
        let of_the_connection = ["content-length", "x-forwarded-proto"].contains(&name.as_str());
        !of_the_attempt && !of_the_connection && !name.starts_with("x-envoy-") && !name.starts_with(':')
    });
    headers.sort();
    headers
}

fn configuration() -> Value {
    let mut audit = target("audit");
    audit["retry"] = json!({
        "max_attempts": 2,
        "backoff": {"base": "1ms", "max": "2ms"},
        "budget": {"percent": 100, "min_per_second": 1_000_000},
        "expire_after": "10m",
    });
    // The letters of both workers come to RabbitMQ a few at a time.
    audit["limits"] = json!({"max_in_flight": 16, "max_queued": 2 * COUNT});
    audit["dead_letter"] = to_rabbitmq("rabbit", "dead-letters");
    json!({ "targets": [audit] })
}

#[tokio::test]
async fn a_thousand_given_up_requests_are_in_a_queue_of_rabbitmq_each_once_and_whole() {
    let Some(rabbit) = RabbitMq::start().await else {
        return;
    };
    let queue = rabbit.queue("dead-letters").await;
    let scene =
        Scene::set_up(["audit"], configuration(), |setup| setup.cluster("rabbit", rabbit.management()).wasm_level("warn")).await;
    scene.target().behave(Behaviour::Answer(Answer::status(503)));
    let started = SystemTime::now();
    let (client, lanes) = (scene.client(), Arc::new(Semaphore::new(16)));
    let mut sending = JoinSet::new();
    for index in 0..COUNT {
        let (client, lanes) = (client.clone(), Arc::clone(&lanes));
        sending.spawn(async move {
            let _lane = lanes.acquire().await.unwrap();
            Order(index).send(&client).await;
        });
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap();
    }
    let stats = eventually(Duration::from_secs(120), "all letters to be delivered", async || {
        let stats = scene.envoy.stats().await;
        stats.settled("audit").map(|()| stats)
    })
    .await;
    assert_eq!(stats.drops("audit"), BTreeMap::new());
    let counted = ["matched", "attempts", "dead_lettered", "delivered"].map(|name| stats.of("audit", name));
    assert_eq!(counted, [1_000, 2_000, 1_000, 0]);
    assert_eq!(queue.length().await, COUNT);

    let mut last_attempts: BTreeMap<String, Recorded> = BTreeMap::new();
    for copy in scene.target().take(2 * COUNT).await {
        if copy.attempt() == 2 {
            last_attempts.insert(copy.only("x-number"), copy);
        }
    }
    let (mut ids, mut orders) = (BTreeSet::new(), BTreeSet::new());
    let messages = queue.take().await;
    for Message { properties, payload } in &messages {
        assert_eq!(properties.delivery_mode(), Some(2));
        assert_eq!(properties.content_type().unwrap(), "application/json");
        let letter = Letter::parse(payload);
        assert_eq!(properties.message_id().unwrap(), letter.id());
        let number = values(&letter.headers(), "x-number").remove(0);
        Order(number.parse().unwrap()).check(&letter, &last_attempts[&number], started);
        ids.insert(letter.id().to_owned());
        orders.insert(number);
    }
    assert_eq!((ids.len(), orders.len()), (COUNT, COUNT));
    #[cfg(feature = "cli")]
    replayed(&rabbit, &queue, &scene, messages.into_iter().take(30).collect(), &last_attempts).await;
}

/// The target is back, and `sidecast replay` sends it what the letters hold: its copies as they would have come.
#[cfg(feature = "cli")]
async fn replayed(
    rabbit: &RabbitMq,
    queue: &crate::support::rabbitmq::Queue,
    scene: &Scene<1>,
    messages: Vec<Message>,
    last_attempts: &BTreeMap<String, Recorded>,
) {
    let count = messages.len();
    for message in messages {
        queue.put(message.payload).await;
    }
    eventually(Duration::from_secs(20), "the queue to have them", async || {
        let length = queue.length().await;
        if length == count {
            Ok(())
        } else {
            Err(length.to_string())
        }
    })
    .await;
    scene.target().behave(Behaviour::Answer(Answer::status(200)));
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (format!("amqp://guest:guest@{}", rabbit.amqp()), format!("http://{}", scene.target().address()));
    let ran = tokio::process::Command::new(env!("CARGO_BIN_EXE_sidecast"))
        .args(["replay", "--from", &from, "--queue", queue.name(), "--to", &to])
        .current_dir(directory.path())
        .output()
        .await
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), format!("{count} sent\n"), "{}", ran.stderr.escape_ascii());
    assert_eq!(queue.length().await, 0);
    for copy in scene.target().take(count).await {
        let attempt = &last_attempts[&copy.only("x-number")];
        let line = |copy: &Recorded| (copy.method.clone(), copy.path.clone(), copy.authority.clone(), copy.body());
        assert_eq!(line(&copy), line(attempt));
        assert_eq!(own(copy.headers), own(attempt.headers.clone()));
    }
}
