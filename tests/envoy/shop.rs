//! The shop of `envoy/examples/orders`: its services, and an Envoy with the bootstrap that is shipped there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use hyper::Request;
use prost_types::Timestamp;
use serde_json::{json, Value};

use crate::headers::is_uuid_v4;
use crate::stage::Since;
use crate::support::answer::{Answer, Behaviour};
use crate::support::client::{full, Answered, Client, SendBody};
use crate::support::envoy::Envoy;
use crate::support::recorded::Recorded;
use crate::support::setup::{default_wasm, Setup};
use crate::support::stats::Stats;
use crate::support::upstream::Upstream;

/// The services that learn of an order besides payment.
pub(crate) const TARGETS: [&str; 3] = ["inventory", "analytics", "notification"];

/// What lets Sidecast write to customers.
pub(crate) const TOKEN: &str = "token-of-notification";

/// What the customer says about itself, in an order, its path and its headers.
pub(crate) const CUSTOMER: [&str; 6] =
    ["Maria Musterfrau", "maria@customer.example", "4111111111111111", "Lindenallee 12", "cus-88213", "invited-by-paul"];

/// What the customer says to somebody else.
pub(crate) const GIFT_MESSAGE: &str = "For Anna, with love";

/// What proves who the customer is.
pub(crate) const CREDENTIALS: [&str; 3] = ["token-of-the-customer", "cookie-of-the-customer", "payment-session-of-the-customer"];

/// The stage.
pub(crate) struct Shop {
    /// The Envoy. First, so that it ends before the services do.
    pub(crate) envoy: Envoy,
    /// The primary.
    pub(crate) payment: Upstream,
    pub(crate) inventory: Upstream,
    pub(crate) analytics: Upstream,
    pub(crate) notification: Upstream,
    pub(crate) dead_letters: Upstream,
    since: Since,
}

impl Shop {
    /// Every service works.
    pub(crate) async fn open() -> Self {
        let payment = Upstream::behaving(answering(201)).await;
        let (inventory, analytics) = (Upstream::start().await, Upstream::start().await);
        let (notification, dead_letters) = (Upstream::start().await, Upstream::start().await);
        let services = [
            ("payment", payment.address()),
            ("inventory", inventory.address()),
            ("analytics", analytics.address()),
            ("notification", notification.address()),
            ("dead-letters", dead_letters.address()),
        ];
        let bootstrap = shipped("envoy/examples/orders/envoy.yaml", &services);
        let envoy = Setup::whole(bootstrap).variable("NOTIFICATION_TOKEN", TOKEN).start().await;
        let since = Since::now(&envoy).await;
        Self { envoy, payment, inventory, analytics, notification, dead_letters, since }
    }

    /// As if it had just been opened: every service works and has received nothing, and the statistics begin.
    pub(crate) async fn reopen(&mut self) {
        for service in [&self.payment, &self.inventory, &self.analytics, &self.notification, &self.dead_letters] {
            service.behave(answering(200));
            service.take(0).await;
        }
        self.payment.behave(answering(201));
        self.since = Since::now(&self.envoy).await;
    }

    /// A client of the shop.
    pub(crate) fn client(&self) -> Client {
        Client::http1(self.envoy.address("ingress"))
    }

    /// Places an order.
    pub(crate) async fn place(&self, number: u64) -> Answered {
        let client = self.client();
        client.send(request(&client, number)).await
    }

    /// Waits until each of the targets wanted this number of requests and all of them have ended.
    pub(crate) async fn settled_at(&self, orders: u64) -> Stats {
        for target in TARGETS {
            self.target_settled_at(target, orders).await;
        }
        self.stats().await
    }

    /// The same for one of them.
    pub(crate) async fn target_settled_at(&self, target: &str, orders: u64) -> Stats {
        self.since.settled_at(&self.envoy, target, orders).await
    }

    /// The statistics since it was opened.
    pub(crate) async fn stats(&self) -> Stats {
        self.since.stats(&self.envoy).await
    }
}

/// A service that responds with this status.
pub(crate) fn answering(status: u16) -> Behaviour {
    Behaviour::Answer(Answer::status(status))
}

/// A shipped bootstrap, on free ports, with these clusters, which must be all that it has.
pub(crate) fn shipped(file: &str, services: &[(&str, SocketAddr)]) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let mut bootstrap: Value = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut set = |pointer: &str, value: Value| {
        *bootstrap.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
    };
    set("/admin/address/socket_address/port_value", 0.into());
    set("/static_resources/listeners/0/address/socket_address/port_value", 0.into());
    let filter = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config";
    set(&format!("{filter}/vm_config/code/local/filename"), json!(default_wasm()));
    for (index, (_, address)) in services.iter().enumerate() {
        let endpoint = format!("/static_resources/clusters/{index}/load_assignment/endpoints/0/lb_endpoints/0/endpoint");
        set(&format!("{endpoint}/address/socket_address/port_value"), address.port().into());
    }
    let names: Vec<&Value> =
        bootstrap["static_resources"]["clusters"].as_array().unwrap().iter().map(|cluster| &cluster["name"]).collect();
    assert_eq!(names, services.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    bootstrap
}

/// An order as the shop's pages send it.
pub(crate) fn order(number: u64) -> Value {
    json!({
        "order_id": format!("ord-{number}"),
        "channel": "web",
        "currency": "EUR",
        "total": 50 + number,
        "customer": {"id": "cus-88213", "name": "Maria Musterfrau", "email": "maria@customer.example"},
        "shipping": {"address": {"street": "Lindenallee 12", "country": "DE"}},
        "payment": {"method": "card", "card": {"number": "4111111111111111", "holder": "Maria Musterfrau"}},
        "items": [
            {"sku": "BK-1044", "quantity": 1, "price": 25, "gift_message": GIFT_MESSAGE},
            {"sku": "PN-0210", "quantity": 2, "price": 12},
        ],
    })
}

/// The request that places it.
pub(crate) fn request(client: &Client, number: u64) -> Request<SendBody> {
    client
        .request("POST", "/orders?invitation=invited-by-paul")
        .header("content-type", "application/json")
        .header("accept-language", "de-DE")
        .header("authorization", "Bearer token-of-the-customer")
        .header("cookie", "session=cookie-of-the-customer")
        .header("x-payment-session", "payment-session-of-the-customer")
        .header("x-user-id", "cus-88213")
        .body(full(order(number).to_string()))
        .unwrap()
}

/// That inventory got the reservation of an order.
#[track_caller]
pub(crate) fn assert_reservation(copy: &Recorded, number: u64) {
    let of_the_client =
        [("accept-language", "de-DE"), ("x-forwarded-for", "*"), ("x-forwarded-proto", "http"), ("x-user-id", "cus-88213")];
    let of_its_own =
        [("content-type", "application/json"), ("x-payment-status", "201"), ("x-request-id", "*"), ("x-source", "orders")];
    assert_call(copy, "/reservations", "inventory", &[of_the_client, of_its_own].concat());
    let order = order(number);
    assert_eq!(json(copy), json!({"order_id": order["order_id"], "items": order["items"]}));
}

/// That notification got the message about an order.
#[track_caller]
pub(crate) fn assert_message(copy: &Recorded, number: u64) {
    let authorization = format!("Bearer {TOKEN}");
    let headers = [
        ("accept-language", "de-DE"),
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("x-request-id", "*"),
        ("x-source", "orders"),
    ];
    assert_call(copy, "/messages", "notification", &headers);
    assert_eq!(json(copy), message(number));
}

/// The message about an order.
pub(crate) fn message(number: u64) -> Value {
    json!({
        "to": "maria@customer.example",
        "subject": format!("Your order ord-{number}"),
        "text": format!("Dear Maria Musterfrau, we have received your payment of {} EUR.", 50 + number),
    })
}

/// That analytics got the events of these orders, in some order and some number of calls, and nothing about the customer but that there was a
/// message with a gift.
#[track_caller]
pub(crate) fn assert_events(calls: &[Recorded], orders: impl Iterator<Item = u64>) {
    let mut events = Vec::new();
    for call in calls {
        assert_call(call, "/events", "analytics", &[("content-type", "application/x-ndjson")]);
        for line in String::from_utf8(call.body().to_vec()).unwrap().lines() {
            let mut event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let at = event.as_object_mut().unwrap().remove("at");
            at.as_ref().and_then(Value::as_str).unwrap().parse::<Timestamp>().unwrap();
            events.push(event);
        }
    }
    events.sort_by_key(|event| event["total"].as_u64());
    let items = json!([
        {"sku": "BK-1044", "quantity": 1, "price": 25, "gift_message": "[redacted]"},
        {"sku": "PN-0210", "quantity": 2, "price": 12},
    ]);
    let event = |number: u64| {
        json!({
            "event": "order_placed", "channel": "web", "country": "DE", "currency": "EUR", "total": 50 + number,
            "items": items,
        })
    };
    assert_eq!(events, orders.map(event).collect::<Vec<Value>>());
    assert_without(calls, &CUSTOMER);
    assert_without(calls, &CREDENTIALS);
    assert_without(calls, &[GIFT_MESSAGE, TOKEN, "ord-"]);
}

/// What all calls of the targets have in common, and that besides these there are no headers; `*` is any value.
#[track_caller]
fn assert_call(call: &Recorded, path: &str, target: &str, headers: &[(&str, &str)]) {
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", path));
    assert_eq!(call.authority, format!("{target}.internal"));
    assert_eq!(call.only("x-sidecast-target"), target);
    assert!(is_uuid_v4(&call.only("idempotency-key")), "{call:?}");
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

/// That a text is nowhere in these requests.
#[track_caller]
pub(crate) fn assert_without(requests: &[Recorded], texts: &[&str]) {
    for text in texts {
        let found = requests.iter().find(|request| contains(request, text));
        assert!(found.is_none(), "{text:?} is in {found:?}");
    }
}

/// Whether a text is anywhere in a request.
pub(crate) fn contains(request: &Recorded, text: &str) -> bool {
    let mut wire = format!("{} {} {}\n", request.method, request.path, request.authority).into_bytes();
    for (name, value) in request.headers.iter().chain(&request.trailers) {
        wire.extend_from_slice(name.as_bytes());
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(value);
        wire.push(b'\n');
    }
    wire.extend_from_slice(&request.body());
    wire.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The body as JSON.
pub(crate) fn json(request: &Recorded) -> Value {
    serde_json::from_slice(&request.body()).unwrap_or_else(|error| panic!("{error}: {request:?}"))
}
