//! The bootstrap of each variant: the same in all but the mirroring.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{json, Value};

use crate::case::{Case, Variant};
use crate::options::Options;
use crate::upstreams::Upstreams;
use crate::Result;

/// The bootstrap of `variant` for `case`, as JSON.
pub(crate) fn bootstrap(variant: Variant, case: &Case, options: &Options, upstreams: &Upstreams) -> Result<Value> {
    let mut clusters = vec![cluster("primary", upstreams.primary())];
    clusters.extend((0..case.targets).map(|index| cluster(&target(index), upstreams.target(index))));

    let mut route = json!({"cluster": "primary"});
    let mut filters = Vec::new();
    match variant {
        Variant::None => {}
        Variant::Native | Variant::NativeAgain => {
            let policies: Vec<Value> = (0..case.targets).map(|index| json!({"cluster": target(index)})).collect();
            route["request_mirror_policies"] = json!(policies);
        }
        Variant::Lua => filters.push(lua(case)),
        Variant::Sdk => filters.push(plain_filter(&options.plain_filter)),
        Variant::OneRule | Variant::Sidecast => filters.push(sidecast(variant, case, &options.wasm)?),
    }
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    }));

    Ok(json!({
        "admin": {"address": address("127.0.0.1", 0)},
        "static_resources": {
            "listeners": [{
                "name": "main",
                "address": address("127.0.0.1", 0),
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "main",
                        "route_config": {"virtual_hosts": [{
                            "name": "all",
                            "domains": ["*"],
                            "routes": [{"match": {"prefix": "/"}, "route": route}],
                        }]},
                        "http_filters": filters,
                    },
                }]}],
            }],
            "clusters": clusters,
        },
    }))
}

fn target(index: usize) -> String {
    format!("target_{index}")
}

fn address(host: &str, port: u16) -> Value {
    json!({"socket_address": {"address": host, "port_value": port}})
}

fn cluster(name: &str, upstream: SocketAddr) -> Value {
    let endpoint = json!({"endpoint": {"address": address(&upstream.ip().to_string(), upstream.port())}});
    // A threshold that were met would make a variant cheap by dropping its copies.
    let most = 100_000;
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [
            {"max_connections": most, "max_pending_requests": most, "max_requests": most},
        ]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    })
}

/// What one writes by hand today: buffer the body, copy the headers, one asynchronous call per target.
fn lua(case: &Case) -> Value {
    let clusters: Vec<String> = (0..case.targets).map(|index| format!("\"{}\"", target(index))).collect();
    let script = include_str!("mirror.lua").replace("TARGETS", &clusters.join(", "));
    json!({
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": script},
        },
    })
}

/// What one writes with the SDK: it mirrors to one cluster, and does not count requests in shared data.
fn plain_filter(wasm: &Path) -> Value {
    json!({
        "name": "envoy.filters.http.wasm",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "plain_filter",
                "vm_config": {
                    "vm_id": "plain_filter",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": wasm}},
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": target(0),
                },
            },
        },
    })
}

fn sidecast(variant: Variant, case: &Case, wasm: &Path) -> Result<Value> {
    let capabilities: Value = serde_json::from_str(include_str!("../../envoy/capabilities.json"))?;
    let targets: Vec<Value> = (0..case.targets)
        .map(|index| {
            let mut config = case.target.clone();
            config["name"] = format!("target-{index}").into();
            config["cluster"] = target(index).into();
            if let (Variant::OneRule, Some(Value::Array(rules))) = (variant, config.get_mut("match")) {
                rules.truncate(1);
            }
            config
        })
        .collect();
    Ok(json!({
        "name": "envoy.filters.http.wasm",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "sidecast",
                "fail_open": true,
                "vm_config": {
                    "vm_id": "sidecast",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": wasm}},
                },
                // As docs/operations.md has it: no case looks at the primary's response.
                "capability_restriction_config": capabilities,
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": json!({"targets": targets}).to_string(),
                },
            },
        },
    }))
}
