//! A little of everything that can become of a copy, again and again.

use serde_json::{json, Value};

use crate::scene::target;
use crate::support::answer::{Answer, Behaviour};
use crate::support::bootstrap::Filter;
use crate::support::client::{full, Client};
use crate::support::envoy::Envoy;
use crate::support::setup::Setup;
use crate::support::upstream::{Refusing, Upstream};

/// The targets, by what becomes of their copies.
pub(crate) const TARGETS: [&str; 15] = [
    "audit", "sampled", "retried", "kept", "down", "narrow", "bulk", "picky", "nowhere", "later", "reader", "limited", "twin",
    "rival", "other",
];

/// The reasons for which something is dropped here.
pub(crate) const REASONS: [&str; 8] = [
    "body_not_json",
    "body_too_large",
    "circuit_open",
    "not_retryable",
    "queue_full",
    "rate_limited",
    "retries_exhausted",
    "unknown_cluster",
];

fn on(cluster: &str, name: &str, more: Value) -> Value {
    let mut target = target(name);
    target["cluster"] = cluster.into();
    target["match"] = json!([{"path": {"exact": "/orders"}}, {"path": {"exact": "/notes"}}]);
    for (field, value) in more.as_object().unwrap() {
        target[field] = value.clone();
    }
    target
}

/// The configuration of the filter.
pub(crate) fn configuration() -> Value {
    let orders = json!([{"path": {"exact": "/orders"}}]);
    let retry =
        json!({"max_attempts": 2, "backoff": {"base": "1ms", "max": "2ms"}, "budget": {"percent": 100, "min_per_second": 1000}});
    json!({
        "targets": [
            on("works", "audit", json!({"match": [{"path": {"prefix": "/"}}]})),
            on("works", "sampled", json!({"sample": {"percent": 50}})),
            on("fails", "retried", json!({"retry": retry, "match": orders})),
            on("fails", "kept", json!({"dead_letter": {"cluster": "letters"}, "match": orders})),
            on("refuses", "down", json!({"circuit_breaker": {"consecutive_failures": 1, "open_for": "1h"}})),
            on("hangs", "narrow", json!({"timeout": "2s", "compare": {}, "limits": {"max_in_flight": 1, "max_queued": 1}})),
            on("works", "bulk", json!({"batch": {"max_items": 3, "max_delay": "200ms"}, "match": orders})),
            on("rejects", "picky", json!({})),
            on("nowhere", "nowhere", json!({})),
            on("works", "later", json!({"after": "response", "statuses": ["404"]})),
            on("works", "reader", json!({"request": {"body": {"redact": ["/secret"]}}})),
            on("works", "limited", json!({"limits": {"rate": {"per_second": 1, "burst": 1}}})),
            on("echoes", "twin", json!({"compare": {}})),
            on("fails", "rival", json!({"compare": {}})),
            on("works", "other", json!({"compare": {"body": "exact"}})),
        ],
        "limits": {"max_body_bytes": 4096},
    })
}

/// The services, and an Envoy between them and the clients.
pub(crate) struct Traffic {
    /// The Envoy. First, so that it ends before its upstreams do.
    pub(crate) envoy: Envoy,
    /// Whoever keeps dead letters.
    letters: Upstream,
    _others: Vec<Upstream>,
    _refusing: Refusing,
}

impl Traffic {
    /// Starts them, with the statistics tags of the shipped bootstrap.
    pub(crate) async fn start(stats: Value) -> Self {
        let refusing = Refusing::reserve();
        let mut setup = Setup::new().cluster("refuses", refusing.address());
        let mut others = Vec::new();
        for (name, behaviour) in [
            ("primary", Behaviour::Echo),
            ("works", Behaviour::Answer(Answer::status(200))),
            ("echoes", Behaviour::Echo),
            ("fails", Behaviour::Answer(Answer::status(503))),
            ("rejects", Behaviour::Answer(Answer::status(404))),
            ("hangs", Behaviour::Hang),
        ] {
            let upstream = Upstream::behaving(behaviour).await;
            upstream.forget();
            setup = setup.cluster(name, upstream.address());
            others.push(upstream);
        }
        let letters = Upstream::start().await;
        letters.forget();
        let envoy = setup
            .cluster("letters", letters.address())
            .listener("main", Filter::json(&configuration()))
            .with("", "stats_config", stats)
            // Histograms are brought together as often.
            .with("", "stats_flush_interval", json!("0.5s"))
            .dynamic()
            .wasm_level("error")
            .start()
            .await;
        Self { envoy, letters, _others: others, _refusing: refusing }
    }

    /// Some requests of each kind.
    pub(crate) async fn round(&self) {
        let client = Client::http1(self.envoy.address("main"));
        for number in 0..4 {
            let request = client.request("POST", "/orders").header("content-type", "application/json");
            client.send(request.body(full(json!({"order": number}).to_string())).unwrap()).await;
        }
        client.post("/notes", "no JSON").await;
        client.post("/pictures", vec![0; 5000]).await;
    }

    /// From now on nobody takes a dead letter.
    pub(crate) fn lose_letters(&self) {
        self.letters.behave(Behaviour::Answer(Answer::status(503)));
    }

    /// Hands Envoy a configuration that the filter must refuse.
    pub(crate) fn update_badly(&self) {
        self.envoy.replace_listeners(&[("main", Filter::json(&json!({"targets": []})))]);
    }
}
