//! HTTP filters, and where they stand.

use super::{set, whole};
use std::collections::BTreeSet;

use serde_json::{json, Value};

use super::Place;

/// What stands around a filter that is wrapped already, in a pointer to it.
const WRAPPED: &str = "/typed_config/xds_matcher/";

/// The HTTP filter.
///
/// # Errors
/// Returns an error if it has no name, by which routes would know it.
pub(super) fn filter(place: &Place) -> Result<Value, String> {
    let filter = place.document.pointer(&place.filter).cloned().unwrap_or_default();
    let has_config = filter.get("typed_config").is_some();
    if has_config && filter.get("name").is_some_and(Value::is_string) {
        Ok(filter)
    } else {
        Err("the filter has no `name`".to_owned())
    }
}

/// A filter with this configuration. Envoy's reader of YAML takes some numbers for text, so for it they may have to stand in JSON.
pub(super) fn new_filter(text: &str, module: &str, variables: &BTreeSet<String>, is_read_by_envoy: bool) -> Value {
    let has_fraction = whole::as_written(text).is_ok_and(|configuration| whole::has_fraction(&configuration, false));
    let configuration = if is_read_by_envoy && has_fraction {
        json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text})
    } else {
        let configuration: Value = serde_json::from_str(text).unwrap_or_default();
        json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": configuration})
    };
    let mut vm = json!({"vm_id": "sidecast", "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}}});
    if !variables.is_empty() {
        set(&mut vm, "environment_variables", json!({"host_env_keys": variables}));
    }
    json!({
        "name": "sidecast",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "sidecast",
                "fail_open": true,
                "vm_config": vm,
                "configuration": configuration,
            },
        },
    })
}

pub(super) fn is_envoyfilter(place: &Place) -> bool {
    place.document.get("kind").is_some_and(|kind| kind == "EnvoyFilter")
}

/// The document with another filter in place of its own.
pub(super) fn with_filter(place: &Place, filter: Value) -> Value {
    let outermost = place.filter.split(WRAPPED).next().unwrap_or_default();
    let mut document = Value::clone(&place.document);
    if let Some(place) = document.pointer_mut(outermost) {
        *place = filter;
    }
    document
}
