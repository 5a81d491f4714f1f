//! An Envoy with all clusters of the soak, and the filter in its listener.

use serde_json::{json, Value};

use crate::server::Servers;
use crate::support::bootstrap::{cluster, listener, Filter, Protocol};
use crate::support::envoy::Envoy;
use crate::support::grpc::GrpcUpstream;
use crate::support::setup::{default_wasm, Setup};

/// The list of capabilities that users are told to take.
const LEAST: &str = include_str!("../../envoy/capabilities.json");
const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
const HOST: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0";
const PLUGIN: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config";

/// Paths that Envoy responds by itself, and how, unless listeners come from a file.
pub(crate) const ANSWERED: [(&str, u16, &str); 3] =
    [("/direct", 403, "no"), ("/redirect", 301, ""), ("/nobody", 503, "no healthy upstream")];

/// Upstreams by their manners, which are the names of their clusters.
const MANNERS: [&str; 12] = [
    "calm",
    "moody",
    "slow",
    "hanging",
    "cutting",
    "babbling",
    "narrow",
    "mixed",
    "keeper",
    "keeper-moody",
    "keeper-cutting",
    "keeper-hanging",
];

pub(crate) struct Stage {
    pub(crate) envoy: Envoy,
    pub(crate) servers: Servers,
    _notes: GrpcUpstream,
}

/// How an Envoy is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) workers: u32,
    pub(crate) is_dynamic: bool,
    pub(crate) is_restricted: bool,
    /// Whether Envoy holds each request until it is complete, after the filter.
    pub(crate) is_buffered: bool,
    pub(crate) level: &'static str,
}

impl Stage {
    pub(crate) async fn set_up(seed: u64, terms: Terms, filter: Filter) -> Self {
        let mut servers = Servers::new(seed);
        let mut primary = cluster("primary", Some(servers.open("primary").await), Protocol::Http1);
        // A connection that the primary has closed is not used for the next request.
        let options = &mut primary["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
        options["common_http_protocol_options"]["max_requests_per_connection"] = 1.into();
        let mut setup = Setup::new().concurrency(terms.workers).wasm_level(terms.level).cluster_json(primary);
        for manner in MANNERS {
            let mut cluster = cluster(manner, Some(servers.open(manner).await), Protocol::Http1);
            if manner == "narrow" {
                let threshold = json!({"max_connections": 1, "max_pending_requests": 1, "max_requests": 1});
                cluster["circuit_breakers"]["thresholds"] = json!([threshold]);
            }
            setup = setup.cluster_json(cluster);
        }
        let notes = GrpcUpstream::start().await;
        // Nobody listens on port 1.
        setup = setup
            .http2_cluster("notes", notes.address())
            .cluster("gone", "127.0.0.1:1".parse().unwrap())
            .cluster_json(cluster("empty", None, Protocol::Http1))
            .listener("main", filter.clone());
        let setup = if terms.is_dynamic { setup.dynamic() } else { adapted(setup, terms, &filter) };
        Self { envoy: setup.start().await, servers, _notes: notes }
    }
}

/// Routes that Envoy responds by itself, and what else can be said of a listener that does not come from a file.
fn adapted(mut setup: Setup, terms: Terms, filter: &Filter) -> Setup {
    let listener = listener("main", filter, &default_wasm());
    let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
    let mut routes = vec![
        json!({"match": {"path": "/direct"}, "direct_response": {"status": 403, "body": {"inline_string": "no"}}}),
        json!({"match": {"path": "/redirect"}, "redirect": {"path_redirect": "/orders"}}),
        json!({"match": {"path": "/nobody"}, "route": {"cluster": "empty"}}),
    ];
    routes.extend(manager["route_config"]["virtual_hosts"][0]["routes"].as_array().unwrap().iter().cloned());
    setup = setup.with(HOST, "routes", routes.into());
    if terms.is_buffered {
        let mut filters = manager["http_filters"].as_array().unwrap().clone();
        let buffer = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
            "max_request_bytes": 1 << 20,
        });
        filters.insert(1, json!({"name": "envoy.filters.http.buffer", "typed_config": buffer}));
        setup = setup.with(MANAGER, "http_filters", filters.into());
    }
    if terms.is_restricted {
        let least: Value = serde_json::from_str(LEAST).unwrap();
        setup = setup.with(PLUGIN, "capability_restriction_config", least);
    }
    setup
}
