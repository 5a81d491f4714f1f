//! The pieces of an Envoy configuration, as JSON.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{json, Value};

/// The filter in a listener.
#[derive(Clone, Debug)]
pub(crate) enum Filter {
    /// No filter at all.
    None,
    /// The configuration as JSON text in a `StringValue`.
    Text(String),
    /// The configuration as a `Struct`.
    Struct(Value),
    /// The entry of the HTTP filters as it stands.
    #[allow(dead_code)] // Not in every test binary.
    Entry(Value),
}

impl Filter {
    /// The configuration as JSON text.
    pub(crate) fn json(configuration: &Value) -> Self {
        Self::Text(configuration.to_string())
    }

    fn configuration(&self) -> Option<Value> {
        match self {
            Self::None | Self::Entry(_) => None,
            Self::Text(text) => Some(json!({
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": text,
            })),
            Self::Struct(value) => Some(json!({
                "@type": "type.googleapis.com/google.protobuf.Struct",
                "value": value,
            })),
        }
    }
}

/// A listener on a port that the system chooses; all its requests go to the cluster `primary`.
pub(crate) fn listener(name: &str, filter: &Filter, wasm: &Path) -> Value {
    let mut filters = Vec::new();
    if let Filter::Entry(entry) = filter {
        filters.push(entry.clone());
    }
    if let Some(configuration) = filter.configuration() {
        filters.push(json!({
            "name": "sidecast",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "name": "sidecast",
                    "root_id": "sidecast",
                    "fail_open": true,
                    "vm_config": {
                        "vm_id": "sidecast",
                        "runtime": "envoy.wasm.runtime.v8",
                        "code": {"local": {"filename": wasm}},
                        "environment_variables": {"key_values": {"RABBIT_BASIC": crate::support::rabbitmq::BASIC}},
                    },
                    "configuration": configuration,
                },
            },
        }));
    }
    filters.push(json!({
        "name": "router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            // Times in responses would make every answer differ.
            "suppress_envoy_headers": true,
        },
    }));
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": "AUTO",
        "forward_client_cert_details": "ALWAYS_FORWARD_ONLY",
        "server_header_transformation": "PASS_THROUGH",
        "max_request_headers_kb": 512,
        "common_http_protocol_options": {"max_headers_count": 4000},
        "http_protocol_options": {"enable_trailers": true},
        "http2_protocol_options": {"allow_connect": true},
        "upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {
                "match": {"connect_matcher": {}},
                "route": {"cluster": "primary", "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]},
            },
            {"match": {"prefix": "/"}, "route": {"cluster": "primary", "timeout": "0s"}},
        ]}]},
        "http_filters": filters,
    });
    json!({
        "name": name,
        "address": loopback(0),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    })
}

/// The protocol that a cluster speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    /// HTTP/1.1, with trailers.
    Http1,
    /// HTTP/2 by prior knowledge.
    Http2,
}

/// A cluster with one endpoint, or none.
pub(crate) fn cluster(name: &str, endpoint: Option<SocketAddr>, protocol: Protocol) -> Value {
    let options = match protocol {
        Protocol::Http1 => json!({"http_protocol_options": {"enable_trailers": true}}),
        Protocol::Http2 => json!({"http2_protocol_options": {}}),
    };
    let endpoints: Vec<Value> =
        endpoint.iter().map(|address| json!({"endpoint": {"address": loopback(address.port())}})).collect();
    // The defaults of 1,024 would decide tests that are about other limits.
    let threshold = json!({"max_connections": 4096, "max_pending_requests": 65536, "max_requests": 65536});
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [threshold]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"max_headers_count": 4000},
                "explicit_http_config": options,
            },
        },
    })
}

/// An address on the loopback interface.
pub(crate) fn loopback(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

/// A listener on a path that leads to a cluster and does nothing else, as docs/security.md has it.
#[allow(dead_code)] // Not in every test binary.
pub(crate) fn hop(name: &str, cluster: &str, path: &Path) -> Value {
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": "HTTP1",
        "http_protocol_options": {"enable_trailers": true},
        "generate_request_id": false,
        "skip_xff_append": true,
        "server_header_transformation": "PASS_THROUGH",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "0s"}},
        ]}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    });
    json!({
        "name": name,
        "address": {"pipe": {"path": path}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    })
}

/// The cluster of such a listener.
#[allow(dead_code)] // Not in every test binary.
pub(crate) fn hop_cluster(name: &str, path: &Path) -> Value {
    let mut cluster = cluster(name, Some(SocketAddr::from(([127, 0, 0, 1], 1))), Protocol::Http1);
    let endpoint = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint";
    cluster.pointer_mut(endpoint).unwrap()["address"] = json!({"pipe": {"path": path}});
    cluster
}
