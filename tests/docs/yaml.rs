//! YAML: what a block is shows in its keys, and says who reads it.
//!
//! | it has | it is read by |
//! | --- | --- |
//! | fields of a configuration of the filter, of a target, or of a dead letter | the filter's parser, the rest of it being the least that there can be |
//! | fields of a bootstrap, static resources, a connection manager, a route, a cluster, a filter | Envoy, within the rest of a bootstrap |
//! | fields of what Prometheus scrapes | `promtool`, where it is installed |
//! | `platform` and `module` | a look for values that the Helm chart has, and the filter's parser |
//! | `apiVersion` and `kind` | a look for what each object has; a `pluginConfig`, by the filter's parser |
//!
//! A configuration of the filter inside any of them is read by the filter's parser, too.

use std::process::Command;

use serde_json::{json, Map, Value};
use sidecast::config::signing::stand_in;
use sidecast::config::Config;

use crate::markdown::{Block, Page};
use crate::validate::{by_envoy, with_manager, with_plugin, with_routes, with_static};

const STRUCT: &str = "type.googleapis.com/google.protobuf.Struct";
const TEXT: &str = "type.googleapis.com/google.protobuf.StringValue";

const BOOTSTRAP: [&str; 9] = [
    "admin",
    "application_log_config",
    "dynamic_resources",
    "layered_runtime",
    "memory_allocator_manager",
    "node",
    "overload_manager",
    "static_resources",
    "stats_config",
];

/// The fields of a part of the filter's configuration.
fn fields_at(pointer: &str) -> Vec<String> {
    let schema = sidecast::config::schema::schema();
    schema.pointer(pointer).unwrap().as_object().unwrap().keys().cloned().collect()
}

/// Whether who reads such a block accepts it.
pub(crate) fn check(page: &Page, block: &Block) -> Result<(), String> {
    let documents = serde_saphyr::from_multiple::<Value>(&block.text).map_err(|error| error.to_string())?;
    if documents.is_empty() {
        return Err("nothing in it".to_owned());
    }
    documents.into_iter().try_for_each(|document| {
        inner(&document)?;
        document_of(page, document)
    })
}

fn document_of(page: &Page, document: Value) -> Result<(), String> {
    let fields = match document {
        Value::Object(fields) => fields,
        Value::Array(items) => return list_of(page, items),
        other => return Err(format!("neither an object nor a list: {other}")),
    };
    let has = |name: &str| fields.contains_key(name);
    let only = |names: &[&str]| fields.keys().all(|key| names.contains(&key.as_str()));
    let only_at = |pointer: &str| fields.keys().all(|key| fields_at(pointer).contains(key));
    let (is_top, is_target) = (only_at("/properties"), only_at("/properties/targets/items/properties"));
    if has("apiVersion") {
        return kubernetes(&fields);
    }
    if has("platform") && has("module") {
        return chart(&fields);
    }
    if BOOTSTRAP.iter().any(|name| has(name)) {
        return by_envoy(page, Value::Object(fields));
    }
    if has("targets") {
        return configuration(&Value::Object(fields));
    }
    if is_target && !(has("limits") && is_top) {
        return target(fields);
    }
    if is_top {
        return configuration(&with_a_target(fields.clone())).or_else(|error| target(fields).map_err(|_| error));
    }
    if only(&["clusters", "listeners", "secrets"]) {
        return by_envoy(page, with_static(Value::Object(fields)));
    }
    if has("resources") && only(&["resources"]) {
        return by_envoy(page, with_static(json!({"secrets": untyped(&fields["resources"])})));
    }
    if has("route") || has("direct_response") {
        return by_envoy(page, with_routes(json!([fields])));
    }
    if has("routes") {
        return by_envoy(page, with_routes(fields["routes"].clone()));
    }
    if has("vm_config") || has("fail_open") || has("configuration") {
        return by_envoy(page, with_plugin(&fields));
    }
    if has("http_filters") || has("route_config") || has("access_log") {
        return by_envoy(page, with_manager(&fields));
    }
    if has("circuit_breakers") {
        return by_envoy(page, with_static(json!({"clusters": [cluster(fields)]})));
    }
    if only(&["metric_relabel_configs"]) {
        return by_prometheus(fields);
    }
    Err(format!("nobody is known who reads {:?}", fields.keys().collect::<Vec<_>>()))
}

fn list_of(page: &Page, items: Vec<Value>) -> Result<(), String> {
    let all = |name: &str| items.iter().all(|item| item.get(name).is_some());
    if all("route") {
        return by_envoy(page, with_routes(Value::Array(items)));
    }
    if all("typed_config") {
        return by_envoy(page, with_manager(json!({ "http_filters": items }).as_object().unwrap()));
    }
    if all("cluster") {
        return configuration(&json!({ "targets": items }));
    }
    Err("nobody is known who reads such a list".to_owned())
}

/// The filter's parser; variables of the environment are there.
fn configuration(value: &Value) -> Result<(), String> {
    let text = value.to_string();
    let problems = Config::parse(text.as_bytes(), &stand_in(text.as_bytes(), str::to_owned)).err();
    problems
        .map_or(Ok(()), |problems| Err(problems.into_iter().map(|problem| problem.to_string()).collect::<Vec<_>>().join("; ")))
}

fn with_a_target(mut fields: Map<String, Value>) -> Value {
    fields.insert("targets".to_owned(), json!([{"name": "audit", "cluster": "audit"}]));
    Value::Object(fields)
}

fn target(mut fields: Map<String, Value>) -> Result<(), String> {
    for name in ["name", "cluster"] {
        fields.entry(name).or_insert_with(|| "audit".into());
    }
    configuration(&json!({"targets": [fields]}))
}

fn cluster(mut fields: Map<String, Value>) -> Value {
    fields.entry("name").or_insert_with(|| "wrapped".into());
    fields.entry("type").or_insert_with(|| "STATIC".into());
    Value::Object(fields)
}

/// Resources of a file are typed, those of a bootstrap are not.
fn untyped(resources: &Value) -> Value {
    let mut resources = resources.clone();
    for resource in resources.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        resource.remove("@type");
    }
    resources
}

/// What Prometheus says of a piece of what it scrapes. As in other tests, it may be missing, but for continuous integration.
fn by_prometheus(mut fields: Map<String, Value>) -> Result<(), String> {
    fields.insert("job_name".to_owned(), "wrapped".into());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({"scrape_configs": [fields]}).to_string()).unwrap();
    match Command::new("promtool").args(["check", "config", "--syntax-only"]).arg(file.path()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("promtool refuses it: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) if std::env::var_os("CI").is_some() => Err(format!("promtool: {error}")),
        Err(_) => Ok(()),
    }
}

/// Values that the chart has, and a configuration that is right; the tests of the chart itself hold values against its whole schema.
fn chart(fields: &Map<String, Value>) -> Result<(), String> {
    let schema: Value = serde_json::from_str(include_str!("../../envoy/helm/sidecast/values.schema.json")).unwrap();
    match fields.keys().find(|key| schema["properties"].get(key.as_str()).is_none()) {
        Some(unknown) => Err(format!("the chart has no value {unknown}")),
        None => configuration(fields.get("configuration").unwrap_or(&Value::Null)),
    }
}

/// What every object of Kubernetes has, and the configuration of the filter where a `WasmPlugin` has it.
fn kubernetes(fields: &Map<String, Value>) -> Result<(), String> {
    let object = Value::Object(fields.clone());
    for place in ["/apiVersion", "/kind", "/metadata/name"] {
        if object.pointer(place).is_none_or(|value| value.as_str().is_none_or(str::is_empty)) {
            return Err(format!("an object of Kubernetes without {place}"));
        }
    }
    match (object["kind"].as_str(), object.pointer("/spec/pluginConfig")) {
        (Some("WasmPlugin"), None) => Err("a WasmPlugin without pluginConfig".to_owned()),
        (_, Some(plugin)) => configuration(plugin),
        _ => Ok(()),
    }
}

/// Configurations of the filter inside of something else.
fn inner(value: &Value) -> Result<(), String> {
    match value {
        Value::Object(members) => {
            let kind = members.get("@type").and_then(Value::as_str).unwrap_or_default();
            let text = members.get("value").and_then(Value::as_str).unwrap_or_default();
            if kind == STRUCT && value.pointer("/value/targets").is_some() {
                configuration(&value["value"])?;
            } else if kind == TEXT && text.contains("\"targets\"") {
                configuration(&serde_json::from_str(text).map_err(|error| error.to_string())?)?;
            }
            members.values().try_for_each(inner)
        }
        Value::Array(items) => items.iter().try_for_each(inner),
        _ => Ok(()),
    }
}

#[test]
fn each_kind_of_block_is_refused_when_something_is_wrong_in_it() {
    let page = crate::markdown::parse("p.md", "");
    let check = |text: &str| check(&page, &Block { line: 1, info: "yaml".to_owned(), text: text.to_owned() });
    for (good, wrong) in [
        ("retry: {max_attempts: 3}", "retry: {max_atempts: 3}"),
        ("limits: {max_in_flight: 1}", "limits: {max_in_flght: 1}"),
        ("limits: {max_body_bytes: 1MiB}", "limits: {max_body_byte: 1MiB}"),
        ("targets: [{name: a, cluster: a}]", "targets: [{name: A, cluster: a}]"),
        ("- {name: a, cluster: a, timeout: 1s}", "- {name: a, cluster: a, timeout: 1}"),
        ("clusters: [{name: a, type: STATIC}]", "clusters: [{name: a, typ: STATIC}]"),
        ("node: {id: a}", "node: {idd: a}"),
        ("metric_relabel_configs: [{regex: a, action: drop}]", "metric_relabel_configs: [{regx: a, action: drop}]"),
        ("match: {prefix: /}\nroute: {cluster: a, timeout: 1s}", "match: {prefix: /}\nroute: {cluster: a, timeout: 1m}"),
        ("vm_config: {environment_variables: {host_env_keys: [A]}}", "vm_config: {environment_variable: {host_env_keys: [A]}}"),
        ("circuit_breakers: {thresholds: [{max_requests: 1}]}", "circuit_breakers: {thresholds: [{max_request: 1}]}"),
        (
            "{platform: istio, module: {}, configuration: {targets: [{name: a, cluster: a}]}}",
            "{platform: istio, module: {}, configuration: {targets: [{name: a}]}}",
        ),
        (
            "{platform: istio, module: {}, labels: {}, configuration: {targets: [{name: a, cluster: a}]}}",
            "{platform: istio, module: {}, label: {}, configuration: {targets: [{name: a, cluster: a}]}}",
        ),
        ("{apiVersion: v1, kind: A, metadata: {name: b}}", "{apiVersion: v1, kind: A, metadata: {}}"),
        (
            "{apiVersion: v1, kind: WasmPlugin, metadata: {name: b}, spec: {pluginConfig: {targets: [{name: a, cluster: a}]}}}",
            "{apiVersion: v1, kind: WasmPlugin, metadata: {name: b}, spec: {pluginConfig: {targets: [{name: a}]}}}",
        ),
    ] {
        assert_eq!(check(good), Ok(()), "{good}");
        assert!(check(wrong).is_err(), "{wrong}");
    }
    for unknown in ["surprise: 1", "- 1", "7", "", "a: b: c"] {
        assert!(check(unknown).is_err(), "{unknown}");
    }
}
