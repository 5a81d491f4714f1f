//! The shop of `envoy/examples/orders`: its services, and an Envoy with the bootstrap that is shipped there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use hyper::Request;
use serde_json::{json, Value};

use crate::stage::Since;
use crate::support::answer::{Answer, Behaviour};
use crate::support::client::{full, Answered, Client, SendBody};
use crate::support::envoy::Envoy;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::recorded::Recorded;
use crate::support::setup::{default_wasm, Setup};
use crate::support::stats::Stats;
use crate::support::upstream::Upstream;

/// Where the bootstrap keeps the filter's configuration.
const FILTER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config";

/// The targets of the example, in the order of the file.
pub(crate) const TARGETS: [&str; 8] =
    ["payment", "inventory", "notification", "refund", "unpaid", "cancellation", "partner", "analytics"];

/// The services of the example, in the order of the clusters.
pub(crate) const SERVICES: [&str; 7] = ["orders", "payment", "inventory", "notification", "partner", "analytics", "dead-letters"];

/// What lets Sidecast write to customers.
pub(crate) const TOKEN: &str = "token-of-notification";

/// What the webhooks of the partner are signed with.
pub(crate) const PARTNER_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// What the customer says to somebody else.
pub(crate) const GIFT_MESSAGE: &str = "For Anna, with love";

/// The stage.
pub(crate) struct Shop {
    /// The Envoy. First, so that it ends before the services do.
    pub(crate) envoy: Envoy,
    services: Vec<Upstream>,
    since: Since,
}

impl Shop {
    /// Every service works. The bootstrap is the one that is shipped, but for ports.
    pub(crate) async fn open() -> Self {
        Self::adapted(|_| {}).await
    }

    /// The same, with a hand on the filter's configuration.
    pub(crate) async fn adapted(adapt: impl FnOnce(&mut Value)) -> Self {
        let mut services = Vec::new();
        for _ in SERVICES {
            services.push(Upstream::behaving(working()).await);
        }
        let addresses: Vec<_> = SERVICES.into_iter().zip(services.iter().map(Upstream::address)).collect();
        let mut bootstrap = shipped("envoy/examples/orders/envoy.yaml", &addresses);
        adapt(bootstrap.pointer_mut(&format!("{FILTER}/configuration/value")).unwrap());
        let setup = Setup::whole(bootstrap).variable("NOTIFICATION_TOKEN", TOKEN).variable("PARTNER_SECRET", PARTNER_SECRET);
        let envoy = setup.wasm_level("warn").start().await;
        let since = Since::now(&envoy).await;
        Self { envoy, services, since }
    }

    /// As if it had just been opened: every service works and has received nothing, and the statistics begin.
    pub(crate) async fn reopen(&mut self) {
        for service in &self.services {
            service.behave(working());
            service.take(0).await;
        }
        self.since = Since::now(&self.envoy).await;
    }

    /// One of the services.
    pub(crate) fn service(&self, name: &str) -> &Upstream {
        &self.services[index(name)]
    }

    /// The same, to close it.
    pub(crate) fn service_mut(&mut self, name: &str) -> &mut Upstream {
        &mut self.services[index(name)]
    }

    /// A client of the shop.
    pub(crate) fn client(&self) -> Client {
        Client::http1(self.envoy.address("ingress"))
    }

    /// Places an order.
    pub(crate) async fn place(&self, number: u64) -> Result<Answered, String> {
        let client = self.client();
        client.try_send(request(&client, number)).await
    }

    /// Waits until each of the targets has considered this number of orders, and all of them have ended.
    pub(crate) async fn settled_at(&self, orders: u64) -> Stats {
        for target in TARGETS {
            self.since.settled_at(&self.envoy, target, orders).await;
        }
        self.stats().await
    }

    /// The statistics since it was opened.
    pub(crate) async fn stats(&self) -> Stats {
        self.since.stats(&self.envoy).await
    }

    /// Waits until a target has made more attempts that failed than this.
    pub(crate) async fn failed_more_than(&self, target: &str, count: u64) {
        eventually(PATIENCE, "attempts that fail", async || match self.stats().await.of(target, "attempt_failures") {
            failed if failed > count => Ok(()),
            failed => Err(format!("{failed} of {target}")),
        })
        .await;
    }

    /// How many requests each service received, by its name and the path.
    pub(crate) fn calls(&self) -> BTreeMap<String, usize> {
        let mut calls = BTreeMap::new();
        for (name, service) in SERVICES.iter().zip(&self.services) {
            for request in service.received() {
                *calls.entry(format!("{name}{}", path(&request))).or_default() += 1;
            }
        }
        calls
    }

    /// What a service received at a path.
    pub(crate) fn received(&self, service: &str, at: &str) -> Vec<Recorded> {
        self.service(service).received().into_iter().filter(|request| path(request) == at).collect()
    }
}

fn index(service: &str) -> usize {
    SERVICES.iter().position(|name| *name == service).unwrap()
}

/// The path without its query.
pub(crate) fn path(request: &Recorded) -> &str {
    request.path.split('?').next().unwrap()
}

/// The number of the order that a request or its part is about.
pub(crate) fn number(text: &[u8]) -> u64 {
    let text = std::str::from_utf8(text).unwrap();
    let begin = text.find("ord-").or_else(|| text.find("ref-")).unwrap_or_else(|| panic!("no order in {text}")) + 4;
    let digits: String = text[begin..].chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// Each service does what it is there for: the orders API gives an order an id, payment gives a charge one.
pub(crate) fn working() -> Behaviour {
    Behaviour::chosen(|request| Behaviour::Answer(answer(request)))
}

/// How a service that works answers.
pub(crate) fn answer(request: &Recorded) -> Answer {
    let body = request.body();
    let made = |value: Value| Answer { body: value.to_string().into(), ..Answer::status(201) };
    match path(request) {
        "/orders" => made(json!({"id": format!("ord-{}", if body.is_empty() { 0 } else { number(&body) })})),
        "/charges" => made(json!({"charge_id": format!("ch-{}", number(&body))})),
        _ => Answer::status(200),
    }
}

/// A service that works, but behaves like this at a path.
pub(crate) fn but(at: &'static str, behaviour: Behaviour) -> Behaviour {
    Behaviour::chosen(move |request| if path(request) == at { behaviour.clone() } else { working() })
}

/// The same for the first attempts alone.
pub(crate) fn but_first(attempts: u64, at: &'static str, behaviour: Behaviour) -> Behaviour {
    let failing = but(at, behaviour);
    Behaviour::chosen(move |request| if request.attempt() <= attempts { failing.clone() } else { working() })
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
    set(&format!("{FILTER}/vm_config/code/local/filename"), json!(default_wasm()));
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
        "reference": format!("ref-{number}"),
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
        .header("idempotency-key", format!("key-of-{number}"))
        .header("authorization", "Bearer token-of-the-customer")
        .header("cookie", "session=cookie-of-the-customer")
        .header("x-payment-session", "payment-session-of-the-customer")
        .header("x-user-id", "cus-88213")
        .body(full(order(number).to_string()))
        .unwrap()
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
