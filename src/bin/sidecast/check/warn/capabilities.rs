//! Warns if a `capability_restriction_config` leaves out what a configuration needs.

use super::super::find::Plugin;
use super::super::tree::{from_json, Node};
use super::{Code, Warning};

/// The list that users are told to use.
const LEAST: &str = include_str!("../../../../../envoy/capabilities.json");
/// Capabilities on the list that the filter does not need.
const SPARE: [&str; 3] = ["proxy_get_log_level", "fd_write", "proc_exit"];
/// The callbacks for the primary's response, which a comparison needs.
const ANSWERS: [&str; 3] = ["proxy_on_response_headers", "proxy_on_response_body", "proxy_on_response_trailers"];

pub(super) fn check(config: &Node, plugin: Plugin<'_>) -> Option<Warning> {
    let Plugin::Envoy(plugin) = plugin else { return None };
    let allowed = plugin.at(&["capability_restriction_config", "allowed_capabilities"])?;
    let is_allowed = |name: &str| allowed.members().iter().any(|member| member.key == name);
    // Envoy ignores an empty list.
    if allowed.members().is_empty() {
        return None;
    }
    let least = from_json(LEAST)?;
    let listed = least.get("allowed_capabilities")?.members().iter().map(|member| member.key.as_str());
    let needed = listed.chain(ANSWERS).filter(|name| is_needed(name, config));
    let missing: Vec<String> = needed.filter(|name| !is_allowed(name)).map(|name| format!("`{name}`")).collect();
    let message = format!(
        "lacks what this configuration needs: {}; the filter rejects the configuration or misses events",
        missing.join(", ")
    );
    let hint = Some("envoy/capabilities.json has the whole list; `compare` also needs the response callbacks".to_owned());
    let warning = Warning::new(allowed, Code::MissingCapability, "capability_restriction_config.allowed_capabilities", message);
    (!missing.is_empty()).then_some(Warning { hint, ..warning })
}

/// The least capabilities with which a configuration does everything that it says.
pub(crate) fn least(config: &Node) -> Vec<String> {
    let listed = from_json(LEAST);
    let listed = listed.iter().filter_map(|list| list.get("allowed_capabilities")).flat_map(Node::members);
    let waits = |target: &Node| target.get("after").is_some_and(|after| after.text() == Some("response"));
    let waits = config.get("targets").map_or(&[][..], Node::items).iter().any(waits);
    let listed = listed.map(|member| member.key.as_str()).filter(|name| SPARE.contains(name) || is_needed(name, config));
    // Without these callbacks the status of gRPC and headers of the response are not known.
    let answers = ANSWERS.into_iter().filter(|name| waits || is_needed(name, config));
    listed.chain(answers).map(str::to_owned).collect()
}

fn is_needed(name: &str, config: &Node) -> bool {
    let targets = || config.get("targets").map_or(&[][..], Node::items).iter();
    match name {
        _ if SPARE.contains(&name) => false,
        _ if ANSWERS.contains(&name) => targets().any(|target| target.get("compare").is_some()),
        "environ_get" | "environ_sizes_get" => config.to_json().contains("${env:"),
        "proxy_get_shared_data" | "proxy_set_shared_data" => {
            targets().any(|target| target.at(&["circuit_breaker", "mode"]).and_then(Node::text) != Some("disabled"))
        }
        _ => true,
    }
}
