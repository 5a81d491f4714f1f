//! The circuit breaker in a real Envoy with two workers: what the target sees, and what the statistics say.

use std::time::{Duration, Instant};

use serde_json::{json, Value};

use crate::scene::{target, Scene};
use crate::stage::{in_one_envoy, Part, Stage};
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::bootstrap::Filter;
use crate::support::client::Client;
use crate::support::envoy::Envoy;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::recorded::Recorded;
use crate::support::setup::Setup;
use crate::support::stats::Stats;
use crate::support::upstream::Upstream;

/// Times by Envoy's clock are cut to whole milliseconds, and the target's clock starts a moment earlier or later.
const SLACK: Duration = Duration::from_millis(10);

/// A target with a breaker of these fields; what is not among them does not open it.
fn breaking(name: &str, fields: &Value) -> Value {
    let mut target = target(name);
    target["circuit_breaker"] = json!({"consecutive_failures": 0, "failure_rate": {"min_requests": 1_000_000, "window": "10m"}});
    target["circuit_breaker"].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({ "targets": [target] })
}

fn answering(status: u16) -> Behaviour {
    Behaviour::Answer(Answer::status(status))
}

/// Clients on connections of their own, so many that both workers get some of them.
struct Crowd {
    clients: Vec<Client>,
    target: String,
    sent: usize,
}

impl Crowd {
    /// Of a listener whose copies go to this target.
    fn of(envoy: &Envoy, listener: &str, target: &str) -> Self {
        let clients = (0..24).map(|_| Client::http1(envoy.address(listener))).collect();
        Self { clients, target: target.to_owned(), sent: 0 }
    }

    /// A request by the next of the clients. The primary is not concerned, whatever the breaker does.
    async fn send(&mut self) {
        let client = &self.clients[self.sent % self.clients.len()];
        assert_eq!(client.post(&format!("/{}", self.sent), "body").await.status, 200);
        self.sent += 1;
    }

    /// Requests one after the other: each is sent when what came of the one before is counted.
    async fn send_one_by_one(&mut self, count: usize, envoy: &Envoy) -> Stats {
        for _ in 0..count {
            self.send().await;
            envoy.settles_at(&self.target, self.sent as u64).await;
        }
        envoy.stats().await
    }
}

/// Each worker has accepted connections.
fn assert_both_workers_took_part(stats: &Stats, listener: &str) {
    let of = |worker| stats.find(&format!("listener.{listener}.worker_{worker}.downstream_cx_total"));
    let connections = [0, 1].map(of);
    assert!(connections.iter().all(|connections| connections.is_some_and(|count| count > 0)), "{connections:?}");
}

/// State of the gauge, times that it opened, attempts, requests that were not let through.
fn account(stats: &Stats, target: &str) -> [u64; 4] {
    ["breaker.state", "breaker.opened", "attempts", "dropped.circuit_open"].map(|name| stats.of(target, name))
}

const CLOSED: u64 = 0;
const HALF_OPEN: u64 = 1;
const OPEN: u64 = 2;

/// When each copy arrived at the target.
fn arrivals(copies: &[Recorded]) -> Vec<Instant> {
    copies.iter().map(|copy| copy.chunks[0].0).collect()
}

#[tokio::test]
async fn a_breaker_opens_and_closes_when_it_should() {
    in_one_envoy!(Setup::new() =>
        calls_stop_after_so_many_failures_in_sum_over_the_workers,
        a_target_that_comes_back_is_found_by_probes_at_their_times,
        half_of_the_requests_failing_opens_it_and_one_less_does_not("less-than-half", 19, CLOSED),
        half_of_the_requests_failing_opens_it_and_one_less_does_not("half", 20, OPEN),
        too_few_requests_open_nothing,
        slow_answers_open_it("slow", "50ms", [OPEN, 1, 6, 4]),
        slow_answers_open_it("slow-as-usual", "15s", [CLOSED, 0, 10, 0]),
        in_observe_mode_every_call_goes_out,
        disabled_or_with_a_target_that_only_says_no_it_stays_closed("disabled", "disabled", 503),
        disabled_or_with_a_target_that_only_says_no_it_stays_closed("refusing", "enforce", 404),
        disabled_or_with_a_target_that_only_says_no_it_stays_closed("redirecting", "enforce", 302),
        a_retry_waits_for_the_breaker_and_is_its_probe,
        what_would_wait_for_the_breaker_until_it_is_too_old_is_given_up,
        what_waits_for_the_breaker_holds_its_place,
    );
}

async fn calls_stop_after_so_many_failures_in_sum_over_the_workers(stage: &Stage) {
    let scene = stage.part(["sum"], breaking("sum", &json!({"consecutive_failures": 7, "open_for": "1h"}))).await;
    scene.target().behave(answering(503));
    let mut crowd = Crowd::of(&scene.envoy, &scene.listener, "sum");
    let stats = crowd.send_one_by_one(6, &scene.envoy).await;
    assert_eq!(account(&stats, "sum"), [CLOSED, 0, 6, 0]);
    let stats = crowd.send_one_by_one(42, &scene.envoy).await;
    assert_eq!(account(&stats, "sum"), [OPEN, 1, 7, 41]);
    assert_eq!(scene.target().received().len(), 7);
    assert_both_workers_took_part(&stats, &scene.listener);
    let events = scene.envoy.events();
    let opened: Vec<_> =
        events.iter().filter(|event| event.name() == "breaker_opened" && event.text("target") == "sum").collect();
    assert_eq!(opened.len(), 1, "{opened:?}");
    assert_eq!((opened[0].level.as_str(), opened[0].text("target")), ("warning", "sum"));
    assert_eq!((opened[0].text("reason"), &opened[0].fields["open_for_ms"]), ("consecutive_failures", &json!(3_600_000)));
}

/// What was seen at one time.
struct Row {
    time: Duration,
    what: &'static str,
    account: [u64; 4],
    received: usize,
}

/// The life of a breaker as it is seen from outside.
struct Timeline {
    target: &'static str,
    started: Instant,
    rows: Vec<Row>,
}

impl Timeline {
    async fn note(&mut self, what: &'static str, scene: &Part<1>) -> [u64; 4] {
        let account = account(&scene.envoy.stats().await, self.target);
        let received = scene.target().received().len();
        self.rows.push(Row { time: self.started.elapsed(), what, account, received });
        account
    }

    fn print(&self) {
        println!(
            "{:>8}  {:<44} {:>5} {:>6} {:>8} {:>12} {:>8}",
            "ms", "", "state", "opened", "attempts", "circuit_open", "received"
        );
        for Row { time, what, account: [state, opened, attempts, blocked], received } in &self.rows {
            let ms = time.as_millis();
            println!("{ms:>8}  {what:<44} {state:>5} {opened:>6} {attempts:>8} {blocked:>12} {received:>8}");
        }
    }
}

/// Sends requests until the target has received this many in all.
async fn send_until_received(crowd: &mut Crowd, scene: &Part<1>, count: usize) {
    let started = Instant::now();
    while scene.target().received().len() < count {
        assert!(started.elapsed() < PATIENCE, "{} of {count} at the target", scene.target().received().len());
        crowd.send().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The same, one after the other: of several probes that may be under way, one is.
async fn probe_until_received(crowd: &mut Crowd, scene: &Part<1>, count: usize) {
    let started = Instant::now();
    while scene.target().received().len() < count {
        assert!(started.elapsed() < PATIENCE, "{} of {count} at the target", scene.target().received().len());
        crowd.send_one_by_one(1, &scene.envoy).await;
    }
}

async fn a_target_that_comes_back_is_found_by_probes_at_their_times(stage: &Stage) {
    let fields = json!({
        "consecutive_failures": 3,
        "open_for": "400ms",
        "max_open_for": "800ms",
        "half_open": {"probes": 2, "successes": 3},
    });
    let scene = stage.part(["back"], breaking("back", &fields)).await;
    let target = scene.target();
    target.behave(answering(503));
    let mut crowd = Crowd::of(&scene.envoy, &scene.listener, "back");
    let mut timeline = Timeline { target: "back", started: Instant::now(), rows: Vec::new() };
    crowd.send_one_by_one(3, &scene.envoy).await;
    let account = timeline.note("opened by three failures", &scene).await;
    assert_eq!(account[..3], [OPEN, 1, 3]);

    // The probes fail: each time it opens for twice as long, up to the most.
    for (opened, probes) in [(2, 4), (3, 5), (4, 6)] {
        probe_until_received(&mut crowd, &scene, probes).await;
        let account = timeline.note("a probe failed", &scene).await;
        assert_eq!(account[..3], [OPEN, opened, probes as u64]);
    }

    // The probes are held: no more than two get there, by whichever worker.
    let gate = Gate::shut();
    target.behave(Behaviour::Gated(gate.clone(), Answer::status(200)));
    send_until_received(&mut crowd, &scene, 8).await;
    for _ in 0..48 {
        crowd.send().await;
    }
    let account = timeline.note("two probes are under way", &scene).await;
    assert_eq!((account[0], account[2], target.received().len()), (HALF_OPEN, 8, 8));
    gate.open();
    scene.envoy.settled_at("back", crowd.sent as u64).await;
    let account = timeline.note("two probes succeeded", &scene).await;
    assert_eq!((account[0], account[2]), (HALF_OPEN, 8));

    // The third success closes it, for both workers.
    crowd.send_one_by_one(1, &scene.envoy).await;
    let account = timeline.note("a third probe succeeded", &scene).await;
    assert_eq!(account[..3], [CLOSED, 4, 9]);
    let stats = crowd.send_one_by_one(48, &scene.envoy).await;
    timeline.note("closed", &scene).await;
    timeline.print();
    assert_eq!((stats.of("back", "attempts"), stats.of("back", "delivered")), (57, 51));
    assert_both_workers_took_part(&stats, &scene.listener);

    let arrivals = arrivals(&target.take(57).await);
    // From each failure that opened it to the probe after it.
    let pauses: Vec<Duration> = (2..6).map(|failure| arrivals[failure + 1] - arrivals[failure]).collect();
    println!("from each failure to the next probe: {pauses:?}");
    for (pause, open_for) in pauses.iter().zip([400, 800, 800, 800].map(Duration::from_millis)) {
        assert!(*pause + SLACK >= open_for, "{pauses:?}");
    }
    let events = scene.envoy.events();
    let count = |name: &str| events.iter().filter(|event| event.name() == name && event.text("target") == "back").count();
    assert_eq!(["breaker_opened", "breaker_half_opened", "breaker_closed"].map(count), [4, 4, 1]);
}

async fn half_of_the_requests_failing_opens_it_and_one_less_does_not(stage: &Stage, name: &str, failures: u64, state: u64) {
    let rate = json!({"percent": 50, "min_requests": 40, "window": "10m"});
    let scene = stage.part([name], breaking(name, &json!({"failure_rate": rate, "open_for": "1h"}))).await;
    let mut crowd = Crowd::of(&scene.envoy, &scene.listener, name);
    for index in 0..40 {
        scene.target().behave(answering(if index % 2 == 0 && index / 2 < failures { 503 } else { 200 }));
        let stats = crowd.send_one_by_one(1, &scene.envoy).await;
        let expected = if index == 39 { state } else { CLOSED };
        assert_eq!(stats.of(name, "breaker.state"), expected, "after {} requests", index + 1);
    }
    let stats = scene.envoy.stats().await;
    assert_eq!((stats.of(name, "attempts"), stats.of(name, "attempt_failures")), (40, failures));
}

async fn too_few_requests_open_nothing(stage: &Stage) {
    let rate = json!({"percent": 1, "min_requests": 20, "window": "10m"});
    let scene = stage.part(["few"], breaking("few", &json!({"failure_rate": rate, "open_for": "1h"}))).await;
    scene.target().behave(Behaviour::CloseBeforeHeaders);
    let mut crowd = Crowd::of(&scene.envoy, &scene.listener, "few");
    assert_eq!(account(&crowd.send_one_by_one(19, &scene.envoy).await, "few"), [CLOSED, 0, 19, 0]);
    assert_eq!(account(&crowd.send_one_by_one(2, &scene.envoy).await, "few"), [OPEN, 1, 20, 1]);
    let events = scene.envoy.events();
    let opened = events.iter().find(|event| event.name() == "breaker_opened" && event.text("target") == "few").unwrap();
    assert_eq!(opened.text("reason"), "failure_rate");
}

async fn slow_answers_open_it(stage: &Stage, name: &str, longer_than: &str, expected: [u64; 4]) {
    let fields = json!({
        "slow_call": {"longer_than": longer_than, "percent": 100},
        "failure_rate": {"min_requests": 6, "window": "10m"},
        "open_for": "1h",
    });
    let scene = stage.part([name], breaking(name, &fields)).await;
    scene.target().behave(Behaviour::Answer(Answer::status(200).after(Duration::from_millis(100))));
    let stats = Crowd::of(&scene.envoy, &scene.listener, name).send_one_by_one(10, &scene.envoy).await;
    assert_eq!(account(&stats, name), expected);
}

async fn in_observe_mode_every_call_goes_out(stage: &Stage) {
    let fields = json!({"consecutive_failures": 3, "open_for": "1h", "mode": "observe"});
    let scene = stage.part(["observed"], breaking("observed", &fields)).await;
    scene.target().behave(answering(503));
    let stats = Crowd::of(&scene.envoy, &scene.listener, "observed").send_one_by_one(24, &scene.envoy).await;
    assert_eq!((account(&stats, "observed"), scene.target().received().len()), ([OPEN, 1, 24, 0], 24));
}

async fn disabled_or_with_a_target_that_only_says_no_it_stays_closed(stage: &Stage, name: &str, mode: &str, status: u16) {
    let scene = stage.part([name], breaking(name, &json!({"consecutive_failures": 3, "mode": mode}))).await;
    scene.target().behave(answering(status));
    let stats = Crowd::of(&scene.envoy, &scene.listener, name).send_one_by_one(12, &scene.envoy).await;
    assert_eq!((account(&stats, name), scene.target().received().len()), ([CLOSED, 0, 12, 0], 12));
}

#[tokio::test]
async fn two_listeners_have_one_breaker_and_an_update_keeps_it() {
    let (primary, audit) = (Upstream::start().await, Upstream::behaving(answering(503)).await);
    let configuration = breaking("audit", &json!({"consecutive_failures": 4, "open_for": "1h"}));
    let envoy = Setup::new()
        .cluster("primary", primary.address())
        .cluster("audit", audit.address())
        .listener("one", Filter::json(&configuration))
        .listener("two", Filter::json(&configuration))
        .dynamic()
        .start()
        .await;
    let clients = ["one", "two"].map(|listener| Client::http1(envoy.address(listener)));
    for index in 0..4 {
        clients[index % 2].post("/", "body").await;
        envoy.settled_at("audit", index as u64 + 1).await;
    }
    drop(clients);
    assert_eq!(account(&envoy.stats().await, "audit"), [OPEN, 1, 4, 0]);
    for (round, listener) in ["one", "two"].into_iter().enumerate() {
        let mut changed = configuration.clone();
        changed["limits"] = json!({"max_body_bytes": 1_000 + round});
        envoy.replace_listeners(&[("one", Filter::json(&changed)), ("two", Filter::json(&changed))]);
        for wanted in [2, 0] {
            envoy.draining(wanted).await;
        }
        let mut crowd = Crowd::of(&envoy, listener, "audit");
        for _ in 0..24 {
            crowd.send().await;
        }
        let blocked = 24 * (round as u64 + 1);
        let stats = envoy.settled_at("audit", 4 + blocked).await;
        assert_eq!(account(&stats, "audit"), [OPEN, 1, 4, blocked]);
    }
    assert_eq!(audit.received().len(), 4);
}

async fn a_retry_waits_for_the_breaker_and_is_its_probe(stage: &Stage) {
    let fields = json!({"consecutive_failures": 1, "open_for": "700ms", "half_open": {"probes": 1, "successes": 1}});
    let mut configuration = breaking("probed", &fields);
    configuration["targets"][0]["retry"] = json!({"max_attempts": 2, "backoff": {"base": "1ms", "max": "1ms"}});
    let scene = stage.part(["probed"], configuration).await;
    scene.target().behave(answering(503));
    scene.client().post("/", "body").await;
    scene.target().arrived(1).await;
    scene.target().behave(answering(200));
    let stats = scene.envoy.settled_at("probed", 1).await;
    assert_eq!((account(&stats, "probed"), stats.of("probed", "delivered")), ([CLOSED, 1, 2, 0], 1));
    let copies = scene.target().take(2).await;
    assert_eq!([0, 1].map(|index| copies[index].attempt()), [1, 2]);
    let arrivals = arrivals(&copies);
    assert!(arrivals[1] - arrivals[0] + SLACK >= Duration::from_millis(700), "{arrivals:?}");
}

async fn what_would_wait_for_the_breaker_until_it_is_too_old_is_given_up(stage: &Stage) {
    let mut configuration = breaking("old", &json!({"consecutive_failures": 2, "open_for": "1h"}));
    configuration["targets"][0]["retry"] =
        json!({"max_attempts": 3, "backoff": {"base": "1ms", "max": "1ms"}, "expire_after": "30m"});
    let scene = stage.part(["old"], configuration).await;
    scene.target().behave(answering(503));
    scene.client().post("/", "body").await;
    // It would be an hour: too long.
    let stats = scene.envoy.settled_at("old", 1).await;
    assert_eq!((account(&stats, "old"), stats.drops("old").len()), ([OPEN, 1, 2, 1], 1));
}

async fn what_waits_for_the_breaker_holds_its_place(stage: &Stage) {
    let mut configuration = breaking("waiting", &json!({"consecutive_failures": 2, "open_for": "1h"}));
    configuration["targets"][0]["retry"] =
        json!({"max_attempts": 3, "backoff": {"base": "1ms", "max": "1ms"}, "expire_after": "2h"});
    let scene = stage.part(["waiting"], configuration).await;
    scene.target().behave(answering(503));
    scene.client().post("/", "body").await;
    eventually(PATIENCE, "the breaker to open and the retry to wait", async || {
        let stats = scene.envoy.stats().await;
        match (account(&stats, "waiting"), stats.of("waiting", "queued")) {
            ([OPEN, 1, 2, 0], 1) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_target_that_is_taken_out_and_put_back_begins_closed() {
    let configuration = breaking("audit", &json!({"consecutive_failures": 3, "open_for": "1h"}));
    let scene = Scene::updatable(["audit", "other"], configuration.clone()).await;
    let (envoy, audit) = (&scene.envoy, &scene.targets[0]);
    audit.behave(answering(503));
    Crowd::of(envoy, "main", "audit").send_one_by_one(12, envoy).await;
    assert_eq!(account(&envoy.stats().await, "audit"), [OPEN, 1, 3, 9]);
    for next in [json!({"targets": [target("other")]}), configuration] {
        scene.update(&next);
        for draining in [1, 0] {
            envoy.draining(draining).await;
        }
    }
    audit.behave(answering(200));
    let mut crowd = Crowd::of(envoy, "main", "audit");
    crowd.sent = 12;
    let stats = crowd.send_one_by_one(24, envoy).await;
    assert_eq!(account(&stats, "audit"), [CLOSED, 1, 27, 9]);
    // The name has the port that the listener asked for, which is any.
    assert_both_workers_took_part(&stats, "127.0.0.1_0");
}
