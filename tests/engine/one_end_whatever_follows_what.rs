//! The accounting identity with chains of any shape beside every feature, whatever happens in whichever order. No copy begins before the copy that it
//! follows has ended, none is made twice, and none overtakes another of its key.

use crate::{
    configurations::{assert_balanced, target, targets, with},
    host::{Answer, CallOut, Host, Level, Request, Response, Status, Stream, Worker},
    one_end_whatever_is_made_of_it,
};
use proptest::prelude::*;
use serde_json::{json, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What one target is like. Each number chooses one of several settings.
#[derive(Clone, Debug)]
struct Shape {
    leader: usize,
    after: usize,
    order: usize,
    retry: usize,
    breaker: usize,
    letters: usize,
    limits: usize,
    rules: usize,
    reads: usize,
    alone: usize,
}

fn shape() -> impl Strategy<Value = Shape> {
    let first = (any::<usize>(), 0_usize..12, 0_usize..5, 0_usize..4, 0_usize..3);
    let second = (0_usize..3, 0_usize..6, 0_usize..6, 0_usize..8, 0_usize..6);
    (first, second).prop_map(|((leader, after, order, retry, breaker), (letters, limits, rules, reads, alone))| Shape {
        leader,
        after,
        order,
        retry,
        breaker,
        letters,
        limits,
        rules,
        reads,
        alone,
    })
}

fn name(number: usize) -> String {
    format!("t{number}")
}

/// The targets of these shapes, in an order in which followers may come before their leaders.
fn configuration(shapes: &[Shape], max_work: &str, buffered: usize) -> Value {
    let mut depths: Vec<usize> = Vec::new();
    let mut batched: Vec<bool> = Vec::new();
    let mut waits: Vec<bool> = Vec::new();
    let mut chains: Vec<Vec<usize>> = Vec::new();
    let mut list = Vec::new();
    for (number, shape) in shapes.iter().enumerate() {
        let leader = (number > 0 && shape.after < 9).then(|| shape.leader % number);
        let leader = leader.filter(|leader| !batched[*leader] && depths[*leader] < 8);
        let mut fields = json!({});
        let mut set = |field: &str, value: Value| fields[field] = value;
        match leader {
            Some(leader) => {
                let mut after = json!({"target": name(leader)});
                match shape.after {
                    0 => after["outcome"] = json!("delivered"),
                    1..=3 => after["outcome"] = json!("given_up"),
                    4 => after["statuses"] = json!(["2xx", "timeout"]),
                    5 => after["statuses"] = json!(["4xx", "5xx", "reset"]),
                    6 => after = with(after, &json!({"outcome": "given_up", "statuses": ["reset", "timeout", "5xx"]})),
                    _ => {}
                }
                set("after", after);
                let of_leader = chains[leader].clone();
                depths.push(depths[leader] + 1);
                waits.push(waits[leader]);
                chains.push([of_leader, vec![leader]].concat());
            }
            None => {
                if shape.after.is_multiple_of(2) {
                    set("after", json!("response"));
                    if shape.after == 10 {
                        set("statuses", json!(["2xx", "5xx", "reset", "timeout"]));
                    }
                }
                depths.push(0);
                waits.push(shape.after.is_multiple_of(2));
                chains.push(Vec::new());
            }
        }
        let is_batched = leader.is_none() && shape.alone == 0;
        batched.push(is_batched);
        if is_batched {
            set("batch", json!({"max_items": 3, "max_delay": "20ms"}));
        } else {
            match shape.order {
                0 => set("order", json!({"key": {"header": "x-user"}})),
                1 => set("order", json!({"key": {"body": "/user"}})),
                _ => {}
            }
        }
        if leader.is_none() && matches!(shape.alone, 1 | 2) {
            set("compare", json!({"percent": 100 / shape.alone}));
        }
        if shape.alone == 3 {
            set("sample", json!({"percent": 60}));
        }
        if shape.retry > 0 {
            set(
                "retry",
                json!({"max_attempts": shape.retry + 1, "backoff": {"base": "5ms", "max": "40ms"},
                "budget": {"percent": 100, "min_per_second": 10}, "expire_after": if shape.retry == 3 { "30ms" } else { "5s" }}),
            );
        }
        match shape.breaker {
            0 => set("circuit_breaker", json!({"mode": "disabled"})),
            1 => set("circuit_breaker", json!({"consecutive_failures": 2, "open_for": "50ms"})),
            _ => {}
        }
        if shape.letters == 0 {
            let on = json!([
                "retries_exhausted",
                "not_retryable",
                "queue_full",
                "circuit_open",
                "shutdown",
                "expired",
                "rate_limited",
                "retry_budget"
            ]);
            set("dead_letter", json!({"cluster": "letters", "timeout": "1s", "on": on}));
        }
        match shape.limits {
            0 => set("limits", json!({"max_in_flight": 1, "max_queued": 4})),
            1 => set("limits", json!({"max_in_flight": 2, "max_queued": 3})),
            2 => set("limits", json!({"rate": {"per_second": 20, "burst": 3}})),
            _ => {}
        }
        match shape.rules {
            0 => set("match", json!([{"body": [{"pointer": "/kind", "exact": "order"}]}])),
            1 => set("match", json!([{"headers": [{"name": "x-user", "present": true}]}])),
            _ => {}
        }
        let nearest = chains[number].last().copied().map(name);
        let farthest = chains[number].first().copied().map(name);
        match (shape.reads, nearest, farthest, waits[number]) {
            (0, Some(nearest), _, _) => set("request", json!({"path": format!("/a/${{target:{nearest}:body:/id}}")})),
            (1, Some(nearest), Some(farthest), _) => {
                set(
                    "request",
                    json!({"headers": {"set": {"x-a": format!("${{target:{nearest}:status}} ${{target:{farthest}:header:x-id}}")}},
                    "body": {"template": {"a": format!("${{target:{farthest}:body}}"), "b": format!("${{target:{nearest}:body_text}}")}}}),
                );
                set("response", json!({"redact": ["/id"]}));
            }
            (2, _, _, true) => set("request", json!({"body": {"template": {"a": "${response:body:/id}"}}})),
            (3, _, _, true) if !is_batched => {
                set("request", json!({"headers": {"set": {"x-a": "${response:body_text}"}}, "body": {"omit": true}}))
            }
            (4 | 5, _, _, _) if !is_batched => set("request", json!({"body": {"omit": true}})),
            (6, _, _, _) => set("request", json!({"body": {"redact": ["/text"]}})),
            _ => {}
        }
        list.push(with(target(&name(number)), &fields));
    }
    // Followers may stand before their leaders.
    list.rotate_left(shapes.first().map_or(0, |first| first.leader) % shapes.len());
    // To read a few long bodies takes more than the share of one callback.
    let longest = if buffered > 100_000 { "24KiB" } else { "2KiB" };
    let limits = json!({"max_body_bytes": longest, "max_buffered_bytes": buffered, "max_work_bytes": max_work});
    with(targets(&list), &json!({"limits": limits, "drain_timeout": "1s"}))
}

#[derive(Clone, Debug)]
enum Step {
    Send { size: usize, user: usize, kind: usize, is_whole: bool },
    Chunk { which: usize },
    End { which: usize, end: usize },
    Answer { which: usize, end: usize },
    Pass { millis: u64 },
    Replace,
    Refuse { cluster: usize, status: i32 },
    Accept { cluster: usize },
    Fail { import: usize, first: u64, times: u64 },
}

/// Without these the accounts hold all the same.
const IMPORTS: [&str; 4] =
    ["proxy_get_property", "proxy_get_buffer_bytes", "proxy_get_header_map_value", "proxy_get_header_map_pairs"];
const USERS: [&str; 3] = ["a", "b", ""];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        9 => (prop_oneof![3 => 0_usize..50, 1 => 0_usize..2_100, 1 => 15_000_usize..20_000], 0_usize..4, 0_usize..12, prop::bool::weighted(0.8))
            .prop_map(|(size, user, kind, is_whole)| Step::Send { size, user, kind, is_whole }),
        2 => any::<usize>().prop_map(|which| Step::Chunk { which }),
        8 => (any::<usize>(), 0_usize..9).prop_map(|(which, end)| Step::End { which, end }),
        14 => (any::<usize>(), 0_usize..13).prop_map(|(which, end)| Step::Answer { which, end }),
        4 => (0_u64..60).prop_map(|millis| Step::Pass { millis }),
        1 => Just(Step::Replace),
        1 => (any::<usize>(), prop_oneof![Just(2), Just(10), Just(99)]).prop_map(|(cluster, status)| Step::Refuse { cluster, status }),
        1 => any::<usize>().prop_map(|cluster| Step::Accept { cluster }),
        1 => (0_usize..4, 0_u64..4, 1_u64..9).prop_map(|(import, first, times)| Step::Fail { import, first, times }),
    ]
}

fn answer(number: usize) -> Answer {
    let ok = || Answer::upstream(200).header("x-id", "7\r\nx-bad: 1").header("content-type", "application/json");
    match number {
        0..=3 => ok().body(r#"{"id": "../7\r\n"}"#),
        4 => Answer::upstream(503).header("retry-after", "1").body("[]"),
        5 => Answer::upstream(404).body(format!(r#"{{"id": "{}"}}"#, "x".repeat(1_900))),
        12 => ok().body(format!(r#"{{"id": 7, "text": "{}"}}"#, "x".repeat(20_000))),
        6 => ok().body("x".repeat(3_000)),
        7 => Answer::timeout(),
        8 => Answer::reset(),
        9 => ok().header("content-encoding", "gzip").body("no gzip"),
        10 => Answer::upstream(409).header("content-type", "application/grpc").trailer("grpc-status", "5").body([0xff, 0xfe]),
        _ => Answer::connect_error(),
    }
}

fn end(stream: Stream, number: usize) {
    match number {
        6 => stream.answer(&Response::status(101)),
        7 => stream.answer(&Response::status(201).header("content-type", "application/json").body("x".repeat(2_500))),
        _ => return one_end_whatever_is_made_of_it::end(stream, number, r#"{"id": 7}"#, 1_500),
    }
    stream.close();
}

/// A worker, and what was seen of its calls.
struct Stage {
    worker: Worker,
    open: Vec<CallOut>,
    /// The leader of each follower.
    leaders: BTreeMap<String, String>,
    /// The targets that order their copies, and where their keys are.
    ordered: BTreeMap<String, bool>,
    /// The targets and requests that were called, with the number of calls.
    called: BTreeMap<(String, usize), usize>,
    /// Those of which a follower was called. They have ended.
    ended: BTreeSet<(String, usize)>,
    users: Vec<Option<usize>>,
    roots: usize,
}

impl Stage {
    /// Looks at the calls that were made since the last time.
    fn look(&mut self) -> Result<(), TestCaseError> {
        self.open.retain(|call| !call.is_cancelled());
        for call in self.worker.call_outs() {
            let cluster = call.cluster().to_owned();
            if let Some(number) = call.header("x-number").filter(|_| cluster != "letters") {
                let number: usize = number.parse().unwrap();
                prop_assert!(!self.ended.contains(&(cluster.clone(), number)), "{cluster} has ended for {number}");
                let calls = self.called.entry((cluster.clone(), number)).or_default();
                *calls += 1;
                let attempt = call.header("x-sidecast-attempt").map_or(1, |attempt| attempt.parse::<usize>().unwrap());
                prop_assert!(*calls <= attempt, "{cluster} was called {calls} times for {number}, attempt {attempt}");
                if let Some(leader) = self.leaders.get(&cluster) {
                    let of_leader =
                        |other: &&CallOut| other.cluster() == leader && other.header("x-number") == call.header("x-number");
                    prop_assert!(self.open.iter().find(of_leader).is_none(), "{cluster} before the end of {leader} for {number}");
                    self.ended.insert((leader.clone(), number));
                }
                let user = self.users.get(number).copied().flatten();
                if let (true, Some(user)) = (self.ordered.contains_key(&cluster) && self.roots == 1, user) {
                    let of_key = |other: &&CallOut| {
                        let other_user = other.header("x-number").and_then(|number| self.users[number.parse::<usize>().unwrap()]);
                        other.cluster() == cluster && other_user == Some(user)
                    };
                    prop_assert!(self.open.iter().find(of_key).is_none(), "two copies of {user} under way at {cluster}");
                }
            }
            for (name, value) in call.headers() {
                prop_assert!(!value.iter().any(|byte| b"\r\n\0".contains(byte)), "{name:?}: {value:?}");
            }
            prop_assert!(!call.header(":path").unwrap_or_default().contains("/../"));
            self.open.push(call);
        }
        Ok(())
    }

    fn answer(&mut self, which: usize, number: usize) -> Result<(), TestCaseError> {
        self.look()?;
        if !self.open.is_empty() {
            let call = self.open.remove(which % self.open.len());
            if !call.is_cancelled() {
                call.answer(answer(number));
            }
        }
        self.look()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_follows_what_every_matched_request_has_exactly_one_end(
        shapes in prop::collection::vec(shape(), 1..14),
        steps in prop::collection::vec(step(), 1..120),
        max_work in prop_oneof![Just("64KiB"), Just("8MiB")],
        buffered in prop_oneof![Just(12_000_usize), Just(40_000), Just(400_000)],
        is_drained in any::<bool>(),
    ) {
        let host = Host::new();
        host.set_log_level(Level::Critical);
        let configuration = configuration(&shapes, max_work, buffered);
        let list = configuration["targets"].as_array().unwrap().clone();
        let names: Vec<String> = list.iter().map(|target| target["name"].as_str().unwrap().to_owned()).collect();
        let worker = host.worker(&configuration);
        let leaders = list.iter().filter_map(|target| {
            Some((target["name"].as_str()?.to_owned(), target["after"]["target"].as_str()?.to_owned()))
        });
        let ordered = list.iter().filter(|target| target.get("order").is_some());
        let ordered = ordered.map(|target| (target["name"].as_str().unwrap().to_owned(), target["order"]["key"].get("body").is_some()));
        let mut stage = Stage {
            worker: worker.clone(), open: Vec::new(), leaders: leaders.collect(), ordered: ordered.collect(),
            called: BTreeMap::new(), ended: BTreeSet::new(), users: Vec::new(), roots: 1,
        };
        let (mut streams, mut old): (Vec<(Stream, bool)>, _) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Send { size, user, kind, is_whole } => {
                    let number = stage.users.len();
                    let mut request = Request::post("/").header("x-number", number.to_string());
                    let user = (user < USERS.len()).then_some(user);
                    if let Some(user) = user {
                        request = request.header("x-user", USERS[user]);
                    }
                    // Both places have the same key, or none.
                    let text = "x".repeat(size);
                    let body = match (kind, user) {
                        (0, _) => format!("no json {text}"),
                        (1, Some(user)) => json!({"user": USERS[user], "kind": "offer", "text": text}).to_string(),
                        (2, _) => String::new(),
                        (_, Some(user)) => json!({"user": USERS[user], "kind": "order", "text": text}).to_string(),
                        (_, None) => json!({"kind": "order", "text": text}).to_string(),
                    };
                    // The body of a request that asks for an upgrade is not kept.
                    let is_keyed = user.is_some() && !matches!(kind, 0 | 2 | 4);
                    stage.users.push(user.filter(|_| is_keyed && is_whole));
                    if kind == 3 {
                        request = request.header("content-type", "application/grpc");
                    }
                    if kind == 4 {
                        request = request.header("connection", "upgrade").header("upgrade", "websocket");
                    }
                    if kind == 5 {
                        request = request.header("idempotency-key", "one");
                    }
                    let request = if body.is_empty() { request } else { request.body(body) };
                    let stream = if is_whole { worker.send(&request) } else { worker.begin(&request, false) };
                    streams.push((stream, is_whole));
                }
                Step::Chunk { which } => {
                    let incomplete: Vec<usize> = (0..streams.len()).filter(|place| !streams[*place].1).collect();
                    if !incomplete.is_empty() {
                        let (stream, is_whole) = &mut streams[incomplete[which % incomplete.len()]];
                        *is_whole = which.is_multiple_of(2);
                        stream.chunk("[1]", *is_whole);
                    }
                }
                Step::End { which, end: number } => {
                    if !streams.is_empty() {
                        end(streams.remove(which % streams.len()).0, number);
                    }
                }
                Step::Answer { which, end } => stage.answer(which, end)?,
                Step::Pass { millis } => {
                    worker.pass(&host, Duration::from_millis(millis));
                }
                Step::Replace => {
                    old.push(worker.root());
                    host.heal();
                    prop_assert!(worker.configure(configuration.to_string()));
                    stage.roots += 1;
                }
                Step::Refuse { cluster, status } => host.refuse_calls_to(&names[cluster % names.len()], Status(status)),
                Step::Accept { cluster } => host.accept_calls_to(&names[cluster % names.len()]),
                Step::Fail { import, first, times } => host.fail(IMPORTS[import], first, times, Status::INTERNAL_FAILURE),
            }
            stage.look()?;
        }
        host.heal();
        streams.into_iter().for_each(|(stream, _)| end(stream, 0));
        stage.look()?;
        if is_drained {
            let root = worker.root();
            worker.shut_down();
            for _ in 0..40 {
                worker.pass(&host, Duration::from_millis(100));
                stage.look()?;
            }
            prop_assert!(worker.is_deleted(root));
        } else {
            names.iter().for_each(|name| host.accept_calls_to(name));
            for _ in 0..600 {
                stage.answer(0, 0)?;
                if stage.open.is_empty() {
                    worker.pass(&host, Duration::from_millis(500));
                }
            }
            prop_assert!(stage.open.is_empty());
            prop_assert_eq!(worker.tick_period(), None);
        }
        prop_assert!(old.into_iter().all(|root| worker.is_deleted(root)));
        for (target, name) in list.iter().zip(&names) {
            assert_balanced(&host, name);
            if let Some(leader) = target["after"]["target"].as_str() {
                let all = |name: &str| host.stat(name, "matched") - host.stat(name, "sampled_out");
                prop_assert!(host.stat(name, "matched") <= all(leader), "{} and {}", name, leader);
            }
            if target.get("compare").is_some_and(|compare| compare["percent"] == 100) {
                let compared = ["match", "status_mismatch", "body_mismatch", "not_comparable"];
                let compared: i64 = compared.iter().map(|end| host.stat(name, &format!("compare.{end}"))).sum();
                prop_assert_eq!(compared, host.stat(name, "matched") - host.stat(name, "sampled_out"), "{}", name);
            }
        }
        if !is_drained {
            // No byte is left taken: requests that are not complete find the half that is theirs.
            let before: i64 = names.iter().map(|name| host.stat(name, "dropped.buffer_full")).sum();
            for _ in 0..buffered / 6_000 {
                worker.begin(&Request::post("/").header("x-user", "a"), false).chunk(vec![b'x'; 1_900], false);
            }
            let after: i64 = names.iter().map(|name| host.stat(name, "dropped.buffer_full")).sum();
            prop_assert_eq!(before, after);
        }
    }
}
