//! Routes that enable the filter. Each route of the file is preceded by copies of itself that also have the conditions of a rule.

use super::set;
use serde_json::{json, Value};

use super::predicate::Predicate;

/// The disabled filter, and the routes that enable it.
///
/// # Errors
/// Returns an error for routes that cannot be preceded by others.
pub(super) fn render(mut filter: Value, routes: Option<&Value>, wanted: &Predicate) -> Result<Value, String> {
    let name = filter.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    set(&mut filter, "disabled", true);
    let mut left_out = false;
    let lists = wanted.to_routes(&mut left_out);
    if left_out {
        eprintln!("routes cannot express all conditions: some requests that no target wants enter the module");
    }
    let enabled = |route: &mut Value, list: &[Value]| {
        append(route, list);
        let enabled = json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}});
        match route.get_mut("typed_per_filter_config") {
            Some(configured) => set(configured, &name, enabled),
            None => set(route, "typed_per_filter_config", json!({ name.as_str(): enabled })),
        }
    };
    let Some(routes) = routes else {
        eprintln!(
            "the file has no routes: put these before your own, each with the `route` of the one that it takes requests from"
        );
        let own = lists.iter().map(|list| {
            let mut route = json!({"match": {"prefix": "/"}});
            enabled(&mut route, list);
            route
        });
        return Ok(json!({"http_filters": [filter], "routes": own.collect::<Vec<_>>()}));
    };
    let mut routes = routes.clone();
    let hosts = routes.get_mut("virtual_hosts").and_then(Value::as_array_mut).filter(|hosts| !hosts.is_empty());
    for host in hosts.ok_or("`route_config` has no `virtual_hosts`")? {
        let own = host.get_mut("routes").and_then(Value::as_array_mut);
        // Routes in a `matcher` are in no list.
        let own = own.ok_or("expected `routes` in each virtual host; otherwise use --skip=matcher")?;
        let mut all = Vec::new();
        for route in own.iter() {
            let configured = route.get("typed_per_filter_config");
            if !route.get("match").is_some_and(Value::is_object) || !configured.is_none_or(Value::is_object) {
                return Err("expected a `match` in each route, and an object as `typed_per_filter_config`".to_owned());
            }
            let mut more: Vec<Value> = Vec::new();
            let mut whole = false;
            for list in lists.iter().filter(|list| route.get("match").is_some_and(|matched| may_meet(matched, list))) {
                let mut copy = route.clone();
                enabled(&mut copy, list);
                whole |= list.is_empty();
                more.push(copy);
            }
            all.extend(more);
            if !whole {
                all.push(route.clone());
            }
        }
        *own = all;
    }
    Ok(json!({"http_filters": [filter], "route_config": routes}))
}

fn append(route: &mut Value, list: &[Value]) {
    if list.is_empty() {
        return;
    }
    let Some(matched) = route.get_mut("match") else {
        return;
    };
    match matched.get_mut("headers").and_then(Value::as_array_mut) {
        Some(headers) => headers.extend(list.iter().cloned()),
        None => set(matched, "headers", list),
    }
}

/// False if no path can meet both the match of a route and the conditions. Only prefixes are compared.
fn may_meet(matched: &Value, list: &[Value]) -> bool {
    let (Some(prefix), None) = (matched.get("prefix").and_then(Value::as_str), matched.get("case_sensitive")) else {
        return true;
    };
    list.iter().all(|condition| {
        let is_prefix_of_path =
            condition.get("name").is_some_and(|name| name == ":path") && condition.get("invert_match").is_none();
        match condition.pointer("/string_match/prefix").and_then(Value::as_str).filter(|_| is_prefix_of_path) {
            Some(wanted) => wanted.starts_with(prefix) || prefix.starts_with(wanted),
            None => true,
        }
    })
}
