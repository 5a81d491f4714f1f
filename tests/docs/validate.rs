//! Pieces of an Envoy configuration, put into a whole one that Envoy is asked about.

use std::collections::BTreeSet;
use std::fs;

use regex_lite::Regex;
use serde_json::{json, Map, Value};

use crate::clone::Clone;
use crate::markdown::Page;

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// A bootstrap with these resources.
pub(crate) fn with_static(resources: Value) -> Value {
    json!({ "static_resources": resources })
}

/// A bootstrap with a connection manager of these fields.
pub(crate) fn with_manager(fields: &Map<String, Value>) -> Value {
    let mut manager = json!({
        "@type": MANAGER,
        "stat_prefix": "wrapped",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": []}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
    });
    for (name, value) in fields {
        manager[name] = value.clone();
    }
    // Clusters are no part of a piece.
    manager["route_config"]["validate_clusters"] = false.into();
    with_static(json!({"listeners": [{
        "name": "wrapped",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }]}))
}

/// A bootstrap with these routes.
pub(crate) fn with_routes(routes: Value) -> Value {
    with_manager(
        json!({"route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]}}).as_object().unwrap(),
    )
}

/// A bootstrap with the filter, its `config` being of these fields.
pub(crate) fn with_plugin(fields: &Map<String, Value>) -> Value {
    let mut config = json!({"fail_open": true, "vm_config": {"runtime": "envoy.wasm.runtime.v8"}});
    config["configuration"] = json!({
        "@type": "type.googleapis.com/google.protobuf.Struct",
        "value": {"targets": [{"name": "audit", "cluster": "audit"}]},
    });
    for (name, value) in fields {
        config[name] = value.clone();
    }
    config["vm_config"]["code"] = json!({"local": {"filename": ""}});
    config["vm_config"]["runtime"] = "envoy.wasm.runtime.v8".into();
    let filters = json!([
        {"name": "sidecast", "typed_config": {"@type": WASM, "config": config}},
        {"name": "router", "typed_config": {"@type": ROUTER}},
    ]);
    with_manager(json!({ "http_filters": filters }).as_object().unwrap())
}

/// What Envoy says of a bootstrap; files of the page are there, and the filter is the one that was built.
pub(crate) fn by_envoy(page: &Page, mut bootstrap: Value) -> Result<(), String> {
    let clone = Clone::new();
    for block in &page.blocks {
        if let Some(file) = block.file() {
            let file = clone.path().join(file.trim_start_matches('/'));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, &block.text).unwrap();
        }
    }
    let etc = format!("{}/etc/envoy/", clone.path().display());
    adapt(&mut bootstrap, &etc);
    // What asks for secrets must say who asks.
    if let Some(fields) = bootstrap.as_object_mut() {
        fields.entry("node").or_insert_with(|| json!({"id": "wrapped", "cluster": "wrapped"}));
    }
    let file = clone.path().join("bootstrap.json");
    fs::write(&file, bootstrap.to_string()).unwrap();
    let mut command = clone.command("target/envoy/1.40.0/envoy");
    command.args(["--mode", "validate", "--log-level", "warning", "-c"]).arg(&file);
    for name in variables(&bootstrap.to_string()) {
        command.env(name, "any");
    }
    let output = command.output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(format!("Envoy refuses it: {}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout)))
}

/// The names of environment variables that a configuration wants.
fn variables(text: &str) -> BTreeSet<String> {
    let expression = Regex::new(r"\$\{env:([A-Za-z0-9_]+)\}").unwrap();
    let keys = Regex::new(r#""host_env_keys":\[([^\]]*)\]"#).unwrap();
    let named = expression.captures_iter(text).map(|found| found[1].to_owned());
    let listed = keys
        .captures_iter(text)
        .flat_map(|found| found[1].split(',').map(|key| key.trim_matches('"').to_owned()).collect::<Vec<_>>());
    named.chain(listed).filter(|name| !name.is_empty()).collect()
}

/// Files of another machine are looked for here, the filter is the one that was built, and knows the variables that its configuration names.
fn adapt(value: &mut Value, etc: &str) {
    match value {
        Value::String(text) if text.starts_with("/etc/envoy/") => *text = text.replacen("/etc/envoy/", etc, 1),
        Value::Array(items) => items.iter_mut().for_each(|item| adapt(item, etc)),
        Value::Object(members) => {
            members.values_mut().for_each(|member| adapt(member, etc));
            if members.get("@type").is_some_and(|name| name == WASM) {
                let names: Vec<String> = variables(&value.to_string()).into_iter().collect();
                let vm = &mut value["config"]["vm_config"];
                vm["code"] = json!({"local": {"filename": "dist/sidecast.wasm"}});
                vm["environment_variables"] = json!({ "host_env_keys": names });
            }
        }
        _ => {}
    }
}
