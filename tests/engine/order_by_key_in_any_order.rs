//! Whatever happens in whatever order, copies of one key begin in the order of their arrival, and no two of them are under way at once.

use crate::{
    configurations::unexpected,
    host::{Answer, CallOut, Host, Request, Response, Status, Stream, Worker},
};
use proptest::prelude::*;
use serde_json::{json, Value};
use std::{collections::BTreeMap, time::Duration};

const SECOND: Duration = Duration::from_secs(1);
const TARGETS: [&str; 3] = ["narrow", "fragile", "later"];
const KEYS: [&str; 3] = ["a", "b", "c"];

/// By a header, by a value of the body, and after the response. Places, bytes, retries and breakers are few, so that all of them run out.
fn configuration() -> Value {
    let by_header = json!({"key": {"header": "x-user"}});
    let retry = |attempts: u32| {
        json!({"max_attempts": attempts, "backoff": {"base": "100ms", "max": "1s"},
            "budget": {"percent": 100, "min_per_second": 10}, "expire_after": "4s"})
    };
    json!({
        "targets": [
            {"name": "narrow", "cluster": "narrow", "order": by_header, "retry": retry(3), "timeout": "30s",
             "circuit_breaker": {"mode": "disabled"}, "limits": {"max_in_flight": 2, "max_queued": 5}, "dead_letter": {"cluster": "letters", "timeout": "1s"}},
            {"name": "fragile", "cluster": "fragile", "order": {"key": {"body": "/user"}}, "retry": retry(4), "timeout": "30s",
             "circuit_breaker": {"consecutive_failures": 2, "open_for": "1s"}, "limits": {"rate": {"per_second": 5, "burst": 20}}},
            {"name": "later", "cluster": "later", "order": by_header, "after": "response", "timeout": "30s", "retry": retry(2),
             "limits": {"max_in_flight": 1, "max_queued": 8}},
        ],
        "limits": {"max_body_bytes": "2KiB", "max_buffered_bytes": "24KiB"},
        "drain_timeout": "3s",
    })
}

#[derive(Clone, Debug)]
enum Step {
    /// A request with this key, or with none.
    Send {
        key: Option<usize>,
        size: usize,
    },
    Respond {
        which: usize,
        status: u16,
    },
    Answer {
        which: usize,
        status: Option<u16>,
    },
    Pass {
        millis: u64,
    },
    Refuse(Option<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop_oneof![3 => Just(Some(200)), 2 => Just(Some(503)), 1 => Just(Some(404)), 1 => Just(None)];
    prop_oneof![
        6 => (prop::option::weighted(0.9, 0..KEYS.len()), prop_oneof![4 => 0_usize..50, 1 => 0_usize..1_500])
            .prop_map(|(key, size)| Step::Send { key, size }),
        4 => (any::<usize>(), prop_oneof![Just(200), Just(200), Just(500)]).prop_map(|(which, status)| Step::Respond { which, status }),
        7 => (any::<usize>(), status).prop_map(|(which, status)| Step::Answer { which, status }),
        3 => (0_u64..2_000).prop_map(|millis| Step::Pass { millis }),
        1 => prop::option::of(0..TARGETS.len()).prop_map(Step::Refuse),
    ]
}

/// A request: its key if it has one, and its number.
type Copy = (Option<usize>, usize);

/// A worker, the calls that have not ended, and what was seen of each key.
struct Stage {
    host: Host,
    worker: Worker,
    open: Vec<(CallOut, Option<Copy>)>,
    /// The last request of a target and key that was attempted.
    last: BTreeMap<(usize, usize), usize>,
    /// The place of a request among all, in the order in which a target took it in.
    arrived: [Vec<usize>; 3],
}

fn copy_of(call: &CallOut) -> Option<Copy> {
    let number = call.header("x-number")?.parse().unwrap();
    let key = call.header("x-user").map(|key| KEYS.iter().position(|other| *other == key).unwrap());
    Some((key, number))
}

impl Stage {
    fn new() -> Self {
        let host = Host::new();
        let worker = host.worker(&configuration());
        Self { host, worker, open: Vec::new(), last: BTreeMap::new(), arrived: Default::default() }
    }

    /// Looks at the calls that were made since the last time.
    fn look(&mut self) -> Result<(), TestCaseError> {
        for call in self.worker.call_outs() {
            let Some(target) = TARGETS.iter().position(|target| *target == call.cluster()) else {
                self.open.push((call, None));
                continue;
            };
            let copy = copy_of(&call).unwrap();
            if let (Some(key), number) = copy {
                let of_key = |(other, copy): &&(CallOut, Option<Copy>)| {
                    other.cluster() == call.cluster() && copy.is_some_and(|(other, _)| other == Some(key))
                };
                prop_assert!(self.open.iter().find(of_key).is_none(), "two copies of key {key} under way at {}", call.cluster());
                let place = self.arrived[target].iter().position(|other| *other == number);
                prop_assert!(place.is_some(), "request {number} has not arrived");
                let before = self.last.insert((target, key), place.unwrap());
                prop_assert!(before <= place, "{before:?} was attempted before {place:?}: key {key} at {}", call.cluster());
                // A first attempt that Envoy refused is not seen.
                prop_assert!(before != place || call.header("x-sidecast-attempt").is_some(), "{number} has two first attempts");
            }
            self.open.push((call, Some(copy)));
        }
        Ok(())
    }

    fn answer(&mut self, which: usize, status: Option<u16>) {
        if !self.open.is_empty() {
            let (call, _) = self.open.remove(which % self.open.len());
            call.answer(status.map_or_else(Answer::reset, Answer::upstream));
        }
    }

    fn ends(&self, target: &str) -> i64 {
        let dropped = self.host.sum(&format!("sidecast.{target}.dropped."));
        dropped + ["delivered", "dead_lettered", "not_triggered"].iter().map(|name| self.host.stat(target, name)).sum::<i64>()
    }
}

fn respond(stream: Stream, status: u16) {
    stream.answer(&Response::status(status));
    stream.close();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn keys_keep_their_order(steps in prop::collection::vec(step(), 1..120), is_drained in any::<bool>()) {
        let mut stage = Stage::new();
        let mut streams: Vec<(Stream, usize)> = Vec::new();
        let mut sent = 0_i64;
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Send { key, size } => {
                    let mut request = Request::post("/").header("x-number", number.to_string());
                    let mut body = json!({"text": "x".repeat(size)});
                    if let Some(key) = key {
                        request = request.header("x-user", KEYS[key]);
                        body["user"] = KEYS[key].into();
                    }
                    (0..2).for_each(|target| stage.arrived[target].push(number));
                    streams.push((stage.worker.send(&request.body(body.to_string())), number));
                    sent += 1;
                }
                Step::Respond { which, status } if !streams.is_empty() => {
                    let (stream, number) = streams.remove(which % streams.len());
                    stage.arrived[2].push(number);
                    respond(stream, status);
                }
                Step::Respond { .. } => {}
                Step::Answer { which, status } => stage.answer(which, status),
                Step::Pass { millis } => {
                    stage.worker.pass(&stage.host, Duration::from_millis(millis));
                }
                Step::Refuse(target) => {
                    TARGETS.iter().for_each(|cluster| stage.host.accept_calls_to(cluster));
                    if let Some(target) = target {
                        stage.host.refuse_calls_to(TARGETS[target], Status::INTERNAL_FAILURE);
                    }
                }
            }
            stage.look()?;
            for target in TARGETS {
                prop_assert!(stage.ends(target) <= sent, "{target}");
                prop_assert!(stage.host.stat(target, "inflight") >= 0 && stage.host.stat(target, "queued") >= 0, "{target}");
            }
        }
        for (stream, number) in streams {
            stage.arrived[2].push(number);
            respond(stream, 200);
            stage.look()?;
        }
        TARGETS.iter().for_each(|cluster| stage.host.accept_calls_to(cluster));
        let root = stage.worker.root();
        if is_drained {
            // Some calls never end. The drain does, with the letters.
            stage.worker.shut_down();
            if !stage.worker.is_deleted(root) {
                stage.worker.pass(&stage.host, SECOND);
                stage.look()?;
                stage.worker.pass(&stage.host, 60 * SECOND);
                prop_assert!(stage.worker.is_deleted(root));
            }
        } else {
            // All calls are answered, until nothing is left to send.
            for _ in 0..1_000 {
                stage.answer(0, Some(200));
                if stage.open.is_empty() {
                    stage.worker.pass(&stage.host, SECOND);
                }
                stage.look()?;
            }
            prop_assert_eq!(stage.worker.tick_period(), None);
        }
        for target in TARGETS {
            let held = ["inflight", "queued", "queued_bytes"].map(|name| stage.host.stat(target, name));
            prop_assert_eq!((stage.host.stat(target, "matched"), stage.ends(target), held), (sent, sent, [0; 3]), "{}", target);
        }
        if !is_drained {
            // Nothing is left reserved: the whole budget takes a request again, and so does each key.
            for key in KEYS {
                for target in TARGETS {
                    let before = stage.host.stat(target, "delivered");
                    let request = Request::post("/").header("x-number", "0").header("x-user", key);
                    respond(stage.worker.send(&request.body(json!({"user": key, "text": "x".repeat(2_000)}).to_string())), 200);
                    while stage.worker.answer_all(&Answer::upstream(200)) > 0 {}
                    prop_assert_eq!(stage.host.stat(target, "delivered"), before + 1, "{} {}", target, key);
                }
            }
        }
        prop_assert_eq!(unexpected(&stage.host), 0);
    }
}
