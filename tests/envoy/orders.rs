//! The example in `envoy/examples/orders`, as it is shipped: what each service learns of an order, and what happens when one of them fails.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::letter::Letter;
use crate::shop::{
    answering, assert_events, assert_message, assert_reservation, assert_without, contains, json, message, order, request, Shop,
    CREDENTIALS, CUSTOMER, GIFT_MESSAGE, TARGETS, TOKEN,
};
use crate::stage::one_after_another;
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::client::full;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::stats::Stats;

/// What became of the orders at a target: delivered, kept as letters, and dropped for which reasons.
fn ends(stats: &Stats, target: &str) -> (u64, u64, BTreeMap<String, u64>) {
    (stats.of(target, "delivered"), stats.of(target, "dead_lettered"), stats.drops(target))
}

/// So many are dropped for this reason, and nothing else.
fn dropped(reason: &str, count: u64) -> (u64, u64, BTreeMap<String, u64>) {
    (0, 0, [(reason.to_owned(), count)].into())
}

fn delivered(count: u64) -> (u64, u64, BTreeMap<String, u64>) {
    (count, 0, [].into())
}

/// Between the two that fail at notification are others, so that its breaker stays closed.
#[tokio::test]
async fn orders_reach_who_should_know_of_them_whatever_fails() {
    let mut shop = Shop::open().await;
    one_after_another!(&mut shop =>
        an_order_reaches_each_service_in_a_form_of_its_own,
        a_message_that_nobody_sends_becomes_a_letter,
        what_is_no_order_goes_to_payment_alone,
        without_a_payment_nothing_is_reserved_and_nobody_is_written_to(answering(402), 402),
        without_a_payment_nothing_is_reserved_and_nobody_is_written_to(answering(500), 500),
        without_a_payment_nothing_is_reserved_and_nobody_is_written_to(Behaviour::CloseBeforeHeaders, 503),
        a_reservation_waits_for_the_answer_of_payment,
        an_inventory_that_comes_back_gets_the_reservation_once,
        an_inventory_that_has_the_reservation_already_is_content,
        a_slow_analytics_holds_nobody_up_and_gets_its_events_together,
        a_letter_that_nobody_takes_is_counted,
    );
}

async fn an_order_reaches_each_service_in_a_form_of_its_own(shop: &mut Shop) {
    shop.reopen().await;
    let answer = shop.place(1).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_ref()), (201, b"answer of the upstream".as_ref()));
    let stats = shop.settled_at(1).await;
    for target in TARGETS {
        assert_eq!(ends(&stats, target), delivered(1), "{target}");
    }

    let paid = shop.payment.take_one().await;
    assert_eq!((paid.method.as_str(), paid.path.as_str()), ("POST", "/orders?invitation=invited-by-paul"));
    assert_eq!(paid.body(), order(1).to_string());
    // So it would be found elsewhere, too.
    for text in CUSTOMER.iter().chain(&CREDENTIALS).chain(&[GIFT_MESSAGE]) {
        assert!(contains(&paid, text), "{text}: {paid:?}");
    }

    let (reserved, sent) = (shop.inventory.take_one().await, shop.notification.take_one().await);
    assert_reservation(&reserved, 1);
    assert_message(&sent, 1);
    assert_events(&shop.analytics.take(1).await, 1..=1);
    for copy in [&reserved, &sent] {
        assert_eq!(copy.only("x-request-id"), paid.only("x-request-id"));
        assert_without(std::slice::from_ref(copy), &CREDENTIALS);
    }
    // Inventory gets the client's headers, the user's id among them; of its path and body it gets no more than it needs.
    let personal: Vec<&str> = CUSTOMER.iter().copied().filter(|text| *text != "cus-88213").collect();
    assert_without(&[reserved], &personal);
    assert_without(&[sent], &["4111111111111111", "Lindenallee 12", "cus-88213", "invited-by-paul", GIFT_MESSAGE]);
    assert!(shop.dead_letters.received().is_empty());
}

async fn what_is_no_order_goes_to_payment_alone(shop: &mut Shop) {
    shop.reopen().await;
    let client = shop.client();
    let body = || full(order(1).to_string());
    for (method, path, content_type) in [
        ("GET", "/orders", "application/json"),
        ("PUT", "/orders", "application/json"),
        ("POST", "/orders/1/cancel", "application/json"),
        ("POST", "/ordersX", "application/json"),
        ("POST", "/orders", "text/plain"),
    ] {
        let request = client.request(method, path).header("content-type", content_type).body(body());
        assert_eq!(client.send(request.unwrap()).await.status, 201, "{method} {path}");
    }
    assert_eq!(shop.payment.take(5).await.len(), 5);
    // The next order is one: whatever had been wanted before it would be counted before it.
    shop.place(1).await;
    shop.settled_at(1).await;
}

async fn without_a_payment_nothing_is_reserved_and_nobody_is_written_to(shop: &mut Shop, behaviour: Behaviour, status: u16) {
    shop.reopen().await;
    shop.payment.behave(behaviour);
    assert_eq!(shop.place(1).await.status, status);
    let stats = shop.settled_at(1).await;
    for target in ["inventory", "notification"] {
        assert_eq!((ends(&stats, target), stats.of(target, "not_triggered")), ((0, 0, [].into()), 1), "{status}: {target}");
        assert_eq!(stats.of(target, "attempts"), 0, "{status}: {target}");
    }
    assert_eq!(ends(&stats, "analytics"), delivered(1), "{status}");
    assert_events(&shop.analytics.take(1).await, 1..=1);
    for service in [&shop.inventory, &shop.notification, &shop.dead_letters] {
        assert!(service.received().is_empty(), "{status}: {:?}", service.received());
    }
}

async fn a_reservation_waits_for_the_answer_of_payment(shop: &mut Shop) {
    shop.reopen().await;
    let gate = Gate::shut();
    shop.payment.behave(Behaviour::Gated(gate.clone(), Answer::status(201)));
    let client = shop.client();
    let placing = tokio::spawn(async move { client.send(request(&client, 1)).await });
    // Its event was held back for half a second: what goes out with the request would have come before.
    shop.analytics.arrived(1).await;
    assert!(shop.inventory.received().is_empty() && shop.notification.received().is_empty());
    gate.open();
    assert_eq!(placing.await.unwrap().status, 201);
    shop.settled_at(1).await;
    assert_reservation(&shop.inventory.take_one().await, 1);
    assert_message(&shop.notification.take_one().await, 1);
}

async fn an_inventory_that_comes_back_gets_the_reservation_once(shop: &mut Shop) {
    shop.reopen().await;
    shop.inventory.close().await;
    assert_eq!(shop.place(1).await.status, 201);
    eventually(PATIENCE, "attempts at an inventory that is down", async || {
        match shop.stats().await.of("inventory", "attempt_failures") {
            2.. => Ok(()),
            failed => Err(format!("{failed}")),
        }
    })
    .await;
    // Nobody else waits for it.
    shop.target_settled_at("notification", 1).await;
    shop.target_settled_at("analytics", 1).await;
    shop.inventory.open();
    let stats = shop.settled_at(1).await;
    assert_eq!(ends(&stats, "inventory"), delivered(1));
    let attempts = stats.of("inventory", "attempts");
    assert_eq!((stats.of("inventory", "retries"), stats.of("inventory", "attempt_failures")), (attempts - 1, attempts - 1));
    let reserved = shop.inventory.take_one().await;
    assert_reservation(&reserved, 1);
    assert_eq!(reserved.attempt(), attempts);
}

async fn an_inventory_that_has_the_reservation_already_is_content(shop: &mut Shop) {
    shop.reopen().await;
    shop.inventory.behave(answering(503));
    shop.place(1).await;
    shop.inventory.arrived(1).await;
    shop.inventory.behave(answering(409));
    let stats = shop.settled_at(1).await;
    assert_eq!(ends(&stats, "inventory"), delivered(1));
    let attempts = shop.inventory.take(2).await;
    for attempt in &attempts {
        assert_reservation(attempt, 1);
        assert_eq!(attempt.only("idempotency-key"), attempts[0].only("idempotency-key"));
    }
}

async fn a_slow_analytics_holds_nobody_up_and_gets_its_events_together(shop: &mut Shop) {
    const ORDERS: u64 = 20;
    shop.reopen().await;
    let gate = Gate::shut();
    shop.analytics.behave(Behaviour::Gated(gate.clone(), Answer::status(202)));
    for number in 1..=ORDERS {
        assert_eq!(shop.place(number).await.status, 201);
    }
    for target in ["inventory", "notification"] {
        let stats = shop.target_settled_at(target, ORDERS).await;
        assert_eq!(ends(&stats, target), delivered(ORDERS), "{target}");
    }
    assert_eq!(shop.stats().await.of("analytics", "delivered"), 0);
    gate.open();
    let stats = shop.settled_at(ORDERS).await;
    assert_eq!(ends(&stats, "analytics"), delivered(ORDERS));
    let calls = shop.analytics.take(1).await;
    assert!((calls.len() as u64) < ORDERS, "{} calls", calls.len());
    assert_events(&calls, 1..=ORDERS);
    assert_numbered(&shop.inventory.take(20).await.iter().map(json).collect::<Vec<Value>>(), ORDERS);
}

/// Each order was reserved once.
#[track_caller]
fn assert_numbered(reservations: &[Value], orders: u64) {
    let mut numbers: Vec<u64> =
        reservations.iter().map(|one| one["order_id"].as_str().unwrap().strip_prefix("ord-").unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=orders).collect::<Vec<u64>>());
}

async fn a_message_that_nobody_sends_becomes_a_letter(shop: &mut Shop) {
    shop.reopen().await;
    shop.notification.behave(answering(503));
    assert_eq!(shop.place(1).await.status, 201);
    let stats = shop.settled_at(1).await;
    assert_eq!(ends(&stats, "notification"), (0, 1, [].into()));
    assert_eq!((stats.of("notification", "attempts"), stats.of("notification", "retries")), (4, 3));
    for target in ["inventory", "analytics"] {
        assert_eq!(ends(&stats, target), delivered(1), "{target}");
    }
    let attempts = shop.notification.take(4).await;
    for (index, attempt) in attempts.iter().enumerate() {
        assert_message(attempt, 1);
        assert_eq!(attempt.attempt(), index as u64 + 1);
        assert_eq!(attempt.only("idempotency-key"), attempts[0].only("idempotency-key"));
    }

    let call = shop.dead_letters.take_one().await;
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/dead-letters/notification"));
    assert_eq!(call.authority, "dead-letters.internal");
    let letter = Letter::parse(&call.body());
    assert_eq!(letter.summary(), ("notification", "retries_exhausted", 4));
    assert_eq!(letter.id(), attempts[0].only("idempotency-key"));
    assert_eq!(letter.text("last_outcome"), "status_503");
    let kept = ["method", "path", "authority"].map(|name| letter.request(name).unwrap());
    assert_eq!(kept, ["POST", "/messages", "notification.internal"]);
    assert_eq!(serde_json::from_slice::<Value>(&letter.body()).unwrap(), message(1));
    // As notification would have received it, but for the token.
    let authorization: Vec<_> = letter.headers().into_iter().filter(|(name, _)| name == "authorization").collect();
    assert_eq!(authorization, [("authorization".to_owned(), b"Bearer [redacted]".to_vec())]);
    assert_without(&[call], &[&CREDENTIALS[..], &[TOKEN]].concat());
}

async fn a_letter_that_nobody_takes_is_counted(shop: &mut Shop) {
    shop.reopen().await;
    shop.notification.behave(Behaviour::CloseBeforeHeaders);
    shop.dead_letters.behave(answering(503));
    assert_eq!(shop.place(1).await.status, 201);
    let stats = shop.settled_at(1).await;
    assert_eq!(ends(&stats, "notification"), dropped("retries_exhausted", 1));
    assert_eq!((shop.notification.received().len(), shop.dead_letters.received().len()), (4, 1));
}
