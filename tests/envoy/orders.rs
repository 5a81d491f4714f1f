//! The example in `envoy/examples/orders`, as it is shipped: what each service learns of an order, and what happens when one of them fails.

use std::collections::BTreeMap;

use prost_types::Timestamp;
use serde_json::{json, Value};

use crate::headers::is_uuid_v4;
use crate::letter::Letter;
use crate::shop::{
    answering, assert_without, but, but_first, contains, order, path, working, Shop, GIFT_MESSAGE, PARTNER_SECRET, TARGETS, TOKEN,
};
use crate::signatures::is_verified;
use crate::stage::one_after_another;
use crate::support::answer::{Answer, Behaviour, Gate};
use crate::support::client::full;
use crate::support::recorded::Recorded;
use crate::support::stats::Stats;

/// What the customer says about itself, in an order, its path and its headers.
const CUSTOMER: [&str; 6] =
    ["Maria Musterfrau", "maria@customer.example", "4111111111111111", "Lindenallee 12", "cus-88213", "invited-by-paul"];

/// What proves who the customer is.
const CREDENTIALS: [&str; 3] = ["token-of-the-customer", "cookie-of-the-customer", "payment-session-of-the-customer"];

/// The calls for an order that ends well.
const CONFIRMED: [&str; 6] = [
    "orders/orders",
    "payment/charges",
    "inventory/reservations",
    "notification/messages",
    "partner/webhooks/orders",
    "analytics/events",
];

/// The calls for an order that the orders API takes and payment does not.
const UNPAID: [&str; 4] = ["orders/orders", "payment/charges", "orders/cancellations", "analytics/events"];

/// The calls for an order that is paid and cannot be reserved.
const REFUNDED: [&str; 5] = ["orders/orders", "payment/charges", "inventory/reservations", "payment/refunds", "analytics/events"];

/// What became of one order at each target, in the order of the file.
const ENDS_CONFIRMED: [&str; 8] =
    ["delivered", "delivered", "delivered", "not_triggered", "not_triggered", "not_triggered", "delivered", "delivered"];

/// The same with other ends at some targets.
fn ends_but<'a>(others: &[(&str, &'a str)]) -> [&'a str; 8] {
    let mut ends = ENDS_CONFIRMED;
    for (target, end) in others {
        ends[TARGETS.iter().position(|name| name == target).unwrap()] = end;
    }
    ends
}

/// What became of the only order at each target.
fn ends(stats: &Stats) -> [String; 8] {
    TARGETS.map(|target| {
        let counts = stats.target(target).into_iter();
        let is_end = |name: &str| ["delivered", "dead_lettered", "not_triggered"].contains(&name) || name.starts_with("dropped.");
        let ends: Vec<(String, u64)> = counts.filter(|(name, _)| is_end(name)).collect();
        assert!(matches!(ends[..], [(_, 1)]), "{target}: {ends:?}");
        ends[0].0.clone()
    })
}

/// These calls, each as often as it stands here.
fn calls(list: &[&str]) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for call in list {
        *calls.entry((*call).to_owned()).or_default() += 1;
    }
    calls
}

#[tokio::test]
async fn an_order_ends_confirmed_refunded_or_cancelled_whatever_fails() {
    let mut shop = Shop::open().await;
    one_after_another!(&mut shop =>
        an_order_reaches_each_service_in_a_form_of_its_own,
        an_order_that_is_placed_again_repeats_the_keys,
        what_is_no_order_goes_to_the_orders_api_alone,
        of_an_order_that_is_refused_nothing_follows,
        an_order_that_failed_is_cancelled(answering(500), Some(500)),
        an_order_that_failed_is_cancelled(Behaviour::CloseBeforeHeaders, Some(503)),
        an_order_that_failed_is_cancelled(Behaviour::CloseInAnswer, None),
        an_order_that_failed_is_cancelled(Behaviour::Hang, Some(504)),
        of_an_answer_that_cannot_be_read_nothing_follows,
        an_order_that_payment_refuses_is_cancelled,
        a_payment_that_was_down_or_slow_is_asked_again,
        a_charge_whose_answer_cannot_be_read_is_counted,
        an_order_that_inventory_refuses_is_refunded,
        an_inventory_that_has_the_reservation_already_is_content,
        an_inventory_that_was_down_gets_the_reservation_once,
        a_refund_waits_for_payment_to_come_back,
        a_cancellation_waits_for_the_orders_api_to_come_back,
        a_message_that_nobody_sends_becomes_a_letter,
        a_letter_that_nobody_takes_is_counted,
        a_partner_that_is_down_holds_nobody_up,
        a_slow_analytics_holds_nobody_up_and_gets_its_events_together,
    );
}

/// Places one order; how it ended at each target.
async fn placed(shop: &Shop, status: u16) -> [String; 8] {
    assert_eq!(shop.place(1).await.unwrap().status, status);
    ends(&shop.settled_at(1).await)
}

/// The body of the only request that a service received at a path.
#[track_caller]
fn only(shop: &Shop, service: &str, at: &str) -> Value {
    let requests = shop.received(service, at);
    assert_eq!(requests.len(), 1, "{requests:?}");
    json(&requests[0])
}

async fn an_order_reaches_each_service_in_a_form_of_its_own(shop: &mut Shop) {
    shop.reopen().await;
    let answer = shop.place(1).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.as_ref()), (201, br#"{"id":"ord-1"}"#.as_ref()));
    assert_eq!(ends(&shop.settled_at(1).await), ENDS_CONFIRMED);
    assert_eq!(shop.calls(), calls(&CONFIRMED));

    let placed = shop.service("orders").take_one().await;
    assert_eq!((placed.method.as_str(), placed.path.as_str()), ("POST", "/orders?invitation=invited-by-paul"));
    assert_eq!(placed.body(), order(1).to_string());
    // So it would be found elsewhere, too.
    for text in CUSTOMER.iter().chain(&CREDENTIALS).chain(&[GIFT_MESSAGE]) {
        assert!(contains(&placed, text), "{text}: {placed:?}");
    }

    let charge = shop.service("payment").take_one().await;
    let of_a_form = [("content-type", "application/json"), ("x-request-id", "*"), ("x-source", "orders")];
    let of_payment = [("accept-language", "de-DE"), ("x-payment-session", "payment-session-of-the-customer")];
    assert_call(&charge, "/charges", "payment", &[&of_a_form[..], &of_payment].concat());
    assert_eq!(json(&charge), json!({"order_id": "ord-1", "amount": 51, "currency": "EUR", "customer_id": "cus-88213"}));
    // Payment is the first of its chain: it gets the client's key.
    assert_eq!(charge.only("idempotency-key"), "key-of-1");

    let reservation = shop.service("inventory").take_one().await;
    let of_the_client =
        [("accept-language", "de-DE"), ("x-forwarded-for", "*"), ("x-forwarded-proto", "http"), ("x-user-id", "cus-88213")];
    assert_call(&reservation, "/reservations", "inventory", &[&of_a_form[..], &of_the_client].concat());
    assert_eq!(json(&reservation), json!({"order_id": "ord-1", "charge_id": "ch-1", "items": order(1)["items"]}));

    let message = shop.service("notification").take_one().await;
    let authorization = format!("Bearer {TOKEN}");
    let of_notification = [("accept-language", "de-DE"), ("authorization", authorization.as_str())];
    assert_call(&message, "/messages", "notification", &[&of_a_form[..], &of_notification].concat());
    assert_eq!(json(&message), message_of(1));

    let webhook = shop.service("partner").take_one().await;
    let signed = [("webhook-id", "*"), ("webhook-signature", "*"), ("webhook-timestamp", "*")];
    let headers = [&[("content-type", "application/json"), ("x-request-id", "*")], &signed[..]].concat();
    assert_call_at(&webhook, "/webhooks/orders", "partner", "partner.example", &headers);
    assert!(is_verified(&webhook, PARTNER_SECRET, &webhook.body()), "{webhook:?}");
    assert!(!is_verified(&webhook, PARTNER_SECRET, &[&webhook.body()[..], b" "].concat().into()));
    let mut told = json(&webhook);
    assert_time(&told["timestamp"].take());
    let items = masked_items();
    let data = json!({"order_id": "ord-1", "country": "DE", "items": items});
    assert_eq!(told, json!({"type": "order.confirmed", "timestamp": null, "data": data}));

    assert_events(&shop.service("analytics").take(1).await, 1..=1);

    for copy in [&charge, &reservation, &message, &webhook] {
        assert_eq!(copy.only("x-request-id"), placed.only("x-request-id"));
    }
    assert_without(&[charge.clone(), reservation.clone(), message.clone(), webhook.clone()], &CREDENTIALS[..2]);
    // Each gets what it needs, and no more of the customer.
    let without = |copy: &Recorded, but: &[&str]| {
        let others: Vec<&str> = CUSTOMER.iter().chain(&CREDENTIALS).copied().filter(|text| !but.contains(text)).collect();
        assert_without(std::slice::from_ref(copy), &others);
    };
    without(&charge, &["cus-88213", CREDENTIALS[2]]);
    without(&reservation, &["cus-88213"]);
    without(&message, &["Maria Musterfrau", "maria@customer.example"]);
    without(&webhook, &[]);
    assert_without(&[charge, message, webhook], &[GIFT_MESSAGE]);
}

async fn an_order_that_is_placed_again_repeats_the_keys(shop: &mut Shop) {
    shop.reopen().await;
    // A refund is the last of the longest chain.
    shop.service("inventory").behave(answering(422));
    for time in 1..=2 {
        shop.place(1).await.unwrap();
        shop.settled_at(time).await;
    }
    let mut keys = Vec::new();
    for (service, at) in [("payment", "/charges"), ("inventory", "/reservations"), ("payment", "/refunds")] {
        let both = shop.received(service, at);
        let [first, again] = &both[..] else { panic!("{both:?}") };
        assert_eq!(first.only("idempotency-key"), again.only("idempotency-key"), "{at}");
        keys.push(first.only("idempotency-key"));
    }
    let [charge, reservation, refund] = &keys[..] else { unreachable!() };
    assert!(charge == "key-of-1" && reservation != charge && refund != charge && refund != reservation, "{keys:?}");
}

async fn what_is_no_order_goes_to_the_orders_api_alone(shop: &mut Shop) {
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
        assert!(client.send(request.unwrap()).await.status.is_success(), "{method} {path}");
    }
    assert_eq!(shop.service("orders").take(5).await.len(), 5);
    // The next order is one: whatever had been wanted before it would be counted before it.
    assert_eq!(placed(shop, 201).await, ENDS_CONFIRMED);
}

async fn of_an_order_that_is_refused_nothing_follows(shop: &mut Shop) {
    shop.reopen().await;
    shop.service("orders").behave(answering(422));
    assert_eq!(placed(shop, 422).await, ["not_triggered"; 8]);
    assert_eq!(shop.calls(), calls(&["orders/orders"]));
}

async fn an_order_that_failed_is_cancelled(shop: &mut Shop, behaviour: Behaviour, status: Option<u16>) {
    shop.reopen().await;
    shop.service("orders").behave(but("/orders", behaviour));
    // An answer that breaks off is no answer to the client.
    assert_eq!(shop.place(1).await.ok().map(|answer| answer.status.as_u16()), status);
    let mut expected = ["not_triggered"; 8];
    expected[TARGETS.iter().position(|name| *name == "cancellation").unwrap()] = "delivered";
    assert_eq!(ends(&shop.settled_at(1).await), expected);
    assert_eq!(shop.calls(), calls(&["orders/orders", "orders/cancellations"]));
    let requests = shop.service("orders").take(2).await;
    let [placed, cancelled] = &requests[..] else { unreachable!() };
    let id = placed.only("x-request-id");
    assert_eq!(json(cancelled), json!({"reference": "ref-1", "request_id": id, "reason": "failed"}));
    // The orders API knows the client's key as that of the order.
    assert!(is_uuid_v4(&cancelled.only("idempotency-key")), "{cancelled:?}");
}

async fn of_an_answer_that_cannot_be_read_nothing_follows(shop: &mut Shop) {
    shop.reopen().await;
    shop.service("orders").behave(but("/orders", answering(201)));
    let unread = "dropped.response_not_json";
    let triggered = [("payment", unread), ("unpaid", unread), ("analytics", unread)];
    let waiting = ["inventory", "notification", "partner"].map(|target| (target, "not_triggered"));
    assert_eq!(placed(shop, 201).await, ends_but(&[&triggered[..], &waiting].concat()));
    assert_eq!(shop.calls(), calls(&["orders/orders"]));
}

/// What becomes of an order that is not paid, at each target.
fn ends_unpaid() -> [&'static str; 8] {
    let waiting = ["inventory", "notification", "partner"].map(|target| (target, "not_triggered"));
    ends_but(&[&[("payment", "dropped.not_retryable"), ("unpaid", "delivered")], &waiting[..]].concat())
}

async fn an_order_that_payment_refuses_is_cancelled(shop: &mut Shop) {
    shop.reopen().await;
    shop.service("payment").behave(answering(402));
    assert_eq!(placed(shop, 201).await, ends_unpaid());
    assert_eq!(shop.calls(), calls(&UNPAID));
    let cancelled = only(shop, "orders", "/cancellations");
    assert_eq!(cancelled, json!({"order_id": "ord-1", "reason": "unpaid", "payment_status": 402}));
}

async fn a_payment_that_was_down_or_slow_is_asked_again(shop: &mut Shop) {
    shop.reopen().await;
    shop.service_mut("payment").close().await;
    shop.place(1).await.unwrap();
    shop.failed_more_than("payment", 0).await;
    assert_eq!(shop.calls().get("inventory/reservations"), None);
    shop.service("payment").behave(Behaviour::chosen(|request| {
        // The attempt after it times out.
        if request.attempt() <= 2 {
            Behaviour::Hang
        } else {
            working()
        }
    }));
    shop.service_mut("payment").open();
    assert_eq!(ends(&shop.settled_at(1).await), ENDS_CONFIRMED);
    let charges = shop.service("payment").take(1).await;
    assert!(charges.iter().all(|charge| charge.only("idempotency-key") == "key-of-1"), "{charges:?}");
    // What was down received nothing; each attempt that it received has a number of its own.
    let attempts: Vec<u64> = charges.iter().map(Recorded::attempt).collect();
    assert!(attempts.windows(2).all(|pair| pair[0] < pair[1]), "{attempts:?}");
    assert_eq!(shop.calls(), calls(&CONFIRMED.into_iter().filter(|call| *call != "payment/charges").collect::<Vec<_>>()));
}

async fn a_charge_whose_answer_cannot_be_read_is_counted(shop: &mut Shop) {
    shop.reopen().await;
    shop.service("payment").behave(answering(201));
    let unread = ["inventory", "refund"].map(|target| (target, "dropped.response_not_json"));
    let waiting = ["notification", "partner"].map(|target| (target, "not_triggered"));
    assert_eq!(placed(shop, 201).await, ends_but(&[unread, waiting].concat()));
}

/// What becomes of an order that is not reserved, at each target.
fn ends_refunded() -> [&'static str; 8] {
    ends_but(&[
        ("inventory", "dropped.not_retryable"),
        ("notification", "not_triggered"),
        ("partner", "not_triggered"),
        ("refund", "delivered"),
    ])
}

async fn an_order_that_inventory_refuses_is_refunded(shop: &mut Shop) {
    shop.reopen().await;
    // What answers is not payment: its body must not be taken for payment's.
    let refusal = Answer { body: br#"{"charge_id": "of inventory"}"#.as_ref().into(), ..Answer::status(422) };
    shop.service("inventory").behave(Behaviour::Answer(refusal));
    assert_eq!(placed(shop, 201).await, ends_refunded());
    assert_eq!(shop.calls(), calls(&REFUNDED));
    let refund = only(shop, "payment", "/refunds");
    let expected = json!({"order_id": "ord-1", "charge_id": "ch-1", "reason": "not_reserved", "inventory_status": 422});
    assert_eq!(refund, expected);
}

async fn an_inventory_that_has_the_reservation_already_is_content(shop: &mut Shop) {
    shop.reopen().await;
    let behaviour = |request: &Recorded| answering(if request.attempt() == 1 { 503 } else { 409 });
    shop.service("inventory").behave(Behaviour::chosen(behaviour));
    assert_eq!(placed(shop, 201).await, ENDS_CONFIRMED);
    assert_eq!(shop.calls(), calls(&[&CONFIRMED[..], &["inventory/reservations"]].concat()));
    let attempts = shop.service("inventory").take(2).await;
    assert_eq!(attempts[0].only("idempotency-key"), attempts[1].only("idempotency-key"));
    assert_eq!(attempts[0].body(), attempts[1].body());
}

async fn an_inventory_that_was_down_gets_the_reservation_once(shop: &mut Shop) {
    shop.reopen().await;
    shop.service_mut("inventory").close().await;
    shop.place(1).await.unwrap();
    shop.failed_more_than("inventory", 1).await;
    assert_eq!(shop.calls().get("notification/messages"), None);
    shop.service_mut("inventory").open();
    assert_eq!(ends(&shop.settled_at(1).await), ENDS_CONFIRMED);
    assert_eq!(shop.calls(), calls(&CONFIRMED));
}

async fn a_refund_waits_for_payment_to_come_back(shop: &mut Shop) {
    shop.reopen().await;
    shop.service("inventory").behave(answering(422));
    shop.service("payment").behave(but_first(2, "/refunds", Behaviour::CloseBeforeHeaders));
    // That goes for the charge, too, which is made at once.
    assert_eq!(placed(shop, 201).await, ends_refunded());
    assert_eq!(shop.calls(), calls(&[&REFUNDED[..], &["payment/refunds"; 2]].concat()));
    let refunds = shop.received("payment", "/refunds");
    assert!(refunds.iter().all(|refund| refund.only("idempotency-key") == refunds[0].only("idempotency-key")), "{refunds:?}");
}

async fn a_cancellation_waits_for_the_orders_api_to_come_back(shop: &mut Shop) {
    shop.reopen().await;
    shop.service("payment").behave(answering(402));
    shop.service("orders").behave(but_first(2, "/cancellations", answering(500)));
    assert_eq!(placed(shop, 201).await, ends_unpaid());
    assert_eq!(shop.calls(), calls(&[&UNPAID[..], &["orders/cancellations"; 2]].concat()));
}

async fn a_message_that_nobody_sends_becomes_a_letter(shop: &mut Shop) {
    shop.reopen().await;
    shop.service("notification").behave(answering(503));
    assert_eq!(placed(shop, 201).await, ends_but(&[("notification", "dead_lettered")]));
    let more = ["notification/messages", "notification/messages", "notification/messages"];
    assert_eq!(shop.calls(), calls(&[&CONFIRMED[..], &more, &["dead-letters/dead-letters/notification"]].concat()));
    let attempts = shop.service("notification").take(4).await;
    for (index, attempt) in attempts.iter().enumerate() {
        assert_eq!(json(attempt), message_of(1));
        assert_eq!(attempt.attempt(), index as u64 + 1);
        assert_eq!(attempt.only("idempotency-key"), attempts[0].only("idempotency-key"));
    }
    let call = shop.service("dead-letters").take_one().await;
    assert_eq!((call.method.as_str(), call.authority.as_str()), ("POST", "dead-letters.internal"));
    let letter = Letter::parse(&call.body());
    assert_eq!(letter.summary(), ("notification", "retries_exhausted", 4));
    assert_eq!((letter.text("id"), letter.text("last_outcome")), (attempts[0].only("idempotency-key").as_str(), "status_503"));
    let kept = ["method", "path", "authority"].map(|name| letter.request(name).unwrap());
    assert_eq!(kept, ["POST", "/messages", "notification.internal"]);
    assert_eq!(serde_json::from_slice::<Value>(&letter.body()).unwrap(), message_of(1));
    // As notification would have received it, but for the token.
    let authorization: Vec<_> = letter.headers().into_iter().filter(|(name, _)| name == "authorization").collect();
    assert_eq!(authorization, [("authorization".to_owned(), b"Bearer [redacted]".to_vec())]);
    assert_without(&[call], &[&CREDENTIALS[..], &[TOKEN]].concat());
}

async fn a_letter_that_nobody_takes_is_counted(shop: &mut Shop) {
    shop.reopen().await;
    // Its breaker opens with the fifth failure in a row.
    assert_eq!(placed(shop, 201).await, ENDS_CONFIRMED);
    shop.reopen().await;
    shop.service("notification").behave(Behaviour::CloseBeforeHeaders);
    shop.service("dead-letters").behave(answering(503));
    assert_eq!(placed(shop, 201).await, ends_but(&[("notification", "dropped.retries_exhausted")]));
    assert_eq!(shop.service("dead-letters").take(1).await.len(), 1);
}

async fn a_partner_that_is_down_holds_nobody_up(shop: &mut Shop) {
    shop.reopen().await;
    shop.service_mut("partner").close().await;
    shop.place(1).await.unwrap();
    shop.failed_more_than("partner", 0).await;
    shop.service("notification").arrived(1).await;
    shop.service_mut("partner").open();
    assert_eq!(ends(&shop.settled_at(1).await), ENDS_CONFIRMED);
    assert_eq!(shop.calls(), calls(&CONFIRMED));
}

async fn a_slow_analytics_holds_nobody_up_and_gets_its_events_together(shop: &mut Shop) {
    const ORDERS: u64 = 20;
    shop.reopen().await;
    let gate = Gate::shut();
    shop.service("analytics").behave(Behaviour::Gated(gate.clone(), Answer::status(202)));
    for number in 1..=ORDERS {
        assert_eq!(shop.place(number).await.unwrap().status, 201);
    }
    for service in ["payment", "inventory", "notification", "partner"] {
        shop.service(service).arrived(ORDERS as usize).await;
    }
    assert_eq!(shop.stats().await.of("analytics", "delivered"), 0);
    gate.open();
    let stats = shop.settled_at(ORDERS).await;
    assert_eq!(stats.of("analytics", "delivered"), ORDERS);
    let events = shop.service("analytics").take(1).await;
    assert!((events.len() as u64) < ORDERS, "{} calls", events.len());
    assert_events(&events, 1..=ORDERS);
    let calls = shop.calls();
    assert!(calls.values().all(|count| *count as u64 == ORDERS), "{calls:?}");
}

/// The message about an order.
fn message_of(number: u64) -> Value {
    json!({
        "to": "maria@customer.example",
        "subject": format!("Your order ord-{number}"),
        "text": format!("Dear Maria Musterfrau, we have received your payment of {} EUR.", 50 + number),
    })
}

/// What stands in an order, without what one person says to another.
fn masked_items() -> Value {
    let mut items = order(1)["items"].take();
    items[0]["gift_message"] = "[redacted]".into();
    items
}

/// That analytics got the events of these orders, in some order and some number of calls, and nothing about the customer but that there was a
/// message with a gift.
#[track_caller]
fn assert_events(calls: &[Recorded], orders: impl Iterator<Item = u64>) {
    let mut events = Vec::new();
    for call in calls {
        assert_call(call, "/events", "analytics", &[("content-type", "application/x-ndjson")]);
        for line in String::from_utf8(call.body().to_vec()).unwrap().lines() {
            let mut event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_time(&event["at"].take());
            events.push(event);
        }
    }
    events.sort_by_key(|event| event["total"].as_u64());
    let event = |number: u64| {
        json!({
            "event": "order_placed", "at": null, "order_id": format!("ord-{number}"), "channel": "web", "country": "DE",
            "currency": "EUR", "total": 50 + number, "items": masked_items(),
        })
    };
    assert_eq!(events, orders.map(event).collect::<Vec<Value>>());
    assert_without(calls, &[&CUSTOMER[..], &CREDENTIALS, &[GIFT_MESSAGE, TOKEN]].concat());
}

#[track_caller]
fn assert_time(value: &Value) {
    let time = value.as_str().unwrap_or_else(|| panic!("{value}"));
    time.parse::<Timestamp>().unwrap_or_else(|error| panic!("{error}: {time}"));
}

#[track_caller]
fn assert_call(call: &Recorded, path: &str, target: &str, headers: &[(&str, &str)]) {
    assert_call_at(call, path, target, &format!("{target}.internal"), headers);
}

/// What all calls of the targets have in common, and that besides these there are no headers; `*` is any value.
#[track_caller]
fn assert_call_at(call: &Recorded, at: &str, target: &str, authority: &str, headers: &[(&str, &str)]) {
    assert_eq!((call.method.as_str(), path(call), call.authority.as_str()), ("POST", at, authority));
    assert_eq!(call.only("x-sidecast-target"), target);
    assert!(!call.only("idempotency-key").is_empty(), "{call:?}");
    assert_eq!(call.only("content-length"), call.body().len().to_string());
    let of_all = ["x-sidecast-target", "x-sidecast-attempt", "x-sidecast-loop", "idempotency-key", "content-length"];
    let others = call.headers.iter().filter(|(name, _)| !of_all.contains(&name.as_str()) && !name.starts_with("x-envoy-"));
    let mut seen: Vec<(&str, &str)> = others.map(|(name, value)| (name.as_str(), std::str::from_utf8(value).unwrap())).collect();
    let any: BTreeMap<&str, &str> = headers.iter().copied().filter(|(_, value)| *value == "*").collect();
    seen.iter_mut().for_each(|(name, value)| *value = any.get(name).unwrap_or(value));
    seen.sort_unstable();
    let mut expected = headers.to_vec();
    expected.sort_unstable();
    assert_eq!(seen, expected, "{call:?}");
}

/// The body as JSON.
fn json(request: &Recorded) -> Value {
    serde_json::from_slice(&request.body()).unwrap_or_else(|error| panic!("{error}: {request:?}"))
}
