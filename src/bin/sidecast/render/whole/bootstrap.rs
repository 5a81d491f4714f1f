//! A whole bootstrap of Envoy: the one that is shipped, with other filters, clusters and addresses.

use serde_json::{json, Value};

use super::{block, cluster, endpoint, Whole};

const SHIPPED: &str = include_str!("../../../../../envoy/envoy.yaml");
const FILTER: &str = "          - name: sidecast\n";
const ROUTER: &str = "          - name: envoy.filters.http.router\n";
const ROUTES: &str = "          route_config:\n";
const FILTERS: &str = "          http_filters:\n";
const CLUSTERS: &str = "  clusters:\n";
const PORT: &str = "port_value: 10000";
pub(in super::super) const MODULE: &str = "dist/sidecast.wasm";
/// The cluster of the route.
const PRIMARY: &str = "primary";

pub(super) fn render(whole: &Whole<'_>) -> Result<String, String> {
    let changed = || "the shipped bootstrap has an unexpected form".to_owned();
    let (head, rest) = SHIPPED.split_once(ROUTES).ok_or_else(changed)?;
    let (routes, rest) = rest.split_once(FILTERS).ok_or_else(changed)?;
    let (above, rest) = rest.split_once(FILTER).ok_or_else(changed)?;
    let (_, rest) = rest.split_once(ROUTER).ok_or_else(changed)?;
    let (router, _) = rest.split_once(CLUSTERS).ok_or_else(changed)?;
    let (_, head) = head.split_once("admin:").map(|(_, rest)| ((), format!("admin:{rest}"))).ok_or_else(changed)?;
    let port = whole.options.listener_port.unwrap_or(10_000);
    let head = head.replacen(PORT, &format!("port_value: {port}"), 1);
    // The node's name stands in statistics and logs.
    let mut text =
        "# A whole bootstrap, after envoy/envoy.yaml. Paths are relative to the directory in which Envoy is started.\n"
            .to_owned();
    if whole.module.is_none() {
        text.push_str("# The module is dist/sidecast.wasm; --module sets another path.\n");
    }
    if !whole.variables.is_empty() {
        text.push_str("# Environment variables must be set for the Envoy process.\n");
    }
    text.push_str("node: {id: sidecast, cluster: sidecast}\n\n");
    text.push_str(&head);
    text.push_str(ROUTES);
    match whole.skipping.as_ref().and_then(|(_, routes)| routes.as_ref()) {
        Some(routes) => text.push_str(&block(routes, 12)?),
        None => text.push_str(routes),
    }
    text.push_str(FILTERS);
    text.push_str(above);
    let filter = whole.filter(whole.module.unwrap_or(MODULE), true)?;
    text.push_str(&super::indented(&filter, 10)?);
    text.push_str(ROUTER);
    text.push_str(router);
    text.push_str(CLUSTERS);
    text.push_str(&primary(whole)?);
    let others: Vec<&str> = whole.clusters().into_iter().filter(|name| *name != PRIMARY).collect();
    if !others.is_empty() {
        text.push_str("  # Fill in: the addresses and ports of the targets. They speak HTTP/1.1.\n");
        text.push_str("  # The thresholds bound what a target costs over all workers; the filter's limits are per worker.\n");
    }
    for name in others {
        let (host, port) = endpoint(name);
        text.push_str(&block(&[cluster(name, &host, port)], 2)?);
    }
    Ok(text)
}

fn primary(whole: &Whole<'_>) -> Result<String, String> {
    let (comment, host, port) = match &whole.options.primary {
        Some((host, port)) => ("", host.as_str(), *port),
        None => ("  # Fill in (--primary HOST:PORT): where requests go.\n", "127.0.0.1", 8081),
    };
    let mut primary = cluster(PRIMARY, host, port);
    super::super::set(
        &mut primary,
        "circuit_breakers",
        json!({"thresholds": [{"max_connections": 1024, "max_pending_requests": 1024, "max_requests": 4096, "max_retries": 3}]}),
    );
    Ok(format!("{comment}{}", block(&[primary], 2)?))
}

/// The routes of the shipped bootstrap, as values.
pub(in super::super) fn routes() -> Value {
    json!({
        "name": "ingress",
        "virtual_hosts": [{
            "name": PRIMARY,
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": PRIMARY, "timeout": "15s"}}],
        }],
    })
}
