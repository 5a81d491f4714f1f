//! The targets of `envoy/examples/orders` while the one in the middle of the chain is down, and an update meanwhile: each order still comes to one
//! end, and memory stays within the budget.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{json, Value};

use crate::scene::Scene;
use crate::support::answer::{Answer, Behaviour};
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::load::Load;
use crate::support::recorded::Recorded;
use crate::support::stats::Stats;

const RATE: u32 = 300;
const BEFORE: Duration = Duration::from_secs(2);
const OUTAGE: Duration = Duration::from_secs(20);
/// Of the outage, until the update: what waits then is given up when the drain of the old configuration has timed out.
const UNTIL_UPDATE: Duration = Duration::from_secs(8);
const AFTER: Duration = Duration::from_secs(4);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// Of `inventory` in the example. Whatever ends much earlier ended with the drain.
const EXPIRE_AFTER: Duration = Duration::from_secs(120);

const SERVICES: [&str; 6] = ["payment", "inventory", "notification", "partner", "analytics", "dead-letters"];
const TARGETS: [&str; 8] = ["payment", "inventory", "notification", "refund", "unpaid", "cancellation", "partner", "analytics"];

const MIB: u64 = 1024 * 1024;
const WORKERS: u64 = 2;
const MAX_BUFFERED: u64 = 8 * MIB;
/// What Envoy may grow by over its memory at rest: the sum that docs/operations.md states for what waits.
const ALLOWANCE: u64 = WORKERS * (2 * MAX_BUFFERED + 16 * MIB);

/// The filter's configuration of the example, for every request of the load.
fn configuration() -> Value {
    let file = include_str!("../../envoy/examples/orders/envoy.yaml");
    let file = file.replace("${env:NOTIFICATION_TOKEN}", "token");
    let bootstrap: Value =
        serde_saphyr::from_str(&file.replace("${env:PARTNER_SECRET}", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")).unwrap();
    let listener = &bootstrap["static_resources"]["listeners"][0];
    let filter = &listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"][0];
    let mut configuration = filter["typed_config"]["config"]["configuration"]["value"].clone();
    let targets = configuration["targets"].as_array_mut().unwrap();
    assert_eq!(targets.iter().map(|target| target["name"].as_str().unwrap()).collect::<Vec<_>>(), TARGETS);
    for target in targets {
        target.as_object_mut().unwrap().remove("match");
        if target["cluster"] == "orders" {
            target["cluster"] = "primary".into();
        }
    }
    configuration["limits"] = json!({"max_buffered_bytes": MAX_BUFFERED});
    configuration
}

/// The orders API, which gives the order of the path an id, and payment, which gives its charge one.
fn working() -> Behaviour {
    Behaviour::chosen(|request| {
        let made = match request.path.as_str() {
            "/charges" => json!({"charge_id": format!("ch-{}", number(&request.body()))}),
            path => json!({"id": format!("ord-{}", &path[1..])}),
        };
        Behaviour::Answer(Answer { body: made.to_string().into(), ..Answer::status(200) })
    })
}

/// The order that a call is about.
fn number(body: &[u8]) -> u64 {
    let text = std::str::from_utf8(body).unwrap();
    let (_, rest) = text.split_once("ord-").unwrap_or_else(|| panic!("no order in {text}"));
    rest.split(|char: char| !char.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// What arrived for each order.
fn by_order(calls: Vec<Recorded>) -> BTreeMap<u64, Vec<Recorded>> {
    let mut orders: BTreeMap<u64, Vec<Recorded>> = BTreeMap::new();
    for call in calls.into_iter().filter(|call| call.complete) {
        orders.entry(number(&call.body())).or_default().push(call);
    }
    orders
}

/// The orders that a service heard of.
fn orders(scene: &Scene<6>, service: &str) -> BTreeSet<u64> {
    by_order(received(scene, service)).into_keys().collect()
}

fn received(scene: &Scene<6>, service: &str) -> Vec<Recorded> {
    scene.targets[SERVICES.iter().position(|name| *name == service).unwrap()].received()
}

/// Waits for all of these orders to come to an end: a message to the customer, or a letter about the refund.
async fn ended(scene: &Scene<6>, wanted: u64) -> Duration {
    let started = Instant::now();
    eventually(DRAIN_TIMEOUT + 3 * PATIENCE, "the orders before the update to end", async || {
        let ended = &orders(scene, "notification") | &orders(scene, "dead-letters");
        match (0..wanted).filter(|order| !ended.contains(order)).count() {
            0 => Ok(()),
            open => {
                let stats = scene.envoy.stats().await;
                let [inventory, refund] = ["inventory", "refund"].map(|target| stats.target(target));
                Err(format!("{open} of {wanted} are open: {inventory:?}, {refund:?}"))
            }
        }
    })
    .await;
    started.elapsed()
}

async fn settled(scene: &Scene<6>, sent: u64) -> Stats {
    eventually(3 * PATIENCE, "all orders to end", async || {
        let stats = scene.envoy.stats().await;
        for target in TARGETS {
            stats.settled(target)?;
            if stats.of(target, "matched") != sent {
                return Err(format!("{target}: {:?}", stats.target(target)));
            }
        }
        Ok(stats)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_outlive_an_outage_in_the_middle_of_their_chain_and_end_once_when_an_update_meets_it() {
    let mut configuration = configuration();
    configuration["drain_timeout"] = json!(format!("{}s", DRAIN_TIMEOUT.as_secs()));
    let mut scene = Scene::set_up(SERVICES, configuration.clone(), |setup| setup.dynamic().wasm_level("error")).await;
    scene.primary.behave(working());
    scene.targets[0].behave(working());
    scene.primary.forget();
    let order = json!({
        "reference": "ref-1", "channel": "web", "currency": "EUR", "total": 51,
        "customer": {"id": "cus-88213", "name": "Maria Musterfrau", "email": "maria@customer.example"},
        "shipping": {"address": {"street": "Lindenallee 12", "country": "DE"}},
        "items": [{"sku": "BK-1044", "quantity": 1, "price": 25}],
    });
    let body = Bytes::from(order.to_string());
    let load = Load { rate: RATE, duration: BEFORE + OUTAGE + AFTER, connections: 64, body };
    let sent = load.total();
    let floor = scene.envoy.memory().await;
    let running = load.start(scene.envoy.address("main"));
    tokio::time::sleep(BEFORE).await;

    let down = Instant::now();
    scene.targets[1].close().await;
    tokio::time::sleep(UNTIL_UPDATE).await;
    let before_update = scene.primary.begun().len() as u64;
    configuration["drain_timeout"] = json!("30s");
    scene.update(&configuration);
    // The primary has them; those that it has not answered yet may become orders of the new configuration.
    let drained = ended(&scene, before_update - u64::from(RATE)).await;
    println!("{before_update} orders before the update; all but the last second of them ended {drained:?} after it");
    assert!(drained < EXPIRE_AFTER / 2, "{drained:?}");
    tokio::time::sleep(OUTAGE.saturating_sub(down.elapsed())).await;
    let in_outage = scene.envoy.stats().await;
    println!("in the outage: {:?}, {:?}", scene.envoy.memory().await, in_outage.target("inventory"));
    assert!(!running.is_finished(), "the load ended before the outage");
    scene.targets[1].open();
    let report = running.await.unwrap();
    println!("{report}");
    report.assert_no_failure();

    let stats = settled(&scene, sent).await;
    let memory = scene.envoy.memory().await;
    println!("at rest: {floor:?}, afterwards: {memory:?}, {:?}, {:?}", stats.target("inventory"), stats.target("refund"));
    assert!(memory.peak <= floor.resident + ALLOWANCE, "{floor:?}, {memory:?}");
    assert_eq!(stats.find("wasmcustom.sidecast_unexpected").unwrap_or(0), 0);

    // Only the drain gave orders up.
    let given_up = stats.of("inventory", "dropped.shutdown");
    assert!((1..before_update).contains(&given_up), "{given_up} of {before_update}");
    assert_eq!(stats.drops("inventory"), [("shutdown".to_owned(), given_up)].into());
    assert_eq!(stats.of("inventory", "delivered"), sent - given_up);
    assert_eq!((stats.of("refund", "dead_lettered"), stats.of("refund", "delivered")), (given_up, 0));

    let [charges, reservations, messages, letters] =
        ["payment", "inventory", "notification", "dead-letters"].map(|service| by_order(received(&scene, service)));
    for order in 0..sent {
        let of = |calls: &BTreeMap<u64, Vec<Recorded>>| calls.get(&order).map_or(0, Vec::len);
        let (message, letter) = (of(&messages), of(&letters));
        assert_eq!((of(&charges), message + letter), (1, 1), "order {order}: {message} messages, {letter} letters");
        // A reservation whose answer the outage took is made again, with the same key.
        let attempts = reservations.get(&order).map_or(&[][..], Vec::as_slice);
        let keys: BTreeSet<String> = attempts.iter().map(|call| call.only("idempotency-key")).collect();
        let numbers: BTreeSet<u64> = attempts.iter().map(Recorded::attempt).collect();
        assert_eq!(numbers.len(), attempts.len(), "order {order}: {attempts:?}");
        assert!(keys.len() <= 1 && (letter == 1 || keys.len() == 1), "order {order}: {attempts:?}");
    }
}
