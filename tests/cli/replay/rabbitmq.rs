//! Letters of a queue of RabbitMQ.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Child;
use std::time::Duration;

use data_encoding::BASE64;
use rustix::process::{kill_process, Pid, Signal};
use serde_json::json;

use super::{keys, letter, summary, told, Scene};
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::rabbitmq::{Queue, RabbitMq};
use crate::tool::{ended, start, Ran};

const COUNT: usize = 1_000;
const CONCURRENCY: usize = 8;

struct Stage {
    rabbit: RabbitMq,
    scene: Scene,
}

impl Stage {
    fn begin(&self, queue: &Queue, more: &[&str]) -> Child {
        let (from, to) = (format!("amqp://guest@{}", self.rabbit.amqp()), self.scene.url());
        let options = ["replay", "--from", &from, "--queue", queue.name(), "--to", &to, "--format", "json"];
        start(self.scene.path(), &[&options[..], more].concat(), &[("SIDECAST_AMQP_PASSWORD", "guest")])
    }

    fn replay(&self, queue: &Queue, more: &[&str]) -> Ran {
        let ran = ended(self.begin(queue, more));
        // Where the tool is released, a panic ends it.
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        ran
    }
}

/// Waits until the broker knows of the end of a connection.
async fn holds(queue: &Queue, count: usize) {
    eventually(PATIENCE, "messages to be back in the queue", async || {
        let length = queue.length().await;
        if length == count {
            Ok(())
        } else {
            Err(format!("{length} of {count}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_leave_a_queue_of_rabbitmq_when_they_are_delivered_and_not_before() {
    let Some(rabbit) = RabbitMq::start().await else {
        return;
    };
    let stage = Stage { rabbit, scene: Scene::new().await };
    killed_in_the_middle(&stage).await;
    what_does_not_go_stays(&stage).await;
    what_is_no_letter_is_kept_whole(&stage).await;
    what_is_left_is_counted(&stage).await;
    over_tls(&stage).await;
    what_is_not_there_is_told(&stage);
}

async fn killed_in_the_middle(stage: &Stage) {
    let queue = stage.rabbit.queue("thousand").await;
    for number in 0..COUNT {
        let letter = letter(&format!("i{number}"), number, "/orders").to_string();
        let is_base64 = number % 2 == 0;
        queue.put(if is_base64 { BASE64.encode(letter.as_bytes()).into_bytes() } else { letter.into_bytes() }).await;
    }
    holds(&queue, COUNT).await;
    let target = &stage.scene.target;
    target.behave(Behaviour::Hang);
    let mut child = stage.begin(&queue, &["--concurrency", "8"]);
    target.take(CONCURRENCY).await;
    child.kill().unwrap();
    child.wait().unwrap();
    // None was delivered, so none has left.
    holds(&queue, COUNT).await;

    target.behave(Behaviour::Answer(Answer::status(200).after(Duration::from_millis(2))));
    let mut child = stage.begin(&queue, &["--concurrency", "8"]);
    target.arrived(COUNT / 3).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let delivered = stage.scene.read("sidecast-replay.journal").lines().count() - 1;
    assert!((1..COUNT).contains(&delivered), "{delivered}");
    eventually(PATIENCE, "what was not acknowledged to be back", async || {
        let length = queue.length().await;
        if length + delivered >= COUNT {
            Ok(())
        } else {
            Err(format!("{length} are there, and {delivered} were delivered"))
        }
    })
    .await;
    // The broker may give the last ones back only now.
    let mut sent = 0;
    eventually(PATIENCE, "the queue to be empty", async || {
        let ran = stage.replay(&queue, &["--concurrency", "8"]);
        assert_eq!((ran.status, ran.err.as_str()), (0, ""));
        sent += summary(&ran).get("sent").map_or(0, |sent| sent.as_u64().unwrap());
        let length = queue.length().await;
        if length == 0 {
            Ok(())
        } else {
            Err(format!("{length} are there"))
        }
    })
    .await;
    // What was delivered and not acknowledged has left the queue without being sent.
    assert_eq!(sent as usize, COUNT - delivered);

    let received = target.take(COUNT).await;
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for key in keys(&received) {
        *times.entry(key).or_default() += 1;
    }
    let doubled: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(times.len() == COUNT && times.values().all(|times| *times <= 2), "{} of {COUNT}", times.len());
    assert!(doubled.len() <= CONCURRENCY, "{doubled:?}");
}

async fn what_does_not_go_stays(stage: &Stage) {
    let queue = stage.rabbit.queue("mixed").await;
    let mut hidden = letter("hidden", 1, "/");
    hidden["request"]["redacted"] = json!(["authorization"]);
    let refused = letter("refused", 1, "no path");
    for payload in [
        letter("fails", 1, "/fails").to_string().into_bytes(),
        b"no letter".to_vec(),
        Vec::new(),
        vec![0xff, 0xfe],
        hidden.to_string().into_bytes(),
        refused.to_string().into_bytes(),
        letter("goes", 1, "/").to_string().into_bytes(),
    ] {
        queue.put(payload).await;
    }
    holds(&queue, 7).await;
    let status = |status| Behaviour::Answer(Answer::status(status));
    stage.scene.target.behave(Behaviour::by_path("/fails", status(404), status(200)));
    let dry = stage.replay(&queue, &["--dry-run"]);
    assert_eq!(summary(&dry), json!({"would_send": 2, "not_sent": 1, "refused": 1, "no_letter": 3}));
    holds(&queue, 7).await;
    let ran = stage.replay(&queue, &[]);
    assert_eq!((ran.status, summary(&ran)), (1, json!({"sent": 1, "failed": 1, "not_sent": 1, "refused": 1, "no_letter": 3})));
    let mut received = keys(&stage.scene.target.take(2).await);
    received.sort();
    assert_eq!(received, ["fails", "goes"]);
    holds(&queue, 6).await;
    let moved = stage.replay(&queue, &["--failed", "failed"]);
    assert_eq!(summary(&moved), json!({"failed": 1, "not_sent": 1, "refused": 1, "no_letter": 3}));
    holds(&queue, 1).await;
    assert_eq!(stage.scene.read("failed").lines().count(), 5);
    stage.scene.target.behave(status(200));
    let again = stage.scene.replay(&["failed", "--format", "json"]);
    assert_eq!(summary(&again), json!({"sent": 1, "refused": 1, "no_letter": 3}));
    let set = stage.replay(&queue, &["--set", "authorization=x"]);
    assert_eq!((set.status, told(&set)), (0, vec![("hidden".to_owned(), "sent status_200 1".to_owned())]));
    holds(&queue, 0).await;
    stage.scene.target.take(3).await;
}

async fn what_is_no_letter_is_kept_whole(stage: &Stage) {
    let queue = stage.rabbit.queue("of-others").await;
    let message = json!({"message": "hello", "user": 5}).to_string();
    queue.put(message.clone().into_bytes()).await;
    holds(&queue, 1).await;
    let ran = stage.replay(&queue, &["--failed", "of-others"]);
    assert_eq!(summary(&ran), json!({"no_letter": 1}));
    holds(&queue, 0).await;
    assert_eq!(stage.scene.read("of-others"), format!("{}\n", json!({ "not_a_letter": message })));
}

async fn what_is_left_is_counted(stage: &Stage) {
    let queue = stage.rabbit.queue("stopped").await;
    for number in 0..10 {
        queue.put(letter(&format!("s{number}"), 1, "/").to_string().into_bytes()).await;
    }
    holds(&queue, 10).await;
    let gate = Gate::shut();
    stage.scene.target.behave(Behaviour::Gated(gate.clone(), Answer::status(200)));
    let mut child = stage.begin(&queue, &["--timeout", "60s"]);
    stage.scene.target.take(4).await;
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    BufReader::new(child.stderr.take().unwrap()).lines().next().unwrap().unwrap();
    gate.open();
    let ran = ended(child);
    assert_eq!((ran.status, summary(&ran)), (1, json!({"sent": 4, "left": 6})));
    holds(&queue, 6).await;
    stage.scene.target.behave(Behaviour::Answer(Answer::status(200)));
}

async fn over_tls(stage: &Stage) {
    let queue = stage.rabbit.queue("over-tls").await;
    queue.put(letter("tls", 1, "/").to_string().into_bytes()).await;
    holds(&queue, 1).await;
    let from = format!("amqps://guest:guest@localhost:{}/%2f", stage.rabbit.amqps_port());
    let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| stage.rabbit.file(name));
    let to = stage.scene.url();
    let options = ["--from", &from, "--queue", "over-tls", "--to", &to];
    let stranger = stage.scene.run(&[&options[..], &["--ca", &ca]].concat(), &[]);
    assert_eq!(stranger.status, 2, "{stranger:?}");
    let ran = stage.scene.run(&[&options[..], &["--ca", &ca, "--cert", &cert, "--key", &key]].concat(), &[]);
    assert_eq!((ran.status, ran.out.as_str()), (0, "1 sent\n"), "{}", ran.err);
    holds(&queue, 0).await;
}

fn what_is_not_there_is_told(stage: &Stage) {
    let to = stage.scene.url();
    let amqp = stage.rabbit.amqp();
    for (from, queue, why) in [
        (format!("amqp://guest:guest@{amqp}"), "absent", "no queue \"absent\""),
        (format!("amqp://guest:hunter2@{amqp}"), "thousand", "SIDECAST_AMQP_PASSWORD"),
        (format!("amqp://guest:guest@{amqp}/absent"), "thousand", "127.0.0.1"),
        ("amqp://guest:hunter2@127.0.0.1:1".to_owned(), "thousand", "127.0.0.1:1"),
    ] {
        let ran = stage.scene.run(&["--from", &from, "--queue", queue, "--to", &to], &[]);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{from}: {ran:?}");
        assert!(ran.err.contains(why) && !ran.err.contains("hunter2") && !ran.err.contains("panicked"), "{from}: {ran:?}");
    }
}
