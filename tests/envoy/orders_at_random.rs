//! A thousand orders while each service of `envoy/examples/orders` fails at random: each order comes to exactly one end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::letter::Letter;
use crate::shop::{answer, answering, number, order as order_of, path, request, working, Shop, SERVICES, TARGETS};
use crate::support::answer::Behaviour;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::recorded::Recorded;
use crate::support::stats::Stats;

const ORDERS: u64 = 1_000;
const CLIENTS: u64 = 40;
const SEED: u64 = 2;

/// A number below 100 that looks like chance, and is the same in each run.
fn dice(order: u64, at: &str, attempt: u64) -> u64 {
    let mut state = SEED ^ order.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ attempt.wrapping_mul(0xd1b5_4a32_d192_ed03);
    for byte in at.bytes() {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    state ^= state >> 29;
    (state.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33) % 100
}

/// What becomes of an attempt at a service.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Works,
    Answers(u16),
    Closes,
    BreaksOff,
    Hangs,
}

/// The fate of an attempt: some orders are refused for good, others fail for a while or for as long as they are tried.
fn fate(order: u64, at: &str, attempt: u64) -> Fate {
    use Fate::{Answers, BreaksOff, Closes, Hangs, Works};
    match (at, dice(order, at, 0)) {
        ("/orders", 0..5) => Answers(422),
        ("/orders", 5..10) => Answers(500),
        ("/orders", 10..14) => Closes,
        ("/orders", 14..18) => BreaksOff,
        ("/orders", 18) => Hangs,
        ("/charges", 0..10) => Answers(402),
        ("/charges", 10..15) => Answers(503),
        ("/reservations", 0..10) => Answers(422),
        ("/reservations", 10..15) => Closes,
        ("/reservations", 15..20) => Answers(409),
        ("/messages" | "/refunds" | "/cancellations" | "/webhooks/orders", 0..10) => Answers(503),
        ("/orders" | "/dead-letters", _) => Works,
        // Another attempt may do better.
        _ => match dice(order, at, attempt) {
            0..6 => Answers(503),
            6..12 => Closes,
            12..16 => BreaksOff,
            16 if attempt == 1 => Hangs,
            _ => Works,
        },
    }
}

impl Fate {
    fn behaviour(self, request: &Recorded) -> Behaviour {
        match self {
            Self::Works => Behaviour::Answer(answer(request)),
            Self::Answers(status) => answering(status),
            Self::Closes => Behaviour::CloseBeforeHeaders,
            Self::BreaksOff => Behaviour::CloseInAnswer,
            Self::Hangs => Behaviour::Hang,
        }
    }

    /// Whether a target of the example takes such an answer for a success.
    fn is_taken(self, at: &str) -> bool {
        match self {
            Self::Works => true,
            Self::Answers(409) => at != "/charges",
            _ => false,
        }
    }
}

/// A service whose fate is drawn for each attempt.
fn unreliable() -> Behaviour {
    Behaviour::chosen(|request| fate(number(&request.body()), path(request), request.attempt()).behaviour(request))
}

/// The attempts that the services received at a path, by order.
struct Received(BTreeMap<&'static str, BTreeMap<u64, Vec<Recorded>>>);

/// What is received: the service, the path, and the target that it is for.
const CALLS: [(&str, &str, &str); 8] = [
    ("payment", "/charges", "payment"),
    ("inventory", "/reservations", "inventory"),
    ("notification", "/messages", "notification"),
    ("payment", "/refunds", "refund"),
    ("orders", "/cancellations", "unpaid"),
    ("orders", "/cancellations", "cancellation"),
    ("partner", "/webhooks/orders", "partner"),
    ("orders", "/orders", "primary"),
];

impl Received {
    fn by(shop: &Shop) -> Self {
        let mut all: BTreeMap<_, BTreeMap<u64, Vec<Recorded>>> = BTreeMap::new();
        for (service, at, target) in CALLS {
            let of_target = all.entry(target).or_default();
            for call in shop.received(service, at) {
                if target == "primary" || call.only("x-sidecast-target") == target {
                    of_target.entry(number(&call.body())).or_default().push(call);
                }
            }
        }
        let letters = shop.service("dead-letters").received();
        let kept: Vec<Letter> = letters.iter().map(|call| Letter::parse(&call.body())).collect();
        for (target, name) in [
            ("notification", "kept message"),
            ("refund", "kept refund"),
            ("unpaid", "kept unpaid"),
            ("cancellation", "kept cancellation"),
        ] {
            let of_target = all.entry(name).or_default();
            for (call, letter) in letters.iter().zip(&kept).filter(|(_, letter)| letter.text("target") == target) {
                of_target.entry(number(&letter.body())).or_default().push(call.clone());
            }
        }
        Self(all)
    }

    fn of(&self, target: &str, order: u64) -> &[Recorded] {
        self.0[target].get(&order).map_or(&[], Vec::as_slice)
    }

    /// Whether a target took one of the attempts that it received.
    fn is_taken(&self, target: &str, order: u64) -> bool {
        self.of(target, order).iter().any(|call| fate(order, path(call), call.attempt()).is_taken(path(call)))
    }

    /// Whether a target took an order, or a letter about it was kept.
    fn is_cared_for(&self, target: &str, letter: &str, order: u64) -> bool {
        self.is_taken(target, order) || self.of(letter, order).len() == 1
    }

    /// Each attempt came once, all with one key, and nothing came after it was taken.
    fn assert_sent_once(&self, target: &str, order: u64) {
        let calls = self.of(target, order);
        let keys: BTreeSet<String> = calls.iter().map(|call| call.only("idempotency-key")).collect();
        assert!(keys.len() <= 1, "order {order}: {calls:?}");
        let attempts: Vec<u64> = calls.iter().map(Recorded::attempt).collect();
        assert_eq!(attempts, (1..=calls.len() as u64).collect::<Vec<_>>(), "order {order} at {target}");
        let taken = calls.iter().filter(|call| fate(order, path(call), call.attempt()).is_taken(path(call)));
        assert!(taken.count() <= 1, "order {order} at {target}: {calls:?}");
    }
}

/// The end that an order comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Refused,
    Confirmed,
    Refunded,
    Cancelled,
}

/// The only end of an order, at the receiving ends.
fn end(received: &Received, order: u64) -> End {
    let mut ends = Vec::new();
    let cared_for = |target, letter| received.is_cared_for(target, letter, order);
    let refused = fate(order, "/orders", 1) == Fate::Answers(422);
    for (end, came) in [
        (End::Refused, refused),
        (End::Confirmed, cared_for("notification", "kept message")),
        (End::Refunded, cared_for("refund", "kept refund")),
        (End::Cancelled, cared_for("unpaid", "kept unpaid")),
        (End::Cancelled, cared_for("cancellation", "kept cancellation")),
    ] {
        ends.extend(came.then_some(end));
    }
    assert_eq!(ends.len(), 1, "order {order}: {ends:?}");
    ends[0]
}

/// Whatever a target received of an order has its cause at another receiving end.
fn assert_caused(received: &Received, order: u64) {
    let (placed, charged, reserved) =
        (fate(order, "/orders", 1), received.is_taken("payment", order), received.is_taken("inventory", order));
    for (target, cause) in [
        ("payment", placed == Fate::Works),
        ("cancellation", !matches!(placed, Fate::Works | Fate::Answers(422))),
        ("unpaid", placed == Fate::Works && !charged),
        ("inventory", charged),
        ("refund", charged && !reserved),
        ("notification", reserved),
        ("partner", reserved),
    ] {
        let calls = received.of(target, order);
        assert!(cause || calls.is_empty(), "order {order} at {target}: {placed:?}, charged {charged}, reserved {reserved}");
        for call in calls {
            let body: serde_json::Value = serde_json::from_slice(&call.body()).unwrap();
            for (field, value) in [("order_id", format!("ord-{order}")), ("charge_id", format!("ch-{order}"))] {
                assert!(body.get(field).is_none_or(|found| *found == value), "{target}: {body}");
            }
            // What a follower says of the order stands in the request, which is kept until then.
            let items = ["inventory", "partner"].contains(&target).then(|| order_of(order)["items"].take());
            let found = if target == "partner" { &body["data"]["items"] } else { &body["items"] };
            assert!(items.is_none_or(|items| found[1] == items[1]), "{target}: {body}");
            let text = format!("payment of {} EUR", 50 + order);
            assert!(target != "notification" || body["text"].as_str().unwrap().contains(&text), "{target}: {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_orders_each_is_either_confirmed_refunded_or_cancelled_while_every_service_fails_at_random() {
    let shop = Shop::adapted(|configuration| {
        for target in configuration["targets"].as_array_mut().unwrap() {
            // What takes minutes in the shop is over soon. A target that hangs is waited for, however busy this machine is.
            target["retry"]["max_attempts"] = 5.into();
            target["retry"]["backoff"] = json!({"base": "5ms", "max": "50ms"});
            target["timeout"] = "3s".into();
            if target["circuit_breaker"].is_null() {
                target["circuit_breaker"] = json!({"open_for": "50ms", "max_open_for": "200ms"});
            }
        }
    })
    .await;
    for service in SERVICES.into_iter().filter(|name| !["analytics", "dead-letters"].contains(name)) {
        shop.service(service).behave(unreliable());
    }
    shop.service("analytics").behave(working());

    let mut placing = tokio::task::JoinSet::new();
    for first in 0..CLIENTS {
        let client = shop.client();
        placing.spawn(async move {
            for order in (first..ORDERS).step_by(CLIENTS as usize) {
                let answered = client.try_send(request(&client, order)).await.ok().map(|answer| answer.status.as_u16());
                let expected = match fate(order, "/orders", 1) {
                    Fate::Works => Some(201),
                    Fate::Answers(status) => Some(status),
                    Fate::Closes => Some(503),
                    Fate::BreaksOff => None,
                    Fate::Hangs => Some(504),
                };
                assert_eq!(answered, expected, "order {order}");
            }
        });
    }
    while let Some(placed) = placing.join_next().await {
        placed.unwrap();
    }
    let stats = settled(&shop).await;
    assert_eq!(stats.find("wasmcustom.sidecast_unexpected").unwrap_or(0), 0);

    let received = Received::by(&shop);
    let mut ends: BTreeMap<End, usize> = BTreeMap::new();
    for order in 0..ORDERS {
        assert_eq!(received.of("primary", order).len(), 1, "order {order}");
        for target in TARGETS.into_iter().filter(|target| *target != "analytics") {
            received.assert_sent_once(target, order);
        }
        assert_caused(&received, order);
        *ends.entry(end(&received, order)).or_default() += 1;
    }
    println!("{ends:?}");
    // No end is an accident.
    assert!(ends.len() == 4 && ends.values().all(|count| *count >= 20), "{ends:?}");
    for (target, letter) in [("notification", "kept message"), ("refund", "kept refund"), ("unpaid", "kept unpaid")] {
        let (taken, kept) = (stats.of(target, "delivered"), stats.of(target, "dead_lettered"));
        assert!(taken > 0 && kept > 0, "{target}: {taken} taken, {kept} letters");
        assert_eq!(received.0[letter].len() as u64, kept, "{target}");
    }
}

/// Waits until each target has considered each order, and the accounts of all are settled.
async fn settled(shop: &Shop) -> Stats {
    eventually(3 * PATIENCE, "all orders to end", async || {
        let stats = shop.stats().await;
        for target in TARGETS {
            stats.settled(target)?;
            if stats.of(target, "matched") != ORDERS {
                return Err(format!("{target}: {:?}", stats.target(target)));
            }
        }
        Ok(stats)
    })
    .await
}
